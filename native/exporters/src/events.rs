//! Events of the VM for who reads them as a stream. Knows no HTTP, and no event but by its name.
//!
//! E1. What waits for readers is bounded for all of them together: who falls behind by more than `WAITING` events loses the oldest, and is told
//!     how many.
//! E2. There are never more than `MOST` readers.
//! E3. The VM is told when the first reader comes and when the last one has gone, in that order, and need hand in nothing in between.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// Events that wait for the slowest reader.
pub const WAITING: usize = 1024;

/// Readers at the same time.
pub const MOST: usize = 32;

/// An event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub instance: String,
    /// With dots, as `pool.scaled`.
    pub name: String,
    /// One line.
    pub data: String,
}

/// An event that waits, and is among the bytes that do until its last reader has had it.
#[derive(Debug)]
pub struct Waiting {
    event: Event,
    waiting: Arc<AtomicUsize>,
}

impl Waiting {
    fn new(event: Event, waiting: Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(event.bytes(), Ordering::Relaxed);
        Self { event, waiting }
    }
}

impl Deref for Waiting {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.event.bytes(), Ordering::Relaxed);
    }
}

/// What a reader is told next.
#[derive(Clone, Debug)]
pub enum Told {
    Event(Arc<Waiting>),
    /// So many were not kept for it.
    Dropped(u64),
}

impl Event {
    fn bytes(&self) -> usize {
        size_of::<Waiting>() + self.instance.capacity() + self.name.capacity() + self.data.capacity()
    }
}

/// Told whether anybody reads.
pub type Heed = Arc<dyn Fn(bool) + Send + Sync>;

#[derive(Clone, Debug)]
enum Passed {
    Event(Arc<Waiting>),
    Dropped(u64),
}

/// Where events come in, and readers come to.
pub struct Hub {
    sender: Sender<Passed>,
    readers: Mutex<usize>,
    heed: Heed,
    // In bytes.
    waiting: Arc<AtomicUsize>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

/// Somebody who reads, until it is dropped.
#[derive(Debug)]
pub struct Reader {
    receiver: Receiver<Passed>,
    instance: Option<String>,
    prefix: String,
    hub: Arc<Hub>,
}

impl Hub {
    pub fn new(heed: Heed) -> Self {
        Self {
            sender: channel(WAITING).0,
            readers: Mutex::default(),
            heed,
            waiting: Arc::default(),
        }
    }

    /// Hands an event to all who read; whether there is anybody.
    pub fn publish(&self, event: Event) -> bool {
        let event = Waiting::new(event, self.waiting.clone());
        self.sender.send(Passed::Event(Arc::new(event))).is_ok()
    }

    /// Says that the VM itself had no room for so many.
    pub fn publish_dropped(&self, count: u64) -> bool {
        self.sender.send(Passed::Dropped(count)).is_ok()
    }

    /// What waits for readers, in bytes.
    pub fn bytes(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub fn readers(&self) -> usize {
        *self.readers.lock().expect("nothing panics under it")
    }

    /// Reads events of one instance, or of all, whose names begin so. `None`: there are too many readers.
    pub fn read(self: &Arc<Self>, instance: Option<String>, prefix: String) -> Option<Reader> {
        let mut readers = self.readers.lock().expect("nothing panics under it");
        if *readers >= MOST {
            return None;
        }
        *readers += 1;
        let receiver = self.sender.subscribe();
        // E3: with the count locked, so that it is told in order.
        if *readers == 1 {
            (self.heed)(true);
        }
        Some(Reader {
            receiver,
            instance,
            prefix,
            hub: self.clone(),
        })
    }
}

impl Reader {
    /// The next that is for it; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            match self.receiver.recv().await {
                Ok(Passed::Event(event)) if self.wants(&event) => return Some(Told::Event(event)),
                Ok(Passed::Event(_)) => {}
                Ok(Passed::Dropped(count)) | Err(RecvError::Lagged(count)) => {
                    return Some(Told::Dropped(count));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let instance = self.instance.as_ref();
        instance.is_none_or(|name| *name == event.instance) && event.name.starts_with(&self.prefix)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut readers = self.hub.readers.lock().expect("nothing panics under it");
        *readers -= 1;
        if *readers == 0 {
            (self.hub.heed)(false);
        }
    }
}
