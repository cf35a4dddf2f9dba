//! What a verdict costs, by the size and kind of the statement.
//!
//! `catalogue` asks a table of 1,000 doubtful names, as the live path does; `shapes` is the cache of
//! verdicts that stands before it there. The sizes up to 1 MB show that cost is linear.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pool_router::classify::{
    Facts, FunctionFact, Lexing, Name, RelationFact, RelationKind, ShapeCache, classify,
    classify_with,
};

const PGBENCH_SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";
const PGBENCH_UPDATE: &str =
    "UPDATE pgbench_accounts SET abalance = abalance + 4711 WHERE aid = 12345;";

/// FNV-1a, by bytes.
#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Names of which something is known: here that they are unlogged tables or writing functions.
struct Catalogue {
    names: HashMap<Vec<u8>, (), BuildHasherDefault<Fnv>>,
}

impl Catalogue {
    fn new() -> Self {
        let names = (0..1000).map(|at| (format!("doubtful_name_{at}").into_bytes(), ())).collect();
        Self { names }
    }

    fn is_doubtful(&self, name: &Name<'_>) -> bool {
        let mut folded = [0; 64];
        let Some(folded) = folded.get_mut(..name.name.text.len()) else { return true };
        folded.copy_from_slice(name.name.text);
        if !name.name.quoted {
            folded.make_ascii_lowercase();
        }
        self.names.contains_key(&*folded)
    }
}

impl Facts for &Catalogue {
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        if self.is_doubtful(&name) { FunctionFact::Writes } else { FunctionFact::Unknown }
    }

    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        if self.is_doubtful(&name) {
            RelationFact::PrimaryOnly(RelationKind::Unlogged)
        } else {
            RelationFact::Plain
        }
    }
}

/// A join with every column named and quoted, as ORMs write them: about 1 kB.
fn orm_query() -> String {
    let columns: Vec<String> = (0..12)
        .map(|at| format!("\"shop_order\".\"column_{at}\", \"shop_customer\".\"field_{at}\""))
        .collect();
    format!(
        "SELECT {}, COUNT(\"shop_order\".\"id\") AS \"n\", COALESCE(SUM(\"shop_order\".\"total\"), 0) \
         FROM \"shop_order\" INNER JOIN \"shop_customer\" ON (\"shop_order\".\"customer_id\" = \
         \"shop_customer\".\"id\") WHERE (\"shop_order\".\"state\" IN (17, 4) AND UPPER(\"shop_customer\".\
         \"name\"::text) LIKE UPPER('%smith%')) GROUP BY 1 ORDER BY 1 DESC LIMIT 21",
        columns.join(", ")
    )
}

fn in_list(bytes: usize) -> String {
    let numbers: Vec<String> =
        (0..bytes / 6).map(|at| (at * 7 % 90_000 + 10_000).to_string()).collect();
    format!("SELECT * FROM t WHERE id IN ({})", numbers.join(","))
}

fn chain(terms: usize) -> String {
    format!("SELECT a{}", " + a".repeat(terms))
}

fn nest(depth: usize) -> String {
    format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth))
}

fn selects(depth: usize) -> String {
    format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(depth), ") x".repeat(depth))
}

fn cases() -> Vec<(&'static str, String)> {
    vec![
        ("pgbench_select", PGBENCH_SELECT.to_owned()),
        ("pgbench_update", PGBENCH_UPDATE.to_owned()),
        ("begin", "BEGIN".to_owned()),
        ("orm_1kB", orm_query()),
        ("in_list_10kB", in_list(10_000)),
        ("in_list_100kB", in_list(100_000)),
        ("in_list_1MB", in_list(1_000_000)),
        ("chain_of_1000", chain(1000)),
        ("chain_of_100000", chain(100_000)),
        ("nest_of_1000", nest(1000)),
        ("nest_of_100000", nest(100_000)),
        ("selects_nested_100000", selects(100_000)),
    ]
}

fn verdicts(c: &mut Criterion) {
    let lexing = Lexing::default();
    let catalogue = Catalogue::new();
    let mut group = c.benchmark_group("classify");
    for (name, sql) in &cases() {
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_with_input(BenchmarkId::new("text", name), sql.as_bytes(), |b, sql| {
            b.iter(|| classify(black_box(sql), &lexing));
        });
        group.bench_with_input(BenchmarkId::new("catalogue", name), sql.as_bytes(), |b, sql| {
            b.iter(|| classify_with(black_box(sql), &lexing, &mut &catalogue));
        });
    }
    group.finish();
}

/// Statements that come again with other values.
fn shapes(c: &mut Criterion) {
    let lexing = Lexing::default();
    let catalogue = Catalogue::new();
    let mut group = c.benchmark_group("shapes");
    for (name, sql) in [("pgbench_select", PGBENCH_SELECT.to_owned()), ("orm_1kB", orm_query())] {
        let others: Vec<String> =
            ["17", "12345", "8"].iter().map(|value| sql.replace("12345", value)).collect();
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            let mut cache = ShapeCache::new();
            let mut others = others.iter().cycle();
            b.iter(|| {
                let sql = others.next().map_or(&b""[..], String::as_bytes);
                cache.classify(black_box(sql), &lexing, 1, &mut &catalogue)
            });
        });
    }
    // Many shapes in turn: by the set, not by the last one found.
    let many: Vec<String> =
        (0..100).map(|at| format!("SELECT column_{at} FROM table_{at} WHERE id = {at}")).collect();
    group.throughput(Throughput::Elements(1));
    group.bench_function("hundred_in_turn", |b| {
        let mut cache = ShapeCache::new();
        let mut many = many.iter().cycle();
        b.iter(|| {
            let sql = many.next().map_or(&b""[..], String::as_bytes);
            cache.classify(black_box(sql), &lexing, 1, &mut &catalogue)
        });
    });
    // Never the same: what it costs to look, and to remember now and then.
    let strangers: Vec<String> =
        (0..10_000).map(|at| format!("SELECT column_{at} FROM t WHERE id = {at}")).collect();
    group.bench_function("strangers", |b| {
        let mut cache = ShapeCache::new();
        let mut strangers = strangers.iter().cycle();
        b.iter(|| {
            let sql = strangers.next().map_or(&b""[..], String::as_bytes);
            cache.classify(black_box(sql), &lexing, 1, &mut &catalogue)
        });
    });
    group.finish();
}

criterion_group!(benches, verdicts, shapes);
criterion_main!(benches);
