//! POSIX extended regular expressions, as the C library reads them, in the syntax of the `regex`
//! crate.
//!
//! The expressions of `pgpool.conf` are POSIX ERE (regex(7), IEEE 1003.1 XBD 9.4) with the GNU
//! additions `\w \W \s \S \b \B \< \>`, without regard to case, over bytes: Pgpool-II runs in the
//! C locale. `.` and `[^x]` match a newline, `^` and `$` mean the ends of the text wherever they
//! stand. What the two languages spell alike but read differently (`a+?`, `\d`, `[a&&b]`) is
//! spelt out, so that nothing of the crate's own syntax can slip in.

use core::fmt::Write;

/// Why an expression is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternProblem {
    /// `\1`: matching it can take exponential time.
    #[error("the back-reference \\{0} is not supported")]
    BackReference(char),
    /// A backslash before a letter or digit that has no meaning in POSIX.
    #[error("\\{0} has no meaning in a POSIX regular expression{hint}", hint = escape_hint(*.0))]
    Escape(char),
    /// A backslash at the end.
    #[error("a backslash at the end escapes nothing")]
    TrailingBackslash,
    /// `[` without its `]`.
    #[error("a bracket expression has no end")]
    UnclosedBracket,
    /// `[[:wrong:]]`.
    #[error("[:{0}:] is no character class")]
    UnknownClass(String),
    /// `[[.hyphen.]]`, `[[=x=]]` with more than one character.
    #[error("[.{0}.] is more than one character")]
    CollatingElement(String),
    /// `[z-a]`.
    #[error("the range {0}-{1} runs backwards")]
    Range(char, char),
    /// A character beyond ASCII within brackets.
    #[error("{0:?} within brackets is not supported; write alternatives, (a|b)")]
    BeyondAscii(char),
    /// `*` and its kin with nothing before it.
    #[error("{0} has nothing before it that it could repeat; `.*` is any text")]
    NothingToRepeat(char),
    /// `{` without a number, or with numbers that are too large or the wrong way round.
    #[error(
        "{{ begins no repetition; accepted: {{n}}, {{n,}}, {{n,m}} up to {MAX_REPETITION}, and \
         \\{{ for the character (in a list, a comma within an entry is written \\,)"
    )]
    Interval,
    /// `(` without its `)`.
    #[error("a parenthesis has no end")]
    UnclosedParenthesis,
    /// Groups or repetitions within one another, too many.
    #[error("it nests too deeply")]
    TooDeep,
    /// It would take too much memory.
    #[error("it takes too much memory")]
    TooBig,
}

/// The greatest number in `{n,m}`, as in the GNU C library.
pub const MAX_REPETITION: u32 = 32_767;

fn escape_hint(letter: char) -> &'static str {
    match letter {
        'd' => "; a digit is [0-9]",
        'D' => "; [^0-9] is what is no digit",
        'n' | 't' | 'r' => "; [[:space:]] is white space",
        _ => "; without the backslash it is the character itself",
    }
}

/// Translates an expression for an engine that runs without Unicode and ignores case.
///
/// # Errors
/// What the C library refuses too, back-references, and what POSIX leaves undefined.
pub(super) fn translate(pattern: &str) -> Result<String, PatternProblem> {
    let mut translation =
        Translation { out: String::with_capacity(pattern.len() + 8), atom: None, open: Vec::new() };
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => translation.escape(&mut rest)?,
            '[' => {
                let set = bracket(&mut rest)?;
                translation.class(&set);
            }
            '(' => {
                translation.open.push(translation.out.len());
                translation.out.push_str("(?:");
                translation.atom = None;
            }
            ')' => match translation.open.pop() {
                Some(start) => {
                    translation.out.push(')');
                    translation.atom = Some(start);
                }
                // Without a partner it is a character.
                None => translation.literal(')'),
            },
            '|' => {
                translation.out.push('|');
                translation.atom = None;
            }
            '^' | '$' => translation.anchor(if c == '^' { r"\A" } else { r"\z" }),
            '.' => {
                translation.begin_atom();
                translation.out.push('.');
            }
            '*' | '+' | '?' => {
                let mut sign = [0; 4];
                translation.repeat(c, c.encode_utf8(&mut sign))?;
            }
            '{' => {
                let interval = interval(&mut rest).ok_or(PatternProblem::Interval)?;
                translation.repeat(c, &interval)?;
            }
            other => translation.literal(other),
        }
    }
    if translation.open.is_empty() {
        Ok(translation.out)
    } else {
        Err(PatternProblem::UnclosedParenthesis)
    }
}

struct Translation {
    out: String,
    /// Where in `out` the thing begins that a repetition sign would repeat.
    atom: Option<usize>,
    /// Where the open groups begin.
    open: Vec<usize>,
}

impl Translation {
    fn begin_atom(&mut self) {
        self.atom = Some(self.out.len());
    }

    /// A place between characters, which cannot be repeated.
    fn anchor(&mut self, text: &str) {
        self.out.push_str(text);
        self.atom = None;
    }

    fn literal(&mut self, c: char) {
        self.begin_atom();
        if c.is_ascii_alphanumeric() {
            self.out.push(c);
            return;
        }
        let mut utf8 = [0; 4];
        self.out.push_str("(?:");
        for byte in c.encode_utf8(&mut utf8).bytes() {
            self.byte(byte);
        }
        self.out.push(')');
    }

    fn byte(&mut self, byte: u8) {
        // Writing to a String cannot fail.
        let _ = write!(self.out, r"\x{byte:02X}");
    }

    fn repeat(&mut self, sign: char, operator: &str) -> Result<(), PatternProblem> {
        let start = self.atom.ok_or(PatternProblem::NothingToRepeat(sign))?;
        // A group of its own: `a+?` is (a+)?, and not the crate's "as few as possible".
        self.out.insert_str(start, "(?:");
        self.out.push(')');
        self.out.push_str(operator);
        Ok(())
    }

    fn class(&mut self, set: &Set) {
        self.begin_atom();
        self.out.push('[');
        let mut from = 0;
        while let Some(start) = (from..256).find(|at| set.has(*at)) {
            let end = (start..256).take_while(|at| set.has(*at)).last().unwrap_or(start);
            let _ = write!(self.out, r"\x{start:02X}-\x{end:02X}");
            from = end + 1;
        }
        if from == 0 {
            // A class without members matches nothing.
            self.out.push_str(r"^\x00-\xFF");
        }
        self.out.push(']');
    }

    fn escape(&mut self, rest: &mut core::str::Chars<'_>) -> Result<(), PatternProblem> {
        match rest.next() {
            None => return Err(PatternProblem::TrailingBackslash),
            Some('w') => self.class(&Set::of(|byte| byte.is_ascii_alphanumeric() || byte == b'_')),
            Some('W') => {
                self.class(&Set::of(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_')));
            }
            Some('s') => self.class(&Set::of(is_space)),
            Some('S') => self.class(&Set::of(|byte| !is_space(byte))),
            Some('b') => self.anchor(r"\b"),
            Some('B') => self.anchor(r"\B"),
            Some('<') => self.anchor(r"\b{start}"),
            Some('>') => self.anchor(r"\b{end}"),
            Some('`') => self.anchor(r"\A"),
            Some('\'') => self.anchor(r"\z"),
            Some(digit @ '1'..='9') => return Err(PatternProblem::BackReference(digit)),
            Some(letter) if letter.is_ascii_alphanumeric() => {
                return Err(PatternProblem::Escape(letter));
            }
            Some(other) => self.literal(other),
        }
        Ok(())
    }
}

/// What follows `{` up to and with `}`, in the crate's syntax.
fn interval(rest: &mut core::str::Chars<'_>) -> Option<String> {
    let (inside, behind) = rest.as_str().split_once('}')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|n| plain && *n <= MAX_REPETITION)
    };
    let text = match inside.split_once(',') {
        None => format!("{{{}}}", number(inside)?),
        Some(("", "")) => return None,
        Some(("", most)) => format!("{{0,{}}}", number(most)?),
        Some((least, "")) => format!("{{{},}}", number(least)?),
        Some((least, most)) => {
            let (least, most) = (number(least)?, number(most)?);
            if least > most {
                return None;
            }
            format!("{{{least},{most}}}")
        }
    };
    *rest = behind.chars();
    Some(text)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A set of bytes.
struct Set([bool; 256]);

impl Set {
    fn of(mut member: impl FnMut(u8) -> bool) -> Self {
        let mut set = Self([false; 256]);
        for (byte, slot) in (0_u8..=255).zip(&mut set.0) {
            *slot = member(byte);
        }
        set
    }

    fn has(&self, byte: usize) -> bool {
        self.0.get(byte).copied().unwrap_or(false)
    }

    fn add(&mut self, byte: u8) {
        if let Some(slot) = self.0.get_mut(usize::from(byte)) {
            *slot = true;
        }
    }

    /// Adds the other case of each letter.
    fn fold(&mut self) {
        for letter in b'a'..=b'z' {
            let upper = letter.to_ascii_uppercase();
            if self.has(letter.into()) || self.has(upper.into()) {
                self.add(letter);
                self.add(upper);
            }
        }
    }
}

/// A bracket expression behind its `[`.
fn bracket(rest: &mut core::str::Chars<'_>) -> Result<Set, PatternProblem> {
    let mut set = Set::of(|_| false);
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut first = true;
    loop {
        let c = rest.next().ok_or(PatternProblem::UnclosedBracket)?;
        if c == ']' && !first {
            break;
        }
        first = false;
        let start = match element(c, rest)? {
            Element::Class(class) => {
                for byte in 0_u8..=255 {
                    if class(byte) {
                        set.add(byte);
                    }
                }
                continue;
            }
            Element::Byte(byte) => byte,
        };
        let mut ahead = rest.clone();
        // A hyphen before the closing bracket is a character.
        if ahead.next() == Some('-') && !matches!(ahead.clone().next(), Some(']') | None) {
            *rest = ahead;
            let c = rest.next().ok_or(PatternProblem::UnclosedBracket)?;
            let Element::Byte(end) = element(c, rest)? else {
                return Err(PatternProblem::Range(char::from(start), '['));
            };
            if start > end {
                return Err(PatternProblem::Range(char::from(start), char::from(end)));
            }
            (start..=end).for_each(|byte| set.add(byte));
        } else {
            set.add(start);
        }
    }
    set.fold();
    Ok(if negated { Set::of(|byte| !set.has(byte.into())) } else { set })
}

enum Element {
    Byte(u8),
    Class(fn(u8) -> bool),
}

/// An element of a bracket expression that begins with `c`.
fn element(c: char, rest: &mut core::str::Chars<'_>) -> Result<Element, PatternProblem> {
    let byte = |c: char| {
        u8::try_from(c)
            .ok()
            .filter(u8::is_ascii)
            .map(Element::Byte)
            .ok_or(PatternProblem::BeyondAscii(c))
    };
    let Some(kind @ (':' | '.' | '=')) = rest.as_str().chars().next().filter(|_| c == '[') else {
        return byte(c);
    };
    let inside = rest.as_str().get(1..).unwrap_or_default();
    let end = match kind {
        ':' => ":]",
        '.' => ".]",
        _ => "=]",
    };
    let (name, behind) = inside.split_once(end).ok_or(PatternProblem::UnclosedBracket)?;
    *rest = behind.chars();
    if kind != ':' {
        let mut characters = name.chars();
        return match (characters.next(), characters.next()) {
            (Some(only), None) => byte(only),
            _ => Err(PatternProblem::CollatingElement(name.to_owned())),
        };
    }
    Ok(Element::Class(match name {
        "alnum" => |byte| byte.is_ascii_alphanumeric(),
        "alpha" => |byte| byte.is_ascii_alphabetic(),
        "blank" => |byte| matches!(byte, b' ' | b'\t'),
        "cntrl" => |byte| byte.is_ascii_control(),
        "digit" => |byte| byte.is_ascii_digit(),
        "graph" => |byte| byte.is_ascii_graphic(),
        "lower" => |byte| byte.is_ascii_lowercase(),
        "print" => |byte| byte.is_ascii_graphic() || byte == b' ',
        "punct" => |byte| byte.is_ascii_punctuation(),
        "space" => is_space,
        "upper" => |byte| byte.is_ascii_uppercase(),
        "xdigit" => |byte| byte.is_ascii_hexdigit(),
        other => return Err(PatternProblem::UnknownClass(other.to_owned())),
    }))
}
