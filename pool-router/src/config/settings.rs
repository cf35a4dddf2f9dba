//! The settings as types.

use core::time::Duration;

use super::error::Origin;
use super::load::{DEFAULT_BACKEND_PORT, DEFAULT_BACKEND_PORT_TEXT};
use super::overrides::{Both, ClientLimits, GroupLimits, Override};
use super::table::{self, Change, Found, parameters};
use super::value::{HIDDEN, Stored, Values};

/// An address to accept clients on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// `*`: every address, IPv4 and IPv6.
    Any,
    /// A host name or an IP address, to be resolved by the caller.
    Name(String),
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendHost {
    /// A host name or an IP address.
    Tcp(String),
    /// The directory of the server's Unix socket, `.s.PGSQL.<port>`.
    UnixDir(String),
}

/// What `backend_flag` says about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendFlags {
    /// The node is the primary without being asked.
    pub always_primary: bool,
    /// The node is never to be detached. pgweir detaches none, so this is only reported.
    pub disallow_to_failover: bool,
}

/// A server.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// The node id, 0 to [`MAX_NODE_ID`](super::MAX_NODE_ID): the number behind the names in the
    /// file, not a position in [`Settings::backends`].
    pub id: u16,
    /// Where it is.
    pub host: BackendHost,
    /// Its port; with a Unix socket, the number in the socket's name.
    pub port: u16,
    /// Its share of reads relative to the other nodes; 0: none. Finite, 0 to 1e8.
    pub weight: f64,
    /// Its flags.
    pub flag: BackendFlags,
    /// The application_name of its WAL receiver.
    pub application_name: Option<String>,
    /// How long connecting may take; `None`: as long as the system lets it.
    pub connect_timeout: Option<Duration>,
}

/// What keeps the servers alike, of the kinds that pgweir serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusteringMode {
    /// A primary and its standbys.
    StreamingReplication,
    /// Every statement goes to the primary.
    Raw,
}

/// When a server connection goes back to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// At the end of the client's session.
    Session,
    /// At the end of each transaction.
    Transaction,
}

/// How long reads go to the primary after a write of the same session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisableLoadBalanceOnWrite {
    /// Not at all.
    Off,
    /// To the end of the transaction.
    Transaction,
    /// To the end of the transaction, and in every later explicit transaction of the session.
    TransTransaction,
    /// To the end of the session.
    Always,
    /// To the end of the transaction. Pgpool-II means the reads of the tables that it wrote only.
    DmlAdaptive,
}

/// Where the reads of an explicit read-write transaction run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionReads {
    /// As outside of one, until the transaction needs the primary; from then on there.
    Standby,
    /// With the rest of the transaction, on the primary.
    Primary,
}

/// What is asked of connections to servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerTlsMode {
    /// As Pgpool-II: with `ssl`, TLS where the server has it.
    Auto,
    /// No TLS.
    Disable,
    /// TLS where the server has it.
    Prefer,
    /// TLS.
    Require,
    /// TLS, and a certificate that a known authority has signed.
    VerifyCa,
    /// That, for the name that was dialled.
    VerifyFull,
}

/// A severity, the least first, in the order of `log_min_messages`: LOG stands between ERROR and
/// FATAL, as in PostgreSQL's server log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words of the setting")]
pub enum LogLevel {
    Debug5,
    Debug4,
    Debug3,
    Debug2,
    Debug1,
    Info,
    Notice,
    Warning,
    Error,
    Log,
    Fatal,
    Panic,
}

/// All settings, valid and typed. `None` for a time or a limit means that there is none.
///
/// The fields follow the parameters' names; the table of [parameters](super::table::parameters)
/// documents each. Parameters without a field are kept as text: [`Settings::value`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// TCP addresses to listen on; empty: none.
    pub listen_addresses: Vec<ListenAddress>,
    /// The port, of TCP and in the names of the Unix sockets.
    pub port: u16,
    /// Directories for Unix sockets; empty: none. Not both this and `listen_addresses` are empty.
    pub unix_socket_directories: Vec<String>,
    /// Mode of the Unix sockets, 0 to 0o777.
    pub unix_socket_permissions: u32,
    /// Group of the Unix sockets; `None`: that of the process.
    pub unix_socket_group: Option<String>,
    /// The listen backlog is this times `num_init_children`. At least 1.
    pub listen_backlog_multiplier: u32,
    /// Slots of `num_init_children` not to be given away; less than `num_init_children`.
    pub reserved_connections: u32,

    /// What keeps the servers alike.
    pub clustering_mode: ClusteringMode,
    /// The servers, at least one, by ascending node id. At most one is flagged as the primary.
    pub backends: Vec<Backend>,

    /// Authenticate clients by `pool_hba.conf`.
    pub enable_pool_hba: bool,
    /// The file of passwords, relative to the directory of `pgpool.conf`.
    pub pool_passwd: Option<String>,
    /// From accepting a client to the end of its authentication.
    pub authentication_timeout: Option<Duration>,
    /// Ask for a password in clear text when `pool_passwd` has none and pool_hba is off.
    pub allow_clear_text_frontend_auth: bool,
    /// The role that asks servers for the passwords of others, if it has a name of its own.
    pub auth_user: Option<String>,
    /// Pgpool-II's role for measuring the replication delay.
    pub sr_check_user: Option<String>,
    /// The database for [`Settings::auth_query`].
    pub auth_dbname: String,
    /// Finds a role's password.
    pub auth_query: String,
    /// How long that may take.
    pub auth_query_timeout: Option<Duration>,
    /// How long its answer may be used again.
    pub auth_cache_time: Duration,
    /// How long a client waits for the answer that its login has failed.
    pub auth_failure_delay: Duration,
    /// TLS for clients. This and what follows of it is made into a [`Tls`](crate::tls::Tls) by
    /// [`tls::load`](crate::tls::load).
    pub ssl: bool,
    /// The file of the private key. This and the other files are relative to the directory of
    /// `pgpool.conf`.
    pub ssl_key: Option<String>,
    /// The file of the certificate and its chain.
    pub ssl_cert: Option<String>,
    /// The file of authorities.
    pub ssl_ca_cert: Option<String>,
    /// A directory of such files.
    pub ssl_ca_cert_dir: Option<String>,
    /// The file of revocation lists for client certificates.
    pub ssl_crl_file: Option<String>,
    /// Cipher suites of TLS 1.2, in OpenSSL's words.
    pub ssl_ciphers: String,
    /// Whether the order of cipher suites here counts, rather than the client's.
    pub ssl_prefer_server_ciphers: bool,
    /// Curves of the key exchange, in OpenSSL's words.
    pub ssl_ecdh_curve: String,
    /// The command that prints the passphrase of the key.
    pub ssl_passphrase_command: Option<String>,
    /// TLS to servers.
    pub server_tls_mode: ServerTlsMode,
    /// Whether TLS to servers begins without asking.
    pub server_tls_direct: bool,
    /// The file of authorities for servers, if it is another one.
    pub server_tls_ca_file: Option<String>,
    /// The file of the certificate to show to servers, if it is another one.
    pub server_tls_cert: Option<String>,
    /// The file of the key of `server_tls_cert`, if it is another one.
    pub server_tls_key: Option<String>,
    /// The file for the process id, relative to the directory of `pgpool.conf`.
    pub pid_file_name: Option<String>,

    /// Keep server connections for the next client.
    pub connection_cache: bool,
    /// Clients served at a time. At least 1.
    pub num_init_children: u32,
    /// Pgpool-II's cached connections per process. At least 1.
    pub max_pool: u32,
    /// Pgpool-II's life time of an idle process; no effect.
    pub child_life_time: Option<Duration>,
    /// Pgpool-II's number of clients that a process serves; no effect.
    pub child_max_connections: Option<u32>,
    /// Pgpool-II's name of [`Settings::server_idle_timeout`].
    pub connection_life_time: Option<Duration>,
    /// How long a client may be idle.
    pub client_idle_limit: Option<Duration>,
    /// Statements that clean a server connection after a session.
    pub reset_query_list: Vec<String>,

    /// When a server connection goes back to the pool.
    pub pool_mode: PoolMode,
    /// Server connections per node and (user, database), in use or idle. Never 0: the file's 0 is
    /// already replaced by `num_init_children`.
    pub pool_size: u32,
    /// Server connections per node. Never 0: the file's 0 is already replaced by
    /// `num_init_children` times `max_pool`.
    pub max_server_connections: u32,
    /// Server connections per node and (user, database) that stay open; at most `weir_pool_size`.
    pub min_pool_size: u32,
    /// Read the files again when they have changed.
    pub reload_on_change: bool,
    /// How often they are looked at. Not zero.
    pub reload_check_interval: Duration,
    /// Threads for clients; `None`: one per processor.
    pub workers: Option<u16>,
    /// How long a client may wait for a server connection.
    pub query_wait_timeout: Option<Duration>,
    /// How long until a waiting client is told.
    pub query_wait_notify: Option<Duration>,
    /// Clients that may wait per node, user and database; `None`: any number.
    pub max_queue: Option<u32>,
    /// How long a statement or batch may take.
    pub query_timeout: Option<Duration>,
    /// How long a transaction may take.
    pub transaction_timeout: Option<Duration>,
    /// How long a client may be idle in a transaction.
    pub idle_transaction_timeout: Option<Duration>,
    /// Server connections beyond `pool_size` for those who have waited.
    pub reserve_pool_size: u32,
    /// How long before those are used. May be zero.
    pub reserve_pool_timeout: Duration,
    /// Server connections per node and user; 0: no bound.
    pub max_user_connections: u32,
    /// Server connections per node and database; 0: no bound.
    pub max_database_connections: u32,
    /// Clients of one user; 0: no bound.
    pub max_user_clients: u32,
    /// Clients of one database; 0: no bound.
    pub max_database_clients: u32,
    /// Clients of one user in one database that may be logged in; 0: no bound of its own.
    pub max_pool_clients: u32,
    /// Server connections of a node that may be on their way; `None`: any number.
    pub max_concurrent_logins: Option<u32>,
    /// What differs for single databases. Entries that cannot be read are left out;
    /// [`load`](super::load) refuses them.
    pub database_overrides: Vec<Override>,
    /// What differs for single users, likewise.
    pub user_overrides: Vec<Override>,
    /// How long a server connection may be unused. Is the shorter of `connection_life_time` and
    /// `child_life_time` where the file sets only those.
    pub server_idle_timeout: Option<Duration>,
    /// How old a server connection may grow.
    pub server_lifetime: Option<Duration>,
    /// How long connecting and logging in to a server may take.
    pub server_login_timeout: Option<Duration>,
    /// The first pause after a failed connection to a server. At least 1 ms.
    pub server_retry_initial: Duration,
    /// The longest such pause; not below `weir_server_retry_initial`.
    pub server_retry_max: Duration,
    /// How long sessions may go on after SIGTERM.
    pub shutdown_timeout: Option<Duration>,
    /// How long new clients are served after SIGTERM.
    pub drain_listen_time: Option<Duration>,
    /// Clients that are told to leave per second; `None`: all at once.
    pub drain_client_rate: Option<u32>,
    /// Listen with SO_REUSEPORT.
    pub reuse_port: bool,
    /// How long delivering a cancel request may take.
    pub cancel_timeout: Option<Duration>,
    /// Unanswered messages of one client.
    pub pipeline_limit: u32,
    /// Bytes of one client's prepared statements.
    pub prepared_statement_bytes: u64,
    /// Shared prepared statements of one server; 0: none are shared.
    pub max_prepared_statements: u32,
    /// Bytes of the texts of all shared prepared statements of one worker.
    pub prepared_statement_memory: u64,
    /// Clients that wait for a slot beyond `num_init_children`.
    pub max_waiting_clients: u32,

    /// Spread reads over the nodes. Always false in [`ClusteringMode::Raw`].
    pub load_balance_mode: bool,
    /// Choose a node for each read rather than for each session.
    pub statement_level_load_balance: bool,
    /// How long reads go to the primary after a write.
    pub disable_load_balance_on_write: DisableLoadBalanceOnWrite,
    /// Objects that imply each other, as `cause:dependent`. No effect, but valid.
    pub dml_adaptive_object_relationship_list: Vec<String>,
    /// Patterns of functions that write. These and the lists below are compiled by
    /// [`Rules::compile`](crate::rules::Rules::compile).
    pub write_function_list: Vec<String>,
    /// Patterns of functions that do not write; where it is not empty, all others do.
    pub read_only_function_list: Vec<String>,
    /// Patterns of statements that go to the primary.
    pub primary_routing_query_pattern_list: Vec<String>,
    /// `pattern:node(ratio)` for application names.
    pub app_name_redirect_preference_list: Vec<String>,
    /// `pattern:node(ratio)` for databases.
    pub database_redirect_preference_list: Vec<String>,
    /// `pattern:node(ratio)` for users.
    pub user_redirect_preference_list: Vec<String>,
    /// Look behind a comment in front of a statement; off: it goes to the primary.
    pub allow_sql_comments: bool,
    /// Look behind white space in front of a statement; off: it goes to the primary.
    pub ignore_leading_white_space: bool,
    /// Where the reads of an explicit read-write transaction run until it writes.
    pub transaction_reads: TransactionReads,

    /// Use what the catalogue says of unlogged tables.
    pub check_unlogged_table: bool,
    /// Ask a standby for the catalogue first (`relcache_query_target = load_balance_node`).
    pub relcache_on_standby: bool,
    /// Names kept of one catalogue, if more than [`Settings::catalogue_max_names`].
    pub relcache_size: u32,
    /// Age at which a catalogue is looked up anew.
    pub relcache_expire: Option<Duration>,
    /// Names kept of one catalogue. At least 100.
    pub catalogue_max_names: u32,
    /// How long looking up a catalogue may take.
    pub catalogue_timeout: Option<Duration>,
    /// Functions and statements of one database that are remembered as writing.
    pub learned_writers_max: u32,
    /// How long each is.
    pub learned_writers_expire: Option<Duration>,

    /// Least severity that is logged.
    pub log_min_messages: LogLevel,
    /// Log each login.
    pub log_connections: bool,
    /// Log the end of each session.
    pub log_disconnections: bool,
    /// Log each statement.
    pub log_statement: bool,
    /// Log each statement with the node it goes to.
    pub log_per_node_statement: bool,
    /// What begins each line of the log.
    pub log_line_prefix: String,

    /// Counts the loads of the files.
    pub(super) generation: u64,
    /// Nodes, by the bit of their position, that are not configured any more.
    pub(super) removed: u128,
    pub(super) values: Values,
}

impl Settings {
    /// The settings of an empty file, for these servers.
    ///
    /// For embedders and tests that have no file; nothing checks `backends`, which must not be
    /// empty and must be sorted by node id.
    #[must_use]
    pub fn with_backends(backends: Vec<Backend>) -> Self {
        Self { backends, ..Self::from_values(Values::default()) }
    }

    /// The role that asks servers for the passwords of others; `None`: nobody does.
    #[must_use]
    pub fn authenticator(&self) -> Option<&str> {
        let query = Some(&self.auth_query).filter(|query| !query.is_empty());
        query.and_then(|_| self.auth_user.as_deref().or(self.sr_check_user.as_deref()))
    }

    /// Whether certificates of clients are asked for, and verified.
    #[must_use]
    pub fn verifies_clients(&self) -> bool {
        self.ssl && (self.ssl_ca_cert.is_some() || self.ssl_ca_cert_dir.is_some())
    }

    /// The primary: the node flagged ALWAYS_PRIMARY, otherwise the one with the lowest id.
    ///
    /// `None` only for settings that were made without a backend; [`load`](super::load) makes
    /// none such.
    #[must_use]
    pub fn primary(&self) -> Option<&Backend> {
        let nodes = || self.nodes().map(|(_, node)| node);
        nodes().find(|node| node.flag.always_primary).or_else(|| nodes().min_by_key(|node| node.id))
    }

    /// Whether the service goes on, over TCP, if a Unix socket cannot be made in this directory:
    /// nobody has asked for one there, or it is the directory that Pgpool-II's image has.
    #[must_use]
    pub fn can_do_without_socket(&self, directory: &str) -> bool {
        let asked = self.origin("unix_socket_directories").is_some();
        !self.listen_addresses.is_empty() && (!asked || directory == "/var/run/pgpool")
    }

    /// The server with a node id.
    #[must_use]
    pub fn backend(&self, id: u16) -> Option<&Backend> {
        self.nodes().map(|(_, node)| node).find(|node| node.id == id)
    }

    /// How long things may take for a client.
    #[must_use]
    pub fn client_limits(&self, user: &[u8], database: &[u8]) -> ClientLimits {
        let own = self.overrides(user, database);
        ClientLimits {
            idle: own.time(|it| it.client_idle_limit, self.client_idle_limit),
            query_wait: own.time(|it| it.query_wait_timeout, self.query_wait_timeout),
            query: own.time(|it| it.query_timeout, self.query_timeout),
            transaction: own.time(|it| it.transaction_timeout, self.transaction_timeout),
            idle_transaction: own
                .time(|it| it.idle_transaction_timeout, self.idle_transaction_timeout),
        }
    }

    /// The bounds of the pools of a user and database.
    #[must_use]
    pub fn group_limits(&self, user: &[u8], database: &[u8]) -> GroupLimits {
        let own = self.overrides(user, database);
        let pool_size = own.number(|it| it.pool_size, self.pool_size).max(1);
        GroupLimits {
            pool_size,
            min_pool_size: own.number(|it| it.min_pool_size, self.min_pool_size).min(pool_size),
            reserve_pool_size: own.number(|it| it.reserve_pool_size, self.reserve_pool_size),
        }
    }

    /// Clients that a user may have in a database; 0: no bound.
    #[must_use]
    pub fn pool_clients(&self, user: &[u8], database: &[u8]) -> u32 {
        self.overrides(user, database).number(|it| it.max_pool_clients, self.max_pool_clients)
    }

    /// Server connections per node, and clients, that a user may have in all; 0: no bound.
    #[must_use]
    pub fn user_caps(&self, user: &[u8]) -> (u32, u32) {
        let own = Both([find(&self.user_overrides, user), None]);
        (
            own.number(|it| it.max_connections, self.max_user_connections),
            own.number(|it| it.max_clients, self.max_user_clients),
        )
    }

    /// Server connections per node, and clients, that a database may have in all; 0: no bound.
    #[must_use]
    pub fn database_caps(&self, database: &[u8]) -> (u32, u32) {
        let own = Both([find(&self.database_overrides, database), None]);
        (
            own.number(|it| it.max_connections, self.max_database_connections),
            own.number(|it| it.max_clients, self.max_database_clients),
        )
    }

    fn overrides(&self, user: &[u8], database: &[u8]) -> Both<'_> {
        Both([find(&self.user_overrides, user), find(&self.database_overrides, database)])
    }

    /// The value of any parameter as the file writes it, or its default; `name` carries the node
    /// id of a per-node parameter (`backend_weight0`). Secrets are shown as asterisks. `None` for
    /// a name that is not in the table.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let Found::Row(row, node) = table::find(name) else { return None };
        Some(match self.values.stored(row.name, node) {
            Some(stored) if stored.is_secret() && !stored.text.is_empty() => HIDDEN,
            Some(stored) => &stored.text,
            None if row.name == "backend_port"
                && node.is_some_and(|id| self.has_default_port(id)) =>
            {
                DEFAULT_BACKEND_PORT_TEXT
            }
            // The one default that depends on another setting.
            None if row.name == "weir_server_lifetime" && self.server_lifetime.is_none() => "0",
            None => row.default,
        })
    }

    /// The text of a secret parameter such as `sr_check_password`; `None` when it is empty or
    /// not set, and for every other name. Not to be logged.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&str> {
        let Found::Row(row, node) = table::find(name) else { return None };
        self.values
            .stored(row.name, node)
            .filter(|stored| stored.is_secret() && !stored.text.is_empty())
            .map(|stored| stored.text.as_str())
    }

    /// Where a parameter is set; `None` when it has its default.
    #[must_use]
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        let Found::Row(row, node) = table::find(name) else { return None };
        self.values.stored(row.name, node).map(|stored| &stored.origin)
    }

    /// The parameters, with their node ids, whose values in `new` differ and take effect only at
    /// the next start.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<String> {
        let mut keys: Vec<_> = self.values.0.keys().chain(new.values.0.keys()).collect();
        keys.sort();
        keys.dedup();
        keys.into_iter()
            .filter(|(name, _)| {
                parameters().any(|row| row.name == *name && row.change == Change::Restart)
            })
            .map(|(name, node)| node.map_or((*name).to_owned(), |node| format!("{name}{node}")))
            .filter(|name| self.raw(name) != new.raw(name))
            .collect()
    }

    /// Everything that is set.
    pub(super) fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.values.0.values()
    }

    fn has_default_port(&self, id: u16) -> bool {
        self.backend(id).is_some_and(|node| node.port == DEFAULT_BACKEND_PORT)
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.secret(name).or_else(|| self.value(name))
    }

    /// Everything but the backends.
    pub(super) fn from_values(values: Values) -> Self {
        let v = &values;
        let num_init_children = v.int("num_init_children", None);
        let max_pool = v.int("max_pool", None);
        let or = |n: u32, replacement: u32| if n == 0 { replacement } else { n };
        let pool_mode = match v.word("weir_pool_mode") {
            "transaction" => PoolMode::Transaction,
            _ => PoolMode::Session,
        };
        let clustering_mode = match v.word("backend_clustering_mode") {
            "raw" => ClusteringMode::Raw,
            _ => ClusteringMode::StreamingReplication,
        };
        let child_life_time = v.limit("child_life_time", None);
        let connection_life_time = v.limit("connection_life_time", None);
        Self {
            listen_addresses: v
                .list("listen_addresses")
                .into_iter()
                .map(
                    |name| {
                        if name == "*" { ListenAddress::Any } else { ListenAddress::Name(name) }
                    },
                )
                .collect(),
            port: v.port("port", None),
            unix_socket_directories: v.list("unix_socket_directories"),
            unix_socket_permissions: v.mode("unix_socket_permissions"),
            unix_socket_group: v.some_text("unix_socket_group", None),
            listen_backlog_multiplier: v.int("listen_backlog_multiplier", None),
            reserved_connections: v.int("reserved_connections", None),
            clustering_mode,
            backends: Vec::new(),
            enable_pool_hba: v.bool("enable_pool_hba"),
            pool_passwd: v.some_text("pool_passwd", None),
            authentication_timeout: v.limit("authentication_timeout", None),
            allow_clear_text_frontend_auth: v.bool("allow_clear_text_frontend_auth"),
            auth_user: v.some_text("weir_auth_user", None),
            sr_check_user: v.some_text("sr_check_user", None),
            auth_dbname: v.text("weir_auth_dbname", None),
            auth_query: v.text("weir_auth_query", None),
            auth_query_timeout: v.limit("weir_auth_query_timeout", None),
            auth_cache_time: v.duration("weir_auth_cache_time", None),
            auth_failure_delay: v.duration("weir_auth_failure_delay", None),
            ssl: v.bool("ssl"),
            ssl_key: v.some_text("ssl_key", None),
            ssl_cert: v.some_text("ssl_cert", None),
            ssl_ca_cert: v.some_text("ssl_ca_cert", None),
            ssl_ca_cert_dir: v.some_text("ssl_ca_cert_dir", None),
            ssl_crl_file: v.some_text("ssl_crl_file", None),
            ssl_ciphers: v.text("ssl_ciphers", None),
            ssl_prefer_server_ciphers: v.bool("ssl_prefer_server_ciphers"),
            ssl_ecdh_curve: v.text("ssl_ecdh_curve", None),
            ssl_passphrase_command: v.some_text("ssl_passphrase_command", None),
            server_tls_mode: match v.word("weir_server_tls_mode") {
                "disable" => ServerTlsMode::Disable,
                "prefer" => ServerTlsMode::Prefer,
                "require" => ServerTlsMode::Require,
                "verify-ca" => ServerTlsMode::VerifyCa,
                "verify-full" => ServerTlsMode::VerifyFull,
                _ => ServerTlsMode::Auto,
            },
            server_tls_direct: v.word("weir_server_tls_negotiation") == "direct",
            server_tls_ca_file: v.some_text("weir_server_tls_ca_file", None),
            server_tls_cert: v.some_text("weir_server_tls_cert", None),
            server_tls_key: v.some_text("weir_server_tls_key", None),
            pid_file_name: v.some_text("pid_file_name", None),
            connection_cache: v.bool("connection_cache"),
            num_init_children,
            max_pool,
            child_life_time,
            child_max_connections: Some(v.int("child_max_connections", None)).filter(|n| *n != 0),
            connection_life_time,
            client_idle_limit: v.limit("client_idle_limit", None),
            reset_query_list: v.list("reset_query_list"),
            pool_mode,
            pool_size: or(v.int("weir_pool_size", None), num_init_children),
            max_server_connections: or(
                v.int("weir_max_server_connections", None),
                num_init_children.saturating_mul(max_pool),
            ),
            min_pool_size: v.int("weir_min_pool_size", None),
            reload_on_change: v.bool("weir_reload_on_change"),
            reload_check_interval: v.duration("weir_reload_check_interval", None),
            workers: Some(v.port("weir_workers", None)).filter(|n| *n != 0),
            query_wait_timeout: v.limit("weir_query_wait_timeout", None),
            query_wait_notify: v.limit("weir_query_wait_notify", None),
            max_queue: Some(v.int("weir_max_queue", None)).filter(|n| *n != 0),
            query_timeout: v.limit("weir_query_timeout", None),
            transaction_timeout: v.limit("weir_transaction_timeout", None),
            idle_transaction_timeout: v.limit("weir_idle_transaction_timeout", None),
            reserve_pool_size: v.int("weir_reserve_pool_size", None),
            reserve_pool_timeout: v.duration("weir_reserve_pool_timeout", None),
            max_user_connections: v.int("weir_max_user_connections", None),
            max_database_connections: v.int("weir_max_database_connections", None),
            max_user_clients: v.int("weir_max_user_clients", None),
            max_database_clients: v.int("weir_max_database_clients", None),
            max_pool_clients: v.int("weir_max_pool_clients", None),
            max_concurrent_logins: Some(v.int("weir_max_concurrent_logins", None))
                .filter(|n| *n != 0),
            database_overrides: overrides(&v.list("weir_database_overrides")),
            user_overrides: overrides(&v.list("weir_user_overrides")),
            server_idle_timeout: if v.is_set("weir_server_idle_timeout")
                || !(v.is_set("connection_life_time") || v.is_set("child_life_time"))
            {
                v.limit("weir_server_idle_timeout", None)
            } else {
                let of_child = child_life_time.filter(|_| v.is_set("child_life_time"));
                connection_life_time.into_iter().chain(of_child).min()
            },
            server_lifetime: if pool_mode == PoolMode::Session && !v.is_set("weir_server_lifetime")
            {
                None
            } else {
                v.limit("weir_server_lifetime", None)
            },
            server_login_timeout: v.limit("weir_server_login_timeout", None),
            server_retry_initial: v.duration("weir_server_retry_initial", None),
            server_retry_max: v.duration("weir_server_retry_max", None),
            shutdown_timeout: v.limit("weir_shutdown_timeout", None),
            drain_listen_time: v.limit("weir_drain_listen_time", None),
            drain_client_rate: Some(v.int("weir_drain_client_rate", None)).filter(|n| *n != 0),
            reuse_port: v.bool("weir_reuse_port"),
            cancel_timeout: v.limit("weir_cancel_timeout", None),
            pipeline_limit: v.int("weir_pipeline_limit", None),
            prepared_statement_bytes: v.size("weir_prepared_statement_bytes"),
            max_prepared_statements: v.int("weir_max_prepared_statements", None),
            prepared_statement_memory: v.size("weir_prepared_statement_memory"),
            max_waiting_clients: v.int("weir_max_waiting_clients", None),
            load_balance_mode: v.bool("load_balance_mode")
                && clustering_mode != ClusteringMode::Raw,
            statement_level_load_balance: v.bool("statement_level_load_balance"),
            transaction_reads: match v.word("weir_transaction_reads") {
                "primary" => TransactionReads::Primary,
                _ => TransactionReads::Standby,
            },
            disable_load_balance_on_write: match v.word("disable_load_balance_on_write") {
                "off" => DisableLoadBalanceOnWrite::Off,
                "trans_transaction" => DisableLoadBalanceOnWrite::TransTransaction,
                "always" => DisableLoadBalanceOnWrite::Always,
                "dml_adaptive" => DisableLoadBalanceOnWrite::DmlAdaptive,
                _ => DisableLoadBalanceOnWrite::Transaction,
            },
            dml_adaptive_object_relationship_list: v.list("dml_adaptive_object_relationship_list"),
            write_function_list: v.list("write_function_list"),
            read_only_function_list: v.list("read_only_function_list"),
            primary_routing_query_pattern_list: v.list("primary_routing_query_pattern_list"),
            app_name_redirect_preference_list: v.list("app_name_redirect_preference_list"),
            database_redirect_preference_list: v.list("database_redirect_preference_list"),
            user_redirect_preference_list: v.list("user_redirect_preference_list"),
            allow_sql_comments: v.bool("allow_sql_comments"),
            ignore_leading_white_space: v.bool("ignore_leading_white_space"),
            check_unlogged_table: v.bool("check_unlogged_table"),
            relcache_on_standby: v.word("relcache_query_target") == "load_balance_node",
            relcache_size: v.int("relcache_size", None),
            relcache_expire: v.limit("relcache_expire", None),
            catalogue_max_names: v.int("weir_catalogue_max_names", None),
            catalogue_timeout: v.limit("weir_catalogue_timeout", None),
            learned_writers_max: v.int("weir_learned_writers_max", None),
            learned_writers_expire: v.limit("weir_learned_writers_expire", None),
            log_min_messages: match v.word("log_min_messages") {
                "debug5" => LogLevel::Debug5,
                "debug4" => LogLevel::Debug4,
                "debug3" => LogLevel::Debug3,
                "debug2" => LogLevel::Debug2,
                "debug1" => LogLevel::Debug1,
                "info" => LogLevel::Info,
                "notice" => LogLevel::Notice,
                "error" => LogLevel::Error,
                "log" => LogLevel::Log,
                "fatal" => LogLevel::Fatal,
                "panic" => LogLevel::Panic,
                _ => LogLevel::Warning,
            },
            log_connections: v.bool("log_connections"),
            log_disconnections: v.bool("log_disconnections"),
            log_statement: v.bool("log_statement"),
            log_per_node_statement: v.bool("log_per_node_statement"),
            log_line_prefix: v.text("log_line_prefix", None),
            generation: 0,
            removed: 0,
            values,
        }
    }
}

fn find<'a>(all: &'a [Override], name: &[u8]) -> Option<&'a Override> {
    all.iter().find(|entry| entry.name.as_bytes() == name)
}

fn overrides(items: &[String]) -> Vec<Override> {
    items.iter().filter_map(|item| Override::parse(item).ok()).collect()
}
