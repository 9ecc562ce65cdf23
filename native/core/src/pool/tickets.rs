//! Tickets: one for each request that waits, is served, held, or abandoned. They stand in chains: of their owner, of their
//! worker, of the queue they wait in.

use std::fmt;

use super::parcel::Sealed;

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Call,
    Checkout,
    /// Nobody's from the start.
    Cast,
}

/// The chains a ticket can stand in.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    Owner,
    Worker,
    Queue,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

pub const NONE: u32 = u32::MAX;

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

    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

#[derive(Debug)]
pub struct Ticket<C> {
    pub name: Name,
    pub kind: Kind,
    pub stage: Stage,
    /// 0 is nobody.
    pub owner: u64,
    /// While it has one.
    pub worker: u32,
    pub tenant: u32,
    pub priority: u8,
    pub cost: u32,
    /// Until when it may wait.
    pub deadline: i64,
    /// When it came; from its hand-over on, when that was.
    pub since: i64,
    pub parcel: Option<Sealed<C>>,
    links: [Link; 3],
}

/// What a new ticket is made of.
#[derive(Debug)]
pub struct Fresh<C> {
    pub kind: Kind,
    pub owner: u64,
    pub priority: u8,
    pub cost: u32,
    pub deadline: i64,
    pub since: i64,
    pub parcel: Option<Sealed<C>>,
}

#[derive(Debug)]
enum Place<C> {
    Taken(Ticket<C>),
    Free { uses: u64, next: u32 },
}

#[derive(Debug)]
pub struct Tickets<C> {
    places: Vec<Place<C>>,
    free: u32,
    len: usize,
}

impl<C> Default for Tickets<C> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
            len: 0,
        }
    }
}

impl<C> Tickets<C> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place<C>>()
    }

    pub fn get(&self, at: u32) -> &Ticket<C> {
        match &self.places[at as usize] {
            Place::Taken(ticket) => ticket,
            Place::Free { .. } => unreachable!("a ticket in a chain is taken"),
        }
    }

    pub fn get_mut(&mut self, at: u32) -> &mut Ticket<C> {
        match &mut self.places[at as usize] {
            Place::Taken(ticket) => ticket,
            Place::Free { .. } => unreachable!("a ticket in a chain is taken"),
        }
    }

    /// The place of a name, while that is in use.
    pub fn find(&self, name: Name) -> Option<u32> {
        match self.places.get(name.place() as usize) {
            Some(Place::Taken(ticket)) if ticket.name == name => Some(name.place()),
            _ => None,
        }
    }

    /// A new ticket in its stage `Waiting`, in no chain; there is room, as [`MOST`] was asked first.
    pub fn insert(&mut self, fresh: Fresh<C>) -> u32 {
        let (at, uses) = self.free_place();
        let none = Link {
            before: NONE,
            after: NONE,
        };
        self.places[at as usize] = Place::Taken(Ticket {
            name: Name::new(at, uses),
            kind: fresh.kind,
            stage: Stage::Waiting,
            owner: fresh.owner,
            worker: NONE,
            tenant: NONE,
            priority: fresh.priority,
            cost: fresh.cost,
            deadline: fresh.deadline,
            since: fresh.since,
            parcel: fresh.parcel,
            links: [none; 3],
        });
        self.len += 1;
        at
    }

    fn free_place(&mut self) -> (u32, u64) {
        match self.places.get(self.free as usize) {
            Some(&Place::Free { uses, next }) => {
                let at = self.free;
                self.free = next;
                (at, uses)
            }
            _ => {
                self.places.push(Place::Free { uses: 0, next: NONE });
                (self.places.len() as u32 - 1, 0)
            }
        }
    }

    /// Ends a ticket that stands in no chain any more.
    pub fn remove(&mut self, at: u32) -> Ticket<C> {
        let uses = self.get(at).name.0 >> PLACE_BITS;
        let free = Place::Free {
            uses: uses + 1,
            next: self.free,
        };
        let Place::Taken(ticket) = std::mem::replace(&mut self.places[at as usize], free) else {
            unreachable!("a ticket in a chain is taken");
        };
        self.free = at;
        self.len -= 1;
        ticket
    }

    fn link(&mut self, at: u32, of: Of) -> &mut Link {
        &mut self.get_mut(at).links[of as usize]
    }

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
            let after = self.get(at).links[of as usize].after;
            (after != NONE).then_some(after)
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Ticket<C>> {
        self.places.iter().filter_map(|place| match place {
            Place::Taken(ticket) => Some(ticket),
            Place::Free { .. } => None,
        })
    }
}
