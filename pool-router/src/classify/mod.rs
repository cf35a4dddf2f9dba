//! Which statements any node may answer, and what statements do to their transaction and session.
//!
//! [`classify`] reads the text once, token by token, without allocating and without a parser: the
//! words that make a statement write are known by their place, and whatever else there is of doubt
//! goes to the primary with a [`Reason`]. What the text does not show (a view over a function that
//! writes, `t.f` for `f(t)`, an unlogged table) needs [`Facts`] from the catalogue.

mod classifier;
mod commands;
mod deallocate;
mod exact;
mod facts;
mod fingerprint;
pub(crate) mod functions;
mod keywords;
mod lexer;
#[cfg(test)]
mod properties;
mod read;
mod session;
mod set_config;
mod shapes;
#[cfg(test)]
mod tests;
mod vacate;
mod verdict;

pub(crate) use deallocate::deallocated;
pub use facts::{Facts, FunctionFact, Identifier, Name, NoFacts, RelationFact, RelationKind};
pub use fingerprint::fingerprint;
pub(crate) use functions::is_primary_only_builtin;
pub use shapes::{MAX_SHAPE_LITERALS, MAX_SHAPE_TEXT, MAX_SHAPES, ShapeCache};
pub use verdict::{
    BeginMode, ClientEncoding, Effects, EndKind, IsolationLevel, Leading, Lexing, Parameter, Pin,
    Reason, SavepointAction, Sets, Span, StatementCount, Target, TrackedParameter, TrackedSet,
    TransactionEnd, Unpins, Unreadable, Vacated, Verdict,
};

/// Classifies a query string (without the zero byte that ends it on the wire) by its text alone.
///
/// It takes time linear in the length of `sql`, and memory that does not depend on it.
pub fn classify(sql: &[u8], lexing: &Lexing) -> Verdict {
    classify_with(sql, lexing, &mut NoFacts)
}

/// The same, with what the catalogue of the session's database knows.
pub fn classify_with<F: Facts>(sql: &[u8], lexing: &Lexing, facts: &mut F) -> Verdict {
    classifier::Classifier::classify(sql, lexing, facts)
}

/// What a query string begins with. It looks at no more than the blanks at the beginning.
#[must_use]
pub fn leading(sql: &[u8]) -> Leading {
    lexer::leading(sql)
}
