//! The order of load, over matches that are many: by bitmaps, level after level.
//!
//! Who is on level 0 and has load 0 is offered at once: nothing lies below. Then the matches of all chunks are written
//! down, and those on the first levels are *gathered*, until there are as many as are wanted, before any is offered. A
//! match is struck out when it is offered, so none is offered twice. Words whose slots move are *set aside*, with the
//! loads of their cells read: those that are unsettled when they are written down, and, after a gathering or before
//! anything is offered on a wide level, those that a move began in since. So all that was gathered and not set aside was
//! so at one time, and nobody else was below it then. What fell behind the sweep still comes in its turn; what falls
//! later is looked up at the end, so none is missed.

use std::ops::ControlFlow;

use super::level::{LEVELS, is_exact, loads_of};
use super::offer::Offer;
use super::sweep::Sweep;

/// How far a sweep by load has come.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Matches from words whose slots move, with their loads, descending.
    aside: Vec<(u64, u32)>,
    /// The highest load offered.
    reached: u64,
    /// The level before which moves were last looked for.
    checked: usize,
}

impl Sweep<'_> {
    pub(super) fn by_load(&mut self, offer: &mut Offer<'_>) -> ControlFlow<()> {
        let offered = self.idle(offer)?;
        self.open_all();
        offered.into_iter().for_each(|index| self.strike(index));
        self.read_stamps();
        let mut level = 0;
        while is_exact(level) && !self.is_dear() {
            level = self.exact_levels(level, offer)?;
        }
        while level < LEVELS && !self.is_dear() {
            self.aside_up_to(loads_of(level).start() - 1, offer)?;
            self.wide_level(level, offer)?;
            level += 1;
        }
        self.by_reading(offer)
    }

    /// Whether more levels would cost more than to read the load of each match.
    fn is_dear(&self) -> bool {
        self.looked > self.plan.at_most()
    }

    /// Offers matches with load 0, those that are easily found; all that were offered.
    fn idle(&mut self, offer: &mut Offer<'_>) -> ControlFlow<(), Vec<u32>> {
        let mut offered = Vec::new();
        let (plan, cells) = (self.plan, self.cells);
        let mut near = cells.near();
        let level = |chunk: usize| cells.grown(chunk).level(0);
        plan.try_each_on(level, &mut |index| {
            if near.tenant(index).1 > 0 {
                return ControlFlow::Continue(());
            }
            offer.entry_at(index, 0)?;
            offered.push(index);
            ControlFlow::Continue(())
        })?;
        ControlFlow::Continue(offered)
    }

    fn read_stamps(&mut self) {
        let cells = self.cells;
        for sheet in &mut self.sheets {
            sheet.read_stamps(cells.grown(sheet.chunk), &mut self.course.aside);
        }
        self.sort_aside();
    }

    /// Sets aside where a move began.
    fn look_for_moves(&mut self) {
        let cells = self.cells;
        for sheet in &mut self.sheets {
            sheet.set_moved_aside(cells.grown(sheet.chunk), &mut self.course.aside);
        }
        self.sort_aside();
    }

    fn sort_aside(&mut self) {
        self.course.aside.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Offers the matches on the first levels, each of which has one load, as many as are wanted. The level to go on with.
    fn exact_levels(&mut self, from: usize, offer: &mut Offer<'_>) -> ControlFlow<(), usize> {
        let (gathered, next) = self.gather(from, offer.left());
        if !gathered.is_empty() {
            self.look_for_moves();
        }
        for (load, index) in gathered {
            if self.has(index) {
                self.at_load(load, index, offer)?;
            }
        }
        ControlFlow::Continue(next)
    }

    /// At least `wanted` matches, ascending by load, unless there are fewer on the first levels; and the level to go on with.
    fn gather(&mut self, from: usize, wanted: usize) -> (Vec<(u64, u32)>, usize) {
        let mut gathered = Vec::new();
        let mut level = from;
        while is_exact(level) && !self.is_dear() {
            for sheet in &self.sheets {
                self.looked += sheet.gather(self.cells.grown(sheet.chunk), level, &mut gathered);
                if gathered.len() >= wanted {
                    return (gathered, level);
                }
            }
            level += 1;
        }
        (gathered, level)
    }

    /// Offers the matches on a level whose loads are several.
    fn wide_level(&mut self, level: usize, offer: &mut Offer<'_>) -> ControlFlow<()> {
        let loads = loads_of(level);
        let mut near = self.cells.near();
        self.least_first(
            offer,
            Some(level),
            |index| near.tenant(index).1,
            |sweep, offer, (load, index)| {
                sweep.check_moves(level, offer)?;
                // Who has risen meanwhile is met further up.
                if load <= *loads.end() && sweep.has(index) {
                    sweep.at_load(load, index, offer)?;
                }
                ControlFlow::Continue(())
            },
        )
    }

    /// Before the first offer on a wide level: looks for moves, and offers what so turns out to lie below.
    fn check_moves(&mut self, level: usize, offer: &mut Offer<'_>) -> ControlFlow<()> {
        if self.course.checked >= level {
            return ControlFlow::Continue(());
        }
        self.course.checked = level;
        self.look_for_moves();
        self.aside_up_to(loads_of(level).start() - 1, offer)
    }

    /// The rest, by reading the load of each: it is cheaper now than more levels, or no level showed them.
    fn by_reading(&mut self, offer: &mut Offer<'_>) -> ControlFlow<()> {
        let mut near = self.cells.near();
        let load = |index| near.tenant(index).1;
        self.least_first(offer, None, load, |sweep, offer, (load, index)| {
            sweep.at_load(load, index, offer)
        })?;
        self.aside_up_to(u64::MAX, offer)
    }

    /// Offers a match in its turn. One that fell behind the sweep is offered with the load that the sweep has reached.
    fn at_load(&mut self, load: u64, index: u32, offer: &mut Offer<'_>) -> ControlFlow<()> {
        self.strike(index);
        self.aside_up_to(load, offer)?;
        self.course.reached = self.course.reached.max(load);
        offer.entry_at(index, self.course.reached)
    }

    fn aside_up_to(&mut self, most: u64, offer: &mut Offer<'_>) -> ControlFlow<()> {
        while let Some(&(load, index)) = self.course.aside.last().filter(|one| one.0 <= most) {
            self.course.aside.pop();
            self.course.reached = self.course.reached.max(load);
            offer.entry_at(index, self.course.reached)?;
        }
        ControlFlow::Continue(())
    }
}
