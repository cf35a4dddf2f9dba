//! More clients than servers.

use tokio_postgres::types::Type;

use crate::{Cluster, Config, Mode, Node, Scenario, drivers, wire};

/// Two hundred clients on four servers per node; each gets its own answers.
pub fn two_hundred_on_four_servers(scenario: &Scenario) {
    crowd(scenario, &scenario.config().pool_size(4));
}

/// The same with several worker threads: they share the servers and the limit.
pub fn workers_share_the_servers(scenario: &Scenario) {
    crowd(scenario, &scenario.config().pool_size(4).line("weir_workers = 4"));
}

fn crowd(scenario: &Scenario, config: &Config) {
    const CLIENTS: i64 = 200;
    const QUERIES: i64 = 15;
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, config);
    drivers::block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(drivers::connect(&proxy, &database).await);
        }
        let tasks: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, client): (i64, _)| {
                tokio::spawn(async move {
                    for i in 0..QUERIES {
                        let nonce = number * 1_000_000 + i;
                        let rows = client
                            .query_typed("SELECT $1", &[(&nonce, Type::INT8)])
                            .await
                            .unwrap_or_else(|e| panic!("client {number}: {e:?}"));
                        assert_eq!(rows[0].get::<_, i64>(0), nonce);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("client");
        }
        // All clients are gone, the servers are still there.
        for node in Node::ALL {
            let sql =
                format!("SELECT count(*) <= 4 FROM pg_stat_activity WHERE datname = '{database}'");
            assert_eq!(cluster.value(node, "postgres", &sql), "t", "{node:?}");
        }
    });
}

/// A client that waits for a server longer than `weir_query_wait_timeout` gets an error; the one that
/// has the server is not disturbed.
pub fn wait_has_an_end(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let config = scenario.config().pool_size(1).wait_timeout(1);
    let proxy = scenario.start(cluster, &config);
    let mut holder = proxy.connect(&database);
    holder.query("BEGIN; INSERT INTO t VALUES (1)").ok();
    // In session mode the wait may already be part of the login.
    match proxy.try_connect(&database) {
        Err(fault) => assert_eq!(fault.code.len(), 5, "{fault:?}"),
        Ok(mut waiting) => {
            let reply = waiting.query("INSERT INTO t VALUES (2)");
            assert_eq!(reply.code().len(), 5, "{reply:?}");
        }
    }
    holder.query("COMMIT").ok();
    holder.close();
    let mut next = proxy.connect(&database);
    next.query("INSERT INTO t VALUES (3)").ok();
    assert_eq!(next.query("BEGIN; SELECT sum(a) FROM t; COMMIT").value(), "4");
    if scenario.mode() == Mode::Transaction {
        let mut beside = proxy.connect(&database);
        beside.query("INSERT INTO t VALUES (4)").ok();
    }
}

/// A session that holds one server and one that holds the other do not wait for each other until
/// their time is over: who holds the primary reads there when the standby is taken.
pub fn sessions_do_not_block_each_other(scenario: &Scenario) {
    const READ: &str = "SELECT count(*) FROM t";
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let config = scenario.config().pool_size(1).weights(0, 1).wait_timeout(30);
    let proxy = scenario.start(cluster, &config);
    let mut writer = proxy.connect(&database);
    writer.query("INSERT INTO t VALUES (1)").ok();
    let mut reader = proxy.connect(&database);
    reader.query(READ).ok();
    reader.send(&wire::query("INSERT INTO t VALUES (2)"));
    assert_eq!(writer.query(READ).value(), "1");
    assert_eq!(writer.extended(READ, &[]).value(), "1");
    writer.close();
    reader.reply().ok();
    reader.close();
    let mut next = proxy.connect(&database);
    assert_eq!(next.query(&format!("BEGIN; {READ}; COMMIT")).value(), "2");
}
