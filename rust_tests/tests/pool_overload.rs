//! A pool that is asked for ten times what it can do, in simulated time: what it serves is served soon, and it serves all the while.
#![cfg(not(kantoku_loom))]

use std::collections::{BTreeMap, VecDeque};

use kantoku_core::pool::{Asked, Asking, Config, Effect, Effects, Kind, Name, Outcome, Pool, Route};

const GENERATION: u32 = 1;
const MS: i64 = 1_000_000;
const STEP: i64 = MS / 4;
const WORKERS: u64 = 4;
const HOLD: i64 = 10 * MS;
const OWNER: u64 = 100;

#[derive(Debug)]
struct World;

impl kantoku_core::pool::World for World {
    type Content = u64;
    type Handle = u64;

    fn alive(&self, _pid: u64) -> bool {
        true
    }
}

struct Run {
    pool: Pool<World>,
    now: i64,
    asked: u64,
    waiting: BTreeMap<u64, (Name, i64)>,
    held: VecDeque<(i64, Name)>,
    /// When someone was served, and how long it had waited.
    served: Vec<(i64, i64)>,
    refused: Vec<i64>,
}

impl Run {
    fn new(max_queue: usize) -> Self {
        let config = Config {
            max_queue,
            ..Config::default()
        };
        let mut run = Self {
            pool: Pool::new(1),
            now: 0,
            asked: 0,
            waiting: BTreeMap::new(),
            held: VecDeque::new(),
            served: Vec::new(),
            refused: Vec::new(),
        };
        let mut effects = Effects::default();
        run.pool.open(GENERATION, config, 0, &World, &mut effects);
        for pid in 1..=WORKERS {
            let joined = run.pool.join(GENERATION, pid, pid, pid, 0, &World, &mut effects);
            joined.expect("open");
        }
        run.carry_out(effects);
        run
    }

    /// For so long, each `every` a request, and each 100 ms one of another tenant.
    fn go(&mut self, millis: i64, every: i64) {
        let until = self.now + millis * MS;
        while self.now < until {
            self.hand_in();
            if self.now % (100 * MS) == 0 {
                let mut effects = Effects::default();
                self.pool
                    .tick(GENERATION, self.now, &World, &mut effects)
                    .expect("open");
                self.carry_out(effects);
            }
            if self.now % every == 0 {
                self.ask(0);
            }
            if self.now % (100 * MS) == 0 {
                self.ask(1);
            }
            self.now += STEP;
        }
    }

    fn hand_in(&mut self) {
        while let Some(&(_, name)) = self.held.front().filter(|(until, _)| *until <= self.now) {
            self.held.pop_front();
            let mut effects = Effects::default();
            let outcome = Outcome::Ok;
            let now = || self.now;
            self.pool
                .give_back(GENERATION, name, OWNER, outcome, now, &World, &mut effects)
                .expect("open");
            self.carry_out(effects);
        }
    }

    fn ask(&mut self, tenant: u8) {
        self.asked += 1;
        let number = self.asked;
        let asking = Asking {
            kind: Kind::Checkout,
            owner: OWNER,
            tenant: &[tenant],
            priority: 1,
            cost: 1,
            wait: i64::MAX,
            route: Route {
                hash: None,
                worker: None,
            },
        };
        let mut effects = Effects::default();
        let clock = || self.now;
        let asked = self
            .pool
            .ask(
                GENERATION,
                &asking,
                clock,
                &World,
                || Some(OWNER),
                |_| Some(number),
                &mut effects,
            )
            .expect("open");
        match asked {
            Asked::Taken { ticket, .. } => self.serve(ticket, self.now),
            Asked::Queued { ticket } => drop(self.waiting.insert(number, (ticket, self.now))),
            Asked::Refused { .. } => self.refused.push(self.now),
            Asked::NoOwner => unreachable!("the owner lives"),
        }
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects<u64>) {
        for effect in effects {
            match effect {
                Effect::Grant { content, .. } => {
                    let (name, since) = self.waiting.remove(&content).expect("it waited");
                    self.serve(name, since);
                }
                Effect::Refuse { parcel, .. } => {
                    self.waiting.remove(parcel.content()).expect("it waited");
                    self.refused.push(self.now);
                }
                _told => {}
            }
        }
    }

    fn serve(&mut self, name: Name, since: i64) {
        self.served.push((self.now, self.now - since));
        self.held.push_back((self.now + HOLD, name));
    }

    fn served_from(&self, from: i64) -> impl Iterator<Item = i64> {
        self.served
            .iter()
            .filter(move |(at, _)| *at >= from)
            .map(|(_, waited)| *waited)
    }
}

// With so many who may wait: a queue that is full soon, and is refused as a whole before it fills again; and one that is never full.
const QUEUES: [usize; 3] = [100, 1_000, 100_000];

#[test]
fn who_is_served_under_overload_has_not_waited_long() {
    QUEUES.into_iter().for_each(serves_soon);
}

fn serves_soon(max_queue: usize) {
    let config = Config::default();
    let target = config.queue_target.expect("it has one");
    let mut run = Run::new(max_queue);
    run.go(1_500, 5 * MS);
    let began = run.now;
    run.go(20_000, STEP);
    // It is found out at the end of the first whole interval in which even the least wait was too long.
    let settled = began + 2 * config.queue_interval + target;
    let waits: Vec<i64> = run.served_from(settled).collect();
    let able = (run.now - settled) / HOLD * WORKERS as i64;
    let longest = waits.iter().max().expect("some are served");
    assert!(
        waits.len() as i64 * 10 >= able * 9,
        "queue {max_queue}: {} of {able} served",
        waits.len()
    );
    assert!(*longest <= 2 * target, "queue {max_queue}: waited {longest}");
}

#[test]
fn nobody_is_refused_or_waits_two_intervals_after_an_overload() {
    QUEUES.into_iter().for_each(calms_down);
}

fn calms_down(max_queue: usize) {
    let config = Config::default();
    let mut run = Run::new(max_queue);
    run.go(10_000, STEP);
    let over = run.now;
    run.go(5_000, 5 * MS);
    let calm = over + 2 * config.queue_interval;
    assert!(run.refused.iter().all(|&at| at < calm), "queue {max_queue}");
    // Two come at once now and then, and may meet all four workers busy.
    assert!(
        run.served_from(calm).all(|waited| waited <= HOLD),
        "queue {max_queue}"
    );
}
