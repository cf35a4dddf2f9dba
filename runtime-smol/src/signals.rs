//! Signals that end the service.

use std::ffi::c_int;
use std::io;
use std::os::unix::net::UnixStream;

use pool_router::hub::Shutdown;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::low_level::pipe;
use smol::Async;
use smol::future::or;
use smol::io::AsyncReadExt;

/// The signals that are listened to: each writes a byte into a stream of its own.
pub(crate) struct Signals {
    terminate: Async<UnixStream>,
    interrupt: Async<UnixStream>,
    quit: Async<UnixStream>,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SIGTERM)?, interrupt: signal(SIGINT)?, quit: signal(SIGQUIT)? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Shutdown {
        or(
            received(&mut self.terminate, Shutdown::Graceful),
            or(
                received(&mut self.interrupt, Shutdown::Fast),
                received(&mut self.quit, Shutdown::Fast),
            ),
        )
        .await
    }
}

fn signal(number: c_int) -> io::Result<Async<UnixStream>> {
    let (reader, writer) = UnixStream::pair()?;
    pipe::register(number, writer)?;
    Async::new(reader)
}

async fn received(stream: &mut Async<UnixStream>, meaning: Shutdown) -> Shutdown {
    match stream.read_exact(&mut [0]).await {
        Ok(()) => meaning,
        // The writing end lives as long as the process.
        Err(_) => std::future::pending().await,
    }
}
