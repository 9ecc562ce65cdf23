//! The orders, over matches that are many: word by word, with bitmaps. That by load is in `index/ascent.rs`.

use std::ops::ControlFlow;

use super::ascent::Course;
use super::catalogue::Catalogue;
use super::cells::{Cells, SHIFT, SPAN, WORDS};
use super::least::Least;
use super::listed::shuffled;
use super::offer::Offer;
use super::query::{Order, Plan};
use super::random::Random;
use super::set::ones;
use super::sheet::Sheet;

pub(super) struct Sweep<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) cells: &'a Cells,
    pub(super) chunks: usize,
    /// By chunk.
    pub(super) sheets: Vec<Sheet>,
    /// Words looked at.
    pub(super) looked: usize,
    pub(super) course: Course,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, cells: &'a Cells, chunks: usize) -> Self {
        Self {
            plan,
            cells,
            chunks,
            sheets: Vec::new(),
            looked: 0,
            course: Course::default(),
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
            let sheet = Sheet::new(chunk, self.plan);
            ones(sheet.filled).try_for_each(|word| {
                ones(sheet.words[word as usize])
                    .try_for_each(|bit| offer.entry(sheet.index(word as usize, bit)))
            })
        })
    }

    pub(super) fn open_all(&mut self) {
        let sheet = |chunk| Sheet::new(chunk, self.plan);
        self.sheets.extend((0..self.chunks).map(sheet));
    }

    fn by_start(&mut self, catalogue: &Catalogue, offer: &mut Offer<'_>) -> ControlFlow<()> {
        self.open_all();
        self.least_first(
            offer,
            None,
            |index| catalogue.order_key(index),
            |sweep, offer, (_, index)| {
                sweep.strike(index);
                offer.entry(index)
            },
        )
    }

    pub(super) fn has(&self, index: u32) -> bool {
        let at = index as usize % SPAN;
        self.sheets[index as usize >> SHIFT].words[at / 64] >> (at % 64) & 1 == 1
    }

    pub(super) fn strike(&mut self, index: u32) {
        let at = index as usize % SPAN;
        self.sheets[index as usize >> SHIFT].strike(at / 64, index % 64);
    }

    /// Hands the matches, all or those on a level, to `then`, ascending by key. What `then` does not strike out stays.
    pub(super) fn least_first(
        &mut self,
        offer: &mut Offer<'_>,
        level: Option<usize>,
        mut key: impl FnMut(u32) -> u64,
        then: impl Fn(&mut Self, &mut Offer<'_>, (u64, u32)) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut wanted = offer.left();
        loop {
            let (found, more) = self.least(wanted, level, &mut key);
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
        level: Option<usize>,
        mut key: impl FnMut(u32) -> u64,
    ) -> (Vec<(u64, u32)>, bool) {
        let mut least = Least::new(wanted);
        for sheet in &self.sheets {
            let chunk = self.cells.grown(sheet.chunk);
            let within = level.map_or(u64::MAX, |level| chunk.filled(level));
            for word in ones(sheet.filled & within).map(|word| word as usize) {
                self.looked += 1;
                let within = level.map_or(u64::MAX, |level| chunk.level_word(level, word));
                for bit in ones(sheet.words[word] & within) {
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
