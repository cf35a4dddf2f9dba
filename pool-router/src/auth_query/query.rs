//! One conversation with a server about who somebody is.

use std::fmt;
use std::io::IoSlice;
use std::time::Duration;

use pgwire_core::auth::Secret;
use pgwire_core::backend::ErrorOrNotice;
use pgwire_core::encode;
use pgwire_core::error::DecodeError;
use pgwire_core::frame::Seen;
use pgwire_core::sqlstate::SqlState;
use pgwire_core::tag::{BackendTag, TagSet};
use pgwire_core::time::Instant;

use crate::buffers::Buffers;
use crate::io::{Io, Transfer};
use crate::link::Link;
use crate::login::{ConnectError, LoginPlan};

/// What the hub orders: to log in, and then to ask.
///
/// # Calling rule
/// Take [`AuthOrder::take_link`], or else log in by [`AuthOrder::login`]; run an [`AuthQuery`] over
/// the connection; report [`Hub::authenticated`](crate::hub::Hub::authenticated).
pub struct AuthOrder<S> {
    pub(crate) login: LoginPlan,
    pub(crate) link: Option<Box<Link<S>>>,
    /// It was given a connection, which may have died meanwhile.
    pub(crate) reused: bool,
    pub(crate) task: AuthTask,
    pub(crate) timeout: Option<Duration>,
}

/// What is to be found out.
#[derive(Debug, Clone)]
pub(crate) enum AuthTask {
    /// The passwords of these roles, by the query.
    Fetch { sql: Box<str>, names: Vec<Box<[u8]>> },
    /// Whether, and how, the login goes.
    Login,
}

impl<S> AuthOrder<S> {
    /// The connection that is to be used, if one is open.
    pub fn take_link(&mut self) -> Option<Box<Link<S>>> {
        self.link.take()
    }

    /// For the [`Login`](crate::login::Login) otherwise. The connection belongs to no pool.
    #[must_use]
    pub fn login(&self) -> &LoginPlan {
        &self.login
    }
}

impl<S> fmt::Debug for AuthOrder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthOrder")
            .field("login", &self.login)
            .field("reused", &self.reused)
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

/// Why a server did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthQueryError {
    /// There was no connection.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The connection ended before the answer.
    #[error("server closed the connection unexpectedly")]
    Closed,
    /// It took longer than `weir_auth_query_timeout`.
    #[error("timeout expired")]
    Timeout,
    /// The server does not speak the protocol.
    #[error("server violates the protocol: {0}")]
    Protocol(#[from] DecodeError),
}

/// What a server says of one role.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Its password, as an md5 hash or a SCRAM verifier.
    Secret(Secret),
    /// There is no such role, or it has no password that is valid now.
    Nothing,
    /// It refused the query.
    Refused { code: SqlState, message: Box<str> },
    /// The query is not one that finds passwords.
    Unfit(&'static str),
}

/// What a server said.
#[derive(Debug)]
pub struct Answers<S> {
    /// The connection, good for the next order.
    pub(crate) link: Box<Link<S>>,
    /// For each name.
    pub(crate) answers: Vec<Answer>,
}

/// What an [`AuthQuery`] needs from its runtime.
#[derive(Debug)]
pub enum AuthQueryTurn<S> {
    /// Wait until the socket is ready or this moment comes, then drive again.
    Wait(Option<Instant>),
    /// It is over: report this, and drop the query.
    Done(Result<Answers<S>, AuthQueryError>),
}

/// The questions of one [`AuthOrder`] over a logged-in connection.
///
/// # Calling rule
/// [`AuthQuery::drive`] until it answers [`AuthQueryTurn::Done`].
#[derive(Debug)]
pub struct AuthQuery<S> {
    link: Option<Box<Link<S>>>,
    names: Vec<Box<[u8]>>,
    output: Vec<u8>,
    written: usize,
    answers: Vec<Answer>,
    /// What the answer for the present name is so far.
    present: Option<Answer>,
    deadline: Option<Instant>,
}

impl<S> AuthQuery<S> {
    /// The questions of an order, over its connection or a fresh one.
    #[must_use]
    pub fn new(order: &AuthOrder<S>, link: Box<Link<S>>, now: Instant) -> Self {
        let mut output = Vec::new();
        let names = match &order.task {
            AuthTask::Login => Vec::new(),
            AuthTask::Fetch { sql, names } => {
                for name in names {
                    encode::parse(&mut output, b"", sql.as_bytes(), &[]);
                    bind(&mut output, name);
                    encode::execute(&mut output, b"", 2);
                    // Each for itself: an error in one answer is none in the next.
                    encode::sync(&mut output);
                }
                names.clone()
            }
        };
        Self {
            link: Some(link),
            answers: Vec::with_capacity(names.len()),
            names,
            output,
            written: 0,
            present: None,
            deadline: order.timeout.map(|timeout| now + timeout),
        }
    }

    /// Moves the conversation on as far as it goes.
    pub fn drive(
        &mut self,
        io: &mut impl Io<S>,
        buffers: &mut Buffers,
        now: Instant,
    ) -> AuthQueryTurn<S> {
        let Some(mut link) = self.link.take() else {
            return AuthQueryTurn::Done(Err(AuthQueryError::Closed));
        };
        let turn = self.step(&mut link, io, buffers, now);
        link.input.trim(buffers);
        match turn {
            Ok(false) => {
                self.link = Some(link);
                AuthQueryTurn::Wait(self.deadline)
            }
            Ok(true) => {
                let answers = std::mem::take(&mut self.answers);
                AuthQueryTurn::Done(Ok(Answers { link, answers }))
            }
            Err(error) => AuthQueryTurn::Done(Err(error)),
        }
    }

    fn step(
        &mut self,
        link: &mut Link<S>,
        io: &mut impl Io<S>,
        buffers: &mut Buffers,
        now: Instant,
    ) -> Result<bool, AuthQueryError> {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(AuthQueryError::Timeout);
        }
        loop {
            if self.answers.len() >= self.names.len() {
                return Ok(true);
            }
            let mut progress = false;
            while self.written < self.output.len() {
                let rest = self.output.get(self.written..).unwrap_or_default();
                match link.socket.write(io, &[IoSlice::new(rest)]) {
                    Transfer::Bytes(n) => self.written += n,
                    Transfer::Blocked => break,
                    Transfer::Closed => return Err(AuthQueryError::Closed),
                }
                progress = true;
            }
            match link.socket.read(io, link.input.room(buffers)) {
                Transfer::Bytes(n) => {
                    link.input.filled(n);
                    self.parse(link)?;
                }
                Transfer::Blocked if !progress => return Ok(false),
                Transfer::Blocked => {}
                Transfer::Closed => return Err(AuthQueryError::Closed),
            }
        }
    }

    fn parse(&mut self, link: &mut Link<S>) -> Result<(), AuthQueryError> {
        let Link { framer, input, .. } = link;
        while self.answers.len() < self.names.len() {
            let len = match framer.scan(input.unparsed(), TagSet::ALL)? {
                Seen::Need { .. } => return Ok(()),
                Seen::Run { bytes } => bytes,
                // Neither names nor verifiers are that long.
                Seen::Opening { have, .. } => have.len(),
                Seen::Message { tag, frame } => {
                    match tag {
                        BackendTag::DATA_ROW => {
                            let name = self.names.get(self.answers.len());
                            let name = name.map(|name| &**name).unwrap_or_default();
                            self.present = Some(match &self.present {
                                None => row(frame, name),
                                Some(_) => Answer::Unfit("it answers more than one row"),
                            });
                        }
                        BackendTag::ERROR => {
                            let error = ErrorOrNotice::parse(frame)?;
                            if error.is_fatal() {
                                return Err(AuthQueryError::Closed);
                            }
                            self.present = Some(refusal(&error));
                        }
                        BackendTag::READY => {
                            self.answers.push(self.present.take().unwrap_or(Answer::Nothing));
                        }
                        _ => {}
                    }
                    frame.len()
                }
            };
            input.decide(len);
            input.release(len);
        }
        Ok(())
    }
}

fn refusal(error: &ErrorOrNotice<'_>) -> Answer {
    let code = error.code().unwrap_or(SqlState::INTERNAL_ERROR);
    // A name that is no text of the database's encoding is nobody's.
    if code.class() == *b"22" {
        return Answer::Nothing;
    }
    let message = error.message().unwrap_or(b"(no message)");
    Answer::Refused { code, message: String::from_utf8_lossy(message).into() }
}

/// Takes name and password from a row (PostgreSQL docs, 55.7 "Message Formats", DataRow).
fn row(frame: &[u8], name: &[u8]) -> Answer {
    const TOO_FEW: Answer = Answer::Unfit("it does not answer the name and the password");
    let body = frame.get(5..).unwrap_or_default();
    let Some((_count, rest)) = body.split_first_chunk::<2>() else { return TOO_FEW };
    let Some((found, rest)) = column(rest) else { return TOO_FEW };
    let Some((password, _)) = column(rest) else { return TOO_FEW };
    if found != Some(name) {
        return Answer::Unfit("it answers another name than it was asked for");
    }
    match password {
        None | Some(b"") => Answer::Nothing,
        Some(password) => match Secret::parse_rolpassword(password) {
            // What is in clear text is no password of a role, but for instance the asterisks that
            // pg_user and pg_roles show instead: everybody knows them.
            Secret::Password(_) => {
                Answer::Unfit("it answers what is no md5 hash or SCRAM verifier")
            }
            secret => Answer::Secret(secret),
        },
    }
}

/// A column, NULL as none, and what is behind it.
fn column(row: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = row.split_first_chunk()?;
    match i32::from_be_bytes(*length) {
        -1 => Some((None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), rest))
        }
    }
}

/// A Bind of the unnamed statement to one text (PostgreSQL docs, 55.7 "Message Formats").
fn bind(out: &mut Vec<u8>, value: &[u8]) {
    // Portal, statement, no formats, one value, no formats of results.
    let Ok(length) = u32::try_from(value.len()) else { return };
    out.push(b'B');
    out.extend_from_slice(&length.saturating_add(16).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, 0, 1]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pgwire_core::cancel::{BackendKey, CancelKey};
    use pgwire_core::encode::{ErrorResponse, Severity};
    use pgwire_core::params::Params;
    use pgwire_core::txn::TransactionStatus;

    use super::*;
    use crate::config::BackendHost;
    use crate::identity::Identity;
    use crate::ids::{NodeId, ServerId};

    const VERIFIER: &str = "SCRAM-SHA-256$4096:hFm4Ddt/SnhXhSCEENq9HA==$nM+4lHdBPq2n++U7dcHxkqE5sJKAvoYWfIpAN++OVME=:Q5WPt+ipoFKnky58c+IcpFOiM6nua1vggZ0hoXnMSw4=";

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
            let piece = pieces[0].get(..pieces[0].len().min(11)).unwrap();
            self.heard.extend_from_slice(piece);
            Transfer::Bytes(piece.len())
        }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    fn row_of(columns: &[Option<&str>]) -> Vec<u8> {
        let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
        for column in columns {
            let length = column.map_or(-1, |text| i32::try_from(text.len()).unwrap());
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(column.unwrap_or("").as_bytes());
        }
        message(b'D', &body)
    }

    fn ready() -> Vec<u8> {
        let mut out = Vec::new();
        encode::ready_for_query(&mut out, TransactionStatus::Idle);
        out
    }

    fn error(code: &[u8; 5], severity: Severity) -> Vec<u8> {
        let mut out = Vec::new();
        let code = SqlState::from_bytes(code).unwrap();
        let error = ErrorResponse { severity, code, message: "no", detail: None, hint: None };
        encode::error_response(&mut out, &error);
        out
    }

    fn query(names: &[&str]) -> AuthQuery<()> {
        let server = ServerId { node: NodeId(0), index: u32::MAX, generation: 0 };
        let identity = Identity {
            user: b"auth".as_slice().into(),
            database: b"postgres".as_slice().into(),
            parameters: Vec::new(),
            credential: None,
        };
        let login = LoginPlan {
            server,
            host: BackendHost::Tcp("db".to_owned()),
            port: 5432,
            tls: crate::tls::Tls::default(),
            identity: Arc::new(identity),
            secret: None,
            must_be_primary: false,
            connect_timeout: None,
            login_timeout: None,
            pipeline_limit: 1,
        };
        let names = names.iter().map(|name| name.as_bytes().into()).collect();
        let task = AuthTask::Fetch { sql: "SELECT $1".into(), names };
        let timeout = Some(Duration::from_secs(5));
        let order = AuthOrder { login, link: None, reused: false, task, timeout };
        let key = BackendKey { pid: 1, key: CancelKey::new(&[1; 4]).unwrap() };
        let link = Box::new(Link::new(server, crate::tls::Wire::plain(()), key, Params::new(), 1));
        AuthQuery::new(&order, link, Instant::ORIGIN)
    }

    type Outcome = Result<Vec<Answer>, AuthQueryError>;

    fn ask(names: &[&str], says: &[Vec<u8>], piece: usize) -> (Outcome, Vec<u8>) {
        let mut script = Script { says: says.concat(), piece, ends: true, heard: Vec::new() };
        match query(names).drive(&mut script, &mut Buffers::new(), Instant::ORIGIN) {
            AuthQueryTurn::Done(result) => (result.map(|found| found.answers), script.heard),
            AuthQueryTurn::Wait(_) => panic!("it waits"),
        }
    }

    #[test]
    fn answers_belong_to_their_names_however_they_are_cut() {
        for piece in [1, 5, 100_000] {
            let says = [
                row_of(&[Some("a"), Some(VERIFIER)]),
                ready(),
                ready(),
                error(b"42501", Severity::Error),
                ready(),
                row_of(&[Some("d"), None]),
                ready(),
                error(b"22021", Severity::Error),
                ready(),
                row_of(&[Some("f"), Some("md5890621e9f597c9a65ae6d9b8db02e14c"), Some("more")]),
                ready(),
            ];
            let (result, heard) = ask(&["a", "b", "c", "d", "e", "f"], &says, piece);
            let answers = result.unwrap();
            let [a, b, c, d, e, f] = &answers[..] else { panic!("{answers:?}") };
            assert!(matches!(a, Answer::Secret(Secret::ScramVerifier(_))), "{a:?}");
            assert!(matches!(b, Answer::Nothing), "{b:?}");
            let denied = SqlState::INSUFFICIENT_PRIVILEGE;
            assert!(matches!(c, Answer::Refused { code, .. } if *code == denied), "{c:?}");
            assert!(matches!(d, Answer::Nothing), "{d:?}");
            assert!(matches!(e, Answer::Nothing), "{e:?}");
            assert!(matches!(f, Answer::Secret(Secret::Md5Hash(_))), "{f:?}");
            assert!(heard.starts_with(b"P"));
            assert_eq!(heard.iter().filter(|&&b| b == b'S').count(), 12, "SELECT and Sync, each");
        }
    }

    #[test]
    fn names_are_values_and_never_text_of_the_query() {
        let name = "x' OR ''='\\";
        let (result, heard) = ask(&[name], &[ready()], 9);
        assert!(matches!(result.unwrap()[..], [Answer::Nothing]));
        let bound =
            [&b"B\0\0\0\x1b\0\0\0\0\0\x01\0\0\0\x0b"[..], name.as_bytes(), b"\0\0"].concat();
        assert!(heard.windows(bound.len()).any(|part| part == bound), "{heard:?}");
        assert_eq!(heard.windows(3).filter(|part| *part == b"x' ").count(), 1);
    }

    #[test]
    fn what_is_no_answer_gives_no_password() {
        for unfit in [
            row_of(&[Some("a")]),
            row_of(&[]),
            row_of(&[Some("b"), Some(VERIFIER)]),
            row_of(&[None, Some(VERIFIER)]),
            row_of(&[Some("a"), Some("********")]),
            [row_of(&[Some("a"), Some(VERIFIER)]), row_of(&[Some("a"), Some(VERIFIER)])].concat(),
            message(b'D', &[0, 2, 0, 0, 0, 9, b'a']),
            message(b'D', &[0]),
        ] {
            let (result, _) = ask(&["a"], &[unfit, ready()], 100);
            assert!(matches!(result.as_deref(), Ok([Answer::Unfit(_)])), "{result:?}");
        }
        let half = [row_of(&[Some("a"), Some(VERIFIER)])];
        assert!(matches!(ask(&["a"], &half, 9).0, Err(AuthQueryError::Closed)));
        let fatal = [error(b"57P01", Severity::Fatal)];
        assert!(matches!(ask(&["a"], &fatal, 9).0, Err(AuthQueryError::Closed)));
        assert!(ask(&["a"], &[b"HTTP/1.1 400 Bad".to_vec()], 9).0.is_err());
    }

    #[test]
    fn it_does_not_wait_for_ever() {
        let mut script = Script { says: Vec::new(), piece: 9, ends: false, heard: Vec::new() };
        let mut query = query(&["a"]);
        let mut buffers = Buffers::new();
        let end = Instant::ORIGIN + Duration::from_secs(5);
        match query.drive(&mut script, &mut buffers, Instant::ORIGIN) {
            AuthQueryTurn::Wait(at) => assert_eq!(at, Some(end)),
            AuthQueryTurn::Done(result) => panic!("{result:?}"),
        }
        match query.drive(&mut script, &mut buffers, end) {
            AuthQueryTurn::Done(Err(AuthQueryError::Timeout)) => {}
            other => panic!("{other:?}"),
        }
    }
}
