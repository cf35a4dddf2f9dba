//! What was loaded from files: one immutable snapshot that all clients of its time share.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::config::Settings;
use crate::hba::{Hba, InterfaceAddress};
use crate::passwd::{PoolPasswd, StoredPassword};
use crate::pcp_users::PcpUsers;
use crate::rules::Rules;
use crate::tls::Tls;

/// Settings, routing rules, host-based authentication and passwords, as of one load.
pub struct Context {
    /// The settings.
    pub settings: Arc<Settings>,
    /// What the settings say about routing, compiled.
    pub rules: Rules,
    /// `pool_hba.conf`, if `enable_pool_hba` is on.
    pub hba: Option<Hba>,
    /// The addresses of this host, for [`Hba`].
    pub interfaces: Vec<InterfaceAddress>,
    /// `pool_passwd`, and the accounts of the environment.
    pub passwords: PoolPasswd,
    /// The password with which [`Settings::authenticator`] logs in to servers, if it has one.
    pub authenticator: Option<StoredPassword>,
    /// `pcp.conf`, and the users of the environment.
    pub pcp_users: PcpUsers,
    /// The files that all of this comes from, by the paths that they were asked for with.
    pub files: BTreeSet<String>,
    /// TLS, for handshakes that begin from now on.
    pub tls: Tls,
    /// A secret of the process, drawn once from a cryptographic generator: the salts of roles come
    /// from it.
    pub mock_seed: [u8; 32],
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
