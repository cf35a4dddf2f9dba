//! Signals: what ends the service, and what has it read its files again.

use std::io;
use std::sync::Arc;

use pool_router::hub::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shared::Shared;

/// The signals that are listened to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one that ends the service; the others are obeyed.
    pub(crate) async fn next(&mut self, shared: &Arc<Shared>) -> Shutdown {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Shutdown::Graceful,
                _ = self.interrupt.recv() => return Shutdown::Fast,
                _ = self.quit.recv() => return Shutdown::Fast,
                _ = self.hang_up.recv() => shared.with_hub(|hub, _| hub.order_reload()),
            }
        }
    }
}
