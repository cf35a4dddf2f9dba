//! The main job, shown: one port in front of a primary and a standby, many clients on few
//! server connections, writes to the primary and reads to both.
//!
//! `cargo run --release -p examples --bin demo` leaves everything running for `psql` until
//! Ctrl-C; with `-- --once` it ends by itself.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use testbed::cluster::APP;
use testbed::{Cluster, Config, Mode, Node, Proxy, RawClient};

const CLIENTS: usize = 24;
const POOL_SIZE: u32 = 4;
const INSERT: &str = "INSERT INTO visits DEFAULT VALUES";
const READ: &str = "SELECT count(*) FROM visits";
const LOCKING_READ: &str = "SELECT id FROM visits WHERE id = 1 FOR UPDATE";
const READ_AFTER_WRITE: &str = "SELECT max(id) FROM visits";

/// Starts PostgreSQL and pgweir, and shows which server answers what.
#[derive(Parser)]
struct Arguments {
    /// End after the demonstration instead of waiting for Ctrl-C.
    #[arg(long)]
    once: bool,
    /// The proxy to start; by default the `pgweir` beside this program, built if need be.
    #[arg(long)]
    program: Option<PathBuf>,
}

fn main() -> ExitCode {
    match demonstrate(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("demo: {e}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => beside_this_program()?,
    };
    println!("Starting a primary and a streaming standby ...");
    let cluster = Cluster::create()?;
    let database = cluster.create_database_with(
        "CREATE TABLE visits (id serial PRIMARY KEY, at timestamptz DEFAULT now())",
    );
    cluster.log_statements(&database);
    println!("  primary on port {}", cluster.port(Node::Primary));
    println!("  standby on port {}", cluster.port(Node::Standby));

    let config = Config::new(Mode::Transaction).pool_size(POOL_SIZE);
    let proxy = Proxy::start(&program, &cluster, &config)?;
    println!("  {} on port {}\n", program.display(), proxy.port());

    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect(&database)).collect();
    work(&mut clients);
    let open = Node::ALL.map(|node| {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
        cluster.value(node, "postgres", &sql)
    });
    drop(clients);
    let answered = answered(&cluster, &database);
    println!("{:<50} {:>8} {:>8}", "statement", "primary", "standby");
    for (statement, [primary, standby]) in &answered {
        println!("{statement:<50} {primary:>8} {standby:>8}");
    }
    println!(
        "\n{CLIENTS} clients shared {} connections to the primary and {} to the standby.",
        open[0], open[1]
    );
    check(&answered)?;

    if !arguments.once {
        println!("\nTry it:  psql -h 127.0.0.1 -p {} -U {APP} {database}", proxy.port());
        println!("Log:     {}", proxy.log_path().display());
        println!("Ctrl-C stops everything and removes it.");
        loop {
            // However this process ends, the guards of the testbed tidy up.
            std::thread::park();
        }
    }
    Ok(())
}

/// All clients are connected at the same time and take turns.
fn work(clients: &mut [RawClient]) {
    for client in &mut *clients {
        client.query(INSERT).ok();
    }
    for _ in 0..5 {
        for client in &mut *clients {
            client.query(READ).ok();
        }
    }
    for client in &mut *clients {
        client.query(LOCKING_READ).ok();
    }
    for client in clients.iter_mut().take(5) {
        for sql in ["BEGIN", INSERT, READ_AFTER_WRITE, "COMMIT"] {
            client.query(sql).ok();
        }
    }
}

/// How often each statement ran on primary and standby, from their own logs.
fn answered(cluster: &Cluster, database: &str) -> BTreeMap<String, [usize; 2]> {
    let mut counts: BTreeMap<String, [usize; 2]> =
        [INSERT, READ, LOCKING_READ, READ_AFTER_WRITE].map(|sql| (sql.to_owned(), [0; 2])).into();
    for (index, node) in Node::ALL.into_iter().enumerate() {
        for statement in cluster.statements(node, database) {
            if let Some(count) = counts.get_mut(&statement) {
                count[index] += 1;
            }
        }
    }
    counts
}

/// The demonstration fails loudly when the proxy did not do its job.
fn check(answered: &BTreeMap<String, [usize; 2]>) -> Result<(), String> {
    for sql in [INSERT, LOCKING_READ, READ_AFTER_WRITE] {
        let [primary, standby] = answered[sql];
        if primary == 0 || standby > 0 {
            return Err(format!("{sql} must run on the primary alone"));
        }
    }
    let [primary, standby] = answered[READ];
    if primary + standby != 5 * CLIENTS || standby == 0 {
        return Err(format!("{READ} must run {} times, on the standby too", 5 * CLIENTS));
    }
    Ok(())
}

/// `pgweir` in the folder of this program; built with the same profile when it is not there.
fn beside_this_program() -> Result<PathBuf, Box<dyn Error>> {
    let ours = std::env::current_exe()?;
    let folder = ours.parent().ok_or("this program has no folder")?;
    let program = folder.join("pgweir");
    if program.exists() {
        return Ok(program);
    }
    println!("Building pgweir ...");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "-p", "runtime-tokio"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if let Some(target) = folder.parent() {
        build.arg("--target-dir").arg(target);
    }
    if folder.file_name() == Some("release".as_ref()) {
        build.arg("--release");
    }
    if !build.status()?.success() || !Path::exists(&program) {
        return Err(format!("cannot build {}", program.display()).into());
    }
    Ok(program)
}
