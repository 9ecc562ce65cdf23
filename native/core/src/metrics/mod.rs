//! Counters, gauges and histograms, and how they are told to others.

mod snapshot;

pub use snapshot::{Distribution, Exemplar, Family, Kind, Series, Source, Value};
