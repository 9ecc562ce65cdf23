//! Finished spans, until somebody takes them: plain data in a bounded ring.

mod ring;
mod span;
mod supply;

pub use ring::{Counts, Limits, Offered, Ring};
pub use span::{Event, Kind, LeftOut, Link, Pair, Span, Status, TraceId, Value};
pub use supply::{BATCH, Supply};
