//! The first packet of a connection, version negotiation and cancel keys.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use pgwire_core::backend::NegotiateProtocolVersion;
use pgwire_core::cancel::{BackendKey, CancelKey};
use pgwire_core::encode;
use pgwire_core::error::DecodeError;
use pgwire_core::frame::{BackendFramer, Seen};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::startup::{
    Initial, MAX_STARTUP_LEN, Negotiated, ProtocolVersion, StartupMessage, StartupPacket,
    negotiate, parse_initial,
};
use pgwire_core::tag::{BackendTag, TagSet};
use proptest::collection::vec;
use proptest::prelude::*;

type Pairs<'a> = &'a [(&'a [u8], &'a [u8])];

fn version(minor: u16) -> ProtocolVersion {
    ProtocolVersion { major: 3, minor }
}

fn startup(version: ProtocolVersion, pairs: Pairs<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::startup(&mut out, version, pairs.iter().copied());
    out
}

fn packet(buf: &[u8]) -> StartupPacket<'_> {
    match parse_initial(buf) {
        Ok(Initial::Packet { packet, consumed }) => {
            assert_eq!(consumed, buf.len());
            packet
        }
        other => panic!("{other:?}"),
    }
}

fn message(buf: &[u8]) -> StartupMessage<'_> {
    match packet(buf) {
        StartupPacket::Startup(message) => message,
        other => panic!("{other:?}"),
    }
}

/// A packet with a length field that agrees with its size.
fn raw(code: u32, rest: &[u8]) -> Vec<u8> {
    let len = u32::try_from(8 + rest.len()).unwrap();
    [&len.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

#[test]
fn parameters_come_back() {
    let pairs: Pairs<'_> =
        &[(b"user", b"alice"), (b"database", b"shop"), (b"options", b""), (b"user", b"bob")];
    let buf = startup(ProtocolVersion::V3_0, pairs);
    let message = message(&buf);
    assert_eq!(message.version(), ProtocolVersion::V3_0);
    assert_eq!(message.params().collect::<Vec<_>>(), pairs);
    assert_eq!(message.get(b"user"), Some(&b"bob"[..]), "the last one counts");
    assert_eq!(message.get(b"options"), Some(&b""[..]));
    assert_eq!(message.get(b"USER"), None);
}

#[test]
fn no_byte_can_smuggle_a_parameter() {
    let buf = startup(
        ProtocolVersion::V3_0,
        &[(b"user", b"alice\0database\0secret"), (b"", b"x"), (b"a\0", b"b")],
    );
    let names: Vec<&[u8]> = message(&buf).params().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"user"[..], b"a?"]);
    assert_eq!(message(&buf).get(b"user"), Some(&b"alice?database?secret"[..]));
}

#[test]
fn layouts_that_are_refused() {
    let code = ProtocolVersion::V3_0.code();
    for rest in [
        &b""[..],
        b"user",
        b"user\0",
        b"user\0alice",
        b"user\0alice\0",
        b"user\0alice\0x",
        b"user\0\0alice\0\0x\0",
        b"\0user\0alice\0\0",
        b"\0\0",
    ] {
        let buf = raw(code, rest);
        let outcome = parse_initial(&buf);
        assert!(matches!(outcome, Err(DecodeError::BadStartupLayout)), "{rest:?} {outcome:?}");
    }
    assert_eq!(message(&raw(code, b"\0")).params().count(), 0);
}

#[test]
fn lengths_are_checked_before_anything_is_awaited() {
    for len in [0, 1, 3, 4, 7, MAX_STARTUP_LEN + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let outcome = parse_initial(&len.to_be_bytes()).unwrap_err();
        assert_eq!(outcome, DecodeError::BadStartupLength { len });
    }
    for len in [8, 9, MAX_STARTUP_LEN] {
        let wanted = usize::try_from(len).unwrap();
        assert!(matches!(
            parse_initial(&len.to_be_bytes()),
            Ok(Initial::Need { at_least }) if at_least == wanted
        ));
    }
    assert!(matches!(
        parse_initial(b"GET / HTTP/1.1\r\n"),
        Err(DecodeError::BadStartupLength { .. })
    ));
}

#[test]
fn requests_without_a_body() {
    let mut ssl = Vec::new();
    encode::ssl_request(&mut ssl);
    assert_eq!(ssl, [0, 0, 0, 8, 4, 210, 22, 47]);
    assert!(matches!(packet(&ssl), StartupPacket::SslRequest));
    let mut gss = Vec::new();
    encode::gssenc_request(&mut gss);
    assert_eq!(gss, [0, 0, 0, 8, 4, 210, 22, 48]);
    assert!(matches!(packet(&gss), StartupPacket::GssEncRequest));

    // Bytes behind the packet are somebody else's, those inside it are garbage.
    ssl.extend_from_slice(b"more");
    assert!(matches!(parse_initial(&ssl), Ok(Initial::Packet { consumed: 8, .. })));
    assert!(matches!(
        parse_initial(&raw(80_877_103, b"x")),
        Err(DecodeError::TrailingBytes { count: 1 })
    ));
}

#[test]
fn direct_tls_is_known_by_its_first_byte() {
    assert!(matches!(parse_initial(&[0x16]), Ok(Initial::DirectTls)));
    assert!(matches!(parse_initial(&[0x16, 3, 1, 2, 0, 1]), Ok(Initial::DirectTls)));
    assert!(matches!(parse_initial(&[]), Ok(Initial::Need { at_least: 4 })));
}

#[test]
fn cancel_keys_of_every_length() {
    for len in [4, 5, 32, 255, 256] {
        let key = CancelKey::new(&vec![0xab; len]).unwrap();
        let mut buf = Vec::new();
        encode::cancel_request(&mut buf, &BackendKey { pid: 0x8000_0001, key });
        assert_eq!(buf.len(), 12 + len);
        match packet(&buf) {
            StartupPacket::Cancel { pid, key } => {
                assert_eq!((pid, key), (0x8000_0001, &vec![0xab; len][..]));
            }
            other => panic!("{other:?}"),
        }
    }
    for len in [0, 1, 3, 257, 1_000] {
        assert_eq!(CancelKey::new(&vec![1; len]), Err(DecodeError::BadCancelKeyLength { len }));
        let buf = raw(80_877_102, &[&[0, 0, 0, 1][..], &vec![1; len]].concat());
        assert!(matches!(
            parse_initial(&buf),
            Err(DecodeError::BadCancelKeyLength { len: found }) if found == len
        ));
    }
    assert!(matches!(parse_initial(&raw(80_877_102, b"123")), Err(DecodeError::Truncated)));
}

#[test]
fn cancel_keys_are_compared_and_never_shown() {
    let key = CancelKey::new(b"secret").unwrap();
    assert!(key.matches(b"secret") && key == key.clone());
    assert!(!key.matches(b"secre") && !key.matches(b"secrets") && !key.matches(b"Secret"));
    let buf = raw(80_877_102, b"\0\0\0\x07secret");
    let shown = format!("{:?} {:?}", BackendKey { pid: 7, key }, packet(&buf));
    assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    assert!(shown.contains('7'));
}

/// Encodes the one message that a downgrade is due, and reads it back as a client would.
fn announced(use_version: ProtocolVersion, options: &[Vec<u8>]) -> (ProtocolVersion, Vec<Vec<u8>>) {
    let mut out = Vec::new();
    encode::negotiate_version(&mut out, use_version, options);
    let mut framer = BackendFramer::default();
    let seen = framer.scan(&out, TagSet::ALL);
    let Ok(Seen::Message { tag: BackendTag::NEGOTIATE_VERSION, frame }) = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(frame.len(), out.len(), "exactly one message");
    let view = NegotiateProtocolVersion::parse(frame).unwrap();
    assert_eq!(view.newest.cast_unsigned(), use_version.code());
    (view.version(), view.options.map(<[u8]>::to_vec).collect())
}

#[test]
fn grease_gets_one_correct_answer() {
    let buf = startup(
        version(9_999),
        &[
            (b"user", b"alice"),
            (b"_pq_.test_protocol_negotiation", b""),
            (b"database", b"shop"),
            (b"_pq_.command_tag", b"on"),
            (b"_pq_notanoption", b"x"),
        ],
    );
    let options = [b"_pq_.test_protocol_negotiation".to_vec(), b"_pq_.command_tag".to_vec()];
    for newest in [ProtocolVersion::V3_0, ProtocolVersion::V3_2] {
        let negotiated = negotiate(&message(&buf), newest).unwrap();
        let expected =
            Negotiated::Downgrade { use_version: newest, unknown_options: options.to_vec() };
        assert_eq!(negotiated, expected);
        assert_eq!(announced(newest, &options), (newest, options.to_vec()));
    }
}

#[test]
fn the_answer_has_the_layout_of_the_documentation() {
    let mut out = Vec::new();
    encode::negotiate_version(&mut out, ProtocolVersion::V3_2, &[b"_pq_.a"]);
    assert_eq!(out, b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.a\0");
}

#[test]
fn versions() {
    let plain: Pairs<'_> = &[(b"user", b"alice")];
    let with_option: Pairs<'_> = &[(b"user", b"alice"), (b"_pq_.x", b"")];
    let outcome =
        |minor, pairs, newest| negotiate(&message(&startup(version(minor), pairs)), newest);
    let (v3_0, v3_2) = (ProtocolVersion::V3_0, ProtocolVersion::V3_2);

    for minor in 0..=2 {
        // 3.1 too: what no server ever spoke is taken for what it is, a version below 3.2.
        assert_eq!(outcome(minor, plain, v3_2), Ok(Negotiated::Accept(version(minor))));
    }
    let down = |use_version, options: &[&[u8]]| {
        Ok(Negotiated::Downgrade {
            use_version,
            unknown_options: options.iter().map(|option| option.to_vec()).collect(),
        })
    };
    assert_eq!(outcome(3, plain, v3_2), down(v3_2, &[]));
    assert_eq!(outcome(1, plain, v3_0), down(v3_0, &[]));
    assert_eq!(outcome(2, plain, v3_0), down(v3_0, &[]));
    // An unknown option must not push the client to a newer version than it asked for.
    assert_eq!(outcome(0, with_option, v3_2), down(v3_0, &[b"_pq_.x"]));
    assert_eq!(outcome(2, with_option, v3_2), down(v3_2, &[b"_pq_.x"]));
}

#[test]
fn other_major_versions_are_refused_in_words_that_clients_know() {
    for (major, minor) in [(2, 0), (4, 0), (0, 0), (1234, 5681), (u16::MAX, u16::MAX)] {
        // Protocol 2.0 had no pairs: its body must not be judged by the layout of 3.0.
        let requested = ProtocolVersion { major, minor };
        let buf = raw(requested.code(), b"whatever");
        let error = negotiate(&message(&buf), ProtocolVersion::V3_2).unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(
            error.to_string(),
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")
        );
    }
}

#[test]
fn a_bare_minor_version_is_understood() {
    let frame = b"v\0\0\0\x0c\0\0\0\x02\0\0\0\0";
    let view = NegotiateProtocolVersion::parse(frame).unwrap();
    assert_eq!(view.version(), ProtocolVersion::V3_2);
    for bad in [&b"v\0\0\0\x0c\0\x03\0\0\xff\xff\xff\xff"[..], b"v\0\0\0\x0d\0\x03\0\0\0\0\0\0x"] {
        assert!(NegotiateProtocolVersion::parse(bad).is_err());
    }
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8..=255, 1..20)
}

proptest! {
    #[test]
    fn any_prefix_asks_for_more_and_the_whole_comes_back(
        minor in any::<u16>(),
        pairs in vec((word(), vec(1_u8..=255, 0..20)), 0..8),
        behind in vec(any::<u8>(), 0..8),
    ) {
        let mut buf = Vec::new();
        let borrowed = pairs.iter().map(|(name, value)| (&name[..], &value[..]));
        encode::startup(&mut buf, version(minor), borrowed.clone());
        let whole = buf.len();
        for len in 0..whole {
            match parse_initial(&buf[..len]) {
                Ok(Initial::Need { at_least }) => {
                    prop_assert!(at_least > len && at_least <= whole);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        buf.extend_from_slice(&behind);
        match parse_initial(&buf) {
            Ok(Initial::Packet { packet: StartupPacket::Startup(message), consumed }) => {
                prop_assert_eq!(consumed, whole);
                prop_assert_eq!(message.version(), version(minor));
                prop_assert!(message.params().eq(borrowed));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn noise_is_survived(buf in vec(any::<u8>(), 0..80)) {
        let _ = parse_initial(&buf);
        let len = u32::try_from(buf.len() + 4).unwrap();
        let _ = parse_initial(&[&len.to_be_bytes()[..], &buf].concat());
    }
}
