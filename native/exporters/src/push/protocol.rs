//! OTLP's messages for metrics (opentelemetry-proto 1.x, `metrics/v1/metrics.proto`), as far as we say anything by them.
//!
//! Written out here, as the crate of all of them has the SDK and a gRPC stack behind it. `rust_tests` reads them back.

use kantoku_core::metrics::{Distribution, Exemplar, Family, Kind, Series, Value};
use prost::Message;

use super::attributes::{KeyValue, Resource, Scope, text};
use super::starts::Starts;

#[derive(Clone, PartialEq, Message)]
pub struct ExportMetricsServiceRequest {
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(string, tag = "3")]
    pub unit: String,
    #[prost(oneof = "Data", tags = "5, 7, 9")]
    pub data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Data {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
pub struct Gauge {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberPoint>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sum {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberPoint>,
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct NumberPoint {
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    #[prost(double, optional, tag = "4")]
    pub as_double: Option<f64>,
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HistogramPoint {
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    pub bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "8")]
    pub exemplars: Vec<ExemplarPoint>,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExemplarPoint {
    #[prost(fixed64, tag = "2")]
    pub time_unix_nano: u64,
    #[prost(double, optional, tag = "3")]
    pub as_double: Option<f64>,
    #[prost(bytes = "vec", tag = "4")]
    pub span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub trace_id: Vec<u8>,
    #[prost(message, repeated, tag = "7")]
    pub filtered_attributes: Vec<KeyValue>,
}

const CUMULATIVE: i32 = 2;

/// All families as one request, and how many points are in it. Counters are told as they stand,
/// since when `starts` says, at `now` in Unix nanoseconds.
pub fn encode(
    families: &[Family],
    resource: &[(String, String)],
    (starts, now): (&Starts, u64),
) -> (ExportMetricsServiceRequest, u64) {
    let metrics: Vec<Metric> = families
        .iter()
        .map(|family| metric(family, starts, now))
        .collect();
    let points = families.iter().map(|family| family.series.len() as u64).sum();
    let scope_metrics = ScopeMetrics {
        scope: Some(Scope::ours()),
        metrics,
    };
    let of_resource = ResourceMetrics {
        resource: Some(Resource::of(resource)),
        scope_metrics: vec![scope_metrics],
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![of_resource],
    };
    (request, points)
}

fn metric(family: &Family, starts: &Starts, now: u64) -> Metric {
    let data = match family.kind {
        Kind::Gauge => Data::Gauge(Gauge {
            data_points: numbers(family, starts, now),
        }),
        Kind::Counter => Data::Sum(Sum {
            data_points: numbers(family, starts, now),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: histograms(family, starts, now),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    Metric {
        name: family.name.clone(),
        description: family.help.clone(),
        unit: unit(family.unit).to_owned(),
        data: Some(data),
    }
}

// UCUM's names, which OTLP has its units in.
fn unit(unit: Option<&'static str>) -> &'static str {
    match unit {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        Some(other) => other,
        None => "",
    }
}

fn numbers(family: &Family, starts: &Starts, now: u64) -> Vec<NumberPoint> {
    let point = |series: &Series| match series.value {
        Value::Counter(value) | Value::Gauge(value) => Some(NumberPoint {
            start_time_unix_nano: starts.of(family, series),
            time_unix_nano: now,
            as_double: Some(value),
            attributes: attributes(&series.labels),
        }),
        Value::Histogram(_) => None,
    };
    family.series.iter().filter_map(point).collect()
}

fn histograms(family: &Family, starts: &Starts, now: u64) -> Vec<HistogramPoint> {
    let all = family.series.iter().map(|series| series.value.distribution());
    let bounds = Distribution::bounds(all.flatten());
    let point = |series: &Series| {
        let found = series.value.distribution()?;
        Some(histogram(
            found,
            &series.labels,
            &bounds,
            (starts.of(family, series), now),
        ))
    };
    family.series.iter().filter_map(point).collect()
}

// Over the same bounds as all of its family. Its count is that of its buckets: who writes them apart may be read in between.
fn histogram(
    found: &Distribution,
    labels: &[(String, String)],
    bounds: &[f64],
    (since, now): (u64, u64),
) -> HistogramPoint {
    let bucket_counts: Vec<u64> = found.over(bounds).chain([found.above]).collect();
    HistogramPoint {
        start_time_unix_nano: since,
        time_unix_nano: now,
        count: bucket_counts.iter().sum(),
        sum: Some(found.sum),
        bucket_counts,
        explicit_bounds: bounds.to_vec(),
        exemplars: found.exemplars.iter().map(exemplar).collect(),
        attributes: attributes(labels),
    }
}

fn exemplar(found: &Exemplar) -> ExemplarPoint {
    let id = |name: &str| {
        let label = found.labels.iter().find(|(label, _)| label == name);
        label.and_then(|(_, hex)| bytes(hex)).unwrap_or_default()
    };
    let others = found
        .labels
        .iter()
        .filter(|(name, _)| name != "trace_id" && name != "span_id");
    ExemplarPoint {
        time_unix_nano: (found.at * 1e9) as u64,
        as_double: Some(found.value),
        span_id: id("span_id"),
        trace_id: id("trace_id"),
        filtered_attributes: others.map(text).collect(),
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2).map(std::str::from_utf8);
    digits
        .map(|pair| u8::from_str_radix(pair.ok()?, 16).ok())
        .collect()
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    labels.iter().map(text).collect()
}
