//! The files of README's quick start are accepted.

use std::net::{IpAddr, Ipv6Addr};

use pool_router::config::{PoolMode, load};
use pool_router::hba::{ConnectionFacts, Hba, Method, Transport, UserMaps};
use pool_router::passwd::PoolPasswd;

const README: &str = include_str!("../../README.md");

/// The block of code behind the first mention of a file.
fn block(file: &str) -> &'static str {
    let (_, behind) = README.split_once(&format!("`{file}`")).expect(file);
    behind.split("```").nth(1).expect("a block of code")
}

#[test]
fn user_name_maps() {
    let (_, behind) = README.split_once("**`pool_ident.conf`**").expect("its paragraph");
    let text = behind.split("```").nth(1).expect("a block of code");
    let maps = UserMaps::parse("pool_ident.conf", text).unwrap_or_else(|e| panic!("{e}"));
    assert!(maps.admits("people", "alice.smith", "alice"));
    assert!(maps.admits("people", "bob@shop.example", "bob"));
    assert!(!maps.admits("people", "bob@shop.example", "alice"));
}

fn no_files(path: &str) -> Result<String, String> {
    Err(format!("no {path}"))
}

#[test]
fn quick_start() {
    let loaded = load("pgpool.conf", block("/etc/pgweir/pgpool.conf"), &mut no_files)
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.notices, [], "nothing in it is without effect");
    let settings = loaded.settings;
    assert_eq!(settings.backends.len(), 2);
    assert_eq!(settings.primary().map(|node| node.id), Some(0));
    assert_eq!(settings.pool_mode, PoolMode::Transaction);
    assert!(settings.enable_pool_hba && settings.load_balance_mode);

    let hba =
        Hba::parse("pool_hba.conf", block("/etc/pgweir/pool_hba.conf"), &mut no_files).unwrap();
    assert_eq!(hba.notices(), []);
    for transport in [Transport::Local, Transport::Tcp(IpAddr::V6(Ipv6Addr::LOCALHOST))] {
        let facts = ConnectionFacts {
            transport,
            tls: false,
            database: "shop",
            user: "app",
            local_addrs: &[],
        };
        assert_eq!(hba.decide(&facts).map(|record| record.method), Some(Method::ScramSha256));
    }

    let passwords =
        PoolPasswd::parse("pool_passwd", block("/etc/pgweir/pool_passwd"), None).unwrap();
    assert!(passwords.lookup("app").is_some());
    assert_eq!(passwords.notices(), []);
}
