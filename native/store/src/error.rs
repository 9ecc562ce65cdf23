//! What can go wrong, each with its data and with what to do about it.

use std::any::Any;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::record::Damage;

/// Why the store could not do what was asked. It can be cloned, as one failed commit is told to everyone in its batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{} is in use by another instance or process; give each instance a path of its own, or stop the other one",
        place.display()
    )]
    Locked { place: PathBuf },

    #[error(
        "cannot write to {}: {source}; give this user write access to the file and its folder, or choose another path",
        place.display()
    )]
    ReadOnly { place: PathBuf, source: Arc<io::Error> },

    #[error(
        "no space left for {}: {source}; free some or raise the quota, the store tries again by itself",
        place.display()
    )]
    DiskFull { place: PathBuf, source: Arc<io::Error> },

    #[error(
        "{} is damaged or no store: {detail}; restore it from a backup, or have it set aside to begin with an empty one",
        place.display()
    )]
    Corrupt { place: PathBuf, detail: String },

    #[error(
        "{} has database format {version}, which this version cannot read; open it with the version that wrote it, or \
         choose another path",
        place.display()
    )]
    Format { place: PathBuf, version: u8 },

    #[error(
        "the snapshot is damaged: {damage}; set its key aside to begin afresh, its bytes are kept in quarantine"
    )]
    Damaged { damage: Damage },

    #[error("a {what} of {bytes} bytes is over the limit of {max}; make it smaller or raise the limit")]
    TooLarge {
        what: &'static str,
        bytes: usize,
        max: usize,
    },

    #[error(
        "{pending} of {max} bytes wait for the disk already; try again later, write less often, or raise the limit"
    )]
    Busy { pending: usize, max: usize },

    #[error("the store is closed; open it again to use it")]
    Closed,

    #[error(
        "closed with {keys} snapshots not written: {source}; they are lost unless their owners write them elsewhere"
    )]
    Unsaved { keys: usize, source: Box<StoreError> },

    #[error("still writing after {} ms; wait for the disk, the file stays locked until the writer ends", waited.as_millis())]
    Unfinished { waited: Duration },

    #[error(
        "the writer gave this up in a panic, which was reported; whether it is on disk is not known: write it again"
    )]
    Abandoned,

    #[error("cannot use {}: {source}; check the disk and its mount, the store tries again by itself", place.display())]
    Io { place: PathBuf, source: Arc<io::Error> },
}

impl StoreError {
    /// The kind of failure as one word, from a closed list: for callers that map it to names of their own.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "locked",
            Self::ReadOnly { .. } => "read_only",
            Self::DiskFull { .. } => "disk_full",
            Self::Corrupt { .. } => "corrupt",
            Self::Format { .. } => "format",
            Self::Damaged { .. } => "damaged",
            Self::TooLarge { .. } => "too_large",
            Self::Busy { .. } => "busy",
            Self::Closed => "closed",
            Self::Unsaved { .. } => "unsaved",
            Self::Unfinished { .. } => "unfinished",
            Self::Abandoned => "abandoned",
            Self::Io { .. } => "io",
        }
    }

    pub(crate) fn from_io(place: &Path, error: io::Error) -> Self {
        let (place, kind) = (place.to_path_buf(), error.kind());
        let source = Arc::new(error);
        match kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::DiskFull { place, source }
            }
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Self::ReadOnly { place, source },
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Self::Corrupt {
                place,
                detail: source.to_string(),
            },
            _ => Self::Io { place, source },
        }
    }

    pub(crate) fn from_redb(place: &Path, error: impl Into<redb::Error>) -> Self {
        use redb::Error::{Corrupted, DatabaseAlreadyOpen, Io, LockProtocolMismatch, UpgradeRequired};
        match error.into() {
            Io(error) => Self::from_io(place, error),
            DatabaseAlreadyOpen | LockProtocolMismatch => Self::Locked {
                place: place.to_path_buf(),
            },
            UpgradeRequired(version) => Self::Format {
                place: place.to_path_buf(),
                version,
            },
            Corrupted(detail) => Self::Corrupt {
                place: place.to_path_buf(),
                detail,
            },
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => Self::Corrupt {
                place: place.to_path_buf(),
                detail: error.to_string(),
            },
            error => Self::Io {
                place: place.to_path_buf(),
                source: Arc::new(io::Error::other(error.to_string())),
            },
        }
    }

    /// redb panics on some pages that are not what it wrote.
    pub(crate) fn from_panic(place: &Path, panic: &(dyn Any + Send)) -> Self {
        Self::Corrupt {
            place: place.to_path_buf(),
            detail: panic_text(panic).to_owned(),
        }
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "a panic without a message",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_of(kind: ErrorKind) -> &'static str {
        StoreError::from_io(Path::new("p"), io::Error::from(kind)).reason()
    }

    #[test]
    fn tells_kinds_of_io_errors_apart() {
        assert_eq!(reason_of(ErrorKind::StorageFull), "disk_full");
        assert_eq!(reason_of(ErrorKind::QuotaExceeded), "disk_full");
        assert_eq!(reason_of(ErrorKind::ReadOnlyFilesystem), "read_only");
        assert_eq!(reason_of(ErrorKind::PermissionDenied), "read_only");
        assert_eq!(reason_of(ErrorKind::UnexpectedEof), "corrupt");
        assert_eq!(reason_of(ErrorKind::TimedOut), "io");
    }

    #[test]
    fn names_the_place_and_the_remedy() {
        let text = StoreError::Locked {
            place: PathBuf::from("/data/agents.redb"),
        }
        .to_string();
        assert!(
            text.contains("/data/agents.redb") && text.contains("path of its own"),
            "{text}"
        );
    }

    #[test]
    fn finds_the_text_of_both_kinds_of_panic() {
        assert_eq!(panic_text(&"plain"), "plain");
        assert_eq!(panic_text(&String::from("formatted")), "formatted");
        assert_eq!(panic_text(&7_u8), "a panic without a message");
    }
}
