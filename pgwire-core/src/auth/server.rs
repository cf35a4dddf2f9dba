//! The side that asks a client who it is.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::derive::hmac;
use super::scram::{self, Attributes, Binding};
use super::secret::{Key, sha256};
use super::{
    AuthFailure, AuthStep, Authenticated, DEFAULT_ITERATIONS, DEFAULT_MAX_ITERATIONS, DeriveJob,
    DerivedKey, Md5Hash, Password, ProtocolViolation, ScramKeys, ScramVerifier, Secret,
    UnsupportedFeature, wire,
};

/// How a login is done; the names are those of `pg_hba.conf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Whoever comes is let in.
    Trust,
    /// Nobody is let in.
    Reject,
    /// The client sends the password in clear text.
    Password,
    /// The client hashes the password with a salt. Where a role has a SCRAM verifier (or keys)
    /// this becomes [`Method::ScramSha256`], as in PostgreSQL.
    Md5,
    /// SCRAM-SHA-256, and SCRAM-SHA-256-PLUS where there is a channel to bind to.
    ScramSha256,
}

/// What a role that does not exist is made to look like.
///
/// To tell it from one that exists must not be possible by the messages nor by the time they
/// take, and both depend on the form in which the secrets of existing roles are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MockAs {
    /// Like a role with [`Secret::Password`]: the method asked for; SCRAM costs a derivation.
    #[default]
    Password,
    /// Like a role with [`Secret::Md5Hash`]: the method asked for, and never a derivation.
    Md5Hash,
    /// Like a role with [`Secret::ScramVerifier`]: SCRAM also where md5 is asked for, without a
    /// derivation; to check a password in clear text takes one. PostgreSQL's default.
    ScramVerifier,
}

/// The random bytes of one login, from a cryptographic generator.
#[derive(Clone)]
pub struct ServerEntropy {
    /// The salt of an md5 challenge. Fresh for each login.
    pub md5_salt: [u8; 4],
    /// The server's part of a SCRAM nonce. Fresh for each login.
    pub scram_nonce: [u8; 18],
    /// A secret of the process, drawn once and the same for every login: salts for roles without
    /// a stored verifier, existing or not, come from it. A role's salt has to stay the same from
    /// login to login, because a stored verifier's does: one that changes would tell what kind
    /// of role it is.
    pub mock_seed: [u8; 32],
}

impl Drop for ServerEntropy {
    fn drop(&mut self) {
        self.mock_seed.zeroize();
    }
}

impl fmt::Debug for ServerEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerEntropy(..)")
    }
}

/// Makes a client show that it knows its password, for one login.
///
/// Call [`ServerAuth::begin`], then hand the body of every `p` message to
/// [`ServerAuth::on_response`], until either answers [`AuthStep::Done`] or an error. An
/// AuthenticationOk is not among the messages appended: the caller sends it when it is ready to.
/// After an error the caller sends an ErrorResponse (see [`AuthFailure::kind`]) and closes.
pub struct ServerAuth {
    user: Vec<u8>,
    method: Method,
    /// Take any password, unseen.
    collect: bool,
    secret: Option<Secret>,
    entropy: ServerEntropy,
    channel_binding: Option<Vec<u8>>,
    max_iterations: NonZeroU32,
    mock_as: MockAs,
    state: State,
}

enum State {
    New,
    Cleartext,
    Md5,
    /// Mechanisms are offered.
    SaslInitial,
    /// The client chose its mechanism without sending a first message along.
    ClientFirst {
        plus: bool,
    },
    ClientFinal(Box<Exchange>),
    DerivingCleartext {
        password: Password,
        expected: ScramVerifier,
        failure: Option<AuthFailure>,
    },
    DerivingScram(Box<Exchange>, Proof),
    Finished,
}

/// A SCRAM exchange up to the server-first-message.
struct Exchange {
    binding: Binding,
    nonce: Vec<u8>,
    /// client-first-message-bare
    client_first: Vec<u8>,
    server_first: Vec<u8>,
    candidate: Candidate,
}

/// The client's proof, and what it is made over.
struct Proof {
    proof: Key,
    signed: Vec<u8>,
}

/// What a client of a SCRAM exchange is measured against.
struct Candidate {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    known: Known,
    /// How the login will end whatever the client shows.
    failure: Option<AuthFailure>,
}

enum Known {
    Keys { stored_key: Key, server_key: Key },
    Password(Password),
}

impl ServerAuth {
    /// A login of `user` with the given method. `secret` is what is known of the role's password;
    /// None for a role that does not exist or has none: the exchange takes place all the same and
    /// fails at its end.
    #[must_use]
    pub fn new(
        method: Method,
        user: &[u8],
        secret: Option<Secret>,
        entropy: ServerEntropy,
    ) -> Self {
        Self {
            user: user.to_vec(),
            method,
            collect: false,
            secret,
            entropy,
            channel_binding: None,
            max_iterations: DEFAULT_MAX_ITERATIONS,
            mock_as: MockAs::default(),
            state: State::New,
        }
    }

    /// Asks for a password in clear text and takes any that is not empty, for the caller to try
    /// on a server. [`Authenticated::verified`] is false in the outcome.
    #[must_use]
    pub fn collect_cleartext(user: &[u8]) -> Self {
        let entropy = ServerEntropy { md5_salt: [0; 4], scram_nonce: [0; 18], mock_seed: [0; 32] };
        Self { collect: true, ..Self::new(Method::Password, user, None, entropy) }
    }

    /// Offers SCRAM-SHA-256-PLUS: `data` is the hash of the certificate presented to the client
    /// (`tls-server-end-point`, RFC 5929, 4.1).
    #[must_use]
    pub fn with_channel_binding(mut self, data: Vec<u8>) -> Self {
        self.channel_binding = Some(data);
        self
    }

    /// Sets the largest iteration count of a verifier to check a clear text password against,
    /// instead of [`DEFAULT_MAX_ITERATIONS`].
    #[must_use]
    pub const fn with_max_iterations(mut self, max: NonZeroU32) -> Self {
        self.max_iterations = max;
        self
    }

    /// Sets what a role that does not exist is made to look like.
    #[must_use]
    pub const fn with_mock(mut self, mock_as: MockAs) -> Self {
        self.mock_as = mock_as;
        self
    }

    /// Appends the first request.
    ///
    /// # Errors
    /// [`AuthFailure::Rejected`] for [`Method::Reject`]; [`AuthFailure::Misuse`] the second time.
    pub fn begin(&mut self, out: &mut Vec<u8>) -> Result<AuthStep, AuthFailure> {
        let State::New = mem::replace(&mut self.state, State::Finished) else {
            return Err(AuthFailure::Misuse);
        };
        if self.method == Method::Md5 && self.knows_scram_only() {
            self.method = Method::ScramSha256;
        }
        self.state = match self.method {
            Method::Trust => return Ok(self.done(false, None)),
            Method::Reject => return Err(AuthFailure::Rejected),
            Method::Password => {
                wire::request(out, wire::AUTH_CLEARTEXT, b"");
                State::Cleartext
            }
            Method::Md5 => {
                wire::request(out, wire::AUTH_MD5, &self.entropy.md5_salt);
                State::Md5
            }
            Method::ScramSha256 => {
                let mechanisms: &[u8] = match self.channel_binding {
                    Some(_) => b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
                    None => b"SCRAM-SHA-256\0\0",
                };
                wire::request(out, wire::AUTH_SASL, mechanisms);
                State::SaslInitial
            }
        };
        Ok(AuthStep::Send)
    }

    /// Takes the body of a `p` message.
    ///
    /// # Errors
    /// The client did not show that it knows the password, or broke the protocol. Nothing was
    /// appended then.
    pub fn on_response(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<AuthStep, AuthFailure> {
        // Every path out of here without a new state, errors included, ends the exchange.
        match mem::replace(&mut self.state, State::Finished) {
            State::Cleartext => self.cleartext(body),
            State::Md5 => self.md5(body),
            State::SaslInitial => self.sasl_initial(body, out),
            State::ClientFirst { plus } => self.client_first(plus, body, out),
            State::ClientFinal(exchange) => self.client_final(exchange, body, out),
            State::New
            | State::DerivingCleartext { .. }
            | State::DerivingScram(..)
            | State::Finished => Err(AuthFailure::Misuse),
        }
    }

    /// Goes on after an [`AuthStep::Derive`].
    ///
    /// # Errors
    /// The client did not show that it knows the password; [`AuthFailure::Misuse`] when no
    /// derivation, or another one, is due.
    pub fn resume(&mut self, key: DerivedKey, out: &mut Vec<u8>) -> Result<AuthStep, AuthFailure> {
        match mem::replace(&mut self.state, State::Finished) {
            State::DerivingCleartext { password, expected, failure }
                if key.0.made_with(&expected.salt, expected.iterations) =>
            {
                let right = key.verifier() == expected;
                self.verdict(right, failure, Some(Secret::Password(password)))
            }
            State::DerivingScram(exchange, proof)
                if key.0.made_with(&exchange.candidate.salt, exchange.candidate.iterations) =>
            {
                let ScramVerifier { stored_key, server_key, .. } = key.0.verifier();
                self.check_proof(&exchange.candidate, &stored_key, &server_key, &proof, out)
            }
            _ => Err(AuthFailure::Misuse),
        }
    }

    /// Whether md5 cannot be checked and SCRAM can.
    fn knows_scram_only(&self) -> bool {
        match &self.secret {
            Some(Secret::ScramVerifier(_) | Secret::ScramKeys(_)) => true,
            Some(Secret::Password(_) | Secret::Md5Hash(_)) => false,
            None => self.mock_as == MockAs::ScramVerifier,
        }
    }

    const fn done(&self, verified: bool, secret: Option<Secret>) -> AuthStep {
        AuthStep::Done(Authenticated { method: self.method, verified, secret })
    }

    /// Ends the exchange: `failure` is what was settled before the client showed anything.
    fn verdict(
        &self,
        right: bool,
        failure: Option<AuthFailure>,
        secret: Option<Secret>,
    ) -> Result<AuthStep, AuthFailure> {
        match failure {
            Some(failure) => Err(failure),
            None if right => Ok(self.done(true, secret)),
            None => Err(AuthFailure::WrongPassword),
        }
    }

    fn cleartext(&mut self, body: &[u8]) -> Result<AuthStep, AuthFailure> {
        let password = Password::new(wire::password_text(body)?);
        if password.is_empty() {
            return Err(AuthFailure::EmptyPassword);
        }
        if self.collect {
            return Ok(self.done(false, Some(Secret::Password(password))));
        }
        let (expected, failure) = match self.secret.take() {
            Some(Secret::Password(stored)) => {
                let right = stored == password;
                return self.verdict(right, None, Some(Secret::Password(password)));
            }
            Some(Secret::Md5Hash(stored)) => {
                let right = stored == Md5Hash::of(password.as_bytes(), &self.user);
                return self.verdict(right, None, Some(Secret::Password(password)));
            }
            Some(Secret::ScramVerifier(verifier)) => (verifier, None),
            Some(Secret::ScramKeys(keys)) => (keys.verifier(), None),
            None if self.mock_as == MockAs::ScramVerifier => {
                (self.mock_verifier(), Some(AuthFailure::UnknownRole))
            }
            None => return Err(AuthFailure::UnknownRole),
        };
        if expected.iterations > self.max_iterations {
            return Err(AuthFailure::SecretUnsuitable);
        }
        let job = DeriveJob::new(&password, expected.salt.clone(), expected.iterations);
        self.state = State::DerivingCleartext { password, expected, failure };
        Ok(AuthStep::Derive(job))
    }

    fn md5(&mut self, body: &[u8]) -> Result<AuthStep, AuthFailure> {
        let response = wire::password_text(body)?;
        if response.is_empty() {
            return Err(AuthFailure::EmptyPassword);
        }
        let (hash, failure) = match self.secret.take() {
            Some(Secret::Password(password)) => {
                let empty = password.is_empty().then_some(AuthFailure::EmptyPassword);
                (Md5Hash::of(password.as_bytes(), &self.user), empty)
            }
            Some(Secret::Md5Hash(hash)) => (hash, None),
            Some(Secret::ScramVerifier(_) | Secret::ScramKeys(_)) => {
                return Err(AuthFailure::SecretUnsuitable);
            }
            None => {
                let seed = self.seeded(b"md5 hash");
                (Md5Hash::of(&*seed, &self.user), Some(AuthFailure::UnknownRole))
            }
        };
        let right = hash.response(self.entropy.md5_salt).ct_eq(response).into();
        self.verdict(right, failure, None)
    }

    fn sasl_initial(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<AuthStep, AuthFailure> {
        let (mechanism, data) = wire::split_sasl_initial(body)?;
        let plus = match mechanism {
            scram::SCRAM => false,
            scram::SCRAM_PLUS if self.channel_binding.is_some() => true,
            _ => return Err(UnsupportedFeature::Mechanism.into()),
        };
        if let Some(message) = data {
            return self.client_first(plus, message, out);
        }
        // RFC 4422, 3.3: a client that cannot send its first message along gets an empty challenge.
        wire::request(out, wire::AUTH_SASL_CONTINUE, b"");
        self.state = State::ClientFirst { plus };
        Ok(AuthStep::Send)
    }

    fn client_first(
        &mut self,
        plus: bool,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<AuthStep, AuthFailure> {
        let (binding, bare) = self.gs2_header(plus, message)?;
        let mut attributes = Attributes::new(bare)?;
        match attributes.next()? {
            // The name is not looked at: the role is that of the startup packet.
            Some((b'n', _)) => {}
            Some((b'm', _)) => return Err(UnsupportedFeature::MandatoryExtension.into()),
            _ => return Err(ProtocolViolation::Malformed("SCRAM attribute missing").into()),
        }
        let nonce = attributes.nonce()?;
        attributes.finish()?;

        let candidate = self.candidate();
        let nonce = [nonce, scram::encode_nonce(self.entropy.scram_nonce).as_bytes()].concat();
        let mut server_first = Vec::with_capacity(256);
        server_first.extend_from_slice(b"r=");
        server_first.extend_from_slice(&nonce);
        let rest =
            alloc::format!(",s={},i={}", STANDARD.encode(&candidate.salt), candidate.iterations);
        server_first.extend_from_slice(rest.as_bytes());
        wire::request(out, wire::AUTH_SASL_CONTINUE, &server_first);
        let client_first = bare.to_vec();
        let exchange = Exchange { binding, nonce, client_first, server_first, candidate };
        self.state = State::ClientFinal(Box::new(exchange));
        Ok(AuthStep::Send)
    }

    /// Splits the gs2 header from a client-first-message and judges it (RFC 5802, 6 and 7).
    fn gs2_header<'m>(
        &self,
        plus: bool,
        message: &'m [u8],
    ) -> Result<(Binding, &'m [u8]), AuthFailure> {
        let mut parts = message.splitn(3, |&b| b == b',');
        let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ProtocolViolation::Malformed("SCRAM gs2 header").into());
        };
        let binding = match flag {
            b"n" => Binding::Unsupported,
            b"y" => Binding::NotOffered,
            b"p=tls-server-end-point" => Binding::Used,
            [b'p', b'=', ..] => return Err(UnsupportedFeature::ChannelBinding.into()),
            _ => return Err(ProtocolViolation::Malformed("SCRAM channel binding flag").into()),
        };
        match (binding, plus) {
            (Binding::Used, true) | (Binding::Unsupported | Binding::NotOffered, false) => {}
            (Binding::Used, false) => return Err(UnsupportedFeature::ChannelBinding.into()),
            (_, true) => {
                let what = "SCRAM mechanism and channel binding flag disagree";
                return Err(ProtocolViolation::Malformed(what).into());
            }
        }
        if binding == Binding::NotOffered && self.channel_binding.is_some() {
            return Err(AuthFailure::ChannelBindingDowngrade);
        }
        match identity {
            [] => Ok((binding, bare)),
            [b'a', b'=', ..] => Err(UnsupportedFeature::AuthorizationIdentity.into()),
            _ => Err(ProtocolViolation::Malformed("SCRAM gs2 header").into()),
        }
    }

    fn client_final(
        &mut self,
        exchange: Box<Exchange>,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<AuthStep, AuthFailure> {
        let mut attributes = Attributes::new(message)?;
        let binding = attributes.expect(b'c')?;
        let nonce = attributes.nonce()?;
        let (without_proof, proof) = loop {
            let passed = attributes.passed();
            match attributes.next()? {
                Some((b'p', value)) => break (passed, scram::decode_proof(value)?),
                Some(_) => {}
                None => return Err(ProtocolViolation::Malformed("SCRAM attribute missing").into()),
            }
        };
        if attributes.next()?.is_some() {
            return Err(ProtocolViolation::Malformed("bytes after the SCRAM proof").into());
        }
        if !bool::from(nonce.ct_eq(&exchange.nonce)) {
            return Err(ProtocolViolation::WrongNonce.into());
        }
        let expected = exchange.binding.input(self.channel_binding.as_deref());
        if !bool::from(binding.ct_eq(expected.as_bytes())) {
            return Err(AuthFailure::ChannelBindingMismatch);
        }

        let signed =
            scram::auth_message(&exchange.client_first, &exchange.server_first, without_proof);
        let proof = Proof { proof, signed };
        let candidate = &exchange.candidate;
        match &candidate.known {
            Known::Keys { stored_key, server_key } => {
                self.check_proof(candidate, stored_key, server_key, &proof, out)
            }
            Known::Password(password) => {
                let job = DeriveJob::new(password, candidate.salt.clone(), candidate.iterations);
                self.state = State::DerivingScram(exchange, proof);
                Ok(AuthStep::Derive(job))
            }
        }
    }

    fn check_proof(
        &self,
        candidate: &Candidate,
        stored_key: &Key,
        server_key: &Key,
        proof: &Proof,
        out: &mut Vec<u8>,
    ) -> Result<AuthStep, AuthFailure> {
        let client_key = scram::open_proof(&proof.proof, stored_key, &proof.signed);
        let signature = scram::server_signature(server_key, &proof.signed);
        if let Some(failure) = candidate.failure {
            return Err(failure);
        }
        let client_key = client_key.ok_or(AuthFailure::WrongPassword)?;
        wire::request(out, wire::AUTH_SASL_FINAL, scram::server_final(&signature).as_bytes());
        let keys = ScramKeys {
            client_key,
            server_key: server_key.clone(),
            salt: candidate.salt.clone(),
            iterations: candidate.iterations,
        };
        Ok(self.done(true, Some(Secret::ScramKeys(keys))))
    }

    /// What the client of a SCRAM exchange has to match.
    fn candidate(&mut self) -> Candidate {
        let keys = |verifier: ScramVerifier, failure| Candidate {
            salt: verifier.salt,
            iterations: verifier.iterations,
            known: Known::Keys { stored_key: verifier.stored_key, server_key: verifier.server_key },
            failure,
        };
        match self.secret.take() {
            Some(Secret::ScramVerifier(verifier)) => keys(verifier, None),
            Some(Secret::ScramKeys(found)) => keys(found.verifier(), None),
            // PostgreSQL lets an exchange that cannot succeed run to its end as well.
            Some(Secret::Md5Hash(_)) => {
                keys(self.mock_verifier(), Some(AuthFailure::SecretUnsuitable))
            }
            Some(Secret::Password(password)) => Candidate {
                salt: self.salt(),
                iterations: DEFAULT_ITERATIONS,
                failure: password.is_empty().then_some(AuthFailure::EmptyPassword),
                known: Known::Password(password),
            },
            None if self.mock_as == MockAs::Password => Candidate {
                salt: self.salt(),
                iterations: DEFAULT_ITERATIONS,
                known: Known::Password(Password::new(&*self.seeded(b"password"))),
                failure: Some(AuthFailure::UnknownRole),
            },
            None => keys(self.mock_verifier(), Some(AuthFailure::UnknownRole)),
        }
    }

    fn mock_verifier(&self) -> ScramVerifier {
        ScramVerifier {
            stored_key: sha256(&*self.seeded(b"stored key")),
            server_key: self.seeded(b"server key"),
            salt: self.salt(),
            iterations: DEFAULT_ITERATIONS,
        }
    }

    /// The salt of a role without a verifier: 16 bytes, as PostgreSQL's.
    fn salt(&self) -> Vec<u8> {
        self.seeded(b"salt").split_at(16).0.to_vec()
    }

    /// Bytes that only the seed and the role's name decide.
    fn seeded(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        hmac(&self.entropy.mock_seed, &[purpose, b"\0", &self.user])
    }
}

impl fmt::Debug for ServerAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::New => "New",
            State::Cleartext => "Cleartext",
            State::Md5 => "Md5",
            State::SaslInitial => "SaslInitial",
            State::ClientFirst { .. } => "ClientFirst",
            State::ClientFinal(_) => "ClientFinal",
            State::DerivingCleartext { .. } | State::DerivingScram(..) => "Deriving",
            State::Finished => "Finished",
        };
        f.debug_struct("ServerAuth")
            .field("method", &self.method)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
