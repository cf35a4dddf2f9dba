//! Many messages under way at once.

use std::sync::Arc;

use tokio_postgres::types::Type;

use super::row;
use crate::raw_client::RawClient;
use crate::{Cluster, Node, Proxy, Scenario, drivers, wire};

/// The database has a table t with nothing in it; reads go to the standby.
fn setup(scenario: &Scenario) -> (String, Proxy, RawClient) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config().weights(0, 1));
    let client = proxy.connect(&database);
    (database, proxy, client)
}

fn stored(database: &str) -> String {
    Cluster::shared().value(Node::Primary, database, "SELECT count(*) FROM t")
}

/// Two hundred statements before one Sync: all answers, in order, and one ReadyForQuery.
pub fn one_sync(scenario: &Scenario) {
    let (_, _proxy, mut client) = setup(scenario);
    let mut batch = Vec::new();
    for i in 0..200 {
        batch.extend(wire::unnamed("SELECT $1", &[Some(&i.to_string())]));
    }
    batch.extend(wire::sync());
    let reply = client.ask(&batch);
    assert_eq!(reply.shape, "12DC".repeat(200) + "Z");
    let expected: Vec<_> = (0..200).map(|i| row(&[&i.to_string()])).collect();
    assert_eq!(reply.rows, expected);
    assert_eq!(client.query("SELECT 'on'").value(), "on");
    client.close();
}

/// An error discards the rest up to Sync, and undoes what came before it.
pub fn error_skips_to_sync(scenario: &Scenario) {
    let (database, _proxy, mut client) = setup(scenario);
    let insert = wire::unnamed("INSERT INTO t VALUES (1)", &[]);
    for (error, shape) in [
        (wire::unnamed("SELECT 1/0", &[]), "12C1EZ"),
        (wire::unnamed("SELEC", &[]), "12CEZ"),
        (wire::unnamed("INSERT INTO t SELECT 1/0", &[]), "12C1EZ"),
    ] {
        let batch = [&*insert, &*error, &*insert, &*insert, &*wire::sync()].concat();
        let reply = client.ask(&batch);
        assert_eq!((&*reply.shape, reply.status), (shape, b'I'));
        assert_eq!(stored(&database), "0");
        assert_eq!(client.query("SELECT 'on'").value(), "on");
    }
    // The error comes first and on another node than the write.
    let batch = [&*wire::unnamed("SELECT 1/0", &[]), &*insert, &*wire::sync()].concat();
    let reply = client.ask(&batch);
    assert_eq!((&*reply.shape, reply.code()), ("1EZ", "22012"));
    assert_eq!(stored(&database), "0");
    client.close();
}

/// Each Sync ends a transaction of its own, also when all arrive together.
pub fn several_syncs_in_one_write(scenario: &Scenario) {
    let (database, _proxy, mut client) = setup(scenario);
    let insert = [wire::unnamed("INSERT INTO t VALUES (1)", &[]), wire::sync()].concat();
    let read = [wire::unnamed("SELECT 'r'", &[]), wire::sync()].concat();
    let bad = [wire::unnamed("SELECT 1/0", &[]), wire::sync()].concat();
    let all = [&insert, &read, &bad, &insert, &bad, &read, &read, &insert];
    client.send(&all.map(|batch| batch.as_slice()).concat());
    for (i, batch) in all.iter().enumerate() {
        let reply = client.reply();
        let expected = match **batch == bad {
            true => "1EZ",
            false if **batch == read => "12DCZ",
            false => "12CZ",
        };
        assert_eq!((&*reply.shape, reply.status), (expected, b'I'), "batch {i}");
    }
    assert_eq!(stored(&database), "3");
    // A Sync alone is answered each time.
    client.send(&wire::sync().repeat(50));
    for _ in 0..50 {
        assert_eq!(client.reply().shape, "Z");
    }
    client.close();
}

/// Flush makes the answers come without a ReadyForQuery; the transaction goes on.
pub fn flush_without_sync(scenario: &Scenario) {
    let (database, _proxy, mut client) = setup(scenario);
    for sql in
        ["SELECT g FROM generate_series(1, 3) g", "INSERT INTO t VALUES (1), (2) RETURNING a"]
    {
        client.send(&[wire::parse("", sql), wire::describe_statement(""), wire::flush()].concat());
        for tag in [b'1', b't', b'T'] {
            client.expect(tag);
        }
        client.send(&[wire::bind("", "", &[]), wire::flush()].concat());
        client.expect(b'2');
        client.send(&[wire::execute("", 1), wire::flush()].concat());
        for tag in [b'D', b's'] {
            client.expect(tag);
        }
        client.send(&[wire::execute("", 0), wire::flush()].concat());
        client.expect(b'D');
        let reply = client.ask(&wire::sync());
        assert!(reply.shape.ends_with("CZ"), "{reply:?}");
    }
    assert_eq!(stored(&database), "2");
    // Errors come on Flush as well.
    client.send(&[wire::parse("", "SELEC"), wire::flush()].concat());
    assert_eq!(client.expect(b'E').fault().code, "42601");
    assert_eq!(client.ask(&wire::sync()).shape, "Z");
    client.close();
}

/// Simple queries that do not wait for each other's answers.
pub fn simple_queries_in_one_write(scenario: &Scenario) {
    let (database, _proxy, mut client) = setup(scenario);
    let mut all = Vec::new();
    for i in 0..100 {
        all.extend(wire::query(&format!("SELECT {i}")));
        all.extend(wire::query(&format!("INSERT INTO t VALUES ({i})")));
        all.extend(wire::query("SELECT 1/0"));
    }
    client.send(&all);
    for i in 0..100 {
        assert_eq!(client.reply().value(), i.to_string());
        assert_eq!(client.reply().shape, "CZ");
        assert_eq!(client.reply().code(), "22012");
    }
    assert_eq!(stored(&database), "100");
    client.close();
}

/// A simple query may come where a Sync is due, as pgjdbc does with BEGIN.
pub fn simple_query_ends_extended(scenario: &Scenario) {
    let (database, _proxy, mut client) = setup(scenario);
    for sql in ["SELECT 2", "INSERT INTO t VALUES (1) RETURNING 2"] {
        let both = [wire::unnamed(sql, &[]), wire::query("SELECT 3")].concat();
        let reply = client.ask(&both);
        assert_eq!(reply.shape, "12DCTDCZ", "{sql}");
        assert_eq!(reply.rows, [row(&["2"]), row(&["3"])]);
    }
    assert_eq!(stored(&database), "1");
    let both = [wire::unnamed("SELECT 2", &[]), wire::query("BEGIN")].concat();
    assert_eq!(client.ask(&both).status, b'T');
    client.query("ROLLBACK").ok();
    client.close();
}

/// A batch that reads first and writes later is one transaction: it sees its own row.
pub fn read_then_write(scenario: &Scenario) {
    let (database, _proxy, mut client) = setup(scenario);
    let count = wire::unnamed("SELECT count(*) FROM t", &[]);
    let insert = wire::unnamed("INSERT INTO t VALUES (1)", &[]);
    let batch = [&*count, &*insert, &*count, &*wire::sync()].concat();
    let reply = client.ask(&batch);
    assert_eq!((&*reply.shape, reply.status), ("12DC12C12DCZ", b'I'));
    assert_eq!(reply.rows, [row(&["0"]), row(&["1"])]);
    let batch = [&*insert, &*count, &*wire::sync()].concat();
    assert_eq!(client.ask(&batch).value(), "2");
    assert_eq!(stored(&database), "2");
    client.close();
}

/// BEGIN, work and COMMIT without waiting.
pub fn transaction_in_one_write(scenario: &Scenario) {
    let (database, _proxy, mut client) = setup(scenario);
    let steps = ["BEGIN", "INSERT INTO t VALUES (1)", "SELECT count(*) FROM t", "COMMIT"];
    let batch: Vec<Vec<u8>> = steps.iter().map(|sql| wire::unnamed(sql, &[])).collect();
    let reply = client.ask(&[batch.concat(), wire::sync()].concat());
    assert_eq!((&*reply.shape, reply.status), ("12C12C12DC12CZ", b'I'));
    assert_eq!(reply.rows, [row(&["1"])]);

    let each: Vec<Vec<u8>> =
        steps.iter().map(|sql| [wire::unnamed(sql, &[]), wire::sync()].concat()).collect();
    client.send(&each.concat());
    let statuses: Vec<char> = steps.iter().map(|_| char::from(client.reply().status)).collect();
    assert_eq!(statuses, ['T', 'T', 'T', 'I']);

    let simple: Vec<Vec<u8>> = steps.iter().map(|sql| wire::query(sql)).collect();
    client.send(&simple.concat());
    let replies: Vec<_> = steps.iter().map(|_| client.reply()).collect();
    assert_eq!(replies[2].rows, [row(&["3"])]);
    assert_eq!(stored(&database), "3");
    client.close();
}

/// A driver with fifty queries under way on one connection.
pub fn driver_pipelines(scenario: &Scenario) {
    let (database, proxy, _client) = setup(scenario);
    drivers::block_on(async {
        let client = Arc::new(drivers::connect(&proxy, &database).await);
        let tasks: Vec<_> = (0..50_i32)
            .map(|i| {
                let client = Arc::clone(&client);
                tokio::spawn(async move {
                    let rows = client.query_typed("SELECT $1", &[(&i, Type::INT4)]).await;
                    rows.map(|rows| rows[0].get::<_, i32>(0))
                })
            })
            .collect();
        for (i, task) in (0..).zip(tasks) {
            let answer: i32 = task.await.expect("task").expect("query");
            assert_eq!(answer, i);
        }
    });
}

/// A batch that cannot be read, and whose end has not come yet, holds up nobody.
pub fn unreadable_beginning(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario.config().weights(0, 1).line("weir_workers = 1");
    let proxy = scenario.start(cluster, &config);
    let (mut client, mut other) = (proxy.connect(&database), proxy.connect(&database));
    for sql in ["SELECT 'never closed", "FROBNICATE"] {
        client.send(&wire::unnamed(sql, &[]));
        // Twice, because what was sent first may be looked at behind the first of these.
        for _ in 0..2 {
            assert_eq!(other.query("SELECT 1").value(), "1", "{sql}");
        }
        assert_eq!(client.ask(&wire::sync()).code(), "42601", "{sql}");
    }
    client.close();
    other.close();
}
