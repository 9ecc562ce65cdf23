//! How much room there is for whoever sends, and who is granted credits when there is some.
//!
//! Room is what a sender may add without being refused or making others wait: permits that nobody uses, and as many places in its
//! tenant's share of the queue as the workers clear within `queue_target`, so that what was sent for credits does not
//! stand (the rule of thumb of a window: rate times delay). Loans are RSocket's leases: so many requests, for so long, decided by who
//! serves; and what is wished for waits until it can be granted, as with Reactive Streams' `request(n)`.

use super::credits::{Credits, LoanName};
use super::state::Inner;
use super::telling::{Effect, Effects, Refusal};
use super::{Baggage, Borrowing, Closed, Dealing, Dealt, Parcel, Pool, Sealed, Tally, World};

// So many of those who wish are looked at after a change, and at a tick; each time the next ones.
const AFTER_A_CHANGE: usize = 16;
const AT_A_TICK: usize = 256;

impl<W: World> Pool<W> {
    /// How many requests of a cost a tenant may send now.
    pub fn room(&self, generation: u32, tenant: &[u8], cost: u32, now: i64) -> Result<u64, Closed> {
        let mut inner = self.enter(generation)?;
        inner.credits.lapse(now);
        Ok(inner.room(tenant, cost, now))
    }

    /// Opens a loan without any credits yet; `None` if the owner is dead.
    pub fn borrow(
        &self,
        generation: u32,
        borrowing: &Borrowing<'_>,
        mut watch: impl FnMut() -> Option<W::Handle>,
        content: W::Content,
    ) -> Result<Option<LoanName>, Closed> {
        let parcel = Parcel::seal(content);
        let mut handle = None;
        loop {
            let mut inner = self.enter(generation)?;
            let owned = match (inner.owners.find(borrowing.owner), handle.take()) {
                (Some(owned), _) => owned,
                (None, Some(handle)) => inner.owners.add(borrowing.owner, handle),
                (None, None) => {
                    drop(inner);
                    handle = watch();
                    if handle.is_none() {
                        return Ok(None);
                    }
                    continue;
                }
            };
            return Ok(Some(inner.loan(owned, borrowing, parcel)));
        }
    }

    /// An owner deals with its loan, or whoever sends takes of it.
    #[allow(clippy::too_many_arguments)]
    pub fn deal(
        &self,
        generation: u32,
        loan: LoanName,
        owner: u64,
        dealing: Dealing,
        count: u64,
        now: i64,
        effects: &mut Effects<W::Content>,
    ) -> Result<Dealt, Closed> {
        let mut inner = self.enter(generation)?;
        Ok(match inner.credits.get(loan) {
            None => Dealt::Gone,
            Some(known) if known.owner != owner && dealing != Dealing::Take => Dealt::Foreign,
            Some(_) => Dealt::Count(inner.deal(loan, dealing, count, now, effects)),
        })
    }

    /// What became of all credits since the pool was opened.
    pub fn tally(&self, generation: u32) -> Result<Tally, Closed> {
        Ok(self.enter(generation)?.credits.tally)
    }
}

impl<W: World> Inner<W> {
    /// How many requests a tenant may send now. Credits that are held count as sent: those of others as if they were to take what
    /// is free.
    pub fn room(&self, tenant: &[u8], cost: u32, now: i64) -> u64 {
        if self.config.draining || self.config.over_quota || self.codel.overloaded() {
            return 0;
        }
        let weight = self.config.weight(tenant);
        let (waiting, weights) = self.waiting.standing(tenant, weight);
        let (free, depth) = (self.free_permits(), self.depth());
        let (own, all) = (self.credits.held_of(tenant), self.credits.held());
        let share = (i128::from(depth) * i128::from(weight) / i128::from(weights)) as u64;
        let of_tenant = free.saturating_sub(all - own) + share.saturating_sub(waiting);
        let of_all = (free + depth).saturating_sub(all);
        let left = self
            .buckets
            .passes(&self.config.quotas, tenant, cost, now, (own, all));
        of_tenant.saturating_sub(own).min(of_all).min(left)
    }

    fn free_permits(&self) -> u64 {
        let used = self.counts.ongoing - self.counts.on_leaving - self.workers.ongoing_of_barred();
        self.permits().saturating_sub(used)
    }

    // Of workers that take work.
    fn permits(&self) -> u64 {
        self.workers.serving() as u64 * u64::from(self.config.max_ongoing)
    }

    // How many may wait so that they wait no longer than they are to. While nothing was served yet, one more for each permit.
    fn depth(&self) -> u64 {
        let (permits, hold) = (self.permits(), self.counts.hold());
        let cleared = match self.config.queue_target {
            _ if permits == 0 => 0,
            None => u64::MAX,
            Some(_) if hold <= 0 => permits,
            Some(target) => {
                let cleared = i128::from(permits) * i128::from(target) / i128::from(hold);
                u64::try_from(cleared).unwrap_or(u64::MAX)
            }
        };
        cleared.min(self.config.max_queue as u64)
    }

    /// There may be room: whoever wishes gets of it, in turn.
    #[inline]
    pub fn lend(&mut self, now: i64, effects: &mut Effects<W::Content>) {
        if self.credits.anyone_wishes() {
            self.lend_to(AFTER_A_CHANGE, now, effects);
        }
    }

    /// As `lend`, to more.
    pub fn lend_at_tick(&mut self, now: i64, effects: &mut Effects<W::Content>) {
        self.lend_to(AT_A_TICK, now, effects);
    }

    // Each gets its part of the room first, so that one does not take all; then what others left.
    #[cold]
    fn lend_to(&mut self, most: usize, now: i64, effects: &mut Effects<W::Content>) {
        self.credits.lapse(now);
        let looked_at = most.min(self.credits.wishing()) as u64;
        let (granted, passed) = self.lend_in_turn((1..=looked_at).rev(), now, effects);
        if granted {
            self.credits.put_back(passed);
            let left = most.min(self.credits.wishing());
            let (_, passed) = self.lend_in_turn(std::iter::repeat_n(1, left), now, effects);
            self.credits.put_back(passed);
        } else {
            // There may be room for others, so the next time they are looked at.
            passed.into_iter().for_each(|name| self.credits.line_up(name));
        }
    }

    // Who is granted any goes to the end of the line; whether someone was, and for whom there was no room.
    fn lend_in_turn(
        &mut self,
        sharers: impl Iterator<Item = u64>,
        now: i64,
        effects: &mut Effects<W::Content>,
    ) -> (bool, Vec<LoanName>) {
        let (mut granted, mut passed) = (false, Vec::new());
        for sharers in sharers {
            let Some(name) = self.credits.turn() else { break };
            let count = self.grant(name, sharers, now);
            let Some(loan) = self.credits.get(name).filter(|_| count > 0) else {
                passed.push(name);
                continue;
            };
            effects.push(Effect::Credit {
                owner: loan.owner,
                parcel: Sealed::clone(&loan.parcel),
                count,
            });
            self.credits.line_up(name);
            granted = true;
        }
        (granted, passed)
    }

    fn grant(&mut self, name: LoanName, sharers: u64, now: i64) -> u64 {
        let Some(loan) = self.credits.get(name) else {
            return 0;
        };
        let part = self.room(&loan.tenant, loan.cost, now).div_ceil(sharers);
        let count = part.min(loan.wished);
        if count > 0 {
            self.credits.grant(name, count, now);
        }
        count
    }

    // How many it is granted at once, after those who wished before.
    fn borrow_more(
        &mut self,
        name: LoanName,
        count: u64,
        now: i64,
        effects: &mut Effects<W::Content>,
    ) -> u64 {
        self.lend(now, effects);
        self.credits.wish(name, count);
        let mut granted = 0;
        if self.credits.step_out(name) {
            granted = self.grant(name, 1, now);
            self.credits.line_up(name);
        }
        if self.credits.anyone_wishes() {
            // As of a request that has to wait.
            self.press(effects);
        }
        granted
    }

    pub fn loan(&mut self, owned: u32, borrowing: &Borrowing<'_>, parcel: Sealed<W::Content>) -> LoanName {
        debug_assert!(self.owners.tickets(owned).is_some(), "its death will be heard of");
        let &Borrowing {
            owner,
            tenant,
            cost,
            ttl,
        } = borrowing;
        self.credits.open(owner, tenant, cost, ttl, parcel)
    }

    pub fn deal(
        &mut self,
        name: LoanName,
        dealing: Dealing,
        count: u64,
        now: i64,
        effects: &mut Effects<W::Content>,
    ) -> u64 {
        self.credits.lapse(now);
        match dealing {
            Dealing::Ask => self.borrow_more(name, count, now, effects),
            // What is sent takes the room that was kept for it.
            Dealing::Take => self.credits.take(name, count),
            Dealing::GiveBack => self.and_lend(now, effects, |credits| credits.give_back(name, count)),
            Dealing::Close => self.and_lend(now, effects, |credits| credits.close(name)),
        }
    }

    fn and_lend(
        &mut self,
        now: i64,
        effects: &mut Effects<W::Content>,
        change: impl FnOnce(&mut Credits<W::Content>) -> u64,
    ) -> u64 {
        let count = change(&mut self.credits);
        self.lend(now, effects);
        count
    }

    /// Whoever wishes for credits is told that there will be none.
    pub fn call_in(&mut self, effects: &mut Effects<W::Content>) {
        for loan in self.credits.take_all() {
            if loan.wished > 0 {
                effects.push(Effect::Refuse {
                    owner: loan.owner,
                    parcel: Baggage::Shared(loan.parcel),
                    reason: Refusal::Closed,
                    retry_in: 0,
                });
            }
        }
    }
}
