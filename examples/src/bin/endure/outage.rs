//! Servers that go and come back while clients keep asking.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testbed::cluster::wait_for;
use testbed::raw_client::Fault;
use testbed::{Cluster, Config, Mode, Node, Proxy, RawClient, Shutdown};

use crate::Bench;
use crate::report::{Lines, lock, milliseconds};

const CLIENTS: usize = 16;
/// `connect_timeout` of the proxy.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the clients are to expect just now.
const CALM: usize = 0;
/// Statements that run while a server goes may be told so.
const GOING: usize = 1;
const OVER: usize = 2;

#[derive(Default)]
struct Readers {
    phase: AtomicUsize,
    answers: AtomicU64,
    /// Errors that came to statements begun while all was calm.
    errors: Mutex<Vec<String>>,
    excused: AtomicU64,
    wrong: AtomicU64,
}

pub(crate) fn run(bench: &Bench, lines: &Lines, mode: Mode) {
    // Its servers are stopped: the other parts keep theirs.
    let cluster = Cluster::create().unwrap_or_else(|e| panic!("{e}"));
    let database = cluster.create_database_with("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    cluster.checkpoint();
    let config = Config::new(mode)
        .pool_size(u32::try_from(CLIENTS).unwrap_or(16) + 4)
        .weights(0, 1)
        .line("connect_timeout = 2s")
        .line("weir_server_retry_initial = 50ms")
        .line("weir_server_retry_max = 500ms");
    let proxy = Proxy::start(&bench.program, &cluster, &config).unwrap_or_else(|e| panic!("{e}"));
    let pid = proxy.pid();
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        standby_goes(&cluster, lines, &proxy, &database, how, mode);
        primary_goes(&cluster, lines, &proxy, &database, how);
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let alive = proxy.pid() == pid
        && !status.is_empty()
        && !status.contains("State:\tZ")
        && TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).is_ok();
    lines.promise("the same proxy process served throughout", alive, format!("pid {pid}"));
}

/// A read that leaves its nonce in pg_stat_activity of the server that answered.
fn read(client: &mut RawClient, nonce: &str) -> Result<String, Fault> {
    let reply = client.query(&format!("SELECT '{nonce}' FROM t"));
    match reply.errors.first() {
        Some(fault) => Err(fault.clone()),
        None if reply.status == 0 => {
            Err(Fault { message: "closed".to_owned(), ..Fault::default() })
        }
        None => Ok(reply.rows.into_iter().flatten().flatten().collect()),
    }
}

fn reader(proxy: &Proxy, database: &str, number: usize, mode: Mode, readers: &Readers) {
    let mut connection: Option<RawClient> = None;
    let mut round = 0_u64;
    loop {
        let before = readers.phase.load(Ordering::SeqCst);
        if before == OVER {
            break;
        }
        round += 1;
        let nonce = format!("r{number}-{round}");
        let result = match connection.take() {
            Some(client) => Ok(client),
            None => proxy.try_connect(database),
        };
        let result = result.and_then(|mut client| {
            let answer = read(&mut client, &nonce)?;
            // A session keeps its server; new ones are what the promise is about.
            if mode == Mode::Session {
                client.close();
            } else {
                connection = Some(client);
            }
            Ok(answer)
        });
        match result {
            Ok(answer) => {
                readers.answers.fetch_add(1, Ordering::Relaxed);
                if answer != nonce {
                    readers.wrong.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(fault) => {
                if before == GOING || readers.phase.load(Ordering::SeqCst) == GOING {
                    readers.excused.fetch_add(1, Ordering::Relaxed);
                    if !(fault.is_outage() || fault.code.is_empty()) {
                        lock(&readers.errors).push(format!("{nonce}: {fault:?}"));
                    }
                } else {
                    lock(&readers.errors).push(format!("{nonce}: {fault:?}"));
                }
            }
        }
    }
}

fn standby_goes(
    cluster: &Cluster,
    lines: &Lines,
    proxy: &Proxy,
    database: &str,
    how: Shutdown,
    mode: Mode,
) {
    let readers = Readers::default();
    let calm = Duration::from_secs(2);
    let mut returned = Duration::ZERO;
    std::thread::scope(|scope| {
        let readers = &readers;
        for number in 0..CLIENTS {
            scope.spawn(move || reader(proxy, database, number, mode, readers));
        }
        // Also when something below panics, or the clients would go on for ever.
        let _over = Over(readers);
        std::thread::sleep(calm);
        readers.phase.store(GOING, Ordering::SeqCst);
        cluster.stop(Node::Standby, how);
        readers.phase.store(CALM, Ordering::SeqCst);
        std::thread::sleep(calm);
        cluster.start(Node::Standby);
        let started = Instant::now();
        let mut watcher = cluster.connect(Node::Standby, "postgres", "postgres");
        let sql = format!(
            "SELECT count(*) > 0 FROM pg_stat_activity \
             WHERE datname = '{database}' AND query LIKE 'SELECT ''r%'"
        );
        wait_for("the standby gets reads again", || watcher.query(&sql).value() == "t");
        returned = started.elapsed();
        std::thread::sleep(calm);
    });
    let errors = lock(&readers.errors);
    let answers = readers.answers.load(Ordering::Relaxed);
    let excused = readers.excused.load(Ordering::Relaxed);
    let wrong = readers.wrong.load(Ordering::Relaxed);
    lines.promise(
        &format!("standby stopped ({how:?}) and back: new reads have no error"),
        errors.is_empty() && wrong == 0 && answers > 0,
        format!(
            "{answers} answers, {wrong} wrong, {excused} told while it went, {} errors {:?}",
            errors.len(),
            errors.first()
        ),
    );
    lines.promise(
        &format!("standby back ({how:?}): reads return to it"),
        true,
        format!("after {}", milliseconds(returned)),
    );
}

struct Over<'a>(&'a Readers);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.phase.store(OVER, Ordering::SeqCst);
    }
}

fn write(proxy: &Proxy, database: &str) -> Result<(), Fault> {
    let mut client = proxy.try_connect(database)?;
    let reply = client.query("UPDATE t SET a = a RETURNING a");
    match reply.errors.first() {
        Some(fault) => Err(fault.clone()),
        None if reply.rows.is_empty() => {
            Err(Fault { message: "no answer".to_owned(), ..Fault::default() })
        }
        None => Ok(()),
    }
}

fn primary_goes(cluster: &Cluster, lines: &Lines, proxy: &Proxy, database: &str, how: Shutdown) {
    const TRIES: u32 = 20;
    if let Err(fault) = write(proxy, database) {
        lines.promise("writes before the outage", false, format!("{fault:?}"));
    }
    cluster.stop(Node::Primary, how);
    let mut slowest = Duration::ZERO;
    let mut codes: Vec<String> = Vec::new();
    let mut honest = true;
    for _ in 0..TRIES {
        let start = Instant::now();
        match write(proxy, database) {
            Ok(()) => {
                honest = false;
                codes.push("answered".to_owned());
            }
            Err(fault) => {
                honest &= fault.is_outage();
                codes.push(fault.code);
            }
        }
        slowest = slowest.max(start.elapsed());
    }
    codes.sort();
    codes.dedup();
    lines.promise(
        &format!("primary stopped ({how:?}): writes get SQLSTATE 08 or 57"),
        honest,
        format!("{codes:?}"),
    );
    lines.promise(
        &format!("primary stopped ({how:?}): within connect_timeout"),
        slowest < CONNECT_TIMEOUT,
        format!("slowest of {TRIES}: {}", milliseconds(slowest)),
    );
    let reads = proxy.try_connect(database).and_then(|mut client| read(&mut client, "alone"));
    lines.note(
        "reads meanwhile",
        match reads {
            Ok(_) => "answered by the standby".to_owned(),
            Err(fault) => format!("{} {}", fault.code, fault.message),
        },
    );
    cluster.start(Node::Primary);
    let started = Instant::now();
    let mut told = Vec::new();
    wait_for("writes succeed again", || match write(proxy, database) {
        Ok(()) => true,
        Err(fault) => {
            told.push(fault);
            false
        }
    });
    let took = started.elapsed();
    let again = (0..20).filter_map(|_| write(proxy, database).err()).collect::<Vec<_>>();
    lines.promise(
        &format!("primary back ({how:?}): writes again, without a restart"),
        again.is_empty() && told.iter().all(Fault::is_outage),
        format!("after {}, then 20 in a row", milliseconds(took)),
    );
    // The next part of the trial stops the standby: it must have all that the primary has.
    cluster.wait_replayed();
    cluster.checkpoint();
}
