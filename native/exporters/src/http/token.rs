//! The word that opens the door: from an option, or from a file that only its owner may read. Never shown.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// What a request has to bring.
#[derive(Clone)]
pub struct Token(Box<[u8]>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(
        "a token is of {LEAST} to {MOST} visible characters of ASCII; make one by `openssl rand -hex 32`"
    )]
    Unfit,
    #[error(
        "others may read the token file {} (mode {mode:o}): run `chmod 600` on it, and have a new token in it if others saw it",
        path.display()
    )]
    Readable { path: PathBuf, mode: u32 },
    #[error(
        "the token file {} is {what}: choose another by `token_file`",
        path.display()
    )]
    Foreign { path: PathBuf, what: &'static str },
    #[error("the admin's token is the one of who may only read: have two")]
    Same,
    #[error("the token file {} holds no token: {}", path.display(), TokenError::Unfit)]
    Empty { path: PathBuf },
    #[error(
        "the token file {} can be neither read nor made: {source}; choose another by `token_file`, or give a `token`",
        path.display()
    )]
    Unreadable { path: PathBuf, source: io::Error },
}

const LEAST: usize = 16;
const MOST: usize = 512;

impl Token {
    /// A token of sixteen characters or more that a header can carry.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let fits = (LEAST..=MOST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(Self(text.as_bytes().into()))
        } else {
            Err(TokenError::Unfit)
        }
    }

    /// The token of a file. Where there is none it is made, with `fresh` in it, for its owner alone.
    pub fn of_file(path: &Path, fresh: &str) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable {
            path: path.to_owned(),
            source,
        };
        match make(path, fresh) {
            Ok(()) => Self::new(fresh),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let file = waiting_for_nobody(OpenOptions::new().read(true))
                    .open(path)
                    .map_err(unreadable)?;
                private(path, &file)?;
                let mut text = String::new();
                file.take(MOST as u64 * 2)
                    .read_to_string(&mut text)
                    .map_err(unreadable)?;
                Self::new(text.trim()).map_err(|_| TokenError::Empty {
                    path: path.to_owned(),
                })
            }
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Whether another one is the same.
    pub fn is_that(&self, other: &Self) -> bool {
        self.is(&other.0)
    }

    /// Whether these are its bytes. Takes as long for all that are given, however many of them are right.
    pub fn is(&self, given: &[u8]) -> bool {
        let own = &*self.0;
        let differs = given
            .iter()
            .zip(own.iter().cycle())
            .fold(own.len() ^ given.len(), |differs, (given, own)| {
                black_box(differs | usize::from(given ^ own))
            });
        differs == 0
    }
}

// Nobody may read it from the moment at which it is there; and of two who make it one does.
fn make(path: &Path, fresh: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        own(DirBuilder::new().recursive(true)).create(folder)?;
    }
    let mut file = owned(OpenOptions::new().write(true).create_new(true)).open(path)?;
    writeln!(file, "{fresh}")?;
    file.sync_all()
}

#[cfg(unix)]
fn own(builder: &mut DirBuilder) -> &mut DirBuilder {
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700)
}

#[cfg(unix)]
fn owned(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

// A pipe in its place would be opened when somebody writes to it.
#[cfg(unix)]
fn waiting_for_nobody(options: &mut OpenOptions) -> &mut OpenOptions {
    let at_once = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, at_once)
}

// Asked of the open file, so that it cannot be changed for another in between.
#[cfg(unix)]
fn private(path: &Path, file: &File) -> Result<(), TokenError> {
    use std::os::unix::fs::MetadataExt;

    let path = path.to_owned();
    let found = match file.metadata() {
        Ok(found) => found,
        Err(source) => return Err(TokenError::Unreadable { path, source }),
    };
    let mode = found.mode() & 0o777;
    if !found.is_file() {
        let what = "no regular file";
        Err(TokenError::Foreign { path, what })
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        // Whoever has it knows what is in it.
        let what = "somebody else's";
        Err(TokenError::Foreign { path, what })
    } else if mode & 0o077 != 0 {
        Err(TokenError::Readable { path, mode })
    } else {
        Ok(())
    }
}

#[cfg(not(unix))]
fn own(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder
}

#[cfg(not(unix))]
fn owned(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(not(unix))]
fn waiting_for_nobody(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

// Other systems have no modes; the file stands in the user's own folder.
#[cfg(not(unix))]
fn private(_path: &Path, _file: &File) -> Result<(), TokenError> {
    Ok(())
}
