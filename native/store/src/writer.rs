//! The one thread that writes: takes a batch, commits it, tells everyone in it, and begins again until it is told to end.
//!
//! A panic anywhere in a turn is reported, costs that turn's batch what a failed commit costs, and does not end the thread.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crate::completion::Panics;
use crate::disk::{Applied, Disk};
use crate::error::StoreError;
use crate::pending::Batch;
use crate::queue::Queue;
use crate::stats::Commit;

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) queue: Queue,
    pub(crate) disk: Disk,
    pub(crate) panics: Arc<Panics>,
}

impl Writer {
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let writer = self.clone();
        Builder::new()
            .name("kantoku_store".to_owned())
            .spawn(move || writer.run())
    }

    fn run(&self) {
        while let Some(batch) = self.queue.next_batch() {
            if self.panics.guard("the writer", || self.turn(batch)).is_none() {
                self.queue.failed(&StoreError::Abandoned);
            }
        }
        self.panics.guard("closing", || self.disk.close());
        self.queue.end();
    }

    fn turn(&self, batch: Batch) {
        match self.write(&batch) {
            Ok(applied) => batch.tell_committed(&applied.stored),
            Err(error) => {
                self.queue.failed(&error);
                batch.tell_failed(&error);
            }
        }
    }

    fn write(&self, batch: &Batch) -> Result<Applied, StoreError> {
        if batch.changes.is_empty() {
            return Ok(Applied::default());
        }
        let begun = Instant::now();
        let applied = self.disk.commit(&batch.changes)?;
        let took = begun.elapsed();
        let bytes = batch.changes.values().map(|change| change.bytes() as u64);
        self.queue.committed(Commit {
            bytes: bytes.sum(),
            quarantined: applied.quarantined,
            took,
        });
        Ok(applied)
    }
}
