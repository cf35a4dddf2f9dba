//! SQLSTATE codes: the stable part of an error, which clients act upon.
//!
//! Source: PostgreSQL documentation, appendix "PostgreSQL Error Codes".

use core::fmt;

/// A SQLSTATE: five digits or upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `00000` successful_completion: what messages that are no errors carry.
    pub const SUCCESSFUL_COMPLETION: Self = Self(*b"00000");
    /// `01000` warning.
    pub const WARNING: Self = Self(*b"01000");
    /// `08000` connection_exception.
    pub const CONNECTION_EXCEPTION: Self = Self(*b"08000");
    /// `08001` sqlclient_unable_to_establish_sqlconnection.
    pub const UNABLE_TO_CONNECT: Self = Self(*b"08001");
    /// `08003` connection_does_not_exist.
    pub const CONNECTION_DOES_NOT_EXIST: Self = Self(*b"08003");
    /// `08004` sqlserver_rejected_establishment_of_sqlconnection.
    pub const CONNECTION_REJECTED: Self = Self(*b"08004");
    /// `08006` connection_failure: a connection in use was lost.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// `08007` transaction_resolution_unknown: lost while a commit was under way.
    pub const TRANSACTION_RESOLUTION_UNKNOWN: Self = Self(*b"08007");
    /// `08P01` protocol_violation.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// `0A000` feature_not_supported.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// `22021` character_not_in_repertoire.
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self(*b"22021");
    /// `22023` invalid_parameter_value.
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// `25001` active_sql_transaction.
    pub const ACTIVE_SQL_TRANSACTION: Self = Self(*b"25001");
    /// `25006` read_only_sql_transaction: what a standby says to a write.
    pub const READ_ONLY_SQL_TRANSACTION: Self = Self(*b"25006");
    /// `25P02` in_failed_sql_transaction.
    pub const IN_FAILED_SQL_TRANSACTION: Self = Self(*b"25P02");
    /// `25P03` idle_in_transaction_session_timeout.
    pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: Self = Self(*b"25P03");
    /// `26000` invalid_sql_statement_name: no such prepared statement.
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self(*b"26000");
    /// `28000` invalid_authorization_specification.
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    /// `28P01` invalid_password.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// `34000` invalid_cursor_name: no such portal.
    pub const INVALID_CURSOR_NAME: Self = Self(*b"34000");
    /// `3D000` invalid_catalog_name: no such database.
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// `40001` serialization_failure: also a query on a standby that recovery cancelled.
    pub const SERIALIZATION_FAILURE: Self = Self(*b"40001");
    /// `42501` insufficient_privilege.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// `42601` syntax_error.
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    /// `42704` undefined_object: also an unknown parameter.
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    /// `42P05` duplicate_prepared_statement.
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self(*b"42P05");
    /// `53000` insufficient_resources.
    pub const INSUFFICIENT_RESOURCES: Self = Self(*b"53000");
    /// `53200` out_of_memory.
    pub const OUT_OF_MEMORY: Self = Self(*b"53200");
    /// `53300` too_many_connections.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// `53400` configuration_limit_exceeded.
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self(*b"53400");
    /// `54000` program_limit_exceeded.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    /// `55000` object_not_in_prerequisite_state.
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self(*b"55000");
    /// `57000` operator_intervention.
    pub const OPERATOR_INTERVENTION: Self = Self(*b"57000");
    /// `57014` query_canceled.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// `57P01` admin_shutdown.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// `57P02` crash_shutdown.
    pub const CRASH_SHUTDOWN: Self = Self(*b"57P02");
    /// `57P03` cannot_connect_now: starting up, shutting down or in recovery.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// `57P04` database_dropped.
    pub const DATABASE_DROPPED: Self = Self(*b"57P04");
    /// `57P05` idle_session_timeout.
    pub const IDLE_SESSION_TIMEOUT: Self = Self(*b"57P05");
    /// `58000` system_error.
    pub const SYSTEM_ERROR: Self = Self(*b"58000");
    /// `F0000` config_file_error.
    pub const CONFIG_FILE_ERROR: Self = Self(*b"F0000");
    /// `XX000` internal_error.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// The code with these characters; `None` if they are not five digits or upper-case letters.
    #[must_use]
    pub const fn from_bytes(code: &[u8]) -> Option<Self> {
        let &[a, b, c, d, e] = code else { return None };
        let code = [a, b, c, d, e];
        let mut rest: &[u8] = &code;
        while let [first, more @ ..] = rest {
            if !first.is_ascii_digit() && !first.is_ascii_uppercase() {
                return None;
            }
            rest = more;
        }
        Some(Self(code))
    }

    /// The five characters.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }

    /// The five characters as text.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        match core::str::from_utf8(&self.0) {
            Ok(text) => text,
            // No constructor lets anything but ASCII in.
            Err(_) => "XX000",
        }
    }

    /// Whether a server that says so, in an error or in a warning, is about to close the connection
    /// because it shuts down, has crashed or takes no connections now (`57P01`, `57P02`, `57P03`).
    #[must_use]
    pub fn is_server_leaving(self) -> bool {
        matches!(self, Self::ADMIN_SHUTDOWN | Self::CRASH_SHUTDOWN | Self::CANNOT_CONNECT_NOW)
    }

    /// The class: the first two characters.
    #[must_use]
    pub const fn class(self) -> [u8; 2] {
        let [a, b, ..] = self.0;
        [a, b]
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({})", self.as_str())
    }
}
