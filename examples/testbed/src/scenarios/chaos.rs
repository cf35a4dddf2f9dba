//! Servers that die under load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cluster::wait_for;
use crate::raw_client::{RawClient, Reply, Row};
use crate::{Cluster, Node, Proxy, Scenario, wire};

const CLIENTS: u64 = 12;
const KILLS: u64 = 40;

/// The proxy's servers are terminated one after the other while clients check nonces: no answer
/// is wrong, none fails to come, every error is of an honest kind, and afterwards all is well.
pub fn servers_killed_under_load(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a text)");
    // In session mode each client keeps its server.
    let proxy =
        scenario.start(cluster, &scenario.config().pool_size(u32::try_from(CLIENTS).unwrap_or(12)));
    let answers = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (proxy, database, answers, stop) = (&proxy, &*database, &answers, &stop);
            scope.spawn(move || client(proxy, database, number, answers, stop));
        }
        // Also when something below panics, or the clients would go on for ever.
        let _stop = StopOnDrop(&stop);
        for kill in 0..KILLS {
            let enough = answers.load(Ordering::Relaxed) + 20;
            wait_for("clients get answers", || answers.load(Ordering::Relaxed) >= enough);
            let node = if kill % 2 == 0 { Node::Primary } else { Node::Standby };
            cluster.sql(
                node,
                "postgres",
                &format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = '{database}' ORDER BY random() LIMIT 1"
                ),
            );
        }
    });
    for i in 0..20 {
        let mut client = proxy.connect(&database);
        assert_eq!(client.query(&format!("SELECT {i}")).value(), i.to_string());
        client.query("BEGIN; INSERT INTO t VALUES ('end'); COMMIT").ok();
        client.close();
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn client(proxy: &Proxy, database: &str, number: u64, answers: &AtomicU64, stop: &AtomicBool) {
    let mut connection: Option<RawClient> = None;
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let client = match connection.take() {
            Some(client) => client,
            None => match proxy.try_connect(database) {
                Ok(client) => client,
                Err(fault) => {
                    assert!(fault.code.is_empty() || fault.is_outage(), "login: {fault:?}");
                    continue;
                }
            },
        };
        connection = exchange(client, &format!("{number}/{round}"), round, answers);
    }
}

/// One exchange of one of several kinds; the connection, if it can be used again.
fn exchange(
    mut client: RawClient,
    nonce: &str,
    round: u64,
    answers: &AtomicU64,
) -> Option<RawClient> {
    let simple = wire::query(&format!("SELECT '{nonce}'"));
    let extended = [wire::unnamed("SELECT $1", &[Some(nonce)]), wire::sync()].concat();
    let rows = wire::query(&format!("SELECT '{nonce}' FROM generate_series(1, 200)"));
    let write = [
        wire::query("BEGIN"),
        wire::query(&format!("INSERT INTO t VALUES ('{nonce}') RETURNING a")),
        wire::query("COMMIT"),
    ];
    let (bytes, replies) = match round % 4 {
        0 => (simple, 1),
        1 => (extended, 1),
        2 => (rows, 1),
        _ => (write.concat(), 3),
    };
    client.send(&bytes);
    let mut last = b'I';
    for _ in 0..replies {
        let reply = client.reply();
        check(&reply, nonce);
        if reply.status == 0 {
            return None;
        }
        last = reply.status;
    }
    if last != b'I' {
        client.query("ROLLBACK");
    }
    answers.fetch_add(1, Ordering::Relaxed);
    Some(client)
}

fn check(reply: &Reply, nonce: &str) {
    let expected: Row = vec![Some(nonce.to_owned())];
    assert!(reply.rows.iter().all(|row| *row == expected), "{nonce}: {:?}", reply.rows);
    for fault in &reply.errors {
        // After a broken BEGIN or INSERT the rest of that transaction may be refused.
        assert!(fault.is_outage() || fault.code == "25P02", "{nonce}: {fault:?}");
    }
    if reply.errors.is_empty() && reply.status != 0 {
        assert_eq!(reply.commands.len(), 1, "{nonce}: {reply:?}");
    }
}
