//! Standing monitors: on each process that an instance keeps something of. A resource costs 170 bytes, so owners share theirs.
//!
//! O1. `down` frees what belongs to the opening (place, generation) it was made for and to the process that died, and
//!     nothing else.
//! O2. The destructor touches no lock: it may run wherever the last reference goes.
//! O3. Each owner holds a reference to the resource that watches it, so none goes while one of its owners is watched.

use std::os::raw::c_void;
use std::ptr;
use std::sync::OnceLock;

use kantoku_core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use rustler::sys::{self, ErlNifEnv, ErlNifMonitor, ErlNifPid, ErlNifResourceFlags, ErlNifResourceType};

use crate::beam::Pid;
use crate::guard::{self, Entry};
use crate::pools::Cell;
use crate::{breaker, breakers, exporting, instance, pool, pool_life, registry, store};

/// What a process is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds names.
    Owner,
    /// It holds the instance.
    Holder,
    /// It has this watch.
    Watcher(u64),
    /// This file was opened for it.
    File(u64),
    /// These exporters were started for it.
    Exporters(u64),
    /// It asks this pool.
    Caller(Cell),
    /// It works for this pool.
    Worker(Cell),
    /// It has a permit of this half-open breaker.
    Trial(breakers::Cell),
    /// It shows that a panic in a callback is caught.
    #[cfg(feature = "faults")]
    Fault(crate::fault::Fault),
}

#[derive(Clone, Copy, Debug)]
pub struct Watching {
    /// The instance's; pools and breakers say themselves where they are.
    pub place: u32,
    /// The instance's, the pool's or the breaker's.
    pub generation: u32,
    /// In a resource that owners share: the first of them.
    pub pid: Pid,
    pub role: Role,
}

#[derive(Debug)]
struct Place {
    watching: Watching,
    /// How many were ever watched by this resource.
    watched: AtomicU32,
}

// The VM keeps a resource's monitors in a tree under a lock: so few that neither is felt.
const TOGETHER: u32 = 64;

/// A reference to a monitor's resource; dropping it ends the monitor.
#[derive(Debug)]
pub struct Watched(*mut c_void);

// SAFETY: a resource may be released from any thread, and nothing is read through the pointer.
unsafe impl Send for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: `watch` kept one reference for us.
        unsafe { sys::enif_release_resource(self.0) };
    }
}

static KIND: OnceLock<AtomicPtr<ErlNifResourceType>> = OnceLock::new();

/// Registers the resource type, or takes it over from an older build. In `load` and `upgrade` only.
pub fn register_kind(env: *mut ErlNifEnv) -> bool {
    let down = down as *const sys::ErlNifResourceDown;
    let dtor = destructor as *const sys::ErlNifResourceDtor;
    let init = sys::ErlNifResourceTypeInit {
        dtor,
        stop: ptr::null(),
        down,
        members: 3,
        dyncall: ptr::null(),
    };
    let (create, take_over) = (
        ErlNifResourceFlags::ERL_NIF_RT_CREATE,
        ErlNifResourceFlags::ERL_NIF_RT_TAKEOVER,
    );
    let mut tried = create;
    for flags in [create, take_over] {
        let name = c"kantoku_watched".as_ptr();
        // SAFETY: in `load` or `upgrade`, with callbacks of the types that NIF 2.16 expects.
        let kind = unsafe { sys::enif_open_resource_type_x(env, name, &init, flags, &mut tried) };
        if !kind.is_null() {
            KIND.get_or_init(|| AtomicPtr::new(ptr::null_mut()))
                .store(kind.cast_mut(), Ordering::Release);
            return true;
        }
    }
    false
}

impl Watched {
    fn place(&self) -> &Place {
        // SAFETY: written by `new` before there was a `Watched`, and alive while we hold a reference.
        unsafe { &*self.0.cast::<Place>() }
    }

    // Where the opening changes under a caller's hands, what was shared may be of the one before.
    fn is_for(&self, watching: Watching) -> bool {
        let own = self.place().watching;
        (own.generation, own.role) == (watching.generation, watching.role)
    }

    fn share(&self) -> Self {
        // SAFETY: alive; the new reference is the returned one's.
        unsafe { sys::enif_keep_resource(self.0) };
        Watched(self.0)
    }

    fn new(watching: Watching) -> Option<Self> {
        let kind = KIND.get()?.load(Ordering::Acquire);
        // SAFETY: the type is registered; the memory has its size and is written before anything can read it, as monitors
        // come after. The reference of `enif_alloc_resource` becomes the returned one.
        unsafe {
            let place = sys::enif_alloc_resource(kind, size_of::<Place>());
            if place.is_null() {
                return None;
            }
            let watched = AtomicU32::new(0);
            place.cast::<Place>().write(Place { watching, watched });
            Some(Watched(place))
        }
    }

    /// Whether the process lives and is watched from now on.
    fn monitor(&self, env: *mut ErlNifEnv, pid: Pid) -> bool {
        // SAFETY: the resource is alive, and its type has a `down`.
        pid.with_raw(|pid| unsafe { sys::enif_monitor_process(env, self.0, pid, ptr::null_mut()) == 0 })
    }
}

/// Watches a process; `None` if it is dead.
pub fn watch(env: *mut ErlNifEnv, watching: Watching) -> Option<Watched> {
    let watched = Watched::new(watching)?;
    watched.monitor(env, watching.pid).then_some(watched)
}

/// Watches an owner with the resource that the last ones of its opening were watched with, while that has room; `shared` is
/// the caller's alone for the call.
pub fn watch_together(
    env: *mut ErlNifEnv,
    watching: Watching,
    shared: &mut Option<Watched>,
) -> Option<Watched> {
    // Relaxed: only who has `shared` counts.
    let room = shared
        .take()
        .filter(|shared| shared.is_for(watching))
        .filter(|shared| shared.place().watched.load(Ordering::Relaxed) < TOGETHER);
    let watched = match room {
        Some(room) => room,
        None => Watched::new(watching)?,
    };
    let alive = watched.monitor(env, watching.pid);
    watched
        .place()
        .watched
        .fetch_add(u32::from(alive), Ordering::Relaxed);
    let owned = alive.then(|| watched.share());
    *shared = Some(watched);
    owned
}

unsafe extern "C" fn down(
    env: *mut ErlNifEnv,
    place: *mut c_void,
    pid: *const ErlNifPid,
    _: *const ErlNifMonitor,
) {
    // SAFETY: written by `Watched::new` before a monitor was set; and the VM says who died.
    let (mut watching, pid) = unsafe { ((*place.cast::<Place>()).watching, Pid::from_raw(pid)) };
    watching.pid = pid;
    guard::callback(Entry::Down, env, || match watching.role {
        Role::Owner => registry::owner_died(env, watching),
        Role::Holder => instance::holder_died(watching),
        Role::Watcher(watch) => registry::watcher_died(watching, watch),
        Role::File(file) => store::owner_died(file),
        Role::Exporters(exporters) => exporting::owner_died(exporters),
        Role::Caller(cell) => pool::caller_died(env, cell, watching),
        Role::Worker(cell) => pool_life::worker_died(env, cell, watching),
        Role::Trial(cell) => breaker::owner_died(cell, watching),
        #[cfg(feature = "faults")]
        Role::Fault(fault) => crate::fault::in_down(fault),
    });
}

unsafe extern "C" fn destructor(env: *mut ErlNifEnv, place: *mut c_void) {
    // SAFETY: as in `down`.
    let watching = unsafe { (*place.cast::<Place>()).watching };
    guard::callback(Entry::Destructor, env, || match watching.role {
        #[cfg(feature = "faults")]
        Role::Fault(fault) => crate::fault::in_destructor(fault),
        _ => {}
    });
}
