//! Invariant 12 of `kantoku_core::index`: the bytes it counts are those that the allocator saw.
#![cfg(not(kantoku_loom))]

use kantoku_core::index::{Index, Slot};
use kantoku_rust_tests::counting::{Counting, held};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ENTRIES: u64 = 10_000;

fn facets(at: u64) -> Vec<String> {
    [1, 3, 50, 2_000, u64::MAX]
        .iter()
        .map(|every| format!("tag {every} {}", at % every))
        .collect()
}

fn fill(index: &Index, base: isize) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(ENTRIES as usize);
    for at in 0..ENTRIES {
        slots.push(index.insert(&facets(at), at));
        check(index, base + vec_bytes(&slots), at);
    }
    slots
}

fn empty(index: &Index, slots: &[Slot], base: isize) {
    for (at, &slot) in slots.iter().enumerate() {
        assert!(if at % 5 == 0 {
            index.replace(slot, &facets(1))
        } else {
            index.remove(slot)
        });
        check(index, base, at as u64);
    }
    slots
        .iter()
        .step_by(5)
        .for_each(|&slot| assert!(index.remove(slot)));
    index.shrink();
}

fn check(index: &Index, base: isize, at: u64) {
    if at.is_multiple_of(97) {
        assert_eq!(
            index.native_bytes() as isize,
            held() - base,
            "12: after {at} entries"
        );
    }
}

fn vec_bytes<T>(vec: &Vec<T>) -> isize {
    (vec.capacity() * size_of::<T>()) as isize
}

#[test]
fn the_bytes_counted_are_the_bytes_held_at_every_size() {
    let base = held();
    let index = Index::new(3);
    let slots = fill(&index, base);
    let full = index.native_bytes();
    empty(&index, &slots, base + vec_bytes(&slots));
    let emptied = index.native_bytes();
    assert!(emptied < full / 2, "of {full} bytes {emptied} stayed");
    drop(slots);
    let slots = fill(&index, base);
    empty(&index, &slots, base + vec_bytes(&slots));
    assert_eq!(
        index.native_bytes(),
        emptied,
        "a second filling leaves nothing more"
    );
    drop((slots, index));
    assert_eq!(held(), base);
}
