//! Who is registered under which key, what they offer, and who wants to hear of it.
//!
//! R1. Under a unique key there is at most one holding.
//! R2. A holding goes with its owner: when `forget(pid)` has returned and its remainder was cleared, no holding of that
//!     process is left.
//! R3. What is late never hurts a successor: clean-up names holdings by incarnation, and no incarnation is used twice.
//! R4. No read answers with a holder that was dead before the read began: every read asks [`World::alive`].
//! R5. Whoever has a holding is watched, and on the list of owners with it, until it was seen dead: before the holding is there.
//! R6. A watch hears of every join, change and leave after its first answer, once and in order: described holdings come,
//!     change and go under the ledger.
//!
//! A look-up of a usual key takes no lock at all: what it sees is of one time, or it asks again under the lock (`version`).
//! Locks are taken in this order, each for a bounded time: ledger, shard, then owners or index. What the world is told
//! under a lock it only notes down.

mod block;
mod cell;
mod described;
mod finding;
mod leaving;
mod ledger;
mod owners;
mod reading;
mod shard;
mod sight;
mod slab;
mod table;
mod version;

use std::fmt::Debug;

use crossbeam_utils::CachePadded;

pub use described::Describing;
pub use finding::Found;
pub use ledger::{OwnedQuery, Told, What};
pub use owners::{Added, Closed, Held, Remains, WordHasher};
pub use reading::{Bytes, Cursor, Whereis};
pub use shard::{Described, Holding, Row};

use crate::index::Index;
use crate::key::{Form, Probe};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::terms::Terms;
use described::Slots;
use ledger::Ledger;
use owners::Owners;
use shard::Shard;
use sight::{Seen, Sight};

/// What the registry asks of, and tells, the world it serves.
pub trait World {
    type Terms: Terms;
    /// What the world keeps of a watched process.
    type Handle: Debug;
    /// What the world keeps of a watch.
    type Watcher: Debug;

    fn alive(&self, pid: u64) -> bool;

    /// Has `forget` called when the process dies; `None` if it is dead already. What is left in `shared` is there again
    /// for a later process of the same opening, and is given back when that closes; no two calls have the same one at a time.
    fn monitor(&self, pid: u64, shared: &mut Option<Self::Handle>) -> Option<Self::Handle>;

    /// Called for each change a watch is to hear of, in its order.
    fn tell(&mut self, told: Told<'_, Self::Terms, Self::Watcher>);
}

/// Whom a registration may displace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Displace {
    /// Only a dead holder.
    Dead,
    /// This process too.
    Holder(u64),
}

/// What an entry is, and what it is found by.
#[derive(Debug)]
pub struct Description<'a, T: Terms> {
    pub attributes: T::Given,
    pub facets: &'a [Box<[u8]>],
}

// A registration on its way in.
struct Entering<'a, T: Terms> {
    pid: u64,
    value: T::Given,
    displace: Displace,
    description: Option<Description<'a, T>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// `first`: the process had no other holding.
    Done { incarnation: u64, first: bool },
    /// A live process holds the key.
    Taken { pid: u64 },
    /// The process to register is dead.
    Dead,
}

#[derive(Debug)]
pub struct Registry<W: World> {
    shards: Box<[CachePadded<Lock<W>>]>,
    // Of each shard, beside its lock.
    sights: Box<[Arc<Sight>]>,
    owners: Owners<W::Handle>,
    ledger: Mutex<Ledger<W::Watcher>>,
    index: Index,
    slots: RwLock<Slots>,
    incarnations: AtomicU64,
}

type Lock<W> = RwLock<Shard<<W as World>::Terms>>;
type Read<'a, W> = RwLockReadGuard<'a, Shard<<W as World>::Terms>>;
type Write<'a, W> = RwLockWriteGuard<'a, Shard<<W as World>::Terms>>;

impl<W: World> Registry<W> {
    /// `parts` is a power of two: how many callers can write at once.
    pub fn new(parts: usize, seed: u64) -> Self {
        let sights: Box<[Arc<Sight>]> = (0..parts).map(|_| Arc::default()).collect();
        let shard = |sight| CachePadded::new(RwLock::new(Shard::at(Arc::clone(sight))));
        Self {
            shards: sights.iter().map(shard).collect(),
            sights,
            owners: Owners::new(parts),
            ledger: Mutex::new(Ledger::default()),
            index: Index::new(seed),
            slots: RwLock::new(Slots::default()),
            incarnations: AtomicU64::new(1),
        }
    }

    /// Opens for a generation that was never used. Calls of any other generation are refused from now on.
    pub fn open(&self, generation: u32, unique: bool) {
        self.ledger.lock().open(generation);
        self.slots.write().open(generation);
        self.owners.open(generation);
        for shard in &*self.shards {
            shard.write().open(generation, unique);
        }
    }

    /// Closes and lets go of everything; gives back what the world kept of owners and watches.
    pub fn close(&self) -> (Vec<W::Handle>, Vec<W::Watcher>) {
        let watchers = self.ledger.lock().close();
        for shard in &*self.shards {
            let emptied = shard.write().close();
            self.forget_described(&emptied);
        }
        *self.slots.write() = Slots::default();
        (self.owners.close(), watchers)
    }

    /// Registers `pid`. Nobody else is displaced than `displace` says, and whoever is dead.
    pub fn register(
        &self,
        generation: u32,
        probe: Probe<'_, W::Terms>,
        pid: u64,
        value: <W::Terms as Terms>::Given,
        displace: Displace,
        world: &mut W,
    ) -> Result<Registered, Closed> {
        let entry = Entering {
            pid,
            value,
            displace,
            description: None,
        };
        self.enter(generation, probe, entry, world)
    }

    /// Registers `pid` under a unique key with its description, in one step: whoever finds the entry finds it described.
    pub fn introduce(
        &self,
        generation: u32,
        probe: Probe<'_, W::Terms>,
        pid: u64,
        value: <W::Terms as Terms>::Given,
        description: Description<'_, W::Terms>,
        world: &mut W,
    ) -> Result<Registered, Closed> {
        let entry = Entering {
            pid,
            value,
            displace: Displace::Dead,
            description: Some(description),
        };
        self.enter(generation, probe, entry, world)
    }

    fn enter(
        &self,
        generation: u32,
        probe: Probe<'_, W::Terms>,
        entering: Entering<'_, W::Terms>,
        world: &mut W,
    ) -> Result<Registered, Closed> {
        let Entering {
            pid,
            value,
            displace,
            description,
        } = entering;
        let mut ledger = description.is_some().then(|| self.ledger.lock());
        loop {
            let mut shard = self.write(generation, probe.hash)?;
            let present = if shard.unique {
                shard.find(probe).map(Row::first)
            } else {
                None
            };
            let old = present.map(|holder| (holder.pid, holder.incarnation));
            if let Some((holder, _)) =
                old.filter(|&(pid, _)| displace != Displace::Holder(pid) && world.alive(pid))
            {
                return Ok(Registered::Taken { pid: holder });
            }
            if present.is_some_and(|holder| holder.described.is_some()) && ledger.is_none() {
                drop(shard);
                ledger = Some(self.ledger.lock());
                continue;
            }
            // No watch is told of the dead (R6), though their record may still be here to be added to.
            if description.is_some() && !world.alive(pid) {
                return Ok(Registered::Dead);
            }
            let Some((held, first)) = self.own(generation, probe.hash, pid, world)? else {
                return Ok(Registered::Dead);
            };
            let value = shard.terms.keep(value);
            let holding = Holding::new(pid, held.incarnation, value);
            match old {
                Some(_) => self.swap(&mut shard, probe, holding, ledger.as_deref_mut(), world),
                None if shard.unique => shard.add_row(probe, holding),
                None => shard.add(probe, holding),
            }
            if let (Some(description), Some(ledger), true) = (&description, &mut ledger, shard.unique) {
                self.set_description(ledger, &mut shard, probe, description, world);
            }
            drop(shard);
            if let Some((old, incarnation)) = old {
                self.owners.remove(generation, old, &[incarnation]);
            }
            return Ok(Registered::Done {
                incarnation: held.incarnation,
                first,
            });
        }
    }

    // R5: the owner is watched, and knows of the holding, before that is there. Under the shard's lock: so a clean-up that
    // comes at once waits until there is what it is to clear, and incarnations under one key follow each other.
    fn own(&self, generation: u32, hash: u64, pid: u64, world: &W) -> Result<Option<(Held, bool)>, Closed> {
        let incarnation = self.incarnations.fetch_add(1, Ordering::Relaxed);
        let held = Held { hash, incarnation };
        let watch = |shared: &mut Option<W::Handle>| world.monitor(pid, shared);
        let added = self.owners.add(generation, pid, held, watch)?;
        Ok(added.map(|added| (held, added == Added::First)))
    }

    // In place of a unique key's holding.
    fn swap(
        &self,
        shard: &mut Write<'_, W>,
        probe: Probe<'_, W::Terms>,
        holding: Holding<W::Terms>,
        ledger: Option<&mut Ledger<W::Watcher>>,
        world: &mut W,
    ) {
        let Some(row) = shard.find(probe) else { return };
        self.left(ledger, &shard.terms, &row.key, row.first(), world);
        if let Some(old) = shard.swap(probe, holding) {
            shard.let_go(old);
        }
    }

    /// Replaces the value of a holding if it is `pid`'s.
    pub fn put_value(
        &self,
        generation: u32,
        held: Held,
        pid: u64,
        value: <W::Terms as Terms>::Given,
    ) -> Result<bool, Closed> {
        let mut shard = self.write(generation, held.hash)?;
        let Some((holding, terms)) = shard.holding_mut(held.hash, held.incarnation) else {
            return Ok(false);
        };
        if holding.pid != pid {
            return Ok(false);
        }
        let kept = terms.keep(value);
        terms.release(std::mem::replace(&mut holding.value, kept));
        Ok(true)
    }

    #[inline]
    fn read(&self, generation: u32, hash: u64) -> Result<Read<'_, W>, Closed> {
        Self::check(generation, self.shard(hash).read())
    }

    fn write(&self, generation: u32, hash: u64) -> Result<Write<'_, W>, Closed> {
        Self::check(generation, self.shard(hash).write())
    }

    #[inline]
    fn check<G: std::ops::Deref<Target = Shard<W::Terms>>>(generation: u32, shard: G) -> Result<G, Closed> {
        if shard.generation == generation {
            Ok(shard)
        } else {
            Err(Closed)
        }
    }

    #[inline]
    fn shard(&self, hash: u64) -> &RwLock<Shard<W::Terms>> {
        &self.shards[part(hash, self.shards.len())]
    }

    // Without the lock, where that says enough.
    #[inline(always)]
    fn seen(&self, generation: u32, probe: Probe<'_, W::Terms>) -> Seen {
        match probe.form {
            Form::Short(key) => {
                self.sights[part(probe.hash, self.sights.len())].holder(generation, probe.hash, key)
            }
            _ => Seen::Unclear,
        }
    }
}

// Which of so many parts, a power of two, has the keys of a hash. The table inside uses the low half.
#[inline(always)]
fn part(hash: u64, parts: usize) -> usize {
    (hash >> 40) as usize & (parts - 1)
}
