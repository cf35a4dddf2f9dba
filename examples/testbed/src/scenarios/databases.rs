//! Statements on databases, which fail while anybody is connected to one.

use crate::cluster::ADMIN;
use crate::{Cluster, RawClient, Scenario, wire};

/// What the pool keeps open for nobody in particular is in nobody's way.
pub fn pooled_servers_make_way(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let template = cluster.create_database();
    let [copy, renamed] = ["copy", "renamed"].map(|what| format!("{template}_{what}"));
    let config = scenario
        .config()
        .weights(1, 1)
        .line("weir_min_pool_size = 2")
        .line(&format!("weir_auth_dbname = '{template}'"))
        .line(&format!("weir_auth_user = '{ADMIN}'"));
    let proxy = scenario.start(cluster, &config);
    let uses = |database: &str| {
        let mut client = RawClient::connect(&proxy.address(), ADMIN, database);
        for sql in ["SELECT 1", "CREATE TEMPORARY TABLE x (a int)", "DROP TABLE x", "SELECT 1"] {
            client.query(sql).ok();
        }
        client.close();
    };
    let mut client = RawClient::connect(&proxy.address(), ADMIN, "postgres");
    uses(&template);
    client.query(&format!("CREATE DATABASE {copy} TEMPLATE {template}")).ok();
    cluster.wait_replayed();
    uses(&template);
    uses(&copy);
    client.extended(&format!("ALTER DATABASE {template} RENAME TO {renamed}"), &[]).ok();
    cluster.wait_replayed();
    uses(&renamed);
    client.query(&format!("DROP DATABASE {renamed}")).ok();
    // Prepared now, run later.
    let drop = format!("DROP DATABASE {copy}");
    client.ask(&[wire::parse("d", &drop), wire::sync()].concat()).ok();
    uses(&copy);
    let run = [wire::bind("", "d", &[]), wire::execute("", 0), wire::sync()].concat();
    client.ask(&run).ok();
    client.query(&format!("CREATE DATABASE {copy} TEMPLATE template0")).ok();
    client.query(&format!("DROP DATABASE {copy}")).ok();
}
