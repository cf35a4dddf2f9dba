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

mod hostile;
mod login;
mod random;

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

fn initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap().to_be_bytes();
    [mechanism.as_bytes(), b"\0", &len, data].concat()
}
