//! ∀ entry e: committed(e) ⇒ |{ voter with e on its disk }| > voters / 2; acknowledged(e, s) ⇒ e on
//! the disk of s — Raft §5.3, §3.8 of the thesis (a server writes before it answers).
//!
//! Invariants
//! - durable is what a power failure at that very moment would leave.
use drover_core::raft::Position;
use drover_core::types::Index;

use super::Verdict;

/// A server said that the entry at `at` is committed; `holding` of `voters` disks hold it.
///
/// # Errors
/// Fewer than a quorum hold it.
pub fn check_committed(at: Position, holding: usize, voters: usize) -> Verdict {
    if voters / 2 < holding {
        return Ok(());
    }
    Err(format!(
        "entry {}/{} is called committed and is on {holding} of {voters} disks",
        at.term.0, at.index.0
    ))
}

/// A server acknowledged everything up to `acknowledged`; its disk ends at `durable`.
///
/// # Errors
/// It acknowledged more than it would find after a power failure.
pub fn check_acknowledged(acknowledged: Index, durable: Index) -> Verdict {
    if acknowledged <= durable {
        return Ok(());
    }
    Err(format!("index {} is acknowledged, the disk ends at {}", acknowledged.0, durable.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_core::types::Term;

    #[test]
    fn it_fires_when_a_minority_of_disks_holds_a_committed_entry() {
        let at = Position { term: Term(1), index: Index(7) };
        assert_eq!(check_committed(at, 2, 3), Ok(()));
        assert!(check_committed(at, 1, 3).is_err());
        assert!(check_committed(at, 2, 4).is_err());
    }

    #[test]
    fn it_fires_when_more_is_acknowledged_than_is_on_disk() {
        assert_eq!(check_acknowledged(Index(4), Index(4)), Ok(()));
        assert!(check_acknowledged(Index(5), Index(4)).is_err());
    }
}
