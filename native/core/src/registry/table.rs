//! From a key to its holder and its row, on one cache line: what a look-up touches decides what it costs, more than what it does.
//!
//! Open addressing with linear steps over cells of half a line. A cell holds the usual keys' bytes whole; for any other its row is
//! asked. What leaves is closed up by those behind it, so nothing is left that a later search would have to pass.

use crate::key::{Form, Spelled};
use crate::terms::Terms;

// So much of a spelling beside its first byte.
const INLINE: usize = 18;
const LEAST: usize = 4;

// In place of a length.
const EMPTY: u8 = u8::MAX;
const ELSEWHERE: u8 = u8::MAX - 1;

/// One key. The hash is not kept: it is the spelling's, or stands in its place.
#[derive(Clone, Debug)]
#[repr(C, align(32))]
pub struct Cell {
    /// Who holds the key; the first, if there are many.
    pub holder: u64,
    pub place: u32,
    len: u8,
    head: u8,
    rest: [u8; INLINE],
}

impl Cell {
    const NONE: Self = Self {
        holder: 0,
        place: 0,
        len: EMPTY,
        head: 0,
        rest: [0; INLINE],
    };

    fn new<T: Terms>(hash: u64, form: Form<'_, T>, holder: u64, place: u32) -> Self {
        let (len, head, kept) = match form {
            Form::Spelled(Spelled { head, rest }) if rest.len() <= INLINE => (rest.len() as u8, head, rest),
            _ => (ELSEWHERE, 0, &hash.to_le_bytes()[..]),
        };
        let mut rest = [0; INLINE];
        rest[..kept.len()].copy_from_slice(kept);
        Self {
            holder,
            place,
            len,
            head,
            rest,
        }
    }

    #[inline]
    fn is<T: Terms>(&self, form: Form<'_, T>, row: &mut impl FnMut(u32) -> bool) -> bool {
        match form {
            _ if self.len == ELSEWHERE => row(self.place),
            Form::Spelled(Spelled { head, rest }) => {
                usize::from(self.len) == rest.len() && self.head == head && self.rest[..rest.len()] == *rest
            }
            Form::Term(_) => false,
        }
    }

    fn hash<T: Terms>(&self) -> u64 {
        match self.rest.first_chunk() {
            Some(hash) if self.len == ELSEWHERE => u64::from_le_bytes(*hash),
            _ => T::hash(Spelled {
                head: self.head,
                rest: &self.rest[..usize::from(self.len)],
            }),
        }
    }
}

#[derive(Debug, Default)]
pub struct Table {
    cells: Box<[Cell]>,
    len: usize,
}

impl Table {
    /// The cell of a key; `row` says whether the row at a place has it.
    #[inline]
    pub fn find<T: Terms>(
        &self,
        hash: u64,
        form: Form<'_, T>,
        mut row: impl FnMut(u32) -> bool,
    ) -> Option<&Cell> {
        if self.cells.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        // A table is never full, so there is an empty cell to stop at.
        loop {
            let cell = &self.cells[at];
            if cell.len == EMPTY {
                return None;
            }
            if cell.is(form, &mut row) {
                return Some(cell);
            }
            at = self.next(at);
        }
    }

    /// The place among those near this hash that `row` says yes to.
    pub fn find_place(&self, hash: u64, mut row: impl FnMut(u32) -> bool) -> Option<u32> {
        self.walk(hash).map(|cell| cell.place).find(|&place| row(place))
    }

    pub fn insert<T: Terms>(&mut self, hash: u64, form: Form<'_, T>, holder: u64, place: u32) {
        if (self.len + 1) * 4 > self.cells.len() * 3 {
            self.grow::<T>();
        }
        self.len += 1;
        self.put(hash, Cell::new(hash, form, holder, place));
    }

    /// Another process holds the key of that place.
    pub fn hold(&mut self, hash: u64, place: u32, holder: u64) {
        if let Some(at) = self.at(hash, place) {
            self.cells[at].holder = holder;
        }
    }

    /// Takes a place out.
    pub fn remove<T: Terms>(&mut self, hash: u64, place: u32) {
        let Some(at) = self.at(hash, place) else {
            return;
        };
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else {
            self.close_up::<T>(at);
        }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    // The cells a key of this hash may be in.
    fn walk(&self, hash: u64) -> impl Iterator<Item = &Cell> {
        let (before, after) = self.cells.split_at(self.home(hash));
        after.iter().chain(before).take_while(|cell| cell.len != EMPTY)
    }

    fn at(&self, hash: u64, place: u32) -> Option<usize> {
        let mut at = self.home(hash);
        while self.cells.get(at)?.len != EMPTY {
            if self.cells[at].place == place {
                return Some(at);
            }
            at = self.next(at);
        }
        None
    }

    // Moves back each cell behind the hole whose home lies at or before it.
    fn close_up<T: Terms>(&mut self, mut hole: usize) {
        let mut at = self.next(hole);
        while self.cells[at].len != EMPTY {
            let home = self.home(self.cells[at].hash::<T>());
            if self.steps(home, at) >= self.steps(hole, at) {
                self.cells.swap(hole, at);
                hole = at;
            }
            at = self.next(at);
        }
        self.cells[hole] = Cell::NONE;
    }

    // By a half and by a third in turn: doubling would leave more of it empty, and what is empty is fetched too.
    fn grow<T: Terms>(&mut self) {
        let len = self.cells.len();
        let more = if len.is_power_of_two() { len / 2 } else { len / 3 };
        let grown = vec![Cell::NONE; (len + more).max(LEAST)].into_boxed_slice();
        let old = std::mem::replace(&mut self.cells, grown);
        for cell in old.into_iter().filter(|cell| cell.len != EMPTY) {
            self.put(cell.hash::<T>(), cell);
        }
    }

    fn put(&mut self, hash: u64, cell: Cell) {
        let mut at = self.home(hash);
        while self.cells[at].len != EMPTY {
            at = self.next(at);
        }
        self.cells[at] = cell;
    }

    // By the low half of the hash: bits of the other half have chosen the shard.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash & u64::from(u32::MAX)) * self.cells.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.cells.len() { 0 } else { at + 1 }
    }

    // How far it is from one cell on to another.
    fn steps(&self, from: usize, to: usize) -> usize {
        if from <= to {
            to - from
        } else {
            to + self.cells.len() - from
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    // Keys of one byte and of thirty, and of few hashes, so that runs are long and wrap around.
    #[derive(Debug, Default)]
    struct Few;

    impl Terms for Few {
        type Given = ();
        type Kept = ();

        fn keep(&mut self, _: ()) {}

        fn same(&self, _: &(), _: ()) -> bool {
            true
        }

        fn release(&mut self, _: ()) {}

        fn hash(spelled: Spelled<'_>) -> u64 {
            u64::from(spelled.head % 7).wrapping_mul(0x1234_5678_9abc_def1)
        }

        fn bytes(&self) -> usize {
            0
        }
    }

    fn spelled(place: u32) -> Vec<u8> {
        let length = if place.is_multiple_of(3) { 30 } else { 1 };
        vec![place as u8; length]
    }

    fn holder(table: &Table, place: u32) -> Option<u64> {
        let key = spelled(place);
        let cell = table.find::<Few>(
            Few::hash(Spelled::of(&key)),
            Form::Spelled(Spelled::of(&key)),
            |at| at == place,
        );
        cell.map(|cell| cell.holder)
    }

    #[test]
    fn holds_what_was_put_and_not_taken_out() {
        let (mut table, mut model) = (Table::default(), BTreeMap::new());
        let mut random = 1_u64;
        for step in 0..20_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let place = (random >> 40) as u32 % 250;
            let (key, known) = (spelled(place), model.contains_key(&place));
            let hash = Few::hash(Spelled::of(&key));
            match random >> 33 & 3 {
                0 if known => {
                    table.remove::<Few>(hash, place);
                    model.remove(&place);
                }
                1 if known => {
                    table.hold(hash, place, step);
                    model.insert(place, step);
                }
                _ if !known => {
                    table.insert::<Few>(hash, Form::Spelled(Spelled::of(&key)), step, place);
                    model.insert(place, step);
                }
                _ => {}
            }
            assert_eq!(holder(&table, place), model.get(&place).copied(), "step {step}");
            assert_eq!(
                table.find_place(hash, |at| at == place).is_some(),
                model.contains_key(&place)
            );
        }
        for place in 0..250 {
            assert_eq!(holder(&table, place), model.get(&place).copied());
        }
        assert_eq!(table.len, model.len());
    }

    #[test]
    fn gives_its_memory_back_when_empty() {
        let mut table = Table::default();
        let key = |place: u32| spelled(place % 250);
        (0..1_000).for_each(|place| {
            table.insert::<Few>(
                Few::hash(Spelled::of(&key(place))),
                Form::Spelled(Spelled::of(&key(place))),
                1,
                place,
            );
        });
        (0..1_000).for_each(|place| table.remove::<Few>(Few::hash(Spelled::of(&key(place))), place));
        assert_eq!(table.bytes(), 0);
    }
}
