//! The PostgreSQL wire protocol without I/O.
#![no_std]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod auth;
pub mod backend;
pub mod cancel;
pub mod cursor;
pub mod encode;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod params;
pub mod pipeline;
pub mod sqlstate;
pub mod startup;
pub mod tag;
pub mod time;
pub mod txn;
