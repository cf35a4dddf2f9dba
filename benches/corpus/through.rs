//! The suite through the proxy: the same outputs as directly on the primary?

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::{Config, Mode, Node, Proxy};

use crate::Options;
use crate::suite::{DATABASE, Suite};

/// Runs the suite directly, then through the proxy with all reads on the standby, and compares.
pub(crate) fn run(options: &Options) -> Result<String, String> {
    let pgweir = match &options.pgweir {
        Some(path) => std::path::absolute(path).map_err(|e| e.to_string())?,
        None => std::env::current_exe().map_err(|e| e.to_string())?.with_file_name("pgweir"),
    };
    let direct = outputs(options, "direct", |suite| {
        let port = suite.cluster.port(Node::Primary);
        suite.tests.iter().try_for_each(|test| suite.run(test, port).map(|_| ()))
    })?;
    let mut reads = 0_usize;
    let mut refusals = 0;
    let through = outputs(options, "through", |suite| {
        let cluster = &suite.cluster;
        cluster.sql(
            Node::Primary,
            "postgres",
            &format!(
                "SET log_statement = 'none'; ALTER DATABASE {DATABASE} SET log_statement = 'all'"
            ),
        );
        cluster.wait_replayed();
        let mode = if options.transaction_mode { Mode::Transaction } else { Mode::Session };
        let mut config = Config::new(mode).weights(0, 1).pool_size(32);
        for line in &options.line {
            config = config.line(line);
        }
        let mut proxy = Proxy::start(&pgweir, cluster, &config).map_err(|e| e.to_string())?;
        for test in &suite.tests {
            suite.run(test, proxy.port())?;
        }
        proxy.stop();
        reads = cluster.statements(Node::Standby, DATABASE).len();
        let log = fs::read_to_string(cluster.log_path(Node::Standby)).unwrap_or_default();
        let refused = |line: &&str| {
            line.split_once("ERROR:  ").is_some_and(|(_, error)| {
                error.contains("during recovery") || error.contains("read-only transaction")
            })
        };
        refusals = log.lines().filter(refused).count();
        Ok(())
    })?;
    let mut out = String::new();
    let _ = writeln!(out, "{reads} statements ran on the standby; it refused {refusals} as writes");
    let mut differing = 0;
    for (before, after) in direct.iter().zip(&through) {
        let diff = diff(before, after)?;
        if !diff.is_empty() {
            differing += 1;
            let name = after.file_stem().unwrap_or_default().to_string_lossy();
            let _ = writeln!(out, "\n### {name}\n\n```diff\n{diff}```");
        }
    }
    let _ = writeln!(out, "\n{differing} of {} tests differ", direct.len());
    Ok(out)
}

/// Runs the suite on a cluster of its own and returns the files with the tests' outputs, free of
/// what differs from cluster to cluster.
fn outputs(
    options: &Options,
    name: &str,
    run: impl FnOnce(&Suite) -> Result<(), String>,
) -> Result<Vec<PathBuf>, String> {
    let suite = Suite::start(options, name)?;
    run(&suite)?;
    let folder = suite.folder();
    suite
        .tests
        .iter()
        .map(|test| {
            let path = folder.join(format!("{test}.out"));
            let text = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let text = String::from_utf8_lossy(&text);
            let text = text.replace(folder.to_string_lossy().as_ref(), "BUILD");
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(path)
        })
        .collect()
}

fn diff(before: &Path, after: &Path) -> Result<String, String> {
    let output = Command::new("diff").arg("-U3").arg(before).arg(after).output();
    let output = output.map_err(|e| format!("diff: {e}"))?;
    // The names of the files say nothing.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().skip(2).fold(String::new(), |text, line| text + line + "\n"))
}
