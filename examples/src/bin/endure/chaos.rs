//! Clients that vanish at any moment, servers that are killed, cancel requests that fly about:
//! nobody gets another's answer, nothing leaks, nothing hangs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testbed::cluster::wait_for;
use testbed::raw_client::{Fault, Message};
use testbed::{Cluster, Config, Mode, Node, Proxy, RawClient, wire};

use crate::Bench;
use crate::pgbench::megabytes;
use crate::report::{Lines, lock, milliseconds};

const CLIENTS: usize = 200;
const SERVERS: u32 = 20;
/// Exchanges after which a client leaves and comes again in session mode, where others wait.
const STAY: u64 = 10;

/// What identifies one connection for cancel requests, and how many were sent for it.
struct Target {
    pid: u32,
    key: Vec<u8>,
    cancels: AtomicU64,
}

#[derive(Default)]
struct Tally {
    answers: AtomicU64,
    reconnects: AtomicU64,
    dropped: AtomicU64,
    killed: AtomicU64,
    cancels: AtomicU64,
    cancelled: AtomicU64,
    /// Broken promises in words, a few of each kind.
    wrong: Mutex<Vec<String>>,
    /// How often each SQLSTATE came.
    codes: Mutex<BTreeMap<String, u64>>,
    /// Writes whose COMMIT was answered.
    committed: Mutex<Vec<String>>,
    targets: Mutex<Vec<Option<Arc<Target>>>>,
    slowest: Mutex<Duration>,
}

/// xorshift64: trials differ from run to run anyway, because threads do.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

pub(crate) fn run(bench: &Bench, lines: &Lines, mode: Mode) {
    let cluster = &bench.cluster;
    let database = cluster.create_database_with(
        "CREATE TABLE t (note text); CREATE TABLE gone (note text); CREATE INDEX ON t (note)",
    );
    let config = Config::new(mode)
        .pool_size(SERVERS)
        .clients(500)
        .line("weir_server_retry_initial = 50ms")
        .line("weir_server_retry_max = 200ms");
    let proxy = Proxy::start(&bench.program, cluster, &config).unwrap_or_else(|e| panic!("{e}"));
    let tally = Tally { targets: Mutex::new(vec![const { None }; CLIENTS]), ..Tally::default() };
    let stop = AtomicBool::new(false);
    let panicked = std::thread::scope(|scope| {
        let (proxy, database, tally, stop) = (&proxy, &*database, &tally, &stop);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || client(proxy, database, number, mode, tally, stop)))
            .collect();
        let killer = scope.spawn(move || kill(cluster, database, tally, stop));
        let canceller = scope.spawn(move || cancel(proxy, tally, stop));
        std::thread::sleep(Duration::from_secs(u64::from(bench.seconds)));
        stop.store(true, Ordering::Relaxed);
        let all = clients.into_iter().chain([killer, canceller]);
        all.map(|thread| thread.join()).filter(Result::is_err).count()
    });
    report(lines, &tally, panicked);
    afterwards(cluster, lines, &proxy, &database, &tally);
    lines.note("peak memory of the proxy", format!("{:.1} MB", megabytes(proxy.peak_memory())));
}

fn report(lines: &Lines, tally: &Tally, panicked: usize) {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let wrong = lock(&tally.wrong);
    lines.promise("no client hung or lost the protocol", panicked == 0, format!("{panicked} did"));
    lines.promise(
        "no wrong nonce, no foreign cancel, no dishonest error",
        wrong.is_empty() && get(&tally.answers) > 0,
        format!("{} answers right; {} wrong {:?}", get(&tally.answers), wrong.len(), wrong.first()),
    );
    lines.note(
        "clients dropped, servers killed, cancel requests",
        format!("{}, {}, {}", get(&tally.dropped), get(&tally.killed), get(&tally.cancels)),
    );
    lines.note(
        "connections made, statements cancelled",
        format!("{}, {}", get(&tally.reconnects), get(&tally.cancelled)),
    );
    lines.note("errors by SQLSTATE", format!("{:?}", lock(&tally.codes)));
    lines.note("slowest exchange", milliseconds(*lock(&tally.slowest)));
}

fn client(
    proxy: &Proxy,
    database: &str,
    number: usize,
    mode: Mode,
    tally: &Tally,
    stop: &AtomicBool,
) {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (u64::try_from(number).unwrap_or(1) << 20));
    let mut connection: Option<(RawClient, Arc<Target>)> = None;
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let nonce = format!("{number}/{round}");
        let (client, target) = match connection.take() {
            Some(present) => present,
            None => match proxy.try_connect(database) {
                Ok(client) => {
                    tally.reconnects.fetch_add(1, Ordering::Relaxed);
                    let target = Arc::new(Target {
                        pid: client.pid,
                        key: client.key.clone(),
                        cancels: AtomicU64::new(0),
                    });
                    lock(&tally.targets)[number] = Some(Arc::clone(&target));
                    (client, target)
                }
                Err(fault) => {
                    // Closed without a word is what a full backlog does.
                    note_fault(tally, &fault, None, &format!("login {nonce}"));
                    continue;
                }
            },
        };
        if dice.below(12) == 0 {
            tally.dropped.fetch_add(1, Ordering::Relaxed);
            vanish(client, &nonce, &mut dice, tally, &target);
            continue;
        }
        let start = Instant::now();
        let left = exchange(client, &nonce, &mut dice, tally, &target);
        {
            let mut slowest = lock(&tally.slowest);
            *slowest = slowest.max(start.elapsed());
        }
        connection = left.map(|client| (client, target));
        if mode == Mode::Session
            && round.is_multiple_of(STAY)
            && let Some((client, _)) = connection.take()
        {
            client.close();
        }
    }
    if let Some((client, _)) = connection {
        client.close();
    }
}

/// A mistake of the proxy, in words.
fn wrong(tally: &Tally, what: String) {
    const MOST: usize = 1_000;
    let mut all = lock(&tally.wrong);
    if all.len() < MOST {
        all.push(what);
    }
}

fn note_fault(tally: &Tally, fault: &Fault, target: Option<&Target>, nonce: &str) {
    let code = if fault.code.is_empty() { "closed" } else { &fault.code };
    *lock(&tally.codes).entry(code.to_owned()).or_default() += 1;
    if fault.code == "57014" {
        tally.cancelled.fetch_add(1, Ordering::Relaxed);
        let meant = target.is_some_and(|target| target.cancels.load(Ordering::Relaxed) > 0);
        if !meant {
            wrong(tally, format!("{nonce}: cancelled, though nobody asked: {}", fault.message));
        }
    }
    // After a broken BEGIN or INSERT the rest of that transaction may be refused.
    if !(fault.code.is_empty() || fault.is_outage() || fault.code == "25P02") {
        wrong(tally, format!("{nonce}: {fault:?}"));
    }
}

fn check_row(tally: &Tally, message: &Message, nonce: &str) {
    let row = message.row();
    if row.first().is_none_or(|value| value.as_deref() != Some(nonce)) {
        wrong(tally, format!("{nonce}: got the row {row:?}"));
    }
}

/// One exchange of one of several kinds; the connection, if it can be used again.
fn exchange(
    mut client: RawClient,
    nonce: &str,
    dice: &mut Dice,
    tally: &Tally,
    target: &Target,
) -> Option<RawClient> {
    let kind = dice.below(8);
    let (bytes, replies) = match kind {
        0 => (wire::query(&format!("SELECT '{nonce}'")), 1),
        1 => ([wire::unnamed("SELECT $1", &[Some(nonce)]), wire::sync()].concat(), 1),
        2 => (wire::query(&format!("SELECT '{nonce}' FROM generate_series(1, 300)")), 1),
        3 => (wire::query(&format!("SELECT '{nonce}', pg_sleep(0.02)")), 1),
        4 => {
            let one = || [wire::unnamed("SELECT $1", &[Some(nonce)]), wire::sync()].concat();
            ([one(), one(), one()].concat(), 3)
        }
        5 => (
            wire::query(&format!("COPY (SELECT '{nonce}' FROM generate_series(1, 50)) TO STDOUT")),
            1,
        ),
        6 => {
            let write = [
                wire::query("BEGIN"),
                wire::query(&format!("INSERT INTO t VALUES ('{nonce}') RETURNING note")),
                wire::query("COMMIT"),
            ];
            (write.concat(), 3)
        }
        _ => {
            let write = format!("INSERT INTO t VALUES ('{nonce}') RETURNING note");
            ([wire::unnamed(&write, &[]), wire::sync()].concat(), 1)
        }
    };
    client.send(&bytes);
    let mut status = b'I';
    let mut faults = 0;
    let mut rows = 0;
    let mut last_command = String::new();
    let mut left = replies;
    while left > 0 {
        let Some(message) = client.next() else {
            note_fault(tally, &Fault::default(), None, nonce);
            return None;
        };
        match message.tag {
            b'D' => {
                rows += 1;
                check_row(tally, &message, nonce);
            }
            b'd' => {
                rows += 1;
                if message.body != format!("{nonce}\n").as_bytes() {
                    wrong(tally, format!("{nonce}: copied {:?}", message.body));
                }
            }
            b'E' => {
                faults += 1;
                note_fault(tally, &message.fault(), Some(target), nonce);
            }
            b'C' => last_command = message.text(),
            b'Z' => {
                left -= 1;
                status = message.body.first().copied().unwrap_or_default();
            }
            _ => {}
        }
    }
    if faults == 0 {
        let expected = [1, 1, 300, 1, 3, 50, 1, 1];
        let expected = usize::try_from(kind).ok().and_then(|kind| expected.get(kind).copied());
        if expected != Some(rows) || status != b'I' {
            wrong(tally, format!("{nonce}: kind {kind}, {rows} rows, status {status}"));
        }
        tally.answers.fetch_add(1, Ordering::Relaxed);
        let written = (kind == 6 && last_command == "COMMIT") || kind == 7;
        if written {
            lock(&tally.committed).push(nonce.to_owned());
        }
    }
    if status != b'I' {
        for fault in client.query("ROLLBACK").errors {
            note_fault(tally, &fault, Some(target), nonce);
        }
    }
    Some(client)
}

/// Leaves without a good-bye, at one of the worst moments.
fn vanish(mut client: RawClient, nonce: &str, dice: &mut Dice, tally: &Tally, target: &Target) {
    let pause = |dice: &mut Dice| std::thread::sleep(Duration::from_millis(dice.below(20)));
    let until = |client: &mut RawClient, tag: u8, times: u64| {
        let mut left = times;
        while left > 0 {
            let Some(message) = client.next() else { return false };
            match message.tag {
                b'D' => check_row(tally, &message, nonce),
                b'E' => {
                    note_fault(tally, &message.fault(), Some(target), nonce);
                    return false;
                }
                _ => {}
            }
            if message.tag == tag {
                left -= 1;
            }
        }
        true
    };
    let insert = format!("INSERT INTO gone VALUES ('{nonce}')");
    match dice.below(8) {
        0 => {
            client.send(&wire::query(&format!("SELECT '{nonce}', pg_sleep(0.1)")));
            pause(dice);
        }
        1 => {
            let sql =
                format!("SELECT '{nonce}', repeat('x', 1000) FROM generate_series(1, 100000)");
            client.send(&wire::query(&sql));
            until(&mut client, b'D', dice.below(2_000));
        }
        2 => {
            client.send(&wire::query("COPY gone FROM STDIN"));
            if until(&mut client, b'G', 1) {
                for _ in 0..dice.below(200) {
                    client.send(&wire::copy_data(&format!("{nonce}\n")));
                }
                client.send(wire::copy_data(&format!("{nonce}\n")).split_at(8).0);
                pause(dice);
            }
        }
        3 => {
            let sql = format!("COPY (SELECT '{nonce}' FROM generate_series(1, 1000000)) TO STDOUT");
            client.send(&wire::query(&sql));
            until(&mut client, b'd', dice.below(2_000));
        }
        4 => {
            let batch = [
                wire::parse("", &insert),
                wire::bind("", "", &[]),
                wire::execute("", 0),
                wire::flush(),
                wire::parse("", "SELECT 1"),
            ];
            let bytes = batch.concat();
            let cut = usize::try_from(dice.below(u64::try_from(bytes.len()).unwrap_or(1)));
            client.send(bytes.split_at(cut.unwrap_or(0)).0);
            pause(dice);
        }
        5 => {
            client.send(&[wire::query("BEGIN"), wire::query(&insert)].concat());
            if dice.below(2) == 0 {
                until(&mut client, b'Z', 2);
            }
            pause(dice);
        }
        6 => {
            client.send(wire::query(&insert).split_at(20).0);
            pause(dice);
        }
        _ => {
            // Statements that wait in the stream when it breaks off.
            let one = wire::query(&format!("SELECT '{nonce}'"));
            client.send(&one.repeat(20));
            until(&mut client, b'Z', dice.below(20));
        }
    }
}

/// Ends random servers of the proxy, about ten in a second.
fn kill(cluster: &Cluster, database: &str, tally: &Tally, stop: &AtomicBool) {
    let mut dice = Dice(0xD1B5_4A32_D192_ED03);
    let mut admins = Node::ALL.map(|node| cluster.connect(node, "postgres", "postgres"));
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
         WHERE datname = '{database}' ORDER BY random() LIMIT 1) AS victim"
    );
    while !stop.load(Ordering::Relaxed) {
        let admin = if dice.below(2) == 0 { &mut admins[0] } else { &mut admins[1] };
        let count = admin.query(&sql).value().parse::<u64>().unwrap_or(0);
        tally.killed.fetch_add(count, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(dice.below(200)));
    }
}

/// Cancels whatever random clients are doing, about fifty times in a second.
fn cancel(proxy: &Proxy, tally: &Tally, stop: &AtomicBool) {
    let mut dice = Dice(0xA076_1D64_78BD_642F);
    while !stop.load(Ordering::Relaxed) {
        let clients = u64::try_from(CLIENTS).unwrap_or(1);
        let number = usize::try_from(dice.below(clients)).unwrap_or(0);
        let target = lock(&tally.targets).get(number).cloned().flatten();
        if let Some(target) = target
            && let Ok(mut line) = RawClient::try_open(&proxy.address())
        {
            target.cancels.fetch_add(1, Ordering::Relaxed);
            tally.cancels.fetch_add(1, Ordering::Relaxed);
            line.send(&wire::cancel(target.pid, &target.key));
            if line.byte().is_some() {
                wrong(tally, "a cancel request was answered".to_owned());
            }
        }
        std::thread::sleep(Duration::from_millis(dice.below(40)));
    }
}

/// Everybody has left: nothing leaked, nothing was lost, nothing half-done was kept.
fn afterwards(cluster: &Cluster, lines: &Lines, proxy: &Proxy, database: &str, tally: &Tally) {
    let rows = cluster.sql(Node::Primary, database, "SELECT note FROM t ORDER BY note");
    let present: Vec<String> = rows.into_iter().flatten().flatten().collect();
    let twice = present.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let committed = lock(&tally.committed);
    let lost = committed.iter().filter(|note| present.binary_search(note).is_err()).count();
    lines.promise(
        "answered writes are there, and none is there twice",
        lost == 0 && twice == 0,
        format!("{} answered, {lost} lost, {twice} twice", committed.len()),
    );
    let gone = cluster.value(Node::Primary, database, "SELECT count(*) FROM gone");
    // The batch that is cut off may end behind its Sync-less Execute: it is never committed.
    lines.promise("nothing of a broken-off write stays", gone == "0", format!("{gone} rows"));

    let counts = |node: Node, condition: &str| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND {condition}"
        );
        cluster.value(node, "postgres", &sql).parse::<u32>().unwrap_or(u32::MAX)
    };
    let settled = "state = 'idle'";
    let start = Instant::now();
    let mut open = [0; 2];
    let mut busy = [0; 2];
    while start.elapsed() < Duration::from_secs(15) {
        open = Node::ALL.map(|node| counts(node, "true"));
        busy = Node::ALL.map(|node| counts(node, &format!("NOT ({settled})")));
        if busy == [0; 2] && open.iter().all(|open| *open <= SERVERS) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    lines.promise(
        "no server is left in a transaction or at work",
        busy == [0; 2],
        format!("{} and {}, after {}", busy[0], busy[1], milliseconds(start.elapsed())),
    );
    lines.promise(
        "server connections within the limit",
        open.iter().all(|open| *open <= SERVERS),
        format!("{} and {}", open[0], open[1]),
    );

    // As many transactions at the same time as there are servers: each takes one for itself.
    let mut holders: Vec<RawClient> = (0..SERVERS).map(|_| proxy.connect(database)).collect();
    for (number, holder) in holders.iter_mut().enumerate() {
        let sql = format!("BEGIN; INSERT INTO t VALUES ('h{number}') RETURNING note");
        let value = holder.query(&sql).value();
        assert_eq!(value, format!("h{number}"));
    }
    let held = counts(Node::Primary, "state = 'idle in transaction'");
    for holder in &mut holders {
        holder.query("COMMIT").ok();
    }
    for holder in holders {
        holder.close();
    }
    lines.promise(
        "20 transactions at once on the primary",
        held == SERVERS,
        format!("{held} held"),
    );

    // Reads that sleep fill both pools, the standby's too.
    let mut sleepers: Vec<RawClient> = Vec::new();
    let mut standby = 0;
    wait_for("the standby's pool fills up", || {
        if sleepers.len() < 200 {
            let mut sleeper = RawClient::open(&proxy.address());
            let login = [("user", "app"), ("database", database)];
            sleeper.send(&wire::startup(wire::PROTOCOL_3_0, &login));
            sleeper.send(&wire::query("SELECT 'sleeper', pg_sleep(20)"));
            sleepers.push(sleeper);
        }
        standby = standby.max(counts(Node::Standby, "wait_event = 'PgSleep'"));
        standby >= SERVERS
    });
    lines.promise("20 reads at once on the standby", standby == SERVERS, format!("{standby} held"));
    drop(sleepers);
}
