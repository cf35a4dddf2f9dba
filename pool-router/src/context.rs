//! What was loaded from files: one immutable snapshot that all clients of its time share.

use std::fmt;
use std::sync::Arc;

use crate::config::Settings;
use crate::hba::Hba;
use crate::passwd::PoolPasswd;
use crate::rules::Rules;

/// Settings, routing rules, host-based authentication and passwords, as of one load.
pub struct Context {
    /// The settings.
    pub settings: Arc<Settings>,
    /// What the settings say about routing, compiled.
    pub rules: Rules,
    /// `pool_hba.conf`, if `enable_pool_hba` is on.
    pub hba: Option<Hba>,
    /// `pool_passwd`.
    pub passwords: PoolPasswd,
    /// A secret of the process, drawn once from a cryptographic generator: the salts of roles come
    /// from it.
    pub mock_seed: [u8; 32],
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
