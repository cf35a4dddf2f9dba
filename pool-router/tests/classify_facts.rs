//! What the classifier asks of the catalogue, and what it makes of the answers.

use pool_router::classify::{
    Facts, FunctionFact, Identifier, Lexing, Name, Reason, RelationFact, RelationKind, Target,
    classify_with, leading,
};

/// Writes down what it is asked. What begins with `bad` is doubtful.
#[derive(Default)]
struct Catalogue {
    functions: Vec<String>,
    relations: Vec<String>,
    attributes: Vec<String>,
    operators: Vec<String>,
    written: Vec<String>,
}

fn full(name: Name<'_>) -> String {
    let text = |part: Identifier<'_>| {
        let text = String::from_utf8_lossy(part.text).into_owned();
        if part.quoted { format!("\"{text}\"") } else { text }
    };
    match name.qualifier {
        Some(qualifier) => format!("{}.{}", text(qualifier), text(name.name)),
        None => text(name.name),
    }
}

impl Facts for Catalogue {
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        self.functions.push(full(name));
        match name.name.text {
            b"good" => FunctionFact::Harmless,
            b"bad" | b"lower" => FunctionFact::Writes,
            b"volatile" => FunctionFact::Volatile,
            _ => FunctionFact::Unknown,
        }
    }

    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        self.relations.push(full(name));
        if name.name.text.starts_with(b"bad") {
            RelationFact::PrimaryOnly(RelationKind::Unlogged)
        } else if name.name.text == b"writing" {
            RelationFact::PrimaryOnly(RelationKind::WritingView)
        } else {
            RelationFact::Plain
        }
    }

    fn attribute(&mut self, name: Name<'_>) -> FunctionFact {
        self.attributes.push(full(name));
        match name.name.text {
            b"bad" => FunctionFact::Writes,
            b"volatile" => FunctionFact::Volatile,
            _ => FunctionFact::Unknown,
        }
    }

    fn operator(&mut self, operator: &[u8]) -> bool {
        self.operators.push(String::from_utf8_lossy(operator).into_owned());
        matches!(operator, b"@@@" | b"~~*")
    }

    fn written(&mut self, name: Name<'_>) {
        self.written.push(full(name));
    }
}

fn ask(sql: &str) -> (Target, Catalogue) {
    let mut catalogue = Catalogue::default();
    let verdict = classify_with(sql.as_bytes(), &Lexing::default(), &mut catalogue);
    (verdict.target, catalogue)
}

/// The reason, with the name it points at.
fn reason(sql: &str) -> (Reason, &str) {
    match ask(sql).0 {
        Target::Primary(reason) => {
            let span = reason.name().unwrap_or_else(|| panic!("no name: {sql}: {reason:?}"));
            (reason, std::str::from_utf8(span.of(sql.as_bytes())).expect("UTF-8"))
        }
        Target::Read => panic!("a read: {sql}"),
    }
}

#[test]
fn functions_are_asked_before_the_lists() {
    let (target, catalogue) =
        ask("SELECT good(s.x(a)) FROM s.t JOIN data USING (b) WHERE a IN (1)");
    assert!(matches!(target, Target::Primary(Reason::UnknownFunction(_))));
    assert_eq!(catalogue.functions, ["good", "s.x"]);
    assert_eq!(ask("SELECT good(1)").0, Target::Read);
    for sql in ["SELECT bad(1)", "SELECT s.bad(1)", "SELECT * FROM t, bad(1)"] {
        assert_eq!(reason(sql).1, "bad", "{sql}");
    }
    assert!(matches!(reason("SELECT lower('x')"), (Reason::WritingName(_), "lower")));
    assert!(matches!(reason("SELECT other('x')"), (Reason::UnknownFunction(_), "other")));
}

#[test]
fn relations_are_asked_where_they_can_stand() {
    for (sql, relations) in [
        ("SELECT a, b.c, d(e) FROM t WHERE f = g ORDER BY h, i", &["t"][..]),
        ("SELECT * FROM a, b c, d AS e, s.f g WHERE x IN (y, z)", &["a", "b", "d", "s.f"]),
        ("SELECT * FROM db.s.t", &["s.t"]),
        ("SELECT * FROM \"A\".\"b\" x, ONLY c, ONLY (d), e *", &["\"A\".\"b\"", "c", "d", "e"]),
        (
            "SELECT * FROM (a JOIN (b CROSS JOIN c) ON a.x = b.y) LEFT JOIN d USING (z, w), e",
            &["a", "b", "c", "d", "e"],
        ),
        ("SELECT * FROM (SELECT x FROM a WHERE y) z, b", &["a", "b"]),
        ("SELECT (SELECT x FROM a, b), c FROM d", &["a", "b", "d"]),
        ("SELECT * FROM a GROUP BY b, c HAVING d WINDOW w AS (), v AS () LIMIT e", &["a"]),
        ("SELECT * FROM a, b UNION SELECT c, d FROM e, f", &["a", "b", "e", "f"]),
        ("TABLE a", &["a"]),
        ("TABLE ONLY s.a", &["s.a"]),
        ("SELECT 1 WHERE x IN (TABLE a) AND y = ANY (TABLE b)", &["a", "b"]),
        ("VALUES ((SELECT x FROM a))", &["a"]),
        ("WITH c AS (SELECT x FROM a), d AS (TABLE b) SELECT y FROM c, d", &["a", "b", "c", "d"]),
        ("COPY a TO STDOUT", &["a"]),
        ("COPY s.a (b, c) TO STDOUT", &["s.a"]),
        ("COPY BINARY a TO STDOUT", &["a"]),
        ("COPY (SELECT x FROM a) TO STDOUT", &["a"]),
        ("EXPLAIN SELECT x FROM a, b", &["a", "b"]),
        ("EXPLAIN INSERT INTO a (b, c) SELECT d FROM e", &["a", "e"]),
        ("EXPLAIN INSERT INTO position (b) VALUES (1)", &["position"]),
        (
            "EXPLAIN UPDATE ONLY s.a SET (b, c) = (1, 2), d = 3 FROM e, f WHERE g",
            &["s.a", "e", "f"],
        ),
        ("EXPLAIN DELETE FROM a USING b, (c CROSS JOIN d) WHERE e", &["a", "b", "c", "d"]),
        ("EXPLAIN MERGE INTO a USING b ON c WHEN MATCHED THEN UPDATE SET d = 1", &["a", "b"]),
        ("EXPLAIN WITH x AS (DELETE FROM a RETURNING b) SELECT c FROM x", &["a", "x"]),
        ("SELECT extract(epoch FROM a), b FROM c", &["c"]),
        (
            "SELECT substring(a FROM 1), trim(BOTH FROM b), overlay(c PLACING d FROM 1), e FROM f",
            &["f"],
        ),
        ("SELECT a IS DISTINCT FROM b, c IS NOT DISTINCT FROM d, e FROM f", &["f"]),
        ("SELECT a AS distinct FROM t", &["t"]),
        ("SELECT a distinct FROM t", &["t"]),
        ("SELECT a AS is, b FROM t", &["t"]),
        ("SELECT extract(epoch FROM (SELECT x FROM a)) FROM b", &["a", "b"]),
        ("SELECT a AS table, b FROM c", &["c"]),
        ("SELECT a.table, b.from, c FROM d", &["d"]),
        ("SELECT * FROM data, position, time t, values", &["data", "position", "time", "values"]),
        ("SELECT * FROM data.x JOIN LATERAL (SELECT * FROM y) z ON true", &["data.x", "y"]),
        ("SELECT * FROM generate_series(1, 2) g, LATERAL count(x) c, t", &["t"]),
        ("SELECT x FROM a TABLESAMPLE bernoulli (1), b", &["a", "b"]),
        ("SELECT DISTINCT ON (a, b) c, d FROM e", &["e"]),
        ("SELECT x FROM a JOIN b ON a.order = b.group, c", &["a", "b", "c"]),
        ("SELECT x FROM/**/a--\n,/**/b", &["a", "b"]),
        ("SELECT FROM a", &["a"]),
        ("SELECT 1 FROM a FOR READ ONLY", &["a"]),
    ] {
        assert_eq!(ask(sql).1.relations, relations, "{sql}");
    }
}

#[test]
fn doubtful_relations_go_to_the_primary() {
    for sql in [
        "SELECT * FROM bad",
        "SELECT * FROM s.bad",
        "SELECT * FROM a, bad",
        "SELECT * FROM a JOIN bad USING (x)",
        "SELECT * FROM (a JOIN bad ON true)",
        "SELECT * FROM ONLY (bad)",
        "TABLE bad",
        "COPY bad TO STDOUT",
        "COPY (TABLE bad) TO STDOUT",
        "SELECT 1 UNION SELECT x FROM bad",
        "SELECT extract(epoch FROM (SELECT x FROM bad))",
        "SELECT trim(a FROM b) FROM bad",
        "SELECT a AS distinct FROM bad",
        "SELECT a IS DISTINCT FROM b FROM bad",
        "WITH x AS (SELECT * FROM bad) SELECT 1",
    ] {
        assert!(
            matches!(reason(sql), (Reason::Relation(RelationKind::Unlogged, _), "bad")),
            "{sql}"
        );
    }
    for sql in ["SELECT bad FROM t", "SELECT t.badly FROM t WHERE badly = 1", "SELECT 1 AS bad"] {
        assert_eq!(ask(sql).0, Target::Read, "{sql}");
    }
    // Beyond the depth that is tracked every name may be one.
    let deep = format!("SELECT {}bad{}", "(".repeat(100), ")".repeat(100));
    assert!(matches!(reason(&deep), (Reason::Relation(..), "bad")));
}

#[test]
fn what_only_execution_runs_is_planned_anywhere() {
    for sql in [
        "EXPLAIN SELECT volatile(1)",
        "EXPLAIN (COSTS off) SELECT * FROM t WHERE s.volatile(a)",
        "EXPLAIN VERBOSE SELECT * FROM writing",
        "EXPLAIN SELECT * FROM t JOIN s.writing USING (a) WHERE volatile(a)",
        "EXPLAIN UPDATE writing SET a = volatile(a)",
        "EXPLAIN (ANALYZE off) DELETE FROM writing WHERE volatile(a)",
    ] {
        assert_eq!(ask(sql).0, Target::Read, "{sql}");
    }
    for sql in [
        "SELECT volatile(1)",
        "SELECT * FROM t WHERE s.volatile(a)",
        "EXPLAIN ANALYZE SELECT volatile(1)",
        "EXPLAIN (ANALYZE) SELECT * FROM writing",
        "EXPLAIN SELECT volatile(1), bad(1)",
        "EXPLAIN SELECT bad(volatile(1))",
        "EXPLAIN SELECT t.volatile FROM t",
        "EXPLAIN SELECT volatile(1) FROM bad",
        "EXPLAIN SELECT * FROM writing, bad",
        "EXPLAIN CREATE TABLE x AS SELECT volatile(1)",
        "DECLARE c CURSOR FOR SELECT volatile(1)",
    ] {
        assert_ne!(ask(sql).0, Target::Read, "{sql}");
    }
    assert!(matches!(reason("SELECT volatile(1)"), (Reason::WritingName(_), "volatile")));
    assert!(matches!(
        reason("SELECT * FROM writing"),
        (Reason::Relation(RelationKind::WritingView, _), "writing")
    ));
    for sql in ["SELECT t.volatile FROM t", "TABLE writing", "COPY writing TO STDOUT"] {
        assert_ne!(ask(sql).0, Target::Read, "{sql}");
    }
}

#[test]
fn what_is_planned_only() {
    for sql in [
        "EXPLAIN SELECT nextval('s') FROM t FOR UPDATE",
        "EXPLAIN INSERT INTO t (a) VALUES (good(1))",
        "EXPLAIN UPDATE t SET a = nextval('s') FROM u",
        "EXPLAIN DELETE FROM t USING u WHERE t.a = u.a",
    ] {
        assert_eq!(ask(sql).0, Target::Read, "{sql}");
    }
    // Planning runs functions that are not volatile, and looks at the size of relations.
    for sql in [
        "EXPLAIN SELECT bad(1)",
        "EXPLAIN SELECT t.bad FROM t",
        "EXPLAIN SELECT a @@@ b FROM t",
        "EXPLAIN SELECT * FROM bad FOR UPDATE",
        "EXPLAIN INSERT INTO bad (a) VALUES (1)",
        "EXPLAIN INSERT INTO bad VALUES (1)",
        "EXPLAIN INSERT INTO t (a) SELECT b FROM bad",
        "EXPLAIN UPDATE bad SET a = 1",
        "EXPLAIN UPDATE ONLY (bad) SET a = 1",
        "EXPLAIN UPDATE t SET a = 1 FROM u, bad",
        "EXPLAIN DELETE FROM bad",
        "EXPLAIN DELETE FROM t USING bad",
        "EXPLAIN DELETE FROM t USING u, bad",
        "EXPLAIN DELETE FROM t USING (u CROSS JOIN bad)",
        "EXPLAIN MERGE INTO bad USING u ON true WHEN MATCHED THEN DELETE",
        "EXPLAIN MERGE INTO t USING bad ON true WHEN MATCHED THEN DELETE",
        "EXPLAIN WITH x AS (DELETE FROM bad RETURNING a) SELECT 1",
        "EXPLAIN ANALYZE SELECT bad(1)",
    ] {
        assert!(matches!(ask(sql).0, Target::Primary(Reason::Utility(_))), "{sql}");
    }
}

#[test]
fn attributes_may_be_calls() {
    for sql in [
        "SELECT t.bad FROM t",
        "SELECT (t).bad FROM t",
        "SELECT (t).bad.x FROM t",
        "SELECT s.t.bad FROM s.t",
        "SELECT 1 FROM t WHERE t.a = 1 AND t.bad > 2",
        "SELECT 1 FROM t ORDER BY t.bad",
        "SELECT x.bad FROM data x",
        "SELECT data.bad FROM data",
    ] {
        assert!(matches!(reason(sql), (Reason::WritingName(_), "bad")), "{sql}");
    }
    assert_eq!(ask("SELECT \"A\".b, c.\"D\" FROM t").1.attributes, ["\"A\".b", "c.\"D\""]);
    assert_eq!(ask("SELECT a FROM s.t, s.u JOIN s.v ON true").1.attributes, Vec::<String>::new());
    assert_eq!(ask("SELECT 'x'::s.bad").0, Target::Read);
}

#[test]
fn operators_are_asked() {
    let operators = |sql| ask(sql).1.operators;
    assert_eq!(operators("SELECT a + b->>'c' <= -1"), ["+", "->>", "<=", "-"]);
    assert_eq!(operators("SELECT a<=-1, b@-c"), ["<=", "-", "@-"]);
    assert_eq!(operators("SELECT a OPERATOR(s.@) b"), ["@"]);
    assert_eq!(operators("SELECT a[1:2], f(b := 1), c::int"), Vec::<String>::new());
    assert_eq!(operators("SELECT a LIKE b"), ["~~", "!~~"]);
    assert_eq!(operators("SELECT a IN (1)"), ["=", "<>"]);
    for (sql, operator) in [
        ("SELECT a @@@ b", "@@@"),
        ("SELECT a OPERATOR(s.@@@) b", "@@@"),
        ("SELECT a ORDER BY b USING @@@", "@@@"),
        ("SELECT a ILIKE 'x'", "ILIKE"),
    ] {
        assert!(matches!(reason(sql), (Reason::Operator(_), found) if found == operator), "{sql}");
    }
}

#[test]
fn what_is_changed_is_told() {
    for (sql, written) in [
        ("INSERT INTO t VALUES (1)", &["t"][..]),
        ("INSERT INTO s.\"T\" (a, b) SELECT c FROM d", &["s.\"T\""]),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1", &["t"]),
        ("UPDATE t SET a = 1", &["t"]),
        ("UPDATE ONLY s.t AS x SET a = 1 FROM u", &["s.t"]),
        ("UPDATE ONLY (t) SET a = 1", &["t"]),
        ("DELETE FROM t", &["t"]),
        ("DELETE FROM ONLY t USING u", &["t"]),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET a = 1", &["t"]),
        ("TRUNCATE t", &["t"]),
        ("TRUNCATE TABLE a, ONLY s.b, c * RESTART IDENTITY CASCADE", &["a", "s.b", "c"]),
        ("COPY t FROM STDIN", &["t"]),
        ("COPY s.t (a) FROM '/x'", &["s.t"]),
        ("WITH x AS (INSERT INTO a VALUES (1) RETURNING b) SELECT * FROM x", &["a"]),
        (
            "WITH x AS (DELETE FROM ONLY s.a RETURNING b), y AS (UPDATE c SET d = 1) TABLE x",
            &["s.a", "c"],
        ),
        ("WITH x AS (SELECT 1) INSERT INTO a SELECT * FROM x", &["a"]),
        ("WITH x AS (SELECT 1) UPDATE data SET a = 1", &["data"]),
        ("WITH x AS (SELECT 1) MERGE INTO a USING x ON true WHEN MATCHED THEN DELETE", &["a"]),
        ("COPY (INSERT INTO a VALUES (1) RETURNING b) TO STDOUT", &["a"]),
        ("EXPLAIN ANALYZE UPDATE a SET b = 1", &["a"]),
        ("EXPLAIN UPDATE a SET b = 1", &[]),
        ("EXPLAIN WITH x AS (INSERT INTO a (b) VALUES (1) RETURNING b) SELECT * FROM x", &[]),
        ("WITH x AS (INSERT INTO a (b) VALUES (1) RETURNING b) SELECT * FROM x", &["a"]),
        (
            "WITH x AS (INSERT INTO position (b) VALUES (1) RETURNING b) SELECT * FROM x",
            &["position"],
        ),
        ("INSERT INTO a VALUES (1); DELETE FROM b", &["a", "b"]),
        ("SELECT * FROM t FOR UPDATE", &[]),
        ("SELECT * FROM t FOR NO KEY UPDATE OF t", &[]),
        ("SELECT a FROM t", &[]),
        ("COPY t TO STDOUT", &[]),
        ("INSERT", &[]),
        ("INSERT (", &[]),
        ("UPDATE", &[]),
        ("TRUNCATE", &[]),
    ] {
        assert_eq!(ask(sql).1.written, written, "{sql}");
    }
}

#[test]
fn what_a_text_begins_with() {
    for (sql, white_space, comment) in [
        ("", false, false),
        ("SELECT 1", false, false),
        (" SELECT 1", true, false),
        ("\n\tSELECT 1", true, false),
        ("/* x */ SELECT 1", false, true),
        ("-- x\nSELECT 1", false, true),
        (" /* x */ SELECT 1", true, true),
        ("- - SELECT", false, false),
        ("SELECT /* x */ 1", false, false),
    ] {
        let leading = leading(sql.as_bytes());
        assert_eq!((leading.white_space, leading.comment), (white_space, comment), "{sql:?}");
    }
}
