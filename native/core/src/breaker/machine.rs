//! The rules of a breaker, one call after the other. Knows nothing of threads.

use super::config::Config;
use super::permits::{Permits, Ticket};
use super::window::{Counts, Outcome, Window};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    Closed = 0,
    Open = 1,
    HalfOpen = 2,
    Disabled = 3,
    ForcedOpen = 4,
    MetricsOnly = 5,
}

pub const STATES: [State; 6] = [
    State::Closed,
    State::Open,
    State::HalfOpen,
    State::Disabled,
    State::ForcedOpen,
    State::MetricsOnly,
];

/// A breaker went from one state to another, by what it had counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: State,
    pub to: State,
    pub counts: Counts,
}

/// Whether a call may be made. Nanoseconds; `NEVER` without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Allowed(Ticket),
    Refused { retry_in: i64 },
}

pub const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Success,
    Failure,
    /// It says nothing: a permit goes back.
    Ignored,
}

/// Numbers of a breaker, in one moment. Durations are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    /// How long it is in this state.
    pub age: i64,
    /// When it may be tried again; 0 where it may be now.
    pub retry_in: i64,
    pub counts: Counts,
    /// Rates are of at least so many calls.
    pub minimum: u32,
    pub permits_left: u32,
    pub permits_out: u32,
    pub refused: u64,
}

/// What it counted since it was opened, whatever became of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub succeeded: u64,
    pub failed: u64,
    /// Of both.
    pub slow: u64,
    pub refused: u64,
}

#[derive(Debug)]
pub struct Machine<H> {
    pub generation: u32,
    config: Config,
    state: State,
    turn: u32,
    since: i64,
    until: i64,
    window: Window,
    permits: Permits<H>,
    /// Without those that were refused.
    pub totals: Totals,
    /// What was kept of processes that have no permit any more: for the caller to drop outside the lock.
    pub spent: Vec<H>,
}

impl<H> Machine<H> {
    pub fn new() -> Self {
        let config = Config::default();
        Self {
            generation: 0,
            window: Window::new(&config),
            config,
            state: State::Closed,
            turn: 0,
            since: 0,
            until: 0,
            permits: Permits::default(),
            totals: Totals::default(),
            spent: Vec::new(),
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn turn(&self) -> u32 {
        self.turn
    }

    pub fn until(&self) -> i64 {
        self.until
    }

    /// Opens for a generation that was never used, or changes the parameters of the one that is open: the same ones change
    /// nothing; what was counted stays if it is still counted in the same way, an open breaker is tried when the new wait is
    /// over, and trials begin anew.
    pub fn configure(&mut self, generation: u32, config: Config, now: i64) {
        let fresh = self.generation != generation;
        if !fresh && self.config == config {
            return;
        }
        let same_window = (self.config.span, self.config.size, self.config.minimum)
            == (config.span, config.size, config.minimum);
        self.config = config;
        if fresh {
            self.generation = generation;
            self.enter(State::Closed, now);
        } else if self.state == State::Open {
            self.until = self.since.saturating_add(self.config.wait_open);
        } else if self.state == State::HalfOpen || !same_window {
            self.enter(self.state, now);
        }
    }

    /// Nobody has it any more.
    pub fn close(&mut self) -> Vec<H> {
        self.generation = 0;
        self.window = Window::new(&self.config);
        self.permits.renew(0)
    }

    /// Puts it into a state, whatever it is in; into the same one, as if it had just come there.
    pub fn set(&mut self, state: State, now: i64) -> Option<Change> {
        self.enter(state, now)
    }

    fn enter(&mut self, to: State, now: i64) -> Option<Change> {
        let (from, counts) = (self.state, self.window.counts());
        self.state = to;
        self.turn = (self.turn + 1) & super::TURNS;
        self.since = now;
        match to {
            // What opened it is still to be seen.
            State::Open => self.until = now.saturating_add(self.config.wait_open),
            State::HalfOpen => self.window = Window::of_trials(&self.config),
            _ => self.window = Window::new(&self.config),
        }
        let permits = if to == State::HalfOpen {
            self.config.permitted
        } else {
            0
        };
        let spent = self.permits.renew(permits);
        self.spent.extend(spent);
        (from != to).then_some(Change { from, to, counts })
    }

    /// What time alone does.
    pub fn lapse(&mut self, now: i64) -> Option<Change> {
        let waited = now.saturating_sub(self.since);
        match self.state {
            State::Open if self.config.automatic && now >= self.until => self.enter(State::HalfOpen, now),
            State::HalfOpen if self.config.wait_half_open > 0 && waited >= self.config.wait_half_open => {
                self.enter(State::Open, now)
            }
            _ => None,
        }
    }

    /// When time alone will do something.
    pub fn due(&self) -> Option<i64> {
        match self.state {
            State::Open if self.config.automatic => Some(self.until),
            State::HalfOpen if self.config.wait_half_open > 0 => {
                Some(self.since.saturating_add(self.config.wait_half_open))
            }
            _ => None,
        }
    }

    /// Somebody comes: an open breaker that has waited is tried.
    pub fn arrive(&mut self, now: i64) -> Option<Change> {
        let lapsed = self.lapse(now);
        if self.state == State::Open && now >= self.until {
            return self.enter(State::HalfOpen, now);
        }
        lapsed
    }

    /// Whether who comes needs a permit and can have one.
    pub fn wants_permit(&self) -> bool {
        self.state == State::HalfOpen && self.permits.left() > 0
    }

    /// After `arrive`. A permit is taken for who is watched.
    pub fn admit(&mut self, watched: Option<(u64, H)>, now: i64) -> Admission {
        let wants_permit = self.wants_permit();
        match (self.state, watched) {
            (State::HalfOpen, Some((owner, handle))) if wants_permit => {
                Admission::Allowed(Ticket::new(self.turn, self.permits.take(owner, handle)))
            }
            (State::Closed | State::Disabled | State::MetricsOnly, watched) => {
                self.spent.extend(watched.map(|(_, handle)| handle));
                Admission::Allowed(Ticket::new(self.turn, 0))
            }
            (_, watched) => {
                self.spent.extend(watched.map(|(_, handle)| handle));
                Admission::Refused {
                    retry_in: self.retry_in(now),
                }
            }
        }
    }

    // Of trials nobody knows when they end: a tenth of the wait is soon, and not at once.
    fn retry_in(&self, now: i64) -> i64 {
        match self.state {
            State::ForcedOpen => NEVER,
            State::Open => self.until.saturating_sub(now).max(0),
            State::HalfOpen if self.permits.left() == 0 => self.config.wait_open / 10,
            _ => 0,
        }
    }

    /// A call ended. Without a ticket it counts for the turn that is, and for the oldest permit of who made it.
    pub fn record(
        &mut self,
        ticket: Option<Ticket>,
        owner: u64,
        ending: Ending,
        took: i64,
        now: i64,
    ) -> (bool, Option<Change>) {
        if ticket.is_some_and(|ticket| ticket.turn() != self.turn) || !self.end_permit(ticket, owner, ending)
        {
            return (false, None);
        }
        let counted = ending != Ending::Ignored
            && matches!(self.state, State::Closed | State::HalfOpen | State::MetricsOnly);
        if !counted {
            return (false, None);
        }
        let outcome = Outcome {
            failed: ending == Ending::Failure,
            slow: took > self.config.slow_after,
        };
        self.window.record(outcome, now);
        self.total(outcome);
        (true, self.judge(now))
    }

    fn total(&mut self, outcome: Outcome) {
        self.totals.failed += u64::from(outcome.failed);
        self.totals.succeeded += u64::from(!outcome.failed);
        self.totals.slow += u64::from(outcome.slow);
    }

    // Whether the ticket may still say something: a permit does so once (B1).
    fn end_permit(&mut self, ticket: Option<Ticket>, owner: u64, ending: Ending) -> bool {
        if self.state != State::HalfOpen {
            return true;
        }
        let used = ending != Ending::Ignored;
        let ended = match ticket {
            Some(ticket) => self.permits.end(ticket, used),
            None => self.permits.end_oldest(owner, used),
        };
        let known = ended.is_some() || ticket.is_none();
        self.spent.extend(ended);
        known
    }

    fn judge(&mut self, now: i64) -> Option<Change> {
        if !self.window.tells() {
            return None;
        }
        match (self.state, self.window.counts().reach(&self.config)) {
            (State::Closed | State::HalfOpen, true) => self.enter(State::Open, now),
            (State::HalfOpen, false) => self.enter(State::Closed, now),
            _ => None,
        }
    }

    /// An owner died: its permits go back.
    pub fn owner_died(&mut self, owner: u64) {
        while let Some(handle) = self.permits.end_oldest(owner, false) {
            self.spent.push(handle);
        }
    }

    pub fn status(&mut self, now: i64) -> Status {
        self.window.forget(now);
        Status {
            state: self.state,
            age: now.saturating_sub(self.since),
            retry_in: self.retry_in(now),
            counts: self.window.counts(),
            minimum: self.window.minimum(),
            permits_left: self.permits.left(),
            permits_out: self.permits.out(),
            refused: 0,
        }
    }

    pub fn bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Panics where an invariant does not hold. For tests.
    pub fn check(&self) {
        self.window.check();
        let permitted = if self.state == State::HalfOpen {
            self.config.permitted
        } else {
            0
        };
        // B1: each is left, out, or one of the calls that were counted without deciding.
        let (left, out) = (self.permits.left(), self.permits.out());
        assert!(
            left + out <= permitted,
            "{left} left and {out} out of {permitted}"
        );
    }
}
