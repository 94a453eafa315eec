//! Every bound of the system: its unit, and one line of reason. Full means `Overloaded`, never growth.
//!
//! Invariants
//! - relations between bounds are checked when this file is compiled.

/// Shortest time without a leader's word before a server asks for votes. Above the idle timeout's
/// halves and a slow disk's flush; below what users notice as an outage.
pub const ELECTION_MS_MIN: u64 = 500;
/// Longest of the same: the spread makes two servers unlikely to ask at once.
pub const ELECTION_MS_MAX: u64 = 1_000;
/// How often a leader speaks when it has nothing to say: several times per shortest election.
pub const LEADER_HEARTBEAT_MS: u64 = 100;
/// Largest body of one frame: one write and one message; a plan of 4,096 rows fits.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
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
/// Bytes of committed frames between two cuts.
pub const CUT_BYTES: u64 = 16 << 20;
/// A command changes at most this many rows, so that one entry cannot stall the loop.
pub const ROWS_PER_COMMAND_MAX: usize = 4_096;
/// Placements per scheduling step: a big job is placed in quanta.
pub const PLACEMENTS_PER_STEP_MAX: usize = 512;
/// Servers of a region's configuration.
pub const SERVERS_MAX: usize = 15;
/// Requests of outside callers that wait at once.
pub const REQUESTS_PENDING_MAX: usize = 16_384;
/// A segment of the write-ahead log, zero-filled before use.
pub const WAL_SEGMENT_BYTES: u64 = 64 << 20;
/// How long a client may be silent (`server.min_heartbeat_ttl`).
pub const HEARTBEAT_TTL_MS: u64 = 10_000;
/// Added before a silent node is called down (`server.heartbeat_grace`).
pub const HEARTBEAT_GRACE_MS: u64 = 10_000;
/// Allocs that one group may ask for (Nomad's `job_max_count`).
pub const GROUP_COUNT_MAX: u32 = 50_000;
/// Versions of a job that are kept (Nomad's `job_tracked_versions`).
pub const JOB_VERSIONS_MAX: usize = 6;
/// Task events kept per task (as Nomad).
pub const TASK_EVENTS_MAX: usize = 10;
/// Node events kept per node (as Nomad).
pub const NODE_EVENTS_MAX: usize = 10;
/// Rescheduling events kept per alloc (as Nomad).
pub const RESCHEDULE_EVENTS_MAX: usize = 5;
/// Furthest that the replicated clock moves at one entry.
pub const CLOCK_STEP_MS_MAX: u64 = 60_000;

const _: () = assert!(ELECTION_MS_MIN < ELECTION_MS_MAX);
const _: () = assert!(LEADER_HEARTBEAT_MS * 4 <= ELECTION_MS_MIN, "a lost heartbeat is no outage");
const _: () = assert!(HEARTBEAT_TTL_MS > 2 * ELECTION_MS_MAX, "an election is not a dead client");
const _: () = assert!(FRAME_BYTES_MAX <= MESSAGE_BYTES_MAX / 2, "a frame fits into a message");
const _: () = assert!(APPEND_BYTES_MAX <= INFLIGHT_BYTES_MAX);
const _: () = assert!(PLACEMENTS_PER_STEP_MAX <= ROWS_PER_COMMAND_MAX);
const _: () = assert!(ROWS_PER_COMMAND_MAX < 1 << crate::types::ORDINAL_BITS);
