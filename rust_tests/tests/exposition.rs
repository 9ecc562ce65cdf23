//! The wire formats of Prometheus, byte for byte, and for whatever names, labels and numbers there are.
#![cfg(not(kantoku_loom))]

use kantoku_core::metrics::{Distribution, Exemplar, Family, Kind, Series, Value};
use kantoku_exporters::exposition::{Format, negotiate, render};
use proptest::prelude::*;

fn family(name: &str, kind: Kind, unit: Option<&'static str>, series: Vec<Series>) -> Family {
    let help = format!("What {name} is.");
    Family {
        name: name.into(),
        help,
        unit,
        kind,
        series,
    }
}

fn series(labels: &[(&str, &str)], value: Value) -> Series {
    let labels = labels
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Series {
        labels: labels.collect(),
        value,
    }
}

fn durations() -> Family {
    let traced = |value, at, trace: &str| Exemplar {
        value,
        at,
        labels: vec![("trace_id".into(), trace.into())],
    };
    let distribution = Distribution {
        buckets: vec![(0.25, 3), (1.0, 0), (2.5, 2)],
        above: 1,
        sum: 14.5,
        count: 6,
        exemplars: vec![
            traced(0.1, 1.5, "old"),
            traced(0.2, 2.5, "new"),
            traced(9.0, 3.0, "slow"),
            traced(2.0, 4.0, &"x".repeat(128)),
        ],
    };
    let one = series(&[("pool", "writers")], Value::Histogram(distribution));
    family(
        "request_duration_seconds",
        Kind::Histogram,
        Some("seconds"),
        vec![one],
    )
}

#[test]
fn counters_end_in_total_and_are_declared_as_each_format_has_it() {
    let found = [family(
        "calls",
        Kind::Counter,
        None,
        vec![
            series(&[], Value::Counter(3.0)),
            series(&[("a", "b")], Value::Counter(0.5)),
        ],
    )];
    assert_eq!(
        render(&found, Format::Text),
        "# HELP calls_total What calls is.\n# TYPE calls_total counter\ncalls_total 3\ncalls_total{a=\"b\"} 0.5\n"
    );
    assert_eq!(
        render(&found, Format::OpenMetrics),
        "# HELP calls What calls is.\n# TYPE calls counter\ncalls_total 3\ncalls_total{a=\"b\"} 0.5\n# EOF\n"
    );
}

#[test]
fn histograms_are_cumulative_and_have_their_sum_and_count() {
    assert_eq!(
        render(&[durations()], Format::Text),
        "# HELP request_duration_seconds What request_duration_seconds is.\n\
         # TYPE request_duration_seconds histogram\n\
         request_duration_seconds_bucket{pool=\"writers\",le=\"0.25\"} 3\n\
         request_duration_seconds_bucket{pool=\"writers\",le=\"1\"} 3\n\
         request_duration_seconds_bucket{pool=\"writers\",le=\"2.5\"} 5\n\
         request_duration_seconds_bucket{pool=\"writers\",le=\"+Inf\"} 6\n\
         request_duration_seconds_sum{pool=\"writers\"} 14.5\n\
         request_duration_seconds_count{pool=\"writers\"} 6\n"
    );
}

// T4.
#[test]
fn all_series_of_a_histogram_have_the_same_bounds() {
    let [mut fast, slow] = [durations(), durations()];
    fast.series[0].labels = vec![("pool".into(), "fast".into())];
    fast.series[0].value = Value::Histogram(Distribution {
        buckets: vec![(0.125, 2), (0.25, 1), (1.0, 0)],
        count: 3,
        ..Distribution::default()
    });
    let text = render(&[fast, slow], Format::Text);
    let of = |pool: &str| -> Vec<(&str, &str)> {
        let start = format!("request_duration_seconds_bucket{{pool=\"{pool}\",le=\"");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&*start));
        lines.filter_map(|line| line.split_once("\"} ")).collect()
    };
    assert_eq!(
        of("fast"),
        [
            ("0.125", "2"),
            ("0.25", "3"),
            ("1", "3"),
            ("2.5", "3"),
            ("+Inf", "3")
        ]
    );
    assert_eq!(
        of("writers"),
        [
            ("0.125", "0"),
            ("0.25", "3"),
            ("1", "3"),
            ("2.5", "5"),
            ("+Inf", "6")
        ]
    );
}

#[test]
fn open_metrics_has_units_exemplars_and_an_end() {
    assert_eq!(
        render(&[durations()], Format::OpenMetrics),
        "# HELP request_duration_seconds What request_duration_seconds is.\n\
         # TYPE request_duration_seconds histogram\n\
         # UNIT request_duration_seconds seconds\n\
         request_duration_seconds_bucket{pool=\"writers\",le=\"0.25\"} 3 # {trace_id=\"new\"} 0.2 2.5\n\
         request_duration_seconds_bucket{pool=\"writers\",le=\"1.0\"} 3\n\
         request_duration_seconds_bucket{pool=\"writers\",le=\"2.5\"} 5\n\
         request_duration_seconds_bucket{pool=\"writers\",le=\"+Inf\"} 6 # {trace_id=\"slow\"} 9 3\n\
         request_duration_seconds_sum{pool=\"writers\"} 14.5\n\
         request_duration_seconds_count{pool=\"writers\"} 6\n\
         # EOF\n"
    );
    assert_eq!(render(&[], Format::OpenMetrics), "# EOF\n");
}

#[test]
fn a_unit_that_the_name_does_not_end_with_is_left_out() {
    let series = vec![series(&[], Value::Gauge(1.0))];
    let found = family("age", Kind::Gauge, Some("seconds"), series);
    assert!(!render(&[found], Format::OpenMetrics).contains("# UNIT"));
}

#[test]
fn nothing_in_a_label_or_help_ends_its_line() {
    let mut found = family(
        "odd",
        Kind::Gauge,
        None,
        vec![series(
            &[
                ("path", "C:\\x\n\"y\""),
                ("bad name", "é"),
                ("0", "digit"),
                ("bad!name", "twice"),
            ],
            Value::Gauge(f64::NEG_INFINITY),
        )],
    );
    found.help = "a\\b\n\"c\"".into();
    assert_eq!(
        render(std::slice::from_ref(&found), Format::Text),
        "# HELP odd a\\\\b\\n\"c\"\n# TYPE odd gauge\n\
         odd{path=\"C:\\\\x\\n\\\"y\\\"\",bad_name=\"é\",_0=\"digit\"} -Inf\n"
    );
    assert!(render(&[found], Format::OpenMetrics).starts_with("# HELP odd a\\\\b\\n\\\"c\\\"\n"));
}

#[test]
fn families_of_one_name_stand_together_and_those_of_another_kind_are_left_out() {
    let gauge = |labels: &[(&str, &str)]| vec![series(labels, Value::Gauge(1.0))];
    let found = [
        family("a", Kind::Gauge, None, gauge(&[("of", "one")])),
        family("b", Kind::Gauge, None, gauge(&[])),
        family("a", Kind::Gauge, None, gauge(&[("of", "two")])),
        family("b", Kind::Counter, None, vec![series(&[], Value::Counter(1.0))]),
        family("empty", Kind::Gauge, None, vec![]),
        family("c", Kind::Gauge, None, vec![series(&[], Value::Counter(1.0))]),
    ];
    let lines: Vec<String> = render(&found, Format::Text)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert_eq!(lines, ["a{of=\"one\"} 1", "a{of=\"two\"} 1", "b 1"]);
}

#[test]
fn the_format_is_the_one_a_reader_likes_best() {
    let newest = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                  application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, format) in [
        (None, Format::Text),
        (Some("*/*"), Format::Text),
        (Some("text/html"), Format::Text),
        (Some(newest), Format::OpenMetrics),
        (Some("APPLICATION/openmetrics-text"), Format::OpenMetrics),
        (
            Some("application/openmetrics-text; version=\"1.0.0\""),
            Format::OpenMetrics,
        ),
        (Some("application/openmetrics-text;version=0.0.1"), Format::Text),
        (
            Some("application/openmetrics-text;version=1.0.0;q=0"),
            Format::Text,
        ),
        (
            Some("application/openmetrics-text;q=0.1,text/plain"),
            Format::Text,
        ),
    ] {
        assert_eq!(negotiate(accept), format, "{accept:?}");
    }
}

// What one line says: its name, its labels as they were, its value.
fn read(line: &str) -> (String, Vec<(String, String)>, f64) {
    let at = line.find(['{', ' ']).expect("a name ends");
    let (name, mut rest) = line.split_at(at);
    let mut labels = Vec::new();
    while let Some(inner) = rest.strip_prefix(['{', ',']) {
        let (label, value) = inner.split_once("=\"").expect("a label has a value");
        let (value, after) = quoted(value);
        labels.push((label.to_owned(), value));
        rest = after.strip_prefix('}').unwrap_or(after);
    }
    (
        name.to_owned(),
        labels,
        number(rest.trim_start().split(' ').next().expect("a value")),
    )
}

fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().expect("something is escaped").1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    panic!("no end of quotes: {text}");
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        other => other.parse().expect("a number"),
    }
}

proptest! {
    #[test]
    fn whatever_there_is_reads_back_as_it_was(
        name in "[a-z_:][a-z0-9_:]{0,20}",
        label in "[a-zA-Z_][a-zA-Z0-9_]{0,10}",
        value in any::<String>(),
        help in any::<String>(),
        number in any::<f64>(),
    ) {
        let mut found = family(&name, Kind::Gauge, None, vec![series(&[(&label, &value)], Value::Gauge(number))]);
        found.help = help;
        for format in [Format::Text, Format::OpenMetrics] {
            let text = render(std::slice::from_ref(&found), format);
            let lines: Vec<&str> = text.split('\n').filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
            prop_assert_eq!(lines.len(), 1);
            let (read_name, labels, read_number) = read(lines[0]);
            prop_assert_eq!(&read_name, &name);
            prop_assert_eq!(labels, vec![(label.clone(), value.clone())]);
            prop_assert!(read_number == number || read_number.is_nan() && number.is_nan());
        }
    }

    #[test]
    fn whatever_it_is_called_it_has_a_name_that_may_be(name in any::<String>(), label in any::<String>()) {
        let found = family(&name, Kind::Gauge, None, vec![series(&[(&label, "x")], Value::Gauge(1.0))]);
        let text = render(&[found], Format::Text);
        let line = text.split('\n').nth(2).expect("a sample");
        let (name, labels, _) = read(line);
        let fits = |text: &str, more: &str| {
            !text.is_empty()
                && !text.starts_with(|c: char| c.is_ascii_digit())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        prop_assert!(fits(&name, "_:") && fits(&labels[0].0, "_"), "{}", line);
    }

    #[test]
    fn buckets_never_fall(counts in prop::collection::vec(0_u64..1000, 0..20), above in 0_u64..1000) {
        let buckets = counts.iter().enumerate().map(|(at, &count)| (at as f64 + 0.5, count)).collect();
        let total = counts.iter().sum::<u64>() + above;
        let distribution = Distribution { buckets, above, sum: 1.0, count: total, exemplars: vec![] };
        let found = family("h", Kind::Histogram, None, vec![series(&[], Value::Histogram(distribution))]);
        let text = render(&[found], Format::OpenMetrics);
        let read: Vec<f64> = text.lines().filter(|line| line.starts_with("h_bucket")).map(|line| read(line).2).collect();
        prop_assert!(read.windows(2).all(|pair| pair[0] <= pair[1]));
        prop_assert_eq!(*read.last().expect("one for all"), total as f64);
    }
}
