//! What is known of roles, who waits to know more, and what is being asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use pgwire_core::auth::{Method, ScramKeys, Secret};
use pgwire_core::time::Instant;

use crate::ids::ClientId;

/// Roles of which a password is remembered. Beyond it, the one asked for longest ago is forgotten.
pub const MAX_ROLES: usize = 10_000;

/// Names that are asked for together.
pub const MAX_NAMES: usize = 64;

/// Logins that are tried at a time to find out how a server asks, or whether it takes a password.
pub const MAX_CHECKS: usize = 8;

/// Addresses of which failed logins are counted.
pub const MAX_ADDRESSES: usize = 4_096;

/// Users and databases of which it is known how a server asks.
const MAX_METHODS: usize = 1_000;

/// How long that is believed.
const METHOD_TIME: Duration = Duration::from_secs(10);

/// After so long without a failure those of an address are forgotten.
const FAILURE_MEMORY: Duration = Duration::from_secs(60);

/// How often the delay doubles at most.
const MAX_DOUBLINGS: u32 = 3;

/// The same warning is not repeated before this time.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

pub(crate) type Name = Box<[u8]>;
type UserAndDatabase = (Name, Name);

/// What was found of a role.
#[derive(Debug)]
struct Role {
    verifier: Secret,
    /// When it was asked for.
    asked: Instant,
    /// It is to be asked for again, whatever its age.
    doubtful: bool,
    /// The keys that a client's proof against this very verifier has revealed.
    keys: Option<ScramKeys>,
}

/// What [`Credentials::find`] answers.
#[derive(Debug)]
pub(crate) enum Found {
    /// The password, fresh enough.
    Secret(Secret),
    /// The client is told later.
    Wait,
}

/// Names that are being asked for, with those who wait.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) names: Vec<(Name, Vec<ClientId>)>,
    pub(crate) asked: Instant,
    /// How many nodes could not be reached.
    pub(crate) attempt: usize,
}

/// A login that is to be tried.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) user: Name,
    pub(crate) database: Name,
    /// `None`: it is to be found out how the server asks.
    pub(crate) secret: Option<Secret>,
    pub(crate) attempt: usize,
    pub(crate) waiting: Vec<ClientId>,
}

/// The keys that were derived from a password that the proxy has, and from which one.
#[derive(Debug, Clone)]
pub(crate) struct Derivation {
    /// A digest of the password; none for a role that has none and whose exchange is for show.
    pub(crate) source: Option<[u8; 32]>,
    pub(crate) keys: ScramKeys,
}

#[derive(Debug, Clone)]
enum Place {
    Name(Name),
    Check(u32),
}

/// The part of the [`Hub`](crate::hub::Hub) that knows who clients are.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    roles: BTreeMap<Name, Role>,
    by_age: BTreeSet<(Instant, Name)>,
    queue: VecDeque<Name>,
    waiting: BTreeMap<Name, Vec<ClientId>>,
    batch: Option<Batch>,
    methods: BTreeMap<UserAndDatabase, (Method, Instant)>,
    checks: BTreeMap<u32, Check>,
    /// Checks that have not begun.
    due: VecDeque<u32>,
    next_check: u32,
    running: usize,
    places: BTreeMap<ClientId, Place>,
    derivations: BTreeMap<Name, Derivation>,
    failures: BTreeMap<IpAddr, (u32, Instant)>,
    warned: Option<Instant>,
}

impl Credentials {
    /// The password of a role for a client that logs in now, if one was found not longer than
    /// `cache_time` ago; otherwise the client waits for the next answer.
    pub(crate) fn find(
        &mut self,
        client: ClientId,
        user: &[u8],
        cache_time: Duration,
        now: Instant,
    ) -> Found {
        if let Some(role) = self.roles.get(user)
            && !role.doubtful
            && now.saturating_since(role.asked) < cache_time
        {
            return Found::Secret(role.verifier.clone());
        }
        // A question that is under way may have been answered before this client came.
        let waiting = self.waiting.entry(user.into()).or_default();
        if waiting.is_empty() {
            self.queue.push_back(user.into());
        }
        waiting.push(client);
        self.places.insert(client, Place::Name(user.into()));
        Found::Wait
    }

    /// The names to ask for next, if none are being asked for.
    pub(crate) fn next_batch(&mut self, now: Instant) -> Option<&Batch> {
        if self.batch.is_some() {
            return None;
        }
        let mut names = Vec::new();
        while names.len() < MAX_NAMES
            && let Some(name) = self.queue.pop_front()
        {
            // Everybody may have left.
            match self.waiting.remove(&name) {
                Some(clients) if !clients.is_empty() => names.push((name, clients)),
                _ => {}
            }
        }
        if names.is_empty() {
            return None;
        }
        self.batch = Some(Batch { names, asked: now, attempt: 0 });
        self.batch.as_ref()
    }

    /// The names that are being asked for, to be asked for again.
    pub(crate) fn retry_batch(&mut self) -> Option<&mut Batch> {
        self.batch.as_mut()
    }

    /// The batch has ended; those who waited have to be told.
    pub(crate) fn batch_ended(&mut self) -> Option<Batch> {
        let batch = self.batch.take()?;
        for client in batch.names.iter().flat_map(|(_, clients)| clients) {
            self.places.remove(client);
        }
        Some(batch)
    }

    /// A role's password, asked for at this time. Keys for another one are dropped.
    pub(crate) fn remember(&mut self, user: &[u8], verifier: &Secret, asked: Instant) {
        let known = self.forget(user);
        let keys = known.filter(|role| same(&role.verifier, verifier)).and_then(|role| role.keys);
        while self.roles.len() >= MAX_ROLES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.roles.remove(&oldest);
        }
        self.by_age.insert((asked, user.into()));
        let role = Role { verifier: verifier.clone(), asked, doubtful: false, keys };
        self.roles.insert(user.into(), role);
    }

    /// There is no such role, or it has no password.
    pub(crate) fn forget_role(&mut self, user: &[u8]) {
        self.forget(user);
    }

    fn forget(&mut self, user: &[u8]) -> Option<Role> {
        let role = self.roles.remove(user)?;
        self.by_age.remove(&(role.asked, user.into()));
        Some(role)
    }

    /// What is known of a role was of no use: it may have changed.
    pub(crate) fn doubt(&mut self, user: &[u8]) {
        if let Some(role) = self.roles.get_mut(user) {
            role.doubtful = true;
        }
    }

    /// A client has proved that it knows the password that these keys belong to.
    pub(crate) fn proved(&mut self, user: &[u8], keys: &ScramKeys) {
        if let Some(role) = self.roles.get_mut(user)
            && matches!(&role.verifier, Secret::ScramVerifier(known) if *known == keys.verifier())
        {
            role.keys = Some(keys.clone());
        }
    }

    /// The keys for a role's present password, if a client has proved that.
    pub(crate) fn keys(&self, user: &[u8]) -> Option<&ScramKeys> {
        self.roles.get(user)?.keys.as_ref()
    }

    /// How a server asks this user for this database, if that was found out lately. Otherwise the
    /// client waits for a check.
    pub(crate) fn method(
        &mut self,
        client: ClientId,
        user: &[u8],
        database: &[u8],
        now: Instant,
    ) -> Option<Method> {
        let key = (user.into(), database.into());
        if let Some((method, at)) = self.methods.get(&key)
            && now.saturating_since(*at) < METHOD_TIME
        {
            return Some(*method);
        }
        let (user, database) = key;
        let same = |check: &Check| {
            check.secret.is_none() && check.user == user && check.database == database
        };
        let ticket = match self.checks.iter().find(|(_, check)| same(check)) {
            Some((ticket, _)) => *ticket,
            None => self.add_check(user, database, None),
        };
        self.wait_for_check(client, ticket);
        None
    }

    /// The servers may be others now.
    pub(crate) fn forget_methods(&mut self) {
        self.methods.clear();
    }

    /// A client waits for a server's word on its password.
    pub(crate) fn try_login(
        &mut self,
        client: ClientId,
        user: &[u8],
        database: &[u8],
        secret: Secret,
    ) {
        let ticket = self.add_check(user.into(), database.into(), Some(secret));
        self.wait_for_check(client, ticket);
    }

    fn add_check(&mut self, user: Name, database: Name, secret: Option<Secret>) -> u32 {
        // Not zero, which stands for a batch.
        self.next_check = self.next_check.wrapping_add(1).max(1);
        let ticket = self.next_check;
        let check = Check { user, database, secret, attempt: 0, waiting: Vec::new() };
        self.checks.insert(ticket, check);
        self.due.push_back(ticket);
        ticket
    }

    fn wait_for_check(&mut self, client: ClientId, ticket: u32) {
        if let Some(check) = self.checks.get_mut(&ticket) {
            check.waiting.push(client);
            self.places.insert(client, Place::Check(ticket));
        }
    }

    /// The next login to try.
    pub(crate) fn next_check(&mut self) -> Option<(u32, &Check)> {
        while self.running < MAX_CHECKS
            && let Some(ticket) = self.due.pop_front()
        {
            // Whoever wanted it may have left.
            if self.checks.contains_key(&ticket) {
                self.running += 1;
                return self.checks.get(&ticket).map(|check| (ticket, check));
            }
        }
        None
    }

    /// A login that was tried, to be tried again elsewhere.
    pub(crate) fn retry_check(&mut self, ticket: u32) -> Option<&mut Check> {
        self.checks.get_mut(&ticket)
    }

    /// A login was tried; those who waited have to be told.
    pub(crate) fn check_ended(
        &mut self,
        ticket: u32,
        method: Option<Method>,
        now: Instant,
    ) -> Option<Check> {
        self.running = self.running.saturating_sub(1);
        let check = self.checks.remove(&ticket)?;
        for client in &check.waiting {
            self.places.remove(client);
        }
        if let Some(method) = method
            && check.secret.is_none()
        {
            if self.methods.len() >= MAX_METHODS {
                self.methods.retain(|_, (_, at)| now.saturating_since(*at) < METHOD_TIME);
            }
            if self.methods.len() < MAX_METHODS {
                let key = (check.user.clone(), check.database.clone());
                self.methods.insert(key, (method, now));
            }
        }
        Some(check)
    }

    /// A client no longer waits for anything.
    pub(crate) fn client_left(&mut self, client: ClientId) {
        match self.places.remove(&client) {
            None => {}
            Some(Place::Name(name)) => {
                // Its name stays in the queue, and is passed over if nobody else wants it.
                if let Some(waiting) = self.waiting.get_mut(&name) {
                    waiting.retain(|other| *other != client);
                    if waiting.is_empty() {
                        self.waiting.remove(&name);
                        self.queue.retain(|queued| *queued != name);
                    }
                }
            }
            Some(Place::Check(ticket)) => {
                if let Some(check) = self.checks.get_mut(&ticket) {
                    check.waiting.retain(|other| *other != client);
                    if check.waiting.is_empty() && self.due.contains(&ticket) {
                        self.checks.remove(&ticket);
                        self.due.retain(|due| *due != ticket);
                    }
                }
            }
        }
    }

    /// The keys that were derived for a role from the password with this digest, if that was done
    /// before.
    pub(crate) fn derivation(&self, user: &[u8], source: Option<[u8; 32]>) -> Option<&ScramKeys> {
        let known = self.derivations.get(user)?;
        (known.source == source).then_some(&known.keys)
    }

    /// Remembers keys that were derived. Roles that do not exist are treated like those that do, so
    /// that they take as long.
    pub(crate) fn derived(&mut self, user: &[u8], derivation: Derivation) {
        if self.derivations.len() >= MAX_ROLES && !self.derivations.contains_key(user) {
            self.derivations.clear();
        }
        self.derivations.insert(user.into(), derivation);
    }

    /// A login has failed: how long the client is to wait for the answer.
    pub(crate) fn failed(
        &mut self,
        from: Option<IpAddr>,
        base: Duration,
        now: Instant,
    ) -> Duration {
        let Some(from) = from.map(network) else { return base };
        let fresh = |at: Instant| now.saturating_since(at) < FAILURE_MEMORY;
        let before = self.failures.get(&from).filter(|(_, at)| fresh(*at)).map_or(0, |(n, _)| *n);
        if self.failures.len() >= MAX_ADDRESSES {
            self.failures.retain(|_, (_, at)| fresh(*at));
        }
        if self.failures.len() < MAX_ADDRESSES || self.failures.contains_key(&from) {
            self.failures.insert(from, (before.saturating_add(1), now));
        }
        base.saturating_mul(1 << before.min(MAX_DOUBLINGS))
    }

    /// Whether a warning is due.
    pub(crate) fn may_warn(&mut self, now: Instant) -> bool {
        let due = self.warned.is_none_or(|at| now.saturating_since(at) >= WARNING_PAUSE);
        if due {
            self.warned = Some(now);
        }
        due
    }
}

/// Whoever has one IPv6 address has the 2^64 of its network.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn same(one: &Secret, other: &Secret) -> bool {
    match (one, other) {
        (Secret::ScramVerifier(one), Secret::ScramVerifier(other)) => one == other,
        (Secret::Md5Hash(one), Secret::Md5Hash(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const ONCE: NonZeroU32 = NonZeroU32::new(1).unwrap();

    fn client(index: u32) -> ClientId {
        ClientId { index, generation: 0 }
    }

    fn keys(seed: u8) -> ScramKeys {
        ScramKeys::new([seed; 32], [seed; 32], vec![seed; 16], ONCE)
    }

    fn verifier(seed: u8) -> Secret {
        Secret::ScramVerifier(keys(seed).verifier())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn names(batch: Option<&Batch>) -> Vec<(&[u8], usize)> {
        let names = batch.into_iter().flat_map(|batch| &batch.names);
        names.map(|(name, clients)| (&**name, clients.len())).collect()
    }

    #[test]
    fn clients_of_one_moment_ask_together_and_late_ones_once_more() {
        let mut known = Credentials::default();
        let never = Duration::ZERO;
        for (index, name) in [(0, b"a"), (1, b"b"), (2, b"a")] {
            assert!(matches!(known.find(client(index), name, never, at(0)), Found::Wait));
        }
        assert_eq!(names(known.next_batch(at(0))), [(&b"a"[..], 2), (b"b", 1)]);
        assert!(matches!(known.find(client(3), b"a", never, at(0)), Found::Wait));
        assert!(known.next_batch(at(0)).is_none(), "one at a time");
        assert_eq!(known.batch_ended().unwrap().names.len(), 2);
        known.remember(b"a", &verifier(1), at(0));
        assert_eq!(names(known.next_batch(at(1))), [(&b"a"[..], 1)]);
    }

    #[test]
    fn whoever_leaves_asks_for_nothing() {
        let mut known = Credentials::default();
        known.find(client(0), b"a", Duration::ZERO, at(0));
        known.find(client(1), b"b", Duration::ZERO, at(0));
        known.client_left(client(0));
        assert_eq!(names(known.next_batch(at(0))), [(&b"b"[..], 1)]);
        known.client_left(client(1));
        assert!(known.method(client(2), b"u", b"d", at(0)).is_none());
        known.client_left(client(2));
        assert!(known.next_check().is_none());
        assert!(known.places.is_empty() && known.checks.is_empty() && known.waiting.is_empty());
    }

    #[test]
    fn passwords_are_good_for_their_time_and_until_in_doubt() {
        let mut known = Credentials::default();
        let while_fresh = Duration::from_secs(10);
        known.remember(b"a", &verifier(1), at(0));
        let fresh = known.find(client(0), b"a", while_fresh, at(9));
        assert!(matches!(fresh, Found::Secret(_)));
        assert!(matches!(known.find(client(0), b"a", while_fresh, at(10)), Found::Wait));
        known.remember(b"a", &verifier(1), at(20));
        known.doubt(b"a");
        assert!(matches!(known.find(client(1), b"a", while_fresh, at(20)), Found::Wait));
    }

    #[test]
    fn keys_belong_to_a_role_and_a_verifier() {
        let mut known = Credentials::default();
        known.remember(b"a", &verifier(1), at(0));
        known.remember(b"b", &verifier(2), at(0));
        known.proved(b"a", &keys(2));
        assert!(known.keys(b"a").is_none(), "keys of another password");
        known.proved(b"a", &keys(1));
        known.proved(b"c", &keys(1));
        assert!(known.keys(b"a").is_some_and(|found| *found == keys(1)));
        assert!(known.keys(b"b").is_none() && known.keys(b"c").is_none());
        known.remember(b"a", &verifier(1), at(1));
        assert!(known.keys(b"a").is_some(), "the same password");
        known.remember(b"a", &verifier(3), at(2));
        assert!(known.keys(b"a").is_none(), "a new password");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = Credentials::default();
        for index in 0..MAX_ROLES + 5 {
            let name = index.to_string();
            known.remember(name.as_bytes(), &verifier(1), at(u64::try_from(index).unwrap()));
            known.derived(name.as_bytes(), Derivation { source: None, keys: keys(1) });
        }
        assert_eq!((known.roles.len(), known.by_age.len()), (MAX_ROLES, MAX_ROLES));
        assert!(!known.roles.contains_key(&b"4"[..]) && known.roles.contains_key(&b"5"[..]));
        assert!(known.derivations.len() <= MAX_ROLES);
        for index in 0..u32::try_from(MAX_ADDRESSES + 5).unwrap() {
            known.failed(Some(IpAddr::V4(index.into())), Duration::ZERO, at(0));
        }
        assert_eq!(known.failures.len(), MAX_ADDRESSES);
        for index in 0..MAX_METHODS + 5 {
            let name = index.to_string();
            known.method(client(0), name.as_bytes(), b"d", at(0));
            let (ticket, _) = known.next_check().unwrap();
            known.check_ended(ticket, Some(Method::Trust), at(0));
        }
        assert_eq!(known.methods.len(), MAX_METHODS);
    }

    #[test]
    fn methods_are_found_out_together_and_a_few_at_a_time() {
        let mut known = Credentials::default();
        for index in 0..3 {
            assert_eq!(known.method(client(index), b"u", b"d", at(0)), None);
        }
        for index in 3..20 {
            known.try_login(client(index), b"u", b"d", Secret::password(b"x"));
        }
        let mut tickets = Vec::new();
        while let Some((ticket, check)) = known.next_check() {
            tickets.push((ticket, check.waiting.len()));
        }
        assert_eq!(tickets.len(), MAX_CHECKS);
        assert_eq!(tickets[0].1, 3);
        let ended = known.check_ended(tickets[0].0, Some(Method::Md5), at(0)).unwrap();
        assert_eq!(ended.waiting.len(), 3);
        assert!(known.next_check().is_some());
        assert_eq!(known.method(client(0), b"u", b"d", at(9)), Some(Method::Md5));
        assert_eq!(known.method(client(0), b"u", b"e", at(9)), None);
        assert_eq!(known.method(client(1), b"u", b"d", at(10)), None, "too long ago");
    }

    #[test]
    fn failures_of_an_address_take_longer_and_longer() {
        let mut known = Credentials::default();
        let second = Duration::from_secs(1);
        let delays = |known: &mut Credentials, from: &str, now: u64| {
            known.failed(Some(from.parse().unwrap()), second, at(now)).as_secs()
        };
        let from = "192.0.2.1";
        let seen: Vec<_> = (0..5).map(|now| delays(&mut known, from, now)).collect();
        assert_eq!(seen, [1, 2, 4, 8, 8]);
        assert_eq!(delays(&mut known, "192.0.2.2", 5), 1);
        assert_eq!(delays(&mut known, from, 70), 1, "forgotten");
        assert_eq!(delays(&mut known, "2001:db8::1", 70), 1);
        assert_eq!(delays(&mut known, "2001:db8::2", 70), 2, "the same network");
        assert_eq!(known.failed(None, second, at(70)), second);
    }
}
