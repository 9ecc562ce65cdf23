//! A pool: which worker may take a request now, and who is next when none may.
//!
//! A permit is a worker's readiness for one request; each worker has so many as the pool's `max_ongoing` says. A request is a
//! ticket from its arrival to its end. All is behind one short lock; what is to be sent is put among the effects, for the
//! caller to carry out after it.
//!
//! P1. A ticket that is served, held or abandoned uses exactly one permit of one worker; one that waits uses none.
//! P2. Nobody waits while a permit is free of a worker that is given work (`standing`).
//! P3. A ticket ends once: what comes under its name after that finds nothing.
//! P4. An owner's death ends or abandons all its tickets; a worker's death ends all that it has.
//! P5. A worker that may still be busy with an abandoned ticket is not given its permit again before someone says that it has
//!     answered, or it died.
//! P6. Nobody asks a worker whether it has answered before the request was sent to it (`parcel`).
//! P7. No request is handed to a worker that is dead at that moment.
//! P8. A call is answered once: by its worker, which ends it as it does so, or by a message that its owner checks in. Who gave it
//!     up before the worker ended it gets no answer of it, and who did so after gets that. What was given up its worker ends not (P5).

mod answers;
mod audit;
mod choosing;
mod codel;
mod config;
mod credits;
mod ejection;
mod ending;
mod lending;
mod looking;
mod measures;
mod opening;
mod owners;
mod parcel;
mod quota;
mod random;
mod standing;
mod state;
mod taking;
mod telling;
mod tickets;
mod waiting;
mod workers;

use std::fmt;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};

pub use answers::{
    Asked, Asking, Borrowing, Cancelled, Dealing, Dealt, Ejection, Joined, Member, Outcome, Replied,
    Returned, Standing, Status,
};
pub use config::{Config, Strategy};
pub use credits::{LoanName, Tally};
pub use ejection::{Cause, Ejecting};
pub use measures::Measures;
pub use parcel::{Baggage, Parcel, Sealed};
pub use quota::{Quota, Tenant, What, Who};
pub use standing::FOREVER;
pub use telling::{Effect, Effects, Notice, Refusal};
pub use tickets::{Kind, Name, Route, Stage};
pub use workers::SlowStart;

use owners::Owners;
use state::{Admitted, Inner};

/// The generation is not the one that the pool is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// What a pool needs to know of processes, and what it keeps of requests.
pub trait World {
    /// What comes along with a request.
    type Content: fmt::Debug;
    /// What is kept of a watched process; dropped when it is not watched any more.
    type Handle: fmt::Debug;

    fn alive(&self, pid: u64) -> bool;
}

#[derive(Debug)]
pub struct Pool<W: World> {
    inner: Mutex<Inner<W>>,
    // Whether who comes now will have to wait, as far as the last one saw. A hint, by which a request is packed once, before the
    // lock; nothing is wrong if it is.
    crowded: AtomicBool,
}

impl<W: World> Pool<W> {
    pub fn new(seed: u64) -> Self {
        Self {
            inner: Mutex::new(Inner::new(seed)),
            crowded: AtomicBool::new(false),
        }
    }

    /// Opens for a generation that was never used, or changes the configuration of the one that is open.
    pub fn open(
        &self,
        generation: u32,
        config: Config,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) {
        let mut inner = self.inner.lock();
        inner.configure(generation, config, now, world, effects);
        inner.lend(now, effects);
    }

    /// Ends everything; gives back what was kept of processes.
    pub fn close(&self, generation: u32, effects: &mut Effects<W::Content>) -> Vec<W::Handle> {
        self.enter(generation)
            .map_or_else(|Closed| Vec::new(), |mut inner| inner.close(effects))
    }

    // Members --------------------------------------------------------------------------------------------------------

    /// A worker takes work from now on. `handle` watches it.
    #[allow(clippy::too_many_arguments)]
    pub fn join(
        &self,
        generation: u32,
        pid: u64,
        member: u64,
        handle: W::Handle,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<Joined, Closed> {
        let mut inner = self.enter(generation)?;
        let joined = inner.join(pid, member, handle, now, world, effects);
        if joined == Joined::Done {
            inner.lend(now, effects);
        }
        Ok(joined)
    }

    /// No new work for a worker; `false` if it is none.
    pub fn leave(
        &self,
        generation: u32,
        pid: u64,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<bool, Closed> {
        let mut inner = self.enter(generation)?;
        let known = inner.leave(pid, effects);
        inner.serve_if_any(now, world, effects);
        Ok(known)
    }

    /// A worker died.
    pub fn worker_died(
        &self,
        generation: u32,
        pid: u64,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<(), Closed> {
        let mut inner = self.enter(generation)?;
        if let Some(worker) = inner.workers.of_pid(pid) {
            inner.bury(worker, effects);
            inner.serve(now, world, effects);
        }
        Ok(())
    }

    // Requests -------------------------------------------------------------------------------------------------------

    /// A request arrives. `watch` starts to watch an owner that is not known yet, and is called outside the lock, as is `pack`,
    /// which makes what is kept of the request: for one that waits, with the request itself. The clock is only read where it
    /// matters.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub fn ask(
        &self,
        generation: u32,
        asking: &Asking<'_>,
        clock: impl Fn() -> i64,
        world: &W,
        mut watch: impl FnMut() -> Option<W::Handle>,
        mut pack: impl FnMut(bool) -> Option<W::Content>,
        effects: &mut Effects<W::Content>,
    ) -> Result<Asked, Closed> {
        let mut packed_to_wait = asking.wait > 0 && self.crowded.load(Ordering::Relaxed);
        // A call's owner is told when its worker dies, and a cast's foreman when it was sent, so something is kept of both.
        let mut pack = |to_wait| {
            let content = pack(to_wait)?;
            let shared = asking.kind == Kind::Cast || to_wait && asking.kind == Kind::Call;
            Some(if shared {
                Baggage::Shared(Parcel::seal(content))
            } else {
                Baggage::Own(content)
            })
        };
        let mut parcel = if packed_to_wait || asking.kind != Kind::Checkout {
            pack(packed_to_wait)
        } else {
            None
        };
        let mut handle = None;
        loop {
            let mut inner = self.enter(generation)?;
            let owned = match (inner.owners.find(asking.owner), handle.take()) {
                (Some(owned), _) => owned,
                (None, Some(handle)) => inner.owners.add(asking.owner, handle),
                (None, None) => {
                    drop(inner);
                    handle = watch();
                    if handle.is_none() {
                        return Ok(Asked::NoOwner);
                    }
                    continue;
                }
            };
            match inner.admit(asking, &clock, world, effects) {
                Admitted::Refused { reason, retry_in } => return Ok(Asked::Refused { reason, retry_in }),
                Admitted::To(worker) => {
                    let mut nothing = None;
                    let kept = match asking.kind {
                        Kind::Checkout => &mut nothing,
                        Kind::Call | Kind::Cast => &mut parcel,
                    };
                    let taken = inner.take(asking, owned, worker, kept, &clock, effects);
                    self.look_around(&inner);
                    return Ok(taken);
                }
                Admitted::ToWait if packed_to_wait => {
                    let queued = inner.queue(asking, owned, &mut parcel, clock(), effects);
                    self.look_around(&inner);
                    return Ok(queued);
                }
                Admitted::ToWait => {
                    drop(inner);
                    parcel = pack(true);
                    packed_to_wait = true;
                }
            }
        }
    }

    /// An owner gives back what it holds, or says that a call was answered.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub fn give_back(
        &self,
        generation: u32,
        ticket: Name,
        owner: u64,
        outcome: Outcome,
        clock: impl Fn() -> i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<Returned, Closed> {
        let mut inner = self.enter(generation)?;
        let returned = inner.give_back(ticket, owner, outcome, clock, world, effects);
        self.look_around(&inner);
        Ok(returned)
    }

    /// A worker answers the call that is of this content: that ends, and whoever is next is given the worker in the same step.
    #[inline]
    pub fn reply(
        &self,
        generation: u32,
        worker: u64,
        is: impl Fn(&W::Content) -> bool,
        clock: impl Fn() -> i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<Replied, Closed> {
        let mut inner = self.enter(generation)?;
        let replied = inner.reply(worker, is, clock, world, effects);
        self.look_around(&inner);
        Ok(replied)
    }

    /// An owner waits no longer.
    pub fn cancel(
        &self,
        generation: u32,
        ticket: Name,
        owner: u64,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<Cancelled, Closed> {
        let mut inner = self.enter(generation)?;
        let cancelled = inner.cancel(ticket, owner, now, world, effects);
        inner.lend(now, effects);
        Ok(cancelled)
    }

    /// A worker is done with an abandoned ticket; `false` if there is none of that name.
    pub fn answered(
        &self,
        generation: u32,
        ticket: Name,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<bool, Closed> {
        let mut inner = self.enter(generation)?;
        Ok(inner.answered(ticket, now, world, effects))
    }

    /// An owner died; gives back what was kept of it.
    pub fn owner_died(
        &self,
        generation: u32,
        pid: u64,
        effects: &mut Effects<W::Content>,
    ) -> Result<Option<W::Handle>, Closed> {
        Ok(self.enter(generation)?.owner_died(pid, effects))
    }

    /// Refuses who waits too long, and looks who is to be ejected or let in. To be called now and then.
    pub fn tick(
        &self,
        generation: u32,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) -> Result<(), Closed> {
        let mut inner = self.enter(generation)?;
        inner.review(now, world, effects);
        inner.tick(now, effects);
        Ok(())
    }

    // Looking --------------------------------------------------------------------------------------------------------

    pub fn status(&self, generation: u32) -> Result<Status, Closed> {
        Ok(self.enter(generation)?.status())
    }

    /// How long requests waited and took, and how many were given a worker.
    pub fn measures(&self, generation: u32) -> Result<(Measures, u64), Closed> {
        let inner = self.enter(generation)?;
        Ok((inner.measures.clone(), inner.counts.served))
    }

    pub fn members(&self, generation: u32) -> Result<Vec<Member>, Closed> {
        Ok(self.enter(generation)?.members())
    }

    /// What the foreman was told of tickets that are still abandoned.
    pub fn unheeded(&self, generation: u32) -> Result<Vec<Notice>, Closed> {
        Ok(self.enter(generation)?.unheeded())
    }

    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes()
    }

    /// Panics where an invariant does not hold. For tests.
    pub fn check(&self) {
        self.inner.lock().check();
    }

    // Behind the lock, so that the last one to look is right.
    fn look_around(&self, inner: &Inner<W>) {
        let crowded = inner.is_crowded();
        if self.crowded.load(Ordering::Relaxed) != crowded {
            self.crowded.store(crowded, Ordering::Relaxed);
        }
    }

    fn enter(&self, generation: u32) -> Result<Entered<'_, W>, Closed> {
        let inner = self.inner.lock();
        if inner.generation == generation {
            Ok(inner)
        } else {
            Err(Closed)
        }
    }
}

type Entered<'a, W> = MutexGuard<'a, Inner<W>>;
type OwnersOf<W> = Owners<<W as World>::Handle>;
