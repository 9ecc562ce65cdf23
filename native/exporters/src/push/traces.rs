//! Finished spans to an OTLP collector, a batch at a time.
//!
//! B1. A span that was taken is sent once, or dropped and counted, also where this ends in the middle of it. No more than one batch is taken at a time;
//!     what else comes stays with whom it is taken of, which has a limit and a count of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kantoku_core::trace::{BATCH, Span, Supply};

use super::collector::{Address, Collector};
use super::spans::encode;
use super::{Failure, Outcome};
use crate::figures::Account;

/// Where they are sent, of what they are, and who has them.
#[derive(Clone, Debug)]
pub struct Options {
    /// `/v1/traces` is added where it has no path.
    pub address: Address,
    pub resource: Vec<(String, String)>,
    pub supply: Arc<dyn Supply>,
}

#[derive(Debug)]
pub struct Traces {
    collector: Collector,
    resource: Vec<(String, String)>,
    supply: Arc<dyn Supply>,
    account: Arc<Account>,
}

const PATH: &str = "/v1/traces";

impl Traces {
    pub fn new(options: Options, account: Arc<Account>) -> Result<Self, Failure> {
        Ok(Self {
            collector: Collector::new(&options.address, PATH)?,
            resource: options.resource,
            supply: options.supply,
            account,
        })
    }

    pub fn supply(&self) -> Arc<dyn Supply> {
        self.supply.clone()
    }

    /// Sends what is there now, up to the first batch that is not taken; `None` where nothing is.
    pub async fn export(&mut self) -> Option<Outcome> {
        let batches = self.supply.held().div_ceil(BATCH);
        let mut outcome = Outcome::default();
        for _ in 0..batches {
            if outcome.why.is_some() {
                break;
            }
            let spans = self.supply.take(BATCH);
            self.send(spans, &mut outcome).await;
        }
        (batches > 0).then_some(outcome)
    }

    // B1
    async fn send(&self, spans: Vec<Span>, outcome: &mut Outcome) {
        let under_way = UnderWay::new(&self.account, spans.len() as u64);
        let sent = self.collector.send(&encode(spans, &self.resource)).await;
        let count = under_way.over();
        match sent {
            Ok(rejected) => outcome.drop_rejected(rejected, "spans"),
            Err(why) => outcome.drop_points(count, || why),
        }
    }
}

// Spans that nobody else has any more, and that count as dropped if this goes before it is over.
#[derive(Debug)]
struct UnderWay<'a> {
    account: &'a Account,
    spans: u64,
}

impl<'a> UnderWay<'a> {
    fn new(account: &'a Account, spans: u64) -> Self {
        Self { account, spans }
    }

    fn over(mut self) -> u64 {
        std::mem::take(&mut self.spans)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.account.dropped.fetch_add(self.spans, Ordering::Relaxed);
    }
}
