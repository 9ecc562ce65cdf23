//! Where the pools are: the cells that hold them, and the names of each instance.
//!
//! A cell is never freed: when its pool is closed it is used for another, under a generation that none had. So whoever has one in
//! his hands needs no count, and what comes too late finds a pool that is not open for it.

use std::fmt;
use std::ops::Deref;

use kantoku_core::pool::Pool;
use kantoku_core::sync::Mutex;
use kantoku_core::sync::atomic::{AtomicU64, Ordering};

use crate::beam::Pid;
use crate::courier::Processes;
use crate::owner::Watched;

#[derive(Debug)]
pub struct Room {
    pub pool: Pool<Processes>,
    /// The word of the pool's name.
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
        std::ptr::eq(self.0, other.0)
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

/// All cells that were ever made, and those that no pool uses.
#[derive(Debug, Default)]
pub struct Cells {
    made: Mutex<Vec<Cell>>,
    free: Mutex<Vec<Cell>>,
}

impl Cells {
    pub fn take(&self, seed: u64) -> Cell {
        if let Some(cell) = self.free.lock().pop() {
            return cell;
        }
        let mut made = self.made.lock();
        let cell = Cell(Box::leak(Box::new(Room {
            pool: Pool::new(seed.wrapping_add(made.len() as u64)),
            name: AtomicU64::new(0),
            manager: AtomicU64::new(0),
            shared: Mutex::new(None),
        })));
        made.push(cell);
        cell
    }

    /// The cell's pool is closed.
    pub fn give_back(&self, cell: Cell) {
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
        held + made.capacity() * size_of::<Cell>()
    }
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

    /// Few: a look at each is less than a map.
    #[inline]
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

    pub fn into_open(self) -> impl Iterator<Item = Open> {
        self.open.into_iter().map(|(_, open)| open)
    }
}
