//! Classifying a client's statements with what is known of its database.

use super::Relay;
use crate::catalogue::Snapshot;
use crate::classify::{
    Facts, FunctionFact, Name, Reason, RelationFact, RelationKind, Target, Verdict, classify_with,
    fingerprint,
};

/// The facts for one session: its database's, as far as they are known.
#[derive(Debug)]
pub(super) struct SessionFacts<'a> {
    snapshot: Option<&'a Snapshot>,
    /// Names with bytes above 0x7f can be compared with those in the catalogue.
    understood: bool,
}

impl<'a> SessionFacts<'a> {
    /// `client_encoding` is the session's.
    pub(super) fn new(snapshot: Option<&'a Snapshot>, client_encoding: Option<&[u8]>) -> Self {
        let snapshot = snapshot.filter(|snapshot| snapshot.digest().is_some());
        let digest = snapshot.and_then(Snapshot::digest);
        Self {
            snapshot,
            understood: digest.is_some_and(|digest| digest.understands(client_encoding)),
        }
    }

    #[inline]
    fn is_doubtful(&self, name: Name<'_>) -> bool {
        !self.understood
            && !(name.name.text.is_ascii()
                && name.qualifier.is_none_or(|qualifier| qualifier.text.is_ascii()))
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

impl<S> Relay<S> {
    /// What a text is, by all that is known.
    pub(super) fn classify(&self, sql: &[u8]) -> Verdict {
        let newest = self.catalogue.as_ref().map(|cell| cell.load());
        let snapshot = newest.as_ref().map(|guard| &***guard);
        let encoding = self.client.params.get(b"client_encoding");
        let mut facts = SessionFacts::new(snapshot, encoding);
        let mut verdict = classify_with(sql, &self.session.lexing, &mut facts);
        if verdict.target == Target::Read
            && let Some(learned) = snapshot.map(Snapshot::learned)
            && learned.has_statements()
            && fingerprint(sql, &self.session.lexing).is_some_and(|it| learned.has_statement(it))
        {
            verdict.target = Target::Primary(Reason::Learned);
            verdict.effects.writes = true;
        }
        verdict
    }
}
