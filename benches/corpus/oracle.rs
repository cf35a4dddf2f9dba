//! Truth by experiment: between `psql` and the primary, each statement that may be a read is tried
//! on the standby before the primary runs it.
//!
//! Commits wait until the standby has replayed them, so both servers have the same committed state
//! whenever a statement begins. The standby's session gets the primary session's parameters and
//! role. Nothing is held open on the standby: each statement is a transaction of its own there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use pool_router::classify::{
    ClientEncoding, EndKind, Lexing, Pin, StatementCount, Target, Verdict, classify_with,
};
use testbed::cluster::ADMIN;
use testbed::raw_client::Message;
use testbed::{Address, Cluster, Node, RawClient, wire};

use crate::Options;
use crate::baselines;
use crate::catalogue::Catalogue;
use crate::report;
use crate::suite::Suite;

/// Where a statement stands in its session's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Outside an explicit transaction.
    Outside,
    /// In one that has not written yet.
    Reading,
    /// In one that has written: the standby does not see what it sees.
    Wrote,
    /// In one that has failed.
    Failed,
}

/// How a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Of rows, copied data and CommandComplete.
    hash: u64,
    /// Rows, or pieces of copied data.
    pub(crate) rows: usize,
    /// SQLSTATE and text of the error.
    pub(crate) error: Option<(String, String)>,
}

/// One statement, what was said of it and what is true.
pub(crate) struct Record {
    pub(crate) test: String,
    pub(crate) sql: Vec<u8>,
    pub(crate) verdict: Verdict,
    pub(crate) place: Place,
    /// The session had state that keeps it on the primary.
    pub(crate) pinned: bool,
    /// The session had made temporary objects.
    pub(crate) temporary: bool,
    /// What the compared rules say: starts-with-SELECT; parsed, where that can be.
    pub(crate) select: bool,
    pub(crate) parsed: Option<bool>,
    /// Answers of standby and primary, if it was tried on the standby.
    pub(crate) truth: Option<(Outcome, Outcome)>,
}

struct Shared {
    addresses: [Address; 2],
    test: Mutex<String>,
    records: Mutex<Vec<Record>>,
}

/// Runs the suite and reports.
pub(crate) fn run(options: &Options) -> Result<String, String> {
    let suite = Suite::start(options, "oracle")?;
    let cluster = &suite.cluster;
    prepare_standby(cluster);
    let shared = Arc::new(Shared {
        addresses: Node::ALL.map(|node| cluster.address(node)),
        test: Mutex::default(),
        records: Mutex::default(),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    let serving = Arc::clone(&shared);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&serving);
            std::thread::spawn(move || Session::serve(stream, &shared));
        }
    });
    for test in &suite.tests {
        test.clone_into(&mut shared.test.lock().unwrap_or_else(PoisonError::into_inner));
        suite.run(test, port)?;
    }
    let records =
        std::mem::take(&mut *shared.records.lock().unwrap_or_else(PoisonError::into_inner));
    report::keep(&records, &options.keep.join("statements.tsv"))?;
    Ok(report::render(&records))
}

/// A statement that waits for a lock which replay holds must not wait for ever.
fn prepare_standby(cluster: &Cluster) {
    cluster.sql(Node::Standby, "postgres", "ALTER SYSTEM SET lock_timeout = '3s'");
    cluster.sql(Node::Standby, "postgres", "SELECT pg_reload_conf()");
    cluster.wait_until(Node::Standby, "SELECT current_setting('lock_timeout') = '3s'");
}

/// The client's side of a connection.
struct Client(TcpStream);

impl Client {
    /// A packet without a tag: code and body.
    fn packet(&mut self) -> Option<Vec<u8>> {
        self.body()
    }

    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut tag = [0];
        self.0.read_exact(&mut tag).ok()?;
        Some((tag[0], self.body()?))
    }

    fn body(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        let mut body = vec![0; length.checked_sub(4)?];
        self.0.read_exact(&mut body).ok()?;
        Some(body)
    }

    fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.0.write_all(bytes).ok()
    }
}

struct Session<'s> {
    shared: &'s Shared,
    client: Client,
    primary: RawClient,
    standby: RawClient,
    catalogue: Catalogue,
    /// Status byte of the primary's last ReadyForQuery.
    status: u8,
    wrote: bool,
    pinned: bool,
    temporary: bool,
    /// The standby's parameters or role may differ from the primary's.
    parameters_stale: bool,
}

impl<'s> Session<'s> {
    /// A whole connection, to its end.
    fn serve(stream: TcpStream, shared: &'s Shared) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut client = Client(stream);
        let startup = loop {
            let packet = client.packet()?;
            match packet.first_chunk::<4>().map(|code| u32::from_be_bytes(*code)) {
                Some(wire::SSL_REQUEST | wire::GSSENC_REQUEST) => client.send(b"N")?,
                Some(wire::PROTOCOL_3_0) => break packet,
                Some(code) => {
                    let [primary, _] = &shared.addresses;
                    let body = packet.get(4..).unwrap_or_default();
                    RawClient::open(primary).send(&wire::untagged(code, body));
                    return None;
                }
                None => return None,
            }
        };
        let startup = startup.get(4..)?;
        let strings: Vec<_> = startup.split(|&b| b == 0).map(String::from_utf8_lossy).collect();
        let database = strings
            .as_chunks::<2>()
            .0
            .iter()
            .find_map(|[name, value]| (name == "database").then(|| value.to_string()))?;
        let open = |address| {
            let mut server = RawClient::open(address);
            server.send(&wire::untagged(wire::PROTOCOL_3_0, startup));
            server
        };
        let [primary, standby] = &shared.addresses;
        let control = RawClient::try_connect(primary, ADMIN, &database).ok();
        let mut primary_link = open(primary);
        loop {
            let message = primary_link.next()?;
            client.send(&wire::message(message.tag, &message.body))?;
            match message.tag {
                b'E' => return None,
                b'Z' => break,
                _ => {}
            }
        }
        let mut standby = open(standby);
        standby.finish_login().ok()?;
        Self {
            shared,
            client,
            primary: primary_link,
            standby,
            catalogue: Catalogue::new(control?),
            status: b'I',
            wrote: false,
            pinned: false,
            temporary: false,
            parameters_stale: false,
        }
        .statements()
    }

    fn statements(mut self) -> Option<()> {
        loop {
            let (tag, body) = self.client.message()?;
            match tag {
                b'Q' => self.query(&body)?,
                b'X' => return None,
                _ => {
                    self.primary.send(&wire::message(tag, &body));
                    if matches!(tag, b'S' | b'F') {
                        self.reply()?;
                    }
                }
            }
        }
    }

    fn query(&mut self, body: &[u8]) -> Option<()> {
        let sql = body.strip_suffix(&[0]).unwrap_or(body);
        if baselines::may_read(sql) {
            self.catalogue.refresh();
        }
        let verdict = classify_with(sql, &self.lexing(), &mut &mut self.catalogue);
        let place = match self.status {
            b'I' => Place::Outside,
            b'T' if self.wrote => Place::Wrote,
            b'T' => Place::Reading,
            _ => Place::Failed,
        };
        let tried =
            if matches!(place, Place::Outside | Place::Reading) && is_candidate(sql, &verdict) {
                self.synchronise();
                Some(self.on_standby(body))
            } else {
                None
            };
        self.primary.send(&wire::message(b'Q', body));
        let outcome = self.reply()?;
        self.standby_follows(sql, &verdict);
        let record = Record {
            test: self.shared.test.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            sql: sql.to_vec(),
            verdict,
            place,
            pinned: self.pinned,
            temporary: self.temporary,
            select: baselines::starts_with_select(sql),
            parsed: baselines::parsed(sql),
            truth: tried.map(|standby| (standby, outcome)),
        };
        self.shared.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        // As the proxy has it: what a statement may leave behind counts from when it is sent.
        self.pinned |= verdict.effects.pins_session.is_some();
        self.temporary |=
            matches!(verdict.effects.pins_session, Some(Pin::TemporaryObject | Pin::Unreadable));
        Some(())
    }

    fn lexing(&self) -> Lexing {
        let parameter = |name| self.primary.parameters.get(name).map_or("", String::as_str);
        Lexing {
            standard_conforming_strings: parameter("standard_conforming_strings") != "off",
            encoding: ClientEncoding::of_name(parameter("client_encoding").as_bytes()),
        }
    }

    /// Notes what a statement that the primary has run changes.
    fn standby_follows(&mut self, sql: &[u8], verdict: &Verdict) {
        self.wrote = match self.status {
            b'I' => false,
            _ if verdict.effects.begin.is_some() => false,
            _ => self.wrote || verdict.effects.writes,
        };
        let word = baselines::first_word(sql);
        let changes_rows = matches!(
            word.as_str(),
            "select"
                | "with"
                | "values"
                | "table"
                | "show"
                | "explain"
                | "insert"
                | "update"
                | "delete"
                | "fetch"
                | "move"
                | "copy"
                | "set"
                | "declare"
                | "close"
        );
        if !changes_rows || verdict.statements == StatementCount::Many {
            self.catalogue.changed();
        }
        let effects = verdict.effects;
        self.parameters_stale |= effects.sets != pool_router::classify::Sets::default()
            || effects.begin.is_some()
            || effects.savepoint.is_some()
            || effects.end.is_some_and(|end| end.kind != EndKind::Prepare)
            || effects.unpins.discard_all
            || matches!(word.as_str(), "set" | "reset" | "do" | "call" | "alter" | "load")
            || verdict.statements == StatementCount::Many
            || sql.to_ascii_lowercase().windows(10).any(|text| text == b"set_config");
    }

    /// Gives the standby's session the parameters and the role of the primary's.
    fn synchronise(&mut self) {
        const READ: &str = "
            SELECT pg_catalog.current_setting('role'), session_user,
                pg_catalog.array_to_string(ARRAY(
                    SELECT pg_catalog.format('pg_catalog.set_config(%L, %L, false)', name, setting)
                    FROM pg_catalog.pg_settings
                    WHERE source = 'session' AND context NOT IN ('internal', 'postmaster')
                        AND name NOT LIKE 'transaction\\_%' AND name NOT IN ('role', 'seed',
                            'session_authorization', 'synchronous_commit')
                    ORDER BY name), ', ')";
        if !std::mem::take(&mut self.parameters_stale) {
            return;
        }
        let reply = self.primary.query(READ);
        let Some([role, user, settings]) =
            reply.rows.first().and_then(|row| <&[_; 3]>::try_from(row.as_slice()).ok())
        else {
            return;
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        self.standby.query("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL");
        if !text(settings).is_empty() {
            self.standby.query(&format!("SELECT {}", text(settings)));
        }
        self.standby.query(&format!("SET SESSION AUTHORIZATION \"{}\"", text(user)));
        if text(role) != "none" {
            self.standby.query(&format!("SET ROLE \"{}\"", text(role)));
        }
    }

    fn on_standby(&mut self, body: &[u8]) -> Outcome {
        self.standby.send(&wire::message(b'Q', body));
        let mut gathered = Gathered::default();
        while let Some(message) = self.standby.next() {
            gathered.take(&message);
            match message.tag {
                b'G' => self.standby.send(&wire::message(b'f', b"no data\0")),
                b'Z' => break,
                _ => {}
            }
        }
        gathered.outcome()
    }

    /// Passes the primary's reply on, to ReadyForQuery.
    fn reply(&mut self) -> Option<Outcome> {
        let mut gathered = Gathered::default();
        loop {
            let message = self.primary.next()?;
            gathered.take(&message);
            self.client.send(&wire::message(message.tag, &message.body))?;
            match message.tag {
                b'G' => self.copy_in()?,
                b'Z' => {
                    self.status = message.body.first().copied()?;
                    return Some(gathered.outcome());
                }
                _ => {}
            }
        }
    }

    fn copy_in(&mut self) -> Option<()> {
        loop {
            let (tag, body) = self.client.message()?;
            self.primary.send(&wire::message(tag, &body));
            if matches!(tag, b'c' | b'f') {
                return Some(());
            }
        }
    }
}

#[derive(Default)]
struct Gathered {
    hasher: DefaultHasher,
    rows: usize,
    error: Option<(String, String)>,
}

impl Gathered {
    fn take(&mut self, message: &Message) {
        match message.tag {
            b'D' | b'd' => {
                self.rows += 1;
                message.body.hash(&mut self.hasher);
            }
            b'C' | b'T' | b'I' => {
                message.tag.hash(&mut self.hasher);
                if message.tag == b'C' {
                    message.body.hash(&mut self.hasher);
                }
            }
            b'E' => {
                let fault = message.fault();
                self.error = Some((fault.code, fault.message));
            }
            _ => {}
        }
    }

    fn outcome(self) -> Outcome {
        Outcome { hash: self.hasher.finish(), rows: self.rows, error: self.error }
    }
}

/// Whether a statement is tried on the standby: it may be a read, and does nothing to the server
/// or to files that would be in the way of those that follow.
fn is_candidate(sql: &[u8], verdict: &Verdict) -> bool {
    const NEVER: [&str; 9] = [
        "lo_export",
        "pg_cancel_backend",
        "pg_promote",
        "pg_reload_conf",
        "pg_rotate_logfile",
        "pg_sleep",
        "pg_stat_force_next_flush",
        "pg_terminate_backend",
        "pg_wal_replay",
    ];
    if verdict.target != Target::Read && !baselines::may_read(sql) {
        return false;
    }
    let text = String::from_utf8_lossy(sql).to_lowercase();
    let to_file = text.trim_start().starts_with("copy") && !text.contains("stdout");
    !to_file
        && verdict.statements != StatementCount::Many
        && !NEVER.iter().any(|name| text.contains(name))
}
