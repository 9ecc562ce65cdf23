//! Loads in steps: 0 to 15 each on a level of its own, above that one level for each doubling, the last without end.

use std::ops::RangeInclusive;

pub(super) const LEVELS: usize = 32;
const EXACT: u64 = 16;

#[inline]
pub(super) const fn level_of(load: u64) -> usize {
    if load < EXACT {
        return load as usize;
    }
    let doubling = load.ilog2() as usize + 12;
    if doubling < LEVELS { doubling } else { LEVELS - 1 }
}

/// Whether all loads of the level are the same one.
#[inline]
pub(super) const fn is_exact(level: usize) -> bool {
    level < EXACT as usize
}

/// The loads on a level.
pub(super) const fn loads_of(level: usize) -> RangeInclusive<u64> {
    if is_exact(level) {
        return level as u64..=level as u64;
    }
    let low = 1 << (level - 12);
    if level == LEVELS - 1 {
        low..=u64::MAX
    } else {
        low..=2 * low - 1
    }
}
