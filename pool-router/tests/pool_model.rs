//! The pool against a simple model, under random events.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pgwire_core::time::Instant;
use pool_router::ids::{ClientId, GroupId, IdentityId, NodeId, PoolKey, ServerId};
use pool_router::pool::{Acquire, FailureKind, Limits, Order, Outcome, Pool, View};
use proptest::collection::vec;
use proptest::prelude::*;

const CLIENTS: u32 = 12;
const IDENTITIES: u32 = 6;

/// Two identities make a group.
fn key(identity: u32) -> PoolKey {
    PoolKey { group: GroupId(identity / 2), identity: IdentityId(identity) }
}

fn client(index: u32) -> ClientId {
    ClientId { index, generation: 7 }
}

#[derive(Debug, Clone)]
enum Event {
    Acquire(u32, u32),
    Withdraw(u32),
    Release(u32, Outcome),
    Connected(usize),
    Failed(usize, FailureKind),
    CancelStarted(usize),
    CancelFinished(usize),
    /// Milliseconds.
    Pass(u64),
    SetLimits(Limits),
    /// Ids that mean nothing (any more).
    Stale,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Opening,
    Idle { since: Instant },
    Held(ClientId),
    Cooling,
}

#[derive(Debug, Clone)]
struct Server {
    key: PoolKey,
    state: State,
    born: Instant,
    cancels: u32,
}

#[derive(Debug)]
struct Model {
    pool: Pool,
    limits: Limits,
    now: Instant,
    servers: BTreeMap<ServerId, Server>,
    /// In the order of their coming.
    waiters: Vec<(ClientId, PoolKey)>,
    down: bool,
    /// How many may be opened at a time, since a failure.
    ramp: Option<usize>,
    probe: Option<ServerId>,
    /// Refused by the server, and not asked for since.
    rejected: BTreeSet<PoolKey>,
    unfilled: BTreeSet<GroupId>,
    used: BTreeSet<GroupId>,
    ever: BTreeSet<ServerId>,
}

impl Model {
    fn new(limits: Limits) -> Self {
        Self {
            pool: Pool::new(NodeId(3), limits.clone()),
            limits,
            now: Instant::from_millis(1_000),
            servers: BTreeMap::new(),
            waiters: Vec::new(),
            down: false,
            ramp: None,
            probe: None,
            rejected: BTreeSet::new(),
            unfilled: BTreeSet::new(),
            used: BTreeSet::new(),
            ever: BTreeSet::new(),
        }
    }

    fn of_group(&self, group: GroupId) -> impl Iterator<Item = &Server> {
        self.servers.values().filter(move |server| server.key.group == group)
    }

    fn is_alive(&self, key: PoolKey) -> bool {
        self.servers.values().any(|s| s.key == key && s.state != State::Opening)
    }

    fn too_old(&self, server: &Server) -> bool {
        self.limits.lifetime.is_some_and(|limit| self.now.saturating_since(server.born) >= limit)
    }

    fn nth(&self, n: usize, wanted: impl Fn(&Server) -> bool) -> Option<ServerId> {
        let all: Vec<_> =
            self.servers.iter().filter(|(_, s)| wanted(s)).map(|(id, _)| *id).collect();
        all.get(n % all.len().max(1)).copied()
    }

    fn held_by(&self, client: ClientId) -> Option<ServerId> {
        let mut all = self.servers.iter().filter(|(_, s)| s.state == State::Held(client));
        all.next().map(|(id, _)| *id)
    }

    fn grant(&mut self, server: ServerId, client: ClientId) {
        let at = self.waiters.iter().position(|(other, _)| *other == client);
        let (_, key) = self.waiters.remove(at.expect("granted to somebody who does not wait"));
        let overtaken = self.waiters.iter().take(at.unwrap()).any(|(_, other)| *other == key);
        assert!(!overtaken, "{client:?} overtook another of its identity");
        let too_old = self.too_old(self.servers.get(&server).expect("no such connection"));
        let entry = self.servers.get_mut(&server).unwrap();
        assert!(matches!(entry.state, State::Idle { .. }), "lent while {:?}", entry.state);
        assert_eq!(entry.key, key, "of another identity");
        assert_eq!(entry.cancels, 0, "lent while it is being cancelled");
        assert!(!too_old, "lent beyond its lifetime");
        entry.state = State::Held(client);
    }

    fn refuse(&mut self, client: ClientId, why: Option<PoolKey>) {
        let at = self.waiters.iter().position(|(other, _)| *other == client);
        let (_, key) = self.waiters.remove(at.expect("refused somebody who does not wait"));
        assert!(self.down || why == Some(key), "refused without a reason");
        assert!(!self.is_alive(key), "refused although its identity lives");
    }

    fn connect(&mut self, server: ServerId, key: PoolKey) {
        assert!(self.ever.insert(server), "an id was used twice");
        assert!(self.of_group(key.group).count() < self.limits.per_group, "group is full");
        assert!(self.servers.len() < self.limits.per_node, "node is full");
        if self.down {
            assert_eq!(self.probe, None, "a second probe");
            self.probe = Some(server);
        }
        let born = self.now;
        self.servers.insert(server, Server { key, state: State::Opening, born, cancels: 0 });
    }

    /// Carries out what the pool orders.
    fn settle(&mut self, rejected: Option<PoolKey>) {
        while let Some(order) = self.pool.poll_order() {
            match order {
                Order::Connect { server, key } => self.connect(server, key),
                Order::Hand { server, client } => self.grant(server, client),
                Order::Refuse(client) => self.refuse(client, rejected),
                Order::Close(server) => {
                    let closed = self.servers.remove(&server).expect("closed twice");
                    assert!(matches!(closed.state, State::Idle { .. }), "closed in use");
                }
            }
        }
        self.down = self.pool.is_down();
        if !self.down {
            self.probe = None;
        }
        self.check();
    }

    fn make_idle(&mut self, server: ServerId) {
        let now = self.now;
        self.servers.get_mut(&server).unwrap().state = State::Idle { since: now };
    }

    fn apply(&mut self, event: Event) {
        let mut rejected = None;
        match event {
            Event::Acquire(who, what) => {
                let (who, what) = (client(who), key(what));
                let busy = self.waiters.iter().any(|(other, _)| *other == who);
                if busy || self.held_by(who).is_some() {
                    return;
                }
                self.used.insert(what.group);
                self.rejected.remove(&what);
                self.unfilled.remove(&what.group);
                self.waiters.push((who, what));
                match self.pool.acquire(who, what, self.now) {
                    Acquire::Granted(server) => self.grant(server, who),
                    Acquire::Queued => {}
                    Acquire::Full => panic!("no queue is bounded"),
                    Acquire::Refused => self.refuse(who, None),
                }
            }
            Event::Withdraw(who) => {
                assert_eq!(self.pool.withdraw(client(who), self.now), None);
                self.waiters.retain(|(other, _)| *other != client(who));
            }
            Event::Release(who, outcome) => {
                let Some(server) = self.held_by(client(who)) else { return };
                match outcome {
                    Outcome::Discard => {
                        self.servers.remove(&server);
                    }
                    Outcome::Reuse if self.servers[&server].cancels > 0 => {
                        self.servers.get_mut(&server).unwrap().state = State::Cooling;
                    }
                    Outcome::Reuse => self.make_idle(server),
                }
                self.pool.release(server, outcome, self.now);
            }
            Event::Connected(n) => {
                let Some(server) = self.nth(n, |s| s.state == State::Opening) else { return };
                self.make_idle(server);
                self.down = false;
                self.ramp = self.ramp.map(|n| n * 2).filter(|n| *n < 64);
                let now = self.now;
                let entry = self.servers.get_mut(&server).unwrap();
                entry.born = now;
                self.rejected.remove(&entry.key);
                self.pool.connected(server, self.now);
            }
            Event::Failed(n, kind) => {
                let Some(server) = self.nth(n, |s| s.state == State::Opening) else { return };
                let of = self.servers.remove(&server).unwrap().key;
                match kind {
                    FailureKind::Unreachable => {
                        self.down = true;
                        self.ramp = Some(1);
                        if self.probe == Some(server) {
                            self.probe = None;
                        }
                    }
                    FailureKind::Rejected => {
                        self.down = false;
                        self.rejected.insert(of);
                        self.unfilled.insert(of.group);
                        rejected = Some(of);
                    }
                }
                self.pool.connect_failed(server, kind, self.now);
            }
            Event::CancelStarted(n) => {
                let Some(server) = self.nth(n, |s| s.state != State::Opening) else { return };
                let entry = self.servers.get_mut(&server).unwrap();
                entry.cancels += 1;
                if matches!(entry.state, State::Idle { .. }) {
                    entry.state = State::Cooling;
                }
                self.pool.cancel_started(server);
            }
            Event::CancelFinished(n) => {
                let Some(server) = self.nth(n, |s| s.cancels > 0) else { return };
                let entry = self.servers.get_mut(&server).unwrap();
                entry.cancels -= 1;
                if entry.cancels == 0 && entry.state == State::Cooling {
                    self.make_idle(server);
                }
                self.pool.cancel_finished(server, self.now);
            }
            Event::Pass(millis) => {
                self.now = self.now + Duration::from_millis(millis);
                let due = self.pool.poll_timeout().is_some_and(|at| at <= self.now);
                let before = self.pool.view();
                self.pool.handle_timeout(self.now);
                if !self.pool.is_down() {
                    // There was no room for a probe.
                    self.down = false;
                }
                if due {
                    let next = self.pool.poll_timeout();
                    assert!(next.is_none_or(|at| at > self.now), "no progress in time");
                } else {
                    assert_eq!(self.pool.view(), before, "acted ahead of its time");
                }
                self.settle(None);
                self.check_expired();
            }
            Event::SetLimits(limits) => {
                self.limits = limits.clone();
                self.pool.set_limits(limits, self.now);
            }
            Event::Stale => {
                let Some(mut server) = self.nth(0, |_| true) else { return };
                server.generation = server.generation.wrapping_add(1 << 20);
                let before = self.pool.view();
                self.pool.release(server, Outcome::Discard, self.now);
                self.pool.connected(server, self.now);
                self.pool.connect_failed(server, FailureKind::Unreachable, self.now);
                self.pool.cancel_started(server);
                self.pool.cancel_finished(server, self.now);
                server.node = NodeId(4);
                self.pool.release(server, Outcome::Discard, self.now);
                assert_eq!(self.pool.view(), before);
            }
        }
        self.settle(rejected);
    }

    fn check(&self) {
        let count = |wanted: fn(&State) -> bool| {
            self.servers.values().filter(|server| wanted(&server.state)).count()
        };
        let view = View {
            connecting: count(|state| *state == State::Opening),
            idle: count(|state| matches!(state, State::Idle { .. })),
            active: count(|state| matches!(state, State::Held(_))),
            cooling: count(|state| *state == State::Cooling),
            waiting: self.waiters.len(),
        };
        assert_eq!(self.pool.view(), view);
        for group in 0..IDENTITIES / 2 {
            self.check_group(GroupId(group), view.idle);
        }
    }

    /// Nobody waits for what is there.
    fn check_group(&self, group: GroupId, idle_of_node: usize) {
        let total = self.of_group(group).count();
        let is_idle = |server: &&Server| matches!(server.state, State::Idle { .. });
        let idle_of_group = self.of_group(group).filter(is_idle).count();
        let node_full = self.servers.len() >= self.limits.per_node;
        let group_full = total >= self.limits.per_group;
        if total > self.limits.per_group {
            assert_eq!(idle_of_group, 0, "idle above the limit");
        }
        let mut ahead: BTreeMap<PoolKey, usize> = BTreeMap::new();
        let opening = self.servers.values().filter(|s| s.state == State::Opening).count();
        let ramped = self.ramp.is_some_and(|most| opening >= most);
        let mut blocked = ramped;
        for (client, key) in self.waiters.iter().filter(|(_, key)| key.group == group) {
            let mut fitting = self.of_group(group).filter(is_idle).filter(|s| s.key == *key);
            assert!(fitting.all(|s| self.too_old(s)), "{client:?} waits for an idle connection");
            if self.down {
                assert!(self.is_alive(*key), "{client:?} waits without hope");
                continue;
            }
            let opening =
                self.of_group(group).filter(|s| s.key == *key && s.state == State::Opening);
            let before = ahead.entry(*key).or_default();
            let under_way = *before < opening.count();
            *before += 1;
            blocked |= self.rejected.contains(key) && self.is_alive(*key);
            if under_way || blocked {
                continue;
            }
            let evictable = if group_full { idle_of_group } else { idle_of_node };
            assert!(group_full || node_full, "{client:?} waits although there is room");
            assert_eq!(evictable, 0, "{client:?} waits although room can be made");
        }
        let min = self.limits.min_per_group.min(self.limits.per_group);
        if self.used.contains(&group)
            && !self.down
            && !node_full
            && !ramped
            && !self.unfilled.contains(&group)
        {
            assert!(total >= min, "{total} connections are less than {min}");
        }
    }

    fn check_expired(&self) {
        for server in self.servers.values() {
            let State::Idle { since } = server.state else { continue };
            assert!(!self.too_old(server), "older than its lifetime");
            let idle = self.now.saturating_since(since);
            if self.limits.idle_timeout.is_some_and(|limit| idle >= limit) {
                let total = self.of_group(server.key.group).count();
                assert!(total <= self.limits.min_per_group, "idle for too long");
            }
        }
    }

    /// Everybody leaves: nothing may remain.
    fn finish(mut self) {
        for index in 0..CLIENTS {
            self.apply(Event::Withdraw(index));
        }
        assert_eq!(self.pool.view().waiting, 0);
        for index in 0..CLIENTS {
            self.apply(Event::Release(index, Outcome::Reuse));
        }
        while self.servers.values().any(|s| s.cancels > 0) {
            self.apply(Event::CancelFinished(0));
        }
        self.limits.min_per_group = 0;
        self.pool.close_idle();
        self.settle(None);
        while self.servers.values().any(|s| s.state == State::Opening) {
            self.apply(Event::Connected(0));
        }
        self.pool.close_idle();
        self.settle(None);
        assert_eq!(self.pool.view(), View::default());
        assert!(self.servers.is_empty());
        // A node that is down is found to be up.
        self.apply(Event::Pass(60_000));
        self.apply(Event::Connected(0));
        assert!(!self.pool.is_down());
        self.pool.close_idle();
        self.settle(None);
        self.apply(Event::Pass(60_000));
        assert_eq!(self.pool.view(), View::default());
        assert_eq!(self.pool.poll_timeout(), None);
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let timeout = || prop::option::of((1_u64..50).prop_map(|n| Duration::from_millis(n * 100)));
    let sizes = (1_usize..5, 1_usize..9, prop_oneof![2 => Just(0), 1 => 1_usize..4]);
    (sizes, timeout(), timeout()).prop_map(
        |((per_group, per_node, min), idle_timeout, lifetime)| Limits {
            per_group,
            per_node,
            min_per_group: min,
            idle_timeout,
            lifetime,
            lifetime_spread: Duration::ZERO,
            renew_ahead: Duration::ZERO,
            max_clients: None,
            retry_initial: Duration::from_millis(200),
            retry_max: Duration::from_millis(1_000),
            max_queue: None,
            reserve_timeout: Duration::ZERO,
            max_logins: None,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 0..CLIENTS;
    let outcome = prop_oneof![4 => Just(Outcome::Reuse), 1 => Just(Outcome::Discard)];
    let kind = prop_oneof![Just(FailureKind::Unreachable), Just(FailureKind::Rejected)];
    prop_oneof![
        10 => (who(), 0..IDENTITIES).prop_map(|(who, what)| Event::Acquire(who, what)),
        2 => who().prop_map(Event::Withdraw),
        8 => (who(), outcome).prop_map(|(who, outcome)| Event::Release(who, outcome)),
        8 => any::<usize>().prop_map(Event::Connected),
        2 => (any::<usize>(), kind).prop_map(|(n, kind)| Event::Failed(n, kind)),
        2 => any::<usize>().prop_map(Event::CancelStarted),
        3 => any::<usize>().prop_map(Event::CancelFinished),
        4 => (0_u64..1_500).prop_map(Event::Pass),
        1 => limits().prop_map(Event::SetLimits),
        1 => Just(Event::Stale),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_pool_keeps_its_rules(limits in limits(), events in vec(event(), 1..120)) {
        let mut model = Model::new(limits);
        for event in events {
            model.apply(event);
        }
        model.finish();
    }
}
