//! What is told of a pool, in one moment.

use super::state::Inner;
use super::workers::Worker;
use super::{Member, Status, World};

impl<W: World> Inner<W> {
    pub fn status(&self) -> Status {
        let all = || self.workers.iter().map(|(_, worker)| worker);
        let leaving = self.workers.iter().filter(|(_, worker)| worker.leaving).count() as u64;
        let free = |worker: &Worker<_>| u64::from(self.config.max_ongoing.saturating_sub(worker.ongoing));
        let panic = self.workers.in_panic();
        let takes = |worker: &&Worker<_>| !worker.leaving && (panic || !worker.is_aside());
        let count = |of: fn(&Worker<_>) -> bool| all().filter(|worker| of(worker)).count() as u64;
        let cost = self.counts.cost.read().max(0) as u64;
        Status {
            workers: self.workers.len() as u64,
            ready: self.workers.serving() as u64,
            leaving,
            free: all().filter(takes).map(free).sum(),
            ongoing: self.counts.ongoing,
            abandoned: self.counts.abandoned,
            queue: self.waiting.len() as u64,
            tenants: self.waiting.tenants() as u64,
            served: self.counts.served,
            refused: self.counts.refused,
            expired: self.counts.expired,
            cancelled: self.counts.cancelled,
            overloaded: u64::from(self.codel.overloaded()),
            wait: self.counts.wait.read().max(0) as u64,
            hold: self.counts.hold().max(0) as u64,
            arrived: self.counts.arrived,
            over_quota: self.counts.over_quota,
            unlimited: self.counts.unlimited,
            cost,
            let_through: self.buckets.let_through(&self.config.quotas, cost),
            credits: self.credits.held(),
            wishes: self.credits.wishing() as u64,
            ejected: count(|worker| worker.is_ejected() && !worker.leaving),
            not_ready: count(|worker| worker.is_shut() && !worker.leaving),
            growing: count(|worker| worker.growing_since().is_some()),
            panic: u64::from(panic),
            held_back: self.records.held_back,
        }
    }

    /// In order of their numbers.
    pub fn members(&self) -> Vec<Member> {
        let member = |(_, worker): (u32, &Worker<_>)| Member {
            pid: worker.pid,
            member: worker.member,
            leaving: worker.leaving,
            busy: worker.ongoing >= self.config.max_ongoing,
            ejected: worker.is_ejected() && !self.workers.in_panic(),
            shut: worker.is_shut() && !self.workers.in_panic(),
            ongoing: worker.ongoing,
            latency: worker.latency as u64,
            served: worker.served,
        };
        let mut members: Vec<Member> = self.workers.iter().map(member).collect();
        members.sort_unstable_by_key(|member| member.member);
        members
    }

    pub fn bytes(&self) -> usize {
        self.tickets.bytes()
            + self.workers.bytes()
            + self.owners.bytes()
            + self.waiting.bytes()
            + self.buckets.bytes()
            + self.credits.bytes()
            + self.records.bytes()
    }
}
