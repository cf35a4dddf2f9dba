//! Looking up one database's catalogue: from a logged-in connection to a [`Digest`].

use std::io::IoSlice;
use std::time::Duration;

use pgwire_core::backend::ErrorOrNotice;
use pgwire_core::encode;
use pgwire_core::error::DecodeError;
use pgwire_core::frame::Seen;
use pgwire_core::sqlstate::SqlState;
use pgwire_core::tag::{BackendTag, TagSet};
use pgwire_core::time::Instant;

use super::digest::{Digest, DigestBuilder, UnexpectedRow};
use super::query;
use crate::buffers::Buffers;
use crate::ids::NodeId;
use crate::io::{Io, Transfer};
use crate::link::Link;
use crate::login::{ConnectError, LoginPlan};

/// What the hub orders: to log in, and then to look up.
#[derive(Debug, Clone)]
pub struct LookupPlan {
    /// For the [`Login`](crate::login::Login). The connection belongs to no pool.
    pub login: LoginPlan,
    /// For the [`Lookup`], and for the report.
    pub order: LookupOrder,
}

/// Which catalogue is to be looked up, and how.
#[derive(Debug, Clone)]
pub struct LookupOrder {
    pub(crate) database: Box<[u8]>,
    pub(crate) node: NodeId,
    /// Names that are kept at most.
    pub(crate) most: usize,
    pub(crate) use_unlogged: bool,
    /// How long the query may take.
    pub(crate) timeout: Option<Duration>,
}

impl LookupOrder {
    /// The database.
    #[must_use]
    pub fn database(&self) -> &[u8] {
        &self.database
    }
}

/// Why the catalogue could not be looked up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// There was no connection.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The server refused the query: its own words.
    #[error("{message}")]
    Refused {
        /// Its SQLSTATE.
        code: SqlState,
        /// Its message.
        message: Box<str>,
    },
    /// The connection ended before the answer.
    #[error("server closed the connection unexpectedly")]
    Closed,
    /// It took longer than `catalogue_timeout`.
    #[error("timeout expired")]
    Timeout,
    /// The server does not speak the protocol.
    #[error("server violates the protocol: {0}")]
    Protocol(#[from] DecodeError),
    /// The answer is not one to the question.
    #[error("{0}")]
    Answer(#[from] UnexpectedRow),
}

/// What a [`Lookup`] needs from its runtime.
#[derive(Debug)]
pub enum LookupTurn {
    /// Wait until the socket is ready or this moment comes, then drive again.
    Wait(Option<Instant>),
    /// It is over: report this, and drop the look-up.
    Done(Result<Digest, LookupError>),
}

/// A look-up over one logged-in connection, which it closes at the end.
///
/// # Calling rule
/// [`Lookup::drive`] until it answers [`LookupTurn::Done`].
#[derive(Debug)]
pub struct Lookup<S> {
    link: Box<Link<S>>,
    output: Vec<u8>,
    written: usize,
    digest: DigestBuilder,
    /// What the server refused the query with; the answer goes on to its end.
    refusal: Option<LookupError>,
    deadline: Option<Instant>,
}

/// The time that the server is told when there is no limit here.
const LONGEST: Duration = Duration::from_secs(3600);

impl<S> Lookup<S> {
    /// A look-up over a fresh connection.
    #[must_use]
    pub fn new(order: &LookupOrder, link: Box<Link<S>>, now: Instant) -> Self {
        let version = link.params.get(b"server_version").unwrap_or_default();
        // One more than is kept tells that there are too many. A row has a kind besides names, and
        // one row holds no name.
        let most = u32::try_from(order.most.saturating_add(2)).unwrap_or(u32::MAX);
        let timeout = order.timeout.unwrap_or(LONGEST);
        let sql = query::text(query::major(version), most, timeout);
        let mut output = Vec::new();
        encode::query(&mut output, sql.as_bytes());
        Self {
            link,
            output,
            written: 0,
            digest: DigestBuilder::new(order.most, order.use_unlogged),
            refusal: None,
            deadline: order.timeout.map(|timeout| now + timeout),
        }
    }

    /// Moves the look-up on as far as it goes.
    pub fn drive(
        &mut self,
        io: &mut impl Io<S>,
        buffers: &mut Buffers,
        now: Instant,
    ) -> LookupTurn {
        let turn = self.step(io, buffers, now);
        self.link.input.trim(buffers);
        match turn {
            Ok(None) => LookupTurn::Wait(self.deadline),
            Ok(Some(digest)) => {
                let mut goodbye = Vec::new();
                encode::terminate(&mut goodbye);
                // Whether it goes out does not matter: the socket is closed either way.
                let _: Transfer = io.write(&mut self.link.socket, &[IoSlice::new(&goodbye)]);
                LookupTurn::Done(Ok(digest))
            }
            Err(error) => LookupTurn::Done(Err(error)),
        }
    }

    fn step(
        &mut self,
        io: &mut impl Io<S>,
        buffers: &mut Buffers,
        now: Instant,
    ) -> Result<Option<Digest>, LookupError> {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(LookupError::Timeout);
        }
        while self.written < self.output.len() {
            let rest = self.output.get(self.written..).unwrap_or_default();
            match io.write(&mut self.link.socket, &[IoSlice::new(rest)]) {
                Transfer::Bytes(n) => self.written += n,
                Transfer::Blocked => break,
                Transfer::Closed => return Err(LookupError::Closed),
            }
        }
        loop {
            if let Some(digest) = self.parse()? {
                return Ok(Some(digest));
            }
            match io.read(&mut self.link.socket, self.link.input.room(buffers)) {
                Transfer::Bytes(n) => self.link.input.filled(n),
                Transfer::Blocked => return Ok(None),
                Transfer::Closed => return Err(LookupError::Closed),
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Digest>, LookupError> {
        let Link { framer, input, params, .. } = &mut *self.link;
        loop {
            // Rows and errors of this size do not come; what does (a long notice) is passed over.
            let (len, ended) = match framer.scan(input.unparsed(), TagSet::ALL)? {
                Seen::Need { .. } => return Ok(None),
                Seen::Run { bytes } => (bytes, false),
                Seen::Opening { have, .. } => (have.len(), false),
                Seen::Message { tag: BackendTag::DATA_ROW, frame } => {
                    let [kind, schema, name, fact] = columns(frame)?;
                    self.digest.row(kind, schema, name, fact)?;
                    (frame.len(), self.digest.is_full())
                }
                Seen::Message { tag: BackendTag::ERROR, frame } => {
                    let error = ErrorOrNotice::parse(frame)?;
                    let message = error.message().unwrap_or(b"(no message)");
                    self.refusal = Some(LookupError::Refused {
                        code: error.code().unwrap_or(SqlState::INTERNAL_ERROR),
                        message: String::from_utf8_lossy(message).into(),
                    });
                    (frame.len(), error.is_fatal())
                }
                Seen::Message { tag, frame } => (frame.len(), tag == BackendTag::READY),
            };
            input.decide(len);
            input.release(len);
            if ended {
                if let Some(refusal) = self.refusal.take() {
                    return Err(refusal);
                }
                let empty = DigestBuilder::new(0, false);
                let digest = std::mem::replace(&mut self.digest, empty);
                let encodings = (params.get(b"server_encoding"), params.get(b"client_encoding"));
                return Ok(Some(digest.finish(encodings.0, encodings.1)));
            }
        }
    }
}

/// The four columns of a DataRow, NULL as an empty text (PostgreSQL docs, 55.7).
fn columns(frame: &[u8]) -> Result<[&[u8]; 4], UnexpectedRow> {
    let mut rest = frame.get(5..).unwrap_or_default();
    let count = rest.split_off_first_chunk().ok_or(UnexpectedRow)?;
    if u16::from_be_bytes(count) != 4 {
        return Err(UnexpectedRow);
    }
    let mut columns: [&[u8]; 4] = [b""; 4];
    for column in &mut columns {
        let length = i32::from_be_bytes(rest.split_off_first_chunk().ok_or(UnexpectedRow)?);
        let length = usize::try_from(length).unwrap_or(0);
        (*column, rest) = rest.split_at_checked(length).ok_or(UnexpectedRow)?;
    }
    Ok(columns)
}

/// Cutting numbers off a slice.
trait SplitOff {
    fn split_off_first_chunk<const N: usize>(&mut self) -> Option<[u8; N]>;
}

impl SplitOff for &[u8] {
    fn split_off_first_chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.split_first_chunk()?;
        *self = rest;
        Some(*first)
    }
}
