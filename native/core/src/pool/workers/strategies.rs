//! Which of the workers that have a permit free is taken.

use std::collections::BTreeSet;

use super::{Ready, Strategy, Worker, Workers};

impl<H> Workers<H> {
    /// One that has a permit free.
    #[inline]
    pub fn choose(&mut self, hash: Option<u32>, clock: impl Fn() -> i64, decay_time: i64) -> Option<u32> {
        if !self.any_ready() {
            return None;
        }
        let chosen = match self.strategy {
            Strategy::RoundRobin => self.following(),
            Strategy::Lifo => self.latest(),
            Strategy::Random => self.any(),
            Strategy::LeastLoaded => self.least(|worker| f64::from(worker.ongoing)),
            Strategy::PowerOfTwo => self.idler_of_two(),
            Strategy::PeakEwma => {
                let now = clock();
                self.better_of_two(|worker| {
                    (worker.latency_at(now, decay_time) + 1.0) * (f64::from(worker.ongoing) + 1.0)
                })
            }
            Strategy::Hash => match hash {
                Some(hash) => self.heaviest(u64::from(hash)),
                None => self.any(),
            },
        };
        let chosen = if self.growing == 0 {
            chosen
        } else {
            self.or_another(chosen, clock())
        };
        self.last = self.get(chosen).member;
        Some(chosen)
    }

    pub(super) fn unordered(&self) -> &[u32] {
        match &self.ready {
            Ready::Any(ready) => ready,
            Ready::Ordered(_) => unreachable!("kept in order only for those that take in order"),
        }
    }

    pub(super) fn ordered(&self) -> &BTreeSet<(u64, u32)> {
        match &self.ready {
            Ready::Ordered(ready) => ready,
            Ready::Any(_) => unreachable!("kept in order for those that take in order"),
        }
    }

    fn following(&self) -> u32 {
        let ready = self.ordered();
        let after = self.last.checked_add(1).map(|next| (next, 0));
        let next = after.and_then(|after| ready.range(after..).next());
        next.or_else(|| ready.first()).expect("someone is ready").1
    }

    fn latest(&self) -> u32 {
        self.ordered().last().expect("someone is ready").1
    }

    fn any(&mut self) -> u32 {
        let count = self.unordered().len();
        let at = self.random.below(count);
        self.unordered()[at]
    }

    // Among those that have nothing to do there is no better one.
    #[inline]
    fn idler_of_two(&mut self) -> u32 {
        let one = self.any();
        if self.get(one).ongoing == 0 {
            return one;
        }
        let other = self.another(one);
        if self.get(other).ongoing < self.get(one).ongoing {
            other
        } else {
            one
        }
    }

    fn better_of_two(&mut self, cost: impl Fn(&Worker<H>) -> f64) -> u32 {
        let one = self.any();
        let other = self.another(one);
        if cost(self.get(other)) < cost(self.get(one)) {
            other
        } else {
            one
        }
    }

    // Not the same, unless it is the only one.
    pub(super) fn another(&mut self, one: u32) -> u32 {
        let count = self.unordered().len();
        if count == 1 {
            return one;
        }
        let place = self.random.below(count - 1);
        match self.unordered()[place] {
            same if same == one => self.unordered()[count - 1],
            other => other,
        }
    }

    // From a random one on, so that equals share.
    fn least(&mut self, cost: impl Fn(&Worker<H>) -> f64) -> u32 {
        let count = self.unordered().len();
        let start = self.random.below(count);
        let (before, after) = self.unordered().split_at(start);
        let all = after.iter().chain(before).copied();
        all.min_by(|&one, &other| cost(self.get(one)).total_cmp(&cost(self.get(other))))
            .expect("someone is ready")
    }

    fn heaviest(&self, hash: u64) -> u32 {
        let weight = |&at: &u32| mix(hash, self.get(at).member);
        let heaviest = self.unordered().iter().max_by_key(|at| weight(at));
        *heaviest.expect("someone is ready")
    }
}

/// The rendezvous weight of a member for a hash (splitmix64's finish over both).
pub fn mix(hash: u64, member: u64) -> u64 {
    let mut mixed = hash
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(member.wrapping_add(1).wrapping_mul(0xd1b5_4a32_d192_ed03));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
