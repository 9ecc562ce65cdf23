//! What an exporter has to send and nobody else has any more.

use std::sync::atomic::Ordering;

use crate::figures::Account;

/// Figures or spans on their way. Whatever was not said to be sent when this goes, by an abort as well, counts as dropped.
#[derive(Debug)]
pub struct UnderWay<'a> {
    account: &'a Account,
    left: u64,
}

impl<'a> UnderWay<'a> {
    pub fn new(account: &'a Account, count: u64) -> Self {
        account.points.fetch_add(count, Ordering::Relaxed);
        Self { account, left: count }
    }

    pub fn sent(&mut self, count: u64) {
        self.left = self.left.saturating_sub(count);
    }

    /// All were sent, and so many of them refused. Who refuses more than it was sent refuses all.
    pub fn refused(&mut self, count: u64) {
        self.left = self.left.min(count);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.account.dropped.fetch_add(self.left, Ordering::Relaxed);
    }
}
