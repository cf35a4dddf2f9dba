//! Which node a statement goes to.

use crate::config::Settings;
use crate::ids::NodeId;

/// Chooses nodes for reads: once for a session, or for each statement
/// (`statement_level_load_balance`), at random by `backend_weight`.
///
/// The random numbers come from a seed; equal seeds choose alike.
#[derive(Debug)]
pub(crate) struct Balancer {
    state: u64,
    /// The session's node for reads.
    chosen: Option<NodeId>,
    /// Nodes (by bit) that refused the statement at hand.
    skipped: u128,
    enabled: bool,
    per_statement: bool,
}

impl Balancer {
    pub(crate) fn new(settings: &Settings, seed: u64) -> Self {
        Self {
            state: seed | 1,
            chosen: None,
            skipped: 0,
            enabled: settings.load_balance_mode && settings.backends.len() > 1,
            per_statement: settings.statement_level_load_balance,
        }
    }

    /// Whether reads may leave the primary at all.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The node for a read.
    pub(crate) fn node(&mut self, settings: &Settings) -> NodeId {
        match self.chosen {
            Some(node) if self.skipped & bit(node) == 0 => node,
            Some(_) | None => {
                let node = self.draw(settings);
                // A node that stands in for one that is down is not kept.
                if self.skipped == 0 && !self.per_statement {
                    self.chosen = Some(node);
                }
                node
            }
        }
    }

    /// The node cannot take the statement at hand. False if it is the primary: then nobody can.
    pub(crate) fn skip(&mut self, node: NodeId, primary: NodeId) -> bool {
        self.skipped |= bit(node);
        node != primary
    }

    /// The statement at hand has found its node.
    pub(crate) fn settled(&mut self) {
        self.skipped = 0;
    }

    fn draw(&mut self, settings: &Settings) -> NodeId {
        let primary = settings.primary_node();
        let candidates = || {
            settings.backends.iter().enumerate().filter_map(|(index, backend)| {
                let node = NodeId(u16::try_from(index).ok()?);
                let usable = backend.weight > 0.0 && self.skipped & bit(node) == 0;
                usable.then_some((node, backend.weight))
            })
        };
        let total: f64 = candidates().map(|(_, weight)| weight).sum();
        // xorshift64*: enough for spreading, and the same on every machine.
        let mut x = self.state;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        let bits = u32::try_from(x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).unwrap_or(0);
        let mut dart = f64::from(bits) / f64::from(u32::MAX) * total;
        let mut node = primary;
        for (candidate, weight) in candidates() {
            node = candidate;
            dart -= weight;
            if dart <= 0.0 {
                break;
            }
        }
        self.state = x;
        node
    }
}

fn bit(node: NodeId) -> u128 {
    1_u128.checked_shl(u32::from(node.0)).unwrap_or(0)
}
