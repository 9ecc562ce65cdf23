//! Chance and time of a simulation: both come from one seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::world::mixed;

/// Numbers from a seed (Steele, Lea and Flood: SplitMix).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// Below a bound that is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    pub fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            return None;
        }
        from.get(self.below(from.len() as u64) as usize)
    }
}

/// What is to happen, and when. Of what is due at one time, chance says what comes first.
#[derive(Debug)]
pub struct Agenda<E> {
    now: u64,
    due: BinaryHeap<Reverse<(u64, u64, Entry<E>)>>,
}

// Orders by nothing: time and the lot before it decide.
#[derive(Debug)]
struct Entry<E>(E);

impl<E> PartialEq for Entry<E> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            now: 0,
            due: BinaryHeap::new(),
        }
    }
}

impl<E> Agenda<E> {
    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn at(&mut self, time: u64, lot: u64, event: E) {
        self.due.push(Reverse((time.max(self.now), lot, Entry(event))));
    }

    /// The next event; the clock goes there.
    pub fn advance(&mut self) -> Option<E> {
        let Reverse((time, _, Entry(event))) = self.due.pop()?;
        self.now = time;
        Some(event)
    }
}
