//! Bounds of single groups, and those that groups share.

use pgwire_core::time::Instant;

use super::{Bounds, Pool, Share, State};
use crate::ids::{GroupId, ServerId};

impl Pool {
    /// What bounds a group of which nothing else was said.
    pub(super) fn default_bounds(&self) -> Bounds {
        Bounds {
            size: self.limits.per_group,
            min: self.limits.min_per_group,
            reserve: 0,
            shares: [None; 2],
        }
    }

    /// Whether anything is known of a group.
    #[must_use]
    pub fn has_group(&self, id: GroupId) -> bool {
        self.groups.contains_key(&id)
    }

    /// Other bounds hold for a group from now on.
    pub fn set_bounds(&mut self, id: GroupId, bounds: Bounds, now: Instant) {
        self.ensure_group(id);
        if self.replace_bounds(id, bounds) {
            self.trim();
            self.pump(now);
        }
    }

    /// The same for a group that is known, if [`Pool::enforce`] follows. Returns whether they differ.
    pub fn replace_bounds(&mut self, id: GroupId, bounds: Bounds) -> bool {
        let Some(group) = self.groups.get_mut(&id) else { return false };
        if group.bounds == bounds {
            return false;
        }
        group.bounds = bounds;
        self.has_reserves = self.groups.values().any(|group| group.bounds.reserve > 0);
        self.count_unmet();
        self.shares.clear();
        for group in self.groups.values() {
            for share in group.bounds.shares.into_iter().flatten() {
                *self.shares.entry(share.id).or_default() += group.total;
            }
        }
        true
    }

    /// Whether one more connection may be opened beside those that are being opened.
    pub(super) fn may_log_in(&self) -> bool {
        let limit = self.limits.max_logins.into_iter().chain(self.ramp).min();
        limit.is_none_or(|most| self.connecting < most.max(1))
    }

    /// A bound that a group shares with others, and that is reached.
    pub(super) fn full_share(&self, id: GroupId) -> Option<Share> {
        let shares = self.groups.get(&id)?.bounds.shares;
        shares.into_iter().flatten().find(|share| self.total_of(*share) >= share.most.max(1))
    }

    pub(super) fn is_over_share(&self, id: GroupId) -> bool {
        let shares = self.groups.get(&id).map_or([None; 2], |group| group.bounds.shares);
        shares.into_iter().flatten().any(|share| self.total_of(share) > share.most.max(1))
    }

    fn total_of(&self, share: Share) -> usize {
        self.shares.get(&share.id).copied().unwrap_or(0)
    }

    /// Connections that a group may have more as far as shared bounds are concerned, also in place of
    /// idle ones of other groups.
    pub(super) fn share_room(&self, id: GroupId) -> usize {
        let Some(group) = self.groups.get(&id) else { return usize::MAX };
        let room = |share: Share| {
            let idle: usize = self
                .groups
                .iter()
                .filter(|(other, it)| **other != id && it.bounds.shares.contains(&Some(share)))
                .map(|(_, it)| it.idle.len())
                .sum();
            share.most.max(1).saturating_sub(self.total_of(share)) + idle
        };
        group.bounds.shares.into_iter().flatten().map(room).min().unwrap_or(usize::MAX)
    }

    /// The connection of these groups that has been idle longest.
    pub(super) fn idle_of_share(&self, share: Share) -> Option<ServerId> {
        let since = |server: &ServerId| {
            let slot = self.slots.get(usize::try_from(server.index).ok()?)?;
            match slot.state {
                State::Idle { since } => Some(since),
                State::Connecting | State::Active { .. } | State::Cooling => None,
            }
        };
        self.groups
            .values()
            .filter(|group| group.bounds.shares.contains(&Some(share)))
            .filter_map(|group| group.idle.first().copied())
            .min_by_key(since)
    }
}
