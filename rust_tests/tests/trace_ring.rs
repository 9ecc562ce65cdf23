//! The ring of finished spans, by itself and under threads. S1 to S4 are `kantoku_core::trace`'s.
#![cfg(not(kantoku_loom))]

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use kantoku_core::trace::{
    Counts, Event, Kind, LeftOut, Limits, Offered, Pair, Ring, Span, Status, TraceId, Value,
};
use proptest::prelude::*;

fn span(number: u64, text: usize) -> Span {
    Span {
        trace: TraceId(u128::from(number)),
        span: number,
        parent: 0,
        flags: 1,
        state: String::new(),
        name: "x".repeat(text),
        kind: Kind::Internal,
        began: 0,
        ended: 1,
        status: Status::Unset,
        attributes: vec![Pair {
            name: "a".to_owned(),
            value: Value::Text("b".repeat(text)),
        }],
        events: vec![Event {
            at: 0,
            name: "e".to_owned(),
            attributes: Vec::new(),
        }],
        links: Vec::new(),
        left_out: LeftOut::default(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Offer { text: usize, generation: u32 },
    Refuse { generation: u32 },
    Drain { most: usize, generation: u32 },
    Open { spans: usize, bytes: usize },
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_usize..400, prop_oneof![9 => Just(7_u32), 1 => 0_u32..9])
            .prop_map(|(text, generation)| Step::Offer { text, generation }),
        1 => prop_oneof![9 => Just(7_u32), 1 => 0_u32..9].prop_map(|generation| Step::Refuse { generation }),
        4 => (0_usize..6, prop_oneof![9 => Just(7_u32), 1 => 1_u32..7])
            .prop_map(|(most, generation)| Step::Drain { most, generation }),
        1 => (1_usize..8, 0_usize..4_000).prop_map(|(spans, bytes)| Step::Open { spans, bytes }),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What a ring is, without a lock or a count kept on the side.
#[derive(Default)]
struct Model {
    limits: Option<Limits>,
    held: VecDeque<Span>,
    counts: Counts,
}

impl Model {
    fn offer(&mut self, span: Span) -> Offered {
        let Some(limits) = self.limits else {
            return Offered::Closed;
        };
        let held: usize = self.held.iter().map(Span::bytes).sum();
        if self.held.len() == limits.spans || held + span.bytes() > limits.bytes {
            self.counts.dropped += 1;
            return Offered::Dropped;
        }
        self.counts.kept += 1;
        self.held.push_back(span);
        Offered::Kept(self.held.len())
    }

    fn refuse(&mut self) -> Offered {
        if self.limits.is_none() {
            return Offered::Closed;
        }
        self.counts.dropped += 1;
        Offered::Dropped
    }

    fn drain(&mut self, most: usize) -> Vec<Span> {
        let count = most.min(self.held.len());
        self.counts.taken += count as u64;
        self.held.drain(..count).collect()
    }

    fn counts(&self) -> Counts {
        Counts {
            held: self.held.len(),
            bytes: self.held.iter().map(Span::bytes).sum(),
            ..self.counts
        }
    }
}

proptest! {
    #[test]
    fn a_ring_is_a_queue_with_limits(steps in steps()) {
        let (ring, mut model) = (Ring::default(), Model::default());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Offer { text, generation } => {
                    let (offered, same) = (span(number as u64, text), span(number as u64, text));
                    let expected = if generation == 7 { model.offer(same) } else { Offered::Closed };
                    prop_assert_eq!(ring.offer(generation, offered), expected);
                }
                Step::Refuse { generation } => {
                    let expected = if generation == 7 { model.refuse() } else { Offered::Closed };
                    prop_assert_eq!(ring.refuse(generation), expected);
                }
                Step::Drain { most, generation } => {
                    let expected = if generation == 7 { model.drain(most) } else { Vec::new() };
                    prop_assert_eq!(ring.drain(generation, most), expected);
                }
                Step::Open { spans, bytes } => {
                    let limits = Limits { spans, bytes };
                    ring.open(7, limits);
                    if model.limits != Some(limits) {
                        model = Model { limits: Some(limits), ..Model::default() };
                    }
                }
                Step::Close => {
                    ring.close();
                    model = Model::default();
                }
            }
            prop_assert_eq!(ring.counts(), model.counts());
            prop_assert!(ring.bytes() >= ring.counts().bytes);
        }
    }
}

#[test]
fn a_ring_that_is_opened_again_as_it_was_keeps_what_it_holds_and_its_counts() {
    let ring = Ring::default();
    let limits = Limits {
        spans: 1,
        bytes: 100_000,
    };
    ring.open(3, limits);
    ring.offer(3, span(1, 10));
    ring.offer(3, span(2, 10));
    let before = ring.counts();
    assert_eq!((before.kept, before.dropped), (1, 1));
    ring.open(3, limits);
    assert_eq!(ring.counts(), before);
    assert_eq!(ring.drain(3, 9).len(), 1);
    ring.open(4, limits);
    assert_eq!(ring.counts(), Counts::default());
}

/// S1 to S3 while many offer and some drain.
#[test]
fn every_span_is_kept_and_drained_once_or_dropped_and_counted() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 20_000;
    let limits = Limits {
        spans: 64,
        bytes: 40_000,
    };
    let ring = Ring::default();
    ring.open(3, limits);
    let (dropped, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let drained: Vec<Vec<Span>> = thread::scope(|scope| {
        let drain = || {
            let mut all = Vec::new();
            while !done.load(SeqCst) {
                let counts = ring.counts();
                assert!(counts.held <= limits.spans && counts.bytes <= limits.bytes);
                all.extend(ring.drain(3, 9));
            }
            all
        };
        let readers = [scope.spawn(drain), scope.spawn(drain)];
        let write = |writer: u64| {
            for number in 0..EACH {
                match ring.offer(3, span(writer * EACH + number, (number % 300) as usize)) {
                    Offered::Kept(_) => {}
                    Offered::Dropped => {
                        dropped.fetch_add(1, SeqCst);
                    }
                    Offered::Closed => panic!("it is open"),
                }
            }
        };
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("writes"));
        done.store(true, SeqCst);
        readers.map(|reader| reader.join().expect("reads")).into()
    });
    let rest = ring.drain(3, usize::MAX);
    let all: Vec<u64> = drained
        .iter()
        .flatten()
        .chain(&rest)
        .map(|span| span.span)
        .collect();
    let counts = ring.counts();
    assert_eq!(all.len(), all.iter().collect::<HashSet<_>>().len());
    assert_eq!((counts.held, counts.bytes), (0, 0));
    assert_eq!(counts.kept, all.len() as u64);
    assert_eq!(counts.taken, counts.kept);
    assert_eq!(counts.dropped, dropped.load(SeqCst));
    assert_eq!(counts.kept + counts.dropped, WRITERS * EACH);
}
