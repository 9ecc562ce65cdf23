//! What is told of a pool, in one moment.

use super::standing::{FOREVER, Out};
use super::state::Inner;
use super::telling::Notice;
use super::tickets::{Kind, Stage};
use super::workers::Worker;
use super::{Ejection, Member, Standing, Status, World};

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
            succeeded: self.succeeded(),
            failed: self.counts.failed,
            given_up: self.counts.given_up,
            lost: self.counts.lost,
            returned: self.counts.returned,
            dropped: self.counts.dropped,
            drained: self.counts.drained,
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

    // Of those that workers were given, the ones that ended in no other way: so a success has nothing to count.
    fn succeeded(&self) -> u64 {
        let counts = &self.counts;
        let otherwise = counts.failed + counts.given_up + counts.lost + counts.returned;
        counts.served - counts.ongoing - otherwise
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
            + self.measures.bytes()
    }

    /// Abandoned tickets whose request was sent.
    pub fn unheeded(&self) -> Vec<Notice> {
        self.tickets
            .iter()
            .filter(|ticket| ticket.stage == Stage::Abandoned)
            .filter(|ticket| {
                ticket.kind == Kind::Checkout || ticket.parcel.as_ref().is_none_or(|parcel| parcel.was_sent())
            })
            .map(|ticket| Notice::unheeded(ticket.kind, ticket.name, self.workers.get(ticket.worker).pid))
            .collect()
    }

    /// In order of number.
    pub fn ejections(&self, now: i64) -> Vec<Ejection> {
        let recorded = self.records.of.iter().map(|(&member, record)| Ejection {
            member,
            standing: self.standing(member, record.out),
            cause: Some(record.cause),
            since: now.saturating_sub(record.since),
            left: record.out.map(|out| match out.until {
                FOREVER => FOREVER,
                until => until.saturating_sub(now).max(0),
            }),
            times: record.times,
            percent: self.percent(member, now),
        });
        let mut all: Vec<Ejection> = recorded.collect();
        let known = |member: u64| self.records.of.contains_key(&member);
        all.extend(self.workers.iter().filter_map(|(_, worker)| {
            let since = worker.growing_since().filter(|_| !known(worker.member))?;
            Some(Ejection {
                member: worker.member,
                standing: Standing::Growing,
                cause: None,
                since: now.saturating_sub(since),
                left: None,
                times: 0,
                percent: self.percent(worker.member, now),
            })
        }));
        all.sort_unstable_by_key(|ejection| ejection.member);
        all
    }

    fn standing(&self, member: u64, out: Option<Out>) -> Standing {
        let growing = |at| self.workers.get(at).growing_since().is_some();
        match out {
            Some(Out { enforced: true, .. }) => Standing::Ejected,
            Some(_) => Standing::Observed,
            None if self.workers.of_member(member).is_some_and(growing) => Standing::Growing,
            None => Standing::In,
        }
    }

    fn percent(&self, member: u64, now: i64) -> u32 {
        let part = self
            .workers
            .of_member(member)
            .map(|at| self.workers.part(at, now));
        (part.unwrap_or(1.0) * 100.0) as u32
    }
}
