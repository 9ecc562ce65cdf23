//! Who has finished spans to give, for who sends them on. Says nothing of where they are kept.

use std::fmt::Debug;

use super::Span;

/// So many are sent in one request, and are worth sending before it is time: OpenTelemetry's `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
pub const BATCH: usize = 512;

/// A queue of finished spans that one exporter empties, from any thread.
pub trait Supply: Debug + Send + Sync {
    /// How many are held.
    fn held(&self) -> usize;

    /// The oldest, `most` at most. What was taken is nobody else's any more.
    fn take(&self, most: usize) -> Vec<Span>;
}
