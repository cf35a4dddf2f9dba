//! PostgreSQL's lexical rules (docs, 4.1), as far as they decide where tokens begin and end.
//!
//! Nothing is decoded: a token is a kind and a place. Each byte is looked at a bounded number of
//! times and nothing nests on the stack, so that cost is linear in the text.

use memchr::{memchr, memchr2};

use super::verdict::{Leading, Span, Unreadable};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An unquoted identifier or keyword.
    Word,
    /// `"…"`; the place is what stands between the quotes, doubled quotes as they are.
    Quoted,
    /// `U&"…"`; likewise.
    EscapedQuoted,
    /// Any string constant, with its continuations on later lines.
    String,
    /// A number, or a parameter (`$1`).
    Literal,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `]`
    CloseBracket,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `.`
    Dot,
    /// `::`
    TypeCast,
    /// Any other operator or punctuation.
    Operator,
    /// The end of the text; no token.
    End,
    /// No token: what stands here cannot be read.
    Unreadable,
}

/// A token and its place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    pub(super) const fn span(self) -> Span {
        Span { start: self.start, end: self.end }
    }
}

const WORD_START: u8 = 1;
const WORD: u8 = 2;
const BLANK: u8 = 4;
const OPERATOR: u8 = 8;
const DIGIT: u8 = 16;
/// What a comment may begin with.
const COMMENT: u8 = 32;

/// The classes of each byte.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut at = 0_usize;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let byte = at as u8;
        class[at] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => WORD_START | WORD,
            b'0'..=b'9' => WORD | DIGIT,
            b'$' => WORD,
            // The vertical tab is blank since PostgreSQL 16, and an error before.
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => BLANK,
            b'-' | b'/' => OPERATOR | COMMENT,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'*' | b'%'
            | b'<' | b'>' | b'=' => OPERATOR,
            _ => 0,
        };
        at += 1;
    }
    class
};

#[inline]
fn is(byte: u8, class: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|of| of & class != 0)
}

/// Whether a word goes on with this byte.
#[inline]
pub(super) fn is_word_byte(byte: u8) -> bool {
    is(byte, WORD)
}

pub(super) fn leading(sql: &[u8]) -> Leading {
    let blanks = sql.iter().take_while(|byte| is(**byte, BLANK)).count();
    let rest = sql.get(blanks..).unwrap_or_default();
    Leading { white_space: blanks > 0, comment: rest.starts_with(b"--") || rest.starts_with(b"/*") }
}

/// A place in a text, and how to read on.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    sql: &'a [u8],
    /// Where the next token, or the blanks before it, begin.
    at: usize,
    /// Where the token begins that was read last.
    start: usize,
    /// Behind its last byte.
    end: usize,
    standard_strings: bool,
    /// A comment `/*NO LOAD BALANCE*/` was skipped.
    pub(super) hint: bool,
    /// Why no token could be read.
    failure: Option<Unreadable>,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(sql: &'a [u8], standard_strings: bool) -> Self {
        Self { sql, at: 0, start: 0, end: 0, standard_strings, hint: false, failure: None }
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.sql.get(at).copied()
    }

    fn rest(&self, from: usize) -> &'a [u8] {
        self.sql.get(from..).unwrap_or_default()
    }

    /// The first byte at or after `from` that is not of `class`, or the end.
    #[inline]
    fn run(&self, from: usize, class: u8) -> usize {
        let (fours, _) = self.rest(from).as_chunks::<4>();
        let mut at = from;
        for &[first, second, third, fourth] in fours {
            if !is(first, class) {
                return at;
            }
            if !is(second, class) {
                return at + 1;
            }
            if !is(third, class) {
                return at + 2;
            }
            if !is(fourth, class) {
                return at + 3;
            }
            at += 4;
        }
        while let Some(byte) = self.byte(at)
            && is(byte, class)
        {
            at += 1;
        }
        at
    }

    /// Skips blanks and comments and says which byte follows. A comment without end is not
    /// skipped: the next token will not be readable.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        let mut byte = self.byte(self.at)?;
        if byte == b' ' {
            self.at += 1;
            byte = self.byte(self.at)?;
        }
        if is(byte, BLANK | COMMENT) { self.skip() } else { Some(byte) }
    }

    fn skip(&mut self) -> Option<u8> {
        loop {
            self.at = self.run(self.at, BLANK);
            let byte = self.byte(self.at);
            if !matches!(byte, Some(b'-' | b'/')) || !self.comment() {
                return byte;
            }
        }
    }

    /// Skips a comment, if one begins here and ends.
    fn comment(&mut self) -> bool {
        match (self.byte(self.at), self.byte(self.at + 1)) {
            (Some(b'-'), Some(b'-')) => {
                self.at = self.line_end(self.at + 2);
                true
            }
            (Some(b'/'), Some(b'*')) => self.block_comment(),
            _ => false,
        }
    }

    /// Where the line ends: at the line feed or carriage return, or at the end of the text.
    fn line_end(&self, from: usize) -> usize {
        memchr2(b'\n', b'\r', self.rest(from)).map_or(self.sql.len(), |length| from + length)
    }

    fn block_comment(&mut self) -> bool {
        let start = self.at + 2;
        let mut depth = 1_usize;
        let mut at = start;
        while let Some(length) = memchr2(b'*', b'/', self.rest(at)) {
            at += length;
            match (self.byte(at), self.byte(at + 1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        let text = self.sql.get(start..at - 2).unwrap_or_default();
                        self.hint |= text.trim_ascii().eq_ignore_ascii_case(b"NO LOAD BALANCE");
                        self.at = at;
                        return true;
                    }
                }
                _ => at += 1,
            }
        }
        false
    }

    /// The next token; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if no token can be read here. The lexer is of no use afterwards.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Token>, Unreadable> {
        match self.step() {
            Kind::End => Ok(None),
            Kind::Unreadable => Err(self.failure()),
            kind => Ok(Some(self.token(kind))),
        }
    }

    /// The token read last, which was of this kind.
    #[inline]
    pub(super) const fn token(&self, kind: Kind) -> Token {
        Token { kind, start: self.start, end: self.end }
    }

    /// Why the last token was not readable.
    pub(super) fn failure(&self) -> Unreadable {
        self.failure.unwrap_or(Unreadable::Unterminated)
    }

    /// The same as [`Lexer::advance`], where a call costs less than the code.
    #[inline(never)]
    pub(super) fn step(&mut self) -> Kind {
        self.advance()
    }

    /// Reads the next token and says what it is; [`Lexer::token`] says where. This is the way in
    /// for the loop that every query passes: its answer fits a register.
    #[inline(always)]
    pub(super) fn advance(&mut self) -> Kind {
        let Some(first) = self.peek() else { return Kind::End };
        let start = self.at;
        self.start = start;
        if is(first, WORD_START) {
            let end = self.run(start + 1, WORD);
            // A prefix of a quote is a word of one letter right before it.
            if end == start + 1 {
                return self.word_or_prefix(first, start);
            }
            return self.found(Kind::Word, end);
        }
        let (kind, length) = match first {
            b'(' => (Kind::Open, 1),
            b')' => (Kind::Close, 1),
            b']' => (Kind::CloseBracket, 1),
            b',' => (Kind::Comma, 1),
            b';' => (Kind::Semicolon, 1),
            b'[' => (Kind::Operator, 1),
            b'0'..=b'9' => return self.number(),
            b'\'' => return self.string(start + 1, StringStyle::plain(self.standard_strings)),
            b'"' => return self.quoted(Kind::Quoted, start + 1),
            b'$' => return self.dollar(),
            b'.' => match self.byte(start + 1) {
                Some(b'0'..=b'9') => return self.number(),
                Some(b'.') => (Kind::Operator, 2),
                _ => (Kind::Dot, 1),
            },
            b':' => match self.byte(start + 1) {
                Some(b':') => (Kind::TypeCast, 2),
                Some(b'=') => (Kind::Operator, 2),
                _ => (Kind::Operator, 1),
            },
            _ if is(first, OPERATOR) => return self.operator(),
            0 => return self.fail(Unreadable::NulByte),
            _ => return self.fail(Unreadable::StrayByte(first)),
        };
        self.found(kind, start + length)
    }

    #[inline]
    fn found(&mut self, kind: Kind, end: usize) -> Kind {
        self.end = end;
        self.at = end;
        kind
    }

    #[cold]
    fn fail(&mut self, why: Unreadable) -> Kind {
        self.failure = Some(why);
        Kind::Unreadable
    }

    fn word_or_prefix(&mut self, first: u8, start: usize) -> Kind {
        match (first.to_ascii_lowercase(), self.byte(start + 1), self.byte(start + 2)) {
            (b'e', Some(b'\''), _) => self.string(start + 2, StringStyle::Escapes),
            (b'b' | b'x', Some(b'\''), _) => self.string(start + 2, StringStyle::Bits),
            // `N` stands for the type and what follows is a plain string: nobody needs both.
            (b'n', Some(b'\''), _) => {
                self.string(start + 2, StringStyle::plain(self.standard_strings))
            }
            (b'u', Some(b'&'), Some(b'\'')) if self.standard_strings => {
                self.string(start + 3, StringStyle::Doubling)
            }
            (b'u', Some(b'&'), Some(b'\'')) => self.fail(Unreadable::BadQuote),
            (b'u', Some(b'&'), Some(b'"')) => self.quoted(Kind::EscapedQuoted, start + 3),
            _ => self.found(Kind::Word, start + 1),
        }
    }

    /// A string whose opening quote ends before `body`.
    fn string(&mut self, body: usize, style: StringStyle) -> Kind {
        let mut at = body;
        loop {
            let found = match style {
                StringStyle::Escapes => memchr2(b'\'', b'\\', self.rest(at)),
                StringStyle::Doubling | StringStyle::Bits => memchr(b'\'', self.rest(at)),
            };
            let Some(length) = found else { return self.fail(Unreadable::Unterminated) };
            at += length;
            if self.byte(at) == Some(b'\\') {
                at += 2;
                continue;
            }
            at += 1;
            if style != StringStyle::Bits && self.byte(at) == Some(b'\'') {
                at += 1;
                continue;
            }
            match self.continuation(at) {
                Some(next) => at = next,
                None => return self.found(Kind::String, at),
            }
        }
    }

    /// Behind the quote that goes on with a string which ended at `from`: the two are parted by
    /// blanks and `--` comments with at least one line end, and the style goes on too.
    fn continuation(&self, from: usize) -> Option<usize> {
        let mut at = from;
        let mut line_ended = false;
        loop {
            match self.byte(at)? {
                b'\n' | b'\r' => {
                    line_ended = true;
                    at += 1;
                }
                b'-' if self.byte(at + 1) == Some(b'-') => at = self.line_end(at + 2),
                b'\'' if line_ended => return Some(at + 1),
                byte if is(byte, BLANK) => at += 1,
                _ => return None,
            }
        }
    }

    /// A quoted identifier whose opening quote ends before `body`.
    fn quoted(&mut self, kind: Kind, body: usize) -> Kind {
        let mut at = body;
        loop {
            let Some(length) = memchr(b'"', self.rest(at)) else {
                return self.fail(Unreadable::Unterminated);
            };
            at += length;
            if self.byte(at + 1) != Some(b'"') {
                break;
            }
            at += 2;
        }
        if at == body {
            return self.fail(Unreadable::BadQuote);
        }
        self.start = body;
        self.end = at;
        self.at = at + 1;
        kind
    }

    /// A parameter or a dollar-quoted string.
    fn dollar(&mut self) -> Kind {
        let start = self.start;
        let word = start + 1;
        if self.byte(word).is_some_and(|byte| is(byte, DIGIT)) {
            return self.literal(self.run(word, DIGIT));
        }
        let mut at = word;
        if self.byte(at).is_some_and(|byte| is(byte, WORD_START)) {
            while let Some(byte) = self.byte(at)
                && is(byte, WORD)
                && byte != b'$'
            {
                at += 1;
            }
        }
        if self.byte(at) != Some(b'$') {
            return self.fail(Unreadable::StrayByte(b'$'));
        }
        let body = at + 1;
        let delimiter = self.sql.get(start..body).unwrap_or_default();
        let mut from = body;
        loop {
            let Some(length) = memchr(b'$', self.rest(from)) else {
                return self.fail(Unreadable::Unterminated);
            };
            from += length;
            // The tag holds no `$`: a failed comparison ends before the next candidate begins.
            if self.rest(from).starts_with(delimiter) {
                return self.found(Kind::String, from + delimiter.len());
            }
            from += 1;
        }
    }

    fn number(&mut self) -> Kind {
        let end = self.run(self.start, DIGIT);
        match self.byte(end) {
            Some(byte) if byte == b'.' || is(byte, WORD_START) => self.odd_number(self.start),
            _ => self.found(Kind::Literal, end),
        }
    }

    /// A number that is more than a row of digits.
    fn odd_number(&mut self, start: usize) -> Kind {
        if self.byte(start) == Some(b'0') {
            let digits: Option<fn(&u8) -> bool> = match self.byte(start + 1) {
                Some(b'x' | b'X') => Some(u8::is_ascii_hexdigit),
                Some(b'o' | b'O') => Some(|byte| matches!(byte, b'0'..=b'7')),
                Some(b'b' | b'B') => Some(|byte| matches!(byte, b'0' | b'1')),
                _ => None,
            };
            if let Some(digits) = digits {
                return self.literal(self.digits(start + 2, digits));
            }
        }
        let mut end = self.digits(start, u8::is_ascii_digit);
        // `1..2` is a range of two whole numbers.
        if self.byte(end) == Some(b'.') && self.byte(end + 1) != Some(b'.') {
            end = self.digits(end + 1, u8::is_ascii_digit);
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            let power = end + 1 + sign;
            if self.byte(power).is_some_and(|byte| byte.is_ascii_digit()) {
                end = self.digits(power, u8::is_ascii_digit);
            }
        }
        self.literal(end)
    }

    /// Behind the digits from `from` on, which single underscores may part (since PostgreSQL 16).
    fn digits(&self, from: usize, is_digit: fn(&u8) -> bool) -> usize {
        let mut at = from;
        loop {
            match (self.byte(at), self.byte(at + 1)) {
                (Some(byte), _) if is_digit(&byte) => at += 1,
                (Some(b'_'), Some(byte)) if is_digit(&byte) => at += 2,
                _ => return at,
            }
        }
    }

    fn literal(&mut self, end: usize) -> Kind {
        // Where a new token begins depends on the server's version: none of them may be guessed.
        if self.byte(end).is_some_and(|byte| is(byte, WORD_START | DIGIT)) {
            return self.fail(Unreadable::TrailingJunk);
        }
        self.found(Kind::Literal, end)
    }

    fn operator(&mut self) -> Kind {
        // A comment that has an end was skipped.
        if self.byte(self.at) == Some(b'/') && self.byte(self.at + 1) == Some(b'*') {
            return self.fail(Unreadable::Unterminated);
        }
        let mut end = self.start + 1;
        while let Some(byte) = self.byte(end)
            && is(byte, OPERATOR)
        {
            // A comment may begin inside a run of operator characters.
            match (byte, self.byte(end + 1)) {
                (b'-', Some(b'-')) | (b'/', Some(b'*')) => break,
                _ => end += 1,
            }
        }
        // `<=-1` is `<=` and `-1`: only with certain other characters in it may an operator of
        // several end in a sign (docs, 4.1.3).
        if matches!(self.byte(end - 1), Some(b'+' | b'-')) {
            let text = self.sql.get(self.start..end).unwrap_or_default();
            let may_end_so = text.iter().any(|byte| {
                matches!(byte, b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?')
            });
            while !may_end_so
                && end > self.start + 1
                && matches!(self.byte(end - 1), Some(b'+' | b'-'))
            {
                end -= 1;
            }
        }
        self.found(Kind::Operator, end)
    }
}

/// What ends a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StringStyle {
    /// A quote that is not doubled.
    Doubling,
    /// A quote that is neither doubled nor behind a backslash.
    Escapes,
    /// The next quote: bit strings know no doubling.
    Bits,
}

impl StringStyle {
    const fn plain(standard_strings: bool) -> Self {
        if standard_strings { Self::Doubling } else { Self::Escapes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(sql: &str, standard_strings: bool) -> Result<Vec<(Kind, &str)>, Unreadable> {
        let mut lexer = Lexer::new(sql.as_bytes(), standard_strings);
        let mut tokens = Vec::new();
        while let Some(token) = lexer.next()? {
            tokens.push((token.kind, &sql[token.start..token.end]));
        }
        Ok(tokens)
    }

    fn texts(sql: &str) -> Vec<&str> {
        tokens(sql, true).unwrap().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn words_and_punctuation() {
        assert_eq!(
            tokens("a.b::c(d[1],$1);", true).unwrap(),
            [
                (Kind::Word, "a"),
                (Kind::Dot, "."),
                (Kind::Word, "b"),
                (Kind::TypeCast, "::"),
                (Kind::Word, "c"),
                (Kind::Open, "("),
                (Kind::Word, "d"),
                (Kind::Operator, "["),
                (Kind::Literal, "1"),
                (Kind::CloseBracket, "]"),
                (Kind::Comma, ","),
                (Kind::Literal, "$1"),
                (Kind::Close, ")"),
                (Kind::Semicolon, ";"),
            ]
        );
        assert_eq!(texts("größe _x a$1$ b"), ["größe", "_x", "a$1$", "b"]);
        assert_eq!(texts("x\u{a0}y"), ["x\u{a0}y"], "a no-break space is a letter");
        assert_eq!(texts("a\x0b\x0c\r\n\tb"), ["a", "b"]);
    }

    #[test]
    fn numbers() {
        assert_eq!(
            texts("1 1.5 1. .5 1e3 1.5E-3 1.e+2"),
            ["1", "1.5", "1.", ".5", "1e3", "1.5E-3", "1.e+2"]
        );
        assert_eq!(texts("1..2"), ["1", "..", "2"]);
        assert_eq!(
            texts("0x1F 0o17 0b10 1_000_000 0xff_ff"),
            ["0x1F", "0o17", "0b10", "1_000_000", "0xff_ff"]
        );
        for junk in
            ["1a", "1and 2", "1e", "1e+", "0xg", "0b2", "1__0", "1_", "$1a", "0x1for", "1\u{e9}"]
        {
            assert_eq!(tokens(junk, true), Err(Unreadable::TrailingJunk), "{junk}");
        }
        assert_eq!(texts("1$$x$$"), ["1", "$$x$$"]);
    }

    #[test]
    fn operators_stop_at_comments() {
        assert_eq!(texts("a+--b\nc"), ["a", "+", "c"]);
        assert_eq!(texts("a*/*b*/c"), ["a", "*", "c"]);
        assert_eq!(texts("a->>'b'"), ["a", "->>", "'b'"]);
        assert_eq!(
            texts("a <=-1 @> b:=c :d"),
            ["a", "<=", "-", "1", "@>", "b", ":=", "c", ":", "d"]
        );
        assert_eq!(texts("1/-- x"), ["1", "/"]);
        assert_eq!(
            texts("a@-b *+-c - -d =+ 1"),
            ["a", "@-", "b", "*", "+", "-", "c", "-", "-", "d", "=", "+", "1"]
        );
    }

    #[test]
    fn comments_nest_and_end_lines_either_way() {
        assert_eq!(texts("a/* x /* y */ ; */b"), ["a", "b"]);
        assert_eq!(texts("a/**/b/***/c/*/ */d"), ["a", "b", "c", "d"]);
        assert_eq!(texts("a--;\rb--;\nc--;"), ["a", "b", "c"]);
        for open in ["/*", "/* /* */", "/*/", "a /* *"] {
            assert_eq!(tokens(open, true), Err(Unreadable::Unterminated), "{open}");
        }
    }

    #[test]
    fn plain_strings() {
        assert_eq!(texts("'a''b' 'c'"), ["'a''b'", "'c'"]);
        assert_eq!(texts(r"'a\' b"), [r"'a\'", "b"]);
        assert_eq!(tokens(r"'a\' b", false), Err(Unreadable::Unterminated));
        assert_eq!(tokens(r"'a\' b'", false).unwrap(), [(Kind::String, r"'a\' b'")]);
        assert_eq!(texts(r"N'a\' b"), [r"N'a\'", "b"]);
        assert_eq!(tokens(r"n'a\' b'", false).unwrap(), [(Kind::String, r"n'a\' b'")]);
        assert_eq!(tokens("'", true), Err(Unreadable::Unterminated));
        assert_eq!(tokens("'''", true), Err(Unreadable::Unterminated));
    }

    #[test]
    fn prefixed_strings() {
        assert_eq!(texts(r"E'a\'b\\' c"), [r"E'a\'b\\'", "c"]);
        assert_eq!(texts(r"e'a''b' x"), [r"e'a''b'", "x"]);
        assert_eq!(texts(r"foo_e'a\' x"), ["foo_e", r"'a\'", "x"]);
        assert_eq!(texts("e 'a' u & 'b'"), ["e", "'a'", "u", "&", "'b'"]);
        assert_eq!(texts("B'01''x'"), ["B'01'", "'x'"]);
        // The second string has its own style.
        assert_eq!(
            tokens(r"x'0''\' y'", false).unwrap(),
            [(Kind::String, "x'0'"), (Kind::String, r"'\' y'")]
        );
        assert_eq!(texts(r"U&'\0061' u&'' x"), [r"U&'\0061'", "u&''", "x"]);
        assert_eq!(tokens("U&'a'", false), Err(Unreadable::BadQuote));
        assert_eq!(tokens(r"E'\", true), Err(Unreadable::Unterminated));
        assert_eq!(tokens(r"E'\'", true), Err(Unreadable::Unterminated));
    }

    #[test]
    fn strings_go_on_across_lines() {
        assert_eq!(texts("'a'\n'b'"), ["'a'\n'b'"]);
        assert_eq!(texts("'a' -- x\n -- y\r 'b' c"), ["'a' -- x\n -- y\r 'b'", "c"]);
        assert_eq!(texts("'a' 'b'"), ["'a'", "'b'"]);
        assert_eq!(texts("'a' /*\n*/ 'b'"), ["'a'", "'b'"]);
        assert_eq!(texts("'a'\n/**/'b'"), ["'a'", "'b'"]);
        // The first quote's style holds for all parts.
        assert_eq!(texts("E'a'\n'b\\'; c' d"), ["E'a'\n'b\\'; c'", "d"]);
        assert_eq!(texts("'a' -- 'b'"), ["'a'"]);
        assert_eq!(texts("'a'\n-b"), ["'a'", "-", "b"]);
    }

    #[test]
    fn dollar_quotes() {
        assert_eq!(texts("$$a;'$$ b"), ["$$a;'$$", "b"]);
        assert_eq!(texts("$x$ $$ $y$ $x $x$ b"), ["$x$ $$ $y$ $x $x$", "b"]);
        assert_eq!(texts("$b$a$b$"), ["$b$a$b$"]);
        assert_eq!(texts("$a$$b$a$ c"), ["$a$$b$a$", "c"]);
        assert_eq!(texts("$é1$x$é1$"), ["$é1$x$é1$"]);
        for open in ["$$", "$x$ $X$", "$x$ $x"] {
            assert_eq!(tokens(open, true), Err(Unreadable::Unterminated), "{open}");
        }
        for stray in ["$", "$x", "$ $", "$x y$"] {
            assert_eq!(tokens(stray, true), Err(Unreadable::StrayByte(b'$')), "{stray}");
        }
    }

    #[test]
    fn quoted_identifiers() {
        assert_eq!(
            tokens(r#""a""b" U&"\0061" u&"x""#, true).unwrap(),
            [
                (Kind::Quoted, r#"a""b"#),
                (Kind::EscapedQuoted, r"\0061"),
                (Kind::EscapedQuoted, "x"),
            ]
        );
        assert_eq!(tokens("\"", true), Err(Unreadable::Unterminated));
        assert_eq!(tokens("\"\"", true), Err(Unreadable::BadQuote));
        assert_eq!(tokens("\"\"\"\"", true).unwrap(), [(Kind::Quoted, "\"\"")]);
    }

    #[test]
    fn stray_bytes() {
        for stray in [b'\\', b'{', b'}', 1, 0x7f] {
            let mut lexer = Lexer::new(core::slice::from_ref(&stray), true);
            assert_eq!(lexer.next(), Err(Unreadable::StrayByte(stray)));
        }
        assert_eq!(Lexer::new(b"\0", true).next(), Err(Unreadable::NulByte));
    }
}
