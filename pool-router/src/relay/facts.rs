//! Classifying a client's statements with what is known of its database.

use pgwire_core::params::Params;

use super::Session;
use super::demand::Demand;
use crate::catalogue::{Cell, Digest, Snapshot};
use crate::classify::{
    Facts, FunctionFact, IsolationLevel, Name, NoFacts, Reason, RelationFact, RelationKind, Target,
    Verdict, fingerprint,
};
use crate::context::Context;

/// The facts for one session: its database's, as far as they are known.
#[derive(Debug)]
pub(super) struct SessionFacts<'a> {
    snapshot: Option<&'a Snapshot>,
    /// Names with bytes above 0x7f can be compared with those in the catalogue.
    understood: bool,
}

impl<'a> SessionFacts<'a> {
    /// `client_encoding` is the session's.
    fn new<'p>(
        snapshot: Option<&'a Snapshot>,
        client_encoding: impl FnOnce() -> Option<&'p [u8]>,
    ) -> Self {
        let snapshot = snapshot.filter(|snapshot| snapshot.digest().is_some());
        let digest = snapshot.and_then(Snapshot::digest);
        Self {
            snapshot,
            understood: digest.is_some_and(|digest| digest.understands(client_encoding)),
        }
    }

    #[inline]
    fn is_doubtful(&self, name: Name<'_>) -> bool {
        let is_ascii = || {
            name.name.text.is_ascii()
                && name.qualifier.is_none_or(|qualifier| qualifier.text.is_ascii())
        };
        !(self.understood || is_ascii())
    }
}

impl Facts for SessionFacts<'_> {
    #[inline]
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        let Some(snapshot) = self.snapshot else { return FunctionFact::Unknown };
        if self.was_refused(name) {
            return FunctionFact::Writes;
        }
        match snapshot.digest() {
            Some(digest) if !self.is_doubtful(name) => digest.function(name),
            _ => FunctionFact::Unknown,
        }
    }

    #[inline]
    fn was_refused(&mut self, name: Name<'_>) -> bool {
        self.snapshot.is_some_and(|snapshot| snapshot.learned().writes(name))
    }

    #[inline]
    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        match self.snapshot.and_then(Snapshot::digest) {
            Some(digest) if !self.is_doubtful(name) => digest.relation(name),
            _ => RelationFact::PrimaryOnly(RelationKind::NotLookedUp),
        }
    }

    #[inline]
    fn attribute(&mut self, name: Name<'_>) -> FunctionFact {
        let Some(snapshot) = self.snapshot else { return FunctionFact::Unknown };
        let unqualified = Name { qualifier: None, ..name };
        if snapshot.learned().writes(unqualified) {
            return FunctionFact::Writes;
        }
        snapshot.digest().map_or(FunctionFact::Unknown, |digest| digest.attribute(name))
    }

    #[inline]
    fn operator(&mut self, operator: &[u8]) -> bool {
        self.snapshot.and_then(Snapshot::digest).is_some_and(|digest| digest.operator(operator))
    }
}

/// What classifying a session's statements rests on.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) catalogue: Option<&'a Cell>,
    pub(super) context: &'a Context,
    /// The client's.
    pub(super) params: &'a Params,
}

/// The version of verdicts that rest on the text alone, where all statements go to the primary
/// anyway; those with facts have that of their snapshot.
const NO_FACTS: u64 = 0;

/// Stands for the facts of a snapshot together with the operator's lists of one load.
fn shape_version(snapshot: u64, generation: u64) -> u64 {
    // An odd factor spreads the generations, of which there are few, over all numbers.
    snapshot.wrapping_add(generation.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

impl Session {
    /// Looks at remembered statements anew if the catalogue has changed.
    pub(super) fn refresh(&mut self, known: Known<'_>) {
        let Some(newest) = known.catalogue.map(Cell::load) else { return };
        let present = (newest.number(), self.catalogue_change);
        if present == self.known {
            return;
        }
        self.known = present;
        let is_default = newest.digest().is_none_or(Digest::default_isolation_is_read_committed);
        self.server_level = (!is_default).then_some(IsolationLevel::RepeatableRead);
        for (name, sql) in self.statements.texts() {
            let demand = self.demand(&sql, known);
            self.statements.set_demand(&name, demand);
        }
    }

    /// What a text is, by all that is known.
    pub(super) fn classify(&mut self, sql: &[u8], known: Known<'_>) -> Verdict {
        if !self.balancer.is_enabled() {
            let shapes = self.shapes.get_or_insert_default();
            return shapes.classify(sql, &self.lexing, NO_FACTS, &mut NoFacts);
        }
        let newest = known.catalogue.map(Cell::load);
        let snapshot = newest
            .as_ref()
            .map(|guard| &***guard)
            .filter(|snapshot| self.catalogue_change.is_some_and(|it| snapshot.covers(it)));
        let mut facts = SessionFacts::new(snapshot, || known.params.get(b"client_encoding"));
        let rules = &known.context.rules;
        // Facts that only this session goes by are not remembered for others.
        let generation = known.context.settings.generation();
        let version = snapshot
            .filter(|_| facts.understood)
            .map(|snapshot| shape_version(snapshot.number(), generation));
        let shapes = &mut self.shapes;
        let found = version.and_then(|version| {
            shapes.as_mut().and_then(|shapes| shapes.find(sql, &self.lexing, version))
        });
        let mut verdict = match found {
            Some(mut verdict) => {
                if let Some(setting) = rules.forces_primary(sql) {
                    verdict.target = Target::Primary(Reason::Setting(setting));
                }
                verdict
            }
            None => {
                let verdict = rules.classify(sql, &self.lexing, &self.functions, &mut facts);
                if let Some(version) = version {
                    shapes.get_or_insert_default().remember(sql, &self.lexing, version, &verdict);
                }
                verdict
            }
        };
        if verdict.target == Target::Read
            && let Some(learned) = snapshot.map(Snapshot::learned)
            && learned.has_statements()
            && fingerprint(sql, &self.lexing).is_some_and(|it| learned.has_statement(it))
        {
            verdict.target = Target::Primary(Reason::Learned);
            verdict.effects.writes = true;
        }
        if let Target::Primary(reason) = verdict.target {
            self.count_doubt(reason);
        }
        verdict
    }

    fn count_doubt(&mut self, reason: Reason) {
        match reason {
            Reason::NotParsable(_) => self.tally.get_or_insert_default().not_parsable += 1,
            Reason::UnknownStatement => self.tally.get_or_insert_default().unknown_statements += 1,
            _ => return,
        }
        tracing::debug!("a statement goes to the primary: {reason}");
    }

    /// What a statement demands.
    pub(super) fn demand(&mut self, sql: &[u8], known: Known<'_>) -> Demand {
        Demand::of(&self.classify(sql, known), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{DigestBuilder, FunctionName, LearnedSet};
    use crate::classify::{Lexing, classify_with};

    fn digest() -> Digest {
        let mut builder = DigestBuilder::new(100, true);
        for (kind, name, fact) in [
            ("f", "f_read", "h"),
            ("f", "f_write", "w"),
            ("f", "f_volatile", "x"),
            ("r", "u", "u"),
            ("f", "größe", "w"),
            ("o", "@+@", "w"),
        ] {
            builder.row(kind.as_bytes(), b"public", name.as_bytes(), fact.as_bytes()).unwrap();
        }
        builder.finish(Some(b"UTF8"), Some(b"UTF8"))
    }

    fn reads_in(snapshot: Option<&Snapshot>, encoding: &str, sql: &str) -> bool {
        let mut facts = SessionFacts::new(snapshot, || Some(encoding.as_bytes()));
        classify_with(sql.as_bytes(), &Lexing::default(), &mut facts).target == Target::Read
    }

    #[test]
    fn facts_decide() {
        let snapshot = Snapshot::new(digest(), LearnedSet::default());
        let reads = |sql| reads_in(Some(&snapshot), "UTF8", sql);
        for sql in ["SELECT f_read(a) FROM t", "SELECT lower(a) FROM t", "SELECT größer FROM t"] {
            assert!(reads(sql), "{sql}");
        }
        for sql in ["SELECT f_write(a)", "SELECT unknown(a)", "SELECT * FROM u", "SELECT größe()"]
        {
            assert!(!reads(sql), "{sql}");
        }
    }

    #[test]
    fn nothing_is_known_at_first() {
        for snapshot in [None, Some(&Snapshot::default())] {
            let reads = |sql| reads_in(snapshot, "UTF8", sql);
            assert!(reads("SELECT 1, lower('x')"));
            for sql in ["SELECT a FROM t", "SELECT f_read(1)", "SELECT 1 FROM t"] {
                assert!(!reads(sql), "{sql}");
            }
        }
    }

    #[test]
    fn other_encodings_have_no_facts_beyond_ascii() {
        let snapshot = Snapshot::new(digest(), LearnedSet::default());
        let reads = |sql| reads_in(Some(&snapshot), "LATIN1", sql);
        assert!(reads("SELECT f_read(a) FROM t"));
        for sql in ["SELECT a FROM tür", "SELECT a FROM tür.t", "SELECT größe()"] {
            assert!(!reads(sql), "{sql}");
        }
    }

    #[test]
    fn what_was_learned_decides() {
        let [f_read, f_volatile] = [&b"f_read"[..], b"f_volatile"]
            .map(|name| FunctionName { name: name.into(), schema: None });
        let snapshot = Snapshot::new(digest(), LearnedSet::new(vec![f_read.clone()], Vec::new()));
        assert!(reads_in(Some(&snapshot), "UTF8", "EXPLAIN SELECT f_volatile(a) FROM v"));
        let learned = LearnedSet::new(vec![f_read, f_volatile], Vec::new());
        let snapshot = Snapshot::new(digest(), learned);
        assert!(reads_in(Some(&snapshot), "UTF8", "SELECT a FROM v"));
        assert!(!reads_in(Some(&snapshot), "UTF8", "SELECT F_Read(a) FROM v"));
        assert!(!reads_in(Some(&snapshot), "UTF8", "EXPLAIN SELECT f_volatile(a) FROM v"));
    }
}
