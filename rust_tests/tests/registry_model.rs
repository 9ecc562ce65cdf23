//! The registry against a plain list of holdings, one call after the other.
#![cfg(not(kantoku_loom))]

use std::sync::Arc;

use kantoku_core::index::{Order, Slot};
use kantoku_core::registry::{Displace, Held, Registry};
use kantoku_rust_tests::cases;
use kantoku_rust_tests::checked::Checked;
use kantoku_rust_tests::reference::{Asked, Description, FACETS};
use kantoku_rust_tests::world::{Stage, World};
use proptest::collection::vec;
use proptest::prelude::*;

const KEYS: u64 = 12;
const PIDS: u64 = 10;

#[derive(Clone, Debug)]
enum Op {
    Register {
        key: u64,
        pid: u64,
        value: u64,
    },
    Introduce {
        key: u64,
        pid: u64,
        facets: u8,
    },
    TakeOver {
        key: u64,
        pid: u64,
        from: u64,
    },
    Unregister {
        key: u64,
        pid: u64,
    },
    UnregisterSome {
        pid: u64,
        at: usize,
    },
    PutValue {
        at: usize,
        pid: Option<u64>,
        value: u64,
    },
    Die(u64),
    Forget(usize),
    Clear {
        at: usize,
        most: usize,
    },
    Describe {
        at: usize,
        pid: Option<u64>,
        late: u64,
        facets: u8,
    },
    SetLoad(usize, u64),
    AddLoad(usize, i64),
    Find {
        asked: Asked,
        limit: usize,
        seed: u64,
    },
    Watch(Asked),
    Unwatch(u64),
    Slice(usize),
    Compare,
    Reopen,
}

fn key() -> impl Strategy<Value = u64> {
    0..KEYS
}

fn pid() -> impl Strategy<Value = u64> {
    0..PIDS
}

fn asked() -> impl Strategy<Value = Asked> {
    let mask = || (any::<u8>(), any::<u8>(), 0..1u8 << FACETS).prop_map(|(a, b, c)| a & b & c);
    let groups = prop_oneof![3 => Just(vec![]), 1 => vec(any::<u8>(), 1..3)];
    (mask(), groups, mask()).prop_map(|(all, any, none)| Asked { all, any, none })
}

fn name_op() -> impl Strategy<Value = Op> {
    let value = || 0..100u64;
    prop_oneof![
        8 => (key(), pid(), value()).prop_map(|(key, pid, value)| Op::Register { key, pid, value }),
        3 => (key(), pid(), any::<u8>()).prop_map(|(key, pid, facets)| Op::Introduce { key, pid, facets }),
        3 => (key(), pid(), pid()).prop_map(|(key, pid, from)| Op::TakeOver { key, pid, from }),
        2 => (key(), pid()).prop_map(|(key, pid)| Op::Unregister { key, pid }),
        2 => (pid(), any::<usize>()).prop_map(|(pid, at)| Op::UnregisterSome { pid, at }),
        2 => (any::<usize>(), proptest::option::weighted(0.2, pid()), value())
            .prop_map(|(at, pid, value)| Op::PutValue { at, pid, value }),
        2 => pid().prop_map(Op::Die),
        2 => any::<usize>().prop_map(Op::Forget),
        3 => (any::<usize>(), 1..4usize).prop_map(|(at, most)| Op::Clear { at, most }),
        2 => (1..5usize).prop_map(Op::Slice),
        2 => Just(Op::Compare),
    ]
}

fn entry_op() -> impl Strategy<Value = Op> {
    let stranger = proptest::option::weighted(0.1, pid());
    prop_oneof![
        8 => (any::<usize>(), stranger, 0..20u64, any::<u8>()).prop_map(|(at, pid, late, facets)| {
            Op::Describe { at, pid, late, facets: facets & ((1 << FACETS) - 1) }
        }),
        3 => (any::<usize>(), 0..9u64).prop_map(|(at, load)| Op::SetLoad(at, load)),
        2 => (any::<usize>(), -3..4i64).prop_map(|(at, delta)| Op::AddLoad(at, delta)),
        4 => (asked(), prop_oneof![Just(usize::MAX), 0..4usize], any::<u64>())
            .prop_map(|(asked, limit, seed)| Op::Find { asked, limit, seed }),
        2 => asked().prop_map(Op::Watch),
        1 => (0..8u64).prop_map(Op::Unwatch),
        1 => prop_oneof![9 => Just(Op::Compare), 1 => Just(Op::Reopen)],
    ]
}

fn ops(longest: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(prop_oneof![3 => name_op(), 2 => entry_op()], 1..longest)
}

/// A registry, and what is under way around it.
struct Run {
    stage: Arc<Stage>,
    checked: Checked,
    hashes: u64,
    /// Deaths that the registry did not hear of.
    unheard: Vec<u64>,
    /// Holdings of dead processes that are not cleared.
    uncleared: Vec<Held>,
    /// All that ever were.
    slots: Vec<Slot>,
    watches: u64,
}

impl Run {
    fn new(unique: bool, hashes: u64) -> Self {
        let stage = Stage::new(PIDS as usize);
        let registry = Arc::new(Registry::new(4, 3));
        let checked = Checked::open(registry, 1, unique, (World::new(&stage), hashes, 0));
        Self {
            stage,
            checked,
            hashes,
            unheard: Vec::new(),
            uncleared: Vec::new(),
            slots: Vec::new(),
            watches: 0,
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Register { key, pid, value } => self.register(key, pid, value, Displace::Dead),
            Op::Introduce { key, pid, facets } => self.introduce(key, pid, facets),
            Op::TakeOver { key, pid, from } => self.register(key, pid, 7, Displace::Holder(from)),
            Op::Unregister { key, pid } => self.checked.unregister(key, pid, None),
            Op::UnregisterSome { pid, at } => self.unregister_some(pid, at),
            Op::PutValue { at, pid, value } => self.put_value(at, pid, value),
            Op::Die(pid) => self.die(pid),
            Op::Forget(at) => self.forget(at),
            Op::Clear { at, most } => self.clear(at, most),
            Op::Describe {
                at,
                pid,
                late,
                facets,
            } => self.describe(at, pid, late, facets),
            Op::SetLoad(at, load) => self.with_slot(at, |checked, slot| checked.set_load(slot, load)),
            Op::AddLoad(at, delta) => self.with_slot(at, |checked, slot| checked.add_load(slot, delta)),
            Op::Find { asked, limit, seed } => self.find(&asked, limit, seed),
            Op::Watch(asked) => self.watch(asked),
            Op::Unwatch(id) => self.checked.unwatch(id),
            Op::Slice(limit) => self.checked.slice(limit),
            Op::Compare => self.checked.compare(KEYS, 0..PIDS),
            Op::Reopen => self.reopen(),
        }
    }

    fn register(&mut self, key: u64, pid: u64, value: u64, displace: Displace) {
        self.checked.register(key, pid, value, displace);
    }

    fn introduce(&mut self, key: u64, pid: u64, facets: u8) {
        self.checked
            .introduce(key, pid, 5, (3, facets & ((1 << FACETS) - 1)));
        let described = self.described(key).map(|described| described.slot);
        self.slots.extend(described);
    }

    /// One of what there is.
    fn at(&self, at: usize) -> Option<(u64, u64, u64)> {
        let entries = &self.checked.reference.entries;
        let entry = entries.get(at.checked_rem(entries.len())?)?;
        Some((entry.key, entry.pid, entry.incarnation))
    }

    fn unregister_some(&mut self, pid: u64, at: usize) {
        if let Some((key, _, incarnation)) = self.at(at) {
            self.checked.unregister(key, pid, Some(&[incarnation, 0]));
        }
    }

    fn put_value(&mut self, at: usize, pid: Option<u64>, value: u64) {
        if let Some((key, holder, incarnation)) = self.at(at) {
            self.checked
                .put_value(key, incarnation, pid.unwrap_or(holder), value);
            self.checked
                .put_value(key, incarnation + 1_000_000, holder, value);
        }
    }

    fn die(&mut self, pid: u64) {
        let heard_by = self.stage.kill(pid);
        self.unheard.extend(heard_by.iter().map(|_| pid));
    }

    fn forget(&mut self, at: usize) {
        if let Some(at) = at.checked_rem(self.unheard.len()) {
            let pid = self.unheard.swap_remove(at);
            self.uncleared.extend(self.checked.forget(pid));
        }
    }

    fn clear(&mut self, at: usize, most: usize) {
        if let Some(at) = at.checked_rem(self.uncleared.len()) {
            let end = self.uncleared.len().min(at + most);
            let cleared: Vec<Held> = self.uncleared.drain(at..end).collect();
            self.checked.clear(&cleared);
        }
    }

    fn describe(&mut self, at: usize, pid: Option<u64>, late: u64, facets: u8) {
        let Some((key, holder, incarnation)) = self.at(at) else {
            return;
        };
        let first = self.checked.reference.holder(key).map(|entry| entry.incarnation);
        if first != Some(incarnation) {
            return;
        }
        let version = self.described(key).map_or(0, |described| described.version);
        let expected = if late == 0 { version + 1 } else { version };
        self.checked
            .describe(key, pid.unwrap_or(holder), expected, late, facets);
        self.slots
            .extend(self.described(key).map(|described| described.slot));
    }

    fn described(&self, key: u64) -> Option<&Description> {
        self.checked.reference.holder(key)?.described.as_ref()
    }

    fn with_slot(&mut self, at: usize, with: impl FnOnce(&mut Checked, Slot)) {
        if let Some(at) = at.checked_rem(self.slots.len()) {
            with(&mut self.checked, self.slots[at]);
        }
    }

    fn find(&self, asked: &Asked, limit: usize, seed: u64) {
        for order in [Order::None, Order::Load, Order::StartedAt, Order::Random(seed)] {
            self.checked.find(asked, order, limit);
        }
    }

    fn watch(&mut self, asked: Asked) {
        self.checked.watch(self.watches, asked);
        self.watches = (self.watches + 1) % 8;
        self.checked.unwatch(self.watches);
    }

    /// The same registry serves the next generation, with clean-up of this one still to come.
    fn reopen(&mut self) {
        self.checked.close();
        let (latest, world) = (self.checked.reference.latest(), World::new(&self.stage));
        let (registry, next) = (Arc::clone(&self.checked.registry), self.checked.generation + 1);
        let unique = !self.checked.reference.unique;
        let before = std::mem::replace(
            &mut self.checked,
            Checked::open(registry, next, unique, (world, self.hashes, latest)),
        );
        let mut late = before;
        late.refuses();
        self.unheard.clear();
        self.uncleared.clear();
    }

    /// All that is under way arrives; then every trace of it can be told to be gone.
    fn settle(&mut self) {
        while !self.unheard.is_empty() {
            self.forget(0);
        }
        while !self.uncleared.is_empty() {
            self.clear(0, 3);
        }
        self.checked.compare(KEYS, 0..PIDS);
        let live = |pid| self.stage.alive(pid);
        assert!(
            self.checked.reference.entries.iter().all(|entry| live(entry.pid)),
            "R2"
        );
        let watched = self.checked.reference.watched.len();
        assert_eq!(self.stage.monitors(), watched as isize);
        self.checked.close();
        let bytes = self.checked.registry.bytes();
        assert_eq!((bytes.names, bytes.owners, bytes.watches), (0, 0, 0));
        assert_eq!(self.stage.monitors(), 0);
    }
}

fn run(unique: bool, hashes: u64, ops: Vec<Op>) {
    run_with(unique, hashes, 0, ops);
}

/// Under key 0 there are `crowd` holdings before it begins.
fn run_with(unique: bool, hashes: u64, crowd: u64, ops: Vec<Op>) {
    let mut run = Run::new(unique, hashes);
    (0..crowd).for_each(|at| run.register(0, at % PIDS, at, Displace::Dead));
    ops.into_iter().for_each(|op| run.run(op));
    run.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(256), ..ProptestConfig::default() })]

    #[test]
    fn unique_keys_answer_as_a_plain_list_does(ops in ops(250)) {
        run(true, u64::MAX, ops);
    }

    #[test]
    fn unique_keys_whose_hashes_collide_answer_as_a_plain_list_does(ops in ops(250)) {
        run(true, 2, ops);
    }

    #[test]
    fn duplicate_keys_answer_as_a_plain_list_does(ops in ops(250)) {
        run(false, 3, ops);
    }

    #[test]
    fn a_duplicate_key_with_many_holders_answers_as_a_plain_list_does(ops in ops(120)) {
        run_with(false, 3, 80, ops);
    }
}
