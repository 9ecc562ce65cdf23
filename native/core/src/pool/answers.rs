//! What a pool is asked, and what it answers: values that both sides of the lock know.

use super::ejection::Cause;
use super::telling::Refusal;
use super::tickets::{Kind, Name, Route};

/// A request as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub kind: Kind,
    /// 0 is nobody.
    pub owner: u64,
    pub tenant: &'a [u8],
    pub priority: u8,
    pub cost: u32,
    /// How long it may wait at most, in nanoseconds.
    pub wait: i64,
    pub route: Route,
}

impl Asking<'_> {
    /// A check-out about which there is nothing to say.
    #[inline]
    pub fn check_out(owner: u64) -> Self {
        Self {
            kind: Kind::Checkout,
            owner,
            tenant: &[],
            priority: 1,
            cost: 1,
            wait: i64::MAX,
            route: Route::default(),
        }
    }
}

/// A loan as it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Borrowing<'a> {
    pub owner: u64,
    pub tenant: &'a [u8],
    /// Of each request that is sent for a credit.
    pub cost: u32,
    /// Nanoseconds in which what was granted is to be used.
    pub ttl: i64,
}

/// What is done with a loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealing {
    /// So many more are wished for; those that are granted later are an effect.
    Ask,
    /// So many are about to be sent, by anyone.
    Take,
    GiveBack,
    Close,
}

/// What became of a dealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealt {
    /// So many were granted, taken, given back.
    Count(u64),
    Gone,
    Foreign,
}

/// What became of a request at its arrival.
#[derive(Debug)]
pub enum Asked {
    /// A worker is there for it now.
    Taken {
        ticket: Name,
        worker: u64,
    },
    Queued {
        ticket: Name,
    },
    Refused {
        reason: Refusal,
        retry_in: i64,
    },
    /// The owner is dead.
    NoOwner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    Done,
    Gone,
    Foreign,
}

/// What became of a worker's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replied {
    /// It is for this owner, who still waits for it.
    To(u64),
    /// Nobody waits for it any more; it stays abandoned until the foreman has heard that the worker is done.
    Late,
    /// The worker has no such call.
    None,
}

/// How a held or served ticket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Error,
    /// The worker may still be busy with it.
    Abandoned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was waiting.
    Withdrawn,
    /// A worker has it.
    Abandoned,
    /// It was granted meanwhile; that went back.
    Returned,
    Gone,
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    Done,
    /// The member is a living process already.
    Taken(u64),
    Dead,
}

/// Numbers of a pool, in one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub workers: u64,
    pub ready: u64,
    pub leaving: u64,
    pub free: u64,
    pub ongoing: u64,
    pub abandoned: u64,
    pub queue: u64,
    pub tenants: u64,
    pub served: u64,
    pub refused: u64,
    pub expired: u64,
    pub cancelled: u64,
    /// Of the served, by how they ended: well, by their owner's word not, worked off when nobody waited any more, with their worker, and
    /// not used.
    pub succeeded: u64,
    pub failed: u64,
    pub given_up: u64,
    pub lost: u64,
    pub returned: u64,
    /// Of the refused, those that waited too long under overload, and that came while it drained.
    pub dropped: u64,
    pub drained: u64,
    pub overloaded: u64,
    /// Nanoseconds, exponentially weighted means.
    pub wait: u64,
    pub hold: u64,
    pub arrived: u64,
    /// Refused by quotas.
    pub over_quota: u64,
    /// Admitted, while there were quotas, under none of their tenants' own.
    pub unlimited: u64,
    /// A mean, in thousandths.
    pub cost: u64,
    /// Requests a minute, by the quotas of tenants that came within the last 10 s; 0 where these are too many.
    pub let_through: u64,
    /// Held by those who send.
    pub credits: u64,
    /// Loans that wait for credits.
    pub wishes: u64,
    /// Given no work for what their requests came to, or by hand; not ready by a probe.
    pub ejected: u64,
    pub not_ready: u64,
    /// With less than their share.
    pub growing: u64,
    /// Whether those are given work all the same.
    pub panic: u64,
    /// How often nobody was ejected any more, as enough were.
    pub held_back: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub pid: u64,
    pub member: u64,
    pub leaving: bool,
    pub busy: bool,
    /// Given nothing new: ejected, or not ready.
    pub ejected: bool,
    pub shut: bool,
    pub ongoing: u32,
    /// Nanoseconds.
    pub latency: u64,
    pub served: u64,
}

/// How a worker stands that was ejected, or is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Ejected,
    /// It would be ejected, were that not only to be told.
    Observed,
    /// It is in, with less than its share.
    Growing,
    In,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    pub member: u64,
    pub standing: Standing,
    /// Of the last ejection; `None` of who is new.
    pub cause: Option<Cause>,
    /// For how long it stands so, and how long it will be out ([`super::FOREVER`]: until it is readmitted), in nanoseconds.
    pub since: i64,
    pub left: Option<i64>,
    pub times: u32,
    /// Of its share.
    pub percent: u32,
}
