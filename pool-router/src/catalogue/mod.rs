//! What the servers' catalogues say that decides where statements may run, and what refusals taught.
//!
//! For each database there is one [`Digest`], made by one query ([`Lookup`]) over a connection of
//! its own, and one [`LearnedSet`]. Both are published together as a [`Snapshot`], which never
//! changes; clients of the database see the newest one through its [`Cell`] and need no lock for
//! that. When to look is decided by the [`Hub`](crate::hub::Hub).

mod digest;
mod lookup;
mod memory;
mod name;
mod query;
mod schedule;

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

pub use digest::{Digest, DigestBuilder, UnexpectedRow};
pub use lookup::{Lookup, LookupError, LookupOrder, LookupPlan, LookupTurn};
pub use memory::{FunctionName, Learned, LearnedSet, culprits};
pub(crate) use schedule::{Catalogues, Due};

/// All that is known of one database at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    digest: Option<Arc<Digest>>,
    learned: LearnedSet,
    covers: u64,
    number: u64,
}

impl Snapshot {
    /// What is known, as if it had been looked up just now.
    #[cfg(test)]
    pub(crate) fn new(digest: Digest, learned: LearnedSet) -> Self {
        Self { digest: Some(Arc::new(digest)), learned, covers: 0, number: 1 }
    }

    /// The catalogue, once it was looked up.
    #[inline]
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_deref()
    }

    /// What refusals taught.
    #[inline]
    #[must_use]
    pub fn learned(&self) -> &LearnedSet {
        &self.learned
    }

    /// Whether the catalogue was read on the primary after the change that
    /// [`Hub::catalogue_changed`](crate::hub::Hub::catalogue_changed) gave this number.
    #[must_use]
    pub fn covers(&self, change: u64) -> bool {
        self.covers >= change
    }

    /// Tells the snapshots of one database apart: later ones have higher numbers. What was found
    /// out about a statement holds as long as this is the same.
    #[inline]
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// Where the newest [`Snapshot`] of one database is.
#[derive(Default)]
pub struct Cell {
    newest: ArcSwap<Snapshot>,
}

impl Cell {
    /// The newest snapshot. Cheap, and never waits.
    #[inline]
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.newest.load()
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.newest.store(Arc::new(snapshot));
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cell").field(&*self.load()).finish()
    }
}
