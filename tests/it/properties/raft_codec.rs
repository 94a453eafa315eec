//! Messages and records cross the wire and the disk unchanged, and a whole machine can be frozen.
use std::sync::Arc;

use drover_core::raft::{
    Body, Config, Configuration, Frame, HardState, Message, Payload, Position, Raft, Record,
    Recovered, SnapshotMark,
};
use drover_core::rng::Rng;
use drover_core::time::MonoTime;
use drover_core::types::{Index, ServerId, Term};
use proptest::collection::vec;
use proptest::prelude::*;

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Noop),
        (1_u32..5, vec(any::<u8>(), 0..300))
            .prop_map(|(count, bytes)| Payload::Commands { count, bytes: bytes.into() }),
        (1_u64..9, 10_u64..19).prop_map(|(voter, learner)| {
            let configuration = Configuration::new(&[ServerId(voter)], &[ServerId(learner)]);
            Payload::Configuration(Box::new(configuration))
        }),
    ]
}

/// A log of frames that follow each other, in terms that do not fall.
fn frames() -> impl Strategy<Value = Vec<Arc<Frame>>> {
    vec((payload(), 0_u64..2), 0..12).prop_map(|parts| {
        let (mut first, mut term) = (Index(1), Term(1));
        let place = |(payload, later): (Payload, u64)| {
            term = Term(term.0 + later);
            let frame = Frame { first, term, payload };
            first = frame.last().next();
            Arc::new(frame)
        };
        parts.into_iter().map(place).collect()
    })
}

proptest! {
    #[test]
    fn an_append_is_read_as_it_was_written(frames in frames(), round in any::<u64>()) {
        let body = Body::Append { prev: Position::default(), commit: Index(3), round, frames: frames.into_iter().collect() };
        let message = Message { term: Term(99), body };
        prop_assert_eq!(message.fault(), None);
        let bytes = postcard::to_allocvec(&message).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Message>(&bytes).unwrap(), message);
    }

    #[test]
    fn a_gap_or_a_falling_term_is_refused(frames in frames(), at in 0_usize..12) {
        prop_assume!(at + 1 < frames.len());
        let mut holed = frames.clone();
        holed.remove(at);
        let mut falling = frames;
        let last = falling.len() - 1;
        Arc::make_mut(&mut falling[last]).term = Term(0);
        for frames in [holed, falling] {
            let (prev, frames) = (Position::default(), frames.into_iter().collect());
            let body = Body::Append { prev, commit: Index(0), round: 1, frames };
            let fault = Message { term: Term(99), body }.fault();
            prop_assert!(fault.is_some());
        }
    }

    #[test]
    fn the_log_after_a_restart_is_the_log_before(
        frames in frames(),
        cut in 0_usize..12,
        retold in frames(),
        snapshot_at in 0_usize..12,
    ) {
        // Written, cut somewhere, and written on in a later term: against a plain list.
        let mut records = vec![Record::HardState(HardState { term: Term(99), voted_for: None })];
        let mut model: Vec<Arc<Frame>> = frames.clone();
        let write = |frame: Arc<Frame>, from| Record::Frame { truncate_from: from, frame };
        records.extend(frames.into_iter().map(|frame| write(frame, None)));
        let cut = cut.min(model.len());
        let mut from = model.get(cut).map(|frame| frame.first);
        model.truncate(cut);
        for frame in retold {
            let first = model.last().map_or(Index(1), |last| last.last().next());
            let frame = Frame { first, term: Term(frame.term.0 + 50), payload: frame.payload.clone() };
            let frame = Arc::new(frame);
            records.push(write(Arc::clone(&frame), from.take()));
            model.push(frame);
        }
        if from.is_some() {
            return Ok(());
        }
        let mark = model.get(snapshot_at).map(|frame| SnapshotMark {
            index: frame.last(),
            term: frame.term,
            digest: Default::default(),
            bytes: 0,
            configuration: Configuration::new(&[ServerId(7)], &[]),
        });
        let recovered = Recovered::from_records(records, mark.clone());
        prop_assert_eq!(&recovered.frames, &model);
        let rng = Rng::from_seed(1);
        let raft = Raft::new(Config::new(ServerId(1)), rng, recovered, MonoTime::default());
        raft.check_invariants();
        let held: Vec<_> = raft.frames().cloned().collect();
        prop_assert_eq!(held, model.clone());
        let above = model.iter().rev().take_while(|f| mark.as_ref().is_none_or(|m| m.index < f.first));
        let configured = above.filter_map(|frame| match &frame.payload {
            Payload::Configuration(configuration) => Some((**configuration).clone()),
            Payload::Noop | Payload::Commands { .. } => None,
        });
        let expected = configured.into_iter().next();
        let expected = expected.or(mark.map(|mark| mark.configuration)).unwrap_or_default();
        prop_assert_eq!(raft.configuration(), &expected);
        let frozen = postcard::to_allocvec(&raft).unwrap();
        let thawed: Raft = postcard::from_bytes(&frozen).unwrap();
        prop_assert_eq!(postcard::to_allocvec(&thawed).unwrap(), frozen);
    }
}
