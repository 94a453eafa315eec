//! What the disk said no to, with the path and what the operator can do next.
use std::io;
use std::path::{Path, PathBuf};

use drover_core::types::Index;
use drover_core::wal::{Corruption, Damage, Fault};

/// Why the agent's storage cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(
        "{} is in use by another drover agent ({holder}): stop it, or give this one a \
         `data_dir` of its own", path.display()
    )]
    Locked { path: PathBuf, holder: String },
    #[error("no space for {}: free some on its file system, then start the agent again", path.display())]
    Full { path: PathBuf },
    #[error(
        "not allowed to use {}: give the agent's user the right to write there, and see that the \
         file system is not mounted read-only ({source})", path.display()
    )]
    Denied { path: PathBuf, source: io::Error },
    #[error("{}", corrupt_text(file, corruption))]
    Corrupt { file: PathBuf, corruption: Corruption },
    #[error(
        "{}, and no other on this disk makes up for it. While a majority of the other servers runs, \
         move the data directory away and start this one again: it joins them as a new server",
        self.cause()
    )]
    SnapshotDamaged { path: PathBuf },
    #[error("the snapshot at index {} is no longer kept: ask for the newest one", index.0)]
    SnapshotGone { index: Index },
    #[error(
        "cannot {doing} {}: {source}; look at the kernel's log for errors of the disk, and do not \
         trust it until its cause is known", path.display()
    )]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
}

impl Failure {
    /// What `source` means for whoever must act, having tried to `doing` (a verb) `path`.
    pub(super) fn of(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, source }
            }
            _ => Self::Io { path, doing, source },
        }
    }

    /// What is wrong, without what to do about it.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Corrupt { file, corruption } => corrupt_cause(file, corruption),
            Self::SnapshotDamaged { path } => format!(
                "the snapshot {} is damaged: its content does not match the digest in its name",
                path.display()
            ),
            Self::Locked { .. }
            | Self::Full { .. }
            | Self::Denied { .. }
            | Self::SnapshotGone { .. }
            | Self::Io { .. } => self.to_string(),
        }
    }

    /// The same in the words of the log.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Full { .. } => Fault::Full,
            Self::Locked { .. }
            | Self::Denied { .. }
            | Self::Corrupt { .. }
            | Self::SnapshotDamaged { .. }
            | Self::SnapshotGone { .. }
            | Self::Io { .. } => Fault::Io,
        }
    }
}

fn corrupt_text(file: &Path, corruption: &Corruption) -> String {
    let data_dir = file.parent().and_then(Path::parent).unwrap_or(file).display();
    let next = match corruption.why {
        Damage::UnknownVersion => "start the newer version of drover that wrote it".to_owned(),
        Damage::Unreadable
        | Damage::Misdirected
        | Damage::Unchained
        | Damage::SegmentMissing
        | Damage::SegmentResized
        | Damage::Malformed => format!(
            "nothing was changed. While a majority of the other servers runs, move {data_dir} away \
             and start this one again: it joins them as a new server. A lone server needs a backup \
             of {data_dir} instead"
        ),
    };
    format!("{}; {next}", corrupt_cause(file, corruption))
}

fn corrupt_cause(file: &Path, corruption: &Corruption) -> String {
    let Corruption { offset, why, segment: _ } = corruption;
    format!("the write-ahead log is damaged: {} at byte {offset}: {why}", file.display())
}
