//! Every rule by which Pgpool-II routes, and ours beside it.
//!
//! Pgpool-II's column was observed on 4.3.5 and 4.7.2 (streaming replication, a primary of weight 0
//! and a standby). Where ours differs, the row says why; a row that says why must differ. What needs
//! servers and several statements runs in `testbed::scenarios::load_balancing`.

use pool_router::classify::{
    Effects, Facts, FunctionFact, Identifier, Lexing, Name, Reason, RelationFact, RelationKind,
    Target, Verdict,
};
use pool_router::config::{DisableLoadBalanceOnWrite, Settings, load};
use pool_router::ids::NodeId;
use pool_router::route::{AfterWrite, Balancer};
use pool_router::rules::{FunctionMemo, PreferredNode, Rules, SessionNames};

const NODES: &str = "backend_hostname0 = a\nbackend_port0 = 1\nbackend_weight0 = 0\n\
                     backend_flag0 = ALWAYS_PRIMARY\n\
                     backend_hostname1 = b\nbackend_port1 = 1\nbackend_weight1 = 1\n";

#[track_caller]
fn settings(lines: &str) -> Settings {
    load("pgpool.conf", &format!("{NODES}{lines}\n"), &mut |path| Err(path.to_owned()))
        .unwrap_or_else(|errors| panic!("{lines}: {errors}"))
        .settings
}

#[track_caller]
fn rules(lines: &str) -> Rules {
    Rules::compile(&settings(lines)).unwrap_or_else(|errors| panic!("{lines}: {errors:?}"))
}

/// What a catalogue would say.
struct Catalogue;

impl Facts for Catalogue {
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        match name.name.text {
            b"f_vol" | b"f_write" | b"f_vol2" => FunctionFact::Writes,
            b"f_stable" => FunctionFact::Harmless,
            _ => FunctionFact::Unknown,
        }
    }

    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        RelationFact::PrimaryOnly(match name.name.text {
            b"unlogged_t" => RelationKind::Unlogged,
            b"temp_t" => RelationKind::Temporary,
            b"view_f_write" | b"view_unlogged" => RelationKind::View,
            _ => return RelationFact::Plain,
        })
    }
}

fn verdict(rules: &Rules, sql: &str) -> Verdict {
    let memo = FunctionMemo::default();
    rules.classify(sql.as_bytes(), &Lexing::default(), &memo, &mut Catalogue)
}

/// Where a statement runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// On the primary alone.
    P,
    /// On the session's node for reads.
    L,
    /// Pgpool-II: on all nodes. Ours: on the server that the session or transaction has, and again
    /// on the next one where that is needed.
    A,
    /// Nowhere: the proxy answers.
    Own,
}
use At::{A, L, Own, P};

/// What of a statement is carried from server to server, rather than sent to all of them.
fn is_carried(effects: &Effects) -> bool {
    effects.begin.is_some()
        || effects.end.is_some()
        || effects.savepoint.is_some()
        || effects.transaction_modes.is_some()
        || effects.repeatable
        || effects.sets.other
        || effects.sets.local
        || !effects.sets.tracked.is_empty()
        || effects.unpins != Default::default()
}

/// A statement, Pgpool-II's node, ours, and why they differ.
type Row = (&'static str, At, At, &'static str);

#[track_caller]
fn check(settings: &str, rows: &[Row]) {
    let rules = rules(settings);
    let mut wrong = Vec::new();
    for (sql, pgpool, ours, why) in rows {
        assert_eq!(pgpool == ours, why.is_empty(), "{sql:?}: a difference has a reason");
        let verdict = verdict(&rules, sql);
        let read = verdict.target == Target::Read;
        let right = match ours {
            L => read,
            P => !read,
            A => !read && is_carried(&verdict.effects),
            Own => panic!("{sql:?}: nothing is answered without a server"),
        };
        if !right {
            wrong.push(format!("{sql:?}: {ours:?} was wanted, not {verdict:?}"));
        }
    }
    assert!(wrong.is_empty(), "{settings}\n{}", wrong.join("\n"));
}

const ONE_SERVER: &str =
    "PostgreSQL's answer: it is about one server, and clients mean the primary";
const CARRIED: &str = "it is not sent to servers that the session does not use; on the primary, which \
                       the session keeps or whose settings follow it";
const TEXT_ONLY: &str = "Pgpool-II looks at the first word only; it reads, so any node can answer";
const PLANNED: &str = "what is planned changes nothing, and any node plans alike";
const REFUSED: &str = "a standby refuses it";

#[test]
fn statements() {
    check(
        "",
        &[
            ("SELECT a FROM t", L, L, ""),
            ("WITH w AS (SELECT 1) SELECT * FROM w", L, L, ""),
            ("TABLE t", L, L, ""),
            ("(SELECT 1)", L, L, ""),
            ("select /* inner */ 1", L, L, ""),
            ("  SELECT 1", L, L, ""),
            ("\n\n\tSELECT 1", L, L, ""),
            ("SELECT 1;", L, L, ""),
            ("", L, L, ""),
            (";", L, L, ""),
            ("   ", L, L, ""),
            ("/* c */ select 1", P, P, ""),
            ("-- c\nselect 1", P, P, ""),
            ("  /* c */ select 1", P, P, ""),
            ("/*NO LOAD BALANCE*/ select 1", P, P, ""),
            ("/* only a comment */", P, P, ""),
            ("VALUES (1)", P, L, TEXT_ONLY),
            ("SELECT a FROM t FOR UPDATE", P, P, ""),
            ("SELECT a FROM t FOR SHARE", P, P, ""),
            ("SELECT a FROM t FOR KEY SHARE", P, P, ""),
            ("WITH w AS (SELECT a FROM t FOR UPDATE) SELECT a FROM w", P, P, ""),
            ("SELECT a FROM (SELECT a FROM t FOR SHARE) s", P, P, ""),
            ("SELECT a INTO u FROM t", P, P, ""),
            ("CREATE TABLE u AS SELECT a FROM t", P, P, ""),
            ("WITH w AS (INSERT INTO t VALUES (1) RETURNING a) SELECT a FROM w", P, P, ""),
            ("WITH w AS (UPDATE t SET a = 1 RETURNING a) SELECT a FROM w", P, P, ""),
            ("WITH w AS (DELETE FROM t RETURNING a) SELECT a FROM w", P, P, ""),
            (
                "SELECT a FROM (WITH w AS (DELETE FROM t RETURNING a) SELECT a FROM w) s",
                L,
                P,
                "the primary says that it is an error; a standby might say something else",
            ),
            (
                "SELECT relname FROM pg_class",
                P,
                L,
                "a standby has the same catalogue; only relations about one server, such as \
                 pg_stat_activity, need the primary",
            ),
            ("SELECT relname FROM pg_catalog.pg_class", P, L, "as without the schema"),
            ("SELECT * FROM pg_stat_activity", P, P, ""),
            ("SELECT table_name FROM information_schema.tables", L, L, ""),
            ("SELECT a FROM view_of_t", L, L, ""),
            ("SELECT a FROM view_f_write", L, P, "the catalogue knows what is below a view"),
            ("SELECT a FROM view_unlogged", L, P, "the catalogue knows what is below a view"),
            ("SELECT a FROM unlogged_t", P, P, ""),
            ("SELECT a FROM temp_t", P, P, ""),
            ("SELECT a FROM no_such_table", L, L, ""),
            (
                "SELECT no_such_function()",
                L,
                P,
                "a function about which nothing is known may have been made a moment ago",
            ),
            ("SELECT f_vol()", P, P, ""),
            ("SELECT f_stable()", L, L, ""),
            ("SELECT now()", L, L, ""),
            ("SELECT current_timestamp", L, L, ""),
            ("SELECT version()", L, L, ""),
            ("SELECT current_setting('work_mem')", L, P, ONE_SERVER),
            ("SELECT pg_backend_pid()", L, P, ONE_SERVER),
            ("SELECT lower('X')", L, L, ""),
            ("SELECT count(*) FROM t", L, L, ""),
            ("SELECT txid_current()", L, P, REFUSED),
            ("SELECT pg_current_xact_id()", L, P, REFUSED),
            ("INSERT INTO t VALUES (1)", P, P, ""),
            ("INSERT INTO t VALUES (1) RETURNING a", P, P, ""),
            ("UPDATE t SET a = 1", P, P, ""),
            ("DELETE FROM t", P, P, ""),
            ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", P, P, ""),
            ("TRUNCATE t", P, P, ""),
            ("CREATE TABLE u (a int)", P, P, ""),
            ("ALTER TABLE t ADD b int", P, P, ""),
            ("DROP TABLE t", P, P, ""),
            ("GRANT SELECT ON t TO app", P, P, ""),
            ("COMMENT ON TABLE t IS 'x'", P, P, ""),
            ("SECURITY LABEL ON TABLE t IS 'x'", P, P, ""),
            ("LOAD 'auto_explain'", P, P, ""),
            ("VACUUM t", P, P, ""),
            ("ANALYZE t", P, P, ""),
            ("CLUSTER t", P, P, ""),
            ("REINDEX TABLE t", P, P, ""),
            ("CHECKPOINT", P, P, ""),
            ("REFRESH MATERIALIZED VIEW m", P, P, ""),
            ("DO $$BEGIN END$$", P, P, ""),
            ("CALL p()", P, P, ""),
            ("COPY t TO STDOUT", L, L, ""),
            ("COPY (SELECT a FROM t) TO STDOUT", L, L, ""),
            ("COPY (SELECT f_write()) TO STDOUT", L, P, REFUSED),
            ("COPY unlogged_t TO STDOUT", L, P, REFUSED),
            ("COPY pg_class TO STDOUT", L, L, ""),
            ("COPY (DELETE FROM t RETURNING a) TO STDOUT", P, P, ""),
            ("COPY t FROM STDIN", P, P, ""),
            ("EXPLAIN SELECT a FROM t", P, L, TEXT_ONLY),
            ("EXPLAIN DELETE FROM t", P, L, PLANNED),
            ("EXPLAIN ANALYZE SELECT a FROM t", P, L, TEXT_ONLY),
            ("EXPLAIN ANALYZE DELETE FROM t", P, P, ""),
            ("SHOW search_path", L, L, ""),
            ("SHOW port", L, P, ONE_SERVER),
            ("SHOW ALL", L, P, ONE_SERVER),
            (
                "SHOW POOL_NODES",
                Own,
                P,
                "not built: the server says that there is no such parameter",
            ),
            ("PGPOOL SHOW port", Own, P, "not built: a syntax error of the server"),
            ("SET work_mem = '1MB'", A, A, ""),
            ("SET LOCAL work_mem = '1MB'", A, A, ""),
            ("RESET work_mem", A, A, ""),
            ("RESET ALL", A, A, ""),
            ("SET search_path = s", A, A, ""),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", A, A, ""),
            ("SET transaction_read_only = on", A, A, ""),
            ("SET default_transaction_read_only = on", A, A, ""),
            ("SET default_transaction_read_only = off", A, A, ""),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", P, P, ""),
            ("SET transaction_read_only = off", P, P, ""),
            (
                "SET transaction_read_only = 0",
                A,
                P,
                "the replies of two servers never need to be alike: Pgpool-II's session ends here",
            ),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", P, P, ""),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", P, P, ""),
            ("SET default_transaction_isolation = 'serializable'", P, P, ""),
            ("DISCARD ALL", A, A, ""),
            ("DISCARD PLANS", A, P, CARRIED),
            ("DISCARD TEMP", A, A, ""),
            (
                "PREPARE n AS SELECT 1",
                L,
                P,
                "it lives in one server session, which must be able to run whatever EXECUTE asks for",
            ),
            ("EXECUTE n", L, P, "where it was prepared"),
            ("DEALLOCATE n", L, P, "where it was prepared"),
            ("PREPARE n AS DELETE FROM t", P, P, ""),
            ("DEALLOCATE ALL", A, A, ""),
            ("DECLARE c CURSOR FOR SELECT 1", P, P, ""),
            ("FETCH c", P, P, ""),
            ("MOVE c", P, P, ""),
            ("CLOSE c", P, P, ""),
            ("LISTEN c", P, P, ""),
            ("NOTIFY c", P, P, ""),
            ("UNLISTEN c", P, P, ""),
            ("LOCK t IN ACCESS SHARE MODE", A, A, ""),
            ("LOCK t IN ROW SHARE MODE", A, A, ""),
            ("LOCK t IN SHARE MODE", P, P, ""),
            ("LOCK t", P, P, ""),
            ("BEGIN", A, A, ""),
            ("START TRANSACTION", A, A, ""),
            ("BEGIN READ WRITE", A, A, ""),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", A, A, ""),
            ("COMMIT", A, A, ""),
            ("END", A, A, ""),
            ("ROLLBACK", A, A, ""),
            ("ABORT", A, A, ""),
            ("COMMIT AND CHAIN", A, A, ""),
            ("SAVEPOINT s", A, A, ""),
            ("RELEASE s", A, A, ""),
            ("ROLLBACK TO s", A, A, ""),
            ("PREPARE TRANSACTION 'x'", P, P, ""),
            ("COMMIT PREPARED 'x'", P, P, ""),
            ("ROLLBACK PREPARED 'x'", P, P, ""),
            ("SELECT 1; SELECT 2", P, P, ""),
            ("SELECT FROM WHERE (", P, P, ""),
        ],
    );
}

#[test]
fn comments_and_white_space() {
    check(
        "allow_sql_comments = on",
        &[
            ("/* c */ select 1", L, L, ""),
            ("-- c\nselect 1", L, L, ""),
            ("/* only a comment */", L, L, ""),
            ("VALUES (1)", L, L, ""),
            (
                "/*NO LOAD BALANCE*/ select 1",
                L,
                P,
                "who writes it means it, whatever else comments mean",
            ),
        ],
    );
    check(
        "ignore_leading_white_space = off",
        &[
            (" SELECT 1", P, P, ""),
            ("\nSELECT 1", P, P, ""),
            ("SELECT 1 ", L, L, ""),
            ("   ", L, L, ""),
        ],
    );
    let rules = rules("");
    for (sql, setting) in [
        ("/* c */ select 1", Some("allow_sql_comments")),
        (" -- c\nselect 1", Some("allow_sql_comments")),
        ("- 1", None),
        ("/ 1", None),
        ("", None),
    ] {
        assert_eq!(rules.forces_primary(sql.as_bytes()), setting, "{sql:?}");
    }
}

#[test]
fn statement_patterns() {
    // The first three patterns stand so in Pgpool-II's manual.
    check(
        r"primary_routing_query_pattern_list = 'SELECT \* FROM table_name1\;;SELECT col1, col2 FROM table_name2 WHERE col1 LIKE \'%a%\'\;;.*table_name3.*; COPY t5.*'",
        &[
            ("SELECT * FROM table_name1;", P, P, ""),
            ("select * from TABLE_NAME1;", P, P, ""),
            ("SELECT * FROM table_name1", L, L, ""),
            (" SELECT * FROM table_name1;", L, L, ""),
            ("SELECT col1, col2 FROM table_name2 WHERE col1 LIKE '%a%';", P, P, ""),
            ("SELECT a\nFROM table_name3\nWHERE a = 1", P, P, ""),
            ("SELECT a FROM \"table_name3\"", P, P, ""),
            ("SELECT a FROM table_\"name\"3", P, P, ""),
            ("SELECT a FROM table_name4", L, L, ""),
            (
                "COPY t5 TO STDOUT",
                L,
                P,
                "blanks around an entry are not part of it, where Pgpool-II asks for them in the text",
            ),
        ],
    );
    let rules = rules("primary_routing_query_pattern_list = '.*t1.*'");
    let reason = Reason::Setting("primary_routing_query_pattern_list");
    assert_eq!(verdict(&rules, "SELECT 1 FROM t1").target, Target::Primary(reason));
    let writes = Reason::Writes("DELETE");
    assert_eq!(verdict(&rules, "DELETE FROM t1").target, Target::Primary(writes), "more to say");
}

#[test]
fn functions_without_lists() {
    const READS: &str = "volatile, and yet it reads: a standby answers as well as the primary";
    check(
        "",
        &[
            ("SELECT nextval('s')", P, P, ""),
            ("SELECT setval('s', 1)", P, P, ""),
            ("SELECT currval('s')", P, P, ""),
            ("SELECT random()", P, L, READS),
            ("SELECT clock_timestamp()", P, L, READS),
            ("SELECT gen_random_uuid()", P, L, READS),
            ("SELECT pg_sleep(0)", P, L, READS),
            ("SELECT set_config('a.b', 'c', false)", P, P, ""),
            ("SELECT pg_notify('c', 'p')", P, P, ""),
            ("SELECT lo_create(0)", P, P, ""),
            ("SELECT pg_advisory_lock(1)", P, P, ""),
            ("SELECT pg_is_in_recovery()", P, P, ""),
            ("SELECT f_vol()", P, P, ""),
            ("SELECT f_stable()", L, L, ""),
        ],
    );
}

const KNOWN: &str =
    "no list makes PostgreSQL's own writing functions harmless: a standby refuses them";

#[test]
fn write_function_list() {
    check(
        "write_function_list = 'f_vol,f_write'",
        &[
            ("SELECT f_vol()", P, P, ""),
            ("SELECT F_VOL()", P, P, ""),
            ("SELECT \"f_vol\"()", P, P, ""),
            ("SELECT a FROM t WHERE a = f_write(1)", P, P, ""),
            ("SELECT f_vol2()", L, L, ""),
            ("SELECT no_such_function()", L, L, ""),
            ("SELECT random()", L, L, ""),
            ("SELECT nextval('s')", L, P, KNOWN),
            ("SELECT pg_catalog.nextval('s')", L, P, KNOWN),
            ("SELECT pg_backend_pid()", L, P, ONE_SERVER),
            ("SELECT t.a FROM t", L, L, ""),
            ("COPY (SELECT f_write()) TO STDOUT", L, P, "Pgpool-II does not look into COPY"),
        ],
    );
    check(
        "write_function_list = 'f_.*'",
        &[
            ("SELECT f_stable()", P, P, ""),
            ("SELECT sc.f_vol2()", L, L, ""),
            ("SELECT lower('X')", L, L, ""),
        ],
    );
    check(
        "write_function_list = 'sc.f_vol2'",
        &[
            ("SELECT sc.f_vol2()", P, P, ""),
            ("SELECT \"sc\".\"f_vol2\"()", P, P, ""),
            ("SELECT f_vol2()", L, L, ""),
        ],
    );
    check(
        "write_function_list = '\"f_vol\"'",
        &[("SELECT f_vol()", L, P, "quotes in the list are dropped as those in the statement are")],
    );
}

#[test]
fn read_only_function_list() {
    check(
        "read_only_function_list = 'f_stable,count'",
        &[
            ("SELECT f_stable()", L, L, ""),
            ("SELECT count(*) FROM t", L, L, ""),
            ("SELECT now()", P, P, ""),
            ("SELECT f_vol()", P, P, ""),
            ("SELECT a FROM t", L, L, ""),
        ],
    );
    check("read_only_function_list = 'nextval'", &[("SELECT nextval('s')", L, P, KNOWN)]);
    check(
        "read_only_function_list = 'f_.*'\nwrite_function_list = 'f_vol,g'",
        &[
            ("SELECT f_stable()", L, L, ""),
            ("SELECT g()", P, P, ""),
            ("SELECT h()", P, P, ""),
            ("SELECT f_vol()", L, P, "as Pgpool-II's manual has it: what is in both lists writes"),
        ],
    );
}

#[test]
fn the_memo_answers_as_the_lists_do() {
    let rules = rules("write_function_list = 'f[0-9]*7,s\\.g'");
    let memo = FunctionMemo::default();
    for round in 0..3 {
        for i in 0..100 {
            let name = format!("f{i}");
            let called = |qualifier| Name {
                qualifier,
                name: Identifier { text: name.as_bytes(), quoted: false },
            };
            let writes = name.ends_with('7');
            let wanted = if writes { FunctionFact::Writes } else { FunctionFact::Harmless };
            assert_eq!(rules.function(called(None), &memo), Some(wanted), "{round}: {name}");
            assert_eq!(rules.attribute_writes(called(None), &memo), writes);
            let schema = Identifier { text: b"s", quoted: false };
            let qualified = rules.function(called(Some(schema)), &memo);
            assert_eq!(qualified, Some(FunctionFact::Harmless), "{round}: s.{name}");
        }
    }
    let long = [b'f'; 64];
    let name = Name { qualifier: None, name: Identifier { text: &long, quoted: false } };
    assert_eq!(rules.function(name, &memo), None, "PostgreSQL would cut it");
}

/// Whether a statement ends the reads on the standby within its transaction.
#[test]
fn what_ends_the_reads_of_a_transaction() {
    const REPEATED: &str = "it writes nothing; it is repeated where the transaction goes";
    // Statement, does Pgpool-II take it for a write, does ours go to the primary for good, why.
    let table: &[(&str, bool, bool, &str)] = &[
        ("INSERT INTO t VALUES (1)", true, true, ""),
        ("UPDATE t SET a = 1", true, true, ""),
        ("DELETE FROM t", true, true, ""),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", true, true, ""),
        ("TRUNCATE t", true, true, ""),
        ("CREATE TABLE u (a int)", true, true, ""),
        ("SELECT a FROM t FOR UPDATE", true, true, ""),
        ("SELECT f_vol()", true, true, ""),
        ("SET search_path = s", true, true, ""),
        ("SET DateStyle = 'ISO'", true, false, REPEATED),
        ("SET LOCAL work_mem = '1MB'", true, false, REPEATED),
        ("LOCK t IN ACCESS SHARE MODE", true, false, REPEATED),
        ("LOCK t", true, true, ""),
        ("SAVEPOINT s", true, false, REPEATED),
        ("DECLARE c CURSOR FOR SELECT 1", true, true, ""),
        ("LISTEN c", true, true, ""),
        ("EXPLAIN ANALYZE DELETE FROM t", true, true, ""),
        (
            "PREPARE n AS SELECT 1",
            false,
            true,
            "the server session with the statement must be able to run all that follows",
        ),
        (
            "SELECT a FROM unlogged_t",
            false,
            true,
            "later reads of the same transaction would see another server's state",
        ),
        ("SELECT a FROM temp_t", false, true, "as for an unlogged table"),
        ("SELECT relname FROM pg_class", false, false, ""),
        ("SHOW search_path", false, false, ""),
        ("COPY t TO STDOUT", false, false, ""),
        ("EXPLAIN SELECT a FROM t", false, false, ""),
        ("EXPLAIN DELETE FROM t", false, false, ""),
        ("SET TRANSACTION READ ONLY", false, false, ""),
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", false, false, ""),
        ("ROLLBACK TO s", false, false, ""),
        ("BEGIN", false, false, ""),
        ("COMMIT AND CHAIN", false, false, ""),
    ];
    let rules = rules("");
    for (sql, pgpool, ours, why) in table {
        assert_eq!(pgpool == ours, why.is_empty(), "{sql}: a difference has a reason");
        let Verdict { target, effects, .. } = verdict(&rules, sql);
        let pins = effects.pins_session.is_some() || effects.sets.other;
        let stays = target == Target::Read || !pins && (effects.exact || effects.repeatable);
        assert_eq!(!stays, *ours, "{sql}: {target:?} {effects:?}");
    }
}

/// What a session reads after the transaction that wrote; what it reads within it is a matter of
/// the servers (`testbed::scenarios::load_balancing::after_a_write`).
#[test]
fn after_a_write() {
    use DisableLoadBalanceOnWrite as D;
    // Setting; after a transaction that wrote: outside, and in the next one; the same after a write
    // outside transactions. Ours is Pgpool-II's everywhere.
    let table: &[(&str, DisableLoadBalanceOnWrite, [At; 4])] = &[
        ("off", D::Off, [L, L, L, L]),
        ("transaction", D::Transaction, [L, L, L, L]),
        ("trans_transaction", D::TransTransaction, [L, P, L, L]),
        ("always", D::Always, [P, P, P, P]),
        ("dml_adaptive", D::DmlAdaptive, [L, L, L, L]),
    ];
    let node = |free: bool| if free { L } else { P };
    for (text, value, wanted) in table {
        let settings = settings(&format!("disable_load_balance_on_write = {text}"));
        assert_eq!(settings.disable_load_balance_on_write, *value);
        let fresh = AfterWrite::new(*value);
        assert!(fresh.frees_reads() && fresh.frees_transactions(), "{text}: before a write");
        let found = [true, false].map(|in_transaction| {
            let mut state = fresh;
            state.wrote(in_transaction);
            [node(state.frees_reads()), node(state.frees_transactions())]
        });
        assert_eq!(found.as_flattened(), wanted, "{text}");
    }
}

#[test]
fn writes_of_other_sessions_are_not_promised() {
    let file = format!("{NODES}disable_load_balance_on_write = dml_adaptive_global\n");
    let errors = load("pgpool.conf", &file, &mut |path| Err(path.to_owned())).unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("`disable_load_balance_on_write = dml_adaptive_global` is refused"));
    assert!(text.contains("accepted: off, transaction, trans_transaction, always, dml_adaptive"));
}

/// Shares of the nodes in the choices of many sessions.
fn shares(settings: &Settings, names: &SessionNames<'_>) -> Vec<f64> {
    const SESSIONS: u64 = 20_000;
    let rules = Rules::compile(settings).expect("valid rules");
    let mut counts = vec![0.0; settings.backends.len()];
    for seed in 0..SESSIONS {
        let mut balancer = Balancer::new(settings, seed);
        balancer.session_starts(&rules, names);
        counts[balancer.node(settings).index()] += 1.0;
    }
    counts.iter().map(|count| count / 20_000.0).collect()
}

#[track_caller]
fn assert_shares(lines: &str, names: &SessionNames<'_>, wanted: &[f64]) {
    let shares = shares(&settings(lines), names);
    for (share, wanted) in shares.iter().zip(wanted) {
        // Six standard deviations of 20,000 draws; none where there is no chance.
        let slack = 6.0 * (wanted * (1.0 - wanted) / 20_000.0).sqrt();
        assert!((share - wanted).abs() <= slack, "{lines}: {shares:?}");
    }
    assert_eq!(shares.len(), wanted.len());
}

const NOBODY: SessionNames<'static> =
    SessionNames { application_name: b"", database: b"shop", user: b"app" };

const THREE: &str = "backend_hostname2 = c\nbackend_port2 = 1\n";

#[test]
fn weights() {
    for (primary, standby, wanted) in
        [(1, 1, [0.5, 0.5]), (0, 1, [0.0, 1.0]), (1, 3, [0.25, 0.75]), (0, 0, [1.0, 0.0])]
    {
        let lines = format!("backend_weight0 = {primary}\nbackend_weight1 = {standby}");
        assert_shares(&lines, &NOBODY, &wanted);
    }
    let lines = format!("{THREE}backend_weight0 = 1\nbackend_weight1 = 2\nbackend_weight2 = 1");
    assert_shares(&lines, &NOBODY, &[0.25, 0.5, 0.25]);
}

#[test]
fn redirects() {
    let even = "backend_weight0 = 1\nbackend_weight1 = 1\n";
    let three = format!("{even}{THREE}backend_weight2 = 2\n");
    let app = |name| SessionNames { application_name: name, ..NOBODY };
    let lists = "app_name_redirect_preference_list = 'myapp1:1(0.3),myapp2:standby,psql:primary'\n";
    let databases = "database_redirect_preference_list = 'report:1(0.0), shop:primary'\n";
    let users = "user_redirect_preference_list = 'app:standby,user[01]:1(0.3)'\n";
    let table: &[(String, SessionNames<'_>, &[f64])] = &[
        // The examples of Pgpool-II's manual.
        (format!("{even}{lists}"), app(b"psql"), &[1.0, 0.0]),
        (format!("{even}{lists}"), app(b"myapp1"), &[0.7, 0.3]),
        (format!("{even}{lists}"), app(b"myapp2"), &[0.0, 1.0]),
        (format!("{even}{lists}"), app(b"other"), &[0.5, 0.5]),
        (format!("{even}{lists}"), app(b"PSQL"), &[1.0, 0.0]),
        // Application name beats database beats user.
        (format!("{even}{lists}{databases}{users}"), app(b"myapp2"), &[0.0, 1.0]),
        (format!("{even}{lists}{databases}{users}"), app(b"other"), &[1.0, 0.0]),
        (
            format!("{even}{lists}{databases}{users}"),
            SessionNames { database: b"else", ..app(b"other") },
            &[0.0, 1.0],
        ),
        // A ratio of 0 means never that node.
        (format!("{even}{databases}"), SessionNames { database: b"report", ..NOBODY }, &[1.0, 0.0]),
        // A named node needs no weight; the others share the rest by theirs.
        (
            format!("{three}backend_weight1 = 0\nuser_redirect_preference_list = 'app:1(0.4)'"),
            NOBODY,
            &[0.2, 0.4, 0.4],
        ),
        // Where no other has a weight, the rest is the primary's.
        ("user_redirect_preference_list = 'app:1(0.4)'".to_owned(), NOBODY, &[0.6, 0.4]),
        // standby: one of them by weight, else the primary, whatever its weight.
        (
            format!(
                "{three}backend_weight0 = 0\nuser_redirect_preference_list = 'app:standby(0.6)'"
            ),
            NOBODY,
            &[0.4, 0.2, 0.4],
        ),
        (
            "backend_weight1 = 0\nuser_redirect_preference_list = 'app:standby'".to_owned(),
            NOBODY,
            &[1.0, 0.0],
        ),
        (
            format!("{three}user_redirect_preference_list = 'app:primary(0.5)'"),
            NOBODY,
            &[0.5, 1.0 / 6.0, 1.0 / 3.0],
        ),
        // A node that does not exist is as one that is down.
        (format!("{even}user_redirect_preference_list = 'app:5'"), NOBODY, &[0.5, 0.5]),
        // The first entry that matches counts.
        (format!("{even}user_redirect_preference_list = 'a.*:0,app:1'"), NOBODY, &[1.0, 0.0]),
        // A session without an application name has none that matches.
        (format!("{even}app_name_redirect_preference_list = '.*:1'"), NOBODY, &[0.5, 0.5]),
    ];
    for (lines, names, wanted) in table {
        assert_shares(lines, names, wanted);
    }
}

#[test]
fn nodes_that_are_down_are_passed_over() {
    let lines = format!(
        "{THREE}backend_weight0 = 1\nbackend_weight1 = 1\nbackend_weight2 = 1\n\
         user_redirect_preference_list = 'app:1,st:standby'"
    );
    let settings = settings(&lines);
    let rules = Rules::compile(&settings).unwrap();
    let primary = settings.primary_node();
    let [node0, node1, node2] = [NodeId(0), NodeId(1), NodeId(2)];
    let mut chosen = [0; 3];
    for seed in 0..300 {
        let mut balancer = Balancer::new(&settings, seed);
        balancer.session_starts(&rules, &NOBODY);
        assert_eq!(balancer.node(&settings), node1);
        assert!(balancer.skip(node1, primary));
        let instead = balancer.node(&settings);
        chosen[instead.index()] += 1;
        balancer.settled();
        assert_eq!(balancer.node(&settings), node1, "the session's node is kept");

        let names = SessionNames { user: b"st", ..NOBODY };
        balancer.session_starts(&rules, &names);
        assert!(balancer.skip(node1, primary));
        assert_eq!(balancer.node(&settings), node2, "the other standby");
        assert!(balancer.skip(node2, primary));
        assert_eq!(balancer.node(&settings), node0, "no standby is left");
        assert!(!balancer.skip(node0, primary), "nobody is left");
    }
    assert!(chosen[0] > 0 && chosen[1] == 0 && chosen[2] > 0, "{chosen:?}");
}

#[test]
fn a_session_keeps_its_node_unless_each_statement_chooses() {
    let even = "backend_weight0 = 1\nbackend_weight1 = 1\n";
    for (lines, kept) in [("", true), ("statement_level_load_balance = on", false)] {
        let settings = settings(&format!("{even}{lines}"));
        let rules = Rules::compile(&settings).unwrap();
        let mut balancer = Balancer::new(&settings, 42);
        balancer.session_starts(&rules, &NOBODY);
        let first = balancer.node(&settings);
        let same = (0..1000).filter(|_| balancer.node(&settings) == first).count();
        if kept {
            assert_eq!(same, 1000);
        } else {
            assert!((400..600).contains(&same), "{same}");
        }
    }
    let off = settings("load_balance_mode = off");
    assert!(!Balancer::new(&off, 1).is_enabled());
}

#[test]
fn preferences_are_found_by_name() {
    let rules = rules("database_redirect_preference_list = 'sh.p:2(0.25)'");
    let preference = rules.preference(&NOBODY).unwrap();
    assert_eq!((preference.node, preference.ratio), (PreferredNode::Id(2), 0.25));
    assert_eq!(rules.preference(&SessionNames { database: b"workshop", ..NOBODY }), None);
}

#[test]
fn faults_name_setting_entry_and_what_is_accepted() {
    let table: &[(&str, &str)] = &[
        (
            "write_function_list = 'f, g*+, (h'",
            "invalid entry of `write_function_list`: `(h`: a parenthesis has no end; accepted: \
             POSIX extended regular expressions without back-references",
        ),
        (
            "black_function_list = '*'",
            "invalid entry of `write_function_list`: `*`: * has nothing before it that it could \
             repeat; `.*` is any text; accepted:",
        ),
        (
            r"read_only_function_list = '(a)\1'",
            r"invalid entry of `read_only_function_list`: `(a)\1`: the back-reference \1 is not",
        ),
        (
            r"primary_routing_query_pattern_list = 'SELECT \d'",
            r"`SELECT \d`: \d has no meaning in a POSIX regular expression; a digit is [0-9]",
        ),
        (
            "database_redirect_preference_list = 'postgres:bogus'",
            "invalid entry of `database_redirect_preference_list`: `postgres:bogus`: `bogus` is no \
             node; accepted: pattern:node or pattern:node(ratio), where node is primary, standby \
             or a node id and ratio is 0.0 to 1.0",
        ),
        ("app_name_redirect_preference_list = 'psql'", "`psql`: there is no `:` before a node"),
        ("user_redirect_preference_list = 'a:1(2)'", "`a:1(2)`: `(2)` is no ratio"),
        ("user_redirect_preference_list = '[a:1'", "`[a:1`: a bracket expression has no end"),
        (
            "dml_adaptive_object_relationship_list = 't1'",
            "invalid entry of `dml_adaptive_object_relationship_list`: `t1`: it is no pair of two \
             names with a `:` between them; accepted: object:object, where a function is written \
             name()",
        ),
        ("allow_sql_comments = maybe", "invalid value for `allow_sql_comments`: `maybe`"),
    ];
    for (line, wanted) in table {
        let file = format!("{NODES}{line}\n");
        let errors = load("pgpool.conf", &file, &mut |path| Err(path.to_owned())).unwrap_err();
        let text = errors.to_string();
        assert_eq!(errors.0.len(), 1, "{text}");
        assert!(text.starts_with("pgpool.conf:8: "), "{text}");
        assert!(text.contains(wanted), "{text}\nlacks\n{wanted}");
    }
}

#[test]
fn what_an_operator_should_know_is_said() {
    for (lines, wanted) in [
        (
            "user_redirect_preference_list = 'app:5,b:5'",
            &["pgpool.conf:8: `user_redirect_preference_list` names node 5, which is not \
               configured: its entries are as if the node was down"][..],
        ),
        (
            "write_function_list = f\nread_only_function_list = g",
            &["pgpool.conf:8: `read_only_function_list` is set too: every function that it does \
               not match writes, and `write_function_list` counts only for what both match"],
        ),
        (r"primary_routing_query_pattern_list = '.*\'x\'.*'", &[]),
        ("allow_sql_comments = on\nignore_leading_white_space = off", &[]),
    ] {
        let file = format!("{NODES}{lines}\n");
        let loaded = load("pgpool.conf", &file, &mut |path| Err(path.to_owned())).unwrap();
        let notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
        assert_eq!(notices, wanted, "{lines}");
    }
}
