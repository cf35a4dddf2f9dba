//! What all clients of one proxy share: pools, identities, the table of clients, cancel keys, drain.
//!
//! One [`Hub`] serves all workers of a process, usually behind a lock; no call blocks or does I/O.
//! Clients come to it through [`crate::relay::Relay::service`]; a runtime itself only
//!
//! - tells it of new clients ([`Hub::accept`]) and of the outcome of the [`Command`]s;
//! - drains [`Hub::poll_command`] after every call and carries the commands out;
//! - calls [`Hub::handle_timeout`] when [`Hub::poll_timeout`] has come.
//!
//! `S` is the runtime's socket, `D` what wakes a client's task (a doorbell); the hub stores both and
//! looks into neither.

mod authentication;
mod bounds;
mod census;
mod drain;
mod operations;
mod reload;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pgwire_core::auth::{ScramKeys, Secret};
use pgwire_core::cancel::{BackendKey, CancelKey};
use pgwire_core::params::Params;
use pgwire_core::time::Instant;
use slab::Slab;

use crate::auth_query::AuthOrder;
use crate::catalogue::{
    Catalogues, Cell, Digest, Due, Learned, LearnedSet, LookupError, LookupOrder, LookupPlan,
};
use crate::config::{BackendHost, PoolMode, Settings};
use crate::context::Context;
use crate::identity::{Identity, Parameter};
use crate::ids::{ClientId, GroupId, IdentityId, NodeId, PoolKey, ServerId};
use crate::link::Link;
use crate::login::{ConnectError, LoginPlan};
use crate::pins::PinReasons;
use crate::pool::{Acquire, FailureKind, Limits, Order, Outcome, Pool, View};
use crate::sizes::size;
use crate::tally::Tally;
use crate::tls::Tls;

pub use drain::{Service, Shutdown};
pub use reload::NotASuccessor;

pub(crate) use authentication::{AskError, Checked};
pub(crate) use census::LoginRefused;

use authentication::Asking;
use bounds::Shares;
use census::Census;
use drain::Life;
use operations::Paused;

/// Identities that are remembered at most. Beyond it, those without clients and connections are
/// forgotten; if all are in use, logins with yet another one are refused.
pub const MAX_IDENTITIES: usize = 10_000;

/// Canonical values of client-chosen parameters that are remembered for each identity.
const MAX_WELCOMES: usize = 64;

/// The successor of a server connection is opened at most so long before its end.
const LONGEST_RENEWAL: Duration = Duration::from_secs(30);

/// What the runtime is to do.
#[derive(Debug)]
pub enum Command<S, D> {
    /// Dial the target, run a [`crate::login::Login`] with this plan over the socket, and report
    /// [`Hub::connected`] or [`Hub::connect_failed`].
    Connect(LoginPlan),
    /// Say goodbye ([`crate::link::Link::say_goodbye`]) and close.
    Close(Box<Link<S>>),
    /// Dial the target, send the packet, wait for the end of the stream (all within the timeout),
    /// and report [`Hub::cancel_finished`].
    Cancel(CancelOrder),
    /// Wake this client's task: it has events, or is to look again.
    Ring(D),
    /// Dial the target, run a [`crate::login::Login`] and then a [`crate::catalogue::Lookup`] over
    /// the connection, and report [`Hub::looked_up`].
    LookUp(Box<LookupPlan>),
    /// Read the files again, and if they are good report [`Hub::reload`].
    Reload,
    /// Ask a server who somebody is, as [`AuthOrder`] says, and report [`Hub::authenticated`].
    Authenticate(Box<AuthOrder<S>>),
    /// Close the listening sockets: new clients are not accepted any more.
    StopListening,
}

/// A cancel request to be sent to a server.
#[derive(Debug)]
pub struct CancelOrder {
    /// The client that asked for it, if one did: its connection is kept open until the server has
    /// taken the request, as PostgreSQL does, because it goes on when that closes.
    pub(crate) by: Option<ClientId>,
    /// The connection whose statement is to be cancelled.
    pub server: ServerId,
    /// Where to.
    pub host: BackendHost,
    /// The port there.
    pub port: u16,
    /// TLS to servers.
    pub tls: Tls,
    /// What identifies the session to its server.
    pub key: BackendKey,
    /// How long all of it may take.
    pub timeout: Option<Duration>,
}

/// What happened to a client from outside.
#[derive(Debug)]
pub(crate) enum Event<S> {
    Admitted,
    Granted(Box<Link<S>>),
    Refused(NodeId, Arc<ConnectError>),
    /// The password of its role; `None`: there is none.
    Found(Result<Option<Secret>, AskError>),
    /// What a login that was tried for it has shown.
    Checked(Result<Checked, (NodeId, Arc<ConnectError>)>),
    /// This client asks for what is under way to be cancelled.
    Cancel(ClientId),
    /// The cancel request that the client has brought is dealt with.
    CancelOver,
    Terminate(Shutdown),
    /// [`Hub::context`] has changed.
    Reload,
    /// Whether nothing new may begin.
    Pause(bool),
}

type UserAndDatabase = (Box<[u8]>, Box<[u8]>);

#[derive(Debug)]
struct Client<S, D> {
    generation: u32,
    doorbell: D,
    inbox: VecDeque<Event<S>>,
    key: Option<CancelKey>,
    pool_key: Option<PoolKey>,
    admitted: bool,
    /// The catalogues count it among their clients.
    catalogued: bool,
    /// Since it was told to pause it has not said that nothing of it is under way.
    busy: bool,
    pins: PinReasons,
}

#[derive(Debug)]
struct IdentityEntry {
    identity: Arc<Identity>,
    group: GroupId,
    secret: Option<Secret>,
    /// Clients logged in, and server connections in whatever state.
    users: usize,
    /// What a fresh connection reported.
    base: Option<Params>,
    /// What it reported after a client's own choice of tracked parameters.
    welcomes: BTreeMap<Vec<Parameter>, Params>,
    last_error: Option<Arc<ConnectError>>,
}

#[derive(Debug)]
struct Node<S> {
    pool: Pool,
    idle: Vec<Option<Box<Link<S>>>>,
    last_error: Option<Arc<ConnectError>>,
    owners: BTreeMap<ServerId, Owner>,
}

/// Whose a connection is, and where it leads: a node's address may change while it lives.
#[derive(Debug)]
struct Owner {
    key: PoolKey,
    host: BackendHost,
    port: u16,
}

/// The state shared by all clients. See the [module](self).
#[derive(Debug)]
pub struct Hub<S, D> {
    context: Arc<Context>,
    settings: Arc<Settings>,
    nodes: Vec<Node<S>>,
    identities: Slab<IdentityEntry>,
    identity_index: BTreeMap<Arc<Identity>, IdentityId>,
    groups: BTreeMap<UserAndDatabase, GroupId>,
    next_group: u32,
    clients: Slab<Client<S, D>>,
    next_generation: u32,
    admitted: usize,
    admission: VecDeque<ClientId>,
    commands: VecDeque<Command<S, D>>,
    /// Cancel requests under way.
    cancels: usize,
    catalogues: Catalogues,
    tally: Tally,
    asking: Asking<S>,
    life: Life,
    /// When those who are still there are not waited for any longer.
    deadline: Option<Instant>,
    shutdown: Option<Shutdown>,
    paused: Paused,
    census: Census,
    /// Numbers for bounds that are shared: of users, and of databases.
    shares: Shares,
}

impl<S, D: Clone> Hub<S, D> {
    /// A hub without clients or connections.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let settings = context.settings.clone();
        let nodes = settings.nodes().map(|(node, _)| Node::new(node, &settings)).collect();
        Self {
            catalogues: Catalogues::new(&settings),
            tally: Tally::default(),
            context,
            settings,
            nodes,
            identities: Slab::new(),
            identity_index: BTreeMap::new(),
            groups: BTreeMap::new(),
            next_group: 0,
            clients: Slab::new(),
            next_generation: 0,
            admitted: 0,
            admission: VecDeque::new(),
            commands: VecDeque::new(),
            cancels: 0,
            asking: Asking::default(),
            life: Life::Serving,
            deadline: None,
            shutdown: None,
            paused: Paused::default(),
            census: Census::default(),
            shares: Shares::default(),
        }
    }

    /// A connection was accepted; `doorbell` wakes the task that will drive its relay.
    ///
    /// Returns `None` when the proxy is shutting down or holds as many connections as it may
    /// (`num_init_children` and `weir_max_waiting_clients`): the runtime closes the socket.
    pub fn accept(&mut self, doorbell: D) -> Option<ClientId> {
        let most = size(self.settings.num_init_children)
            .saturating_add(size(self.settings.max_waiting_clients));
        if !self.life.is_listening() || self.clients.len() >= most {
            return None;
        }
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let entry = self.clients.vacant_entry();
        let index = u32::try_from(entry.key()).ok()?;
        entry.insert(Client {
            generation,
            doorbell,
            inbox: VecDeque::new(),
            key: None,
            pool_key: None,
            admitted: false,
            catalogued: false,
            busy: true,
            pins: PinReasons::default(),
        });
        Some(ClientId { index, generation })
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command<S, D>> {
        self.commands.pop_front()
    }

    /// An ordered connection is logged in.
    pub fn connected(&mut self, link: Box<Link<S>>, now: Instant) {
        let server = link.id;
        let params = link.params.clone();
        let Some(node) = self.nodes.get_mut(server.node.index()) else { return };
        node.last_error = None;
        let Some(key) = node.owners.get(&server).map(|owner| owner.key) else { return };
        store_idle(node, link);
        node.pool.connected(server, now);
        if self.shutdown.is_some() {
            // Whom it was ordered for may be gone, and nobody comes any more.
            node.pool.close_idle();
        }
        if let Some(entry) = self.identity_mut(key.identity) {
            entry.last_error = None;
            entry.base.get_or_insert(params);
            let identity = entry.identity.clone();
            if !identity.replicates() {
                self.catalogues.server_came(&identity.database, now);
            }
            self.order_lookups(now);
        }
        self.carry_out(server.node);
    }

    /// An ordered connection could not be made.
    pub fn connect_failed(&mut self, server: ServerId, error: ConnectError, now: Instant) {
        let Some(node) = self.nodes.get_mut(server.node.index()) else { return };
        let kind = error.kind();
        let host = self.settings.backends.get(server.node.index());
        tracing::warn!(
            node = server.node.0,
            host = host.map(|backend| backend.host.to_string()),
            "cannot connect: {error}"
        );
        let error = Arc::new(error);
        let owner = node.owners.remove(&server);
        let key = owner.map(|owner| owner.key);
        if kind == FailureKind::Unreachable {
            node.last_error = Some(error.clone());
        }
        node.pool.connect_failed(server, kind, now);
        if let Some(key) = key {
            if let Some(entry) = self.identity_mut(key.identity) {
                entry.last_error = Some(error.clone());
                let user = entry.identity.user.clone();
                self.password_refused(&user, &error);
            }
            self.drop_user(key.identity);
        }
        self.carry_out(server.node);
    }

    /// A cancel request was taken by the server, or was given up.
    pub fn cancel_finished(&mut self, order: &CancelOrder, now: Instant) {
        self.cancels = self.cancels.saturating_sub(1);
        if let Some(node) = self.nodes.get_mut(order.server.node.index()) {
            node.pool.cancel_finished(order.server, now);
            self.carry_out(order.server.node);
        }
        self.cancel_over(order.by);
    }

    /// The client that brought a cancel request may go.
    pub(crate) fn cancel_over(&mut self, by: Option<ClientId>) {
        if let Some(by) = by {
            self.tell(by, Event::CancelOver);
        }
    }

    /// A look-up that was ordered has ended.
    pub fn looked_up(
        &mut self,
        order: &LookupOrder,
        result: Result<Digest, LookupError>,
        now: Instant,
    ) {
        self.catalogues.finished(order, result, now);
        self.order_lookups(now);
    }

    /// What refusals of standbys have taught, by database.
    pub fn learned(&self) -> impl Iterator<Item = (&[u8], LearnedSet)> {
        self.catalogues.learned()
    }

    /// When [`Hub::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pools = self.nodes.iter().filter_map(|node| node.pool.poll_timeout());
        let ends = self.life.poll_timeout().into_iter().chain(self.deadline);
        let pools = pools.chain(self.catalogues.poll_timeout()).chain(self.asking.poll_timeout());
        pools.chain(ends).min()
    }

    /// Probes nodes that are down; closes what is idle or old; goes on with a drain.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.go_on_draining(now);
        if self.catalogues.poll_timeout().is_some_and(|at| now >= at) {
            self.catalogues.handle_timeout(now);
            self.order_lookups(now);
        }
        self.commands.extend(self.asking.take_old_link(now).map(Command::Close));
        for index in 0..self.nodes.len() {
            if let Some(node) = self.nodes.get_mut(index)
                && node.pool.poll_timeout().is_some_and(|at| now >= at)
            {
                node.pool.handle_timeout(now);
                if let Ok(index) = u16::try_from(index) {
                    self.carry_out(NodeId(index));
                }
            }
        }
    }

    /// Whether no client is left, and nothing that one of them left to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.cancels == 0
    }

    /// What has been counted since the start, by sessions in their order of telling.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// A session has counted this.
    pub(crate) fn count(&mut self, tally: &Tally) {
        self.tally.add(tally);
    }

    /// Clients, from their accepting to the return of their last server connection.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// The numbers of each node's pool.
    pub fn views(&self) -> impl Iterator<Item = View> {
        self.nodes.iter().map(|node| node.pool.view())
    }

    /// What was loaded last: new clients begin with it.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The present settings.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    // --- for relays -----------------------------------------------------------------------------

    pub(crate) fn next_event(&mut self, client: ClientId) -> Option<Event<S>> {
        self.client_mut(client)?.inbox.pop_front()
    }

    /// Asks for one of the `num_init_children` places. `Some(true)`: it is the client's;
    /// `Some(false)`: [`Event::Admitted`] will follow; `None`: refused (`reserved_connections`).
    pub(crate) fn admit(&mut self, client: ClientId) -> Option<bool> {
        let places = size(self.settings.num_init_children);
        let reserved = size(self.settings.reserved_connections);
        if reserved > 0 && self.admitted >= places.saturating_sub(reserved) {
            return None;
        }
        if self.admitted < places {
            self.admitted += 1;
            if let Some(entry) = self.client_mut(client) {
                entry.admitted = true;
            }
            return Some(true);
        }
        self.admission.push_back(client);
        Some(false)
    }

    /// Takes the place among `num_init_children` from a client that stays connected.
    fn step_back(&mut self, client: ClientId) {
        if let Some(entry) = self.client_mut(client)
            && std::mem::take(&mut entry.admitted)
        {
            self.admitted = self.admitted.saturating_sub(1);
            self.admit_waiting();
        }
    }

    /// Finds or makes the identity of a client that has shown who it is, and registers its cancel
    /// key. `proved` are keys that its proof has revealed.
    pub(crate) fn log_in(
        &mut self,
        client: ClientId,
        identity: &Identity,
        secret: Option<Secret>,
        proved: Option<&ScramKeys>,
        key: CancelKey,
        now: Instant,
    ) -> Result<(PoolKey, Option<Arc<Cell>>), LoginRefused> {
        let id = self.intern(identity).ok_or(LoginRefused::Identities)?;
        if self.client_mut(client).is_none() {
            return Err(LoginRefused::Identities);
        }
        self.census.enter(identity, &self.settings)?;
        if let Some(keys) = proved {
            self.asking.credentials.proved(&identity.user, keys);
        }
        let entry = self.identity_mut(id).ok_or(LoginRefused::Identities)?;
        if secret.is_some() {
            entry.secret = secret;
        }
        entry.users += 1;
        let exists = entry.base.is_some();
        let pool_key = PoolKey { group: entry.group, identity: id };
        let entry = self.client_mut(client).ok_or(LoginRefused::Identities)?;
        entry.key = Some(key);
        entry.pool_key = Some(pool_key);
        let cell = if identity.replicates() {
            // Its database may be none, and it is asked nothing that facts would help with.
            None
        } else {
            self.catalogues.client_came(&identity.database, exists, now)
        };
        if let Some(entry) = self.client_mut(client) {
            entry.catalogued = cell.is_some();
        }
        self.order_lookups(now);
        if self.paused.contains(&identity.database) {
            self.tell_paused(client, true);
        }
        Ok((pool_key, cell))
    }

    /// Whether the login of a client is to wait for its database's catalogue. If so its doorbell
    /// will be rung.
    pub(crate) fn awaits_catalogue(
        &mut self,
        client: ClientId,
        key: PoolKey,
        now: Instant,
    ) -> bool {
        let Some(identity) = self.identity_of(key) else { return false };
        !identity.replicates() && self.catalogues.awaits(&identity.database, client, now)
    }

    /// A client has changed, or may have changed, its database's catalogue, and that is committed.
    /// Returns the number of the change: [`Snapshot::covers`](crate::catalogue::Snapshot::covers).
    pub fn catalogue_changed(&mut self, key: PoolKey, now: Instant) -> u64 {
        let Some(identity) = self.identity_of(key) else { return 0 };
        let change = self.catalogues.changed(&identity.database, now);
        self.order_lookups(now);
        change
    }

    /// Node `node` has refused as writing what a client of this pool asked it.
    pub fn learn(&mut self, key: PoolKey, node: NodeId, learned: Learned, now: Instant) {
        let Some(identity) = self.identity_of(key) else { return };
        let database = String::from_utf8_lossy(&identity.database);
        let new = self.catalogues.learn(&identity.database, learned, now);
        self.tally.learned += u64::from(!new.functions.is_empty() || new.statement.is_some());
        for function in &new.functions {
            tracing::info!(
                %database,
                "function {function} writes: learned from a refusal of node {}",
                node.0
            );
        }
        if let Some(statement) = new.statement {
            tracing::info!(
                %database,
                "statements of shape {statement:016x} write: learned from a refusal of node {}",
                node.0
            );
        }
    }

    /// The ParameterStatus values for a client of this identity that asked for `tracked`.
    pub(crate) fn welcome(&self, key: PoolKey, tracked: &[Parameter]) -> Option<Params> {
        let entry = self.identities.get(usize::try_from(key.identity.0).ok()?)?;
        if tracked.is_empty() { entry.base.clone() } else { entry.welcomes.get(tracked).cloned() }
    }

    pub(crate) fn remember_welcome(
        &mut self,
        key: PoolKey,
        tracked: Vec<Parameter>,
        params: Params,
    ) {
        if let Some(entry) = self.identity_mut(key.identity) {
            if entry.welcomes.len() >= MAX_WELCOMES {
                entry.welcomes.clear();
            }
            entry.welcomes.insert(tracked, params);
        }
    }

    /// Asks for a connection to `node`. [`Event::Granted`] or [`Event::Refused`] comes later if
    /// this returns `Ok(None)`. With `passes`, also while the database is paused.
    pub(crate) fn acquire(
        &mut self,
        client: ClientId,
        key: PoolKey,
        node: NodeId,
        passes: bool,
        now: Instant,
    ) -> Result<Option<Box<Link<S>>>, Arc<ConnectError>> {
        self.bound(node, key.group, now);
        let Some(entry) = self.nodes.get_mut(node.index()) else {
            return Err(Arc::new(ConnectError::NoSuchNode));
        };
        let answer = if passes {
            entry.pool.acquire_in_pause(client, key, now)
        } else {
            entry.pool.acquire(client, key, now)
        };
        let result = match answer {
            Acquire::Granted(server) => Ok(take_idle(entry, server)),
            Acquire::Queued => Ok(None),
            Acquire::Refused => Err(self.reason(node, key)),
            Acquire::Full => Err(Arc::new(ConnectError::QueueFull)),
        };
        self.carry_out(node);
        result
    }

    /// Whether [`Hub::acquire`] would have the client wait for what another client holds.
    pub(crate) fn is_exhausted(&self, key: PoolKey, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(|entry| entry.pool.is_exhausted(key))
    }

    /// What ties a client's session to its server.
    pub(crate) fn note_pins(&mut self, client: ClientId, pins: PinReasons) {
        if let Some(client) = self.client_mut(client) {
            client.pins = pins;
        }
    }

    /// The clients whose sessions are tied to a server, or to the primary in session mode, and why.
    pub fn pinned(&self) -> impl Iterator<Item = (ClientId, PinReasons)> + '_ {
        self.clients.iter().filter(|(_, client)| !client.pins.is_empty()).filter_map(
            |(index, client)| {
                let index = u32::try_from(index).ok()?;
                Some((ClientId { index, generation: client.generation }, client.pins))
            },
        )
    }

    /// The client no longer waits for `node`.
    pub(crate) fn withdraw(&mut self, client: ClientId, node: NodeId, now: Instant) {
        let Some(entry) = self.nodes.get_mut(node.index()) else { return };
        if let Some(server) = entry.pool.withdraw(client, now) {
            entry.pool.release(server, Outcome::Reuse, now);
        }
        self.carry_out(node);
    }

    /// A clean connection comes back.
    pub(crate) fn release(&mut self, mut link: Box<Link<S>>, now: Instant) {
        let server = link.id;
        if self.shutdown.is_some() || !self.settings.connection_cache {
            self.retire(link, now);
            return;
        }
        link.verified = false;
        let Some(node) = self.nodes.get_mut(server.node.index()) else { return };
        store_idle(node, link);
        node.pool.release(server, Outcome::Reuse, now);
        self.carry_out(server.node);
    }

    /// A connection is not to be used any more.
    pub(crate) fn retire(&mut self, link: Box<Link<S>>, now: Instant) {
        self.discard(link.id, now);
        self.commands.push_back(Command::Close(link));
    }

    /// A connection is gone or is being closed by its holder.
    pub(crate) fn discard(&mut self, server: ServerId, now: Instant) {
        let Some(node) = self.nodes.get_mut(server.node.index()) else { return };
        node.pool.release(server, Outcome::Discard, now);
        let owner = node.owners.remove(&server);
        if let Some(owner) = owner {
            self.drop_user(owner.key.identity);
        }
        self.carry_out(server.node);
    }

    /// Has the statement that runs on a connection cancelled.
    pub(crate) fn cancel_server(
        &mut self,
        server: ServerId,
        key: &BackendKey,
        by: Option<ClientId>,
    ) {
        let Some((node, owner)) = self.nodes.get_mut(server.node.index()).and_then(|node| {
            let owner = node.owners.get(&server).map(|owner| (owner.host.clone(), owner.port));
            Some((node, owner?))
        }) else {
            return self.cancel_over(by);
        };
        let (host, port) = owner;
        node.pool.cancel_started(server);
        self.cancels += 1;
        self.commands.push_back(Command::Cancel(CancelOrder {
            by,
            server,
            host,
            port,
            tls: self.context.tls.clone(),
            key: key.clone(),
            timeout: self.settings.cancel_timeout,
        }));
    }

    /// A client has brought a cancel request: tells the one whose key it carries. Returns whether
    /// there is such a one; then an event will tell when the request is dealt with.
    pub(crate) fn cancel_by_key(&mut self, by: ClientId, pid: u32, presented: &[u8]) -> bool {
        let Some(index) = pid.checked_sub(1).and_then(|index| usize::try_from(index).ok()) else {
            return false;
        };
        let Some(client) = self.clients.get_mut(index) else { return false };
        let matches = client.key.as_ref().is_some_and(|key| key.matches(presented));
        if matches {
            client.inbox.push_back(Event::Cancel(by));
            self.commands.push_back(Command::Ring(client.doorbell.clone()));
        }
        matches
    }

    /// The client is gone and holds nothing any more.
    pub(crate) fn leave(&mut self, client: ClientId, now: Instant) {
        // What was handed to it and never taken goes back.
        while let Some(event) = self.next_event(client) {
            match event {
                Event::Granted(link) => self.release(link, now),
                Event::Cancel(by) => self.cancel_over(Some(by)),
                _ => {}
            }
        }
        let Ok(index) = usize::try_from(client.index) else { return };
        if self.client_mut(client).is_none() {
            return;
        }
        let gone = self.clients.remove(index);
        self.asking.credentials.client_left(client);
        if let Some(key) = gone.pool_key {
            if let Some(identity) = self.identity_of(key) {
                self.census.leave(&identity);
                if gone.catalogued {
                    self.catalogues.client_left(&identity.database, client);
                }
            }
            self.drop_user(key.identity);
        }
        if !gone.admitted {
            self.admission.retain(|waiting| *waiting != client);
            return;
        }
        self.admitted = self.admitted.saturating_sub(1);
        self.admit_waiting();
    }

    /// Gives the places that are free to those who wait for one.
    fn admit_waiting(&mut self) {
        while self.admitted < size(self.settings.num_init_children)
            && let Some(next) = self.admission.pop_front()
        {
            if let Some(entry) = self.client_mut(next) {
                entry.admitted = true;
                self.admitted += 1;
                self.tell(next, Event::Admitted);
            }
        }
    }

    // --- inside ---------------------------------------------------------------------------------

    /// Turns a pool's orders into commands and events.
    fn carry_out(&mut self, node: NodeId) {
        loop {
            let Some(entry) = self.nodes.get_mut(node.index()) else { return };
            let Some(order) = entry.pool.poll_order() else { return };
            match order {
                Order::Connect { server, key } => self.order_connect(server, key),
                Order::Close(server) => {
                    let link = take_idle(entry, server);
                    let owner = entry.owners.remove(&server);
                    if let Some(owner) = owner {
                        self.drop_user(owner.key.identity);
                    }
                    self.commands.extend(link.map(Command::Close));
                }
                Order::Hand { server, client } => {
                    let link = take_idle(entry, server);
                    if let Some(link) = link {
                        self.tell(client, Event::Granted(link));
                    }
                }
                Order::Refuse(client) => {
                    let key = self.client_mut(client).and_then(|entry| entry.pool_key);
                    if let Some(key) = key {
                        let reason = self.reason(node, key);
                        self.tell(client, Event::Refused(node, reason));
                    }
                }
            }
        }
    }

    fn order_connect(&mut self, server: ServerId, key: PoolKey) {
        let Ok(index) = usize::try_from(key.identity.0) else { return };
        let primary = self.settings.primary_node();
        let Some(backend) = self.settings.backends.get(server.node.index()) else { return };
        let Some(entry) = self.identities.get_mut(index) else {
            // The identity that found the node unreachable is forgotten, and cannot probe it.
            if let Some(node) = self.nodes.get_mut(server.node.index()) {
                node.pool.never_begun(server);
            }
            return;
        };
        entry.users += 1;
        let plan = LoginPlan {
            server,
            host: backend.host.clone(),
            port: backend.port,
            tls: self.context.tls.clone(),
            identity: entry.identity.clone(),
            secret: None,
            must_be_primary: server.node == primary,
            connect_timeout: backend.connect_timeout,
            login_timeout: self.settings.server_login_timeout,
            pipeline_limit: size(self.settings.pipeline_limit),
        };
        let secret = self.identities.get(index).and_then(|entry| self.secret_of(entry));
        if let Some(node) = self.nodes.get_mut(server.node.index()) {
            let (host, port) = (plan.host.clone(), plan.port);
            node.owners.insert(server, Owner { key, host, port });
        }
        self.commands.push_back(Command::Connect(LoginPlan { secret, ..plan }));
    }

    /// Orders the look-ups that are due, and tells those who waited for one that is over.
    fn order_lookups(&mut self, now: Instant) {
        while let Some(due) = self.catalogues.pop_due() {
            match self.lookup_plan(&due) {
                Some(login) => {
                    let plan = Box::new(LookupPlan { login, order: due.order });
                    self.commands.push_back(Command::LookUp(plan));
                }
                None => {
                    let error = LookupError::Connect(ConnectError::NoSuchNode);
                    self.catalogues.finished(&due.order, Err(error), now);
                }
            }
        }
        while let Some(client) = self.catalogues.pop_ready() {
            if let Some(entry) = self.client_mut(client) {
                let doorbell = entry.doorbell.clone();
                self.commands.push_back(Command::Ring(doorbell));
            }
        }
    }

    /// How to log in for a look-up: as somebody who could before.
    fn lookup_plan(&self, due: &Due) -> Option<LoginPlan> {
        let node = due.order.node;
        let backend = self.settings.backends.get(node.index())?;
        let known = |entry: &&IdentityEntry| {
            entry.base.is_some()
                && entry.identity.database == due.order.database
                && !entry.identity.replicates()
        };
        let candidates = || self.identities.iter().map(|(_, entry)| entry).filter(known);
        let turn = (due.failures / 2).checked_rem(candidates().count())?;
        let entry = candidates().nth(turn)?;
        let identity = Identity {
            user: entry.identity.user.clone(),
            database: entry.identity.database.clone(),
            parameters: vec![(b"application_name".as_slice().into(), b"pgweir".as_slice().into())],
            credential: None,
        };
        Some(LoginPlan {
            // Of no pool.
            server: ServerId { node, index: u32::MAX, generation: 0 },
            host: backend.host.clone(),
            port: backend.port,
            tls: self.context.tls.clone(),
            identity: Arc::new(identity),
            secret: self.secret_of(entry),
            must_be_primary: node == self.settings.primary_node(),
            connect_timeout: backend.connect_timeout,
            login_timeout: self.settings.server_login_timeout,
            pipeline_limit: 1,
        })
    }

    fn identity_of(&self, key: PoolKey) -> Option<Arc<Identity>> {
        let index = usize::try_from(key.identity.0).ok()?;
        Some(self.identities.get(index)?.identity.clone())
    }

    fn tell(&mut self, client: ClientId, event: Event<S>) {
        if let Some(entry) = self.client_mut(client) {
            entry.inbox.push_back(event);
            let doorbell = entry.doorbell.clone();
            self.commands.push_back(Command::Ring(doorbell));
        }
    }

    fn reason(&self, node: NodeId, key: PoolKey) -> Arc<ConnectError> {
        let of_node = self.nodes.get(node.index()).and_then(|n| n.last_error.clone());
        let of_identity = usize::try_from(key.identity.0)
            .ok()
            .and_then(|index| self.identities.get(index))
            .and_then(|entry| entry.last_error.clone());
        of_node.or(of_identity).unwrap_or_else(|| Arc::new(ConnectError::NoSuchNode))
    }

    fn intern(&mut self, identity: &Identity) -> Option<IdentityId> {
        if let Some(id) = self.identity_index.get(identity) {
            return Some(*id);
        }
        if self.identities.len() >= MAX_IDENTITIES {
            self.forget_unused();
        }
        if self.identities.len() >= MAX_IDENTITIES {
            return None;
        }
        let name = (identity.user.clone(), identity.database.clone());
        let next = &mut self.next_group;
        let group = *self.groups.entry(name).or_insert_with(|| {
            *next = next.wrapping_add(1);
            GroupId(*next)
        });
        let identity = Arc::new(identity.clone());
        let index = self.identities.insert(IdentityEntry {
            identity: identity.clone(),
            group,
            secret: None,
            users: 0,
            base: None,
            welcomes: BTreeMap::new(),
            last_error: None,
        });
        let id = IdentityId(u32::try_from(index).ok()?);
        self.identity_index.insert(identity, id);
        Some(id)
    }

    fn forget_unused(&mut self) {
        let unused: Vec<usize> =
            self.identities.iter().filter(|(_, e)| e.users == 0).map(|(i, _)| i).collect();
        for index in unused {
            let entry = self.identities.remove(index);
            self.identity_index.remove(&entry.identity);
        }
        let used: Vec<GroupId> = self.identities.iter().map(|(_, e)| e.group).collect();
        self.groups.retain(|_, group| used.contains(group));
    }

    fn drop_user(&mut self, identity: IdentityId) {
        if let Some(entry) = self.identity_mut(identity) {
            entry.users = entry.users.saturating_sub(1);
            // A role or password that never worked is not worth remembering.
            if entry.users == 0 && entry.base.is_none() {
                let gone = entry.identity.clone();
                if let Some(id) = self.identity_index.remove(&gone)
                    && let Ok(index) = usize::try_from(id.0)
                {
                    self.identities.remove(index);
                }
            }
        }
    }

    fn identity_mut(&mut self, id: IdentityId) -> Option<&mut IdentityEntry> {
        self.identities.get_mut(usize::try_from(id.0).ok()?)
    }

    fn client_mut(&mut self, client: ClientId) -> Option<&mut Client<S, D>> {
        let entry = self.clients.get_mut(usize::try_from(client.index).ok()?)?;
        (entry.generation == client.generation).then_some(entry)
    }
}

/// The process id that a client is told: a name for cancel requests, unique among present clients.
pub(crate) fn client_pid(client: ClientId) -> u32 {
    client.index.wrapping_add(1)
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        per_group: size(settings.pool_size).max(1),
        per_node: size(settings.max_server_connections).max(1),
        min_per_group: size(settings.min_pool_size),
        idle_timeout: settings.server_idle_timeout,
        lifetime: settings.server_lifetime,
        lifetime_spread: settings.server_lifetime.map_or(Duration::ZERO, |life| life / 10),
        renew_ahead: settings
            .server_lifetime
            .map_or(Duration::ZERO, |life| (life / 20).min(LONGEST_RENEWAL)),
        max_clients: settings
            .child_max_connections
            .filter(|_| settings.pool_mode == PoolMode::Session),
        retry_initial: settings.server_retry_initial,
        retry_max: settings.server_retry_max,
        max_queue: settings.max_queue.map(size),
        reserve_timeout: settings.reserve_pool_timeout,
        max_logins: settings.max_concurrent_logins.map(size),
    }
}

fn store_idle<S>(node: &mut Node<S>, link: Box<Link<S>>) {
    let Ok(index) = usize::try_from(link.id.index) else { return };
    if node.idle.len() <= index {
        node.idle.resize_with(index + 1, || None);
    }
    if let Some(place) = node.idle.get_mut(index) {
        *place = Some(link);
    }
}

fn take_idle<S>(node: &mut Node<S>, server: ServerId) -> Option<Box<Link<S>>> {
    node.idle.get_mut(usize::try_from(server.index).ok()?)?.take()
}
