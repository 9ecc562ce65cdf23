//! StatsD's lines, plain and Datadog's, word by word.
#![cfg(not(kantoku_loom))]

use std::collections::BTreeMap;

use kantoku_core::metrics::{Family, Kind, Reading, Value};
use kantoku_exporters::push::{DATAGRAM, Deltas, Dialect, Rise, datagrams};
use kantoku_rust_tests::figures::{counter, family, gauge, histogram};
use proptest::prelude::*;

fn lines(before: &[Family], now: &[Family], dialect: Dialect) -> Vec<String> {
    let mut deltas = Deltas::begin(before);
    let (datagrams, _) = datagrams(now, &mut deltas, dialect, "k.");
    let texts = datagrams.iter().flat_map(|datagram| datagram.text.lines());
    texts.map(str::to_owned).collect()
}

#[test]
fn plain_lines_have_labels_in_their_names_and_timings_in_ms() {
    let before = [
        counter("calls", &[("pool", "w")], 3.0),
        histogram("took_seconds", Some("seconds"), [1, 1, 0]),
    ];
    let now = [
        counter("calls", &[("pool", "w")], 10.0),
        counter("calls", &[("pool", "a:b|c\n")], 2.0),
        counter("calls", &[("pool", "still")], 0.0),
        gauge("size", &[("instance", "My.App"), ("pool", "w")], 2.5),
        gauge("change", &[], -2.0),
        gauge("nothing", &[], f64::NAN),
        histogram("took_seconds", Some("seconds"), [2, 5, 1]),
    ];
    assert_eq!(
        lines(&before, &now, Dialect::StatsD),
        [
            "k.calls.w:7|c",
            "k.calls.a_b_c_:2|c",
            "k.size.My_App.w:2.5|g",
            "k.change:0|g",
            "k.change:-2|g",
            "k.took_seconds.w:50|ms",
            "k.took_seconds.w:200|ms|@0.25",
            "k.took_seconds.w:300|ms",
        ]
    );
}

#[test]
fn datadogs_lines_have_tags_and_distributions_in_the_unit_of_their_name() {
    let now = [
        counter("calls", &[("instance", "My.App"), ("pool", "a|b,c#d")], 2.0),
        gauge("change", &[], -2.0),
        histogram("took_seconds", Some("seconds"), [0, 4, 0]),
    ];
    assert_eq!(
        lines(&[], &now, Dialect::DogStatsD),
        [
            "k.calls:2|c|#instance:My.App,pool:a_b_c_d",
            "k.change:-2|g",
            "k.took_seconds:0.2|d|@0.25|#pool:w",
        ]
    );
}

#[test]
fn what_fell_began_anew_and_what_is_gone_is_forgotten() {
    let mut deltas = Deltas::begin(&[counter("calls", &[], 10.0)]);
    let mut told = |now: &[Family]| datagrams(now, &mut deltas, Dialect::StatsD, "").0;
    assert_eq!(told(&[counter("calls", &[], 4.0)])[0].text, "calls:4|c");
    assert_eq!(told(&[]), []);
    assert_eq!(told(&[counter("calls", &[], 5.0)])[0].text, "calls:5|c");
}

const TICKS: f64 = 1e9;

fn spread(histogram: &Reading) -> [Family; 1] {
    let found = Value::Histogram(histogram.distribution(TICKS));
    [family(
        "took_seconds",
        Kind::Histogram,
        Some("seconds"),
        &[],
        found,
    )]
}

// What the rises of all looks come to, by the value that each bucket is told as.
fn told_in_all(looks: impl IntoIterator<Item = [Family; 1]>) -> BTreeMap<u64, u64> {
    let mut deltas = Deltas::default();
    let mut told = BTreeMap::new();
    for look in looks {
        deltas.take(&look, |_, _, rise| {
            let Rise::Histogram(rises) = rise else {
                panic!("{rise:?} of a histogram");
            };
            for (value, count) in rises {
                *told.entry(value.to_bits()).or_default() += count;
            }
        });
    }
    told
}

proptest! {
    // C3: however many buckets had something at each look.
    #[test]
    fn each_observation_is_told_once(rounds in prop::collection::vec(prop::collection::vec(0..1_u64 << 44, 0..20), 1..8)) {
        let mut histogram = Reading::default();
        let looks: Vec<_> = rounds.iter().map(|round| {
            round.iter().for_each(|ticks| histogram.record(*ticks, 1));
            spread(&histogram)
        }).collect();
        let told = told_in_all(looks);
        prop_assert_eq!(&told, &told_in_all([spread(&histogram)]));
        prop_assert_eq!(told.values().sum::<u64>(), rounds.iter().flatten().count() as u64);
    }

    // C2: it began anew, as one of a restarted instance does.
    #[test]
    fn what_fell_anywhere_is_told_from_nothing(before in prop::collection::vec(0..1_u64 << 44, 1..20), lost in any::<prop::sample::Index>()) {
        let (mut was, mut is) = (Reading::default(), Reading::default());
        before.iter().for_each(|ticks| was.record(*ticks, 1));
        let lost = lost.index(before.len());
        let kept = before.iter().enumerate().filter(|(at, _)| *at != lost);
        kept.for_each(|(_, ticks)| is.record(*ticks, 1));
        let told = told_in_all([spread(&was), spread(&is)]);
        prop_assert_eq!(told.values().sum::<u64>(), 2 * before.len() as u64 - 1);
    }
}

#[test]
fn no_datagram_is_longer_than_may_be_and_no_line_is_lost() {
    let now: Vec<Family> = (0..500)
        .map(|n| counter(&format!("calls_{n}_{}", "x".repeat(n % 90)), &[], 1.0))
        .chain([counter(&"y".repeat(2 * DATAGRAM), &[], 1.0)])
        .collect();
    let (datagrams, too_long) = datagrams(&now, &mut Deltas::default(), Dialect::StatsD, "");
    assert!(datagrams.iter().all(|datagram| datagram.text.len() <= DATAGRAM));
    assert_eq!(datagrams.iter().map(|datagram| datagram.lines).sum::<u64>(), 500);
    assert_eq!(
        datagrams
            .iter()
            .map(|datagram| datagram.text.lines().count())
            .sum::<usize>(),
        500
    );
    assert_eq!(too_long, 1);
}
