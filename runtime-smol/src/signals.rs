//! Signals: what ends the service, and what has it read its files again.

use std::ffi::c_int;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use pool_router::hub::Shutdown;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::low_level::pipe;
use smol::Async;
use smol::future::or;
use smol::io::AsyncReadExt;

use crate::shared::Shared;

/// The signals that are listened to: each writes a byte into a stream of its own.
pub(crate) struct Signals {
    terminate: Async<UnixStream>,
    interrupt: Async<UnixStream>,
    quit: Async<UnixStream>,
    hang_up: Async<UnixStream>,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SIGTERM)?,
            interrupt: signal(SIGINT)?,
            quit: signal(SIGQUIT)?,
            hang_up: signal(SIGHUP)?,
        })
    }

    /// Waits for the next one that ends the service; the others are obeyed.
    pub(crate) async fn next(&mut self, shared: &Arc<Shared>) -> Shutdown {
        loop {
            let how = or(
                or(
                    received(&mut self.terminate, Some(Shutdown::Graceful)),
                    received(&mut self.hang_up, None),
                ),
                or(
                    received(&mut self.interrupt, Some(Shutdown::Fast)),
                    received(&mut self.quit, Some(Shutdown::Fast)),
                ),
            )
            .await;
            match how {
                Some(how) => return how,
                None => shared.with_hub(|hub, _| hub.order_reload()),
            }
        }
    }
}

fn signal(number: c_int) -> io::Result<Async<UnixStream>> {
    let (reader, writer) = UnixStream::pair()?;
    pipe::register(number, writer)?;
    Async::new(reader)
}

async fn received(stream: &mut Async<UnixStream>, meaning: Option<Shutdown>) -> Option<Shutdown> {
    match stream.read_exact(&mut [0]).await {
        Ok(()) => meaning,
        // The writing end lives as long as the process.
        Err(_) => std::future::pending().await,
    }
}
