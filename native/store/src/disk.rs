//! The redb database: one transaction a batch, reads beside it, and opening it anew after a failure.
//!
//! redb refuses everything after a failed read or write until it is opened again, and panics on some pages that are not
//! what it wrote; both end here. Must not know of threads, queues or callers.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use redb::{Table, TableDefinition, WriteTransaction};

use crate::change::{Change, Effect};
use crate::error::StoreError;
use crate::medium::Medium;
use crate::options::{OnCorrupt, Options};
use crate::pending::{Changes, Key};
use crate::record::{Damage, Revision, Snapshot, decode};

const SNAPSHOTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("snapshots");
/// Number, then key and record of a damaged value, as they were found.
const QUARANTINE: TableDefinition<'_, u64, (&[u8], &[u8])> = TableDefinition::new("quarantine");

type Snapshots<'txn> = Table<'txn, &'static [u8], &'static [u8]>;
type Quarantine<'txn> = Table<'txn, u64, (&'static [u8], &'static [u8])>;

/// A value that was damaged and has been set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Grows with each.
    pub number: u64,
    pub key: Vec<u8>,
    /// All that was found, the store's own header included.
    pub record: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Disk {
    medium: Box<dyn Medium>,
    cache_bytes: usize,
    on_corrupt: OnCorrupt,
    slot: RwLock<Slot>,
    set_aside: Mutex<Vec<PathBuf>>,
}

#[derive(Debug)]
enum Slot {
    Open(Database),
    Down(StoreError),
}

/// What a commit found and did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// The revisions that were there before it.
    pub(crate) stored: BTreeMap<Key, Revision>,
    pub(crate) quarantined: u64,
}

impl Disk {
    pub(crate) fn open(medium: Box<dyn Medium>, options: &Options) -> Result<Self, StoreError> {
        let disk = Self {
            medium,
            cache_bytes: options.cache_bytes,
            on_corrupt: options.on_corrupt,
            slot: RwLock::new(Slot::Down(StoreError::Closed)),
            set_aside: Mutex::new(Vec::new()),
        };
        disk.reopen(options.verify_on_open)?;
        Ok(disk)
    }

    /// Opens the database anew; with `verify` every page of it is read and checked first.
    pub(crate) fn reopen(&self, verify: bool) -> Result<(), StoreError> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        // The old one holds the lock of the file.
        Self::give_up(&mut slot);
        let opened = self.open_or_set_aside(verify);
        let result = opened.as_ref().map(drop).map_err(Clone::clone);
        *slot = opened.map_or_else(Slot::Down, Slot::Open);
        result
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(
            &*self.slot.read().unwrap_or_else(PoisonError::into_inner),
            Slot::Down(_)
        )
    }

    pub(crate) fn close(&self) {
        Self::give_up(&mut self.slot.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn set_aside_files(&self) -> Vec<PathBuf> {
        self.set_aside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn commit(&self, changes: &Changes) -> Result<Applied, StoreError> {
        self.with_database(|database| {
            let transaction = database.begin_write().map_err(|e| self.redb(e))?;
            let applied = self.apply(&transaction, changes)?;
            transaction.commit().map_err(|e| self.redb(e))?;
            Ok(applied)
        })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Snapshot>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(SNAPSHOTS).map_err(|e| self.redb(e))?;
            let Some(record) = table.get(key).map_err(|e| self.redb(e))? else {
                return Ok(None);
            };
            match decode(key, record.value()) {
                Ok((revision, bytes)) => Ok(Some(Snapshot {
                    revision,
                    bytes: bytes.to_vec(),
                })),
                Err(damage) => Err(StoreError::Damaged { damage }),
            }
        })
    }

    /// The first `limit` keys after `after` and not after `end`; those in `pending` with their revision unless it is damaged.
    pub(crate) fn keys(
        &self,
        after: Option<&[u8]>,
        end: Option<&[u8]>,
        limit: usize,
        pending: &Changes,
    ) -> Result<Vec<(Key, Option<Revision>)>, StoreError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let range = (after.map_or(Unbounded, Excluded), end.map_or(Unbounded, Included));
        self.read(|transaction| {
            let table = transaction.open_table(SNAPSHOTS).map_err(|e| self.redb(e))?;
            let found = table.range::<&[u8]>(range).map_err(|e| self.redb(e))?;
            let keys = found.take(limit).map(|entry| {
                let (key, record) = entry?;
                let needs_revision = pending.contains_key(key.value());
                let revision = needs_revision
                    .then(|| decode(key.value(), record.value()).ok())
                    .flatten();
                Ok((Key::from(key.value()), revision.map(|(revision, _)| revision)))
            });
            keys.collect::<Result<_, redb::StorageError>>()
                .map_err(|e| self.redb(e))
        })
    }

    pub(crate) fn quarantined(&self) -> Result<u64, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(QUARANTINE).map_err(|e| self.redb(e))?;
            table.len().map_err(|e| self.redb(e))
        })
    }

    pub(crate) fn quarantine(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(QUARANTINE).map_err(|e| self.redb(e))?;
            let found = table.range(after.saturating_add(1)..).map_err(|e| self.redb(e))?;
            let values = found.take(limit).map(|entry| {
                let (number, value) = entry?;
                let (key, record) = value.value();
                Ok(Quarantined {
                    number: number.value(),
                    key: key.to_vec(),
                    record: record.to_vec(),
                })
            });
            values
                .collect::<Result<_, redb::StorageError>>()
                .map_err(|e| self.redb(e))
        })
    }

    fn read<R>(&self, body: impl FnOnce(ReadTransaction) -> Result<R, StoreError>) -> Result<R, StoreError> {
        self.with_database(|database| body(database.begin_read().map_err(|e| self.redb(e))?))
    }

    fn with_database<R>(
        &self,
        body: impl FnOnce(&Database) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        match &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Slot::Down(error) => Err(error.clone()),
            Slot::Open(database) => caught(self.medium.place(), || body(database)),
        }
    }

    /// What redb says on being dropped is of no use: it has failed before, or has nothing left to write.
    fn give_up(slot: &mut Slot) {
        let old = std::mem::replace(slot, Slot::Down(StoreError::Closed));
        // A database that panicked before does so again here, on its poisoned locks.
        drop(catch_unwind(AssertUnwindSafe(|| drop(old))));
    }

    fn open_or_set_aside(&self, verify: bool) -> Result<Database, StoreError> {
        match self.open_database(verify) {
            Err(StoreError::Corrupt { .. }) if self.on_corrupt == OnCorrupt::SetAside => {
                let name = self
                    .medium
                    .set_aside()
                    .map_err(|e| StoreError::from_io(self.medium.place(), e))?;
                self.set_aside
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(name);
                self.open_database(false)
            }
            opened => opened,
        }
    }

    fn open_database(&self, verify: bool) -> Result<Database, StoreError> {
        caught(self.medium.place(), || {
            let mut builder = Builder::new();
            builder
                .set_cache_size(self.cache_bytes)
                .set_check_integrity_on_open(verify);
            let database = self.medium.open(&builder).map_err(|e| self.redb(e))?;
            self.make_tables(&database)?;
            Ok(database)
        })
    }

    fn make_tables(&self, database: &Database) -> Result<(), StoreError> {
        let reading = database.begin_read().map_err(|e| self.redb(e))?;
        let tables = (reading.open_table(SNAPSHOTS), reading.open_table(QUARANTINE));
        if tables.0.is_ok() && tables.1.is_ok() {
            return Ok(());
        }
        drop((tables, reading));
        let transaction = database.begin_write().map_err(|e| self.redb(e))?;
        transaction.open_table(SNAPSHOTS).map_err(|e| self.redb(e))?;
        transaction.open_table(QUARANTINE).map_err(|e| self.redb(e))?;
        transaction.commit().map_err(|e| self.redb(e))
    }

    fn apply(&self, transaction: &WriteTransaction, changes: &Changes) -> Result<Applied, StoreError> {
        let mut writing = Writing {
            snapshots: transaction.open_table(SNAPSHOTS).map_err(|e| self.redb(e))?,
            quarantine: transaction.open_table(QUARANTINE).map_err(|e| self.redb(e))?,
            applied: Applied::default(),
        };
        for (key, change) in changes {
            writing.apply(key, change).map_err(|e| self.redb(e))?;
        }
        Ok(writing.applied)
    }

    fn redb(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::from_redb(self.medium.place(), error)
    }
}

struct Writing<'txn> {
    snapshots: Snapshots<'txn>,
    quarantine: Quarantine<'txn>,
    applied: Applied,
}

impl Writing<'_> {
    fn apply(&mut self, key: &Key, change: &Change) -> Result<(), redb::StorageError> {
        let stored = match self.stored(key)? {
            Ok(stored) => stored,
            Err(_damage) => self.set_aside(key)?,
        };
        match change.on(stored) {
            Effect::Leave => {}
            Effect::Remove => drop(self.snapshots.remove(&**key)?),
            Effect::Write(put) => drop(self.snapshots.insert(&**key, put.record.as_slice())?),
        }
        self.applied
            .stored
            .extend(stored.map(|stored| (key.clone(), stored)));
        Ok(())
    }

    fn stored(&self, key: &[u8]) -> Result<Result<Option<Revision>, Damage>, redb::StorageError> {
        let record = self.snapshots.get(key)?;
        Ok(record
            .map(|record| decode(key, record.value()).map(|(revision, _)| revision))
            .transpose())
    }

    /// Leaves the key without a value.
    fn set_aside(&mut self, key: &[u8]) -> Result<Option<Revision>, redb::StorageError> {
        let number = self.quarantine.last()?.map_or(0, |(number, _)| number.value()) + 1;
        if let Some(record) = self.snapshots.remove(key)? {
            self.quarantine.insert(number, (key, record.value()))?;
            self.applied.quarantined += 1;
        }
        Ok(None)
    }
}

fn caught<R>(place: &Path, body: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(StoreError::from_panic(place, &*panic)))
}
