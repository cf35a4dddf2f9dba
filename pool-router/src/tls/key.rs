//! Private keys in their files.

use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::pem::PemLabel;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::certificate;

/// The key in a PEM text. `passphrase` is asked for that of an encrypted one.
///
/// # Errors
/// Why there is none, in words that follow the file's name.
pub(super) fn parse(
    text: &str,
    passphrase: &mut dyn FnMut() -> Result<Zeroizing<String>, String>,
) -> Result<PrivateKeyDer<'static>, String> {
    if let Some(block) = encrypted_block(text) {
        let phrase = passphrase()?;
        let (_, document) = pkcs8::SecretDocument::from_pem(block)
            .map_err(|error| format!("is no PEM file: {error}"))?;
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
            .map_err(|error| format!("holds no key that can be read: {error}"))?;
        // Which of both it is cannot be told apart.
        let key = encrypted.decrypt(phrase.as_bytes()).map_err(|_| {
            "cannot be decrypted: the passphrase is wrong, or the encryption is not one of PKCS #5 \
             with PBKDF2 or scrypt and AES"
                .to_owned()
        })?;
        return Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into());
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(
            "is encrypted in a way of before PKCS #8: convert it, with `openssl pkcs8 -topk8`"
                .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| "holds no private key in PEM".to_owned())
}

/// The part of a PEM text that holds an encrypted key.
fn encrypted_block(text: &str) -> Option<&str> {
    let label = EncryptedPrivateKeyInfoRef::PEM_LABEL;
    let begin = text.find(&format!("-----BEGIN {label}-----"))?;
    let block = text.get(begin..)?;
    let end = format!("-----END {label}-----");
    let length = block.find(&end)? + end.len();
    block.get(..length)
}

/// The certificates in a PEM text.
///
/// # Errors
/// Why there are none, in words that follow the file's name.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is no PEM file: {error}")),
    }
}

/// A certificate chain with its key.
///
/// # Errors
/// They do not belong together, or the key is of a kind that cannot be used; in words that follow
/// the key's file name.
pub(super) fn certified(
    provider: &CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, String> {
    let signing = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| format!("holds a key that cannot be used: {error}"))?;
    let ours = chain.first().and_then(|certificate| certificate::public_key(certificate));
    match (signing.public_key(), ours) {
        (_, None) => return Err("belongs to a certificate that cannot be read".to_owned()),
        (Some(key), Some(ours)) if *key.as_ref() != *ours => {
            return Err("holds another key than that of the certificate".to_owned());
        }
        _ => {}
    }
    Ok(Arc::new(CertifiedKey::new(chain, signing)))
}
