//! Configuration that the program refuses to start with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
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

/// Pgpool-II's own sample files are accepted, as they are and with every parameter in force that they
/// name in a comment. They come from the Debian package; where no mirror can be reached there is
/// nothing to test, which is said.
pub fn samples_of_pgpool_are_accepted(scenario: &Scenario) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fetched = Command::new("bash").arg(root.join(".ci/samples")).output();
    let fetched = fetched.unwrap_or_else(|e| panic!("bash: {e}"));
    let told = String::from_utf8_lossy(&fetched.stdout);
    let samples = match fetched.status.code() {
        Some(0) => PathBuf::from(told.trim()),
        Some(2) => {
            println!("skipped: {told}");
            return;
        }
        _ => panic!("{told}{}", String::from_utf8_lossy(&fetched.stderr)),
    };
    let sample = fs::read_to_string(samples.join("pgpool.conf")).expect("sample");
    let in_force: Vec<String> = sample
        .lines()
        .map(|line| {
            let uncommented = line.strip_prefix('#').filter(|rest| {
                rest.split_once('=').is_some_and(|(name, _)| {
                    let name = name.trim_end();
                    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                })
            });
            uncommented.unwrap_or(line).to_owned()
        })
        .collect();
    let count = in_force.iter().filter(|line| line.starts_with(char::is_alphabetic)).count();
    assert!(count > 150, "{count} parameters are a small part of the sample");

    let folder = Cluster::shared().create_folder("samples").expect("folder");
    let check = |text: &str, more: &[&str]| {
        let path = folder.join("pgpool.conf");
        fs::write(&path, text).expect("pgpool.conf");
        let mut command = Command::new(scenario.program());
        command.env_clear().arg("--check").arg("-f").arg(&path).args(more);
        let output = command.output().unwrap_or_else(|e| panic!("{e}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*errors), (Some(0), ""));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    check(&sample, &[]);
    let report = check(&in_force.join("\n"), &["--set", "backend_hostname0=db"]);
    // Each of them is listed with the last line that sets it.
    let mut lines = BTreeMap::new();
    for (number, line) in (1..).zip(&in_force) {
        if line.starts_with(char::is_alphabetic) {
            lines.insert(line.split([' ', '=']).next().unwrap_or(""), number);
        }
    }
    for (name, number) in lines {
        // Old names are listed under the new ones.
        let new_name = match name {
            "socket_dir" => "unix_socket_directories",
            "logdir" => "work_dir",
            "delegate_IP" => "delegate_ip",
            name => name,
        };
        let listed = report.lines().find(|line| line.starts_with(&format!("{new_name} = ")));
        let place = format!("/pgpool.conf:{number}; ");
        let flag = "# flag --set; ";
        assert!(
            listed.is_some_and(|line| line.contains(&place) || line.contains(flag)),
            "{name}: no {place}: {listed:?}"
        );
    }
    let hba = samples.join("pool_hba.conf");
    let pcp = samples.join("pcp.conf");
    let files = ["-a", &*hba.to_string_lossy(), "-F", &*pcp.to_string_lossy()].map(str::to_owned);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    check(&format!("{sample}\nenable_pool_hba = on\n"), &files);
}
