//! Records and readings in every order. H and N are `kantoku_core::metrics`'s.
#![cfg(kantoku_loom)]

use kantoku_core::metrics::{Counter, Gauge, Histogram, LEAST};
use kantoku_rust_tests::orders::check;
use loom::sync::Arc;
use loom::thread;

fn beside<T: Send + Sync + 'static>(
    shared: &Arc<T>,
    run: impl FnOnce(&T) + Send + 'static,
) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || run(&shared))
}

// H1, H2
#[test]
fn loom_a_reading_has_all_that_ended_before_it_and_never_falls() {
    check(|| {
        let histogram = Arc::new(Histogram::default());
        histogram.record(1);
        let one = beside(&histogram, |histogram| histogram.record(LEAST + 1));
        let other = beside(&histogram, |histogram| histogram.record(1));
        let first = histogram.read().count();
        let second = histogram.read().count();
        assert!((1..=3).contains(&first), "its own at least");
        assert!(first <= second && second <= 3);
        one.join().expect("records");
        other.join().expect("records");
        let last = histogram.read();
        assert_eq!((last.count(), last.sum()), (3, LEAST + 3));
    });
}

// N1, N2
#[test]
fn loom_no_addition_is_lost() {
    check(|| {
        let both = Arc::new((Counter::default(), Gauge::default()));
        let add = |(counter, gauge): &(Counter, Gauge)| {
            counter.add(1);
            counter.add_part(0.5);
            gauge.add(2.0);
        };
        let other = beside(&both, add);
        add(&both);
        assert!(both.0.read() >= 1.5, "its own");
        other.join().expect("adds");
        assert_eq!((both.0.read(), both.1.read()), (3.0, 4.0));
    });
}
