//! How names are given up: by who has them, or after its death.

use super::shard::Holding;
use super::{Closed, Held, Registry, Remains, World};
use crate::key::{Key, Probe};

// Of a key that so many hold, the owner's own list is shorter.
const MANY: usize = 64;

impl<W: World> Registry<W> {
    /// Removes `pid`'s holdings under a key, all or those of the given incarnations; `true` if it has none left anywhere.
    pub fn unregister(
        &self,
        generation: u32,
        probe: Probe<'_, W::Terms>,
        pid: u64,
        only: Option<&[u64]>,
        world: &mut W,
    ) -> Result<bool, Closed> {
        // As it most often is: in one step.
        if only.is_none()
            && let Some(sole) = self.write(generation, probe.hash)?.take_sole(probe, pid)
        {
            return Ok(self.owners.remove(generation, pid, &[sole]));
        }
        let mut mine = self.incarnations_of(generation, probe, pid)?;
        if let Some(only) = only {
            mine.retain(|incarnation| only.contains(incarnation));
        }
        for &incarnation in &mine {
            self.take(
                generation,
                Held {
                    hash: probe.hash,
                    incarnation,
                },
                world,
            );
        }
        Ok(self.owners.remove(generation, pid, &mine))
    }

    fn incarnations_of(
        &self,
        generation: u32,
        probe: Probe<'_, W::Terms>,
        pid: u64,
    ) -> Result<Vec<u64>, Closed> {
        let shard = self.read(generation, probe.hash)?;
        let Some(row) = shard.find(probe) else {
            return Ok(Vec::new());
        };
        if row.holders() <= MANY {
            let mine = row.holdings().filter(|holding| holding.pid == pid);
            return Ok(mine.map(|holding| holding.incarnation).collect());
        }
        // A key with many holders: the owner's own list is the shorter way.
        let held = self.owners.held(generation, pid)?;
        let mine = held.iter().filter(|held| held.hash == probe.hash);
        Ok(mine
            .map(|held| held.incarnation)
            .filter(|&of| row.holding(of).is_some())
            .collect())
    }

    /// A process died: what the world kept of it, and its holdings, which are to be cleared with [`Registry::clear`].
    pub fn forget(&self, generation: u32, pid: u64) -> Option<(W::Handle, Remains)> {
        self.owners.forget(generation, pid)
    }

    /// Clears holdings of a dead process. Those that are gone or belong to a successor are passed over.
    pub fn clear(&self, generation: u32, held: &[Held], world: &mut W) {
        for &held in held {
            self.take(generation, held, world);
        }
    }

    // Takes one holding out, under the ledger if it is described.
    fn take(&self, generation: u32, held: Held, world: &mut W) -> bool {
        let mut ledger = None;
        loop {
            let Ok(mut shard) = self.write(generation, held.hash) else {
                return false;
            };
            let Some((_, holding)) = shard.find_incarnation(held.hash, held.incarnation) else {
                return false;
            };
            if holding.described.is_some() && ledger.is_none() {
                drop(shard);
                ledger = Some(self.ledger.lock());
                continue;
            }
            let seen = |terms: &W::Terms, key: &Key<W::Terms>, holding: &Holding<W::Terms>| {
                self.left(ledger.as_deref_mut(), terms, key, holding, world);
            };
            return shard.take(held.hash, held.incarnation, seen);
        }
    }
}
