//! Looks at all families once in a while, and remembers what they said.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::{MissedTickBehavior, interval};

use super::{INTERVAL, Looks, now};
use crate::figures::Figures;

/// Goes on until it is dropped.
pub async fn watch(figures: Arc<Figures>) {
    let (mut looks, mut last) = (Looks::default(), Instant::now());
    let mut due = interval(INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Some(families) = figures.families() {
            let found = looks.take(families, last.elapsed().as_secs_f64());
            last = Instant::now();
            figures.history.record(now(), found);
        }
    }
}
