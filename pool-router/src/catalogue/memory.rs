//! What refusals of standbys have taught: functions and statements that write though nothing showed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pgwire_core::backend::ErrorOrNotice;
use pgwire_core::time::Instant;

use super::name::Plain;
use crate::classify::Name;

/// Functions that are taken from one refusal at most: the innermost ones of its call stack.
const MAX_FUNCTIONS: usize = 8;

/// A function, as a server names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionName {
    /// Its name, as the catalogue has it.
    pub name: Box<[u8]>,
    /// Its schema, where the server has named that too.
    pub schema: Option<Box<[u8]>>,
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", String::from_utf8_lossy(schema))?;
        }
        f.write_str(&String::from_utf8_lossy(&self.name))
    }
}

/// What one refusal has taught.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned {
    /// The functions during which it came, the innermost first.
    pub functions: Vec<FunctionName>,
    /// The statement's [`fingerprint`](crate::classify::fingerprint).
    pub statement: Option<u64>,
}

/// The functions that a server names as the context of an error, the innermost first: field `W` of
/// the message (PostgreSQL docs, 55.8). Empty if it is in a language other than English, or the
/// error did not come from a function.
#[must_use]
pub fn culprits(error: &ErrorOrNotice<'_>) -> Vec<FunctionName> {
    let mut found: Vec<FunctionName> = Vec::new();
    let context = error.field(b'W').unwrap_or_default();
    for line in context.split(|byte| *byte == b'\n') {
        let function = if let Some(rest) = line.strip_prefix(b"PL/pgSQL function ") {
            signature(rest)
        } else if let Some(rest) = line.strip_prefix(b"SQL function \"") {
            in_quotes(rest)
        } else {
            // `PL/Perl function "f"`, `PL/Python function "f"`.
            line.strip_prefix(b"PL/")
                .and_then(|rest| rest.split_once_at(b" function \""))
                .and_then(in_quotes)
        };
        if let Some(function) = function
            && !found.contains(&function)
            && found.len() < MAX_FUNCTIONS
        {
            found.push(function);
        }
    }
    found
}

/// Splitting of bytes, as `str` has it.
trait SplitOnce {
    /// What stands behind the first `separator`.
    fn split_once_at(&self, separator: &[u8]) -> Option<&[u8]>;
}

impl SplitOnce for [u8] {
    fn split_once_at(&self, separator: &[u8]) -> Option<&[u8]> {
        let at = self.windows(separator.len()).position(|window| window == separator)?;
        self.get(at + separator.len()..)
    }
}

/// `f(integer) line 3 at …`, `s.f(integer) …`, `"My f"() …`: as `regprocedure` prints it. Anonymous
/// code (`inline_code_block line …`) has no parentheses.
fn signature(text: &[u8]) -> Option<FunctionName> {
    let (first, rest) = identifier(text)?;
    match rest.split_first()? {
        (b'(', _) => Some(FunctionName { name: first, schema: None }),
        (b'.', rest) => {
            let (name, rest) = identifier(rest)?;
            rest.starts_with(b"(").then_some(FunctionName { name, schema: Some(first) })
        }
        _ => None,
    }
}

/// An identifier as `quote_ident` writes it, and what follows.
fn identifier(text: &[u8]) -> Option<(Box<[u8]>, &[u8])> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b'(' | b'.' | b' '))?;
        let (name, rest) = text.split_at_checked(end)?;
        return (!name.is_empty()).then(|| (name.into(), rest));
    };
    let mut name = Vec::new();
    let mut bytes = inner.iter().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        if *byte == b'"' && bytes.next_if(|(_, next)| **next == b'"').is_none() {
            return Some((name.into(), inner.get(at + 1..)?));
        }
        name.push(*byte);
    }
    None
}

/// A bare name before the quote that ends it.
fn in_quotes(rest: &[u8]) -> Option<FunctionName> {
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let name = rest.get(..end).filter(|name| !name.is_empty())?;
    Some(FunctionName { name: name.into(), schema: None })
}

/// What was learned and holds, as routing reads it.
#[derive(Debug, Clone, Default)]
pub struct LearnedSet {
    functions: Vec<FunctionName>,
    statements: Vec<u64>,
}

impl LearnedSet {
    /// These functions, and the statements with these fingerprints.
    #[cfg(test)]
    pub(crate) fn new(functions: Vec<FunctionName>, mut statements: Vec<u64>) -> Self {
        statements.sort_unstable();
        Self { functions, statements }
    }

    /// Whether a call of `name` may be one of a function that was refused.
    #[inline]
    #[must_use]
    pub fn writes(&self, name: Name<'_>) -> bool {
        !self.functions.is_empty() && self.finds(name)
    }

    #[cold]
    fn finds(&self, name: Name<'_>) -> bool {
        let plain = Plain::new(name.name);
        let schema = name.qualifier.map(Plain::new);
        self.functions.iter().any(|function| {
            plain.is(&function.name)
                && match (&schema, &function.schema) {
                    (Some(written), Some(known)) => written.is(known),
                    _ => true,
                }
        })
    }

    /// Whether statements were learned at all: only then is it worth while to compute fingerprints.
    #[inline]
    #[must_use]
    pub fn has_statements(&self) -> bool {
        !self.statements.is_empty()
    }

    /// Whether a statement with this fingerprint was refused.
    #[must_use]
    pub fn has_statement(&self, fingerprint: u64) -> bool {
        self.statements.binary_search(&fingerprint).is_ok()
    }

    /// The functions, by name.
    #[must_use]
    pub fn functions(&self) -> &[FunctionName] {
        &self.functions
    }

    /// The fingerprints of the statements.
    #[must_use]
    pub fn statements(&self) -> &[u64] {
        &self.statements
    }
}

/// What was learned about one database, with the time up to which each holds.
#[derive(Debug)]
pub(crate) struct Memory {
    functions: BTreeMap<FunctionName, Instant>,
    statements: BTreeMap<u64, Instant>,
    most: usize,
    expire: Option<Duration>,
}

impl Memory {
    /// An empty memory for `most` functions and statements together (`weir_learned_writers_max`), each
    /// for the time `expire` (`weir_learned_writers_expire`).
    pub(crate) fn new(most: usize, expire: Option<Duration>) -> Self {
        Self { functions: BTreeMap::new(), statements: BTreeMap::new(), most, expire }
    }

    /// Takes in what a refusal taught. Returns what of it is new.
    pub(crate) fn learn(&mut self, learned: Learned, now: Instant) -> Learned {
        let until = self.expire.map_or(Instant::from_nanos(u64::MAX), |time| now + time);
        let mut new = Learned::default();
        if self.most == 0 {
            return new;
        }
        for function in learned.functions {
            if self.functions.insert(function.clone(), until).is_none() {
                new.functions.push(function);
            }
        }
        new.statement =
            learned.statement.filter(|print| self.statements.insert(*print, until).is_none());
        while self.functions.len() + self.statements.len() > self.most {
            self.forget_oldest();
        }
        new
    }

    fn forget_oldest(&mut self) {
        let oldest = |(_, until): &(_, Instant)| *until;
        let function =
            self.functions.iter().map(|(f, until)| (f.clone(), *until)).min_by_key(|e| e.1);
        let statement = self.statements.iter().map(|(s, until)| (*s, *until)).min_by_key(oldest);
        match (function, statement) {
            (Some((function, until)), Some((_, other))) if until <= other => {
                self.functions.remove(&function);
            }
            (_, Some((statement, _))) => {
                self.statements.remove(&statement);
            }
            (Some((function, _)), None) => {
                self.functions.remove(&function);
            }
            (None, None) => {}
        }
    }

    /// When the next of it is forgotten.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expire?;
        self.functions.values().chain(self.statements.values()).min().copied()
    }

    /// Forgets what is too old. Returns whether there was any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        if self.next_expiry().is_none_or(|at| now < at) {
            return false;
        }
        self.functions.retain(|_, until| now < *until);
        self.statements.retain(|_, until| now < *until);
        true
    }

    /// What holds now.
    pub(crate) fn set(&self) -> LearnedSet {
        LearnedSet {
            functions: self.functions.keys().cloned().collect(),
            statements: self.statements.keys().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Identifier;

    fn context(text: &str) -> Vec<String> {
        let mut frame = Vec::new();
        frame.extend_from_slice(b"SERROR\0C25006\0Mrefused\0W");
        frame.extend_from_slice(text.as_bytes());
        frame.extend_from_slice(b"\0\0");
        let length = u32::try_from(frame.len() + 4).unwrap().to_be_bytes();
        let frame = [b"E".as_slice(), &length, &frame].concat();
        let error = ErrorOrNotice::parse(&frame).unwrap();
        culprits(&error).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn functions_are_read_from_the_context() {
        for (text, expected) in [
            ("PL/pgSQL function f_write(integer) line 3 at SQL statement", &["f_write"][..]),
            ("SQL function \"f\" statement 1", &["f"]),
            ("SQL function \"f\" during startup", &["f"]),
            ("PL/pgSQL function s1.g() line 1 at PERFORM", &["s1.g"]),
            ("PL/pgSQL function \"My S\".\"a\"\"b.(\"(text) line 1 at RETURN", &["My S.a\"b.("]),
            ("PL/Python function \"py\"", &["py"]),
            (
                "SQL statement \"INSERT INTO t VALUES (1)\"\n\
                 PL/pgSQL function inner_f(integer) line 3 at SQL statement\n\
                 SQL function \"outer_f\" statement 1\n\
                 PL/pgSQL function inner_f(integer) line 9 at RETURN",
                &["inner_f", "outer_f"],
            ),
            ("PL/pgSQL function inline_code_block line 1 at SQL statement", &[]),
            ("PL/pgSQL function", &[]),
            ("PL/pgSQL function \"x", &[]),
            ("SQL function \"", &[]),
            ("portal \"x\" line 2", &[]),
            ("", &[]),
        ] {
            assert_eq!(context(text), expected, "{text}");
        }
        let many: String =
            (0..50).map(|i| format!("PL/pgSQL function f{i}() line 1 at X\n")).collect();
        assert_eq!(context(&many).len(), MAX_FUNCTIONS);
    }

    fn function(schema: Option<&str>, name: &str) -> FunctionName {
        FunctionName {
            name: name.as_bytes().into(),
            schema: schema.map(|schema| schema.as_bytes().into()),
        }
    }

    fn learned(name: &str, statement: u64) -> Learned {
        Learned { functions: vec![function(None, name)], statement: Some(statement) }
    }

    fn name<'a>(schema: Option<&'a str>, name: &'a str) -> Name<'a> {
        let part = |text: &'a str| Identifier { text: text.as_bytes(), quoted: false };
        Name { qualifier: schema.map(part), name: part(name) }
    }

    #[test]
    fn what_was_learned_is_found() {
        let mut memory = Memory::new(10, Some(Duration::from_secs(10)));
        assert!(!memory.set().has_statements());
        let lesson = Learned {
            functions: vec![function(None, "f"), function(Some("s"), "g")],
            statement: Some(7),
        };
        let now = Instant::from_millis(1);
        assert_eq!(memory.learn(lesson.clone(), now), lesson);
        assert_eq!(memory.learn(lesson, now), Learned::default(), "nothing new");
        let set = memory.set();
        assert!(set.has_statements() && set.has_statement(7) && !set.has_statement(8));
        assert!(set.writes(name(None, "F")) && set.writes(name(Some("any"), "f")));
        assert!(set.writes(name(None, "g")) && set.writes(name(Some("S"), "G")));
        assert!(!set.writes(name(Some("t"), "g")) && !set.writes(name(None, "h")));
    }

    #[test]
    fn it_is_forgotten_in_time() {
        let mut memory = Memory::new(10, Some(Duration::from_millis(10)));
        memory.learn(learned("a", 1), Instant::from_millis(0));
        memory.learn(learned("b", 2), Instant::from_millis(5));
        memory.learn(learned("a", 1), Instant::from_millis(6));
        assert_eq!(memory.next_expiry(), Some(Instant::from_millis(15)));
        assert!(!memory.expire(Instant::from_millis(14)));
        assert!(memory.expire(Instant::from_millis(15)));
        assert_eq!(memory.set().functions(), [function(None, "a")]);
        assert_eq!(memory.set().statements(), [1]);
        assert!(memory.expire(Instant::from_millis(16)));
        assert_eq!(memory.next_expiry(), None);
        let mut forever = Memory::new(10, None);
        forever.learn(learned("a", 1), Instant::from_millis(0));
        assert_eq!(forever.next_expiry(), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut memory = Memory::new(5, Some(Duration::from_secs(1)));
        for i in 0..100 {
            memory.learn(learned(&format!("f{i}"), i), Instant::from_millis(i));
            let set = memory.set();
            assert!(set.functions().len() + set.statements().len() <= 5);
            assert!(set.has_statement(i));
        }
        let mut none = Memory::new(0, None);
        assert_eq!(none.learn(learned("a", 1), Instant::ORIGIN), Learned::default());
        assert!(!none.set().has_statements());
    }
}
