//! How many clients each user and each database has.

use std::collections::BTreeMap;

use super::UserAndDatabase;
use crate::config::Settings;
use crate::identity::Identity;
use crate::sizes::size;

/// Why a client whose password was right is not let in: there are too many of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginRefused {
    Identities,
    OfUser,
    OfDatabase,
    OfBoth,
}

impl LoginRefused {
    /// In PostgreSQL's words where it has some.
    pub(crate) fn message(self, identity: &Identity) -> String {
        match self {
            Self::Identities => {
                "too many distinct combinations of user, database and startup parameters".to_owned()
            }
            Self::OfUser => {
                let user = String::from_utf8_lossy(&identity.user);
                format!("too many connections for role \"{user}\"")
            }
            Self::OfDatabase => {
                let database = String::from_utf8_lossy(&identity.database);
                format!("too many connections for database \"{database}\"")
            }
            Self::OfBoth => {
                let user = String::from_utf8_lossy(&identity.user);
                let database = String::from_utf8_lossy(&identity.database);
                format!("too many connections for role \"{user}\" and database \"{database}\"")
            }
        }
    }
}

/// Clients that are logged in, by user and by database.
#[derive(Debug, Default)]
pub(super) struct Census {
    users: BTreeMap<Box<[u8]>, usize>,
    databases: BTreeMap<Box<[u8]>, usize>,
    pairs: BTreeMap<UserAndDatabase, usize>,
}

impl Census {
    /// Counts one more, unless that would be too many.
    pub(super) fn enter(
        &mut self,
        identity: &Identity,
        settings: &Settings,
    ) -> Result<(), LoginRefused> {
        let is_full = |present: Option<&usize>, most: u32| {
            most > 0 && present.copied().unwrap_or(0) >= size(most)
        };
        if is_full(self.users.get(&identity.user), settings.user_caps(&identity.user).1) {
            return Err(LoginRefused::OfUser);
        }
        let most = settings.database_caps(&identity.database).1;
        if is_full(self.databases.get(&identity.database), most) {
            return Err(LoginRefused::OfDatabase);
        }
        let pair = (identity.user.clone(), identity.database.clone());
        let most = settings.pool_clients(&identity.user, &identity.database);
        if is_full(self.pairs.get(&pair), most) {
            return Err(LoginRefused::OfBoth);
        }
        *self.pairs.entry(pair).or_default() += 1;
        *self.users.entry(identity.user.clone()).or_default() += 1;
        *self.databases.entry(identity.database.clone()).or_default() += 1;
        Ok(())
    }

    /// One of them has left.
    pub(super) fn leave(&mut self, identity: &Identity) {
        one_less(&mut self.users, &identity.user);
        one_less(&mut self.databases, &identity.database);
        one_less(&mut self.pairs, &(identity.user.clone(), identity.database.clone()));
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(of);
        }
    }
}
