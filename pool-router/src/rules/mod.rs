//! What the operator says about routing, compiled: Pgpool-II's function lists, query patterns and
//! redirect lists.
//!
//! [`Rules::compile`] turns the lists of [`Settings`] into something that can be asked; after
//! [`load`](crate::config::load) it cannot fail, because loading does the same to find faults.
//! Regular expressions are POSIX, in Pgpool-II's syntax ([`PatternProblem`] lists what is refused);
//! matching takes time linear in the text, and memory bounded by [`PATTERNS_SIZE`] for each list.

mod ere;
mod functions;
mod patterns;
mod redirect;
mod relationship;

use std::borrow::Cow;

use memchr::memchr;

use crate::classify::{FunctionFact, Name};
use crate::config::Settings;

pub use ere::{MAX_REPETITION, PatternProblem};
pub use functions::FunctionMemo;
pub use patterns::PATTERNS_SIZE;
pub use redirect::{Preference, PreferredNode, RedirectProblem, SessionNames};
pub use relationship::{DbObject, Relationship, RelationshipProblem};

use functions::FunctionRule;
use patterns::{Faulty, PatternList};
use redirect::RedirectList;

/// An entry of a list that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {}{problem}", .entry.as_ref().map(|entry| format!("`{entry}`: ")).unwrap_or_default())]
pub struct RuleError {
    /// The setting.
    pub setting: &'static str,
    /// The entry; `None` when it is the list as a whole.
    pub entry: Option<String>,
    /// What is wrong with it.
    pub problem: RuleProblem,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleProblem {
    /// Its regular expression.
    #[error(transparent)]
    Pattern(#[from] PatternProblem),
    /// What a redirect list says besides.
    #[error(transparent)]
    Redirect(#[from] RedirectProblem),
    /// A pair of objects.
    #[error(transparent)]
    Relationship(#[from] RelationshipProblem),
}

impl RuleProblem {
    /// What would be accepted, in words.
    #[must_use]
    pub const fn accepted(&self) -> &'static str {
        match self {
            Self::Pattern(_) => "POSIX extended regular expressions without back-references",
            Self::Redirect(_) => {
                "pattern:node or pattern:node(ratio), where node is primary, standby or a node id \
                 and ratio is 0.0 to 1.0"
            }
            Self::Relationship(_) => "object:object, where a function is written name()",
        }
    }
}

/// The lists, ready to be asked. Immutable, so that all sessions share one.
#[derive(Debug, Clone)]
pub struct Rules {
    functions: FunctionRule,
    /// `primary_routing_query_pattern_list`.
    statements: PatternList,
    /// `allow_sql_comments`.
    allow_comments: bool,
    /// `ignore_leading_white_space`.
    ignore_white_space: bool,
    application_names: RedirectList,
    databases: RedirectList,
    users: RedirectList,
}

impl Rules {
    /// Compiles what the settings say.
    ///
    /// # Errors
    /// Every entry that is not accepted. Settings that [`load`](crate::config::load) has answered
    /// have none.
    pub fn compile(settings: &Settings) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let functions = FunctionRule::compile(
            collect(&mut errors, "write_function_list", |name| {
                patterns(name, &settings.write_function_list)
            }),
            collect(&mut errors, "read_only_function_list", |name| {
                patterns(name, &settings.read_only_function_list)
            }),
        );
        let statements = collect(&mut errors, "primary_routing_query_pattern_list", |name| {
            patterns(name, &settings.primary_routing_query_pattern_list)
        });
        let mut redirects = |name: &'static str, entries: &[String]| {
            collect(&mut errors, name, |name| RedirectList::compile(name, entries))
        };
        let application_names = redirects(
            "app_name_redirect_preference_list",
            &settings.app_name_redirect_preference_list,
        );
        let databases = redirects(
            "database_redirect_preference_list",
            &settings.database_redirect_preference_list,
        );
        let users =
            redirects("user_redirect_preference_list", &settings.user_redirect_preference_list);
        for entry in &settings.dml_adaptive_object_relationship_list {
            if let Err(problem) = Relationship::parse(entry) {
                errors.push(RuleError {
                    setting: "dml_adaptive_object_relationship_list",
                    entry: Some(entry.clone()),
                    problem: problem.into(),
                });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            functions,
            statements,
            allow_comments: settings.allow_sql_comments,
            ignore_white_space: settings.ignore_leading_white_space,
            application_names,
            databases,
            users,
        })
    }

    /// What the function lists say about a function that is called; `None`: nothing, so that the
    /// catalogue and the built-in lists decide.
    ///
    /// * `write_function_list`: a listed function writes, every other one is harmless.
    /// * `read_only_function_list`: a listed function is harmless, every other one writes.
    /// * Both: as the second, and what is in both writes. (Pgpool-II documents this; its program
    ///   does not look at the first list then.)
    ///
    /// What PostgreSQL's own functions do is not for a list to say: `nextval` and its kin are
    /// never harmless here, where Pgpool-II sends them to a standby that refuses them.
    ///
    /// The name is compared as Pgpool-II does: with its schema if it is written with one, without
    /// quotes, and without regard to case.
    #[inline]
    pub fn function(&self, name: Name<'_>, memo: &mut FunctionMemo) -> Option<FunctionFact> {
        if matches!(self.functions, FunctionRule::Unlisted) {
            return None;
        }
        self.functions.fact(name, memo)
    }

    /// Whether `t.name` may be the call `name(t)` of a function that is listed as writing. For
    /// names that are mostly columns, of which "not listed" says nothing.
    #[inline]
    pub fn attribute_writes(&self, name: Name<'_>, memo: &mut FunctionMemo) -> bool {
        match &self.functions {
            FunctionRule::Unlisted | FunctionRule::ReadOnly { .. } => false,
            rule @ FunctionRule::Write(_) => {
                let bare = Name { qualifier: None, ..name };
                rule.fact(bare, memo) == Some(FunctionFact::Writes)
            }
        }
    }

    /// The setting that sends a statement to the primary although its text only reads.
    ///
    /// * `allow_sql_comments` (off): it begins with a comment.
    /// * `ignore_leading_white_space` (off): it begins with white space.
    /// * `primary_routing_query_pattern_list`: all of it matches a pattern, with blanks before and
    ///   semicolons behind, as it is but without double quotes.
    #[inline]
    #[must_use]
    pub fn forces_primary(&self, sql: &[u8]) -> Option<&'static str> {
        if self.statements.is_empty() && sql.first().is_some_and(u8::is_ascii_alphabetic) {
            return None;
        }
        self.forces_primary_slowly(sql)
    }

    fn forces_primary_slowly(&self, sql: &[u8]) -> Option<&'static str> {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
        let blanks = sql.iter().take_while(|byte| is_blank(byte)).count();
        let statement = sql.get(blanks..).unwrap_or_default();
        // Blanks alone ask for nothing.
        if blanks > 0 && !self.ignore_white_space && !statement.is_empty() {
            return Some("ignore_leading_white_space");
        }
        if !self.allow_comments && (statement.starts_with(b"/*") || statement.starts_with(b"--")) {
            return Some("allow_sql_comments");
        }
        if !self.statements.is_empty() && self.statements.matches(&without_quotes(sql)) {
            return Some("primary_routing_query_pattern_list");
        }
        None
    }

    /// The node that a session's names ask for: the first match in the list of application names,
    /// else of databases, else of users.
    #[must_use]
    pub fn preference(&self, names: &SessionNames<'_>) -> Option<Preference> {
        // A session without an application name matches no pattern, not even `.*`.
        let application = Some(names.application_name).filter(|name| !name.is_empty());
        application
            .and_then(|name| self.application_names.first(name))
            .or_else(|| self.databases.first(names.database))
            .or_else(|| self.users.first(names.user))
    }
}

impl Default for Rules {
    /// The rules of an empty file.
    fn default() -> Self {
        Self {
            functions: FunctionRule::Unlisted,
            statements: PatternList::default(),
            allow_comments: false,
            ignore_white_space: true,
            application_names: RedirectList::default(),
            databases: RedirectList::default(),
            users: RedirectList::default(),
        }
    }
}

impl Rules {
    /// The settings that name nodes by their ids, and those.
    pub(crate) fn named_nodes(&self) -> impl Iterator<Item = (&'static str, u16)> {
        [
            ("app_name_redirect_preference_list", &self.application_names),
            ("database_redirect_preference_list", &self.databases),
            ("user_redirect_preference_list", &self.users),
        ]
        .into_iter()
        .flat_map(|(setting, list)| list.node_ids().map(move |id| (setting, id)))
    }
}

/// Pgpool-II compares texts without their double quotes.
fn without_quotes(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'"', text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.iter().copied().filter(|byte| *byte != b'"').collect())
}

/// The list, or an empty one and its errors.
fn collect<T: Default>(
    errors: &mut Vec<RuleError>,
    setting: &'static str,
    compile: impl FnOnce(&'static str) -> Result<T, Vec<RuleError>>,
) -> T {
    compile(setting).unwrap_or_else(|faults| {
        errors.extend(faults);
        T::default()
    })
}

fn patterns(setting: &'static str, entries: &[String]) -> Result<PatternList, Vec<RuleError>> {
    let written: Vec<String> = entries.iter().map(|entry| plain(entry)).collect();
    PatternList::compile(written.iter().map(String::as_str))
        .map_err(|faulty| faults(setting, entries, faulty))
}

/// An entry without its double quotes: the texts that it is compared with have none. A backslash
/// before a single quote is how Pgpool-II writes the quote.
fn plain(entry: &str) -> String {
    entry.replace('"', "").replace("\\'", "'")
}

fn faults(setting: &'static str, entries: &[String], faulty: Vec<Faulty>) -> Vec<RuleError> {
    faulty
        .into_iter()
        .map(|(at, problem)| RuleError {
            setting,
            entry: at.and_then(|at| entries.get(at)).cloned(),
            problem: problem.into(),
        })
        .collect()
}
