//! Connection pooling and read/write splitting for PostgreSQL without I/O.
#![deny(missing_docs)]

pub mod classify;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod hba;
pub mod passwd;
