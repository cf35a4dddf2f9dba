//! TLS, with clients and with servers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::cluster::{
    APP, CERT_USER, CLEAR_USER, SCRAM_USER, SECRET, TLS_USER, TRUSTED_USER, wait_for,
};
use crate::proxy::Mode;
use crate::raw_client::{Fault, RawClient};
use crate::{Cluster, Config, Node, Pki, Proxy, Scenario, drivers, wire};

/// TLS with clients, by certificate `proxy`.
pub(super) fn encrypted(config: Config, pki: &Pki) -> Config {
    config
        .line("ssl = on")
        .line(&format!("ssl_cert = '{}'", pki.certificate("proxy").display()))
        .line(&format!("ssl_key = '{}'", pki.key("proxy").display()))
}

pub(super) fn psql(
    proxy: &Proxy,
    user: &str,
    database: &str,
    environment: &[(&str, &str)],
) -> Command {
    let mut psql = proxy.client_program("psql");
    psql.args(["-X", "-A", "-t", "-U", user, "-d", database, "-c", "SELECT 'in'"]);
    // Nothing of the account's own takes part.
    psql.env("HOME", "/nonexistent").envs(environment.iter().copied());
    psql
}

/// What psql says when it must fail.
fn refused(mut psql: Command) -> String {
    let output = psql.output().unwrap_or_else(|e| panic!("psql: {e}"));
    assert!(!output.status.success(), "{psql:?} got in");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Whether the session that serves a client is encrypted, as its server sees it.
fn is_encrypted(client: &mut RawClient) -> String {
    client.query("SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").value()
}

/// psql with every sslmode, and with its login bound to the certificate.
pub fn psql_sslmodes(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let pki = cluster.pki();
    let config = encrypted(scenario.config(), pki).password(SCRAM_USER, "TEXTsecret");
    let proxy = scenario.start(cluster, &config);
    let (root, other) = (text(&pki.certificate("root")), text(&pki.certificate("other")));
    for mode in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
        let root = if mode.starts_with("verify") { &*root } else { "/nonexistent" };
        let environment = [("PGSSLMODE", mode), ("PGSSLROOTCERT", root)];
        assert_eq!(drivers::run(psql(&proxy, APP, &database, &environment), ""), "in\n", "{mode}");
    }
    let wrong = [("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &*other)];
    let told = refused(psql(&proxy, APP, &database, &wrong));
    assert!(told.contains("certificate verify failed"), "{told}");
    let bound =
        |mode| [("PGSSLMODE", mode), ("PGCHANNELBINDING", "require"), ("PGPASSWORD", SECRET)];
    let command = psql(&proxy, SCRAM_USER, &database, &bound("require"));
    assert_eq!(drivers::run(command, ""), "in\n");
    let told = refused(psql(&proxy, SCRAM_USER, &database, &bound("disable")));
    assert!(told.contains("channel binding"), "{told}");
}

/// `ssl = on` alone: a certificate that can be used and not verified.
pub fn self_signed_certificate(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario.config().line("ssl = on").password(SCRAM_USER, "TEXTsecret");
    let proxy = scenario.start(cluster, &config);
    let bound = [("PGSSLMODE", "require"), ("PGCHANNELBINDING", "require"), ("PGPASSWORD", SECRET)];
    assert_eq!(drivers::run(psql(&proxy, SCRAM_USER, &database, &bound), ""), "in\n");
    let root = text(&cluster.pki().certificate("root"));
    let verified = [("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &*root)];
    let told = refused(psql(&proxy, APP, &database, &verified));
    assert!(told.contains("certificate verify failed"), "{told}");
    // As in Pgpool-II, servers are asked for TLS as well.
    let mut client = proxy.connect(&database);
    assert_eq!(is_encrypted(&mut client), "true");
    assert!(proxy.log().contains("self-signed"), "{}", proxy.log());
}

/// hostssl and hostnossl lines.
pub fn hba_sees_the_truth(scenario: &Scenario) {
    const HBA: &str = "\
local     all  all                trust
hostssl   all  app  samenet       trust
hostnossl all  postgres  127.0.0.1/32  trust
";
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &encrypted(scenario.config(), cluster.pki()).hba(HBA));
    for (user, mode, works) in [
        (APP, "require", true),
        (APP, "disable", false),
        ("postgres", "require", false),
        ("postgres", "disable", true),
    ] {
        let command = psql(&proxy, user, &database, &[("PGSSLMODE", mode)]);
        if works {
            assert_eq!(drivers::run(command, ""), "in\n", "{user} {mode}");
            continue;
        }
        let told = refused(command);
        let expected = if mode == "require" { "SSL encryption" } else { "no encryption" };
        assert!(told.contains("no pool_hba.conf entry") && told.contains(expected), "{told}");
    }
    // A Unix socket has no TLS to offer, and needs none.
    let mut client = RawClient::open(&proxy.socket_address());
    client.send(&wire::untagged(wire::SSL_REQUEST, &[]));
    assert_eq!(client.byte(), Some(b'N'));
}

/// The certificate is the password, if it is good and the role's own.
pub fn client_certificates(scenario: &Scenario) {
    const HBA: &str = "hostssl all all 127.0.0.1/32 cert\n";
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let pki = cluster.pki();
    let config = encrypted(scenario.config(), pki)
        .hba(HBA)
        .line("weir_server_tls_mode = disable")
        .line(&format!("ssl_ca_cert = '{}'", pki.certificate("root").display()))
        .line(&format!("ssl_crl_file = '{}'", pki.revocations().display()));
    let proxy = scenario.start(cluster, &config);
    let command = |user: &str, name: &str| {
        let (certificate, key) = (text(&pki.certificate(name)), text(&pki.key(name)));
        let environment =
            [("PGSSLMODE", "require"), ("PGSSLCERT", &*certificate), ("PGSSLKEY", &*key)];
        psql(&proxy, user, &database, &environment)
    };
    assert_eq!(drivers::run(command(APP, "app"), ""), "in\n");
    let told = refused(command("postgres", "app"));
    assert!(told.contains("certificate authentication failed for user \"postgres\""), "{told}");
    let told = refused(psql(&proxy, APP, &database, &[("PGSSLMODE", "require")]));
    assert!(told.contains("connection requires a valid client certificate"), "{told}");
    for (name, logged) in
        [("expired", "expired"), ("revoked", "Revoked"), ("foreign", "UnknownIssuer")]
    {
        refused(command(APP, name));
        wait_for(logged, || proxy.log().contains(logged));
    }
    assert_eq!(drivers::run(command(APP, "app"), ""), "in\n");
}

/// What is demanded beside the method: a certificate of a known authority, or the role's own.
pub fn certificates_beside_passwords(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let pki = cluster.pki();
    let hba = format!(
        "hostssl all {CLEAR_USER}   127.0.0.1/32 password clientcert=verify-ca\n\
         hostssl all {SCRAM_USER}   127.0.0.1/32 scram-sha-256 clientcert=verify-full\n\
         hostssl all {TRUSTED_USER} 127.0.0.1/32 trust clientcert=verify-full\n\
         hostssl all {TLS_USER}     127.0.0.1/32 scram-sha-256 clientcert=verify-full\n\
         hostssl all {APP}          127.0.0.1/32 cert map=certificates\n"
    );
    let base = encrypted(scenario.config(), pki)
        .hba(&hba)
        .maps(&format!("certificates \"/^(.*)_user$\" {APP}\n"))
        .password(SCRAM_USER, "TEXTsecret")
        .password(TLS_USER, "TEXTsecret");
    let root = format!("ssl_ca_cert = '{}'", text(&pki.certificate("root")));
    let proxy = scenario.start(cluster, &base.clone().line(&root));
    let told = |user: &str, name: &str, password: &str| {
        let (certificate, key) = (text(&pki.certificate(name)), text(&pki.key(name)));
        let environment = [
            ("PGSSLMODE", "require"),
            ("PGSSLCERT", &*certificate),
            ("PGSSLKEY", &*key),
            ("PGPASSWORD", password),
        ];
        let output = psql(&proxy, user, &database, &environment).output().expect("psql");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { "in".to_owned() } else { said }
    };
    let none = "connection requires a valid client certificate";
    let wrong = |user: &str| format!("password authentication failed for user \"{user}\"");
    for (user, name, password, expected) in [
        (CLEAR_USER, "app", SECRET, "in".to_owned()),
        (CLEAR_USER, "app", "wrong", wrong(CLEAR_USER)),
        (CLEAR_USER, "nobody", SECRET, none.to_owned()),
        (TLS_USER, "tls_user", SECRET, "in".to_owned()),
        (TLS_USER, "tls_user", "wrong", wrong(TLS_USER)),
        // The same words as for a wrong password, as in PostgreSQL.
        (SCRAM_USER, "app", SECRET, wrong(SCRAM_USER)),
        (SCRAM_USER, "nobody", SECRET, none.to_owned()),
        (TRUSTED_USER, "app", "", "\"trust\" authentication failed for user".to_owned()),
        (TRUSTED_USER, "nobody", "", none.to_owned()),
        (APP, "tls_user", "", "in".to_owned()),
        (APP, "app", "", format!("certificate authentication failed for user \"{APP}\"")),
    ] {
        let said = told(user, name, password);
        assert!(said.contains(&expected), "{user} by {name}: {said}");
    }
    // Without an authority there is nothing to check them against.
    let proxy = scenario.start(cluster, &base);
    let command = psql(&proxy, CLEAR_USER, &database, &[("PGSSLMODE", "require")]);
    let told = refused(command);
    assert!(told.contains("if a root certificate store is available"), "{told}");
    assert!(proxy.log().contains("this record demands client certificates"), "{}", proxy.log());
}

/// Refusals for want of TLS or of a certificate are those of PostgreSQL: the same alert, or the same
/// code and words.
pub fn refusals_are_postgresqls(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let pki = cluster.pki();
    let own = format!("weir_server_tls_cert = '{}'", text(&pki.certificate("cert_user")));
    let config = encrypted(scenario.config(), pki)
        // As in the servers' own file.
        .hba("hostssl all cert_user 127.0.0.1/32 cert\nhost all cert_user 127.0.0.1/32 reject\n")
        .line(&own)
        .line(&format!("weir_server_tls_key = '{}'", text(&pki.key("cert_user"))))
        .line(&format!("ssl_ca_cert = '{}'", text(&pki.certificate("root"))));
    let proxy = scenario.start(cluster, &config);
    let hello = wire::startup(wire::PROTOCOL_3_0, &[("user", CERT_USER), ("database", &database)]);
    let both = [cluster.address(Node::Primary), proxy.address()];
    for (name, expected) in [
        (Some("cert_user"), None),
        (Some("app"), Some("certificate authentication failed for user \"cert_user\"")),
        (None, Some("connection requires a valid client certificate")),
    ] {
        let [of_server, of_proxy] = both.each_ref().map(|address| {
            let mut client = RawClient::encrypted_as(address, pki, name).expect("TLS");
            client.send(&hello);
            client.finish_login().map(|_| ()).map_err(|fault| (fault.code, fault.message))
        });
        assert_eq!(of_proxy, of_server, "{name:?}");
        let expected = expected.map(|text| ("28000".to_owned(), text.to_owned()));
        assert_eq!(of_proxy.err(), expected, "{name:?}");
    }
    let [of_server, of_proxy] = both.each_ref().map(|address| {
        let fault = RawClient::try_connect(address, CERT_USER, &database).err().expect("in clear");
        (fault.code, fault.message.replace("pool_hba.conf", "pg_hba.conf"))
    });
    assert_eq!(of_proxy, of_server);
    assert!(of_proxy.0 == "28000" && of_proxy.1.contains("no encryption"), "{of_proxy:?}");
    for (name, alert) in [("expired", "CertificateExpired"), ("foreign", "UnknownCA")] {
        let [of_server, of_proxy] = both.each_ref().map(|address| {
            match RawClient::encrypted_as(address, pki, Some(name)) {
                Err(error) => error.to_string(),
                // Nothing is sent: it would cross the alert.
                Ok(mut client) => {
                    assert_eq!(client.byte(), None, "{name} was taken");
                    client.broken.expect("an alert")
                }
            }
        });
        assert_eq!(of_proxy, of_server, "{name}");
        assert!(of_proxy.contains(alert), "{of_proxy}");
    }
    // No record at all, which is what `hostssl` lines alone are for a client in clear.
    let fault = RawClient::try_connect(&proxy.address(), APP, &database).err().expect("no record");
    let expected = format!(
        "no pool_hba.conf entry for host \"127.0.0.1\", user \"{APP}\", database \"{database}\", \
         no encryption"
    );
    assert_eq!((&*fault.severity, &*fault.code, fault.message), ("FATAL", "28000", expected));
}

/// Servers that let a role in by TLS only, and by a certificate only.
pub fn servers_that_insist(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let pki = cluster.pki();
    let with = |lines: &[&str]| {
        let config = scenario.config().password(TLS_USER, "TEXTsecret");
        scenario.start(cluster, &lines.iter().fold(config, |config, line| config.line(line)))
    };
    let login = |proxy: &Proxy, user: &str| -> Result<String, Fault> {
        let password = (user == TLS_USER).then_some(SECRET);
        drivers::block_on(async {
            let client = drivers::login(proxy, user, password, &database).await;
            let client = client.map_err(|error| Fault {
                code: error.code().map(|code| code.code().to_owned()).unwrap_or_default(),
                message: format!("{error:?}"),
                ..Fault::default()
            })?;
            let sql = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            Ok(client.query_typed(sql, &[]).await.expect("query")[0].get::<_, String>(0))
        })
    };
    let proxy = with(&[]);
    let fault = login(&proxy, TLS_USER).expect_err("in clear");
    assert!(fault.code == "28000" && fault.message.contains("no encryption"), "{fault:?}");
    for mode in ["prefer", "require"] {
        let proxy = with(&[&format!("weir_server_tls_mode = {mode}")]);
        // SCRAM-SHA-256-PLUS, which a wrong hash of the certificate would fail.
        assert_eq!(login(&proxy, TLS_USER).expect(mode), "true");
        assert_eq!(login(&proxy, APP).expect(mode), "true");
        let fault = login(&proxy, CERT_USER).expect_err("without a certificate");
        assert!(fault.message.contains("valid client certificate"), "{fault:?}");
    }
    let own = |name: &str| {
        [
            "weir_server_tls_mode = require".to_owned(),
            format!("weir_server_tls_cert = '{}'", pki.certificate(name).display()),
            format!("weir_server_tls_key = '{}'", pki.key(name).display()),
        ]
    };
    let certified = |name: &str| {
        let config = own(name).iter().fold(scenario.config(), |config, line| config.line(line));
        scenario.start(cluster, &config.hba("host all all 127.0.0.1/32 trust\n"))
    };
    // The certificate shows who the proxy is. Who the client is pool_hba.conf must say.
    let fault = login(&with(&own("cert_user").each_ref().map(String::as_str)), CERT_USER);
    let fault = fault.expect_err("let in by the proxy's certificate");
    assert_eq!(fault.code, "28000", "{fault:?}");
    assert_eq!(login(&certified("cert_user"), CERT_USER).expect("certificate"), "true");
    let fault = login(&certified("app"), CERT_USER).expect_err("another's certificate");
    assert_eq!(fault.code, "28000", "{fault:?}");
    let fault = login(&certified("foreign"), APP).expect_err("a certificate of nobody known");
    assert!(fault.message.contains("TLS handshake failed"), "{fault:?}");
}

/// verify-ca and verify-full.
pub fn servers_verified(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let pki = cluster.pki();
    let with = |mode: &str, root: &str, host: &str| {
        let config = scenario
            .config()
            .line(&format!("weir_server_tls_mode = {mode}"))
            .line(&format!("weir_server_tls_ca_file = '{}'", pki.certificate(root).display()))
            .line(&format!("backend_hostname0 = '{host}'"))
            .line(&format!("backend_hostname1 = '{host}'"));
        scenario.start(cluster, &config)
    };
    for mode in ["verify-ca", "verify-full"] {
        let proxy = with(mode, "root", "127.0.0.1");
        assert_eq!(is_encrypted(&mut proxy.connect(&database)), "true");
        let proxy = with(mode, "other", "127.0.0.1");
        let fault = proxy.try_connect(&database).err().expect("another authority");
        assert_eq!(fault.code, "08001", "{fault:?}");
        assert!(fault.message.contains("UnknownIssuer"), "{fault:?}");
    }
    // Another name of this host, for which the certificate is not.
    let proxy = with("verify-ca", "root", "0.0.0.0");
    assert_eq!(is_encrypted(&mut proxy.connect(&database)), "true");
    let proxy = with("verify-full", "root", "0.0.0.0");
    let fault = proxy.try_connect(&database).err().expect("another name");
    assert!(fault.message.contains("not valid for name"), "{fault:?}");
}

/// What stands behind an SSLRequest in clear is not looked at, and ends the connection
/// (CVE-2021-23214).
pub fn data_in_clear_from_clients(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let login = wire::startup(wire::PROTOCOL_3_0, &[("user", APP), ("database", &database)]);
    for config in [encrypted(scenario.config(), cluster.pki()), scenario.config()] {
        let proxy = scenario.start(cluster, &config);
        for request in [wire::SSL_REQUEST, wire::GSSENC_REQUEST] {
            let mut client = RawClient::open(&proxy.address());
            client.send(&[&wire::untagged(request, &[])[..], &login].concat());
            assert_eq!(client.byte(), None, "an answer to {request}");
        }
    }
    // Behind the answer it is taken for TLS, and is none.
    let proxy = scenario.start(cluster, &encrypted(scenario.config(), cluster.pki()));
    let mut client = RawClient::open(&proxy.address());
    client.send(&wire::untagged(wire::SSL_REQUEST, &[]));
    assert_eq!(client.byte(), Some(b'S'));
    client.send(&login);
    let mut rest = Vec::new();
    while let Some(byte) = client.byte() {
        rest.push(byte);
    }
    // An alert at the most (RFC 8446, 6).
    assert!(rest.is_empty() || rest.first() == Some(&0x15), "{rest:?}");
    // A second request within TLS is no request.
    let mut client = RawClient::open(&proxy.address());
    client.send(&wire::untagged(wire::SSL_REQUEST, &[]));
    assert_eq!(client.byte(), Some(b'S'));
    let mut client = client.encrypt("").expect("TLS");
    client.send(&wire::untagged(wire::SSL_REQUEST, &[]));
    assert_eq!(client.byte(), None);
    RawClient::connect_encrypted(&proxy.address(), APP, &database).close();
}

/// The same from a server (CVE-2021-23222), and an error in clear, whose words are nobody's
/// (CVE-2024-10977).
pub fn data_in_clear_from_servers(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let fatal = b"E\0\0\0\x2aSFATAL\0C28000\0Mplease send your money\0\0";
    let ready = b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    for answer in [&fatal[..], &ready[..]] {
        let impostor = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = impostor.local_addr().expect("its address").port();
        let answer = answer.to_vec();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut served = Vec::new();
            while let Ok((mut stream, _)) = impostor.accept() {
                if stopped.try_recv().is_ok() {
                    break;
                }
                let mut request = [0; 8];
                // Whoever has gone already is not answered.
                if stream.read_exact(&mut request).is_ok() && stream.write_all(&answer).is_ok() {
                    served.push(request);
                    let mut more = Vec::new();
                    let _ = stream.read_to_end(&mut more);
                    assert_eq!(more, b"", "said after the answer");
                }
            }
            served
        });
        let mut config = scenario.config().line("weir_server_tls_mode = prefer");
        for node in 0..2 {
            config = config.line(&format!("backend_port{node} = {port}"));
        }
        let proxy = scenario.start(cluster, &config);
        let fault = proxy.try_connect("postgres").err().expect("an impostor was believed");
        assert!(!fault.message.contains("money"), "{fault:?}");
        assert_eq!(fault.code, "08001", "{fault:?}");
        drop(proxy);
        stop.send(()).expect("the impostor");
        drop(std::net::TcpStream::connect(("127.0.0.1", port)));
        let served = thread.join().expect("the impostor");
        assert!(served.iter().all(|request| *request == *wire::untagged(wire::SSL_REQUEST, &[])));
        assert!(!served.is_empty());
    }
}

/// TLS from the first byte, which takes ALPN `postgresql`.
pub fn direct(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &encrypted(scenario.config(), cluster.pki()));
    let login = wire::startup(wire::PROTOCOL_3_0, &[("user", APP), ("database", &database)]);
    let mut client = RawClient::open(&proxy.address()).encrypt("postgresql").expect("TLS");
    client.send(&login);
    client.finish_login().expect("login");
    assert_eq!(client.query("SELECT 'direct'").value(), "direct");
    client.close();
    // By the handshake, or right after it.
    for protocol in ["", "http/1.1"] {
        if let Ok(mut client) = RawClient::open(&proxy.address()).encrypt(protocol) {
            client.send(&login);
            assert_eq!(client.byte(), None, "{protocol:?} was served");
        }
    }
    // Without TLS, or on a Unix socket, there is nothing to begin.
    let proxy = scenario.start(cluster, &scenario.config());
    assert!(RawClient::open(&proxy.address()).encrypt("postgresql").is_err());
    proxy.connect(&database).close();
}

/// 100 MB from an encrypted server to an encrypted client that reads none of it at first: the proxy
/// holds its buffers and no more, and every byte arrives.
pub fn slow_reader(scenario: &Scenario) {
    const BOUND: u64 = 64 * 1024 * 1024;
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &encrypted(scenario.config(), cluster.pki()));
    let mut slow = RawClient::connect_encrypted(&proxy.address(), APP, &database);
    assert_eq!(is_encrypted(&mut slow), "true");
    slow.send(&wire::query(
        "SELECT repeat(chr(97 + i % 26), 1000000) FROM generate_series(0, 99) i",
    ));
    slow.expect(b'T');
    let stalled = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = '{database}' AND wait_event = 'ClientWrite'"
    );
    let mut watchers = Node::ALL.map(|node| cluster.connect(node, "postgres", "postgres"));
    let mut in_a_row = 0;
    wait_for("the server waits for its reader", || {
        let waiting = watchers.iter_mut().any(|w| w.query(&stalled).value() == "1");
        in_a_row = if waiting { in_a_row + 1 } else { 0 };
        in_a_row == 20
    });
    let mut other = RawClient::connect_encrypted(&proxy.address(), APP, &database);
    assert_eq!(other.query("SELECT 'served'").value(), "served");
    for i in 0..100_u8 {
        let row = slow.expect(b'D');
        let (_, value) = row.body.split_at(6);
        assert_eq!(value.len(), 1_000_000);
        assert!(value.iter().all(|byte| *byte == b'a' + i % 26), "row {i}");
    }
    slow.expect(b'C');
    slow.expect(b'Z');
    let peak = proxy.peak_memory();
    assert!(peak < BOUND, "the proxy grew to {peak} bytes");
    // As much in the other direction, in one message.
    let big = "y".repeat(20_000_000);
    let reply = slow.extended("SELECT length($1), right($1, 3)", &[Some(&big)]);
    assert_eq!(reply.ok(), [super::row(&["20000000", "yyy"])]);
    slow.close();
}

/// A faulty file stops the start and is named.
pub fn bad_files_are_named(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let pki = cluster.pki();
    let config = scenario
        .config()
        .line("ssl = on")
        .line(&format!("ssl_cert = '{}'", pki.certificate("proxy").display()))
        .line(&format!("ssl_key = '{}'", pki.key("app").display()))
        .line("ssl_ca_cert = 'no_such.crt'");
    let (status, log) = Proxy::refused(scenario.program(), cluster, &config);
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(log.contains("app.key holds another key than that of the certificate"), "{log}");
    assert!(log.contains("ssl_ca_cert: ") && log.contains("/no_such.crt does not exist"), "{log}");
}

/// A reload gives later handshakes the new certificate and disturbs nobody; a key that does not fit
/// leaves the old pair in force.
pub fn certificate_is_replaced(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let pki = cluster.pki();
    let folder = cluster.create_folder("tls").expect("a folder");
    let put = |certificate: &str, key: &str| {
        std::fs::copy(pki.certificate(certificate), folder.join("proxy.crt")).expect("copy");
        std::fs::copy(pki.key(key), folder.join("proxy.key")).expect("copy");
    };
    put("proxy", "proxy");
    let config = scenario
        .config()
        .line("ssl = on")
        .line("weir_reload_on_change = off")
        .line(&format!("ssl_cert = '{}'", folder.join("proxy.crt").display()))
        .line(&format!("ssl_key = '{}'", folder.join("proxy.key").display()));
    let proxy = scenario.start(cluster, &config);
    let mut before = RawClient::connect_encrypted(&proxy.address(), APP, &database);
    let trusting = |root: &str| {
        let root = text(&pki.certificate(root));
        psql(&proxy, APP, &database, &[("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &root)])
    };
    assert_eq!(drivers::run(trusting("root"), ""), "in\n");
    put("foreign", "proxy");
    proxy.signal("HUP");
    wait_for("a refused reload", || proxy.log().contains("holds another key"));
    assert_eq!(drivers::run(trusting("root"), ""), "in\n");
    put("foreign", "foreign");
    proxy.signal("HUP");
    wait_for("a reload", || proxy.log().contains("the configuration was reloaded"));
    assert_eq!(drivers::run(trusting("other"), ""), "in\n");
    refused(trusting("root"));
    assert_eq!(before.query("SELECT 'still on'").value(), "still on");
}

/// pgbench, encrypted on both sides, with fewer servers than clients in transaction mode.
pub fn pgbench(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let size = if scenario.mode() == Mode::Transaction { 3 } else { 10 };
    let config = encrypted(scenario.config(), cluster.pki()).pool_size(size);
    let proxy = scenario.start(cluster, &config);
    let bench = |options: &[&str]| {
        let mut pgbench = proxy.client_program("pgbench");
        pgbench.args(options).arg(&database).env("PGSSLMODE", "require");
        drivers::run(pgbench, "")
    };
    bench(&["-i", "-q"]);
    cluster.wait_replayed();
    let told = bench(&["-n", "-c", "10", "-t", "30"]);
    assert!(told.contains("300/300"), "{told}");
    // Encrypted and other clients share servers.
    let mut pgbench = proxy.client_program("pgbench");
    pgbench.args(["-n", "-S", "-M", "extended", "-c", "5", "-t", "50"]).arg(&database);
    pgbench.env("PGSSLMODE", "disable");
    let told = drivers::run(pgbench, "");
    assert!(told.contains("250/250"), "{told}");
}

/// Cancel requests, in clear and encrypted, of an encrypted client, and on to an encrypted server.
pub fn cancel(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = encrypted(scenario.config(), cluster.pki())
        .line("weir_server_tls_mode = require")
        .weights(1, 0);
    let proxy = scenario.start(cluster, &config);
    let mut client = RawClient::connect_encrypted(&proxy.address(), APP, &database);
    for how in ["in clear", "asked", "direct"] {
        client.send(&wire::query("SELECT pg_sleep(600)"));
        let sleeps = "wait_event = 'PgSleep'";
        cluster.wait_for_sessions(Node::Primary, &database, sleeps, 1);
        let mut other = RawClient::open(&proxy.address());
        if how == "asked" {
            other.send(&wire::untagged(wire::SSL_REQUEST, &[]));
            assert_eq!(other.byte(), Some(b'S'));
        }
        if how != "in clear" {
            other = other.encrypt("postgresql").expect("TLS");
        }
        other.send(&wire::cancel(client.pid, &client.key));
        assert_eq!(other.byte(), None, "a CancelRequest has no answer");
        assert_eq!(client.reply().code(), "57014", "{how}");
        assert_eq!(client.query("SELECT 'on'").value(), "on");
    }
}
