//! Who of a pool is out of service: decodes, makes one core call, carries out what comes back.

use kantoku_core::pool::{Cause, Closed, Effects, Ejecting, Ejection, FOREVER, SlowStart, Standing};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, MS, Pid, atom};
use crate::choice::is;
use crate::content::Content;
use crate::courier::{From, carry_out};
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::pool_config::at_least_one;
use crate::pool_life::find;
use crate::pools::Open;

// Configuration --------------------------------------------------------------------------------------------------------

// Fields of a map, as integers of 32 bits.
struct Fields<'a>(Term<'a>);

impl<'a> Fields<'a> {
    fn get(&self, name: Atom) -> Result<Term<'a>, Refusal> {
        self.0.map_get(name).map_err(|_| Refusal::BadArgument)
    }

    fn count(&self, name: Atom) -> Result<u32, Refusal> {
        self.get(name)?.decode().map_err(|_| Refusal::BadArgument)
    }

    fn positive(&self, name: Atom) -> Result<u32, Refusal> {
        at_least_one(self.get(name)?)
    }

    fn flag(&self, name: Atom) -> Result<bool, Refusal> {
        self.get(name)?.decode().map_err(|_| Refusal::BadArgument)
    }

    fn percent(&self, name: Atom) -> Result<u32, Refusal> {
        percent(self.get(name)?, 1)
    }
}

/// Percent, from `least` on.
pub fn percent(term: Term<'_>, least: u32) -> Result<u32, Refusal> {
    let percent: u32 = term.decode().map_err(|_| Refusal::BadArgument)?;
    if (least..=100).contains(&percent) {
        Ok(percent)
    } else {
        Err(Refusal::BadArgument)
    }
}

fn ms(count: u32) -> i64 {
    i64::from(count) * MS
}

/// `nil` or a map.
pub fn ejecting(term: Term<'_>) -> Result<Option<Ejecting>, Refusal> {
    if is(term, atoms::nil()) {
        return Ok(None);
    }
    let map = Fields(term);
    Ok(Some(Ejecting {
        enforced: map.flag(atoms::enforced())?,
        consecutive_failures: map.count(atoms::consecutive_failures())?,
        interval: ms(map.positive(atoms::interval())?),
        base_ejection_time: ms(map.positive(atoms::base_ejection_time())?),
        max_ejection_time: ms(map.positive(atoms::max_ejection_time())?),
        max_ejection_time_jitter: ms(map.count(atoms::max_ejection_time_jitter())?),
        max_ejection_percent: map.percent(atoms::max_ejection_percent())?,
        success_rate_minimum_hosts: map.positive(atoms::success_rate_minimum_hosts())?,
        success_rate_request_volume: map.positive(atoms::success_rate_request_volume())?,
        success_rate_stdev_factor: map.count(atoms::success_rate_stdev_factor())?,
        latency_minimum_hosts: map.positive(atoms::latency_minimum_hosts())?,
        latency_request_volume: map.positive(atoms::latency_request_volume())?,
        latency_multiple: map.count(atoms::latency_multiple())?,
        latency_floor: ms(map.count(atoms::latency_floor())?),
    }))
}

/// `nil` or a map.
pub fn slow_start(term: Term<'_>) -> Result<Option<SlowStart>, Refusal> {
    if is(term, atoms::nil()) {
        return Ok(None);
    }
    let map = Fields(term);
    Ok(Some(SlowStart {
        window: ms(map.positive(atoms::slow_start_window())?),
        least: map.percent(atoms::min_weight_percent())?,
        fresh: map.flag(atoms::fresh())?,
    }))
}

// Out and in -----------------------------------------------------------------------------------------------------------

fn change<'a>(
    env: Env<'a>,
    args: &[Term<'a>],
    change: impl FnOnce(Open, From<'a>, &mut Effects<Content>) -> Result<bool, Closed>,
) -> Answer<'a> {
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let from = From::Process(env);
    let mut effects = Effects::default();
    let Ok(known) = change(open, from, &mut effects) else {
        return Ok(unknown(env));
    };
    carry_out(from, open.cell, &mut effects);
    Ok(atom(env, if known { atoms::ok() } else { atoms::none() }))
}

/// `pool_shut(instance, pool, pid)`
pub fn shut<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let pid = Pid::of(args[2]).ok_or(Refusal::BadArgument)?;
    change(env, args, |open, from, effects| {
        let pool = &open.cell.pool;
        pool.shut(open.generation, pid.0, beam::now(), &from.world(), effects)
    })
}

/// `pool_eject(instance, pool, member, ms | :infinity)`
pub fn eject<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let member: u64 = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    let length = if is(args[3], atoms::infinity()) {
        None
    } else {
        Some(ms(at_least_one(args[3])?))
    };
    change(env, args, |open, from, effects| {
        let pool = &open.cell.pool;
        pool.eject(
            open.generation,
            member,
            length,
            beam::now(),
            &from.world(),
            effects,
        )
    })
}

/// `pool_readmit(instance, pool, member)`
pub fn readmit<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let member: u64 = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    change(env, args, |open, from, effects| {
        let pool = &open.cell.pool;
        pool.readmit(open.generation, member, beam::now(), &from.world(), effects)
    })
}

// Looking --------------------------------------------------------------------------------------------------------------

/// `pool_ejections(instance, pool)`
pub fn ejections<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let found = find(args[0], args[1]);
    let found = found.and_then(|open| open.cell.pool.ejections(open.generation, beam::now()).ok());
    let Some(ejections) = found else {
        return Ok(unknown(env));
    };
    let said: Vec<Term<'a>> = ejections.iter().map(|ejection| said(env, ejection)).collect();
    Ok(said.encode(env))
}

fn said<'a>(env: Env<'a>, ejection: &Ejection) -> Term<'a> {
    let standing = match ejection.standing {
        Standing::Ejected => atoms::ejected(),
        Standing::Observed => atoms::observed(),
        Standing::Growing => atoms::growing(),
        Standing::In => atoms::r#in(),
    };
    let left = match ejection.left {
        None => atom(env, atoms::nil()),
        Some(FOREVER) => atom(env, atoms::infinity()),
        Some(left) => ((left + MS - 1) / MS).encode(env),
    };
    let cause = ejection
        .cause
        .map_or_else(|| atom(env, atoms::nil()), |cause| why(env, cause));
    beam::tuple(
        env,
        &[
            ejection.member.encode(env),
            atom(env, standing),
            cause,
            (ejection.since / MS).encode(env),
            left,
            ejection.times.encode(env),
            ejection.percent.encode(env),
        ],
    )
}

fn why(env: Env<'_>, cause: Cause) -> Term<'_> {
    match cause {
        Cause::ConsecutiveFailures { count } => (atoms::consecutive_failures(), count).encode(env),
        Cause::SuccessRate {
            rate,
            threshold,
            workers,
        } => (atoms::success_rate(), rate, threshold, workers).encode(env),
        Cause::Latency {
            mean,
            median,
            workers,
        } => (atoms::latency(), mean, median, workers).encode(env),
        Cause::ByHand => atom(env, atoms::by_hand()),
    }
}
