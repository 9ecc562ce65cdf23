//! The real registry under threads, with deaths that are heard of late. R1 to R6 are `kantoku_core::registry`'s.
#![cfg(not(kantoku_loom))]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use kantoku_core::index::{Order, Slot};
use kantoku_core::registry::{Describing, Displace, Found, Registered, Registry, What};
use kantoku_rust_tests::agenda::Chance;
use kantoku_rust_tests::reference::{Asked, facets};
use kantoku_rust_tests::world::{Name, Seen, Stage, World};

const KEYS: u64 = 24;
const LIVING: u64 = 16;
const PROCESSES: u64 = 20_000;
const DEATHS: u64 = 4_000;
const CALLERS: u64 = 3;

/// All that the threads share.
struct Town {
    stage: Arc<Stage>,
    registry: Registry<World>,
    /// Counts deaths and reads, so that one can be told to be before the other.
    clock: AtomicU64,
    died_at: Box<[AtomicU64]>,
    /// Processes from here to `LIVING` beyond live.
    eldest: AtomicU64,
    slots: Mutex<Vec<Slot>>,
    done: AtomicBool,
}

impl Town {
    fn new(unique: bool) -> Self {
        let registry = Registry::new(4, 1);
        registry.open(1, unique);
        Self {
            stage: Stage::new(PROCESSES as usize),
            registry,
            clock: AtomicU64::new(1),
            died_at: (0..PROCESSES).map(|_| AtomicU64::new(u64::MAX)).collect(),
            eldest: AtomicU64::new(0),
            slots: Mutex::new(Vec::new()),
            done: AtomicBool::new(false),
        }
    }

    fn some_pid(&self, chance: &mut Chance) -> u64 {
        self.eldest.load(SeqCst) + chance.below(LIVING)
    }

    /// Deaths before a moment are seen by what begins then.
    fn moment(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    fn lived(&self, pid: u64, moment: u64) {
        assert!(
            self.died_at[pid as usize].load(SeqCst) > moment,
            "R4: {pid} was dead"
        );
    }

    fn kill_all_along(&self, downs: &Sender<u64>) {
        for pid in 0..DEATHS {
            let heard_by = self.stage.kill(pid);
            self.died_at[pid as usize].store(self.moment(), SeqCst);
            self.eldest.store(pid + 1, SeqCst);
            heard_by
                .iter()
                .for_each(|_| downs.send(pid).expect("the cleaner waits"));
            if pid % 8 == 0 {
                thread::yield_now();
            }
        }
        self.done.store(true, SeqCst);
    }

    fn clean(&self, downs: &Receiver<u64>) {
        let mut world = World::new(&self.stage);
        for pid in downs {
            let (monitor, mut remains) = self.registry.forget(1, pid).expect("it was watched");
            assert_eq!(monitor.pid, pid);
            while !remains.is_empty() {
                self.registry.clear(1, &remains.piece(2), &mut world);
            }
        }
    }
}

/// One thread that calls.
struct Caller<'a> {
    town: &'a Town,
    world: World,
    chance: Chance,
}

impl<'a> Caller<'a> {
    fn new(town: &'a Town, seed: u64) -> Self {
        Self {
            town,
            world: World::new(&town.stage),
            chance: Chance::new(seed),
        }
    }

    fn call_all_along(&mut self) {
        while !self.town.done.load(SeqCst) {
            let (key, pid) = (self.chance.below(KEYS), self.town.some_pid(&mut self.chance));
            match self.chance.below(8) {
                0..=2 => self.register(key, pid),
                3 => self.unregister(key, pid),
                4 | 5 => self.describe(key, pid),
                6 => self.find(),
                _ => self.read(key, pid),
            }
        }
    }

    fn register(&mut self, key: u64, pid: u64) {
        let displace = match self.chance.below(4) {
            0 => Displace::Holder(self.town.some_pid(&mut self.chance)),
            _ => Displace::Dead,
        };
        let (name, moment, world) = (Name::new(key, 5), self.town.moment(), &mut self.world);
        let registered = self
            .town
            .registry
            .register(1, name.probe(), pid, key, displace, world);
        if let Ok(Registered::Taken { pid }) = registered {
            self.town.lived(pid, moment);
        }
    }

    fn unregister(&mut self, key: u64, pid: u64) {
        let name = Name::new(key, 5);
        let removed = self
            .town
            .registry
            .unregister(1, name.probe(), pid, None, &mut self.world);
        assert!(removed.is_ok());
    }

    fn describe(&mut self, key: u64, pid: u64) {
        let (name, mask) = (Name::new(key, 5), self.chance.below(8) as u8);
        let expected = self.version(&name);
        let (attributes, facets, world) = (self.chance.draw(), facets(mask), &mut self.world);
        let described =
            self.town
                .registry
                .describe(1, name.probe(), pid, expected, attributes, &facets, world);
        if let Ok(Describing::Done { slot, .. }) = described {
            self.town.registry.set_load(slot, self.chance.below(9));
            self.add_to_some_load(slot);
        }
    }

    // By this slot or an older one, whose entry may be gone.
    fn add_to_some_load(&mut self, slot: Slot) {
        let mut slots = self.town.slots.lock().expect("nobody panicked");
        slots.push(slot);
        let late = self.chance.below(slots.len() as u64) as usize;
        self.town.registry.add_load(slots[late], 1);
        if slots.len() > 64 {
            slots.swap_remove(late);
        }
    }

    fn version(&self, name: &Name) -> u64 {
        let mut version = 0;
        self.town
            .registry
            .entry(1, name.probe(), &self.world, |_, _, holding, _| {
                version = holding
                    .described
                    .as_ref()
                    .map_or(0, |described| described.version);
            })
            .expect("open");
        version
    }

    fn find(&mut self) {
        let asked = Asked {
            all: self.chance.below(8) as u8,
            ..Asked::default()
        };
        let moment = self.town.moment();
        let found: Vec<Found> = asked.query().with(Order::Load, |query| {
            self.town.registry.find(1, query, 5, &self.world).expect("open")
        });
        found.iter().for_each(|one| self.town.lived(one.pid, moment));
        let distinct: BTreeSet<u64> = found.iter().map(|one| one.held.incarnation).collect();
        assert_eq!(distinct.len(), found.len(), "found once");
    }

    fn read(&mut self, key: u64, pid: u64) {
        let (name, moment) = (Name::new(key, 5), self.town.moment());
        let town = self.town;
        let mut incarnations = Vec::new();
        town.registry
            .lookup(1, name.probe(), &self.world, |_, row, holding| {
                town.lived(holding.pid, moment);
                assert_eq!(Seen::row(row, holding, 0).key, key);
                incarnations.push(holding.incarnation);
            })
            .expect("open");
        assert!(incarnations.is_sorted(), "in the order of registration");
        town.registry
            .held(1, pid, &self.world, |_, _, holding| assert_eq!(holding.pid, pid))
            .expect("open");
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let shown = town.registry.slice(1, from, 7, &self.world, |_, _, holding| {
                town.lived(holding.pid, moment);
            });
            cursor = shown.expect("open");
        }
        assert!(
            town.registry.bytes().total() < 1 << 30,
            "and nobody waits for ever"
        );
    }
}

type Views = BTreeMap<u64, BTreeMap<u64, Seen>>;

/// Watches begun while entries come and go, with what each answered.
fn watch_now_and_then(town: &Town) -> Views {
    let (world, mut views) = (World::new(&town.stage), Views::new());
    for id in 0..12 {
        let mut view = BTreeMap::new();
        town.registry
            .watch(1, asked(id).query(), id, &world, |_, row, holding, load| {
                view.insert(holding.incarnation, Seen::row(row, holding, load));
            })
            .expect("open");
        views.insert(id, view);
        (0..200).for_each(|_| thread::yield_now());
    }
    views
}

fn asked(watch: u64) -> Asked {
    Asked {
        all: (watch % 4) as u8,
        ..Asked::default()
    }
}

fn replay(town: &Town, views: &mut Views) {
    for event in town.stage.take_told() {
        let view = views.get_mut(&event.watch).expect("a watch that is there");
        let (incarnation, seen) = (event.seen.incarnation, event.seen);
        match event.what {
            What::Join => assert!(view.insert(incarnation, seen).is_none(), "R6: a double"),
            What::Change => assert!(view.insert(incarnation, seen).is_some(), "R6: a gap"),
            What::Leave => assert!(view.remove(&incarnation).is_some(), "R6: a double"),
        }
    }
}

/// When all is quiet, nothing of the dead is left, and each watch believes what a query finds.
fn settled(town: &Town, mut views: Views) {
    let world = World::new(&town.stage);
    let (mut owned, mut keys) = (BTreeMap::<u64, BTreeSet<u64>>::new(), BTreeSet::new());
    town.registry
        .slice(1, 0, usize::MAX, &world, |_, row, holding| {
            keys.insert(Seen::row(row, holding, 0).key);
            owned.entry(holding.pid).or_default().insert(holding.incarnation);
        })
        .expect("open");
    assert_eq!(town.registry.rows(), keys.len(), "R2: the dead have left no row");
    for pid in 0..DEATHS + LIVING {
        let mut held = BTreeSet::new();
        town.registry
            .held(1, pid, &world, |_, _, holding| {
                held.insert(holding.incarnation);
            })
            .expect("open");
        assert_eq!(held, owned.remove(&pid).unwrap_or_default(), "R2");
        assert_eq!(town.registry.holds_any(1, pid), !held.is_empty(), "R5");
    }
    replay(town, &mut views);
    for (watch, view) in views {
        let found = asked(watch).query().with(Order::None, |query| {
            town.registry.find(1, query, usize::MAX, &world).expect("open")
        });
        let found: BTreeSet<u64> = found.iter().map(|one| one.held.incarnation).collect();
        assert_eq!(view.into_keys().collect::<BTreeSet<_>>(), found, "R6");
    }
    drop(town.registry.close());
    assert_eq!(town.stage.monitors(), 0, "every monitor came back");
    assert_eq!(town.registry.rows(), 0);
}

fn stress(unique: bool) {
    let town = Town::new(unique);
    let views = thread::scope(|scope| {
        let (downs, heard) = channel();
        let town = &town;
        scope.spawn(move || town.clean(&heard));
        for seed in 0..CALLERS {
            scope.spawn(move || Caller::new(town, seed).call_all_along());
        }
        let watching = scope.spawn(|| watch_now_and_then(town));
        scope.spawn(move || town.kill_all_along(&downs));
        watching.join().expect("it ends")
    });
    settled(&town, views);
}

#[test]
fn unique_names_survive_deaths_take_overs_and_readers_at_once() {
    stress(true);
}

#[test]
fn duplicate_names_survive_deaths_and_readers_at_once() {
    stress(false);
}
