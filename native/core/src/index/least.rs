//! The least few of a stream of keyed indexes, in constant room.

#[derive(Debug)]
pub(super) struct Least {
    wanted: usize,
    kept: Vec<(u64, u32)>,
    /// At least `wanted` keys are known to be no greater.
    bound: u64,
    overflowed: bool,
}

impl Least {
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            wanted,
            kept: Vec::new(),
            bound: u64::MAX,
            overflowed: false,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, key: u64, index: u32) {
        if self.overflowed && key >= self.bound {
            return;
        }
        self.kept.push((key, index));
        if self.kept.len() >= self.wanted.saturating_mul(4).saturating_add(16) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let (_, &mut (greatest, _), _) = self.kept.select_nth_unstable(self.wanted - 1);
        self.bound = greatest;
        self.overflowed = true;
        self.kept.truncate(self.wanted);
    }

    /// The kept ones in order, and whether any were left out.
    pub(super) fn finish(mut self) -> (Vec<(u64, u32)>, bool) {
        if self.kept.len() > self.wanted {
            self.cut();
        }
        self.kept.sort_unstable();
        (self.kept, self.overflowed)
    }
}
