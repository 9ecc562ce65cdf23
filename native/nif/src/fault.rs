//! Failures on purpose, one for each way C comes in: the tests show that each ends in an exception or a log line. Not in
//! ordinary builds.

use rustler::{Env, Term};

use crate::beam::{self, Pid, atom};
use crate::errand::Errand;
use crate::guard::{Answer, Refusal};
use crate::owner::{self, Role, Watching};
use crate::state::state;
use crate::{atoms, state as shared};

/// Which entry is to panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Nif,
    Down,
    Destructor,
    Thread,
}

mod names {
    rustler::atoms! { nif, down, destructor, thread, panic }
}

/// `provoke(entry)` or, for `:down`, of the caller's own death.
pub fn provoke<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    match fault(args[0])? {
        Fault::Nif => panic!("provoked in a function"),
        Fault::Thread => state().errand(Errand::Fault(Fault::Thread)),
        fault => watch_for(env, fault)?,
    }
    Ok(atom(env, atoms::ok()))
}

fn fault(term: Term<'_>) -> Result<Fault, Refusal> {
    let word = beam::word(term.as_c_arg());
    let all = [
        (names::nif(), Fault::Nif),
        (names::down(), Fault::Down),
        (names::destructor(), Fault::Destructor),
        (names::thread(), Fault::Thread),
    ];
    let found = all.into_iter().find(|(name, _)| shared::name_word(*name) == word);
    found.map(|(_, fault)| fault).ok_or(Refusal::BadArgument)
}

fn watch_for(env: Env<'_>, fault: Fault) -> Result<(), Refusal> {
    let pid = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let watching = Watching {
        place: 0,
        generation: 0,
        pid,
        role: Role::Fault(fault),
    };
    let watched = owner::watch(env.as_c_arg(), watching).ok_or(Refusal::BadArgument)?;
    if fault == Fault::Down {
        // The reference stays: the resource must be there when the process dies.
        std::mem::forget(watched);
    }
    Ok(())
}

/// In `load` or `upgrade`, if the VM was told so.
pub fn in_load(info: u64) {
    if info == shared::name_word(names::panic()) {
        panic!("provoked in load");
    }
}

pub fn in_down(fault: Fault) {
    if fault == Fault::Down {
        panic!("provoked in the clean-up after a process");
    }
}

pub fn in_destructor(fault: Fault) {
    if fault == Fault::Destructor {
        panic!("provoked in a destructor");
    }
}

pub fn in_thread(_: Fault) {
    panic!("provoked in a background thread");
}
