//! From a breaker's name to what there is of it. Knows no breakers.

use hashbrown::HashTable;

use crate::key::{Key, Probe};
use crate::terms::Terms;

#[derive(Debug)]
struct Named<T: Terms, V> {
    hash: u64,
    key: Key<T>,
    value: V,
}

#[derive(Debug)]
pub struct Names<T: Terms, V> {
    table: HashTable<Named<T, V>>,
    terms: T,
}

impl<T: Terms, V> Default for Names<T, V> {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            terms: T::default(),
        }
    }
}

impl<T: Terms, V: Copy> Names<T, V> {
    pub fn find(&self, probe: Probe<'_, T>) -> Option<V> {
        let is = |named: &Named<T, V>| named.key.is(probe.form, &self.terms);
        self.table.find(probe.hash, is).map(|named| named.value)
    }

    /// Adds a name that is not there.
    pub fn add(&mut self, probe: Probe<'_, T>, value: V) {
        let (hash, key) = (probe.hash, Key::keep(probe.form, &mut self.terms));
        let named = Named { hash, key, value };
        self.table.insert_unique(hash, named, |named| named.hash);
    }

    pub fn remove(&mut self, probe: Probe<'_, T>) -> Option<V> {
        let is = |named: &Named<T, V>| named.key.is(probe.form, &self.terms);
        let found = self.table.find_entry(probe.hash, is).ok()?;
        let (named, _) = found.remove();
        named.key.release(&mut self.terms);
        Some(named.value)
    }

    /// What there is of each name.
    pub fn values(&self) -> impl Iterator<Item = V> {
        self.table.iter().map(|named| named.value)
    }

    pub fn bytes(&self) -> usize {
        let heap: usize = self.table.iter().map(|named| named.key.heap_bytes()).sum();
        self.table.capacity() * size_of::<Named<T, V>>() + heap + self.terms.bytes()
    }
}
