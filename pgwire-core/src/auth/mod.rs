//! Logging in: both ends of the exchange that follows the startup packet.
//!
//! [`ClientAuth`] answers a server's requests, [`ServerAuth`] makes the requests to a client. Both
//! take the body of each authentication message they are handed (without tag and length), append
//! complete messages to the caller's buffer, and say what has to happen next with an [`AuthStep`].
//! Neither draws random bytes (they are arguments) and neither burns the CPU time of a key
//! derivation by itself: that is an [`AuthStep::Derive`], which the caller runs where it can
//! afford to and answers with `resume`.
//!
//! ```text
//!  begin / on_request / on_response / resume
//!     -> Send            write what was appended, wait for the peer's next message
//!     -> Derive(job)     resume(job.run(), out)
//!     -> Done(who)       the peer is who it says (a server still has to say AuthenticationOk)
//! ```
//!
//! Sources: PostgreSQL documentation, chapters "Frontend/Backend Protocol" (Start-up, SASL
//! Authentication, Message Formats) and "Client Authentication"; RFC 5802 (SCRAM), RFC 7677
//! (SCRAM-SHA-256), RFC 5929 (`tls-server-end-point`), RFC 4013 (SASLprep), RFC 8018 (PBKDF2).

mod client;
mod derive;
mod error;
mod scram;
mod secret;
mod server;
mod wire;

pub use client::ClientAuth;
pub use derive::{DeriveJob, DerivedKey};
pub use error::{
    AuthError, AuthFailure, FailureKind, ProtocolViolation, ScramErrorCode, UnsupportedFeature,
};
pub use secret::{Md5Hash, Password, ScramKeys, ScramVerifier, Secret};
pub use server::{Method, MockAs, ServerAuth, ServerEntropy};

use core::num::NonZeroU32;

/// The PBKDF2 iteration count for a verifier made here, the same as PostgreSQL's default
/// (`scram_iterations`) and the minimum that RFC 7677 advises.
pub const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// The largest PBKDF2 iteration count that is worked off unless the caller sets another one.
///
/// The count is the peer's choice (a server names it to its client), so without a bound one
/// message could occupy a core for minutes. This is some 25 times PostgreSQL's default.
pub const DEFAULT_MAX_ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

/// The longest password, in bytes, that is sent or accepted: what fits into the largest password
/// message that PostgreSQL reads (`PG_MAX_AUTH_TOKEN_LENGTH`, 65 535 bytes with its terminator).
pub const MAX_PASSWORD_LEN: usize = 65_534;

/// The longest SCRAM message, in bytes, that is parsed. PostgreSQL itself reads at most 1024 from
/// a client; real ones have less than 250.
pub const MAX_SCRAM_MESSAGE: usize = 2048;

/// The longest nonce, in bytes, of one SCRAM message. PostgreSQL's (client's and server's part
/// together) have 48.
pub const MAX_NONCE: usize = 512;

/// The longest SCRAM salt, in bytes. PostgreSQL's have 16.
pub const MAX_SALT: usize = 256;

/// What has to happen next in an exchange.
#[derive(Debug)]
pub enum AuthStep {
    /// Send what was appended to the output (possibly nothing) and wait for the peer's next
    /// authentication message.
    Send,
    /// Run the job, wherever a millisecond or more of CPU time does no harm, and hand the result to
    /// `resume`. No message may be handed in before that.
    Derive(DeriveJob),
    /// The exchange is over. Send what was appended to the output.
    Done(Authenticated),
}

/// The outcome of a successful exchange.
#[derive(Debug)]
pub struct Authenticated {
    method: Method,
    verified: bool,
    secret: Option<Secret>,
}

impl Authenticated {
    /// How the login was done. For a [`ServerAuth`] this can differ from the method it was made
    /// with (see [`Method::Md5`]).
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Whether the client showed that it knows the secret. False after [`Method::Trust`] and
    /// after [`ServerAuth::collect_cleartext`], where nobody looked at the password yet. For a
    /// [`ClientAuth`]: whether the *server* showed it, which only SCRAM does.
    #[must_use]
    pub const fn verified(&self) -> bool {
        self.verified
    }

    /// What the exchange taught about the password, fit for a later [`ClientAuth`]: the password
    /// itself after [`Method::Password`], the keys after [`Method::ScramSha256`] (they spare the
    /// derivation for as long as the server keeps the same verifier).
    #[must_use]
    pub const fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// [`Authenticated::secret`], by value.
    #[must_use]
    pub fn into_secret(self) -> Option<Secret> {
        self.secret
    }
}
