//! The driver of one client: both runtimes and the simulated world run this same object.
//!
//! A [`Relay`] owns a client's socket and the server connections that it holds, as opaque values,
//! and moves bytes between them through [`Io`]. In transaction mode it holds at most one server
//! connection at a time, in session mode at most one for each node.
//!
//! # Calling rule
//! Call [`Relay::drive`] whenever a socket may be ready, the doorbell rang, or the deadline has
//! come, and obey its answer ([`Turn`]). Time must not run backwards.
//!
//! # Back-pressure
//! Input is read into one buffer of [`BUFFER_SIZE`] bytes for each direction, and forwarded from
//! there without copying; a full buffer is not read into. So a slow reader holds back its sender,
//! and what one client occupies is bounded whatever passes through.
//!
//! # Files
//! `startup` logs a client in, `encryption` begins TLS, `authentication` finds out who it is; `query` and `extended` send its
//! statements where they belong, which `place` sees to; `reply` takes the servers' answers, `heal`
//! asks again what a server refused. `demand` is what a statement needs, `statements` knows what is
//! prepared, `names` and `shared` what of it is shared with other clients, `transaction` what is open;
//! `farewell` cleans up.
//!
//! [`BUFFER_SIZE`]: crate::buffers::BUFFER_SIZE

mod authentication;
mod clocks;
mod demand;
mod encryption;
mod extended;
mod facts;
mod farewell;
mod heal;
mod names;
mod parameters;
mod pause;
mod place;
mod query;
mod reload;
mod reply;
mod shared;
mod startup;
mod statements;
mod transaction;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pgwire_core::auth::{AuthError, DeriveJob, DerivedKey};
use pgwire_core::cancel::BackendKey;
use pgwire_core::encode::{self, ErrorResponse, Severity};
use pgwire_core::frame::FrontendFramer;
use pgwire_core::params::Params;
use pgwire_core::sqlstate::SqlState;
use pgwire_core::time::Instant;
use pgwire_core::txn::TransactionStatus;

use crate::buffers::{Buffers, FRAME_LIMITS, InBuf};
use crate::catalogue::{Cell, Learned};
use crate::classify::{IsolationLevel, Lexing, ShapeCache, classify};
use crate::config::{PoolMode, Settings};
use crate::context::Context;
use crate::hub::{Event, Hub, Shutdown};
use crate::ids::{ClientId, NodeId, PoolKey, ServerId};
use crate::io::{Io, Transfer};
use crate::link::Link;
use crate::login::ConnectError;
use crate::outbox::Outbox;
use crate::pins::PinReasons;
use crate::pool::FailureKind;
use crate::prepared::Library;
use crate::route::{AfterWrite, Balancer};
use crate::rules::FunctionMemo;
use crate::tally::Tally;
use crate::tls::Wire;

use clocks::Clocks;
use demand::{Change, Demand};
use heal::Occasion;
use parameters::{Parameters, Resets};
use pause::Pause;
use reload::Next;
use shared::{BatchSeen, Dropping};
use startup::Startup;
use statements::Statements;
use transaction::{Block, Transaction};

/// Rounds of reading and writing after which others get their turn.
const MAX_ROUNDS: u32 = 32;

/// How long a client that must leave may take to read the reason.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take to be reset before it is closed instead.
const RESET_TIMEOUT: Duration = Duration::from_secs(10);

/// What a [`Relay`] needs from its runtime.
#[derive(Debug)]
pub enum Turn {
    /// Call [`Relay::service`] with the hub, then drive again, before waiting for anything: what
    /// the sockets were found to have is still taken for true.
    Service,
    /// Run the job, wherever it does not hold up others, call [`Relay::resume`], then drive again.
    Derive(DeriveJob),
    /// Wait until a socket is ready, the doorbell rings, or this moment comes; then drive again.
    Wait(Option<Instant>),
    /// Let others run, then drive again.
    Yield,
    /// The client is gone and everything it held is returned: drop the relay.
    Finished,
}

/// How a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A Unix-domain socket.
    Local,
    /// TCP, from this address to that.
    Tcp {
        /// The client's address.
        peer: core::net::IpAddr,
        /// Ours.
        local: core::net::IpAddr,
    },
}

/// Random bytes for one client, from a cryptographic generator.
#[derive(Clone)]
pub struct Entropy(
    /// The bytes.
    pub [u8; 64],
);

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// The client's side.
#[derive(Debug)]
struct ClientSide<S> {
    socket: Option<Wire<S>>,
    transport: Transport,
    framer: FrontendFramer,
    input: InBuf,
    output: Outbox,
    /// Its parameters, as it has been told or has set them.
    params: Params,
    closed: bool,
}

#[derive(Debug)]
enum Phase {
    /// Logging in.
    Startup(Box<Startup>),
    /// Statements are served.
    Ready,
    /// The client has been told that it must leave; that is being written.
    Closing,
    /// The client is gone; its servers are being cleaned.
    Gone,
    /// Nothing is left.
    Finished,
}

/// Why the relay is to be driven at a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Authentication,
    LoginFailed,
    /// The client is told that it waits; and when its statement is refused.
    QueueNotice(Option<Instant>),
    QueueWait,
    ClientIdle,
    Flush,
    Reset,
}

/// What is to be asked of the hub.
#[derive(Debug)]
struct Wants<S> {
    admit: bool,
    /// To go on with finding out who the client is.
    authenticate: bool,
    login: bool,
    acquire: Option<NodeId>,
    withdraw: Option<NodeId>,
    release: Vec<Box<Link<S>>>,
    /// To be closed in good order.
    retire: Vec<Box<Link<S>>>,
    discard: Vec<ServerId>,
    learned: Option<(NodeId, Learned)>,
    catalogue_changed: bool,
    /// A database to which nobody else is to be connected.
    vacate: Option<Vec<u8>>,
    cancel_server: Vec<(ServerId, BackendKey, Option<ClientId>)>,
    /// Brought cancel requests that need nothing more.
    cancel_over: Vec<ClientId>,
    cancel_by_key: Option<(u32, Box<[u8]>)>,
    /// A paused client has nothing under way.
    rest: bool,
    leave: bool,
}

impl<S> Default for Wants<S> {
    fn default() -> Self {
        Self {
            admit: false,
            authenticate: false,
            login: false,
            acquire: None,
            withdraw: None,
            release: Vec::new(),
            retire: Vec::new(),
            discard: Vec::new(),
            learned: None,
            catalogue_changed: false,
            vacate: None,
            cancel_server: Vec::new(),
            cancel_over: Vec::new(),
            cancel_by_key: None,
            rest: false,
            leave: false,
        }
    }
}

impl<S> Wants<S> {
    fn any(&self) -> bool {
        self.admit
            || self.authenticate
            || self.login
            || self.leave
            || self.rest
            || self.catalogue_changed
            || self.vacate.is_some()
            || self.learned.is_some()
            || self.acquire.is_some()
            || self.withdraw.is_some()
            || !self.release.is_empty()
            || !self.retire.is_empty()
            || !self.discard.is_empty()
            || !self.cancel_server.is_empty()
            || !self.cancel_over.is_empty()
            || self.cancel_by_key.is_some()
    }
}

/// Sockets that had nothing to read. Until the runtime has its turn they are not asked again: it
/// drives the relay anew when that changes.
#[derive(Debug, Default)]
struct Asked {
    client: bool,
    server: Option<ServerId>,
}

/// A statement or batch that waits at the head of the input for its server.
#[derive(Debug, Clone, Copy)]
struct Head {
    demand: Demand,
    /// It is transaction control that every server would understand.
    exact: bool,
    /// What a server would call a transaction's begin.
    begin_tag: &'static str,
    /// Bytes of it, as far as they have come.
    len: usize,
}

impl Head {
    fn new(demand: Demand, len: usize) -> Self {
        Self { demand, exact: false, begin_tag: "BEGIN", len }
    }
}

/// What is remembered of a session between its statements.
#[derive(Debug)]
struct Session {
    lexing: Lexing,
    /// The worker's, while the relay is driven.
    shapes: Option<Box<ShapeCache>>,
    /// What the hub is to count when it is next entered. It is not entered for that: what waits for
    /// the rest of its batch is looked at again and again, and counted each time.
    tally: Option<Box<Tally>>,
    /// The same.
    library: Option<Box<Library>>,
    /// Something that is not settled may have changed how texts are read: the number of this
    /// occasion.
    unsettled: Option<u64>,
    occasions: u64,
    /// Statements have names on the active link's server that the client gave them.
    raw_names: bool,
    /// The parameters that it began with, to which it is reset on shared servers.
    startup: Params,
    /// What the statement under way resets: this tracked parameter, or all of them.
    resets: Option<Resets>,
    /// What drops prepared statements, and is under way or about to be.
    dropping: Dropping,
    /// What was seen of the batch at the head of the input.
    batch: BatchSeen,
    /// A server lacked a statement, or had an old plan of one: the batch at the head of the input runs
    /// again.
    mending: bool,
    /// What the function lists were already asked.
    functions: FunctionMemo,
    balancer: Balancer,
    /// State that lives in one server session was made: reads stay on the primary, and in
    /// transaction mode the server stays with its client.
    pinned: bool,
    /// What state that is, and as the hub was told.
    pins: PinReasons,
    pins_told: PinReasons,
    /// What of it the statement under way takes away.
    unpins: PinReasons,
    /// Its server connection is a WAL sender: it serves nobody else, and is not reset.
    replicates: bool,
    after_write: AfterWrite,
    transaction: Transaction,
    parameters: Parameters,
    /// The isolation level that the startup packet gives its transactions, if it names any.
    startup_level: Option<IsolationLevel>,
    /// The same, by the server's configuration, if that may be another than READ COMMITTED.
    server_level: Option<IsolationLevel>,
    /// The snapshot of the catalogue, and the change that it has to show, with which statements were
    /// classified.
    known: (u64, Option<u64>),
    /// A server has refused to repeat a setting.
    repeat_failed: bool,
    /// Something that is not committed yet may have changed the catalogue.
    alters_catalogue: bool,
    /// The change of the catalogue that the session has to see; `None`: it has no number yet.
    catalogue_change: Option<u64>,
    /// What was found out about the statement or batch at the head of the input, while it is held.
    head: Option<Head>,
    /// The node chosen for the statement or batch at the head of the input.
    chosen: Option<NodeId>,
    /// A batch of extended-protocol messages is open on the active link.
    in_batch: bool,
    /// Messages are discarded up to the next Sync, because the proxy itself refused the batch.
    skip_to_sync: bool,
    /// The statement or batch that a standby is asked, for as long as it can still be asked of the
    /// primary instead. Empty if there is none.
    replay: Vec<u8>,
    /// What it may be asked for again: a refusal, or only the loss of its server.
    replay_for: Occasion,
    /// Nothing of the client was under way on the active link before the statement at hand.
    alone: bool,
    /// A standby refused the statement at the head of the input.
    healing: bool,
    /// Demands of the Parse messages of the batch at hand, in their order.
    demands: VecDeque<Demand>,
    statements: Statements,
}

impl Session {
    /// The isolation level that its transactions begin with, where that is known to be another than
    /// READ COMMITTED.
    fn default_level(&self) -> Option<IsolationLevel> {
        self.parameters.level().or(self.startup_level).or(self.server_level)
    }

    /// State was made that ties the session to its server.
    fn pin(&mut self, reasons: PinReasons) {
        self.pinned = true;
        self.pins = self.pins.with(reasons);
    }

    /// The database to which nobody else may be connected while such a statement runs.
    fn vacated(&self, sql: &[u8]) -> Option<Vec<u8>> {
        classify(sql, &self.lexing).effects.vacates.map(|database| database.name(sql))
    }

    /// Such state is gone.
    fn unpin(&mut self, reasons: PinReasons) {
        self.pins = self.pins.without(reasons.without(PinReasons::REPLICATION));
        self.pinned &= !self.pins.is_empty();
    }

    /// A statement goes to its server: what it does to transaction and session.
    fn runs<S>(
        &mut self,
        demand: Demand,
        sql: &[u8],
        params: &Params,
        link: Option<&Link<S>>,
        primary: NodeId,
    ) {
        let Some(link) = link else { return };
        if link.node() != primary {
            let level = self.default_level();
            self.transaction.runs(demand, level, sql, params);
        }
        if matches!(demand.change, Change::DeallocateAll | Change::DiscardAll)
            && self.statements.names.is_none()
        {
            self.statements.deallocate_all(link.node());
        }
        if matches!(demand.change, Change::Set(_)) && !self.alone {
            // Whether it takes effect would be hard to tell.
            self.pin(PinReasons::SETTING);
        }
        self.unpins = if self.alone { demand.unpins } else { PinReasons::default() };
        self.resets = Resets::of(&demand, sql).filter(|_| self.alone);
        self.parameters.sent(&demand, sql, self.alone);
    }
}

/// The driver of one client. See the [module](self) for the rules.
#[derive(Debug)]
pub struct Relay<S> {
    id: ClientId,
    context: Arc<Context>,
    client: ClientSide<S>,
    phase: Phase,
    /// The server connection that statements go to.
    active: Option<Box<Link<S>>>,
    /// Others that the session holds (session mode).
    parked: Vec<Box<Link<S>>>,
    pool_key: Option<PoolKey>,
    /// What is known of the database's catalogue.
    catalogue: Option<Arc<Cell>>,
    /// The node whose connection is being waited for.
    waiting: Option<NodeId>,
    wants: Wants<S>,
    asked: Asked,
    session: Session,
    job: Option<DeriveJob>,
    deriving: bool,
    timer: Option<(Instant, Timer)>,
    draining: bool,
    doorbell: bool,
    /// What is to be taken over when nothing is under way.
    next: Option<Box<Next>>,
    pause: Pause,
    clocks: Option<Box<Clocks>>,
    idle_limit: Option<Duration>,
    wait_limit: Option<Duration>,
    /// A server refused a reset.
    reset_failed: bool,
}

impl<S> Relay<S> {
    /// The driver of an accepted client.
    #[must_use]
    pub fn new(
        id: ClientId,
        context: Arc<Context>,
        socket: S,
        transport: Transport,
        entropy: Entropy,
        now: Instant,
    ) -> Self {
        let settings = &context.settings;
        let timer = settings.authentication_timeout.map(|t| (now + t, Timer::Authentication));
        let seed = entropy.0.first_chunk::<8>().map_or(1, |bytes| u64::from_le_bytes(*bytes));
        Self {
            id,
            client: ClientSide {
                socket: Some(Wire::plain(socket)),
                transport,
                framer: FrontendFramer::new(FRAME_LIMITS),
                input: InBuf::default(),
                output: Outbox::default(),
                params: Params::new(),
                closed: false,
            },
            phase: Phase::Startup(Box::new(Startup::new(entropy))),
            active: None,
            parked: Vec::new(),
            pool_key: None,
            catalogue: None,
            waiting: None,
            wants: Wants::default(),
            asked: Asked::default(),
            session: Session {
                lexing: Lexing::default(),
                shapes: None,
                tally: None,
                library: None,
                unsettled: None,
                occasions: 0,
                raw_names: false,
                startup: Params::new(),
                resets: None,
                dropping: Dropping::Nothing,
                batch: BatchSeen::default(),
                mending: false,
                functions: FunctionMemo::default(),
                balancer: Balancer::new(settings, seed),
                pinned: false,
                pins: PinReasons::default(),
                pins_told: PinReasons::default(),
                unpins: PinReasons::default(),
                replicates: false,
                after_write: AfterWrite::new(settings.disable_load_balance_on_write),
                transaction: Transaction::new(),
                parameters: Parameters::new(settings.pool_mode == PoolMode::Transaction),
                startup_level: None,
                server_level: None,
                known: (0, Some(0)),
                repeat_failed: false,
                alters_catalogue: false,
                catalogue_change: Some(0),
                head: None,
                chosen: None,
                in_batch: false,
                skip_to_sync: false,
                replay: Vec::new(),
                replay_for: Occasion::Loss,
                alone: false,
                healing: false,
                demands: VecDeque::new(),
                statements: Statements::new(
                    settings.prepared_statement_bytes,
                    settings.pool_mode == PoolMode::Transaction
                        && settings.max_prepared_statements > 0,
                ),
            },
            job: None,
            deriving: false,
            timer,
            draining: false,
            doorbell: false,
            next: None,
            pause: Pause::Off,
            clocks: None,
            idle_limit: settings.client_idle_limit,
            wait_limit: settings.query_wait_timeout,
            reset_failed: false,
            context,
        }
    }

    /// The client's id.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// The doorbell rang: the next [`Relay::drive`] asks for service.
    pub fn ring(&mut self) {
        self.doorbell = true;
    }

    /// Moves bytes and decides, as far as it goes without waiting.
    pub fn drive(&mut self, io: &mut impl Io<S>, buffers: &mut Buffers, now: Instant) -> Turn {
        std::mem::swap(&mut self.session.shapes, &mut buffers.shapes);
        std::mem::swap(&mut self.session.library, &mut buffers.library);
        let turn = self.rounds(io, buffers, now);
        std::mem::swap(&mut self.session.shapes, &mut buffers.shapes);
        std::mem::swap(&mut self.session.library, &mut buffers.library);
        if !matches!(turn, Turn::Service) {
            // The runtime may know more when it comes back.
            self.asked = Asked::default();
        }
        self.client.input.trim(buffers);
        if let Some(link) = &mut self.active {
            link.input.trim(buffers);
        }
        turn
    }

    fn rounds(&mut self, io: &mut impl Io<S>, buffers: &mut Buffers, now: Instant) -> Turn {
        if matches!(self.phase, Phase::Finished) {
            return Turn::Finished;
        }
        if self.needs_service() {
            return Turn::Service;
        }
        for _ in 0..MAX_ROUNDS {
            self.handle_timer(now);
            if self.is_still() {
                return Turn::Wait(self.deadline());
            }
            let mut progress = self.read_server(io, buffers, now);
            progress |= self.read_client(io, buffers, now);
            progress |= self.advance(now);
            progress |= self.flush(io, now);
            progress |= self.settle(now);
            self.limit_farewell(now);
            if let Some(job) = self.job.take() {
                self.deriving = true;
                return Turn::Derive(job);
            }
            if self.needs_service() {
                return Turn::Service;
            }
            if !progress {
                return Turn::Wait(self.deadline());
            }
        }
        Turn::Yield
    }

    fn needs_service(&self) -> bool {
        self.doorbell || self.wants.any() || self.session.pins_told != self.session.pins
    }

    /// Whether another round would change nothing: this costs less to find out than to go through
    /// one, and after most rounds it is so.
    fn is_still(&self) -> bool {
        let link_is_still = self.active.as_ref().is_none_or(|link| {
            link.verified
                && self.asked.server == Some(link.id)
                && link.input.is_empty()
                && link.output.is_empty()
        });
        link_is_still
            && matches!(self.phase, Phase::Ready)
            && self.asked.client
            && self.client.input.is_empty()
            && self.client.output.is_empty()
            && !self.draining
    }

    /// Deals with the hub: takes what happened, hands over what is wanted.
    pub fn service<D: Clone>(&mut self, hub: &mut Hub<S, D>, now: Instant) {
        self.doorbell = false;
        while let Some(event) = hub.next_event(self.id) {
            match event {
                Event::Reload => self.on_reload(hub),
                // It is not waited for any more.
                Event::Refused(node, _) if self.waiting != Some(node) => {}
                event => self.on_event(event, now),
            }
        }
        if let Some((pid, key)) = self.wants.cancel_by_key.take()
            && !hub.cancel_by_key(self.id, pid, &key)
        {
            self.client_lost(now);
        }
        while let Some((server, key, by)) = self.wants.cancel_server.pop() {
            hub.cancel_server(server, &key, by);
        }
        while let Some(by) = self.wants.cancel_over.pop() {
            hub.cancel_over(Some(by));
        }
        while let Some(link) = self.wants.retire.pop() {
            hub.retire(link, now);
        }
        while let Some(link) = self.wants.release.pop() {
            hub.release(link, now);
        }
        while let Some(server) = self.wants.discard.pop() {
            hub.discard(server, now);
        }
        if let Some(database) = self.wants.vacate.take() {
            hub.vacate(&database, now);
        }
        if let Some(tally) = self.session.tally.take() {
            hub.count(&tally);
        }
        if let Some(key) = self.pool_key {
            if let Some((node, learned)) = self.wants.learned.take() {
                hub.learn(key, node, learned, now);
            }
            if std::mem::take(&mut self.wants.catalogue_changed) {
                self.session.catalogue_change = Some(hub.catalogue_changed(key, now));
            }
        }
        if self.session.pins_told != self.session.pins {
            self.session.pins_told = self.session.pins;
            hub.note_pins(self.id, self.session.pins);
        }
        if std::mem::take(&mut self.wants.admit) {
            self.admit(hub, now);
        }
        if std::mem::take(&mut self.wants.authenticate) {
            self.authenticate(hub, now);
        }
        if std::mem::take(&mut self.wants.login) {
            self.log_in(hub, now);
        }
        if let Some(node) = self.wants.withdraw.take() {
            hub.withdraw(self.id, node, now);
        }
        if let (Some(node), Some(key)) = (self.wants.acquire.take(), self.pool_key)
            && !self.stands_in(hub, node, key)
        {
            match hub.acquire(self.id, key, node, !self.can_be_held(), now) {
                Ok(Some(link)) => self.on_event(Event::Granted(link), now),
                Ok(None) => self.start_waiting(node, now),
                Err(error) => {
                    self.waiting = Some(node);
                    self.on_event(Event::Refused(node, error), now);
                }
            }
        }
        if matches!(self.phase, Phase::Startup(_)) {
            self.continue_welcome(hub, now);
            self.rest();
        }
        if std::mem::take(&mut self.wants.rest) {
            hub.rests(self.id);
        }
        if std::mem::take(&mut self.wants.leave) {
            hub.leave(self.id, now);
            self.phase = Phase::Finished;
        }
    }

    /// Goes on after [`Turn::Derive`].
    pub fn resume(&mut self, key: DerivedKey) {
        self.deriving = false;
        self.derived(key);
    }

    /// Has a read run on a server that the client holds already, if its standby is all taken.
    ///
    /// Clients that wait for each other's servers would wait until their time is over. So whoever
    /// holds the primary waits for nobody, and whoever waits for the primary gets it in the end.
    fn stands_in<D: Clone>(&mut self, hub: &Hub<S, D>, node: NodeId, key: PoolKey) -> bool {
        let primary = self.context.settings.primary_node();
        if node == primary || self.parked.is_empty() || !hub.is_exhausted(key, node) {
            return false;
        }
        let at = self.parked.iter().position(|link| link.node() == primary).unwrap_or(0);
        let mut link = self.parked.swap_remove(at);
        link.verified = false;
        self.session.chosen = Some(link.node());
        self.active = Some(link);
        true
    }

    fn on_event(&mut self, event: Event<S>, now: Instant) {
        match event {
            Event::Admitted => self.admitted(),
            Event::Granted(link) => {
                if self.waiting.take_if(|node| *node == link.node()).is_none()
                    && self.wants.acquire.is_none()
                    && self.active.is_some()
                    || !matches!(self.phase, Phase::Ready | Phase::Startup(_))
                {
                    self.wants.release.push(link);
                    return;
                }
                self.stop_wait_timers();
                let mut link = link;
                link.settings = self.session.parameters.fresh_version();
                link.repeating = false;
                link.unrepeatable = false;
                self.active = Some(link);
            }
            Event::Refused(node, error) => {
                // A welcome can be had from elsewhere meanwhile.
                if self.waiting.take_if(|waiting| *waiting == node).is_none() {
                    return;
                }
                self.stop_wait_timers();
                self.refused(node, &error);
            }
            Event::Found(found) => self.password_found(found),
            Event::Checked(outcome) => self.login_tried(outcome),
            Event::Cancel(by) => self.on_cancel(by),
            Event::CancelOver => self.client_lost(now),
            Event::Terminate(how) => self.on_terminate(how),
            Event::Pause(paused) => self.on_pause(paused),
            Event::Reload => {}
        }
    }

    fn start_waiting(&mut self, node: NodeId, now: Instant) {
        self.waiting = Some(node);
        self.set_wait_timers(now);
    }

    fn stop_timer(&mut self, which: Timer) {
        self.timer.take_if(|(_, timer)| *timer == which);
    }

    fn stop_wait_timers(&mut self) {
        self.timer.take_if(|(_, timer)| matches!(timer, Timer::QueueWait | Timer::QueueNotice(_)));
    }

    fn settings(&self) -> &Settings {
        &self.context.settings
    }

    fn is_transaction_mode(&self) -> bool {
        self.context.settings.pool_mode == PoolMode::Transaction
    }

    // --- moving bytes ---------------------------------------------------------------------------

    fn read_server(&mut self, io: &mut impl Io<S>, buffers: &mut Buffers, now: Instant) -> bool {
        let Some(link) = &mut self.active else { return false };
        // One that was lent anew has yet to show that it is alive.
        let asked = link.verified && self.asked.server == Some(link.id);
        if asked || !link.input.has_room() {
            return false;
        }
        match link.socket.read(io, link.input.room(buffers)) {
            Transfer::Bytes(n) => {
                link.input.filled(n);
                true
            }
            Transfer::Blocked => {
                self.asked.server = Some(link.id);
                link.verified = true;
                false
            }
            Transfer::Closed => {
                self.link_lost(now);
                true
            }
        }
    }

    fn read_client(&mut self, io: &mut impl Io<S>, buffers: &mut Buffers, now: Instant) -> bool {
        if self.asked.client
            || self.client.closed
            || self.deriving
            || !matches!(self.phase, Phase::Ready | Phase::Startup(_))
            || !self.client.input.has_room()
        {
            return false;
        }
        if self.is_encrypting() {
            return self.encrypt(io, now);
        }
        let Some(socket) = &mut self.client.socket else { return false };
        match socket.read(io, self.client.input.room(buffers)) {
            Transfer::Bytes(n) => {
                self.client.input.filled(n);
                true
            }
            Transfer::Blocked => {
                self.asked.client = true;
                false
            }
            Transfer::Closed => {
                self.client_lost(now);
                true
            }
        }
    }

    fn advance(&mut self, now: Instant) -> bool {
        let mut progress = self.advance_server(now);
        match self.phase {
            Phase::Startup(_) => progress |= self.advance_startup(now),
            Phase::Ready => {
                let held = self.active.as_ref().map(|link| link.id);
                progress |= self.advance_client(now);
                // A parked server that was taken up has to be read before anything wakes us for it.
                let holds = self.active.as_ref().map(|link| link.id);
                progress |= holds.is_some() && holds != held;
            }
            Phase::Closing | Phase::Gone | Phase::Finished => {}
        }
        progress
    }

    fn flush(&mut self, io: &mut impl Io<S>, now: Instant) -> bool {
        let mut progress = false;
        if let Some(link) = &mut self.active {
            let Link { output, socket, .. } = &mut **link;
            while !output.is_empty() {
                let moved = output.write_with(&mut self.client.input, |pieces| {
                    if pieces.is_empty() {
                        return (0, Transfer::Blocked);
                    }
                    let moved = socket.write(io, pieces);
                    (if let Transfer::Bytes(n) = moved { n } else { 0 }, moved)
                });
                match moved {
                    Transfer::Bytes(_) => progress = true,
                    Transfer::Blocked => break,
                    Transfer::Closed => {
                        // Reading it may still tell why it left.
                        output.detach(&mut self.client.input);
                        output.clear();
                        break;
                    }
                }
            }
        }
        let mut nothing = InBuf::default();
        while let Some(socket) = &mut self.client.socket
            && !self.client.output.is_empty()
        {
            let source = self.active.as_mut().map_or(&mut nothing, |link| &mut link.input);
            let moved = self.client.output.write_with(source, |pieces| {
                if pieces.is_empty() {
                    return (0, Transfer::Blocked);
                }
                let moved = socket.write(io, pieces);
                (if let Transfer::Bytes(n) = moved { n } else { 0 }, moved)
            });
            match moved {
                Transfer::Bytes(_) => progress = true,
                Transfer::Blocked => break,
                Transfer::Closed => {
                    self.client_lost(now);
                    return true;
                }
            }
        }
        if matches!(self.phase, Phase::Closing) && self.client.output.is_empty() {
            if let Some(socket) = &mut self.client.socket {
                socket.close(io);
            }
            self.client_lost(now);
            return true;
        }
        progress
    }

    /// After writing: lets go of a server that has done its part, or of the client. Returns whether
    /// that left something to write.
    fn settle(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Ready => self.set_clocks(now),
            Phase::Gone => {
                let before = self.active.is_some();
                self.clean_up(now);
                return before != self.active.is_some();
            }
            Phase::Startup(_) | Phase::Closing | Phase::Finished => return false,
        }
        let at_rest = self.session.transaction.block() == Block::Closed
            && self.active.as_ref().is_none_or(|link| {
                link.is_quiet() && link.pipeline.status() == TransactionStatus::Idle
            });
        if let Some(link) = &self.active
            && self.is_transaction_mode()
            && !self.session.pinned
            && !self.session.in_batch
            && link.pipeline.is_releasable()
            && link.input.is_parsed()
            && link.output.is_empty()
            && link.verified
            // The rest of a message that the server has begun to read still belongs to it.
            && self.client.framer.at_boundary()
            // A statement that waits for just this server keeps it.
            && self.session.chosen.is_none()
        {
            self.let_go();
        }
        if at_rest && self.waiting.is_none() && self.wants.acquire.is_none() {
            if self.draining {
                self.fatal(SqlState::ADMIN_SHUTDOWN, SHUTDOWN_MESSAGE, None);
                return true;
            }
            if self.next.is_some() {
                self.adopt_when_idle();
            }
            self.rest();
            if self.is_held() && self.session.head.is_some() {
                self.set_wait_timers(now);
            }
            if self.timer.is_none()
                && self.pause == Pause::Off
                && let Some(limit) = self.idle_limit
            {
                self.timer = Some((now + limit, Timer::ClientIdle));
            }
        } else {
            self.stop_timer(Timer::ClientIdle);
        }
        false
    }

    /// Parks the active link (session mode) or gives it back (transaction mode).
    fn let_go(&mut self) {
        let Some(mut link) = self.active.take() else { return };
        self.client.output.detach(&mut link.input);
        if self.is_transaction_mode() && !self.session.pinned {
            self.session.statements.link_gone(link.node());
            self.session.unsettled = None;
            self.wants.release.push(link);
        } else {
            self.parked.push(link);
        }
    }

    fn handle_timer(&mut self, now: Instant) {
        self.check_clocks(now);
        let Some((_, timer)) = self.timer.take_if(|(at, _)| now >= *at) else { return };
        match timer {
            // All that is missing is what could be done without.
            Timer::Authentication if self.stop_waiting_for_catalogue() => self.doorbell = true,
            Timer::Authentication if self.brings_cancel() => self.client_lost(now),
            Timer::Authentication => {
                self.fatal(
                    SqlState::INVALID_AUTHORIZATION,
                    "canceling authentication due to timeout",
                    None,
                );
            }
            Timer::LoginFailed => self.say_login_failed(),
            Timer::QueueNotice(refuse) => {
                self.timer = refuse.map(|at| (at, Timer::QueueWait));
                self.tell_notice(if self.is_held() {
                    "waiting for the end of a pause"
                } else {
                    "waiting for a server connection: all that there may be are in use"
                });
            }
            Timer::QueueWait => {
                let held = self.is_held();
                match self.waiting.take() {
                    Some(node) => self.wants.withdraw = Some(node),
                    None if held => {}
                    None => return,
                }
                if held {
                    self.refuse_statement(
                        SqlState::TOO_MANY_CONNECTIONS,
                        "the pause has not ended within weir_query_wait_timeout",
                        None,
                    );
                    return;
                }
                self.refuse_statement(
                    SqlState::TOO_MANY_CONNECTIONS,
                    "no server connection came free within weir_query_wait_timeout",
                    Some(
                        "All connections of this user and database are in use; see weir_pool_size.",
                    ),
                );
            }
            Timer::ClientIdle => {
                self.fatal(
                    SqlState::IDLE_SESSION_TIMEOUT,
                    "terminating connection due to client_idle_limit",
                    None,
                );
            }
            Timer::Flush => self.client_lost(now),
            Timer::Reset => self.give_up_reset(),
        }
    }

    // --- errors of our own ----------------------------------------------------------------------

    /// Tells the client that the session ends, and why.
    fn fatal(&mut self, code: SqlState, message: &str, hint: Option<&str>) {
        self.tell(Severity::Fatal, code, message, hint);
        self.close_client();
    }

    /// Appends an error to what the client reads, if that is possible between two messages.
    fn tell(&mut self, severity: Severity, code: SqlState, message: &str, hint: Option<&str>) {
        let between = self.active.as_ref().is_none_or(|link| link.framer.at_boundary());
        if between {
            self.client.output.own(|out| {
                encode::error_response(
                    out,
                    &ErrorResponse { severity, code, message, detail: None, hint },
                );
            });
        }
    }

    /// Appends a notice likewise.
    fn tell_notice(&mut self, message: &str) {
        let between = self.active.as_ref().is_none_or(|link| link.framer.at_boundary());
        if between && matches!(self.phase, Phase::Ready) {
            let (severity, code) = (Severity::Notice, SqlState::SUCCESSFUL_COMPLETION);
            let notice = ErrorResponse { severity, code, message, detail: None, hint: None };
            self.client.output.own(|out| encode::notice_response(out, &notice));
        }
    }

    /// What node `node` is called in messages.
    fn node_name(&self, node: NodeId) -> String {
        self.settings().backends.get(node.index()).map_or_else(
            || format!("{}", node.0),
            |backend| format!("{} ({}:{})", backend.id, backend.host, backend.port),
        )
    }

    fn refused(&mut self, node: NodeId, error: &Arc<ConnectError>) {
        if matches!(self.phase, Phase::Startup(_)) {
            self.welcome_refused(node, error);
            return;
        }
        if !matches!(self.phase, Phase::Ready) {
            return;
        }
        // A standby may not have heard yet of a password that has changed.
        let lags = matches!(**error, ConnectError::Auth(AuthError::StaleKeys));
        if (error.kind() == FailureKind::Unreachable || lags)
            && self.session.balancer.skip(node, self.context.settings.primary_node())
        {
            // A read that its standby cannot take goes elsewhere, at the latest to the primary.
            self.session.chosen = None;
            return;
        }
        let name = self.node_name(node);
        self.refuse_with(|out| error.encode(out, Severity::Error, &name));
    }

    fn on_terminate(&mut self, how: Shutdown) {
        match (how, &self.phase) {
            (_, Phase::Closing | Phase::Gone | Phase::Finished) => {}
            (Shutdown::Graceful, Phase::Ready) => {
                self.draining = true;
                if self.session.transaction.block() == Block::Closed
                    && let Some(node) = self.waiting.take()
                {
                    self.wants.withdraw = Some(node);
                    self.fatal(SqlState::ADMIN_SHUTDOWN, SHUTDOWN_MESSAGE, None);
                }
            }
            // It may be a cancel request, to which nothing is answered.
            (_, Phase::Startup(startup)) if startup.is_silent() => self.close_client(),
            (Shutdown::Graceful, Phase::Startup(_)) | (Shutdown::Fast, _) => {
                if matches!(self.phase, Phase::Ready)
                    && (!self.is_at_rest() || self.session.transaction.block() != Block::Closed)
                {
                    self.session.tally.get_or_insert_default().broken += 1;
                }
                self.fatal(SqlState::ADMIN_SHUTDOWN, SHUTDOWN_MESSAGE, None);
            }
        }
    }
}

const SHUTDOWN_MESSAGE: &str = "terminating connection due to administrator command";
