//! A simulated world around the proxy: clients, servers and a network that all misbehave, on a
//! virtual clock, repeatable by a seed.
//!
//! The world is a runtime like the others: it drives [`crate::relay::Relay`]s and
//! [`crate::login::Login`]s, obeys the [`crate::hub::Hub`], and moves bytes through
//! [`crate::io::Io`]. Everything in it happens in one thread, in the order of a queue of events, so
//! a seed tells the whole story.
//!
//! # What is checked
//! - Every reply answers what this client asked, in order, from beginning to end: rows carry the
//!   text that was asked for, the time zone that the client has set, and what it has set besides.
//! - A transaction or batch runs on one server session, and nobody else's statement runs inside.
//! - Writes run on the primary, at most once, and at least once if they were confirmed.
//! - Errors are those that the script asks for, or such as an injected fault excuses.
//! - There are never more server connections than the settings allow.
//! - In the end everybody was served, refused or closed, and nothing is left over.

mod fake_client;
mod fake_pg;
mod net;
mod plan;
mod rng;
mod script;
mod session;
mod world;

pub use fake_client::Outcome;
pub use net::Cut;
pub use plan::{Password, Scripted, random_session};
pub use world::{Failed, Report, Streams};
