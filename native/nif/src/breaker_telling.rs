//! What is said of breakers: answers, with the changes of state that came with them.

use kantoku_core::breaker::{Change, Closed, NEVER, State, Status, Told};
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, MS, atom};
use crate::guard::Answer;
use crate::instance::unknown;
use crate::owner::Watched;

pub fn states() -> [(rustler::Atom, State); 6] {
    [
        (atoms::closed(), State::Closed),
        (atoms::open(), State::Open),
        (atoms::half_open(), State::HalfOpen),
        (atoms::disabled(), State::Disabled),
        (atoms::forced_open(), State::ForcedOpen),
        (atoms::metrics_only(), State::MetricsOnly),
    ]
}

pub fn told<'a, T>(
    env: Env<'a>,
    told: Result<Told<T, Watched>, Closed>,
    shown: impl FnOnce(T) -> Term<'a>,
) -> Answer<'a> {
    Ok(match told {
        Ok(told) => with_changes(env, &told.changes, shown(told.answer)),
        Err(_) => unknown(env),
    })
}

/// `{:changed, changes, answer}`, or the answer alone.
pub fn with_changes<'a>(env: Env<'a>, changes: &[Change], answer: Term<'a>) -> Term<'a> {
    if changes.is_empty() {
        return answer;
    }
    let changes: Vec<Term<'a>> = changes.iter().map(|change| changed(env, change)).collect();
    beam::tuple(env, &[atom(env, atoms::changed()), changes.encode(env), answer])
}

fn changed<'a>(env: Env<'a>, change: &Change) -> Term<'a> {
    beam::tuple(
        env,
        &[
            name_of(env, change.from),
            name_of(env, change.to),
            change.counts.calls.encode(env),
            change.counts.failed.encode(env),
            change.counts.slow.encode(env),
        ],
    )
}

fn name_of(env: Env<'_>, state: State) -> Term<'_> {
    let names = states();
    let (name, _) = names[state as usize];
    atom(env, name)
}

pub fn retry_in(env: Env<'_>, ns: i64) -> Term<'_> {
    if ns == NEVER {
        atom(env, atoms::never())
    } else {
        ns.unsigned_abs().div_ceil(MS as u64).encode(env)
    }
}

pub fn shown<'a>(env: Env<'a>, status: &Status) -> Term<'a> {
    let numbers = [
        (status.age.max(0) / MS) as u64,
        status.counts.calls,
        status.counts.failed,
        status.counts.slow,
        u64::from(status.minimum),
        u64::from(status.permits_left),
        u64::from(status.permits_out),
        status.refused,
    ];
    let mut terms = vec![name_of(env, status.state), retry_in(env, status.retry_in)];
    terms.extend(numbers.map(|number| number.encode(env)));
    rustler::types::tuple::make_tuple(env, &terms)
}
