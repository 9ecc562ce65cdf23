//! Running a model in every order that loom can make.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Runs a model in every order that so many preemptions can make, or LOOM_MAX_PREEMPTIONS; there is more than one, or loom does
/// not see the core.
pub fn check_up_to(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 50_000;
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {} orders", orders.load(Relaxed));
    assert!(orders.load(Relaxed) > 2, "loom sees the core");
}

/// Two threads, as most models have.
pub fn check(model: impl Fn() + Send + Sync + 'static) {
    check_up_to(3, model);
}
