//! Statements and what they are: the table that pins the rules down.

use super::*;

pub(super) fn verdict(sql: &str) -> Verdict {
    classify(sql.as_bytes(), &Lexing::default())
}

fn effects(sql: &str) -> Effects {
    verdict(sql).effects
}

fn reason(sql: &str) -> Reason {
    match verdict(sql).target {
        Target::Primary(reason) => reason,
        Target::Read => panic!("a read: {sql}"),
    }
}

/// Statements that any node may answer. Each runs in a `READ ONLY` transaction of a fresh PostgreSQL
/// 15 with the tables `t (a int, b text)` and `pgbench_accounts (aid int, abalance int)`.
pub(super) const READS: &[&str] = &[
    "",
    ";",
    " -- nothing\n",
    "/* nothing */;;",
    "SELECT 1",
    "SELECT",
    "select abalance from pgbench_accounts where aid = 12345;",
    ";;SELECT 1;; ;",
    "/* a comment */ SELECT 1 -- and another",
    "SELECT /*NO LOAD BALANCE*/ 1",
    "(SELECT 1)",
    "((SELECT 1) UNION (SELECT 2)) ORDER BY 1",
    "TABLE t",
    "VALUES (1, 'a'), (2, 'b')",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "WITH x(a, b) AS (SELECT 1, 2), y(c) AS MATERIALIZED (SELECT 3), z AS NOT MATERIALIZED (SELECT 4) SELECT * FROM x, y, z",
    "WITH RECURSIVE r(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r",
    "WITH data(a) AS (SELECT 1) (SELECT a FROM data)",
    "WITH x AS (WITH y(a) AS (SELECT 1) SELECT a FROM y) SELECT count(*) FROM x",
    "WITH x AS (SELECT 1 AS a) TABLE x",
    "SELECT count(*), sum(a), max(b) FROM t WHERE a IN (1, 2) AND (b = 'x' OR NOT (a > 3))",
    "SELECT COUNT ( * ) FROM t",
    "SELECT pg_catalog.count(*) FROM t",
    "SELECT \"count\"(*), \"pg_catalog\".\"lower\"('A') FROM t",
    "SELECT pg_catalog /* schema */ . lower ( 'A' )",
    "SELECT coalesce(a, 1), nullif(a, 2), greatest(a, 3), least(a, 4) FROM t",
    "SELECT extract(epoch FROM now()), position('a' IN 'ba'), substring('abc' FROM 2 FOR 1), trim(both ' ' FROM ' x '), overlay('abc' placing 'x' FROM 1)",
    "SELECT cast(a AS varchar(10)), a::numeric(10,2), a::pg_catalog.numeric(5,1), a::bit(4), '1'::character varying(3), 'x'::bpchar(3) FROM t",
    "SELECT now()::timestamp(3), now()::timestamp(3) with time zone, interval '1' day, interval(3) '1 s', current_timestamp(3), localtime(0)",
    "SELECT ARRAY[1,2], ARRAY(SELECT a FROM t), ROW(1, 2), (ARRAY[1,2])[1], (row(1,2)).f1",
    "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM t) AND a = ANY (ARRAY[1]) AND a <> ALL (SELECT 9) AND a = SOME (ARRAY[1])",
    "SELECT * FROM (VALUES (1, 2)) AS v(a, b)",
    "SELECT * FROM (VALUES (1, 2)) v(a, b)",
    "SELECT * FROM generate_series(1, 3) g(x)",
    "SELECT * FROM generate_series(1, 3) WITH ORDINALITY AS g(x, n)",
    "SELECT * FROM unnest(ARRAY[1,2], ARRAY['a','b']) AS u(a, b)",
    "SELECT * FROM json_to_recordset('[{\"a\":1}]') AS r(a int, b varchar(10))",
    "SELECT * FROM ROWS FROM (generate_series(1,2), generate_series(1,3)) AS r(a, b)",
    "SELECT * FROM t a JOIN (SELECT 1 AS a) b USING (a) LEFT JOIN (t c JOIN t d ON (c.a = d.a)) ON (true) CROSS JOIN (SELECT 2) e NATURAL JOIN (SELECT 3) f",
    "SELECT * FROM t, LATERAL (SELECT t.a) l",
    "SELECT a, count(*) FILTER (WHERE a > 1) OVER (PARTITION BY (a) ORDER BY (a) ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t GROUP BY a",
    "SELECT row_number() OVER w FROM t WINDOW w AS (ORDER BY a)",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t",
    "SELECT string_agg(b, ',' ORDER BY a) FROM t GROUP BY GROUPING SETS ((a), (b), ())",
    "SELECT a, b, grouping(a) FROM t GROUP BY ROLLUP (a, b)",
    "SELECT a FROM t GROUP BY CUBE (a) HAVING (count(*) > 0) LIMIT (1) OFFSET (0)",
    "SELECT a FROM t ORDER BY (a) FETCH FIRST (1) ROWS ONLY",
    "SELECT DISTINCT ON (a) a, b FROM t",
    "SELECT DISTINCT (a) FROM t UNION ALL (SELECT 1) EXCEPT (SELECT 2) INTERSECT (SELECT 3)",
    "SELECT CASE WHEN (a > 1) THEN (2) ELSE (3) END FROM t",
    "SELECT a OPERATOR(pg_catalog.+) 1, b COLLATE \"C\" FROM t ORDER BY a USING OPERATOR(pg_catalog.<)",
    "SELECT b LIKE ('x') , b ILIKE ('x'), b SIMILAR TO ('x'), b NOT IN ('x'), a BETWEEN (1) AND (2) FROM t",
    "SELECT NULL OPERATOR(pg_catalog.=) 1, CASE WHEN true THEN 1 END OPERATOR(pg_catalog.+) 2",
    "SELECT left('abc', 1), right('abc', 1), replace('a', 'b', 'c'), format('%s', 1), date('2020-01-01')",
    "SELECT now() AT TIME ZONE ('UTC')",
    "SELECT * FROM t TABLESAMPLE bernoulli (10) REPEATABLE (1)",
    "SELECT * FROM t TABLESAMPLE SYSTEM (10)",
    "SELECT xmlelement(name a, 'b'), xmlforest(1 AS c), xmlconcat('<a/>')",
    "SELECT random(), clock_timestamp(), gen_random_uuid(), timeofday(), statement_timestamp(), pg_sleep(0)",
    "SELECT to_tsvector('simple', 'x') @@ to_tsquery('x'), '{\"a\":1}'::jsonb ->> 'a', '[1]'::jsonb @? '$[*]'",
    "SELECT version(), current_user, current_schema, current_schema(), current_database(), session_user",
    "SELECT 'insert into t', \"update\".\"for update\" FROM (SELECT 1 AS \"for update\") AS \"update\"",
    "SELECT $$ delete from t; nextval('s') $$, $x$ $$ ; $x$",
    "SELECT E'it\\'s; DELETE FROM t', 'two''s', U&'d\\0061t', B'01', X'1F', N'n'",
    "SELECT x.delete, x.update FROM (SELECT 1 AS \"delete\", 2 AS \"update\") x",
    "SELECT 'a'\n  'b; DELETE'",
    "SELECT 1 -- ; DELETE FROM t\n, 2 /* ; /* nested */ DELETE */",
    "SELECT 1.5e3, .5, 2., 1+-1, 2*/*c*/3, -1 - -1, 1--x\n+2",
    "SELECT c.relname, n.nspname FROM pg_catalog.pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE pg_table_is_visible(c.oid)",
    "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d) FROM pg_attribute a WHERE a.attrelid = 't'::regclass AND a.attnum > 0",
    "SELECT * FROM information_schema.tables",
    "SELECT t.oid FROM pg_type t LEFT JOIN pg_range r ON r.rngtypid = t.oid",
    "SELECT ctid, xmin FROM t",
    "COPY t TO STDOUT",
    "COPY t (a, b) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE (b))",
    "copy public.t to stdout csv header",
    "COPY (SELECT count(*) FROM t) TO STDOUT (DELIMITER ',')",
    "COPY (WITH x(a) AS (SELECT 1) SELECT * FROM x) TO STDOUT",
    "EXPLAIN SELECT * FROM t",
    "EXPLAIN VERBOSE SELECT * FROM t",
    "EXPLAIN (COSTS off, FORMAT json) SELECT * FROM t",
    "EXPLAIN WITH x(a) AS (SELECT 1) SELECT * FROM x",
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN (ANALYZE, COSTS off) SELECT * FROM t",
    "EXPLAIN (ANALYZE off, SETTINGS false) UPDATE t SET a = 1",
    "EXPLAIN SELECT nextval('s'), random(), pg_advisory_lock(1), set_config('a.b', 'c', false), setseed(0.5), currval('s')",
    "EXPLAIN SELECT * FROM t FOR UPDATE",
    "EXPLAIN SELECT * FROM t FOR NO KEY UPDATE OF t NOWAIT",
    "EXPLAIN VALUES (nextval('s'))",
    "EXPLAIN INSERT INTO t (a, b) VALUES (1, 'x')",
    "EXPLAIN INSERT INTO t AS x (a) SELECT a FROM t FOR KEY SHARE",
    "EXPLAIN INSERT INTO t DEFAULT VALUES RETURNING *",
    "EXPLAIN UPDATE ONLY t AS x SET (a, b) = (SELECT 1, 'x'), b = 'y' FROM pgbench_accounts p WHERE p.aid = x.a RETURNING (x.a)",
    "EXPLAIN VERBOSE DELETE FROM t USING pgbench_accounts p, (SELECT 1) AS q WHERE p.aid = t.a",
    "EXPLAIN WITH x AS (DELETE FROM t RETURNING a) INSERT INTO t (a) SELECT a FROM x",
    "EXPLAIN WITH x AS (INSERT INTO t (a) VALUES (nextval('s')) RETURNING a) SELECT * FROM x",
    "EXPLAIN MERGE INTO t USING pgbench_accounts p ON t.a = p.aid WHEN MATCHED AND p.aid > 1 THEN UPDATE SET (a, b) = (1, 'x') WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (a, b) VALUES (CASE WHEN true THEN 1 END, 'x')",
    "SELECT ts_rewrite('a & b'::tsquery, 'a'::tsquery, (SELECT 'c'::tsquery FROM t WHERE a IN (1, 2)))",
    "SELECT ts_rewrite(ts_rewrite('a', 'b', 'c'), 'd', 'e')",
    "SELECT * FROM unnest(ARRAY[1]) WITH ORDINALITY cols(a, n)",
    "SELECT a FROM t FULL JOIN s.t p(b, a) USING (a) JOIN \"T\" q (c) ON true, t r(d)",
    "SELECT regtype('int4'), inet('::1'), lo_get(16385)",
    "SELECT (information_schema._pg_expandarray(ARRAY[1])).x",
    "SELECT relid FROM pg_partition_tree('t') UNION ALL SELECT pg_partition_root('t') UNION ALL SELECT pg_catalog.pg_partition_ancestors('t')",
    "SELECT subname FROM pg_subscription",
    "SELECT pg_class_2.oid FROM pg_class, pg_class AS pg_class_2, pg_class pg_class_3",
    "SHOW search_path",
    "SHOW TIME ZONE",
    "show server_version",
    "SHOW \"DateStyle\"",
    "SELECT größe FROM (SELECT 1 AS größe) ü",
    "SELECT 1 FOR READ ONLY",
];

#[test]
fn reads() {
    for sql in READS {
        let verdict = verdict(sql);
        assert_eq!(verdict.target, Target::Read, "{sql}");
        let copy_out = sql.to_ascii_lowercase().starts_with("copy");
        assert_eq!(verdict.effects, Effects { copy_out, ..Effects::default() }, "{sql}");
    }
}

#[test]
fn primary_and_why() {
    use Reason as R;
    let cases: &[(&str, &str)] = &[
        ("INSERT INTO t VALUES (1)", "INSERT writes"),
        ("update t set a = 1", "UPDATE writes"),
        ("DELETE FROM t", "DELETE writes"),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "MERGE writes"),
        ("TRUNCATE t", "TRUNCATE writes"),
        ("CREATE TABLE x (a int)", "CREATE writes"),
        ("CREATE TABLE x AS SELECT 1", "CREATE writes"),
        ("ALTER TABLE t ADD c int", "ALTER writes"),
        ("DROP TABLE t", "DROP writes"),
        ("GRANT SELECT ON t TO u", "GRANT writes"),
        ("COMMENT ON TABLE t IS 'x'", "COMMENT writes"),
        ("REFRESH MATERIALIZED VIEW v", "REFRESH writes"),
        ("DO $$ BEGIN END $$", "DO writes"),
        ("CALL p()", "CALL writes"),
        ("VACUUM t", "VACUUM"),
        ("LOCK TABLE t", "LOCK"),
        ("CHECKPOINT", "CHECKPOINT"),
        ("NOTIFY c", "NOTIFY"),
        ("SELECT * FROM t FOR UPDATE", "FOR UPDATE"),
        ("SELECT * FROM t FOR NO KEY UPDATE OF t NOWAIT", "FOR NO KEY UPDATE"),
        ("SELECT * FROM t FOR SHARE SKIP LOCKED", "FOR SHARE"),
        ("SELECT * FROM t FOR/**/KEY--\nSHARE", "FOR KEY SHARE"),
        ("SELECT * FROM (SELECT * FROM t FOR UPDATE) x", "FOR UPDATE"),
        ("WITH x AS (SELECT * FROM t FOR SHARE) SELECT * FROM x", "FOR SHARE"),
        ("SELECT * INTO x FROM t", "SELECT INTO"),
        ("WITH x AS (SELECT 1) SELECT * INTO y FROM x", "SELECT INTO"),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x", "INSERT writes"),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x", "DELETE writes"),
        ("WITH x AS (SELECT 1) UPDATE t SET a = 1", "UPDATE writes"),
        ("WITH x(a) AS (SELECT 1) INSERT INTO t SELECT * FROM x", "INSERT writes"),
        ("SELECT nextval('s')", "function nextval writes"),
        ("SELECT NEXTVAL ('s')", "function nextval writes"),
        ("SELECT nextval/* */--\n('s')", "function nextval writes"),
        ("SELECT pg_catalog.nextval('s')", "function nextval writes"),
        ("SELECT \"nextval\"('s')", "function nextval writes"),
        ("SELECT a, setval('s', 1) FROM t", "function setval writes"),
        ("SELECT txid_current()", "function txid_current writes"),
        ("SELECT pg_current_xact_id()", "function pg_current_xact_id writes"),
        ("SELECT pg_notify('c', 'x')", "function pg_notify writes"),
        ("SELECT pg_advisory_xact_lock(1)", "function pg_advisory_xact_lock writes"),
        ("SELECT pg_advisory_unlock_all()", "function pg_advisory_unlock_all writes"),
        ("SELECT lo_create(0)", "function lo_create writes"),
        ("SELECT query_to_xml('delete from t', true, true, '')", "function query_to_xml writes"),
        ("SELECT table_to_xml('v', true, true, '')", "function table_to_xml writes"),
        ("SELECT * FROM dblink('x', 'y') AS d(a int)", "function dblink writes"),
        (
            "SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)",
            "function pg_logical_slot_get_changes writes",
        ),
        ("SELECT currval('s')", "function currval answers for one server"),
        ("SELECT lastval()", "function lastval answers for one server"),
        ("SELECT pg_backend_pid()", "function pg_backend_pid answers for one server"),
        ("SELECT inet_server_addr()", "function inet_server_addr answers for one server"),
        ("SELECT pg_is_in_recovery()", "function pg_is_in_recovery answers for one server"),
        (
            "SELECT pg_last_wal_replay_lsn()",
            "function pg_last_wal_replay_lsn answers for one server",
        ),
        (
            "SELECT current_setting('in_hot_standby')",
            "function current_setting answers for one server",
        ),
        (
            "SELECT pg_postmaster_start_time()",
            "function pg_postmaster_start_time answers for one server",
        ),
        ("SELECT pg_stat_get_numscans(1)", "function pg_stat_get_* answers for one server"),
        ("SELECT pg_backend_pid(), nextval('s')", "function nextval writes"),
        ("SELECT f()", "unknown function"),
        ("SELECT my.lower('x')", "unknown function"),
        ("SELECT pg_temp.lower('x')", "unknown function"),
        ("SELECT \"Lower\"('x')", "unknown function"),
        ("SELECT \"in\"(1)", "unknown function"),
        ("SELECT s.coalesce(1)", "unknown function"),
        ("SELECT s.select(1)", "unknown function"),
        ("SELECT * FROM f(1) AS x(a)", "unknown function"),
        ("SELECT DISTINCT ON (a) f(b) FROM t", "unknown function"),
        ("SELECT DISTINCT ON ((SELECT DISTINCT ON (1) (2))) filter(b) FROM t", "unknown function"),
        ("SELECT 1 OPERATOR(pg_catalog.+) f(2)", "unknown function"),
        ("WITH x AS (SELECT 1) SELECT 1, f(2)", "unknown function"),
        ("WITH x AS (SELECT 1) (SELECT 1) ORDER BY 1, f(2)", "unknown function"),
        ("WITH x(a) AS (SELECT f(1)) SELECT * FROM x", "unknown function"),
        ("WITH x(a) AS (SELECT 1, f(1)) SELECT * FROM x", "unknown function"),
        ("WITH x(a) AS (VALUES (1, f(1))) SELECT * FROM x", "unknown function"),
        ("SELECT by(1)", "unknown function"),
        ("SELECT filter(1), over(1)", "unknown function"),
        ("SELECT materialized(1)", "unknown function"),
        ("SELECT a, rollup(1) FROM t ORDER BY rollup(2)", "unknown function"),
        ("SELECT a FROM t ORDER BY cube(a)", "unknown function"),
        ("SELECT 1 WHERE join(1)", "unknown function"),
        ("SELECT (x).f(1)", "unknown function"),
        ("SELECT * FROM pg_stat_activity", "system relation of one server"),
        ("SELECT * FROM pg_catalog.pg_locks", "system relation of one server"),
        ("SELECT * FROM \"pg_settings\"", "system relation of one server"),
        ("TABLE pg_replication_slots", "system relation of one server"),
        ("SELECT * FROM pg_temp.t", "system relation of one server"),
        ("SELECT * FROM pg_temp_3.t", "system relation of one server"),
        ("COPY pg_stat_activity TO STDOUT", "system relation of one server"),
        ("SELECT U&\"n\\0065xtval\"('s')", "name with Unicode escapes"),
        ("COPY U&\"x\" TO STDOUT", "name with Unicode escapes"),
        ("COPY t FROM STDIN", "COPY FROM writes"),
        ("COPY t TO '/tmp/x'", "COPY TO a server file"),
        ("COPY t TO PROGRAM 'cat'", "COPY TO a server file"),
        ("COPY (DELETE FROM t RETURNING a) TO STDOUT", "DELETE writes"),
        ("COPY (SELECT nextval('s')) TO STDOUT", "function nextval writes"),
        ("COPY (SELECT f()) TO STDOUT", "unknown function"),
        ("EXPLAIN ANALYZE SELECT nextval('s')", "EXPLAIN ANALYZE"),
        ("EXPLAIN (ANALYZE) SELECT * FROM t FOR UPDATE", "EXPLAIN ANALYZE"),
        ("EXPLAIN (ANALYZE 0) DELETE FROM t", "EXPLAIN ANALYZE"),
        ("EXPLAIN (ANALYZE 'off') DELETE FROM t", "EXPLAIN ANALYZE"),
        ("EXPLAIN (ANALYZE off, ANALYZE) DELETE FROM t", "EXPLAIN ANALYZE"),
        ("EXPLAIN ANALYZE VERBOSE INSERT INTO t (a) VALUES (1)", "EXPLAIN ANALYZE"),
        ("EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t", "EXPLAIN ANALYZE"),
        ("EXPLAIN (ANALYZE, SETTINGS) SELECT 1", "EXPLAIN ANALYZE"),
        ("EXPLAIN (COSTS off, SETTINGS) SELECT 1", "EXPLAIN"),
        ("EXPLAIN (SETTINGS on) DELETE FROM t", "EXPLAIN"),
        // Planning runs what is stable or immutable.
        ("EXPLAIN SELECT f()", "EXPLAIN"),
        ("EXPLAIN SELECT * FROM t WHERE a = pg_current_xact_id()::text::int", "EXPLAIN"),
        ("EXPLAIN SELECT txid_current()", "EXPLAIN"),
        ("EXPLAIN SELECT table_to_xml('t', true, true, '')", "EXPLAIN"),
        ("EXPLAIN SELECT pg_backend_pid()", "EXPLAIN"),
        ("EXPLAIN SELECT pg_stat_get_numscans(1)", "EXPLAIN"),
        ("EXPLAIN SELECT ts_rewrite('a', 'SELECT a, b FROM c')", "EXPLAIN"),
        ("EXPLAIN SELECT * FROM dblink('x', 'y') AS d(a int)", "EXPLAIN"),
        ("EXPLAIN SELECT my.nextval('s')", "EXPLAIN"),
        ("EXPLAIN SELECT * FROM pg_locks", "EXPLAIN"),
        ("EXPLAIN DELETE FROM t WHERE a = f(1)", "EXPLAIN"),
        ("EXPLAIN INSERT INTO t (a) VALUES (f(1))", "EXPLAIN"),
        ("EXPLAIN INSERT INTO t (a) VALUES (1) ON CONFLICT (f(a)) DO NOTHING", "EXPLAIN"),
        ("EXPLAIN UPDATE t SET a = f(1)", "EXPLAIN"),
        ("EXPLAIN UPDATE t SET a = conflict(1) FROM x JOIN y ON conflict(2)", "EXPLAIN"),
        ("EXPLAIN UPDATE t SET a = (SELECT set(1))", "EXPLAIN"),
        ("EXPLAIN UPDATE t SET a = CASE WHEN true THEN insert(1) END", "EXPLAIN"),
        (
            "EXPLAIN MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET a = CASE WHEN true THEN insert(1) END",
            "EXPLAIN",
        ),
        (
            "EXPLAIN MERGE INTO t USING s ON (CASE WHEN true THEN insert(1) END) WHEN MATCHED THEN DELETE",
            "EXPLAIN",
        ),
        ("EXPLAIN DELETE FROM pg_temp.t", "EXPLAIN"),
        ("EXPLAIN UPDATE U&\"x\" SET a = 1", "EXPLAIN"),
        ("EXPLAIN SELECT 1 INTO x", "EXPLAIN"),
        ("EXPLAIN CREATE TABLE x AS SELECT 1", "EXPLAIN"),
        ("EXPLAIN DECLARE c CURSOR FOR SELECT 1", "EXPLAIN"),
        ("EXPLAIN REFRESH MATERIALIZED VIEW v", "EXPLAIN"),
        ("EXPLAIN EXECUTE p", "EXPLAIN"),
        ("SELECT ts_rewrite('a', 'SELECT a, b FROM c')", "function ts_rewrite writes"),
        ("SELECT ts_rewrite('a', ARRAY['SELECT', 'x'][1])", "function ts_rewrite writes"),
        ("SELECT ts_rewrite('a', (ARRAY['SELECT', 'x'])[1])", "function ts_rewrite writes"),
        ("SELECT ts_rewrite(ts_rewrite('a', 'b', 'c'), 'd')", "function ts_rewrite writes"),
        ("SELECT _pg_expandarray(ARRAY[1])", "unknown function"),
        ("SELECT information_schema._pg_truetypid(a, t)", "unknown function"),
        ("SELECT * FROM unnest(ARRAY[1]) WITH ORDINALITY cols(a, n), f(1)", "unknown function"),
        ("SELECT * FROM t p(a), LATERAL f(1)", "unknown function"),
        ("SELECT * FROM t p(a) JOIN f(1) g(a) ON true", "unknown function"),
        ("SELECT * FROM t p WHERE p.f(1)", "unknown function"),
        ("SELECT * FROM t.f(1)", "unknown function"),
        ("SELECT * FROM pg_stat_subscription", "system relation of one server"),
        ("SELECT set_config('a.b', 'c', false)", "session state: set_config"),
        ("SELECT set_config('a.b', 'c', true)", "session state: set_config"),
        ("SELECT set_config('a.b', 'c', false), 1", "function set_config writes"),
        ("SELECT set_config('transaction_read_only', 'on', false)", "function set_config writes"),
        ("SHOW transaction_read_only", "SHOW of a parameter of one server"),
        ("SHOW in_hot_standby", "SHOW of a parameter of one server"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "SHOW of a parameter of one server"),
        ("SHOW port", "SHOW of a parameter of one server"),
        ("SHOW ALL", "SHOW of a parameter of one server"),
        ("SHOW my.setting", "SHOW of a parameter of one server"),
        ("BEGIN", "transaction control: BEGIN"),
        ("START TRANSACTION", "transaction control: START"),
        ("COMMIT", "transaction control: COMMIT"),
        ("SAVEPOINT s", "transaction control: SAVEPOINT"),
        ("SET TRANSACTION READ ONLY", "transaction control: SET TRANSACTION"),
        ("SET search_path = x", "session state: SET"),
        ("LISTEN c", "session state: LISTEN"),
        ("PREPARE p AS SELECT 1", "session state: PREPARE"),
        ("EXECUTE p", "session state: EXECUTE"),
        ("DECLARE c CURSOR FOR SELECT 1", "session state: DECLARE"),
        ("FETCH c", "session state: FETCH"),
        ("DISCARD ALL", "session state: DISCARD"),
        ("LOAD 'x'", "session state: LOAD"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("SELECT 1; DELETE FROM t", "several statements"),
        ("/*NO LOAD BALANCE*/ SELECT 1", "NO LOAD BALANCE comment"),
        (" \n-- app\n/* no load balance */ SELECT 1", "NO LOAD BALANCE comment"),
        ("frobnicate", "unknown statement"),
        ("42", "unknown statement"),
        ("'x'", "unknown statement"),
        ("\"select\" 1", "unknown statement"),
        ("START", "unknown statement"),
        ("COPY", "unknown statement"),
        ("EXPLAIN", "unknown statement"),
        ("EXPLAIN (SELECT 1)", "unknown statement"),
        ("SELECT 'x", "not readable: a quote or comment has no end"),
        ("SELECT 1 /* x", "not readable: a quote or comment has no end"),
        ("SELECT $$x", "not readable: a quote or comment has no end"),
        ("SELECT \"x", "not readable: a quote or comment has no end"),
        ("SELECT \0", "not readable: zero byte"),
        ("SELECT '\0'", "not readable: zero byte"),
        ("SELECT \\x", "not readable: stray byte 0x5c"),
        ("SELECT a FROM t WHERE a=1FOR UPDATE", "not readable: a number runs into a word"),
        ("SELECT (1", "not readable: parentheses do not pair"),
        ("SELECT 1)", "not readable: parentheses do not pair"),
        ("SELECT (1; DELETE FROM t)", "not readable: parentheses do not pair"),
    ];
    for (sql, why) in cases {
        assert_eq!(reason(sql).to_string(), *why, "{sql}");
    }
    let sql = "SELECT a, my.func (1)";
    assert_eq!(reason(sql).name().unwrap().of(sql.as_bytes()), b"func");
    let sql = "SELECT * FROM \"pg_settings\"";
    assert_eq!(reason(sql).name().unwrap().of(sql.as_bytes()), b"pg_settings");
    assert_eq!(R::Hint.name(), None);
}

#[test]
fn what_writes() {
    for sql in [
        "INSERT INTO t VALUES (1)",
        "CREATE INDEX ON t (a)",
        "SELECT nextval('s')",
        "SELECT f()",
        "SELECT 1 FROM t FOR UPDATE",
        "SELECT 1 INTO x",
        "VACUUM",
        "LOCK t",
        "DO ''",
        "EXECUTE p",
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXPLAIN ANALYZE SELECT f()",
        "DECLARE c CURSOR FOR SELECT f()",
        "COPY t FROM STDIN",
        "COPY t TO '/tmp/x'",
        "SELECT 1; SELECT f()",
        "COMMIT PREPARED 'x'",
        "frobnicate",
        "SELECT 'x",
        "SELECT * FROM pg_locks, f()",
        "SELECT pg_backend_pid(), f()",
    ] {
        assert!(effects(sql).writes, "{sql}");
    }
    for sql in [
        "SELECT 1",
        "SELECT pg_backend_pid()",
        "SELECT * FROM pg_stat_activity",
        "BEGIN",
        "COMMIT",
        "SET a = 1",
        "SHOW ALL",
        "EXPLAIN DELETE FROM t",
        "EXPLAIN SELECT f()",
        "EXPLAIN DELETE FROM t WHERE f()",
        "SELECT set_config('a.b', 'c', false)",
        "LISTEN c",
        "EXPLAIN ANALYZE SELECT 1",
        "DECLARE c CURSOR FOR SELECT count(*) FROM t",
        "FETCH c",
        "SELECT 1; SELECT 2",
        "DISCARD ALL",
        "PREPARE p AS DELETE FROM t",
        "SAVEPOINT s",
    ] {
        assert!(!effects(sql).writes, "{sql}");
    }
}

#[test]
fn transactions() {
    let mode = |sql| effects(sql).begin.unwrap();
    assert_eq!(mode("BEGIN"), BeginMode::default());
    assert_eq!(mode("begin work"), BeginMode::default());
    assert_eq!(
        mode("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE"),
        BeginMode {
            read_only: Some(true),
            isolation: Some(IsolationLevel::RepeatableRead),
            deferrable: Some(false),
        }
    );
    assert_eq!(
        mode("START TRANSACTION READ WRITE ISOLATION LEVEL SERIALIZABLE DEFERRABLE"),
        BeginMode {
            read_only: Some(false),
            isolation: Some(IsolationLevel::Serializable),
            deferrable: Some(true),
        }
    );
    assert_eq!(
        mode("BEGIN ISOLATION LEVEL READ COMMITTED").isolation,
        Some(IsolationLevel::ReadCommitted)
    );
    assert_eq!(
        mode("BEGIN ISOLATION LEVEL READ UNCOMMITTED").isolation,
        Some(IsolationLevel::ReadUncommitted)
    );

    let end = |sql| effects(sql).end.map(|end| (end.kind, end.chain));
    assert_eq!(end("COMMIT"), Some((EndKind::Commit, false)));
    assert_eq!(end("END WORK"), Some((EndKind::Commit, false)));
    assert_eq!(end("COMMIT AND CHAIN"), Some((EndKind::Commit, true)));
    assert_eq!(end("COMMIT AND NO CHAIN"), Some((EndKind::Commit, false)));
    assert_eq!(end("ABORT TRANSACTION AND CHAIN"), Some((EndKind::Rollback, true)));
    assert_eq!(end("ROLLBACK"), Some((EndKind::Rollback, false)));
    assert_eq!(end("ROLLBACK TO s"), None);
    assert_eq!(end("ROLLBACK PREPARED 'x'"), None);
    assert_eq!(end("PREPARE TRANSACTION 'x'"), Some((EndKind::Prepare, false)));
    assert_eq!(effects("PREPARE TRANSACTION 'x'").pins_session, None);
    assert_eq!(
        effects("PREPARE transaction AS SELECT 1").pins_session,
        Some(Pin::PreparedStatement)
    );

    assert_eq!(effects("SAVEPOINT s").savepoint, Some(SavepointAction::Set));
    assert_eq!(effects("RELEASE SAVEPOINT s").savepoint, Some(SavepointAction::Release));
    assert_eq!(
        effects("ROLLBACK WORK TO SAVEPOINT s").savepoint,
        Some(SavepointAction::RollbackTo)
    );

    let modes = |sql| effects(sql).transaction_modes.unwrap();
    assert_eq!(modes("SET TRANSACTION READ ONLY").read_only, Some(true));
    assert_eq!(modes("SET transaction_read_only = off").read_only, Some(false));
    assert_eq!(modes("SET LOCAL transaction_read_only TO 'true'").read_only, Some(true));
    assert_eq!(modes("SET transaction_read_only TO DEFAULT").read_only, None);
    assert_eq!(
        modes("SET transaction_isolation = 'Serializable'").isolation,
        Some(IsolationLevel::Serializable)
    );
    assert_eq!(modes("SET transaction_deferrable = 1").deferrable, Some(true));

    let both = effects("COMMIT; BEGIN READ ONLY");
    assert!(both.end.is_some());
    assert_eq!(both.begin.unwrap().read_only, Some(true));
}

#[test]
fn parameters() {
    let tracked = |sql| {
        let effects = effects(sql);
        assert_eq!(effects.pins_session, None, "{sql}");
        assert!(!effects.sets.other && !effects.sets.local, "{sql}");
        TrackedParameter::ALL
            .into_iter()
            .filter(|one| effects.sets.tracked.contains(*one))
            .collect::<Vec<_>>()
    };
    assert_eq!(tracked("SET application_name = 'x'"), [TrackedParameter::ApplicationName]);
    assert_eq!(tracked("set session \"DateStyle\" to iso"), [TrackedParameter::DateStyle]);
    assert_eq!(tracked("SET TIME ZONE 'UTC'"), [TrackedParameter::TimeZone]);
    assert_eq!(tracked("SET NAMES 'utf8'"), [TrackedParameter::ClientEncoding]);
    assert_eq!(tracked("RESET timezone"), [TrackedParameter::TimeZone]);
    assert_eq!(tracked("RESET TIME ZONE"), [TrackedParameter::TimeZone]);
    assert_eq!(
        tracked("SELECT set_config('TimeZone', 'UTC', false)"),
        [TrackedParameter::TimeZone]
    );
    assert_eq!(
        tracked("SET intervalstyle = iso_8601; SET standard_conforming_strings = off"),
        [TrackedParameter::IntervalStyle, TrackedParameter::StandardConformingStrings]
    );
    for (sql, pin) in [
        ("SET search_path TO a, b", Pin::Setting),
        ("SET SESSION statement_timeout = 0", Pin::Setting),
        ("SET my.timezone = 'x'", Pin::Setting),
        ("SET timezone.x = 'x'", Pin::Setting),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Pin::Setting),
        ("SET default_transaction_read_only = on", Pin::Setting),
        ("SET SCHEMA 'x'", Pin::Setting),
        ("SET", Pin::Setting),
        ("SET ROLE x", Pin::Role),
        ("SET role = x", Pin::Role),
        ("SET SESSION ROLE x", Pin::Role),
        ("SET SESSION AUTHORIZATION x", Pin::Role),
        ("SET session_authorization = x", Pin::Role),
        ("SET seed TO 0.5", Pin::RandomSeed),
        ("SELECT set_config('a.b', 'c', false)", Pin::Setting),
        ("SELECT set_config('role', 'x', false)", Pin::Role),
        ("SELECT set_config('seed', '0.5', false)", Pin::RandomSeed),
        ("SET search_path = a, pg_temp", Pin::TemporaryObject),
        ("SET search_path TO \"pg_temp\"", Pin::TemporaryObject),
        ("SET SESSION Search_Path = 'PG_TEMP_3'", Pin::TemporaryObject),
        ("SET search_path = E'pg\\137temp'", Pin::TemporaryObject),
        ("SET search_path = U&\"pg\\005ftemp\"", Pin::TemporaryObject),
        ("SET search_path = 'pg_'\n'temp'", Pin::TemporaryObject),
        ("SET SCHEMA 'pg_temp'", Pin::TemporaryObject),
        ("SELECT set_config('search_path', 'a, pg_temp', false)", Pin::TemporaryObject),
        ("SELECT set_config($1, $2, $3)", Pin::Setting),
        ("SELECT set_config('a', (true), false)", Pin::Setting),
        ("SELECT set_config('a', set_config('b', 'c', true), false)", Pin::Setting),
        ("UPDATE t SET a = set_config('a', 'b', true)", Pin::Setting),
    ] {
        let effects = effects(sql);
        assert_eq!(effects.pins_session, Some(pin), "{sql}");
        assert!(effects.sets.other, "{sql}");
        assert!(effects.sets.tracked.is_empty(), "{sql}");
    }
    for sql in [
        "SET LOCAL search_path = x",
        "SET LOCAL timezone = 'UTC'",
        "SET LOCAL ROLE x",
        "SET LOCAL SESSION AUTHORIZATION x",
        "SET LOCAL TIME ZONE 1",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET TRANSACTION READ ONLY",
        "SET transaction_read_only = on",
        "SELECT set_config('a', 'b', true), set_config('c', f('d'), TRUE)",
        "SELECT set_config('a', 'b', true)",
        "SELECT set_config('timezone', 'UTC', true)",
    ] {
        let effects = effects(sql);
        assert_eq!(effects.pins_session, None, "{sql}");
        assert!(effects.sets.local, "{sql}");
        assert!(!effects.sets.other && effects.sets.tracked.is_empty(), "{sql}");
    }
    let reset = effects("RESET search_path");
    assert!(reset.sets.other);
    assert_eq!(reset.pins_session, None);
}

#[test]
fn pins() {
    for (sql, pin) in [
        ("LISTEN c", Pin::Listen),
        ("LOAD 'auto_explain'", Pin::LoadedLibrary),
        ("PREPARE p (int) AS SELECT $1", Pin::PreparedStatement),
        ("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1", Pin::HeldCursor),
        ("CREATE TEMP TABLE x (a int)", Pin::TemporaryObject),
        ("CREATE TEMPORARY SEQUENCE x", Pin::TemporaryObject),
        ("CREATE LOCAL TEMP TABLE x AS SELECT 1", Pin::TemporaryObject),
        ("CREATE OR REPLACE TEMP VIEW x AS SELECT 1", Pin::TemporaryObject),
        ("CREATE TABLE pg_temp.x (a int)", Pin::TemporaryObject),
        ("CREATE FUNCTION \"pg_temp\".f() RETURNS int LANGUAGE sql AS ''", Pin::TemporaryObject),
        ("CREATE TEMP TABLE x (a int) ON COMMIT DELETE ROWS", Pin::TemporaryObject),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1", Pin::TemporaryObject),
        ("SELECT * INTO TEMP x FROM t", Pin::TemporaryObject),
        ("SELECT * INTO LOCAL TEMPORARY TABLE x FROM t", Pin::TemporaryObject),
        ("SELECT * INTO pg_temp.x FROM t", Pin::TemporaryObject),
        ("SELECT pg_advisory_lock(1)", Pin::AdvisoryLock),
        ("SELECT pg_try_advisory_lock_shared(1, 2)", Pin::AdvisoryLock),
        ("INSERT INTO t SELECT pg_advisory_lock(1)", Pin::AdvisoryLock),
        ("SELECT pg_catalog.\"pg_try_advisory_lock\"(1)", Pin::AdvisoryLock),
        ("SELECT setseed(0.5)", Pin::RandomSeed),
        ("SELECT dblink_connect('c', 'd')", Pin::ForeignConnection),
        ("SELECT pg_replication_origin_session_setup('x')", Pin::ReplicationOrigin),
        ("SELECT 1; LISTEN c", Pin::Listen),
        ("SET LOCAL search_path = pg_temp", Pin::TemporaryObject),
        ("SELECT set_config('a', 'b', true) WHERE 1=1and true", Pin::Unreadable),
    ] {
        assert_eq!(effects(sql).pins_session, Some(pin), "{sql}");
    }
    for sql in [
        "CREATE TABLE temp (temporary int)",
        "CREATE TABLE x (a int)",
        "SELECT * INTO x FROM t",
        "CREATE TEMP TABLE x (a int) ON COMMIT DROP",
        "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1",
        "DECLARE c CURSOR FOR WITH hold AS (SELECT 1) SELECT * FROM hold",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_advisory_unlock(1)",
        "UNLISTEN *",
        "NOTIFY c",
        "INSERT INTO t VALUES ('LISTEN c', 'pg_advisory_lock(1)')",
        "SELECT 'x",
    ] {
        assert_eq!(effects(sql).pins_session, None, "{sql}");
    }
}

#[test]
fn unpins() {
    let of = |sql| effects(sql).unpins;
    assert_eq!(of("DISCARD ALL"), Unpins { discard_all: true, ..Unpins::default() });
    assert_eq!(of("DISCARD TEMP"), Unpins { discard_temp: true, ..Unpins::default() });
    assert_eq!(of("DISCARD PLANS"), Unpins::default());
    assert_eq!(of("RESET ALL"), Unpins { reset_all: true, ..Unpins::default() });
    assert_eq!(of("RESET \"all\""), Unpins::default());
    assert_eq!(of("UNLISTEN *"), Unpins { unlisten_all: true, ..Unpins::default() });
    assert_eq!(of("UNLISTEN c"), Unpins::default());
    assert_eq!(of("CLOSE ALL"), Unpins { close_all: true, ..Unpins::default() });
    assert_eq!(of("CLOSE c"), Unpins::default());
    let one = Unpins { deallocate_one: true, ..Unpins::default() };
    let all = Unpins { deallocate_all: true, ..Unpins::default() };
    assert_eq!(of("DEALLOCATE p"), one);
    assert_eq!(of("DEALLOCATE PREPARE p"), one);
    assert_eq!(of("DEALLOCATE prepare"), one);
    assert_eq!(of("DEALLOCATE \"all\""), one);
    assert_eq!(of("DEALLOCATE ALL"), all);
    assert_eq!(of("DEALLOCATE PREPARE ALL"), all);
}

#[test]
fn copy_directions() {
    let of = |sql| (effects(sql).copy_in, effects(sql).copy_out);
    assert_eq!(of("COPY t FROM STDIN"), (true, false));
    assert_eq!(of("COPY t (a, b) FROM STDOUT WITH (FORMAT csv)"), (true, false));
    assert_eq!(of("COPY s.t TO STDOUT"), (false, true));
    assert_eq!(of("COPY (SELECT 1) TO STDIN"), (false, true));
    assert_eq!(of("COPY t FROM '/tmp/x'"), (false, false));
    assert_eq!(of("COPY \"from\" TO PROGRAM 'stdout'"), (false, false));
    assert_eq!(of("SELECT 1; COPY t FROM STDIN"), (true, false));
}

#[test]
fn statements_are_counted() {
    let of = |sql| verdict(sql).statements;
    for sql in ["", ";;", " -- x", "/**/;"] {
        assert_eq!(of(sql), StatementCount::Zero, "{sql}");
    }
    for sql in [
        "SELECT 1",
        ";SELECT 1;",
        "SELECT ';'",
        "SELECT $$;$$; -- ;",
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END AS end; END",
        "CREATE FUNCTION f() RETURNS int AS $$ BEGIN; END; $$ LANGUAGE plpgsql",
        "COPY t FROM STDIN;",
        "BEGIN; ",
        "SET a = b;",
        "EXPLAIN SELECT 1;",
        "DECLARE c CURSOR FOR SELECT 1;",
    ] {
        assert_eq!(of(sql), StatementCount::One, "{sql}");
    }
    for sql in [
        "SELECT 1; SELECT 2",
        "BEGIN; COMMIT",
        "SET a = b; SHOW a",
        "COPY t TO STDOUT; SELECT 1",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END; SELECT 2",
        "; ; A ; B",
        "LISTEN; LISTEN",
        "PREPARE p AS SELECT 1; EXECUTE p",
        "EXPLAIN SELECT 1; SELECT 1",
    ] {
        assert_eq!(of(sql), StatementCount::Many, "{sql}");
        assert_eq!(reason(sql), Reason::MultipleStatements, "{sql}");
    }
    let atomic = effects("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END; SELECT 2");
    assert_eq!(atomic.end, None, "the END of a body is not that of a transaction");
}

#[test]
fn the_sessions_lexing_counts() {
    let escaping = Lexing { standard_conforming_strings: false, ..Lexing::default() };
    let sql = br"SELECT 'a\'; DELETE FROM t; --'";
    assert_eq!(classify(sql, &Lexing::default()).statements, StatementCount::Many);
    assert_eq!(classify(sql, &escaping).target, Target::Read);
    let sql = br"SELECT 'a\\'; DELETE FROM t; --'";
    assert_eq!(classify(sql, &escaping).statements, StatementCount::Many);

    let shift_jis = Lexing { encoding: ClientEncoding::BytesLikeAscii, ..Lexing::default() };
    assert_eq!(classify(b"SELECT 1", &shift_jis).target, Target::Read);
    let hidden = classify(b"SELECT '\x95\x5c'", &shift_jis);
    assert_eq!(hidden.target, Target::Primary(Reason::NotParsable(Unreadable::Encoding)));
    assert_eq!(hidden.effects.pins_session, Some(Pin::Unreadable));
}

#[test]
fn encodings_by_name() {
    for safe in
        ["UTF8", "utf-8", "SQL_ASCII", "LATIN1", "WIN1252", "EUC_JP", "ISO_8859_15", "KOI8R"]
    {
        assert_eq!(ClientEncoding::of_name(safe.as_bytes()), ClientEncoding::AsciiSafe, "{safe}");
    }
    for other in [
        "SJIS",
        "BIG5",
        "GBK",
        "GB18030",
        "UHC",
        "JOHAB",
        "SHIFT_JIS_2004",
        "",
        "x",
        "a long name that is no encoding",
    ] {
        assert_eq!(
            ClientEncoding::of_name(other.as_bytes()),
            ClientEncoding::BytesLikeAscii,
            "{other}"
        );
    }
}

#[test]
fn what_may_run_again_on_another_server() {
    for sql in [
        "SET search_path = a, b",
        "SET SESSION search_path TO DEFAULT",
        "SET LOCAL work_mem = '1MB'",
        "SET my.thing = -1",
        "SET role.x = 1",
        "SET TIME ZONE 'UTC'",
        "SET LOCAL TIME ZONE DEFAULT",
        "SET NAMES 'utf8'",
        "SET ROLE x",
        "SET SCHEMA 'x'",
        "SET LOCAL ROLE NONE",
        "SET SESSION AUTHORIZATION x",
        "SET LOCAL SESSION AUTHORIZATION DEFAULT",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET TRANSACTION READ ONLY;",
        "SET transaction_read_only = on",
        "RESET ALL",
        "RESET x",
        "RESET my.thing",
        "RESET TIME ZONE",
        "RESET SESSION AUTHORIZATION",
        "SAVEPOINT a",
        "RELEASE a",
        "ROLLBACK TO SAVEPOINT a",
        "SELECT set_config('TimeZone', 'UTC', false)",
        "select pg_catalog.set_config('search_path', 'a, b', false);",
        "SELECT set_config('a.b', 'c', true)",
        "SET a = 1; SET b = 2",
        "SET client_min_messages TO warning;SET TIME ZONE 'UTC';",
        "; RESET a; RESET TIME ZONE; SET SCHEMA 'x'; SET ROLE y",
        "LOCK t IN ACCESS SHARE MODE",
        "LOCK TABLE ONLY s.t, u *, \"v\" IN ROW SHARE MODE NOWAIT",
    ] {
        assert!(effects(sql).repeatable, "{sql}");
        assert!(!effects(sql).writes, "{sql}");
    }
    for sql in [
        "SET search_path FROM CURRENT",
        "SET x",
        "SET x =",
        "SET x 1",
        "SET 'x' = 1",
        "SET seed = 0.5",
        "SET SEED TO 0.5",
        "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'",
        "SET LOCAL TRANSACTION SNAPSHOT '00000003-0000001B-1'",
        "SET a = 1; SET x",
        "SET x; SET a = 1",
        "SET a = 1; SELECT 1",
        "SELECT 1; SET a = 1",
        "SET a = 1; SET LOCAL b = 2",
        "SET a = 1; SET CONSTRAINTS ALL DEFERRED",
        "SET a = 1; SET TRANSACTION READ ONLY",
        "SET a = 1; SET transaction_read_only = on",
        "SET a = 1; SET seed = 0.5",
        "SET a = 1; RESET ALL",
        "RESET ALL; SET a = 1",
        "SET a = 1; SET search_path = pg_temp",
        "SET search_path = pg_temp",
        "SET a = 1; DISCARD ALL",
        "SET a = 1; COMMIT",
        "SAVEPOINT a; SAVEPOINT b",
        "BEGIN",
        "COMMIT",
        "SELECT set_config('a', f('b'), true)",
        "SELECT set_config('seed', '0.5', false)",
        "SELECT set_config('search_path', 'pg_temp', true)",
        "SELECT set_config('transaction_read_only', 'on', true)",
        "SELECT set_config('a', 'b', false); SET a = 1",
        "DISCARD ALL",
        "RESET",
    ] {
        assert!(!effects(sql).repeatable, "{sql}");
    }
    for sql in [
        "LOCK t",
        "LOCK t IN ROW EXCLUSIVE MODE",
        "LOCK t IN SHARE MODE",
        "LOCK t IN SHARE ROW EXCLUSIVE MODE",
        "LOCK t IN ACCESS EXCLUSIVE MODE",
        "LOCK t IN ACCESS SHARE MODE x",
        "LOCK t IN ACCESS SHARE",
        "LOCK t NOWAIT",
    ] {
        assert!(!effects(sql).repeatable, "{sql}");
        assert!(effects(sql).writes, "{sql}");
    }
}

#[test]
fn the_parameter_that_is_set() {
    let cases = [
        ("SET Search_Path = a", Some("Search_Path"), false),
        ("SET SESSION \"work_mem\" TO 1", Some("work_mem"), false),
        ("SET LOCAL a.b = 1", Some("a.b"), false),
        ("SET names.x = 1", Some("names.x"), false),
        ("SET DateStyle = iso", Some("datestyle"), false),
        ("SET TIME ZONE 'UTC'", Some("timezone"), false),
        ("SET NAMES 'UTF8'", Some("client_encoding"), false),
        ("SET ROLE x", Some("role"), false),
        ("SET role = x", Some("role"), false),
        ("SET SESSION AUTHORIZATION x", Some("session_authorization"), false),
        ("SET SCHEMA 'x'", Some("search_path"), false),
        ("RESET work_mem", Some("work_mem"), false),
        ("RESET a.b", Some("a.b"), false),
        ("RESET TIME ZONE", Some("timezone"), false),
        ("RESET ROLE", Some("role"), false),
        ("SET CONSTRAINTS ALL DEFERRED", None, false),
        ("SET TRANSACTION READ ONLY", None, false),
        ("SELECT set_config('Work_Mem', '1MB', false)", Some("Work_Mem"), false),
        ("SELECT set_config('a.b', 'c', true)", Some("a.b"), false),
        ("SELECT set_config('TimeZone', 'UTC', false)", Some("timezone"), false),
        (
            "SELECT set_config('default_transaction_read_only', 'on', false)",
            Some("default_transaction_read_only"),
            true,
        ),
        ("SET a = 1; SET b = 2", None, false),
        ("RESET ALL", None, true),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", None, true),
        ("SET default_transaction_read_only = on", Some("default_transaction_read_only"), true),
        ("SET Default_Transaction_Isolation = x", Some("Default_Transaction_Isolation"), true),
        ("SET default_transaction_read_only = on; SELECT 1", None, true),
        ("SELECT 1", None, false),
    ];
    for (sql, parameter, defaults) in cases {
        let sets = effects(sql).sets;
        let name = sets.parameter.map(|parameter| parameter.name(sql.as_bytes()));
        assert_eq!(name, parameter.map(str::as_bytes), "{sql}");
        assert_eq!(sets.transaction_defaults, defaults, "{sql}");
    }
}

#[test]
fn exact_is_for_one_statement_of_transaction_control() {
    assert!(effects("BEGIN").exact);
    assert!(effects("SET TRANSACTION READ ONLY").exact);
    assert!(effects("ROLLBACK TO a;").exact);
    for sql in [
        "BEGIN; COMMIT",
        "BEGIN x",
        "SELECT 1",
        "SET transaction_read_only = on",
        "COMMIT PREPARED 'x'",
    ] {
        assert!(!effects(sql).exact, "{sql}");
    }
}

#[test]
fn size_and_depth_do_not_matter() {
    let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(verdict(&deep).target, Target::Read);
    let deep = format!("SELECT {}f(1){}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(matches!(reason(&deep), Reason::UnknownFunction(_)));
    // Beyond the tracked depth an alias with columns is taken for a call.
    let deep = format!(
        "SELECT * FROM {}(SELECT 1) v(a){}",
        "(SELECT * FROM ".repeat(100),
        ") x".repeat(100)
    );
    assert!(matches!(reason(&deep), Reason::UnknownFunction(_)));
    let comments = format!("{}{} SELECT 1", "/*".repeat(100_000), "*/".repeat(100_000));
    assert_eq!(verdict(&comments).target, Target::Read);
    let list = format!("SELECT * FROM t WHERE a IN ({}1)", "12345,".repeat(170_000));
    assert!(list.len() > 1_000_000);
    assert_eq!(verdict(&list).target, Target::Read);
    let string = format!("SELECT '{}'", "x''".repeat(400_000));
    assert_eq!(verdict(&string).target, Target::Read);
    let chain = format!("SELECT 1{}", " + 1 OR a".repeat(100_000));
    assert_eq!(verdict(&chain).target, Target::Read);
    let many = "SELECT 1;".repeat(100_000);
    assert_eq!(verdict(&many).statements, StatementCount::Many);
    let dollars = format!("SELECT $a{}", "$b".repeat(400_000));
    assert!(matches!(reason(&dollars), Reason::NotParsable(_)));
}
