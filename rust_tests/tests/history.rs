//! H1 and H2 of `kantoku_exporters::history`, against every sample that was ever taken.
#![cfg(not(kantoku_loom))]
#![allow(clippy::unwrap_used, reason = "what fails here says where")]

use kantoku_core::metrics::Family;
use kantoku_exporters::history::{History, Join, Key, LEVELS, Looks, MOST};
use kantoku_rust_tests::cases;
use kantoku_rust_tests::figures::{counter, gauge, histogram};
use proptest::prelude::*;

const START: u64 = 1_700_000_000;

fn key(name: &str) -> Key {
    Key::of("one", name, None)
}

// What a point has to be: of all samples in its span, unless the ring has gone past it.
fn expected(samples: &[(u64, f64)], step: u64, slot: u64, join: Join) -> Option<f32> {
    let within: Vec<f64> = samples
        .iter()
        .filter(|(at, _)| at / step == slot)
        .map(|(_, value)| *value)
        .collect();
    match join {
        _ if within.is_empty() => None,
        Join::Max => Some(within.iter().copied().fold(f64::MIN, f64::max) as f32),
        Join::Mean => Some((within.iter().sum::<f64>() / within.len() as f64) as f32),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64)))]

    #[test]
    fn points_are_of_what_was_found_in_their_span(
        steps in prop::collection::vec((prop_oneof![8 => 0_u64..30, 2 => 0_u64..1_000, 1 => 0_u64..1_000_000], 0.0_f64..100.0), 1..200),
        ranges in prop::collection::vec(1_u64..604_800, 1..4),
        later in 0_u64..2_000,
    ) {
        let history = History::default();
        let (mut now, mut samples) = (START, Vec::new());
        for (passed, value) in steps {
            now += passed;
            samples.push((now, value));
            history.record(now, [(key("queue"), value), (key("p99"), value)]);
        }
        let (written, now) = (now, now + later);
        for range in ranges {
            let stretch = history.read(now, "one", &["queue", "p99"], range);
            let level = LEVELS.iter().find(|level| level.step == stretch.step).unwrap();
            prop_assert!(level.step * level.points as u64 >= range);
            prop_assert_eq!(stretch.courses.len(), 2);
            for (found, points) in stretch.courses {
                let join = if found.name == "p99" { Join::Max } else { Join::Mean };
                prop_assert_eq!(points.len() as u64, range.div_ceil(level.step));
                for (at, point) in points.into_iter().enumerate() {
                    let slot = stretch.from / level.step + at as u64;
                    let kept = slot + level.points as u64 > written / level.step;
                    let wanted = expected(&samples, level.step, slot, join).filter(|_| kept);
                    prop_assert_eq!(point, wanted, "slot {} of step {}", slot, level.step);
                }
            }
        }
    }
}

#[test]
fn there_are_never_more_than_may_be_and_those_that_come_no_more_make_room() {
    let history = History::default();
    let all = |from: usize| (from..from + MOST).map(|at| (Key::of("one", &format!("n{at}"), None), 1.0));
    history.record(START, all(0));
    let bytes = history.bytes();
    history.record(START + 1, [(key("late"), 1.0)]);
    assert_eq!(history.len(), MOST);
    assert!(!history.names("one").contains(&"late".to_owned()));
    history.record(START + 20, all(1).take(MOST - 1));
    history.record(START + 20, [(key("late"), 1.0)]);
    assert_eq!(history.len(), MOST);
    assert!(history.names("one").contains(&"late".to_owned()));
    assert!(!history.names("one").contains(&"n0".to_owned()));
    assert!(history.bytes() <= bytes + 64 && bytes < 6_500_000);
}

#[test]
fn a_clock_that_is_set_back_a_little_is_waited_for_and_a_lot_begins_anew() {
    let history = History::default();
    let now = |history: &History, at| history.read(at, "one", &["queue"], 10).courses[0].1.clone();
    history.record(START, [(key("queue"), 1.0)]);
    history.record(START - 60, [(key("queue"), 5.0)]);
    assert_eq!(now(&history, START), [Some(1.0)]);
    history.record(START - 86_400, [(key("queue"), 7.0)]);
    assert_eq!(now(&history, START - 86_400), [Some(7.0)]);
    assert_eq!(now(&history, START), [None]);
}

#[test]
fn two_looks_find_rates_quantiles_and_how_things_stand() {
    let one = [("instance", "one"), ("pool", "w")];
    let look = |served: f64, times: [u64; 3]| -> Vec<Family> {
        vec![
            counter("kantoku_pool_requests", &one, served),
            gauge("kantoku_pool_queue", &one, 3.0),
            named(histogram(
                "kantoku_pool_request_duration_seconds",
                Some("seconds"),
                times,
            )),
            counter("something_else", &one, served),
        ]
    };
    let mut looks = Looks::default();
    let first = looks.take(look(100.0, [5, 5, 5]), 0.0);
    let queue = |pool| (Key::of("one", "queue", pool), 3.0);
    assert_eq!(first, [queue(None), queue(Some("w"))]);
    let second = looks.take(look(150.0, [105, 5, 6]), 10.0);
    let value = |name: &str, pool| {
        second
            .iter()
            .find(|(key, _)| *key == Key::of("one", name, pool))
            .map(|(_, value)| *value)
    };
    for pool in [None, Some("w")] {
        assert_eq!(value("throughput", pool), Some(5.0));
        assert!(value("p50", pool) < value("p99", pool) || value("p50", pool) == value("p99", pool));
    }
    // In ten quiet seconds nothing took any time.
    let third = looks.take(look(150.0, [105, 5, 6]), 10.0);
    assert!(third.contains(&(Key::of("one", "throughput", None), 0.0)));
    assert!(!third.iter().any(|(key, _)| key.name.starts_with("p9")));
}

fn named(mut family: Family) -> Family {
    for series in &mut family.series {
        series.labels = vec![("instance".into(), "one".into()), ("pool".into(), "w".into())];
    }
    family
}
