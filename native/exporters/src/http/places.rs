//! Who is connected, and who gives up its place when all are taken.
//!
//! A probe brings no token, so nobody may be able to shut it out who brings none: who comes while all places are taken gets the place of
//! whoever has shown no token for the longest time.
//!
//! G1. There are never more than `most` places.
//! G2. A place whose holder has shown the token is not taken away, but for an eighth of all, one at least, that is never kept: so whoever comes
//!     gets a place, as soon as who had it has let go of it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub struct Places {
    room: Arc<Semaphore>,
    most_kept: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    last: u64,
    kept: BTreeSet<u64>,
    // Those that may be taken away, the oldest first.
    passing: BTreeMap<u64, Arc<Notify>>,
}

/// A place, until this is dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    called: Arc<Notify>,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub fn new(most: usize) -> Arc<Self> {
        let passing = (most / 8).max(1);
        Arc::new(Self {
            room: Arc::new(Semaphore::new(most)),
            most_kept: most.saturating_sub(passing),
            taken: Mutex::default(),
        })
    }

    /// A place for who came last, and whether another had to give it up.
    pub async fn take(self: &Arc<Self>) -> (Place, bool) {
        if let Ok(permit) = self.room.clone().try_acquire_owned() {
            return (self.enter(permit), false);
        }
        let another = self.call_oldest();
        // G1
        let freed = self.room.clone().acquire_owned().await;
        (self.enter(freed.expect("nobody closes it")), another)
    }

    fn enter(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let mut taken = self.taken();
        taken.last += 1;
        let (number, called) = (taken.last, Arc::<Notify>::default());
        taken.passing.insert(number, called.clone());
        Place {
            number,
            called,
            places: self.clone(),
            _permit: permit,
        }
    }

    fn call_oldest(&self) -> bool {
        let oldest = self.taken().passing.pop_first();
        oldest.map(|(_, called)| called.notify_one()).is_some()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("nothing panics under it")
    }
}

impl Place {
    /// Its holder has shown the token (G2).
    pub fn keep(&self) {
        let mut taken = self.places.taken();
        if taken.kept.len() < self.places.most_kept && taken.passing.remove(&self.number).is_some() {
            taken.kept.insert(self.number);
        }
    }

    /// Does it until that is done, or the place is given up.
    pub async fn hold(&self, work: impl Future<Output = ()>) {
        let (mut work, mut called) = (pin!(work), pin!(self.called.notified()));
        poll_fn(|context| match called.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => work.as_mut().poll(context),
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.passing.remove(&self.number);
        taken.kept.remove(&self.number);
    }
}
