//! Many threads record while others read: nothing is lost, and no reading goes back. H, N and M are `kantoku_core::metrics`'s.
#![cfg(not(kantoku_loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kantoku_core::metrics::{
    Counter, Description, Histogram, Kind, Limits, Metrics, OTHER, Owned, Reading, Value,
};

const THREADS: u64 = 4;
const EACH: u64 = 50_000;

fn write_all(write: impl Fn(u64) + Sync, watch: impl FnMut() + Send) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let write = &write;
                scope.spawn(move || (0..EACH).for_each(|n| write(thread * EACH + n)))
            })
            .collect();
        let watcher = scope.spawn(|| {
            let mut watch = watch;
            while !done.load(Ordering::Relaxed) {
                watch();
            }
        });
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("writes"));
        done.store(true, Ordering::Relaxed);
        watcher.join().expect("watches");
    });
}

// H1, H2
#[test]
fn no_observation_is_lost_and_no_count_falls() {
    let histogram = Histogram::default();
    let mut last = 0;
    let watch = || {
        let count = histogram.read().count();
        assert!(count >= last, "{count} after {last}");
        last = count;
    };
    write_all(|n| histogram.record(n * 1_000), watch);
    let all = THREADS * EACH;
    let reading: Reading = histogram.read();
    assert_eq!(reading.count(), all);
    assert_eq!(reading.sum(), all * (all - 1) / 2 * 1_000);
}

// N1
#[test]
fn nothing_that_is_added_to_a_counter_is_lost() {
    let counter = Counter::default();
    let mut last = 0.0;
    let watch = || {
        let read = counter.read();
        assert!(read >= last);
        last = read;
    };
    let add = |n: u64| {
        if n.is_multiple_of(2) {
            counter.add(1);
        } else {
            assert!(counter.add_part(0.5));
        }
    };
    write_all(add, watch);
    assert_eq!(counter.read(), (THREADS * EACH) as f64 * 0.75);
}

// M1, M2
#[test]
fn who_asks_for_the_same_series_at_once_is_given_the_same() {
    let limits = Limits {
        series: 10,
        bytes: 1 << 20,
    };
    let metrics: Arc<Metrics<()>> = Arc::new(Metrics::new(Vec::new(), limits));
    let declare = || {
        metrics.declare(Description {
            name: "calls".to_owned(),
            help: String::new(),
            unit: None,
            kind: Kind::Counter,
            labels: vec!["who".to_owned()],
            ticks: 1.0,
        })
    };
    let record = |n: u64| {
        declare().expect("the same each time");
        let (series, _) = metrics
            .series("calls", &[&(n % 20).to_string()])
            .expect("it is known");
        if let Owned::Counter(counter) = &series.own {
            counter.add(1);
        }
    };
    thread::scope(|scope| {
        (0..THREADS).for_each(|_| drop(scope.spawn(|| (0..2_000).for_each(record))));
    });
    let families = metrics.snapshot(|()| None);
    let calls = &families[0];
    assert_eq!(calls.series.len(), 11, "ten, and {OTHER}");
    let sum: f64 = calls
        .series
        .iter()
        .map(|series| match series.value {
            Value::Counter(value) => value,
            _ => 0.0,
        })
        .sum();
    assert_eq!(sum, (THREADS * 2_000) as f64);
}

// M2, M4
#[test]
fn who_records_what_is_folded_is_counted_each_time_and_waits_for_nobody_who_looks() {
    let limits = Limits {
        series: 4,
        bytes: 1 << 20,
    };
    let metrics: Metrics<u32> = Metrics::new(Vec::new(), limits);
    let family = |name: &str| Description {
        name: name.to_owned(),
        help: String::new(),
        unit: None,
        kind: Kind::Counter,
        labels: vec!["who".to_owned()],
        ticks: 1.0,
    };
    metrics.declare(family("calls")).expect("new");
    metrics.declare(family("slow")).expect("new");
    metrics.bind("slow", &["one"], 1, |_| true).expect("room");
    let asked = || metrics.series("calls", &["5"]).expect("it is known");
    for who in ["1", "2", "3", "4", "5"] {
        metrics.series("calls", &[who]).expect("room");
    }
    // Whoever is asked records too, and would wait for himself for ever.
    let read = |_: &u32| {
        let (others, folded) = thread::scope(|scope| scope.spawn(asked).join()).expect("asks");
        let Owned::Counter(counter) = &others.own else {
            return None;
        };
        assert!(folded);
        Some(Value::Counter(counter.read()))
    };
    let mut looks = 0;
    let watch = || {
        metrics
            .declare(family(&format!("new_{}", looks % 20)))
            .expect("room");
        assert_eq!(
            metrics.snapshot(read).len(),
            3,
            "calls, slow, and what was folded"
        );
        looks += 1;
    };
    let record = |_| {
        let (others, _) = asked();
        if let Owned::Counter(counter) = &others.own {
            counter.add(1);
        }
    };
    write_all(record, watch);
    let families = metrics.snapshot(|_| None);
    let value = |name: &str, at: usize| {
        let family = families.iter().find(|family| family.name == name).expect(name);
        family.series[at].value.clone()
    };
    let all = THREADS * EACH;
    assert_eq!(value("calls", 4), Value::Counter(all as f64));
    let asked = all + looks + 1;
    assert_eq!(value("kantoku_metrics_folded", 0), Value::Counter(asked as f64));
}
