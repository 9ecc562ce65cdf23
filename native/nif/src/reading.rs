//! What is asked of names, and changes nothing. Decodes, makes one core call, encodes.

use kantoku_core::registry::{Cursor, Holding, Row, Whereis};
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, Pid, atom};
use crate::guard::{self, Answer, Refusal};
use crate::instance::unknown;
use crate::key::{self, Room};
use crate::library::Words;
use crate::state::{Opened, state};
use crate::terms::Bags;
use crate::world::World;

/// `whereis(instance, key)`
#[inline]
pub fn whereis<'a>(env: Env<'a>, words: Words<'a>) -> Answer<'a> {
    let state = state();
    let Some(opened) = state.find(words.term(env, 0)) else {
        return Ok(unknown(env));
    };
    let mut room = Room::new();
    let probe = room.probe(words.term(env, 1), state.seed);
    let mut dead = None;
    loop {
        match opened.shell.registry.whereis(opened.generation, probe) {
            Ok(Whereis::Held(pid)) if Pid(pid).is_alive(env.as_c_arg()) => return Ok(Pid(pid).term(env)),
            // It may have been taken over before it died: the name was never free then.
            Ok(Whereis::Held(pid)) if dead != Some(pid) => dead = Some(pid),
            Ok(Whereis::Duplicate) => return Ok(atom(env, atoms::duplicate())),
            Ok(_) => return Ok(atom(env, atoms::undefined())),
            Err(_) => return Ok(unknown(env)),
        }
    }
}

// So many are shown on a scheduler.
const MOST_SHOWN: usize = 256;

/// `lookup(instance, key)`
pub fn lookup<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    under_key(env, args, |terms, holding| {
        let pair = [Pid(holding.pid).term(env), terms.show(&holding.value, env)];
        Some(beam::tuple(env, &pair))
    })
}

/// `own(instance, key, pid)`
pub fn own<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(pid) = Pid::of(args[2]) else {
        return Ok(state()
            .find(args[0])
            .map_or_else(|| unknown(env), |_| beam::nil(env)));
    };
    under_key(env, args, |terms, holding| {
        (holding.pid == pid.0).then(|| (holding.incarnation, terms.show(&holding.value, env)).encode(env))
    })
}

/// The live holdings under a key, in the order of registration, as `shown` shows them.
fn under_key<'a>(
    env: Env<'a>,
    args: &[Term<'a>],
    shown: impl Fn(&Bags, &Holding<Bags>) -> Option<Term<'a>>,
) -> Answer<'a> {
    let Some(Opened { shell, generation }) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let mut room = Room::new();
    let probe = room.probe(args[1], state().seed);
    let holders = || shell.registry.holders(generation, probe).unwrap_or(0);
    guard::bounded(holders, MOST_SHOWN)?;
    let mut found = Vec::new();
    let show = |terms: &Bags, _: &Row<Bags>, holding: &Holding<Bags>| found.extend(shown(terms, holding));
    let world = World::new(env, Opened { shell, generation });
    let looked = shell.registry.lookup(generation, probe, &world, show);
    Ok(looked.map_or_else(|_| unknown(env), |()| found.encode(env)))
}

/// `keys(instance, pid)`
pub fn keys<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let Some(pid) = Pid::of(args[1]) else {
        return Ok(beam::nil(env));
    };
    guard::bounded(
        || opened.shell.registry.holdings(opened.generation, pid.0),
        MOST_SHOWN,
    )?;
    let mut keys = Vec::new();
    let world = World::new(env, opened);
    let looked = opened
        .shell
        .registry
        .held(opened.generation, pid.0, &world, |terms, row, _| {
            keys.push(key::show(&row.key, terms, env));
        });
    Ok(looked.map_or_else(|_| unknown(env), |()| keys.encode(env)))
}

/// `slice(instance, cursor, limit)`
pub fn slice<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let mut entries = Vec::new();
    let sliced = sliced(env, args, |terms, row, holding| {
        let key = key::show(&row.key, terms, env);
        let entry = [key, Pid(holding.pid).term(env), terms.show(&holding.value, env)];
        entries.push(beam::tuple(env, &entry));
    })?;
    Ok(sliced.map_or_else(|| unknown(env), |next| (entries, next).encode(env)))
}

/// `count_slice(instance, cursor, limit)`
pub fn count_slice<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let mut count = 0_u64;
    let sliced = sliced(env, args, |_, _, _| count += 1)?;
    Ok(sliced.map_or_else(|| unknown(env), |next| (count, next).encode(env)))
}

// More would hold the scheduler, however many are asked for; a key that more hold is shown elsewhere.
const LONGEST_SLICE: usize = 1024;

/// The next cursor or `:done`; `None` for an instance that is not there.
fn sliced<'a>(
    env: Env<'a>,
    args: &[Term<'a>],
    show: impl FnMut(&Bags, &Row<Bags>, &Holding<Bags>),
) -> Result<Option<Term<'a>>, Refusal> {
    let Some(Opened { shell, generation }) = state().find(args[0]) else {
        return Ok(None);
    };
    let cursor: Cursor = args[1].decode().map_err(|_| Refusal::BadArgument)?;
    let limit: usize = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    let holders = || shell.registry.slice_holders(generation, cursor).unwrap_or(0);
    guard::bounded(holders, LONGEST_SLICE)?;
    let world = World::new(env, Opened { shell, generation });
    let next = shell
        .registry
        .slice(generation, cursor, limit.min(LONGEST_SLICE), &world, show);
    let term = |next: Option<Cursor>| next.map_or_else(|| atom(env, atoms::done()), |next| next.encode(env));
    Ok(next.ok().map(term))
}
