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
    let loaded = load(cli, read)?;
    if cli.check {
        return Ok(Boot::Print(reference::report(&loaded)));
    }
    let mut notices = cli.notices();
    notices.extend(loaded.notices);
    let context = context(cli, loaded.settings, &mut notices, read, seed)?;
    Ok(Boot::Serve(Arc::new(context), notices))
}

/// Loads the same files again, as what is to come after `present`. With it come notices; one of them
/// names what was changed and takes effect only at a restart.
///
/// # Errors
/// A file is missing or wrong. A pool_passwd that was there and is not there any more counts as
/// missing: without it nobody could log in.
pub fn reload(
    cli: &Cli,
    read: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
    present: &Context,
) -> Result<(Arc<Context>, Vec<Notice>), BootError> {
    let loaded = load(cli, read)?;
    let mut notices = loaded.notices;
    let waiting = present.settings.needs_restart(&loaded.settings);
    if !waiting.is_empty() {
        notices.push(Notice {
            level: Level::Warning,
            origin: None,
            text: format!("changed, but in effect only after a restart: {}", waiting.join(", ")),
        });
    }
    let settings = loaded.settings.succeed(&present.settings);
    let had_passwords = !present.passwords.is_empty();
    let mut read = |path: &str| match read(path) {
        Ok(None) if had_passwords && passwords_file(cli, present).as_deref() == Some(path) => {
            Err("it is gone".to_owned())
        }
        other => other,
    };
    let context = context(cli, settings, &mut notices, &mut read, present.mock_seed)?;
    Ok((Arc::new(context), notices))
}

fn passwords_file(cli: &Cli, context: &Context) -> Option<String> {
    context.settings.pool_passwd.as_ref().map(|name| cli.beside(name))
}

type Read<'r> = &'r mut dyn FnMut(&str) -> Result<Option<String>, String>;

fn must_read(read: Read<'_>, path: &str) -> Result<String, String> {
    read(path)?.ok_or_else(|| "no such file".to_owned())
}

fn load(cli: &Cli, read: Read<'_>) -> Result<config::Loaded, BootError> {
    let text = must_read(read, &cli.config_file)
        .map_err(|why| failure(format!("could not read {}: {why}", cli.config_file)))?;
    config::load(&cli.config_file, &text, &mut |path| must_read(read, path))
        .map_err(|errors| failure(errors.to_string()))
}

/// The files that the settings name, and what follows from them.
fn context(
    cli: &Cli,
    settings: Settings,
    notices: &mut Vec<Notice>,
    read: Read<'_>,
    seed: [u8; 32],
) -> Result<Context, BootError> {
    let hba = if settings.enable_pool_hba {
        let path = cli.hba_file();
        let text = must_read(read, &path)
            .map_err(|why| failure(format!("could not read {path}: {why}")))?;
        let hba = Hba::parse(&path, &text, &mut |path| must_read(read, path))
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
    Ok(Context { settings: Arc::new(settings), rules, hba, passwords, mock_seed: seed })
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

/// Logs that newly loaded files are in force, or why they are not.
pub fn log_reload(outcome: &Result<Vec<Notice>, String>) {
    match outcome {
        Ok(notices) => {
            log_notices(notices);
            tracing::info!("the configuration was reloaded");
        }
        Err(text) => {
            for line in text.lines() {
                tracing::error!("{line}");
            }
            tracing::error!("the configuration was not reloaded; the present one stays in force");
        }
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
