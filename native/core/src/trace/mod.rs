//! Finished spans, until somebody takes them: plain data in a bounded ring.

mod ring;
mod span;

pub use ring::{Counts, Limits, Offered, Ring};
pub use span::{Event, Kind, Link, Pair, Span, Status, TraceId, Value};
