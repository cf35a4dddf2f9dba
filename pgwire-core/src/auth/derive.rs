//! The costly part of SCRAM: from a password to its keys.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use stringprep::tables;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::secret::{Key, Password, ScramKeys, ScramVerifier, sha256};

/// A key derivation that is due: plain data, to be run on whatever thread can be spared.
pub struct DeriveJob {
    /// After SASLprep.
    password: Password,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl DeriveJob {
    /// A derivation outside an exchange, for making a verifier of a password that is known.
    #[must_use]
    pub fn new(password: &Password, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        Self { password: saslprep(password), salt, iterations }
    }

    /// How many rounds the derivation has; its cost is proportional to them.
    #[must_use]
    pub const fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Runs PBKDF2-HMAC-SHA-256 (RFC 8018, 5.2) and makes the keys (RFC 5802, 3). Some
    /// milliseconds for [`DEFAULT_ITERATIONS`](super::DEFAULT_ITERATIONS).
    #[must_use]
    pub fn run(self) -> DerivedKey {
        let salted = pbkdf2(self.password.as_bytes(), &self.salt, self.iterations);
        DerivedKey(ScramKeys {
            client_key: hmac(&*salted, &[b"Client Key"]),
            server_key: hmac(&*salted, &[b"Server Key"]),
            salt: self.salt,
            iterations: self.iterations,
        })
    }
}

impl fmt::Debug for DeriveJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeriveJob").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// The result of a [`DeriveJob`].
#[derive(Debug, Clone)]
pub struct DerivedKey(pub(super) ScramKeys);

impl DerivedKey {
    /// The keys, to keep for later logins.
    #[must_use]
    pub fn into_keys(self) -> ScramKeys {
        self.0
    }

    /// The verifier, to check clients with and without a further derivation.
    #[must_use]
    pub fn verifier(&self) -> ScramVerifier {
        self.0.verifier()
    }
}

type HmacSha256 = Hmac<Sha256>;

fn keyed(key: &[u8]) -> HmacSha256 {
    // Filling the block oneself (RFC 2104, 2) makes the construction infallible.
    let mut block = Zeroizing::new([0; 64]);
    match block.get_mut(..key.len()) {
        Some(head) => head.copy_from_slice(key),
        None => block.split_at_mut(32).0.copy_from_slice(&*sha256(key)),
    }
    HmacSha256::new((&*block).into())
}

/// HMAC-SHA-256 over the concatenation of `parts`.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn pbkdf2(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Key {
    let keyed = keyed(password);
    let round = |parts: &[&[u8]]| -> Key {
        let mut mac = keyed.clone();
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    };
    // One block of output is all that SCRAM-SHA-256 takes, hence the block number 1.
    let mut last = round(&[salt, &1u32.to_be_bytes()]);
    let mut sum = last.clone();
    for _ in 1..iterations.get() {
        last = round(&[&*last]);
        for (byte, other) in sum.iter_mut().zip(last.iter()) {
            *byte ^= other;
        }
    }
    sum
}

/// SASLprep (RFC 4013) as PostgreSQL does it (`pg_saslprep`): what cannot be prepared is used as
/// it is, and prohibited characters are looked for before the normalization, not after it.
fn saslprep(password: &Password) -> Password {
    let raw = password.as_bytes();
    if raw.is_ascii() {
        return password.clone();
    }
    let Some(prepared) = core::str::from_utf8(raw).ok().and_then(prepare) else {
        return password.clone();
    };
    Password::new(prepared.as_bytes())
}

fn prepare(text: &str) -> Option<Zeroizing<String>> {
    let mut mapped = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars() {
        if tables::non_ascii_space_character(c) {
            mapped.push(' ');
        } else if !tables::commonly_mapped_to_nothing(c) {
            mapped.push(c);
        }
    }
    if mapped.is_empty() || mapped.chars().any(prohibited) || !bidirectional_ok(&mapped) {
        return None;
    }
    // Room for the worst case of NFKC (18 times, U+FDFA), so that no reallocation leaves a copy.
    let mut normal = Zeroizing::new(String::with_capacity(mapped.len().saturating_mul(18)));
    normal.extend(mapped.nfkc());
    Some(normal)
}

/// RFC 4013, 2.3 and 2.5.
fn prohibited(c: char) -> bool {
    tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::surrogate_code(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// RFC 3454, 6: text with right-to-left characters has no left-to-right ones, and begins and ends
/// with a right-to-left one.
fn bidirectional_ok(text: &str) -> bool {
    !text.contains(tables::bidi_r_or_al)
        || (!text.contains(tables::bidi_l)
            && text.starts_with(tables::bidi_r_or_al)
            && text.ends_with(tables::bidi_r_or_al))
}
