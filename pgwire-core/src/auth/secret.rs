//! What can be known of a role's password.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::MAX_SALT;

/// 32 bytes that are wiped when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// What is known of a role's password. Wiped when dropped, never shown by `Debug`.
#[derive(Clone, Debug)]
pub enum Secret {
    /// The password itself: serves every method.
    Password(Password),
    /// PostgreSQL's md5 form: serves [`Method::Md5`](super::Method::Md5) in both directions and
    /// can check [`Method::Password`](super::Method::Password).
    Md5Hash(Md5Hash),
    /// What PostgreSQL stores for SCRAM: can check a client, cannot log in to a server.
    ScramVerifier(ScramVerifier),
    /// Keys recovered from an earlier exchange: like the verifier, and logs in to a server that
    /// holds the same verifier.
    ScramKeys(ScramKeys),
}

impl Secret {
    /// The password itself.
    #[must_use]
    pub fn password(password: &[u8]) -> Self {
        Self::Password(Password::new(password))
    }

    /// Takes a password in any form that `pg_authid.rolpassword` can hold (or a password file):
    /// `md5` and 32 lower-case hex digits, `SCRAM-SHA-256$...`, and everything else is the
    /// password itself. The rule is PostgreSQL's `get_password_type`.
    #[must_use]
    pub fn parse_rolpassword(stored: &[u8]) -> Self {
        if let Some(hash) = Md5Hash::parse(stored) {
            return Self::Md5Hash(hash);
        }
        match ScramVerifier::parse(stored) {
            Some(verifier) => Self::ScramVerifier(verifier),
            None => Self::password(stored),
        }
    }
}

/// A password in clear text, as the bytes that the user typed.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Copies `bytes`. The caller's copy is the caller's to wipe.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The password.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Password {
    /// Takes a time that depends on neither password's first different byte nor on whether the
    /// lengths are equal: digests are compared.
    fn eq(&self, other: &Self) -> bool {
        sha256(&self.0).ct_eq(&*sha256(&other.0)).into()
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// `md5(password || user)` in lower-case hex, which is all that PostgreSQL's md5 method needs:
/// it is as good as the password.
#[derive(Clone)]
pub struct Md5Hash(Zeroizing<[u8; 32]>);

impl Md5Hash {
    /// The hash of a role's password.
    #[must_use]
    pub fn of(password: &[u8], user: &[u8]) -> Self {
        Self(md5_hex(&[password, user]))
    }

    /// Takes 32 lower-case hex digits, with `md5` before them as PostgreSQL stores them.
    #[must_use]
    pub fn parse(stored: &[u8]) -> Option<Self> {
        let digits = <&[u8; 32]>::try_from(stored.strip_prefix(b"md5")?).ok()?;
        let hex = digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| Self(Zeroizing::new(*digits)))
    }

    /// The 32 hex digits.
    #[must_use]
    pub fn as_hex(&self) -> &[u8; 32] {
        &self.0
    }

    /// What a client sends for this salt: `md5` and `md5(hash || salt)` in hex.
    pub(super) fn response(&self, salt: [u8; 4]) -> Zeroizing<[u8; 35]> {
        let mut response = Zeroizing::new([0; 35]);
        let (prefix, digits) = response.split_at_mut(3);
        prefix.copy_from_slice(b"md5");
        digits.copy_from_slice(&*md5_hex(&[&*self.0, &salt]));
        response
    }
}

impl PartialEq for Md5Hash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for Md5Hash {}

impl fmt::Debug for Md5Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Md5Hash(..)")
    }
}

/// PostgreSQL's stored form of a SCRAM password (RFC 5803, with PostgreSQL's separators):
/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
#[derive(Clone)]
pub struct ScramVerifier {
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: NonZeroU32,
}

impl ScramVerifier {
    /// Puts a verifier together.
    #[must_use]
    pub fn new(
        stored_key: [u8; 32],
        server_key: [u8; 32],
        salt: Vec<u8>,
        iterations: NonZeroU32,
    ) -> Self {
        let (stored_key, server_key) = (Zeroizing::new(stored_key), Zeroizing::new(server_key));
        Self { stored_key, server_key, salt, iterations }
    }

    /// Takes the stored form. None when it is not one: iterations of 1 to 2^31-1, a salt of 1 to
    /// [`MAX_SALT`] bytes, keys of 32 bytes, base64 with padding.
    #[must_use]
    pub fn parse(stored: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(stored).ok()?.strip_prefix("SCRAM-SHA-256$")?;
        let (iterations, rest) = text.split_once(':')?;
        let (salt, rest) = rest.split_once('$')?;
        let (stored_key, server_key) = rest.split_once(':')?;
        Some(Self {
            stored_key: decode_key(stored_key.as_bytes())?,
            server_key: decode_key(server_key.as_bytes())?,
            salt: decode_salt(salt.as_bytes())?,
            iterations: parse_iterations(iterations.as_bytes())?,
        })
    }

    /// The stored form, as [`ScramVerifier::parse`] takes it.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(160));
        text.push_str("SCRAM-SHA-256$");
        text.push_str(&alloc::format!("{}:", self.iterations));
        STANDARD.encode_string(&self.salt, &mut text);
        text.push('$');
        STANDARD.encode_string(self.stored_key.as_slice(), &mut text);
        text.push(':');
        STANDARD.encode_string(self.server_key.as_slice(), &mut text);
        text
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The PBKDF2 iteration count.
    #[must_use]
    pub const fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }
}

impl PartialEq for ScramVerifier {
    fn eq(&self, other: &Self) -> bool {
        let keys =
            self.stored_key.ct_eq(&*other.stored_key) & self.server_key.ct_eq(&*other.server_key);
        bool::from(keys) && self.salt == other.salt && self.iterations == other.iterations
    }
}

impl Eq for ScramVerifier {}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Both keys of a password, for one salt and iteration count: enough to log in to the server
/// that holds the verifier made with these, without knowing the password.
#[derive(Clone)]
pub struct ScramKeys {
    pub(super) client_key: Key,
    pub(super) server_key: Key,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: NonZeroU32,
}

impl ScramKeys {
    /// Puts keys together.
    #[must_use]
    pub fn new(
        client_key: [u8; 32],
        server_key: [u8; 32],
        salt: Vec<u8>,
        iterations: NonZeroU32,
    ) -> Self {
        let (client_key, server_key) = (Zeroizing::new(client_key), Zeroizing::new(server_key));
        Self { client_key, server_key, salt, iterations }
    }

    /// The verifier that these keys belong to.
    #[must_use]
    pub fn verifier(&self) -> ScramVerifier {
        ScramVerifier {
            stored_key: sha256(&*self.client_key),
            server_key: self.server_key.clone(),
            salt: self.salt.clone(),
            iterations: self.iterations,
        }
    }

    /// Whether the keys were made with this salt and iteration count.
    #[must_use]
    pub fn made_with(&self, salt: &[u8], iterations: NonZeroU32) -> bool {
        self.salt == salt && self.iterations == iterations
    }
}

impl PartialEq for ScramKeys {
    fn eq(&self, other: &Self) -> bool {
        let keys =
            self.client_key.ct_eq(&*other.client_key) & self.server_key.ct_eq(&*other.server_key);
        bool::from(keys) && self.made_with(&other.salt, other.iterations)
    }
}

impl Eq for ScramKeys {}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

pub(super) fn sha256(data: &[u8]) -> Key {
    Zeroizing::new(Sha256::digest(data).into())
}

fn md5_hex(parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    let digest: Zeroizing<[u8; 16]> = Zeroizing::new(md5.finalize().into());
    let mut hex = Zeroizing::new([0; 32]);
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest.iter()) {
        pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    hex
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Exactly 32 bytes of base64.
pub(super) fn decode_key(base64: &[u8]) -> Option<Key> {
    // The decoder sizes its output for whole groups of three.
    let mut buffer = Zeroizing::new([0; 33]);
    let len = STANDARD.decode_slice(base64, &mut *buffer).ok()?;
    let mut key = Key::default();
    key.copy_from_slice(buffer.get(..len).filter(|bytes| bytes.len() == 32)?);
    Some(key)
}

/// 1 to [`MAX_SALT`] bytes of base64.
pub(super) fn decode_salt(base64: &[u8]) -> Option<Vec<u8>> {
    if base64.len() > MAX_SALT.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(base64).ok().filter(|salt| (1..=MAX_SALT).contains(&salt.len()))
}

/// 1 to 2^31-1 in decimal digits, without a sign.
pub(super) fn parse_iterations(digits: &[u8]) -> Option<NonZeroU32> {
    if digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: i32 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    NonZeroU32::new(u32::try_from(count).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::DEFAULT_ITERATIONS;
    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:hFm4Ddt/SnhXhSCEENq9HA==$nM+4lHdBPq2n++U7dcHxkqE5sJKAvoYWfIpAN++OVME=:Q5WPt+ipoFKnky58c+IcpFOiM6nua1vggZ0hoXnMSw4=";

    #[test]
    fn rolpassword_kinds() {
        let kind = |stored: &str| Secret::parse_rolpassword(stored.as_bytes());
        assert!(matches!(kind("md5890621e9f597c9a65ae6d9b8db02e14c"), Secret::Md5Hash(_)));
        assert!(matches!(kind(VERIFIER), Secret::ScramVerifier(_)));
        let plain = [
            "",
            "pencil",
            "md5",
            "md5890621e9f597c9a65ae6d9b8db02e14",
            "md5890621e9f597c9a65ae6d9b8db02e14cc",
            "md5890621E9F597C9A65AE6D9B8DB02E14C",
            "md5890621e9f597c9a65ae6d9b8db02e14g",
            "SCRAM-SHA-256$",
            &VERIFIER.replace("4096", "0"),
            &VERIFIER.replace("4096", "-4096"),
            &VERIFIER.replace("4096", "+4096"),
            &VERIFIER.replace("4096", "2147483648"),
            &VERIFIER.replace("4096", "99999999999999999999"),
            &VERIFIER.replace("hFm4Ddt/SnhXhSCEENq9HA==", ""),
            &VERIFIER.replace("hFm4Ddt/SnhXhSCEENq9HA==", "hFm4Ddt/SnhXhSCEENq9HA"),
            &VERIFIER.replace("SHA-256", "SHA-512"),
            &VERIFIER.replace("nM+4", ""),
            &VERIFIER.replace("nM+4", "AAAAnM+4"),
            &[VERIFIER, ":"].concat(),
        ];
        for stored in plain {
            let Secret::Password(password) = kind(stored) else { panic!("{stored}") };
            assert_eq!(password.as_bytes(), stored.as_bytes());
        }
    }

    #[test]
    fn verifier_is_written_as_it_was_read() {
        let verifier = ScramVerifier::parse(VERIFIER.as_bytes()).unwrap();
        assert_eq!(verifier.encode().as_str(), VERIFIER);
        assert_eq!(verifier.iterations(), DEFAULT_ITERATIONS);
        assert_eq!(verifier.salt().len(), 16);
    }

    /// Made by PostgreSQL 15.
    #[test]
    fn md5_hashes() {
        let hashes = [
            ("md", "pencil", "md5890621e9f597c9a65ae6d9b8db02e14c"),
            ("m d'é", "päss", "md51e94a591b8046ae4273aaa4e0e204b90"),
        ];
        for (user, password, stored) in hashes {
            let hash = Md5Hash::of(password.as_bytes(), user.as_bytes());
            assert!(Md5Hash::parse(stored.as_bytes()).unwrap() == hash);
        }
    }

    /// Computed with coreutils' md5sum.
    #[test]
    fn md5_response() {
        let hash = Md5Hash::parse(b"md5890621e9f597c9a65ae6d9b8db02e14c").unwrap();
        assert_eq!(*hash.response(*b"\x01\xff,\x00"), *b"md5cb0dd85e4e2b1ea32752f0f4f4d7e002");
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = ScramKeys::new([7; 32], [9; 32], alloc::vec![0x5a; 16], DEFAULT_ITERATIONS);
        let secrets = [
            Secret::password(b"pencil"),
            Secret::Md5Hash(Md5Hash::of(b"pencil", b"u")),
            Secret::ScramVerifier(keys.verifier()),
            Secret::ScramKeys(keys),
        ];
        let text = alloc::format!("{secrets:?}");
        assert_eq!(
            text,
            "[Password(Password(..)), Md5Hash(Md5Hash(..)), \
             ScramVerifier(ScramVerifier { iterations: 4096, .. }), \
             ScramKeys(ScramKeys { iterations: 4096, .. })]"
        );
    }
}
