//! openraft 0.10 (a preview), driven its best way: `client_write_many` for a whole batch; otherwise as
//! in `openraft09`.
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug};
use std::io::{self, Cursor};
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use openraft010 as openraft;

use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::{
    Config, EntryPayload, OptionalSend, Raft, RaftLogReader, RaftSnapshotBuilder, RaftTypeConfig,
    SnapshotPolicy, impls,
};

use crate::load::{CUT_ENTRIES, Cluster, Load, RETAINED_ENTRIES, Traffic, Watch, held_range};
use crate::openraft09::{ENTRY_BYTES, REQUEST_BYTES, RESPONSE_BYTES};

const VOTERS: [u64; 3] = [0, 1, 2];

#[derive(Clone, Debug)]
pub(crate) struct Command(Bytes);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Types;

impl RaftTypeConfig for Types {
    type D = Command;
    type R = ();
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = impls::leader_id_adv::LeaderId<u64, u64>;
    type Vote = impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, u64, ()>;
    type Entry =
        impls::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type Responder<T>
        = impls::OneshotResponder<Self, T>
    where
        T: Send + 'static;
    type Batch<T>
        = impls::InlineBatch<T>
    where
        T: Send + 'static;
    type AsyncRuntime = impls::TokioRuntime;
    type ErrorSource = impls::BoxedErrorSource;
}

type Data = Cursor<Vec<u8>>;
type Snapshot = SnapshotOf<Types, Data>;
type Voter = Raft<Types, State>;

#[derive(Default)]
struct Held {
    vote: Option<VoteOf<Types>>,
    base: u64,
    entries: VecDeque<EntryOf<Types>>,
    purged: Option<LogIdOf<Types>>,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Held>>);

#[derive(Default)]
struct Applied {
    last: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
    entries: u64,
}

#[derive(Clone, Default)]
pub(crate) struct State(Arc<Mutex<Applied>>);

#[derive(Clone, Default)]
struct Network {
    voters: Arc<Mutex<BTreeMap<u64, Voter>>>,
    watched: Arc<Mutex<Option<Traffic>>>,
}

struct Link {
    to: u64,
    raft: Option<Voter>,
    network: Network,
}

/// Three voters.
pub(crate) struct Openraft010 {
    load: Load,
    runtime: tokio::runtime::Runtime,
    voters: Vec<Voter>,
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
    ) -> io::Result<Vec<EntryOf<Types>>> {
        let held = lock(&self.0);
        let slots = held_range(&range, held.base, held.entries.len());
        Ok(held.entries.range(slots).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types>>> {
        Ok(lock(&self.0).vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let held = lock(&self.0);
        let last_log_id = held.entries.back().map(|entry| entry.log_id).or(held.purged);
        Ok(LogState { last_purged_log_id: held.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> io::Result<()> {
        lock(&self.0).vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        lock(&self.0).entries.extend(entries);
        flushed.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> io::Result<()> {
        let mut held = lock(&self.0);
        let end = last.map_or(0, |last| last.index + 1);
        let kept = usize::try_from(end - held.base).expect("a log fits in memory");
        held.entries.truncate(kept);
        Ok(())
    }

    async fn purge(&mut self, upto: LogIdOf<Types>) -> io::Result<()> {
        let mut held = lock(&self.0);
        let count = usize::try_from(upto.index + 1 - held.base).expect("a log fits in memory");
        held.entries.drain(..count);
        held.base = upto.index + 1;
        held.purged = Some(upto);
        Ok(())
    }
}

impl RaftSnapshotBuilder<Types> for State {
    type SnapshotData = Data;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let applied = lock(&self.0);
        let (last_log_id, last_membership) = (applied.last, applied.membership.clone());
        let meta = SnapshotMetaOf::<Types> { last_log_id, last_membership };
        Ok(Snapshot { meta, snapshot: Data::default() })
    }
}

impl RaftStateMachine<Types> for State {
    type SnapshotData = Data;
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>)> {
        let applied = lock(&self.0);
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, answer)) = entries.try_next().await? {
            {
                let mut applied = lock(&self.0);
                applied.last = Some(entry.log_id);
                match entry.payload {
                    EntryPayload::Normal(_) => applied.entries += 1,
                    EntryPayload::Membership(membership) => {
                        let last = applied.last;
                        applied.membership = StoredMembershipOf::<Types>::new(last, membership);
                    }
                    EntryPayload::Blank => (),
                }
            }
            if let Some(answer) = answer {
                answer.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, _: &SnapshotMetaOf<Types>, _: Data) -> io::Result<()> {
        panic!("no follower is ever that far behind")
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
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
    fn raft(&mut self) -> Voter {
        let (to, network) = (self.to, &self.network);
        let found = || lock(&network.voters).get(&to).expect("all stand").clone();
        self.raft.get_or_insert_with(found).clone()
    }
}

fn unreachable(fault: &impl fmt::Display) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string(fault.to_string()))
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Data;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        if let Some(traffic) = &mut *lock(&self.network.watched) {
            let bytes = |entry: &EntryOf<Types>| match &entry.payload {
                EntryPayload::Normal(command) => ENTRY_BYTES + command.0.len() as u64,
                EntryPayload::Blank | EntryPayload::Membership(_) => ENTRY_BYTES,
            };
            let entries: u64 = request.entries.iter().map(bytes).sum();
            traffic.note(REQUEST_BYTES + entries, request.entries.len() as u64);
            traffic.note(RESPONSE_BYTES, 0);
        }
        self.raft().append_entries(request).await.map_err(|fault| unreachable(&fault))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.raft().vote(request).await.map_err(|fault| unreachable(&fault))
    }

    async fn full_snapshot(
        &mut self,
        _: VoteOf<Types>,
        _: Snapshot,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        panic!("no follower is ever that far behind")
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

impl Openraft010 {
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
            let disks = cluster.logs.iter().zip(&cluster.states);
            for (id, (log, state)) in VOTERS.into_iter().zip(disks) {
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

impl Cluster for Openraft010 {
    fn run(&mut self, batches: u64) {
        let (leader, payload) = (self.voters[0].clone(), self.payload.clone());
        let batch = self.load.batch;
        let work = async move {
            for _ in 0..batches {
                let commands = (0..batch).map(|_| Command(payload.clone()));
                let taken = leader.client_write_many(commands).await;
                let mut answers = taken.expect("the leader runs");
                while let Some(answer) = answers.next().await {
                    answer.expect("an answer comes").expect("the leader leads");
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
