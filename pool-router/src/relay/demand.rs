//! What a statement, or a batch of them, demands of the server that it runs on.

use crate::classify::{
    BeginMode, EndKind, IsolationLevel, Parameter, Pin, Reason, SavepointAction, StatementCount,
    Target, TransactionEnd, Unpins, Verdict,
};
use crate::pins::PinReasons;

/// What routing needs to know of a statement, or of all statements of a batch together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    /// Any node may answer it.
    pub(super) read: bool,
    /// It runs wherever its transaction is: a read, transaction control, a setting, a weak lock.
    pub(super) follows: bool,
    /// In a READ ONLY transaction a standby answers it as the primary would.
    pub(super) fits_read_only: bool,
    /// It leaves state in its server session.
    pub(super) pins: bool,
    /// What state, as far as that is known.
    pub(super) why: PinReasons,
    /// What of such state it takes away, if it is one statement.
    pub(super) unpins: PinReasons,
    /// It writes, or may.
    pub(super) writes: bool,
    /// It leaves a portal or cursor open for later batches of its transaction.
    pub(super) portal: bool,
    /// It may change what the catalogue says of functions and relations that others use.
    pub(super) alters_catalogue: bool,
    /// It fails as long as others are connected to the database that it names.
    pub(super) vacates: bool,
    /// It may change settings, and with them how the texts of later statements are read.
    pub(super) sets: bool,
    /// The only one that it may change.
    pub(super) parameter: Option<Parameter>,
    /// It is one statement, or several that only set what can be set again: not any other string of
    /// several.
    pub(super) one: bool,
    /// What it does to the transaction block.
    pub(super) control: Control,
    /// What it does to its session, beyond its transaction.
    pub(super) change: Change,
}

/// What a statement does to its session that can be done again on another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing, or nothing of that kind.
    None,
    /// Sets or resets a parameter that no server reports; `None`: several, or a group.
    Set(Option<Parameter>),
    /// Resets all parameters.
    ResetAll,
    /// Drops one prepared statement.
    Deallocate,
    /// Drops all prepared statements.
    DeallocateAll,
    /// Drops everything.
    DiscardAll,
}

/// What a statement does to the transaction block. Of a batch: what its last such statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// Nothing that another server would have to be told.
    None,
    /// Opens one, in these modes.
    Begin(BeginMode),
    /// Changes the modes of the open one.
    Modes(BeginMode),
    /// Sets a savepoint.
    Savepoint,
    /// Goes back to a savepoint.
    RollbackTo,
    /// Changes a setting, takes a weak lock, releases a savepoint: to be done again where the
    /// transaction moves.
    Repeat,
    /// Ends it.
    End(TransactionEnd),
}

impl Demand {
    /// A statement about which nothing is known.
    pub(super) const UNKNOWN: Self = Self {
        read: false,
        follows: false,
        fits_read_only: false,
        pins: true,
        why: PinReasons::OTHER,
        unpins: NO_PINS,
        writes: true,
        portal: false,
        alters_catalogue: true,
        vacates: false,
        sets: true,
        parameter: None,
        one: false,
        control: Control::None,
        change: Change::None,
    };

    /// A batch without statements.
    pub(super) const NOTHING: Self = Self {
        read: true,
        follows: true,
        fits_read_only: true,
        pins: false,
        why: NO_PINS,
        unpins: NO_PINS,
        writes: false,
        portal: false,
        alters_catalogue: false,
        vacates: false,
        sets: false,
        parameter: None,
        one: true,
        control: Control::None,
        change: Change::None,
    };

    /// A statement that writes and leaves nothing behind.
    pub(super) const WRITE: Self = Self { pins: false, ..Self::UNKNOWN };

    /// What a statement demands. With `repeats`, what it sets is set again on other servers.
    pub(super) fn of(verdict: &Verdict, repeats: bool) -> Self {
        let effects = &verdict.effects;
        let read = verdict.target == Target::Read;
        let one = verdict.statements != StatementCount::Many || effects.repeatable;
        let repeated = repeats && one && effects.repeatable;
        let pins = match effects.pins_session {
            Some(Pin::Setting | Pin::Role) if repeated => false,
            Some(_) => true,
            None => effects.sets.other && !repeated,
        };
        let unpins = &effects.unpins;
        let change = if unpins.discard_all && one {
            Change::DiscardAll
        } else if unpins.discard_all || unpins.deallocate_all {
            Change::DeallocateAll
        } else if unpins.deallocate_one && one {
            Change::Deallocate
        } else if !repeated {
            Change::None
        } else if unpins.reset_all {
            Change::ResetAll
        } else if effects.sets.other || effects.sets.transaction_defaults {
            Change::Set(effects.sets.parameter)
        } else {
            Change::None
        };
        let control = if !one {
            Control::None
        } else if let Some(end) = effects.end {
            Control::End(end)
        } else if let Some(modes) = effects.begin {
            Control::Begin(modes)
        } else if effects.savepoint == Some(SavepointAction::Set) {
            Control::Savepoint
        } else if effects.savepoint == Some(SavepointAction::RollbackTo) {
            Control::RollbackTo
        } else if let Some(modes) = effects.transaction_modes {
            Control::Modes(modes)
        } else if effects.repeatable {
            Control::Repeat
        } else {
            Control::None
        };
        let moves_along = one
            && !pins
            && (effects.repeatable
                || matches!(control, Control::Begin(_) | Control::Savepoint | Control::RollbackTo)
                || matches!(control, Control::End(end) if end.kind != EndKind::Prepare));
        Self {
            read,
            follows: read || moves_along,
            fits_read_only: read || moves_along || one && fits_read_only(verdict),
            pins,
            why: match effects.pins_session {
                Some(pin) if pins => PinReasons::of(pin),
                None if pins => PinReasons::SETTING,
                Some(_) | None => NO_PINS,
            },
            unpins: if one { taken_away(unpins) } else { NO_PINS },
            writes: effects.writes,
            portal: matches!(verdict.target, Target::Primary(Reason::SessionState("DECLARE"))),
            alters_catalogue: alters_catalogue(verdict),
            vacates: effects.vacates.is_some(),
            sets: !effects.sets.tracked.is_empty()
                || effects.sets.local
                || effects.sets.other
                || unpins.reset_all
                || unpins.discard_all
                || effects.pins_session == Some(Pin::Unreadable)
                || matches!(effects.pins_session, Some(Pin::Setting | Pin::Role)),
            parameter: effects.sets.parameter,
            one,
            control,
            change,
        }
    }

    /// Whether it does nothing to transaction or session.
    pub(super) fn is_plain(&self) -> bool {
        self.one && self.control == Control::None && self.change == Change::None
    }

    /// Whether any server answers it alike in a transaction that has failed: with a refusal, or by
    /// ending it or going back to a savepoint. Others may end it and then write, or begin one in
    /// modes that only the server knows.
    pub(super) fn suits_failed(&self) -> bool {
        match self.control {
            Control::None => self.follows || self.one,
            Control::End(end) => self.follows && !end.chain,
            _ => self.follows,
        }
    }

    /// Whether it may change how the texts of later statements are read; `sql` is its text.
    pub(super) fn changes_reading(&self, sql: &[u8]) -> bool {
        let parameter = self.parameter.map(|parameter| parameter.name(sql));
        self.sets && parameter.is_none_or(decides_reading)
    }

    /// Both together, `next` behind this.
    pub(super) fn and(self, next: Self) -> Self {
        Self {
            read: self.read && next.read,
            follows: self.follows && next.follows,
            fits_read_only: self.fits_read_only && next.fits_read_only,
            pins: self.pins || next.pins,
            why: self.why.with(next.why),
            unpins: NO_PINS,
            writes: self.writes || next.writes,
            portal: self.portal || next.portal,
            alters_catalogue: self.alters_catalogue || next.alters_catalogue,
            vacates: self.vacates || next.vacates,
            sets: self.sets || next.sets,
            parameter: None,
            one: self.one && next.one,
            control: match next.control {
                Control::None => self.control,
                control => control,
            },
            change: match next.change {
                Change::None => self.change,
                change => change,
            },
        }
    }

    /// Nothing more is known of the rest of the batch.
    pub(super) fn and_unknown(self) -> Self {
        Self { read: false, follows: false, fits_read_only: false, ..self }
    }
}

const NO_PINS: PinReasons = PinReasons::LISTEN.without(PinReasons::LISTEN);

fn taken_away(unpins: &Unpins) -> PinReasons {
    let mut gone = NO_PINS;
    if unpins.unlisten_all {
        gone = gone.with(PinReasons::LISTEN);
    }
    if unpins.close_all {
        gone = gone.with(PinReasons::HELD_CURSOR);
    }
    if unpins.deallocate_all {
        gone = gone.with(PinReasons::PREPARED_STATEMENT);
    }
    gone
}

/// Whether a server in a READ ONLY transaction refuses the statement as a standby does, or both run
/// it alike.
fn fits_read_only(verdict: &Verdict) -> bool {
    match verdict.target {
        Target::Read => true,
        Target::Primary(reason) => match reason {
            Reason::UnknownFunction(_)
            | Reason::WritingName(_)
            | Reason::Operator(_)
            | Reason::RowLock(_)
            | Reason::SelectInto
            | Reason::Writes(_) => verdict.effects.pins_session.is_none(),
            Reason::SessionState(keyword) => {
                matches!(keyword, "DECLARE" | "FETCH" | "MOVE" | "CLOSE")
                    && verdict.effects.pins_session.is_none()
            }
            _ => false,
        },
    }
}

/// Whether other statements may have to be looked at anew. Temporary objects are their session's.
fn alters_catalogue(verdict: &Verdict) -> bool {
    match verdict.target {
        Target::Read => false,
        Target::Primary(reason) => match reason {
            Reason::Writes(keyword) => {
                verdict.effects.pins_session != Some(Pin::TemporaryObject)
                    && matches!(
                        keyword,
                        "CREATE" | "ALTER" | "DROP" | "DO" | "CALL" | "IMPORT" | "REASSIGN"
                    )
            }
            Reason::MultipleStatements => verdict.effects.writes,
            Reason::UnknownStatement | Reason::NotParsable(_) => true,
            _ => false,
        },
    }
}

/// Whether the texts of statements may be read in another way where this parameter is set.
pub(super) fn decides_reading(name: &[u8]) -> bool {
    const OTHERS: [&str; 8] = [
        "application_name",
        "client_min_messages",
        "idle_in_transaction_session_timeout",
        "lock_timeout",
        "statement_timeout",
        "synchronous_commit",
        "transaction_timeout",
        "work_mem",
    ];
    // Parameters with a dot are the programs' own.
    !(name.contains(&b'.') || OTHERS.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes())))
}

/// The modes that a transaction has after `change`.
pub(super) fn merged(modes: BeginMode, change: BeginMode) -> BeginMode {
    BeginMode {
        read_only: change.read_only.or(modes.read_only),
        isolation: change.isolation.or(modes.isolation),
        deferrable: change.deferrable.or(modes.deferrable),
    }
}

/// Whether all statements of a transaction of this level see one snapshot, so that it cannot change
/// servers.
pub(super) fn keeps_snapshot(level: Option<IsolationLevel>) -> bool {
    matches!(level, Some(IsolationLevel::RepeatableRead | IsolationLevel::Serializable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Lexing, classify};

    fn demand(sql: &str, repeats: bool) -> Demand {
        Demand::of(&classify(sql.as_bytes(), &Lexing::default()), repeats)
    }

    #[test]
    fn what_servers_report_is_set_without_a_tie() {
        for sql in [
            "SET TimeZone = 'UTC'",
            "SELECT set_config('TimeZone', 'UTC', false)",
            "SELECT set_config('TimeZone', 'UTC', true)",
            "SET DateStyle = 'ISO';SET TIME ZONE 'UTC'",
        ] {
            for repeats in [true, false] {
                let demand = demand(sql, repeats);
                assert!(!demand.pins && !demand.writes && demand.follows, "{sql}");
                assert!(demand.one && !demand.read, "{sql}");
                assert_eq!(
                    (demand.control, demand.change),
                    (Control::Repeat, Change::None),
                    "{sql}"
                );
            }
        }
    }

    #[test]
    fn what_they_do_not_report_is_repeated_or_ties() {
        for (sql, parameter) in [
            ("SET work_mem = '1MB'", Some("work_mem")),
            ("SELECT set_config('work_mem', '1MB', false)", Some("work_mem")),
            ("SELECT set_config('role', 'x', false)", Some("role")),
            ("SET client_min_messages TO warning;SET TIME ZONE 'UTC'", None),
        ] {
            let repeated = demand(sql, true);
            assert!(!repeated.pins && repeated.follows && repeated.one, "{sql}");
            let Change::Set(found) = repeated.change else { panic!("{sql}: {repeated:?}") };
            let found = found.map(|it| it.name(sql.as_bytes()));
            assert_eq!(found, parameter.map(str::as_bytes), "{sql}");
            let tied = demand(sql, false);
            assert!(tied.pins && !tied.follows && tied.change == Change::None, "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_repeated_ties() {
        for sql in [
            "SET work_mem = '1MB'; SELECT 1",
            "SET work_mem = '1MB'; SET seed = 0.5",
            "SELECT set_config('work_mem', current_user, false)",
            "SET search_path = pg_temp, public",
            "SET LOCAL search_path = pg_temp",
            "SELECT set_config('search_path', 'pg_temp', false)",
        ] {
            for repeats in [true, false] {
                let demand = demand(sql, repeats);
                assert!(demand.pins && !demand.follows && demand.change == Change::None, "{sql}");
            }
        }
    }
}
