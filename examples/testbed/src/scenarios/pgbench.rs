//! `pgbench`, whose scripts keep four sums equal.

use super::row;
use crate::{Cluster, Node, Proxy, Scenario, drivers};

fn initialised(scenario: &Scenario) -> (String, Proxy) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config().pool_size(10));
    drivers::pgbench(&proxy, &database, &["-i", "-q"]);
    cluster.wait_replayed();
    (database, proxy)
}

fn check_sums(database: &str, transactions: u32) {
    let sums = Cluster::shared().sql(
        Node::Primary,
        database,
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta),
                (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta),
                (SELECT sum(tbalance) FROM pgbench_tellers) = sum(delta),
                count(*)
         FROM pgbench_history",
    );
    assert_eq!(sums, [row(&["t", "t", "t", &transactions.to_string()])]);
}

fn tpcb_in(scenario: &Scenario, protocol: &str) {
    let (database, proxy) = initialised(scenario);
    let options = ["-c", "8", "-j", "2", "-t", "60", "-M", protocol];
    let out = drivers::pgbench(&proxy, &database, &options);
    assert!(out.contains("number of transactions actually processed: 480/480"), "{out}");
    check_sums(&database, 480);
}

fn select_only_in(scenario: &Scenario, protocols: &[&str]) {
    let (database, proxy) = initialised(scenario);
    for protocol in protocols {
        let options = ["-S", "-n", "-c", "8", "-j", "2", "-t", "300", "-M", protocol];
        let out = drivers::pgbench(&proxy, &database, &options);
        assert!(out.contains("number of transactions actually processed: 2400/2400"), "{out}");
    }
}

/// Initialisation (which uses COPY and VACUUM) and the TPC-B-like script; the sums agree after.
pub fn tpcb(scenario: &Scenario) {
    tpcb_in(scenario, "simple");
    tpcb_in(scenario, "extended");
}

/// The script of single reads.
pub fn select_only(scenario: &Scenario) {
    select_only_in(scenario, &["simple", "extended"]);
}

/// Both scripts with statements that are prepared once per session.
pub fn prepared(scenario: &Scenario) {
    tpcb_in(scenario, "prepared");
    select_only_in(scenario, &["prepared"]);
}
