//! Kept terms: copies that outlive their call, in environments shared by many.
//!
//! An environment costs 2.5 KB, so a term does not get one of its own but a place in a *bag*. A bag is closed when it is full;
//! when three quarters of what it held are gone, the rest moves to the open bag and the environment is freed. A large
//! term has a bag to itself and is freed with it at once. Immediates need no bag: their word says all.
//!
//! What many entries say alike is kept once. Attributes differ in when their entry was first described, so that is kept beside
//! the copy, and put into it again when it is shown.
//!
//! T1. A kept term reads the same from `keep` to `release`, wherever it was moved.
//! T2. Environments hold at most four times as many terms as live, the open one and its 64 places aside.
//! T3. A copy that is shared lives as long as the last kept term it stands for.

use kantoku_core::key::Short;
use kantoku_core::terms::Terms;
use rustler::sys::{self, ErlNifEnv, ErlNifTerm};
use rustler::{Env, Term};

use crate::atoms;
use crate::beam;
use crate::key;
use crate::shape::{MOST_SHARED, is_immediate, is_plain, weigh, without_start};
use crate::state::state;

/// A kept copy.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    /// An immediate's word.
    Word(u64),
    /// A place in a bag.
    Place(u32),
    /// A place in a bag, with a map in which this is the value of `started_at`.
    Started { at: u32, started_at: i64 },
}

#[derive(Clone, Copy, Debug)]
struct Place {
    bag: u32,
    /// How many kept terms it stands for (T3).
    uses: u32,
    term: ErlNifTerm,
}

#[derive(Debug)]
struct Bag {
    env: *mut ErlNifEnv,
    members: Vec<u32>,
    live: usize,
    weight: usize,
}

const FREE: u32 = u32::MAX;
const BAG_TERMS: usize = 64;
const BAG_WEIGHT: usize = 4096;
const OWN_BAG_WEIGHT: usize = 512;
const ENV_BYTES: usize = 2560;

#[derive(Debug, Default)]
pub struct Bags {
    places: Vec<Place>,
    free_places: Vec<u32>,
    bags: Vec<Option<Bag>>,
    free_bags: Vec<u32>,
    open: Option<u32>,
    recent: Recent,
}

/// Places of terms that may be shared, by their hash: the last one of each.
#[derive(Debug)]
struct Recent([u32; 16]);

impl Default for Recent {
    fn default() -> Self {
        Self([FREE; 16])
    }
}

impl Recent {
    fn of(&mut self, term: Term<'_>) -> &mut u32 {
        &mut self.0[term.hash_internal(0) as usize % 16]
    }

    fn forget(&mut self, at: u32) {
        self.0
            .iter_mut()
            .filter(|recent| **recent == at)
            .for_each(|recent| *recent = FREE);
    }
}

// SAFETY: environments that no process owns may move between threads; `&Bags` only reads them (T1), and all that
// writes takes `&mut`, which the shard's lock hands out.
unsafe impl Send for Bags {}
// SAFETY: as above.
unsafe impl Sync for Bags {}

impl Bags {
    /// The kept term, in the caller's environment.
    #[inline]
    pub fn show<'a>(&self, kept: &Kept, env: Env<'a>) -> Term<'a> {
        match *kept {
            Kept::Word(word) => beam::immediate(env, word),
            Kept::Place(at) => self.copy(at, env),
            Kept::Started { at, started_at } => self
                .copy(at, env)
                .map_update(atoms::started_at(), started_at)
                .expect("a map that was kept with its start has one"),
        }
    }

    #[inline]
    fn copy<'a>(&self, at: u32, env: Env<'a>) -> Term<'a> {
        // SAFETY: the place's term lives in its bag (T1).
        unsafe { Term::new(env, sys::enif_make_copy(env.as_c_arg(), self.term(at))) }
    }

    #[inline]
    fn term(&self, at: u32) -> ErlNifTerm {
        self.places[at as usize].term
    }

    // Where a term like it is kept already, there.
    fn put_shared(&mut self, given: Term<'_>) -> u32 {
        if !is_plain(given, &mut { MOST_SHARED }) {
            return self.put(given);
        }
        let at = *self.recent.of(given);
        // SAFETY: both terms live: one in its bag (a place that is freed is forgotten), the other in the call.
        if at != FREE && unsafe { sys::enif_is_identical(self.term(at), given.as_c_arg()) != 0 } {
            self.places[at as usize].uses += 1;
            return at;
        }
        let at = self.put(given);
        *self.recent.of(given) = at;
        at
    }

    fn put(&mut self, given: Term<'_>) -> u32 {
        let weight = weigh(given, OWN_BAG_WEIGHT);
        let at = self.free_places.pop().unwrap_or_else(|| {
            self.places.push(Place {
                bag: FREE,
                uses: 0,
                term: given.as_c_arg(),
            });
            self.places.len() as u32 - 1
        });
        self.places[at as usize].uses = 1;
        let bag = if weight >= OWN_BAG_WEIGHT {
            self.new_bag()
        } else {
            self.open_bag()
        };
        self.put_in(bag, at, given.as_c_arg(), weight);
        at
    }

    fn put_in(&mut self, bag: u32, at: u32, term: ErlNifTerm, weight: usize) {
        let full = {
            let into = self.bags[bag as usize].as_mut().expect("an open bag is there");
            // SAFETY: the bag's environment is alive, and only we write to it (`&mut self`).
            let copy = unsafe { sys::enif_make_copy(into.env, term) };
            let uses = self.places[at as usize].uses;
            let term = copy;
            self.places[at as usize] = Place { bag, uses, term };
            into.members.push(at);
            into.live += 1;
            into.weight += weight;
            into.members.len() >= BAG_TERMS || into.weight >= BAG_WEIGHT
        };
        if full && self.open == Some(bag) {
            self.open = None;
        }
    }

    fn open_bag(&mut self) -> u32 {
        if let Some(bag) = self.open {
            return bag;
        }
        let bag = self.new_bag();
        self.open = Some(bag);
        bag
    }

    fn new_bag(&mut self) -> u32 {
        // SAFETY: no arguments that could be wrong.
        let env = unsafe { sys::enif_alloc_env() };
        let bag = Some(Bag {
            env,
            members: Vec::new(),
            live: 0,
            weight: 0,
        });
        if let Some(at) = self.free_bags.pop() {
            self.bags[at as usize] = bag;
            return at;
        }
        self.bags.push(bag);
        self.bags.len() as u32 - 1
    }

    fn release_place(&mut self, at: u32) {
        self.places[at as usize].uses -= 1;
        if self.places[at as usize].uses == 0 {
            self.recent.forget(at);
            self.take(at);
        }
    }

    fn take(&mut self, at: u32) {
        let bag = std::mem::replace(&mut self.places[at as usize].bag, FREE);
        self.free_places.push(at);
        let from = self.bags[bag as usize]
            .as_mut()
            .expect("a live place is in a bag");
        from.live -= 1;
        if from.live == 0 && self.open == Some(bag) {
            from.clear();
        } else if from.live == 0 {
            self.drop_bag(bag);
        } else if self.open != Some(bag) && from.live * 4 <= from.members.len() {
            self.empty_bag(bag);
        }
    }

    // T2: the survivors move on.
    fn empty_bag(&mut self, bag: u32) {
        let members = std::mem::take(&mut self.bags[bag as usize].as_mut().expect("it is there").members);
        for at in members {
            let place = self.places[at as usize];
            if place.bag == bag {
                // The weight of a survivor is not known any more; a bag's share is near enough to close the next in time.
                let into = self.open_bag();
                self.put_in(into, at, place.term, BAG_WEIGHT / BAG_TERMS);
            }
        }
        self.drop_bag(bag);
    }

    fn drop_bag(&mut self, bag: u32) {
        self.bags[bag as usize] = None;
        self.free_bags.push(bag);
        if self.open.is_none() && self.free_places.len() == self.places.len() {
            *self = Bags::default();
        }
    }
}

impl Bag {
    // The open bag of a place where terms come and go one by one stays: a new environment each time would be dear.
    fn clear(&mut self) {
        // SAFETY: alive, and no live place refers to it.
        unsafe { sys::enif_clear_env(self.env) };
        self.members.clear();
        self.weight = 0;
    }
}

impl Drop for Bag {
    fn drop(&mut self) {
        // SAFETY: made by `enif_alloc_env`, freed once; no place refers to it any more.
        unsafe { sys::enif_free_env(self.env) };
    }
}

impl Terms for Bags {
    type Given = Raw;
    type Kept = Kept;

    fn keep(&mut self, given: Raw) -> Kept {
        let term = given.term();
        if is_immediate(term) {
            Kept::Word(beam::word(term.as_c_arg()))
        } else {
            Kept::Place(self.put(term))
        }
    }

    fn share(&mut self, given: Raw) -> Kept {
        match without_start(given.term()) {
            Some((map, started_at)) => Kept::Started {
                at: self.put_shared(map),
                started_at,
            },
            None => self.keep(given),
        }
    }

    #[inline]
    fn same(&self, kept: &Kept, given: Raw) -> bool {
        match *kept {
            Kept::Word(word) => word == beam::word(given.term().as_c_arg()),
            // SAFETY: both terms live: one in its bag, the other in the call.
            Kept::Place(at) => unsafe { sys::enif_is_identical(self.term(at), given.term().as_c_arg()) != 0 },
            // What is compared is a key, and keys are not shared.
            Kept::Started { .. } => false,
        }
    }

    fn release(&mut self, kept: Kept) {
        match kept {
            Kept::Word(_) => {}
            Kept::Place(at) | Kept::Started { at, .. } => self.release_place(at),
        }
    }

    fn hash(short: Short) -> u64 {
        key::hash(state().seed, short)
    }

    fn bytes(&self) -> usize {
        let bag = |bag: &Bag| ENV_BYTES + bag.weight * size_of::<usize>() + bag.members.capacity() * 4;
        self.bags.iter().flatten().map(bag).sum::<usize>()
            + self.places.capacity() * size_of::<Place>()
            + (self.free_places.capacity() + self.free_bags.capacity()) * 4
            + self.bags.capacity() * size_of::<Option<Bag>>()
    }
}

/// A term of the call that is running, without its lifetime: for the core, which keeps none beyond the call.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    env: *mut ErlNifEnv,
    term: ErlNifTerm,
}

impl Raw {
    pub fn of(term: Term<'_>) -> Self {
        Raw {
            env: term.get_env().as_c_arg(),
            term: term.as_c_arg(),
        }
    }

    fn term(&self) -> Term<'_> {
        // SAFETY: made from a term of the running call (`of`), and dropped before it ends: only this crate makes them, as
        // arguments of core functions, none of which keeps a `Given`.
        unsafe { Term::new(Env::new(self, self.env), self.term) }
    }
}
