//! A session's prepared statements: what they are, and which of its servers has them.
//!
//! A statement that was prepared on one server is prepared on another one when it is first needed
//! there (its Parse is sent again, and the answer kept from the client).

use std::collections::{BTreeMap, VecDeque};

use pgwire_core::pipeline::Token;

use super::demand::Demand;
use super::names::{Named, Names};
use crate::ids::NodeId;

#[derive(Debug)]
struct Statement {
    demand: Demand,
    /// The body of its Parse message behind the name: query text and parameter types.
    body: Vec<u8>,
    /// The nodes (by bit) whose server has it.
    on: u128,
    /// The nodes (by bit) whose server has an older one of the same name, which was closed elsewhere.
    stale: u128,
    /// The client has closed it; some server may still have it.
    closed: bool,
}

/// Tokens above this one have meanings of their own.
const LAST_TOKEN: u32 = u32::MAX / 2;

/// Replaced unnamed statements that are kept at most until their successors are confirmed.
const UNNAMED_KEPT: usize = 64;

/// A Parse that was sent and not answered yet.
#[derive(Debug)]
struct Unconfirmed {
    token: Token,
    name: Box<[u8]>,
    node: NodeId,
    batch: u64,
    /// The client's own Parse of a new name: if it fails there is no such statement.
    creates: bool,
    /// For the unnamed statement: the one that it replaces, and that stays if it fails.
    replaces: Replaced,
}

/// The unnamed statement before the present one.
#[derive(Debug)]
enum Replaced {
    /// There was none.
    Nothing,
    This(Statement),
    /// Nobody knows any more.
    Forgotten,
}

/// The prepared statements of one session.
#[derive(Debug)]
pub(super) struct Statements {
    /// Named statements that are shared with other clients (transaction mode); `named` is empty then.
    pub(super) names: Option<Names>,
    named: BTreeMap<Box<[u8]>, Statement>,
    unnamed: Option<Statement>,
    /// The active link's server may have an unnamed statement of ours that is not known here.
    unnamed_unknown: bool,
    /// The unnamed statement's demand holds for its text as the session reads text now.
    unnamed_is_current: bool,
    unconfirmed: VecDeque<Unconfirmed>,
    /// The batch at hand has failed, at this request.
    failed: Option<Token>,
    /// What `sent` was behind the last simple query.
    query_sent: u64,
    /// A buffer to be used again.
    spare: Vec<u8>,
    /// Names that the batch at hand gave to new statements.
    created: Vec<Box<[u8]>>,
    next_token: u32,
    /// Batches sent and answered on the active link.
    sent: u64,
    answered: u64,
    bytes: u64,
    limit: u64,
}

/// What must be sent before a message that uses a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing<'a> {
    /// Nothing: the server has it (or has to say itself that it does not).
    Nothing,
    /// A Parse with this body, and this token.
    Parse(&'a [u8], Token),
    /// A Close, and then a Parse as above: the server has an older one of that name.
    Replace(&'a [u8], Token),
    /// A Close: the client has closed it, and this server does not know.
    Close,
}

impl Statements {
    /// What is kept beyond a smaller limit stays; nothing is added to it.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// At most `limit` bytes. With `shares`, named statements are shared with other clients.
    pub(super) fn new(limit: u64, shares: bool) -> Self {
        Self {
            names: shares.then(|| Names::new(limit)),
            named: BTreeMap::new(),
            unnamed: None,
            unnamed_unknown: false,
            unnamed_is_current: false,
            unconfirmed: VecDeque::new(),
            failed: None,
            query_sent: 0,
            spare: Vec::new(),
            created: Vec::new(),
            next_token: 1,
            sent: 0,
            answered: 0,
            bytes: 0,
            limit,
        }
    }

    /// What a statement demands.
    pub(super) fn demand(&self, name: &[u8]) -> Option<Demand> {
        if let Some(named) = self.shared(name) {
            return Some(named.demand);
        }
        self.get(name).filter(|s| !s.closed).map(|statement| statement.demand)
    }

    /// The text of a statement.
    pub(super) fn text(&self, name: &[u8]) -> &[u8] {
        if let Some(named) = self.shared(name) {
            return named.prepared.text();
        }
        let body = self.get(name).map(|statement| &statement.body[..]).unwrap_or_default();
        body.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The names and texts of all statements.
    pub(super) fn texts(&self) -> Vec<(Box<[u8]>, Vec<u8>)> {
        let unnamed = self.unnamed.iter().map(|_| Box::default());
        let names = self.named.iter().filter(|(_, it)| !it.closed).map(|(name, _)| name.clone());
        let shared = self.names.iter().flat_map(Names::iter).map(|(name, _)| name.into());
        let all = unnamed.chain(names).chain(shared);
        all.map(|name| (name.clone(), self.text(&name).to_vec())).collect()
    }

    /// A statement demands something else than it did.
    pub(super) fn set_demand(&mut self, name: &[u8], demand: Demand) {
        if let Some(named) = self.names.as_mut().and_then(|names| names.get_mut(name)) {
            named.demand = demand;
        }
        if let Some(statement) = self.get_mut(name) {
            statement.demand = demand;
        }
    }

    /// Whether a statement of this size may be remembered.
    pub(super) fn has_room(&self, name: &[u8], body: usize) -> bool {
        if let Some(names) = self.names.as_ref().filter(|_| !name.is_empty()) {
            return names.has_room(name.len() + body);
        }
        let size = u64::try_from(name.len() + body).unwrap_or(u64::MAX);
        size <= self.limit.saturating_sub(if name.is_empty() { 0 } else { self.bytes })
    }

    /// The demand of an unnamed statement with this body, if it is the same as the last one: drivers
    /// that do not prepare send the same text over and over.
    pub(super) fn same_again(&self, name: &[u8], body: &[u8]) -> Option<Demand> {
        let last = self.unnamed.as_ref().filter(|_| name.is_empty() && self.unnamed_is_current)?;
        (last.body == body).then_some(last.demand)
    }

    /// From now on text is read in another way.
    pub(super) fn lexing_changed(&mut self) {
        self.unnamed_is_current = false;
    }

    /// Whether there is a named statement of this name.
    pub(super) fn is_taken(&self, name: &[u8]) -> bool {
        self.named.get(name).is_some_and(|known| !known.closed)
    }

    /// The client's Parse of a name that is not taken goes to `node`. Returns the token for it, and whether a server-side
    /// leftover of that name must be closed first.
    pub(super) fn parse(
        &mut self,
        name: &[u8],
        body: &[u8],
        demand: Demand,
        node: NodeId,
    ) -> (Token, bool) {
        if name.is_empty() {
            // A buffer of before is used again: this is on the path of every query of many drivers.
            let mut buffer = std::mem::take(&mut self.spare);
            buffer.clear();
            buffer.extend_from_slice(body);
            let statement =
                Statement { demand, body: buffer, on: bit(node), stale: 0, closed: false };
            let replaced = match self.unnamed.replace(statement) {
                None if self.unnamed_unknown => Replaced::Forgotten,
                None => Replaced::Nothing,
                // A client that prepares without end, and reads no answers, is not to fill memory.
                Some(old) if self.unconfirmed.len() >= UNNAMED_KEPT => {
                    self.spare = old.body;
                    Replaced::Forgotten
                }
                Some(old) => Replaced::This(old),
            };
            self.unnamed_unknown = false;
            self.unnamed_is_current = true;
            let token = self.expect(name, node, true);
            if let Some(parse) = self.unconfirmed.back_mut() {
                parse.replaces = replaced;
            }
            return (token, false);
        }
        let left_over = match self.named.get(name) {
            Some(known) => known.on | known.stale,
            None => 0,
        };
        self.forget(name);
        self.bytes += cost(name, body);
        let stale = left_over & !bit(node);
        let body = body.to_vec();
        let statement = Statement { demand, body, on: bit(node), stale, closed: false };
        self.named.insert(name.into(), statement);
        self.created.push(name.into());
        let token = self.expect(name, node, true);
        (token, left_over & bit(node) != 0)
    }

    /// The client's Parse of something that is not remembered here was sent.
    pub(super) fn unrecorded(&mut self, name: &[u8]) {
        if name.is_empty() {
            self.unnamed = None;
            self.unnamed_unknown = true;
        }
    }

    /// A message that uses the statement goes to `node`.
    pub(super) fn needed(&mut self, name: &[u8], node: NodeId) -> Missing<'_> {
        let Some(statement) = self.get_mut(name) else {
            // A shared server may have one of another client.
            let foreign = name.is_empty() && !self.unnamed_unknown;
            return if foreign { Missing::Close } else { Missing::Nothing };
        };
        let here = statement.on & bit(node) != 0;
        // What an earlier batch was to prepare along with it is not there if that batch fails.
        let batch = self.sent;
        let is_doubtful = |parse: &Unconfirmed| {
            !parse.creates && parse.batch < batch && parse.node == node && *parse.name == *name
        };
        let doubtful = here && self.unconfirmed.iter().any(is_doubtful);
        let Some(statement) = self.get_mut(name) else { return Missing::Nothing };
        if doubtful {
            statement.on &= !bit(node);
            statement.stale |= bit(node);
        }
        let here = here && !doubtful;
        match (statement.closed, here) {
            (false, true) | (true, false) => return Missing::Nothing,
            (true, true) => {
                statement.on &= !bit(node);
                if statement.on == 0 {
                    self.forget(name);
                }
                return Missing::Close;
            }
            (false, false) => {}
        }
        let token = self.expect(name, node, false);
        let Some(statement) = self.get_mut(name) else { return Missing::Nothing };
        statement.on |= bit(node);
        if statement.stale & bit(node) != 0 {
            statement.stale &= !bit(node);
            return Missing::Replace(&statement.body, token);
        }
        Missing::Parse(&statement.body, token)
    }

    /// The client's Close of a statement goes to `node`.
    pub(super) fn close(&mut self, name: &[u8], node: NodeId) {
        if name.is_empty() {
            self.unnamed = None;
            self.unnamed_unknown = false;
            return;
        }
        let Some(statement) = self.named.get_mut(name) else { return };
        statement.on = (statement.on | statement.stale) & !bit(node);
        statement.stale = 0;
        statement.closed = true;
        if statement.on == 0 {
            self.forget(name);
        } else {
            self.bytes = self.bytes.saturating_sub(cost(b"", &statement.body));
            statement.body = Vec::new();
        }
    }

    /// The client has dropped a named statement, and no server was told. Returns whether there was one.
    pub(super) fn close_everywhere(&mut self, name: &[u8]) -> bool {
        let Some(statement) = self.named.get_mut(name).filter(|known| !known.closed) else {
            return false;
        };
        statement.on |= statement.stale;
        statement.stale = 0;
        statement.closed = true;
        if statement.on == 0 {
            self.forget(name);
        } else {
            self.bytes = self.bytes.saturating_sub(cost(b"", &statement.body));
            statement.body = Vec::new();
        }
        true
    }

    /// A simple query was sent: it destroys the unnamed statement.
    pub(super) fn query(&mut self) {
        self.query_sent = self.sent;
        self.unnamed = None;
        self.unnamed_unknown = false;
    }

    /// A simple query of our own was sent to `node`: it destroys the unnamed statement there, and
    /// a ReadyForQuery answers it.
    pub(super) fn own_query(&mut self, node: NodeId) {
        if let Some(statement) = &mut self.unnamed {
            statement.on &= !bit(node);
        }
        self.batch_sent();
    }

    /// `DEALLOCATE ALL` or `DISCARD ALL` went to `node`.
    pub(super) fn deallocate_all(&mut self, node: NodeId) {
        let names: Vec<Box<[u8]>> = self.named.keys().cloned().collect();
        for name in names {
            self.close(&name, node);
        }
    }

    /// A batch or simple query begins.
    pub(super) fn batch_begins(&mut self) {
        self.created.clear();
    }

    /// The batch at hand will be run again on another server: what it created does not count.
    pub(super) fn batch_undone(&mut self) {
        if let Some(names) = &mut self.names {
            names.failed(|_| false);
        }
        for name in std::mem::take(&mut self.created) {
            if let Some(statement) = self.named.get_mut(&name) {
                statement.closed = true;
            }
        }
        if self.unconfirmed.iter().any(|parse| parse.creates && parse.name.is_empty()) {
            self.unrecorded(b"");
        } else if let Some(statement) = &mut self.unnamed {
            // Only used there: preparing it once more than needed does no harm.
            statement.on = 0;
        }
        self.unconfirmed.clear();
    }

    /// A message was sent that a ReadyForQuery will answer.
    pub(super) fn batch_sent(&mut self) {
        self.sent += 1;
    }

    /// Something in the batch at hand failed, the Parse with this token or something else.
    pub(super) fn batch_failed(&mut self, token: Token) {
        self.failed.get_or_insert(token);
    }

    /// Its ReadyForQuery came. What was not confirmed by then was never done.
    pub(super) fn batch_answered(&mut self) {
        let failed = self.failed.take().unwrap_or_default();
        self.undo_unconfirmed(failed);
        self.answered += 1;
    }

    /// A Parse succeeded.
    pub(super) fn confirmed(&mut self, token: Token) {
        if token != Token::default() {
            if let Some(names) = &mut self.names {
                names.confirmed(token);
            }
            // Answers come in order, so it usually is the first.
            let first = self.unconfirmed.pop_front_if(|parse| parse.token == token);
            match first {
                Some(Unconfirmed { replaces: Replaced::This(old), .. }) => self.spare = old.body,
                Some(_) => {}
                None => self.unconfirmed.retain(|parse| parse.token != token),
            }
        }
    }

    /// What was not confirmed in the batch at hand was never done; the Parse with the token `failed`
    /// was looked at.
    fn undo_unconfirmed(&mut self, failed: Token) {
        let batch = self.answered;
        let mut restored = false;
        while let Some(parse) = self.unconfirmed.pop_front_if(|parse| parse.batch <= batch) {
            if parse.creates && parse.name.is_empty() {
                // Its server still has the one that the first of them was to replace, unless that
                // was looked at: the old one is dropped before.
                if std::mem::replace(&mut restored, true) {
                    continue;
                }
                let replaces =
                    if parse.token == failed { Replaced::Nothing } else { parse.replaces };
                let is_unnamed = |later: &&mut Unconfirmed| later.creates && later.name.is_empty();
                let later = self
                    .unconfirmed
                    .iter_mut()
                    .find(|later| later.batch > batch && is_unnamed(later));
                match later {
                    Some(later) => later.replaces = replaces,
                    // A simple query behind the batch drops it in any case.
                    None if self.query_sent > batch => {}
                    None => {
                        self.unnamed_unknown = matches!(replaces, Replaced::Forgotten);
                        self.unnamed = match replaces {
                            Replaced::This(statement) => Some(statement),
                            Replaced::Nothing | Replaced::Forgotten => None,
                        };
                        self.unnamed_is_current = false;
                    }
                }
            } else if parse.creates {
                self.forget(&parse.name);
            } else if let Some(statement) = self.get_mut(&parse.name) {
                statement.on &= !bit(parse.node);
            }
        }
    }

    /// The connection to `node` was given back or is lost.
    pub(super) fn link_gone(&mut self, node: NodeId) {
        if let Some(names) = &mut self.names {
            names.failed(|_| false);
        }
        self.unconfirmed.clear();
        // What was not answered will never be.
        self.answered = self.sent;
        self.failed = None;
        self.unnamed_unknown = false;
        if let Some(statement) = &mut self.unnamed {
            statement.on &= !bit(node);
        }
        if self.named.is_empty() {
            return;
        }
        for statement in self.named.values_mut() {
            statement.on &= !bit(node);
            statement.stale &= !bit(node);
        }
        let gone: Vec<Box<[u8]>> = self
            .named
            .iter()
            .filter(|(_, statement)| statement.closed && statement.on == 0)
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.forget(&name);
        }
    }

    /// A token that no request in flight has.
    pub(super) fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token = if self.next_token < LAST_TOKEN { self.next_token + 1 } else { 1 };
        token
    }

    /// The number of the batch or query that is being sent.
    pub(super) fn unit(&self) -> u64 {
        self.sent
    }

    fn shared(&self, name: &[u8]) -> Option<&Named> {
        self.names.as_ref().filter(|_| !name.is_empty())?.get(name)
    }

    fn expect(&mut self, name: &[u8], node: NodeId, creates: bool) -> Token {
        let token = self.token();
        let batch = self.sent;
        self.unconfirmed.push_back(Unconfirmed {
            token,
            name: name.into(),
            node,
            batch,
            creates,
            replaces: Replaced::Nothing,
        });
        token
    }

    fn get(&self, name: &[u8]) -> Option<&Statement> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    fn get_mut(&mut self, name: &[u8]) -> Option<&mut Statement> {
        if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) }
    }

    fn forget(&mut self, name: &[u8]) {
        if let Some(old) = self.named.remove(name) {
            self.bytes = self.bytes.saturating_sub(cost(name, &old.body));
        }
    }
}

fn cost(name: &[u8], body: &[u8]) -> u64 {
    u64::try_from(name.len() + body.len()).unwrap_or(u64::MAX)
}

fn bit(node: NodeId) -> u128 {
    1_u128.checked_shl(u32::from(node.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Demand = Demand::NOTHING;
    const HERE: NodeId = NodeId(0);
    const THERE: NodeId = NodeId(1);

    #[test]
    fn a_statement_is_prepared_once_on_each_server() {
        let mut statements = Statements::new(1_000, false);
        assert!(!statements.parse(b"s", b"one", READ, HERE).1);
        assert_eq!(statements.needed(b"s", HERE), Missing::Nothing);
        assert!(matches!(statements.needed(b"s", THERE), Missing::Parse(b"one", _)));
        assert_eq!(statements.needed(b"s", THERE), Missing::Nothing);
    }

    /// A name that was closed on one server and given anew there still stands for the old statement
    /// on the other one.
    #[test]
    fn a_name_that_is_used_again_replaces_what_other_servers_have() {
        let mut statements = Statements::new(1_000, false);
        let _ = statements.parse(b"s", b"old", READ, HERE);
        let _ = statements.needed(b"s", THERE);
        statements.close(b"s", THERE);
        assert!(!statements.parse(b"s", b"new", READ, THERE).1, "nothing is left over there");
        assert!(matches!(statements.needed(b"s", HERE), Missing::Replace(b"new", _)));
        assert_eq!(statements.needed(b"s", HERE), Missing::Nothing);
    }

    #[test]
    fn what_no_server_was_told_of_is_closed_where_it_is() {
        let mut statements = Statements::new(1_000, false);
        let _ = statements.parse(b"s", b"old", READ, HERE);
        assert!(statements.close_everywhere(b"s"));
        assert!(!statements.close_everywhere(b"s"));
        assert_eq!(statements.demand(b"s"), None);
        assert_eq!(statements.needed(b"s", HERE), Missing::Close);
        let _ = statements.parse(b"t", b"old", READ, HERE);
        statements.close_everywhere(b"t");
        assert!(statements.parse(b"t", b"new", READ, HERE).1, "the old one is to be closed");
    }

    #[test]
    fn what_was_closed_elsewhere_is_closed_before_it_is_asked_for() {
        let mut statements = Statements::new(1_000, false);
        let _ = statements.parse(b"s", b"old", READ, HERE);
        let _ = statements.needed(b"s", THERE);
        statements.close(b"s", THERE);
        assert_eq!(statements.needed(b"s", HERE), Missing::Close);
        assert_eq!(statements.needed(b"s", HERE), Missing::Nothing);
    }
}
