//! The pool's rules one by one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::Duration;

use pgwire_core::time::Instant;
use pool_router::ids::{ClientId, GroupId, IdentityId, NodeId, PoolKey, ServerId};
use pool_router::pool::{Acquire, Bounds, FailureKind, Limits, Order, Outcome, Pool, Share, View};

const A: PoolKey = PoolKey { group: GroupId(0), identity: IdentityId(0) };
/// Of the same group as `A`.
const B: PoolKey = PoolKey { group: GroupId(0), identity: IdentityId(1) };
/// Of another group.
const C: PoolKey = PoolKey { group: GroupId(1), identity: IdentityId(2) };

const LIMITS: Limits = Limits {
    per_group: 2,
    per_node: 3,
    min_per_group: 0,
    idle_timeout: None,
    lifetime: None,
    lifetime_spread: Duration::ZERO,
    renew_ahead: Duration::ZERO,
    max_clients: None,
    retry_initial: Duration::from_secs(1),
    retry_max: Duration::from_secs(4),
    max_queue: None,
    reserve_timeout: Duration::ZERO,
    max_logins: None,
};

fn pool(limits: Limits) -> Pool {
    Pool::new(NodeId(0), limits)
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

fn client(index: u32) -> ClientId {
    ClientId { index, generation: 0 }
}

fn orders(pool: &mut Pool) -> Vec<Order> {
    std::iter::from_fn(|| pool.poll_order()).collect()
}

/// The only order, which is to connect.
fn ordered(pool: &mut Pool) -> ServerId {
    match orders(pool).as_slice() {
        [Order::Connect { server, .. }] => *server,
        other => panic!("{other:?}"),
    }
}

/// Has a connection opened for a client.
fn open(pool: &mut Pool, who: u32, key: PoolKey, now: Instant) -> ServerId {
    assert_eq!(pool.acquire(client(who), key, now), Acquire::Queued);
    let server = ordered(pool);
    pool.connected(server, now);
    assert_eq!(orders(pool), [Order::Hand { server, client: client(who) }]);
    server
}

#[test]
fn the_one_used_last_is_lent_first() {
    let mut pool = pool(LIMITS);
    let (first, second) = (open(&mut pool, 1, A, at(0)), open(&mut pool, 2, A, at(0)));
    pool.release(second, Outcome::Reuse, at(1));
    pool.release(first, Outcome::Reuse, at(1));
    assert_eq!(pool.acquire(client(3), A, at(2)), Acquire::Granted(first));
    assert_eq!(pool.acquire(client(4), A, at(2)), Acquire::Granted(second));
    assert_eq!(orders(&mut pool), []);
}

#[test]
fn waiters_of_a_full_group_are_served_in_order() {
    let mut pool = pool(LIMITS);
    let (first, _) = (open(&mut pool, 1, A, at(0)), open(&mut pool, 2, A, at(0)));
    for who in [3, 4, 5] {
        assert_eq!(pool.acquire(client(who), A, at(u64::from(who))), Acquire::Queued);
    }
    assert_eq!(pool.oldest_wait(at(9)), Some(Duration::from_secs(6)));
    assert_eq!(pool.withdraw(client(4), at(9)), None);
    for who in [3, 5] {
        pool.release(first, Outcome::Reuse, at(9));
        assert_eq!(orders(&mut pool), [Order::Hand { server: first, client: client(who) }]);
    }
    assert_eq!(pool.oldest_wait(at(9)), None);
}

#[test]
fn room_is_made_for_another_identity() {
    let mut pool = pool(LIMITS);
    let (old, new) = (open(&mut pool, 1, A, at(0)), open(&mut pool, 2, A, at(0)));
    pool.release(old, Outcome::Reuse, at(1));
    pool.release(new, Outcome::Reuse, at(2));
    assert_eq!(pool.acquire(client(3), B, at(3)), Acquire::Queued);
    let orders = orders(&mut pool);
    assert!(
        matches!(orders.as_slice(), [Order::Close(closed), Order::Connect { key: B, .. }] if *closed == old),
        "{orders:?}"
    );
}

#[test]
fn room_is_made_for_another_group_when_the_node_is_full() {
    let mut pool = pool(LIMITS);
    let (idle, _) = (open(&mut pool, 1, A, at(0)), open(&mut pool, 2, A, at(0)));
    open(&mut pool, 3, C, at(0));
    assert_eq!(pool.acquire(client(4), C, at(1)), Acquire::Queued);
    assert_eq!(orders(&mut pool), []);
    pool.release(idle, Outcome::Reuse, at(2));
    let orders = orders(&mut pool);
    assert!(
        matches!(orders.as_slice(), [Order::Close(closed), Order::Connect { key: C, .. }] if *closed == idle),
        "{orders:?}"
    );
}

#[test]
fn one_connection_is_opened_for_each_waiter_of_its_identity() {
    let mut pool = pool(LIMITS);
    assert_eq!(pool.acquire(client(1), A, at(0)), Acquire::Queued);
    ordered(&mut pool);
    assert_eq!(pool.withdraw(client(1), at(0)), None);
    assert_eq!(pool.acquire(client(2), B, at(0)), Acquire::Queued);
    ordered(&mut pool);
    assert_eq!(pool.view(), View { connecting: 2, waiting: 1, ..View::default() });
}

#[test]
fn an_idle_connection_is_lent_past_waiters_of_others_that_are_under_way() {
    let mut pool = pool(LIMITS);
    let held = open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), B, at(0)), Acquire::Queued);
    ordered(&mut pool);
    assert_eq!(pool.acquire(client(3), A, at(0)), Acquire::Queued);
    pool.release(held, Outcome::Reuse, at(1));
    assert_eq!(orders(&mut pool), [Order::Hand { server: held, client: client(3) }]);
}

#[test]
fn a_connection_that_is_being_cancelled_is_lent_to_nobody() {
    let mut pool = pool(LIMITS);
    let server = open(&mut pool, 1, A, at(0));
    pool.cancel_started(server);
    pool.cancel_started(server);
    pool.release(server, Outcome::Reuse, at(1));
    assert_eq!(pool.view().cooling, 1);
    pool.cancel_finished(server, at(2));
    assert_eq!(pool.view().cooling, 1);
    pool.cancel_finished(server, at(2));
    assert_eq!(pool.view().idle, 1);
    // A request that starts when the connection is free already.
    pool.cancel_started(server);
    assert_eq!(pool.view().cooling, 1);
    assert_eq!(pool.acquire(client(2), A, at(3)), Acquire::Queued);
    ordered(&mut pool);
    pool.cancel_finished(server, at(4));
    assert_eq!(orders(&mut pool), [Order::Hand { server, client: client(2) }]);
}

#[test]
fn an_unreachable_node_refuses_and_is_probed_with_growing_pauses() {
    let mut pool = pool(LIMITS);
    assert_eq!(pool.acquire(client(1), A, at(0)), Acquire::Queued);
    let mut server = ordered(&mut pool);
    pool.connect_failed(server, FailureKind::Unreachable, at(0));
    assert_eq!(orders(&mut pool), [Order::Refuse(client(1))]);
    assert!(pool.is_down());
    let mut now = 0;
    for pause in [1, 2, 4, 4] {
        assert_eq!(pool.acquire(client(1), C, at(now)), Acquire::Refused);
        now += pause;
        assert_eq!(pool.poll_timeout(), Some(at(now)));
        pool.handle_timeout(at(now));
        server = ordered(&mut pool);
        assert_eq!(pool.poll_timeout(), None, "one probe at a time");
        pool.connect_failed(server, FailureKind::Unreachable, at(now));
    }
    pool.handle_timeout(at(now + 4));
    server = ordered(&mut pool);
    pool.connected(server, at(now + 4));
    assert!(!pool.is_down());
    assert_eq!(pool.acquire(client(1), A, at(now + 4)), Acquire::Granted(server));
}

#[test]
fn the_failure_of_another_attempt_is_not_the_probes() {
    let mut pool = pool(LIMITS);
    assert_eq!(pool.acquire(client(1), A, at(0)), Acquire::Queued);
    let first = ordered(&mut pool);
    assert_eq!(pool.acquire(client(2), C, at(0)), Acquire::Queued);
    let second = ordered(&mut pool);
    pool.connect_failed(first, FailureKind::Unreachable, at(0));
    pool.handle_timeout(at(1));
    orders(&mut pool);
    pool.connect_failed(second, FailureKind::Unreachable, at(1));
    assert_eq!(pool.poll_timeout(), None, "the probe is still under way");
}

#[test]
fn what_lives_serves_during_an_outage() {
    let mut pool = pool(LIMITS);
    let held = open(&mut pool, 1, A, at(0));
    for (who, key) in [(2, B), (3, A)] {
        assert_eq!(pool.acquire(client(who), key, at(0)), Acquire::Queued);
    }
    let failing = ordered(&mut pool);
    pool.connect_failed(failing, FailureKind::Unreachable, at(0));
    assert_eq!(orders(&mut pool), [Order::Refuse(client(2))]);
    pool.release(held, Outcome::Reuse, at(1));
    assert_eq!(orders(&mut pool), [Order::Hand { server: held, client: client(3) }]);
    assert_eq!(pool.acquire(client(4), A, at(1)), Acquire::Queued);
    pool.release(held, Outcome::Discard, at(1));
    assert_eq!(orders(&mut pool), [Order::Refuse(client(4))]);
}

#[test]
fn a_rejected_identity_is_not_tried_again_by_itself() {
    let mut pool = pool(Limits { min_per_group: 1, ..LIMITS });
    assert_eq!(pool.acquire(client(1), A, at(0)), Acquire::Queued);
    let server = ordered(&mut pool);
    pool.connect_failed(server, FailureKind::Rejected, at(0));
    assert_eq!(orders(&mut pool), [Order::Refuse(client(1))]);
    assert!(!pool.is_down());
    // While the identity lives, its waiters wait for that.
    let held = open(&mut pool, 1, A, at(1));
    assert_eq!(pool.acquire(client(2), A, at(1)), Acquire::Queued);
    let second = ordered(&mut pool);
    pool.connect_failed(second, FailureKind::Rejected, at(1));
    assert_eq!(orders(&mut pool), []);
    pool.release(held, Outcome::Discard, at(2));
    ordered(&mut pool);
}

#[test]
fn room_left_by_a_rejection_goes_to_others() {
    let mut pool = pool(Limits { per_node: 2, ..LIMITS });
    open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), A, at(0)), Acquire::Queued);
    let rejected = ordered(&mut pool);
    assert_eq!(pool.acquire(client(3), C, at(0)), Acquire::Queued);
    pool.connect_failed(rejected, FailureKind::Rejected, at(0));
    let orders = orders(&mut pool);
    assert!(matches!(orders.as_slice(), [Order::Connect { key: C, .. }]), "{orders:?}");
}

#[test]
fn idle_connections_above_the_minimum_are_closed_in_time() {
    let idle_timeout = Some(Duration::from_secs(10));
    let mut pool = pool(Limits { min_per_group: 1, idle_timeout, ..LIMITS });
    let (first, second) = (open(&mut pool, 1, A, at(0)), open(&mut pool, 2, A, at(0)));
    pool.release(first, Outcome::Reuse, at(1));
    pool.release(second, Outcome::Reuse, at(2));
    pool.handle_timeout(at(10));
    assert_eq!(orders(&mut pool), [], "both were lent since");
    assert_eq!(pool.poll_timeout(), Some(at(11)));
    pool.handle_timeout(at(11));
    assert_eq!(orders(&mut pool), [Order::Close(first)]);
    assert_eq!(pool.poll_timeout(), Some(at(12)));
    pool.handle_timeout(at(12));
    assert_eq!(orders(&mut pool), []);
    assert_eq!(pool.poll_timeout(), None, "the last is the minimum");
}

#[test]
fn old_connections_are_not_lent_again() {
    let mut pool = pool(Limits { lifetime: Some(Duration::from_secs(10)), ..LIMITS });
    let (first, second) = (open(&mut pool, 1, A, at(0)), open(&mut pool, 2, A, at(0)));
    pool.release(first, Outcome::Reuse, at(1));
    assert_eq!(pool.poll_timeout(), Some(at(10)));
    assert_eq!(pool.acquire(client(3), A, at(10)), Acquire::Queued);
    assert!(orders(&mut pool).contains(&Order::Close(first)));
    pool.release(second, Outcome::Reuse, at(11));
    assert!(orders(&mut pool).contains(&Order::Close(second)));
}

#[test]
fn a_database_is_left_and_stays_so_for_a_while() {
    let mut pool = pool(Limits { min_per_group: 1, ..LIMITS });
    let (first, second) = (open(&mut pool, 1, A, at(0)), open(&mut pool, 2, A, at(0)));
    pool.release(first, Outcome::Reuse, at(1));
    pool.vacate(A.group, at(6), at(1));
    assert_eq!(orders(&mut pool), [Order::Close(first)]);
    pool.release(second, Outcome::Reuse, at(5));
    assert_eq!(
        orders(&mut pool),
        [Order::Close(second)],
        "it is not kept, not even as the minimum"
    );
    // Whoever asks is served, and what comes for nobody goes.
    assert_eq!(pool.acquire(client(3), A, at(5)), Acquire::Queued);
    let third = ordered(&mut pool);
    assert_eq!(pool.withdraw(client(3), at(5)), None);
    pool.connected(third, at(5));
    assert_eq!(orders(&mut pool), [Order::Close(third)]);
    // Later the minimum is kept again.
    let fourth = open(&mut pool, 4, A, at(6));
    pool.release(fourth, Outcome::Reuse, at(6));
    assert_eq!(orders(&mut pool), []);
}

#[test]
fn one_in_use_has_a_successor_before_its_end() {
    let seconds = Duration::from_secs;
    let lifetime = Some(seconds(100));
    let mut pool = pool(Limits { lifetime, renew_ahead: seconds(10), ..LIMITS });
    let old = open(&mut pool, 1, A, at(0));
    assert_eq!(pool.poll_timeout(), Some(at(90)));
    pool.handle_timeout(at(90));
    let new = ordered(&mut pool);
    pool.connected(new, at(91));
    pool.release(old, Outcome::Reuse, at(100));
    assert_eq!(orders(&mut pool), [Order::Close(old)]);
    assert_eq!(pool.acquire(client(2), A, at(100)), Acquire::Granted(new));
    // One that nobody uses has none.
    pool.release(new, Outcome::Reuse, at(101));
    pool.handle_timeout(at(181));
    pool.handle_timeout(at(191));
    assert_eq!(orders(&mut pool), [Order::Close(new)]);
    assert_eq!(pool.poll_timeout(), None);
}

#[test]
fn where_there_is_no_room_a_successor_follows_at_the_end() {
    let seconds = Duration::from_secs;
    let limits =
        Limits { per_group: 1, lifetime: Some(seconds(100)), renew_ahead: seconds(10), ..LIMITS };
    let mut pool = pool(limits);
    let old = open(&mut pool, 1, A, at(0));
    pool.handle_timeout(at(90));
    assert_eq!(orders(&mut pool), []);
    pool.release(old, Outcome::Reuse, at(100));
    let orders = orders(&mut pool);
    assert!(
        matches!(orders.as_slice(), [Order::Close(it), Order::Connect { key: A, .. }] if *it == old),
        "{orders:?}"
    );
}

#[test]
fn those_that_came_together_do_not_end_together() {
    let seconds = Duration::from_secs;
    let limits = Limits {
        per_group: 8,
        per_node: 8,
        lifetime: Some(seconds(1_000)),
        lifetime_spread: seconds(100),
        ..LIMITS
    };
    let mut pool = pool(limits);
    let servers: Vec<_> = (0..8).map(|who| open(&mut pool, who, A, at(0))).collect();
    for server in servers {
        pool.release(server, Outcome::Reuse, at(0));
    }
    let mut ends = Vec::new();
    while let Some(now) = pool.poll_timeout() {
        pool.handle_timeout(now);
        ends.extend(orders(&mut pool).iter().map(|_| now));
    }
    assert_eq!(ends.len(), 8);
    ends.dedup();
    assert!(ends.len() > 4, "{ends:?}");
    assert!(ends.iter().all(|end| (at(900)..=at(1_000)).contains(end)), "{ends:?}");
}

#[test]
fn a_connection_serves_so_many_clients() {
    let mut pool = pool(Limits { max_clients: Some(2), ..LIMITS });
    let server = open(&mut pool, 1, A, at(0));
    for who in [1, 1, 2] {
        pool.release(server, Outcome::Reuse, at(1));
        assert_eq!(pool.acquire(client(who), A, at(1)), Acquire::Granted(server));
    }
    pool.release(server, Outcome::Reuse, at(1));
    assert_eq!(orders(&mut pool), [Order::Close(server)]);
}

#[test]
fn a_pause_keeps_the_places_in_the_queue() {
    let mut pool = pool(Limits { per_group: 1, ..LIMITS });
    let server = open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), A, at(0)), Acquire::Queued);
    pool.set_paused(A.group, true, at(0));
    pool.release(server, Outcome::Reuse, at(0));
    assert_eq!(orders(&mut pool), [], "nobody is served");
    assert_eq!(pool.acquire(client(3), A, at(1)), Acquire::Queued);
    // A transaction goes on to its end.
    assert_eq!(pool.acquire_in_pause(client(4), A, at(1)), Acquire::Granted(server));
    pool.release(server, Outcome::Discard, at(1));
    assert_eq!(orders(&mut pool), []);
    assert_eq!(pool.acquire_in_pause(client(5), A, at(1)), Acquire::Queued);
    let server = ordered(&mut pool);
    // What happens to the node is no matter of those who are held up.
    pool.connect_failed(server, FailureKind::Unreachable, at(1));
    assert_eq!(orders(&mut pool), [Order::Refuse(client(5))]);
    assert_eq!(pool.oldest_wait(at(3)), Some(Duration::from_secs(3)));
    pool.handle_timeout(at(2));
    let server = ordered(&mut pool);
    pool.connected(server, at(2));
    pool.set_paused(A.group, false, at(3));
    assert_eq!(orders(&mut pool), [Order::Hand { server, client: client(2) }]);
    pool.release(server, Outcome::Reuse, at(3));
    assert_eq!(orders(&mut pool), [Order::Hand { server, client: client(3) }]);
}

#[test]
fn what_cools_when_all_is_closed_is_closed_too() {
    let mut pool = pool(LIMITS);
    let server = open(&mut pool, 1, A, at(0));
    pool.cancel_started(server);
    pool.release(server, Outcome::Reuse, at(0));
    pool.close_idle();
    pool.cancel_finished(server, at(1));
    assert_eq!(orders(&mut pool), [Order::Close(server)]);
}

#[test]
fn new_limits_hold_at_once_for_what_is_free() {
    let mut pool = pool(LIMITS);
    let (first, second) = (open(&mut pool, 1, A, at(0)), open(&mut pool, 2, A, at(0)));
    let other = open(&mut pool, 3, C, at(0));
    pool.release(first, Outcome::Reuse, at(1));
    pool.set_limits(Limits { per_group: 1, per_node: 1, ..LIMITS }, at(2));
    assert_eq!(orders(&mut pool), [Order::Close(first)]);
    assert_eq!(pool.acquire(client(4), B, at(2)), Acquire::Queued);
    pool.release(second, Outcome::Reuse, at(3));
    assert_eq!(orders(&mut pool), [Order::Close(second)], "the node is still full");
    pool.release(other, Outcome::Reuse, at(3));
    assert_eq!(pool.view(), View { connecting: 1, waiting: 1, ..View::default() });
}

#[test]
fn a_minimum_above_the_limits_takes_nothing_from_others() {
    let mut pool = pool(Limits { min_per_group: 9, ..LIMITS });
    assert_eq!(pool.acquire(client(1), A, at(0)), Acquire::Queued);
    assert_eq!(orders(&mut pool).len(), 2);
    assert_eq!(pool.acquire(client(2), C, at(0)), Acquire::Queued);
    ordered(&mut pool);
    assert_eq!(pool.view().connecting, 3);
}

#[test]
fn withdrawing_finds_what_was_handed_meanwhile() {
    let mut pool = pool(Limits { per_group: 1, ..LIMITS });
    let server = open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), A, at(0)), Acquire::Queued);
    pool.release(server, Outcome::Reuse, at(1));
    assert_eq!(pool.withdraw(client(2), at(1)), Some(server));
    assert_eq!(orders(&mut pool), []);
    pool.release(server, Outcome::Reuse, at(1));
    assert_eq!(pool.view(), View { idle: 1, ..View::default() });
    pool.close_idle();
    assert_eq!(orders(&mut pool), [Order::Close(server)]);
}

#[test]
fn exhausted_is_where_only_other_clients_can_help() {
    let mut pool = pool(LIMITS);
    assert!(!pool.is_exhausted(A));
    let first = open(&mut pool, 1, A, at(0));
    assert!(!pool.is_exhausted(A), "room for a second one");
    let second = open(&mut pool, 2, A, at(0));
    assert!(pool.is_exhausted(A) && pool.is_exhausted(B));
    assert!(!pool.is_exhausted(C), "the node has room for one more");
    pool.release(second, Outcome::Reuse, at(1));
    assert!(!pool.is_exhausted(A) && !pool.is_exhausted(B));
    open(&mut pool, 3, C, at(1));
    assert!(!pool.is_exhausted(C), "the idle one can make room");
    assert_eq!(pool.acquire(client(4), A, at(2)), Acquire::Granted(second));
    assert!(pool.is_exhausted(A) && pool.is_exhausted(C), "the node is full");
    pool.release(first, Outcome::Discard, at(3));
    assert!(!pool.is_exhausted(A));
    assert_eq!(pool.acquire(client(5), A, at(3)), Acquire::Queued);
    assert!(pool.is_exhausted(A), "the one that is being opened is spoken for");
}

#[test]
fn after_reconnect_only_new_connections_are_lent() {
    let mut pool = pool(LIMITS);
    let first = open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), A, at(0)), Acquire::Queued);
    let second = ordered(&mut pool);
    pool.reconnect(at(1));
    // The one that is being opened leads to where nobody is to go any more.
    pool.connected(second, at(1));
    let all = orders(&mut pool);
    let [Order::Close(closed), Order::Connect { server: third, .. }] = all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(closed, second);
    pool.connected(third, at(2));
    assert_eq!(orders(&mut pool), [Order::Hand { server: third, client: client(2) }]);
    pool.release(first, Outcome::Reuse, at(2));
    assert_eq!(orders(&mut pool), [Order::Close(first)]);
    pool.release(third, Outcome::Reuse, at(2));
    assert_eq!(pool.view(), View { idle: 1, ..View::default() });
    pool.reconnect(at(3));
    assert_eq!(orders(&mut pool), [Order::Close(third)]);
}

#[test]
fn a_failure_of_before_says_nothing_after_reconnect() {
    let mut pool = pool(LIMITS);
    assert_eq!(pool.acquire(client(1), A, at(0)), Acquire::Queued);
    let old = ordered(&mut pool);
    pool.reconnect(at(0));
    pool.connect_failed(old, FailureKind::Unreachable, at(1));
    assert!(!pool.is_down());
    let new = ordered(&mut pool);
    pool.connect_failed(new, FailureKind::Unreachable, at(1));
    assert!(pool.is_down());
    pool.reconnect(at(1));
    assert!(!pool.is_down());
}

#[test]
fn a_closed_pool_serves_what_it_serves_and_nobody_else() {
    let limits = Limits { per_group: 1, min_per_group: 1, ..LIMITS };
    let mut pool = pool(limits.clone());
    let server = open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), A, at(0)), Acquire::Queued);
    pool.close_down();
    assert_eq!(orders(&mut pool), [Order::Refuse(client(2))]);
    assert_eq!(pool.acquire(client(3), A, at(1)), Acquire::Refused);
    pool.set_limits(limits, at(1));
    pool.release(server, Outcome::Reuse, at(1));
    assert_eq!(orders(&mut pool), [Order::Close(server)]);
    assert_eq!(pool.view(), View::default());
    pool.reopen();
    assert_eq!(pool.acquire(client(3), A, at(2)), Acquire::Queued);
    ordered(&mut pool);
}

#[test]
fn a_full_queue_is_said_at_once() {
    let mut pool = pool(Limits { per_group: 1, max_queue: Some(1), ..LIMITS });
    let server = open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), A, at(0)), Acquire::Queued);
    assert_eq!(pool.acquire(client(3), A, at(0)), Acquire::Full);
    assert_eq!(pool.acquire(client(4), C, at(0)), Acquire::Queued, "of another group");
    ordered(&mut pool);
    pool.release(server, Outcome::Reuse, at(1));
    assert_eq!(orders(&mut pool), [Order::Hand { server, client: client(2) }]);
    assert_eq!(pool.acquire(client(3), A, at(1)), Acquire::Queued);
}

#[test]
fn the_reserve_is_for_those_who_have_waited() {
    let mut pool = pool(Limits { reserve_timeout: Duration::from_secs(5), ..LIMITS });
    let bounds = Bounds { size: 1, min: 0, reserve: 1, shares: [None; 2] };
    pool.set_bounds(A.group, bounds, at(0));
    open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), A, at(1)), Acquire::Queued);
    assert_eq!(orders(&mut pool), []);
    assert_eq!(pool.poll_timeout(), Some(at(6)));
    pool.handle_timeout(at(5));
    assert_eq!(orders(&mut pool), []);
    pool.handle_timeout(at(6));
    let server = ordered(&mut pool);
    assert_eq!(pool.poll_timeout(), None);
    pool.connected(server, at(6));
    assert_eq!(orders(&mut pool), [Order::Hand { server, client: client(2) }]);
    assert_eq!(pool.acquire(client(3), A, at(7)), Acquire::Queued);
    pool.handle_timeout(at(20));
    assert_eq!(orders(&mut pool), [], "there is no more of it");
}

#[test]
fn shared_bounds_hold_over_groups() {
    let mut pool = pool(LIMITS);
    let share = Some(Share { id: 7, most: 1 });
    for group in [A.group, C.group] {
        let bounds = Bounds { size: 2, min: 0, reserve: 0, shares: [share, None] };
        pool.set_bounds(group, bounds, at(0));
    }
    let server = open(&mut pool, 1, A, at(0));
    assert_eq!(pool.acquire(client(2), C, at(0)), Acquire::Queued);
    assert_eq!(orders(&mut pool), []);
    assert!(pool.is_exhausted(C));
    pool.release(server, Outcome::Reuse, at(1));
    let all = orders(&mut pool);
    let [Order::Close(closed), Order::Connect { server: other, .. }] = all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(closed, server);
    pool.connected(other, at(1));
    assert_eq!(orders(&mut pool), [Order::Hand { server: other, client: client(2) }]);
}

#[test]
fn after_a_failure_few_log_in_at_a_time() {
    let limits = Limits { per_group: 9, per_node: 9, ..LIMITS };
    let mut pool = pool(limits);
    assert_eq!(pool.acquire(client(0), A, at(0)), Acquire::Queued);
    let failed = ordered(&mut pool);
    pool.connect_failed(failed, FailureKind::Unreachable, at(0));
    assert_eq!(orders(&mut pool), [Order::Refuse(client(0))]);
    pool.handle_timeout(at(1));
    let probe = ordered(&mut pool);
    pool.connected(probe, at(1));
    let mut most = 0;
    for n in 1..=9 {
        pool.acquire(client(n), A, at(2));
    }
    let mut open: Vec<ServerId> = Vec::new();
    let connects = |all: Vec<Order>| -> Vec<ServerId> {
        all.into_iter()
            .filter_map(|order| match order {
                Order::Connect { server, .. } => Some(server),
                _ => None,
            })
            .collect()
    };
    open.extend(connects(orders(&mut pool)));
    assert_eq!(open.len(), 2);
    while let Some(server) = open.pop() {
        pool.connected(server, at(3));
        open.extend(connects(orders(&mut pool)));
        most = most.max(open.len());
    }
    assert!(most > 2, "more after each success");
    assert_eq!(pool.view(), View { active: 9, ..View::default() });
}
