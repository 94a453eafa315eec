//! What a fuzzer feeds: each function takes any bytes, and panics where a promise does not hold for them.
//!
//! `fuzz/` looks for such bytes; what it found so far lies in `fuzz/corpus`, and `it/fuzz.rs` tries all of
//! that again in every test run.
//!
//! | function | bytes are |
//! |---|---|
//! | `wire` | who speaks, and a message |
//! | `wal` | segments of a log |
//! | `input_log` | a segment of an input log |
//! | `snapshot` | a snapshot, or a saved state that an operator brings back |
//! | `jobspec` | a job file |
//! | `http` | a request to the API, or a body that registers a job |
//! | `agent_step` | what happens to an agent, one thing after the other |
//! | `sim_entropy` | the choices of a plan |
//!
//! Invariants
//! - no byte string is refused by a panic.
use std::io::Write as _;

use drover_core::agent::Agent;
use drover_core::agent::snapshot::Loaded;
use drover_core::digest::Digest;
use drover_core::fsm::{self, Command, Entry};
use drover_core::state::{Saved, SnapshotFault, State};
use drover_core::time::WallTime;
use drover_core::types::{Index, NodeId, ServerId};
use drover_core::wal::recover::{Recovery, recover};
use drover_core::wal::{self, SegmentId, SegmentImage, Wal};
use drover_core::wire::{Message, PeerId};
use drover_shell::jobspec::{self, Inputs, Source};
use drover_shell::recorder::{Reader, Record, Start};
use drover_sim::plan::Plan;
use drover_sim::plan::draw::Size;
use drover_sim::{Options, Replays, run_plan};

mod agent_step;
mod bytes;
mod http;

pub use agent_step::agent_step;
use bytes::Bytes;
pub use http::http;

/// Holds a promise to some bytes.
pub type Check = fn(&[u8]);

/// By name.
pub const ALL: [(&str, Check); 8] = [
    ("wire", wire),
    ("wal", wal),
    ("input_log", input_log),
    ("snapshot", snapshot),
    ("jobspec", jobspec),
    ("http", http),
    ("agent_step", agent_step),
    ("sim_entropy", sim_entropy),
];

/// A message that is read is written and read again as the same.
///
/// # Panics
/// If it is not.
pub fn wire(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let number = u64::from(kind >> 1);
    let from = match kind & 1 {
        0 => PeerId::Server(ServerId(number)),
        _ => PeerId::Client(NodeId(number.into())),
    };
    let Ok(message) = Message::decode(from, bytes) else { return };
    let again = Message::decode(from, &message.encode());
    assert_eq!(again.as_ref(), Ok(&message), "what is read is what was written");
    let _how_it_travels = message.lane();
}

/// A log that is read can be gone on with, and reads the same when its torn end was wiped.
///
/// # Panics
/// If it does not.
pub fn wal(bytes: &[u8]) {
    const SEGMENTS_MAX: u64 = 8;
    let mut bytes = Bytes::new(bytes);
    let mut segments: Vec<(SegmentId, Vec<u8>)> = Vec::new();
    for _ in 0..SEGMENTS_MAX {
        let Some(gap) = bytes.number(1) else { break };
        let before = segments.last().map_or(0, |&(segment, _)| segment.0);
        let length = bytes.number(2).unwrap_or(0);
        let mut segment = bytes.slice(length).to_vec();
        // Files are made longer than what is written into them.
        segment.resize(segment.len() + usize::from(gap & 1 == 1) * 4_096, 0);
        segments.push((SegmentId(before + 1 + gap / 2), segment));
    }
    // No fuzzer guesses a checksum; here every block has the same.
    let read = |segments: &[(SegmentId, Vec<u8>)]| {
        let images = segments.iter().map(|(segment, bytes)| SegmentImage {
            segment: *segment,
            bytes,
            blank_bytes: 0,
        });
        recover(images, |_| 0)
    };
    let Ok(Recovery { records, tail, torn }) = read(&segments) else { return };
    let ordered = records.windows(2).all(|pair| pair[0].0 < pair[1].0);
    assert!(ordered, "records come in their order");
    let config = wal::Config {
        segment_bytes_first: 128 << 10,
        segment_bytes: 4 << 20,
        write_bytes_max: 2 << 20,
    };
    if let Some(torn) = torn {
        let torn_in = segments.iter_mut().find(|(segment, _)| *segment == torn.segment);
        let (_, segment) = torn_in.expect("a torn tail lies in a segment");
        let from = usize::try_from(torn.offset).expect("it is small");
        let length = usize::try_from(torn.bytes).expect("it is small");
        segment[from..from + length].fill(0);
        let again = read(&segments).expect("a log whose torn end was wiped is whole");
        assert_eq!((again.records, &again.tail), (records, &tail), "only what was torn is cut");
    }
    Wal::new(config, tail).check_invariants();
}

/// A segment of an input log is read to its end, or to what is damaged.
///
/// # Panics
/// If the file cannot be made.
pub fn input_log(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(bytes).expect("it can be written");
    let Ok((mut reader, start)) = Reader::open(file.path()) else { return };
    if let Start::Frozen(frozen) = start {
        let _is_an_agent = Agent::thaw(&frozen);
    }
    while let Ok(Some(record)) = reader.read_next::<Record>() {
        let written = postcard::to_allocvec(&record).expect("a record is plain data");
        let again = postcard::from_bytes::<Record>(&written).expect("what was written is read");
        let same = postcard::to_allocvec(&again).expect("a record is plain data") == written;
        assert!(same, "what is read is what was written");
    }
}

/// A state that is read is written as it was; one that an operator brings back is sound, or is not taken.
///
/// # Panics
/// If it is not.
pub fn snapshot(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    if kind & 1 == 0 {
        let Ok(loaded) = Loaded::read(bytes.into()) else { return };
        loaded.state().check_invariants();
        let written = loaded.state().encode();
        assert!(bytes.ends_with(&written), "a state is written in one way");
        return;
    }
    let bytes = &with_its_digest(bytes);
    let Ok(saved) = Saved::read(bytes) else { return };
    // What was read is put in force as an operator would do it.
    let mut state = State::new();
    let of = Digest::of(bytes);
    let bootstrap = Command::Bootstrap { cluster: saved.cluster() };
    let part = Command::RestorePart { of, nth: 0, bytes: bytes.as_slice().into() };
    let restore = Command::Restore { of, parts: 1 };
    let stamp = WallTime { unix_ms: 1 };
    let mut changes = Vec::new();
    let first = saved.index().0.min(1 << 40) + 1;
    for (index, command) in (first..).zip([bootstrap, part, restore]) {
        let entry = Entry { stamp, session: None, command };
        let _taken_or_refused = fsm::apply(&mut state, Index(index), &entry, &mut changes);
        state.check_invariants();
    }
    let again = State::decode(&state.encode()).expect("what was written is read");
    assert_eq!(again.digest(), state.digest(), "what is read is what was written");
}

/// No fuzzer guesses a digest, but whoever forges a saved state can compute it.
fn with_its_digest(bytes: &[u8]) -> Vec<u8> {
    let encoded = |digest: Digest| postcard::to_allocvec(&digest).expect("it is plain data");
    let mut bytes = bytes.to_vec();
    if let Err(SnapshotFault::DigestDiffers { named, found }) = State::decode(&bytes) {
        let named = encoded(named);
        if bytes.ends_with(&named) {
            bytes.truncate(bytes.len() - named.len());
            bytes.extend(encoded(found));
        }
    }
    bytes
}

/// A job file is read, or everything that is wrong with it is told.
///
/// # Panics
/// If what it stands for is not the same as JSON.
pub fn jobspec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let source = Source { file: "fuzzed.nomad.hcl".into(), text: text.into() };
    match jobspec::parse(&source, &Inputs::default()) {
        Ok(file) => {
            let written = serde_json::to_vec(&file.written).expect("a job is plain data");
            let again =
                jobspec::parse_json(&written).expect("a job that is right is right in JSON");
            assert_eq!(again.spec, file.spec, "a job is the same in HCL and in JSON");
        }
        Err(wrong) => assert!(!wrong.is_empty(), "who is refused is told why"),
    }
}

/// The plan that the bytes stand for passes.
///
/// # Panics
/// If a checker fires.
pub fn sim_entropy(bytes: &[u8]) {
    let plan = Plan::draw_from(bytes, Size { servers: 3, clients: 2, fault_ms: 20_000 });
    let options =
        Options { check_every: 50, ladder_lines: 0, replays: Replays::No, ..Options::default() };
    let report = run_plan(&plan, &options);
    assert!(report.failure.is_none(), "{report}\n{plan}");
}
