//! `pcp.conf`: who may use the PCP port.
//!
//! One line per user, `user:hash`, where the hash is the MD5 of the password in 32 hexadecimal
//! digits, as Pgpool-II's `pg_md5` prints it. Lines that begin with `#` and empty ones are skipped.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use pgwire_core::auth::Md5Hash;
use zeroize::Zeroizing;

use crate::config::{Level, Notice, Origin, write_lines};
use crate::passwd::MAX_USER_LEN;

/// Most users.
pub const MAX_PCP_USERS: usize = 10_000;

/// The MD5 of a password, which is as good as the password.
#[derive(Clone)]
pub struct PcpHash(Md5Hash);

impl PcpHash {
    /// The hash of a password.
    #[must_use]
    pub fn of(password: &str) -> Self {
        Self(Md5Hash::of(password.as_bytes(), b""))
    }

    /// Takes 32 hexadecimal digits.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let stored = Zeroizing::new(format!("md5{}", hex.to_ascii_lowercase()));
        Md5Hash::parse(stored.as_bytes()).map(Self)
    }

    /// The 32 hexadecimal digits, in lower case. Not to be logged.
    #[must_use]
    pub fn as_hex(&self) -> &[u8; 32] {
        self.0.as_hex()
    }
}

impl fmt::Debug for PcpHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PcpHash(..)")
    }
}

/// One fault of `pcp.conf`. Never holds a piece of a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct PcpError {
    /// Where the fault is.
    pub origin: Origin,
    /// What is wrong.
    pub problem: PcpProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PcpProblem {
    /// Not `user:hash`.
    #[error("accepted: user:hash, where hash is the MD5 of the password in 32 hexadecimal digits")]
    NotAnEntry,
    /// The user's name is too long.
    #[error("the user name has {len} bytes; accepted: at most {MAX_USER_LEN}")]
    UserTooLong {
        /// Its length.
        len: usize,
    },
    /// Too many lines.
    #[error("too many entries; accepted: at most {MAX_PCP_USERS}")]
    TooManyEntries,
}

/// Every fault of the file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcpErrors(pub Vec<PcpError>);

impl fmt::Display for PcpErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.0)
    }
}

impl std::error::Error for PcpErrors {}

/// The users of the PCP port.
#[derive(Debug, Clone, Default)]
pub struct PcpUsers {
    entries: BTreeMap<String, PcpHash>,
    notices: Vec<Notice>,
}

impl PcpUsers {
    /// Reads the text of the file; `file` names it in messages.
    ///
    /// # Errors
    ///
    /// Every fault of every line.
    pub fn parse(file: &str, text: &str) -> Result<Self, PcpErrors> {
        let file: Arc<str> = Arc::from(file);
        let mut users = Self::default();
        let mut errors = Vec::new();
        for (number, line) in (1_u32..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let origin = Origin::line(&file, number);
            if users.entries.len() >= MAX_PCP_USERS {
                errors.push(PcpError { origin, problem: PcpProblem::TooManyEntries });
                break;
            }
            match entry(line) {
                Ok((user, _)) if users.entries.contains_key(user) => users.notices.push(Notice {
                    level: Level::Warning,
                    origin: Some(origin),
                    text: format!("another entry for `{user}`; the first one holds"),
                }),
                Ok((user, hash)) => {
                    users.entries.insert(user.to_owned(), hash);
                }
                Err(problem) => errors.push(PcpError { origin, problem }),
            }
        }
        if errors.is_empty() { Ok(users) } else { Err(PcpErrors(errors)) }
    }

    /// Sets the entry of a user.
    pub fn set(&mut self, user: &str, hash: PcpHash) {
        self.entries.insert(user.to_owned(), hash);
    }

    /// The entry of a user; names are compared byte by byte.
    #[must_use]
    pub fn lookup(&self, user: &str) -> Option<&PcpHash> {
        self.entries.get(user)
    }

    /// The number of users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no user at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the operator should know about the file.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }
}

fn entry(line: &str) -> Result<(&str, PcpHash), PcpProblem> {
    let (user, hex) = line.rsplit_once(':').ok_or(PcpProblem::NotAnEntry)?;
    if user.len() > MAX_USER_LEN {
        return Err(PcpProblem::UserTooLong { len: user.len() });
    }
    match PcpHash::parse(hex) {
        Some(hash) if !user.is_empty() => Ok((user, hash)),
        _ => Err(PcpProblem::NotAnEntry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_faults() {
        let hash = "e8a48653851e28c69d0506508fb27fc5";
        let text =
            format!("# users\n\npostgres:{hash}\nbob:{}\npostgres:{hash}\n", hash.to_uppercase());
        let users = PcpUsers::parse("pcp.conf", &text).unwrap();
        assert_eq!(users.len(), 2);
        assert_eq!(users.lookup("postgres").unwrap().as_hex(), hash.as_bytes());
        assert_eq!(users.lookup("bob").unwrap().as_hex(), PcpHash::of("postgres").as_hex());
        assert!(users.lookup("eve").is_none());
        assert_eq!(users.notices().len(), 1);
        assert!(!format!("{users:?}").contains("e8a4"));

        let errors = PcpUsers::parse("f", "hunter2\nbob:hunter2\n:0\nok:x").unwrap_err();
        assert_eq!(errors.0.len(), 4);
        assert!(errors.to_string().starts_with("f:1: accepted: user:hash"));
        assert!(!errors.to_string().contains("hunter2"));
    }
}
