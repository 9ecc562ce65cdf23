//! Credits of those who send: decodes, makes one core call, carries out what comes back.

use kantoku_core::pool::{Borrowing, Dealing, Dealt, Effects};
use rustler::{Encoder, Env, Term};

use crate::beam::{self, MS, Pid, atom};
use crate::choice::one_of;
use crate::content::Content;
use crate::courier::{From, carry_out};
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::key::{self, Room};
use crate::pool::MOST_COST;
use crate::pool_life::{find, watch_caller};
use crate::{atoms, pool_config};

fn cost(term: Term<'_>) -> Result<u32, Refusal> {
    let cost: u32 = term.decode().map_err(|_| Refusal::BadArgument)?;
    if (1..=MOST_COST).contains(&cost) {
        Ok(cost)
    } else {
        Err(Refusal::BadArgument)
    }
}

fn tenant<'r>(room: &'r mut Room, term: Term<'_>) -> Result<&'r [u8], Refusal> {
    key::tenant(room, term).ok_or(Refusal::BadArgument)
}

/// `pool_room(instance, pool, tenant, cost)`
pub fn room<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let mut spelled = Room::new();
    let (tenant, cost) = (tenant(&mut spelled, args[2])?, cost(args[3])?);
    let found = find(args[0], args[1]);
    let room = found.and_then(|open| {
        let pool = &open.cell.pool;
        pool.room(open.generation, tenant, cost, beam::now()).ok()
    });
    Ok(room.map_or_else(|| unknown(env), |room| room.encode(env)))
}

/// `pool_lend(instance, pool, tag, {tenant, cost, ttl})`
pub fn lend<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let terms: Vec<Term<'a>> = beam::items(args[3]).collect();
    let &[of, each, ttl] = terms.as_slice() else {
        return Err(Refusal::BadArgument);
    };
    let mut spelled = Room::new();
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let ttl = pool_config::at_least_one(ttl)?;
    let borrowing = Borrowing {
        owner: caller.0,
        tenant: tenant(&mut spelled, of)?,
        cost: cost(each)?,
        ttl: i64::from(ttl) * MS,
    };
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let watch = || watch_caller(env, open, caller);
    let content = Content::of_tag(args[2]);
    match open.cell.pool.borrow(open.generation, &borrowing, watch, content) {
        Ok(Some(loan)) => Ok((atoms::ok(), loan).encode(env)),
        // A caller that is being killed, which reads nothing; or no such pool any more.
        Ok(None) | Err(_) => Ok(unknown(env)),
    }
}

/// `pool_loan(instance, pool, loan, dealing, count)`
pub fn deal<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let loan: u64 = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    let dealing = dealing(args[3])?;
    let count: u32 = args[4].decode().map_err(|_| Refusal::BadArgument)?;
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let (pool, now) = (&open.cell.pool, beam::now());
    let mut effects = Effects::default();
    let Ok(dealt) = pool.deal(
        open.generation,
        loan,
        caller.0,
        dealing,
        u64::from(count),
        now,
        &mut effects,
    ) else {
        return Ok(unknown(env));
    };
    carry_out(From::Process(env), open.cell, &mut effects);
    Ok(match dealt {
        Dealt::Count(count) => count.encode(env),
        Dealt::Gone => atom(env, atoms::gone()),
        Dealt::Foreign => beam::tuple(env, &[atom(env, atoms::error()), atom(env, atoms::foreign())]),
    })
}

fn dealing(term: Term<'_>) -> Result<Dealing, Refusal> {
    one_of(
        term,
        &[
            (atoms::ask(), Dealing::Ask),
            (atoms::take(), Dealing::Take),
            (atoms::give_back(), Dealing::GiveBack),
            (atoms::close(), Dealing::Close),
        ],
    )
}
