//! Where the breakers are: the cells that hold them, and the names of each instance.
//!
//! The way from the names to the cell takes no lock where the breaker's name is an immediate (an atom, a small integer): one
//! look into a directory of both names' hash. Any other name, and one whose place is taken there, is looked for in the
//! instance's own list.
//!
//! A cell is never freed, only used again, under a generation that none had; so what comes too late finds a breaker that is not
//! open for it.

use std::ops::Deref;
use std::{fmt, ptr};

use kantoku_core::breaker::{Breaker, Names};
use kantoku_core::directory::{Binding, Directory};
use kantoku_core::key::Probe;
use kantoku_core::sync::Mutex;
use kantoku_core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::owner::Watched;
use crate::terms::Bags;

#[derive(Debug)]
pub struct Place {
    pub breaker: Breaker<Watched>,
    place: u32,
    /// The words of the instance's name and, if that says all, the breaker's; 0 if it does not.
    instance: AtomicU64,
    name: AtomicU64,
}

/// A cell, for good.
#[derive(Clone, Copy)]
pub struct Cell(&'static Place);

impl Deref for Cell {
    type Target = Place;

    fn deref(&self) -> &Place {
        self.0
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Eq for Cell {}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({:p})", self.0)
    }
}

/// An open breaker.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub cell: Cell,
    pub generation: u32,
}

/// All cells that were ever made, those that no breaker uses, and the directory of the others.
#[derive(Debug)]
pub struct Cells {
    directory: Directory,
    made: Mutex<Vec<Cell>>,
    free: Mutex<Vec<Cell>>,
    places: Box<[AtomicPtr<Place>]>,
}

// More breakers than that are found as well, only not so fast.
const QUICKLY_FOUND: usize = 1 << 13;

impl Default for Cells {
    fn default() -> Self {
        let nowhere = || AtomicPtr::new(ptr::null_mut());
        Self {
            directory: Directory::new(QUICKLY_FOUND),
            made: Mutex::new(Vec::new()),
            free: Mutex::new(Vec::new()),
            places: (0..QUICKLY_FOUND).map(|_| nowhere()).collect(),
        }
    }
}

impl Cells {
    /// The open breaker of these names, if it is found quickly.
    #[inline]
    pub fn find(&self, instance: u64, name: u64) -> Option<Open> {
        let Binding { place, generation } = self.directory.find(hash(instance, name))?;
        let found = self.places.get(place as usize)?.load(Ordering::Acquire);
        // SAFETY: a place is bound after its cell was put there, and no cell is ever freed.
        let cell = Cell(unsafe { found.as_ref() }?);
        let own =
            cell.instance.load(Ordering::Relaxed) == instance && cell.name.load(Ordering::Relaxed) == name;
        own.then_some(Open { cell, generation })
    }

    /// A cell for a breaker of an instance, and of a name whose word says all, if it is such a name.
    pub fn take(&self, instance: u64, name: Option<u64>, generation: u32) -> Open {
        let free = self.free.lock().pop();
        let cell = free.unwrap_or_else(|| self.make());
        cell.instance.store(instance, Ordering::Relaxed);
        cell.name.store(name.unwrap_or(0), Ordering::Relaxed);
        Open { cell, generation }
    }

    /// The breaker is open: it may be found quickly from now on.
    pub fn show(&self, open: Open) {
        let name = open.cell.name.load(Ordering::Relaxed);
        let place = open.cell.place;
        if name != 0 && (place as usize) < self.places.len() {
            let generation = open.generation;
            let hash = hash(open.cell.instance.load(Ordering::Relaxed), name);
            // Where there is no room, or another of that hash, the slower way is open.
            let _ = self.directory.bind(hash, Binding { place, generation });
        }
    }

    fn make(&self) -> Cell {
        let mut made = self.made.lock();
        let place = made.len() as u32;
        let cell: &'static Place = Box::leak(Box::new(Place {
            breaker: Breaker::default(),
            place,
            instance: AtomicU64::new(0),
            name: AtomicU64::new(0),
        }));
        if let Some(here) = self.places.get(place as usize) {
            here.store(ptr::from_ref(cell).cast_mut(), Ordering::Release);
        }
        made.push(Cell(cell));
        Cell(cell)
    }

    /// The breaker is not found any more.
    pub fn hide(&self, open: Open) {
        let Open { cell, generation } = open;
        let name = cell.name.load(Ordering::Relaxed);
        if name != 0 {
            let place = cell.place;
            let hash = hash(cell.instance.load(Ordering::Relaxed), name);
            self.directory.unbind(hash, Binding { place, generation });
        }
    }

    /// Closes a breaker, and keeps its cell for another.
    pub fn give_back(&self, open: Open) {
        self.hide(open);
        drop(open.cell.breaker.close(open.generation));
        self.free.lock().push(open.cell);
    }

    pub fn bytes(&self) -> usize {
        let made = self.made.lock();
        let held: usize = made
            .iter()
            .map(|cell| size_of::<Place>() + cell.breaker.bytes())
            .sum();
        held + made.capacity() * size_of::<Cell>() + self.directory.bytes() + size_of_val(&*self.places)
    }
}

// Of two names one that the directory can look for; never 0. It mixes by itself, and whose hash is another's is found all the same.
#[inline]
fn hash(instance: u64, name: u64) -> u64 {
    instance.rotate_left(32) ^ name | 1
}

/// The breakers of one opening of an instance.
#[derive(Debug, Default)]
pub struct Breakers {
    generation: u32,
    names: Names<Bags, Open>,
}

impl Breakers {
    pub fn open(&mut self, generation: u32) {
        self.generation = generation;
    }

    pub fn is_of(&self, generation: u32) -> bool {
        self.generation == generation
    }

    pub fn find(&self, probe: Probe<'_, Bags>) -> Option<Open> {
        self.names.find(probe)
    }

    pub fn add(&mut self, probe: Probe<'_, Bags>, open: Open) {
        self.names.add(probe, open);
    }

    pub fn remove(&mut self, probe: Probe<'_, Bags>) -> Option<Open> {
        self.names.remove(probe)
    }

    pub fn each(&self) -> impl Iterator<Item = Open> {
        self.names.values()
    }

    pub fn bytes(&self) -> usize {
        self.names.bytes()
    }
}
