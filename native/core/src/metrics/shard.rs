//! Which of a few places a thread adds to, so that threads do not take one line of memory out of each other's hands.

/// More would cost memory in each series, and what reads has to add them up.
pub const SHARDS: usize = 4;

#[cfg(not(kantoku_loom))]
mod own {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static THREADS: AtomicUsize = AtomicUsize::new(0);

    const UNKNOWN: usize = usize::MAX;

    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(UNKNOWN) };
    }

    #[inline]
    pub fn shard() -> usize {
        SHARD.with(|own| match own.get() {
            UNKNOWN => take(own),
            shard => shard,
        })
    }

    // Relaxed: which one it is, is all that is said.
    #[cold]
    fn take(own: &Cell<usize>) -> usize {
        let shard = THREADS.fetch_add(1, Ordering::Relaxed) % super::SHARDS;
        own.set(shard);
        shard
    }
}

// One place, that they meet there.
#[cfg(kantoku_loom)]
mod own {
    pub fn shard() -> usize {
        0
    }
}

pub use own::shard;
