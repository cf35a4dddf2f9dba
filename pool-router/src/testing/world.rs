//! The scheduler of the simulated world, which is the proxy's runtime there.

mod questions;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use pgwire_core::auth::DerivedKey;
use pgwire_core::cancel::BackendKey;
use pgwire_core::encode;
use pgwire_core::time::Instant;

use super::fake_client::{Client, Exit, Outcome, Wishes};
use super::fake_pg::{Chaos, Effects, End, Health, Node, Scene};
use super::net::{ConnId, Cut, Net, Notice, Peer, Socket, Task, Way};
use super::plan::{backends, count};
use super::rng::Rng;
use crate::buffers::Buffers;
use crate::catalogue::{Lookup, LookupOrder, LookupPlan, LookupTurn};
use crate::config::{DisableLoadBalanceOnWrite, PoolMode};
use crate::context::Context;
use crate::hub::{CancelOrder, Command, Hub, Shutdown};
use crate::io::{Io, Transfer};
use crate::login::{ConnectError, Login, LoginPlan, LoginTurn};
use crate::relay::{Entropy, Relay, Transport, Turn};
use crate::rules::Rules;
use crate::sizes::size;
use crate::tls::Tls;

use questions::Question;

/// Everything is to be over by then.
const LIMIT: Instant = Instant::from_millis(600_000);

/// So are a million events: longer worlds go round in circles.
const MAX_EVENTS: u64 = 5_000_000;

/// What the last lines of a trace are.
const TRACE_LINES: usize = 400;

/// Something that happens to the world from outside.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// A node changes; what is connected to it stays.
    Health(usize, Health),
    /// A node breaks all its connections and is gone.
    Crash(usize),
    /// One session of a node is ended.
    Terminate(usize),
    /// A client disappears.
    ClientGone(usize),
    /// All nodes are well again, and behave.
    Heal,
    /// The proxy is to end.
    Shutdown(Shutdown),
    /// Other files are loaded.
    Reload,
    /// The end of the proxy begins, step by step.
    Drain,
    /// Nothing new is to begin.
    Pause,
    /// It may again.
    Resume,
    /// Servers are to be connected to anew.
    Reconnect,
}

#[derive(Debug)]
pub(super) enum Event {
    Deliver(ConnId, Way),
    Drive(Task),
    PeerRead(ConnId),
    NodeWork(ConnId),
    ClientBegin(usize),
    ClientTick(usize),
    CancelBegin(BackendKey),
    Dial(usize),
    DialFailed(usize, ConnectError),
    DialCancel(usize),
    DialLookup(usize),
    LookupFailed(usize, ConnectError),
    DialQuestion(usize),
    QuestionFailed(usize, ConnectError),
    CancelEnd(usize),
    Derived(usize),
    HubTimer,
    Fault(Fault),
}

#[derive(Debug, Default)]
struct RelayTask {
    relay: Option<Relay<Socket>>,
    rung: bool,
    derived: Option<DerivedKey>,
}

#[derive(Debug)]
struct LoginTask {
    plan: LoginPlan,
    /// It has not been dialled, or is being dialled.
    dialling: bool,
    login: Option<Login<Socket>>,
    conn: Option<ConnId>,
}

impl LoginTask {
    fn is_open(&self, net: &Net) -> bool {
        self.dialling || self.conn.is_some_and(|conn| net.is_open(conn))
    }
}

/// A look-up: a login, and then the question.
#[derive(Debug)]
enum LookupTask {
    Dialling(Box<LookupPlan>),
    LoggingIn(Box<Login<Socket>>, LookupOrder),
    Asking(Box<Lookup<Socket>>, LookupOrder),
    Done,
}

#[derive(Debug)]
struct CancelTask {
    order: CancelOrder,
    socket: Option<Socket>,
    done: bool,
}

/// A node, a user and a database.
type Whose = (usize, Box<[u8]>, Box<[u8]>);

fn whose(plan: &LoginPlan) -> Whose {
    let identity = &plan.identity;
    (plan.server.node.index(), identity.user.clone(), identity.database.clone())
}

/// A finished run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What became of the clients.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// Rows that clients received.
    pub rows: u64,
    /// Writes that were confirmed to clients.
    pub writes: usize,
    /// Events that were processed.
    pub events: u64,
    /// Rows or writes by standbys were seen.
    pub nodes_used: usize,
}

/// A run in which something happened that must not.
#[derive(Debug, Clone)]
pub struct Failed {
    /// What it was.
    pub violations: Vec<String>,
    /// What happened last, if that was recorded.
    pub trace: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.trace.len().saturating_sub(TRACE_LINES);
        for line in self.trace.get(from..).unwrap_or_default() {
            writeln!(f, "{line}")?;
        }
        for violation in &self.violations {
            writeln!(f, "violation: {violation:.2000}")?;
        }
        Ok(())
    }
}

/// What went over the wires of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    /// What each client received, in the order of their coming.
    pub clients: Vec<Vec<u8>>,
    /// What each server connection received, in the order of opening; without those on which the
    /// catalogue is looked up.
    pub servers: Vec<Vec<u8>>,
}

/// How connections are in this world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wires {
    /// `None`: drawn for each connection.
    pub(super) cut: Option<Cut>,
    pub(super) window: Option<usize>,
    pub(super) max_delay: Duration,
}

#[derive(Debug)]
pub(super) struct World {
    queue: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    events: u64,
    pub(super) scene: Scene,
    wires: Wires,
    pub(super) net: Net,
    hub: Hub<Socket, usize>,
    buffers: Buffers,
    relays: Vec<RelayTask>,
    logins: Vec<LoginTask>,
    cancels: Vec<CancelTask>,
    lookups: Vec<LookupTask>,
    questions: Vec<Question>,
    /// The connections of look-ups.
    asides: BTreeSet<ConnId>,
    scheduled: BTreeSet<Task>,
    alarms: BTreeSet<(Instant, Task)>,
    hub_alarm: Option<Instant>,
    listening: bool,
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Vec<Client>,
    entropy: Rng,
}

impl World {
    pub(super) fn new(context: Context, wires: Wires, mut scene: Scene, nodes: Vec<Node>) -> Self {
        let net = Net::new(scene.rng.fork(), wires.max_delay);
        let entropy = scene.rng.fork();
        Self {
            queue: BTreeMap::new(),
            next_event: 0,
            events: 0,
            scene,
            wires,
            net,
            hub: Hub::new(Arc::new(context)),
            buffers: Buffers::new(),
            relays: Vec::new(),
            logins: Vec::new(),
            cancels: Vec::new(),
            lookups: Vec::new(),
            questions: Vec::new(),
            asides: BTreeSet::new(),
            scheduled: BTreeSet::new(),
            alarms: BTreeSet::new(),
            hub_alarm: None,
            listening: true,
            nodes,
            clients: Vec::new(),
            entropy,
        }
    }

    /// Draws what the proxy takes for random from a seed of its own.
    pub(super) fn reseed_entropy(&mut self, seed: u64) {
        self.entropy = Rng::new(seed);
    }

    /// The next client; its connection is made when it begins.
    pub(super) fn add_client(&mut self, client: Client, at: Duration) {
        let index = self.clients.len();
        self.clients.push(client);
        self.relays.push(RelayTask::default());
        self.at(Instant::ORIGIN + at, Event::ClientBegin(index));
    }

    pub(super) fn at(&mut self, at: Instant, event: Event) {
        self.next_event += 1;
        self.queue.insert((at.max(self.scene.now), self.next_event), event);
    }

    fn after_up_to(&mut self, micros: u64, event: Event) {
        let delay = Duration::from_nanos(self.scene.rng.between(1_000, micros * 1_000));
        self.at(self.scene.now + delay, event);
    }

    /// Lets everything happen, ends the proxy, and looks at what is left.
    pub(super) fn run(mut self) -> Result<(Report, Streams), Failed> {
        self.until(|world| {
            world.hub.is_empty() && world.clients.iter().all(|client| client.outcome.is_some())
        });
        self.at(self.scene.now, Event::Fault(Fault::Heal));
        self.at(self.scene.now, Event::Fault(Fault::Shutdown(Shutdown::Graceful)));
        self.until(|world| {
            world.scene.shutdown
                && world.hub.is_done()
                && !world.listening
                && world.net.open_conns().next().is_none()
                && world.logins.iter().all(|login| !login.dialling && login.login.is_none())
                && world.lookups.iter().all(|task| matches!(task, LookupTask::Done))
                && world.questions.iter().all(Question::is_done)
        });
        self.check_end();
        let trace = self.scene.trace.take().unwrap_or_default();
        if !self.scene.violations.is_empty() {
            return Err(Failed { violations: self.scene.violations, trace });
        }
        let mut report = Report { events: self.events, ..Report::default() };
        for client in &self.clients {
            if let Some(outcome) = client.outcome {
                *report.outcomes.entry(outcome).or_default() += 1;
            }
            report.rows += client.rows;
            report.writes += client.confirmed.len();
        }
        report.nodes_used = self.nodes.iter().filter(|node| node.rows > 0).count();
        let mut streams = Streams { clients: Vec::new(), servers: Vec::new() };
        for (conn, (_, received)) in self.net.record.take().unwrap_or_default() {
            match self.net.peer(conn) {
                Peer::Client(_) => streams.clients.push(received),
                Peer::Node(_) if self.asides.contains(&conn) => {}
                Peer::Node(_) => streams.servers.push(received),
            }
        }
        Ok((report, streams))
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while self.scene.violations.is_empty() && !done(self) {
            let Some(((now, _), event)) = self.queue.pop_first() else {
                self.hang("nothing will ever happen");
                return;
            };
            if now > LIMIT || self.events > MAX_EVENTS {
                self.hang("it takes too long");
                return;
            }
            self.scene.now = now;
            self.net.now = now;
            self.events += 1;
            self.handle(event);
            self.settle();
        }
    }

    fn hang(&mut self, how: &str) {
        let waiting: Vec<String> = self
            .clients
            .iter()
            .filter(|client| client.outcome.is_none())
            .map(Client::describe)
            .collect();
        let views: Vec<_> = self.hub.views().collect();
        let open: Vec<_> = self.net.open_conns().collect();
        let relays: Vec<_> = self.relays.iter().filter_map(|task| task.relay.as_ref()).collect();
        self.scene.violation(format!("{how}: {waiting:#?} {views:?} {open:?} {relays:?}"));
    }

    // --- what follows from a step ---------------------------------------------------------------

    fn settle(&mut self) {
        self.net.close_dropped();
        for notice in std::mem::take(&mut self.net.notices) {
            match notice {
                Notice::Deliver(at, conn, way) => self.at(at, Event::Deliver(conn, way)),
                Notice::Wake(task) => self.wake(task),
                Notice::PeerReadable(conn) => self.after_up_to(30, Event::PeerRead(conn)),
            }
        }
    }

    fn wake(&mut self, task: Task) {
        if self.scheduled.insert(task) {
            self.after_up_to(20, Event::Drive(task));
        }
    }

    /// Has a task driven at a certain time.
    fn alarm(&mut self, at: Option<Instant>, task: Task) {
        if let Some(at) = at
            && self.alarms.insert((at, task))
        {
            self.at(at, Event::Drive(task));
        }
    }

    /// Carries out what the hub orders.
    fn obey(&mut self) {
        let mut connects = BTreeSet::new();
        while let Some(command) = self.hub.poll_command() {
            match command {
                Command::Ring(client) => {
                    self.relays[client].rung = true;
                    self.wake(Task::Client(client));
                }
                Command::Connect(plan) => {
                    connects.insert(whose(&plan));
                    let index = self.logins.len();
                    let server = plan.server;
                    self.scene.note(|| format!("login {index} for {server:?}"));
                    self.logins.push(LoginTask { plan, dialling: true, login: None, conn: None });
                    self.after_up_to(300, Event::Dial(index));
                }
                Command::LookUp(plan) => {
                    let index = self.lookups.len();
                    let order = &plan.order;
                    self.scene.note(|| format!("look-up {index}: {order:?}"));
                    self.lookups.push(LookupTask::Dialling(plan));
                    self.check_lookups();
                    self.after_up_to(300, Event::DialLookup(index));
                }
                Command::Authenticate(order) => {
                    let index = self.questions.len();
                    self.scene.note(|| format!("question {index}: {order:?}"));
                    self.questions.push(Question::new(order));
                    self.after_up_to(300, Event::DialQuestion(index));
                }
                Command::Close(link) => {
                    let mut socket = link.into_socket();
                    let conn = socket.conn;
                    self.scene.note(|| format!("closing conn {conn}"));
                    let mut goodbye = Vec::new();
                    encode::terminate(&mut goodbye);
                    self.net.running = None;
                    let _: Transfer = self.net.write(&mut socket, &[IoSlice::new(&goodbye)]);
                }
                Command::StopListening => self.listening = false,
                Command::Reload => self.at(self.scene.now, Event::Fault(Fault::Reload)),
                Command::Cancel(order) => {
                    let index = self.cancels.len();
                    if let Some(timeout) = order.timeout {
                        self.at(self.scene.now + timeout, Event::CancelEnd(index));
                    }
                    self.cancels.push(CancelTask { order, socket: None, done: false });
                    self.after_up_to(300, Event::DialCancel(index));
                }
            }
        }
        self.net.close_dropped();
        self.check_pause();
        if !connects.is_empty() {
            self.check_limits(&connects);
        }
        if let Some(at) = self.hub.poll_timeout()
            && self.hub_alarm.is_none_or(|set| at < set)
        {
            self.hub_alarm = Some(at);
            self.at(at, Event::HubTimer);
        }
    }

    /// A pause that is complete means that no server has anything to do.
    fn check_pause(&mut self) {
        if !self.hub.is_paused(b"") || self.hub.pausing() > 0 {
            return;
        }
        let logging_in = |conn: ConnId| {
            self.logins.iter().any(|task| task.login.is_some() && task.conn == Some(conn))
        };
        let at_work = self.nodes.iter().flat_map(Node::at_work).find(|conn| {
            self.net.is_open(*conn) && !self.asides.contains(conn) && !logging_in(*conn)
        });
        if let Some(conn) = at_work {
            self.scene.violation(format!("paused, but conn {conn} is at work"));
        }
    }

    /// Counts the connections that are being dialled or open, as the servers would.
    fn check_limits(&mut self, connects: &BTreeSet<Whose>) {
        let mut per_node: BTreeMap<usize, usize> = BTreeMap::new();
        let mut per_group: BTreeMap<Whose, usize> = BTreeMap::new();
        for task in &self.logins {
            // A login that is over lives on as long as its connection.
            if !task.is_open(&self.net) {
                continue;
            }
            // Those that there were before a limit was lowered may stay; new ones may not come.
            let group = whose(&task.plan);
            if connects.iter().any(|(node, ..)| *node == group.0) {
                *per_node.entry(group.0).or_default() += 1;
            }
            if connects.contains(&group) {
                *per_group.entry(group).or_default() += 1;
            }
        }
        let settings = self.hub.settings().clone();
        let most = per_node.values().max().copied().unwrap_or(0);
        let group = per_group.values().max().copied().unwrap_or(0);
        if most > size(settings.max_server_connections) {
            self.scene.violation(format!("{most} connections to a node"));
        }
        if group > size(settings.pool_size) + size(settings.reserve_pool_size) {
            self.scene.violation(format!("{group} connections of a group"));
        }
    }

    /// At most two look-ups run at a time, and one for each database.
    fn check_lookups(&mut self) {
        let mut databases: Vec<&[u8]> = Vec::new();
        for task in &self.lookups {
            databases.push(match task {
                LookupTask::Dialling(plan) => plan.order.database(),
                LookupTask::LoggingIn(_, order) | LookupTask::Asking(_, order) => order.database(),
                LookupTask::Done => continue,
            });
        }
        let running = databases.len();
        databases.sort_unstable();
        databases.dedup();
        if running > 2 || databases.len() < running {
            self.scene.violation(format!("{running} look-ups at a time"));
        }
    }

    fn open(&mut self, peer: Peer) -> Socket {
        let rng = &mut self.scene.rng;
        let cut = self.wires.cut.unwrap_or_else(|| {
            rng.pick(&[Cut::Whole, Cut::Whole, Cut::Random, Cut::Random, Cut::Bytes])
        });
        let window =
            self.wires.window.unwrap_or_else(|| rng.pick(&[7, 64, 1_000, 20_000, 100_000]));
        self.net.open(peer, cut, window)
    }

    // --- events ---------------------------------------------------------------------------------

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver(conn, way) => self.net.deliver(conn, way),
            Event::Drive(task) => {
                self.scheduled.remove(&task);
                self.alarms.remove(&(self.scene.now, task));
                self.net.running = Some(task);
                match task {
                    Task::Client(index) => self.drive_client(index),
                    Task::Login(index) => self.drive_login(index),
                    Task::Cancel(index) => self.drive_cancel(index),
                    Task::Lookup(index) => self.drive_lookup(index),
                    Task::Question(index) => self.drive_question(index),
                }
            }
            Event::PeerRead(conn) => self.peer_read(conn),
            Event::NodeWork(conn) => self.feed_node(conn, &[]),
            Event::ClientBegin(index) => self.begin(index, None),
            Event::ClientTick(index) => {
                let wishes = self.clients[index].tick();
                self.grant(index, wishes);
            }
            Event::CancelBegin(key) => {
                let index = self.clients.len();
                self.clients.push(Client::canceller(index, 0));
                self.relays.push(RelayTask::default());
                self.begin(index, Some(&key));
            }
            Event::Dial(index) => self.dial(index),
            Event::DialFailed(index, error) => self.dial_failed(index, error),
            Event::DialCancel(index) => self.dial_cancel(index),
            Event::DialLookup(index) => self.dial_lookup(index),
            Event::LookupFailed(index, error) => self.lookup_failed(index, error),
            Event::DialQuestion(index) => self.dial_question(index),
            Event::QuestionFailed(index, error) => self.question_failed(index, error),
            Event::CancelEnd(index) => self.cancel_done(index),
            Event::Derived(index) => {
                let task = &mut self.relays[index];
                if let (Some(relay), Some(key)) = (&mut task.relay, task.derived.take()) {
                    relay.resume(key);
                    self.wake(Task::Client(index));
                }
            }
            Event::HubTimer => {
                self.hub_alarm = None;
                self.hub.handle_timeout(self.scene.now);
                self.obey();
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn begin(&mut self, index: usize, cancel: Option<&BackendKey>) {
        let socket = self.open(Peer::Client(index));
        let conn = socket.conn;
        self.clients[index].conn = conn;
        self.scene.note(|| format!("client {index} on conn {conn} begins"));
        if let Some(id) = self.hub.accept(index) {
            let mut entropy = [0; 64];
            for chunk in entropy.chunks_mut(8) {
                chunk.copy_from_slice(&self.entropy.next().to_le_bytes());
            }
            let context = self.hub.context().clone();
            let now = self.scene.now;
            let relay = Relay::new(id, context, socket, Transport::Local, Entropy(entropy), now);
            self.relays[index].relay = Some(relay);
            self.wake(Task::Client(index));
        }
        self.obey();
        let wishes = self.clients[index].begin(cancel);
        self.grant(index, wishes);
    }

    fn drive_client(&mut self, index: usize) {
        let Some(mut relay) = self.relays[index].relay.take() else { return };
        let task = Task::Client(index);
        let now = self.scene.now;
        let mut turns = 0;
        loop {
            turns += 1;
            if turns > 10_000 {
                self.scene.violation(format!("client {index}: its relay never rests"));
                break;
            }
            if std::mem::take(&mut self.relays[index].rung) {
                relay.ring();
            }
            self.net.running = Some(task);
            match relay.drive(&mut self.net, &mut self.buffers, now) {
                Turn::Service => {
                    relay.service(&mut self.hub, now);
                    self.obey();
                }
                Turn::Derive(job) => {
                    self.relays[index].derived = Some(job.run());
                    self.after_up_to(2_000, Event::Derived(index));
                }
                Turn::Wait(deadline) => {
                    self.alarm(deadline, task);
                    break;
                }
                Turn::Yield => {
                    self.wake(task);
                    break;
                }
                Turn::Finished => {
                    self.scene.note(|| format!("the relay of client {index} is finished"));
                    return;
                }
            }
        }
        self.relays[index].relay = Some(relay);
    }

    fn dial(&mut self, index: usize) {
        let plan = self.logins[index].plan.clone();
        let node = plan.server.node.index();
        match self.nodes[node].health {
            Health::Down => {
                self.dial_failed(index, ConnectError::Dial("connection refused".into()));
            }
            Health::Hanging => {
                let timeout = plan.connect_timeout.unwrap_or(Duration::from_secs(100));
                let error = ConnectError::Timeout("connecting");
                self.at(self.scene.now + timeout, Event::DialFailed(index, error));
            }
            Health::Up | Health::Starting | Health::Full => {
                let socket = self.open(Peer::Node(node));
                let conn = socket.conn;
                self.scene.note(|| format!("login {index} on conn {conn} to node {node}"));
                self.nodes[node].accept(conn);
                let nonce = self.entropy.bytes();
                let task = &mut self.logins[index];
                task.dialling = false;
                task.conn = Some(conn);
                task.login = Some(Login::new(plan, socket, nonce, self.scene.now));
                self.drive_login(index);
            }
        }
    }

    fn dial_failed(&mut self, index: usize, error: ConnectError) {
        let task = &mut self.logins[index];
        task.dialling = false;
        let server = task.plan.server;
        self.hub.connect_failed(server, error, self.scene.now);
        self.obey();
    }

    fn drive_login(&mut self, index: usize) {
        let task = Task::Login(index);
        self.net.running = Some(task);
        let now = self.scene.now;
        loop {
            let entry = &mut self.logins[index];
            let server = entry.plan.server;
            let Some(login) = &mut entry.login else { return };
            match login.drive(&mut self.net, &mut self.buffers, now) {
                LoginTurn::Derive(job) => {
                    if let Err(error) = login.resume(job.run()) {
                        entry.login = None;
                        self.net.close_dropped();
                        self.hub.connect_failed(server, error, now);
                        break;
                    }
                }
                LoginTurn::Wait(deadline) => return self.alarm(deadline, task),
                LoginTurn::Done(link) => {
                    entry.login = None;
                    self.hub.connected(link, now);
                    break;
                }
                LoginTurn::Failed(error) => {
                    entry.login = None;
                    self.scene.note(|| format!("login {index} failed: {error}"));
                    self.net.close_dropped();
                    self.hub.connect_failed(server, error, now);
                    break;
                }
            }
        }
        self.obey();
    }

    fn dial_lookup(&mut self, index: usize) {
        let LookupTask::Dialling(plan) = &self.lookups[index] else { return };
        let LookupPlan { login, order } = (**plan).clone();
        let node = login.server.node.index();
        match self.nodes[node].health {
            Health::Down => {
                self.lookup_failed(index, ConnectError::Dial("connection refused".into()));
            }
            Health::Hanging => {
                let timeout = login.connect_timeout.unwrap_or(Duration::from_secs(100));
                let error = ConnectError::Timeout("connecting");
                self.at(self.scene.now + timeout, Event::LookupFailed(index, error));
            }
            Health::Up | Health::Starting | Health::Full => {
                let socket = self.open(Peer::Node(node));
                self.nodes[node].accept(socket.conn);
                self.asides.insert(socket.conn);
                let nonce = self.entropy.bytes();
                let login = Box::new(Login::new(login, socket, nonce, self.scene.now));
                self.lookups[index] = LookupTask::LoggingIn(login, order);
                self.drive_lookup(index);
            }
        }
    }

    fn lookup_failed(&mut self, index: usize, error: ConnectError) {
        let task = std::mem::replace(&mut self.lookups[index], LookupTask::Done);
        if let LookupTask::Dialling(plan) = task {
            self.hub.looked_up(&plan.order, Err(error.into()), self.scene.now);
            self.obey();
        }
    }

    fn drive_lookup(&mut self, index: usize) {
        let task = Task::Lookup(index);
        self.net.running = Some(task);
        let now = self.scene.now;
        loop {
            let (order, result) = match &mut self.lookups[index] {
                LookupTask::LoggingIn(login, order) => {
                    match login.drive(&mut self.net, &mut self.buffers, now) {
                        LoginTurn::Derive(job) => match login.resume(job.run()) {
                            Ok(()) => continue,
                            Err(error) => (order.clone(), Err(error.into())),
                        },
                        LoginTurn::Wait(deadline) => return self.alarm(deadline, task),
                        LoginTurn::Done(link) => {
                            let order = order.clone();
                            let lookup = Box::new(Lookup::new(&order, link, now));
                            self.lookups[index] = LookupTask::Asking(lookup, order);
                            continue;
                        }
                        LoginTurn::Failed(error) => (order.clone(), Err(error.into())),
                    }
                }
                LookupTask::Asking(lookup, order) => {
                    match lookup.drive(&mut self.net, &mut self.buffers, now) {
                        LookupTurn::Wait(deadline) => return self.alarm(deadline, task),
                        LookupTurn::Done(result) => (order.clone(), result),
                    }
                }
                LookupTask::Dialling(_) | LookupTask::Done => return,
            };
            self.scene.note(|| format!("look-up {index} ends: {result:?}"));
            self.lookups[index] = LookupTask::Done;
            self.net.close_dropped();
            self.hub.looked_up(&order, result, now);
            return self.obey();
        }
    }

    fn dial_cancel(&mut self, index: usize) {
        let node = self.cancels[index].order.server.node.index();
        match self.nodes[node].health {
            Health::Down => self.cancel_done(index),
            Health::Hanging => {}
            Health::Up | Health::Starting | Health::Full => {
                let mut socket = self.open(Peer::Node(node));
                self.nodes[node].accept(socket.conn);
                let mut packet = Vec::new();
                encode::cancel_request(&mut packet, &self.cancels[index].order.key);
                self.net.running = None;
                // A window takes a packet of 16 bytes at once, or piece by piece.
                self.net.write_all(&mut socket, &packet);
                self.cancels[index].socket = Some(socket);
                self.drive_cancel(index);
            }
        }
    }

    fn drive_cancel(&mut self, index: usize) {
        self.net.running = Some(Task::Cancel(index));
        let Some(socket) = &mut self.cancels[index].socket else { return };
        if self.net.read(socket, &mut [0]) == Transfer::Closed {
            self.cancel_done(index);
        }
    }

    fn cancel_done(&mut self, index: usize) {
        let task = &mut self.cancels[index];
        task.socket = None;
        if !std::mem::replace(&mut task.done, true) {
            self.hub.cancel_finished(&task.order, self.scene.now);
            self.obey();
        }
    }

    fn peer_read(&mut self, conn: ConnId) {
        let read = self.net.peer_read(conn);
        match (self.net.peer(conn), read) {
            (_, Some(bytes)) if bytes.is_empty() => {}
            (Peer::Node(_), Some(bytes)) => self.feed_node(conn, &bytes),
            (Peer::Node(node), None) => {
                self.nodes[node].forget(conn);
                self.net.peer_shut(conn);
            }
            (Peer::Client(client), Some(bytes)) => {
                let wishes = self.clients[client].feed(&bytes, &mut self.scene);
                self.grant(client, wishes);
            }
            (Peer::Client(client), None) => {
                self.clients[client].ended(&mut self.scene);
                self.net.peer_shut(conn);
            }
        }
    }

    fn feed_node(&mut self, conn: ConnId, bytes: &[u8]) {
        let Peer::Node(node) = self.net.peer(conn) else { return };
        let effects = self.nodes[node].feed(conn, bytes, &mut self.scene);
        self.take_effect(conn, effects);
    }

    fn take_effect(&mut self, conn: ConnId, effects: Effects) {
        self.net.peer_write(conn, &effects.out);
        match effects.end {
            Some(End::Shut) => self.net.peer_shut(conn),
            Some(End::Reset) => self.net.reset(conn),
            None => {}
        }
        if let Some(pause) = effects.again {
            self.at(self.scene.now + pause, Event::NodeWork(conn));
        }
        if let Some(other) = effects.poke {
            self.at(self.scene.now, Event::NodeWork(other));
        }
    }

    fn grant(&mut self, index: usize, wishes: Wishes) {
        let conn = self.clients[index].conn;
        self.net.peer_write(conn, &wishes.send);
        match wishes.exit {
            Some(Exit::Shut) => self.net.peer_shut(conn),
            Some(Exit::Reset) => self.net.reset(conn),
            None => {}
        }
        if wishes.tick {
            self.after_up_to(2_000, Event::ClientTick(index));
        }
        if let Some(key) = wishes.cancel {
            self.after_up_to(20_000, Event::CancelBegin(key));
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.scene.note(|| format!("fault: {fault:?}"));
        match fault {
            Fault::Health(node, health) => {
                self.scene.faults |= health != Health::Up;
                self.nodes[node].health = health;
            }
            Fault::Crash(node) => {
                self.scene.faults = true;
                self.nodes[node].health = Health::Down;
                for conn in self.nodes[node].conns() {
                    self.nodes[node].forget(conn);
                    self.net.reset(conn);
                }
            }
            Fault::Terminate(node) => {
                self.scene.faults = true;
                let conns = self.nodes[node].conns();
                if !conns.is_empty() {
                    let conn = conns[self.scene.rng.below(conns.len())];
                    let effects = self.nodes[node].terminate(conn);
                    self.take_effect(conn, effects);
                }
            }
            Fault::ClientGone(index) => {
                let client = &mut self.clients[index];
                // One that has not come yet cannot go.
                if self.relays[index].relay.is_some() {
                    client.leave();
                    let conn = client.conn;
                    if self.scene.rng.chance(500) {
                        self.net.reset(conn);
                    } else {
                        self.net.peer_shut(conn);
                    }
                }
            }
            Fault::Heal => {
                for node in &mut self.nodes {
                    node.health = Health::Up;
                    node.chaos = Chaos::default();
                }
            }
            Fault::Reload => self.reload(),
            Fault::Drain => {
                self.scene.shutdown = true;
                self.hub.drain(self.scene.now);
                self.obey();
            }
            Fault::Pause => {
                self.hub.pause(None, self.net.now);
                self.obey();
            }
            Fault::Resume => {
                self.hub.resume(None, self.net.now);
                self.obey();
            }
            Fault::Reconnect => {
                self.hub.reconnect(self.scene.now);
                self.obey();
            }
            Fault::Shutdown(how) => {
                self.scene.shutdown = true;
                // Nobody can expect to finish what is under way.
                self.scene.hurry |= how == Shutdown::Fast;
                self.hub.shut_down(how);
                self.obey();
            }
        }
    }

    /// Draws other settings and has them take effect. No client may notice.
    fn reload(&mut self) {
        let present = self.hub.context().clone();
        let rng = &mut self.scene.rng;
        let mut settings = (*present.settings).clone();
        let places = count(self.clients.len());
        settings.backends = backends(self.nodes.len());
        settings.backends.retain(|backend| backend.id == 0 || rng.chance(700));
        for backend in &mut settings.backends {
            backend.weight = rng.pick(&[0.0, 1.0, 3.0]);
            if rng.chance(200) {
                // The same server, by another way.
                backend.port = rng.pick(&[5432, 5433]);
            }
        }
        settings.pool_size = count(1 + rng.below(self.clients.len() + 1));
        settings.max_server_connections = count(1 + rng.below(2 * self.clients.len() + 1));
        settings.min_pool_size = count(rng.below(2));
        settings.num_init_children = count(1 + rng.below(self.clients.len() + 2));
        settings.statement_level_load_balance = rng.chance(500);
        settings.disable_load_balance_on_write = if rng.chance(300) {
            DisableLoadBalanceOnWrite::Always
        } else {
            DisableLoadBalanceOnWrite::Transaction
        };
        settings.connection_cache = rng.chance(900);
        settings.server_idle_timeout = rng.chance(500).then_some(Duration::from_millis(50));
        settings.server_lifetime = rng.chance(300).then_some(Duration::from_millis(100));
        let small = settings.pool_size < places || settings.max_server_connections < places;
        let waits = settings.pool_mode == PoolMode::Session && self.nodes.len() > 1;
        self.scene.crowded |= small && waits;
        let settings = Arc::new(settings.succeed(&present.settings));
        let patterns = Rules::compile(&settings).unwrap_or_default();
        let context = Context {
            settings,
            rules: patterns,
            hba: None,
            interfaces: Vec::new(),
            passwords: present.passwords.clone(),
            authenticator: None,
            pcp_users: present.pcp_users.clone(),
            files: present.files.clone(),
            tls: Tls::default(),
            mock_seed: present.mock_seed,
        };
        if let Err(error) = self.hub.reload(Arc::new(context), self.scene.now) {
            self.scene.violation(error.to_string());
        }
        self.obey();
    }

    // --- the end --------------------------------------------------------------------------------

    fn check_end(&mut self) {
        if !self.scene.violations.is_empty() {
            return;
        }
        for (node, view) in self.hub.views().enumerate() {
            if view != crate::pool::View::default() {
                self.scene.violations.push(format!("left over at node {node}: {view:?}"));
            }
        }
        let mut written: BTreeMap<&str, usize> = BTreeMap::new();
        for nonce in self.nodes.iter().flat_map(|node| &node.log) {
            *written.entry(nonce).or_default() += 1;
        }
        for (nonce, times) in &written {
            if *times != 1 {
                self.scene.violations.push(format!("{nonce} was written {times} times"));
            }
        }
        for nonce in self.clients.iter().flat_map(|client| &client.confirmed) {
            if !written.contains_key(&**nonce) {
                self.scene.violations.push(format!("{nonce} was confirmed and never written"));
            }
        }
    }
}
