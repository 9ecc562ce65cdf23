//! What is asked of finished spans: decodes, makes one core call, encodes. And from where exporters take them.

use std::sync::Arc;

use kantoku_core::trace::{
    BATCH, Event, Kind, LeftOut, Limits, Link, Offered, Pair, Ring, Span, Status, Supply, TraceId, Value,
};
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, atom};
use crate::exporting;
use crate::guard::{Answer, Refusal};
use crate::instance::unknown;
use crate::state::{self, Opened, state};
use crate::trace_guests::Guest;

// `lib/kantoku/trace/finished.ex` cuts to 128 of a user's, beside which there are ours; what is more is none of its making.
const MOST_OF_A_KIND: usize = 160;
const LONGEST_TEXT: usize = 1 << 16;

// So many are given in one answer.
const MOST_TAKEN: usize = 64;

// Where the spans of an instance are: in its own place, or, if the other engine keeps it, where it is a guest.
enum Place {
    Own(Opened),
    Guest(Arc<Guest>),
}

impl Place {
    fn of(name: u64) -> Option<Self> {
        let guest = || state().guests.find(name).map(Place::Guest);
        state().find_word(name).map(Place::Own).or_else(guest)
    }

    // And the generation that it is open for.
    fn ring(&self) -> (&Ring, u32) {
        match self {
            Place::Own(opened) => (&opened.shell.spans, opened.generation),
            Place::Guest(guest) => (&guest.ring, guest.number),
        }
    }
}

/// `trace_open(instance, most, most_bytes)`
pub fn open<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let limits = limits(args)?;
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    opened.shell.spans.open(opened.generation, limits);
    Ok(atom(env, atoms::ok()))
}

/// `trace_host(instance, most, most_bytes)`: of one that the other engine keeps; its number, for `trace_give_up`.
pub fn host<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (name, limits) = (name(args[0])?, limits(args)?);
    let number = state().generation();
    state().guests.host(name, number, limits);
    Ok(number.encode(env))
}

/// `trace_give_up(instance, number)`, or `nil` for whoever has the name.
pub fn give_up<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    state().guests.give_up(name(args[0])?, decoded(args[1])?);
    Ok(atom(env, atoms::ok()))
}

fn name(instance: Term<'_>) -> Result<u64, Refusal> {
    let name: rustler::Atom = decoded(instance)?;
    Ok(state::name_word(name))
}

fn limits(args: &[Term<'_>]) -> Result<Limits, Refusal> {
    Ok(Limits {
        spans: positive(args[1])?,
        bytes: positive(args[2])?,
    })
}

/// `trace_put(instance, span)`. One that cannot be read is dropped and counted: whoever ends a span has done their work, and is not to fail by it.
pub fn put<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    on(env, args[0], |ring, generation| {
        if !ring.is_open(generation) {
            return Ok(atom(env, atoms::closed()));
        }
        let offered = match span(args[1]) {
            Ok(span) => ring.offer(generation, span),
            Err(_unreadable) => ring.refuse(generation),
        };
        let answer = match offered {
            Offered::Kept(held) => {
                tell_of(held);
                atoms::ok()
            }
            Offered::Dropped => atoms::dropped(),
            Offered::Closed => atoms::closed(),
        };
        Ok(atom(env, answer))
    })
}

// Once in so many, and again if nobody took them by then.
fn tell_of(held: usize) {
    if held.is_multiple_of(BATCH)
        && let Some(exports) = exporting::running()
    {
        exports.wake();
    }
}

/// `trace_take(instance, most)`
pub fn take<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let most = positive(args[1])?.min(MOST_TAKEN);
    on(env, args[0], |ring, generation| {
        let taken = ring.drain(generation, most);
        let shown: Vec<Term<'a>> = taken.iter().map(|span| show(env, span)).collect();
        Ok(shown.encode(env))
    })
}

/// `trace_counts(instance)`
pub fn counts<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    on(env, args[0], |ring, _generation| {
        let counts = ring.counts();
        let pairs = [
            (atoms::held(), counts.held as u64),
            (atoms::bytes(), counts.bytes as u64),
            (atoms::kept(), counts.kept),
            (atoms::dropped(), counts.dropped),
            (atoms::taken(), counts.taken),
        ];
        let pairs: Vec<(Term<'a>, Term<'a>)> = pairs
            .iter()
            .map(|(name, count)| (name.to_term(env), count.encode(env)))
            .collect();
        Term::map_from_pairs(env, &pairs).map_err(|_| Refusal::BadArgument)
    })
}

fn on<'a>(env: Env<'a>, instance: Term<'a>, act: impl FnOnce(&Ring, u32) -> Answer<'a>) -> Answer<'a> {
    // Only atoms have a place, and an atom's word is no other term's.
    let Some(place) = Place::of(beam::word(instance.as_c_arg())) else {
        return Ok(unknown(env));
    };
    let (ring, generation) = place.ring();
    act(ring, generation)
}

/// The spans of the instance of a name (an atom's word), whichever has it.
#[derive(Clone, Copy, Debug)]
pub struct Spans(u64);

impl Spans {
    /// Those of an instance that has them here.
    pub fn of(instance: Term<'_>) -> Option<Self> {
        let name = beam::word(instance.as_c_arg());
        Place::of(name).map(|_place| Self(name))
    }
}

impl Supply for Spans {
    fn held(&self) -> usize {
        Place::of(self.0).map_or(0, |place| place.ring().0.counts().held)
    }

    fn take(&self, most: usize) -> Vec<Span> {
        Place::of(self.0).map_or_else(Vec::new, |place| {
            let (ring, generation) = place.ring();
            ring.drain(generation, most)
        })
    }
}

// In ------------------------------------------------------------------------------------------------------------------

fn positive(term: Term<'_>) -> Result<usize, Refusal> {
    match decoded(term)? {
        0 => Err(Refusal::BadArgument),
        count => Ok(count),
    }
}

fn decoded<'a, T: rustler::Decoder<'a>>(term: Term<'a>) -> Result<T, Refusal> {
    term.decode().map_err(|_| Refusal::BadArgument)
}

fn items<'a, const COUNT: usize>(term: Term<'a>) -> Result<[Term<'a>; COUNT], Refusal> {
    let items: Vec<Term<'a>> = beam::items(term).take(COUNT + 1).collect();
    items.try_into().map_err(|_| Refusal::BadArgument)
}

fn span(term: Term<'_>) -> Result<Span, Refusal> {
    let [
        trace,
        span,
        parent,
        flags,
        state,
        name,
        kind,
        began,
        ended,
        status,
        attributes,
        events,
        links,
        left_out,
    ] = items::<14>(term)?;
    Ok(Span {
        trace: self::trace(trace)?,
        span: decoded(span)?,
        parent: decoded(parent)?,
        flags: decoded(flags)?,
        state: text(state)?,
        name: text(name)?,
        kind: numbered(kind, &Kind::ALL)?,
        began: decoded(began)?,
        ended: decoded(ended)?,
        status: numbered(status, &Status::ALL)?,
        attributes: list(attributes, pair)?,
        events: list(events, event)?,
        links: list(links, link)?,
        left_out: self::left_out(left_out)?,
    })
}

fn trace(term: Term<'_>) -> Result<TraceId, Refusal> {
    let (upper, lower): (u64, u64) = decoded(term)?;
    Ok(TraceId(u128::from(upper) << 64 | u128::from(lower)))
}

fn numbered<V: Copy>(term: Term<'_>, all: &[V]) -> Result<V, Refusal> {
    let number: usize = decoded(term)?;
    all.get(number).copied().ok_or(Refusal::BadArgument)
}

fn text(term: Term<'_>) -> Result<String, Refusal> {
    let bytes = beam::bytes(&term).ok_or(Refusal::BadArgument)?;
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::BadArgument)?;
    if text.len() <= LONGEST_TEXT {
        Ok(text.to_owned())
    } else {
        Err(Refusal::BadArgument)
    }
}

fn list<'a, V>(term: Term<'a>, each: fn(Term<'a>) -> Result<V, Refusal>) -> Result<Vec<V>, Refusal> {
    let (mut list, mut rest) = (Vec::new(), term);
    while let Ok((head, tail)) = rest.list_get_cell() {
        if list.len() == MOST_OF_A_KIND {
            return Err(Refusal::BadArgument);
        }
        list.push(each(head)?);
        rest = tail;
    }
    if rest.is_empty_list() {
        Ok(list)
    } else {
        Err(Refusal::BadArgument)
    }
}

fn pair(term: Term<'_>) -> Result<Pair, Refusal> {
    let [name, value] = items::<2>(term)?;
    Ok(Pair {
        name: text(name)?,
        value: self::value(value)?,
    })
}

fn value(term: Term<'_>) -> Result<Value, Refusal> {
    if beam::is_atom(term) {
        return decoded(term).map(Value::Bool);
    }
    if let Ok(integer) = term.decode() {
        return Ok(Value::Integer(integer));
    }
    if let Ok(float) = term.decode() {
        return Ok(Value::Float(float));
    }
    text(term).map(Value::Text)
}

fn event(term: Term<'_>) -> Result<Event, Refusal> {
    let [at, name, attributes] = items::<3>(term)?;
    Ok(Event {
        at: decoded(at)?,
        name: text(name)?,
        attributes: list(attributes, pair)?,
    })
}

fn link(term: Term<'_>) -> Result<Link, Refusal> {
    let [trace, span, flags, state] = items::<4>(term)?;
    Ok(Link {
        trace: self::trace(trace)?,
        span: decoded(span)?,
        flags: decoded(flags)?,
        state: text(state)?,
    })
}

fn left_out(term: Term<'_>) -> Result<LeftOut, Refusal> {
    let (attributes, events, links) = decoded(term)?;
    Ok(LeftOut {
        attributes,
        events,
        links,
    })
}

// Out -----------------------------------------------------------------------------------------------------------------

fn show<'a>(env: Env<'a>, span: &Span) -> Term<'a> {
    let items = [
        show_trace(env, span.trace),
        span.span.encode(env),
        span.parent.encode(env),
        span.flags.encode(env),
        span.state.encode(env),
        span.name.encode(env),
        (span.kind as u8).encode(env),
        span.began.encode(env),
        span.ended.encode(env),
        (span.status as u8).encode(env),
        show_pairs(env, &span.attributes),
        shown(env, &span.events, |event| {
            (event.at, &event.name, show_pairs(env, &event.attributes)).encode(env)
        }),
        shown(env, &span.links, |link| {
            (show_trace(env, link.trace), link.span, link.flags, &link.state).encode(env)
        }),
        show_left_out(env, span.left_out),
    ];
    rustler::types::tuple::make_tuple(env, &items)
}

fn show_left_out(env: Env<'_>, left_out: LeftOut) -> Term<'_> {
    (left_out.attributes, left_out.events, left_out.links).encode(env)
}

fn show_trace(env: Env<'_>, TraceId(id): TraceId) -> Term<'_> {
    ((id >> 64) as u64, id as u64).encode(env)
}

fn show_pairs<'a>(env: Env<'a>, pairs: &[Pair]) -> Term<'a> {
    shown(env, pairs, |Pair { name, value }| {
        let value = match value {
            Value::Text(text) => text.encode(env),
            Value::Integer(integer) => integer.encode(env),
            Value::Float(float) => float.encode(env),
            Value::Bool(bool) => bool.encode(env),
        };
        (name, value).encode(env)
    })
}

fn shown<'a, V>(env: Env<'a>, all: &[V], show: impl Fn(&V) -> Term<'a>) -> Term<'a> {
    all.iter().map(show).collect::<Vec<Term<'a>>>().encode(env)
}
