//! What travels for pools: what a change asks for, told to callers, workers and foremen.

use kantoku_core::pool::{self, Effect, Effects, Name, Notice, Refusal};
use rustler::sys::{self, ErlNifEnv};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, Message, Pid};
use crate::content::{Content, about};
use crate::owner::Watched;
use crate::pools::Cell;

/// What a pool knows of processes.
#[derive(Debug)]
pub struct Processes {
    env: *mut ErlNifEnv,
}

impl Processes {
    /// `env` is the call's or callback's, or null on a thread that is not a scheduler.
    pub fn seen_from(env: *mut ErlNifEnv) -> Self {
        Self { env }
    }
}

impl pool::World for Processes {
    type Content = Content;
    type Handle = Watched;

    #[inline]
    fn alive(&self, pid: u64) -> bool {
        Pid(pid).is_alive(self.env)
    }
}

/// Sends a term of a NIF's process. It is copied: a message that brings its own environment makes every collection of the
/// receiver dearer.
pub fn post(to: Pid, term: Term<'_>) {
    let env = term.get_env().as_c_arg();
    // SAFETY: the environment of the running call, and a term of it.
    to.with_raw(|to| unsafe { sys::enif_send(env, to, std::ptr::null_mut(), term.as_c_arg()) });
}

/// Sends from wherever a change was made.
#[derive(Clone, Copy)]
pub enum From<'a> {
    /// A NIF's process: what is sent is built on its heap.
    Process(Env<'a>),
    /// A callback of the VM, or (null) a thread that is not a scheduler.
    Elsewhere(*mut ErlNifEnv),
}

impl From<'_> {
    fn env(self) -> *mut ErlNifEnv {
        match self {
            From::Process(env) => env.as_c_arg(),
            From::Elsewhere(env) => env,
        }
    }

    pub fn world(self) -> Processes {
        Processes::seen_from(self.env())
    }

    /// Sends what is built.
    pub fn send(self, to: Pid, build: impl for<'b> FnOnce(Env<'b>) -> Term<'b>) {
        match self {
            From::Process(env) => post(to, build(env)),
            From::Elsewhere(env) => Message::build(build).send_from(env, to),
        }
    }

    // Copied from where it is kept, as others may read it there.
    fn deliver(self, to: Pid, content: &Content) {
        let Some(message) = content.message() else {
            return;
        };
        match self {
            From::Process(env) => {
                // SAFETY: the message lives as long as its content, and is copied.
                to.with_raw(|to| unsafe {
                    sys::enif_send(env.as_c_arg(), to, std::ptr::null_mut(), message)
                });
            }
            From::Elsewhere(env) => {
                // SAFETY: as above.
                let build = |env: Env<'_>| unsafe { sys::enif_make_copy(env.as_c_arg(), message) };
                Message::build_raw(build).send_from(env, to);
            }
        }
    }
}

/// Carries out what a change asks for.
#[inline]
pub fn carry_out(from: From<'_>, cell: Cell, effects: &mut Effects<Content>) {
    // Nearly always, and then nothing is moved.
    if !effects.is_empty() {
        carry(from, cell, effects);
    }
}

#[cold]
#[inline(never)]
fn carry(from: From<'_>, cell: Cell, effects: &mut Effects<Content>) {
    for effect in std::mem::take(effects) {
        match effect {
            Effect::Deliver {
                worker,
                parcel,
                unheeded,
            } => {
                from.deliver(Pid(worker), &parcel.content);
                if parcel.sent() {
                    tell(from, cell, unheeded);
                }
            }
            Effect::Entrust { parcel, unheeded } => {
                if parcel.sent() {
                    tell(from, cell, unheeded);
                }
            }
            Effect::Grant {
                owner,
                worker,
                mut content,
            } => {
                content.grant(Pid(worker));
                from.deliver(Pid(owner), &content);
            }
            Effect::Refuse { owner: 0, .. } => {}
            Effect::Refuse {
                owner,
                parcel,
                reason,
                retry_in,
            } => from.send(Pid(owner), |env| {
                let refused = (atoms::refused(), atom_of(reason), retry_in).encode(env);
                about(env, parcel.content().tag(env), refused)
            }),
            Effect::Credit { owner, parcel, count } => from.send(Pid(owner), |env| {
                about(
                    env,
                    parcel.content.tag(env),
                    (atoms::credits(), count).encode(env),
                )
            }),
            Effect::Lost { owner, parcel } => from.send(Pid(owner), |env| {
                about(env, parcel.content().tag(env), beam::atom(env, atoms::down()))
            }),
            Effect::Tell(notice) => tell(from, cell, notice),
        }
    }
}

/// Tells the foreman.
pub fn tell(from: From<'_>, cell: Cell, notice: Notice) {
    let Some(foreman) = cell.foreman() else {
        return;
    };
    let name = cell.name.load(kantoku_core::sync::atomic::Ordering::Acquire);
    from.send(foreman, |env| {
        about(env, beam::immediate(env, name), said(env, notice))
    });
}

/// A notice as the foreman hears it.
pub fn said(env: Env<'_>, notice: Notice) -> Term<'_> {
    let ticket = |ticket: Name| ticket.word().encode(env);
    match notice {
        Notice::Abandoned { ticket: of, worker } => {
            tagged(env, atoms::abandoned(), &[ticket(of), Pid(worker).term(env)])
        }
        Notice::Cast { ticket: of, worker } => {
            tagged(env, atoms::cast(), &[ticket(of), Pid(worker).term(env)])
        }
        Notice::Left { worker } => tagged(env, atoms::left(), &[Pid(worker).term(env)]),
        Notice::Down { worker } => tagged(env, atoms::down(), &[Pid(worker).term(env)]),
        Notice::Pressed => beam::atom(env, atoms::pressed()),
        Notice::Ejected { worker, member } => tagged(
            env,
            atoms::ejected(),
            &[Pid(worker).term(env), member.encode(env)],
        ),
        Notice::Returned { member } => tagged(env, atoms::returned(), &[member.encode(env)]),
        Notice::Panic { entered } => tagged(env, atoms::panic(), &[entered.encode(env)]),
    }
}

fn tagged<'a>(env: Env<'a>, tag: Atom, rest: &[Term<'a>]) -> Term<'a> {
    let items: Vec<Term<'a>> = std::iter::once(beam::atom(env, tag))
        .chain(rest.iter().copied())
        .collect();
    beam::tuple(env, &items)
}

pub fn atom_of(reason: Refusal) -> Atom {
    match reason {
        Refusal::QueueFull => atoms::queue_full(),
        Refusal::Overloaded => atoms::overloaded(),
        Refusal::Quota => atoms::quota(),
        Refusal::Deadline => atoms::deadline(),
        Refusal::Draining => atoms::draining(),
        Refusal::Closed => atoms::closed(),
    }
}
