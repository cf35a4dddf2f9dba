//! The client's side of TLS, for clients that trust everybody.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

#[derive(Debug)]
struct TrustsEverybody(CryptoProvider);

impl ServerCertVerifier for TrustsEverybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate and its key, to be shown to a server.
pub(crate) type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// Reads them from PEM files.
pub(crate) fn identity(certificate: &Path, key: &Path) -> Identity {
    let certificate = CertificateDer::from_pem_file(certificate);
    let key = PrivateKeyDer::from_pem_file(key);
    (certificate.unwrap_or_else(|e| panic!("{e}")), key.unwrap_or_else(|e| panic!("{e}")))
}

/// A session that is yet to begin, with this ALPN protocol if it is not empty.
pub(crate) fn connection(protocol: &str, identity: Option<Identity>) -> ClientConnection {
    let provider = rustls::crypto::ring::default_provider();
    let verifier = TrustsEverybody(provider.clone());
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|e| panic!("TLS versions: {e}"))
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(vec![certificate], key)
            .unwrap_or_else(|e| panic!("client certificate: {e}")),
    };
    if !protocol.is_empty() {
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    }
    let name = ServerName::try_from("localhost").unwrap_or_else(|e| panic!("name: {e}"));
    ClientConnection::new(Arc::new(config), name).unwrap_or_else(|e| panic!("TLS: {e}"))
}
