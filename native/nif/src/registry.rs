//! Names: register, change, let go. Decodes, makes one core call, encodes.

use kantoku_core::registry::{Closed, Displace, Held, Registered, Whereis};
use rustler::sys::ErlNifEnv;
use rustler::{Encoder, Env, Term};

use crate::beam::{self, Pid};
use crate::errand::Errand;
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::key::Room;
use crate::owner::Watching;
use crate::state::{Opened, state};
use crate::terms::Raw;
use crate::world::World;
use crate::{atoms, beam::atom};

/// `register(instance, key, value)`
pub fn register<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    if opened.shell.full.is() && is_free(env, opened, args[1]) {
        return Ok(atom(env, atoms::limit()));
    }
    place(env, opened, args[1], args[2], Displace::Dead)
}

// Who would find the name taken is told that, also where there is no room.
fn is_free(env: Env<'_>, opened: Opened, key: Term<'_>) -> bool {
    let mut room = Room::new();
    let probe = room.probe(key, state().seed);
    match opened.shell.registry.whereis(opened.generation, probe) {
        Ok(Whereis::Held(pid)) => !Pid(pid).is_alive(env.as_c_arg()),
        _ => true,
    }
}

/// `take_over(instance, key, value, from)`
pub fn take_over<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let from = Pid::of(args[3]).ok_or(Refusal::BadArgument)?;
    place(env, opened, args[1], args[2], Displace::Holder(from.0))
}

fn place<'a>(env: Env<'a>, opened: Opened, key: Term<'a>, value: Term<'a>, displace: Displace) -> Answer<'a> {
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    // Before anything is there: an instance whose partitions are not seated yet is not known yet.
    let Some(server) = server_of(opened, caller) else {
        return Ok(unknown(env));
    };
    let mut room = Room::new();
    let probe = room.probe(key, state().seed);
    let registry = &opened.shell.registry;
    let mut world = World::new(env, opened);
    match registry.register(
        opened.generation,
        probe,
        caller.0,
        Raw::of(value),
        displace,
        &mut world,
    ) {
        Ok(Registered::Done { first, .. }) => Ok(placed(env, opened, server, first)),
        Ok(Registered::Taken { pid }) => Ok(taken(env, Pid(pid))),
        Ok(Registered::Dead) => Err(Refusal::BadArgument),
        Err(Closed) => Ok(unknown(env)),
    }
}

fn server_of(opened: Opened, caller: Pid) -> Option<Pid> {
    let seats = opened.shell.seats.read();
    seats
        .server_of(caller)
        .filter(|_| seats.generation == opened.generation)
}

fn placed<'a>(env: Env<'a>, opened: Opened, server: Pid, first: bool) -> Term<'a> {
    let seats = opened.shell.seats.read();
    if !seats.listeners.is_empty() {
        let listeners = words(env, &seats.listeners);
        return beam::tuple(env, &[atom(env, atoms::notify()), server.term(env), listeners]);
    }
    let done = if first { atoms::link() } else { atoms::ok() };
    beam::tuple(env, &[atom(env, done), server.term(env)])
}

fn words<'a>(env: Env<'a>, words: &[u64]) -> Term<'a> {
    words.iter().rev().fold(beam::nil(env), |tail, &word| {
        beam::cons(env, beam::immediate(env, word), tail)
    })
}

fn taken(env: Env<'_>, pid: Pid) -> Term<'_> {
    let reason = beam::tuple(env, &[atom(env, atoms::already_registered()), pid.term(env)]);
    beam::tuple(env, &[atom(env, atoms::error()), reason])
}

/// `claim(instance, key, pid, value)`
pub fn claim<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let Some(pid) = living(args[2]) else {
        return Ok(nobody(env));
    };
    let mut room = Room::new();
    let probe = room.probe(args[1], state().seed);
    let mut world = World::new(env, opened);
    let value = Raw::of(args[3]);
    let registry = &opened.shell.registry;
    let registered = registry.register(opened.generation, probe, pid.0, value, Displace::Dead, &mut world);
    Ok(claimed(env, registered))
}

/// What someone who registers another process is answered.
pub fn claimed(env: Env<'_>, registered: Result<Registered, Closed>) -> Term<'_> {
    match registered {
        Ok(Registered::Done { incarnation, .. }) => (atoms::ok(), incarnation).encode(env),
        Ok(Registered::Taken { pid }) => taken(env, Pid(pid)),
        Ok(Registered::Dead) => nobody(env),
        Err(Closed) => unknown(env),
    }
}

/// The process, if it lives here.
pub fn living(term: Term<'_>) -> Option<Pid> {
    Pid::of(term).filter(|pid| pid.is_alive(term.get_env().as_c_arg()))
}

/// A process that is dead, or of another node.
pub fn nobody(env: Env<'_>) -> Term<'_> {
    (atoms::error(), atoms::noproc()).encode(env)
}

/// `disclaim(instance, key, pid)`
pub fn disclaim<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let Some(pid) = Pid::of(args[2]) else {
        return Ok(atom(env, atoms::ok()));
    };
    let mut room = Room::new();
    let probe = room.probe(args[1], state().seed);
    let removed = opened.shell.registry.unregister(
        opened.generation,
        probe,
        pid.0,
        None,
        &mut World::new(env, opened),
    );
    Ok(removed.map_or_else(|_| unknown(env), |_| atom(env, atoms::ok())))
}

/// `unregister(instance, key)`
pub fn unregister<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    remove(env, args, None)
}

/// `unregister(instance, key, incarnations)`
pub fn unregister_some<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let only: Vec<u64> = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    remove(env, args, Some(&only))
}

fn remove<'a>(env: Env<'a>, args: &[Term<'a>], only: Option<&[u64]>) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let mut room = Room::new();
    let probe = room.probe(args[1], state().seed);
    let mut world = World::new(env, opened);
    match opened
        .shell
        .registry
        .unregister(opened.generation, probe, caller.0, only, &mut world)
    {
        Ok(none_left) => Ok(removed(env, opened, caller, none_left)),
        Err(_) => Ok(unknown(env)),
    }
}

fn removed<'a>(env: Env<'a>, opened: Opened, caller: Pid, none_left: bool) -> Term<'a> {
    let seats = opened.shell.seats.read();
    let server = seats.server_of(caller).filter(|_| none_left);
    if seats.listeners.is_empty() {
        return match server {
            Some(server) => beam::tuple(env, &[atom(env, atoms::unlink()), server.term(env)]),
            None => atom(env, atoms::ok()),
        };
    }
    let server = server.map_or_else(|| atom(env, atoms::nil()), |server| server.term(env));
    beam::tuple(
        env,
        &[atom(env, atoms::notify()), server, words(env, &seats.listeners)],
    )
}

/// `put_value(instance, key, incarnation, value)`
pub fn put_value<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let incarnation: u64 = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    let held = Held {
        hash: Room::new().probe(args[1], state().seed).hash,
        incarnation,
    };
    let put = opened
        .shell
        .registry
        .put_value(opened.generation, held, caller.0, Raw::of(args[3]));
    Ok(put.map_or_else(|_| unknown(env), |put| put.encode(env)))
}

// So many names are cleared on the scheduler that sees their owner die; more go to the background.
const CLEARED_AT_ONCE: usize = 32;

/// An owner died. Runs in the runtime's callback.
pub fn owner_died(env: *mut ErlNifEnv, watching: Watching) {
    let opened = opened(watching);
    let registry = &opened.shell.registry;
    let Some((_monitor, mut remains)) = registry.forget(opened.generation, watching.pid.0) else {
        return;
    };
    let held = remains.piece(CLEARED_AT_ONCE);
    registry.clear(opened.generation, &held, &mut World::in_callback(env, opened));
    if !remains.is_empty() {
        state().errand(Errand::Clear { opened, remains });
    }
}

/// A watcher died.
pub fn watcher_died(watching: Watching, watch: u64) {
    let opened = opened(watching);
    drop(
        opened
            .shell
            .registry
            .unwatch(opened.generation, |watcher| watcher.id == watch),
    );
}

fn opened(watching: Watching) -> Opened {
    Opened {
        shell: state().shell(watching.place),
        generation: watching.generation,
    }
}
