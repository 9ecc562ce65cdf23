//! Where a database lies: a file with the rights it should have, or what a test puts in its place.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};

const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_FOLDER: u32 = 0o700;
const UNFINISHED: &str = ".unfinished-";

/// Opens the same database as often as it is asked: after a failed write a database can only be used again anew.
pub trait Medium: fmt::Debug + Send + Sync + 'static {
    /// What it is called in errors.
    fn place(&self) -> &Path;

    /// Where there is none yet, it must come to be in one step: redb takes one whose making was cut short for damaged.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// Moves the damaged database out of the way, so that the next `open` finds none; answers where it is now.
    fn set_aside(&self) -> io::Result<PathBuf>;
}

/// A file that only its owner may read, in a folder that is made so if it is missing.
#[derive(Debug)]
pub(crate) struct FileMedium {
    path: PathBuf,
}

impl FileMedium {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
        }
    }
}

impl Medium for FileMedium {
    fn place(&self) -> &Path {
        &self.path
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        if !self.path.exists() {
            make_folder(&self.path)?;
            self.make(builder)?;
        } else if fs::metadata(&self.path)?.nlink() > 1 {
            // Who may not remove it can use the database all the same.
            drop(remove_second_name(&self.path));
        }
        builder.create_with_backend(FileBackend::new(private_file(&self.path, OpenOptions::new())?)?)
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        set_aside_file(&self.path)
    }
}

impl FileMedium {
    /// Makes an empty database beside the place where it belongs, and gives it its name when it is whole.
    fn make(&self, builder: &Builder) -> Result<(), DatabaseError> {
        remove_unfinished(&self.path)?;
        let unfinished = beside(&self.path, &format!("{UNFINISHED}{}", std::process::id()));
        let file = private_file(&unfinished, OpenOptions::new().create_new(true).clone())?;
        builder.create_with_backend(FileBackend::new(file)?)?.close()?;
        publish(&unfinished, &self.path)?;
        Ok(sync_folder(&self.path)?)
    }
}

/// Renames a database that nobody has open to `<name>.corrupt-<n>`, with the first `n` that is free, and answers that name.
pub fn set_aside_file(path: &Path) -> io::Result<PathBuf> {
    let mut names = (1_u64..).map(|n| beside(path, &format!(".corrupt-{n}")));
    let free = names
        .find(|name| fs::symlink_metadata(name).is_err())
        .expect("2^64 names are not all taken");
    fs::rename(path, &free)?;
    sync_folder(path)?;
    Ok(free)
}

fn private_file(path: &Path, mut options: OpenOptions) -> io::Result<File> {
    let file = options.read(true).write(true).mode(OWNER_ONLY).open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 & !OWNER_ONLY != 0 {
        file.set_permissions(fs::Permissions::from_mode(OWNER_ONLY))?;
    }
    Ok(file)
}

/// Left by processes that ended in the midst of making the database.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    unfinished(path)?.iter().try_for_each(fs::remove_file)
}

/// Left by a process that ended when the database had its name, and still the one that it was made under.
fn remove_second_name(path: &Path) -> io::Result<()> {
    let inode = fs::metadata(path)?.ino();
    for name in unfinished(path)? {
        if fs::symlink_metadata(&name).is_ok_and(|second| second.ino() == inode) {
            fs::remove_file(name)?;
        }
    }
    Ok(())
}

fn unfinished(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = beside(path, UNFINISHED);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder(path))? {
        let name = folder(path).join(entry?.file_name());
        if name
            .as_os_str()
            .as_bytes()
            .starts_with(prefix.as_os_str().as_bytes())
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Not by renaming, which would take the place of what another process has published meanwhile.
fn publish(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        Ok(()) => remove(unfinished),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => remove(unfinished),
        // A file system without hard links.
        Err(_) => fs::rename(unfinished, path),
    }
}

/// Whoever opened the database by its name may have been faster.
fn remove(unfinished: &Path) -> io::Result<()> {
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn make_folder(path: &Path) -> io::Result<()> {
    match folder(path) {
        folder if folder.is_dir() => Ok(()),
        folder => DirBuilder::new()
            .recursive(true)
            .mode(OWNER_ONLY_FOLDER)
            .create(folder),
    }
}

/// A file's name is only safe from a power cut when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
