//! What the tests of this folder share.

pub mod checked;
pub mod reference;
pub mod world;
