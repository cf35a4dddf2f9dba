//! The server connections of one node, by id: who holds which, who waits, when to connect and close.
//!
//! A [`Pool`] never sees a socket, a waker or a lock. It is told what happened and answers with
//! [`Order`]s. Connections of one identity are interchangeable; `weir_pool_size` bounds a group (user
//! and database) over all its identities, `weir_max_server_connections` bounds the node.
//!
//! # Rules
//! - Waiters of a group are served in the order of their coming, also when that takes closing an
//!   idle connection of another identity to make room. A waiter of another identity passes only
//!   those for whom a connection is being opened, or for whom none can be.
//! - The connection that was used last is lent first, so that surplus ones grow old and expire.
//! - A connection with a cancel request under way is lent to nobody.
//! - A node that cannot be reached is down: waiters that no living connection can serve are refused
//!   at once, and one probe at a time, with growing pauses, finds out when it is back.
//! - An identity that the server rejects is not tried again before somebody asks for it again; its
//!   waiters are refused unless connections of it live.
//!
//! Lending and taking back cost the same however many groups there are, and allocate nothing, as
//! long as nobody waits and every minimum is met.
//!
//! # Calling rule
//! After any `&mut` call, drain [`Pool::poll_order`]; then sleep until [`Pool::poll_timeout`] and
//! call [`Pool::handle_timeout`]. Time must not run backwards.

mod bounds;
mod group;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use pgwire_core::time::Instant;
use slab::Slab;

use crate::ids::{ClientId, GroupId, NodeId, PoolKey, ServerId};
use group::{Group, Waiter};

/// The limits of a [`Pool`]. All are settings; see the reference of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most connections of one group, in whatever state (at least 1).
    pub per_group: usize,
    /// Most connections of the node, in whatever state (at least 1).
    pub per_node: usize,
    /// Connections kept open for a group once it was used.
    pub min_per_group: usize,
    /// An idle connection above the minimum is closed after this long.
    pub idle_timeout: Option<Duration>,
    /// A connection is not lent again once it is this old.
    pub lifetime: Option<Duration>,
    /// What a connection's lifetime is at most shorter by: each has a share of its own.
    pub lifetime_spread: Duration,
    /// How long before the end of a connection in steady use its successor is opened; zero: not
    /// before somebody needs it.
    pub renew_ahead: Duration,
    /// A connection that has served so many clients is not lent to another; `None`: any number.
    pub max_clients: Option<u32>,
    /// The first pause before an unreachable node is tried again; doubles up to `retry_max`.
    pub retry_initial: Duration,
    /// The longest pause between two tries.
    pub retry_max: Duration,
    /// Most clients that wait in one group; `None`: any number.
    pub max_queue: Option<usize>,
    /// How long a client waits before the reserve of its group is used.
    pub reserve_timeout: Duration,
    /// Most connections that are being opened at a time (at least 1); `None`: any number. After a
    /// failure it is 1, and doubles with each success.
    pub max_logins: Option<usize>,
}

/// What bounds one group, where that is not what bounds all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most connections, in whatever state (at least 1).
    pub size: usize,
    /// Connections kept open once the group was used.
    pub min: usize,
    /// Connections beyond `size` for those who have waited for [`Limits::reserve_timeout`].
    pub reserve: usize,
    /// Bounds that the group shares with others: of its user, and of its database.
    pub shares: [Option<Share>; 2],
}

/// A bound on the connections of several groups together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which groups: all that name this number.
    pub id: u32,
    /// Most connections of theirs (at least 1).
    pub most: usize,
}

/// The answer to [`Pool::acquire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquire {
    /// The connection is the client's.
    Granted(ServerId),
    /// The client waits; [`Order::Hand`] or [`Order::Refuse`] will follow, unless it withdraws.
    Queued,
    /// The node is down and nothing that lives can serve the client.
    Refused,
    /// As many wait already as may.
    Full,
}

/// What the owner of the connections is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Open and log in a connection; report [`Pool::connected`] or [`Pool::connect_failed`].
    Connect {
        /// The id that it will have.
        server: ServerId,
        /// Whose it is to be.
        key: PoolKey,
    },
    /// Close an idle connection. It is no longer counted.
    Close(ServerId),
    /// The idle connection now belongs to a client that waited.
    Hand {
        /// The connection.
        server: ServerId,
        /// Its new holder.
        client: ClientId,
    },
    /// The client no longer waits: its connection cannot be had.
    Refuse(ClientId),
}

/// How a connection comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Clean: it may serve others.
    Reuse,
    /// It is being closed by its holder.
    Discard,
}

/// Why a connection could not be made, as far as the pool cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The node did not answer, or not as a PostgreSQL server ready for work.
    Unreachable,
    /// The server refused this identity (password, database, its own connection limit).
    Rejected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Idle {
        since: Instant,
    },
    Active {
        client: ClientId,
    },
    /// Released while a cancel request for it was under way.
    Cooling,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    key: PoolKey,
    state: State,
    born: Instant,
    cancels: u32,
    epoch: u32,
    index: u32,
    /// Its successor was ordered.
    renewed: bool,
    /// Clients that it has served, and the last of them.
    clients: u32,
    last: Option<ClientId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Up,
    Down { pause: Duration, retry_at: Instant, probing: Option<ServerId>, probe: PoolKey },
}

/// Numbers of a pool, for SHOW, metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    /// Being opened.
    pub connecting: usize,
    /// Free.
    pub idle: usize,
    /// Held by clients.
    pub active: usize,
    /// Waiting for a cancel request to end.
    pub cooling: usize,
    /// Clients that wait.
    pub waiting: usize,
}

/// The server connections of one node. See the [module](self) for its rules.
#[derive(Debug)]
pub struct Pool {
    node: NodeId,
    limits: Limits,
    slots: Slab<Slot>,
    groups: BTreeMap<GroupId, Group>,
    orders: VecDeque<Order>,
    health: Health,
    /// Waiters of all groups.
    waiting: usize,
    /// Groups with fewer connections than the minimum.
    unmet: usize,
    next_ticket: u64,
    next_generation: u32,
    next_sweep: Option<Instant>,
    next_renewal: Option<Instant>,
    /// Connections of earlier epochs are not lent again.
    epoch: u32,
    /// The node serves nobody.
    closed: bool,
    /// No minimum is kept any more.
    no_minimum: bool,
    /// Connections by [`Share`].
    shares: BTreeMap<u32, usize>,
    /// Connections that are being opened.
    connecting: usize,
    /// How many may be, until a failure is forgotten.
    ramp: Option<usize>,
    /// Some group has a reserve, and when they were looked at last.
    has_reserves: bool,
    reserves_seen: Instant,
}

/// With so many logins at a time a failure is forgotten.
const RAMP_END: usize = 64;

impl Pool {
    /// An empty pool of a node that is believed to be up.
    #[must_use]
    pub fn new(node: NodeId, limits: Limits) -> Self {
        Self {
            node,
            limits,
            slots: Slab::new(),
            groups: BTreeMap::new(),
            orders: VecDeque::new(),
            health: Health::Up,
            waiting: 0,
            unmet: 0,
            next_ticket: 0,
            next_generation: 0,
            next_sweep: None,
            next_renewal: None,
            epoch: 0,
            closed: false,
            no_minimum: false,
            shares: BTreeMap::new(),
            connecting: 0,
            ramp: None,
            has_reserves: false,
            reserves_seen: Instant::ORIGIN,
        }
    }

    /// Asks for a connection on behalf of `client`, which must not be waiting already.
    pub fn acquire(&mut self, client: ClientId, key: PoolKey, now: Instant) -> Acquire {
        self.acquire_as(client, key, false, now)
    }

    /// The same for what goes on in a pause ([`Pool::set_paused`]): a transaction, a login.
    pub fn acquire_in_pause(&mut self, client: ClientId, key: PoolKey, now: Instant) -> Acquire {
        self.acquire_as(client, key, true, now)
    }

    fn acquire_as(
        &mut self,
        client: ClientId,
        key: PoolKey,
        passes: bool,
        now: Instant,
    ) -> Acquire {
        if self.closed {
            return Acquire::Refused;
        }
        self.ensure_group(key.group);
        let Some(group) = self.groups.get_mut(&key.group) else { return Acquire::Refused };
        group.last_identity = Some(key.identity);
        group.rejected.retain(|identity| *identity != key.identity);
        group.hold_minimum = false;
        let held = group.paused && !passes;
        if group.waiters.is_empty()
            && !held
            && let Some(server) = self.take_idle(key, now)
        {
            self.activate(server, client);
            if self.unmet > 0 && !self.is_down() {
                self.fill(key.group, now);
            }
            return Acquire::Granted(server);
        }
        let Some(group) = self.groups.get_mut(&key.group) else { return Acquire::Refused };
        if !held && self.limits.max_queue.is_some_and(|most| group.waiters.len() >= most) {
            return Acquire::Full;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let identity = key.identity;
        group.waiters.push_back(Waiter { client, identity, ticket, since: now, passes });
        self.waiting += 1;
        self.pump(now);
        // The pump may have served or refused this client already: say so directly.
        let served = self.orders.iter().rposition(|order| match order {
            Order::Hand { client: c, .. } | Order::Refuse(c) => *c == client,
            Order::Connect { .. } | Order::Close(_) => false,
        });
        match served.and_then(|at| self.orders.remove(at)) {
            Some(Order::Hand { server, .. }) => Acquire::Granted(server),
            Some(_) => Acquire::Refused,
            None => Acquire::Queued,
        }
    }

    /// Whether a newcomer would wait until another client gives a connection back: neither an idle
    /// connection nor one that is being opened, nor room for one more, is left for it.
    #[must_use]
    pub fn is_exhausted(&self, key: PoolKey) -> bool {
        if self.is_down() || self.closed {
            return false;
        }
        let group = self.groups.get(&key.group);
        let of_group = group.map_or(0, |group| group.idle.len());
        let elsewhere: usize = self.groups.values().map(|group| group.idle.len()).sum();
        let of_node = self.limits.per_node.saturating_sub(self.slots.len());
        let room = of_node.saturating_add(elsewhere.saturating_sub(of_group));
        let total = group.map_or(0, |group| group.total);
        let size = group.map_or(self.limits.per_group, |group| group.bounds.size);
        let more = size.saturating_sub(total).min(room).min(self.share_room(key.group));
        let opening = group.map_or(0, |group| group.opening.len());
        let waiters = group.map_or(0, |group| group.waiters.len());
        waiters >= of_group + opening + more
    }

    /// The client no longer wants to wait. Returns the connection that was handed to it in the
    /// meantime, if so; the caller must release it.
    pub fn withdraw(&mut self, client: ClientId, now: Instant) -> Option<ServerId> {
        for group in self.groups.values_mut().filter(|_| self.waiting > 0) {
            if let Some(at) = group.waiters.iter().position(|w| w.client == client) {
                group.waiters.remove(at);
                self.waiting -= 1;
                self.pump(now);
                return None;
            }
        }
        let at = self.orders.iter().position(|order| match order {
            Order::Hand { client: c, .. } | Order::Refuse(c) => *c == client,
            Order::Connect { .. } | Order::Close(_) => false,
        })?;
        match self.orders.remove(at) {
            Some(Order::Hand { server, .. }) => Some(server),
            _ => None,
        }
    }

    /// A client gives its connection back. Ids that are not held by anybody are ignored.
    pub fn release(&mut self, server: ServerId, outcome: Outcome, now: Instant) {
        let Some(slot) = self.slot_mut(server) else { return };
        if !matches!(slot.state, State::Active { .. }) {
            return;
        }
        let group = slot.key.group;
        match outcome {
            Outcome::Discard => self.remove(server),
            Outcome::Reuse if slot.cancels > 0 => {
                slot.state = State::Cooling;
                return;
            }
            Outcome::Reuse => self.make_idle(server, now),
        }
        let of_group = self.groups.get(&group).map_or(0, |group| group.waiters.len());
        if of_group == self.waiting && self.unmet == 0 && !self.is_down() {
            // Nobody else is concerned.
            self.pump_group(group, now);
        } else {
            self.pump(now);
        }
    }

    /// A cancel request for the connection is being sent.
    pub fn cancel_started(&mut self, server: ServerId) {
        let Some(slot) = self.slot_mut(server) else { return };
        slot.cancels += 1;
        if let State::Idle { .. } = slot.state {
            slot.state = State::Cooling;
            let group = slot.key.group;
            if let Some(group) = self.groups.get_mut(&group) {
                group.idle.retain(|id| *id != server);
            }
        }
    }

    /// A cancel request for the connection has been taken by the server, or has been given up.
    pub fn cancel_finished(&mut self, server: ServerId, now: Instant) {
        let Some(slot) = self.slot_mut(server) else { return };
        slot.cancels = slot.cancels.saturating_sub(1);
        if slot.cancels == 0 && slot.state == State::Cooling {
            self.make_idle(server, now);
            self.pump(now);
        }
    }

    /// An ordered connection is open and logged in.
    pub fn connected(&mut self, server: ServerId, now: Instant) {
        let Some(slot) = self.slot_mut(server) else { return };
        if slot.state != State::Connecting {
            return;
        }
        let key = slot.key;
        slot.born = now;
        let current = slot.epoch == self.epoch;
        let renewal = self.slot(server).and_then(|slot| self.renewal(slot));
        self.next_renewal = self.next_renewal.into_iter().chain(renewal).min();
        if let Some(group) = self.groups.get_mut(&key.group) {
            group.opened(key.identity);
            group.rejected.retain(|identity| *identity != key.identity);
        }
        self.connecting = self.connecting.saturating_sub(1);
        if current {
            self.health = Health::Up;
            self.ramp = self.ramp.map(|n| n * 2).filter(|n| *n < RAMP_END);
        }
        self.make_idle(server, now);
        self.pump(now);
    }

    /// An ordered connection could not be made.
    pub fn connect_failed(&mut self, server: ServerId, kind: FailureKind, now: Instant) {
        let Some(slot) = self.slot_mut(server) else { return };
        if slot.state != State::Connecting {
            return;
        }
        let (key, current) = (slot.key, slot.epoch == self.epoch);
        self.remove(server);
        match kind {
            // It tells nothing of where others are to go.
            _ if !current || self.closed => {}
            FailureKind::Unreachable => self.mark_down(server, key, now),
            FailureKind::Rejected => {
                self.health = Health::Up;
                let alive = self.is_alive(key);
                if let Some(group) = self.groups.get_mut(&key.group) {
                    // A refusal is no reason to try again at once: whoever asks next does.
                    group.hold_minimum = true;
                    if alive {
                        if !group.rejected.contains(&key.identity) {
                            group.rejected.push(key.identity);
                        }
                    } else {
                        let identity = key.identity;
                        self.waiting -= group
                            .refuse(&mut self.orders, |other, held| other == identity && !held);
                    }
                }
            }
        }
        self.pump(now);
    }

    /// An ordered connection was never begun: there is nobody left whom it could serve.
    pub fn never_begun(&mut self, server: ServerId) {
        let slot = self.slot_mut(server).filter(|slot| slot.state == State::Connecting);
        if let Some(group) = slot.map(|slot| slot.key.group) {
            self.remove(server);
            if let Some(group) = self.groups.get_mut(&group) {
                // Filling it up would only come to this again.
                group.hold_minimum = true;
            }
            // Others may have waited for it to be over.
            self.next_sweep = Some(Instant::ORIGIN);
            // Whoever comes next finds out how the node is.
            if matches!(self.health, Health::Down { probing: Some(probe), .. } if probe == server) {
                self.health = Health::Up;
            }
        }
    }

    /// The next order, if any.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When [`Pool::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let retry = match self.health {
            Health::Down { retry_at, probing: None, .. } => Some(retry_at),
            Health::Down { .. } | Health::Up => None,
        };
        let times = retry.into_iter().chain(self.next_sweep).chain(self.next_renewal);
        times.chain(self.reserve_at()).min()
    }

    /// Whether the node is known to be unreachable.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self.health, Health::Down { .. })
    }

    /// The present numbers.
    #[must_use]
    pub fn view(&self) -> View {
        let mut view = View::default();
        for (_, slot) in &self.slots {
            match slot.state {
                State::Connecting => view.connecting += 1,
                State::Idle { .. } => view.idle += 1,
                State::Active { .. } => view.active += 1,
                State::Cooling => view.cooling += 1,
            }
        }
        view.waiting = self.waiting;
        view
    }

    /// How long the client that waits longest has been waiting.
    #[must_use]
    pub fn oldest_wait(&self, now: Instant) -> Option<Duration> {
        let first = self.groups.values().filter_map(|g| g.waiters.front());
        first.map(|waiter| now.saturating_since(waiter.since)).max()
    }

    fn slot(&self, server: ServerId) -> Option<&Slot> {
        let slot = self.slots.get(usize::try_from(server.index).ok()?)?;
        (server.node == self.node && slot.generation == server.generation).then_some(slot)
    }

    fn slot_mut(&mut self, server: ServerId) -> Option<&mut Slot> {
        if server.node != self.node {
            return None;
        }
        let slot = self.slots.get_mut(usize::try_from(server.index).ok()?)?;
        (slot.generation == server.generation).then_some(slot)
    }

    fn activate(&mut self, server: ServerId, client: ClientId) {
        if let Some(slot) = self.slot_mut(server) {
            slot.state = State::Active { client };
            if slot.last.replace(client) != Some(client) {
                slot.clients = slot.clients.saturating_add(1);
            }
        }
    }

    fn make_idle(&mut self, server: ServerId, now: Instant) {
        let over_node = self.slots.len() > self.limits.per_node || self.closed;
        let (epoch, most) = (self.epoch, self.limits.max_clients);
        let Some(slot) = self.slot_mut(server) else { return };
        slot.state = State::Idle { since: now };
        let key = slot.key;
        let worn = slot.epoch != epoch || most.is_some_and(|most| slot.clients >= most);
        let end = self.slot(server).and_then(|slot| self.end(slot));
        let too_old = worn || end.is_some_and(|end| now >= end);
        let expires = self.expiry(server, now);
        let Some(group) = self.groups.get_mut(&key.group) else { return };
        group.idle.push(server);
        let vacated = (self.no_minimum || group.is_vacated(now)) && group.waiters.is_empty();
        let over_group = group.total > group.bounds.size + group.bounds.reserve;
        if over_node || over_group || vacated || self.is_over_share(key.group) {
            self.close(server);
        } else if too_old {
            self.close_old(server, now);
        } else if let Some(at) = expires {
            self.next_sweep = Some(self.next_sweep.map_or(at, |sweep| sweep.min(at)));
        }
    }

    /// The most recently used idle connection of an identity that may still be lent.
    fn take_idle(&mut self, key: PoolKey, now: Instant) -> Option<ServerId> {
        let idle = &self.groups.get(&key.group)?.idle;
        let at = idle.iter().rposition(|server| {
            self.slot(*server)
                .is_some_and(|slot| slot.key == key && self.end(slot).is_none_or(|end| now < end))
        })?;
        Some(self.groups.get_mut(&key.group)?.idle.remove(at))
    }

    /// Orders an idle connection closed.
    fn close(&mut self, server: ServerId) {
        self.remove(server);
        self.orders.push_back(Order::Close(server));
    }

    /// Forgets a connection in whatever state.
    fn remove(&mut self, server: ServerId) {
        let Some(slot) = self.slot_mut(server) else { return };
        let (key, state) = (slot.key, slot.state);
        if let Ok(index) = usize::try_from(server.index) {
            self.slots.remove(index);
        }
        let none = self.no_minimum;
        let Some(group) = self.groups.get_mut(&key.group) else { return };
        let min = group.minimum(none);
        let met = group.total >= min;
        group.total = group.total.saturating_sub(1);
        self.unmet += usize::from(met && group.total < min);
        for share in group.bounds.shares.into_iter().flatten() {
            if let Some(total) = self.shares.get_mut(&share.id) {
                *total = total.saturating_sub(1);
            }
        }
        match state {
            State::Connecting => {
                group.opened(key.identity);
                self.connecting = self.connecting.saturating_sub(1);
            }
            State::Idle { .. } => group.idle.retain(|id| *id != server),
            State::Active { .. } | State::Cooling => {}
        }
    }

    fn connect(&mut self, key: PoolKey, now: Instant) -> Option<ServerId> {
        let epoch = self.epoch;
        let entry = self.slots.vacant_entry();
        let index = u32::try_from(entry.key()).ok()?;
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        entry.insert(Slot {
            generation,
            key,
            state: State::Connecting,
            born: now,
            cancels: 0,
            epoch,
            index,
            renewed: false,
            clients: 0,
            last: None,
        });
        self.ensure_group(key.group);
        let none = self.no_minimum;
        let group = self.groups.get_mut(&key.group)?;
        let min = group.minimum(none);
        let met = group.total >= min;
        group.total += 1;
        self.connecting += 1;
        for share in group.bounds.shares.into_iter().flatten() {
            *self.shares.entry(share.id).or_default() += 1;
        }
        self.unmet -= usize::from(!met && group.total >= min);
        group.opening.push(key.identity);
        if min > 0 && group.total > min && !group.idle.is_empty() {
            // What was kept for the minimum may go now.
            self.next_sweep = Some(now);
        }
        let server = ServerId { node: self.node, index, generation };
        self.orders.push_back(Order::Connect { server, key });
        Some(server)
    }

    /// Makes the group known, and forgets others if there are many.
    fn ensure_group(&mut self, id: GroupId) {
        if self.groups.contains_key(&id) {
            return;
        }
        if self.groups.len() >= MAX_QUIET_GROUPS {
            self.groups.retain(|_, g| g.total > 0 || !g.waiters.is_empty());
        }
        let bounds = self.default_bounds();
        self.groups.insert(id, Group::new(bounds));
        self.count_unmet();
    }

    fn count_unmet(&mut self) {
        let none = self.no_minimum;
        let unmet = self.groups.values().filter(|group| group.total < group.minimum(none));
        self.unmet = unmet.count();
    }

    fn mark_down(&mut self, server: ServerId, key: PoolKey, now: Instant) {
        self.ramp = Some(1);
        let pause = match self.health {
            Health::Up => self.limits.retry_initial,
            Health::Down { pause, probing, .. } if probing == Some(server) => {
                pause.saturating_mul(2).min(self.limits.retry_max)
            }
            // Another attempt of the same outage.
            Health::Down { .. } => return,
        };
        self.health = Health::Down { pause, retry_at: now + pause, probing: None, probe: key };
    }

    /// While the node is down, only living connections can serve: refuse whom none will.
    fn refuse_hopeless(&mut self) {
        let (slots, orders) = (&self.slots, &mut self.orders);
        for (id, group) in &mut self.groups {
            let mut last = None;
            self.waiting -= group.refuse(orders, |identity, held| match last {
                _ if held => false,
                Some((known, hopeless)) if known == identity => hopeless,
                _ => {
                    let hopeless = !lives(slots, PoolKey { group: *id, identity });
                    last = Some((identity, hopeless));
                    hopeless
                }
            });
        }
    }

    fn is_alive(&self, key: PoolKey) -> bool {
        lives(&self.slots, key)
    }

    /// Serves waiters as far as the limits allow, group by group in the order of their oldest
    /// waiter, and fills up to the minimum.
    fn pump(&mut self, now: Instant) {
        if (self.waiting > 0 || self.unmet > 0) && !self.closed {
            self.pump_groups(now);
        }
        #[cfg(debug_assertions)]
        self.check();
    }

    fn pump_groups(&mut self, now: Instant) {
        if self.is_down() {
            // First, because it lets those behind move up.
            self.refuse_hopeless();
        }
        let none = self.no_minimum;
        let mut turn: Vec<(u64, GroupId)> = Vec::new();
        for (id, group) in &self.groups {
            match group.waiters.front() {
                Some(waiter) => turn.push((waiter.ticket, *id)),
                None if group.total < group.minimum(none) => turn.push((u64::MAX, *id)),
                None => {}
            }
        }
        turn.sort_unstable();
        for (_, id) in &turn {
            self.pump_group(*id, now);
        }
        if self.unmet > 0 && !self.is_down() {
            for (_, id) in turn {
                self.fill(id, now);
            }
        }
    }

    /// Serves the waiters of a group, from the head on.
    fn pump_group(&mut self, id: GroupId, now: Instant) {
        // Nothing is opened for those behind a waiter for whom nothing can be.
        let mut only_idle = self.is_down();
        let mut at = 0;
        loop {
            let Some(group) = self.groups.get_mut(&id) else { return };
            let Some(waiter) = group.waiters.get(at).copied() else { return };
            if only_idle && group.idle.is_empty() {
                return;
            }
            if group.paused && !waiter.passes {
                at += 1;
                continue;
            }
            let identity = waiter.identity;
            let key = PoolKey { group: id, identity };
            if let Some(server) = self.take_idle(key, now) {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.waiters.remove(at);
                }
                self.waiting -= 1;
                self.activate(server, waiter.client);
                self.orders.push_back(Order::Hand { server, client: waiter.client });
                continue;
            }
            let Some(group) = self.groups.get(&id) else { return };
            if !only_idle {
                let ahead = group.waiters.iter().take(at).filter(|w| w.identity == identity);
                let opening = group.opening.iter().filter(|other| **other == identity);
                let under_way = ahead.count() < opening.count();
                let rejected = group.rejected.contains(&identity);
                if under_way {
                    // One is being opened for this waiter.
                } else if rejected && self.is_alive(key)
                    || !self.may_log_in()
                    || !self.make_room(id, now)
                {
                    only_idle = true;
                } else {
                    self.connect(key, now);
                }
            }
            at += 1;
        }
    }

    /// Opens what the minimum of a group lacks, as far as there is room without closing others.
    fn fill(&mut self, id: GroupId, now: Instant) {
        let none = self.no_minimum;
        while self.slots.len() < self.limits.per_node
            && self.may_log_in()
            && self.full_share(id).is_none()
            && let Some(group) = self.groups.get(&id)
            && group.total < group.minimum(none)
            && !group.hold_minimum
            && !group.is_vacated(now)
            && !group.paused
            && let Some(identity) = group.last_identity
        {
            self.connect(PoolKey { group: id, identity }, now);
        }
    }

    /// Whether the group may have one more connection, if need be in place of an idle one.
    fn make_room(&mut self, id: GroupId, now: Instant) -> bool {
        loop {
            let Some(group) = self.groups.get(&id) else { return false };
            let surplus = if group.total >= group.allowed(self.limits.reserve_timeout, now) {
                group.idle.first().copied()
            } else if let Some(share) = self.full_share(id) {
                self.idle_of_share(share)
            } else if self.slots.len() >= self.limits.per_node {
                self.idle_of_longest()
            } else {
                return true;
            };
            let Some(surplus) = surplus else { return false };
            self.close(surplus);
        }
    }

    /// The connection that has been idle longest, of any group.
    fn idle_of_longest(&self) -> Option<ServerId> {
        let oldest = |server: &ServerId| {
            let slot = self.slots.get(usize::try_from(server.index).ok()?)?;
            match slot.state {
                State::Idle { since } => Some(since),
                State::Connecting | State::Active { .. } | State::Cooling => None,
            }
        };
        self.groups.values().filter_map(|g| g.idle.first().copied()).min_by_key(|s| oldest(s))
    }

    /// Recounts everything: what is counted twice must agree.
    #[cfg(debug_assertions)]
    fn check(&self) {
        for (id, group) in &self.groups {
            let of_group = self.slots.iter().filter(|(_, slot)| slot.key.group == *id);
            let (mut total, mut connecting, mut idle) = (0, 0, 0);
            for (_, slot) in of_group {
                total += 1;
                match slot.state {
                    State::Connecting => connecting += 1,
                    State::Idle { .. } => idle += 1,
                    State::Active { .. } | State::Cooling => {}
                }
            }
            debug_assert_eq!(total, group.total, "connections of {id:?}");
            debug_assert_eq!(connecting, group.opening.len(), "connecting of {id:?}");
            debug_assert_eq!(idle, group.idle.len(), "idle of {id:?}");
        }
        let waiting: usize = self.groups.values().map(|group| group.waiters.len()).sum();
        debug_assert_eq!(waiting, self.waiting, "waiters");
        let unmet =
            self.groups.values().filter(|group| group.total < group.minimum(self.no_minimum));
        debug_assert_eq!(
            self.groups.values().map(|group| group.opening.len()).sum::<usize>(),
            self.connecting,
            "connecting"
        );
        debug_assert_eq!(unmet.count(), self.unmet, "groups below the minimum");
    }
}

/// Groups without connections or waiters are forgotten beyond this many.
const MAX_QUIET_GROUPS: usize = 1_024;

/// Whether a connection of this identity exists that is, or will be, of use without opening it.
fn lives(slots: &Slab<Slot>, key: PoolKey) -> bool {
    slots.iter().any(|(_, slot)| slot.key == key && slot.state != State::Connecting)
}
