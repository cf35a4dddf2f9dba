//! What two texts have in common that differ only in their literals.

use super::lexer::{Kind, Lexer};
use super::verdict::{ClientEncoding, Lexing};

/// A number for the shape of a text: its tokens without blanks and comments, letters of unquoted
/// words without case, and every string, number or parameter, or list of such, as one and the same.
/// `None` for a text that cannot be read.
///
/// Texts of one shape have the same number. Two of different shapes may have it too, with a
/// probability of 2⁻⁶⁴ unless somebody makes them so.
#[must_use]
pub fn fingerprint(sql: &[u8], lexing: &Lexing) -> Option<u64> {
    if lexing.encoding == ClientEncoding::BytesLikeAscii && !sql.is_ascii() {
        return None;
    }
    let mut lexer = Lexer::new(sql, lexing.standard_conforming_strings);
    let mut hash = Fnv::default();
    // Semicolons and commas are counted only when something else follows.
    let mut semicolons = 0_usize;
    let mut literal = false;
    let mut comma = false;
    let mut any = false;
    while let Some(token) = lexer.next().ok()? {
        let text = sql.get(token.start..token.end).unwrap_or_default();
        match token.kind {
            Kind::Semicolon => {
                semicolons += usize::from(any);
                continue;
            }
            Kind::String | Kind::Literal if comma && literal && semicolons == 0 => {
                comma = false;
                continue;
            }
            Kind::Comma if literal && !comma && semicolons == 0 => {
                comma = true;
                continue;
            }
            _ => {}
        }
        if std::mem::take(&mut comma) {
            hash.token(b',', b"");
        }
        for _ in 0..std::mem::take(&mut semicolons) {
            hash.token(b';', b"");
        }
        any = true;
        literal = matches!(token.kind, Kind::String | Kind::Literal);
        match token.kind {
            Kind::String | Kind::Literal => hash.token(b'?', b""),
            Kind::Word => hash.folded(text),
            Kind::Quoted => hash.token(b'"', text),
            Kind::EscapedQuoted => hash.token(b'U', text),
            _ => hash.token(b'o', text),
        }
    }
    Some(hash.0)
}

/// FNV-1a.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    /// A token: its kind, its text, and an end that stands in no text.
    fn token(&mut self, kind: u8, text: &[u8]) {
        self.byte(kind);
        for byte in text {
            self.byte(*byte);
        }
        self.byte(0);
    }

    fn folded(&mut self, word: &[u8]) {
        self.byte(b'w');
        for byte in word {
            self.byte(byte.to_ascii_lowercase());
        }
        self.byte(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> u64 {
        fingerprint(sql.as_bytes(), &Lexing::default()).unwrap()
    }

    #[test]
    fn literals_blanks_and_case_do_not_count() {
        let shape = of("SELECT f(a, 1) FROM v WHERE b = 'x' AND c IN (1, 2, 3)");
        for same in [
            "select F(A,2) from V where B='y' and C in (7)",
            "SELECT f(a, $1) FROM v WHERE b = $2 AND c IN ($3, $4)",
            "SELECT f(a, 1.5) FROM /* c */ v WHERE b = $$x$$ -- d\n AND c IN (1, 'b');",
            ";SELECT f(a, 1) FROM v WHERE b = E'x\\'' AND c IN (1, 2);;",
        ] {
            assert_eq!(of(same), shape, "{same}");
        }
    }

    #[test]
    fn everything_else_counts() {
        let texts = [
            "SELECT f(a, 1) FROM v",
            "SELECT g(a, 1) FROM v",
            "SELECT f(a, b) FROM v",
            "SELECT f(a, 1, b) FROM v",
            "SELECT f(a, 1), 2 FROM v",
            "SELECT f(a, 1) FROM \"V\"",
            "SELECT f(a, -1) FROM v",
            "SELECT f(a, 1) FROM v; SELECT 1",
            "SELECT fa (1) FROM v",
            "SELECT",
            "",
        ];
        for (i, one) in texts.iter().enumerate() {
            for other in &texts[i + 1..] {
                assert_ne!(of(one), of(other), "{one} | {other}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_has_none() {
        assert_eq!(fingerprint(b"SELECT 'x", &Lexing::default()), None);
        let sjis = Lexing { encoding: ClientEncoding::BytesLikeAscii, ..Lexing::default() };
        assert_eq!(fingerprint(b"SELECT '\x83\x5c'", &sjis), None);
    }
}
