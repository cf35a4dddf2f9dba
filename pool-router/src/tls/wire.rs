//! The bytes of a connection, in clear or within TLS.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::Connection;

use super::HandshakeError;
use crate::io::{Io, Transfer};

/// Ciphertext that waits for the socket, at the most; what is beyond it is not taken from the
/// caller.
const WRITE_LIMIT: usize = 32 * 1024;

/// A socket, and the TLS session over it, if there is one.
///
/// Reads and writes are those of [`Io`], with the same meaning, so that whoever moves bytes does
/// not know the difference:
///
/// - A read goes on until the socket has nothing more or there is something to hand over, so that
///   nothing that has been received is ever forgotten in the session.
/// - A write is not over before the socket has all of what became of the bytes. Until then it
///   answers [`Transfer::Blocked`], and the caller shows the same bytes again, perhaps with more
///   behind them.
pub(crate) struct Wire<S> {
    socket: S,
    session: Option<Box<Session>>,
}

impl<S: fmt::Debug> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("socket", &self.socket)
            .field("encrypted", &self.is_encrypted())
            .finish()
    }
}

struct Session {
    connection: Connection,
    /// Bytes that are encrypted but not reported as written, because the socket does not have all
    /// of them yet.
    taken: usize,
    /// What broke the session.
    fault: Option<rustls::Error>,
    /// What both sides know of our certificate; see [`Wire::local_end_point`].
    local_end_point: Option<Arc<[u8]>>,
}

/// How far a handshake has come.
#[derive(Debug)]
pub(crate) enum Handshake {
    /// It is over, and everything that belongs to it is written.
    Done,
    /// Call again when the socket is ready.
    Blocked,
    /// There will be no session.
    Failed(HandshakeError),
}

impl<S> Wire<S> {
    /// A connection in clear.
    pub(crate) fn plain(socket: S) -> Self {
        Self { socket, session: None }
    }

    /// Starts TLS. `received` was read from the socket already and belongs to the handshake.
    pub(crate) fn start(
        &mut self,
        connection: impl Into<Connection>,
        local_end_point: Option<Arc<[u8]>>,
        mut received: &[u8],
    ) {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(WRITE_LIMIT));
        let mut session = Session { connection, taken: 0, fault: None, local_end_point };
        while !received.is_empty() && session.fault.is_none() {
            match session.connection.read_tls(&mut received) {
                Ok(_) => session.process(),
                Err(error) => {
                    session.fault = Some(rustls::Error::General(error.to_string()));
                }
            }
        }
        self.session = Some(Box::new(session));
    }

    /// Whether TLS was started.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.session.is_some()
    }

    /// What the sides agreed to speak (ALPN).
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.session.as_ref()?.connection.alpn_protocol()
    }

    /// The version and cipher suite, for the log.
    pub(crate) fn cipher(&self) -> Option<String> {
        let connection = &self.session.as_ref()?.connection;
        let version = connection.protocol_version()?;
        let suite = connection.negotiated_cipher_suite()?.suite();
        Some(format!("{version:?} {suite:?}"))
    }

    /// The certificate that the other side has shown, DER.
    pub(crate) fn peer_certificate(&self) -> Option<&[u8]> {
        let chain = self.session.as_ref()?.connection.peer_certificates()?;
        chain.first().map(|certificate| certificate.as_ref())
    }

    /// `tls-server-end-point` (RFC 5929, 4.1) of the certificate that was shown here.
    pub(crate) fn local_end_point(&self) -> Option<&[u8]> {
        self.session.as_ref()?.local_end_point.as_deref()
    }

    /// What broke the session, if it was not the network.
    pub(crate) fn fault(&self) -> Option<&rustls::Error> {
        self.session.as_ref()?.fault.as_ref()
    }

    /// The bare socket; a session is forgotten.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn into_socket(self) -> S {
        self.socket
    }

    /// Moves the handshake on as far as it goes.
    pub(crate) fn handshake(&mut self, io: &mut impl Io<S>) -> Handshake {
        let Self { socket, session: Some(session) } = self else { return Handshake::Done };
        loop {
            let flushed = session.flush(socket, io);
            if let Some(fault) = &session.fault {
                return Handshake::Failed(HandshakeError::Tls(fault.clone()));
            }
            if !session.connection.is_handshaking() {
                return match flushed {
                    Transfer::Bytes(_) => Handshake::Done,
                    Transfer::Blocked => Handshake::Blocked,
                    Transfer::Closed => Handshake::Failed(HandshakeError::Closed),
                };
            }
            match session.pull(socket, io) {
                Transfer::Bytes(_) => session.process(),
                Transfer::Blocked => return Handshake::Blocked,
                Transfer::Closed => return Handshake::Failed(HandshakeError::Closed),
            }
        }
    }

    /// As [`Io::read`].
    pub(crate) fn read(&mut self, io: &mut impl Io<S>, room: &mut [u8]) -> Transfer {
        match &mut self.session {
            None => io.read(&mut self.socket, room),
            Some(session) => session.read(&mut self.socket, io, room),
        }
    }

    /// As [`Io::write`]. After [`Transfer::Blocked`] the same bytes must be shown again.
    pub(crate) fn write(&mut self, io: &mut impl Io<S>, pieces: &[IoSlice<'_>]) -> Transfer {
        match &mut self.session {
            None => io.write(&mut self.socket, pieces),
            Some(session) => session.write(&mut self.socket, io, pieces),
        }
    }

    /// Tells the other side that nothing follows, as far as that goes without waiting.
    pub(crate) fn close(&mut self, io: &mut impl Io<S>) {
        if let Some(session) = &mut self.session {
            session.connection.send_close_notify();
            let _: Transfer = session.flush(&mut self.socket, io);
        }
    }
}

impl Session {
    /// Reads what is there of the other side's records.
    fn pull<S>(&mut self, socket: &mut S, io: &mut impl Io<S>) -> Transfer {
        let mut reader = Reader { socket, io };
        match self.connection.read_tls(&mut reader) {
            Ok(0) => Transfer::Closed,
            Ok(n) => Transfer::Bytes(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Transfer::Blocked,
            Err(_) => Transfer::Closed,
        }
    }

    fn process(&mut self) {
        if let Err(error) = self.connection.process_new_packets() {
            self.fault = Some(error);
        }
    }

    /// Writes all that waits; [`Transfer::Bytes`] means that it did.
    fn flush<S>(&mut self, socket: &mut S, io: &mut impl Io<S>) -> Transfer {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Writer { socket, io }) {
                Ok(0) => return Transfer::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Transfer::Blocked,
                Err(_) => return Transfer::Closed,
            }
        }
        Transfer::Bytes(0)
    }

    fn read<S>(&mut self, socket: &mut S, io: &mut impl Io<S>, room: &mut [u8]) -> Transfer {
        loop {
            match self.connection.reader().read(room) {
                Ok(n) if n > 0 => return Transfer::Bytes(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // close_notify, or the end of the stream without one. Messages have lengths, so a
                // stream that was cut short is noticed all the same.
                Ok(_) | Err(_) => return Transfer::Closed,
            }
            if self.fault.is_some() {
                return Transfer::Closed;
            }
            match self.pull(socket, io) {
                Transfer::Bytes(_) => self.process(),
                other => return other,
            }
            if self.connection.wants_write() {
                // An alert, or the answer to a key update. What the socket does not take now goes
                // out ahead of the next bytes.
                let _: Transfer = self.flush(socket, io);
            }
        }
    }

    fn write<S>(
        &mut self,
        socket: &mut S,
        io: &mut impl Io<S>,
        pieces: &[IoSlice<'_>],
    ) -> Transfer {
        if self.fault.is_some() || self.connection.is_handshaking() {
            return Transfer::Closed;
        }
        if self.taken == 0 {
            // With nothing of before in the way there is room for some of it.
            match self.flush(socket, io) {
                Transfer::Bytes(_) => {}
                other => return other,
            }
            match self.connection.writer().write_vectored(pieces) {
                Ok(n) => self.taken = n,
                Err(_) => return Transfer::Closed,
            }
        }
        match self.flush(socket, io) {
            Transfer::Bytes(_) => match std::mem::take(&mut self.taken) {
                0 => Transfer::Closed,
                n => Transfer::Bytes(n),
            },
            other => other,
        }
    }
}

/// [`Io`] as rustls wants to read it.
struct Reader<'a, S, I> {
    socket: &'a mut S,
    io: &'a mut I,
}

impl<S, I: Io<S>> Read for Reader<'_, S, I> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        answer(self.io.read(self.socket, room))
    }
}

/// [`Io`] as rustls wants to write it.
struct Writer<'a, S, I> {
    socket: &'a mut S,
    io: &'a mut I,
}

impl<S, I: Io<S>> Write for Writer<'_, S, I> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        answer(self.io.write(self.socket, &[IoSlice::new(bytes)]))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        answer(self.io.write(self.socket, pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn answer(moved: Transfer) -> io::Result<usize> {
    match moved {
        Transfer::Bytes(n) => Ok(n),
        Transfer::Blocked => Err(ErrorKind::WouldBlock.into()),
        Transfer::Closed => Ok(0),
    }
}
