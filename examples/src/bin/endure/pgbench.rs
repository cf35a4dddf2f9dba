//! `pgbench` in every protocol: no error, equal sums, reads on both nodes, writes on the primary.

use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use testbed::{Cluster, Config, Mode, Node, Proxy};

use crate::report::Lines;
use crate::{Bench, mode_name};

const CLIENTS: &str = "16";
const SCALE: &str = "10";

/// Fewer servers than clients where clients share them.
fn servers(mode: Mode) -> u32 {
    match mode {
        Mode::Session => 16,
        Mode::Transaction => 8,
    }
}

pub(crate) fn run(bench: &Bench, lines: &Lines, mode: Mode) {
    let cluster = &bench.cluster;
    let database = cluster.create_database();
    let config = Config::new(mode).pool_size(servers(mode));
    let proxy = Proxy::start(&bench.program, cluster, &config).unwrap_or_else(|e| panic!("{e}"));
    let (out, good) = pgbench(&proxy, &database, &["-i", "-q", "-s", SCALE]);
    lines.promise("pgbench -i -s 10", good, if good { "initialised" } else { &out });
    cluster.wait_replayed();
    let protocols: &[&str] = match mode {
        Mode::Session => &["simple", "extended", "prepared"],
        Mode::Transaction => &["simple", "extended"],
    };
    let log = LogMark::new(cluster, Node::Standby);
    let mut written = 0;
    for protocol in protocols {
        for reads in [false, true] {
            written += one_run(bench, lines, &proxy, &database, protocol, reads);
        }
    }
    check_sums(cluster, lines, &database, written);
    let refused = log.lines_with("read-only transaction");
    lines.promise(
        "no write was tried on the standby (its log)",
        refused.is_empty(),
        refused.first().map_or("none", String::as_str),
    );
    lines.note(
        &format!("peak memory of the proxy, {} mode", mode_name(mode)),
        format!("{:.1} MB", megabytes(proxy.peak_memory())),
    );
}

/// Returns the number of transactions that wrote.
fn one_run(
    bench: &Bench,
    lines: &Lines,
    proxy: &Proxy,
    database: &str,
    protocol: &str,
    reads: bool,
) -> u64 {
    let seconds = bench.seconds.to_string();
    // Without -n the history would be emptied, and the sums with it.
    let mut options = vec!["-n", "-c", CLIENTS, "-j", "2", "-T", &seconds, "-M", protocol];
    if reads {
        options.push("-S");
    }
    let before = transactions(&bench.cluster, database);
    let (out, good) = pgbench(proxy, database, &options);
    let field = |name: &str| {
        let rest = out.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim_start_matches([':', '=', ' ']).split_whitespace().next()
    };
    let number = |name: &str| field(name).and_then(|n| n.parse::<u64>().ok());
    let processed = number("number of transactions actually processed").unwrap_or(0);
    let failed = number("number of failed transactions");
    let clean = good
        && processed > 0
        && failed == Some(0)
        && !["abort", "error", "ERROR", "FATAL"].iter().any(|word| out.contains(word));
    let script = if reads { "-S" } else { "TPC-B" };
    let what = format!("{script} {protocol}: nothing failed");
    if clean {
        let tps = field("tps").unwrap_or("?");
        let latency = field("latency average").unwrap_or("?");
        lines.promise(&what, true, format!("{processed} done, {tps} tps, {latency} ms"));
    } else {
        lines.promise(&what, false, &out);
    }
    let grew = growth(&bench.cluster, database, before, processed);
    let shares = format!("primary {}, standby {}", grew[0], grew[1]);
    if reads {
        let least = processed / 10;
        let both = grew[0] > least && grew[1] > least;
        lines.promise(&format!("{script} {protocol}: both nodes answered"), both, shares);
        0
    } else {
        // What it reads inside its transactions belongs there too; a few are the watcher's own.
        let few = 50;
        let primary = grew[0] >= processed && grew[1] <= few;
        lines.promise(&format!("{script} {protocol}: on the primary alone"), primary, shares);
        processed
    }
}

/// Output of a run, and whether its status was 0.
fn pgbench(proxy: &Proxy, database: &str, options: &[&str]) -> (String, bool) {
    let mut command = proxy.client_program("pgbench");
    command.args(options).arg(database);
    match command.output() {
        Ok(output) => {
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            (format!("{stdout}{stderr}"), output.status.success())
        }
        Err(e) => (e.to_string(), false),
    }
}

/// Committed transactions of a database on both nodes, as far as the servers have reported them.
fn transactions(cluster: &Cluster, database: &str) -> [u64; 2] {
    Node::ALL.map(|node| {
        let sql = format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'");
        cluster.value(node, "postgres", &sql).parse().unwrap_or(0)
    })
}

/// What was added on both nodes, once all of a run has been reported: a session does so at most
/// once a second, and a last time when it has been idle for ten.
fn growth(cluster: &Cluster, database: &str, before: [u64; 2], run: u64) -> [u64; 2] {
    const PATIENCE: Duration = Duration::from_secs(20);
    let start = Instant::now();
    loop {
        let after = transactions(cluster, database);
        let grew = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];
        if grew[0] + grew[1] >= run || start.elapsed() > PATIENCE {
            return grew;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn check_sums(cluster: &Cluster, lines: &Lines, database: &str, transactions: u64) {
    let rows = cluster.sql(
        Node::Primary,
        database,
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts),
                (SELECT sum(bbalance) FROM pgbench_branches),
                (SELECT sum(tbalance) FROM pgbench_tellers),
                sum(delta), count(*) FROM pgbench_history",
    );
    let row: Vec<String> =
        rows.into_iter().flatten().map(|value| value.unwrap_or_default()).collect();
    let equal = row.len() == 5 && row[1..4].iter().all(|sum| *sum == row[0]);
    lines.promise("the four sums are equal", equal, row.get(..4).unwrap_or_default().join(", "));
    let counted = row.get(4).and_then(|count| count.parse::<u64>().ok());
    // pgbench does not count what it ends in the middle when its time is over.
    let most = transactions + 3 * 16;
    lines.promise(
        "history holds what pgbench counted",
        counted.is_some_and(|n| (transactions..=most).contains(&n)),
        format!("{} rows, {transactions} transactions", counted.unwrap_or(0)),
    );
}

/// A place in a server's log.
pub(crate) struct LogMark {
    path: std::path::PathBuf,
    at: u64,
}

impl LogMark {
    /// The present end.
    pub(crate) fn new(cluster: &Cluster, node: Node) -> Self {
        let path = cluster.log_path(node);
        let at = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        Self { path, at }
    }

    /// Later lines that hold `text`.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let mut log = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.path)
            && file.seek(SeekFrom::Start(self.at)).is_ok()
            && let Err(e) = file.read_to_end(&mut log)
        {
            panic!("{}: {e}", self.path.display());
        }
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

/// Of 10^6 bytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
