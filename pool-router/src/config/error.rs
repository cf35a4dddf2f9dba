//! What a configuration file can do wrong, and where.

use std::fmt;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// What Pgpool-II's container image sets where there is no `pgpool.conf`.
    Image,
    /// A line of a file.
    Line {
        /// The file's name, as given to the loader or found in an `include`.
        file: Arc<str>,
        /// The line, counted from 1.
        line: u32,
    },
    /// A file or folder as a whole.
    File(Arc<str>),
    /// An environment variable, by its name.
    Variable(Arc<str>),
    /// `--set` on the command line.
    Flag,
}

impl Origin {
    /// A line of a file.
    #[must_use]
    pub fn line(file: &Arc<str>, line: u32) -> Self {
        Self::Line { file: Arc::clone(file), line }
    }

    /// A file as a whole.
    #[must_use]
    pub fn whole(file: &Arc<str>) -> Self {
        Self::File(Arc::clone(file))
    }

    /// An environment variable.
    #[must_use]
    pub fn variable(name: &str) -> Self {
        Self::Variable(Arc::from(name))
    }

    /// The line, counted from 1, where there is one.
    #[must_use]
    pub fn line_number(&self) -> Option<u32> {
        match self {
            Self::Line { line, .. } => Some(*line),
            Self::Image | Self::File(_) | Self::Variable(_) | Self::Flag => None,
        }
    }

    /// Whether both are of the same kind: lines of files, variables, flags. Only among those does
    /// what is repeated add up.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("default without pgpool.conf"),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::File(file) => f.write_str(file),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag --set"),
        }
    }
}

/// One fault of `pgpool.conf`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct ConfigError {
    /// Where the fault is.
    pub origin: Origin,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a line, or with the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A character that can stand neither for a name nor in an unquoted value.
    #[error(
        "unexpected {found:?}; accepted: `name = value`, where a value that holds blanks or any \
         of # ; , = \" is put in single quotes"
    )]
    UnexpectedCharacter {
        /// The character.
        found: char,
    },
    /// A word that is no parameter name stands where one must begin.
    #[error(
        "a parameter name was expected, found `{found}`; accepted: a letter, then letters, digits \
         and underscores"
    )]
    NotAName {
        /// The word.
        found: String,
    },
    /// A single-quoted string that does not end on its line.
    #[error(
        "the value of `{name}` opens a single quote that is not closed on this line; accepted: \
         '...' on one line, with '' for a quote inside"
    )]
    UnclosedQuote {
        /// The parameter.
        name: String,
    },
    /// A name without a value.
    #[error("`{name}` has no value; accepted: `{name} = value` on one line, `''` for an empty one")]
    MissingValue {
        /// The parameter.
        name: String,
    },
    /// A name that neither Pgpool-II nor pgweir knows.
    #[error("unknown parameter `{name}`{}", hint(*.suggestion))]
    UnknownParameter {
        /// The name as written.
        name: String,
        /// The known name that resembles it most, if one does.
        suggestion: Option<&'static str>,
    },
    /// A per-node parameter without its node id.
    #[error("`{name}` needs a node id; accepted: {name}0 to {name}{max}", max = super::MAX_NODE_ID)]
    NodeIdMissing {
        /// The parameter.
        name: &'static str,
    },
    /// A per-node parameter with something else than a node id behind it.
    #[error(
        "`{found}` does not end in a node id; accepted: {name}0 to {name}{max}",
        max = super::MAX_NODE_ID
    )]
    NodeIdInvalid {
        /// The name as written.
        found: String,
        /// The parameter it seems to be.
        name: &'static str,
    },
    /// A value that the parameter's type does not admit.
    #[error("invalid value for `{name}`: `{found}`; accepted: {accepted}")]
    InvalidValue {
        /// The parameter, with its node id.
        name: String,
        /// The value as written.
        found: String,
        /// What the parameter accepts.
        accepted: String,
    },
    /// An entry of a list that the parameter does not admit.
    #[error("invalid entry of `{name}`: {entry}{reason}; accepted: {accepted}")]
    InvalidEntry {
        /// The parameter.
        name: &'static str,
        /// The entry in backquotes with a colon behind it; empty when all of them together are
        /// at fault.
        entry: String,
        /// What is wrong with it.
        reason: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// A value that Pgpool-II honours and pgweir will not pretend to.
    #[error("`{name} = {found}` is refused: {reason}; accepted: {accepted}")]
    Refused {
        /// The parameter.
        name: String,
        /// The value as written.
        found: String,
        /// Why it is refused.
        reason: &'static str,
        /// What the parameter accepts.
        accepted: String,
    },
    /// An included file could not be read.
    #[error("cannot include `{path}`: {reason}")]
    Include {
        /// The path asked for.
        path: String,
        /// What the reader said.
        reason: String,
    },
    /// Files include one another too deeply, or too many are included.
    #[error(
        "`{path}` is not included: accepted are at most {depth} levels of include and {files} \
         files in all",
        depth = super::MAX_INCLUDE_DEPTH,
        files = super::MAX_INCLUDES
    )]
    TooManyIncludes {
        /// The path asked for.
        path: String,
    },
    /// Not one backend is configured.
    #[error(
        "no backend is configured; accepted: at least backend_hostname0 in the file, or \
         PGPOOL_PARAMS_BACKEND_HOSTNAME0 in the environment"
    )]
    NoBackend,
    /// Two nodes both claim to be the primary.
    #[error(
        "backend_flag{first} and backend_flag{second} both say ALWAYS_PRIMARY; accepted: one node"
    )]
    SeveralPrimaries {
        /// The lowest node id with the flag.
        first: u16,
        /// Another one.
        second: u16,
    },
    /// Neither a TCP address nor a Unix socket to listen on.
    #[error(
        "nothing to listen on: listen_addresses and unix_socket_directories are both empty; \
         accepted: at least one of them set"
    )]
    NothingToListenOn,
    /// Two settings contradict each other.
    #[error("`{name} = {found}` does not fit the other settings; accepted: {accepted}")]
    Contradiction {
        /// The parameter.
        name: String,
        /// Its value.
        found: String,
        /// What would fit.
        accepted: String,
    },
}

fn hint(suggestion: Option<&'static str>) -> String {
    suggestion.map_or_else(
        || {
            String::from(
                "; accepted: the parameters of Pgpool-II 4.1 to 4.7 and those of pgweir (see the \
                 settings reference)",
            )
        },
        |name| format!("; did you mean `{name}`?"),
    )
}

/// Every fault found in a configuration, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.0)
    }
}

impl std::error::Error for ConfigErrors {}

/// One item a line, without a newline at the end.
pub(crate) fn write_lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, all: &[T]) -> fmt::Result {
    for (i, one) in all.iter().enumerate() {
        if i > 0 {
            f.write_str("\n")?;
        }
        one.fmt(f)?;
    }
    Ok(())
}

/// How loudly a notice is to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Harmless: something has no effect here and nobody will miss it.
    Notice,
    /// The operator will probably see another behaviour than the file asks for.
    Warning,
}

/// Something the operator should know about a file that is accepted nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How loudly to say it.
    pub level: Level,
    /// Where the (first) line concerned is; `None` when a line is missing.
    pub origin: Option<Origin>,
    /// What to say.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
