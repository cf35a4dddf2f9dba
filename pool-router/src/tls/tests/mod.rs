//! TLS between two ends in memory.

mod loading;
mod pki;
mod sessions;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use super::{FileAccess, SelfSigned, Sources, Tls, TlsErrors, load};
use crate::config::{self, Notice, Settings};
use crate::io::{Io, Transfer};

/// The time of all tests: 2030.
const NOW: u64 = 60 * 365 * 86_400;

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW)))
    }
}

/// Files by their paths.
#[derive(Default, Clone)]
pub(crate) struct Files {
    texts: BTreeMap<String, String>,
    modes: BTreeMap<String, u32>,
    /// What the shell prints, and what it was asked.
    prints: Option<String>,
    ran: Vec<String>,
}

impl Files {
    fn with(mut self, path: &str, text: &str) -> Self {
        self.texts.insert(path.to_owned(), text.to_owned());
        self
    }

    fn load(&mut self, config: &str) -> Result<(Tls, Vec<Notice>), TlsErrors> {
        let settings = settings(config);
        let texts = self.texts.clone();
        let mut read = |path: &str| Ok(texts.get(path).cloned());
        load(&settings, &|name| format!("/etc/{name}"), &mut read, self)
    }

    fn tls(&mut self, config: &str) -> Tls {
        self.load(config).unwrap_or_else(|errors| panic!("{errors}")).0
    }

    fn faults(&mut self, config: &str) -> String {
        match self.load(config) {
            Ok(_) => panic!("{config} was accepted"),
            Err(errors) => errors.to_string(),
        }
    }
}

fn settings(config: &str) -> Settings {
    let text = format!("backend_hostname0 = 'localhost'\nbackend_weight0 = 1\n{config}\n");
    let loaded = config::load("pgpool.conf", &text, &mut |_| Err("no includes".to_owned()));
    loaded.unwrap_or_else(|errors| panic!("{errors}")).settings
}

impl Sources for Files {
    fn list(&mut self, path: &str) -> Result<Vec<String>, String> {
        let prefix = format!("{path}/");
        let names = self.texts.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(names.map(str::to_owned).collect())
    }

    fn access(&mut self, path: &str) -> Option<FileAccess> {
        Some(FileAccess { mode: *self.modes.get(path)?, owned_by_root: false })
    }

    fn run(&mut self, command: &str) -> Result<String, String> {
        self.ran.push(command.to_owned());
        self.prints.clone().ok_or_else(|| "exit status: 1".to_owned())
    }

    fn self_signed(&mut self) -> Result<SelfSigned, String> {
        let made = pki::Pair::self_signed("proxy");
        Ok(SelfSigned { certificate: made.der, key: made.key.serialize_der().into() })
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }

    fn clock(&self) -> Arc<dyn TimeProvider> {
        Arc::new(Clock)
    }
}

/// An end of a [`Net`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

/// Two pipes in memory.
struct Net {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Bytes that one operation moves at most.
    cut: usize,
    /// Bytes that one pipe holds at most.
    window: usize,
    /// About every other operation moves nothing.
    stutters: bool,
    chance: u64,
    closed: bool,
}

impl Net {
    fn new(cut: usize, window: usize, stutters: bool) -> Self {
        let pipe = VecDeque::new;
        let (to_server, to_client) = (pipe(), pipe());
        Self { to_server, to_client, cut, window, stutters, chance: 1, closed: false }
    }

    fn stumbles(&mut self) -> bool {
        // Any sequence will do that has no rhythm (Knuth's linear congruential generator).
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.stutters && self.chance >> 63 == 1
    }
}

impl Io<End> for Net {
    fn read(&mut self, socket: &mut End, room: &mut [u8]) -> Transfer {
        if self.stumbles() {
            return Transfer::Blocked;
        }
        let pipe = match socket {
            End::Client => &mut self.to_client,
            End::Server => &mut self.to_server,
        };
        let n = room.len().min(self.cut).min(pipe.len());
        if n == 0 {
            return if self.closed { Transfer::Closed } else { Transfer::Blocked };
        }
        for (place, byte) in room.iter_mut().zip(pipe.drain(..n)) {
            *place = byte;
        }
        Transfer::Bytes(n)
    }

    fn write(&mut self, socket: &mut End, pieces: &[IoSlice<'_>]) -> Transfer {
        if self.stumbles() {
            return Transfer::Blocked;
        }
        let pipe = match socket {
            End::Client => &mut self.to_server,
            End::Server => &mut self.to_client,
        };
        let room = self.cut.min(self.window.saturating_sub(pipe.len()));
        let before = pipe.len();
        pipe.extend(pieces.iter().flat_map(|piece| piece.iter()).take(room));
        match pipe.len() - before {
            0 => Transfer::Blocked,
            n => Transfer::Bytes(n),
        }
    }
}
