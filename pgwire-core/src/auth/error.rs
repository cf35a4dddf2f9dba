//! Why a login did not come about. Nothing here holds a byte that a peer or a file supplied.

use thiserror::Error;

use super::Method;

/// A message of the peer that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// The message is not one that may come at this point of the exchange.
    #[error("authentication message out of turn")]
    OutOfTurn,
    /// The message cannot be parsed.
    #[error("malformed authentication message: {0}")]
    Malformed(&'static str),
    /// A part of the message exceeds its bound.
    #[error("authentication message with an overlong {0}")]
    TooLong(&'static str),
    /// The nonce is not the one of this exchange.
    #[error("SCRAM nonce does not belong to this exchange")]
    WrongNonce,
}

/// Something that the protocol knows and this implementation refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnsupportedFeature {
    /// A SASL mechanism that was not offered.
    #[error("SASL mechanism that was not offered")]
    Mechanism,
    /// A SASL authorization identity: PostgreSQL takes the role from the startup packet.
    #[error("SASL authorization identity")]
    AuthorizationIdentity,
    /// A SCRAM extension (`m=`) that has to be understood.
    #[error("mandatory SCRAM extension")]
    MandatoryExtension,
    /// A channel binding where there is none, or one of another type than `tls-server-end-point`.
    #[error("SCRAM channel binding of that type, or without TLS")]
    ChannelBinding,
}

/// What a server can say instead of its signature (RFC 5802, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are those of the RFC")]
pub enum ScramErrorCode {
    InvalidEncoding,
    ExtensionsNotSupported,
    InvalidProof,
    ChannelBindingsDontMatch,
    ServerDoesSupportChannelBinding,
    ChannelBindingNotSupported,
    UnsupportedChannelBindingType,
    UnknownUser,
    InvalidUsernameEncoding,
    NoResources,
    /// `other-error`, or a value that the RFC does not list.
    Other,
}

impl ScramErrorCode {
    pub(super) fn parse(value: &[u8]) -> Self {
        match value {
            b"invalid-encoding" => Self::InvalidEncoding,
            b"extensions-not-supported" => Self::ExtensionsNotSupported,
            b"invalid-proof" => Self::InvalidProof,
            b"channel-bindings-dont-match" => Self::ChannelBindingsDontMatch,
            b"server-does-support-channel-binding" => Self::ServerDoesSupportChannelBinding,
            b"channel-binding-not-supported" => Self::ChannelBindingNotSupported,
            b"unsupported-channel-binding-type" => Self::UnsupportedChannelBindingType,
            b"unknown-user" => Self::UnknownUser,
            b"invalid-username-encoding" => Self::InvalidUsernameEncoding,
            b"no-resources" => Self::NoResources,
            _ => Self::Other,
        }
    }
}

/// Why [`ClientAuth`](super::ClientAuth) cannot log in to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The server asks for an authentication method (the code of its request) that is not spoken
    /// here: GSSAPI (7), SSPI (9), ...
    #[error("server asks for unsupported authentication method {0}")]
    UnsupportedMethod(i32),
    /// The server asks for SASL, with none of the mechanisms spoken here.
    #[error("server offers no supported SASL mechanism")]
    NoCommonMechanism,
    /// The server wants a password, by this method, and there is none.
    #[error("server asks for a password and none is known")]
    SecretRequired(Method),
    /// What is known of the password does not serve the method that the server asks for; for
    /// example a SCRAM verifier serves none and an md5 hash not SCRAM.
    #[error("the stored form of the password does not serve {0}")]
    SecretUnsuitable(&'static str),
    /// The SCRAM keys were made for another salt or iteration count than the server's: the
    /// password was set anew since.
    #[error("SCRAM keys do not belong to the server's current verifier")]
    StaleKeys,
    /// The server demands more (or fewer, zero) PBKDF2 iterations than allowed.
    #[error("server demands a SCRAM iteration count out of range")]
    IterationsOutOfRange,
    /// The server broke the protocol.
    #[error("server: {0}")]
    Protocol(#[from] ProtocolViolation),
    /// The server declared the login successful without having shown that it knows the password.
    #[error("server did not complete the SCRAM exchange")]
    Incomplete,
    /// The server's signature is wrong: it does not know the password.
    #[error("server's SCRAM signature is wrong")]
    BadServerSignature,
    /// The server ended the SCRAM exchange with an error.
    #[error("server ended the SCRAM exchange: {0:?}")]
    Scram(ScramErrorCode),
    /// The caller handed in something that was not asked for.
    #[error("authentication driven out of order by its caller")]
    Misuse,
}

/// Why [`ServerAuth`](super::ServerAuth) does not let a client in.
///
/// The variants are for the log of the server. The client must learn no more than
/// [`AuthFailure::kind`] tells, which is the same for a wrong password and for a role that does
/// not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthFailure {
    /// The client does not know the password.
    #[error("wrong password")]
    WrongPassword,
    /// The client sent an empty password, which is never valid.
    #[error("empty password")]
    EmptyPassword,
    /// There is no secret for the role.
    #[error("no password is known for the role")]
    UnknownRole,
    /// The stored form of the password cannot be checked with the method asked for.
    #[error("the stored form of the password cannot be checked with this method")]
    SecretUnsuitable,
    /// The method is [`Method::Reject`](super::Method::Reject).
    #[error("logins of this kind are rejected")]
    Rejected,
    /// The client broke the protocol.
    #[error("client: {0}")]
    Protocol(#[from] ProtocolViolation),
    /// The client's channel binding is not that of this connection.
    #[error("SCRAM channel binding does not match the connection")]
    ChannelBindingMismatch,
    /// The client believes that no channel binding was offered, although it was: somebody in
    /// between removed it.
    #[error("SCRAM channel binding was offered and the client did not see the offer")]
    ChannelBindingDowngrade,
    /// The client wants something that is refused.
    #[error("client asks for an unsupported {0}")]
    Unsupported(#[from] UnsupportedFeature),
    /// The caller handed in something that was not asked for.
    #[error("authentication driven out of order by its caller")]
    Misuse,
}

/// As much of an [`AuthFailure`] as a client may learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// "password authentication failed".
    WrongPassword,
    /// No login of this kind.
    Rejected,
    /// The client broke the protocol.
    Protocol,
    /// The channel binding does not hold.
    ChannelBinding,
    /// The client wants something that is refused.
    Unsupported,
    /// A mistake of the caller.
    Internal,
}

impl AuthFailure {
    /// What the client may be told.
    #[must_use]
    pub const fn kind(self) -> FailureKind {
        match self {
            Self::WrongPassword
            | Self::EmptyPassword
            | Self::UnknownRole
            | Self::SecretUnsuitable => FailureKind::WrongPassword,
            Self::Rejected => FailureKind::Rejected,
            Self::Protocol(_) => FailureKind::Protocol,
            Self::ChannelBindingMismatch | Self::ChannelBindingDowngrade => {
                FailureKind::ChannelBinding
            }
            Self::Unsupported(_) => FailureKind::Unsupported,
            Self::Misuse => FailureKind::Internal,
        }
    }

    /// The SQLSTATE that PostgreSQL reports in the same case.
    #[must_use]
    pub const fn sqlstate(self) -> [u8; 5] {
        match self.kind() {
            FailureKind::WrongPassword => *b"28P01",
            FailureKind::Rejected | FailureKind::ChannelBinding => *b"28000",
            FailureKind::Protocol => *b"08P01",
            FailureKind::Unsupported => *b"0A000",
            FailureKind::Internal => *b"XX000",
        }
    }
}
