//! What is to be written to one connection: pieces of another connection's input, forwarded in
//! place, between bytes of our own, in order.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use crate::buffers::InBuf;

/// Pieces of one write; more pieces take another write.
const SLICES: usize = 8;

/// Bytes of our own above which an emptied scratch buffer is given back to the allocator.
const KEEP_SCRATCH: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// Bytes of the scratch buffer.
    Own(usize),
    /// Decided bytes of the source.
    Forward(usize),
    /// Decided bytes of the source that go nowhere.
    Drop(usize),
}

/// A queue of pieces. All forwarded and dropped pieces in it belong to one source, in its order.
#[derive(Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    scratch: Vec<u8>,
    /// Bytes of `scratch` that are written already.
    written: usize,
}

impl fmt::Debug for Outbox {
    /// Without the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("pieces", &self.pieces).finish_non_exhaustive()
    }
}

impl Outbox {
    /// Whether nothing is to be written (pieces to drop may be left).
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of our own that wait.
    pub(crate) fn own_len(&self) -> usize {
        self.scratch.len() - self.written
    }

    /// Appends bytes of our own, written by `encode`.
    pub(crate) fn own(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let before = self.scratch.len();
        encode(&mut self.scratch);
        let added = self.scratch.len().saturating_sub(before);
        match self.pieces.back_mut() {
            _ if added == 0 => {}
            Some(Piece::Own(n)) => *n += added,
            _ => self.pieces.push_back(Piece::Own(added)),
        }
    }

    /// The next `n` bytes of the source are to be written; they become decided.
    pub(crate) fn forward(&mut self, source: &mut InBuf, n: usize) {
        source.decide(n);
        match self.pieces.back_mut() {
            _ if n == 0 => {}
            Some(Piece::Forward(total)) => *total += n,
            _ => self.pieces.push_back(Piece::Forward(n)),
        }
    }

    /// The next `n` bytes of the source are to be dropped; they become decided.
    pub(crate) fn skip(&mut self, source: &mut InBuf, n: usize) {
        source.decide(n);
        if source.decided_len() == n {
            source.release(n);
            return;
        }
        match self.pieces.back_mut() {
            _ if n == 0 => {}
            Some(Piece::Drop(total)) => *total += n,
            _ => self.pieces.push_back(Piece::Drop(n)),
        }
    }

    /// Shows what is to be written next to `write`, and takes off what it reports as written.
    /// Returns `write`'s answer.
    pub(crate) fn write_with<R>(
        &mut self,
        source: &mut InBuf,
        write: impl FnOnce(&[IoSlice<'_>]) -> (usize, R),
    ) -> R {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let mut own = self.scratch.get(self.written..).unwrap_or_default();
        let mut theirs = source.decided();
        for piece in &self.pieces {
            if used == SLICES {
                break;
            }
            match *piece {
                Piece::Own(n) => {
                    let (head, tail) = own.split_at(n.min(own.len()));
                    own = tail;
                    slices[used] = IoSlice::new(head);
                    used += 1;
                }
                Piece::Forward(n) => {
                    let (head, tail) = theirs.split_at(n.min(theirs.len()));
                    theirs = tail;
                    slices[used] = IoSlice::new(head);
                    used += 1;
                }
                Piece::Drop(n) => theirs = theirs.get(n..).unwrap_or_default(),
            }
        }
        let (mut n, answer) = write(slices.get(..used).unwrap_or_default());
        while let Some(piece) = self.pieces.front_mut() {
            let (left, own) = match piece {
                Piece::Drop(dropped) => {
                    source.release(*dropped);
                    self.pieces.pop_front();
                    continue;
                }
                Piece::Own(left) => (left, true),
                Piece::Forward(left) => (left, false),
            };
            let step = n.min(*left);
            n -= step;
            *left -= step;
            let done = *left == 0;
            if own {
                self.written += step;
            } else {
                source.release(step);
            }
            if !done {
                break;
            }
            self.pieces.pop_front();
        }
        if self.written == self.scratch.len() {
            self.scratch.clear();
            self.written = 0;
            if self.scratch.capacity() > KEEP_SCRATCH {
                self.scratch = Vec::new();
            }
        }
        answer
    }

    /// Copies what is still to be forwarded, so that the source can be used for something else.
    pub(crate) fn detach(&mut self, source: &mut InBuf) {
        if !self.pieces.iter().any(|piece| !matches!(piece, Piece::Own(_))) {
            return;
        }
        let mut copy = Vec::new();
        let mut own = self.scratch.get(self.written..).unwrap_or_default();
        let mut theirs = source.decided();
        for piece in &self.pieces {
            match *piece {
                Piece::Own(n) => {
                    let (head, tail) = own.split_at(n.min(own.len()));
                    copy.extend_from_slice(head);
                    own = tail;
                }
                Piece::Forward(n) => {
                    let (head, tail) = theirs.split_at(n.min(theirs.len()));
                    copy.extend_from_slice(head);
                    theirs = tail;
                }
                Piece::Drop(n) => theirs = theirs.get(n..).unwrap_or_default(),
            }
        }
        source.release(source.decided_len());
        self.pieces.clear();
        if !copy.is_empty() {
            self.pieces.push_back(Piece::Own(copy.len()));
        }
        self.scratch = copy;
        self.written = 0;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.scratch = Vec::new();
        self.written = 0;
    }
}
