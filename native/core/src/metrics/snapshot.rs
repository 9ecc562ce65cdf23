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

impl Value {
    /// All of them together, which are of one kind; `None` of none.
    pub fn sum(values: impl Iterator<Item = Self>) -> Option<Self> {
        values.reduce(|sum, more| match (sum, more) {
            (Value::Counter(sum), Value::Counter(more)) => Value::Counter(sum + more),
            (Value::Gauge(sum), Value::Gauge(more)) => Value::Gauge(sum + more),
            (Value::Histogram(sum), Value::Histogram(more)) => Value::Histogram(sum.merge(&more)),
            (sum, _) => sum,
        })
    }

    /// Of a histogram.
    pub fn distribution(&self) -> Option<&Distribution> {
        match self {
            Value::Histogram(found) => Some(found),
            Value::Counter(_) | Value::Gauge(_) => None,
        }
    }

    /// What it points to, in bytes.
    pub fn heap(&self) -> usize {
        match self {
            Value::Counter(_) | Value::Gauge(_) => 0,
            Value::Histogram(found) => found.buckets.capacity() * size_of::<(f64, u64)>(),
        }
    }
}

impl Distribution {
    /// The bounds that any of them has, ascending: over these all can be told, and added up.
    pub fn bounds<'d>(all: impl Iterator<Item = &'d Self>) -> Vec<f64> {
        all.fold(Vec::new(), |mut bounds, found| {
            let own = found.buckets.iter().map(|(bound, _)| *bound);
            // Both ascend.
            let mut known = bounds.iter();
            if !own.clone().all(|bound| known.any(|&other| other == bound)) {
                bounds.extend(own);
                bounds.sort_by(f64::total_cmp);
                bounds.dedup();
            }
            bounds
        })
    }

    /// How many are in each bucket over bounds among which are its own; not cumulative.
    pub fn over<'d>(&'d self, bounds: &'d [f64]) -> impl Iterator<Item = u64> + 'd {
        let mut own = self.buckets.iter().peekable();
        bounds.iter().map(move |bound| {
            let held = own.next_if(|(other, _)| other == bound);
            held.map_or(0, |(_, count)| *count)
        })
    }

    /// Both together, of one scale: with the bounds that either has.
    pub fn merge(self, other: &Self) -> Self {
        let mut buckets = self.buckets;
        buckets.extend(&other.buckets);
        buckets.sort_by(|(one, _), (next, _)| one.total_cmp(next));
        buckets.dedup_by(|(bound, more), (kept, count)| {
            let same = bound == kept;
            *count += if same { *more } else { 0 };
            same
        });
        buckets.shrink_to_fit();
        Self {
            buckets,
            above: self.above + other.above,
            sum: self.sum + other.sum,
            count: self.count + other.count,
            exemplars: Vec::new(),
        }
    }

    /// What a share (0 to 1) of the observations is not above: the middle of a bucket, or the only bound it has. `None` of nothing.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let &(most, _) = self.buckets.last()?;
        let rank = ((share.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let (mut seen, mut below) = (0, None);
        for &(bound, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Some(below.map_or(bound, |below: f64| below.midpoint(bound)));
            }
            below = Some(bound);
        }
        Some(most)
    }
}

impl Series {
    fn heap(&self) -> usize {
        labels_heap(&self.labels) + self.value.heap()
    }
}

/// What labels point to, in bytes.
pub fn labels_heap(labels: &Vec<(String, String)>) -> usize {
    let texts = labels
        .iter()
        .map(|(name, value)| name.capacity() + value.capacity());
    labels.capacity() * size_of::<(String, String)>() + texts.sum::<usize>()
}

/// Adds the series of a family to the one of its name and kind, or the family where there is none.
pub fn join(together: &mut Vec<Family>, family: Family) {
    let like = |known: &&mut Family| known.name == family.name && known.kind == family.kind;
    match together.iter_mut().find(like) {
        Some(known) => known.series.extend(family.series),
        None => together.push(family),
    }
}
