//! What a client calls its shared prepared statements (transaction mode).
//!
//! A name stands for something from the moment at which its Parse is sent, so that the rest of the
//! batch can be understood; if the server then never came to do it, that is taken back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pgwire_core::params::Params;
use pgwire_core::pipeline::Token;

use super::demand::Demand;
use crate::prepared::{INSTEAD, Key, NAME_LEN, PREFIX, Prepared, ServerName};

/// Parameters that decide how the text of a statement is read while it is prepared.
const READ_UNDER: [&[u8]; 5] = [
    b"client_encoding",
    b"DateStyle",
    b"IntervalStyle",
    b"TimeZone",
    b"standard_conforming_strings",
];

/// One statement of a client.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) prepared: Arc<Prepared>,
    pub(super) demand: Demand,
    /// Its key and name on servers, for text that is read under `under`.
    key: Key,
    server: ServerName,
    under: Key,
}

impl Named {
    pub(super) fn new(prepared: Arc<Prepared>, demand: Demand, under: Key) -> Self {
        let key = prepared.key().under(under);
        Self { prepared, demand, key, server: key.name(), under }
    }

    /// Its key and name on servers.
    pub(super) fn on_server(&mut self, under: Key) -> (Key, ServerName) {
        if self.under != under {
            self.under = under;
            self.key = self.prepared.key().under(under);
            self.server = self.key.name();
        }
        (self.key, self.server)
    }
}

/// A change of names that is not confirmed.
#[derive(Debug)]
struct Change {
    token: Token,
    unit: u64,
    name: Box<[u8]>,
    before: Option<Named>,
}

/// The names of one client.
#[derive(Debug)]
pub(super) struct Names {
    known: BTreeMap<Box<[u8]>, Named>,
    /// In the order in which they were made.
    unconfirmed: VecDeque<Change>,
    bytes: u64,
    limit: u64,
    /// The reported settings under which its texts are read now, and what they were made of.
    under: Key,
    under_of: Option<Params>,
}

impl Names {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            known: BTreeMap::new(),
            unconfirmed: VecDeque::new(),
            bytes: 0,
            limit,
            under: Key::default(),
            under_of: None,
        }
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Named> {
        self.known.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Named> {
        self.known.get_mut(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Named)> {
        self.known.iter().map(|(name, named)| (&**name, named))
    }

    /// Whether a statement of this size may be remembered.
    pub(super) fn has_room(&self, size: usize) -> bool {
        cost(size) <= self.limit.saturating_sub(self.bytes)
    }

    /// What tells settings apart under which texts are read. `other` stands for what the client has
    /// set that no server reports.
    pub(super) fn read_under(&mut self, params: &Params, other: Key) -> Key {
        if !self.under_of.as_ref().is_some_and(|known| known.ptr_eq(params)) {
            self.under =
                Key::of(READ_UNDER.iter().map(|name| params.get(name).unwrap_or_default()));
            self.under_of = Some(params.clone());
        }
        self.under.under(other)
    }

    /// The client gives a name, with a Parse of this token.
    pub(super) fn prepare(&mut self, name: &[u8], named: Named, token: Token, unit: u64) {
        self.bytes = self.bytes.saturating_add(cost(name.len() + named.prepared.body().len()));
        let before = self.known.insert(name.into(), named);
        self.unconfirmed.push_back(Change { token, unit, name: name.into(), before });
    }

    /// The client closes a statement, with a message of this token.
    pub(super) fn close(&mut self, name: &[u8], token: Token, unit: u64) {
        let Some(before) = self.remove(name) else { return };
        self.unconfirmed.push_back(Change { token, unit, name: name.into(), before: Some(before) });
    }

    /// What the message with this token was to do is done.
    pub(super) fn confirmed(&mut self, token: Token) {
        self.unconfirmed.pop_front_if(|change| change.token == token);
    }

    /// Something has failed: what is not awaited any more was never done.
    pub(super) fn failed(&mut self, awaits: impl Fn(Token) -> bool) {
        let mut awaited = VecDeque::new();
        while let Some(change) = self.unconfirmed.pop_back() {
            if awaits(change.token) {
                awaited.push_front(change);
                continue;
            }
            self.remove(&change.name);
            if let Some(before) = change.before {
                let size = change.name.len() + before.prepared.body().len();
                self.bytes = self.bytes.saturating_add(cost(size));
                self.known.insert(change.name, before);
            }
        }
        self.unconfirmed = awaited;
    }

    /// Whether what a name stands for depends on what was sent before this unit and is not answered.
    pub(super) fn is_open(&self, name: &[u8], unit: u64) -> bool {
        self.unconfirmed.iter().any(|change| change.unit != unit && *change.name == *name)
    }

    /// The client has dropped all its statements, but for those that it has prepared behind that.
    pub(super) fn deallocate_all(&mut self) {
        let open = std::mem::take(&mut self.unconfirmed);
        let later = |name: &[u8]| open.iter().any(|change| *change.name == *name);
        let gone: Vec<Box<[u8]>> = self.known.keys().filter(|it| !later(it)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
        self.unconfirmed = open;
        for change in &mut self.unconfirmed {
            change.before = None;
        }
    }

    /// What the client calls the statements that a server's message names, if it names any.
    pub(super) fn translate(&self, text: &[u8]) -> Option<Vec<u8>> {
        if let Some(at) = memchr::memmem::find(text, INSTEAD) {
            let mut text = text.to_vec();
            text.get_mut(at..at + PREFIX.len())?.copy_from_slice(PREFIX);
            return Some(text);
        }
        let mut at = memchr::memmem::find(text, PREFIX)?;
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        loop {
            let (before, from) = rest.split_at_checked(at)?;
            out.extend_from_slice(before);
            let known = from.get(..NAME_LEN).and_then(|name| {
                self.known.iter().find(|(_, named)| named.server.as_bytes() == name)
            });
            let skipped = match known {
                Some((name, _)) => {
                    out.extend_from_slice(name);
                    NAME_LEN
                }
                None => {
                    out.extend_from_slice(PREFIX);
                    PREFIX.len()
                }
            };
            rest = from.get(skipped..).unwrap_or_default();
            match memchr::memmem::find(rest, PREFIX) {
                Some(next) => at = next,
                None => {
                    out.extend_from_slice(rest);
                    return Some(out);
                }
            }
        }
    }

    fn remove(&mut self, name: &[u8]) -> Option<Named> {
        let old = self.known.remove(name)?;
        let size = name.len() + old.prepared.body().len();
        self.bytes = self.bytes.saturating_sub(cost(size));
        Some(old)
    }
}

/// Bytes that are counted for a statement, beside its name and text.
const OVERHEAD: u64 = 256;

fn cost(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX).saturating_add(OVERHEAD)
}

/// What a statement counts for [`Names::has_room`].
pub(super) fn size(name: &[u8], body: usize) -> usize {
    let overhead = usize::try_from(OVERHEAD).unwrap_or(usize::MAX);
    name.len().saturating_add(body).saturating_add(overhead)
}
