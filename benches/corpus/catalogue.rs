//! What the database's catalogue says of the names in a statement, as the proxy learns it.

use core::time::Duration;

use pool_router::catalogue::{Digest, DigestBuilder, major, query_text};
use pool_router::classify::{Facts, FunctionFact, Name, RelationFact, RelationKind};
use testbed::RawClient;

/// Names that are kept at most: more than the suite makes.
const MOST: usize = 100_000;

/// The digest of one database, read from the primary.
pub(crate) struct Catalogue {
    control: RawClient,
    stale: bool,
    digest: Option<Digest>,
}

impl Catalogue {
    /// Nothing is read before it is needed.
    pub(crate) fn new(control: RawClient) -> Self {
        Self { control, stale: true, digest: None }
    }

    /// The catalogue may have changed.
    pub(crate) fn changed(&mut self) {
        self.stale = true;
    }

    /// Reads it again if it may have changed.
    pub(crate) fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let parameter =
            |control: &RawClient, name| control.parameters.get(name).cloned().unwrap_or_default();
        let version = parameter(&self.control, "server_version");
        let limit = u32::try_from(MOST).unwrap_or(u32::MAX);
        let sql = query_text(major(version.as_bytes()), limit, Duration::from_secs(60));
        let rows = self.control.query(&sql).ok();
        let mut builder = DigestBuilder::new(MOST, true);
        for row in rows {
            let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
            let [kind, schema, name, fact] = [0, 1, 2, 3].map(text);
            let (kind, schema) = (kind.as_bytes(), schema.as_bytes());
            if builder.row(kind, schema, name.as_bytes(), fact.as_bytes()).is_err() {
                eprintln!("unexpected row: {row:?}");
            }
        }
        let encoding = parameter(&self.control, "server_encoding");
        self.digest = Some(builder.finish(Some(encoding.as_bytes()), Some(b"UTF8")));
    }
}

impl Facts for &mut Catalogue {
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        self.digest.as_ref().map_or(FunctionFact::Unknown, |digest| digest.function(name))
    }

    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        let unknown = RelationFact::PrimaryOnly(RelationKind::NotLookedUp);
        self.digest.as_ref().map_or(unknown, |digest| digest.relation(name))
    }

    fn attribute(&mut self, name: Name<'_>) -> FunctionFact {
        self.digest.as_ref().map_or(FunctionFact::Unknown, |digest| digest.attribute(name))
    }

    fn operator(&mut self, operator: &[u8]) -> bool {
        self.digest.as_ref().is_some_and(|digest| digest.operator(operator))
    }
}
