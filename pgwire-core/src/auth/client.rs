//! The side that logs in to a server.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::scram::{self, Attributes, Binding};
use super::secret::{Key, decode_salt, parse_iterations};
use super::{
    AuthError, AuthStep, Authenticated, DEFAULT_MAX_ITERATIONS, DeriveJob, DerivedKey,
    MAX_PASSWORD_LEN, Md5Hash, Method, Password, ProtocolViolation, ScramErrorCode, ScramKeys,
    Secret, wire,
};

/// Answers the authentication requests of a server, for one login.
///
/// Hand the body of every `R` message to [`ClientAuth::on_request`] until it answers
/// [`AuthStep::Done`], which it does for AuthenticationOk. Other messages (NoticeResponse,
/// NegotiateProtocolVersion, ErrorResponse) can come in between and are the caller's. After an
/// error the connection is of no further use.
pub struct ClientAuth {
    user: Vec<u8>,
    secret: Option<Secret>,
    nonce: [u8; 18],
    channel_binding: Option<Vec<u8>>,
    max_iterations: NonZeroU32,
    state: State,
}

enum State {
    Start,
    /// The client-first-message is out.
    ScramFirst(First),
    Deriving(Box<Challenge>),
    /// The client-final-message is out.
    ScramFinal {
        signature: Key,
        keys: ScramKeys,
    },
    /// Everything that had to be shown was shown.
    AwaitOk(Authenticated),
    Finished,
}

struct First {
    binding: Binding,
    nonce: String,
    /// client-first-message-bare
    bare: String,
}

/// The server-first-message, and what it answers to.
struct Challenge {
    first: First,
    server_first: Vec<u8>,
    nonce: Vec<u8>,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl ClientAuth {
    /// A login as `user` with what is known of the password.
    ///
    /// `nonce` are 18 bytes from a cryptographic random generator, used for this login alone.
    #[must_use]
    pub fn new(user: &[u8], secret: Option<Secret>, nonce: [u8; 18]) -> Self {
        Self {
            user: user.to_vec(),
            secret,
            nonce,
            channel_binding: None,
            max_iterations: DEFAULT_MAX_ITERATIONS,
            state: State::Start,
        }
    }

    /// Binds the login to the TLS connection, if the server can: `data` is the hash of the
    /// server's certificate (`tls-server-end-point`, RFC 5929, 4.1).
    #[must_use]
    pub fn with_channel_binding(mut self, data: Vec<u8>) -> Self {
        self.channel_binding = Some(data);
        self
    }

    /// Sets the largest iteration count to work off for a server, instead of
    /// [`DEFAULT_MAX_ITERATIONS`].
    #[must_use]
    pub const fn with_max_iterations(mut self, max: NonZeroU32) -> Self {
        self.max_iterations = max;
        self
    }

    /// Takes the body of an `R` message.
    ///
    /// # Errors
    /// The server broke the protocol, does not know the password itself, or wants something that
    /// the secret cannot give. Nothing was appended then.
    pub fn on_request(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<AuthStep, AuthError> {
        // Every path out of here without a new state, errors included, ends the exchange.
        let state = mem::replace(&mut self.state, State::Finished);
        let (code, data) = wire::split_request(body)?;
        match (code, state) {
            (wire::AUTH_OK, state) if data.is_empty() => accepted(state),
            (wire::AUTH_CLEARTEXT, State::Start) if data.is_empty() => self.cleartext(out),
            (wire::AUTH_MD5, State::Start) => self.md5(data, out),
            (wire::AUTH_SASL, State::Start) => self.sasl(data, out),
            (wire::AUTH_SASL_CONTINUE, State::ScramFirst(first)) => {
                self.server_first(first, data, out)
            }
            (wire::AUTH_SASL_FINAL, State::ScramFinal { signature, keys }) => {
                self.server_final(&signature, keys, data)
            }
            (wire::AUTH_OK | wire::AUTH_CLEARTEXT, State::Start) => {
                Err(ProtocolViolation::Malformed("request with bytes at its end").into())
            }
            (_, State::Deriving(_) | State::Finished) => Err(AuthError::Misuse),
            (
                wire::AUTH_OK
                | wire::AUTH_CLEARTEXT
                | wire::AUTH_MD5
                | wire::AUTH_SASL
                | wire::AUTH_SASL_CONTINUE
                | wire::AUTH_SASL_FINAL,
                _,
            ) => Err(ProtocolViolation::OutOfTurn.into()),
            (code, _) => Err(AuthError::UnsupportedMethod(code)),
        }
    }

    /// Goes on after an [`AuthStep::Derive`].
    ///
    /// # Errors
    /// [`AuthError::Misuse`] when no derivation, or another one, is due.
    pub fn resume(&mut self, key: DerivedKey, out: &mut Vec<u8>) -> Result<AuthStep, AuthError> {
        match mem::replace(&mut self.state, State::Finished) {
            State::Deriving(challenge)
                if key.0.made_with(&challenge.salt, challenge.iterations) =>
            {
                self.prove(&challenge, key.0, out)
            }
            _ => Err(AuthError::Misuse),
        }
    }

    fn cleartext(&mut self, out: &mut Vec<u8>) -> Result<AuthStep, AuthError> {
        match self.secret.take().ok_or(AuthError::SecretRequired(Method::Password))? {
            Secret::Password(password) if sendable(&password) => {
                wire::password(out, password.as_bytes());
                Ok(self.await_ok(Method::Password, Some(Secret::Password(password))))
            }
            _ => Err(AuthError::SecretUnsuitable("cleartext authentication")),
        }
    }

    fn md5(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<AuthStep, AuthError> {
        let salt = <[u8; 4]>::try_from(data)
            .map_err(|_| ProtocolViolation::Malformed("md5 salt that is not 4 bytes"))?;
        let hash = match self.secret.take().ok_or(AuthError::SecretRequired(Method::Md5))? {
            Secret::Password(password) => Md5Hash::of(password.as_bytes(), &self.user),
            Secret::Md5Hash(hash) => hash,
            _ => return Err(AuthError::SecretUnsuitable("md5 authentication")),
        };
        wire::password(out, &*hash.response(salt));
        Ok(self.await_ok(Method::Md5, Some(Secret::Md5Hash(hash))))
    }

    fn await_ok(&mut self, method: Method, secret: Option<Secret>) -> AuthStep {
        self.state = State::AwaitOk(Authenticated { method, verified: false, secret });
        AuthStep::Send
    }

    fn sasl(&mut self, mut list: &[u8], out: &mut Vec<u8>) -> Result<AuthStep, AuthError> {
        let (mut plain, mut plus) = (false, false);
        loop {
            let (mechanism, rest) = wire::cstr(list)?;
            list = rest;
            match mechanism {
                [] => break,
                scram::SCRAM => plain = true,
                scram::SCRAM_PLUS => plus = true,
                _ => {}
            }
        }
        if !list.is_empty() {
            return Err(ProtocolViolation::Malformed("bytes after the SASL mechanisms").into());
        }
        let (mechanism, binding) = match (&self.channel_binding, plus, plain) {
            (Some(_), true, _) => (scram::SCRAM_PLUS, Binding::Used),
            (Some(_), false, true) => (scram::SCRAM, Binding::NotOffered),
            (None, _, true) => (scram::SCRAM, Binding::Unsupported),
            (_, _, false) => return Err(AuthError::NoCommonMechanism),
        };
        match &self.secret {
            None => return Err(AuthError::SecretRequired(Method::ScramSha256)),
            Some(Secret::Password(_) | Secret::ScramKeys(_)) => {}
            Some(_) => return Err(AuthError::SecretUnsuitable("SCRAM authentication")),
        }
        let nonce = scram::encode_nonce(self.nonce);
        // PostgreSQL takes the role from the startup packet, and expects no name here.
        let bare = alloc::format!("n=,r={nonce}");
        wire::sasl_initial(out, mechanism, &[binding.header(), bare.as_bytes()].concat());
        self.state = State::ScramFirst(First { binding, nonce, bare });
        Ok(AuthStep::Send)
    }

    fn server_first(
        &mut self,
        first: First,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<AuthStep, AuthError> {
        let mut attributes = Attributes::new(message)?;
        let nonce = attributes.nonce()?;
        // A nonce without a part of the server's own would let an old exchange be replayed.
        if nonce.strip_prefix(first.nonce.as_bytes()).is_none_or(<[u8]>::is_empty) {
            return Err(ProtocolViolation::WrongNonce.into());
        }
        let salt = decode_salt(attributes.expect(b's')?)
            .ok_or(ProtocolViolation::Malformed("SCRAM salt"))?;
        let iterations = parse_iterations(attributes.expect(b'i')?)
            .filter(|&count| count <= self.max_iterations)
            .ok_or(AuthError::IterationsOutOfRange)?;
        attributes.finish()?;
        let nonce = nonce.to_vec();
        let server_first = message.to_vec();
        let challenge = Challenge { first, server_first, nonce, salt, iterations };
        match self.secret.take() {
            Some(Secret::Password(password)) => {
                let job = DeriveJob::new(&password, challenge.salt.clone(), iterations);
                self.state = State::Deriving(Box::new(challenge));
                Ok(AuthStep::Derive(job))
            }
            Some(Secret::ScramKeys(keys)) if keys.made_with(&challenge.salt, iterations) => {
                self.prove(&challenge, keys, out)
            }
            Some(Secret::ScramKeys(_)) => Err(AuthError::StaleKeys),
            _ => Err(AuthError::Misuse),
        }
    }

    fn prove(
        &mut self,
        challenge: &Challenge,
        keys: ScramKeys,
        out: &mut Vec<u8>,
    ) -> Result<AuthStep, AuthError> {
        let first = &challenge.first;
        let mut message = Zeroizing::new(Vec::with_capacity(1024));
        message.extend_from_slice(b"c=");
        message.extend_from_slice(first.binding.input(self.channel_binding.as_deref()).as_bytes());
        message.extend_from_slice(b",r=");
        message.extend_from_slice(&challenge.nonce);
        let signed = scram::auth_message(first.bare.as_bytes(), &challenge.server_first, &message);
        let proof = scram::client_proof(&keys.client_key, &signed);
        message.extend_from_slice(b",p=");
        message.extend_from_slice(Zeroizing::new(STANDARD.encode(proof.as_slice())).as_bytes());
        wire::sasl_response(out, &message);
        let signature = scram::server_signature(&keys.server_key, &signed);
        self.state = State::ScramFinal { signature, keys };
        Ok(AuthStep::Send)
    }

    fn server_final(
        &mut self,
        signature: &Key,
        keys: ScramKeys,
        message: &[u8],
    ) -> Result<AuthStep, AuthError> {
        let mut attributes = Attributes::new(message)?;
        let theirs = match attributes.next()? {
            Some((b'v', value)) => scram::decode_proof(value)?,
            Some((b'e', value)) => return Err(AuthError::Scram(ScramErrorCode::parse(value))),
            _ => return Err(ProtocolViolation::Malformed("SCRAM attribute missing").into()),
        };
        attributes.finish()?;
        if !bool::from(theirs.ct_eq(&**signature)) {
            return Err(AuthError::BadServerSignature);
        }
        let secret = Some(Secret::ScramKeys(keys));
        let method = Method::ScramSha256;
        self.state = State::AwaitOk(Authenticated { method, verified: true, secret });
        Ok(AuthStep::Send)
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Start => "Start",
            State::ScramFirst(_) => "ScramFirst",
            State::Deriving(_) => "Deriving",
            State::ScramFinal { .. } => "ScramFinal",
            State::AwaitOk(_) => "AwaitOk",
            State::Finished => "Finished",
        };
        f.debug_struct("ClientAuth").field("state", &state).finish_non_exhaustive()
    }
}

/// AuthenticationOk: welcome without any request before (the server trusts), and after an exchange
/// that ran to its end.
fn accepted(state: State) -> Result<AuthStep, AuthError> {
    match state {
        State::Start => Ok(AuthStep::Done(Authenticated {
            method: Method::Trust,
            verified: false,
            secret: None,
        })),
        State::AwaitOk(done) => Ok(AuthStep::Done(done)),
        State::ScramFirst(_) | State::ScramFinal { .. } => Err(AuthError::Incomplete),
        State::Deriving(_) | State::Finished => Err(AuthError::Misuse),
    }
}

/// Whether the password can be a string of the protocol.
fn sendable(password: &Password) -> bool {
    let bytes = password.as_bytes();
    bytes.len() <= MAX_PASSWORD_LEN && !bytes.contains(&0)
}
