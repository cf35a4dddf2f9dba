//! The scenarios, one topic per module. Each is a function that panics when the proxy does not
//! do what its documentation here says.
//!
//! A scenario that reads what it wrote waits for the standby first, or reads in the transaction
//! that wrote: that an autocommitted write is not yet on the standby is not a fault.

pub mod authentication;
pub mod backpressure;
pub mod cancel;
pub mod catalogue;
pub mod chaos;
mod comparison;
pub mod config;
pub mod copy;
pub mod databases;
pub mod environment;
pub mod isolation;
pub mod large;
pub mod limits;
pub mod load_balancing;
pub mod login;
pub mod many_clients;
pub mod notifications;
pub mod outage;
pub mod parameters;
pub mod pgbench;
pub mod pipeline;
pub mod prepared;
pub mod queries;
pub mod reload;
pub mod replication;
pub mod routing;
pub mod settings;
pub mod shutdown;
pub mod startup;
pub mod tls;
pub mod transactions;
pub mod vanish;

use crate::raw_client::Row;

/// A row of values that are not NULL.
fn row(values: &[&str]) -> Row {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}
