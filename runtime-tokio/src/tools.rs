//! What the password tools need of the system: files, the terminal, random bytes.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use pool_router::tools::ToolHost;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// The system.
pub(crate) struct Terminal;

impl ToolHost for Terminal {
    fn read(&mut self, path: &str) -> Result<Option<String>, String> {
        crate::files::read(path)
    }

    fn write(&mut self, path: &str, text: &str) -> Result<(), String> {
        write(path, text).map_err(|error| error.to_string())
    }

    fn ask(&mut self, prompt: &str) -> Result<Zeroizing<String>, String> {
        ask(prompt).map_err(|error| error.to_string())
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn random(&mut self) -> [u8; 16] {
        crate::tasks::random()
    }
}

/// Puts a whole new file in the place of the old one: nobody ever reads half of it.
fn write(path: &str, text: &str) -> io::Result<()> {
    // Behind a symbolic link the file itself is replaced, not the link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| Path::new(path).to_owned());
    let mode = std::fs::metadata(&path).map_or(0o600, |found| found.permissions().mode() & 0o777);
    let mut beside = path.clone().into_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        // What went wrong before is what is told.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn ask(prompt: &str) -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    let shown = if stdin.is_terminal() {
        eprint!("{prompt}");
        let shown = tcgetattr(&stdin)?;
        let mut hidden = shown.clone();
        hidden.local_modes &= !LocalModes::ECHO;
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        Some(shown)
    } else {
        None
    };
    let mut line = Zeroizing::new(String::with_capacity(1024));
    let read = stdin.lock().read_line(&mut line);
    if let Some(shown) = shown {
        eprintln!();
        tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    }
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
