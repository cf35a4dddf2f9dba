//! COPY in both directions, its errors, and what a client sends after them.

use crate::raw_client::RawClient;
use crate::{Cluster, Node, Proxy, Scenario, drivers, wire};

struct Setup {
    cluster: &'static Cluster,
    database: String,
    proxy: Proxy,
    client: RawClient,
}

impl Setup {
    fn new(scenario: &Scenario) -> Self {
        let cluster = Cluster::shared();
        let database = cluster.create_database_with("CREATE TABLE t (a int, b text)");
        let proxy = scenario.start(cluster, &scenario.config());
        let client = proxy.connect(&database);
        Self { cluster, database, proxy, client }
    }

    fn stored(&self) -> String {
        self.cluster.value(Node::Primary, &self.database, "SELECT count(*) FROM t")
    }

    /// Neither this connection nor a new one is out of step.
    fn check_in_step(&mut self) {
        for i in 0..3 {
            let sql = format!("SELECT 'step {i}'");
            assert_eq!(self.client.query(&sql).value(), format!("step {i}"));
            assert_eq!(self.client.extended(&sql, &[]).value(), format!("step {i}"));
            let mut other = self.proxy.connect(&self.database);
            assert_eq!(other.query(&sql).value(), format!("step {i}"));
            other.close();
        }
    }
}

fn rows(count: usize) -> String {
    (0..count).map(|i| format!("{i}\trow {i}\n")).collect()
}

/// COPY FROM STDIN with data cut at any place, in and out of a transaction.
pub fn copy_in(scenario: &Scenario) {
    let mut setup = Setup::new(scenario);
    let data = rows(1000);
    setup.client.send(&wire::query("COPY t FROM STDIN"));
    setup.client.expect(b'G');
    for piece in data.as_bytes().chunks(333) {
        setup.client.send(&wire::message(b'd', piece));
    }
    let reply = setup.client.ask(&wire::copy_done());
    assert_eq!((&*reply.shape, &*reply.commands[0], reply.status), ("CZ", "COPY 1000", b'I'));
    assert_eq!(setup.stored(), "1000");

    setup.client.query("BEGIN").ok();
    // All at once: the data does not wait for the CopyInResponse.
    let all = [wire::query("COPY t FROM STDIN"), wire::copy_data(&data), wire::copy_done()];
    let reply = setup.client.ask(&all.concat());
    assert_eq!((&*reply.shape, reply.status), ("GCZ", b'T'));
    setup.client.query("ROLLBACK").ok();
    assert_eq!(setup.stored(), "1000");
    setup.check_in_step();
}

/// COPY TO STDOUT of a table and of a query, and one that fails in the middle.
pub fn copy_out(scenario: &Scenario) {
    let mut setup = Setup::new(scenario);
    let fill = "INSERT INTO t SELECT g, 'row ' || g FROM generate_series(0, 999) g";
    setup.client.query(fill).ok();
    setup.cluster.wait_replayed();
    for _ in 0..4 {
        let reply = setup.client.query("COPY t TO STDOUT");
        assert_eq!(reply.commands, ["COPY 1000"]);
        assert_eq!(String::from_utf8_lossy(&reply.copied), rows(1000));
    }
    let reply = setup.client.query("COPY (SELECT g FROM generate_series(1, 2) g) TO STDOUT");
    assert_eq!((&*reply.shape, &*reply.copied), ("HddcCZ", &b"1\n2\n"[..]));
    let reply =
        setup.client.query("COPY (SELECT 6 / (3 - g) FROM generate_series(1, 9) g) TO STDOUT");
    assert_eq!((&*reply.shape, reply.code()), ("HddEZ", "22012"));
    setup.check_in_step();
}

/// A row that the server refuses: the client learns it, and what it still sends is ignored.
pub fn bad_row(scenario: &Scenario) {
    let mut setup = Setup::new(scenario);
    setup.client.send(&wire::query("COPY t FROM STDIN"));
    setup.client.expect(b'G');
    setup.client.send(&wire::copy_data(&rows(10)));
    setup.client.send(&wire::copy_data("not a number\tx\n"));
    setup.client.send(&wire::copy_data(&rows(10)));
    // The server reads in large pieces and speaks when it has parsed one.
    setup.client.send(&wire::copy_data(&rows(20_000)));
    let reply = setup.client.reply();
    assert_eq!((&*reply.shape, reply.code(), reply.status), ("EZ", "22P02", b'I'));
    // A client that has not read the error yet goes on and ends as usual.
    setup.client.send(&wire::copy_data(&rows(100)));
    setup.client.send(&wire::copy_done());
    setup.check_in_step();

    // The same in one go, and with data behind the error that fills every buffer.
    let all = [
        wire::query("COPY t FROM STDIN"),
        wire::copy_data("bad\tx\n"),
        wire::copy_data(&rows(50_000)),
        wire::copy_data(&rows(50_000)),
        wire::copy_done(),
    ];
    let reply = setup.client.ask(&all.concat());
    assert_eq!((&*reply.shape, reply.code(), reply.status), ("GEZ", "22P02", b'I'));
    setup.check_in_step();

    setup.client.query("BEGIN").ok();
    let reply = setup.client.ask(&all.concat());
    assert_eq!(reply.status, b'E');
    setup.client.query("ROLLBACK").ok();
    assert_eq!(setup.stored(), "0");
    setup.check_in_step();
}

/// CopyFail.
pub fn client_gives_up(scenario: &Scenario) {
    let mut setup = Setup::new(scenario);
    setup.client.send(&wire::query("COPY t FROM STDIN"));
    setup.client.expect(b'G');
    setup.client.send(&wire::copy_data(&rows(10)));
    let reply = setup.client.ask(&wire::copy_fail("changed my mind"));
    assert_eq!((&*reply.shape, reply.code(), reply.status), ("EZ", "57014", b'I'));
    assert!(reply.errors[0].message.contains("changed my mind"), "{reply:?}");
    assert_eq!(setup.stored(), "0");
    setup.check_in_step();
}

/// Two COPYs and a read in one query string.
pub fn several_in_one_query(scenario: &Scenario) {
    let mut setup = Setup::new(scenario);
    let sql = "COPY t FROM STDIN; COPY t FROM STDIN; COPY t TO STDOUT; SELECT count(*) FROM t";
    setup.client.send(&wire::query(sql));
    for _ in 0..2 {
        setup.client.expect(b'G');
        setup.client.send(&[wire::copy_data("1\tx\n"), wire::copy_done()].concat());
        setup.client.expect(b'C');
    }
    let reply = setup.client.reply();
    assert_eq!((&*reply.shape, &*reply.copied), ("HddcCTDCZ", &b"1\tx\n1\tx\n"[..]));
    assert_eq!(reply.value(), "2");
    setup.check_in_step();
}

/// COPY through Parse, Bind and Execute. libpq sends a Sync right behind the Execute, which the
/// server drops because it is already in COPY mode, and another behind the CopyDone (PostgreSQL
/// documentation, "COPY Operations").
pub fn by_extended_protocol(scenario: &Scenario) {
    let mut setup = Setup::new(scenario);
    let copy = wire::unnamed("COPY t FROM STDIN", &[]);
    let mut expected = 0;
    for early_sync in [true, false] {
        setup.client.send(&copy);
        setup.client.send(&if early_sync { wire::sync() } else { wire::flush() });
        for tag in [b'1', b'2', b'G'] {
            setup.client.expect(tag);
        }
        setup.client.send(&wire::copy_data(&rows(10)));
        let reply = setup.client.ask(&[wire::copy_done(), wire::sync()].concat());
        assert_eq!((&*reply.shape, reply.status), ("CZ", b'I'), "early Sync: {early_sync}");
        expected += 10;
        assert_eq!(setup.stored(), expected.to_string());
        setup.check_in_step();

        setup.client.send(&copy);
        setup.client.send(&if early_sync { wire::sync() } else { wire::flush() });
        for tag in [b'1', b'2', b'G'] {
            setup.client.expect(tag);
        }
        let end = [wire::copy_data("bad\tx\n"), wire::copy_done(), wire::sync()];
        let reply = setup.client.ask(&end.concat());
        assert_eq!((&*reply.shape, reply.code()), ("EZ", "22P02"), "early Sync: {early_sync}");
        setup.check_in_step();

        setup.client.send(&copy);
        setup.client.send(&if early_sync { wire::sync() } else { wire::flush() });
        for tag in [b'1', b'2', b'G'] {
            setup.client.expect(tag);
        }
        let end = [wire::copy_data(&rows(3)), wire::copy_fail("no"), wire::sync()];
        let reply = setup.client.ask(&end.concat());
        assert_eq!((&*reply.shape, reply.code()), ("EZ", "57014"), "early Sync: {early_sync}");
        setup.check_in_step();
    }
    let reply = setup.client.extended("COPY t TO STDOUT", &[]);
    assert_eq!(reply.commands.len(), 1, "{reply:?}");
    setup.check_in_step();
}

/// `psql` loads and unloads a hundred thousand rows.
pub fn psql_round_trip(scenario: &Scenario) {
    let setup = Setup::new(scenario);
    let data = rows(100_000);
    let load =
        format!("COPY t FROM STDIN;\n{data}\\.\nSELECT count(*) FROM t /*NO LOAD BALANCE*/;");
    drivers::psql(&setup.proxy, &setup.database, &load);
    assert_eq!(setup.stored(), "100000");
    setup.cluster.wait_replayed();
    let unloaded =
        drivers::psql(&setup.proxy, &setup.database, "COPY t TO STDOUT;\n\\copy t to stdout");
    // Compared by halves, so that a difference does not print megabytes.
    assert_eq!(unloaded.len(), data.len() * 2);
    assert!(unloaded.starts_with(&data) && unloaded.ends_with(&data));
}
