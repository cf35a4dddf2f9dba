//! Why a client keeps its server, or the primary: what its session has made there that cannot follow.

use std::fmt;

use crate::classify::Pin;

/// Reasons for which a session is tied to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PinReasons(u16);

impl PinReasons {
    /// `LISTEN`.
    pub const LISTEN: Self = Self(1);
    /// A temporary object, or a search path with the schema of these.
    pub const TEMPORARY_OBJECT: Self = Self(1 << 1);
    /// A cursor `WITH HOLD`.
    pub const HELD_CURSOR: Self = Self(1 << 2);
    /// SQL `PREPARE`, or a statement of the protocol that cannot be shared.
    pub const PREPARED_STATEMENT: Self = Self(1 << 3);
    /// A session-level advisory lock.
    pub const ADVISORY_LOCK: Self = Self(1 << 4);
    /// `LOAD`.
    pub const LOADED_LIBRARY: Self = Self(1 << 5);
    /// A setting that cannot be repeated.
    pub const SETTING: Self = Self(1 << 6);
    /// Anything else: a text that could not be read, `setseed`, connections of `dblink` ...
    pub const OTHER: Self = Self(1 << 7);

    /// It is a replication connection, to its end.
    pub const REPLICATION: Self = Self(1 << 8);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::LISTEN, "LISTEN"),
        (Self::TEMPORARY_OBJECT, "temporary object"),
        (Self::HELD_CURSOR, "cursor WITH HOLD"),
        (Self::PREPARED_STATEMENT, "prepared statement"),
        (Self::ADVISORY_LOCK, "advisory lock"),
        (Self::LOADED_LIBRARY, "LOAD"),
        (Self::SETTING, "setting"),
        (Self::OTHER, "other"),
        (Self::REPLICATION, "replication"),
    ];

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These but for those.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(crate) const fn of(pin: Pin) -> Self {
        match pin {
            Pin::Listen => Self::LISTEN,
            Pin::TemporaryObject => Self::TEMPORARY_OBJECT,
            Pin::HeldCursor => Self::HELD_CURSOR,
            Pin::PreparedStatement => Self::PREPARED_STATEMENT,
            Pin::AdvisoryLock => Self::ADVISORY_LOCK,
            Pin::LoadedLibrary => Self::LOADED_LIBRARY,
            Pin::Setting | Pin::Role => Self::SETTING,
            Pin::RandomSeed | Pin::ForeignConnection | Pin::ReplicationOrigin | Pin::Unreadable => {
                Self::OTHER
            }
        }
    }
}

impl fmt::Display for PinReasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Self::NAMES.iter().filter(|(reason, _)| self.0 & reason.0 != 0);
        if let Some((_, name)) = names.next() {
            f.write_str(name)?;
        }
        names.try_for_each(|(_, name)| write!(f, ", {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_and_go() {
        let both = PinReasons::LISTEN.with(PinReasons::of(Pin::Role));
        assert_eq!(both.to_string(), "LISTEN, setting");
        assert_eq!(both.without(PinReasons::LISTEN), PinReasons::SETTING);
        assert!(both.without(both).is_empty());
        assert_eq!(PinReasons::default().to_string(), "");
    }
}
