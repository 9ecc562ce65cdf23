//! Tickets: one for each request that waits, is served, held, or abandoned. They stand in chains: of their owner, of their
//! worker, of the queue they wait in.

use std::fmt;
use std::num::NonZeroU64;

use super::parcel::Baggage;

/// What a ticket is called outside: its place and how often that was used, in 59 bits, as small integers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(u64);

const PLACE_BITS: u32 = 24;
const USE_BITS: u32 = 35;

/// So many tickets may be out at once.
pub const MOST: usize = (1 << PLACE_BITS) - 1;

impl Name {
    fn new(place: u32, uses: u64) -> Self {
        Name((uses & ((1 << USE_BITS) - 1)) << PLACE_BITS | u64::from(place))
    }

    pub fn from_word(word: u64) -> Option<Self> {
        (word >> (PLACE_BITS + USE_BITS) == 0).then_some(Name(word))
    }

    pub fn word(self) -> u64 {
        self.0
    }

    fn place(self) -> u32 {
        (self.0 & ((1 << PLACE_BITS) - 1)) as u32
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Waiting,
    /// A call that a worker has.
    Served,
    /// A worker that its owner checked out.
    Held,
    /// Nobody waits for it any more, but the worker may be busy with it.
    Abandoned,
    /// It ended; its place waits for another.
    Free,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Call,
    Checkout,
    /// Nobody's from the start.
    Cast,
}

/// Which worker is wished for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub hash: Option<u32>,
    /// This one, if it can take it.
    pub worker: Option<NonZeroU64>,
}

/// The chains a ticket can stand in: of its owner, and of either its worker or the queue, as it has no worker while it waits.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    Owner,
    Worker,
    Queue,
}

impl Of {
    #[inline]
    fn link(self) -> usize {
        match self {
            Of::Owner => 0,
            Of::Worker | Of::Queue => 1,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

pub const NONE: u32 = u32::MAX;

/// Of a ticket whose duration is not measured.
pub const UNTIMED: i64 = i64::MIN;

/// A doubly linked list through tickets.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    first: u32,
    last: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

impl Chain {
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub fn last(&self) -> Option<u32> {
        (self.last != NONE).then_some(self.last)
    }
}

// What each step of a request needs is in its first cache line, as schedulers take tickets out of each other's hands.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Ticket<C> {
    pub name: Name,
    /// 0 is nobody.
    pub owner: u64,
    /// When it came; from its hand-over on, when that was, or [`UNTIMED`].
    pub since: i64,
    links: [Link; 2],
    /// Where the owner is kept.
    pub owned: u32,
    /// While it has one.
    pub worker: u32,
    /// This and the next two, while it waits.
    pub tenant: u32,
    pub cost: u32,
    pub priority: u8,
    pub kind: Kind,
    pub stage: Stage,
    /// This and how long it waited are known of one that is timed: of how many its duration tells.
    pub stands_for: u8,
    pub waited: i64,
    pub parcel: Option<Baggage<C>>,
    /// Until when it may wait; while it does, as its route.
    pub deadline: i64,
    pub route: Route,
}

/// What a new ticket is made of.
#[derive(Debug)]
pub struct Fresh {
    pub kind: Kind,
    pub owner: u64,
    pub owned: u32,
    pub since: i64,
}

#[derive(Debug)]
pub struct Tickets<C> {
    // One that is free has the stage `Free`, and its successor among the free as its owner's place.
    places: Vec<Ticket<C>>,
    free: u32,
    len: usize,
    first_use: u64,
}

impl<C> Default for Tickets<C> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
            len: 0,
            first_use: 0,
        }
    }
}

impl<C> Tickets<C> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Ticket<C>>()
    }

    /// Where the uses of places are counted from, so that no name is one of another pool's.
    pub fn begin_at(&mut self, first_use: u64) {
        self.first_use = first_use;
    }

    #[inline]
    pub fn get(&self, at: u32) -> &Ticket<C> {
        &self.places[at as usize]
    }

    #[inline]
    pub fn get_mut(&mut self, at: u32) -> &mut Ticket<C> {
        &mut self.places[at as usize]
    }

    /// The place of a name, while that is in use.
    #[inline]
    pub fn find(&self, name: Name) -> Option<u32> {
        let ticket = self.places.get(name.place() as usize)?;
        (ticket.name == name && ticket.stage != Stage::Free).then(|| name.place())
    }

    /// A new ticket in its stage `Waiting`, in no chain; there is room, as [`MOST`] was asked first.
    #[inline]
    pub fn insert(&mut self, fresh: Fresh) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let at = self.free;
        let place = &mut self.places[at as usize];
        self.free = place.owned;
        self.len += 1;
        place.kind = fresh.kind;
        place.stage = Stage::Waiting;
        place.owner = fresh.owner;
        place.owned = fresh.owned;
        place.worker = NONE;
        place.since = fresh.since;
        at
    }

    #[cold]
    fn grow(&mut self) {
        let at = self.places.len() as u32;
        self.places.push(Ticket {
            name: Name::new(at, self.first_use),
            kind: Kind::Cast,
            stage: Stage::Free,
            owner: 0,
            owned: NONE,
            worker: NONE,
            tenant: NONE,
            priority: 0,
            stands_for: 1,
            waited: 0,
            cost: 0,
            route: Route::default(),
            deadline: 0,
            since: 0,
            parcel: None,
            links: [Link {
                before: NONE,
                after: NONE,
            }; 2],
        });
        self.free = at;
    }

    /// Ends a ticket that stands in no chain any more, and of which nothing is kept: whose it was.
    #[inline]
    pub fn remove(&mut self, at: u32) -> u64 {
        let free = self.free;
        let place = &mut self.places[at as usize];
        place.name = Name::new(at, (place.name.0 >> PLACE_BITS) + 1);
        place.stage = Stage::Free;
        place.owned = free;
        self.free = at;
        self.len -= 1;
        debug_assert!(place.parcel.is_none(), "what was kept is taken first");
        place.owner
    }

    fn link(&mut self, at: u32, of: Of) -> &mut Link {
        &mut self.get_mut(at).links[of.link()]
    }

    #[inline]
    pub fn append(&mut self, chain: &mut Chain, of: Of, at: u32) {
        *self.link(at, of) = Link {
            before: chain.last,
            after: NONE,
        };
        match chain.last {
            NONE => chain.first = at,
            last => self.link(last, of).after = at,
        }
        chain.last = at;
    }

    #[inline]
    pub fn unchain(&mut self, chain: &mut Chain, of: Of, at: u32) {
        let Link { before, after } = *self.link(at, of);
        match before {
            NONE => chain.first = after,
            before => self.link(before, of).after = after,
        }
        match after {
            NONE => chain.last = before,
            after => self.link(after, of).before = before,
        }
    }

    /// The tickets of a chain, from the first on.
    pub fn walk(&self, chain: Chain, of: Of) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(chain.first(), move |&at| {
            let after = self.get(at).links[of.link()].after;
            (after != NONE).then_some(after)
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Ticket<C>> {
        self.places.iter().filter(|place| place.stage != Stage::Free)
    }
}
