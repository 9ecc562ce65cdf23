//! What is too long for a scheduler, or must be sent in one order: run by one thread, a bounded piece at a time.

use std::thread;

use kantoku_core::registry::Remains;
use rustler::sys::ErlNifEnv;

use crate::beam::{Message, Pid};
use crate::guard::{self, Entry};
use crate::instance;
use crate::state::{Opened, State};
use crate::world::World;

#[derive(Debug)]
pub enum Errand {
    /// Send to each of these.
    Tell { to: Pid, message: Message },
    /// Send to whoever is registered under this name then.
    TellNamed { to: u64, message: Message },
    /// A process died; these were its holdings.
    Clear { opened: Opened, remains: Remains },
    /// Its name is unbound: empty it and give its shell back.
    Close { opened: Opened },
    /// The thread of the next build waits for the end of this one.
    HandOver,
    #[cfg(feature = "faults")]
    Fault(crate::fault::Fault),
}

const PIECE: usize = 128;

/// Starts the thread that runs errands, after the one of the build before, if there is one.
pub fn start(state: &'static State) -> std::io::Result<()> {
    let mut thread = state.thread.lock();
    let before = thread.take();
    if before.is_some() {
        state.errand(Errand::HandOver);
    }
    let run = move || {
        // One that panicked has ended as well.
        before.map(thread::JoinHandle::join);
        while guard::callback(Entry::Thread, std::ptr::null_mut(), || step(state)) != Some(false) {}
    };
    *thread = Some(thread::Builder::new().name("kantoku".into()).spawn(run)?);
    Ok(())
}

// One errand; `false` at the end.
fn step(state: &'static State) -> bool {
    let Ok(errand) = state.errands_in.recv() else {
        return false;
    };
    const NO_ENV: *mut ErlNifEnv = std::ptr::null_mut();
    match errand {
        Errand::Tell { to, message } => message.send(to),
        Errand::TellNamed { to, message } => {
            if let Some(pid) = crate::beam::registered(NO_ENV, to) {
                message.send(pid);
            }
        }
        Errand::Clear { opened, mut remains } => {
            let held = remains.piece(PIECE);
            let mut world = World::on_thread(opened);
            opened.shell.registry.clear(opened.generation, &held, &mut world);
            if !remains.is_empty() {
                state.errand(Errand::Clear { opened, remains });
            }
        }
        Errand::Close { opened } => instance::empty(state, opened),
        Errand::HandOver => return false,
        #[cfg(feature = "faults")]
        Errand::Fault(fault) => crate::fault::in_thread(fault),
    }
    true
}
