//! Random worlds: whatever happens, replies reach who asked, and nothing is left over.
//!
//! `SIM_SEEDS=n` runs that many worlds, `SIM_SEED=n` replays one with its trace.

use std::collections::BTreeMap;

use pool_router::testing::{Outcome, random_session};

const SEEDS: u64 = 300;

#[expect(clippy::disallowed_methods, reason = "how many worlds is the caller's choice")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn replies_reach_who_asked() {
    if let Some(seed) = number("SIM_SEED") {
        match random_session(seed, true) {
            Ok(report) => println!("seed {seed}: {report:?}"),
            Err(failed) => panic!("SIM_SEED={seed}\n{failed}"),
        }
        return;
    }
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    let (mut rows, mut writes, mut events, mut failures) = (0, 0, 0, Vec::new());
    for seed in 0..number("SIM_SEEDS").unwrap_or(SEEDS) {
        match random_session(seed, false) {
            Ok(report) => {
                for (outcome, n) in report.outcomes {
                    *outcomes.entry(outcome).or_default() += n;
                }
                rows += report.rows;
                writes += report.writes;
                events += report.events;
            }
            Err(failed) => failures.push((seed, failed)),
        }
    }
    println!("{outcomes:?}, {rows} rows, {writes} writes, {events} events");
    for (seed, failed) in failures.iter().take(10) {
        println!("SIM_SEED={seed}: {failed}");
    }
    let seeds: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(failures.is_empty(), "failed: SIM_SEED of {seeds:?}");
    // Worlds in which nobody is served would prove nothing.
    assert!(outcomes.get(&Outcome::Served).copied().unwrap_or(0) > 0);
    assert!(rows > 0 && writes > 0);
}

#[test]
fn a_seed_tells_the_whole_story() {
    for seed in 0..10 {
        let runs = [random_session(seed, false), random_session(seed, false)];
        let [first, second] = runs.map(|run| run.ok().map(|report| report.events));
        assert_eq!(first, second, "seed {seed}");
    }
}
