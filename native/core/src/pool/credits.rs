//! How much who sends is told that he may send: credits, each for one request, on loan until it is sent.
//!
//! A loan is one sender's. What it wishes for and has not got yet waits in a line; what it got it holds, until it takes it to send
//! a request, gives it back, does not use it in time, or dies. A credit is no permit: it only says that there was room.
//!
//! C1. What all loans hold is counted once in all, and once for its tenant.
//! C2. A credit ends once: granted = taken + returned + lapsed + held.
//! C3. A loan is in the line exactly while it wishes for more, but at its turn.
//! C4. Nothing is granted beyond the room that there is for its tenant at that moment (`lending`).

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::parcel::Sealed;
use super::quota::Tenant;

/// What a loan is called outside: a small integer.
pub type LoanName = u64;

/// More is wished for by nobody.
pub const MOST_WISHED: u64 = u32::MAX as u64;

const NAME_BITS: u32 = 59;

#[derive(Debug)]
pub struct Loan<C> {
    pub owner: u64,
    pub tenant: Tenant,
    pub cost: u32,
    /// How long what was granted is held without being used, in nanoseconds.
    pub ttl: i64,
    pub wished: u64,
    pub held: u64,
    lapses: i64,
    pub parcel: Sealed<C>,
}

/// What became of all credits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub granted: u64,
    pub taken: u64,
    pub returned: u64,
    pub lapsed: u64,
}

#[derive(Debug)]
pub struct Credits<C> {
    loans: HashMap<LoanName, Loan<C>>,
    of_owner: HashMap<u64, Vec<LoanName>>,
    of_tenant: HashMap<Tenant, u64>,
    line: VecDeque<LoanName>,
    lapses: BTreeSet<(i64, LoanName)>,
    held: u64,
    next: LoanName,
    pub tally: Tally,
}

impl<C> Default for Credits<C> {
    fn default() -> Self {
        Self {
            loans: HashMap::new(),
            of_owner: HashMap::new(),
            of_tenant: HashMap::new(),
            line: VecDeque::new(),
            lapses: BTreeSet::new(),
            held: 0,
            next: 0,
            tally: Tally::default(),
        }
    }
}

impl<C> Credits<C> {
    /// Where names are counted from, so that none is one of another pool's.
    pub fn begin_at(&mut self, first: u64) {
        self.next = first;
    }

    #[inline]
    pub fn anyone_wishes(&self) -> bool {
        !self.line.is_empty()
    }

    pub fn wishing(&self) -> usize {
        self.line.len()
    }

    pub fn held(&self) -> u64 {
        self.held
    }

    pub fn held_of(&self, tenant: &[u8]) -> u64 {
        self.of_tenant.get(tenant).copied().unwrap_or(0)
    }

    pub fn get(&self, name: LoanName) -> Option<&Loan<C>> {
        self.loans.get(&name)
    }

    // Loans ----------------------------------------------------------------------------------------------------------

    pub fn open(&mut self, owner: u64, tenant: &[u8], cost: u32, ttl: i64, parcel: Sealed<C>) -> LoanName {
        let name = self.next & ((1 << NAME_BITS) - 1);
        self.next = self.next.wrapping_add(1);
        let loan = Loan {
            owner,
            tenant: tenant.into(),
            cost,
            ttl,
            wished: 0,
            held: 0,
            lapses: 0,
            parcel,
        };
        self.loans.insert(name, loan);
        self.of_owner.entry(owner).or_default().push(name);
        name
    }

    /// Ends a loan: what it held.
    pub fn close(&mut self, name: LoanName) -> u64 {
        let held = self.give_back(name, u64::MAX);
        let Some(loan) = self.loans.remove(&name) else {
            return 0;
        };
        if loan.wished > 0 {
            self.line.retain(|&other| other != name);
        }
        if let Some(names) = self.of_owner.get_mut(&loan.owner) {
            names.retain(|&other| other != name);
            if names.is_empty() {
                self.of_owner.remove(&loan.owner);
            }
        }
        held
    }

    pub fn close_all_of(&mut self, owner: u64) {
        let names = self.of_owner.get(&owner).cloned().unwrap_or_default();
        for name in names {
            self.close(name);
        }
    }

    /// The whole of it, for a pool that is closed.
    pub fn take_all(&mut self) -> Vec<Loan<C>> {
        std::mem::take(self).loans.into_values().collect()
    }

    // Wishes ---------------------------------------------------------------------------------------------------------

    pub fn wish(&mut self, name: LoanName, count: u64) {
        let Some(loan) = self.loans.get_mut(&name) else {
            return;
        };
        if loan.wished == 0 && count > 0 {
            self.line.push_back(name);
        }
        loan.wished = loan.wished.saturating_add(count).min(MOST_WISHED);
    }

    /// Whose turn it is; until it is lined up again, or has nothing to wish for, it stands nowhere.
    pub fn turn(&mut self) -> Option<LoanName> {
        self.line.pop_front()
    }

    /// To the end of the line, if it still wishes.
    pub fn line_up(&mut self, name: LoanName) {
        if self.loans.get(&name).is_some_and(|loan| loan.wished > 0) {
            self.line.push_back(name);
        }
    }

    /// To the head of the line, in this order.
    pub fn put_back(&mut self, names: Vec<LoanName>) {
        names
            .into_iter()
            .rev()
            .for_each(|name| self.line.push_front(name));
    }

    /// Takes the last out of the line, if this is it.
    pub fn step_out(&mut self, name: LoanName) -> bool {
        let last = self.line.back() == Some(&name);
        if last {
            self.line.pop_back();
        }
        last
    }

    /// To a loan that stands nowhere.
    pub fn grant(&mut self, name: LoanName, count: u64, now: i64) {
        let Some(loan) = self.loans.get_mut(&name) else {
            return;
        };
        debug_assert!(
            count > 0 && count <= loan.wished,
            "what is granted was wished for"
        );
        self.lapses.remove(&(loan.lapses, name));
        loan.lapses = now.saturating_add(loan.ttl);
        self.lapses.insert((loan.lapses, name));
        loan.held += count;
        loan.wished -= count;
        *self.of_tenant.entry(loan.tenant.clone()).or_default() += count;
        self.held += count;
        self.tally.granted += count;
    }

    // Ends of credits -------------------------------------------------------------------------------------------------

    /// So many at most are used: how many.
    pub fn take(&mut self, name: LoanName, most: u64) -> u64 {
        let count = self.end(name, most);
        self.tally.taken += count;
        count
    }

    /// So many at most go back: how many.
    pub fn give_back(&mut self, name: LoanName, most: u64) -> u64 {
        let count = self.end(name, most);
        self.tally.returned += count;
        count
    }

    /// Takes back what was held too long.
    pub fn lapse(&mut self, now: i64) {
        while let Some(&(at, name)) = self.lapses.first()
            && at <= now
        {
            self.tally.lapsed += self.end(name, u64::MAX);
        }
    }

    fn end(&mut self, name: LoanName, most: u64) -> u64 {
        let Some(loan) = self.loans.get_mut(&name) else {
            return 0;
        };
        let count = loan.held.min(most);
        loan.held -= count;
        if loan.held == 0 {
            self.lapses.remove(&(loan.lapses, name));
        }
        self.held -= count;
        if count > 0
            && let Some(of_tenant) = self.of_tenant.get_mut(&loan.tenant)
        {
            *of_tenant -= count;
            if *of_tenant == 0 {
                self.of_tenant.remove(&loan.tenant);
            }
        }
        count
    }

    // Looking --------------------------------------------------------------------------------------------------------

    pub fn check(&self) {
        let held = |loan: &Loan<C>| loan.held;
        let all: u64 = self.loans.values().map(held).sum();
        assert_eq!((self.held, self.of_tenant.values().sum()), (all, all), "C1");
        for (tenant, &count) in &self.of_tenant {
            let own = self.loans.values().filter(|loan| loan.tenant == *tenant);
            assert_eq!(own.map(held).sum::<u64>(), count, "C1");
        }
        let Tally {
            granted,
            taken,
            returned,
            lapsed,
        } = self.tally;
        assert_eq!(granted, taken + returned + lapsed + self.held, "C2");
        let wishing = self.loans.iter().filter(|(_, loan)| loan.wished > 0);
        assert_eq!(wishing.count(), self.line.len(), "C3");
        assert!(self.line.iter().all(|name| self.loans[name].wished > 0), "C3");
        let holding = self.loans.values().filter(|loan| loan.held > 0);
        assert_eq!(
            holding.count(),
            self.lapses.len(),
            "what is held lapses some time"
        );
        let owned: usize = self.of_owner.values().map(Vec::len).sum();
        assert_eq!(owned, self.loans.len(), "each owner knows its loans");
    }

    pub fn bytes(&self) -> usize {
        self.loans.capacity() * size_of::<(LoanName, Loan<C>)>()
            + self.of_owner.capacity() * size_of::<(u64, Vec<LoanName>)>()
            + self.of_tenant.capacity() * size_of::<(Tenant, u64)>()
            + self.line.capacity() * size_of::<LoanName>()
            + self.lapses.len() * 2 * size_of::<(i64, LoanName)>()
    }
}
