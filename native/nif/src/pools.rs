//! Where the pools are: the cells that hold them, and the names of each instance.
//!
//! The way from the names to the cell takes no lock, as all that ask a pool pass there: one look into a directory of both names'
//! hash. Where that leads to another's cell, or nowhere, the instance's own list is asked.

use std::ptr;

use crossbeam_utils::CachePadded;
use kantoku_core::directory::{Binding, Directory};
use kantoku_core::pool::Pool;
use kantoku_core::sync::Mutex;
use kantoku_core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::beam::Pid;
use crate::cells::{self, Stock};
use crate::courier::Processes;
use crate::owner::Watched;

#[derive(Debug)]
pub struct Room {
    /// Away from what is read before it is entered.
    pub pool: CachePadded<Pool<Processes>>,
    place: u32,
    /// The words of the instance's name and the pool's.
    instance: AtomicU64,
    pub name: AtomicU64,
    /// Who is told what the pool cannot do itself; 0 is nobody.
    foreman: AtomicU64,
    /// Watches the callers that came last.
    pub shared: Mutex<Option<Watched>>,
}

pub type Cell = cells::Cell<Room>;

/// An open pool.
pub type Open = cells::Open<Room>;

impl Room {
    fn new(place: u32, seed: u64) -> Self {
        Self {
            pool: CachePadded::new(Pool::new(seed.wrapping_add(u64::from(place)))),
            place,
            instance: AtomicU64::new(0),
            name: AtomicU64::new(0),
            foreman: AtomicU64::new(0),
            shared: Mutex::new(None),
        }
    }

    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.pool.bytes()
    }

    pub fn foreman(&self) -> Option<Pid> {
        let word = self.foreman.load(Ordering::Acquire);
        (word != 0).then_some(Pid(word))
    }

    pub fn set_foreman(&self, foreman: Pid) {
        self.foreman.store(foreman.0, Ordering::Release);
    }
}

/// The cells, and the directory of those of open pools.
#[derive(Debug)]
pub struct Cells {
    directory: Directory,
    stock: Stock<Room>,
    places: Box<[AtomicPtr<Room>]>,
}

// More pools than that are found as well, only not so fast.
const QUICKLY_FOUND: usize = 1 << 13;

impl Default for Cells {
    fn default() -> Self {
        let nowhere = || AtomicPtr::new(ptr::null_mut());
        Self {
            directory: Directory::new(QUICKLY_FOUND),
            stock: Stock::default(),
            places: (0..QUICKLY_FOUND).map(|_| nowhere()).collect(),
        }
    }
}

impl Cells {
    /// The open pool of these names, if it is found quickly.
    #[inline]
    pub fn find(&self, instance: u64, name: u64) -> Option<Open> {
        let Binding { place, generation } = self.directory.find(hash(instance, name))?;
        let room = self.places.get(place as usize)?.load(Ordering::Acquire);
        // SAFETY: only cells are put there.
        let cell = unsafe { Cell::at(room) }?;
        let own =
            cell.instance.load(Ordering::Relaxed) == instance && cell.name.load(Ordering::Relaxed) == name;
        own.then_some(Open { cell, generation })
    }

    /// A cell for a pool of these names.
    pub fn take(&self, instance: u64, name: u64, generation: u32, seed: u64) -> Open {
        let cell = self.stock.take(|before| Room::new(before as u32, seed));
        cell.instance.store(instance, Ordering::Relaxed);
        cell.name.store(name, Ordering::Relaxed);
        let place = cell.place;
        if let Some(here) = self.places.get(place as usize) {
            here.store(cell.pointer(), Ordering::Release);
            // Where there is no room the slower way is open.
            let _ = self
                .directory
                .bind(hash(instance, name), Binding { place, generation });
        }
        Open { cell, generation }
    }

    /// The pool is not found any more.
    pub fn hide(&self, open: Open) {
        let Open { cell, generation } = open;
        let (instance, name) = (
            cell.instance.load(Ordering::Relaxed),
            cell.name.load(Ordering::Relaxed),
        );
        let place = cell.place;
        self.directory
            .unbind(hash(instance, name), Binding { place, generation });
    }

    /// The pool is closed.
    pub fn give_back(&self, open: Open) {
        self.hide(open);
        let cell = open.cell;
        cell.foreman.store(0, Ordering::Release);
        drop(cell.shared.lock().take());
        self.stock.give_back(cell);
    }

    pub fn bytes(&self) -> usize {
        self.stock.bytes(|room| room.pool.bytes()) + self.directory.bytes() + size_of_val(&*self.places)
    }
}

// Of two names one that the directory can look for, which does the mixing; never 0, as the lowest bits of atoms are not.
#[inline]
fn hash(instance: u64, name: u64) -> u64 {
    (instance.rotate_left(32) ^ name) | 1
}

/// The pools of one opening of an instance.
#[derive(Debug, Default)]
pub struct Pools {
    generation: u32,
    open: Vec<(u64, Open)>,
}

impl Pools {
    pub fn open(&mut self, generation: u32) {
        debug_assert!(self.open.is_empty(), "what was here before is closed");
        self.generation = generation;
    }

    pub fn is_of(&self, generation: u32) -> bool {
        self.generation == generation
    }

    pub fn find(&self, name: u64) -> Option<Open> {
        self.open
            .iter()
            .find(|(known, _)| *known == name)
            .map(|&(_, open)| open)
    }

    pub fn add(&mut self, name: u64, open: Open) {
        self.open.push((name, open));
    }

    pub fn remove(&mut self, name: u64) -> Option<Open> {
        let at = self.open.iter().position(|(known, _)| *known == name)?;
        Some(self.open.swap_remove(at).1)
    }

    pub fn each(&self) -> impl Iterator<Item = Open> {
        self.open.iter().map(|&(_, open)| open)
    }

    pub fn into_open(self) -> impl Iterator<Item = Open> {
        self.open.into_iter().map(|(_, open)| open)
    }
}
