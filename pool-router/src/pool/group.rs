//! A user and database in a pool: who waits, and which of its connections are idle.

use std::collections::VecDeque;

use pgwire_core::time::Instant;

use super::Order;
use crate::ids::{ClientId, IdentityId, ServerId};

#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) client: ClientId,
    pub(super) identity: IdentityId,
    pub(super) ticket: u64,
    pub(super) since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Group {
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
}

impl Group {
    /// A connection is no longer being opened.
    pub(super) fn opened(&mut self, identity: IdentityId) {
        if let Some(at) = self.opening.iter().position(|other| *other == identity) {
            self.opening.swap_remove(at);
        }
    }

    /// Refuses the waiters of some identities. Returns how many.
    pub(super) fn refuse(
        &mut self,
        orders: &mut VecDeque<Order>,
        mut whom: impl FnMut(IdentityId) -> bool,
    ) -> usize {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| {
            let refused = whom(waiter.identity);
            if refused {
                orders.push_back(Order::Refuse(waiter.client));
            }
            !refused
        });
        before - self.waiters.len()
    }
}
