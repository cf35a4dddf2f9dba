//! The command line of the pgweir binaries: Pgpool-II's options, so that a container's command
//! needs only the program's name changed.

use std::ffi::OsString;
use std::fmt;

use clap::Parser;
use clap::error::ErrorKind;
use zeroize::Zeroizing;

use crate::config::{Given, Level, Notice, Origin};
use crate::passwd::HOME_KEY_FILE;

/// The folders in which `pgpool.conf` is looked for without `-f` and `--config-dir`: that of
/// Pgpool-II's container image, then that of an installation.
pub const DEFAULT_FOLDERS: [&str; 2] = ["/config", "/etc/pgweir"];

/// The exit status for a faulty configuration, as Pgpool-II's.
pub const EXIT_CONFIG: u8 = 3;

/// The exit status for a faulty command line.
pub const EXIT_USAGE: u8 = 2;

/// A command line that can be followed.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "pgweir",
    version,
    about = "PostgreSQL connection pooler and read/write-splitting proxy",
    after_help = "Signals: TERM lets transactions finish, INT and QUIT do not. HUP has the \
                  configuration read again.",
    disable_version_flag = true
)]
pub struct Cli {
    /// The configuration file [default: pgpool.conf in the configuration folder; where there is
    /// none, the environment says all]
    #[arg(short = 'f', long = "config-file", value_name = "FILE")]
    pub config_file: Option<String>,

    /// The folder of pgpool.conf, pool_hba.conf, pool_passwd, pcp.conf and tls/ [default: that of
    /// the configuration file; without one /config, or else /etc/pgweir, if it has a pgpool.conf]
    #[arg(long = "config-dir", value_name = "FOLDER")]
    pub config_dir: Option<String>,

    /// Set a parameter, over what configuration file and environment say; may be repeated
    #[arg(short = 'o', long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<Assignment>,

    /// The file of authentication rules [default: pool_hba.conf beside the configuration file]
    #[arg(short = 'a', long = "hba-file", value_name = "FILE")]
    pub hba_file: Option<String>,

    /// The file of PCP users [default: pcp.conf beside the configuration file]
    #[arg(short = 'F', long = "pcp-file", value_name = "FILE")]
    pub pcp_file: Option<String>,

    /// The key of the encrypted passwords in pool_passwd [default: PGPOOLKEYFILE, then
    /// ~/.pgpoolkey]
    #[arg(short = 'k', long = "key-file", value_name = "FILE")]
    key_file: Option<String>,

    /// The file that the key is in; see [`Cli::find_key_file`].
    #[arg(skip)]
    pub pool_key_file: Option<KeyFile>,

    /// Stay in the foreground; pgweir always does
    #[arg(short = 'n', long = "dont-detach")]
    pub dont_detach: bool,

    /// Accepted; there is no status file
    #[arg(short = 'D', long = "discard-status")]
    pub discard_status: bool,

    /// Accepted; there is no query cache
    #[arg(short = 'C', long = "clear-oidmaps")]
    pub clear_oidmaps: bool,

    /// Accepted; assertions are a matter of the build
    #[arg(short = 'x', long = "debug-assertions", hide = true)]
    debug_assertions: bool,

    /// Log debug messages, whatever the configuration says
    #[arg(short = 'd', long = "debug")]
    pub debug: bool,

    /// Read the configuration, print every setting with its source and what pgweir does with it,
    /// and end: with 0 if all of it is accepted, with 3 if not
    #[arg(long)]
    pub check: bool,

    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    /// Pgpool-II's `stop` and `reload`; here to be refused with a hint.
    #[arg(hide = true)]
    command: Option<String>,

    /// The mode of `stop`.
    #[arg(short = 'm', long = "mode", hide = true)]
    mode: Option<String>,
}

/// The file with the key of encrypted passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Its path.
    pub path: String,
    /// Somebody has named it: that it is missing is a fault.
    pub must_exist: bool,
}

impl KeyFile {
    /// Where the key is: in the file `named` on the command line, else in that of the environment
    /// variable PGPOOLKEYFILE, else in `.pgpoolkey` in the home directory.
    #[must_use]
    pub fn find(named: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let named = named.map(ToOwned::to_owned).or_else(|| env("PGPOOLKEYFILE"));
        if let Some(path) = named.filter(|path| !path.is_empty()) {
            return Some(Self { path, must_exist: true });
        }
        let home = env("HOME").filter(|home| !home.is_empty())?;
        Some(Self { path: format!("{home}/{HOME_KEY_FILE}"), must_exist: false })
    }
}

/// A `name=value`.
#[derive(Clone, PartialEq, Eq)]
struct Assignment {
    name: String,
    /// May be a secret.
    value: Zeroizing<String>,
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, value) = text.split_once('=').ok_or("accepted: name=value")?;
    if value.contains(['\n', '\r', '\0']) {
        return Err("the value has several lines; accepted: one".to_owned());
    }
    Ok(Assignment { name: name.trim().to_owned(), value: Zeroizing::new(value.to_owned()) })
}

impl Cli {
    /// Settles which file the key of encrypted passwords is in; `env` answers environment variables.
    pub fn find_key_file(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        self.pool_key_file = KeyFile::find(self.key_file.as_deref(), env);
    }

    /// What `--set` gives, in the order of the command line.
    pub fn given(&self) -> impl Iterator<Item = Given> {
        self.set.iter().map(|Assignment { name, value }| Given {
            name: name.clone(),
            value: value.clone(),
            origin: Origin::Flag,
        })
    }

    /// What the operator should know about the options.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut say = |text: &str| {
            notices.push(Notice { level: Level::Notice, origin: None, text: text.to_owned() });
        };
        if !self.dont_detach && !self.check {
            say("pgweir stays in the foreground, with or without -n");
        }
        if self.discard_status {
            say("-D has no effect: pgweir keeps no status file");
        }
        if self.clear_oidmaps {
            say("-C has no effect: pgweir has no query cache");
        }
        if self.debug_assertions {
            say("-x has no effect");
        }
        notices
    }
}

/// A command line that is not to be followed: a faulty one, or one that asks for a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CliError {
    /// What to print: to standard output if `exit_code` is 0, otherwise to standard error.
    pub text: String,
    /// The exit status: 0 for `--help` and `--version`, [`EXIT_USAGE`] otherwise.
    pub exit_code: u8,
}

/// Reads a command line, with the program's name in front.
///
/// # Errors
///
/// [`CliError`] for an unknown option or a missing value, for `stop` and `reload`, and for
/// `--help` and `--version`, whose text it carries.
pub fn parse<I>(args: I) -> Result<Cli, CliError>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let usage = |text: String| CliError { text, exit_code: EXIT_USAGE };
    let cli = Cli::try_parse_from(args).map_err(|error| {
        let exit_code = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
            _ => EXIT_USAGE,
        };
        CliError { text: error.render().to_string(), exit_code }
    })?;
    match cli.command.as_deref() {
        Some("stop") => Err(usage(
            "`stop` is not a command: send the process SIGTERM (its clients finish), SIGINT or \
             SIGQUIT"
                .to_owned(),
        )),
        Some("reload") => {
            Err(usage("`reload` is not a command: send the process SIGHUP".to_owned()))
        }
        Some(other) => Err(usage(format!("unexpected argument `{other}`; see --help"))),
        None if cli.mode.is_some() => {
            Err(usage("-m belongs to `stop`, which is not a command: send a signal".to_owned()))
        }
        None => Ok(cli),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cli(line: &str) -> Cli {
        parse(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_of_the_container() {
        let cli = cli("pgweir -n -f /e/pgpool.conf -F /e/pcp.conf -a /e/pool_hba.conf -k /e/.key");
        assert_eq!(cli.config_file.as_deref(), Some("/e/pgpool.conf"));
        assert_eq!(cli.pcp_file.as_deref(), Some("/e/pcp.conf"));
        assert_eq!(cli.hba_file.as_deref(), Some("/e/pool_hba.conf"));
        let home = |name: &str| (name == "HOME").then(|| "/home/p".to_owned());
        let key = KeyFile::find(cli.key_file.as_deref(), &home);
        assert_eq!(key, Some(KeyFile { path: "/e/.key".to_owned(), must_exist: true }));
        let key = KeyFile::find(None, &home);
        let path = "/home/p/.pgpoolkey".to_owned();
        assert_eq!(key, Some(KeyFile { path, must_exist: false }));
        let key = KeyFile::find(None, &|_| Some("/k".to_owned()));
        assert_eq!(key, Some(KeyFile { path: "/k".to_owned(), must_exist: true }));
        assert!(cli.dont_detach && !cli.check && !cli.debug);
        assert_eq!(cli.notices(), []);
    }

    #[test]
    fn long_names_mean_the_same() {
        let short = cli("pgweir -f a -F b -a c -k d -n -D -C -x -d");
        let long =
            cli("pgweir --config-file=a --pcp-file b --hba-file c --key-file d --dont-detach \
             --discard-status --clear-oidmaps --debug-assertions --debug");
        assert_eq!(short, long);
        assert_eq!(short.notices().len(), 3);
        assert_eq!(cli("pgweir -nDCd").discard_status, short.discard_status);
    }

    #[test]
    fn it_does_not_detach_and_says_so() {
        assert_eq!(cli("pgweir").notices().len(), 1);
        assert_eq!(cli("pgweir --check").notices(), []);
    }

    #[test]
    fn parameters_can_be_set() {
        let cli = parse(["pgweir", "-o", "port=1", "--set", "sr_check_password=a = 'b'"]).unwrap();
        let given: Vec<_> = cli.given().map(|g| (g.name, g.value.to_string(), g.origin)).collect();
        let flag = |name: &str, value: &str| (name.to_owned(), value.to_owned(), Origin::Flag);
        assert_eq!(given, [flag("port", "1"), flag("sr_check_password", "a = 'b'")]);
        assert!(!format!("{cli:?}").contains("'b'"));
        assert!(parse(["pgweir", "--set", "port"]).unwrap_err().text.contains("name=value"));
    }

    #[test]
    fn texts_are_answered_with_zero_and_faults_with_two() {
        for (line, exit_code, part) in [
            ("pgweir --version", 0, env!("CARGO_PKG_VERSION")),
            ("pgweir -v", 0, env!("CARGO_PKG_VERSION")),
            ("pgweir --help", 0, "--config-file"),
            ("pgweir -h", 0, "--check"),
            ("pgweir --no-such", EXIT_USAGE, "--no-such"),
            ("pgweir -f", EXIT_USAGE, "--config-file"),
            ("pgweir -m fast stop", EXIT_USAGE, "SIGTERM"),
            ("pgweir reload", EXIT_USAGE, "SIGHUP"),
            ("pgweir -m fast", EXIT_USAGE, "signal"),
            ("pgweir x", EXIT_USAGE, "unexpected argument `x`"),
        ] {
            let error = parse(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code, exit_code, "{line}: {error}");
            assert!(error.text.contains(part), "{line}: {error}");
        }
    }
}
