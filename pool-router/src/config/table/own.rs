//! The parameters that only pgweir has.

use super::*;

pub(super) static TABLE: &[Parameter] = rows! {
    "weir_pool_mode" Global, words(&["session", "transaction"]), "session", Restart, Verdict::Honoured,
    "When a server connection goes back to the pool: at the end of the client's session, or of \
     each transaction.";
    "weir_pool_size" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Server connections, in use or idle, per node and (user, database). 0: as many as \
     num_init_children.";
    "weir_max_server_connections" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Server connections per node in all, beside one or two that look up catalogues at times. 0: \
     num_init_children times max_pool, Pgpool-II's bound.";
    "weir_min_pool_size" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Server connections per node and (user, database) that are kept open once they were needed.";
    "weir_reload_on_change" Global, BOOL, "on", Reload, Verdict::Honoured,
    "Read the configuration again when one of its files has changed, as Kubernetes changes those of \
     a ConfigMap. off: only at SIGHUP.";
    "weir_reload_check_interval" Global, Kind::Duration { unit: TimeUnit::Seconds, min: 1, max: INT_MAX },
    "5", Reload, Verdict::Honoured,
    "How often the files are looked at for that. A change counts when it is the same at the next look, \
     so that no half-written file is read.";
    "weir_workers" Global, int(0, 1024), "0", Restart, Verdict::Honoured,
    "Threads that serve clients. 0: one for every two processors, at least one.";
    "weir_query_wait_timeout" Global, S, "120", Reload, Verdict::Honoured,
    "How long a client may wait for a server connection before it gets an error. 0: for ever.";
    "weir_query_wait_notify" Global, S, "5", Reload, Verdict::Honoured,
    "A client that has waited so long for a server connection is told by a NOTICE. 0: it is not.";
    "weir_max_queue" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Clients that may wait for server connections per node and (user, database); the next one is \
     refused at once (53300). 0: any number.";
    "weir_query_timeout" Global, S, "0", Reload, Verdict::Honoured,
    "A client whose statement or batch takes longer is disconnected, and the statement cancelled. 0: \
     it may take any time.";
    "weir_transaction_timeout" Global, S, "0", Reload, Verdict::Honoured,
    "A client whose transaction takes longer is disconnected. 0: it may take any time.";
    "weir_idle_transaction_timeout" Global, S, "0", Reload, Verdict::Honoured,
    "A client that is idle in a transaction for longer is disconnected. 0: never.";
    "weir_reserve_pool_size" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Server connections per node and (user, database) beyond weir_pool_size, for clients that have \
     waited for weir_reserve_pool_timeout.";
    "weir_reserve_pool_timeout" Global, S, "5", Reload, Verdict::Honoured,
    "How long a client waits before the reserve is used. 0: at once.";
    "weir_max_user_connections" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Server connections per node and user. 0: no bound of its own.";
    "weir_max_database_connections" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Server connections per node and database. 0: no bound of its own.";
    "weir_max_user_clients" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Clients of one user; the next one is refused (53300). 0: no bound of its own.";
    "weir_max_database_clients" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Clients of one database; the next one is refused (53300). 0: no bound of its own.";
    "weir_max_pool_clients" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Clients of one user in one database; the next one is refused (53300). 0: no bound of its own.";
    "weir_max_concurrent_logins" Global, int(0, 1_000_000), "0", Reload, Verdict::Honoured,
    "Server connections of a node that may be on their way at a time. 0: any number. After a failure \
     it is one, and twice as many after each success.";
    "weir_database_overrides" Global, SEMICOLONS, "", Reload, Verdict::Honoured,
    "What differs for single databases: `name: pool_size=10 max_clients=100; ...`. Words: pool_size, \
     min_pool_size, reserve_pool_size, max_connections, max_clients, max_pool_clients, \
     client_idle_limit, query_wait_timeout, query_timeout, transaction_timeout, \
     idle_transaction_timeout.";
    "weir_user_overrides" Global, SEMICOLONS, "", Reload, Verdict::Honoured,
    "The same for single users; what is said of a user beats what is said of the database.";
    "weir_server_idle_timeout" Global, S, "600", Reload, Verdict::Honoured,
    "A server connection unused for so long is closed. 0: never. Where only \
     connection_life_time or child_life_time is set, the shorter of them holds.";
    "weir_server_lifetime" Global, S, "3600", Reload, Verdict::Honoured,
    "A server connection older than this is closed when it next becomes idle; each up to a tenth \
     sooner, so that not all end at once. One in steady use has a successor before. 0: never. Where \
     it is not set and weir_pool_mode is session: never.";
    "weir_server_login_timeout" Global, S, "15", Reload, Verdict::Honoured,
    "How long connecting and logging in to a server may take; connecting alone, also to single nodes: \
     connect_timeout. 0: for ever.";
    "weir_server_retry_initial" Global, retry(), "200", Reload, Verdict::Honoured,
    "The pause after a failed connection to a server; it doubles with each failure.";
    "weir_server_retry_max" Global, retry(), "5000", Reload, Verdict::Honoured,
    "The longest pause between two attempts to connect to a server.";
    "weir_shutdown_timeout" Global, S, "0", Reload, Verdict::Honoured,
    "After SIGTERM, how long sessions may go on before they are ended. 0: as long as they like.";
    "weir_drain_listen_time" Global, S, "0", Reload, Verdict::Honoured,
    "After SIGTERM, how long new clients are still served, while readiness is denied: time for load \
     balancers to notice. 0: they are refused at once.";
    "weir_drain_client_rate" Global, int(0, 1_000_000), "1000", Reload, Verdict::Honoured,
    "After SIGTERM, how many clients per second are told to leave, so that they do not all come to \
     another proxy at once; more where half of weir_shutdown_timeout would not do. 0: all at once.";
    "weir_reuse_port" Global, BOOL, "off", Restart, Verdict::Honoured,
    "Let another process of the same user listen on the same port (SO_REUSEPORT), so that a new one \
     can serve while the old one drains.";
    "weir_cancel_timeout" Global, S, "10", Reload, Verdict::Honoured,
    "How long delivering a cancel request to a server may take. 0: for ever.";
    "weir_pipeline_limit" Global, int(16, 16_777_216), "65536", Reload, Verdict::Honoured,
    "Messages of one client that may be unanswered; beyond it the client is not read from.";
    "weir_prepared_statement_bytes" Global, size(SizeUnit::Bytes, 1024), "1MB", Reload,
    Verdict::Honoured,
    "Memory for one client's prepared statements: their texts and names.";
    "weir_max_prepared_statements" Global, int(0, 1_000_000), "200", Reload, Verdict::Honoured,
    "In transaction mode, prepared statements of clients that one server keeps, beside those of the \
     transaction under way; the one that was not used for the longest time is closed for a new one. \
     0: a client that names a statement keeps its server.";
    "weir_prepared_statement_memory" Global, size(SizeUnit::Bytes, 0), "256MB", Reload,
    Verdict::Honoured,
    "In transaction mode, memory of each worker for the texts of all its clients' prepared \
     statements, each text once. Beyond it a client that names a statement keeps its server.";
    "weir_transaction_reads" Global, words(&["standby", "primary"]), "standby", Reload,
    Verdict::Honoured,
    "Where an explicit transaction that is neither READ ONLY nor REPEATABLE READ or stricter reads \
     before it writes. standby, as in Pgpool-II: where reads go, and on the primary from its first \
     write to its end. primary, the safe choice: all of it on the primary.";
    "weir_max_waiting_clients" Global, int(0, 1_000_000), "10000", Reload, Verdict::Honoured,
    "Clients beyond num_init_children that wait for a slot; the next one is refused.";
    "weir_auth_user" Global, TEXT, "", Reload, Verdict::Honoured,
    "The role that asks a server for the passwords (SCRAM verifiers) of roles that pool_passwd does \
     not have; it must be allowed to run weir_auth_query. \
     Empty: sr_check_user; if that is empty, too, servers are not asked.";
    "weir_auth_password" Global, SECRET, "", Reload, Verdict::Honoured,
    "Password of weir_auth_user, in the forms of pool_passwd. Empty: the one in pool_passwd.";
    "weir_auth_dbname" Global, TEXT, "postgres", Reload, Verdict::Honoured,
    "The database in which weir_auth_query runs.";
    "weir_auth_query" Global, TEXT,
    // Qualified throughout, so that no `search_path` can put something else in its place.
    "SELECT usename, CASE WHEN valuntil OPERATOR(pg_catalog.<) pg_catalog.now() THEN NULL ELSE \
     passwd END FROM pg_catalog.pg_shadow WHERE usename OPERATOR(pg_catalog.=) $1",
    Reload, Verdict::Honoured,
    "Finds a role's password: its parameter $1 is the name, its answer at most one row of name and \
     password as pg_authid has it, NULL where the role may not log in. Names in it should be \
     qualified.";
    "weir_auth_query_timeout" Global, S, "5", Reload, Verdict::Honoured,
    "How long weir_auth_query may take, after connecting. 0: for ever.";
    "weir_auth_cache_time" Global, S, "0", Reload, Verdict::Honoured,
    "How long a password that was found is good for further logins. Within it a changed password \
     fails once, and a dropped role gets in. 0: each login asks; logins of one moment ask together.";
    "weir_auth_failure_delay" Global, MS, "1000", Reload, Verdict::Honoured,
    "How long a client waits for the answer that its login has failed; with each further failure \
     of its address twice as long, up to eight times. It holds no place of num_init_children \
     meanwhile. 0: not at all.";
    "weir_catalogue_max_names" Global, int(100, 10_000_000), "50000", Restart, Verdict::Honoured,
    "Names of one database's catalogue that are kept: its functions, and relations, types and \
     operators that a standby cannot stand in for. If there are more, statements that name \
     relations or functions of users go to the primary. relcache_size counts if it is more.";
    "weir_catalogue_timeout" Global, S, "10", Restart, Verdict::Honoured,
    "How long looking up a catalogue may take, after connecting. 0: for ever.";
    "weir_learned_writers_max" Global, int(0, 1_000_000), "1000", Restart, Verdict::Honoured,
    "Functions and statements of one database that are remembered because a standby has refused \
     them as writing.";
    "weir_learned_writers_expire" Global, S, "3600", Restart, Verdict::Honoured,
    "How long each of them is remembered. 0: for ever.";
    "weir_server_tls_mode" Global, words(&["auto", "disable", "prefer", "require", "verify-ca",
    "verify-full"]), "auto", Reload, Verdict::Honoured,
    "TLS to servers, in the words of libpq's sslmode: prefer takes it where the server has it, the \
     next ones insist on it, verify-ca also on a certificate of a known authority, verify-full also \
     on the name in backend_hostname. auto is what Pgpool-II does: prefer with ssl on, and then no \
     certificate that ssl_ca_cert does not vouch for where that is set; else disable. Unix sockets \
     have no TLS.";
    "weir_server_tls_negotiation" Global, words(&["postgres", "direct"]), "postgres", Reload,
    Verdict::Honoured,
    "How TLS to servers begins: by asking, or at once with ALPN, which PostgreSQL 17 and later \
     understand.";
    "weir_server_tls_ca_file" Global, TEXT, "", Reload, Verdict::Honoured,
    "The authorities for servers, PEM, relative to the directory of pgpool.conf. Empty: ssl_ca_cert \
     and ssl_ca_cert_dir.";
    "weir_server_tls_cert" Global, TEXT, "", Reload, Verdict::Honoured,
    "The certificate to show to servers that ask for one, PEM. Empty: ssl_cert, where its authority \
     is among those that the server names.";
    "weir_server_tls_key" Global, TEXT, "", Reload, Verdict::Honoured,
    "The key of weir_server_tls_cert, PEM. Empty: it is in that file.";
};

/// A pause of zero would be a busy loop.
const fn retry() -> Kind {
    Kind::Duration { unit: TimeUnit::Milliseconds, min: 1, max: INT_MAX }
}
