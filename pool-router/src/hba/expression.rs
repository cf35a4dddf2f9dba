//! The regular expressions of `pool_ident.conf`, in the syntax of the `regex` crate.
//!
//! PostgreSQL reads them as its advanced regular expressions (chapter "Pattern Matching") in the C
//! locale, and looks for them anywhere in the name. Here is what both languages read alike;
//! whatever PostgreSQL reads differently, or matches by going back, is refused: an expression that
//! means something else here would let somebody in as somebody else. So are alternatives in or before
//! a group that a role is taken from: PostgreSQL takes the longest one, this engine the first.

use core::fmt::Write;

use regex::{Regex, RegexBuilder};

/// Bytes that one expression may take when compiled, and as much again for what matching finds out.
const EXPRESSION_SIZE: usize = 1 << 18;

/// How deep groups may nest.
const NEST_LIMIT: u32 = 64;

/// The greatest number in `{n,m}`, as in PostgreSQL.
const MAX_REPETITION: u8 = 255;

/// Why an expression is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionProblem {
    /// A backslash before a letter or digit, but for classes.
    #[error("\\{0} is not supported; accepted: \\d \\s \\w \\D \\S \\W, and \\ before punctuation")]
    Escape(char),
    /// A backslash at the end.
    #[error("a backslash at the end escapes nothing")]
    TrailingBackslash,
    /// `(?`, but for `(?:`.
    #[error("(? is not supported; accepted: (...) and (?:...)")]
    Extension,
    /// `[` without its `]`.
    #[error("a bracket expression has no end")]
    UnclosedBracket,
    /// `[.x.]`, `[=x=]`, or a class as the end of a range.
    #[error(
        "a bracket expression with {0} is not supported; accepted: characters, ranges, classes"
    )]
    Bracket(String),
    /// `*` and its kin behind nothing, or behind one another.
    #[error("{0} has nothing before it that it could repeat; accepted: one sign behind each thing")]
    NothingToRepeat(char),
    /// `{` without fitting numbers.
    #[error(
        "{{ begins no repetition; accepted: {{n}}, {{n,}}, {{n,m}} up to {MAX_REPETITION}, and \\{{"
    )]
    Interval,
    /// Not an expression otherwise, or one that is too large.
    #[error("it is no regular expression, or too large a one")]
    Invalid,
}

/// Compiles what stands behind the `/`.
pub(super) fn compile(expression: &str) -> Result<Regex, ExpressionProblem> {
    RegexBuilder::new(&translate(expression)?)
        .dot_matches_new_line(true)
        .nest_limit(NEST_LIMIT)
        .size_limit(EXPRESSION_SIZE)
        .dfa_size_limit(EXPRESSION_SIZE)
        .build()
        .map_err(|_| ExpressionProblem::Invalid)
}

fn translate(expression: &str) -> Result<String, ExpressionProblem> {
    let mut out = String::with_capacity(expression.len() + 8);
    let mut rest = expression.chars();
    // Whether a sign of repetition may follow.
    let mut atom = false;
    // PostgreSQL reads what follows `***` at the beginning by rules of its own; that it is refused
    // goes without saying here, as a sign with nothing before it.
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                match rest.next().ok_or(ExpressionProblem::TrailingBackslash)? {
                    c if c.is_ascii_alphanumeric() => {
                        let (members, negated) = class(c)?;
                        let sign = if negated { "^" } else { "" };
                        // Writing to a String cannot fail.
                        let _ = write!(out, "[{sign}{members}]");
                    }
                    c => literal(c, &mut out),
                }
                atom = true;
            }
            '[' => {
                bracket(&mut rest, &mut out)?;
                atom = true;
            }
            '(' => {
                out.push('(');
                if let Some(behind) = rest.as_str().strip_prefix('?') {
                    let behind = behind.strip_prefix(':').ok_or(ExpressionProblem::Extension)?;
                    rest = behind.chars();
                    out.push_str("?:");
                }
                atom = false;
            }
            ')' => {
                out.push(')');
                atom = true;
            }
            '|' | '^' | '$' => {
                out.push(c);
                atom = false;
            }
            '.' => {
                out.push('.');
                atom = true;
            }
            '*' | '+' | '?' | '{' if !atom => return Err(ExpressionProblem::NothingToRepeat(c)),
            '*' | '+' | '?' => {
                out.push(c);
                atom = false;
            }
            '{' => {
                let (inside, behind) =
                    rest.as_str().split_once('}').ok_or(ExpressionProblem::Interval)?;
                out.push_str(&interval(inside).ok_or(ExpressionProblem::Interval)?);
                rest = behind.chars();
                atom = false;
            }
            other => {
                literal(other, &mut out);
                atom = true;
            }
        }
    }
    Ok(out)
}

/// Whether there are alternatives before the end of the first group of a translated expression.
pub(super) fn group_alternates(translated: &Regex) -> bool {
    let mut rest = translated.as_str().chars();
    let mut brackets = 0_usize;
    // For each open group, whether it is the first that holds something.
    let mut open = Vec::new();
    let mut found = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                rest.next();
            }
            '[' => brackets += 1,
            ']' => brackets = brackets.saturating_sub(1),
            _ if brackets > 0 => {}
            '|' => return true,
            '(' => {
                let first = !found && !rest.as_str().starts_with('?');
                found |= first;
                open.push(first);
            }
            ')' if open.pop() == Some(true) => return false,
            _ => {}
        }
    }
    false
}

/// A character that stands for itself, within brackets and without.
fn literal(c: char, out: &mut String) {
    if c.is_ascii_punctuation() {
        out.push('\\');
    }
    out.push(c);
}

/// The members of an escape's class, and whether it means the others. Without the letters of
/// other languages, as in the C locale.
fn class(letter: char) -> Result<(&'static str, bool), ExpressionProblem> {
    match letter {
        'd' => Ok(("0-9", false)),
        'D' => Ok(("0-9", true)),
        's' => Ok((r" \t-\r", false)),
        'S' => Ok((r" \t-\r", true)),
        'w' => Ok(("0-9A-Za-z_", false)),
        'W' => Ok(("0-9A-Za-z_", true)),
        other => Err(ExpressionProblem::Escape(other)),
    }
}

fn interval(inside: &str) -> Option<String> {
    let number = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u8>().ok().filter(|_| plain)
    };
    Some(match inside.split_once(',') {
        None => format!("{{{}}}", number(inside)?),
        Some((least, "")) => format!("{{{},}}", number(least)?),
        Some((least, most)) => {
            let (least, most) = (number(least)?, number(most)?);
            if least > most {
                return None;
            }
            format!("{{{least},{most}}}")
        }
    })
}

/// A bracket expression behind its `[`.
fn bracket(rest: &mut core::str::Chars<'_>, out: &mut String) -> Result<(), ExpressionProblem> {
    out.push('[');
    if rest.as_str().starts_with('^') {
        rest.next();
        out.push('^');
    }
    let mut first = true;
    // Whether what stands before could begin a range.
    let mut begins = false;
    loop {
        let c = rest.next().ok_or(ExpressionProblem::UnclosedBracket)?;
        let next = rest.as_str().chars().next();
        match c {
            ']' if !first => break,
            '[' if next == Some(':') => {
                let (name, behind) = rest
                    .as_str()
                    .get(1..)
                    .and_then(|inside| inside.split_once(":]"))
                    .ok_or(ExpressionProblem::UnclosedBracket)?;
                let known = [
                    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print",
                    "punct", "space", "upper", "xdigit",
                ];
                if !known.contains(&name) {
                    return Err(ExpressionProblem::Bracket(format!("[:{name}:]")));
                }
                let _ = write!(out, "[:{name}:]");
                *rest = behind.chars();
                begins = false;
            }
            '[' if matches!(next, Some('.' | '=')) => {
                return Err(ExpressionProblem::Bracket(format!("[{}", next.unwrap_or('.'))));
            }
            // Between two characters it is a range, at an edge itself, and elsewhere doubtful.
            '-' if !first && next != Some(']') => {
                let plain = |c: char| !matches!(c, '[' | '\\' | '-');
                if !begins || !next.is_some_and(plain) {
                    return Err(ExpressionProblem::Bracket("such a hyphen".to_owned()));
                }
                out.push('-');
                if let Some(end) = rest.next() {
                    literal(end, out);
                }
                begins = false;
            }
            '\\' => {
                let escaped = rest.next().ok_or(ExpressionProblem::UnclosedBracket)?;
                if escaped.is_ascii_alphanumeric() {
                    let (members, negated) = class(escaped)?;
                    if negated {
                        return Err(ExpressionProblem::Bracket(format!("\\{escaped}")));
                    }
                    out.push_str(members);
                    begins = false;
                } else {
                    literal(escaped, out);
                    begins = true;
                }
            }
            c => {
                literal(c, out);
                begins = true;
            }
        }
        first = false;
    }
    out.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_both_read_alike() {
        for (expression, fits, others) in [
            (
                r"^(.*)@example\.com$",
                &["a@example.com", "@example.com"][..],
                &["a@examplexcom"][..],
            ),
            ("app", &["app", "myapp2"], &["APP", "ap"]),
            (r"^\w+$", &["a_1"], &["a-1", "é", ""]),
            (r"^[\w.-]+$", &["a.b-c_1"], &["a b", "é"]),
            (r"^\d{2,3}$", &["12", "123"], &["1", "1234", "١٢"]),
            ("^[]a]$", &["]", "a"], &["b"]),
            ("^[^]a]$", &["b"], &["]", "a"]),
            ("^[a&&b]+$", &["a&b"], &["c"]),
            ("^[[:alpha:]-]+$", &["a-b"], &["é", "1"]),
            ("^(a|bc)$", &["a", "bc"], &["ac"]),
            ("^(?:a|b){2}$", &["ab"], &["a"]),
            ("^a.c$", &["a\nc", "aéc"], &["ac"]),
            (r"^a\.b/c$", &["a.b/c"], &["axb/c"]),
            ("^a b#c$", &["a b#c"], &["ab"]),
            ("", &["", "x"], &[]),
        ] {
            let compiled = compile(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
            for text in fits {
                assert!(compiled.is_match(text), "{expression} {text}");
            }
            for text in others {
                assert!(!compiled.is_match(text), "{expression} {text}");
            }
        }
    }

    #[test]
    fn what_is_refused() {
        use ExpressionProblem::{
            Bracket, Escape, Extension, Interval, Invalid, NothingToRepeat, TrailingBackslash,
            UnclosedBracket,
        };
        for (expression, wanted) in [
            (r"(a)\1", Escape('1')),
            (r"\ma", Escape('m')),
            (r"a\", TrailingBackslash),
            ("(?i)a", Extension),
            ("(?=a)", Extension),
            ("(?P<x>a)", Extension),
            ("***:a", NothingToRepeat('*')),
            ("a**", NothingToRepeat('*')),
            ("a+?", NothingToRepeat('?')),
            ("^*", NothingToRepeat('*')),
            ("(+a)", NothingToRepeat('+')),
            ("a{", Interval),
            ("a{,3}", Interval),
            ("a{3,2}", Interval),
            ("a{256}", Interval),
            ("a{+1}", Interval),
            ("[a", UnclosedBracket),
            ("[", UnclosedBracket),
            ("[[:word:]]", Bracket("[:word:]".to_owned())),
            ("[[.a.]]", Bracket("[.".to_owned())),
            (r"[\W]", Bracket("\\W".to_owned())),
            (r"[\w-z]", Bracket("such a hyphen".to_owned())),
            ("[z-a]", Invalid),
            ("(a", Invalid),
            ("a)", Invalid),
            ("((((a{255}){255}){255}){255})", Invalid),
        ] {
            assert_eq!(compile(expression).map(|_| ()), Err(wanted), "{expression}");
        }
    }

    #[test]
    fn alternatives_before_the_end_of_the_group() {
        for (expression, wanted) in [
            ("^(a|ab)(.*)$", true),
            ("^(?:a|ab)(.*)$", true),
            ("^((a|ab)c)$", true),
            ("^x(.*)@(b|c)$", false),
            (r"^([|a]\|[[:alpha:]|]*)(b|c)$", false),
            ("^(?:a)(b(?:c)(d|e))$", true),
        ] {
            let compiled = compile(expression).unwrap();
            assert_eq!(group_alternates(&compiled), wanted, "{expression}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in r"([\[\]\\(){}*+?|^$.:,0-9a-z-]|.){0,40}") {
            let _ = compile(&text);
        }
    }
}
