//! Statements, answers, errors and transactions, as every client uses them.

use tokio_postgres::types::Type;

use super::row;
use crate::raw_client::Reply;
use crate::{Cluster, Node, Scenario, drivers, wire};

/// Simple queries: one, several and no statement, NULL and empty values, errors with the
/// server's SQLSTATE, after which the connection goes on.
pub fn simple(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);

    let reply = client.query("SELECT 1, NULL, '', 'a b'");
    assert_eq!(reply.shape, "TDCZ");
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(reply.rows, [vec![text("1"), None, text(""), text("a b")]]);
    assert_eq!((reply.status, &*reply.commands[0]), (b'I', "SELECT 1"));

    let reply = client.query("SELECT 1; SELECT 2; SELECT 3 WHERE false");
    assert_eq!(reply.shape, "TDCTDCTCZ");
    assert_eq!(reply.rows, [row(&["1"]), row(&["2"])]);

    for empty in ["", " ", ";", "-- nothing", "/* nothing */"] {
        assert_eq!(client.query(empty).shape, "IZ", "{empty:?}");
    }

    for (sql, code) in [
        ("SELECT 1/0", "22012"),
        ("SELECT 1/0 -- again", "22012"),
        ("SELEC", "42601"),
        ("SELECT * FROM no_such_table", "42P01"),
        ("SELECT no_such_function()", "42883"),
        ("INSERT INTO no_such_table VALUES (1)", "42P01"),
        ("DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = 'XY123'; END $$", "XY123"),
    ] {
        let reply = client.query(sql);
        assert_eq!((reply.code(), &*reply.shape, reply.status), (code, "EZ", b'I'), "{sql}");
        assert_eq!(client.query("SELECT 'on'").value(), "on", "after {sql}");
    }

    let reply = client.query("SELECT 1; SELECT 1/0; SELECT 2");
    assert_eq!((&*reply.shape, reply.code()), ("TDCEZ", "22012"));

    client.query("CREATE TABLE t (a int)").ok();
    // The implicit transaction of a query string that fails is rolled back as a whole.
    assert_eq!(client.query("INSERT INTO t VALUES (1); SELECT 1/0").code(), "22012");
    assert_eq!(client.query("BEGIN; SELECT count(*) FROM t; COMMIT").rows, [row(&["0"])]);
    assert_eq!(client.query("INSERT INTO t VALUES (1), (2)").commands, ["INSERT 0 2"]);
    assert_eq!(client.query("UPDATE t SET a = a + 1").commands, ["UPDATE 2"]);
    let reply = client.query("DELETE FROM t WHERE a = 3 RETURNING a");
    assert_eq!((reply.rows, &*reply.commands[0]), (vec![row(&["3"])], "DELETE 1"));
    client.close();
}

/// The extended protocol with the unnamed statement and portal: parameters, NULL, descriptions,
/// limits on rows, errors at each step.
pub fn extended(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);

    let reply = client.extended("SELECT $1::int + 1, $2::text", &[Some("41"), None]);
    assert_eq!(reply.shape, "12TDCZ");
    assert_eq!(reply.rows, [vec![Some("42".to_owned()), None]]);
    assert_eq!(client.extended("SELECT 1 WHERE false", &[]).shape, "12TCZ");
    assert_eq!(client.extended("CREATE TABLE t (a int)", &[]).shape, "12nCZ");
    assert_eq!(client.extended("INSERT INTO t VALUES ($1)", &[Some("1")]).commands, ["INSERT 0 1"]);
    assert_eq!(client.extended("", &[]).shape, "12nIZ");

    let describe = [wire::parse("", "SELECT $1::int"), wire::describe_statement(""), wire::sync()];
    assert_eq!(client.ask(&describe.concat()).shape, "1tTZ");

    let limited = [
        wire::parse("", "SELECT g FROM generate_series(1, 5) g"),
        wire::bind("", "", &[]),
        wire::execute("", 2),
        wire::execute("", 2),
        wire::execute("", 2),
        wire::sync(),
    ];
    let reply = client.ask(&limited.concat());
    assert_eq!(reply.shape, "12DDsDDsDCZ");
    assert_eq!(reply.rows, ["1", "2", "3", "4", "5"].map(|g| row(&[g])));

    let bad_parse = client.extended("SELEC", &[]);
    assert_eq!((bad_parse.code(), &*bad_parse.shape), ("42601", "EZ"));
    let bad_bind = client.extended("SELECT $1::int", &[Some("x")]);
    assert_eq!((bad_bind.code(), &*bad_bind.shape), ("22P02", "1EZ"));
    let bad_execute = client.extended("SELECT 1 / g FROM generate_series($1, 0) g", &[Some("0")]);
    assert_eq!((bad_execute.code(), &*bad_execute.shape), ("22012", "12TEZ"));
    let unknown = client.ask(&[wire::bind("", "missing", &[]), wire::sync()].concat());
    assert_eq!((unknown.code(), &*unknown.shape), ("26000", "EZ"));
    let unknown = client.ask(&[wire::execute("missing", 0), wire::sync()].concat());
    assert_eq!((unknown.code(), &*unknown.shape), ("34000", "EZ"));
    let unknown = client.ask(&[wire::close_statement("missing"), wire::sync()].concat());
    assert_eq!(unknown.shape, "3Z");
    assert_eq!(client.ask(&wire::sync()).shape, "Z");
    assert_eq!(client.extended("SELECT $1", &[Some("on")]).value(), "on");
    client.close();
}

/// Values of many types arrive as the server formats them.
pub fn types(scenario: &Scenario) {
    const SQL: &str = "SELECT true, 9223372036854775807, 1.50::numeric, 'NaN'::float8, \
        '2024-02-29 12:00:00+00'::timestamptz AT TIME ZONE 'UTC', '{\"a\": [1, null]}'::jsonb, \
        ARRAY['x', NULL, 'y z'], '\\xdeadbeef'::bytea, 'żółw 🐢', '1 day'::interval";
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let direct = cluster.sql(Node::Primary, &database, SQL);
    let mut client = proxy.connect(&database);
    assert_eq!(client.query(SQL).ok(), direct);
    assert_eq!(client.extended(SQL, &[]).ok(), direct);
    client.close();
}

/// BEGIN, COMMIT, ROLLBACK, savepoints and the status byte of ReadyForQuery.
pub fn transactions(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);
    let mut step = |sql: &str, status: u8| -> Reply {
        let reply = client.query(sql);
        assert_eq!(char::from(reply.status), char::from(status), "{sql}: {reply:?}");
        reply
    };
    let stored = || cluster.value(Node::Primary, &database, "SELECT count(*) FROM t");

    step("BEGIN", b'T').ok();
    step("INSERT INTO t VALUES (1)", b'T').ok();
    assert_eq!(step("SELECT count(*) FROM t", b'T').value(), "1");
    assert_eq!(stored(), "0");
    step("COMMIT", b'I').ok();
    assert_eq!(stored(), "1");

    step("START TRANSACTION", b'T').ok();
    step("INSERT INTO t VALUES (2)", b'T').ok();
    step("ROLLBACK", b'I').ok();
    assert_eq!(stored(), "1");

    step("BEGIN", b'T').ok();
    step("INSERT INTO t VALUES (3)", b'T').ok();
    step("SAVEPOINT s", b'T').ok();
    step("INSERT INTO t VALUES (4)", b'T').ok();
    assert_eq!(step("SELECT 1/0", b'E').code(), "22012");
    assert_eq!(step("SELECT 1", b'E').code(), "25P02");
    step("ROLLBACK TO s", b'T').ok();
    assert_eq!(step("SELECT count(*) FROM t", b'T').value(), "2");
    step("RELEASE s", b'T').ok();
    assert_eq!(step("COMMIT AND CHAIN", b'T').commands, ["COMMIT"]);
    step("INSERT INTO t VALUES (5)", b'T').ok();
    step("ABORT", b'I').ok();
    assert_eq!(stored(), "2");

    step("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", b'T').ok();
    assert_eq!(step("SHOW transaction_isolation", b'T').value(), "repeatable read");
    assert_eq!(step("INSERT INTO t VALUES (6)", b'E').code(), "25006");
    step("END", b'I').ok();

    step("BEGIN; INSERT INTO t VALUES (7)", b'T').ok();
    assert_eq!(step("SELECT count(*) FROM t", b'T').value(), "3");
    step("COMMIT; BEGIN", b'T').ok();
    step("ROLLBACK", b'I').ok();
    assert_eq!(stored(), "3");
    // What PostgreSQL only warns of is not an error here either.
    assert_eq!(step("ROLLBACK", b'I').notices[0].code, "25P01");
    assert_eq!(step("COMMIT", b'I').notices[0].code, "25P01");
    client.close();
}

/// After an error, COMMIT rolls back, whichever node the failing statement ran on.
pub fn failed_transaction_never_commits(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    for steps in [
        &["INSERT INTO t VALUES (1)", "SELECT 1/0"][..],
        &["SELECT 1/0", "INSERT INTO t VALUES (1)"],
        &["SELECT 1", "INSERT INTO t VALUES (1)", "SELECT 1/0"],
        &["INSERT INTO t VALUES (1)", "SAVEPOINT s", "ROLLBACK TO s", "SELECT 1/0"],
        &["SAVEPOINT s", "INSERT INTO t VALUES (1)", "RELEASE s", "SELECT 1/0", ""],
        &["INSERT INTO t VALUES (1)", "BEGIN", "SELECT 1/0"],
    ] {
        client.query("BEGIN").ok();
        for step in steps {
            client.query(step);
        }
        let end = client.query("COMMIT");
        assert_eq!(end.commands, ["ROLLBACK"], "{steps:?}");
        assert_eq!(end.status, b'I', "{steps:?}");
        let stored = cluster.value(Node::Primary, &database, "SELECT count(*) FROM t");
        assert_eq!(stored, "0", "{steps:?}");
    }
    client.close();
}

/// Notices and warnings arrive, each once.
pub fn notices(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);
    let sql = "DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$";
    for reply in [client.query(sql), client.extended(sql, &[])] {
        let said: Vec<(&str, &str)> =
            reply.notices.iter().map(|n| (&*n.severity, &*n.message)).collect();
        assert_eq!(said, [("NOTICE", "one"), ("WARNING", "two")]);
        reply.ok();
    }
    let reply = client.query("DROP TABLE IF EXISTS no_such_table");
    assert_eq!(reply.notices.len(), 1);
    client.close();
}

/// A named statement is there for the whole of the transaction that prepared it.
pub fn prepared_in_one_transaction(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);
    let in_one_batch = [
        wire::parse("s", "SELECT $1::int * 2"),
        wire::bind("p", "s", &[Some("4")]),
        wire::execute("p", 0),
        wire::bind("p2", "s", &[Some("5")]),
        wire::execute("p2", 0),
        wire::close_statement("s"),
        wire::sync(),
    ];
    for _ in 0..3 {
        let reply = client.ask(&in_one_batch.concat());
        assert_eq!(reply.shape, "12DC2DC3Z");
        assert_eq!(reply.rows, [row(&["8"]), row(&["10"])]);
    }
    client.query("BEGIN").ok();
    let parse = [wire::parse("t", "SELECT $1::int + 1"), wire::sync()].concat();
    assert_eq!(client.ask(&parse).shape, "1Z");
    for i in 0..5 {
        let value = i.to_string();
        let run = [wire::bind("", "t", &[Some(&value)]), wire::execute("", 0), wire::sync()];
        assert_eq!(client.ask(&run.concat()).value(), (i + 1).to_string());
    }
    client.query("PREPARE u AS SELECT 'sql'").ok();
    assert_eq!(client.query("EXECUTE u").value(), "sql");
    client.query("DEALLOCATE u").ok();
    assert_eq!(client.ask(&[wire::close_statement("t"), wire::sync()].concat()).shape, "3Z");
    client.query("COMMIT").ok();
    client.close();
}

/// A statement prepared once can be run in every later transaction of the session.
pub fn prepared_statements_last(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);
    let parse = [
        wire::parse("read", "SELECT $1::int * 2"),
        wire::parse("write", "INSERT INTO t VALUES ($1) RETURNING a"),
        wire::parse("", "SELECT 'unnamed'"),
        wire::sync(),
    ];
    assert_eq!(client.ask(&parse.concat()).shape, "111Z");
    let run = [wire::bind("", "", &[]), wire::execute("", 0), wire::sync()];
    assert_eq!(client.ask(&run.concat()).value(), "unnamed");
    for i in 0..10_u32 {
        let value = i.to_string();
        for (name, answer) in [("read", i * 2), ("write", i)] {
            let run = [wire::bind("", name, &[Some(&value)]), wire::execute("", 0), wire::sync()];
            assert_eq!(client.ask(&run.concat()).value(), answer.to_string());
        }
    }
    client.query("BEGIN").ok();
    for name in ["write", "read"] {
        let run = [wire::bind("", name, &[Some("1")]), wire::execute("", 0), wire::sync()];
        client.ask(&run.concat()).ok();
    }
    client.query("COMMIT").ok();
    let again = [wire::parse("read", "SELECT 1"), wire::sync()].concat();
    assert_eq!(client.ask(&again).code(), "42P05");
    assert_eq!(client.ask(&[wire::close_statement("read"), wire::sync()].concat()).shape, "3Z");
    let run = [wire::bind("", "read", &[Some("1")]), wire::sync()].concat();
    assert_eq!(client.ask(&run).code(), "26000");
    client.query("PREPARE q AS SELECT 5").ok();
    assert_eq!(client.query("EXECUTE q").value(), "5");
    client.query("DEALLOCATE ALL").ok();
    assert_eq!(client.query("EXECUTE q").code(), "26000");
    let run = [wire::bind("", "write", &[Some("1")]), wire::sync()].concat();
    assert_eq!(client.ask(&run).code(), "26000");
    client.close();
}

/// A driver that sends parameters with the unnamed statement.
pub fn driver(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int, b text)");
    let proxy = scenario.start(cluster, &scenario.config());
    drivers::block_on(async {
        let client = drivers::connect(&proxy, &database).await;
        let insert = "INSERT INTO t VALUES ($1, $2)";
        for (a, b) in [(1, Some("x")), (2, None)] {
            let done = client
                .execute_typed(insert, &[(&a, Type::INT4), (&b, Type::TEXT)])
                .await
                .expect("insert");
            assert_eq!(done, 1);
        }
        cluster.wait_replayed();
        let rows = client.query_typed("SELECT a, b FROM t ORDER BY a", &[]).await.expect("select");
        let got: Vec<(i32, Option<String>)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
        assert_eq!(got, [(1, Some("x".to_owned())), (2, None)]);
        let error = client.query_typed("SELECT 1/0", &[]).await.expect_err("division by zero");
        assert_eq!(error.code().map(|c| c.code().to_owned()).as_deref(), Some("22012"));
        client.batch_execute("BEGIN; DELETE FROM t; ROLLBACK").await.expect("batch");
        let row = client.query_typed("SELECT count(*) FROM t", &[]).await.expect("count");
        assert_eq!(row[0].get::<_, i64>(0), 2);
    });
}

/// A driver in its ordinary way: named statements, transactions, savepoints.
pub fn driver_with_prepared_statements(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int PRIMARY KEY, b text)");
    let proxy = scenario.start(cluster, &scenario.config());
    drivers::block_on(async {
        let mut client = drivers::connect(&proxy, &database).await;
        let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").await.expect("prepare");
        let select = client.prepare("SELECT b FROM t WHERE a = $1").await.expect("prepare");
        for a in 0..20_i32 {
            client.execute(&insert, &[&a, &format!("row {a}")]).await.expect("insert");
        }
        cluster.wait_replayed();
        for a in 0..20_i32 {
            let row = client.query_one(&select, &[&a]).await.expect("select");
            assert_eq!(row.get::<_, String>(0), format!("row {a}"));
        }
        let mut outer = client.transaction().await.expect("begin");
        outer.execute("DELETE FROM t WHERE a < $1", &[&10_i32]).await.expect("delete");
        let inner = outer.transaction().await.expect("savepoint");
        let error = inner.execute(&insert, &[&15_i32, &"twice"]).await.expect_err("duplicate key");
        assert_eq!(error.code().map(|c| c.code().to_owned()).as_deref(), Some("23505"));
        inner.rollback().await.expect("rollback to savepoint");
        let row = outer.query_one("SELECT count(*) FROM t", &[]).await.expect("count");
        assert_eq!(row.get::<_, i64>(0), 10);
        outer.commit().await.expect("commit");
    });
    assert_eq!(cluster.value(Node::Primary, &database, "SELECT count(*) FROM t"), "10");
}

/// `psql` with its catalogue queries, variables and conditions.
pub fn psql_script(scenario: &Scenario) {
    const SCRIPT: &str = "
        CREATE TABLE person (id serial PRIMARY KEY, name text NOT NULL);
        INSERT INTO person (name) VALUES ('Ada'), ('Grace') RETURNING id;
        BEGIN;
        UPDATE person SET name = name || '!';
        SELECT name FROM person ORDER BY id;
        ROLLBACK;
        SELECT count(*) AS tables FROM pg_class WHERE relname = 'person' \\gset
        \\echo tables :tables
        \\d person
        \\dt
        SELECT format('SELECT %s', g) FROM generate_series(1, 3) g \\gexec
        \\set AUTOCOMMIT off
        DELETE FROM person;
        SELECT count(*) FROM person;
        ROLLBACK;
        \\set AUTOCOMMIT on
        EXPLAIN (COSTS OFF) SELECT 1;
    ";
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let through_proxy = drivers::psql(&proxy, &database, SCRIPT);

    let other = cluster.create_database();
    let mut direct = cluster.installation().client("psql");
    direct.arg("-h").arg("127.0.0.1").arg("-p").arg(cluster.port(Node::Primary).to_string());
    direct.args(["-U", "app", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", &other]);
    assert_eq!(through_proxy, drivers::run(direct, SCRIPT));
    assert!(through_proxy.contains("Ada!\nGrace!\n"), "{through_proxy}");
}
