//! A world of numbers: terms, processes and messages that the tests can count and kill.
//!
//! What the core must not do ends the test at once: to let go of a term where it was not kept, to lose one, to compare
//! with one that is gone.

use std::sync::atomic::{AtomicBool as PlainBool, AtomicIsize, AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex as PlainMutex};

use kantoku_core::key::{Form, Key, Probe, Short};
use kantoku_core::registry::{self, Holding, Row, Told, What};
use kantoku_core::sync::Mutex;
use kantoku_core::sync::atomic::{AtomicBool, Ordering};
use kantoku_core::terms::Terms;

/// Keeps numbers as terms.
#[derive(Debug, Default)]
pub struct Numbers(Arc<Place>);

#[derive(Debug, Default)]
struct Place {
    ended: PlainBool,
    kept: PlainUsize,
}

/// A kept number. Dropped without [`Terms::release`] while its place lives, it fails the test: that is a leak.
#[derive(Debug)]
pub struct Kept {
    /// Until it is let go of.
    place: Option<Arc<Place>>,
    pub number: u64,
}

const KEPT_BYTES: usize = 100;

impl Numbers {
    fn owns(&self, kept: &Kept) {
        let mine = kept
            .place
            .as_ref()
            .is_some_and(|place| Arc::ptr_eq(&self.0, place));
        assert!(mine, "a term belongs to the place that kept it");
    }
}

impl Terms for Numbers {
    type Given = u64;
    type Kept = Kept;

    fn keep(&mut self, given: u64) -> Kept {
        self.0.kept.fetch_add(1, Relaxed);
        Kept {
            place: Some(Arc::clone(&self.0)),
            number: given,
        }
    }

    fn same(&self, kept: &Kept, given: u64) -> bool {
        self.owns(kept);
        kept.number == given
    }

    fn release(&mut self, mut kept: Kept) {
        self.owns(&kept);
        self.0.kept.fetch_sub(1, Relaxed);
        kept.place = None;
    }

    fn hash(short: Short) -> u64 {
        let (number, hashes) = parts(&short.bytes());
        mixed(number % hashes)
    }

    fn bytes(&self) -> usize {
        self.0.kept.load(Relaxed) * KEPT_BYTES
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.0.ended.store(true, Relaxed);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let lost = self
            .place
            .as_ref()
            .is_some_and(|place| !place.ended.load(Relaxed));
        assert!(
            !lost || std::thread::panicking(),
            "the term {} was lost",
            self.number
        );
    }
}

/// A test's key. Even ones are spelled (some of them long), odd ones are compared as terms.
#[derive(Clone, Debug)]
pub struct Name {
    pub number: u64,
    hash: u64,
    spelling: Option<Vec<u8>>,
}

impl Name {
    /// Names whose numbers are equal modulo `hashes` have one hash, whatever their form.
    pub fn new(number: u64, hashes: u64) -> Self {
        let length = [8, 19, 20, 48][(number / 2 % 4) as usize];
        let word = number << 32 | hashes.min(u64::from(u32::MAX));
        let spelling = || word.to_le_bytes().iter().copied().cycle().take(length).collect();
        Self {
            number,
            hash: mixed(number % hashes),
            spelling: number.is_multiple_of(2).then(spelling),
        }
    }

    pub fn probe(&self) -> Probe<'_, Numbers> {
        let form = match &self.spelling {
            Some(bytes) => Short::of(bytes).map_or(Form::Spelled(bytes), Form::Short),
            None => Form::Term(self.number),
        };
        Probe {
            hash: self.hash,
            form,
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// The number of a kept key.
pub fn number_of(key: &Key<Numbers>) -> u64 {
    match key {
        Key::Spelled(spelling) => parts(spelling.bytes()).0,
        Key::Term(kept) => kept.number,
    }
}

// What a spelling was made of: the number, and how many hashes there are.
fn parts(spelled: &[u8]) -> (u64, u64) {
    let (word, _) = spelled.split_first_chunk().expect("eight bytes or more");
    let word = u64::from_le_bytes(*word);
    (word >> 32, word & u64::from(u32::MAX))
}

/// Spreads numbers over all bits, and is no two numbers' result.
pub fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// A holding as a test sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub incarnation: u64,
    pub key: u64,
    pub pid: u64,
    pub value: u64,
    pub attributes: Option<u64>,
    pub load: u64,
}

impl Seen {
    pub fn row(row: &Row<Numbers>, holding: &Holding<Numbers>, load: u64) -> Self {
        Self::holding(&row.key, holding, load)
    }

    fn holding(key: &Key<Numbers>, holding: &Holding<Numbers>, load: u64) -> Self {
        Self {
            incarnation: holding.incarnation,
            key: number_of(key),
            pid: holding.pid,
            value: holding.value.number,
            attributes: holding
                .described
                .as_ref()
                .map(|described| described.attributes.number),
            load,
        }
    }
}

/// What a watch was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub watch: u64,
    pub what: What,
    pub seen: Seen,
}

/// All processes and what was told, for any number of callers and registries.
#[derive(Debug)]
pub struct Stage {
    processes: Box<[Process]>,
    told: PlainMutex<Vec<Event>>,
    monitors: AtomicIsize,
}

#[derive(Debug)]
struct Process {
    alive: AtomicBool,
    watched_by: Mutex<Vec<u64>>,
}

impl Stage {
    pub fn new(processes: usize) -> Arc<Self> {
        let process = || Process {
            alive: AtomicBool::new(true),
            watched_by: Mutex::new(Vec::new()),
        };
        Arc::new(Self {
            processes: (0..processes).map(|_| process()).collect(),
            told: PlainMutex::default(),
            monitors: AtomicIsize::new(0),
        })
    }

    pub fn alive(&self, pid: u64) -> bool {
        self.processes[pid as usize].alive.load(Ordering::SeqCst)
    }

    /// Ends a process; the registries (by their [`World::registry`]) that are to hear of it.
    pub fn kill(&self, pid: u64) -> Vec<u64> {
        let process = &self.processes[pid as usize];
        let mut watched_by = process.watched_by.lock();
        process.alive.store(false, Ordering::SeqCst);
        std::mem::take(&mut watched_by)
    }

    pub fn take_told(&self) -> Vec<Event> {
        std::mem::take(&mut self.told.lock().expect("no panic while telling"))
    }

    /// Monitors that the core holds now.
    pub fn monitors(&self) -> isize {
        self.monitors.load(Relaxed)
    }
}

/// A standing monitor. Counted until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    pub pid: u64,
    stage: Arc<Stage>,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stage.monitors.fetch_sub(1, Relaxed);
    }
}

/// One caller's view of a stage.
#[derive(Clone, Debug)]
pub struct World {
    pub stage: Arc<Stage>,
    /// Who hears of the deaths of those that are monitored from here.
    pub registry: u64,
}

impl World {
    pub fn new(stage: &Arc<Stage>) -> Self {
        Self {
            stage: Arc::clone(stage),
            registry: 0,
        }
    }
}

impl registry::World for World {
    type Terms = Numbers;
    type Handle = Monitor;
    type Watcher = u64;

    fn alive(&self, pid: u64) -> bool {
        self.stage.alive(pid)
    }

    fn monitor(&self, pid: u64, _shared: &mut Option<Monitor>) -> Option<Monitor> {
        let process = &self.stage.processes[pid as usize];
        let mut watched_by = process.watched_by.lock();
        if !process.alive.load(Ordering::SeqCst) {
            return None;
        }
        watched_by.push(self.registry);
        self.stage.monitors.fetch_add(1, Relaxed);
        let stage = Arc::clone(&self.stage);
        Some(Monitor { pid, stage })
    }

    fn tell(&mut self, told: Told<'_, Numbers, u64>) {
        let event = Event {
            watch: *told.watcher,
            what: told.what,
            seen: Seen::holding(told.key, told.holding, told.load),
        };
        self.stage
            .told
            .lock()
            .expect("no panic while telling")
            .push(event);
    }
}
