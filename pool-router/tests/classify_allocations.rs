//! The classifier does not allocate, whatever the text; the cache of shapes only when it meets a
//! new one.

use allocation_counter::measure;
use pool_router::classify::{Lexing, NoFacts, ShapeCache, Target, classify};

#[test]
fn verdicts_do_not_allocate() {
    let long = [
        format!("SELECT * FROM t WHERE id IN ({}1)", "12345,".repeat(170_000)),
        format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("SELECT 1{}", " + 1 OR a".repeat(100_000)),
        "SELECT 1;".repeat(100_000),
    ];
    let short = [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "UPDATE pgbench_accounts SET abalance = abalance + 4711 WHERE aid = 12345;",
        "WITH x AS (SELECT count(*) FROM t) SELECT f(\"X\".a) FROM x JOIN \"s\".y USING (a)",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "SET search_path = a, b",
        "SELECT 'not ended",
        "COPY t FROM STDIN",
    ];
    for sql in long.iter().map(String::as_str).chain(short) {
        let counted = measure(|| {
            let _ = classify(sql.as_bytes(), &Lexing::default());
        });
        assert_eq!(counted.count_total, 0, "{}", sql.get(..60).unwrap_or(sql));
    }
}

#[test]
fn shapes_that_are_known_do_not_allocate() {
    let lexing = Lexing::default();
    let mut cache = ShapeCache::new();
    let shapes: Vec<[String; 2]> = (0..100)
        .map(|at| [1, 7 * at].map(|value| format!("SELECT c{at} FROM t WHERE a = {value}")))
        .collect();
    for [sql, _] in &shapes {
        let _ = cache.classify(sql.as_bytes(), &lexing, 1, &mut NoFacts);
    }
    let counted = measure(|| {
        for [_, sql] in &shapes {
            let verdict = cache.find(sql.as_bytes(), &lexing, 1);
            assert!(verdict.is_some_and(|verdict| verdict.target == Target::Read));
        }
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(cache.hits(), 100);
}
