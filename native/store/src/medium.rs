//! Where a database lies: a file with the rights it should have, or what a test puts in its place.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};

const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_FOLDER: u32 = 0o700;

/// Opens the same database as often as it is asked: after a failed write a database can only be used again anew.
pub trait Medium: fmt::Debug + Send + Sync + 'static {
    /// What it is called in errors.
    fn place(&self) -> &Path;

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
        builder.create_with_backend(FileBackend::new(private_file(&self.path)?)?)
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        set_aside_file(&self.path)
    }
}

/// Renames a database that nobody has open to `<name>.corrupt-<n>`, with the first `n` that is free, and answers that name.
pub fn set_aside_file(path: &Path) -> io::Result<PathBuf> {
    let mut names = (1_u64..).map(|n| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".corrupt-{n}"));
        PathBuf::from(name)
    });
    let free = names
        .find(|name| fs::symlink_metadata(name).is_err())
        .expect("2^64 names are not all taken");
    fs::rename(path, &free)?;
    sync_folder(path)?;
    Ok(free)
}

fn private_file(path: &Path) -> io::Result<File> {
    make_folder(path)?;
    let is_new = !path.exists();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OWNER_ONLY)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 & !OWNER_ONLY != 0 {
        file.set_permissions(fs::Permissions::from_mode(OWNER_ONLY))?;
    }
    if is_new {
        sync_folder(path)?;
    }
    Ok(file)
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
