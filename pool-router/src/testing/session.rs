//! What a PostgreSQL session does with the few statements of the simulated world.
//!
//! The fake server runs a [`Session`] to answer; the fake client runs another one over what it has
//! sent, to know what the answers must be.

use std::collections::BTreeMap;

use pgwire_core::encode;
use pgwire_core::frontend::{Bind, Close, Describe, Parse, Query, Target};
use pgwire_core::tag::{BackendTag, FrontendTag};
use pgwire_core::txn::TransactionStatus;

/// The parameter that only the session itself knows of.
pub(super) const STATE: &str = "app.state";

/// The reported parameter that follows its client.
pub(super) const ZONE: &str = "TimeZone";

/// What servers report.
pub(super) const REPORTED: [&str; 9] = [
    "server_version",
    "client_encoding",
    "standard_conforming_strings",
    ZONE,
    "in_hot_standby",
    "application_name",
    "DateStyle",
    "IntervalStyle",
    "integer_datetimes",
];

pub(super) type Vars = BTreeMap<String, String>;

/// One statement. The text in it (a nonce) names its client and is unique in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sql {
    /// `SELECT '…'`
    Select(String),
    /// `SELECT slow('…')`: takes its time and can be cancelled.
    Slow(String),
    /// `SELECT fail('…')`
    Fail(String),
    /// `INSERT INTO t VALUES ('…')`
    Insert(String),
    /// `BEGIN … /* … */`
    Begin(String, Modes),
    /// `SAVEPOINT name`
    Savepoint(String),
    /// `ROLLBACK TO [SAVEPOINT] name`
    RollbackTo(String),
    /// `COMMIT /* … */`
    Commit,
    /// `ROLLBACK`
    Rollback,
    /// `SET name TO '…'`
    Set(String, String),
    /// `RESET ALL`
    ResetAll,
    /// `RESET ROLE` and the like, of which the world has none.
    ResetOther,
    /// `DISCARD ALL`
    DiscardAll,
    /// `COPY t FROM STDIN /* … */`
    Copy(String),
    /// The proxy's question about the catalogue, in which there is nothing.
    Catalogue,
    /// Nothing.
    Empty,
    /// Not of this language.
    Unknown(String),
}

/// The modes of a transaction, as far as the world knows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Modes {
    /// `READ ONLY`
    pub(super) read_only: bool,
    /// `ISOLATION LEVEL REPEATABLE READ`: all of it on one server.
    pub(super) snapshot: bool,
}

/// What a session does in one step, with one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Statement(Sql),
    /// The end of a COPY: how many rows, or `None` for CopyFail.
    CopyEnd(Option<Vec<String>>),
    /// The end of a simple query.
    QueryEnd,
    Parse(String, String),
    Bind(String, String),
    DescribeStatement(String),
    DescribePortal,
    Execute,
    CloseStatement(String),
    Flush,
    Sync,
    /// A message that the world does not know.
    Other(u8),
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// These bytes.
    Exact(Vec<u8>),
    /// A row whose text begins like this; the server adds its node and process id.
    Row(String),
}

/// Why a step failed: SQLSTATE and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(pub(super) &'static str, pub(super) String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    Idle,
    Open,
    Failed,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) vars: Vars,
    pub(super) defaults: Vars,
    pub(super) block: Block,
    /// The parameters at the begin of the transaction that is under way.
    before: Option<Vars>,
    pending: Vec<String>,
    /// What was written for good; the owner takes it out.
    pub(super) committed: Vec<String>,
    statements: BTreeMap<String, String>,
    portal: Option<Sql>,
    pub(super) modes: Modes,
    /// Savepoints with the parameters and the number of writes at their time.
    savepoints: Vec<(String, Vars, usize)>,
}

impl Session {
    pub(super) fn new(defaults: Vars) -> Self {
        Self {
            vars: defaults.clone(),
            defaults,
            block: Block::Idle,
            before: None,
            pending: Vec::new(),
            committed: Vec::new(),
            statements: BTreeMap::new(),
            portal: None,
            modes: Modes::default(),
            savepoints: Vec::new(),
        }
    }

    pub(super) fn var(&self, name: &str) -> &str {
        self.vars.get(name).map_or("", String::as_str)
    }

    pub(super) fn status(&self) -> TransactionStatus {
        match self.block {
            Block::Idle => TransactionStatus::Idle,
            Block::Open => TransactionStatus::InTransaction,
            Block::Failed => TransactionStatus::Failed,
        }
    }

    /// Whether a transaction, be it an implicit one, has begun.
    pub(super) fn in_transaction(&self) -> bool {
        self.before.is_some() || self.block != Block::Idle
    }

    /// The statement that a portal or query runs, for those who must know before it runs.
    pub(super) fn about_to_run<'a>(&'a self, op: &'a Op) -> Option<&'a Sql> {
        match op {
            Op::Statement(sql) => Some(sql),
            Op::Execute => self.portal.as_ref(),
            _ => None,
        }
    }

    /// A simple query was begun, whatever comes of it.
    pub(super) fn query_begun(&mut self) {
        self.statements.remove("");
    }

    /// A step has failed: what the transaction did is undone.
    pub(super) fn fail(&mut self) {
        if self.block == Block::Idle {
            self.undo();
        } else {
            self.block = Block::Failed;
        }
    }

    fn undo(&mut self) {
        self.pending.clear();
        if let Some(before) = self.before.take() {
            self.vars = before;
        }
        self.ended();
    }

    fn commit(&mut self) {
        self.before = None;
        self.committed.append(&mut self.pending);
        self.ended();
    }

    fn ended(&mut self) {
        self.portal = None;
        self.modes = Modes::default();
        self.savepoints.clear();
    }

    /// Does one step. On failure, nothing but [`Session::fail`] is to follow.
    pub(super) fn run(&mut self, op: &Op) -> Result<Vec<Reply>, Failure> {
        let aborted = || {
            let text = "current transaction is aborted, commands ignored until end of block";
            Failure("25P02", text.to_owned())
        };
        match op {
            Op::QueryEnd | Op::Sync => {
                if self.block == Block::Idle {
                    self.commit();
                }
                return Ok(vec![exact(|out| encode::ready_for_query(out, self.status()))]);
            }
            Op::Flush => return Ok(Vec::new()),
            Op::Other(byte) => return Err(Failure("08P01", format!("message {byte}"))),
            _ => {}
        }
        if self.before.is_none() {
            self.before = Some(self.vars.clone());
        }
        match op {
            Op::Statement(sql) => {
                self.query_begun();
                self.execute(&sql.clone(), true)
            }
            Op::CopyEnd(None) => Err(Failure("57014", "COPY from stdin failed".to_owned())),
            Op::CopyEnd(Some(rows)) => {
                self.pending.extend(rows.iter().cloned());
                Ok(vec![done(&format!("COPY {}", rows.len()))])
            }
            Op::Parse(name, text) => {
                if name.is_empty() {
                    self.statements.remove("");
                }
                if self.block == Block::Failed && !ends_block(&parse_one(text)) {
                    return Err(aborted());
                }
                if !name.is_empty() && self.statements.contains_key(name) {
                    let text = format!("prepared statement \"{name}\" already exists");
                    return Err(Failure("42P05", text));
                }
                self.statements.insert(name.clone(), text.clone());
                Ok(vec![exact(encode::parse_complete)])
            }
            Op::Bind(name, param) => {
                let Some(text) = self.statements.get(name) else { return Err(missing(name)) };
                let sql = parse_one(&text.replace("$1", &format!("'{param}'")));
                if self.block == Block::Failed && !ends_block(&sql) {
                    return Err(aborted());
                }
                self.portal = Some(sql);
                Ok(vec![exact(encode::bind_complete)])
            }
            Op::DescribeStatement(name) => {
                let Some(text) = self.statements.get(name) else { return Err(missing(name)) };
                let sql = parse_one(&text.replace("$1", "''"));
                if self.block == Block::Failed && returns_rows(&sql) {
                    return Err(aborted());
                }
                let count = u16::from(text.contains("$1"));
                let mut types = Vec::new();
                types.extend_from_slice(&count.to_be_bytes());
                for _ in 0..count {
                    types.extend_from_slice(&25_u32.to_be_bytes());
                }
                let types = message(BackendTag::PARAMETER_DESCRIPTION, &types);
                Ok(vec![Reply::Exact(types), description(&sql)])
            }
            Op::DescribePortal => {
                let Some(sql) = &self.portal else { return Err(no_portal()) };
                if self.block == Block::Failed && returns_rows(sql) {
                    return Err(aborted());
                }
                Ok(vec![description(sql)])
            }
            Op::Execute => {
                let Some(sql) = self.portal.clone() else { return Err(no_portal()) };
                self.execute(&sql, false)
            }
            Op::CloseStatement(name) => {
                self.statements.remove(name);
                Ok(vec![exact(encode::close_complete)])
            }
            Op::QueryEnd | Op::Sync | Op::Flush | Op::Other(_) => Ok(Vec::new()),
        }
    }

    fn execute(&mut self, sql: &Sql, describe: bool) -> Result<Vec<Reply>, Failure> {
        if self.block == Block::Failed && !ends_block(sql) {
            return Err(Failure(
                "25P02",
                "current transaction is aborted, commands ignored until end of block".to_owned(),
            ));
        }
        let tag = match sql {
            Sql::Select(nonce) | Sql::Slow(nonce) => {
                let (zone, state, own) = (self.var(ZONE), self.var(STATE), self.pending.len());
                let row = format!("{nonce}|{zone}|{state}|{own}|");
                let mut replies = Vec::new();
                if describe {
                    replies.push(description(sql));
                }
                replies.push(Reply::Row(row));
                replies.push(done("SELECT 1"));
                return Ok(replies);
            }
            Sql::Fail(nonce) => return Err(Failure("22012", format!("failed as asked: {nonce}"))),
            Sql::Unknown(text) => {
                return Err(Failure("42601", format!("syntax error at or near \"{text}\"")));
            }
            Sql::Catalogue => {
                return Ok(vec![description(&Sql::Select(String::new())), done("SELECT 0")]);
            }
            Sql::Empty => return Ok(vec![exact(encode::empty_query)]),
            Sql::Insert(_) | Sql::Copy(_) if self.modes.read_only => {
                return Err(Failure("25006", "not in a read-only transaction".to_owned()));
            }
            Sql::Insert(nonce) => {
                self.pending.push(nonce.clone());
                "INSERT 0 1"
            }
            Sql::Begin(_, modes) => {
                self.block = Block::Open;
                self.modes = *modes;
                "BEGIN"
            }
            Sql::Savepoint(name) => {
                if self.block == Block::Idle {
                    let text = "SAVEPOINT can only be used in transaction blocks";
                    return Err(Failure("25P01", text.to_owned()));
                }
                self.savepoints.push((name.clone(), self.vars.clone(), self.pending.len()));
                "SAVEPOINT"
            }
            Sql::RollbackTo(name) => {
                let at = self.savepoints.iter().rposition(|(known, ..)| known == name);
                let Some((_, vars, writes)) = at.and_then(|at| self.savepoints.get(at)) else {
                    return Err(Failure("3B001", format!("savepoint \"{name}\" does not exist")));
                };
                self.vars = vars.clone();
                self.pending.truncate(*writes);
                self.savepoints.truncate(at.unwrap_or(0) + 1);
                self.block = Block::Open;
                "ROLLBACK"
            }
            Sql::Commit if self.block == Block::Failed => {
                self.block = Block::Idle;
                self.undo();
                "ROLLBACK"
            }
            Sql::Commit => {
                self.block = Block::Idle;
                self.commit();
                "COMMIT"
            }
            Sql::Rollback => {
                self.block = Block::Idle;
                self.undo();
                "ROLLBACK"
            }
            Sql::Set(name, value) => {
                self.vars.insert(name.clone(), value.clone());
                "SET"
            }
            Sql::ResetAll => {
                self.vars = self.defaults.clone();
                "RESET"
            }
            Sql::ResetOther => "RESET",
            Sql::DiscardAll if self.block != Block::Idle || !self.pending.is_empty() => {
                let text = "DISCARD ALL cannot run inside a transaction block";
                return Err(Failure("25001", text.to_owned()));
            }
            Sql::DiscardAll => {
                self.vars = self.defaults.clone();
                self.before = None;
                self.statements.clear();
                self.portal = None;
                "DISCARD ALL"
            }
            Sql::Copy(_) => {
                // Text, one column of text.
                return Ok(vec![Reply::Exact(message(BackendTag::COPY_IN, &[0, 0, 1, 0, 0]))]);
            }
        };
        Ok(vec![done(tag)])
    }
}

fn missing(name: &str) -> Failure {
    let text = if name.is_empty() {
        "unnamed prepared statement does not exist".to_owned()
    } else {
        format!("prepared statement \"{name}\" does not exist")
    };
    Failure("26000", text)
}

fn no_portal() -> Failure {
    Failure("34000", "portal \"\" does not exist".to_owned())
}

fn ends_block(sql: &Sql) -> bool {
    matches!(sql, Sql::Commit | Sql::Rollback | Sql::RollbackTo(_) | Sql::Empty)
}

fn returns_rows(sql: &Sql) -> bool {
    matches!(sql, Sql::Select(_) | Sql::Slow(_) | Sql::Fail(_))
}

fn exact(write: impl FnOnce(&mut Vec<u8>)) -> Reply {
    let mut out = Vec::new();
    write(&mut out);
    Reply::Exact(out)
}

fn done(tag: &str) -> Reply {
    exact(|out| encode::command_complete(out, tag.as_bytes()))
}

fn description(sql: &Sql) -> Reply {
    if !returns_rows(sql) {
        return exact(encode::no_data);
    }
    let mut body = vec![0, 1];
    body.extend_from_slice(b"?column?\0");
    body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    body.extend_from_slice(&[0, 0]);
    Reply::Exact(message(BackendTag::ROW_DESCRIPTION, &body))
}

/// A DataRow of one column.
pub(super) fn data_row(text: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
    message(BackendTag::DATA_ROW, &body)
}

fn message(tag: BackendTag, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag.as_byte()];
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// The steps that a message of the frontend stands for.
pub(super) fn ops(frame: &[u8]) -> Vec<Op> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let tag = FrontendTag::new(frame.first().copied().unwrap_or(0));
    let op = match tag {
        FrontendTag::QUERY => Query::parse(frame).ok().map(|query| {
            let sql = text(query.sql);
            let mut ops: Vec<Op> = if sql.contains("WITH RECURSIVE") {
                // The question about the catalogue.
                vec![Op::Statement(Sql::Catalogue)]
            } else {
                parse_sql(&sql).into_iter().map(Op::Statement).collect()
            };
            ops.push(Op::QueryEnd);
            ops
        }),
        FrontendTag::PARSE => {
            Parse::parse(frame).ok().map(|p| vec![Op::Parse(text(p.statement), text(p.sql))])
        }
        FrontendTag::BIND => Bind::parse(frame).ok().map(|bind| {
            // No formats, one parameter or none.
            let param = match bind.rest {
                [0, 0, 0, 1, _, _, _, _, rest @ ..] => rest.get(..rest.len().saturating_sub(2)),
                _ => None,
            };
            vec![Op::Bind(text(bind.statement), text(param.unwrap_or_default()))]
        }),
        FrontendTag::DESCRIBE => Describe::parse(frame).ok().map(|describe| {
            vec![match describe.target {
                Target::Statement => Op::DescribeStatement(text(describe.name)),
                Target::Portal => Op::DescribePortal,
            }]
        }),
        FrontendTag::CLOSE => {
            Close::parse(frame).ok().map(|c| vec![Op::CloseStatement(text(c.name))])
        }
        FrontendTag::EXECUTE => Some(vec![Op::Execute]),
        FrontendTag::FLUSH => Some(vec![Op::Flush]),
        FrontendTag::SYNC => Some(vec![Op::Sync]),
        _ => None,
    };
    op.unwrap_or_else(|| vec![Op::Other(tag.as_byte())])
}

/// Bind of the unnamed portal with one text parameter.
pub(super) fn bind(out: &mut Vec<u8>, statement: &str, param: &str) {
    out.push(b'B');
    let len = 4 + 1 + statement.len() + 1 + 2 + 2 + 4 + param.len() + 2;
    out.extend_from_slice(&u32::try_from(len).unwrap_or(0).to_be_bytes());
    out.push(0);
    out.extend_from_slice(statement.as_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 1]);
    out.extend_from_slice(&u32::try_from(param.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(param.as_bytes());
    out.extend_from_slice(&[0, 0]);
}

fn parse_one(text: &str) -> Sql {
    parse_sql(text).pop().unwrap_or(Sql::Empty)
}

/// Reads a query string.
pub(super) fn parse_sql(text: &str) -> Vec<Sql> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            b';' if !quoted => {
                statements.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    statements.push(&text[start..]);
    let mut parsed: Vec<Sql> =
        statements.iter().map(|s| s.trim()).filter(|s| !s.is_empty()).map(statement).collect();
    if parsed.is_empty() {
        parsed.push(Sql::Empty);
    }
    parsed
}

fn statement(text: &str) -> Sql {
    let literal = || text.split('\'').nth(1).unwrap_or_default().to_owned();
    let comment = || {
        let inside = text.split_once("/*").and_then(|(_, rest)| rest.split_once("*/"));
        inside.map_or_else(String::new, |(nonce, _)| nonce.trim().to_owned())
    };
    let starts = |word: &str| text.starts_with(word);
    if starts("SELECT '") {
        Sql::Select(literal())
    } else if starts("SELECT slow(") {
        Sql::Slow(literal())
    } else if starts("SELECT fail(") {
        Sql::Fail(literal())
    } else if starts("INSERT INTO t VALUES (") {
        Sql::Insert(literal())
    } else if starts("BEGIN") {
        let modes = Modes {
            read_only: text.contains(" READ ONLY"),
            snapshot: text.contains(" REPEATABLE READ"),
        };
        Sql::Begin(comment(), modes)
    } else if let Some(name) = text.strip_prefix("SAVEPOINT ") {
        Sql::Savepoint(name.to_owned())
    } else if let Some(name) = text.strip_prefix("ROLLBACK TO ") {
        Sql::RollbackTo(name.trim_start_matches("SAVEPOINT ").to_owned())
    } else if starts("COMMIT") {
        Sql::Commit
    } else if starts("ROLLBACK") || starts("ABORT") {
        Sql::Rollback
    } else if starts("RESET ALL") {
        Sql::ResetAll
    } else if starts("RESET ") {
        Sql::ResetOther
    } else if starts("DISCARD ALL") {
        Sql::DiscardAll
    } else if starts("COPY t FROM STDIN") {
        Sql::Copy(comment())
    } else if let Some((name, _)) =
        text.strip_prefix("SET ").and_then(|rest| rest.split_once(" TO "))
    {
        let name = REPORTED.iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(&name);
        Sql::Set((*name).to_owned(), literal())
    } else {
        Sql::Unknown(text.chars().take(20).collect())
    }
}

/// The nonce in a statement, which tells whose it is.
pub(super) fn nonce(sql: &Sql) -> Option<&str> {
    match sql {
        Sql::Select(n)
        | Sql::Slow(n)
        | Sql::Fail(n)
        | Sql::Insert(n)
        | Sql::Begin(n, _)
        | Sql::Copy(n) => Some(n),
        Sql::Set(name, value) if name == STATE => Some(value),
        _ => None,
    }
}

/// The client that a nonce belongs to.
pub(super) fn owner(nonce: &str) -> Option<usize> {
    nonce.strip_prefix('c')?.split('-').next()?.parse().ok()
}
