//! M3 of `kantoku_core::metrics`: the bytes it counts are those that the allocator saw.
#![cfg(not(kantoku_loom))]

use kantoku_core::metrics::{Description, Kind, Limits, Metrics};
use kantoku_rust_tests::counting::{Counting, held};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROOMY: Limits = Limits {
    series: 2_000,
    bytes: 64 << 20,
};

fn family(kind: Kind, name: &str) -> Description {
    Description {
        name: name.to_owned(),
        help: "Some.".to_owned(),
        unit: None,
        kind,
        labels: vec!["who".to_owned(), "why".to_owned()],
        ticks: 1.0,
    }
}

fn check(metrics: &Metrics<u64>, base: isize, at: u64) {
    let kept = metrics.bytes() - size_of::<Metrics<u64>>();
    assert_eq!(kept as isize, held() - base, "after {at}");
}

#[test]
fn the_bytes_counted_are_the_bytes_held_at_every_size() {
    let base = held();
    let common = vec![("instance".to_owned(), "Mine".to_owned())];
    let metrics: Metrics<u64> = Metrics::new(common, ROOMY);
    for (name, kind) in [("c", Kind::Counter), ("g", Kind::Gauge), ("h", Kind::Histogram)] {
        metrics.declare(family(kind, name)).expect("room");
        for who in 0..500 {
            metrics.series(name, &[&who.to_string(), "so"]).expect("room");
            check(&metrics, base, who);
        }
    }
    drop(metrics);
    assert_eq!(held(), base);
}

#[test]
fn what_is_bound_is_counted_as_it_comes_and_goes() {
    let base = held();
    let metrics: Metrics<u64> = Metrics::new(Vec::new(), Limits { series: 100, ..ROOMY });
    metrics.declare(family(Kind::Counter, "c")).expect("room");
    for reading in 0..300 {
        let who = reading.to_string();
        metrics.bind("c", &[&who, "so"], reading, |_| true).expect("room");
        drop(who);
        check(&metrics, base, reading);
    }
    for reading in 0..300 {
        let who = reading.to_string();
        assert_eq!(metrics.unbind("c", &[&who, "so"], &reading, None), Ok(true));
        drop(who);
        check(&metrics, base, reading);
    }
}

#[test]
fn a_gauge_takes_few_bytes_and_what_is_kept_is_within_its_limit() {
    let limit = 1 << 20;
    let metrics: Metrics<u64> = Metrics::new(
        Vec::new(),
        Limits {
            series: 1 << 20,
            bytes: limit,
        },
    );
    let base = held();
    metrics.declare(family(Kind::Gauge, "g")).expect("room");
    let mut gauges = 0;
    while metrics.series("g", &[&gauges.to_string(), "so"]).is_ok() {
        gauges += 1;
    }
    assert!(held() - base <= limit as isize);
    assert!(gauges > 3_000, "{gauges} gauges in a mebibyte");
}
