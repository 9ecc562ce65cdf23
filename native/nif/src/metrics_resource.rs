//! What holds metrics for Erlang terms: a reference that ends with the last term.
//!
//! Q1. What a term refers to lives as long as the term, so whoever was called with one may borrow it for the call.

use std::os::raw::c_void;
use std::ptr;
use std::sync::OnceLock;

use kantoku_core::metrics::Recorder;
use kantoku_core::sync::Arc;
use kantoku_core::sync::atomic::{AtomicPtr, Ordering};
use rustler::sys::{self, ErlNifEnv, ErlNifResourceFlags, ErlNifResourceType};
use rustler::{Env, Term};

use crate::guard::{self, Entry};
use crate::metrics::Collection;

#[derive(Debug)]
pub enum Held {
    Collection(Arc<Collection>),
    Series(Arc<Recorder>),
}

static KIND: OnceLock<AtomicPtr<ErlNifResourceType>> = OnceLock::new();

/// Registers the resource type, or takes it over from an older build. In `load` and `upgrade` only.
pub fn register_kind(env: *mut ErlNifEnv) -> bool {
    let (create, take_over) = (
        ErlNifResourceFlags::ERL_NIF_RT_CREATE,
        ErlNifResourceFlags::ERL_NIF_RT_TAKEOVER,
    );
    let init = sys::ErlNifResourceTypeInit {
        dtor: destructor as *const sys::ErlNifResourceDtor,
        stop: ptr::null(),
        down: ptr::null(),
        members: 1,
        dyncall: ptr::null(),
    };
    let mut tried = create;
    [create, take_over].into_iter().any(|flags| {
        let name = c"kantoku_metrics".as_ptr();
        // SAFETY: in `load` or `upgrade`, with a destructor of the type that NIF 2.16 expects.
        let kind = unsafe { sys::enif_open_resource_type_x(env, name, &init, flags, &mut tried) };
        if !kind.is_null() {
            KIND.get_or_init(|| AtomicPtr::new(ptr::null_mut()))
                .store(kind.cast_mut(), Ordering::Release);
        }
        !kind.is_null()
    })
}

/// A term that holds this.
pub fn give(env: Env<'_>, held: Held) -> Option<Term<'_>> {
    let kind = KIND.get()?.load(Ordering::Acquire);
    // SAFETY: the type is registered; the memory has its size and alignment and is written before anything can read it. The reference
    // of `enif_alloc_resource` is given up once the term has its own.
    unsafe {
        let place = sys::enif_alloc_resource(kind, size_of::<Held>());
        if place.is_null() {
            return None;
        }
        place.cast::<Held>().write(held);
        let term = sys::enif_make_resource(env.as_c_arg(), place);
        sys::enif_release_resource(place);
        Some(Term::new(env, term))
    }
}

/// What a term holds (Q1); `None` if it is no such term.
#[inline]
pub fn held<'a>(term: &'a Term<'_>) -> Option<&'a Held> {
    // Acquire pairs with the release in `register_kind`.
    let kind = KIND.get()?.load(Ordering::Acquire);
    let mut place: *const c_void = ptr::null();
    // SAFETY: env and term belong together; on success the place is one of ours, written by `give`, and lives as long as the term.
    unsafe {
        let found = sys::enif_get_resource(term.get_env().as_c_arg(), term.as_c_arg(), kind, &mut place) != 0;
        found.then(|| &*place.cast::<Held>())
    }
}

unsafe extern "C" fn destructor(env: *mut ErlNifEnv, place: *mut c_void) {
    guard::callback(Entry::Destructor, env, || {
        // SAFETY: written by `give`, and nobody reads it any more (Q1).
        unsafe { place.cast::<Held>().drop_in_place() };
    });
}
