//! Configuration that the program refuses to start with.

use std::process::Command;

use crate::{Cluster, Proxy, Scenario};

/// A line that is wrong is named with file and line number, and the exit status is not 0.
pub fn bad_lines_are_named(scenario: &Scenario) {
    let cluster = Cluster::shared();
    for line in [
        "weir_pool_mode = 'sometimes'",
        "num_init_children = many",
        "backend_port0 = 99999",
        "listen_addresses = 'never closed",
        "load_balance_mode = perhaps",
        "weir_query_wait_timeout = -5",
        "this is not a setting",
    ] {
        let config = scenario.config().line("# a comment").line(line);
        let (status, log) = Proxy::refused(scenario.program(), cluster, &config);
        assert!(status.code().is_some_and(|code| code != 0), "{line}: {status}\n{log}");
        let number = config.line_count(cluster);
        let place = format!("pgpool.conf:{number}");
        assert!(log.contains(&place), "{line}: no {place} in\n{log}");
    }
    let config = scenario.config().hba("host all all 127.0.0.1/32 trust\nhost all all nonsense\n");
    let (status, log) = Proxy::refused(scenario.program(), cluster, &config);
    assert!(status.code().is_some_and(|code| code != 0), "{status}\n{log}");
    assert!(log.contains("pool_hba.conf:2"), "{log}");
}

/// A configuration file that is not there is named.
pub fn missing_file_is_named(scenario: &Scenario) {
    let output = Command::new(scenario.program())
        .args(["-n", "-f", "/no/such/pgpool.conf"])
        .output()
        .unwrap_or_else(|e| panic!("{e}"));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 0), "{}", output.status);
    assert!(log.contains("/no/such/pgpool.conf"), "{log}");
}
