//! Who is ejected, for how long, how it comes back, and when there is a panic: field by field as Envoy documents it
//! (config.cluster.v3.OutlierDetection, "Slow start mode", "Panic threshold"). E1 to E3 are `kantoku_core::pool`'s `standing`.
//! `test/engine/pool_ejection_core_test.exs` asks the same of the other engine.
#![cfg(not(kantoku_loom))]

use std::cell::Cell;
use std::num::NonZeroU64;

use kantoku_core::pool::{
    Asked, Asking, Cancelled, Cause, Config, Effect, Effects, Ejecting, Ejection, FOREVER, Kind, Name,
    Notice, Outcome, Pool, Route, SlowStart, Standing, Status, Strategy,
};

const GENERATION: u32 = 1;
const MS: i64 = 1_000_000;
const S: i64 = 1_000 * MS;
const OWNER: u64 = 1_000;

#[derive(Debug)]
struct Alive;

impl kantoku_core::pool::World for Alive {
    type Content = ();
    type Handle = ();

    fn alive(&self, _pid: u64) -> bool {
        true
    }
}

struct At {
    pool: Pool<Alive>,
    config: Config,
    now: Cell<i64>,
}

// Worker n has number n and pid n + 1.
fn pid(member: u64) -> u64 {
    member + 1
}

impl At {
    fn new(workers: u64, change: impl FnOnce(&mut Ejecting)) -> Self {
        let mut rules = Ejecting::default();
        change(&mut rules);
        Self::with(workers, |config| config.ejection = Some(rules))
    }

    fn with(workers: u64, change: impl FnOnce(&mut Config)) -> Self {
        // All that ends is timed, as by no other strategy.
        let mut config = Config {
            strategy: Strategy::PeakEwma,
            max_ongoing: 4,
            panic_threshold: 50,
            ..Config::default()
        };
        change(&mut config);
        let at = Self {
            pool: Pool::new(7),
            config,
            now: Cell::new(0),
        };
        at.open(|_| {});
        (0..workers).for_each(|member| at.join(member));
        at
    }

    fn told(&self, effects: Effects<()>) -> Vec<Notice> {
        self.pool.check();
        let notices = effects.into_iter().filter_map(|effect| match effect {
            Effect::Tell(notice) => Some(notice),
            _ => None,
        });
        notices.collect()
    }

    fn open(&self, change: impl FnOnce(&mut Config)) -> Vec<Notice> {
        let mut config = self.config.clone();
        change(&mut config);
        let mut effects = Effects::default();
        self.pool
            .open(GENERATION, config, self.now.get(), &Alive, &mut effects);
        self.told(effects)
    }

    fn join(&self, member: u64) {
        let mut effects = Effects::default();
        let now = self.now.get();
        let joined = self
            .pool
            .join(GENERATION, pid(member), member, (), now, &Alive, &mut effects);
        assert!(joined.is_ok());
        self.told(effects);
    }

    fn die(&self, member: u64) {
        let mut effects = Effects::default();
        let now = self.now.get();
        let died = self
            .pool
            .worker_died(GENERATION, pid(member), now, &Alive, &mut effects);
        assert!(died.is_ok());
        self.told(effects);
    }

    fn ask(&self, kind: Kind, wished: Option<u64>) -> Option<(Name, u64)> {
        let asking = Asking {
            kind,
            owner: OWNER,
            tenant: &[],
            priority: 1,
            cost: 1,
            wait: 0,
            route: Route {
                hash: None,
                worker: wished.and_then(|member| NonZeroU64::new(pid(member))),
            },
        };
        let (now, mut effects) = (self.now.get(), Effects::default());
        let watch = || Some(());
        let asked = self.pool.ask(
            GENERATION,
            &asking,
            || now,
            &Alive,
            watch,
            |_| Some(()),
            &mut effects,
        );
        self.told(effects);
        match asked {
            Ok(Asked::Taken { ticket, worker }) => Some((ticket, worker - 1)),
            _ => None,
        }
    }

    fn back(&self, ticket: Name, outcome: Outcome) -> Vec<Notice> {
        let (now, mut effects) = (self.now.get(), Effects::default());
        let back = self
            .pool
            .give_back(GENERATION, ticket, OWNER, outcome, || now, &Alive, &mut effects);
        assert!(back.is_ok());
        self.told(effects)
    }

    // So many requests of a worker, each of so long; what its foreman was told.
    fn work(&self, member: u64, count: u32, took: i64, outcome: Outcome) -> Vec<Notice> {
        let mut told = Vec::new();
        for _ in 0..count {
            let (ticket, by) = self.ask(Kind::Checkout, Some(member)).expect("it has a permit");
            assert_eq!(by, member, "it is given work");
            self.now.set(self.now.get() + took);
            told.extend(self.back(ticket, outcome));
            self.now.set(self.now.get() - took);
        }
        told
    }

    fn fail(&self, member: u64, count: u32) -> Vec<Notice> {
        self.work(member, count, 0, Outcome::Error)
    }

    fn pass(&self, time: i64) -> Vec<Notice> {
        self.now.set(self.now.get() + time);
        let mut effects = Effects::default();
        let ticked = self.pool.tick(GENERATION, self.now.get(), &Alive, &mut effects);
        assert!(ticked.is_ok());
        self.told(effects)
    }

    fn eject(&self, member: u64, length: Option<i64>) -> Vec<Notice> {
        let (now, mut effects) = (self.now.get(), Effects::default());
        let known = self
            .pool
            .eject(GENERATION, member, length, now, &Alive, &mut effects);
        assert_eq!(known, Ok(true));
        self.told(effects)
    }

    fn shut(&self, member: u64) -> Vec<Notice> {
        let (now, mut effects) = (self.now.get(), Effects::default());
        let known = self.pool.shut(GENERATION, pid(member), now, &Alive, &mut effects);
        assert_eq!(known, Ok(true));
        self.told(effects)
    }

    fn status(&self) -> Status {
        self.pool.status(GENERATION).expect("open")
    }

    fn of(&self, member: u64) -> Option<Ejection> {
        let all = self.pool.ejections(GENERATION, self.now.get()).expect("open");
        all.into_iter().find(|ejection| ejection.member == member)
    }

    fn cause(&self, member: u64) -> Option<Cause> {
        self.of(member).and_then(|ejection| ejection.cause)
    }

    fn left(&self, member: u64) -> Option<i64> {
        self.of(member).and_then(|ejection| ejection.left)
    }
}

fn ejected(member: u64) -> Notice {
    Notice::Ejected {
        worker: pid(member),
        member,
    }
}

// Consecutive failures -------------------------------------------------------------------------------------------------

#[test]
fn consecutive_failures_eject_and_one_success_begins_the_count_again() {
    let at = At::new(10, |_| {});
    assert_eq!(at.fail(3, 4), []);
    at.work(3, 1, MS, Outcome::Ok);
    assert_eq!(at.fail(3, 4), []);
    assert_eq!(at.fail(3, 1), [ejected(3)]);
    assert_eq!(at.cause(3), Some(Cause::ConsecutiveFailures { count: 5 }));
    assert_eq!(at.left(3), Some(30 * S));
    assert_eq!((at.status().ejected, at.status().ready), (1, 9));
}

#[test]
fn what_is_given_up_has_failed_and_what_is_answered_later_is_not_counted() {
    let at = At::new(10, |rules| rules.consecutive_failures = 3);
    for (kind, given_up) in [(Kind::Checkout, true), (Kind::Call, false)] {
        let (ticket, _) = at.ask(kind, Some(0)).expect("free");
        if given_up {
            at.back(ticket, Outcome::Abandoned);
        } else {
            let mut effects = Effects::default();
            let cancelled = at.pool.cancel(GENERATION, ticket, OWNER, 0, &Alive, &mut effects);
            assert_eq!(cancelled, Ok(Cancelled::Abandoned));
        }
        let mut effects = Effects::default();
        assert_eq!(
            at.pool.answered(GENERATION, ticket, 0, &Alive, &mut effects),
            Ok(true)
        );
    }
    assert_eq!(at.fail(0, 1), [ejected(0)], "two were given up before");
}

#[test]
fn a_death_is_a_failure_of_each_request_that_is_waited_for_and_a_successor_inherits() {
    let at = At::new(10, |rules| rules.consecutive_failures = 3);
    for _ in 0..3 {
        at.ask(Kind::Call, Some(2)).expect("free");
    }
    at.die(2);
    assert_eq!(at.cause(2), None, "nobody is there");
    at.join(2);
    assert_eq!(at.cause(2), Some(Cause::ConsecutiveFailures { count: 3 }));
    at.die(2);
    at.join(2);
    assert_eq!((at.status().ejected, at.status().ready), (1, 9));
}

#[test]
fn zero_switches_it_off() {
    let at = At::new(10, |rules| rules.consecutive_failures = 0);
    assert_eq!(at.fail(0, 50), []);
}

// Success rate ---------------------------------------------------------------------------------------------------------

// 4 or 9 workers without a failure, one with some; then the interval is over.
fn rates(at: &At, others: u64, count: u32, failures: u32) -> Vec<Notice> {
    (0..others).for_each(|member| drop(at.work(member, count, MS, Outcome::Ok)));
    at.work(others, count - failures, MS, Outcome::Ok);
    for _ in 0..failures {
        at.fail(others, 1);
        at.pass(0);
    }
    at.pass(10 * S)
}

#[test]
fn who_is_below_the_mean_by_so_many_deviations_is_ejected_when_the_interval_is_over() {
    let only_rates = |rules: &mut Ejecting| rules.consecutive_failures = 0;
    let at = At::new(10, only_rates);
    assert_eq!(rates(&at, 9, 100, 20), [ejected(9)]);
    // Mean 98, deviation 6: below 98 - 1.9 * 6.
    let cause = Cause::SuccessRate {
        rate: 800_000,
        threshold: 866_000,
        workers: 10,
    };
    assert_eq!(at.cause(9), Some(cause));

    // One of five is at most two deviations below the mean, whatever it does.
    let at = At::new(5, only_rates);
    assert_eq!(rates(&at, 4, 100, 20), [ejected(4)]);
    let at = At::new(5, |rules| {
        rules.consecutive_failures = 0;
        rules.success_rate_stdev_factor = 2_001;
    });
    assert_eq!(rates(&at, 4, 100, 20), []);
}

#[test]
fn fewer_workers_or_requests_are_not_judged() {
    let at = At::new(4, |rules| rules.consecutive_failures = 0);
    assert_eq!(rates(&at, 3, 100, 100), [], "success_rate_minimum_hosts");
    let at = At::new(10, |rules| rules.consecutive_failures = 0);
    assert_eq!(rates(&at, 9, 99, 99), [], "success_rate_request_volume");
    let at = At::new(10, |rules| {
        rules.consecutive_failures = 0;
        rules.success_rate_stdev_factor = 0;
    });
    assert_eq!(rates(&at, 9, 100, 100), [], "success_rate_stdev_factor");
}

#[test]
fn an_interval_knows_nothing_of_the_one_before() {
    let at = At::new(10, |rules| rules.consecutive_failures = 0);
    (0..9).for_each(|member| drop(at.work(member, 60, MS, Outcome::Ok)));
    at.fail(9, 60);
    assert_eq!(at.pass(10 * S), []);
    (0..9).for_each(|member| drop(at.work(member, 60, MS, Outcome::Ok)));
    at.fail(9, 60);
    assert_eq!(at.pass(10 * S), []);
}

// Latency --------------------------------------------------------------------------------------------------------------

#[test]
fn who_takes_a_multiple_of_the_median_is_ejected() {
    let at = At::new(5, |_| {});
    (0..4).for_each(|member| drop(at.work(member, 10, 100 * MS, Outcome::Ok)));
    at.work(4, 10, 600 * MS, Outcome::Ok);
    assert_eq!(at.pass(10 * S), [ejected(4)]);
    let Some(Cause::Latency {
        mean,
        median,
        workers: 5,
    }) = at.cause(4)
    else {
        panic!("{:?}", at.cause(4));
    };
    assert!((590_000..610_000).contains(&mean) && (99_000..101_000).contains(&median));
}

#[test]
fn who_is_fast_enough_or_slow_once_is_not() {
    let slow = |took: i64, once: i64, change: fn(&mut Ejecting)| {
        let at = At::new(5, change);
        (0..4).for_each(|member| drop(at.work(member, 10, took, Outcome::Ok)));
        at.work(4, 9, took, Outcome::Ok);
        at.work(4, 1, once, Outcome::Ok);
        at.pass(10 * S)
    };
    assert_eq!(slow(100 * MS, 3_600 * S, |_| {}), [], "one request of an hour");
    let all = |took: i64, other: i64, change: fn(&mut Ejecting)| {
        let at = At::new(5, change);
        (0..4).for_each(|member| drop(at.work(member, 10, took, Outcome::Ok)));
        at.work(4, 10, other, Outcome::Ok);
        at.pass(10 * S)
    };
    assert_eq!(all(MS, 99 * MS, |_| {}), [], "latency_floor");
    assert_eq!(all(100 * MS, 450 * MS, |_| {}), [], "latency_multiple");
    assert_eq!(
        all(100 * MS, S, |rules| rules.latency_multiple = 0),
        [],
        "latency_multiple"
    );
    assert_eq!(
        all(100 * MS, S, |rules| rules.latency_request_volume = 11),
        [],
        "latency_request_volume"
    );
    assert_eq!(
        all(100 * MS, S, |rules| rules.latency_minimum_hosts = 6),
        [],
        "latency_minimum_hosts"
    );
}

// How long, and how many -----------------------------------------------------------------------------------------------

#[test]
fn each_ejection_is_longer_up_to_the_most_and_each_healthy_interval_takes_one_back() {
    let at = At::new(10, |rules| rules.max_ejection_time = 80 * S);
    for expected in [30, 60, 80, 80] {
        at.fail(0, 5);
        assert_eq!(at.left(0), Some(expected * S));
        let told = at.pass(expected * S);
        assert_eq!(told, [Notice::Returned { member: 0 }]);
    }
    // Of four ejections one is left then.
    for _ in 0..3 {
        at.pass(10 * S);
    }
    at.fail(0, 5);
    assert_eq!(at.left(0), Some(60 * S));
}

#[test]
fn the_most_is_the_base_where_that_is_more_and_jitter_is_added() {
    let at = At::new(10, |rules| rules.max_ejection_time = S);
    at.fail(0, 5);
    assert_eq!(at.left(0), Some(30 * S));
    let at = At::new(100, |rules| rules.max_ejection_time_jitter = 10 * S);
    let lengths: Vec<i64> = (0..10)
        .map(|member| {
            at.fail(member, 5);
            at.left(member).expect("ejected") - 30 * S
        })
        .collect();
    assert!(lengths.iter().all(|more| (0..=10 * S).contains(more)));
    assert!(lengths.iter().any(|more| *more != lengths[0]));
}

#[test]
fn no_more_than_so_many_percent_are_ejected_but_one_of_two() {
    for (workers, percent, most) in [
        (1, 100, 0),
        (2, 10, 1),
        (9, 10, 1),
        (20, 10, 2),
        (29, 10, 2),
        (10, 50, 5),
    ] {
        let at = At::new(workers, |rules| rules.max_ejection_percent = percent);
        (0..workers).for_each(|member| drop(at.fail(member, 5)));
        assert_eq!(at.status().ejected, most, "{workers} at {percent} percent");
        assert_eq!(at.status().held_back, workers - most);
    }
}

#[test]
fn where_it_is_not_enforced_it_is_only_told() {
    let at = At::new(10, |rules| rules.enforced = false);
    assert_eq!(at.fail(0, 5), [ejected(0)]);
    assert_eq!((at.status().ejected, at.status().ready), (0, 10));
    assert_eq!(at.of(0).map(|of| of.standing), Some(Standing::Observed));
    at.fail(0, 20);
    assert_eq!(at.pass(30 * S), [Notice::Returned { member: 0 }]);
}

#[test]
fn who_is_ejected_finishes_what_it_has_and_other_rules_let_it_in() {
    let at = At::new(2, |_| {});
    let (ticket, _) = at.ask(Kind::Checkout, Some(0)).expect("free");
    at.fail(0, 5);
    for _ in 0..4 {
        assert_eq!(at.ask(Kind::Checkout, Some(0)).map(|(_, by)| by), Some(1));
    }
    assert_eq!(at.ask(Kind::Checkout, None), None, "the other is full");
    at.back(ticket, Outcome::Ok);
    assert_eq!(
        at.ask(Kind::Checkout, None),
        None,
        "a permit of who is out is none"
    );
    let told = at.open(|config| config.ejection = None);
    assert_eq!(told, [Notice::Returned { member: 0 }]);
    assert_eq!(at.ask(Kind::Checkout, None).map(|(_, by)| by), Some(0));
}

#[test]
fn by_hand_a_worker_is_out_until_it_is_let_in_whatever_the_limits() {
    let at = At::with(3, |config| config.panic_threshold = 0);
    (0..3).for_each(|member| drop(at.eject(member, None)));
    assert_eq!(at.ask(Kind::Checkout, None), None);
    assert_eq!(at.left(0), Some(FOREVER));
    at.pass(3_600 * S);
    let mut effects = Effects::default();
    let known = |effects: &mut Effects<()>| at.pool.readmit(GENERATION, 0, 0, &Alive, effects);
    assert_eq!((known(&mut effects), known(&mut effects)), (Ok(true), Ok(false)));
    at.eject(0, Some(S));
    assert_eq!(at.pass(S), [Notice::Returned { member: 0 }]);
    assert_eq!(at.ask(Kind::Checkout, None).map(|(_, by)| by), Some(0));
}

// Panic ----------------------------------------------------------------------------------------------------------------

#[test]
fn under_the_threshold_all_are_given_work_but_one_alone_keeps_to_its_probe() {
    let at = At::with(4, |_| {});
    assert_eq!((at.shut(0), at.shut(1)), (vec![], vec![]), "half is enough");
    assert_eq!(at.status().ready, 2);
    assert_eq!(at.eject(2, None)[1..], [Notice::Panic { entered: true }]);
    assert_eq!((at.status().ready, at.status().panic), (4, 1));
    (0..4).for_each(|member| drop(at.work(member, 1, MS, Outcome::Ok)));
    at.join(0);
    assert_eq!((at.status().ready, at.status().panic), (2, 0));

    let at = At::with(1, |_| {});
    assert_eq!(at.shut(0), []);
    assert_eq!(at.ask(Kind::Checkout, None), None);
    at.join(0);
    assert!(at.ask(Kind::Checkout, None).is_some());
}

#[test]
fn a_threshold_of_zero_never_panics() {
    let at = At::with(4, |config| config.panic_threshold = 0);
    (0..4).for_each(|member| assert_eq!(at.shut(member), []));
    assert_eq!(at.status().ready, 0);
}

// Slow start -----------------------------------------------------------------------------------------------------------

const SLOW: SlowStart = SlowStart {
    window: 10 * S,
    least: 10,
    fresh: false,
};

// How many of 4,000 requests go to worker 0 of four, at a moment of its window.
fn share(strategy: Strategy, after: i64) -> usize {
    let at = At::with(4, |config| {
        config.strategy = strategy;
        config.slow_start = Some(SLOW);
    });
    at.eject(0, Some(S));
    at.pass(S);
    at.now.set(at.now.get() + after);
    let mut count = 0;
    for _ in 0..4_000 {
        let (ticket, by) = at.ask(Kind::Checkout, None).expect("free");
        at.back(ticket, Outcome::Ok);
        count += usize::from(by == 0);
    }
    count
}

#[test]
fn the_share_grows_from_the_least_to_all_of_it() {
    for strategy in [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::PowerOfTwo,
        Strategy::LeastLoaded,
    ] {
        let of_1000 = [0, 5 * S, 10 * S].map(|after| share(strategy, after));
        assert!((50..=160).contains(&of_1000[0]), "{strategy:?} {of_1000:?}");
        assert!((400..=600).contains(&of_1000[1]), "{strategy:?} {of_1000:?}");
        assert!((880..=1120).contains(&of_1000[2]), "{strategy:?} {of_1000:?}");
    }
    // The one that came back became free last.
    let lifo = share(Strategy::Lifo, 0);
    assert!(lifo <= 4_000, "{lifo}");
}

#[test]
fn a_fresh_worker_begins_so_where_that_is_wanted_and_nobody_waits_for_it() {
    let fresh = SlowStart { fresh: true, ..SLOW };
    for (rule, growing) in [(Some(SLOW), 0), (Some(fresh), 3), (None, 0)] {
        let at = At::with(3, |config| {
            config.slow_start = rule;
            config.max_ongoing = 1;
        });
        assert_eq!(at.status().growing, growing);
        let taken: Vec<_> = (0..3).map(|_| at.ask(Kind::Checkout, None)).collect();
        assert!(taken.iter().all(Option::is_some));
        at.pass(10 * S);
        assert_eq!(at.status().growing, 0);
    }
}
