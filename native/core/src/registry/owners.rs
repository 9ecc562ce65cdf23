//! Who holds what, by process: what has to go when one dies, and in which order it came.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crossbeam_utils::CachePadded;

use crate::sync::Mutex;

/// A registration as its owner knows it: enough to find it, and never a successor in its stead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub hash: u64,
    pub incarnation: u64,
}

/// One process, and what the caller keeps of it (`H`: the standing monitor).
#[derive(Debug)]
pub struct Owner<H> {
    pub handle: H,
    held: Holdings,
}

const FEW: usize = 16;

// Nearly every process has one name, which lies here; the one that has many must not search for the one to give up.
#[derive(Debug)]
enum Holdings {
    One(Held),
    Few(Vec<Held>),
    // Boxed, for it would make the record of every owner larger.
    #[allow(clippy::box_collection)]
    Many(Box<BTreeMap<u64, u64>>),
}

impl Holdings {
    const NONE: Self = Holdings::Few(Vec::new());

    fn add(&mut self, held: Held) {
        match self {
            Holdings::Few(few) if few.is_empty() => *self = Holdings::One(held),
            Holdings::One(one) => *self = Holdings::Few(vec![*one, held]),
            Holdings::Few(few) if few.len() < FEW => few.push(held),
            Holdings::Few(few) => {
                let all = few.iter().chain([&held]);
                let all = all.map(|held| (held.incarnation, held.hash)).collect();
                *self = Holdings::Many(Box::new(all));
            }
            Holdings::Many(many) => {
                many.insert(held.incarnation, held.hash);
            }
        }
    }

    fn remove(&mut self, incarnation: u64) {
        match self {
            Holdings::One(one) if one.incarnation == incarnation => *self = Self::NONE,
            Holdings::One(_) => {}
            Holdings::Few(few) => few.retain(|held| held.incarnation != incarnation),
            Holdings::Many(many) => {
                many.remove(&incarnation);
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Holdings::One(_) => 1,
            Holdings::Few(few) => few.len(),
            Holdings::Many(many) => many.len(),
        }
    }

    fn list(&self) -> Vec<Held> {
        match self {
            Holdings::One(one) => vec![*one],
            Holdings::Few(few) => few.clone(),
            Holdings::Many(many) => many
                .iter()
                .map(|(&incarnation, &hash)| Held { hash, incarnation })
                .collect(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Holdings::One(_) => 0,
            Holdings::Few(few) => few.capacity() * size_of::<Held>(),
            Holdings::Many(many) => size_of_val(&**many) + many.len() * size_of::<(u64, u64)>(),
        }
    }
}

/// What a dead process held, to be cleared piece by piece: the many of some would take too long at once.
#[derive(Debug)]
pub struct Remains(Holdings);

impl Remains {
    /// The next `most` at most, in the order they came; empty when nothing is left.
    pub fn piece(&mut self, most: usize) -> Vec<Held> {
        match &mut self.0 {
            Holdings::One(one) if most > 0 => {
                let held = *one;
                self.0 = Holdings::NONE;
                vec![held]
            }
            Holdings::One(_) => Vec::new(),
            Holdings::Few(few) => few.drain(..few.len().min(most)).collect(),
            Holdings::Many(many) => {
                let next = || {
                    many.pop_first()
                        .map(|(incarnation, hash)| Held { hash, incarnation })
                };
                std::iter::from_fn(next).take(most).collect()
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

/// Spreads process words, which count up, over the map.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[derive(Debug)]
struct Part<H> {
    generation: u32,
    by_pid: HashMap<u64, Owner<H>, BuildHasherDefault<WordHasher>>,
    // What the caller shares between processes that are watched one after the other.
    shared: Option<H>,
}

/// The instance is closed, or another opening than the caller was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the instance is closed")]
pub struct Closed;

/// What adding a holding found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The process's first at this time.
    First,
    Another,
}

#[derive(Debug)]
pub struct Owners<H> {
    parts: Box<[CachePadded<Mutex<Part<H>>>]>,
}

impl<H> Owners<H> {
    /// `parts` is a power of two.
    pub fn new(parts: usize) -> Self {
        let part = || Part {
            generation: 0,
            by_pid: HashMap::default(),
            shared: None,
        };
        Self {
            parts: (0..parts).map(|_| CachePadded::new(Mutex::new(part()))).collect(),
        }
    }

    pub fn open(&self, generation: u32) {
        self.parts
            .iter()
            .for_each(|part| part.lock().generation = generation);
    }

    /// Closes, and gives back the handles of all owners, and those that were shared.
    pub fn close(&self) -> Vec<H> {
        let mut handles = Vec::new();
        for part in &*self.parts {
            let mut part = part.lock();
            part.generation = 0;
            handles.extend(part.shared.take());
            handles.extend(
                std::mem::take(&mut part.by_pid)
                    .into_values()
                    .map(|owner| owner.handle),
            );
        }
        handles
    }

    /// Adds a holding; a process not seen before is watched with `watch`, and `None` from it (it is dead) refuses. What
    /// `watch` leaves in the place it is given it finds there the next time, for some process of the same opening.
    pub fn add(
        &self,
        generation: u32,
        pid: u64,
        held: Held,
        watch: impl FnOnce(&mut Option<H>) -> Option<H>,
    ) -> Result<Option<Added>, Closed> {
        let mut part = self.part(pid).lock();
        if part.generation != generation {
            return Err(Closed);
        }
        let Part { by_pid, shared, .. } = &mut *part;
        let owner = match by_pid.entry(pid) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => match watch(shared) {
                Some(handle) => place.insert(Owner {
                    handle,
                    held: Holdings::NONE,
                }),
                None => return Ok(None),
            },
        };
        owner.held.add(held);
        Ok(Some(if owner.held.len() == 1 {
            Added::First
        } else {
            Added::Another
        }))
    }

    /// Takes holdings off an owner; `true` if it has none left.
    pub fn remove(&self, generation: u32, pid: u64, incarnations: &[u64]) -> bool {
        let mut part = self.part(pid).lock();
        if part.generation != generation {
            return true;
        }
        part.by_pid.get_mut(&pid).is_none_or(|owner| {
            incarnations
                .iter()
                .for_each(|&incarnation| owner.held.remove(incarnation));
            owner.held.len() == 0
        })
    }

    /// What a process holds, in the order it came.
    pub fn held(&self, generation: u32, pid: u64) -> Result<Vec<Held>, Closed> {
        let part = self.part(pid).lock();
        if part.generation != generation {
            return Err(Closed);
        }
        Ok(part
            .by_pid
            .get(&pid)
            .map_or_else(Vec::new, |owner| owner.held.list()))
    }

    pub fn holdings(&self, generation: u32, pid: u64) -> usize {
        let part = self.part(pid).lock();
        if part.generation != generation {
            return 0;
        }
        part.by_pid.get(&pid).map_or(0, |owner| owner.held.len())
    }

    pub fn holds_any(&self, generation: u32, pid: u64) -> bool {
        let part = self.part(pid).lock();
        part.generation == generation && part.by_pid.get(&pid).is_some_and(|owner| owner.held.len() > 0)
    }

    /// Forgets a process that died, in a time that does not depend on how much it held.
    pub fn forget(&self, generation: u32, pid: u64) -> Option<(H, Remains)> {
        let mut part = self.part(pid).lock();
        if part.generation != generation {
            return None;
        }
        let owner = part.by_pid.remove(&pid)?;
        if part.by_pid.is_empty() {
            part.by_pid = HashMap::default();
        }
        Some((owner.handle, Remains(owner.held)))
    }

    pub fn bytes(&self) -> usize {
        self.parts
            .iter()
            .map(|part| Self::part_bytes(&part.lock()))
            .sum::<usize>()
    }

    fn part_bytes(part: &Part<H>) -> usize {
        let heap: usize = part.by_pid.values().map(|owner| owner.held.bytes()).sum();
        part.by_pid.capacity() * size_of::<(u64, Owner<H>)>() + heap
    }

    #[inline]
    fn part(&self, pid: u64) -> &Mutex<Part<H>> {
        // Process words end in a tag: the low bits say nothing.
        &self.parts[(pid.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & (self.parts.len() - 1)]
    }
}

#[cfg(all(test, not(kantoku_loom)))]
mod tests {
    use super::*;

    fn held(incarnation: u64) -> Held {
        Held {
            hash: incarnation * 7,
            incarnation,
        }
    }

    #[test]
    fn what_one_watch_leaves_the_next_finds_until_the_instance_closes() {
        let owners = Owners::<u64>::new(1);
        owners.open(1);
        let found = |owners: &Owners<u64>, generation, pid| {
            let mut found = None;
            let watch = |shared: &mut Option<u64>| {
                found = shared.replace(pid);
                Some(100 + pid)
            };
            let added = owners.add(generation, pid, held(pid), watch);
            assert_eq!(added, Ok(Some(Added::First)));
            found
        };
        assert_eq!((found(&owners, 1, 1), found(&owners, 1, 2)), (None, Some(1)));
        let mut handles = owners.close();
        handles.sort_unstable();
        assert_eq!(handles, [2, 101, 102]);
        owners.open(2);
        assert_eq!(found(&owners, 2, 3), None);
    }

    #[test]
    fn holdings_are_the_same_whatever_their_form() {
        let mut holdings = Holdings::NONE;
        for count in (1..=FEW as u64 + 3).chain((1..=3).rev()) {
            (1..=FEW as u64 + 3).for_each(|incarnation| holdings.remove(incarnation));
            assert_eq!((holdings.len(), holdings.list()), (0, Vec::new()));
            (1..=count).for_each(|incarnation| holdings.add(held(incarnation)));
            assert_eq!(holdings.list(), (1..=count).map(held).collect::<Vec<_>>());
        }
        let mut remains = Remains(holdings);
        assert_eq!(remains.piece(0), []);
        assert_eq!(remains.piece(9), [held(1)]);
        assert!(remains.is_empty());
    }
}
