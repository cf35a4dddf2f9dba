//! `pool_ident.conf`: which names of certificates may be which roles.
//!
//! The grammar is that of PostgreSQL's `pg_ident.conf` (chapter "User Name Maps", PostgreSQL 16)
//! without files that it includes, groups and continued lines, which are errors.

use std::sync::Arc;

use regex::Regex;

use super::expression;
use super::parse::{Token, fields, single};
use super::{HbaError, HbaErrors, HbaProblem, MAX_RECORDS};
use crate::config::Origin;

/// What stands in a role's name for what the first group of the expression holds.
const GROUP: &str = "\\1";

const FORM: &str = "MAPNAME SYSTEM-USERNAME DATABASE-USERNAME";

/// The maps of `pool_ident.conf`.
#[derive(Debug, Clone, Default)]
pub struct UserMaps {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    map: String,
    system: SystemUser,
    database: DatabaseUser,
}

#[derive(Debug, Clone)]
enum SystemUser {
    Name(String),
    Expression(Regex),
}

#[derive(Debug, Clone)]
enum DatabaseUser {
    All,
    Name(String),
    /// What stands before and behind the place of the group.
    WithGroup(String, String),
    Expression(Regex),
}

impl UserMaps {
    /// Reads the text of the file, which is named `file` in messages.
    ///
    /// # Errors
    ///
    /// Every fault of every line.
    pub fn parse(file: &str, text: &str) -> Result<Self, HbaErrors> {
        let name: Arc<str> = Arc::from(file);
        let mut lines = Vec::new();
        let mut errors = Vec::new();
        for (number, text) in (1_u32..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
            let read = match line(text) {
                Ok(Some(_)) if lines.len() >= MAX_RECORDS => Err(HbaProblem::TooManyRecords),
                read => read,
            };
            match read {
                Ok(line) => lines.extend(line),
                Err(problem) => {
                    let stops = problem == HbaProblem::TooManyRecords;
                    errors.push(HbaError { origin: Origin::line(&name, number), problem });
                    if stops {
                        break;
                    }
                }
            }
        }
        if errors.is_empty() { Ok(Self { lines }) } else { Err(HbaErrors(errors)) }
    }

    /// Whether there is such a map, which has at least one line.
    #[must_use]
    pub fn has(&self, map: &str) -> bool {
        self.lines.iter().any(|line| line.map == map)
    }

    /// Whether `map` lets the owner of a certificate be `user`.
    #[must_use]
    pub fn admits(&self, map: &str, system: &str, user: &str) -> bool {
        for line in self.lines.iter().filter(|line| line.map == map) {
            let group = match &line.system {
                SystemUser::Name(name) if name == system => None,
                SystemUser::Name(_) => continue,
                SystemUser::Expression(expression) => match expression.captures(system) {
                    Some(captures) => captures.get(1),
                    None => continue,
                },
            };
            let fits = match (&line.database, group) {
                (DatabaseUser::All, _) => true,
                (DatabaseUser::Name(name), _) => name == user,
                (DatabaseUser::Expression(expression), _) => expression.is_match(user),
                (DatabaseUser::WithGroup(before, behind), Some(group)) => user
                    .strip_prefix(before.as_str())
                    .and_then(|user| user.strip_suffix(behind.as_str()))
                    .is_some_and(|user| user == group.as_str()),
                // As in PostgreSQL: a group that holds nothing ends the search.
                (DatabaseUser::WithGroup(..), None) => return false,
            };
            if fits {
                return true;
            }
        }
        false
    }
}

/// The first group of an expression.
enum Group {
    Missing,
    /// PostgreSQL could find something else in it.
    Alternates,
    Plain,
}

fn line(text: &str) -> Result<Option<Line>, HbaProblem> {
    // PostgreSQL joins such a line to the next one, even in the middle of a word.
    if text.ends_with('\\') {
        return Err(HbaProblem::Continuation);
    }
    let mut fields = fields(text)?.into_iter();
    let Some(first) = fields.next() else { return Ok(None) };
    let map = plain(single(Some(first), "map name", FORM)?)?;
    if ["include", "include_if_exists", "include_dir"].iter().any(|word| map.is(word)) {
        return Err(HbaProblem::MapInclude { found: map.text });
    }
    let system = plain(single(fields.next(), "system user name", FORM)?)?;
    let database = plain(single(fields.next(), "database user name", FORM)?)?;
    if let Some(more) = fields.flatten().next() {
        return Err(HbaProblem::MapExtra { found: more.text });
    }
    let (system, group) = match compiled(&system)? {
        Some(expression) => {
            let group = match expression.captures_len() {
                ..=1 => Group::Missing,
                _ if expression::group_alternates(&expression) => Group::Alternates,
                _ => Group::Plain,
            };
            (SystemUser::Expression(expression), Some(group))
        }
        None => (SystemUser::Name(system.text), None),
    };
    let database = if let Some(expression) = compiled(&database)? {
        DatabaseUser::Expression(expression)
    } else if database.is("all") {
        DatabaseUser::All
    } else if database.marked('+').is_some() {
        return Err(HbaProblem::MapGroup { found: database.text });
    } else {
        match (database.text.split_once(GROUP), group) {
            (Some(_), Some(Group::Missing)) => {
                return Err(HbaProblem::NoGroup { found: database.text });
            }
            (Some(_), Some(Group::Alternates)) => {
                return Err(HbaProblem::GroupAlternates { found: database.text });
            }
            (Some((before, behind)), Some(Group::Plain)) => {
                DatabaseUser::WithGroup(before.to_owned(), behind.to_owned())
            }
            _ => DatabaseUser::Name(database.text),
        }
    };
    Ok(Some(Line { map: map.text, system, database }))
}

/// A word that names no file.
fn plain(token: Token) -> Result<Token, HbaProblem> {
    match token.marked('@') {
        Some(_) => Err(HbaProblem::MapInclude { found: token.text }),
        None => Ok(token),
    }
}

/// The expression that a word is, quoted or not: only quoted ones may have blanks and commas.
fn compiled(token: &Token) -> Result<Option<Regex>, HbaProblem> {
    let Some(text) = token.text.strip_prefix('/') else { return Ok(None) };
    let compiled = expression::compile(text);
    let found = || token.text.clone();
    compiled.map(Some).map_err(|problem| HbaProblem::Expression { found: found(), problem })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ExpressionProblem;
    use super::*;

    fn maps(text: &str) -> UserMaps {
        UserMaps::parse("etc/pool_ident.conf", text).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn who_may_be_whom() {
        let maps = maps(
            "# MAPNAME SYSTEM-USERNAME DATABASE-USERNAME\n\n\
             people  ann          bob   # comment\n\
             people  ann          ann\n\
             people  \"a b, c\"   \"all\"\n\
             roots   root         all\n\
             mail    /^(.*)@example\\.com$   \\1\n\
             mail    /^(.*)@example\\.org$   \"x_\\1_y\"\n\
             mail    \"/^([a-z]{1,3}), guest$\"  guest\n\
             mail    /^svc-       /^svc_\n",
        );
        for (map, system, user, wanted) in [
            ("people", "ann", "bob", true),
            ("people", "ann", "ann", true),
            ("people", "ann", "eve", false),
            ("people", "Ann", "ann", false),
            ("people", "bob", "bob", false),
            ("people", "a b, c", "all", true),
            ("people", "a b, c", "eve", false),
            ("People", "ann", "ann", false),
            ("roots", "root", "eve", true),
            ("roots", "ann", "ann", false),
            ("mail", "eve@example.com", "eve", true),
            ("mail", "eve@example.com", "ann", false),
            ("mail", "eve@example.com.evil", "eve", false),
            ("mail", "eve@exampleXcom", "eve", false),
            // What a certificate says is a name, and never a keyword or an expression.
            ("mail", "all@example.com", "eve", false),
            ("mail", "/.@example.com", "eve", false),
            ("mail", "eve@example.org", "x_eve_y", true),
            ("mail", "eve@example.org", "eve", false),
            ("mail", "_y@example.org", "x_y", false),
            ("mail", "abc, guest", "guest", true),
            ("mail", "abcd, guest", "guest", false),
            ("mail", "svc-1", "svc_anything", true),
            ("mail", "svc-1", "my_svc_", false),
            ("none", "ann", "ann", false),
        ] {
            assert_eq!(maps.admits(map, system, user), wanted, "{map} {system} {user}");
        }
        assert!(maps.has("roots") && !maps.has("none"));
    }

    #[test]
    fn a_group_that_holds_nothing_ends_the_search() {
        let maps = maps("m /^(a)?b \\1\nm b b\n");
        assert!(maps.admits("m", "ab", "a"));
        assert!(!maps.admits("m", "b", ""));
        assert!(!maps.admits("m", "b", "b"));
    }

    #[test]
    fn every_fault() {
        let word = str::to_owned;
        let missing = |missing| HbaProblem::Incomplete { missing, form: FORM };
        for (text, wanted) in [
            ("m", missing("system user name")),
            ("m a", missing("database user name")),
            ("m a,b c", HbaProblem::List { field: "system user name" }),
            ("m a b c", HbaProblem::MapExtra { found: word("c") }),
            ("m a +staff", HbaProblem::MapGroup { found: word("+staff") }),
            ("m @users all", HbaProblem::MapInclude { found: word("@users") }),
            ("include other.conf", HbaProblem::MapInclude { found: word("include") }),
            ("m \"a b", HbaProblem::UnclosedQuote),
            ("m a \\", HbaProblem::Continuation),
            ("m a b\\", HbaProblem::Continuation),
            ("m /^a$ \\1", HbaProblem::NoGroup { found: word("\\1") }),
            ("m /^(?:a)$ \\1", HbaProblem::NoGroup { found: word("\\1") }),
            ("m /^(a|ab)(.*)$ \\1", HbaProblem::GroupAlternates { found: word("\\1") }),
            (
                "m /(a b",
                HbaProblem::Expression { found: word("/(a"), problem: ExpressionProblem::Invalid },
            ),
            (
                "m a /(?i)b",
                HbaProblem::Expression {
                    found: word("/(?i)b"),
                    problem: ExpressionProblem::Extension,
                },
            ),
        ] {
            let errors = UserMaps::parse("f", &format!("\nm a b\n{text}\n")).unwrap_err();
            let origin = errors.0.first().map(|error| error.origin.to_string());
            assert_eq!(origin.as_deref(), Some("f:3"), "{text}");
            assert_eq!(errors.0.first().map(|error| &error.problem), Some(&wanted), "{text}");
        }
        // Without an expression, and in quotes, these are names.
        let maps = maps("m a \\1\nm b \"+staff\"\nm \"@c\" d\n");
        assert!(maps.admits("m", "a", "\\1") && maps.admits("m", "b", "+staff"));
        assert!(maps.admits("m", "@c", "d"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s)(m| |/|\\(|\\\\1|\"|\n|,|.){0,60}") {
            if let Ok(maps) = UserMaps::parse("f", &text) {
                let _ = maps.admits("m", "m", "m");
            }
        }
    }
}
