//! The index against a plain list of entries. Numbers cite the invariants of `kantoku_core::index`.
#![cfg(not(kantoku_loom))]

use std::collections::{HashMap, HashSet};

use kantoku_core::index::{Facet, Index, MAX_LOAD, Order, Query, Slot};
use kantoku_rust_tests::cases;
use proptest::collection::vec;
use proptest::prelude::*;

const FACETS: usize = 8;

#[derive(Clone, Debug)]
enum Op {
    Insert(u8),
    Replace(usize, u8),
    Remove(usize),
    SetLoad(usize, u64),
    AddLoad(usize, i64),
    Ask(Asked),
    Shrink,
}

#[derive(Clone, Debug)]
struct Asked {
    all: u8,
    any: Vec<u8>,
    none: u8,
    limit: usize,
    /// Entries whose order key leaves 0 by this are refused, unless it is 1.
    refuse: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    slot: Slot,
    facets: u8,
    order_key: u64,
    load: u64,
    live: bool,
}

impl Asked {
    fn fits(&self, entry: &Entry) -> bool {
        entry.facets & self.all == self.all
            && self.any.iter().all(|group| entry.facets & group != 0)
            && entry.facets & self.none == 0
    }

    fn accepts(&self, entry: &Entry) -> bool {
        self.refuse == 1 || !entry.order_key.is_multiple_of(self.refuse)
    }
}

fn names(mask: u8) -> Vec<Vec<u8>> {
    (0..FACETS)
        .filter(|bit| mask >> bit & 1 == 1)
        .map(|bit| format!("facet {bit}").into_bytes())
        .collect()
}

fn slices(names: &[Vec<u8>]) -> Vec<&Facet> {
    names.iter().map(Vec::as_slice).collect()
}

fn load() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..4u64, 2 => 0..100u64, 1 => 0..MAX_LOAD, 1 => Just(u64::MAX)]
}

fn mask() -> impl Strategy<Value = u8> {
    (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| a & b & c)
}

fn asked() -> impl Strategy<Value = Asked> {
    let limit = prop_oneof![Just(usize::MAX), 0..4usize, 0..40usize];
    let groups = prop_oneof![3 => Just(vec![]), 1 => vec(any::<u8>(), 1..3)];
    (mask(), groups, mask(), limit, 1..5u64).prop_map(|(all, any, none, limit, refuse)| Asked {
        all,
        any,
        none,
        limit,
        refuse,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let delta = prop_oneof![4 => -3..4i64, 1 => any::<i64>()];
    prop_oneof![
        6 => any::<u8>().prop_map(Op::Insert),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, facets)| Op::Replace(at, facets)),
        3 => any::<usize>().prop_map(Op::Remove),
        6 => (any::<usize>(), load()).prop_map(|(at, load)| Op::SetLoad(at, load)),
        4 => (any::<usize>(), delta).prop_map(|(at, by)| Op::AddLoad(at, by)),
        4 => asked().prop_map(Op::Ask),
        1 => Just(Op::Shrink),
    ]
}

struct Model {
    index: Index,
    entries: Vec<Entry>,
}

impl Model {
    fn new(listed: usize) -> Self {
        Self {
            index: Index::tuned(7, listed),
            entries: Vec::new(),
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Insert(facets) => self.insert(facets),
            Op::Ask(asked) => self.ask(&asked),
            Op::Shrink => self.index.shrink(),
            _ if self.entries.is_empty() => (),
            Op::Replace(at, facets) => self.replace(at, facets),
            Op::Remove(at) => self.remove(at),
            Op::SetLoad(at, load) => self.set_load(at, load),
            Op::AddLoad(at, delta) => self.add_load(at, delta),
        }
    }

    fn insert(&mut self, facets: u8) {
        let order_key = (self.entries.len() as u64).wrapping_mul(7919) % 10_007;
        let slot = self.index.insert(&names(facets), order_key);
        assert!(
            self.entries.iter().all(|entry| entry.slot != slot),
            "10: a slot is given out once"
        );
        assert_eq!(Slot::from_handle(slot.to_handle()), Some(slot));
        self.entries.push(Entry {
            slot,
            facets,
            order_key,
            load: 0,
            live: true,
        });
    }

    /// Any entry that ever was, so that stale slots are used too.
    fn any(&mut self, at: usize) -> (&Index, &mut Entry) {
        let at = at % self.entries.len();
        (&self.index, &mut self.entries[at])
    }

    fn replace(&mut self, at: usize, facets: u8) {
        let (index, entry) = self.any(at);
        assert_eq!(index.replace(entry.slot, &names(facets)), entry.live);
        entry.facets = facets;
    }

    fn remove(&mut self, at: usize) {
        let (index, entry) = self.any(at);
        assert_eq!(index.remove(entry.slot), entry.live);
        entry.live = false;
        assert_eq!(index.load(entry.slot), None);
    }

    fn set_load(&mut self, at: usize, load: u64) {
        let (index, entry) = self.any(at);
        assert_eq!(index.set_load(entry.slot, load), entry.live);
        entry.load = load.min(MAX_LOAD);
        assert_eq!(index.load(entry.slot), entry.live.then_some(entry.load));
    }

    fn add_load(&mut self, at: usize, delta: i64) {
        let (index, entry) = self.any(at);
        entry.load = entry.load.saturating_add_signed(delta).min(MAX_LOAD);
        assert_eq!(
            index.add_load(entry.slot, delta),
            entry.live.then_some(entry.load)
        );
    }

    fn ask(&self, asked: &Asked) {
        let (all, none) = (names(asked.all), names(asked.none));
        let groups: Vec<_> = asked.any.iter().map(|&group| names(group)).collect();
        let groups: Vec<_> = groups.iter().map(|group| slices(group)).collect();
        let any: Vec<&[&Facet]> = groups.iter().map(Vec::as_slice).collect();
        let query = Query {
            all: &slices(&all),
            any: &any,
            none: &slices(&none),
            order: Order::Load,
        };
        let matching = self.live().filter(|entry| asked.fits(entry)).count();
        assert_eq!(self.index.count(&query, &mut |_, _| true), matching);
        for entry in &self.entries {
            assert_eq!(
                self.index.matches(entry.slot, &query),
                entry.live && asked.fits(entry)
            );
        }
        for order in [
            Order::None,
            Order::Load,
            Order::StartedAt,
            Order::Random(asked.refuse),
        ] {
            self.check(asked, &Query { order, ..query });
        }
    }

    fn live(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.live)
    }

    fn check(&self, asked: &Asked, query: &Query<'_>) {
        let matching: HashMap<Slot, &Entry> = self
            .live()
            .filter(|entry| asked.fits(entry))
            .map(|entry| (entry.slot, entry))
            .collect();
        let (mut offered, mut found) = (HashSet::new(), Vec::new());
        self.index.find(query, asked.limit, &mut |slot, load| {
            assert!(offered.insert(slot), "7: offered once");
            let entry = matching[&slot];
            assert_eq!(load, entry.load, "8: the load it has");
            if asked.accepts(entry) {
                found.push(key(query.order, entry));
            }
            asked.accepts(entry)
        });
        let mut wanted: Vec<u64> = matching
            .values()
            .filter(|entry| asked.accepts(entry))
            .map(|entry| key(query.order, entry))
            .collect();
        wanted.sort_unstable();
        assert_eq!(
            found.len(),
            wanted.len().min(asked.limit),
            "7: none missed by {query:?}"
        );
        assert_eq!(found, wanted[..found.len()], "8: in order by {query:?}");
    }
}

/// What the order sorts by; the same for all where it does not.
fn key(order: Order, entry: &Entry) -> u64 {
    match order {
        Order::Load => entry.load,
        Order::StartedAt => entry.order_key,
        Order::None | Order::Random(_) => 0,
    }
}

fn run(listed: usize, ops: Vec<Op>) {
    let mut model = Model::new(listed);
    ops.into_iter().for_each(|op| model.run(op));
    assert_eq!(model.index.len(), model.live().count());
    let one_of_nothing = Query {
        any: &[&[]],
        ..Query::default()
    };
    assert_eq!(model.index.count(&one_of_nothing, &mut |_, _| true), 0);
    model.index.audit().expect("a quiet time");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(192), ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_plain_list_does_when_few_are_listed(ops in vec(op(), 1..150)) {
        run(2048, ops);
    }

    #[test]
    fn answers_as_a_plain_list_does_when_bitmaps_are_swept(ops in vec(op(), 1..150)) {
        run(0, ops);
    }

    #[test]
    fn answers_as_a_plain_list_does_where_both_ways_meet(ops in vec(op(), 100..400)) {
        run(20, ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(6), max_shrink_iters: 32, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_plain_list_does_over_many_chunks(seed in any::<u64>(), asks in vec(asked(), 4)) {
        let model = crowd(seed);
        for asked in &asks {
            let all = names(asked.all);
            let asked = Asked { any: vec![], none: 0, ..asked.clone() };
            for order in [Order::None, Order::Load, Order::StartedAt, Order::Random(seed)] {
                model.check(&asked, &Query { all: &slices(&all), order, ..Query::default() });
            }
        }
    }
}

/// Three chunks of entries, a third of them removed again.
fn crowd(seed: u64) -> Model {
    let mut model = Model::new(512);
    let mut random = seed | 1;
    for _ in 0..9_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (facets, order_key) = ((random >> 33) as u8 | 1, random >> 20);
        let slot = model.index.insert(&names(facets), order_key);
        let load = if random >> 60 > 2 { random >> 40 & 63 } else { 0 };
        model.index.set_load(slot, load);
        model.entries.push(Entry {
            slot,
            facets,
            order_key,
            load,
            live: true,
        });
    }
    (0..9_000).step_by(3).for_each(|at| model.remove(at));
    model.index.audit().expect("a quiet time");
    model
}

fn least_of_the_rare(index: &Index, limit: usize) -> Vec<u64> {
    let mut found = Vec::new();
    let query = Query {
        all: &[b"rare"],
        order: Order::Load,
        ..Query::default()
    };
    index.find(&query, limit, &mut |_, load| {
        found.push(load);
        true
    });
    found
}

#[test]
fn the_least_of_few_in_each_chunk_are_found_wherever_their_loads_lie() {
    for lowest in [0, 1, 12, 300, MAX_LOAD - 50] {
        let index = Index::tuned(7, 0);
        let mut wanted = Vec::new();
        for at in 0..12_000_u64 {
            let (rare, load) = (at % 97 == 0, lowest + at * 7919 % 41);
            let facets: &[&[u8]] = if rare { &[b"all", b"rare"] } else { &[b"all"] };
            let slot = index.insert(facets, at);
            assert!(index.set_load(slot, if rare { load } else { at % 20 }));
            wanted.extend(rare.then_some(load));
        }
        wanted.sort_unstable();
        for limit in [1, 7, 60, usize::MAX] {
            let found = least_of_the_rare(&index, limit);
            assert_eq!(found, wanted[..limit.min(wanted.len())], "8: from {lowest}");
        }
    }
}

#[test]
fn an_integer_that_is_no_handle_is_refused() {
    let index = Index::new(1);
    let slot = index.insert(&[b"a"], 1);
    assert!(slot.to_handle() < 1 << 57);
    assert_eq!(Slot::from_handle(u64::MAX), None);
    assert_eq!(Slot::from_handle(1 << 57 | slot.to_handle()), None);
    assert_eq!(
        Slot::from_handle(u64::from(slot.index())),
        None,
        "generation 0 is nobody's"
    );
    let far = Slot::from_handle(slot.to_handle() + 5_000_000).expect("a handle of another index");
    assert!(!index.set_load(far, 3) && !index.remove(far) && index.load(far).is_none());
    assert!(!index.replace(far, &[b"b"]) && !index.matches(far, &Query::default()));
}

fn spread_of_first(entries: usize, listed: usize, rounds: u64) -> f64 {
    let index = Index::tuned(5, listed);
    for at in 0..entries {
        index.insert(&[b"x"], at as u64);
    }
    let mut hits = vec![0f64; entries];
    for seed in 0..rounds {
        let query = Query {
            all: &[b"x"],
            order: Order::Random(seed),
            ..Query::default()
        };
        index.find(&query, 1, &mut |slot, _| {
            hits[slot.index() as usize] += 1.0;
            true
        });
    }
    let mean = rounds as f64 / entries as f64;
    hits.iter().map(|hit| (hit - mean).powi(2) / mean).sum()
}

#[test]
fn random_order_is_uniform() {
    // Chi-squared with 199 degrees of freedom is above 300 less than once in 100,000 times; the seeds are fixed.
    for listed in [0, 2048] {
        let spread = spread_of_first(200, listed, 40_000);
        assert!(spread < 300.0, "chi-squared {spread}");
    }
}
