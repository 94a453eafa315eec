//! Damage of every kind: torn writes are cut, everything else is reported with its place.
use crc_fast::crc32_iscsi as crc32c;
use drover_core::types::WriteSeq;
use drover_core::wal::{Corruption, Damage, Lane, SegmentId};
use proptest::prelude::*;

use super::{PAGE, Rig};

fn damage(rig: &Rig) -> Corruption {
    match rig.recover() {
        Err(corruption) => corruption,
        Ok(recovery) => panic!("{} records were taken for all there were", recovery.records.len()),
    }
}

/// A log long enough that the files it writes to were recycled and hold old blocks.
fn recycled(blocks: usize) -> Rig {
    let mut rig = Rig::with_blocks(30, PAGE);
    for _ in 0..blocks {
        rig.compact(Lane::Raft, rig.durable);
        rig.append(Lane::Raft, 700);
        rig.settle();
    }
    rig
}

fn write_is_cut_at_every_byte(mut rig: Rig, bytes: usize) {
    rig.append(Lane::Raft, bytes);
    let durable = rig.durable;
    let (segment, at, block) = rig.in_flight().expect("the disk is idle");
    let before = rig.files[&segment].clone();
    // Every byte of the content, and the padding in strides.
    let content = 72 + 8 + bytes;
    for arrived in (0..=content).chain((content..block.len()).step_by(101)) {
        let file = rig.files.get_mut(&segment).expect("written segments are prepared");
        file.copy_from_slice(&before);
        file[at..at + arrived].copy_from_slice(&block[..arrived]);
        // Padding of zeros over zeros is there before it arrives.
        let is_whole = file[at..at + block.len()] == block;
        let recovery = rig.recover().expect("a torn write damages nothing durable");
        let upto = WriteSeq(durable.0 + u64::from(is_whole));
        assert_eq!(
            recovery.records,
            rig.needed(upto, recovery.tail.marks),
            "{arrived} bytes arrived"
        );
        assert_eq!(recovery.tail.next_seq.0, upto.0 + 1);
        if !is_whole && 72 <= arrived {
            assert_eq!(
                recovery.torn.map(|torn| (torn.segment, torn.offset)),
                Some((segment, at as u64))
            );
        }
    }
}

#[test]
fn a_write_torn_at_any_byte_is_cut() {
    write_is_cut_at_every_byte(Rig::with_blocks(2, 50), 3_000);
}

#[test]
fn a_write_torn_at_any_byte_over_old_blocks_is_cut() {
    write_is_cut_at_every_byte(recycled(12), 300);
}

#[test]
fn a_write_torn_at_any_byte_at_the_start_of_a_segment_is_cut() {
    // The first segments hold one page and two.
    write_is_cut_at_every_byte(Rig::with_blocks(3, 50), 50);
}

#[test]
fn an_empty_block_turns_damage_to_the_last_record_into_corruption() {
    let mut rig = Rig::with_blocks(3, 100);
    let (segment, at, _) = *rig.places.last().unwrap();
    let flip = |rig: &mut Rig| rig.files.get_mut(&segment).unwrap()[at + 80] ^= 4;
    flip(&mut rig);
    assert_eq!(rig.recover().unwrap().records.len(), 2, "it may have been torn");
    flip(&mut rig);
    rig.quiet();
    rig.settle();
    rig.quiet();
    assert!(rig.blocks.is_empty(), "once is enough");
    assert_eq!(rig.recover().unwrap().records.len(), 3);
    flip(&mut rig);
    assert_eq!(damage(&rig), Corruption { segment, offset: at as u64, why: Damage::Unreadable });
}

#[test]
fn a_missing_or_resized_segment_is_reported() {
    let full = || Rig::with_blocks(40, 3_000);
    for missing in [1, 2, 3] {
        let mut rig = full();
        rig.files.remove(&SegmentId(missing)).unwrap();
        assert_eq!(damage(&rig).why, Damage::SegmentMissing);
    }
    for length in [0, 100, PAGE, 3 * PAGE, 100 * PAGE] {
        let mut rig = full();
        rig.files.get_mut(&SegmentId(2)).unwrap().resize(length, 0);
        assert_eq!(damage(&rig).why, Damage::SegmentResized);
    }
}

#[test]
fn a_front_that_was_given_up_may_be_missing() {
    let mut rig = Rig::with_blocks(40, PAGE);
    rig.compact(Lane::Raft, WriteSeq(30));
    rig.append(Lane::Raft, 10);
    // The block that remembers it is durable; the removals are not yet.
    rig.complete_block();
    assert_eq!(rig.recover().unwrap().records.len(), 11);
    rig.settle();
    assert_eq!(rig.recover().unwrap().records.len(), 11);
    assert!(!rig.files.contains_key(&SegmentId(1)));
}

#[test]
fn damage_to_the_only_block_of_the_first_segment_is_reported() {
    let mut rig = Rig::new();
    rig.append(Lane::Client, 3_000);
    rig.settle();
    for _ in 0..20 {
        rig.append(Lane::Raft, 3_000);
        rig.settle();
    }
    // Raft needs nothing of the front any more; the client's record is all that is needed there.
    rig.compact(Lane::Raft, WriteSeq(20));
    rig.append(Lane::Raft, 100);
    rig.settle();
    rig.files.get_mut(&SegmentId(1)).unwrap()[100] ^= 1;
    let found = Corruption { segment: SegmentId(1), offset: 0, why: Damage::Unreadable };
    assert_eq!(damage(&rig), found);
}

#[test]
fn a_log_of_a_newer_version_is_refused() {
    let mut rig = Rig::with_blocks(3, 100);
    let (segment, at, bytes) = *rig.places.last().unwrap();
    let file = rig.files.get_mut(&segment).unwrap();
    file[at + 8] = 2;
    let sum = crc32c(&file[at + 4..at + bytes]);
    file[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(damage(&rig).why, Damage::UnknownVersion);
}

#[test]
fn a_block_without_its_predecessor_is_reported() {
    let mut rig = Rig::with_blocks(3, 100);
    let (segment, at, bytes) = *rig.places.last().unwrap();
    let file = rig.files.get_mut(&segment).unwrap();
    file[at + 12] ^= 1;
    let sum = crc32c(&file[at + 4..at + bytes]);
    file[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(damage(&rig), Corruption { segment, offset: at as u64, why: Damage::Unchained });
}

/// The bytes of a log of format 1, so that no change of code changes it unseen.
#[test]
fn the_format_stays_as_it_was_released() {
    let mut rig = Rig::new();
    rig.append(Lane::Raft, 3);
    rig.append(Lane::Client, 5);
    rig.settle();
    rig.compact(Lane::Raft, WriteSeq(1));
    rig.append(Lane::Raft, 0);
    rig.settle();
    let hex = |segment: u64, bytes: usize| {
        let file = &rig.files[&SegmentId(segment)];
        file[..bytes].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let header = concat!(
        "1a12605e",         // checksum
        "44524f5601000000", // magic, version
        "00000000",         // checksum of the block before
        "0010000002000000", // bytes, records
        "01000000000000000000000000000000",
        "0010000000000000", // segment and offset, bytes of the segment
        "0100000000000000", // first sequence number
        "00000000000000000000000000000000",
    );
    let records = concat!("0300000001000000070909", "05000000020000000f0f111113");
    assert_eq!(hex(1, 96), [header, records].concat());
    let header = concat!(
        "376d9043",
        "44524f5601000000",
        "1a12605e",
        "0010000001000000",
        "02000000000000000000000000000000",
        "0020000000000000",
        "0300000000000000",
        "01000000000000000000000000000000",
    );
    assert_eq!(hex(2, 80), [header, "0000000001000000"].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_flipped_bit_before_the_last_block_is_reported_with_its_place(
        is_recycled: bool, block in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>(),
    ) {
        let mut rig = if is_recycled { recycled(20) } else { Rig::with_blocks(12, 3_000) };
        rig.places.retain(|(segment, ..)| rig.files.contains_key(segment));
        rig.places.pop();
        // Of a recycled file only what was written since counts.
        let live: Vec<_> = rig.places.iter().rev().take(8).copied().collect();
        let (segment, at, bytes) = live[block.index(live.len())];
        let bit = bit.index(bytes * 8);
        rig.files.get_mut(&segment).unwrap()[at + bit / 8] ^= 1 << (bit % 8);
        let found = damage(&rig);
        prop_assert_eq!((found.segment, found.offset), (segment, at as u64));
        prop_assert_eq!(found.why, Damage::Unreadable);
    }

    #[test]
    fn a_flipped_bit_in_the_last_block_passes_for_a_torn_write(
        is_recycled: bool, bit in any::<prop::sample::Index>(),
    ) {
        let mut rig = if is_recycled { recycled(20) } else { Rig::with_blocks(11, 3_000) };
        let (segment, at, bytes) = *rig.places.last().unwrap();
        let bit = bit.index(bytes * 8);
        rig.files.get_mut(&segment).unwrap()[at + bit / 8] ^= 1 << (bit % 8);
        let recovery = rig.recover().unwrap();
        let upto = WriteSeq(rig.durable.0 - 1);
        prop_assert_eq!(recovery.records, rig.needed(upto, recovery.tail.marks));
    }

    #[test]
    fn a_write_that_lands_elsewhere_is_reported(
        is_recycled: bool, file in any::<prop::sample::Index>(), page in any::<prop::sample::Index>(),
    ) {
        let mut rig = if is_recycled { recycled(20) } else { Rig::with_blocks(11, 3_000) };
        rig.append(Lane::Raft, 100);
        let (segment, at, block) = rig.in_flight().unwrap();
        let segments: Vec<_> = rig.files.keys().copied().collect();
        let landed = segments[file.index(segments.len())];
        let bytes = rig.files.get_mut(&landed).unwrap();
        let landed_at = page.index(bytes.len() / PAGE) * PAGE;
        prop_assume!((landed, landed_at) != (segment, at));
        bytes[landed_at..landed_at + block.len()].copy_from_slice(&block);
        prop_assert_eq!(damage(&rig).why, Damage::Misdirected);
    }

    #[test]
    fn a_write_that_never_arrived_is_reported_once_another_follows(is_recycled: bool) {
        let mut rig = if is_recycled { recycled(20) } else { Rig::with_blocks(11, 3_000) };
        rig.append(Lane::Raft, 100);
        let (segment, offset, bytes) = {
            rig.complete_block();
            *rig.places.last().unwrap()
        };
        rig.append(Lane::Raft, 100);
        rig.settle();
        rig.files.get_mut(&segment).unwrap()[offset..offset + bytes].fill(0);
        prop_assert_eq!(damage(&rig), Corruption { segment, offset: offset as u64, why: Damage::Unreadable });
    }

    /// Whatever a valid checksum covers, recovery answers.
    #[test]
    fn no_content_makes_recovery_panic(
        block in any::<prop::sample::Index>(), at in 8..90_usize, bytes: [u8; 8], is_sealed: bool,
    ) {
        let mut rig = Rig::with_blocks(6, 100);
        let (segment, offset, length) = rig.places[block.index(rig.places.len())];
        let file = rig.files.get_mut(&segment).unwrap();
        file[offset + at..][..8].copy_from_slice(&bytes);
        if is_sealed {
            let sum = crc32c(&file[offset + 4..offset + length]);
            file[offset..offset + 4].copy_from_slice(&sum.to_le_bytes());
        }
        if let Ok(recovery) = rig.recover() {
            drover_core::wal::Wal::new(super::CONFIG, recovery.tail).check_invariants();
        }
    }
}
