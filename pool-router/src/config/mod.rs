//! `pgpool.conf`: text in, typed settings or all of its errors out.
//!
//! [`load`] reads the syntax of Pgpool-II's file, judges every line by the table of
//! [parameters](table::parameters) and answers [`Settings`], together with [`Notice`]s about what
//! is accepted but does not do what the file's author may expect. Files are read by the caller:
//! an `include` comes back as a path.
//!
//! Where Pgpool-II guesses (`maybe` is on, a misspelt name is ignored, `2 min` is 2 s), this
//! module either reads what is plainly meant or refuses the line and says what is accepted.

mod error;
mod load;
mod overrides;
pub mod reference;
mod scan;
mod settings;
mod succession;
pub mod table;
pub mod units;
mod value;

pub use error::{ConfigError, ConfigErrors, Level, Notice, Origin, Problem};
pub use load::{Given, Loaded, Sources, load, load_sources};
pub use overrides::{ClientLimits, GroupLimits, Override};
pub use settings::{
    Backend, BackendFlags, BackendHost, ClusteringMode, DisableLoadBalanceOnWrite, ListenAddress,
    LogLevel, PoolMode, ServerTlsMode, Settings, TransactionReads,
};
pub use value::{FlagWords, Value};

pub(crate) use error::write_lines;
pub(crate) use load::is_secret;

/// The greatest node id; Pgpool-II has room for 128 nodes.
pub const MAX_NODE_ID: u16 = 127;

/// Levels of `include` below the first file, as in Pgpool-II.
pub const MAX_INCLUDE_DEPTH: usize = 10;

/// Files that may be included in all. Without it ten levels of a file that includes itself twice
/// would be a thousand reads.
pub const MAX_INCLUDES: usize = 100;
