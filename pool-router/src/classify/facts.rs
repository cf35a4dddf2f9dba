//! What a database's catalogue knows and the text does not show.

use core::fmt;

/// An identifier as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identifier<'a> {
    /// Its text; for a quoted one what stands between the quotes, doubled quotes as they are.
    pub text: &'a [u8],
    /// Whether it is quoted: its case counts.
    pub quoted: bool,
}

/// A name with the qualifier before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// What stands before the last dot: a schema, or a relation before its column.
    pub qualifier: Option<Identifier<'a>>,
    /// The last part.
    pub name: Identifier<'a>,
}

/// What the catalogue says of a function, all overloads in the schemas of the search path together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionFact {
    /// Nothing: the built-in lists decide.
    Unknown,
    /// Any node may run it.
    Harmless,
    /// It may write when it is executed, and planning does not run it, nor anything in its body:
    /// declared `VOLATILE` (PostgreSQL docs, "Function Volatility Categories").
    Volatile,
    /// It may write, also when a statement that calls it is planned.
    Writes,
}

/// What the catalogue says of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationFact {
    /// Nothing that speaks against a standby, or there is no such relation.
    Plain,
    /// A standby cannot answer for it, and why.
    PrimaryOnly(RelationKind),
}

/// Why a standby cannot answer for a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// A temporary table, view or sequence of the session.
    Temporary,
    /// Unlogged, or a partition of it is: a standby has no data (0A000).
    Unlogged,
    /// A foreign table, or a partition of it is: what it reads may be the server's own.
    Foreign,
    /// A view, or a table with row security, over something that writes, locks or is the server's own.
    View,
    /// The same over nothing but functions that are [`FunctionFact::Volatile`], and row locks: a
    /// standby can plan it.
    WritingView,
    /// A sequence: a standby's is ahead of the primary's (the log is written for 32 values at once).
    Sequence,
    /// The catalogue has not been looked at yet.
    NotLookedUp,
}

impl fmt::Display for RelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Temporary => "temporary table",
            Self::Unlogged => "unlogged table",
            Self::Foreign => "foreign table",
            Self::View => "view over what a standby cannot do",
            Self::WritingView => "view over what writes",
            Self::Sequence => "sequence",
            Self::NotLookedUp => "relation not looked up yet",
        })
    }
}

/// A source of catalogue facts. It is asked about the names in a statement that could be a read, so
/// it also learns which there are.
pub trait Facts {
    /// A name that is called.
    fn function(&mut self, name: Name<'_>) -> FunctionFact;

    /// Whether a standby has refused the function before. Asked where something else than the
    /// catalogue calls it harmless.
    fn was_refused(&mut self, name: Name<'_>) -> bool {
        let _ = name;
        false
    }

    /// A name where a relation can stand: in `FROM`, behind `JOIN`, `TABLE`, `ONLY` and `COPY`. It
    /// may also be that of a common table expression. Where parentheses nest very deep, any name.
    fn relation(&mut self, name: Name<'_>) -> RelationFact;

    /// A name behind a dot that is not called: usually a column, but `t.f` also is `f(t)`.
    fn attribute(&mut self, name: Name<'_>) -> FunctionFact {
        let _ = name;
        FunctionFact::Unknown
    }

    /// An operator, as it is written or as `LIKE` and its kin stand for it: whether it may call a function that writes.
    fn operator(&mut self, operator: &[u8]) -> bool {
        let _ = operator;
        false
    }

    /// The relation that a statement changes: of `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `TRUNCATE`
    /// and `COPY … FROM`, also within a `WITH` list.
    fn written(&mut self, name: Name<'_>) {
        let _ = name;
    }
}

/// No catalogue.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    #[inline]
    fn function(&mut self, _: Name<'_>) -> FunctionFact {
        FunctionFact::Unknown
    }

    #[inline]
    fn relation(&mut self, _: Name<'_>) -> RelationFact {
        RelationFact::Plain
    }
}
