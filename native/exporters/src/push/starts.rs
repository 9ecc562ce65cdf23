//! Since when each series counts, which OTLP says with every cumulative point.
//!
//! Z1. What was there at the first look counts since the beginning. What came later, or fell, counts since the round before: so a reader sees that it
//!     began anew, and takes nothing of before it off (opentelemetry-proto, "Resets and Gaps").

use std::collections::HashMap;

use kantoku_core::metrics::{Family, Series, Value, labels_heap};

use super::places::places;

#[derive(Debug)]
pub struct Starts {
    // Where nothing was looked at yet, since the beginning; else the last round.
    before: u64,
    known: HashMap<String, HashMap<Labels, Begun>>,
}

type Labels = Vec<(String, String)>;

#[derive(Clone, Copy, Debug)]
struct Begun {
    at: u64,
    came_to: f64,
}

impl Starts {
    /// All counts since then, in Unix nanoseconds.
    pub fn new(since: u64) -> Self {
        Self {
            before: since,
            known: HashMap::new(),
        }
    }

    /// What is told now, and nothing else, is known from here on.
    pub fn look(&mut self, families: &[Family], now: u64) {
        let mut known = HashMap::with_capacity(families.len());
        for family in families {
            let counting = family.series.iter().filter_map(|series| {
                let came_to = count(&series.value)?;
                let at = self.begun(family, series, came_to);
                Some((series.labels.clone(), Begun { at, came_to }))
            });
            known.insert(family.name.clone(), counting.collect());
        }
        self.known = known;
        self.before = now;
    }

    fn begun(&self, family: &Family, series: &Series, came_to: f64) -> u64 {
        match self.found(family, series) {
            Some(begun) if begun.came_to <= came_to => begun.at,
            _ => self.before,
        }
    }

    fn found(&self, family: &Family, series: &Series) -> Option<Begun> {
        self.known.get(&family.name)?.get(&series.labels).copied()
    }

    /// What it holds: places for so many series, and what those point to.
    pub fn bytes(&self) -> usize {
        let families = self.known.iter();
        let heap = families.map(|(family, known)| family.capacity() + heap(known));
        places::<(String, HashMap<Labels, Begun>)>(self.known.capacity()) + heap.sum::<usize>()
    }

    /// Since when it counts; 0 if it does not.
    pub fn of(&self, family: &Family, series: &Series) -> u64 {
        self.found(family, series).map_or(0, |begun| begun.at)
    }
}

fn heap(known: &HashMap<Labels, Begun>) -> usize {
    places::<(Labels, Begun)>(known.capacity()) + known.keys().map(labels_heap).sum::<usize>()
}

fn count(value: &Value) -> Option<f64> {
    match value {
        Value::Counter(count) => Some(*count),
        Value::Histogram(found) => {
            let counts = found.buckets.iter().map(|(_, count)| count);
            Some((counts.sum::<u64>() + found.above) as f64)
        }
        Value::Gauge(_) => None,
    }
}
