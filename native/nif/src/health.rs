//! What is asked of health: decodes, makes one core call, encodes.

use kantoku_core::health::{
    Absent, AtWork, Change, Closed, Handle, Kind, Outcome, Pulse, Rule, STATES, Spec, State, Status,
    Thresholds, Told, Verdict,
};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, Pid, atom};
use crate::choice::{is, one_of};
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::state::{Opened, state};

/// `health_add(instance, parent, spec, pid, now)`
pub fn add<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let parent = if is(args[1], atoms::nil()) {
        None
    } else {
        Some(handle(args[1])?)
    };
    let spec = spec(args[2])?;
    let process = if is(args[3], atoms::nil()) {
        0
    } else {
        Pid::of(args[3]).ok_or(Refusal::BadArgument)?.0
    };
    let now = now(args[4])?;
    on(env, args[0], |opened| {
        let health = &opened.shell.health;
        let added = health.add(opened.generation, parent, spec, process, now);
        told(env, added, |handle| (atoms::ok(), handle.word()).encode(env))
    })
}

/// `health_change(instance, node, spec, now)`
pub fn change<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (node, spec, now) = (handle(args[1])?, spec(args[2])?, now(args[3])?);
    on(env, args[0], |opened| {
        let changed = opened.shell.health.change(opened.generation, node, spec, now);
        told(env, changed, |()| atom(env, atoms::ok()))
    })
}

/// `health_remove(instance, node, now)`
pub fn remove<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (node, now) = (handle(args[1])?, now(args[2])?);
    on(env, args[0], |opened| {
        let removed = opened.shell.health.remove(opened.generation, node, now);
        told(env, removed, |removed| {
            atom(env, if removed { atoms::ok() } else { atoms::busy() })
        })
    })
}

/// `health_clear(instance)`
pub fn clear<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    on(env, args[0], |opened| {
        let cleared = opened.shell.health.clear(opened.generation);
        cleared.map_or_else(|Closed| unknown(env), |()| atom(env, atoms::ok()))
    })
}

/// `health_report(instance, node, probe, outcome, now)`
pub fn report<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (node, now) = (handle(args[1])?, now(args[4])?);
    let probe: u32 = decoded(args[2])?;
    let outcomes = [
        (atoms::success(), Outcome::Success),
        (atoms::failure(), Outcome::Failure),
        (atoms::unknown(), Outcome::Unknown),
    ];
    let outcome = one_of(args[3], &outcomes)?;
    on(env, args[0], |opened| {
        let health = &opened.shell.health;
        let reported = health.report(opened.generation, node, probe, outcome, now);
        told(env, reported, |(before, after)| {
            (verdict(before), verdict(after)).encode(env)
        })
    })
}

/// `health_status(instance, node, now)`
pub fn status<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (node, now) = (handle(args[1])?, now(args[2])?);
    on(env, args[0], |opened| {
        let health = &opened.shell.health;
        match health.status(opened.generation, node) {
            Ok(Ok(status)) => shown(env, &status, health.pulses.read(node, now), now),
            Ok(Err(Absent)) => atom(env, atoms::none()),
            Err(Closed) => unknown(env),
        }
    })
}

/// `health_beat(instance, agent, limit)`: at work from now on, for so many ms (0: nobody knows), or done (-1).
#[inline]
pub fn beat<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(Opened { shell, .. }) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let (agent, limit): (Handle, i64) = (handle(args[1])?, decoded(args[2])?);
    if limit < 0 {
        shell.health.pulses.idle(agent);
    } else {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let declared = (limit > 0).then_some(limit);
        shell.health.pulses.busy(agent, declared, beam::now());
    }
    Ok(atom(env, atoms::ok()))
}

/// `health_put_off(instance, agent, left)`: what it is at may take so many ms from now on (`nil`: nobody knows); what was left.
pub fn put_off<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let agent = handle(args[1])?;
    let left: Option<i64> = if is(args[2], atoms::nil()) {
        None
    } else {
        Some(decoded(args[2])?)
    };
    on(env, args[0], |opened| {
        let pulses = &opened.shell.health.pulses;
        optional(env, pulses.put_off(agent, beam::now(), |_| left))
    })
}

/// `health_look(instance, cursor, limit, least, now)`
pub fn look<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (from, most): (u32, u32) = (decoded(args[1])?, decoded(args[2])?);
    let (least, now): (i64, i64) = (decoded(args[3])?, now(args[4])?);
    if most == 0 {
        return Err(Refusal::BadArgument);
    }
    on(env, args[0], |opened| {
        match opened
            .shell
            .health
            .look(opened.generation, from, most, least, now)
        {
            Ok((found, next)) => {
                let found: Vec<Term<'a>> = found.iter().map(|each| at_work(env, each)).collect();
                let next = next.map_or_else(|| atom(env, atoms::done()), |next| next.encode(env));
                (found, next).encode(env)
            }
            Err(Closed) => unknown(env),
        }
    })
}

fn at_work<'a>(env: Env<'a>, found: &AtWork) -> Term<'a> {
    let process = if found.process == 0 {
        atom(env, atoms::nil())
    } else {
        Pid(found.process).term(env)
    };
    (
        found.agent.word(),
        process,
        found.since,
        optional(env, found.over),
    )
        .encode(env)
}

// Arguments ------------------------------------------------------------------------------------------------------------

fn on<'a>(env: Env<'a>, instance: Term<'a>, act: impl FnOnce(Opened) -> Term<'a>) -> Answer<'a> {
    Ok(state().find(instance).map_or_else(|| unknown(env), act))
}

fn decoded<'a, T: rustler::Decoder<'a>>(term: Term<'a>) -> Result<T, Refusal> {
    term.decode().map_err(|_| Refusal::BadArgument)
}

#[inline]
fn handle(term: Term<'_>) -> Result<Handle, Refusal> {
    Handle::from_word(decoded(term)?).ok_or(Refusal::BadArgument)
}

fn spec(term: Term<'_>) -> Result<Spec, Refusal> {
    let items: Vec<Term<'_>> = beam::items(term).collect();
    match *items {
        [what, rule] if is(what, atoms::group()) => Ok(Spec::Group(self::rule(rule)?)),
        [what, probes] if is(what, atoms::agent()) => {
            let probes: Vec<Term<'_>> = decoded(probes)?;
            let probes: Vec<Thresholds> = probes.into_iter().map(thresholds).collect::<Result<_, _>>()?;
            Ok(Spec::Agent(probes))
        }
        _ => Err(Refusal::BadArgument),
    }
}

fn rule(term: Term<'_>) -> Result<Rule, Refusal> {
    if is(term, atoms::worst()) {
        return Ok(Rule::Worst);
    }
    match decoded::<u8>(term)? {
        percent @ 0..=100 => Ok(Rule::Quorum(percent)),
        _ => Err(Refusal::BadArgument),
    }
}

fn thresholds(term: Term<'_>) -> Result<Thresholds, Refusal> {
    let (id, kind, success, failure): (u32, Term<'_>, u32, u32) = decoded(term)?;
    if success == 0 || failure == 0 {
        return Err(Refusal::BadArgument);
    }
    Ok(Thresholds {
        id,
        kind: one_of(kind, &kinds())?,
        success,
        failure,
    })
}

fn now(term: Term<'_>) -> Result<i64, Refusal> {
    if is(term, atoms::nil()) {
        Ok(beam::now())
    } else {
        decoded(term)
    }
}

// Words ----------------------------------------------------------------------------------------------------------------

fn kinds() -> [(Atom, Kind); 4] {
    [
        (atoms::startup(), Kind::Startup),
        (atoms::liveness(), Kind::Liveness),
        (atoms::readiness(), Kind::Readiness),
        (atoms::custom(), Kind::Custom),
    ]
}

fn verdict(verdict: Verdict) -> Atom {
    match verdict {
        Verdict::Pending => atoms::pending(),
        Verdict::Passing => atoms::passing(),
        Verdict::Failing => atoms::failing(),
        Verdict::Unknown => atoms::unknown(),
    }
}

fn state_name(state: State) -> Atom {
    match state {
        State::Healthy => atoms::healthy(),
        State::Degraded => atoms::degraded(),
        State::Starting => atoms::starting(),
        State::Unknown => atoms::unknown(),
        State::Unhealthy => atoms::unhealthy(),
    }
}

// Answers --------------------------------------------------------------------------------------------------------------

fn told<'a, T>(
    env: Env<'a>,
    told: Result<Told<Result<T, Absent>>, Closed>,
    shown: impl FnOnce(T) -> Term<'a>,
) -> Term<'a> {
    match told {
        Err(Closed) => unknown(env),
        Ok(told) => with_changes(
            env,
            &told.changes,
            told.answer.map_or_else(|Absent| atom(env, atoms::none()), shown),
        ),
    }
}

// `{:changed, changes, answer}`, or the answer alone.
fn with_changes<'a>(env: Env<'a>, changes: &[Change], answer: Term<'a>) -> Term<'a> {
    if changes.is_empty() {
        return answer;
    }
    let changes: Vec<(u64, Atom, Atom)> = changes
        .iter()
        .map(|change| (change.node.word(), state_name(change.from), state_name(change.to)))
        .collect();
    (atoms::changed(), changes, answer).encode(env)
}

fn optional(env: Env<'_>, number: Option<i64>) -> Term<'_> {
    number.map_or_else(|| atom(env, atoms::nil()), |number| number.encode(env))
}

// `{state, age, counts, probes, pulse}`; ages are in ns.
fn shown<'a>(env: Env<'a>, status: &Status, pulse: Pulse, now: i64) -> Term<'a> {
    let counts: Vec<u32> = STATES.map(|state| status.counts.of(state)).to_vec();
    let probes: Vec<(u32, Atom, i64)> = status
        .probes
        .iter()
        .map(|&(thresholds, found, since)| (thresholds.id, verdict(found), now.saturating_sub(since)))
        .collect();
    let pulse = match pulse {
        Pulse::None => atom(env, atoms::none()),
        Pulse::Idle => atom(env, atoms::idle()),
        Pulse::Busy { since, over } => (since, optional(env, over)).encode(env),
    };
    (
        state_name(status.state),
        now.saturating_sub(status.since),
        counts,
        probes,
        pulse,
    )
        .encode(env)
}
