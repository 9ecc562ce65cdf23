//! Hands what was found to the caller, until the caller has enough.

use std::ops::ControlFlow;

use super::cells::{Cells, Near};
use super::slot::Slot;

/// Says whether an entry, by its slot and load, counts.
pub(super) type Accept<'a> = &'a mut dyn FnMut(Slot, u64) -> bool;

pub(super) struct Offer<'a> {
    cells: &'a Cells,
    near: Near<'a>,
    accept: Accept<'a>,
    left: usize,
}

impl<'a> Offer<'a> {
    /// `None` if nothing is wanted.
    pub(super) fn new(cells: &'a Cells, limit: usize, accept: Accept<'a>) -> Option<Self> {
        (limit > 0).then_some(Self {
            cells,
            near: cells.near(),
            accept,
            left: limit,
        })
    }

    /// How many more are wanted.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn cells(&self) -> &'a Cells {
        self.cells
    }

    /// Offers an entry with the load it has now.
    #[inline]
    pub(super) fn entry(&mut self, index: u32) -> ControlFlow<()> {
        let (slot, load) = self.near.tenant(index);
        self.say(slot, load)
    }

    /// Offers an entry with a load it had.
    #[inline]
    pub(super) fn entry_at(&mut self, index: u32, load: u64) -> ControlFlow<()> {
        let (slot, _) = self.near.tenant(index);
        self.say(slot, load)
    }

    #[inline]
    fn say(&mut self, slot: Slot, load: u64) -> ControlFlow<()> {
        if (self.accept)(slot, load) {
            self.left -= 1;
        }
        if self.left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
