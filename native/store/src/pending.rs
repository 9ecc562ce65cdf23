//! What is accepted and not yet on disk, and when it is to be written. Time is an argument here.
//!
//! 1. A key is in `queued` at most once, in `in_flight` at most once; together they hold, in this order, every accepted
//!    change that is not on disk.
//! 2. `in_flight` changes only when the writer takes a batch and when it gives the batch back, committed or failed.
//! 3. What is held in both never exceeds the limit, except by one call that found them empty, and by what a failed batch
//!    and later calls hold for the same key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::change::Change;
use crate::completion::{Completion, Panics, Waiter};
use crate::error::StoreError;
use crate::options::Backoff;
use crate::record::Revision;
use crate::stats::{Commit, Stats};

pub(crate) type Key = Arc<[u8]>;
pub(crate) type Changes = BTreeMap<Key, Change>;

/// What a queued call takes besides its bytes: map node, waiter, boxed completion.
const OVERHEAD: usize = 256;

/// What a call asks for: how its change is judged, and how long it may wait for company.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: Key,
    pub(crate) change: Change,
    pub(crate) asked: Revision,
    pub(crate) is_sync: bool,
}

/// What the writer takes at once.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) changes: Arc<Changes>,
    waiters: Vec<(Key, Waiter)>,
    flushes: Vec<Waiter>,
}

#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) stats: Stats,
    queued: Changes,
    in_flight: Arc<Changes>,
    waiters: Vec<(Key, Waiter)>,
    flushes: Vec<Waiter>,
    queued_bytes: usize,
    in_flight_bytes: usize,
    /// When the next batch is to be taken; `None` if there is nothing to do.
    due: Option<Instant>,
    failing: Option<Failing>,
    phase: Phase,
}

#[derive(Debug)]
struct Failing {
    delay: Duration,
    until: Instant,
    error: StoreError,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Open,
    Closing {
        until: Instant,
    },
    Ended(Result<(), StoreError>),
}

impl Pending {
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        match self.phase {
            Phase::Open => Ok(()),
            _ => Err(StoreError::Closed),
        }
    }

    // Accepting

    pub(crate) fn check_room(&mut self, call: &Call, max: usize) -> Result<(), StoreError> {
        let pending = self.bytes();
        let freed = self.queued.get(&call.key).map_or(0, Change::bytes);
        if pending == 0 || pending - freed + cost(&call.key, &call.change) <= max {
            return Ok(());
        }
        self.stats.busy += 1;
        Err(StoreError::Busy { pending, max })
    }

    pub(crate) fn enqueue(&mut self, call: Call, done: Completion, panics: &Arc<Panics>) {
        let Call {
            key, change, asked, ..
        } = call;
        let earlier = self.queued.remove(&key).unwrap_or_default();
        let freed = earlier.bytes();
        let behind = earlier.put_revision().filter(|revision| *revision > asked);
        let waiter = Waiter::new(asked, earlier.cleared, behind, done, panics.clone());
        let change = earlier.then(change);
        self.queued_bytes = self.queued_bytes - freed + cost(&key, &change);
        self.waiters.push((key.clone(), waiter));
        self.queued.insert(key, change);
    }

    pub(crate) fn flush(&mut self, waiter: Waiter) {
        self.flushes.push(waiter);
    }

    /// There is something to do, at `at` the latest.
    pub(crate) fn due_by(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    // Looking

    pub(crate) fn bytes(&self) -> usize {
        self.queued_bytes + self.in_flight_bytes
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(crate) fn keys(&self) -> usize {
        self.queued.len() + self.in_flight.len()
    }

    pub(crate) fn of(&self, key: &[u8]) -> Option<Change> {
        merged(self.in_flight.get(key).cloned(), self.queued.get(key).cloned())
    }

    /// The first `limit` after `after`, in flight and queued.
    pub(crate) fn after(&self, after: Option<&[u8]>, limit: usize) -> (Changes, Changes) {
        (
            first(&self.in_flight, after, limit),
            first(&self.queued, after, limit),
        )
    }

    // Writing

    /// When the next batch starts: no sooner than a failure allows, no later than closing asks.
    pub(crate) fn starts_at(&self, now: Instant) -> Option<Instant> {
        let allowed = self.failing.as_ref().map(|failing| failing.until);
        match self.phase {
            Phase::Closing { until } => allowed.max(Some(now)).map(|start| start.min(until.max(now))),
            _ => self
                .due
                .map(|due| allowed.map_or(due, |allowed| due.max(allowed))),
        }
    }

    /// Whether the writer has nothing more to do.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let is_idle = self.queued.is_empty() && self.waiters.is_empty() && self.flushes.is_empty();
        match self.phase {
            Phase::Open => false,
            Phase::Closing { until } => is_idle || (self.failing.is_some() && now >= until),
            Phase::Ended(_) => true,
        }
    }

    pub(crate) fn take_batch(&mut self) -> Batch {
        self.due = None;
        self.in_flight = Arc::new(std::mem::take(&mut self.queued));
        self.in_flight_bytes = std::mem::take(&mut self.queued_bytes);
        Batch {
            changes: self.in_flight.clone(),
            waiters: std::mem::take(&mut self.waiters),
            flushes: std::mem::take(&mut self.flushes),
        }
    }

    /// Answers what was in flight, as freeing it takes its time.
    pub(crate) fn committed(&mut self, commit: Commit) -> Arc<Changes> {
        self.failing = None;
        let done = self.land();
        self.stats.count_commit(done.len() as u64, commit);
        done
    }

    /// Takes back what has to be tried again, under what was accepted meanwhile.
    pub(crate) fn failed(&mut self, error: &StoreError, backoff: Backoff, now: Instant) {
        let doubled = self
            .failing
            .as_ref()
            .map(|failing| (failing.delay * 2).min(backoff.max));
        let delay = doubled.unwrap_or(backoff.first);
        self.failing = Some(Failing {
            delay,
            until: now + delay,
            error: error.clone(),
        });
        self.stats.failed_commits += 1;
        let failed = self.land();
        for (key, change) in failed.iter().filter(|(_, change)| change.keep) {
            self.take_back(key, change.clone());
        }
        if !self.queued.is_empty() {
            self.due_by(now);
        }
    }

    fn take_back(&mut self, key: &Key, change: Change) {
        let later = self.queued.remove(key);
        let freed = later.as_ref().map_or(0, |later| cost(key, later));
        let change = change.then(later.unwrap_or_default());
        self.queued_bytes = self.queued_bytes - freed + cost(key, &change);
        self.queued.insert(key.clone(), change);
        self.stats.retried += 1;
    }

    fn land(&mut self) -> Arc<Changes> {
        self.in_flight_bytes = 0;
        std::mem::take(&mut self.in_flight)
    }

    // Ending

    pub(crate) fn begin_close(&mut self, until: Instant) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Closing { until };
        }
    }

    /// The writer is gone; answers what it did not get to, and why.
    pub(crate) fn end(&mut self) -> (Batch, StoreError) {
        let error = self
            .failing
            .take()
            .map_or(StoreError::Closed, |failing| failing.error);
        self.phase = Phase::Ended(match self.queued.len() {
            0 => Ok(()),
            keys => Err(StoreError::Unsaved {
                keys,
                source: Box::new(error.clone()),
            }),
        });
        (self.take_batch(), error)
    }

    pub(crate) fn ended(&self) -> Option<Result<(), StoreError>> {
        match &self.phase {
            Phase::Ended(result) => Some(result.clone()),
            _ => None,
        }
    }
}

impl Batch {
    /// `stored`: what was there before.
    pub(crate) fn tell_committed(self, stored: &BTreeMap<Key, Revision>) {
        for (key, waiter) in self.waiters {
            waiter.committed(stored.get(&key).copied());
        }
        for flush in self.flushes {
            flush.committed(None);
        }
    }

    pub(crate) fn tell_failed(self, error: &StoreError) {
        let waiters = self.waiters.into_iter().map(|(_, waiter)| waiter);
        for waiter in waiters.chain(self.flushes) {
            waiter.failed(error.clone());
        }
    }
}

pub(crate) fn merged(earlier: Option<Change>, later: Option<Change>) -> Option<Change> {
    match (earlier, later) {
        (Some(earlier), Some(later)) => Some(earlier.then(later)),
        (earlier, later) => earlier.or(later),
    }
}

fn cost(key: &[u8], change: &Change) -> usize {
    key.len() + change.bytes() + OVERHEAD
}

fn first(changes: &Changes, after: Option<&[u8]>, limit: usize) -> Changes {
    use std::ops::Bound::{Excluded, Unbounded};
    let range = changes.range::<[u8], _>((after.map_or(Unbounded, Excluded), Unbounded));
    range
        .take(limit)
        .map(|(key, change)| (key.clone(), change.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(10),
        max: Duration::from_millis(40),
    };

    fn failing(pending: &mut Pending, now: Instant) -> Duration {
        pending.failed(&StoreError::Abandoned, BACKOFF, now);
        pending.due_by(now);
        pending.starts_at(now).expect("something is due") - now
    }

    #[test]
    fn waits_twice_as_long_after_each_failure_up_to_the_limit() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let delays: Vec<u128> = (0..4).map(|_| failing(&mut pending, now).as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 40]);
        pending.committed(Commit::default());
        assert_eq!(
            failing(&mut pending, now).as_millis(),
            10,
            "afresh after a success"
        );
    }

    #[test]
    fn starts_with_the_most_urgent_call() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        assert_eq!(pending.starts_at(now), None);
        pending.due_by(now + Duration::from_millis(100));
        pending.due_by(now + Duration::from_millis(5));
        pending.due_by(now + Duration::from_millis(50));
        assert_eq!(pending.starts_at(now), Some(now + Duration::from_millis(5)));
    }

    #[test]
    fn closing_waits_for_no_window_and_gives_up_a_failing_disk_in_time() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        pending.due_by(now + Duration::from_secs(60));
        pending.begin_close(now + Duration::from_millis(15));
        assert_eq!(pending.starts_at(now), Some(now));
        assert_eq!(failing(&mut pending, now).as_millis(), 10);
        assert_eq!(
            failing(&mut pending, now).as_millis(),
            15,
            "not the 20 of the second failure"
        );
    }
}
