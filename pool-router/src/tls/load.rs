//! From settings and files to [`Tls`].

use std::fmt;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use zeroize::Zeroizing;

use super::verify::{Check, ServerVerifier};
use super::{ALPN, Acceptor, Connector, Sources, Tls, certificate, ciphers, key};
use crate::config::{Level, Notice, ServerTlsMode, Settings, write_lines};

/// Bytes of a record's contents that are sent to clients: as many as PostgreSQL sends. Clients that
/// look for data only when their socket has some stop within longer ones.
const RECORD: usize = 8 * 1024;

/// Bytes of a record's header, which rustls counts along.
const RECORD_HEADER: usize = 5;

/// Files of `ssl_ca_cert_dir` that are read at most.
const MAX_CA_FILES: usize = 1_000;

/// One reason why there is no TLS as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TlsError {
    /// The parameter to look at.
    pub setting: &'static str,
    /// The file that it names, if there is one to look at.
    pub file: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {file} {}", self.setting, self.reason),
            None => write!(f, "{}: {}", self.setting, self.reason),
        }
    }
}

/// All reasons that were found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TlsErrors(pub Vec<TlsError>);

impl fmt::Display for TlsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.0)
    }
}

/// Makes TLS of `settings` and the files that they name. `beside` makes a file's path of its name
/// there, which may be relative to the directory of `pgpool.conf`. `read` gets a path and answers the
/// file's text, or `Ok(None)` if there is no such file, or why it cannot be read.
///
/// # Errors
/// Everything that is wrong with parameters and files, all at once.
pub fn load(
    settings: &Settings,
    beside: &dyn Fn(&str) -> String,
    read: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
    sources: &mut dyn Sources,
) -> Result<(Tls, Vec<Notice>), TlsErrors> {
    let provider = sources.provider();
    let mut loader = Loader { beside, read, sources, errors: Vec::new(), notices: Vec::new() };
    let tls = loader.tls(settings, &provider);
    match tls {
        Some(tls) if loader.errors.is_empty() => Ok((tls, loader.notices)),
        _ => Err(TlsErrors(loader.errors)),
    }
}

struct Loader<'a> {
    beside: &'a dyn Fn(&str) -> String,
    read: &'a mut dyn FnMut(&str) -> Result<Option<String>, String>,
    sources: &'a mut dyn Sources,
    errors: Vec<TlsError>,
    notices: Vec<Notice>,
}

/// Authorities, as rustls wants them and as they are.
struct Authorities {
    roots: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Loader<'_> {
    fn tls(&mut self, settings: &Settings, provider: &Arc<CryptoProvider>) -> Option<Tls> {
        let mode = match (settings.server_tls_mode, settings.ssl) {
            (ServerTlsMode::Auto, false) => ServerTlsMode::Disable,
            (mode, _) => mode,
        };
        if !settings.ssl && mode == ServerTlsMode::Disable {
            return Some(Tls::default());
        }
        let provider = self.narrowed(settings, provider);
        let authorities = self.authorities(settings);
        let mut tls = Tls::default();
        let mut own = None;
        if settings.ssl {
            own = self.identity(settings, &provider);
            if let Some(identity) = &own {
                tls.acceptor = self
                    .acceptor(settings, &provider, identity, authorities.as_ref())
                    .map(Arc::new);
            }
        }
        if mode != ServerTlsMode::Disable {
            let own = own.filter(|_| settings.ssl_cert.is_some());
            tls.connector =
                self.connector(settings, mode, &provider, own, authorities).map(Arc::new);
        }
        Some(tls)
    }

    fn fault(&mut self, setting: &'static str, file: Option<&str>, reason: impl Into<String>) {
        let error = TlsError { setting, file: file.map(str::to_owned), reason: reason.into() };
        // Two parameters may lead to the same file.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    fn say(&mut self, level: Level, text: String) {
        self.notices.push(Notice { level, origin: None, text });
    }

    fn read(&mut self, setting: &'static str, path: &str) -> Option<Zeroizing<String>> {
        match (self.read)(path) {
            Ok(Some(text)) => return Some(Zeroizing::new(text)),
            Ok(None) => self.fault(setting, Some(path), "does not exist"),
            Err(why) => self.fault(setting, Some(path), format!("cannot be read: {why}")),
        }
        None
    }

    /// The provider without what `ssl_ciphers` and `ssl_ecdh_curve` leave out.
    fn narrowed(
        &mut self,
        settings: &Settings,
        provider: &Arc<CryptoProvider>,
    ) -> Arc<CryptoProvider> {
        let mut narrowed = CryptoProvider::clone(provider);
        match ciphers::select(&settings.ssl_ciphers, &provider.cipher_suites) {
            Some(suites) => narrowed.cipher_suites = suites,
            None => self.fault(
                "ssl_ciphers",
                None,
                format!(
                    "`{}` leaves no cipher suite of TLS 1.2; there are {}",
                    settings.ssl_ciphers,
                    ciphers::names()
                ),
            ),
        }
        // OpenSSL's default names one curve and means "what the library does".
        if !settings.ssl_ecdh_curve.eq_ignore_ascii_case("prime256v1") {
            let (groups, unknown) = ciphers::groups(&settings.ssl_ecdh_curve, &provider.kx_groups);
            if groups.is_empty() {
                self.fault(
                    "ssl_ecdh_curve",
                    None,
                    format!(
                        "`{}` names none of X25519, prime256v1, secp384r1",
                        settings.ssl_ecdh_curve
                    ),
                );
            } else {
                narrowed.kx_groups = groups;
                if !unknown.is_empty() {
                    let text = format!("ssl_ecdh_curve: there is no {}", unknown.join(", "));
                    self.say(Level::Warning, text);
                }
            }
        }
        Arc::new(narrowed)
    }

    fn authorities(&mut self, settings: &Settings) -> Option<Authorities> {
        let mut files = Vec::new();
        if let Some(name) = &settings.ssl_ca_cert {
            files.push(("ssl_ca_cert", (self.beside)(name)));
        }
        if let Some(name) = &settings.ssl_ca_cert_dir {
            let folder = (self.beside)(name);
            match self.sources.list(&folder) {
                Ok(names) if names.len() > MAX_CA_FILES => {
                    let reason = format!("holds more than {MAX_CA_FILES} files");
                    self.fault("ssl_ca_cert_dir", Some(&folder), reason);
                }
                Ok(mut names) => {
                    names.sort();
                    let paths = names.into_iter().map(|name| format!("{folder}/{name}"));
                    files.extend(paths.map(|path| ("ssl_ca_cert_dir", path)));
                }
                Err(why) => {
                    let reason = format!("cannot be read: {why}");
                    self.fault("ssl_ca_cert_dir", Some(&folder), reason);
                }
            }
            if files.is_empty() {
                self.fault("ssl_ca_cert_dir", Some(&folder), "holds no file");
            }
        }
        if files.is_empty() { None } else { self.authorities_in(files) }
    }

    fn authorities_in(&mut self, files: Vec<(&'static str, String)>) -> Option<Authorities> {
        let mut roots = RootCertStore::empty();
        let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
        for (setting, path) in files {
            let Some(text) = self.read(setting, &path) else { continue };
            let found = match key::certificates(&text) {
                Ok(found) => found,
                // A hashed directory holds revocation lists, too.
                Err(_) if setting == "ssl_ca_cert_dir" => continue,
                Err(why) => {
                    self.fault(setting, Some(&path), why);
                    continue;
                }
            };
            for certificate in found {
                // OpenSSL's directories name the same file twice.
                if certificates.contains(&certificate) {
                    continue;
                }
                match roots.add(certificate.clone()) {
                    Ok(()) => certificates.push(certificate),
                    Err(error) => {
                        let reason = format!("holds a certificate that cannot be read: {error}");
                        self.fault(setting, Some(&path), reason);
                    }
                }
            }
        }
        (!certificates.is_empty()).then(|| Authorities { roots: Arc::new(roots), certificates })
    }

    /// What is shown to clients.
    fn identity(
        &mut self,
        settings: &Settings,
        provider: &CryptoProvider,
    ) -> Option<Arc<CertifiedKey>> {
        match (&settings.ssl_cert, &settings.ssl_key) {
            (Some(certificate), Some(key)) => {
                let command = settings.ssl_passphrase_command.as_deref();
                self.pair(provider, ("ssl_cert", certificate), ("ssl_key", key), command)
            }
            (None, None) => self.self_signed(provider),
            (Some(_), None) => {
                self.fault("ssl_key", None, "is not set, but ssl_cert is");
                None
            }
            (None, Some(_)) => {
                self.fault("ssl_cert", None, "is not set, but ssl_key is");
                None
            }
        }
    }

    fn self_signed(&mut self, provider: &CryptoProvider) -> Option<Arc<CertifiedKey>> {
        let made = match self.sources.self_signed() {
            Ok(made) => made,
            Err(why) => {
                self.fault("ssl", None, format!("no self-signed certificate can be made: {why}"));
                return None;
            }
        };
        let chain = vec![CertificateDer::from(made.certificate)];
        let key = PrivatePkcs8KeyDer::from(made.key.to_vec());
        match key::certified(provider, chain, key.into()) {
            Ok(certified) => {
                self.say(
                    Level::Notice,
                    "ssl is on without ssl_cert and ssl_key: a key and a self-signed certificate \
                     were made, which clients can use but not verify"
                        .to_owned(),
                );
                Some(certified)
            }
            Err(why) => {
                self.fault("ssl", None, format!("the self-signed certificate {why}"));
                None
            }
        }
    }

    /// A certificate chain and its key, each a parameter and the file that it names.
    fn pair(
        &mut self,
        provider: &CryptoProvider,
        (certificate_setting, certificate): (&'static str, &str),
        (key_setting, key): (&'static str, &str),
        command: Option<&str>,
    ) -> Option<Arc<CertifiedKey>> {
        let certificate = (self.beside)(certificate);
        let key_path = (self.beside)(key);
        let chain = self.read(certificate_setting, &certificate).and_then(|text| {
            key::certificates(&text)
                .map_err(|why| self.fault(certificate_setting, Some(&certificate), why))
                .ok()
        });
        let key = self.read(key_setting, &key_path).and_then(|text| {
            let sources = &mut *self.sources;
            key::parse(&text, &mut || passphrase(sources, command, &key_path))
                .map_err(|why| self.fault(key_setting, Some(&key_path), why))
                .ok()
        });
        self.say_who_may_read(key_setting, &key_path);
        let (chain, key) = (chain?, key?);
        if let Some((from, to)) = chain.first().and_then(|leaf| certificate::validity(leaf))
            && let Some(now) = self.sources.clock().current_time().map(|now| now.as_secs())
            && !(from..=to).contains(&now)
        {
            let what = if now < from { "is not valid yet" } else { "has expired" };
            self.say(Level::Warning, format!("{certificate_setting}: {certificate} {what}"));
        }
        key::certified(provider, chain, key)
            .map_err(|why| self.fault(key_setting, Some(&key_path), why))
            .ok()
    }

    /// Warns of a key that more accounts can read than PostgreSQL lets (its documentation, "Secure
    /// TCP/IP Connections with SSL"). Mounted secrets often are like that.
    fn say_who_may_read(&mut self, setting: &'static str, path: &str) {
        let Some(access) = self.sources.access(path) else { return };
        let too_much = if access.owned_by_root { 0o037 } else { 0o077 };
        if access.mode & too_much != 0 {
            self.say(
                Level::Warning,
                format!(
                    "{setting}: {path} has group or world access, mode {:04o}: 0600 is enough, or \
                     0640 if it belongs to root",
                    access.mode & 0o7777
                ),
            );
        }
    }

    fn acceptor(
        &mut self,
        settings: &Settings,
        provider: &Arc<CryptoProvider>,
        identity: &Arc<CertifiedKey>,
        authorities: Option<&Authorities>,
    ) -> Option<Acceptor> {
        let builder = ServerConfig::builder_with_details(provider.clone(), self.sources.clock())
            .with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = match builder {
            Ok(builder) => builder,
            Err(error) => {
                self.fault("ssl_ciphers", None, error.to_string());
                return None;
            }
        };
        let builder = match authorities {
            None => {
                if settings.ssl_crl_file.is_some() {
                    self.fault("ssl_crl_file", None, "is set without ssl_ca_cert");
                }
                builder.with_no_client_auth()
            }
            Some(authorities) => {
                let mut verifier = WebPkiClientVerifier::builder_with_provider(
                    authorities.roots.clone(),
                    provider.clone(),
                )
                .allow_unauthenticated();
                if let Some(name) = &settings.ssl_crl_file {
                    let path = (self.beside)(name);
                    verifier = verifier
                        .with_crls(self.revocations(&path)?)
                        .enforce_revocation_expiration();
                }
                match verifier.build() {
                    Ok(verifier) => builder.with_client_cert_verifier(verifier),
                    Err(error) => {
                        self.fault("ssl_crl_file", None, error.to_string());
                        return None;
                    }
                }
            }
        };
        let resolver = SingleCertAndKey::from(identity.clone());
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ignore_client_order = settings.ssl_prefer_server_ciphers;
        // As PostgreSQL: nobody skips the check of certificates by an earlier session.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_fragment_size = Some(RECORD + RECORD_HEADER);
        let end_point = identity.cert.first().and_then(|leaf| certificate::end_point(leaf));
        Some(Acceptor { config: Arc::new(config), end_point: end_point.map(Arc::from) })
    }

    fn revocations(&mut self, path: &str) -> Option<Vec<CertificateRevocationListDer<'static>>> {
        let text = self.read("ssl_crl_file", path)?;
        let lists: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect();
        match lists {
            Ok(lists) if !lists.is_empty() => return Some(lists),
            Ok(_) => self.fault("ssl_crl_file", Some(path), "holds no revocation list in PEM"),
            Err(error) => {
                self.fault("ssl_crl_file", Some(path), format!("is no PEM file: {error}"));
            }
        }
        None
    }

    fn connector(
        &mut self,
        settings: &Settings,
        mode: ServerTlsMode,
        provider: &Arc<CryptoProvider>,
        own: Option<Arc<CertifiedKey>>,
        authorities: Option<Authorities>,
    ) -> Option<Connector> {
        let authorities = match &settings.server_tls_ca_file {
            Some(name) => {
                let path = (self.beside)(name);
                self.authorities_in(vec![("weir_server_tls_ca_file", path)])
            }
            None => authorities,
        };
        let check = match mode {
            ServerTlsMode::Auto if authorities.is_some() => Check::Authority,
            ServerTlsMode::Auto | ServerTlsMode::Disable => Check::None,
            ServerTlsMode::Prefer | ServerTlsMode::Require => Check::None,
            ServerTlsMode::VerifyCa => Check::Authority,
            ServerTlsMode::VerifyFull => Check::Name,
        };
        if check != Check::None && authorities.is_none() && self.errors.is_empty() {
            self.fault(
                "weir_server_tls_mode",
                None,
                "servers' certificates are to be verified: set weir_server_tls_ca_file or \
                 ssl_ca_cert",
            );
        }
        let required = !matches!(mode, ServerTlsMode::Auto | ServerTlsMode::Prefer);
        if settings.server_tls_direct && !required {
            self.fault(
                "weir_server_tls_negotiation",
                None,
                "direct needs a weir_server_tls_mode of require, verify-ca or verify-full: nothing \
                 is asked that the server could decline",
            );
        }
        let resolver = match (&settings.server_tls_cert, &settings.server_tls_key) {
            (Some(certificate), key) => self
                .pair(
                    provider,
                    ("weir_server_tls_cert", certificate),
                    ("weir_server_tls_key", key.as_ref().unwrap_or(certificate)),
                    settings.ssl_passphrase_command.as_deref(),
                )
                .map(|identity| ClientIdentity { identity, only_if_named: false }),
            (None, Some(_)) => {
                self.fault("weir_server_tls_cert", None, "is not set, but weir_server_tls_key is");
                None
            }
            (None, None) => own.map(|identity| ClientIdentity { identity, only_if_named: true }),
        };
        let (roots, certificates) = match authorities {
            Some(found) => (found.roots, found.certificates),
            None => (Arc::new(RootCertStore::empty()), Vec::new()),
        };
        let algorithms = provider.signature_verification_algorithms;
        let verifier = ServerVerifier::new(check, roots, certificates, algorithms);
        let builder = ClientConfig::builder_with_details(provider.clone(), self.sources.clock())
            .with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = match builder {
            Ok(builder) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
            Err(error) => {
                self.fault("ssl_ciphers", None, error.to_string());
                return None;
            }
        };
        let finish = |mut config: ClientConfig| {
            config.alpn_protocols = vec![ALPN.to_vec()];
            config.resumption = Resumption::disabled();
            Arc::new(config)
        };
        let anonymous = finish(builder.clone().with_no_client_auth());
        let certified = resolver.map(|it| finish(builder.with_client_cert_resolver(Arc::new(it))));
        let (config, anonymous) = match certified {
            Some(certified) => (certified, Some(anonymous)),
            None => (anonymous, None),
        };
        Some(Connector {
            config,
            anonymous,
            required,
            direct: settings.server_tls_direct,
            checks_name: check == Check::Name,
        })
    }
}

/// What `ssl_passphrase_command` prints, up to the end of its first line.
fn passphrase(
    sources: &mut dyn Sources,
    command: Option<&str>,
    path: &str,
) -> Result<Zeroizing<String>, String> {
    let command = command.ok_or("is encrypted, and ssl_passphrase_command is not set")?;
    let prompt = format!("Enter PEM pass phrase for {path}: ");
    let command = expand(command, &prompt);
    let printed = sources
        .run(&command)
        .map_err(|why| format!("is encrypted, and ssl_passphrase_command has failed: {why}"))?;
    let printed = Zeroizing::new(printed);
    let line = printed.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err("is encrypted, and ssl_passphrase_command printed nothing".to_owned());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// The command with `%p` replaced by the prompt, and `%%` by a percent sign.
fn expand(command: &str, prompt: &str) -> String {
    let mut expanded = String::new();
    let mut rest = command;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        rest = if let Some(after) = after.strip_prefix('p') {
            expanded.push_str(prompt);
            after
        } else {
            expanded.push('%');
            after.strip_prefix('%').unwrap_or(after)
        };
    }
    expanded + rest
}

/// Answers a server that asks for a certificate.
#[derive(Debug)]
struct ClientIdentity {
    identity: Arc<CertifiedKey>,
    /// Shown only where its authority is among those that the server names: a server may refuse a
    /// certificate that it would not have missed.
    only_if_named: bool,
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let named = || {
            self.identity.cert.iter().any(|certificate| {
                certificate::issuer(certificate)
                    .is_some_and(|issuer| root_hint_subjects.contains(&issuer.as_slice()))
            })
        };
        let fits = !self.only_if_named || root_hint_subjects.is_empty() || named();
        fits.then(|| self.identity.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
