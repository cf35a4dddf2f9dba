//! Who a server connection belongs to.

use std::fmt;

use pgwire_core::startup::StartupMessage;

use crate::rules::SessionNames;

/// Parameters that every PostgreSQL server reports and that a session may set: they follow the
/// client from server to server, so server connections may be shared by clients that differ in
/// them (in transaction mode).
///
/// Source: PostgreSQL documentation, *Frontend/Backend Protocol*, "Asynchronous Operations".
pub const TRACKED: [&str; 6] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "standard_conforming_strings",
];

/// A startup parameter: name and value.
pub type Parameter = (Box<[u8]>, Box<[u8]>);

/// A user, a database and the startup parameters of a server connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The role.
    pub user: Box<[u8]>,
    /// The database.
    pub database: Box<[u8]>,
    /// Startup parameters other than user and database, ordered by name.
    pub parameters: Vec<Parameter>,
    /// Tells clients apart that have shown to know different passwords: a digest, keyed by a secret
    /// of the process. None where nothing had to be shown.
    pub credential: Option<[u8; 32]>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &String::from_utf8_lossy(&self.user))
            .field("database", &String::from_utf8_lossy(&self.database))
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Whether its server connections are WAL senders.
    pub(crate) fn replicates(&self) -> bool {
        self.parameters.iter().any(|(name, _)| **name == *REPLICATION)
    }
}

/// The startup parameter that asks for a WAL sender (PostgreSQL docs, chapter "Streaming Replication
/// Protocol").
pub(crate) const REPLICATION: &[u8] = b"replication";

/// A client's startup parameters, split into what makes its server's identity and what is set on
/// whichever server it gets.
#[derive(Debug, Clone)]
pub(crate) struct Requested {
    pub(crate) identity: Identity,
    /// Tracked parameters that the client asked for, ordered by name.
    pub(crate) tracked: Vec<Parameter>,
}

impl Requested {
    /// The names that redirect lists are asked about.
    pub(crate) fn names(&self) -> SessionNames<'_> {
        let application_name = self
            .tracked
            .iter()
            .chain(&self.identity.parameters)
            .find(|(name, _)| name.eq_ignore_ascii_case(b"application_name"))
            .map_or(&b""[..], |(_, value)| value);
        SessionNames {
            application_name,
            database: &self.identity.database,
            user: &self.identity.user,
        }
    }

    /// Splits a startup packet. With `share`, tracked parameters do not become part of the identity.
    /// Nothing is shared of a replication connection, which may be unable to set anything.
    pub(crate) fn new(
        message: &StartupMessage<'_>,
        user: &[u8],
        share: bool,
        replicates: bool,
    ) -> Self {
        let mut parameters: Vec<Parameter> = Vec::new();
        let mut tracked: Vec<Parameter> = Vec::new();
        for (name, value) in message.params() {
            if matches!(name, b"user" | b"database") || name.starts_with(b"_pq_.") {
                continue;
            }
            if name == REPLICATION && !replicates {
                continue;
            }
            let into = if share && !replicates && is_tracked(name) {
                &mut tracked
            } else {
                &mut parameters
            };
            // As in PostgreSQL, the last of several settings of one name counts.
            into.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            into.push((name.into(), value.into()));
        }
        parameters.sort_unstable();
        tracked.sort_unstable();
        let database = match message.get(b"database") {
            Some(name) if !name.is_empty() => name,
            _ => user,
        };
        let identity =
            Identity { user: user.into(), database: database.into(), parameters, credential: None };
        Self { identity, tracked }
    }
}

/// Whether a parameter follows its client (compared as PostgreSQL does, without case).
pub(crate) fn is_tracked(name: &[u8]) -> bool {
    TRACKED.iter().any(|tracked| tracked.as_bytes().eq_ignore_ascii_case(name))
}
