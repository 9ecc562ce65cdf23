//! What an agent's entry adds to its name: attributes, the facets it is found by, and its load.

use super::ledger::{Ledger, Told, What};
use super::shard::{Described, Shard};
use super::slab::make_room;
use super::{Closed, Description, Held, Holding, Registry, Row, World};
use crate::index::Slot;
use crate::key::{Key, Probe};
use crate::terms::Terms;

/// What describing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Describing {
    Done {
        version: u64,
        slot: Slot,
    },
    /// The entry has another version than the caller read.
    Stale {
        version: u64,
    },
    /// The process does not hold the key.
    NotHeld,
}

// From a slot of the index to the holding it stands for.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) generation: u32,
    places: Vec<Place>,
}

// Whose slot it is, at the slot's own index; its generation is odd while there is somebody.
#[derive(Clone, Copy, Debug)]
struct Place {
    generation: u32,
    held: Held,
    pid: u64,
}

impl Place {
    const NOBODY: Self = Self {
        generation: 0,
        held: Held {
            hash: 0,
            incarnation: 0,
        },
        pid: 0,
    };
}

impl Slots {
    pub fn open(&mut self, generation: u32) {
        self.generation = generation;
    }

    fn put(&mut self, slot: Slot, held: Held, pid: u64) {
        let at = slot.index() as usize;
        if self.places.len() <= at {
            make_room(&mut self.places, at + 1);
            self.places.resize(at + 1, Place::NOBODY);
        }
        self.places[at] = Place {
            generation: slot.generation(),
            held,
            pid,
        };
    }

    fn clear(&mut self, slot: Slot) {
        if let Some(place) = self.places.get_mut(slot.index() as usize) {
            *place = Place::NOBODY;
        }
    }

    pub(super) fn get(&self, generation: u32, slot: Slot) -> Option<(Held, u64)> {
        let place = self.places.get(slot.index() as usize)?;
        (place.generation == slot.generation() && self.generation == generation)
            .then_some((place.held, place.pid))
    }

    pub fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
    }
}

impl<W: World> Registry<W> {
    /// Gives `pid`'s entry under a unique key its attributes and facets, in place of all it had, if its version is `expected`.
    #[allow(clippy::too_many_arguments)]
    pub fn describe(
        &self,
        generation: u32,
        probe: Probe<'_, W::Terms>,
        pid: u64,
        expected: u64,
        attributes: <W::Terms as Terms>::Given,
        facets: &[Box<[u8]>],
        world: &mut W,
    ) -> Result<Describing, Closed> {
        let mut ledger = self.ledger.lock();
        let mut shard = self.write(generation, probe.hash)?;
        let Some(holding) = shard.find(probe).map(Row::first).filter(|_| shard.unique) else {
            return Ok(Describing::NotHeld);
        };
        // Of a dead process's entry a watch that began later was never told, so it must not hear of a change either (R6).
        if holding.pid != pid || !world.alive(pid) {
            return Ok(Describing::NotHeld);
        }
        let version = holding
            .described
            .as_ref()
            .map_or(0, |described| described.version);
        if version != expected {
            return Ok(Describing::Stale { version });
        }
        let description = Description { attributes, facets };
        let slot = self.set_description(&mut ledger, &mut shard, probe, &description, world);
        Ok(Describing::Done {
            version: version + 1,
            slot,
        })
    }

    /// Describes the holder of a unique key, who is there, and tells the watches.
    pub(super) fn set_description(
        &self,
        ledger: &mut Ledger<W::Watcher>,
        shard: &mut Shard<W::Terms>,
        probe: Probe<'_, W::Terms>,
        description: &Description<'_, W::Terms>,
        world: &mut W,
    ) -> Slot {
        let (row, terms) = shard.find_mut(probe).expect("whoever is described holds the key");
        let holding = row.first_mut();
        let version = holding
            .described
            .as_ref()
            .map_or(0, |described| described.version)
            + 1;
        let attributes = terms.share(description.attributes);
        let (slot, before) = self.place_facets(ledger, probe.hash, holding, description.facets);
        if let Some(old) = holding.described.replace(Box::new(Described {
            slot,
            version,
            attributes,
        })) {
            terms.release(old.attributes);
        }
        self.tell_changed(ledger, shard, probe, slot, &before, world);
        slot
    }

    // The slot with its new facets, and which watches named it before.
    fn place_facets(
        &self,
        ledger: &Ledger<W::Watcher>,
        hash: u64,
        holding: &Holding<W::Terms>,
        facets: &[Box<[u8]>],
    ) -> (Slot, Vec<bool>) {
        if let Some(described) = &holding.described {
            let before = ledger.naming(&self.index, described.slot);
            self.index.replace(described.slot, facets);
            return (described.slot, before);
        }
        let slot = self.index.insert(facets, holding.incarnation);
        let held = Held {
            hash,
            incarnation: holding.incarnation,
        };
        self.slots.write().put(slot, held, holding.pid);
        (slot, vec![false; ledger.watches.len()])
    }

    fn tell_changed(
        &self,
        ledger: &mut Ledger<W::Watcher>,
        shard: &Shard<W::Terms>,
        probe: Probe<'_, W::Terms>,
        slot: Slot,
        before: &[bool],
        world: &mut W,
    ) {
        let Some(row) = shard.find(probe) else { return };
        let after = ledger.naming(&self.index, slot);
        let load = self.index.load(slot).unwrap_or(0);
        for (watch, change) in ledger.watches.iter().zip(before.iter().zip(&after)) {
            let what = match change {
                (false, true) => What::Join,
                (true, true) => What::Change,
                (true, false) => What::Leave,
                (false, false) => continue,
            };
            let (terms, key, holding) = (&shard.terms, &row.key, row.first());
            world.tell(Told {
                watcher: &watch.watcher,
                what,
                terms,
                key,
                holding,
                load,
            });
        }
    }

    /// A holding goes: out of the index, and its watches hear of it. The ledger is there if the holding is described.
    pub(super) fn left(
        &self,
        ledger: Option<&mut Ledger<W::Watcher>>,
        terms: &W::Terms,
        key: &Key<W::Terms>,
        holding: &Holding<W::Terms>,
        world: &mut W,
    ) {
        let (Some(described), Some(ledger)) = (&holding.described, ledger) else {
            return;
        };
        let slot = described.slot;
        let naming = ledger.naming(&self.index, slot);
        let load = self.index.load(slot).unwrap_or(0);
        self.slots.write().clear(slot);
        self.index.remove(slot);
        for (watch, _) in ledger
            .watches
            .iter_mut()
            .zip(&naming)
            .filter(|(_, named)| **named)
        {
            if watch.forget_unseen(holding.incarnation) {
                continue;
            }
            world.tell(Told {
                watcher: &watch.watcher,
                what: What::Leave,
                terms,
                key,
                holding,
                load,
            });
        }
    }

    pub(super) fn forget_described(&self, shard: &Shard<W::Terms>) {
        for (_, row) in shard.rows_from(0) {
            for described in row.holdings().filter_map(|holding| holding.described.as_ref()) {
                self.index.remove(described.slot);
            }
        }
    }

    /// Shows the live entry under a unique key, with its load.
    pub fn entry(
        &self,
        generation: u32,
        probe: Probe<'_, W::Terms>,
        world: &W,
        show: impl FnOnce(&W::Terms, &Row<W::Terms>, &Holding<W::Terms>, u64),
    ) -> Result<(), Closed> {
        let shard = self.read(generation, probe.hash)?;
        if let Some(row) = shard
            .find(probe)
            .filter(|_| shard.unique)
            .filter(|row| world.alive(row.first().pid))
        {
            show(&shard.terms, row, row.first(), self.load_of(row.first()));
        }
        Ok(())
    }

    fn load_of(&self, holding: &Holding<W::Terms>) -> u64 {
        holding
            .described
            .as_ref()
            .and_then(|described| self.index.load(described.slot))
            .unwrap_or(0)
    }

    /// Sets a load, without a lock; `false` if the slot is another's by now.
    #[inline]
    pub fn set_load(&self, slot: Slot, load: u64) -> bool {
        self.index.set_load(slot, load)
    }

    /// Adds to a load, without a lock; the new one.
    #[inline]
    pub fn add_load(&self, slot: Slot, delta: i64) -> Option<u64> {
        self.index.add_load(slot, delta)
    }

    /// How many described holdings there are, dead ones that were not cleared yet included.
    pub fn described(&self) -> usize {
        self.index.len()
    }
}
