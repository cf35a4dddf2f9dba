//! The client's statements: where each goes, and getting it there.
//!
//! # Routing unit
//! A simple query is routed by itself. A batch of extended-protocol messages is one implicit
//! transaction, so it is routed as a whole: it is held until its Sync is in sight, and may go to a
//! standby only if every statement in it may. A batch that ends in Flush, or does not fit into the
//! buffer, goes to the primary, because what follows is not known. Of an explicit transaction a
//! statement runs where that is, or takes it along to the primary: see `transaction`.
//!
//! # Order of replies
//! Statements go to another server only when everything sent to the present one has been answered,
//! so replies of two servers never need to be put in order. A pipelining client that is on the
//! primary stays there rather than wait.

use pgwire_core::encode::{self, Severity};
use pgwire_core::error::DecodeError;
use pgwire_core::frame::Seen;
use pgwire_core::frontend::Query;
use pgwire_core::params::Params;
use pgwire_core::pipeline::{Disposition, Request, Token};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::tag::{FrontendTag, Tag, TagSet};
use pgwire_core::time::Instant;
use pgwire_core::txn::TransactionStatus;

use super::demand::{Change, Control, Demand};
use super::facts::Known;
use super::shared::{BatchSeen, Dropping};
use super::transaction::Block;
use super::{Head, Relay, SHUTDOWN_MESSAGE, Timer};
use crate::classify::{BeginMode, EndKind, IsolationLevel, Reason, StatementCount, Target};
use crate::identity::TRACKED;
use crate::ids::ClientId;

/// Requests that one message of the client can turn into: parameters, a re-prepared statement, a
/// closed leftover, and itself.
const ROOM: usize = 5;

/// Bytes of our own that may wait for one server before more of the client's input is looked at.
const OWN_LIMIT: usize = 256 * 1024;

/// Marks the query that sets parameters; its failure ends the session.
pub(super) const SETUP: Token = Token(u32::MAX);

/// Marks the queries that begin a transaction, repeat what it did, or roll it back: whether they
/// succeed shows in the transaction status.
pub(super) const BLOCK: Token = Token(u32::MAX - 1);

/// Marks what the session has set on another server and is set on this one too.
pub(super) const REPEAT: Token = Token(u32::MAX - 2);

/// Marks the Execute of a `DEALLOCATE ALL` or `DISCARD ALL`.
pub(super) const DEALLOCATE_ALL: Token = Token(u32::MAX - 3);

/// Whether a message could be dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is on its way; look at the next.
    Done,
    /// It stays where it is until something happens.
    Hold,
}

impl<S> Relay<S> {
    /// Deals with the client's messages as far as it goes.
    pub(super) fn advance_client(&mut self, now: Instant) -> bool {
        let mut progress = false;
        while matches!(self.phase, super::Phase::Ready) && !self.client.input.is_parsed() {
            match self.next_message(now) {
                Ok(Step::Done) => progress = true,
                Ok(Step::Hold) => break,
                Err(error) => {
                    tracing::debug!(client = self.id.index, "malformed message: {error}");
                    self.fatal(error.sqlstate(), &error.to_string(), None);
                    return true;
                }
            }
        }
        progress
    }

    fn next_message(&mut self, now: Instant) -> Result<Step, DecodeError> {
        let copying = self.active.as_ref().is_some_and(|link| link.pipeline.is_copying_in());
        let stop = if copying { COPYING } else { TagSet::ALL };
        let inside = !self.client.framer.at_boundary();
        let mut framer = self.client.framer.clone();
        // The borrow of the input must end before the relay acts: take what is needed out of it.
        let seen = match framer.scan(self.client.input.unparsed(), stop)? {
            Seen::Need { .. } => return Ok(Step::Hold),
            Seen::Run { bytes } => (None, bytes),
            Seen::Message { tag, frame } => (Some((tag, true)), frame.len()),
            Seen::Opening { tag, have, .. } => (Some((tag, false)), have.len()),
        };
        let step = match seen {
            (None, bytes) => {
                if !inside {
                    self.note(Request::CopyData, Token::default());
                }
                self.pass(bytes);
                Step::Done
            }
            (Some((tag, whole)), len) => self.on_client_message(tag, whole, len, now)?,
        };
        if step == Step::Done {
            self.client.framer = framer;
        }
        Ok(step)
    }

    fn on_client_message(
        &mut self,
        tag: FrontendTag,
        whole: bool,
        len: usize,
        now: Instant,
    ) -> Result<Step, DecodeError> {
        self.stop_timer(Timer::ClientIdle);
        if tag == FrontendTag::TERMINATE {
            self.client.input.decide(len);
            self.client_lost(now);
            return Ok(Step::Done);
        }
        if self.session.skip_to_sync {
            self.drop_input(len);
            if tag == FrontendTag::SYNC {
                self.session.skip_to_sync = false;
                let status = self.session.transaction.status();
                self.client.output.own(|out| encode::ready_for_query(out, status));
            }
            return Ok(Step::Done);
        }
        if let Some(link) = &self.active
            && (!link.pipeline.has_room(ROOM) || link.output.own_len() > OWN_LIMIT)
        {
            return Ok(Step::Hold);
        }
        if self.session.dropping == Dropping::AllByQuery && !self.session.in_batch {
            // Which statements there are, its answer will tell.
            return Ok(Step::Hold);
        }
        match tag {
            FrontendTag::QUERY => self.on_query(whole, len),
            FrontendTag::FUNCTION_CALL => {
                self.session.batch = BatchSeen::default();
                if self.place(Demand::WRITE, len) == Step::Hold {
                    return Ok(Step::Hold);
                }
                self.started(Demand::WRITE);
                self.note(Request::FunctionCall, Token::default());
                self.session.statements.batch_sent();
                self.pass(len);
                Ok(Step::Done)
            }
            FrontendTag::PARSE
            | FrontendTag::BIND
            | FrontendTag::DESCRIBE
            | FrontendTag::EXECUTE
            | FrontendTag::CLOSE
            | FrontendTag::FLUSH
            | FrontendTag::SYNC => self.on_extended(tag, whole, len),
            FrontendTag::COPY_DATA | FrontendTag::COPY_DONE | FrontendTag::COPY_FAIL => {
                let request = match tag {
                    FrontendTag::COPY_DATA => Request::CopyData,
                    FrontendTag::COPY_DONE => Request::CopyDone,
                    _ => Request::CopyFail,
                };
                if self.active.is_some() {
                    self.note(request, Token::default());
                    self.pass(len);
                } else {
                    // A server drops late copy data; so does a proxy that holds none.
                    self.drop_input(len);
                }
                Ok(Step::Done)
            }
            _ => {
                self.fatal(
                    SqlState::PROTOCOL_VIOLATION,
                    &format!("invalid frontend message type {}", tag.byte()),
                    None,
                );
                Ok(Step::Done)
            }
        }
    }

    fn on_query(&mut self, whole: bool, len: usize) -> Result<Step, DecodeError> {
        let head = match self.session.head {
            Some(head) => head,
            None => self.read_query(whole, len)?,
        };
        if let Some(step) = self.answer_control(head, len) {
            if step == Step::Hold {
                self.session.head = Some(head);
            }
            return Ok(step);
        }
        if let Some(step) = self.answer_deallocate(head, len) {
            if step == Step::Hold {
                self.session.head = Some(head);
            }
            return Ok(step);
        }
        let Head { demand, .. } = head;
        let primary = self.context.settings.primary_node();
        self.session.batch = BatchSeen::default();
        if self.place(demand, len) == Step::Hold {
            self.session.head = Some(head);
            return Ok(Step::Hold);
        }
        self.log_statement(5, len);
        self.arm(len, false);
        self.session.statements.batch_begins();
        self.started(demand);
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        // What is too long to be looked at as a whole is not to be repeated either.
        let sql = if whole { Query::parse(frame)?.sql } else { &[] };
        self.session.runs(demand, sql, &self.client.params, self.active.as_deref(), primary);
        let changes_reading = demand.changes_reading(sql);
        if demand.vacates {
            self.wants.vacate = self.session.vacated(sql);
        }
        if changes_reading {
            self.unsettle();
        }
        if matches!(demand.change, Change::DeallocateAll | Change::DiscardAll) {
            self.drops_all(Dropping::AllByQuery);
        }
        self.note(Request::Query, Token::default());
        self.session.statements.batch_sent();
        self.session.statements.query();
        self.pass(len);
        Ok(Step::Done)
    }

    fn read_query(&mut self, whole: bool, len: usize) -> Result<Head, DecodeError> {
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        if !whole {
            return Ok(Head::new(Demand::UNKNOWN, len));
        }
        let known = Known {
            catalogue: self.catalogue.as_deref(),
            context: &self.context,
            params: &self.client.params,
        };
        self.session.refresh(known);
        let verdict = self.session.classify(Query::parse(frame)?.sql, known);
        let exact = verdict.effects.exact && verdict.statements == StatementCount::One;
        let begin_tag = match verdict.target {
            Target::Primary(Reason::TransactionControl("START")) => "START TRANSACTION",
            _ => "BEGIN",
        };
        Ok(Head { demand: Demand::of(&verdict, true), exact, begin_tag, len })
    }

    /// Answers transaction control that no server needs to hear of, or not yet.
    fn answer_control(&mut self, head: Head, len: usize) -> Option<Step> {
        if !head.exact {
            return None;
        }
        let block = self.session.transaction.block();
        match (block, head.demand.control) {
            (Block::Closed, Control::Begin(modes)) if self.defers(modes) => {
                if let Some(link) = &self.active {
                    if link.node() == self.context.settings.primary_node()
                        && !link.pipeline.is_settled()
                        || link.pipeline.status() != TransactionStatus::Idle
                    {
                        return None;
                    }
                    if !link.is_quiet() {
                        return Some(Step::Hold);
                    }
                }
                let level = self.session.default_level();
                self.session.transaction.defer(modes, level, &self.client.params);
                self.answer(head.begin_tag.as_bytes(), len);
            }
            (Block::Deferred, Control::Savepoint) if self.session.transaction.has_room(len) => {
                let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
                let sql = Query::parse(frame).ok()?.sql;
                self.session.transaction.remember_savepoint(sql);
                self.answer(b"SAVEPOINT", len);
            }
            (Block::Deferred | Block::Failed, Control::End(end)) => {
                let commits = block == Block::Deferred && end.kind == EndKind::Commit;
                // What it has set on a standby that is gone is to last.
                let lasts = commits && self.session.transaction.parameters().is_some();
                // What modes follow a failed one, only the server knows.
                let unknown = end.chain && block == Block::Failed;
                if lasts || unknown || end.kind == EndKind::Prepare {
                    return None;
                }
                self.parameters_undone();
                self.session.parameters.rolled_back();
                if end.chain {
                    self.session.transaction.chain(&self.client.params);
                } else {
                    self.session.transaction.close();
                }
                self.answer(if commits { b"COMMIT" } else { b"ROLLBACK" }, len);
            }
            _ => return None,
        }
        Some(Step::Done)
    }

    /// A transaction ends that is on no server: tells the client which parameters it has again.
    fn parameters_undone(&mut self) {
        let Some((before, told)) = self.session.transaction.parameters() else { return };
        for (name, value) in Params::diff(before, told, &TRACKED) {
            self.client.output.own(|out| encode::parameter_status(out, name.as_bytes(), value));
        }
    }

    /// Whether a transaction in these modes may wait for its first statement before it is begun.
    fn defers(&self, modes: BeginMode) -> bool {
        self.session.balancer.is_enabled()
            && !self.session.pinned
            && !self.session.healing
            && modes.isolation != Some(IsolationLevel::Serializable)
    }

    /// Completes the simple query at the head of the input without a server.
    pub(super) fn answer(&mut self, tag: &[u8], len: usize) {
        self.log_statement(5, len);
        self.session.head = None;
        self.session.chosen = None;
        self.session.statements.query();
        self.drop_input(len);
        let block = self.session.transaction.block();
        let status = match &self.active {
            Some(link) if matches!(block, Block::Closed | Block::Open) => link.pipeline.status(),
            _ => self.session.transaction.status(),
        };
        if block == Block::Closed && status == TransactionStatus::Idle {
            self.session.unsettled = None;
        }
        self.client.output.own(|out| {
            encode::command_complete(out, tag);
            encode::ready_for_query(out, status);
        });
    }

    /// Logs the statement that stands at `from` in the message of `len` bytes at the head of the input.
    pub(super) fn log_statement(&self, from: usize, len: usize) {
        let settings = self.settings();
        if !settings.log_statement && !settings.log_per_node_statement {
            return;
        }
        let text = self.client.input.unparsed().get(from..len).unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let sql = String::from_utf8_lossy(text);
        if settings.log_statement {
            tracing::info!(client = self.id.index, "statement: {sql}");
        }
        if settings.log_per_node_statement
            && let Some(link) = &self.active
            && self.session.transaction.block() != Block::Deferred
        {
            let (node, pid) = (link.node().0, link.key.pid);
            tracing::info!("DB node id: {node} backend pid: {pid} statement: {sql}");
        }
    }

    /// Records a message of the client for the active link.
    pub(super) fn note(&mut self, request: Request, token: Token) {
        if let Some(link) = &mut self.active {
            // Room was checked before the message was looked at.
            let _ = link.pipeline.sent(request, Disposition::Forward, token);
        }
    }

    /// Forwards the next `len` bytes to the active link.
    pub(super) fn pass(&mut self, len: usize) {
        match &mut self.active {
            Some(link) => link.output.forward(&mut self.client.input, len),
            None => self.drop_input(len),
        }
    }

    pub(super) fn drop_input(&mut self, len: usize) {
        match &mut self.active {
            Some(link) => link.output.skip(&mut self.client.input, len),
            None => {
                self.client.input.decide(len);
                self.client.input.release(len);
            }
        }
    }

    /// Answers the statement or batch at the head of the input with an error of our own.
    pub(super) fn refuse_statement(&mut self, code: SqlState, message: &str, hint: Option<&str>) {
        if matches!(self.phase, super::Phase::Startup(_)) {
            self.fatal(code, message, hint);
            return;
        }
        self.refuse_with(|out| {
            encode::error_response(
                out,
                &encode::ErrorResponse {
                    severity: Severity::Error,
                    code,
                    message,
                    detail: None,
                    hint,
                },
            );
        });
    }

    /// Answers the statement or batch at the head of the input with the error that `encode` writes.
    pub(super) fn refuse_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.session.head = None;
        self.session.chosen = None;
        self.session.balancer.settled();
        self.session.transaction.fail();
        let status = self.session.transaction.status();
        self.client.output.own(encode);
        let mut framer = self.client.framer.clone();
        let seen = match framer.scan(self.client.input.unparsed(), TagSet::ALL) {
            Ok(Seen::Message { tag, frame }) => Some((tag, frame.len())),
            Ok(Seen::Opening { tag, have, .. }) => Some((tag, have.len())),
            Ok(Seen::Need { .. } | Seen::Run { .. }) | Err(_) => None,
        };
        match seen {
            Some((FrontendTag::QUERY | FrontendTag::FUNCTION_CALL, len)) => {
                self.client.framer = framer;
                self.drop_input(len);
                self.client.output.own(|out| encode::ready_for_query(out, status));
            }
            _ => {
                self.session.skip_to_sync = true;
                self.session.in_batch = false;
            }
        }
        if self.draining {
            self.fatal(SqlState::ADMIN_SHUTDOWN, SHUTDOWN_MESSAGE, None);
        }
    }

    /// The client asked, on another connection, to cancel what it is doing.
    pub(super) fn on_cancel(&mut self, by: ClientId) {
        if !matches!(self.phase, super::Phase::Ready) {
            self.wants.cancel_over.push(by);
            return;
        }
        if let Some(node) = self.waiting.take() {
            self.wants.withdraw = Some(node);
            self.stop_wait_timers();
            self.refuse_statement(
                SqlState::QUERY_CANCELED,
                "canceling statement due to user request",
                None,
            );
            self.wants.cancel_over.push(by);
        } else if let Some(link) = &self.active
            && !link.pipeline.is_settled()
        {
            self.wants.cancel_server.push((link.id, link.key.clone(), Some(by)));
        } else {
            self.wants.cancel_over.push(by);
        }
    }
}

/// While copy data flows in, everything else still has to be looked at.
const COPYING: TagSet<FrontendTag> = TagSet::ALL.without(TagSet::of(&[FrontendTag::COPY_DATA]));
