//! The processes that ever asked and still live, each watched once, with their tickets.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::tickets::Chain;
use crate::registry::WordHasher;

#[derive(Debug)]
pub struct Owner<H> {
    pub handle: H,
    pub tickets: Chain,
}

#[derive(Debug)]
pub struct Owners<H> {
    by_pid: HashMap<u64, Owner<H>, BuildHasherDefault<WordHasher>>,
}

impl<H> Default for Owners<H> {
    fn default() -> Self {
        Self {
            by_pid: HashMap::default(),
        }
    }
}

impl<H> Owners<H> {
    pub fn knows(&self, pid: u64) -> bool {
        self.by_pid.contains_key(&pid)
    }

    pub fn add(&mut self, pid: u64, handle: H) {
        let tickets = Chain::default();
        self.by_pid.insert(pid, Owner { handle, tickets });
    }

    pub fn tickets(&mut self, pid: u64) -> Option<&mut Chain> {
        self.by_pid.get_mut(&pid).map(|owner| &mut owner.tickets)
    }

    /// The tickets of all owners.
    pub fn chains(&self) -> impl Iterator<Item = Chain> {
        self.by_pid.values().map(|owner| owner.tickets)
    }

    pub fn remove(&mut self, pid: u64) -> Option<Owner<H>> {
        let owner = self.by_pid.remove(&pid);
        // A crowd that came once leaves no empty hall.
        if self.by_pid.capacity() > 64 && self.by_pid.len() * 8 < self.by_pid.capacity() {
            self.by_pid.shrink_to(self.by_pid.len() * 2);
        }
        owner
    }

    pub fn take(&mut self) -> Vec<H> {
        let all = std::mem::take(&mut self.by_pid);
        all.into_values().map(|owner| owner.handle).collect()
    }

    pub fn bytes(&self) -> usize {
        self.by_pid.capacity() * size_of::<(u64, Owner<H>)>()
    }
}
