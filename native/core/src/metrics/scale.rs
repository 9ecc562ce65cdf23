//! Where an observation is counted: buckets whose width grows with what they hold, so that the error is relative and memory is not.
//!
//! Observations are whole *ticks*. Each power of two from `2^LOWEST` to `2^HIGHEST` is cut into `2^SUB` buckets of the same width, as
//! in Gil Tene's HdrHistogram. So a bucket is at most a thirty-second of its own bound wide, and its middle at most 1.6 % from whatever
//! is in it. With a tick of one nanosecond that is from a microsecond to more than an hour. What is less has one bucket, what is
//! more another.

use std::ops::Range;

#[cfg(not(kantoku_loom))]
mod size {
    pub const LOWEST: u32 = 10;
    pub const HIGHEST: u32 = 42;
    pub const SUB: u32 = 5;
}

// Few, as loom looks at each of them.
#[cfg(kantoku_loom)]
mod size {
    pub const LOWEST: u32 = 10;
    pub const HIGHEST: u32 = 11;
    pub const SUB: u32 = 0;
}

use size::{HIGHEST, LOWEST, SUB};

/// How many have a bound; one more is above them all.
pub const BOUNDED: usize = (((HIGHEST - LOWEST) as usize) << SUB) + 1;

pub const BUCKETS: usize = BOUNDED + 1;

/// The least that is told apart from less.
pub const LEAST: u64 = 1 << LOWEST;

/// What is more is counted as this, the largest whole number up to which a float has them all: so thousands of the largest come to less than a
/// sum can hold.
pub const MOST: u64 = 1 << 53;

/// The bucket of an observation: that with the lowest bound which is not below it.
#[inline]
pub fn bucket(ticks: u64) -> usize {
    let below = ticks.saturating_sub(1);
    if below < LEAST {
        return 0;
    }
    let octave = below.ilog2();
    if octave >= HIGHEST {
        return BOUNDED;
    }
    let part = (below >> (octave - SUB)) as usize & ((1 << SUB) - 1);
    1 + (((octave - LOWEST) as usize) << SUB) + part
}

/// The highest that a bucket holds; for one that has a bound.
pub fn bound(bucket: usize) -> u64 {
    let Some(at) = bucket.checked_sub(1) else {
        return LEAST;
    };
    let octave = LOWEST + (at >> SUB) as u32;
    let part = (at & ((1 << SUB) - 1)) as u64;
    (1 << octave) + ((part + 1) << (octave - SUB))
}

/// The buckets that have a bound, by the power of two that they are cut from; first the one below them all.
pub fn octaves() -> impl Iterator<Item = Range<usize>> {
    let cut = (0..(HIGHEST - LOWEST) as usize).map(|at| 1 + (at << SUB)..1 + ((at + 1) << SUB));
    std::iter::once(0..1).chain(cut)
}

/// What is taken for whatever a bucket holds: its middle, or the only bound it has.
pub fn middle(bucket: usize) -> u64 {
    match bucket {
        0 => LEAST,
        BOUNDED => bound(BOUNDED - 1),
        bucket => bound(bucket - 1).midpoint(bound(bucket)),
    }
}
