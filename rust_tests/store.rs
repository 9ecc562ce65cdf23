//! A disk that loses what was not synced, a folder of one's own, and what one asks of a store in a test.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kantoku_store::redb::{Builder, Database, DatabaseError, StorageBackend};
use kantoku_store::{Durability, Medium, Outcome, Revision, Store, StoreError, Ticket};

/// Far more than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

const SECTOR: usize = 512;

/// Puts and waits until it is on disk, or is not.
pub fn put_sync(store: &Store, key: &[u8], revision: u64, bytes: &[u8]) -> Result<Outcome, StoreError> {
    let (done, ticket) = Ticket::new();
    store.put(key, Revision::new(1, revision), bytes, Durability::Sync, done)?;
    ticket.wait(PATIENCE).expect("every accepted call is answered")
}

/// Puts without asking what becomes of it.
pub fn put_async(store: &Store, key: &[u8], revision: u64, bytes: &[u8]) -> Result<(), StoreError> {
    store.put(
        key,
        Revision::new(1, revision),
        bytes,
        Durability::Async,
        kantoku_store::unwatched(),
    )
}

pub fn flush(store: &Store) -> Result<Outcome, StoreError> {
    let (done, ticket) = Ticket::new();
    store.flush(done)?;
    ticket.wait(PATIENCE).expect("every flush is answered")
}

/// What `get` finds, as revision and bytes.
pub fn found(store: &Store, key: &[u8]) -> Option<(u64, Vec<u8>)> {
    let snapshot = store.get(key).expect("can be read");
    snapshot.map(|snapshot| (snapshot.revision.revision, snapshot.bytes))
}

/// Ends a store whose disk may have failed, without leaving its thread behind.
pub fn end(store: &Store) {
    let ended = store.close(Duration::from_millis(2));
    if let Err(StoreError::Unfinished { .. }) = ended {
        let again = store.close(PATIENCE);
        assert!(
            !matches!(again, Err(StoreError::Unfinished { .. })),
            "the writer ends: {again:?}"
        );
    }
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// A folder that is gone with its owner.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("kantoku-store-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("the folder for temporary files can be written");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the folder for temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Numbers that follow from a seed (SplitMix64, Steele et al. 2014).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A disk in memory. What was written after the last sync may be lost, whole or by sectors, when its power is cut.
#[derive(Debug, Clone, Default)]
pub struct UnreliableDisk(Arc<Mutex<Image>>);

#[derive(Debug, Default)]
struct Image {
    synced: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<Write>,
    fault: Fault,
    /// Faults hit so far.
    faults: u64,
    syncs: u64,
}

#[derive(Debug)]
enum Write {
    Bytes { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// How the disk fails.
#[derive(Debug, Clone, Copy, Default)]
pub enum Fault {
    #[default]
    None,
    /// Every operation fails after this many.
    PowerCut { after: u64 },
    /// The disk ends here.
    Full { at: usize },
    /// Every sync fails in this way.
    Sync(ErrorKind),
    /// Every read fails in this way.
    Read(ErrorKind),
    /// Every write panics.
    Panic,
}

impl UnreliableDisk {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn fault(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    pub fn faults(&self) -> u64 {
        self.lock().faults
    }

    /// How many hold this disk, open databases included.
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    pub fn len(&self) -> usize {
        self.lock().seen.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Power is back: what was synced is there, and of the rest whatever the dice leave.
    pub fn restart(&self, dice: &mut Dice) {
        let mut image = self.lock();
        let mut left = std::mem::take(&mut image.synced);
        for write in std::mem::take(&mut image.unsynced) {
            match dice.below(3) {
                0 => {}
                1 => write.apply(&mut left),
                _ => write.apply_torn(&mut left, dice),
            }
        }
        *image = Image {
            synced: left.clone(),
            seen: left,
            ..Image::default()
        };
    }

    /// Changes a byte in every place where `pattern` lies, as a failing disk may.
    pub fn damage(&self, pattern: &[u8]) -> usize {
        let mut image = self.lock();
        let places: Vec<usize> = (0..image.seen.len())
            .filter(|at| image.seen[*at..].starts_with(pattern))
            .collect();
        for at in &places {
            image.seen[*at] ^= 0x20;
        }
        image.synced = image.seen.clone();
        places.len()
    }

    /// In one step, as a finished file is given its name.
    fn publish(&self, made: &Self) -> io::Result<()> {
        let mut image = self.lock();
        image.step()?;
        image.seen = made.lock().seen.clone();
        image.synced = image.seen.clone();
        Ok(())
    }

    pub fn flip(&self, at: usize, mask: u8) {
        let mut image = self.lock();
        image.seen[at] ^= mask;
        image.synced = image.seen.clone();
    }

    fn lock(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Medium for UnreliableDisk {
    fn place(&self) -> &Path {
        Path::new("unreliable disk")
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        if self.is_empty() {
            let made = Self::new();
            builder.create_with_backend(made.clone())?.close()?;
            self.publish(&made)?;
        }
        builder.create_with_backend(self.clone())
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        *self.lock() = Image::default();
        Ok(PathBuf::from("set aside"))
    }
}

impl StorageBackend for UnreliableDisk {
    fn len(&self) -> io::Result<u64> {
        let mut image = self.lock();
        image.step()?;
        Ok(image.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut image = self.lock();
        image.step()?;
        if let Fault::Read(kind) = image.fault {
            return image.fail(kind);
        }
        let end = offset as usize + out.len();
        let bytes = image
            .seen
            .get(offset as usize..end)
            .ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lock().write(Write::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.lock();
        image.step()?;
        if let Fault::Sync(kind) = image.fault {
            return image.fail(kind);
        }
        image.syncs += 1;
        let unsynced = std::mem::take(&mut image.unsynced);
        unsynced.iter().for_each(|write| write.apply(&mut image.synced));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.lock().write(Write::Bytes {
            at: offset as usize,
            bytes: data.to_vec(),
        })
    }
}

impl Image {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.fault {
            Fault::PowerCut { after: 0 } => self.fail(ErrorKind::Other),
            Fault::PowerCut { after } => {
                *after -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fail(&mut self, kind: ErrorKind) -> io::Result<()> {
        self.faults += 1;
        Err(io::Error::new(kind, "as the test wants it"))
    }

    fn write(&mut self, write: Write) -> io::Result<()> {
        self.step()?;
        match self.fault {
            Fault::Full { at } if write.end() > at.max(self.seen.len()) => {
                return self.fail(ErrorKind::StorageFull);
            }
            Fault::Panic => {
                self.faults += 1;
                panic!("as the test wants it");
            }
            _ => {}
        }
        write.apply(&mut self.seen);
        self.unsynced.push(write);
        Ok(())
    }
}

impl Write {
    fn end(&self) -> usize {
        match self {
            Self::Bytes { at, bytes } => at + bytes.len(),
            Self::Length(length) => *length,
        }
    }

    fn apply(&self, disk: &mut Vec<u8>) {
        match self {
            Self::Bytes { at, bytes } => overwrite(disk, *at, bytes),
            Self::Length(length) => disk.resize(*length, 0),
        }
    }

    /// Some of its sectors arrive.
    fn apply_torn(&self, disk: &mut Vec<u8>, dice: &mut Dice) {
        let Self::Bytes { at, bytes } = self else { return };
        let sectors = bytes.chunks(SECTOR).enumerate();
        for (number, sector) in sectors.filter(|_| dice.one_in(2)) {
            overwrite(disk, at + number * SECTOR, sector);
        }
    }
}

fn overwrite(disk: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if disk.len() < at + bytes.len() {
        disk.resize(at + bytes.len(), 0);
    }
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}
