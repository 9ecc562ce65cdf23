//! The orders, over matches that are many: word by word, with bitmaps.
//!
//! By load, level after level: a word of matches AND the level's word. A match is struck out when it is offered, so
//! none is offered twice. Words whose slots move are *set aside*, with the loads of their cells read: those that are
//! unsettled when their chunk is opened, and, before anything is offered on a level, those that a move began in since.
//! So what fell behind the sweep still comes in its turn; what falls later is looked up at the end, so none is missed.

use std::ops::ControlFlow;

use super::catalogue::Catalogue;
use super::cells::{Cells, Chunk, SHIFT, SPAN, Stamp, WORDS};
use super::least::Least;
use super::level::{LEVELS, is_exact, loads_of};
use super::listed::shuffled;
use super::offer::Offer;
use super::query::{Order, Plan};
use super::random::Random;
use super::set::{Words, ones};

/// The matches of a chunk that were not offered yet.
struct Sheet {
    chunk: usize,
    /// Which words are not empty.
    filled: u64,
    words: Words,
    /// As they were when the sheet was made, of the words that are filled.
    stamps: [Stamp; WORDS],
}

pub(super) struct Sweep<'a> {
    plan: &'a Plan<'a>,
    cells: &'a Cells,
    chunks: usize,
    sheets: Vec<Sheet>,
    /// Matches from words whose slots move, with their loads, descending.
    aside: Vec<(u64, u32)>,
    /// Words looked at, and matches there may be: the price of going on by level, and of reading each load.
    looked: usize,
    matches: usize,
    /// The highest load offered.
    reached: u64,
    /// The level before which moves were last looked for.
    checked: usize,
}

impl Sheet {
    fn new(chunk: usize, words: Words) -> Self {
        let filled = words
            .iter()
            .enumerate()
            .map(|(at, &word)| u64::from(word != 0) << at)
            .sum();
        Self {
            chunk,
            filled,
            words,
            stamps: [Stamp::default(); WORDS],
        }
    }

    fn index(&self, word: usize, bit: u32) -> u32 {
        (self.chunk << SHIFT) as u32 + (word * 64) as u32 + bit
    }

    #[inline]
    fn strike(&mut self, word: usize, bit: u32) {
        self.words[word] &= !(1 << bit);
        if self.words[word] == 0 {
            self.filled &= !(1 << word);
        }
    }

    fn left(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The place of the `nth` match, from 0.
    fn nth(&self, mut nth: u32) -> (usize, u32) {
        for word in 0..WORDS {
            let ones_here = self.words[word].count_ones();
            if nth < ones_here {
                return (
                    word,
                    ones(self.words[word]).nth(nth as usize).expect("counted above"),
                );
            }
            nth -= ones_here;
        }
        unreachable!("drawn below the count of what is left")
    }
}

/// Takes a word's matches out of the sheet, with the loads they have now.
fn set_aside(sheet: &mut Sheet, word: usize, cells: &Chunk, aside: &mut Vec<(u64, u32)>) {
    for bit in ones(sheet.words[word]) {
        sheet.strike(word, bit);
        aside.push((cells.load_at(word * 64 + bit as usize), sheet.index(word, bit)));
    }
}

impl<'a> Sweep<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, cells: &'a Cells, chunks: usize) -> Self {
        let sheets = Vec::with_capacity(chunks);
        Self {
            plan,
            cells,
            chunks,
            sheets,
            aside: Vec::new(),
            looked: 0,
            matches: plan.at_most(),
            reached: 0,
            checked: 0,
        }
    }

    pub(super) fn offer_all(
        mut self,
        order: Order,
        catalogue: &Catalogue,
        offer: &mut Offer<'_>,
    ) -> ControlFlow<()> {
        match order {
            Order::None => self.any_order(offer),
            Order::Load => self.by_load(offer),
            Order::StartedAt => self.by_start(catalogue, offer),
            Order::Random(seed) => self.at_random(Random::new(seed), offer),
        }
    }

    fn any_order(&self, offer: &mut Offer<'_>) -> ControlFlow<()> {
        (0..self.chunks).try_for_each(|chunk| {
            let sheet = Sheet::new(chunk, self.plan.words(chunk));
            ones(sheet.filled).try_for_each(|word| {
                ones(sheet.words[word as usize])
                    .try_for_each(|bit| offer.entry(sheet.index(word as usize, bit)))
            })
        })
    }

    fn open_all(&mut self) {
        (0..self.chunks).for_each(|chunk| self.sheets.push(Sheet::new(chunk, self.plan.words(chunk))));
    }

    fn by_start(&mut self, catalogue: &Catalogue, offer: &mut Offer<'_>) -> ControlFlow<()> {
        self.open_all();
        self.least_first(
            offer,
            |_, _| u64::MAX,
            |index| catalogue.order_key(index),
            |sweep, offer, (_, index)| {
                sweep.strike(index);
                offer.entry(index)
            },
        )
    }

    fn by_load(&mut self, offer: &mut Offer<'_>) -> ControlFlow<()> {
        for chunk in 0..self.chunks {
            self.open(chunk);
            self.sheet_at_level(chunk, 0, offer)?;
        }
        for level in 1..LEVELS {
            self.aside_up_to(*loads_of(level - 1).end(), offer)?;
            if self.looked > self.matches {
                break;
            }
            self.at_level(level, offer)?;
        }
        self.by_reading(offer)
    }

    fn at_level(&mut self, level: usize, offer: &mut Offer<'_>) -> ControlFlow<()> {
        if is_exact(level) {
            return (0..self.chunks).try_for_each(|chunk| self.sheet_at_level(chunk, level, offer));
        }
        let loads = loads_of(level);
        let on_level = |chunk: &Chunk, word: usize| {
            if chunk.is_occupied(level) {
                chunk.level_word(level, word)
            } else {
                0
            }
        };
        let mut near = self.cells.near();
        self.least_first(
            offer,
            on_level,
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

    /// The rest, by reading the load of each: it is cheaper now than more levels, or no level showed them.
    fn by_reading(&mut self, offer: &mut Offer<'_>) -> ControlFlow<()> {
        let mut near = self.cells.near();
        let load = |index| near.tenant(index).1;
        self.least_first(
            offer,
            |_, _| u64::MAX,
            load,
            |sweep, offer, (load, index)| sweep.at_load(load, index, offer),
        )?;
        self.aside_up_to(u64::MAX, offer)
    }

    /// Offers a match in its turn. One that fell behind the sweep is offered with the load that the sweep has reached.
    fn at_load(&mut self, load: u64, index: u32, offer: &mut Offer<'_>) -> ControlFlow<()> {
        self.strike(index);
        self.aside_up_to(load, offer)?;
        self.reached = self.reached.max(load);
        offer.entry_at(index, self.reached)
    }

    fn aside_up_to(&mut self, most: u64, offer: &mut Offer<'_>) -> ControlFlow<()> {
        while let Some(&(load, index)) = self.aside.last().filter(|one| one.0 <= most) {
            self.aside.pop();
            self.reached = self.reached.max(load);
            offer.entry_at(index, self.reached)?;
        }
        ControlFlow::Continue(())
    }

    fn open(&mut self, chunk: usize) {
        let mut sheet = Sheet::new(chunk, self.plan.words(chunk));
        let cells = self.known(chunk);
        for word in ones(sheet.filled).map(|word| word as usize) {
            sheet.stamps[word] = cells.stamp(word);
            if !sheet.stamps[word].is_settled() {
                set_aside(&mut sheet, word, cells, &mut self.aside);
            }
        }
        self.sheets.push(sheet);
        self.aside.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn known(&self, chunk: usize) -> &'a Chunk {
        self.cells
            .chunk(chunk)
            .expect("the catalogue's chunks were grown")
    }

    /// Before the first offer on a level: sets aside where a move began, and offers what so turns out to lie below.
    fn check_moves(&mut self, level: usize, offer: &mut Offer<'_>) -> ControlFlow<()> {
        if self.checked >= level {
            return ControlFlow::Continue(());
        }
        self.checked = level;
        for sheet in &mut self.sheets {
            let cells = self
                .cells
                .chunk(sheet.chunk)
                .expect("the catalogue's chunks were grown");
            for word in ones(sheet.filled).map(|word| word as usize) {
                if sheet.stamps[word].differs(cells.stamp(word)) {
                    set_aside(sheet, word, cells, &mut self.aside);
                }
            }
        }
        self.aside.sort_unstable_by(|a, b| b.cmp(a));
        self.aside_up_to(loads_of(level).start() - 1, offer)
    }

    /// Offers the chunk's matches on a level whose loads are all the same: its bit *is* the load.
    fn sheet_at_level(&mut self, chunk: usize, level: usize, offer: &mut Offer<'_>) -> ControlFlow<()> {
        let cells = self.known(chunk);
        if self.sheets[chunk].filled == 0 || !cells.is_occupied(level) {
            return ControlFlow::Continue(());
        }
        for word in ones(self.sheets[chunk].filled).map(|word| word as usize) {
            self.looked += 1;
            if self.sheets[chunk].words[word] & cells.level_word(level, word) != 0 {
                self.check_moves(level, offer)?;
                self.word_at_level(chunk, word, level, offer)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn word_at_level(
        &mut self,
        chunk: usize,
        word: usize,
        level: usize,
        offer: &mut Offer<'_>,
    ) -> ControlFlow<()> {
        self.reached = level as u64;
        let on_level = self.known(chunk).level_word(level, word);
        let sheet = &mut self.sheets[chunk];
        ones(sheet.words[word] & on_level).try_for_each(|bit| {
            sheet.strike(word, bit);
            offer.entry_at(sheet.index(word, bit), level as u64)
        })
    }

    fn has(&self, index: u32) -> bool {
        let at = index as usize % SPAN;
        self.sheets[index as usize >> SHIFT].words[at / 64] >> (at % 64) & 1 == 1
    }

    fn strike(&mut self, index: u32) {
        let at = index as usize % SPAN;
        self.sheets[index as usize >> SHIFT].strike(at / 64, index % 64);
    }

    /// Hands the matches that `within` lets through to `then`, ascending by key. What `then` does not strike out stays.
    fn least_first(
        &mut self,
        offer: &mut Offer<'_>,
        within: impl Fn(&Chunk, usize) -> u64,
        mut key: impl FnMut(u32) -> u64,
        then: impl Fn(&mut Self, &mut Offer<'_>, (u64, u32)) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut wanted = offer.left();
        loop {
            let (found, more) = self.least(wanted, &within, &mut key);
            found.into_iter().try_for_each(|one| then(self, offer, one))?;
            if !more {
                return ControlFlow::Continue(());
            }
            wanted = wanted.saturating_mul(4);
        }
    }

    fn least(
        &mut self,
        wanted: usize,
        within: impl Fn(&Chunk, usize) -> u64,
        mut key: impl FnMut(u32) -> u64,
    ) -> (Vec<(u64, u32)>, bool) {
        let mut least = Least::new(wanted);
        for sheet in &self.sheets {
            let chunk = self.known(sheet.chunk);
            for word in ones(sheet.filled).map(|word| word as usize) {
                self.looked += 1;
                for bit in ones(sheet.words[word] & within(chunk, word)) {
                    let index = sheet.index(word, bit);
                    least.add(key(index), index);
                }
            }
        }
        least.finish()
    }

    fn at_random(&mut self, mut random: Random, offer: &mut Offer<'_>) -> ControlFlow<()> {
        self.open_all();
        let mut counts: Vec<u64> = self.sheets.iter().map(|sheet| u64::from(sheet.left())).collect();
        let mut left: u64 = counts.iter().sum();
        if offer.left() as u64 > left / 8 {
            return shuffled(self.indexes(), random, offer);
        }
        while left > 0 {
            let index = self.draw(&mut counts, random.below(left));
            left -= 1;
            offer.entry(index)?;
        }
        ControlFlow::Continue(())
    }

    fn indexes(&self) -> Vec<u32> {
        let of_word = |sheet: &'_ Sheet, word: usize| {
            let (base, bits) = (sheet.index(word, 0), sheet.words[word]);
            ones(bits).map(move |bit| base + bit)
        };
        self.sheets
            .iter()
            .flat_map(|sheet| (0..WORDS).flat_map(move |word| of_word(sheet, word)))
            .collect()
    }

    /// Takes out the `nth` match that is left.
    fn draw(&mut self, counts: &mut [u64], mut nth: u64) -> u32 {
        for (sheet, count) in self.sheets.iter_mut().zip(counts) {
            if nth < *count {
                *count -= 1;
                let (word, bit) = sheet.nth(nth as u32);
                sheet.strike(word, bit);
                return sheet.index(word, bit);
            }
            nth -= *count;
        }
        unreachable!("drawn below the count of what is left")
    }
}
