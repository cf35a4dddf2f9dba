//! Certificates for servers, proxies and clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::cluster::{APP, CERT_USER, TLS_USER};
use crate::tools::{Installation, SetupError};

/// Names that every certificate but those of authorities is for.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A folder of certificates and keys, PEM: `<name>.crt` and `<name>.key`.
///
/// - `root` and `other` are authorities; all that follow but one are signed by `root`.
/// - `server` is the servers', `proxy` is for a proxy, `app`, `cert_user` and `tls_user` are for the
///   roles of those names.
/// - `expired` and `revoked` are for role `app`, too; `root.crl` revokes the latter.
/// - `foreign` is for role `app`, signed by `other`.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

const REVOKED: u64 = 99;

impl Pki {
    /// Makes them all, in a folder that exists.
    pub(crate) fn create(installation: &Installation, folder: &Path) -> Result<Self, SetupError> {
        let pki = Self { folder: folder.to_owned() };
        pki.fill().map_err(|e| SetupError::new(format!("certificates: {e}")))?;
        // PostgreSQL insists that its key is its own.
        installation.give(&pki.key("server")).map_err(SetupError::io("server.key"))?;
        Ok(pki)
    }

    fn fill(&self) -> Result<(), Box<dyn std::error::Error>> {
        let root = self.authority("root")?;
        let other = self.authority("other")?;
        for (name, common_name, issuer, year, serial) in [
            ("server", "server", &root, 4096, 10),
            ("proxy", "proxy", &root, 4096, 11),
            ("app", APP, &root, 4096, 12),
            ("cert_user", CERT_USER, &root, 4096, 13),
            ("expired", APP, &root, 2001, 14),
            ("revoked", APP, &root, 4096, REVOKED),
            ("foreign", APP, &other, 4096, 15),
            ("tls_user", TLS_USER, &root, 4096, 16),
        ] {
            let key = KeyPair::generate()?;
            let mut parameters = CertificateParams::new(NAMES.map(str::to_owned).to_vec())?;
            parameters.distinguished_name.push(DnType::CommonName, common_name);
            parameters.serial_number = Some(SerialNumber::from(serial));
            parameters.not_before = date_time_ymd(2000, 1, 1);
            parameters.not_after = date_time_ymd(year, 1, 1);
            let made = parameters.signed_by(&key, &issuer.issuer)?;
            self.write(name, &made.pem(), &key)?;
        }
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: date_time_ymd(4096, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(REVOKED),
                revocation_time: date_time_ymd(2000, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.folder.join("root.crl");
        Ok(fs::write(path, list.signed_by(&root.issuer)?.pem()?)?)
    }

    fn authority(&self, name: &str) -> Result<Authority, Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = parameters.self_signed(&key)?;
        self.write(name, &made.pem(), &key)?;
        Ok(Authority { issuer: Issuer::new(parameters, key) })
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> std::io::Result<()> {
        fs::write(self.certificate(name), certificate)?;
        fs::write(self.key(name), key.serialize_pem())?;
        fs::set_permissions(self.key(name), fs::Permissions::from_mode(0o600))
    }

    /// A certificate's file.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// A key's file.
    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The revocation list of `root`.
    pub fn revocations(&self) -> PathBuf {
        self.folder.join("root.crl")
    }
}
