//! Pgpool-II's load-balancing rules that need a session: what runs where within transactions and
//! after writes, on a real primary and standby of which only the standby has weight.
//!
//! Each step names Pgpool-II's node (observed on 4.3.5 and 4.7.2) and ours, which is compared with
//! the servers' statement logs. Where they differ the row says why.

use crate::{Cluster, Node, RawClient, Scenario, wire};

/// Where a statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Once, on the primary.
    P,
    /// Once, on the standby.
    L,
    /// Pgpool-II: on both. Ours: wherever the transaction or session is, and again where it goes.
    A,
    /// On the primary, whether or not the standby was asked before.
    ThenP,
}
use At::{A, L, P, ThenP};

/// What the client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// No error.
    Fine,
    /// This command tag.
    Tag(&'static str),
    /// An error with this SQLSTATE.
    Error(&'static str),
}
use Answer::{Error, Fine, Tag};

/// A statement, Pgpool-II's node, ours, our answer.
type Step = (&'static str, At, At, Answer);

/// Statements of one session, and why ours are not where Pgpool-II's are. A row with a reason
/// differs in a node, or in an answer that the reason quotes.
struct Row {
    steps: Vec<Step>,
    why: &'static str,
}

const SCHEMA: &str = "
    CREATE TABLE t1 (a int);
    INSERT INTO t1 VALUES (1);
    CREATE TABLE t2 (a int);
    CREATE UNLOGGED TABLE unlogged_t (a int);
    CREATE FUNCTION f_vol() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
";

/// The name of a step in the servers' logs.
fn mark(row: usize, step: usize) -> String {
    format!("/* row {row} step {step} */")
}

fn ask(client: &mut RawClient, sql: &str, mark: &str, answer: Answer) {
    let reply = client.query(&format!("{sql} {mark}"));
    match answer {
        Fine => assert!(reply.errors.is_empty() && reply.status != 0, "{sql} {mark}: {reply:?}"),
        Tag(tag) => assert_eq!(reply.commands, [tag], "{sql} {mark}: {reply:?}"),
        Error(code) => assert_eq!(reply.code(), code, "{sql} {mark}: {reply:?}"),
    }
}

/// Runs each row in a session of its own and compares the nodes.
fn check(scenario: &Scenario, lines: &[&str], rows: &[Row]) {
    check_each(scenario, lines, rows, |_, _| ());
}

/// The same, with a look at the database after each row.
fn check_each(scenario: &Scenario, lines: &[&str], rows: &[Row], after: impl Fn(&Cluster, &str)) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    cluster.log_statements(&database);
    let mut config = scenario.config().weights(0, 1);
    for line in lines {
        config = config.line(line);
    }
    let proxy = scenario.start(cluster, &config);
    for (number, row) in rows.iter().enumerate() {
        let mut client = proxy.connect(&database);
        for (at, (sql, _, _, answer)) in row.steps.iter().enumerate() {
            ask(&mut client, sql, &mark(number, at), *answer);
        }
        client.close();
        after(cluster, &database);
    }
    let [primary, standby] = Node::ALL.map(|node| cluster.statements(node, &database));
    let runs = |log: &[String], mark: &str| log.iter().filter(|s| s.contains(mark)).count();
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let moved = row.steps.iter().any(|(_, pgpool, ours, _)| pgpool != ours);
        assert!(!moved || !row.why.is_empty(), "row {number} differs without a reason");
        let mut text = String::new();
        let mut right = true;
        for (at, (sql, _, ours, _)) in row.steps.iter().enumerate() {
            let mark = mark(number, at);
            let found = (runs(&primary, &mark), runs(&standby, &mark));
            right &= match ours {
                P => found == (1, 0),
                L => found == (0, 1),
                ThenP => found.0 == 1,
                A => true,
            };
            text.push_str(&format!(
                "\n    {sql}: {ours:?} was wanted; primary, standby: {found:?}"
            ));
        }
        if !right {
            wrong.push(format!("row {number}:{text}"));
        }
    }
    assert!(wrong.is_empty(), "{lines:?}\n{}", wrong.join("\n"));
}

const READ: &str = "SELECT a FROM t1";
const INSERT: &str = "INSERT INTO t2 VALUES (1)";
const BEGIN: Step = ("BEGIN", A, A, Tag("BEGIN"));
const COMMIT: Step = ("COMMIT", A, A, Tag("COMMIT"));
const READ_ON_STANDBY: Step = (READ, L, L, Tag("SELECT 1"));
const READ_ON_PRIMARY: Step = (READ, P, P, Tag("SELECT 1"));
/// Pgpool-II reads on the standby, ours on the primary.
const READ_KEPT: Step = (READ, L, P, Tag("SELECT 1"));
/// The other way round.
const READ_FREED: Step = (READ, P, L, Tag("SELECT 1"));
const WRITE: Step = (INSERT, P, P, Tag("INSERT 0 1"));

/// A row whose transaction reads, runs a statement, and reads again.
macro_rules! around {
    ($statement:expr, $pgpool:expr, $ours:expr, $after:expr, $why:expr) => {
        Row {
            steps: vec![BEGIN, READ_ON_STANDBY, ($statement, $pgpool, $ours, Fine), $after, COMMIT],
            why: $why,
        }
    };
}

const WRITES_NOTHING: &str = "it writes nothing; it is repeated where the transaction goes";
const ONE_NODE: &str = "what only the primary can answer takes the transaction there, and it does not \
                        come back: one transaction, one order of states";

/// Reads of a transaction use the standby until something may write; then the transaction is on the
/// primary to its end.
pub fn writing_takes_a_transaction_to_the_primary(scenario: &Scenario) {
    check(
        scenario,
        &[],
        &[
            around!(INSERT, P, P, READ_ON_PRIMARY, ""),
            around!("UPDATE t2 SET a = 2", P, P, READ_ON_PRIMARY, ""),
            around!("DELETE FROM t2", P, P, READ_ON_PRIMARY, ""),
            around!(
                "MERGE INTO t2 USING t1 ON t1.a = t2.a WHEN MATCHED THEN DELETE",
                P,
                P,
                READ_ON_PRIMARY,
                ""
            ),
            around!("TRUNCATE t2", P, P, READ_ON_PRIMARY, ""),
            around!("CREATE TABLE made0 (a int)", P, P, READ_ON_PRIMARY, ""),
            around!("SELECT a FROM t1 FOR UPDATE", P, P, READ_ON_PRIMARY, ""),
            around!("SELECT f_vol()", P, P, READ_ON_PRIMARY, ""),
            around!("SET work_mem = '1MB'", A, A, READ_FREED, WRITES_NOTHING),
            around!("SET DateStyle = 'SQL, DMY'", A, A, READ_FREED, WRITES_NOTHING),
            around!("SET LOCAL work_mem = '1MB'", A, A, READ_FREED, WRITES_NOTHING),
            around!("SET search_path = public", A, A, READ_FREED, WRITES_NOTHING),
            around!("SET LOCAL search_path = public", A, A, READ_FREED, WRITES_NOTHING),
            around!("LOCK t1 IN ACCESS SHARE MODE", A, A, READ_FREED, WRITES_NOTHING),
            around!("LOCK t1", P, P, READ_ON_PRIMARY, ""),
            around!("SAVEPOINT s", A, A, READ_FREED, WRITES_NOTHING),
            around!("DECLARE c CURSOR FOR SELECT 1", P, P, READ_ON_PRIMARY, ""),
            around!("LISTEN somebody", P, P, READ_ON_PRIMARY, ""),
            around!("EXPLAIN ANALYZE DELETE FROM t2", P, P, READ_ON_PRIMARY, ""),
            around!(
                "PREPARE n AS SELECT 1",
                L,
                P,
                READ_KEPT,
                "the session that holds it must be able to run whatever EXECUTE asks for"
            ),
            around!(
                "SELECT relname FROM pg_class LIMIT 1",
                P,
                L,
                READ_ON_STANDBY,
                "the standby has the same catalogue"
            ),
            around!("SHOW search_path", L, L, READ_ON_STANDBY, ""),
            around!("COPY t1 TO STDOUT", L, L, READ_ON_STANDBY, ""),
            around!("EXPLAIN SELECT a FROM t1", P, L, READ_ON_STANDBY, "any node can plan a read"),
            around!("EXPLAIN DELETE FROM t2", P, L, READ_ON_STANDBY, "any node can plan a write"),
            Row {
                steps: vec![
                    BEGIN,
                    ("SELECT a FROM unlogged_t", P, ThenP, Tag("SELECT 0")),
                    READ_KEPT,
                    COMMIT,
                ],
                why: ONE_NODE,
            },
            Row {
                steps: vec![
                    BEGIN,
                    ("CREATE TEMP TABLE temp_t (a int)", P, P, Fine),
                    ("SELECT a FROM temp_t", P, P, Tag("SELECT 0")),
                    READ_ON_PRIMARY,
                    COMMIT,
                ],
                why: "",
            },
        ],
    );
}

/// Isolation levels and access modes.
pub fn transaction_modes(scenario: &Scenario) {
    const SNAPSHOT: &str = "one snapshot is one server's, and a write may follow";
    check(
        scenario,
        &[],
        &[
            Row {
                steps: vec![
                    ("BEGIN ISOLATION LEVEL SERIALIZABLE", A, A, Tag("BEGIN")),
                    READ_ON_PRIMARY,
                    COMMIT,
                ],
                why: "",
            },
            Row {
                steps: vec![
                    BEGIN,
                    ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", P, A, Tag("SET")),
                    READ_ON_PRIMARY,
                    COMMIT,
                ],
                why: "a BEGIN and the modes behind it are sent when the first statement needs a server",
            },
            Row {
                steps: vec![
                    ("SET default_transaction_isolation = 'serializable'", P, P, Tag("SET")),
                    BEGIN,
                    READ_ON_PRIMARY,
                    COMMIT,
                ],
                why: "",
            },
            Row {
                steps: vec![
                    ("BEGIN ISOLATION LEVEL REPEATABLE READ", A, A, Tag("BEGIN")),
                    READ_KEPT,
                    WRITE,
                    READ_ON_PRIMARY,
                    COMMIT,
                ],
                why: SNAPSHOT,
            },
            Row {
                steps: vec![
                    BEGIN,
                    ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", A, A, Tag("SET")),
                    READ_KEPT,
                    COMMIT,
                ],
                why: SNAPSHOT,
            },
            Row {
                steps: vec![
                    ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", A, A, Tag("BEGIN")),
                    READ_ON_STANDBY,
                    READ_ON_STANDBY,
                    COMMIT,
                ],
                why: "",
            },
            Row {
                steps: vec![("BEGIN READ ONLY", A, A, Tag("BEGIN")), READ_ON_STANDBY, COMMIT],
                why: "",
            },
            Row {
                steps: vec![
                    BEGIN,
                    ("SET TRANSACTION READ ONLY", A, A, Tag("SET")),
                    READ_ON_STANDBY,
                    COMMIT,
                ],
                why: "",
            },
            Row {
                steps: vec![
                    ("BEGIN READ ONLY", A, A, Tag("BEGIN")),
                    READ_ON_STANDBY,
                    ("SELECT f_vol()", P, L, Tag("SELECT 1")),
                    READ_FREED,
                    COMMIT,
                ],
                why: "a transaction that may not write runs on the standby as a whole",
            },
            Row {
                steps: vec![
                    ("BEGIN READ ONLY", A, A, Tag("BEGIN")),
                    (INSERT, P, A, Error("25006")),
                    ("COMMIT", A, A, Tag("ROLLBACK")),
                ],
                why: "the transaction may not write, so any server gives PostgreSQL's answer",
            },
            Row {
                steps: vec![
                    ("BEGIN READ WRITE", A, A, Tag("BEGIN")),
                    READ_ON_STANDBY,
                    WRITE,
                    READ_ON_PRIMARY,
                    COMMIT,
                ],
                why: "",
            },
        ],
    );
}

/// Only the end of a transaction ends what it has written.
pub fn a_transaction_that_wrote_stays(scenario: &Scenario) {
    const PENDING: &str = "the writes are still pending, and the standby does not show them";
    check(
        scenario,
        &[],
        &[
            Row {
                steps: vec![
                    BEGIN,
                    WRITE,
                    ("SAVEPOINT s", A, P, Tag("SAVEPOINT")),
                    ("ROLLBACK TO s", A, P, Tag("ROLLBACK")),
                    ("SELECT a FROM t2", L, P, Fine),
                    READ_KEPT,
                    COMMIT,
                ],
                why: PENDING,
            },
            Row {
                steps: vec![BEGIN, WRITE, ("BEGIN", A, A, Tag("BEGIN")), READ_KEPT, COMMIT],
                why: PENDING,
            },
            Row {
                steps: vec![
                    BEGIN,
                    WRITE,
                    ("COMMIT AND CHAIN", A, P, Tag("COMMIT")),
                    READ_KEPT,
                    COMMIT,
                    READ_ON_STANDBY,
                ],
                why: "the server opens the next transaction at once, so that its modes are the same",
            },
            Row {
                steps: vec![BEGIN, WRITE, ("ROLLBACK", A, P, Tag("ROLLBACK")), READ_ON_STANDBY],
                why: "the standby has nothing to roll back",
            },
            Row {
                steps: vec![
                    ("BEGIN; SELECT 1", P, P, Fine),
                    READ_KEPT,
                    ("SAVEPOINT s", P, P, Tag("SAVEPOINT")),
                    COMMIT,
                    READ_ON_STANDBY,
                ],
                why: "Pgpool-II forgets the transaction that the string has opened",
            },
            Row {
                steps: vec![
                    BEGIN,
                    WRITE,
                    ("PREPARE TRANSACTION 'load_balancing'", P, P, Error("55000")),
                    READ_ON_STANDBY,
                    WRITE,
                ],
                why: "Pgpool-II answers 25P02 from here on, as the servers have no room for prepared \
                      transactions",
            },
            Row {
                steps: vec![
                    BEGIN,
                    ("SET transaction_read_only = 0", A, A, Tag("SET")),
                    (READ, P, A, Tag("SELECT 1")),
                    COMMIT,
                    READ_ON_STANDBY,
                ],
                why: "Pgpool-II ends the session: its servers answer the SET differently",
            },
        ],
    );
}

/// An error anywhere fails the whole transaction: COMMIT answers ROLLBACK, and nothing is left.
pub fn failed_transactions_roll_back(scenario: &Scenario) {
    const FAILED: &str = "Pgpool-II's COMMIT commits: the error was on the standby, and the primary's \
                          transaction knows nothing of it";
    const FAILING: &str = "SELECT a / 0 FROM t1";
    const ROLLED_BACK: Step = ("COMMIT", A, A, Tag("ROLLBACK"));
    for value in ["transaction", "off", "dml_adaptive"] {
        let node = if value == "transaction" { P } else { L };
        let rows = [
            (
                vec![BEGIN, WRITE, (FAILING, node, P, Error("22012")), ROLLED_BACK],
                if value == "transaction" { "" } else { FAILED },
            ),
            (
                vec![
                    BEGIN,
                    WRITE,
                    ("SAVEPOINT s", A, P, Fine),
                    ("ROLLBACK TO s", A, P, Fine),
                    (FAILING, L, P, Error("22012")),
                    ROLLED_BACK,
                ],
                FAILED,
            ),
            (
                vec![BEGIN, (FAILING, L, L, Error("22012")), ROLLED_BACK],
                "Pgpool-II's tag is COMMIT",
            ),
            (
                vec![
                    BEGIN,
                    (FAILING, L, L, Error("22012")),
                    (INSERT, A, A, Error("25P02")),
                    (READ, A, A, Error("25P02")),
                    ROLLED_BACK,
                    READ_ON_STANDBY,
                ],
                "Pgpool-II's tag is COMMIT",
            ),
            (
                vec![
                    BEGIN,
                    ("SAVEPOINT s", A, A, Fine),
                    (FAILING, P, L, Error("22012")),
                    ("ROLLBACK TO s", A, A, Fine),
                    (READ, L, A, Fine),
                    COMMIT,
                ],
                "a savepoint is no write",
            ),
        ];
        let rows = rows.map(|(steps, why)| Row { steps, why });
        let line = format!("disable_load_balance_on_write = {value}");
        check_each(scenario, &[&line], &rows, |cluster, database| {
            let left = cluster.value(Node::Primary, database, "SELECT count(*) FROM t2");
            assert_eq!(left, "0", "{value}: a failed transaction has committed");
        });
    }
}

/// `disable_load_balance_on_write`, each value.
pub fn after_a_write(scenario: &Scenario) {
    const ONE: &str = "a transaction that has written is not torn between servers";
    /// Lines; Pgpool-II's nodes for t1 and t2 in the transaction; those of both afterwards: outside,
    /// in the next transaction, and after a write without a transaction; why the first differ.
    type Cells = (&'static [&'static str], [At; 2], [At; 3], &'static str);
    let table: &[Cells] = &[
        (&["disable_load_balance_on_write = off"], [L, L], [L, L, L], ONE),
        (&[], [P, P], [L, L, L], ""),
        (&["disable_load_balance_on_write = trans_transaction"], [P, P], [L, P, L], ""),
        (&["disable_load_balance_on_write = always"], [P, P], [P, P, P], ""),
        (&["disable_load_balance_on_write = dml_adaptive"], [L, P], [L, L, L], ONE),
        (
            &[
                "disable_load_balance_on_write = dml_adaptive",
                "dml_adaptive_object_relationship_list = 't2:t1'",
            ],
            [P, P],
            [L, L, L],
            "",
        ),
    ];
    const T2: &str = "SELECT a FROM t2";
    for (lines, [t1, t2], [outside, next, autocommit], why) in table {
        let steps = vec![
            BEGIN,
            WRITE,
            (READ, *t1, P, Fine),
            (T2, *t2, P, Fine),
            COMMIT,
            (READ, *outside, *outside, Fine),
            (T2, *outside, *outside, Fine),
            BEGIN,
            (READ, *next, *next, Fine),
            COMMIT,
        ];
        let autocommitted = vec![
            WRITE,
            (READ, *autocommit, *autocommit, Fine),
            (T2, *autocommit, *autocommit, Fine),
        ];
        check(scenario, lines, &[Row { steps, why }, Row { steps: autocommitted, why: "" }]);
    }
}

/// What the operator lists: functions, patterns of statements, comments.
pub fn lists(scenario: &Scenario) {
    const ONE: Answer = Tag("SELECT 1");
    check(
        scenario,
        &[
            "write_function_list = 'f_v.*,lower'",
            r"primary_routing_query_pattern_list = '.*t2.*;SELECT \(1\).*'",
        ],
        &[
            Row { steps: vec![("SELECT f_vol()", P, P, ONE)], why: "" },
            Row { steps: vec![("SELECT LOWER('X')", P, P, ONE)], why: "" },
            Row { steps: vec![("SELECT random()", L, L, ONE)], why: "" },
            Row { steps: vec![("SELECT a FROM t2", P, P, Fine)], why: "" },
            Row { steps: vec![("SELECT a FROM \"t2\"", P, P, Fine)], why: "" },
            Row { steps: vec![("select (1)", P, P, ONE)], why: "" },
            Row { steps: vec![("SELECT (2)", L, L, ONE)], why: "" },
            Row { steps: vec![("/* c */ SELECT 2", P, P, ONE)], why: "" },
            Row { steps: vec![("/*NO LOAD BALANCE*/ SELECT 2", P, P, ONE)], why: "" },
            Row {
                steps: vec![
                    BEGIN,
                    READ_ON_STANDBY,
                    ("SELECT a FROM t2", P, P, Fine),
                    READ_KEPT,
                    COMMIT,
                ],
                why: ONE_NODE,
            },
        ],
    );
    check(
        scenario,
        &["read_only_function_list = 'f_vol'", "allow_sql_comments = on"],
        &[
            Row { steps: vec![("SELECT f_vol()", L, L, ONE)], why: "" },
            Row { steps: vec![("SELECT lower('X')", P, P, ONE)], why: "" },
            Row { steps: vec![("/* c */ SELECT 2", L, L, ONE)], why: "" },
            Row {
                steps: vec![("/*NO LOAD BALANCE*/ SELECT 2", L, P, ONE)],
                why: "who writes it means it, whatever else comments mean",
            },
        ],
    );
}

/// The node that application name, database or user ask for.
pub fn redirects(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    cluster.log_statements(&database);
    let config = scenario
        .config()
        .weights(1, 1)
        .line("app_name_redirect_preference_list = 'report.*:standby, batch:1(0.0)'")
        .line(&format!("database_redirect_preference_list = '{database}:primary'"))
        .line("user_redirect_preference_list = '.*:1'");
    let proxy = scenario.start(cluster, &config);
    for (name, [on_primary, on_standby]) in
        [("reporting", [0, 8]), ("batch", [8, 0]), ("other", [8, 0]), ("", [8, 0])]
    {
        let text = format!("SELECT a FROM t1 /* asked by {name} */");
        for _ in 0..8 {
            let mut client = RawClient::open(&proxy.address());
            let names = [("user", crate::cluster::APP), ("database", &database)];
            let with_name = [names[0], names[1], ("application_name", name)];
            let names = if name.is_empty() { &names[..] } else { &with_name };
            client.send(&wire::startup(wire::PROTOCOL_3_0, names));
            client.finish_login().unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
            // Its node was drawn by the name that it came with.
            client.query("SET application_name = 'reporting'").ok();
            assert_eq!(client.query(&text).value(), "1");
            client.close();
        }
        let found = Node::ALL
            .map(|node| cluster.statements(node, &database).iter().filter(|s| **s == text).count());
        assert_eq!(found, [on_primary, on_standby], "{name:?}");
    }
}
