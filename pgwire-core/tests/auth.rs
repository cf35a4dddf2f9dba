//! Both ends of the login against each other, and each against what a hostile peer may send.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pgwire_core::auth::{
    AuthError, AuthFailure, AuthStep, Authenticated, ClientAuth, DEFAULT_ITERATIONS, DeriveJob,
    FailureKind, Md5Hash, Method, MockAs, Password, ProtocolViolation, ScramErrorCode, ScramKeys,
    Secret, ServerAuth, ServerEntropy, UnsupportedFeature,
};
use proptest::prelude::*;

const USER: &[u8] = b"alice";
const PASSWORD: &[u8] = b"s3cr\xc3\xa9t";
const WRONG: &[u8] = b"other";

fn entropy() -> ServerEntropy {
    ServerEntropy { md5_salt: [1, 0, 255, 7], scram_nonce: [3; 18], mock_seed: [4; 32] }
}

fn entropy_with(scram_nonce: [u8; 18], mock_seed: [u8; 32]) -> ServerEntropy {
    ServerEntropy { md5_salt: [8; 4], scram_nonce, mock_seed }
}

fn few() -> NonZeroU32 {
    NonZeroU32::new(3).unwrap()
}

fn keys_of(password: &[u8]) -> ScramKeys {
    DeriveJob::new(&Password::new(password), vec![9; 16], few()).run().into_keys()
}

fn verifier_of(password: &[u8]) -> Secret {
    Secret::ScramVerifier(keys_of(password).verifier())
}

fn server(method: Method, secret: Option<Secret>) -> ServerAuth {
    ServerAuth::new(method, USER, secret, entropy())
}

fn client(secret: Option<Secret>) -> ClientAuth {
    ClientAuth::new(USER, secret, [5; 18])
}

/// Splits the one message in `out`, checks its framing, and leaves `out` empty.
fn take(out: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    if out.is_empty() {
        return None;
    }
    let message = std::mem::take(out);
    let len = u32::from_be_bytes(message[1..5].try_into().unwrap());
    assert_eq!(usize::try_from(len).unwrap() + 1, message.len(), "one whole message at a time");
    Some((message[0], message[5..].to_vec()))
}

fn request(code: i32, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), data].concat()
}

#[derive(Debug)]
enum Broken {
    Client(AuthError),
    Server(AuthFailure),
}

/// What an observer sees: tag, code of a request, length of the rest; and the derivations that the
/// server had to run.
#[derive(Debug, Default, PartialEq)]
struct Trace {
    messages: Vec<(u8, Option<i32>, usize)>,
    server_derived: Vec<NonZeroU32>,
    client_derived: Vec<NonZeroU32>,
}

/// Runs a login up to its end, with the AuthenticationOk that the server's caller adds.
fn converse(
    client: &mut ClientAuth,
    server: &mut ServerAuth,
) -> (Result<(Authenticated, Authenticated), Broken>, Trace) {
    let mut trace = Trace::default();
    let result = exchange(client, server, &mut trace);
    (result, trace)
}

fn exchange(
    client: &mut ClientAuth,
    server: &mut ServerAuth,
    trace: &mut Trace,
) -> Result<(Authenticated, Authenticated), Broken> {
    let mut out = Vec::new();
    let mut step = server.begin(&mut out);
    loop {
        let welcome = loop {
            match step.map_err(Broken::Server)? {
                AuthStep::Send => break None,
                AuthStep::Derive(job) => {
                    trace.server_derived.push(job.iterations());
                    step = server.resume(job.run(), &mut out);
                }
                AuthStep::Done(who) => break Some(who),
            }
        };
        if let Some((tag, body)) = take(&mut out) {
            let code = i32::from_be_bytes(body[..4].try_into().unwrap());
            trace.messages.push((tag, Some(code), body.len() - 4));
            let mut answer = client.on_request(&body, &mut out);
            if let Ok(AuthStep::Derive(job)) = answer {
                trace.client_derived.push(job.iterations());
                answer = client.resume(job.run(), &mut out);
            }
            assert!(matches!(answer.map_err(Broken::Client)?, AuthStep::Send));
        }
        if let Some(who) = welcome {
            assert!(out.is_empty());
            return match client.on_request(&request(0, b""), &mut out).map_err(Broken::Client)? {
                AuthStep::Done(server) => Ok((who, server)),
                other => panic!("{other:?}"),
            };
        }
        let (tag, body) = take(&mut out).expect("an answer");
        trace.messages.push((tag, None, body.len()));
        step = server.on_response(&body, &mut out);
    }
}

fn secrets(password: &[u8]) -> [Secret; 4] {
    [
        Secret::password(password),
        Secret::Md5Hash(Md5Hash::of(password, USER)),
        verifier_of(password),
        Secret::ScramKeys(keys_of(password)),
    ]
}

const METHODS: [Method; 4] = [Method::Trust, Method::Password, Method::Md5, Method::ScramSha256];

/// The method that a server with this secret really uses, None if it cannot let anybody in.
fn effective(method: Method, stored: &Secret) -> Option<Method> {
    let scram = matches!(stored, Secret::ScramVerifier(_) | Secret::ScramKeys(_));
    match (method, stored) {
        (Method::Md5, _) if scram => Some(Method::ScramSha256),
        (Method::ScramSha256, Secret::Md5Hash(_)) => None,
        _ => Some(method),
    }
}

/// Whether this is enough to answer the method (SCRAM keys only when made for the same salt).
fn can_answer(method: Method, own: &Secret, stored: &Secret) -> bool {
    match (method, own) {
        (Method::Trust, _) | (_, Secret::Password(_)) => true,
        (Method::Md5, Secret::Md5Hash(_)) => true,
        (Method::ScramSha256, Secret::ScramKeys(_)) => !matches!(stored, Secret::Password(_)),
        _ => false,
    }
}

#[test]
fn every_method_with_every_pair_of_secrets() {
    let mut logins = 0;
    for method in METHODS {
        for stored in secrets(PASSWORD) {
            for own in secrets(PASSWORD) {
                let what = format!("{method:?} {stored:?} {own:?}");
                let mut server = server(method, Some(stored.clone()));
                let (result, _) = converse(&mut client(Some(own.clone())), &mut server);
                let used = effective(method, &stored);
                match used.filter(|&used| can_answer(used, &own, &stored)) {
                    Some(used) => {
                        let (who, host) = result.expect(&what);
                        assert_eq!((who.method(), host.method()), (used, used), "{what}");
                        assert_eq!(who.verified(), used != Method::Trust, "{what}");
                        assert_eq!(host.verified(), used == Method::ScramSha256, "{what}");
                        logins += 1;
                    }
                    None => assert!(result.is_err(), "{what}"),
                }
            }
        }
    }
    assert_eq!(logins, 16 + 4 + (2 + 2 + 2 + 2) + (1 + 2 + 2));
}

#[test]
fn wrong_passwords_are_told_so_and_teach_nothing() {
    for method in [Method::Password, Method::Md5, Method::ScramSha256] {
        for stored in secrets(PASSWORD) {
            for wrong in [WRONG, b"s3cr\xc3\xa9", b"s3cr\xc3\xa9t "] {
                let mut server = server(method, Some(stored.clone()));
                let mut client = client(Some(Secret::password(wrong)));
                let (result, trace) = converse(&mut client, &mut server);
                let Err(Broken::Server(failure)) = result else { panic!("{result:?}") };
                assert_eq!(failure.kind(), FailureKind::WrongPassword);
                assert_eq!(failure.sqlstate(), *b"28P01");
                let last = trace.messages.last().unwrap();
                assert_eq!(last.0, b'p', "no server signature for {method:?} {stored:?}");
            }
        }
    }
}

/// Roles that do not exist are, message by message and derivation by derivation, like those that
/// do, whatever form secrets are kept in.
#[test]
fn unknown_roles_look_like_known_ones() {
    for method in METHODS {
        let known = [
            (MockAs::Password, Secret::password(PASSWORD)),
            (MockAs::Md5Hash, Secret::Md5Hash(Md5Hash::of(PASSWORD, USER))),
            (
                MockAs::ScramVerifier,
                Secret::ScramVerifier(
                    DeriveJob::new(&Password::new(PASSWORD), vec![9; 16], DEFAULT_ITERATIONS)
                        .run()
                        .verifier(),
                ),
            ),
        ];
        for (mock_as, secret) in known {
            let run = |secret: Option<Secret>| {
                let mut server = server(method, secret).with_mock(mock_as);
                converse(&mut client(Some(Secret::password(WRONG))), &mut server)
            };
            let (real, real_trace) = run(Some(secret));
            let (mock, mock_trace) = run(None);
            assert_eq!(real_trace, mock_trace, "{method:?} {mock_as:?}");
            match (real, mock) {
                (Ok(_), Ok(_)) => assert_eq!(method, Method::Trust),
                (Err(Broken::Server(real)), Err(Broken::Server(mock))) => {
                    assert_eq!((real.kind(), mock), (mock.kind(), AuthFailure::UnknownRole));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The salt and iteration count in the server-first-message.
fn salt_shown(user: &[u8], secret: Option<Secret>, entropy: ServerEntropy) -> Vec<u8> {
    let mut server = ServerAuth::new(Method::ScramSha256, user, secret, entropy);
    let mut out = Vec::new();
    server.begin(&mut out).unwrap();
    let (_, body) = take(&mut out).unwrap();
    client(Some(Secret::password(PASSWORD))).on_request(&body, &mut out).unwrap();
    let (_, body) = take(&mut out).unwrap();
    server.on_response(&body, &mut out).unwrap();
    let (_, body) = take(&mut out).unwrap();
    body[4..].splitn(2, |&b| b == b',').nth(1).unwrap().to_vec()
}

#[test]
fn salts_depend_on_the_seed_and_the_role_alone() {
    let known = || Some(Secret::password(PASSWORD));
    let shown = salt_shown(b"alice", None, entropy());
    let next_login = entropy_with([8; 18], [4; 32]);
    assert_eq!(shown, salt_shown(b"alice", None, next_login.clone()));
    assert_eq!(shown, salt_shown(b"alice", known(), next_login));
    assert_ne!(shown, salt_shown(b"bob", None, entropy()));
    assert_ne!(shown, salt_shown(b"alice", None, entropy_with([3; 18], [6; 32])));
}

/// No login against a mock succeeds, whoever knows what it is made of.
#[test]
fn nobody_gets_in_as_an_unknown_role() {
    for mock_as in [MockAs::Password, MockAs::Md5Hash, MockAs::ScramVerifier] {
        for method in [Method::Password, Method::Md5, Method::ScramSha256] {
            let mut server = server(method, None).with_mock(mock_as);
            let (result, _) = converse(&mut client(Some(Secret::password(PASSWORD))), &mut server);
            assert!(matches!(result, Err(Broken::Server(AuthFailure::UnknownRole))));
        }
    }
}

#[test]
fn empty_passwords_never_get_in() {
    for method in [Method::Password, Method::Md5, Method::ScramSha256] {
        let mut server = server(method, Some(Secret::password(b"")));
        let (result, _) = converse(&mut client(Some(Secret::password(b""))), &mut server);
        assert!(matches!(result, Err(Broken::Server(AuthFailure::EmptyPassword))), "{method:?}");
    }
    let mut collecting = ServerAuth::collect_cleartext(USER);
    let (result, _) = converse(&mut client(Some(Secret::password(b""))), &mut collecting);
    assert!(matches!(result, Err(Broken::Server(AuthFailure::EmptyPassword))));
}

#[test]
fn rejected_at_once() {
    let mut out = Vec::new();
    let failure = server(Method::Reject, None).begin(&mut out).unwrap_err();
    assert_eq!((failure, failure.sqlstate(), out), (AuthFailure::Rejected, *b"28000", vec![]));
}

/// The keys that a client's proof reveals log in to the server that holds the same verifier, and
/// no derivation is run by anybody but the client.
#[test]
fn scram_pass_through() {
    let mut front = server(Method::ScramSha256, Some(verifier_of(PASSWORD)));
    let (result, trace) = converse(&mut client(Some(Secret::password(PASSWORD))), &mut front);
    assert_eq!((trace.client_derived, trace.server_derived), (vec![few()], vec![]));
    let keys = result.unwrap().0.into_secret();
    assert!(matches!(&keys, Some(Secret::ScramKeys(found)) if *found == keys_of(PASSWORD)));

    let mut back = server(Method::ScramSha256, Some(verifier_of(PASSWORD)));
    let (result, trace) = converse(&mut client(keys.clone()), &mut back);
    assert!(result.unwrap().1.verified());
    assert_eq!((trace.client_derived, trace.server_derived), (vec![], vec![]));

    let changed = DeriveJob::new(&Password::new(PASSWORD), vec![8; 16], few()).run().verifier();
    let mut back = server(Method::ScramSha256, Some(Secret::ScramVerifier(changed)));
    let (result, _) = converse(&mut client(keys), &mut back);
    assert!(matches!(result, Err(Broken::Client(AuthError::StaleKeys))));
}

#[test]
fn a_client_keeps_the_keys_that_it_derived() {
    let mut back = server(Method::ScramSha256, Some(verifier_of(PASSWORD)));
    let (result, _) = converse(&mut client(Some(Secret::password(PASSWORD))), &mut back);
    let secret = result.unwrap().1.into_secret();
    assert!(matches!(&secret, Some(Secret::ScramKeys(keys)) if *keys == keys_of(PASSWORD)));
}

#[test]
fn a_collected_password_is_the_one_that_was_sent_and_is_not_verified() {
    let mut server = ServerAuth::collect_cleartext(USER);
    let (result, trace) = converse(&mut client(Some(Secret::password(PASSWORD))), &mut server);
    let (who, _) = result.unwrap();
    assert!(!who.verified());
    assert!(matches!(who.secret(), Some(Secret::Password(p)) if p.as_bytes() == PASSWORD));
    assert_eq!(trace.messages, [(b'R', Some(3), 0), (b'p', None, PASSWORD.len() + 1)]);
}

#[test]
fn channel_binding() {
    let own = || Some(Secret::password(PASSWORD));
    let run = |ours: Option<&[u8]>, theirs: Option<&[u8]>| {
        let mut server = server(Method::ScramSha256, Some(verifier_of(PASSWORD)));
        let mut client = client(own());
        if let Some(data) = ours {
            server = server.with_channel_binding(data.to_vec());
        }
        if let Some(data) = theirs {
            client = client.with_channel_binding(data.to_vec());
        }
        converse(&mut client, &mut server)
    };
    let (bound, trace) = run(Some(b"hash"), Some(b"hash"));
    assert!(bound.is_ok());
    assert_eq!(trace.messages[1], (b'p', None, "SCRAM-SHA-256-PLUS".len() + 5 + 24 + 29));
    assert!(run(Some(b"hash"), None).0.is_ok(), "a client without TLS support: n");
    assert!(run(None, Some(b"hash")).0.is_ok(), "a server without: y");
    assert!(run(None, None).0.is_ok());
    let (torn, _) = run(Some(b"hash"), Some(b"other certificate"));
    let Err(Broken::Server(failure)) = torn else { panic!("{torn:?}") };
    assert_eq!(failure, AuthFailure::ChannelBindingMismatch);
    assert_eq!(failure.kind(), FailureKind::ChannelBinding);
}

/// Somebody between the two removes the mechanism with channel binding from the offer.
#[test]
fn a_stripped_offer_of_channel_binding_is_noticed() {
    let mut server = server(Method::ScramSha256, Some(verifier_of(PASSWORD)))
        .with_channel_binding(b"hash".to_vec());
    let mut client = client(Some(Secret::password(PASSWORD)))
        .with_channel_binding(b"hash of the one in between".to_vec());
    let mut out = Vec::new();
    server.begin(&mut out).unwrap();
    assert_eq!(take(&mut out).unwrap().1, request(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"));
    client.on_request(&request(10, b"SCRAM-SHA-256\0\0"), &mut out).unwrap();
    let (_, body) = take(&mut out).unwrap();
    let failure = server.on_response(&body, &mut out).unwrap_err();
    assert_eq!(failure, AuthFailure::ChannelBindingDowngrade);
}

fn initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap().to_be_bytes();
    [mechanism.as_bytes(), b"\0", &len, data].concat()
}

/// A SCRAM server that has sent its mechanisms.
fn offered(bound: bool) -> ServerAuth {
    let mut server = server(Method::ScramSha256, Some(verifier_of(PASSWORD)));
    if bound {
        server = server.with_channel_binding(b"hash".to_vec());
    }
    server.begin(&mut Vec::new()).unwrap();
    server
}

#[test]
fn client_first_messages() {
    use AuthFailure::{Protocol, Unsupported};
    use ProtocolViolation::{Malformed, TooLong};
    let answer = |bound: bool, mechanism: &str, data: &[u8]| {
        let mut out = Vec::new();
        let result = offered(bound).on_response(&initial(mechanism, data), &mut out);
        assert_eq!(result.is_err(), out.is_empty());
        result
    };
    let plain = |data: &str| answer(false, "SCRAM-SHA-256", data.as_bytes());
    for good in ["n,,n=,r=abc", "y,,n=ignored,r=abc", "n,,n=a=2Cb=3D,r=abc,x=extension"] {
        assert!(matches!(plain(good), Ok(AuthStep::Send)), "{good}");
    }
    for odd in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=abc",
        "n,,r=abc",
        "n,,n=",
        "n,,n=,r=",
        "n,,n=,r=a b",
        "n,,n=,r=a\u{7f}",
        "n,,n=,r=\u{e9}",
        "n,,n=,r=abc,",
        "n,,n=,r=abc,x",
        "n,b=x,n=,r=abc",
        "n,,n=,r=abc\0",
        "p=,,",
    ] {
        let result = plain(odd);
        assert!(
            matches!(
                result,
                Err(Protocol(Malformed(_)) | Unsupported(UnsupportedFeature::ChannelBinding))
            ),
            "{odd:?} {result:?}"
        );
    }
    let refused = |result: Result<AuthStep, AuthFailure>, feature| {
        assert_eq!(result.unwrap_err(), Unsupported(feature));
    };
    refused(plain("n,a=root,n=,r=abc"), UnsupportedFeature::AuthorizationIdentity);
    refused(plain("n,,m=1,n=,r=abc"), UnsupportedFeature::MandatoryExtension);
    let bound_first = b"p=tls-server-end-point,,n=,r=abc";
    refused(answer(false, "SCRAM-SHA-256", bound_first), UnsupportedFeature::ChannelBinding);
    refused(answer(true, "SCRAM-SHA-256", bound_first), UnsupportedFeature::ChannelBinding);
    refused(answer(false, "SCRAM-SHA-256-PLUS", bound_first), UnsupportedFeature::Mechanism);
    refused(answer(false, "SCRAM-SHA-1", b"n,,n=,r=abc"), UnsupportedFeature::Mechanism);
    refused(
        answer(true, "SCRAM-SHA-256-PLUS", b"p=tls-unique,,n=,r=abc"),
        UnsupportedFeature::ChannelBinding,
    );
    assert!(answer(true, "SCRAM-SHA-256-PLUS", bound_first).is_ok());
    assert!(answer(true, "SCRAM-SHA-256-PLUS", b"n,,n=,r=abc").is_err());

    let long = "x".repeat(65_536);
    for big in [
        format!("n,,n={long},r=abc"),
        format!("n,,n=,r={long}"),
        format!("n,,n=,r=abc,x={long}"),
        format!("{long},,n=,r=abc"),
        format!("n,,n=,r={}", "x".repeat(513)),
    ] {
        assert!(matches!(plain(&big), Err(Protocol(TooLong(_)))));
    }
}

#[test]
fn a_client_may_send_its_first_message_later() {
    let mut server = offered(false);
    let mut out = Vec::new();
    let body = [b"SCRAM-SHA-256\0".as_slice(), &[0xff; 4]].concat();
    assert!(matches!(server.on_response(&body, &mut out), Ok(AuthStep::Send)));
    assert_eq!(take(&mut out).unwrap(), (b'R', request(11, b"")));
    assert!(matches!(server.on_response(b"n,,n=,r=abc", &mut out), Ok(AuthStep::Send)));
    assert!(take(&mut out).unwrap().1.starts_with(&request(11, b"r=abc")));
}

#[test]
fn sasl_responses_of_wrong_length() {
    for body in [
        &b"SCRAM-SHA-256"[..],
        b"SCRAM-SHA-256\0",
        b"SCRAM-SHA-256\0\0\0\0",
        b"SCRAM-SHA-256\0\0\0\0\x05n,,n",
        b"SCRAM-SHA-256\0\0\0\0\x03n,,n",
        b"SCRAM-SHA-256\0\xff\xff\xff\xffn,,n=,r=abc",
        b"SCRAM-SHA-256\0\xff\xff\xff\xfen,,n=,r=abc",
        b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=abc",
    ] {
        let result = offered(false).on_response(body, &mut Vec::new());
        let expected =
            matches!(result, Err(AuthFailure::Protocol(ProtocolViolation::Malformed(_))));
        assert!(expected, "{body:?} {result:?}");
    }
}

/// A client-final-message that a server with keys for PASSWORD accepts, and that server.
fn proven() -> (ServerAuth, String) {
    let (mut server, mut out) = (offered(false), Vec::new());
    let mut client = client(Some(Secret::ScramKeys(keys_of(PASSWORD))));
    client.on_request(&request(10, b"SCRAM-SHA-256\0\0"), &mut out).unwrap();
    let (_, body) = take(&mut out).unwrap();
    server.on_response(&body, &mut out).unwrap();
    let (_, body) = take(&mut out).unwrap();
    client.on_request(&body, &mut out).unwrap();
    (server, String::from_utf8(take(&mut out).unwrap().1).unwrap())
}

#[test]
fn client_final_messages() {
    use AuthFailure::Protocol;
    use ProtocolViolation::{Malformed, TooLong, WrongNonce};
    let answer = |change: &dyn Fn(&str) -> String| {
        let (mut server, message) = proven();
        let mut out = Vec::new();
        let result = server.on_response(change(&message).as_bytes(), &mut out);
        assert_eq!(result.is_ok(), !out.is_empty());
        result
    };
    assert!(matches!(answer(&str::to_owned), Ok(AuthStep::Done(_))));
    let failure = |change: &dyn Fn(&str) -> String| answer(change).unwrap_err();

    assert_eq!(failure(&|m| m.replace("c=biws", "c=eSws")), AuthFailure::ChannelBindingMismatch);
    assert_eq!(failure(&|m| m.replace("c=biws", "c=")), AuthFailure::ChannelBindingMismatch);
    assert_eq!(failure(&|m| m.replace(",p=", "x,p=")), Protocol(WrongNonce));
    assert_eq!(failure(&|m| m.replace("r=", "r=x")), Protocol(WrongNonce));
    assert_eq!(failure(&|m| m.replace(",p=", ",x=1,p=")), AuthFailure::WrongPassword);
    for change in [
        &|m: &str| m.replace("c=biws,", "") as _,
        &|m: &str| m.split(",p=").next().unwrap().to_owned(),
        &|m: &str| format!("{m},x=1"),
        &|m: &str| format!("{m},"),
        &|m: &str| m.trim_end_matches('=').to_owned(),
        &|m: &str| m.replace(",p=", ",p=AAAA"),
        &|m: &str| format!("{m}\0"),
        &|_: &str| String::new(),
    ] as [&dyn Fn(&str) -> String; 8]
    {
        let found = failure(change);
        assert!(matches!(found, Protocol(Malformed(_))), "{found:?}");
    }
    let long = "A".repeat(65_536);
    for name in ["c=", "r=", "p="] {
        let found = failure(&|m| m.replace(name, &format!("{name}{long}")));
        assert!(matches!(found, Protocol(TooLong(_))), "{found:?}");
    }
}

#[test]
fn password_messages() {
    let answer = |body: &[u8]| {
        let mut server = ServerAuth::collect_cleartext(USER);
        server.begin(&mut Vec::new()).unwrap();
        server.on_response(body, &mut Vec::new())
    };
    for odd in [&b""[..], b"secret", b"sec\0ret\0", b"secret\0\0"] {
        let result = answer(odd);
        let expected =
            matches!(result, Err(AuthFailure::Protocol(ProtocolViolation::Malformed(_))));
        assert!(expected, "{odd:?} {result:?}");
    }
    let mut longest = vec![b'x'; 65_534];
    longest.push(0);
    assert!(answer(&longest).is_ok());
    longest.insert(0, b'x');
    let found = answer(&longest).unwrap_err();
    assert_eq!(found, AuthFailure::Protocol(ProtocolViolation::TooLong("password")));
}

/// A client that has sent its client-first-message.
fn greeted(secret: Secret) -> ClientAuth {
    let mut client = client(Some(secret));
    client.on_request(&request(10, b"SCRAM-SHA-256\0\0"), &mut Vec::new()).unwrap();
    client
}

#[test]
fn server_first_messages() {
    use ProtocolViolation::{Malformed, TooLong, WrongNonce};
    let nonce = STANDARD.encode([5; 18]);
    let answer = |message: &str| {
        let mut client =
            greeted(Secret::password(PASSWORD)).with_max_iterations(DEFAULT_ITERATIONS);
        let mut out = Vec::new();
        let result = client.on_request(&request(11, message.as_bytes()), &mut out);
        assert!(out.is_empty());
        result
    };
    for good in ["r=Nx,s=AAAA,i=1", "r=Nx,s=AA==,i=4096", "r=Nx,s=AAAA,i=1,x=extension"] {
        assert!(matches!(answer(&good.replace('N', &nonce)), Ok(AuthStep::Derive(_))), "{good}");
    }
    for (bad, error) in [
        ("r=N,s=AAAA,i=1", AuthError::Protocol(WrongNonce)),
        ("r=x,s=AAAA,i=1", AuthError::Protocol(WrongNonce)),
        ("r=xN,s=AAAA,i=1", AuthError::Protocol(WrongNonce)),
        ("r=Nx,s=AAAA,i=4097", AuthError::IterationsOutOfRange),
        ("r=Nx,s=AAAA,i=0", AuthError::IterationsOutOfRange),
        ("r=Nx,s=AAAA,i=-1", AuthError::IterationsOutOfRange),
        ("r=Nx,s=AAAA,i=", AuthError::IterationsOutOfRange),
        ("r=Nx,s=AAAA,i=4294967297", AuthError::IterationsOutOfRange),
        ("r=Nx,s=AAAA,i=99999999999999999999999", AuthError::IterationsOutOfRange),
        ("r=Nx,s=,i=1", AuthError::Protocol(Malformed("SCRAM salt"))),
        ("r=Nx,s=A,i=1", AuthError::Protocol(Malformed("SCRAM salt"))),
        ("r=Nx,i=1,s=AAAA", AuthError::Protocol(Malformed("SCRAM attribute missing"))),
        ("r=Nx,s=AAAA", AuthError::Protocol(Malformed("SCRAM attribute missing"))),
        ("m=1,r=Nx,s=AAAA,i=1", AuthError::Protocol(Malformed("SCRAM attribute missing"))),
        ("r=Nx,s=AAAA,i=1,", AuthError::Protocol(Malformed("SCRAM attribute"))),
        ("", AuthError::Protocol(Malformed("SCRAM attribute"))),
    ] {
        assert_eq!(answer(&bad.replace('N', &nonce)).unwrap_err(), error, "{bad}");
    }
    let long = "A".repeat(65_536);
    for bad in ["r=NL,s=AAAA,i=1", "r=Nx,s=L,i=1", "r=Nx,s=AAAA,i=1,x=L"] {
        let message = bad.replace('N', &nonce).replace('L', &long);
        let found = answer(&message).unwrap_err();
        assert!(matches!(found, AuthError::Protocol(TooLong(_))), "{found:?}");
    }
    let salt = STANDARD.encode([0; 257]);
    let found = answer(&format!("r={nonce}x,s={salt},i=1")).unwrap_err();
    assert_eq!(found, AuthError::Protocol(Malformed("SCRAM salt")));
}

/// A client that has sent its proof, and the server-final-message that it waits for.
fn awaiting_signature() -> (ClientAuth, Vec<u8>) {
    let mut client = greeted(Secret::ScramKeys(keys_of(PASSWORD)));
    let (mut server, mut out) = (offered(false), Vec::new());
    let first = format!("n,,n=,r={}", STANDARD.encode([5; 18]));
    server.on_response(&initial("SCRAM-SHA-256", first.as_bytes()), &mut out).unwrap();
    let (_, body) = take(&mut out).unwrap();
    client.on_request(&body, &mut out).unwrap();
    let (_, body) = take(&mut out).unwrap();
    server.on_response(&body, &mut out).unwrap();
    (client, take(&mut out).unwrap().1)
}

#[test]
fn server_final_messages() {
    let answer = |change: &dyn Fn(&[u8]) -> Vec<u8>| {
        let (mut client, body) = awaiting_signature();
        client.on_request(&change(&body), &mut Vec::new())
    };
    assert!(matches!(answer(&<[u8]>::to_vec), Ok(AuthStep::Send)));
    let error = |message: &[u8]| answer(&|_| request(12, message)).unwrap_err();
    let flipped = |body: &[u8]| {
        let mut body = body.to_vec();
        body[8] ^= 1;
        body
    };
    assert_eq!(answer(&flipped).unwrap_err(), AuthError::BadServerSignature);
    assert_eq!(error(b"e=invalid-proof"), AuthError::Scram(ScramErrorCode::InvalidProof));
    assert_eq!(error(b"e=pencil"), AuthError::Scram(ScramErrorCode::Other));
    for odd in [&b""[..], b"v=", b"v=AAAA", b"x=1", b"v", &[b'A'; 65_536]] {
        assert!(matches!(error(odd), AuthError::Protocol(_)));
    }
}

/// A server that cannot prove that it knows the password must not get away with leaving it out.
#[test]
fn authentication_ok_comes_last() {
    let ok = request(0, b"");
    let mut out = Vec::new();
    let mut started = greeted(Secret::password(PASSWORD));
    assert_eq!(started.on_request(&ok, &mut out).unwrap_err(), AuthError::Incomplete);
    let (mut unsigned, _) = awaiting_signature();
    assert_eq!(unsigned.on_request(&ok, &mut out).unwrap_err(), AuthError::Incomplete);
    let (mut signed, body) = awaiting_signature();
    signed.on_request(&body, &mut out).unwrap();
    assert!(matches!(signed.on_request(&ok, &mut out), Ok(AuthStep::Done(who)) if who.verified()));
    let mut trusted = client(None);
    assert!(
        matches!(trusted.on_request(&ok, &mut out), Ok(AuthStep::Done(who)) if !who.verified())
    );
    assert_eq!(trusted.on_request(&ok, &mut out).unwrap_err(), AuthError::Misuse);
    assert!(client(None).on_request(&request(0, b"x"), &mut out).is_err());
    assert!(out.is_empty());
}

/// A server may ask once: a second request could coax the password out after SCRAM.
#[test]
fn no_second_request() {
    let mut out = Vec::new();
    for second in [request(3, b""), request(5, b"salt"), request(10, b"SCRAM-SHA-256\0\0")] {
        let (mut signed, body) = awaiting_signature();
        signed.on_request(&body, &mut out).unwrap();
        let found = signed.on_request(&second, &mut out).unwrap_err();
        assert_eq!(found, AuthError::Protocol(ProtocolViolation::OutOfTurn));
        let found = greeted(Secret::password(PASSWORD)).on_request(&second, &mut out).unwrap_err();
        assert_eq!(found, AuthError::Protocol(ProtocolViolation::OutOfTurn));
    }
    assert!(out.is_empty());
}

#[test]
fn requests_that_cannot_be_answered() {
    let answer = |secret: Option<Secret>, body: &[u8]| {
        let mut out = Vec::new();
        let error = client(secret).on_request(body, &mut out).unwrap_err();
        assert!(out.is_empty());
        error
    };
    let scram = request(10, b"SCRAM-SHA-256\0\0");
    for code in [2, 6, 7, 8, 9, 13, -1, i32::MIN, i32::MAX] {
        let found = answer(Some(Secret::password(PASSWORD)), &request(code, b"data"));
        assert_eq!(found, AuthError::UnsupportedMethod(code));
    }
    for body in [request(3, b""), request(5, b"salt"), scram.clone()] {
        assert_eq!(answer(None, &body), AuthError::SecretRequired);
        let found = answer(Some(verifier_of(PASSWORD)), &body);
        assert!(matches!(found, AuthError::SecretUnsuitable(_)));
    }
    let md5 = || Some(Secret::Md5Hash(Md5Hash::of(PASSWORD, USER)));
    assert!(matches!(answer(md5(), &scram), AuthError::SecretUnsuitable(_)));
    let nul = || Some(Secret::password(b"a\0b"));
    assert!(matches!(answer(nul(), &request(3, b"")), AuthError::SecretUnsuitable(_)));
    let big = || Some(Secret::password(&[b'x'; 65_535]));
    assert!(matches!(answer(big(), &request(3, b"")), AuthError::SecretUnsuitable(_)));
    let own = || Some(Secret::password(PASSWORD));
    assert_eq!(
        answer(own(), &request(10, b"SCRAM-SHA-256-PLUS\0\0")),
        AuthError::NoCommonMechanism
    );
    assert_eq!(answer(own(), &request(10, b"OAUTHBEARER\0\0")), AuthError::NoCommonMechanism);
    assert_eq!(answer(own(), &request(10, b"\0")), AuthError::NoCommonMechanism);
    for body in [
        vec![],
        vec![0, 0, 0],
        request(3, b"x"),
        request(5, b"sal"),
        request(5, b"salty"),
        request(10, b""),
        request(10, b"SCRAM-SHA-256"),
        request(10, b"SCRAM-SHA-256\0"),
        request(10, b"SCRAM-SHA-256\0\0x"),
    ] {
        let found = answer(own(), &body);
        assert!(matches!(found, AuthError::Protocol(ProtocolViolation::Malformed(_))), "{body:?}");
    }
}

/// Calls out of order are errors of their own and let nobody in.
#[test]
fn misuse() {
    let derived = || DeriveJob::new(&Password::new(PASSWORD), vec![1; 16], few()).run();
    let mut out = Vec::new();
    let mut fresh = server(Method::Password, Some(Secret::password(PASSWORD)));
    assert_eq!(fresh.on_response(b"x\0", &mut out).unwrap_err(), AuthFailure::Misuse);
    let mut twice = server(Method::Password, Some(Secret::password(PASSWORD)));
    twice.begin(&mut out).unwrap();
    assert_eq!(twice.begin(&mut out).unwrap_err(), AuthFailure::Misuse);
    assert_eq!(offered(false).resume(derived(), &mut out).unwrap_err(), AuthFailure::Misuse);

    let mut deriving = server(Method::Password, Some(verifier_of(PASSWORD)));
    deriving.begin(&mut out).unwrap();
    let body = [PASSWORD, b"\0"].concat();
    assert!(matches!(deriving.on_response(&body, &mut out), Ok(AuthStep::Derive(_))));
    assert_eq!(
        deriving.resume(derived(), &mut out).unwrap_err(),
        AuthFailure::Misuse,
        "not its job"
    );
    assert_eq!(deriving.on_response(&body, &mut out).unwrap_err(), AuthFailure::Misuse);

    assert_eq!(client(None).resume(derived(), &mut out).unwrap_err(), AuthError::Misuse);
}

#[test]
fn a_verifier_with_too_many_iterations_is_not_worked_off() {
    let verifier = keys_of(PASSWORD).verifier();
    let costly = verifier.encode().replace("$3:", "$100001:");
    let mut server = server(Method::Password, Some(Secret::parse_rolpassword(costly.as_bytes())));
    let (result, _) = converse(&mut client(Some(Secret::password(PASSWORD))), &mut server);
    assert!(matches!(result, Err(Broken::Server(AuthFailure::SecretUnsuitable))));
}

#[test]
fn debug_and_errors_show_no_secret() {
    let secret = Secret::password(b"pencil");
    let mut server = server(Method::ScramSha256, Some(secret.clone()));
    let mut client = client(Some(secret));
    let mut text = format!("{server:?} {client:?}");
    let (result, _) = converse(&mut client, &mut server);
    text += &format!("{server:?} {client:?} {result:?} {:?}", entropy());
    let job = DeriveJob::new(&Password::new(b"pencil"), vec![], few());
    text += &format!("{job:?}");
    text += &format!("{:?}", job.run());
    for telling in ["pencil", "112", "101, 110", "\\x"] {
        assert!(!text.contains(telling), "{telling}: {text}");
    }
}

fn any_secret() -> impl Strategy<Value = Option<Secret>> {
    prop_oneof![Just(None), (0usize..4).prop_map(|kind| secrets(PASSWORD).get(kind).cloned()),]
}

/// Bytes that get further than noise does.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let attributes = proptest::collection::vec("([nrscipvemxy]=[A-Za-z0-9+/=]{0,40})|[ny]?", 0..6)
        .prop_map(|parts| parts.join(",").into_bytes());
    let codes = prop_oneof![Just(0), Just(3), Just(5), Just(10), Just(11), Just(12), any::<i32>()];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        attributes.clone(),
        attributes.clone().prop_map(|data| initial("SCRAM-SHA-256", &data)),
        (codes, attributes).prop_map(|(code, data)| request(code, &data)),
        Just(request(10, b"SCRAM-SHA-256\0\0")),
        Just(request(0, b"")),
        Just(initial("SCRAM-SHA-256", b"n,,n=,r=abc")),
        Just([PASSWORD, b"\0"].concat()),
    ]
}

/// Answers with this nonce are accepted by a client with the nonce of these tests.
fn with_real_nonces(mut message: Vec<u8>) -> Vec<u8> {
    if let Some(at) = message.windows(2).position(|pair| pair == b"r=") {
        let nonces = STANDARD.encode([5; 18]) + "x";
        message.splice(at + 2..at + 2, nonces.into_bytes());
    }
    message
}

proptest! {
    #[test]
    fn nothing_a_server_sends_panics_a_client_or_logs_it_in_unproven(
        secret in any_secret(),
        bound in any::<bool>(),
        bodies in proptest::collection::vec((messages(), any::<bool>()), 1..6),
    ) {
        let mut client = client(secret).with_max_iterations(few());
        if bound {
            client = client.with_channel_binding(b"hash".to_vec());
        }
        let mut asked = false;
        for (body, nonce) in bodies {
            let body = if nonce { with_real_nonces(body) } else { body };
            let mut out = Vec::new();
            let mut step = client.on_request(&body, &mut out);
            if let Ok(AuthStep::Derive(job)) = step {
                step = client.resume(job.run(), &mut out);
            }
            match step {
                Ok(AuthStep::Done(who)) => {
                    prop_assert!(!who.verified(), "nobody here can sign");
                    prop_assert!(!asked || who.method() != Method::ScramSha256);
                    break;
                }
                Ok(_) => asked = true,
                Err(_) => {
                    prop_assert!(out.is_empty());
                    break;
                }
            }
        }
    }

    #[test]
    fn nothing_a_client_sends_panics_a_server_or_lets_it_in(
        secret in any_secret(),
        method in prop_oneof![Just(Method::Password), Just(Method::Md5), Just(Method::ScramSha256)],
        bound in any::<bool>(),
        bodies in proptest::collection::vec(messages(), 1..4),
    ) {
        let mut server = server(method, secret);
        if bound {
            server = server.with_channel_binding(b"hash".to_vec());
        }
        let mut out = Vec::new();
        server.begin(&mut out).unwrap();
        for body in bodies {
            let mut out = Vec::new();
            let mut step = server.on_response(&body, &mut out);
            if let Ok(AuthStep::Derive(job)) = step {
                step = server.resume(job.run(), &mut out);
            }
            match step {
                Ok(AuthStep::Done(who)) => {
                    prop_assert_eq!(who.method(), Method::Password);
                    prop_assert_eq!(body, [PASSWORD, b"\0"].concat());
                    break;
                }
                Ok(_) => {}
                Err(_) => {
                    prop_assert!(out.is_empty());
                    break;
                }
            }
        }
    }

    #[test]
    fn any_password_logs_in(password in ".{1,20}", method in 1usize..4) {
        let method = METHODS[method];
        prop_assume!(!password.contains('\0'));
        let stored = if method == Method::ScramSha256 {
            verifier_of(password.as_bytes())
        } else {
            Secret::password(password.as_bytes())
        };
        let own = Secret::password(password.as_bytes());
        let (result, _) = converse(&mut client(Some(own)), &mut server(method, Some(stored)));
        prop_assert!(result.is_ok());
    }

    #[test]
    fn stored_forms_of_any_bytes_parse(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let stored = [b"SCRAM-SHA-256$".as_slice(), &bytes].concat();
        prop_assert!(matches!(Secret::parse_rolpassword(&stored), Secret::Password(_)));
        prop_assert!(matches!(Secret::parse_rolpassword(&bytes), Secret::Password(_)));
    }
}
