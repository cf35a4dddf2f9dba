//! The proxies, and how each of them knows the role.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use testbed::{Cluster, Config, Mode, Node, Proxy, cluster};

use crate::Options;

/// The role that logs in.
pub(crate) const ROLE: &str = "storming";
/// Its password.
pub(crate) const PASSWORD: &str = "a password";
/// The database.
pub(crate) const DATABASE: &str = "postgres";

/// A proxy, and what it knows of the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// pgweir with the password.
    PgweirPassword,
    /// pgweir without anything: it asks the server.
    PgweirAuthQuery,
    /// PgBouncer with the password.
    PgbouncerPassword,
    /// PgBouncer with the verifier.
    PgbouncerVerifier,
    /// Pgpool-II with the password.
    Pgpool,
}

impl Target {
    pub(crate) const ALL: [Self; 5] = [
        Self::PgweirPassword,
        Self::PgweirAuthQuery,
        Self::PgbouncerPassword,
        Self::PgbouncerVerifier,
        Self::Pgpool,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PgweirPassword => "pgweir, password",
            Self::PgweirAuthQuery => "pgweir, weir_auth_query",
            Self::PgbouncerPassword => "PgBouncer, password",
            Self::PgbouncerVerifier => "PgBouncer, verifier",
            Self::Pgpool => "Pgpool-II, password",
        }
    }
}

/// Makes the role.
pub(crate) fn create_role(cluster: &Cluster) {
    let sql =
        format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}' IN ROLE {}", cluster::SCRAM_ROLES);
    cluster.sql(Node::Primary, DATABASE, &sql);
    cluster.wait_replayed();
}

/// A proxy that runs.
pub(crate) enum Running {
    Pgweir(Box<Proxy>),
    Other(Child, u16),
}

impl Running {
    pub(crate) fn start(
        cluster: &Cluster,
        options: &Options,
        target: Target,
    ) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let folder = cluster.create_folder("storm").map_err(text)?;
        let base = || {
            Config::new(Mode::Transaction)
                .clients(200)
                .weights(1, 0)
                .hba("host all all all scram-sha-256\n")
        };
        match target {
            Target::PgweirPassword => {
                pgweir(cluster, options, &base().password(ROLE, &format!("TEXT{PASSWORD}")))
            }
            Target::PgweirAuthQuery => {
                let config = base().line(&format!("weir_auth_user = '{}'", cluster::ADMIN));
                pgweir(cluster, options, &config)
            }
            Target::PgbouncerPassword | Target::PgbouncerVerifier => {
                let secret = if target == Target::PgbouncerVerifier {
                    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{ROLE}'");
                    cluster.value(Node::Primary, DATABASE, &sql)
                } else {
                    PASSWORD.to_owned()
                };
                let port = free_port().map_err(text)?;
                fs::write(folder.join("users"), format!("\"{ROLE}\" \"{secret}\"\n"))
                    .map_err(text)?;
                let ini = format!(
                    "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                     listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
                     auth_file = {}/users\npool_mode = transaction\ndefault_pool_size = 4\n\
                     max_client_conn = 250\nlog_connections = 0\nlog_disconnections = 0\n",
                    cluster.port(Node::Primary),
                    folder.display(),
                );
                fs::write(folder.join("pgbouncer.ini"), ini).map_err(text)?;
                let program = &options.pgbouncer;
                other(&folder, port, program, &[&*folder.join("pgbouncer.ini").to_string_lossy()])
            }
            Target::Pgpool => {
                let (port, pcp) = (free_port().map_err(text)?, free_port().map_err(text)?);
                let place = folder.display();
                let conf = format!(
                    "backend_clustering_mode = 'streaming_replication'\nlisten_addresses = '127.0.0.1'\n\
                     port = {port}\npcp_port = {pcp}\nsocket_dir = '{place}'\npcp_socket_dir = '{place}'\n\
                     pid_file_name = '{place}/pid'\nlogdir = '{place}'\nwork_dir = '{place}'\n\
                     backend_hostname0 = '127.0.0.1'\nbackend_port0 = {}\nbackend_weight0 = 1\n\
                     backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'\nenable_pool_hba = on\n\
                     pool_passwd = 'pool_passwd'\nnum_init_children = 40\nsr_check_period = 0\n\
                     load_balance_mode = off\n",
                    cluster.port(Node::Primary),
                );
                fs::write(folder.join("pgpool.conf"), conf).map_err(text)?;
                let hba = "host all all 127.0.0.1/32 scram-sha-256\n";
                fs::write(folder.join("pool_hba.conf"), hba).map_err(text)?;
                let entry = format!("{ROLE}:TEXT{PASSWORD}\n");
                fs::write(folder.join("pool_passwd"), entry).map_err(text)?;
                fs::write(folder.join("pcp.conf"), "").map_err(text)?;
                let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
                let (conf, hba, pcp) =
                    (file("pgpool.conf"), file("pool_hba.conf"), file("pcp.conf"));
                let arguments = ["-n", "-f", &conf, "-a", &hba, "-F", &pcp];
                other(&folder, port, &options.pgpool, &arguments)
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Pgweir(proxy) => proxy.port(),
            Self::Other(_, port) => *port,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Other(child, _) = self {
            // Pgpool-II's children end with it only if it is asked to.
            let _ = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

fn pgweir(cluster: &Cluster, options: &Options, config: &Config) -> Result<Running, String> {
    let beside = || {
        let this = std::env::current_exe().unwrap_or_default();
        this.with_file_name("pgweir")
    };
    let program = options.pgweir.clone().unwrap_or_else(beside);
    let proxy = Proxy::start(&program, cluster, config).map_err(|error| error.to_string())?;
    Ok(Running::Pgweir(Box::new(proxy)))
}

/// Starts a program in its folder, as an account that is not root's.
fn other(folder: &Path, port: u16, program: &Path, arguments: &[&str]) -> Result<Running, String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|found| {
        use std::os::unix::fs::MetadataExt;
        found.uid() == 0
    });
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    let log = fs::File::create(folder.join("log")).map_err(|error| error.to_string())?;
    let errors = log.try_clone().map_err(|error| error.to_string())?;
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(errors);
    let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let mut running = Running::Other(child, port);
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let Running::Other(child, _) = &mut running else { break };
        if Instant::now() > end || child.try_wait().is_ok_and(|status| status.is_some()) {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            return Err(format!("does not start: {}", log.lines().next_back().unwrap_or_default()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
