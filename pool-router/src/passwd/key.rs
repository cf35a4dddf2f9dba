//! The key of encrypted passwords, and Pgpool-II's way of encrypting with it.
//!
//! AES-256 in CBC mode with PKCS #7 padding. Key and initialisation vector are what OpenSSL's
//! `EVP_BytesToKey` makes of the key text with SHA-1, one round and no salt; so equal passwords
//! give equal texts, and whoever has the key file has all passwords.

use core::fmt;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use zeroize::Zeroizing;

use super::SecretText;

/// Longest text of a key, in bytes; Pgpool-II cuts longer ones off.
pub const MAX_KEY_LEN: usize = 256;

/// The key file in the home directory, where it is looked for last.
pub const HOME_KEY_FILE: &str = ".pgpoolkey";

/// What `AES` entries of `pool_passwd` are encrypted with. Wiped when dropped.
#[derive(Clone)]
pub struct PoolKey {
    key: Zeroizing<[u8; 32]>,
    iv: Zeroizing<[u8; 16]>,
}

impl PoolKey {
    /// The key of a key file's text: its first line. `None`: there is nothing on it.
    #[must_use]
    pub fn from_file(text: &str) -> Option<Self> {
        Self::from_text(text.lines().next().unwrap_or_default())
    }

    /// The key of a text. `None`: it is empty.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let text = text.get(..MAX_KEY_LEN).unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        let mut bytes = Zeroizing::new([0_u8; 60]);
        let mut last: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::new());
        for block in bytes.chunks_exact_mut(20) {
            let mut sha1 = Sha1::new();
            sha1.update(&*last);
            sha1.update(text);
            block.copy_from_slice(&sha1.finalize());
            last = Zeroizing::new(block.to_vec());
        }
        let (key, rest) = bytes.split_first_chunk::<32>()?;
        let (iv, _) = rest.split_first_chunk::<16>()?;
        Some(Self { key: Zeroizing::new(*key), iv: Zeroizing::new(*iv) })
    }

    /// Encrypts a password: the base64 that stands behind `AES`.
    #[must_use]
    pub fn encrypt(&self, password: &str) -> String {
        let mut buffer = Zeroizing::new(password.as_bytes().to_vec());
        let len = buffer.len();
        // Padding adds 1 to 16 bytes.
        buffer.resize(len.saturating_add(16), 0);
        let cipher = cbc::Encryptor::<Aes256>::new((&*self.key).into(), (&*self.iv).into());
        let encrypted = cipher.encrypt_padded::<Pkcs7>(&mut buffer, len).unwrap_or_default();
        STANDARD.encode(encrypted)
    }

    /// Decrypts the base64 that stands behind `AES`. `None`: it was made with another key.
    #[must_use]
    pub fn decrypt(&self, base64: &str) -> Option<SecretText> {
        let mut buffer = Zeroizing::new(STANDARD.decode(base64).ok()?);
        let cipher = cbc::Decryptor::<Aes256>::new((&*self.key).into(), (&*self.iv).into());
        let password = cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok()?;
        let password = core::str::from_utf8(password).ok()?;
        (!password.is_empty()).then(|| SecretText::new(password))
    }
}

impl fmt::Debug for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Pgpool-II's `pg_enc` made.
    #[test]
    fn the_vector_of_pg_enc() {
        let key = PoolKey::from_file("k3y\nanother line\n").unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(&*key.key),
            "594a3a23e0955e7250d8ec7ac4068dc0909b2c307972ab4a8cc113c26c32002a"
        );
        assert_eq!(hex(&*key.iv), "4698f901b74c06f1400b1005c6703bdd");
        assert_eq!(key.encrypt("secret"), "mP/ZtaU4H21V8oJHP64QYQ==");
        assert_eq!(key.decrypt("mP/ZtaU4H21V8oJHP64QYQ==").unwrap().expose(), "secret");
        assert!(!format!("{key:?}").contains("594a"));
    }

    #[test]
    fn what_is_no_key_or_not_of_this_key() {
        assert!(PoolKey::from_file("").is_none());
        assert!(PoolKey::from_file("\nkey").is_none());
        let other = PoolKey::from_text("other").unwrap();
        assert!(other.decrypt("mP/ZtaU4H21V8oJHP64QYQ==").is_none());
        assert!(other.decrypt("").is_none());
        assert!(other.decrypt("AAAA").is_none(), "no whole block");
        let long = "k".repeat(MAX_KEY_LEN + 9);
        let cut = PoolKey::from_text(&long[..MAX_KEY_LEN]).unwrap();
        assert_eq!(PoolKey::from_text(&long).unwrap().encrypt("x"), cut.encrypt("x"));
    }

    proptest! {
        #[test]
        fn what_is_encrypted_is_decrypted(key in ".{1,300}", password in "(?s).{1,80}") {
            let Some(key) = PoolKey::from_text(&key) else { return Ok(()) };
            let found = key.decrypt(&key.encrypt(&password)).unwrap();
            prop_assert_eq!(found.expose(), password.as_str());
        }

        #[test]
        fn any_text_is_taken(base64 in "[A-Za-z0-9+/=]{0,80}") {
            let _ = PoolKey::from_text("k").unwrap().decrypt(&base64);
        }
    }
}
