//! Clients that disappear. With one server per node and the primary alone taking reads, a slot
//! that leaks is a slot that the next client waits for in vain.

use crate::raw_client::RawClient;
use crate::{Cluster, Node, Proxy, Scenario, wire};

/// Starts with a client that holds the only server, lets `leave` do its part, drops the
/// connection, and checks that others are served and that nothing of the client is left.
fn check(scenario: &Scenario, leave: impl Fn(&mut RawClient, &'static Cluster, &str)) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int PRIMARY KEY, b text)");
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1).weights(1, 0));
    for round in 0..5 {
        let mut client = proxy.connect(&database);
        leave(&mut client, cluster, &database);
        drop(client);
        served(&proxy, &database, round);
    }
}

/// The row has the key of the one that the client inserted without committing.
fn served(proxy: &Proxy, database: &str, round: u32) {
    for _ in 0..2 {
        let mut next = proxy.connect(database);
        let reply = next.query("BEGIN; INSERT INTO t VALUES (1, 'next') RETURNING b; ROLLBACK");
        assert_eq!(reply.value(), "next", "round {round}");
        let reply = next.query("SELECT count(*) FROM t");
        assert_eq!((reply.status, reply.value()), (b'I', "0".to_owned()), "round {round}");
        next.close();
    }
}

/// In the middle of a transaction, also a failed one: it is rolled back.
pub fn in_transaction(scenario: &Scenario) {
    check(scenario, |client, _, _| {
        client.query("BEGIN; INSERT INTO t VALUES (1, 'gone')").ok();
    });
    check(scenario, |client, _, _| {
        client.query("BEGIN; INSERT INTO t VALUES (1, 'gone')").ok();
        client.query("SELECT 1/0");
        // With a polite good-bye.
        client.send(&wire::terminate());
        client.closed();
    });
}

/// With most of a large result unread, which resets the connection.
pub fn in_result(scenario: &Scenario) {
    check(scenario, |client, _, _| {
        client.query("BEGIN; INSERT INTO t VALUES (1, 'gone')").ok();
        client.send(&wire::query("SELECT repeat('x', 10000) FROM generate_series(1, 100000)"));
        client.expect(b'T');
    });
}

/// While the server waits for COPY data.
pub fn in_copy(scenario: &Scenario) {
    check(scenario, |client, _, _| {
        client.send(&wire::query("COPY t FROM STDIN"));
        client.expect(b'G');
        client.send(&wire::copy_data("1\tgone\n"));
        // Half of a message.
        client.send(wire::copy_data("2\tgone too\n").split_at(8).0);
    });
    check(scenario, |client, _, _| {
        client.send(&wire::query("COPY (SELECT g FROM generate_series(1, 10000000) g) TO STDOUT"));
        client.expect(b'H');
    });
}

/// While its query runs, and would run on for long.
pub fn in_query(scenario: &Scenario) {
    check(scenario, |client, cluster, database| {
        client.query("BEGIN; INSERT INTO t VALUES (1, 'gone')").ok();
        client.send(&wire::query("SELECT pg_sleep(30)"));
        cluster.wait_for_sessions(Node::Primary, database, "wait_event = 'PgSleep'", 1);
        // What it leaves must not block the next round's insert.
        let end =
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        let sql = format!("{end} AND datname = '{database}'");
        client.send(&wire::terminate());
        cluster.sql(Node::Primary, "postgres", &sql);
    });
}

/// In the middle of a message, and in the middle of a batch without Sync.
pub fn in_message(scenario: &Scenario) {
    check(scenario, |client, _, _| {
        client.send(wire::query("INSERT INTO t VALUES (1, 'gone')").split_at(20).0);
    });
    check(scenario, |client, _, _| {
        client.send(&wire::unnamed("INSERT INTO t VALUES (1, 'gone')", &[]));
        client.send(wire::parse("", "SELECT 1").split_at(3).0);
    });
    check(scenario, |client, _, _| {
        client.send(&wire::unnamed("INSERT INTO t VALUES (1, 'gone')", &[]));
        client.send(&wire::flush());
        for tag in [b'1', b'2', b'C'] {
            client.expect(tag);
        }
    });
}

/// While it waits for the server that another client holds: it never gets it.
pub fn while_waiting(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int PRIMARY KEY, b text)");
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1).weights(1, 0));
    let mut holder = proxy.connect(&database);
    holder.query("BEGIN; INSERT INTO t VALUES (5, 'holder')").ok();
    let mut leaving = Vec::new();
    for _ in 0..10 {
        // The login itself may wait for a server, so that it is not waited for.
        let mut client = RawClient::open(&proxy.address());
        let login = [("user", "app"), ("database", &*database)];
        client.send(&wire::startup(wire::PROTOCOL_3_0, &login));
        client.send(&wire::query("INSERT INTO t VALUES (1, 'gone')"));
        leaving.push(client);
    }
    drop(leaving);
    assert_eq!(holder.query("SELECT count(*) FROM t").value(), "1");
    holder.query("ROLLBACK").ok();
    holder.close();
    let mut next = proxy.connect(&database);
    // Whatever was sent may have run before the proxy saw the end, or not; nobody waits for ever.
    next.query("BEGIN; DELETE FROM t; COMMIT").ok();
    next.close();
}
