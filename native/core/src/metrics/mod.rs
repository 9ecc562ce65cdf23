//! Counters, gauges and histograms, and how they are told to others.
//!
//! Who records has a series in his hands: one or two additions without a lock. Families, labels and limits are for who asks for a
//! series, and for who looks.

mod collection;
mod exemplars;
mod family;
mod histogram;
mod look;
mod number;
mod scale;
mod series;
mod shard;
mod snapshot;

pub use collection::{Limits, Metrics, OTHER, Refusal};
pub use exemplars::{SERIES as MOST_EXEMPLARY, SIZES};
pub use family::Description;
pub use histogram::{Histogram, Reading};
pub use number::{Counter, Gauge};
pub use scale::{LEAST, MOST};
pub use series::{Owned, Series as Recorder};
pub use snapshot::{Distribution, Exemplar, Family, Kind, Series, Source, Value, join, labels_heap};
