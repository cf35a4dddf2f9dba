//! Message types: the first byte of every message after the startup packet.
//!
//! The same byte means different things in the two directions (`D` is Describe from a frontend and
//! DataRow from a backend), so that each direction has a type of its own.
//!
//! Source: PostgreSQL documentation, "Message Formats"; the length limits are those of the server
//! (`PQ_SMALL_MESSAGE_LIMIT`, `PQ_LARGE_MESSAGE_LIMIT`) and of libpq (30000 bytes for every type
//! that is not known to be long).

use core::fmt;
use core::marker::PhantomData;

/// The largest length field of a frontend message that carries data: the server accepts no more.
pub const MAX_LARGE_FRONTEND_LEN: u32 = 0x3fff_fffe;
/// The largest length field of a backend message that carries data: the server builds a body in a
/// string of less than 1 GiB, and the length field adds itself.
pub const MAX_LARGE_BACKEND_LEN: u32 = 0x4000_0002;
/// The largest length field of a frontend message that carries names only.
pub const MAX_SMALL_FRONTEND_LEN: u32 = 10_000;
/// The largest length field of a password or SASL message: the server's limit on a token.
pub const MAX_PASSWORD_LEN: u32 = 65_535;
/// The largest length field of a backend message that carries no data.
pub const MAX_SMALL_BACKEND_LEN: u32 = 30_000;

/// A message type of one direction.
pub trait Tag: Copy + Eq + fmt::Debug {
    /// The type with this first byte, known or not.
    fn from_byte(byte: u8) -> Self;
    /// The first byte.
    fn byte(self) -> u8;
    /// The largest length field (which counts itself, but not the first byte) that a message of this
    /// type may have; `None` for a type that the protocol does not have.
    fn max_len(self) -> Option<u32>;
}

/// Marks the messages that a frontend sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frontend {}

/// Marks the messages that a backend sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {}

/// A message type of the direction `From`; see [`FrontendTag`] and [`BackendTag`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageTag<From>(u8, PhantomData<From>);

/// The type of a message from a frontend (a client).
pub type FrontendTag = MessageTag<Frontend>;
/// The type of a message from a backend (a server).
pub type BackendTag = MessageTag<Backend>;

impl<From> MessageTag<From> {
    /// The type with this first byte, known or not.
    #[must_use]
    pub const fn new(byte: u8) -> Self {
        Self(byte, PhantomData)
    }
}

/// Declares the messages of one direction: constants, names for `Debug`, and the table of limits.
macro_rules! messages {
    ($tag:ident, $limits:ident: $( $(#[$doc:meta])* $name:ident = $byte:literal <= $max:expr; )*) => {
        impl $tag {
            $( $(#[$doc])* pub const $name: Self = Self::new($byte); )*

            /// Every type of this direction.
            pub const ALL: &'static [Self] = &[$( Self::$name ),*];

            /// The first byte; [`Tag::byte`] for constants.
            #[must_use]
            pub const fn as_byte(self) -> u8 {
                self.0
            }
        }

        // Zero stands for "no such message", since every length is at least 4.
        static $limits: [u32; 256] = {
            let mut limits = [0; 256];
            $( limits[$byte as usize] = $max; )*
            limits
        };

        impl Tag for $tag {
            #[inline]
            fn from_byte(byte: u8) -> Self {
                Self::new(byte)
            }

            #[inline]
            fn byte(self) -> u8 {
                self.0
            }

            #[inline]
            fn max_len(self) -> Option<u32> {
                match $limits[usize::from(self.0)] {
                    0 => None,
                    max => Some(max),
                }
            }
        }

        impl fmt::Debug for $tag {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $( Self::$name => f.write_str(concat!(stringify!($tag), "::", stringify!($name))), )*
                    _ => write!(f, concat!(stringify!($tag), "({:#04x})"), self.0),
                }
            }
        }
    };
}

messages! { FrontendTag, FRONTEND_LIMITS:
    /// Bind: parameters for a prepared statement, making a portal.
    BIND = b'B' <= MAX_LARGE_FRONTEND_LEN;
    /// Close a prepared statement or a portal.
    CLOSE = b'C' <= MAX_SMALL_FRONTEND_LEN;
    /// Data of a COPY.
    COPY_DATA = b'd' <= MAX_LARGE_FRONTEND_LEN;
    /// The end of the data of a COPY.
    COPY_DONE = b'c' <= 4;
    /// A COPY given up by the frontend.
    COPY_FAIL = b'f' <= MAX_SMALL_FRONTEND_LEN;
    /// Describe a prepared statement or a portal.
    DESCRIBE = b'D' <= MAX_SMALL_FRONTEND_LEN;
    /// Run a portal.
    EXECUTE = b'E' <= MAX_SMALL_FRONTEND_LEN;
    /// Ask for the replies so far.
    FLUSH = b'H' <= 4;
    /// Call a function by its OID.
    FUNCTION_CALL = b'F' <= MAX_LARGE_FRONTEND_LEN;
    /// Prepare a statement.
    PARSE = b'P' <= MAX_LARGE_FRONTEND_LEN;
    /// Password, SASLInitialResponse, SASLResponse or GSSResponse: the request for it tells which.
    PASSWORD = b'p' <= MAX_PASSWORD_LEN;
    /// A simple query.
    QUERY = b'Q' <= MAX_LARGE_FRONTEND_LEN;
    /// The end of a group of extended-query messages.
    SYNC = b'S' <= 4;
    /// Goodbye.
    TERMINATE = b'X' <= 4;
}

messages! { BackendTag, BACKEND_LIMITS:
    /// A request for a password, a step of an authentication, or its success.
    AUTHENTICATION = b'R' <= MAX_SMALL_BACKEND_LEN;
    /// Process id and cancel key (4 to 256 bytes).
    BACKEND_KEY_DATA = b'K' <= 264;
    /// Reply to Bind.
    BIND_COMPLETE = b'2' <= 4;
    /// Reply to Close.
    CLOSE_COMPLETE = b'3' <= 4;
    /// A statement's end.
    COMMAND_COMPLETE = b'C' <= MAX_SMALL_BACKEND_LEN;
    /// Start of a COPY in both directions (replication); up to 65535 columns.
    COPY_BOTH = b'W' <= 131_077;
    /// Data of a COPY.
    COPY_DATA = b'd' <= MAX_LARGE_BACKEND_LEN;
    /// The end of the data of a COPY.
    COPY_DONE = b'c' <= 4;
    /// Start of a COPY from the frontend; up to 65535 columns.
    COPY_IN = b'G' <= 131_077;
    /// Start of a COPY to the frontend; up to 65535 columns.
    COPY_OUT = b'H' <= 131_077;
    /// A row.
    DATA_ROW = b'D' <= MAX_LARGE_BACKEND_LEN;
    /// Reply to an empty query string.
    EMPTY_QUERY = b'I' <= 4;
    /// An error.
    ERROR = b'E' <= MAX_LARGE_BACKEND_LEN;
    /// Reply to FunctionCall.
    FUNCTION_RESULT = b'V' <= MAX_LARGE_BACKEND_LEN;
    /// The server's answer to a minor version or protocol options that it does not know.
    NEGOTIATE_VERSION = b'v' <= MAX_SMALL_BACKEND_LEN;
    /// Reply to Describe of something that returns no rows.
    NO_DATA = b'n' <= 4;
    /// A notice.
    NOTICE = b'N' <= MAX_LARGE_BACKEND_LEN;
    /// An asynchronous notification (NOTIFY).
    NOTIFICATION = b'A' <= MAX_LARGE_BACKEND_LEN;
    /// The parameter types of a prepared statement; up to 65535 of them.
    PARAMETER_DESCRIPTION = b't' <= 262_146;
    /// A parameter's value, at login and whenever it changes.
    PARAMETER_STATUS = b'S' <= MAX_SMALL_BACKEND_LEN;
    /// Reply to Parse.
    PARSE_COMPLETE = b'1' <= 4;
    /// Reply to Execute that reached its row limit.
    PORTAL_SUSPENDED = b's' <= 4;
    /// The backend waits for the next query; carries the transaction status.
    READY = b'Z' <= 5;
    /// The columns of the rows that follow.
    ROW_DESCRIPTION = b'T' <= MAX_LARGE_BACKEND_LEN;
}

/// A set of message types of one direction: one bit for each ASCII byte.
pub struct TagSet<T>(u128, PhantomData<T>);

impl<From> TagSet<MessageTag<From>> {
    /// The set of these types. A byte outside ASCII is left out: no message has one.
    ///
    /// ```
    /// use pgwire_core::tag::{BackendTag, TagSet};
    ///
    /// const STOP: TagSet<BackendTag> = TagSet::of(&[BackendTag::ERROR, BackendTag::READY]);
    /// assert!(STOP.contains(BackendTag::READY));
    /// assert!(!STOP.contains(BackendTag::DATA_ROW));
    /// ```
    #[must_use]
    pub const fn of(tags: &[MessageTag<From>]) -> Self {
        let mut bits = 0;
        let mut rest = tags;
        while let [first, more @ ..] = rest {
            if first.0 < 128 {
                bits |= 1_u128 << first.0;
            }
            rest = more;
        }
        Self(bits, PhantomData)
    }
}

impl<T> TagSet<T> {
    /// The empty set: nothing is interesting.
    pub const EMPTY: Self = Self(0, PhantomData);

    /// Every type: each message is looked at.
    pub const ALL: Self = Self(u128::MAX, PhantomData);

    /// The types in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0, PhantomData)
    }

    /// The types in this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0, PhantomData)
    }
}

impl<T: Tag> TagSet<T> {
    /// Whether `tag` is in the set.
    #[inline]
    #[must_use]
    pub fn contains(self, tag: T) -> bool {
        let byte = tag.byte();
        byte < 128 && (self.0 >> byte) & 1 == 1
    }
}

// By hand, because a derive would ask the same of `T`.
impl<T> Clone for TagSet<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for TagSet<T> {}
impl<T> PartialEq for TagSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for TagSet<T> {}
impl<T> Default for TagSet<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}
impl<T: Tag> fmt::Debug for TagSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..128).map(T::from_byte).filter(|&tag| self.contains(tag))).finish()
    }
}
