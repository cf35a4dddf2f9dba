//! The environment variables of Pgpool-II's container image: `PGPOOL_PARAMS_*`, accounts as
//! `<prefix>_USERNAME` and `<prefix>_PASSWORD`, and the switches around them.
//!
//! In the image a shell script turns them into files. Here they are read as they are, so that values
//! may hold `=`, quotes and blanks, prefixes may hold underscores, and nothing needs to be written.

mod accounts;
mod error;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use zeroize::Zeroizing;

use crate::config::units::parse_bool;
use crate::config::{Given, Level, Notice, Origin, is_secret};
use crate::passwd::{PasswdProblem, StoredPassword};
use crate::pcp_users::PcpHash;

pub use accounts::Account;
pub use error::{EnvironmentError, EnvironmentErrors, EnvironmentProblem};

/// What a variable that sets a parameter begins with.
pub const PARAMETER: &str = "PGPOOL_PARAMS_";

const ENABLE: &str = "PGPOOL_ENABLE_POOL_PASSWD";
const METHOD: &str = "PGPOOL_PASSWORD_ENCRYPTION_METHOD";
const SKIP: &str = "PGPOOL_SKIP_PASSWORD_ENCRYPTION";
const PCP_USER: &str = "PGPOOL_PCP_USER";
const PCP_PASSWORD: &str = "PGPOOL_PCP_PASSWORD";
const USERNAME: &str = "_USERNAME";
const PASSWORD: &str = "_PASSWORD";
const FILE: &str = "_FILE";

/// The variables that are looked at beside parameters and accounts, and what they are for.
pub const VARIABLES: [(&str, &str); 5] = [
    (
        ENABLE,
        "`off`: no passwords are kept; TLS and pool_hba.conf are on, and clients are asked for their \
         password in clear text. Default `on`.",
    ),
    (
        METHOD,
        "`scram-sha-256` or `md5`: the method of the pool_hba.conf that stands in for a missing one. \
         Default `scram-sha-256`. The passwords themselves are kept as they are, so that every \
         method of clients and servers works with either.",
    ),
    (
        SKIP,
        "`on`: the values of `*_PASSWORD` are entries of pool_passwd (`md5…`, `AES…`, \
         `SCRAM-SHA-256$…`, `TEXT…`), that of PGPOOL_PCP_PASSWORD one of pcp.conf. Default `off`.",
    ),
    (PCP_USER, "User of the PCP port. Without it every account is one, as in images of 2021."),
    (PCP_PASSWORD, "Its password."),
];

enum Text {
    Utf8(Zeroizing<String>),
    NotUtf8,
}

/// The variables that pgweir looks at. No value is ever shown.
#[derive(Default)]
pub struct Environment(BTreeMap<String, Text>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    /// Takes all variables of a process and keeps those that matter. A name that is not UTF-8 is
    /// none of them.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let ours = |name: &str| {
            let name = name.strip_suffix(FILE).unwrap_or(name);
            name.starts_with("PGPOOL_") || name.ends_with(USERNAME) || name.ends_with(PASSWORD)
        };
        Self(
            pairs
                .into_iter()
                .filter_map(|(name, value)| {
                    let name = name.into().into_string().ok().filter(|name| ours(name))?;
                    let text = value.into().into_string();
                    Some((name, text.map_or(Text::NotUtf8, |text| Text::Utf8(text.into()))))
                })
                .collect(),
        )
    }
}

/// A method of the `pool_hba.conf` that stands in for a missing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HbaMethod {
    /// `scram-sha-256`
    ScramSha256,
    /// `md5`
    Md5,
    /// `password`: no passwords are kept here.
    Password,
}

impl HbaMethod {
    /// The word in `pool_hba.conf`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ScramSha256 => "scram-sha-256",
            Self::Md5 => "md5",
            Self::Password => "password",
        }
    }
}

/// What the environment says.
#[derive(Debug)]
pub struct Understood {
    /// Values of parameters.
    pub given: Vec<Given>,
    /// Whether passwords are kept.
    pub pool_passwd: bool,
    /// Passwords of roles; empty where none are kept.
    pub accounts: Vec<Account>,
    /// Users of the PCP port.
    pub pcp_users: Vec<(String, PcpHash)>,
    /// The method of a `pool_hba.conf` that stands in for a missing one.
    pub method: HbaMethod,
    /// What the operator should know.
    pub notices: Vec<Notice>,
}

/// Answers a file's text, or `Ok(None)` if there is no such file, or why it cannot be read.
pub type Read<'r> = dyn FnMut(&str) -> Result<Option<String>, String> + 'r;

impl Environment {
    /// Makes sense of the variables. `read` answers the files that `*_FILE` variables name.
    ///
    /// # Errors
    ///
    /// Every value that is not UTF-8 or not accepted, with its variable; never with a password.
    pub fn understand(&self, read: &mut Read<'_>) -> Result<Understood, EnvironmentErrors> {
        let (understood, errors) = self.read_all(read);
        if errors.is_empty() { Ok(understood) } else { Err(EnvironmentErrors(errors)) }
    }

    /// What is right, and what is not.
    pub(crate) fn read_all(&self, read: &mut Read<'_>) -> (Understood, Vec<EnvironmentError>) {
        let mut reader =
            Reader { environment: self, read, errors: Vec::new(), notices: Vec::new() };
        let enabled = reader.switch(ENABLE, true);
        let skip = reader.switch(SKIP, false);
        let method = reader.method();
        let mut given = reader.parameters();
        let found = reader.accounts(skip);
        let pcp_users = reader.pcp_users(skip, &found);
        reader.misspelt();
        let method = if enabled { method } else { HbaMethod::Password };
        if !enabled {
            given.extend(["ssl", "enable_pool_hba"].map(|name| Given {
                name: name.to_owned(),
                value: Zeroizing::new("on".to_owned()),
                origin: Origin::variable(ENABLE),
            }));
        }
        let Reader { errors, notices, .. } = reader;
        let accounts = if enabled { found } else { Vec::new() };
        let pool_passwd = enabled;
        (Understood { given, pool_passwd, accounts, pcp_users, method, notices }, errors)
    }
}

struct Reader<'e, 'r> {
    environment: &'e Environment,
    read: &'e mut Read<'r>,
    errors: Vec<EnvironmentError>,
    notices: Vec<Notice>,
}

impl Reader<'_, '_> {
    fn fault(&mut self, variable: &str, problem: EnvironmentProblem) {
        self.errors.push(EnvironmentError { variable: variable.to_owned(), problem });
    }

    fn warn(&mut self, variable: &str, text: String) {
        let origin = Some(Origin::variable(variable));
        self.notices.push(Notice { level: Level::Warning, origin, text });
    }

    /// The value of a variable; one that is empty is as good as none.
    fn get(&mut self, name: &str) -> Option<Zeroizing<String>> {
        match self.environment.0.get(name)? {
            Text::Utf8(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Text::NotUtf8 => {
                self.fault(name, EnvironmentProblem::NotUtf8);
                None
            }
        }
    }

    /// The value of a variable, or of the file that the variable with `_FILE` behind it names, and
    /// the name of the variable that it comes from. The newline that ends most files, and many
    /// Secrets made by `echo`, is no part of it.
    fn get_or_read(&mut self, name: &str) -> Option<(String, Zeroizing<String>)> {
        let by_file = format!("{name}{FILE}");
        let (variable, mut value) = match (self.get(name), self.get(&by_file)) {
            (Some(value), None) => (name.to_owned(), value),
            (None, Some(path)) => match (self.read)(&path).map(|text| text.map(Zeroizing::new)) {
                Ok(Some(text)) => (by_file, text),
                Ok(None) => {
                    let reason = "no such file".to_owned();
                    let path = (*path).clone();
                    self.fault(&by_file, EnvironmentProblem::File { path, reason });
                    return None;
                }
                Err(reason) => {
                    let path = (*path).clone();
                    self.fault(&by_file, EnvironmentProblem::File { path, reason });
                    return None;
                }
            },
            (Some(_), Some(_)) => {
                self.fault(name, EnvironmentProblem::Both { other: by_file });
                return None;
            }
            (None, None) => return None,
        };
        let end = value.trim_end_matches(['\n', '\r']).len();
        value.truncate(end);
        if value.contains(['\n', '\r', '\0']) {
            self.fault(&variable, EnvironmentProblem::SeveralLines);
            return None;
        }
        Some((variable, value)).filter(|(_, value)| !value.is_empty())
    }

    fn switch(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.get(name) else { return default };
        parse_bool(text.trim()).unwrap_or_else(|| {
            let found = (*text).clone();
            self.fault(name, EnvironmentProblem::NotABoolean { found });
            default
        })
    }

    fn method(&mut self) -> HbaMethod {
        match self.get(METHOD).as_deref().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None | Some("scram-sha-256") => HbaMethod::ScramSha256,
            Some("md5") => HbaMethod::Md5,
            Some(found) => {
                self.fault(METHOD, EnvironmentProblem::NotAMethod { found: found.to_owned() });
                HbaMethod::ScramSha256
            }
        }
    }

    fn parameters(&mut self) -> Vec<Given> {
        let environment = self.environment;
        let mut given = Vec::new();
        for (variable, text) in &environment.0 {
            let Some(name) = variable.strip_prefix(PARAMETER) else { continue };
            let name = name.to_ascii_lowercase();
            let Text::Utf8(text) = text else {
                self.fault(variable, EnvironmentProblem::NotUtf8);
                continue;
            };
            let base = variable.strip_suffix(FILE);
            let secret_by_file = name.strip_suffix("_file").filter(|name| is_secret(name));
            if let (Some(base), Some(name)) = (base, secret_by_file) {
                if let Some((variable, value)) = self.get_or_read(base) {
                    let origin = Origin::variable(&variable);
                    given.push(Given { name: name.to_owned(), value, origin });
                }
            } else if is_secret(&name) {
                // Where both are set, the other one tells.
                if !environment.0.contains_key(&format!("{variable}{FILE}"))
                    && let Some((_, value)) = self.get_or_read(variable)
                {
                    given.push(Given { name, value, origin: Origin::variable(variable) });
                }
            } else {
                let value = plain(text);
                if value.contains(['\n', '\r', '\0']) {
                    self.fault(variable, EnvironmentProblem::SeveralLines);
                    continue;
                }
                let value = Zeroizing::new(value.to_owned());
                given.push(Given { name, value, origin: Origin::variable(variable) });
            }
        }
        given
    }

    /// Names that look like one of ours and are none. Kubernetes makes others with the same
    /// beginning (`PGPOOL_SERVICE_HOST`, `PGPOOL_PORT_9999_TCP`), so they cannot be errors.
    fn misspelt(&mut self) {
        let environment = self.environment;
        for name in environment.0.keys().filter(|name| name.starts_with("PGPOOL_")) {
            let plain = name.strip_suffix(FILE).unwrap_or(name);
            if name.starts_with(PARAMETER) || VARIABLES.iter().any(|(known, _)| *known == plain) {
                continue;
            }
            let parameter =
                name.strip_prefix("PGPOOL_PARAM_").map(|rest| format!("{PARAMETER}{rest}"));
            let known = VARIABLES
                .iter()
                .map(|(known, _)| (strsim::normalized_damerau_levenshtein(plain, known), *known))
                .filter(|(similarity, _)| *similarity >= 0.78)
                .max_by(|(a, _), (b, _)| a.total_cmp(b))
                .map(|(_, known)| known.to_owned());
            if let Some(meant) = parameter.or(known) {
                self.warn(name, format!("this variable has no effect; did you mean {meant}?"));
            }
        }
    }
}

/// A value without blanks around it and without the quotes that some ways to write an environment
/// leave around it. The image would have put it between quotes itself.
fn plain(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .filter(|inner| !inner.contains('\''))
        .unwrap_or(text)
}

/// A password as pool_passwd keeps it: as it is, or the entry that it is already.
fn stored(value: &str, entry: bool) -> Result<StoredPassword, PasswdProblem> {
    if entry { StoredPassword::parse(value) } else { StoredPassword::plain(value) }
}

#[cfg(test)]
mod tests;
