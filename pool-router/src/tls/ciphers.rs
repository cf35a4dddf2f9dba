//! OpenSSL's names for cipher suites and curves, as far as there is something behind them.

use rustls::crypto::SupportedKxGroup;
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite};

/// A cipher suite of TLS 1.2 that can be had, with the words by which OpenSSL's cipher strings can
/// name it (OpenSSL documentation, openssl-ciphers).
struct Known {
    suite: CipherSuite,
    name: &'static str,
    words: &'static [&'static str],
}

/// What all of them have in common: forward secrecy and authenticated encryption.
const COMMON: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "kECDHE", "kEECDH", "ECDHE", "EECDH", "ECDH", "TLSv1.2"];

const KNOWN: &[Known] = &[
    Known {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        words: &["ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "SHA384", "SUITEB192"],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        words: &["aRSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        words: &["ECDSA", "aECDSA", "CHACHA20", "SHA256"],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        words: &["aRSA", "CHACHA20", "SHA256"],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        words: &["ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "SHA256", "SUITEB128"],
    },
    Known {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        words: &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
];

impl Known {
    /// Whether a word of a cipher string means this suite among others.
    fn is(&self, word: &str) -> bool {
        self.name.eq_ignore_ascii_case(word)
            || COMMON.iter().chain(self.words).any(|own| own.eq_ignore_ascii_case(word))
    }
}

/// The suites that an OpenSSL cipher string leaves of `offered`, in its order. Those of TLS 1.3,
/// which such strings do not name, all stay in front. `None` if no suite of TLS 1.2 is left.
pub(super) fn select(
    text: &str,
    offered: &[SupportedCipherSuite],
) -> Option<Vec<SupportedCipherSuite>> {
    let mut chosen: Vec<&Known> = Vec::new();
    let mut killed: Vec<&Known> = Vec::new();
    for item in text.split([':', ',', ' ']).filter(|item| !item.is_empty()) {
        if item.starts_with('@') {
            // The order by strength is that of the list above; security levels are met by all.
            continue;
        }
        let (sign, words) = match item.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), words)) => (sign, words),
            _ => ("", item),
        };
        let meant = |known: &&Known| words.split('+').all(|word| known.is(word));
        match sign {
            "!" => {
                killed.extend(KNOWN.iter().filter(meant));
                chosen.retain(|known| !meant(known));
            }
            "-" => chosen.retain(|known| !meant(known)),
            "+" => {
                let (moved, rest): (Vec<_>, Vec<_>) = chosen.into_iter().partition(meant);
                chosen = rest.into_iter().chain(moved).collect();
            }
            _ => {
                for known in KNOWN.iter().filter(meant) {
                    let is = |other: &&Known| other.suite == known.suite;
                    if !chosen.iter().any(is) && !killed.iter().any(is) {
                        chosen.push(known);
                    }
                }
            }
        }
    }
    let find = |suite: CipherSuite| offered.iter().find(|other| other.suite() == suite).copied();
    let tls12: Vec<_> = chosen.into_iter().filter_map(|known| find(known.suite)).collect();
    if tls12.is_empty() {
        return None;
    }
    let tls13 = offered.iter().filter(|suite| suite.tls13().is_some()).copied();
    Some(tls13.chain(tls12).collect())
}

/// The names of all suites of TLS 1.2 that can be named, for error messages.
pub(super) fn names() -> String {
    KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
}

/// The key exchange groups that a list in OpenSSL's words leaves of `offered`, and the words of it
/// that mean none of them.
pub(super) fn groups<'t>(
    text: &'t str,
    offered: &[&'static dyn SupportedKxGroup],
) -> (Vec<&'static dyn SupportedKxGroup>, Vec<&'t str>) {
    let mut chosen: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    let mut unknown = Vec::new();
    for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        let name = match word.to_ascii_lowercase().as_str() {
            "prime256v1" | "p-256" | "secp256r1" => NamedGroup::secp256r1,
            "secp384r1" | "p-384" => NamedGroup::secp384r1,
            "secp521r1" | "p-521" => NamedGroup::secp521r1,
            "x25519" => NamedGroup::X25519,
            "x448" => NamedGroup::X448,
            "x25519mlkem768" => NamedGroup::X25519MLKEM768,
            _ => NamedGroup::Unknown(0),
        };
        match offered.iter().find(|group| group.name() == name) {
            Some(group) if chosen.iter().all(|other| other.name() != name) => chosen.push(*group),
            Some(_) => {}
            None => unknown.push(word),
        }
    }
    (chosen, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls12(text: &str) -> Option<Vec<CipherSuite>> {
        let provider = rustls::crypto::ring::default_provider();
        let suites = select(text, &provider.cipher_suites)?;
        let (tls13, rest): (Vec<_>, Vec<_>) =
            suites.into_iter().partition(|suite| suite.tls13().is_some());
        assert_eq!(tls13.len(), 3, "{text}");
        Some(rest.iter().map(SupportedCipherSuite::suite).collect())
    }

    #[test]
    fn strings_select_in_their_order() {
        let all = tls12("HIGH:MEDIUM:+3DES:!aNULL").expect("Pgpool-II's default");
        assert_eq!(all.len(), KNOWN.len());
        assert_eq!(tls12("DEFAULT:@SECLEVEL=2").map(|all| all.len()), Some(KNOWN.len()));
        assert_eq!(
            tls12("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
            Some(vec![
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ])
        );
        assert_eq!(
            tls12("HIGH:!aRSA:!CHACHA20:+AES256"),
            Some(vec![
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            ])
        );
        assert_eq!(
            tls12("ALL:-ALL:ECDHE+AESGCM+aRSA:@STRENGTH"),
            Some(vec![
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ])
        );
        // What was killed does not come back; what is not there leaves nothing.
        for text in ["!ALL:HIGH", "RC4-SHA:AES256-SHA", "kRSA", ""] {
            assert_eq!(tls12(text), None, "{text}");
        }
    }

    #[test]
    fn curves_by_name() {
        let provider = rustls::crypto::ring::default_provider();
        let named = |text: &'static str| {
            let (groups, unknown) = groups(text, &provider.kx_groups);
            (groups.iter().map(|group| group.name()).collect::<Vec<_>>(), unknown)
        };
        assert_eq!(named("prime256v1"), (vec![NamedGroup::secp256r1], vec![]));
        assert_eq!(
            named("X25519:P-384:X25519"),
            (vec![NamedGroup::X25519, NamedGroup::secp384r1], vec![])
        );
        assert_eq!(named("secp521r1:brainpoolP256r1").0, vec![]);
        assert_eq!(named("secp521r1:x25519").1, vec!["secp521r1"]);
    }
}
