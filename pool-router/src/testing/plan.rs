//! Worlds: random ones by seed, and scripted ones.

use std::sync::Arc;
use std::time::Duration;

use pgwire_core::time::Instant;

use super::fake_client::{Client, Exit, Login};
use super::fake_pg::{Chaos, DEFAULT_ZONE, Health, Node, Scene, ZONES};
use super::net::Cut;
use super::rng::Rng;
use super::script::{Author, Traits};
use super::world::{Event, Failed, Fault, Report, Streams, Wires, World};
use crate::config::{
    Backend, BackendFlags, BackendHost, DisableLoadBalanceOnWrite, PoolMode, Settings,
};
use crate::context::Context;
use crate::hba::Hba;
use crate::hub::Shutdown;
use crate::passwd::PoolPasswd;
use crate::rules::Rules;
use crate::tls::Tls;

/// Servers and clients have no more accidents from here on.
const HEALED: Duration = Duration::from_millis(400);

pub(super) fn backends(count: usize) -> Vec<Backend> {
    (0..count)
        .filter_map(|index| u16::try_from(index).ok())
        .map(|id| Backend {
            id,
            host: BackendHost::Tcp(format!("node{id}")),
            port: 5432,
            weight: 1.0,
            flag: BackendFlags { always_primary: id == 0, disallow_to_failover: false },
            application_name: None,
            connect_timeout: Some(Duration::from_secs(2)),
        })
        .collect()
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn scene(seed: u64, trace: bool) -> Scene {
    Scene {
        rng: Rng::new(seed),
        now: Instant::ORIGIN,
        faults: false,
        shutdown: false,
        hurry: false,
        crowded: false,
        violations: Vec::new(),
        trace: trace.then(Vec::new),
    }
}

/// Runs a world in which everything is drawn from `seed`: settings, nodes, clients, scripts,
/// faults. One in three worlds has no faults at all, so that nothing excuses an error there.
///
/// # Errors
/// What must not happen has happened; with `trace`, also what led to it.
pub fn random_session(seed: u64, trace: bool) -> Result<Report, Failed> {
    let mut scene = scene(seed, trace);
    let rng = &mut scene.rng;
    let nodes = 1 + rng.below(3);
    let clients = 1 + rng.below(8);
    let faulty = rng.chance(667);
    let mut settings = Settings::with_backends(backends(nodes));
    settings.pool_mode = if rng.chance(600) { PoolMode::Transaction } else { PoolMode::Session };
    settings.pool_size = count(1 + rng.below(clients + 1));
    settings.max_server_connections = count(1 + rng.below(2 * clients + 1));
    settings.min_pool_size = count(rng.below(2)).min(settings.pool_size);
    settings.num_init_children = count(1 + rng.below(clients + 2));
    settings.max_waiting_clients = 1_000;
    settings.reserved_connections = 0;
    settings.load_balance_mode = rng.chance(800);
    settings.statement_level_load_balance = rng.chance(500);
    settings.disable_load_balance_on_write = if rng.chance(300) {
        DisableLoadBalanceOnWrite::Always
    } else {
        DisableLoadBalanceOnWrite::Transaction
    };
    settings.connection_cache = rng.chance(900);
    settings.pipeline_limit = rng.pick(&[16, 16, 40, 10_000]);
    settings.prepared_statement_bytes = rng.pick(&[0, 300, 1_000_000, 1_000_000]);
    settings.max_prepared_statements = rng.pick(&[0, 1, 3, 200, 200]);
    settings.prepared_statement_memory = rng.pick(&[150, 1_000_000, 1_000_000]);
    settings.query_wait_timeout = Some(Duration::from_secs(20));
    settings.authentication_timeout = Some(Duration::from_secs(120));
    settings.server_login_timeout = Some(Duration::from_secs(3));
    settings.cancel_timeout = Some(Duration::from_secs(3));
    settings.server_idle_timeout = rng.chance(500).then_some(Duration::from_millis(50));
    settings.server_lifetime = rng.chance(300).then_some(Duration::from_millis(100));
    settings.server_retry_initial = Duration::from_millis(20);
    settings.server_retry_max = Duration::from_millis(500);
    settings.client_idle_limit = None;
    settings.reserve_pool_size = rng.pick(&[0, 0, 1]);
    settings.reserve_pool_timeout = Duration::from_millis(rng.between(0, 5));
    settings.max_concurrent_logins = rng.pick(&[None, Some(1), Some(2)]);
    settings.max_user_connections = rng.pick(&[0, 0, 1, 3]);
    settings.drain_listen_time = rng.chance(500).then_some(Duration::from_millis(5));
    settings.drain_client_rate = rng.pick(&[None, Some(100), Some(1_000)]);
    settings.log_connections = false;
    let session_mode = settings.pool_mode == PoolMode::Session;
    let snapshots =
        settings.prepared_statement_bytes > 1_000 && settings.prepared_statement_memory > 1_000;
    let places = count(clients);
    let crowded = settings.max_user_connections > 0
        || settings.pool_size < places
        || settings.max_server_connections < places;
    let group_count = 1 + rng.below(2);
    let database_count = rng.pick(&[1, 1, 4]);
    settings.relcache_expire = rng.chance(300).then_some(Duration::from_millis(20));
    settings.relcache_on_standby = rng.chance(300);
    settings.catalogue_timeout = Some(Duration::from_millis(rng.pick(&[5, 3_000])));

    let chaos = Chaos {
        error: rng.pick(&[0, 20, 100]),
        die: if faulty { rng.pick(&[0, 1, 5, 20]) } else { 0 },
        chatter: rng.pick(&[0, 30, 200]),
        pause: rng.pick(&[0, 20, 200]),
    };
    let servers = (0..nodes).map(|id| Node::new(id, id == 0, chaos, rng.chance(300))).collect();
    let wires = Wires {
        cut: rng.pick(&[None, None, Some(Cut::Whole), Some(Cut::Bytes)]),
        window: None,
        max_delay: Duration::from_micros(rng.pick(&[2, 50, 500])),
    };
    let traits = Traits {
        units: 0,
        discards: false,
        state: rng.chance(500),
        cancels: rng.chance(500),
        long: rng.chance(250),
        snapshots,
    };
    let mut script_rng = rng.fork();
    // Without the file, servers are asked how they ask.
    let asks = rng.chance(500);
    let hba = (!asks).then_some("local all all trust\n");
    let hba =
        hba.and_then(|text| Hba::parse("pool_hba.conf", text, &mut |_| Err(String::new())).ok());
    let context = Context {
        pcp_users: crate::pcp_users::PcpUsers::default(),
        files: std::collections::BTreeSet::new(),
        settings: Arc::new(settings),
        rules: Rules::default(),
        hba,
        interfaces: Vec::new(),
        passwords: PoolPasswd::default(),
        authenticator: None,
        tls: Tls::default(),
        mock_seed: [7; 32],
    };
    // Clients that hold one connection and wait for another may wait for each other.
    scene.crowded = crowded && session_mode && nodes > 1;
    scene.note(|| format!("{:#?} {nodes} nodes {chaos:?} {wires:?} {traits:?}", context.settings));
    let mut world = World::new(context, wires, scene, servers);

    let rng = &mut script_rng;
    for index in 0..clients {
        let zone = rng.chance(300).then(|| rng.pick(&ZONES).to_owned());
        let default_zone = match &zone {
            Some(zone) if session_mode => zone.clone(),
            _ => DEFAULT_ZONE.to_owned(),
        };
        let traits = Traits {
            units: rng.below(14),
            // With shared servers, resetting goes back to the server's own default.
            discards: zone.is_none() || session_mode,
            ..traits
        };
        let login = Login {
            user: format!("user{}", rng.below(group_count)),
            database: format!("db{}", rng.below(database_count)),
            zone,
            default_zone,
            password: None,
            asks_for_encryption: rng.chance(300),
        };
        let script = Author::new(index, rng.fork(), traits).write();
        let depth = rng.pick(&[1, 1, 2, 8]);
        let mut client = Client::new(index, 0, login, script, depth, rng.bytes());
        if rng.chance(250) {
            let exit = if rng.chance(500) { Exit::Shut } else { Exit::Reset };
            client.leaves_after(1 + rng.below(1_500), exit);
        }
        let arrival = Duration::from_micros(rng.between(0, 20_000));
        world.add_client(client, arrival);
    }
    let fault_at = |rng: &mut Rng| Instant::ORIGIN + Duration::from_micros(rng.between(0, 150_000));
    for index in 0..clients {
        if rng.chance(100) {
            let at = fault_at(rng);
            world.at(at, Event::Fault(Fault::ClientGone(index)));
        }
    }
    if rng.chance(150) {
        let how = if rng.chance(800) { Shutdown::Graceful } else { Shutdown::Fast };
        let at = fault_at(rng);
        world.at(at, Event::Fault(Fault::Shutdown(how)));
    } else if rng.chance(150) {
        let at = fault_at(rng);
        world.at(at, Event::Fault(Fault::Drain));
    }
    for _ in 0..rng.pick(&[0, 0, 1, 3]) {
        let at = fault_at(rng);
        world.at(at, Event::Fault(rng.pick(&[Fault::Pause, Fault::Pause, Fault::Reconnect])));
        let later = at + Duration::from_micros(rng.between(0, 50_000));
        world.at(later, Event::Fault(Fault::Resume));
    }
    // No fault: it excuses nothing.
    for _ in 0..rng.pick(&[0, 0, 1, 3]) {
        let at = fault_at(rng);
        world.at(at, Event::Fault(Fault::Reload));
    }
    if faulty {
        for _ in 0..rng.below(5) {
            let node = rng.below(nodes);
            let fault = match rng.below(6) {
                0 => Fault::Crash(node),
                1 => Fault::Health(node, Health::Down),
                2 => Fault::Health(node, Health::Hanging),
                3 => Fault::Health(node, Health::Starting),
                4 => Fault::Health(node, Health::Full),
                _ => Fault::Terminate(node),
            };
            let at = fault_at(rng);
            world.at(at, Event::Fault(fault));
            let back = at + Duration::from_micros(rng.between(0, 100_000));
            world.at(back, Event::Fault(Fault::Health(node, Health::Up)));
        }
    }
    world.at(Instant::ORIGIN + HEALED, Event::Fault(Fault::Heal));
    world.run().map(|(report, _)| report)
}

/// How the clients of a scripted world show who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// Not at all.
    None,
    /// The proxy has the password itself: SCRAM.
    Plain,
    /// The proxy has its MD5 digest.
    Md5,
    /// The proxy has its SCRAM verifier.
    Scram,
}

/// A world with one well-behaved client and well-behaved servers, in which only the cutting of the
/// streams differs from run to run.
#[derive(Debug, Clone, Copy)]
pub struct Scripted {
    /// What the client does is drawn from this.
    pub script: u64,
    /// When a server connection goes back.
    pub pool_mode: PoolMode,
    /// How many servers there are.
    pub nodes: usize,
    /// Units that the client sends without waiting for answers.
    pub depth: usize,
    /// How it logs in.
    pub password: Password,
    /// How all streams are cut.
    pub cut: Cut,
    /// Bytes that a connection takes before they are read.
    pub window: usize,
    /// Where cuts and delays come from.
    pub network: u64,
}

const SECRET: &str = "open sesame";
/// The MD5 digest for `alice` and the verifier (PostgreSQL docs, 53.8 pg_authid) of [`SECRET`].
fn passwd_line(password: Password) -> Option<String> {
    use core::num::NonZeroU32;
    use pgwire_core::auth::{DeriveJob, Md5Hash, Password as Text};
    let secret = Text::new(SECRET.as_bytes());
    Some(match password {
        Password::None => return None,
        Password::Plain => format!("alice:TEXT{SECRET}\n"),
        Password::Md5 => {
            let hash = Md5Hash::of(SECRET.as_bytes(), b"alice");
            format!("alice:md5{}\n", String::from_utf8_lossy(hash.as_hex()))
        }
        Password::Scram => {
            let rounds = NonZeroU32::new(64).unwrap_or(NonZeroU32::MIN);
            let key = DeriveJob::new(&secret, b"0123456789abcdef".to_vec(), rounds).run();
            format!("alice:{}\n", key.verifier().encode().as_str())
        }
    })
}

impl Scripted {
    /// Runs the world and returns what went over the wires.
    ///
    /// # Errors
    /// As [`random_session`].
    pub fn run(&self, trace: bool) -> Result<Streams, Failed> {
        let scene = scene(self.network, trace);
        let mut settings = Settings::with_backends(backends(self.nodes));
        settings.pool_mode = self.pool_mode;
        settings.load_balance_mode = self.nodes > 1;
        settings.statement_level_load_balance = true;
        settings.query_wait_timeout = None;
        settings.server_idle_timeout = None;
        settings.server_lifetime = None;
        settings.log_connections = false;
        let servers =
            (0..self.nodes).map(|id| Node::new(id, id == 0, Chaos::default(), false)).collect();
        let line = passwd_line(self.password);
        let method = match self.password {
            Password::None => "trust",
            Password::Md5 => "md5",
            Password::Plain | Password::Scram => "scram-sha-256",
        };
        let record = format!("local all all {method}\n");
        let context = Context {
            pcp_users: crate::pcp_users::PcpUsers::default(),
            files: std::collections::BTreeSet::new(),
            settings: Arc::new(settings),
            rules: Rules::default(),
            hba: Hba::parse("pool_hba.conf", &record, &mut |_| Err(String::new())).ok(),
            interfaces: Vec::new(),
            passwords: line
                .and_then(|line| PoolPasswd::parse("pool_passwd", &line, None).ok())
                .unwrap_or_default(),
            authenticator: None,
            tls: Tls::default(),
            mock_seed: [7; 32],
        };
        let wires = Wires {
            cut: Some(self.cut),
            window: Some(self.window),
            max_delay: Duration::from_micros(50),
        };
        let mut world = World::new(context, wires, scene, servers);
        world.reseed_entropy(self.script);
        world.net.record = Some(Default::default());
        let mut rng = Rng::new(self.script);
        let login = Login {
            user: "alice".to_owned(),
            database: "db".to_owned(),
            zone: rng.chance(500).then(|| ZONES[0].to_owned()),
            default_zone: DEFAULT_ZONE.to_owned(),
            password: (self.password != Password::None).then(|| SECRET.to_owned()),
            asks_for_encryption: rng.chance(500),
        };
        let traits = Traits {
            units: 12,
            // A server that is given back in between may serve whoever comes first.
            discards: login.zone.is_none() && self.pool_mode == PoolMode::Session,
            state: true,
            cancels: false,
            long: rng.chance(500),
            snapshots: true,
        };
        let script = Author::new(0, rng.fork(), traits).write();
        world.add_client(Client::new(0, 0, login, script, self.depth, rng.bytes()), Duration::ZERO);
        world.run().map(|(_, streams)| streams)
    }
}
