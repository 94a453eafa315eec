//! The parts of a simulated machine that the loop works with: disk, snapshots, clocks.
//!
//! Each does its work at once and says so later, by a task of its host that dies with the agent. So a
//! crash loses what was not done, and a slow disk races with every timeout.
//!
//! Invariants
//! - what is done is done at the moment at which it is told, not before;
//! - a disk's writes are told in their order, and so are its changes to segments.
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_core::agent::Event;
use drover_core::digest::Digest;
use drover_core::raft::{Chunk, SnapshotMark};
use drover_core::time::WallTime;
use drover_core::types::{Index, ServerId};
use drover_core::wal::{Fault, OpId, Operation};
use drover_shell::clock::Readings;
use drover_shell::run::{Core, Inbox, Received, SnapshotStore};
use drover_shell::shadow::{Keep, News};
use drover_shell::storage::{Completion, Disk, Failure, SnapshotName};
use drover_sim::clock::{HostClock, Moment};
use drover_sim::network::HostId;

use crate::lock;
use crate::site::{Now, Site};
use crate::stage::{Machine, Stage};

/// A snapshot is longer than a block.
const SNAPSHOT_TAKES: u64 = 4;

/// One life of a machine: does things later.
#[derive(Clone)]
pub struct Life {
    pub stage: Arc<Stage>,
    pub host: HostId,
    pub site: Site,
    pub core: Core,
}

impl Life {
    /// At `at`, `work` on the machine and tell the loop what came of it.
    pub fn at(
        &self,
        at: Moment,
        work: impl FnOnce(&mut Machine) -> Option<Inbox> + Send + 'static,
    ) {
        let Self { stage, host, site, core } = self.clone();
        let left = Duration::from_nanos(at.ns.saturating_sub((site.now)().ns));
        let mut timer = site.env.runtime.new_timer(site.env.runtime.now() + left);
        let later = async move {
            std::future::poll_fn(|context| Pin::as_mut(&mut timer).poll(context)).await;
            let told = work(&mut stage.machine(host));
            if let Some(told) = told {
                core.tell(told).await;
            }
        };
        self.site.env.runtime.spawn(Box::pin(later));
    }

    /// What the wall clock of the host shows.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        LifeClock::new(&self.stage, self.host, &self.site).wall()
    }

    /// When the disk has done something that takes it `times` as long as a block.
    fn when_disk_is_done(&self, times: u64) -> Moment {
        let us = self.stage.machine(self.host).host.draw_disk_us(&self.stage.plan.knobs);
        (self.site.now)().plus_us(times * us)
    }
}

/// The disk of a life.
pub struct LifeDisk(pub Life);

impl Disk for LifeDisk {
    fn submit(&mut self, op: OpId, operation: Operation) {
        let Self(life) = self;
        let mut at = life.when_disk_is_done(1);
        let mut machine = life.stage.machine(life.host);
        let free_at = match operation {
            Operation::Write { .. } => &mut machine.writes_free_at,
            Operation::Prepare { .. } | Operation::Remove { .. } => {
                &mut machine.host.segments_free_at
            }
        };
        at = at.max(Moment { ns: free_at.ns + 1 });
        *free_at = at;
        let is_write = matches!(operation, Operation::Write { .. });
        machine.host.disk.submit(op, operation);
        drop(machine);
        if is_write {
            let now = (life.site.now)();
            life.stage.on_write(now, life.host, (at.ns - now.ns) / 1_000);
        }
        let counted = Arc::clone(&life.stage);
        life.at(at, move |machine| {
            let mut rng = machine.host.rng.fork("tear").fork_number(op.0);
            let outcome = machine.host.disk.complete(op, &mut rng)?;
            if outcome.is_err() {
                machine.host.may_halt = true;
                counted.book().counters.disk_faults += 1;
            }
            Some(Inbox::Disk(Completion { op, outcome: outcome.map_err(failure_of) }))
        });
    }
}

fn failure_of(fault: Fault) -> Failure {
    let path = std::path::PathBuf::from("simulated");
    match fault {
        Fault::Full => Failure::Full { path },
        Fault::Io => {
            Failure::Io { path, doing: "write", source: io::Error::other("as the plan says") }
        }
    }
}

/// The snapshots of a life.
#[derive(Clone)]
pub struct LifeSnapshots {
    life: Life,
    /// Handed over by the shadow, not safe yet.
    unsafe_yet: Arc<Mutex<BTreeMap<Index, Arc<[u8]>>>>,
}

impl LifeSnapshots {
    /// Of this life.
    #[must_use]
    pub fn new(life: Life) -> Self {
        Self { life, unsafe_yet: Arc::default() }
    }

    /// The shadow has something to say.
    pub fn on_news(&self, news: News) {
        let (at, waiting) = match &news {
            News::Saved(mark) => {
                let bytes = lock(&self.unsafe_yet).remove(&mark.index);
                (self.life.when_disk_is_done(SNAPSHOT_TAKES), bytes.map(|b| (mark.clone(), b)))
            }
            News::Failed(_) => ((self.life.site.now)(), None),
        };
        let stage = Arc::clone(&self.life.stage);
        self.life.at(at, move |machine| {
            if let Some((mark, bytes)) = waiting {
                machine.host.keep_snapshot(mark, bytes);
                stage.book().counters.snapshots_saved += 1;
            }
            Some(Inbox::Shadow(news))
        });
    }
}

impl Keep for LifeSnapshots {
    fn keep(&self, index: Index, bytes: &[u8]) -> Result<SnapshotName, Failure> {
        lock(&self.unsafe_yet).insert(index, Arc::from(bytes));
        Ok(SnapshotName { index, digest: Digest::of(bytes) })
    }
}

impl SnapshotStore for LifeSnapshots {
    fn read(&mut self, to: ServerId, snapshot: Index, offset: u64, bytes_max: u64) {
        self.life.at(self.life.when_disk_is_done(1), move |machine| {
            let event = match machine.host.snapshots.get(&snapshot) {
                Some((_, bytes)) => {
                    let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
                    let from = at(offset).min(bytes.len());
                    let upto = from.saturating_add(at(bytes_max)).min(bytes.len());
                    let bytes = Arc::from(&bytes[from..upto]);
                    Event::ChunkRead { to, chunk: Chunk { snapshot, offset, bytes } }
                }
                None => Event::ChunkMissing { to, snapshot },
            };
            Some(Inbox::Event(event))
        });
    }

    fn store(&mut self, mark: &SnapshotMark, offset: u64, bytes: &[u8]) {
        self.life.stage.machine(self.life.host).host.store_chunk(mark.clone(), offset, bytes);
    }

    fn load(&mut self, mark: SnapshotMark) {
        let stage = Arc::clone(&self.life.stage);
        self.life.at(self.life.when_disk_is_done(SNAPSHOT_TAKES), move |machine| {
            let received = machine.host.incoming.take().map(|(_, bytes)| bytes);
            let whole = received.filter(|bytes| Digest::of(bytes) == mark.digest);
            let whole: Option<Arc<[u8]>> = whole.map(Arc::from);
            if let Some(bytes) = &whole {
                machine.host.keep_snapshot(mark.clone(), Arc::clone(bytes));
                stage.book().counters.snapshots_installed += 1;
            }
            Some(Inbox::Snapshot(Received::read(mark, whole)))
        });
    }
}

/// The clocks of a host.
pub struct LifeClock {
    local: Now,
    clock: Arc<Mutex<HostClock>>,
}

impl LifeClock {
    /// The clocks of `host`.
    #[must_use]
    pub fn new(stage: &Stage, host: HostId, site: &Site) -> Self {
        Self { local: Arc::clone(&site.local), clock: stage.clock(host) }
    }
}

impl fmt::Debug for LifeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a simulated clock at {}", (self.local)())
    }
}

impl Readings for LifeClock {
    fn mono_ns(&self) -> u64 {
        let at = (self.local)();
        lock(&self.clock).read_mono(at).ns
    }

    fn wall(&self) -> WallTime {
        let at = (self.local)();
        lock(&self.clock).wall(at)
    }
}
