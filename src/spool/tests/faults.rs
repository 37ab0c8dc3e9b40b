//! What happens when the disk is full, lies or dies.

use super::*;

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..3));
    // Room for a part of the next frame.
    fs.set_capacity(Some(fs.used_bytes() + 20));
    for _ in 0..3 {
        assert_eq!(append(&spool.appender, b"refused"), Err(AppendError::Full));
        assert!(!spool.appender.accepts());
    }
    assert_eq!(items_in(&spool.reader), numbered(0..3), "nothing acknowledged is touched");
    fs.set_capacity(Some(fs.used_bytes() + 4096));
    assert!(spool.appender.accepts(), "room is noticed without an append");
    append_each(&spool, numbered(3..30));
    assert_eq!(items_in(&spool.reader), numbered(0..30));
    drop(spool);
    let spool = open(&fs);
    assert_eq!(items_in(&spool.reader), numbered(0..30));
    assert_eq!(spool.recovery.truncated_bytes, 0, "the partial frame was cut off at once");
}

#[test]
fn a_disk_too_full_for_a_new_segment_refuses_and_leaves_none() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append(&spool.appender, &[1; 300]).unwrap();
    let before = fs.list(Path::new(DIR)).unwrap();
    fs.set_capacity(Some(fs.used_bytes() + 10));
    assert_eq!(append(&spool.appender, &[2; 300]), Err(AppendError::Full));
    assert_eq!(fs.list(Path::new(DIR)).unwrap(), before);
    fs.set_capacity(None);
    append(&spool.appender, &[2; 300]).unwrap();
    assert_eq!(items_in(&spool.reader), [vec![1; 300], vec![2; 300]]);
}

#[test]
fn a_partial_frame_that_cannot_be_cut_off_ends_the_writer() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append(&spool.appender, b"one").unwrap();
    fs.set_capacity(Some(fs.used_bytes() + 20));
    fs.fail_set_len(true);
    assert!(matches!(append(&spool.appender, b"two"), Err(AppendError::Poisoned(_))));
    assert!(!spool.appender.accepts());
    drop(spool);
    let after = fs.kill();
    let spool = open(&after);
    assert_eq!(spool.recovery.truncated_bytes, 20);
    append(&spool.appender, b"three").unwrap();
    assert_eq!(items_in(&spool.reader), [&b"one"[..], b"three"]);
}

#[test]
fn the_limit_refuses_until_delivery_has_caught_up() {
    let fs = FaultFs::new();
    let options = Options { max_bytes: 2000, segment_bytes: 400, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    let mut accepted = Vec::new();
    let refused = loop {
        let item = vec![u8::try_from(accepted.len()).unwrap(); 100];
        match append(&spool.appender, &item) {
            Ok(_) => accepted.push(item),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Full);
    assert!(!spool.appender.accepts());
    assert!(spool.reader.bytes_on_disk() <= 2000);
    assert!(accepted.len() >= 10, "the limit is used: {}", accepted.len());
    assert_eq!(items_in(&spool.reader), accepted);

    let frames = frames_from(&spool.reader, 0);
    spool.reader.release(frames[6].position).unwrap();
    assert!(spool.appender.accepts());
    append(&spool.appender, b"again").unwrap();
    assert!(spool.reader.bytes_on_disk() <= 2000);
}

#[test]
fn a_spool_whose_one_segment_is_delivered_is_never_stuck() {
    let fs = FaultFs::new();
    // The largest frame that fits leaves no room beside it.
    let options = Options { max_bytes: 1024, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    for round in 0..5 {
        append(&spool.appender, &[round; 800]).unwrap();
        assert_eq!(append(&spool.appender, &[round; 800]), Err(AppendError::Full));
        assert!(!spool.appender.accepts());
        let end = spool.reader.durable_end();
        spool.reader.release(end).unwrap();
        assert!(spool.appender.accepts(), "round {round}");
        assert!(spool.reader.bytes_on_disk() <= 1024);
    }
}

#[test]
fn a_sync_that_fails_ends_the_writer_for_good() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append(&spool.appender, b"acknowledged").unwrap();
    fs.hold_syncs();
    let mut first = Box::pin(spool.appender.append(b"first".to_vec()));
    assert!(poll_once(&mut first).is_pending());
    fs.wait_for_held_sync();
    let mut second = Box::pin(spool.appender.append(b"second".to_vec()));
    assert!(poll_once(&mut second).is_pending());
    fs.fail_syncs(Some(Errno::IO));
    fs.let_syncs_go();
    assert!(matches!(block_on(first), Err(AppendError::Poisoned(_))), "in the commit");
    assert!(matches!(block_on(second), Err(AppendError::Poisoned(_))), "in the queue");
    fs.fail_syncs(None);
    assert!(matches!(append(&spool.appender, b"third"), Err(AppendError::Poisoned(_))), "later");
    assert!(!spool.appender.accepts());
    assert!(spool.appender.poisoned().unwrap().contains("syncing"));
    assert_eq!(items_in(&spool.reader), [b"acknowledged"], "what is not durable is not shown");
}

#[test]
fn a_sync_for_which_there_is_no_room_ends_the_writer_too() {
    for errno in [Errno::NOSPC, Errno::DQUOT] {
        let fs = FaultFs::new();
        let spool = open(&fs);
        append(&spool.appender, b"acknowledged").unwrap();
        // Where blocks are allocated late, a write succeeds and its sync does not. The pages are gone.
        fs.fail_syncs(Some(errno));
        assert!(matches!(append(&spool.appender, b"lost"), Err(AppendError::Poisoned(_))));
        fs.fail_syncs(None);
        assert!(matches!(append(&spool.appender, b"after"), Err(AppendError::Poisoned(_))));
        assert_eq!(items_in(&spool.reader), [b"acknowledged"]);
    }
}

#[test]
fn a_segment_that_could_not_be_begun_does_not_come_back_and_cut_off_the_one_before_it() {
    for seed in 0..50 {
        let fs = FaultFs::new();
        let spool = open(&fs);
        append(&spool.appender, &[1; 200]).unwrap();
        // The next one would need a segment of its own, and there is no room for its header.
        fs.set_capacity(Some(fs.used_bytes()));
        assert_eq!(append(&spool.appender, &[2; 300]), Err(AppendError::Full));
        fs.set_capacity(None);
        // A smaller one still fits into the old segment, and lies where the new one was to start.
        append(&spool.appender, &[3; 10]).unwrap();
        let survived = fs.crash(seed);
        let spool = open(&survived);
        assert_eq!(spool.recovery.quarantined, [], "seed {seed}");
        assert_eq!(items_in(&spool.reader), [vec![1; 200], vec![3; 10]]);
    }
}

#[test]
fn a_sync_that_fails_while_a_segment_is_begun_ends_the_writer() {
    let fs = FaultFs::new();
    let options = Options { fsync: FsyncPolicy::Never, ..options() };
    let spool = open_with(&fs, options, 0).unwrap();
    append(&spool.appender, &[1; 300]).unwrap();
    fs.fail_syncs(Some(Errno::IO));
    assert!(matches!(append(&spool.appender, &[2; 300]), Err(AppendError::Poisoned(_))));
}

#[test]
fn an_encoder_that_panics_leaves_nobody_waiting() {
    let fs = FaultFs::new();
    let encoder = TestEncoder { panic_on: Some(b"bad".to_vec()), ..TestEncoder::default() };
    let mut spool = open_on(Arc::new(fs.clone()), options(), encoder, Position(0)).unwrap();
    append(&spool.appender, b"good").unwrap();
    assert!(matches!(append(&spool.appender, b"bad"), Err(AppendError::Poisoned(_))));
    assert!(matches!(append(&spool.appender, b"good"), Err(AppendError::Poisoned(_))));
    assert!(spool.appender.poisoned().is_some());
    block_on(spool.writer.close());
}

#[test]
fn writes_that_come_short_are_gone_on_with() {
    let fs = FaultFs::new();
    fs.short_writes(Some(7));
    let spool = open(&fs);
    append_each(&spool, numbered(0..20));
    assert_eq!(items_in(&spool.reader), numbered(0..20));
}

#[test]
fn damage_that_happens_later_is_quarantined_by_the_reader_and_counted_once() {
    let fs = FaultFs::new();
    let spool = open(&fs);
    append_each(&spool, numbered(0..20));
    let frames = frames_from(&spool.reader, 0);
    let bad = &frames[2];
    let start = bad.position.0;
    fs.flip_bit(&segment_path(0), start + 40, 3);
    let original = fs.content(&segment_path(0)).unwrap();
    // A new reader's view: what was read before stays in memory.
    drop(spool);
    let spool = open(&fs);
    let expected: Vec<_> = frames.iter().filter(|it| it.seq != 2).map(|it| it.seq).collect();
    let seen = |reader: &Reader| frames_from(reader, 0).iter().map(|it| it.seq).collect::<Vec<_>>();
    assert_eq!(seen(&spool.reader), expected);
    assert_eq!(spool.reader.damaged_ranges(), 0, "recovery reported it");

    fs.flip_bit(&segment_path(0), frames[4].position.0, 0);
    spool.reader.release(Position(0)).unwrap();
    let from = frames[5].position.0;
    assert_eq!(frames_from(&spool.reader, from).len(), 15, "moves the reader's window on");
    let expected: Vec<_> = frames.iter().filter(|it| it.seq != 2 && it.seq != 4).map(|it| it.seq).collect();
    assert_eq!(seen(&spool.reader), expected);
    assert_eq!(seen(&spool.reader), expected);
    assert_eq!(spool.reader.damaged_ranges(), 1);
    let name = format!("spool-{start:020}-{:020}.damaged", bad.next.0);
    let kept = fs.content(&Path::new(DIR).join("quarantine").join(name)).unwrap();
    let at = usize::try_from(start).unwrap();
    assert_eq!(kept, original[at..at + kept.len()]);
    assert!(spool.appender.accepts(), "damage below does not keep the log from growing");
}
