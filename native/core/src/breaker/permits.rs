//! Who tries whether a half-open breaker may close (B1).

/// Names one admission: the turn it was given in, and a permit's number if one was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

const NUMBER_BITS: u32 = 24;
const NUMBERS: u32 = (1 << NUMBER_BITS) - 1;

impl Ticket {
    #[inline]
    pub fn new(turn: u32, number: u32) -> Self {
        Self(u64::from(turn) << NUMBER_BITS | u64::from(number))
    }

    #[inline]
    pub fn word(self) -> u64 {
        self.0
    }

    pub fn from_word(word: u64) -> Option<Self> {
        (word >> NUMBER_BITS <= u64::from(u32::MAX)).then_some(Self(word))
    }

    pub fn turn(self) -> u32 {
        (self.0 >> NUMBER_BITS) as u32
    }

    fn number(self) -> u32 {
        self.0 as u32 & NUMBERS
    }
}

#[derive(Debug)]
struct Permit<H> {
    number: u32,
    owner: u64,
    handle: H,
}

#[derive(Debug)]
pub struct Permits<H> {
    out: Vec<Permit<H>>,
    left: u32,
    last: u32,
}

impl<H> Default for Permits<H> {
    fn default() -> Self {
        Self {
            out: Vec::new(),
            left: 0,
            last: 0,
        }
    }
}

impl<H> Permits<H> {
    /// A new turn with so many; gives back what was kept of those that were out.
    pub fn renew(&mut self, count: u32) -> Vec<H> {
        self.left = count;
        self.last = 0;
        std::mem::take(&mut self.out)
            .into_iter()
            .map(|permit| permit.handle)
            .collect()
    }

    pub fn left(&self) -> u32 {
        self.left
    }

    pub fn out(&self) -> u32 {
        self.out.len() as u32
    }

    /// The number of a permit; there has to be one left.
    pub fn take(&mut self, owner: u64, handle: H) -> u32 {
        debug_assert!(self.left > 0);
        self.left -= 1;
        self.last = self.last % NUMBERS + 1;
        self.out.push(Permit {
            number: self.last,
            owner,
            handle,
        });
        self.last
    }

    /// A permit was used up, or is given back as if it had never been taken.
    pub fn end(&mut self, ticket: Ticket, used: bool) -> Option<H> {
        let number = ticket.number();
        self.end_where(|permit| permit.number == number, used)
    }

    /// The oldest permit of an owner.
    pub fn end_oldest(&mut self, owner: u64, used: bool) -> Option<H> {
        self.end_where(|permit| permit.owner == owner, used)
    }

    fn end_where(&mut self, is: impl Fn(&Permit<H>) -> bool, used: bool) -> Option<H> {
        let at = self.out.iter().position(is)?;
        self.left += u32::from(!used);
        Some(self.out.remove(at).handle)
    }
}
