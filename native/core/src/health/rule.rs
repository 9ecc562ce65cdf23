//! What is said of many at once.

/// How something fares. Who is healthy or degraded serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    Healthy = 0,
    /// It serves, and something about it does not pass.
    Degraded = 1,
    /// It has not said yet that it serves.
    Starting = 2,
    /// It cannot be told.
    Unknown = 3,
    Unhealthy = 4,
}

pub const STATES: [State; 5] = [
    State::Healthy,
    State::Degraded,
    State::Starting,
    State::Unknown,
    State::Unhealthy,
];

/// How many are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u32; STATES.len()]);

impl Counts {
    pub fn of(&self, state: State) -> u32 {
        self.0[state as usize]
    }

    pub fn add(&mut self, state: State) {
        self.0[state as usize] += 1;
    }

    pub fn subtract(&mut self, state: State) {
        self.0[state as usize] -= 1;
    }

    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    fn worst(&self) -> State {
        STATES
            .into_iter()
            .rev()
            .find(|&state| self.of(state) > 0)
            .unwrap_or(State::Healthy)
    }

    fn all_pass(&self) -> bool {
        self.of(State::Degraded) + self.of(State::Unhealthy) == 0
    }
}

/// When a group is healthy, by how its members are. One without members is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// As its worst member.
    Worst,
    /// It serves if so many percent of its members do; it is degraded if one of them is, or does not serve.
    Quorum(u8),
}

impl Rule {
    pub fn of(self, counts: &Counts) -> State {
        match self {
            Self::Worst => counts.worst(),
            Self::Quorum(percent) => Self::by_quorum(u64::from(percent), counts),
        }
    }

    fn by_quorum(percent: u64, counts: &Counts) -> State {
        let serving = counts.of(State::Healthy) + counts.of(State::Degraded);
        let unsure = counts.of(State::Starting) + counts.of(State::Unknown);
        let enough = |some: u32| u64::from(some) * 100 >= percent * u64::from(counts.total());
        if enough(serving) {
            return if counts.all_pass() {
                State::Healthy
            } else {
                State::Degraded
            };
        }
        match (enough(serving + unsure), counts.of(State::Starting)) {
            (false, _) => State::Unhealthy,
            (true, 0) => State::Unknown,
            (true, _) => State::Starting,
        }
    }
}
