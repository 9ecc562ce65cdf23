//! Snapshot files: opened for a process, closed with it at the latest. Decodes, makes one call of the store, encodes.
//!
//! S1. A file is closed when its process dies, and whoever opens the same path next waits for that.
//! S2. No call holds the table of files while it touches a disk.
//!
//! A store's thread and what it will call when it has written run the code of the build that opened it, which stays mapped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kantoku_store::{
    Completion, Durability, OnCorrupt, Options, Outcome, Revision, Store, StoreError, Ticket, unwatched,
};
use rustler::{Atom, Binary, Encoder, Env, NewBinary, Term};

use crate::atoms;
use crate::beam::{self, Message, Pid, atom};
use crate::guard::{self, Answer, Entry, Refusal};
use crate::owner::{self, Role, Watched, Watching};
use crate::state::state;
use crate::store_turns::{self, Within};

/// An open file, or one that is being closed.
#[derive(Debug)]
pub struct File {
    id: u64,
    /// Whose it is, by the word of its name.
    instance: u64,
    path: PathBuf,
    owner: Pid,
    store: Arc<Store>,
    closing: bool,
    _monitor: Watched,
}

const CLOSE_BOUND: Duration = Duration::from_secs(5);
const FLUSH_BOUND: Duration = Duration::from_secs(30);

/// `store_open(path, options)`
pub fn open<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let path = PathBuf::from(text(args[0])?);
    let mut options = options(args[1])?;
    let instance = instance(args[1])?;
    options.on_turn = store_turns::of(instance, path.clone());
    let owner = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    wait_for(env, &path);
    let _call = Within::call(env);
    match Store::open(&path, options) {
        Ok(store) => Ok((atoms::ok(), keep(env, instance, path, owner, store)?).encode(env)),
        Err(error) => Ok(failed(env, &error)),
    }
}

// S1: a file of a process that is gone is on its way to be closed.
fn wait_for(env: Env<'_>, path: &Path) {
    let until = Instant::now() + CLOSE_BOUND;
    let is_leaving =
        |file: &File| file.path == path && (file.closing || !file.owner.is_alive(env.as_c_arg()));
    while state().files.lock().iter().any(is_leaving) && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
}

fn keep(env: Env<'_>, instance: Atom, path: PathBuf, owner: Pid, store: Store) -> Result<u64, Refusal> {
    let id = state()
        .watches
        .fetch_add(1, kantoku_core::sync::atomic::Ordering::Relaxed);
    let watching = Watching {
        place: 0,
        generation: 0,
        pid: owner,
        role: Role::File(id),
    };
    let monitor = owner::watch(env.as_c_arg(), watching).ok_or(Refusal::BadArgument)?;
    let file = File {
        id,
        instance: beam::word(instance.to_term(env).as_c_arg()),
        path,
        owner,
        store: Arc::new(store),
        closing: false,
        _monitor: monitor,
    };
    state().files.lock().push(file);
    Ok(id)
}

fn options(map: Term<'_>) -> Result<Options, Refusal> {
    let mut options = Options::default();
    for (name, value) in rustler::MapIterator::new(map).ok_or(Refusal::BadArgument)? {
        let name = name.atom_to_string().map_err(|_| Refusal::BadArgument)?;
        let number = || value.decode::<u64>().map_err(|_| Refusal::BadArgument);
        match &*name {
            "async_window" => options.group_commit.async_window = Duration::from_millis(number()?),
            "max_pending_bytes" => options.max_pending_bytes = number()? as usize,
            "max_snapshot_bytes" => options.max_snapshot_bytes = number()? as usize,
            "cache_bytes" => options.cache_bytes = number()? as usize,
            "verify_on_open" => options.verify_on_open = value.decode().map_err(|_| Refusal::BadArgument)?,
            "on_corrupt" => options.on_corrupt = on_corrupt(value)?,
            "instance" => {}
            _ => return Err(Refusal::BadArgument),
        }
    }
    options.on_panic =
        Arc::new(|text| guard::tell(std::ptr::null_mut(), &format!("{}: {text}", Entry::Thread)));
    Ok(options)
}

/// Whose the file is.
fn instance(map: Term<'_>) -> Result<Atom, Refusal> {
    let name = map.map_get(atoms::instance()).map_err(|_| Refusal::BadArgument)?;
    name.decode().map_err(|_| Refusal::BadArgument)
}

fn on_corrupt(value: Term<'_>) -> Result<OnCorrupt, Refusal> {
    match &*value.atom_to_string().map_err(|_| Refusal::BadArgument)? {
        "refuse" => Ok(OnCorrupt::Refuse),
        "set_aside" => Ok(OnCorrupt::SetAside),
        _ => Err(Refusal::BadArgument),
    }
}

fn text(term: Term<'_>) -> Result<String, Refusal> {
    term.decode().map_err(|_| Refusal::BadArgument)
}

// Calls of an open file -----------------------------------------------------------------------------------------------

fn file(term: Term<'_>) -> Result<Option<Arc<Store>>, Refusal> {
    let id = id(term)?;
    let files = state().files.lock();
    let file = files.iter().find(|file| file.id == id && !file.closing);
    Ok(file.map(|file| file.store.clone()))
}

// Any integer asks for a file; those that were never given are closed.
fn id(term: Term<'_>) -> Result<u64, Refusal> {
    term.decode::<i64>()
        .map(|id| id as u64)
        .map_err(|_| Refusal::BadArgument)
}

fn with_file<'a>(env: Env<'a>, id: Term<'a>, call: impl FnOnce(&Store) -> Answer<'a>) -> Answer<'a> {
    let _call = Within::call(env);
    match file(id)? {
        Some(store) => call(&store),
        None => Ok(failed(env, &StoreError::Closed)),
    }
}

fn bytes(term: Term<'_>) -> Result<Binary<'_>, Refusal> {
    Binary::from_term(term).map_err(|_| Refusal::BadArgument)
}

fn revision(incarnation: Term<'_>, revision: Term<'_>) -> Result<Revision, Refusal> {
    let number = |term: Term<'_>| term.decode().map_err(|_| Refusal::BadArgument);
    Ok(Revision::new(number(incarnation)?, number(revision)?))
}

/// `store_put(file, key, incarnation, revision, bytes, reply)`: with a reply reference the caller is told of the commit.
pub fn put<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (key, revision, value) = (bytes(args[1])?, revision(args[2], args[3])?, bytes(args[4])?);
    let (durability, done) = completion(env, args[5])?;
    with_file(env, args[0], |store| {
        match store.put(&key, revision, &value, durability, done) {
            Ok(()) => Ok(atom(env, atoms::ok())),
            Err(StoreError::Busy { .. }) => Ok((atoms::error(), atoms::busy()).encode(env)),
            Err(error) => Ok(failed(env, &error)),
        }
    })
}

fn completion(env: Env<'_>, reply: Term<'_>) -> Result<(Durability, Completion), Refusal> {
    if reply.is_atom() {
        return Ok((Durability::Async, unwatched()));
    }
    if !reply.is_ref() {
        return Err(Refusal::BadArgument);
    }
    let to = Pid::caller(env).ok_or(Refusal::BadArgument)?;
    let reference = Message::build(|own| reply.in_env(own));
    let done = move |result: Result<Outcome, StoreError>| {
        Message::build(|env| answer(env, &reference, &result)).send(to);
    };
    Ok((Durability::Sync, Box::new(done)))
}

fn answer<'a>(env: Env<'a>, reference: &Message, result: &Result<Outcome, StoreError>) -> Term<'a> {
    let said = match result {
        Ok(Outcome::Done) => atom(env, atoms::ok()),
        Ok(Outcome::Superseded { .. }) => (atoms::error(), atoms::stale()).encode(env),
        Err(error) => failed(env, error),
    };
    beam::tuple(
        env,
        &[atom(env, atoms::kantoku_store()), reference.show(env), said],
    )
}

/// `store_delete(file, key, incarnation, revision)`: unless what is there is newer.
pub fn delete<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let (key, up_to) = (bytes(args[1])?, revision(args[2], args[3])?);
    with_file(env, args[0], |store| {
        Ok(told(
            env,
            store.delete(&key, up_to, Durability::Async, unwatched()),
        ))
    })
}

/// `store_get(file, key)`
pub fn get<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let key = bytes(args[1])?;
    with_file(env, args[0], |store| match store.get(&key) {
        Ok(None) => Ok(atom(env, atoms::none())),
        Ok(Some(found)) => {
            let Revision {
                incarnation,
                revision,
            } = found.revision;
            Ok((atoms::ok(), incarnation, revision, binary(env, &found.bytes)).encode(env))
        }
        Err(StoreError::Damaged { damage }) => Ok((atoms::damaged(), damage.to_string()).encode(env)),
        Err(error) => Ok(failed(env, &error)),
    })
}

fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}

/// `store_set_aside(file, key)`: to the quarantine, if it is damaged.
pub fn set_aside<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let key = bytes(args[1])?;
    with_file(env, args[0], |store| {
        Ok(waited(env, |done| store.set_aside(&key, done)))
    })
}

/// `store_flush(file)`
pub fn flush<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    with_file(env, args[0], |store| Ok(waited(env, |done| store.flush(done))))
}

fn waited(env: Env<'_>, call: impl FnOnce(Completion) -> Result<(), StoreError>) -> Term<'_> {
    let (done, ticket) = Ticket::new();
    let result = call(done).and_then(|()| {
        ticket
            .wait(FLUSH_BOUND)
            .unwrap_or(Err(StoreError::Unfinished { waited: FLUSH_BOUND }))
            .map(drop)
    });
    told(env, result)
}

/// `store_keys(file, after, limit)`: the next keys in order, `[]` after the last.
pub fn keys<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let after = bytes(args[1])?;
    let limit: usize = args[2].decode().map_err(|_| Refusal::BadArgument)?;
    let mut after = (!after.is_empty()).then(|| after.to_vec());
    with_file(env, args[0], |store| {
        loop {
            let page = match store.keys(after.as_deref(), limit.min(MOST_KEYS)) {
                Ok(page) => page,
                Err(error) => return Ok(failed(env, &error)),
            };
            if !page.keys.is_empty() || page.next.is_none() {
                let keys: Vec<Term<'a>> = page.keys.iter().map(|key| binary(env, key)).collect();
                return Ok(keys.encode(env));
            }
            after = page.next;
        }
    })
}

const MOST_KEYS: usize = 10_000;

/// `store_stats(file)`
pub fn stats<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    with_file(env, args[0], |store| {
        let stats = store.stats();
        let fields = [
            ("pending_keys", stats.pending_keys as u64),
            ("pending_bytes", stats.pending_bytes as u64),
            ("commits", stats.commits),
            ("failed_commits", stats.failed_commits),
            ("committed_keys", stats.committed_keys),
            ("committed_bytes", stats.committed_bytes),
            ("commit_time", stats.commit_time.as_micros() as u64),
            ("last_batch", stats.last_batch),
            ("largest_batch", stats.largest_batch),
            ("retried", stats.retried),
            ("busy", stats.busy),
            ("quarantined", stats.quarantined),
            ("reopened", stats.reopened),
            ("panics", stats.panics),
        ];
        let ages = [
            ("failing_for", stats.failing_for),
            ("set_aside_ago", stats.set_aside_ago),
        ];
        let numbers = fields.iter().map(|(name, value)| (*name, value.encode(env)));
        let ages = ages.iter().map(|(name, age)| (*name, milliseconds(env, *age)));
        let pairs: Result<Vec<_>, _> = numbers
            .chain(ages)
            .map(|(name, value)| Atom::from_str(env, name).map(|name| (name.to_term(env), value)))
            .collect();
        Term::map_from_pairs(env, &pairs.map_err(|_| Refusal::BadArgument)?).map_err(|_| Refusal::BadArgument)
    })
}

/// What waits for the disk in files of an instance, in bytes. From any thread.
pub fn pending_bytes(instance: u64) -> usize {
    let files = state().files.lock();
    let of_it = files.iter().filter(|file| file.instance == instance);
    of_it.map(|file| file.store.pending_bytes()).sum()
}

fn milliseconds(env: Env<'_>, age: Option<Duration>) -> Term<'_> {
    match age {
        Some(age) => (age.as_millis() as u64).encode(env),
        None => atom(env, atoms::nil()),
    }
}

// Closing -------------------------------------------------------------------------------------------------------------

/// `store_close(file)`: writes what is pending, for at most five seconds.
pub fn close<'a>(env: Env<'a>, args: &[Term<'a>]) -> Answer<'a> {
    let id = id(args[0])?;
    match begin_close(id) {
        Some(store) => Ok(told(env, end_close(id, &store))),
        None => Ok(failed(env, &StoreError::Closed)),
    }
}

/// The process a file was opened for died. Waits on a thread of its own.
pub fn owner_died(id: u64) {
    let Some(store) = begin_close(id) else { return };
    let run = move || {
        guard::callback(Entry::Thread, std::ptr::null_mut(), || {
            drop(end_close(id, &store))
        });
    };
    // Without a thread the store closes itself when its last reference goes, and says nothing.
    if thread::Builder::new()
        .name("kantoku store".into())
        .spawn(run)
        .is_err()
    {
        forget(id);
    }
}

fn begin_close(id: u64) -> Option<Arc<Store>> {
    let mut files = state().files.lock();
    let file = files.iter_mut().find(|file| file.id == id && !file.closing)?;
    file.closing = true;
    Some(file.store.clone())
}

fn end_close(id: u64, store: &Store) -> Result<(), StoreError> {
    let result = store.close(CLOSE_BOUND);
    forget(id);
    result
}

fn forget(id: u64) {
    let mut files = state().files.lock();
    let at = files.iter().position(|file| file.id == id);
    let gone = at.map(|at| files.swap_remove(at));
    drop(files);
    drop(gone);
}

fn told(env: Env<'_>, result: Result<(), StoreError>) -> Term<'_> {
    match result {
        Ok(()) => atom(env, atoms::ok()),
        Err(error) => failed(env, &error),
    }
}

// `{:error, {kind, message}}`
fn failed<'a>(env: Env<'a>, error: &StoreError) -> Term<'a> {
    (atoms::error(), store_turns::reason(env, error)).encode(env)
}
