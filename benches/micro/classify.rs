//! What a verdict costs, by the size and kind of the statement.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pool_router::classify::{Lexing, classify};

const PGBENCH_SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";
const PGBENCH_UPDATE: &str =
    "UPDATE pgbench_accounts SET abalance = abalance + 4711 WHERE aid = 12345;";

/// A join with every column named and quoted, as ORMs write them: about 1 kB.
fn orm_query() -> String {
    let columns: Vec<String> = (0..20)
        .map(|at| format!("\"shop_order\".\"column_{at}\", \"shop_customer\".\"field_{at}\""))
        .collect();
    format!(
        "SELECT {}, COUNT(\"shop_order\".\"id\") AS \"n\", COALESCE(SUM(\"shop_order\".\"total\"), 0) \
         FROM \"shop_order\" INNER JOIN \"shop_customer\" ON (\"shop_order\".\"customer_id\" = \
         \"shop_customer\".\"id\") WHERE (\"shop_order\".\"state\" IN ($1, $2) AND UPPER(\"shop_customer\".\
         \"name\"::text) LIKE UPPER($3)) GROUP BY 1 ORDER BY 1 DESC LIMIT 21",
        columns.join(", ")
    )
}

fn in_list() -> String {
    let numbers: Vec<String> =
        (0..17_000).map(|at| (at * 7 % 90_000 + 10_000).to_string()).collect();
    format!("SELECT * FROM t WHERE id IN ({})", numbers.join(","))
}

fn verdicts(c: &mut Criterion) {
    let cases = [
        ("pgbench_select", PGBENCH_SELECT.to_owned()),
        ("pgbench_update", PGBENCH_UPDATE.to_owned()),
        ("begin", "BEGIN".to_owned()),
        ("orm", orm_query()),
        ("in_list", in_list()),
    ];
    let lexing = Lexing::default();
    let mut group = c.benchmark_group("classify");
    for (name, sql) in &cases {
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), sql.as_bytes(), |b, sql| {
            b.iter(|| classify(black_box(sql), &lexing));
        });
    }
    group.finish();
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
