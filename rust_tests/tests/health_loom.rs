//! Pulses in every order of saying, reading, and coming after another in the same place. H5 is `kantoku_core::health`'s.
#![cfg(kantoku_loom)]

use kantoku_core::health::{Handle, Health, Pulse, Spec};
use kantoku_rust_tests::orders::check;
use loom::sync::Arc;
use loom::thread;

const OPEN: u32 = 1;
const MS: i64 = 1_000_000;

fn scene() -> (Arc<Health>, Handle) {
    let health = Health::default();
    health.open(OPEN);
    let agent = agent(&health);
    (Arc::new(health), agent)
}

fn agent(health: &Health) -> Handle {
    let added = health
        .add(OPEN, None, Spec::Agent(Vec::new()), 9, 0)
        .expect("open");
    added.answer.expect("no parent")
}

// Each message is within its limit for as long as it takes: no reader may see it with the limit of the one before.
#[test]
fn loom_no_message_is_seen_with_a_limit_of_one_before() {
    check(|| {
        let (health, agent) = scene();
        health.pulses.busy(agent, Some(1), 0);
        let writer = {
            let health = Arc::clone(&health);
            thread::spawn(move || {
                health.pulses.idle(agent);
                health.pulses.busy(agent, Some(60), 10 * MS);
            })
        };
        if let Pulse::Busy { since: 0, over } = health.pulses.read(agent, 10 * MS) {
            assert_eq!(over, Some(-60), "the second message's own limit");
        }
        writer.join().expect("writes");
    });
}

#[test]
fn loom_what_is_written_under_a_former_handle_is_not_its_successors() {
    check(|| {
        let (health, former) = scene();
        let late = {
            let health = Arc::clone(&health);
            thread::spawn(move || health.pulses.busy(former, Some(1), 0))
        };
        health
            .remove(OPEN, former, 0)
            .expect("open")
            .answer
            .expect("there");
        let successor = agent(&health);
        assert_eq!(health.pulses.read(successor, 5 * MS), Pulse::None);
        let (at_work, _) = health.look(OPEN, 0, 9, 0, 5 * MS).expect("open");
        assert!(at_work.iter().all(|each| each.agent == former));
        late.join().expect("writes");
        assert_eq!(health.pulses.read(successor, 5 * MS), Pulse::None);
    });
}
