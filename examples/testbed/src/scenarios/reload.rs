//! Loading the configuration again.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;

use crate::cluster::wait_for;
use crate::{Cluster, Config, Node, Proxy, RawClient, Scenario, drivers};

const RELOADED: &str = "the configuration was reloaded";
const NOT_RELOADED: &str = "the configuration was not reloaded";

fn count(proxy: &Proxy, text: &str) -> usize {
    proxy.log().matches(text).count()
}

/// SIGHUP, and then until it has been dealt with.
fn hang_up(proxy: &Proxy, outcome: &str) {
    let before = count(proxy, outcome);
    proxy.signal("HUP");
    wait_for(outcome, || count(proxy, outcome) > before);
}

/// A database whose statements are logged by the servers, and where a client's read went.
struct Reads {
    database: String,
    number: Cell<u32>,
}

impl Reads {
    fn new(cluster: &Cluster) -> Self {
        let database = cluster.create_database_with("CREATE TABLE r (a int)");
        cluster.log_statements(&database);
        Self { database, number: Cell::new(0) }
    }

    fn on_standby(&self, client: &mut RawClient) -> bool {
        self.number.set(self.number.get() + 1);
        let sql = format!("SELECT a /* read {} */ FROM r", self.number.get());
        client.query(&sql).ok();
        let on = |node| Cluster::shared().statements(node, &self.database).contains(&sql);
        let [primary, standby] = Node::ALL.map(on);
        assert!(primary != standby, "{sql}: {primary} {standby}");
        standby
    }
}

/// Files are looked at so rarely that only signals count.
fn unwatched(config: Config) -> Config {
    config.line("weir_reload_on_change = off")
}

/// Weights, logging, time-outs and pool_hba.conf change for clients that are there and for new ones;
/// a transaction ends where it began; what needs a restart is named and stays.
pub fn signal_applies_settings(scenario: &Scenario) {
    const TRUST: &str = "host all all 127.0.0.1/32 trust\n";
    let cluster = Cluster::shared();
    let reads = Reads::new(cluster);
    let database = &reads.database;
    let config = || unwatched(scenario.config()).hba(TRUST);
    let proxy = scenario.start(cluster, &config().weights(1, 0));
    let mut old = proxy.connect(database);
    let mut busy = proxy.connect(database);
    assert!(!reads.on_standby(&mut old));
    busy.query("BEGIN").ok();
    busy.query("CREATE TABLE t (a int)").ok();

    let next = config()
        .weights(0, 1)
        .hba("host all all 127.0.0.1/32 reject\n")
        .line("log_statement = on")
        .line("unix_socket_permissions = 0700")
        .line("weir_workers = 3");
    proxy.write_config(cluster, &next);
    hang_up(&proxy, RELOADED);
    let log = proxy.log();
    let notice = log.lines().find(|line| line.contains("only after a restart"));
    let notice = notice.unwrap_or_else(|| panic!("no notice in\n{log}"));
    assert!(notice.contains("unix_socket_permissions, weir_workers"), "{notice}");

    assert!(reads.on_standby(&mut old), "weights count for a session that is there");
    assert!(proxy.log().contains("/* read 2 */"), "statements are logged");
    busy.query("INSERT INTO t VALUES (1)").ok();
    busy.query("COMMIT").ok();
    let refused = proxy.try_connect(database).err().map(|fault| fault.code);
    assert_eq!(refused.as_deref(), Some("28000"), "the new pool_hba.conf counts");

    proxy.write_config(cluster, &config().weights(1, 0).line("client_idle_limit = 1"));
    hang_up(&proxy, RELOADED);
    let mut new = proxy.connect(database);
    assert!(!reads.on_standby(&mut new));
    for client in [&mut old, &mut busy, &mut new] {
        let reason = client.closed().map(|fault| fault.code);
        assert_eq!(reason.as_deref(), Some("57P05"), "idle for too long");
    }
}

/// Files that are wrong or missing are named with the line, change nothing and disturb nobody.
pub fn bad_files_change_nothing(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let good = unwatched(scenario.config()).hba("host all all 127.0.0.1/32 trust\n");
    let proxy = scenario.start(cluster, &good);
    let mut client = proxy.connect(&database);
    let mut check = |what: &str| {
        assert_eq!(client.query("SELECT 1").value(), "1", "{what}");
        proxy.connect(&database).close();
    };

    let bad = good.clone().line("# a comment").line("num_init_children = many");
    proxy.write_config(cluster, &bad);
    hang_up(&proxy, NOT_RELOADED);
    let place = format!("pgpool.conf:{}", bad.line_count(cluster));
    assert!(proxy.log().contains(&place), "no {place} in\n{}", proxy.log());
    check("a faulty line");

    proxy.write_config(cluster, &good.clone().hba("# a comment\nhost all all nonsense\n"));
    hang_up(&proxy, NOT_RELOADED);
    assert!(proxy.log().contains("pool_hba.conf:2"), "{}", proxy.log());
    check("a faulty pool_hba.conf");

    for name in ["pool_hba.conf", "pgpool.conf"] {
        let path = proxy.folder().join(name);
        fs::remove_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        hang_up(&proxy, NOT_RELOADED);
        let line = proxy.log().lines().rev().find(|line| line.contains(name)).map(str::to_owned);
        assert!(line.is_some_and(|line| line.contains("it is gone")), "{}", proxy.log());
        check(name);
    }

    proxy.write_config(cluster, &good);
    hang_up(&proxy, RELOADED);
    check("good files again");
}

/// Kubernetes' way to replace a ConfigMap, a link `..data` that is renamed into place, is noticed
/// without a signal.
pub fn swapped_links_are_noticed(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let reads = Reads::new(cluster);
    let config = || scenario.config().line("weir_reload_check_interval = 1");
    let proxy = scenario.start(cluster, &config().weights(1, 0));
    let mut client = proxy.connect(&reads.database);
    assert!(!reads.on_standby(&mut client));
    let folder = proxy.folder();
    let io = |result: std::io::Result<()>| result.unwrap_or_else(|e| panic!("{e}"));
    let publish = |version: &str, config: &Config| {
        proxy.write_config_into(cluster, config, version);
        let (fresh, link) = (folder.join("..data_tmp"), folder.join("..data"));
        io(symlink(version, &fresh));
        io(fs::rename(&fresh, &link));
    };
    publish("..2026_01", &config().weights(0, 1));
    let before = count(&proxy, RELOADED);
    for name in ["pgpool.conf", "pool_passwd"] {
        let fresh = folder.join("fresh");
        io(symlink(format!("..data/{name}"), &fresh));
        io(fs::rename(&fresh, folder.join(name)));
    }
    wait_for("files became links", || count(&proxy, RELOADED) > before);
    assert!(reads.on_standby(&mut client));

    let before = count(&proxy, RELOADED);
    publish("..2026_02", &config().weights(1, 0));
    wait_for("the links lead elsewhere", || count(&proxy, RELOADED) > before);
    assert!(!reads.on_standby(&mut client));
}

/// A load does not notice that nodes, weights and limits change twenty times.
pub fn load_through_reloads(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let config = || unwatched(scenario.config());
    let proxy = scenario.start(cluster, &config().pool_size(10));
    drivers::pgbench(&proxy, &database, &["-i", "-q"]);
    cluster.wait_replayed();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut runs = 0;
            // However fast the machine is, there is load at every reload.
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let options = ["-n", "-c", "8", "-j", "2", "-t", "40", "-M", "extended"];
                let out = drivers::pgbench(&proxy, &database, &options);
                assert!(out.contains("actually processed: 320/320"), "{out}");
                let options = ["-S", "-n", "-c", "8", "-j", "2", "-t", "100"];
                let out = drivers::pgbench(&proxy, &database, &options);
                assert!(out.contains("actually processed: 800/800"), "{out}");
                runs += 1;
            }
            runs
        });
        for turn in 0..20 {
            let next = match turn % 4 {
                0 => config().pool_size(9).weights(0, 1),
                1 => config().pool_size(8).without_standby(),
                2 => config().pool_size(12).weights(1, 0).line("connection_cache = off"),
                _ => config().pool_size(10).weights(3, 1).line("num_init_children = 20"),
            };
            proxy.write_config(cluster, &next);
            hang_up(&proxy, RELOADED);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let runs = load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(runs > 0);
    });
    assert_eq!(count(&proxy, NOT_RELOADED), 0, "{}", proxy.log());
}
