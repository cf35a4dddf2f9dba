//! The PostgreSQL wire protocol (3.0 and 3.2) without I/O, for either end of a connection or the
//! middle of one.
//!
//! Nothing in here opens a socket, reads a clock, draws a random number or starts a thread: bytes,
//! points in time and randomness come in as arguments, bytes and decisions go out as results. The
//! same code therefore serves any runtime, a test and a fuzzer.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the first packet of a connection, version negotiation | [`startup`] |
//! | where messages begin and end, without copying them | [`frame`], [`tag`] |
//! | reading a message | [`frontend`], [`backend`], [`cursor`] |
//! | writing one | [`encode`] |
//! | logging in, as a server and as a client | [`auth`] |
//! | which reply belongs to which request | [`pipeline`] |
//! | what a session has: parameters, cancel key, transaction status | [`params`], [`cancel`], [`txn`] |
//! | points in time | [`time`] |
//! | what can go wrong, and what to call it | [`error`], [`sqlstate`] |
//!
//! # The calling rule
//!
//! The caller owns the buffer. It appends what it has read and calls
//! [`Framer::scan`](frame::Framer::scan) until the answer is [`Need`](frame::Seen::Need); each other
//! answer consumes bytes at the front. The framer is told which messages are interesting, and only
//! those are shown; all else is a [`Run`](frame::Seen::Run) of bytes to be passed on, be it one
//! thousand small rows or a piece of a large one. A result set in one buffer costs one answer, and no
//! message larger than [`FrameLimits::look_whole`](frame::FrameLimits::look_whole) is ever held back.
//!
//! # Example: a tap that forwards everything and logs the queries
//!
//! ```
//! use pgwire_core::encode;
//! use pgwire_core::error::DecodeError;
//! use pgwire_core::frame::{FrameLimits, FrontendFramer, Seen};
//! use pgwire_core::frontend::{Parse, Query};
//! use pgwire_core::tag::{FrontendTag, TagSet};
//!
//! const INTERESTING: TagSet<FrontendTag> = TagSet::of(&[FrontendTag::QUERY, FrontendTag::PARSE]);
//!
//! struct Tap {
//!     framer: FrontendFramer,
//!     /// What was read and not yet forwarded. Bounded by `look_whole` plus one read.
//!     buf: Vec<u8>,
//!     log: Vec<String>,
//! }
//!
//! impl Tap {
//!     /// Takes what a socket has read, and appends what can be forwarded to `out`.
//!     fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
//!         self.buf.extend_from_slice(bytes);
//!         let mut done = 0;
//!         loop {
//!             let rest = &self.buf[done..];
//!             let consumed = match self.framer.scan(rest, INTERESTING)? {
//!                 Seen::Need { .. } => break,
//!                 Seen::Run { bytes } => bytes,
//!                 Seen::Message { tag: FrontendTag::QUERY, frame } => {
//!                     let sql = Query::parse(frame)?.sql;
//!                     self.log.push(format!("query: {}", String::from_utf8_lossy(sql)));
//!                     frame.len()
//!                 }
//!                 Seen::Message { frame, .. } => {
//!                     let sql = Parse::parse(frame)?.sql;
//!                     self.log.push(format!("parse: {}", String::from_utf8_lossy(sql)));
//!                     frame.len()
//!                 }
//!                 Seen::Opening { tag, body_len, have } => {
//!                     self.log.push(format!("{tag:?} of {body_len} bytes"));
//!                     have.len()
//!                 }
//!             };
//!             out.extend_from_slice(&rest[..consumed]);
//!             done += consumed;
//!         }
//!         self.buf.drain(..done);
//!         Ok(())
//!     }
//! }
//!
//! let mut stream = Vec::new();
//! encode::query(&mut stream, b"select 1");
//! encode::parse(&mut stream, b"s1", b"select $1::int", &[]);
//! encode::sync(&mut stream);
//! encode::query(&mut stream, "insert into t values ('…')".repeat(1_000).as_bytes());
//! encode::terminate(&mut stream);
//!
//! let limits = FrameLimits { look_whole: 1_024 };
//! let mut tap = Tap { framer: FrontendFramer::new(limits), buf: Vec::new(), log: Vec::new() };
//! let mut forwarded = Vec::new();
//! for read in stream.chunks(7) {
//!     tap.read(read, &mut forwarded)?;
//!     // Whatever the peer sends, hardly anything is held back.
//!     assert!(tap.buf.len() < 1_024);
//! }
//! assert_eq!(forwarded, stream);
//! assert_eq!(
//!     tap.log,
//!     ["query: select 1", "parse: select $1::int", "FrontendTag::QUERY of 28001 bytes"]
//! );
//! # Ok::<(), DecodeError>(())
//! ```
//!
//! # Example: how many rows came back, and what became of the transaction
//!
//! ```
//! use pgwire_core::backend::ReadyForQuery;
//! use pgwire_core::frame::{BackendFramer, Seen};
//! use pgwire_core::tag::{BackendTag, TagSet};
//! use pgwire_core::txn::TransactionStatus;
//!
//! let reply = b"T\0\0\0\x06\0\0D\0\0\0\x06\0\0D\0\0\0\x06\0\0C\0\0\0\x0dSELECT 2\0Z\0\0\0\x05T";
//! let stop_at = TagSet::of(&[BackendTag::DATA_ROW, BackendTag::READY]);
//! let mut framer = BackendFramer::default();
//! let (mut rows, mut status, mut rest) = (0, None, &reply[..]);
//! loop {
//!     let consumed = match framer.scan(rest, stop_at)? {
//!         Seen::Need { .. } => break,
//!         Seen::Run { bytes } => bytes,
//!         Seen::Message { tag: BackendTag::READY, frame } => {
//!             status = Some(ReadyForQuery::parse(frame)?.status);
//!             frame.len()
//!         }
//!         Seen::Message { frame, .. } | Seen::Opening { have: frame, .. } => {
//!             rows += 1;
//!             frame.len()
//!         }
//!     };
//!     rest = &rest[consumed..];
//! }
//! assert_eq!((rows, status), (2, Some(TransactionStatus::InTransaction)));
//! # Ok::<(), pgwire_core::error::DecodeError>(())
//! ```
//!
//! # What to trust
//!
//! Bytes from a peer can lead to an error but never to a panic or to unbounded memory: each length is
//! checked before it is used, against the limits in [`tag`] and [`startup`]. Secrets (passwords, SASL
//! data, cancel keys) are left out of every `Debug`. Errors carry no text from a peer, and their
//! kinds tell whose fault it was; see [`error`].
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
