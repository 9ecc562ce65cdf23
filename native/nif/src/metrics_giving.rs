//! What others measured and say as terms: the opposite of `metrics_telling`.

use kantoku_core::metrics::{Distribution, Family, Kind, Series, Value};
use rustler::{Decoder, Term};

use crate::atoms;
use crate::beam;
use crate::choice::{is, one_of};
use crate::guard::Refusal;

type Told<T> = Result<T, Refusal>;

fn decoded<'a, T: Decoder<'a>>(term: Term<'a>) -> Told<T> {
    term.decode().map_err(|_| Refusal::BadArgument)
}

/// `[{name, help, unit, kind, [{labels, value}]}]`
pub fn families(term: Term<'_>) -> Told<Vec<Family>> {
    let told: Vec<Term<'_>> = decoded(term)?;
    told.into_iter().map(family).collect()
}

fn family(term: Term<'_>) -> Told<Family> {
    let (name, help, unit, kind, series): (String, String, Term<'_>, Term<'_>, Vec<Term<'_>>) =
        decoded(term)?;
    let kinds = [
        (atoms::counter(), Kind::Counter),
        (atoms::gauge(), Kind::Gauge),
        (atoms::histogram(), Kind::Histogram),
    ];
    let kind = one_of(kind, &kinds)?;
    let series = series.into_iter().map(|told| one(kind, told));
    Ok(Family {
        name,
        help,
        unit: self::unit(unit)?,
        kind,
        series: series.collect::<Told<_>>()?,
    })
}

fn unit(term: Term<'_>) -> Told<Option<&'static str>> {
    if beam::is_atom(term) {
        return if is(term, atoms::nil()) {
            Ok(None)
        } else {
            Err(Refusal::BadArgument)
        };
    }
    match decoded(term)? {
        "bytes" => Ok(Some("bytes")),
        "ratio" => Ok(Some("ratio")),
        "seconds" => Ok(Some("seconds")),
        _ => Err(Refusal::BadArgument),
    }
}

fn one(kind: Kind, term: Term<'_>) -> Told<Series> {
    let (labels, value): (Vec<(String, String)>, Term<'_>) = decoded(term)?;
    let value = match kind {
        Kind::Counter => Value::Counter(decoded(value)?),
        Kind::Gauge => Value::Gauge(decoded(value)?),
        Kind::Histogram => Value::Histogram(spread(value)?),
    };
    Ok(Series { labels, value })
}

// `{buckets, above, sum, count}`
fn spread(term: Term<'_>) -> Told<Distribution> {
    let (buckets, above, sum, count): (Vec<(f64, u64)>, u64, f64, u64) = decoded(term)?;
    Ok(Distribution {
        buckets,
        above,
        sum,
        count,
        exemplars: Vec::new(),
    })
}
