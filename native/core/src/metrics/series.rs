//! Where records go.

use super::histogram::Histogram;
use super::number::{Counter, Gauge};
use super::snapshot::{Kind, Value};

/// What is no gauge is apart, that a gauge takes no more than its word.
#[derive(Debug)]
pub struct Series {
    pub own: Owned,
    /// As its family says.
    pub ticks: f64,
}

#[derive(Debug)]
pub enum Owned {
    Counter(Box<Counter>),
    Gauge(Gauge),
    Histogram(Box<Histogram>),
}

impl Series {
    pub fn new(kind: Kind, ticks: f64) -> Self {
        let own = match kind {
            Kind::Counter => Owned::Counter(Box::default()),
            Kind::Gauge => Owned::Gauge(Gauge::default()),
            Kind::Histogram => Owned::Histogram(Box::default()),
        };
        Self { own, ticks }
    }

    pub fn kind(&self) -> Kind {
        match self.own {
            Owned::Counter(_) => Kind::Counter,
            Owned::Gauge(_) => Kind::Gauge,
            Owned::Histogram(_) => Kind::Histogram,
        }
    }

    pub fn read(&self) -> Value {
        match &self.own {
            Owned::Counter(counter) => Value::Counter(counter.read()),
            Owned::Gauge(gauge) => Value::Gauge(gauge.read()),
            Owned::Histogram(histogram) => Value::Histogram(histogram.read().distribution(self.ticks)),
        }
    }

    /// What a share (0 to 1) of the observations is not above, in the family's unit; `None` of nothing, and of what is no histogram.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        match &self.own {
            Owned::Histogram(histogram) => histogram.quantile(share).map(|found| found as f64 / self.ticks),
            _ => None,
        }
    }

    /// What one takes, with all that it points to.
    pub fn bytes(kind: Kind) -> usize {
        let apart = match kind {
            Kind::Counter => size_of::<Counter>(),
            Kind::Gauge => 0,
            Kind::Histogram => Histogram::BYTES,
        };
        size_of::<Self>() + apart
    }
}
