//! Text to assignments.
//!
//! The file format of Pgpool-II: `name = value`, the `=` optional, several on a line allowed, `#`
//! begins a comment, values in single quotes or as bare words. Nothing spans lines, so a fault
//! costs its line only and the scan goes on behind it.

use std::sync::Arc;

use super::error::{ConfigError, Level, Notice, Origin, Problem};
use super::units::is_unit_word;

/// One `name = value`, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The name, in the letter case of the file.
    pub(crate) name: String,
    /// The value without its quotes.
    pub(crate) value: String,
    /// The line, counted from 1.
    pub(crate) line: u32,
}

/// Everything that one file's text says.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) notices: Vec<Notice>,
}

/// Scans the text of `file`. All faults are collected.
pub(crate) fn scan(file: &Arc<str>, text: &str) -> Scanned {
    let mut scanned = Scanned::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1_u32..).zip(text.lines()) {
        if let Err(problem) = scan_line(file, number, line, &mut scanned) {
            scanned.errors.push(ConfigError { origin: Origin::line(file, number), problem });
        }
    }
    scanned
}

fn scan_line(
    file: &Arc<str>,
    number: u32,
    line: &str,
    scanned: &mut Scanned,
) -> Result<(), Problem> {
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next().filter(|first| *first != '#') {
        let (word, behind) = bare_word(rest);
        if word.is_empty() {
            return Err(Problem::UnexpectedCharacter { found: first });
        }
        if !is_name(word) {
            return Err(Problem::NotAName { found: word.to_owned() });
        }
        let name = word.to_owned();
        let behind = behind.trim_start();
        rest = behind.strip_prefix('=').unwrap_or(behind).trim_start();

        let value = match rest.chars().next() {
            None | Some('#') => return Err(Problem::MissingValue { name }),
            Some('\'') => {
                let Some((value, behind)) = quoted(rest) else {
                    return Err(Problem::UnclosedQuote { name });
                };
                if value.contains("\\'") && !takes_escaped_quotes(&name) {
                    scanned.notices.push(Notice {
                        level: Level::Notice,
                        origin: Some(Origin::line(file, number)),
                        text: format!(
                            "`{name}`: \\' stands for a backslash and a quote; '' is one quote"
                        ),
                    });
                }
                rest = behind;
                value
            }
            Some(first) => {
                let (value, behind) = bare_word(rest);
                if value.is_empty() {
                    return Err(Problem::UnexpectedCharacter { found: first });
                }
                match spaced_unit(value, behind) {
                    Some((unit, behind)) => {
                        rest = behind;
                        format!("{value} {unit}")
                    }
                    None => {
                        rest = behind;
                        value.to_owned()
                    }
                }
            }
        };
        scanned.assignments.push(Assignment { name, value, line: number });
        rest = rest.trim_start();
    }
    Ok(())
}

/// Whether the parameter's own syntax reads `\'` as a quote: Pgpool-II documents it so.
fn takes_escaped_quotes(name: &str) -> bool {
    ["primary_routing_query_pattern_list", "black_query_pattern_list"]
        .iter()
        .any(|list| list.eq_ignore_ascii_case(name))
}

/// The longest piece from the start that holds no blank and none of the characters that mean
/// something, and what is behind it.
fn bare_word(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '#' | ';' | ',' | '=' | '\'' | '"')
        })
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The string that `text` begins with, and what is behind its closing quote. `''` is a quote; a
/// backslash is an ordinary character that keeps the next one from ending the string.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.strip_prefix('\'')?.chars();
    loop {
        match chars.next()? {
            '\'' => {
                let behind = chars.as_str();
                match behind.strip_prefix('\'') {
                    Some(behind) => {
                        value.push('\'');
                        chars = behind.chars();
                    }
                    None => return Some((value, behind)),
                }
            }
            '\\' => {
                value.push('\\');
                value.push(chars.next()?);
            }
            other => value.push(other),
        }
    }
}

/// Whether `behind` a bare number a unit stands, set off by blanks: `2 min`. A word with a `=`
/// behind it is a name.
fn spaced_unit<'t>(value: &str, behind: &'t str) -> Option<(&'t str, &'t str)> {
    if !value.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let (unit, behind) = bare_word(behind.trim_start());
    (is_unit_word(unit) && !behind.trim_start().starts_with('=')).then_some((unit, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let scanned = scan(&Arc::from("f"), text);
        assert_eq!(scanned.errors, [], "{text:?}");
        scanned.assignments.into_iter().map(|a| (a.name, a.value)).collect()
    }

    #[test]
    fn every_accepted_form() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("  # only a comment", &[]),
            ("key = value", &[("key", "value")]),
            ("key=value", &[("key", "value")]),
            ("key value", &[("key", "value")]),
            ("a = 7 b = on", &[("a", "7"), ("b", "on")]),
            ("a 7 b on # rest", &[("a", "7"), ("b", "on")]),
            ("a = 1# directly behind", &[("a", "1")]),
            ("a = 'x # y' # z", &[("a", "x # y")]),
            ("a = 'it''s'", &[("a", "it's")]),
            ("a = ''", &[("a", "")]),
            ("a = ''''", &[("a", "'")]),
            (r"a = 'it\'s'", &[("a", r"it\'s")]),
            (r"a = 'x\\'", &[("a", r"x\\")]),
            ("a = streaming_replication", &[("a", "streaming_replication")]),
            ("a = *", &[("a", "*")]),
            ("a = /path/x", &[("a", "/path/x")]),
            ("a = host.domain", &[("a", "host.domain")]),
            ("a = '5432'", &[("a", "5432")]),
            ("a = 2min", &[("a", "2min")]),
            ("a = 2 min", &[("a", "2 min")]),
            ("a = 2 MIN", &[("a", "2 MIN")]),
            ("a = 2 min b = 3", &[("a", "2 min"), ("b", "3")]),
            ("a = 2 min = 3", &[("a", "2"), ("min", "3")]),
            ("a = 2 b 3", &[("a", "2"), ("b", "3")]),
            ("a = 1.5h", &[("a", "1.5h")]),
            ("a = 64 MB", &[("a", "64 MB")]),
            ("include 'f'", &[("include", "f")]),
            ("include = f.conf", &[("include", "f.conf")]),
            ("a = 1\r\nb = 2\r\n", &[("a", "1"), ("b", "2")]),
            ("\u{feff}a = 1", &[("a", "1")]),
            ("a = 'v'b = 2", &[("a", "v"), ("b", "2")]),
        ];
        for (text, wanted) in table {
            let wanted: Vec<_> =
                wanted.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(pairs(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn every_refused_form() {
        let character = |found| Problem::UnexpectedCharacter { found };
        let name = |found: &str| Problem::NotAName { found: found.to_owned() };
        let missing = |name: &str| Problem::MissingValue { name: name.to_owned() };
        let unclosed = |name: &str| Problem::UnclosedQuote { name: name.to_owned() };
        for (text, problem) in [
            ("a = 7; b = on", character(';')),
            ("a = \"text\"", character('"')),
            ("a = x,y", character(',')),
            ("a_b=x = 'y'", character('=')),
            ("= 5", character('=')),
            ("@x", name("@x")),
            ("5 = 5", name("5")),
            ("a-b = 5", name("a-b")),
            ("a =", missing("a")),
            ("a", missing("a")),
            ("a = # comment", missing("a")),
            ("a = 'x", unclosed("a")),
            (r"a = 'x\'", unclosed("a")),
            ("a = 1 'x'", character('\'')),
            ("a = \0", character('\0')),
        ] {
            let scanned = scan(&Arc::from("f"), text);
            let problems: Vec<_> = scanned.errors.into_iter().map(|e| e.problem).collect();
            assert_eq!(problems, [problem], "{text:?}");
        }
    }

    #[test]
    fn a_string_that_spans_lines_is_two_faulty_lines() {
        let scanned = scan(&Arc::from("f"), "a = 'x\ny'\nb = 1");
        assert_eq!(scanned.errors.len(), 2);
        assert_eq!(scanned.assignments.len(), 1, "the third line is read all the same");
    }

    #[test]
    fn each_fault_names_its_line() {
        let scanned = scan(&Arc::from("pgpool.conf"), "a = 1\n\nb =\n@\nc = 2");
        let lines: Vec<_> = scanned.errors.iter().map(|e| e.origin.to_string()).collect();
        assert_eq!(lines, ["pgpool.conf:3", "pgpool.conf:4"]);
        assert_eq!(scanned.assignments.iter().map(|a| a.line).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn a_backslash_quote_is_pointed_out() {
        assert_eq!(scan(&Arc::from("f"), r"a = 'it\'s'").notices.len(), 1);
        assert_eq!(scan(&Arc::from("f"), "a = 'it''s'").notices.len(), 0);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = String::from_utf8_lossy(&bytes);
            let scanned = scan(&Arc::from("f"), &text);
            prop_assert!(scanned.errors.len() <= text.lines().count());
        }

        #[test]
        fn random_syntax_never_panics(text in "[a-c'\\\\#=;,\"0-9. \n\tmin]{0,80}") {
            scan(&Arc::from("f"), &text);
        }

        #[test]
        fn any_value_without_a_backslash_survives_quoting(value in "[^\\\\\n\r]{0,40}") {
            let text = format!("a = '{}'", value.replace('\'', "''"));
            prop_assert_eq!(pairs(&text), [("a".to_owned(), value)]);
        }
    }
}
