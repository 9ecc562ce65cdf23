//! What the store does when the disk, the database or a caller fails it.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kantoku_rust_tests::store::{
    Dice, Fault, PATIENCE, UnreliableDisk, end, eventually, flush, found, put_async, put_sync,
};
use kantoku_store::{
    Backoff, Damage, Durability, GroupCommit, OnCorrupt, Options, Outcome, Revision, Store, StoreError,
    Ticket, Turn, unwatched,
};
use proptest::prelude::*;

/// Writes nothing by itself, except `Sync` calls and what is flushed.
fn patient() -> Options {
    let group_commit = GroupCommit {
        sync_window: Duration::ZERO,
        async_window: Duration::from_secs(60),
        bytes: 1 << 30,
    };
    let backoff = Backoff {
        first: Duration::from_millis(1),
        max: Duration::from_millis(4),
    };
    Options {
        group_commit,
        backoff,
        ..Options::default()
    }
}

fn open(disk: &UnreliableDisk) -> Store {
    Store::open_on(disk.clone(), patient()).expect("opens")
}

#[test]
fn a_full_disk_is_told_reads_go_on_and_async_calls_are_written_when_there_is_room() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    put_sync(&store, b"old", 1, b"was there before").expect("is written");

    disk.fault(Fault::Full { at: disk.len() });
    let large = vec![7; 4 << 20];
    put_async(&store, b"async", 1, &large).expect("is accepted");
    let error = put_sync(&store, b"sync", 1, &large).expect_err("does not fit");
    assert_eq!(error.reason(), "disk_full");
    assert_eq!(found(&store, b"old"), Some((1, b"was there before".to_vec())));
    assert_eq!(
        found(&store, b"async"),
        Some((1, large.clone())),
        "still pending, so still seen"
    );
    assert_eq!(found(&store, b"sync"), None, "its caller was told that it failed");
    eventually(
        "the async call is tried again, and what is there can be read all the while",
        || found(&store, b"old") == Some((1, b"was there before".to_vec())) && store.stats().retried >= 20,
    );

    disk.fault(Fault::None);
    eventually("the async call is written", || store.stats().pending_keys == 0);
    put_sync(&store, b"sync", 1, &large).expect("fits now");
    store.close(PATIENCE).expect("closes");
    let store = open(&disk);
    assert_eq!(found(&store, b"async"), Some((1, large)));
}

#[test]
fn a_failed_sync_is_told_to_everyone_in_the_batch() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    disk.fault(Fault::Sync(std::io::ErrorKind::Other));
    let tickets: Vec<Ticket> = (0..5_u64)
        .map(|n| waiting(&store, n, Durability::Async))
        .collect();
    assert_eq!(flush(&store).expect_err("fails").reason(), "io");
    for ticket in tickets {
        let told = ticket.wait(PATIENCE).expect("is answered");
        assert_eq!(told.expect_err("fails").reason(), "io");
    }
    disk.fault(Fault::None);
    eventually("all are written", || store.stats().pending_keys == 0);
    let stats = store.stats();
    assert!(
        stats.failed_commits >= 1 && stats.retried >= 5 && stats.reopened >= 1,
        "{stats:?}"
    );
}

#[test]
fn an_async_put_keeps_the_sync_put_that_replaced_it() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    disk.fault(Fault::Sync(std::io::ErrorKind::Other));
    put_async(&store, b"key", 1, b"accepted").expect("is accepted");
    put_sync(&store, b"key", 2, b"newer").expect_err("fails");
    disk.fault(Fault::None);
    eventually("the newer one is written", || store.stats().commits > 0);
    assert_eq!(found(&store, b"key"), Some((2, b"newer".to_vec())));
}

#[test]
fn what_came_meanwhile_is_newer_than_what_is_tried_again() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    disk.fault(Fault::Sync(std::io::ErrorKind::Other));
    put_async(&store, b"key", 1, b"first").expect("is accepted");
    flush(&store).expect_err("fails");
    put_async(&store, b"key", 2, b"second").expect("is accepted");
    put_async(&store, b"other", 1, b"other").expect("is accepted");
    delete(&store, b"other", Revision::MAX);
    disk.fault(Fault::None);
    flush(&store).expect("is written");
    assert_eq!(found(&store, b"key"), Some((2, b"second".to_vec())));
    assert_eq!(found(&store, b"other"), None);
}

#[test]
fn a_failed_read_has_the_database_opened_anew() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    put_sync(&store, b"key", 1, &[1; 100_000]).expect("is written");
    store.close(PATIENCE).expect("closes");
    let store = Store::open_on(
        disk.clone(),
        Options {
            cache_bytes: 0,
            ..patient()
        },
    )
    .expect("opens");
    disk.fault(Fault::Read(std::io::ErrorKind::Other));
    assert_eq!(store.get(b"key").expect_err("cannot be read").reason(), "io");
    disk.fault(Fault::None);
    assert_eq!(found(&store, b"key"), Some((1, vec![1; 100_000])));
}

#[test]
fn a_panic_in_the_database_is_a_failed_commit() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    put_sync(&store, b"key", 1, b"before").expect("is written");
    disk.fault(Fault::Panic);
    let error = put_sync(&store, b"key", 2, b"during").expect_err("panics");
    assert_eq!(error.reason(), "corrupt");
    disk.fault(Fault::None);
    put_sync(&store, b"key", 3, b"after").expect("is written");
    assert_eq!(found(&store, b"key"), Some((3, b"after".to_vec())));
    assert_eq!(
        disk.handles(),
        3,
        "ours, the store's and one open database: the broken one is given up"
    );
}

/// A store whose disk has a state that cannot be read from now on, and what it goes through.
fn unreadable() -> (UnreliableDisk, Store, mpsc::Receiver<String>) {
    let disk = UnreliableDisk::new();
    left_behind(&disk, &[1; 100_000]);
    let options = Options {
        cache_bytes: 0,
        ..patient()
    };
    let (store, turns) = listened(&disk, options);
    disk.fault(Fault::Read(std::io::ErrorKind::Other));
    (disk, store, turns)
}

/// A store, and what it was said to go through, a word each.
fn listened(disk: &UnreliableDisk, options: Options) -> (Store, mpsc::Receiver<String>) {
    let (sender, turns) = mpsc::channel();
    let sender = Mutex::new(sender);
    let on_turn = Arc::new(move |turn: &Turn| {
        let said = match turn {
            Turn::SetAside { to, why } => format!("aside {} {}", to.display(), why.reason()),
            Turn::Failed { doing, why } => format!("failed {doing:?} {}", why.reason()),
            Turn::Recovered { doing, .. } => format!("recovered {doing:?}"),
        };
        drop(sender.lock().map(|sender| sender.send(said)));
    });
    let store = Store::open_on(disk.clone(), Options { on_turn, ..options }).expect("opens");
    (store, turns)
}

fn next(turns: &mpsc::Receiver<String>) -> String {
    turns.recv_timeout(PATIENCE).expect("is told")
}

/// What another store wrote, which is closed.
fn left_behind(disk: &UnreliableDisk, state: &[u8]) {
    let store = open(disk);
    put_sync(&store, b"key", 1, state).expect("is written");
    store.close(PATIENCE).expect("closes");
}

#[test]
fn that_writing_fails_is_told_once_and_so_is_its_end() {
    let disk = UnreliableDisk::new();
    let (store, turns) = listened(&disk, patient());
    disk.fault(Fault::Sync(std::io::ErrorKind::Other));
    for revision in 1..4 {
        put_sync(&store, b"key", revision, b"state").expect_err("fails");
    }
    assert_eq!(next(&turns), "failed Writing io");
    assert!(store.stats().failing_for.is_some());
    disk.fault(Fault::None);
    put_sync(&store, b"key", 4, b"state").expect("is written");
    assert_eq!(next(&turns), "recovered Writing");
    assert_eq!(store.stats().failing_for, None);
    store.close(PATIENCE).expect("closes");
    drop(store);
    assert!(turns.try_recv().is_err(), "there was nothing else to tell");
}

#[test]
fn that_reading_fails_is_told_once_and_its_end_when_it_went_well_for_a_while() {
    let (disk, store, turns) = unreadable();
    for _ in 0..3 {
        store.get(b"key").expect_err("cannot be read");
    }
    disk.fault(Fault::None);
    assert!(found(&store, b"key").is_some());
    assert_eq!(next(&turns), "failed Reading io");
    assert!(turns.try_recv().is_err(), "one good read is no end of it");
    eventually("reads are well again", || {
        found(&store, b"key").is_some() && store.stats().failing_for.is_none()
    });
    assert_eq!(next(&turns), "recovered Reading");
}

#[test]
fn writing_ends_what_nobody_reads_any_more() {
    let (disk, store, turns) = unreadable();
    store.get(b"key").expect_err("cannot be read");
    disk.fault(Fault::None);
    assert_eq!(next(&turns), "failed Reading io");
    let mut revision = 1;
    eventually("writes end it", || {
        revision += 1;
        put_sync(&store, b"key", revision, b"state").is_ok() && store.stats().failing_for.is_none()
    });
    assert_eq!(next(&turns), "recovered Reading");
}

#[test]
fn a_damaged_file_that_is_set_aside_is_told_with_its_name_and_why() {
    let disk = UnreliableDisk::new();
    left_behind(&disk, b"state");
    disk.flip(0, 0xff);
    let options = Options {
        on_corrupt: OnCorrupt::SetAside,
        ..patient()
    };
    let (store, turns) = listened(&disk, options);
    assert_eq!(next(&turns), "aside set aside corrupt");
    assert!(store.stats().set_aside_ago.is_some());
    assert_eq!(found(&store, b"key"), None);
}

#[test]
fn a_panic_in_a_completion_is_reported_and_the_others_are_told() {
    let (sender, reports) = mpsc::channel();
    let sender = Mutex::new(sender);
    let on_panic = Arc::new(move |sentence: &str| drop(sender.lock().map(|s| s.send(sentence.to_owned()))));
    let store = Store::open_on(
        UnreliableDisk::new(),
        Options {
            on_panic,
            ..patient()
        },
    )
    .expect("opens");
    let panicking = Box::new(|_| panic!("a completion of the test"));
    store
        .put(b"1", Revision::new(1, 1), b"state", Durability::Async, panicking)
        .expect("is accepted");
    put_sync(&store, b"2", 1, b"state").expect("is written and told");
    let report = reports.recv_timeout(PATIENCE).expect("is reported");
    assert!(report.contains("a completion of the test"), "{report}");
    assert_eq!(store.stats().panics, 1);
    put_sync(&store, b"3", 1, b"state").expect("the writer goes on");
}

#[test]
fn too_much_pending_is_busy_and_a_newer_one_in_its_place_is_not() {
    let options = Options {
        max_pending_bytes: 100_000,
        ..patient()
    };
    let store = Store::open_on(UnreliableDisk::new(), options).expect("opens");
    let accepted = (0..)
        .take_while(|n: &u64| put_async(&store, &n.to_le_bytes(), 1, &[0; 10_000]).is_ok())
        .count();
    assert!((5..10).contains(&accepted), "{accepted} of 10 kB each in 100 kB");
    let error = put_async(&store, b"one more", 1, &[0; 10_000]).expect_err("is too much");
    assert!(matches!(error, StoreError::Busy { max: 100_000, .. }), "{error}");
    put_async(&store, &0_u64.to_le_bytes(), 2, &[0; 10_000]).expect("takes the place of the first");
    assert!(
        store.stats().busy >= 2 && store.stats().pending_bytes <= 100_000,
        "{:?}",
        store.stats()
    );
    flush(&store).expect("is written");
    assert_eq!(store.stats().pending_bytes, 0);
    put_async(&store, b"one more", 1, &[0; 200_000]).expect("one call always may");
}

#[test]
fn calls_for_one_key_share_one_write_and_batches_are_counted() {
    let store = open(&UnreliableDisk::new());
    for revision in 0..100 {
        put_async(&store, b"key", revision, b"state").expect("is accepted");
    }
    put_async(&store, b"other", 1, b"state").expect("is accepted");
    assert_eq!(store.stats().pending_keys, 2);
    flush(&store).expect("is written");
    let stats = store.stats();
    assert_eq!(
        (
            stats.commits,
            stats.committed_keys,
            stats.largest_batch,
            stats.last_batch
        ),
        (1, 2, 2, 2)
    );
    assert!((2 * 5..200).contains(&stats.committed_bytes), "{stats:?}");
    assert!(stats.commit_time > Duration::ZERO);
    assert_eq!(found(&store, b"key"), Some((99, b"state".to_vec())));
}

#[test]
fn one_sync_of_the_disk_serves_many_callers() {
    let disk = UnreliableDisk::new();
    let options = Options {
        group_commit: GroupCommit {
            sync_window: Duration::from_millis(50),
            ..patient().group_commit
        },
        ..patient()
    };
    let store = Store::open_on(disk.clone(), options).expect("opens");
    let before = disk.syncs();
    let tickets: Vec<Ticket> = (0..500_u64)
        .map(|n| waiting(&store, n, Durability::Sync))
        .collect();
    for ticket in tickets {
        ticket.wait(PATIENCE).expect("is answered").expect("is written");
    }
    let (commits, syncs) = (store.stats().commits, disk.syncs() - before);
    assert!(
        commits <= 50 && syncs <= 3 * commits,
        "{commits} commits and {syncs} syncs for 500 calls"
    );
}

#[test]
fn an_older_put_is_told_by_what_it_was_superseded() {
    let store = open(&UnreliableDisk::new());
    put_sync(&store, b"key", 5, b"new").expect("is written");
    let outcome = put_sync(&store, b"key", 4, b"old").expect("is answered");
    assert_eq!(
        outcome,
        Outcome::Superseded {
            by: Revision::new(1, 5)
        }
    );
    assert_eq!(found(&store, b"key"), Some((5, b"new".to_vec())));
    assert_eq!(
        put_sync(&store, b"key", 5, b"again").expect("is written"),
        Outcome::Done
    );
    assert_eq!(found(&store, b"key"), Some((5, b"again".to_vec())));
}

#[test]
fn what_is_too_large_is_refused_with_its_size() {
    let options = Options {
        max_snapshot_bytes: 10,
        ..patient()
    };
    let store = Store::open_on(UnreliableDisk::new(), options).expect("opens");
    let error = put_async(&store, b"key", 1, &[0; 11]).expect_err("is too large");
    assert!(
        matches!(
            error,
            StoreError::TooLarge {
                what: "snapshot",
                bytes: 11,
                max: 10
            }
        ),
        "{error}"
    );
    let error = put_async(&store, &[0; 70_000], 1, b"").expect_err("is too large");
    assert!(
        matches!(
            error,
            StoreError::TooLarge {
                what: "key",
                bytes: 70_000,
                ..
            }
        ),
        "{error}"
    );
    put_async(&store, b"key", 1, &[0; 10]).expect("fits");
}

#[test]
fn a_damaged_value_is_told_and_set_aside() {
    let (disk, store) = damaged();
    let error = store.get(b"key").expect_err("is damaged");
    assert!(
        matches!(
            error,
            StoreError::Damaged {
                damage: Damage::Checksum { .. }
            }
        ),
        "{error}"
    );
    assert_eq!(
        store.keys(None, 10).expect("can be read").keys,
        [b"key".to_vec(), b"other".to_vec()]
    );

    let (done, ticket) = Ticket::new();
    store.set_aside(b"key", done).expect("is accepted");
    assert_eq!(found(&store, b"key"), None, "seen at once");
    flush(&store).expect("is written");
    ticket.wait(PATIENCE).expect("is answered").expect("is written");
    assert_eq!(found(&store, b"key"), None);
    assert_eq!(store.stats().quarantined, 1);
    let quarantine = store.quarantine(0, 10).expect("can be read");
    assert_eq!((quarantine.len(), &quarantine[0].key[..]), (1, &b"key"[..]));
    assert!(
        quarantine[0].record.ends_with(b"here it lies"),
        "its bytes are kept"
    );
    store.close(PATIENCE).expect("closes");
    assert_eq!(open(&disk).stats().quarantined, 1, "counted again after opening");
}

#[test]
fn a_damaged_value_gives_way_to_any_put_and_is_kept_aside() {
    let (_disk, store) = damaged();
    put_async(&store, b"key", 0, b"afresh").expect("is accepted");
    assert_eq!(
        found(&store, b"key"),
        Some((0, b"afresh".to_vec())),
        "seen at once"
    );
    flush(&store).expect("is written");
    assert_eq!(found(&store, b"key"), Some((0, b"afresh".to_vec())));
    assert_eq!(store.stats().quarantined, 1);
}

#[test]
fn a_healthy_value_is_not_set_aside() {
    let (_disk, store) = damaged();
    let (done, ticket) = Ticket::new();
    store.set_aside(b"other", done).expect("is accepted");
    assert_eq!(
        ticket.wait(PATIENCE).expect("is answered").expect("is written"),
        Outcome::Done
    );
    assert_eq!(found(&store, b"other"), Some((1, b"healthy".to_vec())));
    assert_eq!(store.stats().quarantined, 0);
}

#[test]
fn closing_writes_what_is_pending_and_refuses_what_comes_later() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    let tickets: Vec<Ticket> = (0..100_u64)
        .map(|n| waiting(&store, n, Durability::Async))
        .collect();
    store.close(PATIENCE).expect("closes");
    for ticket in tickets {
        ticket
            .wait(Duration::ZERO)
            .expect("was told before")
            .expect("is written");
    }
    assert_eq!(
        put_async(&store, b"late", 1, b"")
            .expect_err("is closed")
            .reason(),
        "closed"
    );
    assert_eq!(store.get(b"late").expect_err("is closed").reason(), "closed");
    assert_eq!(flush(&store).expect_err("is closed").reason(), "closed");
    store.close(PATIENCE).expect("closing twice is the same");
    assert_eq!(
        disk.handles(),
        2,
        "ours and the store's: the database is given up"
    );
    assert_eq!(open(&disk).keys(None, 1000).expect("can be read").keys.len(), 100);
}

#[test]
fn closing_on_a_failing_disk_ends_in_time_and_tells_what_is_lost() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    disk.fault(Fault::PowerCut { after: 0 });
    for n in 0..7_u64 {
        put_async(&store, &n.to_le_bytes(), 1, b"state").expect("is accepted");
    }
    let began = Instant::now();
    let error = store.close(Duration::from_millis(500)).expect_err("cannot write");
    assert!(matches!(error, StoreError::Unsaved { keys: 7, .. }), "{error}");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn a_dropped_store_is_written_all_the_same() {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    let ticket = waiting(&store, 1, Durability::Async);
    drop(store);
    ticket.wait(PATIENCE).expect("is answered").expect("is written");
    // This disk has no lock that would hold back who opens it while the writer still has it open.
    eventually("the writer gives up the disk", || disk.handles() == 1);
    assert_eq!(
        found(&open(&disk), &1_u64.to_le_bytes()),
        Some((1, b"state".to_vec()))
    );
}

#[test]
fn many_threads_put_one_key_and_the_newest_stays() {
    let store = open(&UnreliableDisk::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..50 {
                    put_sync(store, b"key", n * 4 + thread, b"state").expect("is written");
                }
            });
        }
    });
    assert_eq!(found(&store, b"key"), Some((199, b"state".to_vec())));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_are_never_taken_for_a_snapshot(seed: u64, flips in 1..6_u64, verify_on_open: bool) {
        let mut dice = Dice::new(seed);
        let disk = UnreliableDisk::new();
        let store = open(&disk);
        for n in 0..40_u64 {
            put_async(&store, &n.to_le_bytes(), n, &content(n)).expect("is accepted");
        }
        store.close(PATIENCE).expect("closes");
        let length = disk.len() as u64;
        (0..flips).for_each(|_| disk.flip(dice.below(length) as usize, 1 << dice.below(8)));

        let options = Options { verify_on_open, on_corrupt: OnCorrupt::SetAside, ..patient() };
        let store = Store::open_on(disk.clone(), options).expect("opens, if need be an empty one");
        for n in 0..40_u64 {
            if let Ok(Some(snapshot)) = store.get(&n.to_le_bytes()) {
                prop_assert_eq!((snapshot.revision, snapshot.bytes), (Revision::new(1, n), content(n)));
            } else if verify_on_open {
                prop_assert!(!store.set_aside_files().is_empty(), "{} is missing from a file that was found sound", n);
            }
        }
        end(&store);
    }
}

fn content(n: u64) -> Vec<u8> {
    vec![n as u8; 100 * n as usize]
}

/// A store with a value under `key` whose bytes have changed on the disk, and a healthy one under `other`.
fn damaged() -> (UnreliableDisk, Store) {
    let disk = UnreliableDisk::new();
    let store = open(&disk);
    put_sync(&store, b"key", 7, b"Here it lies").expect("is written");
    put_sync(&store, b"other", 1, b"healthy").expect("is written");
    store.close(PATIENCE).expect("closes");
    assert!(disk.damage(b"Here it lies") > 0, "found on the disk");
    let store = open(&disk);
    (disk, store)
}

fn waiting(store: &Store, n: u64, durability: Durability) -> Ticket {
    let (done, ticket) = Ticket::new();
    store
        .put(&n.to_le_bytes(), Revision::new(1, 1), b"state", durability, done)
        .expect("is accepted");
    ticket
}

fn delete(store: &Store, key: &[u8], up_to: Revision) {
    store
        .delete(key, up_to, Durability::Async, unwatched())
        .expect("is accepted");
}
