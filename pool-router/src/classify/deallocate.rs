//! `DEALLOCATE` as a whole statement: which prepared statements it drops.

use super::keywords::Keyword;
use super::lexer::{Kind, Lexer, Token};
use super::verdict::Lexing;

/// What a query string drops that is a `DEALLOCATE` and no more: the statement of this name, or
/// `None` for all. Names that are not plain are not understood.
///
/// Source: PostgreSQL documentation, SQL commands, "DEALLOCATE".
pub(crate) fn deallocated(sql: &[u8], lexing: Lexing) -> Option<Option<Vec<u8>>> {
    let mut lexer = Lexer::new(sql, lexing.standard_conforming_strings);
    let mut next = || lexer.next().ok().flatten();
    let keyword = |token: Token| match token.kind {
        Kind::Word => Keyword::at(sql, token.start, token.end),
        _ => None,
    };
    (keyword(next()?) == Some(Keyword::Deallocate)).then_some(())?;
    let mut name = next()?;
    let mut behind = next();
    if keyword(name) == Some(Keyword::Prepare)
        && let Some(second) = behind.filter(|it| it.kind != Kind::Semicolon)
    {
        name = second;
        behind = next();
    }
    while let Some(token) = behind {
        (token.kind == Kind::Semicolon).then_some(())?;
        behind = next();
    }
    let text = name.span().of(sql);
    match name.kind {
        Kind::Word if keyword(name) == Some(Keyword::All) => Some(None),
        Kind::Word if text.is_ascii() => Some(Some(text.to_ascii_lowercase())),
        Kind::Quoted if !text.contains(&b'"') => Some(Some(text.to_vec())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Option<Option<String>> {
        let name = deallocated(sql.as_bytes(), Lexing::default())?;
        Some(name.map(|name| String::from_utf8(name).unwrap()))
    }

    #[test]
    fn plain_ones_are_understood() {
        for (sql, name) in [
            ("DEALLOCATE s1", "s1"),
            (" deallocate\nPREPARE  S_1 ; ", "s_1"),
            ("DEALLOCATE prepare", "prepare"),
            ("DEALLOCATE prepare;", "prepare"),
            ("DEALLOCATE \"A b\"", "A b"),
            ("DEALLOCATE \"all\";;", "all"),
            ("/* x */ DEALLOCATE -- y\n a /* z */", "a"),
        ] {
            assert_eq!(of(sql), Some(Some(name.to_owned())), "{sql}");
        }
        for sql in ["DEALLOCATE ALL", "deallocate prepare all;"] {
            assert_eq!(of(sql), Some(None), "{sql}");
        }
    }

    #[test]
    fn others_are_not() {
        for sql in [
            "",
            "DEALLOCATE",
            "DEALLOCATE a b",
            "DEALLOCATE a; SELECT 1",
            "DEALLOCATE \"a\"\"b\"",
            "DEALLOCATE gr\u{fc}n",
            "DEALLOCATE U&\"a\"",
            "DEALLOCATEs",
            "DEALLOCATE 'a",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}
