//! What a look-up sees of a shard without its lock: which opening it belongs to, and the cells of its table.
//!
//! The shard's writer is the only one, and changes all of it as [`Version`] says. A table that becomes too small, or empty, goes
//! to another block, and the one it left rests until a table of that size is needed again (`B1` in `block`): so a look-up that
//! comes late finds memory, and is told by the version that it saw nothing.

use super::block::Block;
use super::cell::Cell;
use super::version::Version;
use crate::key::Short;
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use std::ptr;

// The sizes that a table has, each by a half or a third larger than the one before: to double it would leave more of it empty,
// and what is empty is fetched too.
const SIZES: usize = 56;
const LEAST: usize = 4;

/// The number of cells of a table of that size.
pub fn cells_of(size: usize) -> usize {
    (LEAST + LEAST / 2 * (size & 1)) << (size >> 1)
}

// A longer walk is left to who holds the lock: among changes it could go on and on.
const MOST_STEPS: usize = 64;

/// What there was to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Who holds the key; the first, if there are many.
    Holder(u64),
    Nobody,
    /// The shard is closed, another opening's, or of duplicate keys: for who has the lock to say which.
    Unclear,
}

#[derive(Debug)]
pub struct Sight {
    version: Version,
    // The generation it is opened for, where keys are unique; else 0.
    opening: AtomicU64,
    // One of the blocks below, or null.
    block: AtomicPtr<Block>,
    blocks: [OnceLock<Box<Block>>; SIZES],
}

impl Default for Sight {
    fn default() -> Self {
        Self {
            version: Version::default(),
            opening: AtomicU64::new(0),
            block: AtomicPtr::new(ptr::null_mut()),
            blocks: [const { OnceLock::new() }; SIZES],
        }
    }
}

impl Sight {
    /// The holder of a key with a short spelling.
    #[inline(always)]
    pub fn holder(&self, generation: u32, hash: u64, key: Short) -> Seen {
        let seen = self.version.look(|| {
            if self.opening.load(Ordering::Relaxed) != u64::from(generation) {
                return Seen::Unclear;
            }
            self.block()
                .map_or(Seen::Nobody, |cells| look_up(cells, hash, key))
        });
        seen.unwrap_or(Seen::Unclear)
    }

    /// Says which opening's content is here, of unique keys.
    pub fn open(&self, generation: u32, unique: bool) {
        let opening = if unique { u64::from(generation) } else { 0 };
        self.change(|| self.opening.store(opening, Ordering::Relaxed));
    }

    /// The table's cells, if it has some.
    #[inline(always)]
    pub fn block(&self) -> Option<&Block> {
        // SAFETY: only `use_block` writes it, and takes it from `blocks`, which loses none while `self` is there. Acquire pairs
        // with its release: the block is whole.
        unsafe { self.block.load(Ordering::Acquire).as_ref() }
    }

    /// A block of that size, at rest. For the writer.
    pub fn at_rest(&self, size: usize) -> &Block {
        self.blocks[size].get_or_init(|| Box::new(Block::new(cells_of(size))))
    }

    /// The writer changes cells, or more.
    #[inline]
    pub fn change<R>(&self, change: impl FnOnce() -> R) -> R {
        self.version.change(change)
    }

    /// Makes a block the table's, or none; the one it had goes to rest. For the writer, in a change.
    pub fn use_block(&self, size: Option<usize>) {
        let left = self.block();
        let next = size.map_or(ptr::null_mut(), |size| {
            ptr::from_ref(self.at_rest(size)).cast_mut()
        });
        self.block.store(next, Ordering::Release);
        left.into_iter().for_each(Block::rest);
    }

    /// What all blocks hold while they rest.
    pub fn bytes_at_rest(&self) -> usize {
        let blocks = self.blocks.iter().filter_map(OnceLock::get);
        blocks.map(|block| block.bytes_at_rest()).sum()
    }
}

#[inline(always)]
fn look_up(cells: &[Cell], hash: u64, key: Short) -> Seen {
    let mut at = home(cells, hash);
    for _ in 0..MOST_STEPS {
        let Some(cell) = cells.get(at) else {
            at = 0;
            continue;
        };
        if cell.is_short(key) {
            return Seen::Holder(cell.holder());
        }
        if cell.is_empty() {
            return Seen::Nobody;
        }
        at += 1;
    }
    Seen::Unclear
}

/// Where a key of this hash is looked for first. By the low half: bits of the other half have chosen the shard.
#[inline(always)]
pub fn home(cells: &[Cell], hash: u64) -> usize {
    (((hash & u64::from(u32::MAX)) * cells.len() as u64) >> u32::BITS) as usize
}
