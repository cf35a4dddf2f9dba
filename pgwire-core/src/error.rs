//! What can go wrong, split by whose fault it is.
//!
//! - [`DecodeError`]: the bytes are not a PostgreSQL message. The connection cannot be used any
//!   further, because the place of the next message is unknown.
//! - [`PeerMisbehaved`]: the bytes are a sound message, but one that is not allowed at this point.
//! - [`ApiMisuse`]: the caller of this crate broke a rule of its API.
//!
//! No variant carries text from a peer: an error may be logged as it stands.

use crate::sqlstate::SqlState;

/// Bytes that do not form a message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A length field below 4 (it counts itself) or above what a message of this type may have.
    #[error("message type {tag:#04x} has an invalid length of {len}")]
    BadLength {
        /// The message's first byte.
        tag: u8,
        /// The length field as received.
        len: u32,
    },
    /// A first byte that no message in this direction has.
    #[error("unknown message type {tag:#04x}")]
    UnknownTag {
        /// The byte.
        tag: u8,
    },
    /// A view was asked to read a frame of another type.
    #[error("expected message type {expected:#04x}, found {found:#04x}")]
    WrongTag {
        /// The type that the view reads.
        expected: u8,
        /// The frame's first byte.
        found: u8,
    },
    /// The message ends before its last field.
    #[error("message ends before its last field")]
    Truncated,
    /// A string without its terminating NUL byte.
    #[error("string without a terminator in message")]
    MissingTerminator,
    /// Bytes after the message's last field.
    #[error("{count} unexpected bytes after the last field of a message")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A field has a value that the protocol does not define.
    #[error("invalid value in field \"{field}\"")]
    BadValue {
        /// The field, in the protocol documentation's words.
        field: &'static str,
    },
    /// A startup packet whose length field is below 8 or above
    /// [`MAX_STARTUP_LEN`](crate::startup::MAX_STARTUP_LEN).
    #[error("invalid length of startup packet: {len}")]
    BadStartupLength {
        /// The length field as received.
        len: u32,
    },
    /// A startup packet that is not a list of name/value pairs ending in a single NUL byte.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    BadStartupLayout,
    /// A cancel key outside 4 to 256 bytes.
    #[error("invalid length of cancel key: {len}")]
    BadCancelKeyLength {
        /// The key's length in bytes.
        len: usize,
    },
}

impl DecodeError {
    /// The SQLSTATE to report this with: `08P01`, protocol violation.
    #[must_use]
    pub const fn sqlstate(self) -> SqlState {
        SqlState::PROTOCOL_VIOLATION
    }
}

/// A well-formed message that the sender was not allowed to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A message of a type that this point of the conversation does not have.
    #[error("unexpected message type {tag:#04x}")]
    UnexpectedMessage {
        /// The message's first byte.
        tag: u8,
    },
    /// A reply to a request that was never made.
    #[error("reply of type {tag:#04x} without a request")]
    UnsolicitedReply {
        /// The message's first byte.
        tag: u8,
    },
    /// More requests without their replies than the receiver is ready to remember.
    #[error("more than {limit} requests in flight")]
    TooManyInFlight {
        /// The bound.
        limit: usize,
    },
    /// Bytes in clear text behind a request for encryption. They may have been put there by somebody
    /// in the middle (CVE-2021-23214), so the connection must be closed.
    #[error("received unencrypted data after an encryption request")]
    DataAfterEncryptionRequest,
}

impl PeerMisbehaved {
    /// The SQLSTATE to report this with: `08P01`, protocol violation.
    #[must_use]
    pub const fn sqlstate(self) -> SqlState {
        SqlState::PROTOCOL_VIOLATION
    }
}

/// A call that breaks a rule of this crate's API: a defect of the program, not of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// A method was called in a state that does not have it.
    #[error("called out of turn: {rule}")]
    OutOfTurn {
        /// The rule that was broken.
        rule: &'static str,
    },
    /// An argument is outside its documented bounds.
    #[error("argument out of bounds: {rule}")]
    OutOfBounds {
        /// The rule that was broken.
        rule: &'static str,
    },
}
