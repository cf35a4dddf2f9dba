//! Reading the configuration again while clients are served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pool_router::boot::{self, Inputs, log_level, log_reload};
use pool_router::watch::Watch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::reload::Handle;

use crate::files;
use crate::interfaces;
use crate::shared::Shared;
use crate::tls::TlsSources;

/// What reloading needs to know of the start.
pub(crate) struct Reloader {
    pub(crate) inputs: Inputs,
    pub(crate) watch: Watch,
    pub(crate) tls: TlsSources,
    pub(crate) level: Handle<LevelFilter, Registry>,
}

/// Reads the files again when that is asked for, and when they have changed.
pub(crate) async fn reload_when_due(shared: Arc<Shared>, reloader: Reloader) {
    let reloader = Arc::new(Mutex::new(reloader));
    loop {
        let settings = shared.settings();
        let due = settings.reload_on_change.then_some(settings.reload_check_interval);
        let asked = wait(&shared, due).await;
        let (shared, reloader) = (shared.clone(), reloader.clone());
        // Files may be slow, and a long list of patterns takes its time.
        let work = move || {
            let mut reloader = reloader.lock().unwrap_or_else(PoisonError::into_inner);
            if asked || reloader.watch.has_changed(files::stamp) {
                reload(&shared, &mut reloader);
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!("reloading failed: {error}");
        }
    }
}

/// Waits until a reload is asked for (true), or the files are to be looked at.
async fn wait(shared: &Shared, due: Option<Duration>) -> bool {
    let Some(due) = due else {
        shared.reload.notified().await;
        return true;
    };
    tokio::select! {
        () = shared.reload.notified() => true,
        () = tokio::time::sleep(due) => false,
    }
}

fn reload(shared: &Arc<Shared>, reloader: &mut Reloader) {
    let Reloader { inputs, watch, tls, level } = reloader;
    let present = shared.with_hub(|hub, _| hub.context().clone());
    inputs.interfaces = interfaces::read();
    watch.load_begins();
    let loaded = boot::reload(inputs, &mut |path| files::read_watched(watch, path), tls, &present);
    watch.load_ends(loaded.is_ok());
    let outcome = loaded.map_err(|error| error.text).and_then(|(context, notices)| {
        let new_level = log_level(&context.settings, inputs.cli.debug);
        shared.with_hub(|hub, now| hub.reload(context, now)).map_err(|error| error.to_string())?;
        // It can only fail where nothing is logged any more.
        let _ = level.modify(|level| *level = new_level);
        Ok(notices)
    });
    log_reload(&outcome);
}
