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
    published: u64,
}

/// The catalogues of all databases that clients use.
#[derive(Debug)]
pub(crate) struct Catalogues {
    databases: BTreeMap<Box<[u8]>, Entry>,
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
        let primary = settings.primary_node();
        let standby = (0..settings.backends.len())
            .filter_map(|index| u16::try_from(index).ok())
            .map(NodeId)
            .find(|node| *node != primary);
        Self {
            databases: BTreeMap::new(),
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
            self.databases.insert(database.into(), Entry::new(memory));
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
                        if entry.is_stale(self.expire, now) {
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

impl Entry {
    fn new(memory: Memory) -> Self {
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
            published: 0,
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
