//! Configured by the environment and by mounted files, as in a Kubernetes Deployment: any user, no
//! home, nothing that could be written to.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use tokio_postgres::error::SqlState;

use crate::cluster::{SCRAM_USER, SECRET, wait_for};
use crate::raw_client::{Address, RawClient};
use crate::tools::SetupError;
use crate::{Cluster, Node, Proxy, Scenario, drivers};

/// No account of this machine has it.
const UNKNOWN_USER: u32 = 54_321;

/// The program as a container starts it: its own environment and nothing else, in a folder of files
/// that it can only read. As root we also take a user id that has no account; otherwise ours.
fn container(scenario: &Scenario, folder: &Path) -> Result<Command, SetupError> {
    let program = folder.join("pgweir");
    // The user may not be able to reach the build folder. Not by `fs::copy`: a process that another
    // scenario starts meanwhile would hold the file open for writing, and it could not be run.
    let copied = Command::new("cp").arg(scenario.program()).arg(&program).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp {}", program.display());
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").arg("-n").arg("--config-dir").arg(folder.join("config"));
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.uid(UNKNOWN_USER).gid(UNKNOWN_USER);
    }
    Ok(command)
}

fn mount(folder: &Path, files: &[(&str, &str)]) -> Result<(), SetupError> {
    let config = folder.join("config");
    fs::create_dir(&config).map_err(SetupError::io("config"))?;
    for (name, text) in files {
        fs::write(config.join(name), text).map_err(SetupError::io(name))?;
    }
    fs::set_permissions(&config, fs::Permissions::from_mode(0o555)).map_err(SetupError::io("mode"))
}

fn nodes(cluster: &Cluster) -> Vec<(String, String)> {
    let flags = ["ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER", "DISALLOW_TO_FAILOVER"];
    let nodes = Node::ALL.into_iter().zip(flags).enumerate();
    nodes
        .flat_map(|(id, (node, flag))| {
            [
                (format!("BACKEND_HOSTNAME{id}"), "127.0.0.1".to_owned()),
                (format!("BACKEND_PORT{id}"), cluster.port(node).to_string()),
                (format!("BACKEND_WEIGHT{id}"), "1".to_owned()),
                (format!("BACKEND_FLAG{id}"), flag.to_owned()),
            ]
        })
        .map(|(name, value)| (format!("PGPOOL_PARAMS_{name}"), value))
        .collect()
}

fn login(proxy: &Proxy, password: &str, database: &str) -> Result<(), SqlState> {
    drivers::block_on(async {
        match drivers::login(proxy, SCRAM_USER, Some(password), database).await {
            Ok(client) => {
                let in_recovery = "SELECT pg_is_in_recovery()";
                let read = client.query_one(in_recovery, &[]).await.expect("a read");
                let _: bool = read.get(0);
                client.batch_execute("BEGIN READ WRITE; SELECT 1; COMMIT").await.expect("a write");
                Ok(())
            }
            Err(e) => Err(e.code().unwrap_or_else(|| panic!("no SQLSTATE: {e:?}")).clone()),
        }
    })
}

fn check_logins(proxy: &Proxy, database: &str) {
    assert_eq!(login(proxy, SECRET, database), Ok(()));
    assert_eq!(login(proxy, "wrong", database), Err(SqlState::INVALID_PASSWORD));
    let mut psql = proxy.client_program("psql");
    psql.env("PGPASSWORD", SECRET);
    psql.args(["-X", "-A", "-t", "-U", SCRAM_USER, "-d", database, "-c", "SELECT 'in'"]);
    assert_eq!(drivers::run(psql, ""), "in\n");
}

/// psql with TLS, bound to a certificate that the proxy has made for itself.
fn check_encrypted_login(proxy: &Proxy, database: &str) {
    let mut psql = proxy.client_program("psql");
    psql.env("PGPASSWORD", SECRET).env("PGSSLMODE", "require").env("PGCHANNELBINDING", "require");
    psql.args(["-X", "-A", "-t", "-U", SCRAM_USER, "-d", database, "-c"]);
    psql.arg("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    // As in Pgpool-II, the server is asked for TLS as well.
    assert_eq!(drivers::run(psql, ""), "t\n");
}

/// It wrote no file, and no password to its log.
fn check_traces(proxy: &Proxy) {
    let log = proxy.log();
    assert!(!log.contains(SECRET), "{log}");
    let files = fs::read_dir(proxy.folder()).expect("folder");
    let mut names: Vec<_> =
        files.map(|file| file.expect("file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["config", "pgweir", "stderr.log"]);
}

/// The minimal Deployment: nothing but variables, of both generations of the image; servers that ask
/// for SCRAM.
pub fn deployment(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let newer = [
        ("PGPOOL_PASSWORD_ENCRYPTION_METHOD", "scram-sha-256"),
        ("PGPOOL_ENABLE_POOL_PASSWD", "true"),
        ("PGPOOL_SKIP_PASSWORD_ENCRYPTION", "false"),
        ("PGPOOL_PCP_USER", "pcp"),
        ("PGPOOL_PCP_PASSWORD", SECRET),
    ];
    let older = [("PGPOOL_PASSWORD_ENCRYPTION_METHOD", "md5")];
    for (switches, tls) in [(&newer[..], "off"), (&older[..], "off"), (&newer[..], "on")] {
        let proxy = scenario.start_as(cluster, &|folder, port| {
            mount(folder, &[])?;
            let mut command = container(scenario, folder)?;
            command.envs(nodes(cluster));
            command.env("PGPOOL_PARAMS_FAILOVER_ON_BACKEND_ERROR", "off");
            command.env("PGPOOL_PARAMS_ENABLE_POOL_HBA", "on");
            command.env("PGPOOL_PARAMS_SSL", tls);
            command.env("PGPOOL_PARAMS_LOG_MIN_MESSAGES", "debug5");
            // Beside what the Deployment says: it has a machine to itself.
            command.env("PGPOOL_PARAMS_PORT", port.to_string());
            command.env("POSTGRES_USERNAME", SCRAM_USER).env("POSTGRES_PASSWORD", SECRET);
            command.envs(switches.iter().copied());
            Ok(command)
        });
        // It listens on sockets later than on ports.
        wait_for("the socket is there", || proxy.log().contains("pgweir is ready"));
        // The folder of the default is there; `local` is `trust`, the servers are not.
        let socket = Address::Unix("/tmp".into(), proxy.port());
        let mut client = RawClient::connect(&socket, SCRAM_USER, &database);
        assert_eq!(client.query("SELECT current_user").value(), SCRAM_USER);
        client.close();
        if tls == "off" {
            check_logins(&proxy, &database);
        } else {
            // Only `hostssl` lets clients in.
            let refused = login(&proxy, SECRET, &database);
            assert_eq!(refused, Err(SqlState::INVALID_AUTHORIZATION_SPECIFICATION));
            check_encrypted_login(&proxy, &database);
        }
        check_traces(&proxy);
        let log = proxy.log();
        assert!(log.contains("`scram_user` (POSTGRES_PASSWORD)"), "{log}");
    }
}

/// The Deployment with a ConfigMap: the file is in force, variables overrule it, and the password is
/// in a mounted file. Its socket folder does not exist here.
pub fn deployment_with_config_map(scenario: &Scenario) {
    const HBA: &str = "\
local   all  all                      trust
host    all  all        127.0.0.1/32  scram-sha-256
host    all  all        ::1/128       scram-sha-256
";
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let [primary, standby] = Node::ALL.map(|node| cluster.port(node));
    let conf = format!(
        "listen_addresses = '*'
port = 9999
socket_dir = '/var/run/pgpool'
pcp_listen_addresses = '*'
pcp_port = 9898
pcp_socket_dir = '/var/run/pgpool'
backend_hostname0 = '127.0.0.1'
backend_port0 = {primary}
backend_weight0 = 1
backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'
backend_hostname1 = '127.0.0.1'
backend_port1 = {standby}
backend_weight1 = 1
backend_flag1 = 'DISALLOW_TO_FAILOVER'
sr_check_period = 0
health_check_period = 0
backend_clustering_mode = 'streaming_replication'
num_init_children = 32
max_pool = 4
child_life_time = 300
child_max_connections = 0
connection_life_time = 0
client_idle_limit = 0
connection_cache = on
load_balance_mode = on
ssl = off
enable_pool_hba = on
failover_on_backend_error = off
log_min_messages = debug5
"
    );
    let proxy = scenario.start_as(cluster, &|folder, port| {
        // A Secret made by `echo`.
        let secret = format!("{SECRET}\n");
        mount(folder, &[("pgpool.conf", &conf), ("pool_hba.conf", HBA), ("password", &secret)])?;
        let mut command = container(scenario, folder)?;
        command.env("PGPOOL_PARAMS_PORT", port.to_string());
        command.env("PGPOOL_PARAMS_SSL", "on");
        command.env("POSTGRES_USERNAME", SCRAM_USER);
        command.env("POSTGRES_PASSWORD_FILE", folder.join("config/password"));
        Ok(command)
    });
    check_logins(&proxy, &database);
    check_encrypted_login(&proxy, &database);
    check_traces(&proxy);
    let log = proxy.log();
    let overruled =
        format!("PGPOOL_PARAMS_PORT ({}/config/pgpool.conf:2)", proxy.folder().display());
    assert!(log.contains(&overruled), "{log}");
}

/// What is wrong in the environment is named, and ends the start.
pub fn faults_are_named(scenario: &Scenario) {
    for (name, value, wanted) in [
        ("PGPOOL_PARAMS_NUM_INIT_CHILDRN", "5", "did you mean `num_init_children`?"),
        ("PGPOOL_PARAMS_SSL", "maybe", "invalid value for `ssl`: `maybe`"),
        ("PGPOOL_ENABLE_POOL_PASSWD", "maybe", "`maybe` is not a boolean"),
        ("POSTGRES_PASSWORD_FILE", "/no/such", "could not read /no/such"),
    ] {
        let mut command = Command::new(scenario.program());
        command.env_clear().args(["-n", "--config-dir", "/no/such/folder"]);
        command.env("PGPOOL_PARAMS_BACKEND_HOSTNAME0", "127.0.0.1").env("POSTGRES_USERNAME", "x");
        let output = command.env(name, value).output().unwrap_or_else(|e| panic!("{e}"));
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{log}");
        let start = format!("environment {name}: ");
        assert!(log.starts_with(&start) && log.contains(wanted), "{log}");
    }
}
