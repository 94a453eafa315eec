//! Servers made anew, while no agent runs: from the data of one survivor, or from a saved state.
//!
//! Either way the result is one snapshot of the state that names this server as the only voter, at an
//! index that leaps beyond anything that the lost log can have reached (`limits::RECOVERY_LEAP`), in a
//! term that leaps, too. The log that was there is left as it is: it lies below that snapshot, and the
//! next start drops it. So there is one durable step, the snapshot's appearance under its name: before
//! it nothing has changed, and after it all has.
//!
//! Invariants
//! - nothing is changed in a data directory that an agent uses;
//! - what one survivor had accepted is kept, committed or not; nobody is left who could say;
//! - no index, and so no id, is used twice.
//!
//! A server that was left out and comes back with its data is not heard by those that were made anew,
//! follows them once it hears them, and gets their state in place of its own. What a majority of such
//! servers does until then is lost: so they are to be emptied before they start.
use std::io;
use std::path::{Path, PathBuf};

use drover_core::agent::snapshot;
use drover_core::fsm;
use drover_core::limits::{RECOVERY_LEAP, RECOVERY_TERM_LEAP};
use drover_core::raft::{self, Configuration, Frame, Payload, Position, Raft};
use drover_core::rng::Rng;
use drover_core::state::State;
use drover_core::time::MonoTime;
use drover_core::types::{ClusterId, Index, ServerId, Term};
use drover_core::wal::Lane;

use crate::identity::{self, Identity};
use crate::start::{self, decode_state, newest_snapshot};
use crate::storage::{self, Snapshots, Storage};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{} is no data directory of a server: there is nothing in it", path.display())]
    NoData { path: PathBuf },
    #[error("{} is not empty: a state is restored into an empty data directory", path.display())]
    NotEmpty { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("record {seq} of the log cannot be read by this version ({why}): use the agent's own")]
    Unreadable { seq: u64, why: String },
    #[error(
        "the log begins at index {begins}, and the newest whole snapshot ends at {ends}: what lies \
         between is lost here. Recover from another server"
    )]
    Hole { begins: u64, ends: u64 },
    #[error("this server is the only voter already: start its agent")]
    Alone,
    #[error("the state is of no cluster: there is nothing in it to go on with")]
    NoCluster,
    #[error(transparent)]
    Start(#[from] start::Failure),
    #[error(transparent)]
    Storage(#[from] storage::Failure),
    #[error(transparent)]
    Identity(#[from] identity::Failure),
}

/// What is in a survivor's data directory. While it lives, no agent can start there.
#[derive(Debug)]
pub struct Survivor {
    pub server: ServerId,
    /// The newest configuration in the log.
    pub configuration: Configuration,
    pub term: Term,
    pub last: Position,
    pub snapshot_index: Option<Index>,
    /// With every entry of the log applied.
    pub state: State,
    storage: Storage,
}

/// Where the log begins anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Anew {
    pub server: ServerId,
    pub cluster: ClusterId,
    pub position: Position,
}

impl Survivor {
    /// Locks `data_dir` and reads all that is in it.
    ///
    /// # Errors
    /// When an agent uses it, or what is in it is no base for a recovery.
    pub fn look(data_dir: &Path) -> Result<Self, Failure> {
        if !["wal", "snapshots"].iter().any(|name| data_dir.join(name).is_dir()) {
            return Err(Failure::NoData { path: data_dir.to_owned() });
        }
        let (storage, recovery) = Storage::open(data_dir)?;
        let server = Identity::begin(data_dir)?.server();
        let stored = newest_snapshot(&storage.snapshots(), &recovery.records)?;
        let (mark, mut state) = match stored {
            Some((mark, bytes)) => {
                let state = decode_state(mark.index.0, &bytes)?;
                (Some(mark), state)
            }
            None => (None, State::new()),
        };
        let snapshot_index = mark.as_ref().map(|mark| mark.index);
        let mut records = Vec::new();
        for (seq, _, bytes) in recovery.records.iter().filter(|(_, lane, _)| *lane == Lane::Raft) {
            let record = postcard::from_bytes::<raft::Record>(bytes);
            let unreadable =
                |why: postcard::Error| Failure::Unreadable { seq: seq.0, why: why.to_string() };
            records.push(record.map_err(unreadable)?);
        }
        let log = raft::Recovered::from_records(records, mark);
        let ends = state.index().0;
        let begins = log.frames.first().map_or(ends + 1, |frame| frame.first.0);
        if ends + 1 < begins {
            return Err(Failure::Hole { begins, ends });
        }
        let config = raft::Config::new(server);
        let raft = Raft::new(config, Rng::from_seed(0), log, MonoTime::default());
        for frame in raft.frames_from(state.index().next()) {
            fold(&mut state, frame)?;
        }
        let configuration = raft.configuration().clone();
        if state.cluster() == ClusterId::default() {
            return Err(Failure::NoCluster);
        }
        let (term, last) = (raft.term(), raft.last());
        Ok(Self { server, configuration, term, last, snapshot_index, state, storage })
    }

    /// The other servers of the configuration: they are left out.
    #[must_use]
    pub fn others(&self) -> Vec<ServerId> {
        let members = self.configuration.members();
        members.into_iter().filter(|&id| id != self.server).collect()
    }

    /// Whether nothing is to be done: it votes, and nobody else does.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.configuration == Configuration::new(&[self.server], &[])
    }

    /// From the next start on this server is the only voter.
    ///
    /// # Errors
    /// When it is already, or the disk refuses; nothing has changed then.
    pub fn go_alone(self) -> Result<Anew, Failure> {
        if self.is_alone() {
            return Err(Failure::Alone);
        }
        let last = Position { term: self.term, index: self.last.index };
        begin_anew(&self.storage.snapshots(), self.state, self.server, last)
    }
}

/// Makes `data_dir`, which is empty or not there, the data of a new server that is the only voter of
/// the cluster whose `state` this is, saved at `last`.
///
/// # Errors
/// When something is in the directory, or the disk refuses.
pub fn restore(data_dir: &Path, state: State, last: Position) -> Result<Anew, Failure> {
    if state.cluster() == ClusterId::default() {
        return Err(Failure::NoCluster);
    }
    let path = || data_dir.to_owned();
    let is_empty = match std::fs::read_dir(data_dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => true,
        Err(source) => return Err(Failure::Io { path: path(), source }),
    };
    if !is_empty {
        return Err(Failure::NotEmpty { path: path() });
    }
    let (storage, _) = Storage::open(data_dir)?;
    let mut identity = Identity::begin(data_dir)?;
    identity.join(state.cluster())?;
    begin_anew(&storage.snapshots(), state, identity.server(), last)
}

fn begin_anew(
    snapshots: &Snapshots,
    mut state: State,
    server: ServerId,
    last: Position,
) -> Result<Anew, Failure> {
    let index = Index(state.index().max(last.index).0 + RECOVERY_LEAP);
    let position = Position { term: Term(last.term.0 + RECOVERY_TERM_LEAP), index };
    state.pass(index);
    let configuration = Configuration::new(&[server], &[]);
    let bytes = snapshot::pack(position, &configuration, &state.encode());
    snapshots.write(index, &bytes)?;
    Ok(Anew { server, cluster: state.cluster(), position })
}

/// As the core does with a committed frame.
fn fold(state: &mut State, frame: &Frame) -> Result<(), Failure> {
    let mut changes = Vec::new();
    match &frame.payload {
        Payload::Noop | Payload::Configuration(_) => state.pass(frame.first),
        Payload::Commands { count, bytes } => {
            let mut index = frame.first;
            for entry in fsm::record::decode_batch(bytes, *count) {
                let entry = entry
                    .map_err(|why| Failure::Unreadable { seq: index.0, why: format!("{why:?}") })?;
                let _nobody_waits_for_it = fsm::apply(state, index, &entry, &mut changes);
                index = index.next();
            }
        }
    }
    let _the_next_start_cuts_anew = state.note_log_bytes(frame.cost_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use drover_core::fsm::{Command, Entry};
    use drover_core::time::WallTime;

    use super::*;

    fn founded() -> State {
        let mut state = State::new();
        let command = Command::Bootstrap { cluster: ClusterId(7) };
        let entry = Entry { stamp: WallTime::default(), session: None, command };
        let _nobody_waits_for_it = fsm::apply(&mut state, Index(1), &entry, &mut Vec::new());
        state
    }

    #[test]
    fn a_restored_server_votes_alone_behind_a_leap() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let last = Position { term: Term(3), index: Index(1) };
        let anew = restore(&data, founded(), last).unwrap();
        assert!(matches!(restore(&data, founded(), last), Err(Failure::NotEmpty { .. })));
        let survivor = Survivor::look(&data).unwrap();
        assert_eq!((survivor.server, survivor.last), (anew.server, anew.position));
        assert_eq!(survivor.last.index, Index(1 + RECOVERY_LEAP));
        assert_eq!(survivor.term, Term(3 + RECOVERY_TERM_LEAP));
        assert!(matches!(survivor.go_alone(), Err(Failure::Alone)));
    }

    #[test]
    fn a_server_that_began_anew_beside_lost_peers_can_go_alone_too() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let last = Position { term: Term(3), index: Index(1) };
        let first = restore(&data, founded(), last).unwrap();
        std::fs::remove_file(data.join("identity.json")).unwrap();
        let survivor = Survivor::look(&data).unwrap();
        assert_eq!(survivor.others(), [first.server]);
        let anew = survivor.go_alone().unwrap();
        assert_ne!(anew.server, first.server);
        assert!(first.position < anew.position);
        assert!(Survivor::look(&data).unwrap().is_alone());
    }

    #[test]
    fn what_holds_no_cluster_is_no_base() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Survivor::look(dir.path()), Err(Failure::NoData { .. })));
        let data = dir.path().join("data");
        let last = Position::default();
        assert!(matches!(restore(&data, State::new(), last), Err(Failure::NoCluster)));
        assert!(!data.exists(), "nothing was made");
    }
}
