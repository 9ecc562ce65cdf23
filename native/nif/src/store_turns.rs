//! What an open file goes through, told to whoever emits its events: `lib/kantoku/native/fault_log.ex`.

use std::cell::Cell;
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;

use kantoku_store::{Doing, StoreError, Turn, TurnHook};
use rustler::sys::ErlNifEnv;
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, Message};

thread_local! {
    /// Of the call that this thread runs; null where it runs none.
    static CALL: Cell<*mut ErlNifEnv> = const { Cell::new(ptr::null_mut()) };
}

/// While it is there, what is told on this thread is sent from that call.
#[derive(Debug)]
pub struct Within(*mut ErlNifEnv);

impl Within {
    pub fn call(env: Env<'_>) -> Self {
        Self(CALL.replace(env.as_c_arg()))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        CALL.set(self.0);
    }
}

/// Tells of the file at `path`, which is that of an instance.
pub fn of(instance: Atom, path: PathBuf) -> TurnHook {
    let path = path.to_string_lossy().into_owned();
    Arc::new(move |turn| tell(instance, &path, turn))
}

fn tell(instance: Atom, path: &str, turn: &Turn) {
    let env = CALL.get();
    let log: Atom = atoms::fault_log();
    let Some(pid) = beam::registered(env, beam::word(log.as_c_arg())) else {
        return;
    };
    let told =
        Message::build(|env| (atoms::kantoku_store_turn(), instance, path, said(env, turn)).encode(env));
    told.send_from(env, pid);
}

fn said<'a>(env: Env<'a>, turn: &Turn) -> Term<'a> {
    match turn {
        Turn::SetAside { to, why } => (
            atoms::set_aside(),
            to.to_string_lossy().into_owned(),
            reason(env, why),
        )
            .encode(env),
        Turn::Failed { doing, why } => (atoms::failed(), named(*doing), reason(env, why)).encode(env),
        Turn::Recovered { doing, failed_for } => {
            (atoms::recovered(), named(*doing), failed_for.as_millis() as u64).encode(env)
        }
    }
}

fn named(doing: Doing) -> Atom {
    match doing {
        Doing::Reading => atoms::read(),
        Doing::Writing => atoms::write(),
    }
}

/// `{kind, message}`
pub fn reason<'a>(env: Env<'a>, error: &StoreError) -> Term<'a> {
    let kind = Atom::from_str(env, error.reason()).unwrap_or_else(|_| atoms::error());
    (kind, error.to_string()).encode(env)
}
