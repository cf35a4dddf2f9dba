//! `dml_adaptive_object_relationship_list`.

/// An object of the database, by the name that the file gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbObject {
    /// A table or view.
    Relation(String),
    /// `name()`
    Function(String),
}

/// One entry: who changes the first object changes the second one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relationship {
    /// What a statement changes or calls.
    pub cause: DbObject,
    /// What depends on it.
    pub dependent: DbObject,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelationshipProblem {
    /// Not two names with a colon between them.
    #[error("it is no pair of two names with a `:` between them")]
    NoPair,
    /// `()` without a name, or a parenthesis within one.
    #[error("`{0}` is no name of a table or function")]
    Name(String),
}

impl Relationship {
    /// Reads `cause:dependent`.
    ///
    /// # Errors
    /// If the entry is not of that form.
    pub fn parse(entry: &str) -> Result<Self, RelationshipProblem> {
        let mut names = entry.split(':');
        match (names.next(), names.next(), names.next()) {
            (Some(cause), Some(dependent), None) => {
                Ok(Self { cause: object(cause)?, dependent: object(dependent)? })
            }
            _ => Err(RelationshipProblem::NoPair),
        }
    }
}

fn object(written: &str) -> Result<DbObject, RelationshipProblem> {
    let written = written.trim();
    let (name, make): (&str, fn(String) -> DbObject) = match written.strip_suffix("()") {
        Some(name) => (name.trim_end(), DbObject::Function),
        None => (written, DbObject::Relation),
    };
    if written.is_empty() {
        return Err(RelationshipProblem::NoPair);
    }
    if name.is_empty() || name.contains(['(', ')']) {
        return Err(RelationshipProblem::Name(written.to_owned()));
    }
    Ok(make(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_pair_of_objects() {
        let relation = |name: &str| DbObject::Relation(name.into());
        let function = |name: &str| DbObject::Function(name.into());
        for (entry, cause, dependent) in [
            ("table_1:table_2", relation("table_1"), relation("table_2")),
            (" t2 : s.t1 ", relation("t2"), relation("s.t1")),
            ("f():v", function("f"), relation("v")),
            ("t:g()", relation("t"), function("g")),
        ] {
            assert_eq!(
                Relationship::parse(entry),
                Ok(Relationship { cause, dependent }),
                "{entry}"
            );
        }
        for (entry, wanted) in [
            ("t", RelationshipProblem::NoPair),
            ("t:", RelationshipProblem::NoPair),
            ("a:b:c", RelationshipProblem::NoPair),
            ("():t", RelationshipProblem::Name("()".into())),
            ("f(int):t", RelationshipProblem::Name("f(int)".into())),
        ] {
            assert_eq!(Relationship::parse(entry), Err(wanted), "{entry}");
        }
    }
}
