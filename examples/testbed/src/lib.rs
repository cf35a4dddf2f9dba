//! Throw-away PostgreSQL clusters, proxy processes and the end-to-end suite.
//!
//! A runtime's `tests/e2e.rs` is one line, `testbed::suite!(env!("CARGO_BIN_EXE_pgweir"));`,
//! which expands to one `#[test]` per scenario and pooling mode. Scenarios are plain blocking
//! functions: a hang is caught by a watchdog, which shows what the proxy wrote.
//!
//! Everything here is test support: what goes wrong is a panic with a message, because that is
//! what fails a test.

#![deny(missing_docs)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub mod cluster;
pub mod drivers;
pub mod pki;
pub mod proxy;
pub mod raw_client;
pub mod scenarios;
mod tls;
pub mod tools;
pub mod wire;

pub use cluster::{Cluster, Node, Shutdown};
pub use pki::Pki;
pub use proxy::{Config, Mode, Proxy};
pub use raw_client::{Address, RawClient};

/// How long one scenario may take. Far beyond what any needs: it only tells a hang from work.
const WATCHDOG: Duration = Duration::from_secs(60);

/// What a scenario is given.
pub struct Scenario {
    program: PathBuf,
    mode: Mode,
    logs: Mutex<Vec<PathBuf>>,
}

impl Scenario {
    /// The pooling mode to test.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The proxy to test.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// Defaults in this mode.
    pub fn config(&self) -> Config {
        Config::new(self.mode)
    }

    /// Starts the proxy.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self, cluster: &Cluster, config: &Config) -> Proxy {
        self.watched(Proxy::start(&self.program, cluster, config))
    }

    /// Starts a proxy by another command.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_as(&self, cluster: &Cluster, prepare: proxy::Prepare<'_>) -> Proxy {
        self.watched(Proxy::start_as(cluster, prepare))
    }

    fn watched(&self, started: Result<Proxy, tools::SetupError>) -> Proxy {
        let proxy = started.unwrap_or_else(|e| panic!("{e}"));
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).push(proxy.log_path());
        proxy
    }

    fn print_logs(&self) {
        for path in self.logs.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            println!("--- {}\n{log}", path.display());
        }
    }
}

/// Runs one scenario under the watchdog; what [`suite!`] calls.
///
/// # Panics
/// When the scenario does, or does not end.
pub fn run(program: &str, mode: Mode, name: &str, scenario: fn(&Scenario)) {
    let shared = Arc::new(Scenario { program: program.into(), mode, logs: Mutex::default() });
    let (done, finished) = channel();
    let inner = Arc::clone(&shared);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| scenario(&inner)));
            // Nobody listens when the watchdog was faster.
            let _ = done.send(result);
        })
        .unwrap_or_else(|e| panic!("no thread for {name}: {e}"));
    match finished.recv_timeout(WATCHDOG) {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => {
            shared.print_logs();
            panic!("{name} still runs after {WATCHDOG:?}");
        }
    }
}

/// Expands to one `#[test]` per scenario and pooling mode for the program at this path.
#[macro_export]
macro_rules! suite {
    ($program:expr) => {
        mod session {
            $crate::suite!(@both $program, Session);
            $crate::suite!(@tests $program, Session,
                many_clients::sessions_do_not_block_each_other,
            );
        }
        mod transaction {
            $crate::suite!(@both $program, Transaction);
            $crate::suite!(@tests $program, Transaction,
                cancel::waiting_client,
                isolation::servers_are_shared_again,
                prepared::sessions_with_statements,
                prepared::names_are_their_clients_own,
                prepared::settings_of_literals,
                prepared::servers_are_mended,
                prepared::servers_keep_a_few,
                prepared::two_hundred_with_statements,
                transactions::clients_that_share_servers,
                many_clients::two_hundred_on_four_servers,
                many_clients::workers_share_the_servers,
                limits::waiting_is_told_and_bounded,
                outage::standby_restarts_unnoticed,
                parameters::settings_follow_their_client,
                parameters::encoding_follows_its_client,
            );
        }
        mod process {
            $crate::suite!(@tests $program, Session,
                config::bad_lines_are_named,
                config::missing_file_is_named,
                config::samples_of_pgpool_are_accepted,
                environment::deployment,
                environment::deployment_with_config_map,
                environment::faults_are_named,
                startup::version_is_negotiated_once,
                startup::unsupported_versions,
                startup::encryption_requests,
                startup::garbage,
                startup::one_byte_at_a_time,
                startup::silence_is_ended,
                authentication::combinations_with_nothing,
                authentication::combinations_with_verifiers,
                authentication::combinations_with_passwords,
                authentication::combinations_by_tls,
                authentication::who_asks_has_a_password,
                authentication::failed_logins_wait,
                authentication::secrets_stay_secret,
                login::unknown_names,
                login::every_backend_method,
                login::wrong_password,
                login::pool_hba,
                login::unix_socket,
                login::clients_beyond_the_limit_wait,
                login::too_many_clients,
                limits::times_have_an_end,
                limits::clients_are_counted,
                shutdown::newcomers_are_served_for_a_while,
                shutdown::another_process_takes_over,
                reload::bad_files_change_nothing,
                reload::swapped_links_are_noticed,
                tls::psql_sslmodes,
                tls::self_signed_certificate,
                tls::hba_sees_the_truth,
                tls::client_certificates,
                tls::certificates_beside_passwords,
                tls::refusals_are_postgresqls,
                tls::servers_that_insist,
                tls::servers_verified,
                tls::data_in_clear_from_clients,
                tls::data_in_clear_from_servers,
                tls::direct,
                tls::slow_reader,
                tls::bad_files_are_named,
                tls::certificate_is_replaced,
            );
        }
    };
    (@both $program:expr, $mode:ident) => {
        $crate::suite!(@tests $program, $mode,
            authentication::roles_of_the_servers,
            authentication::changed_passwords,
            queries::simple,
            queries::extended,
            queries::types,
            queries::transactions,
            queries::failed_transaction_never_commits,
            queries::notices,
            queries::prepared_in_one_transaction,
            queries::driver,
            queries::driver_with_prepared_statements,
            queries::prepared_statements_last,
            queries::psql_script,
            routing::reads_are_spread,
            routing::weights_are_kept,
            routing::writes_and_what_follows,
            routing::reads_that_write,
            routing::temporary_and_unlogged_tables,
            load_balancing::writing_takes_a_transaction_to_the_primary,
            load_balancing::transaction_modes,
            load_balancing::a_transaction_that_wrote_stays,
            load_balancing::failed_transactions_roll_back,
            transactions::begins_and_ends,
            transactions::state_moves_along,
            transactions::much_state_moves_along,
            transactions::failures_move_along,
            transactions::isolation_levels,
            transactions::standby_session_ends_in_transaction,
            transactions::standby_session_ends_with_snapshot,
            transactions::primary_gone_when_transaction_writes,
            transactions::refusals_in_transactions,
            transactions::transactions_finish_at_shutdown,
            transactions::portals_and_cursors,
            transactions::prepared_statements_move_along,
            transactions::pipelines,
            transactions::isolation_levels_from_outside,
            transactions::control_in_all_states,
            transactions::control_in_all_states_extended,
            transactions::modes_in_all_states,
            transactions::modes_in_all_states_extended,
            transactions::statements_in_all_states,
            transactions::statements_in_all_states_extended,
            transactions::strings_in_all_states,
            load_balancing::after_a_write,
            load_balancing::lists,
            load_balancing::redirects,
            databases::pooled_servers_make_way,
            settings::settings_hold_everywhere,
            settings::settings_in_transactions,
            settings::many_settings,
            settings::settings_in_pipelines,
            settings::discard_all,
            settings::settings_do_not_pin,
            settings::resets_go_to_the_beginning,
            settings::settings_are_their_clients_own,
            catalogue::rare_events_are_counted,
            catalogue::facts_decide,
            catalogue::foreign_tables,
            catalogue::hidden_calls,
            catalogue::changes_are_noticed,
            catalogue::refusals_teach,
            catalogue::facts_expire,
            catalogue::first_login_with_parameters,
            pgbench::tpcb,
            pgbench::select_only,
            pgbench::prepared,
            copy::copy_in,
            copy::copy_out,
            copy::bad_row,
            copy::client_gives_up,
            copy::several_in_one_query,
            copy::by_extended_protocol,
            copy::psql_round_trip,
            large::huge_value,
            large::many_rows,
            pipeline::unreadable_beginning,
            pipeline::one_sync,
            pipeline::error_skips_to_sync,
            pipeline::several_syncs_in_one_write,
            pipeline::flush_without_sync,
            pipeline::simple_queries_in_one_write,
            pipeline::simple_query_ends_extended,
            pipeline::read_then_write,
            pipeline::transaction_in_one_write,
            pipeline::driver_pipelines,
            cancel::running_query,
            cancel::idle_client,
            cancel::wrong_key,
            cancel::ends_when_the_server_has_it,
            notifications::own_and_others,
            replication::physical,
            many_clients::wait_has_an_end,
            vanish::in_transaction,
            vanish::in_result,
            vanish::in_copy,
            vanish::in_query,
            vanish::in_message,
            vanish::while_waiting,
            chaos::servers_killed_under_load,
            isolation::nothing_is_left_behind,
            outage::standby_down,
            outage::primary_down,
            parameters::reported_values,
            parameters::startup_parameters,
            parameters::notice_while_running,
            shutdown::terminate_lets_transactions_finish,
            shutdown::interrupt_ends_at_once,
            shutdown::grace_has_an_end,
            reload::signal_applies_settings,
            reload::load_through_reloads,
            backpressure::slow_reader,
            tls::pgbench,
            tls::cancel,
        );
    };
    (@tests $program:expr, $mode:ident, $($topic:ident::$name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                $crate::run(
                    $program,
                    $crate::Mode::$mode,
                    stringify!($name),
                    $crate::scenarios::$topic::$name,
                );
            }
        )*
    };
}
