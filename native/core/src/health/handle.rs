//! Names a node: its place, and which of all that ever had that place.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(u64);

// Place and tag are a small integer of the BEAM together.
pub const TAG_BITS: u32 = 20;
const TAG: u32 = (1 << TAG_BITS) - 1;

impl Handle {
    pub fn new(place: u32, tag: u32) -> Self {
        Self(u64::from(tag) << u32::BITS | u64::from(place))
    }

    #[inline]
    pub fn from_word(word: u64) -> Option<Self> {
        (word >> (u32::BITS + TAG_BITS) == 0).then_some(Self(word))
    }

    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    #[inline]
    pub fn place(self) -> u32 {
        self.0 as u32
    }

    /// Never 0.
    #[inline]
    pub fn tag(self) -> u32 {
        (self.0 >> u32::BITS) as u32
    }
}

/// The tag of who has a place after this one.
pub fn next_tag(tag: u32) -> u32 {
    (tag & TAG) % TAG + 1
}
