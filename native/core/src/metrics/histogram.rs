//! How observations are spread, in bounded memory.
//!
//! H1. Each record is counted in one bucket, once, and stays there: what a bucket says never falls.
//! H2. A reading has every record that ended before it began, and none that began after it ended. It stops nobody.
//! H3. Its count is what its buckets come to. Its sum is read apart from them, so it may have a record under way that they have not.
//! H4. A quantile is within 3 % of an observation of that rank, where that is within the scale.

use crossbeam_utils::CachePadded;

use super::scale::{self, BOUNDED, BUCKETS, MOST};
use super::shard::{SHARDS, shard};
use super::snapshot::Distribution;
use crate::sync::atomic::{AtomicU64, Ordering};

/// One array of buckets, as threads rarely want the same one; what all of them add to has a place for each few threads.
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    sums: [CachePadded<AtomicU64>; SHARDS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sums: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(0))),
        }
    }
}

impl Histogram {
    /// One observation.
    // Relaxed: no other memory is read by what is counted here, and H2 needs no more than that each word has one order.
    #[inline]
    pub fn record(&self, ticks: u64) {
        let ticks = ticks.min(MOST);
        self.sums[shard()].fetch_add(ticks, Ordering::Relaxed);
        self.counts[scale::bucket(ticks)].fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> Reading {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        Reading {
            counts: self.counts.iter().map(load).collect(),
            sum: self
                .sums
                .iter()
                .fold(0, |sum, word| sum.wrapping_add(word.load(Ordering::Relaxed))),
        }
    }

    /// As that of a reading, without keeping one.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let mut counts = [0; BUCKETS];
        for (count, word) in counts.iter_mut().zip(&self.counts) {
            *count = word.load(Ordering::Relaxed);
        }
        quantile_of(&counts, quantile)
    }

    /// What one takes.
    pub const BYTES: usize = size_of::<Self>() + BUCKETS * size_of::<AtomicU64>();
}

/// What a histogram had at one time, or several together; or what is counted where one alone writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    counts: Box<[u64]>,
    sum: u64,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            sum: 0,
        }
    }
}

impl Reading {
    /// One observation that stands for so many.
    #[inline]
    pub fn record(&mut self, ticks: u64, times: u64) {
        self.counts[scale::bucket(ticks)] += times;
        self.sum = self.sum.wrapping_add(ticks.wrapping_mul(times));
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.counts)
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// In ticks.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// The ticks at which a share (0 to 1) of what was observed is not above; `None` of nothing.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        quantile_of(&self.counts, quantile)
    }

    /// With bounds in a unit of so many ticks: from the lowest octave that holds something up, all buckets of those that do, and of others the last.
    /// So bounds stay the same but where an octave is new, and what several hold can be added up, bound by bound.
    pub fn distribution(&self, ticks: f64) -> Distribution {
        let bound = |bucket| scale::bound(bucket) as f64 / ticks;
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for octave in scale::octaves() {
            let (first, last) = (octave.start, octave.end - 1);
            let counts = &self.counts[octave];
            if counts.iter().any(|&count| count > 0) {
                if first > 0 && buckets.is_empty() {
                    buckets.push((bound(first - 1), 0));
                }
                buckets.extend((first..).map(bound).zip(counts.iter().copied()));
            } else if !buckets.is_empty() {
                buckets.push((bound(last), 0));
            }
        }
        if buckets.is_empty() && self.counts[BOUNDED] > 0 {
            buckets.push((bound(BOUNDED - 1), 0));
        }
        Distribution {
            buckets,
            above: self.counts[BOUNDED],
            sum: self.sum as f64 / ticks,
            count: self.count(),
            exemplars: Vec::new(),
        }
    }
}

fn quantile_of(counts: &[u64], quantile: f64) -> Option<u64> {
    let count: u64 = counts.iter().sum();
    let rank = ((quantile.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count.max(1));
    let mut seen = 0;
    let reaches = |&count: &u64| {
        seen += count;
        seen >= rank
    };
    counts.iter().position(reaches).map(scale::middle)
}
