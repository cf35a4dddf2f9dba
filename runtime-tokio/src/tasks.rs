//! The task of one client: obeys its [`Relay`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pgwire_core::time::Instant;
use pool_router::context::Context as Loaded;
use pool_router::ids::ClientId;
use pool_router::relay::{Entropy, Relay, Transport, Turn};
use tokio::time::Sleep;

use crate::derive::Derivation;
use crate::shared::{Doorbell, Shared, with_buffers};
use crate::socket::{Socket, TaskIo};

struct ClientTask {
    shared: Arc<Shared>,
    relay: Relay<Socket>,
    doorbell: Doorbell,
    alarm: Alarm,
    derivation: Option<Derivation>,
    finished: bool,
}

/// Serves an accepted client to its end.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    socket: Socket,
    transport: Transport,
    (id, context): (ClientId, Arc<Loaded>),
    doorbell: Doorbell,
) {
    let entropy = Entropy(random());
    let relay = Relay::new(id, context, socket, transport, entropy, shared.now());
    let mut task = Box::new(ClientTask {
        shared,
        relay,
        doorbell,
        alarm: Alarm::default(),
        derivation: None,
        finished: false,
    });
    poll_fn(|cx| task.poll(cx)).await;
}

impl Drop for ClientTask {
    /// A task that ends before its relay has finished must not take its servers along.
    fn drop(&mut self) {
        let relay = &mut self.relay;
        if !self.finished {
            self.shared.with_hub(|hub, now| relay.abort(hub, now));
        }
    }
}

impl ClientTask {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Nothing below waits: one look at the clock does for all of it.
        let now = self.shared.now();
        loop {
            if let Some(derivation) = &mut self.derivation
                && let Poll::Ready(key) = Pin::new(derivation).poll(cx)
            {
                self.derivation = None;
                self.relay.resume(key);
            }
            if self.doorbell.rang() {
                self.relay.ring();
            }
            let relay = &mut self.relay;
            match with_buffers(|buffers| relay.drive(&mut TaskIo(cx), buffers, now)) {
                Turn::Service => {
                    let relay = &mut self.relay;
                    self.shared.with_hub_at(now, |hub, now| relay.service(hub, now));
                }
                Turn::Derive(job) => {
                    self.derivation = Some(self.shared.derive(job));
                }
                Turn::Wait(deadline) => {
                    self.doorbell.listen(cx);
                    if self.doorbell.rang() {
                        self.relay.ring();
                    } else if !self.alarm.set(&self.shared, deadline, cx) {
                        return Poll::Pending;
                    }
                }
                Turn::Yield => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Finished => {
                    self.finished = true;
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// One timer, set anew only when it would ring too late.
#[derive(Default)]
pub(crate) struct Alarm {
    set_for: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Has the task woken at `deadline`. Returns whether that is now.
    pub(crate) fn set(
        &mut self,
        shared: &Shared,
        deadline: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(deadline) = deadline else { return false };
        // A timer that is set for earlier only wakes the task once in vain.
        if self.set_for.is_none_or(|set_for| deadline < set_for) {
            let at = shared.at(deadline);
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(at),
                None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
            }
            self.set_for = Some(deadline);
        }
        if let Some(sleep) = &mut self.sleep
            && sleep.as_mut().poll(cx).is_ready()
        {
            self.set_for = None;
            self.sleep = None;
            return true;
        }
        false
    }
}

/// Bytes from the operating system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness nothing that follows would be safe.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
