//! Pools as they are opened, staffed and looked at: decodes, makes one core call, carries out what comes back.

use kantoku_core::pool::{Effects, Joined, Member, Name, Status};
use kantoku_core::sync::atomic::Ordering;
use rustler::sys::ErlNifEnv;
use rustler::{Encoder, Env, Term};

use crate::beam::{self, Pid, atom};
use crate::courier::{self, From, carry_out};
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::owner::{self, Role, Watched, Watching};
use crate::pools::{Cell, Open, Pools};
use crate::state::{Opened, state};
use crate::{atoms, pool_config};

// Opening --------------------------------------------------------------------------------------------------------------

/// `pool_open(instance, pool, foreman, config)`
pub fn open<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let name = name(args[1])?;
    let foreman = Pid::of(args[2]).ok_or(Refusal::BadArgument)?;
    let config = pool_config::decode(args[3])?;
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let Some(open) = find_or_add(opened, name) else {
        return Ok(unknown(env));
    };
    open.cell.set_foreman(foreman);
    let from = From::Process(env);
    let mut effects = Effects::default();
    let pool = &open.cell.pool;
    pool.open(open.generation, config, beam::now(), &from.world(), &mut effects);
    carry_out(from, open.cell, &mut effects);
    Ok(atom(env, atoms::ok()))
}

fn find_or_add(opened: Opened, name: u64) -> Option<Open> {
    let mut pools = opened.shell.pools.write();
    if !pools.is_of(opened.generation) {
        return None;
    }
    if let Some(open) = pools.find(name) {
        return Some(open);
    }
    let (state, instance) = (state(), opened.shell.name.load(Ordering::Relaxed));
    let open = state.cells.take(instance, name, state.generation(), state.seed);
    pools.add(name, open);
    Some(open)
}

/// `pool_close(instance, pool)`
pub fn close<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let name = name(args[1])?;
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let removed = {
        let mut pools = opened.shell.pools.write();
        let own = pools.is_of(opened.generation);
        own.then(|| pools.remove(name)).flatten()
    };
    match removed {
        Some(open) => {
            shut(From::Process(env), open);
            Ok(atom(env, atoms::ok()))
        }
        None => Ok(unknown(env)),
    }
}

/// The instance ends.
pub fn close_all(pools: Pools) {
    // On a dirty scheduler or a thread of ours; neither has a process to send from.
    pools
        .into_open()
        .for_each(|open| shut(From::Elsewhere(std::ptr::null_mut()), open));
}

fn shut(from: From<'_>, open: Open) {
    let mut effects = Effects::default();
    let handles = open.cell.pool.close(open.generation, &mut effects);
    carry_out(from, open.cell, &mut effects);
    drop(handles);
    state().cells.give_back(open);
}

/// The word of a pool's name.
pub fn name(term: Term<'_>) -> Result<u64, Refusal> {
    if beam::is_atom(term) {
        Ok(beam::word(term.as_c_arg()))
    } else {
        Err(Refusal::BadArgument)
    }
}

/// The open pool of these names.
#[inline]
pub fn find(instance: Term<'_>, pool: Term<'_>) -> Option<Open> {
    open_of(beam::word(instance.as_c_arg()), beam::word(pool.as_c_arg()))
}

/// The same, by the words of the names.
#[inline]
pub fn open_of(instance: u64, pool: u64) -> Option<Open> {
    let found = state().cells.find(instance, pool);
    if found.is_some() {
        found
    } else {
        search(instance, pool)
    }
}

// Only atoms are bound, and an atom's word is no other term's.
#[cold]
fn search(instance: u64, pool: u64) -> Option<Open> {
    let opened = state().find_word(instance)?;
    let pools = opened.shell.pools.read();
    pools.find(pool).filter(|_| pools.is_of(opened.generation))
}

// What a process is watched for.
fn watching(open: Open, pid: Pid, role: Role) -> Watching {
    Watching {
        place: 0,
        generation: open.generation,
        pid,
        role,
    }
}

/// Watches a caller, together with those that came last.
pub fn watch_caller(env: Env<'_>, open: Open, caller: Pid) -> Option<Watched> {
    let mut shared = open.cell.shared.lock();
    let watching = watching(open, caller, Role::Caller(open.cell));
    owner::watch_together(env.as_c_arg(), watching, &mut shared)
}

/// A ticket's name, which is always in its word.
#[inline]
pub fn ticket(term: Term<'_>) -> Result<Name, Refusal> {
    let word = beam::small(term).and_then(|word| u64::try_from(word).ok());
    word.and_then(Name::from_word).ok_or(Refusal::BadArgument)
}

/// The same, told.
#[inline]
pub fn named(env: Env<'_>, ticket: Name) -> Term<'_> {
    beam::small_integer(env, ticket.word())
}

// Members --------------------------------------------------------------------------------------------------------------

/// `pool_join(instance, pool, pid, member)`
pub fn join<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let member: u64 = args[3].decode().map_err(|_| Refusal::BadArgument)?;
    let pid = Pid::of(args[2]).ok_or(Refusal::BadArgument)?;
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let dead = || Ok((atoms::error(), atoms::noproc()).encode(env));
    let Some(handle) = owner::watch(env.as_c_arg(), watching(open, pid, Role::Worker(open.cell))) else {
        return dead();
    };
    let from = From::Process(env);
    let pool = &open.cell.pool;
    let mut effects = Effects::default();
    let Ok(joined) = pool.join(
        open.generation,
        pid.0,
        member,
        handle,
        beam::now(),
        &from.world(),
        &mut effects,
    ) else {
        return Ok(unknown(env));
    };
    carry_out(from, open.cell, &mut effects);
    match joined {
        Joined::Done => Ok(atom(env, atoms::ok())),
        Joined::Dead => dead(),
        Joined::Taken(pid) => {
            let taken = beam::tuple(env, &[atom(env, atoms::taken()), Pid(pid).term(env)]);
            Ok(beam::tuple(env, &[atom(env, atoms::error()), taken]))
        }
    }
}

/// `pool_leave(instance, pool, pid)`
pub fn leave<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let pid = Pid::of(args[2]).ok_or(Refusal::BadArgument)?;
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let from = From::Process(env);
    let pool = &open.cell.pool;
    let mut effects = Effects::default();
    let Ok(known) = pool.leave(open.generation, pid.0, beam::now(), &from.world(), &mut effects) else {
        return Ok(unknown(env));
    };
    carry_out(from, open.cell, &mut effects);
    Ok(atom(env, if known { atoms::ok() } else { atoms::none() }))
}

/// A worker died.
pub fn worker_died(env: *mut ErlNifEnv, cell: Cell, watching: Watching) {
    let from = From::Elsewhere(env);
    let (now, world, mut effects) = (beam::now(), from.world(), Effects::default());
    let pid = watching.pid.0;
    // Closed is as good: it ended with the pool.
    let _ = cell
        .pool
        .worker_died(watching.generation, pid, now, &world, &mut effects);
    carry_out(from, cell, &mut effects);
}

// For the foreman -----------------------------------------------------------------------------------------------------

/// `pool_answered(instance, pool, ticket)`
pub fn answered<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let ticket = ticket(args[2])?;
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let from = From::Process(env);
    let pool = &open.cell.pool;
    let mut effects = Effects::default();
    let Ok(known) = pool.answered(open.generation, ticket, beam::now(), &from.world(), &mut effects) else {
        return Ok(unknown(env));
    };
    carry_out(from, open.cell, &mut effects);
    Ok(atom(env, if known { atoms::ok() } else { atoms::gone() }))
}

/// `pool_tick(instance, pool)`
pub fn tick<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let from = From::Process(env);
    let pool = &open.cell.pool;
    let mut effects = Effects::default();
    let Ok(()) = pool.tick(open.generation, beam::now(), &from.world(), &mut effects) else {
        return Ok(unknown(env));
    };
    carry_out(from, open.cell, &mut effects);
    Ok(atom(env, atoms::ok()))
}

// Looking --------------------------------------------------------------------------------------------------------------

/// `pool_abandoned(instance, pool)`
pub fn abandoned<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let found = find(args[0], args[1]).and_then(|open| open.cell.pool.unheeded(open.generation).ok());
    let Some(found) = found else {
        return Ok(unknown(env));
    };
    let said = found.iter().map(|&notice| courier::said(env, notice));
    Ok(said.collect::<Vec<_>>().encode(env))
}

/// `pool_status(instance, pool)`
pub fn status<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let found = find(args[0], args[1]).and_then(|open| open.cell.pool.status(open.generation).ok());
    found.map_or_else(|| Ok(unknown(env)), |status| shown(env, &status))
}

fn shown<'a>(env: Env<'a>, status: &Status) -> Answer<'a> {
    const US: u64 = 1_000;
    let fields = [
        (atoms::workers(), status.workers),
        (atoms::ready(), status.ready),
        (atoms::leaving(), status.leaving),
        (atoms::free(), status.free),
        (atoms::ongoing(), status.ongoing),
        (atoms::abandoned(), status.abandoned),
        (atoms::queue(), status.queue),
        (atoms::tenants(), status.tenants),
        (atoms::served(), status.served),
        (atoms::refused(), status.refused),
        (atoms::expired(), status.expired),
        (atoms::cancelled(), status.cancelled),
        (atoms::succeeded(), status.succeeded),
        (atoms::failed(), status.failed),
        (atoms::given_up(), status.given_up),
        (atoms::lost(), status.lost),
        (atoms::returned(), status.returned),
        (atoms::dropped(), status.dropped),
        (atoms::drained(), status.drained),
        (atoms::overloaded(), status.overloaded),
        (atoms::wait(), status.wait / US),
        (atoms::hold(), status.hold / US),
        (atoms::arrived(), status.arrived),
        (atoms::over_quota(), status.over_quota),
        (atoms::unlimited(), status.unlimited),
        (atoms::cost(), status.cost),
        (atoms::let_through(), status.let_through),
        (atoms::credits(), status.credits),
        (atoms::wishes(), status.wishes),
        (atoms::ejected(), status.ejected),
        (atoms::not_ready(), status.not_ready),
        (atoms::growing(), status.growing),
        (atoms::panic(), status.panic),
        (atoms::held_back(), status.held_back),
    ];
    let pairs = fields.map(|(name, value)| (name.to_term(env), value.encode(env)));
    Term::map_from_pairs(env, &pairs).map_err(|_| Refusal::BadArgument)
}

/// `pool_workers(instance, pool)`
pub fn workers<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let found = find(args[0], args[1]).and_then(|open| open.cell.pool.members(open.generation).ok());
    let Some(members) = found else {
        return Ok(unknown(env));
    };
    let member = |member: &Member| {
        let state = match member {
            Member { leaving: true, .. } => atoms::leaving(),
            Member { shut: true, .. } => atoms::not_ready(),
            Member { ejected: true, .. } => atoms::ejected(),
            Member { busy: true, .. } => atoms::busy(),
            _ => atoms::ready(),
        };
        beam::tuple(
            env,
            &[
                Pid(member.pid).term(env),
                member.member.encode(env),
                atom(env, state),
                member.ongoing.encode(env),
                (member.latency / 1_000).encode(env),
                member.served.encode(env),
            ],
        )
    };
    Ok(members.iter().map(member).collect::<Vec<_>>().encode(env))
}
