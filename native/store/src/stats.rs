//! What the store counts of itself.

use std::time::Duration;

/// All counts since the store was opened, except where they say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys that wait for the disk now; one that is being written and was written to again counts twice.
    pub pending_keys: usize,
    /// Bytes that wait for the disk now, with what it takes to keep them.
    pub pending_bytes: usize,
    /// Commits that succeeded, each with one sync.
    pub commits: u64,
    /// Commits that did not.
    pub failed_commits: u64,
    /// Keys in all those that succeeded.
    pub committed_keys: u64,
    /// Bytes of the values in them, as they go to disk.
    pub committed_bytes: u64,
    /// For how long they wrote and synced, in all.
    pub commit_time: Duration,
    pub last_batch: u64,
    pub largest_batch: u64,
    /// Changes kept in memory over a failed commit, once for each time.
    pub retried: u64,
    /// Calls refused because too much was pending.
    pub busy: u64,
    /// Damaged values in the quarantine now, earlier ones included.
    pub quarantined: u64,
    /// How often the database was opened anew after a failure.
    pub reopened: u64,
    /// Panics caught on the writer's thread.
    pub panics: u64,
    /// For how long reads or writes have failed, if they do.
    pub failing_for: Option<Duration>,
    /// How long ago a file was set aside last.
    pub set_aside_ago: Option<Duration>,
}

/// What one commit was.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Commit {
    pub(crate) bytes: u64,
    pub(crate) quarantined: u64,
    pub(crate) took: Duration,
}

impl Stats {
    pub(crate) fn count_commit(&mut self, keys: u64, commit: Commit) {
        self.commits += 1;
        self.committed_keys += keys;
        self.committed_bytes += commit.bytes;
        self.commit_time += commit.took;
        self.last_batch = keys;
        self.largest_batch = self.largest_batch.max(keys);
        self.quarantined += commit.quarantined;
    }
}
