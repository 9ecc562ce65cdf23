//! Counters and gauges.
//!
//! N1. What was added to a counter is in every reading that begins later, once, whoever adds at the same time.
//! N2. A gauge says what was set last, with all that was added since.

use crossbeam_utils::CachePadded;

use super::shard::{SHARDS, shard};
use crate::sync::atomic::{AtomicU64, Ordering};

/// What only grows. Whole numbers are added without looking at what was there.
#[derive(Debug)]
pub struct Counter {
    whole: [CachePadded<AtomicU64>; SHARDS],
    /// What was no whole number, as the bits of a float.
    parts: AtomicU64,
}

impl Default for Counter {
    fn default() -> Self {
        Self {
            whole: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(0))),
            parts: AtomicU64::new(0),
        }
    }
}

impl Counter {
    // Relaxed, here and below: no other memory is read by these words.
    #[inline]
    pub fn add(&self, more: u64) {
        self.whole[shard()].fetch_add(more, Ordering::Relaxed);
    }

    /// `more` is finite, and not below 0. Whether it was added: the sum stays finite too.
    pub fn add_part(&self, more: f64) -> bool {
        add_float(&self.parts, more)
    }

    pub fn read(&self) -> f64 {
        let load = |word: &CachePadded<AtomicU64>| word.load(Ordering::Relaxed);
        let whole = self.whole.iter().map(load).fold(0, u64::wrapping_add);
        whole as f64 + f64::from_bits(self.parts.load(Ordering::Relaxed))
    }
}

/// What rises and falls.
#[derive(Debug)]
pub struct Gauge(AtomicU64);

impl Default for Gauge {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Gauge {
    #[inline]
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Whether it was added: the sum stays finite.
    pub fn add(&self, more: f64) -> bool {
        add_float(&self.0, more)
    }

    pub fn read(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

fn add_float(word: &AtomicU64, more: f64) -> bool {
    let added = |bits: u64| {
        let sum = f64::from_bits(bits) + more;
        sum.is_finite().then(|| sum.to_bits())
    };
    word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added)
        .is_ok()
}
