//! What figures were, for a week, in bounded memory: who looks later sees how it came to this.
//!
//! H1. There are never more than [`MOST`] courses, each of as many bytes from its first point on, and they are of [`MOST_POOLS`] pools at
//!     most, so that instances and those pools have all of theirs: what no look has found since makes room for what is new, the oldest
//!     first; where all are found, the new one is not kept, and counted.
//! H2. A point is what was found in its span, or nothing: the mean of all, or of quantiles the greatest.
//! H3. Courses are named after their instance, and go on when that is there again.

mod looks;
mod ring;
mod room;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use looks::Looks;
use ring::{Book, Course};
pub use ring::{Join, LEVELS, Level};
use room::{Room, Unkept};
pub use watch::{Watch, watch};

/// Courses that are kept: 11.7 MB at most, and only where there are so many.
pub const MOST: usize = 1024;

/// Pools that have courses, seven each; the others are the instances' own.
pub const MOST_POOLS: usize = 128;

/// Of one answer.
pub const MOST_ANSWERED: usize = 200;

/// Between two looks.
pub const INTERVAL: Duration = Duration::from_secs(LEVELS[0].step);

/// What a course is of: a figure of an instance, as a whole or of one of its pools. Those of an instance come before those of its pools.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub instance: String,
    pub pool: Option<String>,
    pub name: String,
}

impl Key {
    pub fn of(instance: &str, name: &str, pool: Option<&str>) -> Self {
        Self {
            instance: instance.to_owned(),
            pool: pool.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    fn join(&self) -> Join {
        if self.name.starts_with('p') && self.name[1..].parse::<u8>().is_ok() {
            Join::Max
        } else {
            Join::Mean
        }
    }
}

/// Courses over one stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Seconds between two points.
    pub step: u64,
    /// When the first point's span begins, in seconds since 1970.
    pub from: u64,
    pub courses: Vec<(Key, Vec<Option<f32>>)>,
    /// There are more of them than one answer has.
    pub truncated: bool,
    /// Courses of the instance that were found of late and for which there was no room.
    pub unkept: u64,
}

/// Which courses are meant.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    pub instance: &'w str,
    /// Of a pool, or the instance's own.
    pub pool: Option<&'w str>,
    pub names: &'w [&'w str],
}

impl Wanted<'_> {
    fn is(&self, key: &Key) -> bool {
        key.instance == self.instance
            && key.pool.as_deref() == self.pool
            && self.names.contains(&key.name.as_str())
    }
}

/// The courses of a VM.
#[derive(Debug, Default)]
pub struct History {
    inner: Mutex<Inner>,
    // What who looks keeps, in bytes.
    watch: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    book: Book,
    courses: BTreeMap<Key, Course>,
    unkept: Unkept,
}

impl History {
    /// Takes in what was found at a time, in seconds since 1970.
    pub fn record(&self, now: u64, found: impl IntoIterator<Item = (Key, f64)>) {
        let mut inner = self.inner();
        let Inner {
            book,
            courses,
            unkept,
        } = &mut *inner;
        if !book.advance(now, courses.values_mut()) {
            return;
        }
        let mut room = Room::at(book.slot());
        for (key, value) in found {
            if !room.has(courses, &key) {
                unkept.count(book.slot(), key.instance);
                continue;
            }
            let join = key.join();
            courses.entry(key).or_default().put(book, value, join);
        }
    }

    /// What is wanted, up to now; the finest that goes back so far.
    pub fn read(&self, now: u64, wanted: &Wanted<'_>, range: u64) -> Stretch {
        let inner = self.inner();
        let (at, count) = ring::level(range);
        let (step, last) = (LEVELS[at].step, now / LEVELS[at].step);
        let points = |course: &Course| course.points(&inner.book, at, last, count);
        let mut found = inner.courses.iter().filter(|(key, _)| wanted.is(key));
        Stretch {
            step,
            from: (last + 1).saturating_sub(count as u64) * step,
            courses: found
                .by_ref()
                .take(MOST_ANSWERED)
                .map(|(key, course)| (key.clone(), points(course)))
                .collect(),
            truncated: found.next().is_some(),
            unkept: inner.unkept.of(inner.book.slot(), wanted.instance),
        }
    }

    /// The names of an instance's courses.
    pub fn names(&self, instance: &str) -> Vec<String> {
        let inner = self.inner();
        let of_it = inner.courses.keys().filter(|key| key.instance == instance);
        let names: BTreeSet<&String> = of_it.map(|key| &key.name).collect();
        names.into_iter().cloned().collect()
    }

    /// The first of the instances that were found last.
    pub fn first_instance(&self) -> Option<String> {
        let inner = self.inner();
        let latest = inner.courses.values().map(|course| course.written).max()?;
        let found = inner.courses.iter().find(|(_, course)| course.written == latest);
        found.map(|(key, _)| key.instance.clone())
    }

    /// Courses, and what who looks keeps to tell rises from.
    pub fn bytes(&self) -> usize {
        let inner = self.inner();
        let names: usize = inner.courses.keys().map(key_bytes).sum();
        names + inner.courses.len() * Course::BYTES + self.watch.load(Ordering::Relaxed)
    }

    /// Says how many bytes who looks keeps.
    pub fn watched(&self, bytes: usize) {
        self.watch.store(bytes, Ordering::Relaxed);
    }

    pub fn len(&self) -> usize {
        self.inner().courses.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics under it")
    }
}

fn key_bytes(key: &Key) -> usize {
    size_of::<Key>() + key.instance.len() + key.name.len() + key.pool.as_ref().map_or(0, String::len)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
