//! Where the breakers are: the cells that hold them, and the names of each instance.
//!
//! The way from the names to the cell takes no lock where the breaker's name is an immediate (an atom, a small integer): one
//! look at the seat of both names' hash. Any other name, and one whose seats are taken, is looked for in the instance's own list.
//!
//! A cell is never freed, only used again, under a generation that none had; so what comes too late finds a breaker that is not
//! open for it.

use std::ops::Deref;
use std::{fmt, ptr};

use kantoku_core::breaker::{Breaker, Glance, Names};
use kantoku_core::key::Probe;
use kantoku_core::sync::Mutex;
use kantoku_core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::owner::Watched;
use crate::terms::Bags;

#[derive(Debug)]
pub struct Place {
    pub breaker: Breaker<Watched>,
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

impl Cell {
    fn pointer(self) -> *mut Place {
        ptr::from_ref(self.0).cast_mut()
    }

    fn seats(self) -> [usize; 2] {
        let seat = seat(
            self.instance.load(Ordering::Relaxed),
            self.name.load(Ordering::Relaxed),
        );
        [seat, seat ^ 1]
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

/// All cells that were ever made, those that no breaker uses, and where the others are found at one look.
#[derive(Debug)]
pub struct Cells {
    made: Mutex<Vec<Cell>>,
    free: Mutex<Vec<Cell>>,
    /// Two neighbours for each hash of names.
    seats: Box<[AtomicPtr<Place>]>,
}

// Breakers whose seats others have are found as well, only not so fast.
const SEATS: usize = 1 << 13;

impl Default for Cells {
    fn default() -> Self {
        let nobody = || AtomicPtr::new(ptr::null_mut());
        Self {
            made: Mutex::new(Vec::new()),
            free: Mutex::new(Vec::new()),
            seats: (0..SEATS).map(|_| nobody()).collect(),
        }
    }
}

impl Cells {
    /// The open breaker of these names as it is now, if it is found at one look.
    ///
    /// The names of a cell are written while it is open for no generation. So who sees a generation sees the names that it was opened
    /// with, or later ones and then the generation is over: if they are those that were asked for, it is theirs.
    #[inline]
    pub fn find(&self, instance: u64, name: u64) -> Option<(Cell, Glance)> {
        let seat = seat(instance, name);
        self.at(seat, instance, name)
            .or_else(|| self.at(seat ^ 1, instance, name))
    }

    #[inline]
    fn at(&self, seat: usize, instance: u64, name: u64) -> Option<(Cell, Glance)> {
        // Acquire pairs with the release in `show`.
        let found = self.seats[seat & (SEATS - 1)].load(Ordering::Acquire);
        // SAFETY: only cells are put there, and no cell is ever freed.
        let cell = Cell(unsafe { found.as_ref() }?);
        let glance = cell.breaker.glance();
        let own =
            cell.name.load(Ordering::Relaxed) == name && cell.instance.load(Ordering::Relaxed) == instance;
        (own && glance.generation() != 0).then_some((cell, glance))
    }

    /// A cell for a breaker of an instance, and of a name whose word says all, if it is such a name.
    pub fn take(&self, instance: u64, name: Option<u64>, generation: u32) -> Open {
        let free = self.free.lock().pop();
        let cell = free.unwrap_or_else(|| self.make());
        cell.instance.store(instance, Ordering::Relaxed);
        cell.name.store(name.unwrap_or(0), Ordering::Relaxed);
        Open { cell, generation }
    }

    fn make(&self) -> Cell {
        let cell = Cell(Box::leak(Box::new(Place {
            breaker: Breaker::default(),
            instance: AtomicU64::new(0),
            name: AtomicU64::new(0),
        })));
        self.made.lock().push(cell);
        cell
    }

    /// The breaker is open: it has a seat from now on, if one is free.
    pub fn show(&self, open: Open) {
        if open.cell.name.load(Ordering::Relaxed) != 0 {
            let (nobody, own) = (ptr::null_mut(), open.cell.pointer());
            let seated = |seat: usize| {
                let taken =
                    self.seats[seat].compare_exchange(nobody, own, Ordering::Release, Ordering::Relaxed);
                taken.is_ok()
            };
            open.cell.seats().into_iter().any(seated);
        }
    }

    /// The breaker is not found at one look any more.
    pub fn hide(&self, open: Open) {
        let (nobody, own) = (ptr::null_mut(), open.cell.pointer());
        for seat in open.cell.seats() {
            let _ = self.seats[seat].compare_exchange(own, nobody, Ordering::Relaxed, Ordering::Relaxed);
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
        held + made.capacity() * size_of::<Cell>() + size_of_val(&*self.seats)
    }
}

// Of all bits of both names.
#[inline]
fn seat(instance: u64, name: u64) -> usize {
    let mixed = (instance.rotate_left(32) ^ name).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - SEATS.ilog2())) as usize
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
