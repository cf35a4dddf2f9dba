//! Settings of a session, and messages that come without being asked for.

use crate::cluster::APP;
use crate::raw_client::RawClient;
use crate::{Cluster, Node, Scenario, wire};

/// At login a client gets the server's ParameterStatus values, and a new one after SET.
pub fn reported_values(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let direct = cluster.connect(Node::Primary, APP, &database);
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);
    for name in [
        "server_version",
        "server_encoding",
        "client_encoding",
        "DateStyle",
        "TimeZone",
        "integer_datetimes",
        "standard_conforming_strings",
        "IntervalStyle",
        "session_authorization",
        "is_superuser",
        "default_transaction_read_only",
        "in_hot_standby",
    ] {
        assert_eq!(client.parameters.get(name), direct.parameters.get(name), "{name}");
    }
    client.query("BEGIN").ok();
    client.query("SET LOCAL DateStyle = 'German, DMY'").ok();
    assert_eq!(client.parameters["DateStyle"], "German, DMY");
    client.query("ROLLBACK").ok();
    assert_eq!(client.parameters["DateStyle"], direct.parameters["DateStyle"]);
    client.query("SET application_name = 'renamed'").ok();
    assert_eq!(client.parameters["application_name"], "renamed");
    assert_eq!(client.query("SHOW application_name").value(), "renamed");
    client.close();
}

/// Settings in the startup packet hold for the session on whichever server, or are refused;
/// they are never dropped in silence.
pub fn startup_parameters(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    for (name, value) in [
        ("application_name", "my program"),
        ("client_encoding", "LATIN1"),
        ("TimeZone", "Asia/Tokyo"),
        ("DateStyle", "ISO, DMY"),
        ("extra_float_digits", "-3"),
        ("search_path", "other"),
    ] {
        let mut client = RawClient::open(&proxy.address());
        let login = [("user", APP), ("database", &*database), (name, value)];
        client.send(&wire::startup(wire::PROTOCOL_3_0, &login));
        if let Err(fault) = client.finish_login() {
            assert_eq!(fault.severity, "FATAL", "{name}: {fault:?}");
            assert!(name == "extra_float_digits" || name == "search_path", "{name}: {fault:?}");
            continue;
        }
        for _ in 0..5 {
            assert_eq!(client.query(&format!("SHOW {name}")).value(), value);
        }
        client.query("BEGIN; CREATE TEMP TABLE mine () ON COMMIT DROP");
        assert_eq!(client.query(&format!("SHOW {name}")).value(), value);
        client.query("ROLLBACK");
        client.close();
    }
    let mut plain = proxy.connect(&database);
    assert_eq!(plain.query("SHOW client_encoding").value(), "UTF8");
    assert_eq!(plain.query("SHOW search_path").value(), "\"$user\", public");
    plain.close();
}

/// Two clients take turns on one server per node, and each keeps what it has set.
pub fn settings_follow_their_client(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int)");
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1));
    let mut tokyo = proxy.connect(&database);
    let mut lima = proxy.connect(&database);
    let mut plain = proxy.connect(&database);
    let default = plain.parameters["TimeZone"].clone();
    let zones = ["Asia/Tokyo", "America/Lima", &default];
    let mut clients = [(&mut tokyo, zones[0]), (&mut lima, zones[1]), (&mut plain, zones[2])];
    for (client, zone) in &mut clients[..2] {
        client.query(&format!("SET TimeZone = '{zone}'")).ok();
        assert_eq!(client.parameters["TimeZone"], *zone);
    }
    for round in 0..5 {
        for (client, zone) in &mut clients {
            assert_eq!(client.query("SELECT current_setting('TimeZone')").value(), *zone);
            assert_eq!(client.extended("SHOW TimeZone", &[]).value(), *zone);
            let sql = "INSERT INTO t VALUES (1) RETURNING current_setting('TimeZone')";
            assert_eq!(client.query(sql).value(), *zone, "round {round}");
            // What a client has been told is still true for it.
            assert_eq!(client.parameters["TimeZone"], *zone, "round {round}");
        }
    }
    // Rolled back, so not set.
    let (client, _) = &mut clients[2];
    client.query("BEGIN; SET TimeZone = 'Europe/Oslo'").ok();
    client.query("ROLLBACK").ok();
    let (client, zone) = &mut clients[0];
    client.query("BEGIN; SET LOCAL TimeZone = 'Europe/Oslo'; COMMIT").ok();
    assert_eq!(client.query("SHOW TimeZone").value(), *zone);
    client.query("RESET TimeZone").ok();
    assert_eq!(client.query("SHOW TimeZone").value(), default);
    let (client, _) = &mut clients[2];
    assert_eq!(client.query("SHOW TimeZone").value(), default);
}

/// As above for client_encoding, seen in the bytes.
pub fn encoding_follows_its_client(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1));
    let mut latin = proxy.connect(&database);
    let mut utf8 = proxy.connect(&database);
    latin.query("SET client_encoding = 'LATIN1'").ok();
    for _ in 0..5 {
        for (client, bytes) in [(&mut latin, &b"\xe9"[..]), (&mut utf8, "é".as_bytes())] {
            client.send(&wire::query_bytes(
                &[b"SELECT '", bytes, b"', length('", bytes, b"')"].concat(),
            ));
            client.expect(b'T');
            let columns = client.expect(b'D').columns();
            assert_eq!(columns, [Some(bytes.to_vec()), Some(b"1".to_vec())]);
            assert_eq!(client.reply().shape, "CZ");
        }
    }
}

/// A notice reaches the client while the statement that raised it still runs, and so does a
/// ParameterStatus in the middle of a query string.
pub fn notice_while_running(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut holder = cluster.connect(Node::Primary, APP, &database);
    holder.query("SELECT pg_advisory_lock(1)").ok();
    let mut client = proxy.connect(&database);
    client.send(&wire::query(
        "DO $$ BEGIN RAISE NOTICE 'early'; PERFORM pg_advisory_xact_lock(1); END $$",
    ));
    let message = client.next().unwrap_or_else(|| panic!("closed"));
    assert_eq!((message.tag, &*message.fault().message), (b'N', "early"));
    holder.query("SELECT pg_advisory_unlock(1)").ok();
    assert_eq!(client.reply().shape, "CZ");
    let reply = client.query("SET DateStyle = German; SELECT DATE '2024-02-29'; RESET DateStyle");
    assert_eq!((&*reply.shape, &reply.rows[0][0]), ("CTDCCZ", &Some("29.02.2024".to_owned())));
    client.close();
}
