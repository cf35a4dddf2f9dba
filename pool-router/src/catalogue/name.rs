//! Identifiers as the server reads them: what two spellings of one name have in common.

use crate::classify::Identifier;

/// Bytes of a name in the catalogue at most (`NAMEDATALEN` less the terminator; PostgreSQL docs,
/// 4.1.1). Longer identifiers are cut.
pub(super) const MAX_NAME: usize = 63;

/// A hash that does not tell upper from lower case: every spelling of a name has the same.
#[inline]
pub(super) fn hash(name: &[u8]) -> u64 {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ (word | LOWER)).wrapping_mul(MIX);
        mixed ^ (mixed >> 29)
    };
    let length = u64::try_from(name.len()).unwrap_or(0);
    let mut hash = length.wrapping_mul(MIX);
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        for word in name.get(8..).unwrap_or_default().chunks_exact(8) {
            hash = mix(hash, word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
        }
        hash = mix(hash, u64::from_le_bytes(*first));
        hash = mix(hash, u64::from_le_bytes(*last));
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        hash = mix(hash, u64::from(first) << 32 | u64::from(last));
    } else {
        let word = name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = mix(hash, word);
    }
    hash.wrapping_mul(MIX)
}

/// An identifier of a statement, without its quotes and cut to length; its case is as written.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    text: Text<'a>,
    quoted: bool,
}

#[derive(Debug)]
enum Text<'a> {
    AsIs(&'a [u8]),
    Undoubled([u8; MAX_NAME], usize),
}

impl<'a> Plain<'a> {
    #[inline]
    pub(super) fn new(identifier: Identifier<'a>) -> Self {
        let Identifier { text, quoted } = identifier;
        let text =
            if quoted && text.contains(&b'"') { undoubled(text) } else { Text::AsIs(cut(text)) };
        Self { text, quoted }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.text {
            Text::AsIs(text) => text,
            Text::Undoubled(text, length) => text.get(..*length).unwrap_or_default(),
        }
    }

    /// Whether it names what the catalogue calls `stored`.
    #[inline]
    pub(super) fn is(&self, stored: &[u8]) -> bool {
        let written = self.bytes();
        if self.quoted {
            written == stored
        } else {
            written.len() == stored.len()
                && written.iter().zip(stored).all(|(w, s)| w.to_ascii_lowercase() == *s)
        }
    }
}

/// Cuts a name to what the server keeps of it; characters of UTF-8 stay whole.
fn cut(name: &[u8]) -> &[u8] {
    if name.len() <= MAX_NAME {
        return name;
    }
    let mut end = MAX_NAME;
    while end > 0 && name.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}

fn undoubled(text: &[u8]) -> Text<'_> {
    let mut buffer = [0; MAX_NAME];
    let mut length = 0;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'"' {
            bytes.next();
        }
        let Some(place) = buffer.get_mut(length) else {
            // Cut in the middle of a character: that is not kept.
            if byte & 0xc0 == 0x80 {
                while length > 0 && buffer.get(length - 1).is_some_and(|b| b & 0xc0 == 0x80) {
                    length -= 1;
                }
                length = length.saturating_sub(1);
            }
            break;
        };
        *place = *byte;
        length += 1;
    }
    Text::Undoubled(buffer, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str, quoted: bool) -> Plain<'_> {
        Plain::new(Identifier { text: text.as_bytes(), quoted })
    }

    #[test]
    fn spellings_of_a_name() {
        assert!(plain("Foo_1", false).is(b"foo_1"));
        assert!(!plain("Foo_1", false).is(b"Foo_1"), "unquoted names are folded");
        assert!(plain("Foo_1", true).is(b"Foo_1"));
        assert!(!plain("Foo_1", true).is(b"foo_1"));
        assert!(plain("a\"\"b", true).is(b"a\"b"));
        assert!(!plain("a", false).is(b"ab") && !plain("ab", false).is(b"a"));
    }

    #[test]
    fn long_names_are_cut() {
        let long = "x".repeat(100);
        assert!(plain(&long, false).is(&[b'x'; 63]));
        assert!(plain(&long, true).is(&[b'x'; 63]));
        let at_the_edge = format!("{}é", "x".repeat(62));
        assert!(plain(&at_the_edge, true).is(&[b'x'; 62]));
        let doubled = format!("\"\"{}é", "x".repeat(61));
        assert_eq!(plain(&doubled, true).bytes(), [b"\"".as_slice(), &[b'x'; 61]].concat());
        assert_eq!(plain(&"\"\"".repeat(80), true).bytes(), [b'"'; 63]);
    }

    #[test]
    fn hashes_forget_case_only() {
        for length in 0..80 {
            let lower = "abcdefghijklmnopqrstuvwxyz_0123456789".repeat(3)[..length].to_owned();
            assert_eq!(hash(lower.as_bytes()), hash(lower.to_ascii_uppercase().as_bytes()));
            assert_ne!(hash(lower.as_bytes()), hash(format!("{lower}x").as_bytes()));
            for at in 0..length {
                let mut other = lower.clone().into_bytes();
                other[at] = b'$';
                assert_ne!(hash(&other), hash(lower.as_bytes()), "{length} {at}");
            }
        }
    }
}
