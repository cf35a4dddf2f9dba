//! Signals to the proxy.

use crate::{Cluster, Node, Proxy, RawClient, Scenario};

fn setup(scenario: &Scenario) -> (String, Proxy, RawClient) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config());
    let client = proxy.connect(&database);
    (database, proxy, client)
}

/// SIGTERM: idle clients get 57P01, one in a transaction finishes it first, then the program
/// ends with status 0.
pub fn terminate_lets_transactions_finish(scenario: &Scenario) {
    let (database, mut proxy, mut working) = setup(scenario);
    let mut idle = proxy.connect(&database);
    let mut never_asked = proxy.connect(&database);
    idle.query("SELECT 1").ok();
    working.query("BEGIN; INSERT INTO t VALUES (1)").ok();
    proxy.signal("TERM");
    for client in [&mut idle, &mut never_asked] {
        let fault = client.closed().expect("idle clients are told");
        assert_eq!((&*fault.severity, &*fault.code), ("FATAL", "57P01"));
    }
    if let Err(fault) = proxy.try_connect(&database) {
        assert!(fault.code.is_empty() || fault.is_outage(), "{fault:?}");
    } else {
        panic!("a new client was let in during the shutdown");
    }
    working.query("INSERT INTO t VALUES (2)").ok();
    assert_eq!(working.query("SELECT count(*) FROM t").value(), "2");
    working.send(&crate::wire::query("COMMIT"));
    assert_eq!(working.expect(b'C').text(), "COMMIT");
    assert_eq!(working.expect(b'Z').body, b"I");
    assert_eq!(working.closed().map(|fault| fault.code).as_deref(), Some("57P01"));
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
    let cluster = Cluster::shared();
    assert_eq!(cluster.value(Node::Primary, &database, "SELECT count(*) FROM t"), "2");
    for node in Node::ALL {
        cluster.wait_for_sessions(node, &database, "true", 0);
    }
}

/// SIGINT: the program ends although a client is in a transaction, which is rolled back.
pub fn interrupt_ends_at_once(scenario: &Scenario) {
    let (database, mut proxy, mut working) = setup(scenario);
    working.query("BEGIN; INSERT INTO t VALUES (1)").ok();
    proxy.signal("INT");
    let status = proxy.wait();
    assert!(status.code().is_some(), "killed by the signal instead of handling it: {status}");
    if let Some(fault) = working.closed() {
        assert!(fault.is_outage(), "{fault:?}");
    }
    let cluster = Cluster::shared();
    cluster.wait_for_sessions(Node::Primary, &database, "true", 0);
    assert_eq!(cluster.value(Node::Primary, &database, "SELECT count(*) FROM t"), "0");
}
