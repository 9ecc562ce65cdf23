//! What agents say of themselves, and who reads it. H5 is `kantoku_core::health`'s.
#![cfg(not(kantoku_loom))]

use kantoku_core::health::{Absent, Handle, Health, Pulse, Spec};

const GENERATION: u32 = 7;
const MS: i64 = 1_000_000;

fn opened() -> Health {
    let health = Health::default();
    health.open(GENERATION);
    health
}

fn agent(health: &Health) -> Handle {
    let added = health
        .add(GENERATION, None, Spec::Agent(Vec::new()), 9, 0)
        .expect("open");
    added.answer.expect("no parent")
}

#[test]
fn a_pulse_says_how_long_and_how_far_beyond_its_limit_at_any_time_of_the_clock() {
    for start in [-3 * MS, 0, i64::from(u32::MAX) * MS, i64::MIN / 2, i64::MAX / 2] {
        let health = opened();
        let (handle, pulses) = (agent(&health), &health.pulses);
        assert_eq!(pulses.read(handle, start), Pulse::None);
        pulses.busy(handle, Some(10), start);
        assert_eq!(
            pulses.read(handle, start + 7 * MS),
            Pulse::Busy {
                since: 7,
                over: Some(-3)
            }
        );
        assert_eq!(
            pulses.put_off(handle, start + 7 * MS, |left| left.map(|left| left + 20)),
            Some(3)
        );
        assert_eq!(
            pulses.read(handle, start + 31 * MS),
            Pulse::Busy {
                since: 31,
                over: Some(1)
            }
        );
        pulses.idle(handle);
        assert_eq!(pulses.read(handle, start), Pulse::Idle);
        pulses.busy(handle, None, start);
        assert_eq!(
            pulses.read(handle, start + MS),
            Pulse::Busy { since: 1, over: None }
        );
    }
}

#[test]
fn what_a_former_holder_of_a_place_says_is_not_taken_for_its_successors() {
    let health = opened();
    let former = agent(&health);
    health
        .remove(GENERATION, former, 0)
        .expect("open")
        .answer
        .expect("there");
    let successor = agent(&health);
    assert_eq!(former.place(), successor.place());
    health.pulses.busy(former, Some(1), 0);
    assert_eq!(health.pulses.read(successor, 5 * MS), Pulse::None);
    let (at_work, _) = health.look(GENERATION, 0, 10, 0, 5 * MS).expect("open");
    assert_eq!(at_work, []);
}

#[test]
fn those_at_work_are_found_in_slices_of_places() {
    let health = opened();
    let agents: Vec<Handle> = (0..1_000).map(|_| agent(&health)).collect();
    for handle in agents.iter().step_by(3) {
        health.pulses.busy(*handle, Some(10), 0);
    }
    let (mut found, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let (at_work, next) = health.look(GENERATION, place, 64, 5, 15 * MS).expect("open");
        found.extend(at_work.iter().map(|each| (each.agent, each.since, each.over)));
        from = next;
    }
    let expected: Vec<_> = agents
        .iter()
        .step_by(3)
        .map(|&handle| (handle, 15, Some(5)))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn an_instance_that_ends_gives_back_what_its_nodes_took_and_none_after_it_has_their_handles() {
    let health = opened();
    let former: Vec<Handle> = (0..2_000).map(|_| agent(&health)).collect();
    let (held, room) = (health.bytes(), health.pulses.bytes());
    health.close();
    assert_eq!(health.bytes(), room);
    assert!(held > 2_000 * 40 + room);

    for generation in 8..11 {
        health.open(generation);
        let added = health.add(generation, None, Spec::Agent(Vec::new()), 9, 0);
        let next = added.expect("open").answer.expect("no parent");
        assert!(!former.contains(&next));
        former.iter().for_each(|&late| health.pulses.idle(late));
        assert_eq!(health.pulses.read(next, 0), Pulse::None);
        assert_eq!(health.status(generation, former[0]), Ok(Err(Absent)));
        health.close();
    }
}
