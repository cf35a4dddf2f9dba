//! What bounds the pools of single users and databases.

use std::collections::BTreeMap;

use pgwire_core::time::Instant;

use super::Hub;
use crate::ids::{GroupId, NodeId};
use crate::pool::{Bounds, Share};
use crate::sizes::size;

/// Names that have been given numbers at most; of more than those, shared bounds are not kept.
const MAX_SHARES: usize = 20_000;

/// Numbers of users and databases whose connections are counted together.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// By kind (0: user, 1: database) and name.
    numbers: BTreeMap<(u8, Box<[u8]>), u32>,
}

impl Shares {
    fn share(&mut self, kind: u8, name: &[u8], most: u32) -> Option<Share> {
        if most == 0 {
            return None;
        }
        let key = (kind, Box::from(name));
        let next = u32::try_from(self.numbers.len()).ok()?;
        if !self.numbers.contains_key(&key) && self.numbers.len() >= MAX_SHARES {
            return None;
        }
        let id = *self.numbers.entry(key).or_insert(next);
        Some(Share { id, most: size(most) })
    }
}

impl<S, D: Clone> Hub<S, D> {
    /// Tells a pool what bounds a group that it does not know yet.
    pub(super) fn bound(&mut self, node: NodeId, group: GroupId, now: Instant) {
        let is_known = |hub: &Self| {
            hub.nodes.get(node.index()).is_none_or(|entry| entry.pool.has_group(group))
        };
        if is_known(self) {
            return;
        }
        let Some(bounds) = self.bounds_of(group) else { return };
        if let Some(entry) = self.nodes.get_mut(node.index()) {
            entry.pool.set_bounds(group, bounds, now);
        }
        self.tell_pools_paused(Some(group), now);
    }

    /// Tells all pools, after the settings have changed; [`crate::pool::Pool::enforce`] follows.
    pub(super) fn bound_all(&mut self) {
        let groups: Vec<GroupId> = self.groups.values().copied().collect();
        for group in groups {
            let Some(bounds) = self.bounds_of(group) else { continue };
            for index in 0..self.nodes.len() {
                if let Some(entry) = self.nodes.get_mut(index)
                    && entry.pool.has_group(group)
                {
                    entry.pool.replace_bounds(group, bounds);
                }
            }
        }
    }

    fn bounds_of(&mut self, group: GroupId) -> Option<Bounds> {
        let ((user, database), _) = self.groups.iter().find(|(_, id)| **id == group)?;
        let limits = self.settings.group_limits(user, database);
        let caps = [self.settings.user_caps(user).0, self.settings.database_caps(database).0];
        let shares = [self.shares.share(0, user, caps[0]), self.shares.share(1, database, caps[1])];
        Some(Bounds {
            size: size(limits.pool_size).max(1),
            min: size(limits.min_pool_size),
            reserve: size(limits.reserve_pool_size),
            shares,
        })
    }
}
