//! Families as tests of exporters have them.

use kantoku_core::metrics::{Distribution, Exemplar, Family, Kind, Series, Value};

/// One with one series.
pub fn family(
    name: &str,
    kind: Kind,
    unit: Option<&'static str>,
    labels: &[(&str, &str)],
    value: Value,
) -> Family {
    let labels = labels
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    let series = vec![Series {
        labels: labels.collect(),
        value,
    }];
    Family {
        name: name.into(),
        help: format!("What {name} is."),
        unit,
        kind,
        series,
    }
}

pub fn counter(name: &str, labels: &[(&str, &str)], value: f64) -> Family {
    family(name, Kind::Counter, None, labels, Value::Counter(value))
}

pub fn gauge(name: &str, labels: &[(&str, &str)], value: f64) -> Family {
    family(name, Kind::Gauge, None, labels, Value::Gauge(value))
}

/// Of two buckets, to 0.1 and to 0.3, and what is above them; with an exemplar.
pub fn histogram(name: &str, unit: Option<&'static str>, counts: [u64; 3]) -> Family {
    let distribution = Distribution {
        buckets: vec![(0.1, counts[0]), (0.3, counts[1])],
        above: counts[2],
        sum: 1.5,
        count: counts.iter().sum(),
        exemplars: vec![Exemplar {
            value: 0.2,
            at: 2.5,
            labels: vec![
                ("trace_id".into(), "0af7651916cd43dd8448eb211c80319c".into()),
                ("span_id".into(), "b7ad6b7169203331".into()),
                ("kind".into(), "slow".into()),
            ],
        }],
    };
    family(
        name,
        Kind::Histogram,
        unit,
        &[("pool", "w")],
        Value::Histogram(distribution),
    )
}
