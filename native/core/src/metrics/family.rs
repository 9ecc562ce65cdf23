//! One metric: what it is, and its series. Knows no limits.

use super::collection::Refusal;
use super::histogram::Histogram;
use super::number::{Counter, Gauge};
use super::snapshot::{self, Kind, Value};
use crate::sync::Arc;

/// What a family is.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    pub name: String,
    pub help: String,
    pub unit: Option<&'static str>,
    pub kind: Kind,
    pub labels: Vec<String>,
    /// How many ticks of a histogram make one of its unit.
    pub ticks: f64,
}

impl Description {
    pub fn bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|label| text(label)).sum();
        size_of::<Family<()>>() + self.name.len() + self.help.len() + labels
    }
}

/// Where records go.
#[derive(Debug)]
pub struct Series {
    pub own: Owned,
    /// As its family says.
    pub ticks: f64,
}

#[derive(Debug)]
pub enum Owned {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Owned {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Owned::Counter(Counter::default()),
            Kind::Gauge => Owned::Gauge(Gauge::default()),
            Kind::Histogram => Owned::Histogram(Histogram::default()),
        }
    }
}

impl Series {
    fn read(&self) -> Value {
        match &self.own {
            Owned::Counter(counter) => Value::Counter(counter.read()),
            Owned::Gauge(gauge) => Value::Gauge(gauge.read()),
            Owned::Histogram(histogram) => Value::Histogram(histogram.read().distribution(self.ticks)),
        }
    }
}

#[derive(Debug)]
enum Held<R> {
    Own(Arc<Series>),
    Bound(R),
}

#[derive(Debug)]
struct Member<R> {
    values: Box<[String]>,
    held: Held<R>,
}

#[derive(Debug)]
pub struct Family<R> {
    description: Description,
    members: Vec<Member<R>>,
    by_values: hashbrown::HashMap<Box<[String]>, usize, foldhash::fast::FixedState>,
    folded: u64,
}

impl<R> Family<R> {
    pub fn new(description: Description) -> Self {
        Self {
            description,
            members: Vec::new(),
            by_values: hashbrown::HashMap::default(),
            folded: 0,
        }
    }

    pub fn name(&self) -> &str {
        &self.description.name
    }

    pub fn is(&self, name: &str) -> bool {
        self.description.name == name
    }

    /// Whether it is what it is described as; its help may say the same in other words.
    pub fn is_like(&self, other: &Description) -> Result<(), Refusal> {
        let known = &self.description;
        let same = (known.unit, known.kind, known.ticks) == (other.unit, other.kind, other.ticks)
            && known.labels == other.labels;
        same.then_some(()).ok_or_else(|| Refusal::Different {
            name: known.name.clone(),
            kind: known.kind,
            labels: known.labels.clone(),
        })
    }

    pub fn takes(&self, values: &[&str]) -> Result<(), Refusal> {
        let expected = self.description.labels.len();
        (values.len() == expected)
            .then_some(())
            .ok_or_else(|| Refusal::Labels {
                name: self.description.name.clone(),
                expected,
            })
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn fold(&mut self) {
        self.folded += 1;
    }

    pub fn folded(&self) -> u64 {
        self.folded
    }

    fn at(&self, values: &[&str]) -> Option<usize> {
        self.by_values.get(&owned(values)).copied()
    }

    pub fn knows(&self, values: &[&str]) -> bool {
        self.at(values).is_some()
    }

    pub fn series(&self, values: &[&str]) -> Option<Arc<Series>> {
        match &self.members[self.at(values)?].held {
            Held::Own(series) => Some(Arc::clone(series)),
            Held::Bound(_) => None,
        }
    }

    pub fn add(&mut self, values: &[&str]) -> Arc<Series> {
        let series = Arc::new(Series {
            own: Owned::new(self.description.kind),
            ticks: self.description.ticks,
        });
        self.push(values, Held::Own(Arc::clone(&series)));
        series
    }

    pub fn bind(&mut self, values: &[&str], reading: R) {
        self.push(values, Held::Bound(reading));
    }

    pub fn rebind(&mut self, values: &[&str], reading: R) {
        if let Some(at) = self.at(values) {
            self.members[at].held = Held::Bound(reading);
        }
    }

    fn push(&mut self, values: &[&str], held: Held<R>) {
        let values = owned(values);
        self.by_values.insert(values.clone(), self.members.len());
        self.members.push(Member { values, held });
    }

    pub fn bytes_of(&self, values: &[&str]) -> usize {
        let own = match self.description.kind {
            Kind::Counter => size_of::<Counter>(),
            Kind::Gauge => size_of::<Gauge>(),
            Kind::Histogram => Histogram::default().bytes(),
        };
        self.bytes_of_bound(values) + own
    }

    /// The values are there twice: in order, and to be found by.
    pub fn bytes_of_bound(&self, values: &[&str]) -> usize {
        let values: usize = values.iter().map(|value| text(value)).sum();
        size_of::<Member<R>>() + size_of::<(Box<[String]>, usize)>() + 2 * values
    }

    pub fn show(&self, common: &[(String, String)], read: impl Fn(&R) -> Option<Value>) -> snapshot::Family {
        let Description {
            name,
            help,
            unit,
            kind,
            labels,
            ..
        } = &self.description;
        let series = self.members.iter().filter_map(|member| {
            let value = match &member.held {
                Held::Own(series) => Some(series.read()),
                Held::Bound(reading) => read(reading),
            };
            let own = labels.iter().cloned().zip(member.values.iter().cloned());
            Some(snapshot::Series {
                labels: common.iter().cloned().chain(own).collect(),
                value: value?,
            })
        });
        snapshot::Family {
            name: name.clone(),
            help: help.clone(),
            unit: *unit,
            kind: *kind,
            series: series.collect(),
        }
    }
}

fn owned(values: &[&str]) -> Box<[String]> {
    values.iter().map(|&value| value.to_owned()).collect()
}

fn text(text: &str) -> usize {
    size_of::<String>() + text.len()
}
