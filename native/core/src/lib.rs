//! The facts that Kantoku keeps, without a BEAM.
//!
//! Time is an argument, effects are return values: nothing here sends, sleeps, logs, reads a clock or does I/O. Terms
//! are the caller's too: the core keeps, compares and lets go of them through [`terms::Terms`].

pub mod breaker;
pub mod directory;
pub mod health;
pub mod index;
pub mod key;
pub mod metrics;
pub mod pool;
pub mod registry;
pub mod sync;
pub mod terms;
pub mod trace;
