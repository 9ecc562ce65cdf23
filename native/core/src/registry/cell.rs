//! One key in a table: half a cache line of words, each of which may be read while another changes.

use crate::key::Short;
use crate::sync::atomic::{AtomicU64, Ordering};

// In place of a short spelling's length.
const ELSEWHERE: u32 = Short::LONGEST_TAIL;

/// Empty when all of it is zero.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct Cell {
    holder: AtomicU64,
    // The place in the low half, and above it the spelling's tail.
    place: AtomicU64,
    words: [AtomicU64; 2],
}

impl Cell {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tail() == 0
    }

    /// Whether its key is a short one, and this. No branch before all is compared.
    #[inline(always)]
    pub fn is_short(&self, key: Short) -> bool {
        let [low, high] = key.words();
        let tail = u64::from(self.tail() ^ key.tail());
        (self.words[0].load(Ordering::Relaxed) ^ low) | (self.words[1].load(Ordering::Relaxed) ^ high) | tail
            == 0
    }

    /// The hash, if the key is not here but in its row.
    #[inline]
    pub fn elsewhere(&self) -> Option<u64> {
        (self.tail() == ELSEWHERE).then(|| self.words[0].load(Ordering::Relaxed))
    }

    pub fn short(&self) -> Short {
        let words = [0, 1].map(|at: usize| self.words[at].load(Ordering::Relaxed));
        Short::from_words(words, self.tail())
    }

    /// Who holds the key; the first, if there are many.
    #[inline]
    pub fn holder(&self) -> u64 {
        self.holder.load(Ordering::Relaxed)
    }

    #[inline]
    pub fn place(&self) -> u32 {
        self.place.load(Ordering::Relaxed) as u32
    }

    pub fn put_short(&self, key: Short, holder: u64, place: u32) {
        self.put(holder, place, key.tail(), key.words());
    }

    pub fn put_elsewhere(&self, hash: u64, holder: u64, place: u32) {
        self.put(holder, place, ELSEWHERE, [hash, 0]);
    }

    pub fn hold(&self, holder: u64) {
        self.holder.store(holder, Ordering::Relaxed);
    }

    pub fn copy(&self, from: &Self) {
        let short = from.short();
        self.put(from.holder(), from.place(), short.tail(), short.words());
    }

    pub fn clear(&self) {
        self.put(0, 0, 0, [0, 0]);
    }

    fn put(&self, holder: u64, place: u32, tail: u32, words: [u64; 2]) {
        self.holder.store(holder, Ordering::Relaxed);
        self.place
            .store(u64::from(tail) << u32::BITS | u64::from(place), Ordering::Relaxed);
        self.words[0].store(words[0], Ordering::Relaxed);
        self.words[1].store(words[1], Ordering::Relaxed);
    }

    #[inline]
    fn tail(&self) -> u32 {
        (self.place.load(Ordering::Relaxed) >> u32::BITS) as u32
    }
}
