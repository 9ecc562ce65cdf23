//! Where the pools are: the cells that hold them, and the names of each instance.
//!
//! The way from the names to the cell takes no lock, as all that ask a pool pass there: one look into a directory of both names'
//! hash. Where that leads to another's cell, or nowhere, the instance's own list is asked.
//!
//! A cell is never freed: when its pool is closed it is used for another, under a generation that none had. So whoever has one in
//! his hands needs no count, and what comes too late finds a pool that is not open for it.

use std::ops::Deref;
use std::{fmt, ptr};

use crossbeam_utils::CachePadded;
use kantoku_core::directory::{Binding, Directory};
use kantoku_core::pool::{Pool, mix};
use kantoku_core::sync::Mutex;
use kantoku_core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::beam::Pid;
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
    manager: AtomicU64,
    /// Watches the callers that came last.
    pub shared: Mutex<Option<Watched>>,
}

/// A cell, for good.
#[derive(Clone, Copy)]
pub struct Cell(&'static Room);

impl Deref for Cell {
    type Target = Room;

    fn deref(&self) -> &Room {
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

impl Room {
    pub fn manager(&self) -> Option<Pid> {
        let word = self.manager.load(Ordering::Acquire);
        (word != 0).then_some(Pid(word))
    }

    pub fn set_manager(&self, manager: Pid) {
        self.manager.store(manager.0, Ordering::Release);
    }
}

/// All cells that were ever made, those that no pool uses, and the directory of the others.
#[derive(Debug)]
pub struct Cells {
    directory: Directory,
    made: Mutex<Vec<Cell>>,
    free: Mutex<Vec<Cell>>,
    places: Box<[AtomicPtr<Room>]>,
}

// More pools than that are found as well, only not so fast.
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
    /// The open pool of these names, if it is found quickly.
    #[inline]
    pub fn find(&self, instance: u64, name: u64) -> Option<Open> {
        let Binding { place, generation } = self.directory.find(hash(instance, name))?;
        let room = self.places.get(place as usize)?.load(Ordering::Acquire);
        // SAFETY: a place is bound after its cell was put there, and no cell is ever freed.
        let cell = Cell(unsafe { room.as_ref() }?);
        let own =
            cell.instance.load(Ordering::Relaxed) == instance && cell.name.load(Ordering::Relaxed) == name;
        own.then_some(Open { cell, generation })
    }

    /// A cell for a pool of these names.
    pub fn take(&self, instance: u64, name: u64, generation: u32, seed: u64) -> Open {
        let free = self.free.lock().pop();
        let cell = free.unwrap_or_else(|| self.make(seed));
        cell.instance.store(instance, Ordering::Relaxed);
        cell.name.store(name, Ordering::Relaxed);
        let place = cell.place;
        if (place as usize) < self.places.len() {
            // Where there is no room the slower way is open.
            let _ = self
                .directory
                .bind(hash(instance, name), Binding { place, generation });
        }
        Open { cell, generation }
    }

    fn make(&self, seed: u64) -> Cell {
        let mut made = self.made.lock();
        let place = made.len() as u32;
        let room: &'static Room = Box::leak(Box::new(Room {
            pool: CachePadded::new(Pool::new(seed.wrapping_add(u64::from(place)))),
            place,
            instance: AtomicU64::new(0),
            name: AtomicU64::new(0),
            manager: AtomicU64::new(0),
            shared: Mutex::new(None),
        }));
        if let Some(here) = self.places.get(place as usize) {
            here.store(ptr::from_ref(room).cast_mut(), Ordering::Release);
        }
        made.push(Cell(room));
        Cell(room)
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
        cell.manager.store(0, Ordering::Release);
        drop(cell.shared.lock().take());
        self.free.lock().push(cell);
    }

    pub fn bytes(&self) -> usize {
        let made = self.made.lock();
        let held: usize = made
            .iter()
            .map(|cell| size_of::<Room>() + cell.pool.bytes())
            .sum();
        held + made.capacity() * size_of::<Cell>() + self.directory.bytes() + size_of_val(&*self.places)
    }
}

// Of two names one that the directory can look for; never 0.
#[inline]
fn hash(instance: u64, name: u64) -> u64 {
    mix(instance, name) | 1
}

/// An open pool.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub cell: Cell,
    pub generation: u32,
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
