//! A breaker's configuration, from the map that `lib/kantoku/engine/breakers.ex` describes.

use kantoku_core::breaker::{Config, PERCENT, Span};
use rustler::Term;

use crate::atoms;
use crate::beam::MS;
use crate::choice::one_of;
use crate::guard::Refusal;

const MOST_CALLS: u32 = 100_000;
const MOST_PERMITS: u32 = 10_000;

pub fn decode(map: Term<'_>) -> Result<Config, Refusal> {
    let field = |name: rustler::Atom| map.map_get(name).map_err(|_| Refusal::BadArgument);
    let number = |name, range: std::ops::RangeInclusive<u32>| {
        let number: u32 = field(name)?.decode().map_err(|_| Refusal::BadArgument)?;
        range
            .contains(&number)
            .then_some(number)
            .ok_or(Refusal::BadArgument)
    };
    let ms = |name, least| number(name, least..=u32::MAX).map(|ms| i64::from(ms) * MS);
    let rate = |name| number(name, 1..=(100 * PERCENT) as u32).map(u64::from);
    let spans = [
        (atoms::count_based(), Span::Calls),
        (atoms::time_based(), Span::Seconds),
    ];
    Ok(Config {
        failure_rate: rate(atoms::failure_rate_threshold())?,
        slow_rate: rate(atoms::slow_call_rate_threshold())?,
        slow_after: ms(atoms::slow_call_duration_threshold(), 0)?,
        span: one_of(field(atoms::sliding_window_type())?, &spans)?,
        size: number(atoms::sliding_window_size(), 1..=MOST_CALLS)?,
        minimum: number(atoms::minimum_number_of_calls(), 1..=u32::MAX)?,
        wait_open: ms(atoms::wait_duration_in_open_state(), 1)?,
        permitted: number(
            atoms::permitted_number_of_calls_in_half_open_state(),
            1..=MOST_PERMITS,
        )?,
        wait_half_open: ms(atoms::max_wait_duration_in_half_open_state(), 0)?,
        automatic: field(atoms::automatic_transition_from_open_to_half_open_enabled())?
            .decode()
            .map_err(|_| Refusal::BadArgument)?,
    })
}
