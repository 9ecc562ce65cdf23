//! StatsD's lines, plain and Datadog's, packed into datagrams. Knows no socket.
//!
//! Plain StatsD has neither labels nor distributions: the labels' values follow the name, and histograms are timings in ms.

use std::fmt::Write;

use kantoku_core::metrics::{Family, Series};

use super::deltas::{Deltas, Rise};

/// Which of the two it is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    StatsD,
    DogStatsD,
}

/// What fits through an Ethernet with a few headers around it, in one piece.
pub const DATAGRAM: usize = 1432;

/// Lines on their way out together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    pub text: String,
    pub lines: u64,
}

/// All that rose, and all gauges, in as few datagrams as they fit in. What is too long for any is in the second.
pub fn datagrams(
    families: &[Family],
    deltas: &mut Deltas,
    dialect: Dialect,
    prefix: &str,
) -> (Vec<Datagram>, u64) {
    let mut packer = Packer::default();
    deltas.take(families, |family, series, rise| {
        let line = Line {
            dialect,
            name: name(dialect, prefix, family, series),
            tags: tags(dialect, series),
        };
        match rise {
            Rise::Counter(rise) if rise > 0.0 => packer.push(&line.counter(rise)),
            Rise::Counter(_) => {}
            Rise::Gauge(value) if value.is_finite() => packer.push(&line.gauge(value)),
            Rise::Gauge(_) => {}
            Rise::Histogram(risen) => {
                let scale = line.scale(family);
                let lines = risen
                    .iter()
                    .map(|&(value, count)| line.timing(value * scale, count));
                lines.for_each(|line| packer.push(&line));
            }
        }
    });
    packer.finish()
}

#[derive(Debug)]
struct Line {
    dialect: Dialect,
    name: String,
    tags: String,
}

impl Line {
    fn counter(&self, rise: f64) -> String {
        format!("{}:{rise}|c{}", self.name, self.tags)
    }

    fn gauge(&self, value: f64) -> String {
        // A sign makes it a change: to go below zero one begins at zero.
        match self.dialect {
            Dialect::StatsD if value < 0.0 => format!("{name}:0|g\n{name}:{value}|g", name = self.name),
            _ => format!("{}:{value}|g{}", self.name, self.tags),
        }
    }

    // Each of plain StatsD's timings is in ms; Datadog's distributions are in what the name says.
    fn scale(&self, family: &Family) -> f64 {
        match (self.dialect, family.unit) {
            (Dialect::StatsD, Some("seconds")) => 1000.0,
            _ => 1.0,
        }
    }

    // A sampled line stands for one by its rate of them.
    fn timing(&self, value: f64, count: u64) -> String {
        let kind = match self.dialect {
            Dialect::StatsD => "ms",
            Dialect::DogStatsD => "d",
        };
        let mut line = format!("{}:{value}|{kind}", self.name);
        if count > 1 {
            write!(line, "|@{}", 1.0 / count as f64).expect("a string takes all");
        }
        line + &self.tags
    }
}

fn name(dialect: Dialect, prefix: &str, family: &Family, series: &Series) -> String {
    let mut name = String::from(prefix);
    push_word(&mut name, &family.name);
    if dialect == Dialect::StatsD {
        for (_, value) in &series.labels {
            name.push('.');
            // As many dots whatever the values are.
            push_word(&mut name, if value.is_empty() { "_" } else { value });
        }
    }
    name
}

fn tags(dialect: Dialect, series: &Series) -> String {
    let mut tags = String::new();
    if dialect == Dialect::DogStatsD {
        let said = series.labels.iter().filter(|(_, value)| !value.is_empty());
        for (at, (label, value)) in said.enumerate() {
            tags.push_str(if at == 0 { "|#" } else { "," });
            push_word(&mut tags, label);
            tags.push(':');
            push_tag(&mut tags, value);
        }
    }
    tags
}

fn push_word(out: &mut String, text: &str) {
    let may = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    out.extend(text.chars().map(|c| if may(c) { c } else { '_' }));
}

// A tag's value may be almost anything, but not what ends it.
fn push_tag(out: &mut String, text: &str) {
    let ends = |c: char| matches!(c, '|' | ',' | '#' | '\n' | '\r') || c.is_control();
    out.extend(text.chars().map(|c| if ends(c) { '_' } else { c }));
}

#[derive(Debug, Default)]
struct Packer {
    full: Vec<Datagram>,
    open: Datagram,
    too_long: u64,
}

impl Packer {
    fn push(&mut self, line: &str) {
        if line.len() > DATAGRAM {
            self.too_long += 1;
            return;
        }
        if !self.open.text.is_empty() && self.open.text.len() + 1 + line.len() > DATAGRAM {
            self.full.push(std::mem::take(&mut self.open));
        }
        if !self.open.text.is_empty() {
            self.open.text.push('\n');
        }
        self.open.text.push_str(line);
        self.open.lines += 1;
    }

    fn finish(mut self) -> (Vec<Datagram>, u64) {
        if self.open.lines > 0 {
            self.full.push(self.open);
        }
        (self.full, self.too_long)
    }
}
