//! Metrics to an OTLP collector, all of them in each round.

use std::time::{SystemTime, UNIX_EPOCH};

use kantoku_core::metrics::Family;

use super::collector::{Address, Collector};
use super::protocol::{Span, encode};
use super::{Failure, Outcome};

pub use super::collector::Secret;

/// Where they are sent, and of what they are.
#[derive(Clone, Debug)]
pub struct Options {
    /// `/v1/metrics` is added where it has no path.
    pub address: Address,
    /// What the figures are of: `service.name` and the like.
    pub resource: Vec<(String, String)>,
    /// Since when counters count, in Unix nanoseconds.
    pub since: u64,
}

#[derive(Debug)]
pub struct Otlp {
    collector: Collector,
    resource: Vec<(String, String)>,
    since: u64,
}

const PATH: &str = "/v1/metrics";

impl Otlp {
    pub fn new(options: Options) -> Result<Self, Failure> {
        Ok(Self {
            collector: Collector::new(&options.address, PATH)?,
            resource: options.resource,
            since: options.since,
        })
    }

    pub async fn export(&mut self, families: &[Family]) -> Outcome {
        let span = Span {
            since: self.since,
            now: unix_nanos(),
        };
        let (request, points) = encode(families, &self.resource, span);
        let mut outcome = Outcome::default();
        match self.collector.send(&request).await {
            Ok(rejected) => outcome.drop_rejected(rejected, "points"),
            Err(why) => outcome.drop_points(points, || why),
        }
        outcome
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
