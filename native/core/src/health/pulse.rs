//! What an agent's own loop says of itself: since when it is at work on something, and until when that may take.
//!
//! One cell a place, two words, written by one process at a time without a lock and without looking. Each word carries the tag of the
//! handle that it was written under, so what a former holder of the place still writes is never taken for its successor's (H5); at
//! worst it hides what the successor wrote, until that writes again.

use std::iter;

use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU64, Ordering};

use super::handle::{Handle, TAG_BITS};

// A word: tag, whether there is a time, the time in ms.
const TIME_BITS: u32 = 63 - TAG_BITS;
const TIME: u64 = (1 << TIME_BITS) - 1;
const SET: u64 = 1 << TIME_BITS;

const MS: i64 = 1_000_000;

#[derive(Debug)]
struct Cell {
    busy: AtomicU64,
    until: AtomicU64,
}

impl Cell {
    fn new() -> Self {
        Self {
            busy: AtomicU64::new(0),
            until: AtomicU64::new(0),
        }
    }
}

/// What an agent said last. Durations are in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Nothing yet.
    None,
    Idle,
    /// For so long, and how far beyond its limit that is (below 0: so long before it), if there is one.
    Busy {
        since: i64,
        over: Option<i64>,
    },
}

// Each page has twice the cells of the one before, so a place is found without a search and nothing is ever moved.
const FIRST: usize = 256;
const PAGES: usize = 22;

#[derive(Debug)]
pub struct Pulses {
    pages: [OnceLock<Box<[Cell]>>; PAGES],
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            pages: std::array::from_fn(|_| OnceLock::new()),
        }
    }
}

impl Pulses {
    /// Makes room for a place.
    pub fn make_room(&self, place: u32) {
        let (page, _) = page_of(place);
        if let Some(page_lock) = self.pages.get(page) {
            page_lock.get_or_init(|| iter::repeat_with(Cell::new).take(FIRST << page).collect());
        }
    }

    #[inline]
    fn cell(&self, handle: Handle) -> Option<&Cell> {
        let (page, at) = page_of(handle.place());
        self.pages.get(page)?.get()?.get(at)
    }

    /// Its holder is at work from now on, for `limit` ms at most if it says so.
    #[inline]
    pub fn busy(&self, handle: Handle, limit: Option<u32>, now: i64) {
        let Some(cell) = self.cell(handle) else { return };
        let now = now.div_euclid(MS);
        let until = limit.map(|limit| now + i64::from(limit));
        // Both are read by `read`: the limit first, so that who sees the work sees its limit or a later one.
        cell.until.store(word(handle, until), Ordering::Relaxed);
        cell.busy.store(word(handle, Some(now)), Ordering::Release);
    }

    /// Its holder is done.
    #[inline]
    pub fn idle(&self, handle: Handle) {
        if let Some(cell) = self.cell(handle) {
            cell.busy.store(word(handle, None), Ordering::Release);
        }
    }

    /// Puts off the limit of the work that goes on, by a function of what is left of it in ms; for the holder. Without a limit
    /// before, `left` is `None`; `None` in return takes it away.
    pub fn put_off(
        &self,
        handle: Handle,
        now: i64,
        change: impl FnOnce(Option<i64>) -> Option<i64>,
    ) -> Option<i64> {
        let cell = self.cell(handle)?;
        let now = now.div_euclid(MS);
        let left = time(handle, cell.until.load(Ordering::Relaxed))
            .flatten()
            .map(|until| between(until, now));
        let until = change(left).map(|left| now.wrapping_add(left));
        cell.until.store(word(handle, until), Ordering::Release);
        left
    }

    /// What the holder of a handle said last.
    #[inline]
    pub fn read(&self, handle: Handle, now: i64) -> Pulse {
        let Some(cell) = self.cell(handle) else {
            return Pulse::None;
        };
        // Acquire pairs with the release in `busy`.
        match time(handle, cell.busy.load(Ordering::Acquire)) {
            None => Pulse::None,
            Some(None) => Pulse::Idle,
            Some(Some(since)) => {
                let now = now.div_euclid(MS);
                let until = time(handle, cell.until.load(Ordering::Relaxed)).flatten();
                Pulse::Busy {
                    since: between(now, since).max(0),
                    over: until.map(|until| between(now, until)),
                }
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.pages
            .iter()
            .filter_map(OnceLock::get)
            .map(|page| size_of_val(&**page))
            .sum()
    }
}

fn page_of(place: u32) -> (usize, usize) {
    let at = place as usize + FIRST;
    let page = at.ilog2() - FIRST.ilog2();
    (page as usize, at - (FIRST << page))
}

fn word(handle: Handle, time: Option<i64>) -> u64 {
    let time = time.map_or(0, |time| time as u64 & TIME | SET);
    u64::from(handle.tag()) << (TIME_BITS + 1) | time
}

// `None` if it was written under another handle.
fn time(handle: Handle, word: u64) -> Option<Option<i64>> {
    let own = word >> (TIME_BITS + 1) == u64::from(handle.tag());
    own.then(|| (word & SET != 0).then_some((word & TIME) as i64))
}

// Of times that are kept without their upper bits.
fn between(later: i64, earlier: i64) -> i64 {
    let unused = u64::BITS - TIME_BITS;
    (later.wrapping_sub(earlier) << unused) >> unused
}
