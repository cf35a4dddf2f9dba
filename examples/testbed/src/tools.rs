//! What a cluster and a proxy process both need: programs, ports, the account to run servers
//! under, and guards that tidy up when this process dies.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// Why a cluster or proxy could not be set up, for people.
#[derive(Debug)]
pub struct SetupError(String);

impl SetupError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn io(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |e| Self(format!("{what}: {e}"))
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

/// A PostgreSQL installation, and the account its servers run under.
#[derive(Clone, Debug)]
pub struct Installation {
    bin: PathBuf,
    /// Set when we are root, which the server refuses to run as.
    account: Option<Account>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Installation {
    /// Looks for the server's programs where `pg_config` says, in Debian's folders (newest
    /// version first), and in `PATH`.
    ///
    /// # Errors
    /// When a program is missing, or when we are root and there is no account `postgres`.
    pub fn find() -> Result<Self, SetupError> {
        const NEEDED: [&str; 6] =
            ["initdb", "postgres", "pg_basebackup", "pg_ctl", "psql", "pgbench"];
        let mut folders = Vec::new();
        if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
            folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        }
        let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let version = entry.file_name().to_str()?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
            .collect();
        debian.sort();
        folders.extend(debian.into_iter().rev().map(|(_, folder)| folder));
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));

        let complete = |folder: &&PathBuf| NEEDED.iter().all(|tool| folder.join(tool).exists());
        let Some(bin) = folders.iter().find(complete).cloned() else {
            return Err(SetupError::new(format!(
                "no folder holds all of {NEEDED:?} (looked where pg_config says, in \
                 /usr/lib/postgresql/*/bin and in PATH): install the apt package `postgresql`"
            )));
        };
        Ok(Self { bin, account: Account::for_servers()? })
    }

    /// A command for one of the programs, free of the caller's `PG*` environment and language,
    /// run as ourselves.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").env("PGCONNECT_TIMEOUT", "40").stdin(Stdio::null());
        command
    }

    /// As [`client`](Self::client), but under the servers' account and in `folder`.
    pub(crate) fn server(&self, program: &str, folder: &Path) -> Command {
        let mut command = self.client(program);
        self.demote(&mut command, folder);
        command
    }

    pub(crate) fn demote(&self, command: &mut Command, folder: &Path) {
        command.current_dir(folder).process_group(0);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
    }

    /// Creates a folder that the servers' account owns.
    pub(crate) fn create_folder(&self, path: &Path) -> std::io::Result<()> {
        fs::create_dir(path)?;
        self.give(path)
    }

    /// Makes a file the servers' account's own.
    pub(crate) fn give(&self, path: &Path) -> std::io::Result<()> {
        match self.account {
            None => Ok(()),
            Some(account) => std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid)),
        }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

impl Account {
    fn for_servers() -> Result<Option<Self>, SetupError> {
        let ours = fs::metadata("/proc/self").map_err(SetupError::io("/proc/self"))?.uid();
        if ours != 0 {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(SetupError::io("/etc/passwd"))?;
        passwd
            .lines()
            .find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                (name == "postgres").then_some(Some(Self { uid, gid }))
            })
            .ok_or_else(|| {
                SetupError::new(
                    "we are root, PostgreSQL refuses to run as root, and there is no account \
                     `postgres`: install the apt package `postgresql`, or run as another user",
                )
            })
    }
}

/// A port of 127.0.0.1 that nobody listens on just now.
///
/// It lies below the range that the kernel gives to outgoing connections: those would take the
/// port of a server that is down, and a client that connects to such a port may even reach itself.
///
/// # Errors
/// When thousands of ports in a row are taken.
pub fn free_port() -> Result<u16, SetupError> {
    const LOWEST: u16 = 12_000;
    const HIGHEST: u16 = 32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = u32::from(HIGHEST - LOWEST);
    let offset = std::process::id().wrapping_mul(97) % span;
    for _ in 0..span {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(u32::from(LOWEST) + (offset + step) % span).unwrap_or(LOWEST);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(SetupError::new(format!("no free port between {LOWEST} and {HIGHEST}")))
}

/// A small shell process that waits for the end of a pipe which only we hold open: however this
/// process ends, even by SIGKILL, the guard then runs its script.
pub(crate) struct Guard {
    child: Child,
}

impl Guard {
    /// `script` is run with `arguments` as `$1`, `$2` ...
    pub(crate) fn new(
        script: &str,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self, SetupError> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("trap '' HUP INT TERM; read -r _; {script}")).arg("guard");
        command.args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        prepare(&mut command);
        let child = command.spawn().map_err(SetupError::io("sh"))?;
        Ok(Self { child })
    }

    /// Lets the guard do its work now and waits for it.
    pub(crate) fn release(&mut self) {
        drop(self.child.stdin.take());
        // Nothing can be done about a guard that cannot be waited for.
        let _ = self.child.wait();
    }

    /// Ends the guard without its work.
    pub(crate) fn dismiss(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process that the caller has started and not yet waited for.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -$1 $2", "kill", name, &child.id().to_string()])
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|s| s.success()), "cannot send {name} to {}", child.id());
}
