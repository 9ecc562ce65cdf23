//! X1 and X2 of `kantoku_core::metrics`' exemplars: the last of each size, and no more than there is room for.
#![cfg(not(kantoku_loom))]

use kantoku_core::metrics::{
    Description, Distribution, Exemplar, Kind, Limits, MOST_EXEMPLARY, Metrics, Refusal, SIZES, Value,
};

fn metrics() -> Metrics<u64> {
    let limits = Limits {
        series: 2_000,
        bytes: 64 << 20,
    };
    let metrics = Metrics::new(vec![("instance".to_owned(), "Mine".to_owned())], limits);
    for (name, kind) in [("took", Kind::Histogram), ("calls", Kind::Counter)] {
        let description = Description {
            name: name.to_owned(),
            help: "Some.".to_owned(),
            unit: None,
            kind,
            labels: vec!["who".to_owned()],
            ticks: 1.0,
        };
        metrics.declare(description).expect("room");
    }
    metrics
}

fn exemplar(value: f64, at: f64) -> Exemplar {
    let labels = vec![("trace_id".to_owned(), format!("{at}"))];
    Exemplar { value, at, labels }
}

// Of a series, as (value, at).
fn kept(metrics: &Metrics<u64>, who: &str) -> Vec<(f64, f64)> {
    let families = metrics.snapshot(|_| Some(Value::Histogram(Distribution::default())));
    let series = families.iter().flat_map(|family| &family.series);
    let mine = |labels: &[(String, String)]| labels.last().is_some_and(|(_, value)| value == who);
    series
        .filter(|series| mine(&series.labels))
        .find_map(|series| match &series.value {
            Value::Histogram(found) => Some(found.exemplars.iter().map(|one| (one.value, one.at)).collect()),
            _ => None,
        })
        .unwrap_or_default()
}

#[test]
fn the_last_of_each_size_is_kept_in_their_order() {
    let metrics = metrics();
    metrics.series("took", &["a"]).expect("room");
    for (value, at) in [(5.0, 1.0), (0.3, 2.0), (7.9, 3.0), (4.0, 4.0), (0.0, 5.0)] {
        assert_eq!(metrics.exemplify("took", &["a"], exemplar(value, at)), Ok(true));
    }
    assert_eq!(kept(&metrics, "a"), [(0.0, 5.0), (0.3, 2.0), (4.0, 4.0)]);
}

#[test]
fn of_too_many_sizes_the_oldest_gives_way() {
    let metrics = metrics();
    metrics.series("took", &["a"]).expect("room");
    for size in 0..=SIZES {
        let one = exemplar(f64::from(1_u32 << size), size as f64);
        assert_eq!(metrics.exemplify("took", &["a"], one), Ok(true));
    }
    let kept = kept(&metrics, "a");
    assert_eq!(kept.len(), SIZES);
    assert_eq!(kept[0], (2.0, 1.0));
}

#[test]
fn what_is_no_histogram_or_has_no_series_has_none() {
    let metrics = metrics();
    metrics.series("calls", &["a"]).expect("room");
    assert_eq!(metrics.exemplify("calls", &["a"], exemplar(1.0, 1.0)), Ok(false));
    assert_eq!(
        metrics.exemplify("took", &["nobody"], exemplar(1.0, 1.0)),
        Ok(false)
    );
    assert!(matches!(
        metrics.exemplify("unknown", &["a"], exemplar(1.0, 1.0)),
        Err(Refusal::Unknown { .. })
    ));
}

#[test]
fn so_many_series_have_some_and_one_that_goes_leaves_its_place() {
    let metrics = metrics();
    for reading in 0..=MOST_EXEMPLARY as u64 {
        let who = reading.to_string();
        metrics.bind("took", &[&who], reading, |_| true).expect("room");
        let kept = metrics.exemplify("took", &[&who], exemplar(1.0, 1.0));
        assert_eq!(kept, Ok(reading < MOST_EXEMPLARY as u64));
    }
    let before = metrics.bytes();
    metrics.unbind("took", &["0"], &0, None).expect("it was bound");
    assert!(metrics.bytes() < before);
    let late = MOST_EXEMPLARY.to_string();
    assert_eq!(metrics.exemplify("took", &[&late], exemplar(1.0, 2.0)), Ok(true));
    assert_eq!(kept(&metrics, &late), [(1.0, 2.0)]);
}
