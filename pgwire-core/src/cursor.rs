//! A bounded reader inside one message.

use crate::error::DecodeError;
use crate::frame::HEADER_LEN;

/// Reads the fields of one message, front to back. No method reads past the message's end.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'b> {
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    /// A cursor over a message's body.
    #[must_use]
    pub const fn new(body: &'b [u8]) -> Self {
        Self { rest: body }
    }

    /// A cursor over the body of a complete message with its header.
    ///
    /// # Errors
    /// The frame has another type than `tag`, or its length field does not agree with its size.
    pub fn of_frame(frame: &'b [u8], tag: u8) -> Result<Self, DecodeError> {
        let (cursor, found, len) = Self::split_header(frame)?;
        if found != tag {
            return Err(DecodeError::WrongTag { expected: tag, found });
        }
        if usize::try_from(len).ok() != frame.len().checked_sub(1) {
            return Err(DecodeError::BadLength { tag, len });
        }
        Ok(cursor)
    }

    /// A cursor over what is there of the body of a message whose end may be missing.
    ///
    /// # Errors
    /// The frame has another type than `tag`, or less than a header.
    pub fn of_prefix(have: &'b [u8], tag: u8) -> Result<Self, DecodeError> {
        let (cursor, found, _) = Self::split_header(have)?;
        if found == tag { Ok(cursor) } else { Err(DecodeError::WrongTag { expected: tag, found }) }
    }

    fn split_header(frame: &'b [u8]) -> Result<(Self, u8, u32), DecodeError> {
        let (&[tag, a, b, c, d], body) =
            frame.split_first_chunk::<HEADER_LEN>().ok_or(DecodeError::Truncated)?;
        Ok((Self::new(body), tag, u32::from_be_bytes([a, b, c, d])))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next byte.
    ///
    /// # Errors
    /// The message has ended.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// The next two bytes, signed.
    ///
    /// # Errors
    /// The message has fewer.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// The next two bytes, unsigned: the server counts parameters in this way.
    ///
    /// # Errors
    /// The message has fewer.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// The next four bytes, signed.
    ///
    /// # Errors
    /// The message has fewer.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// The next four bytes, unsigned.
    ///
    /// # Errors
    /// The message has fewer.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// The next NUL-terminated string, without its NUL.
    ///
    /// # Errors
    /// No NUL before the message's end; nothing is consumed then.
    pub fn cstr(&mut self) -> Result<&'b [u8], DecodeError> {
        let end = memchr::memchr(0, self.rest).ok_or(DecodeError::MissingTerminator)?;
        let (text, rest) = self.rest.split_at_checked(end).ok_or(DecodeError::Truncated)?;
        self.rest = rest.split_first().map_or(&[], |(_, behind)| behind);
        Ok(text)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// The message has fewer.
    pub fn bytes(&mut self, n: usize) -> Result<&'b [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// All bytes that are left; the cursor is empty after it.
    pub const fn rest(&mut self) -> &'b [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Confirms that the last field has been read.
    ///
    /// # Errors
    /// Bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes { count: self.rest.len() })
        }
    }
}
