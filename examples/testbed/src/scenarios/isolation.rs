//! What one client leaves in its session is never seen by the next.

use crate::{Cluster, Mode, Node, Scenario, wire};

/// One server per node; each client leaves something of a different kind behind.
pub fn nothing_is_left_behind(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1);
         CREATE SCHEMA other; CREATE TABLE other.t (a int); INSERT INTO other.t VALUES (2)",
    );
    cluster.sql(
        Node::Primary,
        "postgres",
        "DO $$ BEGIN
             CREATE ROLE isolation_role;
             GRANT isolation_role TO app;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    cluster.wait_replayed();
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1));
    // Each: what the first client does; what the second asks; its answer, value or SQLSTATE.
    let cases = [
        ("SET search_path = other", "SELECT a FROM t", "1"),
        ("SET work_mem = '7MB'", "SHOW work_mem", "4MB"),
        ("SELECT set_config('work_mem', '8MB', false)", "SHOW work_mem", "4MB"),
        ("SET TimeZone = 'Asia/Tokyo'", "SHOW TimeZone", "*TimeZone"),
        ("SET client_encoding = 'LATIN1'", "SHOW client_encoding", "UTF8"),
        ("SET standard_conforming_strings = off", "SHOW standard_conforming_strings", "on"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "INSERT INTO t VALUES (1)", ""),
        (
            "SET default_transaction_isolation = serializable",
            "SHOW transaction_isolation",
            "read committed",
        ),
        ("SET statement_timeout = 1", "SHOW statement_timeout", "0"),
        ("SET my.own = 'mine'", "SELECT coalesce(current_setting('my.own', true), '') = ''", "t"),
        ("SET ROLE isolation_role", "SELECT current_user", "app"),
        ("BEGIN; SET ROLE isolation_role; COMMIT", "SELECT current_user", "app"),
        ("SET SESSION AUTHORIZATION app; SET ROLE isolation_role", "SELECT current_user", "app"),
        ("CREATE TEMP TABLE left_over (a int)", "SELECT a FROM left_over", "42P01"),
        ("PREPARE left_over AS SELECT 1", "EXECUTE left_over", "26000"),
        ("DECLARE left_over CURSOR WITH HOLD FOR SELECT 1", "FETCH left_over", "34000"),
        ("LISTEN left_over", "SELECT count(*) FROM pg_listening_channels()", "0"),
        ("BEGIN; SET LOCAL work_mem = '9MB'", "SHOW work_mem", "4MB"),
        ("BEGIN; SET work_mem = '9MB'; COMMIT", "SHOW work_mem", "4MB"),
    ];
    let time_zone = cluster.value(Node::Primary, "postgres", "SHOW TimeZone");
    for (leave, ask, answer) in cases {
        let answer = if answer == "*TimeZone" { &time_zone } else { answer };
        for polite in [true, false] {
            let mut first = proxy.connect(&database);
            // A proxy may refuse what it cannot keep apart.
            let refused = !first.query(leave).errors.is_empty();
            assert!(!refused || scenario.mode() == Mode::Transaction, "{leave}");
            if polite {
                first.close();
            } else {
                drop(first);
            }
            let mut second = proxy.connect(&database);
            for in_transaction in [false, true, false] {
                if in_transaction {
                    // On the primary, whatever the proxy does with plain reads.
                    second.query("BEGIN; CREATE TEMP TABLE mine () ON COMMIT DROP").ok();
                }
                let reply = second.query(ask);
                let got = match reply.errors.first() {
                    Some(fault) => fault.code.clone(),
                    None if reply.rows.is_empty() => String::new(),
                    None => reply.value(),
                };
                assert_eq!(got, *answer, "{leave} (polite: {polite}), then {ask}");
                second.query("ROLLBACK");
            }
            second.close();
        }
    }
    advisory_lock(&proxy, &database);
    named_statement(&proxy, &database);
    notification(&proxy, &database);
}

/// In transaction mode a client that has undone what tied it to its server shares it again.
pub fn servers_are_shared_again(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let config = scenario.config().pool_size(1).weights(1, 0).wait_timeout(2);
    let proxy = scenario.start(cluster, &config);
    let mut first = proxy.connect(&database);
    let mut second = proxy.connect(&database);
    for (make, undo) in [
        ("LISTEN c", "UNLISTEN *"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE ALL"),
        ("PREPARE q AS SELECT 1", "DEALLOCATE ALL"),
        ("CREATE TEMP TABLE mine (a int)", "DISCARD ALL"),
        ("SELECT pg_advisory_lock(7)", "DISCARD ALL"),
    ] {
        first.query(make).ok();
        assert_eq!(second.query("SELECT 1").code(), "53300", "{make}");
        first.query(undo).ok();
        second.query("SELECT 1").ok();
    }
    // What only sets something ties nobody.
    first.query("SET work_mem = '7MB'").ok();
    assert_eq!(second.query("SHOW work_mem").value(), "4MB");
    assert_eq!(first.query("SHOW work_mem").value(), "7MB");
}

/// A lock of the session is free after the client has left.
fn advisory_lock(proxy: &crate::Proxy, database: &str) {
    let mut first = proxy.connect(database);
    first.query("SELECT pg_advisory_lock(99)");
    first.close();
    let mut direct = Cluster::shared().connect(Node::Primary, "app", database);
    direct.query("SELECT pg_advisory_lock(99)").ok();
}

/// A name that the first client has prepared is free for the second, and unknown to it.
fn named_statement(proxy: &crate::Proxy, database: &str) {
    for sql in ["SELECT 'first'", "SELECT 'second'"] {
        let mut client = proxy.connect(database);
        let unknown = [wire::bind("", "name", &[]), wire::execute("", 0), wire::sync()].concat();
        assert_eq!(client.ask(&unknown).code(), "26000");
        let batch = [wire::parse("name", sql), unknown].concat();
        let expected = if sql.contains("first") { "first" } else { "second" };
        assert_eq!(client.ask(&batch).value(), expected);
        client.close();
    }
}

/// A client that never said LISTEN gets no notification.
fn notification(proxy: &crate::Proxy, database: &str) {
    let mut first = proxy.connect(database);
    first.query("LISTEN left_over");
    first.close();
    let mut second = proxy.connect(database);
    let reply = second.query("NOTIFY left_over");
    assert!(reply.notifications.is_empty(), "{reply:?}");
    let reply = second.query("BEGIN; NOTIFY left_over; COMMIT");
    assert!(reply.notifications.is_empty(), "{reply:?}");
    let reply = second.query("SELECT 1");
    assert!(reply.notifications.is_empty(), "{reply:?}");
    second.close();
}
