//! Who is told when a change is on disk, or is not.
//!
//! A completion is called exactly once, whatever happens to the writer: one that is dropped uncalled is told
//! [`StoreError::Abandoned`]. It runs on the writer's thread and must not block; a panic in it is reported and ends there.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::error::{StoreError, panic_text};
use crate::record::Revision;

/// What became of an accepted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is on disk, or something newer that was accepted after it.
    Done,
    /// It was older than what was there, which stays, and is on disk.
    Superseded { by: Revision },
}

pub type Completion = Box<dyn FnOnce(Result<Outcome, StoreError>) + Send>;

/// Is told of each panic on the writer's thread, in one sentence.
pub type PanicHook = Arc<dyn Fn(&str) + Send + Sync>;

/// For who does not want to be told. Costs nothing.
pub fn unwatched() -> Completion {
    Box::new(drop)
}

/// Waits for a completion on a thread that may block.
#[derive(Debug)]
pub struct Ticket(Receiver<Result<Outcome, StoreError>>);

impl Ticket {
    /// A completion and the ticket to wait for it with.
    pub fn new() -> (Completion, Self) {
        let (sender, receiver) = mpsc::channel();
        (Box::new(move |result| drop(sender.send(result))), Self(receiver))
    }

    /// `None` if it takes longer than `bound`; the ticket may be asked again.
    pub fn wait(&self, bound: Duration) -> Option<Result<Outcome, StoreError>> {
        self.0.recv_timeout(bound).ok()
    }
}

/// Counts panics and passes them on.
pub(crate) struct Panics {
    hook: PanicHook,
    count: AtomicU64,
}

impl Panics {
    pub(crate) fn new(hook: PanicHook) -> Self {
        Self {
            hook,
            count: AtomicU64::new(0),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Runs `body`; a panic in it is reported and answered with `None`.
    pub(crate) fn guard<R>(&self, whose: &str, body: impl FnOnce() -> R) -> Option<R> {
        catch_unwind(AssertUnwindSafe(body))
            .map_err(|panic| self.report(whose, &*panic))
            .ok()
    }

    fn report(&self, whose: &str, panic: &(dyn Any + Send)) {
        self.count.fetch_add(1, Ordering::SeqCst);
        let sentence = format!("{whose} of a kantoku store panicked: {}", panic_text(panic));
        // A hook that panics itself has nobody left to be reported to; the count tells of the first one.
        drop(catch_unwind(AssertUnwindSafe(|| (self.hook)(&sentence))));
    }
}

impl fmt::Debug for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panics")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// A completion with what is needed to tell whether its call came too late.
pub(crate) struct Waiter {
    asked: Revision,
    cleared: Option<Revision>,
    behind: Option<Revision>,
    done: Option<Completion>,
    panics: Arc<Panics>,
}

impl Waiter {
    /// `cleared`: up to where its key was cleared in the batch by then; `behind`: something newer that was in the batch.
    pub(crate) fn new(
        asked: Revision,
        cleared: Option<Revision>,
        behind: Option<Revision>,
        done: Completion,
        panics: Arc<Panics>,
    ) -> Self {
        Self {
            asked,
            cleared,
            behind,
            done: Some(done),
            panics,
        }
    }

    /// Its change is on disk; `stored` was there before the batch.
    pub(crate) fn committed(mut self, stored: Option<Revision>) {
        let standing = stored.filter(|stored| self.cleared.is_none_or(|up_to| *stored > up_to));
        let newer = standing
            .filter(|standing| *standing > self.asked)
            .max(self.behind);
        self.call(Ok(newer.map_or(Outcome::Done, |by| Outcome::Superseded { by })));
    }

    pub(crate) fn failed(mut self, error: StoreError) {
        self.call(Err(error));
    }

    fn call(&mut self, result: Result<Outcome, StoreError>) {
        if let Some(done) = self.done.take() {
            self.panics.guard("a completion", || done(result));
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.call(Err(StoreError::Abandoned));
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter")
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(asked: Revision, cleared: Option<Revision>, behind: Option<Revision>) -> (Waiter, Ticket) {
        let (done, ticket) = Ticket::new();
        (
            Waiter::new(
                asked,
                cleared,
                behind,
                done,
                Arc::new(Panics::new(Arc::new(|_| ()))),
            ),
            ticket,
        )
    }

    fn told(ticket: &Ticket) -> Result<Outcome, StoreError> {
        ticket.wait(Duration::ZERO).expect("was told at once")
    }

    const OLD: Revision = Revision::new(1, 1);
    const NEW: Revision = Revision::new(1, 2);

    #[test]
    fn is_superseded_by_what_stands_and_by_nothing_that_was_cleared() {
        let (late, ticket) = waiter(OLD, None, None);
        late.committed(Some(NEW));
        assert_eq!(told(&ticket).expect("committed"), Outcome::Superseded { by: NEW });

        let (cleared, ticket) = waiter(OLD, Some(NEW), None);
        cleared.committed(Some(NEW));
        assert_eq!(told(&ticket).expect("committed"), Outcome::Done);
    }

    #[test]
    fn is_superseded_by_what_was_in_its_batch_before_it() {
        let (late, ticket) = waiter(OLD, None, Some(NEW));
        late.committed(None);
        assert_eq!(told(&ticket).expect("committed"), Outcome::Superseded { by: NEW });
    }

    #[test]
    fn is_told_once_even_when_it_is_lost() {
        let (lost, ticket) = waiter(OLD, None, None);
        drop(lost);
        assert_eq!(told(&ticket).expect_err("was lost").reason(), "abandoned");
    }

    #[test]
    fn a_panic_reaches_the_hook_and_goes_no_further() {
        let (sender, reports) = mpsc::channel();
        let panics = Panics::new(Arc::new(move |sentence: &str| {
            drop(sender.send(sentence.to_owned()))
        }));
        assert_eq!(panics.guard("a test", || panic!("on purpose")), None::<()>);
        assert_eq!(
            reports.recv().as_deref(),
            Ok("a test of a kantoku store panicked: on purpose")
        );
        assert_eq!(panics.count(), 1);
    }
}
