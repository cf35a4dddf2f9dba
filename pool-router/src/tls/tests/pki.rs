//! Authorities and certificates, made when they are needed.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

/// A certificate with its key.
pub(super) struct Pair {
    pub(super) der: Vec<u8>,
    pub(super) pem: String,
    pub(super) key: KeyPair,
    serial: u64,
}

/// Which certificate is to be made.
#[derive(Clone, Copy, Default)]
pub(super) struct Wish<'a> {
    pub(super) common_name: &'a str,
    pub(super) names: &'a [&'a str],
    /// The year in which it expires; 0: late.
    pub(super) until: i32,
    pub(super) serial: u64,
}

fn parameters(wish: &Wish<'_>) -> CertificateParams {
    let names: Vec<String> = wish.names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Weir, Inc.");
    parameters.distinguished_name.push(DnType::CommonName, wish.common_name);
    parameters.serial_number = Some(SerialNumber::from(wish.serial));
    if wish.until != 0 {
        parameters.not_after = date_time_ymd(wish.until, 1, 1);
    }
    parameters
}

impl Pair {
    /// A certificate that signs itself.
    pub(super) fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let wish = Wish { common_name: name, names: &[name], serial: 1, ..Wish::default() };
        let made = parameters(&wish).self_signed(&key).unwrap();
        Self { der: made.der().to_vec(), pem: made.pem(), key, serial: 1 }
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// An authority.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let wish = Wish { common_name: name, serial: 1, ..Wish::default() };
        let mut parameters = parameters(&wish);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    pub(super) fn sign(&self, wish: Wish<'_>) -> Pair {
        let key = KeyPair::generate().unwrap();
        let made = parameters(&wish).signed_by(&key, &self.issuer).unwrap();
        Pair { der: made.der().to_vec(), pem: made.pem(), key, serial: wish.serial }
    }

    /// A revocation list, PEM.
    pub(super) fn revoke(&self, revoked: &[&Pair]) -> String {
        let revoked_certs = revoked.iter().map(|pair| RevokedCertParams {
            serial_number: SerialNumber::from(pair.serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2040, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
