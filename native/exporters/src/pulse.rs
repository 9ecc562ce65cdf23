//! Whether the VM lives and serves, as it said last. Knows no HTTP.

use std::sync::Mutex;
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
    patience: Duration,
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
            patience,
        }
    }

    pub fn beat(&self, beat: Beat) {
        *self.last.lock().expect("nothing panics under it") = (Instant::now(), beat);
    }

    pub fn lives(&self) -> bool {
        self.last().0.elapsed() < self.patience
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
