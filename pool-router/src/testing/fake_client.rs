//! Fake clients: they run scripts and check every byte of what comes back.

use std::collections::VecDeque;

use pgwire_core::auth::{AuthStep, ClientAuth, Secret};
use pgwire_core::backend::{BackendKeyData, ErrorOrNotice, ParameterStatus, ReadyForQuery};
use pgwire_core::cancel::{BackendKey, CancelKey};
use pgwire_core::encode;
use pgwire_core::startup::ProtocolVersion;

use super::fake_pg::{Scene, short, take_frame};
use super::net::ConnId;
use super::script::Unit;
use super::session::{self, Block, Failure, Op, Reply, STATE, Session, Sql, Vars, ZONE};

/// How a client that has had enough leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Shut,
    Reset,
}

/// What became of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Its script was served to the end.
    Served,
    /// It was told why it was not served (any further).
    Refused,
    /// Its connection was closed without a word, which only a failing server excuses.
    Closed,
    /// It left by itself in the middle of its script.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It waits for the answer to its SSLRequest.
    Encryption,
    LoggingIn,
    Ready,
    /// It only has a cancel request to deliver.
    Canceller,
}

/// How rows of the primary are signed.
const PRIMARY: &str = "0|";

/// What a client wants done.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) send: Vec<u8>,
    pub(super) exit: Option<Exit>,
    /// It can send more, a little later.
    pub(super) tick: bool,
    pub(super) cancel: Option<BackendKey>,
}

/// Who a client says it is.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) database: String,
    pub(super) zone: Option<String>,
    /// What `DISCARD ALL` goes back to.
    pub(super) default_zone: String,
    pub(super) password: Option<String>,
    pub(super) asks_for_encryption: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    id: usize,
    pub(super) conn: ConnId,
    stage: Stage,
    login: Login,
    auth: ClientAuth,
    input: Vec<u8>,
    units: VecDeque<Unit>,
    /// Parts of the unit that is being sent.
    parts: VecDeque<Vec<u8>>,
    /// Units sent and not answered, and how many there may be.
    in_flight: usize,
    depth: usize,
    /// The one in flight bears no company.
    alone: bool,
    copy_data: VecDeque<Vec<u8>>,
    /// What was asked and not answered.
    asked: VecDeque<Op>,
    /// What is left of the answer to the first of them.
    answer: Option<VecDeque<Reply>>,
    /// The session as it was before that step.
    before: Option<Session>,
    session: Session,
    /// The parameters that it was told.
    heard: Vars,
    key: Option<BackendKey>,
    cancelled: bool,
    /// The session that served the transaction under way, as rows are signed.
    signature: Option<String>,
    /// It leaves when it has sent that much.
    leaves_after: Option<(usize, Exit)>,
    sent: usize,
    fatal: bool,
    pub(super) outcome: Option<Outcome>,
    /// Writes that were confirmed.
    pub(super) confirmed: Vec<String>,
    pub(super) rows: u64,
}

impl Client {
    pub(super) fn new(
        id: usize,
        conn: ConnId,
        login: Login,
        units: Vec<Unit>,
        depth: usize,
        nonce: [u8; 18],
    ) -> Self {
        let secret = login.password.as_ref().map(|text| Secret::password(text.as_bytes()));
        Self {
            id,
            conn,
            stage: if login.asks_for_encryption { Stage::Encryption } else { Stage::LoggingIn },
            auth: ClientAuth::new(login.user.as_bytes(), secret, nonce),
            login,
            input: Vec::new(),
            units: units.into(),
            parts: VecDeque::new(),
            in_flight: 0,
            depth,
            alone: false,
            copy_data: VecDeque::new(),
            asked: VecDeque::new(),
            answer: None,
            before: None,
            session: Session::new(Vars::new()),
            heard: Vars::new(),
            key: None,
            cancelled: false,
            signature: None,
            leaves_after: None,
            sent: 0,
            fatal: false,
            outcome: None,
            confirmed: Vec::new(),
            rows: 0,
        }
    }

    /// A connection that delivers a cancel request.
    pub(super) fn canceller(id: usize, conn: ConnId) -> Self {
        let login = Login {
            user: String::new(),
            database: String::new(),
            zone: None,
            default_zone: String::new(),
            password: None,
            asks_for_encryption: false,
        };
        let mut client = Self::new(id, conn, login, Vec::new(), 1, [0; 18]);
        client.stage = Stage::Canceller;
        client
    }

    pub(super) fn leaves_after(&mut self, bytes: usize, exit: Exit) {
        self.leaves_after = Some((bytes, exit));
    }

    /// The first bytes.
    pub(super) fn begin(&mut self, cancel: Option<&BackendKey>) -> Wishes {
        let mut wishes = Wishes::default();
        match (self.stage, cancel) {
            (Stage::Canceller, Some(key)) => encode::cancel_request(&mut wishes.send, key),
            (Stage::Encryption, _) => encode::ssl_request(&mut wishes.send),
            _ => self.startup(&mut wishes.send),
        }
        self.sending(&mut wishes);
        wishes
    }

    fn startup(&self, out: &mut Vec<u8>) {
        let mut params = vec![
            (&b"user"[..], self.login.user.as_bytes()),
            (b"database", self.login.database.as_bytes()),
        ];
        if let Some(zone) = &self.login.zone {
            params.push((b"TimeZone", zone.as_bytes()));
        }
        encode::startup(out, ProtocolVersion::V3_0, params);
    }

    /// Takes account of what is sent; the client may leave in the middle of it.
    fn sending(&mut self, wishes: &mut Wishes) {
        self.sent += wishes.send.len();
        if let Some((limit, exit)) = self.leaves_after
            && self.sent >= limit
        {
            let keep = wishes.send.len().saturating_sub(self.sent - limit);
            wishes.send.truncate(keep);
            wishes.exit = Some(exit);
            wishes.tick = false;
            wishes.cancel = None;
            self.outcome = Some(Outcome::Left);
        }
    }

    /// Leaves from outside.
    pub(super) fn leave(&mut self) {
        self.outcome.get_or_insert(Outcome::Left);
    }

    /// It is time to send something.
    pub(super) fn tick(&mut self) -> Wishes {
        let mut wishes = Wishes::default();
        if self.outcome.is_some() || self.stage != Stage::Ready || self.fatal {
            return wishes;
        }
        if self.parts.is_empty() {
            if self.in_flight >= self.depth || (self.alone && self.in_flight > 0) {
                return wishes;
            }
            let Some(unit) = self.units.pop_front() else {
                if self.in_flight == 0 {
                    encode::terminate(&mut wishes.send);
                    wishes.exit = Some(Exit::Shut);
                    self.outcome = Some(Outcome::Served);
                }
                return wishes;
            };
            self.in_flight += 1;
            self.alone = unit.alone;
            self.parts = unit.parts.into();
            self.asked.extend(unit.ops);
            self.copy_data.extend(unit.copy_data);
            if unit.cancel
                && let Some(key) = &self.key
            {
                self.cancelled = true;
                wishes.cancel = Some(key.clone());
            }
        }
        wishes.send = self.parts.pop_front().unwrap_or_default();
        wishes.tick = true;
        self.sending(&mut wishes);
        wishes
    }

    /// Bytes came.
    pub(super) fn feed(&mut self, bytes: &[u8], scene: &mut Scene) -> Wishes {
        let mut wishes = Wishes::default();
        if self.outcome.is_some() {
            return wishes;
        }
        self.input.extend_from_slice(bytes);
        if self.stage == Stage::Canceller && !self.input.is_empty() {
            scene.violation(format!("client {}: a cancel request was answered", self.id));
        }
        if self.stage == Stage::Encryption && !self.input.is_empty() {
            let answer = self.input.remove(0);
            if answer == b'N' {
                self.stage = Stage::LoggingIn;
                self.startup(&mut wishes.send);
            } else {
                self.input.insert(0, answer);
                self.stage = Stage::LoggingIn;
            }
        }
        while self.outcome.is_none()
            && let Some(frame) = take_frame(&mut self.input)
        {
            self.on_message(&frame, scene, &mut wishes);
        }
        self.sending(&mut wishes);
        wishes
    }

    /// The stream has ended.
    pub(super) fn ended(&mut self, scene: &mut Scene) {
        if self.outcome.is_some() {
            return;
        }
        if self.stage == Stage::Canceller {
            self.outcome = Some(Outcome::Served);
            return;
        }
        if self.fatal {
            self.outcome = Some(Outcome::Refused);
            return;
        }
        self.outcome = Some(Outcome::Closed);
        let early = self.stage != Stage::Ready && (scene.crowded || scene.shutdown);
        // Who is in a hurry does not wait for the end of a message.
        let torn = scene.hurry && !self.input.is_empty();
        if !scene.faults && !early && !torn {
            let asked = self.asked.front().map(short);
            scene.violation(format!(
                "client {}: closed without a reason while it waits for {asked:?} with {:?}",
                self.id, self.input
            ));
        }
        if !scene.faults && !scene.hurry && !self.input.is_empty() {
            scene.violation(format!("client {}: the last message is torn", self.id));
        }
    }

    /// What it waits for, for the report of a failure.
    pub(super) fn describe(&self) -> String {
        format!(
            "client {} conn {} {:?}: asked {:?}, in flight {}, units left {}, parts left {}",
            self.id,
            self.conn,
            self.stage,
            self.asked.iter().map(short).collect::<Vec<_>>(),
            self.in_flight,
            self.units.len(),
            self.parts.len(),
        )
    }

    fn on_message(&mut self, frame: &[u8], scene: &mut Scene, wishes: &mut Wishes) {
        let id = self.id;
        let tag = frame.first().copied().unwrap_or(0);
        scene.note(|| {
            let text = String::from_utf8_lossy(frame.get(5..).unwrap_or_default());
            format!("client {id} gets {:?} {:.90?}", char::from(tag), text)
        });
        if self.fatal {
            scene.violation(format!("client {id}: a message {tag} behind a fatal error"));
            return;
        }
        match tag {
            b'N' => {}
            b'S' => match ParameterStatus::parse(frame) {
                Ok(status) => {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    self.heard.insert(text(status.name), text(status.value));
                }
                Err(error) => scene.violation(format!("client {id}: {error}")),
            },
            b'E' => self.on_error(frame, scene, wishes),
            _ if self.stage != Stage::Ready => self.on_login(tag, frame, scene, wishes),
            _ => self.on_reply(frame, scene, wishes),
        }
    }

    fn on_login(&mut self, tag: u8, frame: &[u8], scene: &mut Scene, wishes: &mut Wishes) {
        let id = self.id;
        match tag {
            b'R' => {
                let body = frame.get(5..).unwrap_or_default();
                let mut step = self.auth.on_request(body, &mut wishes.send);
                if let Ok(AuthStep::Derive(job)) = step {
                    step = self.auth.resume(job.run(), &mut wishes.send);
                }
                if let Err(error) = step {
                    scene.violation(format!("client {id}: authentication: {error}"));
                }
            }
            b'K' => {
                if let Ok(data) = BackendKeyData::parse(frame)
                    && let Ok(key) = CancelKey::new(data.key)
                {
                    self.key = Some(BackendKey { pid: data.pid, key });
                }
            }
            b'Z' => {
                self.stage = Stage::Ready;
                let zone = self.login.zone.as_deref().unwrap_or(super::fake_pg::DEFAULT_ZONE);
                if self.heard.get(ZONE).map(String::as_str) != Some(zone) {
                    scene.violation(format!("client {id}: welcomed with {:?}", self.heard));
                }
                self.session = Session::new(self.heard.clone());
                self.session.defaults.insert(ZONE.to_owned(), self.login.default_zone.clone());
                if self.key.is_none() {
                    scene.violation(format!("client {id}: no cancel key"));
                }
                wishes.tick = true;
            }
            _ => scene.violation(format!("client {id}: message {tag} during login")),
        }
    }

    /// Begins the first step that has an answer.
    fn expect(&mut self) {
        while self.answer.is_none()
            && let Some(op) = self.asked.front()
        {
            let before = self.session.clone();
            let Ok(replies) = self.session.run(op) else {
                self.session = before;
                return;
            };
            if replies.is_empty() {
                self.asked.pop_front();
            } else {
                self.before = Some(before);
                self.answer = Some(replies.into());
            }
        }
    }

    fn on_reply(&mut self, frame: &[u8], scene: &mut Scene, wishes: &mut Wishes) {
        let id = self.id;
        self.expect();
        let Some(answer) = &mut self.answer else {
            let asked = self.asked.front().map(short);
            scene.violation(format!("client {id}: {frame:?} does not answer {asked:?}"));
            return;
        };
        match answer.pop_front() {
            Some(Reply::Exact(bytes)) if bytes == frame => {}
            Some(Reply::Row(start)) if self.is_row(frame, &start) => self.rows += 1,
            other => {
                scene.violation(format!(
                    "client {id}: got {:?} instead of {other:?} for {:?}",
                    String::from_utf8_lossy(frame),
                    self.asked.front().map(short)
                ));
                return;
            }
        }
        if self.answer.as_ref().is_some_and(|answer| !answer.is_empty()) {
            return;
        }
        self.answer = None;
        self.before = None;
        self.confirmed.append(&mut self.session.committed);
        match self.asked.pop_front() {
            // Data that was sent ahead is on its way already.
            Some(Op::Statement(Sql::Copy(_))) if self.is_at_alone() => {
                wishes.send.extend(self.copy_data.pop_front().unwrap_or_default());
            }
            Some(Op::QueryEnd | Op::Sync) => self.on_ready(frame, scene, wishes),
            _ => {}
        }
    }

    /// Whether what is being answered is the unit that nothing was sent behind.
    fn is_at_alone(&self) -> bool {
        self.alone && self.in_flight == 1
    }

    fn on_ready(&mut self, frame: &[u8], scene: &mut Scene, wishes: &mut Wishes) {
        let id = self.id;
        self.in_flight = self.in_flight.saturating_sub(1);
        if ReadyForQuery::parse(frame).is_err() {
            scene.violation(format!("client {id}: bad ReadyForQuery"));
        }
        let (heard, zone) = (self.heard.get(ZONE), self.session.var(ZONE));
        if heard.map(String::as_str) != Some(zone) {
            scene.violation(format!("client {id}: {ZONE} is {zone}, told was {heard:?}"));
        }
        if self.session.block == Block::Idle {
            self.signature = None;
        }
        wishes.tick = true;
    }

    /// Whether a row is the one asked for, and from the session that runs the transaction: a
    /// standby's at first, perhaps, and the primary's from some statement on.
    fn is_row(&mut self, frame: &[u8], start: &str) -> bool {
        let text = String::from_utf8_lossy(frame.get(11..).unwrap_or_default()).into_owned();
        let Some(signature) = text.strip_prefix(start) else { return false };
        let is_primary = |signature: &str| signature.starts_with(PRIMARY);
        let before = self.signature.replace(signature.to_owned());
        let moves = !self.session.modes.snapshot;
        before.is_none_or(|before| {
            before == signature || moves && !is_primary(&before) && is_primary(signature)
        })
    }

    fn on_error(&mut self, frame: &[u8], scene: &mut Scene, wishes: &mut Wishes) {
        let id = self.id;
        let Ok(error) = ErrorOrNotice::parse(frame) else {
            scene.violation(format!("client {id}: malformed error"));
            return;
        };
        let field =
            |code| String::from_utf8_lossy(error.field(code).unwrap_or_default()).into_owned();
        let (severity, code, message) = (field(b'V'), field(b'C'), field(b'M'));
        self.expect();
        let session = self.before.as_ref().unwrap_or(&self.session);
        let midway = session.in_transaction();
        let outage =
            scene.faults && matches!(&*code, "08001" | "08006" | "57P01" | "57P03" | "53300");
        let crowd = scene.crowded && code == "53300";
        let drain = scene.shutdown && code == "57P01";
        if severity == "FATAL" {
            self.fatal = true;
            if drain && midway && !scene.faults && !scene.hurry {
                scene.violation(format!("client {id}: drained inside of a transaction: {message}"));
            }
            if !(outage || crowd || drain) {
                scene.violation(format!("client {id}: {severity} {code} {message}"));
            }
            return;
        }
        let Some(op) = self.asked.front() else {
            scene.violation(format!("client {id}: {code} {message} while nothing is asked"));
            return;
        };
        let expected = match session.clone().run(op) {
            Err(Failure(expected, text)) => code == expected && message == text,
            Ok(_) => false,
        };
        let own = session
            .about_to_run(op)
            .and_then(session::nonce)
            .is_some_and(|nonce| message.ends_with(nonce));
        let random = code == "40001" && own;
        let cancel = code == "57014" && self.cancelled;
        let refusal = outage || crowd;
        if !(expected || random || cancel || refusal) {
            scene.violation(format!(
                "client {id}: {code} {message} as answer to {} with {:?}",
                short(op),
                session.var(STATE)
            ));
        }
        // The step was not done, whatever it seemed: writes of a step are confirmed by its end.
        if let Some(before) = self.before.take() {
            self.session = before;
        }
        self.answer = None;
        self.session.fail();
        let drops_unnamed = match self.asked.front() {
            Some(Op::Statement(_)) => true,
            Some(Op::Parse(name, _)) => name.is_empty(),
            _ => false,
        };
        if drops_unnamed && !refusal {
            self.session.query_begun();
        }
        let end = self.asked.iter().position(|op| matches!(op, Op::QueryEnd | Op::Sync));
        let dropped: Vec<Op> = self.asked.drain(..end.unwrap_or(0)).collect();
        let copied = dropped.iter().any(|op| matches!(op, Op::Statement(Sql::Copy(_))));
        if copied && self.is_at_alone() {
            self.copy_data.pop_front();
        }
        wishes.tick = true;
    }
}
