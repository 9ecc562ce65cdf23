//! Every entry from C, and every thread, passes here: a panic that unwinds out of a plain `extern "C"` function ends the VM.
//!
//! What a panic was is told to the Logger once, through the process that `lib/kantoku/native/fault_log.ex` registers.

use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use rustler::sys::{self, ErlNifEnv, ErlNifTerm};
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, Message};

/// Why a call has no answer.
#[derive(Debug)]
pub enum Refusal {
    /// An argument of the wrong shape.
    BadArgument,
    /// More than a scheduler may be held for: to be run again on a dirty one.
    TooLong,
}

/// Refuses on a scheduler what would touch more than `most` things, each a fraction of a microsecond.
pub fn bounded(things: impl FnOnce() -> usize, most: usize) -> Result<(), Refusal> {
    if beam::may_be_held() || things() <= most {
        Ok(())
    } else {
        Err(Refusal::TooLong)
    }
}

pub type Answer<'a> = Result<Term<'a>, Refusal>;

/// Where C came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Nif(&'static str),
    Down,
    Destructor,
    Load,
    Upgrade,
    Unload,
    Thread,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Nif(name) => write!(f, "the function {name}"),
            Entry::Down => write!(f, "the clean-up after a process"),
            Entry::Destructor => write!(f, "a destructor"),
            Entry::Load => write!(f, "load"),
            Entry::Upgrade => write!(f, "upgrade"),
            Entry::Unload => write!(f, "unload"),
            Entry::Thread => write!(f, "a background thread"),
        }
    }
}

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has panics noted in place of printed. Once, at load.
pub fn install() {
    panic::set_hook(Box::new(|info| {
        LAST.with(|last| *last.borrow_mut() = Some(info.to_string()));
    }));
}

/// Runs a NIF: its answer, `badarg`, what `elsewhere` says if it is too long, or an exception that names the panic.
#[inline]
pub fn nif<'a>(
    name: &'static str,
    env: Env<'a>,
    run: impl FnOnce() -> Answer<'a>,
    elsewhere: impl FnOnce() -> ErlNifTerm,
) -> ErlNifTerm {
    // Its bare word is taken inside: a term is partly written byte by byte, and to copy that at once would wait for the bytes.
    match panic::catch_unwind(AssertUnwindSafe(|| run().map(|term| term.as_c_arg()))) {
        Ok(Ok(word)) => word,
        // SAFETY: the environment of the running call.
        Ok(Err(Refusal::BadArgument)) => unsafe { sys::enif_make_badarg(env.as_c_arg()) },
        Ok(Err(Refusal::TooLong)) => elsewhere(),
        Err(payload) => {
            std::mem::forget(payload);
            let text = report(env.as_c_arg(), Entry::Nif(name));
            let reason = (atoms::kantoku_panic(), text).encode(env);
            // SAFETY: as above.
            unsafe { sys::enif_raise_exception(env.as_c_arg(), reason.as_c_arg()) }
        }
    }
}

/// Runs a callback or a thread's step; `None` if it panicked. `env` is the callback's, or null on a thread of ours.
pub fn callback<R>(entry: Entry, env: *mut ErlNifEnv, run: impl FnOnce() -> R) -> Option<R> {
    panic::catch_unwind(AssertUnwindSafe(run))
        .map_err(|payload| {
            // A payload may panic when it is dropped; it is small, and this is rare.
            std::mem::forget(payload);
            let _ = panic::catch_unwind(|| report(env, entry));
        })
        .ok()
}

fn report(env: *mut ErlNifEnv, entry: Entry) -> String {
    let what = LAST
        .with(|last| last.borrow_mut().take())
        .unwrap_or_else(|| "a panic".to_owned());
    let text = format!("{entry}: {what}");
    tell(env, &text);
    text
}

/// Has the Logger say it. `env` as in [`callback`].
pub fn tell(env: *mut ErlNifEnv, text: &str) {
    let log: Atom = atoms::fault_log();
    if let Some(pid) = beam::registered(env, beam::word(log.as_c_arg())) {
        Message::build(|env| (atoms::kantoku_panic(), text).encode(env)).send_from(env, pid);
    }
}
