//! What is too long for a scheduler, or must be sent in one order: run by one thread, a bounded piece at a time.

use std::thread;
use std::time::Duration;

use kantoku_core::registry::Remains;

use crate::beam::{Message, Pid};
use crate::guard::{self, Entry};
use crate::instance;
use crate::state::{Opened, State};
use crate::world::World;

#[derive(Debug)]
pub enum Errand {
    /// Send to each of these.
    Tell { to: Pid, message: Message },
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

// Between two pieces of a long errand, about as long as a piece takes: the schedulers come first.
const BREATH: Duration = Duration::from_micros(50);

/// Starts the thread that runs errands, after the one of the build before, if there is one.
pub fn start(state: &'static State) -> std::io::Result<()> {
    let mut thread = state.thread.lock();
    let before = thread.take();
    if before.is_some() {
        state.errand(Errand::HandOver);
    }
    let run = move || {
        step_back();
        // One that panicked has ended as well.
        before.map(thread::JoinHandle::join);
        while guard::callback(Entry::Thread, std::ptr::null_mut(), || step(state)) != Some(false) {}
    };
    *thread = Some(thread::Builder::new().name("kantoku".into()).spawn(run)?);
    Ok(())
}

// A scheduler that hands over an errand is not to be displaced by who runs it.
#[cfg(target_os = "linux")]
fn step_back() {
    let usual = libc::sched_param { sched_priority: 0 };
    // SAFETY: this thread's own policy; where it cannot be changed, things stay as they are.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &usual) };
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

// One errand; `false` at the end.
fn step(state: &'static State) -> bool {
    let Ok(errand) = state.errands_in.recv() else {
        return false;
    };
    match errand {
        Errand::Tell { to, message } => message.send(to),
        Errand::Clear { opened, mut remains } => {
            let held = remains.piece(PIECE);
            let mut world = World::on_thread(opened);
            opened.shell.registry.clear(opened.generation, &held, &mut world);
            if !remains.is_empty() {
                state.errand(Errand::Clear { opened, remains });
                thread::sleep(BREATH);
            }
        }
        Errand::Close { opened } => instance::empty(state, opened),
        Errand::HandOver => return false,
        #[cfg(feature = "faults")]
        Errand::Fault(fault) => crate::fault::in_thread(fault),
    }
    true
}
