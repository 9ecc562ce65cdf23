//! A pool's begin, its changes, and its end.

use super::World;
use super::config::Config;
use super::state::Inner;
use super::telling::{Effect, Effects, Refusal};
use super::tickets::{Of, Stage};
use super::workers::mix;

impl<W: World> Inner<W> {
    pub fn configure(
        &mut self,
        generation: u32,
        config: Config,
        now: i64,
        world: &W,
        effects: &mut Effects<W::Content>,
    ) {
        if self.generation != generation {
            self.generation = generation;
            self.tickets.begin_at(mix(u64::from(generation), 0));
            self.credits.begin_at(mix(u64::from(generation), 1));
            self.codel.begin(now, config.codel());
            self.records.begin(now);
        }
        self.workers.set_strategy(config.strategy);
        if config.quotas != self.config.quotas {
            self.buckets.keep(&self.config.quotas, &config.quotas);
        }
        let rules = std::mem::replace(&mut self.config, config).ejection;
        self.judge_anew(rules, now, effects);
        self.waiting.weigh(|tenant| self.config.weight(tenant));
        let all: Vec<u32> = self.workers.iter().map(|(at, _)| at).collect();
        all.into_iter().for_each(|at| self.say_ready(at));
        self.serve(now, world, effects);
    }

    pub fn close(&mut self, effects: &mut Effects<W::Content>) -> Vec<W::Handle> {
        for at in self.waiting.all(&self.tickets) {
            self.turn_away(at, Refusal::Closed, 0, effects);
        }
        let served: Vec<u32> = self
            .workers
            .iter()
            .flat_map(|(_, worker)| self.tickets.walk(worker.tickets, Of::Worker))
            .collect();
        for at in served {
            let stage = self.tickets.get(at).stage;
            if let (owner, Some(parcel)) = self.end(at)
                && stage == Stage::Served
            {
                effects.push(Effect::Refuse {
                    owner,
                    parcel,
                    reason: Refusal::Closed,
                    retry_in: 0,
                });
            }
        }
        self.call_in(effects);
        let workers = self.workers.take().into_iter().map(|worker| worker.handle);
        let owners = self.owners.take();
        let handles = workers.chain(owners).collect();
        let seed = self.workers.seed();
        *self = Self::new(seed);
        handles
    }
}
