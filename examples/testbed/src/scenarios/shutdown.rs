//! Signals to the proxy.

use crate::cluster::wait_for;
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

/// After SIGTERM new clients are served for a while; a second one ends that; whoever is in a
/// transaction finishes it, and none is broken.
pub fn newcomers_are_served_for_a_while(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let mut proxy =
        scenario.start(cluster, &scenario.config().line("weir_drain_listen_time = 300"));
    proxy.signal("TERM");
    wait_for("drain has begun", || proxy.log().contains("shutting down"));
    let mut newcomer = proxy.connect(&database);
    newcomer.query("CREATE TABLE t (a int)").ok();
    newcomer.query("BEGIN; INSERT INTO t VALUES (1)").ok();
    let mut idle = proxy.connect(&database);
    proxy.signal("TERM");
    assert_eq!(idle.closed().map(|fault| fault.code).as_deref(), Some("57P01"));
    assert!(proxy.try_connect(&database).is_err(), "the port is closed");
    newcomer.query("INSERT INTO t VALUES (2)").ok();
    newcomer.query("COMMIT").ok();
    assert_eq!(newcomer.closed().map(|fault| fault.code).as_deref(), Some("57P01"));
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
    assert!(proxy.log().contains("broken by the shutdown: 0"), "{}", proxy.log());
    assert_eq!(cluster.value(Node::Primary, &database, "SELECT count(*) FROM t"), "2");
}

/// At the deadline those who are still there are sent away, and their transactions counted.
pub fn grace_has_an_end(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let mut proxy = scenario.start(cluster, &scenario.config().line("weir_shutdown_timeout = 1"));
    let mut endless = proxy.connect(&database);
    endless.query("BEGIN").ok();
    endless.query("CREATE TABLE t (a int)").ok();
    proxy.signal("TERM");
    assert_eq!(endless.closed().map(|fault| fault.code).as_deref(), Some("57P01"));
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
    assert!(proxy.log().contains("broken by the shutdown: 1"), "{}", proxy.log());
}

/// A second process serves on the same port while the first one drains, and after.
pub fn another_process_takes_over(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config =
        scenario.config().line("weir_reuse_port = on").line("weir_drain_listen_time = 300");
    let mut old = scenario.start(cluster, &config);
    let mut busy = old.connect(&database);
    busy.query("BEGIN").ok();
    busy.query("CREATE TABLE t (a int)").ok();
    let new = Proxy::start_beside(scenario.program(), cluster, &config, &old)
        .unwrap_or_else(|e| panic!("{e}"));
    old.signal("TERM");
    wait_for("drain has begun", || old.log().contains("shutting down"));
    for _ in 0..10 {
        // Whichever of the two it is.
        let mut client = new.connect(&database);
        assert_eq!(client.query("SELECT 1").value(), "1");
        client.close();
    }
    old.signal("TERM");
    busy.query("COMMIT").ok();
    assert_eq!(busy.closed().map(|fault| fault.code).as_deref(), Some("57P01"));
    assert_eq!(old.wait().code(), Some(0), "{}", old.log());
    for address in [new.address(), old.socket_address()] {
        let mut client = RawClient::connect(&address, crate::cluster::APP, &database);
        assert_eq!(client.query("SELECT count(*) FROM t").value(), "0");
        client.close();
    }
}
