//! The transaction status that a backend reports in ReadyForQuery.

/// What a session's transaction looks like between two queries.
///
/// Source: PostgreSQL documentation, "Message Formats", ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    Idle,
    /// `T`: in a transaction block.
    InTransaction,
    /// `E`: in a failed transaction block, where all but ROLLBACK is refused.
    Failed,
}

impl TransactionStatus {
    /// The status with this letter, if there is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    /// The letter in ReadyForQuery.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }

    /// Whether a transaction block is open, failed or not.
    #[must_use]
    pub const fn in_block(self) -> bool {
        !matches!(self, Self::Idle)
    }
}
