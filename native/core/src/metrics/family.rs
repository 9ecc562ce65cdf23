//! One metric: what it is, and its series. Knows no limits of bytes.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::collection::{OTHER, Refusal};
use super::look::{Hand, Taken};
use super::series::Series;
use super::snapshot::{Kind, Value};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};

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

/// The counts that an `Arc` has beside what it holds.
pub const SHARED: usize = 2 * size_of::<usize>();

impl Description {
    fn bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(String::capacity).sum();
        let held = self.labels.capacity() * size_of::<String>() + labels;
        SHARED + size_of::<Self>() + self.name.capacity() + self.help.capacity() + held
    }
}

/// The values of a series' labels.
pub type Values = Arc<Box<[String]>>;

#[derive(Debug)]
struct Member<R> {
    values: Values,
    held: Held<R>,
}

#[derive(Debug)]
enum Held<R> {
    Own(Arc<Series>),
    Bound(Bound<R>),
}

/// What is read when somebody looks: the sum of all that is bound here, and of what was.
#[derive(Debug)]
struct Bound<R> {
    readings: Vec<R>,
    gone: Option<Value>,
}

#[derive(Debug)]
pub struct Family<R> {
    description: Arc<Description>,
    members: Vec<Member<R>>,
    by_values: HashTable<usize>,
    /// Of the members, those that do not stand for others.
    places: usize,
    folded: AtomicU64,
    /// What members point to, in bytes.
    heap: usize,
}

impl<R: Clone + PartialEq> Family<R> {
    pub fn new(description: Description) -> Self {
        Self {
            description: Arc::new(description),
            members: Vec::new(),
            by_values: HashTable::new(),
            places: 0,
            folded: AtomicU64::new(0),
            heap: 0,
        }
    }

    pub fn name(&self) -> &str {
        &self.description.name
    }

    pub fn kind(&self) -> Kind {
        self.description.kind
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

    /// Whether a series of these values may be entered. A family without labels has one, and that of all others takes nobody's place.
    pub fn has_place(&self, values: &[&str], limit: usize) -> bool {
        values.is_empty() || stand_for_others(values) || self.places < limit
    }

    // Relaxed: nothing else is read by it.
    pub fn fold(&self) {
        self.folded.fetch_add(1, Ordering::Relaxed);
    }

    fn at(&self, values: &[&str]) -> Option<usize> {
        let like = |&at: &usize| self.members[at].values.iter().eq(values);
        self.by_values.find(hash(values), like).copied()
    }

    pub fn knows(&self, values: &[&str]) -> bool {
        self.at(values).is_some()
    }

    /// Where to record.
    pub fn series(&self, values: &[&str]) -> Result<Option<Arc<Series>>, Refusal> {
        match self.at(values).map(|at| &self.members[at].held) {
            Some(Held::Own(series)) => Ok(Some(Arc::clone(series))),
            Some(Held::Bound(_)) => Err(Refusal::Bound {
                name: self.description.name.clone(),
            }),
            None => Ok(None),
        }
    }

    pub fn add(&mut self, values: &[&str]) -> Arc<Series> {
        let series = Arc::new(Series::new(self.description.kind, self.description.ticks));
        self.push(values, Held::Own(Arc::clone(&series)));
        series
    }

    /// Binds one more reading to these values, unless it is bound there. Of those that are, who are not `alive` go before any memory is
    /// taken, so that no more stay than twice those that are alive.
    pub fn bind(&mut self, values: &[&str], reading: R, alive: impl Fn(&R) -> bool) {
        let Some(at) = self.at(values) else {
            let bound = Bound {
                readings: vec![reading],
                gone: None,
            };
            return self.push(values, Held::Bound(bound));
        };
        self.heap -= self.members[at].heap();
        self.members[at].bind(reading, alive);
        self.heap += self.members[at].heap();
    }

    /// Takes away a reading, with the series if that has no other. What it said `last` stays in the sum where it was one of many that have one
    /// series, so that this does not fall. Whether it was there.
    pub fn unbind(&mut self, values: &[&str], reading: &R, last: Option<Value>) -> bool {
        let Some(at) = self.at(values) else {
            return false;
        };
        let before = self.members[at].heap();
        let Held::Bound(bound) = &mut self.members[at].held else {
            return false;
        };
        let Some(place) = bound.readings.iter().position(|bound| bound == reading) else {
            return false;
        };
        bound.readings.swap_remove(place);
        if stand_for_others(values) && self.description.kind != Kind::Gauge {
            bound.gone = Value::sum([bound.gone.take(), last].into_iter().flatten());
        }
        let empty = bound.readings.is_empty() && bound.gone.is_none();
        self.heap = self.heap + self.members[at].heap() - before;
        if empty {
            self.remove(at);
        }
        true
    }

    fn push(&mut self, values: &[&str], held: Held<R>) {
        let member = Member {
            values: Arc::new(values.iter().map(|&value| value.to_owned()).collect()),
            held,
        };
        self.heap += member.heap();
        self.places += usize::from(!stand_for_others(values));
        self.members.push(member);
        let members = &self.members;
        let of = |&at: &usize| hash(&members[at].values);
        self.by_values.insert_unique(hash(values), members.len() - 1, of);
    }

    // The last takes its place.
    fn remove(&mut self, at: usize) {
        let last = self.members.len() - 1;
        self.forget(at);
        if at != last {
            self.forget(last);
        }
        let member = self.members.swap_remove(at);
        self.heap -= member.heap();
        self.places -= usize::from(!stand_for_others(&member.values));
        let members = &self.members;
        let of = |&at: &usize| hash(&members[at].values);
        if at != last {
            self.by_values.insert_unique(of(&at), at, of);
        }
    }

    fn forget(&mut self, at: usize) {
        let hash = hash(&self.members[at].values);
        if let Ok(entry) = self.by_values.find_entry(hash, |&found| found == at) {
            entry.remove();
        }
    }

    // Looking --------------------------------------------------------------------------------------------------------

    /// What these values say, to be read by who has no lock.
    pub fn hand(&self, values: &[&str]) -> Option<Hand<R>> {
        self.at(values).map(|at| self.members[at].hand())
    }

    /// All of it, to be read by who has no lock.
    pub fn take(&self) -> Taken<R> {
        let member = |member: &Member<R>| (Arc::clone(&member.values), member.hand());
        Taken {
            description: Arc::clone(&self.description),
            members: self.members.iter().map(member).collect(),
            folded: self.folded.load(Ordering::Relaxed),
        }
    }

    // Bytes ----------------------------------------------------------------------------------------------------------

    /// All that it takes but for itself.
    pub fn bytes(&self) -> usize {
        let members = self.members.capacity() * size_of::<Member<R>>();
        self.description.bytes() + members + self.by_values.allocation_size() + self.heap
    }

    /// What one more series would take.
    pub fn bytes_of(&self, values: &[&str]) -> usize {
        self.bytes_of_member(values) + SHARED + Series::bytes(self.description.kind)
    }

    /// What one more reading would take.
    pub fn bytes_of_bound(&self, values: &[&str]) -> usize {
        match self.at(values).map(|at| &self.members[at].held) {
            Some(Held::Bound(Bound { readings, .. })) => grown(readings),
            _ => self.bytes_of_member(values) + size_of::<R>(),
        }
    }

    fn bytes_of_member(&self, values: &[&str]) -> usize {
        const LEAST: usize = 64;
        let full = self.by_values.len() == self.by_values.capacity();
        let table = if full {
            self.by_values.allocation_size().max(LEAST)
        } else {
            0
        };
        grown(&self.members) + table + texts(values)
    }
}

impl<R: Clone + PartialEq> Member<R> {
    fn bind(&mut self, reading: R, alive: impl Fn(&R) -> bool) {
        match &mut self.held {
            Held::Bound(Bound { readings, .. }) if readings.contains(&reading) => (),
            Held::Bound(Bound { readings, .. }) => {
                if readings.len() == readings.capacity() {
                    readings.retain(alive);
                }
                readings.push(reading);
            }
            Held::Own(_) => {
                self.held = Held::Bound(Bound {
                    readings: vec![reading],
                    gone: None,
                });
            }
        }
    }

    fn hand(&self) -> Hand<R> {
        match &self.held {
            Held::Own(series) => Hand::Own(Arc::clone(series)),
            Held::Bound(Bound { readings, gone }) => Hand::Bound(readings.clone(), gone.clone()),
        }
    }

    fn heap(&self) -> usize {
        let held = match &self.held {
            Held::Own(series) => SHARED + Series::bytes(series.kind()),
            Held::Bound(Bound { readings, gone }) => {
                readings.capacity() * size_of::<R>() + gone.as_ref().map_or(0, Value::heap)
            }
        };
        texts(&self.values) + held
    }
}

// What a vector takes more for one more.
fn grown<T>(held: &Vec<T>) -> usize {
    const LEAST: usize = 4;
    let full = held.len() == held.capacity();
    if full {
        held.capacity().max(LEAST) * size_of::<T>()
    } else {
        0
    }
}

fn texts<T: AsRef<str>>(values: &[T]) -> usize {
    let texts: usize = values.iter().map(|value| value.as_ref().len()).sum();
    SHARED + size_of::<Box<[String]>>() + size_of::<String>() * values.len() + texts
}

fn stand_for_others<T: AsRef<str>>(values: &[T]) -> bool {
    !values.is_empty() && values.iter().all(|value| value.as_ref() == OTHER)
}

fn hash<T: AsRef<str>>(values: &[T]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    values.iter().for_each(|value| value.as_ref().hash(&mut hasher));
    hasher.finish()
}
