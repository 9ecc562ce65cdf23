//! Looks at all families once in a while, and remembers what they said.

use std::sync::Arc;
use std::time::Instant;

use kantoku_core::metrics::Family;
use tokio::time::{MissedTickBehavior, interval};

use super::{History, INTERVAL, Looks, now};
use crate::figures::Figures;

/// Who looks, and when that was last.
#[derive(Debug)]
pub struct Watch {
    looks: Looks,
    last: Instant,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            looks: Looks::default(),
            last: Instant::now(),
        }
    }
}

impl Watch {
    /// Remembers how things stand, and how they went since the look before.
    pub fn look(&mut self, families: Vec<Family>, history: &History) {
        let found = self.looks.take(families, self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
        history.watched(self.looks.bytes());
        history.record(now(), found);
    }
}

// Who looks no more keeps nothing.
struct Watching<'h>(&'h History);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watched(0);
    }
}

/// Goes on until it is dropped.
pub async fn watch(figures: Arc<Figures>) {
    let _watching = Watching(&figures.history);
    let mut watch = Watch::default();
    let mut due = interval(INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Some(families) = figures.families() {
            watch.look(families, &figures.history);
        }
    }
}
