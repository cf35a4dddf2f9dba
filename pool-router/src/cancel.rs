//! Delivering a cancel request to a server.

use std::io::IoSlice;

use pgwire_core::encode;
use pgwire_core::time::Instant;
use zeroize::Zeroizing;

use crate::hub::CancelOrder;
use crate::io::{Io, Transfer};
use crate::login::ConnectError;
use crate::tls::{Encryption, Wire};

/// What a [`CancelRequest`] needs from its runtime.
#[derive(Debug)]
pub enum CancelTurn {
    /// Wait until the socket is ready or this moment comes, then drive again.
    Wait(Option<Instant>),
    /// The server has taken it, or it could not be delivered.
    Done(Result<(), ConnectError>),
}

/// The delivery of a cancel request over a freshly dialled socket, under the same protection as the
/// connection that it is about: who reads the key can cancel whatever runs there.
///
/// # Calling rule
/// [`CancelRequest::drive`] until it answers [`CancelTurn::Done`].
#[derive(Debug)]
pub struct CancelRequest<S> {
    wire: Wire<S>,
    encryption: Encryption,
    packet: Zeroizing<Vec<u8>>,
    written: usize,
    deadline: Option<Instant>,
}

impl<S> CancelRequest<S> {
    /// The request that was ordered, to be delivered by `deadline`.
    #[must_use]
    pub fn new(order: &CancelOrder, socket: S, deadline: Option<Instant>) -> Self {
        let mut packet = Vec::new();
        encode::cancel_request(&mut packet, &order.key);
        Self {
            wire: Wire::plain(socket),
            encryption: Encryption::new(&order.tls, &order.host),
            packet: Zeroizing::new(packet),
            written: 0,
            deadline,
        }
    }

    /// Moves the delivery on as far as it goes.
    pub fn drive(&mut self, io: &mut impl Io<S>, now: Instant) -> CancelTurn {
        match self.step(io, now) {
            Ok(true) => CancelTurn::Done(Ok(())),
            Ok(false) => CancelTurn::Wait(self.deadline),
            Err(error) => CancelTurn::Done(Err(error)),
        }
    }

    fn step(&mut self, io: &mut impl Io<S>, now: Instant) -> Result<bool, ConnectError> {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(ConnectError::Timeout("delivering a cancel request"));
        }
        if !self.encryption.is_over() {
            self.encryption.drive(&mut self.wire, io)?;
            if !self.encryption.is_over() {
                return Ok(false);
            }
        }
        while let Some(rest) = self.packet.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.wire.write(io, &[IoSlice::new(rest)]) {
                Transfer::Bytes(n) => self.written += n,
                Transfer::Blocked => return Ok(false),
                Transfer::Closed => return Err(ConnectError::Closed),
            }
        }
        // There is no answer; the server closes when it has passed the request on.
        match self.wire.read(io, &mut [0]) {
            Transfer::Bytes(_) => Err(ConnectError::Unexpected),
            Transfer::Blocked => Ok(false),
            Transfer::Closed => Ok(true),
        }
    }
}
