//! Memory for the cells of a table that readers without a lock may still be looking at when the table has left it.
//!
//! B1. A block stays memory, of cells, as long as it lives. What rests is given back to the system all the same, where that can be
//!     done page by page: such pages read as empty cells.
//! B2. A block that rests is empty.

use std::alloc::{self, Layout};
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use super::cell::Cell;

const LINE: usize = 64;
const PAGE: usize = 4096;
const HUGE_PAGE: usize = 1 << 21;

// Below, what a system call costs is more than what it gives back.
const GIVEN_BACK: usize = 2 * PAGE;

pub struct Block {
    cells: NonNull<Cell>,
    len: usize,
}

// SAFETY: a block owns its cells, and they are made of atomic words.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    pub fn new(len: usize) -> Self {
        let layout = Self::layout(len);
        assert!(layout.size() > 0, "a block has cells");
        // SAFETY: the size is not zero.
        let Some(cells) = NonNull::new(unsafe { alloc::alloc(layout) }.cast::<Cell>()) else {
            alloc::handle_alloc_error(layout);
        };
        system::in_huge_pages(cells, layout.size());
        for at in 0..len {
            // SAFETY: within what was allocated, for `len` cells.
            unsafe { cells.add(at).write(Cell::default()) };
        }
        Self { cells, len }
    }

    /// Empties it (B2). The caller is its only writer.
    pub fn rest(&self) {
        if !system::give_back(self) {
            self.iter().for_each(Cell::clear);
        }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&**self)
    }

    /// So much of it is held while it rests.
    pub fn bytes_at_rest(&self) -> usize {
        if system::GIVES_BACK && self.bytes() >= GIVEN_BACK {
            0
        } else {
            self.bytes()
        }
    }

    // Whole lines and pages of its own, and for large ones pages so large that finding them costs little.
    fn layout(len: usize) -> Layout {
        let size = len * size_of::<Cell>();
        let align = match size {
            HUGE_PAGE.. => HUGE_PAGE,
            GIVEN_BACK.. => PAGE,
            _ => LINE,
        };
        Layout::from_size_align(size, align).expect("a size that memory can have")
    }
}

impl Deref for Block {
    type Target = [Cell];

    #[inline]
    fn deref(&self) -> &[Cell] {
        // SAFETY: `new` wrote so many cells, and they are there until `drop` (B1).
        unsafe { std::slice::from_raw_parts(self.cells.as_ptr(), self.len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: written and allocated by `new`, with this layout, and dropped once.
        unsafe {
            std::ptr::slice_from_raw_parts_mut(self.cells.as_ptr(), self.len).drop_in_place();
            alloc::dealloc(self.cells.as_ptr().cast(), Self::layout(self.len));
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({})", self.len)
    }
}

#[cfg(all(target_os = "linux", not(kantoku_loom)))]
mod system {
    use super::{Block, Cell, GIVEN_BACK, HUGE_PAGE, NonNull};

    pub const GIVES_BACK: bool = true;

    /// Asks for huge pages before the memory is touched; what the system makes of it is its own affair.
    pub fn in_huge_pages(cells: NonNull<Cell>, size: usize) {
        if size >= HUGE_PAGE {
            // SAFETY: advice on memory that was just allocated, from a page's beginning.
            unsafe { libc::madvise(cells.as_ptr().cast(), size, libc::MADV_HUGEPAGE) };
        }
    }

    /// Whether its pages went back, and read as zeros from now on, which is what an empty cell is.
    pub fn give_back(block: &Block) -> bool {
        let size = block.bytes();
        if size < GIVEN_BACK {
            return false;
        }
        let whole = size / super::PAGE * super::PAGE;
        // SAFETY: private anonymous memory of the block's own, from a page's beginning and in whole pages.
        let given = unsafe { libc::madvise(block.cells.as_ptr().cast(), whole, libc::MADV_DONTNEED) == 0 };
        if given {
            block[whole / size_of::<Cell>()..].iter().for_each(Cell::clear);
        }
        given
    }
}

#[cfg(not(all(target_os = "linux", not(kantoku_loom))))]
mod system {
    use super::{Block, Cell, NonNull};

    pub const GIVES_BACK: bool = false;

    pub fn in_huge_pages(_: NonNull<Cell>, _: usize) {}

    pub fn give_back(_: &Block) -> bool {
        false
    }
}

#[cfg(all(test, not(kantoku_loom)))]
mod tests {
    use super::*;
    use crate::key::Short;

    #[test]
    fn what_rested_is_empty_and_can_be_used_again() {
        for len in [1, 3, 255, 256, 300, 70_000] {
            let block = Block::new(len);
            let (key, last) = (Short::of(b"key").expect("is short"), len - 1);
            for _ in 0..2 {
                assert!(block.iter().all(Cell::is_empty));
                block[0].put_short(key, 7, 1);
                block[last].put_short(key, 9, 2);
                assert_eq!(block[last].holder(), 9);
                block.rest();
            }
            assert!(block.iter().all(Cell::is_empty));
        }
    }
}
