//! Asking a server for TLS.

use std::io::IoSlice;
use std::sync::Arc;

use pgwire_core::encode;

use super::{ALPN, Connector, EncryptionError, Handshake, Tls, Wire};
use crate::config::BackendHost;
use crate::io::{Io, Transfer};

/// The part of a connection to a server that comes before its first message.
pub(crate) struct Encryption {
    host: BackendHost,
    stage: Stage,
}

enum Stage {
    /// SSLRequest is being written; so much of it is.
    Asking(Arc<Connector>, usize),
    /// One byte is to come.
    Asked(Arc<Connector>),
    Handshake(Arc<Connector>),
    Over,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stage = match self.stage {
            Stage::Asking(..) => "Asking",
            Stage::Asked(_) => "Asked",
            Stage::Handshake(_) => "Handshake",
            Stage::Over => "Over",
        };
        f.debug_tuple("Encryption").field(&stage).finish()
    }
}

impl Encryption {
    /// For a connection to `host`. A Unix socket has no TLS (as for libpq).
    pub(crate) fn new(tls: &Tls, host: &BackendHost) -> Self {
        let stage = match (&tls.connector, host) {
            (Some(connector), BackendHost::Tcp(_)) => Stage::Asking(connector.clone(), 0),
            _ => Stage::Over,
        };
        Self { host: host.clone(), stage }
    }

    /// Whether messages can be sent.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Goes on as far as it goes without waiting; then [`Encryption::is_over`] tells whether that
    /// was all.
    pub(crate) fn drive<S>(
        &mut self,
        wire: &mut Wire<S>,
        io: &mut impl Io<S>,
    ) -> Result<(), EncryptionError> {
        loop {
            match &mut self.stage {
                Stage::Asking(connector, _) if connector.direct => {
                    connector.start(wire, &self.host)?;
                    self.stage = Stage::Handshake(connector.clone());
                }
                Stage::Asking(connector, written) => {
                    let mut request = Vec::new();
                    encode::ssl_request(&mut request);
                    let rest = request.get(*written..).unwrap_or_default();
                    if rest.is_empty() {
                        self.stage = Stage::Asked(connector.clone());
                        continue;
                    }
                    match wire.write(io, &[IoSlice::new(rest)]) {
                        Transfer::Bytes(n) => *written += n,
                        Transfer::Blocked => return Ok(()),
                        Transfer::Closed => return Err(EncryptionError::Closed),
                    }
                }
                Stage::Asked(connector) => {
                    // Room for more than the answer, so that more is noticed.
                    let mut answer = [0; 2];
                    let n = match wire.read(io, &mut answer) {
                        Transfer::Bytes(n) => n,
                        Transfer::Blocked => return Ok(()),
                        Transfer::Closed => return Err(EncryptionError::Closed),
                    };
                    match answer {
                        [b'E', _] => return Err(EncryptionError::ErrorInClear),
                        _ if n != 1 => return Err(EncryptionError::DataInClear),
                        [b'S', _] => {
                            connector.start(wire, &self.host)?;
                            self.stage = Stage::Handshake(connector.clone());
                        }
                        [b'N', _] if connector.required => return Err(EncryptionError::NotOffered),
                        [b'N', _] => self.stage = Stage::Over,
                        [other, _] => return Err(EncryptionError::Unexpected(other)),
                    }
                }
                Stage::Handshake(connector) => match wire.handshake(io) {
                    Handshake::Done if connector.direct && wire.protocol() != Some(ALPN) => {
                        return Err(EncryptionError::NoAlpn);
                    }
                    Handshake::Done => self.stage = Stage::Over,
                    Handshake::Blocked => return Ok(()),
                    Handshake::Failed(error) => return Err(error.into()),
                },
                Stage::Over => return Ok(()),
            }
        }
    }
}
