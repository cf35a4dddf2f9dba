//! PAUSE: nothing new begins, and what is under way goes on to its end.

use pgwire_core::txn::TransactionStatus;

use super::transaction::Block;
use super::{Phase, Relay};

/// Where a client stands with a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// There is none.
    Off,
    /// Something of it may be under way.
    Pausing,
    /// The hub knows that nothing is.
    Resting,
}

impl<S> Relay<S> {
    pub(super) fn on_pause(&mut self, paused: bool) {
        if !paused {
            self.pause = Pause::Off;
            if self.waiting.is_none() {
                self.stop_wait_timers();
            }
            return;
        }
        self.pause = Pause::Pausing;
        if self.can_be_held() && self.active.is_some() {
            // A server that it was just given for a statement is not kept for it.
            self.session.chosen = None;
        }
        self.rest();
    }

    /// Whether the statement at the head of the input has to wait for the end of a pause. One that is
    /// sent behind others that were not answered yet waits too: they may be the end.
    pub(super) fn is_held(&self) -> bool {
        self.pause != Pause::Off && self.can_be_held()
    }

    /// Whether it would have to: nothing that must go on to its end is under way.
    pub(super) fn can_be_held(&self) -> bool {
        matches!(self.phase, Phase::Ready)
            && matches!(self.session.transaction.block(), Block::Closed | Block::Deferred)
            && !self.session.in_batch
            && !self.session.healing
            && self
                .active
                .as_ref()
                .is_none_or(|link| link.pipeline.status() == TransactionStatus::Idle)
    }

    /// Lets the hub know when nothing is under way.
    pub(super) fn rest(&mut self) {
        // One that is logging in, and asks no server, has nothing under way either.
        let is_here = matches!(self.phase, Phase::Ready)
            || matches!(self.phase, Phase::Startup(_)) && self.active.is_none();
        if self.pause == Pause::Pausing
            && is_here
            && self.is_at_rest()
            // Nobody is given a server that only waits for one.
            && (self.can_be_held() || self.waiting.is_none() && self.wants.acquire.is_none())
        {
            self.pause = Pause::Resting;
            self.wants.rest = true;
        }
    }
}
