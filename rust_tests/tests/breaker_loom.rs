//! Breakers in every order of asking, recording, dying and being put into a state, and their clock in every order of reading and
//! beating. B1 to B6 are `kantoku_core::breaker`'s, T1 its clock's.
#![cfg(kantoku_loom)]

use kantoku_core::breaker::{Admission, Breaker, Clock, Config, Ending, PERIOD, State, Ticket};
use kantoku_rust_tests::orders::check;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use loom::thread;

const OPEN: u32 = 1;

/// A breaker whose window is of two calls, and a count of the changes that were told.
struct Scene {
    breaker: Breaker<u64>,
    changes: AtomicUsize,
}

impl Scene {
    fn new(state: State, permitted: u32) -> Arc<Self> {
        let config = Config {
            size: 2,
            minimum: 2,
            permitted,
            wait_open: 10,
            ..Config::default()
        };
        let scene = Self {
            breaker: Breaker::default(),
            changes: AtomicUsize::new(0),
        };
        scene.breaker.open(OPEN, config, 0);
        if state != State::Closed {
            scene.breaker.set(OPEN, state, 0).expect("open");
        }
        Arc::new(scene)
    }

    fn allow(&self, owner: u64, now: i64) -> Option<Ticket> {
        let told = self
            .breaker
            .allow(OPEN, || now, || Some((owner, owner)))
            .expect("open");
        self.changes.fetch_add(told.changes.len(), SeqCst);
        match told.answer {
            Admission::Allowed(ticket) => Some(ticket),
            Admission::Refused { .. } => None,
        }
    }

    fn record(&self, ticket: Ticket, ending: Ending) -> bool {
        let told = self
            .breaker
            .record(OPEN, Some(ticket), 0, ending, 0, 20)
            .expect("open");
        self.changes.fetch_add(told.changes.len(), SeqCst);
        told.answer
    }

    fn die(&self, owner: u64) {
        self.breaker.owner_died(OPEN, owner).expect("open");
    }

    fn look(&self) -> (State, u32, u32) {
        self.breaker.check();
        let status = self.breaker.status(OPEN, 20).expect("open").answer;
        (status.state, status.permits_left, status.permits_out)
    }
}

#[test]
fn loom_no_more_pass_than_are_permitted() {
    check(|| {
        let scene = Scene::new(State::HalfOpen, 2);
        let other = |owner| {
            let scene = Arc::clone(&scene);
            thread::spawn(move || usize::from(scene.allow(owner, 0).is_some()))
        };
        let others = [other(1), other(2)];
        let mine = usize::from(scene.allow(3, 0).is_some());
        let theirs: usize = others
            .into_iter()
            .map(|other| other.join().expect("the thread ends"))
            .sum();
        assert_eq!(mine + theirs, 2);
        assert_eq!(scene.look(), (State::HalfOpen, 0, 2));
    });
}

#[test]
fn loom_a_permit_has_one_end() {
    check(|| {
        let scene = Scene::new(State::HalfOpen, 2);
        let ticket = scene.allow(1, 0).expect("a permit is left");
        let other = Arc::clone(&scene);
        let death = thread::spawn(move || other.die(1));
        let counted = scene.record(ticket, Ending::Success);
        let again = scene.record(ticket, Ending::Success);
        death.join().expect("the thread ends");
        assert!(!again);
        let left = if counted { 1 } else { 2 };
        assert_eq!(scene.look(), (State::HalfOpen, left, 0));
    });
}

#[test]
fn loom_one_opens_it_and_who_comes_then_is_refused() {
    check(|| {
        let scene = Scene::new(State::Closed, 1);
        let tickets: Vec<Ticket> = (0..2).filter_map(|_| scene.allow(1, 0)).collect();
        let [mine, theirs] = tickets[..] else {
            panic!("closed")
        };
        let other = Arc::clone(&scene);
        let recording = thread::spawn(move || other.record(theirs, Ending::Failure));
        assert!(scene.record(mine, Ending::Failure));
        // B3: what it says without the lock is never older than what this thread has seen.
        let seen = scene.look().0;
        let passed = scene.allow(1, 20).is_some();
        assert!(passed == (seen == State::Closed) || scene.look().0 == State::Open);
        assert!(recording.join().expect("the thread ends"));
        // B5
        assert_eq!(scene.changes.load(SeqCst), 1);
        assert_eq!(scene.look().0, State::Open);
        assert_eq!(scene.allow(1, 29), None);
        assert!(scene.allow(1, 30).is_some());
    });
}

#[test]
fn loom_one_turns_it_half_open_and_one_tries() {
    check(|| {
        let scene = Scene::new(State::Open, 1);
        let other = Arc::clone(&scene);
        let asking = thread::spawn(move || other.allow(1, 10).is_some());
        let mine = scene.allow(2, 10).is_some();
        let theirs = asking.join().expect("the thread ends");
        assert!(mine != theirs, "one of them, and only one");
        assert_eq!(scene.changes.load(SeqCst), 1);
    });
}

#[test]
fn loom_what_is_late_changes_nothing() {
    check(|| {
        let scene = Scene::new(State::Closed, 1);
        let first = scene.allow(1, 0).expect("closed");
        scene.record(first, Ending::Failure);
        let ticket = scene.allow(1, 0).expect("closed");
        let other = Arc::clone(&scene);
        let setting = thread::spawn(move || {
            other.breaker.set(OPEN, State::HalfOpen, 0).expect("open");
        });
        scene.record(ticket, Ending::Failure);
        setting.join().expect("the thread ends");
        // B2: whichever came first, the trial has all its permits and nothing was counted in it.
        assert_eq!(scene.look(), (State::HalfOpen, 1, 0));
    });
}

#[test]
fn loom_a_closed_breaker_answers_nobody() {
    check(|| {
        let scene = Scene::new(State::Closed, 1);
        let other = Arc::clone(&scene);
        let closing = thread::spawn(move || {
            other.breaker.close(OPEN);
            other.breaker.open(OPEN + 1, Config::default(), 0);
        });
        if let Ok(told) = scene.breaker.allow(OPEN, || 0, || None)
            && let Admission::Allowed(ticket) = told.answer
        {
            let _ = scene.breaker.record(OPEN, Some(ticket), 1, Ending::Failure, 0, 0);
        }
        closing.join().expect("the thread ends");
        // B6
        let status = scene.breaker.status(OPEN + 1, 0).expect("open").answer;
        assert_eq!(status.counts.calls, 0);
        assert!(scene.breaker.status(OPEN, 0).is_err());
    });
}

/// A clock that beat at 0, and the time.
struct Stopped {
    clock: Clock,
    time: AtomicI64,
}

impl Stopped {
    fn read(&self) -> i64 {
        self.clock.read(|| self.time.load(SeqCst)).running
    }
}

#[test]
fn loom_a_gap_takes_one_period_for_all_who_read() {
    check(|| {
        let scene = Arc::new(Stopped {
            clock: Clock::default(),
            time: AtomicI64::new(0),
        });
        scene.clock.beat(0);
        let other = Arc::clone(&scene);
        let stopping = thread::spawn(move || {
            other.time.store(60 * PERIOD, SeqCst);
            other.clock.beat(60 * PERIOD)
        });
        // T1
        let seen = [scene.read(), scene.read()];
        assert!(
            [[0, 0], [0, PERIOD], [PERIOD, PERIOD]].contains(&seen),
            "{seen:?}"
        );
        assert_eq!(stopping.join().expect("the thread ends"), 59 * PERIOD);
        assert_eq!(scene.read(), PERIOD);
    });
}

#[test]
fn loom_two_who_read_after_a_gap_lose_it_once() {
    check(|| {
        let scene = Arc::new(Stopped {
            clock: Clock::default(),
            time: AtomicI64::new(60 * PERIOD),
        });
        scene.clock.beat(0);
        let other = Arc::clone(&scene);
        let reading = thread::spawn(move || other.read());
        assert_eq!(scene.read(), PERIOD);
        assert_eq!(reading.join().expect("the thread ends"), PERIOD);
    });
}
