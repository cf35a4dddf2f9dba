//! Transactions that begin without a server, read on the standby and move to the primary to write:
//! a client is answered as if it had been on the primary all the time.

use super::comparison::{At, Comparison, Step, behind, e, e_with, meanwhile, q, raw};
use crate::cluster::{APP, Shutdown, wait_for};
use crate::raw_client::RawClient;
use crate::{Cluster, Node, Proxy, Scenario, wire};

const SCHEMA: &str = "
    CREATE TABLE t (a int);
    INSERT INTO t VALUES (1);
    CREATE TABLE ten (a int);
    INSERT INTO ten SELECT generate_series(1, 10);
    CREATE TABLE w (a int CHECK (a <> 13));
    CREATE TABLE parent (a int PRIMARY KEY);
    CREATE TABLE child (a int REFERENCES parent DEFERRABLE INITIALLY IMMEDIATE);
    CREATE SCHEMA other;
    CREATE TABLE other.t (a int);
    INSERT INTO other.t VALUES (2);
    CREATE SEQUENCE numbers;
    CREATE FUNCTION hidden() RETURNS bigint LANGUAGE plpgsql STABLE AS
        $$ DECLARE n bigint; BEGIN EXECUTE 'SELECT next' || 'val(''num' || 'bers'')' INTO n; RETURN n; END $$;
    CREATE FUNCTION hidden_again() RETURNS bigint LANGUAGE plpgsql STABLE AS
        $$ DECLARE n bigint; BEGIN EXECUTE 'SELECT next' || 'val(''num' || 'bers'')' INTO n; RETURN n; END $$;
";
const TABLES: [&str; 2] = [
    "TRUNCATE w, parent, child; ALTER SEQUENCE numbers RESTART; UPDATE t SET a = 1 WHERE a <> 1;
     DELETE FROM other.t; INSERT INTO other.t VALUES (2)",
    "SELECT 'w', a FROM w UNION ALL SELECT 'parent', a FROM parent
     UNION ALL SELECT 'child', a FROM child UNION ALL SELECT 't', a FROM t ORDER BY 1, 2",
];

fn comparison<'a>(cluster: &'a Cluster, scenario: &Scenario) -> Comparison<'a> {
    Comparison::new(cluster, scenario, &scenario.config().weights(0, 1), SCHEMA, TABLES)
}

fn begin<'a>() -> Step<'a> {
    q("BEGIN").at(At::Nowhere)
}

fn read<'a>() -> Step<'a> {
    q("SELECT a FROM t").at(At::Standby)
}

fn write<'a>() -> Step<'a> {
    q("INSERT INTO w VALUES (1)").at(At::Primary)
}

fn read_own<'a>() -> Step<'a> {
    q("SELECT a FROM w").at(At::Primary)
}

fn commit<'a>() -> Step<'a> {
    q("COMMIT")
}

fn rollback<'a>() -> Step<'a> {
    q("ROLLBACK")
}

/// Every way to begin and to end a transaction.
pub fn begins_and_ends(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let ends = ["COMMIT", "END;", "ROLLBACK", "ABORT", "/* x */ commit work", "end -- x"];
    for (number, text) in [
        "BEGIN",
        "BEGIN;",
        "begin work ;",
        "/* start */ BEGIN -- d\n ;",
        "START TRANSACTION",
        "start /* begin */ transaction;",
        "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "BEGIN ISOLATION LEVEL READ UNCOMMITTED",
        "BEGIN READ WRITE NOT DEFERRABLE",
    ]
    .into_iter()
    .enumerate()
    {
        for end in [ends[number % 6], ends[(number + 2) % 6]] {
            // A standby refuses the words.
            let at = if text.contains("READ WRITE") { At::Primary } else { At::Standby };
            it.session(
                &format!("{text}, {end}"),
                vec![
                    q(text).at(At::Nowhere),
                    q(end).at(At::Nowhere),
                    q(text),
                    read(),
                    write(),
                    read_own(),
                    q(end),
                    read(),
                    e(text),
                    e("SELECT a FROM t").at(at),
                    e("INSERT INTO w VALUES (2)").at(At::Primary),
                    e("SELECT a FROM w").at(At::Primary),
                    e(end),
                    e("SELECT a FROM t").at(At::Standby),
                ],
            );
        }
    }
    it.finish();
}

/// Statements right and wrong, in every state that a transaction can be in.
fn in_all_states(scenario: &Scenario, texts: &[&str], extended: bool) {
    let mut it = comparison(Cluster::shared(), scenario);
    let failing = "SELECT a / (a - 1) FROM t";
    for text in texts {
        let states = [
            ("outside", vec![]),
            ("deferred", vec!["BEGIN"]),
            ("after a read", vec!["BEGIN", "SELECT a FROM t"]),
            ("after a write", vec!["BEGIN", "INSERT INTO w VALUES (6)"]),
            ("failed", vec!["BEGIN", "SAVEPOINT s", failing]),
            ("failed read only", vec!["BEGIN READ ONLY", "SELECT a FROM t", "SELECT 1 / 0"]),
            ("failed deferred", vec!["BEGIN", "SAVEPOINT s", "foo"]),
            (
                "went back",
                vec!["BEGIN", "SAVEPOINT s", "SET TRANSACTION READ ONLY", "ROLLBACK TO s"],
            ),
            (
                "went back read only",
                vec![
                    "BEGIN READ ONLY",
                    "SELECT a FROM t",
                    "SAVEPOINT s",
                    "SET TRANSACTION READ WRITE",
                    "ROLLBACK TO s",
                ],
            ),
            ("read only", vec!["BEGIN READ ONLY"]),
            ("read only after a read", vec!["BEGIN READ ONLY", "SELECT a FROM t"]),
        ];
        for (name, before) in states {
            let ask = if extended { e } else { q };
            let mut steps: Vec<_> = before.into_iter().map(ask).collect();
            steps.push(ask(text));
            steps.extend(
                [
                    "SHOW transaction_isolation",
                    "SHOW transaction_read_only",
                    "SHOW TimeZone",
                    "INSERT INTO w VALUES (7)",
                    "SELECT a FROM w FOR UPDATE",
                    "COMMIT",
                    "SELECT a FROM t",
                    "INSERT INTO w VALUES (8)",
                    "SHOW TimeZone",
                ]
                .map(ask),
            );
            it.session(&format!("{text:?} {name}"), steps);
        }
    }
    it.finish();
}

const CONTROL: &[&str] = &[
    "BEGIN",
    "BEGIN foo",
    "BEGIN ISOLATION LEVEL foo",
    "BEGIN READ ONLY",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ",
    "COMMIT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "COMMIT AND NO CHAIN",
    "SAVEPOINT s",
    "SAVEPOINT \"S s\"",
    "RELEASE s",
    "RELEASE SAVEPOINT s",
    "ROLLBACK TO s",
    "ROLLBACK WORK TO SAVEPOINT s",
    "PREPARE TRANSACTION 'x'",
    "COMMIT PREPARED 'x'",
];

const MODES: &[&str] = &[
    "SET TRANSACTION READ ONLY",
    "SET TRANSACTION READ WRITE",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET TRANSACTION SNAPSHOT 'x'",
    "SET TRANSACTION foo",
    "SET transaction_read_only = on",
    "SET transaction_isolation = 'repeatable read'",
    "SET LOCAL transaction_read_only = off",
];

/// Transaction control.
pub fn control_in_all_states(scenario: &Scenario) {
    in_all_states(scenario, CONTROL, false);
}

/// The same by the extended protocol.
pub fn control_in_all_states_extended(scenario: &Scenario) {
    in_all_states(scenario, CONTROL, true);
}

/// Changes of the modes.
pub fn modes_in_all_states(scenario: &Scenario) {
    in_all_states(scenario, MODES, false);
}

/// The same by the extended protocol.
pub fn modes_in_all_states_extended(scenario: &Scenario) {
    in_all_states(scenario, MODES, true);
}

const OTHERS: &[&str] = &[
    "SET LOCAL work_mem = '1MB'",
    "SET LOCAL TimeZone = 'Asia/Tokyo'",
    "SET TimeZone = 'Asia/Tokyo'",
    "SET TimeZone = 'nowhere'",
    "SET CONSTRAINTS ALL DEFERRED",
    "LOCK t IN ACCESS SHARE MODE",
    "LOCK t",
    "LOCK nowhere IN ACCESS SHARE MODE",
    "DECLARE c CURSOR FOR SELECT a FROM ten",
    "FETCH c",
    "CLOSE ALL",
    "",
    ";",
    "/* nothing */",
    "foo",
    "SELECT 1 / 0",
    "SELECT a FROM nowhere",
    "SHOW nothing",
    "DISCARD ALL",
    "DISCARD PLANS",
    "VACUUM t",
    "INSERT INTO w VALUES (13)",
    "VALUES (1), (2)",
    "EXPLAIN (COSTS OFF) SELECT a FROM t",
    "SELECT hidden()",
    "SELECT nextval('numbers')",
];

/// What is no transaction control.
pub fn statements_in_all_states(scenario: &Scenario) {
    in_all_states(scenario, OTHERS, false);
}

/// The same by the extended protocol.
pub fn statements_in_all_states_extended(scenario: &Scenario) {
    in_all_states(scenario, OTHERS, true);
}

/// Several statements in one string, and COPY.
pub fn strings_in_all_states(scenario: &Scenario) {
    in_all_states(
        scenario,
        &[
            "BEGIN; COMMIT",
            "BEGIN; SELECT a FROM t",
            "BEGIN; SELECT 1 / 0",
            "BEGIN; SELECT 1 / 0; COMMIT",
            "SELECT a FROM t; SELECT a FROM ten WHERE a < 3",
            "COMMIT; BEGIN",
            "ROLLBACK; BEGIN; INSERT INTO w VALUES (3)",
            "SELECT a FROM t; COMMIT; SELECT a FROM t",
            "SAVEPOINT s; SELECT a FROM t; RELEASE s",
            "SET LOCAL TimeZone = 'Asia/Tokyo'; SHOW TimeZone",
            "SET TimeZone = 'Asia/Tokyo'; SELECT 1 / 0",
            "INSERT INTO w VALUES (3); ROLLBACK",
            "COPY t TO STDOUT",
            "COPY nowhere TO STDOUT",
        ],
        false,
    );
}

/// What a transaction did before it moved is there afterwards.
pub fn state_moves_along(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    for ask in [q, e] {
        // What it does; what then shows it, on the primary.
        for (sets, shows) in [
            (vec!["SET LOCAL search_path = other"], "SELECT a FROM t FOR UPDATE"),
            (vec!["SET LOCAL TimeZone = 'Asia/Tokyo'"], "SHOW TimeZone"),
            (vec!["SET LOCAL work_mem = '1MB'"], "SHOW work_mem"),
            (vec!["SET LOCAL app.x = 'it''s'"], "SELECT current_setting('app.x')"),
            (vec!["SET LOCAL ROLE NONE", "SET LOCAL app.x TO a, b"], "SHOW app.x"),
            (vec!["SET TimeZone = 'Asia/Tokyo'"], "SHOW TimeZone"),
            (vec!["SET CONSTRAINTS ALL DEFERRED"], "INSERT INTO child VALUES (5)"),
            (vec!["SET TRANSACTION READ ONLY"], "INSERT INTO w VALUES (5)"),
            (vec!["SET TRANSACTION READ WRITE"], "SHOW transaction_read_only"),
            (
                vec!["LOCK t IN ACCESS SHARE MODE", "LOCK TABLE ten IN ACCESS SHARE MODE"],
                "SELECT relation::regclass, mode FROM pg_locks WHERE relation::regclass::text \
                 IN ('t', 'ten') AND pid = pg_backend_pid() ORDER BY 1, 2",
            ),
            (
                vec!["SAVEPOINT a", "SET LOCAL TimeZone = 'Asia/Tokyo'", "ROLLBACK TO a"],
                "SHOW TimeZone",
            ),
            (
                vec!["SAVEPOINT a", "SET TimeZone = 'Asia/Tokyo'", "ROLLBACK TO a", "SAVEPOINT b"],
                "SHOW TimeZone",
            ),
            (
                vec!["SAVEPOINT a", "SET LOCAL app.x = 'y'", "RELEASE a", "SELECT a FROM t"],
                "SHOW app.x",
            ),
            (
                vec!["SAVEPOINT a", "SELECT 1 / (a - 1) FROM t", "ROLLBACK TO a"],
                "INSERT INTO w VALUES (5)",
            ),
            (
                vec!["SAVEPOINT a", "SELECT 1 / (a - 1) FROM t", "ROLLBACK TO b", "ROLLBACK TO a"],
                "INSERT INTO w VALUES (5)",
            ),
            (
                vec!["SAVEPOINT a", "RELEASE b", "ROLLBACK TO a", "SELECT a FROM t"],
                "INSERT INTO w VALUES (5)",
            ),
            (
                vec!["SAVEPOINT a", "SET LOCAL TimeZone = 'nowhere'", "ROLLBACK TO a"],
                "SHOW TimeZone",
            ),
            (
                vec!["SAVEPOINT a", "SAVEPOINT a", "ROLLBACK TO a", "RELEASE a"],
                "SELECT a FROM t FOR UPDATE",
            ),
        ] {
            for end in ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"] {
                let mut steps = vec![ask("BEGIN"), ask("SELECT a FROM t")];
                steps.extend(sets.iter().map(|sql| ask(sql)));
                steps.extend([
                    ask("INSERT INTO w VALUES (1)"),
                    ask(shows),
                    ask("SHOW TimeZone"),
                    ask("ROLLBACK TO a"),
                    ask("SHOW TimeZone"),
                    ask("INSERT INTO w VALUES (2)"),
                    ask(end),
                    ask("SHOW TimeZone"),
                    ask("SELECT a FROM t"),
                    ask("INSERT INTO parent VALUES (5)"),
                    ask("COMMIT"),
                    ask("SHOW TimeZone"),
                    ask("SELECT a FROM t"),
                ]);
                it.session(&format!("{sets:?} {end}"), steps);
            }
        }
    }
    it.finish();
}

/// More statements to be repeated than are kept.
pub fn much_state_moves_along(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    for count in [7, 8, 9, 30] {
        for write_at in [3, 100] {
            let mut steps = vec![q("BEGIN"), q("SELECT a FROM t")];
            for number in 0..count {
                steps.push(q(&format!("SAVEPOINT s{number}")));
                steps.push(q(&format!("SET LOCAL app.x{number} = '{number}'")));
                if number == write_at {
                    steps.push(q("INSERT INTO w VALUES (1)"));
                }
            }
            steps.push(q("SELECT a FROM t"));
            steps.push(q("INSERT INTO w VALUES (2)"));
            for number in (0..count).rev() {
                steps.push(q(&format!("ROLLBACK TO s{number}")));
                steps.push(q(&format!("SHOW app.x{number}")));
            }
            steps.push(q("COMMIT"));
            it.session(&format!("{count} savepoints"), steps);
        }
    }
    let long = format!("SET LOCAL app.x = '{}'", "x".repeat(12_000));
    it.session(
        "long settings",
        vec![
            q("BEGIN"),
            q("SELECT a FROM t"),
            q(&long),
            q("SELECT a FROM t"),
            q(&long.replace("app.x", "app.y")),
            q("SELECT a FROM t"),
            q("INSERT INTO w VALUES (1)"),
            q("SELECT length(current_setting('app.x')), length(current_setting('app.y'))"),
            q("COMMIT"),
        ],
    );
    it.finish();
}

/// A failed transaction never commits anything.
pub fn failures_move_along(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let failing = "SELECT a / (a - 1) FROM t";
    for ask in [q, e] {
        for end in ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN"] {
            it.session(
                &format!("fails on the standby, {end}"),
                vec![
                    ask("BEGIN"),
                    ask("SELECT a FROM t").at(At::Standby),
                    ask(failing).at(At::Standby),
                    ask("INSERT INTO w VALUES (1)"),
                    ask("SELECT a FROM t"),
                    ask(end),
                    ask("INSERT INTO w VALUES (2)"),
                    ask("COMMIT"),
                ],
            );
            it.session(
                &format!("fails on the primary, {end}"),
                vec![
                    ask("BEGIN"),
                    ask("SELECT a FROM t").at(At::Standby),
                    ask("INSERT INTO w VALUES (1)").at(At::Primary),
                    ask(failing),
                    ask("SELECT a FROM t"),
                    ask(end),
                    ask("SELECT a FROM t"),
                    ask("COMMIT"),
                ],
            );
            it.session(
                &format!("goes back on the standby, {end}"),
                vec![
                    ask("BEGIN"),
                    ask("SAVEPOINT one"),
                    ask("SELECT a FROM t").at(At::Standby),
                    ask("SAVEPOINT two"),
                    ask(failing).at(At::Standby),
                    ask("ROLLBACK TO two"),
                    ask("SELECT a FROM t").at(At::Standby),
                    ask("INSERT INTO w VALUES (1)").at(At::Primary),
                    ask("ROLLBACK TO two"),
                    ask("INSERT INTO w VALUES (2)").at(At::Primary),
                    ask("INSERT INTO w VALUES (13)").at(At::Primary),
                    ask("ROLLBACK TO one"),
                    ask("RELEASE two"),
                    ask("ROLLBACK TO one"),
                    ask("INSERT INTO w VALUES (3)").at(At::Primary),
                    ask(end),
                    ask("COMMIT"),
                ],
            );
        }
    }
    it.session(
        "a constraint fails at the end",
        vec![
            begin(),
            read(),
            q("SET CONSTRAINTS ALL DEFERRED"),
            q("INSERT INTO child VALUES (1)"),
            q("COMMIT"),
            q("INSERT INTO w VALUES (1)"),
            read(),
        ],
    );
    it.finish();
}

/// One snapshot for as long as the level promises it; what can write and keeps one is on the primary.
pub fn isolation_levels(scenario: &Scenario) {
    let change = |cluster: &Cluster, database: &str| {
        cluster.sql(Node::Primary, database, "UPDATE t SET a = a + 10");
        cluster.wait_replayed();
    };
    let mut it = comparison(Cluster::shared(), scenario);
    let all = ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];
    for ask in [q, e] {
        for level in all {
            for access in ["READ ONLY", "READ WRITE"] {
                let at = match (level, access) {
                    ("SERIALIZABLE", _) | ("REPEATABLE READ", "READ WRITE") => At::Primary,
                    _ => At::Any,
                };
                let body = || {
                    vec![
                        ask("SHOW transaction_isolation"),
                        ask("SELECT a FROM t").at(at),
                        meanwhile(&change),
                        ask("SELECT a FROM t").at(at),
                        ask("SAVEPOINT s"),
                        ask("SET LOCAL TimeZone = 'Asia/Tokyo'"),
                        meanwhile(&change),
                        ask("SELECT a FROM t").at(at),
                        ask("ROLLBACK TO s"),
                        ask("SELECT a FROM t").at(at),
                        ask("INSERT INTO w SELECT a FROM t"),
                        ask("SELECT a FROM t"),
                        ask("COMMIT AND CHAIN"),
                        ask("SHOW transaction_isolation"),
                        ask("SELECT a FROM t"),
                        meanwhile(&change),
                        ask("SELECT a FROM t"),
                        ask("ROLLBACK"),
                        ask("SHOW transaction_isolation"),
                        ask("SELECT a FROM t FOR UPDATE"),
                    ]
                };
                let mut steps = vec![ask(&format!("BEGIN ISOLATION LEVEL {level}, {access}"))];
                steps.extend(body());
                it.session(&format!("BEGIN {level} {access}"), steps);
                let mut steps = vec![
                    ask("BEGIN"),
                    ask(&format!("SET TRANSACTION ISOLATION LEVEL {level}")),
                    ask(&format!("SET TRANSACTION {access}")),
                ];
                steps.extend(body());
                it.session(&format!("SET TRANSACTION {level} {access}"), steps);
                let mut steps = vec![
                    ask(&format!("SET default_transaction_isolation = '{}'", level.to_lowercase())),
                    ask(&format!("BEGIN {access}")),
                ];
                steps.extend(body());
                it.session(&format!("SET default {level} {access}"), steps);
                let characteristics =
                    format!("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}");
                let mut steps = vec![ask(&characteristics), ask(&format!("BEGIN {access}"))];
                steps.extend(body());
                it.session(&format!("characteristics {level} {access}"), steps);
            }
        }
    }
    it.finish();
}

/// The level comes from the startup packet, or from the server's catalogue.
pub fn isolation_levels_from_outside(scenario: &Scenario) {
    let change = |cluster: &Cluster, database: &str| {
        cluster.sql(Node::Primary, database, "UPDATE t SET a = a + 10");
        cluster.wait_replayed();
    };
    let body = || {
        vec![
            q("BEGIN"),
            q("SHOW transaction_isolation"),
            q("SELECT a FROM t"),
            meanwhile(&change),
            q("SELECT a FROM t"),
            q("INSERT INTO w SELECT a FROM t"),
            q("SELECT a FROM t"),
            q("COMMIT"),
            q("SELECT a FROM t FOR UPDATE"),
            q("BEGIN READ ONLY"),
            q("SHOW transaction_isolation"),
            q("SELECT a FROM ten WHERE a < 3"),
            q("SHOW transaction_read_only"),
            q("COMMIT"),
        ]
    };
    let cluster = Cluster::shared();
    for level in ["read committed", "repeatable read", "serializable"] {
        for object in ["DATABASE", "ROLE"] {
            let alter = |database: &str| match object {
                "DATABASE" => format!(
                    "ALTER DATABASE {database} SET default_transaction_isolation = '{level}'"
                ),
                _ => format!(
                    "ALTER ROLE {APP} IN DATABASE {database} \
                     SET default_transaction_isolation = '{level}'"
                ),
            };
            let mut it = comparison(cluster, scenario);
            for database in it.databases() {
                cluster.sql(Node::Primary, database, &alter(database));
            }
            cluster.wait_replayed();
            it.session(&format!("{object} {level}"), body());
            it.session(&format!("{object} {level}, again"), body());
            it.finish();
        }
        let mut it = comparison(cluster, scenario);
        it.session_with(
            &format!("startup {level}"),
            &[("default_transaction_isolation", level)],
            body(),
        );
        let options = format!("-c default_transaction_isolation={}", level.replace(' ', "\\ "));
        it.session_with(&format!("options {level}"), &[("options", &options)], body());
        it.finish();
    }
}

/// Cursors and portals stay readable, whatever the transaction does meanwhile.
pub fn portals_and_cursors(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let sync = wire::sync;
    for start in ["BEGIN", "BEGIN READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"] {
        let portal = || {
            [
                wire::parse("", "SELECT a FROM ten ORDER BY a"),
                wire::bind("p", "", &[]),
                wire::describe_portal("p"),
                wire::execute("p", 2),
            ]
            .concat()
        };
        it.session(
            &format!("named portal, {start}"),
            vec![
                q(start),
                q("SELECT a FROM t"),
                raw(&[portal(), sync()], 1),
                raw(&[wire::execute("p", 3), sync()], 1),
                e("SELECT a FROM t"),
                raw(&[wire::execute("p", 1), wire::execute("p", 1), sync()], 1),
                e("INSERT INTO w VALUES (1)"),
                raw(&[wire::execute("p", 0), sync()], 1),
                raw(&[wire::execute("p", 0), sync()], 1),
                e("COMMIT"),
                raw(&[wire::execute("p", 0), sync()], 1),
                q("SELECT a FROM t"),
            ],
        );
        it.session(
            &format!("portal in one batch with BEGIN, {start}"),
            vec![
                raw(&[wire::unnamed(start, &[]), portal(), sync()], 1),
                raw(&[wire::execute("p", 3), sync()], 1),
                e("INSERT INTO w VALUES (1)"),
                raw(&[wire::execute("p", 0), sync()], 1),
                e("COMMIT"),
            ],
        );
        it.session(
            &format!("unnamed portal, {start}"),
            vec![
                q(start),
                raw(
                    &[
                        wire::parse("", "SELECT a FROM ten ORDER BY a"),
                        wire::bind("", "", &[]),
                        wire::execute("", 2),
                        sync(),
                    ],
                    1,
                ),
                raw(&[wire::execute("", 2), sync()], 1),
                raw(&[wire::execute("", 2), wire::flush(), wire::execute("", 2), sync()], 1),
                q("COMMIT"),
            ],
        );
        it.session(
            &format!("portal bound and run later, {start}"),
            vec![
                q(start),
                raw(&[wire::parse("", "SELECT a FROM t"), wire::bind("p", "", &[]), sync()], 1),
                q("INSERT INTO w VALUES (1)"),
                raw(&[wire::execute("p", 0), sync()], 1),
                q("COMMIT"),
            ],
        );
        for ask in [q, e] {
            it.session(
                &format!("cursor, {start}"),
                vec![
                    ask(start),
                    ask("SELECT a FROM t"),
                    ask("DECLARE c SCROLL CURSOR FOR SELECT a FROM ten ORDER BY a"),
                    ask("FETCH 2 FROM c"),
                    ask("SAVEPOINT s"),
                    ask("FETCH 2 FROM c"),
                    ask("SELECT a FROM t"),
                    ask("MOVE BACKWARD 1 IN c"),
                    ask("ROLLBACK TO s"),
                    ask("FETCH NEXT FROM c"),
                    ask("INSERT INTO w VALUES (1)"),
                    ask("FETCH 2 FROM c"),
                    ask("CLOSE c"),
                    ask("COMMIT"),
                    ask("FETCH c"),
                ],
            );
            it.session(
                &format!("cursor that is updated, {start}"),
                vec![
                    ask(start),
                    ask("DECLARE c CURSOR FOR SELECT a FROM t FOR UPDATE"),
                    ask("FETCH c"),
                    ask("UPDATE t SET a = 5 WHERE CURRENT OF c"),
                    ask("SELECT a FROM t"),
                    ask("COMMIT"),
                    ask("SELECT a FROM t FOR UPDATE"),
                ],
            );
        }
        it.session(
            &format!("cursor with hold, {start}"),
            vec![
                q(start),
                q("DECLARE c CURSOR WITH HOLD FOR SELECT a FROM ten ORDER BY a"),
                q("FETCH c"),
                q("COMMIT"),
                q("FETCH c"),
                q("SELECT a FROM t"),
                q("FETCH c"),
                q("CLOSE c"),
            ],
        );
    }
    it.finish();
}

/// A Bind in which the parameter is in binary, and the result too.
fn bind_binary(statement: &str, number: i32) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(statement.as_bytes());
    body.extend([0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 4]);
    body.extend(number.to_be_bytes());
    body.extend([0, 1, 0, 1]);
    wire::message(b'B', &body)
}

/// What is prepared anywhere can be used everywhere.
pub fn prepared_statements_move_along(scenario: &Scenario) {
    const INT: u32 = 23;
    let mut it = comparison(Cluster::shared(), scenario);
    let prepare = |name: &str| {
        raw(&[wire::parse_typed(name, "SELECT a + $1 FROM t", &[INT]), wire::sync()], 1)
    };
    let run = |name: &str| {
        raw(
            &[
                wire::bind("", name, &[Some("5")]),
                wire::describe_portal(""),
                wire::execute("", 0),
                bind_binary(name, 7),
                wire::execute("", 0),
                wire::sync(),
            ],
            1,
        )
    };
    let describe = |name: &str| raw(&[wire::describe_statement(name), wire::sync()], 1);
    for name in ["", "named"] {
        let own = || e_with("INSERT INTO w VALUES ($1::int)", &["3"]);
        it.session(
            &format!("prepared before, {name:?}"),
            vec![
                prepare(name),
                q("SELECT 1"),
                prepare(name),
                run(name),
                q("BEGIN"),
                prepare(name),
                run(name),
                describe(name),
                run(name),
                raw(
                    &[
                        wire::bind("", name, &[Some("5")]),
                        wire::execute("", 0),
                        wire::unnamed("INSERT INTO w VALUES (1)", &[]),
                        wire::sync(),
                    ],
                    1,
                ),
                run(name),
                describe(name),
                q("SAVEPOINT s"),
                run(name),
                commit(),
                run(name),
                describe(name),
            ],
        );
        for end in ["COMMIT", "ROLLBACK"] {
            it.session(
                &format!("prepared on the standby, {name:?} {end}"),
                vec![
                    q("BEGIN"),
                    prepare(name),
                    run(name),
                    raw(
                        &[
                            wire::parse("write", "INSERT INTO w VALUES ($1)"),
                            wire::bind("", "write", &[Some("2")]),
                            wire::execute("", 0),
                            wire::sync(),
                        ],
                        1,
                    ),
                    run(name),
                    q(end),
                    run(name),
                    raw(&[wire::close_statement(name), wire::sync()], 1),
                    run(name),
                    own(),
                ],
            );
        }
        it.session(
            &format!("fails to be prepared, {name:?}"),
            vec![
                q("BEGIN"),
                raw(&[wire::parse(name, "SELECT nothing FROM t"), wire::sync()], 1),
                run(name),
                rollback(),
                run(name),
                prepare(name),
                q("BEGIN"),
                run(name),
                own(),
                run(name),
                raw(&[wire::parse("named", "SELECT 2"), wire::sync()], 1),
                run(name),
                commit(),
                run(name),
            ],
        );
    }
    let run = |name: &str| raw(&[wire::bind("", name, &[]), wire::execute("", 0), wire::sync()], 1);
    let mut steps = Vec::new();
    for (name, sql) in [
        ("b", "BEGIN"),
        ("c", "COMMIT"),
        ("r", "ROLLBACK"),
        ("s", "SAVEPOINT s"),
        ("u", "ROLLBACK TO s"),
        ("x", "SELECT a FROM t"),
        ("w", "INSERT INTO w VALUES (1)"),
    ] {
        steps.push(raw(&[wire::parse(name, sql), wire::sync()], 1));
    }
    for names in [
        "bc",
        "br",
        "bxc",
        "bwc",
        "bxwxc",
        "bxwxr",
        "sbsxuwuc",
        "cxb",
        "bbwc",
        "rbxc",
        "bsxcwx",
        "bsxwuxwc",
        "uwbxuxwcx",
    ] {
        for name in names.chars() {
            steps.push(run(&name.to_string()));
        }
        // The same in one batch, and in one write.
        let all: Vec<_> = names
            .chars()
            .map(|name| [wire::bind("", &name.to_string(), &[]), wire::execute("", 0)].concat())
            .collect();
        steps.push(raw(&[all.concat(), wire::sync()], 1));
        steps.push(q("ROLLBACK"));
        let apart: Vec<_> = all.iter().map(|one| [one.clone(), wire::sync()].concat()).collect();
        steps.push(raw(&apart, apart.len()));
        steps.push(q("ROLLBACK"));
    }
    it.session("prepared control", steps);
    it.finish();
}

/// Several requests are on their way at once.
pub fn pipelines(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let texts = [
        "BEGIN",
        "SELECT a FROM t",
        "INSERT INTO w VALUES (1)",
        "COMMIT",
        "SELECT 1 / 0",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "SET LOCAL TimeZone = 'Asia/Tokyo'",
        "SET TimeZone = 'Asia/Tokyo'",
        "SHOW TimeZone",
        "ROLLBACK",
        "BEGIN READ ONLY",
        "SELECT a FROM w FOR UPDATE",
        "COMMIT AND CHAIN",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "ROLLBACK; BEGIN",
    ];
    // A generator of its own makes the same sessions in every run.
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    for number in 0..120 {
        let mut steps = vec![q("SELECT a FROM t")];
        for _ in 0..3 {
            let mut messages = vec![];
            let mut replies = 0;
            let mut is_open = false;
            for _ in 0..=draw(7) {
                let sql = texts[if draw(3) == 0 { draw(4) } else { draw(texts.len()) }];
                if draw(3) == 0 || sql.contains(';') {
                    // An error before it would have it skipped.
                    if is_open {
                        messages.push(wire::sync());
                        replies += 1;
                    }
                    is_open = false;
                    messages.push(wire::query(sql));
                    replies += 1;
                    continue;
                }
                messages.push(wire::unnamed(sql, &[]));
                is_open = true;
                match draw(4) {
                    0 => {}
                    1 => messages.push(wire::flush()),
                    _ => {
                        is_open = false;
                        messages.push(wire::sync());
                        replies += 1;
                    }
                }
            }
            messages.push(wire::sync());
            replies += 1;
            steps.push(raw(&messages, replies));
        }
        steps.push(q("SELECT a FROM t"));
        steps.push(q("ROLLBACK"));
        steps.push(q("SHOW TimeZone"));
        it.session(&format!("pipeline {number}"), steps);
    }
    it.finish();
}

/// Ends the sessions of an application on the standby.
fn end_standby_sessions(cluster: &Cluster, database: &str) {
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = '{database}' AND usename = '{APP}'"
    );
    cluster.sql(Node::Standby, "postgres", &sql);
    let sessions = format!("usename = '{APP}'");
    cluster.wait_for_sessions(Node::Standby, database, &sessions, 0);
}

/// A transaction that has only read goes on on the primary when its standby's server is gone.
pub fn standby_session_ends_in_transaction(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    for ask in [q, e] {
        it.session(
            "idle in a transaction",
            vec![
                ask("BEGIN"),
                ask("SELECT a FROM t"),
                behind(&end_standby_sessions),
                ask("SELECT a FROM t"),
                ask("SHOW TimeZone"),
                ask("INSERT INTO w VALUES (1)"),
                ask("SELECT a FROM w"),
                ask("COMMIT"),
                ask("SELECT a FROM t"),
            ],
        );
        for then in [
            "SELECT a FROM t",
            "INSERT INTO w VALUES (1)",
            "SAVEPOINT s",
            "SET TimeZone = 'UTC'",
            "SHOW TimeZone",
            "COMMIT",
            "ROLLBACK",
            "COMMIT AND CHAIN",
            "BEGIN",
            "SELECT 1 / 0",
            "ROLLBACK TO s",
            "INSERT INTO w VALUES (1); COMMIT; SELECT a FROM t",
        ] {
            if then.contains("; ") && ask("").is_extended() {
                continue;
            }
            let steps = |before: &[&str]| {
                let mut steps: Vec<_> = before.iter().map(|sql| ask(sql)).collect();
                steps.extend([
                    behind(&end_standby_sessions),
                    ask(then),
                    ask("SHOW TimeZone"),
                    ask("INSERT INTO w VALUES (2)"),
                    ask("COMMIT"),
                    ask("SHOW TimeZone"),
                    ask("SELECT a FROM t"),
                ]);
                steps
            };
            it.session(&format!("deferred, {then}"), steps(&["BEGIN"]));
            it.session(&format!("after a read, {then}"), steps(&["BEGIN", "SELECT a FROM t"]));
            it.session(
                &format!("with state, {then}"),
                steps(&[
                    "BEGIN",
                    "SAVEPOINT s",
                    "SELECT a FROM t",
                    "SET TimeZone = 'Asia/Tokyo'",
                    "SET LOCAL app.x = '1'",
                ]),
            );
            it.session(
                &format!("failed, {then}"),
                steps(&["BEGIN", "SAVEPOINT s", "SELECT a FROM t", "SELECT a / 0 FROM t"]),
            );
            it.session(
                &format!("failed with state, {then}"),
                steps(&["BEGIN", "SET TimeZone = 'Asia/Tokyo'", "SELECT a / 0 FROM t"]),
            );
            it.session(
                &format!("read only, {then}"),
                steps(&["BEGIN READ ONLY", "SELECT a FROM t"]),
            );
        }
    }
    it.finish();
}

/// What only the lost standby knew, a snapshot or an open cursor, is told as lost and never made up.
pub fn standby_session_ends_with_snapshot(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    for (begin, before, then) in [
        ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SELECT a FROM t", "SELECT a FROM t"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SELECT a FROM t", "COMMIT"),
        ("BEGIN READ ONLY", "DECLARE c CURSOR FOR SELECT a FROM ten ORDER BY a", "FETCH c"),
    ] {
        for extended in [false, true] {
            let mut client = proxy.connect(&database);
            client.query(begin).ok();
            client.query(before).ok();
            end_standby_sessions(cluster, &database);
            let reply = if extended { client.extended(then, &[]) } else { client.query(then) };
            assert_eq!((reply.rows.len(), reply.commands.len()), (0, 0), "{then}: {reply:?}");
            assert!(reply.errors.iter().all(crate::raw_client::Fault::is_outage), "{reply:?}");
            if reply.status == 0 {
                continue;
            }
            assert_eq!(client.query("SELECT a FROM t").code(), "25P02");
            assert_eq!(client.query("COMMIT").commands, ["ROLLBACK"]);
            assert_eq!(client.query("SELECT a FROM t").value(), "1");
            client.close();
        }
    }
}

fn private(scenario: &Scenario) -> (Cluster, String, Proxy) {
    let cluster = Cluster::private();
    let database = cluster.create_database_with(SCHEMA);
    cluster.checkpoint();
    let config = scenario
        .config()
        .weights(0, 1)
        .wait_timeout(3)
        .line("weir_server_retry_initial = 50ms")
        .line("weir_server_retry_max = 200ms");
    let proxy = scenario.start(&cluster, &config);
    (cluster, database, proxy)
}

/// The primary is gone when a transaction that has read on the standby is to write: that statement
/// fails, and the transaction with it, but not the session.
pub fn primary_gone_when_transaction_writes(scenario: &Scenario) {
    let (cluster, database, proxy) = private(scenario);
    for extended in [false, true] {
        let ask = |client: &mut RawClient, sql: &str| match extended {
            true => client.extended(sql, &[]),
            false => client.query(sql),
        };
        // One that has a server on the primary as well, and one that has none there.
        let mut used = proxy.connect(&database);
        ask(&mut used, "UPDATE t SET a = a").ok();
        let mut fresh = proxy.connect(&database);
        for client in [&mut used, &mut fresh] {
            ask(client, "BEGIN").ok();
            assert_eq!(ask(client, "SELECT a FROM t").value(), "1");
            ask(client, "SET LOCAL TimeZone = 'Asia/Tokyo'").ok();
        }
        cluster.stop(Node::Primary, Shutdown::Immediate);
        let mut ended = Vec::new();
        for client in [&mut used, &mut fresh] {
            assert_eq!(ask(client, "SELECT a FROM t").value(), "1", "reads go on");
            let reply = ask(client, "INSERT INTO w VALUES (1)");
            assert!(!reply.errors.is_empty(), "{reply:?}");
            assert!(reply.errors.iter().all(crate::raw_client::Fault::is_outage), "{reply:?}");
            assert!(reply.commands.is_empty(), "{reply:?}");
            if reply.status == 0 {
                ended.push(reply);
                continue;
            }
            assert_eq!(reply.status, b'E', "{reply:?}");
            assert_eq!(ask(client, "SELECT a FROM t").code(), "25P02");
            assert_eq!(ask(client, "COMMIT").commands, ["ROLLBACK"]);
            assert_eq!(client.parameters["TimeZone"], "Etc/UTC");
            assert_eq!(ask(client, "SELECT a FROM t").value(), "1");
        }
        assert!(ended.len() < 2, "both sessions were ended: {ended:?}");
        cluster.start(Node::Primary);
        wait_for("writes succeed again", || {
            let mut client = proxy.connect(&database);
            ask(&mut client, "TRUNCATE w").errors.is_empty()
        });
        for client in [&mut used, &mut fresh] {
            let reply = ask(client, "INSERT INTO w VALUES (2)");
            if reply.status == 0 {
                continue;
            }
            reply.ok();
        }
        assert_eq!(
            cluster.value(Node::Primary, &database, "SELECT count(*) FROM w WHERE a = 1"),
            "0"
        );
    }
}

/// A read in a transaction that turns out to write: asked again if it is the first statement, told
/// so if it is not, and known the next time.
pub fn refusals_in_transactions(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    for (ask, hidden) in [(q as fn(&str) -> Step<'static>, "hidden"), (e, "hidden_again")] {
        let call = format!("SELECT {hidden}()");
        it.session(
            "the first statement",
            vec![
                ask("BEGIN"),
                ask(&call).at(At::Both),
                ask("SELECT a FROM t").at(At::Primary),
                ask("COMMIT"),
            ],
        );
        it.session(
            "known",
            vec![
                ask("BEGIN"),
                ask(&call).at(At::Primary),
                ask("COMMIT"),
                ask("BEGIN"),
                ask("SELECT a FROM t").at(At::Standby),
                ask(&call).at(At::Primary),
                ask("COMMIT"),
                ask(&call).at(At::Primary),
            ],
        );
    }
    it.finish();
    // After a read it is passed on, and learned.
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    cluster.log_statements(&database);
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut client = proxy.connect(&database);
    client.query("BEGIN").ok();
    client.query("SELECT a FROM t").ok();
    let reply = client.query("SELECT hidden()");
    if reply.errors.is_empty() {
        assert_eq!(reply.value(), "1");
    } else {
        assert_eq!(reply.code(), "25006");
        assert_eq!(client.query("SELECT a FROM t").code(), "25P02");
        assert_eq!(client.query("COMMIT").commands, ["ROLLBACK"]);
    }
    client.query("ROLLBACK").ok();
    for _ in 0..2 {
        client.query("BEGIN").ok();
        client.query("SELECT a FROM t").ok();
        client.query("SELECT hidden()").ok();
        client.query("COMMIT").ok();
    }
    client.close();
    let refused = cluster.statements(Node::Standby, &database);
    assert_eq!(refused.iter().filter(|sql| sql.contains("hidden")).count(), 1, "{refused:?}");
}

/// SIGTERM while clients have transactions that no server knows, or that are on the standby: they
/// may finish.
pub fn transactions_finish_at_shutdown(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    let mut proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let mut idle = proxy.connect(&database);
    let mut deferred = proxy.connect(&database);
    let mut unused = proxy.connect(&database);
    let mut reading = proxy.connect(&database);
    let mut failed = proxy.connect(&database);
    for client in [&mut deferred, &mut unused, &mut reading, &mut failed] {
        client.query("BEGIN").ok();
    }
    reading.query("SELECT a FROM t").ok();
    assert_eq!(failed.query("SELECT a / 0 FROM t").code(), "22012");
    proxy.signal("TERM");
    assert_eq!(idle.closed().map(|fault| fault.code).as_deref(), Some("57P01"));
    let end = |client: &mut RawClient, sql: &str, tag: &str| {
        client.send(&wire::query(sql));
        assert_eq!(client.expect(b'C').text(), tag);
        assert_eq!(client.expect(b'Z').body, b"I");
        assert_eq!(client.closed().map(|fault| fault.code).as_deref(), Some("57P01"));
    };
    end(&mut unused, "COMMIT", "COMMIT");
    end(&mut failed, "COMMIT", "ROLLBACK");
    for client in [&mut deferred, &mut reading] {
        assert_eq!(client.query("SELECT a FROM t").value(), "1");
        client.query("INSERT INTO w VALUES (1)").ok();
        assert_eq!(client.query("SELECT count(*) > 0 FROM w").value(), "t");
        end(client, "COMMIT", "COMMIT");
    }
    assert_eq!(proxy.wait().code(), Some(0), "{}", proxy.log());
    assert_eq!(cluster.value(Node::Primary, &database, "SELECT count(*) FROM w"), "2");
}

/// Clients that share one server of each node see nothing of each other's transactions.
pub fn clients_that_share_servers(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1).pool_size(1));
    let mut one = proxy.connect(&database);
    let mut two = proxy.connect(&database);
    for round in 0..20 {
        // No server is taken by a transaction that has asked for nothing.
        one.query("BEGIN").ok();
        one.query("SAVEPOINT s").ok();
        two.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").ok();
        let (mine, other) =
            if round % 2 == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
        let level = |client: &mut RawClient| client.query("SHOW transaction_isolation").value();
        let first = level(mine);
        if round % 4 < 2 {
            mine.query("SELECT a / 0 FROM t");
        }
        mine.query("SET LOCAL TimeZone = 'Asia/Tokyo'");
        mine.query("ROLLBACK").ok();
        assert_ne!(level(other), first);
        assert_eq!(other.query("SHOW TimeZone").value(), "Etc/UTC");
        other.query("COMMIT").ok();
        assert_eq!(level(mine), "read committed");
        assert_eq!(level(other), "read committed");
    }
    one.close();
    two.close();
}
