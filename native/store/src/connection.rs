//! An open database that is opened anew when it fails.
//!
//! After a failed read or write redb refuses everything until it is opened again, and it panics on some pages that are not
//! what it wrote. Both end here. Must not know what the database holds.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Builder, Database};

use crate::error::StoreError;
use crate::medium::Medium;
use crate::options::{OnCorrupt, Options};
use crate::turn::{Doing, Spell, Turn, TurnHook};

/// Makes of an opened database one that can be used.
pub(crate) type Prepare = fn(&Database) -> Result<(), redb::Error>;

pub(crate) struct Connection {
    medium: Box<dyn Medium>,
    prepare: Prepare,
    cache_bytes: usize,
    on_corrupt: OnCorrupt,
    slot: RwLock<Slot>,
    reopened: AtomicU64,
    set_aside: Mutex<Vec<(PathBuf, Instant)>>,
    reading: Spell,
    writing: Spell,
    on_turn: TurnHook,
}

struct Slot {
    /// Grows with each opening, so that of many who found the database broken only one opens it again.
    generation: u64,
    /// `Err(Closed)` is for good.
    database: Result<Database, StoreError>,
}

impl Connection {
    pub(crate) fn open(
        medium: Box<dyn Medium>,
        options: &Options,
        prepare: Prepare,
    ) -> Result<Self, StoreError> {
        let mut connection = Self {
            medium,
            prepare,
            cache_bytes: options.cache_bytes,
            on_corrupt: options.on_corrupt,
            slot: RwLock::new(Slot {
                generation: 0,
                database: Err(StoreError::Closed),
            }),
            reopened: AtomicU64::new(0),
            set_aside: Mutex::new(Vec::new()),
            reading: Spell::of(Doing::Reading),
            writing: Spell::of(Doing::Writing),
            on_turn: options.on_turn.clone(),
        };
        let (database, turn) = connection.open_or_set_aside(options.verify_on_open);
        connection.tell(turn);
        connection.slot = RwLock::new(Slot {
            generation: 0,
            database: Ok(database?),
        });
        Ok(connection)
    }

    /// What fails is tried again, until it fails on a database that was opened anew for it: the writer may have broken the
    /// one that was found.
    pub(crate) fn read<R>(
        &self,
        body: impl Fn(&Database) -> Result<R, redb::Error>,
    ) -> Result<R, StoreError> {
        let mut own = None;
        loop {
            match self.attempt(&self.reading, &body) {
                (_, Err(StoreError::Closed)) => return Err(StoreError::Closed),
                (generation, Err(_)) if own != Some(generation) => {
                    own = self.reopen(generation, false).or(own)
                }
                (_, result) => return result,
            }
        }
    }

    /// What fails is not repeated, but leaves a database behind that can be read.
    pub(crate) fn write<R>(
        &self,
        body: impl Fn(&Database) -> Result<R, redb::Error>,
    ) -> Result<R, StoreError> {
        self.reopen_if_down();
        let (generation, result) = self.attempt(&self.writing, &body);
        if result.is_ok() {
            // It read as well; and who reads next may come much later.
            self.tell(self.reading.ended(None));
        }
        if let Err(error) = &result {
            let is_corrupt = matches!(error, StoreError::Corrupt { .. });
            self.reopen(generation, is_corrupt && self.on_corrupt == OnCorrupt::SetAside);
        }
        result
    }

    pub(crate) fn close(&self) {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        give_up(&mut slot);
    }

    /// How often it was opened again.
    pub(crate) fn reopened(&self) -> u64 {
        self.reopened.load(Ordering::SeqCst)
    }

    pub(crate) fn set_aside_files(&self) -> Vec<PathBuf> {
        let files = self.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().map(|(name, _at)| name.clone()).collect()
    }

    /// How long ago a file was set aside last.
    pub(crate) fn set_aside_ago(&self) -> Option<Duration> {
        let files = self.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
        files.last().map(|(_name, at)| at.elapsed())
    }

    /// For how long reads or writes have failed.
    pub(crate) fn failing_for(&self) -> Option<Duration> {
        self.writing.failing_for().max(self.reading.failing_for())
    }

    fn attempt<R>(
        &self,
        spell: &Spell,
        body: impl Fn(&Database) -> Result<R, redb::Error>,
    ) -> (u64, Result<R, StoreError>) {
        let (generation, result) = self.tried(body);
        self.tell(spell.ended(result.as_ref().err()));
        (generation, result)
    }

    fn tell(&self, turn: Option<Turn>) {
        turn.iter().for_each(|turn| (self.on_turn)(turn));
    }

    fn tried<R>(&self, body: impl Fn(&Database) -> Result<R, redb::Error>) -> (u64, Result<R, StoreError>) {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let result = match &slot.database {
            Ok(database) => self.caught(|| body(database).map_err(|e| self.named(e))),
            Err(error) => Err(error.clone()),
        };
        (slot.generation, result)
    }

    fn reopen_if_down(&self) {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let down = slot.database.is_err().then_some(slot.generation);
        drop(slot);
        down.and_then(|generation| self.reopen(generation, false));
    }

    /// Opens the database that was seen in `generation` anew, unless it was closed or someone else did; with `verify` every
    /// page of it is read and checked first. Answers the new generation.
    fn reopen(&self, generation: u64, verify: bool) -> Option<u64> {
        let (generation, turn) = self.replace(generation, verify)?;
        self.tell(turn);
        Some(generation)
    }

    fn replace(&self, generation: u64, verify: bool) -> Option<(u64, Option<Turn>)> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if slot.generation != generation || matches!(slot.database, Err(StoreError::Closed)) {
            return None;
        }
        // The old one holds the lock of the file.
        give_up(&mut slot);
        let (database, turn) = self.open_or_set_aside(verify);
        slot.database = database;
        slot.generation += 1;
        self.reopened.fetch_add(1, Ordering::SeqCst);
        Some((slot.generation, turn))
    }

    fn open_or_set_aside(&self, verify: bool) -> (Result<Database, StoreError>, Option<Turn>) {
        match self.open_database(verify) {
            Err(why @ StoreError::Corrupt { .. }) if self.on_corrupt == OnCorrupt::SetAside => {
                match self.move_aside() {
                    Ok(to) => (self.open_database(false), Some(Turn::SetAside { to, why })),
                    Err(error) => (Err(error), None),
                }
            }
            opened => (opened, None),
        }
    }

    fn move_aside(&self) -> Result<PathBuf, StoreError> {
        let moved = self.medium.set_aside();
        let name = moved.map_err(|e| StoreError::from_io(self.medium.place(), e))?;
        let mut files = self.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
        files.push((name.clone(), Instant::now()));
        Ok(name)
    }

    fn open_database(&self, verify: bool) -> Result<Database, StoreError> {
        let mut builder = Builder::new();
        builder
            .set_cache_size(self.cache_bytes)
            .set_check_integrity_on_open(verify);
        self.caught(|| {
            let database = self.medium.open(&builder).map_err(|e| self.named(e))?;
            (self.prepare)(&database).map_err(|e| self.named(e))?;
            Ok(database)
        })
    }

    fn caught<R>(&self, body: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
        let result = catch_unwind(AssertUnwindSafe(body));
        result.unwrap_or_else(|panic| Err(StoreError::from_panic(self.medium.place(), &*panic)))
    }

    fn named(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::from_redb(self.medium.place(), error)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("medium", &self.medium)
            .finish_non_exhaustive()
    }
}

/// What redb says on being dropped is of no use: it has failed before, or has nothing left to write.
fn give_up(slot: &mut Slot) {
    let old = std::mem::replace(&mut slot.database, Err(StoreError::Closed));
    // A database that panicked before does so again here, on its poisoned locks.
    drop(catch_unwind(AssertUnwindSafe(|| drop(old))));
}
