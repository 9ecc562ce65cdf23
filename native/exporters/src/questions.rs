//! What only the VM can answer: handed to it, and waited for. Knows no HTTP and no VM but what it asks by.
//!
//! Q1. There are never more than `MOST` questions on their way: from when the VM was asked until it answers, or says that it forgot
//!     all. One whose asker went away counts until then, as it lies in the VM's mailbox.
//! Q2. Who asks has an answer or none within `PATIENCE`, whatever the VM does.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// Questions that may be on their way.
pub const MOST: usize = 64;

/// How long an answer is waited for.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Whether something is asked, or to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

/// What is asked, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub id: u64,
    pub verb: Verb,
    pub path: String,
    pub query: String,
}

/// What the VM says to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub body: Vec<u8>,
}

/// Hands a question to the VM; whether there is somebody to have it.
pub type Ask = Arc<dyn Fn(Question) -> bool + Send + Sync>;

// By build: an upgrade leaves those of the old one to it.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The questions on their way.
pub struct Questions {
    ask: Ask,
    pending: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

impl Questions {
    pub fn new(ask: Ask) -> Self {
        Self {
            ask,
            pending: Mutex::default(),
        }
    }

    /// Asks, and waits; `None` if there are too many already, or no answer came.
    pub async fn ask(&self, path: String, query: String) -> Option<Answer> {
        self.put(Verb::Get, path, query).await
    }

    /// Asks, or has something done, and waits likewise. What is to be done is done perhaps even if no answer came.
    pub async fn put(&self, verb: Verb, path: String, query: String) -> Option<Answer> {
        let (id, answer) = self.begin()?;
        let question = Question {
            id,
            verb,
            path,
            query,
        };
        if !(self.ask)(question) {
            self.pending().remove(&id);
            return None;
        }
        timeout(PATIENCE, answer).await.ok()?.ok()
    }

    // Q1
    fn begin(&self) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let mut pending = self.pending();
        if pending.len() >= MOST {
            return None;
        }
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = oneshot::channel();
        pending.insert(id, sender);
        Some((id, receiver))
    }

    /// The VM's answer. Whoever asked may have gone.
    pub fn answer(&self, id: u64, answer: Answer) {
        if let Some(asker) = self.pending().remove(&id) {
            let _ = asker.send(answer);
        }
    }

    /// The VM knows of none of them any more.
    pub fn forget(&self) {
        self.pending().clear();
    }

    /// How many are on their way.
    pub fn pending_count(&self) -> usize {
        self.pending().len()
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.pending.lock().expect("nothing panics under it")
    }
}
