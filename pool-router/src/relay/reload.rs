//! Taking over a context that was loaded while the client was being served.
//!
//! Between two transactions, that is: what is under way ends by the rules it began with.

use std::sync::Arc;

use pgwire_core::txn::TransactionStatus;

use super::transaction::Block;
use super::{Phase, Relay, Timer};
use crate::config::Settings;
use crate::context::Context;
use crate::hub::Hub;
use crate::identity::Identity;
use crate::ids::NodeId;
use crate::rules::{FunctionMemo, SessionNames};

/// A context that waits for its moment.
#[derive(Debug)]
pub(super) struct Next {
    context: Arc<Context>,
    /// Who the client is, if that is known.
    identity: Option<Arc<Identity>>,
}

impl<S> Relay<S> {
    /// The hub has a new context.
    pub(super) fn on_reload<D: Clone>(&mut self, hub: &Hub<S, D>) {
        let context = hub.context().clone();
        if let Phase::Startup(startup) = &self.phase
            && startup.is_before_auth()
        {
            // Nothing was decided yet.
            let nobody = SessionNames { application_name: b"", database: b"", user: b"" };
            self.adopt(context, Some(&nobody));
            return;
        }
        let identity = self.pool_key.and_then(|key| hub.identity(key.identity));
        self.next = Some(Box::new(Next { context, identity }));
        self.stop_waiting_in_vain();
        self.adopt_when_idle();
    }

    /// A statement that waits for a node that it should not go to any more chooses anew.
    fn stop_waiting_in_vain(&mut self) {
        let Some(next) = &self.next else { return };
        let Some(node) = self.waiting.or(self.wants.acquire) else { return };
        let (old, new) = (&self.context.settings, &next.context.settings);
        let in_vain = new.is_removed(node) || old.primary_node() != new.primary_node();
        if !in_vain || !matches!(self.phase, Phase::Ready) || !self.is_at_rest() {
            return;
        }
        if let Some(node) = self.waiting.take() {
            self.wants.withdraw = Some(node);
        }
        self.wants.acquire = None;
        self.stop_wait_timers();
        self.session.chosen = None;
        self.session.head = None;
    }

    /// Whether nothing of the client is on a server.
    pub(super) fn is_at_rest(&self) -> bool {
        let deferred = self.session.transaction.block() == Block::Deferred;
        (deferred || self.session.transaction.block() == Block::Closed)
            && !self.session.in_batch
            && !self.session.healing
            && self.active.as_ref().is_none_or(|link| {
                link.is_quiet() && link.pipeline.status() == TransactionStatus::Idle
            })
    }

    /// Takes over the context that waits, if nothing is under way.
    pub(super) fn adopt_when_idle(&mut self) {
        let idle = matches!(self.phase, Phase::Ready)
            && self.is_at_rest()
            && self.waiting.is_none()
            && self.wants.acquire.is_none()
            && self.session.head.is_none()
            && self.session.chosen.is_none();
        if !idle {
            return;
        }
        let Some(next) = self.next.take() else { return };
        let (old, new) = (self.context.settings.clone(), next.context.settings.clone());
        let primary_differs = old.primary_node() != new.primary_node();
        let held = || self.active.iter().chain(&self.parked).map(|link| link.node());
        if self.session.pinned && (primary_differs || held().any(|node| is_left(&old, &new, node)))
        {
            // The state of its session is on a server that others do not use any more.
            self.next = Some(next);
            return;
        }
        self.leave_servers(&old, &new);
        let application_name = self.client.params.get(b"application_name").unwrap_or_default();
        let application_name = application_name.to_vec();
        let names = next.identity.as_ref().map(|identity| SessionNames {
            application_name: &application_name,
            database: &identity.database,
            user: &identity.user,
        });
        self.adopt(next.context, names.as_ref());
        self.stop_timer(Timer::ClientIdle);
    }

    fn adopt(&mut self, context: Arc<Context>, names: Option<&SessionNames<'_>>) {
        let old = std::mem::replace(&mut self.context, context);
        let (old, new) = (&*old.settings, &*self.context.settings);
        let session = &mut self.session;
        session.statements.set_limit(new.prepared_statement_bytes);
        session.after_write.setting_changed(new.disable_load_balance_on_write);
        session.functions = FunctionMemo::default();
        // Whatever was found out of prepared statements rested on other rules.
        session.known = (u64::MAX, None);
        if let Some(names) = names {
            session.balancer.settings_changed((old, new), &self.context.rules, names);
            let limits = new.client_limits(names.user, names.database);
            self.set_limits(limits);
        }
    }

    /// Gives up the servers of nodes that are gone or have moved.
    fn leave_servers(&mut self, old: &Settings, new: &Settings) {
        let leaves = |node: NodeId| is_left(old, new, node);
        if let Some(mut link) = self.active.take_if(|link| leaves(link.node())) {
            self.client.output.detach(&mut link.input);
            self.session.statements.link_gone(link.node());
            self.wants.retire.push(link);
        }
        for link in self.parked.extract_if(.., |link| leaves(link.node())) {
            self.session.statements.link_gone(link.node());
            self.wants.retire.push(link);
        }
    }
}

/// Whether connections to a node lead elsewhere than new ones would.
fn is_left(old: &Settings, new: &Settings, node: NodeId) -> bool {
    let address = |settings: &Settings| {
        settings.backends.get(node.index()).map(|it| (it.host.clone(), it.port))
    };
    new.is_removed(node) || address(old) != address(new)
}
