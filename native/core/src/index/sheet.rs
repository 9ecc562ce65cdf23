//! What of a chunk a sweep still has before it: bitmaps of matches, struck out one by one.

use super::cells::{Chunk, SHIFT, Stamp, WORDS};
use super::query::Plan;
use super::set::{Words, ones};

/// The matches of a chunk that were not offered yet.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) chunk: usize,
    /// Which words are not empty.
    pub(super) filled: u64,
    pub(super) words: Words,
    /// As they were when the sheet was made, of the words that are filled.
    stamps: [Stamp; WORDS],
}

impl Sheet {
    pub(super) fn new(chunk: usize, plan: &Plan<'_>) -> Self {
        let mut words = [0; WORDS];
        Self {
            chunk,
            filled: plan.put(chunk, &mut words),
            words,
            stamps: [Stamp::default(); WORDS],
        }
    }

    pub(super) fn index(&self, word: usize, bit: u32) -> u32 {
        (self.chunk << SHIFT) as u32 + (word * 64) as u32 + bit
    }

    #[inline]
    pub(super) fn strike(&mut self, word: usize, bit: u32) {
        self.words[word] &= !(1 << bit);
        if self.words[word] == 0 {
            self.filled &= !(1 << word);
        }
    }

    pub(super) fn left(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The place of the `nth` match, from 0.
    pub(super) fn nth(&self, mut nth: u32) -> (usize, u32) {
        for word in 0..WORDS {
            let ones_here = self.words[word].count_ones();
            if nth < ones_here {
                return (
                    word,
                    ones(self.words[word]).nth(nth as usize).expect("counted above"),
                );
            }
            nth -= ones_here;
        }
        unreachable!("drawn below the count of what is left")
    }

    /// Appends the matches on a level, each with the level as its key. How many words that took.
    pub(super) fn gather(&self, cells: &Chunk, level: usize, into: &mut Vec<(u64, u32)>) -> usize {
        let words = self.filled & cells.filled(level);
        for word in ones(words).map(|word| word as usize) {
            let found = ones(self.words[word] & cells.level_word(level, word));
            into.extend(found.map(|bit| (level as u64, self.index(word, bit))));
        }
        words.count_ones() as usize
    }

    /// Notes the stamps, and sets aside the words where slots move now.
    pub(super) fn read_stamps(&mut self, cells: &Chunk, aside: &mut Vec<(u64, u32)>) {
        for word in ones(self.filled).map(|word| word as usize) {
            self.stamps[word] = cells.stamp(word);
            if !self.stamps[word].is_settled() {
                self.set_aside(word, cells, aside);
            }
        }
    }

    /// Sets aside the words where a move began since the stamps were noted.
    pub(super) fn set_moved_aside(&mut self, cells: &Chunk, aside: &mut Vec<(u64, u32)>) {
        for word in ones(self.filled).map(|word| word as usize) {
            if self.stamps[word].differs(cells.stamp(word)) {
                self.set_aside(word, cells, aside);
            }
        }
    }

    /// Takes a word's matches out, with the loads they have now.
    fn set_aside(&mut self, word: usize, cells: &Chunk, aside: &mut Vec<(u64, u32)>) {
        let taken = std::mem::take(&mut self.words[word]);
        self.filled &= !(1 << word);
        for bit in ones(taken) {
            aside.push((cells.load_at(word * 64 + bit as usize), self.index(word, bit)));
        }
    }
}
