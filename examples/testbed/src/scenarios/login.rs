//! Who gets in, how they are asked, and what the others are told.

use tokio_postgres::error::SqlState;

use crate::cluster::{APP, CLEAR_USER, MD5_USER, SCRAM_USER, SECRET, wait_for};
use crate::raw_client::{Fault, RawClient};
use crate::{Cluster, Proxy, Scenario, drivers, wire};

/// The authentication request that a user gets first (PostgreSQL documentation, "Message
/// Formats"): 0 none, 3 clear text, 5 MD5, 10 SASL.
pub(super) fn asked(proxy: &Proxy, user: &str, database: &str) -> Result<u32, Fault> {
    let mut client = RawClient::open(&proxy.address());
    client.send(&wire::startup(wire::PROTOCOL_3_0, &[("user", user), ("database", database)]));
    let message = client.next().unwrap_or_else(|| panic!("no answer for {user}"));
    match message.tag {
        b'R' => {
            let (code, _) = message.body.split_first_chunk::<4>().expect("code");
            Ok(u32::from_be_bytes(*code))
        }
        b'E' => Err(message.fault()),
        _ => panic!("{user} was answered {message:?}"),
    }
}

pub(super) fn try_login(
    proxy: &Proxy,
    user: &str,
    password: &str,
    database: &str,
) -> Result<(), SqlState> {
    drivers::block_on(async {
        match drivers::login(proxy, user, Some(password), database).await {
            Ok(client) => {
                let rows = client.query_typed("SELECT current_user::text", &[]).await;
                assert_eq!(rows.expect("query")[0].get::<_, String>(0), user);
                // Both nodes take the same password.
                client.batch_execute("BEGIN; SELECT 1; COMMIT").await.expect("batch");
                Ok(())
            }
            Err(e) => Err(e.code().unwrap_or_else(|| panic!("no SQLSTATE: {e:?}")).clone()),
        }
    })
}

/// An unknown database and an unknown role are told apart, with the server's codes; others are
/// not disturbed.
pub fn unknown_names(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config().pool_size(1));
    let mut before = proxy.connect(&database);
    for _ in 0..3 {
        let login = |user: &str, database: &str| match RawClient::try_connect(
            &proxy.address(),
            user,
            database,
        ) {
            Ok(_) => panic!("{user} got into {database}"),
            Err(fault) => fault,
        };
        let fault = login(APP, "no_such_database");
        assert_eq!((&*fault.severity, &*fault.code), ("FATAL", "3D000"), "{fault:?}");
        let fault = login("no_such_role", &database);
        assert_eq!((&*fault.severity, &*fault.code), ("FATAL", "28000"), "{fault:?}");
    }
    assert_eq!(before.query("SELECT 'on'").value(), "on");
    before.close();
    // A database that appears later is found.
    let late = cluster.create_database();
    proxy.connect(&late).query("SELECT 1").ok();
}

/// Roles that the servers ask for a password get in with pool_passwd's secret, after they have
/// shown that they know it; a role that they trust gets in without.
pub fn every_backend_method(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let users = [SCRAM_USER, MD5_USER, CLEAR_USER];
    for prefix in ["TEXT", ""] {
        let secret = format!("{prefix}{SECRET}");
        let config = users.iter().fold(scenario.config(), |c, user| c.password(user, &secret));
        let proxy = scenario.start(cluster, &config);
        for user in users {
            let method = asked(&proxy, user, &database);
            assert!(matches!(method, Ok(3 | 5 | 10)), "{user}: {method:?}");
            for _ in 0..3 {
                assert_eq!(try_login(&proxy, user, SECRET, &database), Ok(()), "{user}");
            }
        }
        assert_eq!(asked(&proxy, SCRAM_USER, &database), Ok(10));
        assert_eq!(asked(&proxy, APP, &database), Ok(0));
        let mut psql = proxy.client_program("psql");
        psql.env("PGPASSWORD", SECRET);
        psql.args(["-X", "-A", "-t", "-U", SCRAM_USER, "-d", &database, "-c", "SELECT 'in'"]);
        assert_eq!(drivers::run(psql, ""), "in\n");
    }
    // The stored MD5 hash serves a server that asks for MD5: md5('secretmd5_user').
    let hash = cluster.value(
        crate::Node::Primary,
        "postgres",
        &format!("SELECT 'md5' || md5('{SECRET}{MD5_USER}')"),
    );
    let proxy = scenario.start(cluster, &scenario.config().password(MD5_USER, &hash));
    assert_eq!(asked(&proxy, MD5_USER, &database), Ok(5));
    assert_eq!(try_login(&proxy, MD5_USER, SECRET, &database), Ok(()));
    assert_eq!(try_login(&proxy, MD5_USER, "wrong", &database), Err(SqlState::INVALID_PASSWORD));
}

/// A wrong password is 28P01, before and after the right one has been used, and so is a right
/// one that the servers do not accept.
pub fn wrong_password(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let users = [SCRAM_USER, MD5_USER, CLEAR_USER];
    let config = users.iter().fold(scenario.config(), |c, user| c.password(user, "TEXTsecret"));
    let proxy = scenario.start(cluster, &config);
    for user in users {
        for (password, expected) in [
            ("wrong", Err(SqlState::INVALID_PASSWORD)),
            (SECRET, Ok(())),
            ("secre", Err(SqlState::INVALID_PASSWORD)),
            ("secrett", Err(SqlState::INVALID_PASSWORD)),
        ] {
            assert_eq!(try_login(&proxy, user, password, &database), expected, "{user} {password}");
        }
    }
    let stale = users.iter().fold(scenario.config(), |c, user| c.password(user, "TEXTstale"));
    let proxy = scenario.start(cluster, &stale);
    for user in users {
        let refused = try_login(&proxy, user, "stale", &database);
        assert_eq!(refused, Err(SqlState::INVALID_PASSWORD), "{user}");
    }
    // Nothing is known of these users, and the servers want a password.
    let proxy = scenario.start(cluster, &scenario.config());
    for (user, method) in [(SCRAM_USER, 10), (MD5_USER, 5)] {
        assert_eq!(asked(&proxy, user, &database), Ok(method));
        let refused = try_login(&proxy, user, SECRET, &database);
        assert_eq!(refused, Err(SqlState::INVALID_PASSWORD), "{user}");
    }
    assert_eq!(asked(&proxy, APP, &database), Ok(0));
}

/// pool_hba.conf: the first line that matches decides.
pub fn pool_hba(scenario: &Scenario) {
    const HBA: &str = "\
# TYPE DATABASE      USER        ADDRESS       METHOD
local  all           all                       trust
host   template1     app         127.0.0.1/32  reject
host   all           app         127.0.0.1/32  trust
host   all           md5_user    127.0.0.1/32  md5
host   all           clear_user  127.0.0.1/32  password
host   all           scram_user  127.0.0.0/8   scram-sha-256
host   all           scram_user  0.0.0.0/0     trust
";
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let users = [SCRAM_USER, MD5_USER, CLEAR_USER];
    let config = users.iter().fold(scenario.config(), |c, user| c.password(user, "TEXTsecret"));
    let proxy = scenario.start(cluster, &config.hba(HBA));
    for (user, method) in [(APP, 0), (MD5_USER, 5), (CLEAR_USER, 3), (SCRAM_USER, 10)] {
        assert_eq!(asked(&proxy, user, &database), Ok(method), "{user}");
    }
    for user in users {
        assert_eq!(try_login(&proxy, user, SECRET, &database), Ok(()), "{user}");
        let refused = try_login(&proxy, user, "wrong", &database);
        assert_eq!(refused, Err(SqlState::INVALID_PASSWORD), "{user}");
    }
    for (user, database) in [(APP, "template1"), ("postgres", &database)] {
        let fault = asked(&proxy, user, database).expect_err("no line lets this one in");
        assert!(fault.code.starts_with("28"), "{fault:?}");
    }
    let mut client = RawClient::connect(&proxy.socket_address(), MD5_USER, &database);
    assert_eq!(client.query("SELECT current_user").value(), MD5_USER);
}

/// The Unix socket, for a raw client and for `psql`.
pub fn unix_socket(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let mut proxy = scenario.start(cluster, &scenario.config());
    // The port takes connections first.
    wait_for("the socket takes connections", || {
        RawClient::try_open(&proxy.socket_address()).is_ok()
    });
    let mut client = RawClient::connect(&proxy.socket_address(), APP, &database);
    assert_eq!(client.query("SELECT 'socket'").value(), "socket");
    client.close();
    let mut psql = cluster.installation().client("psql");
    psql.arg("-h").arg(proxy.folder()).arg("-p").arg(proxy.port().to_string());
    psql.args(["-U", APP, "-X", "-A", "-t", "-d", &database, "-c", "SELECT 'psql'"]);
    assert_eq!(drivers::run(psql, ""), "psql\n");
    let path = crate::Address::socket_path(proxy.folder(), proxy.port());
    assert!(path.exists());
    assert!(proxy.stop().success());
    assert!(!path.exists(), "the socket file is left behind");
}

/// One client more than num_init_children waits, and is let in when another leaves.
pub fn clients_beyond_the_limit_wait(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config().clients(2));
    let first = proxy.connect(&database);
    let mut second = proxy.connect(&database);
    let mut third = RawClient::open(&proxy.address());
    let login = [("user", APP), ("database", &*database)];
    third.send(&wire::startup(wire::PROTOCOL_3_0, &login));
    // Those who are in are served meanwhile.
    for _ in 0..50 {
        assert_eq!(second.query("SELECT 'on'").value(), "on");
    }
    assert!(!third.is_readable(), "a third client was answered");
    first.close();
    third.finish_login().expect("the place that came free");
    assert_eq!(third.query("SELECT 'in'").value(), "in");
    assert_eq!(second.query("SELECT 'on'").value(), "on");
}

/// With reserved_connections, clients beyond the rest are refused with 53300 at once.
pub fn too_many_clients(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario.config().clients(3).line("reserved_connections = 1");
    let proxy = scenario.start(cluster, &config);
    let first = proxy.connect(&database);
    let mut second = proxy.connect(&database);
    for _ in 0..3 {
        match proxy.try_connect(&database) {
            Ok(_) => panic!("a third client was let in"),
            Err(fault) => assert_eq!(fault.code, "53300", "{fault:?}"),
        }
    }
    first.close();
    wait_for("a place is free", || proxy.try_connect(&database).is_ok());
    assert_eq!(second.query("SELECT 'on'").value(), "on");
}
