//! Sessions that are led twice: directly on the primary, and through the proxy. What both are
//! answered must be the same, byte for byte as far as a [`Reply`] shows it, and so must the
//! parameters that they were told and what they leave in the tables.

use std::fmt::Write as _;

use crate::cluster::{ADMIN, APP, wait_for};
use crate::raw_client::Reply;
use crate::{Cluster, Config, Node, Proxy, RawClient, Scenario, wire};

/// Where a statement of the proxied session has to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Wherever.
    Any,
    /// Once, on the primary.
    Primary,
    /// Once, on the standby.
    Standby,
    /// On the standby, which refused it or which its transaction has left, and on the primary.
    Both,
    /// On no server: the proxy has answered it.
    Nowhere,
}

enum What<'a> {
    Query(String),
    Extended(String, Vec<Option<&'a str>>),
    Raw(Vec<u8>, usize),
    Meanwhile(&'a dyn Fn(&Cluster, &str)),
    Behind(&'a dyn Fn(&Cluster, &str)),
}

/// One thing that a session does.
pub(super) struct Step<'a> {
    what: What<'a>,
    at: At,
}

impl Step<'_> {
    /// The same, with a place to be compared with the servers' logs.
    pub(super) fn at(mut self, at: At) -> Self {
        self.at = at;
        self
    }

    /// Whether it uses the extended protocol.
    pub(super) fn is_extended(&self) -> bool {
        matches!(self.what, What::Extended(..))
    }
}

fn step(what: What<'_>) -> Step<'_> {
    Step { what, at: At::Any }
}

/// A simple query.
pub(super) fn q<'a>(sql: &str) -> Step<'a> {
    step(What::Query(sql.to_owned()))
}

/// Parse, Bind, Describe, Execute and Sync.
pub(super) fn e<'a>(sql: &str) -> Step<'a> {
    step(What::Extended(sql.to_owned(), Vec::new()))
}

/// The same with parameters.
pub(super) fn e_with<'a>(sql: &str, parameters: &[&'a str]) -> Step<'a> {
    step(What::Extended(sql.to_owned(), parameters.iter().copied().map(Some).collect()))
}

/// Messages in one write, which end with a Query or Sync and have that many replies.
pub(super) fn raw<'a>(messages: &[Vec<u8>], replies: usize) -> Step<'a> {
    step(What::Raw(messages.concat(), replies))
}

/// What others do to the database meanwhile, to that of the direct session as well.
pub(super) fn meanwhile(act: &dyn Fn(&Cluster, &str)) -> Step<'_> {
    step(What::Meanwhile(act))
}

/// What happens to the servers of the proxied session only.
pub(super) fn behind(act: &dyn Fn(&Cluster, &str)) -> Step<'_> {
    step(What::Behind(act))
}

/// A statement, its mark in the logs, and where it has to run.
type Place = (String, String, At);

/// Two databases that are alike, one of them reached through a proxy.
pub(super) struct Comparison<'a> {
    cluster: &'a Cluster,
    direct: String,
    proxied: String,
    proxy: Proxy,
    clear: &'a str,
    contents: &'a str,
    sessions: usize,
    /// Superusers' connections to both databases on the primary, and to the standby.
    admins: [RawClient; 2],
    standby: RawClient,
    /// Statements of each session, as they are marked in the logs.
    places: Vec<(String, Vec<Place>)>,
    wrong: String,
}

impl<'a> Comparison<'a> {
    /// Databases with this schema. `clear` brings them to their first state before each session;
    /// `contents` reads what a session may have left.
    pub(super) fn new(
        cluster: &'a Cluster,
        scenario: &Scenario,
        config: &Config,
        schema: &str,
        [clear, contents]: [&'a str; 2],
    ) -> Self {
        let direct = cluster.create_database_with(schema);
        let proxied = cluster.create_database_with(schema);
        cluster.log_statements(&proxied);
        let proxy = scenario.start(cluster, config);
        let admins = [&direct, &proxied].map(|name| cluster.connect(Node::Primary, ADMIN, name));
        let standby = cluster.connect(Node::Standby, ADMIN, "postgres");
        Self {
            cluster,
            direct,
            proxied,
            proxy,
            clear,
            contents,
            sessions: 0,
            admins,
            standby,
            places: Vec::new(),
            wrong: String::new(),
        }
    }

    /// That of the direct sessions, and that of the proxied ones.
    pub(super) fn databases(&self) -> [&str; 2] {
        [&self.direct, &self.proxied]
    }

    /// Leads a session with nothing but user and database in its startup packet.
    pub(super) fn session(&mut self, name: &str, steps: Vec<Step<'_>>) {
        self.session_with(name, &[], steps);
    }

    /// Leads a session, and notes where the proxied one differs.
    pub(super) fn session_with(
        &mut self,
        name: &str,
        parameters: &[(&str, &str)],
        steps: Vec<Step<'_>>,
    ) {
        self.clear();
        self.sessions += 1;
        let mut direct =
            login(RawClient::open(&self.cluster.address(Node::Primary)), &self.direct, parameters);
        let mut proxied = login(RawClient::open(&self.proxy.address()), &self.proxied, parameters);
        let mut transcript = format!("--- {name}\n");
        let mut differs = !same_parameters(&direct, &proxied, &mut transcript);
        let mut places = Vec::new();
        for (number, Step { what, at }) in steps.into_iter().enumerate() {
            let mark = format!("/* session {} step {number} */", self.sessions);
            let (bytes, replies) = match what {
                What::Query(sql) => {
                    let _ = writeln!(transcript, "{sql}");
                    places.push((sql.clone(), mark.clone(), at));
                    (wire::query(&format!("{sql} {mark}")), 1)
                }
                What::Extended(sql, values) => {
                    let _ = writeln!(transcript, "extended: {sql} {values:?}");
                    places.push((sql.clone(), mark.clone(), at));
                    let batch = [
                        wire::parse("", &format!("{sql} {mark}")),
                        wire::bind("", "", &values),
                        wire::describe_portal(""),
                        wire::execute("", 0),
                        wire::sync(),
                    ];
                    (batch.concat(), 1)
                }
                What::Raw(bytes, replies) => {
                    let _ = writeln!(transcript, "{:?}", String::from_utf8_lossy(&bytes));
                    (bytes, replies)
                }
                What::Meanwhile(act) => {
                    act(self.cluster, &self.direct);
                    act(self.cluster, &self.proxied);
                    continue;
                }
                What::Behind(act) => {
                    act(self.cluster, &self.proxied);
                    continue;
                }
            };
            direct.send(&bytes);
            proxied.send(&bytes);
            for _ in 0..replies {
                let (wanted, found) = (direct.reply(), proxied.reply());
                let _ = writeln!(transcript, "    {}", brief(&wanted));
                if format!("{wanted:?}") != format!("{found:?}") {
                    let _ = writeln!(transcript, "!!! {}", brief(&found));
                    differs = true;
                }
                if found.status == 0 {
                    break;
                }
            }
            differs |= !same_parameters(&direct, &proxied, &mut transcript);
        }
        direct.close();
        proxied.close();
        let contents = self.contents;
        let left = self.admins.each_mut().map(|admin| admin.query(contents).ok());
        if left[0] != left[1] {
            let _ = writeln!(transcript, "!!! left {:?} instead of {:?}", left[1], left[0]);
            differs = true;
        }
        if differs {
            self.wrong.push_str(&transcript);
        }
        if places.iter().any(|(_, _, at)| *at != At::Any) {
            self.places.push((name.to_owned(), places));
        }
    }

    /// Brings both databases to their first state, on both nodes.
    fn clear(&mut self) {
        for admin in &mut self.admins {
            admin.query(self.clear).ok();
        }
        let lsn = self.admins[0].query("SELECT pg_current_wal_flush_lsn()").value();
        let standby = &mut self.standby;
        wait_for("the standby has replayed everything", || {
            let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
            standby.query(&sql).value() == "t"
        });
    }

    fn check_places(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let logs = Node::ALL.map(|node| self.cluster.statements(node, &self.proxied));
        for (name, places) in &self.places {
            let mut wrong = String::new();
            in_place(&logs, places, &mut wrong);
            if !wrong.is_empty() {
                let _ = write!(self.wrong, "--- {name}\n{wrong}");
            }
        }
    }

    /// # Panics
    /// When a session differed.
    pub(super) fn finish(mut self) {
        self.check_places();
        assert!(self.wrong.is_empty(), "sessions differ:\n{}", self.wrong);
    }
}

fn in_place(logs: &[Vec<String>; 2], places: &[Place], wrong: &mut String) {
    for (sql, mark, at) in places {
        let runs = logs.each_ref().map(|log| log.iter().filter(|text| text.contains(mark)).count());
        let good = match at {
            At::Any => true,
            At::Primary => runs == [1, 0],
            At::Standby => runs == [0, 1],
            At::Both => runs == [1, 1],
            At::Nowhere => runs == [0, 0],
        };
        if !good {
            let _ = writeln!(wrong, "!!! {sql}: {at:?} was wanted, not {runs:?}");
        }
    }
}

fn login(mut client: RawClient, database: &str, parameters: &[(&str, &str)]) -> RawClient {
    let mut all = vec![("user", APP), ("database", database)];
    all.extend_from_slice(parameters);
    client.send(&wire::startup(wire::PROTOCOL_3_0, &all));
    client.finish_login().unwrap_or_else(|fault| panic!("login with {parameters:?}: {fault:?}"));
    client
}

fn same_parameters(direct: &RawClient, proxied: &RawClient, transcript: &mut String) -> bool {
    let mut same = true;
    for (name, value) in &direct.parameters {
        let found = proxied.parameters.get(name);
        if found != Some(value) {
            let _ = writeln!(transcript, "!!! {name} is {value:?}, but told was {found:?}");
            same = false;
        }
    }
    same
}

fn brief(reply: &Reply) -> String {
    let faults = |faults: &[crate::raw_client::Fault]| {
        faults.iter().map(|it| format!(" {} {}", it.code, it.message)).collect::<String>()
    };
    let rows: Vec<Vec<&str>> = reply
        .rows
        .iter()
        .map(|row| row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect())
        .collect();
    format!(
        "{} {:?} {:?} {}{}{}",
        reply.shape,
        rows,
        reply.commands,
        char::from(reply.status),
        faults(&reply.errors),
        faults(&reply.notices),
    )
}
