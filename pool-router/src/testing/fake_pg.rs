//! Fake PostgreSQL servers: they speak the protocol, sign what they answer, and misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use pgwire_core::cancel::{BackendKey, CancelKey};
use pgwire_core::encode::{self, ErrorResponse, Severity};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::startup::{Initial, StartupPacket, parse_initial};
use pgwire_core::time::Instant;

use super::net::ConnId;
use super::rng::Rng;
use super::session::{self, Failure, Op, REPORTED, Reply, Session, Sql, Vars};

/// The time zone of a session that has not chosen one.
pub(super) const DEFAULT_ZONE: &str = "Etc/UTC";

/// How often (in 1000 steps) servers do what nobody asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chaos {
    /// A statement fails.
    pub(super) error: u64,
    /// A session ends, in one way or another.
    pub(super) die: u64,
    /// A notice, or a parameter that nobody knows.
    pub(super) chatter: u64,
    /// The server pauses.
    pub(super) pause: u64,
}

/// Whether a node takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Up,
    /// Nothing listens.
    Down,
    /// Connecting does not end.
    Hanging,
    /// Logins are refused with 57P03.
    Starting,
    /// Logins are refused with 53300.
    Full,
}

/// What the world shares with whoever acts.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) rng: Rng,
    pub(super) now: Instant,
    /// A server has failed: some errors may be seen.
    pub(super) faults: bool,
    /// The proxy is being shut down.
    pub(super) shutdown: bool,
    /// It is being shut down at once.
    pub(super) hurry: bool,
    /// There are fewer places than clients that hold them.
    pub(super) crowded: bool,
    /// What must not happen and did.
    pub(super) violations: Vec<String>,
    pub(super) trace: Option<Vec<String>>,
}

impl Scene {
    pub(super) fn violation(&mut self, text: String) {
        self.note(|| format!("VIOLATION {text}"));
        self.violations.push(text);
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12} {}", self.now.as_nanos() / 1_000, text()));
        }
    }
}

/// How a backend leaves its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Shut,
    Reset,
}

/// What comes of a backend's work.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) out: Vec<u8>,
    pub(super) end: Option<End>,
    /// It wants to go on after this time.
    pub(super) again: Option<Duration>,
    /// Another session has something to do.
    pub(super) poke: Option<ConnId>,
}

#[derive(Debug)]
enum Busy {
    Pause,
    Slow(Op),
}

#[derive(Debug)]
struct Backend {
    pid: u32,
    key: [u8; 4],
    started: bool,
    user: String,
    input: Vec<u8>,
    session: Session,
    ops: VecDeque<Op>,
    skip_to_sync: bool,
    copy: Option<Vec<u8>>,
    busy: Option<(Instant, Busy)>,
    cancelled: bool,
    /// The client whose transaction is under way.
    owner: Option<usize>,
    reported: Vars,
}

/// One server.
#[derive(Debug)]
pub(super) struct Node {
    id: usize,
    primary: bool,
    pub(super) health: Health,
    pub(super) chaos: Chaos,
    /// Parameter changes are reported at once, as before PostgreSQL 14, or at ReadyForQuery.
    reports_at_once: bool,
    backends: BTreeMap<ConnId, Backend>,
    next_pid: u32,
    /// The writes that were committed, in order.
    pub(super) log: Vec<String>,
    /// Rows that were sent.
    pub(super) rows: u64,
}

impl Node {
    /// The connections on which something is under way, or a transaction is open.
    pub(super) fn at_work(&self) -> impl Iterator<Item = ConnId> {
        self.backends
            .iter()
            .filter(|(_, it)| it.started && (it.owner.is_some() || !it.ops.is_empty()))
            .map(|(conn, _)| *conn)
    }

    pub(super) fn new(id: usize, primary: bool, chaos: Chaos, reports_at_once: bool) -> Self {
        let next_pid = u32::try_from(id).unwrap_or(0) * 100_000 + 1;
        Self {
            id,
            primary,
            health: Health::Up,
            chaos,
            reports_at_once,
            backends: BTreeMap::new(),
            next_pid,
            log: Vec::new(),
            rows: 0,
        }
    }

    pub(super) fn conns(&self) -> Vec<ConnId> {
        self.backends.keys().copied().collect()
    }

    pub(super) fn accept(&mut self, conn: ConnId) {
        let mut defaults = Vars::new();
        let standby = if self.primary { "off" } else { "on" };
        let values =
            ["15.4", "UTF8", "on", DEFAULT_ZONE, standby, "", "ISO, MDY", "postgres", "on"];
        for (name, value) in REPORTED.iter().zip(values) {
            defaults.insert((*name).to_owned(), value.to_owned());
        }
        self.backends.insert(
            conn,
            Backend {
                pid: self.next_pid,
                key: (!self.next_pid).to_be_bytes(),
                started: false,
                user: String::new(),
                input: Vec::new(),
                session: Session::new(defaults),
                ops: VecDeque::new(),
                skip_to_sync: false,
                copy: None,
                busy: None,
                cancelled: false,
                owner: None,
                reported: Vars::new(),
            },
        );
        self.next_pid += 1;
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.backends.remove(&conn);
    }

    /// Bytes arrived, or it is time to go on.
    pub(super) fn feed(&mut self, conn: ConnId, bytes: &[u8], scene: &mut Scene) -> Effects {
        let mut effects = Effects::default();
        if let Some(backend) = self.backends.get_mut(&conn) {
            backend.input.extend_from_slice(bytes);
        }
        while effects.end.is_none() && self.step(conn, &mut effects, scene) {}
        if effects.end.is_some() {
            self.forget(conn);
        }
        effects
    }

    /// The administrator ends a session.
    pub(super) fn terminate(&mut self, conn: ConnId) -> Effects {
        let mut effects = Effects { end: Some(End::Shut), ..Effects::default() };
        // In the middle of a message there is no room for the reason; the world ends it mutely.
        if self.backends.remove(&conn).is_some_and(|backend| backend.started) {
            fatal(&mut effects.out, "57P01", "terminating connection due to administrator command");
        }
        effects
    }

    /// Whether there is more to do.
    fn step(&mut self, conn: ConnId, effects: &mut Effects, scene: &mut Scene) -> bool {
        let Some(backend) = self.backends.get_mut(&conn) else { return false };
        if let Some((until, _)) = &backend.busy {
            let cut_short = backend.cancelled && matches!(backend.busy, Some((_, Busy::Slow(_))));
            if scene.now < *until && !cut_short {
                return false;
            }
            if let Some((_, Busy::Slow(op))) = backend.busy.take() {
                let cancelled = std::mem::take(&mut backend.cancelled);
                self.run(conn, &op, cancelled, effects, scene);
                return true;
            }
        }
        if !backend.started {
            return self.start(conn, effects, scene);
        }
        if scene.rng.chance(self.chaos.pause) {
            let pause = Duration::from_micros(scene.rng.between(1, 3_000));
            backend.busy = Some((scene.now + pause, Busy::Pause));
            effects.again = Some(pause);
            return false;
        }
        if backend.copy.is_none()
            && let Some(op) = backend.ops.pop_front()
        {
            if let Some(sql) = backend.session.about_to_run(&op)
                && matches!(sql, Sql::Slow(_))
            {
                let time = Duration::from_micros(scene.rng.between(500, 30_000));
                backend.busy = Some((scene.now + time, Busy::Slow(op)));
                backend.cancelled = false;
                effects.again = Some(time);
                return false;
            }
            self.run(conn, &op, false, effects, scene);
            return true;
        }
        let Some(frame) = take_frame(&mut backend.input) else { return false };
        let tag = frame.first().copied().unwrap_or(0);
        if tag == b'X' {
            effects.end = Some(End::Shut);
            return false;
        }
        if let Some(data) = &mut backend.copy {
            match tag {
                b'd' => data.extend_from_slice(frame.get(5..).unwrap_or_default()),
                b'c' => {
                    let text = String::from_utf8_lossy(data).into_owned();
                    backend.copy = None;
                    let rows = text.lines().map(str::to_owned).collect();
                    backend.ops.push_front(Op::CopyEnd(Some(rows)));
                }
                b'f' => {
                    backend.copy = None;
                    backend.ops.push_front(Op::CopyEnd(None));
                }
                b'H' | b'S' => {}
                _ => scene.violation(format!("message {} during COPY", char::from(tag))),
            }
            return true;
        }
        if matches!(tag, b'd' | b'c' | b'f') || (backend.skip_to_sync && tag != b'S') {
            return true;
        }
        backend.skip_to_sync = false;
        backend.ops.extend(session::ops(&frame));
        true
    }

    fn start(&mut self, conn: ConnId, effects: &mut Effects, scene: &mut Scene) -> bool {
        let Some(backend) = self.backends.get_mut(&conn) else { return false };
        let input = std::mem::take(&mut backend.input);
        let (packet, consumed) = match parse_initial(&input) {
            Ok(Initial::Packet { packet, consumed }) => (packet, consumed),
            Ok(Initial::Need { .. }) => {
                backend.input = input;
                return false;
            }
            Ok(Initial::DirectTls) | Err(_) => {
                scene.violation("a server got no startup packet".to_owned());
                effects.end = Some(End::Reset);
                return false;
            }
        };
        match packet {
            StartupPacket::Cancel { pid, key } => {
                for (other_conn, other) in &mut self.backends {
                    if other.started && other.pid == pid && other.key == key {
                        other.cancelled = true;
                        effects.poke = Some(*other_conn);
                    }
                }
                effects.end = Some(End::Shut);
                return false;
            }
            StartupPacket::SslRequest | StartupPacket::GssEncRequest => {
                scene.violation("a server was asked for encryption".to_owned());
                effects.end = Some(End::Reset);
                return false;
            }
            StartupPacket::Startup(message) => {
                let refusal = match self.health {
                    Health::Up | Health::Down | Health::Hanging => None,
                    Health::Starting => Some(("57P03", "the database system is starting up")),
                    Health::Full => Some(("53300", "sorry, too many clients already")),
                };
                if let Some((code, text)) = refusal {
                    fatal(&mut effects.out, code, text);
                    effects.end = Some(End::Shut);
                    return false;
                }
                for (name, value) in message.params() {
                    let (name, value) = (
                        String::from_utf8_lossy(name),
                        String::from_utf8_lossy(value).into_owned(),
                    );
                    if name == "user" {
                        backend.user = value;
                    } else if name != "database" {
                        backend.session.vars.insert(name.into_owned(), value);
                    }
                }
            }
        }
        backend.session.defaults = backend.session.vars.clone();
        backend.input = input.get(consumed..).unwrap_or_default().to_vec();
        backend.started = true;
        encode::authentication_ok(&mut effects.out);
        for name in REPORTED {
            let value = backend.session.var(name);
            encode::parameter_status(&mut effects.out, name.as_bytes(), value.as_bytes());
        }
        backend.reported = backend.session.vars.clone();
        if let Ok(key) = CancelKey::new(&backend.key) {
            encode::backend_key_data(&mut effects.out, &BackendKey { pid: backend.pid, key });
        }
        encode::ready_for_query(&mut effects.out, backend.session.status());
        let (id, pid) = (self.id, backend.pid);
        scene.note(|| format!("node {id} session {pid} on conn {conn} begins"));
        true
    }

    /// Does one step of a session.
    fn run(
        &mut self,
        conn: ConnId,
        op: &Op,
        cancelled: bool,
        effects: &mut Effects,
        scene: &mut Scene,
    ) {
        let Some(backend) = self.backends.get_mut(&conn) else { return };
        let (id, pid) = (self.id, backend.pid);
        scene.note(|| format!("node {id} session {pid} runs {}", short(op)));
        let sql = backend.session.about_to_run(op).cloned();
        let nonce = sql.as_ref().and_then(session::nonce).unwrap_or_default().to_owned();
        if let Some(owner) = session::owner(&nonce) {
            if backend.session.in_transaction()
                && let Some(other) = backend.owner
                && other != owner
            {
                scene.violation(format!(
                    "node {id} session {pid}: {nonce} inside of a transaction of client {other}"
                ));
            }
            backend.owner = Some(owner);
        }
        let writes = matches!(sql, Some(Sql::Insert(_) | Sql::Copy(_)));
        let fails = matches!(sql, Some(Sql::Select(_) | Sql::Insert(_) | Sql::Slow(_)))
            && scene.rng.chance(self.chaos.error);
        let dies = scene.rng.chance(self.chaos.die);
        let manner = scene.rng.below(4);
        if dies {
            scene.faults = true;
            scene.note(|| format!("node {id} session {pid} dies, manner {manner}"));
            match manner {
                0 => {
                    let text = "terminating connection due to administrator command";
                    fatal(&mut effects.out, "57P01", text);
                    effects.end = Some(End::Shut);
                    return;
                }
                1 => {
                    effects.end = Some(End::Reset);
                    return;
                }
                // After the work, in the middle of the answer.
                _ => effects.end = Some(if manner == 2 { End::Shut } else { End::Reset }),
            }
        }
        let before = effects.out.len();
        if scene.rng.chance(self.chaos.chatter) {
            if scene.rng.chance(500) {
                chatter(&mut effects.out);
            } else {
                let value = scene.rng.below(1_000).to_string();
                encode::parameter_status(&mut effects.out, b"sim.weather", value.as_bytes());
            }
        }
        let result = if cancelled {
            Err(Failure("57014", format!("canceling statement due to user request: {nonce}")))
        } else if writes
            && !self.primary
            && !backend.session.modes.read_only
            && backend.session.block != session::Block::Failed
        {
            scene.violation(format!("{nonce} was to be written by standby {id}"));
            Err(Failure("25006", "cannot execute INSERT in a read-only transaction".to_owned()))
        } else if fails && backend.session.block != session::Block::Failed {
            Err(Failure("40001", format!("could not serialize access: {nonce}")))
        } else {
            backend.session.run(op)
        };
        let is_end = matches!(op, Op::QueryEnd | Op::Sync);
        let report = is_end || self.reports_at_once;
        match result {
            Ok(replies) => {
                let mut last = Vec::new();
                for reply in replies {
                    match reply {
                        Reply::Exact(bytes) if is_end => last = bytes,
                        Reply::Exact(bytes) => effects.out.extend_from_slice(&bytes),
                        Reply::Row(text) => {
                            self.rows += 1;
                            let row = session::data_row(&format!("{text}{id}|{pid}"));
                            effects.out.extend_from_slice(&row);
                        }
                    }
                }
                if matches!(sql, Some(Sql::Copy(_))) {
                    backend.copy = Some(Vec::new());
                }
                if report {
                    backend.report(&mut effects.out);
                }
                effects.out.extend_from_slice(&last);
            }
            Err(Failure(code, text)) => {
                backend.session.fail();
                if matches!(op, Op::Statement(_)) {
                    backend.session.query_begun();
                }
                error(&mut effects.out, Severity::Error, code, &text);
                if report {
                    backend.report(&mut effects.out);
                }
                // The rest of a simple query is dropped; of a batch, up to its Sync.
                match backend.ops.iter().position(|op| *op == Op::QueryEnd) {
                    Some(end) => drop(backend.ops.drain(..end)),
                    None => {
                        backend.ops.clear();
                        backend.skip_to_sync = true;
                    }
                }
            }
        }
        self.log.append(&mut backend.session.committed);
        if !backend.session.in_transaction() {
            backend.owner = None;
        }
        if dies {
            let written = effects.out.len() - before;
            effects.out.truncate(before + scene.rng.below(written + 1));
        }
    }
}

impl Backend {
    fn report(&mut self, out: &mut Vec<u8>) {
        for name in REPORTED {
            let value = self.session.var(name);
            if self.reported.get(name).map_or("", String::as_str) != value {
                encode::parameter_status(out, name.as_bytes(), value.as_bytes());
                self.reported.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Cuts one message off.
pub(super) fn take_frame(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = input.get(1..)?.first_chunk::<4>()?;
    let total = usize::try_from(u32::from_be_bytes(*len)).ok()?.checked_add(1)?;
    if input.len() < total {
        return None;
    }
    let rest = input.split_off(total);
    Some(std::mem::replace(input, rest))
}

fn error(out: &mut Vec<u8>, severity: Severity, code: &str, message: &str) {
    let code = SqlState::from_bytes(code.as_bytes()).unwrap_or(SqlState::INTERNAL_ERROR);
    encode::error_response(
        out,
        &ErrorResponse { severity, code, message, detail: None, hint: None },
    );
}

fn fatal(out: &mut Vec<u8>, code: &str, message: &str) {
    error(out, Severity::Fatal, code, message);
}

fn chatter(out: &mut Vec<u8>) {
    let notice = ErrorResponse {
        severity: Severity::Notice,
        code: SqlState::SUCCESSFUL_COMPLETION,
        message: "it is raining",
        detail: None,
        hint: None,
    };
    encode::notice_response(out, &notice);
}

/// What a step is called in the trace.
pub(super) fn short(op: &Op) -> String {
    format!("{op:?}").chars().take(100).collect()
}

/// The time zones that clients choose from.
pub(super) const ZONES: [&str; 4] = ["Europe/Oslo", "Asia/Tokyo", "America/Lima", DEFAULT_ZONE];
