//! How a store is to behave. Checked where they enter the library; here they are trusted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::completion::PanicHook;
use crate::turn::TurnHook;

/// Whether a damaged database file may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCorrupt {
    /// Answer [`crate::StoreError::Corrupt`] and touch nothing.
    Refuse,
    /// Rename the file to `<name>.corrupt-<n>` and begin with an empty one.
    SetAside,
}

/// How many calls share one commit. A commit takes all that is queued, so that while one is on its way to the disk
/// the next one gathers by itself, whatever the windows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCommit {
    /// How long a `Sync` call may wait for company before its commit begins.
    pub sync_window: Duration,
    /// The same for an `Async` call: what a power cut may cost.
    pub async_window: Duration,
    /// No window is waited for when this much is queued.
    pub bytes: usize,
}

/// How long to wait after a failed commit: doubling from `first` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

#[derive(Clone)]
pub struct Options {
    pub max_snapshot_bytes: usize,
    /// What may wait for the disk, before `put` answers [`crate::StoreError::Busy`]. One call always may.
    pub max_pending_bytes: usize,
    /// Memory for pages read and written.
    pub cache_bytes: usize,
    pub group_commit: GroupCommit,
    pub backoff: Backoff,
    /// Reads and checks every page when the store is opened. Without it a page that changed while the store was closed is
    /// only found where it holds a value, or after a crash.
    pub verify_on_open: bool,
    pub on_corrupt: OnCorrupt,
    /// Called on the writer's thread. Nobody is told by default.
    pub on_panic: PanicHook,
    /// Called on any thread that uses the store. Nobody is told by default.
    pub on_turn: TurnHook,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_snapshot_bytes: 16 << 20,
            max_pending_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            group_commit: GroupCommit {
                sync_window: Duration::ZERO,
                async_window: Duration::from_millis(100),
                bytes: 8 << 20,
            },
            backoff: Backoff {
                first: Duration::from_millis(50),
                max: Duration::from_millis(1000),
            },
            verify_on_open: false,
            on_corrupt: OnCorrupt::Refuse,
            on_panic: Arc::new(|_| ()),
            on_turn: Arc::new(|_| ()),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("max_snapshot_bytes", &self.max_snapshot_bytes)
            .field("max_pending_bytes", &self.max_pending_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .field("group_commit", &self.group_commit)
            .field("backoff", &self.backoff)
            .field("verify_on_open", &self.verify_on_open)
            .field("on_corrupt", &self.on_corrupt)
            .finish_non_exhaustive()
    }
}
