//! What a session has SET that no server reports, so that it can be set again on its other servers.
//!
//! In session mode a client has a server on each node. What it sets runs on one of them, and is
//! repeated on another before that runs the client's next statement. A server that refuses to
//! repeat it is not used for this client any more, if it is a standby's.
//!
//! In transaction mode servers are shared. A server that has the settings of another client is reset
//! and given those of the present one ahead of its transaction; clients that have set the same share
//! without that.

use pgwire_core::txn::TransactionStatus;

use super::demand::{Change, Control, Demand, decides_reading};
use crate::classify::{EndKind, IsolationLevel, TrackedParameter};
use crate::prepared::Key;

/// Bytes of statements that are kept of one session. A session that sets more stays on the primary.
const LIMIT: usize = 16 * 1024;

/// What is set, by statements in their order.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    entries: Vec<Entry>,
    version: u64,
    bytes: usize,
    /// Statements that are not known to last: their answer, or the end of their transaction, is to
    /// come.
    pending: Vec<Entry>,
    pending_bytes: usize,
    /// A statement has failed since the last ReadyForQuery.
    failed: bool,
    /// The open transaction has failed, or is being rolled back.
    doomed: bool,
    /// What of `pending` is in effect is not known any more.
    unsure: bool,
    /// The transaction that has set something was followed by another without a break.
    chained: bool,
    /// The isolation level that transactions begin with, if the client has chosen one.
    level: Option<IsolationLevel>,
    /// Servers are shared: what resets everything leaves nothing to be repeated.
    shared: bool,
    /// What tells the settings apart from those of others, and as far as texts are read by them.
    digest: Key,
    reading: Key,
}

#[derive(Debug, Clone)]
struct Entry {
    /// What replaces it: a later one of the same name. `None`: it stands for itself.
    name: Option<Box<[u8]>>,
    sql: Box<[u8]>,
    version: u64,
    change: Change,
}

/// What the end of a statement means for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing that others would have to know.
    Nothing,
    /// Something is set.
    Set,
    /// Everything that the session had set or made is gone.
    Discarded,
    /// Something is set that cannot be repeated.
    Unrepeatable,
}

/// What a statement resets of the parameters that servers report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resets {
    One(TrackedParameter),
    All,
}

impl Resets {
    /// What a statement with this demand and text resets.
    pub(super) fn of(demand: &Demand, sql: &[u8]) -> Option<Self> {
        if matches!(demand.change, Change::ResetAll | Change::DiscardAll) {
            return Some(Self::All);
        }
        let tracked = TrackedParameter::of_name(demand.parameter?.name(sql))?;
        let says = |word: &[u8]| sql.windows(word.len()).any(|it| it.eq_ignore_ascii_case(word));
        // SET TO DEFAULT does the same; SET TIME ZONE has another word for it.
        let resets = says(b"RESET") || says(b"DEFAULT") || says(b"TIME ZONE LOCAL");
        resets.then_some(Self::One(tracked))
    }

    /// Whether this parameter is among it.
    pub(super) fn contains(self, name: &[u8]) -> bool {
        match self {
            Self::One(one) => name.eq_ignore_ascii_case(one.name().as_bytes()),
            Self::All => true,
        }
    }
}

impl Parameters {
    /// With `shared`, servers are shared with other clients.
    pub(super) fn new(shared: bool) -> Self {
        Self { shared, ..Self::default() }
    }

    /// What tells the settings apart from those of other clients.
    pub(super) fn digest(&self) -> Key {
        self.digest
    }

    /// The same, for those by which the texts of statements are read.
    pub(super) fn reading(&self) -> Key {
        self.reading
    }

    /// Whether a server may refuse what others took.
    pub(super) fn may_be_refused(&self) -> bool {
        let is_sure = |name: &[u8]| !matches!(name, b"role" | b"session_authorization");
        self.entries.iter().any(|entry| !entry.name.as_deref().is_some_and(is_sure))
    }

    /// All of it in one query, to be run where nothing is set.
    pub(super) fn script(&self) -> Vec<u8> {
        let mut sql = Vec::with_capacity(self.bytes + 2 * self.entries.len());
        for entry in &self.entries {
            sql.extend_from_slice(&entry.sql);
            // It may end in a comment.
            sql.extend_from_slice(b"\n;");
        }
        sql
    }

    /// The version that a server must have.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The version that a server has where nothing was set.
    pub(super) fn fresh_version(&self) -> u64 {
        let resets = |entry: &&Entry| matches!(entry.change, Change::ResetAll | Change::DiscardAll);
        self.entries.first().filter(resets).map_or(0, |entry| entry.version)
    }

    /// What is newer than `version`, in order.
    pub(super) fn since(&self, version: u64) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter(move |entry| entry.version > version).map(|entry| &*entry.sql)
    }

    /// The isolation level that transactions begin with, if the client has chosen one.
    pub(super) fn level(&self) -> Option<IsolationLevel> {
        self.level
    }

    /// Whether a transaction is open that has set something.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// A statement of the client is sent; `alone` if everything before it is answered.
    pub(super) fn sent(&mut self, demand: &Demand, sql: &[u8], alone: bool) {
        if matches!(demand.control, Control::End(end) if end.chain) {
            self.chained |= self.has_pending();
        }
        match demand.control {
            // It may end another transaction than the one that what is pending was set in.
            Control::End(end) if end.kind != EndKind::Commit && !alone && self.has_pending() => {
                self.unsure = true;
            }
            Control::End(end) if end.kind != EndKind::Commit => self.doomed = true,
            Control::RollbackTo if self.has_pending() => self.unsure = true,
            _ if !demand.one && self.has_pending() => self.unsure = true,
            _ => {}
        }
        let name = match demand.change {
            Change::None | Change::Deallocate | Change::DeallocateAll => return,
            Change::Set(parameter) => parameter.map(|it| it.name(sql).to_ascii_lowercase().into()),
            Change::ResetAll | Change::DiscardAll => None,
        };
        // What a transaction sets in excess is not kept, and so cannot be repeated.
        self.pending_bytes = self.pending_bytes.saturating_add(sql.len());
        if self.pending_bytes > LIMIT && self.has_pending() {
            self.unsure = true;
            return;
        }
        self.pending.push(Entry { name, sql: sql.into(), version: 0, change: demand.change });
    }

    /// The open transaction, all of which is answered, was rolled back without a server.
    pub(super) fn rolled_back(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
        self.doomed = false;
        self.unsure = false;
        self.chained = false;
    }

    /// Whether something has failed since the last ReadyForQuery.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Something that the client sent has failed.
    pub(super) fn failed(&mut self) {
        self.failed = true;
    }

    /// The client's ReadyForQuery.
    pub(super) fn answered(&mut self, status: TransactionStatus) -> Outcome {
        let failed = std::mem::take(&mut self.failed);
        match status {
            TransactionStatus::InTransaction => {
                self.doomed = false;
                return Outcome::Nothing;
            }
            TransactionStatus::Failed => {
                self.doomed = true;
                return Outcome::Nothing;
            }
            TransactionStatus::Idle => {}
        }
        let doomed = std::mem::take(&mut self.doomed) || failed;
        let unsure = std::mem::take(&mut self.unsure);
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if std::mem::take(&mut self.chained) {
            // Some of it lasts, some does not.
            return Outcome::Unrepeatable;
        }
        if pending.is_empty() || doomed {
            return Outcome::Nothing;
        }
        let mut outcome = Outcome::Set;
        for entry in pending {
            if entry.change == Change::DiscardAll {
                outcome = Outcome::Discarded;
            }
            self.keep(entry);
        }
        if unsure || self.bytes > LIMIT {
            return Outcome::Unrepeatable;
        }
        outcome
    }

    fn keep(&mut self, mut entry: Entry) {
        self.version += 1;
        entry.version = self.version;
        match entry.change {
            Change::ResetAll | Change::DiscardAll => {
                // RESET ALL leaves the role alone (PostgreSQL docs, SQL commands, "RESET").
                let stays = |entry: &Entry| {
                    let roles: [&[u8]; 2] = [b"role", b"session_authorization"];
                    entry.name.as_deref().is_some_and(|name| roles.contains(&name))
                };
                let resets_role = entry.change == Change::DiscardAll;
                self.entries.retain(|old| !resets_role && stays(old));
                self.level = None;
            }
            Change::Set(_) | Change::None | Change::Deallocate | Change::DeallocateAll => {
                self.entries.retain(|old| match &entry.name {
                    Some(name) => old.name.as_ref() != Some(name),
                    None => old.sql != entry.sql,
                });
                if entry.sets_level() {
                    self.level = Some(entry.level());
                }
            }
        }
        if !(self.shared && matches!(entry.change, Change::ResetAll | Change::DiscardAll)) {
            self.entries.push(entry);
        }
        let key = |entries: &mut dyn Iterator<Item = &Entry>| {
            let mut entries = entries.map(|entry| &*entry.sql).peekable();
            if entries.peek().is_some() { Key::of(entries) } else { Key::default() }
        };
        self.digest = key(&mut self.entries.iter());
        let reads = |entry: &&Entry| entry.name.as_deref().is_none_or(decides_reading);
        self.reading = key(&mut self.entries.iter().filter(reads));
        self.bytes = self.entries.iter().map(|entry| entry.sql.len()).sum();
    }
}

impl Entry {
    /// Whether it may change the isolation level that transactions begin with.
    fn sets_level(&self) -> bool {
        match &self.name {
            Some(name) => **name == *b"default_transaction_isolation",
            None => self.says(b"isolation"),
        }
    }

    /// The level that it names, or a strict one if it names none.
    fn level(&self) -> IsolationLevel {
        if self.says(b"serializable") {
            IsolationLevel::Serializable
        } else if self.says(b"committed") {
            IsolationLevel::ReadCommitted
        } else {
            // As the server's default may be.
            IsolationLevel::RepeatableRead
        }
    }

    fn says(&self, word: &[u8]) -> bool {
        self.sql.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Lexing, classify};

    fn run(parameters: &mut Parameters, sql: &str, status: TransactionStatus) -> Outcome {
        let verdict = classify(sql.as_bytes(), &Lexing::default());
        parameters.sent(&Demand::of(&verdict, true), sql.as_bytes(), true);
        parameters.answered(status)
    }

    fn send_behind(parameters: &mut Parameters, sql: &str) {
        let verdict = classify(sql.as_bytes(), &Lexing::default());
        parameters.sent(&Demand::of(&verdict, true), sql.as_bytes(), false);
    }

    fn since(parameters: &Parameters, version: u64) -> Vec<String> {
        parameters.since(version).map(|sql| String::from_utf8_lossy(sql).into_owned()).collect()
    }

    const IDLE: TransactionStatus = TransactionStatus::Idle;
    const OPEN: TransactionStatus = TransactionStatus::InTransaction;

    #[test]
    fn the_last_value_of_each_parameter_is_repeated_in_order() {
        let mut parameters = Parameters::default();
        for sql in ["SET search_path TO a", "SET ROLE r", "SET Search_Path = b", "RESET work_mem"] {
            assert_eq!(run(&mut parameters, sql, IDLE), Outcome::Set, "{sql}");
        }
        assert_eq!(since(&parameters, 0), ["SET ROLE r", "SET Search_Path = b", "RESET work_mem"]);
        assert_eq!(since(&parameters, 3), ["RESET work_mem"]);
        assert_eq!(run(&mut parameters, "RESET ALL", IDLE), Outcome::Set);
        assert_eq!(since(&parameters, 0), ["SET ROLE r", "RESET ALL"]);
        assert_eq!(run(&mut parameters, "DISCARD ALL", IDLE), Outcome::Discarded);
        assert_eq!(since(&parameters, 0), ["DISCARD ALL"]);
        assert_eq!(since(&parameters, parameters.fresh_version()), [""; 0]);
    }

    #[test]
    fn shared_servers_are_told_what_is_set() {
        let mut parameters = Parameters::new(true);
        assert_eq!(parameters.digest(), Key::default());
        run(&mut parameters, "SET statement_timeout = 5 -- ms", IDLE);
        assert_eq!(parameters.reading(), Key::default(), "texts are read as before");
        run(&mut parameters, "SET search_path = a", IDLE);
        assert_ne!(parameters.reading(), Key::default());
        assert!(!parameters.may_be_refused());
        let script = "SET statement_timeout = 5 -- ms\n;SET search_path = a\n;";
        assert_eq!(parameters.script(), script.as_bytes());
        run(&mut parameters, "SET ROLE r", IDLE);
        assert!(parameters.may_be_refused());
        run(&mut parameters, "RESET ALL", IDLE);
        assert_eq!(parameters.script(), b"SET ROLE r\n;");
        run(&mut parameters, "DISCARD ALL", IDLE);
        assert_eq!(parameters.digest(), Key::default());
    }

    /// A ROLLBACK that was sent before the SET ahead of it was answered is none of that SET's.
    #[test]
    fn what_is_rolled_back_later_lasts() {
        for between in [&["ROLLBACK"][..], &["SELECT 1", "BEGIN", "ROLLBACK"]] {
            let mut parameters = Parameters::new(true);
            let verdict = classify(b"SET app.state = 1", &Lexing::default());
            parameters.sent(&Demand::of(&verdict, true), b"SET app.state = 1", true);
            for sql in between {
                send_behind(&mut parameters, sql);
            }
            assert_eq!(parameters.answered(IDLE), Outcome::Unrepeatable, "{between:?}");
        }
    }

    #[test]
    fn what_is_rolled_back_or_failed_is_not_repeated() {
        let mut parameters = Parameters::default();
        run(&mut parameters, "BEGIN", OPEN);
        run(&mut parameters, "SET work_mem = 1", OPEN);
        assert_eq!(run(&mut parameters, "ROLLBACK", IDLE), Outcome::Nothing);
        run(&mut parameters, "SET work_mem = 2", OPEN);
        run(&mut parameters, "SELECT 1/0", TransactionStatus::Failed);
        assert_eq!(run(&mut parameters, "COMMIT", IDLE), Outcome::Nothing);
        parameters.failed();
        assert_eq!(run(&mut parameters, "SET work_mem = 3", IDLE), Outcome::Nothing);
        assert_eq!(since(&parameters, 0), [""; 0]);
        run(&mut parameters, "SET work_mem = 4", OPEN);
        assert_eq!(run(&mut parameters, "COMMIT", IDLE), Outcome::Set);
        assert_eq!(since(&parameters, 0), ["SET work_mem = 4"]);
    }

    #[test]
    fn what_is_not_known_for_certain_cannot_be_repeated() {
        let mut parameters = Parameters::default();
        run(&mut parameters, "SET work_mem = 1", OPEN);
        run(&mut parameters, "ROLLBACK TO s", OPEN);
        assert_eq!(run(&mut parameters, "COMMIT", IDLE), Outcome::Unrepeatable);
        for (end, last) in [("COMMIT", "ROLLBACK"), ("ROLLBACK", "COMMIT")] {
            let mut parameters = Parameters::default();
            run(&mut parameters, "SET work_mem = 1", OPEN);
            run(&mut parameters, &format!("{end} AND CHAIN"), OPEN);
            assert_eq!(run(&mut parameters, last, IDLE), Outcome::Unrepeatable, "{end}");
        }
        let mut parameters = Parameters::default();
        for value in 0..LIMIT {
            run(&mut parameters, &format!("SET work_mem = {value}"), OPEN);
        }
        assert!(parameters.pending.len() < LIMIT);
        assert_eq!(run(&mut parameters, "COMMIT", IDLE), Outcome::Unrepeatable);
        let mut parameters = Parameters::default();
        let long = format!("SET work_mem = '{}'", "x".repeat(LIMIT));
        assert_eq!(run(&mut parameters, &long, IDLE), Outcome::Unrepeatable);
    }

    #[test]
    fn the_level_of_later_transactions_is_known() {
        let mut parameters = Parameters::default();
        let mut level_after = |sql: &str| {
            run(&mut parameters, sql, IDLE);
            parameters.level()
        };
        assert_eq!(level_after("SET default_transaction_read_only = on"), None);
        let sql = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE";
        assert_eq!(level_after(sql), Some(IsolationLevel::Serializable));
        let sql = "SET default_transaction_isolation = 'read committed'";
        assert_eq!(level_after(sql), Some(IsolationLevel::ReadCommitted));
        let sql = "RESET default_transaction_isolation";
        assert_eq!(level_after(sql), Some(IsolationLevel::RepeatableRead));
        assert_eq!(level_after("RESET ALL"), None);
    }
}
