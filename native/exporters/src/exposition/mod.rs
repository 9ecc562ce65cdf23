//! What was measured as the text that Prometheus reads: its own format 0.0.4, and OpenMetrics 1.0. Knows no HTTP.
//!
//! T1. A family's lines stand together and come once, whoever brought its series.
//! T2. Nothing that a name, label or help text holds can end its line or its quotes.
//! T3. The buckets of a histogram are cumulative, and its last one is its count.
//! T4. All series of a family have the same bounds: who adds up a bound that one of them lacks leaves out all that this one holds below it.

mod accept;
mod histogram;
mod words;

use std::collections::HashMap;

use kantoku_core::metrics::{Distribution, Family, Kind, Series, Value};

pub use accept::negotiate;

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0: with units and exemplars.
    OpenMetrics,
}

impl Format {
    /// What HTTP calls it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All families as one text. A series whose value is of another kind than its family is left out.
pub fn render(families: &[Family], format: Format) -> String {
    let mut out = String::with_capacity(families.iter().map(guess).sum());
    for group in grouped(families) {
        write_group(&mut out, &group, format);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

// Bytes, to grow once.
fn guess(family: &Family) -> usize {
    const LINE: usize = 96;
    let lines: usize = family.series.iter().map(lines).sum();
    family.help.len() + (lines + 3) * LINE
}

fn lines(series: &Series) -> usize {
    match &series.value {
        Value::Histogram(distribution) => distribution.buckets.len() + 3,
        _ => 1,
    }
}

// T1: families of one name, in the order in which each name came first.
fn grouped(families: &[Family]) -> Vec<Vec<&Family>> {
    let mut groups: Vec<Vec<&Family>> = Vec::new();
    let mut known = HashMap::new();
    for family in families.iter().filter(|family| !family.series.is_empty()) {
        let name = words::name(&family.name);
        let at = *known.entry(name).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if groups[at].first().is_none_or(|first| first.kind == family.kind) {
            groups[at].push(family);
        }
    }
    groups
}

fn write_group(out: &mut String, group: &[&Family], format: Format) {
    let first = group[0];
    let base = words::name(&first.name);
    let name = match first.kind {
        Kind::Counter => format!("{base}_total"),
        Kind::Gauge | Kind::Histogram => base.to_string(),
    };
    match format {
        Format::Text => head(out, &name, first, format),
        Format::OpenMetrics => head(out, &base, first, format),
    }
    let all = || group.iter().flat_map(|family| &family.series);
    let bounds = Distribution::bounds(all().filter_map(|series| series.value.distribution()));
    for series in all() {
        write_series(out, &name, (first.kind, &bounds), series, format);
    }
}

fn head(out: &mut String, name: &str, family: &Family, format: Format) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    out.extend(["# HELP ", name, " "]);
    words::push_help(out, &family.help, format);
    out.extend(["\n# TYPE ", name, " ", kind, "\n"]);
    if let (Format::OpenMetrics, Some(unit)) = (format, unit(name, family)) {
        out.extend(["# UNIT ", name, " ", unit, "\n"]);
    }
}

// OpenMetrics takes a unit only where the name ends with it.
fn unit(name: &str, family: &Family) -> Option<&'static str> {
    let unit = family.unit?;
    let ends = name
        .strip_suffix(unit)
        .is_some_and(|before| before.ends_with('_'));
    ends.then_some(unit)
}

fn write_series(
    out: &mut String,
    name: &str,
    (kind, bounds): (Kind, &[f64]),
    series: &Series,
    format: Format,
) {
    match (kind, &series.value) {
        (Kind::Counter, Value::Counter(value)) if *value >= 0.0 => sample(out, name, series, *value),
        (Kind::Gauge, Value::Gauge(value)) => sample(out, name, series, *value),
        (Kind::Histogram, Value::Histogram(distribution)) => {
            histogram::write(out, (name, &series.labels), (distribution, bounds), format);
        }
        _ => {}
    }
}

fn sample(out: &mut String, name: &str, series: &Series, value: f64) {
    out.push_str(name);
    words::push_labels(out, &series.labels, None);
    out.push(' ');
    words::push_number(out, value);
    out.push('\n');
}
