//! Named prepared statements: each client has its own, whatever server it is on and whoever was
//! there before.

use super::comparison::{Comparison, Step, e, q, raw};
use super::row;
use crate::raw_client::Reply;
use crate::{Cluster, Node, RawClient, Scenario, drivers, wire};

const SCHEMA: &str = "
    CREATE TABLE t (a int);
    CREATE TABLE changing (a int);
    INSERT INTO changing VALUES (1);
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
    ALTER TABLE changing OWNER TO app";

/// Parse and Sync.
fn parse<'a>(name: &str, sql: &str) -> Step<'a> {
    raw(&[wire::parse(name, sql), wire::sync()], 1)
}

/// Bind, Describe, Execute and Sync.
fn run<'a>(name: &str, values: &[&str]) -> Step<'a> {
    raw(&[bound(name, values), wire::sync()], 1)
}

fn bound(name: &str, values: &[&str]) -> Vec<u8> {
    let values: Vec<Option<&str>> = values.iter().copied().map(Some).collect();
    [wire::bind("", name, &values), wire::describe_portal(""), wire::execute("", 0)].concat()
}

fn execute(client: &mut RawClient, name: &str, values: &[&str]) -> Reply {
    client.ask(&[bound(name, values), wire::sync()].concat())
}

/// Sessions that are led directly and through the proxy, with the same answers.
pub fn sessions_with_statements(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let config = scenario.config().pool_size(3);
    let all = ["TRUNCATE t", "SELECT a FROM t ORDER BY a"];
    let mut comparison = Comparison::new(cluster, scenario, &config, SCHEMA, all);
    comparison.session(
        "prepared once, run on both nodes",
        vec![
            parse("read", "SELECT a FROM t WHERE a > $1 ORDER BY a"),
            parse("write", "INSERT INTO t VALUES ($1)"),
            raw(&[wire::describe_statement("read"), wire::sync()], 1),
            run("write", &["1"]),
            q("BEGIN"),
            run("write", &["2"]),
            run("read", &["0"]),
            q("COMMIT"),
            q("BEGIN READ ONLY"),
            run("read", &["5"]),
            q("COMMIT"),
            run("read", &["7"]),
            raw(&[wire::close_statement("read"), wire::sync()], 1),
            run("read", &["0"]),
            parse("read", "SELECT 5"),
            run("read", &[]),
        ],
    );
    comparison.session(
        "names in errors",
        vec![
            run("s", &[]),
            raw(&[wire::describe_statement("s"), wire::sync()], 1),
            parse("s", "SELECT $1::int"),
            run("s", &[]),
            run("s", &["x"]),
            parse("s", "SELECT 2"),
            parse("s", "SELEC"),
            run("s", &["3"]),
            q("BEGIN"),
            parse("s", "SELECT 2"),
            run("s", &["3"]),
            q("ROLLBACK"),
            run("s", &["4"]),
            parse("bad", "SELECT * FROM missing"),
            run("bad", &[]),
            run("pgweir_00000000000000000000000000000000x", &[]),
        ],
    );
    comparison.session(
        "what an error skips was not done",
        vec![
            raw(
                &[
                    wire::parse("a", "SELECT 1"),
                    bound("missing", &[]),
                    wire::parse("b", "SELECT 2"),
                    wire::close_statement("a"),
                    wire::sync(),
                ],
                1,
            ),
            run("a", &[]),
            run("b", &[]),
            parse("b", "SELECT 3"),
            run("b", &[]),
            raw(
                &[
                    wire::parse("c", "SELECT 1/$1::int"),
                    bound("c", &["0"]),
                    wire::close_statement("c"),
                    wire::parse("c", "SELECT 9"),
                    wire::sync(),
                    bound("c", &["1"]),
                    wire::sync(),
                ],
                2,
            ),
            run("c", &["1"]),
        ],
    );
    comparison.session(
        "several batches in one write",
        vec![
            raw(
                &[
                    wire::parse("a", "SELECT $1::int"),
                    wire::sync(),
                    bound("a", &["1"]),
                    wire::close_statement("a"),
                    wire::parse("a", "SELECT $1::text"),
                    bound("a", &["x"]),
                    wire::sync(),
                    bound("a", &["y"]),
                    wire::sync(),
                    wire::close_statement("a"),
                    wire::sync(),
                    bound("a", &["z"]),
                    wire::sync(),
                ],
                5,
            ),
            raw(
                &[
                    wire::parse("bad", "SELECT FROM FROM"),
                    wire::sync(),
                    bound("bad", &[]),
                    wire::sync(),
                    wire::parse("bad", "SELECT 1"),
                    wire::sync(),
                    bound("bad", &[]),
                    wire::sync(),
                ],
                4,
            ),
        ],
    );
    comparison.session(
        "in transactions that fail",
        vec![
            parse("end", "ROLLBACK"),
            parse("known", "SELECT 1"),
            q("BEGIN"),
            parse("inside", "SELECT 'inside'"),
            q("SELECT 1/0"),
            parse("again", "SELECT 1"),
            parse("late", "SELECT 'late'"),
            run("inside", &[]),
            raw(&[wire::close_statement("known"), wire::sync()], 1),
            run("end", &[]),
            run("inside", &[]),
            run("late", &[]),
            run("known", &[]),
        ],
    );
    comparison.session(
        "DEALLOCATE",
        vec![
            parse("a", "SELECT 1"),
            parse("B c", "SELECT 2"),
            parse("d", "SELECT 3"),
            q("DEALLOCATE a"),
            run("a", &[]),
            q("DEALLOCATE a"),
            e("DEALLOCATE d"),
            run("d", &[]),
            q("BEGIN"),
            q("DEALLOCATE PREPARE \"B c\";"),
            run("B c", &[]),
            q("DEALLOCATE ALL"),
            q("ROLLBACK"),
            parse("a", "SELECT 4"),
            run("a", &[]),
            q("DEALLOCATE ALL"),
            run("a", &[]),
            parse("a", "SELECT 5"),
            e("DEALLOCATE ALL"),
            run("a", &[]),
            parse("a", "SELECT 6"),
            q("SELECT 1; DEALLOCATE ALL"),
            run("a", &[]),
            parse("a", "SELECT 7"),
            q("DISCARD ALL"),
            run("a", &[]),
        ],
    );
    comparison.session(
        "portals, and what was prepared for them",
        vec![
            parse("s", "SELECT generate_series(1, 5)"),
            q("BEGIN"),
            raw(&[wire::bind("p", "s", &[]), wire::execute("p", 2), wire::sync()], 1),
            raw(&[wire::close_statement("s"), wire::sync()], 1),
            raw(&[wire::execute("p", 2), wire::sync()], 1),
            q("COMMIT"),
        ],
    );
    comparison.finish();
}

/// Clients that use one name for different things, one after the other on one server.
pub fn names_are_their_clients_own(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1));
    let mut clients: Vec<RawClient> = (0..4).map(|_| proxy.connect(&database)).collect();
    for round in 0..3 {
        for (n, client) in clients.iter_mut().enumerate() {
            // Two of them prepare the same.
            let kind = n / 2;
            if round == 0 {
                let sql = format!("SELECT {kind} + $1::int");
                let batch = [wire::parse("s", &sql), wire::describe_statement("s"), wire::sync()];
                assert_eq!(client.ask(&batch.concat()).shape, "1tTZ");
            }
            let expected = (kind + 10 * round).to_string();
            let value = (10 * round).to_string();
            assert_eq!(execute(client, "s", &[&value]).value(), expected);
            client.query("BEGIN").ok();
            client.query("INSERT INTO t VALUES (1)").ok();
            assert_eq!(execute(client, "s", &[&value]).value(), expected);
            client.query("COMMIT").ok();
        }
    }
    let first = &mut clients[0];
    first.query("BEGIN; INSERT INTO t VALUES (1)").ok();
    let sql = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgweir%'";
    assert_eq!(first.query(sql).value(), "2", "what is the same is there once");
    first.query("COMMIT").ok();
    // Who leaves takes nothing away from others.
    clients.truncate(3);
    for (client, expected) in clients.iter_mut().zip(["0", "0", "1"]) {
        assert_eq!(execute(client, "s", &["0"]).value(), expected);
    }
}

/// Literals that were read under one client's settings are not another one's.
pub fn settings_of_literals(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1));
    let sql = "SELECT extract(epoch FROM '2020-01-01'::timestamptz)::int";
    for (zone, expected) in
        [("UTC", "1577836800"), ("Asia/Tokyo", "1577804400"), ("UTC", "1577836800")]
    {
        let mut client = proxy.connect(&database);
        client.query(&format!("SET TimeZone = '{zone}'")).ok();
        assert_eq!(client.ask(&[wire::parse("s", sql), wire::sync()].concat()).shape, "1Z");
        assert_eq!(execute(&mut client, "s", &[]).value(), expected, "{zone}");
        client.close();
    }
    let mut local = proxy.connect(&database);
    local.query("BEGIN").ok();
    local.query("SET LOCAL TimeZone = 'Asia/Tokyo'").ok();
    local.ask(&[wire::parse("s", sql), wire::sync()].concat()).ok();
    assert_eq!(execute(&mut local, "s", &[]).value(), "1577804400");
    local.query("COMMIT").ok();
    let mut other = proxy.connect(&database);
    other.query("SET TimeZone = 'UTC'").ok();
    other.ask(&[wire::parse("s", sql), wire::sync()].concat()).ok();
    assert_eq!(execute(&mut other, "s", &[]).value(), "1577836800");
}

/// A server that has lost its statements, or has old plans, gives the answers all the same.
pub fn servers_are_mended(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1).weights(1, 0));
    let mut client = proxy.connect(&database);
    client.ask(&[wire::parse("s", "SELECT * FROM changing"), wire::sync()].concat()).ok();
    assert_eq!(execute(&mut client, "s", &[]).rows, [row(&["1"])]);
    let mut other = proxy.connect(&database);
    // In a way that nobody can see.
    let hidden = "DO $$ BEGIN EXECUTE 'DEALLO' || 'CATE ALL'; END $$";
    other.query(hidden).ok();
    assert_eq!(execute(&mut client, "s", &[]).rows, [row(&["1"])]);
    other.query("ALTER TABLE changing ADD COLUMN b int DEFAULT 2").ok();
    let reply = execute(&mut client, "s", &[]);
    assert_eq!((&*reply.shape, &*reply.rows), ("2TDCZ", &[row(&["1", "2"])][..]));
    other.query(hidden).ok();
    client.query("BEGIN").ok();
    assert_eq!(execute(&mut client, "s", &[]).code(), "26000");
    client.query("ROLLBACK").ok();
    assert_eq!(execute(&mut client, "s", &[]).rows, [row(&["1", "2"])]);
}

/// A server keeps no more statements than it may, and those that go are prepared again.
pub fn servers_keep_a_few(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let config = scenario.config().pool_size(1).weights(1, 0);
    let proxy = scenario.start(cluster, &config.line("weir_max_prepared_statements = 3"));
    let mut client = proxy.connect(&database);
    for n in 0..10 {
        let batch = [wire::parse(&format!("s{n}"), &format!("SELECT {n}")), wire::sync()];
        client.ask(&batch.concat()).ok();
    }
    for n in (0..10).chain([3, 9, 3, 1]) {
        let found = execute(&mut client, &format!("s{n}"), &[]).value();
        assert_eq!(found, n.to_string());
    }
    client.query("BEGIN; INSERT INTO t VALUES (1)").ok();
    let count = client.query("SELECT count(*) FROM pg_prepared_statements").value();
    assert!(count.parse::<u32>().unwrap_or(99) <= 4, "{count} are left");
    client.query("COMMIT").ok();
}

/// Two hundred clients with prepared statements, on twenty servers: also such that wait for one
/// client's statement to be prepared while others hold all servers.
pub fn two_hundred_with_statements(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario.config().pool_size(20).clients(250).line("load_balance_mode = off");
    let proxy = scenario.start(cluster, &config);
    drivers::pgbench(&proxy, &database, &["-i", "-q"]);
    cluster.wait_replayed();
    for (options, count) in [(&["-S", "-t", "20"], 4000), (&["-N", "-t", "4"], 800)] {
        let common = ["-n", "-c", "200", "-j", "2", "-M", "prepared"];
        let out = drivers::pgbench(&proxy, &database, &[&common[..], options].concat());
        let done = format!("number of transactions actually processed: {count}/{count}");
        assert!(out.contains(&done), "{out}");
    }
    let sums = "SELECT count(*) FROM pgbench_history";
    assert_eq!(cluster.value(Node::Primary, &database, sums), "800");
}
