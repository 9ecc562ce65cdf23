//! What a pool is told to do. All of it can be changed while it runs.

use std::collections::HashMap;

pub use super::workers::Strategy;

use super::codel::Limits;
use super::ejection::Ejecting;
use super::quota::{Quota, Tenant};
use super::workers::SlowStart;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub strategy: Strategy,
    pub max_ongoing: u32,
    pub max_queue: usize,
    /// Nanoseconds; `None` switches the controller off.
    pub queue_target: Option<i64>,
    pub queue_interval: i64,
    /// Nanoseconds in which a worker's latency falls to a third.
    pub decay_time: i64,
    pub draining: bool,
    /// What comes is refused, as a quota is used up that is not counted here.
    pub over_quota: bool,
    /// Nobody else has a say before a worker is asked for, so a check-out may take the short way.
    pub direct: bool,
    pub weights: HashMap<Tenant, u32>,
    pub quotas: Vec<Quota>,
    /// `None`: nobody is ejected but by hand.
    pub ejection: Option<Ejecting>,
    pub slow_start: Option<SlowStart>,
    /// Percent of workers below which all are given work; 0: never.
    pub panic_threshold: u32,
}

impl Config {
    pub(super) fn codel(&self) -> Limits {
        Limits {
            target: self.queue_target,
            interval: self.queue_interval,
        }
    }

    /// Whether all that counts of a request is whether a worker is free.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.direct && !self.draining && !self.over_quota && self.quotas.is_empty()
    }

    pub(super) fn weight(&self, tenant: &[u8]) -> i64 {
        self.weights
            .get(tenant)
            .map_or(1, |&weight| i64::from(weight.max(1)))
    }
}

impl Default for Config {
    /// DBConnection's target and interval, Pekko's and Envoy's decay.
    fn default() -> Self {
        const MS: i64 = 1_000_000;
        Self {
            strategy: Strategy::PowerOfTwo,
            max_ongoing: 1,
            max_queue: 1_000,
            queue_target: Some(50 * MS),
            queue_interval: 1_000 * MS,
            decay_time: 10_000 * MS,
            draining: false,
            over_quota: false,
            direct: true,
            weights: HashMap::new(),
            quotas: Vec::new(),
            ejection: None,
            slow_start: None,
            panic_threshold: 0,
        }
    }
}
