//! The time that breakers go by: that in which we ran.
//!
//! Somebody beats once a period. Where a beat is more than a period late we were stopped ourselves, as by SIGSTOP or as the machine
//! slept, and all of that time but one period is lost: it is no part of a wait, nor of the age of an outcome. Whoever reads the clock
//! sees that a beat is late, so no reader is ahead of who beats.
//!
//! T1. In running time a gap takes one period, for all readers alike; and it never goes back for who reads twice.
//! T2. A call that began before we were taken up again, as its duration says, spans the gap.

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicI64, Ordering};

/// Between two beats, in ns.
pub const PERIOD: i64 = 1_000_000_000;

// Times that are before all others: nobody beats, and no gap was seen.
const NEVER: i64 = i64::MIN;

#[derive(Debug)]
pub struct Clock {
    beat: AtomicI64,
    /// How much was lost in all gaps.
    lost: AtomicI64,
    /// When the last gap was seen to be over.
    resumed: AtomicI64,
    settling: Mutex<()>,
}

/// What a clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time in which we ran.
    pub running: i64,
    now: i64,
    resumed: i64,
}

impl Moment {
    /// Whether a call that ends now and took so long was under way in a gap (T2).
    pub fn spans_gap(&self, took: i64) -> bool {
        self.now.saturating_sub(took) < self.resumed
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            beat: AtomicI64::new(NEVER),
            lost: AtomicI64::new(0),
            resumed: AtomicI64::new(NEVER),
            settling: Mutex::new(()),
        }
    }
}

impl Clock {
    /// Nobody beats, and nothing was lost.
    pub fn reset(&self) {
        let _settling = self.settling.lock();
        self.beat.store(NEVER, Ordering::Release);
        self.lost.store(0, Ordering::Release);
        self.resumed.store(NEVER, Ordering::Release);
    }

    /// We run; how much was lost until now.
    pub fn beat(&self, now: i64) -> i64 {
        let _settling = self.settling.lock();
        self.settle(now);
        let last = self.beat.load(Ordering::Relaxed);
        self.beat.store(last.max(now), Ordering::Release);
        self.lost.load(Ordering::Relaxed)
    }

    /// The moment that is. What was lost is read before the time and after the beat: a gap that ends between is seen by the one or
    /// by the other. Each acquire pairs with the release in `settle`.
    pub fn read(&self, time: impl Fn() -> i64) -> Moment {
        let lost = self.lost.load(Ordering::Acquire);
        let now = time();
        if self.is_late(now) || self.lost.load(Ordering::Acquire) != lost {
            return self.read_settled(time);
        }
        self.moment(now, lost)
    }

    #[cold]
    fn read_settled(&self, time: impl Fn() -> i64) -> Moment {
        let _settling = self.settling.lock();
        let now = time();
        self.settle(now);
        self.moment(now, self.lost.load(Ordering::Relaxed))
    }

    fn moment(&self, now: i64, lost: i64) -> Moment {
        Moment {
            running: now.saturating_sub(lost),
            now,
            resumed: self.resumed.load(Ordering::Acquire),
        }
    }

    fn is_late(&self, now: i64) -> bool {
        let beat = self.beat.load(Ordering::Acquire);
        beat != NEVER && now.saturating_sub(beat) > 2 * PERIOD
    }

    // Under the lock. The beat last: who sees the new one sees what was lost before it.
    fn settle(&self, now: i64) {
        if self.is_late(now) {
            let gap = now.saturating_sub(self.beat.load(Ordering::Relaxed)) - PERIOD;
            let lost = self.lost.load(Ordering::Relaxed).saturating_add(gap);
            self.resumed.store(now, Ordering::Release);
            self.lost.store(lost, Ordering::Release);
            self.beat.store(now, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(kantoku_loom)))]
mod tests {
    use super::*;

    fn read(clock: &Clock, now: i64) -> Moment {
        clock.read(|| now)
    }

    #[test]
    fn who_never_beats_loses_nothing() {
        let clock = Clock::default();
        assert_eq!(read(&clock, 0).running, 0);
        assert_eq!(read(&clock, 100 * PERIOD).running, 100 * PERIOD);
        assert!(!read(&clock, 100 * PERIOD).spans_gap(i64::MAX));
    }

    #[test]
    fn a_beat_that_is_a_period_late_is_none_too_late() {
        let clock = Clock::default();
        clock.beat(0);
        assert_eq!(read(&clock, 2 * PERIOD).running, 2 * PERIOD);
        assert_eq!(clock.beat(2 * PERIOD), 0);
    }

    #[test]
    fn of_a_gap_one_period_is_left_whoever_sees_it() {
        let (read_first, beat_first) = (Clock::default(), Clock::default());
        for clock in [&read_first, &beat_first] {
            clock.beat(PERIOD);
        }
        assert_eq!(read(&read_first, 60 * PERIOD).running, 2 * PERIOD);
        assert_eq!(beat_first.beat(60 * PERIOD), 58 * PERIOD);
        for clock in [&read_first, &beat_first] {
            assert_eq!(clock.beat(61 * PERIOD), 58 * PERIOD);
            assert_eq!(read(clock, 61 * PERIOD).running, 3 * PERIOD);
        }
    }

    #[test]
    fn what_began_before_we_were_taken_up_again_spans_the_gap() {
        let clock = Clock::default();
        clock.beat(0);
        clock.beat(60 * PERIOD);
        let moment = read(&clock, 61 * PERIOD);
        assert!(!moment.spans_gap(PERIOD));
        assert!(moment.spans_gap(PERIOD + 1));
    }
}
