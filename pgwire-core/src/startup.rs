//! The first packet of a connection, which has no type byte, and the choice of a protocol version.
//!
//! Source: PostgreSQL documentation, "Message Formats" (StartupMessage, CancelRequest, SSLRequest,
//! GSSENCRequest, NegotiateProtocolVersion) and "Message Flow", Start-up.

use alloc::vec::Vec;
use core::fmt;

use crate::cancel::check_key_len;
use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::sqlstate::SqlState;

/// The longest first packet in bytes, with its length field; the server has nearly the same limit
/// (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_STARTUP_LEN: u32 = 10_000;
/// The shortest first packet: a length field and a code.
pub const MIN_STARTUP_LEN: u32 = 8;

/// The code of a CancelRequest, in the place of a version: 1234.5678.
pub const CANCEL_REQUEST_CODE: u32 = 80_877_102;
/// The code of an SSLRequest: 1234.5679.
pub const SSL_REQUEST_CODE: u32 = 80_877_103;
/// The code of a GSSENCRequest: 1234.5680.
pub const GSSENC_REQUEST_CODE: u32 = 80_877_104;

/// What names of protocol options, as opposed to names of run-time parameters, begin with.
pub const PROTOCOL_OPTION_PREFIX: &[u8] = b"_pq_.";

/// The first byte of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// A version of the frontend/backend protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    /// 3 in everything since PostgreSQL 7.4.
    pub major: u16,
    /// Grows with compatible changes.
    pub minor: u16,
}

impl ProtocolVersion {
    /// 3.0: PostgreSQL 7.4 to 17.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// 3.2: PostgreSQL 18; cancel keys of up to 256 bytes. (3.1 was never used.)
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    /// The version with this code: the major version in the upper 16 bits.
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        let [a, b, c, d] = code.to_be_bytes();
        Self { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }

    /// The version as a startup packet carries it.
    #[must_use]
    pub const fn code(self) -> u32 {
        let [a, b] = self.major.to_be_bytes();
        let [c, d] = self.minor.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What the first bytes of a connection (or those after a refused encryption request) are.
#[derive(Debug, Clone, Copy)]
pub enum Initial<'b> {
    /// Not yet clear: call again with at least that many bytes, at most [`MAX_STARTUP_LEN`].
    Need {
        /// More than there are now.
        at_least: usize,
    },
    /// A TLS handshake without an SSLRequest in front of it (PostgreSQL 17 and newer,
    /// `sslnegotiation=direct`). Nothing is consumed; ALPN must be `postgresql`.
    DirectTls,
    /// A packet, complete.
    Packet {
        /// The packet.
        packet: StartupPacket<'b>,
        /// The bytes that it takes. Bytes in clear text behind a request for encryption must not be
        /// read as if they came out of the encrypted connection.
        consumed: usize,
    },
}

/// The kinds of a first packet.
#[derive(Clone, Copy)]
pub enum StartupPacket<'b> {
    /// May the connection be encrypted with TLS? Answered with one byte, `S` or `N`.
    SslRequest,
    /// May it be encrypted with GSSAPI? Answered with one byte, `G` or `N`.
    GssEncRequest,
    /// Cancel what another session is doing. Never answered.
    Cancel {
        /// That session's process id.
        pid: u32,
        /// Its cancel key: 4 to 256 bytes.
        key: &'b [u8],
    },
    /// A session is to begin.
    Startup(StartupMessage<'b>),
}

impl fmt::Debug for StartupPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SslRequest => f.write_str("SslRequest"),
            Self::GssEncRequest => f.write_str("GssEncRequest"),
            Self::Cancel { pid, .. } => {
                f.debug_struct("Cancel").field("pid", pid).finish_non_exhaustive()
            }
            Self::Startup(message) => f.debug_tuple("Startup").field(message).finish(),
        }
    }
}

/// Reads the first packet of a connection.
///
/// The length is checked as soon as it is there, before anything is waited for. A peer that sends
/// something else than PostgreSQL (HTTP, say) fails with its first four bytes.
///
/// # Errors
/// A length outside [`MIN_STARTUP_LEN`] to [`MAX_STARTUP_LEN`], or a packet whose layout is wrong.
pub fn parse_initial(buf: &[u8]) -> Result<Initial<'_>, DecodeError> {
    if buf.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Initial::DirectTls);
    }
    let Some(&len) = buf.first_chunk::<4>() else {
        return Ok(Initial::Need { at_least: 4 });
    };
    let len = u32::from_be_bytes(len);
    if !(MIN_STARTUP_LEN..=MAX_STARTUP_LEN).contains(&len) {
        return Err(DecodeError::BadStartupLength { len });
    }
    let consumed = usize::try_from(len).map_err(|_| DecodeError::BadStartupLength { len })?;
    let Some((packet, _)) = buf.split_at_checked(consumed) else {
        return Ok(Initial::Need { at_least: consumed });
    };
    let mut cursor = Cursor::new(packet);
    cursor.u32()?;
    let packet = match cursor.u32()? {
        SSL_REQUEST_CODE => {
            cursor.finish()?;
            StartupPacket::SslRequest
        }
        GSSENC_REQUEST_CODE => {
            cursor.finish()?;
            StartupPacket::GssEncRequest
        }
        CANCEL_REQUEST_CODE => {
            let (pid, key) = (cursor.u32()?, cursor.rest());
            check_key_len(key)?;
            StartupPacket::Cancel { pid, key }
        }
        code => StartupPacket::Startup(StartupMessage::read(code, cursor)?),
    };
    Ok(Initial::Packet { packet, consumed })
}

/// A request for a session: a version, and pairs of names and values.
#[derive(Debug, Clone, Copy)]
pub struct StartupMessage<'b> {
    version: ProtocolVersion,
    /// The pairs without the terminator; checked.
    pairs: &'b [u8],
}

impl<'b> StartupMessage<'b> {
    fn read(code: u32, mut cursor: Cursor<'b>) -> Result<Self, DecodeError> {
        let version = ProtocolVersion::from_code(code);
        if version.major != 3 {
            // Another layout, which nobody can know; negotiate() refuses the version.
            return Ok(Self { version, pairs: &[] });
        }
        let Some((&0, pairs)) = cursor.rest().split_last() else {
            return Err(DecodeError::BadStartupLayout);
        };
        let mut check = Cursor::new(pairs);
        while !check.is_empty() {
            match (check.cstr(), check.cstr()) {
                (Ok(name), Ok(_)) if !name.is_empty() => {}
                _ => return Err(DecodeError::BadStartupLayout),
            }
        }
        Ok(Self { version, pairs })
    }

    /// The version that the client asks for.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Names and values in the order of the packet, protocol options among them. Empty if the major
    /// version is not 3.
    pub fn params(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + use<'b> {
        let mut cursor = Cursor::new(self.pairs);
        core::iter::from_fn(move || Some((cursor.cstr().ok()?, cursor.cstr().ok()?)))
    }

    /// The value of `name`, spelt exactly so. If it is there more than once the last one counts, as
    /// in PostgreSQL.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&'b [u8]> {
        self.params().filter(|&(found, _)| found == name).last().map(|(_, value)| value)
    }

    /// The names of the protocol options (`_pq_.…`) in the order of the packet.
    pub fn protocol_options(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.params().map(|(name, _)| name).filter(|name| name.starts_with(PROTOCOL_OPTION_PREFIX))
    }
}

/// What to say to a client's version and protocol options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Negotiated {
    /// Nothing: the session has this version.
    Accept(ProtocolVersion),
    /// One NegotiateProtocolVersion message, before anything else. The client either goes on with
    /// that version and without these options, or leaves.
    Downgrade {
        /// The session's version.
        use_version: ProtocolVersion,
        /// The names of the options that are not known, i.e. all of them.
        unknown_options: Vec<Vec<u8>>,
    },
}

/// A major version that is not spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "unsupported frontend protocol {requested}: server supports {major}.0 to {newest}",
    major = newest.major
)]
pub struct UnsupportedVersion {
    /// What the client asked for.
    pub requested: ProtocolVersion,
    /// The newest version that is spoken.
    pub newest: ProtocolVersion,
}

impl UnsupportedVersion {
    /// The SQLSTATE to report this with: `0A000`, feature not supported.
    #[must_use]
    pub const fn sqlstate(self) -> SqlState {
        SqlState::FEATURE_NOT_SUPPORTED
    }
}

/// Chooses the version of a session, as PostgreSQL 18 does: the older of what the client asks for and
/// `newest`. A message is due only if `newest` is the older one or there are protocol options.
///
/// Version 3.1, which no release ever spoke, is therefore accepted silently under a `newest` of 3.2;
/// nothing sets it apart from 3.0.
///
/// # Errors
/// The client asks for another major version than `newest` has.
pub fn negotiate(
    msg: &StartupMessage<'_>,
    newest: ProtocolVersion,
) -> Result<Negotiated, UnsupportedVersion> {
    let requested = msg.version();
    if requested.major != newest.major {
        return Err(UnsupportedVersion { requested, newest });
    }
    let use_version = requested.min(newest);
    let unknown_options: Vec<Vec<u8>> = msg.protocol_options().map(<[u8]>::to_vec).collect();
    Ok(if use_version == requested && unknown_options.is_empty() {
        Negotiated::Accept(use_version)
    } else {
        Negotiated::Downgrade { use_version, unknown_options }
    })
}
