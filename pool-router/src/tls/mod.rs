//! TLS, as a layer of bytes between the machines of this crate and their sockets, on both sides.
//!
//! ```text
//! relay, login ──▶ Wire ──▶ Io ──▶ socket          in clear: one branch more than Io alone
//!                   └─ rustls, if it was asked for
//! ```
//!
//! - [`load`] makes a [`Tls`] of the settings and the files that they name. It never changes; after a
//!   reload a new one serves the handshakes that follow, and sessions that exist go on as they are.
//! - Clients ask by SSLRequest, or begin at once with ALPN `postgresql` (PostgreSQL documentation,
//!   "SSL Session Encryption"). `Encryption` asks servers.
//! - Whatever is received in clear behind the question is from somebody in between: the connection
//!   ends without a look at it.
//!
//! # Purity
//! rustls is used without sockets: bytes go in and come out. It brings no cryptography of its own
//! here. The runtime hands that in ([`Sources::provider`]), and with it what this crate must not
//! have: random numbers, and the time against which certificates are checked ([`Sources::clock`]).

mod certificate;
mod ciphers;
mod encryption;
mod key;
mod load;
mod verify;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use crate::config::BackendHost;

pub use certificate::PeerName;
pub(crate) use certificate::end_point;
pub(crate) use encryption::Encryption;
pub use load::{TlsError, TlsErrors, load};
pub(crate) use wire::{Handshake, Wire};

/// What is agreed to speak within TLS (PostgreSQL documentation, "SSL Session Encryption").
pub const ALPN: &[u8] = b"postgresql";

/// Both sides' TLS, as of one load.
#[derive(Clone, Default)]
pub struct Tls {
    /// For clients; `None`: there is none for them.
    pub(crate) acceptor: Option<Arc<Acceptor>>,
    /// To servers; `None`: there is none to them.
    pub(crate) connector: Option<Arc<Connector>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("clients", &self.acceptor.is_some())
            .field("servers", &self.connector.is_some())
            .finish()
    }
}

impl Tls {
    /// The same without the proxy's own certificate: for logins that are to show who a client is.
    /// A server that lets the proxy in by certificate says nothing of who the client may be.
    pub(crate) fn without_certificate(&self) -> Self {
        let connector = self.connector.as_ref().map(|connector| match &connector.anonymous {
            Some(config) => Arc::new(Connector {
                config: config.clone(),
                anonymous: None,
                ..Connector::clone(connector)
            }),
            None => connector.clone(),
        });
        Self { acceptor: None, connector }
    }
}

/// How clients' handshakes are answered.
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    end_point: Option<Arc<[u8]>>,
}

impl Acceptor {
    /// Starts TLS on a client's connection; `received` is what has come of its handshake.
    pub(crate) fn start<S>(
        &self,
        wire: &mut Wire<S>,
        received: &[u8],
    ) -> Result<(), HandshakeError> {
        let connection = ServerConnection::new(self.config.clone())?;
        wire.start(connection, self.end_point.clone(), received);
        Ok(())
    }
}

/// How servers are asked for TLS.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    /// The same without a certificate of our own, if there is one.
    anonymous: Option<Arc<ClientConfig>>,
    /// Without TLS there is no connection.
    required: bool,
    /// It begins without asking.
    direct: bool,
    /// The certificate must be for the server's name.
    checks_name: bool,
}

impl Connector {
    fn start<S>(&self, wire: &mut Wire<S>, host: &BackendHost) -> Result<(), EncryptionError> {
        let text = host.to_string();
        let name = match ServerName::try_from(text.clone()) {
            Ok(name) => name,
            Err(_) if self.checks_name => return Err(EncryptionError::Name(text.into())),
            // Only a name would be sent to the server.
            Err(_) => ServerName::from(core::net::IpAddr::from([0, 0, 0, 0])),
        };
        let connection = ClientConnection::new(self.config.clone(), name)
            .map_err(|error| EncryptionError::Handshake(error.into()))?;
        wire.start(connection, None, b"");
        Ok(())
    }
}

/// Why a handshake has failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HandshakeError {
    /// The sides do not agree, or one does not trust the other.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// The connection ended.
    #[error("the connection was closed during the handshake")]
    Closed,
}

/// Why there is no TLS with a server, and so no connection.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncryptionError {
    /// It has none.
    #[error("server does not offer TLS, but weir_server_tls_mode demands it")]
    NotOffered,
    /// It answered with an error. What that says is nobody's word: it may come from anybody between
    /// here and the server (compare CVE-2024-10977).
    #[error("server sent an error response instead of starting TLS")]
    ErrorInClear,
    /// It answered something that is no answer.
    #[error("server answered the request for TLS with byte {0:#04x}")]
    Unexpected(u8),
    /// More than the answer came, in clear (compare CVE-2021-23222).
    #[error("received unencrypted data after the server's answer to the request for TLS")]
    DataInClear,
    /// The connection ended before the handshake.
    #[error("server closed the connection when it was asked for TLS")]
    Closed,
    /// The handshake failed.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[from] HandshakeError),
    /// TLS was begun at once, which takes ALPN.
    #[error("server did not agree to speak PostgreSQL's protocol within TLS (ALPN)")]
    NoAlpn,
    /// The server's name is not one that a certificate can have.
    #[error("\"{0}\" is no name that a certificate could be checked for")]
    Name(Box<str>),
}

/// What is known of who may use a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAccess {
    /// Its mode, as of `stat`.
    pub mode: u32,
    /// Whether it belongs to root.
    pub owned_by_root: bool,
}

/// A key with a certificate of its own making, DER.
#[derive(Clone)]
pub struct SelfSigned {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key, PKCS #8.
    pub key: zeroize::Zeroizing<Vec<u8>>,
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SelfSigned(..)")
    }
}

/// What [`load`] needs from outside besides files; a runtime has it.
pub trait Sources {
    /// The names of the files in a directory, links to files included.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn list(&mut self, path: &str) -> Result<Vec<String>, String>;

    /// Who may use a file; `None` where that is not known.
    fn access(&mut self, path: &str) -> Option<FileAccess>;

    /// Has the shell run a command, and answers what that prints.
    ///
    /// # Errors
    /// Why it has failed.
    fn run(&mut self, command: &str) -> Result<String, String>;

    /// Makes a key and a certificate for this host; the same ones whenever it is asked.
    ///
    /// # Errors
    /// Why it cannot.
    fn self_signed(&mut self) -> Result<SelfSigned, String>;

    /// The cryptography to use.
    fn provider(&self) -> Arc<CryptoProvider>;

    /// The time of day.
    fn clock(&self) -> Arc<dyn TimeProvider>;
}
