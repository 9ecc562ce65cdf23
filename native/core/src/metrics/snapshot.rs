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

impl Family {
    /// What it takes, with all that it points to.
    pub fn bytes(&self) -> usize {
        let series = self.series.iter().map(Series::heap).sum::<usize>();
        size_of::<Self>()
            + self.name.capacity()
            + self.help.capacity()
            + self.series.capacity() * size_of::<Series>()
            + series
    }
}

impl Series {
    fn heap(&self) -> usize {
        let texts = self
            .labels
            .iter()
            .map(|(name, value)| name.capacity() + value.capacity());
        let value = match &self.value {
            Value::Counter(_) | Value::Gauge(_) => 0,
            Value::Histogram(found) => found.buckets.capacity() * size_of::<(f64, u64)>(),
        };
        self.labels.capacity() * size_of::<(String, String)>() + texts.sum::<usize>() + value
    }
}

/// Adds the series of a family to the one of its name and kind, or the family where there is none.
pub fn join(together: &mut Vec<Family>, family: Family) {
    let like = |known: &&mut Family| known.name == family.name && known.kind == family.kind;
    match together.iter_mut().find(like) {
        Some(known) => known.series.extend(family.series),
        None => together.push(family),
    }
}
