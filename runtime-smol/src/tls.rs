//! What TLS needs from the system: files, cryptography, the time of day, and the shell for
//! `ssl_passphrase_command`. Nothing else starts a process.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use pool_router::boot::MAX_FILE;
use pool_router::tls::{FileAccess, SelfSigned, Sources};
use rustls::crypto::CryptoProvider;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// [`Sources`] of this process.
#[derive(Default)]
pub(crate) struct TlsSources {
    /// Made when it is first asked for; a reload must not change what clients have come to trust.
    self_signed: Option<SelfSigned>,
}

impl Sources for TlsSources {
    fn list(&mut self, path: &str) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            let is_file = std::fs::metadata(entry.path()).is_ok_and(|metadata| {
                // A link that leads nowhere is none.
                metadata.is_file() && metadata.len() <= MAX_FILE
            });
            if let (true, Ok(name)) = (is_file, entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn access(&mut self, path: &str) -> Option<FileAccess> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(FileAccess { mode: metadata.mode(), owned_by_root: metadata.uid() == 0 })
    }

    fn run(&mut self, command: &str) -> Result<String, String> {
        let output = Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {}", output.status, stderr.trim()));
        }
        String::from_utf8(output.stdout).map_err(|_| "it printed no text".to_owned())
    }

    fn self_signed(&mut self) -> Result<SelfSigned, String> {
        if let Some(made) = &self.self_signed {
            return Ok(made.clone());
        }
        let made = make_self_signed().map_err(|error| error.to_string())?;
        self.self_signed = Some(made.clone());
        Ok(made)
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }

    fn clock(&self) -> Arc<dyn TimeProvider> {
        Arc::new(DefaultTimeProvider)
    }
}

/// A certificate for this host's name, valid for as long as anybody may keep it.
fn make_self_signed() -> Result<SelfSigned, rcgen::Error> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "pgweir",
        host => host,
    };
    let key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(vec![host.to_owned()])?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, host);
    let certificate = parameters.self_signed(&key)?;
    Ok(SelfSigned { certificate: certificate.der().to_vec(), key: key.serialize_der().into() })
}
