//! Which format a reader likes best, by its `accept` header (RFC 9110, 12.5.1).

use super::Format;

/// The format for an `accept` header; the text format where it has nothing that we write, or there is none.
pub fn negotiate(accept: Option<&str>) -> Format {
    let ranges = accept.unwrap_or_default().split(',');
    let (mut text, mut open) = (0.0_f32, 0.0_f32);
    for (media, version, quality) in ranges.map(range) {
        match media.as_str() {
            "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => {
                open = open.max(quality);
            }
            "text/plain" | "text/*" | "*/*" => text = text.max(quality),
            _ => {}
        }
    }
    if open > 0.0 && open >= text {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

// A media range, its version, and how much it is liked: 0 to 1.
fn range(text: &str) -> (String, Option<&str>, f32) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let (mut version, mut quality) = (None, 1.0);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "version" => version = Some(value),
            "q" => quality = value.parse().unwrap_or(0.0),
            _ => {}
        }
    }
    (media, version, quality)
}
