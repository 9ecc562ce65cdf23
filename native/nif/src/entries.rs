//! What an agent's entry adds: describe, load, find, watch. Decodes, makes one core call, encodes.

use kantoku_core::index::{Order, Query, Slot};
use kantoku_core::registry::{Closed, Describing, Description, Found, Holding, OwnedQuery, Row};
use kantoku_core::sync::atomic::Ordering::Relaxed;
use rustler::{Encoder, Env, Term};

use crate::beam::{self, Message, Pid, atom};
use crate::errand::Errand;
use crate::guard::{self, Answer, Refusal};
use crate::instance::unknown;
use crate::key::{self, Room};
use crate::owner::{self, Role, Watching};
use crate::state::{Opened, state};
use crate::terms::{Bags, Raw};
use crate::world::{self, Watcher, World};
use crate::{atoms, registry, state as shared};

/// `describe(instance, key, pid, expected, attributes, facets)`
pub fn describe<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let pid = Pid::of(args[2]).ok_or(Refusal::BadArgument)?;
    let expected: u64 = args[3].decode().map_err(|_| Refusal::BadArgument)?;
    let facets = facets(args[5])?;
    let mut room = Room::new();
    let probe = room.probe(args[1], state().seed);
    let mut world = World::new(env, opened);
    let attributes = Raw::of(args[4]);
    let registry = &opened.shell.registry;
    match registry.describe(
        opened.generation,
        probe,
        pid.0,
        expected,
        attributes,
        &facets,
        &mut world,
    ) {
        Ok(Describing::Done { version, slot }) => {
            Ok((atoms::ok(), version, handle(slot, opened)).encode(env))
        }
        Ok(Describing::Stale { version }) => Ok((atoms::stale(), version).encode(env)),
        Ok(Describing::NotHeld) => Ok(atom(env, atoms::none())),
        Err(_) => Ok(unknown(env)),
    }
}

/// `introduce(instance, key, pid, value, attributes, facets)`: claims a name and describes it, in one step.
pub fn introduce<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let Some(pid) = registry::living(args[2]) else {
        return Ok(registry::nobody(env));
    };
    let facets = facets(args[5])?;
    let mut room = Room::new();
    let probe = room.probe(args[1], state().seed);
    let description = Description {
        attributes: Raw::of(args[4]),
        facets: &facets,
    };
    let mut world = World::new(env, opened);
    let value = Raw::of(args[3]);
    let registered =
        opened
            .shell
            .registry
            .introduce(opened.generation, probe, pid.0, value, description, &mut world);
    Ok(registry::claimed(env, registered))
}

fn facets(list: Term<'_>) -> Result<Vec<Box<[u8]>>, Refusal> {
    let mut facets = Vec::new();
    let mut rest = list;
    while let Ok((head, tail)) = rest.list_get_cell() {
        facets.push(facet(head)?);
        rest = tail;
    }
    if rest.is_empty_list() {
        Ok(facets)
    } else {
        Err(Refusal::BadArgument)
    }
}

fn facet(term: Term<'_>) -> Result<Box<[u8]>, Refusal> {
    Room::new()
        .spelling(term)
        .map(Into::into)
        .ok_or(Refusal::BadArgument)
}

// A handle is only good for the opening that gave it: its slot is veiled with that one's generation, under which a handle
// of any other names a slot that is not there.
fn handle(slot: Slot, opened: Opened) -> u64 {
    slot.to_handle() ^ veil(opened)
}

fn slot(term: Term<'_>, opened: Opened) -> Result<Option<Slot>, Refusal> {
    let handle: u64 = term.decode().map_err(|_| Refusal::BadArgument)?;
    Ok(Slot::from_handle(handle ^ veil(opened)))
}

fn veil(opened: Opened) -> u64 {
    const SLOT_BITS: u32 = 57;
    u64::from(opened.generation).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOT_BITS)
}

/// `entry(instance, key)`
pub fn entry<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let mut room = Room::new();
    let mut shown = None;
    let world = World::new(env, opened);
    let probe = room.probe(args[1], state().seed);
    let looked =
        opened
            .shell
            .registry
            .entry(opened.generation, probe, &world, |terms, row, holding, load| {
                let record = world::record(env, key::show(&row.key, terms, env), terms, holding, load);
                let described = holding.described.as_ref();
                let version = described.map_or(0, |described| described.version);
                shown = Some(
                    (
                        record,
                        version,
                        described.map(|described| handle(described.slot, opened)),
                    )
                        .encode(env),
                );
            });
    Ok(looked.map_or_else(
        |_| unknown(env),
        |()| shown.unwrap_or_else(|| atom(env, atoms::none())),
    ))
}

/// `set_load(instance, handle, load)`
pub fn set_load<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let load: u64 = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    let set = slot(args[1], opened)?.is_some_and(|slot| opened.shell.registry.set_load(slot, load));
    Ok(set.encode(env))
}

/// `add_load(instance, handle, delta)`
pub fn add_load<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let delta: i64 = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    let load = slot(args[1], opened)?.and_then(|slot| opened.shell.registry.add_load(slot, delta));
    Ok(load.map_or_else(|| false.encode(env), |load| (atoms::ok(), load).encode(env)))
}

// A query as it came: `{all, any, none, order, limit}`.
struct Asking {
    query: OwnedQuery,
    order: Order,
    limit: usize,
}

impl Asking {
    // How many of the entries are about to be looked at: few if few are wanted and the index leads to them.
    fn reach(&self, entries: impl FnOnce() -> usize) -> usize {
        match self.order {
            // Not counted where the answer is known: the count is behind a lock.
            Order::None | Order::Load if self.limit <= MOST_LOOKED_AT => self.limit,
            Order::None | Order::Load => entries().min(self.limit),
            // These orders look at every entry that matches, if only as one bit.
            Order::StartedAt | Order::Random(_) => {
                let entries = entries();
                entries.min(self.limit).max(entries / 64)
            }
        }
    }
}

// So many are looked at on a scheduler.
const MOST_LOOKED_AT: usize = 256;

fn asking(term: Term<'_>) -> Result<Asking, Refusal> {
    let (all, any, none, order, limit): (Term<'_>, Term<'_>, Term<'_>, Term<'_>, Term<'_>) =
        term.decode().map_err(|_| Refusal::BadArgument)?;
    let query = OwnedQuery {
        all: facets(all)?,
        any: groups(any)?,
        none: facets(none)?,
    };
    Ok(Asking {
        query,
        order: self::order(order)?,
        limit: self::limit(limit)?,
    })
}

fn groups(list: Term<'_>) -> Result<Vec<Vec<Box<[u8]>>>, Refusal> {
    let groups: Vec<Term<'_>> = list.decode().map_err(|_| Refusal::BadArgument)?;
    groups.into_iter().map(facets).collect()
}

fn order(term: Term<'_>) -> Result<Order, Refusal> {
    let word = beam::word(term.as_c_arg());
    let is = |atom: rustler::Atom| word == shared::name_word(atom);
    if is(atoms::none()) {
        Ok(Order::None)
    } else if is(atoms::load()) {
        Ok(Order::Load)
    } else if is(atoms::started_at()) {
        Ok(Order::StartedAt)
    } else if is(atoms::random()) {
        Ok(Order::Random(beam::now() as u64 ^ state().seed))
    } else {
        Err(Refusal::BadArgument)
    }
}

fn limit(term: Term<'_>) -> Result<usize, Refusal> {
    if beam::word(term.as_c_arg()) == shared::name_word(atoms::infinity()) {
        return Ok(usize::MAX);
    }
    term.decode().map_err(|_| Refusal::BadArgument)
}

fn found(env: Env<'_>, opened: Opened, asking: &Asking) -> Result<Vec<Found>, Closed> {
    let world = World::new(env, opened);
    let Opened { shell, generation } = opened;
    let find = |query: &Query<'_>| shell.registry.find(generation, query, asking.limit, &world);
    asking.query.with(asking.order, find)
}

/// `find(instance, query)`
pub fn find<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    list(env, args, |key, terms, holding, load| {
        world::record(env, key, terms, holding, load)
    })
}

/// `find_pids(instance, query)`
pub fn find_pids<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    list(env, args, |key, _, holding, _| {
        beam::tuple(env, &[key, Pid(holding.pid).term(env)])
    })
}

fn list<'a>(
    env: Env<'a>,
    args: &[Term<'a>],
    shape: impl Fn(Term<'a>, &Bags, &Holding<Bags>, u64) -> Term<'a>,
) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let asking = asking(args[1])?;
    let registry = &opened.shell.registry;
    guard::bounded(|| asking.reach(|| registry.described()), MOST_LOOKED_AT)?;
    let Ok(found) = found(env, opened, &asking) else {
        return Ok(unknown(env));
    };
    let mut shown = Vec::with_capacity(found.len());
    for one in found {
        let show = |terms: &Bags, row: &Row<Bags>, holding: &Holding<Bags>, load| {
            shown.push(shape(key::show(&row.key, terms, env), terms, holding, load));
        };
        if registry.show_found(opened.generation, &one, show).is_err() {
            return Ok(unknown(env));
        }
    }
    Ok(shown.encode(env))
}

/// `count(instance, query)`
pub fn count<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let asking = asking(args[1])?;
    guard::bounded(|| opened.shell.registry.described(), MOST_LOOKED_AT)?;
    let world = World::new(env, opened);
    let Opened { shell, generation } = opened;
    let count = asking.query.with(Order::None, |query| {
        shell.registry.count(generation, query, &world)
    });
    Ok(count.map_or_else(|_| unknown(env), |count| count.encode(env)))
}

/// `watch(instance, query, pid)`
pub fn watch<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let asking = asking(args[1])?;
    guard::bounded(|| opened.shell.registry.described(), MOST_LOOKED_AT)?;
    let pid = Pid::of(args[2]).ok_or(Refusal::BadArgument)?;
    let id = state().watches.fetch_add(1, Relaxed);
    let place = opened.shell.place;
    let watching = Watching {
        place,
        generation: opened.generation,
        pid,
        role: Role::Watcher(id),
    };
    let monitor = owner::watch(env.as_c_arg(), watching).ok_or(Refusal::BadArgument)?;
    let reference = Message::build(beam::reference);
    let shown_reference = reference.show(env);
    let watcher = Watcher {
        id,
        pid,
        reference,
        _monitor: monitor,
    };
    let mut records = Vec::new();
    let world = World::new(env, opened);
    let registry = &opened.shell.registry;
    let watched = registry.watch(
        opened.generation,
        asking.query,
        watcher,
        &world,
        |terms, row, holding, load| {
            records.push(world::record(
                env,
                key::show(&row.key, terms, env),
                terms,
                holding,
                load,
            ));
        },
    );
    // Dead before the watch was there, it was not ended by its death.
    if !pid.is_alive(env.as_c_arg()) {
        drop(registry.unwatch(opened.generation, |watcher| watcher.id == id));
    }
    match watched {
        Ok(()) => Ok((atoms::ok(), shown_reference, records).encode(env)),
        Err(_) => Ok(unknown(env)),
    }
}

/// `unwatch(instance, reference)`: `pending` if the caller is to wait for the end of what is on its way to it.
pub fn unwatch<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let Some(opened) = state().find(args[0]) else {
        return Ok(unknown(env));
    };
    let registry = &opened.shell.registry;
    let ended = registry.unwatch(opened.generation, |watcher| watcher.reference.is(args[1]));
    let own = ended.iter().find(|watcher| Pid::caller(env) == Some(watcher.pid));
    let Some(watcher) = own else {
        return Ok(atom(env, atoms::ok()));
    };
    // Behind all that was noted down for this watch.
    state().errand(Errand::Tell {
        to: watcher.pid,
        message: Message::build(|env| {
            let reference = watcher.reference.show(env);
            let (watch, end) = (atom(env, atoms::kantoku_watch()), atom(env, atoms::end()));
            beam::tuple(env, &[watch, reference, end])
        }),
    });
    Ok(atom(env, atoms::pending()))
}
