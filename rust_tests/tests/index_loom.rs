//! The protocol of loads and levels under every interleaving of at most two preemptions. Numbers cite the invariants
//! of `kantoku_core::index`. A threshold of 0 makes every query a sweep over bitmaps.
#![cfg(kantoku_loom)]

use kantoku_core::index::{Index, Order, Query, Slot};
use kantoku_rust_tests::orders::check_up_to;
use loom::sync::Arc;
use loom::thread;

fn model(run: impl Fn() + Sync + Send + 'static) {
    check_up_to(2, run);
}

/// An index with two entries of these loads.
fn pair(first: u64, second: u64) -> (Arc<Index>, Slot, Slot) {
    let index = Arc::new(Index::tuned(1, 0));
    let slots = [first, second].map(|load| {
        let slot = index.insert::<&[u8]>(&[], 0);
        assert!(index.set_load(slot, load));
        slot
    });
    (index, slots[0], slots[1])
}

fn by_load(index: &Index, limit: usize) -> Vec<(Slot, u64)> {
    let mut found = Vec::new();
    index.find(
        &Query {
            order: Order::Load,
            ..Query::default()
        },
        limit,
        &mut |slot, load| {
            found.push((slot, load));
            true
        },
    );
    found
}

fn quiet(index: &Index) {
    index.audit().expect("a quiet time");
}

#[test]
fn loom_two_who_set_one_load_agree_in_the_end() {
    model(|| {
        let (index, slot, _) = pair(0, 3);
        let other = index.clone();
        let setter = thread::spawn(move || assert!(other.set_load(slot, 1)));
        assert!(index.set_load(slot, 2));
        setter.join().expect("the setter ends");
        assert!(matches!(index.load(slot), Some(1 | 2)), "1");
        quiet(&index);
    });
}

#[test]
fn loom_two_who_set_a_load_up_and_down_agree_in_the_end() {
    model(|| {
        let (index, slot, neighbour) = pair(0, 0);
        let other = index.clone();
        let setter = thread::spawn(move || {
            assert!(other.set_load(slot, 1));
            assert!(other.set_load(slot, 0));
        });
        assert!(index.set_load(slot, 1));
        assert!(index.set_load(neighbour, 1));
        setter.join().expect("the setter ends");
        quiet(&index);
    });
}

#[test]
fn loom_additions_are_neither_lost_nor_doubled() {
    model(|| {
        let (index, slot, _) = pair(15, 0);
        let other = index.clone();
        let adder = thread::spawn(move || other.add_load(slot, 1));
        let mine = index.add_load(slot, 1).expect("the entry lives");
        let theirs = adder.join().expect("the adder ends").expect("the entry lives");
        assert_eq!(
            (mine.min(theirs), mine.max(theirs), index.load(slot)),
            (16, 17, Some(17)),
            "1"
        );
        quiet(&index);
    });
}

#[test]
fn loom_an_entry_that_moves_is_found_once_and_in_order() {
    model(|| {
        let (index, slot, second) = pair(2, 1);
        let other = index.clone();
        let setter = thread::spawn(move || {
            assert!(other.set_load(slot, 0));
            assert!(other.set_load(slot, 17));
        });
        let found = by_load(&index, usize::MAX);
        let mut slots: Vec<Slot> = found.iter().map(|one| one.0).collect();
        slots.sort_unstable();
        assert_eq!(slots, [slot, second], "7");
        assert!(found.is_sorted_by_key(|one| one.1), "8: {found:?}");
        assert!(
            found.contains(&(second, 1)) || found == [(slot, 2), (second, 2)],
            "8: {found:?}"
        );
        setter.join().expect("the setter ends");
        quiet(&index);
    });
}

#[test]
fn loom_who_falls_from_low_to_lower_comes_before_who_is_higher() {
    model(|| {
        let (index, slot, _) = pair(2, 3);
        let other = index.clone();
        let setter = thread::spawn(move || assert!(other.set_load(slot, 0)));
        let found = by_load(&index, 1);
        assert!(found.len() == 1 && found[0].0 == slot, "8: {found:?}");
        setter.join().expect("the setter ends");
        quiet(&index);
    });
}

#[test]
fn loom_a_change_that_returned_is_seen_in_the_order() {
    model(|| {
        let (index, slot, _) = pair(9, 4);
        let other = index.clone();
        let setter = thread::spawn(move || assert!(other.set_load(slot, 1)));
        assert!(index.set_load(slot, 0));
        let found = by_load(&index, 1);
        assert!(found == [(slot, 0)] || found == [(slot, 1)], "9: {found:?}");
        setter.join().expect("the setter ends");
        quiet(&index);
    });
}

#[test]
fn loom_a_neighbour_that_empties_a_word_hides_nobody() {
    model(|| {
        let (index, slot, neighbour) = pair(9, 1);
        let other = index.clone();
        let setter = thread::spawn(move || assert!(other.set_load(neighbour, 5)));
        assert!(index.set_load(slot, 1));
        let found = by_load(&index, 2);
        assert_eq!(found.len(), 2, "7");
        assert!(found.contains(&(slot, 1)) && found[0].1 == 1, "6, 9: {found:?}");
        setter.join().expect("the setter ends");
        quiet(&index);
    });
}

#[test]
fn loom_a_level_that_is_emptied_and_filled_at_once_is_summed_up() {
    model(|| {
        let (index, slot, neighbour) = pair(1, 2);
        let other = index.clone();
        let filler = thread::spawn(move || assert!(other.set_load(neighbour, 1)));
        assert!(index.set_load(slot, 3));
        filler.join().expect("the filler ends");
        // Reads what `filled` says of each level (6).
        quiet(&index);
        assert_eq!(by_load(&index, 2), [(neighbour, 1), (slot, 3)], "6, 9");
    });
}

#[test]
fn loom_who_is_offered_idle_is_not_offered_again_when_it_moves() {
    model(|| {
        let (index, slot, second) = pair(0, 0);
        let other = index.clone();
        let setter = thread::spawn(move || assert!(other.set_load(slot, 2)));
        let found = by_load(&index, usize::MAX);
        let mut slots: Vec<Slot> = found.iter().map(|one| one.0).collect();
        slots.sort_unstable();
        assert_eq!(slots, [slot, second], "7");
        assert!(
            found[0].1 == 0 && found.is_sorted_by_key(|one| one.1),
            "8: {found:?}"
        );
        setter.join().expect("the setter ends");
        quiet(&index);
    });
}

#[test]
fn loom_a_late_change_never_touches_a_successor() {
    model(|| {
        let (index, slot, _) = pair(2, 4);
        let other = index.clone();
        let late = thread::spawn(move || other.set_load(slot, 7));
        assert!(index.remove(slot));
        let successor = index.insert::<&[u8]>(&[], 0);
        assert_eq!((successor.index(), successor != slot), (slot.index(), true));
        assert_eq!(index.load(successor), Some(0), "10");
        assert_eq!(by_load(&index, 1), [(successor, 0)], "9, 10");
        late.join().expect("the late one ends");
        assert_eq!(index.load(successor), Some(0), "10");
        quiet(&index);
    });
}

#[test]
fn loom_of_two_who_remove_an_entry_one_does() {
    model(|| {
        let (index, slot, kept) = pair(2, 1);
        let other = index.clone();
        let remover = thread::spawn(move || other.remove(slot));
        let found = by_load(&index, usize::MAX);
        assert!(found.contains(&(kept, 1)) && found.len() <= 2, "7");
        let mine = index.remove(slot);
        assert!(mine != remover.join().expect("the remover ends"), "10");
        assert_eq!(by_load(&index, usize::MAX), [(kept, 1)]);
        quiet(&index);
    });
}
