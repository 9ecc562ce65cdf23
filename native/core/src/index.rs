//! Finds entries by what they are and how loaded they are.
//!
//! An entry has *facets* (opaque bytes, see [`Facet`]) and a *load*. Who has which facet is behind one lock, taken by
//! those who come, go, change or ask; a load is changed without it. A query walks the smallest set it names while that
//! is short, else it goes word by word over bitmaps, and by level of load, and stops as soon as the caller has enough.
//!
//! What holds (1 to 6 are the cells', see `index/cells.rs`):
//!
//! 7. An entry that exists and matches from before a `find` until after it is offered exactly once, unless the limit is
//!    reached before, whatever happens to its load.
//! 8. `find` by load offers loads that ascend, and the order is exact for the loads as read: whatever is offered later,
//!    or no more because of the limit, had a load no less than this one's at some instant of the call. A match whose
//!    load fell *during* the call to below what was offered by then is offered with that instead.
//! 9. A change of load that returned before a `find` began is seen by it, in the order too.
//! 10. A slot answers only while its own generation lives: what is late never touches a successor.
//! 11. A replaced facet set is seen whole: all before or all after.
//! 12. `native_bytes` is what the allocator was asked for and did not get back. Chunks of cells and records stay
//!     until the index is dropped, for a late caller may hold a slot; all else goes when the last entry goes, or by
//!     [`Index::shrink`].

mod ascent;
mod audit;
mod catalogue;
mod cell;
mod cells;
mod least;
mod ledger;
mod level;
mod listed;
mod offer;
mod query;
mod random;
mod set;
mod sheet;
mod slot;
mod sweep;

pub use cell::MAX_LOAD;
pub use query::{Facet, Order, Query};
pub use slot::Slot;

use crate::sync::RwLock;
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use catalogue::Catalogue;
use cells::{Cells, Vacated};
use offer::Offer;
use query::Plan;
use sweep::Sweep;

/// Up to so many candidates, reading each is cheaper than bitmaps.
const LISTED: usize = 2048;

/// In the order of load, an eighth of that, or so many of each chunk: to open a chunk's bitmaps costs about as much.
const LISTED_OF_CHUNK: usize = 16;

/// Entries, by facet and load. See the module for what holds.
#[derive(Debug)]
pub struct Index {
    cells: Cells,
    cell_bytes: AtomicUsize,
    catalogue: RwLock<Catalogue>,
    listed: usize,
}

impl Index {
    /// An empty index. The seed decides how facets are hashed, so that nobody can choose facets that collide.
    pub fn new(seed: u64) -> Self {
        Self::tuned(seed, LISTED)
    }

    /// As [`new`](Self::new), with another bound than 2,048 up to which candidates are looked at one by one.
    pub fn tuned(seed: u64, listed: usize) -> Self {
        Self {
            cells: Cells::default(),
            cell_bytes: AtomicUsize::new(0),
            catalogue: RwLock::new(Catalogue::new(seed)),
            listed,
        }
    }

    /// Adds an entry with load 0. A facet given twice counts once.
    pub fn insert<F: AsRef<Facet>>(&self, facets: &[F], order_key: u64) -> Slot {
        let mut catalogue = self.catalogue.write();
        let index = loop {
            match catalogue.take_free() {
                Some(index) => break index,
                None => self.grow(&mut catalogue),
            }
        };
        catalogue.insert(index, facets, order_key);
        self.cells.occupy(index)
    }

    /// Gives an entry these facets in place of all it had. `false` if the slot is stale.
    pub fn replace<F: AsRef<Facet>>(&self, slot: Slot, facets: &[F]) -> bool {
        let mut catalogue = self.catalogue.write();
        let live = self.cells.load(slot).is_some();
        if live {
            catalogue.describe(slot.index(), facets);
        }
        live
    }

    /// Removes an entry. `false` if the slot is stale.
    pub fn remove(&self, slot: Slot) -> bool {
        let mut catalogue = self.catalogue.write();
        let Some(vacated) = self.cells.retire(slot) else {
            return false;
        };
        catalogue.remove(slot.index());
        if vacated == Vacated::Free {
            catalogue.put_free(slot.index());
        }
        true
    }

    /// Sets a load, at most [`MAX_LOAD`], without a lock. `false` if the slot is stale.
    #[inline]
    pub fn set_load(&self, slot: Slot, load: u64) -> bool {
        self.cells.update(slot, |_| load).is_some()
    }

    /// Adds to a load without a lock, within 0 and [`MAX_LOAD`]; the new load. `None` if the slot is stale.
    #[inline]
    pub fn add_load(&self, slot: Slot, delta: i64) -> Option<u64> {
        self.cells.update(slot, |load| load.saturating_add_signed(delta))
    }

    /// The load of an entry, without a lock. `None` if the slot is stale.
    #[inline]
    pub fn load(&self, slot: Slot) -> Option<u64> {
        self.cells.load(slot)
    }

    /// Offers the entries that match, with their loads, in the query's order, until `accept` has said yes `limit` times.
    ///
    /// `accept` runs under the index's read lock: it must not insert, replace, remove or ask here.
    pub fn find(&self, query: &Query<'_>, limit: usize, accept: &mut dyn FnMut(Slot, u64) -> bool) {
        let Some(mut offer) = Offer::new(&self.cells, limit, accept) else {
            return;
        };
        let catalogue = self.catalogue.read();
        let Some(plan) = Plan::new(&catalogue, query) else {
            return;
        };
        let _enough = match plan.members(self.listed(query.order, catalogue.chunks())) {
            Some(members) => listed::offer_all(members, query.order, &catalogue, &mut offer),
            None => Sweep::new(&plan, &self.cells, catalogue.chunks()).offer_all(
                query.order,
                &catalogue,
                &mut offer,
            ),
        };
    }

    /// How many entries match and are accepted; the query's order is ignored. For `accept` see [`find`](Self::find).
    pub fn count(&self, query: &Query<'_>, accept: &mut dyn FnMut(Slot, u64) -> bool) -> usize {
        let mut count = 0;
        self.find(
            &Query {
                order: Order::None,
                ..*query
            },
            usize::MAX,
            &mut |slot, load| {
                count += usize::from(accept(slot, load));
                false
            },
        );
        count
    }

    /// Whether an entry is what a query asks for; `false` if the slot is stale.
    pub fn matches(&self, slot: Slot, query: &Query<'_>) -> bool {
        let catalogue = self.catalogue.read();
        self.cells.load(slot).is_some() && catalogue.matches(slot.index(), query)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.catalogue.read().everyone().len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that this index holds on the heap.
    pub fn native_bytes(&self) -> usize {
        // Relaxed: written under the lock that is held for the other half.
        let catalogue = self.catalogue.read();
        catalogue.bytes() + self.cell_bytes.load(Relaxed)
    }

    /// Gives back room that was kept to grow again. Takes time with the number of facets.
    pub fn shrink(&self) {
        self.catalogue.write().shrink();
    }

    /// Checks what must hold while no other call runs; the first violation as a sentence. Reads everything: for tests.
    pub fn audit(&self) -> Result<(), String> {
        audit::audit(&self.cells, &self.catalogue.read())
    }

    /// Up to how many candidates are listed. By load, bitmaps lead to the least ones past all others, once there are more
    /// than a few in each chunk.
    fn listed(&self, order: Order, chunks: usize) -> usize {
        match order {
            Order::Load => self.listed.min((self.listed / 8).max(chunks * LISTED_OF_CHUNK)),
            _ => self.listed,
        }
    }

    fn grow(&self, catalogue: &mut Catalogue) {
        let bytes = self.cells.grow(catalogue.chunks());
        // Relaxed: as in `native_bytes`.
        self.cell_bytes.fetch_add(bytes, Relaxed);
        catalogue.grow();
    }
}
