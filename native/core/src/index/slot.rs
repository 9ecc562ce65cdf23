//! The name of an entry: a place and the generation that lives there.

const GENERATION_BITS: u32 = 26;
const INDEX_BITS: u32 = 31;

pub(super) const MAX_GENERATION: u32 = (1 << GENERATION_BITS) - 1;
pub(super) const MAX_INDEX: u32 = (1 << INDEX_BITS) - 1;

/// An entry of one [`Index`](super::Index): stale once the entry is removed, never mistaken for a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    pub(super) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// Where the entry lies. Dense from 0, used again by later entries: fit for an array beside the index.
    #[inline]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which of the entries that lay there. Odd.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// As one integer below 2^57, so a small one on the BEAM.
    #[inline]
    pub const fn to_handle(self) -> u64 {
        (self.generation as u64) << INDEX_BITS | self.index as u64
    }

    /// Reads what [`to_handle`](Self::to_handle) wrote; `None` for an integer that it never writes.
    #[inline]
    pub const fn from_handle(handle: u64) -> Option<Self> {
        let generation = handle >> INDEX_BITS;
        if generation > MAX_GENERATION as u64 || generation & 1 == 0 {
            return None;
        }
        Some(Self::new(handle as u32 & MAX_INDEX, generation as u32))
    }
}
