//! What a variable can do wrong.

use std::fmt;

use crate::config::write_lines;
use crate::passwd::PasswdProblem;

/// One fault of the environment. Never holds a piece of a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment {variable}: {problem}")]
pub struct EnvironmentError {
    /// The variable's name.
    pub variable: String,
    /// What is wrong.
    pub problem: EnvironmentProblem,
}

/// What is wrong with a variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentProblem {
    /// The value is not UTF-8.
    #[error("the value is not UTF-8")]
    NotUtf8,
    /// The value has several lines.
    #[error("the value has several lines; accepted: one")]
    SeveralLines,
    /// The file that is named cannot be read.
    #[error("could not read {path}: {reason}")]
    File {
        /// Its path.
        path: String,
        /// What the reader said.
        reason: String,
    },
    /// Value and file are both given.
    #[error("{other} is set too; accepted: one of both")]
    Both {
        /// The other variable.
        other: String,
    },
    /// Not a boolean.
    #[error("`{found}` is not a boolean; accepted: on, off, true, false, yes, no, 1, 0")]
    NotABoolean {
        /// The value.
        found: String,
    },
    /// Not a method.
    #[error("`{found}` is not a method; accepted: scram-sha-256, md5")]
    NotAMethod {
        /// The value.
        found: String,
    },
    /// Two accounts of one user with different passwords.
    #[error("{other} has another password for the same user `{user}`; accepted: one password")]
    TwoPasswords {
        /// The user.
        user: String,
        /// The other account's password variable.
        other: String,
    },
    /// What `pcp.conf` takes is an MD5 hash.
    #[error("not an entry of pcp.conf; accepted: the 32 hexadecimal digits of the password's MD5")]
    NotAPcpEntry,
    /// User or password is not accepted.
    #[error(transparent)]
    Account(#[from] PasswdProblem),
}

/// Every fault of the environment, by the variables' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentErrors(pub Vec<EnvironmentError>);

impl fmt::Display for EnvironmentErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.0)
    }
}

impl std::error::Error for EnvironmentErrors {}
