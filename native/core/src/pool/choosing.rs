//! Which ticket is next, and which living worker takes it.

use super::World;
use super::state::{Inner, in_ms};
use super::telling::{Effect, Effects, Refusal};
use super::tickets::Route;
use super::waiting::First;

// So many are refused on the way to one that is served; the tick sees to the rest.
const REFUSED_ON_THE_WAY: usize = 8;

impl<W: World> Inner<W> {
    /// A living worker with a permit free. Those found dead are buried (P7).
    #[inline]
    pub fn pick(
        &mut self,
        route: Route,
        clock: impl Fn() -> i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Option<u32> {
        if let Some(worker) = route.worker.and_then(|pid| self.workers.of_pid(pid.get()))
            && self.workers.is_ready(worker)
            && world.alive(self.workers.get(worker).pid)
        {
            return Some(worker);
        }
        loop {
            let worker = self.workers.choose(route.hash, &clock, self.config.decay_time)?;
            if world.alive(self.workers.get(worker).pid) {
                return Some(worker);
            }
            self.bury(worker, effects);
        }
    }

    /// The ticket that is next, by tenant, priority and age; it still stands in line. Those that are too late are refused.
    pub fn next(&mut self, now: i64, world: &W, effects: &mut Effects<W::Content>) -> Option<u32> {
        loop {
            let tenant = self.waiting.turn()?;
            self.refuse_stale(tenant, now, effects);
            if !self.waiting.waits(tenant) {
                continue;
            }
            let first = if self.codel.overloaded() {
                First::Newest
            } else {
                First::Oldest
            };
            let at = self.waiting.next(&self.tickets, tenant, first);
            let owner = self.tickets.get(at).owner;
            if owner != 0 && !world.alive(owner) {
                // Its death will be heard of.
                self.withdraw(at);
            } else if !self.refuse_if_late(at, now, effects) {
                return Some(at);
            }
        }
    }

    // From the oldest end, as under overload it is the newest that is served.
    fn refuse_stale(&mut self, tenant: u32, now: i64, effects: &mut Effects<W::Content>) {
        for _ in 0..REFUSED_ON_THE_WAY {
            if !self.waiting.waits(tenant) {
                return;
            }
            let Some(at) = self.waiting.oldest_of(&self.tickets, tenant) else {
                return;
            };
            if !self.refuse_if_late(at, now, effects) {
                return;
            }
        }
    }

    /// Refuses one that waits too long, by its own deadline or under overload.
    pub fn refuse_if_late(&mut self, at: u32, now: i64, effects: &mut Effects<W::Content>) -> bool {
        let ticket = self.tickets.get(at);
        let waited = now.saturating_sub(ticket.since);
        let (reason, retry_in) = if ticket.deadline < now {
            (Refusal::Deadline, 0)
        } else if self.codel.too_long(waited, self.config.codel()) {
            (Refusal::Overloaded, self.patience().max(in_ms(waited)))
        } else {
            return false;
        };
        match reason {
            Refusal::Deadline => self.counts.expired += 1,
            _ => {
                self.counts.refused += 1;
                self.counts.dropped += 1;
            }
        }
        self.turn_away(at, reason, retry_in, effects);
        true
    }

    /// Ends a ticket that waits, and that nobody is to hear of.
    pub fn withdraw(&mut self, at: u32) {
        self.counts.cancelled += 1;
        self.waiting.remove(&mut self.tickets, at);
        drop(self.end(at));
    }

    /// Ends a ticket that waits, and tells its owner why; a cast has none.
    pub fn turn_away(&mut self, at: u32, reason: Refusal, retry_in: i64, effects: &mut Effects<W::Content>) {
        self.waiting.remove(&mut self.tickets, at);
        if let (owner, Some(parcel)) = self.end(at) {
            effects.push(Effect::Refuse {
                owner,
                parcel,
                reason,
                retry_in,
            });
        }
    }
}
