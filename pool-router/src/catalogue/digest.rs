//! A digest of one database's catalogue: only what decides where a statement may run.

use std::collections::BTreeMap;
use std::fmt;

use super::name::{self, Plain};
use crate::classify::functions::is_primary_only;
use crate::classify::{FunctionFact, Identifier, Name, RelationFact, RelationKind};

/// Bits of the filter for each name: about one name in two hundred that is not in the digest passes.
const FILTER_BITS_PER_NAME: usize = 16;

/// What is known of the names that are spelled alike, as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marks(u16);

impl Marks {
    const HARMLESS: Self = Self(1);
    const WRITES: Self = Self(2);
    /// Functions that write and may be called as `t.f`.
    const ATTRIBUTE: Self = Self(4);
    const UNLOGGED: Self = Self(8);
    const FOREIGN: Self = Self(16);
    const SEQUENCE: Self = Self(32);
    const VIEW: Self = Self(64);
    /// Harmless, but only where its schema is named: a built-in function of that name is not.
    const HARMLESS_IF_QUALIFIED: Self = Self(128);
    /// Functions that write when they are executed, and are not run by planning.
    const VOLATILE: Self = Self(256);
    /// Views over such functions.
    const WRITING_VIEW: Self = Self(512);

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    /// Where its name begins in [`Digest::names`].
    start: u32,
    length: u8,
    schema: u32,
    marks: Marks,
}

/// The names whose hashes begin alike.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    bits: u64,
    first: u32,
}

/// What of a database's catalogue decides where its statements may run.
///
/// The names of all functions that users have made are in it, and of relations, types and operators
/// those that a standby cannot stand in for. A name without a schema is looked for in all schemas,
/// and the gravest of what is found counts: which schemas a session searches is not known.
#[derive(Clone)]
pub struct Digest {
    names: Box<[u8]>,
    /// By hash.
    entries: Box<[Entry]>,
    schemas: Box<[Box<[u8]>]>,
    /// A blocked Bloom filter over the hashes, and where the entries of each word begin: a power of
    /// two of words.
    filter: Box<[Word]>,
    /// Bits that a hash is shifted down by to find its word.
    shift: u32,
    operators: Box<[Box<[u8]>]>,
    read_committed: bool,
    encoding: Encoding,
    complete: bool,
}

/// Whether names with bytes above 0x7f can be compared with those of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// There are no such names.
    Ascii,
    /// They are in UTF-8, on the server too.
    Utf8,
    /// They are in some other encoding.
    Other,
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest")
            .field("names", &self.entries.len())
            .field("operators", &self.operators.len())
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

impl Digest {
    /// How many names are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() + self.operators.len()
    }

    /// Whether no name is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the catalogue holds more names that count than may be kept (`weir_catalogue_max_names`):
    /// then nothing is known, and whatever names a relation or function of users goes to the primary.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        !self.complete
    }

    /// Whether transactions are read committed unless they say otherwise: neither the server nor
    /// the database nor a role has another `default_transaction_isolation`.
    #[must_use]
    pub fn default_isolation_is_read_committed(&self) -> bool {
        self.read_committed
    }

    /// Whether names in a client's encoding can be looked up: `client_encoding` tells that of the
    /// session, if it matters.
    #[inline]
    #[must_use]
    pub fn understands<'a>(&self, client_encoding: impl FnOnce() -> Option<&'a [u8]>) -> bool {
        match self.encoding {
            Encoding::Ascii => true,
            Encoding::Utf8 => client_encoding().is_some_and(is_utf8),
            Encoding::Other => false,
        }
    }

    /// What is known of a function: of all its overloads together.
    #[inline]
    #[must_use]
    pub fn function(&self, name: Name<'_>) -> FunctionFact {
        if !self.complete {
            return FunctionFact::Unknown;
        }
        let marks = self.marks(name);
        if marks.has(Marks::WRITES) {
            FunctionFact::Writes
        } else if marks.has(Marks::VOLATILE) {
            FunctionFact::Volatile
        } else if marks.has(Marks::HARMLESS)
            || (name.qualifier.is_some() && marks.has(Marks::HARMLESS_IF_QUALIFIED))
        {
            FunctionFact::Harmless
        } else {
            FunctionFact::Unknown
        }
    }

    /// What is known of a name behind a dot, which may be a function's. What stands before the dot
    /// is no schema, so it does not count.
    #[inline]
    #[must_use]
    pub fn attribute(&self, name: Name<'_>) -> FunctionFact {
        if self.marks(Name { qualifier: None, ..name }).has(Marks::ATTRIBUTE) {
            FunctionFact::Writes
        } else {
            FunctionFact::Unknown
        }
    }

    /// What is known of a relation, or of a type.
    #[inline]
    #[must_use]
    pub fn relation(&self, name: Name<'_>) -> RelationFact {
        if !self.complete {
            return RelationFact::PrimaryOnly(RelationKind::NotLookedUp);
        }
        let marks = self.marks(name);
        let kind = if marks.has(Marks::UNLOGGED) {
            RelationKind::Unlogged
        } else if marks.has(Marks::FOREIGN) {
            RelationKind::Foreign
        } else if marks.has(Marks::SEQUENCE) {
            RelationKind::Sequence
        } else if marks.has(Marks::VIEW) {
            RelationKind::View
        } else if marks.has(Marks::WRITING_VIEW) {
            RelationKind::WritingView
        } else {
            return RelationFact::Plain;
        };
        RelationFact::PrimaryOnly(kind)
    }

    /// Whether an operator, as it stands in a statement, may call a function that writes.
    #[inline]
    #[must_use]
    pub fn operator(&self, written: &[u8]) -> bool {
        !self.operators.is_empty() && self.finds_operator(written)
    }

    #[cold]
    fn finds_operator(&self, written: &[u8]) -> bool {
        let has = |operator: &[u8]| {
            self.operators.binary_search_by(|known| (**known).cmp(operator)).is_ok()
        };
        if has(written) || (written == b"!=" && has(b"<>")) {
            return true;
        }
        // Signs at the end belong to an operator only if it holds one of these characters
        // (PostgreSQL docs, 4.1.3); otherwise they are operators of their own.
        let mut rest = written;
        while let Some((sign @ (b'+' | b'-'), shorter)) = rest.split_last()
            && !rest.iter().any(|byte| b"~!@#%^&|`?".contains(byte))
        {
            rest = shorter;
            if has(&[*sign]) || has(rest) {
                return true;
            }
        }
        false
    }

    /// All that is known of a name.
    #[inline]
    fn marks(&self, name: Name<'_>) -> Marks {
        if self.entries.is_empty() {
            return Marks::default();
        }
        let plain = Plain::new(name.name);
        let hash = name::hash(plain.bytes());
        let word = usize::try_from(hash.checked_shr(self.shift).unwrap_or(0)).unwrap_or(0);
        let bits = bits(hash);
        match self.filter.get(word) {
            Some(word) if word.bits & bits == bits => {
                self.find(word.first, hash, &plain, name.qualifier)
            }
            _ => Marks::default(),
        }
    }

    /// Looks for a name among the entries from `first` on.
    fn find(
        &self,
        first: u32,
        hash: u64,
        name: &Plain<'_>,
        schema: Option<Identifier<'_>>,
    ) -> Marks {
        let schema = schema.map(Plain::new);
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let rest = self.entries.get(first..).unwrap_or_default();
        let mut marks = Marks::default();
        for entry in rest.iter().take_while(|entry| entry.hash <= hash) {
            if entry.hash != hash {
                continue;
            }
            let in_schema = schema.as_ref().is_none_or(|schema| {
                let index = usize::try_from(entry.schema).unwrap_or(usize::MAX);
                self.schemas.get(index).is_some_and(|known| schema.is(known))
            });
            if in_schema && name.is(self.name(entry)) {
                marks = marks.with(entry.marks);
            }
        }
        marks
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        let start = usize::try_from(entry.start).unwrap_or(usize::MAX);
        self.names
            .get(start..)
            .and_then(|rest| rest.get(..usize::from(entry.length)))
            .unwrap_or(b"")
    }
}

/// The bits of a filter's word that a hash sets.
#[inline]
const fn bits(hash: u64) -> u64 {
    (1 << (hash & 63)) | (1 << ((hash >> 6) & 63)) | (1 << ((hash >> 12) & 63))
}

fn is_utf8(encoding: &[u8]) -> bool {
    encoding.eq_ignore_ascii_case(b"UTF8") || encoding.eq_ignore_ascii_case(b"UTF-8")
}

/// Collects the rows of a look-up.
#[derive(Debug)]
pub struct DigestBuilder {
    most: usize,
    use_unlogged: bool,
    names: Vec<u8>,
    entries: Vec<Entry>,
    schemas: BTreeMap<Box<[u8]>, u32>,
    operators: Vec<Box<[u8]>>,
    read_committed: bool,
    complete: bool,
}

/// A row that the look-up's query cannot have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unexpected row")]
pub struct UnexpectedRow;

impl DigestBuilder {
    /// An empty digest that will keep `most` names. Without `use_unlogged`, unlogged relations are
    /// left out (`check_unlogged_table`).
    #[must_use]
    pub fn new(most: usize, use_unlogged: bool) -> Self {
        Self {
            most,
            use_unlogged,
            names: Vec::new(),
            entries: Vec::new(),
            schemas: BTreeMap::new(),
            operators: Vec::new(),
            read_committed: false,
            complete: true,
        }
    }

    /// Whether more rows would make no difference.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.complete
    }

    /// Takes a row: kind, schema, name and fact, as the query's text describes them.
    ///
    /// # Errors
    /// The row is none of its own.
    pub fn row(
        &mut self,
        kind: &[u8],
        schema: &[u8],
        name: &[u8],
        fact: &[u8],
    ) -> Result<(), UnexpectedRow> {
        let marks = match (kind, fact) {
            (b"i", fact) => {
                self.read_committed = fact == b"c";
                return Ok(());
            }
            (b"o", b"w") => {
                if self.has_room() {
                    self.operators.push(name.into());
                }
                return Ok(());
            }
            (b"f", b"w") => Marks::WRITES,
            // The built-in function of that name may be meant.
            (b"f", b"x") if is_primary_only(name) => Marks::WRITES,
            (b"f", b"x") => Marks::VOLATILE,
            (b"f", b"h") if is_primary_only(name) => Marks::HARMLESS_IF_QUALIFIED,
            (b"f", b"h") => Marks::HARMLESS,
            (b"a", b"w") => Marks::ATTRIBUTE,
            (b"r", b"u") if !self.use_unlogged => return Ok(()),
            (b"r", b"u") => Marks::UNLOGGED,
            (b"r", b"f") => Marks::FOREIGN,
            (b"r", b"s") => Marks::SEQUENCE,
            (b"r", b"v") => Marks::VIEW,
            (b"r", b"x") => Marks::WRITING_VIEW,
            // `t(x)`, `x::t` and `CAST(x AS t)` all call the cast.
            (b"t", b"w") => Marks::WRITES.with(Marks::VIEW),
            _ => return Err(UnexpectedRow),
        };
        let length = u8::try_from(name.len()).map_err(|_| UnexpectedRow)?;
        if self.has_room() {
            let start = u32::try_from(self.names.len()).map_err(|_| UnexpectedRow)?;
            let schema = self.schema(schema)?;
            self.names.extend_from_slice(name);
            let hash = name::hash(name);
            self.entries.push(Entry { hash, start, length, schema, marks });
        }
        Ok(())
    }

    fn has_room(&mut self) -> bool {
        self.complete &= self.entries.len() + self.operators.len() < self.most;
        self.complete
    }

    fn schema(&mut self, name: &[u8]) -> Result<u32, UnexpectedRow> {
        if let Some(index) = self.schemas.get(name) {
            return Ok(*index);
        }
        let index = u32::try_from(self.schemas.len()).map_err(|_| UnexpectedRow)?;
        self.schemas.insert(name.into(), index);
        Ok(index)
    }

    /// The digest. `server_encoding` and `client_encoding` are those of the session that was asked.
    #[must_use]
    pub fn finish(
        mut self,
        server_encoding: Option<&[u8]>,
        client_encoding: Option<&[u8]>,
    ) -> Digest {
        if !self.complete {
            self.entries.clear();
            self.names.clear();
            self.schemas.clear();
            self.operators.clear();
        }
        self.entries.sort_unstable_by_key(|entry| entry.hash);
        self.operators.sort_unstable();
        self.operators.dedup();
        let words = (self.entries.len() * FILTER_BITS_PER_NAME / 64).max(2).next_power_of_two();
        let shift = 64 - words.trailing_zeros();
        let mut filter = vec![Word::default(); words];
        for (index, entry) in (0_u32..).zip(&self.entries) {
            let word = usize::try_from(entry.hash >> shift).unwrap_or(0);
            if let Some(word) = filter.get_mut(word) {
                if word.bits == 0 {
                    word.first = index;
                }
                word.bits |= bits(entry.hash);
            }
        }
        let encoding = if self.names.is_ascii() && self.schemas.keys().all(|name| name.is_ascii()) {
            Encoding::Ascii
        } else if server_encoding.is_some_and(is_utf8) && client_encoding.is_some_and(is_utf8) {
            Encoding::Utf8
        } else {
            Encoding::Other
        };
        let mut schemas: Vec<_> = self.schemas.into_iter().collect();
        schemas.sort_unstable_by_key(|(_, index)| *index);
        Digest {
            names: self.names.into(),
            entries: self.entries.into(),
            schemas: schemas.into_iter().map(|(name, _)| name).collect(),
            filter: filter.into(),
            shift,
            operators: self.operators.into(),
            read_committed: self.read_committed,
            encoding,
            complete: self.complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[[&str; 4]]) -> Digest {
        limited(rows, 1000, true)
    }

    fn limited(rows: &[[&str; 4]], most: usize, use_unlogged: bool) -> Digest {
        let mut builder = DigestBuilder::new(most, use_unlogged);
        for [kind, schema, name, fact] in rows {
            let [kind, schema, name, fact] = [kind, schema, name, fact].map(|text| text.as_bytes());
            builder.row(kind, schema, name, fact).unwrap();
        }
        builder.finish(Some(b"UTF8"), Some(b"UTF8"))
    }

    /// Reads `schema.name`, each in quotes or not.
    fn name(text: &str) -> Name<'_> {
        let (schema, name) = match text.rsplit_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        Name { qualifier: schema.map(part), name: part(name) }
    }

    fn part(text: &str) -> Identifier<'_> {
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Identifier { text: inner.unwrap_or(text).as_bytes(), quoted: inner.is_some() }
    }

    #[test]
    fn functions() {
        use FunctionFact::{Harmless, Unknown, Writes};
        let digest = digest(&[
            ["f", "public", "f_write", "w"],
            ["f", "public", "f_read", "h"],
            ["f", "s1", "both", "h"],
            ["f", "s2", "both", "w"],
            ["f", "public", "Mixed", "w"],
            ["f", "public", "od\"d", "h"],
            ["f", "public", "lower", "w"],
            ["f", "public", "nextval", "h"],
        ]);
        for (text, expected) in [
            ("f_write", Writes),
            ("F_Write", Writes),
            ("\"f_write\"", Writes),
            ("\"F_write\"", Unknown),
            ("public.f_write", Writes),
            ("PUBLIC.f_write", Writes),
            ("\"PUBLIC\".f_write", Unknown),
            ("s1.f_write", Unknown),
            ("f_read", Harmless),
            ("public.f_read", Harmless),
            ("both", Writes),
            ("s1.both", Harmless),
            ("s2.both", Writes),
            ("mixed", Unknown),
            ("Mixed", Unknown),
            ("\"Mixed\"", Writes),
            ("\"od\"\"d\"", Harmless),
            // Over a built-in function: that writes, or may be meant.
            ("lower", Writes),
            ("pg_catalog.lower", Unknown),
            ("nextval", Unknown),
            ("public.nextval", Harmless),
            ("upper", Unknown),
            ("f_reads", Unknown),
        ] {
            assert_eq!(digest.function(name(text)), expected, "{text}");
        }
        assert_eq!(digest.relation(name("f_write")), RelationFact::Plain);
        assert_eq!(digest.len(), 8);
    }

    #[test]
    fn relations_and_types() {
        use RelationKind::{Foreign, Sequence, Unlogged, View};
        let rows = [
            ["r", "public", "u", "u"],
            ["r", "public", "f", "f"],
            ["r", "public", "s", "s"],
            ["r", "public", "v", "v"],
            ["r", "other", "t", "u"],
            ["t", "public", "typ", "w"],
        ];
        let with = digest(&rows);
        for (text, kind) in
            [("u", Unlogged), ("F", Foreign), ("public.s", Sequence), ("V", View), ("typ", View)]
        {
            assert_eq!(with.relation(name(text)), RelationFact::PrimaryOnly(kind), "{text}");
        }
        for text in ["x", "s1.u", "\"U\"", "public.t"] {
            assert_eq!(with.relation(name(text)), RelationFact::Plain, "{text}");
        }
        assert_eq!(with.relation(name("t")), RelationFact::PrimaryOnly(Unlogged));
        assert_eq!(with.function(name("typ")), FunctionFact::Writes);
        let without = limited(&rows, 1000, false);
        assert_eq!(without.relation(name("u")), RelationFact::Plain);
        assert_eq!(without.relation(name("f")), RelationFact::PrimaryOnly(Foreign));
    }

    #[test]
    fn what_only_execution_runs() {
        let digest = digest(&[
            ["f", "public", "f_volatile", "x"],
            ["f", "s1", "both", "x"],
            ["f", "s2", "both", "w"],
            ["f", "s3", "both", "h"],
            ["f", "s1", "nextval", "x"],
            ["f", "s1", "either", "x"],
            ["f", "s2", "either", "h"],
            ["r", "public", "view", "x"],
            ["r", "s1", "table", "x"],
            ["r", "s2", "table", "v"],
            ["r", "s1", "other", "x"],
            ["r", "s2", "other", "u"],
            ["f", "public", "typ", "x"],
            ["r", "public", "typ", "x"],
            ["t", "public", "typ", "w"],
        ]);
        for (text, expected) in [
            ("f_volatile", FunctionFact::Volatile),
            ("public.F_Volatile", FunctionFact::Volatile),
            ("both", FunctionFact::Writes),
            ("s1.both", FunctionFact::Volatile),
            ("s3.both", FunctionFact::Harmless),
            ("either", FunctionFact::Volatile),
            ("nextval", FunctionFact::Writes),
            ("typ", FunctionFact::Writes),
            ("view", FunctionFact::Unknown),
        ] {
            assert_eq!(digest.function(name(text)), expected, "{text}");
        }
        for (text, kind) in [
            ("view", RelationKind::WritingView),
            ("table", RelationKind::View),
            ("s1.table", RelationKind::WritingView),
            ("other", RelationKind::Unlogged),
            ("typ", RelationKind::View),
        ] {
            assert_eq!(digest.relation(name(text)), RelationFact::PrimaryOnly(kind), "{text}");
        }
        assert_eq!(digest.attribute(name("t.f_volatile")), FunctionFact::Unknown);
    }

    #[test]
    fn attributes() {
        let digest = digest(&[
            ["f", "public", "of_row", "w"],
            ["a", "public", "of_row", "w"],
            ["f", "public", "of_int", "w"],
        ]);
        assert_eq!(digest.attribute(name("t.of_row")), FunctionFact::Writes);
        assert_eq!(digest.attribute(name("t.of_int")), FunctionFact::Unknown);
        assert_eq!(digest.attribute(name("t.a")), FunctionFact::Unknown);
    }

    #[test]
    fn operators() {
        let digest = digest(&[["o", "", "@+@", "w"], ["o", "", "<>", "w"], ["o", "", "-", "w"]]);
        for writes in ["@+@", "<>", "!=", "-", "=-", "*--"] {
            assert!(digest.operator(writes.as_bytes()), "{writes}");
        }
        for harmless in ["=", "@+", "@-", "@+@-", "+", "", "=+"] {
            assert!(!digest.operator(harmless.as_bytes()), "{harmless}");
        }
    }

    #[test]
    fn isolation() {
        assert!(digest(&[["i", "", "", "c"]]).default_isolation_is_read_committed());
        assert!(!digest(&[["i", "", "", "o"]]).default_isolation_is_read_committed());
        assert!(!digest(&[]).default_isolation_is_read_committed());
    }

    #[test]
    fn too_many_names_are_none() {
        let rows = [["f", "public", "a", "h"], ["r", "public", "b", "u"], ["o", "", "@", "w"]];
        assert!(!limited(&rows, 3, true).is_too_large());
        let digest = limited(&rows, 2, true);
        assert!(digest.is_too_large() && digest.is_empty());
        assert_eq!(digest.function(name("a")), FunctionFact::Unknown);
        let unknown = RelationFact::PrimaryOnly(RelationKind::NotLookedUp);
        assert_eq!(digest.relation(name("any")), unknown);
    }

    #[test]
    fn names_beyond_ascii() {
        let utf8 = digest(&[["f", "public", "größe", "w"]]);
        assert_eq!(utf8.function(name("größe")), FunctionFact::Writes);
        assert_eq!(utf8.function(name("GRößE")), FunctionFact::Writes);
        assert!(utf8.understands(|| Some(b"UTF8")));
        assert!(!utf8.understands(|| Some(b"LATIN1")) && !utf8.understands(|| None));
        assert!(digest(&[["f", "public", "a", "w"]]).understands(|| None));
        let mut builder = DigestBuilder::new(9, true);
        builder.row(b"f", b"public", b"gr\xf6\xdfe", b"w").unwrap();
        let latin1 = builder.finish(Some(b"LATIN1"), Some(b"LATIN1"));
        assert!(!latin1.understands(|| Some(b"LATIN1")));
    }

    #[test]
    fn every_name_is_found_and_few_others_pass_the_filter() {
        let mut builder = DigestBuilder::new(100_000, true);
        for i in 0..50_000 {
            builder.row(b"f", b"public", format!("function_{i}").as_bytes(), b"w").unwrap();
        }
        let digest = builder.finish(None, None);
        let mut passed = 0;
        for i in 0..50_000 {
            assert_eq!(digest.function(name(&format!("Function_{i}"))), FunctionFact::Writes);
            let hash = name::hash(format!("column_{i}").as_bytes());
            let word = digest.filter[usize::try_from(hash >> digest.shift).unwrap()];
            passed += usize::from(word.bits & bits(hash) == bits(hash));
            let other = format!("column_{i}");
            assert_eq!(digest.relation(name(&other)), RelationFact::Plain);
        }
        assert!(passed < 2_000, "{passed} of 50000");
    }

    #[test]
    fn rows_of_another_query_are_refused() {
        let mut builder = DigestBuilder::new(9, true);
        for [kind, fact] in [["x", "w"], ["f", "u"], ["r", "w"], ["", ""]] {
            let row = builder.row(kind.as_bytes(), b"s", b"n", fact.as_bytes());
            assert_eq!(row, Err(UnexpectedRow), "{kind} {fact}");
        }
        assert_eq!(builder.row(b"f", b"s", &[b'x'; 300], b"w"), Err(UnexpectedRow));
    }
}
