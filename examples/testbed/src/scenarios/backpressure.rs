//! Memory of the proxy while somebody does not read.

use crate::cluster::wait_for;
use crate::{Cluster, Node, Scenario, wire};

/// A client that asks for a gigabyte and reads none of it stops its server, and costs the proxy
/// no more than its buffers; others are served meanwhile.
pub fn slow_reader(scenario: &Scenario) {
    const BOUND: u64 = 64 * 1024 * 1024;
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut slow = proxy.connect(&database);
    slow.send(&wire::query("SELECT repeat('x', 1000000) FROM generate_series(1, 1000)"));
    slow.expect(b'T');
    let stalled = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = '{database}' AND wait_event = 'ClientWrite'"
    );
    let mut watchers = Node::ALL.map(|node| cluster.connect(node, "postgres", "postgres"));
    let mut in_a_row = 0;
    wait_for("the server waits for its reader", || {
        let waiting = watchers.iter_mut().any(|w| w.query(&stalled).value() == "1");
        in_a_row = if waiting { in_a_row + 1 } else { 0 };
        in_a_row == 20
    });
    for i in 0..20 {
        let mut other = proxy.connect(&database);
        assert_eq!(other.query(&format!("SELECT {i}")).value(), i.to_string());
        other.close();
    }
    let peak = proxy.peak_memory();
    assert!(peak < BOUND, "the proxy grew to {peak} bytes");
    // It wakes up again: a hundred rows are far more than any buffer held back.
    for _ in 0..100 {
        assert_eq!(slow.expect(b'D').body.len(), 1_000_000 + 6);
    }
    let peak = proxy.peak_memory();
    assert!(peak < BOUND, "the proxy grew to {peak} bytes");
    drop(slow);
    proxy.connect(&database).query("SELECT 1").ok();
}
