//! Settings as the numbers and ids that the rest of the crate counts with.

use crate::config::Settings;
use crate::ids::NodeId;

impl Settings {
    /// The node that writes go to.
    #[must_use]
    pub fn primary_node(&self) -> NodeId {
        let primary = self.primary().map(|backend| backend.id);
        let index = self.backends.iter().position(|backend| Some(backend.id) == primary);
        NodeId(index.and_then(|index| u16::try_from(index).ok()).unwrap_or(0))
    }

    /// Connections that the kernel may hold for a listener before they are accepted: at least 128.
    #[must_use]
    pub fn listen_backlog(&self) -> u32 {
        self.listen_backlog_multiplier.saturating_mul(self.num_init_children).max(128)
    }

    /// How many worker threads serve clients: `weir_workers`, or one for every two processors that the
    /// process may use. A proxy shares its machine with others, and one worker serves what several
    /// servers can answer.
    #[must_use]
    pub fn worker_threads(&self, processors: usize) -> usize {
        self.workers.map_or(processors / 2, usize::from).max(1)
    }
}

/// A count as an index type; saturates where `usize` is smaller.
pub(crate) fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
