//! What counters and histograms rose by since they were last told.
//!
//! C1. What was there at the first look is not told: it rose before anybody asked.
//! C2. A series that comes later rose from nothing; one that fell begins anew. One that is gone is forgotten.
//! C3. So does a bucket that comes later: a histogram tells of those only that hold something. One that is gone has fallen.

use std::collections::HashMap;

use kantoku_core::metrics::{Distribution, Family, Series, Value, labels_heap};

use super::places::places;

/// What was told last.
#[derive(Debug, Default)]
pub struct Deltas {
    told: HashMap<Key, Told>,
}

type Key = (String, Vec<(String, String)>);

// Of each bucket its bound and what it holds, that above them all last.
type Counts = Vec<(f64, u64)>;

#[derive(Debug)]
enum Told {
    Counter(f64),
    Histogram(Counts),
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

    /// What it holds: places for so many series, and what those point to.
    pub fn bytes(&self) -> usize {
        let heap = self
            .told
            .iter()
            .map(|((family, labels), told)| family.capacity() + labels_heap(labels) + told.heap());
        places::<(Key, Told)>(self.told.capacity()) + heap.sum::<usize>()
    }
}

impl Told {
    fn heap(&self) -> usize {
        match self {
            Told::Counter(_) => 0,
            Told::Histogram(counts) => counts.capacity() * size_of::<u64>(),
        }
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
                Some(Told::Histogram(before)) => before,
                _ => Counts::new(),
            };
            let rises =
                rises(&before, &counts).unwrap_or_else(|| counts.iter().map(|(_, now)| *now).collect());
            let risen = values(found).into_iter().zip(rises).filter(|(_, rise)| *rise > 0);
            (Rise::Histogram(risen.collect()), Some(Told::Histogram(counts)))
        }
    }
}

fn counts(found: &Distribution) -> Counts {
    let above = (f64::INFINITY, found.above);
    found.buckets.iter().copied().chain([above]).collect()
}

// C3: what each bucket rose by; `None` if any fell.
fn rises(before: &Counts, now: &Counts) -> Option<Vec<u64>> {
    let mut held = before.iter().filter(|(_, count)| *count > 0).peekable();
    let mut rises = Vec::with_capacity(now.len());
    for (bound, count) in now {
        let had = held
            .next_if(|(other, _)| other == bound)
            .map_or(0, |(_, count)| *count);
        rises.push(count.checked_sub(had)?);
    }
    held.next().is_none().then_some(rises)
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
