//! Messages that break the protocol, and callers that do.

use super::*;

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
    for (body, method) in [
        (request(3, b""), Method::Password),
        (request(5, b"salt"), Method::Md5),
        (scram.clone(), Method::ScramSha256),
    ] {
        assert_eq!(answer(None, &body), AuthError::SecretRequired(method));
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
