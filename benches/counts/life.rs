//! A life of a proxy under a tool, from start to end, and what the tool counted in it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use testbed::cluster::{APP, wait_for};
use testbed::{Cluster, Config, Mode, Node, Proxy};

use crate::{Cell, Options, Protocol, Target};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// System calls, by `strace -f -c`.
    Syscalls,
    /// User-space instructions, by callgrind.
    Instructions,
}

impl Tool {
    /// The beginning of the command line. Both leave the process id to the program itself, so that
    /// signals reach it, and write their report into the folder that it is started in.
    fn prefix(self) -> &'static str {
        match self {
            Self::Syscalls => "strace -D -f -c -o \"$PWD/report\"",
            Self::Instructions => {
                "valgrind -q --tool=callgrind --collect-systime=no --vgdb=no \
                 --callgrind-out-file=\"$PWD/report\""
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Syscalls => "syscalls",
            Self::Instructions => "instructions",
        }
    }

    /// The total of a complete report.
    fn total(self, report: &str) -> Option<u64> {
        match self {
            // `100.00    0.012345           1      4711       123 total`, where the column of
            // errors may be empty.
            Self::Syscalls => {
                let line = report.lines().find(|line| line.trim_end().ends_with(" total"))?;
                line.split_whitespace().nth(3)?.parse().ok()
            }
            Self::Instructions => {
                let line = report.lines().find_map(|line| line.strip_prefix("totals: "))?;
                line.split_whitespace().next()?.parse().ok()
            }
        }
    }
}

/// What all lives have in common.
pub(crate) struct Life<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) database: &'a str,
    pub(crate) pgweir: &'a Path,
    pub(crate) options: &'a Options,
}

impl Life<'_> {
    /// The cost of one transaction; `None` where the proxy cannot do what is asked.
    pub(crate) fn difference(
        &self,
        cell: Cell,
        keep: Option<&Path>,
    ) -> Result<Option<f64>, String> {
        // Before version 1.21, and later if it is not configured, PgBouncer has no prepared
        // statements with transaction pooling.
        if cell.target == Target::Pgbouncer && cell.protocol == Protocol::Prepared {
            return Ok(None);
        }
        let each = |total: u32| (total / cell.clients).max(1);
        let (short, long) = (each(self.options.short), each(self.options.long));
        let (fewer, _) = self.count(cell, short)?;
        let (more, report) = self.count(cell, long)?;
        if let Some(folder) = keep {
            let Cell { tool, target, protocol, clients } = cell;
            let name = format!("{}-{target:?}-{}-{clients}", tool.name(), protocol.name());
            fs::create_dir_all(folder).map_err(|e| e.to_string())?;
            fs::write(folder.join(name), report).map_err(|e| e.to_string())?;
        }
        let transactions = f64::from((long - short) * cell.clients);
        // Exact in a double: counts are far below 2^53.
        #[expect(clippy::cast_precision_loss)]
        Ok(Some(more.saturating_sub(fewer) as f64 / transactions))
    }

    /// Starts the proxy under the tool, runs pgbench, stops the proxy, and reads the report.
    fn count(&self, cell: Cell, transactions: u32) -> Result<(u64, String), String> {
        let program = self.program(cell)?;
        let mut proxy = Proxy::start(&program, self.cluster, &self.config(cell.target))
            .map_err(|e| e.to_string())?;
        let mut pgbench = proxy.client_program("pgbench");
        pgbench.args(["-S", "-n", "-j", "1", "--random-seed=7", "-M", cell.protocol.name()]);
        pgbench.arg("-c").arg(cell.clients.to_string());
        pgbench.arg("-t").arg(transactions.to_string()).arg(self.database);
        let output = pgbench.output().map_err(|e| format!("pgbench: {e}"))?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let all = u64::from(transactions) * u64::from(cell.clients);
        if !output.status.success() || !stdout.contains(&format!("processed: {all}/{all}")) {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("pgbench: {stdout}{stderr}{}", proxy.log()));
        }
        proxy.stop();
        // strace writes its report after the process that it follows has ended.
        let path = proxy.folder().join("report");
        let mut found = None;
        wait_for("the tool's report is complete", || {
            let report = fs::read_to_string(&path).unwrap_or_default();
            found = cell.tool.total(&report).map(|total| (total, report));
            found.is_some()
        });
        found.ok_or_else(|| format!("no total in {}", path.display()))
    }

    fn config(&self, target: Target) -> Config {
        let mode = if target == Target::Session { Mode::Session } else { Mode::Transaction };
        let split = if target == Target::Primary { "off" } else { "on" };
        Config::new(mode)
            .pool_size(self.options.servers)
            .line(&format!("load_balance_mode = {split}"))
            .line("weir_workers = 1")
            .line("log_min_messages = warning")
    }

    /// A script that runs the proxy under the tool. It is started like pgweir; for PgBouncer it
    /// translates what it is given, so that the testbed starts and stops both in one way.
    fn program(&self, cell: Cell) -> Result<PathBuf, String> {
        let prefix = cell.tool.prefix();
        let command = if cell.target.is_pgbouncer() {
            self.pgbouncer_script(prefix, cell.target)?
        } else {
            format!("exec {prefix} '{}' \"$@\"\n", self.pgweir.display())
        };
        let folder = self.cluster.create_folder("script").map_err(|e| e.to_string())?;
        let path = folder.join("run");
        fs::write(&path, format!("#!/bin/sh\nset -e\n{command}")).map_err(|e| e.to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        Ok(path)
    }

    fn pgbouncer_script(&self, prefix: &str, target: Target) -> Result<String, String> {
        let root = fs::metadata("/proc/self").map_err(|e| e.to_string())?.uid() == 0;
        let mode = match target {
            Target::PgbouncerSession => "session",
            _ => "transaction",
        };
        Ok(format!(
            "port=$(sed -n 's/^port = //p' \"$3\")
echo '\"{APP}\" \"\"' > users
cat > pgbouncer.ini <<END
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = trust
auth_file = $PWD/users
pool_mode = {mode}
default_pool_size = {servers}
max_client_conn = 250
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
log_stats = 0
END
exec {user} {prefix} '{program}' \"$PWD/pgbouncer.ini\"
",
            server = self.cluster.port(Node::Primary),
            servers = self.options.servers,
            program = self.options.pgbouncer.display(),
            // It refuses to run as root, and its report is written under the account it ends with.
            user =
                if root { "setpriv --reuid=postgres --regid=postgres --init-groups" } else { "" },
        ))
    }
}
