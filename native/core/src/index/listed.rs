//! The orders, over matches that are few enough to list.

use std::ops::ControlFlow;

use super::catalogue::Catalogue;
use super::offer::Offer;
use super::query::Order;
use super::random::Random;

pub(super) fn offer_all(
    members: Vec<u32>,
    order: Order,
    catalogue: &Catalogue,
    offer: &mut Offer<'_>,
) -> ControlFlow<()> {
    match order {
        Order::None => members.into_iter().try_for_each(|index| offer.entry(index)),
        Order::Random(seed) => shuffled(members, Random::new(seed), offer),
        Order::Load => {
            let mut near = offer.cells().near();
            let loads = members
                .into_iter()
                .map(|index| (near.tenant(index).1, index))
                .collect();
            ascending(loads, offer, |offer, (load, index)| offer.entry_at(index, load))
        }
        Order::StartedAt => {
            let keys = members
                .into_iter()
                .map(|index| (catalogue.order_key(index), index))
                .collect();
            ascending(keys, offer, |offer, (_, index)| offer.entry(index))
        }
    }
}

/// Draws without putting back, so only as often as is wanted.
pub(super) fn shuffled(mut members: Vec<u32>, mut random: Random, offer: &mut Offer<'_>) -> ControlFlow<()> {
    while !members.is_empty() {
        let drawn = random.below(members.len() as u64) as usize;
        offer.entry(members.swap_remove(drawn))?;
    }
    ControlFlow::Continue(())
}

/// Sorts only as far as is wanted: the least few, then, if they were refused, four times as many.
fn ascending(
    mut keyed: Vec<(u64, u32)>,
    offer: &mut Offer<'_>,
    each: impl Fn(&mut Offer<'_>, (u64, u32)) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut rest = keyed.as_mut_slice();
    let mut part = offer.left();
    while !rest.is_empty() {
        part = part.min(rest.len());
        rest.select_nth_unstable_by_key(part - 1, |one| one.0);
        let (least, others) = rest.split_at_mut(part);
        least.sort_unstable();
        least.iter().try_for_each(|&one| each(offer, one))?;
        rest = others;
        part = part.saturating_mul(4);
    }
    ControlFlow::Continue(())
}
