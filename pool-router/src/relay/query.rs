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
use pgwire_core::frontend::{Bind, Close, Describe, Execute, Parse, Query, Target as Named};
use pgwire_core::params::Params;
use pgwire_core::pipeline::{Disposition, Request, Token};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::tag::{FrontendTag, Tag, TagSet};
use pgwire_core::time::Instant;
use pgwire_core::txn::TransactionStatus;

use super::demand::{Control, Demand, keeps_snapshot, merged};
use super::facts::Known;
use super::statements::Missing;
use super::transaction::Block;
use super::{Head, Relay, SHUTDOWN_MESSAGE, Timer};
use crate::classify::{BeginMode, EndKind, IsolationLevel, Reason, StatementCount, Target};
use crate::config::{PoolMode, TransactionReads};
use crate::identity::TRACKED;
use crate::ids::NodeId;
use crate::link::Link;

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

/// Whether a message could be dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
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
        match tag {
            FrontendTag::QUERY => self.on_query(whole, len),
            FrontendTag::FUNCTION_CALL => {
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
        let Head { demand, .. } = head;
        let primary = self.context.settings.primary_node();
        if self.place(demand, len) == Step::Hold {
            self.session.head = Some(head);
            return Ok(Step::Hold);
        }
        self.log_statement(5, len);
        self.arm(len);
        self.session.statements.batch_begins();
        self.started(demand);
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        // What is too long to be looked at as a whole is not to be repeated either.
        let sql = if whole { Query::parse(frame)?.sql } else { &[] };
        self.session.runs(demand, sql, &self.client.params, self.active.as_deref(), primary);
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
        Ok(Head { demand: Demand::of(&verdict, self.repeats()), exact, begin_tag, len })
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
    fn answer(&mut self, tag: &[u8], len: usize) {
        self.log_statement(5, len);
        self.session.head = None;
        self.session.chosen = None;
        self.session.statements.query();
        self.drop_input(len);
        let status = self.session.transaction.status();
        self.client.output.own(|out| {
            encode::command_complete(out, tag);
            encode::ready_for_query(out, status);
        });
    }

    fn on_extended(
        &mut self,
        tag: FrontendTag,
        whole: bool,
        len: usize,
    ) -> Result<Step, DecodeError> {
        if !self.session.in_batch {
            let head = match self.session.head {
                Some(head) => head,
                None => {
                    let Some((demand, len)) = self.peek_batch()? else { return Ok(Step::Hold) };
                    Head::new(demand, len)
                }
            };
            let Head { demand, len: batch_len, .. } = head;
            if self.place(demand, batch_len) == Step::Hold {
                self.session.head = Some(head);
                return Ok(Step::Hold);
            }
            self.arm(batch_len);
            self.session.statements.batch_begins();
            self.started(demand);
            self.session.in_batch = true;
        }
        let Some(node) = self.active.as_ref().map(|link| link.node()) else {
            return Ok(Step::Hold);
        };
        let request = match tag {
            FrontendTag::PARSE => return self.on_parse(node, whole, len).map(|()| Step::Done),
            FrontendTag::BIND => {
                self.bound(len)?;
                self.prepare_for(node, len, |frame| Ok(Some(Bind::names(frame)?.statement)))?;
                Request::Bind
            }
            FrontendTag::DESCRIBE => {
                self.prepare_for(node, len, |frame| {
                    let describe = Describe::parse(frame)?;
                    Ok((describe.target == Named::Statement).then_some(describe.name))
                })?;
                Request::Describe
            }
            FrontendTag::CLOSE => {
                let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
                let close = Close::parse(frame)?;
                if close.target == Named::Statement {
                    self.session.statements.close(close.name, node);
                }
                Request::Close
            }
            FrontendTag::EXECUTE => {
                let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
                if whole && Execute::parse(frame)?.max_rows > 0 {
                    self.session.transaction.anchor();
                }
                Request::Execute
            }
            FrontendTag::FLUSH => Request::Flush,
            _ => {
                self.session.in_batch = false;
                self.session.demands.clear();
                self.session.statements.batch_sent();
                Request::Sync
            }
        };
        self.note(request, Token::default());
        self.pass(len);
        Ok(Step::Done)
    }

    /// The Bind at the head of the input goes to its server: what it will do there.
    fn bound(&mut self, len: usize) -> Result<(), DecodeError> {
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        let bind = Bind::names(frame)?;
        let (name, keeps) = (bind.statement, !bind.portal.is_empty());
        let Some(demand) = self.session.statements.demand(name) else { return Ok(()) };
        if !demand.is_plain() || self.is_on_standby() {
            let primary = self.context.settings.primary_node();
            // Only what may have to be repeated is copied: this is on the path of every read.
            let sql = if demand.is_plain() {
                Vec::new()
            } else {
                self.session.statements.text(name).to_vec()
            };
            self.session.runs(demand, &sql, &self.client.params, self.active.as_deref(), primary);
        }
        if keeps {
            self.session.transaction.anchor();
        }
        Ok(())
    }

    pub(super) fn is_on_standby(&self) -> bool {
        let primary = self.context.settings.primary_node();
        self.active.as_ref().is_some_and(|link| link.node() != primary)
    }

    fn on_parse(&mut self, node: NodeId, whole: bool, len: usize) -> Result<(), DecodeError> {
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        let mut token = Token::default();
        if whole {
            let parse = Parse::parse(frame)?;
            let name = parse.statement;
            let demand = match self.session.demands.pop_front() {
                Some(demand) => demand,
                None => {
                    let known = Known {
                        catalogue: self.catalogue.as_deref(),
                        context: &self.context,
                        params: &self.client.params,
                    };
                    self.session.demand(parse.sql, known)
                }
            };
            let body = frame.get(5 + name.len() + 1..).unwrap_or_default();
            let pins = demand.pins || self.keeps_server(name);
            if self.session.statements.is_taken(name) {
                // Its server will refuse it, as it should, if it has the one that there is.
                if let Some(link) = &mut self.active {
                    prepare(link, name, self.session.statements.needed(name, node));
                }
            } else if self.session.statements.has_room(name, body.len()) {
                let (expected, stale) = self.session.statements.parse(name, body, demand, node);
                token = expected;
                if stale && let Some(link) = &mut self.active {
                    swallow_close(link, name);
                }
            } else {
                // Its server may still have one of that name which was closed elsewhere.
                if !name.is_empty()
                    && let Some(link) = &mut self.active
                {
                    prepare(link, name, self.session.statements.needed(name, node));
                }
                self.session.statements.unrecorded(name);
                self.session.pinned = true;
            }
            let text_at = 5 + name.len() + 1;
            self.session.pinned |= pins;
            self.log_statement(text_at, len);
        } else {
            let name = frame.get(5..).and_then(|rest| rest.split(|byte| *byte == 0).next());
            self.session.statements.unrecorded(name.unwrap_or_default());
            self.session.pinned = true;
        }
        self.note(Request::Parse, token);
        self.pass(len);
        Ok(())
    }

    /// Whether preparing a statement of this name keeps the server with its client.
    fn keeps_server(&self, statement: &[u8]) -> bool {
        self.context.settings.pool_mode == PoolMode::Transaction && !statement.is_empty()
    }

    /// Prepares the statement that a message names where its server lacks it.
    fn prepare_for(
        &mut self,
        node: NodeId,
        len: usize,
        name: impl FnOnce(&[u8]) -> Result<Option<&[u8]>, DecodeError>,
    ) -> Result<(), DecodeError> {
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        let Some(name) = name(frame)? else { return Ok(()) };
        let missing = self.session.statements.needed(name, node);
        if let Some(link) = &mut self.active {
            prepare(link, name, missing);
        }
        Ok(())
    }

    /// What the batch at the head of the input demands, all its statements together. `None`: more of
    /// it must be seen. With it comes the length of the batch in bytes, as far as it was seen.
    fn peek_batch(&mut self) -> Result<Option<(Demand, usize)>, DecodeError> {
        self.session.demands.clear();
        let known = Known {
            catalogue: self.catalogue.as_deref(),
            context: &self.context,
            params: &self.client.params,
        };
        self.session.refresh(known);
        let mut all = Demand::NOTHING;
        let mut names: Vec<(&[u8], Demand)> = Vec::new();
        let mut runs = false;
        let mut unrun = 0_usize;
        let mut framer = self.client.framer.clone();
        let mut rest = self.client.input.unparsed();
        let before = rest.len();
        loop {
            let (tag, frame) = match framer.scan(rest, TagSet::ALL)? {
                Seen::Message { tag, frame } => (tag, frame),
                Seen::Need { .. } if self.client.input.has_room() && !self.client.closed => {
                    return Ok(None);
                }
                Seen::Need { .. } | Seen::Run { .. } | Seen::Opening { .. } => {
                    return Ok(Some((all.and_unknown(), before - rest.len())));
                }
            };
            rest = rest.get(frame.len()..).unwrap_or_default();
            match tag {
                FrontendTag::PARSE => {
                    let parse = Parse::parse(frame)?;
                    let body = frame.get(5 + parse.statement.len() + 1..).unwrap_or_default();
                    let same = self.session.statements.same_again(parse.statement, body);
                    let mut demand = match same {
                        Some(demand) => demand,
                        None => self.session.demand(parse.sql, known),
                    };
                    if !self.session.statements.has_room(parse.statement, frame.len()) {
                        demand = Demand::UNKNOWN;
                    }
                    self.session.demands.push_back(demand);
                    names.push((parse.statement, demand));
                    // Preparing does nothing yet, but where it is prepared it will be run.
                    all = all.and(Demand { control: Control::None, ..demand });
                    all.pins |= self.keeps_server(parse.statement);
                }
                FrontendTag::BIND => {
                    let bind = Bind::names(frame)?;
                    let here = names.iter().rev().find(|(known, _)| *known == bind.statement);
                    let demand = here
                        .map(|(_, demand)| *demand)
                        .or_else(|| self.session.statements.demand(bind.statement))
                        .unwrap_or(Demand::WRITE);
                    all = all.and(demand);
                    all.portal |= !bind.portal.is_empty();
                    if runs && matches!(demand.control, Control::Begin(_)) {
                        // What the batch did before becomes part of the transaction.
                        all = all.and_unknown();
                    }
                    runs = true;
                    unrun += usize::from(!demand.is_plain());
                }
                FrontendTag::EXECUTE => {
                    all.portal |= Execute::parse(frame)?.max_rows > 0;
                    unrun = unrun.saturating_sub(1);
                }
                FrontendTag::DESCRIBE | FrontendTag::CLOSE => {}
                FrontendTag::SYNC => {
                    if unrun > 0 {
                        // Whether it will ever be run, nobody knows.
                        all = Demand { pins: true, ..all.and_unknown() };
                    }
                    return Ok(Some((all, before - rest.len())));
                }
                _ => return Ok(Some((all.and_unknown(), before - rest.len()))),
            }
        }
    }

    /// Sees to it that the active link is the one for a statement or batch of `len` bytes with this
    /// demand.
    fn place(&mut self, demand: Demand, len: usize) -> Step {
        let primary = self.context.settings.primary_node();
        if let Some(link) = &self.active {
            let settled = link.pipeline.is_settled();
            let on_primary = link.node() == primary;
            let status = link.pipeline.status();
            let block = self.session.transaction.block();
            let stays = self.session.in_batch
                || link.pipeline.is_unpredictable()
                // What is under way may open a transaction or end it: only the primary serves all.
                || (on_primary && (!settled || status != TransactionStatus::Idle))
                || (on_primary && self.session.pinned && self.is_transaction_mode());
            if stays {
                return self.ready_link();
            }
            if !on_primary && !settled && (block == Block::Open || demand.control != Control::None)
            {
                // Where the transaction will be, only the answers tell.
                let plain = demand.read && demand.control == Control::None && !demand.portal;
                return if plain && block == Block::Open { self.ready_link() } else { Step::Hold };
            }
            if !on_primary && settled && status != TransactionStatus::Idle {
                if block == Block::Deferred || self.session.healing {
                    self.roll_back_here();
                    return Step::Hold;
                }
                let can_move = self.session.transaction.can_move();
                let goes_on = if status == TransactionStatus::Failed {
                    let ends = matches!(demand.control, Control::End(_));
                    self.suits_failed(demand) || !ends && !can_move
                } else {
                    !can_move || self.may_go_on_here(demand, len)
                };
                if goes_on {
                    return self.ready_link();
                }
                self.leave_node(status);
                self.roll_back_here();
                return Step::Hold;
            }
            let node = self.wish(demand, primary);
            let Some(link) = &self.active else { return Step::Hold };
            if link.node() == node {
                return self.ready_link();
            }
            if !settled || !link.is_quiet() || !self.client.framer.at_boundary() {
                return Step::Hold;
            }
            self.let_go();
        }
        if self.waiting.is_some() || self.wants.acquire.is_some() {
            return Step::Hold;
        }
        let node = self.wish(demand, primary);
        if let Some(at) = self.parked.iter().position(|link| link.node() == node) {
            let mut link = self.parked.swap_remove(at);
            link.verified = false;
            self.active = Some(link);
        } else {
            self.wants.acquire = Some(node);
        }
        Step::Hold
    }

    /// The node for a statement, the same for as long as it is held.
    fn wish(&mut self, demand: Demand, primary: NodeId) -> NodeId {
        if let Some(node) = self.session.chosen {
            return node;
        }
        let settings = &self.context.settings;
        let bound = self.session.pinned || self.session.healing;
        let leaves = self.session.balancer.is_enabled()
            && match (self.session.transaction.block(), demand.control) {
                // Any server will do to refuse what comes.
                (Block::Failed, _) => self.suits_failed(demand),
                _ if bound || self.session.transaction.is_bound() => false,
                (Block::Deferred, control) => self.may_run_on_standby(demand, control),
                (Block::Closed | Block::Open, Control::Begin(_)) => {
                    self.may_run_on_standby(demand, demand.control)
                }
                (Block::Closed | Block::Open, _) => {
                    // One that keeps the server that it runs on may be followed by writes.
                    demand.read
                        && !(demand.pins && settings.pool_mode == PoolMode::Transaction)
                        && self.session.after_write.frees_reads()
                        // A standby knows no such transactions.
                        && self.session.default_level() != Some(IsolationLevel::Serializable)
                }
            };
        let node = if leaves { self.session.balancer.node(settings) } else { primary };
        self.session.chosen = Some(node);
        node
    }

    /// Whether a transaction that is on no server may begin on a standby, with such a statement.
    fn may_run_on_standby(&self, demand: Demand, control: Control) -> bool {
        let modes = match control {
            Control::Begin(change) | Control::Modes(change) => {
                merged(self.session.transaction.modes(), change)
            }
            _ => self.session.transaction.modes(),
        };
        self.session.after_write.frees_transactions() && self.suits_standby(modes, demand)
    }

    /// Whether a transaction in these modes can be on a standby, with such a statement.
    fn suits_standby(&self, modes: BeginMode, demand: Demand) -> bool {
        let level = modes.isolation.or_else(|| self.session.default_level());
        if demand.pins || level == Some(IsolationLevel::Serializable) {
            return false;
        }
        if modes.read_only == Some(true) {
            return demand.fits_read_only;
        }
        demand.follows
            && !demand.portal
            && !keeps_snapshot(level)
            && self.settings().transaction_reads == TransactionReads::Standby
    }

    /// Whether the open transaction stays on its standby with such a statement.
    fn may_go_on_here(&self, demand: Demand, len: usize) -> bool {
        let transaction = &self.session.transaction;
        match demand.control {
            // The primary takes it, and a standby refuses it, if it is so already.
            Control::Modes(change) if makes_writable(transaction.modes(), change) => false,
            // The server refuses what comes too late, and takes what does not matter.
            Control::Modes(_) | Control::Begin(_) if transaction.has_queried() => true,
            Control::Modes(change) | Control::Begin(change) => {
                let modes = merged(transaction.modes(), change);
                transaction.has_room(len) && self.suits_standby(modes, demand)
            }
            // Which of its settings are still in effect then, only the server knows.
            Control::RollbackTo if self.session.parameters.has_pending() => false,
            Control::End(end) if end.chain && self.session.parameters.has_pending() => false,
            Control::Savepoint | Control::RollbackTo | Control::Repeat => {
                transaction.has_room(len) && self.suits_standby(transaction.modes(), demand)
            }
            Control::None | Control::End(_) => self.suits_standby(transaction.modes(), demand),
        }
    }

    /// Whether a standby may answer such a statement in a transaction that has failed.
    fn suits_failed(&self, demand: Demand) -> bool {
        let goes_back = demand.control == Control::RollbackTo;
        demand.suits_failed() && !(goes_back && self.session.parameters.has_pending())
    }

    /// The transaction, whose status was this, is given up on its standby, to go on on the primary.
    pub(super) fn leave_node(&mut self, status: TransactionStatus) {
        self.session.chosen = None;
        self.session.tally.get_or_insert_default().moved += 1;
        if let Some(before) = self.session.transaction.displaced(status, &self.client.params) {
            self.client.params = before;
        }
    }

    /// Rolls back what is open on the active link, which is settled.
    fn roll_back_here(&mut self) {
        self.own_query(b"ROLLBACK", BLOCK);
    }

    /// Sends a query of our own on the active link, which has room for it.
    fn own_query(&mut self, sql: &[u8], token: Token) {
        if let Some(link) = &mut self.active {
            let _ = link.pipeline.sent(Request::Query, Disposition::Swallow, token);
            link.output.own(|out| encode::query(out, sql));
            self.session.statements.own_query(link.node());
        }
    }

    /// Brings the active link into the client's state; holds until it is known to be alive.
    fn ready_link(&mut self) -> Step {
        let Some(link) = &mut self.active else { return Step::Hold };
        if !link.verified {
            return Step::Hold;
        }
        let settled = link.pipeline.is_settled();
        if link.repeating {
            if !settled {
                return Step::Hold;
            }
            link.repeating = false;
            if std::mem::take(&mut self.session.repeat_failed) && self.is_on_standby() {
                tracing::debug!(client = self.id.index, "a standby does not take a setting");
                self.session.pinned = true;
                self.session.chosen = None;
                return Step::Hold;
            }
        }
        if self.repeat_settings() {
            return Step::Hold;
        }
        let Some(link) = &mut self.active else { return Step::Hold };
        self.session.alone = settled;
        let agreed = link.agrees_with.as_ref();
        if settled && !agreed.is_some_and(|params| params.ptr_eq(&self.client.params)) {
            let mut sql = Vec::new();
            for (name, value) in Params::diff(&self.client.params, &link.params, &TRACKED) {
                set_parameter(&mut sql, name.as_bytes(), value);
            }
            if sql.is_empty() {
                link.agrees_with = Some(self.client.params.clone());
            } else {
                self.own_query(&sql, SETUP);
            }
        }
        if matches!(self.session.transaction.block(), Block::Deferred | Block::Failed) {
            self.open_transaction();
        }
        Step::Done
    }

    /// Sets on the active link's server what the session has set elsewhere. Returns whether anything
    /// was to be set.
    fn repeat_settings(&mut self) -> bool {
        let repeats = self.repeats();
        let Some(link) = &mut self.active else { return false };
        let version = self.session.parameters.version();
        if !repeats
            || link.settings == version
            || !link.pipeline.is_settled()
            || link.pipeline.status() != TransactionStatus::Idle
        {
            return false;
        }
        for sql in self.session.parameters.since(link.settings) {
            let _ = link.pipeline.sent(Request::Query, Disposition::Swallow, REPEAT);
            link.output.own(|out| encode::query(out, sql));
            self.session.statements.own_query(link.node());
        }
        link.settings = version;
        link.repeating = true;
        true
    }

    /// The active link's server gets the client's transaction.
    fn open_transaction(&mut self) {
        let on_primary = !self.is_on_standby();
        for sql in self.session.transaction.open(on_primary) {
            self.own_query(&sql, BLOCK);
        }
    }

    /// A statement or batch is about to be sent.
    fn started(&mut self, demand: Demand) {
        self.session.head = None;
        self.session.chosen = None;
        self.session.balancer.settled();
        let healed = std::mem::take(&mut self.session.healing);
        if demand.writes || healed {
            let in_block = matches!(demand.control, Control::Begin(_))
                || self.session.transaction.block() == Block::Open
                || self
                    .active
                    .as_ref()
                    .is_some_and(|link| link.pipeline.status() != TransactionStatus::Idle);
            self.session.after_write.wrote(in_block);
        }
        self.session.alters_catalogue |= demand.alters_catalogue;
        self.session.pinned |= demand.pins;
    }

    /// Logs the statement that stands at `from` in the message of `len` bytes at the head of the input.
    fn log_statement(&self, from: usize, len: usize) {
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
    fn note(&mut self, request: Request, token: Token) {
        if let Some(link) = &mut self.active {
            // Room was checked before the message was looked at.
            let _ = link.pipeline.sent(request, Disposition::Forward, token);
        }
    }

    /// Forwards the next `len` bytes to the active link.
    fn pass(&mut self, len: usize) {
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
    pub(super) fn on_cancel(&mut self) {
        if !matches!(self.phase, super::Phase::Ready) {
            return;
        }
        if let Some(node) = self.waiting.take() {
            self.wants.withdraw = Some(node);
            self.stop_timer(Timer::QueueWait);
            self.refuse_statement(
                SqlState::QUERY_CANCELED,
                "canceling statement due to user request",
                None,
            );
        } else if let Some(link) = &self.active
            && !link.pipeline.is_settled()
        {
            self.wants.cancel_server.push((link.id, link.key.clone()));
        }
    }
}

/// Whether a transaction in these modes is told to be able to write, and nothing else.
fn makes_writable(modes: BeginMode, change: BeginMode) -> bool {
    modes.read_only != Some(true)
        && change == BeginMode { read_only: Some(false), ..BeginMode::default() }
}

/// While copy data flows in, everything else still has to be looked at.
const COPYING: TagSet<FrontendTag> = TagSet::ALL.without(TagSet::of(&[FrontendTag::COPY_DATA]));

/// Appends a SET command. `name` is one of ours or was checked to be a plain identifier.
pub(super) fn set_parameter(sql: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    sql.extend_from_slice(b"SET ");
    sql.extend_from_slice(name);
    sql.extend_from_slice(b" TO ");
    encode::quote_literal(sql, value);
    sql.push(b';');
}

/// Brings a statement to its server. Room in the pipeline was checked.
fn prepare<S>(link: &mut Link<S>, name: &[u8], missing: Missing<'_>) {
    match missing {
        Missing::Nothing => {}
        Missing::Close => swallow_close(link, name),
        Missing::Replace(body, token) => {
            swallow_close(link, name);
            swallow_parse(link, name, body, token);
        }
        Missing::Parse(body, token) => swallow_parse(link, name, body, token),
    }
}

/// Closes a statement on our own account. Room in the pipeline was checked.
fn swallow_close<S>(link: &mut Link<S>, name: &[u8]) {
    let _ = link.pipeline.sent(Request::Close, Disposition::Swallow, Token::default());
    link.output.own(|out| encode::close_statement(out, name));
}

/// Prepares a statement on our own account. Room in the pipeline was checked.
fn swallow_parse<S>(link: &mut Link<S>, name: &[u8], body: &[u8], token: Token) {
    let _ = link.pipeline.sent(Request::Parse, Disposition::Swallow, token);
    link.output.own(|out| {
        let length = u32::try_from(4 + name.len() + 1 + body.len()).unwrap_or(u32::MAX);
        out.push(FrontendTag::PARSE.byte());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(body);
    });
}
