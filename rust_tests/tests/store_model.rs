//! A store answers as a map does that compares revisions, whether its contents are queued, on disk, or both.

use std::collections::BTreeMap;
use std::time::Duration;

use kantoku_rust_tests::store::{PATIENCE, UnreliableDisk, flush};
use kantoku_store::{
    Completion, Durability, GroupCommit, Options, Outcome, Revision, Store, StoreError, Ticket,
};
use proptest::prelude::*;

type Model = BTreeMap<Vec<u8>, (Revision, Vec<u8>)>;

#[derive(Debug, Clone)]
enum Step {
    Put {
        key: u8,
        revision: Revision,
        fill: u8,
        length: usize,
        durability: Durability,
    },
    Delete {
        key: u8,
        up_to: Revision,
        durability: Durability,
    },
    Get {
        key: u8,
    },
    Keys {
        limit: usize,
    },
    Flush,
    Reopen,
}

fn revision() -> impl Strategy<Value = Revision> {
    (0..3_u64, 0..5_u64).prop_map(|(incarnation, revision)| Revision::new(incarnation, revision))
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![1 => Just(Durability::Sync), 3 => Just(Durability::Async)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12_u8, revision(), any::<u8>(), 0..3000_usize, durability())
            .prop_map(|(key, revision, fill, length, durability)| Step::Put { key, revision, fill, length, durability }),
        3 => (0..12_u8, revision(), durability())
            .prop_map(|(key, up_to, durability)| Step::Delete { key, up_to, durability }),
        4 => (0..12_u8).prop_map(|key| Step::Get { key }),
        2 => (0..6_usize).prop_map(|limit| Step::Keys { limit }),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_map_that_compares_revisions(steps in prop::collection::vec(step(), 1..80)) {
        let mut subject = Subject::new();
        for step in steps {
            subject.step(step)?;
        }
    }
}

struct Subject {
    disk: UnreliableDisk,
    store: Store,
    model: Model,
}

impl Subject {
    fn new() -> Self {
        let disk = UnreliableDisk::new();
        let store = open(&disk);
        Self {
            disk,
            store,
            model: Model::new(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Put {
                key,
                revision,
                fill,
                length,
                durability,
            } => self.put(&[key], revision, vec![fill; length], durability),
            Step::Delete {
                key,
                up_to,
                durability,
            } => self.delete(&[key], up_to, durability),
            Step::Get { key } => self.get(&[key]),
            Step::Keys { limit } => self.keys(limit),
            Step::Flush => self.flush(),
            Step::Reopen => self.reopen(),
        }
    }

    fn put(
        &mut self,
        key: &[u8],
        revision: Revision,
        bytes: Vec<u8>,
        durability: Durability,
    ) -> Result<(), TestCaseError> {
        let newer = self.newer(key, revision);
        let outcome = call(durability, |done| {
            self.store.put(key, revision, &bytes, durability, done)
        });
        if newer.is_none() {
            self.model.insert(key.to_vec(), (revision, bytes));
        }
        self.judge(outcome, newer)
    }

    fn delete(&mut self, key: &[u8], up_to: Revision, durability: Durability) -> Result<(), TestCaseError> {
        let newer = self.newer(key, up_to);
        let outcome = call(durability, |done| self.store.delete(key, up_to, durability, done));
        if newer.is_none() {
            self.model.remove(key);
        }
        self.judge(outcome, newer)
    }

    fn newer(&self, key: &[u8], than: Revision) -> Option<Revision> {
        self.model
            .get(key)
            .map(|(revision, _)| *revision)
            .filter(|revision| *revision > than)
    }

    fn judge(&self, outcome: Option<Outcome>, newer: Option<Revision>) -> Result<(), TestCaseError> {
        let expected = newer.map_or(Outcome::Done, |by| Outcome::Superseded { by });
        prop_assert_eq!(outcome.unwrap_or(expected), expected);
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<(), TestCaseError> {
        let found = self.store.get(key).expect("can be read");
        prop_assert_eq!(
            found.map(|found| (found.revision, found.bytes)),
            self.model.get(key).cloned()
        );
        Ok(())
    }

    fn keys(&self, limit: usize) -> Result<(), TestCaseError> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.keys(after.as_deref(), limit).expect("can be read");
            prop_assert!(
                page.keys.len() <= limit.max(1),
                "{} keys where {limit} were asked for",
                page.keys.len()
            );
            keys.extend(page.keys);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(keys, self.model.keys().cloned().collect::<Vec<_>>());
        Ok(())
    }

    fn flush(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(flush(&self.store).expect("is written"), Outcome::Done);
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), TestCaseError> {
        self.store.close(PATIENCE).expect("closes with all written");
        self.store = open(&self.disk);
        Ok(())
    }
}

fn open(disk: &UnreliableDisk) -> Store {
    let group_commit = GroupCommit {
        sync_window: Duration::ZERO,
        async_window: Duration::from_secs(60),
        bytes: 1 << 30,
    };
    Store::open_on(
        disk.clone(),
        Options {
            group_commit,
            ..Options::default()
        },
    )
    .expect("opens")
}

/// Waits for the answer to a `Sync` call.
fn call(durability: Durability, call: impl FnOnce(Completion) -> Result<(), StoreError>) -> Option<Outcome> {
    let (done, ticket) = Ticket::new();
    call(done).expect("is accepted");
    let answered = (durability == Durability::Sync).then(|| ticket.wait(PATIENCE).expect("is answered"));
    answered.map(|result| result.expect("is written"))
}
