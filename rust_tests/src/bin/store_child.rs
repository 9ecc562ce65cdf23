//! A process of its own for the tests of `store_files.rs`: `store_child hold|write|try PATH`.
//!
//! `hold` keeps the store open until its input ends, `write` writes until it is killed and names each acknowledged revision,
//! `try` says how opening and writing went.

use std::io::{self, Read, Write};
use std::time::Duration;

use kantoku_rust_tests::store::put_sync;
use kantoku_store::{Options, Store, StoreError};

fn main() -> Result<(), StoreError> {
    let mut arguments = std::env::args().skip(1);
    let (what, path) = (
        arguments.next().expect("what to do"),
        arguments.next().expect("a path"),
    );
    match what.as_str() {
        "hold" => hold(&path)?,
        "write" => write(&path)?,
        "try" => say(try_out(&path).map_or_else(|error| error.reason(), |()| "written")),
        other => panic!("hold, write or try, not {other}"),
    }
    Ok(())
}

fn hold(path: &str) -> Result<(), StoreError> {
    let store = Store::open(path, Options::default())?;
    say("open");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("input can be read");
    store.close(Duration::from_secs(10))
}

fn write(path: &str) -> Result<(), StoreError> {
    let store = Store::open(path, Options::default())?;
    let first = store
        .get(b"key")?
        .map_or(0, |snapshot| snapshot.revision.revision);
    for revision in first + 1.. {
        put_sync(&store, b"key", revision, revision.to_string().as_bytes())?;
        say(&revision.to_string());
    }
    Ok(())
}

fn try_out(path: &str) -> Result<(), StoreError> {
    let store = Store::open(path, Options::default())?;
    put_sync(&store, b"key", 1, b"state")?;
    store.close(Duration::from_secs(10))
}

fn say(word: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{word}")
        .and_then(|()| out.flush())
        .expect("someone listens");
}
