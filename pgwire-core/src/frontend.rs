//! Borrowed views of the messages that a frontend sends.
//!
//! Each `parse` takes a complete message with its header, as [`Seen::Message`](crate::frame::Seen)
//! shows it, and refuses bytes behind the last field. Text stays bytes: its encoding is the session's
//! `client_encoding`.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use core::fmt;

use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::tag::FrontendTag;

/// A simple query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'b> {
    /// The statements, separated by semicolons.
    pub sql: &'b [u8],
}

impl<'b> Query<'b> {
    /// Reads a Query message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, FrontendTag::QUERY.as_byte())?;
        let sql = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { sql })
    }

    /// Reads as much of the SQL as the beginning of a Query message holds.
    ///
    /// # Errors
    /// `have` is not the beginning of one.
    pub fn parse_prefix(have: &'b [u8]) -> Result<&'b [u8], DecodeError> {
        let mut cursor = Cursor::of_prefix(have, FrontendTag::QUERY.as_byte())?;
        Ok(cstr_so_far(&mut cursor).0)
    }
}

/// A statement to prepare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'b> {
    /// The prepared statement's name; empty for the unnamed one.
    pub statement: &'b [u8],
    /// The statement.
    pub sql: &'b [u8],
    /// Type OIDs, four bytes each; see [`Parse::type_oids`].
    pub parameter_types: &'b [u8],
}

// Every view is read by `parse`, and this one's message happens to have that name.
#[expect(clippy::self_named_constructors)]
impl<'b> Parse<'b> {
    /// Reads a Parse message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, FrontendTag::PARSE.as_byte())?;
        let statement = cursor.cstr()?;
        let sql = cursor.cstr()?;
        let count = usize::from(cursor.u16()?);
        let parameter_types = cursor.bytes(count.saturating_mul(4))?;
        cursor.finish()?;
        Ok(Self { statement, sql, parameter_types })
    }

    /// Reads what the beginning of a Parse message holds.
    ///
    /// # Errors
    /// `have` is not the beginning of one, or the statement's name does not end in it.
    pub fn parse_prefix(have: &'b [u8]) -> Result<ParsePrefix<'b>, DecodeError> {
        let mut cursor = Cursor::of_prefix(have, FrontendTag::PARSE.as_byte())?;
        let statement = cursor.cstr()?;
        let (sql, sql_is_complete) = cstr_so_far(&mut cursor);
        Ok(ParsePrefix { statement, sql, sql_is_complete })
    }

    /// The OIDs of the parameter types that the frontend prescribes; 0 leaves one to the server.
    pub fn type_oids(&self) -> impl Iterator<Item = u32> + use<'b> {
        let (oids, _) = self.parameter_types.as_chunks::<4>();
        oids.iter().map(|&oid| u32::from_be_bytes(oid))
    }
}

/// The beginning of a Parse message that is too long to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsePrefix<'b> {
    /// The prepared statement's name; empty for the unnamed one.
    pub statement: &'b [u8],
    /// As much of the statement as is there.
    pub sql: &'b [u8],
    /// Whether that is all of the statement.
    pub sql_is_complete: bool,
}

/// Parameters for a prepared statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bind<'b> {
    /// The portal to make; empty for the unnamed one.
    pub portal: &'b [u8],
    /// The prepared statement to bind; empty for the unnamed one.
    pub statement: &'b [u8],
    /// Formats and values, not read here: the server checks them and answers with an error that
    /// leaves the connection in step.
    pub rest: &'b [u8],
}

/// Without the values: they are the user's data.
impl fmt::Debug for Bind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bind")
            .field("portal", &self.portal)
            .field("statement", &self.statement)
            .field("rest", &format_args!("{} bytes", self.rest.len()))
            .finish()
    }
}

impl<'b> Bind<'b> {
    /// Reads a Bind message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, FrontendTag::BIND.as_byte())?;
        let (portal, statement) = (cursor.cstr()?, cursor.cstr()?);
        Ok(Self { portal, statement, rest: cursor.rest() })
    }

    /// Reads the names from the beginning of a Bind message.
    ///
    /// # Errors
    /// `have` is not the beginning of one, or the names do not end in it.
    pub fn names(have: &'b [u8]) -> Result<BindNames<'b>, DecodeError> {
        let mut cursor = Cursor::of_prefix(have, FrontendTag::BIND.as_byte())?;
        Ok(BindNames { portal: cursor.cstr()?, statement: cursor.cstr()? })
    }
}

/// The names at the beginning of a Bind message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindNames<'b> {
    /// The portal to make; empty for the unnamed one.
    pub portal: &'b [u8],
    /// The prepared statement to bind; empty for the unnamed one.
    pub statement: &'b [u8],
}

/// What a Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `S`: a prepared statement.
    Statement,
    /// `P`: a portal.
    Portal,
}

impl Target {
    /// The target with this letter, if there is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'S' => Some(Self::Statement),
            b'P' => Some(Self::Portal),
            _ => None,
        }
    }

    /// The letter in Describe and Close.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Statement => b'S',
            Self::Portal => b'P',
        }
    }
}

fn target_and_name(frame: &[u8], tag: FrontendTag) -> Result<(Target, &[u8]), DecodeError> {
    let mut cursor = Cursor::of_frame(frame, tag.as_byte())?;
    let target = Target::from_byte(cursor.u8()?)
        .ok_or(DecodeError::BadValue { field: "statement or portal" })?;
    let name = cursor.cstr()?;
    cursor.finish()?;
    Ok((target, name))
}

/// A request for the description of a prepared statement or a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Describe<'b> {
    /// What to describe.
    pub target: Target,
    /// Its name; empty for the unnamed one.
    pub name: &'b [u8],
}

impl<'b> Describe<'b> {
    /// Reads a Describe message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let (target, name) = target_and_name(frame, FrontendTag::DESCRIBE)?;
        Ok(Self { target, name })
    }
}

/// A request to close a prepared statement or a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'b> {
    /// What to close.
    pub target: Target,
    /// Its name; empty for the unnamed one.
    pub name: &'b [u8],
}

impl<'b> Close<'b> {
    /// Reads a Close message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let (target, name) = target_and_name(frame, FrontendTag::CLOSE)?;
        Ok(Self { target, name })
    }
}

/// A request to run a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'b> {
    /// The portal; empty for the unnamed one.
    pub portal: &'b [u8],
    /// The most rows to return; 0 (or less) for all.
    pub max_rows: i32,
}

impl<'b> Execute<'b> {
    /// Reads an Execute message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, FrontendTag::EXECUTE.as_byte())?;
        let portal = cursor.cstr()?;
        let max_rows = cursor.i32()?;
        cursor.finish()?;
        Ok(Self { portal, max_rows })
    }
}

/// A COPY given up by the frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFail<'b> {
    /// Why, for the server's error.
    pub message: &'b [u8],
}

impl<'b> CopyFail<'b> {
    /// Reads a CopyFail message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, FrontendTag::COPY_FAIL.as_byte())?;
        let message = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { message })
    }
}

/// A password, in clear text or as an MD5 digest. It is the caller's to wipe the buffer.
#[derive(Clone, Copy)]
pub struct Password<'b> {
    /// The secret.
    pub password: &'b [u8],
}

impl<'b> Password<'b> {
    /// Reads a PasswordMessage.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, FrontendTag::PASSWORD.as_byte())?;
        let password = cursor.cstr()?;
        cursor.finish()?;
        Ok(Self { password })
    }
}

impl fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The frontend's choice of a SASL mechanism and its first message in it.
#[derive(Clone, Copy)]
pub struct SaslInitialResponse<'b> {
    /// The mechanism's name.
    pub mechanism: &'b [u8],
    /// The first message, if the frontend sends one now.
    pub response: Option<&'b [u8]>,
}

impl<'b> SaslInitialResponse<'b> {
    /// Reads a SASLInitialResponse message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, FrontendTag::PASSWORD.as_byte())?;
        let mechanism = cursor.cstr()?;
        let response = match cursor.i32()? {
            -1 => None,
            len => {
                let len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
                Some(cursor.bytes(len)?)
            }
        };
        cursor.finish()?;
        Ok(Self { mechanism, response })
    }
}

impl fmt::Debug for SaslInitialResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslInitialResponse")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

/// A further SASL message of the frontend.
#[derive(Clone, Copy)]
pub struct SaslResponse<'b> {
    /// The mechanism's data.
    pub data: &'b [u8],
}

impl<'b> SaslResponse<'b> {
    /// Reads a SASLResponse message.
    ///
    /// # Errors
    /// The frame is not one.
    pub fn parse(frame: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::of_frame(frame, FrontendTag::PASSWORD.as_byte())?;
        Ok(Self { data: cursor.rest() })
    }
}

impl fmt::Debug for SaslResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaslResponse(..)")
    }
}

/// A string whose end may be missing, and whether it was there.
fn cstr_so_far<'b>(cursor: &mut Cursor<'b>) -> (&'b [u8], bool) {
    match cursor.cstr() {
        Ok(text) => (text, true),
        Err(_) => (cursor.rest(), false),
    }
}
