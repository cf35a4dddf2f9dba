//! What a database's catalogue knows and the text does not show.

/// An identifier as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identifier<'a> {
    /// Its text; for a quoted one what stands between the quotes, doubled quotes as they are.
    pub text: &'a [u8],
    /// Whether it is quoted: its case counts.
    pub quoted: bool,
}

/// A name with the qualifier before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// What stands before the last dot: a schema, or a relation before its column.
    pub qualifier: Option<Identifier<'a>>,
    /// The last part.
    pub name: Identifier<'a>,
}

/// What the catalogue says of a function, all overloads in the schemas of the search path together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionFact {
    /// Nothing: the built-in lists decide.
    Unknown,
    /// Any node may run it.
    Harmless,
    /// It may write.
    Writes,
}

/// What the catalogue says of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationFact {
    /// Nothing, or no such relation.
    Unknown,
    /// A standby cannot answer for it: temporary, unlogged, or a view over something that writes.
    PrimaryOnly,
}

/// A source of catalogue facts. It is asked about every name in a statement that could be a read,
/// so it also learns which names there are.
pub trait Facts {
    /// A name that is called.
    fn function(&mut self, name: Name<'_>) -> FunctionFact;

    /// A name that is not called: it may be a relation's, a column's or an alias.
    fn relation(&mut self, name: Name<'_>) -> RelationFact;
}

/// No catalogue.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    #[inline]
    fn function(&mut self, _: Name<'_>) -> FunctionFact {
        FunctionFact::Unknown
    }

    #[inline]
    fn relation(&mut self, _: Name<'_>) -> RelationFact {
        RelationFact::Unknown
    }
}
