//! What OTLP's messages for metrics and traces have alike (opentelemetry-proto 1.x, `common/v1` and `resource/v1`), and the answer to both.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4")]
    pub value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Float(f64),
}

/// `ExportMetricsServiceResponse` and `ExportTraceServiceResponse`, which are the same on the wire.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// Points or spans.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// What is told of a collector's own words, in characters.
const LONGEST: usize = 200;

impl PartialSuccess {
    /// What it says, fit for a line of a log: cut, and without what would break the line or move on a terminal.
    pub fn plainly(&self) -> String {
        let mut text = String::new();
        for letter in self.error_message.chars().take(LONGEST) {
            if letter.is_control() || is_direction(letter) {
                text.extend(letter.escape_unicode());
            } else {
                text.push(letter);
            }
        }
        text
    }
}

// Ends of lines and paragraphs, and marks that turn the direction of what follows.
fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Resource {
    pub fn of(pairs: &[(String, String)]) -> Self {
        Self {
            attributes: pairs.iter().map(text).collect(),
        }
    }
}

impl Scope {
    /// Who measured.
    pub fn ours() -> Self {
        Self {
            name: "kantoku".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

pub fn text((key, value): &(String, String)) -> KeyValue {
    pair(key, Any::Text(value.clone()))
}

pub fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}
