//! The facts that Kantoku keeps, without a BEAM.
//!
//! Time is an argument, effects are return values: nothing here sends, sleeps, logs, reads a clock or does I/O.

pub mod index;
pub mod sync;
