//! Where messages begin and end in a stream of bytes that the caller owns.
//!
//! A [`Framer`] copies nothing and keeps nothing but the number of bytes that are left of a message
//! that it is in the middle of. It is told which messages are interesting; everything else, be it a
//! thousand rows or a piece of one large row, comes back as one [`Seen::Run`] to forward blindly.
//!
//! Source: PostgreSQL documentation, "Message Formats": each message after the startup packet is a
//! type byte, then a length of four bytes in network order that counts itself but not the type byte.

use core::marker::PhantomData;

use crate::error::DecodeError;
use crate::tag::{BackendTag, FrontendTag, Tag, TagSet};

/// Bytes in front of a message's body: the type byte and the length field.
pub const HEADER_LEN: usize = 5;

/// What [`Framer::scan`] found at the start of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'b, T> {
    /// Forward this many bytes (never 0) without looking: complete uninteresting messages, and
    /// perhaps a piece of a message at either end, whose length the framer has checked and remembers.
    Run {
        /// How many bytes; they are consumed.
        bytes: usize,
    },
    /// An interesting message, complete; its bytes are consumed.
    Message {
        /// Its type.
        tag: T,
        /// All of it, with the header of [`HEADER_LEN`] bytes.
        frame: &'b [u8],
    },
    /// The first [`FrameLimits::look_whole`] bytes of an interesting message that is longer than
    /// that; they are consumed. The rest of it comes as [`Seen::Run`].
    Opening {
        /// Its type.
        tag: T,
        /// The length of its body, without the header.
        body_len: u32,
        /// The header and the body's first bytes.
        have: &'b [u8],
    },
    /// No decision is possible yet, and nothing was consumed: call again when the buffer holds at
    /// least that many bytes.
    Need {
        /// More than the buffer holds now, and at most [`FrameLimits::look_whole`].
        at_least: usize,
    },
}

/// How much of a message is held back to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// The largest interesting message, in bytes with its header, that is shown complete. The
    /// caller's buffer must be able to hold that much. Less than [`HEADER_LEN`] counts as that.
    pub look_whole: usize,
}

impl FrameLimits {
    /// The default of [`FrameLimits::look_whole`]: longer than nearly every statement, and small
    /// enough for a buffer that each of ten thousand connections may need.
    pub const LOOK_WHOLE: usize = 16 * 1024;
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { look_whole: Self::LOOK_WHOLE }
    }
}

/// Finds the messages of one direction of one connection.
///
/// What it answers does not depend on how the stream was cut into reads: the interesting messages
/// come out the same, and the bytes of the runs between them add up to the same.
#[derive(Debug, Clone)]
pub struct Framer<T: Tag> {
    look_whole: usize,
    /// Bytes that are still to come of the message whose beginning was consumed.
    left: u32,
    direction: PhantomData<T>,
}

/// Finds the messages that a frontend sends.
pub type FrontendFramer = Framer<FrontendTag>;
/// Finds the messages that a backend sends.
pub type BackendFramer = Framer<BackendTag>;

impl<T: Tag> Default for Framer<T> {
    fn default() -> Self {
        Self::new(FrameLimits::default())
    }
}

impl<T: Tag> Framer<T> {
    /// A framer at a message boundary.
    #[must_use]
    pub const fn new(limits: FrameLimits) -> Self {
        let look_whole =
            if limits.look_whole < HEADER_LEN { HEADER_LEN } else { limits.look_whole };
        Self { look_whole, left: 0, direction: PhantomData }
    }

    /// Looks at `buf`, which starts at the first byte that no earlier answer consumed.
    ///
    /// `stop_at` names the interesting types; it may differ from call to call and counts for the
    /// messages that begin in this call. Every answer but [`Seen::Need`] consumes the bytes that it
    /// names, so that the next call must start behind them.
    ///
    /// # Errors
    /// A type that this direction does not have, or a length that the type may not have. Sound
    /// messages in front of the bad one are answered first. After an error the stream has no known
    /// boundary any more: close the connection.
    #[inline]
    pub fn scan<'b>(
        &mut self,
        buf: &'b [u8],
        stop_at: TagSet<T>,
    ) -> Result<Seen<'b, T>, DecodeError> {
        let mut ahead = buf;
        if self.left > 0 {
            match usize::try_from(self.left).ok().and_then(|left| buf.split_at_checked(left)) {
                Some((_, behind)) => {
                    self.left = 0;
                    ahead = behind;
                }
                None if buf.is_empty() => return Ok(Seen::Need { at_least: 1 }),
                None => {
                    self.left = self.left.saturating_sub(saturate(buf.len()));
                    return Ok(Seen::Run { bytes: buf.len() });
                }
            }
        }
        loop {
            // What stands in front of a message that ends the run is answered first; the message
            // is met again, at the start of the buffer, by the next call.
            let passed = buf.len() - ahead.len();
            let Some(&[byte, a, b, c, d]) = ahead.first_chunk::<HEADER_LEN>() else {
                return Ok(if passed > 0 {
                    Seen::Run { bytes: passed }
                } else {
                    Seen::Need { at_least: HEADER_LEN }
                });
            };
            let tag = T::from_byte(byte);
            let len = u32::from_be_bytes([a, b, c, d]);
            let sound = tag.max_len().is_some_and(|max| (4..=max).contains(&len));
            if !sound || stop_at.contains(tag) {
                if passed > 0 {
                    return Ok(Seen::Run { bytes: passed });
                }
                return if sound { self.show(tag, len, buf) } else { Err(refusal(tag, len)) };
            }
            let total = size(len);
            match ahead.split_at_checked(total) {
                Some((_, behind)) => ahead = behind,
                None => {
                    self.left = saturate(total - ahead.len());
                    return Ok(Seen::Run { bytes: buf.len() });
                }
            }
        }
    }

    /// Answers with the interesting message at the start of `buf`.
    fn show<'b>(&mut self, tag: T, len: u32, buf: &'b [u8]) -> Result<Seen<'b, T>, DecodeError> {
        let total = size(len);
        let whole = total <= self.look_whole;
        let wanted = if whole { total } else { self.look_whole };
        let Some((frame, _)) = buf.split_at_checked(wanted) else {
            return Ok(Seen::Need { at_least: wanted });
        };
        if whole {
            return Ok(Seen::Message { tag, frame });
        }
        self.left = saturate(total - wanted);
        Ok(Seen::Opening { tag, body_len: len.saturating_sub(4), have: frame })
    }

    /// Whether the next byte begins a message, i.e. no message is being streamed.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.left == 0
    }

    /// How many bytes are still to come of the message that is being streamed.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }
}

/// A message's size with its type byte: little more than 1 GiB, by the limits of the tags.
#[inline]
fn size(len: u32) -> usize {
    usize::try_from(len).map_or(usize::MAX, |len| len.saturating_add(1))
}

/// The lengths given to this are below 2^32 already.
#[inline]
fn saturate(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cold]
fn refusal<T: Tag>(tag: T, len: u32) -> DecodeError {
    match tag.max_len() {
        None => DecodeError::UnknownTag { tag: tag.byte() },
        Some(_) => DecodeError::BadLength { tag: tag.byte(), len },
    }
}
