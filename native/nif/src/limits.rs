//! What of an instance's native memory is full. Who measures it (`Kantoku.Memory.Watch`) says so here, and who takes a new name asks, as that is
//! done on the caller's scheduler and by nobody else in between.

use kantoku_core::sync::atomic::{AtomicBool, Ordering};
use rustler::{Env, Term};

use crate::atoms;
use crate::beam::atom;
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::state::state;

/// Whether there is room for more names. A hint, up to one measurement late either way.
#[derive(Debug, Default)]
pub struct Full(AtomicBool);

impl Full {
    // Relaxed, both: nothing else is told by it.
    pub fn set(&self, full: bool) {
        self.0.store(full, Ordering::Relaxed);
    }

    #[inline]
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// `close_to_names(instance, boolean)`
pub fn close_to_names<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let full: bool = args[1].decode().map_err(|_| Refusal::BadArgument)?;
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    opened.shell.full.set(full);
    Ok(atom(env, atoms::ok()))
}
