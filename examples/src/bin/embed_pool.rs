//! pool-router's pool by hand: no sockets, no clock, no threads.
//!
//! `cargo run -p examples --bin embed_pool`
//!
//! A `Pool` is told what happened and answers with orders. The owner of the connections carries
//! them out and reports back; here that is a few lines which pretend. Time is a number that this
//! program makes up, so the same run always prints the same.

use std::time::Duration;

use pgwire_core::time::Instant;
use pool_router::ids::{ClientId, GroupId, IdentityId, NodeId, PoolKey, ServerId};
use pool_router::pool::{Acquire, FailureKind, Limits, Order, Outcome, Pool};

/// One user of one database.
const KEY: PoolKey = PoolKey { group: GroupId(0), identity: IdentityId(0) };

/// A server that is up or down, and the pool of connections to it.
struct Node {
    pool: Pool,
    up: bool,
    now: Instant,
    /// Connections that clients were given after waiting.
    handed: Vec<(ClientId, ServerId)>,
}

impl Node {
    fn say(&self, text: &str) {
        println!("{:>6} ms  {text}", self.now.as_nanos() / 1_000_000);
    }

    fn acquire(&mut self, client: u32) -> Option<ServerId> {
        let client_id = ClientId { index: client, generation: 0 };
        let answer = self.pool.acquire(client_id, KEY, self.now);
        match answer {
            Acquire::Granted(server) => {
                self.say(&format!("client {client} gets connection {}", server.index));
            }
            Acquire::Queued => self.say(&format!("client {client} waits")),
            Acquire::Full => self.say(&format!("client {client} is refused: too many wait")),
            Acquire::Refused => self.say(&format!("client {client} is refused: the node is down")),
        }
        self.carry_out();
        match answer {
            Acquire::Granted(server) => Some(server),
            Acquire::Queued => self.take_handed(client),
            Acquire::Refused | Acquire::Full => None,
        }
    }

    fn release(&mut self, client: u32, server: ServerId) {
        self.say(&format!("client {client} gives connection {} back", server.index));
        self.pool.release(server, Outcome::Reuse, self.now);
        self.carry_out();
    }

    fn take_handed(&mut self, client: u32) -> Option<ServerId> {
        let at = self.handed.iter().position(|(waiter, _)| waiter.index == client)?;
        Some(self.handed.swap_remove(at).1)
    }

    /// Drains the orders, as is due after every call that changes the pool.
    fn carry_out(&mut self) {
        while let Some(order) = self.pool.poll_order() {
            match order {
                Order::Connect { server, .. } if self.up => {
                    self.say(&format!("  connection {} is opened", server.index));
                    self.pool.connected(server, self.now);
                }
                Order::Connect { server, .. } => {
                    self.say(&format!("  connection {} cannot be opened", server.index));
                    self.pool.connect_failed(server, FailureKind::Unreachable, self.now);
                }
                Order::Close(server) => {
                    self.say(&format!("  connection {} is closed", server.index));
                }
                Order::Hand { server, client } => {
                    self.say(&format!(
                        "  client {} is handed connection {}",
                        client.index, server.index
                    ));
                    self.handed.push((client, server));
                }
                Order::Refuse(client) => self.say(&format!("  client {} is refused", client.index)),
            }
        }
    }

    /// Lets time pass; stops wherever the pool asked to be called.
    fn sleep(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.pool.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.pool.handle_timeout(self.now);
            self.carry_out();
        }
        self.now = end;
    }

    fn count(&self) {
        let view = self.pool.view();
        self.say(&format!(
            "= {} in use, {} idle, {} clients waiting",
            view.active, view.idle, view.waiting
        ));
    }
}

fn main() {
    let limits = Limits {
        per_group: 2,
        per_node: 10,
        min_per_group: 0,
        idle_timeout: Some(Duration::from_secs(60)),
        lifetime: None,
        lifetime_spread: Duration::ZERO,
        renew_ahead: Duration::ZERO,
        max_clients: None,
        retry_initial: Duration::from_millis(200),
        retry_max: Duration::from_secs(5),
        max_queue: None,
        reserve_timeout: Duration::ZERO,
        max_logins: None,
    };
    let pool = Pool::new(NodeId(0), limits);
    let mut node = Node { pool, up: true, now: Instant::ORIGIN, handed: Vec::new() };

    println!("Three clients share two connections:");
    let first = node.acquire(1);
    let second = node.acquire(2);
    let none = node.acquire(3);
    assert!(none.is_none());
    node.count();
    node.sleep(Duration::from_millis(30));
    if let Some(server) = first {
        node.release(1, server);
    }
    let third = node.take_handed(3);
    for (client, server) in [(2, second), (3, third)] {
        if let Some(server) = server {
            node.release(client, server);
        }
    }
    node.count();

    println!("\nNobody needs them for two minutes:");
    node.sleep(Duration::from_secs(120));
    node.count();

    println!("\nThe server is down for half a second:");
    node.up = false;
    node.acquire(4);
    node.acquire(5);
    node.sleep(Duration::from_millis(500));
    node.up = true;
    node.sleep(Duration::from_millis(500));
    if let Some(server) = node.acquire(4) {
        node.release(4, server);
    }
    node.count();
}
