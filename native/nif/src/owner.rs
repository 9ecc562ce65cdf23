//! Standing monitors: one resource for each process that an instance keeps something of.
//!
//! O1. `down` frees what belongs to the opening (place, generation) and process it was made for, and nothing else.
//! O2. The destructor touches no lock: it may run wherever the last reference goes.

use std::os::raw::c_void;
use std::ptr;
use std::sync::OnceLock;

use kantoku_core::sync::atomic::{AtomicPtr, Ordering};
use rustler::sys::{self, ErlNifEnv, ErlNifMonitor, ErlNifPid, ErlNifResourceFlags, ErlNifResourceType};

use crate::beam::Pid;
use crate::guard::{self, Entry};
use crate::{instance, registry, store};

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
    /// It shows that a panic in a callback is caught.
    #[cfg(feature = "faults")]
    Fault(crate::fault::Fault),
}

#[derive(Clone, Copy, Debug)]
pub struct Watching {
    pub place: u32,
    pub generation: u32,
    pub pid: Pid,
    pub role: Role,
}

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

/// Watches a process; `None` if it is dead.
pub fn watch(env: *mut ErlNifEnv, watching: Watching) -> Option<Watched> {
    let kind = KIND.get()?.load(Ordering::Acquire);
    // SAFETY: the type is registered; the memory has its size and is written before anything can read it, as the monitor
    // comes after. The reference of `enif_alloc_resource` becomes the returned one.
    unsafe {
        let place = sys::enif_alloc_resource(kind, size_of::<Watching>());
        if place.is_null() {
            return None;
        }
        place.cast::<Watching>().write(watching);
        let watched = Watched(place);
        let failed = watching
            .pid
            .with_raw(|pid| sys::enif_monitor_process(env, place, pid, ptr::null_mut()));
        (failed == 0).then_some(watched)
    }
}

unsafe extern "C" fn down(
    env: *mut ErlNifEnv,
    place: *mut c_void,
    _: *const ErlNifPid,
    _: *const ErlNifMonitor,
) {
    // SAFETY: written by `watch` before the monitor was set.
    let watching = unsafe { *place.cast::<Watching>() };
    guard::callback(Entry::Down, env, || match watching.role {
        Role::Owner => registry::owner_died(env, watching),
        Role::Holder => instance::holder_died(watching),
        Role::Watcher(watch) => registry::watcher_died(watching, watch),
        Role::File(file) => store::owner_died(file),
        #[cfg(feature = "faults")]
        Role::Fault(fault) => crate::fault::in_down(fault),
    });
}

unsafe extern "C" fn destructor(env: *mut ErlNifEnv, place: *mut c_void) {
    // SAFETY: as in `down`.
    let watching = unsafe { *place.cast::<Watching>() };
    guard::callback(Entry::Destructor, env, || match watching.role {
        #[cfg(feature = "faults")]
        Role::Fault(fault) => crate::fault::in_destructor(fault),
        _ => {}
    });
}
