//! What is asked of pools, and given back: decodes, makes one core call, carries out what comes back.

use std::num::NonZeroU64;

use kantoku_core::pool::{Asked, Asking, Cancelled, Effects, Kind, Outcome, Replied, Returned, Route};
use rustler::sys::ErlNifEnv;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, MS, Pid, atom};
use crate::choice::one_of;
use crate::content::{self, Content};
use crate::courier::{self, From, atom_of, carry_out};
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::key::{self, Room};
use crate::library::Words;
use crate::owner::Watching;
use crate::pool_life::{find, named, ticket, watch_caller};
use crate::pools::{Cell, Open};

struct Params<'a> {
    tenant: Term<'a>,
    priority: u8,
    cost: u32,
    wait: i64,
    route: Route,
}

pub const MOST_COST: u32 = 1_000_000;

fn params<'a>(term: Term<'a>) -> Result<Option<Params<'a>>, Refusal> {
    if beam::is_atom(term) {
        let none = beam::word(term.as_c_arg()) == beam::word(atoms::nil().as_c_arg());
        return if none { Ok(None) } else { Err(Refusal::BadArgument) };
    }
    let mut items = beam::items(term);
    if items.len() != 5 {
        return Err(Refusal::BadArgument);
    }
    let mut next = || items.next().ok_or(Refusal::BadArgument);
    let tenant = next()?;
    let priority: u8 = next()?.decode().map_err(|_| Refusal::BadArgument)?;
    let cost: u32 = next()?.decode().map_err(|_| Refusal::BadArgument)?;
    let wait = wait(next()?)?;
    let route = next()?;
    if priority > 2 || !(1..=MOST_COST).contains(&cost) {
        return Err(Refusal::BadArgument);
    }
    Ok(Some(Params {
        tenant,
        priority,
        cost,
        wait,
        route: self::route(route)?,
    }))
}

fn route(term: Term<'_>) -> Result<Route, Refusal> {
    if beam::word(term.as_c_arg()) == beam::word(atoms::nil().as_c_arg()) {
        return Ok(Route::default());
    }
    let hash = term.decode::<u32>().ok();
    let worker = Pid::of(term).and_then(|pid| NonZeroU64::new(pid.0));
    if hash.is_none() && worker.is_none() {
        return Err(Refusal::BadArgument);
    }
    Ok(Route { hash, worker })
}

fn wait(term: Term<'_>) -> Result<i64, Refusal> {
    if beam::is_atom(term) {
        let infinity = beam::word(term.as_c_arg()) == beam::word(atoms::infinity().as_c_arg());
        return if infinity {
            Ok(i64::MAX)
        } else {
            Err(Refusal::BadArgument)
        };
    }
    let ms: u64 = term.decode().map_err(|_| Refusal::BadArgument)?;
    Ok(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(MS))
}

// One request on its way in.
fn ask<'a>(
    env: Env<'a>,
    open: Open,
    kind: Kind,
    params: Term<'a>,
    pack: impl FnMut(bool) -> Option<Content>,
) -> Result<Option<Asked>, Refusal> {
    let mut effects = Effects::default();
    let asked = admit(env, open, kind, params, pack, &mut effects)?;
    carry_out(From::Process(env), open.cell, &mut effects);
    Ok(asked)
}

#[inline]
fn admit<'a>(
    env: Env<'a>,
    open: Open,
    kind: Kind,
    params: Term<'a>,
    mut pack: impl FnMut(bool) -> Option<Content>,
    effects: &mut Effects<Content>,
) -> Result<Option<Asked>, Refusal> {
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let mut room = Room::new();
    let mut asking = Asking {
        kind,
        owner: if kind == Kind::Cast { 0 } else { caller.0 },
        tenant: &[],
        priority: 1,
        cost: 1,
        wait: i64::MAX,
        route: Route::default(),
    };
    if let Some(params) = self::params(params)? {
        asking.tenant = key::tenant(&mut room, params.tenant).ok_or(Refusal::BadArgument)?;
        asking.priority = params.priority;
        asking.cost = params.cost;
        asking.wait = params.wait;
        asking.route = params.route;
    }
    let from = From::Process(env);
    let watch = || watch_caller(env, open, caller);
    let pool = &open.cell.pool;
    let asked = pool.ask(
        open.generation,
        &asking,
        beam::now,
        &from.world(),
        watch,
        &mut pack,
        effects,
    );
    Ok(asked.ok())
}

/// `pool_call(instance, pool, tag, request, params)`
pub fn call<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let [instance, pool, tag, request, params] = args else {
        return Err(Refusal::BadArgument);
    };
    let Some(open) = find(*instance, *pool) else {
        return Ok(unknown(env));
    };
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let pack = |to_wait| {
        Some(if to_wait {
            Content::of_call(env, caller, *tag, *request)
        } else {
            Content::of_tag(*tag)
        })
    };
    match ask(env, open, Kind::Call, *params, pack)? {
        Some(Asked::Taken { ticket, worker }) => {
            courier::post(Pid(worker), content::called(env, caller, *tag, *request));
            Ok(beam::tuple(
                env,
                &[
                    atom(env, atoms::sent()),
                    named(env, ticket),
                    Pid(worker).term(env),
                ],
            ))
        }
        other => Ok(answer(env, other)),
    }
}

/// `pool_checkout(instance, pool, tag, params)`
pub fn checkout<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let [instance, pool, tag, params] = args else {
        return Err(Refusal::BadArgument);
    };
    let Some(open) = find(*instance, *pool) else {
        return Ok(unknown(env));
    };
    let pack = |_| Some(Content::of_tag(*tag));
    match ask(env, open, Kind::Checkout, *params, pack)? {
        Some(Asked::Taken { ticket, worker }) => Ok(beam::tuple(
            env,
            &[
                atom(env, atoms::granted()),
                named(env, ticket),
                Pid(worker).term(env),
            ],
        )),
        other => Ok(answer(env, other)),
    }
}

/// `pool_cast(instance, pool, request, params)`
pub fn cast<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let [instance, pool, request, params] = args else {
        return Err(Refusal::BadArgument);
    };
    let Some(open) = find(*instance, *pool) else {
        return Ok(unknown(env));
    };
    let pack = |to_wait| {
        Some(if to_wait {
            Content::of_cast(env, *request)
        } else {
            Content::of_tag(atom(env, atoms::nil()))
        })
    };
    let mut effects = Effects::default();
    let asked = admit(env, open, Kind::Cast, *params, pack, &mut effects)?;
    if let Some(Asked::Taken { worker, .. }) = asked {
        // Before its foreman hears of it.
        courier::post(Pid(worker), content::casted(env, *request));
    }
    carry_out(From::Process(env), open.cell, &mut effects);
    Ok(match asked {
        Some(Asked::Taken { worker, .. }) => {
            beam::tuple(env, &[atom(env, atoms::sent()), Pid(worker).term(env)])
        }
        Some(Asked::Queued { .. }) => atom(env, atoms::queued()),
        other => answer(env, other),
    })
}

fn answer<'a>(env: Env<'a>, asked: Option<Asked>) -> Term<'a> {
    match asked {
        Some(Asked::Queued { ticket }) => beam::tuple(env, &[atom(env, atoms::queued()), named(env, ticket)]),
        Some(Asked::Refused { reason, retry_in }) => (atoms::error(), atom_of(reason), retry_in).encode(env),
        // A caller that is being killed: nobody reads this.
        Some(Asked::NoOwner) => (atoms::error(), atoms::closed(), 0).encode(env),
        Some(Asked::Taken { .. }) | None => unknown(env),
    }
}

/// `pool_take(instance, pool)`
#[inline]
pub fn take<'a>(env: Env<'a>, words: Words<'a>) -> Answer<'a> {
    let Some(open) = find(words.term(env, 0), words.term(env, 1)) else {
        return Ok(unknown(env));
    };
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let from = From::Process(env);
    let mut effects = Effects::default();
    let pool = &open.cell.pool;
    let taken = pool.take(open.generation, caller.0, beam::now, &from.world(), &mut effects);
    carry_out(from, open.cell, &mut effects);
    Ok(match taken {
        Some((ticket, worker)) => beam::cons(env, named(env, ticket), Pid(worker).term(env)),
        None => atom(env, atoms::ask()),
    })
}

/// `pool_checkin(instance, pool, ticket, outcome)`
#[inline]
pub fn checkin<'a>(env: Env<'a>, words: Words<'a>) -> Answer<'a> {
    let outcome = outcome(words.term(env, 3))?;
    let ticket = ticket(words.term(env, 2))?;
    let Some(open) = find(words.term(env, 0), words.term(env, 1)) else {
        return Ok(unknown(env));
    };
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let from = From::Process(env);
    let pool = &open.cell.pool;
    let mut effects = Effects::default();
    let Ok(returned) = pool.give_back(
        open.generation,
        ticket,
        caller.0,
        outcome,
        beam::now,
        &from.world(),
        &mut effects,
    ) else {
        return Ok(unknown(env));
    };
    carry_out(from, open.cell, &mut effects);
    let said = match returned {
        Returned::Done => atoms::ok(),
        Returned::Gone => atoms::gone(),
        Returned::Foreign => return Ok(foreign(env)),
    };
    Ok(atom(env, said))
}

fn outcome(term: Term<'_>) -> Result<Outcome, Refusal> {
    one_of(
        term,
        &[
            (atoms::ok(), Outcome::Ok),
            (atoms::error(), Outcome::Error),
            (atoms::abandoned(), Outcome::Abandoned),
        ],
    )
}

fn foreign(env: Env<'_>) -> Term<'_> {
    beam::tuple(env, &[atom(env, atoms::error()), atom(env, atoms::foreign())])
}

/// `pool_reply(instance, pool, tag, reply)`
pub fn reply<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let [instance, pool, tag, reply] = args else {
        return Err(Refusal::BadArgument);
    };
    let Some(open) = find(*instance, *pool) else {
        return Ok(unknown(env));
    };
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let from = From::Process(env);
    let mut effects = Effects::default();
    let Ok(replied) = open.cell.pool.reply(
        open.generation,
        caller.0,
        |content| content.is_of(*tag),
        beam::now,
        &from.world(),
        &mut effects,
    ) else {
        return Ok(unknown(env));
    };
    // Nobody can kill a process in the middle of a native function: who has no ticket any more has the answer (P8).
    if let Replied::To(owner) = replied {
        courier::post(Pid(owner), content::replied(env, *tag, *reply));
    }
    carry_out(from, open.cell, &mut effects);
    let said = match replied {
        Replied::To(_) => atoms::ok(),
        Replied::Late => atoms::late(),
        Replied::None => atoms::none(),
    };
    Ok(atom(env, said))
}

/// `pool_cancel(instance, pool, ticket)`
pub fn cancel<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let ticket = ticket(args[2])?;
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let from = From::Process(env);
    let pool = &open.cell.pool;
    let mut effects = Effects::default();
    let Ok(cancelled) = pool.cancel(
        open.generation,
        ticket,
        caller.0,
        beam::now(),
        &from.world(),
        &mut effects,
    ) else {
        return Ok(unknown(env));
    };
    carry_out(from, open.cell, &mut effects);
    let said = match cancelled {
        Cancelled::Withdrawn => atoms::cancelled(),
        Cancelled::Abandoned => atoms::abandoned(),
        Cancelled::Returned => atoms::returned(),
        Cancelled::Gone => atoms::gone(),
        Cancelled::Foreign => return Ok(foreign(env)),
    };
    Ok(atom(env, said))
}

/// A caller died.
pub fn caller_died(env: *mut ErlNifEnv, cell: Cell, watching: Watching) {
    let mut effects = Effects::default();
    let kept = cell
        .pool
        .owner_died(watching.generation, watching.pid.0, &mut effects);
    carry_out(From::Elsewhere(env), cell, &mut effects);
    drop(kept);
}
