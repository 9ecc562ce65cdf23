//! Whether the VM lives and serves, as it said last. Knows no HTTP.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the VM says of itself, each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Takes work.
    pub ready: bool,
    /// Has started.
    pub started: bool,
}

/// The last beat, and when that was.
#[derive(Debug)]
pub struct Pulse {
    last: Mutex<(Instant, Beat)>,
    // In ms.
    patience: AtomicU64,
}

impl Pulse {
    /// A VM lives while its last beat is younger than `patience`; the first one counts from now.
    pub fn new(patience: Duration) -> Self {
        let nothing_yet = Beat {
            ready: false,
            started: false,
        };
        Self {
            last: Mutex::new((Instant::now(), nothing_yet)),
            patience: AtomicU64::new(in_ms(patience)),
        }
    }

    /// It may fall silent for as long as whoever asks now wants to bear.
    pub fn have_patience(&self, patience: Duration) {
        self.patience.store(in_ms(patience), Ordering::Relaxed);
    }

    pub fn beat(&self, beat: Beat) {
        *self.last.lock().expect("nothing panics under it") = (Instant::now(), beat);
    }

    pub fn lives(&self) -> bool {
        in_ms(self.last().0.elapsed()) < self.patience.load(Ordering::Relaxed)
    }

    /// What was said before the VM fell silent holds no more.
    pub fn ready(&self) -> bool {
        self.last().1.ready && self.lives()
    }

    pub fn started(&self) -> bool {
        self.last().1.started
    }

    fn last(&self) -> (Instant, Beat) {
        *self.last.lock().expect("nothing panics under it")
    }
}

fn in_ms(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
