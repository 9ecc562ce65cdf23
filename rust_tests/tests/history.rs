//! H1 and H2 of `kantoku_exporters::history`, against every sample that was ever taken.
#![cfg(not(kantoku_loom))]
#![allow(clippy::unwrap_used, reason = "what fails here says where")]

use kantoku_core::metrics::Family;
use kantoku_exporters::history::{
    History, Join, Key, LEVELS, Looks, MOST, MOST_ANSWERED, MOST_POOLS, Stretch, Wanted,
};
use kantoku_exporters::http::courses_of;
use kantoku_rust_tests::cases;
use kantoku_rust_tests::figures::{counter, gauge, histogram};
use proptest::prelude::*;

const START: u64 = 1_700_000_000;

fn key(name: &str) -> Key {
    Key::of("one", name, None)
}

fn read(history: &History, now: u64, names: &[&str], pool: Option<&str>, range: u64) -> Stretch {
    let instance = "one";
    let wanted = Wanted {
        instance,
        pool,
        names,
    };
    history.read(now, &wanted, range)
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
            let stretch = read(&history, now, &["queue", "p99"], None, range);
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
    assert!(history.bytes() <= bytes + 64 && bytes < 12_000_000);
}

// As the looks at an instance with so many pools find them.
const OF_POOLS: [&str; 7] = ["busy", "p50", "p95", "p99", "queue", "size", "throughput"];

fn pools(numbers: std::ops::Range<usize>) -> impl Iterator<Item = (Key, f64)> {
    numbers.flat_map(|number| {
        OF_POOLS.map(|name| {
            (
                Key::of("one", name, Some(&format!("pool {number:03}"))),
                number as f64,
            )
        })
    })
}

#[test]
fn each_of_a_hundred_pools_has_all_its_courses_and_the_instance_its_own() {
    let history = History::default();
    history.record(START, OF_POOLS.map(|name| (key(name), 1000.0)));
    history.record(START, pools(0..100));
    for number in 0..100 {
        let pool = format!("pool {number:03}");
        let stretch = read(&history, START, &OF_POOLS, Some(&pool), 10);
        let names: Vec<&str> = stretch.courses.iter().map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(names, OF_POOLS, "{pool}");
        assert!(
            stretch
                .courses
                .iter()
                .all(|(_, points)| points == &[Some(number as f32)])
        );
        assert_eq!((stretch.truncated, stretch.unkept), (false, 0));
    }
    let own = read(&history, START, &OF_POOLS, None, 10);
    assert_eq!(own.courses.len(), OF_POOLS.len());
    assert!(
        own.courses
            .iter()
            .all(|(key, points)| key.pool.is_none() && points == &[Some(1000.0)])
    );
}

#[test]
fn a_pool_has_all_its_courses_or_none_and_those_without_are_counted() {
    let history = History::default();
    let most = MOST_POOLS;
    // Quantiles come with the second look.
    history.record(
        START,
        pools(0..most + 5).filter(|(key, _)| !key.name.starts_with('p')),
    );
    history.record(START + 10, pools(0..most + 5));
    history.record(START + 10, OF_POOLS.map(|name| (key(name), 1.0)));
    let courses = |now, number| read(&history, now, &OF_POOLS, Some(&format!("pool {number:03}")), 60);
    for number in 0..most + 5 {
        let kept = if number < most { OF_POOLS.len() } else { 0 };
        let stretch = courses(START + 10, number);
        assert_eq!((stretch.courses.len(), stretch.unkept), (kept, 35), "{number}");
    }
    assert_eq!(
        read(&history, START + 10, &OF_POOLS, None, 10).courses.len(),
        OF_POOLS.len()
    );
    let elsewhere = Wanted {
        instance: "other",
        pool: None,
        names: &OF_POOLS,
    };
    assert_eq!(history.read(START + 10, &elsewhere, 10).unkept, 0);
    // Five of them end, and make room as a whole.
    for now in [START + 20, START + 30] {
        history.record(now, pools(5..most + 5));
    }
    assert_eq!(courses(START + 30, most + 4).courses.len(), OF_POOLS.len());
    assert!(courses(START + 30, 0).courses.is_empty());
    history.record(START + 60, pools(5..most + 5));
    assert_eq!(courses(START + 60, 5).unkept, 0);
    assert_eq!(history.len(), MOST_POOLS * OF_POOLS.len() + OF_POOLS.len());
}

#[test]
fn an_answer_says_that_there_is_more_than_it_has() {
    let history = History::default();
    let names: Vec<String> = (0..=MOST_ANSWERED).map(|at| format!("n{at:03}")).collect();
    history.record(START, names.iter().map(|name| (key(name), 1.0)));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = read(&history, START, &names, None, 10);
    assert_eq!((all.courses.len(), all.truncated), (MOST_ANSWERED, true));
    assert!(!read(&history, START, &names[1..], None, 10).truncated);
}

#[test]
fn a_pool_is_asked_for_by_its_name_and_no_pool_means_the_instance() {
    let history = History::default();
    let found = [(Key::of("one", "size", Some("a b&c")), 2.0), (key("size"), 5.0)];
    history.record(kantoku_exporters::history::now(), found);
    let answer = |query| courses_of(&history, Some(query)).unwrap();
    let whole = answer("series=size&range=20&pool=");
    assert!(whole.contains(r#""labels":{},"name":"size""#) && !whole.contains("a b&c"));
    assert!(whole.ends_with(r#""step":10,"truncated":false,"unkept":0}"#));
    let pool = answer("instance=one&series=size&range=20&pool=a+b%26c");
    assert!(pool.contains(r#""labels":{"pool":"a b&c"},"name":"size""#) && !pool.contains(r#"{},"name""#));
    assert!(answer("series=size&pool=nobody").contains(r#""series":[]"#));
}

#[test]
fn a_clock_that_is_set_back_a_little_is_waited_for_and_a_lot_begins_anew() {
    let history = History::default();
    let now = |history: &History, at| read(history, at, &["queue"], None, 10).courses[0].1.clone();
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
