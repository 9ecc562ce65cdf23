//! A histogram's lines, with exemplars in OpenMetrics.

use kantoku_core::metrics::{Distribution, Exemplar};

use super::Format;
use super::words::{bound, push_labels, push_number};

// The most characters that an exemplar's labels may have, names and values together: OpenMetrics says so.
const MOST_EXEMPLAR: usize = 128;

type Labels = [(String, String)];

/// Over bounds among which are its own (T4).
pub fn write(
    out: &mut String,
    (name, labels): (&str, &Labels),
    (found, bounds): (&Distribution, &[f64]),
    format: Format,
) {
    let mut sum = 0;
    let mut below = f64::NEG_INFINITY;
    for (&above, count) in bounds.iter().zip(found.over(bounds)) {
        sum += count;
        let exemplar = exemplar(found, below, above, format);
        bucket(out, name, labels, &bound(above, format), sum, exemplar);
        below = above;
    }
    // T3: who writes counts apart from the buckets may be read in between.
    sum += found.above;
    let exemplar = exemplar(found, below, f64::INFINITY, format);
    bucket(out, name, labels, "+Inf", sum, exemplar);
    suffixed(out, name, "_sum", labels);
    push_number(out, found.sum);
    out.push('\n');
    suffixed(out, name, "_count", labels);
    out.push_str(&sum.to_string());
    out.push('\n');
}

fn suffixed(out: &mut String, name: &str, suffix: &str, labels: &Labels) {
    out.extend([name, suffix]);
    push_labels(out, labels, None);
    out.push(' ');
}

fn bucket(out: &mut String, name: &str, labels: &Labels, le: &str, sum: u64, exemplar: Option<&Exemplar>) {
    out.extend([name, "_bucket"]);
    push_labels(out, labels, Some(le));
    out.push(' ');
    out.push_str(&sum.to_string());
    if let Some(exemplar) = exemplar {
        push_exemplar(out, exemplar);
    }
    out.push('\n');
}

// The latest of the bucket.
fn exemplar(found: &Distribution, below: f64, above: f64, format: Format) -> Option<&Exemplar> {
    let own = |exemplar: &&Exemplar| {
        exemplar.value > below && exemplar.value <= above && size(exemplar) <= MOST_EXEMPLAR
    };
    let all = (format == Format::OpenMetrics).then_some(&found.exemplars)?;
    all.iter().filter(own).max_by(|a, b| a.at.total_cmp(&b.at))
}

fn size(exemplar: &Exemplar) -> usize {
    let sizes = exemplar.labels.iter();
    sizes
        .map(|(name, value)| name.chars().count() + value.chars().count())
        .sum()
}

fn push_exemplar(out: &mut String, exemplar: &Exemplar) {
    out.push_str(" # ");
    if exemplar.labels.is_empty() {
        out.push_str("{}");
    }
    push_labels(out, &exemplar.labels, None);
    out.push(' ');
    push_number(out, exemplar.value);
    out.push(' ');
    push_number(out, exemplar.at);
}
