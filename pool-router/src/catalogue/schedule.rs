//! When which database's catalogue is looked up.
//!
//! At most [`MAX_RUNNING`] look-ups run at a time, and one for each database. A database is due when
//! its first client has logged in, when its catalogue has changed since the last look-up began, and
//! when `relcache_expire` has passed. Failures are repeated ever more rarely; what was known before
//! stays in force meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pgwire_core::time::Instant;

use super::digest::Digest;
use super::lookup::{LookupError, LookupOrder};
use super::memory::{Learned, LearnedSet, Memory};
use super::{Cell, Snapshot};
use crate::config::Settings;
use crate::ids::{ClientId, NodeId};
use crate::sizes::size;

/// Look-ups that run at a time.
pub(crate) const MAX_RUNNING: usize = 2;

/// Databases that are remembered at most. Beyond it those without clients are forgotten; if all have
/// clients, those of another one go without facts.
const MAX_DATABASES: usize = 1_000;

/// How long the login of a client may wait for the first look-up of its database.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Two look-ups of one database begin no sooner after each other.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A look-up that is to begin. The hub knows with whose name.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) order: LookupOrder,
    /// How often it failed before: another user may have more luck.
    pub(crate) failures: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not before this time.
    Idle(Instant),
    Queued,
    /// One is under way that began after so many changes.
    Running {
        changes: u64,
    },
}

#[derive(Debug)]
struct Entry {
    cell: Arc<Cell>,
    digest: Option<Arc<Digest>>,
    memory: Memory,
    state: State,
    /// Somebody has logged in to a server for it.
    exists: bool,
    clients: usize,
    /// Changes that clients made or may have made.
    changes: u64,
    /// Those that were made before the present digest was begun.
    covers: u64,
    loaded_at: Option<Instant>,
    /// Look-ups that failed since one did not.
    failures: usize,
    /// On which node the next attempt is made: the first choice, and then the second.
    second_choice: bool,
    /// Clients whose login waits, and how long.
    waiting: Vec<ClientId>,
    wait_until: Option<Instant>,
    /// The number of the last snapshot.
    published: u64,
}

/// How far the numbers of two databases' snapshots are apart.
const SERIES: u64 = 1 << 32;

/// The catalogues of all databases that clients use.
#[derive(Debug)]
pub(crate) struct Catalogues {
    databases: BTreeMap<Box<[u8]>, Entry>,
    /// Where the numbers of the next database's snapshots begin: no two snapshots share one.
    next_series: u64,
    queue: VecDeque<Box<[u8]>>,
    running: usize,
    /// Balancing is possible: otherwise nobody needs facts.
    enabled: bool,
    primary: NodeId,
    /// A standby, to be asked where the primary cannot be, or first.
    standby: Option<NodeId>,
    standby_first: bool,
    most: usize,
    use_unlogged: bool,
    timeout: Option<Duration>,
    expire: Option<Duration>,
    learned_most: usize,
    learned_expire: Option<Duration>,
    /// When something is to be done; kept because it is asked for at every turn.
    next: Option<Instant>,
    /// Clients that need not wait any longer.
    ready: Vec<ClientId>,
}

impl Catalogues {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (primary, standby) = nodes(settings);
        Self {
            databases: BTreeMap::new(),
            next_series: SERIES,
            queue: VecDeque::new(),
            running: 0,
            enabled: settings.load_balance_mode && standby.is_some(),
            primary,
            standby,
            standby_first: settings.relcache_on_standby,
            most: size(settings.catalogue_max_names.max(settings.relcache_size)),
            use_unlogged: settings.check_unlogged_table,
            timeout: settings.catalogue_timeout,
            expire: settings.relcache_expire,
            learned_most: size(settings.learned_writers_max),
            learned_expire: settings.learned_writers_expire,
            next: None,
            ready: Vec::new(),
        }
    }

    /// A client of this database has logged in. `exists`: somebody has been logged in to a server
    /// for it. `None` if facts are of no use, or there are too many databases.
    pub(crate) fn client_came(
        &mut self,
        database: &[u8],
        exists: bool,
        now: Instant,
    ) -> Option<Arc<Cell>> {
        if !self.enabled {
            return None;
        }
        if !self.databases.contains_key(database) {
            if self.databases.len() >= MAX_DATABASES {
                self.databases.retain(|_, entry| entry.clients > 0 || !entry.is_idle());
            }
            if self.databases.len() >= MAX_DATABASES {
                return None;
            }
            let memory = Memory::new(self.learned_most, self.learned_expire);
            self.databases.insert(database.into(), Entry::new(memory, self.next_series));
            self.next_series = self.next_series.wrapping_add(SERIES);
        }
        let entry = self.databases.get_mut(database)?;
        entry.clients += 1;
        let cell = entry.cell.clone();
        if exists {
            entry.exists = true;
        }
        self.plan(now);
        Some(cell)
    }

    /// A server has been logged in to for this database.
    pub(crate) fn server_came(&mut self, database: &[u8], now: Instant) {
        if let Some(entry) = self.databases.get_mut(database)
            && !entry.exists
        {
            entry.exists = true;
            self.plan(now);
        }
    }

    /// A client of this database is gone.
    pub(crate) fn client_left(&mut self, database: &[u8], client: ClientId) {
        let Some(entry) = self.databases.get_mut(database) else { return };
        entry.clients = entry.clients.saturating_sub(1);
        entry.waiting.retain(|waiting| *waiting != client);
        if entry.clients == 0 && entry.digest.is_none() && entry.is_idle() {
            // It may not even exist.
            self.databases.remove(database);
        }
    }

    /// Whether the login of `client` is to wait for what is being looked up. If so, it will be among
    /// [`Catalogues::pop_ready`].
    pub(crate) fn awaits(&mut self, database: &[u8], client: ClientId, now: Instant) -> bool {
        let Some(entry) = self.databases.get_mut(database) else { return false };
        let waits = entry.wait_until.is_some_and(|until| now < until) && !entry.is_idle();
        if waits && !entry.waiting.contains(&client) {
            entry.waiting.push(client);
        }
        waits
    }

    /// A client that need not wait any longer.
    pub(crate) fn pop_ready(&mut self) -> Option<ClientId> {
        self.ready.pop()
    }

    /// The catalogue of this database has changed, or may have. Returns the number of the change.
    pub(crate) fn changed(&mut self, database: &[u8], now: Instant) -> u64 {
        let Some(entry) = self.databases.get_mut(database) else { return 0 };
        entry.changes += 1;
        let change = entry.changes;
        self.plan(now);
        change
    }

    /// Nobody is to be connected to this database for a while.
    pub(crate) fn vacate(&mut self, database: &[u8], until: Instant, now: Instant) {
        let Some(entry) = self.databases.get_mut(database) else { return };
        match entry.state {
            State::Idle(not_before) => entry.state = State::Idle(not_before.max(until)),
            State::Queued => {
                self.queue.retain(|queued| **queued != *database);
                entry.state = State::Idle(until);
            }
            State::Running { .. } => {}
        }
        self.plan(now);
    }

    /// Takes in what a refusal taught. Returns what of it is new.
    pub(crate) fn learn(&mut self, database: &[u8], learned: Learned, now: Instant) -> Learned {
        let Some(entry) = self.databases.get_mut(database) else { return Learned::default() };
        let new = entry.memory.learn(learned, now);
        if new != Learned::default() {
            entry.publish();
        }
        self.plan(now);
        new
    }

    /// What was learned, by database.
    pub(crate) fn learned(&self) -> impl Iterator<Item = (&[u8], LearnedSet)> {
        self.databases.iter().map(|(name, entry)| (&**name, entry.memory.set()))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for entry in self.databases.values_mut() {
            if entry.memory.expire(now) {
                entry.publish();
            }
            if entry.wait_until.is_some_and(|until| now >= until) {
                entry.wait_until = None;
                self.ready.append(&mut entry.waiting);
            }
        }
        self.plan(now);
    }

    /// The next look-up to begin. One that was taken is reported to [`Catalogues::finished`].
    pub(crate) fn pop_due(&mut self) -> Option<Due> {
        if self.running >= MAX_RUNNING {
            return None;
        }
        let database = self.queue.pop_front()?;
        let entry = self.databases.get_mut(&database)?;
        entry.state = State::Running { changes: entry.changes };
        self.running += 1;
        // A standby may not have heard of a change yet.
        let first = match self.standby {
            Some(standby) if self.standby_first && entry.covers >= entry.changes => standby,
            _ => self.primary,
        };
        let second = if first == self.primary { self.standby } else { Some(self.primary) };
        let node = second.filter(|_| entry.second_choice).unwrap_or(first);
        let order = LookupOrder {
            database,
            node,
            most: self.most,
            use_unlogged: self.use_unlogged,
            timeout: self.timeout,
        };
        Some(Due { order, failures: entry.failures })
    }

    /// A look-up has ended.
    pub(crate) fn finished(
        &mut self,
        order: &LookupOrder,
        result: Result<Digest, LookupError>,
        now: Instant,
    ) {
        self.running = self.running.saturating_sub(1);
        let primary = self.primary;
        let has_second = self.standby.is_some();
        let name = String::from_utf8_lossy(&order.database);
        let Some(entry) = self.databases.get_mut(&order.database) else { return };
        let State::Running { changes } = entry.state else { return };
        match result {
            Ok(digest) => {
                let was_too_large = entry.digest.as_ref().is_some_and(|old| old.is_too_large());
                if digest.is_too_large() && !was_too_large {
                    tracing::warn!(
                        database = %name,
                        "the catalogue has more than {} names that count: statements that name \
                         relations or functions go to the primary (catalogue_max_names)",
                        order.most
                    );
                } else if entry.failures > 0 && !entry.second_choice {
                    tracing::info!(database = %name, "the catalogue could be looked up again");
                } else {
                    tracing::debug!(database = %name, names = digest.len(), "catalogue looked up");
                }
                entry.digest = Some(Arc::new(digest));
                entry.loaded_at = Some(now);
                if order.node == primary {
                    entry.covers = changes;
                }
                // If only the second choice could be asked, the first one still is in trouble.
                if !std::mem::take(&mut entry.second_choice) {
                    entry.failures = 0;
                }
                entry.state = State::Idle(now + entry.pause());
                entry.publish();
                entry.end_wait(&mut self.ready);
            }
            Err(error) => {
                if entry.failures == 0 {
                    tracing::warn!(
                        database = %name,
                        node = order.node.0,
                        "cannot look up the catalogue: {error}; until that succeeds, statements \
                         are routed by what was known before"
                    );
                } else {
                    tracing::debug!(database = %name, "cannot look up the catalogue: {error}");
                }
                // The other node is asked at once, and then there is a pause.
                let other_is_next = has_second && !entry.second_choice;
                let pause = if other_is_next { Duration::ZERO } else { entry.pause() };
                entry.second_choice = other_is_next;
                entry.failures = entry.failures.saturating_add(1);
                entry.state = State::Idle(now + pause);
                if !other_is_next {
                    entry.end_wait(&mut self.ready);
                }
                if entry.clients == 0 && entry.digest.is_none() {
                    self.databases.remove(&order.database);
                }
            }
        }
        self.plan(now);
    }

    /// Other nodes are configured from now on: what is known is looked up anew.
    pub(crate) fn reload(&mut self, settings: &Settings, nodes_differ: bool, now: Instant) {
        if !nodes_differ {
            return;
        }
        (self.primary, self.standby) = nodes(settings);
        self.enabled = settings.load_balance_mode && self.standby.is_some();
        for entry in self.databases.values_mut() {
            entry.changes += 1;
        }
        self.plan(now);
    }

    /// Nothing more is to be begun.
    pub(crate) fn stop(&mut self) {
        self.enabled = false;
        self.queue.clear();
        self.next = None;
        for entry in self.databases.values_mut() {
            if entry.state == State::Queued {
                entry.state = State::Idle(Instant::ORIGIN);
            }
            entry.end_wait(&mut self.ready);
        }
    }

    /// Puts what is due into the queue, and finds out when something will be.
    fn plan(&mut self, now: Instant) {
        let mut next: Option<Instant> = None;
        let mut at = |time: Option<Instant>| {
            next = match (next, time) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        };
        for (database, entry) in &mut self.databases {
            at(entry.memory.next_expiry());
            if self.enabled {
                match entry.due(self.expire) {
                    Some(due) if now >= due => {
                        // Nobody is made to wait for what has failed before.
                        if entry.failures == 0 && entry.is_stale(self.expire, now) {
                            entry.wait_until = Some(now + FIRST_WAIT);
                        }
                        entry.state = State::Queued;
                        self.queue.push_back(database.clone());
                    }
                    due => at(due),
                }
            }
            at(entry.wait_until);
        }
        self.next = next;
    }
}

/// The primary, and a standby.
fn nodes(settings: &Settings) -> (NodeId, Option<NodeId>) {
    let primary = settings.primary_node();
    (primary, settings.nodes().map(|(node, _)| node).find(|node| *node != primary))
}

impl Entry {
    fn new(memory: Memory, series: u64) -> Self {
        Self {
            cell: Arc::default(),
            digest: None,
            memory,
            state: State::Idle(Instant::ORIGIN),
            exists: false,
            clients: 0,
            changes: 0,
            covers: 0,
            loaded_at: None,
            failures: 0,
            second_choice: false,
            waiting: Vec::new(),
            wait_until: None,
            published: series,
        }
    }

    /// How long the next look-up has to wait: the longer, the more have failed.
    fn pause(&self) -> Duration {
        let doublings = u32::try_from(self.failures / 2).unwrap_or(u32::MAX).min(6);
        PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
    }

    fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle(_))
    }

    /// When its present digest, if any, is too old to be used.
    fn expires(&self, expire: Option<Duration>) -> Option<Instant> {
        Some(self.loaded_at? + expire?)
    }

    /// Whether there is nothing that should be used.
    fn is_stale(&self, expire: Option<Duration>, now: Instant) -> bool {
        self.digest.is_none() || self.expires(expire).is_some_and(|at| now >= at + PAUSE)
    }

    /// When the next look-up is to begin, if none is on its way.
    fn due(&self, expire: Option<Duration>) -> Option<Instant> {
        let State::Idle(not_before) = self.state else { return None };
        if !self.exists {
            return None;
        }
        let wanted = if self.changes > self.covers || (self.digest.is_none() && self.clients > 0) {
            Instant::ORIGIN
        } else if self.clients > 0 {
            self.expires(expire)?
        } else {
            return None;
        };
        Some(wanted.max(not_before))
    }

    fn publish(&mut self) {
        self.published += 1;
        self.cell.publish(Snapshot {
            digest: self.digest.clone(),
            learned: self.memory.set(),
            covers: self.covers,
            number: self.published,
        });
    }

    fn end_wait(&mut self, ready: &mut Vec<ClientId>) {
        self.wait_until = None;
        ready.append(&mut self.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::DigestBuilder;
    use crate::classify::{Identifier, Name};
    use crate::config::{Backend, BackendFlags, BackendHost};
    use crate::login::ConnectError;

    const PRIMARY: NodeId = NodeId(0);
    const STANDBY: NodeId = NodeId(1);

    fn settings() -> Settings {
        let backend = |id: u16| Backend {
            id,
            host: BackendHost::Tcp("x".to_owned()),
            port: 5432,
            weight: 1.0,
            flag: BackendFlags { always_primary: id == 0, disallow_to_failover: false },
            application_name: None,
            connect_timeout: None,
        };
        Settings::with_backends(vec![backend(0), backend(1)])
    }

    fn catalogues() -> Catalogues {
        Catalogues::new(&settings())
    }

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn client(index: u32) -> ClientId {
        ClientId { index, generation: 0 }
    }

    fn digest(writing: &str) -> Digest {
        let mut builder = DigestBuilder::new(10, true);
        builder.row(b"f", b"public", writing.as_bytes(), b"w").unwrap();
        builder.finish(None, None)
    }

    fn unreachable() -> LookupError {
        LookupError::Connect(ConnectError::Dial("connection refused".into()))
    }

    /// The databases and nodes of the look-ups that begin now.
    fn begun(catalogues: &mut Catalogues) -> Vec<Due> {
        std::iter::from_fn(|| catalogues.pop_due()).collect()
    }

    #[track_caller]
    fn one(catalogues: &mut Catalogues, node: NodeId) -> LookupOrder {
        let mut all = begun(catalogues);
        assert_eq!(all.len(), 1, "{all:?}");
        let due = all.remove(0);
        assert_eq!(due.order.node, node);
        due.order
    }

    /// Lets time pass up to the next timeout.
    fn wait(catalogues: &mut Catalogues) -> Instant {
        let at = catalogues.poll_timeout().unwrap();
        catalogues.handle_timeout(at);
        at
    }

    fn writes(cell: &Cell, name: &str) -> bool {
        let identifier = Identifier { text: name.as_bytes(), quoted: false };
        let name = Name { qualifier: None, name: identifier };
        let snapshot = cell.load();
        snapshot
            .digest()
            .is_some_and(|digest| digest.function(name) == crate::classify::FunctionFact::Writes)
    }

    #[test]
    fn clients_of_one_database_share_one_look_up() {
        let mut all = catalogues();
        let first = all.client_came(b"db", true, ms(0)).unwrap();
        let second = all.client_came(b"db", true, ms(1)).unwrap();
        let order = one(&mut all, PRIMARY);
        assert!(all.awaits(b"db", client(1), ms(2)) && all.awaits(b"db", client(2), ms(2)));
        assert_eq!(all.pop_ready(), None);
        all.finished(&order, Ok(digest("f")), ms(5));
        let mut ready = [all.pop_ready().unwrap(), all.pop_ready().unwrap()];
        ready.sort_unstable();
        assert_eq!(ready, [client(1), client(2)]);
        assert!(writes(&first, "f") && writes(&second, "f") && !writes(&first, "g"));
        assert!(!all.awaits(b"db", client(3), ms(6)));
        let third = all.client_came(b"db", true, ms(100_000)).unwrap();
        assert!(writes(&third, "f") && begun(&mut all).is_empty(), "it never expires");
        assert_eq!(all.poll_timeout(), None);
    }

    #[test]
    fn nothing_is_asked_before_the_database_is_known_to_exist() {
        let mut all = catalogues();
        all.client_came(b"db", false, ms(0));
        assert!(begun(&mut all).is_empty() && all.poll_timeout().is_none());
        assert!(!all.awaits(b"db", client(0), ms(0)));
        all.client_left(b"db", client(0));
        assert!(all.databases.is_empty());
        all.client_came(b"db", false, ms(1));
        all.server_came(b"db", ms(2));
        one(&mut all, PRIMARY);
    }

    #[test]
    fn two_run_at_a_time() {
        let mut all = catalogues();
        for name in ["a", "b", "c", "d"] {
            all.client_came(name.as_bytes(), true, ms(0));
        }
        let running = begun(&mut all);
        assert_eq!(running.len(), MAX_RUNNING);
        all.finished(&running[0].order, Ok(digest("f")), ms(1));
        let next = begun(&mut all);
        assert_eq!(next.len(), 1);
        assert_eq!(next[0].order.database(), b"c");
        all.finished(&running[1].order, Err(unreachable()), ms(2));
        assert_eq!(begun(&mut all)[0].order.database(), b"d");
    }

    #[test]
    fn the_first_wait_has_an_end() {
        let mut all = catalogues();
        let cell = all.client_came(b"db", true, ms(0)).unwrap();
        let order = one(&mut all, PRIMARY);
        assert!(all.awaits(b"db", client(1), ms(999)));
        assert_eq!(wait(&mut all), ms(1_000));
        assert_eq!((all.pop_ready(), all.pop_ready()), (Some(client(1)), None));
        assert!(!all.awaits(b"db", client(1), ms(1_000)), "nor does a later client wait");
        assert!(cell.load().digest().is_none());
        all.finished(&order, Ok(digest("f")), ms(3_000));
        assert!(writes(&cell, "f"));
    }

    #[test]
    fn failures_are_repeated_ever_more_rarely() {
        let mut all = catalogues();
        let cell = all.client_came(b"db", true, ms(0)).unwrap();
        let mut now = ms(0);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            // One attempt at each node, the second at once.
            let order = one(&mut all, PRIMARY);
            // For the first time, its login waits.
            assert_eq!(all.awaits(b"db", client(1), now), pauses.is_empty());
            all.finished(&order, Err(unreachable()), now);
            let order = one(&mut all, STANDBY);
            assert_eq!(all.pop_ready(), None, "there is still hope");
            all.finished(&order, Err(unreachable()), now);
            assert_eq!(all.pop_ready().is_some(), pauses.is_empty());
            assert!(begun(&mut all).is_empty());
            let at = wait(&mut all);
            pauses.push(at.saturating_since(now).as_secs());
            now = at;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        let order = one(&mut all, PRIMARY);
        all.finished(&order, Ok(digest("f")), now);
        assert!(writes(&cell, "f"));
        assert_eq!(all.poll_timeout(), None);
    }

    #[test]
    fn a_change_is_looked_up_and_covered() {
        let mut all = catalogues();
        let cell = all.client_came(b"db", true, ms(0)).unwrap();
        let order = one(&mut all, PRIMARY);
        // While one is under way: it may have begun too early.
        let early = all.changed(b"db", ms(1));
        assert!(begun(&mut all).is_empty());
        all.finished(&order, Ok(digest("f")), ms(2));
        assert!(cell.load().covers(0) && !cell.load().covers(early));
        assert!(begun(&mut all).is_empty(), "one in a second");
        assert_eq!(wait(&mut all), ms(1_002));
        let order = one(&mut all, PRIMARY);
        all.finished(&order, Ok(digest("g")), ms(1_010));
        assert!(cell.load().covers(early));
        assert!(writes(&cell, "g") && !writes(&cell, "f"));
        // After a quiet time at once, and many changes together.
        let changes: Vec<u64> = (0..5).map(|i| all.changed(b"db", ms(60_000 + i))).collect();
        assert!(changes.is_sorted() && changes[0] > early);
        let order = one(&mut all, PRIMARY);
        let number = cell.load().number();
        all.finished(&order, Ok(digest("h")), ms(60_010));
        assert!(cell.load().number() > number);
        // The look-up was taken after all of them.
        assert!(cell.load().covers(changes[4]));
        assert_eq!(all.poll_timeout(), None);
    }

    #[test]
    fn a_change_is_looked_up_though_its_client_has_left() {
        let mut all = catalogues();
        all.client_came(b"db", true, ms(0));
        let order = one(&mut all, PRIMARY);
        all.finished(&order, Ok(digest("f")), ms(1));
        all.changed(b"db", ms(2));
        all.client_left(b"db", client(0));
        wait(&mut all);
        one(&mut all, PRIMARY);
    }

    #[test]
    fn what_a_standby_says_covers_no_change() {
        let mut settings = settings();
        settings.relcache_on_standby = true;
        let mut all = Catalogues::new(&settings);
        let cell = all.client_came(b"db", true, ms(0)).unwrap();
        let order = one(&mut all, STANDBY);
        let change = all.changed(b"db", ms(1));
        all.finished(&order, Ok(digest("f")), ms(2));
        assert!(writes(&cell, "f") && !cell.load().covers(change));
        wait(&mut all);
        let order = one(&mut all, PRIMARY);
        all.finished(&order, Err(unreachable()), ms(1_100));
        let order = one(&mut all, STANDBY);
        all.finished(&order, Ok(digest("f")), ms(1_200));
        assert!(!cell.load().covers(change));
        assert!(wait(&mut all) >= ms(2_200), "and not at once again");
        let order = one(&mut all, PRIMARY);
        all.finished(&order, Ok(digest("f")), ms(3_000));
        assert!(cell.load().covers(change));
    }

    #[test]
    fn it_expires_while_it_is_used() {
        let mut settings = settings();
        settings.relcache_expire = Some(Duration::from_secs(10));
        let mut all = Catalogues::new(&settings);
        let cell = all.client_came(b"db", true, ms(0)).unwrap();
        let order = one(&mut all, PRIMARY);
        all.finished(&order, Ok(digest("f")), ms(0));
        assert_eq!(wait(&mut all), ms(10_000));
        assert!(!all.awaits(b"db", client(7), ms(10_000)), "what is known is fresh enough");
        let order = one(&mut all, PRIMARY);
        assert!(writes(&cell, "f"), "until there is better");
        all.finished(&order, Err(unreachable()), ms(10_100));
        assert!(writes(&cell, "f"));
        let order = one(&mut all, STANDBY);
        all.finished(&order, Err(unreachable()), ms(10_200));
        assert!(writes(&cell, "f"));
        wait(&mut all);
        let order = one(&mut all, PRIMARY);
        all.finished(&order, Ok(digest("g")), ms(11_300));
        assert!(writes(&cell, "g"));
        all.client_left(b"db", client(0));
        all.handle_timeout(ms(50_000));
        assert!(begun(&mut all).is_empty(), "nobody uses it");
        // The next client gets fresh facts.
        all.client_came(b"db", true, ms(60_000));
        one(&mut all, PRIMARY);
        assert!(all.awaits(b"db", client(8), ms(60_000)));
    }

    #[test]
    fn what_was_learned_is_published_and_forgotten() {
        let mut settings = settings();
        settings.learned_writers_expire = Some(Duration::from_secs(5));
        let mut all = Catalogues::new(&settings);
        let cell = all.client_came(b"db", true, ms(0)).unwrap();
        let learned = Learned { functions: Vec::new(), statement: Some(7) };
        assert_eq!(all.learn(b"db", learned.clone(), ms(0)), learned);
        assert_eq!(all.learn(b"db", learned.clone(), ms(100)), Learned::default());
        assert_eq!(all.learn(b"unknown", learned, ms(100)), Learned::default());
        assert!(cell.load().learned().has_statement(7));
        assert_eq!(
            all.learned().map(|(name, set)| (name, set.statements().len())).next(),
            Some((&b"db"[..], 1))
        );
        let order = one(&mut all, PRIMARY);
        all.finished(&order, Ok(digest("f")), ms(200));
        assert!(cell.load().learned().has_statement(7), "looking up does not make forget");
        assert_eq!(wait(&mut all), ms(5_100));
        assert!(!cell.load().learned().has_statement(7));
    }

    #[test]
    fn databases_are_bounded() {
        let mut all = catalogues();
        for i in 0..MAX_DATABASES {
            assert!(all.client_came(format!("db{i}").as_bytes(), false, ms(0)).is_some());
        }
        assert!(all.client_came(b"one more", false, ms(0)).is_none());
        assert!(all.client_came(b"db3", false, ms(0)).is_some());
        all.client_left(b"db5", client(0));
        assert!(all.client_came(b"one more", false, ms(0)).is_some());
    }

    #[test]
    fn without_balancing_nothing_is_asked() {
        let mut settings = settings();
        settings.load_balance_mode = false;
        let mut all = Catalogues::new(&settings);
        assert!(all.client_came(b"db", true, ms(0)).is_none());
        assert!(begun(&mut all).is_empty());
    }

    #[test]
    fn a_shutdown_ends_it() {
        let mut all = catalogues();
        for name in ["a", "b", "c"] {
            all.client_came(name.as_bytes(), true, ms(0));
        }
        let running = begun(&mut all);
        assert!(all.awaits(b"c", client(1), ms(0)));
        all.stop();
        assert_eq!(all.pop_ready(), Some(client(1)));
        all.finished(&running[0].order, Ok(digest("f")), ms(1));
        assert!(begun(&mut all).is_empty() && all.poll_timeout().is_none());
    }
}
