//! The expected-replies queue against a model of PostgreSQL's main loop, under random requests,
//! failures and delays.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::VecDeque;

use pgwire_core::pipeline::{Disposition, FakeReply, Pipeline, Request, Token, Verdict};
use pgwire_core::tag::BackendTag;
use pgwire_core::txn::TransactionStatus;
use proptest::collection::vec;
use proptest::prelude::*;

// --- what is sent -------------------------------------------------------------------------------

/// What a statement does when the server comes to it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Statement {
    Rows(u8),
    Empty,
    Suspended,
    Error,
    CopyOut,
    /// With a failure between CopyInResponse and the first look at the data.
    CopyIn {
        fails_at_once: bool,
    },
    Begin,
    Commit,
}

#[derive(Debug, Clone, PartialEq)]
enum Act {
    Query(Vec<Statement>),
    Execute(Statement),
    Describe {
        statement: bool,
        rows: bool,
        fails: bool,
    },
    /// Parse, Bind, Close, Sync or FunctionCall.
    Plain {
        request: Request,
        fails: bool,
    },
    CopyData {
        bad: bool,
    },
    Fake(FakeReply),
}

impl Act {
    fn request(&self) -> Option<Request> {
        Some(match self {
            Self::Query(_) => Request::Query,
            Self::Execute(_) => Request::Execute,
            Self::Describe { .. } => Request::Describe,
            Self::Plain { request, .. } => *request,
            Self::CopyData { .. } => Request::CopyData,
            Self::Fake(_) => return None,
        })
    }

    fn is_sync(&self) -> bool {
        self.request() == Some(Request::Sync)
    }

    /// Whether it has a place in copy-in.
    fn is_for_copy(&self) -> bool {
        matches!(
            self.request(),
            Some(
                Request::CopyData
                    | Request::CopyDone
                    | Request::CopyFail
                    | Request::Sync
                    | Request::Flush
            )
        )
    }

    fn ends_copy(&self) -> bool {
        matches!(self.request(), Some(Request::CopyDone | Request::CopyFail))
    }
}

fn plain(request: Request) -> Act {
    Act::Plain { request, fails: false }
}

#[derive(Debug, Clone)]
struct Item {
    act: Act,
    disposition: Disposition,
    /// A notice or ParameterStatus before its first reply.
    noise: bool,
    /// How far the server and the network come before the next is sent.
    steps: u8,
    deliveries: u8,
}

// --- the server ---------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq)]
enum Output {
    /// `owner` is the place of the request that it answers; `None` for the end of the connection.
    Message { tag: BackendTag, status: Option<TransactionStatus>, owner: Option<usize> },
    /// The place among the replies where one of the proxy's own belongs.
    Fake(FakeReply),
}

#[derive(Debug, Clone, PartialEq)]
struct Copy {
    owner: usize,
    /// The statements of the simple query that remain; `None` in the extended protocol.
    rest: Option<Vec<Statement>>,
}

/// A backend after `PostgresMain`: one message at a time, replies in order.
#[derive(Debug)]
struct Backend {
    inbox: VecDeque<(usize, Item)>,
    wire: VecDeque<Output>,
    /// `ignore_till_sync`.
    skip: bool,
    copy: Option<Copy>,
    /// An implicit transaction may be open.
    batch: bool,
    block: TransactionStatus,
    noise: bool,
    dead: bool,
    /// A made-up reply stands where a real server would have failed a COPY.
    fake_in_copy: bool,
}

impl Backend {
    fn new() -> Self {
        Self {
            inbox: VecDeque::new(),
            wire: VecDeque::new(),
            skip: false,
            copy: None,
            batch: false,
            block: TransactionStatus::Idle,
            noise: false,
            dead: false,
            fake_in_copy: false,
        }
    }

    fn is_idle(&self) -> bool {
        self.inbox.is_empty()
            && self.wire.is_empty()
            && !self.skip
            && self.copy.is_none()
            && !self.batch
    }

    fn emit(&mut self, owner: usize, tag: BackendTag) {
        if std::mem::take(&mut self.noise) {
            let tag = if owner.is_multiple_of(2) {
                BackendTag::NOTICE
            } else {
                BackendTag::PARAMETER_STATUS
            };
            self.wire.push_back(Output::Message { tag, status: None, owner: Some(owner) });
        }
        let status = (tag == BackendTag::READY).then_some(self.block);
        self.wire.push_back(Output::Message { tag, status, owner: Some(owner) });
    }

    fn ready(&mut self, owner: usize) {
        self.batch = false;
        self.emit(owner, BackendTag::READY);
    }

    fn fail(&mut self, owner: usize) {
        self.emit(owner, BackendTag::ERROR);
        if self.block != TransactionStatus::Idle {
            self.block = TransactionStatus::Failed;
        }
    }

    fn fail_extended(&mut self, owner: usize) {
        self.fail(owner);
        self.skip = true;
    }

    fn step(&mut self) {
        if self.dead {
            self.inbox.clear();
            return;
        }
        let Some((owner, item)) = self.inbox.pop_front() else { return };
        if self.copy.is_some() {
            self.step_in_copy(&item.act);
            return;
        }
        if self.skip && !item.act.is_sync() {
            return;
        }
        self.noise = item.noise;
        match item.act {
            Act::Fake(reply) => self.wire.push_back(Output::Fake(reply)),
            Act::CopyData { .. } => {}
            Act::Query(statements) => self.query(owner, statements),
            Act::Execute(statement) => {
                self.batch = true;
                self.execute(owner, statement);
            }
            Act::Describe { statement, rows, fails } => {
                self.batch = true;
                if fails {
                    self.fail_extended(owner);
                } else {
                    if statement {
                        self.emit(owner, BackendTag::PARAMETER_DESCRIPTION);
                    }
                    let tag = if rows { BackendTag::ROW_DESCRIPTION } else { BackendTag::NO_DATA };
                    self.emit(owner, tag);
                }
            }
            Act::Plain { request, fails } => match request {
                Request::Sync => {
                    // To fail, it must have something to commit.
                    if fails && self.batch && !self.skip {
                        self.fail(owner);
                    }
                    self.skip = false;
                    self.ready(owner);
                }
                Request::FunctionCall => {
                    if fails {
                        self.fail(owner);
                    } else {
                        self.emit(owner, BackendTag::FUNCTION_RESULT);
                    }
                    self.ready(owner);
                }
                Request::Parse | Request::Bind | Request::Close => {
                    self.batch = true;
                    match request {
                        _ if fails => self.fail_extended(owner),
                        Request::Parse => self.emit(owner, BackendTag::PARSE_COMPLETE),
                        Request::Bind => self.emit(owner, BackendTag::BIND_COMPLETE),
                        _ => self.emit(owner, BackendTag::CLOSE_COMPLETE),
                    }
                }
                _ => {}
            },
        }
        self.noise = false;
    }

    fn step_in_copy(&mut self, act: &Act) {
        let Some(copy) = self.copy.clone() else { return };
        match (act, act.request()) {
            (Act::CopyData { bad: false }, _) | (_, Some(Request::Sync | Request::Flush)) => {}
            (Act::CopyData { bad: true }, _) | (_, Some(Request::CopyFail)) => self.fail_copy(),
            (_, Some(Request::CopyDone)) => {
                self.copy = None;
                self.emit(copy.owner, BackendTag::COMMAND_COMPLETE);
                if let Some(rest) = copy.rest {
                    self.query(copy.owner, rest);
                }
            }
            (Act::Fake(_), _) => self.fake_in_copy = true,
            _ => {
                // "unexpected message type", then "protocol synchronization was lost".
                self.copy = None;
                self.emit(copy.owner, BackendTag::ERROR);
                let tag = BackendTag::ERROR;
                self.wire.push_back(Output::Message { tag, status: None, owner: None });
                self.dead = true;
            }
        }
    }

    fn fail_copy(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        if copy.rest.is_some() {
            self.fail(copy.owner);
            self.ready(copy.owner);
        } else {
            self.fail_extended(copy.owner);
        }
    }

    /// The part of a statement's answer that both protocols share. Whether it went well.
    fn run(&mut self, owner: usize, statement: Statement) {
        match statement {
            Statement::Rows(rows) => {
                for _ in 0..rows {
                    self.emit(owner, BackendTag::DATA_ROW);
                }
                self.emit(owner, BackendTag::COMMAND_COMPLETE);
            }
            Statement::Empty => self.emit(owner, BackendTag::EMPTY_QUERY),
            Statement::Suspended => self.emit(owner, BackendTag::PORTAL_SUSPENDED),
            Statement::CopyOut => {
                for tag in [
                    BackendTag::COPY_OUT,
                    BackendTag::COPY_DATA,
                    BackendTag::COPY_DONE,
                    BackendTag::COMMAND_COMPLETE,
                ] {
                    self.emit(owner, tag);
                }
            }
            Statement::Begin => {
                if self.block == TransactionStatus::Idle {
                    self.block = TransactionStatus::InTransaction;
                }
                self.emit(owner, BackendTag::COMMAND_COMPLETE);
            }
            Statement::Commit => {
                self.block = TransactionStatus::Idle;
                self.emit(owner, BackendTag::COMMAND_COMPLETE);
            }
            Statement::Error | Statement::CopyIn { .. } => {}
        }
    }

    fn execute(&mut self, owner: usize, statement: Statement) {
        match statement {
            Statement::Error => self.fail_extended(owner),
            Statement::CopyIn { fails_at_once } => {
                self.emit(owner, BackendTag::COPY_IN);
                self.copy = Some(Copy { owner, rest: None });
                if fails_at_once {
                    self.fail_copy();
                }
            }
            _ => self.run(owner, statement),
        }
    }

    fn query(&mut self, owner: usize, statements: Vec<Statement>) {
        let mut rest = statements.into_iter();
        while let Some(statement) = rest.next() {
            match statement {
                Statement::Error => {
                    self.fail(owner);
                    self.ready(owner);
                    return;
                }
                Statement::CopyIn { fails_at_once } => {
                    self.emit(owner, BackendTag::COPY_IN);
                    self.copy = Some(Copy { owner, rest: Some(rest.collect()) });
                    if fails_at_once {
                        self.fail_copy();
                    }
                    return;
                }
                Statement::Rows(_) => {
                    self.emit(owner, BackendTag::ROW_DESCRIPTION);
                    self.run(owner, statement);
                }
                _ => self.run(owner, statement),
            }
        }
        self.ready(owner);
    }
}

// --- the trial ----------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Message(BackendTag),
    Fake(FakeReply),
}

#[derive(Debug)]
struct Trial {
    backend: Backend,
    /// Is shown every message.
    pipeline: Pipeline,
    /// Is shown only what its stop set names.
    sparse: Pipeline,
    sent: Vec<(Act, Disposition)>,
    /// What came out of the pipeline, and what should.
    seen: Vec<Seen>,
    expected: Vec<Seen>,
    /// The copy that the client was last told of.
    copying: Option<usize>,
    /// Where the client's data for it began, or the request itself.
    copy_from: usize,
    /// A Sync may have been read within a COPY that failed, or outside of it.
    doubtful: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Course {
    GoesOn,
    /// The server is gone, or its replies cannot be told apart.
    Over,
}

impl Trial {
    fn new() -> Self {
        Self {
            backend: Backend::new(),
            pipeline: Pipeline::default(),
            sparse: Pipeline::default(),
            sent: Vec::new(),
            seen: Vec::new(),
            expected: Vec::new(),
            copying: None,
            copy_from: 0,
            doubtful: false,
        }
    }

    fn send(&mut self, item: Item) {
        let place = self.sent.len();
        let token = Token(u32::try_from(place).unwrap() + 1);
        self.sent.push((item.act.clone(), item.disposition));
        for pipeline in [&mut self.pipeline, &mut self.sparse] {
            match (&item.act, item.act.request()) {
                (Act::Fake(reply), _) => pipeline.fake(*reply, token).unwrap(),
                (_, Some(request)) => pipeline.sent(request, item.disposition, token).unwrap(),
                _ => {}
            }
        }
        self.backend.inbox.push_back((place, item));
        self.drain_fakes();
        self.check();
    }

    fn send_quietly(&mut self, act: Act) {
        let disposition = Disposition::Forward;
        self.send(Item { act, disposition, noise: false, steps: 0, deliveries: 0 });
    }

    fn drain_fakes(&mut self) {
        while let Some(reply) = self.pipeline.poll_fake() {
            assert_eq!(self.sparse.poll_fake(), Some(reply));
            self.seen.push(Seen::Fake(reply.0));
        }
        assert_eq!(self.sparse.poll_fake(), None);
    }

    /// Hands the next message of the server to the pipelines.
    fn deliver(&mut self) -> Course {
        let (tag, status, owner) = loop {
            match self.backend.wire.pop_front() {
                None => return Course::GoesOn,
                Some(Output::Fake(reply)) => self.expected.push(Seen::Fake(reply)),
                Some(Output::Message { tag, status, owner }) => break (tag, status, owner),
            }
        };
        self.expected.push(Seen::Message(tag));
        self.seen.push(Seen::Message(tag));
        let Some(owner) = owner else { return Course::Over };
        if self.pipeline.is_unpredictable() {
            return Course::Over;
        }
        self.note_copy(tag, owner);
        let shown = self.sparse.stop_set().contains(tag);
        let verdict = self.pipeline.received(tag, status);
        let verdict = verdict.unwrap_or_else(|error| panic!("{tag:?} of {owner}: {error}"));
        if shown {
            assert_eq!(self.sparse.received(tag, status), Ok(verdict), "{tag:?} of {owner}");
        } else {
            let unseen = matches!(
                verdict,
                Verdict::Reply(Disposition::Forward)
                    | Verdict::Asynchronous { during: None | Some(Disposition::Forward) }
            );
            assert!(unseen, "{verdict:?} for {tag:?} was not shown");
        }
        self.judge(tag, status, owner, verdict);
        self.drain_fakes();
        self.check();
        Course::GoesOn
    }

    fn judge(
        &mut self,
        tag: BackendTag,
        status: Option<TransactionStatus>,
        owner: usize,
        verdict: Verdict,
    ) {
        let (act, disposition) = self.sent.get(owner).cloned().unwrap();
        let token = Token(u32::try_from(owner).unwrap() + 1);
        let one_of_many = matches!(act.request(), Some(Request::Query | Request::FunctionCall));
        let expected = match tag {
            BackendTag::NOTICE | BackendTag::PARAMETER_STATUS => {
                // Before the first reply it is not known whose turn it is.
                if self.doubtful {
                    return;
                }
                Verdict::Asynchronous { during: Some(disposition) }
            }
            BackendTag::ERROR => Verdict::Failed(disposition, token),
            BackendTag::COPY_IN => Verdict::CopyIn(disposition),
            BackendTag::READY => {
                // Two Syncs of which one was ignored cannot be told apart.
                let disposition = match verdict {
                    Verdict::Ready(any, _) if self.doubtful => any,
                    _ => disposition,
                };
                assert_eq!(self.pipeline.status(), status.unwrap());
                Verdict::Ready(disposition, status.unwrap())
            }
            BackendTag::PARSE_COMPLETE
            | BackendTag::BIND_COMPLETE
            | BackendTag::CLOSE_COMPLETE
            | BackendTag::NO_DATA
            | BackendTag::ROW_DESCRIPTION
            | BackendTag::COMMAND_COMPLETE
            | BackendTag::EMPTY_QUERY
            | BackendTag::PORTAL_SUSPENDED
                if !one_of_many =>
            {
                Verdict::Completed(disposition, token)
            }
            _ => Verdict::Reply(disposition),
        };
        assert_eq!(verdict, expected, "{tag:?} of {owner}: {act:?}");
    }

    /// Keeps track of which COPY is under way, and whether its failure leaves room for doubt.
    fn note_copy(&mut self, tag: BackendTag, owner: usize) {
        match tag {
            BackendTag::COPY_IN => {
                // Behind the data of an earlier one of the same query.
                self.copy_from = match self.copying {
                    Some(earlier) if earlier == owner => {
                        let rest = self.sent.iter().enumerate().skip(self.copy_from);
                        let end = rest.filter(|(_, (act, _))| act.ends_copy()).map(|(at, _)| at);
                        end.min().map_or(self.sent.len(), |at| at + 1)
                    }
                    _ => owner + 1,
                };
                self.copying = Some(owner);
            }
            BackendTag::ERROR if self.copying == Some(owner) => {
                let data = self.sent.iter().skip(self.copy_from);
                let mut data = data.take_while(|(act, _)| !act.ends_copy());
                self.doubtful |= data.any(|(act, _)| act.is_sync());
            }
            _ => {}
        }
    }

    /// Whether the client did one of the things that the documentation calls unpredictable.
    fn may_be_unpredictable(&self) -> bool {
        let Some(owner) = self.copying else { return false };
        let simple = matches!(self.sent.get(owner), Some((Act::Query(_), _)));
        let within = self.sent.iter().skip(self.copy_from);
        let within = within.take_while(|(act, _)| !act.ends_copy());
        let misplaced = within.clone().any(|(act, _)| !act.is_for_copy());
        let doubtful_at = within.clone().position(|(act, _)| act.is_sync());
        let decisive = doubtful_at.is_some_and(|at| {
            let rest = self.sent.iter().skip(self.copy_from + at + 1);
            rest.clone().any(|(act, _)| !act.is_for_copy())
        });
        // A made-up reply in front of such a Sync has lost its place beside it.
        let made_up = |act: &Act| matches!(act, Act::Fake(_));
        let displaced =
            doubtful_at.is_some_and(|at| within.clone().take(at).any(|(act, _)| made_up(act)));
        (simple && misplaced) || decisive || displaced
    }

    fn check(&self) {
        assert_eq!(self.pipeline.is_settled(), self.sparse.is_settled());
        assert_eq!(self.pipeline.status(), self.sparse.status());
        assert_eq!(self.pipeline.stop_set(), self.sparse.stop_set());
        assert_eq!(self.pipeline.is_copying_in(), self.sparse.is_copying_in());
        assert_eq!(self.pipeline.in_flight(), self.sparse.in_flight());
        if self.pipeline.is_unpredictable() {
            assert!(self.may_be_unpredictable(), "unpredictable without a reason");
            assert!(!self.pipeline.is_settled() && !self.pipeline.is_releasable());
            return;
        }
        if self.backend.dead || self.backend.fake_in_copy {
            return;
        }
        // A made-up reply need not wait for the server to come to its place.
        let waits = |output: &Output| matches!(output, Output::Message { .. });
        let idle = self.backend.is_idle();
        let idle_but_for_fakes = !self.backend.wire.iter().any(waits)
            && self.backend.inbox.iter().all(|(_, item)| {
                matches!(item.act, Act::Fake(_) | Act::CopyData { .. })
                    || item.act.ends_copy()
                    || item.act.request() == Some(Request::Flush)
            })
            && !self.backend.skip
            && self.backend.copy.is_none()
            && !self.backend.batch;
        if self.pipeline.is_settled() {
            assert!(idle_but_for_fakes, "settled, but the server is at work");
        } else {
            assert!(!idle || self.doubtful, "the server is idle, but not settled");
        }
        if self.pipeline.is_releasable() {
            assert!(self.pipeline.is_settled());
            assert_eq!(self.backend.block, TransactionStatus::Idle);
        }
    }

    fn drain(&mut self) -> Course {
        while !self.backend.inbox.is_empty() || !self.backend.wire.is_empty() {
            self.backend.step();
            while !self.backend.wire.is_empty() {
                if self.deliver() == Course::Over || self.is_over() {
                    return Course::Over;
                }
            }
        }
        Course::GoesOn
    }

    fn is_over(&self) -> bool {
        self.pipeline.is_unpredictable() || self.backend.fake_in_copy
    }

    /// Sends everything, then brings the connection to rest. Returns whether it got there.
    fn run(&mut self, items: Vec<Item>, polite: bool) -> bool {
        for item in items {
            let (steps, deliveries) = (item.steps, item.deliveries);
            if polite && self.pipeline.is_copying_in() && !item.act.is_for_copy() {
                self.send_quietly(plain(Request::CopyDone));
            }
            self.send(item);
            for _ in 0..steps {
                self.backend.step();
            }
            for _ in 0..deliveries {
                if self.deliver() == Course::Over {
                    return false;
                }
            }
            if self.is_over() {
                return false;
            }
        }
        if self.drain() == Course::Over {
            return false;
        }
        while self.backend.copy.is_some() {
            self.send_quietly(plain(Request::CopyFail));
            if self.drain() == Course::Over {
                return false;
            }
        }
        if self.backend.skip || self.backend.batch {
            self.send_quietly(plain(Request::Sync));
        }
        if self.drain() == Course::Over {
            return false;
        }
        if !self.doubtful {
            assert!(self.pipeline.is_settled());
            assert_eq!(self.seen, self.expected, "the proxy's own replies are out of place");
        }
        // Whatever was in doubt, the answer to one more query settles it.
        self.send_quietly(Act::Query(vec![Statement::Commit]));
        if self.drain() == Course::Over {
            return false;
        }
        assert!(self.pipeline.is_releasable());
        assert_eq!(self.pipeline.in_flight(), 0);
        true
    }
}

// --- what is tried ------------------------------------------------------------------------------

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.12)
}

fn copy_in() -> impl Strategy<Value = Statement> {
    prop::bool::weighted(0.3).prop_map(|fails_at_once| Statement::CopyIn { fails_at_once })
}

fn statement() -> impl Strategy<Value = Statement> {
    prop_oneof![
        6 => (0_u8..3).prop_map(Statement::Rows),
        1 => Just(Statement::Empty),
        1 => Just(Statement::Error),
        1 => Just(Statement::CopyOut),
        1 => Just(Statement::Begin),
        1 => Just(Statement::Commit),
    ]
}

fn extended() -> impl Strategy<Value = Act> {
    let request = prop::sample::select(vec![Request::Parse, Request::Bind, Request::Close]);
    prop_oneof![
        6 => (request, rarely()).prop_map(|(request, fails)| Act::Plain { request, fails }),
        2 => (any::<bool>(), any::<bool>(), rarely())
            .prop_map(|(statement, rows, fails)| Act::Describe { statement, rows, fails }),
        4 => prop_oneof![statement(), Just(Statement::Suspended)].prop_map(Act::Execute),
        1 => Just(plain(Request::Flush)),
        1 => prop::sample::select(vec![FakeReply::ParseComplete, FakeReply::CloseComplete])
            .prop_map(Act::Fake),
    ]
}

/// The data of a COPY and its end, with more or less that does not belong there.
fn feed() -> impl Strategy<Value = Vec<Act>> {
    let data = prop_oneof![
        8 => rarely().prop_map(|bad| Act::CopyData { bad }),
        1 => Just(plain(Request::Flush)),
        1 => Just(plain(Request::Sync)),
    ];
    let end = prop_oneof![
        6 => Just(Some(Request::CopyDone)),
        2 => Just(Some(Request::CopyFail)),
        1 => Just(None),
    ];
    (vec(data, 0..5), end).prop_map(|(mut acts, end)| {
        acts.extend(end.map(plain));
        acts
    })
}

fn sync() -> impl Strategy<Value = Act> {
    rarely().prop_map(|fails| Act::Plain { request: Request::Sync, fails })
}

/// What a driver sends in one go.
fn group() -> impl Strategy<Value = (Vec<Act>, Disposition)> {
    let client = Just(Disposition::Forward);
    let anybody = || prop_oneof![3 => Just(Disposition::Forward), 1 => Just(Disposition::Swallow)];
    prop_oneof![
        6 => (vec(extended(), 0..6), prop::option::weighted(0.85, sync()), anybody()).prop_map(
            |(mut acts, sync, disposition)| {
                acts.extend(sync);
                (acts, disposition)
            }
        ),
        3 => (vec(statement(), 1..4), anybody())
            .prop_map(|(statements, disposition)| (vec![Act::Query(statements)], disposition)),
        1 => (rarely(), anybody()).prop_map(|(fails, disposition)| {
            (vec![Act::Plain { request: Request::FunctionCall, fails }], disposition)
        }),
        3 => (vec(prop_oneof![statement(), copy_in(), copy_in()], 1..4), vec(feed(), 3), client)
            .prop_map(|(statements, feeds, disposition)| {
                let copies = |s: &&Statement| matches!(s, Statement::CopyIn { .. });
                let copies = statements.iter().filter(copies).count();
                let mut acts = vec![Act::Query(statements)];
                acts.extend(feeds.into_iter().take(copies).flatten());
                (acts, disposition)
            }),
        3 => (copy_in(), any::<bool>(), feed(), prop::bool::weighted(0.9), client).prop_map(
            |(copy, sync_behind, feed, sync, disposition)| {
                let mut acts = vec![plain(Request::Bind), Act::Execute(copy)];
                acts.extend(sync_behind.then(|| plain(Request::Sync)));
                acts.extend(feed);
                acts.extend(sync.then(|| plain(Request::Sync)));
                (acts, disposition)
            }
        ),
        1 => (feed(), client).prop_map(|(acts, disposition)| (acts, disposition)),
    ]
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    // All of it at once, in lockstep, and anything between.
    let pace = prop_oneof![
        1 => Just((0_u8, 0_u8)),
        2 => (0_u8..3, 0_u8..4),
        1 => Just((9, 40)),
    ];
    let groups = vec((group(), pace), 1..8);
    groups.prop_flat_map(|groups| {
        let items: Vec<_> = groups
            .into_iter()
            .flat_map(|((acts, disposition), (steps, deliveries))| {
                acts.into_iter().map(move |act| {
                    (Just(act), rarely(), 0..=steps, 0..=deliveries).prop_map(
                        move |(act, noise, steps, deliveries)| Item {
                            act,
                            disposition,
                            noise,
                            steps,
                            deliveries,
                        },
                    )
                })
            })
            .collect();
        items
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_pipeline_knows_what_the_server_does(items in items(), polite in prop::bool::weighted(0.8)) {
        Trial::new().run(items, polite);
    }
}

#[test]
fn most_trials_come_to_their_end() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let trials = 500;
    let mut ended = 0;
    for _ in 0..trials {
        let items = items().new_tree(&mut runner).unwrap().current();
        ended += usize::from(Trial::new().run(items, true));
    }
    // Otherwise the property above says little.
    assert!(ended * 10 > trials * 7, "{ended} of {trials}");
}
