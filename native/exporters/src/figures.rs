//! What there is to tell: the figures of whoever measures, and this crate's own. Knows no wire.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::StatusCode;
use kantoku_core::metrics::{Family, Kind, Series, Source, Value, join};
use tokio::sync::Notify;
use tokio::task::JoinError;

use crate::events::{Heed, Hub};
use crate::history::History;
use crate::pulse::Pulse;
use crate::questions::{Ask, Questions};

/// Something that somebody should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A panic, caught.
    Panicked(String),
    /// An exporter could not send: why, and how many figures or spans it has dropped since the last note.
    Dropped {
        exporter: String,
        why: String,
        dropped: u64,
    },
    /// An exporter of which that was told sends all it has again.
    Resumed { exporter: String },
}

/// Who is told.
pub type Voice = Arc<dyn Fn(Note) + Send + Sync>;

/// What a VM lends to those that export for it.
pub struct Vm {
    pub source: Arc<dyn Source>,
    pub voice: Voice,
    pub ask: Ask,
    pub heed: Heed,
    /// It outlives them.
    pub history: Arc<History>,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").finish_non_exhaustive()
    }
}

/// What all exporters share.
pub struct Figures {
    source: Arc<dyn Source>,
    voice: Voice,
    pub pulse: Pulse,
    pub http: Http,
    pub questions: Questions,
    pub events: Arc<Hub>,
    pub history: Arc<History>,
    /// That somewhere there may be more spans than one request takes.
    pub ready: Notify,
    // What is not measured here, as it was told last.
    given: Mutex<Vec<Family>>,
    accounts: Mutex<Vec<Arc<Account>>>,
}

/// What may be given, in bytes.
pub const MOST_GIVEN: usize = 16 << 20;

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures")
            .field("pulse", &self.pulse)
            .finish_non_exhaustive()
    }
}

impl Figures {
    pub fn new(vm: Vm, pulse: Pulse) -> Self {
        Self {
            source: vm.source,
            voice: vm.voice,
            pulse,
            http: Http::default(),
            questions: Questions::new(vm.ask),
            events: Arc::new(Hub::new(vm.heed)),
            history: vm.history,
            ready: Notify::new(),
            given: Mutex::default(),
            accounts: Mutex::default(),
        }
    }

    /// Takes what is not measured here, in place of what was given before; the limit, if it is more. Then there is none.
    pub fn give(&self, families: Vec<Family>) -> Result<(), usize> {
        let fits = families.iter().map(Family::bytes).sum::<usize>() <= MOST_GIVEN;
        let given = if fits { families } else { Vec::new() };
        drop(std::mem::replace(&mut *self.given(), given));
        if fits { Ok(()) } else { Err(MOST_GIVEN) }
    }

    fn given(&self) -> MutexGuard<'_, Vec<Family>> {
        self.given.lock().expect("nothing panics under it")
    }

    /// All families now; `None` if who measures panicked.
    pub fn families(&self) -> Option<Vec<Family>> {
        let measured = catch_unwind(AssertUnwindSafe(|| self.source.families()));
        match measured {
            Ok(mut families) => {
                let given = self.given().clone();
                for family in given.into_iter().chain(self.own()) {
                    join(&mut families, family);
                }
                Some(families)
            }
            Err(payload) => {
                self.panicked(payload.as_ref());
                None
            }
        }
    }

    pub fn say(&self, note: Note) {
        (self.voice)(note);
    }

    /// Tells of a task that ended by a panic.
    pub fn note_ending(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended
            && let Ok(payload) = error.try_into_panic()
        {
            self.panicked(payload.as_ref());
        }
    }

    fn panicked(&self, payload: &(dyn std::any::Any + Send)) {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        self.say(Note::Panicked(text.unwrap_or_else(|| "a panic".to_owned())));
    }

    /// An account for an exporter, shown for as long as somebody else has it too.
    pub fn open_account(&self, exporter: &str) -> Arc<Account> {
        let account = Arc::new(Account {
            exporter: exporter.to_owned(),
            ..Account::default()
        });
        let mut accounts = self.accounts.lock().expect("nothing panics under it");
        accounts.retain(|account| Arc::strong_count(account) > 1);
        accounts.push(account.clone());
        account
    }

    fn own(&self) -> Vec<Family> {
        let accounts = self.accounts.lock().expect("nothing panics under it");
        // Several of one name, as there may be, are one series.
        let of = |value: fn(&Account) -> &AtomicU64| -> Vec<Series> {
            let mut sums = BTreeMap::<&str, u64>::new();
            for account in accounts.iter().filter(|account| Arc::strong_count(account) > 1) {
                *sums.entry(&account.exporter).or_default() += value(account).load(Ordering::Relaxed);
            }
            let sums = sums.into_iter();
            sums.map(|(exporter, sum)| labelled(&[("exporter", exporter)], Value::Counter(sum as f64)))
                .collect()
        };
        let exports = of(|account| &account.exports);
        let failures = of(|account| &account.failures);
        let points = of(|account| &account.points);
        let dropped = of(|account| &account.dropped);
        drop(accounts);
        vec![
            counter(
                "kantoku_exporter_exports",
                "Rounds in which an exporter sent all it had.",
                exports,
            ),
            counter(
                "kantoku_exporter_failures",
                "Rounds in which an exporter could not send all it had.",
                failures,
            ),
            counter(
                "kantoku_exporter_points",
                "Figures or spans that an exporter had to send.",
                points,
            ),
            counter(
                "kantoku_exporter_dropped_points",
                "Of those, what it could not send, and did not keep.",
                dropped,
            ),
            self.bytes(),
            self.http.requests(),
            self.http.refusals(),
            self.http.connections(),
            gauge(
                "kantoku_exporter_event_readers",
                "Who reads events as a stream.",
                None,
                self.events.readers(),
            ),
            gauge(
                "kantoku_exporter_history_bytes",
                "Memory of what figures were.",
                Some("bytes"),
                self.history.bytes(),
            ),
        ]
    }
}

impl Figures {
    // What was given, what exporters keep and are sending, and events that wait for readers. What a request or an answer of HTTP takes is bounded by
    // the limits of connections, and not counted.
    fn held(&self) -> usize {
        let given: usize = self.given().iter().map(Family::bytes).sum();
        let accounts = self.accounts.lock().expect("nothing panics under it");
        let open = accounts.iter().filter(|account| Arc::strong_count(account) > 1);
        given + open.map(|account| account.bytes()).sum::<usize>() + self.events.bytes()
    }

    fn bytes(&self) -> Family {
        let owners = [("exporters", self.held()), ("history", self.history.bytes())];
        let series = owners.map(|(owner, bytes)| labelled(&[("owner", owner)], Value::Gauge(bytes as f64)));
        Family {
            name: "kantoku_native_bytes".to_owned(),
            help: "Memory of the native core.".to_owned(),
            unit: Some("bytes"),
            kind: Kind::Gauge,
            series: series.into(),
        }
    }
}

fn counter(name: &str, help: &str, series: Vec<Series>) -> Family {
    Family {
        name: name.to_owned(),
        help: help.to_owned(),
        unit: None,
        kind: Kind::Counter,
        series,
    }
}

fn gauge(name: &str, help: &str, unit: Option<&'static str>, value: usize) -> Family {
    Family {
        name: name.to_owned(),
        help: help.to_owned(),
        unit,
        kind: Kind::Gauge,
        series: vec![labelled(&[], Value::Gauge(value as f64))],
    }
}

fn labelled(labels: &[(&str, &str)], value: Value) -> Series {
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Series {
        labels: labels.collect(),
        value,
    }
}

/// What an exporter has done.
#[derive(Debug, Default)]
pub struct Account {
    exporter: String,
    pub exports: AtomicU64,
    pub failures: AtomicU64,
    /// What it had to send, and of that what it dropped.
    pub points: AtomicU64,
    pub dropped: AtomicU64,
    // Of the dropped, those that a note has told of.
    told: AtomicU64,
    // In bytes: what it keeps from round to round, and what it is sending.
    kept: AtomicU64,
    under_way: AtomicU64,
}

/// Bytes that are under way until this is dropped.
#[derive(Debug)]
pub struct Sending<'a>(&'a AtomicU64, u64);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Account {
    pub fn exporter(&self) -> &str {
        &self.exporter
    }

    /// Says how many bytes its exporter keeps from round to round.
    pub fn hold(&self, bytes: usize) {
        self.kept.store(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of its exporter's until they are sent.
    pub fn hold_for_now(&self, bytes: usize) -> Sending<'_> {
        self.under_way.fetch_add(bytes as u64, Ordering::Relaxed);
        Sending(&self.under_way, bytes as u64)
    }

    fn bytes(&self) -> usize {
        (self.kept.load(Ordering::Relaxed) + self.under_way.load(Ordering::Relaxed)) as usize
    }

    pub fn tell_resumed(&self, figures: &Figures) {
        figures.say(Note::Resumed {
            exporter: self.exporter.clone(),
        });
    }

    /// Tells of what was dropped and not told of yet, if anything was.
    pub fn tell(&self, why: &str, figures: &Figures) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let untold = dropped - self.told.swap(dropped, Ordering::Relaxed);
        if untold > 0 {
            figures.say(Note::Dropped {
                exporter: self.exporter.clone(),
                why: why.to_owned(),
                dropped: untold,
            });
        }
    }
}

/// What the listener has done.
#[derive(Debug, Default)]
pub struct Http {
    /// Connections that were closed before their time, as there were too many.
    pub refused: AtomicU64,
    open: AtomicU64,
    answers: Mutex<BTreeMap<u16, u64>>,
}

/// A connection that is open until this is dropped.
#[derive(Debug)]
pub struct Open<'a>(&'a AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http {
    pub fn open(&self) -> Open<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(&self.open)
    }

    /// How many connections are open.
    pub fn opened(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub fn count(&self, status: StatusCode) {
        let mut answers = self.answers.lock().expect("nothing panics under it");
        *answers.entry(status.as_u16()).or_default() += 1;
    }

    fn requests(&self) -> Family {
        let answers = self.answers.lock().expect("nothing panics under it");
        let series = answers
            .iter()
            .map(|(code, count)| labelled(&[("code", &code.to_string())], Value::Counter(*count as f64)));
        counter(
            "kantoku_exporter_http_requests",
            "Requests that were answered, by status.",
            series.collect(),
        )
    }

    fn refusals(&self) -> Family {
        let value = Value::Counter(self.refused.load(Ordering::Relaxed) as f64);
        counter(
            "kantoku_exporter_http_refused_connections",
            "Connections that were closed before their time, as there were too many.",
            vec![labelled(&[], value)],
        )
    }

    fn connections(&self) -> Family {
        let name = "kantoku_exporter_http_connections";
        gauge(name, "Connections that are open.", None, self.opened() as usize)
    }
}
