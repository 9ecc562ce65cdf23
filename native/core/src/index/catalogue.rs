//! Who has which facet. Kept behind the index's lock; knows nothing of loads.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::cells::{SHIFT, SPAN};
use super::ledger::{Ledger, vec_bytes};
use super::query::{Facet, Query};
use super::set::Set;

/// A facet's number while somebody has it.
type Id = u32;

#[derive(Debug)]
struct Interned {
    facet: Box<Facet>,
    set: Set,
}

/// What an entry has.
#[derive(Debug, Default)]
struct Record {
    /// Ascending, no two alike.
    facets: Box<[Id]>,
    order_key: u64,
}

#[derive(Debug)]
pub(super) struct Catalogue {
    hasher: FixedState,
    ids: HashTable<Id>,
    interned: Vec<Interned>,
    /// Numbers below `interned.len()` that name no facet.
    spare: Vec<Id>,
    everyone: Set,
    /// By chunk, so that growth moves no record.
    records: Vec<Box<[Record]>>,
    free: Vec<u32>,
    ledger: Ledger,
}

impl Catalogue {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            hasher: FixedState::with_seed(seed),
            ids: HashTable::new(),
            interned: Vec::new(),
            spare: Vec::new(),
            everyone: Set::default(),
            records: Vec::new(),
            free: Vec::new(),
            ledger: Ledger::default(),
        }
    }

    /// Takes a free index, if there is one without another chunk.
    pub(super) fn take_free(&mut self) -> Option<u32> {
        self.free.pop()
    }

    pub(super) fn chunks(&self) -> usize {
        self.records.len()
    }

    /// Adds a chunk of free indexes, the lowest to be taken first.
    pub(super) fn grow(&mut self) {
        let first = (self.records.len() as u32) << SHIFT;
        self.records.push((0..SPAN).map(|_| Record::default()).collect());
        self.free.extend((first..first + SPAN as u32).rev());
    }

    pub(super) fn insert<F: AsRef<Facet>>(&mut self, index: u32, facets: &[F], order_key: u64) {
        self.everyone.insert(index, &mut self.ledger);
        self.record(index).order_key = order_key;
        self.describe(index, facets);
    }

    /// Gives an entry these facets in place of all it had.
    pub(super) fn describe<F: AsRef<Facet>>(&mut self, index: u32, facets: &[F]) {
        let mut now: Vec<Id> = facets.iter().map(|facet| self.intern(facet.as_ref())).collect();
        now.sort_unstable();
        now.dedup();
        let now = now.into_boxed_slice();
        let before = std::mem::take(&mut self.record(index).facets);
        for &id in except(&now, &before) {
            self.interned[id as usize].set.insert(index, &mut self.ledger);
        }
        for &id in except(&before, &now) {
            self.leave(id, index);
        }
        self.ledger.add(size_of_val(&*now));
        self.ledger.sub(size_of_val(&*before));
        self.record(index).facets = now;
    }

    pub(super) fn remove(&mut self, index: u32) {
        self.everyone.remove(index, &mut self.ledger);
        let facets = std::mem::take(&mut self.record(index).facets);
        facets.iter().for_each(|&id| self.leave(id, index));
        self.ledger.sub(size_of_val(&*facets));
    }

    pub(super) fn put_free(&mut self, index: u32) {
        self.free.push(index);
    }

    pub(super) fn everyone(&self) -> &Set {
        &self.everyone
    }

    /// Who has a facet; `None` if nobody.
    pub(super) fn set(&self, facet: &Facet) -> Option<&Set> {
        self.id(facet).map(|id| &self.interned[id as usize].set)
    }

    pub(super) fn order_key(&self, index: u32) -> u64 {
        self.records[index as usize >> SHIFT][index as usize % SPAN].order_key
    }

    pub(super) fn matches(&self, index: u32, query: &Query<'_>) -> bool {
        let facets = &self.records[index as usize >> SHIFT][index as usize % SPAN].facets;
        let has = |facet: &&Facet| self.id(facet).is_some_and(|id| facets.contains(&id));
        query.all.iter().all(has)
            && query.any.iter().all(|group| group.iter().any(has))
            && !query.none.iter().any(has)
    }

    pub(super) fn bytes(&self) -> usize {
        let records = self.records.len() * SPAN * size_of::<Record>() + vec_bytes(&self.records);
        let facets = self.ids.allocation_size() + vec_bytes(&self.interned) + vec_bytes(&self.spare);
        records + facets + vec_bytes(&self.free) + self.ledger.bytes()
    }

    /// Gives back what is only room to grow.
    pub(super) fn shrink(&mut self) {
        let used = self
            .interned
            .iter()
            .rposition(|one| one.set.len() > 0)
            .map_or(0, |last| last + 1);
        self.interned.truncate(used);
        self.interned.shrink_to_fit();
        self.spare.retain(|&id| (id as usize) < used);
        self.spare.shrink_to_fit();
        self.free.shrink_to_fit();
        let Self {
            ids,
            interned,
            hasher,
            ..
        } = self;
        ids.shrink_to_fit(|&id| hasher.hash_one(&*interned[id as usize].facet));
    }

    /// That sets and records say the same, and that no facet is kept for nobody.
    pub(super) fn audit(&self) -> Result<(), String> {
        let (mut of_records, mut agree) = (0, true);
        self.everyone.for_each(|index| {
            let facets = &self.records[index as usize >> SHIFT][index as usize % SPAN].facets;
            of_records += facets.len();
            agree &= facets
                .iter()
                .all(|&id| self.interned[id as usize].set.contains(index));
        });
        let of_sets: usize = self.interned.iter().map(|one| one.set.len()).sum();
        let kept = self.interned.iter().filter(|one| one.set.len() > 0).count();
        if of_records != of_sets || !agree || kept != self.ids.len() {
            return Err(format!(
                "11: {of_records} in records, {of_sets} in sets; {kept} facets, {} kept",
                self.ids.len()
            ));
        }
        Ok(())
    }

    fn record(&mut self, index: u32) -> &mut Record {
        &mut self.records[index as usize >> SHIFT][index as usize % SPAN]
    }

    fn id(&self, facet: &Facet) -> Option<Id> {
        let hash = self.hasher.hash_one(facet);
        self.ids
            .find(hash, |&id| *self.interned[id as usize].facet == *facet)
            .copied()
    }

    fn intern(&mut self, facet: &Facet) -> Id {
        let Self {
            hasher,
            ids,
            interned,
            spare,
            ledger,
            ..
        } = self;
        let same = |&id: &Id| *interned[id as usize].facet == *facet;
        let rehash = |&id: &Id| hasher.hash_one(&*interned[id as usize].facet);
        match ids.entry(hasher.hash_one(facet), same, rehash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let id = spare.pop().unwrap_or(interned.len() as Id);
                vacant.insert(id);
                ledger.add(facet.len());
                put(
                    interned,
                    id,
                    Interned {
                        facet: facet.into(),
                        set: Set::default(),
                    },
                );
                id
            }
        }
    }

    /// Takes an entry out of a facet's set, and forgets a facet that nobody has any more.
    fn leave(&mut self, id: Id, index: u32) {
        let one = &mut self.interned[id as usize];
        one.set.remove(index, &mut self.ledger);
        if one.set.len() > 0 {
            return;
        }
        let facet = std::mem::take(&mut one.facet);
        self.ledger.sub(facet.len());
        let found = self
            .ids
            .find_entry(self.hasher.hash_one(&*facet), |&other| other == id);
        found.expect("a facet that somebody has is interned").remove();
        self.spare.push(id);
    }
}

fn put(interned: &mut Vec<Interned>, id: Id, one: Interned) {
    match interned.get_mut(id as usize) {
        Some(spare) => *spare = one,
        None => interned.push(one),
    }
}

/// Those of one sorted list that are not in the other.
fn except<'a>(list: &'a [Id], other: &'a [Id]) -> impl Iterator<Item = &'a Id> {
    list.iter().filter(|id| other.binary_search(id).is_err())
}
