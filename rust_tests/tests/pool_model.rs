//! Pools against a plain list of tickets, one call after the other. P1 to P8 are `kantoku_core::pool`'s, and its `check` looks at
//! them from inside after each call.
#![cfg(not(kantoku_loom))]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use kantoku_core::pool::{
    Asked, Asking, Borrowing, Cancelled, Closed, Config, Dealing, Dealt, Effect, Effects, Ejecting, Joined,
    Kind, LoanName, Name, Notice, Outcome, Pool, Refusal, Replied, Returned, Route, SlowStart,
    Strategy as Choice,
};
use kantoku_rust_tests::cases;
use proptest::collection::vec;
use proptest::prelude::*;

const GENERATION: u32 = 7;
const MS: i64 = 1_000_000;

#[derive(Debug, Default)]
struct World {
    dead: RefCell<BTreeSet<u64>>,
}

impl kantoku_core::pool::World for World {
    type Content = u64;
    type Handle = u64;

    fn alive(&self, pid: u64) -> bool {
        !self.dead.borrow().contains(&pid)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Join {
        pid: u64,
        member: u64,
    },
    Leave {
        pid: u64,
    },
    /// The process is dead, but nobody has heard of it.
    Die {
        pid: u64,
    },
    /// It is heard of.
    Hear {
        pid: u64,
    },
    Ask {
        kind: Kind,
        owner: u64,
        tenant: u8,
        priority: u8,
        cost: u32,
        wait: i64,
    },
    /// By the short way.
    Take {
        owner: u64,
    },
    GiveBack {
        at: usize,
        foreign: bool,
        outcome: Outcome,
    },
    Cancel {
        at: usize,
        foreign: bool,
    },
    Answered {
        at: usize,
    },
    /// By the worker that has it, or by another.
    Reply {
        at: usize,
        by: Option<u64>,
    },
    Borrow {
        owner: u64,
        tenant: u8,
        cost: u32,
        ttl: i64,
    },
    Deal {
        at: usize,
        dealing: Dealing,
        count: u64,
        foreign: bool,
    },
    /// A probe finds it not ready.
    Shut {
        pid: u64,
    },
    Eject {
        member: u64,
        ms: Option<i64>,
    },
    Readmit {
        member: u64,
    },
    /// Other rules of who is ejected, how its share grows, and of panic.
    Judge {
        failures: Option<u32>,
        enforced: bool,
        percent: u32,
        fresh: bool,
        panic: u32,
    },
    Tick,
    Pass {
        ms: i64,
    },
    Configure {
        strategy: Choice,
        max_ongoing: u32,
        max_queue: usize,
        target: Option<i64>,
        draining: bool,
        direct: bool,
    },
}

const WORKERS: std::ops::Range<u64> = 1..7;
const OWNERS: std::ops::Range<u64> = 11..16;
const TENANTS: u8 = 4;

// The first names no tenant.
fn spelled(tenant: &[u8; 1]) -> &[u8] {
    if tenant[0] == 0 { &[] } else { tenant }
}

fn named(tenant: &[u8]) -> u8 {
    tenant.first().copied().unwrap_or(0)
}

fn weight(tenant: u8) -> u64 {
    if tenant == 3 { 3 } else { 1 }
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![Just(Kind::Call), Just(Kind::Checkout), Just(Kind::Cast)];
    let outcome =
        prop_oneof![3 => Just(Outcome::Ok), 1 => Just(Outcome::Error), 1 => Just(Outcome::Abandoned)];
    let wait = prop_oneof![4 => Just(i64::MAX), 1 => 0..200 * MS];
    let target = prop_oneof![Just(None), Just(Some(20 * MS))];
    prop_oneof![
        4 => (WORKERS, 0..5_u64).prop_map(|(pid, member)| Op::Join { pid, member }),
        1 => WORKERS.prop_map(|pid| Op::Leave { pid }),
        1 => (1..16_u64).prop_map(|pid| Op::Die { pid }),
        1 => (1..16_u64).prop_map(|pid| Op::Hear { pid }),
        12 => (kind, OWNERS, 0..TENANTS, 0..3_u8, 1..5_u32, wait).prop_map(
            |(kind, owner, tenant, priority, cost, wait)| Op::Ask { kind, owner, tenant, priority, cost, wait }
        ),
        4 => OWNERS.prop_map(|owner| Op::Take { owner }),
        8 => (0..64_usize, prop::bool::weighted(0.1), outcome)
            .prop_map(|(at, foreign, outcome)| Op::GiveBack { at, foreign, outcome }),
        3 => (0..64_usize, prop::bool::weighted(0.1)).prop_map(|(at, foreign)| Op::Cancel { at, foreign }),
        4 => (0..64_usize).prop_map(|at| Op::Answered { at }),
        8 => (0..64_usize, prop::option::weighted(0.1, WORKERS)).prop_map(|(at, by)| Op::Reply { at, by }),
        1 => (OWNERS, 0..TENANTS, 1..5_u32, 1..300_i64).prop_map(
            |(owner, tenant, cost, ttl)| Op::Borrow { owner, tenant, cost, ttl: ttl * MS }
        ),
        8 => (0..8_usize, dealing(), 0..20_u64, prop::bool::weighted(0.1))
            .prop_map(|(at, dealing, count, foreign)| Op::Deal { at, dealing, count, foreign }),
        1 => WORKERS.prop_map(|pid| Op::Shut { pid }),
        1 => (0..5_u64, prop::option::of(1..300_i64)).prop_map(|(member, ms)| Op::Eject { member, ms }),
        1 => (0..5_u64).prop_map(|member| Op::Readmit { member }),
        1 => (prop::option::weighted(0.8, 1..4_u32), any::<bool>(), 1..101_u32, any::<bool>(), 0..101_u32).prop_map(
            |(failures, enforced, percent, fresh, panic)| Op::Judge { failures, enforced, percent, fresh, panic }
        ),
        2 => Just(Op::Tick),
        4 => (0..120_i64).prop_map(|ms| Op::Pass { ms }),
        1 => (strategy(), 1..4_u32, 0..12_usize, target, prop::bool::weighted(0.2), prop::bool::weighted(0.8)).prop_map(
            |(strategy, max_ongoing, max_queue, target, draining, direct)| {
                Op::Configure { strategy, max_ongoing, max_queue, target, draining, direct }
            }
        ),
    ]
}

fn dealing() -> impl Strategy<Value = Dealing> {
    prop_oneof![
        6 => Just(Dealing::Ask),
        4 => Just(Dealing::Take),
        2 => Just(Dealing::GiveBack),
        1 => Just(Dealing::Close),
    ]
}

fn strategy() -> impl Strategy<Value = Choice> {
    prop::sample::select(vec![
        Choice::RoundRobin,
        Choice::Random,
        Choice::LeastLoaded,
        Choice::PowerOfTwo,
        Choice::PeakEwma,
        Choice::Hash,
        Choice::Lifo,
    ])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    With(u64),
    Abandoned(u64),
}

#[derive(Clone, Copy, Debug)]
struct Known {
    kind: Kind,
    owner: u64,
    state: State,
    tenant: u8,
    priority: u8,
    /// The number of the asking.
    came: u64,
}

/// What a sender knows of its loan.
#[derive(Clone, Copy, Debug)]
struct Lent {
    owner: u64,
    tenant: u8,
    cost: u32,
    ttl: i64,
    wished: u64,
    held: u64,
    lapses: i64,
}

impl Lent {
    fn granted(&mut self, count: u64, now: i64) {
        self.wished = self
            .wished
            .checked_sub(count)
            .expect("no more than was wished for");
        self.held = self.held_at(now) + count;
        self.lapses = now + self.ttl;
    }

    fn held_at(&self, now: i64) -> u64 {
        if self.lapses <= now { 0 } else { self.held }
    }
}

/// What a list of tickets and workers says.
#[derive(Debug, Default)]
struct Model {
    tickets: BTreeMap<u64, Known>,
    /// Ended ones too: names are not used again.
    names: Vec<Name>,
    /// Content of parcels, which is the number of the asking, to names.
    contents: BTreeMap<u64, Name>,
    leaving: BTreeSet<u64>,
    workers: BTreeMap<u64, u64>,
    max_ongoing: usize,
    loans: BTreeMap<LoanName, Lent>,
    /// Closed ones too.
    loan_names: Vec<LoanName>,
    /// Content of parcels to loans.
    lent: BTreeMap<u64, LoanName>,
}

impl Model {
    // Who is dead is passed over before anyone hears of the death; then its ticket may be gone.
    fn may_be_gone(&self, name: Name, world: &World) -> bool {
        let known = self.tickets.get(&name.word());
        known.is_some_and(|known| {
            known.state == State::Waiting && known.owner != 0 && !world_alive(world, known.owner)
        })
    }

    fn may_any_be_gone(&self, world: &World) -> bool {
        let mut names = self.names.iter();
        names.any(|&name| self.may_be_gone(name, world))
    }

    fn staying(&self, member: u64) -> bool {
        let mut workers = self.workers.iter();
        workers.any(|(pid, &number)| number == member && !self.leaving.contains(pid))
    }

    fn ongoing(&self, worker: u64) -> usize {
        let has =
            |known: &&Known| matches!(known.state, State::With(pid) | State::Abandoned(pid) if pid == worker);
        self.tickets.values().filter(has).count()
    }

    fn name(&self, at: usize) -> Option<Name> {
        (!self.names.is_empty()).then(|| self.names[at % self.names.len()])
    }

    /// W4: who may have to make room for one of the tenant; nobody if that has most itself.
    fn outcrowded(&self, tenant: u8) -> BTreeSet<u64> {
        let waiting = || {
            self.tickets
                .values()
                .filter(|known| known.state == State::Waiting)
        };
        let len = |of: u8| waiting().filter(|known| known.tenant == of).count() as u64;
        let comer = len(tenant) + 1;
        let others = || (0..TENANTS).filter(|&of| of != tenant && len(of) > 1);
        let longer = |(one, one_weight): (u64, u64), (two, two_weight): (u64, u64)| {
            one * two_weight > two * one_weight
        };
        let line = |of: u8| (len(of), weight(of));
        let longest = others().filter(|&of| !others().any(|other| longer(line(other), line(of))));
        let gives_way = |&of: &u8| comer == 1 || longer(line(of), (comer, weight(tenant)));
        let last = |of: u8| {
            let own = waiting().filter(|known| known.tenant == of);
            own.max_by_key(|known| (known.priority, known.came))
                .map(|known| known.came)
        };
        longest.filter(gives_way).filter_map(last).collect()
    }

    fn hand_over(&mut self, name: Name, worker: u64, world: &World) {
        assert!(world_alive(world, worker), "P7: {worker} is dead");
        assert!(
            !self.leaving.contains(&worker) && self.workers.contains_key(&worker),
            "{worker} takes work"
        );
        assert!(
            self.ongoing(worker) < self.max_ongoing,
            "P1: {worker} has a permit free"
        );
        let known = self
            .tickets
            .get_mut(&name.word())
            .expect("who is served is there");
        assert_eq!(known.state, State::Waiting);
        assert!(
            known.owner == 0 || world_alive(world, known.owner),
            "nobody gets it"
        );
        known.state = match known.kind {
            Kind::Cast => State::Abandoned(worker),
            _ => State::With(worker),
        };
    }

    fn worker_ended(&mut self, worker: u64) {
        self.workers.remove(&worker);
        self.leaving.remove(&worker);
        self.tickets.retain(
            |_, known| !matches!(known.state, State::With(pid) | State::Abandoned(pid) if pid == worker),
        );
    }
}

fn world_alive(world: &World, pid: u64) -> bool {
    kantoku_core::pool::World::alive(world, pid)
}

struct Run {
    pool: Pool<World>,
    world: World,
    model: Model,
    now: i64,
    asked: u64,
    known_owners: BTreeSet<u64>,
    config: Config,
    /// Who may have to make room for the request that comes.
    outcrowded: BTreeSet<u64>,
    lines_known: bool,
}

impl Run {
    fn new() -> Self {
        let run = Self {
            pool: Pool::new(3),
            world: World::default(),
            model: Model {
                max_ongoing: 1,
                ..Model::default()
            },
            now: 0,
            asked: 0,
            known_owners: BTreeSet::new(),
            config: Config {
                weights: [(vec![3].into(), 3)].into(),
                ..Config::default()
            },
            outcrowded: BTreeSet::new(),
            lines_known: true,
        };
        let mut effects = Effects::default();
        run.pool
            .open(GENERATION, run.config.clone(), 0, &run.world, &mut effects);
        assert!(effects.is_empty());
        run
    }

    // In the order in which they come. Deaths first change what the model knows, so that what comes after fits.
    fn carry_out(&mut self, effects: impl IntoIterator<Item = Effect<u64>>) {
        for effect in effects {
            match effect {
                Effect::Deliver {
                    worker,
                    parcel,
                    unheeded,
                } => {
                    let ticket = self.model.contents[&parcel.content];
                    let kind = self.model.tickets[&ticket.word()].kind;
                    assert_eq!(unheeded, Notice::unheeded(kind, ticket, worker));
                    self.model.hand_over(ticket, worker, &self.world);
                    assert_eq!(
                        parcel.sent(),
                        kind == Kind::Cast,
                        "only casts are nobody's at once"
                    );
                }
                Effect::Entrust { parcel, .. } => {
                    assert!(parcel.sent(), "a cast is nobody's at once");
                }
                Effect::Grant {
                    owner,
                    worker,
                    content,
                } => {
                    let name = self.model.contents[&content];
                    assert_eq!(self.model.tickets[&name.word()].owner, owner);
                    self.model.hand_over(name, worker, &self.world);
                }
                Effect::Refuse {
                    owner,
                    parcel,
                    reason,
                    ..
                } => {
                    let name = self.model.contents[parcel.content()];
                    let known = self.model.tickets.remove(&name.word()).expect("P3: it was there");
                    assert_eq!((known.owner, known.state), (owner, State::Waiting));
                    if reason == Refusal::QueueFull {
                        assert!(!self.lines_known || self.outcrowded.contains(&known.came), "W4");
                        self.outcrowded.clear();
                    }
                }
                Effect::Credit { owner, parcel, count } => {
                    let lent = self.model.loans.get_mut(&self.model.lent[&parcel.content]);
                    let lent = lent.expect("whose death was heard of has no loan");
                    assert_eq!(lent.owner, owner);
                    lent.granted(count, self.now);
                    self.granted(count);
                }
                Effect::Lost { owner, parcel } => {
                    let name = self.model.contents[parcel.content()];
                    let known = self.model.tickets.remove(&name.word()).expect("P3: it was there");
                    assert!(matches!(known.state, State::With(_)) && known.owner == owner);
                }
                Effect::Tell(Notice::Down { worker }) => {
                    assert!(!world_alive(&self.world, worker));
                    self.model.worker_ended(worker);
                }
                Effect::Tell(Notice::Left { worker }) => {
                    assert!(self.model.leaving.contains(&worker));
                    assert_eq!(self.model.ongoing(worker), 0, "it left with work");
                    self.model.worker_ended(worker);
                }
                Effect::Tell(Notice::Abandoned { ticket, worker } | Notice::Cast { ticket, worker }) => {
                    assert_eq!(
                        self.model.tickets[&ticket.word()].state,
                        State::Abandoned(worker),
                        "P5"
                    );
                }
                Effect::Tell(Notice::Ejected { worker, .. }) => {
                    assert!(
                        self.model.workers.contains_key(&worker),
                        "who is ejected is there"
                    );
                }
                Effect::Tell(Notice::Pressed | Notice::Returned { .. } | Notice::Panic { .. }) => {}
            }
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Join { pid, member } => self.join(pid, member),
            Op::Leave { pid } => {
                let known = self.model.workers.contains_key(&pid);
                if known {
                    self.model.leaving.insert(pid);
                }
                let mut effects = Effects::default();
                let left = self
                    .pool
                    .leave(GENERATION, pid, self.now, &self.world, &mut effects)
                    .expect("open");
                assert_eq!(left, known);
                self.carry_out(effects);
            }
            Op::Shut { pid } => {
                let known = self.model.workers.contains_key(&pid);
                self.set_standing(known, |at, effects| {
                    at.pool.shut(GENERATION, pid, at.now, &at.world, effects)
                });
            }
            Op::Eject { member, ms } => {
                let known = self.model.staying(member);
                let length = ms.map(|ms| ms * MS);
                self.set_standing(known, |at, effects| {
                    at.pool
                        .eject(GENERATION, member, length, at.now, &at.world, effects)
                });
            }
            Op::Readmit { member } => {
                let all = self.pool.ejections(GENERATION, self.now).expect("open");
                let known = all
                    .iter()
                    .any(|known| known.member == member && known.left.is_some());
                self.set_standing(known, |at, effects| {
                    at.pool.readmit(GENERATION, member, at.now, &at.world, effects)
                });
            }
            Op::Judge {
                failures,
                enforced,
                percent,
                fresh,
                panic,
            } => self.judge(failures, enforced, percent, fresh, panic),
            Op::Die { pid } => {
                self.world.dead.borrow_mut().insert(pid);
            }
            Op::Hear { pid } => self.hear(pid),
            Op::Ask {
                kind,
                owner,
                tenant,
                priority,
                cost,
                wait,
            } => {
                self.ask(&Asking {
                    kind,
                    owner: if kind == Kind::Cast { 0 } else { owner },
                    tenant: spelled(&[tenant]),
                    priority,
                    cost,
                    wait,
                    route: Route {
                        hash: Some(cost),
                        worker: NonZeroU64::new(if cost == 2 { 3 } else { 0 }),
                    },
                });
            }
            Op::Take { owner } => self.take(owner),
            Op::GiveBack { at, foreign, outcome } => self.give_back(at, foreign, outcome),
            Op::Cancel { at, foreign } => self.cancel(at, foreign),
            Op::Answered { at } => self.answered(at),
            Op::Reply { at, by } => self.reply(at, by),
            Op::Borrow {
                owner,
                tenant,
                cost,
                ttl,
            } => self.borrow(owner, tenant, cost, ttl),
            Op::Deal {
                at,
                dealing,
                count,
                foreign,
            } => self.deal(at, dealing, count, foreign),
            Op::Tick => self.tick(),
            Op::Pass { ms } => self.now += ms * MS,
            Op::Configure {
                strategy,
                max_ongoing,
                max_queue,
                target,
                draining,
                direct,
            } => {
                self.config = Config {
                    draining,
                    direct,
                    strategy,
                    max_ongoing,
                    max_queue,
                    queue_target: target,
                    queue_interval: 100 * MS,
                    ..self.config.clone()
                };
                self.model.max_ongoing = max_ongoing as usize;
                self.reopen();
            }
        }
        self.pool.check();
    }

    fn join(&mut self, pid: u64, member: u64) {
        let known = self.model.workers.contains_key(&pid);
        let mut effects = Effects::default();
        let joined = self
            .pool
            .join(GENERATION, pid, member, pid, self.now, &self.world, &mut effects)
            .expect("open");
        let mut effects = Some(effects);
        match joined {
            Joined::Dead => assert!(!world_alive(&self.world, pid)),
            Joined::Taken(by) => {
                // One that leaves and is wanted again may find its own place taken.
                let place = self.model.workers.get(&pid).copied().unwrap_or(member);
                assert!(!known || self.model.leaving.contains(&pid));
                assert!(world_alive(&self.world, by) && self.model.workers[&by] == place);
            }
            Joined::Done => {
                // Who is buried for it was there before it.
                let all: Vec<_> = effects.take().into_iter().flatten().collect();
                let deaths = |effect: &Effect<u64>| {
                    matches!(
                        effect,
                        Effect::Tell(Notice::Down { .. } | Notice::Panic { .. }) | Effect::Lost { .. }
                    )
                };
                let first = all.iter().take_while(|effect| deaths(effect)).count();
                let mut all = all.into_iter();
                self.carry_out(all.by_ref().take(first));
                self.model.leaving.remove(&pid);
                self.model.workers.entry(pid).or_insert(member);
                self.carry_out(all);
            }
        }
        effects
            .into_iter()
            .for_each(|effects| assert!(effects.is_empty()));
    }

    fn reopen(&mut self) {
        let mut effects = Effects::default();
        let config = self.config.clone();
        self.pool
            .open(GENERATION, config, self.now, &self.world, &mut effects);
        self.carry_out(effects);
    }

    fn set_standing(
        &mut self,
        known: bool,
        change: impl FnOnce(&Self, &mut Effects<u64>) -> Result<bool, Closed>,
    ) {
        let mut effects = Effects::default();
        assert_eq!(change(self, &mut effects), Ok(known));
        self.carry_out(effects);
    }

    fn judge(&mut self, failures: Option<u32>, enforced: bool, percent: u32, fresh: bool, panic: u32) {
        self.config.ejection = failures.map(|failures| Ejecting {
            enforced,
            consecutive_failures: failures,
            interval: 50 * MS,
            base_ejection_time: 40 * MS,
            max_ejection_time: 200 * MS,
            max_ejection_time_jitter: 10 * MS,
            max_ejection_percent: percent,
            success_rate_minimum_hosts: 2,
            success_rate_request_volume: 2,
            success_rate_stdev_factor: 500,
            latency_minimum_hosts: 2,
            latency_request_volume: 1,
            latency_multiple: 2,
            latency_floor: 0,
        });
        self.config.slow_start = fresh.then_some(SlowStart {
            window: 100 * MS,
            least: 10,
            fresh,
        });
        self.config.panic_threshold = panic;
        self.reopen();
    }

    fn hear(&mut self, pid: u64) {
        if world_alive(&self.world, pid) {
            return;
        }
        let mut effects = Effects::default();
        self.pool
            .worker_died(GENERATION, pid, self.now, &self.world, &mut effects)
            .expect("open");
        self.carry_out(effects);
        assert!(!self.model.workers.contains_key(&pid));
        // P4
        let of_owner: Vec<u64> = self
            .model
            .tickets
            .iter()
            .filter(|(_, known)| known.owner == pid)
            .map(|(&name, _)| name)
            .collect();
        for name in of_owner {
            let known = self.model.tickets.get_mut(&name).expect("just seen");
            match known.state {
                State::With(worker) => {
                    *known = Known {
                        owner: 0,
                        state: State::Abandoned(worker),
                        ..*known
                    }
                }
                _ => drop(self.model.tickets.remove(&name)),
            }
        }
        let mut effects = Effects::default();
        let _handle = self.pool.owner_died(GENERATION, pid, &mut effects).expect("open");
        self.carry_out(effects);
        self.model.loans.retain(|_, lent| lent.owner != pid);
    }

    fn tick(&mut self) {
        let mut effects = Effects::default();
        self.pool
            .tick(GENERATION, self.now, &self.world, &mut effects)
            .expect("open");
        self.carry_out(effects);
        for lent in self.model.loans.values().filter(|lent| lent.wished > 0) {
            let room = self
                .pool
                .room(GENERATION, spelled(&[lent.tenant]), lent.cost, self.now)
                .expect("open");
            assert_eq!(room, 0, "nobody wishes in vain while there is room");
        }
    }

    fn borrow(&mut self, owner: u64, tenant: u8, cost: u32, ttl: i64) {
        let alive = world_alive(&self.world, owner);
        if !alive && self.known_owners.contains(&owner) {
            return;
        }
        self.known_owners.insert(owner);
        self.asked += 1;
        let content = self.asked;
        let name = [tenant];
        let borrowing = Borrowing {
            owner,
            tenant: spelled(&name),
            cost,
            ttl,
        };
        let lent = self
            .pool
            .borrow(GENERATION, &borrowing, || alive.then_some(owner), content)
            .expect("open");
        assert_eq!(lent.is_some(), alive);
        let Some(name) = lent else { return };
        let known = Lent {
            owner,
            tenant,
            cost,
            ttl,
            wished: 0,
            held: 0,
            lapses: 0,
        };
        assert!(self.model.loans.insert(name, known).is_none());
        self.model.loan_names.push(name);
        self.model.lent.insert(content, name);
    }

    fn deal(&mut self, at: usize, dealing: Dealing, count: u64, foreign: bool) {
        if self.model.loan_names.is_empty() {
            return;
        }
        let name = self.model.loan_names[at % self.model.loan_names.len()];
        let known = self.model.loans.get(&name).copied();
        let owner = known.map_or(11, |lent| lent.owner) + u64::from(foreign);
        let mut effects = Effects::default();
        let dealt = self
            .pool
            .deal(GENERATION, name, owner, dealing, count, self.now, &mut effects)
            .expect("open");
        // What it wished for before may be granted by an effect of this.
        if let (Some(lent), Dealing::Ask, false) = (self.model.loans.get_mut(&name), dealing, foreign) {
            lent.wished += count;
        }
        self.carry_out(effects);
        match (known, dealt) {
            (None, dealt) => assert_eq!(dealt, Dealt::Gone),
            (Some(_), dealt) if foreign && dealing != Dealing::Take => assert_eq!(dealt, Dealt::Foreign),
            (Some(lent), Dealt::Count(done)) => self.dealt(name, lent, dealing, count, done),
            (Some(_), dealt) => panic!("{dealt:?}"),
        }
    }

    fn dealt(&mut self, name: LoanName, before: Lent, dealing: Dealing, count: u64, done: u64) {
        let (now, held) = (self.now, before.held_at(self.now));
        let lent = self.model.loans.get_mut(&name).expect("just seen");
        match dealing {
            Dealing::Ask => {
                if done > 0 {
                    lent.granted(done, now);
                    self.granted(done);
                }
            }
            Dealing::Take | Dealing::GiveBack => {
                assert_eq!(done, held.min(count));
                lent.held = lent.held_at(now) - done;
            }
            Dealing::Close => {
                assert_eq!(done, held);
                self.model.loans.remove(&name);
            }
        }
    }

    // C4, from far: what is granted is in the permits that are free, or in the queue.
    fn granted(&self, count: u64) {
        let status = self.pool.status(GENERATION).expect("open");
        assert!(count > 0 && !self.config.draining && status.overloaded == 0);
        assert!(status.credits <= status.free + self.config.max_queue as u64, "C4");
    }

    fn ask(&mut self, asking: &Asking<'_>) {
        // The dead do not ask; who is dying is found out by who watches him.
        let alive = asking.owner == 0 || world_alive(&self.world, asking.owner);
        if !alive && self.known_owners.contains(&asking.owner) {
            return;
        }
        self.known_owners.insert(asking.owner);
        self.asked += 1;
        let number = self.asked;
        let full = self.pool.status(GENERATION).expect("open").queue >= self.config.max_queue as u64;
        self.outcrowded = if full {
            self.model.outcrowded(named(asking.tenant))
        } else {
            BTreeSet::new()
        };
        let may_come = !full || !self.outcrowded.is_empty();
        // How long the lines are is only known while nobody in them is dead.
        self.lines_known = !self.model.may_any_be_gone(&self.world);
        let mut effects = Effects::default();
        let asked = self
            .pool
            .ask(
                GENERATION,
                asking,
                || self.now,
                &self.world,
                || alive.then_some(asking.owner),
                |_| Some(number),
                &mut effects,
            )
            .expect("open");
        if let Asked::Taken { ticket, worker } = asked {
            // P6: the one that is taken was not sent before its effects are carried out.
            let notice = Notice::unheeded(asking.kind, ticket, worker);
            let listed = |run: &Self| run.pool.unheeded(GENERATION).expect("open").contains(&notice);
            assert!(!listed(self), "{ticket} was not sent yet");
            self.carry_out(effects);
            assert_eq!(listed(self), asking.kind == Kind::Cast);
        } else {
            self.carry_out(effects);
        }
        let known = |state| Known {
            kind: asking.kind,
            owner: asking.owner,
            state,
            tenant: named(asking.tenant),
            priority: asking.priority,
            came: number,
        };
        match asked {
            Asked::Taken { ticket, worker } => {
                assert!(
                    self.model
                        .tickets
                        .insert(ticket.word(), known(State::Waiting))
                        .is_none()
                );
                self.remember(ticket, number);
                self.model.hand_over(ticket, worker, &self.world);
            }
            Asked::Queued { ticket } => {
                assert!(
                    self.model
                        .tickets
                        .insert(ticket.word(), known(State::Waiting))
                        .is_none()
                );
                self.remember(ticket, number);
                assert!(asking.wait > 0 && (may_come || !self.lines_known));
                assert!(
                    !full || self.outcrowded.is_empty() || !self.lines_known,
                    "W4: somebody has to make room"
                );
            }
            Asked::Refused {
                reason: Refusal::Draining,
                retry_in,
            } => assert!(self.config.draining && retry_in == 0),
            Asked::Refused { retry_in, .. } => {
                assert!(retry_in > 0 && (asking.wait <= 0 || !may_come || !self.lines_known));
            }
            Asked::NoOwner => assert!(!alive),
        }
    }

    fn take(&mut self, owner: u64) {
        if !world_alive(&self.world, owner) {
            return;
        }
        let (mut effects, clock) = (Effects::default(), || self.now);
        let taken = self
            .pool
            .take(GENERATION, owner, clock, &self.world, &mut effects);
        self.carry_out(effects);
        let Some((ticket, worker)) = taken else { return };
        assert!(
            self.known_owners.contains(&owner),
            "P4: who holds a worker is watched"
        );
        assert!(!self.config.draining && self.config.direct);
        let mut tickets = self.model.tickets.iter();
        let passed = tickets.any(|(_, known)| {
            known.state == State::Waiting && (known.owner == 0 || world_alive(&self.world, known.owner))
        });
        assert!(!passed, "nobody is passed");
        self.asked += 1;
        let known = Known {
            kind: Kind::Checkout,
            owner,
            state: State::Waiting,
            tenant: 0,
            priority: 1,
            came: self.asked,
        };
        assert!(self.model.tickets.insert(ticket.word(), known).is_none());
        self.remember(ticket, self.asked);
        self.model.hand_over(ticket, worker, &self.world);
    }

    fn remember(&mut self, name: Name, number: u64) {
        assert!(!self.model.names.contains(&name), "names are not used again");
        self.model.names.push(name);
        self.model.contents.insert(number, name);
    }

    fn give_back(&mut self, at: usize, foreign: bool, outcome: Outcome) {
        let Some(name) = self.model.name(at) else { return };
        let known = self.model.tickets.get(&name.word()).copied();
        let owner = known.map_or(11, |known| known.owner) + u64::from(foreign);
        let expected = match known {
            None
            | Some(Known {
                state: State::Abandoned(_),
                ..
            }) => Returned::Gone,
            Some(Known {
                state: State::With(_),
                ..
            }) if !foreign => Returned::Done,
            Some(_) => Returned::Foreign,
        };
        if let (
            Returned::Done,
            Some(Known {
                state: State::With(worker),
                ..
            }),
        ) = (expected, known)
        {
            match outcome {
                Outcome::Abandoned => {
                    let known = self.model.tickets.get_mut(&name.word()).expect("just seen");
                    *known = Known {
                        owner: 0,
                        state: State::Abandoned(worker),
                        ..*known
                    };
                }
                _ => drop(self.model.tickets.remove(&name.word())),
            }
        }
        let mut effects = Effects::default();
        let returned = self
            .pool
            .give_back(
                GENERATION,
                name,
                owner,
                outcome,
                || self.now,
                &self.world,
                &mut effects,
            )
            .expect("open");
        if returned == Returned::Gone && self.model.may_be_gone(name, &self.world) {
            self.model.tickets.remove(&name.word());
        } else {
            assert_eq!(returned, expected);
        }
        self.carry_out(effects);
    }

    fn cancel(&mut self, at: usize, foreign: bool) {
        let Some(name) = self.model.name(at) else { return };
        let known = self.model.tickets.get(&name.word()).copied();
        let owner = known.map_or(11, |known| known.owner) + u64::from(foreign);
        let expected = match known {
            None
            | Some(Known {
                state: State::Abandoned(_),
                ..
            }) => Cancelled::Gone,
            Some(_) if foreign => Cancelled::Foreign,
            Some(Known {
                state: State::Waiting,
                ..
            }) => Cancelled::Withdrawn,
            Some(Known {
                kind: Kind::Checkout, ..
            }) => Cancelled::Returned,
            Some(_) => Cancelled::Abandoned,
        };
        let may_be_gone = self.model.may_be_gone(name, &self.world);
        match (expected, known) {
            (Cancelled::Withdrawn | Cancelled::Returned, _) => drop(self.model.tickets.remove(&name.word())),
            (
                Cancelled::Abandoned,
                Some(Known {
                    state: State::With(worker),
                    ..
                }),
            ) => {
                let known = self.model.tickets.get_mut(&name.word()).expect("just seen");
                *known = Known {
                    owner: 0,
                    state: State::Abandoned(worker),
                    ..*known
                };
            }
            _ => {}
        }
        let mut effects = Effects::default();
        let cancelled = self
            .pool
            .cancel(GENERATION, name, owner, self.now, &self.world, &mut effects)
            .expect("open");
        if cancelled == Cancelled::Gone && may_be_gone {
            self.model.tickets.remove(&name.word());
        } else {
            assert_eq!(cancelled, expected);
        }
        self.carry_out(effects);
    }

    fn answered(&mut self, at: usize) {
        let Some(name) = self.model.name(at) else { return };
        let known = self.model.tickets.get(&name.word());
        let expected = known.is_some_and(|known| matches!(known.state, State::Abandoned(_)));
        if expected {
            self.model.tickets.remove(&name.word());
        }
        let mut effects = Effects::default();
        let answered = self
            .pool
            .answered(GENERATION, name, self.now, &self.world, &mut effects)
            .expect("open");
        assert_eq!(answered, expected);
        self.carry_out(effects);
    }

    // P8
    fn reply(&mut self, at: usize, by: Option<u64>) {
        let Some(name) = self.model.name(at) else { return };
        let known = self.model.tickets.get(&name.word()).copied();
        let content = self.model.contents.iter().find(|&(_, &of)| of == name);
        let content = *content.expect("each name is of a request").0;
        let has = known.and_then(|known| match known.state {
            State::With(worker) | State::Abandoned(worker) if known.kind == Kind::Call => Some(worker),
            _ => None,
        });
        let worker = by.or(has).unwrap_or(1);
        let expected = match known {
            Some(known) if has == Some(worker) => match known.state {
                State::With(_) => Replied::To(known.owner),
                _ => Replied::Late,
            },
            _ => Replied::None,
        };
        if matches!(expected, Replied::To(_)) {
            self.model.tickets.remove(&name.word());
        }
        let (mut effects, now) = (Effects::default(), self.now);
        let is = |&of: &u64| of == content;
        let replied = self
            .pool
            .reply(GENERATION, worker, is, || now, &self.world, &mut effects);
        assert_eq!(replied, Ok(expected));
        self.carry_out(effects);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(300)))]

    #[test]
    fn permits_are_conserved_and_tickets_end_once(ops in vec(op(), 1..250)) {
        let mut run = Run::new();
        for op in ops {
            run.step(op);
        }
        run.pool.close(GENERATION, &mut Effects::default());
        run.pool.check();
        prop_assert!(run.pool.status(GENERATION).is_err());
    }
}
