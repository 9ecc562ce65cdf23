//! All metrics of an instance: families by name, series by the values of their labels.
//!
//! What is recorded goes to a series that somebody was given, and passes nothing here. What is said here is behind one lock, and seldom.
//!
//! M1. Two who ask for the same family and values are given the same series.
//! M2. A family has at most as many series of its own as its limit says. Who asks for one more is given the one of which each label is
//!     [`OTHER`], and is counted.
//! M3. Nothing is kept that would be beyond the limit of bytes: who asks for it is refused.

use std::fmt;

use super::family::{Description, Family, Owned, Series};
use super::snapshot::{self, Kind, Value};
use crate::sync::{Arc, RwLock};

/// What each label of that series says which stands for all that were one too many.
pub const OTHER: &str = "other";

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one family.
    pub series: usize,
    /// Of all.
    pub bytes: usize,
}

/// Why there is no such series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no metric {name}")]
    Unknown { name: String },
    #[error("{name} is known as a {kind:?} of {labels:?}")]
    Different {
        name: String,
        kind: Kind,
        labels: Vec<String>,
    },
    #[error("{name} has {expected} labels")]
    Labels { name: String, expected: usize },
    #[error("no more than {limit} bytes are kept")]
    Full { limit: usize },
}

/// `R` says where to read what is not recorded but asked for.
#[derive(Debug)]
pub struct Metrics<R> {
    /// On each series, before its own.
    common: Vec<(String, String)>,
    limits: Limits,
    kept: RwLock<Kept<R>>,
}

#[derive(Debug)]
struct Kept<R> {
    families: Vec<Family<R>>,
    bytes: usize,
}

impl<R> Kept<R> {
    fn find(&mut self, name: &str) -> Result<&mut Family<R>, Refusal> {
        let known = self.families.iter_mut().find(|family| family.is(name));
        known.ok_or_else(|| Refusal::Unknown {
            name: name.to_owned(),
        })
    }
}

impl<R: fmt::Debug> Metrics<R> {
    pub fn new(common: Vec<(String, String)>, limits: Limits) -> Self {
        let kept = Kept {
            families: Vec::new(),
            bytes: 0,
        };
        Self {
            common,
            limits,
            kept: RwLock::new(kept),
        }
    }

    /// Makes a family known. The same one again changes nothing.
    pub fn declare(&self, description: Description) -> Result<(), Refusal> {
        let mut kept = self.kept.write();
        if let Ok(known) = kept.find(&description.name) {
            return known.is_like(&description);
        }
        let bytes = self.room_for(&kept, description.bytes())?;
        kept.bytes = bytes;
        kept.families.push(Family::new(description));
        Ok(())
    }

    /// The series of a family to record at, and whether it is that of all others.
    pub fn series(&self, name: &str, values: &[&str]) -> Result<(Arc<Series>, bool), Refusal> {
        let mut kept = self.kept.write();
        let family = kept.find(name)?;
        family.takes(values)?;
        if let Some(known) = family.series(values) {
            return Ok((known, false));
        }
        let folded = family.len() >= self.limits.series && !values.is_empty();
        let others = vec![OTHER; values.len()];
        let values = if folded { &others } else { values };
        if let Some(known) = family.series(values) {
            family.fold();
            return Ok((known, true));
        }
        let bytes = family.bytes_of(values);
        let bytes = self.room_for(&kept, bytes)?;
        kept.bytes = bytes;
        let family = kept.find(name)?;
        if folded {
            family.fold();
        }
        Ok((family.add(values), folded))
    }

    /// A series that is read where `reading` says, when somebody looks; in place of what was there. Whether it has a place: none that is
    /// read stands for others.
    pub fn bind(&self, name: &str, values: &[&str], reading: R) -> Result<bool, Refusal> {
        let mut kept = self.kept.write();
        let family = kept.find(name)?;
        family.takes(values)?;
        if family.knows(values) {
            family.rebind(values, reading);
            return Ok(true);
        }
        if family.len() >= self.limits.series {
            family.fold();
            return Ok(false);
        }
        let bytes = family.bytes_of_bound(values);
        let bytes = self.room_for(&kept, bytes)?;
        kept.bytes = bytes;
        kept.find(name)?.bind(values, reading);
        Ok(true)
    }

    /// What is kept once so much more is.
    fn room_for(&self, kept: &Kept<R>, more: usize) -> Result<usize, Refusal> {
        let Limits { bytes: limit, .. } = self.limits;
        let bytes = kept.bytes + more;
        if bytes > limit {
            return Err(Refusal::Full { limit });
        }
        Ok(bytes)
    }

    /// All that was measured, as far as `read` can say it: who records is not held up, who declares is.
    pub fn snapshot(&self, read: impl Fn(&R) -> Option<Value>) -> Vec<snapshot::Family> {
        let kept = self.kept.read();
        let shown = kept
            .families
            .iter()
            .map(|family| family.show(&self.common, &read));
        let mut families: Vec<snapshot::Family> = shown.filter(|family| !family.series.is_empty()).collect();
        families.extend(self.folded(&kept));
        families
    }

    fn folded(&self, kept: &Kept<R>) -> Option<snapshot::Family> {
        let folded = kept.families.iter().filter(|family| family.folded() > 0);
        let series = |family: &Family<R>| {
            let own = ("metric".to_owned(), family.name().to_owned());
            snapshot::Series {
                labels: self.common.iter().cloned().chain([own]).collect(),
                value: Value::Counter(family.folded() as f64),
            }
        };
        let series: Vec<snapshot::Series> = folded.map(series).collect();
        (!series.is_empty()).then(|| snapshot::Family {
            name: "kantoku_metrics_folded".to_owned(),
            help: "How often a series was asked for that was one too many, and that of all others was given."
                .to_owned(),
            unit: None,
            kind: Kind::Counter,
            series,
        })
    }

    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.kept.read().bytes
    }
}

/// The series that somebody holds of a family that is known, for who reads one alone.
pub fn quantile(series: &Series, quantile: f64) -> Option<f64> {
    match series {
        Series {
            own: Owned::Histogram(histogram),
            ticks,
        } => histogram.quantile(quantile).map(|found| found as f64 / ticks),
        _ => None,
    }
}
