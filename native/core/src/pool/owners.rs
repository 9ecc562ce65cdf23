//! The processes that ever asked and still live, each watched once, with their tickets.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::tickets::{Chain, NONE};
use crate::registry::WordHasher;

#[derive(Debug)]
struct Owner<H> {
    handle: H,
    tickets: Chain,
}

// Those that came last: a look at a hash table would be a tenth of all that is done for a request.
const RECENT: usize = 64;

#[derive(Debug)]
pub struct Owners<H> {
    by_pid: HashMap<u64, u32, BuildHasherDefault<WordHasher>>,
    // A process and where it is kept, while it is.
    recent: Box<[(u64, u32); RECENT]>,
    places: Vec<Option<Owner<H>>>,
    free: Vec<u32>,
}

impl<H> Default for Owners<H> {
    fn default() -> Self {
        Self {
            by_pid: HashMap::default(),
            recent: Box::new([(0, NONE); RECENT]),
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<H> Owners<H> {
    /// Where a process is kept. Nobody (0) is kept nowhere, which is a place too.
    #[inline]
    pub fn find(&mut self, pid: u64) -> Option<u32> {
        if pid == 0 {
            return Some(NONE);
        }
        let (known, at) = self.recent[recently(pid)];
        if known == pid {
            return Some(at);
        }
        let at = *self.by_pid.get(&pid)?;
        self.recent[recently(pid)] = (pid, at);
        Some(at)
    }

    pub fn add(&mut self, pid: u64, handle: H) -> u32 {
        let owner = Some(Owner {
            handle,
            tickets: Chain::default(),
        });
        let at = match self.free.pop() {
            Some(at) => {
                self.places[at as usize] = owner;
                at
            }
            None => {
                self.places.push(owner);
                self.places.len() as u32 - 1
            }
        };
        self.by_pid.insert(pid, at);
        at
    }

    #[inline]
    pub fn tickets(&mut self, at: u32) -> Option<&mut Chain> {
        let owner = self.places.get_mut(at as usize)?.as_mut()?;
        Some(&mut owner.tickets)
    }

    /// The tickets of all owners.
    pub fn chains(&self) -> impl Iterator<Item = Chain> {
        self.places.iter().flatten().map(|owner| owner.tickets)
    }

    pub fn remove(&mut self, pid: u64) -> Option<H> {
        let at = self.by_pid.remove(&pid)?;
        let recent = &mut self.recent[recently(pid)];
        if recent.0 == pid {
            *recent = (0, NONE);
        }
        let owner = self.places[at as usize].take();
        self.free.push(at);
        self.shrink();
        owner.map(|owner| owner.handle)
    }

    // A crowd that came once leaves no empty hall.
    fn shrink(&mut self) {
        const HALL: usize = 64;
        if self.by_pid.capacity() > HALL && self.by_pid.len() * 8 < self.by_pid.capacity() {
            self.by_pid.shrink_to(self.by_pid.len() * 2);
        }
        if self.by_pid.is_empty() && self.places.capacity() > HALL {
            self.places = Vec::new();
            self.free = Vec::new();
        }
    }

    pub fn take(&mut self) -> Vec<H> {
        let all = std::mem::take(self);
        all.places
            .into_iter()
            .flatten()
            .map(|owner| owner.handle)
            .collect()
    }

    pub fn bytes(&self) -> usize {
        self.by_pid.capacity() * size_of::<(u64, u32)>()
            + size_of_val(&*self.recent)
            + self.places.capacity() * size_of::<Option<Owner<H>>>()
            + self.free.capacity() * size_of::<u32>()
    }
}

// Where a process is among the recent. The lowest bits say that it is a pid; by the next ones differ those that were started one
// after the other.
#[inline]
fn recently(pid: u64) -> usize {
    (pid >> 4) as usize % RECENT
}
