//! Figures out of the VM: to who scrapes them over HTTP, and to collectors of StatsD and OTLP.
//!
//! Knows snapshots of what was measured, and nothing of the BEAM: that tells it what to serve, and beats.

#![forbid(unsafe_code)]

pub mod events;
pub mod exposition;
pub mod figures;
pub mod history;
pub mod http;
pub mod pulse;
pub mod push;
pub mod questions;
pub mod service;
