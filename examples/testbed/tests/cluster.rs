//! The testbed's own promises: the standby follows, and nothing is left behind.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use testbed::cluster::{APP, Shutdown, wait_for};
use testbed::{Cluster, Node};

#[test]
fn standby_has_what_the_primary_wrote() {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (a int); INSERT INTO t VALUES (7)");
    assert_eq!(cluster.value(Node::Standby, &database, "SELECT a FROM t"), "7");
    let refused = cluster.connect(Node::Standby, APP, &database).query("INSERT INTO t VALUES (8)");
    assert_eq!(refused.code(), "25006");
}

#[test]
fn statements_are_found_on_the_node_that_ran_them() {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    cluster.log_statements(&database);
    let mut client = cluster.connect(Node::Standby, APP, &database);
    client.query("SELECT 1").ok();
    client.extended("SELECT $1::int,\n2", &[Some("5")]).ok();
    assert_eq!(cluster.statements(Node::Standby, &database), ["SELECT 1", "SELECT $1::int,\n2"]);
    assert!(cluster.statements(Node::Primary, &database).is_empty());
}

#[test]
fn private_cluster_stops_starts_and_leaves_nothing() {
    let cluster = Cluster::private();
    let folder = cluster.socket_folder().to_owned();
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        for node in Node::ALL {
            cluster.stop(node, how);
            cluster.start(node);
        }
    }
    let database = cluster.create_database_with("CREATE TABLE t ()");
    assert_eq!(cluster.value(Node::Standby, &database, "SELECT count(*) FROM t"), "0");
    drop(cluster);
    assert!(!folder.exists());
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn start_and_wait_to_be_killed() {
    if std::env::var_os("TESTBED_VICTIM").is_some() {
        println!("folder={}", Cluster::shared().socket_folder().display());
        std::thread::park();
    }
}

#[test]
fn a_killed_test_process_leaves_nothing() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "start_and_wait_to_be_killed", "--nocapture"])
        .env("TESTBED_VICTIM", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(PathBuf::from(line.split_once("folder=")?.1)))
        .unwrap();
    assert!(folder.join("primary/postmaster.pid").exists());
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("the guard has removed the folder", || !folder.exists());
}
