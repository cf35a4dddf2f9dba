//! Which node answers what, read from the servers' own statement logs.

use super::row;
use crate::cluster::wait_for;
use crate::{Cluster, Node, Scenario};

/// How often a statement that contains `text` ran on primary and standby.
fn runs(cluster: &Cluster, database: &str, text: &str) -> [usize; 2] {
    Node::ALL
        .map(|node| cluster.statements(node, database).iter().filter(|s| s.contains(text)).count())
}

const SCHEMA: &str = "
    CREATE TABLE t (a int);
    INSERT INTO t VALUES (1);
    CREATE SEQUENCE numbers;
    CREATE FUNCTION add_row(a int) RETURNS int LANGUAGE sql AS
        'INSERT INTO t VALUES (a) RETURNING a';
    CREATE VIEW writing_view AS SELECT add_row(100) AS a;
    CREATE UNLOGGED TABLE unlogged_t (a int);
";

fn database(cluster: &Cluster) -> String {
    let database = cluster.create_database_with(SCHEMA);
    cluster.log_statements(&database);
    database
}

/// With equal weights both nodes answer reads, each read is run once, and writes never reach
/// the standby.
pub fn reads_are_spread(scenario: &Scenario) {
    const SESSIONS: usize = 40;
    let cluster = Cluster::shared();
    let database = database(cluster);
    let proxy = scenario.start(cluster, &scenario.config());
    for i in 0..SESSIONS {
        // A proxy may choose the node per session or per statement.
        let mut client = proxy.connect(&database);
        let reply = if i % 2 == 0 {
            client.query("SELECT a /* spread */ FROM t WHERE a = 1")
        } else {
            client.extended("SELECT a /* spread */ FROM t WHERE a = $1", &[Some("1")])
        };
        assert_eq!(reply.value(), "1");
        client.query(&format!("INSERT /* written */ INTO t VALUES ({})", i + 1000)).ok();
        client.close();
    }
    let [primary, standby] = runs(cluster, &database, "spread");
    assert_eq!(primary + standby, SESSIONS, "every read runs once");
    // By chance alone this fails once in 10^12 runs.
    assert!(primary > 0 && standby > 0, "primary {primary}, standby {standby}");
    assert_eq!(runs(cluster, &database, "written"), [SESSIONS, 0]);
}

/// A node of weight 0 gets no reads.
pub fn weights_are_kept(scenario: &Scenario) {
    let cluster = Cluster::shared();
    for (weights, expected) in [((0, 1), [0, 20]), ((1, 0), [20, 0])] {
        let database = database(cluster);
        let config = scenario.config().weights(weights.0, weights.1);
        let proxy = scenario.start(cluster, &config);
        for _ in 0..10 {
            let mut client = proxy.connect(&database);
            client.query("SELECT a /* mine */ FROM t").ok();
            client.extended("SELECT count(*) /* mine */ FROM t", &[]).ok();
            client.close();
        }
        assert_eq!(runs(cluster, &database, "mine"), expected, "{weights:?}");
    }
}

/// Writes, and reads that must see or lock what the primary has, run there; plain reads do not,
/// when only the standby has weight.
pub fn writes_and_what_follows(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = database(cluster);
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    for sql in [
        "INSERT /* on primary */ INTO t VALUES (2)",
        "UPDATE t SET a = a /* on primary */",
        "SELECT a FROM t /* on primary */ FOR UPDATE",
        "SELECT a FROM t /* on primary */ FOR KEY SHARE",
        "SELECT a /* on primary */ FROM (SELECT a FROM t FOR SHARE) s",
        "WITH gone AS (DELETE FROM t WHERE a = 2 RETURNING a) SELECT a /* on primary */ FROM gone",
        "SELECT a /* on primary */ INTO copied FROM t",
        "CREATE TABLE made AS SELECT a /* on primary */ FROM t",
        "SELECT nextval('numbers') /* on primary */",
        "TRUNCATE made /* on primary */",
        "VACUUM t /* on primary */",
        "SELECT 1; INSERT INTO t VALUES (3) /* on primary */",
        "EXPLAIN ANALYZE DELETE /* on primary */ FROM t WHERE a = 3",
        "NOTIFY nobody /* on primary */",
        "SELECT pg_advisory_xact_lock(1) /* on primary */",
    ] {
        let before = runs(cluster, &database, "on primary");
        client.query(sql).ok();
        let after = runs(cluster, &database, "on primary");
        assert_eq!(after, [before[0] + 1, 0], "{sql}");
    }
    for sql in ["BEGIN", "INSERT INTO t VALUES (4)"] {
        client.query(sql).ok();
    }
    let inside = "SELECT count(*) FROM t WHERE a = 4 /* after write */";
    assert_eq!(client.query(inside).value(), "1");
    assert_eq!(client.extended(inside, &[]).value(), "1");
    client.query("SAVEPOINT s").ok();
    client.query("ROLLBACK TO s").ok();
    assert_eq!(client.query(inside).value(), "1");
    client.query("COMMIT").ok();
    assert_eq!(runs(cluster, &database, "after write"), [3, 0]);

    cluster.wait_replayed();
    // What it has made may have changed what its statements are, until that was looked up.
    wait_for("reads leave the primary again", || {
        client.query("SELECT a FROM t /* settling */").ok();
        runs(cluster, &database, "settling")[1] > 0
    });
    for sql in [
        "SELECT a FROM t /* plain read */",
        "  select count(*) from t /* plain read */ ;",
        "(SELECT a FROM t /* plain read */)",
        "TABLE t /* plain read */",
        "WITH w AS (SELECT a FROM t) SELECT a /* plain read */ FROM w",
        "SELECT now(), lower('X'), 'for update' /* plain read */",
    ] {
        client.query(sql).ok();
    }
    assert_eq!(runs(cluster, &database, "plain read"), [0, 6]);
    client.close();
}

/// A read that turns out to write succeeds, wherever it was sent first.
pub fn reads_that_write(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = database(cluster);
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    assert_eq!(client.query("SELECT add_row(5)").value(), "5");
    assert_eq!(client.extended("SELECT add_row($1)", &[Some("6")]).value(), "6");
    assert_eq!(client.query("SELECT a FROM writing_view").value(), "100");
    let stored = cluster.sql(Node::Primary, &database, "SELECT a FROM t ORDER BY a");
    assert_eq!(stored, [row(&["1"]), row(&["5"]), row(&["6"]), row(&["100"])]);
    client.query("BEGIN").ok();
    client.query("SELECT a FROM t").ok();
    assert_eq!(client.query("SELECT add_row(7)").value(), "7");
    assert_eq!(client.query("SELECT count(*) FROM t WHERE a = 7").value(), "1");
    client.query("COMMIT").ok();
    let stored = cluster.value(Node::Primary, &database, "SELECT count(*) FROM t WHERE a = 7");
    assert_eq!(stored, "1");
    client.close();
}

/// Tables that exist only on the primary can be read.
pub fn temporary_and_unlogged_tables(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = database(cluster);
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    client.query("INSERT INTO unlogged_t VALUES (1)").ok();
    assert_eq!(client.query("SELECT a FROM unlogged_t").value(), "1");
    assert_eq!(client.extended("SELECT a FROM unlogged_t", &[]).value(), "1");
    for _ in 0..2 {
        let reply = client.query("COPY unlogged_t TO STDOUT");
        assert_eq!(reply.shape, "HdcCZ", "{:?}", reply.errors);
        assert_eq!(reply.copied, b"1\n");
    }
    assert_eq!(client.query("COPY t TO STDOUT").copied, b"1\n");

    client.query("BEGIN").ok();
    // Shadows the permanent table of the same name.
    client.query("CREATE TEMP TABLE t (a int) ON COMMIT DROP").ok();
    client.query("INSERT INTO t VALUES (77)").ok();
    assert_eq!(client.query("SELECT a FROM t").value(), "77");
    client.query("COMMIT").ok();
    assert_eq!(client.query("SELECT a FROM t").value(), "1");
    client.close();
}
