//! A second opinion: what a parser makes of a statement that the classifier calls a read.
//!
//! Shared by the property test and the fuzz target. The parser understands a good part of
//! PostgreSQL's grammar and much else; where it refuses a text there is nothing to compare.

pub(crate) mod grammar;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use pool_router::classify::{
    Facts, FunctionFact, Identifier, Lexing, Name, RelationFact, Target, classify_with,
};
use sqlparser::ast::{
    CopyTarget, Expr, Ident, ObjectName, Query, Select, Statement, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Longer texts are not compared: the parser's stack grows with chains of operators, which its
/// recursion limit does not count.
const MAX_BYTES: usize = 4096;

/// How deep the parser may recurse.
const MAX_DEPTH: usize = 40;

/// How the two opinions relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// The parser does not take the text, it is too long for it, or it takes a text that is none of
    /// PostgreSQL's.
    NotUnderstood,
    /// The classifier sends it to the primary, which is always safe.
    Primary,
    /// Both call it a read, and the classifier has asked about all that the parser found.
    Agreed,
}

/// Everything is harmless, and written down.
#[derive(Default)]
struct Asked {
    functions: BTreeSet<String>,
    relations: BTreeSet<String>,
}

fn text_of(part: Identifier<'_>) -> String {
    let text = String::from_utf8_lossy(part.text).into_owned();
    if part.quoted { text.replace("\"\"", "\"") } else { text.to_lowercase() }
}

fn last_two(name: Name<'_>) -> String {
    match name.qualifier {
        Some(qualifier) => format!("{}.{}", text_of(qualifier), text_of(name.name)),
        None => text_of(name.name),
    }
}

impl Facts for Asked {
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        self.functions.insert(last_two(name));
        FunctionFact::Harmless
    }

    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        self.relations.insert(last_two(name));
        RelationFact::Plain
    }
}

/// Looks for what speaks against a read, and for names that were not asked about.
struct Inspector<'a> {
    asked: &'a Asked,
    found: Vec<String>,
    /// It has a reserved word for a name: this is no statement of PostgreSQL's.
    foreign: bool,
    /// It is planned and not run: it may change data and lock rows.
    planned: bool,
}

fn ident(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The last two parts; `None` for names that PostgreSQL does not have, such as strings.
fn object(name: &ObjectName) -> Option<String> {
    if name.0.iter().any(|part| part.as_ident().is_some_and(|part| part.quote_style == Some('\'')))
    {
        return None;
    }
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(ident)).collect();
    let parts = parts?;
    Some(parts.get(parts.len().saturating_sub(2)..)?.join("."))
}

/// Words that the grammar keeps from naming functions: those that look like some are its own.
const NO_FUNCTIONS: [&str; 51] = [
    "between",
    "bigint",
    "bit",
    "boolean",
    "char",
    "character",
    "coalesce",
    "dec",
    "decimal",
    "exists",
    "extract",
    "float",
    "greatest",
    "grouping",
    "inout",
    "int",
    "integer",
    "interval",
    "least",
    "national",
    "nchar",
    "none",
    "normalize",
    "nullif",
    "numeric",
    "out",
    "overlay",
    "position",
    "precision",
    "real",
    "row",
    "setof",
    "smallint",
    "substring",
    "time",
    "timestamp",
    "treat",
    "trim",
    "values",
    "varchar",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// Reserved words that are values.
const VALUES: [&str; 14] = [
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "false",
    "localtime",
    "localtimestamp",
    "null",
    "session_user",
    "true",
    "user",
];

/// Reserved words, which name neither relations nor functions (PostgreSQL docs, appendix C). The
/// parser takes many of them for names.
const RESERVED: [&str; 77] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// Words that may name functions and types alone.
const NO_RELATIONS: [&str; 23] = [
    "authorization",
    "binary",
    "collation",
    "concurrently",
    "cross",
    "current_schema",
    "freeze",
    "full",
    "ilike",
    "inner",
    "is",
    "isnull",
    "join",
    "left",
    "like",
    "natural",
    "notnull",
    "outer",
    "overlaps",
    "right",
    "similar",
    "tablesample",
    "verbose",
];

impl Visitor for Inspector<'_> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let harmless = match statement {
            Statement::Query(_)
            | Statement::ShowVariable { .. }
            // `EXPLAIN TABLE t`, which the parser takes for another dialect's DESCRIBE.
            | Statement::ExplainTable { .. } => true,
            Statement::Explain { analyze, options, .. } => {
                self.planned = !analyze && options.is_none();
                true
            }
            Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Merge(_) => self.planned,
            Statement::Copy { to, target, .. } => *to && matches!(target, CopyTarget::Stdout),
            _ => false,
        };
        if !harmless {
            self.found.push(format!("statement {statement}"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for lock in query.locks.iter().filter(|_| !self.planned) {
            self.found.push(format!("row lock {lock}"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let Some(into) = &select.into {
            self.found.push(format!("{into}"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let [part] = relation.0.as_slice()
            && let Some(word) = part.as_ident().and_then(unquoted)
        {
            self.foreign |= is_in(&RESERVED, &word) || is_in(&NO_RELATIONS, &word);
            // `FROM coalesce(1)`; the parser does not say whether it is called.
            if is_in(&NO_FUNCTIONS, &word) {
                return ControlFlow::Continue(());
            }
        }
        if let Some(name) = object(relation)
            && !is_among(&self.asked.relations, &name)
            && !is_among(&self.asked.functions, &name)
        {
            self.found.push(format!("relation {name}"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(part) => self.column(part),
            Expr::CompoundIdentifier(parts) => {
                parts.first().into_iter().for_each(|part| self.column(part))
            }
            Expr::Function(function) => self.function(&function.name),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Inspector<'_> {
    fn column(&mut self, part: &Ident) {
        if let Some(word) = unquoted(part) {
            self.foreign |= is_in(&RESERVED, &word) && !is_in(&VALUES, &word);
        }
    }

    fn function(&mut self, name: &ObjectName) {
        if let [part] = name.0.as_slice()
            && let Some(word) = part.as_ident().and_then(unquoted)
        {
            if is_in(&NO_FUNCTIONS, &word) || is_in(&VALUES, &word) || word == "array" {
                return;
            }
            self.foreign |= is_in(&RESERVED, &word);
        }
        if let Some(name) = object(name)
            && !is_among(&self.asked.functions, &name)
        {
            self.found.push(format!("function {name}"));
        }
    }
}

fn unquoted(ident: &Ident) -> Option<String> {
    ident.quote_style.is_none().then(|| ident.value.to_lowercase())
}

fn is_in(words: &[&str], word: &str) -> bool {
    words.contains(&word)
}

/// Whether the name was asked about, perhaps with another qualifier.
fn is_among(asked: &BTreeSet<String>, name: &str) -> bool {
    asked.contains(name) || asked.iter().any(|asked| asked.ends_with(&format!(".{name}")))
}

/// Compares the two opinions on a text.
///
/// # Panics
///
/// Panics if the classifier calls a read what the parser knows to be none, or has not asked about
/// a function or relation that the parser finds in it.
pub(crate) fn compare(sql: &str) -> Opinion {
    let mut asked = Asked::default();
    let verdict = classify_with(sql.as_bytes(), &Lexing::default(), &mut asked);
    if verdict.target != Target::Read {
        return Opinion::Primary;
    }
    if sql.len() > MAX_BYTES {
        return Opinion::NotUnderstood;
    }
    let parsed = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements());
    let Ok(statements) = parsed else { return Opinion::NotUnderstood };
    assert!(statements.len() <= 1, "{} statements in a read: {sql}", statements.len());
    let mut inspector =
        Inspector { asked: &asked, found: Vec::new(), foreign: false, planned: false };
    let _ = statements.visit(&mut inspector);
    if inspector.foreign {
        return Opinion::NotUnderstood;
    }
    assert!(inspector.found.is_empty(), "a read with {:?}: {sql}", inspector.found);
    Opinion::Agreed
}
