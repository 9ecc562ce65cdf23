//! What the measurements share: a registry with so many names, and tags that some of their holders have.

use kantoku_core::index::{Order, Slot};
use kantoku_core::registry::{Describing, Displace, Registry};
use kantoku_rust_tests::agenda::Chance;
use kantoku_rust_tests::reference::Asked;
use kantoku_rust_tests::world::{Name, Stage, World};

/// Holders of names, all alive.
const PROCESSES: u64 = 1_000;
const GENERATION: u32 = 1;
const PARTS: usize = 64;

/// A registry of `names` names, each described.
pub struct Town {
    pub registry: Registry<World>,
    pub world: World,
    names: Vec<Name>,
    slots: Vec<Slot>,
    chance: Chance,
}

impl Town {
    /// Of the agents each has tag 0; every hundredth tag 1, every ten-thousandth tag 2.
    pub fn new(names: u64) -> Self {
        let registry = Registry::new(PARTS, 1);
        registry.open(GENERATION, true);
        let world = World::new(&Stage::new(PROCESSES as usize));
        let mut town = Self {
            registry,
            world,
            names: (0..names).map(|number| Name::new(number * 2, u64::MAX)).collect(),
            slots: Vec::new(),
            chance: Chance::new(names),
        };
        (0..names).for_each(|at| town.settle(at));
        town
    }

    fn settle(&mut self, at: u64) {
        let tags = tags(at);
        let (name, pid) = (&self.names[at as usize], at % PROCESSES);
        let world = &mut self.world;
        self.registry
            .register(GENERATION, name.probe(), pid, at, Displace::Dead, world)
            .expect("open");
        let described = self
            .registry
            .describe(GENERATION, name.probe(), pid, 0, at, &tags, world);
        if let Ok(Describing::Done { slot, .. }) = described {
            self.registry.set_load(slot, self.chance.below(100));
            self.slots.push(slot);
        }
    }

    /// Looks some name up.
    pub fn whereis(&mut self) -> bool {
        let name = &self.names[self.chance.below(self.names.len() as u64) as usize];
        self.registry.whereis(GENERATION, name.probe()).is_ok()
    }

    /// Gives a name to a process that has others, and takes it away again.
    pub fn register(&mut self) {
        let name = Name::new(u64::MAX - 1, u64::MAX);
        let pid = self.chance.below(PROCESSES);
        self.registry
            .register(GENERATION, name.probe(), pid, 0, Displace::Dead, &mut self.world)
            .expect("open");
        self.registry
            .unregister(GENERATION, name.probe(), pid, None, &mut self.world)
            .expect("open");
    }

    /// Gives some agent another load.
    pub fn set_load(&mut self) {
        let slot = self.slots[self.chance.below(self.slots.len() as u64) as usize];
        self.registry.set_load(slot, self.chance.below(100));
    }

    /// The least loaded one with a tag.
    pub fn find(&self, tag: u8) -> usize {
        let asked = Asked {
            all: 1 << tag,
            ..Asked::default()
        };
        asked.query().with(Order::Load, |query| {
            let found = self.registry.find(GENERATION, query, 1, &self.world);
            found.expect("open").len()
        })
    }
}

fn tags(at: u64) -> Vec<Box<[u8]>> {
    let hundredth = u8::from(at.is_multiple_of(100)) << 1;
    let ten_thousandth = u8::from(at.is_multiple_of(10_000)) << 2;
    kantoku_rust_tests::reference::facets(1 | hundredth | ten_thousandth)
}
