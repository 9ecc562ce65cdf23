//! Where the breakers are: the cells that hold them, and the names of each instance.
//!
//! The way from the names to the cell takes no lock where the breaker's name is an immediate (an atom, a small integer): one
//! look at the seat of both names' hash. Any other name, and one whose seats are taken, is looked for in the instance's own list.

use std::ptr;

use kantoku_core::breaker::{Breaker, Glance, Moment, Names};
use kantoku_core::key::Probe;
use kantoku_core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::cells::{self, Stock};
use crate::owner::Watched;
use crate::state::{Shell, state};
use crate::terms::Bags;

#[derive(Debug)]
pub struct Place {
    pub breaker: Breaker<Watched>,
    /// The words of the instance's name and, if that says all, the breaker's; 0 if it does not.
    instance: AtomicU64,
    name: AtomicU64,
    /// The place of its instance.
    shell: AtomicU32,
}

pub type Cell = cells::Cell<Place>;

impl Cell {
    /// What its breaker goes by. Of another instance if the cell is another's by now, whose breaker then refuses the generation.
    pub fn read_clock(self, time: impl Fn() -> i64) -> Moment {
        let shell = state().shell(self.shell.load(Ordering::Relaxed));
        shell.clock.read(time)
    }
}

impl Place {
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.breaker.bytes()
    }
}

/// An open breaker.
pub type Open = cells::Open<Place>;

/// The cells, and where those of open breakers are found at one look.
#[derive(Debug)]
pub struct Cells {
    stock: Stock<Place>,
    /// Two neighbours for each hash of names.
    seats: Box<[AtomicPtr<Place>]>,
}

// Breakers whose seats others have are found as well, only not so fast.
const SEATS: usize = 1 << 13;

impl Default for Cells {
    fn default() -> Self {
        let nobody = || AtomicPtr::new(ptr::null_mut());
        Self {
            stock: Stock::default(),
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
        // SAFETY: only cells are put there.
        let cell = unsafe { Cell::at(found) }?;
        let glance = cell.breaker.glance();
        let own =
            cell.name.load(Ordering::Relaxed) == name && cell.instance.load(Ordering::Relaxed) == instance;
        (own && glance.generation() != 0).then_some((cell, glance))
    }

    /// A cell for a breaker of an instance, and of a name whose word says all, if it is such a name.
    pub fn take(&self, shell: &Shell, name: Option<u64>, generation: u32) -> Open {
        let cell = self.stock.take(|_| Place {
            breaker: Breaker::default(),
            instance: AtomicU64::new(0),
            name: AtomicU64::new(0),
            shell: AtomicU32::new(0),
        });
        let instance = shell.name.load(Ordering::Relaxed);
        cell.instance.store(instance, Ordering::Relaxed);
        cell.shell.store(shell.place, Ordering::Relaxed);
        cell.name.store(name.unwrap_or(0), Ordering::Relaxed);
        Open { cell, generation }
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
            seats(open.cell).into_iter().any(seated);
        }
    }

    /// The breaker is not found at one look any more.
    pub fn hide(&self, open: Open) {
        let (nobody, own) = (ptr::null_mut(), open.cell.pointer());
        for seat in seats(open.cell) {
            let _ = self.seats[seat].compare_exchange(own, nobody, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Closes a breaker, and keeps its cell for another.
    pub fn give_back(&self, open: Open) {
        self.hide(open);
        drop(open.cell.breaker.close(open.generation));
        self.stock.give_back(open.cell);
    }

    pub fn bytes(&self) -> usize {
        self.stock.bytes(|place| place.breaker.bytes()) + size_of_val(&*self.seats)
    }
}

fn seats(cell: Cell) -> [usize; 2] {
    let seat = seat(
        cell.instance.load(Ordering::Relaxed),
        cell.name.load(Ordering::Relaxed),
    );
    [seat, seat ^ 1]
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
