//! A list of regular expressions, compiled together.

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::ere::{PatternProblem, translate};

/// Bytes that one list may take when compiled, and as much again for what matching finds out.
pub const PATTERNS_SIZE: usize = 1 << 20;

/// How deep groups may nest.
const NEST_LIMIT: u32 = 128;

/// Expressions of one setting, matched together in time linear in the text.
#[derive(Debug, Clone, Default)]
pub(super) struct PatternList(Option<RegexSet>);

/// An expression that is not accepted, by its place in the list; `None`: the list as a whole.
pub(super) type Faulty = (Option<usize>, PatternProblem);

impl PatternList {
    /// Compiles entries as Pgpool-II does (`add_regex_pattern`, `add_regex_array`): a `^` is put
    /// before an entry that does not begin with one, a `$` behind one that does not end with one,
    /// whatever stands between. So `a|b` matches what begins with `a` or ends with `b`.
    pub(super) fn compile<'p>(
        entries: impl IntoIterator<Item = &'p str>,
    ) -> Result<Self, Vec<Faulty>> {
        let mut faulty = Vec::new();
        let mut patterns = Vec::new();
        for (at, entry) in entries.into_iter().enumerate() {
            match translate(&anchored(entry)) {
                // Alone first: an error of the set would not say which one it is.
                Ok(pattern) => match set(core::slice::from_ref(&pattern)) {
                    Ok(_) => patterns.push(pattern),
                    Err(problem) => faulty.push((Some(at), problem)),
                },
                Err(problem) => faulty.push((Some(at), problem)),
            }
        }
        if !faulty.is_empty() {
            return Err(faulty);
        }
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        match set(&patterns) {
            Ok(set) => Ok(Self(Some(set))),
            Err(problem) => Err(vec![(None, problem)]),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|set| set.is_match(text))
    }

    /// The first entry that matches.
    pub(super) fn first(&self, text: &[u8]) -> Option<usize> {
        self.0.as_ref()?.matches(text).iter().next()
    }
}

fn anchored(entry: &str) -> String {
    let start = if entry.starts_with('^') { "" } else { "^" };
    let end = if entry.ends_with('$') { "" } else { "$" };
    format!("{start}{entry}{end}")
}

fn set(patterns: &[String]) -> Result<RegexSet, PatternProblem> {
    RegexSetBuilder::new(patterns)
        .unicode(false)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .nest_limit(NEST_LIMIT)
        .size_limit(PATTERNS_SIZE)
        .dfa_size_limit(PATTERNS_SIZE)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternProblem::TooBig,
            // The translation is valid as it is; only its nesting can be refused.
            _ => PatternProblem::TooDeep,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entry: &str) -> PatternList {
        PatternList::compile([entry]).unwrap_or_else(|e| panic!("{entry}: {e:?}"))
    }

    fn problem(entry: &str) -> PatternProblem {
        let mut faulty = PatternList::compile([entry]).map(|_| ()).unwrap_err();
        assert_eq!(faulty.len(), 1);
        faulty.remove(0).1
    }

    /// Rows chosen from a comparison with `regcomp` and `regexec` of the GNU C library, under the
    /// flags and anchors of Pgpool-II: 90,000 random expressions, each on 14 texts, no difference.
    #[test]
    fn expressions_match_as_in_the_c_library() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("f_vol", &["f_vol", "F_VOL"], &["f_vol2", "af_vol", "f_vol\n", ""]),
            ("f_.*", &["f_", "f_a", "f_\n"], &["sc.f_a", "f"]),
            ("sc.f_vol2", &["sc.f_vol2", "scxf_vol2"], &["f_vol2"]),
            (r"sc\.f", &["sc.f"], &["scxf"]),
            ("^f$", &["f"], &["ff"]),
            ("^f", &["f"], &["fa"]),
            // Only the first alternative is held at the start, only the last one at the end.
            ("a|b", &["a", "axx", "xxb"], &["xxa", "bxx"]),
            ("(a|b)", &["a", "B"], &["ax", "xb"]),
            ("a+?", &["", "a", "aaa"], &["b"]),
            ("a**", &["", "aaaa"], &["b"]),
            ("(ab){2}", &["abab"], &["ab", "ababab"]),
            ("a{2,}", &["aa", "aaaa"], &["a"]),
            ("a{,2}", &["", "a", "aa"], &["aaa"]),
            ("a{1,2}", &["a", "aa"], &["", "aaa"]),
            ("a}", &["a}"], &["a"]),
            ("a)", &["a)"], &["a"]),
            ("()", &[""], &["a"]),
            ("(|a)b", &["b", "ab"], &["a"]),
            ("x.y", &["x\ny", "x y"], &["xy"]),
            ("[^a]", &["b", "\n", "B"], &["a", "A", "bb"]),
            ("[]a]+", &["]a]", "A"], &["b"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[a-c]x", &["bx", "BX"], &["dx"]),
            (r"[\.]", &["\\", "."], &["a"]),
            ("[a&&b~~c]", &["&", "~", "b"], &["&&"]),
            ("[[:digit:]_]+", &["1_2"], &["a"]),
            ("[[:upper:]]+", &["aB"], &["1"]),
            ("[^[:space:]]+", &["ab"], &["a b", "\x0b"]),
            ("[[.-.]a]", &["-", "a"], &["."]),
            ("[[=a=]]", &["a", "A"], &["="]),
            (r"\w+", &["a_1"], &["a-b"]),
            (r"\W\S\s", &["-a "], &["aa "]),
            (r".*\bcat\b.*", &["the cat sat"], &["concat"]),
            (r".*\<cat\>.*", &["the cat sat"], &["concat", "cats"]),
            (r"SELECT \* FROM t;", &["select * from t;"], &["SELECT * FROM t"]),
            (r"a\/b\-c\_", &["a/b-c_"], &["ab"]),
            ("größe", &["größe", "GRößE"], &["große"]),
            ("ö+x", &["ööx"], &["x"]),
            ("a$b", &[], &["a$b", "ab"]),
            (r"cost\$", &["cost$", "cost$x"], &["cost"]),
        ];
        for (entry, matching, other) in table {
            let list = list(entry);
            for text in *matching {
                assert!(list.matches(text.as_bytes()), "{entry} does not match {text:?}");
            }
            for text in *other {
                assert!(!list.matches(text.as_bytes()), "{entry} matches {text:?}");
            }
        }
        assert!(list("a.b").matches(b"a\xffb"), "bytes, not characters");
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        use PatternProblem as P;
        let table: &[(&str, PatternProblem)] = &[
            ("*", P::NothingToRepeat('*')),
            ("a|*b", P::NothingToRepeat('*')),
            ("^*", P::NothingToRepeat('*')),
            ("(+)", P::NothingToRepeat('+')),
            ("(?i)a", P::NothingToRepeat('?')),
            (r"(a)\1", P::BackReference('1')),
            (r"\d+", P::Escape('d')),
            (r"\n", P::Escape('n')),
            ("[a", P::UnclosedBracket),
            ("[]", P::UnclosedBracket),
            ("[[:digit]", P::UnclosedBracket),
            ("[[:nose:]]", P::UnknownClass("nose".into())),
            ("[[.space.]]", P::CollatingElement("space".into())),
            ("[z-a]", P::Range('z', 'a')),
            ("[äb]", P::BeyondAscii('ä')),
            ("a{1", P::Interval),
            ("a{2,1}", P::Interval),
            ("a{x}", P::Interval),
            ("a{99999}", P::Interval),
            ("{", P::Interval),
            ("(a", P::UnclosedParenthesis),
            ("((((a{1000}){1000}){1000}){1000})", P::TooBig),
        ];
        for (entry, wanted) in table {
            assert_eq!(problem(entry), *wanted, "{entry}");
            let all = PatternList::compile(["a", entry, "b"]).map(|_| ()).unwrap_err();
            assert_eq!(all, [(Some(1), wanted.clone())]);
        }
        // A backslash at the end escapes the `$` that is put behind it, as in Pgpool-II.
        assert!(list(r"a\").matches(b"a$b"));
        let deep = format!("{}a{}", "(".repeat(200), ")".repeat(200));
        assert_eq!(problem(&deep), P::TooDeep);
        let long = "(".repeat(100_000);
        assert_eq!(problem(&long), P::UnclosedParenthesis);
    }

    #[test]
    fn the_first_entry_that_matches_counts() {
        let list = PatternList::compile(["x.*", "a.*", "ab"]).unwrap();
        assert_eq!(list.first(b"ab"), Some(1));
        assert_eq!(list.first(b"xb"), Some(0));
        assert_eq!(list.first(b"b"), None);
        assert!(PatternList::compile([]).unwrap().is_empty());
    }

    #[test]
    fn long_texts_take_linear_time() {
        // A backtracking matcher would need 2^n steps.
        let list = list("(a|aa)+b");
        assert!(!list.matches(&[b'a'; 100_000]));
    }
}
