//! A cache of verdicts by the shape of the statement: its text but for the values of its literals.
//!
//! Programs send the same few statements with other values. To find a remembered statement takes a
//! comparison of bytes, an order of magnitude less than to read it. What makes that safe: only
//! literals of the plainest form may differ (see [`Slot`]), whose value no rule looks at, and all
//! bytes around them are equal, so that reading would find the same tokens at the same places.

use memchr::memchr3;

use super::facts::Facts;
use super::lexer::{Kind, Lexer, Token, is_word_byte};
use super::verdict::{ClientEncoding, Lexing, Target, Verdict};

/// The longest text that is remembered, in bytes.
pub const MAX_SHAPE_TEXT: usize = 4096;

/// The most literals of a text that is remembered.
pub const MAX_SHAPE_LITERALS: usize = 128;

/// How many texts are remembered; with what goes with them they take less than 3 MB.
pub const MAX_SHAPES: usize = SETS * WAYS;

const SETS: usize = 64;

/// How many texts that begin alike are remembered.
const WAYS: usize = 8;

/// How many bytes of the beginning choose the set.
const PREFIX: usize = 32;

/// How many places there are for what was found last.
const HINTS: usize = 64;

/// After so many misses without a hit between them, only each eighth takes another's place: the
/// statements are probably all different.
const MISSES_IN_DOUBT: u32 = 64;

/// A literal whose value may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    /// How many bytes stand between it and the slot before it, or the beginning.
    after: u16,
    kind: SlotKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotKind {
    /// A run of digits, the whole of a number or one side of its point. A digit never stands on
    /// either side of it, nor a letter, so that any other run in its place ends there too and makes
    /// the same token.
    Digits,
    /// What stands between the quotes of a `'…'` without prefix, continuation, quote, backslash or
    /// zero byte in it. The closing quote's right neighbour is no quote, so that any other such
    /// text in its place ends there too, with standard strings and without.
    Text,
}

/// A remembered statement.
#[derive(Debug, Clone)]
struct Shape {
    version: u64,
    standard_strings: bool,
    /// It was found since the hand passed last.
    found: bool,
    slots: Vec<Slot>,
    /// The bytes around the slots.
    fixed: Vec<u8>,
    verdict: Verdict,
}

impl Shape {
    #[inline]
    fn is_of(&self, sql: &[u8], lexing: &Lexing, version: u64) -> bool {
        self.version == version
            && self.standard_strings == lexing.standard_conforming_strings
            && self.fits(sql).is_some()
    }

    #[inline]
    fn fits(&self, sql: &[u8]) -> Option<()> {
        let mut fixed = self.fixed.as_slice();
        let mut rest = sql;
        for slot in &self.slots {
            let (piece, further) = fixed.split_at_checked(usize::from(slot.after))?;
            rest = rest.strip_prefix(piece)?;
            fixed = further;
            let length = match slot.kind {
                SlotKind::Digits => digits(rest)?,
                SlotKind::Text => text(rest)?,
            };
            rest = rest.get(length..)?;
        }
        (rest == fixed).then_some(())
    }
}

/// The length of the digits at the beginning; `None` if there are none.
#[inline]
fn digits(rest: &[u8]) -> Option<usize> {
    let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    (length > 0).then_some(length)
}

/// The length of what stands before a quote; `None` if there is no quote, or what would make the
/// string more than plain.
#[inline]
fn text(rest: &[u8]) -> Option<usize> {
    let length = memchr3(b'\'', b'\\', 0, rest)?;
    (rest.get(length) == Some(&b'\'')).then_some(length)
}

/// Verdicts of reads, by the shape of their texts. One for each worker: it is not shared.
///
/// Its size is bounded ([`MAX_SHAPES`], [`MAX_SHAPE_TEXT`], [`MAX_SHAPE_LITERALS`]); it allocates
/// only when it meets a text that it has no room for yet.
#[derive(Debug, Clone)]
pub struct ShapeCache {
    shapes: Vec<Option<Shape>>,
    /// Where the shape stands that was found or remembered last, by a hash of how its text began
    /// then. It may be the wrong one, and is right for most.
    recent: [u16; HINTS],
    /// Where the search for a victim begins.
    hand: usize,
    misses_in_a_row: u32,
    hits: u64,
    misses: u64,
}

impl Default for ShapeCache {
    fn default() -> Self {
        Self::new()
    }
}

impl ShapeCache {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            shapes: Vec::new(),
            recent: [0; HINTS],
            hand: 0,
            misses_in_a_row: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// The same as [`super::classify_with`], from memory if a statement of this shape was a read.
    ///
    /// `version` stands for all that `facts` answers: two calls with the same `version` must get the
    /// same answers for the same names, whoever's session it is. On a hit `facts` is not asked, so
    /// it is no longer told which names are in use.
    pub fn classify<F: Facts>(
        &mut self,
        sql: &[u8],
        lexing: &Lexing,
        version: u64,
        facts: &mut F,
    ) -> Verdict {
        if let Some(verdict) = self.find(sql, lexing, version) {
            return verdict;
        }
        let verdict = super::classify_with(sql, lexing, facts);
        self.remember(sql, lexing, version, &verdict);
        verdict
    }

    /// The verdict on a read of this shape, if it is remembered. For callers to whom the facts
    /// themselves are dear: what is not found is classified, and given to
    /// [`ShapeCache::remember`].
    #[inline]
    pub fn find(&mut self, sql: &[u8], lexing: &Lexing, version: u64) -> Option<Verdict> {
        // Where a quote may be half a character, literals are not plain.
        if lexing.encoding != ClientEncoding::AsciiSafe {
            return None;
        }
        let recent = self.recent.get(hint_of(sql)).copied().unwrap_or_default();
        if let Some(Some(shape)) = self.shapes.get_mut(usize::from(recent))
            && shape.is_of(sql, lexing, version)
        {
            shape.found = true;
            self.hits += 1;
            self.misses_in_a_row = 0;
            return Some(shape.verdict);
        }
        self.find_in_set(sql, lexing, version)
    }

    fn find_in_set(&mut self, sql: &[u8], lexing: &Lexing, version: u64) -> Option<Verdict> {
        if self.shapes.is_empty() || !may_be_read(sql) {
            return None;
        }
        let first = set_of(sql, version) * WAYS;
        let set = self.shapes.get_mut(first..first + WAYS)?;
        for (way, shape) in set.iter_mut().enumerate() {
            if let Some(shape) = shape
                && shape.is_of(sql, lexing, version)
            {
                shape.found = true;
                note(&mut self.recent, sql, first + way);
                self.hits += 1;
                self.misses_in_a_row = 0;
                return Some(shape.verdict);
            }
        }
        None
    }

    /// Remembers what [`super::classify_with`] said of a text that was not found. Only reads are
    /// remembered: the reasons of others name places in the text.
    pub fn remember(&mut self, sql: &[u8], lexing: &Lexing, version: u64, verdict: &Verdict) {
        if verdict.target != Target::Read || !may_be_read(sql) {
            return;
        }
        self.misses += 1;
        self.misses_in_a_row = self.misses_in_a_row.saturating_add(1);
        if sql.len() <= MAX_SHAPE_TEXT && lexing.encoding == ClientEncoding::AsciiSafe {
            self.store(sql, lexing, version, verdict);
        }
    }

    fn store(&mut self, sql: &[u8], lexing: &Lexing, version: u64, verdict: &Verdict) {
        if self.shapes.is_empty() {
            self.shapes.resize(MAX_SHAPES, None);
        }
        let Some(at) = self.place(set_of(sql, version) * WAYS) else { return };
        let Some(place) = self.shapes.get_mut(at) else { return };
        // The buffers of the one that goes serve the one that comes.
        let (mut slots, mut fixed) =
            place.take().map_or_else(Default::default, |old| (old.slots, old.fixed));
        if shape(sql, lexing, &mut slots, &mut fixed).is_none() {
            return;
        }
        *place = Some(Shape {
            version,
            standard_strings: lexing.standard_conforming_strings,
            found: false,
            slots,
            fixed,
            verdict: *verdict,
        });
        note(&mut self.recent, sql, at);
    }

    /// A place in the set that is free, or was not found for the longest time, about. `None` if
    /// nothing should go for what is new.
    fn place(&mut self, first: usize) -> Option<usize> {
        let set = self.shapes.get(first..first + WAYS)?;
        if let Some(free) = set.iter().position(Option::is_none) {
            return Some(first + free);
        }
        if self.misses_in_a_row > MISSES_IN_DOUBT && !self.misses.is_multiple_of(8) {
            return None;
        }
        // The second round finds what the first has marked.
        for _ in 0..=WAYS {
            self.hand = (self.hand + 1) % WAYS;
            match self.shapes.get_mut(first + self.hand) {
                Some(Some(shape)) if shape.found => shape.found = false,
                _ => break,
            }
        }
        Some(first + self.hand)
    }

    /// Forgets everything, and gives the memory back.
    pub fn clear(&mut self) {
        self.shapes = Vec::new();
    }

    /// How many statements were found.
    #[must_use]
    pub const fn hits(&self) -> u64 {
        self.hits
    }

    /// How many reads were classified because they were not found.
    #[must_use]
    pub const fn misses(&self) -> u64 {
        self.misses
    }
}

/// Where [`ShapeCache::recent`] says which shape to try first.
#[inline]
fn hint_of(sql: &[u8]) -> usize {
    let Some(beginning) = sql.first_chunk::<PREFIX>() else { return 0 };
    spread(hash(0, beginning), HINTS)
}

fn note(recent: &mut [u16; HINTS], sql: &[u8], at: usize) {
    if let (Some(hint), Ok(at)) = (recent.get_mut(hint_of(sql)), u16::try_from(at)) {
        *hint = at;
    }
}

#[inline]
fn hash(start: u64, bytes: &[u8; PREFIX]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(start, |hash, word| {
        (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// The upper half of the hash, which all of its input has reached, as one of `places`.
#[inline]
fn spread(hash: u64, places: usize) -> usize {
    usize::try_from(hash >> 40).map_or(0, |hash| hash % places)
}

/// Whether a text that begins like this may be a read. Most others are turned away by this.
#[inline]
fn may_be_read(sql: &[u8]) -> bool {
    !matches!(
        sql.first(),
        None | Some(
            b'i' | b'I' | b'u' | b'U' | b'd' | b'D' | b'b' | b'B' | b'r' | b'R' | b'a' | b'A'
        )
    )
}

/// The set in which a text would be remembered: by its beginning, up to what may be a slot.
fn set_of(sql: &[u8], version: u64) -> usize {
    let mut prefix = [0; PREFIX];
    let mut in_word = false;
    for (to, byte) in prefix.iter_mut().zip(sql) {
        if *byte == b'\'' || byte.is_ascii_digit() && !in_word {
            break;
        }
        in_word = is_word_byte(*byte);
        *to = *byte;
    }
    spread(hash(version, &prefix), SETS)
}

/// Takes a text apart that was read without an error. `None` if it has too many literals.
fn shape(sql: &[u8], lexing: &Lexing, slots: &mut Vec<Slot>, fixed: &mut Vec<u8>) -> Option<()> {
    slots.clear();
    fixed.clear();
    let mut lexer = Lexer::new(sql, lexing.standard_conforming_strings);
    let mut behind = 0;
    while let Some(token) = lexer.next().ok()? {
        let mut slot = |kind, start: usize, end: usize| {
            let before = sql.get(behind..start)?;
            fixed.extend_from_slice(before);
            slots.push(Slot { after: u16::try_from(before.len()).ok()?, kind });
            behind = end;
            (slots.len() <= MAX_SHAPE_LITERALS).then_some(())
        };
        match token.kind {
            Kind::String if is_plain_string(sql, token) => {
                slot(SlotKind::Text, token.start + 1, token.end - 1)?;
            }
            Kind::Literal if is_plain_number(sql, token) => {
                let mut at = token.start;
                while at < token.end {
                    match digits(sql.get(at..token.end)?) {
                        Some(length) => {
                            slot(SlotKind::Digits, at, at + length)?;
                            at += length;
                        }
                        None => at += 1,
                    }
                }
            }
            _ => {}
        }
    }
    fixed.extend_from_slice(sql.get(behind..)?);
    Some(())
}

fn is_plain_string(sql: &[u8], token: Token) -> bool {
    let text = sql.get(token.start..token.end).unwrap_or_default();
    match text {
        [b'\'', inner @ .., b'\''] => memchr3(b'\'', b'\\', 0, inner).is_none(),
        _ => false,
    }
}

/// Whether it is digits with at most one point, and behind no byte of a word: the one side of what
/// the set is chosen by.
fn is_plain_number(sql: &[u8], token: Token) -> bool {
    let text = sql.get(token.start..token.end).unwrap_or_default();
    let before = token.start.checked_sub(1).and_then(|at| sql.get(at));
    let points = text.iter().filter(|byte| **byte == b'.').count();
    points <= 1
        && text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && !before.is_some_and(|byte| is_word_byte(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::super::tests::READS;
    use super::super::{
        FunctionFact, Name, NoFacts, RelationFact, RelationKind, classify, classify_with,
    };
    use super::*;

    /// Facts that follow from the version and the name.
    struct Versioned(u64);

    impl Facts for Versioned {
        fn function(&mut self, name: Name<'_>) -> FunctionFact {
            match name.name.text {
                b"f" if self.0 & 1 == 0 => FunctionFact::Harmless,
                b"count" if self.0 & 2 != 0 => FunctionFact::Writes,
                _ => FunctionFact::Unknown,
            }
        }

        fn relation(&mut self, name: Name<'_>) -> RelationFact {
            if name.name.text == b"u" && self.0 & 4 != 0 {
                RelationFact::PrimaryOnly(RelationKind::Unlogged)
            } else {
                RelationFact::Plain
            }
        }
    }

    fn found(cache: &mut ShapeCache, sql: &str) -> bool {
        let lexing = Lexing::default();
        let verdict = cache.find(sql.as_bytes(), &lexing, 0);
        if let Some(verdict) = verdict {
            assert_eq!(verdict, classify(sql.as_bytes(), &lexing), "{sql}");
        }
        verdict.is_some()
    }

    fn cache_of(sql: &str) -> ShapeCache {
        let mut cache = ShapeCache::new();
        let _ = cache.classify(sql.as_bytes(), &Lexing::default(), 0, &mut NoFacts);
        cache
    }

    #[test]
    fn other_values_are_found() {
        for (sql, other) in [
            ("SELECT a FROM t WHERE b = 57284;", "SELECT a FROM t WHERE b = 1;"),
            ("SELECT a FROM t WHERE b = 'x' LIMIT 1", "SELECT a FROM t WHERE b = '' LIMIT 20"),
            ("SELECT 1", "SELECT 0"),
            ("SELECT 1.5, 1., .5", "SELECT 100.25, 0., .125"),
            ("SELECT -1", "SELECT -22"),
            ("SELECT 1..2", "SELECT 10..20"),
            ("SELECT a1 FROM t WHERE b='y'", "SELECT a1 FROM t WHERE b='gr\u{fc}n'"),
            ("SELECT ''", "SELECT '; DELETE -- /*'"),
            ("/* 1 'x' */ SELECT 1", "/* 1 'x' */ SELECT 2"),
            ("COPY (SELECT 1) TO STDOUT", "COPY (SELECT 9) TO STDOUT"),
        ] {
            let mut cache = cache_of(sql);
            assert!(found(&mut cache, sql), "{sql}");
            assert!(found(&mut cache, other), "{other}");
            // Also by the set.
            let _ = cache.classify(b"SELECT x FROM y", &Lexing::default(), 0, &mut NoFacts);
            assert!(found(&mut cache, other), "{other}");
            assert_eq!(cache.hits(), 3);
            assert_eq!(cache.misses(), 2);
        }
    }

    #[test]
    fn what_is_not_the_same_shape_is_not_found() {
        for (sql, other) in [
            ("SELECT 1", "SELECT 1a"),
            ("SELECT 1", "SELECT 1.5"),
            ("SELECT 1", "SELECT 1e5"),
            ("SELECT 1", "SELECT -1"),
            ("SELECT 1", "SELECT '1'"),
            ("SELECT 1", "SELECT 0x1"),
            ("SELECT 1", "SELECT "),
            ("SELECT 1", "SELECT 1_000"),
            ("SELECT 1", "select 1"),
            ("SELECT 1", "SELECT  1"),
            ("SELECT 1", "SELECT 1;"),
            ("SELECT 1;", "SELECT 1"),
            ("SELECT 'a'", "SELECT 'a''b'"),
            ("SELECT 'a'", "SELECT 'a\\'"),
            ("SELECT 'a'", "SELECT 'a' 'b'"),
            ("SELECT 'a'", "SELECT 'a'\n'b'"),
            ("SELECT 'a'", "SELECT 'a"),
            ("SELECT 'a'", "SELECT 'a\0'"),
            ("SELECT E'a'", "SELECT E'b'"),
            ("SELECT x'0'", "SELECT x'1'"),
            ("SELECT $1", "SELECT $2"),
            ("SELECT t1.a FROM t1", "SELECT t2.a FROM t1"),
            ("SELECT 1 /* 1 */", "SELECT 1 /* 2 */"),
            ("SELECT $$1$$", "SELECT $$2$$"),
        ] {
            let mut cache = cache_of(sql);
            assert!(found(&mut cache, sql), "{sql}");
            assert!(!found(&mut cache, other), "{other}");
        }
    }

    #[test]
    fn version_and_lexing_are_part_of_the_shape() {
        let mut cache = cache_of("SELECT 'a'");
        let standard = Lexing::default();
        let other = Lexing { standard_conforming_strings: false, ..standard };
        let unsafe_encoding = Lexing { encoding: ClientEncoding::BytesLikeAscii, ..standard };
        assert!(cache.find(b"SELECT 'a'", &standard, 0).is_some());
        assert!(cache.find(b"SELECT 'a'", &standard, 1).is_none());
        assert!(cache.find(b"SELECT 'a'", &other, 0).is_none());
        assert!(cache.find(b"SELECT '\xff'", &unsafe_encoding, 0).is_none());
        let _ = cache.classify(b"SELECT 'a'", &other, 0, &mut NoFacts);
        assert!(cache.find(b"SELECT 'b'", &other, 0).is_some());
        assert!(cache.find(b"SELECT 'b'", &standard, 0).is_some());
    }

    #[test]
    fn it_does_not_grow_beyond_its_bounds() {
        let mut cache = ShapeCache::new();
        for at in 0..4 * MAX_SHAPES {
            // A number in a name is no slot.
            let sql = format!("SELECT a{at} FROM t WHERE b = 1");
            let _ = cache.classify(sql.as_bytes(), &Lexing::default(), 0, &mut NoFacts);
        }
        assert_eq!(cache.shapes.len(), MAX_SHAPES);
        let long = format!("SELECT {}1", " ".repeat(MAX_SHAPE_TEXT));
        let many = format!("SELECT 1{}", ",1".repeat(MAX_SHAPE_LITERALS));
        for sql in [long, many, String::from("INSERT INTO t VALUES (1)"), String::new()] {
            let mut cache = cache_of(&sql);
            assert!(!found(&mut cache, &sql));
        }
        cache.clear();
        assert!(cache.shapes.is_empty());
    }

    #[test]
    fn a_set_keeps_what_is_found_often() {
        let often = "SELECT a, b, c, d, e, f, g, h, i FROM often WHERE a = 1";
        let mut cache = cache_of(often);
        for at in 0..3 * WAYS {
            let other = format!("SELECT a, b, c, d, e, f, g, h, i FROM t{at} WHERE a = 1");
            let _ = cache.classify(other.as_bytes(), &Lexing::default(), 0, &mut NoFacts);
            assert!(found(&mut cache, often), "{at}");
        }
    }

    const TEMPLATES: &[&str] = &[
        "SELECT abalance FROM pgbench_accounts WHERE aid = 57284",
        "SELECT a, 'x', f(1, 2.5) FROM t WHERE b = 'it' AND c IN (1, 2, 3) -- 5 'x'\n LIMIT 10;",
        "select 'a'::text, -1, .5, 1., 1..2, (1), ARRAY[1,2][1], $1, a1, t2.c3 from u",
        "SELECT E'a', N'b', U&'c', B'01', X'1f', $$1$$, $x$ 'y' $x$, 'a' 'b', 'a'\n'b', '', ''''",
        "WITH x AS (SELECT 1 AS a) SELECT count(*), f('x') FROM x WHERE a=1or a='2'and b<3",
        "SELECT 1/* 1 */+/*'x'*/2--3\n,'a'/**/,'b'-- 'c'\n",
        "SELECT 1and 2, 0x1F, 1e5, 1_000, 1.5e-3, 'a''b', 'a\\b'",
        "SELECT '1', \"a1\", \"b'c\", 1;",
        "COPY (SELECT 1, 'x') TO STDOUT (DELIMITER ',')",
        "EXPLAIN SELECT 1",
    ];

    fn template() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => select(TEMPLATES).prop_map(|sql| sql.as_bytes().to_vec()),
            1 => select(READS).prop_map(|sql| sql.as_bytes().to_vec()),
        ]
    }

    /// What may be put in a text: all that could make two texts look alike that are not.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let pieces = select(
            &[
                "'", "''", "\\", "\\'", "\"", "1", "0", "9", "12.5", ".", "..", "e", "e5", "E'",
                "x", "0x", "_", "$", "$$", "$1", "-", "--", "/*", "*/", "\n", " ", "+", "a", "and",
                "\u{e9}", "\0", "U&'", "N'", ";", "(", ")", "f(", "nextval(", "INTO x", ",", "'a'",
                "'b' 'c'", "'d'\n'e'", "--x\n", "/*x*/", "::", "[", "\u{b}",
            ][..],
        );
        prop_oneof![
            8 => pieces.prop_map(|piece| piece.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ]
    }

    #[derive(Debug, Clone)]
    enum Change {
        Insert(Index, Vec<u8>),
        Remove(Index),
        Replace(Index, Vec<u8>),
        /// The digits or the text in quotes that begin at or after the place become this.
        Literal(Index, Vec<u8>),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            2 => (any::<Index>(), piece()).prop_map(|(at, piece)| Change::Insert(at, piece)),
            1 => any::<Index>().prop_map(Change::Remove),
            2 => (any::<Index>(), piece()).prop_map(|(at, piece)| Change::Replace(at, piece)),
            2 => (any::<Index>(), "[0-9]{1,8}")
                .prop_map(|(at, digits)| Change::Literal(at, digits.into_bytes())),
            2 => (any::<Index>(), piece()).prop_map(|(at, piece)| Change::Literal(at, piece)),
        ]
    }

    fn changed(sql: &[u8], change: &Change) -> Vec<u8> {
        let mut out = sql.to_vec();
        match change {
            Change::Insert(at, piece) => {
                let at = at.index(sql.len() + 1);
                out.splice(at..at, piece.iter().copied());
            }
            Change::Remove(at) if !sql.is_empty() => {
                out.remove(at.index(sql.len()));
            }
            Change::Replace(at, piece) if !sql.is_empty() => {
                let at = at.index(sql.len());
                out.splice(at..=at, piece.iter().copied());
            }
            Change::Literal(at, value) if !sql.is_empty() => {
                let from = at.index(sql.len());
                let Some(start) =
                    (from..sql.len()).find(|at| sql[*at] == b'\'' || sql[*at].is_ascii_digit())
                else {
                    return out;
                };
                let (start, is_end): (usize, fn(&u8) -> bool) = if sql[start] == b'\'' {
                    (start + 1, |byte| *byte == b'\'')
                } else {
                    (start, |byte| !byte.is_ascii_digit())
                };
                let end = (start..sql.len()).find(|at| is_end(&sql[*at])).unwrap_or(sql.len());
                out.splice(start..end, value.iter().copied());
            }
            _ => {}
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

        #[test]
        fn the_cache_says_what_reading_says(
            template in template(),
            steps in proptest::collection::vec(
                (change(), any::<bool>(), any::<bool>(), 0_u64..8, any::<bool>()),
                1..24,
            ),
        ) {
            let mut cache = ShapeCache::new();
            let mut sql = template;
            for (change, standard_conforming_strings, hidden, version, keep) in steps {
                let encoding = if hidden && version < 3 {
                    ClientEncoding::BytesLikeAscii
                } else {
                    ClientEncoding::AsciiSafe
                };
                let lexing = Lexing { standard_conforming_strings, encoding };
                let other = changed(&sql, &change);
                for text in [&sql, &other] {
                    let cached = cache.classify(text, &lexing, version, &mut Versioned(version));
                    let fresh = classify_with(text, &lexing, &mut Versioned(version));
                    prop_assert_eq!(cached, fresh, "{}", String::from_utf8_lossy(text));
                }
                if keep {
                    sql = other;
                }
            }
        }
    }
}
