//! Clients: one that asks, and many that log in.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgwire_core::auth::{AuthStep, ClientAuth, ScramKeys, Secret};
use pgwire_core::encode;
use pgwire_core::startup::ProtocolVersion;

use crate::targets::{DATABASE, PASSWORD, ROLE};

/// A logged-in client.
pub(crate) struct Session {
    stream: TcpStream,
}

impl Session {
    /// Logs in, with keys of an earlier login if they still fit, and answers those to use next.
    pub(crate) fn log_in(
        port: u16,
        keys: Option<ScramKeys>,
    ) -> io::Result<(Self, Option<ScramKeys>)> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut session = Self { stream };
        let mut out = Vec::new();
        let parameters = [(&b"user"[..], ROLE.as_bytes()), (b"database", DATABASE.as_bytes())];
        encode::startup(&mut out, ProtocolVersion::V3_0, parameters);
        let secret = match keys {
            Some(keys) => Secret::ScramKeys(keys),
            None => Secret::password(PASSWORD.as_bytes()),
        };
        // Nobody attacks this.
        let mut auth = ClientAuth::new(ROLE.as_bytes(), Some(secret), [7; 18]);
        let mut learned = None;
        loop {
            session.stream.write_all(&out)?;
            out.clear();
            let (tag, body) = session.message()?;
            match tag {
                b'R' => {
                    let mut step = auth.on_request(&body, &mut out).map_err(io::Error::other)?;
                    if let AuthStep::Derive(job) = step {
                        step = auth.resume(job.run(), &mut out).map_err(io::Error::other)?;
                    }
                    if let AuthStep::Done(done) = step
                        && let Some(Secret::ScramKeys(keys)) = done.into_secret()
                    {
                        learned = Some(keys);
                    }
                }
                b'Z' => return Ok((session, learned)),
                b'E' => return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned())),
                _ => {}
            }
        }
    }

    /// Asks for one row.
    pub(crate) fn query(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        encode::query(&mut out, b"SELECT 1");
        self.stream.write_all(&out)?;
        loop {
            match self.message()? {
                (b'Z', _) => return Ok(()),
                (b'E', body) => {
                    return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned()));
                }
                _ => {}
            }
        }
    }

    fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [tag, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let mut body = vec![0; length.saturating_sub(4).min(1 << 20)];
        self.stream.read_exact(&mut body)?;
        Ok((tag, body))
    }

    fn leave(mut self) {
        let mut out = Vec::new();
        encode::terminate(&mut out);
        // It may be gone already.
        let _ = self.stream.write_all(&out);
    }
}

/// Logs in and leaves, once in this time, until it is over.
pub(crate) fn blow(
    port: u16,
    pause: Duration,
    over: &AtomicBool,
    logins: &AtomicU64,
    failed: &AtomicU64,
) {
    // Whom it is about to delay has the processor first.
    let _ = rustix::process::setpriority_process(None, 19);
    let mut keys: Option<ScramKeys> = None;
    // Where the salt is another each time, keys of the last time are of no use.
    let mut salt_stays = true;
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let tried = keys.take();
        let with_keys = tried.is_some();
        match Session::log_in(port, tried) {
            Ok((session, learned)) => {
                keys = learned.filter(|_| salt_stays);
                session.leave();
                logins.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) if with_keys => salt_stays = false,
            Err(_) => {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        next += pause;
        let now = Instant::now();
        match next.checked_duration_since(now) {
            Some(rest) => std::thread::sleep(rest),
            None => next = now,
        }
    }
}
