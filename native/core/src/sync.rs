//! The only door to atomics and locks, so that loom can stand behind it (`--cfg kantoku_loom`).
//!
//! Locks are the standard library's, whose whole state is the lock word (a futex). A lock that keeps its sleepers in
//! a table of the *library* would lose them when a hot upgrade puts two builds of this code behind the same state.
//! A poisoned lock is entered all the same: every entry from C catches panics, and each critical section leaves its
//! data valid between any two statements that can panic.

#[cfg(not(kantoku_loom))]
pub use std::sync::atomic;
#[cfg(not(kantoku_loom))]
use std::sync::{self as imp};

#[cfg(kantoku_loom)]
pub use loom::sync::atomic;
#[cfg(kantoku_loom)]
use loom::sync::{self as imp};

// Loom has none. What is put in must not pass a point where loom could switch threads.
pub use std::sync::OnceLock;

pub use imp::{Arc, MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// A mutex that cannot be poisoned.
#[derive(Debug, Default)]
pub struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A reader-writer lock that cannot be poisoned.
#[derive(Debug, Default)]
pub struct RwLock<T>(imp::RwLock<T>);

impl<T> RwLock<T> {
    pub fn new(value: T) -> Self {
        Self(imp::RwLock::new(value))
    }

    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
