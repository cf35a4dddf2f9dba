//! Logging in to a server: from an open socket to a [`Link`], or to the reason why not.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use pgwire_core::auth::{AuthError, AuthStep, ClientAuth, DeriveJob, DerivedKey, Secret};
use pgwire_core::backend::{BackendKeyData, ErrorOrNotice, ParameterStatus};
use pgwire_core::cancel::{BackendKey, CancelKey};
use pgwire_core::encode::{self, ErrorResponse, Severity};
use pgwire_core::error::DecodeError;
use pgwire_core::frame::{BackendFramer, Seen};
use pgwire_core::params::Params;
use pgwire_core::sqlstate::SqlState;
use pgwire_core::startup::ProtocolVersion;
use pgwire_core::tag::{BackendTag, TagSet};
use pgwire_core::time::Instant;

use crate::buffers::{Buffers, FRAME_LIMITS, InBuf};
use crate::config::BackendHost;
use crate::identity::Identity;
use crate::ids::ServerId;
use crate::io::{Io, Transfer};
use crate::link::Link;
use crate::pool::FailureKind;
use crate::tls::{Encryption, EncryptionError, HandshakeError, Tls, Wire, end_point};

impl fmt::Display for BackendHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(name) | Self::UnixDir(name) => f.write_str(name),
        }
    }
}

/// What a [`Login`] needs to know; part of the hub's order to connect.
#[derive(Debug, Clone)]
pub struct LoginPlan {
    /// The connection's future id.
    pub server: ServerId,
    /// Where to dial.
    pub host: BackendHost,
    /// The port there (for a socket directory: the number in the socket's name).
    pub port: u16,
    /// TLS to servers.
    pub tls: Tls,
    /// Who logs in to what.
    pub identity: Arc<Identity>,
    /// What is known of the role's password.
    pub secret: Option<Secret>,
    /// Whether a server in recovery is to be refused.
    pub must_be_primary: bool,
    /// How long dialling may take, name resolution included.
    pub connect_timeout: Option<Duration>,
    /// How long the login may take after that.
    pub login_timeout: Option<Duration>,
    /// Bound of requests in flight on the connection.
    pub pipeline_limit: usize,
}

/// Why there is no server connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Dialling failed; the runtime's words.
    #[error("{0}")]
    Dial(Box<str>),
    /// Dialling or logging in took too long.
    #[error("timeout expired while {0}")]
    Timeout(&'static str),
    /// The server refused: its own words.
    #[error("{message}")]
    Refused {
        /// Its SQLSTATE.
        code: SqlState,
        /// Its message.
        message: Box<str>,
    },
    /// The connection ended during login.
    #[error("server closed the connection unexpectedly")]
    Closed,
    /// The server does not speak the protocol.
    #[error("server violates the protocol: {0}")]
    Protocol(#[from] DecodeError),
    /// There is no TLS as it is demanded.
    #[error("{0}")]
    Tls(#[from] EncryptionError),
    /// The server sent something that has no place in a login.
    #[error("unexpected message during login")]
    Unexpected,
    /// We cannot answer what the server asks.
    #[error("{0}")]
    Auth(#[from] AuthError),
    /// The server in the primary's place is in recovery.
    #[error("the server configured as primary is a standby")]
    NotPrimary,
    /// Internal: the node is not configured (any more).
    #[error("no such backend")]
    NoSuchNode,
    /// As many clients as may wait for connections of the user and database do so already.
    #[error("too many clients are waiting for server connections already")]
    QueueFull,
}

impl ConnectError {
    /// Whether the node or only this identity is affected.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            // Starting up or shutting down: the same for everybody.
            Self::Refused { code, .. } if code.class() == *b"57" => FailureKind::Unreachable,
            Self::Refused { .. } | Self::Auth(_) | Self::QueueFull => FailureKind::Rejected,
            _ => FailureKind::Unreachable,
        }
    }

    /// Tells a client, with the given severity, that node `host` cannot serve it.
    pub fn encode(&self, out: &mut Vec<u8>, severity: Severity, host: &dyn fmt::Display) {
        if let Self::Refused { code, message } = self {
            let message = message.as_ref();
            let error = ErrorResponse { severity, code: *code, message, detail: None, hint: None };
            encode::error_response(out, &error);
            return;
        }
        let (code, hint) = match self {
            Self::Auth(AuthError::StaleKeys) => (
                SqlState::INVALID_PASSWORD,
                Some("The role's password has changed since the client logged in: log in again."),
            ),
            Self::Auth(_) => (
                SqlState::INVALID_AUTHORIZATION,
                Some(
                    "Give the role's password to the proxy, in the file that pool_passwd names, or \
                     name a role that may ask the servers for it (weir_auth_user).",
                ),
            ),
            Self::QueueFull => {
                (SqlState::TOO_MANY_CONNECTIONS, Some("See weir_max_queue and weir_pool_size."))
            }
            _ => (SqlState::UNABLE_TO_CONNECT, None),
        };
        let message = format!("cannot connect to backend {host}: {self}");
        encode::error_response(
            out,
            &ErrorResponse { severity, code, message: &message, detail: None, hint },
        );
    }
}

/// What a [`Login`] needs from its runtime.
#[derive(Debug)]
pub enum LoginTurn<S> {
    /// Run the job, wherever it does not hold up others, and call [`Login::resume`].
    Derive(DeriveJob),
    /// Wait until the socket is ready or this moment comes, then drive again.
    Wait(Option<Instant>),
    /// Logged in.
    Done(Box<Link<S>>),
    /// No connection.
    Failed(ConnectError),
}

/// The login on one dialled socket.
///
/// # Calling rule
/// [`Login::drive`] until it answers [`LoginTurn::Done`] or [`LoginTurn::Failed`].
#[derive(Debug)]
pub struct Login<S> {
    plan: LoginPlan,
    socket: Option<Wire<S>>,
    encryption: Encryption,
    /// Is made anew when TLS has begun, for its certificate.
    auth: ClientAuth,
    nonce: [u8; 18],
    job: Option<DeriveJob>,
    deriving: bool,
    authenticated: bool,
    framer: BackendFramer,
    input: InBuf,
    output: Vec<u8>,
    written: usize,
    params: Params,
    key: Option<BackendKey>,
    deadline: Option<Instant>,
}

impl<S> Login<S> {
    /// A login over a freshly dialled `socket`. `nonce` comes from a cryptographic generator.
    #[must_use]
    pub fn new(plan: LoginPlan, socket: S, nonce: [u8; 18], now: Instant) -> Self {
        let mut output = Vec::new();
        let identity = &plan.identity;
        let named = [(&b"user"[..], &*identity.user), (&b"database"[..], &*identity.database)];
        let others = identity.parameters.iter().map(|(name, value)| (&**name, &**value));
        encode::startup(&mut output, ProtocolVersion::V3_0, named.into_iter().chain(others));
        Self {
            auth: ClientAuth::new(&identity.user, plan.secret.clone(), nonce),
            deadline: plan.login_timeout.map(|limit| now + limit),
            encryption: Encryption::new(&plan.tls, &plan.host),
            plan,
            socket: Some(Wire::plain(socket)),
            nonce,
            job: None,
            deriving: false,
            authenticated: false,
            framer: BackendFramer::new(FRAME_LIMITS),
            input: InBuf::default(),
            output,
            written: 0,
            params: Params::new(),
            key: None,
        }
    }

    /// Moves the login on as far as it goes.
    pub fn drive(
        &mut self,
        io: &mut impl Io<S>,
        buffers: &mut Buffers,
        now: Instant,
    ) -> LoginTurn<S> {
        let turn = self.step(io, buffers, now);
        self.input.trim(buffers);
        match turn {
            Ok(turn) => turn,
            Err(error) => {
                self.socket = None;
                LoginTurn::Failed(error)
            }
        }
    }

    /// Goes on after [`LoginTurn::Derive`]; call [`Login::drive`] next.
    ///
    /// # Errors
    /// The login has failed.
    pub fn resume(&mut self, key: DerivedKey) -> Result<(), ConnectError> {
        self.deriving = false;
        let step = self.auth.resume(key, &mut self.output)?;
        self.follow(step);
        Ok(())
    }

    fn step(
        &mut self,
        io: &mut impl Io<S>,
        buffers: &mut Buffers,
        now: Instant,
    ) -> Result<LoginTurn<S>, ConnectError> {
        loop {
            if self.deadline.is_some_and(|deadline| now >= deadline) {
                return Err(ConnectError::Timeout("logging in"));
            }
            if !self.encryption.is_over() {
                let Some(socket) = self.socket.as_mut() else { return Err(ConnectError::Closed) };
                self.encryption.drive(socket, io)?;
                if !self.encryption.is_over() {
                    return Ok(LoginTurn::Wait(self.deadline));
                }
                self.bind_to_channel();
            }
            while self.written < self.output.len() {
                let Some(socket) = self.socket.as_mut() else { return Err(ConnectError::Closed) };
                let rest = self.output.get(self.written..).unwrap_or_default();
                match socket.write(io, &[IoSlice::new(rest)]) {
                    Transfer::Bytes(n) => self.written += n,
                    Transfer::Blocked => return Ok(LoginTurn::Wait(self.deadline)),
                    Transfer::Closed => return Err(self.closed()),
                }
            }
            self.output.clear();
            self.written = 0;
            if let Some(turn) = self.parse()? {
                return Ok(turn);
            }
            if let Some(job) = self.job.take() {
                self.deriving = true;
                return Ok(LoginTurn::Derive(job));
            }
            if self.deriving {
                return Ok(LoginTurn::Wait(self.deadline));
            }
            if !self.output.is_empty() {
                continue;
            }
            let Some(socket) = self.socket.as_mut() else { return Err(ConnectError::Closed) };
            match socket.read(io, self.input.room(buffers)) {
                Transfer::Bytes(n) => self.input.filled(n),
                Transfer::Blocked => return Ok(LoginTurn::Wait(self.deadline)),
                Transfer::Closed => return Err(self.closed()),
            }
        }
    }

    /// Has SCRAM bound to the TLS session, if there is one and its certificate serves for that.
    fn bind_to_channel(&mut self) {
        let certificate = self.socket.as_ref().and_then(Wire::peer_certificate);
        let Some(binding) = certificate.and_then(end_point) else { return };
        let plan = &self.plan;
        let auth = ClientAuth::new(&plan.identity.user, plan.secret.clone(), self.nonce);
        self.auth = auth.with_channel_binding(binding);
    }

    /// Why the connection ended. In TLS 1.3 a server that does not accept our certificate says so
    /// after the handshake.
    fn closed(&self) -> ConnectError {
        match self.socket.as_ref().and_then(Wire::fault) {
            Some(fault) => EncryptionError::from(HandshakeError::from(fault.clone())).into(),
            None => ConnectError::Closed,
        }
    }

    fn parse(&mut self) -> Result<Option<LoginTurn<S>>, ConnectError> {
        while self.job.is_none() && !self.deriving {
            let (tag, frame, len) = match self.framer.scan(self.input.unparsed(), TagSet::ALL)? {
                Seen::Need { .. } => return Ok(None),
                Seen::Message { tag, frame } => (tag, frame.to_vec(), frame.len()),
                Seen::Run { .. } | Seen::Opening { .. } => return Err(ConnectError::Unexpected),
            };
            self.input.decide(len);
            self.input.release(len);
            if let Some(turn) = self.on_message(tag, &frame)? {
                return Ok(Some(turn));
            }
        }
        Ok(None)
    }

    fn on_message(
        &mut self,
        tag: BackendTag,
        frame: &[u8],
    ) -> Result<Option<LoginTurn<S>>, ConnectError> {
        match tag {
            BackendTag::AUTHENTICATION => {
                let body = frame.get(5..).unwrap_or_default();
                let step = self.auth.on_request(body, &mut self.output)?;
                self.follow(step);
            }
            BackendTag::PARAMETER_STATUS => {
                let status = ParameterStatus::parse(frame)?;
                self.params.set(status.name, status.value).map_err(|_| ConnectError::Unexpected)?;
            }
            BackendTag::BACKEND_KEY_DATA => {
                let data = BackendKeyData::parse(frame)?;
                self.key = Some(BackendKey { pid: data.pid, key: CancelKey::new(data.key)? });
            }
            BackendTag::ERROR => {
                let error = ErrorOrNotice::parse(frame)?;
                let message = String::from_utf8_lossy(error.message().unwrap_or(b"(no message)"));
                return Err(ConnectError::Refused {
                    code: error.code().unwrap_or(SqlState::INTERNAL_ERROR),
                    message: message.into(),
                });
            }
            BackendTag::NOTICE | BackendTag::NEGOTIATE_VERSION => {}
            BackendTag::READY if self.authenticated => return self.finish().map(Some),
            _ => return Err(ConnectError::Unexpected),
        }
        Ok(None)
    }

    fn follow(&mut self, step: AuthStep) {
        match step {
            AuthStep::Send => {}
            AuthStep::Derive(job) => self.job = Some(job),
            AuthStep::Done(_) => self.authenticated = true,
        }
    }

    fn finish(&mut self) -> Result<LoginTurn<S>, ConnectError> {
        // Reported since PostgreSQL 14; older servers are taken at their configuration's word.
        if self.plan.must_be_primary && self.params.get(b"in_hot_standby") == Some(b"on") {
            return Err(ConnectError::NotPrimary);
        }
        let socket = self.socket.take().ok_or(ConnectError::Closed)?;
        let key = self.key.take().ok_or(ConnectError::Unexpected)?;
        let params = std::mem::replace(&mut self.params, Params::new());
        let link = Link::new(self.plan.server, socket, key, params, self.plan.pipeline_limit);
        Ok(LoginTurn::Done(Box::new(link)))
    }
}
