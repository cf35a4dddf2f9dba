//! How a client's connection comes to be encrypted, before its startup packet.
//!
//! ```text
//!             SSLRequest          S is written           handshake
//! Packet ───────────────▶ Answer ─────────────▶ Handshake ────────▶ Packet, within TLS
//!    └──────────────── the first byte is TLS's ─────▲
//! ```

use pgwire_core::time::Instant;

use super::{Phase, Relay, Transport};
use crate::io::Io;
use crate::tls::{ALPN, Handshake, PeerName, Wire};

/// Requests for encryption that are answered before the client must get on with it: one for each
/// kind.
const MAX_REQUESTS: u8 = 2;

/// How far TLS is that is being begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EncryptionStage {
    /// The answer to SSLRequest is being written.
    Answer,
    Handshake {
        /// Nothing was asked before it.
        direct: bool,
    },
}

impl<S> Relay<S> {
    /// Answers SSLRequest or GSSENCRequest.
    pub(super) fn answer_encryption_request(&mut self, is_ssl: bool, followed: bool, now: Instant) {
        if followed {
            // Whoever put that behind the request did it in clear, and would have it taken for a
            // part of what comes within TLS (CVE-2021-23214).
            tracing::warn!(
                client = self.id.index,
                "received unencrypted data after a request for encryption"
            );
            self.client_lost(now);
            return;
        }
        let is_local = self.client.transport == Transport::Local;
        let offers = is_ssl && !is_local && self.context.tls.acceptor.is_some();
        let encrypted = self.is_encrypted();
        let Some(startup) = self.startup() else { return };
        if encrypted || startup.encryption_asked() >= MAX_REQUESTS {
            self.client_lost(now);
        } else if offers {
            startup.set_encryption(Some(EncryptionStage::Answer));
            self.client.output.own(|out| out.push(b'S'));
        } else {
            self.client.output.own(|out| out.push(b'N'));
        }
    }

    /// A client has begun TLS without asking (PostgreSQL documentation, "SSL Session Encryption").
    pub(super) fn begin_direct_tls(&mut self, now: Instant) {
        let received = self.client.input.unparsed().to_vec();
        self.drop_input(received.len());
        let asked = self.startup().is_none_or(|startup| startup.encryption_requests() > 0);
        if asked || self.is_encrypted() || self.client.transport == Transport::Local {
            self.client_lost(now);
            return;
        }
        self.start_tls(&received, true, now);
    }

    fn start_tls(&mut self, received: &[u8], direct: bool, now: Instant) {
        let acceptor = self.context.tls.acceptor.clone();
        let (Some(acceptor), Some(socket)) = (acceptor, &mut self.client.socket) else {
            self.client_lost(now);
            return;
        };
        if let Err(error) = acceptor.start(socket, received) {
            tracing::warn!(client = self.id.index, "could not begin TLS: {error}");
            self.client_lost(now);
            return;
        }
        if let Some(startup) = self.startup() {
            startup.set_encryption(Some(EncryptionStage::Handshake { direct }));
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.client.socket.as_ref().is_some_and(Wire::is_encrypted)
    }

    /// Whether what the client sends belongs to the beginning of TLS.
    pub(super) fn is_encrypting(&self) -> bool {
        match &self.phase {
            Phase::Startup(startup) => startup.encryption().is_some(),
            Phase::Ready | Phase::Closing | Phase::Gone | Phase::Finished => false,
        }
    }

    /// Moves the beginning of TLS on; returns whether it did.
    pub(super) fn encrypt(&mut self, io: &mut impl Io<S>, now: Instant) -> bool {
        let Some(stage) = self.startup().and_then(|startup| startup.encryption()) else {
            return false;
        };
        let direct = match stage {
            // What is written from now on is encrypted: the answer must be out.
            EncryptionStage::Answer if !self.client.output.is_empty() => return false,
            EncryptionStage::Answer => {
                self.start_tls(b"", false, now);
                return true;
            }
            EncryptionStage::Handshake { direct } => direct,
        };
        let Some(socket) = &mut self.client.socket else { return false };
        match socket.handshake(io) {
            Handshake::Blocked => {
                self.asked.client = true;
                return false;
            }
            Handshake::Done if direct && socket.protocol() != Some(ALPN) => {
                tracing::info!(client = self.id.index, "direct TLS without ALPN `postgresql`");
                self.client_lost(now);
            }
            Handshake::Done => {
                tracing::debug!(
                    client = self.id.index,
                    "TLS: {}",
                    socket.cipher().unwrap_or_default()
                );
                if let Some(startup) = self.startup() {
                    startup.set_encryption(None);
                }
            }
            Handshake::Failed(error) => {
                tracing::info!(client = self.id.index, "TLS with a client failed: {error}");
                self.client_lost(now);
            }
        }
        true
    }

    /// What the client's certificate says of it, if it has shown one: that was verified.
    pub(super) fn peer_name(&self) -> Option<PeerName> {
        PeerName::read(self.client.socket.as_ref()?.peer_certificate()?)
    }

    /// What SCRAM is bound to, if it is offered to be (see [`Wire::local_end_point`]).
    pub(super) fn local_end_point(&self) -> Option<Vec<u8>> {
        self.client.socket.as_ref()?.local_end_point().map(<[u8]>::to_vec)
    }
}
