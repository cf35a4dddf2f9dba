//! Input buffers: of fixed size, lent only while bytes are pending, so that idle connections own
//! none.

use std::fmt;

use pgwire_core::frame::FrameLimits;

use crate::classify::ShapeCache;
use crate::prepared::Library;

/// Bytes of one buffer, and so the most that is held for one direction of one connection. A
/// message larger than this streams through.
pub const BUFFER_SIZE: usize = 16 * 1024;

/// Buffers that a free list keeps at most (4 MiB).
const KEEP: usize = 256;

/// The framing limits that fit these buffers.
pub(crate) const FRAME_LIMITS: FrameLimits = FrameLimits { look_whole: BUFFER_SIZE };

/// A free list of buffers, and what else a worker keeps from one client to the next. Each runtime
/// thread has its own.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Box<[u8]>>,
    /// Verdicts on statements, by their shape.
    pub(crate) shapes: Option<Box<ShapeCache>>,
    /// The texts of prepared statements.
    pub(crate) library: Option<Box<Library>>,
}

impl Buffers {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { free: Vec::new(), shapes: None, library: None }
    }

    fn take(&mut self) -> Box<[u8]> {
        self.free.pop().unwrap_or_else(|| vec![0; BUFFER_SIZE].into_boxed_slice())
    }

    fn give(&mut self, buffer: Box<[u8]>) {
        if self.free.len() < KEEP {
            self.free.push(buffer);
        }
    }
}

/// Bytes read from one connection: `start <= parsed <= end`.
///
/// What lies before `parsed` has been decided upon and waits to be written or dropped; what lies
/// behind it has not been looked at.
#[derive(Default)]
pub(crate) struct InBuf {
    data: Option<Box<[u8]>>,
    start: usize,
    parsed: usize,
    end: usize,
}

impl fmt::Debug for InBuf {
    /// Without the bytes: they may be anything that a client said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InBuf")
            .field("decided", &(self.parsed - self.start))
            .field("unparsed", &(self.end - self.parsed))
            .finish_non_exhaustive()
    }
}

impl InBuf {
    /// Whether a read would find room.
    pub(crate) fn has_room(&self) -> bool {
        self.end - self.start < BUFFER_SIZE
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether there is nothing that was not looked at.
    pub(crate) fn is_parsed(&self) -> bool {
        self.parsed == self.end
    }

    /// Room to read into; never empty if [`InBuf::has_room`].
    pub(crate) fn room(&mut self, buffers: &mut Buffers) -> &mut [u8] {
        let data = self.data.get_or_insert_with(|| buffers.take());
        if self.end == BUFFER_SIZE && self.start > 0 {
            data.copy_within(self.start..self.end, 0);
            self.parsed -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        data.get_mut(self.end..).unwrap_or_default()
    }

    /// `n` bytes were read into the room.
    pub(crate) fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(BUFFER_SIZE);
    }

    /// Gives the buffer back if nothing is in it.
    pub(crate) fn trim(&mut self, buffers: &mut Buffers) {
        if self.is_empty() {
            (self.start, self.parsed, self.end) = (0, 0, 0);
            if let Some(data) = self.data.take() {
                buffers.give(data);
            }
        }
    }

    /// What was not looked at yet.
    pub(crate) fn unparsed(&self) -> &[u8] {
        self.data.as_deref().and_then(|data| data.get(self.parsed..self.end)).unwrap_or_default()
    }

    /// What was decided upon and is still here.
    pub(crate) fn decided(&self) -> &[u8] {
        self.data.as_deref().and_then(|data| data.get(self.start..self.parsed)).unwrap_or_default()
    }

    /// Bytes decided upon and still here.
    pub(crate) fn decided_len(&self) -> usize {
        self.parsed - self.start
    }

    /// The next `n` bytes have been decided upon.
    pub(crate) fn decide(&mut self, n: usize) {
        self.parsed = (self.parsed + n).min(self.end);
    }

    /// The first `n` decided bytes are written or dropped.
    pub(crate) fn release(&mut self, n: usize) {
        self.start = (self.start + n).min(self.parsed);
        if self.start == self.end {
            (self.start, self.parsed, self.end) = (0, 0, 0);
        }
    }

    /// Puts bytes that were written back in front of what was not looked at. Possible only while
    /// nothing waits to be written, and if all of it fits; returns whether it was.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) -> bool {
        let unparsed = self.end - self.parsed;
        if self.decided_len() > 0 || bytes.len() + unparsed > BUFFER_SIZE {
            return false;
        }
        let data = self.data.get_or_insert_with(|| vec![0; BUFFER_SIZE].into_boxed_slice());
        data.copy_within(self.parsed..self.end, bytes.len());
        if let Some(front) = data.get_mut(..bytes.len()) {
            front.copy_from_slice(bytes);
        }
        (self.start, self.parsed, self.end) = (0, 0, bytes.len() + unparsed);
        true
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        (self.start, self.parsed, self.end) = (0, 0, 0);
    }
}
