//! What opening makes of the states in which a spool can be found.

use super::*;
use crate::spool::{
    DamagedRange, InspectError, SegmentState, fs::append_all, inspect::inspect_on, segment::HEADER_BYTES,
};

/// A spool of one segment with items 0 to 9, and its frames.
fn ten_items() -> (FaultFs, Options, Vec<Frame>) {
    let fs = FaultFs::new();
    let options = Options { segment_bytes: 1 << 16, ..options() };
    let spool = open_with(&fs, options.clone(), 0).unwrap();
    append_each(&spool, numbered(0..10));
    let frames = frames_from(&spool.reader, 0);
    (fs, options, frames)
}

fn append_raw(fs: &FaultFs, base: u64, bytes: &[u8]) {
    let file = fs.open_append(&segment_path(base)).unwrap();
    append_all(&*file, bytes, &[]).unwrap();
    file.sync_data().unwrap();
}

fn truncate(fs: &FaultFs, base: u64, len: u64) {
    let file = fs.open_append(&segment_path(base)).unwrap();
    file.set_len(len).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn reopening_goes_on_where_it_was_with_the_same_id() {
    let fs = FaultFs::new();
    let first = open(&fs);
    append_each(&first, numbered(0..7));
    let (id, end) = (first.reader.spool_id(), first.reader.durable_end());
    drop(first);
    let second = open(&fs);
    assert_eq!(second.reader.spool_id(), id);
    assert_eq!(second.reader.durable_end(), end);
    assert_eq!(second.recovery.frames, 7);
    assert_eq!(second.recovery.missing_frames, 0);
    append_each(&second, numbered(7..9));
    let frames = frames_from(&second.reader, 0);
    assert_eq!(frames.iter().map(|it| it.seq).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    assert_eq!(frames[7].position.max(end), frames[7].position);
}

#[test]
fn an_empty_spool_starts_at_the_first_position_that_was_never_used() {
    let fs = FaultFs::new();
    let spool = open_with(&fs, options(), 12_345).unwrap();
    assert_eq!(spool.reader.durable_end(), Position(12_345));
    append(&spool.appender, b"one").unwrap();
    let frames = frames_from(&spool.reader, 0);
    assert_eq!(frames[0].position, Position(12_345 + HEADER_BYTES as u64));
}

#[test]
fn positions_below_min_next_are_never_used_and_what_is_there_stays() {
    let (fs, options, frames) = ten_items();
    let end = frames[9].next.0;
    let spool = open_with(&fs, options.clone(), end + 1000).unwrap();
    assert_eq!(items_in(&spool.reader), numbered(0..10), "a plan may still need it");
    append(&spool.appender, b"after").unwrap();
    let last = frames_from(&spool.reader, end).pop().unwrap();
    assert!(last.position.0 >= end + 1000);
    assert_eq!(last.seq, 10);
    drop(spool);
    let spool = open_with(&fs, options, last.next.0).unwrap();
    assert_eq!(spool.recovery.missing_frames, 0, "a jump of positions is not a loss");
    assert_eq!(frames_from(&spool.reader, 0).len(), 11);
}

#[test]
fn a_write_cut_short_anywhere_is_cut_off_and_its_place_used_again() {
    let (fs, options, frames) = ten_items();
    let last = &frames[9];
    for len in last.position.0 + 1..last.next.0 {
        let fs = fs.kill();
        truncate(&fs, 0, len);
        let before = inspect_on(&fs, Path::new(DIR)).unwrap();
        assert_eq!(before.torn_tail, Some((last.position, len - last.position.0)));
        assert_eq!(before.segments[0].state, SegmentState::TornTail);
        let spool = open_with(&fs, options.clone(), 0).unwrap();
        assert_eq!(spool.recovery.truncated_bytes, len - last.position.0);
        assert_eq!(spool.recovery.quarantined, []);
        assert_eq!(spool.reader.durable_end(), last.position);
        append(&spool.appender, b"again").unwrap();
        let mut expected = numbered(0..9);
        expected.push(b"again".to_vec());
        assert_eq!(items_in(&spool.reader), expected);
    }
}

#[test]
fn zeros_at_the_end_are_a_torn_write() {
    let (fs, options, frames) = ten_items();
    append_raw(&fs, 0, &[0; 5000]);
    let spool = open_with(&fs, options, 0).unwrap();
    assert_eq!(spool.recovery.truncated_bytes, 5000);
    assert_eq!(spool.reader.durable_end(), frames[9].next);
}

#[test]
fn a_torn_frame_that_was_handed_out_is_damage() {
    let (fs, options, frames) = ten_items();
    let last = &frames[9];
    truncate(&fs, 0, last.next.0 - 1);
    let spool = open_with(&fs, options, last.next.0).unwrap();
    assert_eq!(spool.recovery.truncated_bytes, 0);
    let range = DamagedRange { start: last.position, end: Position(last.next.0 - 1) };
    assert_eq!(spool.recovery.quarantined, [range]);
    append(&spool.appender, b"after").unwrap();
    let after = frames_from(&spool.reader, 0).pop().unwrap();
    assert!(after.position >= last.next);
    assert_eq!(spool.reader.damaged_ranges(), 0);
}

#[test]
fn a_flipped_bit_in_the_middle_costs_one_frame_wherever_it_is() {
    let (fs, options, frames) = ten_items();
    let bad = &frames[4];
    for at in bad.position.0..bad.next.0 {
        let fs = fs.kill();
        fs.flip_bit(&segment_path(0), at, 6);
        let range = DamagedRange { start: bad.position, end: bad.next };
        let seen = inspect_on(&fs, Path::new(DIR)).unwrap();
        assert_eq!((&seen.damaged[..], seen.segments[0].frames), (&[range][..], 9));
        for opening in 0..2 {
            let spool = open_with(&fs, options.clone(), 0).unwrap();
            assert_eq!(spool.recovery.quarantined, [range], "at {at}, opening {opening}");
            assert_eq!(spool.recovery.missing_frames, 1);
            assert_eq!(spool.recovery.truncated_bytes, 0);
            let expected: Vec<_> = numbered((0..10).filter(|it| *it != 4));
            assert_eq!(items_in(&spool.reader), expected);
            assert_eq!(spool.reader.damaged_ranges(), 0);
        }
        let kept = fs.list(&Path::new(DIR).join("quarantine")).unwrap();
        assert_eq!(kept.len(), 1, "one copy, however often it is opened");
        assert_eq!(kept[0].len, bad.next.0 - bad.position.0);
    }
}

#[test]
fn a_last_frame_with_a_flipped_bit_is_kept_and_never_cut_off() {
    let (fs, options, frames) = ten_items();
    let bad = &frames[9];
    fs.flip_bit(&segment_path(0), bad.next.0 - 1, 0);
    let spool = open_with(&fs, options.clone(), 0).unwrap();
    assert_eq!(spool.recovery.quarantined, [DamagedRange { start: bad.position, end: bad.next }]);
    assert_eq!(spool.recovery.truncated_bytes, 0);
    append(&spool.appender, b"after").unwrap();
    let mut expected = numbered(0..9);
    expected.push(b"after".to_vec());
    assert_eq!(items_in(&spool.reader), expected);
    let last = frames_from(&spool.reader, 0).pop().unwrap();
    assert!(last.position >= bad.next);
    drop(spool);
    let spool = open_with(&fs, options, 0).unwrap();
    assert_eq!(items_in(&spool.reader), expected);
}

#[test]
fn a_damaged_header_costs_no_frame() {
    let (fs, options, _) = ten_items();
    fs.flip_bit(&segment_path(0), 20, 1);
    let spool = open_with(&fs, options.clone(), 0).unwrap();
    let header = DamagedRange { start: Position(0), end: Position(HEADER_BYTES as u64) };
    assert_eq!(spool.recovery.quarantined, [header]);
    append(&spool.appender, b"after").unwrap();
    let mut expected = numbered(0..10);
    expected.push(b"after".to_vec());
    assert_eq!(items_in(&spool.reader), expected);
    let frames = frames_from(&spool.reader, 0);
    assert_eq!(frames[10].seq, 10);
    drop(spool);
    let spool = open_with(&fs, options, 0).unwrap();
    assert_eq!(items_in(&spool.reader), expected);
}

#[test]
fn a_segment_of_which_nothing_is_left_is_moved_away_whole() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..30));
    let frames = frames_from(&spool.reader, 0);
    drop(spool);
    let segments = inspect_on(&fs, Path::new(DIR)).unwrap().segments;
    let (lost, next) = (&segments[1], &segments[2]);
    for offset in 0..lost.bytes {
        fs.flip_bit(&segment_path(lost.base.0), offset, 2);
    }
    let spool = open(&fs);
    let range = DamagedRange { start: lost.base, end: next.base };
    assert_eq!(spool.recovery.quarantined, [range]);
    assert_eq!(spool.recovery.missing_frames, lost.frames);
    let left: Vec<_> = frames_from(&spool.reader, 0).iter().map(|it| it.position).collect();
    let outside = |it: &&Position| **it < lost.base || **it >= next.base;
    assert_eq!(
        left,
        frames
            .iter()
            .map(|it| it.position)
            .collect::<Vec<_>>()
            .iter()
            .filter(outside)
            .copied()
            .collect::<Vec<_>>()
    );
    let name = segment::file_name(lost.base);
    assert!(fs.content(&Path::new(DIR).join("quarantine").join(&name)).is_some());
    assert!(fs.content(&segment_path(lost.base.0)).is_none());
}

#[test]
fn positions_of_a_newest_segment_that_was_moved_away_are_not_used_again() {
    let (fs, options, frames) = ten_items();
    for offset in 0..frames[9].next.0 {
        fs.flip_bit(&segment_path(0), offset, 2);
    }
    let id = inspect_on(&fs, Path::new(DIR)).unwrap().spool_id;
    let spool = open_with(&fs, options, 0).unwrap();
    assert_eq!(Some(spool.reader.spool_id()), id, "the id outlives its segments");
    append(&spool.appender, b"after").unwrap();
    assert!(frames_from(&spool.reader, 0)[0].position >= frames[9].next);
}

#[test]
fn a_missing_segment_is_reported() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..30));
    drop(spool);
    let gone = &inspect_on(&fs, Path::new(DIR)).unwrap().segments[2];
    fs.remove(&segment_path(gone.base.0)).unwrap();
    let spool = open(&fs);
    assert_eq!(spool.recovery.missing_frames, gone.frames);
    assert_eq!(spool.recovery.frames, 30 - gone.frames);
}

#[test]
fn a_crash_while_a_segment_is_begun_leaves_nothing_behind() {
    for len in [0, 1, HEADER_BYTES - 1] {
        let (fs, options, frames) = ten_items();
        let end = frames[9].next.0;
        fs.create_new(&segment_path(end)).unwrap();
        append_raw(&fs, end, &vec![0; len]);
        let spool = open_with(&fs, options, 0).unwrap();
        assert_eq!(spool.recovery.truncated_bytes, len as u64);
        assert_eq!(spool.recovery.quarantined, []);
        append(&spool.appender, b"after").unwrap();
        assert_eq!(frames_from(&spool.reader, 0).len(), 11);
    }
}

#[test]
fn a_newer_version_is_left_alone() {
    let (fs, options, _) = ten_items();
    let mut bytes = fs.content(&segment_path(0)).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs.remove(&segment_path(0)).unwrap();
    fs.create_new(&segment_path(0)).unwrap();
    append_raw(&fs, 0, &bytes);
    let refused = open_with(&fs, options, 0).unwrap_err();
    assert!(matches!(refused, OpenError::Version { version: 2, .. }), "{refused}");
    assert_eq!(fs.content(&segment_path(0)).unwrap(), bytes);
    let seen = inspect_on(&fs, Path::new(DIR)).unwrap();
    assert_eq!(seen.segments[0].state, SegmentState::Unknown);
}

#[test]
fn a_segment_of_another_spool_is_refused() {
    let (fs, options, frames) = ten_items();
    let other = FaultFs::new();
    drop(open_with(&other, options.clone(), frames[9].next.0).unwrap());
    let base = frames[9].next.0;
    fs.create_new(&segment_path(base)).unwrap();
    append_raw(&fs, base, &other.content(&segment_path(base)).unwrap());
    let refused = open_with(&fs, options, 0).unwrap_err();
    assert!(matches!(refused, OpenError::ForeignSegment { .. }), "{refused}");
}

#[test]
fn a_lost_id_is_taken_from_the_segments() {
    for damaged in [true, false] {
        let (fs, options, _) = ten_items();
        let id = inspect_on(&fs, Path::new(DIR)).unwrap().spool_id;
        let path = Path::new(DIR).join("spool.id");
        if damaged {
            fs.flip_bit(&path, 3, 7);
        } else {
            fs.remove(&path).unwrap();
        }
        let spool = open_with(&fs, options, 0).unwrap();
        assert_eq!(Some(spool.reader.spool_id()), id);
        assert_eq!(fs.content(&path).unwrap(), id.unwrap().to_string().as_bytes());
    }
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let fs = FaultFs::new();
    let first = open(&fs);
    assert!(matches!(open_with(&fs, options(), 0), Err(OpenError::Locked { .. })));
    let Opened { reader, writer, appender, .. } = first;
    drop((writer, appender));
    assert!(matches!(open_with(&fs, options(), 0), Err(OpenError::Locked { .. })), "it can still release");
    drop(reader);
    open(&fs);
}

#[test]
fn options_that_cannot_work_are_refused() {
    let fs = FaultFs::new();
    for options in [
        Options { max_bytes: 1023, ..options() },
        Options { max_frame_bytes: 0, ..options() },
        Options { max_frame_bytes: (256 << 20) + 1, ..options() },
        Options { segment_bytes: 0, ..options() },
        Options { max_pending_bytes: 0, ..options() },
    ] {
        assert!(matches!(open_with(&fs, options, 0), Err(OpenError::Option { .. })));
    }
}

#[test]
fn inspection_says_what_is_there_and_changes_nothing() {
    let fs = FaultFs::new();
    assert!(matches!(inspect_on(&fs, Path::new(DIR)), Err(InspectError::Missing)));
    let spool = open(&fs);
    append_each(&spool, numbered(0..12));
    let before = fs.counts();
    let seen = inspect_on(&fs, Path::new(DIR)).unwrap();
    let after = fs.counts();
    assert_eq!((after.appends, after.syncs), (before.appends, before.syncs));
    assert_eq!(seen.spool_id, Some(spool.reader.spool_id()));
    assert_eq!(seen.segments.iter().map(|it| it.frames).sum::<u64>(), 12);
    assert_eq!(seen.segments.iter().map(|it| it.bytes).sum::<u64>(), spool.reader.bytes_on_disk());
    assert_eq!((seen.segments[0].first_seq, seen.torn_tail), (Some(0), None));
    assert!(seen.segments.iter().all(|it| it.state == SegmentState::Sound));
    let text = seen.to_string();
    assert!(text.contains("12 frames") && text.contains("sound") && text.ends_with('\n'), "{text}");
}
