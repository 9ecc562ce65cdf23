//! The BEAM as the core's registry sees it: who lives, who is watched, and who is told.

use kantoku_core::registry::{self, Holding, Told, What};
use rustler::sys::ErlNifEnv;
use rustler::{Encoder, Env, Term};

use crate::beam::{self, Message, Pid};
use crate::errand::Errand;
use crate::owner::{self, Role, Watched, Watching};
use crate::state::{Opened, state};
use crate::terms::Bags;
use crate::{atoms, key};

/// One call's view. Not kept beyond it.
#[derive(Debug)]
pub struct World {
    env: *mut ErlNifEnv,
    opened: Opened,
}

/// What is kept of a watch.
#[derive(Debug)]
pub struct Watcher {
    pub id: u64,
    pub pid: Pid,
    /// The reference that its messages carry.
    pub reference: Message,
    /// Ends with the watch.
    pub _monitor: Watched,
}

// SAFETY: the reference's environment belongs to the watcher and is only read while it is shared.
unsafe impl Sync for Watcher {}

impl World {
    pub fn new(env: Env<'_>, opened: Opened) -> Self {
        Self {
            env: env.as_c_arg(),
            opened,
        }
    }

    /// In a callback of the VM.
    pub fn in_callback(env: *mut ErlNifEnv, opened: Opened) -> Self {
        Self { env, opened }
    }

    /// On a thread that is not a scheduler.
    pub fn on_thread(opened: Opened) -> Self {
        Self {
            env: std::ptr::null_mut(),
            opened,
        }
    }
}

impl registry::World for World {
    type Terms = Bags;
    type Handle = Watched;
    type Watcher = Watcher;

    #[inline]
    fn alive(&self, pid: u64) -> bool {
        Pid(pid).is_alive(self.env)
    }

    fn monitor(&self, pid: u64, shared: &mut Option<Watched>) -> Option<Watched> {
        let Opened { shell, generation } = self.opened;
        let watching = Watching {
            place: shell.place,
            generation,
            pid: Pid(pid),
            role: Role::Owner,
        };
        owner::watch_together(self.env, watching, shared)
    }

    // The ledger is held, so errands are noted in the order of the changes (R6), and one thread sends them.
    fn tell(&mut self, told: Told<'_, Bags, Watcher>) {
        let message = Message::build(|env| change(env, &told));
        state().errand(Errand::Tell {
            to: told.watcher.pid,
            message,
        });
    }
}

fn change<'a>(env: Env<'a>, told: &Told<'_, Bags, Watcher>) -> Term<'a> {
    let what = match told.what {
        What::Join => atoms::join(),
        What::Change => atoms::change(),
        What::Leave => atoms::leave(),
    };
    let key = key::show(told.key, told.terms, env);
    let about = match told.what {
        What::Leave => beam::tuple(
            env,
            &[
                key,
                Pid(told.holding.pid).term(env),
                told.holding.incarnation.encode(env),
            ],
        ),
        _ => record(env, key, told.terms, told.holding, told.load),
    };
    let reference = told.watcher.reference.show(env);
    beam::tuple(
        env,
        &[
            beam::atom(env, atoms::kantoku_watch()),
            reference,
            beam::atom(env, what),
            about,
        ],
    )
}

/// `{key, pid, value, attributes, load, incarnation}`
pub fn record<'a>(env: Env<'a>, key: Term<'a>, terms: &Bags, holding: &Holding<Bags>, load: u64) -> Term<'a> {
    let attributes = match &holding.described {
        Some(described) => terms.show(&described.attributes, env),
        None => rustler::types::map::map_new(env),
    };
    let value = terms.show(&holding.value, env);
    let pid = Pid(holding.pid).term(env);
    beam::tuple(
        env,
        &[
            key,
            pid,
            value,
            attributes,
            load.encode(env),
            holding.incarnation.encode(env),
        ],
    )
}
