//! Loads, and the bitmaps that order entries by them. No lock is taken here.
//!
//! A slot's *cell* is one word: generation (odd: live), a `moving` bit, load. Chunks of cells are added, never moved or
//! freed before the whole, so a cell can be reached by who holds no lock.
//!
//! 1. The cell alone says which generation lives and what its load is. It changes by compare-and-swap of the whole.
//! 2. Who turns `moving` on is the *mover*: until it turns it off, it alone changes the slot's level bits.
//! 3. While `moving` is off, a live slot has exactly the level bit of its load, a free one has none.
//! 4. `moving` is on only while the word's stamp counts a mover: counted up before, down after. Each count up makes the
//!    stamp a new one.
//! 5. A mover sets the new bit before it clears the old one, and looks at the cell again in the very step that ends
//!    its move. So nobody waits for it: others just swap the cell, even to free the slot and use it again.
//! 6. `filled` of a level says which of its words are not empty; where it lags, the word's stamp counts a mover: whoever
//!    wrote it looks at the word again before it ends.
//!
//! So a reader that finds a word settled, reads bits, and then finds the stamp unchanged has read levels that all held at
//! one time. One that does not asks the cells of that word instead.

use super::cell::{Cell, MAX_LOAD};
use super::level::{LEVELS, level_of};
use super::slot::{MAX_INDEX, Slot};
use crate::sync::OnceLock;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Release};

/// Slots of a chunk. Few under loom, whose every atomic is dear.
pub(super) const SPAN: usize = if cfg!(kantoku_loom) { 4 } else { 4096 };
pub(super) const SHIFT: u32 = SPAN.trailing_zeros();
pub(super) const WORDS: usize = SPAN.div_ceil(64);
const SEGMENTS: usize = 20;

#[derive(Debug)]
pub(super) struct Chunk {
    cells: Box<[AtomicU64]>,
    levels: Box<[[AtomicU64; WORDS]]>,
    filled: [AtomicU64; LEVELS],
    stamps: [AtomicU64; WORDS],
}

/// Says of a word's slots which moves began: movers at work in the low bits, all there ever were above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    const MOVER: u64 = 1;
    const MOVERS: u64 = 0xffff;
    const BEGUN: u64 = Self::MOVERS + 1;

    #[inline]
    pub(super) fn is_settled(self) -> bool {
        self.0 & Self::MOVERS == 0
    }

    /// Whether a move began between two readings.
    #[inline]
    pub(super) fn differs(self, later: Self) -> bool {
        self.0 / Self::BEGUN != later.0 / Self::BEGUN
    }
}

/// Counts a mover in a word's stamp.
struct Pin<'a>(&'a AtomicU64);

impl<'a> Pin<'a> {
    fn new(stamp: &'a AtomicU64) -> Self {
        // Pairs with the reader's Acquire in `stamp`.
        stamp.fetch_add(Stamp::BEGUN + Stamp::MOVER, AcqRel);
        Self(stamp)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        // Release: who reads the lower count sees the bits that were moved under it.
        self.0.fetch_sub(Stamp::MOVER, Release);
    }
}

impl Chunk {
    pub(super) const BYTES: usize = SPAN * size_of::<AtomicU64>() + LEVELS * size_of::<[AtomicU64; WORDS]>();

    fn new() -> Self {
        Self {
            cells: (0..SPAN).map(|_| AtomicU64::new(0)).collect(),
            levels: (0..LEVELS)
                .map(|_| std::array::from_fn(|_| AtomicU64::new(0)))
                .collect(),
            filled: std::array::from_fn(|_| AtomicU64::new(0)),
            stamps: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    fn pin(&self, at: usize) -> Pin<'_> {
        Pin::new(&self.stamps[at / 64])
    }

    #[inline]
    // Acquire pairs with the AcqRel of every swap: who sees a cell sees what its writer pinned before.
    fn read(&self, at: usize) -> Cell {
        Cell(self.cells[at].load(Acquire))
    }

    fn swap(&self, at: usize, seen: Cell, next: Cell) -> Result<(), Cell> {
        // Pairs with itself and with `read`.
        self.cells[at]
            .compare_exchange(seen.0, next.0, AcqRel, Acquire)
            .map(drop)
            .map_err(Cell)
    }

    #[inline]
    fn update(&self, at: usize, generation: u32, change: impl Fn(u64) -> u64) -> Option<u64> {
        let mut seen = self.read(at);
        let mut pin = None;
        while seen.generation() == generation {
            let load = change(seen.load()).min(MAX_LOAD);
            let moves = !seen.is_moving() && level_of(load) != level_of(seen.load());
            if moves {
                pin.get_or_insert_with(|| self.pin(at));
            }
            let next = seen.with_load(load);
            match self.swap(at, seen, if moves { next.moving() } else { next }) {
                Ok(()) => {
                    if moves {
                        self.settle(at, seen.level());
                    }
                    return Some(load);
                }
                Err(actual) => seen = actual,
            }
        }
        None
    }

    /// Ends the tenancy, or begins the next one: `may` looks at the generation that is there.
    fn turn(&self, at: usize, may: impl Fn(u32) -> bool) -> Option<u32> {
        let _pin = self.pin(at);
        let mut seen = self.read(at);
        while may(seen.generation()) {
            match self.swap(at, seen, seen.next().moving()) {
                Ok(()) => {
                    if !seen.is_moving() {
                        self.settle(at, seen.level());
                    }
                    return Some(seen.next().generation());
                }
                Err(actual) => seen = actual,
            }
        }
        None
    }

    /// The mover's work (invariants 2, 3 and 5). `placed` is the level whose bit the slot has.
    fn settle(&self, at: usize, mut placed: Option<usize>) {
        let mut seen = self.read(at);
        loop {
            if seen.level() != placed {
                self.relocate(at, placed, seen.level());
                placed = seen.level();
            }
            match self.swap(at, seen, seen.settled()) {
                Ok(()) => return,
                Err(actual) => seen = actual,
            }
        }
    }

    fn relocate(&self, at: usize, from: Option<usize>, to: Option<usize>) {
        if let Some(level) = to {
            self.mark(level, at);
        }
        if let Some(level) = from {
            self.unmark(level, at);
        }
    }

    // AcqRel in both: pairs with `level_word`.
    fn mark(&self, level: usize, at: usize) {
        if self.levels[level][at / 64].fetch_or(1 << (at % 64), AcqRel) == 0 {
            self.sum_up(level, at / 64);
        }
    }

    fn unmark(&self, level: usize, at: usize) {
        let bit = 1 << (at % 64);
        if self.levels[level][at / 64].fetch_and(!bit, AcqRel) == bit {
            self.sum_up(level, at / 64);
        }
    }

    // Others fill and empty the word meanwhile. Who wrote last saw, through the AcqRel of the writes before its own, all that
    // they had seen, and leaves only if it was right.
    fn sum_up(&self, level: usize, word: usize) {
        let (filled, bit) = (&self.filled[level], 1 << word);
        loop {
            let empty = self.level_word(level, word) == 0;
            if empty {
                filled.fetch_and(!bit, AcqRel);
            } else {
                filled.fetch_or(bit, AcqRel);
            }
            if (self.level_word(level, word) == 0) == empty {
                return;
            }
        }
    }

    /// Acquire pairs with the counting in `Pin`.
    #[inline]
    pub(super) fn stamp(&self, word: usize) -> Stamp {
        Stamp(self.stamps[word].load(Acquire))
    }

    /// Which words of a level are not empty. Acquire pairs with `sum_up`.
    #[inline]
    pub(super) fn filled(&self, level: usize) -> u64 {
        self.filled[level].load(Acquire)
    }

    /// Acquire pairs with `mark` and `unmark`.
    #[inline]
    pub(super) fn level_word(&self, level: usize, word: usize) -> u64 {
        self.levels[level][word].load(Acquire)
    }

    /// A level of this chunk, as it is read.
    #[inline]
    pub(super) fn level(&self, level: usize) -> Level<'_> {
        Level {
            chunk: self,
            level,
            filled: self.filled(level),
        }
    }

    /// Whether a mover is at work, and the level that the load is on; `None` if free.
    pub(super) fn state(&self, at: usize) -> (bool, Option<usize>) {
        let cell = self.read(at);
        (cell.is_moving(), cell.level())
    }

    #[inline]
    pub(super) fn load_at(&self, at: usize) -> u64 {
        self.read(at).load()
    }
}

/// Who is on a level, of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level<'a> {
    chunk: &'a Chunk,
    level: usize,
    /// Which words were not empty.
    pub(super) filled: u64,
}

impl Level<'_> {
    #[inline]
    pub(super) fn word(&self, word: usize) -> u64 {
        self.chunk.level_word(self.level, word)
    }

    #[inline]
    pub(super) fn has(&self, at: u16) -> bool {
        self.filled >> (at / 64) & 1 == 1 && self.word(at as usize / 64) >> (at % 64) & 1 == 1
    }
}

type Segment = Box<[OnceLock<Chunk>]>;

/// All cells of an index. Segment `k` has room for `2^k` chunks.
#[derive(Debug, Default)]
pub(super) struct Cells {
    segments: [OnceLock<Segment>; SEGMENTS],
}

const fn segment_of(chunk: usize) -> (usize, usize) {
    let segment = (chunk + 1).ilog2() as usize;
    (segment, chunk + 1 - (1 << segment))
}

const fn split(index: u32) -> (usize, usize) {
    (index as usize >> SHIFT, index as usize % SPAN)
}

impl Cells {
    #[inline]
    pub(super) fn chunk(&self, chunk: usize) -> Option<&Chunk> {
        let (segment, at) = segment_of(chunk);
        self.segments.get(segment)?.get()?[at].get()
    }

    /// Makes room for the chunk that follows the last. The bytes that took.
    pub(super) fn grow(&self, chunk: usize) -> usize {
        assert!(
            chunk <= MAX_INDEX as usize >> SHIFT,
            "an index holds at most 2^31 entries"
        );
        let (segment, at) = segment_of(chunk);
        let mut bytes = Chunk::BYTES;
        let room = self.segments[segment].get_or_init(|| {
            bytes += (1 << segment) * size_of::<OnceLock<Chunk>>();
            (0..1 << segment).map(|_| OnceLock::new()).collect()
        });
        room[at].get_or_init(Chunk::new);
        bytes
    }

    /// A chunk that was grown.
    #[inline]
    pub(super) fn grown(&self, chunk: usize) -> &Chunk {
        self.chunk(chunk)
            .expect("a slot in use lies in a chunk that was grown")
    }

    #[inline]
    pub(super) fn update(&self, slot: Slot, change: impl Fn(u64) -> u64) -> Option<u64> {
        let (chunk, at) = split(slot.index());
        self.chunk(chunk)?.update(at, slot.generation(), change)
    }

    pub(super) fn load(&self, slot: Slot) -> Option<u64> {
        let (chunk, at) = split(slot.index());
        let cell = self.chunk(chunk)?.read(at);
        (cell.generation() == slot.generation()).then(|| cell.load())
    }

    /// For reading many cells whose indexes mostly ascend.
    pub(super) fn near(&self) -> Near<'_> {
        Near {
            cells: self,
            number: usize::MAX,
            chunk: None,
        }
    }

    /// Starts a tenancy, load 0. Only by who took the index from the free ones.
    pub(super) fn occupy(&self, index: u32) -> Slot {
        let turned = self
            .grown(index as usize >> SHIFT)
            .turn(index as usize % SPAN, |generation| generation & 1 == 0);
        Slot::new(index, turned.expect("a free slot has an even generation"))
    }

    /// Ends a tenancy; from then on the slot is stale. `None` if it was.
    pub(super) fn retire(&self, slot: Slot) -> Option<Vacated> {
        let (chunk, at) = split(slot.index());
        let next = self
            .chunk(chunk)?
            .turn(at, |generation| generation == slot.generation())?;
        Some(if next == 0 {
            Vacated::WornOut
        } else {
            Vacated::Free
        })
    }
}

/// Reads cells, and remembers where the last one lay.
#[derive(Debug)]
pub(super) struct Near<'a> {
    cells: &'a Cells,
    number: usize,
    chunk: Option<&'a Chunk>,
}

impl Near<'_> {
    /// The slot and its load, for one known to be live: by who holds the lock that entries come and go under.
    #[inline]
    pub(super) fn tenant(&mut self, index: u32) -> (Slot, u64) {
        let (number, at) = split(index);
        if number != self.number {
            self.number = number;
            self.chunk = self.cells.chunk(number);
        }
        let cell = self
            .chunk
            .expect("a slot in use lies in a chunk that was grown")
            .read(at);
        (Slot::new(index, cell.generation()), cell.load())
    }
}

/// What a retired slot is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vacated {
    Free,
    /// All its generations were used.
    WornOut,
}
