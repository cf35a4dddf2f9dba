//! The first packets of a connection, right and wrong.

use crate::cluster::APP;
use crate::raw_client::{Message, RawClient};
use crate::{Cluster, Proxy, Scenario, wire};

fn setup(scenario: &Scenario) -> (String, Proxy) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    (database, proxy)
}

fn check_served(proxy: &Proxy, database: &str) {
    let mut client = proxy.connect(database);
    assert_eq!(client.query("SELECT 'served'").value(), "served");
    client.close();
}

fn login(client: &mut RawClient) -> Vec<Message> {
    client.finish_login().unwrap_or_else(|fault| panic!("login refused: {fault:?}"))
}

/// A newer minor version and an unknown protocol option are answered with one
/// NegotiateProtocolVersion, before anything else, and the login goes on.
pub fn version_is_negotiated_once(scenario: &Scenario) {
    const GREASE: u32 = (3 << 16) + 9999;
    let (database, proxy) = setup(scenario);
    let user = [("user", APP), ("database", &*database)];
    let option = ("_pq_.no_such_option", "1");
    for (version, options) in
        [(GREASE, &[option][..]), (wire::PROTOCOL_3_0, &[option]), (GREASE, &[])]
    {
        let mut client = RawClient::open(&proxy.address());
        client.send(&wire::startup(version, &[&user[..], options].concat()));
        let messages = login(&mut client);
        let offers: Vec<&Message> = messages.iter().filter(|m| m.tag == b'v').collect();
        let [offer] = offers.as_slice() else {
            panic!("one NegotiateProtocolVersion expected, got {offers:?}");
        };
        assert_eq!(messages.first(), Some(*offer));
        let (newest, rest) = offer.body.split_first_chunk::<4>().expect("version");
        let (listed, names) = rest.split_first_chunk::<4>().expect("count");
        // PostgreSQL before 18 sends the minor version alone, later ones both.
        let newest = u32::from_be_bytes(*newest);
        assert!([0, 2, 3 << 16, (3 << 16) + 2].contains(&newest), "{newest:#x}");
        assert_eq!(u32::from_be_bytes(*listed), u32::try_from(options.len()).unwrap_or(0));
        let expected: &[u8] = if options.is_empty() { b"" } else { b"_pq_.no_such_option\0" };
        assert_eq!(names, expected);
        assert_eq!(client.query("SELECT 'on'").value(), "on");
        client.close();
    }
    let mut client = RawClient::open(&proxy.address());
    client.send(&wire::startup((3 << 16) + 2, &user));
    login(&mut client);
    assert!((4..=256).contains(&client.key.len()));
    assert_eq!(client.query("SELECT 'on'").value(), "on");
    client.close();
    check_served(&proxy, &database);
}

/// Major versions other than 3 are refused with an error, and so is a packet without a user.
pub fn unsupported_versions(scenario: &Scenario) {
    let (database, proxy) = setup(scenario);
    let refused = |version| {
        let mut client = RawClient::open(&proxy.address());
        client.send(&wire::startup(version, &[("user", APP), ("database", &database)]));
        client.closed()
    };
    let fault = refused(4 << 16).unwrap_or_else(|| panic!("no error for version 4.0"));
    assert_eq!((&*fault.severity, &*fault.code), ("FATAL", "0A000"));
    for ancient in [1 << 16, 2 << 16] {
        // Their error message has another form, which a server need not speak.
        refused(ancient);
    }
    let mut client = RawClient::open(&proxy.address());
    client.send(&wire::startup(wire::PROTOCOL_3_0, &[("database", &database)]));
    assert_eq!(client.closed().map(|fault| fault.code).as_deref(), Some("28000"));
    check_served(&proxy, &database);
}

/// Without TLS both encryption requests are answered `N`, one after the other, and the startup
/// packet follows on the same connection.
pub fn encryption_requests(scenario: &Scenario) {
    let (database, proxy) = setup(scenario);
    let user = [("user", APP), ("database", &*database)];
    for requests in [
        &[wire::SSL_REQUEST][..],
        &[wire::GSSENC_REQUEST],
        &[wire::GSSENC_REQUEST, wire::SSL_REQUEST],
    ] {
        let mut client = RawClient::open(&proxy.address());
        for code in requests {
            client.send(&wire::untagged(*code, &[]));
            assert_eq!(client.byte(), Some(b'N'));
        }
        client.send(&wire::startup(wire::PROTOCOL_3_0, &user));
        login(&mut client);
        assert_eq!(client.query("SELECT 'on'").value(), "on");
        client.close();
    }
    check_served(&proxy, &database);
}

/// What is no startup packet ends the connection, at once, and only that one.
pub fn garbage(scenario: &Scenario) {
    let (database, proxy) = setup(scenario);
    let long = "x".repeat(20_000);
    let mut unterminated = wire::startup(wire::PROTOCOL_3_0, &[("user", APP)]);
    if let Some(last) = unterminated.last_mut() {
        *last = b'x';
    }
    let cases: [(&str, Vec<u8>); 10] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS without SSLRequest, no ALPN", [&[0x16, 3, 1, 0, 5][..], &[1, 0, 0, 1, 0]].concat()),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("length 7", [&7_u32.to_be_bytes()[..], &[0; 8]].concat()),
        ("length 2^31 - 1", [&0x7fff_ffff_u32.to_be_bytes()[..], &[0, 3, 0, 0]].concat()),
        ("20 kB", wire::startup(wire::PROTOCOL_3_0, &[("user", APP), ("application_name", &long)])),
        ("20 kB announced, not sent", 20_000_u32.to_be_bytes().to_vec()),
        ("no terminator", unterminated),
        ("a query before the login", wire::query("SELECT 1")),
    ];
    for (name, bytes) in cases {
        let mut client = RawClient::open(&proxy.address());
        client.send(&bytes);
        // With or without an error message, and without waiting for more. The answer need not
        // be a message at all: a TLS alert is not.
        println!("{name}");
        while client.byte().is_some() {}
    }
    // Drivers that change their mind at once say good-bye first, and expect silence.
    let mut client = RawClient::open(&proxy.address());
    client.send(&wire::terminate());
    assert_eq!(client.byte(), None);
    let mut client = proxy.connect(&database);
    client.send(&[0xff; 64]);
    assert_eq!(client.closed().map(|fault| fault.code).as_deref(), Some("08P01"));
    check_served(&proxy, &database);
}

/// A startup packet and a query that arrive byte by byte.
pub fn one_byte_at_a_time(scenario: &Scenario) {
    let (database, proxy) = setup(scenario);
    let mut client = RawClient::open(&proxy.address());
    let startup = wire::startup(wire::PROTOCOL_3_0, &[("user", APP), ("database", &database)]);
    for byte in startup {
        client.send(&[byte]);
    }
    login(&mut client);
    for byte in wire::query("SELECT 'slow'") {
        client.send(&[byte]);
    }
    assert_eq!(client.reply().value(), "slow");
    client.close();
}

/// A client that says nothing, or half of something, is cut off after `authentication_timeout`.
pub fn silence_is_ended(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = scenario.config().line("authentication_timeout = 1");
    let proxy = scenario.start(cluster, &config);
    let mut patient = proxy.connect(&database);
    let mut silent = RawClient::open(&proxy.address());
    let mut half = RawClient::open(&proxy.address());
    half.send(wire::startup(wire::PROTOCOL_3_0, &[("user", APP)]).split_at(9).0);
    let mut asked = RawClient::open(&proxy.address());
    asked.send(&wire::untagged(wire::SSL_REQUEST, &[]));
    assert_eq!(asked.byte(), Some(b'N'));
    for client in [&mut silent, &mut half, &mut asked] {
        client.closed();
    }
    assert_eq!(patient.query("SELECT 'on'").value(), "on");
    patient.close();
}
