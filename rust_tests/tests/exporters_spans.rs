//! Spans on their way to a collector, as it reads them, and what becomes of those that it does not take. B1 is `push::traces`'.
#![cfg(not(kantoku_loom))]
#![allow(clippy::unwrap_used, reason = "what fails here says where")]

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use kantoku_core::metrics::{Family, Source};
use kantoku_core::trace::{
    Event, Kind, LeftOut, Limits, Link, Offered, Pair, Ring, Span, Status, Supply, TraceId, Value,
};
use kantoku_exporters::figures::Note;
use kantoku_exporters::push::{Address, Plan, Secret, Target, Tls, traces};
use kantoku_exporters::service::Service;
use kantoku_rust_tests::collector::{self, Notes, answer, collector, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{self as read, span::SpanKind, status::StatusCode};
use prost::Message;

const BOUND: Duration = Duration::from_secs(10);
const ROUND: u64 = 60_000;

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

struct Nothing;

impl Source for Nothing {
    fn families(&self) -> Vec<Family> {
        Vec::new()
    }
}

fn service() -> (Service, Notes) {
    collector::service(Arc::new(Nothing), BOUND)
}

fn kept(most: usize) -> Arc<Kept> {
    let ring = Ring::default();
    let limits = Limits {
        spans: most,
        bytes: usize::MAX,
    };
    ring.open(1, limits);
    Arc::new(Kept(ring))
}

fn push(service: &Service, endpoint: String, supply: &Arc<Kept>, interval: u64) -> u64 {
    let address = Address {
        endpoint,
        headers: vec![("x-key".into(), Secret("hidden".into()))],
        timeout: Duration::from_millis(300),
        tls: Tls::default(),
    };
    let options = traces::Options {
        address,
        resource: vec![("service.name".into(), "tests".into())],
        supply: supply.clone(),
    };
    let plan = Plan {
        name: "spans".into(),
        interval: Duration::from_millis(interval),
        target: Target::Traces(options),
    };
    service.push(plan).unwrap()
}

fn plain(number: u64) -> Span {
    Span {
        trace: TraceId(u128::from(number)),
        span: number,
        parent: 0,
        flags: 1,
        state: String::new(),
        name: "step".into(),
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

fn pair(name: &str, value: Value) -> Pair {
    Pair {
        name: name.into(),
        value,
    }
}

fn full() -> Span {
    Span {
        trace: TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        parent: 7,
        state: "acme=1".into(),
        kind: Kind::Client,
        began: 1_700_000_000_000_000_001,
        ended: 1_700_000_000_000_000_009,
        status: Status::Error,
        attributes: vec![
            pair("text", Value::Text("t".into())),
            pair("integer", Value::Integer(-3)),
            pair("float", Value::Float(0.5)),
            pair("bool", Value::Bool(true)),
        ],
        events: vec![Event {
            at: 1_700_000_000_000_000_005,
            name: "kantoku.queued".into(),
            attributes: vec![pair("queue", Value::Integer(4))],
        }],
        links: vec![Link {
            trace: TraceId(9),
            span: 10,
            flags: 1,
            state: "b=2".into(),
        }],
        left_out: LeftOut {
            attributes: 3,
            events: 4,
            links: 5,
        },
        ..plain(0xb7ad_6b71_6920_3331)
    }
}

fn spans(body: &[u8]) -> Vec<read::Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let of_resource = request.resource_spans.into_iter();
    let scopes = of_resource.flat_map(|of_resource| of_resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn value(attributes: &[KeyValue], key: &str) -> any_value::Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.unwrap().value.clone().unwrap().value.unwrap()
}

fn dropped(service: &Service) -> u64 {
    service.status().exporters[0].dropped
}

fn ids(requests: &Receiver<(String, Vec<u8>)>) -> Vec<u64> {
    let bodies = requests.try_iter().map(|(_head, body)| body);
    let ids = bodies.flat_map(|body| spans(&body)).map(|span| span.span_id);
    ids.map(|id| u64::from_be_bytes(id.try_into().unwrap())).collect()
}

#[test]
fn a_collector_reads_all_of_a_span() {
    let (endpoint, requests) = collector(|_| answer("200 OK", &[]));
    let ((service, _), supply) = (service(), kept(10));
    assert_eq!(supply.0.offer(1, full()), Offered::Kept(1));
    supply.0.offer(1, plain(5));
    push(&service, endpoint, &supply, 20);
    let (head, body) = requests.recv_timeout(BOUND).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n") && head.contains("x-key: hidden\r\n"));

    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let of_resource = &request.resource_spans[0];
    let resource = &of_resource.resource.as_ref().unwrap().attributes;
    assert_eq!(
        value(resource, "service.name"),
        any_value::Value::StringValue("tests".into())
    );
    assert_eq!(of_resource.scope_spans[0].scope.as_ref().unwrap().name, "kantoku");
    let [full, plain] = &spans(&body)[..] else {
        panic!("two spans")
    };

    assert_eq!(
        full.trace_id,
        0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes()
    );
    assert_eq!(full.span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(full.parent_span_id, 7_u64.to_be_bytes());
    let left_out = |span: &read::Span| {
        (
            span.dropped_attributes_count,
            span.dropped_events_count,
            span.dropped_links_count,
        )
    };
    assert_eq!((left_out(full), left_out(plain)), ((3, 4, 5), (0, 0, 0)));
    assert_eq!((full.trace_state.as_str(), full.flags), ("acme=1", 1));
    assert_eq!((full.name.as_str(), full.kind()), ("step", SpanKind::Client));
    assert_eq!(full.start_time_unix_nano, 1_700_000_000_000_000_001);
    assert_eq!(full.end_time_unix_nano, 1_700_000_000_000_000_009);
    assert_eq!(full.status.as_ref().unwrap().code(), StatusCode::Error);
    let values = ["text", "integer", "float", "bool"].map(|key| value(&full.attributes, key));
    assert_eq!(
        values,
        [
            any_value::Value::StringValue("t".into()),
            any_value::Value::IntValue(-3),
            any_value::Value::DoubleValue(0.5),
            any_value::Value::BoolValue(true)
        ]
    );
    let event = &full.events[0];
    assert_eq!(
        (event.time_unix_nano, event.name.as_str()),
        (1_700_000_000_000_000_005, "kantoku.queued")
    );
    assert_eq!(value(&event.attributes, "queue"), any_value::Value::IntValue(4));
    let link = &full.links[0];
    assert_eq!(link.trace_id, 9_u128.to_be_bytes());
    assert_eq!(
        (link.span_id.as_slice(), link.flags),
        (&10_u64.to_be_bytes()[..], 1)
    );
    assert_eq!(link.trace_state, "b=2");

    assert!(plain.parent_span_id.is_empty() && plain.status.is_none());
}

#[test]
fn a_full_batch_is_sent_at_once_and_the_rest_at_the_end() {
    let (endpoint, requests) = collector(|_| answer("200 OK", &[]));
    let ((service, notes), supply) = (service(), kept(10_000));
    let id = push(&service, endpoint, &supply, ROUND);
    for number in 1..=3_000 {
        supply.0.offer(1, plain(number));
        if number % 512 == 0 {
            service.wake();
        }
    }
    eventually(|| supply.held() < 512);
    service.end(id, BOUND);
    let ids = ids(&requests);
    assert_eq!(ids.len(), 3_000);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3_000);
    assert!(notes.lock().unwrap().is_empty());
}

#[test]
fn what_a_dead_collector_was_not_sent_is_counted_to_the_last_and_told_once_a_minute() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ((service, notes), supply) = (service(), kept(1_000));
    let id = push(&service, format!("http://{closed}"), &supply, 10);
    for number in 1..=2_000 {
        supply.0.offer(1, plain(number));
    }
    service.wake();
    eventually(|| dropped(&service) >= 512);
    let begun = Instant::now();
    service.end(id, Duration::from_millis(200));
    assert!(begun.elapsed() < BOUND);
    let counts = supply.0.counts();
    let told: u64 = notes.lock().unwrap().iter().map(told).sum();
    assert_eq!((counts.held, told + counts.dropped), (0, 2_000));
    // The first, and what is told at the end.
    assert_eq!(notes.lock().unwrap().len(), 2);
}

fn told(note: &Note) -> u64 {
    match note {
        Note::Dropped { dropped, .. } => *dropped,
        Note::Panicked(text) => panic!("{text}"),
        Note::Resumed { .. } => 0,
    }
}

#[test]
fn what_is_under_way_when_it_is_ended_is_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ((service, notes), supply) = (service(), kept(1_000));
    let id = push(
        &service,
        format!("http://{}", silent.local_addr().unwrap()),
        &supply,
        10,
    );
    supply.0.offer(1, plain(1));
    eventually(|| supply.held() == 0);
    supply.0.offer(1, plain(2));
    service.end(id, Duration::from_millis(50));
    let told: u64 = notes.lock().unwrap().iter().map(told).sum();
    assert_eq!(told, 2);
}

#[test]
fn spans_that_a_collector_took_without_saying_so_in_time_are_sent_again() {
    let (endpoint, requests) = collector(|number| {
        // Longer than it is waited for.
        if number == 0 {
            std::thread::sleep(Duration::from_millis(600));
        }
        answer("200 OK", &[])
    });
    let ((service, notes), supply) = (service(), kept(10));
    supply.0.offer(1, plain(1));
    let id = push(&service, endpoint, &supply, ROUND);
    service.end(id, BOUND);
    // At least once, and nothing of it counts as dropped.
    assert_eq!(ids(&requests), [1, 1]);
    assert!(notes.lock().unwrap().is_empty());
}

#[test]
fn spans_that_a_collector_rejects_are_counted_and_one_that_was_away_is_asked_again() {
    let partial = ExportTracePartialSuccess {
        rejected_spans: 2,
        error_message: "too old".into(),
    };
    let response = ExportTraceServiceResponse {
        partial_success: Some(partial),
    };
    let body = response.encode_to_vec();
    let (endpoint, requests) = collector(move |number| match number {
        0 => answer("503 Service Unavailable", &[]),
        _ => answer("200 OK", &body),
    });
    let ((service, notes), supply) = (service(), kept(10));
    for number in 1..=3 {
        supply.0.offer(1, plain(number));
    }
    let id = push(&service, endpoint, &supply, ROUND);
    service.end(id, BOUND);
    assert_eq!(ids(&requests), [1, 2, 3, 1, 2, 3]);
    let heard = notes.lock().unwrap();
    assert!(
        matches!(&heard[..], [Note::Dropped { why, dropped: 2, .. }] if why.contains("too old")),
        "{heard:?}"
    );
}

#[test]
fn a_service_that_stops_leaves_to_its_successor_what_it_has_not_taken() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ((service, _), supply) = (service(), kept(2_000));
    push(
        &service,
        format!("http://{}", silent.local_addr().unwrap()),
        &supply,
        10,
    );
    for number in 1..=1_000 {
        supply.0.offer(1, plain(number));
    }
    service.wake();
    eventually(|| supply.0.counts().taken > 0);
    service.stop(Duration::from_millis(50));
    let counts = supply.0.counts();
    assert_eq!(counts.held as u64 + counts.taken, 1_000);
    assert!(counts.held >= 1);
}
