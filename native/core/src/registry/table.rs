//! From a key's hash to the places of the rows that may be its own: one word a row, so that a look-up touches one line here
//! and one in the rows.
//!
//! Open addressing with linear steps. A word is the hash's upper half and the place; what leaves is closed up by those behind
//! it, so nothing is left that a later search would have to pass.

const EMPTY: u64 = u64::MAX;
const LEAST: usize = 8;

#[derive(Debug, Default)]
pub struct Table {
    words: Box<[u64]>,
    len: usize,
}

fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn word(mark: u32, place: u32) -> u64 {
    u64::from(mark) << 32 | u64::from(place)
}

impl Table {
    /// The place among those of this hash that `is` says yes to.
    #[inline]
    pub fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.words.is_empty() {
            return None;
        }
        let mark = mark(hash);
        let mut at = self.home(mark);
        // A table is never full, so there is an empty word to stop at.
        loop {
            match self.words[at] {
                EMPTY => return None,
                met if (met >> 32) as u32 == mark && is(met as u32) => return Some(met as u32),
                _ => at = self.next(at),
            }
        }
    }

    pub fn insert(&mut self, hash: u64, place: u32) {
        if (self.len + 1) * 4 > self.words.len() * 3 {
            self.resize((self.words.len() * 2).max(LEAST));
        }
        self.len += 1;
        self.put(word(mark(hash), place));
    }

    /// Takes a place out.
    pub fn remove(&mut self, hash: u64, place: u32) {
        if self.words.is_empty() {
            return;
        }
        let gone = word(mark(hash), place);
        let mut at = self.home(mark(hash));
        while self.words[at] != gone {
            if self.words[at] == EMPTY {
                return;
            }
            at = self.next(at);
        }
        self.len -= 1;
        self.close_up(at);
        if self.len == 0 {
            *self = Self::default();
        }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    // Moves back each word behind the hole whose home lies at or before it.
    fn close_up(&mut self, mut hole: usize) {
        let mask = self.words.len() - 1;
        let mut at = self.next(hole);
        while self.words[at] != EMPTY {
            let home = self.home((self.words[at] >> 32) as u32);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.words[hole] = self.words[at];
                hole = at;
            }
            at = self.next(at);
        }
        self.words[hole] = EMPTY;
    }

    fn resize(&mut self, len: usize) {
        let old = std::mem::replace(&mut self.words, vec![EMPTY; len].into_boxed_slice());
        old.iter()
            .filter(|&&word| word != EMPTY)
            .for_each(|&word| self.put(word));
    }

    fn put(&mut self, word: u64) {
        let mut at = self.home((word >> 32) as u32);
        while self.words[at] != EMPTY {
            at = self.next(at);
        }
        self.words[at] = word;
    }

    // The mark's bits that chose the shard are the same all over this table, so all of them are mixed.
    #[inline]
    fn home(&self, mark: u32) -> usize {
        let mixed = u64::from(mark).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.words.len() - 1)
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.words.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashMap};

    // A few hashes, so that runs are long and wrap around.
    fn hash(step: u64) -> u64 {
        (step % 7).wrapping_mul(0x1234_5678_9abc_def1) << 8
    }

    #[test]
    fn holds_what_was_put_and_not_taken_out() {
        let (mut table, mut model) = (Table::default(), HashMap::<u64, BTreeSet<u32>>::new());
        let mut random = 1_u64;
        for step in 0..20_000_u32 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (hash, place) = (hash(random >> 33), (random >> 40) as u32 % 300);
            let known = model.entry(hash).or_default();
            if step % 3 != 0 && known.insert(place) {
                table.insert(hash, place);
            } else if known.remove(&place) {
                table.remove(hash, place);
            }
            assert_eq!(
                table.find(hash, |at| at == place).is_some(),
                known.contains(&place),
                "step {step}"
            );
        }
        assert_eq!(table.len, model.values().map(BTreeSet::len).sum::<usize>());
    }

    #[test]
    fn gives_its_memory_back_when_empty() {
        let mut table = Table::default();
        (0..1_000).for_each(|place| table.insert(u64::from(place) << 32, place));
        (0..1_000).for_each(|place| table.remove(u64::from(place) << 32, place));
        assert_eq!(table.bytes(), 0);
    }
}
