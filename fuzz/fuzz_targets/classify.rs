//! Statements, as any client may write them.
//!
//! The first byte says how the text is to be read (bit 0: without standard strings; bit 1: in an
//! encoding that can hide ASCII bytes), the rest is the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pool_router::classify::{
    ClientEncoding, Facts, FunctionFact, Lexing, Name, RelationFact, RelationKind, Target, classify,
    classify_with,
};

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
}

fuzz_target!(|data: &[u8]| {
    let Some((flags, sql)) = data.split_first() else { return };
    let lexing = Lexing {
        standard_conforming_strings: flags & 1 == 0,
        encoding: if flags & 2 == 0 {
            ClientEncoding::AsciiSafe
        } else {
            ClientEncoding::BytesLikeAscii
        },
    };
    let verdict = classify(sql, &lexing);
    match verdict.target {
        Target::Read => {
            assert!(!verdict.effects.writes, "a read that writes");
            assert!(!sql.contains(&0), "a read with a zero byte");
            assert_eq!(verdict.effects.begin, None, "a read that opens a transaction");
            assert_eq!(verdict.effects.end, None, "a read that ends a transaction");
        }
        Target::Primary(reason) => {
            assert!(!reason.to_string().is_empty());
            if let Some(span) = reason.name() {
                assert!(span.start < span.end && span.end <= sql.len(), "{span:?}");
                assert!(!span.of(sql).is_empty());
            }
        }
    }

    // A catalogue that knows nothing changes nothing, and the work on a text is bounded by it.
    let mut ignorant =
        All { function: FunctionFact::Unknown, relation: RelationFact::Plain, asked: 0 };
    assert_eq!(classify_with(sql, &lexing, &mut ignorant), verdict);
    assert!(ignorant.asked <= sql.len(), "{} questions", ignorant.asked);

    // Bad news never sends a statement to a standby.
    let mut wary =
        All { function: FunctionFact::Writes, relation: RelationFact::PrimaryOnly(RelationKind::Unlogged), asked: 0 };
    if classify_with(sql, &lexing, &mut wary).target == Target::Read {
        assert_eq!(verdict.target, Target::Read);
    }

    // An empty statement more is no statement.
    let mut ended = sql.to_vec();
    ended.extend_from_slice(b"\n;");
    let again = classify(&ended, &lexing);
    assert_eq!(again.target == Target::Read, verdict.target == Target::Read);
});
