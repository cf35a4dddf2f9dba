//! A PostgreSQL primary with a streaming standby, made for one test process and gone with it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::pki::Pki;
use crate::raw_client::{Address, DEADLINE, RawClient, Row};
use crate::tools::{Guard, Installation, SetupError, free_port, signal};

/// Role of the scenarios' ordinary clients; the servers let it in without a password.
pub const APP: &str = "app";
/// Superuser of the servers; let in without a password.
pub const ADMIN: &str = "postgres";
/// Role that the servers ask for a SCRAM-SHA-256 exchange.
pub const SCRAM_USER: &str = "scram_user";
/// Role that the servers ask for an MD5 response.
pub const MD5_USER: &str = "md5_user";
/// Role that the servers ask for its password in clear text.
pub const CLEAR_USER: &str = "clear_user";
/// Group of roles that the servers ask for a SCRAM-SHA-256 exchange.
pub const SCRAM_ROLES: &str = "scram_roles";
/// Role with a password that the servers do not ask for.
pub const TRUSTED_USER: &str = "trusted_user";
/// Role that the servers ask for a SCRAM-SHA-256 exchange, and let in by TLS only.
pub const TLS_USER: &str = "tls_user";
/// Role that the servers ask for a client certificate.
pub const CERT_USER: &str = "cert_user";
/// Password of those who have one.
pub const SECRET: &str = "secret";

/// How long a condition that the servers must reach by themselves may take.
const PATIENCE: Duration = Duration::from_secs(50);
/// How often a condition is looked at that no event announces.
const PAUSE: Duration = Duration::from_millis(5);

/// One of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Takes writes; backend number 0 of the proxy.
    Primary,
    /// Follows the primary and answers reads; backend number 1.
    Standby,
}

impl Node {
    /// Both, in the order of the proxy's backend numbers.
    pub const ALL: [Self; 2] = [Self::Primary, Self::Standby];

    fn index(self) -> usize {
        match self {
            Self::Primary => 0,
            Self::Standby => 1,
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}

/// The shutdown modes of PostgreSQL (documentation, "Shutting Down the Server").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions get 57P01, then a checkpoint.
    Fast,
    /// Every process ends at once; the next start recovers.
    Immediate,
}

impl Shutdown {
    fn signal(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
        }
    }
}

/// One statement that a server ran, from its log.
#[derive(Clone, Debug)]
struct Logged {
    database: String,
    statement: String,
}

#[derive(Default)]
struct Statements {
    all: Mutex<Vec<Logged>>,
    changed: std::sync::Condvar,
}

struct Server {
    port: u16,
    process: Mutex<Option<Child>>,
    statements: Arc<Statements>,
}

/// Primary and standby in a folder of their own. Dropping it stops both and removes the folder.
pub struct Cluster {
    base: PathBuf,
    installation: Installation,
    servers: [Server; 2],
    databases: AtomicU32,
    folders: AtomicU32,
    guard: Guard,
    pki: Pki,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A scenario that failed while it held a lock must not fail the others.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

const HBA: &str = "\
# TYPE DATABASE    USER       ADDRESS      METHOD
local  all         scram_user              scram-sha-256
local  all         md5_user                md5
local  all         clear_user              password
local  all         +scram_roles            scram-sha-256
local  all         all                     trust
hostssl all        tls_user   127.0.0.1/32 scram-sha-256
host   all         tls_user   127.0.0.1/32 reject
hostssl all        cert_user  127.0.0.1/32 cert
host   all         cert_user  127.0.0.1/32 reject
host   all         scram_user 127.0.0.1/32 scram-sha-256
host   all         md5_user   127.0.0.1/32 md5
host   all         clear_user 127.0.0.1/32 password
host   all         +scram_roles 127.0.0.1/32 scram-sha-256
host   all         all        127.0.0.1/32 trust
local  replication postgres                trust
host   replication postgres   127.0.0.1/32 trust
";

const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 300
shared_buffers = '32MB'
fsync = off
full_page_writes = off
max_wal_size = '2GB'
wal_level = replica
max_wal_senders = 6
wal_keep_size = '512MB'
hot_standby = on
hot_standby_feedback = on
wal_receiver_status_interval = '1s'
wal_retrieve_retry_interval = '100ms'
autovacuum = off
logging_collector = off
log_line_prefix = '[%p|%d] '
";

impl Cluster {
    /// The cluster that all scenarios of this process share, started at the first call.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::private)
    }

    /// A cluster for one scenario, which may stop its servers.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn private() -> Self {
        Self::create().unwrap_or_else(|e| panic!("no PostgreSQL cluster: {e}"))
    }

    /// Initialises and starts primary and standby.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or one of its programs fails; the text says which.
    pub fn create() -> Result<Self, SetupError> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let installation = Installation::find()?;
        let base = loop {
            let number = CREATED.fetch_add(1, Ordering::Relaxed);
            let name = format!("pgweir-testbed-{}-{number}", std::process::id());
            let base = std::env::temp_dir().join(name);
            match installation.create_folder(&base) {
                Ok(()) => break base,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(SetupError::io(base.display())(e)),
            }
        };
        let pki_folder = base.join("pki");
        installation.create_folder(&pki_folder).map_err(SetupError::io("pki"))?;
        let pki = Pki::create(&installation, &pki_folder)?;
        let guard = Self::guard(&installation, &base)?;
        let server = || {
            let statements = Arc::new(Statements::default());
            Ok(Server { port: free_port()?, process: Mutex::new(None), statements })
        };
        let mut cluster = Self {
            servers: [server()?, server()?],
            base,
            installation,
            databases: AtomicU32::new(0),
            folders: AtomicU32::new(0),
            guard,
            pki,
        };
        cluster.init_primary()?;
        cluster.first_start(Node::Primary)?;
        cluster.create_roles();
        cluster.init_standby()?;
        cluster.first_start(Node::Standby)?;
        Ok(cluster)
    }

    fn guard(installation: &Installation, base: &Path) -> Result<Guard, SetupError> {
        const SCRIPT: &str = "
            for server in standby primary; do
                \"$1\" -D \"$2/$server\" -m immediate -w -t 20 stop
            done
            cd /
            rm -rf \"$2\"";
        let pg_ctl = installation.program("pg_ctl");
        let arguments = [&*pg_ctl.to_string_lossy(), &*base.to_string_lossy()];
        Guard::new(SCRIPT, &arguments, |command| installation.demote(command, base))
    }

    fn run(mut command: Command) -> Result<(), SetupError> {
        let name = format!("{:?}", command.get_program());
        let output = command.output().map_err(SetupError::io(&name))?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(SetupError::new(format!("{name} failed ({}): {stderr}", output.status)))
    }

    fn init_primary(&self) -> Result<(), SetupError> {
        let folder = self.data_folder(Node::Primary);
        let mut initdb = self.installation.server("initdb", &self.base);
        initdb.arg("-D").arg(&folder).args(["-U", ADMIN, "-A", "trust", "-E", "UTF8"]);
        initdb.args(["--locale=C", "--no-sync"]);
        Self::run(initdb)?;
        let config = folder.join("postgresql.conf");
        let mut file =
            fs::OpenOptions::new().append(true).open(&config).map_err(SetupError::io("config"))?;
        let ssl = format!(
            "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'\n",
            self.pki.certificate("server").display(),
            self.pki.key("server").display(),
            self.pki.certificate("root").display(),
        );
        let settings = [SETTINGS, &ssl].concat();
        file.write_all(settings.as_bytes()).map_err(SetupError::io(config.display()))?;
        fs::write(folder.join("pg_hba.conf"), HBA).map_err(SetupError::io("pg_hba.conf"))
    }

    fn init_standby(&self) -> Result<(), SetupError> {
        let mut backup = self.installation.server("pg_basebackup", &self.base);
        backup.arg("-D").arg(self.data_folder(Node::Standby));
        backup.arg("-h").arg(&self.base).arg("-p").arg(self.port(Node::Primary).to_string());
        backup.args(["-U", ADMIN, "-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        Self::run(backup)
    }

    fn create_roles(&self) {
        let sql = format!(
            "CREATE ROLE {APP} LOGIN;
             CREATE ROLE {SCRAM_ROLES};
             SET password_encryption = 'scram-sha-256';
             CREATE ROLE {SCRAM_USER} LOGIN PASSWORD '{SECRET}';
             CREATE ROLE {TLS_USER} LOGIN PASSWORD '{SECRET}';
             CREATE ROLE {CERT_USER} LOGIN;
             CREATE ROLE {CLEAR_USER} LOGIN PASSWORD '{SECRET}';
             CREATE ROLE {TRUSTED_USER} LOGIN PASSWORD '{SECRET}';
             SET password_encryption = 'md5';
             CREATE ROLE {MD5_USER} LOGIN PASSWORD '{SECRET}'"
        );
        self.sql(Node::Primary, "postgres", &sql);
    }

    fn data_folder(&self, node: Node) -> PathBuf {
        self.base.join(node.folder())
    }

    fn server(&self, node: Node) -> &Server {
        &self.servers[node.index()]
    }

    /// Starts a server for the first time: a clash of ports is answered with another port.
    fn first_start(&mut self, node: Node) -> Result<(), SetupError> {
        const TRIES: u32 = 20;
        let mut last = SetupError::new("not tried");
        for _ in 0..TRIES {
            match self.try_start(node) {
                Ok(()) => return Ok(()),
                Err(e) if e.to_string().contains("could not bind") => last = e,
                Err(e) => return Err(e),
            }
            self.servers[node.index()].port = free_port()?;
        }
        Err(last)
    }

    fn try_start(&self, node: Node) -> Result<(), SetupError> {
        let server = self.server(node);
        let mut process = lock(&server.process);
        assert!(process.is_none(), "{node:?} runs already");
        let mut command = self.installation.server("postgres", &self.base);
        command.arg("-D").arg(self.data_folder(node));
        command.arg("-c").arg(format!("port={}", server.port));
        command.arg("-c").arg(format!("unix_socket_directories={}", self.base.display()));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(SetupError::io("postgres"))?;
        let stderr = child.stderr.take().ok_or_else(|| SetupError::new("no stderr"))?;
        let log = self.log_path(node);
        let (sender, events) = channel();
        let statements = Arc::clone(&server.statements);
        std::thread::spawn(move || follow_log(stderr, &log, &sender, &statements));
        match wait_until_ready(&events) {
            Ok(()) => {
                *process = Some(child);
                Ok(())
            }
            Err(text) => {
                // It may have hung rather than ended.
                let _ = child.kill();
                let _ = child.wait();
                Err(SetupError::new(format!("{node:?} did not start: {text}")))
            }
        }
    }

    /// Starts a server again that [`stop`](Self::stop) has stopped, on the same port, and waits
    /// until it takes connections.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self, node: Node) {
        if let Err(e) = self.try_start(node) {
            panic!("{e}");
        }
    }

    /// Stops a server and waits until its process has ended.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&self, node: Node, how: Shutdown) {
        let child = lock(&self.server(node).process).take();
        let mut child = child.unwrap_or_else(|| panic!("{node:?} does not run"));
        signal(&child, how.signal());
        child.wait().unwrap_or_else(|e| panic!("cannot wait for {node:?}: {e}"));
    }

    /// Port on 127.0.0.1.
    pub fn port(&self, node: Node) -> u16 {
        self.server(node).port
    }

    /// Address on loopback TCP.
    pub fn address(&self, node: Node) -> Address {
        Address::Tcp(self.port(node))
    }

    /// Folder of the servers' Unix sockets.
    pub fn socket_folder(&self) -> &Path {
        &self.base
    }

    /// File that the server's messages are copied to.
    pub fn log_path(&self, node: Node) -> PathBuf {
        self.base.join(format!("{}.log", node.folder()))
    }

    /// The certificates of this cluster and of whoever meets it. Both servers have TLS, for those
    /// who ask for it.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The programs that this cluster runs on.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// A new folder that is removed together with the cluster.
    ///
    /// # Errors
    /// Those of `mkdir` and `chown`.
    pub fn create_folder(&self, name: &str) -> std::io::Result<PathBuf> {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        let path = self.base.join(format!("{name}-{number}"));
        self.installation.create_folder(&path)?;
        Ok(path)
    }

    /// Logs in to a server directly.
    pub fn connect(&self, node: Node, user: &str, database: &str) -> RawClient {
        RawClient::connect(&self.address(node), user, database)
    }

    /// Runs SQL as superuser on a server directly and returns all rows.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, node: Node, database: &str, sql: &str) -> Vec<Row> {
        let mut client = self.connect(node, ADMIN, database);
        let reply = client.query(sql);
        assert!(reply.errors.is_empty(), "{sql}: {:?}", reply.errors);
        client.close();
        reply.ok()
    }

    /// As [`sql`](Self::sql), for one value.
    pub fn value(&self, node: Node, database: &str, sql: &str) -> String {
        let mut client = self.connect(node, ADMIN, database);
        let value = client.query(sql).value();
        client.close();
        value
    }

    /// A new database that role [`APP`] owns, there on both servers.
    pub fn create_database(&self) -> String {
        let name = format!("db{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(Node::Primary, "postgres", &format!("CREATE DATABASE {name} OWNER {APP}"));
        self.wait_replayed();
        name
    }

    /// As [`create_database`](Self::create_database), with tables, and so on, made by `sql` as
    /// role [`APP`].
    pub fn create_database_with(&self, sql: &str) -> String {
        let name = self.create_database();
        self.connect(Node::Primary, APP, &name).query(sql).ok();
        self.wait_replayed();
        name
    }

    /// Waits until a statement gives `t` on a server: for states that no event announces.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait_until(&self, node: Node, sql: &str) {
        let mut client = self.connect(node, ADMIN, "postgres");
        wait_for(sql, || client.query(sql).value() == "t");
    }

    /// Waits until `count` sessions of a database are in a state that the SQL condition on
    /// pg_stat_activity describes.
    pub fn wait_for_sessions(&self, node: Node, database: &str, condition: &str, count: u32) {
        self.wait_until(
            node,
            &format!(
                "SELECT count(*) = {count} FROM pg_stat_activity \
                 WHERE datname = '{database}' AND pid <> pg_backend_pid() AND ({condition})"
            ),
        );
    }

    /// Waits until the standby has replayed everything that the primary has written.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait_replayed(&self) {
        let lsn = self.value(Node::Primary, "postgres", "SELECT pg_current_wal_flush_lsn()");
        self.wait_until(Node::Standby, &format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'"));
    }

    /// Flushes both servers, so that one that is stopped with [`Shutdown::Immediate`] comes back
    /// with at least what it has now: a standby takes connections before it has replayed again
    /// all that it had replayed before.
    pub fn checkpoint(&self) {
        self.sql(Node::Primary, "postgres", "CHECKPOINT");
        self.wait_replayed();
        self.sql(Node::Standby, "postgres", "CHECKPOINT");
    }

    /// From now on new sessions of this database leave each of their statements in the server's
    /// log, for [`statements`](Self::statements).
    pub fn log_statements(&self, database: &str) {
        let sql = format!("ALTER DATABASE {database} SET log_statement = 'all'");
        self.sql(Node::Primary, "postgres", &format!("SET log_statement = 'none'; {sql}"));
        self.sql(
            Node::Primary,
            "postgres",
            &format!("ALTER ROLE {APP} IN DATABASE {database} SET log_statement = 'all'"),
        );
        self.wait_replayed();
    }

    /// Every statement that a server has run so far in a database with
    /// [`log_statements`](Self::log_statements), in the order of the log.
    pub fn statements(&self, node: Node, database: &str) -> Vec<String> {
        static MARKS: AtomicU32 = AtomicU32::new(0);
        // The log is read by a thread. What it read before this mark is all there was.
        let mark = format!("/* mark {} */ SELECT 1", MARKS.fetch_add(1, Ordering::Relaxed));
        self.sql(node, database, &mark);
        let statements = &self.server(node).statements;
        let mut all = lock(&statements.all);
        while !all.iter().any(|logged| logged.statement == mark) {
            let (guard, time_out) = statements
                .changed
                .wait_timeout(all, DEADLINE)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            assert!(!time_out.timed_out(), "{node:?} did not log {mark:?}");
            all = guard;
        }
        all.iter()
            .filter(|logged| logged.database == database)
            .map(|logged| logged.statement.clone())
            .filter(|statement| !statement.starts_with("/* mark "))
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.guard.release();
        for server in &self.servers {
            if let Some(mut child) = lock(&server.process).take() {
                // The guard has stopped it; this only takes it off the process table.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Looks at a condition again and again until it holds.
///
/// # Panics
/// When it does not within a minute.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "still not so after {PATIENCE:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

enum LogEvent {
    Ready,
    Line(String),
}

/// Copies a server's log to a file, tells when the server is ready, and keeps logged statements.
fn follow_log(stderr: ChildStderr, path: &Path, events: &Sender<LogEvent>, kept: &Statements) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).ok();
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        if let Some(file) = &mut file {
            // The log is a help for people; a full disk shows elsewhere.
            let _ = file.write_all(&line);
        }
        let text = String::from_utf8_lossy(&line);
        let event = if text.contains("database system is ready to accept") {
            LogEvent::Ready
        } else {
            LogEvent::Line(text.trim_end().to_owned())
        };
        // Nobody listens any more once the server has started.
        let _ = events.send(event);
        keep_statement(&text, kept);
        line.clear();
    }
}

fn keep_statement(line: &str, kept: &Statements) {
    if let Some(more) = line.strip_prefix('\t') {
        // The second and later lines of a message begin with a tab.
        if let Some(last) = lock(&kept.all).last_mut() {
            last.statement.push('\n');
            last.statement.push_str(more.trim_end());
        }
        return;
    }
    let Some((database, message)) = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] LOG:  "))
        .and_then(|(prefix, message)| Some((prefix.split_once('|')?.1, message)))
    else {
        return;
    };
    let statement = match message.split_once(": ") {
        Some(("statement", statement)) => statement,
        Some((kind, statement)) if kind.starts_with("execute ") => statement,
        _ => return,
    };
    lock(&kept.all)
        .push(Logged { database: database.to_owned(), statement: statement.trim_end().to_owned() });
    kept.changed.notify_all();
}

fn wait_until_ready(events: &Receiver<LogEvent>) -> Result<(), String> {
    let mut lines = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE) {
            Ok(LogEvent::Ready) => return Ok(()),
            Ok(LogEvent::Line(line)) => lines.push(line),
            Err(e) => return Err(format!("{e}; its log: {}", lines.join("\n"))),
        }
    }
}
