//! Which worker does so much worse than the others, or fails so often in a row, that it is given nothing new for a while: the
//! arithmetic of Envoy's outlier detection (config.cluster.v3.OutlierDetection), and of latency besides. Knows no pool, and time
//! as a number only. `lib/kantoku/engine/elixir/pool/ejection.ex` is the same in the other engine, to the last digit.

/// What is judged, and for how long who is ejected stays out. Names and defaults are Envoy's where it has the field. Durations are in
/// nanoseconds; a threshold of 0 is never reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejecting {
    /// Or only told.
    pub enforced: bool,
    pub consecutive_failures: u32,
    pub interval: i64,
    pub base_ejection_time: i64,
    pub max_ejection_time: i64,
    pub max_ejection_time_jitter: i64,
    pub max_ejection_percent: u32,
    pub success_rate_minimum_hosts: u32,
    pub success_rate_request_volume: u32,
    /// In thousandths.
    pub success_rate_stdev_factor: u32,
    pub latency_minimum_hosts: u32,
    /// Of requests that were timed.
    pub latency_request_volume: u32,
    pub latency_multiple: u32,
    /// Who is faster is not slow, whatever the others do.
    pub latency_floor: i64,
}

impl Default for Ejecting {
    /// Envoy's; ours for latency, which `Kantoku.Pool.Ejection` argues.
    fn default() -> Self {
        const MS: i64 = 1_000_000;
        Self {
            enforced: true,
            consecutive_failures: 5,
            interval: 10_000 * MS,
            base_ejection_time: 30_000 * MS,
            max_ejection_time: 300_000 * MS,
            max_ejection_time_jitter: 0,
            max_ejection_percent: 10,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1_900,
            latency_minimum_hosts: 5,
            latency_request_volume: 10,
            latency_multiple: 5,
            latency_floor: 100 * MS,
        }
    }
}

impl Ejecting {
    /// How long one is out that was ejected so often, without jitter.
    pub fn length(&self, times: u32) -> i64 {
        let most = self.max_ejection_time.max(self.base_ejection_time);
        self.base_ejection_time.saturating_mul(i64::from(times)).min(most)
    }

    /// How many of so many workers may be out; one always, but of one.
    pub fn most(&self, workers: usize) -> usize {
        if workers < 2 {
            return 0;
        }
        (workers * self.max_ejection_percent as usize / 100).max(1)
    }
}

/// Why a worker is out, with what was found. Rates are millionths, latencies microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    ConsecutiveFailures { count: u32 },
    SuccessRate { rate: u32, threshold: u32, workers: u32 },
    Latency { mean: u64, median: u64, workers: u32 },
    ByHand,
}

/// What is kept of how a worker's requests ended. A success writes nothing here: how many there were follows from what the worker was
/// given, has, and what is counted of the rest, so whoever asks says the `successes` of its life so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// Of its life: requests that ended otherwise than well, or as neither.
    pub others: u64,
    /// Failures in a row, and the successes before it.
    row: u32,
    before: u64,
    // Within the interval.
    failures: u32,
    timed: u32,
    // Of the logarithms of what was timed.
    logs: u64,
    // When the interval began.
    successes: u64,
}

// A float's upper half is its exponent and the first bits after it: read as a number, its logarithm to base 2 with a straight line
// between powers, at most 6 % off. So a mean of it is as good as geometric, and costs no logarithm.
const HALF: u32 = 32;

impl Toll {
    pub fn failed(&mut self, successes: u64) {
        self.row = self.row(successes).saturating_add(1);
        self.before = successes;
        self.failures = self.failures.saturating_add(1);
    }

    /// Failures in a row.
    pub fn row(&self, successes: u64) -> u32 {
        if self.before == successes { self.row } else { 0 }
    }

    /// It is another's that failed so often.
    pub fn inherit(&mut self, row: u32, successes: u64) {
        self.row = row;
        self.before = successes;
    }

    /// It had a request for so many nanoseconds.
    #[inline]
    pub fn took(&mut self, held: i64) {
        self.timed = self.timed.saturating_add(1);
        self.logs += (held.max(1) as f64).to_bits() >> HALF;
    }

    /// Another interval.
    pub fn begin(&mut self, successes: u64) {
        (self.failures, self.timed, self.logs) = (0, 0, 0);
        self.successes = successes;
    }

    /// As if it were new.
    pub fn forget(&mut self, successes: u64) {
        self.begin(successes);
        self.row = 0;
    }

    pub fn interval(&self, successes: u64) -> Interval {
        let succeeded = successes.saturating_sub(self.successes);
        Interval {
            requests: succeeded.saturating_add(u64::from(self.failures)),
            failures: self.failures,
            timed: self.timed,
            logs: self.logs,
        }
    }
}

/// How a worker's requests ended within an interval.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    requests: u64,
    failures: u32,
    timed: u32,
    logs: u64,
}

impl Interval {
    fn success_rate(&self) -> f64 {
        100.0 * (self.requests - u64::from(self.failures)) as f64 / self.requests as f64
    }

    // In microseconds. One slow request among ten hardly moves it.
    fn mean(&self) -> u64 {
        let mean = self.logs / u64::from(self.timed);
        (f64::from_bits(mean << HALF) / 1_000.0) as u64
    }
}

/// Who is ejected for its rate of successes: below the mean by more than so many standard deviations. In the order given.
pub fn by_success_rate(rules: &Ejecting, tolls: &[(u32, Interval)]) -> Vec<(u32, Cause)> {
    let volume = u64::from(rules.success_rate_request_volume.max(1));
    let busy = tolls.iter().filter(|(_, toll)| toll.requests >= volume);
    let rates: Vec<(u32, f64)> = busy.map(|&(at, toll)| (at, toll.success_rate())).collect();
    if rules.success_rate_stdev_factor == 0 || rates.len() < rules.success_rate_minimum_hosts.max(1) as usize
    {
        return Vec::new();
    }
    let threshold = threshold(rules, &rates);
    let cause = |rate: f64| Cause::SuccessRate {
        rate: millionths(rate),
        threshold: millionths(threshold),
        workers: rates.len() as u32,
    };
    let low = rates.iter().filter(|&&(_, rate)| rate < threshold);
    low.map(|&(at, rate)| (at, cause(rate))).collect()
}

fn threshold(rules: &Ejecting, rates: &[(u32, f64)]) -> f64 {
    let count = rates.len() as f64;
    let mean = rates.iter().fold(0.0, |sum, (_, rate)| sum + rate) / count;
    let squares = rates
        .iter()
        .fold(0.0, |sum, (_, rate)| sum + (rate - mean) * (rate - mean));
    mean - (squares / count).sqrt() * (f64::from(rules.success_rate_stdev_factor) / 1_000.0)
}

fn millionths(percent: f64) -> u32 {
    (percent.max(0.0) * 10_000.0).round() as u32
}

/// Who is ejected for being slow: its mean is beyond a multiple of the median of all, and beyond the floor. In the order given.
pub fn by_latency(rules: &Ejecting, tolls: &[(u32, Interval)]) -> Vec<(u32, Cause)> {
    let volume = rules.latency_request_volume.max(1);
    let busy = tolls.iter().filter(|(_, toll)| toll.timed >= volume);
    let means: Vec<(u32, u64)> = busy.map(|&(at, toll)| (at, toll.mean())).collect();
    if rules.latency_multiple == 0 || means.len() < rules.latency_minimum_hosts.max(1) as usize {
        return Vec::new();
    }
    let mut sorted: Vec<u64> = means.iter().map(|&(_, mean)| mean).collect();
    sorted.sort_unstable();
    let median = sorted[(sorted.len() - 1) / 2];
    let most = median.saturating_mul(u64::from(rules.latency_multiple));
    let most = most.max((rules.latency_floor / 1_000) as u64);
    let cause = |mean| Cause::Latency {
        mean,
        median,
        workers: means.len() as u32,
    };
    let slow = means.iter().filter(|&&(_, mean)| mean > most);
    slow.map(|&(at, mean)| (at, cause(mean))).collect()
}
