//! Throw-away PostgreSQL clusters, proxy processes and the end-to-end suite.
//!
//! A runtime's `tests/e2e.rs` is one line, `testbed::suite!(env!("CARGO_BIN_EXE_pgweir"));`,
//! which expands to one `#[test]` per scenario and pooling mode.
//!
//! Everything here is test support: what goes wrong is a panic with a message, because that is
//! what fails a test.

#![deny(missing_docs)]

pub mod cluster;
pub mod proxy;
pub mod raw_client;
pub mod tools;
pub mod wire;

pub use cluster::{Cluster, Node, Shutdown};
pub use proxy::{Config, Mode, Proxy};
pub use raw_client::{Address, RawClient};
