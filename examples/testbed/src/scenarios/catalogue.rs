//! What only the catalogue tells: functions, views, tables and operators that a standby must not
//! get, though the statement looks like a read.

use crate::cluster::{APP, wait_for};
use crate::raw_client::RawClient;
use crate::{Cluster, Node, Scenario, wire};

const SCHEMA: &str = r#"
    CREATE TABLE t (a int);
    INSERT INTO t VALUES (1);
    CREATE SEQUENCE numbers;
    CREATE FUNCTION f_volatile(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
    CREATE FUNCTION f_lies() RETURNS bigint LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN nextval(''numbers''); END';
    CREATE FUNCTION f_inlined() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT f_lies()';
    CREATE FUNCTION f_volatile_default(a bigint DEFAULT f_lies()) RETURNS bigint
        LANGUAGE plpgsql AS 'BEGIN RETURN a; END';
    CREATE FUNCTION f_stable(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END';
    CREATE FUNCTION f_immutable(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE FUNCTION f_next() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT nextval(''numbers'')';
    CREATE FUNCTION f_wraps() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN F_Next(); END';
    CREATE FUNCTION f_atomic() RETURNS bigint STABLE RETURN nextval('numbers');
    CREATE FUNCTION f_default(a bigint DEFAULT nextval('numbers')) RETURNS bigint
        LANGUAGE sql STABLE AS 'SELECT a';
    CREATE FUNCTION f_tenant() RETURNS text LANGUAGE sql STABLE AS
        'SELECT current_setting(''app.tenant'', true)';
    CREATE FUNCTION f_port() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_setting(''port'')';
    CREATE FUNCTION "Mixed Case"(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
    CREATE FUNCTION "mixed case"(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
    CREATE FUNCTION lower(t) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN ''x''; END';
    CREATE FUNCTION nextval(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE AGGREGATE f_aggregate(int) (SFUNC = int4pl, STYPE = int);
    CREATE FUNCTION add(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1 + $2; END';
    CREATE AGGREGATE volatile_aggregate(int) (SFUNC = add, STYPE = int);
    CREATE FUNCTION of_row(t) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
    CREATE OPERATOR @+@ (LEFTARG = int, RIGHTARG = int, FUNCTION = add);
    CREATE SCHEMA one;
    CREATE SCHEMA two;
    CREATE FUNCTION one.g() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
    CREATE FUNCTION two.g() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
    CREATE VIEW view_plain AS SELECT f_stable(a) AS a, upper('x') AS b FROM t;
    CREATE VIEW view_function AS SELECT f_volatile(a) AS a FROM t;
    CREATE VIEW view_of_view AS SELECT * FROM view_function;
    CREATE VIEW view_lies AS SELECT f_lies();
    CREATE VIEW view_over_both AS SELECT v.a, l.f_lies FROM view_function v, view_lies l;
    CREATE VIEW view_next AS SELECT nextval('numbers');
    CREATE VIEW view_lock AS SELECT * FROM t FOR UPDATE;
    CREATE VIEW view_server AS SELECT pg_backend_pid();
    CREATE VIEW view_activity AS SELECT pid FROM pg_stat_activity;
    CREATE VIEW view_operator AS SELECT a @+@ 1 AS a FROM t;
    CREATE UNLOGGED TABLE unlogged_t (a int);
    CREATE VIEW view_unlogged AS SELECT * FROM unlogged_t;
    CREATE TABLE parent (a int) PARTITION BY RANGE (a);
    CREATE TABLE part_1 PARTITION OF parent FOR VALUES FROM (0) TO (10);
    CREATE UNLOGGED TABLE part_2 PARTITION OF parent FOR VALUES FROM (10) TO (20);
    CREATE MATERIALIZED VIEW stored AS SELECT f_volatile(a) AS a FROM t;
    CREATE TABLE guarded (a int);
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON guarded USING (f_volatile(a) = 1);
"#;

fn runs(cluster: &Cluster, database: &str, text: &str) -> [usize; 2] {
    Node::ALL
        .map(|node| cluster.statements(node, database).iter().filter(|s| s.contains(text)).count())
}

/// Each statement, and how often it ran on primary and standby. A statement that the standby
/// refuses and the primary then runs counts for both.
struct Where<'a> {
    cluster: &'a Cluster,
    database: &'a str,
    marks: usize,
}

impl Where<'_> {
    fn of(&mut self, client: &mut RawClient, sql: &str) -> [usize; 2] {
        let simple = self.once(client, sql);
        let mark = self.mark();
        let reply = client.extended(&format!("{sql} {mark}"), &[]);
        assert!(reply.errors.is_empty(), "{sql}: {:?}", reply.errors);
        assert_eq!(runs(self.cluster, self.database, &mark), simple, "{sql}");
        simple
    }

    /// By the simple protocol alone.
    fn once(&mut self, client: &mut RawClient, sql: &str) -> [usize; 2] {
        let mark = self.mark();
        let reply = client.query(&format!("{sql} {mark}"));
        assert!(reply.errors.is_empty(), "{sql}: {:?}", reply.errors);
        runs(self.cluster, self.database, &mark)
    }

    fn mark(&mut self) -> String {
        self.marks += 1;
        format!("/* where {} of {} */", self.marks, self.database)
    }
}

const PRIMARY: [usize; 2] = [1, 0];
const STANDBY: [usize; 2] = [0, 1];

/// Statements go where the catalogue says, at once and without a refusal.
pub fn facts_decide(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    cluster.log_statements(&database);
    cluster.wait_replayed();
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    let mut places = Where { cluster, database: &database, marks: 0 };
    for (sql, expected) in [
        ("SELECT a FROM t", STANDBY),
        ("SELECT f_stable(1), F_IMMUTABLE(1)", STANDBY),
        ("SELECT public.f_stable(a) FROM public.t", STANDBY),
        ("SELECT f_volatile(1)", PRIMARY),
        ("SELECT public.F_Volatile(1)", PRIMARY),
        ("SELECT \"f_volatile\"(1)", PRIMARY),
        ("SELECT f_next()", PRIMARY),
        ("SELECT f_wraps()", PRIMARY),
        ("SELECT f_atomic()", PRIMARY),
        ("SELECT f_default()", PRIMARY),
        ("SELECT f_tenant()", STANDBY),
        ("SELECT f_port()", PRIMARY),
        ("SELECT \"Mixed Case\"(1)", PRIMARY),
        ("SELECT \"mixed case\"(1)", STANDBY),
        ("SELECT lower(t) FROM t", PRIMARY),
        ("SELECT upper('x')", STANDBY),
        ("SELECT pg_catalog.lower('X')", STANDBY),
        ("SELECT nextval(1, 2)", PRIMARY),
        ("SELECT public.nextval(1, 2)", STANDBY),
        ("SELECT f_aggregate(a) FROM t", STANDBY),
        ("SELECT volatile_aggregate(a) FROM t", PRIMARY),
        ("SELECT one.g()", STANDBY),
        ("SELECT two.g()", PRIMARY),
        ("SELECT * FROM view_plain", STANDBY),
        ("SELECT * FROM view_function", PRIMARY),
        ("SELECT * FROM View_Of_View", PRIMARY),
        ("SELECT * FROM view_next", PRIMARY),
        ("SELECT * FROM view_lock", PRIMARY),
        ("SELECT * FROM view_server", PRIMARY),
        ("SELECT * FROM view_activity", PRIMARY),
        ("SELECT * FROM view_operator", PRIMARY),
        ("SELECT * FROM unlogged_t", PRIMARY),
        ("SELECT * FROM public.unlogged_t", PRIMARY),
        ("SELECT * FROM \"unlogged_t\"", PRIMARY),
        ("SELECT * FROM view_unlogged", PRIMARY),
        ("SELECT * FROM parent", PRIMARY),
        ("SELECT * FROM part_1", STANDBY),
        ("SELECT last_value FROM numbers", PRIMARY),
        ("SELECT * FROM stored", STANDBY),
        ("SELECT * FROM guarded", PRIMARY),
        // Planning runs no volatile function, but whatever else is said to write.
        ("EXPLAIN SELECT f_volatile(1)", STANDBY),
        ("EXPLAIN SELECT two.g(), f_volatile(a) FROM t", STANDBY),
        ("EXPLAIN SELECT * FROM view_function", STANDBY),
        ("EXPLAIN SELECT * FROM view_of_view", STANDBY),
        ("EXPLAIN SELECT * FROM view_lock", STANDBY),
        ("EXPLAIN SELECT * FROM guarded", STANDBY),
        ("EXPLAIN ANALYZE SELECT f_volatile(1)", PRIMARY),
        ("EXPLAIN ANALYZE SELECT * FROM view_function", PRIMARY),
        ("EXPLAIN SELECT f_lies()", PRIMARY),
        ("EXPLAIN SELECT f_inlined()", PRIMARY),
        ("EXPLAIN SELECT f_volatile_default()", PRIMARY),
        ("EXPLAIN SELECT f_wraps()", PRIMARY),
        ("EXPLAIN SELECT volatile_aggregate(a) FROM t", PRIMARY),
        ("EXPLAIN SELECT nextval(1, 2)", PRIMARY),
        ("EXPLAIN SELECT * FROM view_server", PRIMARY),
        ("EXPLAIN SELECT * FROM view_operator", PRIMARY),
        ("EXPLAIN SELECT * FROM view_unlogged", PRIMARY),
        ("EXPLAIN SELECT * FROM view_lies", PRIMARY),
        ("EXPLAIN SELECT * FROM view_over_both", PRIMARY),
        ("SELECT count(*) FROM information_schema.columns", STANDBY),
    ] {
        assert_eq!(places.of(&mut client, sql), expected, "{sql}");
    }
    client.close();
    assert!(!proxy.log().contains("cannot look up"), "{}", proxy.log());
}

/// Functions that are called without parentheses: behind a dot, and by operators.
pub fn hidden_calls(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    cluster.log_statements(&database);
    cluster.wait_replayed();
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    let mut places = Where { cluster, database: &database, marks: 0 };
    for (sql, expected) in [
        ("SELECT t.a, a + 1 FROM t", STANDBY),
        ("SELECT t.of_row FROM t", PRIMARY),
        ("SELECT (t).of_row FROM t", PRIMARY),
        ("SELECT a @+@ 1 FROM t", PRIMARY),
        ("SELECT a OPERATOR(public.@+@) 1 FROM t", PRIMARY),
    ] {
        assert_eq!(places.of(&mut client, sql), expected, "{sql}");
    }
    client.close();
}

/// Foreign tables are read on the primary: what they show may be its own.
pub fn foreign_tables(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'file_fdw'";
    if cluster.value(Node::Primary, &database, available) == "0" {
        return;
    }
    let file = cluster.value(Node::Primary, &database, "SHOW data_directory") + "/PG_VERSION";
    cluster.sql(
        Node::Primary,
        &database,
        &format!(
            "CREATE EXTENSION file_fdw;
             CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
             CREATE FOREIGN TABLE ft (line text) SERVER files OPTIONS (filename '{file}');
             GRANT SELECT ON ft TO {APP};
             CREATE VIEW view_foreign AS SELECT * FROM ft;
             GRANT SELECT ON view_foreign TO {APP}"
        ),
    );
    cluster.log_statements(&database);
    cluster.wait_replayed();
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    let mut places = Where { cluster, database: &database, marks: 0 };
    assert_eq!(places.of(&mut client, "SELECT line FROM ft"), PRIMARY);
    assert_eq!(places.of(&mut client, "SELECT line FROM view_foreign"), PRIMARY);
    assert_eq!(places.of(&mut client, "SELECT a FROM t"), STANDBY);
    client.close();
}

/// What a standby has refused once is sent to the primary from then on, by whomever and in whatever
/// statement.
pub fn refusals_teach(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(
        "CREATE SEQUENCE numbers;
         CREATE FUNCTION hidden(a int) RETURNS int LANGUAGE plpgsql STABLE AS
             $$ BEGIN EXECUTE $q$SELECT next$q$ || $q$val('num$q$ || $q$bers')$q$; RETURN a; END $$",
    );
    cluster.log_statements(&database);
    cluster.wait_replayed();
    let config = scenario.config().weights(0, 1).line("log_min_messages = info");
    let proxy = scenario.start(cluster, &config);
    let mut client = proxy.connect(&database);
    let mut places = Where { cluster, database: &database, marks: 0 };
    assert_eq!(places.once(&mut client, "SELECT hidden(1)"), [1, 1], "healed");
    client.close();
    let mut client = proxy.connect(&database);
    for sql in ["SELECT hidden(1)", "select HIDDEN(2)", "SELECT 1 + public.hidden(3)"] {
        assert_eq!(places.of(&mut client, sql), PRIMARY, "{sql}");
    }
    client.close();
    let log = proxy.log();
    assert!(log.contains("function hidden writes: learned from a refusal of node 1"), "{log}");
}

/// A change that was made elsewhere is noticed after `relcache_expire`.
pub fn facts_expire(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    cluster.log_statements(&database);
    cluster.wait_replayed();
    let config = scenario.config().weights(0, 1).line("relcache_expire = 1");
    let proxy = scenario.start(cluster, &config);
    let mut client = proxy.connect(&database);
    let mut places = Where { cluster, database: &database, marks: 0 };
    assert_eq!(places.of(&mut client, "SELECT f_stable(1)"), STANDBY);
    cluster.sql(Node::Primary, &database, "ALTER FUNCTION f_stable(int) VOLATILE");
    wait_for("the change is noticed", || places.once(&mut client, "SELECT f_stable(1)") == PRIMARY);
    client.close();
}

/// A change that was made through the proxy is noticed at once: reads go to the primary until the
/// catalogue was looked up anew.
pub fn changes_are_noticed(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    cluster.log_statements(&database);
    cluster.wait_replayed();
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    let mut places = Where { cluster, database: &database, marks: 0 };
    assert_eq!(places.of(&mut client, "SELECT f_stable(1)"), STANDBY);
    client.query("ALTER FUNCTION f_stable(int) VOLATILE").ok();
    for _ in 0..3 {
        assert_eq!(places.of(&mut client, "SELECT f_stable(1)"), PRIMARY);
    }
    wait_for("reads are spread again", || places.once(&mut client, "SELECT a FROM t") == STANDBY);
    assert_eq!(places.of(&mut client, "SELECT f_stable(1)"), PRIMARY);
    client.query("ALTER FUNCTION f_stable(int) STABLE").ok();
    wait_for("the function is harmless again", || {
        places.once(&mut client, "SELECT f_stable(1)") == STANDBY
    });
    client.close();
}

/// The first client of a database asks for parameters, which its server has to be asked for, while
/// the catalogue is still looked up: it waits for both, and holds nobody up.
pub fn first_login_with_parameters(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut first = RawClient::open(&proxy.address());
    let wanted = [("user", APP), ("database", &*database), ("DateStyle", "German")];
    first.send(&wire::startup(wire::PROTOCOL_3_0, &wanted));
    first.finish_login().unwrap_or_else(|fault| panic!("login refused: {fault:?}"));
    assert_eq!(first.query("SELECT date '2000-02-01'").value(), "01.02.2000");
    let mut second = proxy.connect(&database);
    assert_eq!(second.query("SELECT 1").value(), "1");
    first.close();
    second.close();
}

/// What routing could not read, had to heal or had to move is counted, and told at the end.
pub fn rare_events_are_counted(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE SEQUENCE numbers;
         CREATE FUNCTION f_hidden() RETURNS void LANGUAGE plpgsql STABLE
             AS $$BEGIN EXECUTE 'SELECT next' || 'val(''num' || 'bers'')'; END$$;",
    );
    let mut proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    client.query("SELECT f_hidden()").ok();
    for sql in ["BEGIN", "SELECT a FROM t", "UPDATE t SET a = 2", "COMMIT"] {
        client.query(sql).ok();
    }
    assert!(!client.query("SELECT 'never closed").errors.is_empty());
    assert!(!client.query("FROBNICATE t").errors.is_empty());
    client.close();
    assert!(proxy.stop().success());
    let log = proxy.log();
    let told = log.lines().find(|line| line.contains("all clients have left")).unwrap_or(&log);
    for count in [
        "not readable: 1,",
        "unknown kind: 1,",
        "refusal: 1;",
        "moved to the primary: 1;",
        "learned: 1",
    ] {
        assert!(told.contains(count), "{count}: {told}");
    }
}
