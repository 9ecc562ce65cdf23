//! What the tests of this folder share.

pub mod agenda;
pub mod checked;
pub mod reference;
pub mod simulation;
pub mod world;
