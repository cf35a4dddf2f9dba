//! Values after their text was understood, and the map of all that a file sets.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use super::error::Origin;
use super::table::{Kind, Parameter, Scope, parameters};

/// A parsed value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A span of time.
    Duration(Duration),
    /// Bytes.
    Size(u64),
    /// A word of an enumeration, as the table spells it.
    Word(&'static str),
    /// The items of a list, without the blanks around them; empty items are dropped.
    List(Vec<String>),
    /// Text.
    Text(String),
    /// A number with a fraction.
    Float(f64),
    /// A file mode.
    Mode(u32),
    /// The words of a `backend_flag`.
    Flags(FlagWords),
}

/// What one `backend_flag` line says; lines of the same node add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlagWords {
    /// `ALWAYS_PRIMARY` is among the words.
    pub always_primary: bool,
    /// `DISALLOW_TO_FAILOVER` (true), `ALLOW_TO_FAILOVER` (false), or neither.
    pub disallow_to_failover: Option<bool>,
}

impl FlagWords {
    /// Reads words joined by `|`. `None` for an unknown word, and for both ways of failover.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut flags = Self::default();
        if text.trim().is_empty() {
            return Some(flags);
        }
        for word in text.split('|') {
            let disallow = match word.trim() {
                // The second is the name up to Pgpool-II 4.1.
                "ALWAYS_PRIMARY" | "ALWAYS_MASTER" => {
                    flags.always_primary = true;
                    continue;
                }
                "DISALLOW_TO_FAILOVER" => true,
                "ALLOW_TO_FAILOVER" => false,
                _ => return None,
            };
            if flags.disallow_to_failover.is_some_and(|earlier| earlier != disallow) {
                return None;
            }
            flags.disallow_to_failover = Some(disallow);
        }
        Some(flags)
    }
}

/// Splits at `separator`, drops blanks around items and empty items. `\` in front of the
/// separator makes it a character of the item; in front of any other character, of a second `\`
/// too, both stay.
pub(crate) fn split_list(text: &str, separator: char) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            if chars.peek() != Some(&separator) {
                item.push(c);
            }
            item.extend(chars.next());
        } else if c == separator {
            items.push(core::mem::take(&mut item));
        } else {
            item.push(c);
        }
    }
    items.push(item);
    items.into_iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// A parameter, and the node it is set for.
pub(crate) type Key = (&'static str, Option<u16>);

/// A value as a file gives it.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) row: &'static Parameter,
    pub(crate) node: Option<u16>,
    pub(crate) text: Zeroizing<String>,
    pub(crate) origin: Origin,
    /// Written under the old name of the parameter.
    pub(crate) old_name: bool,
}

impl Stored {
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.row.kind, Kind::Secret)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.is_secret() { HIDDEN } else { self.text.as_str() };
        write!(f, "{text:?} ({})", self.origin)
    }
}

/// What is shown instead of a secret.
pub(crate) const HIDDEN: &str = "********";

/// Everything the files set; what they do not set has the default of its row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values(pub(crate) BTreeMap<Key, Stored>);

impl Values {
    /// The line in force for a parameter: of the node, or of all nodes.
    pub(crate) fn stored(&self, name: &'static str, node: Option<u16>) -> Option<&Stored> {
        self.0.get(&(name, node)).or_else(|| {
            let of_all = node.is_some() && row(name).is_some_and(|r| r.scope == Scope::NodeOrAll);
            if of_all { self.0.get(&(name, None)) } else { None }
        })
    }

    pub(crate) fn is_set(&self, name: &'static str) -> bool {
        self.0.contains_key(&(name, None))
    }

    /// The parsed value. The loader admits no text that its row's kind does not parse, and the
    /// table's own defaults are tested to parse.
    fn value(&self, name: &'static str, node: Option<u16>) -> Option<Value> {
        let row = row(name)?;
        let text = self.stored(name, node).map_or(row.default, |stored| stored.text.as_str());
        row.kind.parse(text)
    }

    pub(crate) fn bool(&self, name: &'static str) -> bool {
        matches!(self.value(name, None), Some(Value::Bool(true)))
    }

    pub(crate) fn int(&self, name: &'static str, node: Option<u16>) -> u32 {
        match self.value(name, node) {
            Some(Value::Int(n)) => u32::try_from(n).unwrap_or(0),
            _ => 0,
        }
    }

    pub(crate) fn port(&self, name: &'static str, node: Option<u16>) -> u16 {
        u16::try_from(self.int(name, node)).unwrap_or(0)
    }

    pub(crate) fn duration(&self, name: &'static str, node: Option<u16>) -> Duration {
        match self.value(name, node) {
            Some(Value::Duration(span)) => span,
            _ => Duration::ZERO,
        }
    }

    /// A duration of which zero means "never".
    pub(crate) fn limit(&self, name: &'static str, node: Option<u16>) -> Option<Duration> {
        Some(self.duration(name, node)).filter(|span| !span.is_zero())
    }

    pub(crate) fn size(&self, name: &'static str) -> u64 {
        match self.value(name, None) {
            Some(Value::Size(bytes)) => bytes,
            _ => 0,
        }
    }

    pub(crate) fn word(&self, name: &'static str) -> &'static str {
        match self.value(name, None) {
            Some(Value::Word(word)) => word,
            _ => "",
        }
    }

    pub(crate) fn list(&self, name: &'static str) -> Vec<String> {
        match self.value(name, None) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    pub(crate) fn text(&self, name: &'static str, node: Option<u16>) -> String {
        match self.value(name, node) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    /// A text of which the empty one means "none".
    pub(crate) fn some_text(&self, name: &'static str, node: Option<u16>) -> Option<String> {
        Some(self.text(name, node)).filter(|text| !text.is_empty())
    }

    pub(crate) fn float(&self, name: &'static str, node: Option<u16>) -> f64 {
        match self.value(name, node) {
            Some(Value::Float(n)) => n,
            _ => 0.0,
        }
    }

    pub(crate) fn mode(&self, name: &'static str) -> u32 {
        match self.value(name, None) {
            Some(Value::Mode(mode)) => mode,
            _ => 0,
        }
    }

    pub(crate) fn flags(&self, name: &'static str, node: Option<u16>) -> FlagWords {
        match self.value(name, node) {
            Some(Value::Flags(flags)) => flags,
            _ => FlagWords::default(),
        }
    }
}

fn row(name: &str) -> Option<&'static Parameter> {
    let row = parameters().find(|row| row.name == name);
    debug_assert!(row.is_some(), "no row {name}");
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_flags_are_upper_case_words() {
        let flags = |always_primary, disallow_to_failover| {
            Some(FlagWords { always_primary, disallow_to_failover })
        };
        for (text, wanted) in [
            ("", flags(false, None)),
            ("ALLOW_TO_FAILOVER", flags(false, Some(false))),
            ("DISALLOW_TO_FAILOVER", flags(false, Some(true))),
            ("ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER", flags(true, Some(true))),
            ("DISALLOW_TO_FAILOVER | ALWAYS_PRIMARY", flags(true, Some(true))),
            ("ALWAYS_MASTER", flags(true, None)),
            ("always_primary", None),
            ("ALLOW_TO_FAILOVER|DISALLOW_TO_FAILOVER", None),
            ("ALWAYS_PRIMARY|", None),
            ("X", None),
        ] {
            assert_eq!(FlagWords::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        for (text, separator, wanted) in [
            ("", ',', &[][..]),
            (" a , b ", ',', &["a", "b"]),
            ("a,,b,", ',', &["a", "b"]),
            ("ABORT;DISCARD ALL", ';', &["ABORT", "DISCARD ALL"]),
            (r"SELECT 1\; SELECT 2;x", ';', &["SELECT 1; SELECT 2", "x"]),
            (r"a\b", ';', &[r"a\b"]),
            (r"a\\;b\", ';', &[r"a\\", r"b\"]),
            (r"f{1\,2},g", ',', &["f{1,2}", "g"]),
        ] {
            assert_eq!(split_list(text, separator), wanted, "{text}");
        }
    }
}
