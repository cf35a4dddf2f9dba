//! A blocking client that reads and writes single protocol messages.
//!
//! Drivers hide what a proxy gets wrong: which message came before which, whether one came twice,
//! what is left in the stream. Every wait has the same generous deadline; running into it, or
//! into the end of the stream where a message must come, is a panic, which fails the scenario.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::pki::Pki;
use crate::{tls, wire};

/// How long a client waits for a byte before it calls the other side hung.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// Where a server or proxy listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// Port on 127.0.0.1.
    Tcp(u16),
    /// Folder and port number of a Unix socket.
    Unix(PathBuf, u16),
}

impl Address {
    /// Path of the Unix socket of a server on `port` (PostgreSQL documentation,
    /// `unix_socket_directories`).
    pub fn socket_path(folder: &Path, port: u16) -> PathBuf {
        folder.join(format!(".s.PGSQL.{port}"))
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn as_read(&mut self) -> &mut dyn Read {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }

    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }
}

/// One backend message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Tag byte, for instance `b'D'`.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Message {
    fn strings(bytes: &[u8]) -> Vec<String> {
        bytes.split(|&b| b == 0).map(|s| String::from_utf8_lossy(s).into_owned()).collect()
    }

    /// First zero-terminated string of the body: the tag of a CommandComplete.
    pub fn text(&self) -> String {
        Self::strings(&self.body).into_iter().next().unwrap_or_default()
    }

    /// The columns of a DataRow, as bytes.
    pub fn columns(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.tag, b'D', "columns of a message that is not a DataRow: {self:?}");
        let mut rest = self.body.get(2..).unwrap_or_default();
        let mut columns = Vec::new();
        while let Some((head, tail)) = rest.split_first_chunk::<4>() {
            match usize::try_from(i32::from_be_bytes(*head)) {
                Err(_) => {
                    columns.push(None);
                    rest = tail;
                }
                Ok(size) => {
                    let (value, after) = tail.split_at_checked(size).expect("whole column");
                    columns.push(Some(value.to_vec()));
                    rest = after;
                }
            }
        }
        columns
    }

    /// The columns of a DataRow, as text.
    pub fn row(&self) -> Row {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.columns().into_iter().map(|column| column.map(text)).collect()
    }

    /// The fields of an ErrorResponse or NoticeResponse.
    pub fn fault(&self) -> Fault {
        let mut fault = Fault::default();
        for field in self.body.split(|&b| b == 0) {
            let Some((kind, value)) = field.split_first() else { continue };
            let value = String::from_utf8_lossy(value).into_owned();
            match kind {
                b'V' => fault.severity = value,
                b'S' if fault.severity.is_empty() => fault.severity = value,
                b'C' => fault.code = value,
                b'M' => fault.message = value,
                _ => {}
            }
        }
        fault
    }
}

/// What an ErrorResponse or NoticeResponse says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// `ERROR`, `FATAL`, `NOTICE` ...
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// Primary message.
    pub message: String,
}

impl Fault {
    /// Whether the SQLSTATE belongs to a class that tells a client "the connection or the server
    /// is gone, try again": 08 (connection exception) or 57 (operator intervention).
    pub fn is_outage(&self) -> bool {
        self.code.starts_with("08") || self.code.starts_with("57")
    }
}

/// One row in text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// Everything up to and including one ReadyForQuery.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The tags of all messages in order, as text: `"TDCZ"`. Asynchronous messages
    /// (ParameterStatus, notices and notifications) are left out.
    pub shape: String,
    /// All DataRows.
    pub rows: Vec<Row>,
    /// CommandComplete tags.
    pub commands: Vec<String>,
    /// CopyData of a COPY TO STDOUT.
    pub copied: Vec<u8>,
    /// Errors in the order they came.
    pub errors: Vec<Fault>,
    /// Notices in the order they came.
    pub notices: Vec<Fault>,
    /// Names of the channels that notifications came from.
    pub notifications: Vec<String>,
    /// Status byte of the ReadyForQuery; 0 when the connection ended before it.
    pub status: u8,
}

impl Reply {
    /// The rows of a reply that must not hold an error.
    pub fn ok(self) -> Vec<Row> {
        assert!(self.errors.is_empty(), "unexpected error: {:?}", self.errors);
        assert_ne!(self.status, 0, "connection closed in the middle of a reply");
        self.rows
    }

    /// SQLSTATE of the only error.
    pub fn code(&self) -> &str {
        match self.errors.as_slice() {
            [fault] => &fault.code,
            other => panic!("one error expected, got {other:?} in {self:?}"),
        }
    }

    /// The only value of the only row.
    pub fn value(self) -> String {
        let rows = self.ok();
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_else(|| "NULL".to_owned()),
            other => panic!("one value expected, got {other:?}"),
        }
    }
}

/// A connection.
pub struct RawClient {
    stream: Stream,
    unread: Vec<u8>,
    start: usize,
    /// What ended the stream, if that was not simply its end.
    pub broken: Option<String>,
    /// First number of the BackendKeyData.
    pub pid: u32,
    /// Secret of the BackendKeyData.
    pub key: Vec<u8>,
    /// ParameterStatus values, newest first.
    pub parameters: BTreeMap<String, String>,
}

impl RawClient {
    /// Connects and sends nothing.
    pub fn open(address: &Address) -> Self {
        Self::try_open(address).unwrap_or_else(|e| panic!("cannot connect to {address:?}: {e}"))
    }

    /// Connects and sends nothing.
    ///
    /// # Errors
    /// Those of `connect`.
    pub fn try_open(address: &Address) -> std::io::Result<Self> {
        let stream = match address {
            Address::Tcp(port) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                stream.set_write_timeout(Some(DEADLINE))?;
                Stream::Tcp(stream)
            }
            Address::Unix(folder, port) => {
                let stream = UnixStream::connect(Address::socket_path(folder, *port))?;
                stream.set_read_timeout(Some(DEADLINE))?;
                stream.set_write_timeout(Some(DEADLINE))?;
                Stream::Unix(stream)
            }
        };
        Ok(Self {
            stream,
            unread: Vec::new(),
            start: 0,
            broken: None,
            pid: 0,
            key: Vec::new(),
            parameters: BTreeMap::new(),
        })
    }

    /// Asks for TLS, gets it, and shows this certificate from there, if any: what comes of it may
    /// show at the next read only.
    ///
    /// # Errors
    /// Those of the handshake.
    pub fn encrypted_as(address: &Address, pki: &Pki, name: Option<&str>) -> std::io::Result<Self> {
        let mut client = Self::open(address);
        client.send(&wire::untagged(wire::SSL_REQUEST, &[]));
        assert_eq!(client.byte(), Some(b'S'));
        let identity = name.map(|name| tls::identity(&pki.certificate(name), &pki.key(name)));
        client.go_on_within_tls("", identity)
    }

    /// Goes on within TLS, with this ALPN protocol if it is not empty, and without a look at the
    /// server's certificate. Returns it after the handshake.
    ///
    /// # Errors
    /// Those of the handshake.
    pub fn encrypt(self, protocol: &str) -> std::io::Result<Self> {
        self.go_on_within_tls(protocol, None)
    }

    fn go_on_within_tls(
        self,
        protocol: &str,
        identity: Option<tls::Identity>,
    ) -> std::io::Result<Self> {
        let Stream::Tcp(mut stream) = self.stream else {
            panic!("TLS goes over TCP");
        };
        assert_eq!(self.start, self.unread.len(), "bytes in clear are left");
        let mut connection = tls::connection(protocol, identity);
        while connection.is_handshaking() || connection.wants_write() {
            connection.complete_io(&mut stream)?;
        }
        let stream = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(Self { stream, ..self })
    }

    /// Asks for TLS, gets it, and logs in without a password.
    ///
    /// # Panics
    /// When any of that is refused.
    pub fn connect_encrypted(address: &Address, user: &str, database: &str) -> Self {
        let mut client = Self::open(address);
        client.send(&wire::untagged(wire::SSL_REQUEST, &[]));
        assert_eq!(client.byte(), Some(b'S'));
        let mut client = client.encrypt("").unwrap_or_else(|e| panic!("no TLS: {e}"));
        client.send(&wire::startup(wire::PROTOCOL_3_0, &[("user", user), ("database", database)]));
        client.finish_login().unwrap_or_else(|fault| panic!("{user} is refused: {fault:?}"));
        client
    }

    /// Logs in without a password.
    pub fn connect(address: &Address, user: &str, database: &str) -> Self {
        Self::try_connect(address, user, database)
            .unwrap_or_else(|fault| panic!("login of {user} to {database} refused: {fault:?}"))
    }

    /// Logs in without a password.
    ///
    /// # Errors
    /// The server's error; an empty one when the connection was closed or reset without any.
    pub fn try_connect(address: &Address, user: &str, database: &str) -> Result<Self, Fault> {
        let mut client = Self::try_open(address)
            .map_err(|e| Fault { message: e.to_string(), ..Fault::default() })?;
        let hello = wire::startup(wire::PROTOCOL_3_0, &[("user", user), ("database", database)]);
        client.write(&hello).map_err(|e| Fault { message: e.to_string(), ..Fault::default() })?;
        client.finish_login()?;
        Ok(client)
    }

    /// Reads from AuthenticationOk to the first ReadyForQuery.
    ///
    /// # Errors
    /// As [`try_connect`](Self::try_connect).
    pub fn finish_login(&mut self) -> Result<Vec<Message>, Fault> {
        let mut seen = Vec::new();
        loop {
            let Some(message) = self.next() else {
                return Err(Fault {
                    message: "closed during login".to_owned(),
                    ..Fault::default()
                });
            };
            match message.tag {
                b'E' => return Err(message.fault()),
                b'R' => {
                    assert_eq!(message.body, [0; 4], "asked for a password: {:?}", message.body);
                }
                b'K' => {
                    let (pid, key) = message.body.split_first_chunk::<4>().expect("pid");
                    self.pid = u32::from_be_bytes(*pid);
                    self.key = key.to_vec();
                }
                _ => {}
            }
            let done = message.tag == b'Z';
            seen.push(message);
            if done {
                return Ok(seen);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.as_write().write_all(bytes)
    }

    /// Sends these bytes. A connection that the other side has closed is not an error here: the
    /// next read tells.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.write(bytes) {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the other side took no bytes for {DEADLINE:?}")
            }
            Err(_) => {}
        }
    }

    /// Reads more bytes; false at the end of the stream or after a reset.
    fn fill(&mut self) -> bool {
        if self.start > 0 {
            self.unread.drain(..self.start);
            self.start = 0;
        }
        let mut chunk = [0; 64 * 1024];
        match self.stream.as_read().read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.unread.extend(&chunk[..n]);
                true
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "nothing came for {DEADLINE:?}; unread: {:?}",
                    String::from_utf8_lossy(&self.unread)
                )
            }
            Err(e) => {
                self.broken = Some(e.to_string());
                false
            }
        }
    }

    /// Whether something, if only the end, can be read without waiting.
    pub fn is_readable(&self) -> bool {
        if self.start < self.unread.len() {
            return true;
        }
        let Stream::Tcp(stream) = &self.stream else {
            panic!("only on TCP");
        };
        let set = |on| stream.set_nonblocking(on).unwrap_or_else(|e| panic!("nonblocking: {e}"));
        set(true);
        let peeked = stream.peek(&mut [0]);
        set(false);
        !peeked.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    }

    /// One byte, for the answers to SSLRequest; `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        while self.unread.len() == self.start {
            if !self.fill() {
                return None;
            }
        }
        let byte = self.unread[self.start];
        self.start += 1;
        Some(byte)
    }

    /// The next message of any kind; `None` when the connection is closed.
    #[expect(clippy::should_implement_trait, reason = "a stream that panics is no iterator")]
    pub fn next(&mut self) -> Option<Message> {
        loop {
            let unread = &self.unread[self.start..];
            if let Some((head, rest)) = unread.split_first_chunk::<5>() {
                let [tag, length @ ..] = *head;
                let size = usize::try_from(u32::from_be_bytes(length)).expect("64 bits");
                let size = size.checked_sub(4).expect("a message length is at least 4");
                if let Some(body) = rest.get(..size) {
                    let message = Message { tag, body: body.to_vec() };
                    self.start += 5 + size;
                    self.note(&message);
                    return Some(message);
                }
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn note(&mut self, message: &Message) {
        if message.tag == b'S' {
            let mut strings = Message::strings(&message.body).into_iter();
            if let (Some(name), Some(value)) = (strings.next(), strings.next()) {
                self.parameters.insert(name, value);
            }
        }
    }

    /// The next message that is not asynchronous, which must come.
    pub fn expect(&mut self, tag: u8) -> Message {
        loop {
            let message = self.next().unwrap_or_else(|| {
                panic!("connection closed where a {:?} was expected", char::from(tag))
            });
            if message.tag == tag {
                return message;
            }
            assert!(
                matches!(message.tag, b'S' | b'N' | b'A'),
                "expected {:?}, got {:?} {:?}",
                char::from(tag),
                char::from(message.tag),
                String::from_utf8_lossy(&message.body)
            );
        }
    }

    /// Reads to the next ReadyForQuery, or to the end of the connection.
    pub fn reply(&mut self) -> Reply {
        let mut reply = Reply::default();
        while let Some(message) = self.next() {
            match message.tag {
                b'S' => continue,
                b'N' => {
                    reply.notices.push(message.fault());
                    continue;
                }
                b'A' => {
                    let channel = Message::strings(message.body.get(4..).unwrap_or_default());
                    reply.notifications.extend(channel.into_iter().next());
                    continue;
                }
                b'D' => reply.rows.push(message.row()),
                b'C' => reply.commands.push(message.text()),
                b'E' => reply.errors.push(message.fault()),
                b'd' => reply.copied.extend(&message.body),
                _ => {}
            }
            reply.shape.push(char::from(message.tag));
            if message.tag == b'Z' {
                reply.status = message.body.first().copied().unwrap_or_default();
                break;
            }
        }
        reply
    }

    /// Sends bytes that end with a Query or Sync, and reads the reply.
    pub fn ask(&mut self, bytes: &[u8]) -> Reply {
        self.send(bytes);
        self.reply()
    }

    /// A simple query.
    pub fn query(&mut self, sql: &str) -> Reply {
        self.ask(&wire::query(sql))
    }

    /// Parse, Bind, Describe, Execute and Sync of the unnamed statement.
    pub fn extended(&mut self, sql: &str, parameters: &[Option<&str>]) -> Reply {
        let bytes = [
            wire::parse("", sql),
            wire::bind("", "", parameters),
            wire::describe_portal(""),
            wire::execute("", 0),
            wire::sync(),
        ];
        self.ask(&bytes.concat())
    }

    /// Reads to the end of the connection and returns the error that came last before it.
    pub fn closed(&mut self) -> Option<Fault> {
        let mut last = None;
        while let Some(message) = self.next() {
            if message.tag == b'E' {
                last = Some(message.fault());
            }
        }
        last
    }

    /// Says good-bye and waits until the other side has closed.
    pub fn close(mut self) {
        self.send(&wire::terminate());
        self.closed();
    }

    /// Asks for the cancellation of whatever `self` runs, on a connection of its own, and waits
    /// until the other side has closed that.
    pub fn cancel(&self, address: &Address) {
        let mut other = Self::open(address);
        other.send(&wire::cancel(self.pid, &self.key));
        assert_eq!(other.byte(), None, "a CancelRequest has no answer");
    }
}
