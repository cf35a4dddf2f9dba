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
    /// It took longer than `weir_catalogue_timeout`.
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
                self.link.say_goodbye(io);
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
            match self.link.socket.write(io, &[IoSlice::new(rest)]) {
                Transfer::Bytes(n) => self.written += n,
                Transfer::Blocked => break,
                Transfer::Closed => return Err(LookupError::Closed),
            }
        }
        loop {
            if let Some(digest) = self.parse()? {
                return Ok(Some(digest));
            }
            match self.link.socket.read(io, self.link.input.room(buffers)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use pgwire_core::cancel::{BackendKey, CancelKey};
    use pgwire_core::encode::{ErrorResponse, Severity};
    use pgwire_core::params::Params;
    use pgwire_core::txn::TransactionStatus;

    use crate::classify::{FunctionFact, Identifier, Name};
    use crate::ids::ServerId;

    /// A server that says this, so many bytes at a time, and then nothing or farewell.
    struct Script {
        says: Vec<u8>,
        piece: usize,
        ends: bool,
        heard: Vec<u8>,
    }

    impl Io<()> for Script {
        fn read(&mut self, (): &mut (), room: &mut [u8]) -> Transfer {
            let n = self.says.len().min(self.piece).min(room.len());
            if n == 0 {
                return if self.ends { Transfer::Closed } else { Transfer::Blocked };
            }
            room[..n].copy_from_slice(&self.says[..n]);
            self.says.drain(..n);
            Transfer::Bytes(n)
        }

        fn write(&mut self, (): &mut (), pieces: &[IoSlice<'_>]) -> Transfer {
            for piece in pieces {
                self.heard.extend_from_slice(piece);
            }
            Transfer::Bytes(pieces.iter().map(|piece| piece.len()).sum())
        }
    }

    fn row(columns: [Option<&str>; 4]) -> Vec<u8> {
        let mut body = vec![0, 4];
        for column in columns {
            match column {
                Some(text) => {
                    body.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
                    body.extend_from_slice(text.as_bytes());
                }
                None => body.extend_from_slice(&[0xff; 4]),
            }
        }
        message(b'D', &body)
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    fn ready() -> Vec<u8> {
        let mut out = Vec::new();
        encode::command_complete(&mut out, b"SELECT 2");
        encode::ready_for_query(&mut out, TransactionStatus::Idle);
        out
    }

    fn refusal() -> Vec<u8> {
        let mut out = Vec::new();
        let code = SqlState::from_bytes(b"42501").unwrap();
        let message = "permission denied";
        let severity = Severity::Error;
        let error = ErrorResponse { severity, code, message, detail: None, hint: None };
        encode::error_response(&mut out, &error);
        encode::ready_for_query(&mut out, TransactionStatus::Idle);
        out
    }

    fn order(most: usize) -> LookupOrder {
        LookupOrder {
            database: b"db".as_slice().into(),
            node: NodeId(0),
            most,
            use_unlogged: true,
            timeout: Some(Duration::from_secs(5)),
        }
    }

    fn lookup(most: usize) -> Lookup<()> {
        let id = ServerId { node: NodeId(0), index: u32::MAX, generation: 0 };
        let key = BackendKey { pid: 1, key: CancelKey::new(&[1; 4]).unwrap() };
        let mut params = Params::new();
        for (name, value) in
            [("server_version", "15.4"), ("server_encoding", "UTF8"), ("client_encoding", "UTF8")]
        {
            params.set(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let link = Box::new(Link::new(id, crate::tls::Wire::plain(()), key, params, 1));
        Lookup::new(&order(most), link, Instant::ORIGIN)
    }

    fn ask(says: Vec<u8>, piece: usize, most: usize) -> (Result<Digest, LookupError>, Vec<u8>) {
        let mut script = Script { says, piece, ends: true, heard: Vec::new() };
        let mut lookup = lookup(most);
        let mut buffers = Buffers::new();
        match lookup.drive(&mut script, &mut buffers, Instant::ORIGIN) {
            LookupTurn::Done(result) => (result, script.heard),
            LookupTurn::Wait(_) => panic!("it waits"),
        }
    }

    fn rows() -> Vec<u8> {
        let mut says = message(b'T', &[0, 0]);
        says.extend(row([Some("i"), None, Some(""), Some("c")]));
        says.extend(row([Some("f"), Some("public"), Some("f_write"), Some("w")]));
        says.extend(row([Some("f"), Some("public"), Some("f_read"), Some("h")]));
        says
    }

    #[test]
    fn an_answer_is_read_however_it_is_cut() {
        for piece in [1, 3, 100_000] {
            let (result, heard) = ask([rows(), ready()].concat(), piece, 10);
            let digest = result.unwrap();
            assert_eq!(digest.len(), 2);
            assert!(digest.default_isolation_is_read_committed());
            let name = Identifier { text: b"f_write", quoted: false };
            assert_eq!(digest.function(Name { qualifier: None, name }), FunctionFact::Writes);
            assert!(heard.starts_with(b"Q") && heard.ends_with(b"X\0\0\0\x04"));
            let sql = String::from_utf8_lossy(&heard).into_owned();
            assert!(sql.contains("prosqlbody") && sql.contains("LIMIT 12"), "{sql}");
        }
    }

    #[test]
    fn more_rows_than_wanted_are_not_awaited() {
        let (result, _) = ask(rows(), 100_000, 1);
        assert!(result.unwrap().is_too_large());
    }

    #[test]
    fn refusals_and_broken_answers_are_errors() {
        let (refused, _) = ask([rows(), refusal()].concat(), 7, 10);
        assert!(matches!(refused, Err(LookupError::Refused { .. })), "{refused:?}");
        let (closed, _) = ask(rows(), 7, 10);
        assert!(matches!(closed, Err(LookupError::Closed)), "half an answer is none: {closed:?}");
        for broken in [
            row([Some("z"), Some("s"), Some("n"), Some("w")]),
            message(b'D', &[0, 4, 0, 0, 0, 9, b'x']),
            message(b'D', &[0, 3]),
            message(b'D', &[]),
        ] {
            let (result, _) = ask([broken, ready()].concat(), 9, 10);
            assert!(matches!(result, Err(LookupError::Answer(_))), "{result:?}");
        }
        let (garbage, _) = ask(b"HTTP/1.1 400 Bad Request".to_vec(), 9, 10);
        assert!(garbage.is_err());
    }

    #[test]
    fn it_does_not_wait_for_ever() {
        let mut script = Script { says: rows(), piece: 9, ends: false, heard: Vec::new() };
        let mut lookup = lookup(10);
        let mut buffers = Buffers::new();
        let deadline = Instant::from_millis(5_000);
        match lookup.drive(&mut script, &mut buffers, Instant::ORIGIN) {
            LookupTurn::Wait(until) => assert_eq!(until, Some(deadline)),
            turn => panic!("{turn:?}"),
        }
        match lookup.drive(&mut script, &mut buffers, deadline) {
            LookupTurn::Done(Err(LookupError::Timeout)) => {}
            turn => panic!("{turn:?}"),
        }
    }
}
