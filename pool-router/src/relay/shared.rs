//! Named prepared statements in transaction mode: shared by clients, brought along to every server.
//!
//! Messages that name a statement are passed on under its name on servers. Where the server lacks
//! it, its Parse goes ahead and the answer stays here; where the server has it already, the client's
//! own Parse is answered here, in its turn. A Close only takes the client's name away: servers drop
//! what they have not used for the longest time.
//!
//! Whether a name stands for something may depend on messages that are not answered. The messages
//! of one batch share the fate of an error in it; what names a statement from behind its Sync waits.

use pgwire_core::encode;
use pgwire_core::error::DecodeError;
use pgwire_core::frame::Seen;
use pgwire_core::frontend::{Parse, Query};
use pgwire_core::pipeline::{FakeReply, Request, Token};
use pgwire_core::tag::{FrontendTag, TagSet};
use pgwire_core::txn::TransactionStatus;

use super::demand::{Change, Demand};
use super::extended::{swallow_close, swallow_parse};
use super::facts::Known;
use super::names::{self, Named};
use super::query::{DEALLOCATE_ALL, Step};
use super::transaction::Block;
use super::{Head, Phase, Relay, Session};
use crate::classify::deallocated;
use crate::link::Link;
use crate::pins::PinReasons;
use crate::prepared::{INSTEAD, Key, PREFIX, Presence, ServerName};
use crate::sizes::size;

/// Statements that are closed at most before one batch.
const TRIM: usize = 4;

/// Bytes behind a name up to which they are copied, rather than written as a piece of their own.
const COPIED: usize = 512;

/// What a message calls a statement on the way to the server.
#[derive(Debug)]
pub(super) enum OnServer {
    /// This.
    Shared(ServerName),
    /// What the client calls it: it is not known here.
    Unknown,
}

/// What was seen of a batch before any of it was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BatchSeen {
    /// It uses a named statement.
    pub(super) names: bool,
    /// It was seen to its Sync.
    pub(super) whole: bool,
    /// There is nothing in it but Parse, Close and Sync.
    pub(super) prepares: bool,
}

impl BatchSeen {
    /// Whether it runs nothing.
    pub(super) const fn only_prepares(self) -> bool {
        self.whole && self.prepares
    }
}

/// What drops prepared statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dropping {
    Nothing,
    /// A simple query, all of them: it is under way.
    AllByQuery,
    /// The portal that was bound last, all of them: it is about to be run.
    AllByPortal,
    /// The unnamed statement, the one of this name: it is about to be run.
    One(Box<[u8]>),
}

impl<S> Relay<S> {
    /// Whether named statements are shared between clients.
    pub(super) fn shares_statements(&self) -> bool {
        self.session.statements.names.is_some()
    }

    /// Whether the text of a statement of this size could be kept.
    pub(super) fn has_library_room(&self, name: &[u8], body: usize) -> bool {
        let limit = self.settings().prepared_statement_memory;
        name.is_empty()
            || !self.shares_statements()
            || self.session.library.as_ref().is_none_or(|library| library.has_room(body, limit))
    }

    /// A batch begins: closes statements that its server has too many of, if nothing is under way.
    pub(super) fn trim_statements(&mut self) {
        let limit = size(self.context.settings.max_prepared_statements);
        let Some(link) = &mut self.active else { return };
        if !self.session.alone
            || link.pipeline.status() != TransactionStatus::Idle
            || self.session.statements.names.is_none()
        {
            return;
        }
        for _ in 0..TRIM {
            let Some(key) = link.statements.evict(limit) else { return };
            swallow_close(link, key.name().as_bytes());
        }
    }

    /// The settings under which a text is read that is sent now, and those under which statements of
    /// before were read, if these may be others.
    fn read_under(&mut self) -> (Key, Option<Key>) {
        let session = &mut self.session;
        let Some(names) = &mut session.statements.names else { return Default::default() };
        let settled = names.read_under(&self.client.params, session.parameters.reading());
        match session.unsettled {
            None => (settled, None),
            // Nobody else's, and nobody's later.
            Some(occasion) => {
                let id = self.id;
                let own = Key::of([
                    &b"unsettled"[..],
                    &id.index.to_be_bytes(),
                    &id.generation.to_be_bytes(),
                    &occasion.to_be_bytes(),
                ]);
                (own, Some(settled))
            }
        }
    }

    /// Whether a reply may be made in the server's place: it would not refuse the message.
    fn may_answer(&self) -> bool {
        let failed = |link: &Link<S>| {
            link.pipeline.status() == TransactionStatus::Failed || link.pipeline.is_unpredictable()
        };
        self.session.alone
            && !self.active.as_deref().is_some_and(failed)
            && !self.session.transaction.is_failed()
    }

    /// Sees to it that the server has the statement that is named at `at` in the message at the head
    /// of the input. Returns what it is called there; `None`: that is not known yet.
    pub(super) fn name_on_server(&mut self, at: usize, name_len: usize) -> Option<OnServer> {
        let (under, before) = self.read_under();
        let name = self.client.input.unparsed().get(at..at + name_len).unwrap_or_default();
        let Self { active: Some(link), session, .. } = self else { return None };
        bring(session, link, name, under, before)
    }

    /// Answers a batch that only prepares what some server has prepared before: it needs none now.
    /// Clients that wait for a server do not hold up those that prepare, and a client that blocks
    /// while it prepares does not hold up those that hold servers.
    pub(super) fn answer_preparing(&mut self, len: usize) -> Result<bool, DecodeError> {
        let session = &self.session;
        let idle = |link: &Link<S>| {
            link.pipeline.is_settled() && link.pipeline.status() != TransactionStatus::Failed
        };
        let block = session.transaction.block();
        let is_candidate = self.session.batch.only_prepares() && self.shares_statements();
        if !is_candidate
            || session.transaction.is_failed()
            || session.pinned
            || session.healing
            || session.mending
            || session.unsettled.is_some()
            || !self.active.as_deref().is_none_or(idle)
        {
            return Ok(false);
        }
        let (under, _) = self.read_under();
        let limit = self.context.settings.prepared_statement_memory;
        let batch = self.client.input.unparsed().get(..len).unwrap_or_default().to_vec();
        let mut given: Vec<(&[u8], Named)> = Vec::new();
        let mut rest = &*batch;
        let mut framer = self.client.framer.clone();
        let mut demands = self.session.demands.iter();
        let mut size = 0;
        while let Seen::Message { tag, frame } = framer.scan(rest, TagSet::ALL)? {
            rest = rest.get(frame.len()..).unwrap_or_default();
            match tag {
                FrontendTag::PARSE => {
                    let name = Parse::parse(frame)?.statement;
                    let body = frame.get(5 + name.len() + 1..).unwrap_or_default();
                    let Some(names) = &self.session.statements.names else { return Ok(false) };
                    size += names::size(name, body.len());
                    let taken =
                        names.get(name).is_some() || given.iter().any(|(it, _)| *it == name);
                    let library = self.session.library.as_mut();
                    let known = library.filter(|it| it.is_proven(Key::of([body]).under(under)));
                    let Some(demand) = demands.next().filter(|demand| !demand.pins) else {
                        return Ok(false);
                    };
                    if name.is_empty() || taken || !names.has_room(size) {
                        return Ok(false);
                    }
                    let Some(prepared) = known.and_then(|library| library.get(body, limit)) else {
                        return Ok(false);
                    };
                    given.push((name, Named::new(prepared, *demand, under)));
                }
                FrontendTag::SYNC => break,
                _ => return Ok(false),
            }
        }
        let unit = self.session.statements.unit();
        let none = Token::default();
        for (name, named) in given {
            if let Some(names) = &mut self.session.statements.names {
                names.prepare(name, named, none, unit);
                names.confirmed(none);
            }
            self.client.output.own(encode::parse_complete);
        }
        self.session.head = None;
        self.session.chosen = None;
        self.session.demands.clear();
        self.drop_input(len);
        let status = match &self.active {
            Some(link) if block != Block::Deferred => link.pipeline.status(),
            _ => self.session.transaction.status(),
        };
        self.client.output.own(|out| encode::ready_for_query(out, status));
        Ok(true)
    }

    /// The client's Parse of a name.
    pub(super) fn on_named_parse(&mut self, whole: bool, len: usize) -> Result<Step, DecodeError> {
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        let name: Vec<u8> = Parse::parse_prefix(frame)?.statement.to_vec();
        let text_at = 5 + name.len() + 1;
        let unit = self.session.statements.unit();
        let Some(link) = &self.active else { return Ok(Step::Hold) };
        let copying = link.pipeline.is_copying_in();
        let skipping = link.pipeline.is_skipping();
        let names = self.session.statements.names.as_ref();
        if !copying && names.is_some_and(|names| names.is_open(&name, unit)) {
            return Ok(Step::Hold);
        }
        if skipping || !whole {
            // Longer than what is kept, it is its server's own. (Of what is skipped nothing comes.)
            if !skipping {
                self.session.pin(PinReasons::PREPARED_STATEMENT);
                self.session.raw_names = true;
            }
            self.session.demands.pop_front();
            self.note(Request::Parse, Token::default());
            self.pass_renamed(5, name.len(), &OnServer::Unknown, len);
            return Ok(Step::Done);
        }
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        Parse::parse(frame)?;
        let body = frame.get(text_at..).unwrap_or_default();
        if self.session.statements.names.as_ref().is_some_and(|names| names.get(&name).is_some()) {
            return Ok(self.refuse_taken_name(&name, len));
        }
        // There was room when a standby was chosen, which cannot be kept by its client.
        let limit = match self.is_on_standby() {
            true => u64::MAX,
            false => self.context.settings.prepared_statement_memory,
        };
        let prepared = if self.session.statements.has_room(&name, body.len()) {
            self.session.library.get_or_insert_default().get(body, limit)
        } else {
            None
        };
        let (under, _) = self.read_under();
        let may_answer = self.may_answer();
        let Some(prepared) = prepared else {
            self.session.demands.pop_front();
            self.session.pin(PinReasons::PREPARED_STATEMENT);
            self.session.raw_names = true;
            self.note(Request::Parse, Token::default());
            self.pass_renamed(5, name.len(), &OnServer::Unknown, len);
            return Ok(Step::Done);
        };
        let key = prepared.key().under(under);
        let Some(link) = &mut self.active else { return Ok(Step::Hold) };
        let presence = link.statements.presence(key);
        if matches!(presence, Presence::Sent(sent) if sent != unit) && !copying {
            return Ok(Step::Hold);
        }
        let demand = match self.session.demands.pop_front() {
            Some(demand) => demand,
            None => self.demand_of_parse(len)?,
        };
        if demand.pins {
            self.session.pin(demand.why);
        }
        self.log_statement(text_at, len);
        let token = self.session.statements.token();
        if let Some(names) = &mut self.session.statements.names {
            names.prepare(&name, Named::new(prepared, demand, under), token, unit);
        }
        let Some(link) = &mut self.active else { return Ok(Step::Hold) };
        let is_there = matches!(presence, Presence::Ready | Presence::Sent(_));
        if is_there && may_answer && link.pipeline.fake(FakeReply::ParseComplete, token).is_ok() {
            self.drop_input(len);
            self.make_replies();
            return Ok(Step::Done);
        }
        let server = key.name();
        if presence != Presence::Absent {
            swallow_close(link, server.as_bytes());
        }
        link.statements.sent(key, token, unit);
        self.note(Request::Parse, token);
        self.pass_renamed(5, name.len(), &OnServer::Shared(server), len);
        Ok(Step::Done)
    }

    fn demand_of_parse(&mut self, len: usize) -> Result<Demand, DecodeError> {
        let known = Known {
            catalogue: self.catalogue.as_deref(),
            context: &self.context,
            params: &self.client.params,
        };
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        Ok(self.session.demand(Parse::parse(frame)?.sql, known))
    }

    /// The client gives a name that it has given already: has the server refuse that, as only the
    /// server knows whether something else is wrong with it before.
    fn refuse_taken_name(&mut self, name: &[u8], len: usize) -> Step {
        self.session.demands.pop_front();
        let (under, _) = self.read_under();
        let unit = self.session.statements.unit();
        let token = self.session.statements.token();
        let names = self.session.statements.names.as_mut();
        if let Some(named) = names.and_then(|names| names.get_mut(name))
            && let Some(link) = &mut self.active
        {
            let (key, server) = named.on_server(under);
            // There for certain, or something else would be prepared under its name.
            swallow_close(link, server.as_bytes());
            swallow_parse(link, server.as_bytes(), named.prepared.body(), token);
            link.statements.sent(key, token, unit);
            self.note(Request::Parse, Token::default());
            self.pass_renamed(5, name.len(), &OnServer::Shared(server), len);
        }
        Step::Done
    }

    /// The client's Close of a named statement.
    pub(super) fn on_named_close(&mut self, len: usize) -> Step {
        let unit = self.session.statements.unit();
        let token = self.session.statements.token();
        let Self { active: Some(link), session, client, .. } = self else { return Step::Hold };
        let Some(names) = &mut session.statements.names else { return Step::Hold };
        let name_len = len.saturating_sub(7);
        let name = client.input.unparsed().get(6..6 + name_len).unwrap_or_default();
        let skipping = link.pipeline.is_skipping();
        if !skipping && names.is_open(name, unit) && !link.pipeline.is_copying_in() {
            return Step::Hold;
        }
        let known = !skipping && !link.pipeline.is_unpredictable() && names.get(name).is_some();
        if known && link.pipeline.fake(FakeReply::CloseComplete, token).is_ok() {
            names.close(name, token, unit);
            self.drop_input(len);
            self.make_replies();
            return Step::Done;
        }
        self.note(Request::Close, Token::default());
        self.pass_renamed(6, name_len, &OnServer::Unknown, len);
        Step::Done
    }

    /// Passes the message of `len` bytes at the head of the input on, with another name in the place
    /// of the one of `name_len` bytes at `at`.
    pub(super) fn pass_renamed(&mut self, at: usize, name_len: usize, name: &OnServer, len: usize) {
        let Some(link) = &mut self.active else { return self.drop_input(len) };
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        let old = frame.get(at..at + name_len).unwrap_or_default();
        let mut other = Vec::new();
        let name = match name {
            OnServer::Shared(name) => name.as_bytes(),
            OnServer::Unknown if !old.starts_with(PREFIX) => return self.pass(len),
            OnServer::Unknown => {
                other.extend_from_slice(INSTEAD);
                other.extend_from_slice(old.get(PREFIX.len()..).unwrap_or_default());
                &other
            }
        };
        let header = frame.first_chunk::<5>().copied().unwrap_or_default();
        let [tag, length @ ..] = header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let length = length.saturating_sub(name_len).saturating_add(name.len());
        let rest = len.saturating_sub(at + name_len);
        let copied = if rest <= COPIED { rest } else { 0 };
        link.output.own(|out| {
            out.push(tag);
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(frame.get(5..at).unwrap_or_default());
            out.extend_from_slice(name);
            let behind = frame.get(at + name_len..).unwrap_or_default();
            out.extend_from_slice(behind.get(..copied).unwrap_or_default());
        });
        link.output.skip(&mut self.client.input, at + name_len + copied);
        link.output.forward(&mut self.client.input, rest - copied);
    }

    /// Makes the replies of our own whose turn has come.
    pub(super) fn make_replies(&mut self) {
        // What may yet be asked again elsewhere has no answer before it is certain.
        if !self.session.replay.is_empty() || !matches!(self.phase, Phase::Ready) {
            return;
        }
        let Some(link) = &mut self.active else { return };
        if !link.framer.at_boundary() {
            return;
        }
        while let Some((reply, token)) = link.pipeline.poll_fake() {
            self.session.statements.confirmed(token);
            self.client.output.own(|out| match reply {
                FakeReply::ParseComplete => encode::parse_complete(out),
                FakeReply::CloseComplete => encode::close_complete(out),
            });
        }
    }

    /// Drops the client's statements without a server, where none has to know.
    pub(super) fn answer_deallocate(&mut self, head: Head, len: usize) -> Option<Step> {
        let which = head.demand.change;
        // In session mode all of them are dropped where they are.
        let handles = match which {
            Change::Deallocate => true,
            Change::DeallocateAll => self.shares_statements(),
            _ => false,
        };
        if !handles || self.session.in_batch || self.session.transaction.is_failed() {
            return None;
        }
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        let dropped = deallocated(Query::parse(frame).ok()?.sql, self.session.lexing)?;
        if self.active.as_ref().is_some_and(|link| !link.pipeline.is_settled()) {
            return Some(Step::Hold);
        }
        let failed = |link: &Link<S>| link.pipeline.status() == TransactionStatus::Failed;
        if self.active.as_deref().is_some_and(failed) {
            return None;
        }
        let Some(names) = &mut self.session.statements.names else {
            if !self.session.statements.close_everywhere(&dropped?) {
                return None;
            }
            self.answer(b"DEALLOCATE", len);
            return Some(Step::Done);
        };
        let tag: &[u8] = match dropped {
            // Those that SQL has prepared are on the one server that the session keeps.
            None if self.session.pinned => return None,
            None => {
                names.deallocate_all();
                b"DEALLOCATE ALL"
            }
            Some(name) => {
                names.get(&name)?;
                names.close(&name, Token::default(), 0);
                names.confirmed(Token::default());
                b"DEALLOCATE"
            }
        };
        self.answer(tag, len);
        Some(Step::Done)
    }

    /// The unnamed Parse at the head of the input, if it is a `DEALLOCATE` of a shared statement: the
    /// server is told its name there.
    pub(super) fn parse_deallocate(&mut self, len: usize) -> Result<Option<Step>, DecodeError> {
        if !self.shares_statements()
            || self.session.demands.front().is_none_or(|it| it.change != Change::Deallocate)
        {
            return Ok(None);
        }
        let frame = self.client.input.unparsed().get(..len).unwrap_or_default();
        let sql = Parse::parse(frame)?.sql;
        let Some(Some(name)) = deallocated(sql, self.session.lexing) else { return Ok(None) };
        let (under, before) = self.read_under();
        let Self { active: Some(link), session, .. } = self else { return Ok(Some(Step::Hold)) };
        let server = match bring(session, link, &name, under, before) {
            None => return Ok(Some(Step::Hold)),
            Some(OnServer::Unknown) => return Ok(None),
            Some(OnServer::Shared(server)) => server,
        };
        session.demands.pop_front();
        session.statements.unrecorded(b"");
        session.dropping = Dropping::One(name.into());
        let mut sql = b"DEALLOCATE ".to_vec();
        sql.extend_from_slice(server.as_bytes());
        link.output.own(|out| encode::parse(out, b"", &sql, &[]));
        self.note(Request::Parse, Token::default());
        self.drop_input(len);
        Ok(Some(Step::Done))
    }

    /// A portal is about to be run: the mark on its Execute, if that drops statements.
    pub(super) fn executes(&mut self) -> Token {
        match std::mem::replace(&mut self.session.dropping, Dropping::Nothing) {
            Dropping::AllByPortal => DEALLOCATE_ALL,
            Dropping::One(name) => {
                let token = self.session.statements.token();
                let unit = self.session.statements.unit();
                let (under, _) = self.read_under();
                if let Some(names) = &mut self.session.statements.names
                    && let Some(named) = names.get_mut(&name)
                    && let Some(link) = &mut self.active
                {
                    let (key, _) = named.on_server(under);
                    link.statements.doubt(key);
                    names.close(&name, token, unit);
                }
                token
            }
            other => {
                self.session.dropping = other;
                Token::default()
            }
        }
    }

    /// A statement is sent that drops all prepared statements of its server.
    pub(super) fn drops_all(&mut self, how: Dropping) {
        if !self.shares_statements() {
            return;
        }
        if let Some(link) = &mut self.active {
            link.statements.doubt_all();
        }
        self.session.dropping = how;
    }

    /// The request with this token is done, or with `None` a simple query without an error.
    pub(super) fn dropped_all(&mut self, token: Option<Token>) {
        let is_query = token.is_none() && self.session.dropping == Dropping::AllByQuery;
        if (is_query || token == Some(DEALLOCATE_ALL))
            && let Some(names) = &mut self.session.statements.names
        {
            names.deallocate_all();
        }
        if is_query {
            self.session.dropping = Dropping::Nothing;
        }
    }

    /// Something has failed on the active link: what was sent behind it may never be done.
    pub(super) fn statements_failed(&mut self) {
        let Some(link) = &mut self.active else { return };
        let Link { pipeline, statements, .. } = &mut **link;
        if self.session.dropping == Dropping::AllByQuery {
            self.session.dropping = Dropping::Nothing;
        }
        if let Some(names) = &mut self.session.statements.names {
            names.failed(|token| pipeline.awaits(token));
            statements.failed(|token| pipeline.awaits(token));
        }
    }

    /// A statement is sent that may change how texts are read.
    pub(super) fn unsettle(&mut self) {
        if self.shares_statements() {
            self.session.occasions += 1;
            self.session.unsettled = Some(self.session.occasions);
        }
    }
}

/// See [`Relay::name_on_server`].
fn bring<S>(
    session: &mut Session,
    link: &mut Link<S>,
    name: &[u8],
    under: Key,
    before: Option<Key>,
) -> Option<OnServer> {
    let unit = session.statements.unit();
    let Some(names) = &mut session.statements.names else { return Some(OnServer::Unknown) };
    if link.pipeline.is_skipping() {
        return Some(OnServer::Unknown);
    }
    if names.is_open(name, unit) && !link.pipeline.is_copying_in() {
        return None;
    }
    let Some(named) = names.get_mut(name) else { return Some(OnServer::Unknown) };
    let (key, server) = named.on_server(under);
    let presence = link.statements.presence(key);
    match presence {
        Presence::Ready => return Some(OnServer::Shared(server)),
        Presence::Sent(sent) if sent == unit => return Some(OnServer::Shared(server)),
        Presence::Sent(_) if !link.pipeline.is_copying_in() => return None,
        Presence::Sent(_) | Presence::Doubtful | Presence::Absent => {}
    }
    if let Some(before) = before {
        // Prepared before the settings changed: it keeps what was read then.
        let (key, server) = named.on_server(before);
        if link.statements.presence(key) == Presence::Ready {
            return Some(OnServer::Shared(server));
        }
        named.on_server(under);
    }
    if link.pipeline.is_unpredictable() {
        return Some(OnServer::Shared(server));
    }
    let prepared = named.prepared.clone();
    let token = session.statements.token();
    if presence != Presence::Absent {
        swallow_close(link, server.as_bytes());
    }
    swallow_parse(link, server.as_bytes(), prepared.body(), token);
    link.statements.sent(key, token, unit);
    Some(OnServer::Shared(server))
}
