//! Cancel keys: the secrets that let somebody cancel a session's query from another connection.
//!
//! Source: PostgreSQL documentation, "Canceling Requests in Progress" and "Message Formats",
//! BackendKeyData: 4 bytes in protocol 3.0, up to 256 bytes from 3.2 on.

use alloc::boxed::Box;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use crate::error::DecodeError;

/// The shortest cancel key, and the only length that protocol 3.0 has.
pub const MIN_CANCEL_KEY_LEN: usize = 4;
/// The longest cancel key.
pub const MAX_CANCEL_KEY_LEN: usize = 256;

/// A cancel key: compared in constant time, never shown, wiped when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct CancelKey(Box<[u8]>);

impl CancelKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// Fewer than [`MIN_CANCEL_KEY_LEN`] or more than [`MAX_CANCEL_KEY_LEN`] bytes.
    pub fn new(key: &[u8]) -> Result<Self, DecodeError> {
        check_key_len(key)?;
        Ok(Self(key.into()))
    }

    /// The secret itself, to be sent and for nothing else.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the key that a stranger presents, in time that depends on the lengths alone.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.ct_eq(presented).into()
    }
}

/// Confirms that a key's length is one that the protocol allows.
pub(crate) const fn check_key_len(key: &[u8]) -> Result<(), DecodeError> {
    match key.len() {
        MIN_CANCEL_KEY_LEN..=MAX_CANCEL_KEY_LEN => Ok(()),
        len => Err(DecodeError::BadCancelKeyLength { len }),
    }
}

impl PartialEq for CancelKey {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}
impl Eq for CancelKey {}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelKey(..)")
    }
}

/// What a CancelRequest has to present: a session's process id and its cancel key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendKey {
    /// The process id: a name, not a secret, and not necessarily that of a process.
    pub pid: u32,
    /// The secret.
    pub key: CancelKey,
}
