//! Who a client is: what it is asked, what that is compared with, and what becomes of one that
//! cannot show it.
//!
//! The method is that of the first record of `pool_hba.conf` that fits, or without that file the one
//! by which the servers ask. What is compared is the role's entry in `pool_passwd`, or what
//! `weir_auth_query` finds. Where neither has anything, and a password in clear text may be asked
//! for, a server is logged in to with it.
//!
//! Nobody is let in by a server connection that is there already: either the method is `trust`, or
//! the client has shown a password that the proxy has, or that a server has taken just now.
//!
//! Roles that do not exist go the same way as those that do, with the same messages, questions and
//! derivations.

use std::net::IpAddr;
use std::sync::Arc;

use pgwire_core::auth::{
    AuthFailure, AuthStep, DerivedKey, FailureKind as AuthFailureKind, Method as AuthMethod,
    MockAs, ScramKeys, Secret, ServerAuth, ServerEntropy,
};
use pgwire_core::encode::Severity;
use pgwire_core::sqlstate::SqlState;
use pgwire_core::time::Instant;
use sha2::{Digest, Sha256};

use super::startup::Stage;
use super::{Entropy, Relay, Timer, Transport};
use crate::auth_query::Derivation;
use crate::hba::{
    ClientCertificate, ConnectionFacts, InterfaceAddress, Method as HbaMethod,
    Transport as HbaTransport,
};
use crate::hub::{AskError, Checked, Hub};
use crate::ids::NodeId;
use crate::login::ConnectError;
use crate::passwd::StoredPassword;
use crate::pool::FailureKind;

/// What is known of who the client is.
#[derive(Debug, Default)]
pub(super) struct Who {
    /// How it is asked, once that is known.
    method: Option<HbaMethod>,
    /// Its certificate is another's than the role's, and `pool_hba.conf` demands the role's own. It is
    /// told so as PostgreSQL does it: after it has shown its password.
    misnamed: bool,
    /// `None`: not asked for. `Some(None)`: there is none.
    found: Option<Option<Secret>>,
    /// A password that the client has sent, to be tried on a server.
    collected: Option<Secret>,
    /// What it is compared with; after that, what servers are logged in to with.
    pub(super) secret: Option<Secret>,
    /// What its proof has revealed, if that was against what servers have said.
    pub(super) proved: Option<ScramKeys>,
    /// What a derivation under way is made from, if the result is to be remembered.
    source: Option<Option<[u8; 32]>>,
    /// The result.
    derivation: Option<Derivation>,
}

/// What a client is told that could not show who it is.
#[derive(Debug)]
pub(super) struct Farewell {
    code: SqlState,
    message: String,
    hint: Option<&'static str>,
    /// How long it waits is not settled yet.
    fresh: bool,
}

/// Told with every failure where it may be the reason, so that it tells nothing about the role.
const HINT: &str = "If the password is right, the proxy does not know it: name a role that may ask \
                    the servers for it (weir_auth_user), or put it into the file that pool_passwd \
                    names.";

impl<S> Relay<S> {
    /// The client has its place: authentication begins.
    pub(super) fn admitted(&mut self) {
        if let Some(startup) = self.startup() {
            startup.stage = Stage::Asking;
        }
        self.wants.authenticate = true;
    }

    /// Goes on as far as it goes without the client and the servers.
    pub(super) fn authenticate<D: Clone>(&mut self, hub: &mut Hub<S, D>, now: Instant) {
        let id = self.id;
        let Some(startup) = self.startup() else { return };
        let Some(requested) = &startup.requested else { return };
        let identity = requested.identity.clone();
        if let Some(derivation) = startup.who.derivation.take() {
            hub.derived(&identity.user, derivation);
        }
        match &startup.stage {
            Stage::Failed(farewell) if farewell.fresh => {
                let delay = hub.login_failed(id, &identity.user, self.peer(), now);
                return self.delay_farewell(now, delay);
            }
            Stage::Asking => {}
            _ => return,
        }
        if let Some(secret) = startup.who.collected.clone() {
            return hub.try_password(id, &identity, secret, now);
        }
        let from_server = self.context.hba.is_none();
        let method = match self.startup().and_then(|startup| startup.who.method) {
            Some(method) => method,
            None if from_server => match hub.find_method(id, &identity, now) {
                Some(method) => of_server(method),
                None => return,
            },
            None => match self.method_by_hba() {
                Some(method) => method,
                None => return,
            },
        };
        let context = self.context.clone();
        let text = std::str::from_utf8(&identity.user).ok();
        let stored = text.and_then(|user| context.passwords.lookup(user));
        let stored = stored.and_then(StoredPassword::secret);
        let collects = match method {
            HbaMethod::Password => stored.is_none(),
            HbaMethod::Md5 | HbaMethod::ScramSha256 => {
                stored.is_none()
                    && from_server
                    && context.settings.allow_clear_text_frontend_auth
                    && context.settings.authenticator().is_none()
            }
            HbaMethod::Trust | HbaMethod::Reject | HbaMethod::Cert => false,
        };
        let asks = matches!(method, HbaMethod::Md5 | HbaMethod::ScramSha256)
            && stored.is_none()
            && context.settings.authenticator().is_some();
        let end_point = self.local_end_point();
        let Some(startup) = self.startup() else { return };
        startup.who.method = Some(method);
        let mut secret = stored;
        if asks {
            secret = match startup.who.found.take() {
                Some(found) => found,
                None => {
                    let own = context.authenticator.as_ref().and_then(StoredPassword::secret);
                    match hub.find_password(id, &identity.user, own, now) {
                        Some(found) => Some(found),
                        None => return,
                    }
                }
            };
        }
        startup.who.secret = secret.clone();
        let entropy = auth_entropy(&startup.entropy, context.mock_seed);
        let user = &identity.user;
        let auth = match method {
            HbaMethod::Reject => return,
            // The certificate has shown who the client is.
            HbaMethod::Trust | HbaMethod::Cert => {
                ServerAuth::new(AuthMethod::Trust, user, None, entropy)
            }
            _ if collects => ServerAuth::collect_cleartext(user),
            HbaMethod::Password => ServerAuth::new(AuthMethod::Password, user, secret, entropy),
            HbaMethod::Md5 => {
                let mock = if asks { MockAs::ScramVerifier } else { MockAs::Password };
                ServerAuth::new(AuthMethod::Md5, user, secret, entropy).with_mock(mock)
            }
            HbaMethod::ScramSha256 if asks => {
                ServerAuth::new(AuthMethod::ScramSha256, user, secret, entropy)
                    .with_mock(MockAs::ScramVerifier)
            }
            HbaMethod::ScramSha256 => {
                // What was derived once is not derived again, nor is that a sign of anything: it is
                // so for every name that was tried before.
                let source = match &secret {
                    Some(Secret::Password(_)) => Some(digest(&context.mock_seed, secret.as_ref())),
                    None => Some(None),
                    _ => None,
                };
                let known = source.and_then(|source| hub.derivation(user, source));
                startup.who.source = if known.is_some() { None } else { source };
                let (secret, mock) = match (secret, known) {
                    (None, Some(_)) => (None, MockAs::ScramVerifier),
                    (Some(_), Some(keys)) => (Some(Secret::ScramKeys(keys)), MockAs::Password),
                    (secret, None) => (secret, MockAs::Password),
                };
                ServerAuth::new(AuthMethod::ScramSha256, user, secret, entropy).with_mock(mock)
            }
        };
        let auth = match end_point {
            Some(end_point) => auth.with_channel_binding(end_point),
            None => auth,
        };
        startup.stage = Stage::Auth(Box::new(auth));
        let mut out = Vec::new();
        let step = match &mut startup.stage {
            Stage::Auth(auth) => auth.begin(&mut out),
            _ => return,
        };
        self.follow_auth(step, out);
    }

    /// The method of the first record that fits; `None`: the client has been turned away.
    fn method_by_hba(&mut self) -> Option<HbaMethod> {
        let context = self.context.clone();
        let transport = self.client.transport;
        let hba = context.hba.as_ref()?;
        let identity = self.startup()?.requested.as_ref()?.identity.clone();
        let database = String::from_utf8_lossy(&identity.database);
        let user = String::from_utf8_lossy(&identity.user);
        let mut local_addrs = context.interfaces.clone();
        if let Transport::Tcp { local, .. } = transport {
            // It may be newer than the last load.
            local_addrs.push(InterfaceAddress::alone(local));
        }
        let facts = ConnectionFacts {
            transport: match transport {
                Transport::Local => HbaTransport::Local,
                Transport::Tcp { peer, .. } => HbaTransport::Tcp(peer),
            },
            tls: self.is_encrypted(),
            database: &database,
            user: &user,
            local_addrs: &local_addrs,
        };
        let host = match transport {
            Transport::Local => "[local]".to_owned(),
            Transport::Tcp { peer, .. } => peer.to_canonical().to_string(),
        };
        let encryption = if self.is_encrypted() { "SSL encryption" } else { "no encryption" };
        let who =
            format!("host \"{host}\", user \"{user}\", database \"{database}\", {encryption}");
        let record = hba.decide(&facts);
        let mut code = SqlState::INVALID_AUTHORIZATION;
        let message = match record.map(|record| (record, record.method, record.certificate)) {
            None => format!("no pool_hba.conf entry for {who}"),
            Some((_, HbaMethod::Reject, _)) => {
                format!("pool_hba.conf rejects connection for {who}")
            }
            Some((_, method, ClientCertificate::NotNeeded)) => return Some(method),
            Some(_) if !context.settings.verifies_clients() => {
                code = SqlState::CONFIG_FILE_ERROR;
                "client certificates can only be checked if a root certificate store is available"
                    .to_owned()
            }
            // One that was shown has been verified.
            Some((record, method, demanded)) => match self.peer_name() {
                None => "connection requires a valid client certificate".to_owned(),
                Some(peer)
                    if demanded == ClientCertificate::VerifyCa
                        || hba.is_own(record, peer.common_name.as_deref(), &user) =>
                {
                    return Some(method);
                }
                Some(_) if method == HbaMethod::Cert => {
                    format!("certificate authentication failed for user \"{user}\"")
                }
                Some(_) if method == HbaMethod::Trust => {
                    format!("\"trust\" authentication failed for user \"{user}\"")
                }
                Some(_) => {
                    self.startup()?.who.misnamed = true;
                    return Some(method);
                }
            },
        };
        let line = record.map(|record| record.origin.to_string());
        tracing::info!(client = self.id.index, line, "{message}");
        self.fatal(code, &message, None);
        None
    }

    fn peer(&self) -> Option<IpAddr> {
        match self.client.transport {
            Transport::Local => None,
            Transport::Tcp { peer, .. } => Some(peer),
        }
    }

    /// Servers were asked for the role's password.
    pub(super) fn password_found(&mut self, found: Result<Option<Secret>, AskError>) {
        let Some(startup) = self.startup() else { return };
        match found {
            Ok(found) => {
                startup.who.found = Some(found);
                self.wants.authenticate = true;
            }
            Err(AskError::Connect(node, error)) => self.cannot_ask(node, &error),
            Err(AskError::Query) => self.fatal(
                SqlState::INVALID_AUTHORIZATION,
                "the servers cannot be asked for the role's password",
                Some("The proxy's log says why; see weir_auth_user and weir_auth_query."),
            ),
        }
    }

    /// A login was tried on a server.
    pub(super) fn login_tried(&mut self, outcome: Result<Checked, (NodeId, Arc<ConnectError>)>) {
        let Some(startup) = self.startup() else { return };
        let collected = startup.who.collected.take();
        match (outcome, collected) {
            (Ok(Checked::LoggedIn), Some(secret)) => {
                startup.who.secret = Some(secret);
                self.is_who_it_says();
            }
            (Ok(found), None) => {
                startup.who.method = Some(match found {
                    Checked::LoggedIn => HbaMethod::Trust,
                    Checked::Asks(method) => of_server(method),
                });
                self.wants.authenticate = true;
            }
            (Ok(Checked::Asks(_)), Some(_)) => self.fail(AuthFailure::WrongPassword),
            (Err((node, error)), collected) => match &*error {
                ConnectError::Refused { code, message }
                    if collected.is_some() && *code == SqlState::INVALID_PASSWORD =>
                {
                    tracing::info!(client = self.id.index, "a server says: {message}");
                    self.fail(AuthFailure::WrongPassword);
                }
                _ => self.cannot_ask(node, &error),
            },
        }
    }

    /// A server's refusal, or that there is no server, is what the client is told.
    fn cannot_ask(&mut self, node: NodeId, error: &Arc<ConnectError>) {
        let name = self.node_name(node);
        self.client.output.own(|out| error.encode(out, Severity::Fatal, &name));
        // What is not the client's fault can be told at once.
        if error.kind() == FailureKind::Rejected {
            tracing::info!(client = self.id.index, "login refused by {name}: {error}");
        }
        self.close_client();
    }

    /// A derived key for the authentication under way.
    pub(super) fn derived(&mut self, key: DerivedKey) {
        let mut out = Vec::new();
        let Some(startup) = self.startup() else { return };
        if let Some(source) = startup.who.source.take() {
            let keys = key.clone().into_keys();
            startup.who.derivation = Some(Derivation { source, keys });
        }
        let remembers = startup.who.derivation.is_some();
        let step = match &mut startup.stage {
            Stage::Auth(auth) => auth.resume(key, &mut out),
            _ => return,
        };
        self.wants.authenticate |= remembers;
        self.follow_auth(step, out);
    }

    pub(super) fn follow_auth(&mut self, step: Result<AuthStep, AuthFailure>, out: Vec<u8>) {
        self.client.output.own(|buffer| buffer.extend_from_slice(&out));
        match step {
            Ok(AuthStep::Send) => {}
            Ok(AuthStep::Derive(job)) => self.job = Some(job),
            Ok(AuthStep::Done(done)) => {
                let Some(startup) = self.startup() else { return };
                let (method, verified) = (done.method(), done.verified());
                let shown = done.into_secret();
                if method == AuthMethod::Trust {
                    return self.is_let_in();
                }
                if !verified {
                    // Nobody has looked at this password yet: a server will.
                    startup.who.collected = shown;
                    startup.stage = Stage::Asking;
                    self.wants.authenticate = true;
                    return;
                }
                // The password itself serves every server.
                if let Some(Secret::Password(_)) = &shown {
                    startup.who.secret = shown;
                    return self.is_who_it_says();
                }
                // A verifier logs in nowhere; what the client has shown against it does.
                if let Some(Secret::ScramVerifier(_)) = &startup.who.secret {
                    if let Some(Secret::ScramKeys(keys)) = &shown {
                        startup.who.proved = Some(keys.clone());
                    }
                    startup.who.secret = shown;
                }
                self.is_who_it_says();
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// The client has shown a password. Who has shown another one does not share its servers.
    fn is_who_it_says(&mut self) {
        let seed = self.context.mock_seed;
        let id = self.id.index;
        let Some(startup) = self.startup() else { return };
        if startup.who.misnamed {
            tracing::info!(client = id, "the certificate is not that of the role (clientcert)");
            return self.fail(AuthFailure::WrongPassword);
        }
        let credential = digest(&seed, startup.who.secret.as_ref());
        if let Some(requested) = &mut startup.requested {
            requested.identity.credential = credential;
        }
        self.is_let_in();
    }

    fn is_let_in(&mut self) {
        if let Some(startup) = self.startup() {
            startup.stage = Stage::Identity;
        }
        self.wants.login = true;
    }

    /// The client could not show who it is.
    fn fail(&mut self, failure: AuthFailure) {
        let hint = self.context.settings.authenticator().is_none().then_some(HINT);
        let id = self.id.index;
        let Some(startup) = self.startup() else { return };
        let user = startup.requested.as_ref().map(|requested| requested.identity.user.clone());
        let user = String::from_utf8_lossy(&user.unwrap_or_default()).into_owned();
        tracing::info!(client = id, user, "authentication failed: {failure}");
        let code = SqlState::from_bytes(&failure.sqlstate()).unwrap_or(SqlState::INVALID_PASSWORD);
        let (message, hint) = match failure.kind() {
            AuthFailureKind::Protocol => ("malformed authentication message".to_owned(), None),
            AuthFailureKind::Unsupported => ("unsupported authentication".to_owned(), None),
            AuthFailureKind::WrongPassword
            | AuthFailureKind::Rejected
            | AuthFailureKind::ChannelBinding
            | AuthFailureKind::Internal => {
                (format!("password authentication failed for user \"{user}\""), hint)
            }
        };
        startup.stage = Stage::Failed(Box::new(Farewell { code, message, hint, fresh: true }));
        self.wants.authenticate = true;
    }

    /// Lets the client wait before it is told: guessing passwords takes time.
    fn delay_farewell(&mut self, now: Instant, delay: std::time::Duration) {
        if let Some(startup) = self.startup()
            && let Stage::Failed(farewell) = &mut startup.stage
        {
            farewell.fresh = false;
        }
        if delay.is_zero() {
            self.say_login_failed();
        } else {
            self.timer = Some((now + delay, Timer::LoginFailed));
        }
    }

    pub(super) fn say_login_failed(&mut self) {
        let Some(startup) = self.startup() else { return };
        if let Stage::Failed(farewell) = std::mem::replace(&mut startup.stage, Stage::Asking) {
            self.fatal(farewell.code, &farewell.message, farewell.hint);
        }
    }
}

/// The method of `pool_hba.conf` that is a server's.
fn of_server(method: AuthMethod) -> HbaMethod {
    match method {
        AuthMethod::Trust => HbaMethod::Trust,
        AuthMethod::Reject => HbaMethod::Reject,
        AuthMethod::Password => HbaMethod::Password,
        AuthMethod::Md5 => HbaMethod::Md5,
        AuthMethod::ScramSha256 => HbaMethod::ScramSha256,
    }
}

/// Tells secrets apart, and tells nothing else without the seed.
fn digest(seed: &[u8; 32], secret: Option<&Secret>) -> Option<[u8; 32]> {
    let hash = |kind: u8, bytes: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(seed);
        hash.update([kind]);
        hash.update(bytes);
        Some(hash.finalize().into())
    };
    match secret? {
        Secret::Password(password) => hash(0, password.as_bytes()),
        Secret::Md5Hash(md5) => hash(1, md5.as_hex()),
        Secret::ScramVerifier(verifier) => hash(2, verifier.encode().as_bytes()),
        Secret::ScramKeys(keys) => hash(2, keys.verifier().encode().as_bytes()),
    }
}

fn auth_entropy(entropy: &Entropy, mock_seed: [u8; 32]) -> ServerEntropy {
    let mut md5_salt = [0; 4];
    let mut scram_nonce = [0; 18];
    let bytes = &entropy.0;
    // Bytes 0..8 seed the balancer and are no secret; 32..64 are the cancel key.
    md5_salt.copy_from_slice(&bytes[8..12]);
    scram_nonce.copy_from_slice(&bytes[12..30]);
    ServerEntropy { md5_salt, scram_nonce, mock_seed }
}
