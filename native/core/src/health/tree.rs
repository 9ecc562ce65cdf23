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

#[derive(Clone, Debug)]
enum Body {
    Group(Rule, Counts),
    Agent(Box<[Probe]>),
}

impl Body {
    fn state(&self) -> State {
        match self {
            Self::Group(rule, counts) => rule.of(counts),
            Self::Agent(probes) => probe::state(probes),
        }
    }
}

#[derive(Clone, Debug)]
struct Node {
    parent: Option<u32>,
    state: State,
    since: i64,
    body: Body,
    /// Whatever stands for the agent's process, for the caller.
    process: u64,
}

#[derive(Clone, Debug)]
struct Place {
    tag: u32,
    node: Option<Node>,
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

#[derive(Debug, Default)]
pub struct Tree {
    places: Vec<Place>,
    free: Vec<u32>,
    changes: Vec<Change>,
}

impl Tree {
    fn find(&self, handle: Handle) -> Result<&Node, Absent> {
        let place = self.places.get(handle.place() as usize).ok_or(Absent)?;
        let own = place.node.as_ref().filter(|_| place.tag == handle.tag());
        own.ok_or(Absent)
    }

    fn find_mut(&mut self, handle: Handle) -> Result<&mut Node, Absent> {
        let place = self.places.get_mut(handle.place() as usize).ok_or(Absent)?;
        let own = place.node.as_mut().filter(|_| place.tag == handle.tag());
        own.ok_or(Absent)
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
            Spec::Group(rule) => Body::Group(rule, Counts::default()),
            Spec::Agent(probes) => Body::Agent(begun(&[], probes, now)),
        };
        let node = Node {
            parent: parent.map(Handle::place),
            state: body.state(),
            since: now,
            body,
            process,
        };
        let state = node.state;
        let handle = self.settle_down(node);
        if let Some(parent) = parent {
            self.count(parent.place(), None, Some(state), now);
        }
        Ok(handle)
    }

    fn settle_down(&mut self, node: Node) -> Handle {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { tag: 1, node: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[at as usize];
        place.node = Some(node);
        Handle::new(at, place.tag)
    }

    /// Another rule, or other probes: what those of the same id and kind have found stays.
    pub fn change(&mut self, handle: Handle, spec: Spec, now: i64) -> Result<(), Absent> {
        let node = self.find_mut(handle)?;
        match (&mut node.body, spec) {
            (Body::Group(rule, _), Spec::Group(new)) => *rule = new,
            (Body::Agent(probes), Spec::Agent(new)) => *probes = begun(probes, new, now),
            _ => return Err(Absent),
        }
        self.reconsider(handle.place(), now);
        Ok(())
    }

    /// Whether it was removed: a group that has members is not.
    pub fn remove(&mut self, handle: Handle, now: i64) -> Result<bool, Absent> {
        let node = self.find(handle)?;
        if let Body::Group(_, counts) = &node.body
            && counts.total() > 0
        {
            return Ok(false);
        }
        let (parent, state) = (node.parent, node.state);
        self.vacate(handle.place());
        if let Some(parent) = parent {
            self.count(parent, Some(state), None, now);
        }
        Ok(true)
    }

    fn vacate(&mut self, at: u32) {
        let place = &mut self.places[at as usize];
        place.node = None;
        place.tag = next_tag(place.tag);
        self.free.push(at);
    }

    /// Nobody has any of these handles any more.
    pub fn clear(&mut self) {
        for at in 0..self.places.len() as u32 {
            if self.places[at as usize].node.is_some() {
                self.vacate(at);
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
        let Body::Agent(probes) = &mut node.body else {
            return Err(Absent);
        };
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
            self.reconsider(handle.place(), now);
        }
        Ok((before, after))
    }

    // One step for each level: a member's change is a change of two counts (H1).
    fn reconsider(&mut self, mut at: u32, now: i64) {
        loop {
            let place = &mut self.places[at as usize];
            let Some(node) = &mut place.node else { return };
            let (from, to) = (node.state, node.body.state());
            if from == to {
                return;
            }
            (node.state, node.since) = (to, now);
            let node_handle = Handle::new(at, place.tag);
            let parent = node.parent;
            self.changes.push(Change {
                node: node_handle,
                from,
                to,
            });
            let Some(parent) = parent else { return };
            self.tally(parent, Some(from), Some(to));
            at = parent;
        }
    }

    fn count(&mut self, group: u32, gone: Option<State>, come: Option<State>, now: i64) {
        self.tally(group, gone, come);
        self.reconsider(group, now);
    }

    fn tally(&mut self, group: u32, gone: Option<State>, come: Option<State>) {
        let node = self.places[group as usize].node.as_mut();
        if let Some(Node {
            body: Body::Group(_, counts),
            ..
        }) = node
        {
            gone.into_iter().for_each(|state| counts.subtract(state));
            come.into_iter().for_each(|state| counts.add(state));
        }
    }

    pub fn status(&self, handle: Handle) -> Result<Status, Absent> {
        let node = self.find(handle)?;
        let (counts, probes) = match &node.body {
            Body::Group(_, counts) => (*counts, Vec::new()),
            Body::Agent(probes) => {
                let found = probes
                    .iter()
                    .map(|probe| (probe.thresholds, probe.verdict, probe.since));
                (Counts::default(), found.collect())
            }
        };
        Ok(Status {
            state: node.state,
            since: node.since,
            counts,
            probes,
        })
    }

    /// The agents of places from `from` on, no more than `most` places; and where to go on.
    pub fn agents(&self, from: u32, most: u32) -> (impl Iterator<Item = (Handle, u64)>, Option<u32>) {
        let end = (self.places.len() as u32).min(from.saturating_add(most));
        let slice = self.places.get(from as usize..end as usize).unwrap_or(&[]);
        let agents = slice.iter().zip(from..).filter_map(|(place, at)| {
            let node = place.node.as_ref()?;
            matches!(node.body, Body::Agent(_)).then_some((Handle::new(at, place.tag), node.process))
        });
        (agents, (end < self.places.len() as u32).then_some(end))
    }

    pub fn bytes(&self) -> usize {
        let probes: usize = self
            .places
            .iter()
            .flat_map(|place| &place.node)
            .map(probe_bytes)
            .sum();
        self.places.capacity() * size_of::<Place>() + self.free.capacity() * size_of::<u32>() + probes
    }

    /// Panics where an invariant does not hold. For tests.
    pub fn check(&self) {
        let mut found = vec![Counts::default(); self.places.len()];
        for node in self.places.iter().flat_map(|place| &place.node) {
            if let Some(parent) = node.parent {
                found[parent as usize].add(node.state);
            }
            assert_eq!(node.state, node.body.state());
        }
        for (place, found) in self.places.iter().zip(found) {
            if let Some(Node {
                body: Body::Group(_, counts),
                ..
            }) = &place.node
            {
                assert_eq!(*counts, found);
            }
        }
    }
}

fn begun(old: &[Probe], new: Vec<Thresholds>, now: i64) -> Box<[Probe]> {
    new.into_iter()
        .map(|thresholds| {
            let same = old.iter().find(|probe| {
                (probe.thresholds.id, probe.thresholds.kind) == (thresholds.id, thresholds.kind)
            });
            match same {
                Some(probe) => probe.under(thresholds),
                None => Probe::new(thresholds, now),
            }
        })
        .collect()
}

fn probe_bytes(node: &Node) -> usize {
    match &node.body {
        Body::Agent(probes) => size_of_val(&**probes),
        Body::Group(..) => 0,
    }
}
