//! What the lock guards, and a request's way in.

use super::codel::Codel;
use super::config::Config;
use super::credits::Credits;
use super::parcel::Baggage;
use super::quota::Buckets;
use super::standing::Records;
use super::telling::{Effect, Effects, Notice, Refusal};
use super::tickets::{Fresh, Kind, MOST, Of, Stage, Tickets};
use super::waiting::Waiting;
use super::workers::Workers;
use super::{Asked, Asking, Measures, OwnersOf, World};

#[derive(Debug)]
pub struct Inner<W: World> {
    pub generation: u32,
    pub config: Config,
    pub workers: Workers<W::Handle>,
    pub tickets: Tickets<W::Content>,
    pub owners: OwnersOf<W>,
    pub waiting: Waiting,
    pub codel: Codel,
    pub buckets: Buckets,
    pub counts: Counts,
    pub credits: Credits<W::Content>,
    pub records: Records,
    pub measures: Measures,
    pressed: bool,
}

/// What happened since the pool was opened.
#[derive(Debug, Default)]
pub struct Counts {
    pub arrived: u64,
    pub served: u64,
    pub refused: u64,
    pub expired: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    pub ongoing: u64,
    /// Of the refused, those that a quota refused, that waited too long under overload, and that came while it drained.
    pub over_quota: u64,
    pub dropped: u64,
    pub drained: u64,
    /// Of the served, those that ended so: by their owner's word, worked off when nobody waited any more, with their worker, and not used.
    pub failed: u64,
    pub given_up: u64,
    pub lost: u64,
    pub returned: u64,
    /// Admitted, while there were quotas, under none of their tenants' own.
    pub unlimited: u64,
    /// Of the ongoing, those of workers that leave.
    pub on_leaving: u64,
    pub wait: Mean,
    hold: Mean,
    /// In thousandths.
    pub cost: Mean,
}

impl Counts {
    /// Nanoseconds.
    pub fn hold(&self) -> i64 {
        self.hold.read()
    }
}

/// A mean of which each new value is a sixteenth, but the first all.
#[derive(Debug, Default)]
pub struct Mean(Option<i64>);

impl Mean {
    #[inline]
    pub fn add(&mut self, value: i64) {
        self.0 = Some(match self.0 {
            Some(mean) => mean + (value - mean) / 16,
            None => value,
        });
    }

    pub fn read(&self) -> i64 {
        self.0.unwrap_or(0)
    }
}

/// What is to become of a request.
#[derive(Debug)]
pub enum Admitted {
    To(u32),
    ToWait,
    Refused { reason: Refusal, retry_in: i64 },
}

const MS: i64 = 1_000_000;

impl<W: World> Inner<W> {
    pub fn new(seed: u64) -> Self {
        let config = Config::default();
        Self {
            generation: 0,
            workers: Workers::new(config.strategy, seed),
            config,
            tickets: Tickets::default(),
            owners: OwnersOf::<W>::default(),
            waiting: Waiting::default(),
            codel: Codel::new(),
            buckets: Buckets::default(),
            counts: Counts::default(),
            credits: Credits::default(),
            records: Records::default(),
            measures: Measures::default(),
            pressed: false,
        }
    }

    // In -------------------------------------------------------------------------------------------------------------

    /// Whether a request may come in, and where to.
    pub fn admit(
        &mut self,
        asking: &Asking<'_>,
        clock: impl Fn() -> i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Admitted {
        if self.config.draining {
            self.counts.drained += 1;
            return self.refuse(Refusal::Draining, 0);
        }
        if self.config.over_quota {
            return self.over_quota(self.config.queue_interval);
        }
        if !self.config.quotas.is_empty() {
            let quotas = &self.config.quotas;
            if let Some(wait) = self.buckets.wait(quotas, asking.tenant, asking.cost, clock()) {
                return self.over_quota(wait);
            }
        }
        if self.waiting.is_empty()
            && self.tickets.len() < MOST
            && let Some(worker) = self.pick(asking.route, &clock, world, effects)
        {
            return Admitted::To(worker);
        }
        let full = self.waiting.len() >= self.config.max_queue;
        if asking.wait <= 0 || self.tickets.len() >= MOST || full && self.outcrowded(asking.tenant).is_none()
        {
            self.press(effects);
            let retry_in = self.patience();
            return self.refuse(Refusal::QueueFull, retry_in);
        }
        Admitted::ToWait
    }

    /// Whether who comes will most likely be let in, to wait.
    pub fn is_crowded(&self) -> bool {
        let full = self.waiting.len() >= self.config.max_queue || self.config.draining;
        let busy = !self.waiting.is_empty() || !self.workers.any_ready();
        busy && !full && self.config.quotas.is_empty()
    }

    fn outcrowded(&self, tenant: &[u8]) -> Option<u32> {
        self.waiting.outcrowded(tenant, self.config.weight(tenant))
    }

    fn over_quota(&mut self, wait: i64) -> Admitted {
        self.counts.over_quota += 1;
        self.refuse(Refusal::Quota, in_ms(wait))
    }

    fn refuse(&mut self, reason: Refusal, retry_in: i64) -> Admitted {
        self.counts.arrived += 1;
        self.counts.refused += 1;
        Admitted::Refused { reason, retry_in }
    }

    // Tells the foreman once between two ticks that there are not workers enough.
    pub fn press(&mut self, effects: &mut Effects<W::Content>) {
        if !std::mem::replace(&mut self.pressed, true) {
            effects.push(Effect::Tell(Notice::Pressed));
        }
    }

    /// How long, in ms, until someone who comes now may hope to be served.
    pub fn patience(&self) -> i64 {
        let permits = self.workers.len() as i64 * i64::from(self.config.max_ongoing);
        if permits == 0 {
            return in_ms(self.config.queue_interval);
        }
        let before = self.waiting.len() as i64 + 1;
        in_ms(self.counts.hold.read().saturating_mul(before) / permits)
    }

    #[inline]
    pub fn enter(
        &mut self,
        asking: &Asking<'_>,
        owned: u32,
        parcel: &mut Option<Baggage<W::Content>>,
        now: i64,
    ) -> u32 {
        self.counts.arrived += 1;
        if !self.config.quotas.is_empty() {
            self.charge(asking, now);
        }
        let at = self.tickets.insert(Fresh {
            kind: asking.kind,
            owner: asking.owner,
            owned,
            since: now,
        });
        // It is some words, which are only moved where there is one.
        if parcel.is_some() {
            self.tickets.get_mut(at).parcel = parcel.take();
        }
        if let Some(chain) = self.owners.tickets(owned) {
            self.tickets.append(chain, Of::Owner, at);
        }
        at
    }

    fn charge(&mut self, asking: &Asking<'_>, now: i64) {
        let quotas = &self.config.quotas;
        self.buckets.charge(quotas, asking.tenant, asking.cost, now);
        let unlimited = !quotas.iter().any(|quota| quota.limits(asking.tenant));
        self.counts.unlimited += u64::from(unlimited);
        self.counts.cost.add(i64::from(asking.cost) * 1_000);
    }

    /// The request waits.
    pub fn queue(
        &mut self,
        asking: &Asking<'_>,
        owned: u32,
        parcel: &mut Option<Baggage<W::Content>>,
        now: i64,
        effects: &mut Effects<W::Content>,
    ) -> Asked {
        self.press(effects);
        if self.waiting.len() >= self.config.max_queue
            && let Some(last) = self.outcrowded(asking.tenant)
        {
            self.counts.refused += 1;
            self.turn_away(last, Refusal::QueueFull, self.patience(), effects);
        }
        let at = self.enter(asking, owned, parcel, now);
        let ticket = self.tickets.get_mut(at);
        ticket.priority = asking.priority;
        ticket.cost = asking.cost;
        ticket.route = asking.route;
        ticket.deadline = now.saturating_add(asking.wait);
        let weight = self.config.weight(asking.tenant);
        self.waiting.push(&mut self.tickets, at, asking.tenant, weight);
        Asked::Queued {
            ticket: self.tickets.get(at).name,
        }
    }

    // Handing over ---------------------------------------------------------------------------------------------------

    /// The ticket, which waited, uses a permit of the worker.
    pub fn hand_over(&mut self, at: u32, worker: u32, now: i64) {
        let ticket = self.tickets.get_mut(at);
        let waited = now.saturating_sub(std::mem::replace(&mut ticket.since, now));
        (ticket.waited, ticket.stands_for) = (waited, 1);
        self.counts.wait.add(waited);
        self.measures.waited(waited);
        let (waiting, tickets) = (&self.waiting, &self.tickets);
        let longest = || waiting.oldest(tickets);
        self.codel
            .handed_over(waited, waiting.tenants(), longest, now, self.config.codel());
        self.use_permit(at, worker);
    }

    #[inline]
    pub fn use_permit(&mut self, at: u32, worker: u32) {
        let holder = self.workers.get_mut(worker);
        holder.ongoing += 1;
        holder.served += 1;
        let full = holder.ongoing >= self.config.max_ongoing;
        let ticket = self.tickets.get_mut(at);
        ticket.worker = worker;
        ticket.stage = match ticket.kind {
            Kind::Call => Stage::Served,
            Kind::Checkout => Stage::Held,
            Kind::Cast => Stage::Abandoned,
        };
        self.counts.abandoned += u64::from(ticket.stage == Stage::Abandoned);
        self.tickets.append(&mut holder.tickets, Of::Worker, at);
        if full {
            self.workers.set_ready(worker, false);
        }
        self.counts.ongoing += 1;
        self.counts.served += 1;
    }

    /// A permit was given back, or a worker came: whoever is next gets it (P2).
    pub fn serve(&mut self, now: i64, world: &W, effects: &mut Effects<W::Content>) {
        self.look_at_the_queue(now);
        while !self.waiting.is_empty() && self.workers.any_ready() {
            let Some(at) = self.next(now, world, effects) else {
                return;
            };
            // Who is dead goes, and the next one is looked at (P7).
            let route = self.tickets.get(at).route;
            let Some(worker) = self.pick(route, || now, world, effects) else {
                return;
            };
            self.waiting.served(&mut self.tickets, at);
            self.hand_over(at, worker, now);
            let worker = self.workers.get(worker).pid;
            let ticket = self.tickets.get_mut(at);
            let (name, owner) = (ticket.name, ticket.owner);
            match ticket.kind {
                // Of a check-out nothing more will be told.
                Kind::Checkout => {
                    if let Some(Baggage::Own(content)) = ticket.parcel.take() {
                        effects.push(Effect::Grant {
                            owner,
                            worker,
                            content,
                        });
                    }
                }
                Kind::Call | Kind::Cast => {
                    if let Some(Baggage::Shared(parcel)) = &ticket.parcel {
                        if ticket.kind == Kind::Cast {
                            // Whoever delivers it tells the foreman.
                            parcel.abandon();
                        }
                        effects.push(Effect::Deliver {
                            worker,
                            parcel: parcel.clone(),
                            unheeded: Notice::unheeded(ticket.kind, name, worker),
                        });
                    }
                }
            }
        }
    }

    /// A permit was given back for what was held so long.
    pub fn measure(&mut self, at: u32, worker: u32, held: i64, now: i64) {
        self.counts.hold.add(held);
        let ticket = self.tickets.get(at);
        if ticket.stage != Stage::Abandoned {
            let took = held.saturating_add(ticket.waited);
            self.measures.took(took, ticket.stands_for);
        }
        let decay_time = self.config.decay_time;
        let worker = self.workers.get_mut(worker);
        worker.measure(held, now, decay_time);
        worker.toll.took(held);
    }

    // Whether it is overloaded is said by the interval that is over.
    fn look_at_the_queue(&mut self, now: i64) {
        if self.codel.is_over(now) {
            let oldest = self.waiting.oldest(&self.tickets);
            let waited = oldest.map(|since| now.saturating_sub(since));
            self.codel.turn(now, waited, self.config.codel());
        }
    }

    pub fn tick(&mut self, now: i64, effects: &mut Effects<W::Content>) {
        self.pressed = false;
        self.look_at_the_queue(now);
        self.buckets.sweep(now);
        for at in self.waiting.all(&self.tickets) {
            self.refuse_if_late(at, now, effects);
        }
        self.lend_at_tick(now, effects);
    }
}

/// Rounded up, and never 0: whoever waits that long and asks again does not spin.
pub fn in_ms(nanoseconds: i64) -> i64 {
    (nanoseconds.saturating_add(MS - 1) / MS).max(1)
}
