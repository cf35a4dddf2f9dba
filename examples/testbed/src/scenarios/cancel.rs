//! Cancel requests: the right statement, only that one, and nothing when there is none.

use super::row;
use crate::cluster::wait_for;
use crate::raw_client::RawClient;
use crate::{Cluster, Node, Scenario, wire};

/// A long query ends with 57014; another client's goes on; the connection stays usable.
pub fn running_query(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    // Reads too run on the primary, where the scenario looks for them.
    let proxy = scenario.start(cluster, &scenario.config().weights(1, 0));
    let mut victim = proxy.connect(&database);
    let mut other = proxy.connect(&database);
    let mut holder = cluster.connect(Node::Primary, "app", &database);
    holder.query("SELECT pg_advisory_lock(1)").ok();

    for round in 0..3 {
        victim.send(&wire::query("SELECT pg_sleep(600)"));
        other.send(&wire::query("SELECT pg_advisory_xact_lock(1)"));
        let sleeps = "wait_event = 'PgSleep'";
        let waits = "wait_event = 'advisory' AND state = 'active'";
        cluster.wait_for_sessions(Node::Primary, &database, sleeps, 1);
        cluster.wait_for_sessions(Node::Primary, &database, waits, 1);
        victim.cancel(&proxy.address());
        let reply = victim.reply();
        assert_eq!((reply.code(), reply.status), ("57014", b'I'), "round {round}");
        assert_eq!(victim.query("SELECT 'on'").value(), "on");
        cluster.wait_for_sessions(Node::Primary, &database, waits, 1);
        holder.query("SELECT pg_advisory_unlock(1)").ok();
        other.reply().ok();
        holder.query("SELECT pg_advisory_lock(1)").ok();
    }

    // A large read whose rows the client has not read.
    victim.send(&wire::query("SELECT repeat('x', 1000), generate_series(1, 100000000)"));
    victim.expect(b'T');
    victim.cancel(&proxy.address());
    assert_eq!(victim.reply().code(), "57014");
    assert_eq!(victim.query("SELECT 'on'").value(), "on");

    // Inside a transaction, by the extended protocol.
    victim.query("BEGIN").ok();
    victim.send(&[wire::unnamed("SELECT pg_sleep(600)", &[]), wire::sync()].concat());
    cluster.wait_for_sessions(Node::Primary, &database, "wait_event = 'PgSleep'", 1);
    victim.cancel(&proxy.address());
    assert_eq!(victim.reply().status, b'E');
    victim.query("ROLLBACK").ok();
}

/// A client in the queue for a server leaves the queue at once, with 57014.
pub fn waiting_client(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1));
    let mut waiting = proxy.connect(&database);
    let mut holder = proxy.connect(&database);
    holder.query("BEGIN; INSERT INTO t VALUES (1)").ok();
    waiting.send(&wire::query("INSERT INTO t VALUES (2)"));
    // A cancel that overtakes the query finds an idle client and does nothing, hence the loop.
    wait_for("the waiting client is answered", || {
        waiting.cancel(&proxy.address());
        waiting.is_readable()
    });
    let reply = waiting.reply();
    assert_eq!((reply.code(), reply.status), ("57014", b'I'));
    holder.query("COMMIT").ok();
    waiting.query("INSERT INTO t VALUES (3)").ok();
    let stored = cluster.sql(Node::Primary, &database, "SELECT a FROM t ORDER BY a");
    assert_eq!(stored, [row(&["1"]), row(&["3"])]);
}

/// A cancel while nothing runs has no effect on anything later.
pub fn idle_client(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1).weights(1, 0));
    let mut client = proxy.connect(&database);
    for _ in 0..20 {
        client.cancel(&proxy.address());
        assert_eq!(client.query("SELECT 'on' FROM generate_series(1, 1)").value(), "on");
    }
    client.query("BEGIN").ok();
    client.cancel(&proxy.address());
    assert_eq!(client.query("SELECT 'on'").value(), "on");
    client.query("COMMIT").ok();
    client.close();
}

/// A cancel with a key that is wrong in one byte, too short or too long has no effect.
pub fn wrong_key(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut holder = cluster.connect(Node::Primary, "app", &database);
    holder.query("SELECT pg_advisory_lock(1)").ok();
    let mut client = proxy.connect(&database);
    client.send(&wire::query("SELECT 'done' FROM pg_advisory_xact_lock(1)"));
    let waits = "wait_event = 'advisory' AND state = 'active'";
    cluster.wait_for_sessions(Node::Primary, &database, waits, 1);
    let mut flipped = client.key.clone();
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let long = client.key.repeat(2);
    let short = client.key.get(..2).unwrap_or_default().to_vec();
    for (pid, key) in [
        (client.pid, &flipped),
        (client.pid, &long),
        (client.pid, &short),
        (client.pid.wrapping_add(1), &client.key),
        (0, &Vec::new()),
    ] {
        let mut other = RawClient::open(&proxy.address());
        other.send(&wire::cancel(pid, key));
        other.closed();
    }
    cluster.wait_for_sessions(Node::Primary, &database, waits, 1);
    holder.query("SELECT pg_advisory_unlock(1)").ok();
    assert_eq!(client.reply().value(), "done");
    client.close();
}

/// Whoever waits until the connection of its cancel request is closed can go on: the request does not
/// come after its next statement, as it cannot with PostgreSQL.
pub fn ends_when_the_server_has_it(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);
    for round in 0..30 {
        client.send(&wire::query("COPY t FROM STDIN"));
        client.expect(b'G');
        client.cancel(&proxy.address());
        client.send(&wire::copy_fail("enough"));
        assert_eq!(client.reply().code(), "57014", "round {round}");
        assert_eq!(client.query("SELECT count(*) FROM t").value(), "0", "round {round}");
    }
    client.close();
}
