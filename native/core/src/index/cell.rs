//! One word for a slot: which generation lives there, whether a mover is at work, and the load.

use super::level::level_of;
use super::slot::MAX_GENERATION;

/// The highest load; what is above counts as this.
pub const MAX_LOAD: u64 = (1 << LOAD_BITS) - 1;
const LOAD_BITS: u32 = 37;
const MOVING: u64 = 1 << LOAD_BITS;

/// The value of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell(pub(super) u64);

impl Cell {
    pub(super) const fn new(generation: u32, load: u64) -> Self {
        Self((generation as u64) << (LOAD_BITS + 1) | load)
    }

    pub(super) const fn generation(self) -> u32 {
        (self.0 >> (LOAD_BITS + 1)) as u32
    }

    pub(super) const fn load(self) -> u64 {
        self.0 & MAX_LOAD
    }

    pub(super) const fn is_moving(self) -> bool {
        self.0 & MOVING != 0
    }

    pub(super) const fn moving(self) -> Self {
        Self(self.0 | MOVING)
    }

    pub(super) const fn settled(self) -> Self {
        Self(self.0 & !MOVING)
    }

    pub(super) const fn with_load(self, load: u64) -> Self {
        Self(self.0 & !MAX_LOAD | load)
    }

    pub(super) const fn level(self) -> Option<usize> {
        if self.generation() & 1 == 1 {
            Some(level_of(self.load()))
        } else {
            None
        }
    }

    /// The next tenant, or none: generations are not used twice, so after the last one the slot stays free.
    pub(super) const fn next(self) -> Self {
        let generation = self.generation();
        Self::new(
            if generation == MAX_GENERATION {
                0
            } else {
                generation + 1
            },
            0,
        )
    }
}
