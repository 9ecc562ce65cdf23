//! The power goes at any step of the disk, and what was not synced is lost, kept or torn, write by write. Afterwards:
//!
//! 1. The database opens.
//! 2. All that was answered with `Ok` is there, or something newer that was accepted.
//! 3. What is there is what was accepted up to some moment, of all keys alike: a batch is there as a whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kantoku_rust_tests::store::{Dice, Fault, PATIENCE, UnreliableDisk, end};
use kantoku_store::{
    Backoff, Completion, Durability, GroupCommit, Options, Outcome, Revision, Store, StoreError, Ticket,
};
use proptest::prelude::*;

const KEYS: u64 = 5;
const CALLS: u64 = 60;
const STEPS: u64 = 400;

type Contents = BTreeMap<Vec<u8>, (Revision, Vec<u8>)>;

fn options() -> Options {
    Options {
        cache_bytes: 64 << 10,
        group_commit: GroupCommit {
            sync_window: Duration::ZERO,
            async_window: Duration::from_micros(300),
            bytes: 1 << 20,
        },
        backoff: Backoff {
            first: Duration::from_micros(200),
            max: Duration::from_micros(200),
        },
        ..Options::default()
    }
}

fn cases() -> ProptestConfig {
    let cases = ProptestConfig::default().cases;
    let cases = if std::env::var_os("KANTOKU_SOAK").is_some() {
        cases * 40
    } else {
        cases
    };
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_is_older(seed: u64) {
        let mut dice = Dice::new(seed);
        let disk = UnreliableDisk::new();
        let mut history = History::default();
        for _ in 0..=dice.below(3) {
            disk.fault(Fault::PowerCut { after: dice.below(STEPS) });
            if let Ok(store) = Store::open_on(disk.clone(), options()) {
                history.write(&store, &mut dice);
                end(&store);
            }
            disk.restart(&mut dice);
            history.check(&disk);
        }
    }
}

/// What the store held after each accepted call, and how many of those it has acknowledged.
struct History {
    states: Vec<Contents>,
    acknowledged: Arc<AtomicUsize>,
}

impl Default for History {
    fn default() -> Self {
        Self::from(Contents::new())
    }
}

impl From<Contents> for History {
    fn from(contents: Contents) -> Self {
        Self {
            states: vec![contents],
            acknowledged: Arc::new(AtomicUsize::new(0)),
        }
    }
}

impl History {
    fn write(&mut self, store: &Store, dice: &mut Dice) {
        for _ in 0..CALLS {
            if !self.call(store, dice) {
                return;
            }
        }
    }

    /// Calls once, and sometimes waits for the answer; `false` if that was a failure.
    fn call(&mut self, store: &Store, dice: &mut Dice) -> bool {
        let mut state = self.states.last().expect("never empty").clone();
        let key = format!("key {}", dice.below(KEYS)).into_bytes();
        let revision = near(
            state
                .get(&key)
                .map_or(Revision::new(0, 0), |(revision, _)| *revision),
            dice,
        );
        let durability = if dice.one_in(2) {
            Durability::Sync
        } else {
            Durability::Async
        };
        let ticket = if dice.one_in(8) {
            state.retain(|k, (stored, _)| *k != key || *stored > revision);
            self.watch(|done| store.delete(&key, revision, durability, done))
        } else {
            let bytes = vec![dice.roll() as u8; dice.below(9000) as usize];
            let ticket = self.watch(|done| store.put(&key, revision, &bytes, durability, done));
            if state.get(&key).is_none_or(|(stored, _)| *stored <= revision) {
                state.insert(key, (revision, bytes));
            }
            ticket
        };
        self.states.push(state);
        dice.one_in(2)
            || ticket
                .wait(PATIENCE)
                .expect("every accepted call is answered")
                .is_ok()
    }

    /// Has the call counted as acknowledged when it is answered with `Ok`.
    fn watch(&self, call: impl FnOnce(Completion) -> Result<(), StoreError>) -> Ticket {
        let (number, acknowledged) = (self.states.len(), self.acknowledged.clone());
        let (tell, ticket) = Ticket::new();
        let done = Box::new(move |result: Result<Outcome, StoreError>| {
            if result.is_ok() {
                acknowledged.fetch_max(number, Ordering::SeqCst);
            }
            tell(result);
        });
        call(done).expect("an open store with room accepts");
        ticket
    }

    fn check(&mut self, disk: &UnreliableDisk) {
        let store = Store::open_on(disk.clone(), options()).expect("opens after a power cut");
        let found = contents(&store);
        store.close(PATIENCE).expect("closes");
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        assert!(
            self.states[acknowledged..].contains(&found),
            "of {} calls {acknowledged} were acknowledged; found in their place: {:?}",
            self.states.len() - 1,
            found
                .iter()
                .map(|(key, (revision, _))| (String::from_utf8_lossy(key), revision))
                .collect::<Vec<_>>()
        );
        *self = Self::from(found);
    }
}

fn near(revision: Revision, dice: &mut Dice) -> Revision {
    match dice.below(8) {
        0 => Revision::new(revision.incarnation, revision.revision.saturating_sub(1)),
        1 => Revision::new(revision.incarnation + 1, 0),
        _ => Revision::new(revision.incarnation, revision.revision + 1),
    }
}

fn contents(store: &Store) -> Contents {
    let keys = store.keys(None, 100).expect("keys can be read").keys;
    let snapshot = |key: Vec<u8>| {
        let snapshot = store
            .get(&key)
            .expect("a value can be read")
            .expect("a listed key has one");
        (key, (snapshot.revision, snapshot.bytes))
    };
    keys.into_iter().map(snapshot).collect()
}
