//! Names, labels and numbers as both formats spell them.

use std::borrow::Cow;
use std::fmt::Write;

use super::Format;

/// A metric's name with an underscore for each character that none may have.
pub fn name(given: &str) -> Cow<'_, str> {
    spelled(given, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn label_name(given: &str) -> Cow<'_, str> {
    spelled(given, |c| c.is_ascii_alphanumeric() || c == '_')
}

fn spelled(given: &str, may: impl Fn(char) -> bool) -> Cow<'_, str> {
    let begins = given.starts_with(|c: char| !c.is_ascii_digit());
    if begins && given.chars().all(&may) {
        return Cow::Borrowed(given);
    }
    let rest = given.chars().map(|c| if may(c) { c } else { '_' });
    Cow::Owned(if begins {
        rest.collect()
    } else {
        std::iter::once('_').chain(rest).collect()
    })
}

/// `{name="value",...}`, with `le` last; nothing where there are none. Of labels with one name the first counts.
pub fn push_labels(out: &mut String, labels: &[(String, String)], le: Option<&str>) {
    if labels.is_empty() && le.is_none() {
        return;
    }
    let mut written: Vec<Cow<'_, str>> = Vec::with_capacity(labels.len() + 1);
    written.extend(le.map(|_| Cow::Borrowed("le")));
    let mut before = '{';
    for (label, value) in labels {
        let label = label_name(label);
        if !written.contains(&label) {
            push_label(out, before, &label, value);
            before = ',';
            written.push(label);
        }
    }
    if let Some(le) = le {
        push_label(out, before, "le", le);
    }
    out.push('}');
}

fn push_label(out: &mut String, before: char, label: &str, value: &str) {
    out.push(before);
    out.push_str(label);
    out.push_str("=\"");
    push_escaped(out, value, true);
    out.push('"');
}

/// A help text; OpenMetrics has its quotes escaped too.
pub fn push_help(out: &mut String, help: &str, format: Format) {
    push_escaped(out, help, format == Format::OpenMetrics);
}

fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// A number that reads back as it was.
pub fn push_number(out: &mut String, value: f64) {
    let size = value.abs();
    let written = if value.is_nan() {
        out.push_str("NaN");
        Ok(())
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        Ok(())
    } else if size != 0.0 && !(1e-6..1e17).contains(&size) {
        write!(out, "{value:e}")
    } else {
        write!(out, "{value}")
    };
    written.expect("a string takes all");
}

/// A bucket's bound. OpenMetrics wants a point in it, or an exponent.
pub fn bound(value: f64, format: Format) -> String {
    let mut text = String::new();
    push_number(&mut text, value);
    let bare = !text.contains(['.', 'e', 'I', 'N']);
    if format == Format::OpenMetrics && bare {
        text.push_str(".0");
    }
    text
}
