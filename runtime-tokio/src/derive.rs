//! Key derivations, on a few threads of their own.
//!
//! A derivation takes a millisecond or more of a processor. Clients and servers that log in have one
//! at a time each, so the queue is as long as their number at the most. The threads are fewer than
//! the processors and yield to those that serve clients (`nice`), so that any number of logins does
//! not delay a statement.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use pgwire_core::auth::{DeriveJob, DerivedKey};

/// How much the threads yield to others: half the way to the least that there is.
const NICENESS: i32 = 10;

/// Threads that run derivations.
pub(crate) struct Deriver(Arc<Queue>);

#[derive(Default)]
struct Queue {
    due: Mutex<VecDeque<Arc<Mutex<State>>>>,
    came: Condvar,
}

enum State {
    Due(DeriveJob, Option<Waker>),
    Running(Option<Waker>),
    Done(DerivedKey),
    /// It was handed over, or nobody wants it any more.
    Over,
}

/// The result of a derivation, once it is there.
pub(crate) struct Derivation(Arc<Mutex<State>>);

impl Deriver {
    /// Starts the threads: half as many as there are processors.
    pub(crate) fn start() -> Self {
        let queue = Arc::new(Queue::default());
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..(processors / 2).max(1) {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("derive-{number}"));
            if let Err(error) = thread.spawn(move || work(&queue)) {
                tracing::error!("no thread for key derivations: {error}");
            }
        }
        Self(queue)
    }

    /// Has a derivation run.
    pub(crate) fn derive(&self, job: DeriveJob) -> Derivation {
        let slot = Arc::new(Mutex::new(State::Due(job, None)));
        lock(&self.0.due).push_back(slot.clone());
        self.0.came.notify_one();
        Derivation(slot)
    }
}

fn work(queue: &Queue) {
    // Without it derivations are only less polite.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    loop {
        let slot = {
            let mut due = lock(&queue.due);
            loop {
                match due.pop_front() {
                    Some(slot) => break slot,
                    None => due = queue.came.wait(due).unwrap_or_else(PoisonError::into_inner),
                }
            }
        };
        let job = {
            let mut state = lock(&slot);
            match std::mem::replace(&mut *state, State::Over) {
                State::Due(job, waker) => {
                    *state = State::Running(waker);
                    job
                }
                _ => continue,
            }
        };
        let key = job.run();
        let mut state = lock(&slot);
        if let State::Running(waker) = std::mem::replace(&mut *state, State::Over) {
            *state = State::Done(key);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Future for Derivation {
    type Output = DerivedKey;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DerivedKey> {
        let mut state = lock(&self.0);
        match &mut *state {
            State::Due(_, waker) | State::Running(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Done(_) => match std::mem::replace(&mut *state, State::Over) {
                State::Done(key) => Poll::Ready(key),
                _ => Poll::Pending,
            },
            State::Over => Poll::Pending,
        }
    }
}

impl Drop for Derivation {
    /// Whoever has left needs no key.
    fn drop(&mut self) {
        *lock(&self.0) = State::Over;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
