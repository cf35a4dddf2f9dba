//! Whether a server is who it should be.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::certificate;

/// What is checked of a server's certificate (the words of libpq's `sslmode`). That the server has
/// its key is checked always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing.
    None,
    /// That a trusted authority has signed it.
    Authority,
    /// That, and that it is for the name that was dialled.
    Name,
}

/// Checks servers' certificates as PostgreSQL's own clients do.
pub(super) struct ServerVerifier {
    check: Check,
    roots: Arc<RootCertStore>,
    /// The certificates behind `roots`: a server may show one of them itself.
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").field("check", &self.check).finish_non_exhaustive()
    }
}

impl ServerVerifier {
    pub(super) fn new(
        check: Check,
        roots: Arc<RootCertStore>,
        trusted: Vec<CertificateDer<'static>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { check, roots, trusted, algorithms }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.check == Check::None {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            // A self-signed certificate that is its own authority: what is trusted is this very
            // certificate, so that only its time is left to check.
            let (from, to) = certificate::validity(end_entity)
                .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
            if now.as_secs() < from {
                return Err(CertificateError::NotValidYet.into());
            }
            if now.as_secs() > to {
                return Err(CertificateError::Expired.into());
            }
        } else {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        if self.check == Check::Name {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.algorithms, message, certificate, signed, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.algorithms, message, certificate, signed, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks a handshake's signature by the public key of a certificate, of whatever version that is:
/// `openssl x509 -req`, as in PostgreSQL's documentation, long made certificates of version 1, which
/// rustls does not read.
fn verify_signature(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let key = certificate::public_key(certificate).ok_or_else(bad)?;
    if tls13 {
        let key = SubjectPublicKeyInfoDer::from(key);
        return rustls::crypto::verify_tls13_signature_with_raw_key(
            message, &key, signed, algorithms,
        );
    }
    let info = SubjectPublicKeyInfoRef::from_der(&key).map_err(|_| bad())?;
    let point = info.subject_public_key.as_bytes().ok_or_else(bad)?;
    let candidates: &[&dyn SignatureVerificationAlgorithm] = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .map(|(_, candidates)| *candidates)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    // rustls compares what is within the SEQUENCE.
    let identifier = info.algorithm.to_der().map_err(|_| bad())?;
    let identifier = AnyRef::from_der(&identifier).map_err(|_| bad())?.value();
    let matching =
        candidates.iter().filter(|candidate| *candidate.public_key_alg_id() == *identifier);
    for candidate in matching {
        if candidate.verify_signature(point, message, signed.signature()).is_ok() {
            return Ok(HandshakeSignatureValid::assertion());
        }
    }
    Err(CertificateError::BadSignature.into())
}
