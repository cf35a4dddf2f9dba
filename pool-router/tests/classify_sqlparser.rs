//! The classifier beside a parser, on statements of a grammar: they never disagree in the unsafe
//! direction.

mod sqlparser_oracle;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sqlparser_oracle::grammar::Choices;
use sqlparser_oracle::{Opinion, compare};

fn choices() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn they_never_disagree_in_the_unsafe_direction(bytes in choices(), noise in choices()) {
        let sql = Choices::new(&bytes).statement();
        compare(&sql);
        compare(&Choices::new(&noise).retold(&sql));
    }

    #[test]
    fn nor_on_what_is_cut_and_mixed(
        bytes in choices(),
        others in choices(),
        from: Index,
        to: Index,
    ) {
        let sql = Choices::new(&bytes).statement();
        let other = Choices::new(&others).statement();
        let words: Vec<&str> = sql.split(' ').collect();
        let other_words: Vec<&str> = other.split(' ').collect();
        let mut mixed = words[..from.index(words.len())].to_vec();
        mixed.extend(&other_words[to.index(other_words.len())..]);
        compare(&mixed.join(" "));
    }
}

/// The comparison is worth something only if statements reach it.
#[test]
fn the_parser_understands_what_it_is_shown() {
    for sql in [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 1",
        "WITH x AS (SELECT count(*) FROM t) SELECT * FROM x JOIN u USING (a)",
        "SELECT extract(epoch FROM a), a IS DISTINCT FROM b FROM t, LATERAL f(1) AS g(x)",
        "SELECT * FROM (t CROSS JOIN u) WHERE a = ANY (SELECT 1)",
        "COPY (SELECT 1) TO STDOUT",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT f(a) FROM t",
        "EXPLAIN SELECT * FROM t FOR UPDATE",
        "EXPLAIN INSERT INTO t (a, b) SELECT f(1), 2 FROM u",
        "EXPLAIN UPDATE t SET a = f(1) FROM u WHERE t.b = u.b",
        "EXPLAIN DELETE FROM t USING u WHERE g(t.a)",
        "EXPLAIN MERGE INTO t USING u ON f(t.a) = u.a WHEN MATCHED THEN DELETE",
    ] {
        assert_eq!(compare(sql), Opinion::Agreed, "{sql}");
    }
    assert_eq!(compare("SELECT * FROM t FOR UPDATE"), Opinion::Primary);
    assert_eq!(compare("SELECT FROM WHERE"), Opinion::NotUnderstood);
    // Over the whole grammar, a third of the statements about.
    let mut agreed = 0;
    for seed in 0..1000_u32 {
        let mut state = seed.wrapping_mul(0x9e37_79b9);
        let bytes: Vec<u8> = (0..64)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        let sql = Choices::new(&bytes).statement();
        agreed += usize::from(compare(&sql) == Opinion::Agreed);
    }
    assert!(agreed > 250, "{agreed}");
}
