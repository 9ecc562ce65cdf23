//! What the database holds: snapshots by key, and a quarantine for damaged ones. One transaction a batch, reads beside it.
//!
//! Must not know of threads, queues or callers.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError, Table};
use redb::{TableDefinition, WriteTransaction};

use crate::change::{Change, Effect};
use crate::connection::Connection;
use crate::error::StoreError;
use crate::medium::Medium;
use crate::options::Options;
use crate::pending::{Changes, Key};
use crate::record::{Damage, Revision, Snapshot, decode};

const SNAPSHOTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("snapshots");
/// Number, then key and record of a damaged value, as they were found.
const QUARANTINE: TableDefinition<'_, u64, (&[u8], &[u8])> = TableDefinition::new("quarantine");

/// A value that was damaged and has been set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Grows with each.
    pub number: u64,
    pub key: Vec<u8>,
    /// All that was found, the store's own header included.
    pub record: Vec<u8>,
}

/// What a commit found and did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// The revisions that were there before it.
    pub(crate) stored: BTreeMap<Key, Revision>,
    pub(crate) quarantined: u64,
}

#[derive(Debug)]
pub(crate) struct Disk {
    connection: Connection,
}

impl Disk {
    pub(crate) fn open(medium: Box<dyn Medium>, options: &Options) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Connection::open(medium, options, make_tables)?,
        })
    }

    pub(crate) fn close(&self) {
        self.connection.close();
    }

    pub(crate) fn reopened(&self) -> u64 {
        self.connection.reopened()
    }

    pub(crate) fn set_aside_files(&self) -> Vec<PathBuf> {
        self.connection.set_aside_files()
    }

    pub(crate) fn set_aside_ago(&self) -> Option<Duration> {
        self.connection.set_aside_ago()
    }

    pub(crate) fn failing_for(&self) -> Option<Duration> {
        self.connection.failing_for()
    }

    pub(crate) fn commit(&self, changes: &Changes) -> Result<Applied, StoreError> {
        self.connection.write(|database| {
            let transaction = database.begin_write()?;
            let applied = apply(&transaction, changes)?;
            transaction.commit()?;
            Ok(applied)
        })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Snapshot>, StoreError> {
        let found = self.connection.read(|database| {
            let record = database.begin_read()?.open_table(SNAPSHOTS)?.get(key)?;
            Ok(record.map(|record| snapshot(key, record.value())))
        })?;
        found.transpose().map_err(|damage| StoreError::Damaged { damage })
    }

    /// The first `limit` keys after `after` and not after `end`; those in `pending` with their revision unless it is damaged.
    pub(crate) fn keys(
        &self,
        after: Option<&[u8]>,
        end: Option<&[u8]>,
        limit: usize,
        pending: &Changes,
    ) -> Result<Vec<(Key, Option<Revision>)>, StoreError> {
        let range = (after.map_or(Unbounded, Excluded), end.map_or(Unbounded, Included));
        self.connection.read(|database| {
            let table = database.begin_read()?.open_table(SNAPSHOTS)?;
            let found = table.range::<&[u8]>(range)?.take(limit);
            let keys = found.map(|entry| {
                let (key, record) = entry?;
                let key = Key::from(key.value());
                let record = pending.contains_key(&key).then(|| decode(&key, record.value()));
                let revision = record.and_then(Result::ok).map(|(revision, _)| revision);
                Ok((key, revision))
            });
            keys.collect()
        })
    }

    pub(crate) fn quarantined(&self) -> Result<u64, StoreError> {
        self.connection
            .read(|database| Ok(database.begin_read()?.open_table(QUARANTINE)?.len()?))
    }

    pub(crate) fn quarantine(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        self.connection.read(|database| {
            let table = database.begin_read()?.open_table(QUARANTINE)?;
            let found = table.range(after.saturating_add(1)..)?.take(limit);
            let values = found.map(|entry| {
                let (number, value) = entry?;
                let (key, record) = value.value();
                Ok(Quarantined {
                    number: number.value(),
                    key: key.to_vec(),
                    record: record.to_vec(),
                })
            });
            values.collect()
        })
    }
}

/// A batch on its way into the tables.
struct Writing<'txn> {
    snapshots: Table<'txn, &'static [u8], &'static [u8]>,
    quarantine: Table<'txn, u64, (&'static [u8], &'static [u8])>,
    applied: Applied,
}

fn apply(transaction: &WriteTransaction, changes: &Changes) -> Result<Applied, redb::Error> {
    let mut writing = Writing {
        snapshots: transaction.open_table(SNAPSHOTS)?,
        quarantine: transaction.open_table(QUARANTINE)?,
        applied: Applied::default(),
    };
    for (key, change) in changes {
        writing.apply(key, change)?;
    }
    Ok(writing.applied)
}

impl Writing<'_> {
    fn apply(&mut self, key: &Key, change: &Change) -> Result<(), StorageError> {
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

    fn stored(&self, key: &[u8]) -> Result<Result<Option<Revision>, Damage>, StorageError> {
        let record = self.snapshots.get(key)?;
        let decoded = record.map(|record| decode(key, record.value()).map(|(revision, _)| revision));
        Ok(decoded.transpose())
    }

    /// Leaves the key without a value.
    fn set_aside(&mut self, key: &[u8]) -> Result<Option<Revision>, StorageError> {
        let number = self.quarantine.last()?.map_or(0, |(number, _)| number.value()) + 1;
        if let Some(record) = self.snapshots.remove(key)? {
            self.quarantine.insert(number, (key, record.value()))?;
            self.applied.quarantined += 1;
        }
        Ok(None)
    }
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let reading = database.begin_read()?;
    if reading.open_table(SNAPSHOTS).is_ok() && reading.open_table(QUARANTINE).is_ok() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    transaction.open_table(SNAPSHOTS)?;
    transaction.open_table(QUARANTINE)?;
    Ok(transaction.commit()?)
}

fn snapshot(key: &[u8], record: &[u8]) -> Result<Snapshot, Damage> {
    decode(key, record).map(|(revision, bytes)| Snapshot {
        revision,
        bytes: bytes.to_vec(),
    })
}
