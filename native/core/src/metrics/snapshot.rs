//! What was measured, as plain data: what exporters write out, whoever measured it.

/// One metric and all of its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// As Prometheus has it: with its unit, and without `_total` or `_bucket`.
    pub name: String,
    pub help: String,
    pub unit: Option<&'static str>,
    pub kind: Kind,
    pub series: Vec<Series>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: Vec<(String, String)>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Counter(f64),
    Gauge(f64),
    Histogram(Distribution),
}

/// How observations are spread, in the family's unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Upper bounds, ascending and without infinity, and how many are in each bucket; not cumulative.
    pub buckets: Vec<(f64, u64)>,
    /// Above the last bound.
    pub above: u64,
    pub sum: f64,
    pub count: u64,
    pub exemplars: Vec<Exemplar>,
}

/// One observation, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub value: f64,
    /// Unix seconds.
    pub at: f64,
    /// `trace_id` and `span_id`.
    pub labels: Vec<(String, String)>,
}

/// Whoever can say what was measured, at any time and on any thread.
pub trait Source: Send + Sync {
    fn families(&self) -> Vec<Family>;
}
