#![forbid(unsafe_code)]
//! Durable snapshots: bytes under keys, on redb.
