//! Two thousand clients on twenty server connections; each gets its own answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testbed::{Config, Mode, Node, Proxy, drivers};
use tokio::sync::Barrier;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::Bench;
use crate::pgbench::megabytes;
use crate::report::{Lines, milliseconds};

const CLIENTS: u32 = 2_000;
const SERVERS: u32 = 20;
const EXCHANGES: u32 = 20;

/// What one client saw.
#[derive(Default)]
struct Seen {
    login: Duration,
    waits: Vec<Duration>,
    written: u64,
    wrong: Vec<String>,
    errors: Vec<String>,
}

pub(crate) fn run(bench: &Bench, lines: &Lines) {
    let cluster = &bench.cluster;
    let database = cluster.create_database_with(
        "CREATE TABLE t (client int, n int, note text, PRIMARY KEY (client, n))",
    );
    let config =
        Config::new(Mode::Transaction).pool_size(SERVERS).clients(CLIENTS + 100).wait_timeout(120);
    let proxy = Proxy::start(&bench.program, cluster, &config).unwrap_or_else(|e| panic!("{e}"));

    let done = AtomicBool::new(false);
    let (most, seen, took) = std::thread::scope(|scope| {
        let samplers = Node::ALL.map(|node| {
            let (database, done) = (&database, &done);
            scope.spawn(move || {
                let sql =
                    format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
                let mut watcher = cluster.connect(node, "postgres", "postgres");
                let mut most = 0;
                while !done.load(Ordering::Relaxed) {
                    most = most.max(watcher.query(&sql).value().parse::<u32>().unwrap_or(u32::MAX));
                    std::thread::sleep(Duration::from_millis(20));
                }
                most
            })
        });
        let crowd = scope.spawn(|| drivers::block_on(all_at_once(&proxy, &database)));
        let crowd = crowd.join();
        done.store(true, Ordering::Relaxed);
        let most = samplers.map(|sampler| sampler.join().unwrap_or(u32::MAX));
        let (seen, took) = crowd.unwrap_or_else(|_| panic!("the crowd panicked"));
        (most, seen, took)
    });

    let answered: usize = seen.iter().map(|one| one.waits.len()).sum();
    let expected = usize::try_from(CLIENTS * EXCHANGES).unwrap_or(usize::MAX);
    let errors: Vec<&String> = seen.iter().flat_map(|one| &one.errors).collect();
    let wrong: Vec<&String> = seen.iter().flat_map(|one| &one.wrong).collect();
    lines.promise(
        "all clients got all answers",
        answered == expected && errors.is_empty(),
        format!("{answered}/{expected}, {} errors {:?}", errors.len(), errors.first()),
    );
    lines.promise(
        "every answer carried the client's own nonce",
        wrong.is_empty(),
        format!("{} wrong {:?}", wrong.len(), wrong.first()),
    );
    lines.promise(
        "never more than 20 server connections per node",
        most.iter().all(|most| (1..=SERVERS).contains(most)),
        format!("at most {} and {}", most[0], most[1]),
    );
    let written: u64 = seen.iter().map(|one| one.written).sum();
    let rows = cluster.value(Node::Primary, &database, "SELECT count(*) FROM t");
    lines.promise(
        "every write is there once",
        rows == written.to_string(),
        format!("{rows} rows, {written} writes answered"),
    );
    let mut waits: Vec<Duration> = seen.iter().flat_map(|one| one.waits.clone()).collect();
    waits.sort();
    let at = |share: usize| waits.get(waits.len() * share / 1000).copied().unwrap_or_default();
    let logins = seen.iter().map(|one| one.login).max().unwrap_or_default();
    lines.note("slowest login of 2,000 at once", milliseconds(logins));
    let rate = answered as f64 / took.as_secs_f64();
    lines.note("throughput", format!("{rate:.0} exchanges/s in {:.1} s", took.as_secs_f64()));
    lines.note(
        "waits: median, 99 %, longest",
        format!(
            "{}, {}, {}",
            milliseconds(at(500)),
            milliseconds(at(990)),
            milliseconds(waits.last().copied().unwrap_or_default())
        ),
    );
    lines.note(
        "peak memory of the proxy with 2,000 clients",
        format!("{:.1} MB", megabytes(proxy.peak_memory())),
    );
}

/// Logs everybody in at the same time, then has everybody talk at the same time.
async fn all_at_once(proxy: &Proxy, database: &str) -> (Vec<Seen>, Duration) {
    let everybody = usize::try_from(CLIENTS).unwrap_or(usize::MAX);
    let ready = Arc::new(Barrier::new(everybody + 1));
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(proxy.port()).user("app").dbname(database);
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (config, ready) = (config.clone(), Arc::clone(&ready));
            tokio::spawn(async move {
                let mut seen = Seen::default();
                let start = Instant::now();
                let client = config.connect(tokio_postgres::NoTls).await;
                seen.login = start.elapsed();
                ready.wait().await;
                match client {
                    Ok((client, connection)) => {
                        tokio::spawn(connection);
                        talk(&client, number, &mut seen).await;
                    }
                    Err(e) => seen.errors.push(format!("login: {e:?}")),
                }
                seen
            })
        })
        .collect();
    ready.wait().await;
    let start = Instant::now();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap_or_else(|e| panic!("{e}")));
    }
    (all, start.elapsed())
}

async fn talk(client: &Client, number: u32, seen: &mut Seen) {
    for n in 0..EXCHANGES {
        let nonce = format!("c{number}-{n}");
        let start = Instant::now();
        match exchange(client, number, n, &nonce).await {
            Ok(answers) => {
                seen.waits.push(start.elapsed());
                if n % 4 >= 2 {
                    seen.written += 1;
                }
                if answers.is_empty() || answers.iter().any(|answer| *answer != nonce) {
                    seen.wrong.push(format!("{nonce} got {answers:?}"));
                }
            }
            Err(e) => seen.errors.push(format!("{nonce}: {e:?}")),
        }
    }
}

/// Simple and extended reads, single writes, and transactions that read what they wrote.
async fn exchange(
    client: &Client,
    number: u32,
    n: u32,
    nonce: &str,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let insert = format!("INSERT INTO t VALUES ({number}, {n}, '{nonce}') RETURNING note");
    match n % 4 {
        0 => {
            let sql = format!("SELECT '{nonce}' FROM generate_series(1, 20)");
            Ok(texts(&client.simple_query(&sql).await?))
        }
        1 => {
            let rows = client.query_typed("SELECT $1", &[(&nonce, Type::TEXT)]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        }
        2 => Ok(texts(&client.simple_query(&insert).await?)),
        _ => {
            client.simple_query("BEGIN").await?;
            let mut answers = texts(&client.simple_query(&insert).await?);
            let own = format!("SELECT note FROM t WHERE client = {number} AND n = {n}");
            answers.extend(texts(&client.simple_query(&own).await?));
            client.simple_query("COMMIT").await?;
            // Both the insert and the read must have answered.
            if answers.len() != 2 {
                answers.push(String::new());
            }
            Ok(answers)
        }
    }
}

fn texts(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let text = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.iter().filter_map(text).collect()
}
