//! How much may be asked for in a minute: token buckets by the generic cell rate algorithm, whose whole state is one time.

use std::collections::HashMap;

/// What a tenant is called: the spelling of its term.
pub type Tenant = Box<[u8]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Pool,
    /// Every tenant for itself.
    Each,
    One(Tenant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Requests,
    /// As many as a request costs.
    Tokens,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub who: Who,
    pub what: What,
    pub per_minute: u64,
    /// So many at once, before the rate applies.
    pub burst: u64,
}

const MINUTE: i128 = 60_000_000_000;

// For so many nanoseconds a tenant counts as there, and so many of them are counted.
const LATELY: i64 = 10_000_000_000;
const MOST_LATELY: usize = 256;

impl Quota {
    fn concerns(&self, tenant: &[u8]) -> bool {
        match &self.who {
            Who::Pool | Who::Each => true,
            Who::One(one) => **one == *tenant,
        }
    }

    /// Whether it is a limit of this tenant alone.
    pub fn limits(&self, tenant: &[u8]) -> bool {
        self.who != Who::Pool && self.concerns(tenant)
    }

    fn requests_per_minute(&self, cost: u64) -> u64 {
        match self.what {
            What::Requests => self.per_minute,
            What::Tokens => self.per_minute.saturating_mul(1_000) / cost.max(1),
        }
    }

    // Nanoseconds that `amount` takes to come in again.
    fn span(&self, amount: u64) -> i64 {
        let span = i128::from(amount) * MINUTE / i128::from(self.per_minute.max(1));
        i64::try_from(span).unwrap_or(i64::MAX / 4)
    }
}

impl Quota {
    // How many requests pass at once that need so much each, while the bucket is full in so many nanoseconds.
    fn passes(&self, needed: u64, full_in: i64) -> u64 {
        let spare = self
            .span(self.burst - needed.min(self.burst))
            .saturating_sub(full_in);
        match self.span(needed.min(self.burst)) {
            _ if spare < 0 => 0,
            // What costs more than the bucket holds leaves it in debt.
            _ if needed > self.burst => 1,
            each => (spare / each.max(1)) as u64 + 1,
        }
    }
}

/// When each bucket will be full again.
#[derive(Debug, Default)]
pub struct Buckets {
    shared: HashMap<usize, i64>,
    each: HashMap<(usize, Tenant), i64>,
    // Tenants with limits of their own, and when they came last.
    lately: HashMap<Tenant, i64>,
}

impl Buckets {
    /// How long, in nanoseconds, until so much is there for the tenant under all quotas; `None`: it is there now.
    pub fn wait(&self, quotas: &[Quota], tenant: &[u8], cost: u32, now: i64) -> Option<i64> {
        quotas
            .iter()
            .enumerate()
            .filter(|(_, quota)| quota.concerns(tenant))
            .filter_map(|(at, quota)| {
                // What costs more than the bucket holds waits until that is full.
                let needed = amount(quota, cost).min(quota.burst);
                let full = self.full_at(at, quota, tenant).max(now);
                let wait = full.saturating_sub(now) - quota.span(quota.burst - needed);
                (wait > 0).then_some(wait)
            })
            .max()
    }

    /// How many requests of a cost pass all quotas now, of which the tenant and all were promised so many.
    pub fn passes(
        &self,
        quotas: &[Quota],
        tenant: &[u8],
        cost: u32,
        now: i64,
        (own, all): (u64, u64),
    ) -> u64 {
        let passes = |(at, quota): (usize, &Quota)| {
            let full = self.full_at(at, quota, tenant).max(now);
            let promised = if quota.who == Who::Pool { all } else { own };
            quota
                .passes(amount(quota, cost), full.saturating_sub(now))
                .saturating_sub(promised)
        };
        let concerning = quotas
            .iter()
            .enumerate()
            .filter(|(_, quota)| quota.concerns(tenant));
        concerning.map(passes).min().unwrap_or(u64::MAX)
    }

    /// How many requests a minute the quotas of tenants let through, of those tenants that came lately, if a request costs so many
    /// thousandths. A tenant under several has the least. 0: nobody knows, as too many came.
    pub fn let_through(&self, quotas: &[Quota], cost: u64) -> u64 {
        if self.lately.len() >= MOST_LATELY {
            return 0;
        }
        let least = |tenant: &Tenant| {
            let own = quotas.iter().filter(|quota| quota.limits(tenant));
            own.map(|quota| quota.requests_per_minute(cost))
                .min()
                .unwrap_or(0)
        };
        self.lately.keys().map(least).sum()
    }

    // A tenant with limits of its own was there.
    fn note(&mut self, tenant: &[u8], now: i64) {
        if let Some(at) = self.lately.get_mut(tenant) {
            *at = now;
        } else if self.lately.len() < MOST_LATELY {
            self.lately.insert(tenant.into(), now);
        }
    }

    /// Takes it.
    pub fn charge(&mut self, quotas: &[Quota], tenant: &[u8], cost: u32, now: i64) {
        if quotas.iter().any(|quota| quota.limits(tenant)) {
            self.note(tenant, now);
        }
        for (at, quota) in quotas.iter().enumerate() {
            if !quota.concerns(tenant) {
                continue;
            }
            let full = self
                .full_at(at, quota, tenant)
                .max(now)
                .saturating_add(quota.span(amount(quota, cost)));
            match quota.who {
                Who::Each => self.each.insert((at, tenant.into()), full),
                _ => self.shared.insert(at, full),
            };
        }
    }

    fn full_at(&self, at: usize, quota: &Quota, tenant: &[u8]) -> i64 {
        let full = match quota.who {
            Who::Each => self.each.get(&(at, tenant.into())),
            _ => self.shared.get(&at),
        };
        full.copied().unwrap_or(i64::MIN)
    }

    /// Forgets what is full.
    pub fn sweep(&mut self, now: i64) {
        self.each.retain(|_, full| *full > now);
        self.lately.retain(|_, at| *at > now.saturating_sub(LATELY));
    }

    /// Goes on under other quotas: what is as it was keeps its charge.
    pub fn keep(&mut self, old: &[Quota], new: &[Quota]) {
        let moved = |at: usize| new.iter().position(|quota| *quota == old[at]);
        let shared = std::mem::take(&mut self.shared);
        self.shared = shared
            .into_iter()
            .filter_map(|(at, full)| Some((moved(at)?, full)))
            .collect();
        let each = std::mem::take(&mut self.each);
        self.each = each
            .into_iter()
            .filter_map(|((at, tenant), full)| Some(((moved(at)?, tenant), full)))
            .collect();
    }

    pub fn bytes(&self) -> usize {
        let each: usize = self.each.keys().map(|(_, tenant)| tenant.len()).sum();
        self.shared.capacity() * size_of::<(usize, i64)>()
            + self.each.capacity() * size_of::<((usize, Tenant), i64)>()
            + each
    }
}

fn amount(quota: &Quota, cost: u32) -> u64 {
    match quota.what {
        What::Requests => 1,
        What::Tokens => u64::from(cost),
    }
}
