//! What the tests of this folder share.

pub mod agenda;
pub mod checked;
#[cfg(not(kantoku_loom))]
pub mod collector;
pub mod counting;
pub mod figures;
#[cfg(kantoku_loom)]
pub mod orders;
pub mod reference;
pub mod simulation;
pub mod store;
pub mod world;

/// How many cases a property runs: `usual`, and in the longer runs KANTOKU_TIMES as many.
#[must_use]
pub fn cases(usual: u32) -> u32 {
    let times: u32 = std::env::var("KANTOKU_TIMES")
        .map_or(1, |times| times.parse().expect("KANTOKU_TIMES is a whole number"));
    usual * times
}
