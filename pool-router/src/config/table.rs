//! The table of parameters: one row for each name that is accepted, or refused with a reason.
//!
//! Everything that depends on a parameter's type, range or default reads it from here: the
//! loader, the settings, and the reference for users.

mod ignored;
mod own;
mod pgpool;

use super::MAX_NODE_ID;
use super::error::Level;
use super::units::{SizeUnit, TimeUnit, parse_bool, parse_bytes, parse_duration};
use super::units::{parse_float, parse_int, parse_octal};
use super::value::{FlagWords, Value, split_list};

/// What a parameter's value looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `on`, `off` and their like.
    Bool,
    /// A whole number.
    Int {
        /// The least accepted.
        min: i64,
        /// The greatest accepted.
        max: i64,
    },
    /// A span of time.
    Duration {
        /// The unit of a number without a suffix.
        unit: TimeUnit,
        /// The least accepted, in `unit`. A negative number is a code, never a time.
        min: i64,
        /// The greatest accepted, in `unit`.
        max: i64,
    },
    /// An amount of memory or of WAL.
    Size {
        /// The unit of a number without a suffix.
        unit: SizeUnit,
        /// The least accepted, in bytes.
        min: u64,
        /// The greatest accepted, in bytes.
        max: u64,
    },
    /// One of a few words, in any letter case.
    Enum {
        /// The words.
        words: &'static [&'static str],
        /// Other spellings, and the word each stands for.
        aliases: &'static [(&'static str, &'static str)],
    },
    /// Items separated by a character; blanks around them are dropped.
    List {
        /// The separator.
        separator: char,
    },
    /// Text that is taken as it is.
    Text,
    /// Text that must not be shown.
    Secret,
    /// A number with a fraction.
    Float {
        /// The least accepted.
        min: f64,
        /// The greatest accepted.
        max: f64,
    },
    /// A file mode, `0000` to `0777`.
    Mode,
    /// Words of `backend_flag`, joined by `|`.
    BackendFlags,
}

impl Kind {
    /// Reads a value, without its quotes.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Value> {
        match *self {
            Self::Bool => parse_bool(text).map(Value::Bool),
            Self::Int { min, max } => {
                parse_int(text).filter(|n| (min..=max).contains(n)).map(Value::Int)
            }
            Self::Duration { unit, min, max } => {
                if text.starts_with('-') {
                    return parse_int(text).filter(|n| (min..0).contains(n)).map(Value::Int);
                }
                let bound = |n: i64| parse_duration(&n.max(0).to_string(), unit);
                parse_duration(text, unit)
                    .filter(|span| bound(min).is_some_and(|least| *span >= least))
                    .filter(|span| bound(max).is_some_and(|most| *span <= most))
                    .map(Value::Duration)
            }
            Self::Size { unit, min, max } => {
                parse_bytes(text, unit).filter(|n| (min..=max).contains(n)).map(Value::Size)
            }
            Self::Enum { words, aliases } => {
                let text = text.trim();
                aliases
                    .iter()
                    .find(|(alias, _)| alias.eq_ignore_ascii_case(text))
                    .map(|(_, word)| *word)
                    .or_else(|| words.iter().find(|w| w.eq_ignore_ascii_case(text)).copied())
                    .map(Value::Word)
            }
            Self::List { separator } => Some(Value::List(split_list(text, separator))),
            Self::Text | Self::Secret => Some(Value::Text(text.to_owned())),
            Self::Float { min, max } => {
                parse_float(text).filter(|n| (min..=max).contains(n)).map(Value::Float)
            }
            Self::Mode => parse_octal(text).filter(|mode| *mode <= 0o777).map(Value::Mode),
            Self::BackendFlags => FlagWords::parse(text).map(Value::Flags),
        }
    }

    /// What the parameter accepts, in words.
    #[must_use]
    pub fn accepted(&self) -> String {
        match *self {
            Self::Bool => "on, off, true, false, yes, no, 1, 0".to_owned(),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Duration { unit, min, max } => {
                let units = TimeUnit::ALL.map(TimeUnit::suffix).join(", ");
                format!(
                    "{min} to {max} in {}, or a number with one of the units {units}",
                    unit.suffix()
                )
            }
            Self::Size { unit, min, max } => {
                let units = SizeUnit::ALL.map(SizeUnit::suffix).join(", ");
                format!(
                    "{min} to {max} bytes, written in {} or with one of the units {units}",
                    unit.suffix()
                )
            }
            Self::Enum { words, aliases } => {
                let mut all: Vec<&str> = words.to_vec();
                all.extend(aliases.iter().map(|(alias, _)| *alias));
                all.join(", ")
            }
            Self::List { separator } => format!("a list separated by `{separator}`"),
            Self::Text | Self::Secret => "any text".to_owned(),
            Self::Float { min, max } => format!("a number from {min} to {max}"),
            Self::Mode => "an octal number from 0000 to 0777, with its leading zero".to_owned(),
            Self::BackendFlags => {
                "ALWAYS_PRIMARY and one of ALLOW_TO_FAILOVER and DISALLOW_TO_FAILOVER, joined by |"
                    .to_owned()
            }
        }
    }

    /// The type's name in the reference.
    #[must_use]
    pub fn name(&self) -> String {
        match *self {
            Self::Bool => "bool".to_owned(),
            Self::Int { .. } => "int".to_owned(),
            Self::Duration { unit, .. } => format!("duration ({})", unit.suffix()),
            Self::Size { unit, .. } => format!("size ({})", unit.suffix()),
            Self::Enum { .. } => "enum".to_owned(),
            Self::List { separator } => format!("list (`{separator}`)"),
            Self::Text => "text".to_owned(),
            Self::Secret => "secret".to_owned(),
            Self::Float { .. } => "float".to_owned(),
            Self::Mode => "octal".to_owned(),
            Self::BackendFlags => "flags".to_owned(),
        }
    }
}

/// Whether a parameter exists once or for each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Once, without a node id.
    Global,
    /// For each node; the node id stands behind the name.
    Node,
    /// For each node; without a node id it is the default of all nodes.
    NodeOrAll,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// At the next start.
    Restart,
    /// At the next reload, for new sessions at the latest.
    Reload,
}

/// What pgweir does with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Does what it says.
    Honoured,
    /// Is checked and kept, and has no effect.
    Ignored {
        /// Why; parameters with the same reason share one notice.
        reason: &'static str,
        /// Values that ask for nothing and so need no notice.
        silent: &'static [&'static str],
        /// How loud the notice is.
        level: Level,
    },
    /// Values that ask for something pgweir does not do stop the start.
    Refused {
        /// Why.
        reason: &'static str,
        /// Values that are accepted nevertheless; empty: none is.
        except: &'static [&'static str],
    },
    /// Does what it says in terms of something else that pgweir has.
    Mapped(&'static str),
    /// The old name of another parameter, which takes the value.
    Renamed(&'static str),
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// The name, in lower case and without a node id.
    pub name: &'static str,
    /// Once or for each node.
    pub scope: Scope,
    /// What values look like.
    pub kind: Kind,
    /// The value when the file does not name the parameter.
    pub default: &'static str,
    /// When a change takes effect.
    pub change: Change,
    /// What pgweir does with it.
    pub verdict: Verdict,
    /// What it is for, in a sentence for users.
    pub about: &'static str,
}

/// The parts of the table and their headings.
pub(crate) fn sections() -> [(&'static str, &'static [Parameter]); 3] {
    [
        ("Only in pgweir", own::TABLE),
        ("As in Pgpool-II", pgpool::TABLE),
        ("Accepted so that a file of Pgpool-II can stay as it is", ignored::TABLE),
    ]
}

/// All rows: those of pgweir first, then those that Pgpool-II has too, then those without effect.
pub fn parameters() -> impl Iterator<Item = &'static Parameter> {
    sections().into_iter().flat_map(|(_, rows)| rows)
}

/// The row of a name as a file writes it, and the node id behind it.
pub(crate) fn find(written: &str) -> Found {
    let lower = written.to_ascii_lowercase();
    let row = |name: &str| parameters().find(|row| row.name == name);
    if let Some(row) = row(&lower) {
        return match row.scope {
            Scope::Node => Found::NodeIdMissing(row.name),
            Scope::Global | Scope::NodeOrAll => Found::Row(row, None),
        };
    }
    let base = lower.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = lower.strip_prefix(base).unwrap_or("");
    match row(base) {
        Some(row) if row.scope != Scope::Global => match digits.parse::<u16>() {
            Ok(node) if node <= MAX_NODE_ID => return Found::Row(row, Some(node)),
            _ => return Found::NodeIdInvalid(row.name),
        },
        _ => {}
    }
    // `backend_hostnameX` and `backend_hostname[0]`: the longest name that it begins with.
    parameters()
        .filter(|row| row.scope != Scope::Global && lower.len() <= row.name.len() + 3)
        .filter(|row| lower.starts_with(row.name))
        .max_by_key(|row| row.name.len())
        .map_or_else(|| Found::Unknown(closest(base)), |row| Found::NodeIdInvalid(row.name))
}

/// What [`find`] makes of a name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found {
    Row(&'static Parameter, Option<u16>),
    NodeIdMissing(&'static str),
    NodeIdInvalid(&'static str),
    Unknown(Option<&'static str>),
}

/// The known name that `name` is probably a misspelling of. Below three quarters of agreement a
/// suggestion would be a guess.
fn closest(name: &str) -> Option<&'static str> {
    // The comparison costs the product of the lengths.
    if name.len() > 64 {
        return None;
    }
    parameters()
        .filter(|row| !matches!(row.verdict, Verdict::Renamed(_)))
        .map(|row| (strsim::normalized_damerau_levenshtein(name, row.name), row.name))
        .filter(|(similarity, _)| *similarity >= 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

// Shorthands of the rows.

const BOOL: Kind = Kind::Bool;
const TEXT: Kind = Kind::Text;
const SECRET: Kind = Kind::Secret;
const COMMAS: Kind = Kind::List { separator: ',' };
const SEMICOLONS: Kind = Kind::List { separator: ';' };
const PORT: Kind = int(1, 65_535);
const S: Kind = duration(TimeUnit::Seconds);
const MS: Kind = duration(TimeUnit::Milliseconds);
/// As many minutes as fit when they are counted in seconds.
const MIN: Kind = Kind::Duration { unit: TimeUnit::Minutes, min: 0, max: INT_MAX / 60 };
/// Pgpool-II keeps most numbers in a C `int`.
const INT_MAX: i64 = 2_147_483_647;

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

const fn duration(unit: TimeUnit) -> Kind {
    Kind::Duration { unit, min: 0, max: INT_MAX }
}

const fn size(unit: SizeUnit, min: u64) -> Kind {
    Kind::Size { unit, min, max: 1 << 62 }
}

const fn words(words: &'static [&'static str]) -> Kind {
    Kind::Enum { words, aliases: &[] }
}

const fn ignored(reason: &'static str) -> Verdict {
    Verdict::Ignored { reason, silent: &[], level: Level::Notice }
}

/// As [`ignored`], where `silent` rather than the default is the value that asks for nothing.
const fn unless(silent: &'static [&'static str], reason: &'static str) -> Verdict {
    Verdict::Ignored { reason, silent, level: Level::Notice }
}

const fn warned(silent: &'static [&'static str], reason: &'static str) -> Verdict {
    Verdict::Ignored { reason, silent, level: Level::Warning }
}

const fn refused(except: &'static [&'static str], reason: &'static str) -> Verdict {
    Verdict::Refused { reason, except }
}

/// Rows as `name scope, kind, "default", change, verdict, "about";`.
macro_rules! rows {
    ($($name:literal $scope:ident, $kind:expr, $default:literal, $change:ident, $verdict:expr,
        $about:literal;)*) => {
        &[$(Parameter {
            name: $name,
            scope: Scope::$scope,
            kind: $kind,
            default: $default,
            change: Change::$change,
            verdict: $verdict,
            about: $about,
        }),*]
    };
}
use rows;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_lower_case_and_defaults_fit_their_kind() {
        let mut seen: Vec<&str> = Vec::new();
        for row in parameters() {
            assert!(!seen.contains(&row.name), "{} twice", row.name);
            seen.push(row.name);
            assert_eq!(row.name, row.name.to_ascii_lowercase());
            assert!(row.kind.parse(row.default).is_some(), "{}: {}", row.name, row.default);
            assert!(!row.about.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn new_names_exist_and_silent_values_fit_their_kind() {
        for row in parameters() {
            match row.verdict {
                Verdict::Renamed(new) => {
                    let new = parameters().find(|other| other.name == new).expect(new);
                    assert_eq!(new.scope, row.scope, "{}", row.name);
                    assert_eq!(new.kind, row.kind, "{}", row.name);
                    assert_eq!(new.default, row.default, "{}", row.name);
                }
                Verdict::Ignored { silent: some, .. } | Verdict::Refused { except: some, .. } => {
                    for text in some {
                        assert!(row.kind.parse(text).is_some(), "{}: {text}", row.name);
                    }
                }
                Verdict::Honoured | Verdict::Mapped(_) => {}
            }
        }
    }

    #[test]
    fn a_name_may_carry_a_node_id() {
        let table: &[(&str, &str)] = &[
            ("port", "port"),
            ("PORT", "port"),
            ("backend_hostname0", "backend_hostname 0"),
            ("Backend_Port127", "backend_port 127"),
            ("connect_timeout", "connect_timeout"),
            ("connect_timeout3", "connect_timeout 3"),
            ("delegate_IP", "delegate_ip"),
            ("recovery_1st_stage_command", "recovery_1st_stage_command"),
            ("backend_hostname", "missing backend_hostname"),
            ("backend_hostnameX", "invalid backend_hostname"),
            ("backend_hostname128", "invalid backend_hostname"),
            ("backend_hostname99999999999", "invalid backend_hostname"),
            ("backend_hostnam0", "unknown Some(\"backend_hostname\")"),
            ("num_init_childrn", "unknown Some(\"num_init_children\")"),
            ("port0", "unknown Some(\"port\")"),
            ("shared_buffers", "unknown None"),
            ("x", "unknown None"),
        ];
        for (written, wanted) in table {
            let found = match find(written) {
                Found::Row(row, None) => row.name.to_owned(),
                Found::Row(row, Some(node)) => format!("{} {node}", row.name),
                Found::NodeIdMissing(name) => format!("missing {name}"),
                Found::NodeIdInvalid(name) => format!("invalid {name}"),
                Found::Unknown(name) => format!("unknown {name:?}"),
            };
            assert_eq!(&found, wanted, "{written}");
        }
    }
}
