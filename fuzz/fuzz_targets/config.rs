//! What an operator may write into the configuration files.
//!
//! The first byte chooses the file: `0` pgpool.conf, `1` pool_hba.conf, `2` pool_passwd. `3` is
//! pgpool.conf without its report, which costs more than all else.
#![no_main]

use core::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use pool_router::config::{self, reference};
use pool_router::hba::{ConnectionFacts, Hba, Transport};
use pool_router::passwd::PoolPasswd;

fuzz_target!(|data: &[u8]| {
    let Some((file, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    // Each file may include itself, and others that do not exist. A few times: what bounds the
    // number has tests of its own, and would make each run slow here.
    let mut left = 3;
    let mut include = |path: &str| {
        if path.ends_with("self") && left > 0 {
            left -= 1;
            Ok(text.to_string())
        } else {
            Err("no such file".to_owned())
        }
    };
    match file % 4 {
        kind @ (0 | 3) => match config::load("pgpool.conf", &text, &mut include) {
            Ok(loaded) => {
                let settings = &loaded.settings;
                assert!(!settings.backends.is_empty());
                assert!(settings.primary().is_some());
                assert!(settings.min_pool_size <= settings.pool_size);
                // The report is a configuration with the same nodes.
                if kind == 0 {
                    let report = reference::report(settings, &loaded.notices);
                    let again = config::load("report", &report, &mut include)
                        .unwrap_or_else(|errors| panic!("{errors}\n{report}"));
                    assert_eq!(again.settings.backends, settings.backends);
                }
            }
            Err(errors) => assert!(!errors.0.is_empty() && !errors.to_string().is_empty()),
        },
        1 => match Hba::parse("pool_hba.conf", &text, &mut include) {
            Ok(hba) => {
                assert!(!hba.records().is_empty());
                for transport in
                    [Transport::Local, Transport::Tcp(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))]
                {
                    let facts = ConnectionFacts {
                        transport,
                        tls: false,
                        database: "shop",
                        user: "app",
                        local_addrs: &[],
                    };
                    if let Some(record) = hba.decide(&facts) {
                        assert!(hba.records().contains(record));
                    }
                }
            }
            Err(errors) => assert!(!errors.0.is_empty() && !errors.to_string().is_empty()),
        },
        _ => match PoolPasswd::parse("pool_passwd", &text, None) {
            Ok(passwords) => assert!(passwords.len() <= text.lines().count()),
            Err(errors) => assert!(!errors.0.is_empty() && !errors.to_string().is_empty()),
        },
    }
});
