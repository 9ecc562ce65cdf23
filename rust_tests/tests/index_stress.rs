//! The index under threads. Numbers cite the invariants of `kantoku_core::index`; loom has its own models beside this.
#![cfg(not(kantoku_loom))]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;

use kantoku_core::index::{Index, Order, Query, Slot};

const ENTRIES: usize = 6_000;
const ROUNDS: usize = 300;

fn everyone() -> Query<'static> {
    Query {
        all: &[b"x"],
        order: Order::Load,
        ..Query::default()
    }
}

fn filled(listed: usize) -> (Index, Vec<Slot>) {
    let index = Index::tuned(11, listed);
    let slots = (0..ENTRIES).map(|at| index.insert(&[b"x"], at as u64)).collect();
    (index, slots)
}

/// Numbers in no pattern: from `at` on, one after the other.
fn mixed(at: u64) -> u64 {
    let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 17
}

/// A load that is mostly on the first levels, at times on one of the wide ones.
fn some_load(random: u64) -> u64 {
    if random.is_multiple_of(3) {
        random >> 8 & 0xfff
    } else {
        random >> 8 & 7
    }
}

/// Ends the workers also when the watcher fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Runs `work` on other threads, each with its number, again and again until `watch` is done.
fn while_watching(threads: u64, work: impl Fn(u64, u64) + Sync, watch: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ended = Done(&done);
        for thread in 0..threads {
            let (work, done) = (&work, &done);
            scope.spawn(move || {
                (0..)
                    .take_while(|_| !done.load(SeqCst))
                    .for_each(|turn| work(thread, turn))
            });
        }
        watch();
    });
}

fn found(index: &Index, query: &Query<'_>, limit: usize) -> Vec<(Slot, u64)> {
    let mut found = Vec::new();
    index.find(query, limit, &mut |slot, load| {
        found.push((slot, load));
        true
    });
    found
}

fn entries_are_found_once_and_in_order(listed: usize) {
    let (index, slots) = filled(listed);
    let work = |thread, turn| {
        let random = mixed(turn << 3 | thread);
        index.set_load(slots[random as usize % 5 * 67], some_load(mixed(random)));
        index.set_load(slots[random as usize % ENTRIES], some_load(mixed(random)));
    };
    while_watching(3, work, || {
        for _ in 0..ROUNDS {
            let found = found(&index, &everyone(), usize::MAX);
            let distinct: HashSet<_> = found.iter().map(|one| one.0).collect();
            assert_eq!((found.len(), distinct.len()), (ENTRIES, ENTRIES), "7");
            assert!(found.is_sorted_by_key(|one| one.1), "8");
        }
    });
    index.audit().expect("a quiet time");
}

#[test]
fn entries_whose_loads_change_are_found_once_and_in_order_by_sweeping() {
    entries_are_found_once_and_in_order(0);
}

#[test]
fn entries_whose_loads_change_are_found_once_and_in_order_by_listing() {
    entries_are_found_once_and_in_order(usize::MAX);
}

#[test]
fn additions_are_neither_lost_nor_doubled() {
    let (index, slots) = filled(0);
    let sums: Vec<AtomicI64> = (0..8).map(|_| AtomicI64::new(1_000)).collect();
    slots
        .iter()
        .take(8)
        .for_each(|&slot| assert!(index.set_load(slot, 1_000)));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (index, slots, sums) = (&index, &slots, &sums);
            scope.spawn(move || {
                for turn in 0..100_000 {
                    let random = mixed(turn << 2 | thread);
                    let (at, delta) = (random as usize % 8, if turn.is_multiple_of(2) { 1 } else { -1 });
                    sums[at].fetch_add(delta, SeqCst);
                    index.add_load(slots[at], delta).expect("the entry lives");
                }
            });
        }
    });
    for (slot, sum) in slots.iter().zip(&sums) {
        assert_eq!(index.load(*slot), Some(sum.load(SeqCst) as u64));
    }
    index.audit().expect("a quiet time");
}

#[test]
fn a_change_that_returned_is_seen_in_the_order() {
    let (index, slots) = filled(0);
    slots.iter().for_each(|&slot| assert!(index.set_load(slot, 9)));
    let mine = slots[120];
    // The others change the same slot, but only to what is least, and those that share its word, but to more.
    let work = |_, turn| {
        assert!(index.set_load(mine, mixed(turn) & 1));
        assert!(index.set_load(slots[100 + mixed(turn) as usize % 20], 2 + mixed(turn) % 8));
    };
    while_watching(3, work, || {
        for round in 0..50_000 {
            assert!(index.set_load(mine, 9) && index.set_load(mine, round & 1));
            let found = found(&index, &everyone(), 1);
            assert!(
                found.len() == 1 && found[0].0 == mine && found[0].1 <= 1,
                "9: {found:?}"
            );
        }
    });
    index.audit().expect("a quiet time");
}

#[test]
fn late_calls_never_touch_a_successor() {
    let index = Index::tuned(2, 0);
    let keeper = index.insert(&[b"x"], 0);
    let work = |thread: u64, turn| {
        let slot = index.insert(&[b"x"], turn);
        assert_eq!(index.load(slot), Some(0), "10");
        // Guesses at what others hold, most of them stale.
        let guess = Slot::from_handle(slot.to_handle() - ((mixed(turn) % 3 * 2) << 31 & slot.to_handle()));
        if let Some(guess) = guess.filter(|guess| guess.generation() < slot.generation()) {
            assert!(!index.set_load(guess, 77) && !index.remove(guess), "10");
        }
        assert_eq!(index.load(slot), Some(0), "10");
        assert!(index.set_load(slot, thread + 1) && index.remove(slot));
        assert!(
            !index.set_load(slot, 5) && !index.remove(slot) && index.load(slot).is_none(),
            "10"
        );
    };
    while_watching(3, work, || {
        for _ in 0..20_000 {
            let found = found(&index, &everyone(), usize::MAX);
            assert_eq!(found.iter().filter(|one| one.0 == keeper).count(), 1, "7");
            assert!(found.len() <= 4 && found.iter().all(|one| one.1 <= 3), "10");
        }
    });
    assert_eq!(found(&index, &everyone(), usize::MAX), [(keeper, 0)]);
    index.audit().expect("a quiet time");
}

#[test]
fn a_replaced_facet_set_is_seen_whole() {
    let index = Index::tuned(4, 0);
    let slots: Vec<Slot> = (0..200).map(|at| index.insert(&[b"red", b"one"], at)).collect();
    let work = |_, turn: u64| {
        let facets: [&[u8]; 2] = if turn.is_multiple_of(2) {
            [b"blue", b"two"]
        } else {
            [b"red", b"one"]
        };
        assert!(index.replace(slots[mixed(turn) as usize % 200], &facets));
    };
    let count = |query: Query<'_>| index.count(&query, &mut |_, _| true);
    while_watching(2, work, || {
        for _ in 0..5_000 {
            assert_eq!(
                count(Query {
                    all: &[b"red", b"two"],
                    ..Query::default()
                }),
                0,
                "11"
            );
            assert_eq!(
                count(Query {
                    any: &[&[b"red", b"blue"]],
                    ..Query::default()
                }),
                200,
                "7, 11"
            );
            assert_eq!(
                count(Query {
                    none: &[b"one", b"two"],
                    ..Query::default()
                }),
                0,
                "11"
            );
        }
    });
}
