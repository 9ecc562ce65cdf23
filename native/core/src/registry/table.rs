//! From a key to its holder and its row, on one cache line: what a look-up touches decides what it costs, more than what it does.
//!
//! Open addressing with linear steps over cells of half a line. A cell holds the usual keys' bytes whole; for any other its row is
//! asked. What leaves is closed up by those behind it, so nothing is left that a later search would have to pass. Readers without
//! a lock see all of it through [`Sight`]; here is what its one writer does, and who holds the lock.

use super::block::Block;
use super::cell::Cell;
use super::sight::{Sight, cells_of, home};
use crate::key::Form;
use crate::sync::Arc;
use crate::terms::Terms;

#[derive(Debug)]
pub struct Table {
    sight: Arc<Sight>,
    size: usize,
    len: usize,
}

// An emptied table so small keeps its block: a process that comes and goes would have it taken and given back each time.
const SMALL: usize = 4;

impl Table {
    /// An empty table, in place of whatever was seen there.
    pub fn at(sight: Arc<Sight>) -> Self {
        sight.open(0, false);
        sight.change(|| sight.use_block(None));
        Self {
            sight,
            size: 0,
            len: 0,
        }
    }

    pub fn sight(&self) -> &Arc<Sight> {
        &self.sight
    }

    /// The cell of a key; `row` says whether the row at a place has it.
    pub fn find<T: Terms>(
        &self,
        hash: u64,
        form: Form<'_, T>,
        mut row: impl FnMut(u32) -> bool,
    ) -> Option<&Cell> {
        self.walk(hash).find(|cell| match (cell.elsewhere(), form) {
            (Some(_), Form::Short(_)) => false,
            (Some(of), _) => of == hash && row(cell.place()),
            (None, Form::Short(key)) => cell.is_short(key),
            (None, _) => false,
        })
    }

    /// The place among those near this hash that `row` says yes to.
    pub fn find_place(&self, hash: u64, mut row: impl FnMut(u32) -> bool) -> Option<u32> {
        self.walk(hash).map(Cell::place).find(|&place| row(place))
    }

    pub fn insert<T: Terms>(&mut self, hash: u64, form: Form<'_, T>, holder: u64, place: u32) {
        if (self.len + 1) * 4 > self.cells().len() * 3 {
            self.grow::<T>();
        }
        self.len += 1;
        let cell = vacant(self.cells(), hash);
        self.sight.change(|| match form {
            Form::Short(key) => cell.put_short(key, holder, place),
            _ => cell.put_elsewhere(hash, holder, place),
        });
    }

    /// Another process holds the key of that place.
    pub fn hold(&mut self, hash: u64, place: u32, holder: u64) {
        if let Some(cell) = self.walk(hash).find(|cell| cell.place() == place) {
            self.sight.change(|| cell.hold(holder));
        }
    }

    /// Takes a place out.
    pub fn remove<T: Terms>(&mut self, hash: u64, place: u32) {
        let Some(steps) = self.walk(hash).position(|cell| cell.place() == place) else {
            return;
        };
        self.len -= 1;
        if self.len == 0 && self.size > SMALL {
            self.size = 0;
            return self.sight.change(|| self.sight.use_block(None));
        }
        let cells = self.cells();
        let hole = (home(cells, hash) + steps) % cells.len();
        self.sight.change(|| close_up::<T>(cells, hole));
    }

    pub fn bytes(&self) -> usize {
        self.used().map_or(0, Block::bytes)
    }

    /// Bytes that are kept for when they are needed again.
    pub fn spare_bytes(&self) -> usize {
        self.sight.bytes_at_rest() - self.used().map_or(0, Block::bytes_at_rest)
    }

    fn used(&self) -> Option<&Block> {
        self.sight.block().filter(|_| self.len > 0)
    }

    fn cells(&self) -> &[Cell] {
        self.sight.block().map_or(&[], |block| block)
    }

    // The cells a key of this hash may be in. A table is never full, so there is an empty one to stop at.
    fn walk(&self, hash: u64) -> impl Iterator<Item = &Cell> {
        let (before, after) = self.cells().split_at(home(self.cells(), hash));
        after.iter().chain(before).take_while(|cell| !cell.is_empty())
    }

    // Readers stay with the old cells until the new ones are all there.
    fn grow<T: Terms>(&mut self) {
        let old = self.cells();
        let size = if old.is_empty() { 0 } else { self.size + 1 };
        let grown = self.sight.at_rest(size);
        debug_assert_eq!(grown.len(), cells_of(size));
        for cell in old.iter().filter(|cell| !cell.is_empty()) {
            vacant(grown, hash_of::<T>(cell)).copy(cell);
        }
        self.sight.change(|| self.sight.use_block(Some(size)));
        self.size = size;
    }
}

fn hash_of<T: Terms>(cell: &Cell) -> u64 {
    cell.elsewhere().unwrap_or_else(|| T::hash(cell.short()))
}

fn vacant(cells: &[Cell], hash: u64) -> &Cell {
    let (before, after) = cells.split_at(home(cells, hash));
    let mut from_home = after.iter().chain(before);
    from_home
        .find(|cell| cell.is_empty())
        .expect("a quarter of the cells is empty")
}

// Moves back each cell behind the hole whose home lies at or before it.
fn close_up<T: Terms>(cells: &[Cell], mut hole: usize) {
    let mut at = next(cells, hole);
    while !cells[at].is_empty() {
        let home = home(cells, hash_of::<T>(&cells[at]));
        if steps(cells, home, at) >= steps(cells, hole, at) {
            cells[hole].copy(&cells[at]);
            hole = at;
        }
        at = next(cells, at);
    }
    cells[hole].clear();
}

fn next(cells: &[Cell], at: usize) -> usize {
    if at + 1 == cells.len() { 0 } else { at + 1 }
}

// How far it is from one cell on to another.
fn steps(cells: &[Cell], from: usize, to: usize) -> usize {
    if from <= to {
        to - from
    } else {
        to + cells.len() - from
    }
}

#[cfg(all(test, not(kantoku_loom)))]
mod tests {
    use super::super::sight::Seen;
    use super::*;
    use crate::key::Short;
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

        fn hash(short: Short) -> u64 {
            hash(short.bytes()[0])
        }

        fn bytes(&self) -> usize {
            0
        }
    }

    fn hash(first: u8) -> u64 {
        u64::from(first % 7).wrapping_mul(0x1234_5678_9abc_def1)
    }

    fn form(key: &[u8]) -> Form<'_, Few> {
        Short::of(key).map_or(Form::Spelled(key), Form::Short)
    }

    fn empty() -> Table {
        Table::at(Arc::new(Sight::default()))
    }

    fn spelled(place: u32) -> Vec<u8> {
        let length = if place.is_multiple_of(3) { 30 } else { 1 };
        vec![place as u8; length]
    }

    fn holder(table: &Table, place: u32) -> Option<u64> {
        let key = spelled(place);
        let found = table.find::<Few>(hash(key[0]), form(&key), |at| at == place);
        let holder = found.map(Cell::holder);
        if let Form::Short(short) = form(&key) {
            let seen = table.sight.holder(1, hash(key[0]), short);
            // Long runs are left to who holds the lock.
            let expected = holder.map_or(Seen::Nobody, Seen::Holder);
            assert!(seen == expected || seen == Seen::Unclear);
        }
        holder
    }

    #[test]
    fn holds_what_was_put_and_not_taken_out() {
        let (mut table, mut model) = (empty(), BTreeMap::new());
        table.sight.open(1, true);
        let mut random = 1_u64;
        for step in 0..20_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let place = (random >> 40) as u32 % 250;
            let (key, known) = (spelled(place), model.contains_key(&place));
            let hash = hash(key[0]);
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
                    table.insert::<Few>(hash, form(&key), step, place);
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
        let mut table = empty();
        let key = |place: u32| spelled(place % 250);
        let hash = |place: u32| hash(key(place)[0]);
        (0..1_000).for_each(|place| table.insert::<Few>(hash(place), form(&key(place)), 1, place));
        let full = table.bytes();
        (0..1_000).for_each(|place| table.remove::<Few>(hash(place), place));
        assert_eq!((table.bytes(), table.cells().len()), (0, 0));
        assert!(table.spare_bytes() < full / 2, "only small blocks are kept");
    }
}
