//! Finished spans to an OTLP collector, a batch at a time.
//!
//! B1. A span that was taken is sent at least once, or dropped and counted, also where this ends in the middle of it: twice if a collector took it
//!     and said so too late, and then it may count as dropped all the same. Nothing is sent twice to one that answers in time.
//! B2. No more than one batch is taken at a time; what else comes stays with whom it is taken of, which has a limit and a count of its own.

use std::sync::Arc;

use kantoku_core::trace::{BATCH, Span, Supply};

use super::collector::{Address, Collector};
use super::spans::encode;
use super::under_way::UnderWay;
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
    async fn send(&mut self, spans: Vec<Span>, outcome: &mut Outcome) {
        let under_way = UnderWay::new(&self.account, spans.len() as u64);
        let _batch = self.account.hold_for_now(spans.iter().map(Span::bytes).sum());
        let answer = self.collector.send(&encode(spans, &self.resource)).await;
        outcome.enter(answer, under_way, "spans");
    }
}
