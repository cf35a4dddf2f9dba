//! Time-outs of what a client does: statements, transactions, idleness in them.

use std::time::Duration;

use pgwire_core::sqlstate::SqlState;
use pgwire_core::time::Instant;
use pgwire_core::txn::TransactionStatus;

use super::transaction::Block;
use super::{Phase, Relay, Timer};
use crate::config::ClientLimits;

/// `transaction_timeout` of PostgreSQL 17.
const TRANSACTION_TIMEOUT: &[u8; 5] = b"25P04";

/// How long a client may take for what, and since when it does. There is none of these for clients
/// whose statements and transactions may take any time.
#[derive(Debug)]
pub(super) struct Clocks {
    limits: ClientLimits,
    /// When the statement, the transaction, the idleness has to be over.
    query: Option<Instant>,
    transaction: Option<Instant>,
    idle: Option<Instant>,
}

impl Clocks {
    pub(super) fn new(limits: ClientLimits) -> Option<Box<Self>> {
        let any = [limits.query, limits.transaction, limits.idle_transaction];
        any.iter()
            .any(Option::is_some)
            .then(|| Box::new(Self { limits, query: None, transaction: None, idle: None }))
    }

    /// The next moment at which something is over.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.query, self.transaction, self.idle].into_iter().flatten().min()
    }

    /// A statement or batch was answered: the next one has its own time.
    pub(super) fn answered(&mut self) {
        self.query = None;
    }
}

fn run(clock: &mut Option<Instant>, runs: bool, limit: Option<Duration>, now: Instant) {
    match limit {
        Some(limit) if runs => {
            clock.get_or_insert(now + limit);
        }
        _ => *clock = None,
    }
}

impl<S> Relay<S> {
    /// Starts and stops the clocks for what is under way.
    pub(super) fn set_clocks(&mut self, now: Instant) {
        let Some(clocks) = &mut self.clocks else { return };
        let busy = self.active.as_ref().is_some_and(|link| !link.pipeline.is_settled());
        let open = self.session.transaction.block() != Block::Closed
            || self
                .active
                .as_ref()
                .is_some_and(|link| link.pipeline.status() != TransactionStatus::Idle);
        let waits = self.waiting.is_some() || self.wants.acquire.is_some();
        let limits = clocks.limits;
        run(&mut clocks.query, busy, limits.query, now);
        run(&mut clocks.transaction, open || busy, limits.transaction, now);
        run(&mut clocks.idle, open && !busy && !waits, limits.idle_transaction, now);
    }

    /// Ends the session if one of them has run out.
    pub(super) fn check_clocks(&mut self, now: Instant) {
        let Some(clocks) = &self.clocks else { return };
        let over = |clock: Option<Instant>| clock.is_some_and(|at| now >= at);
        let (code, message) = if over(clocks.idle) {
            (
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to weir_idle_transaction_timeout",
            )
        } else if over(clocks.query) {
            (SqlState::QUERY_CANCELED, "terminating connection due to weir_query_timeout")
        } else if over(clocks.transaction) {
            (
                SqlState::from_bytes(TRANSACTION_TIMEOUT).unwrap_or(SqlState::QUERY_CANCELED),
                "terminating connection due to weir_transaction_timeout",
            )
        } else {
            return;
        };
        self.clocks = None;
        if matches!(self.phase, Phase::Ready) {
            self.fatal(code, message, None);
        }
    }

    /// When the relay is to be driven though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timer = self.timer.map(|(at, _)| at);
        let clock = self.clocks.as_ref().and_then(|clocks| clocks.next());
        match (timer, clock) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// The client begins to wait for a server: it is told after a while, and refused after another.
    pub(super) fn set_wait_timers(&mut self, now: Instant) {
        if self.timer.is_some() {
            return;
        }
        let limit = self.wait_limit;
        let notify = self.settings().query_wait_notify;
        match (notify, limit) {
            (Some(notify), limit) if limit.is_none_or(|limit| notify < limit) => {
                let refuse = limit.map(|limit| now + limit);
                self.timer = Some((now + notify, Timer::QueueNotice(refuse)));
            }
            (_, Some(limit)) => self.timer = Some((now + limit, Timer::QueueWait)),
            (_, None) => {}
        }
    }

    /// Other limits hold for the client from now on.
    pub(super) fn set_limits(&mut self, limits: ClientLimits) {
        self.idle_limit = limits.idle;
        self.wait_limit = limits.query_wait;
        self.clocks = Clocks::new(limits);
    }
}
