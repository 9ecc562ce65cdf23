//! The outcomes that a breaker judges by (B4).

use std::collections::VecDeque;

use super::config::{Config, PERCENT, Span};

/// What is known of a call that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub failed: bool,
    pub slow: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub calls: u64,
    pub failed: u64,
    pub slow: u64,
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        self.calls += 1;
        self.failed += u64::from(outcome.failed);
        self.slow += u64::from(outcome.slow);
    }

    fn subtract(&mut self, gone: Counts) {
        self.calls -= gone.calls;
        self.failed -= gone.failed;
        self.slow -= gone.slow;
    }

    /// Whether a rate is reached; of no call there is none.
    pub fn reach(&self, config: &Config) -> bool {
        let all = u128::from(self.calls);
        let reached =
            |of: u64, rate: u64| u128::from(of) * u128::from(100 * PERCENT) >= u128::from(rate) * all;
        reached(self.failed, config.failure_rate) || reached(self.slow, config.slow_rate)
    }
}

#[derive(Debug)]
enum Kept {
    Calls(VecDeque<Outcome>),
    /// By second; those in which nothing ended are not there.
    Seconds(VecDeque<(i64, Counts)>),
}

#[derive(Debug)]
pub struct Window {
    size: u32,
    /// Fewer calls say nothing.
    minimum: u32,
    counts: Counts,
    kept: Kept,
}

const SECOND: i64 = 1_000_000_000;

impl Window {
    pub fn new(config: &Config) -> Self {
        match config.span {
            Span::Calls => Self::of_calls(config.size, config.minimum),
            Span::Seconds => Self {
                size: config.size,
                minimum: config.minimum,
                counts: Counts::default(),
                kept: Kept::Seconds(VecDeque::new()),
            },
        }
    }

    /// For the calls by which a breaker tries whether it may close.
    pub fn of_trials(config: &Config) -> Self {
        Self::of_calls(config.permitted, config.minimum)
    }

    fn of_calls(size: u32, minimum: u32) -> Self {
        Self {
            size,
            minimum: minimum.min(size),
            counts: Counts::default(),
            kept: Kept::Calls(VecDeque::new()),
        }
    }

    pub fn record(&mut self, outcome: Outcome, now: i64) {
        self.forget(now);
        match &mut self.kept {
            Kept::Calls(outcomes) => {
                if outcomes.len() == self.size as usize
                    && let Some(gone) = outcomes.pop_front()
                {
                    self.counts.subtract(one(gone));
                }
                outcomes.push_back(outcome);
            }
            Kept::Seconds(seconds) => {
                let second = now.div_euclid(SECOND);
                // Who comes late to the lock counts for the second that is.
                match seconds.back_mut().filter(|(last, _)| *last >= second) {
                    Some((_, counts)) => counts.add(outcome),
                    None => seconds.push_back((second, one(outcome))),
                }
            }
        }
        self.counts.add(outcome);
    }

    /// Drops what is too old by now.
    pub fn forget(&mut self, now: i64) {
        if let Kept::Seconds(seconds) = &mut self.kept {
            let oldest = now.div_euclid(SECOND) - i64::from(self.size);
            while let Some(&(_, gone)) = seconds.front().filter(|(second, _)| *second <= oldest) {
                self.counts.subtract(gone);
                seconds.pop_front();
            }
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn minimum(&self) -> u32 {
        self.minimum
    }

    /// Whether there are enough calls to judge by.
    pub fn tells(&self) -> bool {
        self.counts.calls >= u64::from(self.minimum.max(1))
    }

    pub fn bytes(&self) -> usize {
        match &self.kept {
            Kept::Calls(outcomes) => outcomes.capacity() * size_of::<Outcome>(),
            Kept::Seconds(seconds) => seconds.capacity() * size_of::<(i64, Counts)>(),
        }
    }

    /// B4: what is counted is what is there.
    pub fn check(&self) {
        let mut counts = Counts::default();
        match &self.kept {
            Kept::Calls(outcomes) => {
                assert!(outcomes.len() <= self.size as usize);
                outcomes.iter().for_each(|&outcome| counts.add(outcome));
            }
            Kept::Seconds(seconds) => {
                assert!(seconds.len() <= self.size as usize);
                for (_, kept) in seconds {
                    counts.calls += kept.calls;
                    counts.failed += kept.failed;
                    counts.slow += kept.slow;
                }
            }
        }
        assert_eq!(counts, self.counts);
    }
}

fn one(outcome: Outcome) -> Counts {
    let mut counts = Counts::default();
    counts.add(outcome);
    counts
}
