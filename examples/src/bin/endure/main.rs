//! The main promises at full size: release programs, real servers, thousands of clients, gigabytes.
//!
//! `cargo run --release -p examples --bin endure -- --program target/release/pgweir` prints one
//! line per measurement and promise, and ends with status 1 if a promise is broken. The parts are
//! independent; `--only crowd` runs one of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use testbed::{Cluster, Mode};

mod chaos;
mod crowd;
mod outage;
mod pgbench;
mod report;
mod stream;

use report::{Report, Trial};

/// Runs pgweir hard and reports which promises it kept.
#[derive(Parser)]
struct Arguments {
    /// The proxy to test; by default the `pgweir` beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Run this part alone.
    #[arg(long)]
    only: Option<Part>,
    /// Length of each pgbench run, and of each round of chaos.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

/// What can be tested by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// pgbench in every protocol and mode.
    Pgbench,
    /// 2,000 clients on 20 servers.
    Crowd,
    /// Clients that vanish, servers that are killed, cancel requests.
    Chaos,
    /// Gigabytes in both directions, and a reader that stops.
    Stream,
    /// Servers that are stopped and started.
    Outage,
}

/// What every part is given.
struct Bench {
    program: PathBuf,
    seconds: u32,
    cluster: Cluster,
}

/// Name of a mode in the report.
fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Session => "session",
        Mode::Transaction => "transaction",
    }
}

fn program(arguments: &Arguments) -> Result<PathBuf, String> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .map_err(|e| e.to_string())?
            .parent()
            .ok_or("this program has no folder")?
            .join("pgweir"),
    };
    // The proxy is started in a folder of its own.
    program.canonicalize().map_err(|e| format!("{}: {e}", program.display()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bench = program(&arguments).and_then(|program| {
        println!("endure: {}", program.display());
        let cluster = Cluster::create().map_err(|e| e.to_string())?;
        Ok(Arc::new(Bench { program, seconds: arguments.seconds, cluster }))
    });
    let bench = match bench {
        Ok(bench) => bench,
        Err(e) => {
            eprintln!("endure: {e}");
            return ExitCode::FAILURE;
        }
    };
    let seconds = u64::from(arguments.seconds);
    // What only tells a hang from work: far beyond what any trial needs.
    let slack = Duration::from_secs(300);
    let runs = |count: u64| slack + Duration::from_secs(2 * count * seconds);
    let trials: [Trial<Bench>; 8] = [
        Trial::new(Part::Pgbench, "session", runs(6), |b, r| pgbench::run(b, r, Mode::Session)),
        Trial::new(Part::Pgbench, "transaction", runs(4), |b, r| {
            pgbench::run(b, r, Mode::Transaction);
        }),
        Trial::new(Part::Crowd, "transaction", slack, crowd::run),
        Trial::new(Part::Chaos, "transaction", runs(1), |b, r| {
            chaos::run(b, r, Mode::Transaction);
        }),
        Trial::new(Part::Chaos, "session", runs(1), |b, r| chaos::run(b, r, Mode::Session)),
        Trial::new(Part::Stream, "transaction", slack, stream::run),
        Trial::new(Part::Outage, "transaction", slack, |b, r| outage::run(b, r, Mode::Transaction)),
        Trial::new(Part::Outage, "session", slack, |b, r| outage::run(b, r, Mode::Session)),
    ];
    let mut report = Report::default();
    for trial in trials {
        if arguments.only.is_none_or(|only| only == trial.part) {
            trial.run(&bench, &mut report);
        }
    }
    drop(bench);
    if report.summary() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
