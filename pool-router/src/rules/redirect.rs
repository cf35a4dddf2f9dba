//! `app_name_`, `database_` and `user_redirect_preference_list`.

use crate::config::MAX_NODE_ID;

use super::patterns::PatternList;
use super::{RuleError, RuleProblem, faults, plain};

/// A node as a redirect list names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreferredNode {
    /// `primary`
    Primary,
    /// `standby`: one of them, by weight.
    Standby,
    /// A node id, 0 to [`MAX_NODE_ID`]: the number behind the names in the file.
    Id(u16),
}

/// Where the reads of a session are to go, and how surely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preference {
    /// The node.
    pub node: PreferredNode,
    /// The probability that it is taken, 0 to 1.
    pub ratio: f64,
}

/// What redirect lists are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionNames<'a> {
    /// `application_name` of the startup packet; empty if it has none.
    pub application_name: &'a [u8],
    /// The database.
    pub database: &'a [u8],
    /// The user.
    pub user: &'a [u8],
}

/// What is wrong with an entry besides its regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectProblem {
    /// No colon.
    #[error("there is no `:` before a node")]
    NoNode,
    /// Something that is no node.
    #[error("`{0}` is no node")]
    Node(String),
    /// A ratio that is none.
    #[error("`{0}` is no ratio")]
    Ratio(String),
}

/// The entries of one setting.
#[derive(Debug, Clone, Default)]
pub(super) struct RedirectList {
    patterns: PatternList,
    preferences: Vec<Preference>,
}

impl RedirectList {
    pub(super) fn compile(
        setting: &'static str,
        entries: &[String],
    ) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let mut patterns = Vec::new();
        let mut preferences = Vec::new();
        for entry in entries {
            match parse(entry) {
                Ok((pattern, preference)) => {
                    patterns.push(plain(pattern));
                    preferences.push(preference);
                }
                Err(problem) => errors.push(RuleError {
                    setting,
                    entry: Some(entry.clone()),
                    problem: RuleProblem::Redirect(problem),
                }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let patterns = PatternList::compile(patterns.iter().map(String::as_str))
            .map_err(|faulty| faults(setting, entries, faulty))?;
        Ok(Self { patterns, preferences })
    }

    pub(super) fn node_ids(&self) -> impl Iterator<Item = u16> {
        self.preferences.iter().filter_map(|preference| match preference.node {
            PreferredNode::Id(id) => Some(id),
            PreferredNode::Primary | PreferredNode::Standby => None,
        })
    }

    pub(super) fn first(&self, name: &[u8]) -> Option<Preference> {
        self.preferences.get(self.patterns.first(name)?).copied()
    }
}

/// Splits `pattern:node(ratio)`. The last colon counts, so that a pattern may hold `[[:digit:]]`;
/// Pgpool-II takes the first one and refuses such entries.
fn parse(entry: &str) -> Result<(&str, Preference), RedirectProblem> {
    let (pattern, target) = entry.rsplit_once(':').ok_or(RedirectProblem::NoNode)?;
    let (node, ratio) = match target.split_once('(') {
        None => (target, 1.0),
        Some((node, rest)) => {
            let ratio = rest
                .trim_end()
                .strip_suffix(')')
                .and_then(|text| crate::config::units::parse_float(text.trim()))
                .filter(|ratio| (0.0..=1.0).contains(ratio));
            (node, ratio.ok_or_else(|| RedirectProblem::Ratio(format!("({rest}")))?)
        }
    };
    let node = node.trim();
    let digits = !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_digit());
    let node = if node.eq_ignore_ascii_case("primary") {
        PreferredNode::Primary
    } else if node.eq_ignore_ascii_case("standby") {
        PreferredNode::Standby
    } else {
        node.parse()
            .ok()
            .filter(|id| digits && *id <= MAX_NODE_ID)
            .map(PreferredNode::Id)
            .ok_or_else(|| RedirectProblem::Node(node.to_owned()))?
    };
    Ok((pattern.trim(), Preference { node, ratio }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_pattern_node_and_ratio() {
        use PreferredNode as N;
        let table: &[(&str, &str, PreferredNode, f64)] = &[
            ("postgres:primary", "postgres", N::Primary, 1.0),
            ("mydb[01]:1(0.3)", "mydb[01]", N::Id(1), 0.3),
            ("mydb2:STANDBY", "mydb2", N::Standby, 1.0),
            ("a : 127 ( 0.5 ) ", "a", N::Id(127), 0.5),
            ("report:1(0.0)", "report", N::Id(1), 0.0),
            ("x:0(1)", "x", N::Id(0), 1.0),
            ("[[:alpha:]]+:primary(0.25)", "[[:alpha:]]+", N::Primary, 0.25),
            (".*:standby", ".*", N::Standby, 1.0),
        ];
        for (entry, pattern, node, ratio) in table {
            let wanted = Preference { node: *node, ratio: *ratio };
            assert_eq!(parse(entry), Ok((*pattern, wanted)), "{entry}");
        }
        for (entry, wanted) in [
            ("postgres", RedirectProblem::NoNode),
            ("a:bogus", RedirectProblem::Node("bogus".into())),
            ("a:", RedirectProblem::Node(String::new())),
            ("a:128", RedirectProblem::Node("128".into())),
            ("a:+1", RedirectProblem::Node("+1".into())),
            ("a:1(1.5)", RedirectProblem::Ratio("(1.5)".into())),
            ("a:1(-1)", RedirectProblem::Ratio("(-1)".into())),
            ("a:1(half)", RedirectProblem::Ratio("(half)".into())),
            ("a:1(0.5", RedirectProblem::Ratio("(0.5".into())),
            ("a:1(nan)", RedirectProblem::Ratio("(nan)".into())),
        ] {
            assert_eq!(parse(entry), Err(wanted), "{entry}");
        }
    }
}
