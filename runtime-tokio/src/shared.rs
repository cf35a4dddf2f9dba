//! What all tasks of the process share.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Waker};
use std::time::Instant as Clock;

use pgwire_core::auth::DeriveJob;
use pgwire_core::time::Instant;
use pool_router::buffers::Buffers;
use pool_router::config::Settings;
use pool_router::context::Context;
use pool_router::hub::{Command, Hub};
use tokio::sync::Notify;

use crate::derive::{Derivation, Deriver};
use crate::orders;
use crate::socket::Socket;

/// Wakes a client's task from wherever its news come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doorbell(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Doorbell {
    fn ring(&self) {
        self.0.rung.store(true, Ordering::Release);
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it rang since the last look.
    pub(crate) fn rang(&self) -> bool {
        self.0.rung.load(Ordering::Relaxed) && self.0.rung.swap(false, Ordering::Acquire)
    }

    /// Has the task woken at the next ring.
    pub(crate) fn listen(&self, cx: &TaskContext<'_>) {
        let mut place = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *place = Some(cx.waker().clone());
        }
    }
}

struct Guarded {
    hub: Hub<Socket, Doorbell>,
    /// The time that the hub was last told.
    latest: Instant,
}

/// The hub behind its lock, the clock, and what was loaded from files.
pub(crate) struct Shared {
    hub: Mutex<Guarded>,
    origin: Clock,
    deriver: Deriver,
    /// The hub's next timeout has changed.
    pub(crate) changed: Notify,
    /// The configuration is to be read again.
    pub(crate) reload: Notify,
    /// The listening sockets are to be closed.
    pub(crate) closing: Notify,
    /// The last client may have left.
    pub(crate) left: Notify,
}

impl Shared {
    pub(crate) fn new(context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self {
            hub: Mutex::new(Guarded { hub: Hub::new(context), latest: Instant::ORIGIN }),
            origin: Clock::now(),
            deriver: Deriver::start(),
            changed: Notify::new(),
            reload: Notify::new(),
            closing: Notify::new(),
            left: Notify::new(),
        })
    }

    /// The settings in force.
    pub(crate) fn settings(self: &Arc<Self>) -> Arc<Settings> {
        self.with_hub(|hub, _| hub.settings().clone())
    }

    /// Has a key derivation run, away from those who serve clients.
    pub(crate) fn derive(&self, job: DeriveJob) -> Derivation {
        self.deriver.derive(job)
    }

    /// The time, as the pure crates count it.
    pub(crate) fn now(&self) -> Instant {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::from_nanos(nanos)
    }

    /// The moment on tokio's clock.
    pub(crate) fn at(&self, instant: Instant) -> tokio::time::Instant {
        let offset = instant.saturating_since(Instant::ORIGIN);
        tokio::time::Instant::from_std(self.origin + offset)
    }

    /// Calls `use_hub` under the lock, then carries out what the hub ordered.
    pub(crate) fn with_hub<R>(
        self: &Arc<Self>,
        use_hub: impl FnOnce(&mut Hub<Socket, Doorbell>, Instant) -> R,
    ) -> R {
        self.with_hub_at(self.now(), use_hub)
    }

    /// [`Shared::with_hub`] for a caller that has just looked at the clock.
    pub(crate) fn with_hub_at<R>(
        self: &Arc<Self>,
        now: Instant,
        use_hub: impl FnOnce(&mut Hub<Socket, Doorbell>, Instant) -> R,
    ) -> R {
        let mut commands = Vec::new();
        let answer = {
            let mut guard = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
            let Guarded { hub, latest } = &mut *guard;
            // Others may have looked later and come first; the hub's time never runs backwards.
            *latest = now.max(*latest);
            let before = hub.poll_timeout();
            let answer = use_hub(hub, *latest);
            while let Some(command) = hub.poll_command() {
                commands.push(command);
            }
            if hub.poll_timeout() != before {
                self.changed.notify_one();
            }
            if hub.is_done() {
                self.left.notify_one();
            }
            answer
        };
        for command in commands {
            match command {
                Command::Ring(doorbell) => doorbell.ring(),
                Command::Connect(plan) => orders::connect(self.clone(), plan),
                Command::Close(link) => orders::close(*link),
                Command::LookUp(plan) => orders::look_up(self.clone(), *plan),
                Command::StopListening => self.closing.notify_one(),
                Command::Reload => self.reload.notify_one(),
                Command::Authenticate(order) => orders::authenticate(self.clone(), *order),
                Command::Cancel(order) => orders::cancel(self.clone(), order),
            }
        }
        answer
    }
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers::new()) };
}

/// Lends this thread's buffers.
pub(crate) fn with_buffers<R>(use_them: impl FnOnce(&mut Buffers) -> R) -> R {
    BUFFERS.with_borrow_mut(use_them)
}
