//! `pool_passwd`: the passwords by which clients are checked and servers are logged in to.
//!
//! One line per user, `user:password`, as Pgpool-II's `pg_md5` and `pg_enc` write it. A colon in a
//! user name is written `\:`. What begins the password tells its kind. Empty lines, and lines that
//! begin with `#`, are skipped.
//!
//! Everything behind the first colon is the password: a colon in it needs no backslash. The form
//! with two more fields, which Pgpool-II parses and does not use, is not known here.

mod edit;
mod key;

use core::fmt;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use zeroize::Zeroizing;

use pgwire_core::auth::Secret;

use crate::config::{Level, Notice, Origin, write_lines};

pub use edit::with_entry;
pub use key::{HOME_KEY_FILE, MAX_KEY_LEN, PoolKey};

/// Longest user name, in bytes; Pgpool-II's bound.
pub const MAX_USER_LEN: usize = 128;

/// Longest password field, in bytes. Above Pgpool-II's 132, in which a SCRAM verifier with a long
/// salt has no room.
pub const MAX_PASSWORD_LEN: usize = 1024;

/// Most entries.
pub const MAX_ENTRIES: usize = 100_000;

/// Text that must not be shown; wiped when dropped.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text. Not to be logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// A password field, by its kind.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoredPassword {
    /// `md5` and 32 hexadecimal digits: MD5 of password and user. The field as written. Checks
    /// clients by md5 and clear text; logs in to servers by md5.
    Md5(SecretText),
    /// The password itself, written as it is or behind `TEXT` (which is cut off). Serves for all.
    Plain(SecretText),
    /// A verifier, `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`. The field as written.
    /// Checks clients; cannot log in to servers.
    Scram(SecretText),
    /// `AES` and base64: a password encrypted with a key that is not known. The base64. Cannot be
    /// used.
    Aes(SecretText),
}

impl StoredPassword {
    /// The password itself, whatever it begins with.
    ///
    /// # Errors
    ///
    /// [`PasswdProblem::EmptyPassword`] and [`PasswdProblem::PasswordTooLong`].
    pub fn plain(password: &str) -> Result<Self, PasswdProblem> {
        match password.len() {
            0 => Err(PasswdProblem::EmptyPassword),
            len if len > MAX_PASSWORD_LEN => Err(PasswdProblem::PasswordTooLong { len }),
            _ => Ok(Self::Plain(SecretText::new(password))),
        }
    }

    /// Tells the kind of a password field.
    ///
    /// # Errors
    ///
    /// [`PasswdProblem::EmptyPassword`], [`PasswdProblem::PasswordTooLong`], and
    /// [`PasswdProblem::Scram`] or [`PasswdProblem::Aes`] for a field that begins like one and is
    /// none.
    pub fn parse(field: &str) -> Result<Self, PasswdProblem> {
        if field.is_empty() || field == "TEXT" {
            return Err(PasswdProblem::EmptyPassword);
        }
        if field.len() > MAX_PASSWORD_LEN {
            return Err(PasswdProblem::PasswordTooLong { len: field.len() });
        }
        if let Some(hex) = field.strip_prefix("md5") {
            // A password may begin with the three letters.
            if hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Ok(Self::Md5(SecretText::new(field)));
            }
        }
        if let Some(verifier) = field.strip_prefix("SCRAM-SHA-256$") {
            return if is_verifier(verifier) {
                Ok(Self::Scram(SecretText::new(field)))
            } else {
                Err(PasswdProblem::Scram)
            };
        }
        if let Some(ciphertext) = field.strip_prefix("AES") {
            return if is_base64(ciphertext) {
                Ok(Self::Aes(SecretText::new(ciphertext)))
            } else {
                Err(PasswdProblem::Aes)
            };
        }
        Ok(Self::Plain(SecretText::new(field.strip_prefix("TEXT").unwrap_or(field))))
    }

    /// What it is good for in an exchange; `None`: it is encrypted, and the key is not known.
    #[must_use]
    pub fn secret(&self) -> Option<Secret> {
        match self {
            Self::Plain(text) => Some(Secret::password(text.expose().as_bytes())),
            Self::Md5(text) => {
                let lower = Zeroizing::new(text.expose().to_ascii_lowercase());
                Some(Secret::parse_rolpassword(lower.as_bytes()))
            }
            Self::Scram(text) => Some(Secret::parse_rolpassword(text.expose().as_bytes())),
            Self::Aes(_) => None,
        }
    }
}

/// The outline of `iterations:salt$StoredKey:ServerKey`; the keys are checked where they are used.
fn is_verifier(text: &str) -> bool {
    let Some((head, keys)) = text.split_once('$') else { return false };
    let (Some((iterations, salt)), Some((stored, server))) =
        (head.split_once(':'), keys.split_once(':'))
    else {
        return false;
    };
    iterations.parse::<u32>().is_ok_and(|n| n > 0)
        && [salt, stored, server].into_iter().all(is_base64)
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// One fault of `pool_passwd`. Never holds a piece of a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct PasswdError {
    /// Where the fault is.
    pub origin: Origin,
    /// What is wrong.
    pub problem: PasswdProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswdProblem {
    /// No colon.
    #[error("no `:` between user and password; accepted: user:password")]
    NoColon,
    /// Nothing in front of the colon.
    #[error("no user in front of the `:`; accepted: user:password")]
    EmptyUser,
    /// Nothing behind the colon.
    #[error("no password behind the `:`; accepted: user:password")]
    EmptyPassword,
    /// The user's name is too long.
    #[error("the user name has {len} bytes; accepted: at most {MAX_USER_LEN}")]
    UserTooLong {
        /// Its length.
        len: usize,
    },
    /// The password is too long.
    #[error("the password has {len} bytes; accepted: at most {MAX_PASSWORD_LEN}")]
    PasswordTooLong {
        /// Its length.
        len: usize,
    },
    /// Not a SCRAM verifier.
    #[error(
        "not a SCRAM verifier; accepted: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey; write \
         TEXT in front of a password that begins so"
    )]
    Scram,
    /// Not an encrypted password.
    #[error(
        "not an encrypted password; accepted: AES and base64; write TEXT in front of a password \
         that begins so"
    )]
    Aes,
    /// An encrypted password that the key does not fit.
    #[error("the password is encrypted with another key than the key file's")]
    WrongKey,
    /// Too many lines.
    #[error("too many entries; accepted: at most {MAX_ENTRIES}")]
    TooManyEntries,
}

/// Every fault of the file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswdErrors(pub Vec<PasswdError>);

impl fmt::Display for PasswdErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.0)
    }
}

impl std::error::Error for PasswdErrors {}

/// The entries of `pool_passwd`, by user.
#[derive(Debug, Clone, Default)]
pub struct PoolPasswd {
    entries: BTreeMap<String, StoredPassword>,
    notices: Vec<Notice>,
}

impl PoolPasswd {
    /// Reads the text of the file; `file` names it in messages. Without `key`, encrypted entries
    /// cannot be used, and a notice says so.
    ///
    /// # Errors
    ///
    /// Every fault of every line.
    pub fn parse(file: &str, text: &str, key: Option<&PoolKey>) -> Result<Self, PasswdErrors> {
        let file: Arc<str> = Arc::from(file);
        let mut passwd = Self::default();
        let mut errors = Vec::new();
        let mut encrypted = Vec::new();
        for (number, line) in (1_u32..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let origin = Origin::line(&file, number);
            if passwd.entries.len() >= MAX_ENTRIES {
                errors.push(PasswdError { origin, problem: PasswdProblem::TooManyEntries });
                break;
            }
            match entry(line) {
                Ok((user, StoredPassword::Aes(base64))) => match key {
                    Some(key) => match key.decrypt(base64.expose()) {
                        Some(plain) => passwd.insert(user, StoredPassword::Plain(plain), origin),
                        None => {
                            errors.push(PasswdError { origin, problem: PasswdProblem::WrongKey });
                        }
                    },
                    None => {
                        encrypted.push((origin.clone(), user.clone()));
                        passwd.insert(user, StoredPassword::Aes(base64), origin);
                    }
                },
                Ok((user, password)) => passwd.insert(user, password, origin),
                Err(problem) => errors.push(PasswdError { origin, problem }),
            }
        }
        if let Some((first, _)) = encrypted.first() {
            let users: Vec<_> = encrypted.iter().map(|(_, user)| format!("`{user}`")).collect();
            passwd.notices.push(Notice {
                level: Level::Warning,
                origin: Some(first.clone()),
                text: format!(
                    "AES entries cannot be used without their key (-k, PGPOOLKEYFILE or \
                     ~/.pgpoolkey): there is no password for {}",
                    users.join(", ")
                ),
            });
        }
        if errors.is_empty() { Ok(passwd) } else { Err(PasswdErrors(errors)) }
    }

    fn insert(&mut self, user: String, password: StoredPassword, origin: Origin) {
        match self.entries.entry(user) {
            Entry::Vacant(vacant) => {
                vacant.insert(password);
            }
            Entry::Occupied(first) => self.notices.push(Notice {
                level: Level::Warning,
                origin: Some(origin),
                text: format!("another entry for `{}`; the first one holds", first.key()),
            }),
        }
    }

    /// Sets the entry of a user. Whether it overrules one of the file.
    pub fn set(&mut self, user: &str, password: StoredPassword) -> bool {
        self.entries.insert(user.to_owned(), password).is_some()
    }

    /// The entry of a user; names are compared byte by byte.
    #[must_use]
    pub fn lookup(&self, user: &str) -> Option<&StoredPassword> {
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

fn entry(line: &str) -> Result<(String, StoredPassword), PasswdProblem> {
    let (user, field) = split_user(line)?;
    if user.is_empty() {
        return Err(PasswdProblem::EmptyUser);
    }
    if user.len() > MAX_USER_LEN {
        return Err(PasswdProblem::UserTooLong { len: user.len() });
    }
    Ok((user, StoredPassword::parse(field)?))
}

/// User and password field of a line.
fn split_user(line: &str) -> Result<(String, &str), PasswdProblem> {
    let mut user = String::new();
    let mut chars = line.chars();
    loop {
        match chars.next().ok_or(PasswdProblem::NoColon)? {
            ':' => break,
            '\\' if chars.as_str().starts_with(':') => {
                chars.next();
                user.push(':');
            }
            other => user.push(other),
        }
    }
    Ok((user, chars.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$\
        AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn shown(password: &StoredPassword) -> (&'static str, &str) {
        match password {
            StoredPassword::Md5(text) => ("md5", text.expose()),
            StoredPassword::Plain(text) => ("plain", text.expose()),
            StoredPassword::Scram(text) => ("scram", text.expose()),
            StoredPassword::Aes(text) => ("aes", text.expose()),
        }
    }

    #[test]
    fn the_beginning_tells_the_kind() {
        let md5 = "md521f3163f8f86fa10bdefbfbd502a8f06";
        for (field, wanted) in [
            (md5, ("md5", md5)),
            ("md5short", ("plain", "md5short")),
            (
                "md5zzf3163f8f86fa10bdefbfbd502a8f06",
                ("plain", "md5zzf3163f8f86fa10bdefbfbd502a8f06"),
            ),
            ("TEXTsecret", ("plain", "secret")),
            ("TEXTmd5x", ("plain", "md5x")),
            ("TEXTAES", ("plain", "AES")),
            ("secret", ("plain", "secret")),
            (" a b ", ("plain", " a b ")),
            ("a:b", ("plain", "a:b")),
            (r"a\:b", ("plain", r"a\:b")),
            ("AESmP/ZtaU4H21V8oJHP64QYQ==", ("aes", "mP/ZtaU4H21V8oJHP64QYQ==")),
            (VERIFIER, ("scram", VERIFIER)),
        ] {
            let file = format!("bob:{field}\n");
            let passwd = PoolPasswd::parse("pool_passwd", &file, None).unwrap();
            assert_eq!(shown(passwd.lookup("bob").unwrap()), wanted, "{field}");
        }
    }

    #[test]
    fn lines_and_users() {
        let text = "# users\n\nbob:x\r\na\\:b:y\nc\\d:z\nbob:other\n";
        let passwd = PoolPasswd::parse("pool_passwd", text, None).unwrap();
        assert_eq!(passwd.len(), 3);
        assert_eq!(passwd.lookup("bob").map(shown), Some(("plain", "x")), "the first one holds");
        assert_eq!(passwd.lookup("a:b").map(shown), Some(("plain", "y")));
        assert_eq!(passwd.lookup(r"c\d").map(shown), Some(("plain", "z")));
        assert!(passwd.lookup("BOB").is_none());
        let notices: Vec<_> = passwd.notices().iter().map(ToString::to_string).collect();
        assert_eq!(notices, ["pool_passwd:6: another entry for `bob`; the first one holds"]);
    }

    #[test]
    fn all_faults_are_told_with_their_lines_and_without_passwords() {
        let long_user = "u".repeat(MAX_USER_LEN + 1);
        let long_password = "p".repeat(MAX_PASSWORD_LEN + 1);
        let text = format!(
            "hunter2\n:hunter2\nbob:\nbob:TEXT\n{long_user}:hunter2\nbob:{long_password}\n\
             bob:SCRAM-SHA-256$hunter2\nbob:AEShunter2!\nok:ok\n"
        );
        let errors = PoolPasswd::parse("pool_passwd", &text, None).unwrap_err();
        let problems: Vec<_> =
            errors.0.iter().map(|e| (e.origin.line_number(), e.problem.clone())).collect();
        assert_eq!(
            problems,
            [
                (Some(1), PasswdProblem::NoColon),
                (Some(2), PasswdProblem::EmptyUser),
                (Some(3), PasswdProblem::EmptyPassword),
                (Some(4), PasswdProblem::EmptyPassword),
                (Some(5), PasswdProblem::UserTooLong { len: 129 }),
                (Some(6), PasswdProblem::PasswordTooLong { len: 1025 }),
                (Some(7), PasswdProblem::Scram),
                (Some(8), PasswdProblem::Aes),
            ]
        );
        assert!(!errors.to_string().contains("hunter2"));
    }

    #[test]
    fn malformed_verifiers_are_refused() {
        for field in [
            "SCRAM-SHA-256$",
            "SCRAM-SHA-256$4096",
            "SCRAM-SHA-256$4096:c2Fs",
            "SCRAM-SHA-256$0:c2Fs$c2Fs:c2Fs",
            "SCRAM-SHA-256$x:c2Fs$c2Fs:c2Fs",
            "SCRAM-SHA-256$1:c2F$c2Fs:c2Fs",
            "SCRAM-SHA-256$1:c2Fs$c2Fs:",
        ] {
            assert_eq!(StoredPassword::parse(field).err(), Some(PasswdProblem::Scram), "{field}");
        }
    }

    #[test]
    fn encrypted_entries_get_one_notice() {
        let text = "a:x\nb:AESmP/ZtaU4H21V8oJHP64QYQ==\nc:AESmP/ZtaU4H21V8oJHP64QYQ==\n";
        let passwd = PoolPasswd::parse("f", text, None).unwrap();
        let notices: Vec<_> = passwd.notices().iter().map(ToString::to_string).collect();
        assert_eq!(
            notices,
            ["f:2: AES entries cannot be used without their key (-k, PGPOOLKEYFILE or \
              ~/.pgpoolkey): there is no password for `b`, `c`"]
        );
        let key = PoolKey::from_text("k3y").unwrap();
        let passwd = PoolPasswd::parse("f", text, Some(&key)).unwrap();
        assert_eq!(passwd.lookup("b").map(shown), Some(("plain", "secret")));
        assert!(passwd.notices().is_empty());
        let other = PoolKey::from_text("other").unwrap();
        let errors = PoolPasswd::parse("f", text, Some(&other)).unwrap_err();
        let lines: Vec<_> =
            errors.0.iter().map(|e| (e.origin.line_number(), e.problem.clone())).collect();
        assert_eq!(lines, [(Some(2), PasswdProblem::WrongKey), (Some(3), PasswdProblem::WrongKey)]);
    }

    #[test]
    fn debug_hides_the_passwords() {
        let passwd = PoolPasswd::parse("f", "bob:hunter2\n", None).unwrap();
        let shown = format!("{passwd:?}");
        assert!(shown.contains("bob") && !shown.contains("hunter2"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).{0,200}") {
            let _ = PoolPasswd::parse("f", &text, None);
        }

        #[test]
        fn any_plain_password_survives(user in "[a-z:\\\\@]{1,20}[a-z]", password in "[!-9;-~]{1,40}") {
            let text = format!("{}:TEXT{password}", user.replace(':', "\\:"));
            let passwd = PoolPasswd::parse("f", &text, None).unwrap();
            prop_assert_eq!(passwd.lookup(&user).map(shown), Some(("plain", password.as_str())));
        }
    }
}
