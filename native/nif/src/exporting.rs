//! The exporters of a VM: started for a process, stopped with it at the latest. Knows no terms.
//!
//! X1. All code behind an [`Exports`] is of the build that started it, which stays mapped: after an upgrade it goes on, and whoever
//!     starts it anew has the newer one. So no panic and no error of it passes to another build but as words.
//! X2. Nothing waits with the place locked.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kantoku_core::metrics::Family;
use kantoku_core::sync::atomic::Ordering;
use kantoku_exporters::events::{Event, Heed};
use kantoku_exporters::figures::{Note, Vm, Voice};
use kantoku_exporters::http;
use kantoku_exporters::pulse::Beat;
use kantoku_exporters::push::Plan;
use kantoku_exporters::questions::{Answer, Ask, Question, Verb};
use kantoku_exporters::service::{Service, StartError, Status};
use rustler::sys::ErlNifEnv;
use rustler::{Atom, Encoder, Env, Term};

use crate::atoms;
use crate::beam::{self, Message, Pid};
use crate::guard::{self, Entry};
use crate::metrics_reading::Everything;
use crate::owner::{self, Role, Watched, Watching};
use crate::state::state;

/// The exporters that run, and for whom.
#[derive(Debug)]
pub struct Exporting {
    id: u64,
    exports: Arc<dyn Exports>,
    _monitor: Watched,
}

/// Why something did not start: its kind, and what to do.
pub type Failed = (String, String);

/// A [`Service`] for any build.
pub trait Exports: fmt::Debug + Send + Sync {
    fn beat(&self, beat: Beat);
    fn have_patience(&self, patience: Duration);
    fn listen(&self, options: http::Options) -> Result<SocketAddr, Failed>;
    fn push(&self, plan: Plan) -> Result<u64, Failed>;
    fn hang_up(&self, bound: Duration);
    fn end(&self, id: u64, bound: Duration);
    fn flush(&self, bound: Duration);
    fn wake(&self);
    fn give(&self, families: Vec<Family>) -> Result<(), usize>;
    fn families(&self) -> Option<Vec<Family>>;
    fn stop(&self, bound: Duration);
    fn status(&self) -> Status;
    fn answer(&self, id: u64, answer: Answer);
    fn attach(&self);
    fn publish(&self, event: Event) -> bool;
    fn publish_dropped(&self, count: u64) -> bool;
    fn readers(&self) -> usize;
}

#[derive(Debug)]
struct Guarded(Service);

fn guarded<R>(run: impl FnOnce() -> R) -> Option<R> {
    guard::callback(Entry::Thread, std::ptr::null_mut(), run)
}

fn told<T>(result: Option<Result<T, StartError>>) -> Result<T, Failed> {
    match result {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err((error.reason().to_owned(), error.to_string())),
        None => Err(("panic".to_owned(), "a panic, which the log has".to_owned())),
    }
}

impl Exports for Guarded {
    fn beat(&self, beat: Beat) {
        guarded(|| self.0.beat(beat));
    }

    fn have_patience(&self, patience: Duration) {
        guarded(|| self.0.have_patience(patience));
    }

    fn listen(&self, options: http::Options) -> Result<SocketAddr, Failed> {
        told(guarded(|| self.0.listen(options)))
    }

    fn push(&self, plan: Plan) -> Result<u64, Failed> {
        told(guarded(|| self.0.push(plan)))
    }

    fn hang_up(&self, bound: Duration) {
        guarded(|| self.0.hang_up(bound));
    }

    fn end(&self, id: u64, bound: Duration) {
        guarded(|| self.0.end(id, bound));
    }

    fn flush(&self, bound: Duration) {
        guarded(|| self.0.flush(bound));
    }

    fn wake(&self) {
        guarded(|| self.0.wake());
    }

    fn give(&self, families: Vec<Family>) -> Result<(), usize> {
        guarded(|| self.0.give(families)).unwrap_or(Ok(()))
    }

    fn families(&self) -> Option<Vec<Family>> {
        guarded(|| self.0.families()).flatten()
    }

    fn stop(&self, bound: Duration) {
        guarded(|| self.0.stop(bound));
    }

    fn status(&self) -> Status {
        guarded(|| self.0.status()).unwrap_or_default()
    }

    fn answer(&self, id: u64, answer: Answer) {
        guarded(|| self.0.answer(id, answer));
    }

    fn attach(&self) {
        guarded(|| self.0.attach());
    }

    fn publish(&self, event: Event) -> bool {
        guarded(|| self.0.publish(event)).unwrap_or_default()
    }

    fn publish_dropped(&self, count: u64) -> bool {
        guarded(|| self.0.publish_dropped(count)).unwrap_or_default()
    }

    fn readers(&self) -> usize {
        guarded(|| self.0.readers()).unwrap_or_default()
    }
}

/// Starts them for a process, after those that may still be there for a predecessor of it have stopped.
pub fn start(env: *mut ErlNifEnv, owner: Pid, patience: Duration) -> bool {
    stop(BOUND);
    let id = state().watches.fetch_add(1, Ordering::Relaxed);
    let watching = Watching {
        place: 0,
        generation: 0,
        pid: owner,
        role: Role::Exporters(id),
    };
    let Some(monitor) = owner::watch(env, watching) else {
        return false;
    };
    let exports = Arc::new(Guarded(Service::new(vm(), patience)));
    let exporting = Exporting {
        id,
        exports,
        _monitor: monitor,
    };
    let before = state().exporting.lock().replace(exporting);
    // Of somebody who started some at the same moment.
    before.into_iter().for_each(|before| before.exports.stop(BOUND));
    true
}

/// Those that run.
pub fn running() -> Option<Arc<dyn Exports>> {
    let exporting = state().exporting.lock();
    exporting.as_ref().map(|exporting| exporting.exports.clone())
}

/// Stops all, within the bound.
pub fn stop(bound: Duration) {
    let exporting = state().exporting.lock().take();
    exporting
        .into_iter()
        .for_each(|exporting| exporting.exports.stop(bound));
}

const BOUND: Duration = Duration::from_secs(2);

/// The process they were started for died. Waits on a thread of its own.
pub fn owner_died(id: u64) {
    let exporting = state().exporting.lock().take_if(|exporting| exporting.id == id);
    let Some(exporting) = exporting else { return };
    let run = move || {
        guarded(|| exporting.exports.stop(BOUND));
    };
    // Without a thread the runtime stays as it is until somebody else starts one.
    let _ = thread::Builder::new().name("kantoku io stop".into()).spawn(run);
}

// To the process that keeps them, as `{:kantoku_exporters, what}`.
fn voice() -> Voice {
    Arc::new(|note| {
        let Some(pid) = registered(atoms::exporters_keeper()) else {
            return;
        };
        Message::build(|env| (atoms::kantoku_exporters(), said(env, &note)).encode(env)).send(pid);
    })
}

fn said<'a>(env: Env<'a>, note: &Note) -> Term<'a> {
    match note {
        Note::Panicked(text) => (atoms::panic(), text).encode(env),
        Note::Dropped {
            exporter,
            why,
            dropped,
        } => (atoms::dropped(), exporter, why, dropped).encode(env),
        Note::Resumed { exporter } => (atoms::resumed(), exporter).encode(env),
    }
}

fn vm() -> Vm {
    Vm {
        source: Arc::new(Everything),
        voice: voice(),
        ask: ask(),
        heed: heed(),
        history: state().history.clone(),
    }
}

// To the process that hands events in, as `{:kantoku_events, whether}`. Where there is none, its successor asks.
fn heed() -> Heed {
    Arc::new(|whether| {
        if let Some(pid) = registered(atoms::api_feed()) {
            Message::build(|env| (atoms::kantoku_events(), whether).encode(env)).send(pid);
        }
    })
}

// To the process that answers, as `{:kantoku_api, id, path, query}`, or `:kantoku_admin` where something is to be done.
fn ask() -> Ask {
    Arc::new(|question| {
        let Question {
            id,
            verb,
            path,
            query,
        } = question;
        let Some(pid) = registered(atoms::api_server()) else {
            return false;
        };
        let tag = match verb {
            Verb::Get => atoms::kantoku_api(),
            Verb::Post => atoms::kantoku_admin(),
        };
        Message::build(|env| (tag, id, path, query).encode(env)).send(pid);
        true
    })
}

fn registered(name: Atom) -> Option<Pid> {
    beam::registered(std::ptr::null_mut(), beam::word(name.as_c_arg()))
}
