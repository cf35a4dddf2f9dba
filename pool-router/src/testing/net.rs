//! Simulated connections: byte streams with bounded windows that are cut, delayed and broken.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::rc::Rc;
use std::time::Duration;

use pgwire_core::time::Instant;

use super::rng::Rng;
use crate::io::{Io, Transfer};

/// A connection, by the order of opening.
pub(super) type ConnId = usize;

/// What runs on the proxy's side and waits for sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Client(usize),
    Login(usize),
    Cancel(usize),
    Lookup(usize),
    Question(usize),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Client(usize),
    Node(usize),
}

/// How the bytes of a connection are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// As they were written.
    Whole,
    /// Into pieces of random sizes.
    Random,
    /// Into single bytes.
    Bytes,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToProxy,
    ToPeer,
}

/// The proxy's end of a connection. Dropping it closes that end.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) conn: ConnId,
    closed: Rc<RefCell<Vec<ConnId>>>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.closed.borrow_mut().push(self.conn);
    }
}

/// What the network wants the scheduler to do.
#[derive(Debug)]
pub(super) enum Notice {
    /// Move one segment to its receiver, then.
    Deliver(Instant, ConnId, Way),
    /// A task of the proxy may go on.
    Wake(Task),
    /// The peer has something to read, or the end of the stream.
    PeerReadable(ConnId),
}

#[derive(Debug, Default)]
struct Pipe {
    /// Segments under way; an empty one is the end of the stream.
    flight: VecDeque<Vec<u8>>,
    ready: VecDeque<u8>,
    /// Bytes in `flight` and `ready`.
    used: usize,
    last_arrival: Instant,
    /// The writer has ended the stream.
    shut: bool,
    /// The reader has been told.
    ended: bool,
    reader: Option<Task>,
    writer: Option<Task>,
}

#[derive(Debug)]
struct Conn {
    peer: Peer,
    cut: Cut,
    window: usize,
    to_proxy: Pipe,
    to_peer: Pipe,
    /// What the peer has written and the window did not take yet.
    backlog: VecDeque<u8>,
    peer_done: bool,
    reset: bool,
    proxy_open: bool,
}

/// What a peer has sent, and what it has received.
type Recorded = (Vec<u8>, Vec<u8>);

/// All connections of the world.
#[derive(Debug)]
pub(super) struct Net {
    conns: Vec<Conn>,
    rng: Rng,
    closed: Rc<RefCell<Vec<ConnId>>>,
    pub(super) notices: Vec<Notice>,
    /// The most that one hop takes.
    max_delay: Duration,
    /// The task that is running.
    pub(super) running: Option<Task>,
    pub(super) now: Instant,
    /// Bytes that each peer has sent and received, if they are recorded.
    pub(super) record: Option<BTreeMap<ConnId, Recorded>>,
}

impl Net {
    pub(super) fn new(rng: Rng, max_delay: Duration) -> Self {
        Self {
            conns: Vec::new(),
            rng,
            closed: Rc::default(),
            notices: Vec::new(),
            max_delay,
            running: None,
            now: Instant::ORIGIN,
            record: None,
        }
    }

    pub(super) fn open(&mut self, peer: Peer, cut: Cut, window: usize) -> Socket {
        let conn = self.conns.len();
        self.conns.push(Conn {
            peer,
            cut,
            window,
            to_proxy: Pipe::default(),
            to_peer: Pipe::default(),
            backlog: VecDeque::new(),
            peer_done: false,
            reset: false,
            proxy_open: true,
        });
        Socket { conn, closed: self.closed.clone() }
    }

    pub(super) fn peer(&self, conn: ConnId) -> Peer {
        self.conns[conn].peer
    }

    /// Whether the proxy still holds its end.
    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.conns[conn].proxy_open
    }

    /// The connections whose proxy's end is open.
    pub(super) fn open_conns(&self) -> impl Iterator<Item = (ConnId, Peer)> {
        self.conns.iter().enumerate().filter(|(_, c)| c.proxy_open).map(|(id, c)| (id, c.peer))
    }

    /// Closes the ends that the proxy dropped: what it wrote still arrives, then the end.
    pub(super) fn close_dropped(&mut self) {
        let dropped = std::mem::take(&mut *self.closed.borrow_mut());
        for conn in dropped {
            let c = &mut self.conns[conn];
            c.proxy_open = false;
            c.backlog.clear();
            c.to_proxy = Pipe::default();
            c.to_proxy.shut = true;
            self.end(conn, Way::ToPeer);
        }
    }

    fn pipe(&mut self, conn: ConnId, way: Way) -> &mut Pipe {
        let c = &mut self.conns[conn];
        match way {
            Way::ToProxy => &mut c.to_proxy,
            Way::ToPeer => &mut c.to_peer,
        }
    }

    fn end(&mut self, conn: ConnId, way: Way) {
        let pipe = self.pipe(conn, way);
        if !pipe.shut {
            pipe.shut = true;
            self.send_segment(conn, way, Vec::new());
        }
    }

    fn send_segment(&mut self, conn: ConnId, way: Way, segment: Vec<u8>) {
        let most = u64::try_from(self.max_delay.as_nanos()).unwrap_or(u64::MAX);
        let delay = Duration::from_nanos(self.rng.between(1_000, most.max(1_000)));
        let now = self.now;
        let pipe = self.pipe(conn, way);
        let at = (now + delay).max(pipe.last_arrival);
        pipe.last_arrival = at;
        pipe.used += segment.len();
        pipe.flight.push_back(segment);
        self.notices.push(Notice::Deliver(at, conn, way));
    }

    /// Sends `bytes` cut as the connection is; all of them.
    fn send(&mut self, conn: ConnId, way: Way, mut bytes: &[u8]) {
        let cut = self.conns[conn].cut;
        let long = bytes.len() > 1_000;
        while !bytes.is_empty() {
            let n = match cut {
                Cut::Whole => bytes.len(),
                Cut::Bytes if !long => 1,
                Cut::Bytes => 1 + self.rng.below(97),
                Cut::Random => {
                    let most = if long || self.rng.chance(500) { 1_500 } else { 12 };
                    1 + self.rng.below(most)
                }
            };
            let (head, tail) = bytes.split_at(n.min(bytes.len()));
            self.send_segment(conn, way, head.to_vec());
            bytes = tail;
        }
    }

    /// Sends what must go out whatever the window is.
    pub(super) fn write_all(&mut self, socket: &mut Socket, bytes: &[u8]) {
        if !self.conns[socket.conn].reset {
            self.send(socket.conn, Way::ToPeer, bytes);
        }
    }

    /// A segment arrives.
    pub(super) fn deliver(&mut self, conn: ConnId, way: Way) {
        let pipe = self.pipe(conn, way);
        let Some(segment) = pipe.flight.pop_front() else { return };
        if segment.is_empty() {
            pipe.ended = true;
        }
        pipe.ready.extend(segment);
        match way {
            Way::ToProxy => {
                if let Some(task) = pipe.reader.take() {
                    self.notices.push(Notice::Wake(task));
                }
            }
            Way::ToPeer => self.notices.push(Notice::PeerReadable(conn)),
        }
    }

    // --- the peer's end -------------------------------------------------------------------------

    pub(super) fn peer_write(&mut self, conn: ConnId, bytes: &[u8]) {
        let c = &mut self.conns[conn];
        if c.reset || c.peer_done || !c.proxy_open {
            return;
        }
        if let Some(record) = &mut self.record {
            record.entry(conn).or_default().0.extend_from_slice(bytes);
        }
        c.backlog.extend(bytes);
        self.push_backlog(conn);
    }

    /// The peer sends no more.
    pub(super) fn peer_shut(&mut self, conn: ConnId) {
        self.conns[conn].peer_done = true;
        self.push_backlog(conn);
    }

    fn push_backlog(&mut self, conn: ConnId) {
        let c = &mut self.conns[conn];
        let n = c.window.saturating_sub(c.to_proxy.used).min(c.backlog.len());
        let bytes: Vec<u8> = c.backlog.drain(..n).collect();
        let done = c.peer_done && c.backlog.is_empty();
        self.send(conn, Way::ToProxy, &bytes);
        if done {
            self.end(conn, Way::ToProxy);
        }
    }

    /// Takes what has arrived at the peer, or a piece of it. `None`: the stream has ended.
    pub(super) fn peer_read(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        let c = &mut self.conns[conn];
        if c.reset {
            return None;
        }
        let all = c.to_peer.ready.len();
        if all == 0 {
            return if c.to_peer.ended { None } else { Some(Vec::new()) };
        }
        let n = if self.rng.chance(300) { 1 + self.rng.below(all) } else { all };
        let bytes: Vec<u8> = c.to_peer.ready.drain(..n).collect();
        c.to_peer.used -= n;
        if n < all || c.to_peer.ended {
            self.notices.push(Notice::PeerReadable(conn));
        }
        if let Some(task) = c.to_peer.writer.take() {
            self.notices.push(Notice::Wake(task));
        }
        if let Some(record) = &mut self.record {
            record.entry(conn).or_default().1.extend_from_slice(&bytes);
        }
        Some(bytes)
    }

    /// Breaks the connection at once, in both directions.
    pub(super) fn reset(&mut self, conn: ConnId) {
        let c = &mut self.conns[conn];
        if std::mem::replace(&mut c.reset, true) {
            return;
        }
        c.backlog.clear();
        for pipe in [&mut c.to_proxy, &mut c.to_peer] {
            pipe.flight.clear();
            pipe.ready.clear();
            pipe.used = 0;
            let waiting = [pipe.reader.take(), pipe.writer.take()];
            self.notices.extend(waiting.into_iter().flatten().map(Notice::Wake));
        }
        self.notices.push(Notice::PeerReadable(conn));
    }
}

impl Io<Socket> for Net {
    fn read(&mut self, socket: &mut Socket, room: &mut [u8]) -> Transfer {
        assert!(!room.is_empty(), "a read into no room");
        let conn = socket.conn;
        let some = self.conns[conn].cut != Cut::Whole && self.rng.chance(200);
        let limit = if some { 1 + self.rng.below(room.len()) } else { room.len() };
        let running = self.running;
        let c = &mut self.conns[conn];
        if c.reset {
            return Transfer::Closed;
        }
        let pipe = &mut c.to_proxy;
        let n = limit.min(pipe.ready.len());
        if n == 0 {
            if pipe.ended {
                return Transfer::Closed;
            }
            pipe.reader = running;
            return Transfer::Blocked;
        }
        for (place, byte) in room.iter_mut().zip(pipe.ready.drain(..n)) {
            *place = byte;
        }
        pipe.used -= n;
        self.push_backlog(conn);
        Transfer::Bytes(n)
    }

    fn write(&mut self, socket: &mut Socket, pieces: &[IoSlice<'_>]) -> Transfer {
        let conn = socket.conn;
        let running = self.running;
        let c = &mut self.conns[conn];
        if c.reset {
            return Transfer::Closed;
        }
        let free = c.window.saturating_sub(c.to_peer.used);
        if free == 0 {
            c.to_peer.writer = running;
            return Transfer::Blocked;
        }
        let mut bytes = Vec::new();
        for piece in pieces {
            let room = free.saturating_sub(bytes.len()).min(piece.len());
            bytes.extend_from_slice(piece.get(..room).unwrap_or_default());
        }
        assert!(!bytes.is_empty(), "a write of nothing");
        let mut n = bytes.len();
        if c.cut != Cut::Whole && self.rng.chance(100) {
            n = 1 + self.rng.below(n);
        }
        self.send(conn, Way::ToPeer, bytes.get(..n).unwrap_or_default());
        Transfer::Bytes(n)
    }
}
