//! Who is found by what their entries say: once, or from now on.

use super::ledger::{OwnedQuery, Watch};
use super::{Closed, Held, Holding, Registry, Row, World};
use crate::index::{Order, Query, Slot};

/// A described holding that a query named.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub held: Held,
    pub pid: u64,
    pub load: u64,
}

impl<W: World> Registry<W> {
    /// The live described holdings that a query names, at most `limit`, in its order.
    pub fn find(
        &self,
        generation: u32,
        query: &Query<'_>,
        limit: usize,
        world: &W,
    ) -> Result<Vec<Found>, Closed> {
        let mut found = Vec::new();
        self.live(
            generation,
            world,
            |accept| self.index.find(query, limit, accept),
            |one| found.push(one),
        )
        .map(|()| found)
    }

    /// How many live described holdings a query names.
    pub fn count(&self, generation: u32, query: &Query<'_>, world: &W) -> Result<usize, Closed> {
        let mut count = 0;
        self.live(
            generation,
            world,
            |accept| count = self.index.count(query, accept),
            |_| (),
        )
        .map(|()| count)
    }

    // Hands over what of the index's answer is live. Where it lies is locked once, from the first match on; always after
    // the index.
    fn live(
        &self,
        generation: u32,
        world: &W,
        ask: impl FnOnce(&mut dyn FnMut(Slot, u64) -> bool),
        mut take: impl FnMut(Found),
    ) -> Result<(), Closed> {
        let mut slots = None;
        ask(&mut |slot, load| {
            let slots = slots.get_or_insert_with(|| self.slots.read());
            let located = slots.get(generation, slot);
            let live = located.filter(|&(_, pid)| world.alive(pid));
            if let Some((held, pid)) = live {
                take(Found { held, pid, load });
            }
            live.is_some()
        });
        // The index does not know openings: what it found counts only if the opening lasted.
        let lasted = slots.unwrap_or_else(|| self.slots.read()).generation == generation;
        if lasted { Ok(()) } else { Err(Closed) }
    }

    /// Shows what was found, as it is now; `false` if it is gone.
    pub fn show_found(
        &self,
        generation: u32,
        found: &Found,
        mut show: impl FnMut(&W::Terms, &Row<W::Terms>, &Holding<W::Terms>, u64),
    ) -> Result<bool, Closed> {
        let shard = self.read(generation, found.held.hash)?;
        let there = shard.find_incarnation(found.held.hash, found.held.incarnation);
        if let Some((row, holding)) = there {
            show(&shard.terms, row, holding, found.load);
        }
        Ok(there.is_some())
    }

    /// From now on the watcher is told of what the query names; shows what it names now.
    pub fn watch(
        &self,
        generation: u32,
        query: OwnedQuery,
        watcher: W::Watcher,
        world: &W,
        mut show: impl FnMut(&W::Terms, &Row<W::Terms>, &Holding<W::Terms>, u64),
    ) -> Result<(), (Closed, W::Watcher)> {
        let mut ledger = self.ledger.lock();
        if ledger.generation != generation {
            return Err((Closed, watcher));
        }
        let mut unseen = Vec::new();
        for found in query.with(Order::None, |query| self.find_any(generation, query)) {
            if !world.alive(found.pid) {
                unseen.push(found.held.incarnation);
                continue;
            }
            // Nothing described goes while the ledger is held, and an instance that closes tells its watches nothing.
            let _ = self.show_found(generation, &found, &mut show);
        }
        ledger.watches.push(Watch {
            watcher,
            query,
            unseen,
        });
        Ok(())
    }

    // Dead ones too.
    fn find_any(&self, generation: u32, query: &Query<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        self.index.find(query, usize::MAX, &mut |slot, load| {
            let located = self.slots.read().get(generation, slot);
            found.extend(located.map(|(held, pid)| Found { held, pid, load }));
            located.is_some()
        });
        found
    }

    /// Ends the watches for which `is` holds, and gives back what the world kept of them.
    pub fn unwatch(&self, generation: u32, is: impl Fn(&W::Watcher) -> bool) -> Vec<W::Watcher> {
        let mut ledger = self.ledger.lock();
        if ledger.generation != generation {
            return Vec::new();
        }
        let (ended, kept) = std::mem::take(&mut ledger.watches)
            .into_iter()
            .partition(|watch| is(&watch.watcher));
        ledger.watches = kept;
        let ended: Vec<Watch<W::Watcher>> = ended;
        ended.into_iter().map(|watch| watch.watcher).collect()
    }
}
