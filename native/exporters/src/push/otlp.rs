//! Metrics to an OTLP collector, all of them in each round.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kantoku_core::metrics::Family;
use prost::Message;

use super::collector::{Address, Collector};
use super::protocol::encode;
use super::starts::Starts;
use super::under_way::UnderWay;
use super::{Failure, Outcome};
use crate::figures::Account;

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
    starts: Starts,
    account: Arc<Account>,
}

const PATH: &str = "/v1/metrics";

impl Otlp {
    pub fn new(options: Options, account: Arc<Account>) -> Result<Self, Failure> {
        Ok(Self {
            collector: Collector::new(&options.address, PATH)?,
            resource: options.resource,
            starts: Starts::new(options.since),
            account,
        })
    }

    pub async fn export(&mut self, families: &[Family]) -> Outcome {
        let now = unix_nanos();
        self.starts.look(families, now);
        let (request, points) = encode(families, &self.resource, (&self.starts, now));
        let _message = self.account.hold_for_now(request.encoded_len());
        self.account.hold(self.starts.bytes());
        let mut outcome = Outcome::default();
        let under_way = UnderWay::new(&self.account, points);
        outcome.enter(self.collector.send(&request).await, under_way, "points");
        outcome
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
