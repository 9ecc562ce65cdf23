#![forbid(unsafe_code)]
//! Durable snapshots: bytes under keys, on redb. Knows nothing of agents.
//!
//! Of each key the store keeps the last snapshot, by incarnation and then revision. One thread writes: it gathers what
//! was accepted, newest first for each key, and commits it in one transaction with one sync of the file.
//!
//! # What is kept, and what is not
//!
//! - A `Sync` call that was answered with `Ok` is on disk: that snapshot, or a newer one, is there after the process was
//!   killed or the power was cut, as far as the disk keeps what it says it synced.
//! - An `Async` call is accepted into memory. It survives a failed commit, which is tried again, and a full disk that is
//!   freed later. It does not survive the process: what was accepted since the last commit, [`GroupCommit::async_window`]
//!   at most while the disk follows, is lost with a power cut or a kill.
//! - An older snapshot never takes the place of a newer one, in whatever order they are written; the comparison is part of
//!   the transaction. Only `delete` makes room for older ones.
//! - A `Sync` call that was answered with an error is not known to be on disk. It is not tried again (see
//!   [`Durability::Sync`]), but where the disk failed at the very end of a commit it may be found there after all.
//! - A key's snapshot is replaced as a whole or not at all. Snapshots of different keys that were accepted together may
//!   be in different commits.
//! - Every value carries a checksum over key, revision and bytes. A damaged one is answered as [`StoreError::Damaged`] and
//!   goes to a quarantine rather than away.
//!
//! # What goes wrong, and what happens then
//!
//! The database is opened anew after every failure, so that reads go on; writing is tried again with a growing delay.
//! While `max_pending_bytes` wait, new calls are answered [`StoreError::Busy`]. A panic in redb is a failed commit or
//! read; one in a completion is reported to `on_panic` and ends there. [`Options::on_turn`] is told when it begins to
//! fail, when that is over, and of a file that was set aside.
//!
//! ```
//! use kantoku_store::{Durability, Options, Revision, Store, Ticket};
//! use std::time::Duration;
//!
//! # let folder = std::env::temp_dir().join(format!("kantoku-doc-{}", std::process::id()));
//! # let path = folder.join("agents.redb");
//! let store = Store::open(&path, Options::default())?;
//! let (done, ticket) = Ticket::new();
//! store.put(b"agent-7", Revision::new(1, 42), b"its state", Durability::Sync, done)?;
//! ticket.wait(Duration::from_secs(5)).expect("the disk answers")?;
//! assert_eq!(store.get(b"agent-7")?.expect("was put").bytes, b"its state");
//! store.close(Duration::from_secs(5))?;
//! # std::fs::remove_dir_all(folder).expect("is ours");
//! # Ok::<(), kantoku_store::StoreError>(())
//! ```

mod change;
mod checksum;
mod completion;
mod connection;
mod disk;
mod error;
mod medium;
mod options;
mod pending;
mod queue;
mod record;
mod stats;
mod store;
mod turn;
mod writer;

pub use completion::{Completion, Outcome, PanicHook, Ticket, unwatched};
pub use disk::Quarantined;
pub use error::StoreError;
pub use medium::{Medium, set_aside_file};
pub use options::{Backoff, GroupCommit, OnCorrupt, Options};
pub use record::{Damage, Revision, Snapshot};
/// For implementing [`Medium`].
pub use redb;
pub use stats::Stats;
pub use store::{Durability, KeyPage, MAX_KEY_BYTES, Store};
pub use turn::{Doing, Turn, TurnHook};
