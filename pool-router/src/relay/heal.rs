//! Asks the primary what a standby refused.
//!
//! The text of a statement does not tell everything: a view may call a function that writes, a
//! table may be unlogged. A standby then refuses (25006, 0A000 and kin), or it is shut down before
//! it answers. As long as the client has
//! seen nothing of the answer, the same statement or batch is sent to the primary instead, once.
//!
//! A transaction that a standby's server leaves behind goes on on the primary in the same way, if it
//! can; a refusal in the middle of one is passed on, so that it teaches only.
//!
//! A batch that fails because its server has lost a prepared statement, or has an old plan of one
//! ("cached plan must not change result type"), runs again on the same server.
//!
//! For that a copy of it is kept until the standby's first row or completion, and the messages
//! that come before (ParseComplete, BindComplete, RowDescription) are held back.

use pgwire_core::backend::ErrorOrNotice;
use pgwire_core::frame::{FrontendFramer, Seen};
use pgwire_core::frontend::{Bind, Query};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::tag::{BackendTag, FrontendTag, TagSet};
use pgwire_core::txn::TransactionStatus;

use super::Relay;
use super::transaction::Block;
use crate::buffers::FRAME_LIMITS;
use crate::catalogue::{FunctionName, Learned, culprits};
use crate::classify::fingerprint;

/// SQLSTATEs with which a standby refuses what the primary may well do: read-only transaction,
/// feature not supported (in recovery), undefined table (temporary, or not replayed yet),
/// serialization failure (conflict with recovery), undefined file (COPY of an unlogged table, which
/// has none there).
const REFUSALS: [&[u8; 5]; 5] = [b"25006", b"0A000", b"42P01", b"40001", b"58P01"];

/// Of these, those that the same statement will meet again.
const LASTING: [&[u8; 5]; 2] = [b"25006", b"0A000"];

/// What lets a statement be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The standby refuses it, or is lost.
    Refusal,
    /// The standby is lost.
    Loss,
    /// Nothing runs, and whatever is wrong the primary is to say.
    Preparing,
    /// Its server lacks a prepared statement, or has an old plan of one.
    Stale,
}

/// How the answer of a standby begins.
enum Beginning {
    /// Not to be told yet.
    Open,
    /// As an answer, or with an error of the statement's own.
    Answer,
    /// With a refusal, which may have taught something.
    Refusal(Option<Vec<FunctionName>>),
    /// With a refusal that the client has to be told, and that has taught something.
    Lesson(Vec<FunctionName>),
    /// With a prepared statement that is not there, or whose plan is old.
    Stale,
}

impl<S> Relay<S> {
    /// The next `len` bytes of the client's input go to the active link: keeps a copy if that is a
    /// standby, and nothing else is under way on it.
    /// The primary is only asked again what failed for want of a prepared statement: a `batch`.
    pub(super) fn arm(&mut self, len: usize, batch: bool) {
        self.session.replay.clear();
        if !self.session.alone || self.session.healing || self.session.mending {
            return;
        }
        if !self.is_on_standby() {
            let seen = self.session.batch;
            let idle = self.active.as_ref().is_some_and(|link| {
                link.pipeline.status() == TransactionStatus::Idle
                    && self.session.transaction.block() == Block::Closed
            });
            if seen.names && seen.whole && idle && batch && self.shares_statements() {
                self.session.replay_for = Occasion::Stale;
                let unit = self.client.input.unparsed().get(..len).unwrap_or_default();
                self.session.replay.extend_from_slice(unit);
            }
            return;
        }
        if batch && !self.session.batch.whole {
            // What of it comes later could not be put back with it.
            return;
        }
        // One that has failed stays so, wherever it is.
        let is_sound = self
            .active
            .as_ref()
            .is_some_and(|link| link.pipeline.status() == TransactionStatus::InTransaction);
        let transaction = &mut self.session.transaction;
        self.session.replay_for = match transaction.block() {
            Block::Open if !transaction.can_move() => return,
            Block::Open if is_sound && self.session.batch.only_prepares() => Occasion::Preparing,
            Block::Open if transaction.has_queried() => Occasion::Loss,
            Block::Open | Block::Closed => Occasion::Refusal,
            Block::Deferred | Block::Failed => return,
        };
        transaction.mark();
        let unit = self.client.input.unparsed().get(..len).unwrap_or_default();
        self.session.replay.extend_from_slice(unit);
    }

    /// Looks how the standby's answer begins, and has the primary asked if it is a refusal. Returns
    /// whether more must be seen before any of it may be passed on.
    pub(super) fn await_verdict(&mut self) -> bool {
        let beginning = match self.session.replay_for {
            Occasion::Stale => self.first_message(),
            Occasion::Refusal | Occasion::Loss | Occasion::Preparing => self.beginning(),
        };
        match beginning {
            Beginning::Open => true,
            Beginning::Answer => {
                self.session.replay.clear();
                false
            }
            Beginning::Lesson(learned) => {
                self.learn(Some(learned));
                self.session.replay.clear();
                false
            }
            Beginning::Stale => {
                let can_mend = self.session.replay_for != Occasion::Loss
                    && self.session.transaction.block() == Block::Closed
                    && self.may_mend();
                if can_mend && self.take_back() {
                    // On the same server, and whatever was prepared there is prepared anew.
                    self.session.healing = false;
                    self.session.mending = true;
                    if let Some(link) = &mut self.active {
                        link.statements.doubt_all();
                        link.pipeline.swallow_all();
                    }
                }
                self.session.replay.clear();
                false
            }
            Beginning::Refusal(learned) => {
                self.learn(learned);
                if self.take_back()
                    && let Some(link) = &mut self.active
                {
                    link.pipeline.swallow_all();
                }
                false
            }
        }
    }

    /// Remembers what a standby refuses, so that it is not asked again.
    fn learn(&mut self, functions: Option<Vec<FunctionName>>) {
        let (Some(functions), Some(link)) = (functions, &self.active) else { return };
        // In a READ ONLY transaction the primary refuses it as well.
        if self.session.transaction.modes().read_only == Some(true) {
            return;
        }
        let statement =
            self.only_statement().and_then(|sql| fingerprint(sql, &self.session.lexing));
        self.wants.learned = Some((link.node(), Learned { functions, statement }));
    }

    /// The text of the statement that is being asked, if it is one.
    fn only_statement(&self) -> Option<&[u8]> {
        let mut framer = FrontendFramer::new(FRAME_LIMITS);
        let mut rest = &*self.session.replay;
        let mut only = None;
        while let Ok(Seen::Message { tag, frame }) = framer.scan(rest, TagSet::ALL) {
            rest = rest.get(frame.len()..).unwrap_or_default();
            let sql = match tag {
                FrontendTag::QUERY => Query::parse(frame).ok()?.sql,
                FrontendTag::BIND => {
                    self.session.statements.text(Bind::names(frame).ok()?.statement)
                }
                _ => continue,
            };
            if only.replace(sql).is_some() {
                return None;
            }
        }
        only
    }

    /// Makes the statement or batch that a standby was asked the next one again, for the primary.
    /// Returns whether that was possible: nothing of the answer may have been passed on.
    pub(super) fn take_back(&mut self) -> bool {
        let possible = !self.session.replay.is_empty()
            && !self.session.in_batch
            && self.client.framer.at_boundary()
            && self.client.input.put_back(&self.session.replay);
        self.session.replay.clear();
        if possible {
            tracing::debug!(client = self.id.index, "a standby refused: asking the primary");
            self.session.statements.batch_undone();
            self.session.demands.clear();
            self.session.head = None;
            self.session.chosen = None;
            self.session.healing = true;
            self.session.tally.get_or_insert_default().healed += 1;
            if self.session.transaction.is_new() {
                self.session.transaction.close();
            } else if self.session.transaction.block() == Block::Open {
                self.session.transaction.back_to_mark();
                self.leave_node(TransactionStatus::InTransaction);
            }
        }
        possible
    }

    /// How the answer of the primary begins, as far as that matters for prepared statements.
    fn first_message(&self) -> Beginning {
        let Some(link) = &self.active else { return Beginning::Answer };
        let rest = link.input.unparsed();
        if rest.first().is_some_and(|tag| *tag != BackendTag::ERROR.as_byte()) {
            return Beginning::Answer;
        }
        match link.framer.clone().scan(rest, TagSet::ALL) {
            Ok(Seen::Message { frame, .. }) if is_stale(frame) => Beginning::Stale,
            Ok(Seen::Need { .. }) if link.input.has_room() => Beginning::Open,
            _ => Beginning::Answer,
        }
    }

    /// Whether the batch that failed can run again without misleading its client: rows of another
    /// shape than a client was told of before would be misread, so it must ask for it in the batch.
    fn may_mend(&self) -> bool {
        let mut framer = FrontendFramer::new(FRAME_LIMITS);
        let mut rest = &*self.session.replay;
        let mut described = false;
        while let Ok(Seen::Message { tag, frame }) = framer.scan(rest, TagSet::ALL) {
            rest = rest.get(frame.len()..).unwrap_or_default();
            match tag {
                FrontendTag::DESCRIBE => described = true,
                FrontendTag::BIND => described = false,
                FrontendTag::EXECUTE if !described => return false,
                _ => {}
            }
        }
        true
    }

    fn beginning(&self) -> Beginning {
        let Some(link) = &self.active else { return Beginning::Answer };
        let mut framer = link.framer.clone();
        let mut rest = link.input.unparsed();
        loop {
            let (tag, frame) = match framer.scan(rest, TagSet::ALL) {
                Ok(Seen::Message { tag, frame }) => (tag, frame),
                Ok(Seen::Need { .. }) if link.input.has_room() => return Beginning::Open,
                Ok(Seen::Need { .. } | Seen::Run { .. } | Seen::Opening { .. }) | Err(_) => {
                    return Beginning::Answer;
                }
            };
            match tag {
                BackendTag::PARSE_COMPLETE
                | BackendTag::BIND_COMPLETE
                | BackendTag::CLOSE_COMPLETE
                | BackendTag::PARAMETER_DESCRIPTION
                | BackendTag::ROW_DESCRIPTION
                | BackendTag::NO_DATA
                | BackendTag::NOTICE
                | BackendTag::PARAMETER_STATUS
                // Comes before the server so much as opens the table.
                | BackendTag::COPY_OUT => {}
                BackendTag::ERROR => {
                    let Ok(error) = ErrorOrNotice::parse(frame) else { return Beginning::Answer };
                    let Some(code) = error.code() else { return Beginning::Answer };
                    if code.is_server_leaving() || self.session.replay_for == Occasion::Preparing {
                        return Beginning::Refusal(None);
                    }
                    let code = code.as_bytes();
                    if !REFUSALS.contains(&code) {
                        return Beginning::Answer;
                    }
                    if self.session.replay_for == Occasion::Loss {
                        return match LASTING.contains(&code) {
                            true => Beginning::Lesson(culprits(&error)),
                            false => Beginning::Answer,
                        };
                    }
                    return Beginning::Refusal(LASTING.contains(&code).then(|| culprits(&error)));
                }
                _ => return Beginning::Answer,
            }
            rest = rest.get(frame.len()..).unwrap_or_default();
        }
    }
}

/// Whether an error says that a prepared statement is not there, or that its plan is old: the latter
/// has no SQLSTATE of its own, but the routine that reports it is told in every language.
pub(super) fn is_stale(frame: &[u8]) -> bool {
    let Ok(error) = ErrorOrNotice::parse(frame) else { return false };
    match error.code() {
        Some(SqlState::INVALID_SQL_STATEMENT_NAME) => true,
        Some(SqlState::FEATURE_NOT_SUPPORTED) => {
            error.field(b'R') == Some(b"RevalidateCachedQuery")
        }
        _ => false,
    }
}
