//! Where a statement or batch runs, and a server in the client's state to run it.

use pgwire_core::encode;
use pgwire_core::params::Params;
use pgwire_core::pipeline::{Disposition, Request, Token};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::txn::TransactionStatus;

use super::Relay;
use super::demand::{Control, Demand, keeps_snapshot, merged};
use super::query::{BLOCK, REPEAT, SETUP, Step};
use super::transaction::Block;
use crate::classify::{BeginMode, IsolationLevel};
use crate::config::{PoolMode, TransactionReads};
use crate::identity::TRACKED;
use crate::ids::NodeId;
use crate::pins::PinReasons;
use crate::prepared::Key;

impl<S> Relay<S> {
    /// Sees to it that the active link is the one for a statement or batch of `len` bytes with this
    /// demand.
    pub(super) fn place(&mut self, demand: Demand, len: usize) -> Step {
        if self.is_held() && (self.active.is_some() || !self.parked.is_empty()) {
            return Step::Hold;
        }
        let primary = self.context.settings.primary_node();
        if let Some(link) = &self.active {
            let settled = link.pipeline.is_settled();
            let on_primary = link.node() == primary;
            let status = link.pipeline.status();
            let block = self.session.transaction.block();
            let stays = self.session.in_batch
                || link.pipeline.is_unpredictable()
                // What is under way may open a transaction or end it: only the primary serves all.
                || (on_primary && (!settled || status != TransactionStatus::Idle))
                || (on_primary && self.session.pinned && self.is_transaction_mode());
            if stays {
                return self.ready_link();
            }
            if !on_primary && !settled && (block == Block::Open || demand.control != Control::None)
            {
                // Where the transaction will be, only the answers tell.
                let plain = demand.read && demand.control == Control::None && !demand.portal;
                return if plain && block == Block::Open { self.ready_link() } else { Step::Hold };
            }
            if !on_primary && settled && status != TransactionStatus::Idle {
                if block == Block::Deferred || self.session.healing {
                    self.roll_back_here();
                    return Step::Hold;
                }
                let can_move = self.session.transaction.can_move();
                let goes_on = if status == TransactionStatus::Failed {
                    let ends = matches!(demand.control, Control::End(_));
                    self.suits_failed(demand) || !ends && !can_move
                } else {
                    // What only prepares need not wait for a server of the primary: a client that
                    // blocks meanwhile may keep others from giving theirs back.
                    !can_move
                        || self.session.batch.only_prepares()
                        || self.may_go_on_here(demand, len)
                };
                if goes_on {
                    return self.ready_link();
                }
                self.leave_node(status);
                self.roll_back_here();
                return Step::Hold;
            }
            let node = self.wish(demand, primary);
            let Some(link) = &self.active else { return Step::Hold };
            if link.node() == node {
                return self.ready_link();
            }
            if !settled || !link.is_quiet() || !self.client.framer.at_boundary() {
                return Step::Hold;
            }
            self.let_go();
        }
        if self.waiting.is_some() || self.wants.acquire.is_some() {
            return Step::Hold;
        }
        let node = self.wish(demand, primary);
        if let Some(at) = self.parked.iter().position(|link| link.node() == node) {
            let mut link = self.parked.swap_remove(at);
            link.verified = false;
            self.active = Some(link);
        } else {
            self.wants.acquire = Some(node);
        }
        Step::Hold
    }

    /// The node for a statement, the same for as long as it is held.
    fn wish(&mut self, demand: Demand, primary: NodeId) -> NodeId {
        if let Some(node) = self.session.chosen {
            return node;
        }
        let settings = &self.context.settings;
        let bound = self.session.pinned || self.session.healing;
        let leaves = self.session.balancer.is_enabled()
            && match (self.session.transaction.block(), demand.control) {
                // Any server will do to refuse what comes.
                (Block::Failed, _) => self.suits_failed(demand),
                _ if bound || self.session.transaction.is_bound() => false,
                (Block::Deferred, control) => self.may_run_on_standby(demand, control),
                (Block::Closed | Block::Open, Control::Begin(_)) => {
                    self.may_run_on_standby(demand, demand.control)
                }
                (Block::Closed | Block::Open, _) => {
                    // One that keeps the server that it runs on may be followed by writes.
                    demand.read
                        && !(demand.pins && settings.pool_mode == PoolMode::Transaction)
                        && self.session.after_write.frees_reads()
                        // A standby knows no such transactions.
                        && self.session.default_level() != Some(IsolationLevel::Serializable)
                }
            };
        let node = if leaves { self.session.balancer.node(settings) } else { primary };
        self.session.chosen = Some(node);
        node
    }

    /// Whether a transaction that is on no server may begin on a standby, with such a statement.
    fn may_run_on_standby(&self, demand: Demand, control: Control) -> bool {
        let modes = match control {
            Control::Begin(change) | Control::Modes(change) => {
                merged(self.session.transaction.modes(), change)
            }
            _ => self.session.transaction.modes(),
        };
        self.session.after_write.frees_transactions() && self.suits_standby(modes, demand)
    }

    /// Whether a transaction in these modes can be on a standby, with such a statement.
    fn suits_standby(&self, modes: BeginMode, demand: Demand) -> bool {
        let level = modes.isolation.or_else(|| self.session.default_level());
        if demand.pins || level == Some(IsolationLevel::Serializable) {
            return false;
        }
        if modes.read_only == Some(true) {
            return demand.fits_read_only;
        }
        demand.follows
            && !demand.portal
            && !keeps_snapshot(level)
            && self.settings().transaction_reads == TransactionReads::Standby
    }

    /// Whether the open transaction stays on its standby with such a statement.
    fn may_go_on_here(&self, demand: Demand, len: usize) -> bool {
        let transaction = &self.session.transaction;
        match demand.control {
            // The primary takes it, and a standby refuses it, if it is so already.
            Control::Modes(change) if makes_writable(transaction.modes(), change) => false,
            // The server refuses what comes too late, and takes what does not matter.
            Control::Modes(_) | Control::Begin(_) if transaction.has_queried() => true,
            Control::Modes(change) | Control::Begin(change) => {
                let modes = merged(transaction.modes(), change);
                transaction.has_room(len) && self.suits_standby(modes, demand)
            }
            // Which of its settings are still in effect then, only the server knows.
            Control::RollbackTo if self.session.parameters.has_pending() => false,
            Control::End(end) if end.chain && self.session.parameters.has_pending() => false,
            Control::Savepoint | Control::RollbackTo | Control::Repeat => {
                transaction.has_room(len) && self.suits_standby(transaction.modes(), demand)
            }
            Control::None | Control::End(_) => self.suits_standby(transaction.modes(), demand),
        }
    }

    /// Whether a standby may answer such a statement in a transaction that has failed.
    fn suits_failed(&self, demand: Demand) -> bool {
        let goes_back = demand.control == Control::RollbackTo;
        demand.suits_failed() && !(goes_back && self.session.parameters.has_pending())
    }

    /// The transaction, whose status was this, is given up on its standby, to go on on the primary.
    pub(super) fn leave_node(&mut self, status: TransactionStatus) {
        self.session.chosen = None;
        self.session.tally.get_or_insert_default().moved += 1;
        if let Some(before) = self.session.transaction.displaced(status, &self.client.params) {
            self.client.params = before;
        }
    }

    /// Rolls back what is open on the active link, which is settled.
    fn roll_back_here(&mut self) {
        self.own_query(b"ROLLBACK", BLOCK);
    }

    /// Sends a query of our own on the active link, which has room for it.
    fn own_query(&mut self, sql: &[u8], token: Token) {
        if let Some(link) = &mut self.active {
            let _ = link.pipeline.sent(Request::Query, Disposition::Swallow, token);
            link.output.own(|out| encode::query(out, sql));
            self.session.statements.own_query(link.node());
        }
    }

    /// Brings the active link into the client's state; holds until it is known to be alive.
    fn ready_link(&mut self) -> Step {
        let Some(link) = &mut self.active else { return Step::Hold };
        if !link.verified {
            return Step::Hold;
        }
        let settled = link.pipeline.is_settled();
        if link.repeating {
            if !settled {
                return Step::Hold;
            }
            link.repeating = false;
            let failed = std::mem::take(&mut self.session.repeat_failed);
            if failed && self.is_transaction_mode() && !self.is_on_standby() {
                self.fatal(SqlState::INVALID_PARAMETER_VALUE, SETTINGS_REFUSED, None);
                return Step::Hold;
            }
            if failed && self.is_on_standby() {
                tracing::debug!(client = self.id.index, "a standby does not take a setting");
                self.session.pin(PinReasons::SETTING);
                self.session.chosen = None;
                return Step::Hold;
            }
        }
        if self.repeat_settings() || self.apply_settings() {
            return Step::Hold;
        }
        let Some(link) = &mut self.active else { return Step::Hold };
        self.session.alone = settled;
        let agreed = link.agrees_with.as_ref();
        // In a transaction that has failed nothing can be set.
        let can_set = settled && link.pipeline.status() != TransactionStatus::Failed;
        if can_set && !agreed.is_some_and(|params| params.ptr_eq(&self.client.params)) {
            let mut sql = Vec::new();
            for (name, value) in Params::diff(&self.client.params, &link.params, &TRACKED) {
                set_parameter(&mut sql, name.as_bytes(), value);
            }
            if sql.is_empty() {
                link.agrees_with = Some(self.client.params.clone());
            } else {
                self.own_query(&sql, SETUP);
            }
        }
        if matches!(self.session.transaction.block(), Block::Deferred | Block::Failed) {
            self.open_transaction();
        }
        Step::Done
    }

    /// Sets on the active link's server what the session has set elsewhere. Returns whether anything
    /// was to be set.
    fn repeat_settings(&mut self) -> bool {
        let repeats = !self.is_transaction_mode();
        let Some(link) = &mut self.active else { return false };
        let version = self.session.parameters.version();
        if !repeats
            || link.settings == version
            || !link.pipeline.is_settled()
            || link.pipeline.status() != TransactionStatus::Idle
        {
            return false;
        }
        for sql in self.session.parameters.since(link.settings) {
            let _ = link.pipeline.sent(Request::Query, Disposition::Swallow, REPEAT);
            link.output.own(|out| encode::query(out, sql));
            self.session.statements.own_query(link.node());
        }
        link.settings = version;
        link.repeating = true;
        true
    }

    /// Gives the active link's server, which others have used, what this session has set, and nothing
    /// else. Returns whether the outcome has to be awaited.
    fn apply_settings(&mut self) -> bool {
        if !self.is_transaction_mode() {
            return false;
        }
        let on_standby = self.is_on_standby();
        let Some(link) = &mut self.active else { return false };
        let digest = self.session.parameters.digest();
        if link.applied == digest
            || link.unrepeatable
            || !link.pipeline.is_settled()
            || link.pipeline.status() != TransactionStatus::Idle
        {
            return false;
        }
        let mut queries = 0;
        if link.applied != Key::default() {
            let mut sql = RESET_SETTINGS.to_vec();
            for name in TRACKED {
                if let Some(value) = self.client.params.get(name.as_bytes()) {
                    set_parameter(&mut sql, name.as_bytes(), value);
                }
            }
            link.agrees_with = Some(self.client.params.clone());
            queries += 1;
            self.own_query(&sql, SETUP);
        }
        let script = self.session.parameters.script();
        let waits = !script.is_empty() && (on_standby || self.session.parameters.may_be_refused());
        if !script.is_empty() {
            queries += 1;
            self.own_query(&script, if waits { REPEAT } else { SETUP });
        }
        if let Some(link) = &mut self.active {
            link.applied = digest;
            link.applying = queries;
            link.repeating = waits;
        }
        waits
    }

    /// The active link's server gets the client's transaction.
    fn open_transaction(&mut self) {
        let on_primary = !self.is_on_standby();
        for sql in self.session.transaction.open(on_primary) {
            self.own_query(&sql, BLOCK);
        }
    }

    /// A statement or batch is about to be sent.
    pub(super) fn started(&mut self, demand: Demand) {
        self.session.head = None;
        self.session.chosen = None;
        self.session.balancer.settled();
        let healed = std::mem::take(&mut self.session.healing);
        self.session.mending = false;
        if demand.writes || healed {
            let in_block = matches!(demand.control, Control::Begin(_))
                || self.session.transaction.block() == Block::Open
                || self
                    .active
                    .as_ref()
                    .is_some_and(|link| link.pipeline.status() != TransactionStatus::Idle);
            self.session.after_write.wrote(in_block);
        }
        self.session.alters_catalogue |= demand.alters_catalogue;
        if demand.pins {
            self.session.pin(demand.why);
        }
    }
}

/// Whether a transaction in these modes is told to be able to write, and nothing else.
fn makes_writable(modes: BeginMode, change: BeginMode) -> bool {
    modes.read_only != Some(true)
        && change == BeginMode { read_only: Some(false), ..BeginMode::default() }
}

/// Resets all parameters of a session, the role and the authorization among them.
pub(super) const RESET_SETTINGS: &[u8] = b"RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;";

const SETTINGS_REFUSED: &str = "the session's parameters could not be set on its server";

/// Appends a SET command. `name` is one of ours or was checked to be a plain identifier.
pub(super) fn set_parameter(sql: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    sql.extend_from_slice(b"SET ");
    sql.extend_from_slice(name);
    sql.extend_from_slice(b" TO ");
    encode::quote_literal(sql, value);
    sql.push(b';');
}
