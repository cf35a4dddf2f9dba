//! A user and database in a pool: who waits, and which of its connections are idle.

use std::collections::VecDeque;
use std::time::Duration;

use pgwire_core::time::Instant;

use super::{Bounds, Order};
use crate::ids::{ClientId, IdentityId, ServerId};

#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) client: ClientId,
    pub(super) identity: IdentityId,
    pub(super) ticket: u64,
    pub(super) since: Instant,
    /// It is served in a pause.
    pub(super) passes: bool,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) bounds: Bounds,
    pub(super) waiters: VecDeque<Waiter>,
    /// Idle connections, least recently used first.
    pub(super) idle: Vec<ServerId>,
    /// Connections in any state.
    pub(super) total: usize,
    /// The identities of the connections that are being opened.
    pub(super) opening: Vec<IdentityId>,
    pub(super) last_identity: Option<IdentityId>,
    /// Identities that live, but were refused a further connection.
    pub(super) rejected: Vec<IdentityId>,
    /// The last identity was rejected: its minimum waits until somebody asks again.
    pub(super) hold_minimum: bool,
    /// Only waiters that pass are served.
    pub(super) paused: bool,
    /// Until then nothing is kept open that nobody uses.
    pub(super) vacated: Option<Instant>,
}

impl Group {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiters: VecDeque::new(),
            idle: Vec::new(),
            total: 0,
            opening: Vec::new(),
            last_identity: None,
            rejected: Vec::new(),
            hold_minimum: false,
            paused: false,
            vacated: None,
        }
    }

    /// What it is filled up to.
    pub(super) fn minimum(&self, none: bool) -> usize {
        if none { 0 } else { self.bounds.min.min(self.bounds.size) }
    }

    /// Whether nothing is to be kept open now that nobody uses.
    pub(super) fn is_vacated(&self, now: Instant) -> bool {
        self.vacated.is_some_and(|until| now < until)
    }

    /// When its reserve may be used, if anybody waits for that.
    pub(super) fn reserve_at(&self, timeout: Duration) -> Option<Instant> {
        let has_more = self.total < self.bounds.size + self.bounds.reserve;
        let waiter = self.waiters.front().filter(|_| self.bounds.reserve > 0 && has_more)?;
        Some(waiter.since + timeout)
    }

    /// How many connections it may have now.
    pub(super) fn allowed(&self, timeout: Duration, now: Instant) -> usize {
        let reserve = self.reserve_at(timeout).is_some_and(|at| now >= at);
        self.bounds.size + if reserve { self.bounds.reserve } else { 0 }
    }

    /// A connection is no longer being opened.
    pub(super) fn opened(&mut self, identity: IdentityId) {
        if let Some(at) = self.opening.iter().position(|other| *other == identity) {
            self.opening.swap_remove(at);
        }
    }

    /// Refuses the waiters of some identities, and those that a pause holds up or not. Returns how
    /// many.
    pub(super) fn refuse(
        &mut self,
        orders: &mut VecDeque<Order>,
        mut whom: impl FnMut(IdentityId, bool) -> bool,
    ) -> usize {
        let (before, paused) = (self.waiters.len(), self.paused);
        self.waiters.retain(|waiter| {
            let refused = whom(waiter.identity, paused && !waiter.passes);
            if refused {
                orders.push_back(Order::Refuse(waiter.client));
            }
            !refused
        });
        before - self.waiters.len()
    }
}
