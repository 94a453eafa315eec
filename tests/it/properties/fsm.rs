//! What holds of the state machine whatever the log says.
mod generate;
mod golden;
mod rig;
mod stories;
mod stories_of_plans;
mod stories_of_pools;
mod stories_of_restores;

use drover_core::fsm::record::{RecordFault, decode_batch, encode_batch};
use drover_core::fsm::{Command, Entry, Outcome, apply};
use drover_core::rng::Rng;
use drover_core::state::{Change, SnapshotFault, State, TableKind};
use drover_core::types::ClientStatus;

use self::generate::Generator;

const SEEDS: u64 = 40;
const COMMANDS_PER_SEED: usize = 250;

/// A log out of a seed, with the state it leads to.
fn log_of(seed: u64, mut look: impl FnMut(&State, &Outcome)) -> (Vec<Entry>, State) {
    let (mut generator, mut state) = (Generator::from_seed(seed), State::new());
    let mut log = Vec::new();
    for _ in 0..COMMANDS_PER_SEED {
        let entry = generator.entry(&state);
        let index = state.index().next();
        let outcome = apply(&mut state, index, &entry, &mut Vec::new());
        look(&state, &outcome);
        log.push(entry);
    }
    (log, state)
}

fn replay(state: &mut State, log: &[Entry]) -> (Vec<Outcome>, Vec<Change>) {
    let mut changes = Vec::new();
    let step = |entry: &Entry| {
        let index = state.index().next();
        apply(state, index, entry, &mut changes)
    };
    let outcomes = log.iter().map(step).collect();
    (outcomes, changes)
}

#[test]
fn derived_data_is_true_after_every_command() {
    for seed in 0..SEEDS {
        log_of(seed, |state, _| state.check_invariants());
    }
}

#[test]
fn what_is_placed_is_on_a_node_of_its_pool() {
    let (mut placed, mut beyond) = (0, 0);
    for seed in 0..8 * SEEDS {
        log_of(seed, |state, _| {
            for alloc in state.allocs().filter(|alloc| alloc.create_index == state.index()) {
                let job = state.job(alloc.job).expect("its job");
                let wanted = &job.version(alloc.version).expect("its version").spec.node_pool;
                let is = &state.node(alloc.node).expect("its node").spec.pool;
                assert!(wanted == is || wanted.as_str() == "all", "seed {seed}: {wanted} on {is}");
                placed += 1;
                beyond += usize::from(wanted.as_str() != "default");
            }
        });
    }
    assert!(100 < placed && 12 < beyond, "{placed} {beyond}");
}

#[test]
fn the_same_log_gives_the_same_state_through_bytes() {
    for seed in 0..SEEDS {
        let (log, state) = log_of(seed, |_, _| ());
        let payload = encode_batch(&log);
        let count = u32::try_from(log.len()).unwrap();
        let read: Result<Vec<Entry>, _> = decode_batch(&payload, count).collect();
        let mut again = State::new();
        replay(&mut again, &read.expect("what was encoded reads"));
        assert_eq!(again.digest(), state.digest(), "seed {seed}");
        assert_eq!(again.encode(), state.encode(), "seed {seed}");
    }
}

#[test]
fn a_snapshot_at_any_point_changes_nothing_of_what_follows() {
    for seed in 0..SEEDS {
        let (log, _) = log_of(seed, |_, _| ());
        let at = usize::try_from(Rng::from_seed(seed).between(0, log.len() as u64)).unwrap();
        let mut whole = State::new();
        replay(&mut whole, &log[..at]);
        let mut restored = State::decode(&whole.encode()).expect("a snapshot of ours");
        restored.check_invariants();
        assert_eq!(restored.digest(), whole.digest(), "seed {seed}");
        let (expected, found) = (replay(&mut whole, &log[at..]), replay(&mut restored, &log[at..]));
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(restored.encode(), whole.encode(), "seed {seed}");
    }
}

/// The other properties would say little of logs in which nothing happens.
#[test]
fn the_generated_logs_reach_what_matters() {
    let (mut refused_placements, mut repeated, mut refused, mut lost) = (0, 0, 0, 0);
    let (mut tombstones, mut blocked, mut follow_ups, mut gone) = (0, 0, 0, 0);
    let (mut restored, mut preempted) = (0, 0);
    let mut allocs_before = 0;
    for seed in 0..4 * SEEDS {
        log_of(seed, |state, outcome| {
            match outcome {
                Outcome::Applied { refused_placements: count, .. } => refused_placements += count,
                Outcome::Refused(_) => refused += 1,
                Outcome::Repeated { .. } => repeated += 1,
            }
            lost +=
                state.allocs().filter(|alloc| alloc.client_status == ClientStatus::Lost).count();
            follow_ups += state.allocs().filter(|alloc| alloc.follow_up.is_some()).count();
            blocked += state.blocked_evals().count();
            preempted += state.allocs().filter(|alloc| alloc.preempted_by.is_some()).count();
            let nodes = state.nodes().map(|node| node.spec.id);
            tombstones += nodes.map(|id| state.tombstones_of_node(id).count()).sum::<usize>();
            let allocs = state.allocs().count();
            gone += usize::from(allocs < allocs_before);
            let tables = [TableKind::Nodes, TableKind::Jobs, TableKind::Evals, TableKind::Allocs];
            let is_new = |kind| state.table_index(kind) == state.index();
            restored += usize::from(tables.into_iter().all(is_new));
            allocs_before = allocs;
        });
    }
    let reached = [
        refused_placements as usize,
        repeated,
        refused,
        lost,
        tombstones,
        blocked,
        follow_ups,
        gone,
        restored,
        preempted,
    ];
    assert!(reached.iter().all(|&times| 20 < times), "{reached:?}");
}

#[test]
fn apply_answers_whatever_bytes_decode_to() {
    let mut rng = Rng::from_seed(1);
    let mut applied = 0;
    for seed in 0..SEEDS {
        let (log, _) = log_of(seed, |_, _| ());
        let mut state = State::new();
        for entry in &log {
            let mut bytes = encode_batch(std::slice::from_ref(entry));
            for _ in 0..rng.between(0, 2) {
                let at = usize::try_from(rng.between(0, bytes.len() as u64 - 1)).unwrap();
                bytes[at] = rng.next_u64().to_le_bytes()[0];
            }
            for entry in decode_batch(&bytes, 1).filter_map(Result::ok) {
                let index = state.index().next();
                apply(&mut state, index, &entry, &mut Vec::new());
                applied += 1;
            }
        }
        state.check_invariants();
    }
    assert!(3_000 < applied, "most mutated entries still read: {applied}");
}

#[test]
fn arbitrary_bytes_are_no_entry_and_no_snapshot() {
    let mut rng = Rng::from_seed(2);
    for length in 0..2_000 {
        let bytes: Vec<u8> = (0..length).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        let mut state = State::new();
        for entry in decode_batch(&bytes, 3).filter_map(Result::ok) {
            let index = state.index().next();
            apply(&mut state, index, &entry, &mut Vec::new());
        }
        assert!(State::decode(&bytes).is_err(), "{length} bytes of noise");
    }
}

#[test]
fn a_payload_holds_exactly_the_entries_that_it_says() {
    let (log, _) = log_of(1, |_, _| ());
    let payload = encode_batch(&log[..2]);
    let read = |bytes, count| decode_batch(bytes, count).collect::<Result<Vec<Entry>, _>>();
    assert_eq!(read(&payload, 2), Ok(log[..2].to_vec()));
    let bytes = encode_batch(&log[1..2]).len();
    assert_eq!(read(&payload, 1), Err(RecordFault::TrailingBytes { bytes }));
    assert_eq!(read(&payload, 3), Err(RecordFault::Malformed { position: 2 }));
    assert_eq!(read(&payload[..payload.len() - 1], 2), Err(RecordFault::Malformed { position: 1 }));
    assert_eq!(read(&[], 0), Ok(vec![]));
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let (_, state) = log_of(3, |_, _| ());
    let whole = state.encode();
    let mut rng = Rng::from_seed(3);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        let at = usize::try_from(rng.between(0, bytes.len() as u64 - 1)).unwrap();
        bytes[at] ^= 1 << rng.between(0, 7);
        assert!(State::decode(&bytes).is_err(), "byte {at} was changed");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert_eq!(State::decode(&longer).err(), Some(SnapshotFault::TrailingBytes));
    assert!(State::decode(&whole[..whole.len() - 1]).is_err());
}

#[test]
fn states_that_differ_in_one_command_differ_in_their_digest() {
    let (log, state) = log_of(5, |_, _| ());
    for at in (1..log.len()).step_by(10) {
        let mut other = State::new();
        let mut changed = log.clone();
        // Without a session, so that it cannot be taken for one that was applied before.
        let command = Command::RaiseFeatureLevel { level: 1_000 };
        changed[at] = Entry { command, session: None, ..changed[at].clone() };
        replay(&mut other, &changed);
        assert_ne!(other.digest(), state.digest(), "command {at}");
    }
}
