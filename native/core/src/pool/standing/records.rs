//! What is held against the members of a pool. Decides nothing.

use std::collections::BTreeMap;

use crate::pool::ejection::Cause;

/// Until somebody says otherwise.
pub const FOREVER: i64 = i64::MAX;

#[derive(Debug)]
pub struct Record {
    /// How often it was ejected, less one for each interval that it was in.
    pub times: u32,
    pub cause: Cause,
    /// When it came to be as it is.
    pub since: i64,
    pub out: Option<Out>,
}

#[derive(Clone, Copy, Debug)]
pub struct Out {
    pub until: i64,
    pub enforced: bool,
}

/// What is held against members.
#[derive(Debug, Default)]
pub struct Records {
    pub of: BTreeMap<u64, Record>,
    /// Failures in a row of those that died, and how many intervals ago.
    pub left_behind: BTreeMap<u64, (u32, u8)>,
    pub swept: i64,
    /// How often nobody was ejected any more, as enough were.
    pub held_back: u64,
}

impl Records {
    pub fn out(&self, member: u64) -> Option<Out> {
        self.of.get(&member).and_then(|record| record.out)
    }

    pub fn count(&self) -> usize {
        self.of.values().filter(|record| record.out.is_some()).count()
    }

    pub fn begin(&mut self, now: i64) {
        self.swept = now;
    }

    pub fn bytes(&self) -> usize {
        self.of.len() * size_of::<(u64, Record)>() + self.left_behind.len() * size_of::<(u64, u32, u8)>()
    }

    pub fn forget(&mut self, member: u64) {
        self.of.remove(&member);
        self.left_behind.remove(&member);
    }

    // Who was in all through the interval counts one ejection less.
    pub fn forgive(&mut self, before: i64) {
        for record in self.of.values_mut() {
            if record.out.is_none() && record.since <= before {
                record.times = record.times.saturating_sub(1);
            }
        }
        self.of
            .retain(|_, record| record.out.is_some() || record.times > 0 || record.since > before);
        self.left_behind.retain(|_, (_, age)| {
            *age += 1;
            *age < 2
        });
    }
}
