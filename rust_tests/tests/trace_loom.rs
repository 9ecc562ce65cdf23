//! The ring of finished spans in every order of offering, draining and opening anew. S1 to S4 are `kantoku_core::trace`'s.
#![cfg(kantoku_loom)]

use kantoku_core::trace::{Kind, LeftOut, Limits, Offered, Ring, Span, Status, TraceId};
use kantoku_rust_tests::orders::check;
use loom::sync::Arc;
use loom::thread;

const LIMITS: Limits = Limits {
    spans: 2,
    bytes: 10_000,
};

fn span(number: u64) -> Span {
    Span {
        trace: TraceId(1),
        span: number,
        parent: 0,
        flags: 0,
        state: String::new(),
        name: String::new(),
        kind: Kind::Internal,
        began: 0,
        ended: 0,
        status: Status::Unset,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        left_out: LeftOut::default(),
    }
}

fn opened() -> Arc<Ring> {
    let ring = Ring::default();
    ring.open(1, LIMITS);
    Arc::new(ring)
}

#[test]
fn loom_what_is_offered_is_drained_once_or_counted() {
    check(|| {
        let ring = opened();
        let writer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                (1..=2)
                    .filter(|&n| matches!(ring.offer(1, span(n)), Offered::Kept(_)))
                    .count()
            })
        };
        let kept_here = (3..=4)
            .filter(|&n| matches!(ring.offer(1, span(n)), Offered::Kept(_)))
            .count();
        let mut drained = ring.drain(1, 1);
        let kept = writer.join().expect("writes") + kept_here;
        drained.extend(ring.drain(1, 9));
        let counts = ring.counts();
        assert_eq!(drained.len(), kept);
        assert_eq!(counts.kept as usize, kept);
        assert_eq!(counts.kept + counts.dropped, 4);
        assert_eq!((counts.held, counts.bytes), (0, 0));
    });
}

#[test]
fn loom_what_is_offered_for_another_generation_is_not_kept() {
    check(|| {
        let ring = opened();
        let late = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.is_open(1).then(|| ring.offer(1, span(1))))
        };
        ring.close();
        ring.open(2, LIMITS);
        let _closed_or_lost = late.join().expect("offers");
        assert_eq!(ring.counts().held, 0);
        assert!(ring.drain(1, 9).is_empty());
        assert_eq!(ring.offer(2, span(2)), Offered::Kept(1));
        assert!(ring.is_open(2) && !ring.is_open(1));
    });
}
