//! Servers that are down, on clusters of their own.

use crate::cluster::{Shutdown, wait_for};
use crate::raw_client::Fault;
use crate::{Cluster, Config, Node, Proxy, Scenario};

fn config(scenario: &Scenario) -> Config {
    let quick = ["weir_server_retry_initial = 50ms", "weir_server_retry_max = 200ms"];
    quick
        .iter()
        .fold(scenario.config().weights(0, 1).wait_timeout(3), |config, line| config.line(line))
}

fn setup(scenario: &Scenario) -> (Cluster, String, Proxy) {
    let cluster = Cluster::private();
    let database = cluster.create_database_with("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    cluster.log_statements(&database);
    cluster.checkpoint();
    let proxy = scenario.start(&cluster, &config(scenario));
    (cluster, database, proxy)
}

/// One statement in a session of its own.
fn once(proxy: &Proxy, database: &str, sql: &str) -> Result<String, Fault> {
    let mut client = proxy.try_connect(database)?;
    let reply = client.query(sql);
    if let Some(fault) = reply.errors.first() {
        return Err(fault.clone());
    }
    if reply.status == 0 {
        return Err(Fault { message: "closed".to_owned(), ..Fault::default() });
    }
    client.close();
    Ok(reply.rows.first().and_then(|row| row.first()?.clone()).unwrap_or_default())
}

fn reads_on_standby(cluster: &Cluster, database: &str) -> usize {
    let statements = cluster.statements(Node::Standby, database);
    statements.iter().filter(|sql| sql.contains("FROM t")).count()
}

/// Without the standby the primary answers the reads of new sessions, and sessions that it broke
/// are told so; when it is back it gets reads again.
pub fn standby_down(scenario: &Scenario) {
    const READ: &str = "SELECT a FROM t";
    let (cluster, database, proxy) = setup(scenario);
    for how in [Shutdown::Immediate, Shutdown::Fast] {
        let mut session = proxy.connect(&database);
        assert_eq!(session.query(READ).value(), "1");
        assert_eq!(once(&proxy, &database, READ), Ok("1".to_owned()));
        assert!(reads_on_standby(&cluster, &database) > 0);

        cluster.stop(Node::Standby, how);
        // A session whose server is gone may be told so once.
        let reply = session.query(READ);
        match reply.errors.first() {
            None if reply.status == 0 => {}
            None => assert_eq!(reply.value(), "1", "{how:?}"),
            Some(fault) => assert!(fault.is_outage(), "{how:?}: {fault:?}"),
        }
        for _ in 0..10 {
            assert_eq!(once(&proxy, &database, READ), Ok("1".to_owned()), "{how:?}");
            once(&proxy, &database, "UPDATE t SET a = a").expect("the primary is up");
        }

        cluster.start(Node::Standby);
        let before = reads_on_standby(&cluster, &database);
        wait_for("the standby gets reads again", || {
            assert_eq!(once(&proxy, &database, READ), Ok("1".to_owned()), "{how:?}");
            reads_on_standby(&cluster, &database) > before
        });
    }
}

/// In transaction mode a client between transactions does not notice that the standby went, nor
/// that it came back.
pub fn standby_restarts_unnoticed(scenario: &Scenario) {
    const READ: &str = "SELECT a FROM t";
    let (cluster, database, proxy) = setup(scenario);
    let mut clients: Vec<_> = (0..5).map(|_| proxy.connect(&database)).collect();
    let mut all_read = || {
        for client in &mut clients {
            assert_eq!(client.query(READ).value(), "1");
            assert_eq!(client.extended(READ, &[]).value(), "1");
        }
    };
    all_read();
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        cluster.stop(Node::Standby, how);
        all_read();
        cluster.start(Node::Standby);
        let before = reads_on_standby(&cluster, &database);
        wait_for("the standby gets reads again", || {
            all_read();
            reads_on_standby(&cluster, &database) > before
        });
    }
}

/// Without the primary, writes fail with an SQLSTATE that says so; when it is back they succeed,
/// also in sessions that were there before.
pub fn primary_down(scenario: &Scenario) {
    const WRITE: &str = "UPDATE t SET a = a RETURNING a";
    let (cluster, database, proxy) = setup(scenario);
    for how in [Shutdown::Immediate, Shutdown::Fast] {
        let mut in_transaction = proxy.connect(&database);
        in_transaction.query("BEGIN; UPDATE t SET a = 2").ok();
        assert_eq!(once(&proxy, &database, "SELECT a FROM t"), Ok("1".to_owned()));

        cluster.stop(Node::Primary, how);
        // Its transaction is lost, and it must not be told otherwise.
        let reply = in_transaction.query("COMMIT");
        match reply.errors.first() {
            Some(fault) => assert!(fault.is_outage(), "{how:?}: {fault:?}"),
            None => assert!(reply.commands.is_empty(), "{how:?}: {reply:?}"),
        }
        for _ in 0..3 {
            match once(&proxy, &database, WRITE) {
                Ok(answer) => panic!("{how:?}: write answered {answer:?} without a primary"),
                Err(fault) => assert!(fault.is_outage(), "{how:?}: {fault:?}"),
            }
        }

        cluster.start(Node::Primary);
        wait_for("writes succeed again", || match once(&proxy, &database, WRITE) {
            Ok(answer) => {
                assert_eq!(answer, "1", "the lost transaction left nothing");
                true
            }
            Err(fault) => {
                assert!(fault.is_outage(), "{how:?}: {fault:?}");
                false
            }
        });
        for _ in 0..5 {
            assert_eq!(once(&proxy, &database, WRITE), Ok("1".to_owned()));
        }
    }
}
