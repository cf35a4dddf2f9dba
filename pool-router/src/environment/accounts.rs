//! Users and their passwords.

use std::collections::BTreeSet;

use super::{
    EnvironmentProblem, FILE, PARAMETER, PASSWORD, PCP_PASSWORD, PCP_USER, Reader, USERNAME, stored,
};
use crate::passwd::{MAX_USER_LEN, PasswdProblem, StoredPassword};
use crate::pcp_users::PcpHash;

/// A user with a password.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// The password, or the entry that it is already.
    pub password: StoredPassword,
    /// The variable that the password comes from.
    pub variable: String,
}

impl Reader<'_, '_> {
    /// Every `<prefix>_USERNAME` with its `<prefix>_PASSWORD`. Pgpool-II's image takes only what is
    /// in front of the first underscore for the prefix.
    pub(super) fn accounts(&mut self, entries: bool) -> Vec<Account> {
        let prefixes: BTreeSet<&str> = self
            .environment
            .0
            .keys()
            .filter_map(|name| name.strip_suffix(FILE).unwrap_or(name).strip_suffix(USERNAME))
            .filter(|prefix| {
                let ours = prefix.starts_with(PARAMETER) || *prefix == "PGPOOL_PCP";
                !prefix.is_empty() && !ours
            })
            .collect();
        let mut accounts: Vec<Account> = Vec::new();
        for prefix in prefixes {
            let name = format!("{prefix}{PASSWORD}");
            let user = self.get_or_read(&format!("{prefix}{USERNAME}"));
            let password = self.get_or_read(&name);
            let Some((user_variable, user)) = user else { continue };
            let Some((variable, password)) = password else {
                self.warn(&user_variable, format!("no account: {name} is not set"));
                continue;
            };
            if user.len() > MAX_USER_LEN {
                let problem = PasswdProblem::UserTooLong { len: user.len() };
                self.fault(&user_variable, problem.into());
                continue;
            }
            let earlier = accounts.iter().find(|account| account.user == *user);
            if let Some(other) = earlier.map(|account| account.variable.clone()) {
                if self.get_or_read(other.strip_suffix(FILE).unwrap_or(&other)).map(|(_, p)| p)
                    != Some(password)
                {
                    let user = (*user).clone();
                    self.fault(&variable, EnvironmentProblem::TwoPasswords { user, other });
                }
                continue;
            }
            match stored(&password, entries) {
                Ok(password) => {
                    accounts.push(Account { user: (*user).clone(), password, variable });
                }
                Err(problem) => self.fault(&variable, problem.into()),
            }
        }
        accounts
    }

    /// The user of the PCP port; every account, where none is set.
    pub(super) fn pcp_users(
        &mut self,
        entries: bool,
        accounts: &[Account],
    ) -> Vec<(String, PcpHash)> {
        let user = self.get_or_read(PCP_USER);
        let password = self.get_or_read(PCP_PASSWORD);
        match (user, password) {
            (Some((_, user)), Some((variable, password))) => {
                let hash =
                    if entries { PcpHash::parse(&password) } else { Some(PcpHash::of(&password)) };
                if hash.is_none() {
                    self.fault(&variable, EnvironmentProblem::NotAPcpEntry);
                }
                hash.map(|hash| ((*user).clone(), hash)).into_iter().collect()
            }
            (None, None) => accounts
                .iter()
                .filter_map(|account| match &account.password {
                    StoredPassword::Plain(text) => {
                        Some((account.user.clone(), PcpHash::of(text.expose())))
                    }
                    _ => None,
                })
                .collect(),
            (Some(_), None) => {
                self.warn(PCP_USER, format!("no user of the PCP port: {PCP_PASSWORD} is not set"));
                Vec::new()
            }
            (None, Some(_)) => {
                self.warn(PCP_PASSWORD, format!("no user of the PCP port: {PCP_USER} is not set"));
                Vec::new()
            }
        }
    }
}
