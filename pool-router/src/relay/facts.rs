//! Classifying a client's statements with what is known of its database.

use pgwire_core::params::Params;

use super::Relay;
use super::demand::Demand;
use crate::catalogue::{Cell, Snapshot};
use crate::classify::{
    Facts, FunctionFact, Identifier, Lexing, Name, Reason, RelationFact, RelationKind, Target,
    Verdict, classify_with, fingerprint,
};

/// The facts for one session: its database's, as far as they are known.
#[derive(Debug)]
pub(super) struct SessionFacts<'a> {
    snapshot: Option<&'a Snapshot>,
    /// Names with bytes above 0x7f can be compared with those in the catalogue.
    understood: bool,
}

impl<'a> SessionFacts<'a> {
    /// `params` are the session's.
    pub(super) fn new(snapshot: Option<&'a Snapshot>, params: &Params) -> Self {
        let digest = snapshot.and_then(Snapshot::digest);
        let encoding = || params.get(b"client_encoding");
        Self { snapshot, understood: digest.is_some_and(|digest| digest.understands(encoding)) }
    }

    #[inline]
    fn is_doubtful(&self, name: Name<'_>) -> bool {
        let is_ascii = |identifier: Identifier<'_>| identifier.text.is_ascii();
        !(self.understood || is_ascii(name.name) && name.qualifier.is_none_or(is_ascii))
    }
}

impl Facts for SessionFacts<'_> {
    #[inline]
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        let Some(snapshot) = self.snapshot else { return FunctionFact::Unknown };
        if snapshot.learned().writes(name) {
            return FunctionFact::Writes;
        }
        match snapshot.digest() {
            Some(digest) if !self.is_doubtful(name) => digest.function(name),
            _ => FunctionFact::Unknown,
        }
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

/// What a text is, by all that is known of its session and database.
fn classify(catalogue: Option<&Cell>, params: &Params, lexing: &Lexing, sql: &[u8]) -> Verdict {
    let newest = catalogue.map(Cell::load);
    let snapshot = newest.as_ref().map(|guard| &***guard);
    let mut facts = SessionFacts::new(snapshot, params);
    let mut verdict = classify_with(sql, lexing, &mut facts);
    if verdict.target == Target::Read
        && let Some(learned) = snapshot.map(Snapshot::learned)
        && learned.has_statements()
        && fingerprint(sql, lexing).is_some_and(|it| learned.has_statement(it))
    {
        verdict.target = Target::Primary(Reason::Learned);
        verdict.effects.writes = true;
    }
    verdict
}

impl<S> Relay<S> {
    /// What a text is, by all that is known.
    pub(super) fn classify(&self, sql: &[u8]) -> Verdict {
        classify(self.catalogue.as_deref(), &self.client.params, &self.session.lexing, sql)
    }

    /// Looks whether more is known than when the prepared statements were classified.
    pub(super) fn notice_catalogue(&mut self) {
        let Some(catalogue) = self.catalogue.as_deref() else { return };
        let newest = catalogue.load().number();
        if std::mem::replace(&mut self.catalogue_seen, newest) != newest {
            let (params, lexing) = (&self.client.params, &self.session.lexing);
            self.session
                .statements
                .reclassify(|sql| Demand::of(&classify(Some(catalogue), params, lexing, sql)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Digest, DigestBuilder, FunctionName, LearnedSet};

    fn digest() -> Digest {
        let mut builder = DigestBuilder::new(100, true);
        for (kind, name, fact) in [
            ("f", "f_read", "h"),
            ("f", "f_write", "w"),
            ("r", "u", "u"),
            ("f", "größe", "w"),
            ("o", "@+@", "w"),
        ] {
            builder.row(kind.as_bytes(), b"public", name.as_bytes(), fact.as_bytes()).unwrap();
        }
        builder.finish(Some(b"UTF8"), Some(b"UTF8"))
    }

    fn target(snapshot: Snapshot, encoding: &str, sql: &str) -> Target {
        let cell = Cell::default();
        cell.publish(snapshot);
        let mut params = Params::new();
        params.set(b"client_encoding", encoding.as_bytes()).unwrap();
        classify(Some(&cell), &params, &Lexing::default(), sql.as_bytes()).target
    }

    fn reads(snapshot: &Snapshot, sql: &str) -> bool {
        target(snapshot.clone(), "UTF8", sql) == Target::Read
    }

    #[test]
    fn facts_decide() {
        let snapshot = Snapshot::new(digest(), LearnedSet::default());
        for sql in ["SELECT f_read(a) FROM t", "SELECT lower(a) FROM t", "SELECT größer FROM t"] {
            assert!(reads(&snapshot, sql), "{sql}");
        }
        for sql in ["SELECT f_write(a)", "SELECT unknown(a)", "SELECT * FROM u", "SELECT größe()"]
        {
            assert!(!reads(&snapshot, sql), "{sql}");
        }
    }

    #[test]
    fn nothing_is_known_at_first() {
        let snapshot = Snapshot::default();
        assert!(reads(&snapshot, "SELECT 1, lower('x')"));
        for sql in ["SELECT a FROM t", "SELECT f_read(1)", "SELECT 1 FROM t"] {
            assert!(!reads(&snapshot, sql), "{sql}");
        }
        let without = classify(None, &Params::new(), &Lexing::default(), b"SELECT a FROM t");
        assert!(without.target != Target::Read);
    }

    #[test]
    fn other_encodings_have_no_facts_beyond_ascii() {
        let snapshot = Snapshot::new(digest(), LearnedSet::default());
        let target = |sql| target(snapshot.clone(), "LATIN1", sql);
        assert_eq!(target("SELECT f_read(a) FROM t"), Target::Read);
        for sql in ["SELECT a FROM tür", "SELECT a FROM tür.t", "SELECT größe()"] {
            assert!(target(sql) != Target::Read, "{sql}");
        }
    }

    #[test]
    fn what_was_learned_decides() {
        let statement = fingerprint(b"SELECT a FROM v WHERE b = 1", &Lexing::default());
        let f_read = FunctionName { name: b"f_read".as_slice().into(), schema: None };
        let learned = LearnedSet::new(vec![f_read], statement.into_iter().collect());
        let snapshot = Snapshot::new(digest(), learned);
        assert!(reads(&snapshot, "SELECT a FROM v"));
        assert!(!reads(&snapshot, "SELECT F_Read(a) FROM v"));
        assert_eq!(
            target(snapshot, "UTF8", "select a from v where b = 'x'"),
            Target::Primary(Reason::Learned)
        );
    }
}
