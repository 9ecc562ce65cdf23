//! Whether a VM lives, as long as whoever asks wants to bear its silence.
#![cfg(not(kantoku_loom))]

use std::thread::sleep;
use std::time::Duration;

use kantoku_exporters::pulse::{Beat, Pulse};

const SERVING: Beat = Beat {
    ready: true,
    started: true,
};

#[test]
fn a_vm_lives_from_its_first_moment_on_and_is_ready_when_it_says_so() {
    let pulse = Pulse::new(Duration::from_secs(60));
    assert!(pulse.lives() && !pulse.ready() && !pulse.started());
    pulse.beat(SERVING);
    assert!(pulse.lives() && pulse.ready() && pulse.started());
}

#[test]
fn who_asks_later_may_have_less_patience_or_more() {
    let pulse = Pulse::new(Duration::from_secs(60));
    pulse.beat(SERVING);
    sleep(Duration::from_millis(20));
    pulse.have_patience(Duration::from_millis(10));
    assert!(!pulse.lives() && !pulse.ready() && pulse.started());
    pulse.have_patience(Duration::from_secs(60));
    assert!(pulse.lives() && pulse.ready());
}
