//! Rings for the spans of instances that the other engine keeps, so that native threads can send them too. By the words of their names.
//!
//! G1. Of a name there is one ring at most; a later one takes the place of an earlier one, which keeps nothing any more.
//! G2. A ring is given up by its number, so that who is late gives up no successor's.

use std::collections::BTreeMap;
use std::sync::Arc;

use kantoku_core::sync::RwLock;
use kantoku_core::trace::{Limits, Ring};

#[derive(Debug)]
pub struct Guest {
    /// That of its opening, which no other has.
    pub number: u32,
    pub ring: Ring,
}

#[derive(Debug, Default)]
pub struct Guests(RwLock<BTreeMap<u64, Arc<Guest>>>);

impl Guests {
    pub fn find(&self, name: u64) -> Option<Arc<Guest>> {
        self.0.read().get(&name).cloned()
    }

    /// G1
    pub fn host(&self, name: u64, number: u32, limits: Limits) {
        let guest = Guest {
            number,
            ring: Ring::default(),
        };
        guest.ring.open(number, limits);
        let before = self.0.write().insert(name, Arc::new(guest));
        close(before);
    }

    /// G2; `None` is whoever has the name.
    pub fn give_up(&self, name: u64, number: Option<u32>) {
        let mut all = self.0.write();
        let mine = |guest: &Arc<Guest>| number.is_none_or(|number| guest.number == number);
        let gone = if all.get(&name).is_some_and(mine) {
            all.remove(&name)
        } else {
            None
        };
        drop(all);
        close(gone);
    }

    pub fn bytes(&self) -> usize {
        let all = self.0.read();
        all.values()
            .map(|guest| size_of::<Guest>() + guest.ring.bytes())
            .sum()
    }
}

// Who has found it already keeps nothing in it.
fn close(guest: Option<Arc<Guest>>) {
    guest.iter().for_each(|guest| guest.ring.close());
}
