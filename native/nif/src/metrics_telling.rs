//! What was measured, as terms.

use kantoku_core::metrics::{Distribution, Family, Kind, Series, Value};
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::beam::{atom, tuple};

/// `[{name, help, unit, kind, [{labels, value}]}]`
pub fn families<'a>(env: Env<'a>, families: &[Family]) -> Term<'a> {
    let family = |family: &Family| {
        let series = family.series.iter().map(|series| told(env, series));
        tuple(
            env,
            &[
                family.name.encode(env),
                family.help.encode(env),
                family.unit.encode(env),
                atom(env, kind(family.kind)),
                series.collect::<Vec<_>>().encode(env),
            ],
        )
    };
    families.iter().map(family).collect::<Vec<_>>().encode(env)
}

pub fn kind(kind: Kind) -> Atom {
    match kind {
        Kind::Counter => atoms::counter(),
        Kind::Gauge => atoms::gauge(),
        Kind::Histogram => atoms::histogram(),
    }
}

fn told<'a>(env: Env<'a>, series: &Series) -> Term<'a> {
    let value = match &series.value {
        Value::Counter(value) | Value::Gauge(value) => value.encode(env),
        Value::Histogram(distribution) => spread(env, distribution),
    };
    tuple(env, &[series.labels.encode(env), value])
}

// `{buckets, above, sum, count}`
fn spread<'a>(env: Env<'a>, distribution: &Distribution) -> Term<'a> {
    (
        distribution.buckets.as_slice(),
        distribution.above,
        distribution.sum,
        distribution.count,
    )
        .encode(env)
}
