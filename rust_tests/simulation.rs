//! Instances, callers, deaths and messages, all driven by one seed.
//!
//! A caller's step looks a name up, its next one makes a call with what it found: by then the instance may be closed, and its
//! shell serve another. Deaths are heard of late and in any order, clean-up comes in pieces, closing in the background.
//! After each step what it touched is compared with a reference; from time to time everything is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kantoku_core::directory::{Binding, Directory};
use kantoku_core::index::{Index, Order, Slot};
use kantoku_core::registry::{Displace, Held, Registry, What};

use crate::agenda::{Agenda, Chance};
use crate::checked::Checked;
use crate::reference::{Asked, FACETS};
use crate::world::{Event, Seen, Stage, World, mixed};

const NAMES: u64 = 5;
const CELLS: usize = 8;
const CALLERS: usize = 6;
const PROCESSES: usize = 20;
const KEYS: u64 = 14;
const HASHES: u64 = 5;
const PARTS: usize = 4;
const FULL_EVERY: u64 = 512;
const QUIET_EVERY: u64 = 20_000;

/// What may come at any time.
#[derive(Debug)]
enum Due {
    Caller(usize),
    Down {
        pid: u64,
        generation: u32,
    },
    Clear {
        generation: u32,
        held: Vec<Held>,
    },
    /// The instance has lost its name; it is emptied now.
    Close(u32),
    Message {
        generation: u32,
        event: Event,
    },
}

/// A caller between two steps: sent to an opening, with what it means to do there.
#[derive(Clone, Copy, Debug, Default)]
struct Caller {
    sent_to: Option<Binding>,
    /// The version it read, of which key.
    read: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Opening {
    name: u64,
    binding: Binding,
    holder: u64,
    checked: Checked,
}

/// What watchers believe, by opening and watch.
type Views = BTreeMap<(u32, u64), BTreeMap<u64, Seen>>;

/// The whole of it.
#[derive(Debug)]
pub struct Simulation {
    chance: Chance,
    agenda: Agenda<Due>,
    stage: Arc<Stage>,
    directory: Directory,
    shells: Vec<Arc<Registry<World>>>,
    /// The last incarnation of each shell.
    latest: Vec<u64>,
    free: Vec<u32>,
    /// Bound or waiting to be emptied, by generation.
    open: BTreeMap<u32, Opening>,
    closed: VecDeque<Checked>,
    callers: [Caller; CALLERS],
    living: Vec<u64>,
    born: u64,
    generations: u32,
    slots: Vec<(u32, Slot)>,
    watches: u64,
    views: Views,
    last_message: u64,
    steps: u64,
    digest: u64,
}

impl Simulation {
    pub fn new(seed: u64, steps: u64) -> Self {
        let mut this = Self {
            chance: Chance::new(seed),
            agenda: Agenda::default(),
            stage: Stage::new(steps as usize / 4 + 10 * PROCESSES),
            directory: Directory::new(CELLS),
            shells: Vec::new(),
            latest: Vec::new(),
            free: Vec::new(),
            open: BTreeMap::new(),
            closed: VecDeque::new(),
            callers: [Caller::default(); CALLERS],
            living: Vec::new(),
            born: 0,
            generations: 0,
            slots: Vec::new(),
            watches: 0,
            views: Views::new(),
            last_message: 0,
            steps: 0,
            digest: seed,
        };
        (0..PROCESSES).for_each(|_| this.bear());
        (0..CALLERS).for_each(|caller| this.later(Due::Caller(caller)));
        this
    }

    /// One event. Returns how many there were.
    pub fn step(&mut self) -> u64 {
        self.steps += 1;
        let due = self.agenda.advance().expect("callers never end");
        self.run(due);
        if self.chance.one_in(12) {
            self.die();
        }
        if self.steps.is_multiple_of(FULL_EVERY) {
            self.compare();
        }
        if self.steps.is_multiple_of(QUIET_EVERY) {
            self.fall_quiet();
        }
        self.steps
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The same for every run of one seed.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    fn later(&mut self, due: Due) {
        let (delay, lot) = (self.chance.below(40), self.chance.draw());
        self.agenda.at(self.agenda.now() + delay, lot, due);
    }

    fn run(&mut self, due: Due) {
        match due {
            Due::Caller(caller) => {
                self.call(caller);
                self.later(Due::Caller(caller));
            }
            Due::Down { pid, generation } => self.down(pid, generation),
            Due::Clear { generation, held } => self.clear(generation, held),
            Due::Close(generation) => self.close(generation),
            Due::Message { generation, event } => self.deliver(generation, event),
        }
        self.digest = mixed(self.digest ^ self.agenda.now());
    }

    // Processes --------------------------------------------------------------------------------------------------------

    fn bear(&mut self) {
        self.living.push(self.born);
        self.born += 1;
    }

    fn die(&mut self) {
        let at = self.chance.below(self.living.len() as u64) as usize;
        let pid = self.living.swap_remove(at);
        for generation in self.stage.kill(pid) {
            let generation = generation as u32;
            self.later(Due::Down { pid, generation });
        }
        self.bear();
        let held = self
            .open
            .values()
            .filter(|opening| opening.holder == pid && opening.name != 0);
        let held: Vec<_> = held.map(|opening| (opening.name, opening.binding)).collect();
        held.into_iter()
            .for_each(|(name, binding)| self.unbind(name, binding));
    }

    fn down(&mut self, pid: u64, generation: u32) {
        let held = match self.open.get_mut(&generation) {
            Some(opening) => opening.checked.forget(pid),
            None => return self.refused_death(generation, pid),
        };
        self.clear(generation, held);
    }

    fn clear(&mut self, generation: u32, mut held: Vec<Held>) {
        let piece = (1 + self.chance.below(3) as usize).min(held.len());
        let rest = held.split_off(piece);
        match self.open.get_mut(&generation) {
            Some(opening) => opening.checked.clear(&held),
            None => return self.refused(generation),
        }
        self.post(generation);
        if !rest.is_empty() {
            self.later(Due::Clear {
                generation,
                held: rest,
            });
        }
    }

    // Instances --------------------------------------------------------------------------------------------------------

    fn open_or_close(&mut self, caller: u64) {
        let name = 1 + self.chance.below(NAMES);
        match self.directory.find(name) {
            None => self.open(name, caller),
            Some(binding) if self.chance.one_in(3) => self.unbind(name, binding),
            Some(_) => (),
        }
        self.check_directory();
    }

    fn open(&mut self, name: u64, holder: u64) {
        self.generations += 1;
        let (place, generation) = (self.shell(), self.generations);
        let unique = !self.chance.one_in(3);
        let world = World {
            registry: u64::from(generation),
            ..World::new(&self.stage)
        };
        let (registry, latest) = (
            Arc::clone(&self.shells[place as usize]),
            self.latest[place as usize],
        );
        let checked = Checked::open(registry, generation, unique, (world, HASHES, latest));
        let binding = Binding { place, generation };
        let opening = Opening {
            name,
            binding,
            holder,
            checked,
        };
        self.open.insert(generation, opening);
        let bound = self.directory.bind(name, binding).is_ok();
        assert_eq!(
            bound,
            self.names().len() <= CELLS / 4 * 3,
            "room for three quarters"
        );
    }

    fn shell(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.shells.push(Arc::new(Registry::new(PARTS, 5)));
            self.latest.push(0);
            self.shells.len() as u32 - 1
        })
    }

    fn unbind(&mut self, name: u64, binding: Binding) {
        let current = self.names().get(&name) == Some(&binding);
        assert_eq!(self.directory.unbind(name, binding), current, "D3");
        if current {
            if let Some(opening) = self.open.get_mut(&binding.generation) {
                opening.name = 0;
            }
            self.later(Due::Close(binding.generation));
        }
    }

    /// What each name is bound to.
    fn names(&self) -> BTreeMap<u64, Binding> {
        let named = self.open.values().filter(|opening| opening.name != 0);
        named.map(|opening| (opening.name, opening.binding)).collect()
    }

    fn check_directory(&self) {
        let names = self.names();
        for name in 1..=NAMES {
            assert_eq!(self.directory.find(name), names.get(&name).copied(), "D1, D2");
        }
        let bound: BTreeSet<u32> = names.values().map(|binding| binding.generation).collect();
        let bindings = self.directory.bindings().map(|binding| binding.generation);
        assert_eq!(bindings.collect::<BTreeSet<_>>(), bound, "D3");
        let named = self.directory.named();
        assert!(named >= bound.len() && (named == 0 || !bound.is_empty()), "D4");
    }

    fn close(&mut self, generation: u32) {
        let mut opening = self.open.remove(&generation).expect("closed once");
        opening.checked.close();
        let place = opening.binding.place;
        self.latest[place as usize] = opening.checked.reference.latest();
        self.free.push(place);
        self.views.retain(|(of, _), _| *of != generation);
        self.closed.push_back(opening.checked);
        if self.closed.len() > 8 {
            self.closed.pop_front();
        }
    }

    // Whoever is late by an opening does no harm to the one that has its shell now.
    fn refused(&mut self, generation: u32) {
        let late = |checked: &&mut Checked| checked.generation == generation;
        if let Some(checked) = self.closed.iter_mut().find(late) {
            checked.refuses();
        }
    }

    // The next opening may watch the same process: it hears of the death by its own monitor.
    fn refused_death(&mut self, generation: u32, pid: u64) {
        if let Some(late) = self.closed.iter().find(|late| late.generation == generation) {
            assert!(late.registry.forget(generation, pid).is_none(), "R3");
        }
        self.refused(generation);
    }

    // Callers ----------------------------------------------------------------------------------------------------------

    fn call(&mut self, at: usize) {
        let pid = self.living[at];
        if self.chance.one_in(60) {
            return self.open_or_close(pid);
        }
        let Some(binding) = self.callers[at].sent_to else {
            let name = 1 + self.chance.below(NAMES);
            self.callers[at].sent_to = self.directory.find(name);
            return;
        };
        let generation = binding.generation;
        match self.open.contains_key(&generation) {
            true => self.act(at, generation, pid),
            false => self.refused(generation),
        }
        self.post(generation);
        if !self.open.contains_key(&generation) || self.chance.one_in(4) {
            self.callers[at] = Caller::default();
        }
    }

    fn act(&mut self, at: usize, generation: u32, pid: u64) {
        let key = self.chance.below(KEYS);
        match self.chance.below(24) {
            0..=5 => self.register(generation, key, pid),
            6 => self.take_over(generation, key, pid),
            7 | 8 => self.unregister(generation, key, pid),
            9 => self.put_value(generation, key, pid),
            10..=14 => self.describe(at, generation, pid),
            15 | 16 => self.change_load(),
            17 => self.watch(generation),
            18 => self.unwatch(generation),
            19 | 20 => self.slice(generation),
            _ => self.find(generation),
        }
        let checked = self.checked(generation);
        checked.whereis(key);
        checked.lookup(key);
        checked.entry(key);
        checked.held_by(pid);
    }

    fn checked(&mut self, generation: u32) -> &mut Checked {
        &mut self.open.get_mut(&generation).expect("it is open").checked
    }

    fn register(&mut self, generation: u32, key: u64, pid: u64) {
        let value = self.chance.below(1000);
        // At times on behalf of a process that may be dead.
        let pid = if self.chance.one_in(6) {
            self.chance.below(self.born)
        } else {
            pid
        };
        let answer = self.checked(generation).register(key, pid, value, Displace::Dead);
        self.digest = mixed(self.digest ^ format!("{answer:?}").len() as u64 ^ key);
    }

    fn take_over(&mut self, generation: u32, key: u64, pid: u64) {
        let holder = self
            .checked(generation)
            .reference
            .holder(key)
            .map(|entry| entry.pid);
        let from = holder.filter(|_| !self.chance.one_in(5)).unwrap_or(pid);
        self.checked(generation)
            .register(key, pid, 1, Displace::Holder(from));
    }

    fn unregister(&mut self, generation: u32, key: u64, pid: u64) {
        let one = self.chance.one_in(2);
        let checked = self.checked(generation);
        let mut mine = checked
            .reference
            .of(pid)
            .map(|entry| (entry.key, entry.incarnation));
        let (key, incarnation) = mine.next().unwrap_or((key, 0));
        drop(mine);
        checked.unregister(key, pid, one.then_some(&[incarnation]));
    }

    fn put_value(&mut self, generation: u32, key: u64, pid: u64) {
        let value = self.chance.below(1000);
        let checked = self.checked(generation);
        let mine = checked.reference.of(pid).next();
        let (key, incarnation) = mine.map_or((key, 1), |entry| (entry.key, entry.incarnation));
        checked.put_value(key, incarnation, pid, value);
    }

    // Reads a version in one step and describes by it in a later one.
    fn describe(&mut self, at: usize, generation: u32, pid: u64) {
        let (attributes, facets) = (self.chance.below(1000), self.chance.below(1 << FACETS) as u8);
        let Some((key, expected)) = self.callers[at].read.take() else {
            let reference = &self.checked(generation).reference;
            let mine = reference.of(pid).find(|entry| {
                let first = reference.holder(entry.key);
                first.is_some_and(|first| first.incarnation == entry.incarnation)
            });
            let version = |entry: &crate::reference::Entry| {
                let described = entry.described.as_ref();
                (entry.key, described.map_or(0, |described| described.version))
            };
            self.callers[at].read = mine.map(version);
            return;
        };
        let place = self.open[&generation].binding.place;
        let checked = self.checked(generation);
        checked.describe(key, pid, expected, attributes, facets);
        let described = checked
            .reference
            .holder(key)
            .and_then(|entry| entry.described.as_ref());
        let slot = described.map(|described| (place, described.slot));
        self.slots.extend(slot);
        if self.slots.len() > 64 {
            let at = self.chance.below(64) as usize;
            self.slots.swap_remove(at);
        }
    }

    // By a slot of any age, whose shell may serve another instance by now.
    fn change_load(&mut self) {
        let (load, delta) = (self.chance.below(8), self.chance.below(7) as i64 - 3);
        let Some(&(place, slot)) = self.chance.pick(&self.slots) else {
            return;
        };
        let serving = |opening: &&mut Opening| opening.binding.place == place;
        match self.open.values_mut().find(serving) {
            Some(opening) if load > 3 => opening.checked.set_load(slot, load),
            Some(opening) => opening.checked.add_load(slot, delta),
            None => assert!(
                !self.shells[place as usize].set_load(slot, load),
                "no entry is left"
            ),
        }
    }

    fn asked(&mut self) -> Asked {
        let chance = &mut self.chance;
        let mut few = || (chance.draw() & chance.draw() & chance.draw()) as u8 & ((1 << FACETS) - 1);
        let (all, none, group) = (few(), few(), few());
        Asked {
            all,
            any: if group == 0 { vec![] } else { vec![group] },
            none: none & !all,
        }
    }

    fn find(&mut self, generation: u32) {
        let (asked, limit) = (self.asked(), 1 + self.chance.below(6) as usize);
        let order = [
            Order::None,
            Order::Load,
            Order::StartedAt,
            Order::Random(limit as u64),
        ];
        let order = order[self.chance.below(4) as usize];
        self.checked(generation).find(&asked, order, limit);
    }

    fn slice(&mut self, generation: u32) {
        let limit = 1 + self.chance.below(6) as usize;
        self.checked(generation).slice(limit);
    }

    fn watch(&mut self, generation: u32) {
        if self.checked(generation).reference.watches.len() >= 5 {
            return;
        }
        self.watches += 1;
        let (id, asked) = (self.watches, self.asked());
        let now = self.checked(generation).watch(id, asked);
        let view = now.into_iter().map(|seen| (seen.incarnation, seen)).collect();
        self.views.insert((generation, id), view);
    }

    fn unwatch(&mut self, generation: u32) {
        let watches = &self.open[&generation].checked.reference.watches;
        if let Some(id) = self.chance.pick(watches).map(|watch| watch.id) {
            self.checked(generation).unwatch(id);
            self.views.remove(&(generation, id));
        }
    }

    // Messages ---------------------------------------------------------------------------------------------------------

    // One thread sends them, so they arrive in the order of the changes, whenever that is.
    fn post(&mut self, generation: u32) {
        let Some(opening) = self.open.get_mut(&generation) else {
            return;
        };
        for event in std::mem::take(&mut opening.checked.sent) {
            let (delay, lot) = (self.chance.below(30), self.chance.draw());
            self.last_message = 1 + self.last_message.max(self.agenda.now() + delay);
            self.agenda
                .at(self.last_message, lot, Due::Message { generation, event });
        }
    }

    fn deliver(&mut self, generation: u32, event: Event) {
        let Some(view) = self.views.get_mut(&(generation, event.watch)) else {
            return;
        };
        let incarnation = event.seen.incarnation;
        match event.what {
            What::Join => assert!(view.insert(incarnation, event.seen).is_none(), "R6: joins once"),
            What::Change => assert!(
                view.insert(incarnation, event.seen).is_some(),
                "R6: joined before"
            ),
            What::Leave => assert!(view.remove(&incarnation).is_some(), "R6: leaves once"),
        }
        self.digest = mixed(self.digest ^ incarnation ^ event.watch << 32);
    }

    // Everything -------------------------------------------------------------------------------------------------------

    fn compare(&self) {
        for opening in self.open.values() {
            opening.checked.compare(KEYS, self.living.iter().copied());
        }
        self.check_directory();
    }

    /// Nobody calls until all that is under way has arrived: then the dead have left no trace.
    pub fn fall_quiet(&mut self) {
        while let Some(due) = self.agenda.advance() {
            match due {
                Due::Caller(_) => (),
                due => self.run(due),
            }
        }
        self.compare();
        let mut watched = 0;
        for (generation, opening) in &self.open {
            let entries = &opening.checked.reference.entries;
            assert!(entries.iter().all(|entry| self.stage.alive(entry.pid)), "R2");
            watched += opening.checked.reference.watched.len();
            opening.checked.reference.watches.iter().for_each(|watch| {
                let described = entries.iter().map(|entry| (entry.incarnation, entry.seen()));
                let named: BTreeMap<u64, Seen> =
                    described.filter(|(of, _)| watch.view.contains(of)).collect();
                let mut believed = self.views[&(*generation, watch.id)].clone();
                let wanted = opening
                    .checked
                    .reference
                    .matching(&watch.asked, &|pid| self.stage.alive(pid));
                assert_eq!(believed.len(), wanted.len(), "R6: nothing missed");
                // Neither loads nor values are told.
                for (incarnation, seen) in &mut believed {
                    let now = named.get(incarnation).expect("R6: it is there");
                    (seen.load, seen.value) = (now.load, now.value);
                }
                assert_eq!(believed, named, "R6: nothing missed");
            });
        }
        assert_eq!(self.stage.monitors(), watched as isize, "no monitor is lost");
        (0..CALLERS).for_each(|caller| self.later(Due::Caller(caller)));
    }

    /// Closes all: nothing is left.
    pub fn end(&mut self) {
        for (name, binding) in self.names() {
            self.unbind(name, binding);
        }
        self.fall_quiet();
        assert_eq!(self.directory.named(), 0, "D4");
        assert!(self.open.is_empty());
        for shell in &self.shells {
            let bytes = shell.bytes();
            assert_eq!((bytes.names, bytes.owners, bytes.watches), (0, 0, 0));
            assert!(
                bytes.index <= 2 * one_entry_s_index(),
                "no entry stays in an index"
            );
        }
    }
}

// One chunk serves as many entries as ever were at once here; whoever leaves one behind needs more.
fn one_entry_s_index() -> usize {
    let index = Index::new(5);
    index.insert(&[b"facet"], 1);
    index.native_bytes()
}
