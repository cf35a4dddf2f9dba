//! Pgpool-II's parameters for what pgweir does too: listening, backends, authentication, pooling,
//! load balancing and logging.

use super::*;

const LEVELS: Kind = Kind::Enum {
    words: &[
        "debug5", "debug4", "debug3", "debug2", "debug1", "info", "log", "notice", "warning",
        "error", "fatal", "panic",
    ],
    aliases: &[("debug", "debug2")],
};

const PCP: &str = "the PCP port is not built yet";
const STATIC: &str = "pgweir serves all clients in one process";
const RELATIONSHIPS: &str = "from its first write on a transaction stays on the primary, and with it \
     reads of whatever depends on what it wrote";
const GLOBAL: &str = "which tables other sessions wrote lately, by triggers, functions and views \
     too, is not known here, nor how far a standby is behind; with `always` a session reads its own \
     writes";
const LAG: &str = "not built yet: replication delay is not measured";
const LOGS: &str = "pgweir logs to stderr";
const STATEMENT_LOGS: &str = "not built yet: these messages are not logged";
const CACHE: &str = "pgweir has no query result cache";

pub(super) static TABLE: &[Parameter] = rows! {
    "listen_addresses" Global, COMMAS, "localhost", Restart, Verdict::Honoured,
    "TCP addresses or host names to listen on; `*` is every address, empty is none.";
    "port" Global, PORT, "9999", Restart, Verdict::Honoured,
    "The port for clients, and the number in the name of the Unix socket.";
    "unix_socket_directories" Global, COMMAS, "/tmp", Restart, Verdict::Honoured,
    "Directories in which the socket `.s.PGSQL.<port>` is made; empty is none.";
    "socket_dir" Global, COMMAS, "/tmp", Restart, Verdict::Renamed("unix_socket_directories"),
    "The name of Pgpool-II up to 4.3.";
    "unix_socket_group" Global, TEXT, "", Restart,
    ignored("the sockets belong to the group of the process"),
    "The group that owns the Unix sockets; empty is the group of the process.";
    "unix_socket_permissions" Global, Kind::Mode, "0777", Restart, Verdict::Honoured,
    "The mode of the Unix sockets.";
    "listen_backlog_multiplier" Global, int(1, INT_MAX), "2", Restart,
    Verdict::Mapped("times num_init_children, with one listening process"),
    "The listen backlog is this times num_init_children.";
    "serialize_accept" Global, BOOL, "off", Restart, ignored(STATIC),
    "Serialises accept() between processes.";
    "reserved_connections" Global, int(0, INT_MAX), "0", Reload, Verdict::Honoured,
    "Of num_init_children, the slots that are not given away: with one set, clients are refused \
     instead of queued.";
    "pcp_listen_addresses" Global, COMMAS, "localhost", Restart, ignored(PCP),
    "Addresses of the PCP port.";
    "pcp_port" Global, PORT, "9898", Restart, ignored(PCP),
    "The PCP port.";
    "pcp_socket_dir" Global, COMMAS, "/tmp", Restart,
    unless(&["/tmp", "/var/run/pgpool"], PCP),
    "Directories of the PCP socket.";

    "backend_hostname" Node, TEXT, "", Reload, Verdict::Honoured,
    "Host name or address of a server, or the directory of its Unix socket.";
    "backend_port" Node, int(0, 65_535), "0", Reload, Verdict::Honoured,
    "Port of a server. A node exists when its host or its port is set; 5432 where only the host \
     is.";
    "backend_weight" Node, Kind::Float { min: 0.0, max: 1e8 }, "1", Reload, Verdict::Honoured,
    "Share of reads, relative to the other nodes; 0 is none. (Pgpool-II takes a missing line for \
     0.)";
    "backend_data_directory" Node, TEXT, "", Reload,
    Verdict::Ignored { reason: "pgweir does not recover servers", silent: &[], level: Level::Notice },
    "Data directory of a server, for online recovery.";
    "backend_flag" Node, Kind::BackendFlags, "", Reload, Verdict::Honoured,
    "ALWAYS_PRIMARY marks the primary. ALLOW_TO_FAILOVER and DISALLOW_TO_FAILOVER are accepted.";
    "backend_application_name" Node, TEXT, "", Reload, Verdict::Honoured,
    "application_name of a standby's WAL receiver, which identifies it in pg_stat_replication.";
    "connect_timeout" NodeOrAll, MS, "10000", Reload, Verdict::Honoured,
    "How long a TCP connection to a server may take. 0: as long as the system lets it.";

    "enable_pool_hba" Global, BOOL, "off", Reload, Verdict::Honoured,
    "Authenticate clients by pool_hba.conf.";
    "pool_passwd" Global, TEXT, "pool_passwd", Reload, Verdict::Honoured,
    "The file of user passwords, relative to the directory of pgpool.conf; empty is none.";
    "authentication_timeout" Global, S, "60", Reload, Verdict::Honoured,
    "How long a client may take from connecting to the end of authentication. 0: for ever.";
    "allow_clear_text_frontend_auth" Global, BOOL, "off", Reload, Verdict::Honoured,
    "Ask a client for its password in clear text when pool_passwd has no entry for the user and \
     pool_hba.conf is not used.";
    "pid_file_name" Global, TEXT, "/var/run/pgpool/pgpool.pid", Restart,
    ignored("pgweir stays in the foreground and writes no pid file"),
    "The file for the process id, relative to the directory of pgpool.conf; empty is none.";

    "ssl" Global, BOOL, "off", Reload, Verdict::Honoured,
    "TLS: for clients that ask for it, and to servers as weir_server_tls_mode says. Without ssl_key \
     and ssl_cert a key and a self-signed certificate are made at the start.";
    "ssl_key" Global, TEXT, "", Reload, Verdict::Honoured,
    "The private key, PEM, relative to the directory of pgpool.conf. Whether it may be encrypted: \
     see ssl_passphrase_command.";
    "ssl_cert" Global, TEXT, "", Reload, Verdict::Honoured,
    "The certificate with the chain behind it, PEM.";
    "ssl_ca_cert" Global, TEXT, "", Reload, Verdict::Honoured,
    "Authorities, PEM. Where set, clients are asked for a certificate, and one that they show must \
     be signed by one of these. For servers see weir_server_tls_mode.";
    "ssl_ca_cert_dir" Global, TEXT, "", Reload, Verdict::Honoured,
    "A directory of further such files; all files in it are read, whatever their names.";
    "ssl_crl_file" Global, TEXT, "", Reload, Verdict::Honoured,
    "Certificate revocation lists, PEM, one for each authority: client certificates that are on one \
     are refused, and so are those of an authority that has none.";
    "ssl_ciphers" Global, TEXT, "HIGH:MEDIUM:+3DES:!aNULL", Reload, Verdict::Honoured,
    "Cipher suites of TLS 1.2, in OpenSSL's words. There are only those with ECDHE and AES-GCM or \
     ChaCha20-Poly1305; others that the list names are passed over.";
    "ssl_prefer_server_ciphers" Global, BOOL, "off", Reload, Verdict::Honoured,
    "Choose the cipher suite by the order here rather than by the client's.";
    "ssl_ecdh_curve" Global, TEXT, "prime256v1", Reload, Verdict::Honoured,
    "Curves of the key exchange: X25519, prime256v1, secp384r1, separated by colons. The default \
     stands for all of them.";
    "ssl_dh_params_file" Global, TEXT, "", Reload,
    ignored("keys are exchanged by elliptic curves only, which need no such parameters"),
    "Key exchange parameters.";
    "ssl_passphrase_command" Global, TEXT, "", Reload, Verdict::Honoured,
    "A shell command that prints the passphrase of ssl_key, if that is an encrypted PKCS #8 key; %p \
     in it stands for a prompt. It runs whenever the key is loaded.";

    "connection_cache" Global, BOOL, "on", Reload, Verdict::Honoured,
    "Keep server connections for the next client.";
    "num_init_children" Global, int(1, 1_000_000), "32", Reload, Verdict::Honoured,
    "Clients that are served at a time.";
    "max_pool" Global, int(1, 1_000_000), "4", Reload,
    Verdict::Mapped("times num_init_children it bounds the server connections per node"),
    "Times num_init_children: the bound of server connections per node, unless \
     weir_max_server_connections is set.";
    "child_life_time" Global, S, "300", Reload,
    Verdict::Mapped("where it is set, taken for weir_server_idle_timeout where that is not"),
    "In Pgpool-II an idle process ends after this, which closes its server connections. Here, where it \
     is set, a server connection unused for so long is closed. 0: never.";
    "child_max_connections" Global, int(0, INT_MAX), "0", Reload,
    Verdict::Mapped("a server connection ends after so many clients, in session mode"),
    "In Pgpool-II a process ends after so many clients. Here a server connection does, in session mode; \
     in transaction mode, where clients take turns at every statement, weir_server_lifetime bounds \
     it. 0: never.";
    "connection_life_time" Global, S, "0", Reload,
    Verdict::Mapped("taken for weir_server_idle_timeout where that is not set; the shorter of it and child_life_time"),
    "A server connection unused for so long is closed. 0: never.";
    "client_idle_limit" Global, S, "0", Reload, Verdict::Honoured,
    "A client idle for so long, in a transaction or not, is disconnected. 0: never.";
    "reset_query_list" Global, SEMICOLONS, "ABORT;DISCARD ALL", Reload, Verdict::Honoured,
    "Statements that clean a server connection after a session.";
    "process_management_mode" Global, words(&["static", "dynamic"]), "static", Reload,
    ignored(STATIC), "Whether processes are started on demand.";
    "process_management_strategy" Global, words(&["aggressive", "gentle", "lazy"]), "gentle",
    Reload, ignored(STATIC), "How eagerly idle processes are ended.";
    "min_spare_children" Global, int(0, INT_MAX), "5", Reload, ignored(STATIC),
    "Idle processes kept at least.";
    "max_spare_children" Global, int(0, INT_MAX), "10", Reload, ignored(STATIC),
    "Idle processes kept at most.";

    "backend_clustering_mode" Global,
    words(&["streaming_replication", "raw", "native_replication", "logical_replication", "slony",
        "snapshot_isolation"]),
    "streaming_replication", Restart,
    refused(&["streaming_replication", "raw"],
        "pgweir routes to a primary and its streaming standbys and does not replicate by itself"),
    "What keeps the servers alike. raw: every statement goes to the primary.";
    "load_balance_mode" Global, BOOL, "on", Restart, Verdict::Honoured,
    "Spread reads over the nodes by weight; off: every statement goes to the primary.";
    "ignore_leading_white_space" Global, BOOL, "on", Reload, Verdict::Honoured,
    "Look behind white space in front of a statement; off: a statement that begins with it goes to \
     the primary.";
    "read_only_function_list" Global, COMMAS, "", Reload, Verdict::Honoured,
    "Patterns of functions that do not write; all others do. A comma in a pattern is written `\\,`.";
    "write_function_list" Global, COMMAS, "", Reload, Verdict::Honoured,
    "Patterns of functions that write; all others do not, except those of PostgreSQL that do. \
     With neither list the catalogue and what is known of PostgreSQL's functions decide.";
    "primary_routing_query_pattern_list" Global, SEMICOLONS, "", Reload, Verdict::Honoured,
    "Patterns of statements that go to the primary; a `;` in one is written `\\;`.";
    "user_redirect_preference_list" Global, COMMAS, "", Reload, Verdict::Honoured,
    "Nodes preferred for users: `pattern:node(ratio)`, where node is primary, standby or a node id \
     and ratio the probability, 0.0 to 1.0.";
    "database_redirect_preference_list" Global, COMMAS, "", Reload, Verdict::Honoured,
    "Nodes preferred for databases; beats the list of users.";
    "app_name_redirect_preference_list" Global, COMMAS, "", Reload, Verdict::Honoured,
    "Nodes preferred for the application_name that a client starts with; beats both other lists.";
    "allow_sql_comments" Global, BOOL, "off", Reload, Verdict::Honoured,
    "Look behind a comment in front of a statement; off: a statement that begins with one goes to \
     the primary. `/*NO LOAD BALANCE*/` asks for the primary with either.";
    "disable_load_balance_on_write" Global,
    words(&["off", "transaction", "trans_transaction", "always", "dml_adaptive",
        "dml_adaptive_global"]),
    "transaction", Reload,
    refused(&["off", "transaction", "trans_transaction", "always", "dml_adaptive"], GLOBAL),
    "How long reads go to the primary after a write of the same session: to the end of its \
     transaction at least; trans_transaction: and in each later explicit transaction; always: to \
     the end of the session. off and dml_adaptive are as transaction.";
    "dml_adaptive_object_relationship_list" Global, COMMAS, "", Reload, ignored(RELATIONSHIPS),
    "Objects that imply each other, `cause:dependent`, for dml_adaptive.";
    "statement_level_load_balance" Global, BOOL, "off", Reload, Verdict::Honoured,
    "Choose the node for each read rather than for each session.";
    "check_temp_table" Global,
    Kind::Enum { words: &["catalog", "trace", "none"],
        aliases: &[("on", "catalog"), ("off", "none")] },
    "catalog", Reload,
    ignored("a session that has made temporary objects stays on the primary"),
    "How reads of temporary tables are recognised.";
    "check_unlogged_table" Global, BOOL, "on", Restart, Verdict::Honoured,
    "Read unlogged tables on the primary. off: where reads go; what a standby refuses for that \
     reason is then asked of the primary.";
    "relcache_query_target" Global,
    Kind::Enum { words: &["primary", "load_balance_node"], aliases: &[("master", "primary")] },
    "primary", Restart,
    Verdict::Honoured,
    "Where the catalogue is asked. load_balance_node: a standby, unless the catalogue was changed \
     through this proxy just before. The other one is asked where that one cannot be.";
    "relcache_size" Global, int(0, INT_MAX), "256", Restart,
    Verdict::Mapped("taken for weir_catalogue_max_names where it is more"),
    "Names of one database's catalogue that are kept.";
    "relcache_expire" Global, S, "0", Restart, Verdict::Honoured,
    "Age at which what is known of a catalogue is looked up anew. 0: only when it was changed \
     through this proxy.";
    "enable_shared_relcache" Global, BOOL, "on", Restart,
    ignored("all clients of a database share what is known of its catalogue"),
    "Share the catalogue cache.";

    "sr_check_period" Global, S, "10", Reload, unless(&["0", "10"], LAG),
    "How often the replication delay is measured. 0: never.";
    "sr_check_user" Global, TEXT, "", Reload,
    Verdict::Mapped("asks for passwords where weir_auth_user is empty; the delay is not measured"),
    "User for it.";
    "sr_check_password" Global, SECRET, "", Reload,
    Verdict::Mapped("used where sr_check_user asks for passwords; the delay is not measured"),
    "Password for it, in the forms of pool_passwd; empty: the one in pool_passwd.";
    "sr_check_database" Global, TEXT, "postgres", Reload, ignored(LAG), "Database for it.";
    "delay_threshold" Global, size(SizeUnit::Bytes, 0), "0", Reload, warned(&[], LAG),
    "Standbys that are further behind are not read from. 0: no limit.";
    "delay_threshold_by_time" Global, MS, "0", Reload, warned(&[], LAG),
    "The same, in time; wins over delay_threshold.";
    "prefer_lower_delay_standby" Global, BOOL, "off", Reload, ignored(LAG),
    "Beyond the threshold, take the least delayed standby rather than the primary.";
    "log_standby_delay" Global, words(&["always", "if_over_threshold", "none"]),
    "if_over_threshold", Reload, ignored(LAG), "When the delay is logged.";

    "log_destination" Global, COMMAS, "stderr", Reload, ignored(LOGS), "Where to log.";
    "syslog_facility" Global,
    words(&["LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7"]),
    "LOCAL0", Reload, ignored(LOGS), "Syslog facility.";
    "syslog_ident" Global, TEXT, "pgpool", Reload, ignored(LOGS), "Syslog program name.";
    "log_line_prefix" Global, TEXT, "%m: %a pid %p: ", Reload,
    ignored("log lines begin with time and level"),
    "What begins each line of the log: %a application, %p process id, %P kind of process, %t and \
     %m time, %d database, %u user, %l line number, %% a percent sign.";
    "log_connections" Global, BOOL, "off", Reload, Verdict::Honoured, "Log each login.";
    "log_disconnections" Global, BOOL, "off", Reload, Verdict::Honoured,
    "Log the end of each session.";
    "log_hostname" Global, BOOL, "off", Reload, ignored("clients are logged by their address"),
    "Log host names of clients.";
    "log_statement" Global, BOOL, "off", Reload, Verdict::Honoured, "Log each statement.";
    "log_per_node_statement" Global, BOOL, "off", Reload, Verdict::Honoured,
    "Log each statement with the node it goes to.";
    "notice_per_node_statement" Global, BOOL, "off", Reload, ignored(STATEMENT_LOGS),
    "Send the same line to the client.";
    "log_client_messages" Global, BOOL, "off", Reload, ignored(STATEMENT_LOGS),
    "Log each message of a client.";
    "log_backend_messages" Global, words(&["none", "terse", "verbose"]), "none", Reload,
    ignored(STATEMENT_LOGS), "Log each message of a server.";
    "log_pcp_processes" Global, BOOL, "off", Reload, ignored(PCP), "Log PCP connections.";
    "log_error_verbosity" Global, words(&["terse", "default", "verbose"]), "default", Reload,
    ignored("log lines have one form"), "How much a logged error says.";
    "client_min_messages" Global, LEVELS, "notice", Reload,
    ignored("messages of the server are passed on as the session's own setting asks"),
    "Least severity sent to clients.";
    "log_min_messages" Global, LEVELS, "warning", Reload, Verdict::Honoured,
    "Least severity that is logged.";
    "logging_collector" Global, BOOL, "off", Restart, ignored(LOGS), "Log to files.";
    "log_directory" Global, TEXT, "/tmp/pgpool_logs", Reload, ignored(LOGS), "Their directory.";
    "log_filename" Global, TEXT, "pgpool-%Y-%m-%d_%H%M%S.log", Reload, ignored(LOGS),
    "Their names.";
    "log_rotation_age" Global, MIN, "1440", Reload, ignored(LOGS), "Age at which one is closed.";
    "log_rotation_size" Global, size(SizeUnit::Kilobytes, 0), "10240", Reload, ignored(LOGS),
    "Size at which one is closed.";
    "log_file_mode" Global, Kind::Mode, "0600", Reload, ignored(LOGS), "Their mode.";
    "log_truncate_on_rotation" Global, BOOL, "off", Reload, ignored(LOGS),
    "Whether a reused one is emptied.";
    "work_dir" Global, TEXT, "/tmp", Restart, ignored("pgweir keeps no status file"),
    "Directory of the status file.";
    "logdir" Global, TEXT, "/tmp", Restart, Verdict::Renamed("work_dir"),
    "The name of Pgpool-II up to 4.6.";

    "memory_cache_enabled" Global, BOOL, "off", Restart, warned(&[], CACHE),
    "Cache query results.";
    "memqcache_method" Global, words(&["shmem", "memcached"]), "shmem", Restart, ignored(CACHE),
    "Where.";
    "memqcache_total_size" Global, size(SizeUnit::Bytes, 0), "64MB", Restart, ignored(CACHE),
    "Size of the cache.";
    "memqcache_max_num_cache" Global, int(0, INT_MAX), "1000000", Restart, ignored(CACHE),
    "Results in the cache.";
    "memqcache_expire" Global, S, "0", Restart, ignored(CACHE), "Age at which one is forgotten.";
    "memqcache_auto_cache_invalidation" Global, BOOL, "on", Reload, ignored(CACHE),
    "Forget results of tables that are written.";
    "memqcache_maxcache" Global, size(SizeUnit::Bytes, 0), "400kB", Restart, ignored(CACHE),
    "Largest result.";
    "memqcache_cache_block_size" Global, size(SizeUnit::Bytes, 512), "1MB", Restart,
    ignored(CACHE), "Size of a block.";
    "memqcache_memcached_host" Global, TEXT, "localhost", Restart, ignored(CACHE),
    "Host of memcached.";
    "memqcache_memcached_port" Global, PORT, "11211", Restart, ignored(CACHE),
    "Port of memcached.";
    "memqcache_oiddir" Global, TEXT, "/var/log/pgpool/oiddir", Restart, ignored(CACHE),
    "Directory of table ids.";
    "cache_safe_memqcache_table_list" Global, COMMAS, "", Reload, ignored(CACHE),
    "Tables that are cached.";
    "cache_unsafe_memqcache_table_list" Global, COMMAS, "", Reload, ignored(CACHE),
    "Tables that are not.";
};
