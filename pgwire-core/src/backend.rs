//! Borrowed views of the messages that a backend sends.
//!
//! Each `parse` takes a complete message with its header, as [`Seen::Message`](crate::frame::Seen)
//! shows it, and refuses bytes behind the last field.
//!
//! Source: PostgreSQL documentation, "Message Formats" and "Error and Notice Message Fields".

use core::fmt;

use crate::cancel::check_key_len;
use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::sqlstate::SqlState;
use crate::startup::ProtocolVersion;
use crate::tag::BackendTag;
use crate::txn::TransactionStatus;

/// The strings of a list whose layout was checked when its message was parsed.
#[derive(Debug, Clone)]
pub struct Strings<'b> {
    rest: Cursor<'b>,
}

impl<'b> Strings<'b> {
    /// A list whose end is marked by an empty string.
    fn ending_in_empty(list: &'b [u8]) -> Result<Self, DecodeError> {
        let (&last, strings) = list.split_last().ok_or(DecodeError::MissingTerminator)?;
        if last != 0 {
            return Err(DecodeError::MissingTerminator);
        }
        let mut cursor = Cursor::new(strings);
        while !cursor.is_empty() {
            if cursor.cstr()?.is_empty() {
                return Err(DecodeError::TrailingBytes { count: cursor.rest().len() + 1 });
            }
        }
        Ok(Self { rest: Cursor::new(strings) })
    }

    /// A list of `count` strings.
    fn counted(list: &'b [u8], count: usize) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(list);
        for _ in 0..count {
            cursor.cstr()?;
        }
        cursor.finish()?;
        Ok(Self { rest: Cursor::new(list) })
    }
}

impl<'b> Iterator for Strings<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        self.rest.cstr().ok()
    }
}

/// A step of an authentication.
#[derive(Clone)]
pub enum Authentication<'b> {
    /// The frontend is in.
    Ok,
    /// A password is wanted in clear text.
    CleartextPassword,
    /// An MD5 digest of the password is wanted.
    Md5Password {
        /// Goes into the digest.
        salt: [u8; 4],
    },
    /// A SASL exchange is wanted.
    Sasl {
        /// The names of the mechanisms to choose from, best first.
        mechanisms: Strings<'b>,
    },
    /// The server's next SASL message.
    SaslContinue {
        /// The mechanism's data.
        data: &'b [u8],
    },
    /// The server's last SASL message.
    SaslFinal {
        /// The mechanism's data.
        data: &'b [u8],
    },
    /// Kerberos, GSSAPI, SSPI or something newer, by its code.
    Unsupported(i32),
}

impl<'b> Authentication<'b> {
    /// Reads an Authentication message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, BackendTag::AUTHENTICATION.as_byte())?;
        let parsed = match cursor.i32()? {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => {
                let salt = cursor.u32()?.to_be_bytes();
                Self::Md5Password { salt }
            }
            10 => Self::Sasl { mechanisms: Strings::ending_in_empty(cursor.rest())? },
            11 => Self::SaslContinue { data: cursor.rest() },
            12 => Self::SaslFinal { data: cursor.rest() },
            code => {
                cursor.rest();
                Self::Unsupported(code)
            }
        };
        cursor.finish()?;
        Ok(parsed)
    }
}

/// Without the SASL data: it is worth something to a guesser of passwords.
impl fmt::Debug for Authentication<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("Ok"),
            Self::CleartextPassword => f.write_str("CleartextPassword"),
            Self::Md5Password { .. } => f.write_str("Md5Password(..)"),
            Self::Sasl { mechanisms } => f.debug_tuple("Sasl").field(mechanisms).finish(),
            Self::SaslContinue { .. } => f.write_str("SaslContinue(..)"),
            Self::SaslFinal { .. } => f.write_str("SaslFinal(..)"),
            Self::Unsupported(code) => f.debug_tuple("Unsupported").field(code).finish(),
        }
    }
}

/// An ErrorResponse or a NoticeResponse: the same fields, and only the type byte tells them apart.
#[derive(Debug, Clone, Copy)]
pub struct ErrorOrNotice<'b> {
    is_error: bool,
    /// Pairs of a code and a string, without the terminator; checked.
    fields: &'b [u8],
}

impl<'b> ErrorOrNotice<'b> {
    /// Reads an ErrorResponse or NoticeResponse message.
    ///
    /// # Errors
    /// The frame is neither.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let is_error = frame.first() != Some(&BackendTag::NOTICE.as_byte());
        let tag = if is_error { BackendTag::ERROR } else { BackendTag::NOTICE };
        let mut cursor = Cursor::of_frame(frame, tag.as_byte())?;
        let (&last, fields) = cursor.rest().split_last().ok_or(DecodeError::MissingTerminator)?;
        let mut check = Cursor::new(fields);
        while !check.is_empty() {
            if check.u8()? == 0 {
                return Err(DecodeError::TrailingBytes { count: check.rest().len() + 1 });
            }
            check.cstr()?;
        }
        if last == 0 { Ok(Self { is_error, fields }) } else { Err(DecodeError::MissingTerminator) }
    }

    /// Reads the fields that are complete in the beginning of an ErrorResponse or NoticeResponse.
    ///
    /// # Errors
    /// `have` is not the beginning of one.
    pub fn parse_prefix(have: &'b [u8]) -> Result<Self, DecodeError> {
        let is_error = have.first() != Some(&BackendTag::NOTICE.as_byte());
        let tag = if is_error { BackendTag::ERROR } else { BackendTag::NOTICE };
        let mut cursor = Cursor::of_prefix(have, tag.as_byte())?;
        Ok(Self { is_error, fields: cursor.rest() })
    }

    /// Whether this is an ErrorResponse.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.is_error
    }

    /// The fields in the order of the message: each a code and a text.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'b [u8])> + use<'b> {
        let mut cursor = Cursor::new(self.fields);
        core::iter::from_fn(move || match cursor.u8() {
            Ok(0) | Err(_) => None,
            Ok(code) => Some((code, cursor.cstr().ok()?)),
        })
    }

    /// The text of the first field with this code.
    #[must_use]
    pub fn field(&self, code: u8) -> Option<&'b [u8]> {
        self.fields().find_map(|(found, text)| (found == code).then_some(text))
    }

    /// The severity: that of field `V`, which is never translated, or else (before PostgreSQL 9.6)
    /// that of `S`.
    #[must_use]
    pub fn severity(&self) -> Option<&'b [u8]> {
        self.field(b'V').or_else(|| self.field(b'S'))
    }

    /// The SQLSTATE, if there is a proper one.
    #[must_use]
    pub fn code(&self) -> Option<SqlState> {
        self.field(b'C').and_then(SqlState::from_bytes)
    }

    /// The primary message.
    #[must_use]
    pub fn message(&self) -> Option<&'b [u8]> {
        self.field(b'M')
    }

    /// Whether the session ends with this error: FATAL or PANIC.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.is_error && matches!(self.severity(), Some(b"FATAL" | b"PANIC"))
    }
}

/// A parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'b> {
    /// The parameter.
    pub name: &'b [u8],
    /// Its value.
    pub value: &'b [u8],
}

impl<'b> ParameterStatus<'b> {
    /// Reads a ParameterStatus message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, BackendTag::PARAMETER_STATUS.as_byte())?;
        let (name, value) = (cursor.cstr()?, cursor.cstr()?);
        cursor.finish()?;
        Ok(Self { name, value })
    }
}

/// What a CancelRequest for this session has to present.
#[derive(Clone, Copy)]
pub struct BackendKeyData<'b> {
    /// The process id.
    pub pid: u32,
    /// The secret: 4 to 256 bytes.
    pub key: &'b [u8],
}

impl<'b> BackendKeyData<'b> {
    /// Reads a BackendKeyData message.
    ///
    /// # Errors
    /// The frame is not one, or the key has another length than 4 to 256 bytes.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, BackendTag::BACKEND_KEY_DATA.as_byte())?;
        let (pid, key) = (cursor.u32()?, cursor.rest());
        check_key_len(key)?;
        Ok(Self { pid, key })
    }
}

impl fmt::Debug for BackendKeyData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendKeyData").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// The backend waits for the next query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyForQuery {
    /// Whether a transaction block is open.
    pub status: TransactionStatus,
}

impl ReadyForQuery {
    /// Reads a ReadyForQuery message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, BackendTag::READY.as_byte())?;
        let status = TransactionStatus::from_byte(cursor.u8()?)
            .ok_or(DecodeError::BadValue { field: "transaction status" })?;
        cursor.finish()?;
        Ok(Self { status })
    }
}

/// The server's answer to a minor version or protocol options that it does not know.
#[derive(Debug, Clone)]
pub struct NegotiateProtocolVersion<'b> {
    /// The version as sent; see [`NegotiateProtocolVersion::version`].
    pub newest: i32,
    /// The options that the server does not know.
    pub options: Strings<'b>,
}

impl<'b> NegotiateProtocolVersion<'b> {
    /// Reads a NegotiateProtocolVersion message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, BackendTag::NEGOTIATE_VERSION.as_byte())?;
        let newest = cursor.i32()?;
        let count = usize::try_from(cursor.i32()?)
            .map_err(|_| DecodeError::BadValue { field: "number of options" })?;
        Ok(Self { newest, options: Strings::counted(cursor.rest(), count)? })
    }

    /// The version to go on with. Servers send it whole, as in a startup packet, while the
    /// documentation speaks of the minor version alone; both are understood.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        let version = ProtocolVersion::from_code(self.newest.cast_unsigned());
        if version.major == 0 {
            ProtocolVersion { major: 3, minor: version.minor }
        } else {
            version
        }
    }
}

/// A statement's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandComplete<'b> {
    /// The command tag, e.g. `SELECT 5`.
    pub tag: &'b [u8],
}

impl<'b> CommandComplete<'b> {
    /// Reads a CommandComplete message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, BackendTag::COMMAND_COMPLETE.as_byte())?;
        let tag = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { tag })
    }
}

/// An asynchronous notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification<'b> {
    /// The process id of the session that notified.
    pub pid: u32,
    /// The channel.
    pub channel: &'b [u8],
    /// The payload; may be empty.
    pub payload: &'b [u8],
}

impl<'b> Notification<'b> {
    /// Reads a NotificationResponse message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, BackendTag::NOTIFICATION.as_byte())?;
        let pid = cursor.u32()?;
        let (channel, payload) = (cursor.cstr()?, cursor.cstr()?);
        cursor.finish()?;
        Ok(Self { pid, channel, payload })
    }
}
