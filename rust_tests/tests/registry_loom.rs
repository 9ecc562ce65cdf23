//! The registry's protocols under every order of their locks. R1 to R6 are `kantoku_core::registry`'s.
#![cfg(kantoku_loom)]

use std::collections::BTreeMap;
use std::sync::Arc;

use kantoku_core::index::Order;
use kantoku_core::registry::{Closed, Describing, Displace, Registered, Registry, What, Whereis};
use kantoku_rust_tests::orders::check_up_to;
use kantoku_rust_tests::reference::{Asked, facets};
use kantoku_rust_tests::world::{Name, Seen, Stage, World};
use loom::thread;

const KEY: u64 = 1;
const OTHER_KEY: u64 = 2;

/// Runs a model in every order that four preemptions can make; there is more than one, or loom does not see the core.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_up_to(4, model);
}

/// Three threads have so many orders that two preemptions are enough of them.
fn check_three(model: impl Fn() + Send + Sync + 'static) {
    check_up_to(2, model);
}

/// A registry as one thread sees it.
#[derive(Clone)]
struct Caller {
    registry: Arc<Registry<World>>,
    world: World,
    generation: u32,
}

impl Caller {
    fn new() -> Self {
        let registry = Arc::new(Registry::new(1, 3));
        registry.open(1, true);
        let stage = Stage::new(3);
        Self {
            registry,
            world: World::new(&stage),
            generation: 1,
        }
    }

    fn spawn(&self, run: impl FnOnce(Caller) + 'static) -> thread::JoinHandle<()> {
        let caller = self.clone();
        thread::spawn(move || run(caller))
    }

    fn try_register(&mut self, key: u64, pid: u64, displace: Displace) -> Option<Registered> {
        let name = Name::new(key, 1);
        let world = &mut self.world;
        let registered = self
            .registry
            .register(self.generation, name.probe(), pid, 5, displace, world);
        registered.ok()
    }

    fn register(&mut self, key: u64, pid: u64) -> Option<Registered> {
        self.try_register(key, pid, Displace::Dead)
    }

    fn unregister(&mut self, key: u64, pid: u64) -> Option<bool> {
        let name = Name::new(key, 1);
        let world = &mut self.world;
        self.registry
            .unregister(self.generation, name.probe(), pid, None, world)
            .ok()
    }

    fn describe(&mut self, key: u64, pid: u64, expected: u64) -> Option<Describing> {
        let name = Name::new(key, 1);
        let (world, facets) = (&mut self.world, facets(1));
        let described = self.registry.describe(
            self.generation,
            name.probe(),
            pid,
            expected,
            9 + expected,
            &facets,
            world,
        );
        described.ok()
    }

    /// The process dies, whoever watches it hears of it, and clears.
    fn kill(&mut self, pid: u64) {
        for _ in self.world.stage.kill(pid) {
            if let Some((monitor, mut remains)) = self.registry.forget(self.generation, pid) {
                drop(monitor);
                self.registry
                    .clear(self.generation, &remains.piece(usize::MAX), &mut self.world);
            }
        }
    }

    fn watch(&mut self, id: u64) -> BTreeMap<u64, Seen> {
        let mut view = BTreeMap::new();
        let asked = Asked::default().query();
        let watched = self.registry.watch(
            self.generation,
            asked,
            id,
            &self.world,
            |_, row, holding, load| {
                view.insert(holding.incarnation, Seen::row(row, holding, load));
            },
        );
        assert!(watched.is_ok());
        view
    }

    fn holder(&self, key: u64) -> Option<u64> {
        let name = Name::new(key, 1);
        match self.registry.whereis(self.generation, name.probe()) {
            Ok(Whereis::Held(pid)) => Some(pid),
            Ok(Whereis::Nobody) => None,
            other => panic!("unique and open, but {other:?}"),
        }
    }

    fn count(&self) -> Option<usize> {
        let asked = Asked::default().query();
        asked.with(Order::None, |query| {
            self.registry.count(self.generation, query, &self.world).ok()
        })
    }

    fn replayed(&self, mut view: BTreeMap<u64, Seen>) -> BTreeMap<u64, Seen> {
        for event in self.world.stage.take_told() {
            let (incarnation, seen) = (event.seen.incarnation, event.seen);
            match event.what {
                What::Join => assert!(view.insert(incarnation, seen).is_none(), "R6: a double"),
                What::Change => assert!(view.insert(incarnation, seen).is_some(), "R6: a gap"),
                What::Leave => assert!(view.remove(&incarnation).is_some(), "R6: a double"),
            }
        }
        view
    }

    /// Whoever holds a key is on the list of owners, and nobody else is.
    fn owners_agree(&self) {
        let holders = [self.holder(KEY), self.holder(OTHER_KEY)];
        for pid in 0..3 {
            let holds = holders.contains(&Some(pid));
            assert_eq!(self.registry.holds_any(self.generation, pid), holds, "R5");
        }
    }

    /// Closed, it holds nothing.
    fn end(&self) {
        let (handles, _) = self.registry.close();
        drop(handles);
        assert_eq!(self.world.stage.monitors(), 0, "every monitor came back");
        assert_eq!(self.registry.rows(), 0);
    }
}

#[test]
fn loom_a_process_that_dies_while_it_registers_leaves_nothing() {
    check(|| {
        let mut caller = Caller::new();
        let killer = caller.spawn(|mut caller| caller.kill(0));
        let registered = caller.register(KEY, 0).expect("open");
        killer.join().expect("it ends");
        assert!(matches!(registered, Registered::Done { .. } | Registered::Dead));
        assert_eq!(caller.holder(KEY), None, "R2, R5");
        caller.owners_agree();
        caller.end();
    });
}

#[test]
fn loom_an_owner_that_dies_while_it_registers_again_leaves_nothing() {
    check(|| {
        let mut caller = Caller::new();
        caller.register(OTHER_KEY, 0);
        let killer = caller.spawn(|mut caller| caller.kill(0));
        caller.register(KEY, 0).expect("open");
        killer.join().expect("it ends");
        assert_eq!(
            (caller.holder(KEY), caller.holder(OTHER_KEY)),
            (None, None),
            "R2, R5"
        );
        caller.owners_agree();
        caller.end();
    });
}

#[test]
fn loom_a_late_clean_up_never_removes_a_successor() {
    check(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        let killer = caller.spawn(|mut caller| caller.kill(0));
        let registered = caller.register(KEY, 1).expect("open");
        killer.join().expect("it ends");
        match registered {
            Registered::Done { .. } => assert_eq!(caller.holder(KEY), Some(1), "R3"),
            _ => assert_eq!(caller.holder(KEY), None, "R2"),
        }
        caller.owners_agree();
        caller.end();
    });
}

#[test]
fn loom_a_take_over_while_its_holder_registers_leaves_one_owner() {
    check(|| {
        let mut caller = Caller::new();
        let other = caller.spawn(|mut caller| {
            let taken = caller.try_register(KEY, 1, Displace::Holder(0));
            assert!(matches!(taken, Some(Registered::Done { .. })));
        });
        caller.register(KEY, 0).expect("open");
        other.join().expect("it ends");
        assert_eq!(caller.holder(KEY), Some(1), "R1");
        caller.owners_agree();
        caller.end();
    });
}

#[test]
fn loom_a_name_given_up_by_another_while_it_is_registered_leaves_no_owner() {
    check(|| {
        let mut caller = Caller::new();
        let other = caller.spawn(|mut caller| {
            caller.unregister(KEY, 0).expect("open");
        });
        caller.register(KEY, 0).expect("open");
        other.join().expect("it ends");
        caller.owners_agree();
        caller.end();
    });
}

#[test]
fn loom_a_registration_while_the_instance_closes_is_not_in_the_next() {
    check(|| {
        let mut caller = Caller::new();
        let closer = caller.spawn(|caller| {
            caller.end_loosely();
            caller.registry.open(2, true);
        });
        caller.register(KEY, 0);
        caller.unregister(KEY, 0);
        closer.join().expect("it ends");
        caller.generation = 2;
        assert_eq!(caller.holder(KEY), None);
        assert_eq!(caller.world.stage.monitors(), 0);
        caller.owners_agree();
        caller.end();
    });
}

impl Caller {
    fn end_loosely(&self) {
        drop(self.registry.close());
    }
}

#[test]
fn loom_an_entry_described_while_the_instance_closes_is_not_in_the_next() {
    check(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        let closer = caller.spawn(|mut caller| {
            caller.end_loosely();
            caller.registry.open(2, true);
            caller.generation = 2;
            caller.register(KEY, 1).expect("open");
            caller.describe(KEY, 1, 0).expect("open");
        });
        caller.describe(KEY, 0, 0);
        assert!(
            caller.count().is_none_or(|count| count <= 1),
            "an opening counts its own"
        );
        closer.join().expect("it ends");
        caller.generation = 2;
        assert_eq!(caller.count(), Some(1));
        caller.end();
    });
}

#[test]
fn loom_a_query_is_answered_by_the_opening_it_was_sent_to() {
    check(|| {
        let caller = Caller::new();
        let next = caller.spawn(|mut caller| {
            caller.end_loosely();
            caller.registry.open(2, true);
            caller.generation = 2;
            caller.register(KEY, 1).expect("open");
            caller.describe(KEY, 1, 0).expect("open");
        });
        assert!(matches!(caller.count(), None | Some(0)), "generation 1 had none");
        next.join().expect("it ends");
    });
}

#[test]
fn loom_a_described_entry_that_is_taken_over_and_cleared_leaves_once() {
    check(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        caller.describe(KEY, 0, 0);
        let view = caller.watch(1);
        assert_eq!(view.len(), 1);
        let killer = caller.spawn(|mut caller| caller.kill(0));
        caller.register(KEY, 1);
        killer.join().expect("it ends");
        assert!(caller.replayed(view).is_empty(), "R6");
        caller.owners_agree();
        caller.end();
    });
}

#[test]
fn loom_a_watch_that_begins_while_an_entry_comes_misses_nothing() {
    check(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        let describing = caller.spawn(|mut caller| {
            caller.describe(KEY, 0, 0);
            caller.describe(KEY, 0, 1);
        });
        let view = caller.watch(1);
        describing.join().expect("it ends");
        let view = caller.replayed(view);
        let believed: Vec<_> = view.values().map(|seen| seen.attributes).collect();
        assert_eq!(believed, [Some(10)], "R6");
        caller.end();
    });
}

#[test]
fn loom_a_watch_that_begins_while_an_entry_goes_hears_of_it_once() {
    check(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        caller.describe(KEY, 0, 0);
        let leaving = caller.spawn(|mut caller| {
            caller.unregister(KEY, 0);
        });
        let view = caller.watch(1);
        leaving.join().expect("it ends");
        assert!(caller.replayed(view).is_empty(), "R6");
        assert_eq!(caller.count(), Some(0));
        caller.end();
    });
}

#[test]
fn loom_a_watch_that_begins_while_an_owner_dies_hears_of_it_once_or_never_saw_it() {
    check(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        caller.describe(KEY, 0, 0);
        let killer = caller.spawn(|mut caller| caller.kill(0));
        let view = caller.watch(1);
        // Late, and refused once the process is dead.
        caller.describe(KEY, 0, 1);
        killer.join().expect("it ends");
        assert!(caller.replayed(view).is_empty(), "R6");
        caller.end();
    });
}

#[test]
fn loom_a_holder_that_dies_amid_a_take_over_and_a_registration_leaves_one_owner() {
    check_three(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        let killer = caller.spawn(|mut caller| caller.kill(0));
        let taker = caller.spawn(|mut caller| {
            caller.try_register(KEY, 1, Displace::Holder(0));
        });
        caller.register(KEY, 2);
        killer.join().expect("it ends");
        taker.join().expect("it ends");
        assert_ne!(caller.holder(KEY), Some(0), "R2");
        assert!(
            caller.holder(KEY).is_some(),
            "R3: the one of both who came second found a dead holder or a live one"
        );
        caller.owners_agree();
        caller.end();
    });
}

#[test]
fn loom_a_watch_hears_each_of_an_entry_s_ends_once_amid_describe_and_death() {
    check_three(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        let killer = caller.spawn(|mut caller| caller.kill(0));
        let describing = caller.spawn(|mut caller| {
            caller.describe(KEY, 0, 0);
        });
        let view = caller.watch(1);
        killer.join().expect("it ends");
        describing.join().expect("it ends");
        assert!(caller.replayed(view).is_empty(), "R6");
        caller.end();
    });
}

#[test]
fn loom_bytes_are_counted_while_an_entry_is_described() {
    check(|| {
        let mut caller = Caller::new();
        caller.register(KEY, 0);
        let describing = caller.spawn(|mut caller| {
            caller.describe(KEY, 0, 0);
        });
        assert!(caller.registry.bytes().total() > 0, "and nobody waits for ever");
        describing.join().expect("it ends");
        caller.end();
    });
}

// Keys with short spellings: these are looked up without a lock.
const SPELLED: [u64; 4] = [2, 8, 10, 16];

#[test]
fn loom_a_name_looked_up_while_its_table_grows_is_there_from_its_registration_on() {
    check_up_to(1, || {
        let mut caller = Caller::new();
        SPELLED[..3].iter().for_each(|&key| {
            caller.register(key, 0);
        });
        let looking = caller.spawn(|caller| {
            assert_eq!(caller.holder(SPELLED[0]), Some(0), "V2");
        });
        caller.register(SPELLED[3], 1);
        looking.join().expect("it ends");
        assert_eq!(caller.holder(SPELLED[3]), Some(1));
        caller.end();
    });
}

#[test]
fn loom_a_look_up_while_the_instance_closes_is_answered_by_none_but_its_opening() {
    check_three(|| {
        let mut caller = Caller::new();
        caller.register(SPELLED[0], 0);
        let closing = caller.spawn(|mut caller| {
            drop(caller.registry.close());
            caller.registry.open(2, true);
            caller.generation = 2;
            caller.register(SPELLED[0], 1);
        });
        let name = Name::new(SPELLED[0], 1);
        let found = caller.registry.whereis(1, name.probe());
        assert!(matches!(found, Ok(Whereis::Held(0)) | Err(Closed)), "{found:?}");
        closing.join().expect("it ends");
        caller.generation = 2;
        assert_eq!(caller.holder(SPELLED[0]), Some(1));
        caller.end();
    });
}
