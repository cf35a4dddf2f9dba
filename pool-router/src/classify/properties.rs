//! What holds for any text: retold, cut short, or no SQL at all.

use proptest::prelude::*;

use super::keywords::Keyword;
use super::lexer::{Kind, Lexer};
use super::tests::{READS, verdict};
use super::*;

/// Whether the word means the same in quotes: a name in small letters.
fn is_plain_name(word: &str) -> bool {
    Keyword::of(word.as_bytes()).is_none()
        && word.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// The same statement, told otherwise: other case, other blanks, comments between tokens, names in
/// quotes and out of them.
fn retold(sql: &str, mut noise: impl FnMut() -> u8) -> String {
    let mut lexer = Lexer::new(sql.as_bytes(), true);
    let mut out = String::new();
    let mut end = 0;
    while let Some(token) = lexer.next().unwrap() {
        // Quotes belong to the token, though not to its place.
        let (start, stop) = match token.kind {
            Kind::Quoted => (token.start - 1, token.end + 1),
            Kind::EscapedQuoted => (token.start - 3, token.end + 1),
            _ => (token.start, token.end),
        };
        out.push_str(&sql[end..start]);
        // No gap before: none may be made where two characters would part that belong together,
        // but tokens never do.
        out.push_str(match noise() % 8 {
            0 => " ",
            1 => "\n",
            2 => "/* DELETE ; ' \" $$ ( */",
            3 => " -- ) UPDATE '\n",
            4 => "\t/*/**/;*/\r\n",
            _ => "",
        });
        let name = &sql[token.start..token.end];
        if matches!(token.kind, Kind::Word | Kind::Quoted)
            && is_plain_name(name)
            && noise().is_multiple_of(4)
        {
            // A blank parts a name out of quotes from a word next to it, and nothing else.
            match token.kind {
                Kind::Word => out.push_str(&format!("\"{name}\"")),
                _ => out.push_str(&format!(" {name} ")),
            }
            end = stop;
            continue;
        }
        for character in sql[start..stop].chars() {
            if token.kind == Kind::Word && noise() & 1 == 1 {
                out.extend([if character.is_ascii_lowercase() {
                    character.to_ascii_uppercase()
                } else {
                    character.to_ascii_lowercase()
                }]);
            } else {
                out.push(character);
            }
        }
        end = stop;
    }
    out.push_str(&sql[end..]);
    out
}

/// A verdict without the places of names, which move.
fn placeless(mut verdict: Verdict) -> (String, Effects, StatementCount) {
    if let Some(Parameter::Named(span)) = &mut verdict.effects.sets.parameter {
        *span = Span { start: 0, end: 0 };
    }
    let target = match verdict.target {
        Target::Read => String::from("read"),
        Target::Primary(reason) => reason.to_string(),
    };
    (target, verdict.effects, verdict.statements)
}

const OTHERS: &[&str] = &[
    "INSERT INTO t (a, b) VALUES (1, 'x') ON CONFLICT (a) DO UPDATE SET b = excluded.b",
    "SELECT * FROM t WHERE a = 1 FOR NO KEY UPDATE",
    "SELECT * FROM t FOR UPDATE SKIP LOCKED",
    "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
    "SELECT a, nextval('s') FROM t",
    "SELECT my.func(a)::text FROM t",
    "SELECT set_config('a', 'b', true)",
    "SELECT set_config('a', 'b', false)",
    "SELECT * FROM pg_stat_activity",
    "SELECT 1 INTO TEMP x",
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "COMMIT AND CHAIN",
    "SET LOCAL timezone TO 'UTC'",
    "SET application_name = 'x'; SELECT 1",
    "SET SESSION AUTHORIZATION x",
    "SET SESSION \"search_path\" = a, 'b'",
    "SET default_transaction_read_only TO on",
    "SET my.parameter = 1",
    "RESET my.parameter",
    "LOCK TABLE ONLY a.b, c * IN ROW SHARE MODE NOWAIT",
    "LOCK a IN SHARE MODE",
    "ROLLBACK WORK TO SAVEPOINT \"x y\"",
    "SAVEPOINT x",
    "CREATE TEMP TABLE x (a int) ON COMMIT DROP",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END",
    "COPY t (a) FROM STDIN",
    "EXPLAIN (ANALYZE, COSTS off) DELETE FROM t",
    "EXPLAIN SELECT f(1)",
    "SELECT set_config('timezone', 'UTC', false)",
    "SET a = 1; SET SCHEMA 'b'; RESET c",
    "SET search_path = a, \"pg_temp\"",
    "SELECT ts_rewrite('a', 'b')",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "DEALLOCATE ALL; UNLISTEN *; DISCARD ALL",
    "PREPARE TRANSACTION 'x'",
    "SELECT DISTINCT ON (a) f(b) FROM t",
];

proptest! {
    #[test]
    fn telling_it_otherwise_changes_nothing(
        at in 0..READS.len() + OTHERS.len(),
        noise in proptest::collection::vec(any::<u8>(), 1..512),
    ) {
        let sql = READS.iter().chain(OTHERS).nth(at).unwrap();
        let mut noise = noise.iter().copied().cycle();
        let retold = retold(sql, || noise.next().unwrap());
        prop_assert_eq!(placeless(verdict(&retold)), placeless(verdict(sql)), "{}", retold);
    }

    #[test]
    fn any_bytes_are_taken(
        sql in proptest::collection::vec(any::<u8>(), 0..256),
        standard_conforming_strings: bool,
        ascii_safe: bool,
    ) {
        let encoding =
            if ascii_safe { ClientEncoding::AsciiSafe } else { ClientEncoding::BytesLikeAscii };
        let _ = classify(&sql, &Lexing { standard_conforming_strings, encoding });
    }

    #[test]
    fn any_mix_of_pieces_is_taken(
        pieces in proptest::collection::vec(0..PIECES.len(), 0..40),
        gaps: bool,
        standard_conforming_strings: bool,
    ) {
        let gap = if gaps { " " } else { "" };
        let sql = pieces.iter().map(|at| PIECES[*at]).collect::<Vec<_>>().join(gap);
        let lexing = Lexing { standard_conforming_strings, ..Lexing::default() };
        let verdict = classify(sql.as_bytes(), &lexing);
        // The words stand between blanks here, so nothing can hide them but quotes and comments.
        // What is only explained is not run.
        let hides = ["'", "\"", "$", "--", "/*", ".", "\\", "EXPLAIN"]
            .iter()
            .any(|quote| sql.contains(quote));
        if gaps && !hides && pieces.iter().any(|at| WRITES.contains(&PIECES[*at])) {
            prop_assert_ne!(verdict.target, Target::Read, "{}", sql);
        }
    }

    #[test]
    fn any_beginning_is_taken(at in 0..READS.len() + OTHERS.len(), length in 0_usize..300) {
        let sql = READS.iter().chain(OTHERS).nth(at).unwrap().as_bytes();
        let _ = classify(&sql[..length.min(sql.len())], &Lexing::default());
    }

    #[test]
    fn junk_behind_a_write_does_not_make_it_a_read(junk in ".{0,60}", at in 0..OTHERS.len()) {
        let sql = format!("{} {junk}", OTHERS[at]);
        prop_assert_ne!(verdict(&sql).target, Target::Read);
    }
}

const WRITES: &[&str] = &["INSERT", "DELETE", "nextval (", "f (", "INTO", "MERGE"];

const PIECES: &[&str] = &[
    "SELECT",
    "WITH",
    "x",
    "AS",
    "(",
    ")",
    ",",
    ";",
    "INSERT",
    "DELETE",
    "FROM",
    "nextval (",
    "f (",
    "INTO",
    "MERGE",
    "'",
    "''",
    "\"",
    "$$",
    "$a$",
    "--",
    "/*",
    "*/",
    "\n",
    ".",
    "::",
    "1",
    "E'",
    "\\",
    "U&\"",
    "COPY",
    "TO",
    "STDOUT",
    "EXPLAIN",
    "DISTINCT",
    "ON",
    "OPERATOR (",
    "[",
    "]",
    "VALUES",
    "FOR",
    "UPDATE",
    "SET",
    "TABLE",
    "count (",
    "RECURSIVE",
    "SHOW",
    "CREATE",
    "BEGIN",
    "ATOMIC",
    "END",
    "CASE",
    "ANALYZE",
    "DECLARE",
    "PREPARE",
];
