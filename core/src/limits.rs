//! Every bound of the system: its unit, and one line of reason. Full means `Overloaded`, never growth.
//!
//! Invariants
//! - relations between bounds are checked when this file is compiled.

/// Shortest time without a leader's word before a server asks for votes. Above the idle timeout's
/// halves and a slow disk's flush; below what users notice as an outage.
pub const ELECTION_MS_MIN: u64 = 500;
/// Longest of the same: the spread makes two servers unlikely to ask at once.
pub const ELECTION_MS_MAX: u64 = 1_000;
/// How fast or slow a server's monotonic clock may run, in thousandths: a hundred times what a bad quartz
/// does. Leases rest on it, and nothing else.
pub const CLOCK_DRIFT_PERMILLE_MAX: u64 = 50;
/// How long after its quorum was spoken to a leader may answer reads alone: shorter than the shortest
/// election by the drift of both clocks, the leader's and the voters'.
#[must_use]
pub const fn lease_ms(election_ms_min: u64) -> u64 {
    election_ms_min * (1_000 - 2 * CLOCK_DRIFT_PERMILLE_MAX) / 1_000
}
/// How often a leader speaks when it has nothing to say: several times per shortest election.
pub const LEADER_HEARTBEAT_MS: u64 = 100;

/// Of rounds that a quorum has answered, a leader remembers when they were sent: one in so long, and so many.
pub const PAST_ROUND_MS: u64 = 25;
pub const PAST_ROUNDS_MAX: usize = 40;
/// How soon followers hear of a commit when no append carries it: soon for who reads there, late
/// enough that a busy leader never sends it.
pub const COMMIT_NOTICE_MS: u64 = 10;
/// Largest body of one frame: one write and one message; a plan of 4,096 rows fits.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Entries of one frame: they are applied in one step, each in some microseconds, and the frames that are
/// under way may be committed together.
pub const FRAME_ENTRIES_MAX: usize = 128;
/// A frame that holds this much takes no more entries, for the same reason: a plan's placements have some
/// 25 bytes each. A longer entry has a frame of its own.
pub const FRAME_FILL_BYTES: usize = 32 << 10;
/// Frames of one append message together.
pub const APPEND_BYTES_MAX: usize = 1 << 20;
/// Sent to one follower and not yet acknowledged.
pub const INFLIGHT_BYTES_MAX: usize = 8 << 20;
/// Proposed and not yet committed: what a leader may lose is bounded.
pub const UNCOMMITTED_BYTES_MAX: usize = 16 << 20;
/// Largest message on any lane; larger ones are refused before they are decoded.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// One chunk of a snapshot on the wire.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;
/// One part of a saved state on its way back: an entry of the log, and a request to whoever leads.
pub const RESTORE_PART_BYTES: usize = 512 << 10;
/// Parts of one saved state: until it is in force every server holds them, so 512 MiB must do.
pub const RESTORE_PARTS_MAX: u32 = 1_024;
/// How long the parts of a restore that does not go on are kept: longer than any pause between two.
pub const RESTORE_KEPT_MS: u64 = 900_000;
/// Bytes of committed frames between two cuts.
pub const CUT_BYTES: u64 = 16 << 20;
/// Frames that stay in the log below a snapshot: a follower that was away for a moment needs no
/// snapshot, and if the newest is damaged, the log reaches back to the one before it.
pub const LOG_RETAINED_BYTES_MAX: usize = 18 << 20;
/// How far the log's indexes leap when servers are made anew from what is left of a log, or from a
/// saved state. What was entered after that, and is lost, had smaller indexes: no id is given out
/// twice, and client nodes, who may know more than such servers, see the leap. Half a year of a
/// thousand entries a second.
pub const RECOVERY_LEAP: u64 = 1 << 34;
/// How far the term leaps with them: no server that was left out is in the same term.
pub const RECOVERY_TERM_LEAP: u64 = 1 << 20;
/// A command changes at most this many rows, so that one entry cannot stall the loop.
pub const ROWS_PER_COMMAND_MAX: usize = 4_096;
/// Placements per scheduling step: a big job is placed in quanta.
pub const PLACEMENTS_PER_STEP_MAX: usize = 1_024;
/// How much more important a job must be to have another's allocs stopped for it. Nomad's.
pub const PRIORITY_GAP: u8 = 10;
/// Allocs stopped on one node for one alloc, so that a plan stays within the rows of a command.
pub const VICTIMS_MAX: usize = 64;
/// Gates of a job, and of each of its groups: nobody looks through more.
pub const GATES_MAX: usize = 16;
/// Groups and jobs that are walked through to find out whether a job would wait for itself.
pub const GATE_WALK_MAX: usize = 4_096;
/// Allocs that one rebalance moves: each may be a mark, a mark taken back, and an evaluation.
pub const REBALANCE_MOVES_MAX: usize = 500;
/// The largest gain that may be asked for: no score is more than two above another by its mean.
pub const SCORE_PERMILLE_MAX: u32 = 2_000;
/// Servers of a region's configuration.
pub const SERVERS_MAX: usize = 15;
/// Regions whose servers know each other.
pub const REGIONS_MAX: usize = 16;
/// Requests of outside callers that wait at once.
pub const REQUESTS_PENDING_MAX: usize = 16_384;
/// Operators' orders about the servers that wait at once: one for each server is plenty.
pub const ORDERS_MAX: usize = SERVERS_MAX;
/// How long a caller's request is kept alive across changes of leader before it is answered `Unknown`.
pub const REQUEST_PATIENCE_MS: u64 = 15_000;
/// A request that got no answer is asked again of the leader this much later.
pub const REQUEST_REPEAT_MS: u64 = 1_000;
/// The same after the word of one who does not lead: most often one who is about to.
pub const REQUEST_REFUSED_MS: u64 = 50;
/// Names and values of a server's tags: every server tells every other of them.
pub const TAG_BYTES_MAX: usize = 512;
/// Requests of one server that were turned away and whose copies are known: a caller sends no more in the
/// time that a copy is under way.
pub const TURNED_AWAY_MAX: usize = 1_024;
/// Servers whose requests are known by number: more than a region has.
pub const ASKING_SERVERS_MAX: usize = 64;
/// Frames of the leader's own proposals under way at once; more entries share the next frame.
pub const PROPOSAL_FRAMES_IN_FLIGHT: usize = 4;
/// Plans proposed and not yet applied at once.
pub const PLANS_IN_FLIGHT_MAX: usize = 4;
/// How often a server tells the leader its clock and whom it has heard from.
pub const SIGHTING_MS: u64 = 1_000;
/// How often a leader looks for what has ended and nobody needs any more.
pub const GARBAGE_COLLECT_MS: u64 = 60_000;
/// How long ended evaluations and allocs are shown (Nomad's `eval_gc_threshold`).
pub const EVALS_KEPT_MS: u64 = 3_600_000;
/// How long stopped jobs are shown (Nomad's `job_gc_threshold`).
pub const JOBS_KEPT_MS: u64 = 4 * 3_600_000;
/// How long nodes that are down are shown (Nomad's `node_gc_threshold`).
pub const NODES_KEPT_MS: u64 = 24 * 3_600_000;
/// A segment of the write-ahead log, zero-filled before use.
pub const WAL_SEGMENT_BYTES: u64 = 64 << 20;
/// The first segment of a fresh log: small, so that a start is fast; each next one doubles.
pub const WAL_SEGMENT_BYTES_FIRST: u64 = 128 << 10;
/// Records of one write together, and so the longest record: a frame and what stands around it.
pub const WAL_WRITE_BYTES_MAX: usize = FRAME_BYTES_MAX + (64 << 10);
/// For so long a new leader takes nobody in: whom the leader before let go may have told others of it, and
/// the word not have arrived.
pub const ROSTER_NEWCOMER_MS: u64 = 2_000;
/// How often a leader looks whether a server should become a voter: joining is no matter of moments.
pub const ROSTER_REVIEW_MS: u64 = 500;
/// Clients are told which servers there are, as of at most so long ago.
pub const CONTACTS_FRESH_MS: u64 = 1_000;
/// A voter of whom gossip has never heard has failed after so long in office: whoever lives says so
/// within moments of a connection, and whoever is not even remembered will hardly come back.
pub const ROSTER_STRANGER_MS: u64 = 15_000;
/// How long a server that leaves waits for a leader to take it out of the configuration: some elections,
/// and less than those who stop processes by force give them. Then it goes all the same.
pub const LEAVE_MS_MAX: u64 = 10_000;
/// How long it stays to say that it has gone: whoever is there has heard it in less.
pub const LEAVE_GOODBYE_MS: u64 = 1_000;
/// A write-ahead log to which nothing was added for so long confirms its last records: below what a
/// person notices, above the pauses within one burst of writes.
pub const WAL_QUIET_MS: u64 = 100;
/// How long a client may be silent (`server.min_heartbeat_ttl`).
pub const HEARTBEAT_TTL_MS: u64 = 10_000;
/// Added before a silent node is asked after (`server.heartbeat_grace`): a heartbeat that got lost is sent
/// again in that time.
pub const HEARTBEAT_GRACE_MS: u64 = 2_000;
/// How long a node may take to answer a probe: several times what a slow link needs.
pub const PROBE_ANSWER_MS: u64 = 650;
/// How late a server may come to look for an answer and still believe that there was none.
pub const PROBE_LAG_MS: u64 = 500;
/// How long several servers take to look for a node: two probes each, and the way there and back.
pub const PROBE_ROUND_MS: u64 = 2 * PROBE_ANSWER_MS + PROBE_LAG_MS;
/// Nodes asked after in one round: a quarter of a megabyte of ids.
pub const PROBED_NODES_MAX: usize = 16_384;
/// How long nodes are held that too few servers could look for.
pub const VERDICT_HELD_MS: u64 = 60_000;
/// Allocs that one group may ask for (Nomad's `job_max_count`).
pub const GROUP_COUNT_MAX: u32 = 50_000;
/// Versions of a job that are kept (Nomad's `job_tracked_versions`).
pub const JOB_VERSIONS_MAX: usize = 6;
/// Task events kept per task (as Nomad).
pub const TASK_EVENTS_MAX: usize = 10;
/// Longest text of a task event: drivers may have much to say.
pub const TASK_EVENT_BYTES_MAX: usize = 1_024;
/// Allocs that have not ended on one client node: beyond what a machine's ports and processes bear.
pub const CLIENT_ALLOCS_MAX: usize = 4_096;
/// Ended allocs whose files a client node keeps (Nomad's `gc_max_allocs`).
pub const CLIENT_ENDED_ALLOCS_MAX: usize = 50;
/// Records of a client node's log that are not worth writing anew: a second's reading.
pub const CLIENT_RECORDS_MIN: usize = 1_024;
/// Longest time between a task's stop signal and its kill (Nomad's `max_kill_timeout`).
pub const KILL_TIMEOUT_MS_MAX: u64 = 30_000;
/// Tasks told of in one report: with their events it still fits into a frame.
pub const REPORT_TASKS_MAX: usize = 80;
/// Node events kept per node (as Nomad).
pub const NODE_EVENTS_MAX: usize = 10;
/// Keys of what operators note about a drain: it is kept in the node's row.
pub const DRAIN_META_MAX: usize = 32;
/// Rescheduling events kept per alloc (as Nomad).
pub const RESCHEDULE_EVENTS_MAX: usize = 5;
/// What a parameterized job may be dispatched with (as Nomad): an input's name, not the input.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 10;
/// Keys and values of a dispatch's meta together: they become the environment of each task.
pub const DISPATCH_META_BYTES_MAX: usize = 64 << 10;
/// A dispatch's word in its child's name, which stands in paths and tables.
pub const DISPATCH_PREFIX_BYTES_MAX: usize = 64;
/// A dispatch's token: the longest hash and its name.
pub const DISPATCH_TOKEN_BYTES_MAX: usize = 256;
/// Scaling events kept per group (as Nomad).
pub const SCALING_EVENTS_MAX: usize = 20;
/// What a caller may keep with a scaling event: twenty of them are written with their job's row.
pub const SCALING_META_BYTES_MAX: usize = 1_024;
/// Longest name of a node pool (as Nomad): it stands in tables and addresses.
pub const POOL_NAME_CHARS_MAX: usize = 128;
/// Longest description of a node pool (as Nomad): a line or two.
pub const POOL_DESCRIPTION_BYTES_MAX: usize = 256;
/// Keys and values of a node pool's meta together: a page of notes.
pub const POOL_META_BYTES_MAX: usize = 16 << 10;

const _: () = assert!(ELECTION_MS_MIN < ELECTION_MS_MAX);
const _: () = assert!(LEADER_HEARTBEAT_MS * 4 <= ELECTION_MS_MIN, "a lost heartbeat is no outage");
const _: () = assert!(
    LEADER_HEARTBEAT_MS * 3 <= lease_ms(ELECTION_MS_MIN),
    "a lease outlives a lost heartbeat"
);
const _: () = assert!(HEARTBEAT_TTL_MS > 2 * ELECTION_MS_MAX, "an election is not a dead client");
const _: () = assert!(FRAME_BYTES_MAX <= MESSAGE_BYTES_MAX / 2, "a frame fits into a message");
const _: () = assert!(FRAME_FILL_BYTES <= FRAME_BYTES_MAX, "a full frame is a frame");
const _: () = assert!(20 * PROBED_NODES_MAX < MESSAGE_BYTES_MAX, "a round is one message");
const _: () = assert!(
    CUT_BYTES + (FRAME_BYTES_MAX as u64) < LOG_RETAINED_BYTES_MAX as u64,
    "the log reaches back to the second newest snapshot: a cut may come one frame late"
);
const _: () = assert!(APPEND_BYTES_MAX <= INFLIGHT_BYTES_MAX);
const _: () = assert!(
    RESTORE_PART_BYTES < FRAME_BYTES_MAX,
    "a part fits into a frame, with what stands around it"
);
const _: () = assert!(LEAVE_MS_MAX < REQUEST_PATIENCE_MS, "who leaves asks until it gives up");
const _: () = assert!(
    RESTORE_KEPT_MS > 10 * REQUEST_PATIENCE_MS,
    "parts are kept while somebody may still send the next"
);
const _: () = assert!(
    5 * REBALANCE_MOVES_MAX < ROWS_PER_COMMAND_MAX,
    "a rebalance that takes the place of another is one command"
);
const _: () = assert!(PLACEMENTS_PER_STEP_MAX <= ROWS_PER_COMMAND_MAX);
const _: () = assert!(REPORT_TASKS_MAX * TASK_EVENTS_MAX * TASK_EVENT_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(
    RECOVERY_LEAP < 1 << (64 - crate::types::ORDINAL_BITS - 9),
    "ids have room for hundreds of leaps"
);
const _: () = assert!(PAYLOAD_BYTES_MAX + DISPATCH_META_BYTES_MAX < FRAME_BYTES_MAX / 4);
const _: () = assert!(ROWS_PER_COMMAND_MAX < 1 << crate::types::ORDINAL_BITS);
