//! Opening and closing instances, and what is known of them.

use rustler::{Encoder, Env, Term};

use crate::beam::{self, Pid};
use crate::errand::Errand;
use crate::guard::{Answer, Refusal};
use crate::owner::{self, Role, Watching};
use crate::state::{self, Opened, Seats, State, state};
use crate::{atoms, breaker, owner::Watched, pool_life};

/// `open(instance, kind, servers, listeners)`: the caller becomes the holder.
pub fn open<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let name = atom_word(args[0])?;
    let unique = kind(args[1])?;
    let servers: usize = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    if servers == 0 || servers > MOST_SERVERS {
        return Err(Refusal::BadArgument);
    }
    let listeners = listeners(args[3])?;
    let holder = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let state = state();
    let _one_at_a_time = state.opening.lock();
    if let Some(present) = state.find_word(name) {
        if let Some(pid) = live_holder(env, present) {
            let started = (atoms::already_started(), pid.term(env)).encode(env);
            return Ok((atoms::error(), started).encode(env));
        }
        close_opened(state, name, present);
    }
    let Some(opened) = state.shell_for_use() else {
        return Ok(too_many(env));
    };
    let Some(monitor) = hold(env, opened, holder) else {
        return Err(Refusal::BadArgument);
    };
    let holder = Some((holder, monitor));
    let servers = vec![None; servers];
    *opened.shell.seats.write() = Seats {
        generation: opened.generation,
        servers,
        listeners,
        holder,
    };
    opened.shell.pools.write().open(opened.generation);
    opened.shell.breakers.write().open(opened.generation);
    opened.shell.clock.reset();
    opened.shell.full.set(false);
    opened.shell.health.open(opened.generation);
    opened.shell.registry.open(opened.generation, unique);
    if state.bind(name, opened) {
        return Ok(beam::atom(env, atoms::ok()));
    }
    state.errand(Errand::Close { opened });
    Ok(too_many(env))
}

const MOST_SERVERS: usize = 1 << 16;

fn kind(term: Term<'_>) -> Result<bool, Refusal> {
    match atom_word(term)? {
        word if word == state::name_word(atoms::unique()) => Ok(true),
        word if word == state::name_word(atoms::duplicate()) => Ok(false),
        _ => Err(Refusal::BadArgument),
    }
}

fn listeners(term: Term<'_>) -> Result<Vec<u64>, Refusal> {
    let mut listeners = Vec::new();
    let mut rest = term;
    while let Ok((head, tail)) = rest.list_get_cell() {
        listeners.push(atom_word(head)?);
        rest = tail;
    }
    if rest.is_empty_list() {
        Ok(listeners)
    } else {
        Err(Refusal::BadArgument)
    }
}

fn atom_word(term: Term<'_>) -> Result<u64, Refusal> {
    if beam::is_atom(term) {
        Ok(beam::word(term.as_c_arg()))
    } else {
        Err(Refusal::BadArgument)
    }
}

fn live_holder(env: Env<'_>, opened: Opened) -> Option<Pid> {
    let seats = opened.shell.seats.read();
    let (pid, _) = seats
        .holder
        .as_ref()
        .filter(|_| seats.generation == opened.generation)?;
    pid.is_alive(env.as_c_arg()).then_some(*pid)
}

fn hold(env: Env<'_>, opened: Opened, pid: Pid) -> Option<Watched> {
    let Opened { shell, generation } = opened;
    owner::watch(
        env.as_c_arg(),
        Watching {
            place: shell.place,
            generation,
            pid,
            role: Role::Holder,
        },
    )
}

fn too_many(env: Env<'_>) -> Term<'_> {
    (atoms::error(), atoms::too_many()).encode(env)
}

/// `close(instance)`. All it held is given back when it returns.
pub fn close<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let name = atom_word(args[0])?;
    let state = state();
    if let Some(opened) = state.find_word(name)
        && state.unbind(name, opened)
    {
        empty(state, opened);
    }
    Ok(beam::atom(env, atoms::ok()))
}

// On a scheduler: what it held goes in the background.
fn close_opened(state: &State, name: u64, opened: Opened) {
    if state.unbind(name, opened) {
        state.errand(Errand::Close { opened });
    }
}

/// The holder's death closes its instance.
pub fn holder_died(watching: Watching) {
    let state = state();
    let shell = state.shell(watching.place);
    let name = shell.name.load(kantoku_core::sync::atomic::Ordering::Relaxed);
    close_opened(
        state,
        name,
        Opened {
            shell,
            generation: watching.generation,
        },
    );
}

/// Empties a closed instance and frees its shell for the next.
pub fn empty(state: &State, opened: Opened) {
    let kept = opened.shell.registry.close();
    let seats = std::mem::take(&mut *opened.shell.seats.write());
    let pools = std::mem::take(&mut *opened.shell.pools.write());
    pool_life::close_all(pools);
    breaker::close_all(std::mem::take(&mut *opened.shell.breakers.write()));
    opened.shell.health.close();
    opened.shell.spans.close();
    drop((kept, seats));
    state.give_back(opened.shell);
}

/// `seat(instance, index, pid)`
pub fn seat<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let index: usize = args[1].decode().map_err(|_| Refusal::BadArgument)?;
    let pid = Pid::of(args[2]).ok_or(Refusal::BadArgument)?;
    let mut seats = opened.shell.seats.write();
    if seats.generation != opened.generation {
        return Ok(unknown(env));
    }
    *seats.servers.get_mut(index).ok_or(Refusal::BadArgument)? = Some(pid);
    Ok(beam::atom(env, atoms::ok()))
}

pub fn unknown(env: Env<'_>) -> Term<'_> {
    beam::atom(env, atoms::unknown())
}

/// `stats(instance)`: native bytes by what they are for, and how many keys.
pub fn stats<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let bytes = opened.shell.registry.bytes();
    let health = opened.shell.health.bytes();
    let spans = opened.shell.spans.bytes();
    let (pools, breakers) = (opened.shell.pools_bytes(), opened.shell.breakers_bytes());
    let fields = [
        (atoms::names(), bytes.names),
        (atoms::owners(), bytes.owners),
        (atoms::index(), bytes.index),
        (atoms::watches(), bytes.watches),
        (atoms::spare(), bytes.spare),
        (atoms::health(), health),
        (atoms::spans(), spans),
        (atoms::pools(), pools),
        (atoms::breakers(), breakers),
        (atoms::bytes(), bytes.total() + health + spans + pools + breakers),
        (atoms::entries(), opened.shell.registry.rows()),
    ];
    map(env, &fields)
}

/// `stats()`: of the whole VM.
pub fn all_stats<'a>(env: Env<'a>, _args: &[Term<'a>]) -> Answer<'a> {
    let state = state();
    let fields = [
        (atoms::bytes(), state.bytes()),
        (atoms::instances(), state.instances()),
        (atoms::shells(), state.shells()),
    ];
    map(env, &fields)
}

fn map<'a>(env: Env<'a>, fields: &[(rustler::Atom, usize)]) -> Answer<'a> {
    let pairs: Vec<(Term<'a>, Term<'a>)> = fields
        .iter()
        .map(|(name, value)| (name.to_term(env), value.encode(env)))
        .collect();
    Term::map_from_pairs(env, &pairs).map_err(|_| Refusal::BadArgument)
}
