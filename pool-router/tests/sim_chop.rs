//! How streams are cut into reads makes no difference to what goes over the wires.

use pool_router::config::PoolMode;
use pool_router::testing::{Cut, Password, Scripted, Streams};

fn run(world: Scripted) -> Streams {
    world.run(false).unwrap_or_else(|failed| {
        let trace = world.run(true).err().unwrap_or(failed);
        panic!("{world:?}\n{trace}")
    })
}

/// Runs the world uncut, and cut in several ways.
fn same_however_cut(world: Scripted) {
    let whole = run(Scripted { cut: Cut::Whole, window: 1_000_000, network: 1, ..world });
    assert!(whole.clients.iter().all(|stream| !stream.is_empty()));
    for (cut, window, network) in [
        (Cut::Bytes, 1_000_000, 2),
        (Cut::Bytes, 40, 3),
        (Cut::Random, 1_000_000, 4),
        (Cut::Random, 1_000, 5),
        (Cut::Random, 40, 6),
    ] {
        let world = Scripted { cut, window, network, ..world };
        let cut = run(world);
        assert!(whole.clients == cut.clients, "clients received something else: {world:?}");
        assert!(whole.servers == cut.servers, "servers received something else: {world:?}");
    }
}

fn world(script: u64) -> Scripted {
    Scripted {
        script,
        pool_mode: PoolMode::Transaction,
        nodes: 1,
        depth: 1,
        password: Password::None,
        cut: Cut::Whole,
        window: 1_000_000,
        network: 0,
    }
}

#[test]
fn sessions_in_transaction_mode() {
    for script in 0..5 {
        same_however_cut(world(script));
    }
}

#[test]
fn sessions_in_session_mode() {
    for script in 100..105 {
        same_however_cut(Scripted { pool_mode: PoolMode::Session, ..world(script) });
    }
}

#[test]
fn sessions_over_several_servers() {
    for script in 200..205 {
        same_however_cut(Scripted { nodes: 3, ..world(script) });
    }
}

#[test]
fn logins_with_passwords() {
    for password in [Password::Plain, Password::Md5, Password::Scram] {
        for script in 300..302 {
            same_however_cut(Scripted { password, ..world(script) });
        }
    }
}
