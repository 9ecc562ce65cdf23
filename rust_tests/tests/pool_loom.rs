//! Pools under every order of a hand-over, a cancel and deaths. P1 to P8 are `kantoku_core::pool`'s.
#![cfg(kantoku_loom)]

use kantoku_core::pool::{
    Asked, Asking, Cancelled, Config, Effect, Effects, Joined, Kind, Name, Notice, Outcome, Pool, Replied,
    Returned,
};
use kantoku_rust_tests::orders::check;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use loom::thread;

#[derive(Debug)]
struct Alive;

impl kantoku_core::pool::World for Alive {
    type Content = u64;
    type Handle = u64;

    fn alive(&self, _pid: u64) -> bool {
        true
    }
}

const OPEN: u32 = 1;
const WORKER: u64 = 1;
const HOLDER: u64 = 11;
const WAITER: u64 = 12;

fn asking(kind: Kind, owner: u64) -> Asking<'static> {
    Asking {
        kind,
        ..Asking::check_out(owner)
    }
}

/// What was carried out: requests in the worker's mailbox, and what the foreman was told.
#[derive(Debug, Default)]
struct Sent {
    delivered: AtomicBool,
    granted: AtomicUsize,
    told: AtomicUsize,
    lost: AtomicUsize,
}

impl Sent {
    fn carry_out(&self, effects: Effects<u64>) {
        for effect in effects {
            match effect {
                Effect::Deliver { parcel, .. } => {
                    self.delivered.store(true, SeqCst);
                    if parcel.sent() {
                        self.tell();
                    }
                }
                Effect::Grant { .. } => drop(self.granted.fetch_add(1, SeqCst)),
                Effect::Entrust { parcel, .. } => {
                    self.delivered.store(true, SeqCst);
                    if parcel.sent() {
                        self.tell();
                    }
                }
                Effect::Lost { .. } | Effect::Refuse { .. } => drop(self.lost.fetch_add(1, SeqCst)),
                Effect::Tell(Notice::Abandoned { .. } | Notice::Cast { .. }) => self.tell(),
                Effect::Tell(_) | Effect::Credit { .. } => {}
            }
        }
    }

    // P6
    fn tell(&self) {
        assert!(
            self.delivered.load(SeqCst),
            "the worker is asked about what it has not got yet"
        );
        self.told.fetch_add(1, SeqCst);
    }
}

struct Scene {
    pool: Pool<Alive>,
    sent: Sent,
}

impl Scene {
    /// One worker, which the holder has, and for which the waiter waits.
    fn new(kind: Kind) -> (Arc<Self>, Name, Name) {
        Self::held_by(Kind::Checkout, kind)
    }

    fn held_by(holding: Kind, kind: Kind) -> (Arc<Self>, Name, Name) {
        let scene = Self {
            pool: Pool::new(1),
            sent: Sent::default(),
        };
        let mut effects = Effects::default();
        scene.pool.open(OPEN, Config::default(), 0, &Alive, &mut effects);
        let joined = scene.pool.join(OPEN, WORKER, 0, WORKER, 0, &Alive, &mut effects);
        assert_eq!(joined, Ok(Joined::Done));
        let held = scene.ask(&asking(holding, HOLDER));
        let waiting = scene.ask(&asking(kind, WAITER));
        (Arc::new(scene), held, waiting)
    }

    fn ask(&self, asking: &Asking<'_>) -> Name {
        let mut effects = Effects::default();
        let (watch, pack) = (|| Some(asking.owner), |_| Some(asking.owner));
        let asked = self
            .pool
            .ask(OPEN, asking, || 0, &Alive, watch, pack, &mut effects);
        self.sent.carry_out(effects);
        match asked {
            Ok(Asked::Taken { ticket, .. } | Asked::Queued { ticket }) => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// By the short way, which there is to who asked before.
    fn take(&self, owner: u64) -> Option<Name> {
        let mut effects = Effects::default();
        let taken = self.pool.take(OPEN, owner, || 0, &Alive, &mut effects);
        assert!(effects.is_empty());
        taken.map(|(ticket, _)| ticket)
    }

    fn give_back(&self, ticket: Name, owner: u64) -> Returned {
        let mut effects = Effects::default();
        let pool = &self.pool;
        let returned = pool.give_back(OPEN, ticket, owner, Outcome::Ok, || 0, &Alive, &mut effects);
        self.sent.carry_out(effects);
        returned.expect("open")
    }

    /// The worker answers the call of an owner, whose content is that.
    fn reply(&self, owner: u64) -> Replied {
        let mut effects = Effects::default();
        let pool = &self.pool;
        let replied = pool.reply(OPEN, WORKER, |&of| of == owner, || 0, &Alive, &mut effects);
        self.sent.carry_out(effects);
        replied.expect("open")
    }

    fn cancel(&self, ticket: Name) -> Cancelled {
        let mut effects = Effects::default();
        let cancelled = self.pool.cancel(OPEN, ticket, WAITER, 0, &Alive, &mut effects);
        self.sent.carry_out(effects);
        cancelled.expect("open")
    }

    fn worker_dies(&self) {
        let mut effects = Effects::default();
        self.pool
            .worker_died(OPEN, WORKER, 0, &Alive, &mut effects)
            .expect("open");
        self.sent.carry_out(effects);
    }

    fn owner_dies(&self, owner: u64) {
        let mut effects = Effects::default();
        self.pool.owner_died(OPEN, owner, &mut effects).expect("open");
        self.sent.carry_out(effects);
    }

    fn ongoing(&self) -> (u64, u64, u64) {
        self.pool.check();
        let status = self.pool.status(OPEN).expect("open");
        (status.ongoing, status.abandoned, status.free)
    }
}

#[test]
fn loom_an_abandoned_call_is_asked_about_once_and_not_before_it_was_sent() {
    check(|| {
        let (scene, held, waiting) = Scene::new(Kind::Call);
        let other = Arc::clone(&scene);
        let holder = thread::spawn(move || other.give_back(held, HOLDER));
        let cancelled = scene.cancel(waiting);
        assert_eq!(holder.join().expect("the thread ends"), Returned::Done);
        let (delivered, told) = (scene.sent.delivered.load(SeqCst), scene.sent.told.load(SeqCst));
        match cancelled {
            Cancelled::Withdrawn => {
                assert_eq!((delivered, told, scene.ongoing()), (false, 0, (0, 0, 1)));
            }
            Cancelled::Abandoned => {
                assert_eq!((delivered, told, scene.ongoing()), (true, 1, (1, 1, 0)));
                let mut effects = Effects::default();
                let answered = scene.pool.answered(OPEN, waiting, 0, &Alive, &mut effects);
                assert_eq!((answered, scene.ongoing()), (Ok(true), (0, 0, 1)));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn loom_a_grant_that_crosses_a_cancel_goes_back() {
    check(|| {
        let (scene, held, waiting) = Scene::new(Kind::Checkout);
        let other = Arc::clone(&scene);
        let holder = thread::spawn(move || other.give_back(held, HOLDER));
        let cancelled = scene.cancel(waiting);
        holder.join().expect("the thread ends");
        let granted = scene.sent.granted.load(SeqCst);
        match cancelled {
            Cancelled::Withdrawn => assert_eq!(granted, 0),
            Cancelled::Returned => assert_eq!(granted, 1, "its message is swallowed by who cancelled"),
            other => panic!("{other:?}"),
        }
        assert_eq!(scene.ongoing(), (0, 0, 1));
    });
}

#[test]
fn loom_who_is_killed_while_a_call_is_handed_over_leaves_no_permit_taken_unseen() {
    check(|| {
        let (scene, held, _waiting) = Scene::new(Kind::Call);
        let other = Arc::clone(&scene);
        let holder = thread::spawn(move || other.give_back(held, HOLDER));
        scene.owner_dies(WAITER);
        holder.join().expect("the thread ends");
        let told = scene.sent.told.load(SeqCst) as u64;
        let (ongoing, abandoned, free) = scene.ongoing();
        assert_eq!((ongoing, abandoned, ongoing + free), (told, told, 1));
    });
}

#[test]
fn loom_a_worker_that_dies_in_a_hand_over_ends_the_call_once() {
    check(|| {
        let (scene, held, waiting) = Scene::new(Kind::Call);
        let (other, another) = (Arc::clone(&scene), Arc::clone(&scene));
        let holder = thread::spawn(move || other.give_back(held, HOLDER));
        let death = thread::spawn(move || another.worker_dies());
        let returned = holder.join().expect("the thread ends");
        death.join().expect("the thread ends");
        let lost = scene.sent.lost.load(SeqCst);
        let delivered = scene.sent.delivered.load(SeqCst);
        match returned {
            // The worker went first: the waiter goes on waiting.
            Returned::Gone => assert_eq!(
                (lost, delivered, scene.cancel(waiting)),
                (0, false, Cancelled::Withdrawn)
            ),
            Returned::Done => assert_eq!(
                (lost, delivered, scene.cancel(waiting)),
                (1, true, Cancelled::Gone)
            ),
            Returned::Foreign => panic!("it was its own"),
        }
        assert_eq!(scene.ongoing(), (0, 0, 0));
    });
}

#[test]
fn loom_two_who_come_at_once_share_one_permit_in_turn() {
    check(|| {
        let (scene, held, waiting) = Scene::new(Kind::Checkout);
        scene.cancel(waiting);
        scene.give_back(held, HOLDER);
        let other = Arc::clone(&scene);
        let newcomer = thread::spawn(move || other.ask(&asking(Kind::Checkout, 13)));
        let mine = scene.ask(&asking(Kind::Checkout, 14));
        let theirs = newcomer.join().expect("the thread ends");
        assert_eq!(scene.ongoing(), (1, 0, 0));
        let held_first = |ticket, owner| scene.give_back(ticket, owner) == Returned::Done;
        let (one, two) = ((mine, 14), (theirs, 13));
        let in_order = if held_first(one.0, one.1) {
            two
        } else {
            assert!(held_first(two.0, two.1));
            one
        };
        assert_eq!(scene.sent.granted.load(SeqCst), 1);
        assert!(held_first(in_order.0, in_order.1));
        assert_eq!(scene.ongoing(), (0, 0, 1));
    });
}

#[test]
fn loom_of_two_on_the_short_way_one_has_the_permit_and_gives_it_back_once() {
    check(|| {
        let (scene, held, waiting) = Scene::new(Kind::Checkout);
        scene.cancel(waiting);
        scene.give_back(held, HOLDER);
        let other = Arc::clone(&scene);
        let second = thread::spawn(move || {
            let taken = other.take(WAITER);
            taken.map(|ticket| other.give_back(ticket, WAITER))
        });
        let first = scene.take(HOLDER);
        let given_back = second.join().expect("the thread ends");
        assert!(first.is_some() || given_back.is_some(), "P2");
        assert!(given_back.is_none_or(|returned| returned == Returned::Done));
        if let Some(ticket) = first {
            assert_eq!(scene.ongoing(), (1, 0, 0));
            assert_eq!(scene.give_back(ticket, HOLDER), Returned::Done);
            assert_eq!(scene.give_back(ticket, HOLDER), Returned::Gone, "P3");
        }
        assert_eq!(scene.ongoing(), (0, 0, 1));
    });
}

#[test]
fn loom_the_short_way_passes_nobody_who_waits() {
    check(|| {
        let (scene, held, waiting) = Scene::new(Kind::Checkout);
        let other = Arc::clone(&scene);
        let both = thread::spawn(move || {
            let first = other.give_back(held, HOLDER);
            (first, other.give_back(waiting, WAITER))
        });
        let taken = scene.take(HOLDER);
        let granted = scene.sent.granted.load(SeqCst);
        assert!(taken.is_none() || granted == 1, "who waited had it first");
        let returned = both.join().expect("the thread ends");
        assert_eq!(returned, (Returned::Done, Returned::Done));
        let ongoing = u64::from(taken.is_some());
        assert_eq!(scene.ongoing(), (ongoing, 0, 1 - ongoing));
    });
}

#[test]
fn loom_who_dies_as_it_takes_the_short_way_has_abandoned_what_it_took_or_got_nothing() {
    check(|| {
        let (scene, held, waiting) = Scene::new(Kind::Checkout);
        scene.cancel(waiting);
        scene.give_back(held, HOLDER);
        // There is nothing that would have to be delivered first.
        scene.sent.delivered.store(true, SeqCst);
        let other = Arc::clone(&scene);
        let death = thread::spawn(move || other.owner_dies(WAITER));
        // The VM never runs a dead process; that its death is heard of as it takes is as near as this can come.
        let taken = scene.take(WAITER);
        death.join().expect("the thread ends");
        let told = scene.sent.told.load(SeqCst) as u64;
        assert_eq!(scene.ongoing(), (told, told, 1 - told), "P4");
        assert_eq!(u64::from(taken.is_some()), told);
    });
}

#[test]
fn loom_a_cast_is_listed_for_a_new_foreman_only_after_it_was_sent() {
    check(|| {
        let (scene, held, waiting) = Scene::new(Kind::Checkout);
        scene.cancel(waiting);
        scene.give_back(held, HOLDER);
        let other = Arc::clone(&scene);
        let sender = thread::spawn(move || other.ask(&asking(Kind::Cast, 0)));
        let listed = scene.pool.unheeded(OPEN).expect("open").len();
        let delivered = scene.sent.delivered.load(SeqCst);
        assert!(listed == 0 || delivered, "P6");
        sender.join().expect("the thread ends");
        assert_eq!(scene.sent.told.load(SeqCst), 1);
        assert_eq!(scene.pool.unheeded(OPEN).expect("open").len(), 1);
    });
}

#[test]
fn loom_a_worker_that_answers_and_a_caller_that_gives_up_agree_who_was_first() {
    check(|| {
        let (scene, _held, waiting) = Scene::held_by(Kind::Call, Kind::Call);
        scene.reply(HOLDER);
        assert!(
            scene.sent.delivered.load(SeqCst),
            "the next is there by the same step"
        );
        let other = Arc::clone(&scene);
        let worker = thread::spawn(move || other.reply(WAITER));
        let cancelled = scene.cancel(waiting);
        let told = scene.sent.told.load(SeqCst);
        match (worker.join().expect("the thread ends"), cancelled) {
            (Replied::To(WAITER), Cancelled::Gone) => {
                assert_eq!(told, 0, "it has its answer");
                assert_eq!(scene.ongoing(), (0, 0, 1));
            }
            (Replied::Late, Cancelled::Abandoned) => assert_eq!((told, scene.ongoing()), (1, (1, 1, 0))),
            other => panic!("P8: {other:?}"),
        }
    });
}

#[test]
fn loom_a_next_call_that_is_given_up_as_the_one_before_is_answered_is_sent_or_not() {
    check(|| {
        let (scene, _held, waiting) = Scene::held_by(Kind::Call, Kind::Call);
        let other = Arc::clone(&scene);
        let worker = thread::spawn(move || other.reply(HOLDER));
        let cancelled = scene.cancel(waiting);
        assert_eq!(worker.join().expect("the thread ends"), Replied::To(HOLDER));
        let (delivered, told) = (scene.sent.delivered.load(SeqCst), scene.sent.told.load(SeqCst));
        match cancelled {
            Cancelled::Withdrawn => assert_eq!((delivered, told, scene.ongoing()), (false, 0, (0, 0, 1))),
            Cancelled::Abandoned => {
                assert_eq!((delivered, told, scene.ongoing()), (true, 1, (1, 1, 0)));
                assert_eq!((scene.reply(WAITER), scene.ongoing()), (Replied::Late, (1, 1, 0)));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn loom_a_worker_that_answers_as_its_caller_dies_answers_once() {
    check(|| {
        let (scene, _held, _waiting) = Scene::held_by(Kind::Call, Kind::Call);
        scene.reply(HOLDER);
        let other = Arc::clone(&scene);
        let worker = thread::spawn(move || other.reply(WAITER));
        scene.owner_dies(WAITER);
        let told = scene.sent.told.load(SeqCst);
        match worker.join().expect("the thread ends") {
            Replied::To(WAITER) => assert_eq!((told, scene.ongoing()), (0, (0, 0, 1))),
            Replied::Late => assert_eq!((told, scene.ongoing()), (1, (1, 1, 0))),
            other => panic!("P8: {other:?}"),
        }
    });
}
