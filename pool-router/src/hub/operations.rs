//! What an operator may ask for at run time: PAUSE, RESUME, RECONNECT, KILL.
//!
//! DRAIN is [`Hub::drain`] and RELOAD [`Hub::order_reload`].

use std::collections::BTreeSet;
use std::time::Duration;

use pgwire_core::time::Instant;

use super::{Command, Event, Hub, Shutdown};
use crate::ids::{ClientId, GroupId, NodeId};

/// How long PostgreSQL waits for the sessions of a database to end before it refuses to drop it or to
/// copy it (`CountOtherDBBackends`: 50 times 100 ms).
const VACATED_TIME: Duration = Duration::from_secs(5);

/// Which databases are paused.
#[derive(Debug, Default)]
pub(super) struct Paused {
    all: bool,
    databases: BTreeSet<Box<[u8]>>,
}

impl Paused {
    fn is_empty(&self) -> bool {
        !self.all && self.databases.is_empty()
    }

    pub(super) fn contains(&self, database: &[u8]) -> bool {
        self.all || self.databases.contains(database)
    }
}

impl<S, D: Clone> Hub<S, D> {
    /// PAUSE: statements outside of transactions wait from now on, those of one database or all, and
    /// transactions go on to their end. When [`Hub::pausing`] is 0, no server is in a transaction or
    /// has anything to do for a client.
    ///
    /// Clients keep their connections to the proxy and may log in. Statements keep their places in the
    /// queues for servers, and those that come take theirs behind them; each waits for as long as
    /// `weir_query_wait_timeout` lets it.
    pub fn pause(&mut self, database: Option<&[u8]>, now: Instant) {
        match database {
            None => self.paused.all = true,
            Some(name) => {
                self.paused.databases.insert(name.into());
            }
        }
        self.tell_pools_paused(None, now);
        self.tell_whether_paused();
    }

    /// RESUME: what was paused goes on; `None`: everything.
    pub fn resume(&mut self, database: Option<&[u8]>, now: Instant) {
        match database {
            None => self.paused = Paused::default(),
            Some(name) => {
                self.paused.databases.remove(name);
            }
        }
        self.tell_whether_paused();
        self.tell_pools_paused(None, now);
    }

    /// Tells the pools which of their groups are paused: all, or this one.
    pub(super) fn tell_pools_paused(&mut self, only: Option<GroupId>, now: Instant) {
        if only.is_some() && self.paused.is_empty() {
            return;
        }
        let those = self.groups.iter().filter(|(_, group)| only.is_none_or(|it| it == **group));
        let those: Vec<(GroupId, bool)> =
            those.map(|((_, database), group)| (*group, self.paused.contains(database))).collect();
        for index in 0..self.nodes.len() {
            for (group, paused) in &those {
                if let Some(node) = self.nodes.get_mut(index)
                    && node.pool.has_group(*group)
                {
                    node.pool.set_paused(*group, *paused, now);
                }
            }
            if let Ok(index) = u16::try_from(index) {
                self.carry_out(NodeId(index));
            }
        }
    }

    /// How many clients of paused databases still have something under way on a server.
    #[must_use]
    pub fn pausing(&self) -> usize {
        self.clients
            .iter()
            .filter(|(_, client)| client.busy && client.pool_key.is_some())
            .filter(|(_, client)| {
                client
                    .pool_key
                    .and_then(|key| self.identity_of(key))
                    .is_some_and(|identity| self.paused.contains(&identity.database))
            })
            .count()
    }

    /// Whether a database is paused.
    #[must_use]
    pub fn is_paused(&self, database: &[u8]) -> bool {
        self.paused.contains(database)
    }

    /// How long the client has waited that waits longest for a connection to a node, by node;
    /// [`Hub::views`] has how many wait.
    pub fn oldest_waits(&self, now: Instant) -> impl Iterator<Item = Option<Duration>> {
        self.nodes.iter().map(move |node| node.pool.oldest_wait(now))
    }

    /// RECONNECT: the server connections that there are are closed, the idle ones now, the others when
    /// they come back from their clients.
    pub fn reconnect(&mut self, now: Instant) {
        for index in 0..self.nodes.len() {
            if let Some(node) = self.nodes.get_mut(index) {
                node.pool.reconnect(now);
            }
            if let Ok(index) = u16::try_from(index) {
                self.carry_out(NodeId(index));
            }
        }
    }

    /// Closes the connections to a database that no client uses, on all nodes, and opens none of the
    /// pool's own accord for [`VACATED_TIME`]: a statement is about to run that fails as long as
    /// anybody is connected. Sessions that are still there are waited for by PostgreSQL.
    pub(crate) fn vacate(&mut self, database: &[u8], now: Instant) {
        let until = now + VACATED_TIME;
        let those = self.groups.iter().filter(|((_, name), _)| **name == *database);
        let groups: Vec<GroupId> = those.map(|(_, group)| *group).collect();
        for index in 0..self.nodes.len() {
            if let Some(node) = self.nodes.get_mut(index) {
                for group in &groups {
                    node.pool.vacate(*group, until, now);
                }
            }
            if let Ok(index) = u16::try_from(index) {
                self.carry_out(NodeId(index));
            }
        }
        if self.settings.auth_dbname.as_bytes() == database {
            self.commands.extend(self.asking.vacate(until).map(Command::Close));
        }
        self.catalogues.vacate(database, until, now);
    }

    /// KILL of one client: it is sent away, whatever it is doing; what runs for it is cancelled.
    /// Returns whether there is such a client.
    pub fn kill(&mut self, client: ClientId) -> bool {
        let exists = self.client_mut(client).is_some();
        self.tell(client, Event::Terminate(Shutdown::Fast));
        exists
    }

    /// KILL of a database: all of its clients. Returns how many.
    pub fn kill_database(&mut self, database: &[u8]) -> usize {
        let those = self.clients_of(database);
        for client in &those {
            self.kill(*client);
        }
        those.len()
    }

    /// The clients that are logged in to a database.
    fn clients_of(&self, database: &[u8]) -> Vec<ClientId> {
        self.logged_in().filter(|(_, name)| **name == *database).map(|(id, _)| id).collect()
    }

    fn logged_in(&self) -> impl Iterator<Item = (ClientId, Box<[u8]>)> {
        self.clients.iter().filter_map(|(index, client)| {
            let identity = self.identity_of(client.pool_key?)?;
            let id = ClientId { index: u32::try_from(index).ok()?, generation: client.generation };
            Some((id, identity.database.clone()))
        })
    }

    fn tell_whether_paused(&mut self) {
        let all: Vec<_> = self.logged_in().collect();
        for (client, database) in all {
            self.tell_paused(client, self.paused.contains(&database));
        }
    }

    /// Tells a client whether it is paused.
    pub(super) fn tell_paused(&mut self, client: ClientId, paused: bool) {
        if let Some(entry) = self.client_mut(client) {
            entry.busy = true;
        }
        self.tell(client, Event::Pause(paused));
    }

    /// A paused client has nothing under way.
    pub(crate) fn rests(&mut self, client: ClientId) {
        if let Some(entry) = self.client_mut(client) {
            entry.busy = false;
        }
    }
}
