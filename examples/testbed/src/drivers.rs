//! Real clients: `tokio-postgres` in this process, `psql` and `pgbench` as processes.

use std::future::Future;
use std::io::Write;
use std::process::{Command, Stdio};

use tokio_postgres::{Client, NoTls};

use crate::cluster::APP;
use crate::proxy::Proxy;

/// Runs a future, and whatever it spawns, to its end on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap_or_else(|e| panic!("no tokio runtime: {e}"));
    runtime.block_on(future)
}

/// A `tokio-postgres` client of role [`APP`].
///
/// # Panics
/// When the login fails.
pub async fn connect(proxy: &Proxy, database: &str) -> Client {
    login(proxy, APP, None, database).await.unwrap_or_else(|e| panic!("login: {e:?}"))
}

/// A `tokio-postgres` client.
///
/// # Errors
/// Those of the login.
pub async fn login(
    proxy: &Proxy,
    user: &str,
    password: Option<&str>,
    database: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(proxy.port()).user(user).dbname(database);
    if let Some(password) = password {
        config.password(password);
    }
    let (client, connection) = config.connect(NoTls).await?;
    // What ends the connection shows in the client's calls.
    tokio::spawn(connection);
    Ok(client)
}

/// Output of a program that must succeed.
///
/// # Panics
/// When it fails.
pub fn run(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().unwrap_or_else(|| panic!("stdin is piped"));
    let input = input.to_owned();
    // In a thread of its own, because the program may write much before it reads all.
    let writer = std::thread::spawn(move || {
        // A program that ends early shows in its exit status.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let _ = writer.join();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// `psql` on a script, unaligned and tuples only, which stops at the first error.
///
/// # Panics
/// When it fails.
pub fn psql(proxy: &Proxy, database: &str, script: &str) -> String {
    let mut command = proxy.client_program("psql");
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]);
    run(command, script)
}

/// `pgbench` with these options.
///
/// # Panics
/// When it fails.
pub fn pgbench(proxy: &Proxy, database: &str, options: &[&str]) -> String {
    let mut command = proxy.client_program("pgbench");
    command.args(options).arg(database);
    run(command, "")
}
