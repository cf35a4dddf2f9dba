//! Properties that hold whatever comes in.

use proptest::prelude::*;

use super::*;

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
