//! What the database's catalogue says of the names in a statement.

use std::collections::{BTreeMap, BTreeSet};

use pool_router::classify::{Facts, FunctionFact, Identifier, Name, RelationFact, RelationKind};
use testbed::RawClient;

/// The facts of one database, read from the primary.
pub(crate) struct Catalogue {
    control: RawClient,
    stale: bool,
    functions: BTreeMap<String, FunctionFact>,
    relations: BTreeMap<String, RelationKind>,
    operators: BTreeSet<String>,
}

/// User-defined functions; a name that `pg_catalog` has too is told only if it may write.
const FUNCTIONS: &str = "
    SELECT p.proname, bool_or(p.provolatile = 'v') FROM pg_proc p
    WHERE p.oid >= 16384 GROUP BY 1
    HAVING bool_or(p.provolatile = 'v') OR NOT EXISTS (
        SELECT FROM pg_proc b WHERE b.proname = p.proname AND b.oid < 16384)";

const RELATIONS: &str = "
    WITH RECURSIVE bad (oid, kind) AS (
        SELECT oid, CASE WHEN relpersistence = 't' THEN 't' WHEN relpersistence = 'u' THEN 'u'
                         ELSE 'f' END
        FROM pg_class WHERE relpersistence IN ('t', 'u') OR relkind = 'f'
        UNION
        SELECT r.ev_class, 'v' FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid
            JOIN pg_proc p ON p.oid = d.refobjid AND d.refclassid = 'pg_proc'::regclass
        WHERE p.provolatile = 'v'
        UNION
        SELECT r.ev_class, 'v' FROM bad JOIN pg_depend d ON d.refobjid = bad.oid
            JOIN pg_rewrite r ON r.oid = d.objid
    )
    SELECT relname, min(kind) FROM bad JOIN pg_class USING (oid) GROUP BY 1";

const OPERATORS: &str = "
    SELECT DISTINCT o.oprname FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
    WHERE o.oid >= 16384 AND p.provolatile = 'v'";

impl Catalogue {
    /// Nothing is read before it is needed.
    pub(crate) fn new(control: RawClient) -> Self {
        Self {
            control,
            stale: true,
            functions: BTreeMap::new(),
            relations: BTreeMap::new(),
            operators: BTreeSet::new(),
        }
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
        let mut pairs = |sql| {
            let rows = self.control.query(sql).ok();
            rows.into_iter().filter_map(|row| {
                let mut row = row.into_iter().flatten();
                Some((row.next()?, row.next().unwrap_or_default()))
            })
        };
        self.functions = pairs(FUNCTIONS)
            .map(|(name, writes)| {
                let fact =
                    if writes == "t" { FunctionFact::Writes } else { FunctionFact::Harmless };
                (name, fact)
            })
            .collect();
        self.relations = pairs(RELATIONS)
            .map(|(name, kind)| {
                let kind = match kind.as_str() {
                    "t" => RelationKind::Temporary,
                    "u" => RelationKind::Unlogged,
                    "f" => RelationKind::Foreign,
                    _ => RelationKind::View,
                };
                (name, kind)
            })
            .collect();
        self.operators = pairs(OPERATORS).map(|(name, _)| name).collect();
    }
}

fn folded(identifier: Identifier<'_>) -> String {
    let text = String::from_utf8_lossy(identifier.text).into_owned();
    if identifier.quoted { text.replace("\"\"", "\"") } else { text.to_lowercase() }
}

impl Facts for &mut Catalogue {
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        self.functions.get(&folded(name.name)).copied().unwrap_or(FunctionFact::Unknown)
    }

    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        match self.relations.get(&folded(name.name)) {
            Some(kind) => RelationFact::PrimaryOnly(*kind),
            None => RelationFact::Plain,
        }
    }

    fn attribute(&mut self, name: Name<'_>) -> FunctionFact {
        self.function(name)
    }

    fn operator(&mut self, operator: &[u8]) -> bool {
        self.operators.contains(String::from_utf8_lossy(operator).as_ref())
    }
}
