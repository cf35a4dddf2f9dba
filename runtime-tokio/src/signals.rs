//! Signals that end the service.

use std::io;

use pool_router::hub::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are listened to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Shutdown {
        tokio::select! {
            _ = self.terminate.recv() => Shutdown::Graceful,
            _ = self.interrupt.recv() => Shutdown::Fast,
            _ = self.quit.recv() => Shutdown::Fast,
        }
    }
}
