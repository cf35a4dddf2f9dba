//! Statements that fail while others are connected to a database: which database it is.

use super::keywords::Keyword;
use super::lexer::{Kind, Lexer, Token};
use super::verdict::{Span, Vacated};

/// The database that PostgreSQL wants no other session to be connected to, of a statement that begins
/// with `first` and goes on at `lexer`. Names with quotes or escapes in them are not understood.
///
/// Source: PostgreSQL documentation, SQL commands, "DROP DATABASE", "ALTER DATABASE" (`RENAME`,
/// `SET TABLESPACE`) and "CREATE DATABASE" (the template).
pub(super) fn vacated(sql: &[u8], first: Keyword, mut lexer: Lexer<'_>) -> Option<Vacated> {
    use Keyword as K;
    let mut next = || {
        let token = lexer.next().ok().flatten()?;
        (token.kind != Kind::Semicolon).then_some(token)
    };
    let keyword = |token: Token| match token.kind {
        Kind::Word => Keyword::at(sql, token.start, token.end),
        _ => None,
    };
    (keyword(next()?) == Some(K::Database)).then_some(())?;
    let mut name = next()?;
    match first {
        K::Drop => {
            if keyword(name) == Some(K::If)
                && let Some(exists) = next()
            {
                (keyword(exists) == Some(K::Exists)).then_some(())?;
                name = next()?;
            }
            identified(sql, name)
        }
        K::Alter => match keyword(next()?)? {
            K::Rename => identified(sql, name),
            K::Set if keyword(next()?) == Some(K::Tablespace) => identified(sql, name),
            _ => None,
        },
        K::Create => {
            while let Some(option) = next() {
                if keyword(option) != Some(K::Template) {
                    continue;
                }
                let mut template = next()?;
                if template.kind == Kind::Operator {
                    template = next()?;
                }
                return match keyword(template) {
                    Some(K::Default) => Some(Vacated::Template1),
                    _ => identified(sql, template),
                };
            }
            Some(Vacated::Template1)
        }
        _ => None,
    }
}

fn identified(sql: &[u8], token: Token) -> Option<Vacated> {
    let Span { start, end } = token.span();
    let text = token.span().of(sql);
    let is_plain = |text: &[u8]| !text.iter().any(|byte| matches!(byte, b'"' | b'\'' | b'\\'));
    match token.kind {
        Kind::Word => Some(Vacated::Word(token.span())),
        Kind::Quoted if is_plain(text) => Some(Vacated::Quoted(token.span())),
        Kind::String => {
            let inner = text.strip_prefix(b"'")?.strip_suffix(b"'")?;
            is_plain(inner).then_some(Vacated::Quoted(Span { start: start + 1, end: end - 1 }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::classify::{Lexing, classify};

    fn of(sql: &str) -> Option<String> {
        let vacated = classify(sql.as_bytes(), &Lexing::default()).effects.vacates?;
        Some(String::from_utf8(vacated.name(sql.as_bytes())).unwrap())
    }

    #[test]
    fn databases_are_named() {
        for (sql, name) in [
            ("DROP DATABASE X", "x"),
            ("drop /* no */ database if exists \"X y\" with (force);", "X y"),
            ("DROP DATABASE if", "if"),
            ("ALTER DATABASE a RENAME TO b", "a"),
            ("ALTER DATABASE a SET TABLESPACE t", "a"),
            ("CREATE DATABASE a", "template1"),
            ("CREATE DATABASE a WITH OWNER = o TEMPLATE = B ENCODING 'UTF8'", "b"),
            ("CREATE DATABASE a TEMPLATE 'B'", "B"),
            ("CREATE DATABASE a OWNER o TEMPLATE \"B\"", "B"),
            ("CREATE DATABASE a TEMPLATE DEFAULT", "template1"),
        ] {
            assert_eq!(of(sql).as_deref(), Some(name), "{sql}");
        }
    }

    #[test]
    fn others_name_none() {
        for sql in [
            "DROP TABLE x",
            "DROP DATABASE",
            "DROP DATABASE U&\"x\"",
            "DROP DATABASE \"x\"\"y\"",
            "ALTER DATABASE a SET work_mem = '1MB'",
            "ALTER DATABASE a OWNER TO b",
            "CREATE TABLE database (a int)",
            "CREATE DATABASE a TEMPLATE 'a''b'",
            "COMMENT ON DATABASE a IS 'x'",
            "SELECT 'DROP DATABASE x'",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}
