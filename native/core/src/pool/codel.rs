//! Overload by how long requests wait, not by how many do: the controller of Facebook's `folly::Codel` (Maurer, "Fail at Scale",
//! ACM Queue 2015), after Nichols and Jacobson's CoDel.
//!
//! If even the least wait within an interval lies above the target, the queue is standing and not a burst: the next interval is
//! overloaded, and whoever waited longer than twice the target is refused.
//!
//! While it is overloaded the newest is served first, whose wait says nothing of the queue. So then, as in Maurer's own rule, what
//! counts is whether the queue was ever empty: only who left nobody waiting behind.

#[derive(Debug)]
pub struct Codel {
    end: i64,
    least: Option<i64>,
    overloaded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nanoseconds; `None`: never overloaded.
    pub target: Option<i64>,
    pub interval: i64,
}

impl Codel {
    pub fn new() -> Self {
        Self {
            end: i64::MIN,
            least: None,
            overloaded: false,
        }
    }

    pub fn overloaded(&self) -> bool {
        self.overloaded
    }

    /// A request that waited so long was handed over; `last` of those who waited, or not.
    #[inline]
    pub fn handed_over(&mut self, waited: i64, last: bool) {
        if last || !self.overloaded {
            self.least = Some(self.least.map_or(waited, |least| least.min(waited)));
        }
    }

    /// A request found a worker at once.
    #[inline]
    pub fn at_once(&mut self) {
        self.least = Some(0);
    }

    pub fn is_over(&self, now: i64) -> bool {
        now >= self.end
    }

    /// The interval is over. Where no hand-over in it counted, how long the oldest has waited says how it was.
    pub fn turn(&mut self, now: i64, oldest: Option<i64>, limits: Limits) {
        let least = self.least.take().or(oldest);
        self.overloaded = match (limits.target, least) {
            (Some(target), Some(least)) => least > target,
            _ => false,
        };
        self.end = now.saturating_add(limits.interval);
    }

    /// The first interval begins.
    pub fn begin(&mut self, now: i64, limits: Limits) {
        self.end = now.saturating_add(limits.interval);
    }

    /// Whether who has waited so long is refused.
    pub fn too_long(&self, waited: i64, limits: Limits) -> bool {
        let slough = limits.target.map(|target| target.saturating_mul(2));
        self.overloaded && slough.is_some_and(|slough| waited > slough)
    }
}

impl Default for Codel {
    fn default() -> Self {
        Self::new()
    }
}
