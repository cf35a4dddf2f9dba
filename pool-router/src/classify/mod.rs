//! Which statements any node may answer, and what statements do to their session.

mod verdict;

pub use verdict::{
    BeginMode, ClientEncoding, Effects, EndKind, IsolationLevel, Lexing, Pin, Reason,
    SavepointAction, Sets, Span, StatementCount, Target, TrackedParameter, TrackedSet,
    TransactionEnd, Unpins, Unreadable, Verdict,
};

/// Classifies a query string.
pub fn classify(_sql: &[u8], _lexing: &Lexing) -> Verdict {
    Verdict {
        target: Target::Primary(Reason::UnknownStatement),
        effects: Effects { writes: true, ..Effects::default() },
        statements: StatementCount::One,
    }
}
