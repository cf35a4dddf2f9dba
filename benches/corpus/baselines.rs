//! Rules to compare with.

use core::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, SetExpr, Statement, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Words that may begin a statement that reads.
const READING: [&str; 7] = ["select", "with", "values", "table", "show", "explain", "copy"];

/// Functions that a careful rule set on a parser knows to write.
const WRITING: [&str; 30] = [
    "currval",
    "lastval",
    "lo_creat",
    "lo_create",
    "lo_export",
    "lo_from_bytea",
    "lo_import",
    "lo_put",
    "lo_unlink",
    "nextval",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_create_restore_point",
    "pg_current_xact_id",
    "pg_export_snapshot",
    "pg_logical_emit_message",
    "pg_notify",
    "pg_switch_wal",
    "pg_try_advisory_lock",
    "pg_try_advisory_xact_lock",
    "set_config",
    "setseed",
    "setval",
    "txid_current",
];

/// Bytes beyond which the parser is not asked: it overflows the stack on long chains of terms.
const PARSER_LIMIT: usize = 64 * 1024;

/// The first word of a statement behind blanks, comments and parentheses, in lower case.
pub(crate) fn first_word(sql: &[u8]) -> String {
    let mut rest = sql;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(b"(") {
            rest = behind;
        } else if let Some(comment) = rest.strip_prefix(b"--") {
            let end = comment.iter().position(|&b| b == b'\n').unwrap_or(comment.len());
            rest = comment.get(end..).unwrap_or_default();
        } else if let Some(comment) = rest.strip_prefix(b"/*") {
            let end = comment.windows(2).position(|pair| pair == b"*/");
            rest = end.and_then(|end| comment.get(end + 2..)).unwrap_or_default();
        } else {
            break;
        }
    }
    let letters = rest.iter().take_while(|b| b.is_ascii_alphabetic() || **b == b'_');
    letters.map(|b| char::from(b.to_ascii_lowercase())).collect()
}

/// Whether a statement begins like one that may read.
pub(crate) fn may_read(sql: &[u8]) -> bool {
    READING.contains(&first_word(sql).as_str())
}

/// The rule "what begins with SELECT reads".
pub(crate) fn starts_with_select(sql: &[u8]) -> bool {
    first_word(sql) == "select"
}

/// A careful rule set on `sqlparser`, without a catalogue. `None`: it cannot parse the text.
pub(crate) fn parsed(sql: &[u8]) -> Option<bool> {
    if sql.len() > PARSER_LIMIT {
        return None;
    }
    let text = core::str::from_utf8(sql).ok()?;
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, text).ok()?;
    let [statement] = statements.as_slice() else { return Some(false) };
    let reads = match statement {
        Statement::Query(_) | Statement::ShowVariable { .. } => true,
        Statement::Explain { analyze, statement, .. } => {
            !analyze || matches!(**statement, Statement::Query(_))
        }
        _ => false,
    };
    Some(reads && statement.visit(&mut Writes).is_continue())
}

/// Stops at the first thing that writes.
struct Writes;

impl Visitor for Writes {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let body = match &*query.body {
            SetExpr::Select(select) => select.into.is_some(),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                true
            }
            SetExpr::Query(_)
            | SetExpr::SetOperation { .. }
            | SetExpr::Values(_)
            | SetExpr::Table(_) => false,
        };
        if body || !query.locks.is_empty() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.0.last().map(ToString::to_string).unwrap_or_default();
        if WRITING.contains(&name.to_ascii_lowercase().as_str()) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
