//! What is asked of the registry and changes nothing. One lock at a time, for one key or one slice.

use super::{Closed, Described, Holding, Registry, Row, Seen, World};
use crate::key::Probe;

/// Where a scan in slices stands: 0 at the start.
pub type Cursor = u64;

fn split(cursor: Cursor) -> (usize, usize) {
    ((cursor >> 32) as usize, cursor as u32 as usize)
}

/// What a look-up found. Whether the holder lives is for the caller to ask: outside the lock, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereis {
    Held(u64),
    Nobody,
    Duplicate,
}

/// Native bytes of an instance, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    pub names: usize,
    pub owners: usize,
    pub index: usize,
    pub watches: usize,
    /// Kept for names to come, here or in the instance that has this place next.
    pub spare: usize,
}

impl Bytes {
    pub fn total(&self) -> usize {
        self.names + self.owners + self.index + self.watches + self.spare
    }
}

impl<W: World> Registry<W> {
    /// The live holder of a unique key; `None` in `Ok` if there is none. `Err(Closed)` also tells other generations.
    #[inline(always)]
    pub fn whereis(&self, generation: u32, probe: Probe<'_, W::Terms>) -> Result<Whereis, Closed> {
        match self.seen(generation, probe) {
            Seen::Holder(pid) => Ok(Whereis::Held(pid)),
            Seen::Nobody => Ok(Whereis::Nobody),
            Seen::Unclear => self.whereis_locked(generation, probe),
        }
    }

    #[inline(never)]
    fn whereis_locked(&self, generation: u32, probe: Probe<'_, W::Terms>) -> Result<Whereis, Closed> {
        let shard = self.read(generation, probe.hash)?;
        if !shard.unique {
            return Ok(Whereis::Duplicate);
        }
        Ok(shard.holder(probe).map_or(Whereis::Nobody, Whereis::Held))
    }

    /// How many hold a key, dead ones that were not cleared yet included.
    pub fn holders(&self, generation: u32, probe: Probe<'_, W::Terms>) -> Result<usize, Closed> {
        Ok(self
            .read(generation, probe.hash)?
            .find(probe)
            .map_or(0, Row::holders))
    }

    /// How many holdings a process has.
    pub fn holdings(&self, generation: u32, pid: u64) -> usize {
        self.owners.holdings(generation, pid)
    }

    /// Shows the live holdings under a key, in the order of registration.
    pub fn lookup(
        &self,
        generation: u32,
        probe: Probe<'_, W::Terms>,
        world: &W,
        mut show: impl FnMut(&W::Terms, &Row<W::Terms>, &Holding<W::Terms>),
    ) -> Result<(), Closed> {
        let shard = self.read(generation, probe.hash)?;
        if let Some(row) = shard.find(probe) {
            let live = row.holdings().filter(|holding| world.alive(holding.pid));
            live.for_each(|holding| show(&shard.terms, row, holding));
        }
        Ok(())
    }

    /// Shows what a process holds, in the order of registration. Nothing if it is dead.
    pub fn held(
        &self,
        generation: u32,
        pid: u64,
        world: &W,
        mut show: impl FnMut(&W::Terms, &Row<W::Terms>, &Holding<W::Terms>),
    ) -> Result<(), Closed> {
        let held = self.owners.held(generation, pid)?;
        if held.is_empty() || !world.alive(pid) {
            return Ok(());
        }
        for held in held {
            let shard = self.read(generation, held.hash)?;
            if let Some((row, holding)) = shard.find_incarnation(held.hash, held.incarnation) {
                show(&shard.terms, row, holding);
            }
        }
        Ok(())
    }

    /// Shows live holdings from a cursor on, until about `limit` holdings were looked at; the next cursor, or `None` at the
    /// end. A key that more than `limit` hold is shown whole, and then alone: [`Registry::slice_holders`] tells before.
    pub fn slice(
        &self,
        generation: u32,
        cursor: Cursor,
        limit: usize,
        world: &W,
        mut show: impl FnMut(&W::Terms, &Row<W::Terms>, &Holding<W::Terms>),
    ) -> Result<Option<Cursor>, Closed> {
        let (mut part, mut place) = split(cursor);
        let (limit, mut seen) = (limit.max(1), 0);
        while let Some(shard) = self.shards.get(part) {
            let shard = Self::check(generation, shard.read())?;
            for (at, row) in shard.rows_from(place) {
                if seen > 0 && seen + row.holders() > limit {
                    return Ok(Some((part as u64) << 32 | at as u64));
                }
                seen += row.holders();
                let live = row.holdings().filter(|holding| world.alive(holding.pid));
                live.for_each(|holding| show(&shard.terms, row, holding));
            }
            (part, place) = (part + 1, 0);
        }
        Ok(None)
    }

    /// How many hold the first key that a slice from this cursor would show.
    pub fn slice_holders(&self, generation: u32, cursor: Cursor) -> Result<usize, Closed> {
        let (mut part, mut place) = split(cursor);
        while let Some(shard) = self.shards.get(part) {
            let shard = Self::check(generation, shard.read())?;
            if let Some((_, row)) = shard.rows_from(place).next() {
                return Ok(row.holders());
            }
            (part, place) = (part + 1, 0);
        }
        Ok(0)
    }

    pub fn holds_any(&self, generation: u32, pid: u64) -> bool {
        self.owners.holds_any(generation, pid)
    }

    /// Native bytes of the content, by kind.
    pub fn bytes(&self) -> Bytes {
        // One after the other: a guard that lived on in this expression would turn the order of locks around.
        let slots = self.slots.read().bytes();
        let watches = self.ledger.lock().bytes();
        let named: usize = self.shards.iter().map(|shard| shard.read().bytes()).sum();
        Bytes {
            names: named + self.index.len() * size_of::<Described<W::Terms>>(),
            owners: self.owners.bytes(),
            index: self.index.native_bytes() + slots,
            watches,
            spare: self.shards.iter().map(|shard| shard.read().spare_bytes()).sum(),
        }
    }

    pub fn rows(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().rows()).sum()
    }
}
