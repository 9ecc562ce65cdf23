//! The store as its users see it: accepts calls on any thread, without waiting for the disk unless a method says so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::change::{Change, Effect, Put};
use crate::completion::{Completion, Panics};
use crate::disk::{Disk, Quarantined};
use crate::error::StoreError;
use crate::medium::{FileMedium, Medium};
use crate::options::Options;
use crate::pending::{Call, Changes, Key};
use crate::queue::Queue;
use crate::record::{Revision, Snapshot, decode, encode};
use crate::stats::Stats;
use crate::writer::Writer;

/// Keys are names, not values.
pub const MAX_KEY_BYTES: usize = 64 << 10;

/// How long the writer of a store that was dropped without [`Store::close`] goes on trying.
const DROPPED_BOUND: Duration = Duration::from_secs(5);

/// Whether a failed commit is the caller's affair or the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The completion that answers `Ok` says that it is on disk. If the commit fails the call is dropped, and its error
    /// says so; only where it shared its batch with an `Async` call for the same key is it tried again with that.
    Sync,
    /// Accepted is enough: what could not be written is kept in memory and tried again. The completion tells of the first try.
    Async,
}

/// A page of keys, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    pub keys: Vec<Vec<u8>>,
    /// Where to go on from. A page may be shorter than asked for, even empty, and still have a next one.
    pub next: Option<Vec<u8>>,
}

/// An open database and the thread that writes it.
#[derive(Debug)]
pub struct Store {
    writer: Arc<Writer>,
    thread: Mutex<Option<JoinHandle<()>>>,
    max_snapshot_bytes: usize,
}

impl Store {
    /// Opens the database at `path`, or makes it, with its folder. Blocks on the disk; after a crash for as long as it
    /// takes to read the database once.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        Self::open_on(FileMedium::new(path.as_ref()), options)
    }

    /// As [`Store::open`], on something other than a file.
    pub fn open_on(medium: impl Medium, options: Options) -> Result<Self, StoreError> {
        let place = medium.place().to_path_buf();
        let panics = Arc::new(Panics::new(options.on_panic.clone()));
        let disk = Disk::open(Box::new(medium), &options)?;
        let queue = Queue::new(&options, panics.clone());
        let quarantined = disk.quarantined()?;
        queue.count(|stats| stats.quarantined = quarantined);
        let writer = Arc::new(Writer { queue, disk, panics });
        let thread = writer.start().map_err(|e| StoreError::from_io(&place, e))?;
        Ok(Self {
            writer,
            thread: Mutex::new(Some(thread)),
            max_snapshot_bytes: options.max_snapshot_bytes,
        })
    }

    /// Replaces the snapshot of `key` unless a newer one is there; one of the same revision is replaced. Never blocks on
    /// the disk; copies `bytes` once. On `Err` nothing was accepted and `done` is not called.
    pub fn put(
        &self,
        key: &[u8],
        revision: Revision,
        bytes: &[u8],
        durability: Durability,
        done: Completion,
    ) -> Result<(), StoreError> {
        check_size("key", key.len(), MAX_KEY_BYTES)?;
        check_size("snapshot", bytes.len(), self.max_snapshot_bytes)?;
        let record = Arc::new(encode(key, revision, bytes));
        let change = Change::put(Put { revision, record }, durability == Durability::Async);
        self.accept(key, change, revision, durability, done)
    }

    /// Removes the snapshot of `key` unless it is newer than `up_to`. Otherwise as [`Store::put`]. What is put later may be
    /// older again: nothing is kept of a key that was removed.
    pub fn delete(
        &self,
        key: &[u8],
        up_to: Revision,
        durability: Durability,
        done: Completion,
    ) -> Result<(), StoreError> {
        check_size("key", key.len(), MAX_KEY_BYTES)?;
        let change = Change::clear(up_to, durability == Durability::Async);
        self.accept(key, change, up_to, durability, done)
    }

    /// Moves the value of `key` to the quarantine if it is damaged, and leaves a healthy one alone. `put` and `delete` do
    /// the same when they come upon a damaged value.
    pub fn set_aside(&self, key: &[u8], done: Completion) -> Result<(), StoreError> {
        check_size("key", key.len(), MAX_KEY_BYTES)?;
        self.accept(key, Change::set_aside(), Revision::MAX, Durability::Sync, done)
    }

    /// The newest snapshot that was accepted, on disk or not. Reads the disk.
    pub fn get(&self, key: &[u8]) -> Result<Option<Snapshot>, StoreError> {
        // In this order: a change that is committed in between is then seen twice, which does no harm, rather than never.
        let pending = self.writer.queue.pending(key)?;
        let stored = self.writer.disk.get(key);
        match pending {
            Some(change) => seen_through(key, &change, stored),
            None => stored,
        }
    }

    /// At most `limit` keys after `after`, those with a damaged value included. A key that is there from the first page to
    /// the last is in exactly one of them. Reads the disk.
    pub fn keys(&self, after: Option<&[u8]>, limit: usize) -> Result<KeyPage, StoreError> {
        let limit = limit.max(1);
        let (mut pending, mut end) = self.writer.queue.pending_after(after, limit)?;
        let stored = self.writer.disk.keys(after, end.as_deref(), limit, &pending)?;
        if stored.len() >= limit {
            end = stored.last().map(|(key, _)| key.clone());
        }
        let mut keys: Vec<Key> = stored
            .into_iter()
            .filter(|(key, revision)| {
                pending
                    .remove(key)
                    .is_none_or(|change| leaves_a_value(&change, *revision))
            })
            .map(|(key, _)| key)
            .collect();
        keys.extend(new_keys(pending, end.as_ref()));
        keys.sort_unstable();
        if keys.len() > limit {
            keys.truncate(limit);
            end = keys.last().cloned();
        }
        Ok(KeyPage {
            keys: keys.iter().map(|key| key.to_vec()).collect(),
            next: end.map(|end| end.to_vec()),
        })
    }

    /// Damaged values that were set aside, in the order of their numbers, after number `after`. Reads the disk.
    pub fn quarantine(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        self.writer.queue.check_open()?;
        self.writer.disk.quarantine(after, limit)
    }

    /// Has all that was accepted by now written at once; `done` is told how that went.
    pub fn flush(&self, done: Completion) -> Result<(), StoreError> {
        self.writer.queue.flush(done)
    }

    pub fn stats(&self) -> Stats {
        Stats {
            reopened: self.writer.disk.reopened(),
            failing_for: self.writer.disk.failing_for(),
            set_aside_ago: self.writer.disk.set_aside_ago(),
            ..self.writer.queue.stats()
        }
    }

    /// Bytes that wait for the disk, with what it takes to keep them. Touches no disk.
    pub fn pending_bytes(&self) -> usize {
        self.writer.queue.bytes()
    }

    /// The names that damaged files were given, by [`crate::OnCorrupt::SetAside`], since the store was opened.
    pub fn set_aside_files(&self) -> Vec<PathBuf> {
        self.writer.disk.set_aside_files()
    }

    /// Refuses new calls, writes all that is pending, ends the writer and gives up the file. Blocks, at most about `bound`;
    /// may be called again to wait longer.
    pub fn close(&self, bound: Duration) -> Result<(), StoreError> {
        // A writer that cannot write gives up a little sooner, so that its reason is what is answered.
        self.writer.queue.begin_close(Instant::now() + bound * 4 / 5);
        let Some(result) = self.writer.queue.wait_for_end(bound) else {
            return Err(StoreError::Unfinished { waited: bound });
        };
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It is past its last statement, and panics of its own were caught there.
        thread.map(JoinHandle::join);
        result
    }

    fn accept(
        &self,
        key: &[u8],
        change: Change,
        asked: Revision,
        durability: Durability,
        done: Completion,
    ) -> Result<(), StoreError> {
        let call = Call {
            key: Key::from(key),
            change,
            asked,
            is_sync: durability == Durability::Sync,
        };
        self.writer.queue.accept(call, done)
    }
}

impl Drop for Store {
    /// Does not wait: the writer finishes by itself.
    fn drop(&mut self) {
        self.writer.queue.begin_close(Instant::now() + DROPPED_BOUND);
    }
}

fn check_size(what: &'static str, bytes: usize, max: usize) -> Result<(), StoreError> {
    if bytes > max {
        Err(StoreError::TooLarge { what, bytes, max })
    } else {
        Ok(())
    }
}

fn seen_through(
    key: &[u8],
    change: &Change,
    stored: Result<Option<Snapshot>, StoreError>,
) -> Result<Option<Snapshot>, StoreError> {
    let stored = match stored {
        Err(StoreError::Damaged { .. }) => None,
        stored => stored?,
    };
    match change.on(stored.as_ref().map(|snapshot| snapshot.revision)) {
        Effect::Leave => Ok(stored),
        Effect::Remove => Ok(None),
        Effect::Write(put) => match decode(key, &put.record) {
            Ok((revision, bytes)) => Ok(Some(Snapshot {
                revision,
                bytes: bytes.to_vec(),
            })),
            Err(damage) => Err(StoreError::Damaged { damage }),
        },
    }
}

fn leaves_a_value(change: &Change, stored: Option<Revision>) -> bool {
    match change.on(stored) {
        Effect::Leave => stored.is_some(),
        Effect::Remove => false,
        Effect::Write(_) => true,
    }
}

fn new_keys(pending: Changes, end: Option<&Key>) -> impl Iterator<Item = Key> {
    let within = move |key: &Key| end.is_none_or(|end| key <= end);
    pending
        .into_iter()
        .filter(move |(key, change)| change.put.is_some() && within(key))
        .map(|(key, _)| key)
}
