//! Settings that derive from each other: the sizes that are in force, as numbers of things.

use crate::config::Settings;
use crate::ids::NodeId;

impl Settings {
    /// Most server connections of one node, user and database: `pool_size`, or `num_init_children`
    /// where that is 0.
    #[must_use]
    pub fn connections_per_group(&self) -> usize {
        let chosen = if self.pool_size == 0 { self.num_init_children } else { self.pool_size };
        size(chosen).max(1)
    }

    /// Most server connections of one node: `max_server_connections`, or `num_init_children` times
    /// `max_pool` where that is 0.
    #[must_use]
    pub fn connections_per_node(&self) -> usize {
        let chosen = if self.max_server_connections == 0 {
            self.num_init_children.saturating_mul(self.max_pool)
        } else {
            self.max_server_connections
        };
        size(chosen).max(1)
    }

    /// The node that writes go to.
    #[must_use]
    pub fn primary_node(&self) -> NodeId {
        let primary = self.primary().map(|backend| backend.id);
        let index = self.backends.iter().position(|backend| Some(backend.id) == primary);
        NodeId(index.and_then(|index| u16::try_from(index).ok()).unwrap_or(0))
    }
}

/// A count as an index type; saturates where `usize` is smaller.
pub(crate) fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
