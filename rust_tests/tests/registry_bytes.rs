//! What a registry says that it holds comes back: of long keys, of many under one key, and of entries that are described.
#![cfg(not(kantoku_loom))]

use std::sync::Arc;

use kantoku_core::registry::{Displace, Registry};
use kantoku_rust_tests::world::{Name, Stage, World};

const NAMES: u64 = 400;

fn opened(unique: bool) -> (Arc<Stage>, Registry<World>) {
    let registry = Registry::new(4, 1);
    registry.open(1, unique);
    (Stage::new(NAMES as usize + 1), registry)
}

fn names(registry: &Registry<World>) -> usize {
    registry.bytes().names
}

fn fill(registry: &Registry<World>, stage: &Arc<Stage>) {
    let mut world = World::new(stage);
    for number in 0..NAMES {
        let name = Name::new(number, u64::MAX);
        registry
            .register(1, name.probe(), 1, number, Displace::Dead, &mut world)
            .expect("it is open");
    }
}

fn empty(registry: &Registry<World>, stage: &Arc<Stage>) {
    let mut world = World::new(stage);
    for number in 0..NAMES {
        let name = Name::new(number, u64::MAX);
        registry
            .unregister(1, name.probe(), 1, None, &mut world)
            .expect("it is open");
    }
}

#[test]
fn names_that_go_give_back_what_they_held() {
    let (stage, registry) = opened(true);
    let nothing = names(&registry);
    fill(&registry, &stage);
    // One in eight has a key of 48 bytes on the heap.
    assert!(names(&registry) - nothing > (NAMES as usize / 8) * 48);
    empty(&registry, &stage);
    assert_eq!(names(&registry), nothing);
}

#[test]
fn later_holders_of_a_key_are_counted_and_go() {
    let (stage, registry) = opened(false);
    let nothing = names(&registry);
    fill(&registry, &stage);
    let once = names(&registry);
    fill(&registry, &stage);
    assert!(names(&registry) > once);
    empty(&registry, &stage);
    assert_eq!(names(&registry), nothing);
}

#[test]
fn an_owner_that_dies_takes_all_of_it_along() {
    let (stage, registry) = opened(false);
    let nothing = names(&registry);
    fill(&registry, &stage);
    fill(&registry, &stage);
    stage.kill(1);
    let (_monitor, mut remains) = registry.forget(1, 1).expect("it was watched");
    while !remains.is_empty() {
        registry.clear(1, &remains.piece(16), &mut World::new(&stage));
    }
    assert_eq!(names(&registry), nothing);
}
