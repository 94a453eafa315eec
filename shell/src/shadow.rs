//! The second state: folds the same committed frames beside the core, on a thread of its own.
//!
//! Reads, watches and snapshots are served from here, so that the core is never read for longer than
//! a row, copied, or paused. Reads take the lock shared; the thread takes it for one batch of frames.
//!
//! Invariants
//! - at equal index the shadow's digest is the core's;
//! - a watcher that waits for a change later than `index` is woken by it, or sees it at once.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak, mpsc};
use std::thread;
use std::time::Duration;

use drover_core::agent::snapshot;
use drover_core::digest::Digest;
use drover_core::fsm;
use drover_core::raft::{Configuration, Frame, Payload, Position, SnapshotMark};
use drover_core::state::{Change, State, TableKind};
use drover_core::types::{Index, JobId, NodeId};
use tokio::sync::Notify;

use crate::operator_log::NodeLog;
use crate::storage::{self, SnapshotName, Snapshots};

/// Frames applied under one lock: readers wait no longer than this many take.
const FRAMES_PER_LOCK: usize = 64;
/// Watchers of one key after which those that have gone are swept out.
const SWEEP_AT: usize = 64;

/// What can be waited for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// Any row of a table.
    Table(TableKind),
    /// One row.
    Row(Change),
    AllocsOfJob(JobId),
    AllocsOfNode(NodeId),
    EvalsOfJob(JobId),
    DeploymentsOfJob(JobId),
    /// Any entry at all.
    Everything,
}

/// The readers' end.
#[derive(Clone, Debug)]
pub struct Shadow {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    applied: AtomicU64,
    watchers: Mutex<BTreeMap<Key, Vec<Weak<Notify>>>>,
}

/// What the loop tells the shadow.
#[derive(Debug)]
pub enum Work {
    Frame(Arc<Frame>),
    /// The state is the core's at this position, whose digest is `digest`: write it down.
    Cut {
        position: Position,
        configuration: Configuration,
        digest: Digest,
    },
    /// A snapshot from another server takes the place of everything.
    Replace(Box<State>),
}

/// What the shadow tells the loop.
#[derive(Debug)]
pub enum News {
    Saved(SnapshotMark),
    /// Going on could do harm.
    Failed(String),
}

/// Start the shadow from `state`; `news` is called on its thread.
///
/// # Errors
/// If the system gives no thread.
pub fn spawn(
    state: State,
    snapshots: Snapshots,
    news: impl Fn(News) + Send + 'static,
) -> std::io::Result<(Shadow, mpsc::Sender<Work>)> {
    let (shadow, mut folder) = begin(state, snapshots, news);
    let (sender, work) = mpsc::channel();
    let run = move || {
        while let Ok(first) = work.recv() {
            folder.take(std::iter::once(first).chain(work.try_iter().take(FRAMES_PER_LOCK)));
        }
    };
    thread::Builder::new().name("shadow".into()).spawn(run)?;
    Ok((shadow, sender))
}

/// A shadow that begins at `state`, and who folds it wherever the caller likes.
pub fn begin<K: Keep, N: Fn(News)>(state: State, keep: K, news: N) -> (Shadow, Folder<K, N>) {
    let applied = AtomicU64::new(state.index().0);
    let nodes = NodeLog::new(&state);
    let watchers = Mutex::new(BTreeMap::new());
    let shared = Arc::new(Shared { state: RwLock::new(state), applied, watchers });
    let folder = Folder { shared: Arc::clone(&shared), keep, nodes, news };
    (Shadow { shared }, folder)
}

/// Where snapshots are kept.
pub trait Keep {
    /// Keep `bytes` as the snapshot at `index`.
    ///
    /// # Errors
    /// If the disk refuses.
    fn keep(&self, index: Index, bytes: &[u8]) -> Result<SnapshotName, storage::Failure>;
}

impl Keep for Snapshots {
    fn keep(&self, index: Index, bytes: &[u8]) -> Result<SnapshotName, storage::Failure> {
        self.write(index, bytes)
    }
}

impl Shadow {
    /// A state that nothing happens to any more.
    #[must_use]
    pub fn still(state: State) -> Self {
        let applied = AtomicU64::new(state.index().0);
        let watchers = Mutex::new(BTreeMap::new());
        Self { shared: Arc::new(Shared { state: RwLock::new(state), applied, watchers }) }
    }

    /// The state as it is now. Do not hold it over an await.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> Index {
        Index(self.shared.applied.load(Ordering::Acquire))
    }

    /// Wait until `index` has been applied. `false`: `patience` ran out first.
    pub async fn wait_for(&self, index: Index, patience: Duration) -> bool {
        index <= self.applied() || tokio::time::timeout(patience, self.reached(index)).await.is_ok()
    }

    /// Wait until `index` has been applied, however long that takes.
    pub async fn reached(&self, index: Index) {
        while self.applied() < index {
            let watch = self.watch(&[Key::Everything]);
            if index <= self.applied() {
                return;
            }
            watch.changed().await;
        }
    }

    /// Begin to watch: a change after this call wakes `changed`. So look only after watching.
    #[must_use]
    pub fn watch(&self, keys: &[Key]) -> Watch {
        let notify = Arc::new(Notify::new());
        let mut watchers = self.shared.watchers();
        for &key in keys {
            let waiting = watchers.entry(key).or_default();
            if SWEEP_AT <= waiting.len() {
                waiting.retain(|watcher| 0 < watcher.strong_count());
            }
            waiting.push(Arc::downgrade(&notify));
        }
        Watch { notify }
    }
}

/// One watcher's place.
#[derive(Debug)]
pub struct Watch {
    notify: Arc<Notify>,
}

impl Watch {
    /// Returns once one of the keys has changed since `watch`.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Shared {
    fn watchers(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<Weak<Notify>>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one writer of a shadow.
pub struct Folder<K, N> {
    shared: Arc<Shared>,
    keep: K,
    nodes: NodeLog,
    news: N,
}

impl<K: Keep, N: Fn(News)> Folder<K, N> {
    /// Does what the loop told; frames that lie side by side are applied under one lock.
    pub fn take(&mut self, work: impl IntoIterator<Item = Work>) {
        let mut frames = Vec::new();
        for work in work {
            match work {
                Work::Frame(frame) => frames.push(frame),
                Work::Cut { position, configuration, digest } => {
                    self.fold(std::mem::take(&mut frames));
                    self.cut(position, configuration, digest);
                }
                Work::Replace(state) => {
                    self.fold(std::mem::take(&mut frames));
                    self.replace(*state);
                }
            }
        }
        self.fold(frames);
    }

    fn fold(&mut self, frames: Vec<Arc<Frame>>) {
        if frames.is_empty() {
            return;
        }
        let mut changes = Vec::new();
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        for frame in frames {
            apply_frame(&mut state, &frame, &mut changes);
        }
        self.nodes.on_changes(&state, &changes);
        let keys = if changes.contains(&Change::Restored) {
            self.all_keys()
        } else {
            keys_of(&state, changes)
        };
        self.shared.applied.store(state.index().0, Ordering::Release);
        drop(state);
        self.wake(&keys);
    }

    fn cut(&self, position: Position, configuration: Configuration, digest: Digest) {
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.index() != position.index || state.digest() != digest {
            let why = format!(
                "the shadow's state at index {} is {}, the core's at {} is {digest}: one of them is \
                 damaged. Start the agent again; if this repeats, report it with the input log",
                state.index().0,
                state.digest(),
                position.index.0
            );
            return (self.news)(News::Failed(why));
        }
        let body = state.encode();
        drop(state);
        let bytes = snapshot::pack(position, &configuration, &body);
        match self.keep.keep(position.index, &bytes) {
            Ok(name) => (self.news)(News::Saved(SnapshotMark {
                index: position.index,
                term: position.term,
                digest: name.digest,
                bytes: bytes.len() as u64,
                configuration,
            })),
            // The log keeps what the snapshot would have held: nothing is lost, it only grows.
            Err(fault) => {
                tracing::warn!("the snapshot at index {} failed: {fault}", position.index.0);
            }
        }
    }

    fn replace(&mut self, new: State) {
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        self.nodes = NodeLog::new(&new);
        *state = new;
        self.shared.applied.store(state.index().0, Ordering::Release);
        drop(state);
        self.wake(&self.all_keys());
    }

    /// All that anybody waits for.
    fn all_keys(&self) -> Vec<Key> {
        self.shared.watchers().keys().copied().collect()
    }

    fn wake(&self, keys: &[Key]) {
        let mut watchers = self.shared.watchers();
        for key in keys {
            for watcher in watchers.remove(key).unwrap_or_default() {
                if let Some(watcher) = watcher.upgrade() {
                    watcher.notify_one();
                }
            }
        }
    }
}

/// The same as the core does with a committed frame.
fn apply_frame(state: &mut State, frame: &Frame, changes: &mut Vec<Change>) {
    match &frame.payload {
        Payload::Noop | Payload::Configuration(_) => state.pass(frame.first),
        Payload::Commands { count, bytes } => {
            let entries = fsm::record::decode_batch(bytes, *count);
            for (ordinal, entry) in entries.enumerate() {
                // The core has read these bytes before us.
                let Ok(entry) = entry else { break };
                let index = Index(frame.first.0 + ordinal as u64);
                let _for_the_core = fsm::apply(state, index, &entry, changes);
            }
        }
    }
    let _cut_is_told_by_the_core = state.note_log_bytes(frame.cost_bytes());
}

fn keys_of(state: &State, mut changes: Vec<Change>) -> Vec<Key> {
    changes.sort_unstable();
    changes.dedup();
    let mut keys = vec![Key::Everything];
    for change in changes {
        keys.push(Key::Row(change));
        match change {
            Change::Node(_) => keys.push(Key::Table(TableKind::Nodes)),
            Change::Job(_) => keys.push(Key::Table(TableKind::Jobs)),
            Change::Eval(id) => {
                keys.push(Key::Table(TableKind::Evals));
                keys.extend(state.eval(id).map(|eval| Key::EvalsOfJob(eval.job)));
            }
            Change::Alloc(id) => {
                keys.push(Key::Table(TableKind::Allocs));
                if let Some(alloc) = state.alloc(id) {
                    keys.push(Key::AllocsOfJob(alloc.job));
                    keys.push(Key::AllocsOfNode(alloc.node));
                }
            }
            Change::Deployment(id) => {
                keys.push(Key::Table(TableKind::Deployments));
                keys.extend(state.deployment(id).map(|one| Key::DeploymentsOfJob(one.job)));
            }
            Change::Pools => keys.push(Key::Table(TableKind::Pools)),
            Change::Assigned(_) | Change::Room(_) | Change::Operator | Change::Restored => (),
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}
