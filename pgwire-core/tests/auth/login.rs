//! Logins as they should be, and those that fail as they should.

use super::*;

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
