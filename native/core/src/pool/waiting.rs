//! Who is next: deficit round-robin between tenants, priorities and age within one.
//!
//! W1. A tenant is in the ring exactly while tickets of it wait.
//! W2. Between two tenants that wait all the while, what is served of them differs from their weights by no more than the largest cost
//!     and one weight: nobody starves, and nobody gains by asking more.
//! W3. Within a tenant the highest priority is served first, but each eighth ticket is the oldest of all, so that no priority starves.
//! W4. Where there is no room, who waits in the longest queue for its weight makes some, a newcomer counted in and a tenant's
//!     only ticket never: longest queue drop (McKenney, "Stochastic Fairness Queueing", INFOCOM 1990). So whoever has less than
//!     its share of the room gets in, whatever the others ask for.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::tickets::{Chain, Of, Tickets};

pub const PRIORITIES: usize = 3;
const OLDEST_EACH: u64 = 8;

// One that nobody stands in waits for another tenant, with what it has room for: tenants come and go at each ticket.
#[derive(Debug, Default)]
struct Row {
    tenant: Vec<u8>,
    hash: u64,
    weight: i64,
    credit: i64,
    levels: [Chain; PRIORITIES],
    len: u32,
    served: u64,
}

impl Row {
    fn length(&self) -> Length {
        Length {
            len: self.len,
            weight: self.weight,
        }
    }

    // For its weight.
    fn is_longer_than(&self, other: Length) -> bool {
        i64::from(self.len) * other.weight > i64::from(other.len) * self.weight
    }
}

/// How many tickets a tenant has waiting, and what it weighs.
#[derive(Clone, Copy, Debug)]
struct Length {
    len: u32,
    weight: i64,
}

/// Which end of a line is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    Oldest,
    /// Under overload: the oldest would be too late anyhow.
    Newest,
}

#[derive(Debug, Default)]
pub struct Waiting {
    rows: Vec<Row>,
    free: Vec<u32>,
    by_tenant: HashTable<u32>,
    hasher: RandomState,
    // The row of those that name no tenant, which most do not.
    nameless: Option<u32>,
    ring: VecDeque<u32>,
    len: usize,
    // Of all in line.
    weights: i64,
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn tenants(&self) -> usize {
        self.ring.len()
    }

    fn row(&self, at: u32) -> &Row {
        &self.rows[at as usize]
    }

    fn row_mut(&mut self, at: u32) -> &mut Row {
        &mut self.rows[at as usize]
    }

    /// Lines a ticket up.
    pub fn push<C>(&mut self, tickets: &mut Tickets<C>, at: u32, tenant: &[u8], weight: i64) {
        let row = match self.row_of(tenant) {
            Some(row) => row,
            None => self.enter(tenant, weight),
        };
        let ticket = tickets.get_mut(at);
        ticket.tenant = row;
        let level = usize::from(ticket.priority);
        let line = self.row_mut(row);
        line.len += 1;
        tickets.append(&mut line.levels[level], Of::Queue, at);
        self.len += 1;
    }

    fn row_of(&self, tenant: &[u8]) -> Option<u32> {
        if tenant.is_empty() {
            return self.nameless;
        }
        let hash = self.hasher.hash_one(tenant);
        let found = self.by_tenant.find(hash, |&at| self.row(at).tenant == tenant);
        found.copied()
    }

    fn enter(&mut self, tenant: &[u8], weight: i64) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.rows.push(Row::default());
            self.rows.len() as u32 - 1
        });
        let hash = self.hasher.hash_one(tenant);
        let row = self.row_mut(at);
        row.tenant.clear();
        row.tenant.extend_from_slice(tenant);
        (row.hash, row.weight, row.credit, row.served) = (hash, weight, 0, 0);
        if tenant.is_empty() {
            self.nameless = Some(at);
        } else {
            let rows = &self.rows;
            self.by_tenant
                .insert_unique(hash, at, |&at| rows[at as usize].hash);
        }
        self.weights += weight;
        self.ring.push_back(at);
        at
    }

    /// Takes a ticket out of the line, wherever it stands.
    pub fn remove<C>(&mut self, tickets: &mut Tickets<C>, at: u32) {
        let (row, level) = {
            let ticket = tickets.get(at);
            (ticket.tenant, usize::from(ticket.priority))
        };
        let line = self.row_mut(row);
        line.len -= 1;
        let emptied = line.len == 0;
        tickets.unchain(&mut line.levels[level], Of::Queue, at);
        self.len -= 1;
        if emptied {
            self.leave(row);
        }
    }

    /// The ticket that makes room for one of the tenant, if it is not the tenant itself that has most (W4): the newest of the lowest
    /// priority. Looks at each tenant in line, but for a tenant of which nobody has to make room for another.
    pub fn outcrowded(&self, tenant: &[u8], weight: i64) -> Option<u32> {
        let everyone_has_one = self.len == self.ring.len();
        if everyone_has_one {
            return None;
        }
        let own = self.row_of(tenant);
        let comer = Length {
            len: own.map_or(0, |own| self.row(own).len) + 1,
            weight,
        };
        let others = self.ring.iter().filter(|&&at| Some(at) != own);
        let longest = others
            .map(|&at| self.row(at))
            .filter(|row| row.len > 1)
            .reduce(|longest, row| {
                if row.is_longer_than(longest.length()) {
                    row
                } else {
                    longest
                }
            })?;
        let gives_way = comer.len == 1 || longest.is_longer_than(comer);
        let newest = || longest.levels.iter().rev().find_map(Chain::last);
        gives_way.then(newest).flatten()
    }

    fn leave(&mut self, at: u32) {
        // Who was just served stands at one of the ends.
        if self.ring.front() == Some(&at) {
            self.ring.pop_front();
        } else if self.ring.back() == Some(&at) {
            self.ring.pop_back();
        } else {
            self.ring.retain(|&row| row != at);
        }
        let Row { hash, weight, .. } = *self.row(at);
        self.weights -= weight;
        if self.nameless == Some(at) {
            self.nameless = None;
        } else if let Ok(known) = self.by_tenant.find_entry(hash, |&row| row == at) {
            known.remove();
        }
        self.free.push(at);
    }

    /// The tenant whose turn it is. It stays its turn until [`Waiting::served`] or the tenant's leaving.
    pub fn turn(&mut self) -> Option<u32> {
        let mut passed = 0;
        while let Some(&at) = self.ring.front() {
            let row = self.row_mut(at);
            if row.credit <= 0 {
                row.credit += row.weight;
            }
            if row.credit > 0 {
                return Some(at);
            }
            self.ring.rotate_left(1);
            passed += 1;
            if passed == self.ring.len() {
                self.skip_turns();
                passed = 0;
            }
        }
        None
    }

    // All are in debt after a whole turn: adds the turns that would serve nobody.
    fn skip_turns(&mut self) {
        let turns_needed = |row: &Row| (-row.credit) / row.weight;
        let turns = self
            .ring
            .iter()
            .map(|&at| turns_needed(self.row(at)))
            .min()
            .unwrap_or(0);
        for place in 0..self.ring.len() {
            let row = self.row_mut(self.ring[place]);
            row.credit += turns * row.weight;
        }
    }

    /// The next ticket of a tenant.
    pub fn next<C>(&self, tickets: &Tickets<C>, tenant: u32, first: First) -> u32 {
        let row = self.row(tenant);
        let ends = row.levels.iter().filter_map(|level| match first {
            First::Oldest => level.first(),
            First::Newest => level.last(),
        });
        if !(row.served + 1).is_multiple_of(OLDEST_EACH) {
            return { ends }.next().expect("a tenant in the ring has a ticket");
        }
        let age = |&at: &u32| (tickets.get(at).since, tickets.get(at).priority);
        match first {
            First::Oldest => ends.min_by_key(age),
            First::Newest => ends.max_by_key(age),
        }
        .expect("a tenant in the ring has a ticket")
    }

    /// The oldest ticket of a tenant.
    pub fn oldest_of<C>(&self, tickets: &Tickets<C>, tenant: u32) -> Option<u32> {
        let mut heads = self.row(tenant).levels.iter().filter_map(Chain::first);
        let head = heads.next()?;
        let age = |&at: &u32| (tickets.get(at).since, tickets.get(at).priority);
        // Mostly of one priority only, and then no ticket needs to be looked at.
        match heads.next() {
            None => Some(head),
            Some(other) => heads.chain([head, other]).min_by_key(age),
        }
    }

    /// When the oldest of all came.
    pub fn oldest<C>(&self, tickets: &Tickets<C>) -> Option<i64> {
        let oldest = self.ring.iter().filter_map(|&at| self.oldest_of(tickets, at));
        oldest.map(|at| tickets.get(at).since).min()
    }

    /// A ticket of the tenant whose turn it is is handed over: charges the tenant, takes the ticket out of the line.
    pub fn served<C>(&mut self, tickets: &mut Tickets<C>, at: u32) {
        let (row, cost) = {
            let ticket = tickets.get(at);
            (ticket.tenant, i64::from(ticket.cost))
        };
        let tenant = self.row_mut(row);
        tenant.served += 1;
        tenant.credit -= cost;
        let in_debt = tenant.credit <= 0;
        if in_debt {
            self.ring.rotate_left(1);
        }
        self.remove(tickets, at);
    }

    /// Whether the ticket's tenant is still in line.
    pub fn waits(&self, tenant: u32) -> bool {
        self.rows.get(tenant as usize).is_some_and(|row| row.len > 0)
    }

    /// The weight of each tenant in line is asked for again.
    pub fn weigh(&mut self, weight: impl Fn(&[u8]) -> i64) {
        self.weights = 0;
        for &at in &self.ring {
            let row = &mut self.rows[at as usize];
            row.weight = weight(&row.tenant);
            self.weights += row.weight;
        }
    }

    /// How many tickets of a tenant wait, and what all weigh that are in line if it is.
    pub fn standing(&self, tenant: &[u8], weight: i64) -> (u64, i64) {
        match self.row_of(tenant) {
            Some(at) => (u64::from(self.row(at).len), self.weights),
            None => (0, self.weights + weight),
        }
    }

    /// All that wait, tenant by tenant.
    pub fn all<C>(&self, tickets: &Tickets<C>) -> Vec<u32> {
        let levels = self.ring.iter().flat_map(|&at| self.row(at).levels);
        levels.flat_map(|level| tickets.walk(level, Of::Queue)).collect()
    }

    pub fn bytes(&self) -> usize {
        let names: usize = self.rows.iter().map(|row| row.tenant.capacity()).sum();
        names
            + self.rows.capacity() * size_of::<Row>()
            + (self.ring.capacity() + self.free.capacity()) * size_of::<u32>()
            + self.by_tenant.capacity() * (size_of::<u32>() + 1)
    }
}
