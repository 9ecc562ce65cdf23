//! The runtime of a VM's exporters, and what runs on it.
//!
//! S1. There is a runtime, of two threads, only while something runs on it.
//! S2. Nothing here waits longer than it is told to; whatever has not ended by then is left behind and ends as soon as it can.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kantoku_core::metrics::Family;
use kantoku_core::trace::{BATCH, Supply};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::events::Event;
use crate::figures::{Account, Figures, Vm};
use crate::http;
use crate::pulse::{Beat, Pulse};
use crate::push::{self, Failure, Plan, Push};
use crate::questions::Answer;

/// Why something could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen at {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("there is a listener already, at {0}")]
    Listening(SocketAddr),
    #[error("no thread can be started: {0}")]
    Runtime(io::Error),
    #[error("it did not begin within {} ms", BEGINNING.as_millis())]
    Late,
    #[error("{0}")]
    Exporter(#[from] Failure),
}

impl StartError {
    /// Its kind in one word.
    pub fn reason(&self) -> &'static str {
        match self {
            StartError::Bind { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "eaddrinuse",
                io::ErrorKind::AddrNotAvailable => "eaddrnotavail",
                io::ErrorKind::PermissionDenied => "eacces",
                _ => "bind",
            },
            StartError::Listening(_) => "listening",
            StartError::Runtime(_) => "threads",
            StartError::Late => "timeout",
            StartError::Exporter(_) => "exporter",
        }
    }
}

/// All that a VM exports.
#[derive(Debug)]
pub struct Service {
    figures: Arc<Figures>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    runtime: Option<Runtime>,
    listener: Option<Listener>,
    pushing: Vec<Pushing>,
    last_id: u64,
}

#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Pushing {
    id: u64,
    account: Arc<Account>,
    ask: mpsc::Sender<push::Ask>,
    // Who has the spans that it sends.
    supply: Option<Arc<dyn Supply>>,
    task: JoinHandle<()>,
}

/// What runs now.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Where it listens.
    pub address: Option<SocketAddr>,
    pub connections: u64,
    pub refused: u64,
    pub exporters: Vec<ExporterStatus>,
}

#[derive(Clone, Debug)]
pub struct ExporterStatus {
    pub id: u64,
    pub name: String,
    pub exports: u64,
    pub failures: u64,
    /// What it had to send, and of that what it dropped.
    pub points: u64,
    pub dropped: u64,
}

impl Service {
    /// A service with nothing in it. A VM that says nothing for `patience` is taken for dead.
    pub fn new(vm: Vm, patience: Duration) -> Self {
        Self {
            figures: Arc::new(Figures::new(vm, Pulse::new(patience))),
            running: Mutex::default(),
        }
    }

    /// The VM's answer to a question.
    pub fn answer(&self, id: u64, answer: Answer) {
        self.figures.questions.answer(id, answer);
    }

    /// Who answers was started anew, and knows of no question.
    pub fn attach(&self) {
        self.figures.questions.forget();
    }

    pub fn beat(&self, beat: Beat) {
        self.figures.pulse.beat(beat);
    }

    /// A VM that says nothing for so long from now on is taken for dead.
    pub fn have_patience(&self, patience: Duration) {
        self.figures.pulse.have_patience(patience);
    }

    /// Hands an event to who reads; whether anybody does.
    pub fn publish(&self, event: Event) -> bool {
        self.figures.events.publish(event)
    }

    /// Tells who reads that there was no room for so many.
    pub fn publish_dropped(&self, count: u64) -> bool {
        self.figures.events.publish_dropped(count)
    }

    pub fn readers(&self) -> usize {
        self.figures.events.readers()
    }

    /// All that is told; `None` if who measures panicked.
    pub fn families(&self) -> Option<Vec<Family>> {
        self.figures.families()
    }

    /// Takes what is told besides what is measured here, in place of what was given before.
    pub fn give(&self, families: Vec<Family>) -> Result<(), usize> {
        self.figures.give(families)
    }

    /// Starts the listener; the address that it got.
    pub fn listen(&self, options: http::Options) -> Result<SocketAddr, StartError> {
        let mut running = self.running();
        if let Some(listener) = &running.listener {
            return Err(StartError::Listening(listener.address));
        }
        let refused = |source| StartError::Bind {
            address: options.address,
            source,
        };
        let socket = http::bind(options.address).map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        let serve = http::serve(socket, options, self.figures.clone());
        let task = running.runtime()?.spawn(serve);
        running.listener = Some(Listener { address, task });
        Ok(address)
    }

    /// Starts an exporter; its number.
    pub fn push(&self, plan: Plan) -> Result<u64, StartError> {
        let mut running = self.running();
        let push = running.begin(plan, self.figures.clone())?;
        let (account, ask, supply) = (push.account(), push.ask(), push.supply());
        let task = running.runtime()?.spawn(push.run(self.figures.clone()));
        running.last_id += 1;
        let id = running.last_id;
        running.pushing.push(Pushing {
            id,
            account,
            ask,
            supply,
            task,
        });
        Ok(id)
    }

    /// Has those look who send spans: somewhere are more than one request takes. Waits for nobody.
    pub fn wake(&self) {
        self.figures.ready.notify_waiters();
    }

    /// Ends the listener, and answers when its port is free.
    pub fn hang_up(&self, bound: Duration) {
        let mut running = self.running();
        if let Some(listener) = running.listener.take() {
            listener.task.abort();
            running.wait(listener.task, bound);
            running.rest(bound);
        }
    }

    /// Ends an exporter, which sends once more if that takes no longer than `bound`. Spans that it has not sent by then nobody will:
    /// they count as dropped.
    pub fn end(&self, id: u64, bound: Duration) {
        let mut running = self.running();
        if let Some(at) = running.pushing.iter().position(|pushing| pushing.id == id) {
            let pushing = running.pushing.swap_remove(at);
            pushing.end();
            running.wait(pushing.task, bound);
            running.settle(pushing.supply, pushing.account, self.figures.clone());
            running.rest(bound);
        }
    }

    /// Has all exporters send now, and waits for them.
    pub fn flush(&self, bound: Duration) {
        let running = self.running();
        let Some(runtime) = &running.runtime else { return };
        let asked: Vec<_> = running.pushing.iter().filter_map(Pushing::now).collect();
        let all = async {
            for done in asked {
                // One that has ended has nothing to send.
                let _ = done.await;
            }
        };
        let _ = runtime.block_on(async { timeout(bound, all).await });
    }

    /// Ends all, at once, and the threads with it.
    pub fn stop(&self, bound: Duration) {
        let until = Instant::now() + bound;
        let left = || until.saturating_duration_since(Instant::now());
        let mut running = self.running();
        let listener = running.listener.take();
        listener.iter().for_each(|listener| listener.task.abort());
        let pushing = std::mem::take(&mut running.pushing);
        pushing.iter().for_each(Pushing::end);
        let tasks = listener.into_iter().map(|listener| listener.task);
        for task in tasks.chain(pushing.into_iter().map(|pushing| pushing.task)) {
            running.wait(task, left());
        }
        running.rest(left().max(LEAST));
    }

    pub fn status(&self) -> Status {
        let running = self.running();
        Status {
            address: running.listener.as_ref().and_then(Listener::address),
            connections: self.figures.http.opened(),
            refused: self.figures.http.refused.load(Ordering::Relaxed),
            exporters: running.pushing.iter().map(Pushing::status).collect(),
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().expect("nothing panics under it")
    }
}

// Takes what is left, and counts it.
fn left(supply: &dyn Supply) -> u64 {
    let taken = std::iter::repeat_with(|| supply.take(BATCH).len()).take_while(|count| *count > 0);
    taken.sum::<usize>() as u64
}

// For threads to end when nothing is left to do.
const LEAST: Duration = Duration::from_millis(100);

// A collector's name is looked up on a thread of its own, so that the two go on.
const BLOCKING: usize = 1;
const LINGER: Duration = Duration::from_secs(1);

// For an exporter's files and its first look, and for the last count of who sent spans.
const BEGINNING: Duration = Duration::from_secs(2);

impl Running {
    // S1
    fn runtime(&mut self) -> Result<&Runtime, StartError> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Builder::new_multi_thread()
                .worker_threads(2)
                .max_blocking_threads(BLOCKING)
                .thread_keep_alive(LINGER)
                .thread_name("kantoku io")
                .enable_all()
                .build()
                .map_err(StartError::Runtime)?,
        };
        Ok(self.runtime.insert(runtime))
    }

    // The first look is taken where all others are: who measures need not know other threads.
    fn begin(&mut self, plan: Plan, figures: Arc<Figures>) -> Result<Push, StartError> {
        let runtime = self.runtime()?;
        let begins = runtime.spawn(async move { Push::new(plan, &figures) });
        match runtime.block_on(async { timeout(BEGINNING, begins).await }) {
            Ok(Ok(push)) => Ok(push?),
            Ok(Err(error)) => Err(StartError::Runtime(error.into())),
            Err(_late) => Err(StartError::Late),
        }
    }

    // What nobody will send counts as dropped. Told where all notes are: who hears them need not know other threads.
    fn settle(&self, supply: Option<Arc<dyn Supply>>, account: Arc<Account>, figures: Arc<Figures>) {
        let Some(runtime) = &self.runtime else { return };
        let settled = runtime.spawn(async move {
            let left = supply.map_or(0, |supply| left(&*supply));
            account.points.fetch_add(left, Ordering::Relaxed);
            account.dropped.fetch_add(left, Ordering::Relaxed);
            account.tell("it ended before they were sent", &figures);
        });
        // A panic leaves it as it is, and has been told by its hook.
        let _ = runtime.block_on(async { timeout(BEGINNING, settled).await });
    }

    // S2
    fn wait(&self, mut task: JoinHandle<()>, bound: Duration) {
        let Some(runtime) = &self.runtime else { return };
        let ended = runtime.block_on(async { timeout(bound, &mut task).await.is_ok() });
        if !ended {
            task.abort();
            // What it had under way is counted then.
            let _ = runtime.block_on(async { timeout(LEAST, &mut task).await });
        }
    }

    fn rest(&mut self, bound: Duration) {
        if self.listener.is_none() && self.pushing.is_empty() {
            let idle = self.runtime.take();
            idle.into_iter()
                .for_each(|runtime| runtime.shutdown_timeout(bound));
        }
    }
}

impl Listener {
    // `None` if it has ended by itself, which only a panic makes it.
    fn address(&self) -> Option<SocketAddr> {
        (!self.task.is_finished()).then_some(self.address)
    }
}

impl Pushing {
    fn now(&self) -> Option<oneshot::Receiver<()>> {
        let (done, wait) = oneshot::channel();
        self.ask.try_send(push::Ask::Now(done)).ok().map(|()| wait)
    }

    // One that is asked by too many is ended by its abort.
    fn end(&self) {
        let _ = self.ask.try_send(push::Ask::End);
    }

    fn status(&self) -> ExporterStatus {
        ExporterStatus {
            id: self.id,
            name: self.account.exporter().to_owned(),
            exports: self.account.exports.load(Ordering::Relaxed),
            failures: self.account.failures.load(Ordering::Relaxed),
            points: self.account.points.load(Ordering::Relaxed),
            dropped: self.account.dropped.load(Ordering::Relaxed),
        }
    }
}
