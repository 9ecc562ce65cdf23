//! A registry and its reference side by side: each call is made to both, and the answers must agree.
//!
//! The numbers in the messages are the invariants of `kantoku_core::registry`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kantoku_core::index::{Order, Slot};
use kantoku_core::registry::{
    Closed, Cursor, Describing, Description, Displace, Held, Holding, Registered, Registry, Whereis,
};

use crate::reference::{Asked, Reference, facets};
use crate::world::{Event, Monitor, Name, Seen, Stage, World};

/// One opening of a registry.
#[derive(Debug)]
pub struct Checked {
    pub registry: Arc<Registry<World>>,
    pub generation: u32,
    pub reference: Reference,
    /// What watches were told, until somebody takes it.
    pub sent: Vec<Event>,
    world: World,
    hashes: u64,
    scan: Option<Scan>,
}

/// A scan in slices that other calls come between.
#[derive(Debug)]
struct Scan {
    next: Cursor,
    /// There, and their owners alive, since the first slice.
    stayed: BTreeSet<u64>,
    met: BTreeSet<u64>,
}

impl Checked {
    /// Opens the registry. `latest` is the last incarnation of the opening before.
    pub fn open(
        registry: Arc<Registry<World>>,
        generation: u32,
        unique: bool,
        (world, hashes, latest): (World, u64, u64),
    ) -> Self {
        registry.open(generation, unique);
        Self {
            registry,
            generation,
            reference: Reference::new(unique, latest),
            sent: Vec::new(),
            world,
            hashes,
            scan: None,
        }
    }

    fn stage(&self) -> Arc<Stage> {
        Arc::clone(&self.world.stage)
    }

    fn name(&self, key: u64) -> Name {
        Name::new(key, self.hashes)
    }

    fn held(&self, key: u64, incarnation: u64) -> Held {
        let hash = self.name(key).hash();
        Held { hash, incarnation }
    }

    /// Both heard the same.
    fn agree_on_what_was_told(&mut self) {
        let told = std::mem::take(&mut self.reference.told);
        assert_eq!(self.world.stage.take_told(), told, "R6");
        self.sent.extend(told);
    }

    pub fn register(&mut self, key: u64, pid: u64, value: u64, displace: Displace) -> Registered {
        let (name, stage) = (self.name(key), self.stage());
        let world = &mut self.world;
        let answer = self
            .registry
            .register(self.generation, name.probe(), pid, value, displace, world)
            .expect("open");
        let alive = |pid| stage.alive(pid);
        self.reference
            .registered((key, pid, value), displace, &alive, answer);
        self.agree_on_what_was_told();
        answer
    }

    /// Registers and describes in one step; the two answers are those that two steps would have had.
    pub fn introduce(&mut self, key: u64, pid: u64, value: u64, (attributes, mask): (u64, u8)) -> Registered {
        let (name, stage, facets) = (self.name(key), self.stage(), facets(mask));
        let description = Description {
            attributes,
            facets: &facets,
        };
        let answer = self
            .registry
            .introduce(
                self.generation,
                name.probe(),
                pid,
                value,
                description,
                &mut self.world,
            )
            .expect("open");
        if answer == Registered::Dead {
            assert!(!stage.alive(pid), "R5");
            return answer;
        }
        let alive = |pid| stage.alive(pid);
        self.reference
            .registered((key, pid, value), Displace::Dead, &alive, answer);
        if matches!(answer, Registered::Done { .. }) {
            let done = self
                .slot_of(key)
                .map_or(Describing::NotHeld, |slot| Describing::Done { version: 1, slot });
            self.reference
                .described((key, pid), 0, (attributes, mask), true, done);
        }
        self.agree_on_what_was_told();
        answer
    }

    fn slot_of(&self, key: u64) -> Option<Slot> {
        let (mut slot, name) = (None, self.name(key));
        let see =
            |_: &_, _: &_, holding: &Holding<_>, _| slot = holding.described.as_ref().map(|one| one.slot);
        self.registry
            .entry(self.generation, name.probe(), &self.world, see)
            .expect("open");
        slot
    }

    pub fn unregister(&mut self, key: u64, pid: u64, only: Option<&[u64]>) {
        let name = self.name(key);
        let world = &mut self.world;
        let none_left = self
            .registry
            .unregister(self.generation, name.probe(), pid, only, world);
        assert_eq!(none_left, Ok(self.reference.unregister(key, pid, only)));
        self.agree_on_what_was_told();
    }

    /// The process died; what is to be cleared.
    pub fn forget(&mut self, pid: u64) -> Vec<Held> {
        let forgotten = self.registry.forget(self.generation, pid);
        let forgotten = forgotten.map(|(monitor, mut remains)| (monitor, remains.piece(usize::MAX)));
        let incarnations =
            |(_, held): &(Monitor, Vec<Held>)| held.iter().map(|held| held.incarnation).collect();
        assert_eq!(
            forgotten.as_ref().map(incarnations),
            self.reference.forget(pid),
            "R2, in the order of registration"
        );
        forgotten.map_or_else(Vec::new, |(monitor, held)| {
            assert_eq!(monitor.pid, pid);
            held
        })
    }

    pub fn clear(&mut self, held: &[Held]) {
        self.registry.clear(self.generation, held, &mut self.world);
        let incarnations: Vec<u64> = held.iter().map(|held| held.incarnation).collect();
        self.reference.clear(&incarnations);
        self.agree_on_what_was_told();
    }

    pub fn put_value(&mut self, key: u64, incarnation: u64, pid: u64, value: u64) {
        let held = self.held(key, incarnation);
        let put = self.registry.put_value(self.generation, held, pid, value);
        assert_eq!(
            put,
            Ok(self.reference.put_value(key, incarnation, pid, value)),
            "R3"
        );
    }

    pub fn describe(&mut self, key: u64, pid: u64, expected: u64, attributes: u64, mask: u8) {
        let (name, alive) = (self.name(key), self.world.stage.alive(pid));
        let (probe, facets, world) = (name.probe(), facets(mask), &mut self.world);
        let answer = self
            .registry
            .describe(self.generation, probe, pid, expected, attributes, &facets, world)
            .expect("open");
        self.reference
            .described((key, pid), expected, (attributes, mask), alive, answer);
        self.agree_on_what_was_told();
    }

    pub fn set_load(&mut self, slot: Slot, load: u64) {
        assert_eq!(
            self.registry.set_load(slot, load),
            self.reference.set_load(slot, load)
        );
    }

    pub fn add_load(&mut self, slot: Slot, delta: i64) {
        assert_eq!(
            self.registry.add_load(slot, delta),
            self.reference.add_load(slot, delta)
        );
    }

    pub fn whereis(&self, key: u64) {
        let reference = &self.reference;
        let holder = reference
            .holder(key)
            .map_or(Whereis::Nobody, |entry| Whereis::Held(entry.pid));
        let wanted = if reference.unique {
            holder
        } else {
            Whereis::Duplicate
        };
        let found = self.registry.whereis(self.generation, self.name(key).probe());
        assert_eq!(found, Ok(wanted), "R1, R2");
    }

    pub fn lookup(&self, key: u64) {
        let (mut seen, name) = (Vec::new(), self.name(key));
        self.registry
            .lookup(self.generation, name.probe(), &self.world, |_, row, holding| {
                seen.push(Seen::row(row, holding, 0));
            })
            .expect("open");
        let wanted = self.live().filter(|one| one.key == key);
        assert_eq!(seen, wanted.map(without_load).collect::<Vec<_>>(), "R1, R2, R4");
    }

    pub fn held_by(&self, pid: u64) {
        let mut seen = Vec::new();
        self.registry
            .held(self.generation, pid, &self.world, |_, row, holding| {
                seen.push(Seen::row(row, holding, 0));
            })
            .expect("open");
        let wanted = self.live().filter(|one| one.pid == pid);
        assert_eq!(seen, wanted.map(without_load).collect::<Vec<_>>(), "R2, R4");
        assert_eq!(
            self.registry.holds_any(self.generation, pid),
            self.reference.holds_any(pid)
        );
    }

    pub fn entry(&self, key: u64) {
        let (mut seen, name) = (None, self.name(key));
        self.registry
            .entry(
                self.generation,
                name.probe(),
                &self.world,
                |_, row, holding, load| {
                    seen = Some(Seen::row(row, holding, load));
                },
            )
            .expect("open");
        let holder = self.reference.holder(key);
        let unique = self.reference.unique;
        let wanted = holder.filter(|entry| unique && self.world.stage.alive(entry.pid));
        assert_eq!(seen, wanted.map(|entry| entry.seen()), "R4");
    }

    fn live(&self) -> impl Iterator<Item = Seen> {
        let live = self.reference.entries.iter();
        live.filter(|entry| self.world.stage.alive(entry.pid))
            .map(|entry| entry.seen())
    }

    pub fn find(&self, asked: &Asked, order: Order, limit: usize) {
        let stage = self.stage();
        let wanted = self.reference.matching(asked, &|pid| stage.alive(pid));
        let found = asked.query().with(order, |query| {
            self.registry
                .find(self.generation, query, limit, &self.world)
                .expect("open")
        });
        assert_eq!(found.len(), wanted.len().min(limit), "R4");
        let mut sorted: Vec<u64> = wanted.iter().map(|entry| rank(order, &entry.seen())).collect();
        sorted.sort_unstable();
        let mut seen = BTreeSet::new();
        for (found, rank_wanted) in found.iter().zip(sorted) {
            let matched = wanted
                .iter()
                .find(|entry| entry.incarnation == found.held.incarnation)
                .expect("R4: alive and named");
            assert_eq!((found.pid, found.load), (matched.pid, matched.seen().load));
            assert_eq!(rank(order, &matched.seen()), rank_wanted, "in order by {order:?}");
            assert!(seen.insert(found.held.incarnation), "found once");
            self.shows(found, &matched.seen());
        }
        let count = asked.query().with(order, |query| {
            self.registry.count(self.generation, query, &self.world)
        });
        assert_eq!(count, Ok(wanted.len()), "R4");
    }

    fn shows(&self, found: &kantoku_core::registry::Found, wanted: &Seen) {
        let shown = self
            .registry
            .show_found(self.generation, found, |_, row, holding, load| {
                assert_eq!(Seen::row(row, holding, load), *wanted);
            });
        assert_eq!(shown, Ok(true));
    }

    pub fn watch(&mut self, id: u64, asked: Asked) -> Vec<Seen> {
        let (mut seen, stage) = (Vec::new(), self.stage());
        self.registry
            .watch(
                self.generation,
                asked.query(),
                id,
                &self.world,
                |_, row, holding, load| {
                    seen.push(Seen::row(row, holding, load));
                },
            )
            .expect("open");
        seen.sort_unstable();
        let wanted = self.reference.watch(id, asked, &|pid| stage.alive(pid));
        assert_eq!(seen, wanted, "R6: what it starts from");
        seen
    }

    pub fn unwatch(&mut self, id: u64) {
        let ended = self.registry.unwatch(self.generation, |&watch| watch == id);
        let wanted = self.reference.unwatch(id);
        assert_eq!(ended, if wanted { vec![id] } else { vec![] });
    }

    /// The next slice of a scan, or the first of a new one.
    pub fn slice(&mut self, limit: usize) {
        let mut scan = self.scan.take().unwrap_or_else(|| Scan {
            next: 0,
            stayed: self.live().map(|seen| seen.incarnation).collect(),
            met: BTreeSet::new(),
        });
        let now: BTreeSet<Seen> = self.live().map(without_load).collect();
        scan.stayed
            .retain(|stayed| now.iter().any(|seen| seen.incarnation == *stayed));
        let mut shown = Vec::new();
        let widest = self.registry.slice_holders(self.generation, scan.next);
        let next = self
            .registry
            .slice(
                self.generation,
                scan.next,
                limit,
                &self.world,
                |_, row, holding| {
                    let seen = Seen::row(row, holding, 0);
                    assert!(now.contains(&seen), "R4");
                    assert!(scan.met.insert(seen.incarnation), "met once");
                    shown.push(seen.key);
                },
            )
            .expect("open");
        assert!(
            shown.len() <= limit.max(widest.expect("open")),
            "no longer than asked for"
        );
        shown.dedup();
        assert!(
            shown.len() <= limit.max(1),
            "a key of more holders is shown alone"
        );
        match next {
            Some(next) => self.scan = Some(Scan { next, ..scan }),
            None => assert!(scan.stayed.is_subset(&scan.met), "who stays is met"),
        }
    }

    /// Compares all there is.
    pub fn compare(&self, keys: u64, pids: impl Iterator<Item = u64>) {
        (0..keys).for_each(|key| {
            self.whereis(key);
            self.lookup(key);
            self.entry(key);
        });
        pids.for_each(|pid| self.held_by(pid));
        self.find(&Asked::default(), Order::StartedAt, usize::MAX);
        let keys: BTreeSet<u64> = self.reference.entries.iter().map(|entry| entry.key).collect();
        assert_eq!(self.registry.rows(), keys.len());
        for watch in &self.reference.watches {
            let there = |entry: &&crate::reference::Entry| watch.view.contains(&entry.incarnation);
            let views = self.reference.entries.iter().filter(there).count();
            assert_eq!(views, watch.view.len(), "R6: no watch believes in what is gone");
        }
    }

    /// Closes. Every handle comes back, and every later call is refused.
    pub fn close(&mut self) {
        let (handles, watchers) = self.registry.close();
        let pids: BTreeSet<u64> = handles.iter().map(|monitor| monitor.pid).collect();
        assert_eq!(pids, self.reference.watched);
        assert_eq!(handles.len(), pids.len(), "one monitor for each owner");
        let watches: Vec<u64> = self.reference.watches.iter().map(|watch| watch.id).collect();
        assert_eq!(watchers, watches);
        self.agree_on_what_was_told();
        self.refuses();
    }

    /// Whatever is asked for this generation is answered with `Closed`, or does nothing.
    pub fn refuses(&mut self) {
        let (name, generation) = (self.name(0), self.generation);
        let (registry, world) = (&*self.registry, &mut self.world);
        let probe = name.probe();
        let registered = registry.register(generation, probe, 0, 0, Displace::Holder(0), world);
        assert_eq!(registered, Err(Closed));
        assert_eq!(
            registry.unregister(generation, probe, 0, None, world),
            Err(Closed)
        );
        let described = registry.describe(generation, probe, 0, 0, 0, &facets(1), world);
        assert_eq!(described, Err(Closed));
        assert_eq!(registry.whereis(generation, probe), Err(Closed));
        let query = Asked::default().query();
        let found = query.with(Order::None, |query| {
            registry.find(generation, query, 1, world).err()
        });
        assert_eq!(found, Some(Closed));
        let counted = query.with(Order::None, |query| registry.count(generation, query, world));
        assert_eq!(counted, Err(Closed));
        let watched = registry.watch(generation, query, 7, world, |_, _, _, _| ());
        assert_eq!(watched, Err((Closed, 7)));
        assert!(registry.forget(generation, 0).is_none() && !registry.holds_any(generation, 0));
        assert!(registry.held(generation, 0, world, |_, _, _| ()).is_err());
        assert!(registry.slice(generation, 0, 1, world, |_, _, _| ()).is_err());
        assert!(registry.lookup(generation, probe, world, |_, _, _| ()).is_err());
        assert!(registry.entry(generation, probe, world, |_, _, _, _| ()).is_err());
        assert!(registry.unwatch(generation, |_| true).is_empty());
    }
}

fn without_load(seen: Seen) -> Seen {
    Seen { load: 0, ..seen }
}

fn rank(order: Order, seen: &Seen) -> u64 {
    match order {
        Order::Load => seen.load,
        Order::StartedAt => seen.incarnation,
        Order::None | Order::Random(_) => 0,
    }
}
