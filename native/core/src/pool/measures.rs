//! How long requests waited and took, as far as they were timed.
//!
//! Behind the pool's lock, as what is recorded here is recorded where that is held anyway. Who looks copies it there, which takes a
//! microsecond.

use crate::metrics::Reading;

#[derive(Clone, Debug, Default)]
pub struct Measures {
    waited: Reading,
    took: Reading,
}

impl Measures {
    /// A request had to wait, and was given a worker.
    pub fn waited(&mut self, waited: i64) {
        self.waited.record(ticks(waited), 1);
    }

    /// A request ended so long after it came. It stands for as many that were not timed, of those that found a worker at once.
    #[inline]
    pub fn took(&mut self, took: i64, stands_for: u8) {
        self.took.record(ticks(took), u64::from(stands_for));
    }

    pub fn bytes(&self) -> usize {
        self.waited.bytes() + self.took.bytes()
    }

    /// From a request's arrival to its end, in nanoseconds.
    pub fn requests(&self) -> &Reading {
        &self.took
    }

    /// From a request's arrival until it was given a worker. Those that found one at once are not counted one by one.
    pub fn waits(&self, served: u64) -> Reading {
        let mut waits = self.waited.clone();
        waits.record(0, served.saturating_sub(waits.count()));
        waits
    }
}

// A clock that two schedulers read may be a little behind.
fn ticks(nanoseconds: i64) -> u64 {
    nanoseconds.max(0) as u64
}
