//! How agents fare, and those they belong to: a tree of agents in groups in groups, whose states follow from what probes found.
//!
//! H1. A group's counts are of the states of its members, its state is what its rule makes of them. Both after each call; and a
//!     call takes as many steps as there are levels, however many members there are.
//! H2. A verdict changes by as many equal outcomes in a row as its threshold says, and not by fewer. What cannot be told counts
//!     at once, and neither passes nor fails.
//! H3. Until a startup probe has passed, no other probe of that agent counts; afterwards it does not count any more.
//! H4. Each change of a state is told to exactly one caller, a member's before its group's.
//! H5. What an agent says of itself is never taken for what its successor in the same place says.
//! H6. What is sent for another generation changes nothing.

mod handle;
mod probe;
mod pulse;
mod rule;
mod tree;

use crate::sync::RwLock;

pub use handle::Handle;
pub use probe::{Kind, Outcome, Thresholds, Verdict};
pub use pulse::{Pulse, Pulses};
pub use rule::{Counts, Rule, STATES, State};
pub use tree::{Absent, Change, Spec, Status};

use tree::Tree;

/// An answer, and the changes that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<T> {
    pub answer: T,
    pub changes: Vec<Change>,
}

/// The generation is not the one that this is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// What is answered of a node that may be absent, in an instance that may be closed.
pub type Answer<T> = Result<Told<Result<T, Absent>>, Closed>;

/// An agent that is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtWork {
    pub agent: Handle,
    pub process: u64,
    /// In ms.
    pub since: i64,
    /// How far beyond its limit, in ms, if it has one.
    pub over: Option<i64>,
}

#[derive(Debug, Default)]
struct Opened {
    generation: u32,
    tree: Tree,
}

#[derive(Debug, Default)]
pub struct Health {
    opened: RwLock<Opened>,
    /// Beside the lock: who says how it fares must not wait for who asks.
    pub pulses: Pulses,
}

impl Health {
    /// Opens for a generation that was never used. What the one before held is given back, but for the room of pulses, which those who
    /// come late may still write to.
    pub fn open(&self, generation: u32) {
        let mut opened = self.opened.write();
        opened.tree = opened.tree.successor();
        opened.generation = generation;
    }

    pub fn close(&self) {
        self.open(0);
    }

    fn writing<T>(&self, generation: u32, write: impl FnOnce(&mut Tree) -> T) -> Result<Told<T>, Closed> {
        let mut opened = self.opened.write();
        if opened.generation != generation {
            return Err(Closed);
        }
        let answer = write(&mut opened.tree);
        let changes = opened.tree.take_changes();
        Ok(Told { answer, changes })
    }

    fn reading<T>(&self, generation: u32, read: impl FnOnce(&Tree) -> T) -> Result<T, Closed> {
        let opened = self.opened.read();
        if opened.generation == generation {
            Ok(read(&opened.tree))
        } else {
            Err(Closed)
        }
    }

    /// Adds a node below a group. `process` is what `look` calls an agent.
    pub fn add(
        &self,
        generation: u32,
        parent: Option<Handle>,
        spec: Spec,
        process: u64,
        now: i64,
    ) -> Answer<Handle> {
        let added = self.writing(generation, |tree| tree.add(parent, spec, process, now))?;
        if let Ok(handle) = added.answer {
            self.pulses.make_room(handle.place());
        }
        Ok(added)
    }

    pub fn change(&self, generation: u32, node: Handle, spec: Spec, now: i64) -> Answer<()> {
        self.writing(generation, |tree| tree.change(node, spec, now))
    }

    /// Whether it was removed: a group that has members is not.
    pub fn remove(&self, generation: u32, node: Handle, now: i64) -> Answer<bool> {
        self.writing(generation, |tree| tree.remove(node, now))
    }

    /// Removes all nodes.
    pub fn clear(&self, generation: u32) -> Result<(), Closed> {
        self.writing(generation, Tree::clear).map(|told| told.answer)
    }

    /// What a probe found; its verdict before and after.
    pub fn report(
        &self,
        generation: u32,
        node: Handle,
        probe: u32,
        outcome: Outcome,
        now: i64,
    ) -> Answer<(Verdict, Verdict)> {
        self.writing(generation, |tree| tree.report(node, probe, outcome, now))
    }

    pub fn status(&self, generation: u32, node: Handle) -> Result<Result<Status, Absent>, Closed> {
        self.reading(generation, |tree| tree.status(node))
    }

    /// The agents that are at work for at least `least` ms, among those of `most` places from `from` on; and where to go on.
    pub fn look(
        &self,
        generation: u32,
        from: u32,
        most: u32,
        least: i64,
        now: i64,
    ) -> Result<(Vec<AtWork>, Option<u32>), Closed> {
        self.reading(generation, |tree| {
            let (agents, next) = tree.agents(from, most);
            let at_work = agents.filter_map(|(agent, process)| self.at_work(agent, process, least, now));
            (at_work.collect(), next)
        })
    }

    fn at_work(&self, agent: Handle, process: u64, least: i64, now: i64) -> Option<AtWork> {
        match self.pulses.read(agent, now) {
            Pulse::Busy { since, over } if since >= least => Some(AtWork {
                agent,
                process,
                since,
                over,
            }),
            _ => None,
        }
    }

    pub fn bytes(&self) -> usize {
        self.opened.read().tree.bytes() + self.pulses.bytes()
    }

    /// Panics where an invariant does not hold. For tests.
    pub fn check(&self) {
        self.opened.read().tree.check();
    }
}
