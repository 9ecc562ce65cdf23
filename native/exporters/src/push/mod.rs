//! Exporters that send by themselves, each in a task of its own, once an interval.
//!
//! P1. A collector that is slow or gone costs one snapshot at a time: what could not be sent is dropped and counted, never queued.
//! P2. It is told of at most once a minute, with how much was dropped since.
//! P3. Who ends an exporter has it send once more what has risen since, within a bound; whoever asks has it send at once.

mod deltas;
mod lines;
pub mod otlp;
mod protocol;
mod statsd;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kantoku_core::metrics::Family;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::figures::{Account, Figures, Note};
pub use deltas::{Deltas, Rise};
pub use lines::{DATAGRAM, Datagram, Dialect, datagrams};
use otlp::Otlp;
pub use protocol::{ExportMetricsServiceRequest, encode};
pub use statsd::Options as StatsDOptions;
use statsd::StatsD;

/// An exporter to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What its figures are labelled with.
    pub name: String,
    pub interval: Duration,
    pub target: Target,
}

#[derive(Clone, Debug)]
pub enum Target {
    StatsD(StatsDOptions),
    Otlp(otlp::Options),
}

/// Why an exporter cannot be, or cannot send.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Failure {
    #[error("its name has no address")]
    NoAddress,
    #[error("{0:?} is no endpoint: one is http://host:port or http://host:port/path")]
    Endpoint(String),
    #[error("{0} speaks TLS, which this build cannot; send to a collector beside this VM over http://")]
    Tls(String),
    #[error("{0:?} is no header")]
    Header(String),
    #[error("{0}")]
    Refused(String),
}

/// What came of one round.
#[derive(Debug, Default)]
pub struct Outcome {
    dropped: u64,
    why: Option<String>,
}

impl Outcome {
    pub(crate) fn drop_points(&mut self, points: u64, why: impl FnOnce() -> String) {
        if points > 0 {
            self.dropped += points;
            self.why.get_or_insert_with(why);
        }
    }
}

#[derive(Debug)]
enum Exporter {
    StatsD(StatsD),
    Otlp(Otlp),
}

impl Exporter {
    fn new(target: Target, families: &[Family]) -> Result<Self, Failure> {
        match target {
            Target::StatsD(options) => Ok(Exporter::StatsD(StatsD::new(options, families))),
            Target::Otlp(options) => Otlp::new(options).map(Exporter::Otlp),
        }
    }

    async fn export(&mut self, families: Vec<Family>) -> Outcome {
        match self {
            Exporter::StatsD(exporter) => exporter.export(&families).await,
            Exporter::Otlp(exporter) => exporter.export(&families).await,
        }
    }
}

/// What an exporter is asked for.
#[derive(Debug)]
pub enum Ask {
    /// Send now, and say when that is done.
    Now(oneshot::Sender<()>),
    /// Send once more, and end.
    End,
}

// As many may ask at the same moment; who comes later waits for its interval.
const ASKING: usize = 16;

/// An exporter that has taken its first look.
#[derive(Debug)]
pub struct Push {
    exporter: Exporter,
    interval: Duration,
    account: Arc<Account>,
    asked: mpsc::Receiver<Ask>,
    ask: mpsc::Sender<Ask>,
}

impl Push {
    pub fn new(plan: Plan, figures: &Figures) -> Result<Self, Failure> {
        let families = figures.families().unwrap_or_default();
        let (ask, asked) = mpsc::channel(ASKING);
        Ok(Self {
            exporter: Exporter::new(plan.target, &families)?,
            interval: plan.interval,
            account: figures.open_account(&plan.name),
            asked,
            ask,
        })
    }

    /// How it is asked.
    pub fn ask(&self) -> mpsc::Sender<Ask> {
        self.ask.clone()
    }

    pub fn account(&self) -> Arc<Account> {
        self.account.clone()
    }

    /// Sends until it is told to end, and then once more.
    pub async fn run(mut self, figures: Arc<Figures>) {
        let mut complaint = Complaint::default();
        let mut due = Instant::now() + self.interval;
        loop {
            let asked = timeout_at(due, self.asked.recv()).await;
            if let Some(families) = figures.families() {
                let outcome = self.exporter.export(families).await;
                complaint.enter(&outcome, &self.account, &figures);
            }
            match asked {
                Ok(Some(Ask::Now(done))) => drop(done.send(())),
                Ok(Some(Ask::End) | None) => return,
                // Where a round took longer than the interval, the next ones are left out.
                Err(_due) => due = (due + self.interval).max(Instant::now()),
            }
        }
    }
}

// P2
#[derive(Debug, Default)]
struct Complaint {
    said: Option<Instant>,
    dropped: u64,
}

const SILENCE: Duration = Duration::from_secs(60);

impl Complaint {
    fn enter(&mut self, outcome: &Outcome, account: &Account, figures: &Figures) {
        account.dropped.fetch_add(outcome.dropped, Ordering::Relaxed);
        self.dropped += outcome.dropped;
        let Some(why) = &outcome.why else {
            account.exports.fetch_add(1, Ordering::Relaxed);
            return;
        };
        account.failures.fetch_add(1, Ordering::Relaxed);
        if self.said.is_none_or(|said| said.elapsed() >= SILENCE) {
            self.said = Some(Instant::now());
            figures.say(Note::Dropped {
                exporter: account.exporter().to_owned(),
                why: why.clone(),
                dropped: std::mem::take(&mut self.dropped),
            });
        }
    }
}
