//! Prepared statements that clients share, in transaction mode.
//!
//! What a client calls `s1` is on servers under a name that follows from its text and parameter
//! types, and from the settings under which its text was read. So whoever prepares the same finds it
//! there, and nobody finds what another one means by `s1`. Names need no agreement between workers,
//! nodes or processes: they are digests.
//!
//! The settings are part of it because PostgreSQL reads literals when it prepares: under another
//! `TimeZone`, `'2020-01-01'::timestamptz` is another value.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use pgwire_core::pipeline::Token;
use sha2::{Digest as _, Sha256};

/// What all names on servers begin with.
pub(crate) const PREFIX: &[u8; 7] = b"pgweir_";

/// What stands on servers for that in names of the clients' own: nobody reaches a statement of others
/// by its name there.
pub(crate) const INSTEAD: &[u8; PREFIX.len()] = b"pgweir-";

/// Bytes of a name on servers. PostgreSQL tells names apart by their first 63 bytes.
pub(crate) const NAME_LEN: usize = PREFIX.len() + 32;

/// What tells prepared statements on servers apart: a digest, of which nobody can find two texts
/// with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Key(u128);

impl Key {
    /// The key of this content.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
        let digest: [u8; 32] = digest.finalize().into();
        Self(digest.first_chunk::<16>().map_or(0, |bytes| u128::from_be_bytes(*bytes)))
    }

    /// A key that nothing has.
    pub(crate) const UNKNOWN: Self = Self(u128::MAX);

    /// The key of the same statement where its text is read under other settings.
    pub(crate) fn under(self, settings: Self) -> Self {
        Self(self.0 ^ settings.0)
    }

    /// Its name on servers.
    pub(crate) fn name(self) -> ServerName {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut name = [0; NAME_LEN];
        let (prefix, digits) = name.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        ServerName(name)
    }
}

/// The name of a statement on servers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerName([u8; NAME_LEN]);

impl ServerName {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A text with its parameter types, kept once for all clients of a worker that have prepared it.
#[derive(Debug)]
pub(crate) struct Prepared {
    key: Key,
    /// The body of its Parse message behind the name.
    body: Box<[u8]>,
    /// Bytes of all texts of its library.
    used: Arc<AtomicU64>,
}

impl Prepared {
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The query text.
    pub(crate) fn text(&self) -> &[u8] {
        self.body.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.used.fetch_sub(cost(self.body.len()), Ordering::Relaxed);
    }
}

/// Bytes that are counted for a statement, beside its text.
const OVERHEAD: u64 = 128;

fn cost(body: usize) -> u64 {
    u64::try_from(body).unwrap_or(u64::MAX).saturating_add(OVERHEAD)
}

/// A worker's texts that some client still has.
#[derive(Debug, Default)]
pub(crate) struct Library {
    known: BTreeMap<Key, Weak<Prepared>>,
    /// Bytes of the texts, and what is counted beside them.
    used: Arc<AtomicU64>,
    /// The size at which those that nobody has any more are looked for.
    sweep_at: usize,
    /// Those that some server has prepared, under the settings that are part of the key.
    proven: BTreeSet<Key>,
}

/// Keys that a library remembers at most as proven.
const MAX_PROVEN: usize = 10_000;

impl Library {
    /// A server has prepared it.
    pub(crate) fn prove(&mut self, key: Key) {
        if self.proven.len() >= MAX_PROVEN {
            self.proven.clear();
        }
        self.proven.insert(key);
    }

    /// Whether a server has prepared it, and no change of the catalogue was seen since.
    pub(crate) fn is_proven(&self, key: Key) -> bool {
        self.proven.contains(&key)
    }

    /// The catalogue has changed: what could be prepared before may be refused now.
    pub(crate) fn doubt(&mut self) {
        self.proven.clear();
    }

    /// Whether one with a body of this size could be added.
    pub(crate) fn has_room(&self, body: usize, limit: u64) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(cost(body)) <= limit
    }

    /// The one with this body. `None`: all would take more than `limit` bytes with it.
    pub(crate) fn get(&mut self, body: &[u8], limit: u64) -> Option<Arc<Prepared>> {
        let key = Key::of([body]);
        if let Some(known) = self.known.get(&key).and_then(Weak::upgrade) {
            return Some(known);
        }
        if !self.has_room(body.len(), limit) {
            return None;
        }
        self.used.fetch_add(cost(body.len()), Ordering::Relaxed);
        let prepared = Arc::new(Prepared { key, body: body.into(), used: self.used.clone() });
        self.known.insert(key, Arc::downgrade(&prepared));
        if self.known.len() > self.sweep_at {
            self.known.retain(|_, text| text.strong_count() > 0);
            self.sweep_at = (2 * self.known.len()).max(64);
        }
        Some(prepared)
    }
}

/// Whether a server has a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It has.
    Ready,
    /// Its Parse was sent in this unit of the client's messages, and not answered.
    Sent(u64),
    /// It had; something may have dropped it.
    Doubtful,
    /// It has not.
    Absent,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    presence: Presence,
    used: u64,
}

/// The shared statements that one server has.
#[derive(Debug, Default)]
pub(crate) struct ServerStatements {
    /// Ordered by key.
    entries: Vec<Entry>,
    /// Counts uses.
    clock: u64,
    /// Those that were sent and not answered, in order.
    sent: VecDeque<(Token, Key)>,
}

impl ServerStatements {
    /// Whether the server has it. It counts as used.
    pub(crate) fn presence(&mut self, key: Key) -> Presence {
        self.clock += 1;
        let Ok(at) = self.find(key) else { return Presence::Absent };
        let Some(entry) = self.entries.get_mut(at) else { return Presence::Absent };
        entry.used = self.clock;
        entry.presence
    }

    /// Its Parse is sent, with this token, in this unit.
    pub(crate) fn sent(&mut self, key: Key, token: Token, unit: u64) {
        self.clock += 1;
        let entry = Entry { key, presence: Presence::Sent(unit), used: self.clock };
        match self.find(key) {
            Ok(at) => {
                if let Some(old) = self.entries.get_mut(at) {
                    *old = entry;
                }
            }
            Err(at) => self.entries.insert(at, entry),
        }
        self.sent.push_back((token, key));
    }

    /// A Parse with this token has succeeded. Returns the statement that it has prepared.
    pub(crate) fn confirmed(&mut self, token: Token) -> Option<Key> {
        let (_, key) = self.sent.pop_front_if(|(sent, _)| *sent == token)?;
        // Unless it was sent anew meanwhile.
        if !self.sent.iter().any(|(_, later)| *later == key)
            && let Ok(at) = self.find(key)
            && let Some(entry) = self.entries.get_mut(at)
            && matches!(entry.presence, Presence::Sent(_))
        {
            entry.presence = Presence::Ready;
        }
        Some(key)
    }

    /// Something has failed: what is not awaited any more was never prepared.
    pub(crate) fn failed(&mut self, awaits: impl Fn(Token) -> bool) {
        for (token, key) in std::mem::take(&mut self.sent) {
            if awaits(token) {
                self.sent.push_back((token, key));
            } else if let Ok(at) = self.find(key)
                && let Some(entry) = self.entries.get_mut(at)
                && matches!(entry.presence, Presence::Sent(_))
            {
                // One that was there before, and was to be replaced, may be gone or not.
                entry.presence = Presence::Doubtful;
            }
        }
    }

    /// Something may have dropped it.
    pub(crate) fn doubt(&mut self, key: Key) {
        if let Ok(at) = self.find(key)
            && let Some(entry) = self.entries.get_mut(at)
        {
            entry.presence = Presence::Doubtful;
        }
    }

    /// Something may have dropped all of them.
    pub(crate) fn doubt_all(&mut self) {
        for entry in &mut self.entries {
            entry.presence = Presence::Doubtful;
        }
    }

    /// Takes out the one that was not used for the longest time, if there are more than `limit`.
    /// Nothing may be under way.
    pub(crate) fn evict(&mut self, limit: usize) -> Option<Key> {
        if self.entries.len() <= limit {
            return None;
        }
        let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.used)?.0;
        Some(self.entries.remove(oldest).key)
    }

    fn find(&self, key: Key) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&key, |entry| entry.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::of([text.as_bytes()])
    }

    #[test]
    fn a_name_follows_from_text_types_and_settings() {
        let name = key("SELECT 1").name();
        assert_eq!(name.as_bytes().len(), NAME_LEN);
        assert!(name.as_bytes().starts_with(PREFIX));
        assert_eq!(name, key("SELECT 1").name());
        assert_ne!(name, key("SELECT 2").name());
        assert_ne!(name, key("SELECT 1").under(key("UTC")).name());
        assert_ne!(Key::of([&b"a"[..], b"bc"]), Key::of([&b"ab"[..], b"c"]));
    }

    #[test]
    fn texts_are_kept_once_and_for_as_long_as_somebody_has_them() {
        let limit = 2 * (OVERHEAD + 10);
        let mut library = Library::default();
        let one = library.get(b"SELECT 1\0", limit).unwrap();
        let same = library.get(b"SELECT 1\0", limit).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        assert_eq!(one.text(), b"SELECT 1");
        assert_eq!(library.used.load(Ordering::Relaxed), OVERHEAD + 9);
        let two = library.get(b"SELECT 2\0", limit).unwrap();
        assert!(library.get(b"SELECT 3\0", limit).is_none(), "no memory is left");
        drop((one, same));
        assert!(library.get(b"SELECT 3\0", limit).is_some());
        drop(two);
        assert_eq!(library.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_library_does_not_grow_with_what_is_forgotten() {
        let mut library = Library::default();
        for n in 0..10_000 {
            library.get(format!("SELECT {n}\0").as_bytes(), 10_000).unwrap();
        }
        assert!(library.known.len() <= 128);
        assert_eq!(library.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn only_what_was_confirmed_is_ready() {
        let mut server = ServerStatements::default();
        let (a, b) = (key("a"), key("b"));
        assert_eq!(server.presence(a), Presence::Absent);
        server.sent(a, Token(1), 7);
        server.sent(b, Token(2), 7);
        assert_eq!(server.presence(a), Presence::Sent(7));
        server.confirmed(Token(1));
        assert_eq!(server.presence(a), Presence::Ready);
        server.failed(|_| false);
        assert_eq!(server.presence(b), Presence::Doubtful);
        server.doubt_all();
        assert_eq!(server.presence(a), Presence::Doubtful);
    }

    #[test]
    fn what_was_sent_twice_waits_for_the_second_answer() {
        let mut server = ServerStatements::default();
        let a = key("a");
        server.sent(a, Token(1), 1);
        server.sent(a, Token(2), 1);
        server.confirmed(Token(1));
        assert_eq!(server.presence(a), Presence::Sent(1));
        server.confirmed(Token(2));
        assert_eq!(server.presence(a), Presence::Ready);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut server = ServerStatements::default();
        for (n, text) in (1..).zip(["a", "b", "c"]) {
            server.sent(key(text), Token(n), 1);
            server.confirmed(Token(n));
        }
        server.presence(key("a"));
        assert_eq!(server.evict(3), None);
        assert_eq!(server.evict(2), Some(key("b")));
        assert_eq!(server.evict(1), Some(key("c")));
        assert_eq!(server.presence(key("a")), Presence::Ready);
    }
}
