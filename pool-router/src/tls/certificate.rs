//! What is read from X.509 certificates: names, the public key, and the hash that SCRAM binds to.

use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// Any certificate, also one whose issuer took liberties.
type Certificate = CertificateInner<Raw>;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Who a verified client certificate says that the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName {
    /// The common name of the subject (the first, if it has several). `None` if there is none, or
    /// one that cannot be a role's name.
    pub common_name: Option<String>,
    /// The whole subject, as RFC 4514 writes it.
    pub distinguished_name: String,
}

impl PeerName {
    /// Reads the subject of a certificate (DER).
    pub(crate) fn read(certificate: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let subject = certificate.tbs_certificate().subject();
        let common_name = subject
            .iter()
            .find(|attribute| attribute.oid == COMMON_NAME)
            .and_then(|attribute| text(attribute.value.tag(), attribute.value.value()));
        Some(Self { common_name, distinguished_name: subject.to_string() })
    }
}

/// A name without a zero byte in it: what is read up to that would be somebody else's name.
fn text(tag: Tag, bytes: &[u8]) -> Option<String> {
    let text = match tag {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            std::str::from_utf8(bytes).ok()?
        }
        // Of the others only the letters that all have in common.
        Tag::TeletexString if bytes.is_ascii() => std::str::from_utf8(bytes).ok()?,
        _ => return None,
    };
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

/// The SubjectPublicKeyInfo of a certificate, DER.
pub(super) fn public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    certificate.tbs_certificate().subject_public_key_info().to_der().ok()
}

/// The issuer of a certificate, DER.
pub(super) fn issuer(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    certificate.tbs_certificate().issuer().to_der().ok()
}

/// The seconds since 1970 from which and up to which a certificate is valid.
pub(super) fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
    Some((seconds(&validity.not_before), seconds(&validity.not_after)))
}

/// `tls-server-end-point` (RFC 5929, 4.1): the hash of the certificate by the hash function of its
/// signature, with SHA-256 in the place of MD5 and SHA-1. `None` where that is not defined, as for
/// Ed25519.
pub(crate) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    Some(match signature_hash(parsed.signature_algorithm())? {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

fn signature_hash(algorithm: &AlgorithmIdentifierOwned) -> Option<Hash> {
    Some(match algorithm.oid.to_string().as_str() {
        // RSA (RFC 8017, appendix C) with MD5, SHA-1, SHA-256, SHA-384, SHA-512.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => Hash::Sha256,
        "1.2.840.113549.1.1.12" => Hash::Sha384,
        "1.2.840.113549.1.1.13" => Hash::Sha512,
        // RSASSA-PSS: the parameters say.
        "1.2.840.113549.1.1.10" => {
            let parameters = algorithm.parameters.as_ref()?.to_der().ok()?;
            pss_hash(&parameters)?
        }
        // ECDSA (RFC 5758) with SHA-1, SHA-256, SHA-384, SHA-512.
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Hash::Sha256,
        "1.2.840.10045.4.3.3" => Hash::Sha384,
        "1.2.840.10045.4.3.4" => Hash::Sha512,
        _ => return None,
    })
}

/// The hashAlgorithm of RSASSA-PSS-params (RFC 8017, A.2.3); SHA-1, the default, counts as SHA-256.
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let sequence = AnyRef::from_der(parameters).ok().filter(|any| any.tag() == Tag::Sequence)?;
    // [0] EXPLICIT AlgorithmIdentifier, if it is there, comes first.
    let Some((&0xa0, rest)) = sequence.value().split_first() else { return Some(Hash::Sha256) };
    let (&length, rest) = rest.split_first()?;
    let body = rest.get(..usize::from(length).min(rest.len()))?;
    let hash = AlgorithmIdentifierOwned::from_der(body).ok()?;
    match hash.oid.to_string().as_str() {
        "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Some(Hash::Sha256),
        "2.16.840.1.101.3.4.2.2" => Some(Hash::Sha384),
        "2.16.840.1.101.3.4.2.3" => Some(Hash::Sha512),
        _ => None,
    }
}
