//! From a command line to a [`Context`]: which files are read, and what is said about them.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use crate::cli::{Cli, EXIT_CONFIG};
use crate::config::{self, Level, LogLevel, Notice, Settings, reference};
use crate::context::Context;
use crate::hba::Hba;
use crate::passwd::{PoolKey, PoolPasswd};
use crate::rules::Rules;

/// Bytes above which a configuration file is taken for something else (16 MiB); for the runtimes, which
/// read the files.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What is logged at SIGHUP.
pub const RELOAD_NOTICE: &str =
    "the configuration is not reloaded while pgweir runs; restart it to apply a new one";

/// What a command line leads to.
#[derive(Debug)]
pub enum Boot {
    /// Serve, after logging the notices.
    Serve(Arc<Context>, Vec<Notice>),
    /// Print this to standard output and leave with success.
    Print(String),
}

/// Why there is nothing to serve. Print the text to standard error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BootError {
    /// Every fault that was found, a line each.
    pub text: String,
    /// The exit status.
    pub exit_code: u8,
}

/// Loads what the command line names. `read` gets a path and answers the file's text, or `Ok(None)`
/// if there is no such file, or why it cannot be read. `seed` is 32 bytes from a cryptographic
/// generator.
///
/// # Errors
/// A file is missing or wrong.
pub fn boot(
    cli: &Cli,
    read: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
    seed: [u8; 32],
) -> Result<Boot, BootError> {
    let mut must_read = |path: &str| match read(path) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err("no such file".to_owned()),
        Err(why) => Err(why),
    };
    let text = must_read(&cli.config_file)
        .map_err(|why| failure(format!("could not read {}: {why}", cli.config_file)))?;
    let loaded = config::load(&cli.config_file, &text, &mut must_read)
        .map_err(|errors| failure(errors.to_string()))?;
    if cli.check {
        return Ok(Boot::Print(reference::report(&loaded)));
    }
    let mut notices = cli.notices();
    notices.extend(loaded.notices);
    let settings = loaded.settings;

    let hba = if settings.enable_pool_hba {
        let path = cli.hba_file();
        let text =
            must_read(&path).map_err(|why| failure(format!("could not read {path}: {why}")))?;
        let hba = Hba::parse(&path, &text, &mut must_read)
            .map_err(|errors| failure(errors.to_string()))?;
        notices.extend(hba.notices().iter().cloned());
        Some(hba)
    } else {
        None
    };

    let mut passwords = PoolPasswd::default();
    if let Some(name) = &settings.pool_passwd {
        let path = cli.beside(name);
        match read(&path) {
            Ok(Some(text)) => {
                let key = pool_key(cli, read)?;
                passwords = PoolPasswd::parse(&path, &text, key.as_ref())
                    .map_err(|errors| failure(errors.to_string()))?;
                notices.extend(passwords.notices().iter().cloned());
            }
            Ok(None) if settings.origin("pool_passwd").is_some() => notices.push(Notice {
                level: Level::Warning,
                origin: None,
                text: format!("pool_passwd: there is no file {path}; no role has a password here"),
            }),
            Ok(None) => {}
            Err(why) => return Err(failure(format!("could not read {path}: {why}"))),
        }
    }
    let rules = Rules::compile(&settings).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        failure(lines.join("\n"))
    })?;
    let context = Context { settings: Arc::new(settings), rules, hba, passwords, mock_seed: seed };
    Ok(Boot::Serve(Arc::new(context), notices))
}

/// The key of encrypted passwords. A file that was named must be there.
fn pool_key(
    cli: &Cli,
    read: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
) -> Result<Option<PoolKey>, BootError> {
    let Some(file) = &cli.pool_key_file else { return Ok(None) };
    let path = &file.path;
    match read(path).map(|text| text.map(zeroize::Zeroizing::new)) {
        Ok(Some(text)) => match PoolKey::from_file(&text) {
            Some(key) => Ok(Some(key)),
            None => Err(failure(format!("{path}: there is no key on its first line"))),
        },
        Ok(None) if file.must_exist => Err(failure(format!("could not read {path}: no such file"))),
        Ok(None) => Ok(None),
        Err(why) => Err(failure(format!("could not read {path}: {why}"))),
    }
}

/// Up to which level events are logged: `log_min_messages`, or everything of interest to a developer
/// where the command line asks for that.
#[must_use]
pub fn log_level(settings: &Settings, debug: bool) -> LevelFilter {
    match settings.log_min_messages {
        LogLevel::Debug5 | LogLevel::Debug4 | LogLevel::Debug3 => LevelFilter::TRACE,
        LogLevel::Debug2 | LogLevel::Debug1 => LevelFilter::DEBUG,
        _ if debug => LevelFilter::DEBUG,
        // Warnings include what Pgpool-II logs as LOG.
        LogLevel::Info | LogLevel::Notice | LogLevel::Log | LogLevel::Warning => LevelFilter::INFO,
        LogLevel::Error | LogLevel::Fatal | LogLevel::Panic => LevelFilter::ERROR,
    }
}

/// Logs what the operator should know of the configuration.
pub fn log_notices(notices: &[Notice]) {
    for notice in notices {
        match notice.level {
            Level::Warning => tracing::warn!("{notice}"),
            Level::Notice => tracing::info!("{notice}"),
        }
    }
}

fn failure(text: String) -> BootError {
    BootError { text, exit_code: EXIT_CONFIG }
}
