//! Settings and files.

use super::pki::{Authority, Pair, Wish};
use super::*;

const SERVER: &str = "ssl = on\nssl_cert = 'server.crt'\nssl_key = 'server.key'";

#[test]
fn without_ssl_there_is_none() {
    let tls = Files::default().tls("");
    assert!(tls.acceptor.is_none() && tls.connector.is_none());
    // Files that are not used are not looked for.
    Files::default().tls("ssl_cert = 'nowhere.crt'\nssl_ca_cert = 'nowhere.crt'");
    let tls = Files::default().tls("ssl = on\nweir_server_tls_mode = disable");
    assert!(tls.acceptor.is_some() && tls.connector.is_none());
    let tls = Files::default().tls("weir_server_tls_mode = prefer");
    assert!(tls.acceptor.is_none() && tls.connector.is_some());
}

#[test]
fn a_certificate_is_made_where_none_is_named() {
    let (tls, notices) = Files::default().load("ssl = on").expect("TLS");
    assert!(tls.acceptor.is_some());
    assert!(notices.iter().any(|notice| notice.text.contains("self-signed")), "{notices:?}");
}

#[test]
fn every_fault_is_named_with_its_file() {
    let pair = Pair::self_signed("server");
    let other = Pair::self_signed("server");
    let missing = Files::default().faults(SERVER);
    assert!(missing.contains("ssl_cert: /etc/server.crt does not exist"), "{missing}");
    assert!(missing.contains("ssl_key: /etc/server.key does not exist"), "{missing}");
    let files = |certificate: &str, key: &str| {
        Files::default().with("/etc/server.crt", certificate).with("/etc/server.key", key)
    };
    let key = pair.key_pem();
    for (certificate, key, expected) in [
        ("nothing", &*key, "ssl_cert: /etc/server.crt holds no certificate"),
        (&*pair.pem, "nothing", "ssl_key: /etc/server.key holds no private key"),
        (&*pair.pem, &other.key_pem(), "ssl_key: /etc/server.key holds another key"),
        (&*pair.pem, "Proc-Type: 4,ENCRYPTED", "openssl pkcs8 -topk8"),
    ] {
        let faults = files(certificate, key).faults(SERVER);
        assert!(faults.contains(expected), "{faults}");
    }
    let good = files(&pair.pem, &key);
    for (line, expected) in [
        ("ssl_ciphers = 'RC4-SHA'", "ssl_ciphers: `RC4-SHA` leaves no cipher suite"),
        ("ssl_ecdh_curve = 'secp521r1'", "ssl_ecdh_curve: `secp521r1` names none"),
        ("ssl_ca_cert = 'nowhere.crt'", "ssl_ca_cert: /etc/nowhere.crt does not exist"),
        ("ssl_ca_cert_dir = 'nowhere'", "ssl_ca_cert_dir: /etc/nowhere holds no file"),
        ("ssl_crl_file = 'x.crl'", "ssl_crl_file: is set without ssl_ca_cert"),
        ("weir_server_tls_mode = verify-ca", "set weir_server_tls_ca_file or ssl_ca_cert"),
        ("weir_server_tls_negotiation = direct", "direct needs"),
        ("weir_server_tls_key = 'x'", "weir_server_tls_cert: is not set"),
    ] {
        let faults = good.clone().faults(&format!("{SERVER}\n{line}"));
        assert!(faults.contains(expected), "{line}: {faults}");
        assert_eq!(faults.lines().count(), 1, "{faults}");
    }
    let mut good = good;
    let faults = good.faults("ssl = on\nssl_cert = 'server.crt'");
    assert!(faults.contains("ssl_key: is not set, but ssl_cert is"), "{faults}");
}

#[test]
fn encrypted_keys() {
    let mut files = Files::default()
        .with("/etc/server.crt", include_str!("files/version_3.pem"))
        .with("/etc/server.key", include_str!("files/encrypted_key.pem"));
    let faults = files.faults(SERVER);
    assert!(faults.contains("ssl_passphrase_command is not set"), "{faults}");
    let config = format!("{SERVER}\nssl_passphrase_command = 'ask \"%p\" %% %d'");
    let faults = files.faults(&config);
    assert!(faults.contains("has failed: exit status: 1"), "{faults}");
    for wrong in ["", "\nopensesame", "wrong"] {
        files.prints = Some(wrong.to_owned());
        let faults = files.faults(&config);
        assert!(faults.contains("ssl_key: /etc/server.key"), "{faults}");
        assert!(!faults.contains("opensesame"));
    }
    files.prints = Some("opensesame\nmore".to_owned());
    files.tls(&config);
    let asked = files.ran.last().map(String::as_str);
    assert_eq!(asked, Some("ask \"Enter PEM pass phrase for /etc/server.key: \" % %d"));
}

#[test]
fn warnings() {
    let authority = Authority::new("ours");
    let old = authority.sign(Wish { common_name: "old", until: 2029, ..Wish::default() });
    let mut files =
        Files::default().with("/etc/server.crt", &old.pem).with("/etc/server.key", &old.key_pem());
    files.modes.insert("/etc/server.key".to_owned(), 0o100_644);
    let config = format!("{SERVER}\nssl_ecdh_curve = 'secp521r1:X25519'");
    let (_, notices) = files.load(&config).expect("TLS");
    let text = notices.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in [
        "ssl_cert: /etc/server.crt has expired",
        "ssl_key: /etc/server.key has group or world access, mode 0644",
        "there is no secp521r1",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    files.modes.insert("/etc/server.key".to_owned(), 0o100_600);
    let (_, notices) = files.load(SERVER).expect("TLS");
    assert_eq!(notices.len(), 1, "{notices:?}");
}

#[test]
fn directories_of_authorities() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let server = one.sign(Wish { common_name: "server", ..Wish::default() });
    let mut files = Files::default()
        .with("/etc/server.crt", &server.pem)
        .with("/etc/server.key", &server.key_pem())
        .with("/etc/ca/1.crt", &one.pem)
        .with("/etc/ca/5ad8a5d6.0", &one.pem)
        .with("/etc/ca/2.crt", &two.pem)
        .with("/etc/ca/list.r0", &one.revoke(&[]));
    files.tls(&format!("{SERVER}\nssl_ca_cert_dir = 'ca'"));
    let mut files = files
        .with("/etc/ca/0.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let faults = files.faults(&format!("{SERVER}\nssl_ca_cert_dir = 'ca'"));
    assert!(faults.contains("ssl_ca_cert_dir: /etc/ca/0.crt holds a certificate"), "{faults}");
}
