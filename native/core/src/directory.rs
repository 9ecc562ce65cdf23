//! From an instance's name to its place, without a lock: the first step of every call.
//!
//! A name is an opaque non-zero word (the BEAM's atoms). Places are shells that are never freed, only used again, so a
//! reader may hold one without counting itself in; what it finds there it checks against the generation it was sent for.
//!
//! D1. A name that is bound all through a look-up is found.
//! D2. A look-up that returns (place, generation) for a name read a binding that this name had at some moment in the call.
//! D3. Two live bindings of one name never exist.
//!
//! D4. Cells whose binding ended become empty again as far as no reader's walk needs them, so that a name that is not
//!     there is missed after few steps however many came and went.
//!
//! A cell whose binding ended may be given to another name. A reader between the cell's two words could take the other's
//! binding for its own, so it reads both words twice. Bindings are never used again (their generations come from one
//! counter), hence the same words twice were there together (D2).

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Where a name leads: a place, and the generation it had when the name was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub place: u32,
    pub generation: u32,
}

const UNBOUND: u64 = 0;

impl Binding {
    // Generations start at 1, so no binding is the word 0.
    fn word(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.place)
    }

    fn from_word(word: u64) -> Option<Self> {
        (word != UNBOUND).then_some(Self {
            place: word as u32,
            generation: (word >> 32) as u32,
        })
    }
}

#[derive(Debug)]
struct Cell {
    name: AtomicU64,
    binding: AtomicU64,
}

impl Cell {
    /// The binding word, if name and binding stood here together; `None` if the cell changed meanwhile.
    #[inline]
    fn read_for(&self, name: u64) -> Option<u64> {
        let word = self.binding.load(Ordering::Acquire);
        let steady =
            self.name.load(Ordering::Acquire) == name && self.binding.load(Ordering::Acquire) == word;
        steady.then_some(word)
    }
}

/// The directory is full: as many names are bound as it has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bound} instances are open, and no more fit")]
pub struct Full {
    pub bound: usize,
}

#[derive(Debug)]
pub struct Directory {
    cells: Box<[Cell]>,
    bound: Mutex<usize>,
}

impl Directory {
    /// `cells` is a power of two; three quarters of it can be bound at once.
    pub fn new(cells: usize) -> Self {
        assert!(cells.is_power_of_two());
        let cell = || Cell {
            name: AtomicU64::new(0),
            binding: AtomicU64::new(UNBOUND),
        };
        Self {
            cells: (0..cells).map(|_| cell()).collect(),
            bound: Mutex::new(0),
        }
    }

    /// Acquire on both words pairs with the releases in `bind` and `unbind`.
    #[inline]
    pub fn find(&self, name: u64) -> Option<Binding> {
        let mut at = self.start(name);
        for _ in 0..self.cells.len() {
            let cell = &self.cells[at];
            match cell.name.load(Ordering::Acquire) {
                0 => return None,
                met if met == name => match cell.read_for(name) {
                    Some(word) => return Binding::from_word(word),
                    None => return self.find(name),
                },
                _ => at = (at + 1) & (self.cells.len() - 1),
            }
        }
        None
    }

    /// Binds a name in place of what it was bound to.
    pub fn bind(&self, name: u64, binding: Binding) -> Result<(), Full> {
        let mut bound = self.bound.lock();
        let cell = self.cell_of(name);
        if let Some(cell) = cell.filter(|cell| cell.binding.load(Ordering::Relaxed) != UNBOUND) {
            cell.binding.store(binding.word(), Ordering::Release);
            return Ok(());
        }
        if *bound >= self.cells.len() / 4 * 3 {
            return Err(Full { bound: *bound });
        }
        *bound += 1;
        let cell = cell.unwrap_or_else(|| self.vacant(name));
        // The name first: a reader of the new name sees no binding yet, a reader of the old one finds its name gone.
        cell.name.store(name, Ordering::Release);
        cell.binding.store(binding.word(), Ordering::Release);
        Ok(())
    }

    /// Ends a binding if it still is this one.
    pub fn unbind(&self, name: u64, binding: Binding) -> bool {
        let mut bound = self.bound.lock();
        match self.cell_of(name) {
            Some(cell) if cell.binding.load(Ordering::Relaxed) == binding.word() => {
                cell.binding.store(UNBOUND, Ordering::Release);
                *bound -= 1;
                self.sweep(name);
                true
            }
            _ => false,
        }
    }

    // D4: backwards over this name's run. A bound name needs the cells from its start to its own, no other is needed. Where
    // no cell is empty, the first time around tells only what is needed.
    fn sweep(&self, name: u64) {
        let (len, mask) = (self.cells.len(), self.cells.len() - 1);
        let run = self
            .walk(name)
            .position(|cell| cell.name.load(Ordering::Relaxed) == 0);
        let mut at = self.start(name) + run.unwrap_or(0);
        let mut needed: usize = 0;
        for step in 0..2 * len {
            at = at.wrapping_sub(1) & mask;
            let cell = &self.cells[at];
            let met = cell.name.load(Ordering::Relaxed);
            if met == 0 {
                return;
            }
            if cell.binding.load(Ordering::Relaxed) != UNBOUND {
                needed = needed
                    .saturating_sub(1)
                    .max(at.wrapping_sub(self.start(met)) & mask);
            } else if needed > 0 {
                needed -= 1;
            } else if run.is_some() || step >= len {
                cell.name.store(0, Ordering::Release);
            }
        }
    }

    /// How many cells a walk does not end at: those of bound names, and those that D4 keeps.
    pub fn named(&self) -> usize {
        let named = |cell: &&Cell| cell.name.load(Ordering::Relaxed) != 0;
        self.cells.iter().filter(named).count()
    }

    /// All bindings, as they are at some moment each.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        self.cells
            .iter()
            .filter_map(|cell| Binding::from_word(cell.binding.load(Ordering::Acquire)))
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    #[inline]
    fn start(&self, name: u64) -> usize {
        (name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (self.cells.len() - 1)
    }

    // The two below run under the lock, where only their caller writes.
    fn cell_of(&self, name: u64) -> Option<&Cell> {
        self.walk(name)
            .take_while(|cell| cell.name.load(Ordering::Relaxed) != 0)
            .find(|cell| cell.name.load(Ordering::Relaxed) == name)
    }

    fn vacant(&self, name: u64) -> &Cell {
        self.walk(name)
            .find(|cell| cell.binding.load(Ordering::Relaxed) == UNBOUND)
            .expect("a quarter of the cells is never bound")
    }

    fn walk(&self, name: u64) -> impl Iterator<Item = &Cell> {
        let start = self.start(name);
        (0..self.cells.len()).map(move |step| &self.cells[(start + step) & (self.cells.len() - 1)])
    }
}
