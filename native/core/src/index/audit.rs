//! What must hold in a quiet time, checked from the outside of each part. For tests and simulations.

use super::catalogue::Catalogue;
use super::cells::{Cells, Chunk, SHIFT, SPAN, WORDS};
use super::level::LEVELS;

/// The first violation, as a sentence.
pub(super) fn audit(cells: &Cells, catalogue: &Catalogue) -> Result<(), String> {
    for number in 0..catalogue.chunks() {
        let chunk = cells
            .chunk(number)
            .ok_or("a chunk of records has no chunk of cells")?;
        (0..WORDS).try_for_each(|word| settled(chunk, word))?;
        (0..SPAN).try_for_each(|at| placed(chunk, at))?;
        (0..LEVELS).try_for_each(|level| summed_up(chunk, level))?;
        (0..SPAN).try_for_each(|at| known(catalogue, chunk, (number << SHIFT) as u32, at))?;
    }
    catalogue.audit()
}

fn ensure(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(sentence()) }
}

fn settled(chunk: &Chunk, word: usize) -> Result<(), String> {
    ensure(chunk.stamp(word).is_settled(), || {
        format!("4: word {word} is still unsettled")
    })
}

fn placed(chunk: &Chunk, at: usize) -> Result<(), String> {
    let has = |&level: &usize| chunk.level_word(level, at / 64) >> (at % 64) & 1 == 1;
    let levels: Vec<usize> = (0..LEVELS).filter(has).collect();
    let (moving, level) = chunk.state(at);
    ensure(!moving && levels.iter().copied().eq(level), || {
        format!("3: slot {at} is on levels {levels:?}, moving: {moving}, its load says {level:?}")
    })
}

fn summed_up(chunk: &Chunk, level: usize) -> Result<(), String> {
    let is = |&word: &usize| chunk.level_word(level, word) != 0;
    let filled = (0..WORDS).filter(is).fold(0_u64, |all, word| all | 1 << word);
    ensure(filled == chunk.filled(level), || {
        format!("6: of level {level} the words {filled:b} are filled")
    })
}

fn known(catalogue: &Catalogue, chunk: &Chunk, first: u32, at: usize) -> Result<(), String> {
    let index = first + at as u32;
    let live = chunk.state(at).1.is_some();
    ensure(live == catalogue.everyone().contains(index), || {
        format!("10: slot {index} is live: {live}")
    })
}
