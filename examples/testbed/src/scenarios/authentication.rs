//! Who gets in by which method, with what the proxy and the servers know of passwords.

use std::fmt::Write as _;

use tokio_postgres::error::SqlState;

use super::login::{asked, try_login};
use super::tls;
use crate::cluster::{
    ADMIN, APP, CERT_USER, CLEAR_USER, MD5_USER, SCRAM_ROLES, SCRAM_USER, SECRET, TLS_USER,
    TRUSTED_USER, wait_for,
};
use crate::raw_client::RawClient;
use crate::{Cluster, Config, Mode, Node, Pki, Proxy, Scenario, drivers, wire};

/// What `AES` is followed by for [`SECRET`] with the key `k3y` (made by Pgpool-II's pg_enc).
const ENCRYPTED: &str = "mP/ZtaU4H21V8oJHP64QYQ==";

/// How the servers ask a role: the rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Scram,
    Md5,
    Password,
    Trust,
}

impl Server {
    const ALL: [Self; 4] = [Self::Scram, Self::Md5, Self::Password, Self::Trust];

    fn user(self) -> &'static str {
        match self {
            Self::Scram => SCRAM_USER,
            Self::Md5 => MD5_USER,
            Self::Password => CLEAR_USER,
            Self::Trust => TRUSTED_USER,
        }
    }
}

/// What the proxy knows of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Nothing,
    Md5,
    Plain,
    Encrypted,
    Verifier,
    /// What the servers have, asked for by `weir_auth_query`.
    AuthQuery,
}

/// What pool_hba.conf says; each has a database of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hba {
    Trust,
    Md5,
    Scram,
    Password,
    Reject,
    /// There is none: the client is asked what the servers ask.
    Off,
    /// There is none, and allow_clear_text_frontend_auth is on.
    OffClear,
}

impl Hba {
    const RECORDS: [Self; 5] = [Self::Trust, Self::Md5, Self::Scram, Self::Password, Self::Reject];

    fn method(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Md5 => "md5",
            Self::Scram => "scram-sha-256",
            Self::Password => "password",
            Self::Reject | Self::Off | Self::OffClear => "reject",
        }
    }
}

/// What a client is asked (the code of the request) and what the right password leads to.
type Outcome = (Option<u32>, Result<(), SqlState>);

/// The table: what is expected of each combination.
fn expected(hba: Hba, entry: Entry, server: Server) -> Outcome {
    use Entry::{AuthQuery, Encrypted, Md5, Nothing, Plain, Verifier};
    let plain = matches!(entry, Plain | Encrypted);
    // Not the client's fault: the proxy cannot answer what the servers ask.
    let unable = Err(SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    let wrong = Err(SqlState::INVALID_PASSWORD);
    let if_able = |able: bool| if able { Ok(()) } else { unable.clone() };
    match hba {
        Hba::Reject => (None, unable.clone()),
        Hba::Trust => {
            let able = match entry {
                Nothing | Verifier | AuthQuery => server == Server::Trust,
                Md5 => matches!(server, Server::Trust | Server::Md5),
                Plain | Encrypted => true,
            };
            (able.then_some(0), if_able(able))
        }
        // Whatever is not known is tried on a server.
        Hba::Password => (Some(3), Ok(())),
        Hba::Md5 => match entry {
            Nothing => (Some(5), wrong),
            Md5 => (Some(5), if_able(matches!(server, Server::Md5 | Server::Trust))),
            Plain | Encrypted => (Some(5), Ok(())),
            Verifier => (Some(10), if_able(matches!(server, Server::Scram | Server::Trust))),
            AuthQuery if server == Server::Md5 => (Some(5), Ok(())),
            AuthQuery => (Some(10), if_able(server != Server::Password)),
        },
        Hba::Scram => match entry {
            Nothing | Md5 => (Some(10), wrong),
            AuthQuery if server == Server::Md5 => (Some(10), wrong),
            _ if plain => (Some(10), Ok(())),
            _ => (Some(10), if_able(matches!(server, Server::Scram | Server::Trust))),
        },
        Hba::Off => match server {
            Server::Trust => (Some(0), Ok(())),
            Server::Password => (Some(3), Ok(())),
            Server::Scram if matches!(entry, Nothing | Md5) => (Some(10), wrong),
            Server::Scram => (Some(10), Ok(())),
            Server::Md5 if entry == Nothing => (Some(5), wrong),
            Server::Md5 if entry == Verifier => (Some(10), unable.clone()),
            Server::Md5 => (Some(5), Ok(())),
        },
        Hba::OffClear => match (server, entry) {
            (Server::Scram | Server::Md5, Nothing) => (Some(3), Ok(())),
            _ => expected(Hba::Off, entry, server),
        },
    }
}

/// Whether a wrong password is found out: not where nobody looks at it.
fn is_checked(hba: Hba, entry: Entry, server: Server) -> bool {
    match hba {
        Hba::Trust => false,
        Hba::Off | Hba::OffClear => server != Server::Trust,
        // The servers take any.
        Hba::Password => {
            server != Server::Trust || !matches!(entry, Entry::Nothing | Entry::AuthQuery)
        }
        Hba::Md5 | Hba::Scram | Hba::Reject => true,
    }
}

fn with_entries(config: Config, entry: Entry, cluster: &Cluster) -> Config {
    let sql = "SELECT rolname, rolpassword FROM pg_authid";
    let verifiers = cluster.sql(Node::Primary, "postgres", sql);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let md5 = |user: &str| {
        let sql = format!("SELECT 'md5' || md5('{SECRET}{user}')");
        cluster.value(Node::Primary, "postgres", &sql)
    };
    Server::ALL.iter().fold(config, |config, server| {
        let user = server.user();
        let of_server = || {
            let row = verifiers.iter().find(|row| text(&row[0]) == user).expect("role");
            text(&row[1])
        };
        // The MD5 role has no verifier there: that of another does not fit, but is one of SECRET.
        let verifier = || match server {
            Server::Md5 => {
                let row = verifiers.iter().find(|row| text(&row[0]) == CLEAR_USER).expect("role");
                text(&row[1])
            }
            _ => of_server(),
        };
        match entry {
            Entry::Nothing | Entry::AuthQuery => config,
            Entry::Md5 => config.password(user, &md5(user)),
            Entry::Plain => config.password(user, &format!("TEXT{SECRET}")),
            Entry::Encrypted => config.password(user, &format!("AES{ENCRYPTED}")),
            Entry::Verifier => config.password(user, &verifier()),
        }
    })
}

/// Each method of clients with each that the servers ask by, where the proxy knows nothing.
pub fn combinations_with_nothing(scenario: &Scenario) {
    every_combination(scenario, &[Entry::Nothing]);
}

/// The same, where it has, or finds, what servers keep of a password.
pub fn combinations_with_verifiers(scenario: &Scenario) {
    every_combination(scenario, &[Entry::Verifier, Entry::AuthQuery]);
}

/// The same, where it has the password, or an md5 hash.
pub fn combinations_with_passwords(scenario: &Scenario) {
    every_combination(scenario, &[Entry::Md5, Entry::Plain, Entry::Encrypted]);
}

/// Whether a combination is told from others: once it is loaded, what was encrypted is plain.
fn is_of_interest(hba: Hba, entry: Entry) -> bool {
    match hba {
        Hba::Reject => entry == Entry::Nothing,
        Hba::OffClear => matches!(entry, Entry::Nothing | Entry::Md5),
        Hba::Off => true,
        _ => entry != Entry::Encrypted,
    }
}

fn every_combination(scenario: &Scenario, entries: &[Entry]) {
    let cluster = Cluster::shared();
    let databases: Vec<String> = Hba::RECORDS.iter().map(|_| cluster.create_database()).collect();
    let records =
        Hba::RECORDS.iter().zip(&databases).fold(String::new(), |mut text, (hba, name)| {
            let _ = writeln!(text, "host {name} all all {}", hba.method());
            text
        });
    let mut faults = Vec::new();
    for &entry in entries {
        let mut base = with_entries(scenario.config(), entry, cluster);
        if entry == Entry::AuthQuery {
            base = base.line(&format!("weir_auth_user = '{ADMIN}'"));
        }
        if entry == Entry::Encrypted {
            base = base.key("k3y\n");
        }
        let mut run = |proxy: &Proxy, hba: Hba, database: &str| {
            for server in Server::ALL.into_iter().filter(|_| is_of_interest(hba, entry)) {
                let (method, result) = expected(hba, entry, server);
                let user = server.user();
                let found = asked(proxy, user, database).ok();
                let right = try_login(proxy, user, SECRET, database);
                if (found, &right) != (method, &result) {
                    faults.push(format!("{hba:?} {entry:?} {server:?}: {found:?} {right:?}"));
                }
                // Again after the right one: connections that are there now let nobody in.
                let wrong = try_login(proxy, user, "wrong", database);
                let expected =
                    if is_checked(hba, entry, server) { wrong.is_err() } else { wrong == result };
                if !expected {
                    faults.push(format!("{hba:?} {entry:?} {server:?}, wrong: {wrong:?}"));
                }
            }
        };
        if entry != Entry::Encrypted {
            let proxy = scenario.start(cluster, &base.clone().hba(&records));
            for (hba, database) in Hba::RECORDS.into_iter().zip(&databases) {
                run(&proxy, hba, database);
            }
        }
        run(&scenario.start(cluster, &base), Hba::Off, &databases[0]);
        if is_of_interest(Hba::OffClear, entry) {
            let clear = base.line("allow_clear_text_frontend_auth = on");
            run(&scenario.start(cluster, &clear), Hba::OffClear, &databases[0]);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What a client that comes by TLS is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encrypted {
    Method(Hba),
    Cert,
    /// SCRAM, with `clientcert=verify-full`.
    ScramFull,
}

impl Encrypted {
    const RECORDS: [Self; 6] = [
        Self::Method(Hba::Trust),
        Self::Method(Hba::Md5),
        Self::Method(Hba::Scram),
        Self::Method(Hba::Password),
        Self::Cert,
        Self::ScramFull,
    ];

    fn method(self) -> String {
        match self {
            Self::Method(hba) => hba.method().to_owned(),
            Self::Cert => "cert".to_owned(),
            Self::ScramFull => "scram-sha-256 clientcert=verify-full".to_owned(),
        }
    }
}

/// The table for clients by TLS, and for roles that the servers let in by TLS only, after a password
/// or by a certificate.
pub fn combinations_by_tls(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let pki = cluster.pki();
    let databases: Vec<String> =
        Encrypted::RECORDS.iter().map(|_| cluster.create_database()).collect();
    let records =
        Encrypted::RECORDS.iter().zip(&databases).fold(String::new(), |mut text, (hba, name)| {
            let _ = writeln!(text, "hostssl {name} all all {}", hba.method());
            text
        });
    let verifier = cluster.value(
        Node::Primary,
        "postgres",
        &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{TLS_USER}'"),
    );
    let refused = Err(SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    let mut faults = Vec::new();
    for entry in [Entry::Nothing, Entry::Plain, Entry::Verifier, Entry::AuthQuery] {
        let base = tls::encrypted(scenario.config(), pki)
            .hba(&records)
            .line(&format!("ssl_ca_cert = '{}'", tls::text(&pki.certificate("root"))))
            .line("weir_server_tls_mode = require")
            .line(&format!("weir_server_tls_cert = '{}'", tls::text(&pki.certificate("cert_user"))))
            .line(&format!("weir_server_tls_key = '{}'", tls::text(&pki.key("cert_user"))));
        let config = match entry {
            Entry::Plain => base.password(TLS_USER, "TEXTsecret").password(CERT_USER, "TEXTsecret"),
            Entry::Verifier => base.password(TLS_USER, &verifier).password(CERT_USER, &verifier),
            Entry::AuthQuery => base.line(&format!("weir_auth_user = '{ADMIN}'")),
            _ => base,
        };
        let proxy = scenario.start(cluster, &config);
        for (hba, database) in Encrypted::RECORDS.into_iter().zip(&databases) {
            for user in [TLS_USER, CERT_USER] {
                // A server that looks at the proxy's certificate takes any password, if the proxy
                // does; but not one that the proxy leaves to it, nor is there one to be asked for.
                let by_certificate = user == CERT_USER;
                let of_method = |hba| match (hba, entry) {
                    (Hba::Password, Entry::Nothing | Entry::AuthQuery) if by_certificate => {
                        refused.clone()
                    }
                    (Hba::Md5 | Hba::Scram, Entry::AuthQuery) if by_certificate => {
                        Err(SqlState::INVALID_PASSWORD)
                    }
                    _ if by_certificate => expected(hba, entry, Server::Trust).1,
                    _ => expected(hba, entry, Server::Scram).1,
                };
                let result = match hba {
                    Encrypted::Method(hba) => of_method(hba),
                    Encrypted::ScramFull => of_method(Hba::Scram),
                    // Nobody has shown a password: as with `trust`.
                    Encrypted::Cert => of_method(Hba::Trust),
                };
                // Also where the proxy knows no password, and only pretends.
                let bound = matches!(hba, Encrypted::Method(Hba::Scram) | Encrypted::ScramFull);
                // `asked` comes in clear, which no record is for.
                let in_clear = asked(&proxy, user, database).err().map(|fault| fault.code);
                let right = by_tls(&proxy, pki, user, SECRET, database, bound);
                if right != result || in_clear.as_deref() != Some("28000") {
                    faults.push(format!("{hba:?} {entry:?} {user}: {right:?} {in_clear:?}"));
                }
                let is_checked = !matches!(hba, Encrypted::Method(Hba::Trust) | Encrypted::Cert);
                if is_checked && result.is_ok() {
                    let wrong = by_tls(&proxy, pki, user, "wrong", database, bound);
                    if wrong != Err(SqlState::INVALID_PASSWORD) {
                        faults.push(format!("{hba:?} {entry:?} {user}, wrong: {wrong:?}"));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A login of psql by TLS with the role's own certificate; with `bound`, by SCRAM that is bound to
/// the proxy's.
fn by_tls(
    proxy: &Proxy,
    pki: &Pki,
    user: &str,
    password: &str,
    database: &str,
    bound: bool,
) -> Result<(), SqlState> {
    let (certificate, key) = (tls::text(&pki.certificate(user)), tls::text(&pki.key(user)));
    let environment = [
        ("PGSSLMODE", "require"),
        ("PGSSLCERT", &*certificate),
        ("PGSSLKEY", &*key),
        ("PGPASSWORD", password),
        ("PGCHANNELBINDING", if bound { "require" } else { "prefer" }),
    ];
    let output = tls::psql(proxy, user, database, &environment).output();
    let output = output.unwrap_or_else(|e| panic!("psql: {e}"));
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else if told.contains("password authentication failed for user") {
        Err(SqlState::INVALID_PASSWORD)
    } else {
        Err(SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    }
}

/// With weir_auth_user no role has to be made known to the proxy: what the servers say of it holds
/// at once.
pub fn roles_of_the_servers(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario.config().line(&format!("weir_auth_user = '{ADMIN}'"));
    let proxy = scenario.start(cluster, &config.hba("host all all all scram-sha-256\n"));
    let sql = |sql: &str| {
        cluster.sql(Node::Primary, "postgres", sql);
        cluster.wait_replayed();
    };
    let refused = Err(SqlState::INVALID_PASSWORD);
    let tag = format!("{:?}", scenario.mode()).to_lowercase();
    for name in [format!("fresh_{tag}"), format!("o'dd \"na\\me {tag}")] {
        let login = |password: &str| try_login(&proxy, &name, password, &database);
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        assert_eq!(login("first"), refused, "there is no such role");
        assert_eq!(asked(&proxy, &name, &database), Ok(10));
        sql(&format!("CREATE ROLE {quoted} LOGIN PASSWORD 'first' IN ROLE {SCRAM_ROLES}"));
        assert_eq!(login("first"), Ok(()));
        assert_eq!(login("other"), refused);
        sql(&format!("ALTER ROLE {quoted} PASSWORD 'second'"));
        assert_eq!(login("first"), refused);
        assert_eq!(login("second"), Ok(()));
        sql(&format!("ALTER ROLE {quoted} VALID UNTIL '2020-01-01'"));
        assert_eq!(login("second"), refused, "expired");
        sql(&format!("ALTER ROLE {quoted} VALID UNTIL 'infinity'"));
        assert_eq!(login("second"), Ok(()));
        sql(&format!("ALTER ROLE {quoted} NOLOGIN"));
        assert_eq!(login("second"), refused);
        sql(&format!("ALTER ROLE {quoted} LOGIN PASSWORD NULL"));
        assert_eq!(login("second"), refused);
        sql(&format!("DROP ROLE {quoted}"));
        assert_eq!(login("second"), refused);
    }
    // Nobody's name is part of the query.
    let injection = "x' UNION SELECT 'postgres', NULL --";
    assert_eq!(try_login(&proxy, injection, "x", &database), refused);
    // Nothing of the client gets to the connection on which its password is asked for.
    let mut client = RawClient::open(&proxy.address());
    client.send(&wire::startup(
        wire::PROTOCOL_3_0,
        &[("user", SCRAM_USER), ("database", &database), ("search_path", "evil, pg_catalog")],
    ));
    assert_eq!(client.expect(b'R').body[..4], [0, 0, 0, 10]);
    let text = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgweir' \
                AND usename = 'postgres' AND datname = 'postgres' AND query LIKE '%pg_shadow%'";
    assert_ne!(cluster.value(Node::Primary, "postgres", text), "0");
}

/// The role that asks may have its own password in a setting. A wrong one is its fault, not that of
/// the roles that it is to ask for.
pub fn who_asks_has_a_password(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let tag = format!("asks_{:?}", scenario.mode()).to_lowercase();
    cluster.sql(
        Node::Primary,
        "postgres",
        &format!("CREATE ROLE {tag} LOGIN SUPERUSER PASSWORD 'own' IN ROLE {SCRAM_ROLES}"),
    );
    cluster.wait_replayed();
    for (user, password) in
        [("weir_auth_user", "weir_auth_password"), ("sr_check_user", "sr_check_password")]
    {
        for (own, outcome) in [("own", Ok(())), ("TEXTown", Ok(())), ("wrong", Err(()))] {
            let config = scenario
                .config()
                .hba("host all all all scram-sha-256\n")
                .line(&format!("{user} = '{tag}'"))
                .line(&format!("{password} = '{own}'"));
            let proxy = scenario.start(cluster, &config);
            let login = try_login(&proxy, SCRAM_USER, SECRET, &database);
            assert_eq!(login.map_err(|_| ()), outcome, "{user} {own}: {}", proxy.log());
        }
    }
}

/// A client that was let in with the old password is served on, by connections that are made with
/// the new one as soon as anybody has shown that.
pub fn changed_passwords(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario.config().line(&format!("weir_auth_user = '{ADMIN}'"));
    let proxy = scenario.start(cluster, &config);
    let role = format!("changing_{:?}", scenario.mode()).to_lowercase();
    cluster.sql(
        Node::Primary,
        "postgres",
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'first' IN ROLE {SCRAM_ROLES}"),
    );
    cluster.wait_replayed();
    drivers::block_on(async {
        let old = drivers::login(&proxy, &role, Some("first"), &database).await.expect("login");
        old.simple_query("SELECT 1").await.expect("query");
        let change = format!("ALTER ROLE {role} PASSWORD 'second'");
        cluster.sql(Node::Primary, "postgres", &change);
        cluster.wait_replayed();
        let new = drivers::login(&proxy, &role, Some("second"), &database).await.expect("login");
        new.simple_query("SELECT 1").await.expect("query");
        old.simple_query("SELECT 1").await.expect("query");
        if scenario.mode() == Mode::Transaction {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
            );
            for node in Node::ALL {
                cluster.sql(node, "postgres", &end);
            }
            for node in Node::ALL {
                cluster.wait_for_sessions(node, &database, &format!("usename = '{role}'"), 0);
            }
            // The first may still be given a connection that has just died.
            let mut served = false;
            for _ in 0..20 {
                served |= old.simple_query("BEGIN; SELECT 1; COMMIT").await.is_ok();
            }
            assert!(served, "the old client is not served any more");
            new.simple_query("BEGIN; SELECT 1; COMMIT").await.expect("query");
        }
    });
}

/// Who has failed waits for the answer, and does not hold a place meanwhile.
pub fn failed_logins_wait(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario
        .config()
        .clients(1)
        .password(CLEAR_USER, "TEXTsecret")
        .line("weir_auth_failure_delay = 1h");
    let proxy = scenario.start(cluster, &config);
    let login = [("user", CLEAR_USER), ("database", &*database)];
    let mut failing: Vec<RawClient> = (0..3)
        .map(|_| {
            let mut client = RawClient::open(&proxy.address());
            client.send(&wire::startup(wire::PROTOCOL_3_0, &login));
            client.expect(b'R');
            client.send(&wire::message(b'p', b"wrong\0"));
            client
        })
        .collect();
    for _ in 0..3 {
        proxy.connect(&database).close();
    }
    for client in &failing {
        assert!(!client.is_readable(), "a failed client was answered at once");
    }
    // Nor do they hold up the end.
    proxy.signal("INT");
    for client in &mut failing {
        let fault = client.closed();
        assert!(fault.is_none_or(|fault| fault.code == "57P01"));
    }
}

/// A certificate, its key, encrypted, and the passphrase of that.
const CERTIFICATE: &str = include_str!("../../../../pool-router/src/tls/tests/files/version_3.pem");
const KEY: &str = include_str!("../../../../pool-router/src/tls/tests/files/encrypted_key.pem");
const PASSPHRASE: &str = "opensesame";

/// No password, hash, verifier or key is in the log, however much of it there is, nor in errors.
pub fn secrets_stay_secret(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let md5 = cluster.value(
        Node::Primary,
        "postgres",
        &format!("SELECT 'md5' || md5('{SECRET}{MD5_USER}')"),
    );
    cluster.sql(
        Node::Primary,
        "postgres",
        &format!(
            "CREATE ROLE planted LOGIN PASSWORD 'pl4nted-by-query' IN ROLE {SCRAM_ROLES};
             CREATE ROLE planted_clear LOGIN PASSWORD 'pl4nted-in-clear' IN ROLE {SCRAM_ROLES}"
        ),
    );
    cluster.wait_replayed();
    let verifier = cluster.value(
        Node::Primary,
        "postgres",
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'planted'",
    );
    let folder = cluster.create_folder("secrets").expect("a folder");
    let put = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("a file");
        tls::text(&folder.join(name))
    };
    let config = scenario
        .config()
        .hba("host all planted_clear all password\nhost all all all scram-sha-256\n")
        .line(&format!("weir_auth_user = '{ADMIN}'"))
        .line("weir_auth_password = 'pl4nted-auth'")
        .line("sr_check_password = 'pl4nted-check'")
        .line("ssl = on")
        .line(&format!("ssl_cert = '{}'", put("tls.crt", CERTIFICATE)))
        .line(&format!("ssl_key = '{}'", put("tls.key", KEY)))
        .line(&format!("ssl_passphrase_command = 'cat {}'", put("phrase", PASSPHRASE)))
        .line("log_min_messages = debug5")
        .line("log_connections = on")
        .line("log_statement = on")
        .key("pl4nted-key\n")
        .password(ADMIN, "TEXTpl4nted-admin")
        .password(SCRAM_USER, "pl4nted-not-the-servers")
        .password(MD5_USER, &md5)
        .password("other", "TEXTpl4nted-other");
    let mut proxy = scenario.start(cluster, &config);
    let mut told = String::new();
    for (user, password) in [
        ("planted", "pl4nted-by-query"),
        ("planted", "pl4nted-typed-wrong"),
        ("planted_clear", "pl4nted-in-clear"),
        ("planted_clear", "pl4nted-clear-wrong"),
        (SCRAM_USER, "pl4nted-not-the-servers"),
        (SCRAM_USER, "pl4nted-typed-wrong"),
        (MD5_USER, SECRET),
        ("nobody", "pl4nted-typed-wrong"),
        ("other", "pl4nted-other"),
        (APP, "pl4nted-typed-wrong"),
    ] {
        drivers::block_on(async {
            match drivers::login(&proxy, user, Some(password), &database).await {
                Ok(client) => {
                    let _ = client.simple_query("SELECT 1").await;
                }
                Err(error) => {
                    let _ = writeln!(told, "{error:?}");
                }
            }
        });
    }
    let by_tls = [("PGSSLMODE", "require"), ("PGPASSWORD", "pl4nted-by-query")];
    let psql = tls::psql(&proxy, "planted", &database, &by_tls);
    assert_eq!(drivers::run(psql, ""), "in\n");
    proxy.signal("HUP");
    wait_for("a reload", || proxy.log().contains("the configuration was reloaded"));
    proxy.stop();
    let log = proxy.log();
    assert!(log.contains("planted"), "the log is there: {log}");
    let keys = verifier.split(['$', ':']).filter(|part| part.len() > 20);
    let key = KEY.lines().filter(|line| line.len() > 20 && !line.starts_with('-'));
    let fixed = ["pl4nted", &md5[3..], PASSPHRASE];
    let secrets: Vec<&str> = fixed.into_iter().chain(keys).chain(key).collect();
    assert!(secrets.len() > 8, "{verifier}");
    for secret in secrets {
        for (place, text) in [("log", &log), ("errors", &told)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in the {place}");
        }
    }
}
