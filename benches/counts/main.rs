//! `counts`: what one transaction of `pgbench -S` costs a proxy, in system calls and in user-space
//! instructions, for pgweir beside PgBouncer.
//!
//! Both figures are differences of a long and a short life of the proxy over the difference of
//! their transactions, so that start-up, logins and shutdown cancel. Neither depends on how busy
//! the machine is, but for events that happen to be found together.
//!
//! `cargo build --release && cargo run --release -p benches --bin counts -- --help`

#![deny(missing_docs)]

mod life;
mod table;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use testbed::{Cluster, Node};

use crate::life::{Life, Tool};

/// Prints system calls and user-space instructions per `pgbench -S` transaction.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What is counted.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Tool::Syscalls, Tool::Instructions])]
    tools: Vec<Tool>,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Target::ALL)]
    targets: Vec<Target>,
    /// Query protocols of pgbench.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Protocol::ALL)]
    protocols: Vec<Protocol>,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    clients: Vec<u32>,
    /// Server connections that a pool may hold (of each node).
    #[arg(long, default_value_t = 20)]
    servers: u32,
    /// Transactions of the short life.
    #[arg(long, default_value_t = 960)]
    short: u32,
    /// Transactions of the long life.
    #[arg(long, default_value_t = 4_800)]
    long: u32,
    /// The program `pgweir`; otherwise the one beside this program.
    #[arg(long)]
    pgweir: Option<PathBuf>,
    /// The program `pgbouncer`.
    #[arg(long, default_value = "pgbouncer")]
    pgbouncer: PathBuf,
    /// Folder that the tools' own reports of the long lives are copied to.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// A proxy in one way of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// PgBouncer, transaction pooling (the base of the ratios).
    Pgbouncer,
    /// PgBouncer, session pooling.
    PgbouncerSession,
    /// pgweir, session pooling, reads on primary and standby.
    Session,
    /// pgweir, transaction pooling, reads on primary and standby.
    Split,
    /// pgweir, transaction pooling, everything on the primary.
    Primary,
}

impl Target {
    const ALL: [Self; 5] =
        [Self::Pgbouncer, Self::PgbouncerSession, Self::Session, Self::Split, Self::Primary];

    pub(crate) fn is_pgbouncer(self) -> bool {
        matches!(self, Self::Pgbouncer | Self::PgbouncerSession)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pgbouncer => "PgBouncer, transaction",
            Self::PgbouncerSession => "PgBouncer, session",
            Self::Session => "pgweir, session, split",
            Self::Split => "pgweir, transaction, split",
            Self::Primary => "pgweir, transaction, primary only",
        }
    }
}

/// A query protocol of pgbench (its option `-M`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Query messages.
    Simple,
    /// Unnamed statements.
    Extended,
    /// Named statements, prepared once.
    Prepared,
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Simple, Self::Extended, Self::Prepared];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

/// One number of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) tool: Tool,
    pub(crate) target: Target,
    pub(crate) protocol: Protocol,
    pub(crate) clients: u32,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("counts: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    if options.short >= options.long {
        return Err("--long must be more than --short".to_owned());
    }
    let pgweir = match &options.pgweir {
        // Lives start in folders of their own.
        Some(path) => std::path::absolute(path).map_err(|e| e.to_string())?,
        None => std::env::current_exe().map_err(|e| e.to_string())?.with_file_name("pgweir"),
    };
    let mut versions = Vec::new();
    for (program, needed) in [
        (&pgweir, options.targets.iter().any(|target| !target.is_pgbouncer())),
        (&options.pgbouncer, options.targets.iter().any(|target| target.is_pgbouncer())),
        (&"strace".into(), options.tools.contains(&Tool::Syscalls)),
        (&"valgrind".into(), options.tools.contains(&Tool::Instructions)),
    ] {
        if needed {
            versions.push(version(program)?);
        }
    }
    let cluster = Cluster::create().map_err(|e| e.to_string())?;
    versions.push(cluster.value(Node::Primary, "postgres", "SELECT 'PostgreSQL ' || version()"));
    let database = cluster.create_database();
    fill(&cluster, &database)?;

    let life = Life { cluster: &cluster, database: &database, pgweir: &pgweir, options };
    let mut counts = Vec::new();
    for &tool in &options.tools {
        for &protocol in &options.protocols {
            for &clients in &options.clients {
                for &target in &options.targets {
                    let cell = Cell { tool, target, protocol, clients };
                    let count = life.difference(cell, options.keep.as_deref());
                    match &count {
                        Ok(Some(count)) => eprintln!("{cell:?}: {count:.1}"),
                        Ok(None) => {}
                        Err(error) => eprintln!("{cell:?}: {error}"),
                    }
                    counts.push((cell, count.ok().flatten()));
                }
            }
        }
    }
    print!("{}", table::render(options, &versions, &counts));
    Ok(())
}

/// The first line that a program says of itself.
fn version(program: &std::path::Path) -> Result<String, String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|e| format!("{}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Makes pgbench's tables, on both nodes.
fn fill(cluster: &Cluster, database: &str) -> Result<(), String> {
    let mut pgbench = cluster.installation().client("pgbench");
    pgbench.args(["-h", "127.0.0.1", "-U", testbed::cluster::APP, "-i", "-q"]);
    pgbench.arg("-p").arg(cluster.port(Node::Primary).to_string()).arg(database);
    let output = pgbench.output().map_err(|e| format!("pgbench: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    cluster.sql(Node::Primary, database, "VACUUM ANALYZE pgbench_accounts");
    cluster.wait_replayed();
    Ok(())
}
