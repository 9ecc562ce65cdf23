//! What is to be sent after a change: to workers, to those that wait, to the pool's foreman.

use super::parcel::{Baggage, Sealed};
use super::tickets::{Kind, Name};

/// Why a request is not served. A word, as what it is moved with is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    QueueFull,
    Overloaded,
    Quota,
    /// It waited longer than it may.
    Deadline,
    Draining,
    Closed,
}

/// For the pool's foreman.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nobody waits for this any more; is the worker done with it?
    Abandoned {
        ticket: Name,
        worker: u64,
    },
    /// A worker was sent what nobody waits for; when is it done with it?
    Cast {
        ticket: Name,
        worker: u64,
    },
    /// A leaving worker has nothing left to do.
    Left {
        worker: u64,
    },
    Down {
        worker: u64,
    },
    /// A request has to wait, or is refused, for the first time since the last tick.
    Pressed,
    Ejected {
        worker: u64,
        member: u64,
    },
    /// The member is ejected no more.
    Returned {
        member: u64,
    },
    /// Who is ejected or not ready is given work all the same, or not any more.
    Panic {
        entered: bool,
    },
}

impl Notice {
    /// Of what a worker was sent, and nobody waits for.
    pub fn unheeded(kind: Kind, ticket: Name, worker: u64) -> Self {
        match kind {
            Kind::Cast => Notice::Cast { ticket, worker },
            Kind::Call | Kind::Checkout => Notice::Abandoned { ticket, worker },
        }
    }
}

#[derive(Debug)]
pub enum Effect<C> {
    /// The request is the worker's. After it was sent, [`super::Parcel::sent`] says whether `unheeded` is to be told.
    Deliver {
        worker: u64,
        parcel: Sealed<C>,
        unheeded: Notice,
    },
    /// As `Deliver`, of a request that who asks sends himself, before he carries out the effects.
    Entrust {
        parcel: Sealed<C>,
        unheeded: Notice,
    },
    /// The worker is the owner's.
    Grant {
        owner: u64,
        worker: u64,
        content: C,
    },
    /// `owner` 0 is nobody.
    Refuse {
        owner: u64,
        parcel: Baggage<C>,
        reason: Refusal,
        retry_in: i64,
    },
    /// So many credits more are the owner's.
    Credit {
        owner: u64,
        parcel: Sealed<C>,
        count: u64,
    },
    /// The worker died with the call.
    Lost {
        owner: u64,
        parcel: Baggage<C>,
    },
    Tell(Notice),
}

/// In the order in which they are to be carried out. Nearly always one at most, which lies here.
#[derive(Debug)]
pub struct Effects<C> {
    first: Option<Effect<C>>,
    rest: Vec<Effect<C>>,
    // Nobody needs it any more. It ends with this, outside the lock, as that may take longer than all that is done behind it.
    spent: Option<Baggage<C>>,
}

impl<C> Default for Effects<C> {
    fn default() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
            spent: None,
        }
    }
}

impl<C> Effects<C> {
    pub(super) fn push(&mut self, effect: Effect<C>) {
        if self.first.is_none() {
            self.first = Some(effect);
        } else {
            self.rest.push(effect);
        }
    }

    pub(super) fn discard(&mut self, parcel: Option<Baggage<C>>) {
        if self.spent.is_none() {
            self.spent = parcel;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl<C> IntoIterator for Effects<C> {
    type Item = Effect<C>;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Effect<C>>, std::vec::IntoIter<Effect<C>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}
