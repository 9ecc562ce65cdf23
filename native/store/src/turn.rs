//! What a store went through that its users do not see: a file that was set aside, failures, and their end.
//!
//! Knows no database. Whoever is told must not block: it is told on the thread that found it, with no lock held.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::StoreError;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Reading,
    Writing,
}

#[derive(Debug, Clone)]
pub enum Turn {
    /// The file was damaged as a whole, and is now called `to`; an empty one is in its place.
    SetAside { to: PathBuf, why: StoreError },
    /// What went well, or was never done, fails. Not told again before it went well.
    Failed { doing: Doing, why: StoreError },
    /// It goes well again.
    Recovered { doing: Doing, failed_for: Duration },
}

/// Is told of each turn.
pub type TurnHook = Arc<dyn Fn(&Turn) + Send + Sync>;

/// Reads fail here and there while a disk does: they are well again when none has failed for so long.
const READS_CALM: Duration = Duration::from_secs(1);

/// From a failure to its end, of one thing that is done again and again.
#[derive(Debug)]
pub(crate) struct Spell {
    doing: Doing,
    calm: Duration,
    is_on: AtomicBool,
    failures: Mutex<Option<Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    first: Instant,
    last: Instant,
}

impl Spell {
    pub(crate) fn of(doing: Doing) -> Self {
        let calm = match doing {
            Doing::Reading => READS_CALM,
            Doing::Writing => Duration::ZERO,
        };
        Self {
            doing,
            calm,
            is_on: AtomicBool::new(false),
            failures: Mutex::new(None),
        }
    }

    /// For how long it has failed.
    pub(crate) fn failing_for(&self) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.map(|failures| failures.first.elapsed())
    }

    /// It was done, and ended so. The turn that this is, if it is one.
    pub(crate) fn ended(&self, error: Option<&StoreError>) -> Option<Turn> {
        match error {
            None if !self.is_on.load(Ordering::SeqCst) => None,
            None => self.went_well(),
            // Nobody's failure.
            Some(StoreError::Closed) => None,
            Some(why) => self.failed(why),
        }
    }

    fn went_well(&self) -> Option<Turn> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let over = failures.take_if(|failures| failures.last.elapsed() >= self.calm)?;
        self.is_on.store(false, Ordering::SeqCst);
        Some(Turn::Recovered {
            doing: self.doing,
            failed_for: over.first.elapsed(),
        })
    }

    fn failed(&self, why: &StoreError) -> Option<Turn> {
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let first = failures.map_or(now, |failures| failures.first);
        let is_new = failures.replace(Failures { first, last: now }).is_none();
        self.is_on.store(true, Ordering::SeqCst);
        is_new.then(|| Turn::Failed {
            doing: self.doing,
            why: why.clone(),
        })
    }
}
