//! One shard's rows: a key, and who holds it. Knows no owners and no locks.

use std::collections::BTreeMap;

use super::cell::Cell;
use super::sight::Sight;
use super::slab::Slab;
use super::table::Table;
use crate::index::Slot;
use crate::key::{Key, Probe};
use crate::sync::Arc;
use crate::terms::Terms;

/// One registration.
#[derive(Debug)]
#[repr(C)]
pub struct Holding<T: Terms> {
    pub pid: u64,
    pub incarnation: u64,
    pub value: T::Kept,
    pub described: Option<Box<Described<T>>>,
}

impl<T: Terms> Holding<T> {
    pub(super) fn new(pid: u64, incarnation: u64, value: T::Kept) -> Self {
        Self {
            pid,
            incarnation,
            value,
            described: None,
        }
    }
}

/// What an agent's entry adds.
#[derive(Debug)]
pub struct Described<T: Terms> {
    pub slot: Slot,
    pub version: u64,
    pub attributes: T::Kept,
}

#[derive(Debug)]
#[repr(C)]
pub struct Row<T: Terms> {
    pub key: Key<T>,
    first: Holding<T>,
    // Later ones by incarnation, which is the order of registration. Only duplicate keys have them, so all others pay one word.
    #[allow(clippy::box_collection)]
    more: Option<Box<BTreeMap<u64, Holding<T>>>>,
}

impl<T: Terms> Row<T> {
    #[inline]
    pub fn first(&self) -> &Holding<T> {
        &self.first
    }

    pub(super) fn first_mut(&mut self) -> &mut Holding<T> {
        &mut self.first
    }

    pub fn holdings(&self) -> impl Iterator<Item = &Holding<T>> {
        std::iter::once(&self.first).chain(self.more.iter().flat_map(|more| more.values()))
    }

    pub fn holders(&self) -> usize {
        1 + self.more.as_ref().map_or(0, |more| more.len())
    }

    pub(super) fn holding(&self, incarnation: u64) -> Option<&Holding<T>> {
        if self.first.incarnation == incarnation {
            return Some(&self.first);
        }
        self.more.as_ref()?.get(&incarnation)
    }

    fn holding_mut(&mut self, incarnation: u64) -> Option<&mut Holding<T>> {
        if self.first.incarnation == incarnation {
            return Some(&mut self.first);
        }
        self.more.as_mut()?.get_mut(&incarnation)
    }

    // `Err` if the holding is the only one: then the row has to go with it.
    fn take(&mut self, incarnation: u64) -> Result<Option<Holding<T>>, ()> {
        if self.first.incarnation != incarnation {
            return Ok(self.more.as_mut().and_then(|more| more.remove(&incarnation)));
        }
        match self.more.as_mut().and_then(|more| more.pop_first()) {
            Some((_, next)) => Ok(Some(std::mem::replace(&mut self.first, next))),
            None => Err(()),
        }
    }
}

#[derive(Debug)]
pub struct Shard<T: Terms> {
    /// The opening this content belongs to; 0 when closed.
    pub generation: u32,
    pub unique: bool,
    pub terms: T,
    rows: Slab<Row<T>>,
    table: Table,
    // What rows hold beside themselves, but for what is described.
    heap: usize,
}

impl<T: Terms> Shard<T> {
    /// A closed one, and nothing in sight.
    pub fn at(sight: Arc<Sight>) -> Self {
        Self {
            generation: 0,
            unique: true,
            terms: T::default(),
            rows: Slab::default(),
            table: Table::at(sight),
            heap: 0,
        }
    }

    pub fn open(&mut self, generation: u32, unique: bool) {
        (self.generation, self.unique) = (generation, unique);
        self.table.sight().open(generation, unique);
    }

    /// Closes it; what it held is returned.
    pub fn close(&mut self) -> Self {
        let closed = Self::at(Arc::clone(self.table.sight()));
        std::mem::replace(self, closed)
    }

    #[inline]
    pub fn find(&self, probe: Probe<'_, T>) -> Option<&Row<T>> {
        self.rows.get(self.place(probe)?)
    }

    pub fn find_mut(&mut self, probe: Probe<'_, T>) -> Option<(&mut Row<T>, &mut T)> {
        let place = self.place(probe)?;
        Some((self.rows.get_mut(place)?, &mut self.terms))
    }

    /// The holding of that incarnation, wherever its key hashes to.
    pub fn find_incarnation(&self, hash: u64, incarnation: u64) -> Option<(&Row<T>, &Holding<T>)> {
        let row = self.rows.get(self.place_of(hash, incarnation)?)?;
        Some((row, row.holding(incarnation)?))
    }

    pub fn holding_mut(&mut self, hash: u64, incarnation: u64) -> Option<(&mut Holding<T>, &mut T)> {
        let place = self.place_of(hash, incarnation)?;
        Some((
            self.rows.get_mut(place)?.holding_mut(incarnation)?,
            &mut self.terms,
        ))
    }

    /// Adds a holding: to the key's row if there is one (duplicate keys), else in a row of its own.
    pub fn add(&mut self, probe: Probe<'_, T>, holding: Holding<T>) {
        match self.place(probe).and_then(|place| self.rows.get_mut(place)) {
            Some(row) => {
                row.more
                    .get_or_insert_default()
                    .insert(holding.incarnation, holding);
                self.heap += Self::LATER;
            }
            None => self.add_row(probe, holding),
        }
    }

    /// Puts a holding in place of a unique key's present one, and returns that.
    pub fn swap(&mut self, probe: Probe<'_, T>, holding: Holding<T>) -> Option<Holding<T>> {
        let place = self.place(probe)?;
        self.table.hold(probe.hash, place, holding.pid);
        let row = self.rows.get_mut(place)?;
        Some(std::mem::replace(&mut row.first, holding))
    }

    /// Takes a holding out; `seen` gets a look at it and its key before they go.
    pub fn take(&mut self, hash: u64, incarnation: u64, seen: impl FnOnce(&T, &Key<T>, &Holding<T>)) -> bool {
        let Some(place) = self.place_of(hash, incarnation) else {
            return false;
        };
        let row = self
            .rows
            .get_mut(place)
            .expect("a place in the table holds a row");
        let Some(holding) = row.holding(incarnation) else {
            return false;
        };
        seen(&self.terms, &row.key, holding);
        match row.take(incarnation) {
            Ok(taken) => {
                self.table.hold(hash, place, row.first.pid);
                if let Some(holding) = taken {
                    self.heap -= Self::LATER;
                    self.let_go(holding);
                }
            }
            Err(()) => self.take_row(hash, place),
        }
        true
    }

    /// Takes a key's only holding out if it is this process's, and not described; its incarnation.
    pub fn take_sole(&mut self, probe: Probe<'_, T>, pid: u64) -> Option<u64> {
        let place = self.place(probe)?;
        let row = self.rows.get(place)?;
        let first = row.first();
        let incarnation = first.incarnation;
        if first.pid != pid || first.described.is_some() || row.holders() > 1 {
            return None;
        }
        self.take_row(probe.hash, place);
        Some(incarnation)
    }

    pub fn let_go(&mut self, holding: Holding<T>) {
        self.terms.release(holding.value);
        if let Some(described) = holding.described {
            self.terms.release(described.attributes);
        }
    }

    /// Rows from a place on, with the places.
    pub fn rows_from(&self, place: usize) -> impl Iterator<Item = (usize, &Row<T>)> {
        self.rows.from(place)
    }

    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Native bytes: tables by capacity, kept terms as their keeper counts them, and what rows hold on the heap; without what is described.
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.table.bytes() + self.terms.bytes() + self.heap
    }

    // A later holder of a duplicate key.
    const LATER: usize = size_of::<(u64, Holding<T>)>();

    pub fn spare_bytes(&self) -> usize {
        self.table.spare_bytes()
    }

    /// Adds the first holding of a key that has none.
    pub fn add_row(&mut self, probe: Probe<'_, T>, first: Holding<T>) {
        let key = Key::keep(probe.form, &mut self.terms);
        self.heap += key.heap_bytes();
        let holder = first.pid;
        let place = self.rows.insert(Row {
            key,
            first,
            more: None,
        });
        self.table.insert(probe.hash, probe.form, holder, place);
    }

    fn take_row(&mut self, hash: u64, place: u32) {
        self.table.remove::<T>(hash, place);
        if let Some(row) = self.rows.remove(place) {
            self.heap -= row.key.heap_bytes();
            row.key.release(&mut self.terms);
            self.let_go(row.first);
        }
    }

    /// Who holds a key; the first, if there are many. Reads no row where the key is one of the usual.
    #[inline]
    pub fn holder(&self, probe: Probe<'_, T>) -> Option<u64> {
        self.cell(probe).map(Cell::holder)
    }

    fn place(&self, probe: Probe<'_, T>) -> Option<u32> {
        self.cell(probe).map(Cell::place)
    }

    #[inline]
    fn cell(&self, probe: Probe<'_, T>) -> Option<&Cell> {
        let is = |at| {
            self.rows
                .get(at)
                .is_some_and(|row| row.key.is(probe.form, &self.terms))
        };
        self.table.find(probe.hash, probe.form, is)
    }

    fn place_of(&self, hash: u64, incarnation: u64) -> Option<u32> {
        let is = |at| {
            self.rows
                .get(at)
                .is_some_and(|row| row.holding(incarnation).is_some())
        };
        self.table.find_place(hash, is)
    }
}
