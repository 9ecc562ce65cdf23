//! Files: who may read them, who holds them, and what is done with damaged ones.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use kantoku_rust_tests::store::{Folder, PATIENCE, flush, found, put_async, put_sync};
use kantoku_store::{OnCorrupt, Options, Store, set_aside_file};

const CHILD: &str = env!("CARGO_BIN_EXE_store_child");
const NOBODY: u32 = 65534;

fn open(path: &Path) -> Store {
    Store::open(path, Options::default()).expect("opens")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("is there").permissions().mode() & 0o777
}

#[test]
fn the_file_is_for_its_owner_alone_and_so_is_a_folder_that_was_made_for_it() {
    let folder = Folder::new();
    let path = folder.join("made/for it/agents.redb");
    let store = open(&path);
    put_sync(&store, b"key", 1, b"state").expect("is written");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.join("made/for it")), 0o700);
    assert_eq!(mode(&folder.join("made")), 0o700);
}

#[test]
fn a_file_that_others_could_read_is_closed_to_them() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    open(&path).close(PATIENCE).expect("closes");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("is ours");
    let store = open(&path);
    assert_eq!(mode(&path), 0o600);
    drop(store);
}

#[test]
fn what_was_closed_is_there_when_it_is_opened_again() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    let store = open(&path);
    put_async(&store, b"key", 3, b"state").expect("is accepted");
    store.close(PATIENCE).expect("closes");
    assert_eq!(found(&open(&path), b"key"), Some((3, b"state".to_vec())));
}

#[test]
fn a_second_instance_is_told_that_the_file_is_in_use() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    let store = open(&path);
    let error = Store::open(&path, Options::default()).expect_err("is in use");
    assert_eq!(error.reason(), "locked");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    put_sync(&store, b"key", 1, b"state").expect("the first one goes on");
    store.close(PATIENCE).expect("closes");
    put_sync(&open(&path), b"key", 2, b"state").expect("is free again");
}

#[test]
fn another_process_is_told_that_the_file_is_in_use() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    let mut holder = Running::start("hold", &path);
    assert_eq!(holder.line().as_deref(), Some("open"));
    assert_eq!(
        Store::open(&path, Options::default())
            .expect_err("is in use")
            .reason(),
        "locked"
    );
    assert_eq!(Running::start("try", &path).line().as_deref(), Some("locked"));
    holder.kill();
    put_sync(&open(&path), b"key", 1, b"state").expect("is free when its holder is dead");
}

#[test]
fn a_folder_and_a_file_that_may_not_be_written_are_told_as_such() {
    let folder = Folder::new();
    let child = for_everyone(&folder);
    let closed = folder.join("closed");
    fs::create_dir(&closed).expect("is ours");
    let path = closed.join("agents.redb");
    open(&path).close(PATIENCE).expect("closes");
    fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("is ours");
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).expect("is ours");
    assert_eq!(unprivileged(&child, &folder, &path), "read_only");
    assert_eq!(
        unprivileged(&child, &folder, &closed.join("new.redb")),
        "read_only"
    );
    assert_eq!(
        unprivileged(&child, &folder, &closed.join("new folder/new.redb")),
        "read_only"
    );
    fs::set_permissions(&closed, Permissions::from_mode(0o755)).expect("is ours");
}

#[test]
fn a_damaged_file_is_refused_and_left_alone_by_default() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    fs::write(&path, b"this is no database ".repeat(1000)).expect("is ours");
    let error = Store::open(&path, Options::default()).expect_err("is no store");
    assert_eq!(error.reason(), "corrupt", "{error}");
    assert!(
        fs::read(&path)
            .expect("is there")
            .starts_with(b"this is no database")
    );
}

#[test]
fn a_damaged_file_is_set_aside_under_the_first_free_name_where_that_is_asked_for() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    fs::write(folder.join("agents.redb.corrupt-1"), b"an earlier one").expect("is ours");
    fs::write(&path, b"this is no database ".repeat(1000)).expect("is ours");
    let options = Options {
        on_corrupt: OnCorrupt::SetAside,
        ..Options::default()
    };
    let store = Store::open(&path, options).expect("opens an empty one");
    assert_eq!(store.set_aside_files(), [folder.join("agents.redb.corrupt-2")]);
    assert!(
        fs::read(folder.join("agents.redb.corrupt-2"))
            .expect("is there")
            .starts_with(b"this is")
    );
    assert_eq!(
        fs::read(folder.join("agents.redb.corrupt-1")).expect("is there"),
        b"an earlier one"
    );
    put_sync(&store, b"key", 1, b"state").expect("is written");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_file_cut_short_is_found_damaged_at_any_length() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    let store = open(&path);
    for n in 0..100_u64 {
        put_async(&store, &n.to_le_bytes(), 1, &[n as u8; 2000]).expect("is accepted");
    }
    store.close(PATIENCE).expect("closes");
    let whole = fs::read(&path).expect("is there");
    for length in [1, 100, 512, 4096, 5000, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("is ours");
        let error = Store::open(&path, Options::default()).expect_err("is cut short");
        assert_eq!(error.reason(), "corrupt", "at {length}: {error}");
    }
}

#[test]
fn a_file_is_set_aside_by_hand_too() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    put_sync(&open(&path), b"key", 1, b"state").expect("is written");
    let name = set_aside_file(&path).expect("is ours");
    assert_eq!(name, folder.join("agents.redb.corrupt-1"));
    assert!(!path.exists() && name.exists());
    assert!(set_aside_file(&path).is_err(), "there is nothing left");
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    let mut last = 0;
    for round in 1..=10 {
        let mut writer = Running::start("write", &path);
        let acknowledged = (0..round * 3)
            .filter_map(|_| writer.line())
            .last()
            .expect("writes until it is killed");
        writer.kill();
        let rest = std::iter::from_fn(|| writer.line()).last();
        let acknowledged: u64 = rest.unwrap_or(acknowledged).parse().expect("is a revision");
        let store = open(&path);
        let (revision, bytes) = found(&store, b"key").expect("was written");
        assert!(
            revision >= acknowledged && acknowledged > last,
            "{revision}, {acknowledged}, {last}"
        );
        assert_eq!(bytes, revision.to_string().into_bytes());
        last = revision;
        flush(&store).expect("goes on");
        store.close(PATIENCE).expect("closes");
    }
}

#[test]
fn a_process_killed_while_it_makes_a_store_leaves_one_or_none() {
    let folder = Folder::new();
    for pause in 0..40 {
        let path = folder.join(&format!("{pause}.redb"));
        let mut maker = Running::start("try", &path);
        // Not waiting for anything: some of these moments lie in the midst of the making.
        std::thread::sleep(Duration::from_micros(pause * 250));
        maker.kill();
        let store = open(&path);
        put_sync(&store, b"key", 1, b"state").expect("is written");
    }
}

#[test]
fn what_others_left_unfinished_is_removed_when_the_store_is_made() {
    let folder = Folder::new();
    let (left, foreign) = (
        folder.join("agents.redb.unfinished-1"),
        folder.join("agents.redb.old"),
    );
    fs::write(&left, b"half of it").expect("is ours");
    fs::write(&foreign, b"not ours to remove").expect("is ours");
    drop(open(&folder.join("agents.redb")));
    assert!(!left.exists() && foreign.exists());
}

#[test]
fn a_second_name_that_a_killed_maker_left_is_removed_when_the_store_is_opened() {
    let folder = Folder::new();
    let path = folder.join("agents.redb");
    open(&path).close(Duration::from_secs(5)).expect("writes");
    let left = folder.join("agents.redb.unfinished-1");
    let foreign = folder.join("agents.redb.unfinished-2");
    fs::hard_link(&path, &left).expect("is ours");
    fs::write(&foreign, b"another maker's").expect("is ours");
    let store = open(&path);
    assert!(!left.exists() && foreign.exists());
    store.close(Duration::from_secs(5)).expect("writes");
}

/// A child that does not outlive its test.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(what: &str, path: &Path) -> Self {
        let mut command = Command::new(CHILD);
        Self::spawn(command.arg(what).arg(path))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let output = child.stdout.take().expect("was piped");
        Self {
            child,
            lines: BufReader::new(output).lines(),
        }
    }

    fn line(&mut self) -> Option<String> {
        self.lines.next().map(|line| line.expect("is text"))
    }

    fn kill(&mut self) {
        self.child.kill().expect("is ours");
        self.child.wait().expect("ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A copy of the child that every user may run.
fn for_everyone(folder: &Folder) -> PathBuf {
    let copy = folder.join("store_child");
    fs::copy(CHILD, &copy).expect("is ours");
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("is ours");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("is ours");
    copy
}

/// What the child says to a path; it runs as nobody in particular if we are root, whom no permission stops.
fn unprivileged(child: &Path, folder: &Folder, path: &Path) -> String {
    let mut command = Command::new(child);
    command.arg("try").arg(path).current_dir(folder.path());
    if fs::metadata(folder.path()).expect("is ours").uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    Running::spawn(&mut command).line().expect("says something")
}
