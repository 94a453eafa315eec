//! The lock on a data directory.
//!
//! Invariants
//! - the kernel frees the lock when its holder ends, however it ends.
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::Failure;

/// While this lives, no other agent opens the data directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Take the lock of `data_dir`, or say who holds it.
    ///
    /// # Errors
    /// If another agent holds it, or the disk refuses.
    pub fn take(data_dir: &Path) -> Result<Self, Failure> {
        let path = data_dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Failure::of(&path, "open", source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Only for the message: an unreadable file is an unnamed holder.
                file.read_to_string(&mut holder).ok();
                return Err(Failure::Locked {
                    path: data_dir.to_path_buf(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(errno) => return Err(Failure::of(&path, "lock", errno.into())),
        }
        let name = format!("process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(name.as_bytes()))
            .map_err(|source| Failure::of(&path, "write", source))?;
        Ok(Self { _file: file })
    }
}
