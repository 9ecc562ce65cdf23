//! A pool's configuration, from the map that `lib/kantoku/engine/pools.ex` describes.

use std::collections::HashMap;

use kantoku_core::pool::{Config, Quota, Strategy, Tenant, What, Who};
use rustler::Term;

use crate::beam::MS;
use crate::choice::{is, one_of};
use crate::guard::Refusal;
use crate::key::{self, Room};
use crate::{atoms, beam, pool_standing};

const MOST_WEIGHT: u32 = 1_000_000;

pub fn decode(map: Term<'_>) -> Result<Config, Refusal> {
    let field = |name: rustler::Atom| map.map_get(name).map_err(|_| Refusal::BadArgument);
    let target = ms(field(atoms::queue_target())?)?;
    Ok(Config {
        strategy: strategy(field(atoms::strategy())?)?,
        max_ongoing: at_least_one(field(atoms::max_ongoing())?)?,
        max_queue: field(atoms::max_queue())?
            .decode::<u32>()
            .map_err(|_| Refusal::BadArgument)? as usize,
        queue_target: flag(field(atoms::codel())?)?.then_some(target),
        queue_interval: ms(field(atoms::queue_interval())?)?,
        decay_time: ms(field(atoms::decay_time())?)?,
        over_quota: flag(field(atoms::over_quota())?)?,
        draining: flag(field(atoms::draining())?)?,
        direct: flag(field(atoms::direct())?)?,
        weights: weights(field(atoms::weights())?)?,
        quotas: quotas(field(atoms::quotas())?)?,
        ejection: pool_standing::ejecting(field(atoms::ejection())?)?,
        slow_start: pool_standing::slow_start(field(atoms::slow_start())?)?,
        panic_threshold: pool_standing::percent(field(atoms::healthy_panic_threshold())?, 0)?,
    })
}

pub fn at_least_one(term: Term<'_>) -> Result<u32, Refusal> {
    let number: u32 = term.decode().map_err(|_| Refusal::BadArgument)?;
    if number == 0 {
        Err(Refusal::BadArgument)
    } else {
        Ok(number)
    }
}

fn ms(term: Term<'_>) -> Result<i64, Refusal> {
    Ok(i64::from(at_least_one(term)?) * MS)
}

fn flag(term: Term<'_>) -> Result<bool, Refusal> {
    term.decode().map_err(|_| Refusal::BadArgument)
}

fn strategy(term: Term<'_>) -> Result<Strategy, Refusal> {
    let known = [
        (atoms::round_robin(), Strategy::RoundRobin),
        (atoms::random(), Strategy::Random),
        (atoms::least_loaded(), Strategy::LeastLoaded),
        (atoms::power_of_two(), Strategy::PowerOfTwo),
        (atoms::peak_ewma(), Strategy::PeakEwma),
        (atoms::hash(), Strategy::Hash),
        (atoms::lifo(), Strategy::Lifo),
    ];
    one_of(term, &known)
}

fn tenant(term: Term<'_>) -> Result<Tenant, Refusal> {
    key::tenant(&mut Room::new(), term)
        .map(Into::into)
        .ok_or(Refusal::BadArgument)
}

fn each<'a, V>(
    list: Term<'a>,
    mut decode: impl FnMut(Term<'a>) -> Result<V, Refusal>,
) -> Result<Vec<V>, Refusal> {
    let mut found = Vec::new();
    let mut rest = list;
    while let Ok((head, tail)) = rest.list_get_cell() {
        found.push(decode(head)?);
        rest = tail;
    }
    if rest.is_empty_list() {
        Ok(found)
    } else {
        Err(Refusal::BadArgument)
    }
}

fn fields<'a, const N: usize>(tuple: Term<'a>) -> Result<[Term<'a>; N], Refusal> {
    let items: Vec<Term<'a>> = beam::items(tuple).collect();
    items.try_into().map_err(|_| Refusal::BadArgument)
}

fn weights(list: Term<'_>) -> Result<HashMap<Tenant, u32>, Refusal> {
    let pairs = each(list, |pair| {
        let [of, weight] = fields(pair)?;
        let weight = at_least_one(weight)?;
        if weight > MOST_WEIGHT {
            return Err(Refusal::BadArgument);
        }
        Ok((tenant(of)?, weight))
    })?;
    Ok(pairs.into_iter().collect())
}

fn quotas(list: Term<'_>) -> Result<Vec<Quota>, Refusal> {
    each(list, |quota| {
        let [who, what, per_minute, burst] = fields(quota)?;
        let count = |term| at_least_one(term).map(u64::from);
        Ok(Quota {
            who: self::who(who)?,
            what: one_of(
                what,
                &[
                    (atoms::requests(), What::Requests),
                    (atoms::tokens(), What::Tokens),
                ],
            )?,
            per_minute: count(per_minute)?,
            burst: count(burst)?,
        })
    })
}

fn who(term: Term<'_>) -> Result<Who, Refusal> {
    if is(term, atoms::pool()) {
        return Ok(Who::Pool);
    }
    if is(term, atoms::each()) {
        return Ok(Who::Each);
    }
    let [kind, of] = fields(term)?;
    if is(kind, atoms::tenant()) {
        Ok(Who::One(tenant(of)?))
    } else {
        Err(Refusal::BadArgument)
    }
}
