//! Who belongs to whom, and how each fares. Knows no threads.

use super::handle::{Handle, next_tag};
use super::probe::{self, Outcome, Probe, Thresholds, Verdict};
use super::rule::{Counts, Rule, State};

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    Group(Rule),
    /// Its probes, none of which have an id twice.
    Agent(Vec<Thresholds>),
}

/// A node went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub node: Handle,
    pub from: State,
    pub to: State,
}

// Boxed is what few have: there are as many nodes as agents.
#[derive(Clone, Debug)]
enum Body {
    Nobody,
    Group(Box<(Rule, Counts)>),
    Agent(Probes),
}

impl Body {
    fn state(&self) -> State {
        match self {
            Self::Nobody => State::Unknown,
            Self::Group(group) => group.0.of(&group.1),
            Self::Agent(probes) => probe::state(probes.all()),
        }
    }
}

// Most agents have one probe, which lies here.
#[derive(Clone, Debug)]
enum Probes {
    One(Probe),
    Other(Box<[Probe]>),
}

impl Probes {
    fn new(mut all: Vec<Probe>) -> Self {
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Self::One(one),
            (last, _) => Self::Other(all.into_iter().chain(last).collect()),
        }
    }

    fn all(&self) -> &[Probe] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Other(all) => all,
        }
    }

    fn all_mut(&mut self) -> &mut [Probe] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Other(all) => all,
        }
    }
}

const NO_PARENT: u32 = u32::MAX;

// A node, or the place of one. Its state is what its body says, and not kept beside it.
#[derive(Clone, Debug)]
struct Node {
    tag: u32,
    parent: u32,
    since: i64,
    /// Whatever stands for the agent's process, for the caller.
    process: u64,
    body: Body,
}

impl Node {
    fn nobody(tag: u32) -> Self {
        Self {
            tag,
            parent: NO_PARENT,
            since: 0,
            process: 0,
            body: Body::Nobody,
        }
    }

    fn is_there(&self) -> bool {
        !matches!(self.body, Body::Nobody)
    }
}

/// How a node fares; `since` and those of the probes are times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    pub since: i64,
    pub counts: Counts,
    pub probes: Vec<(Thresholds, Verdict, i64)>,
}

/// Nobody has that handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent;

// Places are made so many at a time, and never moved.
const CHUNK: usize = 256;

#[derive(Debug)]
pub struct Tree {
    chunks: Vec<Box<[Node]>>,
    free: Vec<u32>,
    changes: Vec<Change>,
    /// Of whoever first has a place.
    first_tag: u32,
}

impl Default for Tree {
    fn default() -> Self {
        Self::with_tags_from(1)
    }
}

impl Tree {
    fn with_tags_from(first_tag: u32) -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            changes: Vec::new(),
            first_tag,
        }
    }

    /// An empty one, none of whose handles this one ever gave; as long as tags do not come around.
    pub fn successor(&self) -> Self {
        let tags = self.chunks.iter().flatten().map(|node| node.tag);
        Self::with_tags_from(next_tag(tags.max().unwrap_or(self.first_tag)))
    }

    fn at(&self, place: u32) -> Option<&Node> {
        let chunk = self.chunks.get(place as usize / CHUNK)?;
        chunk.get(place as usize % CHUNK)
    }

    fn at_mut(&mut self, place: u32) -> Option<&mut Node> {
        let chunk = self.chunks.get_mut(place as usize / CHUNK)?;
        chunk.get_mut(place as usize % CHUNK)
    }

    fn places(&self) -> u32 {
        (self.chunks.len() * CHUNK) as u32
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.chunks.iter().flatten().filter(|node| node.is_there())
    }

    fn find(&self, handle: Handle) -> Result<&Node, Absent> {
        let node = self.at(handle.place()).filter(|node| node.is_there());
        node.filter(|node| node.tag == handle.tag()).ok_or(Absent)
    }

    fn find_mut(&mut self, handle: Handle) -> Result<&mut Node, Absent> {
        let node = self.at_mut(handle.place()).filter(|node| node.is_there());
        node.filter(|node| node.tag == handle.tag()).ok_or(Absent)
    }

    /// The changes since this was asked last.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub fn add(
        &mut self,
        parent: Option<Handle>,
        spec: Spec,
        process: u64,
        now: i64,
    ) -> Result<Handle, Absent> {
        if let Some(parent) = parent {
            let Body::Group(..) = self.find(parent)?.body else {
                return Err(Absent);
            };
        }
        let body = match spec {
            Spec::Group(rule) => Body::Group(Box::new((rule, Counts::default()))),
            Spec::Agent(probes) => Body::Agent(begun(&[], probes, now)),
        };
        let state = body.state();
        let parent = parent.map_or(NO_PARENT, Handle::place);
        let place = self.free.pop().unwrap_or_else(|| self.grow());
        let node = self.at_mut(place).ok_or(Absent)?;
        *node = Node {
            tag: node.tag,
            parent,
            since: now,
            process,
            body,
        };
        let handle = Handle::new(place, node.tag);
        self.count(parent, None, Some(state), now);
        Ok(handle)
    }

    // The first of a chunk of places; the others are free.
    fn grow(&mut self) -> u32 {
        let first = self.places();
        self.chunks
            .push(vec![Node::nobody(self.first_tag); CHUNK].into_boxed_slice());
        self.free.extend((first + 1..self.places()).rev());
        first
    }

    /// Another rule, or other probes: what those of the same id and kind have found stays.
    pub fn change(&mut self, handle: Handle, spec: Spec, now: i64) -> Result<(), Absent> {
        let node = self.find_mut(handle)?;
        let before = node.body.state();
        match (&mut node.body, spec) {
            (Body::Group(group), Spec::Group(new)) => group.0 = new,
            (Body::Agent(probes), Spec::Agent(new)) => *probes = begun(probes.all(), new, now),
            _ => return Err(Absent),
        }
        self.changed(handle.place(), before, now);
        Ok(())
    }

    /// Whether it was removed: a group that has members is not.
    pub fn remove(&mut self, handle: Handle, now: i64) -> Result<bool, Absent> {
        let node = self.find(handle)?;
        if let Body::Group(group) = &node.body
            && group.1.total() > 0
        {
            return Ok(false);
        }
        let (parent, state) = (node.parent, node.body.state());
        self.vacate(handle.place());
        self.count(parent, Some(state), None, now);
        Ok(true)
    }

    fn vacate(&mut self, place: u32) {
        if let Some(node) = self.at_mut(place) {
            *node = Node::nobody(next_tag(node.tag));
            self.free.push(place);
        }
    }

    /// Nobody has any of these handles any more.
    pub fn clear(&mut self) {
        for place in 0..self.places() {
            if self.at(place).is_some_and(Node::is_there) {
                self.vacate(place);
            }
        }
    }

    /// What a probe found; its verdict before and after. What does not count now changes nothing (H3).
    pub fn report(
        &mut self,
        handle: Handle,
        id: u32,
        outcome: Outcome,
        now: i64,
    ) -> Result<(Verdict, Verdict), Absent> {
        let node = self.find_mut(handle)?;
        let state = node.body.state();
        let Body::Agent(probes) = &mut node.body else {
            return Err(Absent);
        };
        let probes = probes.all_mut();
        let at = probes
            .iter()
            .position(|probe| probe.thresholds.id == id)
            .ok_or(Absent)?;
        let before = probes[at].verdict;
        if probe::counts(probes, at) {
            probes[at].report(outcome, now);
        }
        let after = probes[at].verdict;
        if before != after {
            self.changed(handle.place(), state, now);
        }
        Ok((before, after))
    }

    // A node's body changed, and it was in state `from` before. One step for each level: a member's change is one of two counts (H1).
    fn changed(&mut self, place: u32, from: State, now: i64) {
        let Some(node) = self.at_mut(place) else { return };
        let to = node.body.state();
        if from == to {
            return;
        }
        node.since = now;
        let (parent, tag) = (node.parent, node.tag);
        self.changes.push(Change {
            node: Handle::new(place, tag),
            from,
            to,
        });
        self.count(parent, Some(from), Some(to), now);
    }

    fn count(&mut self, group: u32, gone: Option<State>, come: Option<State>, now: i64) {
        let Some(node) = self.at_mut(group) else { return };
        let from = node.body.state();
        if let Body::Group(group) = &mut node.body {
            gone.into_iter().for_each(|state| group.1.subtract(state));
            come.into_iter().for_each(|state| group.1.add(state));
        }
        self.changed(group, from, now);
    }

    pub fn status(&self, handle: Handle) -> Result<Status, Absent> {
        let node = self.find(handle)?;
        let (counts, probes) = match &node.body {
            Body::Nobody => return Err(Absent),
            Body::Group(group) => (group.1, Vec::new()),
            Body::Agent(probes) => {
                let found = probes
                    .all()
                    .iter()
                    .map(|probe| (probe.thresholds, probe.verdict, probe.since));
                (Counts::default(), found.collect())
            }
        };
        Ok(Status {
            state: node.body.state(),
            since: node.since,
            counts,
            probes,
        })
    }

    /// The agents of places from `from` on, no more than `most` places; and where to go on.
    pub fn agents(&self, from: u32, most: u32) -> (impl Iterator<Item = (Handle, u64)>, Option<u32>) {
        let end = self.places().min(from.saturating_add(most));
        let agents = (from..end).filter_map(|place| {
            let node = self.at(place)?;
            matches!(node.body, Body::Agent(_)).then_some((Handle::new(place, node.tag), node.process))
        });
        (agents, (end < self.places()).then_some(end))
    }

    pub fn bytes(&self) -> usize {
        let boxed: usize = self.nodes().map(boxed_bytes).sum();
        let places = self.places() as usize * size_of::<Node>();
        places
            + boxed
            + self.chunks.capacity() * size_of::<Box<[Node]>>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// Panics where an invariant does not hold. For tests.
    pub fn check(&self) {
        let mut found = vec![Counts::default(); self.places() as usize];
        for node in self.nodes().filter(|node| node.parent != NO_PARENT) {
            found[node.parent as usize].add(node.body.state());
        }
        for (node, found) in self.chunks.iter().flatten().zip(found) {
            if let Body::Group(group) = &node.body {
                assert_eq!(group.1, found);
            }
        }
    }
}

fn begun(old: &[Probe], new: Vec<Thresholds>, now: i64) -> Probes {
    let all = new
        .into_iter()
        .map(|thresholds| {
            let same = old.iter().find(|probe| {
                (probe.thresholds.id, probe.thresholds.kind) == (thresholds.id, thresholds.kind)
            });
            match same {
                Some(probe) => probe.under(thresholds),
                None => Probe::new(thresholds, now),
            }
        })
        .collect();
    Probes::new(all)
}

fn boxed_bytes(node: &Node) -> usize {
    match &node.body {
        Body::Agent(Probes::Other(probes)) => size_of_val(&**probes),
        Body::Group(group) => size_of_val(&**group),
        Body::Agent(Probes::One(_)) | Body::Nobody => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // An idle agent's share of memory (README) counts on it.
    #[test]
    fn a_node_is_no_larger_than_a_probe_and_three_words() {
        assert_eq!(size_of::<Node>(), size_of::<Probe>() + 24);
    }
}
