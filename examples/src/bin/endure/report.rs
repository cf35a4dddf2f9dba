//! Lines of the report, and trials that cannot take the others with them.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Part;

/// One line, in the order it was printed.
enum Finding {
    Measured,
    Kept,
    Broken(String),
}

/// Where a trial writes its lines; they are printed at once.
pub(crate) struct Lines {
    sender: Sender<Finding>,
}

impl Lines {
    /// A number that nobody promised.
    pub(crate) fn note(&self, what: &str, measured: impl Display) {
        println!("           {what:<58} {measured}");
        self.push(Finding::Measured);
    }

    /// A promise, with what was measured.
    pub(crate) fn promise(&self, what: &str, kept: bool, measured: impl Display) {
        let word = if kept { "kept" } else { "BROKEN" };
        println!("  {word:<8} {what:<58} {measured}");
        self.push(if kept {
            Finding::Kept
        } else {
            Finding::Broken(format!("{what}: {measured}"))
        });
    }

    fn push(&self, finding: Finding) {
        // A trial that was given up has nobody who counts.
        let _ = self.sender.send(finding);
    }
}

/// All that was found so far.
#[derive(Default)]
pub(crate) struct Report {
    kept: usize,
    broken: Vec<String>,
}

impl Report {
    fn take(&mut self, trial: &str, finding: Finding) {
        match finding {
            Finding::Measured => {}
            Finding::Kept => self.kept += 1,
            Finding::Broken(what) => self.broken.push(format!("{trial}: {what}")),
        }
    }

    /// Prints the end of the report; whether every promise was kept.
    pub(crate) fn summary(&self) -> bool {
        println!("\n{} promises kept, {} broken", self.kept, self.broken.len());
        for what in &self.broken {
            println!("  {what}");
        }
        self.broken.is_empty()
    }
}

/// One part in one mode.
pub(crate) struct Trial<B> {
    /// The part it belongs to.
    pub(crate) part: Part,
    mode: &'static str,
    limit: Duration,
    run: fn(&B, &Lines),
}

impl<B: Send + Sync + 'static> Trial<B> {
    pub(crate) fn new(
        part: Part,
        mode: &'static str,
        limit: Duration,
        run: fn(&B, &Lines),
    ) -> Self {
        Self { part, mode, limit, run }
    }

    /// Runs it in a thread; a panic or a hang is a broken promise.
    pub(crate) fn run(self, bench: &Arc<B>, report: &mut Report) {
        let name = format!("{:?}, {} mode", self.part, self.mode).to_lowercase();
        println!("\n{name}");
        let started = Instant::now();
        let (sender, findings) = channel();
        let bench = Arc::clone(bench);
        let thread = std::thread::spawn(move || {
            let lines = Lines { sender };
            let result = catch_unwind(AssertUnwindSafe(|| (self.run)(&bench, &lines)));
            if result.is_err() {
                lines.promise("the trial runs to its end", false, "it panicked, see above");
            }
        });
        loop {
            let left = self.limit.saturating_sub(started.elapsed());
            match findings.recv_timeout(left) {
                Ok(finding) => report.take(&name, finding),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    println!("  BROKEN   still runs after {:?}", self.limit);
                    report.take(&name, Finding::Broken(format!("hangs for {:?}", self.limit)));
                    report.summary();
                    // The thread cannot be stopped; the testbed's guards tidy up behind us.
                    std::process::exit(1);
                }
            }
        }
        // Whatever it had to say came by the channel.
        let _ = thread.join();
        println!("           took {:.0} s", started.elapsed().as_secs_f64());
    }
}

/// Locks also what a panicking thread has left locked: that thread is reported by itself.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds for people.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}
