//! What all instances of a VM share, and how one build of this library hands it to the next.
//!
//! The state is made once, at the first load, and lives as long as the VM. An upgrade takes it over as it lies in memory if
//! the layout stamp of both builds is the same, and refuses otherwise. A library stays mapped for good, so what points into
//! an older one (a file's thread and what it calls) still works; but no data may be reached through a library's statics, and
//! the locks keep no table outside themselves (see `kantoku_core::sync`).

use std::os::raw::c_void;
use std::ptr;
use std::sync::{Arc, OnceLock, Weak};

use crossbeam_channel::{Receiver, Sender};
use kantoku_core::breaker::Clock;
use kantoku_core::directory::{Binding, Directory};
use kantoku_core::health::Health;
use kantoku_core::registry::Registry;
use kantoku_core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use kantoku_core::sync::{Mutex, RwLock};
use kantoku_core::trace::Ring;
use kantoku_exporters::history::{History, Watch};
use rustler::Term;
use rustler::types::atom::Atom;

use crate::beam::{self, Pid};
use crate::breakers::{self, Breakers};
use crate::errand::Errand;
use crate::exporting::Exporting;
use crate::limits::Full;
use crate::metrics::Collection;
use crate::owner::Watched;
use crate::pools::{Cells, Pools};
use crate::store::File;
use crate::trace_guests::Guests;
use crate::world::World;

pub const LAYOUT: &str = env!("KANTOKU_LAYOUT");

/// Which build this is, beyond its layout: the tests load two.
pub const BUILD: &str = if cfg!(feature = "variant") {
    "variant"
} else {
    "plain"
};

const MOST_INSTANCES: usize = 1 << 16;

/// One instance's place. Never freed: when its instance is closed, it is used for the next.
#[derive(Debug)]
pub struct Shell {
    pub place: u32,
    pub name: AtomicU64,
    pub registry: Registry<World>,
    pub seats: RwLock<Seats>,
    pub pools: RwLock<Pools>,
    pub breakers: RwLock<Breakers>,
    /// The time that its breakers go by.
    pub clock: Clock,
    pub health: Health,
    /// Finished spans, until they are taken.
    pub spans: Ring,
    pub full: Full,
}

/// The processes that owners are linked to, and who listens. Part of one opening, so it carries its generation.
#[derive(Debug, Default)]
pub struct Seats {
    pub generation: u32,
    pub servers: Vec<Option<Pid>>,
    pub listeners: Vec<u64>,
    pub holder: Option<(Pid, Watched)>,
}

impl Seats {
    #[inline]
    pub fn server_of(&self, pid: Pid) -> Option<Pid> {
        match &*self.servers {
            [only] => *only,
            many => many[(pid.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % many.len()],
        }
    }
}

#[derive(Debug)]
pub struct State {
    directory: Directory,
    shells: Box<[AtomicPtr<Shell>]>,
    made: AtomicU32,
    free: Mutex<Vec<u32>>,
    generations: AtomicU32,
    pub opening: Mutex<()>,
    pub watches: AtomicU64,
    pub seed: u64,
    parts: usize,
    pub errands: Sender<Errand>,
    pub errands_in: Receiver<Errand>,
    pub thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    pub files: Mutex<Vec<File>>,
    pub exporting: Mutex<Option<Exporting>>,
    /// What figures were, for whoever exports them.
    pub history: Arc<History>,
    /// Who looks for the history where there is no listener.
    pub watch: Mutex<Watch>,
    pub cells: Cells,
    pub breakers: breakers::Cells,
    /// Of all instances, those that are gone as well until the next one comes.
    pub metrics: Mutex<Vec<Weak<Collection>>>,
    /// Spans of instances that the other engine keeps.
    pub guests: Guests,
}

static STATE: OnceLock<&'static State> = OnceLock::new();

/// The state of this VM. There is one as soon as a NIF can be called.
#[inline]
pub fn state() -> &'static State {
    STATE.get().expect("load has run")
}

/// An instance a call was sent to, by the generation it was sent for.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    pub shell: &'static Shell,
    pub generation: u32,
}

impl State {
    fn new(seed: u64, schedulers: usize) -> Self {
        let (errands, errands_in) = crossbeam_channel::unbounded();
        Self {
            directory: Directory::new(MOST_INSTANCES),
            shells: (0..MOST_INSTANCES)
                .map(|_| AtomicPtr::new(ptr::null_mut()))
                .collect(),
            made: AtomicU32::new(0),
            free: Mutex::new(Vec::new()),
            generations: AtomicU32::new(1),
            opening: Mutex::new(()),
            watches: AtomicU64::new(1),
            seed,
            parts: (schedulers * 4).next_power_of_two().clamp(16, 128),
            errands,
            errands_in,
            thread: Mutex::new(None),
            files: Mutex::new(Vec::new()),
            exporting: Mutex::new(None),
            history: Arc::default(),
            watch: Mutex::default(),
            cells: Cells::default(),
            breakers: breakers::Cells::default(),
            metrics: Mutex::new(Vec::new()),
            guests: Guests::default(),
        }
    }

    /// The instance of a name, if it is open here.
    #[inline]
    pub fn find(&self, name: Term<'_>) -> Option<Opened> {
        // Only atoms are bound, and an atom's word is no other term's.
        self.find_word(beam::word(name.as_c_arg()))
    }

    #[inline]
    pub fn find_word(&self, name: u64) -> Option<Opened> {
        let binding = self.directory.find(name)?;
        Some(Opened {
            shell: self.shell(binding.place),
            generation: binding.generation,
        })
    }

    #[inline]
    pub fn shell(&self, place: u32) -> &'static Shell {
        // Acquire pairs with the release in `shell_for_use`: the shell is whole when its place is told.
        let shell = self.shells[place as usize].load(Ordering::Acquire);
        // SAFETY: places are told only after their shell was put there, and no shell is ever freed.
        unsafe { &*shell }
    }

    /// A shell that no instance uses, and a generation that none had.
    pub fn shell_for_use(&self) -> Option<Opened> {
        let generation = self.generation();
        if let Some(place) = self.free.lock().pop() {
            return Some(Opened {
                shell: self.shell(place),
                generation,
            });
        }
        let place = self.made.load(Ordering::Relaxed);
        if place as usize >= MOST_INSTANCES {
            return None;
        }
        let shell = Box::into_raw(Box::new(Shell::new(place, self.parts, self.seed)));
        self.shells[place as usize].store(shell, Ordering::Release);
        self.made.store(place + 1, Ordering::Relaxed);
        Some(Opened {
            shell: self.shell(place),
            generation,
        })
    }

    pub fn bind(&self, name: u64, opened: Opened) -> bool {
        opened.shell.name.store(name, Ordering::Relaxed);
        let binding = Binding {
            place: opened.shell.place,
            generation: opened.generation,
        };
        self.directory.bind(name, binding).is_ok()
    }

    /// Takes the name away, and those of its pools and breakers; who succeeds closes the instance.
    pub fn unbind(&self, name: u64, opened: Opened) -> bool {
        let binding = Binding {
            place: opened.shell.place,
            generation: opened.generation,
        };
        let unbound = self.directory.unbind(name, binding);
        if unbound {
            let pools = opened.shell.pools.read();
            pools.each().for_each(|open| self.cells.hide(open));
            let breakers = opened.shell.breakers.read();
            breakers.each().for_each(|open| self.breakers.hide(open));
        }
        unbound
    }

    /// A generation that nothing had.
    pub fn generation(&self) -> u32 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    /// The instance is closed and empty: its shell may serve again.
    pub fn give_back(&self, shell: &Shell) {
        self.free.lock().push(shell.place);
    }

    pub fn errand(&self, errand: Errand) {
        // The state holds a receiver, so the channel is never closed.
        let _ = self.errands.send(errand);
    }

    pub fn instances(&self) -> usize {
        self.directory.bindings().count()
    }

    pub fn shells(&self) -> usize {
        self.made.load(Ordering::Relaxed) as usize
    }

    /// Native bytes: the tables of this state, the shells, and what the instances hold.
    pub fn bytes(&self) -> usize {
        let shells = (0..self.shells() as u32).map(|place| self.shell(place));
        let held: usize = shells
            .map(|shell| {
                let named = shell.breakers.read().bytes();
                size_of::<Shell>()
                    + shell.registry.bytes().total()
                    + named
                    + shell.health.bytes()
                    + shell.spans.bytes()
            })
            .sum();
        self.directory.bytes()
            + size_of_val(&*self.shells)
            + held
            + self.cells.bytes()
            + self.breakers.bytes()
            + self.metrics_bytes()
            + self.guests.bytes()
    }
}

impl State {
    fn metrics_bytes(&self) -> usize {
        let kept: Vec<_> = self.metrics.lock().iter().filter_map(Weak::upgrade).collect();
        kept.iter().map(|metrics| metrics.bytes()).sum()
    }
}

impl Shell {
    /// What its pools hold, with their places.
    pub fn pools_bytes(&self) -> usize {
        let pools: Vec<_> = self.pools.read().each().collect();
        pools.iter().map(|open| open.cell.bytes()).sum()
    }

    /// What its breakers hold, with their places and names.
    pub fn breakers_bytes(&self) -> usize {
        let breakers = self.breakers.read();
        let held: usize = breakers.each().map(|open| open.cell.bytes()).sum();
        breakers.bytes() + held
    }

    fn new(place: u32, parts: usize, seed: u64) -> Self {
        Self {
            place,
            name: AtomicU64::new(0),
            registry: Registry::new(parts, seed),
            seats: RwLock::new(Seats::default()),
            pools: RwLock::new(Pools::default()),
            breakers: RwLock::new(Breakers::default()),
            clock: Clock::default(),
            health: Health::default(),
            spans: Ring::default(),
            full: Full::default(),
        }
    }
}

/// What the VM keeps between builds as the library's private data.
#[repr(C)]
struct Handover {
    magic: u64,
    layout: [u8; 16],
    state: *const State,
}

const MAGIC: u64 = 0x6b61_6e74_6f6b_7531;

/// Makes the state. For `load`.
pub fn create(seed: u64, schedulers: usize) -> *mut c_void {
    let state: &'static State = Box::leak(Box::new(State::new(seed, schedulers)));
    adopt(state)
}

fn adopt(state: &'static State) -> *mut c_void {
    // A second load of the same build in one VM finds the first one's state: its instances live on.
    let state: &'static State = STATE.get_or_init(|| state);
    let layout = LAYOUT.as_bytes().try_into().expect("a stamp of sixteen digits");
    Box::into_raw(Box::new(Handover {
        magic: MAGIC,
        layout,
        state,
    }))
    .cast()
}

/// Takes over another build's state; `None` if its layout is another. For `upgrade`.
pub fn take_over(old: *const c_void) -> Option<*mut c_void> {
    let old: *const Handover = old.cast();
    // SAFETY: the VM hands us what an earlier build left as its private data. All of them begin with these fields
    // (`repr(C)`), and the state behind a stamp equal to ours has our layout and is never freed.
    unsafe {
        if old.is_null() || (*old).magic != MAGIC || (*old).layout != *LAYOUT.as_bytes() {
            return None;
        }
        Some(adopt(&*(*old).state))
    }
}

/// Frees the private data of a build that was purged. The state stays: another build has it, or may come for it.
pub fn leave(data: *mut c_void) {
    if !data.is_null() {
        // SAFETY: made by `adopt` of this build, freed once.
        drop(unsafe { Box::from_raw(data.cast::<Handover>()) });
    }
}

/// The word of an atom, for directories and seats.
pub fn name_word(name: Atom) -> u64 {
    beam::word(name.as_c_arg())
}
