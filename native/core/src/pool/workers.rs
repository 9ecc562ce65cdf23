//! The workers of a pool, and those of them that have a permit free.

mod aside;
mod strategies;
mod weights;

pub use aside::Aside;
pub use strategies::mix;
pub use weights::SlowStart;

use std::collections::{BTreeSet, HashMap};

use super::ejection::Toll;
use super::random::Random;
use super::tickets::{Chain, NONE};
use weights::GROWN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The next in order of number after the last one taken.
    RoundRobin,
    Random,
    /// The fewest ongoing.
    LeastLoaded,
    /// Of two random ones that with fewer ongoing.
    PowerOfTwo,
    /// Of two random ones that with the lower latency times what it would have ongoing.
    PeakEwma,
    /// The highest rendezvous weight for the request's hash.
    Hash,
    /// The one that became free last: its caches are warm.
    Lifo,
}

#[derive(Debug)]
pub struct Worker<H> {
    pub pid: u64,
    pub member: u64,
    pub leaving: bool,
    pub ongoing: u32,
    pub tickets: Chain,
    /// Nanoseconds.
    pub latency: f64,
    pub measured: i64,
    pub served: u64,
    pub toll: Toll,
    ejected: bool,
    shut: bool,
    // Since when its share grows.
    grows: i64,
    /// Ends with the worker.
    pub handle: H,
    // Where it stands among the ready.
    at: u32,
    stamp: u64,
}

impl<H> Worker<H> {
    /// A request was served in so long. A longer one is believed at once, a shorter one as time goes by.
    pub fn measure(&mut self, held: i64, now: i64, decay_time: i64) {
        let sample = held as f64;
        if sample >= self.latency {
            self.latency = sample;
        } else {
            let kept = self.kept(now, decay_time);
            self.latency = self.latency * kept + sample * (1.0 - kept);
        }
        self.measured = now;
    }

    /// How many of its requests ended well.
    pub fn successes(&self) -> u64 {
        self.served - u64::from(self.ongoing) - self.toll.others
    }

    // What is not heard of fades: one peak must not keep work away for good.
    fn latency_at(&self, now: i64, decay_time: i64) -> f64 {
        self.latency * self.kept(now, decay_time)
    }

    fn kept(&self, now: i64, decay_time: i64) -> f64 {
        let since = now.saturating_sub(self.measured).max(0) as f64 / decay_time.max(1) as f64;
        // Nearly always so short that the first two terms of the series are as exact as is seen.
        const SHORT: f64 = 1e-5;
        if since < SHORT {
            1.0 - since
        } else {
            (-since).exp()
        }
    }
}

// In the order that the strategy takes them in.
#[derive(Debug)]
enum Ready {
    Any(Vec<u32>),
    Ordered(BTreeSet<(u64, u32)>),
}

#[derive(Debug)]
pub struct Workers<H> {
    places: Vec<Option<Worker<H>>>,
    free: Vec<u32>,
    by_pid: HashMap<u64, u32>,
    by_member: HashMap<u64, u32>,
    leaving: usize,
    // Of those that stay.
    aside: usize,
    panic: bool,
    growing: usize,
    slow_start: Option<SlowStart>,
    strategy: Strategy,
    ready: Ready,
    stamps: u64,
    last: u64,
    random: Random,
}

impl<H> Workers<H> {
    pub fn new(strategy: Strategy, seed: u64) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_pid: HashMap::new(),
            by_member: HashMap::new(),
            leaving: 0,
            aside: 0,
            panic: false,
            growing: 0,
            slow_start: None,
            strategy,
            ready: Ready::of(strategy),
            stamps: 0,
            last: u64::MAX,
            random: Random::new(seed),
        }
    }

    pub fn len(&self) -> usize {
        self.by_pid.len()
    }

    /// How many stay.
    pub fn taking(&self) -> usize {
        self.len() - self.leaving
    }

    /// Says whether a worker leaves; whether that is news.
    pub fn set_leaving(&mut self, at: u32, leaving: bool) -> bool {
        let before = std::mem::replace(&mut self.get_mut(at).leaving, leaving);
        self.leaving = self.leaving + usize::from(leaving) - usize::from(before);
        if self.get(at).is_aside() {
            self.aside = self.aside + usize::from(before) - usize::from(leaving);
        }
        before != leaving
    }

    #[inline]
    pub fn get(&self, at: u32) -> &Worker<H> {
        self.places[at as usize]
            .as_ref()
            .expect("a ticket's worker is there")
    }

    #[inline]
    pub fn get_mut(&mut self, at: u32) -> &mut Worker<H> {
        self.places[at as usize]
            .as_mut()
            .expect("a ticket's worker is there")
    }

    pub fn of_pid(&self, pid: u64) -> Option<u32> {
        self.by_pid.get(&pid).copied()
    }

    pub fn of_member(&self, member: u64) -> Option<u32> {
        self.by_member.get(&member).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Worker<H>)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(at, worker)| Some((at as u32, worker.as_ref()?)))
    }

    pub fn add(&mut self, pid: u64, member: u64, handle: H) -> u32 {
        let worker = Some(Worker {
            pid,
            member,
            leaving: false,
            ongoing: 0,
            tickets: Chain::default(),
            latency: 0.0,
            measured: 0,
            served: 0,
            toll: Toll::default(),
            ejected: false,
            shut: false,
            grows: GROWN,
            handle,
            at: NONE,
            stamp: 0,
        });
        let at = match self.free.pop() {
            Some(at) => {
                self.places[at as usize] = worker;
                at
            }
            None => {
                self.places.push(worker);
                self.places.len() as u32 - 1
            }
        };
        self.by_pid.insert(pid, at);
        self.by_member.insert(member, at);
        at
    }

    /// Gives a worker its number back, which nobody has who stays.
    pub fn reclaim(&mut self, at: u32) {
        let member = self.get(at).member;
        self.by_member.insert(member, at);
    }

    pub fn remove(&mut self, at: u32) -> Worker<H> {
        self.unready(at);
        self.is_grown(at);
        let worker = self.places[at as usize].take().expect("who is removed is there");
        self.leaving -= usize::from(worker.leaving);
        self.aside -= usize::from(worker.is_aside() && !worker.leaving);
        self.by_pid.remove(&worker.pid);
        if self.by_member.get(&worker.member) == Some(&at) {
            self.by_member.remove(&worker.member);
        }
        self.free.push(at);
        worker
    }

    /// All, for a pool that closes.
    pub fn take(&mut self) -> Vec<Worker<H>> {
        let seed = self.seed();
        let old = std::mem::replace(self, Self::new(self.strategy, seed));
        old.places.into_iter().flatten().collect()
    }

    /// For the chance of a successor.
    pub fn seed(&mut self) -> u64 {
        self.random.below(usize::MAX) as u64
    }

    /// For each worker what its requests came to, and how often that was well.
    pub fn each_toll(&mut self, change: impl Fn(&mut Toll, u64)) {
        for worker in self.places.iter_mut().flatten() {
            let successes = worker.successes();
            change(&mut worker.toll, successes);
        }
    }

    /// A random number up to `most`.
    pub fn jitter(&mut self, most: i64) -> i64 {
        match usize::try_from(most) {
            Ok(most) if most > 0 => self.random.below(most.saturating_add(1)) as i64,
            _ => 0,
        }
    }

    // The ready ------------------------------------------------------------------------------------------------------

    #[inline]
    pub fn any_ready(&self) -> bool {
        match &self.ready {
            Ready::Any(ready) => !ready.is_empty(),
            Ready::Ordered(ready) => !ready.is_empty(),
        }
    }

    #[inline]
    pub fn is_ready(&self, at: u32) -> bool {
        self.get(at).at != NONE
    }

    /// Says whether a worker has a permit free. Who is barred is not ready for all that.
    #[inline]
    pub fn set_ready(&mut self, at: u32, ready: bool) {
        // Nearly always nobody is aside.
        let barred = self.aside > 0 && self.is_barred(at);
        match (ready && !barred, self.is_ready(at)) {
            (true, false) => self.make_ready(at),
            (false, true) => self.unready(at),
            _ => {}
        }
    }

    #[inline]
    fn make_ready(&mut self, at: u32) {
        self.stamps += 1;
        let stamp = self.stamps;
        let strategy = self.strategy;
        let worker = self.places[at as usize].as_mut().expect("who is ready is there");
        match &mut self.ready {
            Ready::Any(ready) => {
                worker.at = ready.len() as u32;
                ready.push(at);
            }
            Ready::Ordered(ready) => {
                worker.at = 0;
                worker.stamp = if strategy == Strategy::Lifo {
                    stamp
                } else {
                    worker.member
                };
                ready.insert((worker.stamp, at));
            }
        }
    }

    #[inline]
    fn unready(&mut self, at: u32) {
        let worker = self.places[at as usize].as_mut().expect("who was ready is there");
        let place = std::mem::replace(&mut worker.at, NONE);
        if place == NONE {
            return;
        }
        match &mut self.ready {
            Ready::Any(ready) => {
                ready.swap_remove(place as usize);
                if let Some(&moved) = ready.get(place as usize) {
                    self.get_mut(moved).at = place;
                }
            }
            Ready::Ordered(ready) => {
                ready.remove(&(worker.stamp, at));
            }
        }
    }

    pub fn set_strategy(&mut self, strategy: Strategy) {
        if strategy == self.strategy {
            return;
        }
        let ready: Vec<u32> = self
            .iter()
            .filter(|(_, worker)| worker.at != NONE)
            .map(|(at, _)| at)
            .collect();
        ready.iter().for_each(|&at| self.unready(at));
        self.strategy = strategy;
        self.ready = Ready::of(strategy);
        ready.iter().for_each(|&at| self.make_ready(at));
    }

    pub fn bytes(&self) -> usize {
        let ready = match &self.ready {
            Ready::Any(ready) => ready.capacity() * size_of::<u32>(),
            Ready::Ordered(ready) => ready.len() * 2 * size_of::<(u64, u32)>(),
        };
        self.places.capacity() * size_of::<Option<Worker<H>>>()
            + (self.by_pid.capacity() + self.by_member.capacity()) * size_of::<(u64, u32)>()
            + ready
    }
}

impl Ready {
    fn of(strategy: Strategy) -> Self {
        match strategy {
            Strategy::RoundRobin | Strategy::Lifo => Ready::Ordered(BTreeSet::new()),
            _ => Ready::Any(Vec::new()),
        }
    }
}
