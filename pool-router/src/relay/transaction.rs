//! The client's transaction block: opened without a server, and on one node at a time.
//!
//! `BEGIN` is answered here. It goes to a server together with the first statement that needs one:
//! a standby for as long as the transaction only reads, else the primary. When a transaction that
//! has read on a standby is to write, it is rolled back there and begun again on the primary, with
//! all that it did to its own state (settings, savepoints, weak locks). Under READ COMMITTED no
//! statement can tell; under the other levels a transaction keeps the node that it began on.
//!
//! As no transaction is ever open on two nodes, an error anywhere fails all of it, and what COMMIT
//! answers is the word of the one server that has it.

use pgwire_core::params::Params;
use pgwire_core::txn::TransactionStatus;

use super::demand::{Control, Demand, keeps_snapshot, merged};
use crate::classify::{BeginMode, EndKind, IsolationLevel};

/// Bytes of statements to be repeated that are kept of one transaction. One that has more goes to
/// the primary, where nothing needs to be repeated.
const HISTORY_BYTES: usize = 16 * 1024;

/// The same, in statements. With a BEGIN, and what may go along with a batch, they fit into the
/// smallest pipeline.
const HISTORY_STATEMENTS: usize = 8;

/// Where the block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// There is none, or a server alone knows of it.
    Closed,
    /// The client was told of it, no server.
    Deferred,
    /// On the active link's server.
    Open,
    /// Failed while it was on no server.
    Failed,
}

/// A transaction block, as far as the servers may have to be told of it.
#[derive(Debug)]
pub(super) struct Transaction {
    block: Block,
    modes: BeginMode,
    /// The isolation level that it has where `modes` names none, if that is known to be another
    /// than READ COMMITTED.
    default_level: Option<IsolationLevel>,
    /// Statements that changed its state, as (length, text).
    history: Vec<u8>,
    ends: Vec<usize>,
    /// It has to go on where it is: a portal, a cursor or a snapshot is there.
    anchored: bool,
    /// It has read on its present server, which may have made a snapshot there.
    queried: bool,
    /// It was failed when it came to its present server, and no answer has said otherwise.
    failed: bool,
    /// It goes on on the primary, to its end.
    bound: bool,
    /// A savepoint was set in it, so that what is changed may be undone without its end.
    nested: bool,
    /// It was made to fail where it is now, and nothing was sent since that could end that.
    refuses: bool,
    /// It was made to fail where it is now: what that undoes, the client does not know yet.
    failing: bool,
    /// The client's parameters before it.
    before: Option<Params>,
    /// The same, as the client was told of them when it left its standby.
    told: Option<Params>,
    /// As it was before the statement or batch under way.
    mark: Mark,
}

/// Where to go back to if a statement or batch is to be done again elsewhere.
#[derive(Debug, Clone, Copy)]
struct Mark {
    block: Block,
    statements: usize,
    modes: BeginMode,
}

impl Transaction {
    pub(super) const fn new() -> Self {
        Self {
            block: Block::Closed,
            modes: BeginMode { read_only: None, isolation: None, deferrable: None },
            default_level: None,
            history: Vec::new(),
            ends: Vec::new(),
            anchored: false,
            queried: false,
            failed: false,
            refuses: false,
            bound: false,
            nested: false,
            failing: false,
            before: None,
            told: None,
            mark: Mark {
                block: Block::Closed,
                statements: 0,
                modes: BeginMode { read_only: None, isolation: None, deferrable: None },
            },
        }
    }

    pub(super) fn block(&self) -> Block {
        self.block
    }

    pub(super) fn modes(&self) -> BeginMode {
        self.modes
    }

    /// The client is to be told of a new one; no server is.
    pub(super) fn defer(
        &mut self,
        modes: BeginMode,
        default_level: Option<IsolationLevel>,
        params: &Params,
    ) {
        self.reset();
        self.block = Block::Deferred;
        self.modes = modes;
        self.default_level = default_level;
        self.before = Some(params.clone());
    }

    /// It is over, or none of our business.
    pub(super) fn close(&mut self) {
        if self.block != Block::Closed {
            self.reset();
        }
    }

    /// It ended, and a like one follows at once.
    pub(super) fn chain(&mut self, params: &Params) {
        let (block, modes, default_level) = (self.block, self.modes, self.default_level);
        self.defer(modes, default_level, params);
        if block == Block::Open {
            self.block = block;
        }
    }

    fn reset(&mut self) {
        self.block = Block::Closed;
        self.modes = BeginMode::default();
        if self.history.capacity() > 0 {
            self.history = Vec::new();
            self.ends = Vec::new();
        }
        self.anchored = false;
        self.queried = false;
        self.failed = false;
        self.refuses = false;
        self.bound = false;
        self.nested = false;
        self.failing = false;
        self.before = None;
        self.told = None;
        self.mark();
    }

    /// The client was told of an error while no server had it.
    pub(super) fn fail(&mut self) {
        if self.block == Block::Deferred {
            self.block = Block::Failed;
        }
    }

    /// The status that the client sees while no server has it.
    pub(super) fn status(&self) -> TransactionStatus {
        match self.block {
            Block::Failed => TransactionStatus::Failed,
            Block::Deferred => TransactionStatus::InTransaction,
            Block::Closed | Block::Open => TransactionStatus::Idle,
        }
    }

    /// A statement goes to a standby: what that does to the block. `sql` is its text.
    pub(super) fn runs(
        &mut self,
        demand: Demand,
        default_level: Option<IsolationLevel>,
        sql: &[u8],
        params: &Params,
    ) {
        match demand.control {
            // One that has failed reads nothing.
            Control::None => self.queried |= !self.refuses,
            Control::Begin(modes) if self.block == Block::Closed => {
                self.defer(modes, default_level, params);
                self.block = Block::Open;
            }
            Control::Begin(modes) | Control::Modes(modes) => {
                // Within a savepoint it may fail, or be undone, and the transaction go on.
                if !self.nested {
                    self.modes = merged(self.modes, modes);
                }
                self.remember(sql);
            }
            Control::Savepoint => self.remember_savepoint(sql),
            Control::RollbackTo => {
                self.refuses = false;
                self.remember(sql);
            }
            Control::Repeat => self.remember(sql),
            Control::End(end) if end.chain => {
                let undone = self.before.clone().filter(|_| end.kind != EndKind::Commit);
                self.chain(undone.as_ref().unwrap_or(params));
            }
            // What follows in the same batch is another transaction's; ReadyForQuery tells.
            Control::End(_) => self.close(),
        }
        self.anchored |= demand.portal;
    }

    /// A portal is left open on its present server.
    pub(super) fn anchor(&mut self) {
        self.anchored = true;
    }

    /// Keeps a statement to be done again where the transaction moves.
    pub(super) fn remember(&mut self, sql: &[u8]) {
        let on_primary = self.bound && self.block == Block::Open;
        if self.block == Block::Closed || on_primary {
            return;
        }
        if !self.has_room(sql.len()) {
            // One that may not leave its standby anyway has no use for a history either.
            self.anchored = true;
            return;
        }
        self.history.extend_from_slice(sql);
        self.ends.push(self.history.len());
    }

    /// The same for one that sets a savepoint.
    pub(super) fn remember_savepoint(&mut self, sql: &[u8]) {
        self.nested = true;
        self.remember(sql);
    }

    /// Whether a statement or batch of this size could still be repeated.
    pub(super) fn has_room(&self, size: usize) -> bool {
        self.history.len().saturating_add(size) <= HISTORY_BYTES
            && self.ends.len() < HISTORY_STATEMENTS
    }

    /// Whether it could go on on another server as if it had been there from its begin.
    pub(super) fn can_move(&self) -> bool {
        self.block == Block::Open
            && !self.anchored
            && (!self.queried || !keeps_snapshot(self.level()))
    }

    fn level(&self) -> Option<IsolationLevel> {
        self.modes.isolation.or(self.default_level)
    }

    /// Whether it has read on its present server.
    pub(super) fn has_queried(&self) -> bool {
        self.queried
    }

    /// A statement or batch is about to run.
    pub(super) fn mark(&mut self) {
        self.mark = Mark { block: self.block, statements: self.ends.len(), modes: self.modes };
    }

    /// Whether the statement or batch under way has opened it.
    pub(super) fn is_new(&self) -> bool {
        self.block == Block::Open && self.mark.block == Block::Closed
    }

    /// What was noted since the mark has not happened.
    pub(super) fn back_to_mark(&mut self) {
        self.modes = self.mark.modes;
        self.ends.truncate(self.mark.statements);
        self.history.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// It is on no server any more, and goes on on the primary; `status` is the last that it had.
    /// Takes the client's parameters, and returns them as they were before it.
    pub(super) fn displaced(
        &mut self,
        status: TransactionStatus,
        params: &Params,
    ) -> Option<Params> {
        self.told = Some(params.clone());
        self.block = if self.failed || status == TransactionStatus::Failed {
            Block::Failed
        } else {
            Block::Deferred
        };
        self.queried = false;
        self.anchored = false;
        self.bound = true;
        self.before.clone()
    }

    /// Whether it goes on on the primary, to its end.
    pub(super) fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether a failure of our own making undoes parameters that the client was told of.
    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Whether it is known to have failed, whatever its server has said last.
    pub(super) fn is_failed(&self) -> bool {
        self.failed || self.block == Block::Failed
    }

    /// A statement of the client was answered, with this status.
    pub(super) fn answered(&mut self, status: TransactionStatus) {
        self.failing = false;
        self.failed &= status != TransactionStatus::InTransaction;
    }

    /// The client's parameters before it, and as it was told of them within it, if they may differ.
    pub(super) fn parameters(&self) -> Option<(&Params, &Params)> {
        self.before.as_ref().zip(self.told.as_ref())
    }

    /// A server has it now: what that must be told first, one simple query each.
    pub(super) fn open(&mut self, on_primary: bool) -> Vec<Vec<u8>> {
        let mut queries = vec![begin(self.modes, on_primary)];
        let mut start = 0;
        for end in &self.ends {
            queries.push(self.history.get(start..*end).unwrap_or_default().to_vec());
            start = *end;
        }
        self.failed = self.block == Block::Failed;
        self.refuses = self.failed;
        if self.failed {
            queries.push(FAIL.to_vec());
            self.failing = true;
        }
        self.block = Block::Open;
        self.queried = false;
        self.bound = on_primary;
        queries
    }
}

/// Fails in every transaction block, and does nothing else.
const FAIL: &[u8] = b"ROLLBACK TO SAVEPOINT pgweir_failed";

/// The BEGIN for these modes. A standby refuses the words READ WRITE, which say nothing new there.
fn begin(modes: BeginMode, on_primary: bool) -> Vec<u8> {
    let mut sql = b"BEGIN".to_vec();
    let level: &[u8] = match modes.isolation {
        None => b"",
        Some(IsolationLevel::ReadUncommitted) => b" ISOLATION LEVEL READ UNCOMMITTED",
        Some(IsolationLevel::ReadCommitted) => b" ISOLATION LEVEL READ COMMITTED",
        Some(IsolationLevel::RepeatableRead) => b" ISOLATION LEVEL REPEATABLE READ",
        Some(IsolationLevel::Serializable) => b" ISOLATION LEVEL SERIALIZABLE",
    };
    sql.extend_from_slice(level);
    sql.extend_from_slice(match modes.read_only {
        Some(true) => b" READ ONLY",
        Some(false) if on_primary => b" READ WRITE",
        Some(false) | None => b"",
    });
    sql.extend_from_slice(match modes.deferrable {
        Some(true) => b" DEFERRABLE",
        Some(false) => b" NOT DEFERRABLE",
        None => b"",
    });
    sql
}
