//! How tickets end: given back, cancelled, answered, and with the deaths of owners and workers.

use super::parcel::Baggage;
use super::state::Inner;
use super::telling::{Effect, Effects, Notice};
use super::tickets::{Kind, NONE, Name, Of, Stage, UNTIMED};
use super::workers::Aside;
use super::{Cancelled, Joined, Outcome, Replied, Returned, World};

impl<W: World> Inner<W> {
    // Tickets --------------------------------------------------------------------------------------------------------

    /// Takes a ticket, which neither waits nor has a worker, out of its owner's chain and out of the world: whose it was,
    /// and what was kept of it.
    pub fn end(&mut self, at: u32) -> (u64, Option<Baggage<W::Content>>) {
        let parcel = self.tickets.get_mut(at).parcel.take();
        (self.forget(at), parcel)
    }

    #[inline]
    fn forget(&mut self, at: u32) -> u64 {
        let owned = self.tickets.get(at).owned;
        if let Some(chain) = self.owners.tickets(owned) {
            self.tickets.unchain(chain, Of::Owner, at);
        }
        self.tickets.remove(at)
    }

    // The permit is free again. A leaving worker with nothing left goes.
    #[inline]
    fn release(&mut self, at: u32, effects: &mut Effects<W::Content>) {
        let (worker, stage) = {
            let ticket = self.tickets.get(at);
            (ticket.worker, ticket.stage)
        };
        self.uncount(stage);
        self.tickets
            .unchain(&mut self.workers.get_mut(worker).tickets, Of::Worker, at);
        let holder = self.workers.get_mut(worker);
        holder.ongoing -= 1;
        let ready = !holder.leaving && holder.ongoing < self.config.max_ongoing;
        self.counts.on_leaving -= u64::from(holder.leaving);
        self.workers.set_ready(worker, ready);
        self.let_go(worker, effects);
    }

    #[inline]
    fn uncount(&mut self, stage: Stage) {
        self.counts.ongoing -= 1;
        if stage == Stage::Abandoned {
            self.counts.abandoned -= 1;
        }
    }

    #[inline]
    fn let_go(&mut self, worker: u32, effects: &mut Effects<W::Content>) {
        let gone = self.workers.get(worker);
        if gone.leaving && gone.ongoing == 0 {
            let pid = self.workers.remove(worker).pid;
            effects.push(Effect::Tell(Notice::Left { worker: pid }));
        }
    }

    // Its owner does not wait for it any more, but the worker may be busy with it (P5).
    pub fn abandon(&mut self, at: u32, effects: &mut Effects<W::Content>) {
        let ticket = self.tickets.get_mut(at);
        ticket.owner = 0;
        let owned = std::mem::replace(&mut ticket.owned, NONE);
        if let Some(chain) = self.owners.tickets(owned) {
            self.tickets.unchain(chain, Of::Owner, at);
        }
        self.counts.abandoned += 1;
        let ticket = self.tickets.get_mut(at);
        ticket.stage = Stage::Abandoned;
        // P6: who delivers it tells the foreman, unless that was before. A check-out has nothing to deliver.
        let sent = match (&ticket.parcel, ticket.kind) {
            (Some(parcel), Kind::Call) => parcel.abandon(),
            _ => true,
        };
        if sent {
            let (ticket, worker) = (ticket.name, ticket.worker);
            let worker = self.workers.get(worker).pid;
            effects.push(Effect::Tell(Notice::Abandoned { ticket, worker }));
        }
    }

    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub fn give_back(
        &mut self,
        name: Name,
        owner: u64,
        outcome: Outcome,
        clock: impl Fn() -> i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Returned {
        let Some(at) = self.tickets.find(name) else {
            return Returned::Gone;
        };
        let ticket = self.tickets.get(at);
        match ticket.stage {
            Stage::Abandoned => return Returned::Gone,
            Stage::Served | Stage::Held if ticket.owner == owner => {}
            // Of one that waits nothing was given that could come back.
            _ => return Returned::Foreign,
        }
        match outcome {
            Outcome::Ok => self.finish(at, clock, world, effects),
            Outcome::Error => {
                self.failed(ticket.worker, clock(), effects);
                self.counts.failed += 1;
                self.count_otherwise(at);
                self.finish(at, clock, world, effects);
            }
            Outcome::Abandoned => self.give_up(at, clock(), world, effects),
        }
        Returned::Done
    }

    // The worker is done with it, and whoever is next gets the permit. The clock is only read where that matters.
    #[inline]
    fn finish(&mut self, at: u32, clock: impl Fn() -> i64, world: &W, effects: &mut Effects<W::Content>) {
        let ticket = self.tickets.get(at);
        let (worker, since) = (ticket.worker, ticket.since);
        if since == UNTIMED && self.waiting.is_empty() && !self.credits.anyone_wishes() {
            self.settle(at, effects);
            return;
        }
        let now = clock();
        if since != UNTIMED {
            self.measure(at, worker, now.saturating_sub(since), now);
        }
        self.settle(at, effects);
        self.serve(now, world, effects);
        self.lend(now, effects);
    }

    // Of a check-out nothing was kept, and then nothing is moved.
    #[inline]
    fn settle(&mut self, at: u32, effects: &mut Effects<W::Content>) {
        self.release(at, effects);
        let ticket = self.tickets.get_mut(at);
        if ticket.parcel.is_some() {
            effects.discard(ticket.parcel.take());
        }
        self.forget(at);
    }

    pub fn reply(
        &mut self,
        worker: u64,
        is: impl Fn(&W::Content) -> bool,
        clock: impl Fn() -> i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Replied {
        let Some(at) = self.workers.of_pid(worker).and_then(|at| self.call_at(at, is)) else {
            return Replied::None;
        };
        let ticket = self.tickets.get(at);
        // What was given up is the foreman's: it may be about to replace the worker, and nobody else is to be hit by that.
        if ticket.stage == Stage::Abandoned {
            return Replied::Late;
        }
        let owner = ticket.owner;
        self.finish(at, clock, world, effects);
        Replied::To(owner)
    }

    // The call of this content, among those that a worker has.
    fn call_at(&self, worker: u32, is: impl Fn(&W::Content) -> bool) -> Option<u32> {
        let mut own = self.tickets.walk(self.workers.get(worker).tickets, Of::Worker);
        own.find(|&at| {
            let ticket = self.tickets.get(at);
            let content = ticket.parcel.as_ref().map(Baggage::content);
            ticket.kind == Kind::Call && content.is_some_and(&is)
        })
    }

    pub fn cancel(
        &mut self,
        name: Name,
        owner: u64,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Cancelled {
        let Some(at) = self.tickets.find(name) else {
            return Cancelled::Gone;
        };
        let ticket = self.tickets.get(at);
        match ticket.stage {
            Stage::Abandoned | Stage::Free => Cancelled::Gone,
            _ if ticket.owner != owner => Cancelled::Foreign,
            Stage::Waiting => {
                self.withdraw(at);
                Cancelled::Withdrawn
            }
            Stage::Served => {
                self.give_up(at, now, world, effects);
                Cancelled::Abandoned
            }
            Stage::Held => {
                self.count_otherwise(at);
                self.counts.returned += 1;
                self.release(at, effects);
                drop(self.end(at));
                self.serve(now, world, effects);
                Cancelled::Returned
            }
        }
    }

    pub fn answered(&mut self, name: Name, now: i64, world: &W, effects: &mut Effects<W::Content>) -> bool {
        let Some(at) = self.tickets.find(name) else {
            return false;
        };
        let ticket = self.tickets.get(at);
        if ticket.stage != Stage::Abandoned {
            return false;
        }
        self.counts.given_up += u64::from(ticket.kind != Kind::Cast);
        self.count_otherwise(at);
        self.finish(at, || now, world, effects);
        true
    }

    pub fn owner_died(&mut self, pid: u64, effects: &mut Effects<W::Content>) -> Option<W::Handle> {
        let owned = self.owners.find(pid)?;
        let chain = self.owners.tickets(owned).copied()?;
        let tickets: Vec<u32> = self.tickets.walk(chain, Of::Owner).collect();
        for at in tickets {
            match self.tickets.get(at).stage {
                Stage::Waiting => self.withdraw(at),
                _ => self.abandon(at, effects),
            }
        }
        self.credits.close_all_of(pid);
        self.owners.remove(pid)
    }

    // Workers --------------------------------------------------------------------------------------------------------

    pub fn join(
        &mut self,
        pid: u64,
        member: u64,
        handle: W::Handle,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Joined {
        if !world.alive(pid) {
            return Joined::Dead;
        }
        let known = self.workers.of_pid(pid);
        if let Some(at) = known.filter(|&at| !self.workers.get(at).leaving) {
            self.put_aside(at, Aside::Shut, false, effects);
            self.serve_if_any(now, world, effects);
            return Joined::Done;
        }
        let number = known.map_or(member, |at| self.workers.get(at).member);
        if let Some(by) = self.clear_place(number, known, world, effects) {
            return Joined::Taken(by);
        }
        match known {
            Some(at) => self.stay(at),
            None => {
                let at = self.workers.add(pid, member, handle);
                self.workers.set_ready(at, true);
                self.inherit(at, now, effects);
            }
        }
        self.feel(effects);
        self.serve(now, world, effects);
        Joined::Done
    }

    // Who else has a member's place and keeps it. Who leaves gives it up.
    fn clear_place(
        &mut self,
        member: u64,
        heir: Option<u32>,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Option<u64> {
        let holder = self.workers.of_member(member).filter(|&at| Some(at) != heir)?;
        let (pid, leaving) = {
            let worker = self.workers.get(holder);
            (worker.pid, worker.leaving)
        };
        if !world.alive(pid) {
            self.bury(holder, effects);
            return None;
        }
        (!leaving).then_some(pid)
    }

    // It was leaving, and is wanted again.
    fn stay(&mut self, at: u32) {
        self.workers.reclaim(at);
        self.workers.set_leaving(at, false);
        let ongoing = self.workers.get(at).ongoing;
        self.counts.on_leaving -= u64::from(ongoing);
        self.workers.set_ready(at, ongoing < self.config.max_ongoing);
    }

    pub fn leave(&mut self, pid: u64, effects: &mut Effects<W::Content>) -> bool {
        let Some(worker) = self.workers.of_pid(pid) else {
            return false;
        };
        self.forgive(worker);
        if self.workers.set_leaving(worker, true) {
            self.counts.on_leaving += u64::from(self.workers.get(worker).ongoing);
        }
        self.workers.set_ready(worker, false);
        self.feel(effects);
        self.let_go(worker, effects);
        true
    }

    /// A dead worker: its tickets end with it (P4).
    pub fn bury(&mut self, worker: u32, effects: &mut Effects<W::Content>) {
        let dead = self.workers.get(worker);
        self.counts.on_leaving -= u64::from(dead.ongoing) * u64::from(dead.leaving);
        let tickets: Vec<u32> = self.tickets.walk(dead.tickets, Of::Worker).collect();
        let waited_for = |&&at: &&u32| self.tickets.get(at).stage != Stage::Abandoned;
        let failures = tickets.iter().filter(waited_for).count();
        self.bequeath(worker, failures as u32);
        self.counts.lost += tickets.len() as u64;
        for at in tickets {
            let stage = self.tickets.get(at).stage;
            self.uncount(stage);
            if let (owner, Some(parcel)) = self.end(at)
                && stage == Stage::Served
            {
                effects.push(Effect::Lost { owner, parcel });
            }
        }
        let pid = self.workers.remove(worker).pid;
        effects.push(Effect::Tell(Notice::Down { worker: pid }));
        self.feel(effects);
    }
}
