//! What appenders and readers are promised while all goes well.

use std::time::Duration;

use super::*;

#[test]
fn what_was_appended_is_read_back_in_order_over_many_segments() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..60));
    assert_eq!(items_in(&spool.reader), numbered(0..60));
    let frames = frames_from(&spool.reader, 0);
    assert_eq!(frames.iter().map(|it| it.seq).collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
    assert_eq!(frames.last().unwrap().next, spool.reader.durable_end());
    assert!(fs.list(Path::new(DIR)).unwrap().len() > 5);
    assert_eq!(spool.reader.read_from(Position(u64::MAX)).unwrap(), None);
}

#[test]
fn reading_can_start_at_every_boundary_and_nowhere_else() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..20));
    let frames = frames_from(&spool.reader, 0);
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(frames_from(&spool.reader, frame.position.0), frames[at..]);
        let within = spool.reader.read_from(Position(frame.position.0 + 1));
        let expected = frame.position;
        assert!(
            matches!(within, Err(super::super::ReadError::WithinFrame { frame, .. }) if frame == expected),
            "{within:?}"
        );
    }
    assert_eq!(spool.reader.damaged_ranges(), 0, "asking for the wrong place damages nothing");
}

#[test]
fn a_commit_is_one_write_and_one_sync_however_many_wait() {
    let fs = FaultFs::new();
    let spool = open_with(&fs, Options { segment_bytes: 1 << 16, ..options() }, 0).unwrap();
    let before = fs.counts();
    fs.hold_syncs();
    let mut first = Box::pin(spool.appender.append(b"first".to_vec()));
    assert!(poll_once(&mut first).is_pending());
    fs.wait_for_held_sync();
    let mut rest: Vec<_> =
        numbered(0..50).into_iter().map(|item| Box::pin(spool.appender.append(item))).collect();
    for append in &mut rest {
        assert!(poll_once(append).is_pending());
    }
    assert_eq!(spool.reader.durable_end(), Position(0), "nothing is durable before the sync");
    assert_eq!(spool.reader.read_from(Position(0)).unwrap(), None);
    fs.let_syncs_go();
    block_on(async {
        first.await.unwrap();
        for append in rest {
            append.await.unwrap();
        }
    });
    let frames = frames_from(&spool.reader, 0);
    assert_eq!(frames.len(), 2);
    assert_eq!(items(&frames[1].payload), numbered(0..50));
    let after = fs.counts();
    assert_eq!((after.appends - before.appends, after.syncs - before.syncs), (2, 2));
}

#[test]
fn a_commit_waits_while_more_is_expected_than_it_holds() {
    let fs = FaultFs::new();
    let options = Options { gather: Duration::from_hours(1), segment_bytes: 1 << 16, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    let expected = spool.appender.expected();
    let mut coming: Vec<_> = (0..3).map(|_| expected.one_more()).collect();
    let mut appends: Vec<_> =
        numbered(0..3).into_iter().map(|item| Box::pin(spool.appender.append(item))).collect();
    for append in &mut appends[..2] {
        assert!(poll_once(append).is_pending());
        std::thread::sleep(Duration::from_millis(1));
        assert!(poll_once(append).is_pending());
    }
    // The last is the one that is waited for. It comes first here, so that it is begun.
    for append in appends.into_iter().rev() {
        block_on(append).unwrap();
    }
    assert_eq!(frames_from(&spool.reader, 0).len(), 1, "as many as are expected are enough");

    // It does not wait for what does not come after all.
    let mut append = Box::pin(spool.appender.append(b"alone".to_vec()));
    assert!(poll_once(&mut append).is_pending());
    coming.truncate(2);
    assert!(poll_once(&mut append).is_pending());
    coming.clear();
    block_on(append).unwrap();
    assert_eq!(expected.count(), 0);
}

#[test]
fn a_commit_does_not_wait_for_long() {
    let fs = FaultFs::new();
    let spool = open_with(&fs, Options { gather: Duration::from_millis(20), ..options() }, 0).unwrap();
    let _coming = [spool.appender.expected().one_more(), spool.appender.expected().one_more()];
    append(&spool.appender, b"alone").unwrap();
    assert_eq!(items_in(&spool.reader), [b"alone"]);
}

#[test]
fn closing_does_not_wait_for_what_is_expected() {
    let fs = FaultFs::new();
    let mut spool = open_with(&fs, Options { gather: Duration::from_hours(1), ..options() }, 0).unwrap();
    let _coming = [spool.appender.expected().one_more(), spool.appender.expected().one_more()];
    let mut last = Box::pin(spool.appender.append(b"last".to_vec()));
    assert!(poll_once(&mut last).is_pending());
    block_on(spool.writer.close());
    block_on(last).unwrap();
    assert_eq!(items_in(&spool.reader), [b"last"]);
}

#[test]
fn a_group_ends_where_the_next_item_would_make_it_too_large() {
    let fs = FaultFs::new();
    let spool = open_with(&fs, Options { group_bytes: 100, ..options() }, 0).unwrap();
    fs.hold_syncs();
    let mut appends: Vec<_> = (0..8).map(|_| Box::pin(spool.appender.append(vec![7; 30]))).collect();
    assert!(poll_once(&mut appends[0]).is_pending());
    fs.wait_for_held_sync();
    for append in &mut appends[1..] {
        assert!(poll_once(append).is_pending());
    }
    fs.let_syncs_go();
    block_on(async {
        for append in appends {
            append.await.unwrap();
        }
    });
    let sizes: Vec<_> = frames_from(&spool.reader, 0).iter().map(|it| items(&it.payload).len()).collect();
    // Each item is 34 bytes encoded: two and an estimate of 30 still fit.
    assert_eq!(sizes, [1, 3, 3, 1]);
}

#[test]
fn the_queue_is_bounded_in_bytes_the_commit_under_way_included() {
    let fs = FaultFs::new();
    let spool = open_with(&fs, Options { max_pending_bytes: 1000, ..options() }, 0).unwrap();
    fs.hold_syncs();
    let mut first = Box::pin(spool.appender.append(vec![1; 400]));
    assert!(poll_once(&mut first).is_pending());
    fs.wait_for_held_sync();
    let mut second = Box::pin(spool.appender.append(vec![2; 400]));
    assert!(poll_once(&mut second).is_pending());
    assert_eq!(append(&spool.appender, &[3; 400]), Err(AppendError::QueueFull));
    assert!(spool.appender.accepts(), "it passes by itself");
    fs.let_syncs_go();
    block_on(async {
        first.await.unwrap();
        second.await.unwrap();
    });
    append(&spool.appender, &[3; 400]).unwrap();
    assert_eq!(items_in(&spool.reader), [vec![1; 400], vec![2; 400], vec![3; 400]]);
}

#[test]
fn empty_items_do_not_come_free() {
    let fs = FaultFs::new();
    let spool = open_with(&fs, Options { max_pending_bytes: 10_000, ..options() }, 0).unwrap();
    fs.hold_syncs();
    let mut first = Box::pin(spool.appender.append(Vec::new()));
    assert!(poll_once(&mut first).is_pending());
    fs.wait_for_held_sync();
    let mut held = Vec::new();
    let refused = loop {
        let mut append = Box::pin(spool.appender.append(Vec::new()));
        match poll_once(&mut append) {
            Poll::Pending => held.push(append),
            Poll::Ready(answer) => break answer,
        }
        assert!(held.len() < 10_000, "nothing bounds the queue");
    };
    assert_eq!(refused, Err(AppendError::QueueFull));
    fs.let_syncs_go();
    block_on(first).unwrap();
}

#[test]
fn what_can_never_be_written_is_refused_for_good() {
    let fs = FaultFs::new();
    let spool = open_with(&fs, Options { max_frame_bytes: 100, ..options() }, 0).unwrap();
    let refused = append(&spool.appender, &[0; 101]).unwrap_err();
    assert_eq!(refused, AppendError::TooLarge { bytes: 101, max_bytes: 100 });
    // Its estimate fits, what the encoder makes of it does not.
    let refused = append(&spool.appender, &[0; 97]).unwrap_err();
    assert_eq!(refused, AppendError::TooLarge { bytes: 101, max_bytes: 100 });
    append(&spool.appender, &[0; 96]).unwrap();
    assert_eq!(items_in(&spool.reader), [vec![0; 96]]);
}

#[test]
fn a_group_that_grew_too_large_may_be_tried_again_and_one_item_may_not() {
    let fs = FaultFs::new();
    let encoder = TestEncoder { padding: 900, ..TestEncoder::default() };
    let options = Options { max_frame_bytes: 800, group_bytes: 800, ..options() };
    let spool = open_on(Arc::new(fs.clone()), options, encoder, Position(0)).unwrap();
    fs.hold_syncs();
    let send = |item: &[u8]| Box::pin(spool.appender.append(item.to_vec()));
    let mut appends = [send(b"first"), send(b"small"), send(b"+grows")];
    assert!(poll_once(&mut appends[0]).is_pending());
    fs.wait_for_held_sync();
    for append in &mut appends[1..] {
        assert!(poll_once(append).is_pending());
    }
    fs.let_syncs_go();
    let mut answers = Vec::new();
    for append in appends {
        answers.push(block_on(append));
    }
    let first = answers[0].clone();
    assert!(first.is_ok());
    assert_eq!(answers, [first, Err(AppendError::QueueFull), Err(AppendError::QueueFull)]);
    append(&spool.appender, b"small").unwrap();
    assert!(matches!(append(&spool.appender, b"+grows"), Err(AppendError::TooLarge { bytes: 910, .. })));
    assert_eq!(items_in(&spool.reader), [b"first", b"small"]);
}

#[test]
fn release_removes_whole_segments_below_and_nothing_else() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..40));
    let frames = frames_from(&spool.reader, 0);
    let bytes = spool.reader.bytes_on_disk();
    let before = segments(&fs);
    assert_eq!(before.iter().map(|it| it.len).sum::<u64>(), bytes);

    assert_eq!(spool.reader.release(frames[1].position).unwrap(), 0);
    assert_eq!(segments(&fs), before);

    let cursor = frames[25].position;
    let freed = spool.reader.release(cursor).unwrap();
    assert!(freed > 0);
    assert_eq!(spool.reader.bytes_on_disk(), bytes - freed);
    assert_eq!(frames_from(&spool.reader, cursor.0), frames[25..], "what lies above is untouched");
    let oldest = spool.reader.read_from(Position(0)).unwrap().unwrap();
    assert!(oldest.position <= cursor, "the segment around the cursor stays");

    spool.reader.release(frames[39].position).unwrap();
    assert_eq!(segments(&fs), before[before.len() - 1..], "not all of the newest is released");
}

#[test]
fn reading_takes_a_large_piece_at_a_time() {
    let fs = FaultFs::new();
    let options = Options { segment_bytes: 1 << 18, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    append_each(&spool, numbered(0..500));
    let before = fs.counts().reads;
    assert_eq!(frames_from(&spool.reader, 0).len(), 500);
    assert!(fs.counts().reads - before <= 3, "{} reads", fs.counts().reads - before);
}

#[test]
fn frames_larger_than_a_piece_are_read_whole() {
    let fs = FaultFs::new();
    let options = Options { segment_bytes: 8 << 20, max_bytes: 64 << 20, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    let large: Vec<Vec<u8>> = (1..6).map(|it| vec![it; 700_000 * usize::from(it)]).collect();
    append_each(&spool, &large);
    assert_eq!(items_in(&spool.reader), large);
}

#[test]
fn waiting_ends_with_the_commit_that_passes_the_position() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    let mut waiting = Box::pin(spool.reader.wait_durable_past(Position(0)));
    assert!(poll_once(&mut waiting).is_pending());
    append(&spool.appender, b"one").unwrap();
    assert!(poll_once(&mut waiting).is_ready());
    let end = spool.reader.durable_end();
    let mut waiting = Box::pin(spool.reader.wait_durable_past(end));
    assert!(poll_once(&mut waiting).is_pending(), "past, not up to");
    let Opened { mut writer, .. } = spool;
    block_on(writer.close());
    assert!(poll_once(&mut waiting).is_pending(), "a closed writer does not look like progress");
}

#[test]
fn closing_writes_what_waits_and_refuses_the_rest() {
    let fs = FaultFs::new();
    let mut spool = open(&fs);
    fs.hold_syncs();
    let mut first = Box::pin(spool.appender.append(b"one".to_vec()));
    assert!(poll_once(&mut first).is_pending());
    fs.wait_for_held_sync();
    let mut second = Box::pin(spool.appender.append(b"two".to_vec()));
    assert!(poll_once(&mut second).is_pending());
    {
        let mut closing = Box::pin(spool.writer.close());
        assert!(poll_once(&mut closing).is_pending());
    }
    assert_eq!(append(&spool.appender, b"three"), Err(AppendError::Closed));
    assert!(!spool.appender.accepts());
    assert_eq!(spool.appender.poisoned(), None);
    fs.let_syncs_go();
    // A close that was dropped is gone on with, while appenders are still there.
    block_on(spool.writer.close());
    block_on(spool.writer.close());
    let ends: Vec<_> = frames_from(&spool.reader, 0).iter().map(|it| it.next).collect();
    assert_eq!([block_on(first).unwrap(), block_on(second).unwrap()], ends[..], "each learns where it ends");
    assert_eq!(items_in(&spool.reader), [b"one", b"two"]);
}

#[test]
fn under_an_interval_readers_see_what_is_synced_and_a_clean_end_syncs() {
    let fs = FaultFs::new();
    let long = FsyncPolicy::Interval(Duration::from_secs(3600));
    let mut spool = open_with(&fs, Options { fsync: long, segment_bytes: 1 << 16, ..options() }, 0).unwrap();
    let before = fs.counts().syncs;
    append_each(&spool, numbered(0..5));
    assert_eq!(fs.counts().syncs, before);
    assert_eq!(spool.reader.durable_end(), Position(0));
    assert!(items_in(&spool.reader).is_empty());
    block_on(spool.writer.close());
    assert_eq!(fs.counts().syncs, before + 1);
    assert_eq!(items_in(&spool.reader), numbered(0..5));
}

#[test]
fn an_interval_that_has_passed_syncs_by_itself() {
    let fs = FaultFs::new();
    let at_once = FsyncPolicy::Interval(Duration::ZERO);
    let spool = open_with(&fs, Options { fsync: at_once, ..options() }, 0).unwrap();
    append(&spool.appender, b"one").unwrap();
    block_on(spool.reader.wait_durable_past(Position(segment::HEADER_BYTES as u64)));
    assert_eq!(items_in(&spool.reader), [b"one"]);
}

#[test]
fn without_syncs_readers_see_what_is_written_and_full_segments_are_synced() {
    let fs = FaultFs::new();
    let options = Options { fsync: FsyncPolicy::Never, ..options() };
    let spool = open_with(&fs, options.clone(), 0).unwrap();
    append_each(&spool, numbered(0..30));
    assert_eq!(items_in(&spool.reader), numbered(0..30));
    for seed in 0..20 {
        let reopened = open_with(&fs.crash(seed), options.clone(), 0).unwrap();
        let left = items_in(&reopened.reader);
        assert!(left.is_sorted_by(|one, other| one < other), "nothing is doubled or out of order");
        let full = segments(&fs).last().unwrap().name.clone();
        let newest = segment::parse_file_name(&full).unwrap();
        let safe = frames_from(&spool.reader, 0).iter().filter(|it| it.position < newest).count();
        assert!(safe >= 20 && left[..safe] == numbered(0..safe), "only the newest segment is at risk");
        let gap = left != numbered(0..left.len());
        assert!(!gap || reopened.recovery.missing_frames > 0, "a loss in the middle is told");
    }
}
