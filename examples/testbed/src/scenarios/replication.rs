//! Replication connections: straight to a WAL sender of the primary.

use crate::cluster::wait_for;
use crate::raw_client::RawClient;
use crate::{Cluster, Node, Scenario, wire};

const SENDERS: &str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' \
                       AND application_name = 'by proxy'";

/// COPY BOTH in both directions, its end, and what comes after it; nothing stays behind.
pub fn physical(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = RawClient::open(&proxy.address());
    client.send(&wire::startup(
        wire::PROTOCOL_3_0,
        &[
            ("user", "postgres"),
            ("database", &database),
            ("replication", "true"),
            ("application_name", "by proxy"),
        ],
    ));
    client.finish_login().unwrap_or_else(|fault| panic!("{fault:?}"));
    let system = client.query("IDENTIFY_SYSTEM").ok();
    let start = system.first().and_then(|row| row.get(2).cloned().flatten());
    let start = start.unwrap_or_else(|| panic!("no position in {system:?}"));
    assert_eq!(client.query("SELECT 1").code(), "0A000", "a WAL sender of no database");

    for round in 0..2 {
        client.send(&wire::query(&format!("START_REPLICATION PHYSICAL {start}")));
        client.expect(b'W');
        cluster.sql(Node::Primary, &database, &format!("CREATE TABLE t{round} (a int)"));
        client.expect(b'd');
        client.send(&wire::copy_done());
        client.reply().ok();
        assert_eq!(client.query("IDENTIFY_SYSTEM").ok().len(), 1, "round {round}");
    }
    assert_eq!(cluster.value(Node::Primary, &database, SENDERS), "1");
    client.close();
    wait_for("the WAL sender has ended", || {
        cluster.value(Node::Primary, &database, SENDERS) == "0"
    });

    // What comes next has an ordinary server.
    let mut plain = proxy.connect(&database);
    assert_eq!(plain.query("SELECT 'on'").value(), "on");
    let mut odd = RawClient::open(&proxy.address());
    odd.send(&wire::startup(
        wire::PROTOCOL_3_0,
        &[("user", "postgres"), ("database", &database), ("replication", "perhaps")],
    ));
    assert_eq!(odd.closed().map(|fault| fault.code).as_deref(), Some("22023"));
}
