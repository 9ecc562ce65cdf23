//! How to read without a lock what one writer at a time changes: by a number that tells before and after whether it did.
//!
//! V1. A look that is answered saw nothing of a change that was under way, and nothing of two different times.
//! V2. It saw all of what had changed before it began.
//!
//! What is looked at is made of atomic words and is memory all along, whatever becomes of it: a look that is not answered may
//! have seen anything.

use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// Odd while a change is under way.
#[derive(Debug, Default)]
pub struct Version(AtomicU64);

impl Version {
    /// Makes a change. Callers come one at a time.
    #[inline]
    pub fn change<R>(&self, change: impl FnOnce() -> R) -> R {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before | 1, Ordering::Relaxed);
        // Pairs with the fence in `look`: who saw a word of the change sees the odd number, or a later one (V1).
        fence(Ordering::Release);
        let changed = change();
        // Pairs with the first load in `look` (V2).
        self.0.store((before | 1) + 1, Ordering::Release);
        changed
    }

    /// What `look` sees, unless something changes meanwhile.
    #[inline(always)]
    pub fn look<R>(&self, look: impl FnOnce() -> R) -> Option<R> {
        let before = self.0.load(Ordering::Acquire);
        if before & 1 == 1 {
            return None;
        }
        let seen = look();
        fence(Ordering::Acquire);
        (self.0.load(Ordering::Relaxed) == before).then_some(seen)
    }
}

#[cfg(all(test, kantoku_loom))]
mod tests {
    use super::*;
    use crate::sync::Arc;
    use loom::thread;

    // Two words that are always changed together, and a third that follows them.
    struct Pair {
        version: Version,
        words: [AtomicU64; 2],
        done: AtomicU64,
    }

    impl Pair {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                version: Version::default(),
                words: [AtomicU64::new(0), AtomicU64::new(0)],
                done: AtomicU64::new(0),
            })
        }

        fn set(&self, to: u64) {
            self.version.change(|| {
                self.words
                    .iter()
                    .for_each(|word| word.store(to, Ordering::Relaxed))
            });
            self.done.store(to, Ordering::Release);
        }

        fn get(&self) -> Option<[u64; 2]> {
            self.version
                .look(|| [0, 1].map(|at: usize| self.words[at].load(Ordering::Relaxed)))
        }
    }

    #[test]
    fn loom_a_look_sees_one_time_and_nothing_older_than_what_was_known() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let pair = Pair::new();
            let writer = Arc::clone(&pair);
            let writing = thread::spawn(move || (1..=2).for_each(|to| writer.set(to)));
            let known = pair.done.load(Ordering::Acquire);
            if let Some([one, other]) = pair.get() {
                assert_eq!(one, other, "V1");
                assert!(one >= known, "V2");
            }
            writing.join().expect("the writer ends well");
            assert_eq!(pair.get(), Some([2, 2]));
        });
    }
}
