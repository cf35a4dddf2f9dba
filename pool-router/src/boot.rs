//! From command line and environment to a [`Context`]: what is read, and what is said about it.

mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use zeroize::Zeroizing;

use crate::cli::{Cli, EXIT_CONFIG};
use crate::config::{self, Level, LogLevel, Notice, Settings, Sources, reference};
use crate::context::Context;
pub use crate::environment::Read;
use crate::environment::{Environment, HbaMethod, Understood};
use crate::hba::{Hba, InterfaceAddress, UserMaps};
use crate::passwd::{PasswdProblem, PoolKey, PoolPasswd, StoredPassword};
use crate::pcp_users::{PcpHash, PcpUsers};
use crate::rules::Rules;
use crate::tls;

use files::Files;

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

/// What a start, and each reload, is made of beside the files.
#[derive(Debug)]
pub struct Inputs {
    /// The command line.
    pub cli: Cli,
    /// The environment of the process.
    pub environment: Environment,
    /// 32 bytes from a cryptographic generator, drawn once for the process.
    pub seed: [u8; 32],
    /// The addresses of this host's interfaces, as they are now; or why they are not known. To be
    /// read anew for each reload.
    pub interfaces: Result<Vec<InterfaceAddress>, String>,
}

/// Loads what the command line names, and says what is to be done. `tls` has what TLS needs besides
/// files.
///
/// # Errors
///
/// Every fault that can be found, of all files and of the environment.
pub fn boot(
    inputs: &Inputs,
    read: &mut Read<'_>,
    tls: &mut dyn tls::Sources,
) -> Result<Boot, BootError> {
    let (context, notices) = load(inputs, read, tls, None)?;
    if inputs.cli.check {
        return Ok(Boot::Print(reference::report(&context.settings, &notices)));
    }
    Ok(Boot::Serve(Arc::new(context), notices))
}

/// Loads everything again, as what is to come after `present`. With it come notices; one of them
/// names what was changed and takes effect only at a restart.
///
/// # Errors
///
/// As [`boot`]. A file that was there and is not there any more counts as one that cannot be read:
/// what would stand in for it, such as no passwords, is not what anybody wants to happen by accident.
pub fn reload(
    inputs: &Inputs,
    read: &mut Read<'_>,
    tls: &mut dyn tls::Sources,
    present: &Context,
) -> Result<(Arc<Context>, Vec<Notice>), BootError> {
    let mut read = |path: &str| match read(path) {
        Ok(None) if present.files.contains(path) => Err("it is gone".to_owned()),
        other => other,
    };
    let (context, notices) = load(inputs, &mut read, tls, Some(&present.settings))?;
    Ok((Arc::new(context), notices))
}

/// Depends on nothing but its arguments and the files.
fn load(
    inputs: &Inputs,
    read: &mut Read<'_>,
    tls: &mut dyn tls::Sources,
    present: Option<&Settings>,
) -> Result<(Context, Vec<Notice>), BootError> {
    let Inputs { cli, environment, seed, interfaces } = inputs;
    let mut found = BTreeSet::new();
    let mut read = |path: &str| {
        let text = read(path);
        if matches!(text, Ok(Some(_))) {
            found.insert(path.to_owned());
        }
        text
    };
    let mut faults: Vec<String> = Vec::new();
    let files = Files::find(cli, &mut read).map_err(failure)?;
    // What the command line has no effect on is said once.
    let mut notices = if present.is_some() { Vec::new() } else { cli.notices() };

    let (mut said, errors) = environment.read_all(&mut read);
    faults.extend(errors.iter().map(ToString::to_string));
    notices.append(&mut said.notices);
    let mut given = core::mem::take(&mut said.given);
    if let Some(certificate) = files.mounted_certificate(&mut read, &mut notices) {
        given.extend(certificate);
    }
    given.extend(cli.given());
    let defaults = files.defaults(&given);
    let place = format!("no pgpool.conf in {}", files.searched.join(" or "));
    let sources = Sources {
        defaults: &defaults,
        file: files.config.as_ref().map(|(name, text)| (name.as_str(), text.as_str())),
        place: &place,
        given: &given,
        // The environment that names them need not be at hand.
        backends_needed: !cli.check,
    };
    let loaded = config::load_sources(&sources, &mut must(&mut read));
    let mut settings = match loaded {
        Ok(loaded) => {
            notices.extend(loaded.notices);
            loaded.settings
        }
        Err(errors) => {
            faults.push(errors.to_string());
            return Err(failure(faults.join("\n")));
        }
    };
    let summary = reference::summary(&settings);
    notices.insert(0, Notice { level: Level::Notice, origin: None, text: summary });
    if let Some(present) = present {
        let waiting = present.needs_restart(&settings);
        if !waiting.is_empty() {
            notices.push(Notice {
                level: Level::Warning,
                origin: None,
                text: format!(
                    "changed, but in effect only after a restart: {}",
                    waiting.join(", ")
                ),
            });
        }
        settings = settings.succeed(present);
    }

    let mut load = Load { files: &files, faults, notices };
    let hba = load.hba(&settings, said.method, &mut read);
    let interfaces = load.interfaces(hba.as_ref(), interfaces);
    let passwords = load.passwords(cli, &settings, &said, &mut read);
    let authenticator = load.authenticator(cli, &settings, &passwords, &mut read);
    let pcp_users = load.pcp_users(said.pcp_users, &mut read);
    let Load { mut faults, mut notices, .. } = load;
    let loaded = tls::load(&settings, &|name| files.beside(name), &mut read, tls);
    let tls = loaded.unwrap_or_else(|errors| {
        faults.push(errors.to_string());
        Default::default()
    });
    let (tls, said_of_tls) = tls;
    notices.extend(said_of_tls);
    let rules = match Rules::compile(&settings) {
        Ok(rules) if faults.is_empty() => rules,
        Ok(_) => return Err(failure(faults.join("\n"))),
        Err(errors) => {
            faults.extend(errors.iter().map(ToString::to_string));
            return Err(failure(faults.join("\n")));
        }
    };
    let context = Context {
        settings: Arc::new(settings),
        rules,
        hba,
        interfaces,
        passwords,
        authenticator,
        pcp_users,
        tls,
        files: found,
        mock_seed: *seed,
    };
    Ok((context, notices))
}

/// A reader for which a missing file is a fault.
fn must<'a>(read: &'a mut Read<'_>) -> impl FnMut(&str) -> Result<String, String> + 'a {
    |path| read(path)?.ok_or_else(|| "no such file".to_owned())
}

/// The parts that are loaded once the settings are known.
struct Load<'f> {
    files: &'f Files,
    faults: Vec<String>,
    notices: Vec<Notice>,
}

impl Load<'_> {
    fn notice(&mut self, level: Level, text: String) {
        self.notices.push(Notice { level, origin: None, text });
    }

    fn hba(&mut self, settings: &Settings, method: HbaMethod, read: &mut Read<'_>) -> Option<Hba> {
        if !settings.enable_pool_hba {
            return None;
        }
        let path = self.files.hba();
        let text = match read(&path) {
            Ok(Some(text)) => text,
            Ok(None) if self.files.may_make_hba => {
                let connection = if settings.ssl { "hostssl" } else { "host" };
                let text =
                    format!("local all all trust\n{connection} all all all {}\n", method.word());
                let lines = text.trim_end().replace('\n', "; ");
                self.notice(
                    Level::Notice,
                    format!("{path} does not exist; it is taken for: {lines}"),
                );
                text
            }
            Ok(None) => {
                self.faults.push(format!("could not read {path}: no such file"));
                return None;
            }
            Err(why) => {
                self.faults.push(format!("could not read {path}: {why}"));
                return None;
            }
        };
        let parsed = Hba::parse(&path, &text, &mut must(read));
        match parsed {
            Ok(hba) => {
                let hba = self.with_maps(hba, read)?;
                self.notices.extend(hba.notices().iter().cloned());
                let verifies = settings.verifies_clients();
                self.notices.extend(hba.notices_of_tls(settings.ssl, verifies));
                Some(hba)
            }
            Err(errors) => {
                self.faults.push(errors.to_string());
                None
            }
        }
    }

    /// `pool_ident.conf`, where a record names a map of it.
    fn with_maps(&mut self, hba: Hba, read: &mut Read<'_>) -> Option<Hba> {
        let Some(record) = hba.needs_maps() else { return Some(hba) };
        let path = self.files.ident();
        let linked = match must(read)(&path) {
            Ok(text) => UserMaps::parse(&path, &text).and_then(|maps| hba.with_maps(&path, maps)),
            Err(why) => {
                let (origin, map) = (&record.origin, record.map.as_deref().unwrap_or_default());
                let fault = format!("{origin}: map `{map}`: could not read {path}: {why}");
                self.faults.push(fault);
                return None;
            }
        };
        linked.map_err(|errors| self.faults.push(errors.to_string())).ok()
    }

    /// That the addresses are not known is a fault where a record asks for them: not to match a
    /// `reject` lets people in.
    fn interfaces(
        &mut self,
        hba: Option<&Hba>,
        interfaces: &Result<Vec<InterfaceAddress>, String>,
    ) -> Vec<InterfaceAddress> {
        match (interfaces, hba.and_then(Hba::needs_interfaces)) {
            (Ok(interfaces), _) => return interfaces.clone(),
            (Err(why), Some(record)) => {
                let origin = &record.origin;
                self.faults
                    .push(format!("{origin}: the addresses of this host are not known: {why}"));
            }
            (Err(_), None) => {}
        }
        Vec::new()
    }

    /// The file first; the accounts of the environment overrule it.
    fn passwords(
        &mut self,
        cli: &Cli,
        settings: &Settings,
        said: &Understood,
        read: &mut Read<'_>,
    ) -> PoolPasswd {
        let mut passwords = PoolPasswd::default();
        if !said.pool_passwd {
            return passwords;
        }
        if let Some(name) = &settings.pool_passwd {
            let path = self.files.beside(name);
            match read(&path).map(|text| text.map(Zeroizing::new)) {
                Ok(Some(text)) => {
                    let key = self.key(cli, read);
                    match PoolPasswd::parse(&path, &text, key.as_ref()) {
                        Ok(parsed) => {
                            self.notices.extend(parsed.notices().iter().cloned());
                            passwords = parsed;
                        }
                        Err(errors) => self.faults.push(errors.to_string()),
                    }
                }
                Ok(None)
                    if settings.origin("pool_passwd").is_some() && said.accounts.is_empty() =>
                {
                    let text = format!(
                        "pool_passwd: there is no file {path}; no role has a password here"
                    );
                    self.notice(Level::Warning, text);
                }
                Ok(None) => {}
                Err(why) => self.faults.push(format!("could not read {path}: {why}")),
            }
        }
        let mut users = Vec::new();
        for account in &said.accounts {
            let password = match &account.password {
                StoredPassword::Aes(base64) => {
                    let key = self.key(cli, read);
                    let plain = key.as_ref().and_then(|key| key.decrypt(base64.expose()));
                    let Some(plain) = plain else {
                        let why = match key {
                            Some(_) => PasswdProblem::WrongKey.to_string(),
                            None => "it is encrypted, and there is no key file".to_owned(),
                        };
                        self.faults.push(format!("environment {}: {why}", account.variable));
                        continue;
                    };
                    StoredPassword::Plain(plain)
                }
                other => other.clone(),
            };
            let overrules = passwords.set(&account.user, password);
            let instead = if overrules { ", instead of pool_passwd's" } else { "" };
            users.push(format!("`{}` ({}{instead})", account.user, account.variable));
        }
        if !users.is_empty() {
            let text = format!("passwords from the environment: {}", users.join(", "));
            self.notice(Level::Notice, text);
        }
        passwords
    }

    /// The password of the role that asks for those of others: a setting's, or else `pool_passwd`'s.
    fn authenticator(
        &mut self,
        cli: &Cli,
        settings: &Settings,
        passwords: &PoolPasswd,
        read: &mut Read<'_>,
    ) -> Option<StoredPassword> {
        let user = settings.authenticator()?;
        let name = match settings.auth_user {
            Some(_) => "weir_auth_password",
            None => "sr_check_password",
        };
        let Some(text) = settings.secret(name) else { return passwords.lookup(user).cloned() };
        let why = match StoredPassword::parse(text) {
            Ok(StoredPassword::Scram(_)) => {
                "a SCRAM verifier logs in to no server; the password itself does".to_owned()
            }
            Ok(StoredPassword::Aes(base64)) => match self.key(cli, read) {
                Some(key) => match key.decrypt(base64.expose()) {
                    Some(plain) => return Some(StoredPassword::Plain(plain)),
                    None => PasswdProblem::WrongKey.to_string(),
                },
                None => "it is encrypted, and there is no key file".to_owned(),
            },
            Ok(password) => return Some(password),
            Err(problem) => problem.to_string(),
        };
        let origin = settings.origin(name).cloned();
        match origin {
            Some(origin) if settings.auth_user.is_some() => {
                self.faults.push(format!("{origin}: {name}: {why}"));
            }
            // Pgpool-II starts with it, and nobody has said that it is to serve for asking.
            origin => {
                let text = format!("{name}: {why}; it is not used");
                self.notices.push(Notice { level: Level::Warning, origin, text });
            }
        }
        None
    }

    fn key(&mut self, cli: &Cli, read: &mut Read<'_>) -> Option<PoolKey> {
        pool_key(cli, read).unwrap_or_else(|why| {
            if !self.faults.contains(&why) {
                self.faults.push(why);
            }
            None
        })
    }

    fn pcp_users(
        &mut self,
        of_environment: Vec<(String, PcpHash)>,
        read: &mut Read<'_>,
    ) -> PcpUsers {
        let mut users = PcpUsers::default();
        let path = self.files.pcp();
        match read(&path).map(|text| text.map(Zeroizing::new)) {
            Ok(Some(text)) => match PcpUsers::parse(&path, &text) {
                Ok(parsed) => {
                    self.notices.extend(parsed.notices().iter().cloned());
                    users = parsed;
                }
                Err(errors) => self.faults.push(errors.to_string()),
            },
            Ok(None) if self.files.pcp.is_some() => {
                self.notice(Level::Warning, format!("there is no file {path}"));
            }
            Ok(None) => {}
            Err(why) => self.faults.push(format!("could not read {path}: {why}")),
        }
        for (user, hash) in of_environment {
            users.set(&user, hash);
        }
        users
    }
}

/// The key of encrypted passwords. A file that was named must be there.
fn pool_key(cli: &Cli, read: &mut Read<'_>) -> Result<Option<PoolKey>, String> {
    let Some(file) = &cli.pool_key_file else { return Ok(None) };
    let path = &file.path;
    match read(path).map(|text| text.map(Zeroizing::new)) {
        Ok(Some(text)) => match PoolKey::from_file(&text) {
            Some(key) => Ok(Some(key)),
            None => Err(format!("{path}: there is no key on its first line")),
        },
        Ok(None) if file.must_exist => Err(format!("could not read {path}: no such file")),
        Ok(None) => Ok(None),
        Err(why) => Err(format!("could not read {path}: {why}")),
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
