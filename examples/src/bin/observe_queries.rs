//! pool-router's classifier alone: where each statement may run, and why.
//!
//! `cargo run -p examples --bin observe_queries < statements.sql`
//!
//! Reads one query string per line. With `--harmless name` (repeatable) it takes the word of the
//! caller that a function neither writes nor depends on the server, as a program would from the
//! catalogue.

use std::io::{self, BufRead, Write};

use clap::Parser;
use pool_router::classify::{
    Facts, FunctionFact, Lexing, Name, RelationFact, RelationKind, Target, Verdict, classify_with,
};

/// Says for each line of standard input where it may run, and why.
#[derive(Parser)]
struct Arguments {
    /// A function that any node may run
    #[arg(long, value_name = "FUNCTION")]
    harmless: Vec<String>,
    /// A table or view that only the primary can answer for
    #[arg(long, value_name = "RELATION")]
    primary_only: Vec<String>,
}

/// What the caller knows of the database.
impl Facts for &Arguments {
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        if self.harmless.iter().any(|known| is(name, known)) {
            FunctionFact::Harmless
        } else {
            FunctionFact::Unknown
        }
    }

    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        if self.primary_only.iter().any(|known| is(name, known)) {
            RelationFact::PrimaryOnly(RelationKind::Unlogged)
        } else {
            RelationFact::Plain
        }
    }
}

/// Whether a name in a statement is this one, in whatever schema.
fn is(name: Name<'_>, known: &str) -> bool {
    if name.name.quoted {
        name.name.text == known.as_bytes()
    } else {
        name.name.text.eq_ignore_ascii_case(known.as_bytes())
    }
}

/// The verdict in words.
fn words(verdict: &Verdict, sql: &[u8]) -> String {
    let mut text = match verdict.target {
        Target::Read => "any node".to_owned(),
        Target::Primary(reason) => {
            let name = reason.name().map(|span| String::from_utf8_lossy(span.of(sql)));
            match name {
                Some(name) => format!("primary    {reason}: {name}"),
                None => format!("primary    {reason}"),
            }
        }
    };
    if let Some(pin) = verdict.effects.pins_session {
        text.push_str(&format!("; keeps its server connection: {pin:?}"));
    }
    text
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let lexing = Lexing::default();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().split(b'\n') {
        let line = line?;
        let sql = line.trim_ascii();
        if sql.is_empty() {
            continue;
        }
        let verdict = classify_with(sql, &lexing, &mut &arguments);
        writeln!(out, "{}\n    {}", String::from_utf8_lossy(sql), words(&verdict, sql))?;
    }
    Ok(())
}
