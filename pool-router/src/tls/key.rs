//! Private keys in their files.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkcs5::EncryptionScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::der::asn1::{AnyRef, OctetStringRef};
use x509_cert::der::{self, Decode};
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
        let (scheme, data) = encrypted_key(&block)
            .map_err(|error| format!("holds no key that can be read: {error}"))?;
        // Which of both it is cannot be told apart.
        let key = scheme.decrypt(phrase.as_bytes(), data.as_bytes()).map_err(|_| {
            "cannot be decrypted: the passphrase is wrong, or the encryption is not one of PKCS #5 \
             with PBKDF2 or scrypt and AES"
                .to_owned()
        })?;
        return Ok(PrivatePkcs8KeyDer::from(key).into());
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

/// The encrypted key in a PEM text, DER. Empty if it cannot be read.
fn encrypted_block(text: &str) -> Option<Vec<u8>> {
    let (_, block) = text.split_once("-----BEGIN ENCRYPTED PRIVATE KEY-----")?;
    let (block, _) = block.split_once("-----END ENCRYPTED PRIVATE KEY-----").unwrap_or_default();
    let base64: String = block.split_ascii_whitespace().collect();
    Some(STANDARD.decode(base64).unwrap_or_default())
}

/// EncryptedPrivateKeyInfo (RFC 5958, 3).
fn encrypted_key(document: &[u8]) -> der::Result<(EncryptionScheme, &OctetStringRef)> {
    AnyRef::from_der(document)?
        .sequence(|reader| Ok((EncryptionScheme::decode(reader)?, <&_>::decode(reader)?)))
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
