//! openraft 0.9, driven its best way: `client_write_ff` for a whole batch, then all answers; a runtime
//! of one thread; a log and a state machine in memory; the network is a call, payloads are shared.
//!
//! A batch ends when the leader has answered: the followers apply it while the next one is under way.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use openraft09 as openraft;

use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage, RaftStateMachine, Snapshot};
use openraft::{
    Config, Entry, EntryPayload, LogId, OptionalSend, Raft, RaftLogReader, RaftSnapshotBuilder,
    SnapshotMeta, SnapshotPolicy, StorageError, StoredMembership, Vote,
};

use crate::load::{CUT_ENTRIES, Cluster, Load, RETAINED_ENTRIES, Traffic, Watch, held_range};

/// The bytes that a codec of fixed fields would need, since the library leaves that to others: votes
/// 17, log ids 24, an option 1, a length 4 or 8.
pub(crate) const REQUEST_BYTES: u64 = 17 + 25 + 25 + 8;
pub(crate) const ENTRY_BYTES: u64 = 24 + 1 + 4;
pub(crate) const RESPONSE_BYTES: u64 = 18;

const VOTERS: [u64; 3] = [0, 1, 2];

#[derive(Clone, Debug)]
pub(crate) struct Command(Bytes);

openraft::declare_raft_types!(pub(crate) Types: D = Command, R = (), NodeId = u64, Node = ());

type Stored<T> = Result<T, StorageError<u64>>;
type Called<T, E = openraft::error::Infallible> = Result<T, RPCError<u64, (), RaftError<u64, E>>>;

#[derive(Default)]
struct Held {
    vote: Option<Vote<u64>>,
    base: u64,
    entries: VecDeque<Entry<Types>>,
    purged: Option<LogId<u64>>,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Held>>);

#[derive(Default)]
struct Applied {
    last: Option<LogId<u64>>,
    membership: StoredMembership<u64, ()>,
    entries: u64,
    snapshots: u64,
}

#[derive(Clone, Default)]
struct State(Arc<Mutex<Applied>>);

#[derive(Clone, Default)]
struct Network {
    voters: Arc<Mutex<BTreeMap<u64, Raft<Types>>>>,
    watched: Arc<Mutex<Option<Traffic>>>,
}

struct Link {
    to: u64,
    raft: Option<Raft<Types>>,
    network: Network,
}

/// Three voters.
pub(crate) struct Openraft09 {
    load: Load,
    runtime: tokio::runtime::Runtime,
    voters: Vec<Raft<Types>>,
    states: Vec<State>,
    logs: Vec<Log>,
    network: Network,
    payload: Bytes,
    proposed: u64,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("nobody panics with the lock")
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Stored<Vec<Entry<Types>>> {
        let held = lock(&self.0);
        let slots = held_range(&range, held.base, held.entries.len());
        Ok(held.entries.range(slots).cloned().collect())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Stored<LogState<Types>> {
        let held = lock(&self.0);
        let last_log_id = held.entries.back().map(|entry| entry.log_id).or(held.purged);
        Ok(LogState { last_purged_log_id: held.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Stored<()> {
        lock(&self.0).vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Stored<Option<Vote<u64>>> {
        Ok(lock(&self.0).vote)
    }

    async fn append<I>(&mut self, entries: I, flushed: LogFlushed<Types>) -> Stored<()>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        lock(&self.0).entries.extend(entries);
        flushed.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId<u64>) -> Stored<()> {
        let mut held = lock(&self.0);
        let kept = usize::try_from(from.index - held.base).expect("a log fits in memory");
        held.entries.truncate(kept);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Stored<()> {
        let mut held = lock(&self.0);
        let count = usize::try_from(upto.index + 1 - held.base).expect("a log fits in memory");
        held.entries.drain(..count);
        held.base = upto.index + 1;
        held.purged = Some(upto);
        Ok(())
    }
}

impl RaftSnapshotBuilder<Types> for State {
    async fn build_snapshot(&mut self) -> Stored<Snapshot<Types>> {
        let mut applied = lock(&self.0);
        applied.snapshots += 1;
        let meta = SnapshotMeta {
            last_log_id: applied.last,
            last_membership: applied.membership.clone(),
            snapshot_id: applied.snapshots.to_string(),
        };
        Ok(Snapshot { meta, snapshot: Box::default() })
    }
}

impl RaftStateMachine<Types> for State {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Stored<(Option<LogId<u64>>, StoredMembership<u64, ()>)> {
        let applied = lock(&self.0);
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Stored<Vec<()>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = lock(&self.0);
        let mut answers = Vec::new();
        for entry in entries {
            applied.last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Normal(_) => applied.entries += 1,
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(applied.last, membership);
                }
                EntryPayload::Blank => (),
            }
            answers.push(());
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Stored<Box<Cursor<Vec<u8>>>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        _: &SnapshotMeta<u64, ()>,
        _: Box<Cursor<Vec<u8>>>,
    ) -> Stored<()> {
        panic!("no follower is ever that far behind")
    }

    async fn get_current_snapshot(&mut self) -> Stored<Option<Snapshot<Types>>> {
        Ok(None)
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, to: u64, (): &()) -> Link {
        Link { to, raft: None, network: self.clone() }
    }
}

impl Link {
    fn raft(&mut self) -> Raft<Types> {
        let (to, network) = (self.to, &self.network);
        let found = || lock(&network.voters).get(&to).expect("all stand").clone();
        self.raft.get_or_insert_with(found).clone()
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Called<AppendEntriesResponse<u64>> {
        if let Some(traffic) = &mut *lock(&self.network.watched) {
            let bytes = |entry: &Entry<Types>| match &entry.payload {
                EntryPayload::Normal(command) => ENTRY_BYTES + command.0.len() as u64,
                EntryPayload::Blank | EntryPayload::Membership(_) => ENTRY_BYTES,
            };
            let entries: u64 = request.entries.iter().map(bytes).sum();
            traffic.note(REQUEST_BYTES + entries, request.entries.len() as u64);
            traffic.note(RESPONSE_BYTES, 0);
        }
        let to = self.to;
        let said = self.raft().append_entries(request).await;
        said.map_err(|fault| RPCError::RemoteError(RemoteError::new(to, fault)))
    }

    async fn install_snapshot(
        &mut self,
        _: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Called<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        panic!("no follower is ever that far behind")
    }

    async fn vote(&mut self, request: VoteRequest<u64>, _: RPCOption) -> Called<VoteResponse<u64>> {
        let to = self.to;
        let said = self.raft().vote(request).await;
        said.map_err(|fault| RPCError::RemoteError(RemoteError::new(to, fault)))
    }
}

fn config() -> Config {
    Config {
        // The others run meanwhile, and no time passes here then: nobody may take it for silence.
        election_timeout_min: 10_000_000,
        election_timeout_max: 20_000_000,
        heartbeat_interval: 300,
        purge_batch_size: 1_024,
        max_payload_entries: 4_096,
        max_in_snapshot_log_to_keep: RETAINED_ENTRIES,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(CUT_ENTRIES),
        ..Config::default()
    }
}

impl Openraft09 {
    pub(crate) fn new(load: Load) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let mut cluster = Self {
            load,
            runtime: runtime.expect("a runtime starts"),
            voters: Vec::new(),
            states: VOTERS.map(|_| State::default()).into(),
            logs: VOTERS.map(|_| Log::default()).into(),
            network: Network::default(),
            payload: Bytes::from(load.payload()),
            proposed: 0,
        };
        let config = Arc::new(config().validate().expect("the config is sound"));
        cluster.runtime.block_on(async {
            for (id, (log, state)) in
                VOTERS.into_iter().zip(cluster.logs.iter().zip(&cluster.states))
            {
                let (log, state) = (log.clone(), state.clone());
                let raft = Raft::new(id, config.clone(), cluster.network.clone(), log, state);
                let raft = raft.await.expect("a voter stands");
                lock(&cluster.network.voters).insert(id, raft.clone());
                cluster.voters.push(raft);
            }
            let founded = cluster.voters[0].initialize(BTreeSet::from(VOTERS)).await;
            founded.expect("the first one leads");
        });
        cluster.wait_for_all(1);
        cluster
    }

    fn wait_for_all(&self, index: u64) {
        self.runtime.block_on(async {
            for voter in &self.voters {
                let waited = voter.wait(None).applied_index_at_least(Some(index), "all").await;
                waited.expect("all apply what is committed");
            }
        });
    }
}

impl Cluster for Openraft09 {
    fn run(&mut self, batches: u64) {
        let (leader, payload, batch) =
            (self.voters[0].clone(), self.payload.clone(), self.load.batch);
        let work = async move {
            let mut answers = Vec::new();
            for _ in 0..batches {
                for _ in 0..batch {
                    let taken = leader.client_write_ff(Command(payload.clone())).await;
                    answers.push(taken.expect("the leader runs"));
                }
                for answer in answers.drain(..) {
                    answer.await.expect("an answer comes").expect("the leader leads");
                }
            }
        };
        let work = self.runtime.spawn(work);
        self.runtime.block_on(work).expect("nothing panics");
        self.proposed += batches * self.load.batch;
    }

    fn watch(&mut self, watch: Watch) -> Traffic {
        let next = match watch {
            Watch::Begin => Some(Traffic::default()),
            Watch::End => None,
        };
        std::mem::replace(&mut *lock(&self.network.watched), next).unwrap_or_default()
    }

    fn check(&self) {
        let index = lock(&self.states[0].0).last.expect("something was applied").index;
        self.wait_for_all(index);
        for (state, log) in self.states.iter().zip(&self.logs) {
            let applied = lock(&state.0).entries;
            assert_eq!(applied, self.proposed, "all that was proposed is applied");
            let kept = lock(&log.0).entries.len() as u64;
            assert!(RETAINED_ENTRIES <= kept, "only {kept} entries are in the log");
        }
    }
}
