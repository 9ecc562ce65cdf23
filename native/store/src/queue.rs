//! What stands between callers, who must not wait, and the writer, who does.
//!
//! No completion is called, and nothing is read or written, while the lock is held.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::change::Change;
use crate::completion::{Completion, Panics, Waiter};
use crate::error::StoreError;
use crate::options::{Backoff, GroupCommit, Options};
use crate::pending::{Batch, Call, Changes, Key, Pending, merged};
use crate::record::Revision;
use crate::stats::{Commit, Stats};

#[derive(Debug)]
pub(crate) struct Queue {
    pending: Mutex<Pending>,
    /// Signals the writer.
    wake: Condvar,
    /// Signals who waits for the writer's end.
    ended: Condvar,
    max_pending_bytes: usize,
    group: GroupCommit,
    backoff: Backoff,
    panics: Arc<Panics>,
}

impl Queue {
    pub(crate) fn new(options: &Options, panics: Arc<Panics>) -> Self {
        Self {
            pending: Mutex::default(),
            wake: Condvar::new(),
            ended: Condvar::new(),
            max_pending_bytes: options.max_pending_bytes,
            group: options.group_commit,
            backoff: options.backoff,
            panics,
        }
    }

    // The callers' side

    /// Accepts a call; on an error `done` is dropped without having been called.
    pub(crate) fn accept(&self, call: Call, done: Completion) -> Result<(), StoreError> {
        let window = if call.is_sync {
            self.group.sync_window
        } else {
            self.group.async_window
        };
        let mut pending = self.lock();
        pending.check_open()?;
        pending.check_room(&call, self.max_pending_bytes)?;
        pending.enqueue(call, done, &self.panics);
        let is_full = pending.queued_bytes() >= self.group.bytes;
        self.wake_in(if is_full { Duration::ZERO } else { window }, pending);
        Ok(())
    }

    /// `done` is called when all that was accepted before is on disk, or could not be written.
    pub(crate) fn flush(&self, done: Completion) -> Result<(), StoreError> {
        let mut pending = self.lock();
        pending.check_open()?;
        pending.flush(Waiter::new(Revision::MAX, None, None, done, self.panics.clone()));
        self.wake_in(Duration::ZERO, pending);
        Ok(())
    }

    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        self.lock().check_open()
    }

    /// What is accepted and not on disk for a key, as one change.
    pub(crate) fn pending(&self, key: &[u8]) -> Result<Option<Change>, StoreError> {
        let pending = self.lock();
        pending.check_open()?;
        Ok(pending.of(key))
    }

    /// The first pending keys after `after`; with the key up to which they are all there, if there are more than `limit`.
    pub(crate) fn pending_after(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Changes, Option<Key>), StoreError> {
        let pending = self.lock();
        pending.check_open()?;
        let (mut page, later) = pending.after(after, limit);
        drop(pending);
        let end = [&page, &later]
            .into_iter()
            .filter_map(|part| end_of(part, limit))
            .min();
        for (key, change) in later {
            let earlier = page.remove(&key);
            page.extend(merged(earlier, Some(change)).map(|change| (key, change)));
        }
        Ok((page, end))
    }

    pub(crate) fn stats(&self) -> Stats {
        let pending = self.lock();
        Stats {
            pending_keys: pending.keys(),
            pending_bytes: pending.bytes(),
            panics: self.panics.count(),
            ..pending.stats.clone()
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.lock().stats);
    }

    /// Refuses new calls; the writer ends when all is written, or at `until` if writing fails.
    pub(crate) fn begin_close(&self, until: Instant) {
        self.lock().begin_close(until);
        self.wake.notify_one();
    }

    /// The writer's last word, if it came within `bound`.
    pub(crate) fn wait_for_end(&self, bound: Duration) -> Option<Result<(), StoreError>> {
        let waited = self
            .ended
            .wait_timeout_while(self.lock(), bound, |pending| pending.ended().is_none());
        waited.map_or_else(recovered, |(pending, _)| pending).ended()
    }

    // The writer's side

    /// Waits until there is something to do; `None` when the writer is to end.
    pub(crate) fn next_batch(&self) -> Option<Batch> {
        let mut pending = self.lock();
        loop {
            let now = Instant::now();
            if pending.is_over(now) {
                return None;
            }
            pending = match pending.starts_at(now) {
                Some(start) if start <= now => return Some(pending.take_batch()),
                Some(start) => {
                    let waited = self.wake.wait_timeout(pending, start - now);
                    waited.map_or_else(recovered, |(pending, _)| pending)
                }
                None => self.wake.wait(pending).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    pub(crate) fn committed(&self, commit: Commit) {
        let done = self.lock().committed(commit);
        // Freeing many large values takes its time, which is not spent under the lock.
        drop(done);
    }

    pub(crate) fn failed(&self, error: &StoreError) {
        self.lock().failed(error, self.backoff, Instant::now());
    }

    /// The writer's last word. Calls that are still queued are answered by it.
    pub(crate) fn end(&self) {
        let (left, error) = self.lock().end();
        self.ended.notify_all();
        left.tell_failed(&error);
    }

    fn wake_in(&self, window: Duration, mut pending: MutexGuard<'_, Pending>) {
        pending.due_by(Instant::now() + window);
        drop(pending);
        self.wake.notify_one();
    }

    /// No invariant spans a point where code under this lock can panic, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_of(page: &Changes, limit: usize) -> Option<Key> {
    page.last_key_value()
        .filter(|_| page.len() >= limit)
        .map(|(key, _)| key.clone())
}

fn recovered<'a, T>(poison: PoisonError<(MutexGuard<'a, Pending>, T)>) -> MutexGuard<'a, Pending> {
    poison.into_inner().0
}
