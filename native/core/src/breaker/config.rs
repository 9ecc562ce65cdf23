//! What a breaker goes by: resilience4j's parameters.

/// Over what outcomes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The last so many.
    Calls,
    /// Those of the last so many seconds.
    Seconds,
}

/// A rate of all: a hundred percent is a hundred million.
pub const PERCENT: u64 = 1_000_000;

/// Durations are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// In millionths of a percent.
    pub failure_rate: u64,
    /// The same.
    pub slow_rate: u64,
    /// A call that took longer is slow.
    pub slow_after: i64,
    pub span: Span,
    pub size: u32,
    /// Rates are of at least so many calls.
    pub minimum: u32,
    pub wait_open: i64,
    pub permitted: u32,
    /// 0 is without end.
    pub wait_half_open: i64,
    /// Whether an open breaker is tried again as soon as it may be, or when somebody comes.
    pub automatic: bool,
}

const SECOND: i64 = 1_000_000_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            failure_rate: 50 * PERCENT,
            slow_rate: 100 * PERCENT,
            slow_after: 60 * SECOND,
            span: Span::Calls,
            size: 100,
            minimum: 100,
            wait_open: 60 * SECOND,
            permitted: 10,
            wait_half_open: 0,
            automatic: false,
        }
    }
}
