//! The boundary between the BEAM and the core: decode, one core call, encode.
//!
//! The library is entered only through the table below and the callbacks of `owner`; each entry passes `guard`. The entry
//! for the VM is written out by hand, as rustler's own has no `upgrade`.

mod atoms;
mod beam;
mod breaker;
mod breaker_config;
mod breaker_telling;
mod breakers;
mod cells;
mod choice;
mod content;
mod courier;
mod entries;
mod errand;
mod exporters;
mod exporters_figures;
mod exporting;
#[cfg(feature = "faults")]
mod fault;
mod guard;
mod health;
mod instance;
mod key;
mod lending;
mod library;
mod limits;
mod metrics;
mod metrics_giving;
mod metrics_reading;
mod metrics_resource;
mod metrics_telling;
mod owner;
mod pool;
mod pool_config;
mod pool_life;
mod pool_standing;
mod pools;
mod reading;
mod registry;
mod shape;
mod state;
mod store;
mod store_turns;
mod terms;
mod trace;
mod trace_guests;
mod world;
