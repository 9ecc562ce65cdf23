//! What one probe says of one agent, with Kubernetes' thresholds, and what all of them say together.

use super::rule::State;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Until it passed once, no other probe counts.
    Startup,
    /// Who fails it is to be restarted.
    Liveness,
    /// Who fails it, or has not passed it yet, does not serve.
    Readiness,
    /// Who fails it is degraded.
    Custom,
}

/// `id` tells the probes of one agent apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub id: u32,
    pub kind: Kind,
    /// So many successes in a row, to pass.
    pub success: u32,
    /// So many failures in a row, to fail.
    pub failure: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    /// It could not be told: counts at once, as no verdict may rest on it.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Pending,
    Passing,
    Failing,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub struct Probe {
    pub thresholds: Thresholds,
    pub verdict: Verdict,
    /// When it came to this verdict.
    pub since: i64,
    last: Outcome,
    /// How often the last outcome came in a row.
    run: u32,
}

impl Probe {
    pub fn new(thresholds: Thresholds, now: i64) -> Self {
        Self {
            thresholds,
            verdict: Verdict::Pending,
            since: now,
            last: Outcome::Unknown,
            run: 0,
        }
    }

    /// What it has found so far, under other thresholds.
    pub fn under(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
    }

    pub fn report(&mut self, outcome: Outcome, now: i64) {
        self.run = if self.last == outcome {
            self.run.saturating_add(1)
        } else {
            1
        };
        self.last = outcome;
        let verdict = match outcome {
            Outcome::Success if self.run >= self.thresholds.success => Verdict::Passing,
            Outcome::Failure if self.run >= self.thresholds.failure => Verdict::Failing,
            Outcome::Unknown => Verdict::Unknown,
            _ => self.verdict,
        };
        if verdict != self.verdict {
            self.verdict = verdict;
            self.since = now;
        }
    }

    fn is(&self, kind: Kind, verdict: Verdict) -> bool {
        self.thresholds.kind == kind && self.verdict == verdict
    }
}

/// Whether the probe of this place counts now: before the startup probe has passed only that does, and afterwards all others.
pub fn counts(probes: &[Probe], at: usize) -> bool {
    started(probes) != (probes[at].thresholds.kind == Kind::Startup)
}

fn started(probes: &[Probe]) -> bool {
    probes
        .iter()
        .all(|probe| probe.thresholds.kind != Kind::Startup || probe.verdict == Verdict::Passing)
}

/// What they say together.
pub fn state(probes: &[Probe]) -> State {
    let any = |kind, verdict| probes.iter().any(|probe| probe.is(kind, verdict));
    let failing = |kind| any(kind, Verdict::Failing);
    if failing(Kind::Startup) {
        State::Unhealthy
    } else if !started(probes) {
        State::Starting
    } else if failing(Kind::Liveness) || failing(Kind::Readiness) {
        State::Unhealthy
    } else if any(Kind::Readiness, Verdict::Pending) {
        State::Starting
    } else if probes.iter().any(|probe| probe.verdict == Verdict::Unknown) {
        State::Unknown
    } else if failing(Kind::Custom) {
        State::Degraded
    } else {
        State::Healthy
    }
}
