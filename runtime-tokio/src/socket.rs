//! A TCP or Unix-domain stream, and [`Io`] over it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use pool_router::io::{Io, Transfer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected stream.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// [`Io`] for a task: what would block registers the task's waker.
pub(crate) struct TaskIo<'a, 'b>(pub(crate) &'a mut Context<'b>);

impl Io<Socket> for TaskIo<'_, '_> {
    fn read(&mut self, socket: &mut Socket, room: &mut [u8]) -> Transfer {
        let mut buffer = ReadBuf::new(room);
        let polled = match socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(self.0, &mut buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(self.0, &mut buffer),
        };
        transfer(polled.map_ok(|()| buffer.filled().len()))
    }

    fn write(&mut self, socket: &mut Socket, pieces: &[IoSlice<'_>]) -> Transfer {
        let polled = match (socket, pieces) {
            (Socket::Tcp(stream), [one]) => Pin::new(stream).poll_write(self.0, one),
            (Socket::Unix(stream), [one]) => Pin::new(stream).poll_write(self.0, one),
            (Socket::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(self.0, pieces),
            (Socket::Unix(stream), _) => Pin::new(stream).poll_write_vectored(self.0, pieces),
        };
        transfer(polled)
    }
}

fn transfer(polled: Poll<io::Result<usize>>) -> Transfer {
    match polled {
        Poll::Pending => Transfer::Blocked,
        Poll::Ready(Ok(0) | Err(_)) => Transfer::Closed,
        Poll::Ready(Ok(n)) => Transfer::Bytes(n),
    }
}
