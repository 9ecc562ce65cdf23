//! What two looks at all families say of the time between them: rates, quantiles, and how things stand.

use std::collections::BTreeMap;

use kantoku_core::metrics::{Family, Series};

use super::Key;
use crate::push::{Deltas, Rise};

/// What was seen last.
#[derive(Debug, Default)]
pub struct Looks {
    deltas: Option<Deltas>,
}

// A family, what it is called here, and whether pools have a course of their own.
const RATES: [(&str, &str); 2] = [
    ("kantoku_pool_requests", "throughput"),
    ("kantoku_agent_restarts", "restarts"),
];
const GAUGES: [(&str, &str); 3] = [
    ("kantoku_pool_queue", "queue"),
    ("kantoku_pool_ongoing", "busy"),
    ("kantoku_pool_workers", "size"),
];
const DURATIONS: &str = "kantoku_pool_request_duration_seconds";
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

type Spread = Vec<(f64, u64)>;

#[derive(Default)]
struct Found {
    sums: BTreeMap<Key, f64>,
    spreads: BTreeMap<(String, Option<String>), Spread>,
}

impl Looks {
    /// What was found, so many seconds after the look before. The first look finds how things stand, and nothing that rises.
    pub fn take(&mut self, families: Vec<Family>, seconds: f64) -> Vec<(Key, f64)> {
        let families: Vec<Family> = families.into_iter().filter(is_looked_at).collect();
        let first = self.deltas.is_none();
        let deltas = self.deltas.get_or_insert_with(|| Deltas::begin(&families));
        let mut found = Found::default();
        deltas.take(&families, |family, series, rise| match rise {
            Rise::Counter(rise) if !first => {
                found.add(series, named(&RATES, &family.name), rise / seconds.max(0.001))
            }
            Rise::Gauge(value) if is_counted(series) => {
                found.add(series, named(&GAUGES, &family.name), value)
            }
            Rise::Histogram(rises) if !first => found.spread(series, rises),
            _ => {}
        });
        found.courses()
    }

    /// What it keeps from look to look.
    pub fn bytes(&self) -> usize {
        self.deltas.as_ref().map_or(0, Deltas::bytes)
    }
}

fn is_looked_at(family: &Family) -> bool {
    family.name == DURATIONS
        || named(&RATES, &family.name)
            .or(named(&GAUGES, &family.name))
            .is_some()
}

fn named<'n>(names: &[(&str, &'n str)], family: &str) -> Option<&'n str> {
    names
        .iter()
        .find(|(name, _)| *name == family)
        .map(|(_, course)| *course)
}

// Of workers those that take work.
fn is_counted(series: &Series) -> bool {
    label(series, "state").is_none_or(|state| state == "ready")
}

fn label<'s>(series: &'s Series, name: &str) -> Option<&'s str> {
    let found = series.labels.iter().find(|(label, _)| label == name);
    found.map(|(_, value)| value.as_str())
}

impl Found {
    // To the whole, and to its pool if it is of one.
    fn add(&mut self, series: &Series, name: Option<&str>, value: f64) {
        let (Some(name), Some(instance)) = (name, label(series, "instance")) else {
            return;
        };
        let pool = label(series, "pool");
        *self.sums.entry(Key::of(instance, name, None)).or_default() += value;
        if pool.is_some() {
            *self.sums.entry(Key::of(instance, name, pool)).or_default() += value;
        }
    }

    fn spread(&mut self, series: &Series, rises: Spread) {
        let Some(instance) = label(series, "instance") else {
            return;
        };
        let mut to = |pool: Option<&str>| {
            let place = (instance.to_owned(), pool.map(str::to_owned));
            self.spreads.entry(place).or_default().extend(&rises);
        };
        to(None);
        if let Some(pool) = label(series, "pool") {
            to(Some(pool));
        }
    }

    fn courses(self) -> Vec<(Key, f64)> {
        let mut courses: Vec<(Key, f64)> = self.sums.into_iter().collect();
        for ((instance, pool), mut spread) in self.spreads {
            spread.sort_by(|(one, _), (other, _)| one.total_cmp(other));
            for (name, share) in QUANTILES {
                let key = Key::of(&instance, name, pool.as_deref());
                courses.extend(quantile(&spread, share).map(|value| (key, value)));
            }
        }
        courses
    }
}

// `None` of none: in that time nothing ended.
fn quantile(spread: &Spread, share: f64) -> Option<f64> {
    let total: u64 = spread.iter().map(|(_, count)| count).sum();
    let rank = (share * total as f64).ceil() as u64;
    let mut seen = 0;
    let reached = spread.iter().find(|(_, count)| {
        seen += count;
        seen >= rank
    });
    reached.filter(|_| total > 0).map(|(value, _)| *value)
}
