//! Overload by how long requests wait, not by how many do: the controller of Facebook's `folly::Codel` (Maurer, "Fail at Scale",
//! ACM Queue 2015), after Nichols and Jacobson's CoDel.
//!
//! If the wait lies above the target for a whole interval, the queue is standing and not a burst: the next interval is overloaded,
//! and whoever waited longer than twice the target is refused.
//!
//! Theirs is one queue, first come, first served, where the wait of who is handed over says how the queue is. Ours serves who asks
//! seldom before who floods: its wait is short, however long the others stand. So what counts at a hand-over is the longest wait of
//! all, which in a plain queue is the same. And under overload the newest is served first, and the others are refused before they are
//! old: then, as in Maurer's own rule, the queue has to be empty once in the interval.

#[derive(Debug)]
pub struct Codel {
    end: i64,
    /// Whether the queue was seen not to stand at some hand-over of this interval; `None` if there was none.
    eased: Option<bool>,
    look_again: i64,
    overloaded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nanoseconds; `None`: never overloaded.
    pub target: Option<i64>,
    pub interval: i64,
}

/// Who has waited longest is looked for among all tenants in line, so not more often than this, in nanoseconds, for each of them.
const LOOK_EACH: i64 = 20_000;

impl Codel {
    pub fn new() -> Self {
        Self {
            end: i64::MIN,
            eased: None,
            look_again: i64::MIN,
            overloaded: false,
        }
    }

    pub fn overloaded(&self) -> bool {
        self.overloaded
    }

    /// A request that waited so long was handed over, and some `tenants` still wait, the longest of them since `longest`.
    #[inline]
    pub fn handed_over(
        &mut self,
        waited: i64,
        tenants: usize,
        longest: impl FnOnce() -> Option<i64>,
        now: i64,
        limits: Limits,
    ) {
        let Some(target) = limits.target else { return };
        if self.eased == Some(true) {
            return;
        }
        let short = waited <= target;
        let stands = tenants > 0 && (self.overloaded || !short || !self.look(tenants, longest, now, target));
        self.eased = Some(short && !stands);
    }

    fn look(&mut self, tenants: usize, longest: impl FnOnce() -> Option<i64>, now: i64, target: i64) -> bool {
        if now < self.look_again {
            return false;
        }
        self.look_again = now.saturating_add(LOOK_EACH.saturating_mul(tenants as i64));
        longest().is_none_or(|since| now.saturating_sub(since) <= target)
    }

    /// A request found a worker at once.
    #[inline]
    pub fn at_once(&mut self) {
        self.eased = Some(true);
    }

    pub fn is_over(&self, now: i64) -> bool {
        now >= self.end
    }

    /// The interval is over. Where nothing was handed over in it, how long the oldest has waited says how it was.
    pub fn turn(&mut self, now: i64, oldest: Option<i64>, limits: Limits) {
        let eased = self.eased.take();
        self.overloaded = limits
            .target
            .is_some_and(|target| !eased.unwrap_or_else(|| oldest.is_none_or(|waited| waited <= target)));
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
