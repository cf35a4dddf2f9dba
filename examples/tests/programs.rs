//! The examples run, and print what their documentation promises.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(program);
    // Dropped at once: the program sees the end of its input.
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program}: {status}\n{stderr}");
    String::from_utf8(stdout).expect("text")
}

#[track_caller]
fn assert_has(output: &str, lines: &[&str]) {
    for line in lines {
        assert!(output.lines().any(|found| found.trim() == *line), "no {line:?} in\n{output}");
    }
}

#[test]
fn framer() {
    let output = run(env!("CARGO_BIN_EXE_embed_framer"), &[], "");
    assert_has(
        &output,
        &[
            "SELECT id, name FROM person",
            "a statement of 85025 bytes",
            "SELECT 1000",
            "error: syntax error at or near \"SELEC\"",
            "rows: 1000",
            "forwarded unchanged: true",
        ],
    );
}

#[test]
fn pool() {
    let output = run(env!("CARGO_BIN_EXE_embed_pool"), &[], "");
    assert_has(
        &output,
        &[
            "0 ms  client 3 waits",
            "30 ms    client 3 is handed connection 0",
            "30 ms  = 0 in use, 2 idle, 0 clients waiting",
            "120030 ms  = 0 in use, 0 idle, 0 clients waiting",
            "120030 ms  client 5 is refused: the node is down",
            "121030 ms  client 4 gets connection 0",
        ],
    );
}

#[test]
fn classifier() {
    let input = "SELECT 1\n\nselect bill(7) from t\nINSERT INTO t VALUES (1)\nSELECT * FROM queue\n\
                 LISTEN news\n";
    let output = run(env!("CARGO_BIN_EXE_observe_queries"), &["--primary-only", "queue"], input);
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    let wanted = [
        "SELECT 1",
        "any node",
        "select bill(7) from t",
        "primary    unknown function: bill",
        "INSERT INTO t VALUES (1)",
        "primary    INSERT writes",
        "SELECT * FROM queue",
        "primary    unlogged table: queue",
        "LISTEN news",
        "primary    session state: LISTEN; keeps its server connection: Listen",
    ];
    assert_eq!(lines, wanted);
    let output = run(
        env!("CARGO_BIN_EXE_observe_queries"),
        &["--harmless", "bill", "--harmless", "other"],
        "select public.Bill(7)\n",
    );
    assert_has(&output, &["any node"]);
}

#[test]
fn demonstration() {
    let output = run(env!("CARGO_BIN_EXE_demo"), &["--once"], "");
    assert!(output.contains("24 clients shared"), "{output}");
}
