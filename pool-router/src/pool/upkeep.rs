//! What is done to a pool from time to time: probes, closing what is old, other limits, closing down.

use std::time::Duration;

use pgwire_core::time::Instant;

use super::{Health, Limits, Pool, Slot, State};
use crate::ids::{GroupId, PoolKey, ServerId};

impl Pool {
    /// Probes a node that is down and closes what has been idle or has lived too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Health::Down { pause, retry_at, probing: None, probe } = self.health
            && now >= retry_at
        {
            let of_group = self.groups.get(&probe.group).map_or(0, |group| group.total);
            let size = self
                .groups
                .get(&probe.group)
                .map_or(self.limits.per_group, |group| group.bounds.size);
            if self.slots.len() < self.limits.per_node
                && of_group < size
                && self.full_share(probe.group).is_none()
            {
                let probing = self.connect(probe, now);
                self.health = Health::Down { pause, retry_at, probing, probe };
            } else {
                // With that many connections, whoever needs another one finds out.
                self.health = Health::Up;
                self.pump(now);
            }
        }
        if self.next_renewal.is_some_and(|at| now >= at) {
            self.renew(now);
        }
        if self.reserve_at().is_some_and(|at| now >= at) {
            self.reserves_seen = now;
            self.pump(now);
        }
        if self.next_sweep.is_some_and(|at| now >= at) {
            self.sweep(now);
            self.pump(now);
        }
    }

    /// Takes new limits. Connections above them are closed when they are free.
    pub fn set_limits(&mut self, limits: Limits, now: Instant) {
        self.replace_limits(limits);
        self.enforce(now);
    }

    /// The same, if [`Pool::enforce`] follows.
    pub fn replace_limits(&mut self, limits: Limits) {
        let before = self.default_bounds();
        self.limits = limits;
        let after = self.default_bounds();
        for group in self.groups.values_mut().filter(|group| group.bounds == before) {
            group.bounds = after;
        }
        self.count_unmet();
    }

    /// Acts on limits and bounds that were replaced.
    pub fn enforce(&mut self, now: Instant) {
        self.trim();
        self.next_sweep = Some(now);
        self.next_renewal = Some(now);
        self.pump(now);
    }

    /// PAUSE of a group, and its end: only those who have asked with [`Pool::acquire_in_pause`] are
    /// served meanwhile; the others keep their places.
    pub fn set_paused(&mut self, id: GroupId, paused: bool, now: Instant) {
        self.ensure_group(id);
        if let Some(group) = self.groups.get_mut(&id)
            && group.paused != paused
        {
            group.paused = paused;
            self.pump(now);
        }
    }

    /// When a successor for a connection is to be opened, if it is used then.
    pub(super) fn renewal(&self, slot: &Slot) -> Option<Instant> {
        let ahead = self.limits.renew_ahead;
        (!ahead.is_zero() && !slot.renewed).then_some(())?;
        let after = self.life(slot)?.checked_sub(ahead)?;
        Some(slot.born + after)
    }

    /// When a connection is too old to be lent. Each has an end of its own, so that those that came
    /// together do not go together.
    pub(super) fn end(&self, slot: &Slot) -> Option<Instant> {
        Some(slot.born + self.life(slot)?)
    }

    fn life(&self, slot: &Slot) -> Option<Duration> {
        const PARTS: u32 = 256;
        // An odd factor spreads numbers that follow each other.
        let part = slot.generation.wrapping_mul(0x9E37_79B9) >> 24;
        let shorter = self.limits.lifetime_spread.saturating_mul(part) / PARTS;
        Some(self.limits.lifetime?.saturating_sub(shorter))
    }

    /// Whether a connection is in steady use.
    fn is_in_use(&self, slot: &Slot, now: Instant) -> bool {
        match slot.state {
            State::Active { .. } | State::Cooling => true,
            State::Idle { since } => now.saturating_since(since) < self.limits.renew_ahead,
            State::Connecting => false,
        }
    }

    /// Opens successors for connections in use that are about to end, as far as there is room.
    fn renew(&mut self, now: Instant) {
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for (_, slot) in &self.slots {
            if slot.state == State::Connecting || slot.epoch != self.epoch {
                continue;
            }
            let Some(at) = self.renewal(slot) else { continue };
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
            } else if self.is_in_use(slot, now) {
                let id =
                    ServerId { node: self.node, index: slot.index, generation: slot.generation };
                due.push((id, slot.key));
            }
        }
        self.next_renewal = next;
        for (server, key) in due {
            if self.may_renew(key, now) {
                if let Some(slot) = self.slot_mut(server) {
                    slot.renewed = true;
                }
                self.connect(key, now);
            }
        }
    }

    /// Whether a successor may be opened on the pool's own account.
    fn may_renew(&self, key: PoolKey, now: Instant) -> bool {
        let group = self.groups.get(&key.group).is_some_and(|group| {
            group.total < group.bounds.size
                && group.waiters.is_empty()
                && !group.hold_minimum
                && !group.paused
                && !group.is_vacated(now)
        });
        group
            && self.slots.len() < self.limits.per_node
            && self.full_share(key.group).is_none()
            && self.may_log_in()
            && !self.is_down()
            && !self.closed
            && !self.no_minimum
    }

    /// Closes an idle connection whose time is over; where there was no room for a successor before,
    /// there is now.
    pub(super) fn close_old(&mut self, server: ServerId, now: Instant) {
        let Some(slot) = self.slot_mut(server) else { return };
        let (key, renewed, current) = (slot.key, slot.renewed, slot.epoch);
        let used = match self.slots.get(usize::try_from(server.index).unwrap_or(usize::MAX)) {
            Some(slot) => self.is_in_use(slot, now),
            None => false,
        };
        self.close(server);
        if used && !renewed && current == self.epoch && self.may_renew(key, now) {
            self.connect(key, now);
        }
    }

    /// Closes everything that is idle, and forgets to keep a minimum.
    pub fn close_idle(&mut self) {
        self.no_minimum = true;
        self.unmet = 0;
        let idle: Vec<ServerId> = self.groups.values().flat_map(|g| g.idle.clone()).collect();
        for server in idle {
            self.close(server);
        }
    }

    /// When an idle connection is due for closing next. One that has outstayed the idle time was
    /// kept for the minimum, and stays until it is too old.
    pub(super) fn expiry(&self, server: ServerId, now: Instant) -> Option<Instant> {
        let slot = self.slots.get(usize::try_from(server.index).ok()?)?;
        let State::Idle { since } = slot.state else { return None };
        let idle = self.limits.idle_timeout.map(|limit| since + limit).filter(|at| *at > now);
        let life = self.end(slot);
        match (idle, life) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn sweep(&mut self, now: Instant) {
        let mut due = Vec::new();
        for group in self.groups.values() {
            let mut spare = group.total.saturating_sub(group.minimum(self.no_minimum));
            for server in &group.idle {
                let Some(slot) =
                    usize::try_from(server.index).ok().and_then(|index| self.slots.get(index))
                else {
                    continue;
                };
                let State::Idle { since } = slot.state else { continue };
                let old = self.end(slot).is_some_and(|end| now >= end);
                let idle = self
                    .limits
                    .idle_timeout
                    .is_some_and(|limit| now.saturating_since(since) >= limit);
                if old || (idle && spare > 0) {
                    spare = spare.saturating_sub(1);
                    due.push(*server);
                }
            }
        }
        for server in due {
            self.close_old(server, now);
        }
        self.next_sweep = self
            .groups
            .values()
            .flat_map(|group| group.idle.iter())
            .filter_map(|server| self.expiry(*server, now))
            .min();
    }

    /// Closes idle connections above the limits.
    pub(super) fn trim(&mut self) {
        let mut surplus = Vec::new();
        for group in self.groups.values() {
            let most = group.bounds.size + group.bounds.reserve;
            let over = group.total.saturating_sub(most);
            surplus.extend(group.idle.iter().take(over).copied());
        }
        for server in surplus {
            self.close(server);
        }
        let shares: Vec<_> = self.groups.keys().copied().collect();
        for id in shares {
            while self.is_over_share(id)
                && let Some(share) = self.full_share(id)
                && let Some(server) = self.idle_of_share(share)
            {
                self.close(server);
            }
        }
        while self.slots.len() > self.limits.per_node
            && let Some(server) = self.idle_of_longest()
        {
            self.close(server);
        }
    }

    /// When somebody will have waited long enough for the reserve: later than what was looked at.
    pub(super) fn reserve_at(&self) -> Option<Instant> {
        if self.waiting == 0 || !self.has_reserves || self.closed || self.is_down() {
            return None;
        }
        let timeout = self.limits.reserve_timeout;
        self.groups
            .values()
            .filter_map(|group| group.reserve_at(timeout))
            .filter(|at| *at > self.reserves_seen)
            .min()
    }

    /// The connections that there are lead to where nobody is to go any more: those that are idle are
    /// closed, the others when they come back. Whether the node is down has to be found out anew.
    pub fn reconnect(&mut self, now: Instant) {
        self.epoch = self.epoch.wrapping_add(1);
        self.health = Health::Up;
        let idle: Vec<ServerId> = self.groups.values().flat_map(|g| g.idle.clone()).collect();
        for server in idle {
            self.close(server);
        }
        self.pump(now);
    }

    /// The idle connections of a group are closed, and none is kept idle until then.
    pub fn vacate(&mut self, id: GroupId, until: Instant, now: Instant) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.hold_minimum = true;
        group.vacated = Some(until);
        for server in group.idle.clone() {
            self.close(server);
        }
        self.pump(now);
    }

    /// The node is to serve nobody any more: whoever waits or asks is refused, and connections are
    /// closed when they come back.
    pub fn close_down(&mut self) {
        self.closed = true;
        self.health = Health::Up;
        for group in self.groups.values_mut() {
            self.waiting -= group.refuse(&mut self.orders, |_, _| true);
        }
        let idle: Vec<ServerId> = self.groups.values().flat_map(|g| g.idle.clone()).collect();
        for server in idle {
            self.close(server);
        }
    }

    /// The node serves again, after [`Pool::close_down`].
    pub fn reopen(&mut self) {
        self.closed = false;
    }
}
