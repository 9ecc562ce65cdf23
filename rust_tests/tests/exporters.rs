//! What exporters send, as its receivers read it: over real sockets of the loopback.
#![cfg(not(kantoku_loom))]
#![allow(clippy::unwrap_used, reason = "what fails here says where")]

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kantoku_core::metrics::{Family, Source};
use kantoku_exporters::figures::Note;
use kantoku_exporters::push::otlp::Options;
use kantoku_exporters::push::{Address, DATAGRAM, Dialect, Plan, Secret, StatsDOptions, Target, Tls};
use kantoku_exporters::service::{Service, StartError};
use kantoku_rust_tests::collector::{self, Notes, answer, collector, eventually};
use kantoku_rust_tests::figures::{counter, gauge, histogram};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, metric, number_data_point};
use prost::Message;

const BOUND: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Counting(AtomicU64);

impl Source for Counting {
    fn families(&self) -> Vec<Family> {
        let calls = self.0.load(Ordering::Relaxed);
        vec![
            counter("calls", &[("pool", "w")], calls as f64),
            gauge("size", &[], 3.0),
            histogram("took_seconds", Some("seconds"), [1, 2, 3]),
        ]
    }
}

struct Panicking;

impl Source for Panicking {
    fn families(&self) -> Vec<Family> {
        panic!("nothing can be measured")
    }
}

fn service(source: Arc<dyn Source>) -> (Service, Notes) {
    collector::service(source, Duration::from_secs(30))
}

fn plan(interval: u64, target: Target) -> Plan {
    Plan {
        name: "one".into(),
        interval: Duration::from_millis(interval),
        target,
    }
}

fn statsd(port: u16) -> Target {
    Target::StatsD(StatsDOptions {
        host: "127.0.0.1".into(),
        port,
        dialect: Dialect::StatsD,
        prefix: String::new(),
    })
}

fn otlp(endpoint: String) -> Target {
    Target::Otlp(Options {
        address: address(endpoint),
        resource: vec![("service.name".into(), "tests".into())],
        since: 1_000,
    })
}

fn address(endpoint: String) -> Address {
    Address {
        endpoint,
        headers: vec![("x-key".into(), Secret("hidden".into()))],
        timeout: Duration::from_millis(500),
        tls: Tls::default(),
    }
}

fn status(service: &Service) -> (u64, u64, u64) {
    let status = service.status();
    let one = &status.exporters[0];
    (one.exports, one.failures, one.dropped)
}

#[test]
fn a_statsd_gets_exactly_what_was_counted_up_to_the_end() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let counting = Arc::new(Counting::default());
    counting.0.store(5, Ordering::Relaxed);
    let (service, _) = service(counting.clone());
    let id = service
        .push(plan(10, statsd(socket.local_addr().unwrap().port())))
        .unwrap();
    for _ in 0..10_000 {
        counting.0.fetch_add(1, Ordering::Relaxed);
        if counting.0.load(Ordering::Relaxed).is_multiple_of(100) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    service.end(id, BOUND);
    let (mut sum, mut buffer) = (0, [0; 2 * DATAGRAM]);
    while let Ok(size) = socket.recv(&mut buffer) {
        let text = std::str::from_utf8(&buffer[..size]).unwrap();
        let rises = text.lines().filter_map(|line| line.strip_prefix("calls.w:"));
        sum += rises
            .map(|rise| rise.strip_suffix("|c").unwrap().parse::<u64>().unwrap())
            .sum::<u64>();
    }
    assert_eq!(sum, 10_000);
}

#[test]
fn who_asks_has_it_send_at_once_and_it_goes_on() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(BOUND)).unwrap();
    let counting = Arc::new(Counting::default());
    let (service, _) = service(counting.clone());
    service
        .push(plan(60_000, statsd(socket.local_addr().unwrap().port())))
        .unwrap();
    for _ in 0..3 {
        counting.0.fetch_add(4, Ordering::Relaxed);
        service.flush(BOUND);
        let mut buffer = [0; 2 * DATAGRAM];
        let size = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..size].starts_with(b"calls.w:4|c\n"));
    }
    assert_eq!(status(&service), (3, 0, 0));
}

#[test]
fn a_statsd_that_is_gone_costs_what_was_to_be_sent_and_one_note() {
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (service, notes) = service(Arc::new(Counting::default()));
    service.push(plan(10, statsd(port))).unwrap();
    eventually(|| status(&service).1 >= 5);
    assert!(status(&service).2 >= 5);
    let heard = notes.lock().unwrap();
    assert!(
        matches!(&heard[..], [Note::Dropped { exporter, .. }] if exporter == "one"),
        "{heard:?}"
    );
}

fn text(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let pair = |attribute: &KeyValue| {
        let value = attribute.value.clone().unwrap().value.unwrap();
        let any_value::Value::StringValue(value) = value else {
            panic!("a string: {value:?}")
        };
        (attribute.key.clone(), value)
    };
    attributes.iter().map(pair).collect()
}

#[test]
fn a_collector_reads_what_was_measured() {
    let (endpoint, requests) = collector(|_| answer("200 OK", &[]));
    let counting = Arc::new(Counting::default());
    counting.0.store(7, Ordering::Relaxed);
    let (service, _) = service(counting);
    service.push(plan(20, otlp(endpoint))).unwrap();
    let (head, body) = requests.recv_timeout(BOUND).unwrap();
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n") && head.contains("x-key: hidden\r\n"));

    let request = ExportMetricsServiceRequest::decode(&body[..]).unwrap();
    let of_resource = &request.resource_metrics[0];
    let resource = of_resource.resource.as_ref().unwrap();
    assert_eq!(
        text(&resource.attributes),
        [("service.name".to_owned(), "tests".to_owned())]
    );
    let scope = &of_resource.scope_metrics[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "kantoku");
    let find = |name: &str| scope.metrics.iter().find(|metric| metric.name == name).unwrap();

    let metric::Data::Sum(sum) = find("calls").data.clone().unwrap() else {
        panic!("a sum")
    };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
    let point = &sum.data_points[0];
    assert_eq!(point.value, Some(number_data_point::Value::AsDouble(7.0)));
    assert_eq!(point.start_time_unix_nano, 1_000);
    assert!(point.time_unix_nano > 1_700_000_000_000_000_000);
    assert_eq!(text(&point.attributes), [("pool".to_owned(), "w".to_owned())]);

    let metric::Data::Gauge(gauge) = find("size").data.clone().unwrap() else {
        panic!("a gauge")
    };
    assert_eq!(
        gauge.data_points[0].value,
        Some(number_data_point::Value::AsDouble(3.0))
    );

    let took = find("took_seconds");
    assert_eq!(
        (took.unit.as_str(), took.description.as_str()),
        ("s", "What took_seconds is.")
    );
    let metric::Data::Histogram(histogram) = took.data.clone().unwrap() else {
        panic!("a histogram")
    };
    assert_eq!(
        histogram.aggregation_temporality(),
        AggregationTemporality::Cumulative
    );
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (6, Some(1.5)));
    assert_eq!(point.bucket_counts, [1, 2, 3]);
    assert_eq!(point.explicit_bounds, [0.1, 0.3]);
    let exemplar = &point.exemplars[0];
    assert_eq!(exemplar.time_unix_nano, 2_500_000_000);
    assert_eq!(exemplar.trace_id[..2], [0x0a, 0xf7]);
    assert_eq!((exemplar.trace_id.len(), exemplar.span_id.len()), (16, 8));
    assert_eq!(
        text(&exemplar.filtered_attributes),
        [("kind".to_owned(), "slow".to_owned())]
    );
}

#[test]
fn a_collector_that_is_busy_is_asked_again_and_one_that_says_no_is_not() {
    let (endpoint, requests) = collector(|number| match number {
        0 => answer("503 Service Unavailable", &[]),
        1 => answer("200 OK", &[]),
        _ => answer("400 Bad Request", &[]),
    });
    let (service, notes) = service(Arc::new(Counting::default()));
    service.push(plan(20, otlp(endpoint))).unwrap();
    for _ in 0..3 {
        requests.recv_timeout(BOUND).unwrap();
    }
    eventually(|| status(&service).1 >= 1);
    assert_eq!(status(&service).0, 1);
    let heard = notes.lock().unwrap();
    assert!(
        matches!(&heard[..], [Note::Dropped { why, .. }] if why.contains("400")),
        "{heard:?}"
    );
}

#[test]
fn points_that_a_collector_rejects_are_counted() {
    let partial = ExportMetricsPartialSuccess {
        rejected_data_points: 2,
        error_message: "too old".into(),
    };
    let response = ExportMetricsServiceResponse {
        partial_success: Some(partial),
    };
    let body = response.encode_to_vec();
    let (endpoint, _requests) = collector(move |_| answer("200 OK", &body));
    let (service, notes) = service(Arc::new(Counting::default()));
    service.push(plan(60_000, otlp(endpoint))).unwrap();
    let id = service.status().exporters[0].id;
    let account = service.status().exporters[0].clone();
    assert_eq!(account.dropped, 0);
    service.end(id, BOUND);
    let heard = notes.lock().unwrap();
    assert!(
        matches!(&heard[..], [Note::Dropped { why, dropped: 2, .. }] if why.contains("too old")),
        "{heard:?}"
    );
}

#[test]
fn what_a_collector_says_is_told_in_one_short_line() {
    let partial = ExportMetricsPartialSuccess {
        rejected_data_points: 1,
        error_message: format!("no\r\nERROR \u{1b}[2J\u{202e}{}", "x".repeat(60_000)),
    };
    let response = ExportMetricsServiceResponse {
        partial_success: Some(partial),
    };
    let body = response.encode_to_vec();
    let (endpoint, _requests) = collector(move |_| answer("200 OK", &body));
    let (service, notes) = service(Arc::new(Counting::default()));
    service.push(plan(60_000, otlp(endpoint))).unwrap();
    let id = service.status().exporters[0].id;
    service.end(id, BOUND);
    let heard = notes.lock().unwrap();
    let [Note::Dropped { why, .. }] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert!(why.contains(r"no\u{d}\u{a}ERROR \u{1b}[2J\u{202e}xxx"), "{why}");
    assert!(!why.chars().any(char::is_control) && why.len() < 300, "{why}");
}

#[test]
fn that_a_collector_takes_what_is_sent_again_is_told_once() {
    let (endpoint, _requests) = collector(|number| match number {
        0 => answer("400 Bad Request", &[]),
        _ => answer("200 OK", &[]),
    });
    let (service, notes) = service(Arc::new(Counting::default()));
    service.push(plan(10, otlp(endpoint))).unwrap();
    eventually(|| status(&service).0 >= 3);
    let heard = notes.lock().unwrap();
    assert!(
        matches!(&heard[..], [Note::Dropped { .. }, Note::Resumed { exporter }] if exporter == "one"),
        "{heard:?}"
    );
}

#[test]
fn a_dead_or_silent_collector_holds_up_nobody() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [closed, silent.local_addr().unwrap()] {
        let (service, notes) = service(Arc::new(Counting::default()));
        service.push(plan(10, otlp(format!("http://{address}")))).unwrap();
        eventually(|| status(&service).1 >= 1);
        let (exports, _, dropped) = status(&service);
        assert!(exports == 0 && dropped > 0);
        assert_eq!(notes.lock().unwrap().len(), 1);
        let begun = Instant::now();
        service.stop(Duration::from_millis(300));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}

#[test]
fn what_is_no_endpoint_is_refused_with_what_to_do() {
    let (service, _) = service(Arc::new(Counting::default()));
    for (endpoint, expected) in [
        ("https://collector:4318", "speaks TLS"),
        ("collector:4318", "is no endpoint"),
        ("http://", "is no endpoint"),
    ] {
        let refused = service.push(plan(1_000, otlp(endpoint.into()))).unwrap_err();
        assert!(
            matches!(refused, StartError::Exporter(_)) && refused.to_string().contains(expected),
            "{refused}"
        );
    }
}

#[test]
fn a_source_that_panics_is_told_of_and_ends_nothing() {
    let (service, notes) = service(Arc::new(Panicking));
    service.push(plan(10, statsd(9))).unwrap();
    eventually(|| notes.lock().unwrap().len() >= 3);
    assert_eq!(
        notes.lock().unwrap()[0],
        Note::Panicked("nothing can be measured".into())
    );
    service.stop(BOUND);
}
