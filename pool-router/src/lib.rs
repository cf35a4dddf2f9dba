//! Connection pooling and read/write splitting for PostgreSQL without I/O.
#![deny(missing_docs)]

pub mod auth_query;
#[cfg(feature = "cli")]
pub mod boot;
pub mod buffers;
pub mod cancel;
pub mod catalogue;
pub mod classify;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod context;
pub mod environment;
pub mod hba;
pub mod hub;
pub mod identity;
pub mod ids;
pub mod io;
pub mod link;
pub mod login;
mod outbox;
pub mod passwd;
pub mod pcp_users;
pub mod pins;
pub mod pool;
mod prepared;
pub mod relay;
pub mod route;
pub mod rules;
mod sizes;
pub mod tally;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
#[cfg(feature = "cli")]
pub mod tools;
pub mod watch;
