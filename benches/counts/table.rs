//! The tables, in Markdown.

use std::fmt::Write;

use crate::{Cell, Options, Protocol, Target};

type Counts = [(Cell, Option<f64>)];

/// The versions, then a table for each tool: a row for each target, a column for each load.
pub(crate) fn render(options: &Options, versions: &[String], counts: &Counts) -> String {
    let mut out = String::new();
    for version in versions {
        let _ = writeln!(out, "- {version}");
    }
    let _ = writeln!(
        out,
        "- {} server connections, {} - {} transactions; in brackets: as a multiple of PgBouncer",
        options.servers, options.long, options.short
    );
    for tool in &options.tools {
        let _ = write!(out, "\n### {tool:?} per transaction\n\n|");
        for &protocol in &options.protocols {
            for clients in &options.clients {
                let _ = write!(out, " | {}, {clients}", protocol.name());
            }
        }
        let loads = options.protocols.len() * options.clients.len();
        let _ = writeln!(out, " |\n|---|{}", "---:|".repeat(loads));
        for &target in &options.targets {
            let _ = write!(out, "| {}", target.name());
            for &protocol in &options.protocols {
                for &clients in &options.clients {
                    let cell = Cell { tool: *tool, target, protocol, clients };
                    let _ = write!(out, " | {}", show(cell, counts));
                }
            }
            let _ = writeln!(out, " |");
        }
    }
    out
}

fn show(cell: Cell, counts: &Counts) -> String {
    let Some(count) = find(cell, counts) else { return "-".to_owned() };
    let digits = if count < 100.0 { 2 } else { 0 };
    // Prepared statements are compared with session pooling, the only one that has them.
    let base = match (cell.target, cell.protocol) {
        (Target::Pgbouncer, _) => None,
        (_, Protocol::Prepared) => Some(Target::PgbouncerSession),
        _ => Some(Target::Pgbouncer),
    };
    let base = base
        .filter(|base| *base != cell.target)
        .and_then(|target| find(Cell { target, ..cell }, counts));
    match base {
        Some(base) if base > 0.0 => format!("{count:.digits$} ({:.2})", count / base),
        _ => format!("{count:.digits$}"),
    }
}

fn find(cell: Cell, counts: &Counts) -> Option<f64> {
    counts.iter().find(|(known, _)| *known == cell).and_then(|(_, count)| *count)
}
