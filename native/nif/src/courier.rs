//! What travels for pools: requests that wait, and what is told to callers, workers and managers.

use std::cell::RefCell;

use kantoku_core::pool::{self, Effect, Effects, Name, Notice, Refusal};
use rustler::sys::{self, ErlNifEnv, ErlNifTerm};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, Message, Pid};
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

/// What is kept of a request: the caller's tag, and while it waits the message for the worker.
#[derive(Debug)]
pub struct Content {
    env: *mut ErlNifEnv,
    tag: ErlNifTerm,
    message: Option<ErlNifTerm>,
}

// SAFETY: an environment that no process owns may move between threads; it is written before it is shared, and only read
// from then on.
unsafe impl Send for Content {}
// SAFETY: as above.
unsafe impl Sync for Content {}

thread_local! {
    // Cleared environments: to make one costs more than all else that is kept of a request.
    static SPARE: RefCell<Vec<*mut ErlNifEnv>> = const { RefCell::new(Vec::new()) };
}

const MOST_SPARE: usize = 64;

fn environment() -> *mut ErlNifEnv {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    // SAFETY: no arguments that could be wrong.
    spare.unwrap_or_else(|| unsafe { sys::enif_alloc_env() })
}

impl Content {
    /// Of one that waits, with what the worker is to be sent.
    pub fn new(tag: Term<'_>, request: Request<'_>) -> Self {
        let env = environment();
        // SAFETY: of this environment no other `Env` exists.
        let inside = unsafe { Env::new(&env, env) };
        let tag = copied(inside, tag);
        let message = match request {
            Request::Elsewhere => None,
            Request::Call(caller, request) => Some(called(inside, caller, tag, copied(inside, request))),
            Request::Cast(request) => Some(casted(inside, copied(inside, request))),
        };
        Self {
            env,
            tag: tag.as_c_arg(),
            message: message.map(|message| message.as_c_arg()),
        }
    }

    fn tag<'a>(&self, env: Env<'a>) -> Term<'a> {
        // SAFETY: the term lives as long as its environment, which `self` owns.
        unsafe { Term::new(env, sys::enif_make_copy(env.as_c_arg(), self.tag)) }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        // SAFETY: ours alone by now.
        unsafe { sys::enif_clear_env(self.env) };
        let env = self.env;
        let kept = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            let room = spare.len() < MOST_SPARE;
            if room {
                spare.push(env);
            }
            room
        });
        if kept != Ok(true) {
            // SAFETY: made by `enif_alloc_env`, freed once.
            unsafe { sys::enif_free_env(env) };
        }
    }
}

/// What is kept with a tag.
#[derive(Clone, Copy)]
pub enum Request<'a> {
    /// Nothing: its owner has it.
    Elsewhere,
    Call(Pid, Term<'a>),
    Cast(Term<'a>),
}

/// A call as `gen_server` has it.
pub fn called<'a>(env: Env<'a>, caller: Pid, tag: Term<'a>, request: Term<'a>) -> Term<'a> {
    let from = beam::tuple(env, &[caller.term(env), tag]);
    beam::tuple(env, &[beam::atom(env, atoms::gen_call()), from, request])
}

/// A cast as `gen_server` has it.
pub fn casted<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    beam::tuple(env, &[beam::atom(env, atoms::gen_cast()), request])
}

/// Sends a term of a NIF's process. It is copied: a message that brings its own environment makes every collection of the
/// receiver dearer.
pub fn post(to: Pid, term: Term<'_>) {
    let env = term.get_env().as_c_arg();
    // SAFETY: the environment of the running call, and a term of it.
    to.with_raw(|to| unsafe { sys::enif_send(env, to, std::ptr::null_mut(), term.as_c_arg()) });
}

/// A term of another environment, copied into this one.
fn copied<'a>(env: Env<'a>, term: Term<'_>) -> Term<'a> {
    // SAFETY: the term is alive in its own environment during the call.
    unsafe { Term::new(env, sys::enif_make_copy(env.as_c_arg(), term.as_c_arg())) }
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
        let Some(message) = content.message else {
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
            Effect::Grant {
                owner,
                worker,
                parcel,
            } => from.send(Pid(owner), |env| {
                let granted = beam::tuple(env, &[beam::atom(env, atoms::granted()), Pid(worker).term(env)]);
                about(env, parcel.content.tag(env), granted)
            }),
            Effect::Refuse { owner: 0, .. } => {}
            Effect::Refuse {
                owner,
                parcel,
                reason,
                retry_in,
            } => from.send(Pid(owner), |env| {
                let refused = (atoms::refused(), atom_of(reason), retry_in).encode(env);
                about(env, parcel.content.tag(env), refused)
            }),
            Effect::Lost { owner, parcel } => from.send(Pid(owner), |env| {
                about(env, parcel.content.tag(env), beam::atom(env, atoms::down()))
            }),
            Effect::Tell(notice) => tell(from, cell, notice),
        }
    }
}

fn about<'a>(env: Env<'a>, of: Term<'a>, what: Term<'a>) -> Term<'a> {
    beam::tuple(env, &[beam::atom(env, atoms::kantoku_pool()), of, what])
}

/// Tells the manager.
pub fn tell(from: From<'_>, cell: Cell, notice: Notice) {
    let Some(manager) = cell.manager() else {
        return;
    };
    let name = cell.name.load(kantoku_core::sync::atomic::Ordering::Acquire);
    from.send(manager, |env| {
        about(env, beam::immediate(env, name), said(env, notice))
    });
}

/// A notice as the manager hears it.
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
