//! Runs the tests of the suite one after the other with `psql`, as `pg_regress` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use testbed::cluster::ADMIN;
use testbed::{Cluster, Node, Shutdown};

use crate::Options;

/// Database that the tests run in.
pub(crate) const DATABASE: &str = "regression";

/// A cluster with the database, and where the tests find their files.
pub(crate) struct Suite {
    pub(crate) cluster: Cluster,
    sources: PathBuf,
    libraries: PathBuf,
    build: PathBuf,
    pub(crate) tests: Vec<String>,
}

impl Suite {
    /// Starts a cluster. The outputs go to the folder `name` in the one to be kept.
    pub(crate) fn start(options: &Options, name: &str) -> Result<Self, String> {
        let sources = absolute(&options.sources)?;
        let tests = schedule(&sources, &options.tests)?;
        let cluster = Cluster::create().map_err(|e| e.to_string())?;
        allow_prepared_transactions(&cluster);
        let build = absolute(&options.keep)?.join(name);
        let results = cluster.create_folder("results").map_err(|e| e.to_string())?;
        let setup = || -> std::io::Result<()> {
            let _ = fs::remove_dir_all(&build);
            fs::create_dir_all(&build)?;
            // The servers write files there too, under their own account.
            std::os::unix::fs::symlink(&results, build.join("results"))
        };
        setup().map_err(|e| format!("{}: {e}", build.display()))?;
        let mut sql = vec![
            format!("CREATE DATABASE {DATABASE} TEMPLATE template0"),
            format!("ALTER DATABASE {DATABASE} SET bytea_output = 'hex'"),
            format!("ALTER DATABASE {DATABASE} SET timezone_abbreviations = 'Default'"),
        ];
        if !options.lagging {
            sql.push("ALTER SYSTEM SET synchronous_standby_names = '*'".to_owned());
            sql.push("ALTER SYSTEM SET synchronous_commit = 'remote_apply'".to_owned());
            sql.push("SELECT pg_reload_conf()".to_owned());
        }
        for sql in sql {
            cluster.sql(Node::Primary, "postgres", &sql);
        }
        if !options.lagging {
            cluster.wait_until(
                Node::Primary,
                "SELECT current_setting('synchronous_commit') = 'remote_apply'",
            );
        }
        cluster.wait_replayed();
        let libraries = options.libraries.as_deref().unwrap_or(&build);
        Ok(Self { libraries: absolute(libraries)?, cluster, sources, build, tests })
    }

    /// Where the outputs are.
    pub(crate) fn folder(&self) -> &Path {
        &self.build
    }

    /// Runs one test against the server or proxy on a port and returns its output.
    pub(crate) fn run(&self, test: &str, port: u16) -> Result<Vec<u8>, String> {
        let start = Instant::now();
        let output = self.build.join(format!("{test}.out"));
        let script = self.sources.join(format!("sql/{test}.sql"));
        let mut psql = self.cluster.installation().client("psql");
        let files = || -> std::io::Result<_> {
            let stdout = fs::File::create(&output)?;
            Ok((fs::File::open(&script)?, stdout.try_clone()?, stdout))
        };
        let (stdin, stdout, stderr) = files().map_err(|e| format!("{test}: {e}"))?;
        psql.args(["-X", "-a", "-q", "-h", "127.0.0.1", "-U", ADMIN, "-d", DATABASE]);
        psql.args(["-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"]);
        psql.arg("-p").arg(port.to_string());
        psql.stdin(stdin).stdout(stdout).stderr(stderr);
        self.environment(&mut psql);
        psql.status().map_err(|e| format!("psql: {e}"))?;
        eprintln!("{test}: {} ms", start.elapsed().as_millis());
        fs::read(&output).map_err(|e| format!("{}: {e}", output.display()))
    }

    /// What `pg_regress` puts into the environment of `psql`.
    fn environment(&self, psql: &mut Command) {
        psql.env("PG_ABS_SRCDIR", &self.sources).env("PG_ABS_BUILDDIR", &self.build);
        psql.env("PG_LIBDIR", &self.libraries).env("PG_DLSUFFIX", ".so");
        psql.env("PGTZ", "PST8PDT").env("PGDATESTYLE", "Postgres, MDY");
        psql.env("PGOPTIONS", "-c intervalstyle=postgres_verbose");
        psql.env("PGAPPNAME", "pg_regress");
    }
}

/// The standby must allow as many as the primary (PostgreSQL docs, 27.4.3), so it goes first.
fn allow_prepared_transactions(cluster: &Cluster) {
    for node in [Node::Standby, Node::Primary] {
        cluster.sql(node, "postgres", "ALTER SYSTEM SET max_prepared_transactions = 8");
        cluster.stop(node, Shutdown::Fast);
        cluster.start(node);
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// The tests in the order of `parallel_schedule`.
fn schedule(sources: &Path, only: &[String]) -> Result<Vec<String>, String> {
    let path = sources.join("parallel_schedule");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let all = text.lines().filter_map(|line| line.strip_prefix("test:"));
    let wanted =
        |test: &&str| only.is_empty() || *test == "test_setup" || only.iter().any(|o| o == test);
    Ok(all.flat_map(str::split_whitespace).filter(wanted).map(str::to_owned).collect())
}
