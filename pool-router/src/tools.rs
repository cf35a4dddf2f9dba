//! `pgweir md5`, `pgweir enc` and `pgweir scram`: making passwords for `pool_passwd` and `pcp.conf`,
//! with the options of Pgpool-II's `pg_md5` and `pg_enc`.

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;
use md5::{Digest, Md5};
use pgwire_core::auth::{DEFAULT_ITERATIONS, DeriveJob, Md5Hash, Password};
use zeroize::Zeroizing;

use crate::cli::{DEFAULT_FOLDERS, EXIT_CONFIG, EXIT_USAGE, KeyFile};
use crate::config::{self, Sources};
use crate::passwd::{PoolKey, with_entry};

/// What the tools need of the system.
pub trait ToolHost {
    /// The text of a file; `None` if there is none.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, path: &str) -> Result<Option<String>, String>;

    /// Replaces a file, or makes one that only its owner can read.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn write(&mut self, path: &str, text: &str) -> Result<(), String>;

    /// Asks whoever sits at the terminal, without showing what is typed; without a terminal, a line of
    /// the standard input.
    ///
    /// # Errors
    /// Why there is no answer.
    fn ask(&mut self, prompt: &str) -> Result<Zeroizing<String>, String>;

    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// Bytes from a cryptographic generator.
    fn random(&mut self) -> [u8; 16];
}

/// What a tool has to say, and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolEnd {
    /// To be printed: to standard output if `exit_code` is 0, otherwise to standard error.
    pub text: String,
    /// The exit status.
    pub exit_code: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Md5,
    Enc,
    Scram,
}

/// The options that the tools share.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
struct Options {
    /// Ask for the password without showing it; also where none is given
    #[arg(short = 'p', long = "prompt")]
    prompt: bool,

    /// Write the entry into the file that pool_passwd names
    #[arg(short = 'm', long = "update-pass", alias = "md5auth")]
    update: bool,

    /// The user of the entry [default: who calls]
    #[arg(short = 'u', long = "username")]
    username: Option<String>,

    /// The configuration file that names the file [default: pgpool.conf in /config, or else in
    /// /etc/pgweir]
    #[arg(short = 'f', long = "config-file")]
    config_file: Option<String>,

    /// Write an entry for each line `user:password` of this file
    #[arg(short = 'i', long = "input-file")]
    input_file: Option<String>,

    /// enc: the file with the key [default: PGPOOLKEYFILE, then ~/.pgpoolkey]
    #[arg(short = 'k', long = "key-file")]
    key_file: Option<String>,

    /// enc: the key itself
    #[arg(short = 'K', long = "enc-key")]
    key: Option<String>,

    /// enc: ask for the key
    #[arg(short = 'P', long = "prompt-for-key")]
    prompt_for_key: bool,

    /// The password; others on this machine can see it while the program runs
    password: Option<String>,
}

/// Runs the tool that the command line, with the program's name in front, asks for; `None`: it asks
/// for none.
pub fn run(args: &[OsString], host: &mut impl ToolHost) -> Option<ToolEnd> {
    let (kind, name) = match args.get(1)?.to_str()? {
        "md5" => (Kind::Md5, "pgweir md5"),
        "enc" => (Kind::Enc, "pgweir enc"),
        "scram" => (Kind::Scram, "pgweir scram"),
        _ => return None,
    };
    let rest = args.iter().skip(2).cloned();
    let options = match Options::try_parse_from(std::iter::once(name.into()).chain(rest)) {
        Ok(options) => options,
        Err(error) => {
            let helps = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let exit_code = if helps { 0 } else { EXIT_USAGE };
            return Some(ToolEnd { text: error.render().to_string(), exit_code });
        }
    };
    Some(match make(kind, options, host) {
        Ok(text) => ToolEnd { text, exit_code: 0 },
        Err(text) => ToolEnd { text, exit_code: EXIT_CONFIG },
    })
}

fn make(kind: Kind, options: Options, host: &mut impl ToolHost) -> Result<String, String> {
    let key = if kind == Kind::Enc { Some(key(&options, host)?) } else { None };
    if let Some(file) = &options.input_file {
        let text = Zeroizing::new(must_read(host, file)?);
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let (user, password) = line
                .split_once(':')
                .filter(|(user, password)| !user.is_empty() && !password.is_empty())
                .ok_or_else(|| format!("{file}:{}: expected user:password", number + 1))?;
            entries.push((user.to_owned(), field(kind, user, password, key.as_ref(), host)));
        }
        update(options.config_file.as_deref(), &entries, host)?;
        return Ok(String::new());
    }
    let password = match options.password.clone().map(Zeroizing::new) {
        Some(password) if !options.prompt => password,
        _ => host.ask("password: ")?,
    };
    if password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    if options.update {
        let user = options.username.clone().or_else(|| host.env("USER"));
        let user = user.ok_or("there is no user; name one with -u")?;
        let field = field(kind, &user, &password, key.as_ref(), host);
        update(options.config_file.as_deref(), &[(user, field)], host)?;
        return Ok(String::new());
    }
    Ok(match kind {
        // What pcp.conf has: nothing but the password goes in.
        Kind::Md5 => Md5::digest(password.as_bytes()).iter().map(|b| format!("{b:02x}")).collect(),
        Kind::Enc => {
            let field = field(kind, "", &password, key.as_ref(), host);
            let base64 = field.trim_start_matches("AES");
            format!("\n{base64}\npool_passwd string: {}", field.as_str())
        }
        Kind::Scram => field(kind, "", &password, None, host).to_string(),
    })
}

/// The password field of an entry.
fn field(
    kind: Kind,
    user: &str,
    password: &str,
    key: Option<&PoolKey>,
    host: &mut impl ToolHost,
) -> Zeroizing<String> {
    Zeroizing::new(match (kind, key) {
        (Kind::Md5, _) => {
            let hash = Md5Hash::of(password.as_bytes(), user.as_bytes());
            format!("md5{}", String::from_utf8_lossy(hash.as_hex()))
        }
        (Kind::Enc, Some(key)) => format!("AES{}", key.encrypt(password)),
        (Kind::Enc | Kind::Scram, _) => {
            let salt = host.random().to_vec();
            let password = Password::new(password.as_bytes());
            let derived = DeriveJob::new(&password, salt, DEFAULT_ITERATIONS).run();
            derived.verifier().encode().to_string()
        }
    })
}

fn key(options: &Options, host: &mut impl ToolHost) -> Result<PoolKey, String> {
    let text = if options.prompt_for_key {
        Some(host.ask("encryption key: ")?)
    } else {
        options.key.clone().map(Zeroizing::new)
    };
    if let Some(text) = text {
        return PoolKey::from_text(&text).ok_or_else(|| "the key is empty".to_owned());
    }
    let file = KeyFile::find(options.key_file.as_deref(), &|name| host.env(name))
        .ok_or("there is no key; name its file with -k")?;
    let text = Zeroizing::new(must_read(host, &file.path)?);
    PoolKey::from_file(&text)
        .ok_or_else(|| format!("{}: there is no key on its first line", file.path))
}

fn must_read(host: &mut impl ToolHost, path: &str) -> Result<String, String> {
    match host.read(path) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(format!("could not read {path}: no such file")),
        Err(why) => Err(format!("could not read {path}: {why}")),
    }
}

/// The name and the text of the configuration file: where the proxy would look for it.
fn read_configuration(
    named: Option<&str>,
    host: &mut impl ToolHost,
) -> Result<(String, String), String> {
    if let Some(path) = named {
        return Ok((path.to_owned(), must_read(host, path)?));
    }
    let paths = DEFAULT_FOLDERS.map(|folder| format!("{folder}/pgpool.conf"));
    for path in &paths {
        let found = host.read(path).map_err(|why| format!("could not read {path}: {why}"))?;
        if let Some(text) = found {
            return Ok((path.clone(), text));
        }
    }
    Err(format!("there is no {}; name the file with -f", paths.join(" and no ")))
}

fn update(
    config_file: Option<&str>,
    entries: &[(String, Zeroizing<String>)],
    host: &mut impl ToolHost,
) -> Result<(), String> {
    let (config_file, text) = read_configuration(config_file, host)?;
    let config_file = config_file.as_str();
    // The servers may be named by the environment, which is none of a tool's business.
    let file = Some((config_file, text.as_str()));
    let sources =
        Sources { defaults: &[], file, place: config_file, given: &[], backends_needed: false };
    let loaded = config::load_sources(&sources, &mut |path| must_read(host, path))
        .map_err(|errors| errors.to_string())?;
    let name = loaded.settings.pool_passwd.as_deref();
    let name = name.ok_or_else(|| format!("{config_file}: pool_passwd names no file"))?;
    let path = match config_file.rsplit_once('/') {
        Some((directory, _)) if !name.starts_with('/') => format!("{directory}/{name}"),
        _ => name.to_owned(),
    };
    let found = host.read(&path).map_err(|why| format!("could not read {path}: {why}"))?;
    let mut text = Zeroizing::new(found.unwrap_or_default());
    for (user, field) in entries {
        text = with_entry(&text, user, field).map_err(|problem| format!("{user}: {problem}"))?;
    }
    host.write(&path, &text).map_err(|why| format!("could not write {path}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pgwire_core::auth::ScramVerifier;

    use super::*;
    use crate::passwd::{PoolPasswd, StoredPassword};

    #[derive(Default)]
    struct Desk {
        files: BTreeMap<String, String>,
        typed: Vec<&'static str>,
        asked: Vec<String>,
    }

    impl ToolHost for Desk {
        fn read(&mut self, path: &str) -> Result<Option<String>, String> {
            Ok(self.files.get(path).cloned())
        }

        fn write(&mut self, path: &str, text: &str) -> Result<(), String> {
            self.files.insert(path.to_owned(), text.to_owned());
            Ok(())
        }

        fn ask(&mut self, prompt: &str) -> Result<Zeroizing<String>, String> {
            self.asked.push(prompt.to_owned());
            Ok(Zeroizing::new(self.typed.remove(0).to_owned()))
        }

        fn env(&self, name: &str) -> Option<String> {
            match name {
                "HOME" => Some("/home/p".to_owned()),
                "USER" => Some("postgres".to_owned()),
                _ => None,
            }
        }

        fn random(&mut self) -> [u8; 16] {
            [7; 16]
        }
    }

    fn desk() -> Desk {
        let config = "port = 5432\n";
        let files = [("/e/pgpool.conf", config), ("/home/p/.pgpoolkey", "k3y\n")];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        Desk { files, ..Desk::default() }
    }

    fn end(desk: &mut Desk, line: &str) -> ToolEnd {
        let args: Vec<OsString> = line.split(' ').map(Into::into).collect();
        run(&args, desk).unwrap()
    }

    fn said(desk: &mut Desk, line: &str) -> String {
        let end = end(desk, line);
        assert_eq!(end.exit_code, 0, "{line}: {}", end.text);
        end.text
    }

    #[test]
    fn what_is_printed_is_what_the_models_print() {
        let mut desk = desk();
        assert_eq!(said(&mut desk, "pgweir md5 secret"), "5ebe2294ecd0e0f08eab7690d2a6ee69");
        let wanted = "\nmP/ZtaU4H21V8oJHP64QYQ==\npool_passwd string: AESmP/ZtaU4H21V8oJHP64QYQ==";
        assert_eq!(said(&mut desk, "pgweir enc secret"), wanted);
        assert_eq!(said(&mut desk, "pgweir enc -K k3y secret"), wanted);
        let verifier = said(&mut desk, "pgweir scram secret");
        let found = ScramVerifier::parse(verifier.as_bytes()).unwrap();
        assert_eq!((found.salt(), found.iterations()), (&[7; 16][..], DEFAULT_ITERATIONS));
    }

    #[test]
    fn entries_are_written_and_read_again() {
        let mut desk = desk();
        said(&mut desk, "pgweir md5 -m -f /e/pgpool.conf -u bob secret");
        let written = desk.files["/e/pool_passwd"].clone();
        assert_eq!(written, "bob:md521f3163f8f86fa10bdefbfbd502a8f06\n");
        desk.typed = vec!["typed"];
        said(&mut desk, "pgweir enc -m -f /e/pgpool.conf");
        assert_eq!(desk.asked, ["password: "]);
        desk.files.insert("/in".to_owned(), "bob:new:er\ncarol:x\n".to_owned());
        said(&mut desk, "pgweir scram -f /e/pgpool.conf -i /in");
        let key = PoolKey::from_text("k3y").unwrap();
        let passwd = PoolPasswd::parse("f", &desk.files["/e/pool_passwd"], Some(&key)).unwrap();
        assert_eq!(passwd.len(), 3);
        assert!(matches!(passwd.lookup("bob"), Some(StoredPassword::Scram(_))));
        let Some(StoredPassword::Plain(typed)) = passwd.lookup("postgres") else { panic!() };
        assert_eq!(typed.expose(), "typed");
    }

    #[test]
    fn faults_are_told_without_the_password() {
        let mut desk = desk();
        for (line, exit_code) in [
            ("pgweir md5 --no-such hunter2", EXIT_USAGE),
            ("pgweir enc -k /none hunter2", EXIT_CONFIG),
            ("pgweir md5 -m -f /none -u bob hunter2", EXIT_CONFIG),
            ("pgweir md5 -m -f /e/pgpool.conf -i /none hunter2", EXIT_CONFIG),
        ] {
            let end = end(&mut desk, line);
            assert_eq!(end.exit_code, exit_code, "{line}: {}", end.text);
            assert!(!end.text.contains("hunter2"), "{}", end.text);
        }
        assert_eq!(end(&mut desk, "pgweir scram --help").exit_code, 0);
        desk.typed = vec![""];
        assert_eq!(end(&mut desk, "pgweir md5").exit_code, EXIT_CONFIG);
        let other: Vec<OsString> = ["pgweir", "-n"].map(Into::into).to_vec();
        assert_eq!(run(&other, &mut desk), None);
    }
}
