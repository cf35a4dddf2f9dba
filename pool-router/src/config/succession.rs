//! From one load of the files to the next: what stays until a restart, and which node is which.

use std::collections::BTreeSet;

use super::settings::{Backend, BackendFlags, Settings};
use super::table::{Change, parameters};
use crate::ids::NodeId;

impl Settings {
    /// These settings, as the successor of those in force.
    ///
    /// - A parameter that takes effect only at a restart keeps its present value.
    /// - A node keeps its position in [`Settings::backends`], which is its [`NodeId`], for as long as
    ///   the process lives. One that is not configured any more stays there, with no weight, as
    ///   [removed](Settings::is_removed); new ones come last.
    ///
    /// Fields that were written by hand, past the files, are taken as they are, except the pooling
    /// and the clustering mode.
    #[must_use]
    pub fn succeed(mut self, present: &Self) -> Self {
        let mut values = self.values.clone();
        let mut differs = false;
        for row in parameters().filter(|row| row.change == Change::Restart) {
            let keys: BTreeSet<_> =
                values.0.keys().chain(present.values.0.keys()).copied().collect();
            for key in keys.into_iter().filter(|(name, _)| *name == row.name) {
                let (new, old) = (values.0.get(&key), present.values.0.get(&key));
                differs |= new.map(|it| &it.text) != old.map(|it| &it.text);
                match old.cloned() {
                    Some(old) => values.0.insert(key, old),
                    None => values.0.remove(&key),
                };
            }
        }
        if differs {
            self = Self { backends: self.backends, ..Self::from_values(values) };
        }
        self.pool_mode = present.pool_mode;
        self.clustering_mode = present.clustering_mode;
        self.generation = present.generation + 1;
        self.keep_positions(present);
        self
    }

    /// Whether a node was taken out of the configuration. It serves whom it serves to the end of
    /// what is under way, and nobody else.
    #[must_use]
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.removed & bit(node.index()) != 0
    }

    /// The nodes that are configured, in the order of their positions.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Backend)> {
        (0_u16..).map(NodeId).zip(&self.backends).filter(|(node, _)| !self.is_removed(*node))
    }

    /// Counts the loads: each successor's is one more.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn keep_positions(&mut self, present: &Self) {
        let mut new = std::mem::take(&mut self.backends);
        self.removed = 0;
        for (index, old) in present.backends.iter().enumerate() {
            if let Some(at) = new.iter().position(|backend| backend.id == old.id) {
                self.backends.push(new.remove(at));
            } else {
                self.removed |= bit(index);
                self.backends.push(Backend {
                    weight: 0.0,
                    flag: BackendFlags::default(),
                    ..old.clone()
                });
            }
        }
        self.backends.append(&mut new);
    }
}

/// There are no more node ids than bits.
fn bit(index: usize) -> u128 {
    u32::try_from(index).ok().and_then(|index| 1_u128.checked_shl(index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    fn settings(text: &str) -> Settings {
        load("pgpool.conf", text, &mut |_| Err("none".to_owned())).unwrap().settings
    }

    #[test]
    fn what_needs_a_restart_stays() {
        let present = settings(
            "backend_hostname0 = 'a'\nport = 5000\nweir_pool_mode = transaction\n\
             client_idle_limit = 5\n",
        );
        let new = settings("backend_hostname0 = 'a'\nport = 5001\nclient_idle_limit = 6\n");
        assert_eq!(present.needs_restart(&new), ["port", "weir_pool_mode"]);
        let next = new.succeed(&present);
        assert_eq!((next.port, next.pool_mode), (present.port, present.pool_mode));
        assert_eq!(next.client_idle_limit, Some(core::time::Duration::from_secs(6)));
        assert_eq!(next.value("port"), Some("5000"));
        assert_eq!(next.generation(), 1);
        // The next load compares with what is in force again.
        let same = settings("backend_hostname0 = 'a'\nport = 5000\nweir_pool_mode = transaction\n");
        assert!(next.needs_restart(&same).is_empty());
    }

    #[test]
    fn nodes_keep_their_positions() {
        let one = settings("backend_hostname0 = 'a'\nbackend_hostname2 = 'c'\n");
        let two = settings(
            "backend_hostname1 = 'b'\nbackend_hostname2 = 'd'\nbackend_flag2 = 'ALWAYS_PRIMARY'\n",
        )
        .succeed(&one);
        let ids = |s: &Settings| s.backends.iter().map(|b| b.id).collect::<Vec<_>>();
        assert_eq!(ids(&two), [0, 2, 1]);
        assert!(two.is_removed(NodeId(0)) && !two.is_removed(NodeId(1)));
        assert_eq!(two.primary_node(), NodeId(1));
        assert!(two.backend(0).is_none());
        assert_eq!(two.backends[0].weight, 0.0);
        let three = settings("backend_hostname0 = 'a'\nbackend_hostname1 = 'b'\n").succeed(&two);
        assert_eq!(ids(&three), [0, 2, 1]);
        assert!(!three.is_removed(NodeId(0)) && three.is_removed(NodeId(1)));
        assert_eq!(three.primary_node(), NodeId(0));
        let live: Vec<u16> = three.nodes().map(|(_, backend)| backend.id).collect();
        assert_eq!(live, [0, 1]);
    }
}
