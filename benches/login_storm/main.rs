//! `login_storm`: how long the statements of established clients take while others log in by
//! SCRAM-SHA-256 as fast as asked for, through pgweir, PgBouncer and Pgpool-II in one run.
//!
//! The storm runs with the lowest priority and pays its own key derivations, so where those are due
//! (a proxy with a fresh salt for each login) it may fall short of its rate: the rate that was
//! reached is part of the table.
//!
//! `cargo build --release && cargo run --release -p benches --bin login_storm -- --help`

#![deny(missing_docs)]

mod storm;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use testbed::Cluster;

use crate::storm::Session;
use crate::targets::{Running, Target};

/// Prints latencies of running statements, in quiet and while clients log in.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Target::ALL)]
    targets: Vec<Target>,
    /// Logins per second that are asked for.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Clients that log in at a time.
    #[arg(long, default_value_t = 16)]
    at_a_time: u64,
    /// Established clients.
    #[arg(long, default_value_t = 4)]
    established: u64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The program `pgweir`; otherwise the one beside this program.
    #[arg(long)]
    pgweir: Option<PathBuf>,
    /// The program `pgbouncer`.
    #[arg(long, default_value = "pgbouncer")]
    pgbouncer: PathBuf,
    /// The program `pgpool`.
    #[arg(long, default_value = "pgpool")]
    pgpool: PathBuf,
}

/// Latencies, sorted.
struct Sample(Vec<Duration>);

impl Sample {
    fn percentile(&self, percent: usize) -> Duration {
        let at = self.0.len().saturating_sub(1) * percent / 100;
        self.0.get(at).copied().unwrap_or_default()
    }

    fn row(&self) -> String {
        let ms = |time: Duration| format!("{:8.2}", time.as_secs_f64() * 1e3);
        let max = self.0.last().copied().unwrap_or_default();
        format!("{} {} {}", ms(self.percentile(50)), ms(self.percentile(99)), ms(max))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let cluster = match Cluster::create() {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("login_storm: {error}");
            return ExitCode::FAILURE;
        }
    };
    targets::create_role(&cluster);
    println!(
        "milliseconds                       quiet: p50, p99, max       storm: p50, p99, max      logins/s  failed"
    );
    let mut base = None;
    for target in &options.targets {
        match measure(&cluster, &options, *target) {
            Ok((quiet, storm, logins, failed)) => {
                let p99 = storm.percentile(99).as_secs_f64();
                let ratio = p99 / *base.get_or_insert(p99);
                println!(
                    "{:<32} {}   {}   {logins:8} {failed:7}   p99 x {ratio:.2}",
                    target.name(),
                    quiet.row(),
                    storm.row(),
                );
            }
            Err(error) => println!("{:<32} {error}", target.name()),
        }
    }
    ExitCode::SUCCESS
}

fn measure(
    cluster: &Cluster,
    options: &Options,
    target: Target,
) -> Result<(Sample, Sample, u64, u64), String> {
    let running = Running::start(cluster, options, target)?;
    let port = running.port();
    let mut sessions = Vec::new();
    for _ in 0..options.established {
        let mut session = Session::log_in(port, None).map_err(|e| format!("login: {e}"))?.0;
        session.query().map_err(|e| format!("query: {e}"))?;
        sessions.push(session);
    }
    let time = Duration::from_secs(options.seconds);
    let (mut sessions, quiet) = run_queries(sessions, time)?;
    let over = AtomicBool::new(false);
    let (logins, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let storm = thread::scope(|scope| {
        for _ in 0..options.at_a_time {
            scope.spawn(|| {
                let pause = Duration::from_secs(1) * u32::try_from(options.at_a_time).unwrap_or(1)
                    / u32::try_from(options.rate).unwrap_or(1).max(1);
                storm::blow(port, pause, &over, &logins, &failed);
            });
        }
        let result = run_queries(std::mem::take(&mut sessions), time);
        over.store(true, Ordering::Relaxed);
        result.map(|(_, sample)| sample)
    })?;
    let per_second = logins.load(Ordering::Relaxed) / options.seconds.max(1);
    Ok((quiet, storm, per_second, failed.load(Ordering::Relaxed)))
}

/// Each session asks something every two milliseconds.
fn run_queries(sessions: Vec<Session>, time: Duration) -> Result<(Vec<Session>, Sample), String> {
    const PAUSE: Duration = Duration::from_millis(2);
    let results: Vec<Result<_, String>> = thread::scope(|scope| {
        let ask = |mut session: Session| {
            let mut sample = Vec::new();
            let end = Instant::now() + time;
            while Instant::now() < end {
                let asked = Instant::now();
                session.query().map_err(|error| format!("query: {error}"))?;
                sample.push(asked.elapsed());
                thread::sleep(PAUSE);
            }
            Ok((session, sample))
        };
        let threads: Vec<_> =
            sessions.into_iter().map(|session| scope.spawn(move || ask(session))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned()))
        };
        threads.into_iter().map(join).collect()
    });
    let mut sessions = Vec::new();
    let mut all = Vec::new();
    for result in results {
        let (session, sample) = result?;
        sessions.push(session);
        all.extend(sample);
    }
    all.sort_unstable();
    Ok((sessions, Sample(all)))
}
