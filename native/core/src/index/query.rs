//! What a query asks, and what of it is known.

use std::ops::ControlFlow;

use super::catalogue::Catalogue;
use super::cells::{Level, WORDS};
use super::set::{Set, Words, filled};

/// The canonical bytes of a dimension and a value. Opaque here: two are one if their bytes are equal.
pub type Facet = [u8];

/// The order in which [`find`](super::Index::find) offers what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Whatever comes first.
    #[default]
    None,
    /// Ascending by load.
    Load,
    /// Ascending by the key given at insertion.
    StartedAt,
    /// Uniformly random, from this seed.
    Random(u64),
}

/// Entries that have every facet of `all`, at least one of each list in `any`, and none of `none`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a> {
    pub all: &'a [&'a Facet],
    pub any: &'a [&'a [&'a Facet]],
    pub none: &'a [&'a Facet],
    pub order: Order,
}

/// A query against the sets it is about. None of the groups is empty.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// Smallest first; everyone, if the query names no facet here.
    all: Vec<&'a Set>,
    any: Vec<Vec<&'a Set>>,
    none: Vec<&'a Set>,
}

impl<'a> Plan<'a> {
    /// `None` if nothing can match.
    pub(super) fn new(catalogue: &'a Catalogue, query: &Query<'_>) -> Option<Self> {
        let known = |facets: &[&Facet]| facets.iter().filter_map(|facet| catalogue.set(facet)).collect();
        let mut all: Vec<&Set> = query
            .all
            .iter()
            .map(|facet| catalogue.set(facet))
            .collect::<Option<_>>()?;
        let any: Vec<Vec<&Set>> = query.any.iter().map(|group| known(group)).collect();
        if any.iter().any(Vec::is_empty) {
            return None;
        }
        all.sort_unstable_by_key(|set| set.len());
        if all.is_empty() {
            all.push(catalogue.everyone());
        }
        Some(Self {
            all,
            any,
            none: known(query.none),
        })
    }

    /// The matches, if a look at no more than `most` entries tells them; ascending.
    pub(super) fn members(&self, most: usize) -> Option<Vec<u32>> {
        if self.all[0].len() <= most {
            return Some(self.filtered(1, &self.all[..1]));
        }
        let group = self
            .any
            .iter()
            .min_by_key(|group| total(group))
            .filter(|group| total(group) <= most)?;
        let mut members = self.filtered(0, group);
        members.sort_unstable();
        members.dedup();
        Some(members)
    }

    /// The members of some sets that are in the others too, of `all` from the one given.
    fn filtered(&self, from: usize, sets: &[&Set]) -> Vec<u32> {
        let mut members = Vec::with_capacity(total(sets));
        for set in sets {
            set.for_each(|index| {
                if self.has_all(from, index) {
                    members.push(index);
                }
            });
        }
        members
    }

    /// No less than there are matches.
    pub(super) fn at_most(&self) -> usize {
        self.all[0].len()
    }

    fn has_all(&self, from: usize, index: u32) -> bool {
        self.all[from..].iter().all(|set| set.contains(index))
            && self
                .any
                .iter()
                .all(|group| group.iter().any(|set| set.contains(index)))
            && !self.none.iter().any(|set| set.contains(index))
    }

    /// Puts the matches in a chunk into bits that were empty. Which words have some.
    pub(super) fn put(&self, chunk: usize, into: &mut Words) -> u64 {
        let most = self.all[0].put(chunk, into);
        if most == 0 || self.is_one_set() {
            return most;
        }
        for set in &self.all[1..] {
            set.with_words(chunk, |words| each(into, words, |a, b| a & b));
        }
        for group in &self.any {
            let mut union: Words = [0; WORDS];
            for set in group {
                set.put(chunk, &mut union);
            }
            each(into, &union, |a, b| a & b);
        }
        for set in &self.none {
            set.with_words(chunk, |words| each(into, words, |a, b| a & !b));
        }
        filled(into)
    }

    /// The matches on a level, given for each chunk, until `each` breaks. None if it takes more than one set to tell them:
    /// then bitmaps are quicker.
    pub(super) fn try_each_on<'l>(
        &self,
        level: impl Fn(usize) -> Level<'l>,
        each: &mut impl FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.is_one_set() {
            self.all[0].try_each_on(level, each)
        } else {
            ControlFlow::Continue(())
        }
    }

    fn is_one_set(&self) -> bool {
        self.all.len() == 1 && self.any.is_empty() && self.none.is_empty()
    }
}

fn total(group: &[&Set]) -> usize {
    group.iter().map(|set| set.len()).sum()
}

#[inline]
fn each(into: &mut Words, from: &Words, combine: impl Fn(u64, u64) -> u64) {
    into.iter_mut().zip(from).for_each(|(a, &b)| *a = combine(*a, b));
}
