//! What the classifier says, by the text alone, of the statements that ORMs, drivers and tools send.
//!
//! Each file in `golden/orm` holds a selection of the statements that a server logged while scripts used
//! the ORM (its first lines say how), one of each shape, each below its verdict:
//!
//! ```text
//! [Primary: FOR UPDATE]
//! SELECT … FOR UPDATE
//! ```
//!
//! Where a statement also ties the session to its server, the verdict says so. The verdicts were
//! reviewed by people: whoever blesses new ones (`BLESS=1 cargo test -p pool-router --test
//! orm_golden`) has to find every changed line right.

#![expect(clippy::disallowed_methods, reason = "a test may read and write files")]

use std::fmt::Write;

use pool_router::classify::{Lexing, Target, classify};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/orm");

const FILES: [&str; 12] = [
    "django",
    "hibernate",
    "jdbc",
    "knex",
    "node_postgres",
    "pg_dump",
    "prisma",
    "psql",
    "psycopg",
    "rails",
    "sequelize_typeorm",
    "sqlalchemy",
];

fn verdict(sql: &str) -> String {
    let verdict = classify(sql.as_bytes(), &Lexing::default());
    let mut text = match verdict.target {
        Target::Read => "Read".to_owned(),
        Target::Primary(reason) => match reason.name() {
            None => format!("Primary: {reason}"),
            Some(span) => {
                let name = String::from_utf8_lossy(span.of(sql.as_bytes())).into_owned();
                format!("Primary: {reason}: {name}")
            }
        },
    };
    if let Some(pin) = verdict.effects.pins_session {
        let _ = write!(text, "; keeps the session: {pin:?}");
    }
    text
}

/// The file with the verdicts as they are now, and how many statements are in it.
fn renewed(text: &str) -> (String, usize) {
    let mut out = String::new();
    let mut count = 0;
    for block in text.split("\n\n") {
        let (head, sql) = block.split_once('\n').unwrap_or((block, ""));
        if head.starts_with('[') {
            count += 1;
            let _ = write!(out, "[{}]\n{sql}", verdict(sql.trim_end()));
        } else {
            out.push_str(block);
        }
        out.push_str("\n\n");
    }
    (out.trim_end().to_owned() + "\n", count)
}

#[test]
fn every_statement_has_the_reviewed_verdict() {
    let mut wrong = Vec::new();
    let mut statements = 0;
    for name in FILES {
        let path = format!("{FOLDER}/{name}.txt");
        let present = std::fs::read_to_string(&path).expect(&path);
        let (wanted, count) = renewed(&present);
        statements += count;
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &wanted).expect(&path);
            continue;
        }
        let differing = present.lines().zip(wanted.lines()).enumerate().find(|(_, (a, b))| a != b);
        if let Some((line, (old, new))) = differing {
            wrong.push(format!("{path}:{}: reviewed {old}, now {new}", line + 1));
        }
        assert!(count > 0, "{path} is empty");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(statements >= 150, "only {statements} statements");
}
