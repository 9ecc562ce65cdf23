//! Health against a naive recomputation of everything from the list of all reports. H1 to H6 are `kantoku_core::health`'s.
#![cfg(not(kantoku_loom))]

use std::collections::BTreeMap;

use kantoku_core::health::{Handle, Health, Kind, Outcome, Rule, STATES, Spec, State, Thresholds, Verdict};
use kantoku_rust_tests::cases;
use proptest::collection::vec;
use proptest::prelude::*;

const GENERATION: u32 = 7;
const MS: i64 = 1_000_000;

#[derive(Clone, Debug)]
enum Op {
    Group {
        below: usize,
        rule: Rule,
    },
    Agent {
        below: usize,
        probes: Vec<(Kind, u32, u32)>,
    },
    Report {
        agent: usize,
        probe: u32,
        outcome: Outcome,
    },
    Rule {
        group: usize,
        rule: Rule,
    },
    Remove {
        node: usize,
    },
    Clear,
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(Rule::Worst),
        prop::sample::select(vec![0, 1, 34, 50, 67, 100]).prop_map(Rule::Quorum)
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop::sample::select(vec![Kind::Startup, Kind::Liveness, Kind::Readiness, Kind::Custom]);
    let outcome = prop_oneof![
        4 => Just(Outcome::Success),
        4 => Just(Outcome::Failure),
        1 => Just(Outcome::Unknown)
    ];
    prop_oneof![
        3 => (0..9_usize, rule()).prop_map(|(below, rule)| Op::Group { below, rule }),
        12 => (0..9_usize, vec((kind, 1..3_u32, 1..4_u32), 0..4))
            .prop_map(|(below, probes)| Op::Agent { below, probes }),
        90 => (0..20_usize, 0..4_u32, outcome)
            .prop_map(|(agent, probe, outcome)| Op::Report { agent, probe, outcome }),
        3 => (0..9_usize, rule()).prop_map(|(group, rule)| Op::Rule { group, rule }),
        6 => (0..30_usize).prop_map(|node| Op::Remove { node }),
        1 => Just(Op::Clear),
    ]
}

#[derive(Debug)]
enum Kept {
    Group(Rule),
    Agent(Vec<(Thresholds, Vec<Outcome>)>),
}

/// All that was ever said, by handle in the order of adding; nothing derived.
#[derive(Debug, Default)]
struct Model(BTreeMap<usize, (Handle, Option<usize>, Kept)>);

impl Model {
    fn nth(&self, at: usize, group: Option<bool>) -> Option<usize> {
        let fits = |kept: &Kept| group.is_none_or(|group| matches!(kept, Kept::Group(_)) == group);
        let ids: Vec<usize> = self
            .0
            .iter()
            .filter(|(_, (_, _, kept))| fits(kept))
            .map(|(&id, _)| id)
            .collect();
        (!ids.is_empty()).then(|| ids[at % ids.len()])
    }

    fn members(&self, id: usize) -> Vec<State> {
        self.0
            .iter()
            .filter(|(_, (_, parent, _))| *parent == Some(id))
            .map(|(&id, _)| self.state(id))
            .collect()
    }

    fn state(&self, id: usize) -> State {
        match &self.0[&id].2 {
            Kept::Group(rule) => of_group(*rule, &self.members(id)),
            Kept::Agent(probes) => of_agent(probes),
        }
    }

    fn states(&self) -> BTreeMap<usize, State> {
        self.0.keys().map(|&id| (id, self.state(id))).collect()
    }
}

fn of_group(rule: Rule, members: &[State]) -> State {
    let count = |states: &[State]| members.iter().filter(|state| states.contains(state)).count();
    match rule {
        Rule::Worst => members.iter().copied().max().unwrap_or(State::Healthy),
        Rule::Quorum(percent) => {
            let enough = |some: usize| some * 100 >= usize::from(percent) * members.len();
            let serving = count(&[State::Healthy, State::Degraded]);
            if enough(serving) {
                match count(&[State::Degraded, State::Unhealthy]) {
                    0 => State::Healthy,
                    _ => State::Degraded,
                }
            } else if !enough(serving + count(&[State::Starting, State::Unknown])) {
                State::Unhealthy
            } else if count(&[State::Starting]) > 0 {
                State::Starting
            } else {
                State::Unknown
            }
        }
    }
}

fn verdict(thresholds: &Thresholds, outcomes: &[Outcome]) -> Verdict {
    let mut verdict = Verdict::Pending;
    for end in 1..=outcomes.len() {
        let last = outcomes[end - 1];
        let run = outcomes[..end]
            .iter()
            .rev()
            .take_while(|&&outcome| outcome == last)
            .count() as u32;
        verdict = match last {
            Outcome::Unknown => Verdict::Unknown,
            Outcome::Success if run >= thresholds.success => Verdict::Passing,
            Outcome::Failure if run >= thresholds.failure => Verdict::Failing,
            _ => verdict,
        };
    }
    verdict
}

fn started(probes: &[(Thresholds, Vec<Outcome>)]) -> bool {
    let starts = |probe: &&(Thresholds, Vec<Outcome>)| probe.0.kind == Kind::Startup;
    probes
        .iter()
        .filter(starts)
        .all(|(thresholds, outcomes)| verdict(thresholds, outcomes) == Verdict::Passing)
}

fn of_agent(probes: &[(Thresholds, Vec<Outcome>)]) -> State {
    let has = |kind, wanted| {
        probes
            .iter()
            .any(|(thresholds, outcomes)| thresholds.kind == kind && verdict(thresholds, outcomes) == wanted)
    };
    let any = |wanted| {
        probes
            .iter()
            .any(|(thresholds, outcomes)| verdict(thresholds, outcomes) == wanted)
    };
    match () {
        () if has(Kind::Startup, Verdict::Failing) => State::Unhealthy,
        () if !started(probes) => State::Starting,
        () if has(Kind::Liveness, Verdict::Failing) => State::Unhealthy,
        () if has(Kind::Readiness, Verdict::Failing) => State::Unhealthy,
        () if has(Kind::Readiness, Verdict::Pending) => State::Starting,
        () if any(Verdict::Unknown) => State::Unknown,
        () if has(Kind::Custom, Verdict::Failing) => State::Degraded,
        () => State::Healthy,
    }
}

struct Scene {
    health: Health,
    model: Model,
    next: usize,
    now: i64,
}

impl Scene {
    fn new() -> Self {
        let health = Health::default();
        health.open(GENERATION);
        Self {
            health,
            model: Model::default(),
            next: 0,
            now: 0,
        }
    }

    fn step(&mut self, op: Op) {
        self.now += MS;
        let before = self.model.states();
        let told = self.act(op);
        self.health.check();
        self.compare(&before, &told);
    }

    fn add(&mut self, below: usize, spec: Spec, kept: Kept) -> Vec<(Handle, State, State)> {
        let parent = self.model.nth(below, Some(true));
        let above = parent.map(|parent| self.model.0[&parent].0);
        let told = self
            .health
            .add(GENERATION, above, spec, self.next as u64, self.now)
            .expect("open");
        let handle = told.answer.expect("a group");
        assert!(self.model.0.values().all(|(taken, _, _)| *taken != handle));
        self.model.0.insert(self.next, (handle, parent, kept));
        self.next += 1;
        flat(&told.changes)
    }

    fn act(&mut self, op: Op) -> Vec<(Handle, State, State)> {
        match op {
            Op::Group { below, rule } => self.add(below, Spec::Group(rule), Kept::Group(rule)),
            Op::Agent { below, probes } => {
                let probes: Vec<Thresholds> = probes
                    .into_iter()
                    .zip(0..)
                    .map(|((kind, success, failure), id)| Thresholds {
                        id,
                        kind,
                        success,
                        failure,
                    })
                    .collect();
                let kept = probes
                    .iter()
                    .map(|&thresholds| (thresholds, Vec::new()))
                    .collect();
                self.add(below, Spec::Agent(probes), Kept::Agent(kept))
            }
            Op::Report {
                agent,
                probe,
                outcome,
            } => self.report(agent, probe, outcome),
            Op::Rule { group, rule } => {
                let Some(id) = self.model.nth(group, Some(true)) else {
                    return Vec::new();
                };
                let (handle, _, kept) = self.model.0.get_mut(&id).expect("there");
                *kept = Kept::Group(rule);
                let told = self
                    .health
                    .change(GENERATION, *handle, Spec::Group(rule), self.now)
                    .expect("open");
                assert_eq!(told.answer, Ok(()));
                flat(&told.changes)
            }
            Op::Remove { node } => self.remove(node),
            Op::Clear => self.clear(),
        }
    }

    fn report(&mut self, agent: usize, probe: u32, outcome: Outcome) -> Vec<(Handle, State, State)> {
        let Some(id) = self.model.nth(agent, Some(false)) else {
            return Vec::new();
        };
        let (handle, _, Kept::Agent(probes)) = self.model.0.get_mut(&id).expect("there") else {
            unreachable!("an agent")
        };
        let told = self
            .health
            .report(GENERATION, *handle, probe, outcome, self.now)
            .expect("open");
        let was_started = started(probes);
        let Some((thresholds, outcomes)) = probes.get_mut(probe as usize) else {
            assert!(told.answer.is_err());
            return Vec::new();
        };
        let before = verdict(thresholds, outcomes);
        // H3.
        if was_started != (thresholds.kind == Kind::Startup) {
            outcomes.push(outcome);
        }
        assert_eq!(told.answer, Ok((before, verdict(thresholds, outcomes))));
        flat(&told.changes)
    }

    fn remove(&mut self, node: usize) -> Vec<(Handle, State, State)> {
        let Some(id) = self.model.nth(node, None) else {
            return Vec::new();
        };
        let handle = self.model.0[&id].0;
        let told = self.health.remove(GENERATION, handle, self.now).expect("open");
        let empty = self.model.members(id).is_empty();
        assert_eq!(told.answer, Ok(empty));
        if empty {
            self.model.0.remove(&id);
            assert!(self.health.status(GENERATION, handle).expect("open").is_err());
        }
        flat(&told.changes)
    }

    fn clear(&mut self) -> Vec<(Handle, State, State)> {
        self.health.clear(GENERATION).expect("open");
        for (_, (handle, _, _)) in std::mem::take(&mut self.model.0) {
            assert!(self.health.status(GENERATION, handle).expect("open").is_err());
        }
        Vec::new()
    }

    // H1, and H4: what was told is what changed, members first.
    fn compare(&self, before: &BTreeMap<usize, State>, told: &[(Handle, State, State)]) {
        let after = self.model.states();
        let mut changed = Vec::new();
        for (id, &state) in &after {
            let handle = self.model.0[id].0;
            let status = self
                .health
                .status(GENERATION, handle)
                .expect("open")
                .expect("there");
            assert_eq!(status.state, state);
            let members = self.model.members(*id);
            for each in STATES {
                let count = members.iter().filter(|&&member| member == each).count();
                assert_eq!(status.counts.of(each) as usize, count);
            }
            match before.get(id) {
                Some(&was) if was != state => changed.push((handle, was, state)),
                _ => (),
            }
        }
        let depth =
            |(handle, _, _): &(Handle, State, State)| told.iter().position(|(other, _, _)| other == handle);
        changed.sort_by_key(depth);
        assert_eq!(changed, told);
    }
}

fn flat(changes: &[kantoku_core::health::Change]) -> Vec<(Handle, State, State)> {
    changes
        .iter()
        .map(|change| (change.node, change.from, change.to))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(400)))]

    #[test]
    fn states_and_counts_are_those_of_a_naive_recomputation(ops in vec(op(), 1..150)) {
        let mut scene = Scene::new();
        scene.add(0, Spec::Group(Rule::Quorum(50)), Kept::Group(Rule::Quorum(50)));
        for op in ops {
            scene.step(op);
        }
    }
}

#[test]
fn nothing_is_known_under_another_generation_or_after_closing() {
    let scene = Scene::new();
    let added = scene
        .health
        .add(GENERATION, None, Spec::Group(Rule::Worst), 0, 0)
        .expect("open");
    let handle = added.answer.expect("no parent");
    assert!(scene.health.status(GENERATION + 1, handle).is_err());
    scene.health.open(GENERATION + 1);
    assert!(scene.health.status(GENERATION, handle).is_err());
    assert!(
        scene
            .health
            .status(GENERATION + 1, handle)
            .expect("open")
            .is_err()
    );
}
