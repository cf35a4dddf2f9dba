//! Pgpool-II's parameters for what pgweir leaves to others: health checks, failover, recovery,
//! watchdog, replication by Pgpool-II itself; and names of versions up to 4.1.

use super::*;

const HEALTH: &str = "pgweir does not probe servers in the background; whoever runs them does";
const FAILOVER: &str = "pgweir never promotes or detaches a server; whoever runs them does";
const RECOVERY: &str = "pgweir does not recover servers";
const WATCHDOG: &str = "pgweir has no watchdog; several instances run side by side without one";
const REPLICATION: &str = "pgweir does not replicate by itself";
const FUTURE: &str = "not built";
const OLD: &str = "Pgpool-II gave this name up before 4.2 and ignores it";

const NEVER: &[&str] = &["0"];
const OFF: &[&str] = &["off"];

pub(super) static TABLE: &[Parameter] = rows! {
    "health_check_period" NodeOrAll, S, "0", Reload, ignored(HEALTH), "Pause between checks.";
    "health_check_timeout" NodeOrAll, S, "20", Reload, ignored(HEALTH), "Longest check.";
    "health_check_user" NodeOrAll, TEXT, "", Reload, ignored(HEALTH), "User.";
    "health_check_password" NodeOrAll, SECRET, "", Reload, ignored(HEALTH), "Password.";
    "health_check_database" NodeOrAll, TEXT, "postgres", Reload, ignored(HEALTH), "Database.";
    "health_check_max_retries" NodeOrAll, int(0, INT_MAX), "0", Reload, ignored(HEALTH),
    "Attempts before a node counts as down.";
    "health_check_retry_delay" NodeOrAll, S, "1", Reload, ignored(HEALTH), "Pause between them.";
    "health_check_test" Global, BOOL, "off", Reload, ignored(HEALTH), "Simulated failures.";

    "failover_command" Global, TEXT, "", Reload, ignored(FAILOVER), "Command on failover.";
    "failback_command" Global, TEXT, "", Reload, ignored(FAILOVER), "Command on failback.";
    "follow_primary_command" Global, TEXT, "", Reload, ignored(FAILOVER),
    "Command that lets standbys follow a new primary.";
    "follow_master_command" Global, TEXT, "", Reload,
    Verdict::Renamed("follow_primary_command"), "The name up to 4.1.";
    "failover_on_backend_error" Global, BOOL, "on", Reload, unless(OFF, FAILOVER),
    "Detach a server when a connection to it breaks.";
    "fail_over_on_backend_error" Global, BOOL, "on", Reload,
    Verdict::Renamed("failover_on_backend_error"), "An old name.";
    "failover_on_backend_shutdown" Global, BOOL, "off", Reload, ignored(FAILOVER),
    "Detach a server when it shuts down.";
    "search_primary_node_timeout" Global, S, "300", Reload, ignored(FAILOVER),
    "How long a new primary is looked for.";
    "detach_false_primary" Global, BOOL, "off", Reload, ignored(FAILOVER),
    "Detach a second primary.";
    "auto_failback" Global, BOOL, "off", Reload, ignored(FAILOVER), "Attach by itself.";
    "auto_failback_interval" Global, S, "60", Reload, ignored(FAILOVER), "Pause between attempts.";
    "failover_when_quorum_exists" Global, BOOL, "on", Restart, ignored(FAILOVER), "Quorum.";
    "failover_require_consensus" Global, BOOL, "on", Restart, ignored(FAILOVER), "Consensus.";
    "allow_multiple_failover_requests_from_node" Global, BOOL, "off", Restart, ignored(FAILOVER),
    "Votes.";
    "enable_consensus_with_half_votes" Global, BOOL, "off", Restart, ignored(FAILOVER), "Votes.";

    "recovery_user" Global, TEXT, "", Reload, ignored(RECOVERY), "User.";
    "recovery_password" Global, SECRET, "", Reload, ignored(RECOVERY), "Password.";
    "recovery_database" Global, TEXT, "postgres", Reload, ignored(RECOVERY), "Database.";
    "recovery_1st_stage_command" Global, TEXT, "", Reload, ignored(RECOVERY), "First command.";
    "recovery_2nd_stage_command" Global, TEXT, "", Reload, ignored(RECOVERY), "Second command.";
    "recovery_timeout" Global, S, "90", Reload, ignored(RECOVERY), "Longest recovery.";
    "client_idle_limit_in_recovery" Global,
    Kind::Duration { unit: TimeUnit::Seconds, min: -1, max: INT_MAX }, "0", Reload,
    ignored(RECOVERY), "Idle clients are disconnected after this; -1: at once.";

    "use_watchdog" Global, BOOL, "off", Restart, warned(&[], WATCHDOG), "Watchdog.";
    "hostname" Node, TEXT, "", Restart, ignored(WATCHDOG), "Host of an instance.";
    "wd_port" NodeOrAll, PORT, "9000", Restart, ignored(WATCHDOG), "Watchdog port.";
    "pgpool_port" Node, PORT, "9999", Restart, ignored(WATCHDOG), "Port of an instance.";
    "heartbeat_hostname" Node, TEXT, "", Restart, ignored(WATCHDOG), "Heartbeat host.";
    "heartbeat_port" Node, PORT, "9694", Restart, ignored(WATCHDOG), "Heartbeat port.";
    "heartbeat_device" Node, TEXT, "", Restart, ignored(WATCHDOG), "Heartbeat device.";
    "wd_ipc_socket_dir" Global, TEXT, "/tmp", Restart,
    unless(&["/tmp", "/var/run/pgpool"], WATCHDOG), "Directory of the watchdog's socket.";
    "wd_priority" Global, int(-INT_MAX, INT_MAX), "1", Restart, ignored(WATCHDOG), "Priority.";
    "wd_authkey" Global, SECRET, "", Restart, ignored(WATCHDOG), "Shared key.";
    "wd_interval" Global, S, "10", Restart, ignored(WATCHDOG), "Pause between checks.";
    "wd_life_point" Global, int(0, INT_MAX), "3", Restart, ignored(WATCHDOG), "Attempts.";
    "wd_heartbeat_keepalive" Global, S, "2", Restart, ignored(WATCHDOG), "Heartbeat pause.";
    "wd_heartbeat_deadtime" Global, S, "30", Restart, ignored(WATCHDOG), "Heartbeat limit.";
    "wd_lifecheck_method" Global, words(&["query", "heartbeat", "external"]), "heartbeat",
    Restart, ignored(WATCHDOG), "How instances check each other.";
    "wd_lifecheck_query" Global, TEXT, "SELECT 1", Restart, ignored(WATCHDOG), "Statement.";
    "wd_lifecheck_dbname" Global, TEXT, "template1", Restart, ignored(WATCHDOG), "Database.";
    "wd_lifecheck_user" Global, TEXT, "", Restart, ignored(WATCHDOG), "User.";
    "wd_lifecheck_password" Global, SECRET, "", Restart, ignored(WATCHDOG), "Password.";
    "wd_monitoring_interfaces_list" Global, COMMAS, "", Restart, ignored(WATCHDOG),
    "Network interfaces.";
    "wd_escalation_command" Global, TEXT, "", Restart, ignored(WATCHDOG), "Command.";
    "wd_de_escalation_command" Global, TEXT, "", Restart, ignored(WATCHDOG), "Command.";
    "wd_remove_shutdown_nodes" Global, BOOL, "off", Restart, ignored(WATCHDOG), "Membership.";
    "wd_lost_node_removal_timeout" Global, S, "0", Restart, ignored(WATCHDOG), "Membership.";
    "wd_no_show_node_removal_timeout" Global, S, "0", Restart, ignored(WATCHDOG), "Membership.";
    "wd_initial_node_showup_time" Global, S, "0", Restart, unless(NEVER, WATCHDOG),
    "Membership (4.3).";
    "trusted_servers" Global, COMMAS, "", Restart, ignored(WATCHDOG), "Hosts to ping.";
    "trusted_server_command" Global, TEXT, "ping -q -c3 %h", Restart, ignored(WATCHDOG),
    "Command that pings.";
    "delegate_ip" Global, TEXT, "", Restart, warned(&[], WATCHDOG), "Virtual address.";
    "if_cmd_path" Global, TEXT, "/sbin", Restart, ignored(WATCHDOG), "Directory.";
    "if_up_cmd" Global, TEXT, "", Restart, ignored(WATCHDOG), "Command.";
    "if_down_cmd" Global, TEXT, "", Restart, ignored(WATCHDOG), "Command.";
    "arping_path" Global, TEXT, "/usr/sbin", Restart, ignored(WATCHDOG), "Directory.";
    "arping_cmd" Global, TEXT, "", Restart, ignored(WATCHDOG), "Command.";
    "ping_path" Global, TEXT, "/bin", Restart, ignored(WATCHDOG), "Directory.";
    "wd_listen_address" Global, TEXT, "", Restart, ignored(WATCHDOG), "Address.";
    "wd_listen_port" Global, int(0, 65_535), "0", Restart, ignored(WATCHDOG), "Port.";
    "wd_heartbeat_listen_addresses" Global, COMMAS, "", Restart, ignored(WATCHDOG), "Addresses.";
    "wd_heartbeat_listen_port" Global, int(0, 65_535), "0", Restart, ignored(WATCHDOG), "Port.";
    "clear_memqcache_on_escalation" Global, BOOL, "on", Restart, ignored(WATCHDOG),
    "Empty the query cache.";

    "replication_mode" Global, BOOL, "off", Restart, refused(OFF, REPLICATION),
    "Replication of statements.";
    "replicate_select" Global, BOOL, "off", Reload, ignored(REPLICATION), "Replicate reads.";
    "insert_lock" Global, BOOL, "on", Reload, ignored(REPLICATION), "Lock tables on INSERT.";
    "lobj_lock_table" Global, TEXT, "", Reload, ignored(REPLICATION), "Large object lock.";
    "replication_stop_on_mismatch" Global, BOOL, "off", Reload, ignored(REPLICATION),
    "Detach servers that differ.";
    "failover_if_affected_tuples_mismatch" Global, BOOL, "off", Reload, ignored(REPLICATION),
    "Detach servers that differ.";

    "replication_delay_source_cmd" Global, TEXT, "", Reload, ignored(FUTURE),
    "Program that reports delays (4.8).";
    "replication_delay_source_timeout" Global, S, "10", Reload, ignored(FUTURE),
    "How long it may take (4.8).";
    "track_table_mutation_ttl_factor" Global, Kind::Float { min: 0.0, max: 1e8 }, "5.0", Reload,
    ignored(FUTURE), "For dml_adaptive_global (4.8).";
    "track_table_mutation_max_staleness" Global, MS, "60000", Reload, ignored(FUTURE),
    "For dml_adaptive_global (4.8).";
    "track_table_mutation_cold_start_duration" Global, MS, "2000", Reload, ignored(FUTURE),
    "For dml_adaptive_global (4.8).";
    "track_table_mutation_table_buckets" Global, int(0, INT_MAX), "1024", Restart,
    ignored(FUTURE), "For dml_adaptive_global (4.8).";
    "track_table_mutation_table_size" Global, int(0, INT_MAX), "2048", Restart, ignored(FUTURE),
    "For dml_adaptive_global (4.8).";

    "white_function_list" Global, COMMAS, "", Reload,
    Verdict::Renamed("read_only_function_list"), "The name up to 4.1.";
    "black_function_list" Global, COMMAS, "", Reload,
    Verdict::Renamed("write_function_list"), "The name up to 4.1.";
    "black_query_pattern_list" Global, SEMICOLONS, "", Reload,
    Verdict::Renamed("primary_routing_query_pattern_list"), "The name up to 4.1.";
    "white_memqcache_table_list" Global, COMMAS, "", Reload,
    Verdict::Renamed("cache_safe_memqcache_table_list"), "The name up to 4.1.";
    "black_memqcache_table_list" Global, COMMAS, "", Reload,
    Verdict::Renamed("cache_unsafe_memqcache_table_list"), "The name up to 4.1.";
    "master_slave_mode" Global, BOOL, "on", Restart,
    warned(&[], "backend_clustering_mode says what this said up to 4.1"),
    "Streaming replication, up to 4.1.";
    "master_slave_sub_mode" Global, words(&["stream", "slony", "logical"]), "stream", Restart,
    refused(&["stream"], "pgweir routes to streaming standbys only"),
    "Kind of replication, up to 4.1.";
    "other_pgpool_hostname" Node, TEXT, "", Restart, ignored(OLD), "Watchdog host.";
    "other_pgpool_port" Node, PORT, "9999", Restart, ignored(OLD), "Watchdog peer.";
    "other_wd_port" Node, PORT, "9000", Restart, ignored(OLD), "Watchdog peer.";
    "wd_hostname" Global, TEXT, "", Restart, ignored(OLD), "Watchdog host.";
    "wd_heartbeat_port" Global, PORT, "9694", Restart, ignored(OLD), "Heartbeat port.";
    "heartbeat_destination" Node, TEXT, "", Restart, ignored(OLD), "Heartbeat host.";
    "heartbeat_destination_port" Node, PORT, "9694", Restart, ignored(OLD), "Heartbeat port.";
};
