//! What is told of a pool, in one moment.

use super::state::Inner;
use super::workers::Worker;
use super::{Member, Status, World};

impl<W: World> Inner<W> {
    pub fn status(&self) -> Status {
        let leaving = self.workers.iter().filter(|(_, worker)| worker.leaving).count() as u64;
        let free = |worker: &Worker<_>| u64::from(self.config.max_ongoing.saturating_sub(worker.ongoing));
        let takes = |worker: &&Worker<_>| !worker.leaving;
        let all = || self.workers.iter().map(|(_, worker)| worker);
        let cost = self.counts.cost.read().max(0) as u64;
        Status {
            workers: self.workers.len() as u64,
            ready: self.workers.len() as u64 - leaving,
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
        }
    }

    /// In order of their numbers.
    pub fn members(&self) -> Vec<Member> {
        let member = |(at, worker): (u32, &Worker<_>)| Member {
            pid: worker.pid,
            member: worker.member,
            leaving: worker.leaving,
            busy: !self.workers.is_ready(at),
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
    }
}
