//! Transaction control, understood word by word as PostgreSQL's grammar has it.

use super::keywords::{Category, Keyword};
use super::lexer::{Kind, Lexer};

/// Whether `sql` is one statement of transaction control without a syntax error: `BEGIN`,
/// `START TRANSACTION`, `COMMIT`, `END`, `ROLLBACK`, `ABORT`, `SAVEPOINT`, `RELEASE`,
/// `ROLLBACK TO` or `SET TRANSACTION` with modes. In doubt it is not.
pub(super) fn is_exact(sql: &[u8], standard_strings: bool) -> bool {
    // Bytes above 0x7f may be no characters of the encoding, which is an error anywhere in the
    // text; the vertical tab is no blank before PostgreSQL 16.
    if !sql.is_ascii() || sql.contains(&0x0b) {
        return false;
    }
    let mut words = Words { sql, lexer: Lexer::new(sql, standard_strings), ahead: Word::Other };
    words.step();
    words.statement().is_some() && words.end().is_some()
}

/// A token, as far as transaction control knows any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Keyword(Keyword),
    /// A name that is no keyword, or quoted.
    Name,
    Comma,
    Semicolon,
    End,
    Other,
}

struct Words<'a> {
    sql: &'a [u8],
    lexer: Lexer<'a>,
    ahead: Word,
}

impl Words<'_> {
    fn step(&mut self) {
        let kind = self.lexer.step();
        let token = self.lexer.token(kind);
        self.ahead = match kind {
            Kind::Word => {
                Keyword::at(self.sql, token.start, token.end).map_or(Word::Name, Word::Keyword)
            }
            Kind::Quoted => Word::Name,
            Kind::Comma => Word::Comma,
            Kind::Semicolon => Word::Semicolon,
            Kind::End => Word::End,
            _ => Word::Other,
        };
    }

    /// Steps over `word`, if it is next.
    fn take(&mut self, word: Word) -> bool {
        let is_next = self.ahead == word;
        if is_next {
            self.step();
        }
        is_next
    }

    fn takes(&mut self, keyword: Keyword) -> bool {
        self.take(Word::Keyword(keyword))
    }

    fn must(&mut self, keyword: Keyword) -> Option<()> {
        self.takes(keyword).then_some(())
    }

    fn statement(&mut self) -> Option<()> {
        use Keyword as K;
        let Word::Keyword(first) = self.ahead else { return None };
        self.step();
        match first {
            K::Begin => {
                self.work();
                self.modes()
            }
            K::Start => {
                self.must(K::Transaction)?;
                self.modes()
            }
            K::Set => {
                self.must(K::Transaction)?;
                if matches!(self.ahead, Word::Semicolon | Word::End) {
                    return None;
                }
                self.modes()
            }
            K::Commit | K::End | K::Abort => {
                self.work();
                self.chain()
            }
            K::Rollback => {
                self.work();
                if self.takes(K::To) {
                    self.takes(K::Savepoint);
                    self.name()
                } else {
                    self.chain()
                }
            }
            K::Savepoint => self.name(),
            K::Release => {
                self.takes(K::Savepoint);
                self.name()
            }
            _ => None,
        }
    }

    fn work(&mut self) {
        if !self.takes(Keyword::Work) {
            self.takes(Keyword::Transaction);
        }
    }

    fn chain(&mut self) -> Option<()> {
        if self.takes(Keyword::And) {
            self.takes(Keyword::No);
            self.must(Keyword::Chain)?;
        }
        Some(())
    }

    fn name(&mut self) -> Option<()> {
        match self.ahead {
            Word::Name => {}
            // Reserved since PostgreSQL 16.
            Word::Keyword(Keyword::SystemUser) => return None,
            Word::Keyword(keyword)
                if matches!(keyword.category(), Category::Unreserved | Category::ColumnName) => {}
            _ => return None,
        }
        self.step();
        Some(())
    }

    /// Any number of modes; commas may stand between them.
    fn modes(&mut self) -> Option<()> {
        let mut first = true;
        while !matches!(self.ahead, Word::Semicolon | Word::End) {
            if !first {
                self.take(Word::Comma);
            }
            first = false;
            self.mode()?;
        }
        Some(())
    }

    fn mode(&mut self) -> Option<()> {
        use Keyword as K;
        let Word::Keyword(first) = self.ahead else { return None };
        self.step();
        match first {
            K::Isolation => {
                self.must(K::Level)?;
                if self.takes(K::Read) {
                    if self.takes(K::Committed) { Some(()) } else { self.must(K::Uncommitted) }
                } else if self.takes(K::Repeatable) {
                    self.must(K::Read)
                } else {
                    self.must(K::Serializable)
                }
            }
            K::Read => {
                if self.takes(K::Only) {
                    Some(())
                } else {
                    self.must(K::Write)
                }
            }
            K::Not => self.must(K::Deferrable),
            K::Deferrable => Some(()),
            _ => None,
        }
    }

    fn end(&mut self) -> Option<()> {
        self.take(Word::Semicolon);
        (self.ahead == Word::End).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_exact;

    #[test]
    fn what_the_grammar_takes() {
        for sql in [
            "BEGIN",
            "begin;",
            " /* a */ BEGIN -- b\n WORK ; -- c",
            "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY DEFERRABLE",
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE, NOT DEFERRABLE",
            "START TRANSACTION",
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;",
            "COMMIT",
            "COMMIT WORK AND CHAIN",
            "END TRANSACTION AND NO CHAIN;",
            "ROLLBACK",
            "ABORT WORK",
            "ROLLBACK AND CHAIN",
            "ROLLBACK TO a",
            "ROLLBACK WORK TO SAVEPOINT \"A b\"",
            "ROLLBACK TRANSACTION TO a",
            "SAVEPOINT s1",
            "SAVEPOINT savepoint",
            "SAVEPOINT between",
            "RELEASE s1",
            "RELEASE SAVEPOINT s1",
            "SET TRANSACTION READ ONLY",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
        ] {
            assert!(is_exact(sql.as_bytes(), true), "{sql}");
        }
    }

    #[test]
    fn what_it_refuses_or_what_is_in_doubt() {
        for sql in [
            "",
            ";",
            "BEGIN;;",
            ";BEGIN",
            "BEGIN; COMMIT",
            "BEGIN x",
            "BEGIN WORK TRANSACTION",
            "BEGIN , READ ONLY",
            "BEGIN READ ONLY,",
            "BEGIN READ ONLY,, READ WRITE",
            "BEGIN ISOLATION READ COMMITTED",
            "BEGIN ISOLATION LEVEL READ ONLY",
            "BEGIN ISOLATION LEVEL REPEATABLE",
            "BEGIN READ",
            "BEGIN NOT READ ONLY",
            "BEGIN\u{b}WORK",
            "BEGIN -- \u{e9}",
            "BEGIN 'x'",
            "BEGIN /*",
            "\"begin\"",
            "START",
            "START WORK",
            "COMMIT AND",
            "COMMIT AND CHAIN NO",
            "COMMIT PREPARED 'x'",
            "COMMIT TO a",
            "ROLLBACK PREPARED 'x'",
            "ROLLBACK TO",
            "ROLLBACK TO SAVEPOINT",
            "ROLLBACK TO a.b",
            "SAVEPOINT",
            "SAVEPOINT select",
            "SAVEPOINT left",
            "SAVEPOINT system_user",
            "SAVEPOINT U&\"a\"",
            "SAVEPOINT 'a'",
            "SAVEPOINT \"\"",
            "RELEASE SAVEPOINT",
            "RELEASE a b",
            "PREPARE TRANSACTION 'x'",
            "SET TRANSACTION",
            "SET TRANSACTION SNAPSHOT 'x'",
            "SET LOCAL TRANSACTION READ ONLY",
            "SET SESSION TRANSACTION READ ONLY",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SELECT 1",
        ] {
            assert!(!is_exact(sql.as_bytes(), true), "{sql}");
        }
    }
}
