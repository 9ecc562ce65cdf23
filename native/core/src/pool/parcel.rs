//! What a caller hands in with a request, and the one word that says whether it is on its way.
//!
//! A parcel is delivered outside the pool's lock, as its content may be large. Whoever abandons the request meanwhile must
//! not have the worker asked whether it is done before the request is in its mailbox. So of the two, the one who
//! comes second sees to that: each leaves its mark in one step, and is told of the other's.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU8, Ordering};

#[derive(Debug)]
pub struct Parcel<C> {
    mark: AtomicU8,
    pub content: C,
}

/// A parcel that its ticket and whoever delivers it share.
pub type Sealed<C> = Arc<Parcel<C>>;

/// What a ticket keeps of its request.
#[derive(Debug)]
pub enum Baggage<C> {
    /// What only its owner will be told of: a check-out, or a call that its owner sent himself.
    Own(C),
    /// What is delivered, and told of afterwards.
    Shared(Sealed<C>),
}

impl<C> Baggage<C> {
    pub fn content(&self) -> &C {
        match self {
            Baggage::Own(content) => content,
            Baggage::Shared(parcel) => &parcel.content,
        }
    }

    /// As [`Parcel::abandon`]; what was never to be delivered was sent by who asked.
    pub(super) fn abandon(&self) -> bool {
        match self {
            Baggage::Own(_) => true,
            Baggage::Shared(parcel) => parcel.abandon(),
        }
    }

    pub(super) fn was_sent(&self) -> bool {
        match self {
            Baggage::Own(_) => true,
            Baggage::Shared(parcel) => parcel.was_sent(),
        }
    }

    // Nobody can abandon it before it was sent: who asked is at it.
    pub(super) fn is_sent_by_owner(&self) {
        if let Baggage::Shared(parcel) = self {
            parcel.sent();
        }
    }
}

const SENT: u8 = 1;
const ABANDONED: u8 = 2;

impl<C> Parcel<C> {
    pub fn seal(content: C) -> Sealed<C> {
        Arc::new(Self {
            mark: AtomicU8::new(0),
            content,
        })
    }

    /// After it was delivered: whether it was abandoned meanwhile, so that the foreman is to be told now.
    ///
    /// `AcqRel`: who comes second sees what the first did before.
    pub fn sent(&self) -> bool {
        self.mark.fetch_or(SENT, Ordering::AcqRel) & ABANDONED != 0
    }

    /// When nobody waits for it any more: whether it was delivered, so that the foreman is to be told now.
    pub(super) fn abandon(&self) -> bool {
        self.mark.fetch_or(ABANDONED, Ordering::AcqRel) & SENT != 0
    }

    pub(super) fn was_sent(&self) -> bool {
        self.mark.load(Ordering::Acquire) & SENT != 0
    }
}
