//! Limits and time-outs, and what differs for single users and databases.

use crate::raw_client::Fault;
use crate::{Cluster, RawClient, Scenario};

fn code(fault: Option<Fault>) -> String {
    fault.map(|fault| fault.code).unwrap_or_default()
}

/// Statements, transactions and idleness in transactions have their time; what runs is cancelled.
pub fn times_have_an_end(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let [slow, other, long] = ["", "", ""].map(|_| cluster.create_database());
    let overrides = format!(
        "weir_database_overrides = '{slow}: query_timeout=1; {other}: idle_transaction_timeout=1; \
         {long}: transaction_timeout=1'"
    );
    let proxy = scenario.start(cluster, &scenario.config().line(&overrides));

    let mut client = proxy.connect(&slow);
    assert_eq!(client.query("SELECT 1").value(), "1");
    client.send(&crate::wire::query("SELECT pg_sleep(600)"));
    assert_eq!(code(client.closed()), "57014");
    for node in crate::Node::ALL {
        cluster.wait_for_sessions(node, &slow, "query LIKE '%pg_sleep%' AND state = 'active'", 0);
    }

    let mut client = proxy.connect(&other);
    client.query("BEGIN").ok();
    client.query("SELECT pg_sleep(2)").ok();
    assert_eq!(code(client.closed()), "25P03");

    let mut client = proxy.connect(&long);
    client.query("SELECT pg_sleep(0.1)").ok();
    client.query("BEGIN").ok();
    client.query("SELECT 1").ok();
    assert_eq!(code(client.closed()), "25P04");
}

/// Users and databases have only so many clients; what is said of a user beats what is said of all.
pub fn clients_are_counted(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let [narrow, wide, paired] = ["", "", ""].map(|_| cluster.create_database());
    let config = scenario.config().line("weir_max_database_clients = 5").line(&format!(
        "weir_database_overrides = '{narrow}: max_clients=1; {paired}: max_pool_clients=1'"
    ));
    let proxy = scenario.start(cluster, &config);
    let first = proxy.connect(&narrow);
    let refused = proxy.try_connect(&narrow).err();
    assert!(refused.as_ref().is_some_and(|it| it.message.contains(&narrow)), "{refused:?}");
    assert_eq!(code(refused), "53300");
    let others: Vec<RawClient> = (0..5).map(|_| proxy.connect(&wide)).collect();
    assert_eq!(code(proxy.try_connect(&wide).err()), "53300");
    let one = proxy.connect(&paired);
    assert_eq!(code(proxy.try_connect(&paired).err()), "53300");
    let other = RawClient::connect(&proxy.address(), crate::cluster::ADMIN, &paired);
    drop((one, other));
    first.close();
    crate::cluster::wait_for("a place is free", || proxy.try_connect(&narrow).is_ok());
    drop(others);
}

/// Who waits for a server is told; who would make the queue too long is refused at once.
pub fn waiting_is_told_and_bounded(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario
        .config()
        .pool_size(1)
        .weights(1, 0)
        .line("weir_query_wait_notify = 1")
        .line("weir_max_queue = 1");
    let proxy = scenario.start(cluster, &config);
    let [mut holder, mut waiting, mut surplus] = [0, 1, 2].map(|_| proxy.connect(&database));
    holder.query("BEGIN").ok();
    holder.query("CREATE TABLE t (a int)").ok();
    waiting.send(&crate::wire::query("INSERT INTO t VALUES (1)"));
    let notice = waiting.expect(b'N').fault().message;
    assert!(notice.contains("waiting for a server connection"), "{notice}");
    assert_eq!(surplus.query("SELECT 1").code(), "53300");
    holder.query("COMMIT").ok();
    holder.close();
    assert_eq!(waiting.expect(b'C').text(), "INSERT 0 1");
    assert_eq!(waiting.expect(b'Z').body, b"I");
    waiting.close();
    assert_eq!(surplus.query("SELECT count(*) FROM t").value(), "1");
}
