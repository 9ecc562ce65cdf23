//! OTLP's messages for traces (opentelemetry-proto 1.x, `trace/v1/trace.proto`), as far as we say anything by them. `rust_tests` reads them back.

use kantoku_core::trace::{self, Pair, TraceId, Value};
use prost::Message;

use super::attributes::{Any, KeyValue, Resource, Scope, pair};

#[derive(Clone, PartialEq, Message)]
pub struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    pub dropped_attributes_count: u32,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    #[prost(uint32, tag = "12")]
    pub dropped_events_count: u32,
    #[prost(message, repeated, tag = "13")]
    pub links: Vec<Link>,
    #[prost(uint32, tag = "14")]
    pub dropped_links_count: u32,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Event {
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Link {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub trace_state: String,
    #[prost(fixed32, tag = "6")]
    pub flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// All of them as one request.
pub fn encode(spans: Vec<trace::Span>, resource: &[(String, String)]) -> ExportTraceServiceRequest {
    let scope_spans = ScopeSpans {
        scope: Some(Scope::ours()),
        spans: spans.into_iter().map(span).collect(),
    };
    let of_resource = ResourceSpans {
        resource: Some(Resource::of(resource)),
        scope_spans: vec![scope_spans],
    };
    ExportTraceServiceRequest {
        resource_spans: vec![of_resource],
    }
}

fn span(span: trace::Span) -> Span {
    Span {
        trace_id: trace_id(span.trace),
        span_id: span_id(span.span),
        trace_state: span.state,
        parent_span_id: if span.parent == 0 {
            Vec::new()
        } else {
            span_id(span.parent)
        },
        name: span.name,
        kind: span.kind as i32,
        start_time_unix_nano: nanos(span.began),
        end_time_unix_nano: nanos(span.ended),
        attributes: attributes(&span.attributes),
        dropped_attributes_count: span.left_out.attributes,
        events: span.events.into_iter().map(event).collect(),
        dropped_events_count: span.left_out.events,
        links: span.links.into_iter().map(link).collect(),
        dropped_links_count: span.left_out.links,
        status: status(span.status),
        flags: u32::from(span.flags),
    }
}

// One that says nothing is left out, as OTLP has it.
fn status(status: trace::Status) -> Option<Status> {
    let code = status as i32;
    (code != 0).then(|| Status {
        message: String::new(),
        code,
    })
}

fn event(event: trace::Event) -> Event {
    Event {
        time_unix_nano: nanos(event.at),
        name: event.name,
        attributes: attributes(&event.attributes),
    }
}

fn link(link: trace::Link) -> Link {
    Link {
        trace_id: trace_id(link.trace),
        span_id: span_id(link.span),
        trace_state: link.state,
        flags: u32::from(link.flags),
    }
}

fn trace_id(TraceId(id): TraceId) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn span_id(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

// A clock that is set before 1970 says 1970.
fn nanos(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0)
}

fn attributes(pairs: &[Pair]) -> Vec<KeyValue> {
    let attribute = |Pair { name, value }: &Pair| {
        let value = match value {
            Value::Text(text) => Any::Text(text.clone()),
            Value::Integer(integer) => Any::Integer(*integer),
            Value::Float(float) => Any::Float(*float),
            Value::Bool(bool) => Any::Bool(*bool),
        };
        pair(name, value)
    };
    pairs.iter().map(attribute).collect()
}
