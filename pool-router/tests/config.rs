//! `pgpool.conf` from text to settings.

use std::time::Duration;

use pool_router::config::{
    Backend, BackendFlags, BackendHost, ClusteringMode, DisableLoadBalanceOnWrite, Given, Level,
    ListenAddress, Loaded, LogLevel, Origin, PoolMode, Settings, Sources, load, load_sources,
};
use proptest::prelude::*;

/// What a configuration needs at least, so that nothing is said about it. One line, so that the
/// text behind it begins on line 2.
const NODE: &str = "backend_hostname0 = db backend_port0 = 5432 backend_weight0 = 1\n";

fn no_files(path: &str) -> Result<String, String> {
    Err(format!("no {path}"))
}

fn with_node(text: &str) -> Result<Loaded, Vec<String>> {
    exactly(&format!("{NODE}{text}"))
}

fn exactly(text: &str) -> Result<Loaded, Vec<String>> {
    load("pgpool.conf", text, &mut no_files)
        .map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn settings(text: &str) -> Settings {
    with_node(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}")).settings
}

#[track_caller]
fn notices(text: &str) -> Vec<String> {
    let loaded = with_node(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    loaded.notices.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn errors(text: &str) -> Vec<String> {
    match with_node(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => errors,
    }
}

const fn secs(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n))
}

#[test]
fn defaults() {
    let s = settings("");
    assert_eq!(notices(""), [""; 0]);
    assert_eq!(s.listen_addresses, [ListenAddress::Name("localhost".into())]);
    assert_eq!(s.port, 9999);
    assert_eq!(s.unix_socket_directories, ["/tmp"]);
    assert_eq!(s.unix_socket_permissions, 0o777);
    assert_eq!(s.unix_socket_group, None);
    assert_eq!(s.listen_backlog_multiplier, 2);
    assert_eq!(s.reserved_connections, 0);
    assert_eq!(s.clustering_mode, ClusteringMode::StreamingReplication);
    assert!(!s.enable_pool_hba);
    assert_eq!(s.pool_passwd.as_deref(), Some("pool_passwd"));
    assert_eq!(s.authentication_timeout, secs(60));
    assert!(!s.allow_clear_text_frontend_auth);
    assert!(!s.ssl);
    assert_eq!(s.pid_file_name.as_deref(), Some("/var/run/pgpool/pgpool.pid"));
    assert!(s.connection_cache);
    assert_eq!((s.num_init_children, s.max_pool), (32, 4));
    assert_eq!(s.child_life_time, secs(300));
    assert_eq!(s.child_max_connections, None);
    assert_eq!(s.connection_life_time, None);
    assert_eq!(s.client_idle_limit, None);
    assert_eq!(s.reset_query_list, ["ABORT", "DISCARD ALL"]);
    assert_eq!(s.pool_mode, PoolMode::Session);
    assert_eq!(s.pool_size, 32);
    assert_eq!(s.max_server_connections, 128);
    assert_eq!(s.min_pool_size, 0);
    assert_eq!(s.workers, None);
    assert_eq!(s.query_wait_timeout, secs(120));
    assert_eq!(s.server_idle_timeout, secs(600));
    assert_eq!(s.server_lifetime, None);
    assert_eq!(s.server_login_timeout, secs(15));
    assert_eq!(s.server_retry_initial, Duration::from_millis(200));
    assert_eq!(s.server_retry_max, Duration::from_secs(5));
    assert_eq!(s.shutdown_timeout, None);
    assert_eq!(s.cancel_timeout, secs(10));
    assert_eq!(s.pipeline_limit, 65_536);
    assert_eq!(s.prepared_statement_bytes, 1 << 20);
    assert_eq!(s.max_waiting_clients, 10_000);
    assert!(s.load_balance_mode);
    assert!(!s.statement_level_load_balance);
    assert_eq!(s.disable_load_balance_on_write, DisableLoadBalanceOnWrite::Transaction);
    assert_eq!(s.log_min_messages, LogLevel::Warning);
    assert!(!s.log_connections && !s.log_disconnections);
    assert!(!s.log_statement && !s.log_per_node_statement);
    assert_eq!(s.log_line_prefix, "%m: %a pid %p: ");
    assert_eq!(
        s.backends,
        [Backend {
            id: 0,
            host: BackendHost::Tcp("db".into()),
            port: 5432,
            weight: 1.0,
            flag: BackendFlags::default(),
            application_name: None,
            connect_timeout: secs(10),
        }]
    );
    let made = Settings::with_backends(s.backends.clone());
    assert_eq!(made.needs_restart(&s), ["backend_hostname0"; 0]);
    assert_eq!(format!("{:?}", made.log_line_prefix), format!("{:?}", s.log_line_prefix));
}

#[test]
fn the_two_server_deployment_of_a_cluster() {
    let text = "
listen_addresses = '*'
port = 9999
socket_dir = '/var/run/pgpool'
pcp_listen_addresses = '*'
pcp_port = 9898
pcp_socket_dir = '/var/run/pgpool'
backend_hostname0 = 'mypostgres'
backend_port0 = '5432'
backend_weight0 = '1'
backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'
backend_hostname1 = 'mypostgres-replica'
backend_port1 = '5432'
backend_weight1 = '1'
backend_flag1 = 'DISALLOW_TO_FAILOVER'
sr_check_period = 0
health_check_period = 0
backend_clustering_mode = streaming_replication
num_init_children = 32
max_pool = 4
child_life_time = 300
child_max_connections = 0
connection_life_time = 0
client_idle_limit = 0
connection_cache = on
load_balance_mode = on
ssl = on
enable_pool_hba = on
failover_on_backend_error = off
log_min_messages = warning
";
    let Loaded { settings, notices } = exactly(text).unwrap();
    assert_eq!(settings.listen_addresses, [ListenAddress::Any]);
    assert_eq!(settings.unix_socket_directories, ["/var/run/pgpool"]);
    assert_eq!(settings.backends.len(), 2);
    assert_eq!(settings.primary().map(|node| node.id), Some(0));
    assert!(settings.backends.iter().all(|node| node.flag.disallow_to_failover));
    assert!(settings.enable_pool_hba && settings.ssl);
    let said: Vec<_> = notices
        .iter()
        .map(|n| (n.level, n.origin.as_ref().and_then(|o| o.line_number()).unwrap_or(0)))
        .collect();
    assert_eq!(
        said,
        [(Level::Warning, 4), (Level::Notice, 5)],
        "socket_dir is old, the PCP port has no effect: {notices:?}"
    );
}

#[test]
fn names_are_found_in_any_letter_case_and_the_last_line_holds() {
    assert_eq!(settings("CLIENT_IDLE_LIMIT = 5").client_idle_limit, secs(5));
    assert_eq!(settings("port = 5 Port = 6\nPORT = '7'").port, 7);
    let s = settings("port = 7");
    assert_eq!(s.value("PORT"), Some("7"));
    assert_eq!(s.origin("port").map(ToString::to_string).as_deref(), Some("pgpool.conf:2"));
    assert_eq!(s.value("max_pool"), Some("4"));
    assert_eq!(s.origin("max_pool"), None);
    assert_eq!(s.value("no_such"), None);
}

#[test]
fn times_are_read_as_they_are_meant() {
    for (text, limit) in [
        ("33", secs(33)),
        ("'33'", secs(33)),
        ("2min", secs(120)),
        ("'2 min'", secs(120)),
        ("2 min", secs(120)),
        ("1.5h", secs(5400)),
        ("'1.5h'", secs(5400)),
        ("1500ms", Some(Duration::from_millis(1500))),
        ("100ms", Some(Duration::from_millis(100))),
        ("0x10", secs(16)),
        ("010", secs(8)),
        ("0", None),
        ("0s", None),
    ] {
        let text = format!("client_idle_limit = {text} port = 1234");
        let s = settings(&text);
        assert_eq!(s.client_idle_limit, limit, "{text}");
        assert_eq!(s.port, 1234, "{text}");
    }
}

#[test]
fn faulty_values_say_what_was_found_and_what_is_accepted() {
    for (line, found, accepted) in [
        ("ssl = maybe", "`maybe`", "on, off"),
        ("ssl = 2", "`2`", "on, off"),
        ("ssl = ''", "``", "on, off"),
        ("ssl = o", "`o`", "on, off"),
        ("client_idle_limit = 2MIN", "`2MIN`", "us, ms, s, min, h, d"),
        ("client_idle_limit = 2 MIN", "`2 MIN`", "us, ms, s, min, h, d"),
        ("client_idle_limit = -1", "`-1`", "0 to 2147483647"),
        ("client_idle_limit = abc", "`abc`", "0 to 2147483647"),
        ("memqcache_total_size = 64mb", "`64mb`", "B, kB, MB, GB, TB"),
        ("max_pool = '4s'", "`4s`", "a whole number from 1"),
        ("max_pool = 0", "`0`", "a whole number from 1"),
        ("port = 65536", "`65536`", "1 to 65535"),
        ("log_min_messages = nope", "`nope`", "debug5, debug4"),
        ("backend_flag0 = always_primary", "`always_primary`", "ALWAYS_PRIMARY and one of"),
        ("backend_weight0 = -1", "`-1`", "a number from 0"),
        ("backend_weight0 = nan", "`nan`", "a number from 0"),
        ("unix_socket_permissions = 777", "`777`", "0000 to 0777"),
        ("unix_socket_permissions = 01000", "`01000`", "0000 to 0777"),
        ("weir_server_retry_initial = 0", "`0`", "1 to 2147483647 in ms"),
    ] {
        let errors = errors(line);
        let name = line.split(' ').next().unwrap();
        let start = format!("pgpool.conf:2: invalid value for `{name}`: {found}; accepted: ");
        assert!(errors[0].starts_with(&start), "{line}: {errors:?}");
        assert!(errors[0].contains(accepted), "{line}: {errors:?}");
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
    }
}

#[test]
fn minus_one_is_a_code_where_pgpool_has_it() {
    assert_eq!(notices("client_idle_limit_in_recovery = -1").len(), 1);
    assert_eq!(errors("client_idle_limit_in_recovery = -2").len(), 1);
}

#[test]
fn unknown_names_are_errors_with_a_suggestion_where_there_is_one() {
    assert_eq!(
        errors("num_init_childern = 5"),
        ["pgpool.conf:2: unknown parameter `num_init_childern`; did you mean `num_init_children`?"]
    );
    assert!(errors("shared_buffers = 5")[0].contains("unknown parameter `shared_buffers`; acc"));
    assert!(errors("backend_hostname = x")[0].contains("accepted: backend_hostname0 to"));
    assert!(errors("backend_hostnameX = x")[0].contains("accepted: backend_hostname0 to"));
    assert!(errors("backend_hostname128 = x")[0].contains("backend_hostname127"));
}

#[test]
fn all_errors_are_collected_in_the_order_of_the_lines() {
    let found = errors("port = x\n= 5\nssl = maybe max_pool = -1\nfoo = 1\nreplication_mode = on");
    let lines: Vec<_> = found.iter().map(|e| e.split(": ").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "pgpool.conf:2",
            "pgpool.conf:3",
            "pgpool.conf:4",
            "pgpool.conf:4",
            "pgpool.conf:5",
            "pgpool.conf:6"
        ]
    );
}

#[test]
fn what_would_mean_other_data_is_refused() {
    assert!(errors("replication_mode = on")[0].contains("is refused"));
    assert_eq!(notices("replication_mode = off"), [""; 0]);
    for mode in ["native_replication", "logical_replication", "slony", "snapshot_isolation"] {
        let errors = errors(&format!("backend_clustering_mode = '{mode}'"));
        assert!(errors[0].ends_with("accepted: streaming_replication, raw"), "{errors:?}");
    }
    let raw = settings("backend_clustering_mode = RAW");
    assert_eq!(raw.clustering_mode, ClusteringMode::Raw);
    assert!(!raw.load_balance_mode);
    assert!(errors("master_slave_sub_mode = slony")[0].contains("is refused"));
}

#[test]
fn what_has_no_effect_is_said_once() {
    assert_eq!(notices("health_check_period = 0\nsr_check_period = 0"), [""; 0]);
    assert_eq!(notices("failover_on_backend_error = off"), [""; 0]);
    assert_eq!(notices("failover_on_backend_error = on").len(), 1);
    let said = notices("wd_priority = 2\nhealth_check_period1 = 5\nlogging_collector = on");
    assert_eq!(
        said,
        ["pgpool.conf:2: no effect here (--check says why): `health_check_period1`, \
          `logging_collector`, `wd_priority`"]
    );
    // What will be missed is said loudly, and why.
    let said = notices("wd_priority = 2\nuse_watchdog = on");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].starts_with("pgpool.conf:3: no effect: `use_watchdog`: pgweir has no"));
}

fn given(name: &str, value: &str, origin: Origin) -> Given {
    Given { name: name.to_owned(), value: value.to_owned().into(), origin }
}

fn variable(name: &str, value: &str) -> Given {
    given(name, value, Origin::variable(&format!("PGPOOL_PARAMS_{}", name.to_uppercase())))
}

fn sources(file: Option<&str>, defaults: &[Given], given: &[Given]) -> Result<Loaded, String> {
    let file = file.map(|text| ("pgpool.conf", text));
    let sources = Sources { defaults, file, place: "nowhere", given, backends_needed: true };
    load_sources(&sources, &mut no_files).map_err(|errors| errors.to_string())
}

#[test]
fn later_sources_overrule_earlier_ones() {
    let file = "backend_hostname0 = a\nbackend_weight0 = 1\nport = 1001\nmax_pool = 2\n\
                socket_dir = '/old'\nbackend_flag0 = 'ALWAYS_PRIMARY'\n";
    let all = [
        variable("port", "1002"),
        variable("max_pool", "2"),
        variable("num_init_children", "5"),
        variable("socket_dir", "/new"),
        variable("BACKEND_FLAG0", "DISALLOW_TO_FAILOVER"),
        given("port", "1003", Origin::Flag),
    ];
    let defaults = [given("max_pool", "9", Origin::Image), given("ssl", "off", Origin::Image)];
    let Loaded { settings, notices } = sources(Some(file), &defaults, &all).unwrap();
    assert_eq!((settings.port, settings.max_pool, settings.num_init_children), (1003, 2, 5));
    assert_eq!(settings.unix_socket_directories, ["/new"]);
    let flag = settings.backends[0].flag;
    assert!(flag.disallow_to_failover && !flag.always_primary, "not joined with the file's");
    let origin = |name: &str| settings.origin(name).map(ToString::to_string).unwrap_or_default();
    for (name, wanted) in [
        ("port", "flag --set"),
        ("max_pool", "environment PGPOOL_PARAMS_MAX_POOL"),
        ("backend_hostname0", "pgpool.conf:1"),
        ("unix_socket_directories", "environment PGPOOL_PARAMS_SOCKET_DIR"),
        ("ssl", "default without pgpool.conf"),
        ("backend_port0", ""),
    ] {
        assert_eq!(origin(name), wanted, "{name}");
    }
    assert_eq!(settings.value("backend_port0"), Some("5432"));
    let said: Vec<_> = notices.iter().map(ToString::to_string).collect();
    let overruled: Vec<_> =
        said.iter().filter(|text| text.contains("beside pgpool.conf")).collect();
    assert_eq!(
        overruled,
        ["environment variables count beside pgpool.conf, unlike in Pgpool-II's image: \
          PGPOOL_PARAMS_PORT (pgpool.conf:3), PGPOOL_PARAMS_SOCKET_DIR (pgpool.conf:5), \
          PGPOOL_PARAMS_BACKEND_FLAG0 (pgpool.conf:6) overrule what the file says; \
          PGPOOL_PARAMS_NUM_INIT_CHILDREN add to it"]
    );
}

#[test]
fn sockets_that_nobody_asked_for_may_be_missing() {
    for (text, directory, wanted) in [
        ("", "/tmp", true),
        ("unix_socket_directories = '/var/run/pgpool'", "/var/run/pgpool", true),
        ("unix_socket_directories = '/tmp'", "/tmp", false),
        ("listen_addresses = ''", "/tmp", false),
        ("listen_addresses = ''\nsocket_dir = '/var/run/pgpool'", "/var/run/pgpool", false),
    ] {
        assert_eq!(settings(text).can_do_without_socket(directory), wanted, "{text}");
    }
}

#[test]
fn without_a_file_the_others_are_enough() {
    let host = variable("backend_hostname0", "db");
    let loaded = sources(None, &[], core::slice::from_ref(&host)).unwrap();
    assert_eq!(loaded.settings.backends[0].port, 5432);
    assert!(loaded.notices.iter().all(|notice| !notice.text.contains("beside")));
    assert_eq!(
        sources(None, &[], &[]).unwrap_err(),
        "nowhere: no backend is configured; accepted: at least backend_hostname0 in the file, or \
         PGPOOL_PARAMS_BACKEND_HOSTNAME0 in the environment"
    );
    let faulty = [
        host,
        variable("num_init_childrn", "5"),
        variable("ssl", ""),
        variable("client_idle_limit", "2MIN"),
        given("prot", "5", Origin::Flag),
    ];
    assert_eq!(
        sources(None, &[], &faulty).unwrap_err().lines().collect::<Vec<_>>(),
        [
            "environment PGPOOL_PARAMS_NUM_INIT_CHILDRN: unknown parameter `num_init_childrn`; did \
             you mean `num_init_children`?",
            "environment PGPOOL_PARAMS_SSL: invalid value for `ssl`: ``; accepted: on, off, true, \
             false, yes, no, 1, 0",
            "environment PGPOOL_PARAMS_CLIENT_IDLE_LIMIT: invalid value for `client_idle_limit`: \
             `2MIN`; accepted: 0 to 2147483647 in s, or a number with one of the units us, ms, s, \
             min, h, d",
            "flag --set: unknown parameter `prot`; did you mean `port`?",
        ]
    );
}

#[test]
fn old_names_are_taken_with_a_warning() {
    let s = settings("socket_dir = '/a'");
    assert_eq!(s.unix_socket_directories, ["/a"]);
    assert_eq!(s.value("unix_socket_directories"), Some("/a"));
    assert_eq!(notices("socket_dir = '/a'").len(), 1);
    for text in [
        "socket_dir = '/a'\nunix_socket_directories = '/b, /c'",
        "unix_socket_directories = '/b, /c'\nsocket_dir = '/a'",
    ] {
        assert_eq!(settings(text).unix_socket_directories, ["/b", "/c"], "{text}");
    }
    assert_eq!(settings("black_function_list = 'f,g'").value("write_function_list"), Some("f,g"));
}

#[test]
fn a_node_exists_by_its_host_or_its_port() {
    let nodes = |text: &str| {
        let loaded = exactly(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let nodes: Vec<_> = loaded
            .settings
            .backends
            .into_iter()
            .map(|b| (b.id, b.host, b.port, b.weight))
            .collect();
        (nodes, loaded.notices.len())
    };
    let tcp = |name: &str| BackendHost::Tcp(name.into());
    let dir = |name: &str| BackendHost::UnixDir(name.into());
    for (text, wanted, said) in [
        ("backend_hostname0=a backend_port0=1 backend_weight0=0.5", (0, tcp("a"), 1, 0.5), 0),
        ("backend_hostname0=a backend_weight0=1", (0, tcp("a"), 5432, 1.0), 1),
        ("backend_hostname0=a backend_port0=1", (0, tcp("a"), 1, 1.0), 1),
        ("backend_hostname7='/s' backend_port7=1 backend_weight7=2", (7, dir("/s"), 1, 2.0), 0),
        ("backend_port0=1 backend_weight0=2", (0, dir("/var/run/postgresql"), 1, 2.0), 1),
        ("backend_hostname0=::1 backend_port0=1 backend_weight0=1", (0, tcp("::1"), 1, 1.0), 0),
    ] {
        assert_eq!(nodes(text), (vec![wanted], said), "{text}");
    }
    let unused =
        exactly(&format!("{NODE}backend_weight1 = 1\nbackend_hostname2 = c\nbackend_port2 = 0"))
            .unwrap();
    assert_eq!(unused.settings.backends.len(), 1);
    assert_eq!(unused.notices.len(), 2);
    let gaps = exactly(&format!("{NODE}backend_hostname5=e backend_port5=5 backend_weight5=1"));
    let ids: Vec<_> = gaps.unwrap().settings.backends.iter().map(|node| node.id).collect();
    assert_eq!(ids, [0, 5]);
}

#[test]
fn without_a_backend_there_is_nothing_to_do() {
    let none = exactly("port = 5").unwrap_err();
    assert!(none[0].starts_with("pgpool.conf: no backend is configured"), "{none:?}");
    let faulty = exactly("backend_port0 = x").unwrap_err();
    assert_eq!(faulty.len(), 1, "the faulty line is the news: {faulty:?}");
}

#[test]
fn the_primary_is_the_flagged_node_or_the_lowest() {
    let two = "backend_hostname3=c backend_port3=3 backend_weight3=1\n\
               backend_hostname1=a backend_port1=1 backend_weight1=1\n";
    let primary = |text: &str| exactly(text).map(|l| l.settings.primary().map(|node| node.id));
    assert_eq!(primary(two), Ok(Some(1)));
    assert_eq!(primary(&format!("{two}backend_flag3 = ALWAYS_PRIMARY")), Ok(Some(3)));
    assert_eq!(primary(&format!("{two}backend_flag3 = ALWAYS_MASTER")), Ok(Some(3)));
    let both = format!("{two}backend_flag3 = ALWAYS_PRIMARY backend_flag1 = ALWAYS_PRIMARY");
    let errors = primary(&both).unwrap_err();
    assert!(errors[0].contains("backend_flag1 and backend_flag3 both"), "{errors:?}");
}

#[test]
fn flags_of_repeated_lines_add_up() {
    let flag = |text: &str| settings(text).backends[0].flag;
    let flags = |always_primary, disallow_to_failover| BackendFlags {
        always_primary,
        disallow_to_failover,
    };
    for (text, wanted) in [
        ("backend_flag0=ALWAYS_PRIMARY\nbackend_flag0='DISALLOW_TO_FAILOVER'", flags(true, true)),
        ("backend_flag0=ALWAYS_PRIMARY\nbackend_flag0=''", flags(true, false)),
        (
            "backend_flag0=DISALLOW_TO_FAILOVER\nbackend_flag0=ALLOW_TO_FAILOVER",
            flags(false, false),
        ),
        ("backend_flag0='ALWAYS_PRIMARY | DISALLOW_TO_FAILOVER'", flags(true, true)),
    ] {
        assert_eq!(flag(text), wanted, "{text}");
    }
}

#[test]
fn a_node_may_differ_from_the_default_of_all() {
    let text = "backend_hostname1=b backend_port1=1 backend_weight1=1\n\
                connect_timeout1 = 0\nconnect_timeout = 3s\n";
    let timeouts: Vec<_> = settings(text).backends.iter().map(|b| b.connect_timeout).collect();
    assert_eq!(timeouts, [secs(3), None]);
}

#[test]
fn zero_pool_sizes_are_derived() {
    let s = settings("num_init_children = 10 max_pool = 3 weir_pool_mode = transaction");
    assert_eq!((s.pool_size, s.max_server_connections), (10, 30));
    assert_eq!(s.server_lifetime, secs(3600));
    let s = settings(
        "weir_pool_size = 5 weir_max_server_connections = 7 weir_server_lifetime = 1min weir_workers = 2",
    );
    assert_eq!((s.pool_size, s.max_server_connections), (5, 7));
    assert_eq!(s.server_lifetime, secs(60));
    assert_eq!(s.workers, Some(2));
}

#[test]
fn connection_life_time_is_the_idle_timeout_where_it_is_set_alone() {
    assert_eq!(settings("connection_life_time = 5").server_idle_timeout, secs(5));
    assert_eq!(settings("connection_life_time = 0").server_idle_timeout, None);
    let both = "connection_life_time = 5 weir_server_idle_timeout = 7";
    assert_eq!(settings(both).server_idle_timeout, secs(7));
}

#[test]
fn settings_that_contradict_each_other_are_errors() {
    for (text, part) in [
        ("reserved_connections = 32", "less than num_init_children, which is 32"),
        ("weir_min_pool_size = 33", "at most weir_pool_size, which is 32"),
        ("weir_server_retry_initial = 6s", "at most weir_server_retry_max, which is 5000"),
        ("listen_addresses = '' unix_socket_directories = ''", "nothing to listen on"),
    ] {
        let errors = errors(text);
        assert!(errors.len() == 1 && errors[0].contains(part), "{text}: {errors:?}");
    }
    assert_eq!(settings("listen_addresses = ''").listen_addresses, []);
}

#[test]
fn nobody_to_read_from_is_pointed_out() {
    let said = notices("backend_weight0 = 0");
    assert!(said.len() == 1 && said[0].contains("all reads go to the primary"), "{said:?}");
    assert_eq!(notices("backend_weight0 = 0 load_balance_mode = off"), [""; 0]);
}

#[test]
fn lists_and_enums() {
    let s = settings(
        "listen_addresses = 'localhost, 10.0.0.1' reset_query_list = 'ABORT; RESET ALL ;'\n\
         disable_load_balance_on_write = 'Trans_Transaction' log_min_messages = DEBUG\n\
         pool_passwd = '' unix_socket_group = pg",
    );
    assert_eq!(s.listen_addresses.len(), 2);
    assert_eq!(s.reset_query_list, ["ABORT", "RESET ALL"]);
    assert_eq!(s.disable_load_balance_on_write, DisableLoadBalanceOnWrite::TransTransaction);
    assert_eq!(s.log_min_messages, LogLevel::Debug2);
    assert_eq!(s.pool_passwd, None);
    assert_eq!(s.unix_socket_group.as_deref(), Some("pg"));
}

#[test]
fn included_files_are_read_where_they_stand() {
    let mut asked = Vec::new();
    let mut read = |path: &str| {
        asked.push(path.to_owned());
        match path {
            "etc/more.conf" => Ok("port = 2 include '/abs.conf'\nmax_pool = 9".to_owned()),
            "/abs.conf" => Ok("num_init_children = 5".to_owned()),
            other => Err(format!("no {other}")),
        }
    };
    let text = format!("{NODE}port = 1\nINCLUDE = more.conf\nmax_pool = 8\n");
    let loaded = load("etc/pgpool.conf", &text, &mut read).unwrap();
    let s = loaded.settings;
    assert_eq!((s.port, s.max_pool, s.num_init_children), (2, 8, 5));
    assert_eq!(s.origin("port").map(ToString::to_string).as_deref(), Some("etc/more.conf:1"));
    assert_eq!(asked, ["etc/more.conf", "/abs.conf"]);
}

#[test]
fn faults_of_included_files_name_them() {
    let text = format!("{NODE}include = bad.conf\ninclude = gone.conf");
    let mut read = |path: &str| match path {
        "bad.conf" => Ok("\nport = x".to_owned()),
        other => Err(format!("{other} does not exist")),
    };
    let errors = load("pgpool.conf", &text, &mut read).unwrap_err().to_string();
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines[0], "pgpool.conf:3: cannot include `gone.conf`: gone.conf does not exist");
    assert!(lines[1].starts_with("bad.conf:2: invalid value for `port`"), "{errors}");
}

#[test]
fn files_that_include_themselves_end() {
    let mut reads = 0;
    let mut read = |_: &str| {
        reads += 1;
        Ok("include = loop".to_owned())
    };
    let errors = load("pgpool.conf", &format!("{NODE}include = loop"), &mut read).unwrap_err();
    assert!(errors.to_string().contains("10 levels"), "{errors}");
    assert_eq!(reads, 10);

    let mut reads = 0;
    let mut read = |_: &str| {
        reads += 1;
        Ok("include = loop include = loop".to_owned())
    };
    assert!(load("pgpool.conf", &format!("{NODE}include = loop"), &mut read).is_err());
    assert_eq!(reads, 100);
}

#[test]
fn secrets_are_never_shown() {
    let s = settings("sr_check_password = 'hunter2' health_check_password1 = hunter2");
    assert_eq!(s.secret("sr_check_password"), Some("hunter2"));
    assert_eq!(s.secret("health_check_password1"), Some("hunter2"));
    assert_eq!(s.secret("health_check_password"), None);
    assert_eq!(s.secret("port"), None);
    assert_eq!(s.value("sr_check_password"), Some("********"));
    assert!(!format!("{s:?}").contains("hunter2"));
    for text in [
        "sr_check_password = my hunter2 x",
        "sr_check_password = my hunter2",
        "sr_check_password = my @hunter2",
        "sr_check_password = my 'hunter2'",
        "sr_check_password = my hunter2 'x",
        "sr_check_password = 'hunter2",
        "sr_check_password = my backend_porthunter2 x",
    ] {
        let errors = errors(text);
        assert!(!errors.concat().contains("hunter2"), "{errors:?}");
    }
}

#[test]
fn a_reload_knows_what_has_to_wait_for_a_restart() {
    let old = settings("port = 1 log_connections = off num_init_children = 32");
    let new = settings("port = 2 log_connections = on weir_pool_mode = transaction");
    assert_eq!(old.needs_restart(&new), ["port", "weir_pool_mode"]);
    assert_eq!(old.needs_restart(&old), ["port"; 0]);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Err(errors) = load("f", &text, &mut no_files) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn any_value_of_any_parameter_never_panics(
        name in proptest::sample::select(
            pool_router::config::table::parameters().map(|row| row.name).collect::<Vec<_>>()),
        node in prop_oneof![Just(String::new()), Just("0".to_owned()), Just("200".to_owned())],
        value in "[-+0-9a-zA-Z.|;, ]{0,24}",
    ) {
        let _ = load("f", &format!("{NODE}{name}{node} = '{value}'"), &mut no_files);
        let _ = load("f", &format!("{NODE}{name}{node} {value}"), &mut no_files);
    }
}
