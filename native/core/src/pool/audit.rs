//! The invariants, looked at from the outside of each change. For tests.

use super::World;
use super::state::Inner;
use super::tickets::{Of, Stage};

impl<W: World> Inner<W> {
    pub fn check(&self) {
        self.check_permits();
        self.check_waiting();
        self.check_owners();
        self.check_leaving();
        self.check_places();
        self.check_standing();
        self.check_counts();
        self.credits.check();
    }

    fn check_leaving(&self) {
        let leaving = || self.workers.iter().filter(|(_, worker)| worker.leaving);
        assert_eq!(
            self.workers.len() - self.workers.taking(),
            leaving().count(),
            "who leaves"
        );
        let ongoing: u64 = leaving().map(|(_, worker)| u64::from(worker.ongoing)).sum();
        assert_eq!(ongoing, self.counts.on_leaving, "what those have who leave");
    }

    fn check_places(&self) {
        for (at, worker) in self.workers.iter().filter(|(_, worker)| !worker.leaving) {
            assert_eq!(
                self.workers.of_member(worker.member),
                Some(at),
                "who stays has its place"
            );
        }
    }

    // E3
    fn check_standing(&self) {
        let staying: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| !worker.leaving)
            .collect();
        let healthy = staying.iter().filter(|(_, worker)| !worker.is_aside()).count();
        assert_eq!(healthy, self.workers.healthy(), "who is not aside");
        let few = healthy * 100 < self.config.panic_threshold as usize * staying.len();
        assert_eq!(self.workers.in_panic(), few && staying.len() > 1, "panic");
    }

    // P1
    fn check_permits(&self) {
        let mut ongoing = 0;
        for (at, worker) in self.workers.iter() {
            let held: Vec<u32> = self.tickets.walk(worker.tickets, Of::Worker).collect();
            assert_eq!(
                held.len(),
                worker.ongoing as usize,
                "a worker's permits and tickets"
            );
            for ticket in held {
                assert_eq!(self.tickets.get(ticket).worker, at, "whose ticket it is");
                assert_ne!(
                    self.tickets.get(ticket).stage,
                    Stage::Waiting,
                    "who waits has no worker"
                );
            }
            let barred = self.workers.is_barred(at);
            let takes = !worker.leaving && !barred && worker.ongoing < self.config.max_ongoing;
            assert_eq!(self.workers.is_ready(at), takes, "who has a permit free is ready");
            assert!(
                !worker.leaving || worker.ongoing > 0,
                "who leaves with nothing left is gone"
            );
            ongoing += u64::from(worker.ongoing);
        }
        let in_stage = |stage| self.tickets.iter().filter(|ticket| ticket.stage == stage).count();
        let waiting = in_stage(Stage::Waiting);
        assert_eq!(ongoing, self.counts.ongoing, "permits in use");
        assert_eq!(
            self.tickets.len() - waiting,
            ongoing as usize,
            "each ticket past waiting has a permit"
        );
        assert_eq!(
            in_stage(Stage::Abandoned) as u64,
            self.counts.abandoned,
            "abandoned"
        );
    }

    // Each that a worker was given is with it, or ended in one way.
    fn check_counts(&self) {
        let counts = &self.counts;
        let otherwise = counts.failed + counts.given_up + counts.lost + counts.returned;
        assert!(counts.ongoing + otherwise <= counts.served, "how requests ended");
        assert!(
            counts.over_quota + counts.dropped + counts.drained <= counts.refused,
            "why requests were refused"
        );
    }

    // P2
    fn check_waiting(&self) {
        let lined_up = self.waiting.all(&self.tickets);
        let stage = |&at: &u32| self.tickets.get(at).stage;
        assert!(
            lined_up.iter().all(|at| stage(at) == Stage::Waiting),
            "only who waits is in line"
        );
        let waiting = self
            .tickets
            .iter()
            .filter(|ticket| ticket.stage == Stage::Waiting);
        assert_eq!(lined_up.len(), waiting.count(), "who waits is in line");
        assert_eq!(lined_up.len(), self.waiting.len(), "the length of the line");
        assert!(
            lined_up.is_empty() || !self.workers.any_ready(),
            "someone waits while a permit is free"
        );
    }

    fn check_owners(&self) {
        let chained: usize = self
            .owners
            .chains()
            .map(|chain| self.tickets.walk(chain, Of::Owner).count())
            .sum();
        let owned = self.tickets.iter().filter(|ticket| ticket.owner != 0);
        assert_eq!(chained, owned.count(), "each owner knows its tickets");
    }
}
