//! Files that were read again take the place of those in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgwire_core::time::Instant;

use super::{Command, Event, Hub, Node, limits};
use crate::config::Settings;
use crate::context::Context;
use crate::identity::Identity;
use crate::ids::{IdentityId, NodeId};
use crate::login::ConnectError;
use crate::pool::Pool;

/// Settings that were not made by [`Settings::succeed`] from those in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these settings do not succeed those in force")]
pub struct NotASuccessor;

impl<S, D: Clone> Hub<S, D> {
    /// Has the runtime read the files again: what SIGHUP does.
    pub fn order_reload(&mut self) {
        self.commands.push_back(Command::Reload);
    }

    /// Puts a newly loaded context in force. Nobody is disconnected by it.
    ///
    /// Limits hold at once; who is above one is not sent away, and nobody new comes. New clients and
    /// those that are logging in begin with the new context. Others take it over when nothing of
    /// theirs is under way: outside of a transaction, and one that keeps its server for the state of
    /// its session, whose server is no longer the right one, never.
    ///
    /// A node that is gone serves to their end the transactions that it serves. One whose address
    /// has changed likewise, and new connections go to the new address. While the proxy shuts down
    /// nothing is changed any more.
    ///
    /// # Errors
    /// The settings do not [succeed](Settings::succeed) those in force.
    pub fn reload(&mut self, context: Arc<Context>, now: Instant) -> Result<(), NotASuccessor> {
        let old = self.settings.clone();
        let new = context.settings.clone();
        if new.generation() <= old.generation() || new.backends.len() < old.backends.len() {
            return Err(NotASuccessor);
        }
        if self.shutdown.is_some() {
            return Ok(());
        }
        self.context = context;
        self.settings = new.clone();
        self.reload_nodes(&old, &new, now);
        self.catalogues.reload(&new, !old.nodes().eq(new.nodes()), now);
        self.order_lookups(now);
        self.commands.extend(self.asking.take_link().map(Command::Close));
        self.asking.credentials.forget_methods();
        self.admit_waiting();
        for (_, client) in &mut self.clients {
            if !client.inbox.iter().any(|event| matches!(event, Event::Reload)) {
                // Ahead of refusals by nodes that are gone: they are to be understood.
                client.inbox.push_front(Event::Reload);
            }
            self.commands.push_back(Command::Ring(client.doorbell.clone()));
        }
        Ok(())
    }

    fn reload_nodes(&mut self, old: &Settings, new: &Settings, now: Instant) {
        // All limits are in force before any pool acts on one of them.
        for node in &mut self.nodes {
            node.pool.replace_limits(limits(new));
        }
        self.bound_all();
        for (index, backend) in new.backends.iter().enumerate() {
            let Ok(id) = u16::try_from(index).map(NodeId) else { return };
            let Some(node) = self.nodes.get_mut(index) else {
                self.nodes.push(Node::new(id, new));
                continue;
            };
            let before = old.backends.get(index);
            let was_removed = old.is_removed(id);
            let moved =
                before.is_some_and(|it| (&it.host, it.port) != (&backend.host, backend.port));
            if new.is_removed(id) {
                node.last_error = Some(Arc::new(ConnectError::NoSuchNode));
                node.pool.close_down();
            } else {
                if was_removed {
                    node.pool.reopen();
                }
                node.pool.enforce(now);
                if was_removed || moved {
                    node.last_error = None;
                    node.pool.reconnect(now);
                }
            }
            self.carry_out(id);
        }
    }

    /// Who the clients of an identity are.
    pub(crate) fn identity(&self, identity: IdentityId) -> Option<Arc<Identity>> {
        let index = usize::try_from(identity.0).ok()?;
        Some(self.identities.get(index)?.identity.clone())
    }
}

impl<S> Node<S> {
    pub(super) fn new(node: NodeId, settings: &Settings) -> Self {
        Self {
            pool: Pool::new(node, limits(settings)),
            idle: Vec::new(),
            last_error: None,
            owners: BTreeMap::new(),
        }
    }
}
