//! Counts of the rare events of routing, for operators: why something did not run where reads run.

use core::fmt;

/// How often each of these has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Statements whose text cannot be read (`Reason::NotParsable`): the primary got them. One that
    /// had to wait may count more than once.
    pub not_parsable: u64,
    /// Statements that begin with no known word (`Reason::UnknownStatement`), likewise.
    pub unknown_statements: u64,
    /// Statements that a standby refused, or was lost with, and that were asked again elsewhere.
    pub healed: u64,
    /// Open transactions that went on on the primary.
    pub moved: u64,
    /// Refusals that taught that a function or statement writes (`Hub::learned`).
    pub learned: u64,
    /// Transactions that ended because their clients were sent away.
    pub broken: u64,
}

impl Tally {
    /// Adds what another one has counted.
    pub fn add(&mut self, other: &Self) {
        let Self { not_parsable, unknown_statements, healed, moved, learned, broken } = other;
        self.not_parsable += not_parsable;
        self.unknown_statements += unknown_statements;
        self.healed += healed;
        self.moved += moved;
        self.learned += learned;
        self.broken += broken;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "statements not readable: {}, of an unknown kind: {}, asked again after a standby's \
             refusal: {}; transactions moved to the primary: {}; writing statements learned: {}; transactions \
             broken by the shutdown: {}",
            self.not_parsable,
            self.unknown_statements,
            self.healed,
            self.moved,
            self.learned,
            self.broken
        )
    }
}
