//! Histograms against the crate that their buckets are named after, counters against sums, and a collection against a plain map. The
//! invariants (H, N, M) are `kantoku_core::metrics`'s.
#![cfg(not(kantoku_loom))]

use std::collections::HashMap;

use hdrhistogram::Histogram as Reference;
use kantoku_core::metrics::{
    Counter, Description, Distribution, Gauge, Histogram, Kind, LEAST, Limits, MOST, Metrics, OTHER, Owned,
    Reading, Refusal, Value,
};
use proptest::collection::vec;
use proptest::prelude::*;

const HOUR: u64 = 3_600_000_000_000;
const QUANTILES: [f64; 8] = [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0];

// As many of each size: what is drawn evenly would hardly ever be small.
fn duration() -> impl Strategy<Value = u64> {
    (10_u32..42, any::<u64>()).prop_map(|(octave, any)| ((1 << octave) + any % (1 << octave)).min(HOUR))
}

fn recorded(durations: &[u64]) -> Histogram {
    let histogram = Histogram::default();
    durations.iter().for_each(|&ticks| histogram.record(ticks));
    histogram
}

fn reference(durations: &[u64]) -> Reference<u64> {
    let mut reference = Reference::new_with_bounds(1, 2 * HOUR, 3).expect("a range");
    for &ticks in durations {
        reference.record(ticks).expect("within it");
    }
    reference
}

fn off(found: u64, expected: u64) -> f64 {
    (found as f64 - expected as f64).abs() / expected as f64
}

proptest! {
    // H4
    #[test]
    fn quantiles_are_those_of_hdrhistogram_within_three_percent(durations in vec(duration(), 1..400)) {
        let (histogram, reference) = (recorded(&durations), reference(&durations));
        for quantile in QUANTILES {
            let found = histogram.quantile(quantile).expect("something was recorded");
            let expected = reference.value_at_quantile(quantile);
            prop_assert!(off(found, expected) < 0.03, "{quantile}: {found} for {expected}");
            prop_assert_eq!(histogram.read().quantile(quantile), Some(found));
        }
    }

    // H3
    #[test]
    fn what_is_read_together_is_what_was_recorded_together(
        one in vec(duration(), 0..200),
        other in vec(duration(), 0..200),
    ) {
        let mut merged = recorded(&one).read();
        merged.merge(&recorded(&other).read());
        let all: Vec<u64> = one.iter().chain(&other).copied().collect();
        prop_assert_eq!(&merged, &recorded(&all).read());
        prop_assert_eq!(merged.count(), all.len() as u64);
        prop_assert_eq!(merged.sum(), all.iter().sum::<u64>());
    }

    #[test]
    fn one_observation_that_stands_for_many_is_as_many(durations in vec((duration(), 1_u64..40), 0..100)) {
        let mut alone = Reading::default();
        let each = Histogram::default();
        for &(ticks, times) in &durations {
            alone.record(ticks, times);
            (0..times).for_each(|_| each.record(ticks));
        }
        prop_assert_eq!(alone, each.read());
    }

    // What a scraper makes of it: as many at or below each bound as there are.
    #[test]
    fn a_distribution_says_how_many_are_at_or_below_each_bound(durations in vec(any::<u64>().prop_map(|n| n >> (n % 64)), 0..200)) {
        let distribution = recorded(&durations).read().distribution(1.0);
        let mut below = 0;
        for &(bound, count) in &distribution.buckets {
            below += count;
            let expected = durations.iter().filter(|&&ticks| ticks as f64 <= bound).count();
            prop_assert_eq!(below, expected as u64, "at or below {}", bound);
        }
        prop_assert_eq!(below + distribution.above, distribution.count);
        prop_assert!(distribution.buckets.is_sorted_by(|(one, _), (next, _)| one < next));
    }

    // As `sum by (le)` does: were a bound lacking, all that is below it would be.
    #[test]
    fn over_the_bounds_of_all_distributions_can_be_added_up(all in vec(vec(duration(), 0..50), 1..4)) {
        let told: Vec<_> = all.iter().map(|durations| recorded(durations).read().distribution(1.0)).collect();
        let bounds = Distribution::bounds(told.iter());
        prop_assert!(bounds.is_sorted_by(|one, next| one < next));
        let mut below = 0;
        let mut columns: Vec<_> = told.iter().map(|found| found.over(&bounds)).collect();
        for &bound in &bounds {
            below += columns.iter_mut().filter_map(Iterator::next).sum::<u64>();
            let expected = all.iter().flatten().filter(|&&ticks| ticks as f64 <= bound).count();
            prop_assert_eq!(below, expected as u64, "at or below {}", bound);
        }
    }

    #[test]
    fn bounds_stay_where_an_octave_is_told_already(durations in vec(duration(), 1..50), again in any::<prop::sample::Index>(), nearer in 0.0..1.0_f64) {
        let bounds = |durations: &[u64]| Distribution::bounds(std::iter::once(&recorded(durations).read().distribution(1.0)));
        let before = bounds(&durations);
        let ticks = *again.get(&durations);
        // Of the same power of two, whose end is the last that counts for it.
        let begin = ticks.saturating_sub(1).checked_ilog2().map_or(0, |octave| 1 << octave);
        let near = begin + 1 + (begin as f64 * nearer) as u64;
        prop_assert_eq!(bounds(&[&durations[..], &[near.min(2 * begin.max(1))]].concat()), before);
    }

    // H4, of what is plain data.
    #[test]
    fn distributions_have_the_quantiles_of_what_was_recorded_alone_and_together(
        one in vec(duration(), 1..200),
        other in vec(duration(), 0..200),
    ) {
        let (one, other) = (recorded(&one).read(), recorded(&other).read());
        let mut both = one.clone();
        both.merge(&other);
        let merged = one.distribution(1e9).merge(&other.distribution(1e9));
        prop_assert_eq!((merged.count, merged.above), (both.count(), both.distribution(1e9).above));
        for quantile in QUANTILES {
            for (distribution, reading) in [(one.distribution(1e9), &one), (merged.clone(), &both)] {
                let expected = reading.quantile(quantile).map(|ticks| ticks as f64 / 1e9);
                let found = distribution.quantile(quantile);
                prop_assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-9, "{found:?} for {expected:?}");
            }
        }
    }

    #[test]
    fn a_counter_is_the_sum_of_what_was_added(whole in vec(0_u64..1 << 40, 0..50), parts in vec(0_u32..1_000, 0..50)) {
        let counter = Counter::default();
        whole.iter().for_each(|&more| counter.add(more));
        // Halves add up without an error.
        parts.iter().for_each(|&more| assert!(counter.add_part(f64::from(more) / 2.0)));
        let expected = whole.iter().sum::<u64>() as f64 + parts.iter().sum::<u32>() as f64 / 2.0;
        prop_assert_eq!(counter.read(), expected);
    }

    // M1, M2
    #[test]
    fn a_family_has_the_series_that_a_map_would_have_and_others_beyond_its_limit(
        asked in vec((0_u8..12, 1_u64..9), 1..100),
        limit in 1_usize..8,
    ) {
        let metrics = metrics(Limits { series: limit, bytes: 1 << 20 });
        metrics.declare(counter("asked", &["who"])).expect("new");
        let (mut expected, mut folded) = (HashMap::<String, u64>::new(), 0);
        for (who, more) in asked {
            let own = who.to_string();
            let known = expected.contains_key(&own);
            let others = expected.keys().filter(|&key| key != OTHER).count() >= limit && !known;
            let (series, told) = metrics.series("asked", &[&own]).expect("it is known");
            prop_assert_eq!(told, others);
            let Owned::Counter(counter) = &series.own else { unreachable!("declared as one") };
            counter.add(more);
            *expected.entry(if others { OTHER.to_owned() } else { own }).or_default() += more;
            folded += u64::from(others);
        }
        let shown = shown(&metrics, "asked");
        let expected: HashMap<String, f64> = expected.into_iter().map(|(key, sum)| (key, sum as f64)).collect();
        prop_assert_eq!(shown, expected);
        let told = self::shown(&metrics, "kantoku_metrics_folded").get("asked").copied();
        prop_assert_eq!(told.unwrap_or(0.0), folded as f64);
    }
}

fn metrics(limits: Limits) -> Metrics<f64> {
    Metrics::new(vec![("instance".to_owned(), "Mine".to_owned())], limits)
}

fn counter(name: &str, labels: &[&str]) -> Description {
    Description {
        name: name.to_owned(),
        help: "Some.".to_owned(),
        unit: None,
        kind: Kind::Counter,
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        ticks: 1.0,
    }
}

// By the last label.
fn shown(metrics: &Metrics<f64>, name: &str) -> HashMap<String, f64> {
    let families = metrics.snapshot(|&read| Some(Value::Gauge(read)));
    let family = families.into_iter().find(|family| family.name == name);
    let series = family.map(|family| family.series).unwrap_or_default();
    let told = series.into_iter().map(|mut series| {
        assert_eq!(series.labels[0], ("instance".to_owned(), "Mine".to_owned()));
        let (Value::Counter(value) | Value::Gauge(value)) = series.value else {
            panic!("a number")
        };
        (series.labels.pop().expect("its own").1, value)
    });
    told.collect()
}

const ROOMY: Limits = Limits {
    series: 100,
    bytes: 1 << 20,
};

#[test]
fn what_is_beyond_the_scale_is_counted_at_its_ends() {
    let histogram = recorded(&[0, 1, LEAST, u64::MAX]);
    let reading = histogram.read();
    let distribution = reading.distribution(1.0);
    assert_eq!((distribution.count, distribution.above), (4, 1));
    let most = (1_u64 << 42) as f64;
    assert_eq!(distribution.buckets[0], (LEAST as f64, 3));
    assert_eq!(distribution.buckets.last(), Some(&(most, 0)));
    assert_eq!(
        distribution.buckets.iter().map(|(_, count)| count).sum::<u64>(),
        3
    );
    assert_eq!(distribution.quantile(1.0), Some(most));
    assert_eq!(reading.quantile(0.5), Some(LEAST));
    assert_eq!(Histogram::default().quantile(0.5), None);
}

#[test]
fn a_gauge_says_what_was_set_and_added_since() {
    let gauge = Gauge::default();
    gauge.set(7.5);
    gauge.add(-3.0);
    assert_eq!(gauge.read(), 4.5);
}

#[test]
fn a_family_stays_what_it_was_declared_as() {
    let metrics = metrics(ROOMY);
    metrics.declare(counter("calls", &["who"])).expect("new");
    let in_other_words = Description {
        help: "Others.".to_owned(),
        ..counter("calls", &["who"])
    };
    assert_eq!(metrics.declare(in_other_words), Ok(()));
    let different = metrics.declare(counter("calls", &["whom"]));
    assert!(
        matches!(different, Err(Refusal::Different { .. })),
        "{different:?}"
    );
    let gauge = Description {
        kind: Kind::Gauge,
        ..counter("calls", &["who"])
    };
    assert!(matches!(metrics.declare(gauge), Err(Refusal::Different { .. })));
}

#[test]
fn who_asks_for_what_is_not_there_is_told() {
    let metrics = metrics(ROOMY);
    metrics.declare(counter("calls", &["who"])).expect("new");
    let unknown = metrics.series("cals", &["a"]).expect_err("unknown");
    assert_eq!(unknown.to_string(), "there is no metric cals");
    let labels = metrics.series("calls", &[]).expect_err("too few");
    assert_eq!(labels.to_string(), "calls has 1 labels");
}

// M3
#[test]
fn nothing_is_kept_beyond_the_limit_of_bytes() {
    let limit = 20_000;
    let metrics = metrics(Limits {
        series: 100,
        bytes: limit,
    });
    let histogram = Description {
        kind: Kind::Histogram,
        ..counter("took", &["who"])
    };
    metrics.declare(histogram).expect("it fits");
    let kept: Vec<_> = (0..10)
        .map(|who| metrics.series("took", &[&who.to_string()]))
        .collect();
    assert_eq!(kept.iter().filter(|kept| kept.is_ok()).count(), 2, "8 KB each");
    assert!(matches!(kept[9], Err(Refusal::Full { limit: told }) if told == limit));
    assert!(
        metrics.series("took", &["0"]).is_ok(),
        "what is there may be asked for"
    );
    assert!(metrics.bytes() <= limit + 1_000);
}

#[test]
fn what_is_bound_is_read_when_somebody_looks() {
    let metrics = metrics(ROOMY);
    let gauge = Description {
        kind: Kind::Gauge,
        ..counter("depth", &["pool"])
    };
    metrics.declare(gauge).expect("new");
    assert_eq!(bind(&metrics, "depth", "one", 3.0), Ok(true));
    assert_eq!(bind(&metrics, "depth", "one", 3.0), Ok(true), "as it is");
    assert_eq!(shown(&metrics, "depth"), HashMap::from([("one".to_owned(), 3.0)]));
    assert!(
        metrics.snapshot(|_| None).is_empty(),
        "what cannot be read is left out"
    );
}

// Who is below 0 is gone.
fn alive(reading: &f64) -> bool {
    *reading >= 0.0
}

fn bind(metrics: &Metrics<f64>, name: &str, who: &str, reading: f64) -> Result<bool, Refusal> {
    metrics.bind(name, &[who], reading, alive)
}

fn gauge(name: &str) -> Description {
    Description {
        kind: Kind::Gauge,
        ..counter(name, &["who"])
    }
}

fn by_who<const N: usize>(told: [(&str, f64); N]) -> HashMap<String, f64> {
    HashMap::from(told.map(|(who, value)| (who.to_owned(), value)))
}

#[test]
fn what_is_bound_to_the_same_values_is_summed_and_goes_when_it_is_dead() {
    let metrics = metrics(ROOMY);
    metrics.declare(gauge("depth")).expect("new");
    bind(&metrics, "depth", "api", 3.0).expect("room");
    bind(&metrics, "depth", "api", 4.0).expect("room");
    assert_eq!(shown(&metrics, "depth"), by_who([("api", 7.0)]));
    assert_eq!(metrics.unbind("depth", &["api"], &3.0, None), Ok(true));
    assert_eq!(shown(&metrics, "depth"), by_who([("api", 4.0)]));
    assert_eq!(
        metrics.unbind("depth", &["api"], &3.0, None),
        Ok(false),
        "no more"
    );
    assert_eq!(metrics.unbind("depth", &["api"], &4.0, None), Ok(true));
    assert!(shown(&metrics, "depth").is_empty());
    bind(&metrics, "depth", "api", -1.0).expect("room");
    let bytes = metrics.bytes();
    for reading in 0..1_000 {
        bind(&metrics, "depth", "api", f64::from(-1 - reading % 2)).expect("room");
    }
    assert!(metrics.bytes() < bytes + 100, "the dead leave");
}

// M2
#[test]
fn what_is_bound_beyond_the_limit_is_summed_and_a_place_that_is_left_is_given_to_another() {
    let metrics = metrics(Limits { series: 2, ..ROOMY });
    metrics.declare(gauge("depth")).expect("new");
    let bound: Vec<_> = [("a", 1.0), ("b", 2.0), ("c", 4.0), ("d", 8.0)]
        .map(|(who, reading)| bind(&metrics, "depth", who, reading))
        .into();
    assert_eq!(bound, [Ok(true), Ok(true), Ok(false), Ok(false)]);
    assert_eq!(
        shown(&metrics, "depth"),
        by_who([("a", 1.0), ("b", 2.0), (OTHER, 12.0)])
    );
    assert_eq!(shown(&metrics, "kantoku_metrics_folded")["depth"], 2.0);
    assert_eq!(metrics.unbind("depth", &["a"], &1.0, None), Ok(true));
    assert_eq!(bind(&metrics, "depth", "c", 4.0), Ok(true));
    assert_eq!(
        shown(&metrics, "depth"),
        by_who([("c", 4.0), ("b", 2.0), (OTHER, 8.0)])
    );
    assert_eq!(
        metrics.unbind("depth", &["d"], &8.0, Some(Value::Gauge(8.0))),
        Ok(true)
    );
    assert_eq!(shown(&metrics, "depth"), by_who([("c", 4.0), ("b", 2.0)]));
}

#[test]
fn a_sum_of_counters_does_not_fall_when_one_of_them_goes() {
    let metrics = metrics(Limits { series: 1, ..ROOMY });
    metrics.declare(counter("calls", &["who"])).expect("new");
    for (who, reading) in [("a", 1.0), ("b", 2.0), ("c", 4.0)] {
        bind(&metrics, "calls", who, reading).expect("room");
    }
    let counted = || {
        let families = metrics.snapshot(|&read| Some(Value::Counter(read)));
        let values = families[0].series.iter().map(|series| series.value.clone());
        values.collect::<Vec<_>>()
    };
    assert_eq!(counted(), [Value::Counter(1.0), Value::Counter(6.0)]);
    let last = Some(Value::Counter(4.0));
    assert_eq!(metrics.unbind("calls", &["c"], &4.0, last), Ok(true));
    assert_eq!(counted(), [Value::Counter(1.0), Value::Counter(6.0)]);
}

#[test]
fn what_is_bound_has_quantiles_and_takes_no_record() {
    let metrics = metrics(ROOMY);
    let histogram = Description {
        kind: Kind::Histogram,
        ..counter("took", &["who"])
    };
    metrics.declare(histogram).expect("new");
    bind(&metrics, "took", "pool", 1.0).expect("room");
    let refused = metrics.series("took", &["pool"]).expect_err("bound");
    assert_eq!(
        refused,
        Refusal::Bound {
            name: "took".to_owned()
        }
    );
    let times = vec![5_000, 70_000, 900_000];
    let read = |_: &f64| Some(Value::Histogram(recorded(&times).read().distribution(1.0)));
    let found = metrics.quantile("took", &["pool"], 0.5, read).expect("known");
    assert!(off(found.expect("something") as u64, 70_000) < 0.03);
    assert_eq!(metrics.quantile("took", &["nobody"], 0.5, read), Ok(None));
    let (own, _) = metrics.series("took", &["own"]).expect("new");
    let Owned::Histogram(histogram) = &own.own else {
        unreachable!("declared as one")
    };
    histogram.record(70_000);
    let found = metrics.quantile("took", &["own"], 0.5, read).expect("known");
    assert_eq!(found, own.quantile(0.5));
}

#[test]
fn the_largest_of_all_observations_does_not_make_the_sum_fall() {
    let histogram = recorded(&[u64::MAX, u64::MAX, 1]);
    assert_eq!(histogram.read().sum(), 2 * MOST + 1);
}

#[test]
fn no_sum_of_floats_becomes_infinite() {
    let (counter, gauge) = (Counter::default(), Gauge::default());
    assert!(counter.add_part(1e308) && gauge.add(-1e308));
    assert!(!counter.add_part(1e308) && !gauge.add(-1e308));
    assert_eq!((counter.read(), gauge.read()), (1e308, -1e308));
}
