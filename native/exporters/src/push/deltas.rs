//! What counters and histograms rose by since they were last told.
//!
//! C1. What was there at the first look is not told: it rose before anybody asked.
//! C2. A series that comes later rose from nothing; one that fell begins anew. One that is gone is forgotten.

use std::collections::HashMap;

use kantoku_core::metrics::{Distribution, Family, Series, Value};

/// What was told last.
#[derive(Debug, Default)]
pub struct Deltas {
    told: HashMap<Key, Told>,
}

type Key = (String, Vec<(String, String)>);

#[derive(Debug)]
enum Told {
    Counter(f64),
    // The counts of the buckets, the one above them last.
    Histogram(Vec<u64>),
}

/// A series as it is told: a counter as its rise, a histogram as the rise of each bucket.
#[derive(Clone, Debug, PartialEq)]
pub enum Rise {
    Counter(f64),
    Gauge(f64),
    /// A value of the bucket, and how many came.
    Histogram(Vec<(f64, u64)>),
}

impl Deltas {
    /// C1.
    pub fn begin(families: &[Family]) -> Self {
        let mut deltas = Self::default();
        deltas.take(families, |_, _, _| {});
        deltas
    }

    /// Tells each series, and keeps what it came to.
    pub fn take<'f>(&mut self, families: &'f [Family], mut tell: impl FnMut(&'f Family, &'f Series, Rise)) {
        let mut now = HashMap::with_capacity(self.told.len());
        for family in families {
            for series in &family.series {
                let key = (family.name.clone(), series.labels.clone());
                let before = self.told.remove(&key);
                let (rise, told) = rise(&series.value, before);
                now.extend(told.map(|told| (key, told)));
                tell(family, series, rise);
            }
        }
        self.told = now;
    }
}

fn rise(value: &Value, before: Option<Told>) -> (Rise, Option<Told>) {
    match value {
        Value::Gauge(value) => (Rise::Gauge(*value), None),
        Value::Counter(value) => {
            let before = match before {
                Some(Told::Counter(before)) if before <= *value => before,
                _ => 0.0,
            };
            (Rise::Counter(value - before), Some(Told::Counter(*value)))
        }
        Value::Histogram(found) => {
            let counts = counts(found);
            let before = match before {
                Some(Told::Histogram(before)) if never_above(&before, &counts) => before,
                _ => vec![0; counts.len()],
            };
            let rises = counts.iter().zip(before).map(|(now, before)| now - before);
            let risen = values(found).into_iter().zip(rises).filter(|(_, rise)| *rise > 0);
            (Rise::Histogram(risen.collect()), Some(Told::Histogram(counts)))
        }
    }
}

fn never_above(before: &[u64], now: &[u64]) -> bool {
    before.len() == now.len() && before.iter().zip(now).all(|(before, now)| before <= now)
}

fn counts(found: &Distribution) -> Vec<u64> {
    let buckets = found.buckets.iter().map(|(_, count)| *count);
    buckets.chain([found.above]).collect()
}

// One value for all of a bucket: its middle; its bound where it has no other, as the first one's and that above all.
fn values(found: &Distribution) -> Vec<f64> {
    let bounds = || found.buckets.iter().map(|(bound, _)| *bound);
    let lower = std::iter::once(0.0_f64).chain(bounds());
    let middles = lower.zip(bounds()).map(|(lower, upper)| {
        if upper > lower {
            lower + (upper - lower) / 2.0
        } else {
            upper
        }
    });
    let last = bounds().next_back().unwrap_or(0.0);
    middles.chain([last]).collect()
}
