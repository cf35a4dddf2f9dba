//! Batches of extended-protocol messages: one implicit transaction each, routed as a whole.

use pgwire_core::encode;
use pgwire_core::error::DecodeError;
use pgwire_core::frame::Seen;
use pgwire_core::frontend::{Bind, Close, Describe, Execute, Parse, Target as Named};
use pgwire_core::pipeline::{Disposition, Request, Token};
use pgwire_core::tag::{FrontendTag, Tag, TagSet};

use super::demand::{Change, Control, Demand};
use super::facts::Known;
use super::names;
use super::query::Step;
use super::shared::{BatchSeen, Dropping};
use super::statements::Missing;
use super::{Head, Relay};
use crate::config::PoolMode;
use crate::ids::NodeId;
use crate::link::Link;
use crate::pins::PinReasons;

impl<S> Relay<S> {
    pub(super) fn on_extended(
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
            if self.answer_preparing(batch_len)? {
                return Ok(Step::Done);
            }
            if self.place(demand, batch_len) == Step::Hold {
                self.session.head = Some(head);
                return Ok(Step::Hold);
            }
            self.arm(batch_len, true);
            self.session.statements.batch_begins();
            self.started(demand);
            self.session.in_batch = true;
            self.trim_statements();
        }
        let Some(node) = self.active.as_ref().map(|link| link.node()) else {
            return Ok(Step::Hold);
        };
        let mut token = Token::default();
        let request = match tag {
            FrontendTag::PARSE => {
                let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
                let named = frame.get(5).is_some_and(|byte| *byte != 0);
                if named && self.shares_statements() {
                    return self.on_named_parse(whole, len);
                }
                if whole && let Some(step) = self.parse_deallocate(len)? {
                    return Ok(step);
                }
                return self.on_parse(node, whole, len).map(|()| Step::Done);
            }
            FrontendTag::BIND => {
                let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
                let bind = Bind::names(frame)?;
                let (at, name_len) = (5 + bind.portal.len() + 1, bind.statement.len());
                if name_len > 0 && self.shares_statements() {
                    let Some(name) = self.name_on_server(at, name_len) else {
                        return Ok(Step::Hold);
                    };
                    self.bound(len)?;
                    self.note(Request::Bind, Token::default());
                    self.pass_renamed(at, name_len, &name, len);
                    return Ok(Step::Done);
                }
                self.bound(len)?;
                self.prepare_for(node, len, |frame| Ok(Some(Bind::names(frame)?.statement)))?;
                Request::Bind
            }
            FrontendTag::DESCRIBE => {
                let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
                let describe = Describe::parse(frame)?;
                let name_len = describe.name.len();
                let is_statement = describe.target == Named::Statement;
                if is_statement && name_len > 0 && self.shares_statements() {
                    let Some(name) = self.name_on_server(6, name_len) else {
                        return Ok(Step::Hold);
                    };
                    self.note(Request::Describe, Token::default());
                    self.pass_renamed(6, name_len, &name, len);
                    return Ok(Step::Done);
                }
                self.prepare_for(node, len, |frame| {
                    let describe = Describe::parse(frame)?;
                    Ok(is_statement.then_some(describe.name))
                })?;
                Request::Describe
            }
            FrontendTag::CLOSE => {
                let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
                let close = Close::parse(frame)?;
                if close.target == Named::Statement {
                    if !close.name.is_empty() && self.shares_statements() {
                        return Ok(self.on_named_close(len));
                    }
                    self.session.statements.close(close.name, node);
                }
                Request::Close
            }
            FrontendTag::EXECUTE => {
                let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
                if whole && Execute::parse(frame)?.max_rows > 0 {
                    self.session.transaction.anchor();
                }
                token = self.executes();
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
        self.note(request, token);
        self.pass(len);
        Ok(Step::Done)
    }

    /// The Bind at the head of the input goes to its server: what it will do there.
    fn bound(&mut self, len: usize) -> Result<(), DecodeError> {
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        let bind = Bind::names(frame)?;
        let (name, keeps) = (bind.statement, !bind.portal.is_empty());
        let Some(demand) = self.session.statements.demand(name) else { return Ok(()) };
        if demand.vacates {
            self.wants.vacate = self.session.vacated(self.session.statements.text(name));
        }
        if !demand.is_plain() || self.is_on_standby() {
            let primary = self.context.settings.primary_node();
            // Only what may have to be repeated is copied: this is on the path of every read.
            let sql = if demand.is_plain() {
                Vec::new()
            } else {
                self.session.statements.text(name).to_vec()
            };
            self.session.runs(demand, &sql, &self.client.params, self.active.as_deref(), primary);
            if demand.changes_reading(&sql) {
                self.unsettle();
            }
            if matches!(demand.change, Change::DeallocateAll | Change::DiscardAll) {
                self.drops_all(Dropping::AllByPortal);
            }
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
                self.session.pin(PinReasons::PREPARED_STATEMENT);
            }
            let text_at = 5 + name.len() + 1;
            if pins {
                self.session.pin(demand.why.with(if demand.pins {
                    PinReasons::default()
                } else {
                    PinReasons::PREPARED_STATEMENT
                }));
            }
            self.log_statement(text_at, len);
        } else {
            let name = frame.get(5..).and_then(|rest| rest.split(|byte| *byte == 0).next());
            self.session.statements.unrecorded(name.unwrap_or_default());
            self.session.pin(PinReasons::PREPARED_STATEMENT);
        }
        self.note(Request::Parse, token);
        self.pass(len);
        Ok(())
    }

    /// Whether preparing a statement of this name keeps the server with its client.
    pub(super) fn keeps_server(&self, statement: &[u8]) -> bool {
        self.context.settings.pool_mode == PoolMode::Transaction
            && !statement.is_empty()
            && !self.shares_statements()
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
        self.session.batch = BatchSeen { prepares: true, ..BatchSeen::default() };
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
        let mut planned = 0_usize;
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
                    // All of the batch must fit.
                    if !parse.statement.is_empty() {
                        planned += names::size(parse.statement, frame.len());
                    }
                    if !self.session.statements.has_room(parse.statement, planned.max(frame.len()))
                        || !self.has_library_room(parse.statement, frame.len())
                    {
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
                    self.session.batch.names |= !bind.statement.is_empty();
                    self.session.batch.prepares = false;
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
                FrontendTag::DESCRIBE => {
                    self.session.batch.names |= frame.get(5) == Some(&b'S');
                    self.session.batch.prepares = false;
                }
                FrontendTag::CLOSE => {}
                FrontendTag::SYNC => {
                    self.session.batch.whole = true;
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
pub(super) fn swallow_close<S>(link: &mut Link<S>, name: &[u8]) {
    let _ = link.pipeline.sent(Request::Close, Disposition::Swallow, Token::default());
    link.output.own(|out| encode::close_statement(out, name));
}

/// Prepares a statement on our own account. Room in the pipeline was checked.
pub(super) fn swallow_parse<S>(link: &mut Link<S>, name: &[u8], body: &[u8], token: Token) {
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
