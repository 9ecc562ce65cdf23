//! Points of one course at several widths of time, each a ring of so many. Knows no names.

/// A ring: so many points, so many seconds apart.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    pub step: u64,
    pub points: usize,
}

/// An hour, a day, a week.
pub const LEVELS: [Level; 3] = [
    Level {
        step: 10,
        points: 360,
    },
    Level {
        step: 60,
        points: 1440,
    },
    Level {
        step: 600,
        points: 1008,
    },
];

/// What is made of all that is found within one point's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    Mean,
    Max,
}

// A clock that was set back by less than this is waited for; by more, all begins anew.
const SET_BACK: u64 = 3600;

/// The finest level that goes back so many seconds, or the coarsest; and how many points of it those are.
pub fn level(range: u64) -> (usize, usize) {
    let reaches = |level: &Level| level.step * level.points as u64 >= range;
    let at = LEVELS.iter().position(reaches).unwrap_or(LEVELS.len() - 1);
    let points = range.div_ceil(LEVELS[at].step);
    (at, points.clamp(1, LEVELS[at].points as u64) as usize)
}

/// At which span each level is: the number of its step since 1970.
#[derive(Debug, Default)]
pub struct Book {
    slots: [u64; LEVELS.len()],
    now: u64,
}

impl Book {
    /// The finest level's.
    pub fn slot(&self) -> u64 {
        self.slots[0]
    }

    /// Goes on to a time, and empties what is passed over; `false` where the clock was set back a little.
    pub fn advance<'c>(&mut self, now: u64, courses: impl Iterator<Item = &'c mut Course>) -> bool {
        if now < self.now && self.now - now < SET_BACK {
            return false;
        }
        let before = self.slots;
        let back = now < self.now;
        self.now = now;
        self.slots = LEVELS.map(|level| now / level.step);
        for course in courses {
            if back {
                *course = Course::default();
            }
            course.pass(&before, &self.slots);
        }
        true
    }
}

/// One figure's points.
#[derive(Debug)]
pub struct Course {
    points: [Box<[f32]>; LEVELS.len()],
    // Of the span that each level is at.
    sums: [(f64, u32); LEVELS.len()],
    /// The finest level's span in which something was found last.
    pub written: u64,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            points: LEVELS.map(|level| vec![f32::NAN; level.points].into()),
            sums: Default::default(),
            written: 0,
        }
    }
}

impl Course {
    /// What each takes, whatever is in it.
    pub const BYTES: usize =
        size_of::<Self>() + size_of::<f32>() * (LEVELS[0].points + LEVELS[1].points + LEVELS[2].points);

    fn pass(&mut self, before: &[u64], slots: &[u64]) {
        for (at, points) in self.points.iter_mut().enumerate() {
            let passed = slots[at].saturating_sub(before[at]);
            if passed > 0 {
                self.sums[at] = (0.0, 0);
            }
            for back in 0..passed.min(points.len() as u64) {
                points[place(slots[at] - back, points.len())] = f32::NAN;
            }
        }
    }

    /// Takes in what was found in the span that the book is at.
    pub fn put(&mut self, book: &Book, value: f64, join: Join) {
        self.written = book.slot();
        for (at, points) in self.points.iter_mut().enumerate() {
            let (sum, count) = &mut self.sums[at];
            match join {
                Join::Max if *count > 0 => *sum = sum.max(value),
                Join::Max => *sum = value,
                Join::Mean => *sum += value,
            }
            *count += 1;
            let over = if join == Join::Mean {
                f64::from(*count)
            } else {
                1.0
            };
            points[place(book.slots[at], points.len())] = (*sum / over) as f32;
        }
    }

    /// So many points up to the span `last`, the oldest first.
    pub fn points(&self, book: &Book, at: usize, last: u64, count: usize) -> Vec<Option<f32>> {
        let (points, now) = (&self.points[at], book.slots[at]);
        let first = (last + 1).saturating_sub(count as u64);
        let known = |slot: u64| slot <= now && slot + points.len() as u64 > now;
        let point = |slot: u64| known(slot).then(|| points[place(slot, points.len())]);
        (first..=last)
            .map(|slot| point(slot).filter(|point| point.is_finite()))
            .collect()
    }
}

fn place(slot: u64, points: usize) -> usize {
    (slot % points as u64) as usize
}
