//! A proxy process under test.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;

use crate::cluster::{APP, Cluster, Node, wait_for};
use crate::raw_client::{Address, Fault, RawClient};
use crate::tools::{Guard, SetupError, free_port, signal};

/// When a client gives its server connection back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When it leaves.
    Session,
    /// When its transaction ends.
    Transaction,
}

impl Mode {
    fn setting(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
        }
    }
}

/// What goes into the configuration files of one proxy.
#[derive(Clone, Debug)]
pub struct Config {
    mode: Mode,
    pool_size: u32,
    clients: u32,
    wait_timeout: u32,
    weights: [u32; 2],
    lines: Vec<String>,
    passwords: Vec<String>,
    key: Option<String>,
    hba: Option<String>,
    maps: Option<String>,
    standby: bool,
}

impl Config {
    /// 4 servers per node, user and database; 250 clients; both nodes with the same weight.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            pool_size: 4,
            clients: 250,
            wait_timeout: 30,
            weights: [1, 1],
            lines: Vec::new(),
            passwords: Vec::new(),
            key: None,
            hba: None,
            maps: None,
            standby: true,
        }
    }

    /// Servers per node, user and database.
    #[must_use]
    pub fn pool_size(mut self, servers: u32) -> Self {
        self.pool_size = servers;
        self
    }

    /// How many clients are let in.
    #[must_use]
    pub fn clients(mut self, clients: u32) -> Self {
        self.clients = clients;
        self
    }

    /// How long a client waits for a server, in seconds.
    #[must_use]
    pub fn wait_timeout(mut self, seconds: u32) -> Self {
        self.wait_timeout = seconds;
        self
    }

    /// Shares of the reads that go to primary and standby.
    #[must_use]
    pub fn weights(mut self, primary: u32, standby: u32) -> Self {
        self.weights = [primary, standby];
        self
    }

    /// A further line of pgpool.conf.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// A line `user:secret` of the pool_passwd file.
    #[must_use]
    pub fn password(mut self, user: &str, secret: &str) -> Self {
        self.passwords.push(format!("{user}:{secret}"));
        self
    }

    /// Contents of the file with the key of encrypted passwords.
    #[must_use]
    pub fn key(mut self, text: &str) -> Self {
        self.key = Some(text.to_owned());
        self
    }

    /// Contents of pool_hba.conf; without it the backend's method decides.
    #[must_use]
    pub fn hba(mut self, text: &str) -> Self {
        self.hba = Some(text.to_owned());
        self
    }

    /// Contents of pool_ident.conf.
    #[must_use]
    pub fn maps(mut self, text: &str) -> Self {
        self.maps = Some(text.to_owned());
        self
    }

    /// The standby is not configured.
    #[must_use]
    pub fn without_standby(mut self) -> Self {
        self.standby = false;
        self
    }

    /// How many lines pgpool.conf has: the number of the one that was added last.
    pub fn line_count(&self, cluster: &Cluster) -> usize {
        self.lines(cluster, Path::new(""), 0).len()
    }

    /// The lines of pgpool.conf; those given with [`line`](Self::line) come last.
    fn lines(&self, cluster: &Cluster, folder: &Path, port: u16) -> Vec<String> {
        let mut lines = vec![
            "backend_clustering_mode = 'streaming_replication'".to_owned(),
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("port = {port}"),
            format!("unix_socket_directories = '{}'", folder.display()),
        ];
        for node in Node::ALL.into_iter().filter(|node| self.standby || *node == Node::Primary) {
            let number = usize::from(node == Node::Standby);
            let flag = match node {
                Node::Primary => "ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER",
                Node::Standby => "DISALLOW_TO_FAILOVER",
            };
            lines.extend([
                format!("backend_hostname{number} = '127.0.0.1'"),
                format!("backend_port{number} = {}", cluster.port(node)),
                format!("backend_weight{number} = {}", self.weights[number]),
                format!("backend_flag{number} = '{flag}'"),
            ]);
        }
        lines.extend([
            "load_balance_mode = on".to_owned(),
            format!("enable_pool_hba = {}", if self.hba.is_some() { "on" } else { "off" }),
            "pool_passwd = 'pool_passwd'".to_owned(),
            format!("weir_pool_mode = {}", self.mode.setting()),
            format!("weir_pool_size = {}", self.pool_size),
            format!("num_init_children = {}", self.clients),
            format!("weir_query_wait_timeout = {}", self.wait_timeout),
        ]);
        // Wrong passwords are part of many scenarios.
        lines.push("weir_auth_failure_delay = 0".to_owned());
        lines.extend(self.lines.iter().cloned());
        lines
    }

    /// Writes the files into `folder` and returns the path of pgpool.conf.
    fn write(&self, cluster: &Cluster, folder: &Path, port: u16) -> std::io::Result<PathBuf> {
        self.write_for(cluster, folder, folder, port)
    }

    /// Writes the files into `folder`, for a proxy whose sockets are in `sockets`.
    fn write_for(
        &self,
        cluster: &Cluster,
        folder: &Path,
        sockets: &Path,
        port: u16,
    ) -> std::io::Result<PathBuf> {
        let mut text = self.lines(cluster, sockets, port).join("\n");
        text.push('\n');
        let path = folder.join("pgpool.conf");
        fs::write(&path, text)?;
        let passwords: String = self.passwords.iter().map(|line| format!("{line}\n")).collect();
        fs::write(folder.join("pool_passwd"), passwords)?;
        if let Some(key) = &self.key {
            fs::write(folder.join(".pgpoolkey"), key)?;
        }
        if let Some(hba) = &self.hba {
            fs::write(folder.join("pool_hba.conf"), hba)?;
        }
        if let Some(maps) = &self.maps {
            fs::write(folder.join("pool_ident.conf"), maps)?;
        }
        Ok(path)
    }
}

/// Makes the command of a proxy that is given a folder and a port.
pub type Prepare<'p> = &'p dyn Fn(&Path, u16) -> Result<Command, SetupError>;

/// A running proxy. Dropping it kills it.
pub struct Proxy {
    child: Mutex<Child>,
    guard: Guard,
    port: u16,
    folder: PathBuf,
    installation: crate::tools::Installation,
}

impl Proxy {
    /// Writes the configuration, starts the program and waits until its port takes connections.
    ///
    /// # Errors
    /// When it ends before that; the text holds what it wrote to its standard error.
    pub fn start(program: &Path, cluster: &Cluster, config: &Config) -> Result<Self, SetupError> {
        Self::start_as(cluster, &|folder, port| {
            let path =
                config.write(cluster, folder, port).map_err(SetupError::io("pgpool.conf"))?;
            Ok(Self::command(program, &path, folder))
        })
    }

    /// Starts what `prepare` makes of a folder of its own and a port, and waits until the port takes
    /// connections.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_as(cluster: &Cluster, prepare: Prepare<'_>) -> Result<Self, SetupError> {
        const TRIES: u32 = 10;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_once(cluster, prepare) {
                // Somebody else took the port first.
                Err(e) if tries < TRIES && e.to_string().contains("in use") => {}
                result => return result,
            }
        }
    }

    fn start_once(cluster: &Cluster, prepare: Prepare<'_>) -> Result<Self, SetupError> {
        let folder = cluster.create_folder("proxy").map_err(SetupError::io("proxy folder"))?;
        let port = free_port()?;
        let command = prepare(&folder, port)?;
        let proxy = Self::run(cluster, command, folder, port)?;
        proxy.until(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    }

    /// Starts another process with a configuration of its own on the port and in the socket folder of
    /// `other`, and waits until it says that it is ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_beside(
        program: &Path,
        cluster: &Cluster,
        config: &Config,
        other: &Self,
    ) -> Result<Self, SetupError> {
        let folder = cluster.create_folder("proxy").map_err(SetupError::io("proxy folder"))?;
        let path = config
            .write_for(cluster, &folder, &other.folder, other.port)
            .map_err(SetupError::io("pgpool.conf"))?;
        let command = Self::command(program, &path, &folder);
        let proxy = Self::run(cluster, command, folder, other.port)?;
        proxy.until(|proxy| proxy.log().contains("is ready"))
    }

    fn run(
        cluster: &Cluster,
        command: Command,
        folder: PathBuf,
        port: u16,
    ) -> Result<Self, SetupError> {
        let child = Self::spawn(command, &folder)?;
        let pid = child.id().to_string();
        Ok(Self {
            child: Mutex::new(child),
            // The process is our child and not waited for while the guard lives, so that the
            // number cannot belong to another process, unless we are gone.
            guard: Guard::new("kill -KILL \"$1\"", &[&pid], |_| ())?,
            port,
            folder,
            installation: cluster.installation().clone(),
        })
    }

    /// Waits until it serves, or has ended.
    fn until(mut self, serves: impl Fn(&Self) -> bool) -> Result<Self, SetupError> {
        let mut ended = None;
        wait_for("proxy takes connections", || {
            ended = self.exited();
            ended.is_some() || serves(&self)
        });
        match ended {
            None => Ok(self),
            Some(status) => {
                let log = self.log();
                Err(SetupError::new(format!("the proxy ended: {status}\n{log}")))
            }
        }
    }

    fn command(program: &Path, config: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("-n").arg("-f").arg(config).current_dir(folder);
        command.env("HOME", folder);
        // What the caller's environment says is no part of the test.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PGPOOL") || text.contains("_USERNAME") {
                command.env_remove(name);
            }
        }
        command
    }

    fn spawn(mut command: Command, folder: &Path) -> Result<Child, SetupError> {
        let stderr =
            fs::File::create(folder.join("stderr.log")).map_err(SetupError::io("stderr.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        command.spawn().map_err(SetupError::io(command.get_program().display()))
    }

    /// Runs the program on a configuration that it must refuse, and returns how it ended and
    /// what it wrote to its standard error.
    ///
    /// # Panics
    /// When it goes on running.
    pub fn refused(program: &Path, cluster: &Cluster, config: &Config) -> (ExitStatus, String) {
        let setup = || -> Result<(Child, PathBuf), SetupError> {
            let folder = cluster.create_folder("proxy").map_err(SetupError::io("folder"))?;
            let path = config.write(cluster, &folder, free_port()?);
            let path = path.map_err(SetupError::io("pgpool.conf"))?;
            Ok((Self::spawn(Self::command(program, &path, &folder), &folder)?, folder))
        };
        let (mut child, folder) = setup().unwrap_or_else(|e| panic!("{e}"));
        let mut status = None;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("program ends by itself", || {
                status = child.try_wait().ok().flatten();
                status.is_some()
            });
        }));
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = fs::read_to_string(folder.join("stderr.log")).unwrap_or_default();
        (status.unwrap_or_else(|| panic!("it runs with a bad configuration: {log}")), log)
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child().try_wait().ok().flatten();
        if status.is_some() {
            self.guard.dismiss();
        }
        status
    }

    /// Replaces the configuration files; it is not told.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write_config(&self, cluster: &Cluster, config: &Config) {
        let written = config.write(cluster, &self.folder, self.port);
        written.unwrap_or_else(|e| panic!("{}: {e}", self.folder.display()));
    }

    /// Writes configuration files into a new folder inside of [`Self::folder`].
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write_config_into(&self, cluster: &Cluster, config: &Config, name: &str) {
        let folder = self.folder.join(name);
        let written = fs::create_dir(&folder)
            .and_then(|()| config.write_for(cluster, &folder, &self.folder, self.port));
        written.unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Address on loopback TCP.
    pub fn address(&self) -> Address {
        Address::Tcp(self.port)
    }

    /// Address of the Unix socket.
    pub fn socket_address(&self) -> Address {
        Address::Unix(self.folder.clone(), self.port)
    }

    /// Folder of the Unix socket and of the configuration.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the standard error is collected.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("stderr.log")
    }

    /// What it wrote to its standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Logs in as [`APP`].
    pub fn connect(&self, database: &str) -> RawClient {
        RawClient::connect(&self.address(), APP, database)
    }

    /// Logs in as [`APP`].
    ///
    /// # Errors
    /// As [`RawClient::try_connect`].
    pub fn try_connect(&self, database: &str) -> Result<RawClient, Fault> {
        RawClient::try_connect(&self.address(), APP, database)
    }

    /// `psql` or `pgbench` with the options that lead to this proxy, as [`APP`].
    pub fn client_program(&self, program: &str) -> Command {
        let mut command = self.installation.client(program);
        command.arg("-h").arg("127.0.0.1").arg("-p").arg(self.port.to_string());
        command.arg("-U").arg(APP);
        command
    }

    /// Peak of the resident memory, in bytes (proc(5), `VmHWM`).
    ///
    /// # Panics
    /// When it does not run.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).unwrap_or_default();
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<u64>().ok());
        kilobytes.unwrap_or_else(|| panic!("no VmHWM in {path}")) * 1024
    }

    /// Sends a signal by name, for instance `TERM`.
    pub fn signal(&self, name: &str) {
        signal(&self.child(), name);
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("proxy ends", || {
            status = self.exited();
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("wait_for returned early"))
    }

    /// SIGTERM, then [`wait`](Self::wait).
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- {}\n{}", self.log_path().display(), self.log());
        }
        self.guard.dismiss();
        let mut child = self.child();
        // Both fail when it has ended already, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
    }
}
