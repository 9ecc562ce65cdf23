//! That what exporters hold is among the native bytes, and for no longer than they hold it.
#![cfg(not(kantoku_loom))]
#![allow(clippy::unwrap_used, reason = "what fails here says where")]

use std::sync::{Arc, mpsc};
use std::time::Duration;

use kantoku_core::metrics::{Family, Source, Value};
use kantoku_core::trace::{Kind, LeftOut, Limits, Ring, Span, Status, Supply, TraceId};
use kantoku_exporters::events::{Event, Hub, Told, WAITING};
use kantoku_exporters::push::{Address, Deltas, Dialect, Plan, Starts, StatsDOptions, Target, Tls, traces};
use kantoku_exporters::service::Service;
use kantoku_rust_tests::collector::{self, answer, collector, eventually};
use kantoku_rust_tests::counting::{Counting, held};
use kantoku_rust_tests::figures::{counter, histogram};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BOUND: Duration = Duration::from_secs(10);

fn families(most: usize) -> Vec<Family> {
    let counters = (0..most).map(|n| counter("calls", &[("instance", "Mine"), ("who", &n.to_string())], 1.0));
    let mut families: Vec<Family> = counters.collect();
    families.push(histogram("took_seconds", Some("seconds"), [1, 2, 3]));
    families
}

// To a tenth: of a table that has not grown for long, some places are known to the allocator alone.
fn check(counted: usize, allocated: isize) {
    let allocated = usize::try_from(allocated).unwrap();
    assert!(
        counted.abs_diff(allocated) <= allocated / 10 + 512,
        "counted {counted}, allocated {allocated}"
    );
}

#[test]
fn what_is_kept_between_rounds_is_counted_as_the_allocator_saw_it() {
    for most in [0, 1, 10, 1_000, 5_000] {
        let families = families(most);
        let base = held();
        let deltas = Deltas::begin(&families);
        check(deltas.bytes(), held() - base);
        drop(deltas);
        let mut starts = Starts::new(1);
        starts.look(&families, 2);
        check(starts.bytes(), held() - base);
    }
}

fn event(data: &str) -> Event {
    Event {
        instance: "Mine".into(),
        name: "pool.scaled".into(),
        data: data.into(),
    }
}

#[test]
fn events_count_while_they_wait_for_a_reader_and_no_longer() {
    let hub = Arc::new(Hub::new(Arc::new(|_| ())));
    assert!(!hub.publish(event("nobody reads")));
    assert_eq!(hub.bytes(), 0);

    let mut reader = hub.read(None, String::new()).unwrap();
    let other = hub.read(None, String::new()).unwrap();
    for _ in 0..2 {
        assert!(hub.publish(event(&"x".repeat(1_000))));
    }
    let two = hub.bytes();
    assert!((2_000..3_000).contains(&two), "{two}");
    let runtime = Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(reader.next()), Some(Told::Event(_))));
    assert_eq!(hub.bytes(), two, "the other one has not had it");
    drop(other);
    assert_eq!(hub.bytes(), two / 2);
    drop(reader);
    assert_eq!(hub.bytes(), 0);
}

#[test]
fn who_falls_behind_holds_no_more_events_than_may_wait() {
    let hub = Arc::new(Hub::new(Arc::new(|_| ())));
    let reader = hub.read(None, String::new()).unwrap();
    hub.publish(event("x"));
    let one = hub.bytes();
    for _ in 0..3 * WAITING {
        hub.publish(event("x"));
    }
    assert_eq!(hub.bytes(), WAITING * one);
    drop(reader);
}

struct Many;

impl Source for Many {
    fn families(&self) -> Vec<Family> {
        families(2_000)
    }
}

// Of an owner of native bytes.
fn bytes(service: &Service, owner: &str) -> f64 {
    let families = service.families().unwrap();
    let family = families
        .iter()
        .find(|family| family.name == "kantoku_native_bytes");
    let is_owners = |labels: &[(String, String)]| labels == [("owner".to_owned(), owner.to_owned())];
    let mut series = family.unwrap().series.iter();
    match series.find(|series| is_owners(&series.labels)).unwrap().value {
        Value::Gauge(bytes) => bytes,
        _ => panic!("a gauge"),
    }
}

#[test]
fn what_an_exporter_keeps_is_the_exporters_until_it_ends() {
    let (service, _notes) = collector::service(Arc::new(Many), BOUND);
    assert!(bytes(&service, "exporters") < 1_000.0);
    let target = Target::StatsD(StatsDOptions {
        host: "127.0.0.1".into(),
        port: 9,
        dialect: Dialect::StatsD,
        prefix: String::new(),
    });
    let plan = Plan {
        name: "one".into(),
        interval: Duration::from_secs(60),
        target,
    };
    let id = service.push(plan).unwrap();
    assert!(bytes(&service, "exporters") > Deltas::begin(&families(2_000)).bytes() as f64 - 1.0);
    service.end(id, BOUND);
    eventually(|| bytes(&service, "exporters") < 1_000.0);
    service.stop(BOUND);
}

#[derive(Debug)]
struct Kept(Ring);

impl Supply for Kept {
    fn held(&self) -> usize {
        self.0.counts().held
    }

    fn take(&self, most: usize) -> Vec<Span> {
        self.0.drain(1, most)
    }
}

fn span(number: u64) -> Span {
    Span {
        trace: TraceId(1),
        span: number,
        parent: 0,
        flags: 1,
        state: String::new(),
        name: "x".repeat(1_000),
        kind: Kind::Internal,
        began: 1,
        ended: 2,
        status: Status::Unset,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        left_out: LeftOut::default(),
    }
}

#[test]
fn spans_on_their_way_are_the_exporters_until_the_collector_has_them() {
    let ring = Ring::default();
    ring.open(
        1,
        Limits {
            spans: 100,
            bytes: usize::MAX,
        },
    );
    for number in 0..100 {
        ring.offer(1, span(number));
    }
    let (go_on, wait) = mpsc::channel::<()>();
    let (endpoint, _requests) = collector(move |_| {
        let _ = wait.recv();
        answer("200 OK", &[])
    });
    let (service, _notes) = collector::service(Arc::new(Nothing), BOUND);
    let address = Address {
        endpoint,
        headers: Vec::new(),
        timeout: BOUND,
        tls: Tls::default(),
    };
    let target = Target::Traces(traces::Options {
        address,
        resource: Vec::new(),
        supply: Arc::new(Kept(ring)),
    });
    let plan = Plan {
        name: "spans".into(),
        interval: Duration::from_millis(10),
        target,
    };
    service.push(plan).unwrap();
    eventually(|| bytes(&service, "exporters") > 100.0 * 1_000.0);
    go_on.send(()).unwrap();
    eventually(|| bytes(&service, "exporters") < 1_000.0);
    service.stop(BOUND);
}

struct Nothing;

impl Source for Nothing {
    fn families(&self) -> Vec<Family> {
        Vec::new()
    }
}
