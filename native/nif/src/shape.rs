//! What a term is made of, as far as keeping it depends on that. Keeps none.

use rustler::{Term, TermType};

use crate::atoms;
use crate::beam::{self, Pid};

pub fn is_immediate(term: Term<'_>) -> bool {
    match term.get_type() {
        TermType::Atom => true,
        TermType::Integer => term.decode::<i64>().is_ok_and(|n| (-SMALL..SMALL).contains(&n)),
        TermType::Pid => Pid::of(term).is_some(),
        TermType::List => term.is_empty_list(),
        _ => false,
    }
}

/// A map that says when it started, with 0 in that place, and what it says.
pub fn without_start(map: Term<'_>) -> Option<(Term<'_>, i64)> {
    let started_at = map.map_get(atoms::started_at()).ok()?.decode().ok()?;
    Some((map.map_update(atoms::started_at(), 0).ok()?, started_at))
}

// A term of more parts is not looked for.
pub const MOST_SHARED: u32 = 64;

/// Whether all terms that equal this one show alike, which floats and what comes from other nodes may not; and it is small.
pub fn is_plain(term: Term<'_>, parts: &mut u32) -> bool {
    let Some(left) = parts.checked_sub(1) else {
        return false;
    };
    *parts = left;
    match term.get_type() {
        TermType::Atom | TermType::Integer | TermType::Binary => true,
        TermType::Tuple => beam::items(term).all(|item| is_plain(item, parts)),
        TermType::Map => rustler::MapIterator::new(term)
            .into_iter()
            .flatten()
            .all(|(key, value)| is_plain(key, parts) && is_plain(value, parts)),
        TermType::List => match term.list_get_cell() {
            Ok((head, tail)) => is_plain(head, parts) && is_plain(tail, parts),
            Err(_) => true,
        },
        _ => false,
    }
}

// Integers of 60 bits are immediates on a 64-bit machine.
const SMALL: i64 = 1 << 59;

/// A term's size in words, about; stops counting at `limit`.
pub fn weigh(term: Term<'_>, limit: usize) -> usize {
    let mut weight = 0;
    weigh_into(term, limit, &mut weight);
    weight.min(limit)
}

fn weigh_into(term: Term<'_>, limit: usize, weight: &mut usize) {
    *weight += 2;
    if *weight >= limit {
        return;
    }
    match term.get_type() {
        TermType::Binary => {
            *weight += term
                .decode::<rustler::Binary>()
                .map_or(1, |binary| binary.len() / 8)
        }
        TermType::Tuple => {
            for item in beam::items(term).take(limit) {
                weigh_into(item, limit, weight);
            }
        }
        TermType::Map => {
            for (key, value) in rustler::MapIterator::new(term).into_iter().flatten() {
                weigh_into(key, limit, weight);
                weigh_into(value, limit, weight);
                if *weight >= limit {
                    return;
                }
            }
        }
        TermType::List => weigh_list(term, limit, weight),
        TermType::Fun => *weight += limit,
        _ => {}
    }
}

fn weigh_list(list: Term<'_>, limit: usize, weight: &mut usize) {
    let mut rest = list;
    while let Ok((head, tail)) = rest.list_get_cell() {
        weigh_into(head, limit, weight);
        if *weight >= limit {
            return;
        }
        rest = tail;
    }
}
