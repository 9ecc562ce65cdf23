//! Who is out of service, for how long and why: ejected by what its requests came to, or by hand; not ready by a probe; and the
//! panic in which all of that is ignored.
//!
//! What is held against a worker is held against its member, so a successor inherits it, as a host does in Envoy that was started
//! again; but who was told to leave is forgotten.
//!
//! E1. Who is out is given nothing new, but in a panic; what it has it finishes.
//! E2. No more are ejected by what was counted than `max_ejection_percent` of those that stay, but one may be where there are two.
//! E3. There is a panic when, and only when, fewer than `panic_threshold` percent of those that stay, being two at least, are in.

mod records;

use super::ejection::{self, Cause, Ejecting, Interval, Toll};
use super::state::Inner;
use super::telling::{Effect, Effects, Notice};
use super::workers::Aside;
use super::{Closed, Ejection, Pool, World};
pub use records::{FOREVER, Out, Records};

use records::Record;

impl<W: World> Pool<W> {
    /// A probe says that a worker is not ready: it is given nothing new until it joins again. `false` if it is none.
    pub fn shut(
        &self,
        generation: u32,
        pid: u64,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<bool, Closed> {
        let mut inner = self.enter(generation)?;
        let Some(at) = inner.workers.of_pid(pid) else {
            return Ok(false);
        };
        inner.put_aside(at, Aside::Shut, true, effects);
        inner.serve_if_any(now, world, effects);
        Ok(true)
    }

    /// Ejects a worker by hand, for so long or (`None`) until it is readmitted. `false` if there is none of that number.
    pub fn eject(
        &self,
        generation: u32,
        member: u64,
        length: Option<i64>,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<bool, Closed> {
        let mut inner = self.enter(generation)?;
        let found = inner.workers.of_member(member);
        let Some(at) = found.filter(|&at| !inner.workers.get(at).leaving) else {
            return Ok(false);
        };
        let until = length.map_or(FOREVER, |length| now.saturating_add(length));
        inner.put_out(at, Cause::ByHand, until, true, now, effects);
        inner.serve_if_any(now, world, effects);
        Ok(true)
    }

    /// Lets an ejected worker in again; `false` if it is not ejected.
    pub fn readmit(
        &self,
        generation: u32,
        member: u64,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<bool, Closed> {
        let mut inner = self.enter(generation)?;
        let known = inner.let_in(member, now, effects);
        inner.serve_if_any(now, world, effects);
        Ok(known)
    }

    /// Who is ejected or was lately, and whose share grows, in order of number.
    pub fn ejections(&self, generation: u32, now: i64) -> Result<Vec<Ejection>, Closed> {
        Ok(self.enter(generation)?.ejections(now))
    }
}

impl<W: World> Inner<W> {
    // What requests came to ----------------------------------------------------------------------------------------------

    /// A request of a worker failed. Others may have come to take work by that, so whoever waits is to be served after it.
    pub fn failed(&mut self, at: u32, now: i64, effects: &mut Effects<W::Content>) {
        let worker = self.workers.get_mut(at);
        let successes = worker.successes();
        worker.toll.failed(successes);
        self.judge_row(at, now, effects);
    }

    /// A request ends, and not well: it failed before, or that nobody can tell.
    pub fn count_otherwise(&mut self, at: u32) {
        let worker = self.tickets.get(at).worker;
        self.workers.get_mut(worker).toll.others += 1;
    }

    /// An owner does not wait for a request any more that a worker has: to it, that failed.
    pub fn give_up(&mut self, at: u32, now: i64, world: &W, effects: &mut Effects<W::Content>) {
        let worker = self.tickets.get(at).worker;
        self.abandon(at, effects);
        self.failed(worker, now, effects);
        self.serve_if_any(now, world, effects);
    }

    // Whether it failed too often in a row.
    fn judge_row(&mut self, at: u32, now: i64, effects: &mut Effects<W::Content>) {
        let worker = self.workers.get(at);
        let count = worker.toll.row(worker.successes());
        let most = self.config.ejection.map_or(0, |rules| rules.consecutive_failures);
        if most > 0 && count >= most {
            self.put_out_by(at, Cause::ConsecutiveFailures { count }, now, effects);
        }
    }

    /// A worker dies with so many requests; what it leaves behind its successor has.
    pub fn bequeath(&mut self, at: u32, failures: u32) {
        if self.config.ejection.is_some() && !self.workers.get(at).leaving {
            let worker = self.workers.get(at);
            let row = worker.toll.row(worker.successes()).saturating_add(failures);
            self.records.left_behind.insert(worker.member, (row, 0));
        }
    }

    /// A worker has come: what is held against its member is held against it.
    pub fn inherit(&mut self, at: u32, now: i64, effects: &mut Effects<W::Content>) {
        let member = self.workers.get(at).member;
        if self.config.slow_start.is_some_and(|rule| rule.fresh) {
            self.workers.grow(at, now);
        }
        if let Some((row, _)) = self.records.left_behind.remove(&member) {
            self.workers.get_mut(at).toll.inherit(row, 0);
        }
        match self.records.out(member) {
            Some(out) => self.put_aside(at, Aside::Ejected, out.enforced, effects),
            None => self.judge_row(at, now, effects),
        }
    }

    /// Nothing is held against who was told to leave.
    pub fn forgive(&mut self, at: u32) {
        let member = self.workers.get(at).member;
        self.records.forget(member);
        self.workers.set_aside(at, Aside::Ejected, false);
        self.workers.set_aside(at, Aside::Shut, false);
    }

    // Time ---------------------------------------------------------------------------------------------------------------

    /// Lets in whose time is over, and judges when an interval is over.
    pub fn review(&mut self, now: i64, world: &W, effects: &mut Effects<W::Content>) {
        let over = |record: &Record| record.out.is_some_and(|out| out.until <= now);
        let due: Vec<u64> = self
            .records
            .of
            .iter()
            .filter(|(_, record)| over(record))
            .map(|(&member, _)| member)
            .collect();
        for member in due {
            self.let_in(member, now, effects);
        }
        self.workers.ripen(now);
        if let Some(rules) = self.config.ejection
            && now.saturating_sub(self.records.swept) >= rules.interval
        {
            self.sweep(&rules, now, effects);
        }
        self.serve_if_any(now, world, effects);
    }

    fn sweep(&mut self, rules: &Ejecting, now: i64, effects: &mut Effects<W::Content>) {
        let before = std::mem::replace(&mut self.records.swept, now);
        self.records.forgive(before);
        let tolls = self.tolls();
        for (at, cause) in ejection::by_success_rate(rules, &tolls) {
            self.put_out_by(at, cause, now, effects);
        }
        // Who gets which key is no chance, so neither is how long it takes.
        if self.config.strategy != super::Strategy::Hash {
            for (at, cause) in ejection::by_latency(rules, &tolls) {
                self.put_out_by(at, cause, now, effects);
            }
        }
        self.workers.each_toll(Toll::begin);
    }

    // Of those that are in, in order of number.
    fn tolls(&self) -> Vec<(u32, Interval)> {
        let staying = self.workers.iter().filter(|(_, worker)| !worker.leaving);
        let mut tolls: Vec<(u64, u32, Interval)> = staying
            .filter(|(_, worker)| self.records.out(worker.member).is_none())
            .map(|(at, worker)| (worker.member, at, worker.toll.interval(worker.successes())))
            .collect();
        tolls.sort_unstable_by_key(|&(member, ..)| member);
        tolls.into_iter().map(|(_, at, toll)| (at, toll)).collect()
    }

    // Out and in ---------------------------------------------------------------------------------------------------------

    // By what was counted, if not too many are out (E2).
    fn put_out_by(&mut self, at: u32, cause: Cause, now: i64, effects: &mut Effects<W::Content>) {
        let Some(rules) = self.config.ejection else {
            return;
        };
        let (member, leaving) = {
            let worker = self.workers.get(at);
            (worker.member, worker.leaving)
        };
        if leaving || self.records.out(member).is_some() {
            return;
        }
        if self.records.count() >= rules.most(self.workers.taking()) {
            self.records.held_back += 1;
            return;
        }
        let times = self.records.of.get(&member).map_or(0, |record| record.times) + 1;
        let jitter = self.workers.jitter(rules.max_ejection_time_jitter);
        let until = now.saturating_add(rules.length(times)).saturating_add(jitter);
        self.put_out(at, cause, until, rules.enforced, now, effects);
        if let Some(record) = self.records.of.get_mut(&member) {
            record.times = times;
        }
    }

    fn put_out(
        &mut self,
        at: u32,
        cause: Cause,
        until: i64,
        enforced: bool,
        now: i64,
        effects: &mut Effects<W::Content>,
    ) {
        let (worker, member) = {
            let worker = self.workers.get(at);
            (worker.pid, worker.member)
        };
        let times = self.records.of.get(&member).map_or(0, |record| record.times);
        let out = Some(Out { until, enforced });
        let record = Record {
            times,
            cause,
            since: now,
            out,
        };
        self.records.of.insert(member, record);
        self.workers.is_grown(at);
        effects.push(Effect::Tell(Notice::Ejected { worker, member }));
        self.put_aside(at, Aside::Ejected, enforced, effects);
    }

    // Whether it was out.
    fn let_in(&mut self, member: u64, now: i64, effects: &mut Effects<W::Content>) -> bool {
        let Some(record) = self.records.of.get_mut(&member) else {
            return false;
        };
        let Some(out) = record.out.take() else {
            return false;
        };
        record.since = now;
        effects.push(Effect::Tell(Notice::Returned { member }));
        let staying = self.workers.of_member(member);
        if let Some(at) = staying.filter(|&at| !self.workers.get(at).leaving) {
            let worker = self.workers.get_mut(at);
            let successes = worker.successes();
            worker.toll.forget(successes);
            if out.enforced {
                self.workers.grow(at, now);
            }
            self.put_aside(at, Aside::Ejected, false, effects);
        }
        true
    }

    /// Sets a worker aside for a reason, or not any more.
    pub fn put_aside(&mut self, at: u32, why: Aside, aside: bool, effects: &mut Effects<W::Content>) {
        self.workers.set_aside(at, why, aside);
        self.say_ready(at);
        self.feel(effects);
    }

    // Panic --------------------------------------------------------------------------------------------------------------

    /// Looks whether there is a panic (E3), after any change of who stays and who is aside.
    pub fn feel(&mut self, effects: &mut Effects<W::Content>) {
        let (healthy, staying) = (self.workers.healthy(), self.workers.taking());
        let threshold = self.config.panic_threshold as usize;
        let panic = staying > 1 && healthy * 100 < threshold * staying;
        if panic == self.workers.in_panic() {
            return;
        }
        self.workers.set_panic(panic);
        let aside = self.workers.iter().filter(|(_, worker)| worker.is_aside());
        let aside: Vec<u32> = aside.map(|(at, _)| at).collect();
        aside.into_iter().for_each(|at| self.say_ready(at));
        effects.push(Effect::Tell(Notice::Panic { entered: panic }));
    }

    /// Says of a worker whether it can be given work.
    pub fn say_ready(&mut self, at: u32) {
        let worker = self.workers.get(at);
        let ready = !worker.leaving && worker.ongoing < self.config.max_ongoing;
        self.workers.set_ready(at, ready);
    }

    /// Whoever waits is served by who came to take work meanwhile (P2).
    pub fn serve_if_any(&mut self, now: i64, world: &W, effects: &mut Effects<W::Content>) {
        if !self.waiting.is_empty() && self.workers.any_ready() {
            self.serve(now, world, effects);
        }
        self.lend(now, effects);
    }

    // Configuration ------------------------------------------------------------------------------------------------------

    /// Other rules: who was ejected by ones that do not hold any more is let in.
    pub fn judge_anew(&mut self, before: Option<Ejecting>, now: i64, effects: &mut Effects<W::Content>) {
        let enforced = |rules: Option<Ejecting>| rules.map(|rules| rules.enforced);
        self.workers.set_slow_start(self.config.slow_start);
        if enforced(before) != enforced(self.config.ejection) {
            self.records.begin(now);
            self.workers.each_toll(Toll::forget);
            self.records.left_behind.clear();
            let judged = |record: &Record| record.out.is_some() && record.cause != Cause::ByHand;
            let all: Vec<u64> = self
                .records
                .of
                .iter()
                .filter(|(_, record)| judged(record))
                .map(|(&member, _)| member)
                .collect();
            for member in all {
                self.let_in(member, now, effects);
            }
        }
        self.feel(effects);
    }
}
