//! What is not recorded but read when somebody looks: counts of pools, breakers and spans, and native bytes. From any thread, without a scheduler.

use std::collections::HashMap;

use kantoku_core::breaker::State;
use kantoku_core::metrics::{Distribution, Family, Source, Value, join};
use kantoku_core::pool::{Measures, Status};
use kantoku_core::sync::Arc;
use rustler::{Atom, Term};

use crate::atoms;
use crate::beam;
use crate::breaker;
use crate::breakers;
use crate::choice::{is, one_of};
use crate::metrics::Collection;
use crate::pool_life;
use crate::pools::Open;
use crate::state::{Opened, state};
use crate::store;

/// Where to read. Names are words of atoms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    Pool {
        instance: u64,
        pool: u64,
        figure: Figure,
    },
    Breaker {
        open: breakers::Open,
        figure: Count,
    },
    Bytes {
        instance: u64,
        of: Of,
    },
    Spans {
        instance: u64,
        outcome: Outcome,
    },
}

/// What becomes of a finished span; all that are taken were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Dropped,
    Kept,
    Taken,
}

/// Of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Failed,
    In(State),
    Refused,
    Slow,
    Succeeded,
}

/// Of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Arrived,
    Cancelled,
    Drained,
    Dropped,
    Ejected,
    Expired,
    Failed,
    GivenUp,
    Leaving,
    Lost,
    NotReady,
    Ongoing,
    Quota,
    Queue,
    QueueFull,
    Ready,
    Requests,
    Returned,
    Succeeded,
    Utilization,
    Waits,
}

/// Who has native bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Breakers,
    Health,
    Index,
    Metrics,
    Names,
    Owners,
    Pools,
    Spare,
    Store,
    Traces,
    Watches,
}

fn figures() -> [(Atom, Figure); 21] {
    [
        (atoms::arrived(), Figure::Arrived),
        (atoms::cancelled(), Figure::Cancelled),
        (atoms::drained(), Figure::Drained),
        (atoms::dropped(), Figure::Dropped),
        (atoms::ejected(), Figure::Ejected),
        (atoms::expired(), Figure::Expired),
        (atoms::failed(), Figure::Failed),
        (atoms::given_up(), Figure::GivenUp),
        (atoms::leaving(), Figure::Leaving),
        (atoms::lost(), Figure::Lost),
        (atoms::not_ready(), Figure::NotReady),
        (atoms::ongoing(), Figure::Ongoing),
        (atoms::over_quota(), Figure::Quota),
        (atoms::queue(), Figure::Queue),
        (atoms::queue_full(), Figure::QueueFull),
        (atoms::ready(), Figure::Ready),
        (atoms::requests(), Figure::Requests),
        (atoms::returned(), Figure::Returned),
        (atoms::succeeded(), Figure::Succeeded),
        (atoms::utilization(), Figure::Utilization),
        (atoms::waits(), Figure::Waits),
    ]
}

fn owners() -> [(Atom, Of); 11] {
    [
        (atoms::breakers(), Of::Breakers),
        (atoms::health(), Of::Health),
        (atoms::index(), Of::Index),
        (atoms::metrics(), Of::Metrics),
        (atoms::names(), Of::Names),
        (atoms::owners(), Of::Owners),
        (atoms::pools(), Of::Pools),
        (atoms::spare(), Of::Spare),
        (atoms::store(), Of::Store),
        (atoms::traces(), Of::Traces),
        (atoms::watches(), Of::Watches),
    ]
}

fn outcomes() -> [(Atom, Outcome); 3] {
    [
        (atoms::dropped(), Outcome::Dropped),
        (atoms::kept(), Outcome::Kept),
        (atoms::taken(), Outcome::Taken),
    ]
}

fn counts() -> [(Atom, Count); 10] {
    [
        (atoms::failed(), Count::Failed),
        (atoms::refused(), Count::Refused),
        (atoms::slow(), Count::Slow),
        (atoms::succeeded(), Count::Succeeded),
        (atoms::closed(), Count::In(State::Closed)),
        (atoms::open(), Count::In(State::Open)),
        (atoms::half_open(), Count::In(State::HalfOpen)),
        (atoms::disabled(), Count::In(State::Disabled)),
        (atoms::forced_open(), Count::In(State::ForcedOpen)),
        (atoms::metrics_only(), Count::In(State::MetricsOnly)),
    ]
}

/// `{pool, instance, pool, figure}`, `{breaker, instance, name, figure}`, `{spans, instance, outcome}` or `{bytes, instance, of}`; a breaker that is not there is none.
pub fn decode(term: Term<'_>) -> Option<Reading> {
    let items: Vec<Term<'_>> = beam::items(term).collect();
    let name = |term: Term<'_>| beam::is_atom(term).then(|| beam::word(term.as_c_arg()));
    match *items.as_slice() {
        [kind, instance, breaker, figure] if is(kind, atoms::breaker()) => Some(Reading::Breaker {
            open: breaker::find(instance, breaker)?,
            figure: one_of(figure, &counts()).ok()?,
        }),
        [_, instance, pool, figure] => Some(Reading::Pool {
            instance: name(instance)?,
            pool: name(pool)?,
            figure: one_of(figure, &figures()).ok()?,
        }),
        [kind, instance, outcome] if is(kind, atoms::spans()) => Some(Reading::Spans {
            instance: name(instance)?,
            outcome: one_of(outcome, &outcomes()).ok()?,
        }),
        [_, instance, of] => Some(Reading::Bytes {
            instance: name(instance)?,
            of: one_of(of, &owners()).ok()?,
        }),
        _ => None,
    }
}

/// All that an instance's metrics say now.
pub fn families(metrics: &Collection) -> Vec<Family> {
    let mut look = Look::of(metrics);
    metrics.snapshot(|reading| look.read(reading))
}

/// Whether there may be anything to be read again. A breaker that was closed never is; all else goes by its name.
pub fn alive(reading: &Reading) -> bool {
    match reading {
        Reading::Breaker { open, .. } => open.cell.breaker.totals(open.generation).is_ok(),
        Reading::Pool { .. } | Reading::Bytes { .. } | Reading::Spans { .. } => true,
    }
}

/// One look at all there is: each pool is asked once, however many of its figures are read.
#[derive(Debug)]
pub struct Look<'a> {
    metrics: &'a Collection,
    pools: HashMap<(u64, u64), Option<Pool>>,
}

/// What a pool said.
#[derive(Debug)]
struct Pool {
    status: Status,
    measures: Measures,
    served: u64,
}

impl<'a> Look<'a> {
    pub fn of(metrics: &'a Collection) -> Self {
        Self {
            metrics,
            pools: HashMap::new(),
        }
    }

    pub fn read(&mut self, reading: &Reading) -> Option<Value> {
        match *reading {
            Reading::Pool {
                instance,
                pool,
                figure,
            } => {
                let asked = self.pools.entry((instance, pool));
                let pool = asked.or_insert_with(|| Pool::ask(instance, pool));
                pool.as_ref().map(|pool| pool.says(figure))
            }
            Reading::Breaker { open, figure } => read_breaker(open, figure),
            Reading::Bytes { of: Of::Metrics, .. } => Some(Value::Gauge(self.metrics.bytes() as f64)),
            Reading::Bytes {
                instance,
                of: Of::Store,
            } => Some(Value::Gauge(store::pending_bytes(instance) as f64)),
            Reading::Bytes { instance, of } => {
                let bytes = bytes(state().find_word(instance)?, of)?;
                Some(Value::Gauge(bytes as f64))
            }
            Reading::Spans { instance, outcome } => {
                let counts = state().find_word(instance)?.shell.spans.counts();
                Some(spans(&counts, outcome))
            }
        }
    }
}

impl Pool {
    fn ask(instance: u64, pool: u64) -> Option<Self> {
        let Open { cell, generation } = pool_life::open_of(instance, pool)?;
        let status = cell.pool.status(generation).ok()?;
        let (measures, served) = cell.pool.measures(generation).ok()?;
        Some(Self {
            status,
            measures,
            served,
        })
    }

    fn says(&self, figure: Figure) -> Value {
        match figure {
            Figure::Requests => Value::Histogram(in_seconds(self.measures.requests())),
            Figure::Waits => Value::Histogram(in_seconds(&self.measures.waits(self.served))),
            _ => counted(&self.status, figure),
        }
    }
}

fn spans(counts: &kantoku_core::trace::Counts, outcome: Outcome) -> Value {
    let count = match outcome {
        Outcome::Dropped => counts.dropped,
        Outcome::Kept => counts.kept,
        Outcome::Taken => counts.taken,
    };
    Value::Counter(count as f64)
}

fn read_breaker(open: breakers::Open, figure: Count) -> Option<Value> {
    let (state, totals) = open.cell.breaker.totals(open.generation).ok()?;
    let counter = |count: u64| Value::Counter(count as f64);
    Some(match figure {
        Count::Failed => counter(totals.failed),
        Count::In(which) => Value::Gauge(f64::from(u8::from(state == which))),
        Count::Refused => counter(totals.refused),
        Count::Slow => counter(totals.slow),
        Count::Succeeded => counter(totals.succeeded),
    })
}

fn in_seconds(reading: &kantoku_core::metrics::Reading) -> Distribution {
    const NS: f64 = 1e9;
    reading.distribution(NS)
}

fn counted(status: &Status, figure: Figure) -> Value {
    let counter = |count: u64| Value::Counter(count as f64);
    let gauge = |count: u64| Value::Gauge(count as f64);
    match figure {
        Figure::Arrived => counter(status.arrived),
        Figure::Cancelled => counter(status.cancelled),
        Figure::Drained => counter(status.drained),
        Figure::Dropped => counter(status.dropped),
        Figure::Ejected => gauge(status.ejected),
        Figure::Expired => counter(status.expired),
        Figure::Failed => counter(status.failed),
        Figure::GivenUp => counter(status.given_up),
        Figure::Leaving => gauge(status.leaving),
        Figure::Lost => counter(status.lost),
        Figure::NotReady => gauge(status.not_ready),
        Figure::Ongoing => gauge(status.ongoing),
        Figure::Quota => counter(status.over_quota),
        Figure::Queue => gauge(status.queue),
        Figure::QueueFull => counter(status.refused - status.over_quota - status.dropped - status.drained),
        Figure::Ready => gauge(status.ready),
        Figure::Returned => counter(status.returned),
        Figure::Succeeded => counter(status.succeeded),
        Figure::Utilization | Figure::Requests | Figure::Waits => {
            let permits = status.ongoing + status.free;
            Value::Gauge(status.ongoing as f64 / permits.max(1) as f64)
        }
    }
}

fn bytes(opened: Opened, of: Of) -> Option<usize> {
    let shell = opened.shell;
    let registry = || shell.registry.bytes();
    let bytes = match of {
        Of::Breakers => shell.breakers_bytes(),
        Of::Health => shell.health.bytes(),
        Of::Index => registry().index,
        Of::Metrics | Of::Store => return None,
        Of::Names => registry().names,
        Of::Owners => registry().owners,
        Of::Pools => shell.pools_bytes(),
        Of::Spare => registry().spare,
        Of::Traces => shell.spans.bytes(),
        Of::Watches => registry().watches,
    };
    Some(bytes)
}

/// Every instance of this VM whose metrics are kept here, for threads that are no schedulers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everything;

impl Source for Everything {
    fn families(&self) -> Vec<Family> {
        all_families()
    }
}

/// What all instances say, each family once. Those of the Elixir engine are not among them: their numbers are terms, and given to exporters by
/// who reads them.
pub fn all_families() -> Vec<Family> {
    let kept: Vec<Arc<Collection>> = {
        let all = state().metrics.lock();
        all.iter().filter_map(std::sync::Weak::upgrade).collect()
    };
    let mut together: Vec<Family> = Vec::new();
    for family in kept.iter().flat_map(|metrics| families(metrics)) {
        join(&mut together, family);
    }
    together
}
