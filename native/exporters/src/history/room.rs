//! Whether one more course may be kept (H1), and how many could not be. Knows no points.

use std::collections::BTreeMap;

use super::ring::Course;
use super::{Key, MOST, MOST_POOLS};

type Courses = BTreeMap<Key, Course>;
// An instance's name and a pool's.
type Place = (String, String);

/// Room for what one look found.
pub struct Room {
    slot: u64,
    // By when something was found of each last; looked up with the first pool that is new.
    pools: Option<BTreeMap<Place, u64>>,
}

impl Room {
    /// At a span of the finest level.
    pub fn at(slot: u64) -> Self {
        Self { slot, pools: None }
    }

    /// Whether a course is there or may be; what no look has found since may go for it.
    pub fn has(&mut self, courses: &mut Courses, key: &Key) -> bool {
        courses.contains_key(key) || (self.has_pool(courses, key) && self.has_one(courses))
    }

    fn has_pool(&mut self, courses: &mut Courses, key: &Key) -> bool {
        let Some(place) = place(key) else { return true };
        let slot = self.slot;
        let pools = self.pools.get_or_insert_with(|| pools_of(courses));
        if pools.contains_key(&place) {
            return true;
        }
        if pools.len() >= MOST_POOLS {
            let Some(gone) = oldest(pools.iter().map(|(place, at)| (place, *at)), slot) else {
                return false;
            };
            pools.remove(&gone);
            courses.retain(|key, _| !is_of(key, &gone));
        }
        pools.insert(place, slot);
        true
    }

    fn has_one(&self, courses: &mut Courses) -> bool {
        if courses.len() < MOST {
            return true;
        }
        let all = courses.iter().map(|(key, course)| (key, course.written));
        let gone = oldest(all, self.slot);
        gone.is_some_and(|key| courses.remove(&key).is_some())
    }
}

fn place(key: &Key) -> Option<Place> {
    key.pool.clone().map(|pool| (key.instance.clone(), pool))
}

fn is_of(key: &Key, (instance, pool): &Place) -> bool {
    key.instance == *instance && key.pool.as_ref() == Some(pool)
}

fn pools_of(courses: &Courses) -> BTreeMap<Place, u64> {
    let mut pools = BTreeMap::new();
    for (key, course) in courses {
        if let Some(place) = place(key) {
            let last = pools.entry(place).or_insert(0);
            *last = course.written.max(*last);
        }
    }
    pools
}

// Of those that the look before did not find either.
fn oldest<'a, T: Clone + 'a>(all: impl Iterator<Item = (&'a T, u64)>, slot: u64) -> Option<T> {
    let oldest = all.min_by_key(|(_, written)| *written);
    oldest
        .filter(|(_, written)| written + 1 < slot)
        .map(|(one, _)| one.clone())
}

/// Courses that had no room, by instance: those of the span that is on, and of the one before, which is whole.
#[derive(Debug, Default)]
pub struct Unkept {
    slot: u64,
    counts: BTreeMap<String, u64>,
    before: BTreeMap<String, u64>,
}

// Looks are a span apart, and a little more: one in many passes over a span.
const LATE: u64 = 2;

impl Unkept {
    pub fn count(&mut self, slot: u64, instance: String) {
        if slot != self.slot {
            let counts = std::mem::take(&mut self.counts);
            self.before = if slot == self.slot + 1 {
                counts
            } else {
                BTreeMap::new()
            };
            self.slot = slot;
        }
        *self.counts.entry(instance).or_default() += 1;
    }

    pub fn of(&self, slot: u64, instance: &str) -> u64 {
        let counted = |counts: &BTreeMap<String, u64>| counts.get(instance).copied().unwrap_or(0);
        if slot > self.slot + LATE {
            0
        } else {
            counted(&self.counts).max(counted(&self.before))
        }
    }
}
