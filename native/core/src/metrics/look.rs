//! What who looks takes along, to read it when he holds no lock: nobody waits for what a reading has to ask.

use super::family::{Description, Values};
use super::series::Series;
use super::snapshot::{self, Kind, Value};
use crate::sync::Arc;

/// What there is to be read of one series.
#[derive(Debug)]
pub enum Hand<R> {
    Own(Arc<Series>),
    Bound(Vec<R>, Option<Value>),
}

impl<R> Hand<R> {
    /// The sum of what can be read.
    pub fn read(&self, read: &mut impl FnMut(&R) -> Option<Value>) -> Option<Value> {
        match self {
            Hand::Own(series) => Some(series.read()),
            Hand::Bound(readings, gone) => {
                Value::sum(gone.iter().cloned().chain(readings.iter().filter_map(read)))
            }
        }
    }

    /// What a share (0 to 1) of the observations is not above; `None` of nothing, and of what is no histogram.
    pub fn quantile(&self, share: f64, read: &mut impl FnMut(&R) -> Option<Value>) -> Option<f64> {
        if let Hand::Own(series) = self {
            return series.quantile(share);
        }
        match self.read(read)? {
            Value::Histogram(found) => found.quantile(share),
            _ => None,
        }
    }
}

/// A family.
#[derive(Debug)]
pub struct Taken<R> {
    pub description: Arc<Description>,
    pub members: Vec<(Values, Hand<R>)>,
    pub folded: u64,
}

impl<R> Taken<R> {
    pub fn show(
        &self,
        common: &[(String, String)],
        read: &mut impl FnMut(&R) -> Option<Value>,
    ) -> snapshot::Family {
        let Description {
            name,
            help,
            unit,
            kind,
            labels,
            ..
        } = &*self.description;
        let series = self.members.iter().filter_map(|(values, hand)| {
            let value = hand.read(read)?;
            let own = labels.iter().cloned().zip(values.iter().cloned());
            Some(snapshot::Series {
                labels: common.iter().cloned().chain(own).collect(),
                value,
            })
        });
        snapshot::Family {
            name: name.clone(),
            help: help.clone(),
            unit: *unit,
            kind: *kind,
            series: series.collect(),
        }
    }

    fn folded(&self, common: &[(String, String)]) -> Option<snapshot::Series> {
        let own = || ("metric".to_owned(), self.description.name.clone());
        (self.folded > 0).then(|| snapshot::Series {
            labels: common.iter().cloned().chain([own()]).collect(),
            value: Value::Counter(self.folded as f64),
        })
    }
}

/// How often each family had no place for one more.
pub fn folded<R>(taken: &[Taken<R>], common: &[(String, String)]) -> Option<snapshot::Family> {
    let series: Vec<snapshot::Series> = taken.iter().filter_map(|taken| taken.folded(common)).collect();
    (!series.is_empty()).then(|| snapshot::Family {
        name: "kantoku_metrics_folded".to_owned(),
        help: "How often a series was asked for, or bound, that was one too many: it is part of that of all others."
            .to_owned(),
        unit: None,
        kind: Kind::Counter,
        series,
    })
}
