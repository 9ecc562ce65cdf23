//! All metrics of an instance: families by name, series by the values of their labels.
//!
//! What is recorded goes to a series that somebody was given, and passes nothing here. What is said here is behind one lock, which who
//! asks for what is there already, or for what is one too many, shares with all others who do.
//!
//! M1. Two who ask for the same family and values are given the same series.
//! M2. A family has at most as many series of its own as its limit says. Who asks for one more is given the one of which each label is
//!     [`OTHER`], and is counted. What is bound beyond it is summed there.
//! M3. Nothing is kept that would be beyond the limit of bytes: who asks for it is refused. All that is kept is counted.
//! M4. Nobody reads with the lock held: neither histograms nor what is bound.

use std::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::exemplars::Exemplars;
use super::family::{Description, Family};
use super::look::{self, Taken};
use super::series::Series;
use super::snapshot::{self, Exemplar, Kind, Value};
use crate::sync::{Arc, Mutex, RwLock};

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
    #[error("{name} is read elsewhere, and nothing is recorded there")]
    Bound { name: String },
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
    /// Taken by itself, never with the other lock held.
    exemplars: Mutex<Exemplars>,
}

#[derive(Debug)]
struct Kept<R> {
    families: Vec<Family<R>>,
    by_name: HashMap<Box<str>, usize, FixedState>,
    /// All that families point to.
    bytes: usize,
}

impl<R: Clone + PartialEq> Kept<R> {
    fn at(&self, name: &str) -> Result<usize, Refusal> {
        let known = self.by_name.get(name).copied();
        known.ok_or_else(|| Refusal::Unknown {
            name: name.to_owned(),
        })
    }

    // One that takes so many values.
    fn find(&self, name: &str, values: &[&str]) -> Result<&Family<R>, Refusal> {
        let family = &self.families[self.at(name)?];
        family.takes(values).map(|()| family)
    }

    /// The series that is there already, and whether it is that of all others.
    fn known(
        &self,
        name: &str,
        values: &[&str],
        limit: usize,
    ) -> Result<Option<(Arc<Series>, bool)>, Refusal> {
        let family = self.find(name, values)?;
        if let Some(own) = family.series(values)? {
            return Ok(Some((own, false)));
        }
        if family.has_place(values, limit) {
            return Ok(None);
        }
        let others = family.series(&others(values))?;
        Ok(others.map(|others| {
            family.fold();
            (others, true)
        }))
    }

    /// Has a family change, and its bytes counted.
    fn change<T>(&mut self, name: &str, change: impl FnOnce(&mut Family<R>) -> T) -> Result<T, Refusal> {
        let at = self.at(name)?;
        let family = &mut self.families[at];
        let before = family.bytes();
        let changed = change(family);
        self.bytes = self.bytes + family.bytes() - before;
        Ok(changed)
    }

    fn add(&mut self, description: Description) {
        let family = Family::new(description);
        self.bytes += family.bytes() + family.name().len();
        self.by_name.insert(family.name().into(), self.families.len());
        self.families.push(family);
    }

    fn bytes(&self) -> usize {
        let families = self.families.capacity() * size_of::<Family<R>>();
        self.bytes + families + self.by_name.allocation_size()
    }

    /// Whether there is room for so much more.
    fn room_for(&self, more: usize, limit: usize) -> Result<(), Refusal> {
        if self.bytes() + more > limit {
            return Err(Refusal::Full { limit });
        }
        Ok(())
    }
}

fn others(values: &[&str]) -> Vec<&'static str> {
    vec![OTHER; values.len()]
}

impl<R: Clone + PartialEq + fmt::Debug> Metrics<R> {
    pub fn new(common: Vec<(String, String)>, limits: Limits) -> Self {
        let kept = Kept {
            families: Vec::new(),
            by_name: HashMap::default(),
            bytes: 0,
        };
        Self {
            common,
            limits,
            kept: RwLock::new(kept),
            exemplars: Mutex::new(Exemplars::default()),
        }
    }

    /// Makes a family known. The same one again changes nothing.
    pub fn declare(&self, description: Description) -> Result<(), Refusal> {
        let mut kept = self.kept.write();
        if let Ok(known) = kept.at(&description.name) {
            return kept.families[known].is_like(&description);
        }
        let texts = 2 * description.name.len() + description.help.len();
        kept.room_for(
            size_of::<Family<R>>() + size_of::<Description>() + texts,
            self.limits.bytes,
        )?;
        kept.add(description);
        Ok(())
    }

    /// The series of a family to record at, and whether it is that of all others.
    pub fn series(&self, name: &str, values: &[&str]) -> Result<(Arc<Series>, bool), Refusal> {
        let known = self.kept.read().known(name, values, self.limits.series)?;
        known.map_or_else(|| self.enter(name, values), Ok)
    }

    fn enter(&self, name: &str, values: &[&str]) -> Result<(Arc<Series>, bool), Refusal> {
        let mut kept = self.kept.write();
        // Somebody else may have been here first.
        if let Some(known) = kept.known(name, values, self.limits.series)? {
            return Ok(known);
        }
        let family = kept.find(name, values)?;
        let folded = !family.has_place(values, self.limits.series);
        let others = others(values);
        let values = if folded { &others } else { values };
        kept.room_for(family.bytes_of(values), self.limits.bytes)?;
        let series = kept.change(name, |family| {
            if folded {
                family.fold();
            }
            family.add(values)
        })?;
        Ok((series, folded))
    }

    /// Has a series read where `reading` says, when somebody looks. Several that are bound to the same values are summed, but for those that
    /// are not `alive` any more. Whether it has a series of its own: what is one too many is part of that of all others.
    pub fn bind(
        &self,
        name: &str,
        values: &[&str],
        reading: R,
        alive: impl Fn(&R) -> bool,
    ) -> Result<bool, Refusal> {
        let mut kept = self.kept.write();
        let family = kept.find(name, values)?;
        let own = family.knows(values) || family.has_place(values, self.limits.series);
        let others = others(values);
        let place = if own { values } else { &others };
        kept.room_for(family.bytes_of_bound(place), self.limits.bytes)?;
        kept.change(name, |family| {
            if !own {
                family.fold();
            } else if values != others {
                family.unbind(&others, &reading, None);
            }
            family.bind(place, reading, alive);
        })?;
        Ok(own)
    }

    /// Takes away what was bound, and gives its place free. What it said `last` stays in the sum that it was part of. Whether it was bound.
    pub fn unbind(
        &self,
        name: &str,
        values: &[&str],
        reading: &R,
        last: Option<Value>,
    ) -> Result<bool, Refusal> {
        self.exemplars.lock().forget(name, values);
        let mut kept = self.kept.write();
        kept.find(name, values)?;
        kept.change(name, |family| {
            family.unbind(values, reading, None) || family.unbind(&others(values), reading, last)
        })
    }

    /// Keeps one observation of a histogram's series and where it came from; whether that has a series of its own, and there was room.
    pub fn exemplify(&self, name: &str, values: &[&str], exemplar: Exemplar) -> Result<bool, Refusal> {
        let known = {
            let kept = self.kept.read();
            let family = kept.find(name, values)?;
            family.kind() == Kind::Histogram && family.knows(values)
        };
        Ok(known && self.exemplars.lock().note(name, values, exemplar))
    }

    /// What a share (0 to 1) of what a histogram observed is not above, as far as `read` can say it; `None` of nothing.
    pub fn quantile(
        &self,
        name: &str,
        values: &[&str],
        share: f64,
        mut read: impl FnMut(&R) -> Option<Value>,
    ) -> Result<Option<f64>, Refusal> {
        let hand = {
            let kept = self.kept.read();
            let family = kept.find(name, values)?;
            let full = !family.has_place(values, self.limits.series);
            let others = || full.then(|| family.hand(&others(values))).flatten();
            family.hand(values).or_else(others)
        };
        Ok(hand.and_then(|hand| hand.quantile(share, &mut read)))
    }

    /// All that was measured, as far as `read` can say it. Nobody is held up (M4).
    pub fn snapshot(&self, mut read: impl FnMut(&R) -> Option<Value>) -> Vec<snapshot::Family> {
        let taken: Vec<Taken<R>> = self.kept.read().families.iter().map(Family::take).collect();
        let shown = taken.iter().map(|taken| taken.show(&self.common, &mut read));
        let mut families: Vec<snapshot::Family> = shown.filter(|family| !family.series.is_empty()).collect();
        self.exemplars.lock().join(&mut families, self.common.len());
        families.extend(look::folded(&taken, &self.common));
        families
    }

    pub fn bytes(&self) -> usize {
        let texts = |(name, value): &(String, String)| name.capacity() + value.capacity();
        let texts: usize = self.common.iter().map(texts).sum();
        let common = self.common.capacity() * size_of::<(String, String)>() + texts;
        let kept = self.kept.read().bytes();
        size_of::<Self>() + common + kept + self.exemplars.lock().bytes()
    }
}
