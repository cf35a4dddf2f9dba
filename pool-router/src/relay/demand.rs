//! What a statement, or a batch of them, demands of the server that it runs on.

use crate::classify::{
    BeginMode, IsolationLevel, Reason, SavepointAction, StatementCount, Target, TransactionEnd,
    Verdict,
};

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
    /// It writes, or may.
    pub(super) writes: bool,
    /// It leaves a portal or cursor open for later batches of its transaction.
    pub(super) portal: bool,
    /// What it does to the transaction block.
    pub(super) control: Control,
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
    /// Changes a setting, takes a weak lock, or goes back to a savepoint: to be done again where
    /// the transaction moves.
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
        writes: true,
        portal: false,
        control: Control::None,
    };

    /// A batch without statements.
    pub(super) const NOTHING: Self = Self {
        read: true,
        follows: true,
        fits_read_only: true,
        pins: false,
        writes: false,
        portal: false,
        control: Control::None,
    };

    /// A statement that writes and leaves nothing behind.
    pub(super) const WRITE: Self = Self { pins: false, ..Self::UNKNOWN };

    pub(super) fn of(verdict: &Verdict) -> Self {
        let effects = &verdict.effects;
        let read = verdict.target == Target::Read;
        let pins = effects.pins_session.is_some() || effects.sets.other;
        let one = verdict.statements == StatementCount::One;
        let control = if !one {
            Control::None
        } else if let Some(end) = effects.end {
            Control::End(end)
        } else if let Some(modes) = effects.begin {
            Control::Begin(modes)
        } else if effects.savepoint == Some(SavepointAction::Set) {
            Control::Savepoint
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
                || matches!(control, Control::Begin(_) | Control::Savepoint)
                || matches!(control, Control::End(end) if end.kind != crate::classify::EndKind::Prepare));
        Self {
            read,
            follows: read || moves_along,
            fits_read_only: read || moves_along || one && fits_read_only(verdict),
            pins,
            writes: effects.writes,
            portal: matches!(verdict.target, Target::Primary(Reason::SessionState("DECLARE"))),
            control,
        }
    }

    /// Both together, `next` behind this.
    pub(super) fn and(self, next: Self) -> Self {
        Self {
            read: self.read && next.read,
            follows: self.follows && next.follows,
            fits_read_only: self.fits_read_only && next.fits_read_only,
            pins: self.pins || next.pins,
            writes: self.writes || next.writes,
            portal: self.portal || next.portal,
            control: match next.control {
                Control::None => self.control,
                control => control,
            },
        }
    }

    /// Nothing more is known of the rest of the batch.
    pub(super) fn and_unknown(self) -> Self {
        Self { read: false, follows: false, fits_read_only: false, ..self }
    }
}

/// Whether a server in a READ ONLY transaction refuses the statement as a standby does, or both run
/// it alike.
fn fits_read_only(verdict: &Verdict) -> bool {
    match verdict.target {
        Target::Read => true,
        Target::Primary(reason) => match reason {
            Reason::UnknownFunction(_)
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

/// The modes that a transaction has after `change`.
pub(super) fn merged(modes: BeginMode, change: BeginMode) -> BeginMode {
    BeginMode {
        read_only: change.read_only.or(modes.read_only),
        isolation: change.isolation.or(modes.isolation),
        deferrable: change.deferrable.or(modes.deferrable),
    }
}

/// Whether all statements of such a transaction see one snapshot, so that it cannot change servers.
pub(super) fn keeps_snapshot(modes: BeginMode) -> bool {
    matches!(modes.isolation, Some(IsolationLevel::RepeatableRead | IsolationLevel::Serializable))
}
