//! A breaker: whether what failed is to be asked at all. States, parameters and defaults are resilience4j's.
//!
//! Who asks a breaker that lets everybody or nobody pass reads one word, and locks nothing. All else is done one after the other
//! under a short lock, by rules that know no threads (`machine`), which then say anew what the word is.
//!
//! B1. In one turn of a half-open breaker no more calls are let pass than are permitted, but for those that gave their permit back
//!     (they ended without an outcome, or their owner died). A permit has one outcome.
//! B2. An outcome under a ticket of an earlier turn changes nothing.
//! B3. What is answered without the lock, the rules would have answered at some moment of the call.
//! B4. What is counted is the last `size` outcomes of this turn, or those of its last `size` seconds.
//! B5. Each change of state is told to exactly one caller.
//! B6. What is sent for another generation changes nothing.
//!
//! Times are whatever the caller says; `Clock` says those in which we ran.

mod clock;
mod config;
mod machine;
mod names;
mod permits;
mod window;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub use clock::{Clock, Moment, PERIOD};
pub use config::{Config, PERCENT, Span};
pub use machine::{Admission, Change, Ending, NEVER, STATES, State, Status, Totals};
pub use names::Names;
pub use permits::Ticket;
pub use window::Counts;

use machine::Machine;

/// The generation is not the one that the breaker is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// An answer, the changes that came with it, and what is to be dropped now that no lock is held.
#[derive(Debug)]
pub struct Told<T, H> {
    pub answer: T,
    pub changes: Vec<Change>,
    pub spent: Vec<H>,
}

// The word: generation, turn, state.
const STATE_BITS: u32 = 3;
const TURN_BITS: u32 = 29;
pub(crate) const TURNS: u32 = (1 << TURN_BITS) - 1;

/// What a breaker is at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance(u64);

// The states in which everybody passes.
const PASSED: u64 = 1 << State::Closed as u64 | 1 << State::Disabled as u64 | 1 << State::MetricsOnly as u64;

impl Glance {
    /// The generation that it is open for; 0 is none.
    #[inline]
    pub fn generation(self) -> u32 {
        (self.0 >> (TURN_BITS + STATE_BITS)) as u32
    }

    fn state(self) -> State {
        STATES[(self.0 & 7) as usize]
    }

    /// The ticket, if it is open for some generation and lets everybody pass.
    #[inline]
    pub fn ticket(self) -> Option<Ticket> {
        let passed = self.generation() != 0 && PASSED >> (self.0 & 7) & 1 == 1;
        passed.then(|| Ticket::new((self.0 >> STATE_BITS) as u32 & TURNS, 0))
    }
}

#[derive(Debug)]
pub struct Breaker<H> {
    word: AtomicU64,
    /// When an open breaker may be tried.
    until: AtomicI64,
    refused: AtomicU64,
    machine: Mutex<Machine<H>>,
}

impl<H> Default for Breaker<H> {
    fn default() -> Self {
        Self {
            word: AtomicU64::new(0),
            until: AtomicI64::new(0),
            refused: AtomicU64::new(0),
            machine: Mutex::new(Machine::new()),
        }
    }
}

impl<H> Breaker<H> {
    /// Opens for a generation that was never used, or changes the configuration of the one that is open.
    pub fn open(&self, generation: u32, config: Config, now: i64) -> Vec<H> {
        let mut machine = self.machine.lock();
        if machine.generation != generation {
            self.refused.store(0, Ordering::Relaxed);
            machine.totals = Totals::default();
        }
        machine.configure(generation, config, now);
        self.publish(&machine);
        std::mem::take(&mut machine.spent)
    }

    /// Ends it; gives back what was kept of processes.
    pub fn close(&self, generation: u32) -> Vec<H> {
        let mut machine = self.machine.lock();
        if machine.generation != generation {
            return Vec::new();
        }
        let spent = machine.close();
        self.publish(&machine);
        spent
    }

    /// Whether a call may be made, if a glance did not say so. `watch` starts to watch who takes a permit, and says who that is;
    /// it is called outside the lock. The clock is only read where it matters.
    pub fn allow(
        &self,
        generation: u32,
        clock: impl Fn() -> i64,
        watch: impl FnOnce() -> Option<(u64, H)>,
    ) -> Result<Told<Admission, H>, Closed> {
        match self.answer(generation, &clock)? {
            Some(answer) => Ok(Told {
                answer,
                changes: Vec::new(),
                spent: Vec::new(),
            }),
            None => self.ask(generation, clock, watch),
        }
    }

    /// B3. What is said without the lock. Acquire pairs with the release in `publish`: what was written before the generation
    /// was opened is seen by who sees it.
    #[inline]
    pub fn glance(&self) -> Glance {
        Glance(self.word.load(Ordering::Acquire))
    }

    /// B3. What is read of `until` is of the turn that the word told or of a later one; if that is ahead, it is open then.
    fn answer(&self, generation: u32, clock: &impl Fn() -> i64) -> Result<Option<Admission>, Closed> {
        let glance = self.glance();
        if glance.generation() != generation {
            return Err(Closed);
        }
        if let Some(ticket) = glance.ticket() {
            return Ok(Some(Admission::Allowed(ticket)));
        }
        let retry_in = match glance.state() {
            State::ForcedOpen => NEVER,
            State::Open => self.until.load(Ordering::Acquire).saturating_sub(clock()),
            _ => return Ok(None),
        };
        if retry_in <= 0 {
            return Ok(None);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Admission::Refused { retry_in }))
    }

    #[cold]
    fn ask(
        &self,
        generation: u32,
        clock: impl Fn() -> i64,
        watch: impl FnOnce() -> Option<(u64, H)>,
    ) -> Result<Told<Admission, H>, Closed> {
        let (mut changes, mut watch, mut watched) = (Vec::new(), Some(watch), None);
        loop {
            let mut machine = self.machine.lock();
            if machine.generation != generation {
                return Err(Closed);
            }
            let now = clock();
            changes.extend(machine.arrive(now));
            self.publish(&machine);
            if machine.wants_permit()
                && let Some(watch) = watch.take()
            {
                drop(machine);
                watched = watch();
                continue;
            }
            let answer = machine.admit(watched, now);
            let spent = std::mem::take(&mut machine.spent);
            drop(machine);
            if matches!(answer, Admission::Refused { .. }) {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(Told {
                answer,
                changes,
                spent,
            });
        }
    }

    /// A call ended; whether that was counted. Without a ticket it counts for the turn that is, and for the oldest permit of its
    /// owner.
    pub fn record(
        &self,
        generation: u32,
        ticket: Option<Ticket>,
        owner: u64,
        ending: Ending,
        took: i64,
        now: i64,
    ) -> Result<Told<bool, H>, Closed> {
        self.change(generation, |machine| {
            machine.record(ticket, owner, ending, took, now)
        })
    }

    /// An owner died: its permits go back.
    pub fn owner_died(&self, generation: u32, owner: u64) -> Result<Told<(), H>, Closed> {
        self.change(generation, |machine| {
            machine.owner_died(owner);
            ((), None)
        })
    }

    /// Puts it into a state.
    pub fn set(&self, generation: u32, state: State, now: i64) -> Result<Told<(), H>, Closed> {
        self.change(generation, |machine| ((), machine.set(state, now)))
    }

    /// Does what time alone does; when there will be more of that.
    pub fn look(&self, generation: u32, now: i64) -> Result<Told<Option<i64>, H>, Closed> {
        self.change(generation, |machine| {
            let change = machine.lapse(now);
            (machine.due(), change)
        })
    }

    pub fn status(&self, generation: u32, now: i64) -> Result<Told<Status, H>, Closed> {
        let refused = self.refused.load(Ordering::Relaxed);
        self.change(generation, |machine| {
            let status = machine.status(now);
            (Status { refused, ..status }, None)
        })
    }

    /// Its state, and what it counted since it was opened.
    pub fn totals(&self, generation: u32) -> Result<(State, Totals), Closed> {
        let machine = self.machine.lock();
        if machine.generation != generation {
            return Err(Closed);
        }
        let refused = self.refused.load(Ordering::Relaxed);
        let totals = Totals {
            refused,
            ..machine.totals
        };
        Ok((machine.state(), totals))
    }

    fn change<T>(
        &self,
        generation: u32,
        change: impl FnOnce(&mut Machine<H>) -> (T, Option<Change>),
    ) -> Result<Told<T, H>, Closed> {
        let mut machine = self.machine.lock();
        if machine.generation != generation {
            return Err(Closed);
        }
        let (answer, change) = change(&mut machine);
        self.publish(&machine);
        Ok(Told {
            answer,
            changes: change.into_iter().collect(),
            spent: std::mem::take(&mut machine.spent),
        })
    }

    // `until` first: who reads the word of an open breaker finds when it may be tried. Under the lock, so it may read what it wrote
    // before without an order; what stays is not written, for the sake of those who read it.
    fn publish(&self, machine: &Machine<H>) {
        if self.until.load(Ordering::Relaxed) != machine.until() {
            self.until.store(machine.until(), Ordering::Release);
        }
        let below = u64::from(machine.turn()) << STATE_BITS | machine.state() as u64;
        let word = u64::from(machine.generation) << (TURN_BITS + STATE_BITS) | below;
        if self.word.load(Ordering::Relaxed) != word {
            self.word.store(word, Ordering::Release);
        }
    }

    pub fn bytes(&self) -> usize {
        self.machine.lock().bytes()
    }

    /// Panics where an invariant does not hold. For tests.
    pub fn check(&self) {
        self.machine.lock().check();
    }
}
