//! The life of the process.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use pool_router::boot::{Boot, Inputs, boot, log_level, log_notices};
use pool_router::cli;
use pool_router::config::Settings;
use pool_router::context::Context;
use pool_router::hub::Shutdown;
use pool_router::tools;
use pool_router::watch::Watch;
use tokio::runtime::{Builder, Runtime};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt;

use crate::reload::{Reloader, reload_when_due};
use crate::shared::Shared;
use crate::signals::Signals;
use crate::tasks::random;
use crate::tls::TlsSources;
use crate::tools::Terminal;
use crate::{files, interfaces, listen};

/// The exit status when the service could not be started or had to be given up.
const EXIT_FAILURE: u8 = 1;

/// Runs the service to its end.
pub(crate) fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(end) = tools::run(&args, &mut Terminal) {
        let to: &mut dyn Write =
            if end.exit_code == 0 { &mut io::stdout() } else { &mut io::stderr() };
        return if end.text.is_empty() {
            ExitCode::SUCCESS
        } else {
            print(to, &end.text, end.exit_code)
        };
    }
    let mut cli = match cli::parse(args) {
        Ok(cli) => cli,
        Err(error) if error.exit_code == 0 => return print(&mut io::stdout(), &error.text, 0),
        Err(error) => return print(&mut io::stderr(), &error.text, error.exit_code),
    };
    cli.find_key_file(&|name| std::env::var(name).ok());
    let inputs = Inputs {
        cli,
        environment: std::env::vars_os().collect(),
        seed: random(),
        interfaces: interfaces::read(),
    };
    let mut watch = Watch::default();
    let mut tls = TlsSources::default();
    let mut read = |path: &str| files::read_watched(&mut watch, path);
    let (context, notices) = match boot(&inputs, &mut read, &mut tls) {
        Ok(Boot::Serve(context, notices)) => (context, notices),
        Ok(Boot::Print(text)) => return print(&mut io::stdout(), &text, 0),
        Err(error) => return print(&mut io::stderr(), &error.text, error.exit_code),
    };
    let level = log_to_stderr(log_level(&context.settings, inputs.cli.debug));
    log_notices(&notices);
    let reloader = Reloader { inputs, watch, tls, level };
    let served = runtime(&context.settings).and_then(|runtime| {
        let served = runtime.block_on(serve(context, reloader));
        // Connections that are still being opened are of no use to anybody now.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn runtime(settings: &Settings) -> io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match settings.worker_threads(processors) {
        1 => Builder::new_current_thread().enable_all().build(),
        n => Builder::new_multi_thread().worker_threads(n).enable_all().build(),
    }
}

async fn serve(context: Arc<Context>, reloader: Reloader) -> io::Result<()> {
    let mut signals = Signals::install()?;
    let mut listeners = listen::bind(&context.settings).await?;
    let port = context.settings.port;
    let shared = Shared::new(context);
    let accepting = listen::accept_all(&shared, &mut listeners);
    tracing::info!(port, "pgweir is ready");
    let upkeep = tokio::spawn(upkeep(shared.clone()));
    let reloading = tokio::spawn(reload_when_due(shared.clone(), reloader));

    let ends = async {
        shared.closing.notified().await;
        reloading.abort();
        drop(accepting);
        drop(listeners);
        emptied(&shared).await;
    };
    let signalled = async {
        loop {
            end(&shared, signals.next(&shared).await);
        }
    };
    tokio::select! {
        () = ends => {}
        () = signalled => {}
    }
    upkeep.abort();
    tracing::info!("all clients have left; {}", shared.with_hub(|hub, _| hub.tally()));
    Ok(())
}

/// Begins the end of the service, as a signal asks for.
fn end(shared: &Arc<Shared>, how: Shutdown) {
    tracing::info!("shutting down ({how:?})");
    shared.with_hub(|hub, now| match how {
        Shutdown::Graceful => hub.drain(now),
        Shutdown::Fast => hub.shut_down(how),
    });
}

/// Calls the hub when its time has come.
async fn upkeep(shared: Arc<Shared>) {
    loop {
        let next = shared.with_hub(|hub, now| {
            hub.handle_timeout(now);
            hub.poll_timeout()
        });
        match next {
            Some(at) => {
                tokio::select! {
                    () = tokio::time::sleep_until(shared.at(at)) => {}
                    () = shared.changed.notified() => {}
                }
            }
            None => shared.changed.notified().await,
        }
    }
}

async fn emptied(shared: &Arc<Shared>) {
    while !shared.with_hub(|hub, _| hub.is_done()) {
        shared.left.notified().await;
    }
}

/// Logs from now on. What is returned changes the level.
fn log_to_stderr(level: LevelFilter) -> Handle<LevelFilter, Registry> {
    let (filter, handle) = tracing_subscriber::reload::Layer::new(level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    handle
}

fn print(to: &mut dyn Write, text: &str, code: u8) -> ExitCode {
    // There is nobody to tell if the terminal is gone.
    let _ = writeln!(to, "{}", text.trim_end());
    ExitCode::from(code)
}
