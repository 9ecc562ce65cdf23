//! Breakers against a list of all that was recorded, one call after the other. B1 to B6 are `kantoku_core::breaker`'s, and its
//! `check` looks at them from inside after each call.
#![cfg(not(kantoku_loom))]

use kantoku_core::breaker::{
    Admission, Breaker, Change, Config, Ending, NEVER, PERCENT, STATES, Span, State, Ticket,
};
use kantoku_rust_tests::cases;
use proptest::collection::vec;
use proptest::prelude::*;

const GENERATION: u32 = 7;
const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;

#[derive(Clone, Debug)]
enum Op {
    Allow {
        owner: u64,
    },
    /// With the ticket of an earlier `Allow`, or none.
    Record {
        at: Option<usize>,
        owner: u64,
        ending: Ending,
        took: i64,
    },
    Die {
        owner: u64,
    },
    Pass {
        ms: i64,
    },
    Set {
        to: State,
    },
    Look,
    Configure {
        config: Config,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let owner = || 1..4_u64;
    let ending = prop_oneof![
        3 => Just(Ending::Success),
        3 => Just(Ending::Failure),
        1 => Just(Ending::Ignored)
    ];
    let at = prop_oneof![1 => Just(None), 2 => (0..12_usize).prop_map(Some)];
    prop_oneof![
        10 => owner().prop_map(|owner| Op::Allow { owner }),
        20 => (at, owner(), ending, 0..9_i64).prop_map(|(at, owner, ending, took)| Op::Record {
            at,
            owner,
            ending,
            took: took * MS
        }),
        2 => owner().prop_map(|owner| Op::Die { owner }),
        6 => (0..30_i64).prop_map(|ms| Op::Pass { ms }),
        3 => (500..4_000_i64).prop_map(|ms| Op::Pass { ms }),
        1 => prop::sample::select(STATES.to_vec()).prop_map(|to| Op::Set { to }),
        2 => Just(Op::Look),
        1 => config().prop_map(|config| Op::Configure { config }),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let rate = || {
        prop_oneof![
            Just(1),
            Just(100 * PERCENT / 3),
            Just(50 * PERCENT),
            Just(100 * PERCENT)
        ]
    };
    let span = prop_oneof![Just(Span::Calls), Just(Span::Seconds)];
    let waits = (
        1..40_i64,
        prop_oneof![2 => Just(0), 1 => Just(15 * MS)],
        any::<bool>(),
    );
    ((rate(), rate()), (span, 1..8_u32, 1..9_u32), waits, 1..4_u32).prop_map(
        |((failure_rate, slow_rate), (span, size, minimum), (wait, wait_half_open, automatic), permitted)| {
            Config {
                failure_rate,
                slow_rate,
                slow_after: 4 * MS,
                span,
                size,
                minimum,
                wait_open: wait * MS,
                permitted,
                wait_half_open,
                automatic,
            }
        },
    )
}

/// What is known of the turn that is: by plain lists, and counted anew each time.
struct Model {
    config: Config,
    state: State,
    turn: u32,
    since: i64,
    until: i64,
    recorded: Vec<(bool, bool, i64)>,
    trial: bool,
    held: Vec<(Ticket, u64)>,
    used: u32,
}

impl Model {
    fn enter(&mut self, to: State, now: i64) -> Option<(State, State)> {
        let from = self.state;
        self.state = to;
        self.turn += 1;
        self.since = now;
        self.held.clear();
        self.used = 0;
        if to == State::Open {
            self.until = now + self.config.wait_open;
        } else {
            self.recorded.clear();
            self.trial = to == State::HalfOpen;
        }
        (from != to).then_some((from, to))
    }

    fn size(&self) -> usize {
        (if self.trial {
            self.config.permitted
        } else {
            self.config.size
        }) as usize
    }

    fn minimum(&self) -> u64 {
        let by_calls = self.trial || self.config.span == Span::Calls;
        let least = if by_calls {
            self.config.minimum.min(self.size() as u32)
        } else {
            self.config.minimum
        };
        u64::from(least)
    }

    /// Calls, failures, slow calls.
    fn counts(&self, now: i64) -> (u64, u64, u64) {
        let seconds = !self.trial && self.config.span == Span::Seconds;
        let oldest = now.div_euclid(SECOND) - self.size() as i64;
        let skip = if seconds {
            0
        } else {
            self.recorded.len().saturating_sub(self.size())
        };
        let counted = self
            .recorded
            .iter()
            .skip(skip)
            .filter(|(_, _, second)| !seconds || *second > oldest);
        counted.fold((0, 0, 0), |(calls, failed, slow), (is_failed, is_slow, _)| {
            (
                calls + 1,
                failed + u64::from(*is_failed),
                slow + u64::from(*is_slow),
            )
        })
    }

    fn lapse(&mut self, now: i64) -> Option<(State, State)> {
        match self.state {
            State::Open if self.config.automatic && now >= self.until => self.enter(State::HalfOpen, now),
            State::HalfOpen
                if self.config.wait_half_open > 0 && now >= self.since + self.config.wait_half_open =>
            {
                self.enter(State::Open, now)
            }
            _ => None,
        }
    }

    fn arrive(&mut self, now: i64) -> Option<(State, State)> {
        let lapsed = self.lapse(now);
        if self.state == State::Open && now >= self.until {
            return self.enter(State::HalfOpen, now);
        }
        lapsed
    }

    fn lets(&self) -> bool {
        match self.state {
            State::Closed | State::Disabled | State::MetricsOnly => true,
            State::Open | State::ForcedOpen => false,
            State::HalfOpen => self.used + (self.held.len() as u32) < self.config.permitted,
        }
    }

    fn record(&mut self, outcome: (bool, bool), now: i64) -> Option<(State, State)> {
        self.recorded.push((outcome.0, outcome.1, now.div_euclid(SECOND)));
        let (calls, failed, slow) = self.counts(now);
        if self.state == State::MetricsOnly || calls < self.minimum() {
            return None;
        }
        let reached = |of: u64, rate: u64| of * 100 * PERCENT >= rate * calls;
        if reached(failed, self.config.failure_rate) || reached(slow, self.config.slow_rate) {
            self.enter(State::Open, now)
        } else if self.state == State::HalfOpen {
            self.enter(State::Closed, now)
        } else {
            None
        }
    }
}

struct Run {
    breaker: Breaker<u64>,
    model: Model,
    /// With the turns they were given in.
    tickets: Vec<(Ticket, u32)>,
    now: i64,
}

impl Run {
    fn new(config: Config) -> Self {
        let breaker = Breaker::default();
        breaker.open(GENERATION, config.clone(), 0);
        let model = Model {
            config,
            state: State::Closed,
            turn: 0,
            since: 0,
            until: 0,
            recorded: Vec::new(),
            trial: false,
            held: Vec::new(),
            used: 0,
        };
        Self {
            breaker,
            model,
            tickets: Vec::new(),
            now: 0,
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Pass { ms } => self.now += ms * MS + 1,
            Op::Allow { owner } => self.allow(owner),
            Op::Record {
                at,
                owner,
                ending,
                took,
            } => self.record(at, owner, ending, took),
            Op::Die { owner } => {
                self.breaker.owner_died(GENERATION, owner).expect("open");
                self.model.held.retain(|(_, whose)| *whose != owner);
            }
            Op::Set { to } => {
                let told = self.breaker.set(GENERATION, to, self.now).expect("open");
                let expected = self.model.enter(to, self.now);
                same(&told.changes, expected);
            }
            Op::Look => {
                let told = self.breaker.look(GENERATION, self.now).expect("open");
                let expected = self.model.lapse(self.now);
                same(&told.changes, expected);
            }
            Op::Configure { config } => self.configure(config),
        }
        self.compare();
    }

    fn allow(&mut self, owner: u64) {
        let now = self.now;
        let told = self
            .breaker
            .allow(GENERATION, || now, || Some((owner, owner)))
            .expect("open");
        let expected = self.model.arrive(now);
        same(&told.changes, expected);
        match told.answer {
            Admission::Allowed(ticket) => {
                assert!(self.model.lets(), "B1");
                if self.model.state == State::HalfOpen {
                    self.model.held.push((ticket, owner));
                }
                self.tickets.push((ticket, self.model.turn));
                if self.tickets.len() > 12 {
                    self.tickets.remove(0);
                }
            }
            Admission::Refused { retry_in } => {
                assert!(!self.model.lets());
                let until = self.model.until;
                match self.model.state {
                    State::Open => assert_eq!(retry_in, until - now),
                    State::ForcedOpen => assert_eq!(retry_in, NEVER),
                    _ => assert_eq!(retry_in, self.model.config.wait_open / 10),
                }
            }
        }
    }

    fn record(&mut self, at: Option<usize>, owner: u64, ending: Ending, took: i64) {
        let given = match at {
            Some(_) if self.tickets.is_empty() => return,
            at => at.map(|at| self.tickets[at % self.tickets.len()]),
        };
        let ticket = given.map(|(ticket, _)| ticket);
        let told = self
            .breaker
            .record(GENERATION, ticket, owner, ending, took, self.now)
            .expect("open");
        let timely = given.is_none_or(|(_, turn)| turn == self.model.turn);
        let known = timely && self.end_permit(ticket, owner, ending);
        let counts = matches!(
            self.model.state,
            State::Closed | State::HalfOpen | State::MetricsOnly
        );
        let counted = known && counts && ending != Ending::Ignored;
        assert_eq!(told.answer, counted, "B2");
        let slow = took > self.model.config.slow_after;
        let expected = counted
            .then(|| self.model.record((ending == Ending::Failure, slow), self.now))
            .flatten();
        same(&told.changes, expected);
    }

    fn end_permit(&mut self, ticket: Option<Ticket>, owner: u64, ending: Ending) -> bool {
        if self.model.state != State::HalfOpen {
            return true;
        }
        let held = &mut self.model.held;
        let is = |&(its, whose): &(Ticket, u64)| ticket.map_or(whose == owner, |ticket| its == ticket);
        match held.iter().position(is) {
            Some(at) => {
                held.remove(at);
                self.model.used += u32::from(ending != Ending::Ignored);
                true
            }
            None => ticket.is_none(),
        }
    }

    fn configure(&mut self, config: Config) {
        self.breaker.open(GENERATION, config.clone(), self.now);
        let before = std::mem::replace(&mut self.model.config, config.clone());
        let window = |config: &Config| (config.span, config.size, config.minimum);
        if before == config {
        } else if self.model.state == State::Open {
            // What opened it is shown as it was counted: the model says that of trials only.
            self.model.until = self.model.since + config.wait_open;
        } else if self.model.state == State::HalfOpen || window(&before) != window(&config) {
            let state = self.model.state;
            self.model.enter(state, self.now);
        }
    }

    fn compare(&self) {
        self.breaker.check();
        let status = self.breaker.status(GENERATION, self.now).expect("open").answer;
        assert_eq!(status.state, self.model.state);
        if self.model.state == State::HalfOpen {
            let out = self.model.held.len() as u32;
            assert_eq!(status.permits_out, out);
            assert_eq!(
                status.permits_left,
                self.model.config.permitted - out - self.model.used
            );
        }
        // B4. An open breaker shows what opened it, whatever window it has been given since.
        if self.model.state != State::Open {
            let counts = (status.counts.calls, status.counts.failed, status.counts.slow);
            assert_eq!(counts, self.model.counts(self.now));
        }
    }
}

// B5
fn same(changes: &[Change], expected: Option<(State, State)>) {
    let told: Vec<_> = changes.iter().map(|change| (change.from, change.to)).collect();
    assert_eq!(told, expected.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(500)))]

    #[test]
    fn it_does_what_a_list_of_all_that_was_recorded_says(config in config(), ops in vec(op(), 1..250)) {
        let mut run = Run::new(config);
        for op in ops {
            run.step(op);
        }
        run.breaker.close(GENERATION);
        prop_assert!(run.breaker.status(GENERATION, run.now).is_err());
        prop_assert!(run.breaker.allow(GENERATION, || 0, || None).is_err());
    }
}
