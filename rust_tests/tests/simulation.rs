//! One seed, many steps, every invariant after each (R1 to R6, D1 to D4 of `kantoku_core`).
//!
//! `KANTOKU_SIM_STEPS` sets how many, `KANTOKU_SEED` replays a run that failed.
#![cfg(not(kantoku_loom))]

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use kantoku_rust_tests::simulation::Simulation;

/// Tells how to see a failure again.
struct Replay {
    seed: u64,
    steps: u64,
    at: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay { seed, steps, at } = self;
            eprintln!(
                "failed in step {at}; replay with KANTOKU_SEED={seed} KANTOKU_SIM_STEPS={steps} \
                 cargo test -p kantoku_rust_tests --test simulation"
            );
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .expect("KANTOKU_SEED and KANTOKU_SIM_STEPS are integers"),
    )
}

fn simulate(seed: u64, steps: u64) -> u64 {
    let mut replay = Replay { seed, steps, at: 0 };
    let mut simulation = Simulation::new(seed, steps);
    while replay.at < steps {
        replay.at += 1;
        simulation.step();
    }
    simulation.end();
    simulation.digest()
}

#[test]
fn simulation_keeps_every_invariant_after_each_step() {
    let seed = from_environment("KANTOKU_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    let steps = from_environment("KANTOKU_SIM_STEPS").unwrap_or(250_000);
    let started = Instant::now();
    simulate(seed, steps);
    println!(
        "{steps} steps of seed {seed} in {} ms",
        started.elapsed().as_millis()
    );
}

#[test]
fn simulation_of_one_seed_is_the_same_each_time() {
    assert_eq!(simulate(11, 10_000), simulate(11, 10_000));
    assert_ne!(simulate(11, 10_000), simulate(12, 10_000));
}
