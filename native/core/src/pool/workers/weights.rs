//! Slow start: a worker that comes back gets a part of its share at first, which grows until it has all of it.
//!
//! The part is Envoy's, with an aggression of 1.0: `max(time since it came / window, least)`. It is applied to whatever the strategy
//! takes: a worker that was taken is passed over with the rest of the chance, and the strategy's next one stands in. Under `Hash`
//! nobody is, as keys would move twice. Where no other is ready nobody is passed over: a request never waits for this.

use super::{Strategy, Worker, Workers};

/// How a worker's share grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowStart {
    /// Nanoseconds.
    pub window: i64,
    /// Percent that it has at once.
    pub least: u32,
    /// Whether who joins begins so as well.
    pub fresh: bool,
}

/// Of a worker that has all of its share.
pub const GROWN: i64 = i64::MIN;

// So many are passed over for one request. More come together only where nearly all are new, and then it is all the same.
const PASSED_OVER: usize = 8;

impl<H> Worker<H> {
    /// Since when its share grows.
    pub fn growing_since(&self) -> Option<i64> {
        (self.grows != GROWN).then_some(self.grows)
    }
}

impl<H> Workers<H> {
    pub fn set_slow_start(&mut self, slow_start: Option<SlowStart>) {
        self.slow_start = slow_start;
        if slow_start.is_none() {
            self.growing = 0;
            let all = self.places.iter_mut().flatten();
            all.for_each(|worker| worker.grows = GROWN);
        }
    }

    /// A worker's share begins to grow, if that is wanted.
    pub fn grow(&mut self, at: u32, now: i64) {
        if self.slow_start.is_some() {
            self.growing += usize::from(self.get(at).grows == GROWN);
            self.get_mut(at).grows = now;
        }
    }

    /// A worker has all of its share.
    pub fn is_grown(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.get_mut(at).grows, GROWN);
        self.growing -= usize::from(before != GROWN);
    }

    /// Whose time is over has all of its share.
    pub fn ripen(&mut self, now: i64) {
        if self.growing > 0 {
            let growing = self.iter().filter(|(_, worker)| worker.grows != GROWN);
            let grown = growing.filter(|&(at, _)| self.part(at, now) >= 1.0);
            let grown: Vec<u32> = grown.map(|(at, _)| at).collect();
            grown.into_iter().for_each(|at| self.is_grown(at));
        }
    }

    /// The part of its share that a worker gets, up to 1.
    pub fn part(&self, at: u32, now: i64) -> f64 {
        let (Some(rule), Some(since)) = (self.slow_start, self.get(at).growing_since()) else {
            return 1.0;
        };
        let grown = now.saturating_sub(since).max(0) as f64 / rule.window.max(1) as f64;
        grown.max(f64::from(rule.least) / 100.0).min(1.0)
    }

    /// The worker to take where the strategy would take `first`.
    #[cold]
    pub(super) fn or_another(&mut self, first: u32, now: i64) -> u32 {
        if self.strategy == Strategy::Hash {
            return first;
        }
        let mut chosen = first;
        for _ in 0..PASSED_OVER {
            let part = self.part(chosen, now);
            if part >= 1.0 {
                self.is_grown(chosen);
                return chosen;
            }
            if self.random.part() < part {
                return chosen;
            }
            match self.next_after(chosen) {
                Some(other) => chosen = other,
                None => return chosen,
            }
        }
        chosen
    }

    // Whom the strategy would take if this one were not there; of several, some other.
    fn next_after(&mut self, passed: u32) -> Option<u32> {
        match self.strategy {
            Strategy::RoundRobin => {
                let ready = self.ordered();
                let place = (self.get(passed).stamp, passed);
                let after = ready.range(place..).nth(1).or_else(|| ready.first());
                after.map(|&(_, at)| at).filter(|&at| at != passed)
            }
            Strategy::Lifo => {
                let place = (self.get(passed).stamp, passed);
                self.ordered().range(..place).next_back().map(|&(_, at)| at)
            }
            Strategy::LeastLoaded => {
                let others = self.unordered().iter().copied().filter(|&at| at != passed);
                others.min_by_key(|&at| self.get(at).ongoing)
            }
            _ => (self.unordered().len() > 1).then(|| self.another(passed)),
        }
    }
}
