//! The directory under every order of its reads and writes. D1 to D4 are `kantoku_core::directory`'s.
#![cfg(kantoku_loom)]

use std::sync::Arc;

use kantoku_core::directory::{Binding, Directory};
use kantoku_rust_tests::orders::check;
use loom::thread;

const CELLS: usize = 4;

// Who reads is spawned and who writes is not: loom runs the first thread first, and goes back to a store for a load that came
// after it, but not to a load for a store whose thread read the same word in between.

fn binding(generation: u32) -> Binding {
    Binding { place: 9, generation }
}

/// Names whose walks begin at one cell, found by what the directory does: it looks for a name where it put it.
fn neighbours() -> [u64; 3] {
    let first_cell = |name: u64| (name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (CELLS - 1);
    let mut alike = (1..).filter(|&name| first_cell(name) == 1);
    std::array::from_fn(|_| alike.next().expect("there are many"))
}

#[test]
fn loom_a_name_that_stays_is_found_while_its_neighbours_come_and_go() {
    check(|| {
        let [stays, leaves, comes] = neighbours();
        let directory = Arc::new(Directory::new(CELLS));
        directory.bind(leaves, binding(1)).expect("room");
        directory.bind(stays, binding(2)).expect("room");
        let reader = {
            let directory = Arc::clone(&directory);
            thread::spawn(move || assert_eq!(directory.find(stays), Some(binding(2)), "D1"))
        };
        assert!(directory.unbind(leaves, binding(1)));
        directory.bind(comes, binding(3)).expect("room");
        assert!(directory.unbind(comes, binding(3)));
        reader.join().expect("the reader ends");
        assert_eq!(directory.find(stays), Some(binding(2)), "D1");
        assert_eq!((directory.find(leaves), directory.find(comes)), (None, None));
        assert!(directory.unbind(stays, binding(2)));
        assert_eq!(directory.named(), 0, "D4");
    });
}

/// A cell goes from `name` to `other` and back while somebody looks `name` up.
fn a_look_up_answers_with_bindings_of_its_own_name(behind: bool) {
    check(move || {
        let [name, other, last] = neighbours();
        let directory = Arc::new(Directory::new(CELLS));
        directory.bind(name, binding(1)).expect("room");
        if behind {
            // Keeps the cell from becoming empty between the two.
            directory.bind(last, binding(7)).expect("room");
        }
        let reader = {
            let directory = Arc::clone(&directory);
            let own = [None, Some(binding(1)), Some(binding(3))];
            thread::spawn(move || {
                let found = directory.find(name);
                assert!(own.contains(&found), "D2: {found:?}");
            })
        };
        assert!(directory.unbind(name, binding(1)));
        directory.bind(other, binding(2)).expect("room");
        assert!(directory.unbind(other, binding(2)));
        directory.bind(name, binding(3)).expect("room");
        reader.join().expect("the reader ends");
        assert_eq!(directory.find(name), Some(binding(3)), "D1");
    });
}

#[test]
fn loom_a_look_up_never_takes_the_binding_of_a_name_that_had_the_cell() {
    a_look_up_answers_with_bindings_of_its_own_name(false);
}

#[test]
fn loom_a_look_up_never_takes_the_binding_of_a_name_that_had_the_used_cell() {
    a_look_up_answers_with_bindings_of_its_own_name(true);
}

#[test]
fn loom_a_name_bound_by_two_has_one_binding() {
    check(|| {
        let [name, other, _] = neighbours();
        let directory = Arc::new(Directory::new(CELLS));
        let second = {
            let directory = Arc::clone(&directory);
            thread::spawn(move || {
                directory.bind(name, binding(2)).expect("room");
                directory.bind(other, binding(3)).expect("room");
            })
        };
        directory.bind(name, binding(1)).expect("room");
        let ended = directory.unbind(name, binding(1));
        second.join().expect("the other ends");
        let found = directory.find(name);
        // Theirs came before ours and was replaced, or is there.
        assert!(found == Some(binding(2)) || (found.is_none() && ended), "D3");
        let bindings = directory.bindings().count();
        assert_eq!(bindings, 1 + usize::from(found.is_some()), "D3");
        assert!(directory.unbind(other, binding(3)));
        assert_eq!(directory.unbind(name, binding(2)), found.is_some());
        assert_eq!(directory.named(), 0, "D4");
    });
}
