//! Files to settings: includes, the verdict of each line, and what only the whole can show.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::{ConfigError, ConfigErrors, Level, Notice, Origin, Problem};
use super::overrides::{ACCEPTED, Override};
use super::scan::{Assignment, scan};
use super::settings::{Backend, BackendFlags, BackendHost, Settings};
use super::table::{self, Found, Kind, Parameter, Verdict};
use super::value::{FlagWords, HIDDEN, Key, Stored, Value, Values, split_list};
use super::{MAX_INCLUDE_DEPTH, MAX_INCLUDES};
use crate::rules::Rules;

/// A configuration that can be run.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What the operator should know, in the order of the files.
    pub notices: Vec<Notice>,
}

/// A value from elsewhere than a file.
#[derive(Clone)]
pub struct Given {
    /// The parameter, with its node id, in any letter case.
    pub name: String,
    /// The value; no quotes, nothing is cut off.
    pub value: Zeroizing<String>,
    /// Where it comes from.
    pub origin: Origin,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.origin)
    }
}

/// Everything that values come from, in the order of precedence: what comes later overrules.
/// The defaults of the table are below all of it.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Values for parameters that nothing else sets.
    pub defaults: &'a [Given],
    /// The name and the text of `pgpool.conf`.
    pub file: Option<(&'a str, &'a str)>,
    /// What stands in front of faults of the whole where there is no file.
    pub place: &'a str,
    /// Values from elsewhere, those that overrule others last.
    pub given: &'a [Given],
    /// Whether there must be a backend. Without, a file can be checked whose backends come from an
    /// environment that is not at hand.
    pub backends_needed: bool,
}

/// The port of a server whose host alone is set: PostgreSQL's own default.
pub(super) const DEFAULT_BACKEND_PORT: u16 = 5432;
pub(super) const DEFAULT_BACKEND_PORT_TEXT: &str = "5432";

/// The socket directory of a server whose port alone is set.
const DEFAULT_BACKEND_SOCKET_DIR: &str = "/var/run/postgresql";

/// Reads the text of `pgpool.conf`, with nothing beside it.
///
/// `file` names it in messages, and relative includes are resolved against its directory.
/// `include` reads one more file: it gets the path and answers the text, or why there is none.
///
/// # Errors
///
/// As [`load_sources`].
pub fn load(
    file: &str,
    text: &str,
    include: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Loaded, ConfigErrors> {
    let (file_name, file) = (file, Some((file, text)));
    let sources =
        Sources { defaults: &[], file, place: file_name, given: &[], backends_needed: true };
    load_sources(&sources, include)
}

/// Makes settings of all sources. `include` reads a file that an `include` names.
///
/// # Errors
///
/// Every fault of every line and value, and those of the whole: no backend, several primaries,
/// settings that contradict each other.
pub fn load_sources(
    sources: &Sources<'_>,
    include: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Loaded, ConfigErrors> {
    let name = sources.file.map_or(sources.place, |(name, _)| name);
    let mut loader = Loader {
        include,
        whole: Origin::whole(&Arc::from(name)),
        backends_needed: sources.backends_needed,
        files: Vec::new(),
        values: Values::default(),
        errors: Vec::new(),
        notices: Vec::new(),
    };
    if let Some((name, text)) = sources.file {
        loader.read(&Arc::from(name), text, 0);
    }
    loader.say_what_the_environment_changes(sources);
    for given in sources.given {
        loader.give(given);
    }
    for given in sources.defaults {
        let absent = match table::find(&given.name) {
            Found::Row(row, node) => loader.values.stored(row.name, node).is_none(),
            _ => true,
        };
        if absent {
            loader.give(given);
        }
    }
    loader.finish()
}

struct Loader<'i> {
    include: &'i mut dyn FnMut(&str) -> Result<String, String>,
    /// The place of what is wrong with all of it together.
    whole: Origin,
    backends_needed: bool,
    /// The files in the order of their reading; errors are reported in it.
    files: Vec<Arc<str>>,
    values: Values,
    errors: Vec<ConfigError>,
    notices: Vec<Notice>,
}

impl Loader<'_> {
    fn read(&mut self, file: &Arc<str>, text: &str, depth: usize) {
        self.files.push(Arc::clone(file));
        let scanned = scan(file, text);
        self.notices.extend(scanned.notices);
        // A password with a blank in it and without quotes spills over into what is then taken
        // for names.
        let secret_lines: BTreeSet<u32> = scanned
            .assignments
            .iter()
            .filter(|assignment| is_secret(&assignment.name))
            .map(|assignment| assignment.line)
            .collect();
        self.errors.extend(scanned.errors.into_iter().map(|ConfigError { origin, problem }| {
            let spilt = origin.line_number().is_some_and(|line| secret_lines.contains(&line));
            ConfigError { origin, problem: if spilt { hide(problem) } else { problem } }
        }));
        for assignment in scanned.assignments {
            let origin = Origin::line(file, assignment.line);
            if assignment.name.eq_ignore_ascii_case("include") {
                self.include(file, &assignment, origin, depth);
                continue;
            }
            let spilt = secret_lines.contains(&assignment.line);
            let Assignment { name, value, .. } = assignment;
            if let Err(problem) = self.assign(name, value, &origin) {
                let problem = if spilt { hide(problem) } else { problem };
                self.errors.push(ConfigError { origin, problem });
            }
        }
    }

    fn include(&mut self, file: &str, line: &Assignment, origin: Origin, depth: usize) {
        let path = match file.rsplit_once('/') {
            Some((directory, _)) if !line.value.starts_with('/') => {
                format!("{directory}/{}", line.value)
            }
            _ => line.value.clone(),
        };
        if depth >= MAX_INCLUDE_DEPTH || self.files.len() > MAX_INCLUDES {
            self.errors.push(ConfigError { origin, problem: Problem::TooManyIncludes { path } });
            return;
        }
        match (self.include)(&path) {
            Ok(text) => self.read(&Arc::from(path), &text, depth + 1),
            Err(reason) => {
                self.errors.push(ConfigError { origin, problem: Problem::Include { path, reason } })
            }
        }
    }

    fn give(&mut self, given: &Given) {
        let Given { name, value, origin } = given;
        if let Err(problem) = self.assign(name.clone(), (**value).clone(), origin) {
            self.errors.push(ConfigError { origin: origin.clone(), problem });
        }
    }

    /// One notice for all variables beside a file: Pgpool-II's image ignores them there.
    fn say_what_the_environment_changes(&mut self, sources: &Sources<'_>) {
        if sources.file.is_none() {
            return;
        }
        let mut overruling = Vec::new();
        let mut adding = Vec::new();
        for given in sources.given {
            let (Origin::Variable(variable), Found::Row(row, node)) =
                (&given.origin, table::find(&given.name))
            else {
                continue;
            };
            let row = renamed(row);
            match self.values.0.get(&(row.name, node)) {
                Some(line) if row.kind.parse(&line.text) != row.kind.parse(&given.value) => {
                    overruling.push(format!("{variable} ({})", line.origin));
                }
                Some(_) => {}
                None => adding.push(variable.to_string()),
            }
        }
        let (level, mut text) = if overruling.is_empty() {
            (Level::Notice, String::new())
        } else {
            let text = format!(" {} overrule what the file says;", overruling.join(", "));
            (Level::Warning, text)
        };
        if !adding.is_empty() {
            text += &format!(" {} add to it;", adding.join(", "));
        }
        if !text.is_empty() {
            let text = format!(
                "environment variables count beside pgpool.conf, unlike in Pgpool-II's \
                 image:{}",
                text.trim_end_matches(';')
            );
            self.notices.push(Notice { level, origin: None, text });
        }
    }

    fn assign(&mut self, name: String, text: String, origin: &Origin) -> Result<(), Problem> {
        let (row, node) = match table::find(&name) {
            Found::Row(row, node) => (row, node),
            Found::NodeIdMissing(name) => return Err(Problem::NodeIdMissing { name }),
            Found::NodeIdInvalid(base) => {
                return Err(Problem::NodeIdInvalid { found: name, name: base });
            }
            Found::Unknown(suggestion) => {
                return Err(Problem::UnknownParameter { name, suggestion });
            }
        };
        let Some(value) = row.kind.parse(&text) else {
            let accepted = row.kind.accepted();
            return Err(Problem::InvalidValue { name, found: text, accepted });
        };
        let target = match row.verdict {
            Verdict::Refused { reason, except } if !any_is(&row.kind, except, &value) => {
                let accepted =
                    if except.is_empty() { "to leave it out".into() } else { except.join(", ") };
                return Err(Problem::Refused { name, found: text, reason, accepted });
            }
            Verdict::Renamed(new) => {
                self.notices.push(Notice {
                    level: Level::Warning,
                    origin: Some(origin.clone()),
                    text: format!("`{name}` is an old name, taken for `{new}`"),
                });
                renamed(row)
            }
            _ => row,
        };
        self.store(row, target, node, text, &value, origin);
        Ok(())
    }

    fn store(
        &mut self,
        written: &'static Parameter,
        target: &'static Parameter,
        node: Option<u16>,
        text: String,
        value: &Value,
        origin: &Origin,
    ) {
        let key = (target.name, node);
        let old_name = written.name != target.name;
        let earlier = self.values.0.get(&key).filter(|earlier| earlier.origin.same_kind(origin));
        // Versions that know both names heed the new one only.
        if old_name && earlier.is_some_and(|earlier| !earlier.old_name) {
            return;
        }
        let text = match (value, earlier) {
            // Pgpool-II joins the flags of repeated lines; losing ALWAYS_PRIMARY to a later line
            // would move the writes.
            (Value::Flags(later), Some(earlier)) => join(earlier, *later),
            _ => text,
        };
        let text = Zeroizing::new(text);
        let stored = Stored { row: target, node, text, origin: origin.clone(), old_name };
        self.values.0.insert(key, stored);
    }

    fn finish(mut self) -> Result<Loaded, ConfigErrors> {
        self.say_what_is_ignored();
        let backends = self.backends();
        let values = core::mem::take(&mut self.values);
        let settings = Settings { backends, ..Settings::from_values(values) };
        self.check(&settings);

        let files = &self.files;
        let position = |origin: &Origin| match origin {
            Origin::Line { file, line } => {
                (files.iter().position(|read| read == file).unwrap_or(usize::MAX), *line)
            }
            Origin::File(file) => {
                (files.iter().position(|read| read == file).unwrap_or(usize::MAX), u32::MAX)
            }
            Origin::Image | Origin::Variable(_) | Origin::Flag => (usize::MAX, 0),
        };
        if self.errors.is_empty() {
            let last = (usize::MAX, u32::MAX);
            self.notices.sort_by_key(|n| n.origin.as_ref().map_or(last, &position));
            Ok(Loaded { settings, notices: self.notices })
        } else {
            self.errors.sort_by_key(|e| position(&e.origin));
            Err(ConfigErrors(self.errors))
        }
    }

    /// One notice for all parameters that nobody will miss, and a warning for each reason why
    /// another behaviour is to be expected.
    fn say_what_is_ignored(&mut self) {
        struct Group {
            /// `None`: the notice.
            reason: Option<&'static str>,
            origin: Origin,
            names: Vec<String>,
        }
        let mut groups: Vec<Group> = Vec::new();
        for ((name, node), stored) in &self.values.0 {
            let Verdict::Ignored { reason, silent, level } = stored.row.verdict else { continue };
            let value = stored.row.kind.parse(&stored.text);
            let default = [stored.row.default];
            let silent = if silent.is_empty() { &default[..] } else { silent };
            if value.is_some_and(|value| any_is(&stored.row.kind, silent, &value)) {
                continue;
            }
            let name = format!("`{}`", with_node((*name, *node)));
            let reason = (level == Level::Warning).then_some(reason);
            match groups.iter_mut().find(|group| group.reason == reason) {
                Some(group) => {
                    group.names.push(name);
                    group.origin = earlier_line(&group.origin, &stored.origin).clone();
                }
                None => {
                    groups.push(Group { reason, origin: stored.origin.clone(), names: vec![name] })
                }
            }
        }
        self.notices.extend(groups.into_iter().map(|Group { reason, origin, names }| {
            let names = names.join(", ");
            let (level, text) = match reason {
                Some(reason) => (Level::Warning, format!("no effect: {names}: {reason}")),
                None => (Level::Notice, format!("no effect here (--check says why): {names}")),
            };
            Notice { level, origin: Some(origin), text }
        }));
    }

    fn notice(&mut self, origin: Option<Origin>, text: String) {
        self.notices.push(Notice { level: Level::Warning, origin, text });
    }

    fn origin(&self, name: &'static str, node: Option<u16>) -> Option<Origin> {
        self.values.stored(name, node).map(|stored| stored.origin.clone())
    }

    fn backends(&mut self) -> Vec<Backend> {
        let ids: BTreeSet<u16> = self
            .values
            .0
            .keys()
            .filter(|(name, _)| name.starts_with("backend_"))
            .filter_map(|(_, node)| *node)
            .collect();
        let backends: Vec<_> = ids.into_iter().filter_map(|id| self.backend(id)).collect();
        if backends.is_empty() {
            // A faulty backend line would be followed by the complaint that there is none.
            let faulty = self.errors.iter().any(|e| e.problem.names("backend_"));
            if self.backends_needed && !faulty {
                let origin = self.whole.clone();
                self.errors.push(ConfigError { origin, problem: Problem::NoBackend });
            } else if !faulty {
                let text = format!("{}; pgweir does not start without", Problem::NoBackend);
                self.notice(Some(self.whole.clone()), text);
            }
        }
        let mut flagged = backends.iter().filter(|node| node.flag.always_primary);
        if let (Some(first), Some(second)) = (flagged.next(), flagged.next()) {
            let problem = Problem::SeveralPrimaries { first: first.id, second: second.id };
            let origin =
                self.origin("backend_flag", Some(second.id)).unwrap_or_else(|| self.whole.clone());
            self.errors.push(ConfigError { origin, problem });
        }
        backends
    }

    fn backend(&mut self, id: u16) -> Option<Backend> {
        let node = Some(id);
        let host = self.values.text("backend_hostname", node);
        let port = self.values.port("backend_port", node);
        let port_line = self.origin("backend_port", node);
        let (host, port) = match (host.as_str(), port) {
            ("", 0) => {
                let origin = self
                    .origin("backend_weight", node)
                    .or_else(|| self.origin("backend_flag", node))
                    .or_else(|| self.origin("backend_application_name", node));
                if origin.is_some() {
                    self.notice(
                        origin,
                        format!("node {id} is not used: backend_hostname{id} is not set"),
                    );
                }
                return None;
            }
            ("", port) => {
                let directory = DEFAULT_BACKEND_SOCKET_DIR.to_owned();
                self.notice(
                    port_line,
                    format!(
                        "backend_hostname{id} is not set: node {id} is reached through the Unix \
                         socket in {directory}"
                    ),
                );
                (BackendHost::UnixDir(directory), port)
            }
            (_, 0) if port_line.is_some() => {
                self.notice(port_line, format!("node {id} is not used: backend_port{id} is 0"));
                return None;
            }
            (_, port) => {
                let port = if port == 0 {
                    self.notice(
                        self.origin("backend_hostname", node),
                        format!("backend_port{id} is not set: taken for {DEFAULT_BACKEND_PORT}"),
                    );
                    DEFAULT_BACKEND_PORT
                } else {
                    port
                };
                let host = if host.starts_with('/') {
                    BackendHost::UnixDir(host)
                } else {
                    BackendHost::Tcp(host)
                };
                (host, port)
            }
        };
        if self.origin("backend_weight", node).is_none() {
            let line =
                self.origin("backend_hostname", node).or_else(|| self.origin("backend_port", node));
            self.notice(
                line,
                format!(
                    "backend_weight{id} is not set: taken for 1 (Pgpool-II takes it for 0, which \
                     keeps reads away from the node)"
                ),
            );
        }
        let flags = self.values.flags("backend_flag", node);
        Some(Backend {
            id,
            host,
            port,
            weight: self.values.float("backend_weight", node),
            flag: BackendFlags {
                always_primary: flags.always_primary,
                disallow_to_failover: flags.disallow_to_failover.unwrap_or(false),
            },
            application_name: self.values.some_text("backend_application_name", node),
            connect_timeout: self.values.limit("connect_timeout", node),
        })
    }

    fn check(&mut self, settings: &Settings) {
        let mut wrong = |name: &str, accepted: String| {
            let found = settings.value(name).unwrap_or_default().to_owned();
            let origin = settings.origin(name).cloned().unwrap_or_else(|| self.whole.clone());
            let problem = Problem::Contradiction { name: name.to_owned(), found, accepted };
            self.errors.push(ConfigError { origin, problem });
        };
        if settings.reserved_connections >= settings.num_init_children {
            let limit = settings.num_init_children;
            wrong("reserved_connections", format!("less than num_init_children, which is {limit}"));
        }
        if settings.min_pool_size > settings.pool_size {
            let limit = settings.pool_size;
            wrong("weir_min_pool_size", format!("at most weir_pool_size, which is {limit}"));
        }
        if settings.server_retry_initial > settings.server_retry_max {
            let limit = settings.value("weir_server_retry_max").unwrap_or_default();
            wrong(
                "weir_server_retry_initial",
                format!("at most weir_server_retry_max, which is {limit}"),
            );
        }
        if settings.listen_addresses.is_empty() && settings.unix_socket_directories.is_empty() {
            let origin = self.whole.clone();
            self.errors.push(ConfigError { origin, problem: Problem::NothingToListenOn });
        }
        self.check_rules(settings);
        self.check_overrides(settings);
        let balanced = settings.load_balance_mode && !settings.backends.is_empty();
        if balanced && settings.backends.iter().all(|node| node.weight == 0.0) {
            self.notice(
                settings.origin("backend_weight0").cloned(),
                "every backend_weight is 0: all reads go to the primary".to_owned(),
            );
        }
    }
}

impl Loader<'_> {
    /// What differs for single databases and users.
    fn check_overrides(&mut self, settings: &Settings) {
        for name in ["weir_database_overrides", "weir_user_overrides"] {
            for entry in split_list(settings.value(name).unwrap_or_default(), ';') {
                if let Err(reason) = Override::parse(&entry) {
                    let origin = settings.origin(name).cloned();
                    self.errors.push(ConfigError {
                        origin: origin.unwrap_or_else(|| self.whole.clone()),
                        problem: Problem::InvalidEntry {
                            name,
                            entry: format!("`{entry}`: "),
                            reason: reason.to_owned(),
                            accepted: ACCEPTED,
                        },
                    });
                }
            }
        }
    }

    /// The lists that route statements and sessions.
    fn check_rules(&mut self, settings: &Settings) {
        let whole = self.whole.clone();
        let place = |name: &str| settings.origin(name).cloned().unwrap_or_else(|| whole.clone());
        match Rules::compile(settings) {
            Ok(rules) => {
                let absent = rules
                    .named_nodes()
                    .filter(|(_, id)| settings.backend(*id).is_none())
                    .collect::<BTreeSet<_>>();
                for (name, id) in absent {
                    let text = format!(
                        "`{name}` names node {id}, which is not configured: its entries are as if \
                         the node was down"
                    );
                    self.notice(Some(place(name)), text);
                }
            }
            Err(faults) => self.errors.extend(faults.into_iter().map(|fault| {
                let problem = Problem::InvalidEntry {
                    name: fault.setting,
                    entry: fault.entry.map(|entry| format!("`{entry}`: ")).unwrap_or_default(),
                    reason: fault.problem.to_string(),
                    accepted: fault.problem.accepted(),
                };
                ConfigError { origin: place(fault.setting), problem }
            })),
        }
        if !settings.write_function_list.is_empty() && !settings.read_only_function_list.is_empty()
        {
            self.notice(
                Some(place("write_function_list")),
                "`read_only_function_list` is set too: every function that it does not match \
                 writes, and `write_function_list` counts only for what both match"
                    .to_owned(),
            );
        }
    }
}

impl Problem {
    /// Whether the problem is about a parameter whose name begins so.
    fn names(&self, prefix: &str) -> bool {
        let name = match self {
            Self::UnknownParameter { suggestion: Some(name), .. }
            | Self::NodeIdMissing { name }
            | Self::NodeIdInvalid { name, .. } => name,
            Self::UnclosedQuote { name }
            | Self::MissingValue { name }
            | Self::InvalidValue { name, .. } => name.as_str(),
            _ => return false,
        };
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    }
}

/// Lines are comparable within a file only; across files the first one seen is good enough.
fn earlier_line<'a>(seen: &'a Origin, next: &'a Origin) -> &'a Origin {
    match (seen, next) {
        (Origin::Line { file: a, line: first }, Origin::Line { file: b, line: second })
            if a == b && second < first =>
        {
            next
        }
        _ => seen,
    }
}

/// The row that a value is kept in: of an old name, the new one's.
fn renamed(row: &'static Parameter) -> &'static Parameter {
    match row.verdict {
        Verdict::Renamed(new) => table::parameters().find(|row| row.name == new).unwrap_or(row),
        _ => row,
    }
}

/// Whether a parameter's value must not be shown.
pub(crate) fn is_secret(name: &str) -> bool {
    matches!(table::find(name), Found::Row(row, _) if matches!(row.kind, Kind::Secret))
}

fn any_is(kind: &Kind, texts: &[&str], value: &Value) -> bool {
    texts.iter().any(|text| kind.parse(text).as_ref() == Some(value))
}

fn with_node((name, node): Key) -> String {
    node.map_or_else(|| name.to_owned(), |node| format!("{name}{node}"))
}

/// The flags of both lines; where they disagree about failover, the later one's.
fn join(earlier: &Stored, later: FlagWords) -> String {
    let earlier = FlagWords::parse(&earlier.text).unwrap_or_default();
    let mut words = Vec::new();
    match later.disallow_to_failover.or(earlier.disallow_to_failover) {
        Some(true) => words.push("DISALLOW_TO_FAILOVER"),
        Some(false) => words.push("ALLOW_TO_FAILOVER"),
        None => {}
    }
    if earlier.always_primary || later.always_primary {
        words.push("ALWAYS_PRIMARY");
    }
    words.join("|")
}

/// The same problem without what may be a piece of a password.
fn hide(problem: Problem) -> Problem {
    let hidden = || HIDDEN.to_owned();
    match problem {
        Problem::UnknownParameter { .. } | Problem::NodeIdInvalid { .. } => {
            Problem::UnknownParameter { name: hidden(), suggestion: None }
        }
        Problem::NotAName { .. } => Problem::NotAName { found: hidden() },
        Problem::MissingValue { .. } => Problem::MissingValue { name: hidden() },
        Problem::UnclosedQuote { .. } => Problem::UnclosedQuote { name: hidden() },
        Problem::InvalidValue { accepted, name, .. } => {
            Problem::InvalidValue { name, found: hidden(), accepted }
        }
        other => other,
    }
}
