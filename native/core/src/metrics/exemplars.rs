//! Observations that were made within a trace, a few of each histogram: they lead from a figure to a trace that it is made of.
//!
//! X1. Of a series the last of each size are kept, a power of two being a size, and of at most [`SIZES`]: the oldest gives way.
//! X2. No more than [`SERIES`] series have some, so that all of it is bounded; what comes beyond is not kept.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::snapshot::{Exemplar, Family, Value};

/// Sizes of observations of which one is kept, of each series.
pub const SIZES: usize = 16;

/// Series that have some.
pub const SERIES: usize = 256;

#[derive(Debug, Default)]
pub struct Exemplars {
    by_family: HashMap<String, ByValues, FixedState>,
    series: usize,
}

type ByValues = HashMap<Vec<String>, Vec<Exemplar>, FixedState>;

impl Exemplars {
    /// Keeps one, unless there is no room; whether it did.
    pub fn note(&mut self, name: &str, values: &[&str], exemplar: Exemplar) -> bool {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        let known = self
            .by_family
            .get(name)
            .is_some_and(|all| all.contains_key(&values));
        if !known {
            if self.series == SERIES {
                return false;
            }
            self.series += 1;
        }
        let all = self.by_family.entry_ref(name).or_default();
        keep(all.entry(values).or_default(), exemplar);
        true
    }

    /// Those of a series that is no more.
    pub fn forget(&mut self, name: &str, values: &[&str]) {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        let gone = self.by_family.get_mut(name).and_then(|all| all.remove(&values));
        self.series -= usize::from(gone.is_some());
    }

    /// Puts them beside what was read, whose series have so many labels in `common`.
    pub fn join(&self, families: &mut [Family], common: usize) {
        for family in families {
            let Some(all) = self.by_family.get(family.name.as_str()) else {
                continue;
            };
            for series in &mut family.series {
                let values: Vec<String> = series.labels[common..]
                    .iter()
                    .map(|(_, value)| value.clone())
                    .collect();
                if let (Value::Histogram(found), Some(kept)) = (&mut series.value, all.get(&values)) {
                    found.exemplars.clone_from(kept);
                }
            }
        }
    }

    pub fn bytes(&self) -> usize {
        let texts = |(name, value): &(String, String)| name.capacity() + value.capacity();
        let one = |exemplar: &Exemplar| {
            exemplar.labels.capacity() * size_of::<(String, String)>()
                + exemplar.labels.iter().map(texts).sum::<usize>()
        };
        let of_series = |(values, kept): (&Vec<String>, &Vec<Exemplar>)| {
            let values =
                values.capacity() * size_of::<String>() + values.iter().map(String::capacity).sum::<usize>();
            values + kept.capacity() * size_of::<Exemplar>() + kept.iter().map(one).sum::<usize>()
        };
        let of_family = |(name, all): (&String, &ByValues)| {
            name.capacity() + all.allocation_size() + all.iter().map(of_series).sum::<usize>()
        };
        self.by_family.allocation_size() + self.by_family.iter().map(of_family).sum::<usize>()
    }
}

fn keep(kept: &mut Vec<Exemplar>, exemplar: Exemplar) {
    let size = size(exemplar.value);
    kept.retain(|other| self::size(other.value) != size);
    if kept.len() == SIZES {
        let oldest = (0..kept.len()).min_by(|&one, &other| kept[one].at.total_cmp(&kept[other].at));
        // In its order, which is that of their values.
        oldest.map(|oldest| kept.remove(oldest));
    }
    let after = kept.partition_point(|other| other.value < exemplar.value);
    kept.insert(after, exemplar);
}

// Which power of two it is below.
fn size(value: f64) -> i32 {
    value.log2().floor() as i32
}
