//! What is asked of breakers: decodes, makes one core call, encodes.

use kantoku_core::breaker::{Admission, Ending, Glance, Moment, State, Ticket};
use rustler::{Encoder, Env, Term};

use crate::beam::{self, Pid, atom};
use crate::breaker_config;
use crate::breaker_telling::{retry_in, shown, states, told, with_changes};
use crate::breakers::{Breakers, Cell, Open};
use crate::choice::{is, one_of};
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::key::Room;
use crate::library::Words;
use crate::owner::{self, Role, Watching};
use crate::state::{Opened, state};
use crate::{atoms, shape};

// Life -----------------------------------------------------------------------------------------------------------------

/// `breaker_open(instance, name, config, now)`
pub fn open<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let config = breaker_config::decode(args[2])?;
    let time = time(args[3])?;
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let (state, mut room) = (state(), Room::new());
    let probe = room.probe(args[1], state.seed);
    let mut breakers = opened.shell.breakers.write();
    if !breakers.is_of(opened.generation) {
        return Ok(unknown(env));
    }
    let found = breakers.find(probe);
    let open = found.unwrap_or_else(|| {
        let (name, generation) = (whole_word(args[1]), state.generation());
        let open = state.breakers.take(opened.shell, name, generation);
        breakers.add(probe, open);
        open
    });
    let now = opened.shell.clock.read(time).running;
    let spent = open.cell.breaker.open(open.generation, config, now);
    if found.is_none() {
        state.breakers.show(open);
    }
    drop(breakers);
    drop(spent);
    Ok(atom(env, atoms::ok()))
}

// An immediate is said by its word.
fn whole_word(name: Term<'_>) -> Option<u64> {
    shape::is_immediate(name).then(|| beam::word(name.as_c_arg()))
}

/// `breaker_close(instance, name)`
pub fn close<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let removed = {
        let mut room = Room::new();
        let mut breakers = opened.shell.breakers.write();
        let own = breakers.is_of(opened.generation);
        own.then(|| breakers.remove(room.probe(args[1], state().seed)))
            .flatten()
    };
    match removed {
        Some(open) => {
            state().breakers.give_back(open);
            Ok(atom(env, atoms::ok()))
        }
        None => Ok(unknown(env)),
    }
}

/// The instance ends.
pub fn close_all(breakers: Breakers) {
    breakers.each().for_each(|open| state().breakers.give_back(open));
}

// A word that stands for itself is no other term's.
#[inline]
fn quickly(instance: Term<'_>, name: Term<'_>) -> Option<(Cell, Glance)> {
    let (instance, name) = (beam::word(instance.as_c_arg()), beam::word(name.as_c_arg()));
    state().breakers.find(instance, name)
}

#[inline]
pub fn find(instance: Term<'_>, name: Term<'_>) -> Option<Open> {
    match quickly(instance, name) {
        Some((cell, glance)) => Some(Open {
            cell,
            generation: glance.generation(),
        }),
        None => search(instance, name),
    }
}

#[inline(never)]
fn search(instance: Term<'_>, name: Term<'_>) -> Option<Open> {
    let Opened { shell, generation } = state().find(instance)?;
    let mut room = Room::new();
    let probe = room.probe(name, state().seed);
    let breakers = shell.breakers.read();
    breakers.find(probe).filter(|_| breakers.is_of(generation))
}

// Asking ---------------------------------------------------------------------------------------------------------------

/// `breaker_allow(instance, name)`
#[inline]
pub fn allow<'a>(env: Env<'a>, words: Words<'a>) -> Answer<'a> {
    let (instance, name) = (words.term(env, 0), words.term(env, 1));
    if let Some((_, glance)) = quickly(instance, name)
        && let Some(ticket) = glance.ticket()
    {
        return Ok(named(env, ticket));
    }
    allow_slowly(env, instance, name)
}

// A ticket has 56 bits.
#[inline]
fn named(env: Env<'_>, ticket: Ticket) -> Term<'_> {
    beam::small_integer(env, ticket.word())
}

// Apart, as what is inlined here would slow down the way above.
#[inline(never)]
fn allow_slowly<'a>(env: Env<'a>, instance: Term<'a>, name: Term<'a>) -> Answer<'a> {
    let Some(open) = find(instance, name) else {
        return Ok(unknown(env));
    };
    let glance = open.cell.breaker.glance();
    match glance.ticket() {
        Some(ticket) if glance.generation() == open.generation => Ok(named(env, ticket)),
        _ => allow_at(env, open, beam::now),
    }
}

#[cold]
fn allow_at<'a>(env: Env<'a>, open: Open, time: impl Fn() -> i64) -> Answer<'a> {
    let clock = || open.cell.read_clock(&time).running;
    let watch = || {
        let owner = Pid::caller(env)?;
        let watching = Watching {
            place: 0,
            generation: open.generation,
            pid: owner,
            role: Role::Trial(open.cell),
        };
        Some((owner.0, owner::watch(env.as_c_arg(), watching)?))
    };
    let Ok(told) = open.cell.breaker.allow(open.generation, clock, watch) else {
        return Ok(unknown(env));
    };
    let answer = match told.answer {
        Admission::Allowed(ticket) => named(env, ticket),
        Admission::Refused { retry_in } => {
            beam::tuple(env, &[atom(env, atoms::refused()), self::retry_in(env, retry_in)])
        }
    };
    Ok(with_changes(env, &told.changes, answer))
}

/// `breaker_record(instance, name, ticket, ending, duration)`
pub fn record<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let &[instance, name, ticket, ending, took] = args else {
        return Err(Refusal::BadArgument);
    };
    let ended = ended(ticket, ending, took)?;
    match find(instance, name) {
        Some(open) => record_at(env, open, ended, open.cell.read_clock(beam::now)),
        None => Ok(unknown(env)),
    }
}

type Ended = (Option<Ticket>, Ending, i64);

fn ended(ticket: Term<'_>, ending: Term<'_>, took: Term<'_>) -> Result<Ended, Refusal> {
    let ending = one_of(
        ending,
        &[
            (atoms::ok(), Ending::Success),
            (atoms::error(), Ending::Failure),
            (atoms::ignore(), Ending::Ignored),
        ],
    )?;
    let took: u64 = took.decode().map_err(|_| Refusal::BadArgument)?;
    Ok((
        self::ticket(ticket)?,
        ending,
        i64::try_from(took).unwrap_or(i64::MAX),
    ))
}

fn ticket(term: Term<'_>) -> Result<Option<Ticket>, Refusal> {
    if is(term, atoms::nil()) {
        return Ok(None);
    }
    let word: u64 = term.decode().map_err(|_| Refusal::BadArgument)?;
    Ticket::from_word(word).map(Some).ok_or(Refusal::BadArgument)
}

// What was under way while we were stopped may have failed for that, and took longer by it: it says nothing.
fn record_at<'a>(env: Env<'a>, open: Open, (ticket, ending, took): Ended, moment: Moment) -> Answer<'a> {
    let ending = if moment.spans_gap(took) {
        Ending::Ignored
    } else {
        ending
    };
    let caller = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let breaker = &open.cell.breaker;
    told(
        env,
        breaker.record(open.generation, ticket, caller.0, ending, took, moment.running),
        |counted| {
            let answer = if counted {
                atoms::r#true()
            } else {
                atoms::r#false()
            };
            atom(env, answer)
        },
    )
}

/// `breaker_ask(instance, name, command, now)`: what is asked seldom, and everything at a time that the caller says.
pub fn ask<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let command = command(args[2])?;
    let time = time(args[3])?;
    let Some(open) = find(args[0], args[1]) else {
        return Ok(unknown(env));
    };
    let (breaker, generation) = (&open.cell.breaker, open.generation);
    let now = || open.cell.read_clock(&time).running;
    match command {
        Command::Allow => allow_at(env, open, time),
        Command::Record(ended) => record_at(env, open, ended, open.cell.read_clock(time)),
        Command::Set(to) => told(env, breaker.set(generation, to, now()), |()| {
            atom(env, atoms::ok())
        }),
        Command::Look => {
            let now = now();
            told(env, breaker.look(generation, now), |due| match due {
                Some(at) => at.saturating_sub(now).max(0).encode(env),
                None => atom(env, atoms::nil()),
            })
        }
        Command::Status => told(env, breaker.status(generation, now()), |status| {
            shown(env, &status)
        }),
    }
}

enum Command {
    Allow,
    Record(Ended),
    Set(State),
    Look,
    Status,
}

fn command(term: Term<'_>) -> Result<Command, Refusal> {
    let items: Vec<Term<'_>> = beam::items(term).collect();
    match *items {
        [] if is(term, atoms::allow()) => Ok(Command::Allow),
        [] if is(term, atoms::look()) => Ok(Command::Look),
        [] if is(term, atoms::status()) => Ok(Command::Status),
        [what, to] if is(what, atoms::set()) => Ok(Command::Set(one_of(to, &states())?)),
        [what, ticket, ending, took] if is(what, atoms::record()) => {
            Ok(Command::Record(ended(ticket, ending, took)?))
        }
        _ => Err(Refusal::BadArgument),
    }
}

// A time that was said, or that of the moment in which it is asked for.
fn time(term: Term<'_>) -> Result<impl Fn() -> i64, Refusal> {
    let said: Option<i64> = if is(term, atoms::nil()) {
        None
    } else {
        Some(term.decode().map_err(|_| Refusal::BadArgument)?)
    };
    Ok(move || said.unwrap_or_else(beam::now))
}

/// `breaker_beat(instance, now)`: how much of the time was lost until now.
pub fn beat<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let time = time(args[1])?;
    match state().find(args[0]) {
        Some(opened) => Ok(opened.shell.clock.beat(time()).encode(env)),
        None => Ok(unknown(env)),
    }
}

/// Who had a permit died.
pub fn owner_died(cell: Cell, watching: Watching) {
    // Closed is as good: its permits ended with it.
    drop(cell.breaker.owner_died(watching.generation, watching.pid.0));
}
