//! Damaged files out of the way: nothing of them is deleted, and nothing of them is read again.
//!
//! Invariants
//! - the log goes last: as long as it lies in its place, a start finds the damage again.
use std::fs;
use std::path::{Path, PathBuf};

use super::{Failure, Lock, files};

/// What is set aside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Damaged {
    /// The log; snapshots are whole.
    Log,
    /// The log reaches no whole snapshot: neither is of use without the other.
    LogAndSnapshots,
}

/// Move what is damaged below `<data_dir>/damaged`. Answers where it is now.
///
/// # Errors
/// If an agent uses the directory, or the disk refuses.
pub fn set_aside(data_dir: &Path, damaged: Damaged) -> Result<PathBuf, Failure> {
    let _lock = Lock::take(data_dir)?;
    let all = data_dir.join("damaged");
    files::make_dir(&all)?;
    let number = 1 + files::list(&all)?
        .iter()
        .filter_map(|(name, _)| name.parse::<u64>().ok())
        .max()
        .unwrap_or_default();
    let place = all.join(number.to_string());
    files::make_dir(&place)?;
    let names: &[&str] = match damaged {
        Damaged::Log => &["wal"],
        Damaged::LogAndSnapshots => &["snapshots", "wal"],
    };
    for name in names {
        let from = data_dir.join(name);
        match fs::rename(&from, place.join(name)) {
            Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::of(&from, "set aside", fault));
            }
            Ok(()) | Err(_) => (),
        }
        files::sync_dir(&place)?;
        files::sync_dir(data_dir)?;
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_twice_is_kept_twice() {
        let dir = tempfile::tempdir().unwrap();
        for round in ["first", "second"] {
            fs::create_dir(dir.path().join("wal")).unwrap();
            fs::write(dir.path().join("wal/1.segment"), round).unwrap();
            fs::create_dir_all(dir.path().join("snapshots")).unwrap();
            let place = set_aside(dir.path(), Damaged::Log).unwrap();
            assert_eq!(fs::read_to_string(place.join("wal/1.segment")).unwrap(), round);
            assert!(!dir.path().join("wal").exists());
            assert!(dir.path().join("snapshots").exists());
        }
        let place = set_aside(dir.path(), Damaged::LogAndSnapshots).unwrap();
        assert!(place.ends_with("damaged/3") && place.join("snapshots").exists());
    }
}
