//! pgwire-core alone: look into both directions of a connection, chunk by chunk.
//!
//! `cargo run -p examples --bin embed_framer`
//!
//! A tap stands between a client and a server. It counts rows without looking at them one by one,
//! notes the queries, and holds back no message that is larger than a limit. Here the two streams
//! are made by hand; in a program they come from sockets of any kind.

use pgwire_core::backend::{CommandComplete, ErrorOrNotice, ReadyForQuery};
use pgwire_core::encode::{self, ErrorResponse, Severity};
use pgwire_core::error::DecodeError;
use pgwire_core::frame::{FrameLimits, Framer, Seen};
use pgwire_core::frontend::{Parse, Query};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::tag::{BackendTag, FrontendTag, Tag, TagSet};
use pgwire_core::txn::TransactionStatus;

/// Messages of the client that the tap wants to see; all else is passed on as runs of bytes.
const FROM_CLIENT: TagSet<FrontendTag> = TagSet::of(&[FrontendTag::QUERY, FrontendTag::PARSE]);

/// Messages of the server that the tap wants to see.
const FROM_SERVER: TagSet<BackendTag> = TagSet::of(&[
    BackendTag::DATA_ROW,
    BackendTag::COMMAND_COMPLETE,
    BackendTag::ERROR,
    BackendTag::READY,
]);

/// What one connection did.
#[derive(Default)]
struct Report {
    statements: Vec<String>,
    replies: Vec<String>,
    rows: usize,
}

/// One direction. The buffer never holds more than `look_whole` bytes and one read.
struct Tap<T: Tag> {
    framer: Framer<T>,
    stop_at: TagSet<T>,
    buffer: Vec<u8>,
}

impl<T: Tag> Tap<T> {
    fn new(stop_at: TagSet<T>, limits: FrameLimits) -> Self {
        Self { framer: Framer::new(limits), stop_at, buffer: Vec::new() }
    }

    /// Takes what was read, shows `look` the interesting messages, and appends what may be
    /// forwarded to `out`.
    fn read(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut look: impl FnMut(Shown<'_, T>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.buffer.extend_from_slice(bytes);
        let mut done = 0;
        loop {
            let rest = &self.buffer[done..];
            let consumed = match self.framer.scan(rest, self.stop_at)? {
                Seen::Need { .. } => break,
                Seen::Run { bytes } => bytes,
                Seen::Message { tag, frame } => {
                    look(Shown::Whole(tag, frame))?;
                    frame.len()
                }
                Seen::Opening { tag, body_len, have } => {
                    look(Shown::TooLong(tag, body_len))?;
                    have.len()
                }
            };
            out.extend_from_slice(&rest[..consumed]);
            done += consumed;
        }
        self.buffer.drain(..done);
        Ok(())
    }
}

/// An interesting message.
enum Shown<'b, T> {
    Whole(T, &'b [u8]),
    /// It is longer than the limit; this many bytes.
    TooLong(T, u32),
}

impl Report {
    fn client(&mut self, message: Shown<'_, FrontendTag>) -> Result<(), DecodeError> {
        self.statements.push(match message {
            Shown::Whole(FrontendTag::QUERY, frame) => text(Query::parse(frame)?.sql),
            Shown::Whole(_, frame) => text(Parse::parse(frame)?.sql),
            Shown::TooLong(_, bytes) => format!("a statement of {bytes} bytes"),
        });
        Ok(())
    }

    fn server(&mut self, message: Shown<'_, BackendTag>) -> Result<(), DecodeError> {
        match message {
            Shown::Whole(BackendTag::DATA_ROW, _) | Shown::TooLong(BackendTag::DATA_ROW, _) => {
                self.rows += 1;
            }
            Shown::Whole(BackendTag::COMMAND_COMPLETE, frame) => {
                self.replies.push(text(CommandComplete::parse(frame)?.tag));
            }
            Shown::Whole(BackendTag::READY, frame) => {
                self.replies.push(format!("ready: {:?}", ReadyForQuery::parse(frame)?.status));
            }
            Shown::Whole(_, frame) => {
                let error = ErrorOrNotice::parse(frame)?;
                self.replies.push(format!("error: {}", text(error.message().unwrap_or_default())));
            }
            Shown::TooLong(..) => self.replies.push("error: a long one".to_owned()),
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a client sends after its login.
fn requests() -> Vec<u8> {
    let mut stream = Vec::new();
    encode::query(&mut stream, b"SELECT id, name FROM person");
    encode::parse(&mut stream, b"", b"SELEC * FROM person WHERE id = $1", &[]);
    encode::sync(&mut stream);
    let values = vec!["(1, 'somebody')"; 5_000].join(", ");
    encode::query(&mut stream, format!("INSERT INTO person VALUES {values}").as_bytes());
    stream
}

/// What the server answers.
fn replies() -> Vec<u8> {
    let mut stream = Vec::new();
    for id in 0..1_000 {
        data_row(&mut stream, &[id.to_string().as_bytes(), b"somebody"]);
    }
    encode::command_complete(&mut stream, b"SELECT 1000");
    encode::ready_for_query(&mut stream, TransactionStatus::Idle);
    let error = ErrorResponse {
        severity: Severity::Error,
        code: SqlState::SYNTAX_ERROR,
        message: "syntax error at or near \"SELEC\"",
        detail: None,
        hint: None,
    };
    encode::error_response(&mut stream, &error);
    encode::ready_for_query(&mut stream, TransactionStatus::Idle);
    encode::command_complete(&mut stream, b"INSERT 0 5000");
    encode::ready_for_query(&mut stream, TransactionStatus::Idle);
    stream
}

/// A DataRow of text columns. The library has no encoder for it: a proxy passes rows on.
fn data_row(out: &mut Vec<u8>, columns: &[&[u8]]) {
    let mut body = u16::try_from(columns.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    for column in columns {
        body.extend(i32::try_from(column.len()).unwrap_or(i32::MAX).to_be_bytes());
        body.extend_from_slice(column);
    }
    out.push(b'D');
    out.extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(body);
}

fn main() -> Result<(), DecodeError> {
    const READ: usize = 1_000;
    let limits = FrameLimits { look_whole: 4_096 };
    let mut client = Tap::new(FROM_CLIENT, limits);
    let mut server = Tap::new(FROM_SERVER, limits);
    let mut report = Report::default();

    let (requests, replies) = (requests(), replies());
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut held = 0;
    for bytes in requests.chunks(READ) {
        client.read(bytes, &mut to_server, |message| report.client(message))?;
        held = held.max(client.buffer.len());
    }
    for bytes in replies.chunks(READ) {
        server.read(bytes, &mut to_client, |message| report.server(message))?;
        held = held.max(server.buffer.len());
    }

    println!("statements:");
    for statement in &report.statements {
        println!("  {statement}");
    }
    println!("replies:");
    for reply in &report.replies {
        println!("  {reply}");
    }
    println!("rows: {}", report.rows);
    println!("forwarded unchanged: {}", to_server == requests && to_client == replies);
    println!("held back at most: {held} of {} bytes", requests.len() + replies.len());
    Ok(())
}
