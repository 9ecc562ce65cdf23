//! What is accepted and not yet on disk.
//!
//! 1. A key is in `queued` at most once, in `in_flight` at most once; together they hold, in this order, every accepted
//!    change that is not on disk.
//! 2. `in_flight` changes only when the writer takes a batch and when it gives the batch back, committed or failed.
//! 3. What is held in both never exceeds `max_pending_bytes`, except by one call that found them empty.
//! 4. No completion is called, and nothing is read or written, while the lock is held.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::change::Change;
use crate::completion::{Completion, Panics, Waiter};
use crate::error::StoreError;
use crate::options::{Backoff, GroupCommit, Options};
use crate::record::Revision;
use crate::stats::Stats;

pub(crate) type Key = Arc<[u8]>;
pub(crate) type Changes = BTreeMap<Key, Change>;

/// What a queued call takes besides its bytes: map node, waiter, boxed completion.
const OVERHEAD: usize = 256;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Signals the writer.
    wake: Condvar,
    /// Signals who waits for the writer's end.
    ended: Condvar,
    limits: Limits,
    panics: Arc<Panics>,
}

#[derive(Debug)]
struct Limits {
    max_pending_bytes: usize,
    group: GroupCommit,
    backoff: Backoff,
}

#[derive(Debug)]
struct State {
    queued: Changes,
    in_flight: Arc<Changes>,
    waiters: Vec<(Key, Waiter)>,
    flushes: Vec<Waiter>,
    queued_bytes: usize,
    in_flight_bytes: usize,
    /// When the next batch is to be taken; `None` if there is nothing to do.
    due: Option<Instant>,
    failing: Option<Failing>,
    /// A read found the database unusable.
    unusable: bool,
    phase: Phase,
    stats: Stats,
}

#[derive(Debug)]
struct Failing {
    delay: Duration,
    until: Instant,
    error: StoreError,
}

#[derive(Debug)]
enum Phase {
    Open,
    Closing { until: Instant },
    Ended(Result<(), StoreError>),
}

/// What a call asks for: how its change is judged, and how long it may wait for company.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: Key,
    pub(crate) change: Change,
    pub(crate) asked: Revision,
    pub(crate) is_sync: bool,
}

#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) changes: Arc<Changes>,
    pub(crate) waiters: Vec<(Key, Waiter)>,
    pub(crate) flushes: Vec<Waiter>,
    pub(crate) must_reopen: bool,
}

impl Queue {
    pub(crate) fn new(options: &Options, panics: Arc<Panics>) -> Self {
        let limits = Limits {
            max_pending_bytes: options.max_pending_bytes,
            group: options.group_commit,
            backoff: options.backoff,
        };
        Self {
            state: Mutex::new(State::new()),
            wake: Condvar::new(),
            ended: Condvar::new(),
            limits,
            panics,
        }
    }

    /// Accepts a call; on an error `done` is dropped without having been called.
    pub(crate) fn accept(&self, call: Call, done: Completion) -> Result<(), StoreError> {
        let window = if call.is_sync {
            self.limits.group.sync_window
        } else {
            self.limits.group.async_window
        };
        let mut state = self.lock();
        state.check_open()?;
        state.reserve(&call, self.limits.max_pending_bytes)?;
        state.enqueue(call, done, &self.panics);
        let full = state.queued_bytes >= self.limits.group.bytes;
        state.due_in(if full { Duration::ZERO } else { window });
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// `done` is called when all that was accepted before is on disk, or could not be written.
    pub(crate) fn flush(&self, done: Completion) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.check_open()?;
        let waiter = Waiter::new(Revision::MAX, None, None, done, self.panics.clone());
        state.flushes.push(waiter);
        state.due_in(Duration::ZERO);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// What is accepted and not on disk for a key, as one change.
    pub(crate) fn pending(&self, key: &[u8]) -> Result<Option<Change>, StoreError> {
        let state = self.lock();
        state.check_open()?;
        Ok(merged(
            state.in_flight.get(key).cloned(),
            state.queued.get(key).cloned(),
        ))
    }

    /// The first `limit` pending keys after `after`, in order; with the key up to which they are all, if there are more.
    pub(crate) fn pending_after(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Changes, Option<Key>), StoreError> {
        let state = self.lock();
        state.check_open()?;
        let mut page = first(&state.in_flight, after, limit);
        let end = [&page, &first(&state.queued, after, limit)]
            .into_iter()
            .filter_map(|p| end_of(p, limit))
            .min();
        for (key, change) in first(&state.queued, after, limit) {
            let earlier = page.remove(&key);
            page.extend(merged(earlier, Some(change)).map(|change| (key, change)));
        }
        Ok((page, end))
    }

    pub(crate) fn report_unusable(&self) {
        let mut state = self.lock();
        state.unusable = true;
        state.due_in(Duration::ZERO);
        drop(state);
        self.wake.notify_one();
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            pending_keys: state.queued.len() + state.in_flight.len(),
            pending_bytes: state.pending_bytes(),
            panics: self.panics.count(),
            ..state.stats.clone()
        }
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.lock().stats);
    }

    // The writer's side

    /// Waits until there is something to do; `None` when the writer is to end.
    pub(crate) fn next_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.is_over(now) {
                return None;
            }
            state = match state.starts_at(now) {
                Some(start) if start <= now => return Some(state.take_batch()),
                Some(start) => self
                    .wake
                    .wait_timeout(state, start - now)
                    .map_or_else(recovered, |(state, _)| state),
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    pub(crate) fn committed(&self, quarantined: u64) {
        let mut state = self.lock();
        state.failing = None;
        let done = state.settle();
        state.stats.count_commit(done.len() as u64, quarantined);
        drop(state);
        // Freeing many large values takes its time, which is not spent under the lock.
        drop(done);
    }

    /// Takes back what has to be tried again, under what was accepted meanwhile.
    pub(crate) fn failed(&self, error: &StoreError) {
        let mut state = self.lock();
        let delay = match &state.failing {
            Some(failing) => (failing.delay * 2).min(self.limits.backoff.max),
            None => self.limits.backoff.first,
        };
        state.failing = Some(Failing {
            delay,
            until: Instant::now() + delay,
            error: error.clone(),
        });
        state.stats.failed_commits += 1;
        state.take_back();
    }

    /// The writer's last word. Calls that are still queued are answered by it.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        let kept = state.queued.len();
        let error = state
            .failing
            .take()
            .map_or(StoreError::Closed, |failing| failing.error);
        let result = match kept {
            0 => Ok(()),
            keys => Err(StoreError::Unsaved {
                keys,
                source: Box::new(error.clone()),
            }),
        };
        state.phase = Phase::Ended(result);
        let batch = state.take_batch();
        drop(state);
        self.ended.notify_all();
        batch.tell_failed(&error);
    }

    // Closing

    /// Refuses new calls; the writer ends when all is written, or at `until` if writing fails.
    pub(crate) fn begin_close(&self, until: Instant) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closing { until };
        }
        drop(state);
        self.wake.notify_one();
    }

    /// The writer's last word, if it came within `bound`.
    pub(crate) fn wait_for_end(&self, bound: Duration) -> Option<Result<(), StoreError>> {
        let running = |state: &mut State| !matches!(state.phase, Phase::Ended(_));
        let waited = self.ended.wait_timeout_while(self.lock(), bound, running);
        let state = waited.map_or_else(recovered, |(state, _)| state);
        match &state.phase {
            Phase::Ended(result) => Some(result.clone()),
            _ => None,
        }
    }

    /// No invariant spans a point where code under this lock can panic, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

impl State {
    fn new() -> Self {
        Self {
            queued: Changes::new(),
            in_flight: Arc::new(Changes::new()),
            waiters: Vec::new(),
            flushes: Vec::new(),
            queued_bytes: 0,
            in_flight_bytes: 0,
            due: None,
            failing: None,
            unusable: false,
            phase: Phase::Open,
            stats: Stats::default(),
        }
    }

    fn check_open(&self) -> Result<(), StoreError> {
        match self.phase {
            Phase::Open => Ok(()),
            _ => Err(StoreError::Closed),
        }
    }

    fn pending_bytes(&self) -> usize {
        self.queued_bytes + self.in_flight_bytes
    }

    fn reserve(&mut self, call: &Call, max: usize) -> Result<(), StoreError> {
        let pending = self.pending_bytes();
        let freed = self.queued.get(&call.key).map_or(0, Change::bytes);
        if pending == 0 || pending - freed + cost(&call.key, &call.change) <= max {
            return Ok(());
        }
        self.stats.busy += 1;
        Err(StoreError::Busy { pending, max })
    }

    fn enqueue(&mut self, call: Call, done: Completion, panics: &Arc<Panics>) {
        let Call {
            key, change, asked, ..
        } = call;
        let earlier = self.queued.remove(&key);
        let freed = earlier.as_ref().map_or(0, Change::bytes);
        let behind = earlier
            .as_ref()
            .and_then(|c| c.put.as_ref())
            .map(|put| put.revision)
            .filter(|r| *r > asked);
        let cleared = earlier.as_ref().and_then(|c| c.cleared);
        let change = merged(earlier, Some(change)).expect("one of two is there");
        self.queued_bytes = self.queued_bytes - freed + cost(&key, &change);
        self.waiters.push((
            key.clone(),
            Waiter::new(asked, cleared, behind, done, panics.clone()),
        ));
        self.queued.insert(key, change);
    }

    fn due_in(&mut self, window: Duration) {
        let at = Instant::now() + window;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn is_over(&self, now: Instant) -> bool {
        let idle = self.queued.is_empty() && self.waiters.is_empty() && self.flushes.is_empty();
        match self.phase {
            Phase::Open => false,
            Phase::Closing { until } => idle || (self.failing.is_some() && now >= until),
            Phase::Ended(_) => true,
        }
    }

    /// When the next batch starts: no sooner than a failure allows, and no later than closing asks.
    fn starts_at(&self, now: Instant) -> Option<Instant> {
        let until = match self.phase {
            Phase::Closing { until } => Some(until),
            _ => None,
        };
        let due = if until.is_some() { Some(now) } else { self.due };
        let start = due.max(
            self.failing
                .as_ref()
                .and_then(|failing| due.and(Some(failing.until))),
        );
        start.map(|start| until.map_or(start, |until| start.min(until.max(now))))
    }

    fn take_batch(&mut self) -> Batch {
        self.due = None;
        self.in_flight = Arc::new(std::mem::take(&mut self.queued));
        self.in_flight_bytes = std::mem::take(&mut self.queued_bytes);
        Batch {
            changes: self.in_flight.clone(),
            waiters: std::mem::take(&mut self.waiters),
            flushes: std::mem::take(&mut self.flushes),
            must_reopen: std::mem::take(&mut self.unusable),
        }
    }

    fn settle(&mut self) -> Arc<Changes> {
        self.in_flight_bytes = 0;
        std::mem::take(&mut self.in_flight)
    }

    fn take_back(&mut self) {
        let failed = self.settle();
        for (key, change) in failed.iter().filter(|(_, change)| change.keep) {
            let later = self.queued.remove(key);
            let freed = later.as_ref().map_or(0, |later| cost(key, later));
            let change = merged(Some(change.clone()), later).expect("one of two is there");
            self.queued_bytes = self.queued_bytes - freed + cost(key, &change);
            self.queued.insert(key.clone(), change);
            self.stats.retried += 1;
        }
        if !self.queued.is_empty() {
            self.due_in(Duration::ZERO);
        }
    }
}

fn cost(key: &[u8], change: &Change) -> usize {
    key.len() + change.bytes() + OVERHEAD
}

fn merged(earlier: Option<Change>, later: Option<Change>) -> Option<Change> {
    match (earlier, later) {
        (Some(earlier), Some(later)) => Some(earlier.then(later)),
        (earlier, later) => earlier.or(later),
    }
}

fn first(changes: &Changes, after: Option<&[u8]>, limit: usize) -> Changes {
    use std::ops::Bound::{Excluded, Unbounded};
    let range = (after.map_or(Unbounded, Excluded), Unbounded);
    changes
        .range::<[u8], _>(range)
        .take(limit)
        .map(|(key, change)| (key.clone(), change.clone()))
        .collect()
}

fn end_of(page: &Changes, limit: usize) -> Option<Key> {
    page.last_key_value()
        .filter(|_| page.len() >= limit)
        .map(|(key, _)| key.clone())
}

fn recovered<'a, T>(poison: PoisonError<(MutexGuard<'a, State>, T)>) -> MutexGuard<'a, State> {
    poison.into_inner().0
}
