//! `SELECT set_config('name', 'value', is_local)` as a whole statement: `SET` and `SET LOCAL` in
//! another spelling (PostgreSQL docs, 9.28.1).

use super::keywords::Keyword;
use super::lexer::{Kind, Lexer, Token};
use super::verdict::Span;

/// What such a statement sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetConfig {
    /// The parameter's name, without the quotes.
    pub(super) name: Span,
    /// Its value, likewise.
    pub(super) value: Span,
    /// Only until the transaction's end.
    pub(super) local: bool,
}

/// Takes `sql` apart, if it is one such statement and no more, in plain literals.
pub(super) fn whole_statement(sql: &[u8], standard_strings: bool) -> Option<SetConfig> {
    let mut lexer = Lexer::new(sql, standard_strings);
    let mut next = || lexer.next().ok().flatten();
    let keyword = |token: Token| match token.kind {
        Kind::Word => Keyword::at(sql, token.start, token.end),
        _ => None,
    };
    (keyword(next()?)? == Keyword::Select).then_some(())?;
    let mut name = next()?;
    let mut behind = next()?;
    if is_named(sql, name, b"pg_catalog") && behind.kind == Kind::Dot {
        name = next()?;
        behind = next()?;
    }
    (is_named(sql, name, b"set_config") && behind.kind == Kind::Open).then_some(())?;
    let parameter = literal(sql, next()?)?;
    (next()?.kind == Kind::Comma).then_some(())?;
    let value = literal(sql, next()?)?;
    (next()?.kind == Kind::Comma).then_some(())?;
    let local = match keyword(next()?)? {
        Keyword::True => true,
        Keyword::False => false,
        _ => return None,
    };
    (next()?.kind == Kind::Close).then_some(())?;
    loop {
        match lexer.next().ok()? {
            None => return Some(SetConfig { name: parameter, value, local }),
            Some(token) if token.kind == Kind::Semicolon => {}
            Some(_) => return None,
        }
    }
}

fn is_named(sql: &[u8], token: Token, name: &[u8]) -> bool {
    let text = token.span().of(sql);
    match token.kind {
        Kind::Word => text.eq_ignore_ascii_case(name),
        Kind::Quoted => text == name,
        _ => false,
    }
}

/// What stands within a `'…'` that is what it looks like, and not empty.
fn literal(sql: &[u8], token: Token) -> Option<Span> {
    if token.kind != Kind::String {
        return None;
    }
    let [b'\'', inner @ .., b'\''] = token.span().of(sql) else { return None };
    let is_plain = inner.iter().all(|byte| !matches!(byte, b'\'' | b'\\'));
    (is_plain && !inner.is_empty()).then_some(Span { start: token.start + 1, end: token.end - 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one() {
        for (sql, name, value, local) in [
            ("SELECT set_config('TimeZone', 'UTC', false)", "TimeZone", "UTC", false),
            ("select PG_CATALOG . Set_Config('a.b','c d',TRUE) ;;", "a.b", "c d", true),
            ("/* x */ SELECT \"set_config\" ('a', 'b', false) -- y", "a", "b", false),
        ] {
            let found = whole_statement(sql.as_bytes(), true).expect(sql);
            assert_eq!(found.name.of(sql.as_bytes()), name.as_bytes());
            assert_eq!(found.value.of(sql.as_bytes()), value.as_bytes());
            assert_eq!(found.local, local);
        }
    }

    #[test]
    fn what_is_none() {
        for sql in [
            "",
            "SELECT",
            "SELECT set_config",
            "SELECT set_config('a', 'b', false) AS x",
            "SELECT set_config('a', 'b', false), 1",
            "SELECT set_config('a', 'b', false) FROM t",
            "SELECT set_config('a', 'b', false); SELECT 1",
            "SELECT set_config('a', 'b', NULL)",
            "SELECT set_config('a', 'b')",
            "SELECT set_config('a', 'b', 'false')",
            "SELECT set_config($1, 'b', false)",
            "SELECT set_config('a', $1, false)",
            "SELECT set_config('a' || 'x', 'b', false)",
            "SELECT set_config('a', 'b'::text, false)",
            "SELECT set_config('', 'b', false)",
            "SELECT set_config('a''x', 'b', false)",
            "SELECT set_config('a', E'b', false)",
            "SELECT set_config('a', 'b\\', false)",
            "SELECT set_config('a'\n'x', 'b', false)",
            "SELECT my.set_config('a', 'b', false)",
            "SELECT \"Set_Config\"('a', 'b', false)",
            "(SELECT set_config('a', 'b', false))",
            "VALUES (set_config('a', 'b', false))",
        ] {
            assert_eq!(whole_statement(sql.as_bytes(), true), None, "{sql}");
        }
    }
}
