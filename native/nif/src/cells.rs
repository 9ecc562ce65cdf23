//! Places that are used again and never freed: who has one in his hands needs no count. Each use is under a generation that none
//! had, so what comes too late finds a place that is not open for it.

use std::ops::Deref;
use std::{fmt, ptr};

use kantoku_core::sync::Mutex;

/// A place, for good.
pub struct Cell<P: 'static>(&'static P);

impl<P> Cell<P> {
    pub fn pointer(self) -> *mut P {
        ptr::from_ref(self.0).cast_mut()
    }

    /// # Safety
    /// The pointer is null, or one that [`Self::pointer`] gave.
    pub unsafe fn at(pointer: *mut P) -> Option<Self> {
        // SAFETY: as the caller says; no cell is ever freed.
        unsafe { pointer.as_ref() }.map(Self)
    }
}

impl<P> Clone for Cell<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Cell<P> {}

impl<P> Deref for Cell<P> {
    type Target = P;

    fn deref(&self) -> &P {
        self.0
    }
}

impl<P> PartialEq for Cell<P> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl<P> Eq for Cell<P> {}

impl<P> fmt::Debug for Cell<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({:p})", self.0)
    }
}

/// A cell in one of its uses.
#[derive(Debug)]
pub struct Open<P: 'static> {
    pub cell: Cell<P>,
    pub generation: u32,
}

impl<P> Clone for Open<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Open<P> {}

impl<P> PartialEq for Open<P> {
    fn eq(&self, other: &Self) -> bool {
        (self.cell, self.generation) == (other.cell, other.generation)
    }
}

/// All cells that were ever made, and those that nobody uses.
#[derive(Debug)]
pub struct Stock<P: 'static> {
    made: Mutex<Vec<Cell<P>>>,
    free: Mutex<Vec<Cell<P>>>,
}

impl<P> Default for Stock<P> {
    fn default() -> Self {
        Self {
            made: Mutex::new(Vec::new()),
            free: Mutex::new(Vec::new()),
        }
    }
}

impl<P> Stock<P> {
    /// One that nobody uses; a new one is made knowing how many there were before it.
    pub fn take(&self, make: impl FnOnce(usize) -> P) -> Cell<P> {
        if let Some(cell) = self.free.lock().pop() {
            return cell;
        }
        let mut made = self.made.lock();
        let cell = Cell(Box::leak(Box::new(make(made.len()))));
        made.push(cell);
        cell
    }

    pub fn give_back(&self, cell: Cell<P>) {
        self.free.lock().push(cell);
    }

    /// `inside` are those that a place holds beyond itself.
    pub fn bytes(&self, inside: impl Fn(&P) -> usize) -> usize {
        let made = self.made.lock();
        let held: usize = made.iter().map(|cell| size_of::<P>() + inside(cell)).sum();
        held + made.capacity() * size_of::<Cell<P>>()
    }
}
