//! Limits and time-outs of single databases and users.
//!
//! `weir_database_overrides = 'shop: pool_size=10 max_clients=100; "a:b": query_timeout=5min'`: a name,
//! in double quotes where it holds `:`, `;` or a blank, and after a colon what differs there.
//! `weir_user_overrides` likewise; what it says of a user beats what is said of the database.

use core::time::Duration;

use super::units::{TimeUnit, parse_duration};

/// How long things may take for one client. `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientLimits {
    /// Idle, in a transaction or not.
    pub idle: Option<Duration>,
    /// Waiting for a server connection.
    pub query_wait: Option<Duration>,
    /// One statement or batch.
    pub query: Option<Duration>,
    /// One transaction.
    pub transaction: Option<Duration>,
    /// Idle in a transaction.
    pub idle_transaction: Option<Duration>,
}

/// Bounds on connections of a user and database, 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupLimits {
    /// Server connections per node.
    pub pool_size: u32,
    /// Of them, those that are kept open once they were needed.
    pub min_pool_size: u32,
    /// More of them for those who have waited for long.
    pub reserve_pool_size: u32,
}

/// What differs for one database or user. `None`: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Override {
    /// The database or user.
    pub name: String,
    /// Server connections per node and (user, database).
    pub pool_size: Option<u32>,
    /// Of them, those that are kept open.
    pub min_pool_size: Option<u32>,
    /// More of them for those who have waited for long.
    pub reserve_pool_size: Option<u32>,
    /// Server connections per node, of all pools of the database or user; 0: no bound.
    pub max_connections: Option<u32>,
    /// Clients that are logged in; 0: no bound.
    pub max_clients: Option<u32>,
    /// Clients that are logged in, of one user in one database; 0: no bound.
    pub max_pool_clients: Option<u32>,
    /// See [`ClientLimits`]; zero: for ever.
    pub client_idle_limit: Option<Duration>,
    /// See [`ClientLimits`]; zero: for ever.
    pub query_wait_timeout: Option<Duration>,
    /// See [`ClientLimits`]; zero: for ever.
    pub query_timeout: Option<Duration>,
    /// See [`ClientLimits`]; zero: for ever.
    pub transaction_timeout: Option<Duration>,
    /// See [`ClientLimits`]; zero: for ever.
    pub idle_transaction_timeout: Option<Duration>,
}

/// What an entry looks like.
pub(super) const ACCEPTED: &str = "`name: word=value ...`, where the words are pool_size, min_pool_size, reserve_pool_size, max_connections, \
     max_clients, max_pool_clients (numbers), client_idle_limit, query_wait_timeout, query_timeout, \
     transaction_timeout, idle_transaction_timeout (times, in seconds or with a unit)";

/// The greatest number in an entry.
const MOST: u32 = 1_000_000;

impl Override {
    /// Reads one entry.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (name, rest) = match text.strip_prefix('"') {
            Some(quoted) => {
                let (name, rest) = quoted.split_once('"').ok_or("a quote is not closed")?;
                (name, rest.trim_start().strip_prefix(':').ok_or("a colon is missing")?)
            }
            None => text.split_once(':').ok_or("a colon is missing")?,
        };
        let name = name.trim();
        if name.is_empty() {
            return Err("a name is missing");
        }
        let mut entry = Self { name: name.to_owned(), ..Self::default() };
        for word in rest.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').ok_or("`=` is missing")?;
            let number = || value.parse::<u32>().ok().filter(|n| *n <= MOST);
            let time = || parse_duration(value, TimeUnit::Seconds);
            let is_known = match key {
                "pool_size" => set(&mut entry.pool_size, number().filter(|n| *n > 0)),
                "min_pool_size" => set(&mut entry.min_pool_size, number()),
                "reserve_pool_size" => set(&mut entry.reserve_pool_size, number()),
                "max_connections" => set(&mut entry.max_connections, number()),
                "max_clients" => set(&mut entry.max_clients, number()),
                "max_pool_clients" => set(&mut entry.max_pool_clients, number()),
                "client_idle_limit" => set(&mut entry.client_idle_limit, time()),
                "query_wait_timeout" => set(&mut entry.query_wait_timeout, time()),
                "query_timeout" => set(&mut entry.query_timeout, time()),
                "transaction_timeout" => set(&mut entry.transaction_timeout, time()),
                "idle_transaction_timeout" => set(&mut entry.idle_transaction_timeout, time()),
                _ => return Err("an unknown word"),
            };
            if !is_known {
                return Err("a value that it cannot have");
            }
        }
        Ok(entry)
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

/// The overrides that apply to a user and a database, the stronger one first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Both<'a>(pub(super) [Option<&'a Override>; 2]);

impl Both<'_> {
    pub(super) fn number(&self, of: impl Fn(&Override) -> Option<u32>, default: u32) -> u32 {
        self.0.iter().flatten().find_map(|entry| of(entry)).unwrap_or(default)
    }

    pub(super) fn time(
        &self,
        of: impl Fn(&Override) -> Option<Duration>,
        default: Option<Duration>,
    ) -> Option<Duration> {
        let found = self.0.iter().flatten().find_map(|entry| of(entry)).or(default);
        found.filter(|span| !span.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read() {
        let entry = Override::parse("shop: pool_size=10 max_clients=0 query_timeout=5min").unwrap();
        assert_eq!(entry.name, "shop");
        assert_eq!((entry.pool_size, entry.max_clients), (Some(10), Some(0)));
        assert_eq!(entry.query_timeout, Some(Duration::from_secs(300)));
        assert_eq!(Override::parse("\"a: b\" :").unwrap().name, "a: b");
        for bad in [
            "shop",
            ":",
            "\"x: pool_size=1",
            "x: pool_size",
            "x: pool_size=0",
            "x: pool_size=many",
            "x: size=1",
            "x: query_timeout=-1",
            "\"x\" pool_size=1",
        ] {
            assert!(Override::parse(bad).is_err(), "{bad}");
        }
    }
}
