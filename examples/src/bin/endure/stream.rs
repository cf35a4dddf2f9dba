//! A gigabyte in each direction beside a direct connection, and a reader that stops reading.

use std::time::{Duration, Instant};

use testbed::{Config, Mode, Node, Proxy, RawClient, wire};

use crate::Bench;
use crate::pgbench::megabytes;
use crate::report::{Lines, milliseconds};

/// Bytes of the values in one result.
const TOTAL: usize = 1_000_000_000;
/// Bytes of one value of a result.
const WIDE: usize = 100_000;
/// Bytes of one line of a COPY, with its end.
const LINE: usize = 1_000;
/// Digits of the number that every value begins with.
const DIGITS: usize = 12;
/// What the proxy may grow by while a gigabyte runs through it.
const GROWTH: u64 = 32_000_000;

/// Something done on a connection, direct or through the proxy.
type Step = fn(&mut RawClient) -> Result<(), String>;

pub(crate) fn run(bench: &Bench, lines: &Lines) {
    let cluster = &bench.cluster;
    // Unlogged, so that neither the log nor the standby is what is measured.
    let database = cluster.create_database_with("CREATE UNLOGGED TABLE t (line text)");
    let config = Config::new(Mode::Transaction);
    let proxy = Proxy::start(&bench.program, cluster, &config).unwrap_or_else(|e| panic!("{e}"));
    let direct = || cluster.connect(Node::Primary, "app", &database);
    proxy.connect(&database).close();
    let resting = proxy.peak_memory();
    lines.note("peak memory at rest", format!("{:.1} MB", megabytes(resting)));

    let compare = |what: &str, [prepare, work, verify]: [Step; 3]| {
        let [beside, through] = [direct(), proxy.connect(&database)].map(|mut client| {
            client.query("TRUNCATE t").ok();
            prepare(&mut client).unwrap_or_else(|e| panic!("preparing {what}: {e}"));
            let start = Instant::now();
            let result = work(&mut client);
            let rate = TOTAL as f64 / 1e6 / start.elapsed().as_secs_f64();
            let result = result.and_then(|()| verify(&mut client));
            client.close();
            (result, rate)
        });
        let result = through.0.and(beside.0);
        lines.promise(
            &format!("{what}: every byte right"),
            result.is_ok(),
            result
                .err()
                .unwrap_or_else(|| format!("{:.0} MB/s, direct {:.0} MB/s", through.1, beside.1)),
        );
        let peak = proxy.peak_memory();
        lines.promise(
            &format!("{what}: memory grows by less than 32 MB"),
            peak - resting < GROWTH,
            format!("peak {:.1} MB", megabytes(peak)),
        );
    };
    compare("1 GB result of wide rows", [nothing, wide_rows, nothing]);
    compare("1 GB result of narrow rows", [nothing, narrow_rows, nothing]);
    compare("1 GB COPY FROM STDIN", [nothing, copy_in, stored]);
    compare("1 GB COPY TO STDOUT", [copy_in, copy_out, nothing]);
    slow_reader(bench, lines, &proxy, &database, resting);
}

fn nothing(_: &mut RawClient) -> Result<(), String> {
    Ok(())
}

/// The number in front, and only `x` behind it.
fn check(value: &[u8], number: usize, filler: &[u8]) -> Result<(), String> {
    let right = value.split_at_checked(DIGITS).is_some_and(|(digits, rest)| {
        std::str::from_utf8(digits).is_ok_and(|digits| digits.parse() == Ok(number))
            && rest == filler
    });
    if right { Ok(()) } else { Err(format!("value {number} has {} wrong bytes", value.len())) }
}

/// Reads a result whose rows hold one value each, `count` of them.
fn rows(client: &mut RawClient, count: usize, width: usize) -> Result<(), String> {
    let filler = vec![b'x'; width - DIGITS];
    let mut seen = 0;
    loop {
        let message = client.next().ok_or("the connection was closed")?;
        match message.tag {
            b'D' => {
                seen += 1;
                // Number of columns and length of the only one.
                check(message.body.get(6..).unwrap_or_default(), seen, &filler)?;
            }
            b'E' => return Err(format!("{:?}", message.fault())),
            b'Z' => break,
            _ => {}
        }
    }
    if seen == count { Ok(()) } else { Err(format!("{seen} rows of {count}")) }
}

fn select(count: usize, width: usize) -> String {
    format!(
        "SELECT lpad(g::text, {DIGITS}, '0') || repeat('x', {}) FROM generate_series(1, {count}) g",
        width - DIGITS
    )
}

fn wide_rows(client: &mut RawClient) -> Result<(), String> {
    client.send(&wire::query(&select(TOTAL / WIDE, WIDE)));
    rows(client, TOTAL / WIDE, WIDE)
}

fn narrow_rows(client: &mut RawClient) -> Result<(), String> {
    const NARROW: usize = 200;
    client.send(&wire::query(&select(TOTAL / NARROW, NARROW)));
    rows(client, TOTAL / NARROW, NARROW)
}

fn copy_in(client: &mut RawClient) -> Result<(), String> {
    const LINES_PER_MESSAGE: usize = 64;
    client.send(&wire::query("COPY t FROM STDIN"));
    client.expect(b'G');
    let filler = "x".repeat(LINE - DIGITS - 1);
    let mut number = 0;
    while number < TOTAL / LINE {
        let mut text = String::with_capacity(LINE * LINES_PER_MESSAGE);
        for _ in 0..LINES_PER_MESSAGE.min(TOTAL / LINE - number) {
            number += 1;
            text.push_str(&format!("{number:0DIGITS$}{filler}\n"));
        }
        client.send(&wire::copy_data(&text));
    }
    let reply = client.ask(&wire::copy_done());
    if reply.commands == [format!("COPY {}", TOTAL / LINE)] {
        Ok(())
    } else {
        Err(format!("{:?} {:?}", reply.commands, reply.errors))
    }
}

fn stored(client: &mut RawClient) -> Result<(), String> {
    let filler = LINE - DIGITS - 1;
    let value = client
        .query(&format!(
            "SELECT count(DISTINCT left(line, {DIGITS})::int)::text || ' '
                    || bool_and(substr(line, {DIGITS} + 1) = repeat('x', {filler}))::text
                    || ' ' || max(left(line, {DIGITS})::int)::text FROM t"
        ))
        .value();
    let count = TOTAL / LINE;
    let right = value == format!("{count} true {count}");
    if right { Ok(()) } else { Err(format!("the table holds: {value}")) }
}

/// Lines may come in any order (`synchronize_seqscans`).
fn copy_out(client: &mut RawClient) -> Result<(), String> {
    let filler = vec![b'x'; LINE - DIGITS - 1];
    let mut seen = vec![false; TOTAL / LINE + 1];
    client.send(&wire::query("COPY t TO STDOUT"));
    loop {
        let message = client.next().ok_or("the connection was closed")?;
        match message.tag {
            b'd' => {
                let line = message.body.strip_suffix(b"\n").ok_or("a line without end")?;
                let digits = line.get(..DIGITS).and_then(|d| std::str::from_utf8(d).ok());
                let number: usize =
                    digits.and_then(|d| d.parse().ok()).ok_or("a line without number")?;
                check(line, number, &filler)?;
                let place = seen.get_mut(number).ok_or("a number too large")?;
                if std::mem::replace(place, true) {
                    return Err(format!("line {number} came twice"));
                }
            }
            b'E' => return Err(format!("{:?}", message.fault())),
            b'Z' => break,
            _ => {}
        }
    }
    let count = seen.iter().filter(|seen| **seen).count();
    if count == TOTAL / LINE { Ok(()) } else { Err(format!("{count} lines")) }
}

/// Asks for a gigabyte and does not read it: the server has to wait, others do not.
fn slow_reader(bench: &Bench, lines: &Lines, proxy: &Proxy, database: &str, resting: u64) {
    const HELD: Duration = Duration::from_secs(3);
    const PATIENCE: Duration = Duration::from_secs(30);
    let cluster = &bench.cluster;
    let before = proxy.peak_memory();
    let mut slow = proxy.connect(database);
    slow.send(&wire::query(&select(TOTAL / WIDE, WIDE)));
    let stalled = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = '{database}' AND wait_event = 'ClientWrite'"
    );
    let mut watchers = Node::ALL.map(|node| cluster.connect(node, "postgres", "postgres"));
    let start = Instant::now();
    let mut since: Option<Instant> = None;
    let mut slowest = Duration::ZERO;
    let mut served = 0;
    let mut right = true;
    while since.is_none_or(|since| since.elapsed() < HELD) && start.elapsed() < PATIENCE {
        let waiting = watchers.iter_mut().any(|watcher| watcher.query(&stalled).value() == "1");
        since = if waiting { since.or_else(|| Some(Instant::now())) } else { None };
        let asked = Instant::now();
        let mut other = proxy.connect(database);
        right &= other.query(&format!("SELECT {served}")).value() == served.to_string();
        other.close();
        slowest = slowest.max(asked.elapsed());
        served += 1;
    }
    let held = since.map(|since| since.elapsed()).unwrap_or_default();
    lines.promise(
        "slow reader: its server waits in ClientWrite",
        held >= HELD,
        format!("for {:.1} s without a break", held.as_secs_f64()),
    );
    lines.promise(
        "slow reader: others are served meanwhile",
        right && served > 10,
        format!("{served} logins with a query, slowest {}", milliseconds(slowest)),
    );
    let peak = proxy.peak_memory();
    lines.promise(
        "slow reader: memory stays flat",
        peak - before < GROWTH / 4 && peak - resting < GROWTH,
        format!("grew by {:.1} MB to {:.1} MB", megabytes(peak - before), megabytes(peak)),
    );
    let result = rows(&mut slow, TOTAL / WIDE, WIDE);
    slow.close();
    lines.promise(
        "slow reader: when it reads on, every byte is right",
        result.is_ok(),
        result.err().unwrap_or_else(|| "1 GB".to_owned()),
    );
}
