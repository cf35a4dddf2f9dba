//! Handshakes and what follows them.

use super::pki::{Authority, Pair, Wish};
use super::*;
use crate::config::BackendHost;
use crate::tls::{ALPN, Encryption, EncryptionError, Handshake, HandshakeError, PeerName, Wire};

/// What the two ends of a handshake came to.
struct Met {
    client: Wire<End>,
    server: Wire<End>,
    net: Net,
    encryption: Result<(), EncryptionError>,
    handshake: Result<(), HandshakeError>,
}

/// A client that is told to dial `host` meets a server. Both answer whatever they are asked, until
/// nothing moves any more.
fn meet(client: &Tls, server: &Tls, host: &str, mut net: Net) -> Met {
    let host = BackendHost::Tcp(host.to_owned());
    let mut encryption = Encryption::new(client, &host);
    let mut ours = Wire::plain(End::Client);
    let mut theirs = Wire::plain(End::Server);
    let (mut asked, mut done) = (Vec::new(), false);
    let (mut encryption_ends, mut handshake_ends) = (Ok(()), Ok(()));
    // An operation may move one byte, or none.
    for _ in 0..100_000 {
        if encryption_ends.is_ok() && !encryption.is_over() {
            encryption_ends = encryption.drive(&mut ours, &mut net);
        }
        if asked.len() < 8 && client.connector.as_ref().is_some_and(|c| !c.direct) {
            let mut byte = [0];
            if theirs.read(&mut net, &mut byte) == Transfer::Bytes(1) {
                asked.extend(byte);
            }
            if asked.len() == 8 {
                net.to_client.push_back(b'S');
            }
            continue;
        }
        if !theirs.is_encrypted() {
            server.acceptor.as_ref().expect("acceptor").start(&mut theirs, b"").unwrap();
        }
        if handshake_ends.is_ok() && !done {
            match theirs.handshake(&mut net) {
                Handshake::Done => done = true,
                Handshake::Blocked => {}
                Handshake::Failed(error) => handshake_ends = Err(error),
            }
        }
        let over = encryption.is_over() || encryption_ends.is_err();
        if over && (done || handshake_ends.is_err()) {
            let encryption = encryption_ends;
            return Met {
                client: ours,
                server: theirs,
                net,
                encryption,
                handshake: handshake_ends,
            };
        }
        if encryption_ends.is_err() {
            net.closed = true;
        }
    }
    panic!("no end of it: {encryption:?}");
}

fn open_net() -> Net {
    Net::new(usize::MAX, usize::MAX, false)
}

const SERVER: &str = "ssl = on\nssl_cert = 'server.crt'\nssl_key = 'server.key'";

fn server_files(pair: &Pair) -> Files {
    Files::default().with("/etc/server.crt", &pair.pem).with("/etc/server.key", &pair.key_pem())
}

/// Moves `bytes` from one wire to the other and checks what arrives.
fn carry(from: &mut Wire<End>, to: &mut Wire<End>, net: &mut Net, bytes: &[u8]) {
    let (mut written, mut arrived) = (0, Vec::new());
    let mut room = [0; 1000];
    for _ in 0..2_000_000 {
        if let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            // As the outbox does: at every attempt the same bytes, and more behind them.
            let (head, tail) = rest.split_at(rest.len() / 3);
            match from.write(net, &[IoSlice::new(head), IoSlice::new(b""), IoSlice::new(tail)]) {
                Transfer::Bytes(n) => written += n,
                Transfer::Blocked => {}
                Transfer::Closed => panic!("closed after {written} bytes: {:?}", from.fault()),
            }
        }
        match to.read(net, &mut room) {
            Transfer::Bytes(n) => arrived.extend_from_slice(&room[..n]),
            Transfer::Blocked => {}
            Transfer::Closed => panic!("closed after {} bytes", arrived.len()),
        }
        if arrived.len() >= bytes.len() {
            break;
        }
    }
    assert!(arrived == bytes, "{} of {} bytes", arrived.len(), bytes.len());
    // What is written is reported so in the end.
    while written < bytes.len() {
        match from.write(net, &[IoSlice::new(&bytes[written..])]) {
            Transfer::Bytes(n) => written += n,
            other => assert_eq!(other, Transfer::Blocked),
        }
    }
}

#[test]
fn any_cut_and_any_window() {
    let server = server_files(&Pair::self_signed("server")).tls(SERVER);
    let client = Files::default().tls("weir_server_tls_mode = require");
    let bytes: Vec<u8> = (0..70_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let nets = [
        (1, 1, true, 3_000),
        (1, usize::MAX, true, 20_000),
        (2, 3, false, 5_000),
        (7, 100, true, 20_000),
        (4_096, 5_000, true, 70_000),
        (usize::MAX, 20_000, false, 70_000),
        (usize::MAX, usize::MAX, true, 70_000),
    ];
    for (cut, window, stutters, size) in nets {
        let met = meet(&client, &server, "server", Net::new(cut, window, stutters));
        assert_eq!((&met.encryption, &met.handshake), (&Ok(()), &Ok(())), "{cut} {window}");
        let Met { mut client, mut server, mut net, .. } = met;
        assert_eq!(client.protocol(), Some(ALPN));
        // Both ends bind SCRAM to the same certificate.
        let certificate = client.peer_certificate().expect("certificate");
        let end_point = crate::tls::end_point(certificate).expect("end point");
        assert_eq!(server.local_end_point(), Some(&*end_point));
        assert_eq!(server.peer_certificate(), None);

        carry(&mut client, &mut server, &mut net, &bytes[..size]);
        carry(&mut server, &mut client, &mut net, &bytes[..size]);
        carry(&mut client, &mut server, &mut net, b"x");

        // Nothing is buffered where it is not seen.
        net.stutters = false;
        assert_eq!(client.read(&mut net, &mut [0; 10]), Transfer::Blocked);
        assert_eq!(server.read(&mut net, &mut [0; 10]), Transfer::Blocked);
        (net.cut, net.window) = (usize::MAX, usize::MAX);
        client.close(&mut net);
        assert_eq!(server.read(&mut net, &mut [0; 10]), Transfer::Closed);
        assert_eq!(server.fault(), None, "close_notify is no fault");
    }
}

#[test]
fn what_is_shown_again_is_not_sent_again() {
    let server = server_files(&Pair::self_signed("server")).tls(SERVER);
    let client = Files::default().tls("weir_server_tls_mode = require");
    let met = meet(&client, &server, "server", open_net());
    let Met { mut client, mut server, mut net, .. } = met;
    net.window = 10;
    assert_eq!(client.write(&mut net, &[IoSlice::new(b"first")]), Transfer::Blocked);
    assert_eq!(client.write(&mut net, &[IoSlice::new(b"first, second")]), Transfer::Blocked);
    net.window = usize::MAX;
    assert_eq!(client.write(&mut net, &[IoSlice::new(b"first, second")]), Transfer::Bytes(5));
    assert_eq!(client.write(&mut net, &[IoSlice::new(b", second")]), Transfer::Bytes(8));
    let mut room = [0; 100];
    assert_eq!(server.read(&mut net, &mut room), Transfer::Bytes(13));
    assert_eq!(&room[..13], b"first, second");
    // However much is shown, a bounded part of it is taken.
    let much = vec![0; 10_000_000];
    net.window = 0;
    assert_eq!(client.write(&mut net, &[IoSlice::new(&much)]), Transfer::Blocked);
    net.window = usize::MAX;
    let Transfer::Bytes(taken) = client.write(&mut net, &[IoSlice::new(&much)]) else {
        panic!("nothing was taken");
    };
    assert!(taken <= 32 * 1024, "{taken}");
}

#[test]
fn a_changed_byte_ends_it() {
    let server = server_files(&Pair::self_signed("server")).tls(SERVER);
    let client = Files::default().tls("weir_server_tls_mode = require");
    let Met { mut client, mut server, mut net, .. } = meet(&client, &server, "server", open_net());
    client.write(&mut net, &[IoSlice::new(b"harmless")]);
    *net.to_server.back_mut().expect("a byte") ^= 1;
    let mut room = [7; 100];
    assert_eq!(server.read(&mut net, &mut room), Transfer::Closed);
    assert_eq!(room, [7; 100]);
    assert!(server.fault().is_some());
    assert_eq!(server.write(&mut net, &[IoSlice::new(b"x")]), Transfer::Closed);
    // A stream that is cut off is closed, too.
    net.closed = true;
    assert_eq!(client.read(&mut net, &mut room), Transfer::Closed);
}

/// What comes of asking for TLS, with `answer` in the pipe.
fn answered(config: &str, answer: &[u8]) -> Result<bool, EncryptionError> {
    let tls = Files::default().tls(config);
    let mut encryption = Encryption::new(&tls, &BackendHost::Tcp("server".to_owned()));
    let mut net = open_net();
    net.to_client.extend(answer);
    net.closed = true;
    let mut wire = Wire::plain(End::Client);
    encryption.drive(&mut wire, &mut net)?;
    assert!(encryption.is_over());
    assert_eq!(net.to_server.len(), 8, "SSLRequest and nothing else");
    Ok(wire.is_encrypted())
}

#[test]
fn answers_to_the_request() {
    let (prefer, require) = ("weir_server_tls_mode = prefer", "weir_server_tls_mode = require");
    assert_eq!(answered(prefer, b"N"), Ok(false));
    assert_eq!(answered("ssl = on", b"N"), Ok(false));
    assert_eq!(answered(require, b"N"), Err(EncryptionError::NotOffered));
    for config in [prefer, require] {
        let text = b"E\0\0\0\x20SFATAL\0Mplease send money\0\0";
        assert_eq!(answered(config, text), Err(EncryptionError::ErrorInClear));
        assert_eq!(answered(config, b"SR\0\0\0\x08"), Err(EncryptionError::DataInClear));
        assert_eq!(answered(config, b"NR\0\0\0\x08"), Err(EncryptionError::DataInClear));
        assert_eq!(answered(config, b"R"), Err(EncryptionError::Unexpected(b'R')));
        assert_eq!(answered(config, b""), Err(EncryptionError::Closed));
        assert_eq!(
            answered(config, b"S"),
            Err(EncryptionError::Handshake(HandshakeError::Closed)),
            "no way back to clear text"
        );
    }
    // A socket of this host has no TLS.
    let tls = Files::default().tls(require);
    assert!(Encryption::new(&tls, &BackendHost::UnixDir("/tmp".to_owned())).is_over());
}

#[test]
fn messages_in_clear_behind_the_answer() {
    let tls = Files::default().tls("weir_server_tls_mode = prefer");
    let mut encryption = Encryption::new(&tls, &BackendHost::Tcp("server".to_owned()));
    let mut net = open_net();
    let mut wire = Wire::plain(End::Client);
    net.to_client.push_back(b'S');
    encryption.drive(&mut wire, &mut net).expect("the answer alone");
    // The same in a later packet.
    net.to_client.extend(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
    assert!(matches!(
        encryption.drive(&mut wire, &mut net),
        Err(EncryptionError::Handshake(HandshakeError::Tls(_)))
    ));
}

#[test]
fn who_the_server_must_be() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let good = Wish { common_name: "db", names: &["db.example", "10.1.2.3"], ..Wish::default() };
    let expired = Wish { until: 2029, ..good };
    let client = |mode: &str| {
        let mut files = Files::default().with("/etc/root.crt", &ours.pem);
        files.tls(&format!("weir_server_tls_mode = {mode}\nweir_server_tls_ca_file = 'root.crt'"))
    };
    let outcome = |mode: &str, pair: &Pair, host: &str| {
        let server = server_files(pair).tls(SERVER);
        let met = meet(&client(mode), &server, host, open_net());
        assert_eq!(met.encryption.is_ok(), met.handshake.is_ok(), "{mode} {host}");
        met.encryption.map_err(|error| error.to_string())
    };
    let signed = ours.sign(good);
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_eq!(outcome(mode, &signed, "db.example"), Ok(()), "{mode}");
        assert_eq!(outcome(mode, &signed, "10.1.2.3"), Ok(()), "{mode}");
    }
    assert_eq!(outcome("verify-ca", &signed, "other.example"), Ok(()));
    for host in ["other.example", "10.1.2.4", "db"] {
        let error = outcome("verify-full", &signed, host).expect_err(host);
        assert!(error.contains("not valid for name"), "{error}");
    }
    let error = outcome("verify-full", &signed, "no name!").expect_err("a bad name");
    assert!(error.contains("no name that a certificate"), "{error}");
    assert_eq!(outcome("verify-ca", &signed, "no name!"), Ok(()));
    let foreign = other.sign(good);
    assert_eq!(outcome("require", &foreign, "db.example"), Ok(()));
    for mode in ["verify-ca", "verify-full"] {
        let error = outcome(mode, &foreign, "db.example").expect_err("another authority");
        assert!(error.contains("UnknownIssuer"), "{error}");
        let error = outcome(mode, &ours.sign(expired), "db.example").expect_err("expired");
        assert!(error.contains("expired"), "{error}");
    }
    // A certificate that signs itself, and is trusted as it is.
    let own = Pair::self_signed("db.example");
    let mut files = Files::default().with("/etc/root.crt", &own.pem);
    for (mode, host, works) in
        [("verify-ca", "x", true), ("verify-full", "db.example", true), ("verify-full", "x", false)]
    {
        let config = format!("weir_server_tls_mode = {mode}\nssl_ca_cert = 'root.crt'");
        let met = meet(&files.tls(&config), &server_files(&own).tls(SERVER), host, open_net());
        assert_eq!(met.encryption.is_ok(), works, "{mode} {host}: {:?}", met.encryption);
    }
    // As Pgpool-II: with authorities, what is encrypted is verified.
    let config = format!("{SERVER}\nssl_ca_cert = 'root.crt'");
    let mut files = server_files(&own).with("/etc/root.crt", &ours.pem);
    let tls = files.tls(&config);
    for (pair, works) in [(&signed, true), (&foreign, false)] {
        let met = meet(&tls, &server_files(pair).tls(SERVER), "x", open_net());
        assert_eq!(met.encryption.is_ok(), works, "{:?}", met.encryption);
    }
}

#[test]
fn certificates_of_version_1_serve_where_nothing_is_verified() {
    let mut files = Files::default()
        .with("/etc/server.crt", include_str!("files/version_1.pem"))
        .with("/etc/server.key", include_str!("files/key.pem"));
    let server = files.tls(SERVER);
    let client = Files::default().tls("weir_server_tls_mode = require");
    let met = meet(&client, &server, "server", open_net());
    assert_eq!((met.encryption, met.handshake), (Ok(()), Ok(())));
    // TLS 1.2, whose signatures are made otherwise.
    let mut connector = crate::tls::Connector::clone(client.connector.as_ref().expect("connector"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = crate::tls::verify::ServerVerifier::new(
        crate::tls::verify::Check::None,
        Arc::new(rustls::RootCertStore::empty()),
        Vec::new(),
        provider.signature_verification_algorithms,
    );
    let config = rustls::ClientConfig::builder_with_details(provider, Arc::new(Clock))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    connector.config = Arc::new(config);
    let client = Tls { acceptor: None, connector: Some(Arc::new(connector)) };
    let met = meet(&client, &server, "server", open_net());
    assert_eq!((&met.encryption, &met.handshake), (&Ok(()), &Ok(())));
    assert!(met.server.cipher().is_some_and(|text| text.starts_with("TLSv1_2")));
}

#[test]
fn who_the_client_is() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let wish = |serial| Wish { common_name: "app", serial, ..Wish::default() };
    let (good, revoked) = (ours.sign(wish(5)), ours.sign(wish(6)));
    let (foreign, expired) = (other.sign(wish(7)), ours.sign(Wish { until: 2029, ..wish(8) }));
    let mut files = server_files(&ours.sign(Wish { common_name: "proxy", ..wish(9) }))
        .with("/etc/root.crt", &ours.pem)
        .with("/etc/revoked.crl", &ours.revoke(&[&revoked]));
    let server =
        files.tls(&format!("{SERVER}\nssl_ca_cert = 'root.crt'\nssl_crl_file = 'revoked.crl'"));
    let unlisted = files.tls(&format!("{SERVER}\nssl_ca_cert = 'root.crt'"));
    let met = |pair: Option<&Pair>, server: &Tls| {
        let tls = match pair {
            None => Files::default().tls("weir_server_tls_mode = require"),
            Some(pair) => Files::default()
                .with("/etc/client.pem", &format!("{}{}", pair.pem, pair.key_pem()))
                .tls("weir_server_tls_mode = require\nweir_server_tls_cert = 'client.pem'"),
        };
        meet(&tls, server, "proxy", open_net())
    };
    let name = |pair: Option<&Pair>, server: &Tls| {
        let met = met(pair, server);
        met.handshake.expect("handshake");
        met.server.peer_certificate().map(|certificate| PeerName::read(certificate).expect("name"))
    };
    assert_eq!(name(None, &server), None, "a certificate is asked for, not demanded");
    let expected = PeerName {
        common_name: Some("app".to_owned()),
        distinguished_name: "CN=app,O=Weir\\, Inc.".to_owned(),
    };
    assert_eq!(name(Some(&good), &server), Some(expected.clone()));
    assert_eq!(name(Some(&revoked), &unlisted), Some(expected));
    for (pair, why) in [(&revoked, "Revoked"), (&foreign, "UnknownIssuer"), (&expired, "expired")] {
        let Met { mut client, mut net, handshake, .. } = met(Some(pair), &server);
        let error = handshake.expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
        // In TLS 1.3 the client learns it with its first read.
        assert_eq!(client.read(&mut net, &mut [0; 10]), Transfer::Closed);
        assert!(matches!(client.fault(), Some(rustls::Error::AlertReceived(_))));
    }
    // Logins that are to show who a client is go without.
    let tls = Files::default()
        .with("/etc/client.pem", &format!("{}{}", good.pem, good.key_pem()))
        .tls("weir_server_tls_mode = require\nweir_server_tls_cert = 'client.pem'");
    let met = meet(&tls.without_certificate(), &server, "proxy", open_net());
    assert_eq!((&met.encryption, &met.handshake), (&Ok(()), &Ok(())));
    assert_eq!(met.server.peer_certificate(), None);
    // Our own server certificate is shown only to servers that know its authority.
    let mut own = server_files(&foreign);
    let tls = own.tls(SERVER);
    let met = meet(&tls, &unlisted, "proxy", open_net());
    assert_eq!((&met.encryption, &met.handshake), (&Ok(()), &Ok(())));
    assert_eq!(met.server.peer_certificate(), None);
    let tls = server_files(&good).tls(SERVER);
    let met = meet(&tls, &unlisted, "proxy", open_net());
    assert!(met.server.peer_certificate().is_some());
}

#[test]
fn direct_tls() {
    let server = server_files(&Pair::self_signed("server")).tls(SERVER);
    let config = "weir_server_tls_mode = require\nweir_server_tls_negotiation = direct";
    let client = Files::default().tls(config);
    for net in [open_net(), Net::new(1, 10, true)] {
        let met = meet(&client, &server, "server", net);
        assert_eq!((met.encryption, met.handshake), (Ok(()), Ok(())));
    }
    // A server that does not know what will be spoken is not spoken to.
    let mut silent = rustls::ServerConfig::clone(&server.acceptor.as_ref().expect("it").config);
    silent.alpn_protocols.clear();
    let acceptor = crate::tls::Acceptor { config: Arc::new(silent), end_point: None };
    let server = Tls { acceptor: Some(Arc::new(acceptor)), connector: None };
    let met = meet(&client, &server, "server", open_net());
    assert_eq!(met.encryption, Err(EncryptionError::NoAlpn));
}
