//! The seam between the machines of this crate and a runtime (or a simulated network).

use std::io::IoSlice;

/// What came of trying to move bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// This many bytes (more than 0) were moved.
    Bytes(usize),
    /// Nothing can be moved now. The runtime calls the machine again when that changes.
    Blocked,
    /// End of stream, or the connection is broken.
    Closed,
}

/// Moves bytes of sockets of type `S`. Never blocks.
///
/// Answering [`Transfer::Blocked`] obliges the runtime to drive the machine again once the socket
/// is ready for that operation (edge-triggered readiness is enough).
pub trait Io<S> {
    /// Reads into `room`, which is not empty.
    fn read(&mut self, socket: &mut S, room: &mut [u8]) -> Transfer;

    /// Writes some of `pieces`, in order; at least one of them is not empty.
    fn write(&mut self, socket: &mut S, pieces: &[IoSlice<'_>]) -> Transfer;
}
