//! Which node a statement goes to.

mod after_write;

use crate::config::Settings;
use crate::ids::NodeId;
use crate::rules::{Preference, PreferredNode, Rules, SessionNames};

pub use after_write::AfterWrite;

/// Chooses nodes for the reads of one session: once for the session, or for each statement
/// (`statement_level_load_balance`), at random by `backend_weight`.
///
/// The redirect lists go before: [`Balancer::session_starts`] finds the entry that fits the
/// session, and each choice then takes its node with its ratio as the probability.
///
/// * `primary` or a node id: that node, whatever its weight, else one of the *others* by weight.
/// * `standby`: one of the standbys by weight, else the primary.
///
/// Where no node that may be chosen has a weight, it is the primary. A named node that does not
/// exist or is skipped counts as if the entry was not there.
///
/// The random numbers come from a seed; equal seeds choose alike.
#[derive(Debug, Clone)]
pub struct Balancer {
    state: u64,
    preference: Option<Preference>,
    /// The session's node for reads.
    chosen: Option<NodeId>,
    /// Nodes (by bit) that refused the statement at hand.
    skipped: u128,
    enabled: bool,
    per_statement: bool,
}

impl Balancer {
    /// A balancer for a session of which nothing is known yet.
    #[must_use]
    pub fn new(settings: &Settings, seed: u64) -> Self {
        Self {
            state: seed,
            preference: None,
            chosen: None,
            skipped: 0,
            enabled: is_enabled(settings),
            per_statement: settings.statement_level_load_balance,
        }
    }

    /// The session is logged in under these names: looks up the redirect lists, and forgets what was
    /// chosen.
    ///
    /// The application name is the one of the startup packet. As in Pgpool-II, a later `SET
    /// application_name` moves no session; an embedder who wants that calls this again.
    pub fn session_starts(&mut self, rules: &Rules, names: &SessionNames<'_>) {
        self.preference = rules.preference(names);
        self.chosen = None;
    }

    /// Other settings hold from now on. What the session had chosen stays as it is unless nodes,
    /// weights or redirect lists have changed.
    pub fn settings_changed(
        &mut self,
        (old, new): (&Settings, &Settings),
        rules: &Rules,
        names: &SessionNames<'_>,
    ) {
        let lists = |settings: &'_ Settings| {
            [
                settings.app_name_redirect_preference_list.clone(),
                settings.database_redirect_preference_list.clone(),
                settings.user_redirect_preference_list.clone(),
            ]
        };
        self.enabled = is_enabled(new);
        self.per_statement = new.statement_level_load_balance;
        if !new.nodes().eq(old.nodes()) || lists(new) != lists(old) || self.per_statement {
            self.session_starts(rules, names);
        }
    }

    /// Whether reads may leave the primary at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The node for a read.
    pub fn node(&mut self, settings: &Settings) -> NodeId {
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
    pub fn skip(&mut self, node: NodeId, primary: NodeId) -> bool {
        self.skipped |= bit(node);
        node != primary
    }

    /// The statement at hand has found its node.
    pub fn settled(&mut self) {
        self.skipped = 0;
    }

    fn draw(&mut self, settings: &Settings) -> NodeId {
        let primary = settings.primary_node();
        let Some(preference) = self.preference else {
            return self.by_weight(settings, |_| true).unwrap_or(primary);
        };
        let fits = self.unit() < preference.ratio;
        let named = match preference.node {
            PreferredNode::Primary => Some(primary),
            PreferredNode::Id(id) => {
                settings.nodes().find(|(_, backend)| backend.id == id).map(|(node, _)| node)
            }
            PreferredNode::Standby => {
                let standby =
                    if fits { self.by_weight(settings, |node| node != primary) } else { None };
                return standby.unwrap_or(primary);
            }
        };
        match named.filter(|node| self.skipped & bit(*node) == 0) {
            Some(node) if fits => node,
            Some(avoided) => self.by_weight(settings, |node| node != avoided).unwrap_or(primary),
            None => self.by_weight(settings, |_| true).unwrap_or(primary),
        }
    }

    /// One of the usable nodes that pass; `None` if none with a weight does.
    fn by_weight(
        &mut self,
        settings: &Settings,
        passes: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let dart = self.unit();
        let skipped = self.skipped;
        let candidates = || {
            settings.nodes().filter(|(node, backend)| {
                backend.weight > 0.0 && skipped & bit(*node) == 0 && passes(*node)
            })
        };
        let total: f64 = candidates().map(|(_, backend)| backend.weight).sum();
        let mut left = dart * total;
        let mut hit = None;
        for (node, backend) in candidates() {
            hit = Some(node);
            left -= backend.weight;
            if left < 0.0 {
                break;
            }
        }
        hit
    }

    /// A number from 0 to below 1.
    fn unit(&mut self) -> f64 {
        // SplitMix64 (Steele, Lea and Flood, 2014): any seed is good, and the same on every machine.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let bits = u32::try_from(z >> 32).unwrap_or(0);
        f64::from(bits) / 4_294_967_296.0
    }
}

fn is_enabled(settings: &Settings) -> bool {
    settings.load_balance_mode && settings.nodes().nth(1).is_some()
}

fn bit(node: NodeId) -> u128 {
    1_u128.checked_shl(u32::from(node.0)).unwrap_or(0)
}
