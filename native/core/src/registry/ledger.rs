//! The watches of an instance. Whoever holds the ledger alone lets described holdings come, change and go, so what a watch
//! is told has one order (R6).

use crate::index::{Index, Order, Query, Slot};
use crate::key::Key;
use crate::registry::Holding;
use crate::terms::Terms;

/// A query that outlives its call.
#[derive(Clone, Debug, Default)]
pub struct OwnedQuery {
    pub all: Vec<Box<[u8]>>,
    pub any: Vec<Vec<Box<[u8]>>>,
    pub none: Vec<Box<[u8]>>,
}

impl OwnedQuery {
    /// Calls `with` with the query as the index reads it.
    pub fn with<R>(&self, order: Order, with: impl FnOnce(&Query<'_>) -> R) -> R {
        let all: Vec<&[u8]> = self.all.iter().map(|facet| &**facet).collect();
        let groups: Vec<Vec<&[u8]>> = self
            .any
            .iter()
            .map(|group| group.iter().map(|facet| &**facet).collect())
            .collect();
        let any: Vec<&[&[u8]]> = groups.iter().map(Vec::as_slice).collect();
        let none: Vec<&[u8]> = self.none.iter().map(|facet| &**facet).collect();
        with(&Query {
            all: &all,
            any: &any,
            none: &none,
            order,
        })
    }

    fn bytes(&self) -> usize {
        let facets = self
            .all
            .iter()
            .chain(self.none.iter())
            .chain(self.any.iter().flatten());
        facets.map(|facet| facet.len() + size_of::<Box<[u8]>>()).sum()
    }
}

/// What a watch is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Join,
    Change,
    Leave,
}

#[derive(Debug)]
pub struct Told<'a, T: Terms, K> {
    pub watcher: &'a K,
    pub what: What,
    pub terms: &'a T,
    pub key: &'a Key<T>,
    pub holding: &'a Holding<T>,
    pub load: u64,
}

#[derive(Debug)]
pub(super) struct Watch<K> {
    pub watcher: K,
    pub query: OwnedQuery,
    /// Matched at the start but were dead and not cleared yet: never told as joined, so their leave is not told either.
    pub unseen: Vec<u64>,
}

impl<K> Watch<K> {
    pub fn forget_unseen(&mut self, incarnation: u64) -> bool {
        let at = self.unseen.iter().position(|&unseen| unseen == incarnation);
        at.map(|at| self.unseen.swap_remove(at)).is_some()
    }
}

#[derive(Debug)]
pub(super) struct Ledger<K> {
    pub generation: u32,
    pub watches: Vec<Watch<K>>,
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Self {
            generation: 0,
            watches: Vec::new(),
        }
    }
}

impl<K> Ledger<K> {
    pub fn open(&mut self, generation: u32) {
        self.generation = generation;
    }

    pub fn close(&mut self) -> Vec<K> {
        self.generation = 0;
        std::mem::take(&mut self.watches)
            .into_iter()
            .map(|watch| watch.watcher)
            .collect()
    }

    /// Which watches name the slot as it is now.
    pub fn naming(&self, index: &Index, slot: Slot) -> Vec<bool> {
        let names = |watch: &Watch<K>| watch.query.with(Order::None, |query| index.matches(slot, query));
        self.watches.iter().map(names).collect()
    }

    pub fn bytes(&self) -> usize {
        let queries: usize = self.watches.iter().map(|watch| watch.query.bytes()).sum();
        self.watches.capacity() * size_of::<Watch<K>>() + queries
    }
}
