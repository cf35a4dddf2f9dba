//! Statements, as any client may write them.
//!
//! The first byte says how the text is to be read (bit 0: without standard strings; bit 1: in an
//! encoding that can hide ASCII bytes; bit 2: the bytes choose a statement of a grammar instead of
//! being one; bit 3: and its blanks and comments), the rest is the text.
#![no_main]

#[path = "../../pool-router/tests/sqlparser_oracle/mod.rs"]
mod sqlparser_oracle;

use libfuzzer_sys::fuzz_target;
use pool_router::classify::{
    ClientEncoding, Facts, FunctionFact, Lexing, Name, RelationFact, RelationKind, ShapeCache,
    Target, classify, classify_with, leading,
};
use sqlparser_oracle::compare;
use sqlparser_oracle::grammar::Choices;

/// A catalogue that says the same of every name, and counts the questions.
struct All {
    function: FunctionFact,
    relation: RelationFact,
    asked: usize,
}

impl Facts for All {
    fn function(&mut self, _: Name<'_>) -> FunctionFact {
        self.asked += 1;
        self.function
    }

    fn relation(&mut self, _: Name<'_>) -> RelationFact {
        self.asked += 1;
        self.relation
    }

    fn attribute(&mut self, _: Name<'_>) -> FunctionFact {
        self.asked += 1;
        self.function
    }

    fn operator(&mut self, _: &[u8]) -> bool {
        self.asked += 1;
        self.function == FunctionFact::Writes
    }

    fn written(&mut self, name: Name<'_>) {
        assert!(!name.name.text.is_empty());
        self.asked += 1;
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((flags, rest)) = data.split_first() else { return };
    let lexing = Lexing {
        standard_conforming_strings: flags & 1 == 0,
        encoding: if flags & 2 == 0 {
            ClientEncoding::AsciiSafe
        } else {
            ClientEncoding::BytesLikeAscii
        },
    };
    let chosen;
    let sql = if flags & 4 == 0 {
        rest
    } else {
        let mut choices = Choices::new(rest);
        let statement = choices.statement();
        chosen = if flags & 8 == 0 { statement } else { choices.retold(&statement) };
        chosen.as_bytes()
    };
    let verdict = classify(sql, &lexing);
    match verdict.target {
        Target::Read => {
            assert!(!verdict.effects.writes, "a read that writes");
            assert!(!sql.contains(&0), "a read with a zero byte");
            assert_eq!(verdict.effects.begin, None, "a read that opens a transaction");
            assert_eq!(verdict.effects.end, None, "a read that ends a transaction");
            assert!(!verdict.effects.exact && !verdict.effects.repeatable);
        }
        Target::Primary(reason) => {
            assert!(!reason.to_string().is_empty());
            if let Some(span) = reason.name() {
                assert!(span.start < span.end && span.end <= sql.len(), "{span:?}");
                assert!(!span.of(sql).is_empty());
            }
        }
    }
    if let Some(parameter) = verdict.effects.sets.parameter {
        assert!(!parameter.name(sql).is_empty());
    }
    let _ = leading(sql);

    // A catalogue that knows nothing changes nothing, and the work on a text is bounded by it.
    let mut ignorant =
        All { function: FunctionFact::Unknown, relation: RelationFact::Plain, asked: 0 };
    assert_eq!(classify_with(sql, &lexing, &mut ignorant), verdict);
    assert!(ignorant.asked <= sql.len(), "{} questions", ignorant.asked);

    // Bad news never sends a statement to a standby.
    let mut wary = All {
        function: FunctionFact::Writes,
        relation: RelationFact::PrimaryOnly(RelationKind::Unlogged),
        asked: 0,
    };
    if classify_with(sql, &lexing, &mut wary).target == Target::Read {
        assert_eq!(verdict.target, Target::Read);
    }

    // An empty statement more is no statement.
    let mut ended = sql.to_vec();
    ended.extend_from_slice(b"\n;");
    let again = classify(&ended, &lexing);
    assert_eq!(again.target == Target::Read, verdict.target == Target::Read);

    // What is remembered of a text says of it, and of what it is easily taken for, what reading says.
    let mut shapes = ShapeCache::new();
    let mut other = sql.to_vec();
    let at = usize::from(*flags) % sql.len().max(1);
    if let Some(byte) = other.get_mut(at) {
        *byte = byte.wrapping_add(1);
    }
    for text in [sql, &other, sql] {
        let remembered = shapes.classify(text, &lexing, 0, &mut ignorant);
        assert_eq!(remembered, classify(text, &lexing));
    }

    // A parser that understands the text as the server would never knows of a reason against it.
    if lexing.standard_conforming_strings
        && let Ok(text) = core::str::from_utf8(sql)
        && is_read_alike(text)
    {
        compare(text);
    }
});

/// Whether the parser reads the text as PostgreSQL does: it does not end a line comment at a
/// carriage return, takes other blanks than ASCII's, and other escapes in strings.
fn is_read_alike(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n' | b'\t'))
}
