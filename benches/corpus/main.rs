//! `corpus`: how well routing does on the SQL of PostgreSQL's own regression suite.
//!
//! Two measurements, both with a real primary and a real hot standby:
//!
//! - **Oracle** (default): every statement that `psql` sends goes to the primary, and those that
//!   may be reads are tried on the standby first, in the same state of catalogue and session. What
//!   the classifier says is compared with what the servers did.
//! - **`--through-proxy`**: the whole schedule is run directly on a primary and again through the
//!   proxy, and the outputs of each test are compared.
//!
//! The suite is not part of this repository. `--sources` is `src/test/regress` of a source tree of
//! the installed version of PostgreSQL (in Debian: `apt-get source postgresql-15`); the servers'
//! account must be able to read it. `--libraries` is a folder with `regress.so` (built from
//! `regress.c` there with the headers of `postgresql-server-dev-15`), `autoinc.so` and `refint.so`
//! (both in the server's library folder); without it, tests that need them fail alike everywhere.
//!
//! `cargo run --release -p benches --bin corpus -- --sources DIR --libraries DIR`

#![deny(missing_docs)]

mod baselines;
mod catalogue;
mod oracle;
mod report;
mod suite;
mod through;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Measures routing on PostgreSQL's regression suite.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// `src/test/regress` of PostgreSQL's sources.
    #[arg(long)]
    sources: PathBuf,
    /// Folder with `regress.so`, `autoinc.so` and `refint.so`.
    #[arg(long)]
    libraries: Option<PathBuf>,
    /// Runs the suite directly and through the proxy, and compares the outputs.
    #[arg(long)]
    through_proxy: bool,
    /// The proxy program for `--through-proxy`; otherwise `pgweir` beside this program.
    #[arg(long)]
    pgweir: Option<PathBuf>,
    /// The proxy pools by transaction instead of by session.
    #[arg(long)]
    transaction_mode: bool,
    /// Further lines of pgpool.conf for `--through-proxy`.
    #[arg(long)]
    line: Vec<String>,
    /// Commits do not wait until the standby has replayed them.
    #[arg(long)]
    lagging: bool,
    /// Runs only these tests (and `test_setup`).
    #[arg(long, value_delimiter = ',')]
    tests: Vec<String>,
    /// Folder for the outputs of the tests and the list of all statements.
    #[arg(long)]
    keep: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = if options.through_proxy { through::run(&options) } else { oracle::run(&options) };
    match result {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("corpus: {text}");
            ExitCode::FAILURE
        }
    }
}
