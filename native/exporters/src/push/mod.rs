//! Exporters that send by themselves, each in a task of its own, once an interval.
//!
//! P1. A collector that is slow or gone costs one snapshot at a time: what could not be sent is dropped and counted, never queued.
//! P2. It is told of at most once a minute, with how much was dropped since.
//! P3. Each point and span that an exporter had to send was sent or counts as dropped, exactly, also where it is ended in the middle of a round;
//!     none counts as both, but what a collector took without saying so.
//! P4. Who ends an exporter has it send once more what has risen since, within a bound; whoever asks has it send at once.

mod attributes;
mod collector;
mod deltas;
mod lines;
pub mod lookup;
pub mod otlp;
mod places;
mod protocol;
mod spans;
mod starts;
mod statsd;
#[cfg(feature = "tls")]
mod tls;
pub mod traces;
mod under_way;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use kantoku_core::metrics::Family;
use kantoku_core::trace::{BATCH, Supply};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::figures::{Account, Figures};
use attributes::PartialSuccess;
pub use collector::{Address, Identity, Secret, Tls};
pub use deltas::{Deltas, Rise};
pub use lines::{DATAGRAM, Datagram, Dialect, datagrams};
use otlp::Otlp;
pub use protocol::{ExportMetricsServiceRequest, encode};
pub use starts::Starts;
pub use statsd::Options as StatsDOptions;
use statsd::StatsD;
use traces::Traces;
use under_way::UnderWay;

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
    Traces(traces::Options),
}

/// Why an exporter cannot be, or cannot send.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Failure {
    #[error("its name has no address")]
    NoAddress,
    #[error("{0:?} is no endpoint: one is http://host:port or http://host:port/path")]
    Endpoint(String),
    #[error(
        "{0} speaks TLS, which this build cannot; build it with KANTOKU_FEATURES=tls, or send over http:// to a \
         collector beside this VM"
    )]
    NoTls(String),
    #[error("{0}")]
    Trust(String),
    #[error("{0:?} is no header")]
    Header(String),
    #[error("{0}")]
    Refused(String),
}

/// What came of one round.
#[derive(Debug, Default)]
pub struct Outcome {
    // Why something was dropped, the first reason of several.
    why: Option<String>,
}

impl Outcome {
    pub(crate) fn fail(&mut self, why: impl FnOnce() -> String) {
        self.why.get_or_insert_with(why);
    }

    // What a collector made of what is under way.
    fn enter(&mut self, answer: Result<PartialSuccess, String>, mut under_way: UnderWay<'_>, what: &str) {
        match answer {
            Ok(taken) => {
                let refused = u64::try_from(taken.rejected).unwrap_or(0);
                under_way.refused(refused);
                if refused > 0 {
                    self.fail(|| format!("the collector rejected {what}: {}", taken.plainly()));
                }
            }
            Err(why) => self.fail(|| why),
        }
    }
}

#[derive(Debug)]
enum Exporter {
    StatsD(StatsD),
    Otlp(Otlp),
    Traces(Traces),
}

impl Exporter {
    fn new(target: Target, figures: &Figures, account: &Arc<Account>) -> Result<Self, Failure> {
        match target {
            Target::StatsD(options) => {
                let families = figures.families().unwrap_or_default();
                Ok(Exporter::StatsD(StatsD::new(options, &families, account.clone())))
            }
            Target::Otlp(options) => Otlp::new(options, account.clone()).map(Exporter::Otlp),
            Target::Traces(options) => Traces::new(options, account.clone()).map(Exporter::Traces),
        }
    }

    // `None` where nothing could be measured, or is to be sent.
    async fn export(&mut self, figures: &Figures) -> Option<Outcome> {
        match self {
            Exporter::StatsD(exporter) => {
                let families: Vec<Family> = figures.families()?;
                Some(exporter.export(&families).await)
            }
            Exporter::Otlp(exporter) => {
                let families = figures.families()?;
                Some(exporter.export(&families).await)
            }
            Exporter::Traces(exporter) => exporter.export().await,
        }
    }

    fn supply(&self) -> Option<Arc<dyn Supply>> {
        match self {
            Exporter::Traces(exporter) => Some(exporter.supply()),
            Exporter::StatsD(_) | Exporter::Otlp(_) => None,
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

// Why a round begins.
#[derive(Debug)]
enum Cause {
    Due,
    // More waits than one request takes.
    Ready,
    Asked(Option<Ask>),
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
        let (ask, asked) = mpsc::channel(ASKING);
        let account = figures.open_account(&plan.name);
        Ok(Self {
            exporter: Exporter::new(plan.target, figures, &account)?,
            interval: plan.interval,
            account,
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

    /// Who has the spans that it sends.
    pub fn supply(&self) -> Option<Arc<dyn Supply>> {
        self.exporter.supply()
    }

    /// Sends until it is told to end, and then once more.
    pub async fn run(mut self, figures: Arc<Figures>) {
        let mut complaint = Complaint::default();
        let mut due = Instant::now() + self.interval;
        loop {
            let cause = self.next(due, &figures).await;
            if let Some(outcome) = self.exporter.export(&figures).await {
                complaint.enter(&outcome, &self.account, &figures);
            }
            match cause {
                Cause::Asked(Some(Ask::Now(done))) => drop(done.send(())),
                Cause::Asked(Some(Ask::End) | None) => return,
                // Where a round took longer than the interval, the next ones are left out.
                Cause::Due => due = (due + self.interval).max(Instant::now()),
                Cause::Ready => {}
            }
        }
    }

    async fn next(&mut self, due: Instant, figures: &Figures) -> Cause {
        let supply = self.exporter.supply();
        let full = || supply.as_ref().is_some_and(|supply| supply.held() >= BATCH);
        loop {
            let mut called = pin!(figures.ready.notified());
            // From here on no call is missed.
            called.as_mut().enable();
            match self.asked.try_recv() {
                Ok(asked) => return Cause::Asked(Some(asked)),
                Err(_) if full() => return Cause::Ready,
                Err(_) => {}
            }
            let either = poll_fn(|context| match self.asked.poll_recv(context) {
                Poll::Ready(asked) => Poll::Ready(Some(asked)),
                Poll::Pending => called.as_mut().poll(context).map(|()| None),
            });
            match timeout_at(due, either).await {
                Ok(Some(asked)) => return Cause::Asked(asked),
                Ok(None) => {}
                Err(_) => return Cause::Due,
            }
        }
    }
}

// P2
#[derive(Debug, Default)]
struct Complaint {
    said: Option<Instant>,
    // Of what was said last.
    fails: bool,
}

const SILENCE: Duration = Duration::from_secs(60);

impl Complaint {
    fn enter(&mut self, outcome: &Outcome, account: &Account, figures: &Figures) {
        let Some(why) = &outcome.why else {
            account.exports.fetch_add(1, Ordering::Relaxed);
            if std::mem::take(&mut self.fails) {
                account.tell_resumed(figures);
            }
            return;
        };
        account.failures.fetch_add(1, Ordering::Relaxed);
        if self.said.is_none_or(|said| said.elapsed() >= SILENCE) {
            self.said = Some(Instant::now());
            self.fails = true;
            account.tell(why, figures);
        }
    }
}
