//! Requests that find a worker at once: it is theirs before the lock is left.
//!
//! The short way is behind the same lock as the long one, and gives only what that would: a permit of a living worker (P1, P7), to nobody
//! while others wait (P2), and to an owner that is watched (P4).

use super::parcel::{Baggage, Sealed};
use super::state::Inner;
use super::telling::{Effect, Effects, Notice};
use super::tickets::{Kind, MOST, Name, Route, UNTIMED};
use super::workers::Strategy;
use super::{Asked, Asking, Pool, World};
use crate::sync::atomic::Ordering;

// Of requests that find a worker at once, one in so many is timed.
const TIMED_EACH: u64 = 16;

impl<W: World> Pool<W> {
    /// The short way of a check-out about which there is nothing to say, by an owner that is known: its ticket and its worker. With
    /// `None` it has not arrived: it is for [`Self::ask`].
    #[inline]
    pub fn take(
        &self,
        generation: u32,
        owner: u64,
        clock: impl Fn() -> i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Option<(Name, u64)> {
        if self.crowded.load(Ordering::Relaxed) {
            return None;
        }
        let mut inner = self.enter(generation).ok()?;
        let taken = inner.take_plainly(owner, clock, world, effects)?;
        self.look_around(&inner);
        Some(taken)
    }
}

impl<W: World> Inner<W> {
    // What `admit` lets in, where it looks at nothing but who is free.
    #[inline]
    fn take_plainly(
        &mut self,
        owner: u64,
        clock: impl Fn() -> i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Option<(Name, u64)> {
        if !self.config.is_plain() || !self.waiting.is_empty() || self.tickets.len() >= MOST {
            return None;
        }
        let owned = self.owners.find(owner)?;
        let worker = self.pick(Route::default(), &clock, world, effects)?;
        Some(self.give(&Asking::check_out(owner), owned, worker, &mut None, clock))
    }

    /// The request is the worker's at once; its owner sends it.
    #[inline]
    pub fn take(
        &mut self,
        asking: &Asking<'_>,
        owned: u32,
        worker: u32,
        parcel: &mut Option<Baggage<W::Content>>,
        clock: impl Fn() -> i64,
        effects: &mut Effects<W::Content>,
    ) -> Asked {
        let entrusted = match (asking.kind, &*parcel) {
            (Kind::Cast, Some(Baggage::Shared(parcel))) => Some(Sealed::clone(parcel)),
            (_, Some(parcel)) => {
                parcel.is_sent_by_owner();
                None
            }
            (_, None) => None,
        };
        let (ticket, worker) = self.give(asking, owned, worker, parcel, clock);
        if let Some(parcel) = entrusted {
            // It is nobody's from the start (P6): who sends it tells the foreman after that.
            parcel.abandon();
            effects.push(Effect::Entrust {
                parcel,
                unheeded: Notice::unheeded(asking.kind, ticket, worker),
            });
        }
        Asked::Taken { ticket, worker }
    }

    // Most are not timed: to read the clock would cost a fifth of all that is done here.
    #[inline]
    fn give(
        &mut self,
        asking: &Asking<'_>,
        owned: u32,
        worker: u32,
        parcel: &mut Option<Baggage<W::Content>>,
        clock: impl Fn() -> i64,
    ) -> (Name, u64) {
        let always = self.config.strategy == Strategy::PeakEwma || !self.config.quotas.is_empty();
        let timed = always || self.counts.arrived.is_multiple_of(TIMED_EACH);
        let at = self.enter(asking, owned, parcel, if timed { clock() } else { UNTIMED });
        if timed {
            let ticket = self.tickets.get_mut(at);
            (ticket.waited, ticket.stands_for) = (0, if always { 1 } else { TIMED_EACH as u8 });
        }
        self.codel.at_once();
        self.counts.wait.add(0);
        self.use_permit(at, worker);
        (self.tickets.get(at).name, self.workers.get(worker).pid)
    }
}
