//! What all tasks of the process share.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Instant as Clock;

use pgwire_core::auth::DeriveJob;
use pgwire_core::time::Instant;
use pool_router::buffers::Buffers;
use pool_router::config::Settings;
use pool_router::context::Context;
use pool_router::hub::{Command, Hub};
use smol::Executor;

use crate::derive::{Derivation, Deriver};
use crate::orders;
use crate::socket::Socket;

/// Wakes a task from wherever its news come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doorbell(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Doorbell {
    fn ring(&self) {
        self.0.wake_by_ref();
    }

    /// A waker that rings.
    pub(crate) fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    /// Waits until it rings, unless it has since the last look.
    pub(crate) async fn rung(&self) {
        poll_fn(|cx| {
            self.listen(cx);
            if self.rang() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
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

/// The hub behind its lock, the clock, and what was loaded from files.
pub(crate) struct Shared {
    hub: Mutex<Hub<Socket, Doorbell>>,
    origin: Clock,
    deriver: Deriver,
    pub(crate) executor: Arc<Executor<'static>>,
    /// The hub's next timeout has changed.
    pub(crate) changed: Doorbell,
    /// The configuration is to be read again.
    pub(crate) reload: Doorbell,
    /// The listening sockets are to be closed.
    pub(crate) closing: Doorbell,
    /// The last client may have left.
    pub(crate) left: Doorbell,
}

impl Shared {
    pub(crate) fn new(context: Arc<Context>, executor: Arc<Executor<'static>>) -> Arc<Self> {
        Arc::new(Self {
            hub: Mutex::new(Hub::new(context)),
            origin: Clock::now(),
            deriver: Deriver::start(),
            executor,
            changed: Doorbell::default(),
            reload: Doorbell::default(),
            closing: Doorbell::default(),
            left: Doorbell::default(),
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

    /// The moment on the system's clock.
    pub(crate) fn at(&self, instant: Instant) -> Clock {
        self.origin + instant.saturating_since(Instant::ORIGIN)
    }

    /// Has the workers run a task to its end.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(task).detach();
    }

    /// Calls `use_hub` under the lock, then carries out what the hub ordered.
    pub(crate) fn with_hub<R>(
        self: &Arc<Self>,
        use_hub: impl FnOnce(&mut Hub<Socket, Doorbell>, Instant) -> R,
    ) -> R {
        let mut commands = Vec::new();
        let answer = {
            let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
            let before = hub.poll_timeout();
            let answer = use_hub(&mut hub, self.now());
            while let Some(command) = hub.poll_command() {
                commands.push(command);
            }
            if hub.poll_timeout() != before {
                self.changed.ring();
            }
            if hub.is_done() {
                self.left.ring();
            }
            answer
        };
        for command in commands {
            match command {
                Command::Ring(doorbell) => doorbell.ring(),
                Command::Connect(plan) => orders::connect(self.clone(), plan),
                Command::Close(link) => orders::close(*link),
                Command::LookUp(plan) => orders::look_up(self.clone(), *plan),
                Command::StopListening => self.closing.ring(),
                Command::Reload => self.reload.ring(),
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
