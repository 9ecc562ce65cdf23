//! The directory against a plain map, and under threads. D1 to D4 are `kantoku_core::directory`'s.
#![cfg(not(kantoku_loom))]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;

use kantoku_core::directory::{Binding, Directory, Full};
use proptest::collection::vec;
use proptest::prelude::*;

const CELLS: usize = 16;
const NAMES: u64 = 24;

#[derive(Clone, Debug)]
enum Op {
    Bind(u64),
    Unbind(u64),
    UnbindLate(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let name = || 1..=NAMES;
    prop_oneof![
        4 => name().prop_map(Op::Bind),
        3 => name().prop_map(Op::Unbind),
        1 => name().prop_map(Op::UnbindLate),
    ]
}

struct Run {
    directory: Directory,
    bound: HashMap<u64, Binding>,
    generations: u32,
}

impl Run {
    fn run(&mut self, op: &Op) {
        match *op {
            Op::Bind(name) => self.bind(name),
            Op::Unbind(name) => self.unbind(name),
            Op::UnbindLate(name) => self.unbind_late(name),
        }
        self.agree();
    }

    fn bind(&mut self, name: u64) {
        self.generations += 1;
        let binding = Binding {
            place: 40 - self.generations % 40,
            generation: self.generations,
        };
        let most = CELLS / 4 * 3;
        let fits = self.bound.contains_key(&name) || self.bound.len() < most;
        let answer = if fits { Ok(()) } else { Err(Full { bound: most }) };
        assert_eq!(self.directory.bind(name, binding), answer);
        if fits {
            self.bound.insert(name, binding);
        }
    }

    fn unbind(&mut self, name: u64) {
        if let Some(binding) = self.bound.remove(&name) {
            assert!(self.directory.unbind(name, binding));
            assert!(!self.directory.unbind(name, binding), "it ends once");
        }
    }

    // By a binding that the name had, or never had.
    fn unbind_late(&mut self, name: u64) {
        let late = Binding {
            place: 1,
            generation: self.generations + 1,
        };
        assert!(!self.directory.unbind(name, late), "a successor stays");
    }

    fn agree(&self) {
        for name in 1..=NAMES {
            assert_eq!(
                self.directory.find(name),
                self.bound.get(&name).copied(),
                "D1, D2"
            );
        }
        assert_eq!(self.directory.bindings().count(), self.bound.len(), "D3");
        assert!(
            self.directory.named() >= self.bound.len()
                && (self.directory.named() == 0) == self.bound.is_empty(),
            "D4"
        );
    }
}

proptest! {
    #[test]
    fn names_are_found_as_in_a_plain_map(ops in vec(op(), 1..200)) {
        let mut run = Run {
            directory: Directory::new(CELLS),
            bound: HashMap::new(),
            generations: 0,
        };
        ops.iter().for_each(|op| run.run(op));
        for name in 1..=NAMES {
            run.unbind(name);
            run.agree();
        }
    }
}

#[test]
fn cells_of_a_table_that_was_full_of_old_names_are_empty_again() {
    let directory = Directory::new(CELLS);
    let binding = |generation| Binding { place: 0, generation };
    for round in 0..50 {
        (1..=12).for_each(|name| directory.bind(name + round, binding(name as u32)).expect("room"));
        (1..=12).for_each(|name| assert!(directory.unbind(name + round, binding(name as u32))));
        assert_eq!(directory.named(), 0, "D4");
    }
}

const OWN: u64 = 4;
const TURNS: u32 = 40_000;

/// Each of three writers binds and unbinds names of its own; one name stays all the time. Place is the name.
#[test]
fn names_are_found_under_threads_and_never_by_another_ones_binding() {
    let (directory, generations, done) = (Directory::new(CELLS), AtomicU32::new(2), AtomicBool::new(false));
    let stays = Binding {
        place: 99,
        generation: 1,
    };
    directory.bind(99, stays).expect("room");
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (directory, generations) = (&directory, &generations);
                scope.spawn(move || come_and_go(directory, generations, writer))
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    look_up(&directory, stays);
                }
            });
        }
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, SeqCst);
        assert!(ended.iter().all(Result::is_ok));
    });
    assert!(directory.unbind(99, stays));
    assert_eq!(directory.named(), 0, "D4");
}

fn come_and_go(directory: &Directory, generations: &AtomicU32, writer: u64) {
    for turn in 0..TURNS {
        let name = 1 + writer * OWN + u64::from(turn) % OWN;
        let binding = Binding {
            place: name as u32,
            generation: generations.fetch_add(1, SeqCst),
        };
        directory.bind(name, binding).expect("room for thirteen names");
        assert_eq!(directory.find(name), Some(binding), "D1");
        assert!(directory.unbind(name, binding));
        assert_eq!(directory.find(name), None, "D2");
    }
}

fn look_up(directory: &Directory, stays: Binding) {
    assert_eq!(directory.find(99), Some(stays), "D1");
    for name in 1..=3 * OWN {
        let found = directory.find(name);
        assert!(
            found.is_none_or(|found| u64::from(found.place) == name),
            "D2: {name} led to {found:?}"
        );
    }
}
