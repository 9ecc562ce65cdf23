//! What a snapshot costs on this machine's disk, alone and in company.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kantoku_rust_tests::store::Folder;
use kantoku_store::{Durability, Options, Revision, Store, Ticket, unwatched};

const PATIENCE: Duration = Duration::from_secs(60);
const STATE: [u8; 1024] = [7; 1024];
const COMPANY: u64 = 1_000;

fn store(criterion: &mut Criterion) {
    let folder = Folder::new();
    let store = Store::open(folder.join("bench.redb"), Options::default()).expect("opens");
    let mut revision = 0;
    let mut next = move || {
        revision += 1;
        Revision::new(1, revision)
    };

    let mut group = criterion.benchmark_group("store, snapshots of 1 KiB");
    group.sample_size(20);
    group.bench_function("put and wait for the disk", |bench| {
        bench.iter(|| {
            let (done, ticket) = Ticket::new();
            store
                .put(b"one", next(), &STATE, Durability::Sync, done)
                .expect("is accepted");
            ticket.wait(PATIENCE).expect("is answered").expect("is written");
        });
    });
    group.throughput(Throughput::Elements(COMPANY));
    group.bench_function("put a thousand and flush", |bench| {
        bench.iter_batched(
            &mut next,
            |revision| put_all(&store, revision),
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("get", |bench| {
        bench.iter(|| store.get(b"one").expect("can be read").expect("was put"))
    });
    group.finish();
    store.close(PATIENCE).expect("closes");
}

fn put_all(store: &Store, revision: Revision) {
    for key in 0..COMPANY {
        store
            .put(
                &key.to_le_bytes(),
                revision,
                &STATE,
                Durability::Async,
                unwatched(),
            )
            .expect("is accepted");
    }
    let (done, ticket) = Ticket::new();
    store.flush(done).expect("is accepted");
    ticket.wait(PATIENCE).expect("is answered").expect("is written");
}

criterion_group!(benches, store);
criterion_main!(benches);
