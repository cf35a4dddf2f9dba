//! A TCP or Unix-domain stream, and [`Io`] over it.
//!
//! The reactor is asked to watch a stream as soon as it has run dry, and until it reports, the
//! stream is left alone. A stream that changes hands goes on being watched: what it rings is a bell
//! of its own, on which its present task listens.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use pool_router::io::{Io, Transfer};
use smol::Async;

use crate::shared::Doorbell;

/// A connected stream.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: Stream,
    readable: Readiness,
    writable: Readiness,
}

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(Async<TcpStream>),
    Unix(Async<UnixStream>),
}

impl Socket {
    pub(crate) fn tcp(stream: Async<TcpStream>) -> Self {
        Self::new(Stream::Tcp(stream))
    }

    pub(crate) fn unix(stream: Async<UnixStream>) -> Self {
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        Self { stream, readable: Readiness::default(), writable: Readiness::default() }
    }
}

impl Stream {
    fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.get_ref().read(room),
            Self::Unix(stream) => stream.get_ref().read(room),
        }
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, pieces) {
            (Self::Tcp(stream), [one]) => stream.get_ref().write(one),
            (Self::Unix(stream), [one]) => stream.get_ref().write(one),
            (Self::Tcp(stream), _) => stream.get_ref().write_vectored(pieces),
            (Self::Unix(stream), _) => stream.get_ref().write_vectored(pieces),
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_readable(cx),
            Self::Unix(stream) => stream.poll_readable(cx),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_writable(cx),
            Self::Unix(stream) => stream.poll_writable(cx),
        }
    }
}

/// [`Io`] for a task: what would block registers the task's waker.
pub(crate) struct TaskIo<'a, 'b>(pub(crate) &'a mut Context<'b>);

impl Io<Socket> for TaskIo<'_, '_> {
    fn read(&mut self, socket: &mut Socket, room: &mut [u8]) -> Transfer {
        let Socket { stream, readable, .. } = socket;
        let most = room.len();
        readable.attempt(self.0, most, || stream.read(room), |cx| stream.poll_readable(cx))
    }

    fn write(&mut self, socket: &mut Socket, pieces: &[IoSlice<'_>]) -> Transfer {
        let Socket { stream, writable, .. } = socket;
        let most = pieces.iter().map(|piece| piece.len()).sum();
        writable.attempt(self.0, most, || stream.write(pieces), |cx| stream.poll_writable(cx))
    }
}

/// What is known of one direction of a stream.
#[derive(Debug, Default)]
struct Readiness {
    /// The reactor will ring once bytes can be moved; until then none can.
    watched: bool,
    bell: Doorbell,
}

impl Readiness {
    /// Moves up to `most` bytes with `transfer`, unless it is known that it would block; `watch`
    /// hands a waker to the reactor.
    fn attempt(
        &mut self,
        cx: &Context<'_>,
        most: usize,
        mut transfer: impl FnMut() -> io::Result<usize>,
        watch: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Transfer {
        loop {
            if self.watched {
                self.bell.listen(cx);
                if !self.bell.rang() {
                    return Transfer::Blocked;
                }
                self.watched = false;
            }
            match transfer() {
                Ok(0) => return Transfer::Closed,
                Ok(n) => {
                    if n < most {
                        // A failure comes again at the next attempt.
                        let _ = self.watch(&watch);
                    }
                    return Transfer::Bytes(n);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.watch(&watch).is_err() {
                        return Transfer::Closed;
                    }
                }
                Err(_) => return Transfer::Closed,
            }
        }
    }

    fn watch(
        &mut self,
        watch: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> io::Result<()> {
        let waker = self.bell.waker();
        let mut cx = Context::from_waker(&waker);
        let mut polled = watch(&mut cx);
        if let Poll::Ready(Ok(())) = polled {
            // An event of the past: its bell has been heard. Now the waker is taken.
            polled = watch(&mut cx);
        }
        match polled {
            Poll::Pending => self.watched = true,
            Poll::Ready(answer) => answer?,
        }
        Ok(())
    }
}
