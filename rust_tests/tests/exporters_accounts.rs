//! That what an exporter had to send was sent or counted as dropped, whatever its receiver does. P3 and O1 are `push`'s, N1-N2 `push::lookup`'s,
//! Z1 `push::starts`'.
#![cfg(not(kantoku_loom))]
#![allow(clippy::unwrap_used, reason = "what fails here says where")]

use std::future::{pending, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use kantoku_core::metrics::{Family, Source};
use kantoku_exporters::figures::Note;
use kantoku_exporters::push::lookup::Lookup;
use kantoku_exporters::push::otlp::Options;
use kantoku_exporters::push::{Address, Dialect, Plan, StatsDOptions, Target, Tls};
use kantoku_exporters::service::Service;
use kantoku_rust_tests::collector::{self, Notes, answer, collector, eventually};
use kantoku_rust_tests::figures::{counter, gauge, histogram};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use prost::Message;
use tokio::runtime::Builder;

const BOUND: Duration = Duration::from_secs(10);

// Counts one more at each look, and begins again where it is told to.
#[derive(Default)]
struct Rising(AtomicU64);

impl Source for Rising {
    fn families(&self) -> Vec<Family> {
        let calls = self.0.fetch_add(1, Ordering::Relaxed) as f64;
        vec![
            counter("calls", &[("pool", "w")], calls),
            gauge("size", &[], 3.0),
            histogram("took_seconds", Some("seconds"), [1, 2, 3]),
        ]
    }
}

fn service() -> (Service, Notes, Arc<Rising>) {
    let rising = Arc::new(Rising::default());
    let (service, notes) = collector::service(rising.clone(), BOUND);
    (service, notes, rising)
}

fn plan(interval: u64, target: Target) -> Plan {
    Plan {
        name: "one".into(),
        interval: Duration::from_millis(interval),
        target,
    }
}

fn otlp(endpoint: String, timeout: u64) -> Target {
    let address = Address {
        endpoint,
        headers: Vec::new(),
        timeout: Duration::from_millis(timeout),
        tls: Tls::default(),
    };
    Target::Otlp(Options {
        address,
        resource: vec![("service.name".into(), "tests".into())],
        since: 1_000,
    })
}

fn statsd(host: &str, port: u16) -> Target {
    Target::StatsD(StatsDOptions {
        host: host.into(),
        port,
        dialect: Dialect::StatsD,
        prefix: String::new(),
    })
}

fn points_and_dropped(service: &Service) -> (u64, u64) {
    let one = &service.status().exporters[0];
    (one.points, one.dropped)
}

// What was told of what was dropped, in all.
fn told(notes: &Notes) -> u64 {
    let dropped = |note: &Note| match note {
        Note::Dropped { dropped, .. } => *dropped,
        Note::Resumed { .. } => 0,
        Note::Panicked(text) => panic!("{text}"),
    };
    notes.lock().unwrap().iter().map(dropped).sum()
}

fn metrics(body: &[u8]) -> Vec<Metric> {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let scopes = request
        .resource_metrics
        .into_iter()
        .flat_map(|of| of.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

fn points(body: &[u8]) -> u64 {
    let counts = metrics(body)
        .into_iter()
        .map(|metric| match metric.data.unwrap() {
            metric::Data::Gauge(gauge) => gauge.data_points.len(),
            metric::Data::Sum(sum) => sum.data_points.len(),
            metric::Data::Histogram(histogram) => histogram.data_points.len(),
            other => panic!("{other:?}"),
        });
    counts.sum::<usize>() as u64
}

fn bodies(requests: &Receiver<(String, Vec<u8>)>) -> Vec<Vec<u8>> {
    requests.try_iter().map(|(_head, body)| body).collect()
}

#[test]
fn of_a_collector_that_comes_and_goes_what_it_took_and_what_was_dropped_are_all_points() {
    let takes = |number: usize| !matches!(number % 5, 1 | 2);
    let (endpoint, requests) = collector(move |number| {
        answer(
            if takes(number) {
                "200 OK"
            } else {
                "400 Bad Request"
            },
            &[],
        )
    });
    let (service, _, _) = service();
    service.push(plan(5, otlp(endpoint, 2_000))).unwrap();
    let rounds = || service.status().exporters[0].exports + service.status().exporters[0].failures;
    eventually(|| rounds() >= 30);
    let (asked, dropped, came) = hold_still(&service, &requests);
    assert!(dropped > 0);
    let taken: u64 = came
        .iter()
        .enumerate()
        .filter(|(number, _)| takes(*number))
        .map(|(_, body)| points(body))
        .sum();
    assert_eq!(
        (taken + dropped, asked),
        (asked, came.iter().map(|body| points(body)).sum())
    );
}

// Waits for a moment in which all that it had to send has come; what it had to send, what it dropped, and what came.
fn hold_still(service: &Service, requests: &Receiver<(String, Vec<u8>)>) -> (u64, u64, Vec<Vec<u8>>) {
    let (mut came, until) = (Vec::new(), Instant::now() + BOUND);
    loop {
        let before = service.status().exporters[0].clone();
        came.extend(bodies(requests));
        let after = service.status().exporters[0].clone();
        let sum: u64 = came.iter().map(|body| points(body)).sum();
        let same =
            (before.exports, before.failures, before.points) == (after.exports, after.failures, after.points);
        if same && sum == after.points && after.exports + after.failures == came.len() as u64 {
            return (after.points, after.dropped, came);
        }
        assert!(Instant::now() < until, "no moment between two rounds");
    }
}

#[test]
fn metrics_under_way_when_their_exporter_is_ended_are_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (service, notes, _) = service();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let id = service.push(plan(5, otlp(endpoint, 60_000))).unwrap();
    eventually(|| points_and_dropped(&service).0 > 0);
    let (points, dropped) = points_and_dropped(&service);
    assert_eq!(dropped, 0);
    service.end(id, Duration::from_millis(50));
    assert_eq!(told(&notes), points);
}

#[test]
fn a_statsd_on_this_machine_that_is_gone_costs_all_lines_to_the_last() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (service, notes, _) = service();
    let id = service.push(plan(60_000, statsd("127.0.0.1", port))).unwrap();
    for _ in 0..3 {
        service.flush(BOUND);
        let (points, dropped) = points_and_dropped(&service);
        assert!(points >= 2);
        assert_eq!(dropped, points);
    }
    service.end(id, BOUND);
    assert!(told(&notes) >= 8);
}

#[test]
fn a_name_that_leads_nowhere_costs_a_statsd_the_whole_round_and_no_more() {
    let (service, notes, _) = service();
    let id = service
        .push(plan(60_000, statsd("nowhere.invalid", 8125)))
        .unwrap();
    service.flush(BOUND);
    let (points, dropped) = points_and_dropped(&service);
    assert!(points >= 2);
    assert_eq!((dropped, told(&notes)), (points, points));
    service.end(id, BOUND);
}

#[test]
fn a_resolver_that_hangs_is_not_waited_for_and_an_address_of_before_will_do() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let address: SocketAddr = "192.0.2.1:8125".parse().unwrap();
    let soon = Duration::from_millis(20);
    let mut lookup = Lookup::new("statsd".into(), 8125, soon);
    runtime.block_on(async {
        let hung = lookup.find(pending()).await.unwrap_err();
        assert_eq!(hung.kind(), io::ErrorKind::TimedOut);
        assert!(hung.to_string().contains("within 20 ms"), "{hung}");
        let none = lookup.find(ready(Ok(Vec::new()))).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
        assert_eq!(lookup.find(ready(Ok(vec![address]))).await.unwrap(), [address]);
        let never = async { panic!("asked again while it is fresh") };
        assert_eq!(lookup.find(never).await.unwrap(), [address]);
        lookup.doubt();
        assert_eq!(lookup.find(pending()).await.unwrap(), [address]);
        let another: SocketAddr = "192.0.2.2:8125".parse().unwrap();
        assert_eq!(lookup.find(ready(Ok(vec![another]))).await.unwrap(), [another]);
    });
}

fn busy(seconds: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {seconds}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    head.into_bytes()
}

#[test]
fn a_collector_that_says_when_to_come_again_is_asked_no_sooner() {
    let (endpoint, requests) = collector(|number| match number {
        0 => busy("2"),
        _ => answer("200 OK", &[]),
    });
    let (service, _, _) = service();
    service.push(plan(5, otlp(endpoint, 5_000))).unwrap();
    requests.recv_timeout(BOUND).unwrap();
    let begun = Instant::now();
    requests.recv_timeout(BOUND).unwrap();
    // It was answered before we heard of it.
    assert!(
        begun.elapsed() >= Duration::from_millis(1_500),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_collector_that_wants_to_be_left_alone_for_an_hour_holds_a_round_up_no_longer_than_a_try_takes() {
    let (endpoint, _requests) = collector(|_| busy("3600"));
    let (service, notes, _) = service();
    service.push(plan(5, otlp(endpoint, 100))).unwrap();
    eventually(|| service.status().exporters[0].failures >= 1);
    assert!(told(&notes) > 0);
}

#[test]
fn a_collector_that_rejects_more_than_it_was_sent_has_rejected_all() {
    let partial = ExportMetricsPartialSuccess {
        rejected_data_points: i64::MAX,
        error_message: "none of it".into(),
    };
    let response = ExportMetricsServiceResponse {
        partial_success: Some(partial),
    };
    let body = response.encode_to_vec();
    let (endpoint, _requests) = collector(move |_| answer("200 OK", &body));
    let (service, _, _) = service();
    service.push(plan(60_000, otlp(endpoint, 2_000))).unwrap();
    service.flush(BOUND);
    let (points, dropped) = points_and_dropped(&service);
    assert!(points > 0 && dropped == points, "{dropped} of {points}");
}

fn start_of(body: &[u8], name: &str) -> (u64, u64) {
    let metric = metrics(body)
        .into_iter()
        .find(|metric| metric.name == name)
        .unwrap();
    match metric.data.unwrap() {
        metric::Data::Sum(sum) => (
            sum.data_points[0].start_time_unix_nano,
            sum.data_points[0].time_unix_nano,
        ),
        metric::Data::Histogram(found) => (
            found.data_points[0].start_time_unix_nano,
            found.data_points[0].time_unix_nano,
        ),
        metric::Data::Gauge(gauge) => (
            gauge.data_points[0].start_time_unix_nano,
            gauge.data_points[0].time_unix_nano,
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_counter_that_began_anew_says_since_when_it_counts() {
    let (endpoint, requests) = collector(|_| answer("200 OK", &[]));
    let (service, _, rising) = service();
    rising.0.store(100, Ordering::Relaxed);
    service.push(plan(60_000, otlp(endpoint, 2_000))).unwrap();
    let round = || {
        service.flush(BOUND);
        requests.recv_timeout(BOUND).unwrap().1
    };
    let (first, second) = (round(), round());
    rising.0.store(0, Ordering::Relaxed);
    let (third, fourth) = (round(), round());
    assert_eq!(start_of(&first, "calls").0, 1_000);
    assert_eq!(start_of(&second, "calls").0, 1_000);
    // It began after the second.
    let told = start_of(&second, "calls").1;
    assert_eq!(start_of(&third, "calls").0, told);
    assert_eq!(start_of(&fourth, "calls").0, told);
    for body in [&first, &third, &fourth] {
        assert_eq!(start_of(body, "took_seconds").0, 1_000);
        assert_eq!(start_of(body, "size").0, 0);
    }
}
