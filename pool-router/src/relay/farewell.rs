//! The end of a session: nothing of it stays behind on the servers that it used.

use pgwire_core::encode;
use pgwire_core::pipeline::{Disposition, Request, Token};
use pgwire_core::time::Instant;
use pgwire_core::txn::TransactionStatus;

use super::pause::Pause;
use super::{FLUSH_TIMEOUT, Phase, RESET_TIMEOUT, Relay, Timer};
use crate::hub::Hub;
use crate::link::Link;
use crate::prepared::Key;

impl<S> Relay<S> {
    /// Gives everything up at once: for a runtime whose task for this client ends before
    /// [`super::Turn::Finished`], because it panicked or is being dropped.
    pub fn abort<D: Clone>(&mut self, hub: &mut Hub<S, D>, now: Instant) {
        if matches!(self.phase, Phase::Finished) {
            return;
        }
        if let Some(node) = self.waiting.take() {
            hub.withdraw(self.id, node, now);
        }
        let held = self.active.take().into_iter().chain(self.parked.drain(..));
        let wanted = self.wants.release.drain(..).chain(self.wants.retire.drain(..));
        for link in held.chain(wanted) {
            hub.discard(link.id, now);
        }
        for server in self.wants.discard.drain(..) {
            hub.discard(server, now);
        }
        let cancelling = self.wants.cancel_server.drain(..).filter_map(|(_, _, by)| by);
        for by in cancelling.chain(self.wants.cancel_over.drain(..)) {
            hub.cancel_over(Some(by));
        }
        hub.leave(self.id, now);
        self.phase = Phase::Finished;
    }

    /// The client must go: what it was told is still written.
    pub(super) fn close_client(&mut self) {
        if matches!(self.phase, Phase::Gone | Phase::Finished) {
            return;
        }
        self.client.closed = true;
        self.phase = Phase::Closing;
        // The flush that follows in this round starts the clock if it cannot finish.
        self.timer = None;
        if let Some(mut link) = self.active.take() {
            self.client.output.detach(&mut link.input);
            link.output.detach(&mut self.client.input);
            self.park_or_abandon(link);
        }
    }

    /// Keeps a link for cleaning, unless its server is in the middle of a message of the client
    /// that will never end.
    fn park_or_abandon(&mut self, link: Box<Link<S>>) {
        if self.client.framer.at_boundary() {
            self.parked.push(link);
        } else {
            self.abandon(&link);
        }
    }

    /// The client has gone: cleans up after it.
    pub(super) fn client_lost(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Gone | Phase::Finished) {
            return;
        }
        if self.context.settings.log_disconnections && self.pool_key.is_some() {
            tracing::info!(client = self.id.index, "disconnection");
        }
        self.client.closed = true;
        self.client.socket = None;
        self.phase = Phase::Gone;
        self.timer = None;
        if let Some(node) = self.waiting.take() {
            self.wants.withdraw = Some(node);
        }
        self.wants.acquire = None;
        self.wants.admit = false;
        self.wants.login = false;
        if let Some(mut link) = self.active.take() {
            link.output.detach(&mut self.client.input);
            self.park_or_abandon(link);
        }
        self.client.output.clear();
        self.client.input.clear();
        self.clean_up(now);
    }

    /// Resets the servers that were held, one after the other, and gives them back.
    pub(super) fn clean_up(&mut self, now: Instant) {
        loop {
            if let Some(link) = &self.active {
                if !link.pipeline.is_settled() && !self.reset_failed {
                    return;
                }
                self.stop_timer(Timer::Reset);
                let Some(link) = self.active.take() else { return };
                let clean = !self.reset_failed && link.is_quiet();
                self.reset_failed = false;
                if clean && link.pipeline.is_releasable() {
                    self.wants.release.push(link);
                } else {
                    self.wants.discard.push(link.id);
                }
            }
            let Some(link) = self.parked.pop() else { break };
            if !link.is_quiet() {
                self.abandon(&link);
                continue;
            }
            // Whether others may have what was not reset is not for the present settings to say.
            if self.session.replicates || !self.context.settings.connection_cache {
                self.wants.retire.push(link);
                continue;
            }
            let commands = self.reset_commands(&link);
            if commands.is_empty() {
                self.wants.release.push(link);
                continue;
            }
            if self.pause == Pause::Resting {
                // The hub takes it that nothing runs.
                self.wants.retire.push(link);
                continue;
            }
            let mut link = link;
            if commands.iter().any(|sql| names_any(sql, &["DISCARD", "DEALLOCATE"])) {
                link.statements.doubt_all();
            }
            if self.session.pinned {
                let clean = commands.iter().any(|sql| names_any(sql, &["DISCARD ALL"]));
                link.applied = if clean { Key::default() } else { Key::UNKNOWN };
            }
            for sql in &commands {
                // An empty pipeline has room for a few.
                if link
                    .pipeline
                    .sent(Request::Query, Disposition::Swallow, Token::default())
                    .is_ok()
                {
                    link.output.own(|out| encode::query(out, sql.as_bytes()));
                }
            }
            self.timer = Some((now + RESET_TIMEOUT, Timer::Reset));
            self.active = Some(link);
            return;
        }
        self.phase = Phase::Gone;
        self.wants.leave = true;
    }

    /// The server does not come back from its reset.
    pub(super) fn give_up_reset(&mut self) {
        if let Some(link) = self.active.take() {
            self.wants.discard.push(link.id);
        }
        if self.parked.is_empty() {
            self.wants.leave = true;
        }
    }

    /// Closes a server that is still at work for a client that is gone, and stops the work.
    fn abandon(&mut self, link: &Link<S>) {
        if !link.pipeline.is_settled() {
            self.wants.cancel_server.push((link.id, link.key.clone(), None));
        }
        self.wants.discard.push(link.id);
    }

    /// What makes the server fit for others.
    fn reset_commands(&self, link: &Link<S>) -> Vec<String> {
        let in_transaction = link.pipeline.status() != TransactionStatus::Idle;
        if self.is_transaction_mode() && !self.session.pinned {
            return if in_transaction { vec!["ROLLBACK".to_owned()] } else { Vec::new() };
        }
        // ABORT outside of a transaction only earns a warning in the server's log.
        let needed = |sql: &&String| in_transaction || !is_abort(sql);
        let mut commands: Vec<String> =
            self.context.settings.reset_query_list.iter().filter(needed).cloned().collect();
        if in_transaction && !commands.iter().any(|sql| is_abort(sql)) {
            commands.insert(0, "ROLLBACK".to_owned());
        }
        let drops_all = ["DISCARD ALL", "DEALLOCATE ALL"];
        if self.session.raw_names && !commands.iter().any(|sql| names_any(sql, &drops_all)) {
            commands.push("DEALLOCATE ALL".to_owned());
        }
        commands
    }

    /// Starts the clock for a client that does not read its last message.
    pub(super) fn limit_farewell(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Closing) && self.timer.is_none() {
            self.timer = Some((now + FLUSH_TIMEOUT, Timer::Flush));
        }
    }
}

fn is_abort(sql: &str) -> bool {
    let word = sql.trim().trim_end_matches(';').trim_end();
    word.eq_ignore_ascii_case("abort") || word.eq_ignore_ascii_case("rollback")
}

/// Whether a command of the reset list contains one of these words.
fn names_any(sql: &str, words: &[&str]) -> bool {
    let upper = sql.to_ascii_uppercase();
    words.iter().any(|word| upper.contains(word))
}
