//! Metrics: decodes, makes one core call, encodes.
//!
//! An instance's metrics and each of their series are resources: whoever holds one may use it for as long as he likes, and it goes with
//! the last who does.

use kantoku_core::metrics::{
    Description, Exemplar, Kind, Limits, MOST, Metrics, Owned, Recorder, Refusal as Refused, Source,
};
use kantoku_core::sync::Arc;
use rustler::{Encoder, Env, Term};

use crate::beam::{self, atom, tuple};
use crate::choice::{is, one_of};
use crate::guard::{Answer, Refusal};
use crate::library::Words;
use crate::metrics_reading::{self as reading, Everything, Reading};
use crate::metrics_resource::{self as resource, Held};
use crate::state::state;
use crate::{atoms, metrics_telling as telling};

pub type Collection = Metrics<Reading>;

fn collection<'a>(term: &'a Term<'_>) -> Result<&'a Arc<Collection>, Refusal> {
    match resource::held(term) {
        Some(Held::Collection(metrics)) => Ok(metrics),
        _ => Err(Refusal::BadArgument),
    }
}

#[inline]
fn series<'a>(term: &'a Term<'_>) -> Result<&'a Recorder, Refusal> {
    match resource::held(term) {
        Some(Held::Series(series)) => Ok(series),
        _ => Err(Refusal::BadArgument),
    }
}

// Recording ------------------------------------------------------------------------------------------------------------

/// What was given to be recorded: whole as long as a float has each number, so that thousands of them come to what a word has room for.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(u64),
    Other(f64),
}

impl Number {
    #[inline]
    fn of(term: Term<'_>) -> Result<Self, Refusal> {
        match beam::small(term).map(u64::try_from) {
            Some(Ok(whole)) if whole <= MOST => Ok(Number::Whole(whole)),
            Some(_) | None => Self::other(term),
        }
    }

    fn other(term: Term<'_>) -> Result<Self, Refusal> {
        let float = term.decode::<f64>().ok();
        let number = float.or_else(|| term.decode::<i64>().ok().map(|whole| whole as f64));
        // No series takes what is no number for a float.
        let beyond = || term.is_number().then_some(f64::NAN);
        number
            .or_else(beyond)
            .map(Number::Other)
            .ok_or(Refusal::BadArgument)
    }

    fn float(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Other(float) => float,
        }
    }
}

fn done(env: Env<'_>, done: bool) -> Answer<'_> {
    Ok(atom(env, if done { atoms::ok() } else { atoms::refused() }))
}

/// `metric_add(series, number)`: `refused` if the series does not take that.
#[inline]
pub fn add<'a>(env: Env<'a>, words: Words<'a>) -> Answer<'a> {
    let (held, number) = (words.term(env, 0), Number::of(words.term(env, 1))?);
    let added = match (&series(&held)?.own, number) {
        (Owned::Counter(counter), Number::Whole(more)) => {
            counter.add(more);
            true
        }
        (Owned::Counter(counter), Number::Other(more)) if more >= 0.0 => counter.add_part(more),
        (Owned::Gauge(gauge), more) => gauge.add(more.float()),
        _ => false,
    };
    done(env, added)
}

/// `metric_set(series, number)`
#[inline]
pub fn set<'a>(env: Env<'a>, words: Words<'a>) -> Answer<'a> {
    let (held, number) = (words.term(env, 0), Number::of(words.term(env, 1))?);
    let (series, value) = (series(&held)?, number.float());
    match &series.own {
        Owned::Gauge(gauge) if value.is_finite() => {
            gauge.set(value);
            done(env, true)
        }
        _ => done(env, false),
    }
}

/// `metric_observe(series, number)`
#[inline]
pub fn observe<'a>(env: Env<'a>, words: Words<'a>) -> Answer<'a> {
    let (held, number) = (words.term(env, 0), Number::of(words.term(env, 1))?.float());
    let series = series(&held)?;
    match &series.own {
        // What is beyond is cut off (`MOST`).
        Owned::Histogram(histogram) if number >= 0.0 => {
            histogram.record((number * series.ticks + 0.5) as u64);
            done(env, true)
        }
        _ => done(env, false),
    }
}

/// `metric_quantile(series, share)`: `nil` of nothing, or of what is no histogram.
pub fn quantile_of<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let share = Number::of(args[1])?.float();
    Ok(or_nil(env, series(&args[0])?.quantile(share)))
}

fn or_nil(env: Env<'_>, found: Option<f64>) -> Term<'_> {
    found.map_or_else(|| atom(env, atoms::nil()), |found| found.encode(env))
}

// Families -------------------------------------------------------------------------------------------------------------

/// `metrics_open(common, series, bytes)`: a collection for whoever holds it.
pub fn open<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let common: Vec<(String, String)> = args[0].decode().map_err(|_| Refusal::BadArgument)?;
    let limits = Limits {
        series: args[1].decode().map_err(|_| Refusal::BadArgument)?,
        bytes: args[2].decode().map_err(|_| Refusal::BadArgument)?,
    };
    let metrics = Arc::new(Metrics::new(common, limits));
    let mut all = state().metrics.lock();
    all.retain(|kept| kept.strong_count() > 0);
    all.push(Arc::downgrade(&metrics));
    drop(all);
    resource::give(env, Held::Collection(metrics)).ok_or(Refusal::BadArgument)
}

/// `metrics_declare(metrics, name, help, {kind, unit, ticks}, labels)`
pub fn declare<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let metrics = collection(&args[0])?;
    let name = text(args[1])?;
    let help = text(args[2])?;
    let shape: Vec<Term<'a>> = beam::items(args[3]).collect();
    let &[kind, unit, ticks] = shape.as_slice() else {
        return Err(Refusal::BadArgument);
    };
    let ticks: f64 = ticks.decode().map_err(|_| Refusal::BadArgument)?;
    if ticks <= 0.0 {
        return Err(Refusal::BadArgument);
    }
    let description = Description {
        name,
        help,
        unit: self::unit(unit)?,
        kind: self::kind(kind)?,
        labels: args[4].decode().map_err(|_| Refusal::BadArgument)?,
        ticks,
    };
    match metrics.declare(description) {
        Ok(()) => Ok(atom(env, atoms::ok())),
        Err(refused) => Ok(refusal(env, &refused)),
    }
}

fn text(term: Term<'_>) -> Result<String, Refusal> {
    term.decode().map_err(|_| Refusal::BadArgument)
}

fn kind(term: Term<'_>) -> Result<Kind, Refusal> {
    one_of(
        term,
        &[
            (atoms::counter(), Kind::Counter),
            (atoms::gauge(), Kind::Gauge),
            (atoms::histogram(), Kind::Histogram),
        ],
    )
}

// The plural, as names have it.
fn unit(term: Term<'_>) -> Result<Option<&'static str>, Refusal> {
    if is(term, atoms::nil()) {
        return Ok(None);
    }
    let known = [
        (atoms::seconds(), "seconds"),
        (atoms::bytes(), "bytes"),
        (atoms::ratio(), "ratio"),
    ];
    one_of(term, &known).map(Some)
}

fn values<'a>(term: Term<'a>) -> Result<Vec<&'a str>, Refusal> {
    term.decode().map_err(|_| Refusal::BadArgument)
}

/// `metrics_series(metrics, name, values)`
pub fn series_of<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let metrics = collection(&args[0])?;
    let found = metrics.series(
        args[1].decode().map_err(|_| Refusal::BadArgument)?,
        &values(args[2])?,
    );
    let (series, folded) = match found {
        Ok(found) => found,
        Err(refused) => return Ok(refusal(env, &refused)),
    };
    let whose = if folded { atoms::other() } else { atoms::ok() };
    let held = resource::give(env, Held::Series(series)).ok_or(Refusal::BadArgument)?;
    Ok(tuple(env, &[atom(env, whose), held]))
}

/// `metrics_bind(metrics, name, values, reading)`
pub fn bind<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let metrics = collection(&args[0])?;
    let name = args[1].decode().map_err(|_| Refusal::BadArgument)?;
    let Some(reading) = reading::decode(args[3]) else {
        return Ok((atoms::error(), atoms::unknown()).encode(env));
    };
    Ok(
        match metrics.bind(name, &values(args[2])?, reading, reading::alive) {
            Ok(true) => atom(env, atoms::ok()),
            Ok(false) => atom(env, atoms::other()),
            Err(refused) => refusal(env, &refused),
        },
    )
}

/// `metrics_unbind(metrics, name, values, reading)`, while there still is what was read.
pub fn unbind<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let metrics = collection(&args[0])?;
    let name = args[1].decode().map_err(|_| Refusal::BadArgument)?;
    let Some(reading) = reading::decode(args[3]) else {
        return Ok((atoms::error(), atoms::unknown()).encode(env));
    };
    let last = reading::Look::of(metrics).read(&reading);
    Ok(match metrics.unbind(name, &values(args[2])?, &reading, last) {
        Ok(true) => atom(env, atoms::ok()),
        Ok(false) => (atoms::error(), atoms::unknown()).encode(env),
        Err(refused) => refusal(env, &refused),
    })
}

/// `metrics_exemplar(metrics, name, values, value, at, {trace_id, span_id})`: `at` in seconds since 1970, ids as text.
pub fn exemplar<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let metrics = collection(&args[0])?;
    let name = args[1].decode().map_err(|_| Refusal::BadArgument)?;
    let value = Number::of(args[3])?.float();
    let at = Number::of(args[4])?.float();
    let (trace, span): (&str, &str) = args[5].decode().map_err(|_| Refusal::BadArgument)?;
    if !(value >= 0.0 && value.is_finite() && at.is_finite())
        || trace.len() > LONGEST_ID
        || span.len() > LONGEST_ID
    {
        return Err(Refusal::BadArgument);
    }
    let labels = [("trace_id", trace), ("span_id", span)];
    let labels = labels.map(|(name, id)| (name.to_owned(), id.to_owned())).to_vec();
    let exemplar = Exemplar { value, at, labels };
    Ok(match metrics.exemplify(name, &values(args[2])?, exemplar) {
        Ok(true) => atom(env, atoms::ok()),
        Ok(false) => atom(env, atoms::other()),
        Err(refused) => refusal(env, &refused),
    })
}

const LONGEST_ID: usize = 32;

fn refusal<'a>(env: Env<'a>, refused: &Refused) -> Term<'a> {
    let why = match refused {
        Refused::Unknown { .. } => atom(env, atoms::unknown()),
        Refused::Bound { .. } => atom(env, atoms::bound()),
        Refused::Different { kind, labels, .. } => tuple(
            env,
            &[
                atom(env, atoms::different()),
                atom(env, telling::kind(*kind)),
                labels.encode(env),
            ],
        ),
        Refused::Labels { expected, .. } => (atoms::labels(), expected).encode(env),
        Refused::Full { limit } => (atoms::limit(), limit).encode(env),
    };
    tuple(env, &[atom(env, atoms::error()), why])
}

// Looking --------------------------------------------------------------------------------------------------------------

/// `metrics_snapshot(metrics)`
pub fn snapshot<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    Ok(telling::families(env, &reading::families(collection(&args[0])?)))
}

/// `metrics_quantile(metrics, name, values, share)`: `nil` of nothing, or of what is no histogram.
pub fn quantile_at<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let metrics = collection(&args[0])?;
    let name = args[1].decode().map_err(|_| Refusal::BadArgument)?;
    let share = Number::of(args[3])?.float();
    let mut look = reading::Look::of(metrics);
    let found = metrics.quantile(name, &values(args[2])?, share, |reading| look.read(reading));
    Ok(match found {
        Ok(found) => tuple(env, &[atom(env, atoms::ok()), or_nil(env, found)]),
        Err(refused) => refusal(env, &refused),
    })
}

/// `metrics_everything()`: of all instances of this VM that are kept here.
pub fn everything<'a>(env: Env<'a>, _args: &[Term<'a>]) -> Answer<'a> {
    Ok(telling::families(env, &Everything.families()))
}

/// `metrics_bytes(metrics)`
pub fn bytes<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    Ok(collection(&args[0])?.bytes().encode(env))
}
