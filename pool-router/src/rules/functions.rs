//! `write_function_list` and `read_only_function_list`.

use crate::classify::{FunctionFact, Name, is_primary_only_builtin};

use super::patterns::PatternList;

/// Answers that one session remembers.
const MEMO_SLOTS: usize = 32;

/// PostgreSQL cuts identifiers at this many bytes (`NAMEDATALEN` less one), so a longer one may
/// be another function than it looks.
const MAX_IDENTIFIER: usize = 63;

/// What the two lists say together.
#[derive(Debug, Clone)]
pub(super) enum FunctionRule {
    /// Both are empty.
    Unlisted,
    /// Only `write_function_list` is set.
    Write(PatternList),
    /// `read_only_function_list` is set.
    ReadOnly { listed: PatternList, writing: PatternList },
}

impl FunctionRule {
    pub(super) fn compile(writing: PatternList, read_only: PatternList) -> Self {
        match (writing.is_empty(), read_only.is_empty()) {
            (true, true) => Self::Unlisted,
            (false, true) => Self::Write(writing),
            (_, false) => Self::ReadOnly { listed: read_only, writing },
        }
    }

    pub(super) fn fact(&self, name: Name<'_>, memo: &mut FunctionMemo) -> Option<FunctionFact> {
        let parts = [name.qualifier.map_or(&b""[..], |schema| schema.text), name.name.text];
        if parts.iter().any(|part| part.len() > MAX_IDENTIFIER) {
            return None;
        }
        let mut buffer = [0; 2 * MAX_IDENTIFIER + 1];
        let dot: &[u8] = if name.qualifier.is_some() { b"." } else { b"" };
        let [schema, function] = parts;
        // Pgpool-II compares without double quotes, wherever they stand.
        let written = schema.iter().chain(dot).chain(function).filter(|byte| **byte != b'"');
        let mut length = 0;
        for (slot, byte) in buffer.iter_mut().zip(written) {
            *slot = *byte;
            length += 1;
        }
        let text = buffer.get(..length).unwrap_or_default();
        if let Some(known) = memo.find(text) {
            return known;
        }
        let fact = match self.writes(text) {
            true => Some(FunctionFact::Writes),
            false if is_primary_only_builtin(name) => None,
            false => Some(FunctionFact::Harmless),
        };
        memo.note(text, fact);
        fact
    }

    fn writes(&self, text: &[u8]) -> bool {
        match self {
            Self::Unlisted => false,
            Self::Write(listed) => listed.matches(text),
            Self::ReadOnly { listed, writing } => !listed.matches(text) || writing.matches(text),
        }
    }
}

/// What a session has already asked [`Rules::function`](super::Rules::function), so that the
/// expressions are not run again for each call of the same function: at most 32 names of at most
/// 127 bytes. It belongs to one set of rules; take a new one with new rules.
#[derive(Debug, Clone, Default)]
pub struct FunctionMemo(Vec<Option<Remembered>>);

#[derive(Debug, Clone)]
struct Remembered {
    name: Box<[u8]>,
    fact: Option<FunctionFact>,
}

impl FunctionMemo {
    fn find(&self, name: &[u8]) -> Option<Option<FunctionFact>> {
        let remembered = self.0.get(slot(name))?.as_ref()?;
        (*remembered.name == *name).then_some(remembered.fact)
    }

    fn note(&mut self, name: &[u8], fact: Option<FunctionFact>) {
        if self.0.is_empty() {
            self.0.resize(MEMO_SLOTS, None);
        }
        // Whoever had the place is forgotten.
        if let Some(place) = self.0.get_mut(slot(name)) {
            *place = Some(Remembered { name: name.into(), fact });
        }
    }
}

/// FNV-1a (Fowler, Noll and Vo), folded to the number of slots.
fn slot(name: &[u8]) -> usize {
    let mut hash = 0x811C_9DC5_u32;
    for byte in name {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    usize::try_from(hash ^ (hash >> 16)).unwrap_or(0) % MEMO_SLOTS
}
