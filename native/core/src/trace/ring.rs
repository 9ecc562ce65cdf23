//! A bounded queue of finished spans, behind one short lock: whoever hands one in moves it, whoever takes some moves them out.
//! What is dropped is freed outside the lock.
//!
//! S1. What is held is never more spans than were allowed, nor more bytes.
//! S2. A span that is offered is kept, or dropped and counted: `offered = kept + dropped`, and `kept = held + taken + lost` where
//!     `lost` is what was held as the ring was opened with other limits or closed. Nobody waits for room.
//! S3. What is kept is taken once, in the order in which it came.
//! S4. What is offered or asked for another generation changes nothing.

use std::collections::VecDeque;

use super::Span;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};

/// How much a ring holds at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub spans: usize,
    pub bytes: usize,
}

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// And so many are held now.
    Kept(usize),
    Dropped,
    /// The ring is not open for that generation.
    Closed,
}

/// Since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub held: usize,
    pub bytes: usize,
    pub kept: u64,
    pub dropped: u64,
    pub taken: u64,
}

// Its bytes were added up before the lock was taken.
#[derive(Debug)]
struct Held {
    bytes: usize,
    span: Span,
}

#[derive(Debug, Default)]
struct Inner {
    generation: u32,
    limits: Limits,
    spans: VecDeque<Held>,
    counts: Counts,
}

impl Inner {
    fn keeps_for(&self, generation: u32) -> bool {
        self.generation == generation && generation != 0 && self.limits.spans != 0
    }
}

#[derive(Debug, Default)]
pub struct Ring {
    inner: Mutex<Inner>,
    // Beside the lock, so that a ring nobody uses is seen without it. A hint; the lock decides.
    open_for: AtomicU32,
}

impl Ring {
    /// Opens for a generation that was never used, or anew for this one. One that is open for it with these limits stays as it is; what
    /// any other held is lost.
    pub fn open(&self, generation: u32, limits: Limits) {
        let fresh = Inner {
            generation,
            limits,
            ..Inner::default()
        };
        let mut inner = self.inner.lock();
        if inner.generation == generation && inner.limits == limits {
            return;
        }
        let old = std::mem::replace(&mut *inner, fresh);
        drop(inner);
        drop(old);
        // Relaxed: who sees it late is told `Closed`, as if it had come a moment sooner.
        self.open_for.store(generation, Ordering::Relaxed);
    }

    pub fn close(&self) {
        self.open_for.store(0, Ordering::Relaxed);
        drop(std::mem::take(&mut *self.inner.lock()));
    }

    /// Keeps a span, or counts that it did not.
    pub fn offer(&self, generation: u32, span: Span) -> Offered {
        let bytes = span.bytes();
        let mut inner = self.inner.lock();
        if !inner.keeps_for(generation) {
            drop(inner);
            return Offered::Closed;
        }
        let room = inner.counts.held < inner.limits.spans && inner.limits.bytes - inner.counts.bytes >= bytes;
        if !room {
            inner.counts.dropped += 1;
            drop(inner);
            drop(span);
            return Offered::Dropped;
        }
        inner.counts.held += 1;
        inner.counts.bytes += bytes;
        inner.counts.kept += 1;
        inner.spans.push_back(Held { bytes, span });
        Offered::Kept(inner.counts.held)
    }

    /// Counts one that could not be read as dropped.
    pub fn refuse(&self, generation: u32) -> Offered {
        let mut inner = self.inner.lock();
        if !inner.keeps_for(generation) {
            return Offered::Closed;
        }
        inner.counts.dropped += 1;
        Offered::Dropped
    }

    /// Whether it may be open for a generation.
    pub fn is_open(&self, generation: u32) -> bool {
        generation != 0 && self.open_for.load(Ordering::Relaxed) == generation
    }

    /// The oldest spans, `most` at most. For whoever sends them on, from any thread.
    pub fn drain(&self, generation: u32, most: usize) -> Vec<Span> {
        let mut inner = self.inner.lock();
        if inner.generation != generation {
            return Vec::new();
        }
        let count = most.min(inner.spans.len());
        let mut bytes = 0;
        let taken = inner.spans.drain(..count).map(|held| {
            bytes += held.bytes;
            held.span
        });
        let taken: Vec<Span> = taken.collect();
        inner.counts.held -= count;
        inner.counts.bytes -= bytes;
        inner.counts.taken += count as u64;
        taken
    }

    pub fn counts(&self) -> Counts {
        self.inner.lock().counts
    }

    /// Native bytes, with the room that stands ready for more spans.
    pub fn bytes(&self) -> usize {
        let inner = self.inner.lock();
        inner.counts.bytes + (inner.spans.capacity() - inner.spans.len()) * size_of::<Held>()
    }
}
