//! Logging a client in: startup packet, a place among the clients, authentication, welcome.
//!
//! ```text
//! Packet -> Place -> Asking, Auth -> Welcome -> (Ready)
//!   |         |        |        |
//!   |         |        |        +- ParameterStatus values of this identity are not known yet: one of
//!   |         |        |           its servers is asked; that also tells whether role and database
//!   |         |        |           exist
//!   |         |        +- `authentication`: who the client is, as pool_hba.conf or the servers say
//!   |         +- num_init_children sessions at a time; later ones wait
//!   +- SSLRequest and GSSENCRequest are answered (`encryption`); CancelRequest is passed on
//! ```

use std::sync::Arc;

use pgwire_core::auth::ServerAuth;
use pgwire_core::cancel::{BackendKey, CancelKey};
use pgwire_core::encode::{self, Severity};
use pgwire_core::error::DecodeError;
use pgwire_core::frame::Seen;
use pgwire_core::params::Params;
use pgwire_core::pipeline::{Disposition, Request};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::startup::{
    Initial, Negotiated, ProtocolVersion, StartupMessage, StartupPacket, negotiate, parse_initial,
};
use pgwire_core::tag::{FrontendTag, TagSet};
use pgwire_core::time::Instant;
use pgwire_core::txn::TransactionStatus;

use super::authentication::{Farewell, Who};
use super::encryption::EncryptionStage;
use super::pause::Pause;
use super::place::{RESET_SETTINGS, set_parameter};
use super::query::SETUP;
use super::reply::lexing;
use super::{Entropy, Phase, Relay, Timer};
use crate::classify::IsolationLevel;
use crate::config::units::parse_bool;
use crate::hub::{Hub, client_pid};
use crate::identity::{Identity, Parameter, REPLICATION, Requested, TRACKED};
use crate::ids::{NodeId, PoolKey};
use crate::login::ConnectError;
use crate::pins::PinReasons;
use crate::pool::FailureKind;
use crate::prepared::Key;

/// The newest protocol version spoken here.
const NEWEST: ProtocolVersion = ProtocolVersion::V3_2;

/// Bytes of a cancel key for protocol 3.0, whose clients expect just so many.
const KEY_LEN_3_0: usize = 4;

/// Bytes of a cancel key from protocol 3.2 on.
const KEY_LEN_3_2: usize = 32;

#[derive(Debug)]
pub(super) struct Startup {
    pub(super) entropy: Entropy,
    encryption_requests: u8,
    pub(super) stage: Stage,
    pub(super) requested: Option<Requested>,
    key_len: usize,
    pub(super) who: Who,
    /// Nodes that could not serve the welcome.
    refused: u128,
    first_error: Option<(NodeId, Arc<ConnectError>)>,
    catalogue: CatalogueWait,
}

/// Whether the welcome waits for the database's catalogue, so that the first statement can already
/// be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CatalogueWait {
    NotYet,
    Waiting,
    Over,
}

#[derive(Debug)]
pub(super) enum Stage {
    Packet,
    /// TLS is being begun.
    Encryption(EncryptionStage),
    /// It was a cancel request, which is being dealt with. The client waits for our end of it.
    Cancelling,
    Place,
    /// The hub, or a server through it, is asked about the client.
    Asking,
    Auth(Box<ServerAuth>),
    /// The client could not show who it is. What it will be told, after a while.
    Failed(Box<Farewell>),
    /// The hub is asked for the identity.
    Identity,
    /// A server is being asked; `true` when the client's parameters are being set on it.
    Welcome {
        setting: bool,
    },
}

impl Startup {
    /// Whether it is not known yet what the client wants.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.stage, Stage::Packet | Stage::Encryption(_) | Stage::Cancelling)
    }

    /// How far TLS is that is being begun.
    pub(super) fn encryption(&self) -> Option<EncryptionStage> {
        match self.stage {
            Stage::Encryption(stage) => Some(stage),
            _ => None,
        }
    }

    /// TLS is being begun; `None`: it is not any more.
    pub(super) fn set_encryption(&mut self, stage: Option<EncryptionStage>) {
        self.stage = stage.map_or(Stage::Packet, Stage::Encryption);
    }

    /// Counts a request for encryption; returns how many there were before it.
    pub(super) fn encryption_asked(&mut self) -> u8 {
        let before = self.encryption_requests;
        self.encryption_requests = before.saturating_add(1);
        before
    }

    pub(super) fn encryption_requests(&self) -> u8 {
        self.encryption_requests
    }

    /// Whether it was not decided yet how the client is to show who it is.
    pub(super) fn is_before_auth(&self) -> bool {
        matches!(self.stage, Stage::Packet | Stage::Place)
    }

    pub(super) fn new(entropy: Entropy) -> Self {
        Self {
            entropy,
            encryption_requests: 0,
            stage: Stage::Packet,
            requested: None,
            key_len: KEY_LEN_3_0,
            who: Who::default(),
            refused: 0,
            first_error: None,
            catalogue: CatalogueWait::NotYet,
        }
    }
}

impl<S> Relay<S> {
    pub(super) fn startup(&mut self) -> Option<&mut Startup> {
        match &mut self.phase {
            Phase::Startup(startup) => Some(startup),
            Phase::Ready | Phase::Closing | Phase::Gone | Phase::Finished => None,
        }
    }

    /// Whether the client has brought a cancel request and is no session.
    pub(super) fn brings_cancel(&self) -> bool {
        matches!(&self.phase, Phase::Startup(startup) if matches!(startup.stage, Stage::Cancelling))
    }

    /// Moves the login on as far as it goes.
    pub(super) fn advance_startup(&mut self, now: Instant) -> bool {
        let mut progress = false;
        while let Some(startup) = self.startup() {
            let moved = match startup.stage {
                Stage::Packet => self.read_packet(now),
                Stage::Auth(_) => self.read_password(),
                Stage::Welcome { setting: true } => self.welcome_set(),
                Stage::Welcome { setting: false } => self.welcome_server_found(),
                Stage::Encryption(_)
                | Stage::Cancelling
                | Stage::Place
                | Stage::Asking
                | Stage::Failed(_)
                | Stage::Identity => false,
            };
            if !moved {
                break;
            }
            progress = true;
        }
        progress
    }

    fn read_packet(&mut self, now: Instant) -> bool {
        let input = self.client.input.unparsed();
        if input.is_empty() {
            return false;
        }
        let packet = match parse_initial(input) {
            Ok(Initial::Need { .. }) => return false,
            Ok(Initial::DirectTls) => {
                self.begin_direct_tls(now);
                return true;
            }
            Ok(Initial::Packet { packet, consumed }) => (packet, consumed),
            // PostgreSQL says nothing to what is no packet, and drivers that change their mind before
            // they have sent one (their first word is a Terminate) count on it.
            Err(DecodeError::BadStartupLength { .. }) => {
                tracing::debug!(client = self.id.index, "no startup packet");
                self.client_lost(now);
                return true;
            }
            Err(error) => {
                tracing::debug!(client = self.id.index, "bad startup packet: {error}");
                self.fatal(error.sqlstate(), &error.to_string(), None);
                return true;
            }
        };
        match packet {
            (request @ (StartupPacket::SslRequest | StartupPacket::GssEncRequest), consumed) => {
                let is_ssl = matches!(request, StartupPacket::SslRequest);
                let followed = input.len() > consumed;
                self.drop_input(consumed);
                self.answer_encryption_request(is_ssl, followed, now);
            }
            (StartupPacket::Cancel { pid, key }, consumed) => {
                self.wants.cancel_by_key = Some((pid, key.into()));
                self.drop_input(consumed);
                if let Some(startup) = self.startup() {
                    startup.stage = Stage::Cancelling;
                }
            }
            (StartupPacket::Startup(message), consumed) => {
                let outcome = read_startup(&message, self.is_transaction_mode());
                self.drop_input(consumed);
                match outcome {
                    Ok(Greeting { requested, version, unknown_options }) => {
                        if let Some(options) = unknown_options {
                            self.client.output.own(|out| {
                                encode::negotiate_version(out, version, &options);
                            });
                        }
                        if let Some(startup) = self.startup() {
                            startup.requested = Some(requested);
                            startup.key_len = if version >= ProtocolVersion::V3_2 {
                                KEY_LEN_3_2
                            } else {
                                KEY_LEN_3_0
                            };
                            startup.stage = Stage::Place;
                        }
                        self.wants.admit = true;
                    }
                    Err((code, message)) => self.fatal(code, &message, None),
                }
            }
        }
        true
    }

    pub(super) fn admit<D: Clone>(&mut self, hub: &mut Hub<S, D>, _now: Instant) {
        match hub.admit(self.id) {
            Some(true) => self.admitted(),
            Some(false) => {}
            None => self.fatal(
                SqlState::TOO_MANY_CONNECTIONS,
                "Sorry, too many clients already",
                Some("num_init_children less reserved_connections sessions are in use."),
            ),
        }
    }

    fn read_password(&mut self) -> bool {
        if self.deriving || self.job.is_some() {
            return false;
        }
        let mut framer = self.client.framer.clone();
        let (tag, frame) = match framer.scan(self.client.input.unparsed(), TagSet::ALL) {
            Ok(Seen::Need { .. }) => return false,
            Ok(Seen::Message { tag, frame }) => (tag, frame),
            Ok(Seen::Run { .. } | Seen::Opening { .. }) | Err(_) => {
                self.fatal(SqlState::PROTOCOL_VIOLATION, "invalid password packet", None);
                return true;
            }
        };
        let len = frame.len();
        let body = frame.get(5..).unwrap_or_default().to_vec();
        self.drop_input(len);
        self.client.framer = framer;
        if tag != FrontendTag::PASSWORD {
            let message = "expected password response";
            self.fatal(SqlState::PROTOCOL_VIOLATION, message, None);
            return true;
        }
        let mut out = Vec::new();
        let step = match self.startup().map(|startup| &mut startup.stage) {
            Some(Stage::Auth(auth)) => auth.on_response(&body, &mut out),
            _ => return false,
        };
        self.follow_auth(step, out);
        true
    }

    /// The client is who it says: finds its identity, and its welcome if that is known.
    pub(super) fn log_in<D: Clone>(&mut self, hub: &mut Hub<S, D>, now: Instant) {
        let Phase::Startup(startup) = &mut self.phase else { return };
        let Some(requested) = &startup.requested else { return };
        self.session.balancer.session_starts(&self.context.rules, &requested.names());
        let identity: Identity = requested.identity.clone();
        let secret = startup.who.secret.take();
        let proved = startup.who.proved.take();
        let limits = self.context.settings.client_limits(&identity.user, &identity.database);
        let Some(key) = cancel_key(startup) else { return };
        startup.stage = Stage::Welcome { setting: false };
        self.session.replicates = identity.replicates();
        if self.session.replicates {
            self.session.pin(PinReasons::REPLICATION);
        }
        self.session.startup_level = identity.parameters.iter().find_map(isolation_level);
        match hub.log_in(self.id, &identity, secret, proved.as_ref(), key, now) {
            Ok((pool_key, catalogue)) => {
                self.pool_key = Some(pool_key);
                self.catalogue = catalogue;
                self.set_limits(limits);
            }
            Err(refused) => {
                let message = refused.message(&identity);
                self.fatal(SqlState::TOO_MANY_CONNECTIONS, &message, None);
            }
        }
    }

    /// While the welcome is not complete: takes it from the hub, or from a server.
    pub(super) fn continue_welcome<D: Clone>(&mut self, hub: &mut Hub<S, D>, now: Instant) {
        let Some(pool_key) = self.pool_key else { return };
        let primary = self.context.settings.primary_node();
        let nodes: Vec<NodeId> = self.context.settings.nodes().map(|(node, _)| node).collect();
        let Some(startup) = self.startup() else { return };
        let Stage::Welcome { setting } = startup.stage else { return };
        let tracked: Vec<Parameter> =
            startup.requested.as_ref().map(|r| r.tracked.clone()).unwrap_or_default();
        let refused = startup.refused;
        if setting {
            // Set on the server: what it reported is the welcome of all who ask for the same.
            if let Some(link) = self.active.as_ref().filter(|link| link.pipeline.is_releasable()) {
                hub.remember_welcome(pool_key, tracked, link.params.clone());
                let params = link.params.clone();
                if !self.awaits_catalogue(hub, pool_key, now) {
                    self.welcome(params);
                }
            }
            return;
        }
        if let Some(params) = hub.welcome(pool_key, &tracked) {
            if !self.awaits_catalogue(hub, pool_key, now) {
                self.welcome(params);
            }
        } else if self.active.is_some() {
            self.ask_for_welcome(hub, pool_key, &tracked);
        } else if self.waiting.is_none() && self.wants.acquire.is_none() && self.pause == Pause::Off
        {
            let mut candidates = std::iter::once(primary)
                .chain(nodes)
                .filter(|node| refused & (1_u128 << (node.0 & 127)) == 0);
            self.wants.acquire = candidates.next();
        }
    }

    /// Whether the welcome, which could be given now, is to wait for the catalogue.
    fn awaits_catalogue<D: Clone>(
        &mut self,
        hub: &mut Hub<S, D>,
        key: PoolKey,
        now: Instant,
    ) -> bool {
        let id = self.id;
        let Some(startup) = self.startup() else { return false };
        let waits = startup.catalogue != CatalogueWait::Over && hub.awaits_catalogue(id, key, now);
        startup.catalogue = if waits { CatalogueWait::Waiting } else { CatalogueWait::Over };
        waits
    }

    /// Whether all has been done for the welcome, and the hub will ring.
    fn waits_for_catalogue(&mut self) -> bool {
        self.startup().is_some_and(|startup| startup.catalogue == CatalogueWait::Waiting)
    }

    /// The welcome is to be given without the catalogue, if that is all that it waits for.
    pub(super) fn stop_waiting_for_catalogue(&mut self) -> bool {
        let Some(startup) = self.startup() else { return false };
        let waiting = startup.catalogue == CatalogueWait::Waiting;
        if waiting {
            startup.catalogue = CatalogueWait::Over;
        }
        waiting
    }

    fn ask_for_welcome<D: Clone>(
        &mut self,
        hub: &mut Hub<S, D>,
        key: PoolKey,
        tracked: &[Parameter],
    ) {
        let base = hub.welcome(key, &[]);
        let Some(link) = &mut self.active else { return };
        if !link.verified {
            return;
        }
        let mut sql = Vec::new();
        if link.applied != Key::default() {
            sql.extend_from_slice(RESET_SETTINGS);
            link.applied = Key::default();
        }
        if let Some(base) = &base {
            for (name, value) in Params::diff(base, &link.params, &TRACKED) {
                set_parameter(&mut sql, name.as_bytes(), value);
            }
        }
        for (name, value) in tracked {
            set_parameter(&mut sql, name, value);
        }
        if link.pipeline.sent(Request::Query, Disposition::Swallow, SETUP).is_ok() {
            link.output.own(|out| encode::query(out, &sql));
        }
        if let Some(startup) = self.startup() {
            startup.stage = Stage::Welcome { setting: true };
        }
    }

    /// The server that is to be asked is known to be alive now: it can be asked.
    fn welcome_server_found(&mut self) -> bool {
        if self.active.as_ref().is_some_and(|link| link.verified) && !self.waits_for_catalogue() {
            self.doorbell = true;
        }
        false
    }

    /// The parameters may be set now: the hub is to know.
    fn welcome_set(&mut self) -> bool {
        if self.active.as_ref().is_some_and(|link| link.pipeline.is_releasable())
            && !self.waits_for_catalogue()
        {
            self.doorbell = true;
        }
        false
    }

    fn welcome(&mut self, params: Params) {
        self.stop_timer(Timer::Authentication);
        // Another client of this identity was faster.
        self.wants.withdraw = self.waiting.take().or(self.wants.withdraw.take());
        self.session.lexing = lexing(&params);
        let pid = client_pid(self.id);
        let Some(startup) = self.startup() else { return };
        let Some(key) = cancel_key(startup) else { return };
        self.client.output.own(|out| {
            encode::authentication_ok(out);
            for (name, value) in params.iter() {
                encode::parameter_status(out, name, value);
            }
            encode::backend_key_data(out, &BackendKey { pid, key });
            encode::ready_for_query(out, TransactionStatus::Idle);
        });
        self.session.startup = params.clone();
        self.client.params = params;
        self.phase = Phase::Ready;
        if self.active.is_some() && !self.is_transaction_mode() {
            self.let_go();
        }
        if self.context.settings.log_connections {
            tracing::info!(client = self.id.index, "connection authorized");
        }
    }

    /// The server that was to give the welcome cannot be had.
    pub(super) fn welcome_refused(&mut self, node: NodeId, error: &Arc<ConnectError>) {
        let backends = self.context.settings.nodes().count();
        let Some(startup) = self.startup() else { return };
        startup.refused |= 1_u128 << (node.0 & 127);
        let (first, reason) = startup.first_error.get_or_insert((node, error.clone())).clone();
        let all = usize::try_from(startup.refused.count_ones()).unwrap_or(usize::MAX) >= backends;
        if error.kind() == FailureKind::Rejected || all {
            let (node, reason) = match error.kind() {
                FailureKind::Rejected => (node, error.clone()),
                FailureKind::Unreachable => (first, reason),
            };
            let name = self.node_name(node);
            self.client.output.own(|out| reason.encode(out, Severity::Fatal, &name));
            self.close_client();
        }
    }

    /// The server that was giving the welcome is gone: another one is asked.
    pub(super) fn welcome_link_lost(&mut self) {
        if let Some(startup) = self.startup() {
            startup.stage = Stage::Welcome { setting: false };
        }
        self.doorbell = true;
    }
}

/// What a startup message asks for.
struct Greeting {
    requested: Requested,
    version: ProtocolVersion,
    /// The protocol options that a NegotiateProtocolVersion is to name, if one is due.
    unknown_options: Option<Vec<Vec<u8>>>,
}

/// Why a startup message cannot be served.
type Refusal = (SqlState, String);

/// Reads a startup message; with `share`, tracked parameters are kept out of the identity.
fn read_startup(message: &StartupMessage<'_>, share: bool) -> Result<Greeting, Refusal> {
    let (version, unknown_options) = match negotiate(message, NEWEST) {
        Ok(Negotiated::Accept(version)) => (version, None),
        Ok(Negotiated::Downgrade { use_version, unknown_options }) => {
            (use_version, Some(unknown_options))
        }
        Err(error) => return Err((error.sqlstate(), error.to_string())),
    };
    let user = message.get(b"user").filter(|user| !user.is_empty()).ok_or_else(|| {
        let text = "no PostgreSQL user name specified in startup packet";
        (SqlState::INVALID_AUTHORIZATION, text.to_owned())
    })?;
    let requested = Requested::new(message, user, share, replicates(message)?);
    Ok(Greeting { requested, version, unknown_options })
}

/// Whether a WAL sender is asked for: `database`, or what PostgreSQL takes for a boolean.
fn replicates(message: &StartupMessage<'_>) -> Result<bool, Refusal> {
    let Some(value) = message.get(REPLICATION) else { return Ok(false) };
    if value == b"database" {
        return Ok(true);
    }
    str::from_utf8(value).ok().and_then(parse_bool).ok_or_else(|| {
        let value = String::from_utf8_lossy(value);
        let text = format!("invalid value for parameter \"replication\": \"{value}\"");
        (SqlState::INVALID_PARAMETER_VALUE, text)
    })
}

fn cancel_key(startup: &Startup) -> Option<CancelKey> {
    let key = startup.entropy.0.get(32..32 + startup.key_len)?;
    CancelKey::new(key).ok()
}

/// The isolation level of transactions that a startup parameter asks for. What `options` asks for
/// besides is not looked at: a level that may be strict is taken for one.
fn isolation_level((name, value): &Parameter) -> Option<IsolationLevel> {
    let says = |word: &str| {
        value.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    let names_it = name.eq_ignore_ascii_case(b"default_transaction_isolation")
        || name.eq_ignore_ascii_case(b"options") && says("isolation");
    if !names_it {
        None
    } else if says("serializable") {
        Some(IsolationLevel::Serializable)
    } else {
        Some(IsolationLevel::RepeatableRead)
    }
}
