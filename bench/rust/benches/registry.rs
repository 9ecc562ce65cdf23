//! The registry's calls, by one thread, at two sizes.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kantoku_bench::Town;

fn registry(criterion: &mut Criterion) {
    for names in [10_000, 100_000] {
        let mut town = Town::new(names);
        let mut group = criterion.benchmark_group(format!("registry of {names}"));
        group.bench_function("whereis", |bench| bench.iter(|| black_box(town.whereis())));
        group.bench_function("register and unregister", |bench| bench.iter(|| town.register()));
        group.bench_function("set_load", |bench| bench.iter(|| town.set_load()));
        for (tag, of) in [(0, "all"), (1, "1 %"), (2, "0.01 %")] {
            group.bench_function(format!("find the least loaded of {of}"), |bench| {
                bench.iter(|| black_box(town.find(tag)))
            });
        }
        group.finish();
    }
}

criterion_group!(benches, registry);
criterion_main!(benches);
